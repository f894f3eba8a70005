//! Whom an event about an agent or a user concerns: read when it is delivered, in its transaction.

use crate::{
    args,
    db::{DbError, FromRow, Reads, Row, Tx},
};
use common::id::{AgentId, TenantId, UserId};

/// Admins that one event tells at most.
const MOST_ADMINS: i64 = 100;

/// What an event is about, for those that are told of it.
pub struct Subject {
    /// The agent's owner, or the user.
    pub person: UserId,
    /// Whether their account is active.
    pub is_active: bool,
    /// The agent's name, or the user's address.
    pub name: String,
    /// The address of the person that did it, or whose agent did.
    pub by: Option<String>,
}

impl FromRow for Subject {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { person: row.take()?, is_active: row.take()?, name: row.take()?, by: row.take()? })
    }
}

/// The agent, or else the user, that an event is about. `doer`: the person that did it. `None`: it is about neither, or about one that is gone.
pub async fn subject(
    tx: &Tx<'_>,
    agent: Option<&AgentId>,
    user: Option<&UserId>,
    doer: Option<&UserId>,
) -> Result<Option<Subject>, DbError> {
    const BY: &str = "(SELECT d.email FROM users d WHERE d.id = ?2) AS by";
    let (sql, id) = match (agent, user) {
        (Some(agent), _) => (
            format!(
                "SELECT o.id, o.deactivated_at IS NULL AS active, a.name, {BY} FROM agents a JOIN users o ON o.id = a.owner_id WHERE a.id = ?1"
            ),
            agent.as_str(),
        ),
        (None, Some(user)) => (
            format!("SELECT u.id, u.deactivated_at IS NULL AS active, u.email, {BY} FROM users u WHERE u.id = ?1"),
            user.as_str(),
        ),
        (None, None) => return Ok(None),
    };
    tx.optional(&sql, args![id, doer]).await
}

/// The active admins of a tenant.
pub async fn admins(tx: &Tx<'_>, tenant: &TenantId) -> Result<Vec<UserId>, DbError> {
    let sql =
        "SELECT id FROM users WHERE tenant_id = ?1 AND role = 'admin' AND deactivated_at IS NULL ORDER BY id LIMIT ?2";
    tx.list(sql, args![tenant, MOST_ADMINS]).await
}
