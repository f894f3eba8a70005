//! An agent's state and what it spends: columns of table `agents`.

use crate::{
    args,
    audit::{self, Many},
    db::{Db, DbError, FromRow, Reads, Row},
    error::{ApiError, Code},
    id::AgentId,
    store::{agent::Agent, tree::BELOW},
    time::Timestamp,
    write::Write,
};

/// The most cents of a budget, or that can have been spent.
pub const MOST_CENTS: i64 = 1_000_000_000_000;

/// The refusal of what cannot be while the agent above is halted. `name` is what the caller may know it by.
pub fn halted(parent: &Agent, name: &str) -> ApiError {
    let verb = if parent.state == "paused" { "resume" } else { "start" };
    Code::ParentHalted.with("parent", name).with("verb", verb).with("owner", &parent.owner.email)
}

/// A change of state.
pub struct Change<'a> {
    /// The states that it changes.
    pub from: &'static [&'static str],
    /// The state that it brings.
    pub to: &'static str,
    /// Whether it reaches all agents below too.
    pub reaches_below: bool,
    /// Who changes it: a user's address, or an agent's id.
    pub by: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// Changes the state of an agent, and of those below it where the change reaches them; gives the ids of all that were in one of
/// the states that it changes. Each agent below has an audit row of its own; that of the named one is the caller's to write.
pub async fn change(write: &Write<'_>, id: &AgentId, change: &Change<'_>) -> Result<Vec<AgentId>, DbError> {
    let from = change.from.join("', '");
    if change.reaches_below {
        let which = format!("a.id IN (SELECT id FROM below WHERE depth > 1) AND a.state IN ('{from}')");
        let subject = id.as_str();
        audit::of_many(
            write,
            &Many { with: BELOW, which: &which, subject, member: "state", after: change.to, is_archived: false },
        )
        .await?;
    }
    let reached = if change.reaches_below { "SELECT id FROM below" } else { "SELECT ?1" };
    let sql = format!(
        "{BELOW} UPDATE agents SET state = ?2, state_changed_at = ?3, state_changed_by = ?4, updated_at = ?3
         WHERE id IN ({reached}) AND archived_at IS NULL AND state IN ('{from}') RETURNING id"
    );
    write.tx.list(&sql, args![id, change.to, change.now, change.by]).await
}

/// Stops every agent of the caller's tenant that is not stopped, with an audit row for each; gives how many there were.
pub async fn stop_all(write: &Write<'_>, by: &str, now: Timestamp) -> Result<i64, DbError> {
    let (tx, tenant) = (&write.tx, write.caller.tenant_id());
    // Counted first, under the same lock: a row for each of many thousand would have to be carried here.
    let sql = "SELECT count(*) FROM agents WHERE tenant_id = ?1 AND archived_at IS NULL AND state <> 'stopped'";
    let running: i64 = tx.optional(sql, args![tenant]).await?.unwrap_or(0);
    if running > 0 {
        let which = "a.tenant_id = ?1 AND a.archived_at IS NULL AND a.state <> 'stopped'";
        let subject = tenant.as_str();
        audit::of_many(
            write,
            &Many { with: "", which, subject, member: "state", after: "stopped", is_archived: false },
        )
        .await?;
        let sql = "UPDATE agents SET state = 'stopped', state_changed_at = ?2, state_changed_by = ?3, updated_at = ?2
                   WHERE tenant_id = ?1 AND archived_at IS NULL AND state <> 'stopped'";
        tx.execute(sql, args![tenant, now, by]).await?;
    }
    Ok(running)
}

/// What a heartbeat finds.
pub struct Beat {
    /// `running`, `paused` or `stopped`.
    pub state: String,
    /// Cents that the agent may spend; `None`: no bound.
    pub budget_cents: Option<i64>,
    /// Cents that it has spent.
    pub spent_cents: i64,
    /// Events in its inbox.
    pub unread: i64,
}

impl FromRow for Beat {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { state: row.take()?, budget_cents: row.take()?, spent_cents: row.take()?, unread: row.take()? })
    }
}

/// Marks an agent as seen, and takes its word for what it has spent, if that is more than it said before. One hot statement.
/// `None`: the agent is archived.
pub async fn heartbeat(db: &Db, id: &AgentId, spent: Option<i64>, now: Timestamp) -> Result<Option<Beat>, DbError> {
    let sql = "UPDATE agents SET last_seen_at = ?2, spent_cents = max(spent_cents, ifnull(?3, 0))
               WHERE id = (SELECT ?1) AND archived_at IS NULL
               RETURNING state, budget_cents, spent_cents, (SELECT count(*) FROM inbox WHERE agent_id = (SELECT ?1)) AS unread";
    Ok(db.hot(sql, args![id, now, spent]).await?.into_iter().next())
}
