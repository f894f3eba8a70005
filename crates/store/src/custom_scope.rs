//! Table `custom_scopes`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx},
};
use common::{
    id::{TenantId, UserId},
    time::Timestamp,
};

/// Custom scopes of one tenant: each request of its credentials reads their names.
pub const MOST: i64 = 100;

/// A custom scope.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CustomScope {
    /// The name, such as `x.crm.read`.
    pub name: String,
    /// What it allows, in the words of the person who defined it.
    pub description: String,
    /// When it was defined.
    pub created_at: Timestamp,
}

impl FromRow for CustomScope {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { name: row.take()?, description: row.take()?, created_at: row.take()? })
    }
}

/// The tenant's custom scopes, by name.
pub async fn list(reads: &dyn Rows, tenant: &TenantId) -> Result<Vec<CustomScope>, DbError> {
    let sql = "SELECT name, description, created_at FROM custom_scopes WHERE tenant_id = ?1 ORDER BY name";
    reads.list(sql, args![tenant]).await
}

/// The outcome of defining a scope.
#[derive(Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is there now.
    Created,
    /// It was there before.
    Exists,
    /// The tenant has as many as it may.
    TooMany,
}

/// Defines a scope.
pub async fn insert(tx: &Tx<'_>, tenant: &TenantId, scope: &CustomScope, by: &UserId) -> Result<Inserted, DbError> {
    let known = "SELECT 1 FROM custom_scopes WHERE tenant_id = ?1 AND name = ?2";
    if tx.optional::<Affected>(known, args![tenant, &scope.name]).await?.is_some() {
        return Ok(Inserted::Exists);
    }
    let count = "SELECT count(*) FROM custom_scopes WHERE tenant_id = ?1";
    if tx.optional::<i64>(count, args![tenant]).await?.unwrap_or(0) >= MOST {
        return Ok(Inserted::TooMany);
    }
    let sql =
        "INSERT INTO custom_scopes (tenant_id, name, description, created_at, created_by) VALUES (?1, ?2, ?3, ?4, ?5)";
    let row = args![tenant, &scope.name, &scope.description, scope.created_at, by];
    tx.execute(sql, row).await?;
    Ok(Inserted::Created)
}

/// Takes a scope away, and with it whatever credentials carry of it; `false`: there is none of that name.
pub async fn delete(tx: &Tx<'_>, tenant: &TenantId, name: &str) -> Result<bool, DbError> {
    let sql = "DELETE FROM custom_scopes WHERE tenant_id = ?1 AND name = ?2 RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![tenant, name]).await?.is_some())
}
