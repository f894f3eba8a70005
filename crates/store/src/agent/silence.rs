//! Agents of which nothing was heard for longer than their people have set. A heartbeat clears the mark that they were told.

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Tx},
};
use common::{
    id::{AgentId, TenantId},
    time::Timestamp,
};

/// Agents that one tick tells of at most.
const BATCH: i64 = 100;

/// An agent that has gone silent, and whom it concerns.
pub struct Silent {
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: String,
    /// The tenant.
    pub tenant: TenantId,
    /// Its last heartbeat.
    pub last_seen_at: Timestamp,
    /// The minutes that its people have set.
    pub minutes: i64,
}

impl FromRow for Silent {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            name: row.take()?,
            tenant: row.take()?,
            last_seen_at: row.take()?,
            minutes: row.take()?,
        })
    }
}

/// The condition on an agent, in the words of the index.
const IS_SILENT: &str = "max(last_seen_at, ifnull(state_changed_at, 0)) + silent_after_minutes * 60000 <= ?1
    AND silent_after_minutes IS NOT NULL AND silent_told_at IS NULL AND state = 'running' AND archived_at IS NULL";

/// Whether there is one.
pub async fn any(db: &Db, now: Timestamp) -> Result<bool, DbError> {
    let sql = format!("SELECT 1 FROM agents WHERE {IS_SILENT} LIMIT 1");
    Ok(db.optional::<Affected>(&sql, args![now]).await?.is_some())
}

/// Takes some of them, so that each silence is told once.
pub async fn take(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<Silent>, DbError> {
    let sql = format!(
        "UPDATE agents SET silent_told_at = ?1 WHERE id IN (SELECT id FROM agents WHERE {IS_SILENT} LIMIT ?2)
         RETURNING id, name, tenant_id, last_seen_at, silent_after_minutes"
    );
    tx.list(&sql, args![now, BATCH]).await
}
