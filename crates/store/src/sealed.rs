//! What the vault has encrypted, in whichever table it is: to be encrypted again when the operator replaces the key.

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows, Value},
};

/// Where something that the vault encrypted is kept, and for which place it was.
#[derive(Debug)]
pub struct Place {
    /// The tenant; empty: the place does not say it.
    pub tenant: String,
    /// The agent; empty: it is none's.
    pub agent: String,
    /// The name of an agent's secret, the id of a key or of a webhook, or the person of a second factor.
    pub key: String,
    /// The encrypted text.
    pub sealed: Vec<u8>,
}

impl FromRow for Place {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { tenant: row.take()?, agent: row.take()?, key: row.take()?, sealed: row.take()? })
    }
}

/// The kinds of what is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Agents' secrets.
    Secret,
    /// The secrets of keys, with which other services sign their requests.
    Key,
    /// Those that keys had before, while they are accepted too.
    FormerKey,
    /// The secrets of webhooks, which sign what is sent.
    Webhook,
    /// The secrets that webhooks had before, which sign too for a while.
    FormerWebhook,
    /// The secrets of second factors.
    Factor,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Secret, Self::Key, Self::FormerKey, Self::Webhook, Self::FormerWebhook, Self::Factor];
}

/// Some of what was sealed under the key of this id.
pub async fn list_under(reads: &dyn Rows, kind: Kind, key: &[u8], most: i64) -> Result<Vec<Place>, DbError> {
    let sql = match kind {
        Kind::Secret => {
            "SELECT a.tenant_id, s.agent_id, s.name, s.sealed FROM agent_secrets s CROSS JOIN agents a ON a.id = s.agent_id
             WHERE substr(s.sealed, 1, 8) = ?1 LIMIT ?2"
        }
        Kind::Key => {
            "SELECT tenant_id, agent_id, id, sealed FROM api_keys
             WHERE sealed IS NOT NULL AND substr(sealed, 1, 8) = ?1 LIMIT ?2"
        }
        Kind::FormerKey => {
            "SELECT tenant_id, agent_id, id, sealed FROM former_hook_secrets WHERE substr(sealed, 1, 8) = ?1 LIMIT ?2"
        }
        Kind::Webhook => {
            "SELECT tenant_id, '' AS agent, id, sealed FROM webhooks
             WHERE sealed IS NOT NULL AND substr(sealed, 1, 8) = ?1 LIMIT ?2"
        }
        Kind::FormerWebhook => {
            "SELECT tenant_id, '' AS agent, id, former FROM webhooks
             WHERE former IS NOT NULL AND substr(former, 1, 8) = ?1 LIMIT ?2"
        }
        Kind::Factor => "SELECT '' AS tenant, '' AS agent, user_id, sealed FROM factors WHERE substr(sealed, 1, 8) = ?1 LIMIT ?2",
    };
    reads.list(sql, args![Value::Blob(key.to_vec()), most]).await
}

/// Replaces an encrypted text by the same one under another key, unless it was changed meanwhile. One hot statement: if it is lost, the tick
/// does it again.
pub async fn replace(db: &Db, kind: Kind, place: &Place, sealed: Vec<u8>) -> Result<(), DbError> {
    let sql = match kind {
        Kind::Secret => {
            "UPDATE agent_secrets SET sealed = ?4 WHERE agent_id = ?1 AND name = ?2 AND sealed = ?3 RETURNING 1"
        }
        Kind::Key => "UPDATE api_keys SET sealed = ?4 WHERE agent_id = ?1 AND id = ?2 AND sealed = ?3 RETURNING 1",
        Kind::FormerKey => {
            "UPDATE former_hook_secrets SET sealed = ?4 WHERE agent_id = ?1 AND id = ?2 AND sealed = ?3 RETURNING 1"
        }
        Kind::Webhook => "UPDATE webhooks SET sealed = ?4 WHERE ?1 = '' AND id = ?2 AND sealed = ?3 RETURNING 1",
        Kind::FormerWebhook => "UPDATE webhooks SET former = ?4 WHERE ?1 = '' AND id = ?2 AND former = ?3 RETURNING 1",
        Kind::Factor => "UPDATE factors SET sealed = ?4 WHERE ?1 = '' AND user_id = ?2 AND sealed = ?3 RETURNING 1",
    };
    let row = args![place.agent.as_str(), place.key.as_str(), Value::Blob(place.sealed.clone()), Value::Blob(sealed)];
    db.hot::<Affected>(sql, row).await?;
    Ok(())
}
