//! Table `grants`: who may read or edit what, beside its owner.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::{
    args,
    caller::Caller,
    db::{DbError, FromRow, Happened, Reads, Row, Rows, Tx},
    id::{AgentId, TenantId},
    page::Wanted,
    permission::{self, Action, Binder, Bound, Factor, Subject, allows, factors},
    scope::Role,
    store::{agent, user},
    time::Timestamp,
};

/// Grants of one object at most.
pub const MOST: i64 = 1_000;

/// A grant as who may share the object sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Grant {
    /// Who was given it.
    pub subject: Named,
    /// `editor` or `viewer`.
    pub relation: String,
    /// When.
    pub created_at: Timestamp,
    /// The id of the user or agent who gave it.
    pub created_by: String,
}

/// A user or an agent.
#[derive(Clone, Debug, Serialize)]
pub struct Named {
    /// `user` or `agent`.
    pub kind: &'static str,
    /// The id.
    pub id: String,
    /// The user's address or the agent's name.
    pub name: String,
}

impl Named {
    fn new(id: String, name: String) -> Self {
        Self { kind: if id.starts_with("agt_") { "agent" } else { "user" }, id, name }
    }
}

impl FromRow for Grant {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            subject: Named::new(row.take()?, row.take()?),
            relation: row.take()?,
            created_at: row.take()?,
            created_by: row.take()?,
        })
    }
}

const SELECT: &str = "
    SELECT g.subject_id, ifnull(u.email, s.name), g.relation, g.created_at, g.created_by
    FROM grants g LEFT JOIN users u ON u.id = g.subject_id LEFT JOIN agents s ON s.id = g.subject_id
    WHERE g.object_id = ?1";

/// An object's grants, the newest first.
pub async fn list(reads: &dyn Rows, object: &str, wanted: &Wanted) -> Result<Vec<Grant>, DbError> {
    let (at, id) = wanted.after();
    let sql = format!(
        "{SELECT} AND (g.created_at, g.subject_id || g.relation) < (?2, ?3)
         ORDER BY g.created_at DESC, g.subject_id || g.relation DESC LIMIT ?4"
    );
    reads.list(&sql, args![object, at, id, wanted.rows()]).await
}

/// One grant.
pub async fn find(reads: &dyn Rows, object: &str, subject: &str, relation: &str) -> Result<Option<Grant>, DbError> {
    let sql = format!("{SELECT} AND g.subject_id = ?2 AND g.relation = ?3");
    reads.optional(&sql, args![object, subject, relation]).await
}

/// A grant to be stored.
pub struct New<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// What is shared.
    pub object: &'a str,
    /// The id of the user or agent of the same tenant to whom it is given.
    pub subject: &'a str,
    /// `editor` or `viewer`.
    pub relation: &'a str,
    /// The id of the user or agent who gives it.
    pub by: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// How a grant went.
#[derive(Debug, PartialEq, Eq)]
pub enum Given {
    /// It is there now.
    Done,
    /// It was there before.
    Already,
    /// The object has as many as it may.
    TooMany,
}

/// Stores a grant.
pub async fn insert(tx: &Tx<'_>, new: &New<'_>) -> Result<Given, DbError> {
    let count = "SELECT count(*) FROM grants WHERE object_id = ?1";
    if tx.optional::<i64>(count, args![new.object]).await?.unwrap_or(0) >= MOST {
        return Ok(Given::TooMany);
    }
    let sql = "INSERT INTO grants (object_id, subject_id, relation, tenant_id, created_at, created_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (object_id, subject_id, relation) DO NOTHING RETURNING 1";
    let row = args![new.object, new.subject, new.relation, new.tenant, new.now, new.by];
    Ok(if tx.optional::<Happened>(sql, row).await?.is_some() { Given::Done } else { Given::Already })
}

/// Takes grants of a subject away (by id, address or name): one relation, or all; gives those that there were.
pub async fn delete(tx: &Tx<'_>, object: &str, subject: &str, relation: Option<&str>) -> Result<Vec<Grant>, DbError> {
    let sql = format!(
        "{SELECT} AND (?3 IS NULL OR g.relation = ?3)
         AND (g.subject_id = ?2 OR u.email_key = lower(?2) OR (s.name = ?2 AND s.archived_at IS NULL))"
    );
    let found: Vec<Grant> = tx.list(&sql, args![object, subject.trim(), relation]).await?;
    for grant in &found {
        let sql = "DELETE FROM grants WHERE object_id = ?1 AND subject_id = ?2 AND relation = ?3";
        tx.execute(sql, args![object, &grant.subject.id, &grant.relation]).await?;
    }
    Ok(found)
}

/// A user or an agent of the tenant, as a grant or an explanation names one.
#[derive(Clone, Debug)]
pub struct Found {
    /// Who it is.
    pub named: Named,
    /// The person: of an agent, its owner.
    pub user: crate::id::UserId,
    /// The person's role.
    pub role: Role,
    /// Whether the person's account is active.
    pub is_active: bool,
    /// The agent, if it is one.
    pub agent: Option<crate::id::AgentId>,
}

impl FromRow for Found {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            named: Named::new(row.take()?, row.take()?),
            user: row.take()?,
            role: row.take()?,
            is_active: row.take()?,
            agent: row.take()?,
        })
    }
}

impl Found {
    /// For the permission's expressions.
    pub fn subject<'a>(&'a self, tenant: &'a TenantId) -> Subject<'a> {
        Subject { tenant, user: &self.user, role: self.role, agent: self.agent.as_ref() }
    }
}

/// The user (by id or address) or agent (by id or name) that the text names. An agent that the caller may not read is an
/// absent one.
pub async fn subject(reads: &dyn Rows, caller: &Caller, text: &str) -> Result<Option<Found>, DbError> {
    let mut binder = Binder::default();
    let text = text.trim();
    let (column, user) = user::named(text);
    let (tenant, user) = (binder.bind(caller.tenant_id()), binder.bind(user));
    let (name, agent) = (agent::column(text), binder.bind(text));
    let readable = Bound::new(caller, &mut binder).on_agent(Action::Read);
    let sql = format!(
        "SELECT u.id, u.email, u.id, u.role, u.deactivated_at IS NULL, NULL
         FROM users u WHERE u.tenant_id = {tenant} AND u.{column} = {user} AND u.deleted_at IS NULL
         UNION ALL
         SELECT a.id, a.name, u.id, u.role, u.deactivated_at IS NULL, a.id
         FROM agents a JOIN users u ON u.id = a.owner_id
         WHERE a.tenant_id = {tenant} AND a.{name} = {agent} AND a.archived_at IS NULL AND {readable}
         LIMIT 1"
    );
    reads.optional(&sql, binder.into_args()).await
}

/// A factor of a decision about an agent, and whether it holds.
#[derive(Clone, Debug, Serialize)]
pub struct Held {
    /// Its word.
    pub factor: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// What it rests on.
    pub why: String,
}

/// The decision about an agent with its factors.
pub struct Explained {
    /// The agent's id.
    pub id: AgentId,
    /// The agent's name.
    pub name: String,
    /// Whether the subject may read it: otherwise there is nothing to tell him.
    pub may_read: bool,
    /// Whether it is allowed.
    pub allowed: bool,
    /// The factors.
    pub factors: Vec<(Factor, bool)>,
}

/// How an explanation is asked for.
struct Question {
    /// What the bits of the answer mean.
    factors: Vec<Factor>,
    sql: String,
}

/// What the text of a question depends on: the subject's shape, and the column that the agent is found by.
type Shape = (permission::Shape, &'static str);

/// Each is put together once in an instance.
static QUESTIONS: Mutex<Vec<(Shape, Arc<Question>)>> = Mutex::new(Vec::new());

impl Question {
    fn of(bound: &Bound<'_>, column: &'static str, agent: &str) -> Arc<Self> {
        let shape = (bound.shape(), column);
        let mut known = QUESTIONS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, question)) = known.iter().find(|(asked, _)| *asked == shape) {
            return Arc::clone(question);
        }
        let question = Arc::new(Self::new(bound, column, agent));
        known.push((shape, Arc::clone(&question)));
        question
    }

    fn new(bound: &Bound<'_>, column: &str, agent: &str) -> Self {
        let (factors, parts): (Vec<Factor>, Vec<String>) = factors(bound).into_iter().unzip();
        let bits: Vec<String> = parts.iter().enumerate().map(|(at, part)| format!("(({part}) << {at})")).collect();
        // By id: whatever tenant it is of, so that the gate can be told. By name: a name is one of its tenant.
        let gate = if column == "name" { format!("{} AND ", bound.in_tenant()) } else { String::new() };
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

/// Explains whether the subject may do this with the agent of that name or id, factor by factor, in one statement.
pub async fn explain(
    reads: &dyn Rows,
    subject: Subject<'_>,
    agent: &str,
    action: Action,
) -> Result<Option<Explained>, DbError> {
    let mut binder = Binder::default();
    let bound = Bound::new(subject, &mut binder);
    let column = agent::column(agent);
    let agent = binder.bind(agent);
    let question = Question::of(&bound, column, &agent);
    let Some(Bits { id, name, held }) = reads.find(&question.sql, binder.into_args()).await? else { return Ok(None) };
    let held: Vec<(Factor, bool)> =
        question.factors.iter().enumerate().map(|(at, factor)| (*factor, held >> at & 1 == 1)).collect();
    let (may_read, allowed) = (allows(&held, Action::Read), allows(&held, action));
    let factors = held.into_iter().filter(|(factor, _)| factor.counts_for(action)).collect();
    Ok(Some(Explained { id, name, may_read, allowed, factors }))
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::TestRunner};

    use super::*;
    use crate::{
        id::{AgentId, UserId},
        testing::TestApp,
    };

    /// A world that is small enough to go through by hand, and large enough to hold every case.
    #[derive(Clone, Debug)]
    struct World {
        /// Tenant, role, active.
        users: Vec<(u8, u8)>,
        /// Owner, parent.
        agents: Vec<(usize, Option<usize>)>,
        /// Object (agent or key), subject (user or agent), relation.
        grants: Vec<(usize, usize, bool)>,
        /// The agent of each key.
        keys: Vec<usize>,
    }

    fn worlds() -> impl Strategy<Value = World> {
        let users = proptest::collection::vec((0..2_u8, 0..4_u8), 2..5);
        let agents = proptest::collection::vec((any::<usize>(), proptest::option::of(any::<usize>())), 1..7);
        let grants = proptest::collection::vec((any::<usize>(), any::<usize>(), any::<bool>()), 0..9);
        let keys = proptest::collection::vec(any::<usize>(), 0..4);
        (users, agents, grants, keys).prop_map(|(users, agents, grants, keys)| {
            let mut made: Vec<(usize, Option<usize>)> = Vec::new();
            for (owner, parent) in agents {
                // A child has its parent's owner, and its parent was there before it.
                let parent = parent.filter(|_| !made.is_empty()).map(|at| at % made.len());
                made.push((parent.map_or(owner % users.len(), |at| made[at].0), parent));
            }
            let (objects, subjects) = (made.len() + keys.len(), users.len() + made.len());
            let grants = grants.into_iter().map(|(o, s, editor)| (o % objects, s % subjects, editor)).collect();
            let keys = keys.into_iter().map(|at| at % made.len()).collect();
            World { users, agents: made, grants, keys }
        })
    }

    impl World {
        fn tenant_of_subject(&self, subject: usize) -> u8 {
            self.users[self.person(subject)].0
        }

        fn person(&self, subject: usize) -> usize {
            if subject < self.users.len() { subject } else { self.agents[subject - self.users.len()].0 }
        }

        fn tenant_of_agent(&self, agent: usize) -> u8 {
            self.users[self.agents[agent].0].0
        }

        fn has_grant(&self, object: usize, subject: usize, editor: bool) -> bool {
            self.grants.contains(&(object, subject, editor))
        }

        /// The schema in plain words: how a person stands to an object of an agent.
        fn person_stands(&self, object: usize, agent: usize, user: usize, relations: &str) -> bool {
            relations.split(' ').any(|relation| match relation {
                "owner" => self.agents[agent].0 == user,
                "admin" => self.users[user].1 == 3,
                "editor" => self.has_grant(object, user, true),
                _ => self.has_grant(object, user, false),
            })
        }

        fn stands(&self, object: usize, agent: usize, subject: usize, relations: &str) -> bool {
            let person = self.person_stands(object, agent, self.person(subject), relations);
            if subject < self.users.len() {
                return person;
            }
            let own = subject - self.users.len();
            let mut at = Some(agent);
            while let Some(above) = at {
                if above == own {
                    return true; // ownership of itself and of all below it
                }
                at = self.agents[above].1;
            }
            let granted = relations.split(' ').any(|relation| match relation {
                "editor" => self.has_grant(object, subject, true),
                "viewer" => self.has_grant(object, subject, false),
                _ => false,
            });
            granted && person
        }

        fn may(&self, subject: usize, agent: usize, action: Action) -> bool {
            let relations = match action {
                Action::Read => "viewer editor owner admin",
                Action::Update => "editor owner admin",
                Action::Delete | Action::Share => "owner admin",
            };
            self.tenant_of_subject(subject) == self.tenant_of_agent(agent)
                && self.stands(agent, agent, subject, relations)
        }

        fn may_key(&self, subject: usize, key: usize, action: Action) -> bool {
            let (agent, object) = (self.keys[key], self.agents.len() + key);
            let (relations, parent) = match action {
                Action::Read => ("viewer editor owner admin", Action::Read),
                Action::Update | Action::Delete => ("editor owner admin", Action::Update),
                Action::Share => ("owner admin", Action::Update),
            };
            self.stands(object, agent, subject, relations) && self.may(subject, agent, parent)
        }
    }

    fn id<T: crate::db::FromValue>(text: &str) -> T {
        T::from_value(text.into()).unwrap()
    }

    fn object(world: &World, at: usize) -> String {
        if at < world.agents.len() { format!("agt_{at}") } else { format!("key_{}", at - world.agents.len()) }
    }

    fn subject_id(world: &World, at: usize) -> String {
        if at < world.users.len() { format!("usr_{at}") } else { format!("agt_{}", at - world.users.len()) }
    }

    async fn build(t: &TestApp, world: &World) {
        let mut sql = String::from(
            "DELETE FROM grants; DELETE FROM keys; UPDATE agents SET parent_id = NULL; DELETE FROM agents; DELETE FROM users;",
        );
        for (at, (tenant, role)) in world.users.iter().enumerate() {
            let role = Role::ALL[usize::from(*role)].as_str();
            sql += &format!(
                "INSERT INTO users (id, tenant_id, email, email_key, name, role, created_at) VALUES ('usr_{at}', 'ten_{tenant}', 'u{at}', 'u{at}', 'u', '{role}', 0);"
            );
        }
        for (at, (owner, parent)) in world.agents.iter().enumerate() {
            let parent = parent.map_or("NULL".to_owned(), |parent| format!("'agt_{parent}'"));
            let tenant = world.tenant_of_agent(at);
            sql += &format!(
                "INSERT INTO agents (id, tenant_id, name, owner_id, parent_id, scope, created_at, updated_at) VALUES ('agt_{at}', 'ten_{tenant}', 'a{at}', 'usr_{owner}', {parent}, '*', {at}, 0);"
            );
        }
        for (at, agent) in world.keys.iter().enumerate() {
            sql += &format!("INSERT INTO keys VALUES ('key_{at}', 'agt_{agent}');");
        }
        for (at, subject, editor) in &world.grants {
            let (object, subject) = (object(world, *at), subject_id(world, *subject));
            let relation = if *editor { "editor" } else { "viewer" };
            sql += &format!(
                "INSERT INTO grants VALUES ('{object}', '{subject}', '{relation}', 'ten_0', 0, 'usr_0') ON CONFLICT DO NOTHING;"
            );
        }
        rusqlite::Connection::open(t.path()).unwrap().execute_batch(&sql).unwrap();
    }

    /// Check, list and explain answer as the schema's plain words do, in thousands of random worlds.
    #[test]
    fn the_sql_answers_as_the_schema_says() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let t = TestApp::new(crate::router::Router::default());
        runtime.block_on(async {
            t.tenant("main").await;
            t.execute("CREATE TABLE keys (id TEXT, agent_id TEXT)").await.unwrap();
            t.execute("INSERT INTO tenants VALUES ('ten_0', 'zero', 0), ('ten_1', 'one', 0)").await.unwrap();
        });
        let mut config = ProptestConfig::with_cases(2_000);
        config.failure_persistence = None;
        let decisions = std::cell::Cell::new(0_u64);
        TestRunner::new(config)
            .run(&worlds(), |world| {
                runtime.block_on(async {
                    build(&t, &world).await;
                    for at in 0..world.users.len() + world.agents.len() {
                        check(&t, &world, at, &decisions).await?;
                    }
                    Ok(())
                })
            })
            .unwrap();
        assert!(decisions.get() > 100_000, "{} decisions only", decisions.get());
    }

    /// What the subject may read, the newest first.
    fn readable(world: &World, subject: usize) -> Vec<String> {
        let agents = (0..world.agents.len()).rev();
        agents.filter(|agent| world.may(subject, *agent, Action::Read)).map(|agent| format!("agt_{agent}")).collect()
    }

    /// The same, page by page of two.
    async fn pages(t: &TestApp, subject: Subject<'_>) -> Vec<String> {
        let (mut all, mut at, mut id) = (Vec::new(), i64::MAX, String::new());
        loop {
            let mut binder = Binder::default();
            let bound = Bound::new(subject, &mut binder);
            let behind = (binder.bind(at), binder.bind(id.as_str()));
            let rows = binder.bind(2);
            let ids = bound.readable(" AND a.name <> 'x'", (&behind.0, &behind.1), &rows);
            let page: Vec<String> = t.db().list(&ids, binder.into_args()).await.unwrap();
            let Some(last) = page.last() else { return all };
            assert!(page.len() <= 2);
            (at, id) = (last.trim_start_matches("agt_").parse().unwrap(), last.clone());
            all.extend(page);
        }
    }

    async fn check(
        t: &TestApp,
        world: &World,
        at: usize,
        decisions: &std::cell::Cell<u64>,
    ) -> Result<(), TestCaseError> {
        let tenant: TenantId = id(&format!("ten_{}", world.tenant_of_subject(at)));
        let user: UserId = id(&format!("usr_{}", world.person(at)));
        let agent: Option<AgentId> = (at >= world.users.len()).then(|| id(&subject_id(world, at)));
        let role = Role::ALL[usize::from(world.users[world.person(at)].1)];
        let subject = Subject { tenant: &tenant, user: &user, role, agent: agent.as_ref() };
        prop_assert_eq!(pages(t, subject).await, readable(world, at), "{:?} pages", subject);
        for action in Action::ALL {
            let mut binder = Binder::default();
            let allowed = Bound::new(subject, &mut binder).on_agent(action);
            let sql = format!("SELECT a.id FROM agents a WHERE {allowed} ORDER BY a.created_at");
            let listed: Vec<String> = t.db().list(&sql, binder.into_args()).await.unwrap();
            let expected: Vec<String> = (0..world.agents.len())
                .filter(|agent| world.may(at, *agent, action))
                .map(|agent| format!("agt_{agent}"))
                .collect();
            prop_assert_eq!(&listed, &expected, "{:?} lists for {:?}", subject, action);

            for number in 0..world.agents.len() {
                let told = explain(t.db(), subject, &format!("agt_{number}"), action).await.unwrap().unwrap();
                let may = world.may(at, number, action);
                prop_assert_eq!(told.allowed, may, "{:?} {:?} agt_{}", subject, action, number);
                prop_assert_eq!(told.may_read, world.may(at, number, Action::Read), "{:?} agt_{}", subject, number);
                decisions.set(decisions.get() + 1);
            }

            let mut binder = Binder::default();
            let allowed = Bound::new(subject, &mut binder).on_key(action);
            let sql =
                format!("SELECT k.id FROM keys k JOIN agents a ON a.id = k.agent_id WHERE {allowed} ORDER BY k.id");
            let listed: Vec<String> = t.db().list(&sql, binder.into_args()).await.unwrap();
            let expected: Vec<String> = (0..world.keys.len())
                .filter(|key| world.may_key(at, *key, action))
                .map(|key| format!("key_{key}"))
                .collect();
            prop_assert_eq!(&listed, &expected, "{:?} keys for {:?}", subject, action);
        }
        Ok(())
    }
}
