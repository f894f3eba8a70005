//! Archived rows of table `agents`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    agent::Owner,
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx},
    page::{Order, PageRequest, any_has, pattern},
    permission::{self, Binder},
    person::Named,
    subject::Subject,
};
use common::{
    agent::AgentName,
    error::{ApiError, Code},
    id::{AgentId, TenantId},
    permission::Action,
    scope::Patterns,
    time::Timestamp,
};

/// An archived agent, as a caller that may restore it sees it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ArchivedAgent")]
pub struct Archived {
    /// The id, by which it is named: another agent may have its name by now.
    pub id: AgentId,
    /// The name that it had.
    pub name: String,
    /// A name for people.
    pub display_name: Option<String>,
    /// Its purpose.
    pub description: Option<String>,
    /// Its ceiling.
    pub scope: Patterns,
    /// Its tier.
    #[serde(skip)]
    pub tier: i64,
    /// The most tasks at once.
    #[serde(skip)]
    pub max_concurrent_tasks: i64,
    /// Cents that it may spend.
    pub budget_cents: Option<i64>,
    /// Cents that it has spent.
    pub spent_cents: i64,
    /// Its owner.
    pub owner: Owner,
    /// The tenant.
    #[serde(skip)]
    pub tenant_id: TenantId,
    /// The id of the agent that it stood below.
    pub parent_id: Option<AgentId>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was archived.
    pub archived_at: Timestamp,
}

impl FromRow for Archived {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            name: row.take()?,
            display_name: row.take()?,
            description: row.take()?,
            scope: row.take()?,
            tier: row.take()?,
            max_concurrent_tasks: row.take()?,
            budget_cents: row.take()?,
            spent_cents: row.take()?,
            owner: Owner { id: row.take()?, email: row.take()?, role: row.take()?, active: row.take()? },
            tenant_id: row.take()?,
            parent_id: row.take()?,
            created_at: row.take()?,
            archived_at: row.take()?,
        })
    }
}

const SELECT: &str = "
    SELECT a.id, a.name, a.display_name, a.description, a.scope, a.tier, a.max_concurrent_tasks, a.budget_cents, a.spent_cents, u.id, u.email, u.role, u.deactivated_at IS NULL AS active, a.tenant_id, a.parent_id, a.created_at, a.archived_at
    FROM agents a JOIN users u ON u.id = a.owner_id
    WHERE a.archived_at IS NOT NULL AND ";

/// The filter of a list of archived agents.
#[derive(Default)]
pub struct Filter<'a> {
    /// A part of name or display name, or the id.
    pub q: Option<&'a str>,
    /// Of this person.
    pub owner: Option<Named>,
    /// The order; the newest is the last archived.
    pub order: Order,
}

/// The archived agents that the caller may restore, the last archived first, or by name.
pub async fn list(
    reads: &dyn Rows,
    subject: &Subject,
    filter: &Filter<'_>,
    page: &PageRequest,
) -> Result<Vec<Archived>, DbError> {
    let mut binder = Binder::default();
    let (at, id) = page.begin(filter.order);
    let (at, id, tenant) = (binder.bind(at), binder.bind(id), binder.bind(&subject.tenant));
    let may = permission::on_agent(subject, Action::Delete, &mut binder);
    let (behind, sorted) = match filter.order {
        Order::Newest => (format!("(a.archived_at, a.id) < ({at}, {id})"), "a.archived_at DESC, a.id DESC"),
        Order::Name => (format!("(a.name, a.id) > ({at}, {id})"), "a.name, a.id"),
    };
    let mut narrow = String::new();
    if let Some(q) = filter.q {
        let (id, q) = (binder.bind(q), binder.bind(pattern(q)));
        narrow.push_str(&format!(" AND (a.id = {id} OR {})", any_has(&q, &["a.name", "a.display_name"])));
    }
    if let Some(owner) = &filter.owner {
        narrow.push_str(&format!(" AND {}", owner.is(&mut binder)));
    }
    let limit = binder.bind(page.rows());
    let sql = format!(
        "{SELECT} a.tenant_id = {tenant} AND {behind} AND {may}{narrow}
         ORDER BY {sorted} LIMIT {limit}"
    );
    reads.list(&sql, binder.into_args()).await
}

/// The archived agent with this id, if the caller may restore it; one that the caller may not restore is an absent one.
pub async fn find(reads: &dyn Rows, subject: &Subject, id: &str) -> Result<Archived, ApiError> {
    let mut binder = Binder::default();
    let id = binder.bind(id);
    let may = permission::on_agent(subject, Action::Delete, &mut binder);
    let found = reads.optional(&format!("{SELECT} a.id = {id} AND {may}"), binder.into_args()).await?;
    found.ok_or_else(|| Code::ArchivedNotFound.into())
}

/// Brings an agent back, stopped, under the first free of its names; `false`: all of them are taken.
pub async fn restore(
    tx: &Tx<'_>,
    found: &Archived,
    name: &AgentName,
    parent: Option<&AgentId>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE agents SET archived_at = NULL, name = ?3, parent_id = ?4, state = 'stopped', state_changed_at = ?5, state_changed_by = NULL, updated_at = ?5, deploy_status = NULL
               WHERE id = ?1 AND archived_at IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM agents o WHERE o.tenant_id = ?2 AND o.name = ?3 AND o.archived_at IS NULL)
               RETURNING 1";
    for candidate in name.variants() {
        let args = args![&found.id, &found.tenant_id, candidate, parent, now];
        if tx.optional::<Affected>(sql, args).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deletes an archived agent and all that belongs to it. Its notifications stay with their recipients; the audit trail is never touched.
pub async fn purge(tx: &Tx<'_>, id: &AgentId) -> Result<(), DbError> {
    for sql in [
        "UPDATE notifications SET agent_id = NULL WHERE agent_id = ?1",
        "UPDATE agents SET parent_id = NULL WHERE parent_id = ?1",
        "DELETE FROM inbox WHERE agent_id = ?1",
        "DELETE FROM agent_logs WHERE agent_id = ?1",
        "DELETE FROM access_requests WHERE agent_id = ?1",
        "DELETE FROM agent_secrets WHERE agent_id = ?1",
        "DELETE FROM probes WHERE agent_id = ?1",
        "DELETE FROM federated_credentials WHERE agent_id = ?1",
        "INSERT OR IGNORE INTO purged_credentials SELECT id, kind, key_id FROM credentials WHERE agent_id = ?1",
        "DELETE FROM credentials WHERE agent_id = ?1",
        "DELETE FROM agents WHERE id = ?1 AND archived_at IS NOT NULL",
    ] {
        tx.execute(sql, args![id]).await?;
    }
    Ok(())
}
