//! Credentials that end soon, of which their people are told. Sessions are none of them, nor what OAuth clients renew
//! themselves.

use crate::{
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx},
};
use common::{
    id::{AgentId, CredentialId, TenantId, UserId},
    time::Timestamp,
};

/// Credentials that one tick tells of at most.
const BATCH: i64 = 200;

/// What is told of each: 7 days and 1 day before the end, once each, and not of a credential that was made for less time than that.
const NEWS: &str = "FROM tenants t CROSS JOIN credentials c ON c.tenant_id = t.id
    JOIN users u ON u.id = c.user_id AND u.deactivated_at IS NULL
    LEFT JOIN agents a ON a.id = c.agent_id
    WHERE c.revoked_at IS NULL AND c.kind <> 'session' AND c.replaced_by IS NULL AND c.expires_at > ?1 AND c.expires_at <= ?1 + 604800000
      AND c.created_at <= c.expires_at - iif(c.expires_at <= ?1 + 86400000, 86400000, 604800000)
      AND ifnull(c.told_days, 99) > iif(c.expires_at <= ?1 + 86400000, 1, 7)
      AND a.archived_at IS NULL AND NOT EXISTS (SELECT 1 FROM oauth_grants o WHERE o.credential_id = c.id)";

/// A credential that ends soon.
pub struct Expiring {
    /// Its record.
    pub id: CredentialId,
    /// Its kind, as it is stored.
    pub kind: String,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether it is a key's.
    pub is_key: bool,
    /// The key's id.
    pub key: Option<String>,
    /// The tenant.
    pub tenant: TenantId,
    /// The person: of an agent its owner.
    pub user: UserId,
    /// The agent.
    pub agent: Option<AgentId>,
    /// Its name.
    pub agent_name: Option<String>,
    /// The end.
    pub expires_at: Timestamp,
    /// 7 or 1.
    pub days: i64,
    /// Whether nobody was told of it before.
    pub is_first: bool,
}

impl FromRow for Expiring {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (id, kind): (_, String) = (row.take()?, row.take()?);
        let is_key = kind == "api_key";
        Ok(Self {
            id,
            kind,
            name: row.take()?,
            is_key,
            key: row.take()?,
            tenant: row.take()?,
            user: row.take()?,
            agent: row.take()?,
            agent_name: row.take()?,
            expires_at: row.take()?,
            days: row.take()?,
            is_first: row.take()?,
        })
    }
}

/// Whether there is anything to tell.
pub async fn any(reads: &dyn Rows, now: Timestamp) -> Result<bool, DbError> {
    Ok(reads.optional::<Affected>(&format!("SELECT 1 {NEWS} LIMIT 1"), args![now]).await?.is_some())
}

/// Takes what there is to tell, so that it is told once.
pub async fn take(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<Expiring>, DbError> {
    let sql = format!(
        "SELECT c.id, c.kind, c.name, c.key_id, c.tenant_id, ifnull(a.owner_id, c.user_id) AS owner, c.agent_id, a.name AS agent, c.expires_at,
                iif(c.expires_at <= ?1 + 86400000, 1, 7) AS days, c.told_days IS NULL AS is_first {NEWS} LIMIT ?2"
    );
    let found: Vec<Expiring> = tx.list(&sql, args![now, BATCH]).await?;
    for one in &found {
        tx.execute("UPDATE credentials SET told_days = ?2 WHERE id = ?1", args![&one.id, one.days]).await?;
    }
    Ok(found)
}
