//! Check, list and explain against the schema in plain words, in random worlds.

use proptest::{prelude::*, test_runner::TestRunner};

use super::*;
use common::{
    id::{AgentId, TenantId, UserId},
    role::Role,
};

use crate::testing::TestDb;

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
        self.tenant_of_subject(subject) == self.tenant_of_agent(agent) && self.stands(agent, agent, subject, relations)
    }

    /// A confined agent is an editor of itself, and nothing to any other.
    fn confined_may(&self, subject: usize, agent: usize, action: Action) -> bool {
        subject - self.users.len() == agent && matches!(action, Action::Read | Action::Update)
    }

    /// To its own keys it stands as the editor does on whose grant its credential rests; an agent that is the editor by grants only.
    fn confined_may_key(&self, (subject, grantee): (usize, usize), key: usize, action: Action) -> bool {
        let (agent, object) = (self.keys[key], self.agents.len() + key);
        let granted = |to: usize| {
            let (editor, viewer) = (self.has_grant(object, to, true), self.has_grant(object, to, false));
            match action {
                Action::Read => editor || viewer,
                Action::Update | Action::Delete => editor,
                Action::Share => false,
            }
        };
        let owner = self.person(grantee);
        let stands =
            granted(grantee) && (grantee < self.users.len() || granted(owner) || self.agents[agent].0 == owner);
        stands && subject - self.users.len() == agent
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

async fn build(t: &TestDb, world: &World) {
    let mut sql = String::from(
        "BEGIN; DELETE FROM grants; DELETE FROM api_keys; UPDATE agents SET parent_id = NULL; DELETE FROM agents; DELETE FROM users;",
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
        sql += &format!(
            "INSERT INTO api_keys (id, tenant_id, agent_id, name, type, created_at, created_by) SELECT 'key_{at}', tenant_id, id, 'key_{at}', 'external', 1, owner_id FROM agents WHERE id = 'agt_{agent}';"
        );
    }
    for (at, subject, editor) in &world.grants {
        let (object, subject) = (object(world, *at), subject_id(world, *subject));
        let relation = if *editor { "editor" } else { "viewer" };
        sql += &format!(
            "INSERT INTO grants VALUES ('{object}', '{subject}', '{relation}', 'ten_0', 0, 'usr_0') ON CONFLICT DO NOTHING;"
        );
    }
    rusqlite::Connection::open(t.path()).unwrap().execute_batch(&(sql + "COMMIT")).unwrap();
}

/// Check, list and explain answer as the schema's plain words do, in thousands of random worlds.
async fn the_sql_answers_as_the_schema_says(new: fn() -> TestDb) {
    tokio::task::spawn_blocking(move || in_random_worlds(&new())).await.unwrap();
}

fn in_random_worlds(t: &TestDb) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        t.tenant("main").await;
        t.execute("INSERT INTO tenants (id, slug, created_at) VALUES ('ten_0', 'zero', 0), ('ten_1', 'one', 0)")
            .await
            .unwrap();
    });
    let mut config = ProptestConfig::with_cases(2_000);
    config.failure_persistence = None;
    let decisions = std::cell::Cell::new(0_u64);
    TestRunner::new(config)
        .run(&worlds(), |world| {
            runtime.block_on(async {
                build(t, &world).await;
                for at in 0..world.users.len() + world.agents.len() {
                    check(t, &world, at, &decisions).await?;
                }
                Ok(())
            })
        })
        .unwrap();
    assert!(decisions.get() > 100_000, "{} decisions only", decisions.get());
}

/// The same, page by page of two.
async fn pages(t: &TestDb, subject: &Subject) -> Vec<String> {
    let (mut all, mut at, mut id) = (Vec::new(), i64::MAX, String::new());
    loop {
        let mut binder = Binder::default();
        let permission = PermissionSql::new(subject, &mut binder);
        let behind = (binder.bind(at), binder.bind(id.as_str()));
        let rows = binder.bind(2);
        let ids = permission.readable(" AND a.name <> 'x'", (&behind.0, &behind.1), &rows);
        let page: Vec<String> = t.db().list(&ids, binder.into_args()).await.unwrap();
        let Some(last) = page.last() else { return all };
        assert!(page.len() <= 2);
        (at, id) = (last.trim_start_matches("agt_").parse().unwrap(), last.clone());
        all.extend(page);
    }
}

async fn check(t: &TestDb, world: &World, at: usize, decisions: &std::cell::Cell<u64>) -> Result<(), TestCaseError> {
    check_subject(t, world, at, None, decisions).await?;
    if at < world.users.len() {
        return Ok(());
    }
    // By a credential that rests on the grant of some user or agent.
    let grantee = (at * 7 + world.grants.len()) % (world.users.len() + world.agents.len());
    check_subject(t, world, at, Some(grantee), decisions).await
}

async fn check_subject(
    t: &TestDb,
    world: &World,
    at: usize,
    grantee: Option<usize>,
    decisions: &std::cell::Cell<u64>,
) -> Result<(), TestCaseError> {
    let may_agent = |agent: usize, action: Action| match grantee {
        Some(_) => world.confined_may(at, agent, action),
        None => world.may(at, agent, action),
    };
    let may_key = |key: usize, action: Action| match grantee {
        Some(grantee) => world.confined_may_key((at, grantee), key, action),
        None => world.may_key(at, key, action),
    };
    let tenant: TenantId = id(&format!("ten_{}", world.tenant_of_subject(at)));
    let user: UserId = id(&format!("usr_{}", world.person(at)));
    let agent: Option<AgentId> = (at >= world.users.len()).then(|| id(&subject_id(world, at)));
    let role = Role::ALL[usize::from(world.users[world.person(at)].1)];
    let subject = &Subject { tenant, user, role, agent, grantee: grantee.map(|at| subject_id(world, at)) };
    let readable: Vec<String> = (0..world.agents.len())
        .rev()
        .filter(|agent| may_agent(*agent, Action::Read))
        .map(|agent| format!("agt_{agent}"))
        .collect();
    prop_assert_eq!(pages(t, subject).await, readable, "{:?} pages", subject);
    for action in Action::ALL {
        let mut binder = Binder::default();
        let allowed = PermissionSql::new(subject, &mut binder).on_agent(action);
        let sql = format!("SELECT a.id FROM agents a WHERE {allowed} ORDER BY a.created_at");
        let listed: Vec<String> = t.db().list(&sql, binder.into_args()).await.unwrap();
        let expected: Vec<String> = (0..world.agents.len())
            .filter(|agent| may_agent(*agent, action))
            .map(|agent| format!("agt_{agent}"))
            .collect();
        prop_assert_eq!(&listed, &expected, "{:?} lists for {:?}", subject, action);

        for number in 0..world.agents.len() {
            let told = super::agent(t.db(), subject, &format!("agt_{number}")).await.unwrap().unwrap();
            let may = may_agent(number, action);
            prop_assert_eq!(told.allows(action), may, "{:?} {:?} agt_{}", subject, action, number);
            decisions.set(decisions.get() + 1);
        }

        let mut binder = Binder::default();
        let allowed = PermissionSql::new(subject, &mut binder).on_key(action);
        let sql =
            format!("SELECT k.id FROM api_keys k JOIN agents a ON a.id = k.agent_id WHERE {allowed} ORDER BY k.id");
        let listed: Vec<String> = t.db().list(&sql, binder.into_args()).await.unwrap();
        let expected: Vec<String> =
            (0..world.keys.len()).filter(|key| may_key(*key, action)).map(|key| format!("key_{key}")).collect();
        prop_assert_eq!(&listed, &expected, "{:?} keys for {:?}", subject, action);
    }
    // The newest alone: the statement is a long one.
    if let Some(number) = world.keys.len().checked_sub(1) {
        let told = super::key(t.db(), subject, &format!("key_{number}")).await.unwrap().unwrap();
        for action in Action::ALL {
            prop_assert_eq!(told.allows(action), may_key(number, action), "{:?} key_{}", subject, number);
        }
    }
    Ok(())
}

crate::testing::on_every_engine! { the_sql_answers_as_the_schema_says }
