//! The tree of agents: which agent is above which. Depth is bounded when an agent is put into the tree, and every walk is bounded too.

use crate::origin::Origin;
use crate::{
    args,
    audit::{self, Many},
    db::{DbError, FromRow, Reads, Row, Rows, Tx},
    event, notification,
    permission::{BELOW, DEEPEST},
};
use common::{
    event::EventKind,
    id::{AgentId, UserId},
    scope::Patterns,
    time::Timestamp,
};
use serde_json::json;

/// The agents from the root down to this one: 1 for a root.
pub async fn depth(reads: &dyn Rows, id: &AgentId) -> Result<i64, DbError> {
    let sql = format!(
        "WITH RECURSIVE up (id, depth) AS (
             SELECT ?1, 1
             UNION ALL SELECT a.parent_id, depth + 1 FROM up JOIN agents a ON a.id = up.id
                       WHERE a.parent_id IS NOT NULL AND depth <= {DEEPEST})
         SELECT max(depth) FROM up"
    );
    Ok(reads.optional(&sql, args![id]).await?.unwrap_or(1))
}

/// The agents on the longest way down from this one, itself included.
pub async fn height(reads: &dyn Rows, id: &AgentId) -> Result<i64, DbError> {
    let sql = format!("{BELOW} SELECT max(depth) FROM below");
    Ok(reads.optional(&sql, args![id]).await?.unwrap_or(1))
}

/// Whether an agent is another one or below it.
pub async fn is_at_or_below(reads: &dyn Rows, id: &AgentId, top: &AgentId) -> Result<bool, DbError> {
    let sql = format!("{BELOW} SELECT count(*) FROM below WHERE id = ?2");
    Ok(reads.optional::<i64>(&sql, args![top, id]).await?.is_some_and(|count| count > 0))
}

/// Whether the agent or one below it runs.
pub async fn any_runs(reads: &dyn Rows, id: &AgentId) -> Result<bool, DbError> {
    let sql =
        format!("{BELOW} SELECT count(*) FROM below CROSS JOIN agents a ON a.id = below.id WHERE a.state = 'running'");
    Ok(reads.optional::<i64>(&sql, args![id]).await?.is_some_and(|count| count > 0))
}

/// The ids of the agent and of all live ones below it, each after the one above it.
pub async fn at_and_below(reads: &dyn Rows, id: &AgentId) -> Result<Vec<AgentId>, DbError> {
    let sql = format!("{BELOW} SELECT id FROM below ORDER BY depth, id");
    reads.list(&sql, args![id]).await
}

/// Cents of an agent's budget that are reserved by those below it except `but`: the budget of each live one right below, or what
/// it has spent if that is more, and what archived ones have spent with all below them.
pub async fn committed_below(reads: &dyn Rows, id: &AgentId, but: Option<&AgentId>) -> Result<i64, DbError> {
    let sql = "WITH RECURSIVE gone (id) AS (
                   SELECT id FROM agents WHERE parent_id = ?1 AND archived_at IS NOT NULL AND id IS NOT ?2
                   UNION SELECT a.id FROM gone CROSS JOIN agents a ON a.parent_id = gone.id)
               SELECT ifnull((SELECT sum(max(ifnull(budget_cents, 0), spent_cents)) FROM agents
                              WHERE parent_id = ?1 AND archived_at IS NULL AND id IS NOT ?2), 0)
                    + ifnull((SELECT sum(spent_cents) FROM agents WHERE id IN (SELECT id FROM gone)), 0) AS spent";
    Ok(reads.optional(sql, args![id, but]).await?.unwrap_or(0))
}

/// A ceiling in the tree.
pub struct Ceiling {
    /// The agent.
    pub id: AgentId,
    /// The one above it.
    pub parent_id: Option<AgentId>,
    /// Its ceiling.
    pub scope: Patterns,
}

impl FromRow for Ceiling {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { id: row.take()?, parent_id: row.take()?, scope: row.take()? })
    }
}

/// The ceilings of the agent and of all live ones below it, each after the one above it.
pub async fn ceilings(reads: &dyn Rows, id: &AgentId) -> Result<Vec<Ceiling>, DbError> {
    let sql = format!(
        "{BELOW} SELECT a.id, a.parent_id, a.scope FROM below CROSS JOIN agents a ON a.id = below.id ORDER BY depth, a.id"
    );
    reads.list(&sql, args![id]).await
}

/// Writes a ceiling that the tree made narrower; it no longer belongs to a preset.
pub async fn narrow(tx: &Tx<'_>, id: &AgentId, scope: &Patterns, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE agents SET scope = ?2, preset = NULL, preset_version = NULL, updated_at = ?3 WHERE id = ?1";
    tx.execute(sql, args![id, scope.to_column(), now]).await
}

/// The owner of the agent with this id; `None`: it is no agent's.
pub async fn owner(reads: &dyn Rows, id: &str) -> Result<Option<UserId>, DbError> {
    reads.optional("SELECT owner_id FROM agents WHERE id = ?1", args![id]).await
}

/// Puts an agent below another one, or, for `None`, below nobody.
pub async fn set_parent(tx: &Tx<'_>, id: &AgentId, parent: Option<&AgentId>, now: Timestamp) -> Result<(), DbError> {
    tx.execute("UPDATE agents SET parent_id = ?2, updated_at = ?3 WHERE id = ?1", args![id, parent, now]).await
}

/// The agents that the user `?1` owns, archived ones too, in the form of [`BELOW`].
const OWNED: &str = "WITH below (id, depth) AS (
        SELECT id, 2 FROM agents WHERE owner_id = ?1 AND archived_at IS NULL
        UNION ALL SELECT id, 2 FROM agents WHERE owner_id = ?1 AND archived_at IS NOT NULL) ";

/// How many agents a user owns: live ones, and archived ones.
pub async fn owned(reads: &dyn Rows, owner: &UserId) -> Result<(i64, i64), DbError> {
    let live = "SELECT count(*) FROM agents WHERE owner_id = ?1 AND archived_at IS NULL";
    let archived = "SELECT count(*) FROM agents WHERE owner_id = ?1 AND archived_at IS NOT NULL";
    let count = async |sql| Ok::<_, DbError>(reads.optional(sql, args![owner]).await?.unwrap_or(0));
    Ok((count(live).await?, count(archived).await?))
}

/// What happens to the agents of a user who is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentDisposal {
    /// They get another owner.
    Transferred,
    /// They get another owner, who can restore them, and are archived.
    Archived,
}

/// Gives all agents of a user to another one, archived agents too. Each agent has an audit row of its own.
pub async fn release_all(
    tx: &Tx<'_>,
    (origin, action): (&Origin<'_>, &str),
    from: &UserId,
    to: &UserId,
    fate: AgentDisposal,
) -> Result<(), DbError> {
    let is_archived = fate == AgentDisposal::Archived;
    let kind = if is_archived { EventKind::AgentArchived } else { EventKind::AgentTransferred };
    let data = if is_archived { json!({ "with": from }) } else { json!({ "owner": to, "former_owner": from }) };
    let which = "a.id IN (SELECT id FROM below) AND a.archived_at IS NULL";
    let many = event::Many { with: OWNED, which, subject: from.as_str(), kind, data: &data };
    // An archived agent reads no inbox.
    if is_archived {
        event::insert_for_many(tx, origin, &many).await?;
    } else {
        event::push_to_many(tx, origin, &many).await?;
    }
    end_for_new_owner(tx, (origin, action), (OWNED, from.as_str()), to, is_archived).await?;
    if is_archived {
        let sql = format!("{OWNED} DELETE FROM grants WHERE subject_id IN (SELECT id FROM below)");
        tx.execute(&sql, args![from]).await?;
    }
    let sql = format!(
        "{OWNED} UPDATE agents SET owner_id = ?2, updated_at = ?3, archived_at = iif(?4, ifnull(archived_at, ?3), archived_at),
                inbox_seq = inbox_seq + (archived_at IS NULL AND NOT ?4)
         WHERE id IN (SELECT id FROM below)"
    );
    tx.execute(&sql, args![from, to, origin.now, is_archived]).await
}

/// Gives an agent and all agents below it to another owner. Credentials, keys, secrets, probes, approvals and grants end, so that nobody
/// whom the former owner chose can act for the new one, and the new owner cannot use what the former one gave. Each agent below has an audit
/// row of its own.
pub async fn transfer(
    tx: &Tx<'_>,
    (origin, action): (&Origin<'_>, &str),
    id: &AgentId,
    owner: &UserId,
) -> Result<(), DbError> {
    let data = json!({ "owner": owner, "with": id });
    let (which, kind) = ("a.id IN (SELECT id FROM below WHERE depth > 1)", EventKind::AgentTransferred);
    let many = event::Many { with: BELOW, which, subject: id.as_str(), kind, data: &data };
    event::push_to_many(tx, origin, &many).await?;
    end_for_new_owner(tx, (origin, action), (BELOW, id.as_str()), owner, false).await?;
    let sql = format!(
        "{BELOW} UPDATE agents SET owner_id = ?2, updated_at = ?3,
                inbox_seq = inbox_seq + (id <> ?1) WHERE id IN (SELECT id FROM below)"
    );
    tx.execute(&sql, args![id, owner, origin.now]).await
}

/// Ends what a former owner made for agents that get another one. The agents of depth 1 have an audit row from their own change.
async fn end_for_new_owner(
    tx: &Tx<'_>,
    (origin, action): (&Origin<'_>, &str),
    (with, subject): (&'static str, &str),
    owner: &UserId,
    is_archived: bool,
) -> Result<(), DbError> {
    let which = "a.id IN (SELECT id FROM below WHERE depth > 1)";
    let (member, after) = ("owner_id", owner.as_str());
    audit::insert_for_many(tx, origin, action, &Many { with, which, subject, member, after, is_archived }).await?;
    end_rights(tx, (with, subject), origin.now).await?;
    delete_keys(tx, (with, subject)).await?;
    // A code that waits is in the hands of whom the former owner chose.
    for (table, agent) in [("codes", "agent_id"), ("grants", "object_id")] {
        let sql = format!("{with} DELETE FROM {table} WHERE {agent} IN (SELECT id FROM below)");
        tx.execute(&sql, args![subject]).await?;
    }
    Ok(())
}

/// Archives an agent and all below it: their credentials and grants end, their names become free. Gives the ids of
/// the credentials that were live.
pub async fn archive(tx: &Tx<'_>, id: &AgentId, now: Timestamp) -> Result<Vec<String>, DbError> {
    let revoked = end_rights(tx, (BELOW, id.as_str()), now).await?;
    // Its grants are deleted with it; a restored agent is shared with nobody.
    let sql = format!(
        "{BELOW} DELETE FROM grants
         WHERE object_id IN (SELECT id FROM below) OR subject_id IN (SELECT id FROM below)"
    );
    tx.execute(&sql, args![id]).await?;
    delete_keys(tx, (BELOW, id.as_str())).await?;
    let sql = format!("{BELOW} UPDATE agents SET archived_at = ?2, updated_at = ?2 WHERE id IN (SELECT id FROM below)");
    tx.execute(&sql, args![id, now]).await?;
    Ok(revoked)
}

/// Deletes the keys of the agents `below` with their grants, and what they have for other services: secrets, probes and federated credentials. Their own
/// credentials are not ended here.
async fn delete_keys(tx: &Tx<'_>, (with, subject): (&'static str, &str)) -> Result<(), DbError> {
    let keys = "FROM api_keys WHERE agent_id IN (SELECT id FROM below)";
    tx.execute(&format!("{with} DELETE FROM grants WHERE object_id IN (SELECT id {keys})"), args![subject]).await?;
    tx.execute(&format!("{with} DELETE {keys}"), args![subject]).await?;
    for table in ["agent_secrets", "probes", "federated_credentials"] {
        let sql = format!("{with} DELETE FROM {table} WHERE agent_id IN (SELECT id FROM below)");
        tx.execute(&sql, args![subject]).await?;
    }
    Ok(())
}

/// Ends every credential of the agents `below`, and all that was asked and approved for them.
async fn end_rights(
    tx: &Tx<'_>,
    (with, subject): (&'static str, &str),
    now: Timestamp,
) -> Result<Vec<String>, DbError> {
    notification::settle_below(tx, (with, subject), now).await?;
    let sql = format!(
        "{with} UPDATE access_requests
         SET state = CASE state WHEN 'open' THEN 'denied' ELSE 'revoked' END, decided_at = ?2, decided_by = NULL
         WHERE agent_id IN (SELECT id FROM below) AND (state = 'open' OR (state = 'approved' AND ends_at > ?2))"
    );
    tx.execute(&sql, args![subject, now]).await?;
    let sql = format!(
        "{with} UPDATE credentials SET revoked_at = ?2
         WHERE agent_id IN (SELECT id FROM below) AND revoked_at IS NULL RETURNING id"
    );
    tx.list(&sql, args![subject, now]).await
}

#[cfg(test)]
mod tests {
    use common::{id::RequestId, role::Role};

    use super::*;
    use crate::{db::Purpose, testing::TestDb};

    /// Whether its owner gave an agent away or was deleted, its inbox says that it has another one.
    #[tokio::test]
    async fn an_agent_reads_in_its_inbox_that_its_former_owner_was_deleted() {
        for (fate, expected) in
            [(AgentDisposal::Transferred, vec!["hand 1 1 agent.transferred"]), (AgentDisposal::Archived, vec![])]
        {
            let t = TestDb::new();
            let ada = t.ada().await;
            let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
            t.agent(&max, "old", "*").await;
            t.execute("UPDATE agents SET archived_at = 1").await.unwrap();
            t.agent(&max, "hand", "*").await;
            let (request, now) = (RequestId::generate(t.now(), t.chance()), t.now());
            let origin = Origin {
                tenant: &ada.tenant,
                user: Some(&ada.user),
                agent: None,
                credential: None,
                address: "",
                request: &request,
                now,
                chance: t.chance(),
            };
            let tx = t.db().begin(Purpose::Durable).await.unwrap();
            release_all(&tx, (&origin, "user.delete"), &max.user, &ada.user, fate).await.unwrap();
            tx.commit().await.unwrap();
            let inboxes = "SELECT a.name || ' ' || a.inbox_seq || ' ' || i.seq || ' ' || i.kind
                           FROM agents a JOIN inbox i ON i.agent_id = a.id";
            assert_eq!(t.texts(inboxes).await, expected);
            assert_eq!(t.number("SELECT inbox_seq FROM agents WHERE name = 'old'").await, 0);
        }
    }
}
