//! Why a subject may do something with an agent, or not: the factors of the decision, in one statement.

use std::sync::{Arc, Mutex, PoisonError};

use common::{id::AgentId, permission::Action};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    agent,
    db::{DbError, FromRow, Reads, Row, Rows},
    permission::{Binder, Factor, PermissionSql, Shape, allows, factors},
    subject::Subject,
};

/// A factor of a decision about an agent, and whether it holds.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Factor")]
pub struct ExplainedFactor {
    /// Its word.
    pub factor: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// The fact that it rests on.
    pub why: String,
}

/// The decision about an agent with its factors.
pub struct Explanation {
    /// The agent's id.
    pub id: AgentId,
    /// The agent's name.
    pub name: String,
    held: Vec<(Factor, bool)>,
}

impl Explanation {
    /// Whether the subject may do this with it. If it may not read it, the answer must not differ from that about an absent agent.
    pub fn allows(&self, action: Action) -> bool {
        allows(&self.held, action)
    }

    /// The factors that can let a subject do this, and whether each holds. That a credential reaches its agent alone is always one of
    /// them: it is the reason for a refusal, too.
    pub fn factors(&self, action: Action) -> impl Iterator<Item = (Factor, bool)> {
        self.held.iter().copied().filter_map(move |(factor, holds)| match factor.counts_for(action) {
            true => Some((factor, holds)),
            false => (factor == Factor::Alone).then_some((factor, false)),
        })
    }
}

/// How an explanation is asked for.
struct Question {
    /// The meaning of the bits of the answer.
    factors: Vec<Factor>,
    sql: String,
}

/// The parts that the text of a question depends on: the subject's shape, and the column that the agent is found by.
type QuestionShape = (Shape, &'static str);

/// Each is put together once in an instance.
static QUESTIONS: Mutex<Vec<(QuestionShape, Arc<Question>)>> = Mutex::new(Vec::new());

impl Question {
    fn of(permission: &PermissionSql<'_>, column: &'static str, agent: &str) -> Arc<Self> {
        let shape = (permission.shape(), column);
        let mut known = QUESTIONS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, question)) = known.iter().find(|(asked, _)| *asked == shape) {
            return Arc::clone(question);
        }
        let question = Arc::new(Self::new(permission, column, agent));
        known.push((shape, Arc::clone(&question)));
        question
    }

    fn new(permission: &PermissionSql<'_>, column: &str, agent: &str) -> Self {
        let (factors, parts): (Vec<Factor>, Vec<String>) = factors(permission).into_iter().unzip();
        let bits: Vec<String> = parts.iter().enumerate().map(|(at, part)| format!("(({part}) << {at})")).collect();
        // By id: whatever tenant it is of, so that the gate can be reported. By name: a name is one of its tenant.
        let gate = if column == "name" { format!("{} AND ", permission.in_tenant()) } else { String::new() };
        let sql = format!(
            "SELECT a.id, a.name, {} AS held FROM agents a WHERE a.archived_at IS NULL AND {gate}a.{column} = {agent}",
            bits.join(" | ")
        );
        Self { factors, sql }
    }
}

/// The columns of an explanation: the agent's id and name, and a bit for each factor.
struct Bits {
    id: AgentId,
    name: String,
    held: i64,
}

impl FromRow for Bits {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { id: row.take()?, name: row.take()?, held: row.take()? })
    }
}

/// What the subject may do with the agent with this name or id, factor by factor, in one statement.
pub async fn agent(reads: &dyn Rows, subject: &Subject, agent: &str) -> Result<Option<Explanation>, DbError> {
    let mut binder = Binder::default();
    let permission = PermissionSql::new(subject, &mut binder);
    let column = agent::column(agent);
    let agent = binder.bind(agent);
    let question = Question::of(&permission, column, &agent);
    let Some(Bits { id, name, held }) = reads.find(&question.sql, binder.into_args()).await? else { return Ok(None) };
    let held = question.factors.iter().enumerate().map(|(at, factor)| (*factor, held >> at & 1 == 1)).collect();
    Ok(Some(Explanation { id, name, held }))
}

/// What a subject may do with a key.
pub struct KeyExplanation {
    /// The key's name.
    pub name: String,
    /// The name of its agent.
    pub agent: String,
    held: i64,
}

impl FromRow for KeyExplanation {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { name: row.take()?, agent: row.take()?, held: row.take()? })
    }
}

impl KeyExplanation {
    /// Whether the subject may do this with it. If it may not read it, the answer must not differ from that about an absent key.
    pub fn allows(&self, action: Action) -> bool {
        Action::ALL.iter().position(|known| *known == action).is_some_and(|at| self.held >> at & 1 == 1)
    }
}

/// What the subject may do with the key with this id, in one statement.
pub async fn key(reads: &dyn Rows, subject: &Subject, key: &str) -> Result<Option<KeyExplanation>, DbError> {
    let mut binder = Binder::default();
    let permission = PermissionSql::new(subject, &mut binder);
    let id = binder.bind(key);
    let bits: Vec<String> = Action::ALL
        .iter()
        .enumerate()
        .map(|(at, action)| format!("({} << {at})", permission.on_key(*action)))
        .collect();
    let sql = format!(
        "SELECT k.name, a.name, {} AS held FROM api_keys k JOIN agents a ON a.id = k.agent_id
         WHERE k.id = {id} AND a.archived_at IS NULL",
        bits.join(" | ")
    );
    reads.find(&sql, binder.into_args()).await
}

#[cfg(test)]
mod tests;
