//! Table `oauth_clients`: clients of the authorization server that admins registered.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx},
    key_set::Keys,
    page::{Order, PageRequest, any_has, pattern},
};
use common::{
    id::{ClientId, TenantId, UserId},
    secret::Digest,
    time::Timestamp,
};

/// Clients of one tenant at most.
pub const MOST: i64 = 200;

/// A client, as admins see it: never its secret.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "OauthClient")]
pub struct Client {
    /// The id, which the client sends as `client_id`.
    pub id: ClientId,
    /// The name that people see.
    pub name: String,
    /// Where browsers are sent back to.
    pub redirect_uris: Vec<String>,
    /// Whether it proves itself.
    pub confidential: bool,
    /// How it does (RFC 7591, section 2).
    pub token_endpoint_auth_method: AuthMethod,
    /// Where its public keys are; null: it has none, or they are stored here.
    pub jwks_uri: Option<String>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
    /// When its secret was ended, since it was found in the open; null: it works, or there is none.
    pub secret_ended_at: Option<Timestamp>,
    /// People that have let it in; shown with one client alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub people: Option<i64>,
    /// Its tenant.
    #[serde(skip)]
    pub tenant: TenantId,
    /// The digest of its secret.
    #[serde(skip)]
    pub secret: Option<Digest>,
    /// The person who registered it.
    #[serde(skip)]
    pub created_by: UserId,
    /// Its public keys.
    #[serde(skip)]
    pub keys: Option<Keys>,
}

/// How a client proves itself at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "OauthClientAuthMethod")]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// It is public.
    None,
    /// By a secret, in the header or in the form.
    ClientSecretBasic,
    /// By what it signs with a key of its own (RFC 7523, section 2.2).
    PrivateKeyJwt,
}

impl FromRow for Client {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (id, name, redirect_uris) = (row.take()?, row.take()?, row.take()?);
        let secret = row.take::<Option<Digest>>()?;
        let (created_at, updated_at, tenant) = (row.take()?, row.take()?, row.take()?);
        let keys = Option::<Keys>::from_row(row)?;
        let method = match (&secret, &keys) {
            (_, Some(_)) => AuthMethod::PrivateKeyJwt,
            (Some(_), None) => AuthMethod::ClientSecretBasic,
            (None, None) => AuthMethod::None,
        };
        Ok(Self {
            id,
            name,
            redirect_uris,
            confidential: method != AuthMethod::None,
            token_endpoint_auth_method: method,
            jwks_uri: keys.as_ref().and_then(Keys::jwks_uri).map(str::to_owned),
            secret,
            keys,
            created_at,
            updated_at,
            tenant,
            secret_ended_at: row.take()?,
            people: None,
            created_by: row.take()?,
        })
    }
}

const COLUMNS: &str =
    "id, name, redirect_uris, secret, created_at, updated_at, tenant_id, key_source, keys, secret_ended_at, created_by";

/// The tenant's clients; `q` is a part of name or redirect URI.
pub async fn list(
    reads: &dyn Rows,
    tenant: &TenantId,
    (q, order): (Option<&str>, Order),
    page: &PageRequest,
) -> Result<Vec<Client>, DbError> {
    let ((behind, sorted), (at, id)) = (order.sql(), page.begin(order));
    let found = any_has("?4", &["name", "redirect_uris"]);
    let sql = format!(
        "SELECT {COLUMNS} FROM oauth_clients WHERE tenant_id = ?1 AND {behind}
           AND (?4 IS NULL OR {found})
         ORDER BY {sorted} LIMIT ?5"
    );
    reads.list(&sql, args![tenant, at, id, q.map(pattern), page.rows()]).await
}

/// The client with this id, of any tenant: what a client sends names no tenant.
pub async fn find(reads: &dyn Rows, id: &str) -> Result<Option<Client>, DbError> {
    reads.optional(&format!("SELECT {COLUMNS} FROM oauth_clients WHERE id = ?1"), args![id]).await
}

/// The client whose secret has this digest, of any tenant.
pub async fn of_secret(reads: &dyn Rows, secret: &Digest) -> Result<Option<Client>, DbError> {
    reads.optional(&format!("SELECT {COLUMNS} FROM oauth_clients WHERE secret = ?1"), args![secret]).await
}

/// Ends a secret, which stays in place so that the client does not become a public one; `false`: it is not the client's, or was ended before.
pub async fn end_secret(tx: &Tx<'_>, secret: &Digest, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE oauth_clients SET secret_ended_at = ?2, updated_at = ?2 WHERE secret = ?1 AND secret_ended_at IS NULL RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![secret, now]).await?.is_some())
}

/// Ends the secrets of all tenants that were made before a moment; gives the tenant of each. The trail says when one was replaced.
pub async fn end_secrets_before(tx: &Tx<'_>, before: Timestamp, now: Timestamp) -> Result<Vec<TenantId>, DbError> {
    let sql = "UPDATE oauth_clients SET secret_ended_at = ?2, updated_at = ?2
               WHERE created_at < ?1 AND secret IS NOT NULL AND secret_ended_at IS NULL
                 AND NOT EXISTS (SELECT 1 FROM audit WHERE object_id = oauth_clients.id AND action = 'oauth.client.rotate'
                                   AND outcome = 'done' AND at >= ?1)
               RETURNING tenant_id";
    tx.list(sql, args![before, now]).await
}

/// Stores a client; `false`: the tenant has as many as it may.
pub async fn insert(
    tx: &Tx<'_>,
    (tenant, id, by): (&TenantId, &ClientId, &UserId),
    (name, redirect_uris): (&str, &[String]),
    (secret, keys): (Option<&Digest>, Option<&Keys>),
    now: Timestamp,
) -> Result<bool, DbError> {
    let count = "SELECT count(*) FROM oauth_clients WHERE tenant_id = ?1";
    if tx.optional::<i64>(count, args![tenant]).await?.unwrap_or(0) >= MOST {
        return Ok(false);
    }
    let sql =
        "INSERT INTO oauth_clients (id, tenant_id, name, redirect_uris, secret, created_at, updated_at, created_by, key_source, keys)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9)";
    let (source, pasted) = keys.map(Keys::to_columns).unwrap_or_default();
    tx.execute(sql, args![id, tenant, name, redirect_uris, secret, now, by, source, pasted]).await?;
    Ok(true)
}

/// Changes what may change of a client; `false`: it is all so already.
pub async fn update(
    tx: &Tx<'_>,
    id: &ClientId,
    (name, redirect_uris): (&str, &[String]),
    keys: Option<&Keys>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE oauth_clients SET name = ?2, redirect_uris = ?3, updated_at = ?4, key_source = ?5, keys = ?6
               WHERE id = ?1 AND (name, redirect_uris, key_source, keys) IS NOT (?2, ?3, ?5, ?6) RETURNING 1";
    let (source, pasted) = keys.map(Keys::to_columns).unwrap_or_default();
    Ok(tx.optional::<Affected>(sql, args![id, name, redirect_uris, now, source, pasted]).await?.is_some())
}

/// Replaces the secret of a confidential client; `false`: it has none.
pub async fn replace_secret(tx: &Tx<'_>, id: &ClientId, secret: &Digest, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE oauth_clients SET secret = ?2, secret_ended_at = NULL, updated_at = ?3 WHERE id = ?1 AND secret IS NOT NULL RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, secret, now]).await?.is_some())
}

/// Deletes a client.
pub async fn delete(tx: &Tx<'_>, id: &ClientId) -> Result<(), DbError> {
    tx.execute("DELETE FROM oauth_clients WHERE id = ?1", args![id]).await
}
