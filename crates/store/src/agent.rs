//! Table `agents`. Every statement that names an agent on behalf of a subject contains the permission's expression.

pub mod archived;
pub mod deploy;
pub mod list;
pub mod log;
pub mod overview;
pub mod secret;
pub mod silence;
pub mod state;
pub mod tree;

use common::{
    agent::{AgentName, AgentSettings, AgentState, DeployStatus},
    error::{ApiError, Code},
    id::{AgentId, TenantId, UserId},
    permission::Action,
    role::Role,
    scope::Patterns,
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    credential::{TokenRecord, status::is_unended},
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx, Value},
    permission::{Binder, PermissionSql},
    subject::Subject,
};

/// An agent, as a caller that may read it sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Agent {
    /// The id.
    pub id: AgentId,
    /// The name.
    pub name: String,
    /// Its settings.
    #[serde(flatten)]
    pub settings: AgentSettings,
    /// Its state.
    pub state: AgentState,
    /// Since when. `None`: it was never changed.
    pub state_changed_at: Option<Timestamp>,
    /// The user or agent that set the state: an address, or an agent's id.
    pub state_changed_by: Option<String>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its last heartbeat.
    pub last_seen_at: Option<Timestamp>,
    /// What has become of the last deployment. `None`: there was none.
    pub deploy_status: Option<DeployStatus>,
    /// The scopes that people approved for its token beyond the ceiling, while the approval lasts.
    pub approved: Patterns,
    /// Its owner.
    pub owner: Owner,
    /// The name of the agent above it, for a caller that may read that one.
    pub parent: Option<String>,
    /// The id of the agent above it.
    #[serde(skip)]
    pub parent_id: Option<AgentId>,
    /// Whether it has a live token.
    pub has_token: bool,
    /// That token, as far as it may be shown.
    pub token: Option<TokenRecord>,
}

/// The owner of an agent.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "AgentOwner")]
pub struct Owner {
    /// The user's id.
    pub id: UserId,
    /// The user's address.
    pub email: String,
    /// The user's role, whose ceiling is the agent's too.
    #[serde(skip)]
    pub role: Role,
    /// Whether the account is active: while it is not, no credential of the agent works.
    pub active: bool,
}

/// The columns of [`AgentSettings`], in the order in which they are read and written.
const SETTINGS: [&str; 16] = [
    "display_name",
    "description",
    "runtime",
    "model",
    "url",
    "compute",
    "access",
    "labels",
    "scope",
    "preset",
    "preset_version",
    "tier",
    "max_concurrent_tasks",
    "budget_cents",
    "spent_cents",
    "silent_after_minutes",
];

/// The values of [`SETTINGS`].
fn setting_values(settings: &AgentSettings) -> Result<Vec<Value>, DbError> {
    let labels = serde_json::to_string(&settings.labels).map_err(|_| DbError::Row("labels that cannot be written"))?;
    Ok(args![
        settings.display_name.as_deref(),
        settings.description.as_deref(),
        settings.runtime.as_deref(),
        settings.model.as_deref(),
        settings.url.as_deref(),
        settings.compute.as_ref().map(common::json::to_text),
        settings.access.as_deref(),
        labels,
        settings.scope.to_column(),
        settings.preset.as_deref(),
        settings.preset_version,
        settings.tier,
        settings.max_concurrent_tasks,
        settings.budget_cents,
        settings.spent_cents,
        settings.silent_after_minutes,
    ])
}

/// Takes the columns of [`SETTINGS`].
impl FromRow for AgentSettings {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            display_name: row.take()?,
            description: row.take()?,
            runtime: row.take()?,
            model: row.take()?,
            url: row.take()?,
            compute: match row.take::<Option<String>>()? {
                None => None,
                Some(text) => Some(common::json::parse(&text).ok_or(DbError::Row("compute that is no JSON"))?),
            },
            access: row.take()?,
            labels: row.take()?,
            scope: row.take()?,
            preset: row.take()?,
            preset_version: row.take()?,
            tier: row.take()?,
            max_concurrent_tasks: row.take()?,
            budget_cents: row.take()?,
            spent_cents: row.take()?,
            silent_after_minutes: row.take()?,
        })
    }
}

impl FromRow for Agent {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let mut agent = Self {
            id: row.take()?,
            name: row.take()?,
            settings: AgentSettings::from_row(row)?,
            state: row.take()?,
            state_changed_at: row.take()?,
            state_changed_by: row.take()?,
            owner: Owner { id: row.take()?, email: row.take()?, role: row.take()?, active: row.take()? },
            parent: row.take()?,
            parent_id: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
            last_seen_at: row.take()?,
            deploy_status: row.take()?,
            approved: row.take::<Option<_>>()?.unwrap_or_else(|| Patterns::stored("")),
            has_token: false,
            token: None,
        };
        if let Some(id) = row.take::<Option<_>>()? {
            let (prefix, issued_at) = (row.take()?, row.take()?);
            let (expires_at, last_used_at) = (row.take()?, row.take()?);
            agent.token = Some(TokenRecord {
                id,
                prefix,
                issued_at,
                expires_at,
                last_used_at,
                scope: row.take()?,
                minted_by: row.take()?,
                minted_with: row.take()?,
                grantee: row.take()?,
            });
            agent.has_token = true;
        } else {
            for _ in 0..8 {
                row.take::<Option<String>>()?; // NULL, like the id
            }
        }
        Ok(agent)
    }
}

/// Columns and joins, for [`Reads::packed`]. `now` is the expression of the time that decides whether a token is live; `above`
/// decides whether the name of the agent above, `p`, is returned; `extra` are further columns.
fn select(now: &str, above: &str, extra: &str) -> String {
    select_from("agents a", now, above, extra)
}

/// The same, with the table `a` among others.
fn select_from(from: &str, now: &str, above: &str, extra: &str) -> String {
    let settings = SETTINGS.map(|column| format!("a.{column}")).join(", ");
    let (approved, joins) = (approved(now), joins(now));
    format!(
        "SELECT json_array(
                a.id, a.name, {settings}, a.state, a.state_changed_at, a.state_changed_by, a.owner_id, u.email, u.role,
                u.deactivated_at IS NULL,
                CASE WHEN {above} THEN p.name END, p.id, a.created_at, a.updated_at, a.last_seen_at, a.deploy_status,
                {approved}, c.id, c.prefix, c.created_at, c.expires_at, c.last_used_at, c.scope, c.minted_by,
                c.minted_with, c.grantee{extra}) AS r
         FROM {from} {joins}"
    )
}

/// The scopes that people approved for the agent `a` beyond its ceiling, as words.
fn approved(now: &str) -> String {
    format!(
        "(SELECT group_concat(r.granted, ' ') FROM access_requests r
          WHERE r.agent_id = a.id AND r.state = 'approved' AND r.ends_at > {now} AND r.ends_at < {})",
        crate::credential::FOR_GOOD.millis()
    )
}

/// Owner `u`, agent above `p` and live token `c` of the agent `a`.
fn joins(now: &str) -> String {
    format!(
        "JOIN users u ON u.id = a.owner_id
         LEFT JOIN agents p ON p.id = a.parent_id AND p.archived_at IS NULL
         LEFT JOIN credentials c ON {} ",
        live_token(now)
    )
}

/// Whether the credential `c` is the live token of the agent `a`, whose owner is `u`.
pub(crate) fn live_token(now: &str) -> String {
    let unended = is_unended(now);
    format!(
        "c.agent_id = a.id AND c.kind = 'agent_token' AND c.place = 'active' AND u.deactivated_at IS NULL AND {unended}"
    )
}

/// An agent, and whether the subject may read it and do the action.
struct Decided {
    agent: Agent,
    may_read: bool,
    may_act: bool,
}

impl FromRow for Decided {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { agent: Agent::from_row(row)?, may_read: row.take()?, may_act: row.take()? })
    }
}

/// The column that a path names an agent by, and its value. `me` is the asking agent; no name has an underscore, so that an id is
/// never taken for a name.
pub(crate) fn named<'a>(subject: &'a Subject, text: &'a str) -> (&'static str, &'a str) {
    match &subject.agent {
        Some(own) if text == "me" => ("id", own.as_str()),
        _ => (column(text), text),
    }
}

/// The column that a text names an agent by: an id, or else a name.
pub(crate) fn column(text: &str) -> &'static str {
    if text.starts_with(AgentId::PREFIX) { "id" } else { "name" }
}

/// The agent of that name or id (`me` is the asking agent), if the subject may do `action` with it. Absent and unreadable are the
/// same 404 by the same statement; readable but not more is a 403 that says what is missing.
pub async fn get(
    reads: &dyn Rows,
    subject: &Subject,
    name: &str,
    action: Action,
    now: Timestamp,
) -> Result<Agent, ApiError> {
    let (column, name) = named(subject, name);
    let mut binder = Binder::default();
    let now = binder.bind(now);
    let name = binder.bind(name);
    let tenant = binder.bind(&subject.tenant);
    let permission = PermissionSql::new(subject, &mut binder);
    let (read, act) = (permission.on_agent(Action::Read), permission.on_agent(action));
    let sql = select(&now, &permission.about("p").on_agent(Action::Read), &format!(", {read}, {act}"))
        + &format!(" WHERE a.tenant_id = {tenant} AND a.{column} = {name} AND a.archived_at IS NULL");
    let decided = reads.packed::<Decided>(&sql, binder.into_args()).await?.pop();
    let Some(found) = decided.filter(|found| found.may_read) else { return Err(Code::AgentNotFound.into()) };
    if found.may_act {
        return Ok(found.agent);
    }
    let needed: Vec<&str> = action.on_agents().iter().map(|relation| relation.as_str()).collect();
    let detail = format!(
        "You may read the agent {}, but to {} it you must be one of: {}.",
        found.agent.name,
        action.as_str(),
        needed.join(", ")
    );
    Err(Code::PermissionDenied
        .detail(detail)
        .with("owner", found.agent.owner.email)
        .extra("required_relations", needed))
}

/// The live agent with this id, for every caller: for decisions about the tree.
pub async fn by_id(reads: &dyn Rows, id: &AgentId, now: Timestamp) -> Result<Option<Agent>, DbError> {
    let sql = select("?2", "1", "") + " WHERE a.id = ?1 AND a.archived_at IS NULL";
    Ok(reads.packed(&sql, args![id, now]).await?.pop())
}

/// What each of these names stands for now, in their order: the id of the live agent, or the text itself where there is none.
pub async fn ids(reads: &dyn Rows, tenant: &TenantId, names: &[String]) -> Result<Vec<String>, DbError> {
    let names = serde_json::to_string(names).map_err(|_| DbError::Row("names that cannot be written"))?;
    let sql = "SELECT ifnull((SELECT a.id FROM agents a WHERE a.tenant_id = ?1 AND a.name = sent.value AND a.archived_at IS NULL), sent.value) AS id
               FROM json_each(?2) sent ORDER BY sent.key";
    reads.list(sql, args![tenant, names]).await
}

/// An agent to be stored.
pub struct New<'a> {
    /// The id.
    pub id: &'a AgentId,
    /// The tenant.
    pub tenant_id: &'a TenantId,
    /// The owner.
    pub owner_id: &'a UserId,
    /// The agent above it.
    pub parent_id: Option<&'a AgentId>,
    /// Its settings.
    pub settings: &'a AgentSettings,
    /// Now.
    pub created_at: Timestamp,
}

/// Stores an agent under the first of its names that is free. `None`: the name and its variants `-2` to `-100` are taken.
pub async fn insert(tx: &Tx<'_>, name: &AgentName, new: &New<'_>) -> Result<Option<String>, DbError> {
    let parameters = (7..).take(SETTINGS.len()).map(|number| format!("?{number}")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "INSERT INTO agents (id, tenant_id, name, owner_id, parent_id, created_at, updated_at, {})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, {parameters})
         ON CONFLICT (tenant_id, name) WHERE archived_at IS NULL DO NOTHING RETURNING 1",
        SETTINGS.join(", ")
    );
    // The write lock is held: a name that is free now is free when the row goes in, and the unique index decides all the same.
    for candidate in name.variants() {
        let mut values = args![new.id, new.tenant_id, candidate.as_str(), new.owner_id, new.parent_id, new.created_at];
        values.extend(setting_values(new.settings)?);
        if tx.optional::<Affected>(&sql, values).await?.is_some() {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

/// Stores an agent's settings; the caller has decided in the same transaction that this is allowed.
pub async fn update(tx: &Tx<'_>, id: &AgentId, settings: &AgentSettings, now: Timestamp) -> Result<(), DbError> {
    let assignments = SETTINGS.iter().zip(3..).map(|(column, number)| format!("{column} = ?{number}"));
    let sql = format!(
        "UPDATE agents SET updated_at = ?2, {} WHERE id = ?1 AND archived_at IS NULL",
        assignments.collect::<Vec<_>>().join(", ")
    );
    let mut values = args![id, now];
    values.extend(setting_values(settings)?);
    tx.execute(&sql, values).await
}
