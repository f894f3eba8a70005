//! Credentials that rest on a grant: an editor of an agent may issue its token or make a key of it, and what was made so, and what was
//! made with that in turn, lasts as long as the editor may still change the agent.

use std::sync::LazyLock;

use common::{
    id::{AgentId, TenantId, UserId},
    role::Role,
    scope::Scope,
    time::Timestamp,
};

use crate::{
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Tx},
};

/// What has ended with a grant.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The credential's record; of a webhook's secret, the id of its key.
    pub id: String,
    /// Its agent.
    pub agent: AgentId,
    /// The agent's name.
    pub agent_name: String,
    /// The agent's owner.
    pub owner: UserId,
    /// The user's address or the agent's name whose grant it was.
    pub grantee: String,
}

impl FromRow for Ended {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            agent: row.take()?,
            agent_name: row.take()?,
            owner: row.take()?,
            grantee: row.take()?,
        })
    }
}

/// May the grantee of the row still make it? `row` is one of `credentials` or `api_keys`, `key` the id of its key, if it has one.
///
/// `p` is the grantee's person and `x` the grantee, if it is an agent. The grantee is an editor of the agent, or was made its owner or
/// an admin since; and of a key's secret it is an editor of the key, too. An agent's grant counts for what its owner may do,
/// and within its own ceiling.
pub(super) fn stands(row: &str, key: &str) -> String {
    let roles = Role::ALL.into_iter().filter(|role| role.ceiling().contains(Scope::AgentsUpdate));
    let roles = roles.map(|role| format!("'{}'", role.as_str())).collect::<Vec<_>>().join(", ");
    let edits = |object: &str, subject: &str| {
        format!(
            "EXISTS (SELECT 1 FROM grants g WHERE g.object_id = {object} AND g.subject_id = {subject} AND g.relation = 'editor')"
        )
    };
    let holds = |pattern: &str| format!("instr(' ' || x.scope || ' ', ' {pattern} ') > 0");
    let ceiling = format!("({} OR {} OR {})", holds(Scope::AgentsUpdate.as_str()), holds("agents.*"), holds("*"));
    let person = |object: &str| format!("(p.role = 'admin' OR a.owner_id = p.id OR {})", edits(object, "p.id"));
    format!(
        "EXISTS (
            SELECT 1 FROM agents a
            LEFT JOIN agents x ON x.id = {row}.grantee AND x.archived_at IS NULL
            JOIN users p ON p.id = ifnull(x.owner_id, {row}.grantee)
            WHERE a.id = {row}.agent_id AND p.deactivated_at IS NULL AND p.role IN ({roles})
              AND {} AND (x.id IS NULL OR ({} AND {ceiling}))
              AND ({key} IS NULL OR ({} AND (x.id IS NULL OR {}))))",
        person("a.id"),
        edits("a.id", "x.id"),
        edits(key, &format!("{row}.grantee")),
        person(key),
    )
}

/// The columns of [`Ended`] of a row that was just changed, and has lost its alias.
fn ended(table: &str) -> String {
    format!(
        "{table}.id AS i, {table}.agent_id AS g,
         (SELECT a.name FROM agents a WHERE a.id = {table}.agent_id) AS n,
         (SELECT a.owner_id FROM agents a WHERE a.id = {table}.agent_id) AS o,
         ifnull((SELECT u.email FROM users u WHERE u.id = {table}.grantee),
                ifnull((SELECT a.name FROM agents a WHERE a.id = {table}.grantee), {table}.grantee)) AS w"
    )
}

/// Those of the tenant `?1` that lost a right in this transaction, and the agents of those: an agent's grant counts for what its owner
/// may do. Triggers write them down, so that no way to lose a right is forgotten.
const LOST: &str = "SELECT l.subject_id FROM lost_rights l WHERE l.tenant_id = ?1
    UNION SELECT o.id FROM lost_rights l CROSS JOIN agents o ON o.owner_id = l.subject_id WHERE l.tenant_id = ?1 AND o.archived_at IS NULL";

static END_CREDENTIALS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE credentials SET revoked_at = ?2
         WHERE grantee IN ({LOST}) AND grantee IS NOT NULL AND revoked_at IS NULL AND NOT {} RETURNING {}",
        stands("credentials", "credentials.key_id"),
        ended("credentials")
    )
});

static END_SECRETS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE api_keys SET sealed = NULL
         WHERE grantee IN ({LOST}) AND grantee IS NOT NULL AND sealed IS NOT NULL AND NOT {} RETURNING {}",
        stands("api_keys", "api_keys.id"),
        ended("api_keys")
    )
});

/// The secret before, which the present one, of another maker, has replaced: nobody is told of that.
static END_FORMER_SECRETS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "DELETE FROM former_hook_secrets WHERE grantee IN ({LOST}) AND NOT {}",
        stands("former_hook_secrets", "former_hook_secrets.id")
    )
});

/// Ends every credential and webhook secret of the tenant whose grantee may no longer change its agent: the grant was taken away, or
/// the account was deactivated, its role lowered, the agent given to another owner. Every change calls this before it commits.
pub async fn end(tx: &Tx<'_>, tenant: &TenantId, now: Timestamp) -> Result<Vec<Ended>, DbError> {
    let sql = "SELECT 1 FROM lost_rights WHERE tenant_id = ?1 LIMIT 1";
    if tx.optional::<Affected>(sql, args![tenant]).await?.is_none() {
        return Ok(Vec::new());
    }
    let mut all = tx.list::<Ended>(&END_CREDENTIALS, args![tenant, now]).await?;
    all.extend(tx.list::<Ended>(&END_SECRETS, args![tenant]).await?);
    tx.execute(&END_FORMER_SECRETS, args![tenant]).await?;
    tx.execute("DELETE FROM lost_rights WHERE tenant_id = ?1", args![tenant]).await?;
    Ok(all)
}
