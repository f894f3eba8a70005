//! For native tests: a real database file, with a clock that tests move and people and agents in it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use common::{
    agent::{AgentName, AgentSettings},
    id::{AgentId, CredentialId, TenantId, UserId},
    permission::Relation,
    role::Role,
    scope::Patterns,
    secret::{Chance, Kind, Secret},
    time::Timestamp,
};

use crate::{
    agent, args, credential,
    db::{Db, DbError, FromRow, Purpose, Reads, Row},
    grant, tenant, user,
};

/// Runs each of these tests on every engine. Such a test is a function that takes what makes an empty database. A second engine becomes a second
/// module here, and then owes all of them.
#[cfg(test)]
macro_rules! on_every_engine {
    ($($test:ident)*) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test($crate::testing::TestDb::new).await;
                }
            )*
        }
    };
}
#[cfg(test)]
pub(crate) use on_every_engine;

/// 2026-01-02T03:04:05.000Z: when every test begins.
pub const START: i64 = 1_767_323_045_000;

/// A database of its own for one test. It is leaked, so that an application can keep it, and closed at the end of the test.
pub struct TestDb {
    db: &'static Db,
    millis: Arc<AtomicI64>,
    chance: Chance,
    directory: Arc<tempfile::TempDir>,
}

/// A caller with a credential.
#[derive(Clone)]
pub struct Actor {
    /// The tenant.
    pub tenant: TenantId,
    /// The person; of an agent, its owner.
    pub user: UserId,
    /// The agent, if it is one.
    pub agent: Option<AgentId>,
    /// The credential's record.
    pub credential: CredentialId,
    /// The credential in clear.
    pub token: String,
}

impl Drop for TestDb {
    fn drop(&mut self) {
        self.db.close();
    }
}

impl Default for TestDb {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "tests only: a broken harness should end the test")]
impl TestDb {
    /// An empty database without a bound.
    pub fn new() -> Self {
        Self::bounded(None)
    }

    /// An empty database of at most this size, MiB.
    pub fn bounded(max_mib: Option<i64>) -> Self {
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        Self::at(directory, Arc::new(AtomicI64::new(START)), 1, max_mib)
    }

    /// The same file and clock, as a second instance or host has them.
    #[must_use]
    pub fn second(&self) -> Self {
        Self::at(Arc::clone(&self.directory), Arc::clone(&self.millis), 2, None)
    }

    fn at(directory: Arc<tempfile::TempDir>, millis: Arc<AtomicI64>, seed: u64, max_mib: Option<i64>) -> Self {
        let db = Box::leak(Box::new(Db::file(&directory.path().join("accredit.db"), max_mib)));
        Self { db, millis, chance: Chance::seeded(seed), directory }
    }

    /// The database.
    pub fn db(&self) -> &'static Db {
        self.db
    }

    /// The database's file.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("accredit.db")
    }

    /// The clock: milliseconds since the Unix epoch.
    pub fn clock(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.millis)
    }

    /// Repeatable randomness.
    pub fn chance(&self) -> &Chance {
        &self.chance
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Ordering::SeqCst))
    }

    /// Moves the clock on.
    pub fn wait(&self, seconds: i64) {
        self.millis.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    /// Makes a tenant; the first one is the bootstrap's.
    pub async fn tenant(&self, slug: &str) -> TenantId {
        let id = TenantId::generate(self.now(), &self.chance);
        let tx = self.db.begin(Purpose::Durable).await.expect("a transaction");
        assert!(tenant::insert(&tx, &id, slug, self.now()).await.expect("a tenant"), "{slug} is taken");
        tenant::claim_bootstrap(&tx, &id, self.now()).await.expect("bootstrap");
        tx.commit().await.expect("commit");
        id
    }

    /// Makes the tenant `main` and its admin, Ada, with a session.
    pub async fn ada(&self) -> Actor {
        let tenant = self.tenant("main").await;
        self.user(&tenant, "ada@example.com", Role::Admin).await
    }

    /// Makes a user with a session.
    pub async fn user(&self, tenant: &TenantId, email: &str, role: Role) -> Actor {
        let id = UserId::generate(self.now(), &self.chance);
        let tx = self.db.begin(Purpose::Durable).await.expect("a transaction");
        let new = user::New {
            id: &id,
            tenant_id: tenant,
            email,
            name: email,
            role,
            password_hash: None,
            created_at: self.now(),
        };
        assert!(user::insert(&tx, &new).await.expect("a user"), "{email} is taken");
        tx.commit().await.expect("commit");
        let expires_at = Some(self.now().plus_seconds(86_400));
        self.credential(Kind::Session, tenant, &id, None, "*", expires_at).await
    }

    /// Makes a credential of any kind.
    pub async fn credential(
        &self,
        kind: Kind,
        tenant: &TenantId,
        user: &UserId,
        agent: Option<&AgentId>,
        scope: &str,
        expires_at: Option<Timestamp>,
    ) -> Actor {
        let secret = Secret::generate(kind, &self.chance);
        let id = CredentialId::generate(self.now(), &self.chance);
        let tx = self.db.begin(Purpose::Durable).await.expect("a transaction");
        let new = credential::New {
            id: &id,
            secret: &secret,
            tenant_id: tenant,
            user_id: user,
            agent_id: agent,
            scope,
            created_at: self.now(),
            expires_at,
            user_agent: None,
            name: (kind == Kind::Pat).then_some("planted"),
            key_id: None,
            minter: credential::Minter::default(),
        };
        credential::insert(&tx, &new).await.expect("a credential");
        tx.commit().await.expect("commit");
        let token = secret.reveal().to_owned();
        Actor { tenant: tenant.clone(), user: user.clone(), agent: agent.cloned(), credential: id, token }
    }

    /// Makes an agent, with a token that carries the agent's whole ceiling.
    pub async fn agent(&self, owner: &Actor, name: &str, scope: &str) -> Actor {
        self.agent_below(owner, None, name, scope).await
    }

    /// The same below another agent.
    pub async fn agent_below(&self, owner: &Actor, parent: Option<&Actor>, name: &str, scope: &str) -> Actor {
        let id = AgentId::generate(self.now(), &self.chance);
        let tx = self.db.begin(Purpose::Durable).await.expect("a transaction");
        let new = agent::New {
            id: &id,
            tenant_id: &owner.tenant,
            owner_id: &owner.user,
            parent_id: parent.and_then(|parent| parent.agent.as_ref()),
            settings: &AgentSettings::new(Patterns::stored(scope)),
            created_at: self.now(),
        };
        let name = AgentName::parse(name).expect("a name");
        assert!(agent::insert(&tx, &name, &new).await.expect("an agent").is_some(), "the name is taken");
        tx.commit().await.expect("commit");
        self.credential(Kind::AgentToken, &owner.tenant, &owner.user, Some(&id), scope, None).await
    }

    /// Replaces an agent's token by one that an editor issued, who gets the grant for it.
    pub async fn lent(&self, agent: &Actor, editor: &Actor, scope: &str) -> Actor {
        let id = agent.agent.as_ref().expect("an agent");
        self.grant(id, &agent.tenant, editor.user.as_str(), "editor", &agent.user).await;
        let sql = format!("UPDATE credentials SET revoked_at = 1 WHERE id = '{}'", agent.credential);
        self.execute(&sql).await.expect("its place");
        let lent = self.credential(Kind::AgentToken, &agent.tenant, &agent.user, Some(id), scope, None).await;
        let sql = format!("UPDATE credentials SET grantee = '{}' WHERE id = '{}'", editor.user, lent.credential);
        self.execute(&sql).await.expect("its grantee");
        lent
    }

    /// Shares an agent with a user or an agent.
    pub async fn grant(&self, agent_id: &AgentId, tenant: &TenantId, subject: &str, relation: &str, by: &UserId) {
        let tx = self.db.begin(Purpose::Durable).await.expect("a transaction");
        let relation = Relation::of_grant(relation).expect("a relation of a grant");
        let new = grant::New { tenant, object: agent_id.as_str(), subject, relation, by: by.as_str(), now: self.now() };
        grant::insert(&tx, &new).await.expect("a grant");
        tx.commit().await.expect("commit");
    }

    /// One integer, such as a count: for assertions on the state.
    pub async fn number(&self, sql: &str) -> i64 {
        self.db.optional(sql, args![]).await.expect(sql).expect("a row")
    }

    /// One column of texts.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        self.db.list(sql, args![]).await.expect(sql)
    }

    /// Runs a statement, for tests that change the state directly.
    pub async fn execute(&self, sql: &str) -> Result<(), DbError> {
        let tx = self.db.begin(Purpose::Durable).await?;
        tx.execute(sql, args![]).await?;
        tx.commit().await
    }
}

/// A column that may be NULL.
impl FromRow for Option<String> {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        row.take()
    }
}
