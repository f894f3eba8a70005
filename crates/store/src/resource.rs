//! Table `resources`: services of a tenant that take signed tokens. An identifier is what tokens name as their audience (RFC 8707), and
//! belongs to one tenant of the server.

use common::{
    id::{ResourceId, TenantId, UserId},
    time::Timestamp,
    url,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, DbError, FromRow, FromValue, Reads, Row, Rows, Tx, Value},
    page::{Order, PageRequest, any_has, pattern},
};

/// Resources of a tenant at most.
pub const MOST: i64 = 200;

/// The algorithm of the tokens for a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum SigningAlg {
    /// Ed25519 (RFC 8037).
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA with P-256 and SHA-256 (RFC 7518, section 3.4).
    #[serde(rename = "ES256")]
    Es256,
}

impl SigningAlg {
    /// The word of RFC 7518.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    /// The algorithm that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256].into_iter().find(|alg| alg.as_str() == word)
    }
}

impl FromValue for SigningAlg {
    fn from_value(value: Value) -> Result<Self, DbError> {
        Self::from_word(&String::from_value(value)?).ok_or(DbError::Row("not an algorithm of a resource"))
    }
}

/// A resource.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Resource {
    /// The id.
    pub id: ResourceId,
    /// The URI that tokens name as `aud`.
    pub identifier: String,
    /// A name for people.
    pub name: String,
    /// The custom scopes that tokens for it can carry.
    pub scopes: Vec<String>,
    /// The algorithm of its tokens.
    pub signing_alg: SigningAlg,
    /// The ids of the users and agents whose credentials are the service's own: they may introspect its tokens, and exchange them for
    /// tokens of further resources. Shown to those alone that may change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspectors: Option<Vec<String>>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
}

impl FromRow for Resource {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            identifier: row.take()?,
            name: row.take()?,
            scopes: row.take::<String>()?.split_ascii_whitespace().map(str::to_owned).collect(),
            signing_alg: row.take()?,
            introspectors: Some(row.take()?),
            created_at: row.take()?,
            updated_at: row.take()?,
        })
    }
}

pub(crate) const COLUMNS: &str =
    "r.id, r.identifier, r.name, r.scopes, r.signing_alg, r.introspectors, r.created_at, r.updated_at";

/// The tenant's resources; `q` is a part of name or identifier.
pub async fn list(
    reads: &dyn Rows,
    tenant: &TenantId,
    (q, order): (Option<&str>, Order),
    page: &PageRequest,
) -> Result<Vec<Resource>, DbError> {
    let ((behind, sorted), (at, id)) = (order.sql(), page.begin(order));
    let found = any_has("?4", &["name", "identifier"]);
    let sql = format!(
        "SELECT {COLUMNS} FROM resources r WHERE tenant_id = ?1 AND {behind}
           AND (?4 IS NULL OR {found})
         ORDER BY {sorted} LIMIT ?5"
    );
    reads.list(&sql, args![tenant, at, id, q.map(pattern), page.rows()]).await
}

/// A resource of the tenant by its id.
pub async fn find(reads: &dyn Rows, tenant: &TenantId, id: &str) -> Result<Option<Resource>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM resources r WHERE r.id = ?1 AND r.tenant_id = ?2");
    reads.optional(&sql, args![id, tenant]).await
}

/// A resource of the tenant by its identifier, or else by another spelling of it.
pub async fn identified(reads: &dyn Rows, tenant: &TenantId, identifier: &str) -> Result<Option<Resource>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM resources r WHERE r.identifier = ?1 AND r.tenant_id = ?2");
    if let Some(found) = reads.optional(&sql, args![identifier, tenant]).await? {
        return Ok(Some(found));
    }
    match spelled(reads, tenant, identifier).await? {
        Some(known) => reads.optional(&sql, args![known, tenant]).await,
        None => Ok(None),
    }
}

/// The identifier of the tenant's resource of which this is a spelling: clients send a URL as the program writes it by which they read it.
pub(crate) async fn spelled(reads: &dyn Rows, tenant: &TenantId, identifier: &str) -> Result<Option<String>, DbError> {
    let sql = "SELECT identifier FROM resources WHERE tenant_id = ?1 ORDER BY created_at, id";
    let known: Vec<String> = reads.list(sql, args![tenant]).await?;
    Ok(known.into_iter().find(|known| url::is_same(known, identifier)))
}

/// The scopes of the tenant's resources whose service this user or agent is, separated by blanks.
pub async fn scopes_of_service(reads: &dyn Rows, tenant: &TenantId, introspector: &str) -> Result<String, DbError> {
    let sql = "SELECT ifnull(group_concat(scopes, ' '), '') AS scopes FROM resources
               WHERE tenant_id = ?1 AND EXISTS (SELECT 1 FROM json_each(introspectors) i WHERE i.value = ?2)";
    Ok(reads.optional::<String>(sql, args![tenant, introspector]).await?.unwrap_or_default())
}

/// All that may change of a resource.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// A name for people.
    pub name: &'a str,
    /// Names of custom scopes.
    pub scopes: &'a [String],
    /// The algorithm.
    pub signing_alg: SigningAlg,
    /// Ids of users and agents.
    pub introspectors: &'a [String],
}

/// The outcome of registering one.
#[derive(Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is there now.
    Created,
    /// The identifier, or another spelling of it, belongs to another one, of this tenant or of another one.
    Taken,
    /// The tenant has as many as it may.
    TooMany,
}

/// Registers a resource.
pub async fn insert(
    tx: &Tx<'_>,
    (id, identifier): (&ResourceId, &str),
    (tenant, by): (&TenantId, &UserId),
    settings: &Settings<'_>,
    now: Timestamp,
) -> Result<Inserted, DbError> {
    let known = "SELECT 1 FROM resources WHERE identifier IN (SELECT value FROM json_each(?1)) LIMIT 1";
    let is_known = tx.optional::<Affected>(known, args![&*url::spellings(identifier)]).await?.is_some();
    if is_known || spelled(tx, tenant, identifier).await?.is_some() {
        return Ok(Inserted::Taken);
    }
    let count = "SELECT count(*) FROM resources WHERE tenant_id = ?1";
    if tx.optional::<i64>(count, args![tenant]).await?.unwrap_or(0) >= MOST {
        return Ok(Inserted::TooMany);
    }
    let sql = "INSERT INTO resources (id, tenant_id, identifier, name, scopes, introspectors, signing_alg, created_at, created_by, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?8)";
    let Settings { name, scopes, signing_alg, introspectors } = settings;
    let row = args![id, tenant, identifier, *name, scopes.join(" "), *introspectors, signing_alg.as_str(), now, by];
    tx.execute(sql, row).await?;
    Ok(Inserted::Created)
}

/// Changes a resource's settings; `false`: they are so already.
pub async fn update(tx: &Tx<'_>, id: &ResourceId, settings: &Settings<'_>, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE resources SET name = ?2, scopes = ?3, introspectors = ?4, signing_alg = ?5, updated_at = ?6
               WHERE id = ?1 AND (name, scopes, introspectors, signing_alg) IS NOT (?2, ?3, ?4, ?5) RETURNING 1";
    let Settings { name, scopes, signing_alg, introspectors } = settings;
    let row = args![id, *name, scopes.join(" "), *introspectors, signing_alg.as_str(), now];
    Ok(tx.optional::<Affected>(sql, row).await?.is_some())
}

/// Deletes a resource. Its tokens are nothing from then on.
pub async fn delete(tx: &Tx<'_>, id: &ResourceId) -> Result<(), DbError> {
    tx.execute("DELETE FROM resources WHERE id = ?1", args![id]).await
}
