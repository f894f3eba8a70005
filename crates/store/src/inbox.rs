//! Table `inbox`: events for agents, in order, until they acknowledge them.

use serde_json::Value as Json;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows, Tx},
};
use common::{id::AgentId, time::Timestamp};

/// Events that one agent's inbox holds at most before messages are refused.
pub const MOST: i64 = 10_000;

/// The prefix of every event's id; its number follows, in 16 digits, so that text order is their order.
const PREFIX: &str = "evt_";

/// An event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its number.
    pub seq: i64,
    /// When it happened.
    pub at: Timestamp,
    /// Its kind, such as `message`.
    pub kind: String,
    /// Its data: a JSON object.
    pub data: Json,
}

impl FromRow for Event {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (seq, at, kind) = (row.take()?, row.take()?, row.take()?);
        let data: String = row.take()?;
        let data = common::json::parse(&data).ok_or(DbError::Row("an event whose data is no JSON"))?;
        Ok(Self { seq, at, kind, data })
    }
}

/// An event's id.
pub fn id(seq: i64) -> String {
    format!("{PREFIX}{seq:016}")
}

/// The number in an event's id.
pub fn seq(id: &str) -> Option<i64> {
    let digits = id.strip_prefix(PREFIX)?;
    (digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// Puts an event into an agent's inbox, in the transaction of the change that it reports; gives its number.
pub async fn push(tx: &Tx<'_>, agent: &AgentId, kind: &str, data: &Json, now: Timestamp) -> Result<i64, DbError> {
    let sql = "UPDATE agents SET inbox_seq = inbox_seq + 1 WHERE id = ?1 RETURNING inbox_seq";
    let seq: i64 = tx.optional(sql, args![agent]).await?.ok_or(DbError::Row("no agent for an event"))?;
    let sql = "INSERT INTO inbox (agent_id, seq, kind, data, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    tx.execute(sql, args![agent, seq, kind, common::json::to_text(data), now]).await?;
    Ok(seq)
}

/// An agent's events behind a number, the oldest first.
pub async fn list(reads: &dyn Rows, agent: &AgentId, after: i64, limit: i64) -> Result<Vec<Event>, DbError> {
    let sql = "SELECT seq, created_at, kind, data FROM inbox WHERE agent_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    reads.list(sql, args![agent, after, limit]).await
}

/// How many events an agent has not acknowledged.
pub async fn unread(reads: &dyn Rows, agent: &AgentId) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM inbox WHERE agent_id = ?1";
    Ok(reads.optional(sql, args![agent]).await?.unwrap_or(0))
}

/// Forgets an agent's events up to a number; gives how many there were.
pub async fn acknowledge(db: &Db, agent: &AgentId, upto: i64) -> Result<usize, DbError> {
    let sql = "DELETE FROM inbox WHERE agent_id = ?1 AND seq <= ?2 RETURNING 1";
    Ok(db.hot::<Affected>(sql, args![agent, upto]).await?.len())
}

/// The number of an agent's last event; 0 before the first one.
pub async fn last(reads: &dyn Rows, agent: &AgentId) -> Result<i64, DbError> {
    Ok(reads.optional("SELECT inbox_seq FROM agents WHERE id = ?1", args![agent]).await?.unwrap_or(0))
}
