//! Table `access_requests`: the scopes that agents ask for beyond their token, and the decisions of people.
//!
//! An approved scope is the agent's, not a credential's: [`crate::credential::find`] reads it anew for every request of
//! the agent's token, so that it begins, ends and is revoked without a new token.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, DbError, FromRow, FromValue, Reads, Row, Rows, Tx, Value},
    page::PageRequest,
    permission::{Binder, PermissionSql},
    subject::Subject,
};
use common::{
    error::{ApiError, Code},
    id::{AccessRequestId, AgentId, UserId},
    permission::Action,
    role::Role,
    scope::Patterns,
    time::Timestamp,
};

/// Open requests that one agent has at most.
pub const MOST_OPEN: i64 = 20;

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
}

impl AccessRequestState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Open, Self::Approved, Self::Denied, Self::Revoked, Self::Ended];

    /// The word that is stored and answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Revoked => "revoked",
            Self::Ended => "ended",
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
    /// Its state.
    pub state: AccessRequestState,
    /// The scopes that were approved, if any were.
    pub granted: Option<Patterns>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody decided last.
    pub decided_at: Option<Timestamp>,
    /// The person who decided, by address; null when the agent's archiving or a new owner ended it.
    pub decided_by: Option<String>,
    /// Until when the approval counts.
    pub ends_at: Option<Timestamp>,
    /// The role of the agent's owner, beyond which nothing can be approved.
    #[serde(skip)]
    pub role: Role,
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
            state: row.take()?,
            granted: row.take()?,
            created_at: row.take()?,
            decided_at: row.take()?,
            decided_by: row.take()?,
            ends_at: row.take()?,
            role: row.take()?,
        })
    }
}

/// A request and the two answers about its agent.
struct Decided {
    request: AccessRequest,
    owner: String,
    may_read: bool,
    may_decide: bool,
}

impl FromRow for Decided {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            request: AccessRequest::from_row(row)?,
            owner: row.take()?,
            may_read: row.take()?,
            may_decide: row.take()?,
        })
    }
}

/// The state as it is seen at the moment `now`, an expression.
fn state(now: &str) -> String {
    format!("iif(r.state = 'approved' AND r.ends_at <= {now}, 'ended', r.state)")
}

/// Columns and joins; requests of archived agents are left out. `extra` are columns more.
fn select(now: &str, extra: &str) -> String {
    format!(
        "SELECT r.id, a.id, a.name, r.scope, r.reason, r.hours, {} AS state, r.granted, r.created_at, r.decided_at, d.email, r.ends_at, u.role{extra}
         FROM access_requests r
         JOIN agents a ON a.id = r.agent_id AND a.archived_at IS NULL
         JOIN users u ON u.id = a.owner_id
         LEFT JOIN users d ON d.id = r.decided_by
         WHERE ",
        state(now)
    )
}

/// The request with this id, if the caller may decide about it, or is the asking agent or one above it. Absent and unreadable
/// are the same 404 by the same one statement; a caller that may read the agent, but not decide, gets a 403.
pub async fn get(reads: &dyn Rows, subject: &Subject, id: &str, now: Timestamp) -> Result<AccessRequest, ApiError> {
    let mut binder = Binder::default();
    let (now, id, tenant) = (binder.bind(now), binder.bind(id), binder.bind(&subject.tenant));
    let bound = PermissionSql::new(subject, &mut binder);
    let (read, share) = (bound.on_agent(Action::Read), bound.on_agent(Action::Share));
    let sql = select(&now, &format!(", u.email, {read} AS may_read, {share} AS may_decide"))
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
    Err(Code::PermissionDenied.detail(detail).with("owner", found.owner).extra("required_relations", needed))
}

/// The filter of a list of requests.
#[derive(Default)]
pub struct Filter<'a> {
    /// In this state.
    pub state: Option<AccessRequestState>,
    /// Of this agent, by name or id.
    pub agent: Option<&'a str>,
}

/// The requests that the subject may see ([`get`]), the newest first.
pub async fn list(
    reads: &dyn Rows,
    subject: &Subject,
    filter: &Filter<'_>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Vec<AccessRequest>, DbError> {
    let mut binder = Binder::default();
    let (at, id) = page.after();
    let (now, at, id) = (binder.bind(now), binder.bind(at), binder.bind(id));
    let tenant = binder.bind(&subject.tenant);
    let may = PermissionSql::new(subject, &mut binder).on_agent(Action::Share);
    let mut sql =
        select(&now, "") + &format!("r.tenant_id = {tenant} AND (r.created_at, r.id) < ({at}, {id}) AND {may}");
    if let Some(only) = filter.state {
        match only {
            // In the words of the index.
            AccessRequestState::Open => sql.push_str(" AND r.state = 'open'"),
            _ => sql.push_str(&format!(" AND {} = {}", state(&now), binder.bind(only.as_str()))),
        }
    }
    if let Some(agent) = filter.agent {
        let agent = binder.bind(agent);
        sql.push_str(&format!(" AND (a.name = {agent} OR a.id = {agent})"));
    }
    sql.push_str(&format!(" ORDER BY r.created_at DESC, r.id DESC LIMIT {}", binder.bind(page.rows())));
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
}

impl FromRow for Open {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { id: row.take()?, scope: row.take()?, hours: row.take()? })
    }
}

/// The agent's open requests, the oldest first.
pub async fn open(reads: &dyn Rows, agent: &AgentId) -> Result<Vec<Open>, DbError> {
    let sql =
        "SELECT id, scope, hours FROM access_requests WHERE agent_id = ?1 AND state = 'open' ORDER BY created_at, id";
    reads.list(sql, args![agent]).await
}

/// The id of the agent's open request that asks for this scope.
pub async fn open_for(reads: &dyn Rows, agent: &AgentId, scope: &str) -> Result<Option<String>, DbError> {
    let open = open(reads, agent).await?;
    Ok(open.into_iter().find(|open| open.scope.to_column().split(' ').any(|name| name == scope)).map(|open| open.id))
}

/// Stores a request. One that an open request covers changes only that one's reason, and its hours if they are not more: a person
/// who approves it by its id never gives more than they have read.
pub async fn insert(tx: &Tx<'_>, new: &New<'_>, covered_by: Option<&Open>) -> Result<InsertOutcome, DbError> {
    if let Some(open) = covered_by {
        let sql = "UPDATE access_requests SET reason = ?2, hours = ?3
                   WHERE id = ?1 AND state = 'open' AND (reason, hours) IS NOT (?2, ?3) RETURNING 1";
        let is_changed = tx.optional::<Affected>(sql, args![&open.id, new.reason, new.hours]).await?.is_some();
        return Ok(InsertOutcome::Already { id: open.id.clone(), is_changed });
    }
    let sql = "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, created_at)
               SELECT ?1, a.tenant_id, a.id, ?3, ?4, ?5, ?6 FROM agents a
               WHERE a.id = ?2 AND (SELECT count(*) FROM access_requests o WHERE o.agent_id = a.id AND o.state = 'open') < ?7
               ON CONFLICT (agent_id, scope) WHERE state = 'open' DO NOTHING RETURNING 1";
    let row = args![new.id, new.agent, new.scope.to_column(), new.reason, new.hours, new.now, MOST_OPEN];
    let is_stored = tx.optional::<Affected>(sql, row).await?.is_some();
    Ok(if is_stored { InsertOutcome::Done } else { InsertOutcome::TooMany })
}

/// Withdraws an open request, which is then gone; `false`: it is not open any more.
pub async fn withdraw(tx: &Tx<'_>, id: &str) -> Result<bool, DbError> {
    let sql = "DELETE FROM access_requests WHERE id = ?1 AND state = 'open' RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id]).await?.is_some())
}

/// Approves an open request; `false`: it is not open any more.
pub async fn approve(
    tx: &Tx<'_>,
    id: &AccessRequestId,
    granted: &Patterns,
    ends_at: Timestamp,
    by: &UserId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql =
        "UPDATE access_requests SET state = 'approved', granted = ?2, ends_at = ?3, decided_by = ?4, decided_at = ?5
               WHERE id = ?1 AND state = 'open' RETURNING 1";
    let args = args![id, granted.to_column(), ends_at, by, now];
    Ok(tx.optional::<Affected>(sql, args).await?.is_some())
}

/// Denies an open request; `false`: it is not open any more.
pub async fn deny(tx: &Tx<'_>, id: &AccessRequestId, by: &UserId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE access_requests SET state = 'denied', decided_by = ?2, decided_at = ?3
               WHERE id = ?1 AND state = 'open' RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, by, now]).await?.is_some())
}

/// Takes back what was approved, from the agent's next request on; `false`: there is nothing (any more) to take back.
pub async fn revoke(tx: &Tx<'_>, id: &AccessRequestId, by: &UserId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE access_requests SET state = 'revoked', decided_by = ?2, decided_at = ?3
               WHERE id = ?1 AND state = 'approved' AND ends_at > ?3 RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, by, now]).await?.is_some())
}
