//! Table `guards`: the guards that have asked lately, and until when their leases run.

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows},
};
use common::{
    id::{CredentialId, TenantId},
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::Serialize;

/// Guards of one tenant at most whose leases run.
pub const MOST: i64 = 1000;
/// How long a guard whose lease has ended is remembered, seconds.
pub const KEPT: i64 = 3600;

/// A guard that has not heard of something yet.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Waiting {
    /// The name that it gave itself.
    pub guard: String,
    /// Until when it can go on without asking again.
    pub until: Timestamp,
}

impl FromRow for Waiting {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { guard: row.take()?, until: row.take()? })
    }
}

/// Lends a guard the time until `until`; `heard` is the last number that it has taken in. `false`: the tenant has too many guards. A lease
/// is never cut: the answer that lent it may be on its way.
pub async fn lend(
    db: &Db,
    (tenant, credential, name): (&TenantId, &CredentialId, &str),
    heard: i64,
    (now, until): (Timestamp, Timestamp),
) -> Result<bool, DbError> {
    let sql = "INSERT INTO guards (tenant_id, credential_id, name, heard, until)
               SELECT ?1, ?2, ?3, ?4, ?6
               WHERE EXISTS (SELECT 1 FROM guards k WHERE k.tenant_id = ?1 AND k.credential_id = ?2 AND k.name = ?3)
                  OR (SELECT count(*) FROM guards g WHERE g.tenant_id = ?1 AND g.until > ?5) < ?7
               ON CONFLICT (tenant_id, credential_id, name) DO UPDATE SET heard = ?4, until = max(until, ?6) RETURNING 1";
    let row = args![tenant, credential, name, heard, now, until, MOST];
    Ok(!db.hot::<Affected>(sql, row).await?.is_empty())
}

/// The guards that can still accept what ended with this number, the one that can for longest first.
pub async fn waiting(reads: &dyn Rows, tenant: &TenantId, epoch: i64, now: Timestamp) -> Result<Vec<Waiting>, DbError> {
    let sql = "SELECT name, until FROM guards WHERE tenant_id = ?1 AND until > ?2 AND heard < ?3 ORDER BY until DESC, name LIMIT 100";
    reads.list(sql, args![tenant, now, epoch]).await
}

/// Forgets the guards whose leases have ended long ago.
pub async fn purge(db: &Db, now: Timestamp, most: i64) -> Result<(), DbError> {
    let sql = "DELETE FROM guards WHERE (tenant_id, credential_id, name) IN (
                   SELECT tenant_id, credential_id, name FROM guards WHERE until <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![now.plus_seconds(-KEPT), most]).await.map(drop)
}
