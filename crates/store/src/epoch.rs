//! Table `epochs`: what has ended, was halted or was narrowed, numbered for each tenant. Triggers write it, in the transaction of the change.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, FromValue, Reads, Row, Rows, Value},
};
use common::{id::TenantId, time::Timestamp};

/// How long a number is kept, seconds: a day. The newest one of each tenant stays.
pub const KEPT: i64 = 86_400;

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "EpochKind")]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A credential.
    Credential,
    /// The secret of a webhook of others.
    Key,
    /// An agent.
    Agent,
    /// A person with all of their agents.
    User,
    /// The whole tenant.
    Tenant,
}

impl FromValue for Kind {
    fn from_value(value: Value) -> Result<Self, DbError> {
        match String::from_value(value)?.as_str() {
            "credential" => Ok(Self::Credential),
            "key" => Ok(Self::Key),
            "agent" => Ok(Self::Agent),
            "user" => Ok(Self::User),
            "tenant" => Ok(Self::Tenant),
            _ => Err(DbError::Row("not a kind of an epoch")),
        }
    }
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "EpochChange")]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It ended: for good, or until an admin undoes it.
    Ended,
    /// It was paused or stopped, or is over its budget.
    Halted,
    /// It may do less.
    Narrowed,
}

impl FromValue for Change {
    fn from_value(value: Value) -> Result<Self, DbError> {
        match String::from_value(value)?.as_str() {
            "ended" => Ok(Self::Ended),
            "halted" => Ok(Self::Halted),
            "narrowed" => Ok(Self::Narrowed),
            _ => Err(DbError::Row("not a change of an epoch")),
        }
    }
}

/// A change that took a right away.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Epoch {
    /// Its number.
    pub epoch: i64,
    /// What it is about.
    pub kind: Kind,
    /// The id of that.
    pub id: String,
    /// What has become of it.
    pub change: Change,
}

impl FromRow for Epoch {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { epoch: row.take()?, kind: row.take()?, id: row.take()?, change: row.take()? })
    }
}

/// The tenant's last number; 0: nothing has ended yet.
pub async fn last(reads: &dyn Rows, tenant: &TenantId) -> Result<i64, DbError> {
    let sql = "SELECT max(epoch) AS last FROM epochs WHERE tenant_id = ?1";
    Ok(reads.find::<Option<i64>>(sql, args![tenant]).await?.flatten().unwrap_or(0))
}

/// The last number of each tenant.
pub async fn last_of_each(reads: &dyn Rows) -> Result<Vec<(TenantId, i64)>, DbError> {
    let sql = "SELECT t.id, (SELECT max(epoch) FROM epochs WHERE tenant_id = t.id) AS last FROM tenants t";
    let found: Vec<Last> = reads.list(sql, args![]).await?;
    Ok(found.into_iter().map(|Last(tenant, last)| (tenant, last)).collect())
}

struct Last(TenantId, i64);

impl FromRow for Last {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self(row.take()?, row.take::<Option<i64>>()?.unwrap_or(0)))
    }
}

/// What came behind a number, the oldest first. `None`: some of it is no longer known, or the number was never given.
pub async fn after(reads: &dyn Rows, tenant: &TenantId, after: i64, limit: i64) -> Result<Option<Vec<Epoch>>, DbError> {
    // Most guards ask most times for nothing.
    if last(reads, tenant).await? == after {
        return Ok(Some(Vec::new()));
    }
    let sql =
        "SELECT epoch, kind, object_id, change FROM epochs WHERE tenant_id = ?1 AND epoch > ?2 ORDER BY epoch LIMIT ?3";
    let found: Vec<Epoch> = reads.list(sql, args![tenant, after, limit]).await?;
    let is_whole = found.iter().zip(after.saturating_add(1)..).all(|(row, number)| row.epoch == number);
    Ok((is_whole && !found.is_empty()).then_some(found))
}

/// Says of new numbers that they were there now, and purges the oldest of those that were there for long.
pub async fn purge(db: &Db, now: Timestamp, most: i64) -> Result<(), DbError> {
    let sql = "UPDATE epochs SET seen_at = ?1 WHERE (tenant_id, epoch) IN (
                   SELECT tenant_id, epoch FROM epochs WHERE seen_at IS NULL ORDER BY tenant_id, epoch LIMIT ?2)";
    db.hot::<Affected>(sql, args![now, most]).await?;
    let sql = "DELETE FROM epochs WHERE (tenant_id, epoch) IN (
                   SELECT e.tenant_id, e.epoch FROM epochs e
                   WHERE e.seen_at <= ?1 AND e.epoch < (SELECT max(m.epoch) FROM epochs m WHERE m.tenant_id = e.tenant_id)
                   ORDER BY e.seen_at, e.tenant_id, e.epoch LIMIT ?2)";
    db.hot::<Affected>(sql, args![now.plus_seconds(-KEPT), most]).await.map(drop)
}

impl FromRow for Option<i64> {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        row.take()
    }
}

#[cfg(test)]
mod tests;
