//! Table `hooks_seen`, and the keys whose secrets sign the requests of other services.

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows, Tx},
    key::KeyType,
};
use common::{
    id::{AgentId, KeyId, TenantId, UserId},
    secret::Digest,
    time::Timestamp,
};

/// How long a request is known, seconds: longer than the senders go on repeating one.
pub const KNOWN: i64 = 3 * 86_400;

/// A key of which requests are taken now.
pub struct Hook {
    /// The key.
    pub key: KeyId,
    /// Its name.
    pub name: String,
    /// Its type.
    pub r#type: KeyType,
    /// Its secret, sealed.
    pub sealed: Vec<u8>,
    /// The secret before, sealed, while its grace lasts.
    pub former: Option<Vec<u8>>,
    /// The tenant.
    pub tenant: TenantId,
    /// The agent that gets the events.
    pub agent: AgentId,
    /// The agent's owner, whom they count for.
    pub owner: UserId,
}

impl FromRow for Hook {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            key: row.take()?,
            name: row.take()?,
            r#type: row.take()?,
            sealed: row.take()?,
            former: row.take()?,
            tenant: row.take()?,
            agent: row.take()?,
            owner: row.take()?,
        })
    }
}

/// The key with this id, if it is a webhook's with a secret, of an agent that is not archived and whose owner's account is active. The
/// agent may be halted: it reads its inbox then, too.
pub async fn find(reads: &dyn Rows, id: &str, now: Timestamp) -> Result<Option<Hook>, DbError> {
    let sql = "SELECT k.id, k.name, k.type, k.sealed, f.sealed AS former, k.tenant_id, k.agent_id, a.owner_id
               FROM api_keys k JOIN agents a ON a.id = k.agent_id AND a.archived_at IS NULL
               JOIN users u ON u.id = a.owner_id AND u.deactivated_at IS NULL
               LEFT JOIN former_hook_secrets f ON f.id = k.id AND f.ends_at > ?2
               WHERE k.id = ?1 AND k.sealed IS NOT NULL";
    reads.optional(sql, args![id, now]).await
}

/// Remembers a request by all that it is known by; `false`: one of these was seen before.
pub async fn is_new(tx: &Tx<'_>, key: &KeyId, known_by: &[Digest], now: Timestamp) -> Result<bool, DbError> {
    let mut is_new = true;
    for digest in known_by {
        let sql = "INSERT INTO hooks_seen (key_id, digest, expires_at) VALUES (?1, ?2, ?3)
                   ON CONFLICT (key_id, digest) DO NOTHING RETURNING 1";
        is_new &= tx.optional::<Affected>(sql, args![key, digest, now.plus_seconds(KNOWN)]).await?.is_some();
    }
    Ok(is_new)
}

/// Forgets requests that were seen long ago, and former secrets whose grace has ended.
pub async fn purge(db: &Db, now: Timestamp, most: i64) -> Result<(), DbError> {
    let former =
        "DELETE FROM former_hook_secrets WHERE id IN (SELECT id FROM former_hook_secrets WHERE ends_at <= ?1 LIMIT ?2)";
    db.hot::<Affected>(former, args![now, most]).await?;
    let sql = "DELETE FROM hooks_seen WHERE (key_id, digest) IN (SELECT key_id, digest FROM hooks_seen WHERE expires_at <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![now, most]).await.map(drop)
}
