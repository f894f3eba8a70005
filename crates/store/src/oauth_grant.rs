//! Table `oauth_grants`: what people gave clients of the authorization server.
//!
//! A grant for this server has one record of a personal access token, whose secret is replaced at each refresh: so a person sees one row
//! for one client, and what ends that row ends the grant. Each secret that was replaced is a record of its own, revoked and with the other one
//! as what replaced it, as after a rotation: no list shows it, and its bearer is told. Of refresh tokens exactly one works. All that came before it name the same
//! family, so that one that is sent again is known, and ends the grant.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows, Tx},
    page::PageRequest,
};
use common::{
    id::{AppGrantId, CredentialId, TenantId, UserId},
    scope::Patterns,
    secret::{Digest, RefreshToken, Secret},
    time::Timestamp,
};

/// A grant ends when its client got no token for this long, seconds.
pub const IDLE: i64 = 30 * 86_400;
/// How long an access token for this server lives at most, seconds.
pub const ACCESS: i64 = 3_600;
/// Live grants of one person at most.
pub const MOST: i64 = 200;
/// Seconds for which a grant that has ended is kept.
pub const KEPT: i64 = 30 * 86_400;

/// A grant, as its person sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "AppGrant")]
pub struct Grant {
    /// The id.
    pub id: AppGrantId,
    /// The client's id: of one that an admin registered, or the URL of its document.
    pub client_id: String,
    /// Its name, as the person saw it.
    pub client_name: String,
    /// The service of the tenant that it is for; null: this server.
    pub resource: Option<String>,
    /// What the client may do, within the person's role.
    pub scope: Patterns,
    /// The record's id of its access token, of a grant for this server.
    pub credential_id: Option<String>,
    /// When the person gave it.
    pub created_at: Timestamp,
    /// When the client last got a token.
    pub used_at: Timestamp,
    /// Its end, unless the client gets a token before.
    pub ends_at: Timestamp,
    /// Its end at the latest.
    pub expires_at: Timestamp,
    /// The tenant.
    #[serde(skip)]
    pub tenant: TenantId,
    /// The person.
    #[serde(skip)]
    pub user: UserId,
    /// Whether it has not ended.
    #[serde(skip)]
    pub is_live: bool,
    /// The digest of the one refresh token that works.
    #[serde(skip)]
    pub refresh: Digest,
    /// The thumbprint of the key that its refresh tokens are bound to.
    #[serde(skip)]
    pub bound_to: Option<String>,
}

impl FromRow for Grant {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            client_id: row.take()?,
            client_name: row.take()?,
            resource: row.take()?,
            scope: row.take()?,
            credential_id: row.take()?,
            created_at: row.take()?,
            used_at: row.take()?,
            ends_at: row.take()?,
            expires_at: row.take()?,
            tenant: row.take()?,
            user: row.take()?,
            is_live: row.take()?,
            refresh: row.take()?,
            bound_to: row.take()?,
        })
    }
}

/// `?1` is now.
const SELECT: &str = "SELECT id, client_id, client_name, resource, scope, credential_id, created_at, used_at, ends_at, expires_at, tenant_id, user_id,
        ended_at IS NULL AND ends_at > ?1 AS live, refresh, bound_to FROM oauth_grants";

/// A grant to be stored.
pub struct New<'a> {
    /// The id.
    pub id: &'a AppGrantId,
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The person.
    pub user: &'a UserId,
    /// The client's id.
    pub client_id: &'a str,
    /// Its name.
    pub client_name: &'a str,
    /// The service that it is for.
    pub resource: Option<&'a str>,
    /// The scope.
    pub scope: &'a Patterns,
    /// The record of its access token.
    pub credential: Option<&'a CredentialId>,
    /// Its first refresh token.
    pub refresh: &'a RefreshToken,
    /// Its end at the latest.
    pub expires_at: Timestamp,
    /// The thumbprint of the key that its refresh tokens are bound to.
    pub bound_to: Option<&'a str>,
}

/// Stores a grant.
pub async fn insert(tx: &Tx<'_>, new: &New<'_>, now: Timestamp) -> Result<(), DbError> {
    let sql = "INSERT INTO oauth_grants (id, tenant_id, user_id, client_id, client_name, resource, scope, credential_id, family, refresh,
                                         created_at, used_at, expires_at, ends_at, bound_to)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12, min(?12, ?13), ?14)";
    tx.execute(
        sql,
        args![
            new.id,
            new.tenant,
            new.user,
            new.client_id,
            new.client_name,
            new.resource,
            new.scope.to_column(),
            new.credential,
            &new.refresh.family(),
            &new.refresh.digest(),
            now,
            new.expires_at,
            now.plus_seconds(IDLE),
            new.bound_to,
        ],
    )
    .await
}

/// The grant that a refresh token is of, whichever of its family it is.
pub async fn of_family(reads: &dyn Rows, token: &RefreshToken, now: Timestamp) -> Result<Option<Grant>, DbError> {
    reads.optional(&format!("{SELECT} WHERE family = ?2"), args![now, &token.family()]).await
}

/// The grant that an access token is of, also one that a refresh replaced.
pub async fn of_credential(reads: &dyn Rows, id: &CredentialId, now: Timestamp) -> Result<Option<Grant>, DbError> {
    let sql = format!(
        "{SELECT} WHERE credential_id = ifnull((SELECT c.replaced_by FROM credentials c WHERE c.id = ?2 AND c.kind = 'pat'), ?2)"
    );
    reads.optional(&sql, args![now, id]).await
}

/// Replaces the refresh token of a live grant by the next one; `false`: the grant has ended, or another token works. `key` is the key that the
/// next one is bound to, unless the grant is bound to one already.
pub async fn refresh(
    tx: &Tx<'_>,
    id: &AppGrantId,
    (sent, next): (&RefreshToken, &RefreshToken),
    key: Option<&str>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE oauth_grants SET refresh = ?3, used_at = ?4, ends_at = min(expires_at, ?5), bound_to = coalesce(bound_to, ?6)
               WHERE id = ?1 AND refresh = ?2 AND ended_at IS NULL AND ends_at > ?4 RETURNING 1";
    let row = args![id, &sent.digest(), &next.digest(), now, now.plus_seconds(IDLE), key];
    Ok(tx.optional::<Affected>(sql, row).await?.is_some())
}

/// A new secret of a grant's access token.
pub struct Access<'a> {
    /// The secret.
    pub secret: &'a Secret,
    /// What of the given scope the client wants.
    pub scope: &'a Patterns,
    /// The key that it is bound to.
    pub key: Option<&'a str>,
    /// Its end.
    pub expires_at: Timestamp,
    /// The id of the record that keeps the secret before.
    pub past: &'a CredentialId,
}

/// Replaces the secret of a grant's access token, and keeps the one before as a record that has ended; `false`: it was revoked.
pub async fn replace_access(tx: &Tx<'_>, credential: &str, new: &Access<'_>, now: Timestamp) -> Result<bool, DbError> {
    let sql = "SELECT hex(digest), prefix, scope, expires_at, bound_to FROM credentials
               WHERE id = ?1 AND kind = 'pat' AND revoked_at IS NULL";
    let Some(past) = tx.optional::<Past>(sql, args![credential]).await? else { return Ok(false) };
    let digest = Digest::parse(&past.digest).ok_or(DbError::Row("no digest of a credential"))?;
    let sql =
        "UPDATE credentials SET digest = ?2, prefix = ?3, scope = ?4, expires_at = ?5, bound_to = ?6 WHERE id = ?1";
    let (secret, scope) = (new.secret, new.scope.to_column());
    let row = args![credential, &secret.digest(), secret.shown(), scope, new.expires_at, new.key];
    tx.execute(sql, row).await?;
    // That it was made with the record that replaced it tells it from what a person rotated: `credential::list` leaves it out.
    let sql = "INSERT INTO credentials (digest, id, kind, prefix, tenant_id, user_id, name, scope, created_at, expires_at, revoked_at,
                                        replaced_by, minted_by, minted_with, last_used_at, last_used_address, bound_to)
               SELECT ?2, ?3, kind, ?4, tenant_id, user_id, name, ?5, created_at, ?6, ?7, id, minted_by, id, last_used_at, last_used_address, ?8
               FROM credentials WHERE id = ?1";
    let row = args![credential, &digest, new.past, past.prefix, past.scope, past.expires_at, now, past.bound_to];
    tx.execute(sql, row).await?;
    // A guard that remembers an answer about the record asks again: it was about the secret before.
    let sql = "INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
               SELECT c.tenant_id, 1 + ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = c.tenant_id), 0), 'credential', c.id, 'ended'
               FROM credentials c WHERE c.id = ?1";
    tx.execute(sql, args![credential]).await?;
    Ok(true)
}

/// What is kept of a secret that is replaced.
struct Past {
    digest: String,
    prefix: String,
    scope: String,
    expires_at: Option<Timestamp>,
    bound_to: Option<String>,
}

impl FromRow for Past {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            digest: row.take()?,
            prefix: row.take()?,
            scope: row.take()?,
            expires_at: row.take()?,
            bound_to: row.take()?,
        })
    }
}

/// Ends a grant, and by a trigger its access token; `false`: it was ended before.
pub async fn end(tx: &Tx<'_>, id: &str, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE oauth_grants SET ended_at = ?2 WHERE id = ?1 AND ended_at IS NULL RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, now]).await?.is_some())
}

/// What grants have in common that end together.
#[derive(Clone, Copy)]
pub enum Common<'a> {
    /// The client that they were given to.
    Client(&'a str),
    /// The service that they are for.
    Service(&'a str),
}

impl<'a> Common<'a> {
    /// The column, and its value.
    pub(crate) const fn column(self) -> (&'static str, &'a str) {
        match self {
            Self::Client(id) => ("client_id", id),
            Self::Service(identifier) => ("resource", identifier),
        }
    }
}

/// Ends all grants of a tenant that have this in common; returns how many there were.
pub async fn end_all(tx: &Tx<'_>, tenant: &TenantId, what: Common<'_>, now: Timestamp) -> Result<usize, DbError> {
    let (column, value) = what.column();
    let sql = format!(
        "UPDATE oauth_grants SET ended_at = ?3 WHERE {column} = ?2 AND tenant_id = ?1 AND ended_at IS NULL RETURNING 1"
    );
    Ok(tx.list::<Affected>(&sql, args![tenant, value, now]).await?.len())
}

/// How many people a client has live grants of.
pub async fn people(reads: &dyn Rows, client: &str, now: Timestamp) -> Result<i64, DbError> {
    let sql = "SELECT count(DISTINCT user_id) AS n FROM oauth_grants WHERE client_id = ?1 AND ended_at IS NULL AND ends_at > ?2";
    Ok(reads.optional(sql, args![client, now]).await?.unwrap_or(0))
}

/// Ends the grants that were made before a moment, after an old backup was restored.
pub async fn end_made_before(tx: &Tx<'_>, before: Timestamp, now: Timestamp) -> Result<(), DbError> {
    tx.execute("UPDATE oauth_grants SET ended_at = ?2 WHERE ended_at IS NULL AND created_at < ?1", args![before, now])
        .await
}

/// A person's live grants, the newest first.
pub async fn list(reads: &dyn Rows, user: &UserId, page: &PageRequest, now: Timestamp) -> Result<Vec<Grant>, DbError> {
    let (at, id) = page.after();
    let sql = format!(
        "{SELECT} WHERE user_id = ?2 AND (created_at, id) < (?3, ?4) AND ended_at IS NULL AND ends_at > ?1
         ORDER BY created_at DESC, id DESC LIMIT ?5"
    );
    reads.list(&sql, args![now, user, at, id, page.rows()]).await
}

/// One of a person's grants, ended or not.
pub async fn find(reads: &dyn Rows, user: &UserId, id: &str, now: Timestamp) -> Result<Option<Grant>, DbError> {
    reads.optional(&format!("{SELECT} WHERE id = ?2 AND user_id = ?3"), args![now, id, user]).await
}

/// How many live grants a person has, counted up to the most that they may.
pub async fn count(reads: &dyn Rows, user: &UserId, now: Timestamp) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM oauth_grants WHERE user_id = ?1 AND ended_at IS NULL AND ends_at > ?2 LIMIT ?3)";
    Ok(reads.optional(sql, args![user, now, MOST]).await?.unwrap_or(0))
}

/// Purges grants that ended a month ago.
pub async fn purge(db: &Db, now: Timestamp, most: i64) -> Result<(), DbError> {
    let sql = "DELETE FROM oauth_grants WHERE id IN (SELECT id FROM oauth_grants WHERE ends_at <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![now.plus_seconds(-KEPT), most]).await.map(drop)
}
