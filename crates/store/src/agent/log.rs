//! Table `agent_logs`: what agents write into their logs, the newest 10,000 lines of each.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Purpose, Reads, Row, Rows},
    page::{any_like, patterns},
};
use common::{id::AgentId, time::Timestamp};

/// A line as it is read.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LogLine {
    /// Its number in the log. A later line has a greater one.
    pub seq: i64,
    /// When it was written.
    pub at: Timestamp,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// The text.
    pub text: String,
}

impl FromRow for LogLine {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { seq: row.take()?, at: row.take()?, level: row.take()?, text: row.take()? })
    }
}

/// Appends lines, a JSON list of `{"level", "text"}`, to an agent's log. One hot statement, whose trigger numbers them and
/// forgets the oldest. `false`: the agent is archived, or its owner or their tenant has as many bytes as given.
pub async fn append(
    db: &Db,
    agent: &AgentId,
    lines: String,
    (of_person, of_tenant): (i64, i64),
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "INSERT INTO do_log (agent_id, at, lines)
               SELECT a.id, ?2, ?3
               FROM agents a JOIN usage p ON p.subject_id = a.owner_id JOIN usage t ON t.subject_id = a.tenant_id
               WHERE a.id = (SELECT ?1) AND a.archived_at IS NULL AND p.bytes < ?4 AND t.bytes < ?5 RETURNING 1";
    let row = args![agent, now, lines, of_person, of_tenant];
    Ok(!db.hot::<Affected>(sql, row).await?.is_empty())
}

/// The filter of the lines of a log.
#[derive(Default)]
pub struct Filter<'a> {
    /// A part of the text.
    pub q: Option<&'a str>,
    /// Of this level.
    pub level: Option<&'a str>,
    /// Written at this time or after it.
    pub since: Option<Timestamp>,
    /// Written before it.
    pub until: Option<Timestamp>,
    /// With a greater number than this.
    pub after: Option<i64>,
    /// With a smaller number than this.
    pub before: Option<i64>,
}

/// The newest lines of an agent's log, or those next after a number; at most `most`, the oldest first.
pub async fn list(reads: &dyn Rows, agent: &AgentId, filter: &Filter<'_>, most: i64) -> Result<Vec<LogLine>, DbError> {
    let found = any_like("?6", &["text"]);
    let order = if filter.after.is_some() { "ASC" } else { "DESC" };
    let sql = format!(
        "SELECT seq, at, level, text FROM (
                   SELECT seq, at, level, text FROM agent_logs
                   WHERE agent_id = ?1 AND seq > ifnull(?7, 0) AND seq < ifnull(?8, 1 << 62) AND at >= ifnull(?2, at) AND (?4 IS NULL OR at < ?4)
                     AND (?5 IS NULL OR level = ?5) AND (?6 IS NULL OR {found}) ORDER BY seq {order} LIMIT ?3)
               ORDER BY seq"
    );
    let Filter { q, level, since, until, after, before } = *filter;
    reads.list(&sql, args![agent, since, most, until, level, q.map(patterns), after, before]).await
}

/// Purges lines that were written before this moment, and gives back what they took.
pub async fn purge(db: &Db, since: Timestamp, most: i64) -> Result<(), DbError> {
    if db.optional::<Affected>("SELECT 1 FROM agent_logs WHERE at <= ?1 LIMIT 1", args![since]).await?.is_none() {
        return Ok(());
    }
    // The same lines for both, by the index.
    let old = "SELECT agent_id, seq, text FROM agent_logs WHERE at <= ?1 ORDER BY at, agent_id, seq LIMIT ?2";
    let tx = db.begin(Purpose::Revoking).await?;
    let sql = format!(
        "UPDATE agents SET stored_bytes = max(0, stored_bytes - gone.bytes)
         FROM (SELECT agent_id, sum(64 + length(CAST(text AS BLOB))) AS bytes FROM ({old}) GROUP BY agent_id) gone WHERE agents.id = gone.agent_id"
    );
    tx.execute(&sql, args![since, most]).await?;
    let sql = format!("DELETE FROM agent_logs WHERE (agent_id, seq) IN (SELECT agent_id, seq FROM ({old}))");
    tx.execute(&sql, args![since, most]).await?;
    tx.commit().await
}
