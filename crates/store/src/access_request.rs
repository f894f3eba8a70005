//! Table `access_requests`: the scopes that agents ask for beyond their token, and the decisions of people.
//!
//! An approved scope is the agent's, not a credential's: [`crate::credential::find`] reads it anew for every request of
//! the agent's token, so that it begins, ends and is revoked without a new token. What was approved for one request alone is not among it:
//! [`find_once`] looks for that when a request would be refused, and [`spend`] lets one through.

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::{
    args,
    credential::FOR_GOOD,
    db::{Affected, DbError, FromRow, FromValue, Reads, Row, Rows, Tx, Value},
    page::{Order, PageRequest, any_has, pattern},
    permission::{Binder, PermissionSql},
    person::Named,
    subject::Subject,
};
use common::{
    agent::AgentName,
    error::{ApiError, Code},
    exact::Exact,
    id::{AccessRequestId, AgentId, TenantId, UserId},
    json,
    permission::Action,
    role::Role,
    route,
    scope::Patterns,
    time::Timestamp,
};

/// Open requests that one agent has at most.
pub const MOST_OPEN: i64 = 20;
/// The most characters of a reason, and of a word to the agent.
pub const MOST_REASON: usize = 500;
/// How long a denial stands, seconds: the same is not asked again before.
pub const DENIED_FOR: i64 = 3600;

/// The state of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessRequestState {
    /// Nobody has decided yet.
    Open,
    /// The scope can be used until the request ends.
    Approved,
    /// A person refused it.
    Denied,
    /// An approval was withdrawn.
    Revoked,
    /// An approval whose time is over. It is stored as approved.
    Ended,
    /// An approval for one request, which the agent has sent. It is stored as approved.
    Spent,
}

/// For how long something is approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lasts {
    /// For the one request that the access request names, once, until `ends_at`.
    Once,
    /// Until `ends_at`.
    Hours,
    /// Until it is revoked, as far as the agent's ceiling allows at each moment.
    Always,
}

impl Lasts {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Once, Self::Hours, Self::Always];

    /// The word that is sent and answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Hours => "hours",
            Self::Always => "always",
        }
    }
}

/// The request that an access request names, as it is shown.
#[derive(Debug, JsonSchema, Serialize)]
pub struct ExactRequest {
    /// The method.
    pub method: &'static str,
    /// The path with its query.
    pub path: String,
    /// The SHA-256 of the body in hexadecimal; null: it has none.
    pub body_sha256: Option<String>,
    /// The body itself, byte for byte, if the agent shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What it does, and with what, in words.
    pub words: String,
}

/// An exact request is answered with its words.
fn shown<S: Serializer>(exact: &Option<Exact>, serializer: S) -> Result<S::Ok, S::Error> {
    let with_body = |exact: &Exact| ExactRequest { body: exact.text().map(str::to_owned), ..ExactRequest::of(exact) };
    exact.as_ref().map(with_body).serialize(serializer)
}

impl ExactRequest {
    /// An exact request, with its words, and without the body itself.
    pub fn of(exact: &Exact) -> Self {
        Self {
            method: exact.route().method,
            path: exact.path().to_owned(),
            body_sha256: exact.body().map(str::to_owned),
            body: None,
            words: exact.words(),
        }
    }
}

impl AccessRequestState {
    /// Every state.
    pub const ALL: [Self; 6] = [Self::Open, Self::Approved, Self::Denied, Self::Revoked, Self::Ended, Self::Spent];

    /// The word that is stored and answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Revoked => "revoked",
            Self::Ended => "ended",
            Self::Spent => "spent",
        }
    }

    /// The state that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl FromValue for AccessRequestState {
    fn from_value(value: Value) -> Result<Self, DbError> {
        Self::from_word(&String::from_value(value)?).ok_or(DbError::Row("not a state of an access request"))
    }
}

/// A request, as the agent and the person who decides about it see it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AccessRequest {
    /// The id.
    pub id: AccessRequestId,
    /// The agent that asks.
    pub agent: RequestingAgent,
    /// The scopes that are asked for, one by one.
    pub scope: Patterns,
    /// The reason, in the agent's words.
    pub reason: String,
    /// For how long, hours.
    pub hours: i64,
    /// The one request that it is for, if the agent named one.
    #[serde(rename = "for", serialize_with = "shown")]
    #[schemars(with = "Option<ExactRequest>")]
    pub exact: Option<Exact>,
    /// Its state.
    pub state: AccessRequestState,
    /// The scopes that were approved, if any were.
    pub granted: Option<Patterns>,
    /// For how long they were approved.
    pub lasts: Option<Lasts>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody decided last.
    pub decided_at: Option<Timestamp>,
    /// The person who decided, by address; null when the agent's archiving or a new owner ended it.
    pub decided_by: Option<String>,
    /// What the person said who denied it.
    pub denial_reason: Option<String>,
    /// Until when the approval counts; of one for a single request, until when that can be sent, or when it was. Null: it has no end.
    pub ends_at: Option<Timestamp>,
    /// What the agent does next, for the agent itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The agent's open requests that it has taken in, which are gone; in the answer to an ask, and the one that was asked for by its id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
    /// The role of the agent's owner, beyond which nothing can be approved.
    #[serde(skip)]
    pub role: Role,
    /// The agent's ceiling, beyond which nothing can be approved for good.
    #[serde(skip)]
    pub ceiling: Patterns,
    /// The address of the agent's owner.
    pub owner: String,
}

/// The agent of a request.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RequestingAgent {
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: String,
}

impl FromRow for AccessRequest {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            agent: RequestingAgent { id: row.take()?, name: row.take()? },
            scope: row.take()?,
            reason: row.take()?,
            hours: row.take()?,
            exact: exact(row)?,
            state: row.take()?,
            granted: row.take()?,
            lasts: match (row.take::<bool>()?, row.take::<bool>()?, row.take::<bool>()?) {
                (false, ..) => None,
                (true, true, _) => Some(Lasts::Once),
                (true, false, true) => Some(Lasts::Always),
                (true, false, false) => Some(Lasts::Hours),
            },
            created_at: row.take()?,
            decided_at: row.take()?,
            decided_by: row.take()?,
            denial_reason: row.take()?,
            ends_at: row.take::<Option<Timestamp>>()?.filter(|end| *end < FOR_GOOD),
            next: None,
            replaces: Vec::new(),
            role: row.take()?,
            ceiling: row.take()?,
            owner: row.take()?,
        })
    }
}

/// The exact request of the next four columns. One whose route is no more is none.
fn exact(row: &mut Row) -> Result<Option<Exact>, DbError> {
    let mut next = || row.take::<Option<String>>();
    let (method, path, body, text) = (next()?, next()?, next()?, next()?);
    Ok(method.zip(path).and_then(|(method, path)| Exact::stored(&method, path, body, text)))
}

/// A request and the two answers about its agent.
struct Decided {
    request: AccessRequest,
    may_read: bool,
    may_decide: bool,
}

impl FromRow for Decided {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { request: AccessRequest::from_row(row)?, may_read: row.take()?, may_decide: row.take()? })
    }
}

/// The state as it is seen at the moment `now`, an expression.
fn state(now: &str) -> String {
    format!("iif(r.spent_at IS NOT NULL, 'spent', iif(r.state = 'approved' AND r.ends_at <= {now}, 'ended', r.state))")
}

/// The scopes that are asked for.
const SCOPE: &str = "ifnull(r.for_scope, r.scope)";
/// Requests with their agents; those of archived agents are left out.
const BY_AGE: &str = "access_requests r JOIN agents a ON a.id = r.agent_id AND a.archived_at IS NULL";
/// The same, agent by agent. CROSS JOIN is SQLite's word for "in this order".
const BY_AGENT: &str = "agents a CROSS JOIN access_requests r ON r.agent_id = a.id AND a.archived_at IS NULL";

/// Columns and joins. `extra` are columns more.
fn select(now: &str, extra: &str) -> String {
    select_from(BY_AGE, now, extra)
}

fn select_from(from: &str, now: &str, extra: &str) -> String {
    format!(
        "SELECT r.id, a.id, a.name, {SCOPE} AS s, r.reason, r.hours, r.for_method, r.for_path, r.for_body, r.for_text, {} AS state,
                ifnull(r.once, r.granted) AS g, r.granted IS NOT NULL AS h, r.once IS NOT NULL AS o, r.ends_at IS {} AS f,
                r.created_at, r.decided_at, d.email, r.word, r.ends_at, u.role, a.scope, u.email AS w{extra}
         FROM {from}
         JOIN users u ON u.id = a.owner_id
         LEFT JOIN users d ON d.id = r.decided_by
         WHERE ",
        state(now),
        FOR_GOOD.millis()
    )
}

/// The request with this id, if the caller may decide about it, or is the asking agent or one above it. Absent and unreadable
/// are the same 404 by the same one statement; a caller that may read the agent, but not decide, gets a 403.
pub async fn get(reads: &dyn Rows, subject: &Subject, id: &str, now: Timestamp) -> Result<AccessRequest, ApiError> {
    let mut binder = Binder::default();
    let (now, id, tenant) = (binder.bind(now), binder.bind(id), binder.bind(&subject.tenant));
    let bound = PermissionSql::new(subject, &mut binder);
    let (read, share) = (bound.on_agent(Action::Read), bound.on_agent(Action::Share));
    let sql = select(&now, &format!(", {read} AS may_read, {share} AS may_decide"))
        + &format!("r.id = {id} AND r.tenant_id = {tenant}");
    let found = reads.optional::<Decided>(&sql, binder.into_args()).await?;
    let Some(found) = found.filter(|found| found.may_read) else { return Err(Code::RequestNotFound.into()) };
    if found.may_decide {
        return Ok(found.request);
    }
    let needed: Vec<&str> = Action::Share.on_agents().iter().map(|relation| relation.as_str()).collect();
    let name = &found.request.agent.name;
    let detail = format!(
        "You may read the agent {name}, but to see or decide its access requests you must be one of: {}.",
        needed.join(", ")
    );
    Err(Code::PermissionDenied.detail(detail).with("owner", found.request.owner).extra("required_relations", needed))
}

/// The id of the request that has taken this one in, as the trail says: of the rows at the moment of its id one is the ask for it, and a later ask
/// of the same agent names it. What either is about, the caller may not know.
pub async fn taken_in_by(reads: &dyn Rows, tenant: &TenantId, id: &str) -> Result<Option<String>, DbError> {
    let Some(at) = AccessRequestId::time_of(id) else { return Ok(None) };
    let sql = "SELECT n.after ->> '$.request' AS next
               FROM audit o JOIN audit n ON n.object_id = o.object_id AND n.seq > o.seq
               WHERE o.tenant_id = ?1 AND o.at = ?2 AND o.action = ?4 AND o.after ->> '$.request' = ?3
                 AND n.action = ?4 AND EXISTS (SELECT 1 FROM json_each(n.after, '$.replaces') r WHERE r.value = ?3) LIMIT 1";
    let action = route::ACCESS_ASK.audit;
    reads.optional(sql, args![tenant, at, id, action]).await
}

/// The filter of a list of requests.
#[derive(Default)]
pub struct Filter<'a> {
    /// A part of the agent's name, of the scopes or of the reason.
    pub q: Option<&'a str>,
    /// In this state.
    pub state: Option<Wanted>,
    /// Of this agent, by name or id.
    pub agent: Option<&'a str>,
    /// Of an agent of this person.
    pub owner: Option<Named>,
    /// The order; by the agent's name, and of each agent the newest first.
    pub order: Order,
}

/// The states that a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This one.
    One(AccessRequestState),
    /// All but [`AccessRequestState::Open`].
    Decided,
}

impl Wanted {
    /// The word for all that were decided.
    pub const DECIDED: &str = "decided";

    /// What a word asks for.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            Self::DECIDED => Some(Self::Decided),
            word => AccessRequestState::from_word(word).map(Self::One),
        }
    }
}

/// The requests that the subject may see ([`get`]), the newest first, or by the names of their agents.
pub async fn list(
    reads: &dyn Rows,
    subject: &Subject,
    filter: &Filter<'_>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Vec<AccessRequest>, DbError> {
    let mut binder = Binder::default();
    let (at, id) = page.begin(filter.order);
    let (now, at, id) = (binder.bind(now), binder.bind(at), binder.bind(id));
    let tenant = binder.bind(&subject.tenant);
    let may = PermissionSql::new(subject, &mut binder).on_agent(Action::Share);
    let (from, behind, sorted) = match filter.order {
        Order::Newest => (
            BY_AGE,
            format!("r.tenant_id = {tenant} AND (r.created_at, r.id) < ({at}, {id})"),
            "r.created_at DESC, r.id DESC",
        ),
        // No agent is called nothing: the first page begins behind it.
        Order::Name => (
            BY_AGENT,
            format!("a.tenant_id = {tenant} AND a.name >= {at} AND (a.name > {at} OR r.id < {id})"),
            "a.name, r.id DESC",
        ),
    };
    let mut sql = select_from(from, &now, "") + &format!("{behind} AND {may}");
    match filter.state {
        None => {}
        // In the words of the index.
        Some(Wanted::One(AccessRequestState::Open)) => sql.push_str(" AND r.state = 'open'"),
        Some(Wanted::Decided) => sql.push_str(" AND r.state <> 'open'"),
        Some(Wanted::One(only)) => sql.push_str(&format!(" AND {} = {}", state(&now), binder.bind(only.as_str()))),
    }
    if let Some(q) = filter.q {
        let q = binder.bind(pattern(q));
        sql.push_str(&format!(" AND {}", any_has(&q, &["a.name", "a.display_name", "r.reason", SCOPE])));
    }
    if let Some(agent) = filter.agent {
        let agent = binder.bind(agent);
        sql.push_str(&format!(" AND (a.name = {agent} OR a.id = {agent})"));
    }
    if let Some(owner) = &filter.owner {
        sql.push_str(&format!(" AND {}", owner.is(&mut binder)));
    }
    sql.push_str(&format!(" ORDER BY {sorted} LIMIT {}", binder.bind(page.rows())));
    reads.list(&sql, binder.into_args()).await
}

/// A request to be stored.
pub struct New<'a> {
    /// The id.
    pub id: &'a AccessRequestId,
    /// The agent that asks.
    pub agent: &'a AgentId,
    /// The scopes that are asked for.
    pub scope: &'a Patterns,
    /// The reason.
    pub reason: &'a str,
    /// For how long.
    pub hours: i64,
    /// The one request that it is for.
    pub exact: Option<&'a Exact>,
    /// Now.
    pub now: Timestamp,
}

/// The outcome of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum InsertOutcome {
    /// The request is there now, in the place of open ones that asked for a part of it.
    Done,
    /// An open one asks for all of it already. `is_changed`: it has another reason or fewer hours now.
    Already {
        /// Its id.
        id: String,
        /// Whether it was changed.
        is_changed: bool,
    },
    /// The agent has as many open ones as it may.
    TooMany,
}

/// An open request.
pub struct Open {
    /// The id.
    pub id: String,
    /// The scopes that are asked for.
    pub scope: Patterns,
    /// For how long.
    pub hours: i64,
    /// The one request that it is for.
    pub exact: Option<Exact>,
}

impl FromRow for Open {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { id: row.take()?, scope: row.take()?, hours: row.take()?, exact: exact(row)? })
    }
}

/// The agent's open requests, the oldest first.
pub async fn open(reads: &dyn Rows, agent: &AgentId) -> Result<Vec<Open>, DbError> {
    let sql = "SELECT id, ifnull(for_scope, scope) AS s, hours, for_method, for_path, for_body, for_text
               FROM access_requests WHERE agent_id = ?1 AND state = 'open' ORDER BY created_at, id";
    reads.list(sql, args![agent]).await
}

/// What a person approved for some hours, or for good, and has not ended.
pub struct Running {
    /// The id of the request.
    pub id: String,
    /// The scopes.
    pub granted: Patterns,
    /// Its end.
    pub ends_at: Timestamp,
}

impl FromRow for Running {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { id: row.take()?, granted: row.take()?, ends_at: row.take()? })
    }
}

/// What the agent's token can use by approval.
pub async fn running(reads: &dyn Rows, agent: &AgentId, now: Timestamp) -> Result<Vec<Running>, DbError> {
    let sql = "SELECT id, granted, ends_at FROM access_requests
               WHERE agent_id = ?1 AND state = 'approved' AND ends_at > ?2 AND once IS NULL";
    reads.list(sql, args![agent, now]).await
}

/// Ends an approval that a longer one replaces; nobody is told of its end.
pub async fn replace(tx: &Tx<'_>, id: &str, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE access_requests SET ends_at = ?2, end_told_at = ?2 WHERE id = ?1 AND state = 'approved' AND ends_at > ?2";
    tx.execute(sql, args![id, now]).await
}

/// A request that a person denied.
pub struct Denied {
    /// The id.
    pub id: String,
    /// The scopes that were asked for.
    pub scope: Patterns,
    /// The one request that it was for.
    pub exact: Option<Exact>,
    /// When.
    pub at: Timestamp,
    /// By whom, by address.
    pub by: String,
    /// What they said.
    pub reason: Option<String>,
}

impl FromRow for Denied {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            scope: row.take()?,
            exact: exact(row)?,
            at: row.take()?,
            by: row.take()?,
            reason: row.take()?,
        })
    }
}

/// What people have denied the agent within [`DENIED_FOR`], the latest first.
pub async fn denied(reads: &dyn Rows, agent: &AgentId, now: Timestamp) -> Result<Vec<Denied>, DbError> {
    let sql = "SELECT r.id, ifnull(r.for_scope, r.scope) AS s, r.for_method, r.for_path, r.for_body, r.for_text, r.decided_at, d.email, r.word
               FROM access_requests r JOIN users d ON d.id = r.decided_by
               WHERE r.agent_id = ?1 AND r.state = 'denied' AND r.decided_at > ?2 ORDER BY r.decided_at DESC";
    reads.list(sql, args![agent, now.plus_seconds(-DENIED_FOR)]).await
}

/// An approval for one request.
#[derive(Clone, Debug)]
pub struct Once {
    /// The id of the access request.
    pub id: String,
    /// The scopes that were approved.
    pub scope: Patterns,
    /// Whether the agent has sent the request.
    pub is_spent: bool,
}

impl FromRow for Once {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { id: row.take()?, scope: row.take()?, is_spent: row.take()? })
    }
}

/// Whether `r` is about the agent that its path names now. The name is `?3`, and the tenant that of the request.
const SAME_AGENT: &str = "(r.for_agent IS NULL OR r.for_agent = (SELECT a.id FROM agents a
    WHERE a.tenant_id = r.tenant_id AND a.name = ?3 AND a.archived_at IS NULL))";

/// Whether each agent that the body names, in a JSON list, is still the one that had the name when `r` was asked: none was made or archived
/// since. What was sent already names what it has made itself.
fn are_the_same(names: &str) -> String {
    format!(
        "(r.spent_at IS NOT NULL
          OR NOT EXISTS (SELECT 1 FROM json_each({names}) j CROSS JOIN agents n
                         WHERE n.tenant_id = r.tenant_id AND n.name = j.value AND n.archived_at IS NULL AND n.created_at > r.created_at)
             AND NOT EXISTS (SELECT 1 FROM agents n WHERE n.tenant_id = r.tenant_id AND n.archived_at >= r.created_at
                             AND n.name IN (SELECT j.value FROM json_each({names}) j)))"
    )
}

/// The names of agents in the body of a request, as a JSON list: as they were typed, and as a deployment makes a name of what was typed.
fn named(exact: &Exact) -> String {
    let made = exact.named().iter().filter_map(|name| AgentName::parse(name));
    let names: Vec<String> = exact.named().iter().cloned().chain(made.map(|name| name.as_str().to_owned())).collect();
    json::to_text(&serde_json::Value::from(names))
}

/// What was approved once for exactly this request of the agent, and can still be sent; or else was sent after `spent_since`, which the same
/// request with the same `Idempotency-Key` may ask about.
pub async fn find_once(
    reads: &dyn Rows,
    agent: &AgentId,
    exact: &Exact,
    (now, spent_since): (Timestamp, Timestamp),
) -> Result<Option<Once>, DbError> {
    let sql = format!(
        "SELECT r.id, r.once, r.spent_at IS NOT NULL AS spent FROM access_requests r
         WHERE r.once IS NOT NULL AND r.agent_id = ?1 AND r.for_path = ?2 AND r.for_method = ?4 AND r.for_body IS ?5
           AND r.state = 'approved' AND (r.ends_at > ?6 OR r.spent_at > ?7) AND {SAME_AGENT} AND {}
         ORDER BY spent, r.ends_at LIMIT 1",
        are_the_same("?8")
    );
    let args = args![
        agent,
        exact.path(),
        agent_name(exact),
        exact.route().method,
        exact.body(),
        now,
        spent_since,
        named(exact)
    ];
    reads.optional(&sql, args).await
}

/// Spends an approval for one request; `false`: it was spent, revoked, or has ended, or is for another request, or another agent has the
/// name by now. Of several at once, one gets it.
pub async fn spend(tx: &Tx<'_>, id: &str, agent: &AgentId, exact: &Exact, now: Timestamp) -> Result<bool, DbError> {
    let sql = format!(
        "UPDATE access_requests AS r SET spent_at = ?8, ends_at = ?8
         WHERE r.id = ?1 AND r.agent_id = ?2 AND r.for_path = ?4 AND r.for_method = ?5 AND r.for_body IS ?6 AND r.once IS NOT NULL
           AND r.spent_at IS NULL AND r.state = 'approved' AND r.ends_at > ?7 AND {SAME_AGENT} AND {} RETURNING 1",
        are_the_same("?9")
    );
    let args =
        args![id, agent, agent_name(exact), exact.path(), exact.route().method, exact.body(), now, now, named(exact)];
    Ok(tx.optional::<Affected>(&sql, args).await?.is_some())
}

/// The name of the agent that the path of a request begins with; `None`: it names none by its name.
fn agent_name(exact: &Exact) -> Option<String> {
    exact.agent().filter(|name| name != "me" && !name.starts_with(AgentId::PREFIX))
}

/// Stores a request. One that an open request covers changes only that one's reason, shows its body, and its hours if they are not more: a person
/// who approves it by its id never gives more than they have read.
pub async fn insert(tx: &Tx<'_>, new: &New<'_>, covered_by: Option<&Open>) -> Result<InsertOutcome, DbError> {
    if let Some(open) = covered_by {
        let sql = "UPDATE access_requests SET reason = ?2, hours = ?3, for_text = ifnull(?4, for_text)
                   WHERE id = ?1 AND state = 'open' AND (reason, hours, for_text) IS NOT (?2, ?3, ifnull(?4, for_text)) RETURNING 1";
        let args = args![&open.id, new.reason, new.hours, new.exact.and_then(Exact::text)];
        let is_changed = tx.optional::<Affected>(sql, args).await?.is_some();
        return Ok(InsertOutcome::Already { id: open.id.clone(), is_changed });
    }
    let sql = "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, created_at,
                                            for_method, for_path, for_body, for_scope, for_agent, for_text)
               SELECT ?1, a.tenant_id, a.id, ?3, ?4, ?5, ?6, ?8, ?9, ?10, ?11,
                      (SELECT b.id FROM agents b WHERE b.tenant_id = a.tenant_id AND b.name = ?12 AND b.archived_at IS NULL), ?13
               FROM agents a
               WHERE a.id = ?2 AND (SELECT count(*) FROM access_requests o WHERE o.agent_id = a.id AND o.state = 'open') < ?7
               ON CONFLICT (agent_id, scope) WHERE state = 'open' DO NOTHING RETURNING 1";
    let (exact, patterns) = (new.exact, new.scope.to_column());
    // No pattern has a `=`: it is the word that stands for the request.
    let scope = exact.map_or_else(|| patterns.clone(), |exact| format!("{patterns} ={}", exact.digest()));
    let row = args![
        new.id,
        new.agent,
        scope,
        new.reason,
        new.hours,
        new.now,
        MOST_OPEN,
        exact.map(|exact| exact.route().method),
        exact.map(Exact::path),
        exact.and_then(Exact::body),
        exact.map(|_| patterns.as_str()),
        exact.and_then(agent_name),
        exact.and_then(Exact::text)
    ];
    let is_stored = tx.optional::<Affected>(sql, row).await?.is_some();
    Ok(if is_stored { InsertOutcome::Done } else { InsertOutcome::TooMany })
}

/// Withdraws an open request, which is then gone; `false`: it is not open any more.
pub async fn withdraw(tx: &Tx<'_>, id: &str) -> Result<bool, DbError> {
    let sql = "DELETE FROM access_requests WHERE id = ?1 AND state = 'open' RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id]).await?.is_some())
}

/// Approves an open request; `false`: it is not open any more, or names no request that could be sent once. An approval without an end
/// counts as far as the agent's ceiling allows; one for a single request gives nothing by itself, and is what [`spend`] spends.
pub async fn approve(
    tx: &Tx<'_>,
    id: &AccessRequestId,
    (granted, lasts): (&Patterns, Lasts),
    ends_at: Timestamp,
    by: &UserId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE access_requests SET state = 'approved', granted = ?2, ends_at = ?3, decided_by = ?4, decided_at = ?5, once = ?6
               WHERE id = ?1 AND state = 'open' AND (?6 IS NULL OR for_path IS NOT NULL) RETURNING 1";
    let granted = granted.to_column();
    let args = match lasts {
        Lasts::Once => args![id, "", ends_at, by, now, granted],
        Lasts::Hours => args![id, granted, ends_at, by, now, None::<String>],
        Lasts::Always => args![id, granted, FOR_GOOD, by, now, None::<String>],
    };
    Ok(tx.optional::<Affected>(sql, args).await?.is_some())
}

/// Denies an open request with a word to the agent; `false`: it is not open any more.
pub async fn deny(
    tx: &Tx<'_>,
    id: &AccessRequestId,
    reason: Option<&str>,
    by: &UserId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE access_requests SET state = 'denied', decided_by = ?2, decided_at = ?3, word = ?4
               WHERE id = ?1 AND state = 'open' RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, by, now, reason]).await?.is_some())
}

/// Takes back what was approved, from the agent's next request on; `false`: there is nothing (any more) to take back.
pub async fn revoke(tx: &Tx<'_>, id: &AccessRequestId, by: &UserId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE access_requests SET state = 'revoked', decided_by = ?2, decided_at = ?3
               WHERE id = ?1 AND state = 'approved' AND ends_at > ?3 RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, by, now]).await?.is_some())
}

/// Approvals of whose end one tick tells at most.
const MOST_ENDED: i64 = 200;

/// What has ended by time that nobody was told of. What the agent has spent is none of it.
const HAS_ENDED: &str = "state = 'approved' AND spent_at IS NULL AND end_told_at IS NULL AND ends_at <= ?1";

/// An approval whose time is over.
pub struct EndedByTime {
    /// The id of the access request.
    pub id: AccessRequestId,
    /// The tenant.
    pub tenant: TenantId,
    /// The agent.
    pub agent: AgentId,
    /// The scopes that were approved.
    pub scope: Patterns,
    /// When it ended.
    pub ends_at: Timestamp,
    /// Whether the agent is there, and not archived.
    pub is_live: bool,
}

impl FromRow for EndedByTime {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            tenant: row.take()?,
            agent: row.take()?,
            scope: row.take()?,
            ends_at: row.take()?,
            is_live: row.take()?,
        })
    }
}

/// Whether an approval has ended by time of which nobody was told.
pub async fn any_ended(reads: &dyn Rows, now: Timestamp) -> Result<bool, DbError> {
    let sql = format!("SELECT 1 FROM access_requests WHERE {HAS_ENDED} LIMIT 1");
    Ok(reads.optional::<Affected>(&sql, args![now]).await?.is_some())
}

/// Takes some of them, so that each end is told once.
pub async fn take_ended(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<EndedByTime>, DbError> {
    let sql = format!(
        "UPDATE access_requests SET end_told_at = ?1
         WHERE id IN (SELECT id FROM access_requests WHERE {HAS_ENDED} ORDER BY ends_at LIMIT ?2)
         RETURNING id, tenant_id, agent_id, ifnull(once, granted) AS scope, ends_at,
                   ifnull((SELECT a.archived_at IS NULL FROM agents a WHERE a.id = agent_id), 0) AS is_live"
    );
    tx.list(&sql, args![now, MOST_ENDED]).await
}
