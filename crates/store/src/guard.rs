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

/// What of a lease is written down beyond it, in parts of the lease: so a guard that asks again within that time costs no write.
const BEYOND: i64 = 10;

/// A guard that asks for its lease.
#[derive(Clone, Copy)]
pub struct Guard<'a> {
    /// Its tenant.
    pub tenant: &'a TenantId,
    /// The credential that it asks with.
    pub credential: &'a CredentialId,
    /// The name that it gave itself.
    pub name: &'a str,
    /// The lease that it wants, seconds.
    pub lease: i64,
}

/// What becomes of a question for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lent {
    /// It is lent.
    Lent,
    /// The tenant has too many guards.
    TooMany,
    /// A guard of this name, whose lease runs, has taken in more: it is another process.
    Taken,
}

impl Guard<'_> {
    /// What a guard that asks again mostly finds, in one look: the tenant's last number, and whether the lease from `now` on is written down
    /// already, with `heard`.
    pub async fn look(self, reads: &dyn Rows, heard: i64, now: Timestamp) -> Result<(i64, bool), DbError> {
        let sql = "SELECT (SELECT max(epoch) FROM epochs WHERE tenant_id = ?1) AS last,
                          EXISTS (SELECT 1 FROM guards WHERE tenant_id = ?1 AND credential_id = ?2 AND name = ?3
                                                         AND heard = ?4 AND until >= ?5) AS lent";
        let row = args![self.tenant, self.credential, self.name, heard, now.plus_seconds(self.lease)];
        let Seen(last, is_lent) = reads.find(sql, row).await?.ok_or(DbError::Row("no answer about a guard"))?;
        Ok((last, is_lent))
    }

    /// Lends the time from `now` on; `heard` is the last number that the guard has taken in. A lease is never cut: the answer that lent it
    /// may be on its way.
    pub async fn lend(self, db: &Db, heard: i64, now: Timestamp) -> Result<Lent, DbError> {
        let sql = "INSERT INTO guards (tenant_id, credential_id, name, heard, until)
                   SELECT ?1, ?2, ?3, ?4, ?6
                   WHERE EXISTS (SELECT 1 FROM guards k WHERE k.tenant_id = ?1 AND k.credential_id = ?2 AND k.name = ?3)
                      OR (SELECT count(*) FROM guards g WHERE g.tenant_id = ?1 AND g.until > ?5) < ?7
                   ON CONFLICT (tenant_id, credential_id, name) DO UPDATE SET heard = ?4, until = max(until, ?6)
                      WHERE guards.until <= ?5 OR guards.heard <= ?4 RETURNING 1";
        let until = now.plus_millis(self.lease * (1000 + 1000 / BEYOND));
        let row = args![self.tenant, self.credential, self.name, heard, now, until, MOST];
        if !db.hot::<Affected>(sql, row).await?.is_empty() {
            return Ok(Lent::Lent);
        }
        let sql = "SELECT 1 FROM guards WHERE tenant_id = ?1 AND credential_id = ?2 AND name = ?3";
        let known: Option<Affected> = db.find(sql, args![self.tenant, self.credential, self.name]).await?;
        Ok(if known.is_some() { Lent::Taken } else { Lent::TooMany })
    }
}

struct Seen(i64, bool);

impl FromRow for Seen {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self(row.take::<Option<i64>>()?.unwrap_or(0), row.take()?))
    }
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
