//! Tables `tenants` and `bootstrap`.

use crate::{
    args,
    db::{Affected, DbError, Reads, Rows, Tx},
};
use common::{id::TenantId, time::Timestamp};

/// Makes a tenant; `false`: the slug is taken.
pub async fn insert(tx: &Tx<'_>, id: &TenantId, slug: &str, now: Timestamp) -> Result<bool, DbError> {
    let sql =
        "INSERT INTO tenants (id, slug, created_at) VALUES (?1, ?2, ?3) ON CONFLICT (slug) DO NOTHING RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, slug, now]).await?.is_some())
}

/// Spends the one bootstrap; `false`: it was spent before.
pub async fn claim_bootstrap(tx: &Tx<'_>, tenant: &TenantId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "INSERT INTO bootstrap (id, tenant_id, at) VALUES (1, ?1, ?2) ON CONFLICT (id) DO NOTHING RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![tenant, now]).await?.is_some())
}

/// Whether the first tenant was made.
pub async fn is_bootstrapped(reads: &dyn Rows) -> Result<bool, DbError> {
    Ok(reads.optional::<i64>("SELECT count(*) FROM bootstrap", args![]).await? == Some(1))
}
