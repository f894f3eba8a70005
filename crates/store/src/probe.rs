//! Table `probes`: checks of other services' APIs with agents' secrets, each with its last result.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, FromValue, Reads, Row, Rows, Tx, Value},
};
use common::{
    error::{ApiError, Code},
    id::{AgentId, ProbeId, TenantId, UserId},
    probe::ProbeStatus,
    time::Timestamp,
};

/// Probes of one agent at most.
const MOST: i64 = 16;
/// A result older than this is stale, seconds: a heartbeat makes the probe due.
const STALE: i64 = 86_400;
/// How long a due probe that could not be run waits at most, seconds: its agent may be resumed at any moment.
const PUT_OFF: i64 = 600;

impl FromValue for ProbeStatus {
    fn from_value(value: Value) -> Result<Self, DbError> {
        Self::from_word(&String::from_value(value)?).ok_or(DbError::Row("not the status of a probe"))
    }
}

/// A probe, as callers that may read its agent see it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Probe {
    /// The id.
    pub id: ProbeId,
    /// The name.
    pub name: String,
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The name of the secret that it sends.
    pub secret: String,
    /// The header in which it sends the secret.
    pub header: String,
    /// What stands before the secret there; empty: nothing does.
    pub scheme: String,
    /// The expected status.
    pub expect_status: i64,
    /// How often it is run, hours; null: only by hand, after a heartbeat, and when its secret was set.
    pub every_hours: Option<i64>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The id of the user or agent that made it.
    pub created_by: String,
    /// The outcome of the last run; null: there was none.
    pub status: Option<ProbeStatus>,
    /// The status of the other server's answer.
    pub http_status: Option<i64>,
    /// What was found, as a sentence, with the other server's own words.
    pub detail: Option<String>,
    /// The time of the last run.
    pub checked_at: Option<Timestamp>,
    /// Since when the outcome is this one.
    pub changed_at: Option<Timestamp>,
    /// When the next run is due; `None`: when something makes it so.
    #[serde(skip)]
    pub due_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, name, method, url, secret, header, scheme, expect_status, every_hours, created_at, created_by, status, http_status, detail, checked_at, changed_at, due_at";

impl FromRow for Probe {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            name: row.take()?,
            method: row.take()?,
            url: row.take()?,
            secret: row.take()?,
            header: row.take()?,
            scheme: row.take()?,
            expect_status: row.take()?,
            every_hours: row.take()?,
            created_at: row.take()?,
            created_by: row.take()?,
            status: row.take()?,
            http_status: row.take()?,
            detail: row.take()?,
            checked_at: row.take()?,
            changed_at: row.take()?,
            due_at: row.take()?,
        })
    }
}

/// The agent's probes, by name; at most 16.
pub async fn list(reads: &dyn Rows, agent: &AgentId) -> Result<Vec<Probe>, DbError> {
    reads.list(&format!("SELECT {COLUMNS} FROM probes WHERE agent_id = ?1 ORDER BY name"), args![agent]).await
}

/// One probe of an agent.
pub async fn find(reads: &dyn Rows, agent: &AgentId, id: &str) -> Result<Option<Probe>, DbError> {
    // An agent has few probes. One whose name is another's id gives way to it.
    let sql = format!(
        "SELECT {COLUMNS} FROM probes WHERE agent_id = ?2 AND (id = ?1 OR name = ?1) ORDER BY id = ?1 DESC LIMIT 1"
    );
    reads.optional(&sql, args![id, agent]).await
}

/// A probe to be stored.
pub struct New<'a> {
    /// The id.
    pub id: &'a ProbeId,
    /// The agent.
    pub agent: &'a AgentId,
    /// The name.
    pub name: &'a str,
    /// The method.
    pub method: &'a str,
    /// The URL.
    pub url: &'a str,
    /// The name of the secret.
    pub secret: &'a str,
    /// The header.
    pub header: &'a str,
    /// What stands before the secret.
    pub scheme: &'a str,
    /// The expected status.
    pub expect_status: i64,
    /// How often it is run.
    pub every_hours: Option<i64>,
    /// The id of the user or agent that makes it.
    pub by: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// Stores a probe; one that is run by itself is due at once. Refuses one more than an agent may have, and a name that is taken.
pub async fn insert(tx: &Tx<'_>, new: &New<'_>) -> Result<(), ApiError> {
    let other = "SELECT id FROM probes WHERE agent_id = ?1 AND name = ?2";
    if let Some(id) = tx.optional::<String>(other, args![new.agent, new.name]).await? {
        return Err(Code::ProbeTaken.with("id", id));
    }
    let count = "SELECT count(*) FROM probes WHERE agent_id = ?1";
    if tx.optional::<i64>(count, args![new.agent]).await?.unwrap_or(0) >= MOST {
        return Err(Code::TooManyProbes.into());
    }
    let sql = "INSERT INTO probes (id, agent_id, name, method, url, secret, header, scheme, expect_status, every_hours, created_at, created_by, due_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, iif(?10 IS NULL, NULL, ?11))";
    let row = args![
        new.id,
        new.agent,
        new.name,
        new.method,
        new.url,
        new.secret,
        new.header,
        new.scheme,
        new.expect_status,
        new.every_hours,
        new.now,
        new.by,
    ];
    tx.execute(sql, row).await?;
    Ok(())
}

/// Deletes a probe.
pub async fn delete(tx: &Tx<'_>, id: &ProbeId) -> Result<(), DbError> {
    tx.execute("DELETE FROM probes WHERE id = ?1", args![id]).await
}

/// Takes a probe for one run; `Err`: the time until which somebody else has it.
pub async fn begin(db: &Db, id: &ProbeId, now: Timestamp, until: Timestamp) -> Result<Result<(), Timestamp>, DbError> {
    let sql = "UPDATE probes SET busy_until = ?3 WHERE id = ?1 AND busy_until <= ?2 RETURNING 1";
    if !db.hot::<Affected>(sql, args![id, now, until]).await?.is_empty() {
        return Ok(Ok(()));
    }
    let busy: Option<i64> = db.optional("SELECT busy_until FROM probes WHERE id = ?1", args![id]).await?;
    Ok(Err(busy.map_or(now, Timestamp::from_millis)))
}

/// A due probe, with what its run needs to know of its agent.
pub struct Due {
    /// The tenant.
    pub tenant: TenantId,
    /// The agent.
    pub agent: AgentId,
    /// The agent's name.
    pub agent_name: String,
    /// The agent's owner.
    pub owner: UserId,
    /// Whether the agent runs: of one that is halted nothing is sent.
    pub is_running: bool,
    /// The probe.
    pub probe: Probe,
}

impl FromRow for Due {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            tenant: row.take()?,
            agent: row.take()?,
            agent_name: row.take()?,
            owner: row.take()?,
            is_running: row.take()?,
            probe: Probe::from_row(row)?,
        })
    }
}

/// Takes one due probe, the one that waits longest; nobody else has it until then.
pub async fn take_due(db: &Db, now: Timestamp, until: Timestamp) -> Result<Option<Due>, DbError> {
    // Read first: anybody may call the tick, and a statement that may write waits for the lock.
    let due = "SELECT 1 FROM probes WHERE due_at <= ?1 AND busy_until <= ?1 LIMIT 1";
    if db.optional::<Affected>(due, args![now]).await?.is_none() {
        return Ok(None);
    }
    let sql = "UPDATE probes SET busy_until = ?2
               WHERE id = (SELECT id FROM probes WHERE due_at <= ?1 AND busy_until <= ?1 ORDER BY due_at LIMIT 1) RETURNING id";
    let taken: Option<String> = db.hot(sql, args![now, until]).await?.into_iter().next();
    let Some(id) = taken else { return Ok(None) };
    let columns = COLUMNS.split(", ").map(|column| format!("p.{column}")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT a.tenant_id, a.id, a.name, a.owner_id, a.state = 'running' AS runs, {columns}
         FROM probes p JOIN agents a ON a.id = p.agent_id WHERE p.id = ?1"
    );
    db.optional(&sql, args![id]).await
}

/// What a run has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The outcome.
    pub status: ProbeStatus,
    /// The status of the answer.
    pub http_status: Option<i64>,
    /// The sentence.
    pub detail: String,
}

/// Stores what a run of this probe has found, and when the next one is due. What has made it due since it was taken, such as another value
/// of its secret, stays: the run did not see it.
pub async fn finish(tx: &Tx<'_>, taken: &Probe, found: &Finding, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE probes
               SET changed_at = iif(status IS ?2, changed_at, ?5), status = ?2, http_status = ?3, detail = ?4, checked_at = ?5,
                   due_at = iif(due_at IS ?7, ?5 + every_hours * 3600000, due_at), busy_until = ?6
               WHERE id = ?1";
    let (status, end) = (found.status.as_str(), now.plus_seconds(2));
    tx.execute(sql, args![&taken.id, status, found.http_status, found.detail.as_str(), now, end, taken.due_at]).await
}

/// Puts a due probe off without a result: its agent is halted, or it cannot be run here.
pub async fn put_off(db: &Db, id: &ProbeId, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE probes SET due_at = ?2 + min(ifnull(every_hours * 3600000, ?3), ?3), busy_until = 0 WHERE id = ?1 RETURNING 1";
    db.hot::<Affected>(sql, args![id, now, PUT_OFF * 1000]).await?;
    Ok(())
}

/// Makes the probes due that send one of these secrets of an agent, since it is another one now, or none.
pub async fn secrets_have_changed(
    tx: &Tx<'_>,
    agent: &AgentId,
    names: &[String],
    now: Timestamp,
) -> Result<(), DbError> {
    let sql =
        "UPDATE probes SET due_at = ?3 WHERE agent_id = ?1 AND secret IN (SELECT value FROM json_each(?2)) RETURNING 1";
    if tx.optional::<Affected>(sql, args![agent, names, now]).await?.is_some() {
        tx.leave_work();
    }
    Ok(())
}

/// Makes the agent's probes due whose results are stale; `true`: there is one. One hot statement.
pub async fn heartbeat(db: &Db, agent: &AgentId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE probes SET due_at = ?2
               WHERE agent_id = ?1 AND due_at IS NULL AND ifnull(checked_at, 0) <= ?3 RETURNING 1";
    Ok(!db.hot::<Affected>(sql, args![agent, now, now.plus_seconds(-STALE)]).await?.is_empty())
}

/// Whether a result of this time is stale: a heartbeat makes its probe due.
pub fn is_stale(checked_at: Option<Timestamp>, now: Timestamp) -> bool {
    checked_at.is_none_or(|at| at <= now.plus_seconds(-STALE))
}
