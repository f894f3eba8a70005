//! For native tests of components: the real handlers, SQL and migrations over a real SQLite file, with a clock that tests
//! move and chance that they can repeat.

mod absent;

pub use absent::foreign_objects_are_absent;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use axum::{
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::Value as Json;

use crate::{
    args,
    db::{Db, FromRow, Purpose, Reads, Row},
    http::{Env, Head, Headers, serve},
    id::{AgentId, CredentialId, RequestNumbers, TenantId, UserId},
    router::Router,
    scope::{Patterns, Role},
    secret::{Chance, Kind, Secret},
    settings::Settings,
    store::{agent, credential, grant, tenant, user},
    time::{Clock, Timestamp},
};

/// 2026-01-02T03:04:05.000Z: when every test begins.
pub const START: i64 = 1_767_323_045_000;

/// A component's router over a database of its own.
pub struct TestApp {
    env: Arc<Env>,
    router: Router,
    millis: Arc<AtomicI64>,
    directory: Arc<tempfile::TempDir>,
}

/// Somebody with a credential.
#[derive(Clone)]
pub struct Actor {
    /// The tenant.
    pub tenant: TenantId,
    /// The person: of an agent, its owner.
    pub user: UserId,
    /// The agent, if it is one.
    pub agent: Option<AgentId>,
    /// The credential's record.
    pub credential: CredentialId,
    /// The credential in clear.
    pub token: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// Asserts the status and gives the body as JSON (null when it is empty).
    #[track_caller]
    pub fn is(&self, status: u16) -> Json {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or(Json::Null)
    }

    /// Asserts a refusal by status and slug, that its envelope is whole, and gives it.
    #[track_caller]
    pub fn refused(&self, status: u16, slug: &str) -> Json {
        let body = self.is(status);
        let member = |name: &str| body.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        assert_eq!(member("error"), slug, "{body}");
        for name in ["detail", "fix", "doc_url", "request_id"] {
            assert!(!member(name).is_empty(), "{name}: {body}");
        }
        assert_eq!(self.header("x-request-id"), member("request_id"));
        body
    }

    /// A header's text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "tests only: a broken harness should end the test")]
impl TestApp {
    /// A router over an empty database, with no settings.
    pub fn new(router: Router) -> Self {
        Self::with(router, Settings::default())
    }

    /// A router over an empty database.
    pub fn with(router: Router, settings: Settings) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let millis = Arc::new(AtomicI64::new(START));
        let env = Env {
            db: Db::file(&directory.path().join("accredit.db"), settings.database_max_mib),
            clock: Clock::Fixed(Arc::clone(&millis)),
            chance: Chance::seeded(1),
            requests: RequestNumbers::new(&Chance::seeded(1)),
            settings,
        };
        Self { env: Arc::new(env), router, millis, directory: Arc::new(directory) }
    }

    /// A router over the database of another one, as a second instance or host would be.
    pub fn over(router: Router, other: &Self) -> Self {
        let env = Env {
            db: Db::file(&other.path(), None),
            clock: Clock::Fixed(Arc::clone(&other.millis)),
            chance: Chance::seeded(2),
            requests: RequestNumbers::new(&Chance::seeded(2)),
            settings: Settings::default(),
        };
        let directory = Arc::clone(&other.directory);
        Self { env: Arc::new(env), router, millis: Arc::clone(&other.millis), directory }
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.env.db
    }

    /// The database's file.
    pub fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("accredit.db")
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.env.clock.now()
    }

    /// Moves the clock on.
    pub fn wait(&self, seconds: i64) {
        self.millis.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let _request = self.db().request();
        let (parts, body) = request.into_parts();
        let head = Head { method: parts.method, uri: parts.uri, headers: Headers::new(parts.headers) };
        let (parts, body) = serve(&self.env, &self.router, head, body).await.into_parts();
        // RFC 9110, section 8.6: neither has content, so neither says how long it is.
        let is_bare = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        assert!(!is_bare || !parts.headers.contains_key("content-length"), "{parts:?}");
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Sends a request with headers and, unless it is null, a JSON body.
    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Json) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:3000");
        request = request.header("spin-client-addr", "192.0.2.1:4000");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.send(request.body(body).expect("a request")).await
    }

    /// Sends a request as somebody.
    pub async fn as_(&self, actor: &Actor, method: &str, path: &str, body: Json) -> Answer {
        self.call(method, path, &[("authorization", &format!("Bearer {}", actor.token))], body).await
    }

    /// Sends a request of nobody.
    pub async fn nobody(&self, method: &str, path: &str, body: Json) -> Answer {
        self.call(method, path, &[], body).await
    }

    /// Makes a tenant; the first one is the bootstrap's.
    pub async fn tenant(&self, slug: &str) -> TenantId {
        let id = TenantId::generate(self.now(), &self.env.chance);
        let tx = self.db().begin(Purpose::Durable).await.expect("a transaction");
        assert!(tenant::insert(&tx, &id, slug, self.now()).await.expect("a tenant"), "{slug} is taken");
        tenant::spend_bootstrap(&tx, &id, self.now()).await.expect("bootstrap");
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
        let id = UserId::generate(self.now(), &self.env.chance);
        let tx = self.db().begin(Purpose::Durable).await.expect("a transaction");
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

    /// Makes a credential of any kind, straight into the store.
    pub async fn credential(
        &self,
        kind: Kind,
        tenant: &TenantId,
        user: &UserId,
        agent: Option<&AgentId>,
        scope: &str,
        expires_at: Option<Timestamp>,
    ) -> Actor {
        let secret = Secret::generate(kind, &self.env.chance);
        let id = CredentialId::generate(self.now(), &self.env.chance);
        let tx = self.db().begin(Purpose::Durable).await.expect("a transaction");
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
        };
        credential::insert(&tx, &new).await.expect("a credential");
        tx.commit().await.expect("commit");
        let token = secret.reveal().to_owned();
        Actor { tenant: tenant.clone(), user: user.clone(), agent: agent.cloned(), credential: id, token }
    }

    /// Makes an agent of somebody, with a token that carries the agent's whole ceiling.
    pub async fn agent(&self, owner: &Actor, name: &str, scope: &str) -> Actor {
        self.agent_below(owner, None, name, scope).await
    }

    /// The same below another agent.
    pub async fn agent_below(&self, owner: &Actor, parent: Option<&Actor>, name: &str, scope: &str) -> Actor {
        let id = AgentId::generate(self.now(), &self.env.chance);
        let tx = self.db().begin(Purpose::Durable).await.expect("a transaction");
        let new = agent::New {
            id: &id,
            tenant_id: &owner.tenant,
            owner_id: &owner.user,
            parent_id: parent.and_then(|parent| parent.agent.as_ref()),
            fields: &agent::Fields::new(Patterns::stored(scope)),
            created_at: self.now(),
        };
        let name = agent::AgentName::parse(name).expect("a name");
        assert!(agent::insert(&tx, &name, &new).await.expect("an agent").is_some(), "the name is taken");
        tx.commit().await.expect("commit");
        self.credential(Kind::AgentToken, &owner.tenant, &owner.user, Some(&id), scope, None).await
    }

    /// Shares an agent with a user or an agent.
    pub async fn grant(&self, agent_id: &AgentId, tenant: &TenantId, subject: &str, relation: &str, by: &UserId) {
        let tx = self.db().begin(Purpose::Durable).await.expect("a transaction");
        let new = grant::New { tenant, object: agent_id.as_str(), subject, relation, by: by.as_str(), now: self.now() };
        grant::insert(&tx, &new).await.expect("a grant");
        tx.commit().await.expect("commit");
    }

    /// One integer, such as a count: for assertions on the state.
    pub async fn number(&self, sql: &str) -> i64 {
        self.db().optional(sql, args![]).await.expect(sql).expect("a row")
    }

    /// One column of texts.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        self.db().list(sql, args![]).await.expect(sql)
    }

    /// Runs a statement, for tests that bend the state.
    pub async fn execute(&self, sql: &str) -> Result<(), crate::db::DbError> {
        let tx = self.db().begin(Purpose::Durable).await?;
        tx.execute(sql, args![]).await?;
        tx.commit().await
    }
}

/// A column that may be NULL.
impl FromRow for Option<String> {
    fn from_row(row: &mut Row) -> Result<Self, crate::db::DbError> {
        row.take()
    }
}
