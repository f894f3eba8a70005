//! Table `agents`, and who may do what with its rows: every statement that names an agent for a caller holds the
//! permission's expression.

use serde::Serialize;

use crate::{
    args,
    caller::Caller,
    db::{DbError, FromRow, FromValue, Happened, Reads, Row, Rows, Tx, Value, page},
    error::{ApiError, Code},
    form::{self, Field, Texts},
    id::{AgentId, TenantId, UserId},
    page::{COLUMNS, ROWS, Wanted},
    permission::{Action, Binder, Bound},
    scope::{Patterns, Role},
    store::{
        credential::TokenRecord,
        user::{self, like},
    },
    time::Timestamp,
};

/// The most characters of an agent's name: a DNS label.
const MOST: usize = 63;
/// Names that are words of the routes.
const RESERVED: [&str; 7] = ["archived", "bulk", "deploy", "enroll", "import", "me", "stop-all"];

/// An agent's name: lower-case letters, digits and hyphens, no hyphen at either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentName(String);

impl AgentName {
    /// Makes a name of what somebody typed: lower case, runs of other characters to one hyphen. `None`: it holds a path
    /// separator, `..` or a control character, has nothing left, is too long or is reserved.
    pub fn parse(typed: &str) -> Option<Self> {
        let typed = typed.trim_matches(' ');
        if typed.contains(['/', '\\']) || typed.contains("..") || typed.chars().any(char::is_control) {
            return None;
        }
        let mut slug = String::new();
        for c in typed.chars().take(10 * MOST).flat_map(char::to_lowercase) {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        let slug = slug.trim_end_matches('-');
        let is_good = (1..=MOST).contains(&slug.len()) && typed.chars().count() <= 64 && !RESERVED.contains(&slug);
        is_good.then(|| Self(slug.to_owned()))
    }

    /// The name with `-2`, `-3` … behind it, shortened so that it still fits.
    fn variant(&self, number: usize) -> String {
        let tail = format!("-{number}");
        let head: String = self.0.chars().take(MOST - tail.len()).collect();
        format!("{}{tail}", head.trim_end_matches('-'))
    }

    /// The name, then its variants up to `-100`: the first free one is taken.
    pub fn variants(&self) -> impl Iterator<Item = String> {
        std::iter::once(self.0.clone()).chain((2..=100).map(|number| self.variant(number)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An agent, as who may read it sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Agent {
    /// The id.
    pub id: AgentId,
    /// The name.
    pub name: String,
    /// A name for people.
    pub display_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What it runs on.
    pub runtime: Option<String>,
    /// The model behind it.
    pub model: Option<String>,
    /// Texts by name.
    pub labels: Labels,
    /// Its ceiling.
    pub scope: Patterns,
    /// What people approved for its token beyond the ceiling, as long as it lasts.
    pub approved: Patterns,
    /// The preset that the ceiling came from.
    pub preset: Option<String>,
    /// Its version.
    pub preset_version: Option<i64>,
    /// Where it is reached.
    pub url: Option<String>,
    /// From 1, trusted most, to 5.
    pub tier: i64,
    /// Tasks that it may do at once, which its runtime holds it to.
    pub max_concurrent_tasks: i64,
    /// Cents that it may spend; null: no bound.
    pub budget_cents: Option<i64>,
    /// Cents that it has spent, as it says itself.
    pub spent_cents: i64,
    /// `running`, `paused` or `stopped`.
    pub state: String,
    /// Since when; null: it never was another.
    pub state_changed_at: Option<Timestamp>,
    /// Who set it: a user's address, or an agent's id.
    pub state_changed_by: Option<String>,
    /// Its owner.
    pub owner: Owner,
    /// The name of the agent above it, for who may read that one.
    pub parent: Option<String>,
    /// The id of the agent above it.
    #[serde(skip)]
    pub parent_id: Option<AgentId>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its last heartbeat.
    pub last_seen_at: Option<Timestamp>,
    /// Whether it has a live token.
    pub has_token: bool,
    /// That token, as much as may be shown.
    pub token: Option<TokenRecord>,
}

/// Texts by name, at most 32.
pub type Labels = Texts;

/// The owner of an agent.
#[derive(Clone, Debug, Serialize)]
pub struct Owner {
    /// The user's id.
    pub id: UserId,
    /// The user's address.
    pub email: String,
    /// The user's role, whose ceiling is the agent's too.
    #[serde(skip)]
    pub role: Role,
}

impl FromValue for Labels {
    fn from_value(value: Value) -> Result<Self, DbError> {
        let json = form::json(&String::from_value(value)?);
        json.and_then(Self::from_json).ok_or(DbError::Row("labels that are no JSON object of texts"))
    }
}

impl FromValue for Patterns {
    fn from_value(value: Value) -> Result<Self, DbError> {
        String::from_value(value).map(|text| Self::stored(&text))
    }
}

impl FromRow for Agent {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let mut agent = Self {
            id: row.take()?,
            name: row.take()?,
            display_name: row.take()?,
            description: row.take()?,
            runtime: row.take()?,
            model: row.take()?,
            labels: row.take()?,
            scope: row.take()?,
            preset: row.take()?,
            preset_version: row.take()?,
            url: row.take()?,
            tier: row.take()?,
            max_concurrent_tasks: row.take()?,
            budget_cents: row.take()?,
            spent_cents: row.take()?,
            state: row.take()?,
            state_changed_at: row.take()?,
            state_changed_by: row.take()?,
            owner: Owner { id: row.take()?, email: row.take()?, role: row.take()? },
            parent: row.take()?,
            parent_id: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
            last_seen_at: row.take()?,
            approved: row.take::<Option<_>>()?.unwrap_or_else(|| Patterns::stored("")),
            has_token: false,
            token: None,
        };
        if let Some(id) = row.take::<Option<_>>()? {
            let (prefix, issued_at) = (row.take()?, row.take()?);
            let (expires_at, last_used_at) = (row.take()?, row.take()?);
            agent.token = Some(TokenRecord { id, prefix, issued_at, expires_at, last_used_at, scope: row.take()? });
            agent.has_token = true;
        } else {
            for _ in 0..5 {
                row.take::<Option<String>>()?; // NULL, like the id
            }
        }
        Ok(agent)
    }
}

/// Columns and joins, for [`Reads::packed`]. `now` is the expression of the time that decides whether a token is live; `above`
/// decides whether the name of the agent above, `p`, is told; `extra` are columns more.
fn select(now: &str, above: &str, extra: &str) -> String {
    select_from("agents a", now, above, extra)
}

/// The same, with the table `a` among others.
fn select_from(from: &str, now: &str, above: &str, extra: &str) -> String {
    let (approved, joins) = (approved(now), joins(now));
    format!(
        "SELECT json_array(
                a.id, a.name, a.display_name, a.description, a.runtime, a.model, a.labels, a.scope, a.preset, a.preset_version,
                a.url, a.tier, a.max_concurrent_tasks, a.budget_cents, a.spent_cents, a.state, a.state_changed_at, a.state_changed_by,
                a.owner_id, u.email, u.role, CASE WHEN {above} THEN p.name END, p.id, a.created_at, a.updated_at, a.last_seen_at,
                {approved}, c.id, c.prefix, c.created_at, c.expires_at, c.last_used_at, c.scope{extra}) AS r
         FROM {from} {joins}"
    )
}

/// The agent `a` as [`Agent`] is written, by SQLite: reading each row into this component and writing it again took a third of a
/// list's time. A test holds the two against each other.
fn written(now: &str, above: &str) -> String {
    let at = |column: &str| format!("strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000.0, 'unixepoch')");
    let list = |words: &str| format!("json(iif({words} = '', '[]', '[\"' || replace({words}, ' ', '\",\"') || '\"]'))");
    format!(
        "json_object('id', a.id, 'name', a.name, 'display_name', a.display_name, 'description', a.description,
            'runtime', a.runtime, 'model', a.model, 'labels', json(a.labels), 'scope', {}, 'approved', {},
            'preset', a.preset, 'preset_version', a.preset_version, 'url', a.url, 'tier', a.tier,
            'max_concurrent_tasks', a.max_concurrent_tasks, 'budget_cents', a.budget_cents, 'spent_cents', a.spent_cents,
            'state', a.state, 'state_changed_at', {}, 'state_changed_by', a.state_changed_by,
            'owner', json_object('id', a.owner_id, 'email', u.email), 'parent', CASE WHEN {above} THEN p.name END,
            'created_at', {}, 'updated_at', {}, 'last_seen_at', {}, 'has_token', json(iif(c.id IS NULL, 'false', 'true')),
            'token', iif(c.id IS NULL, NULL, json_object('id', c.id, 'prefix', c.prefix, 'issued_at', {}, 'expires_at', {},
                'last_used_at', {}, 'scope', {})))",
        list("a.scope"),
        list(&format!("ifnull({}, '')", approved(now))),
        at("a.state_changed_at"),
        at("a.created_at"),
        at("a.updated_at"),
        at("a.last_seen_at"),
        at("c.created_at"),
        at("c.expires_at"),
        at("c.last_used_at"),
        list("c.scope"),
    )
}

/// Rows that are read in place: a page of the usual length, and the one that tells whether there is another.
const SHORT: i64 = 51;

/// What people approved for the agent `a`, as words.
fn approved(now: &str) -> String {
    format!(
        "(SELECT group_concat(r.granted, ' ') FROM access_requests r
          WHERE r.agent_id = a.id AND r.state = 'approved' AND r.ends_at > {now})"
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

/// Whether the credential `c` is the live token of the agent `a`.
fn live_token(now: &str) -> String {
    format!(
        "c.agent_id = a.id AND c.kind = 'agent_token' AND c.place = 'active' AND c.revoked_at IS NULL
         AND (c.expires_at IS NULL OR c.expires_at > {now})"
    )
}

/// An agent and the two answers about it.
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

/// What a path names an agent by: the column, and its value. `me` is the asking agent's own name, and no name has an underscore,
/// so that an id is never taken for one.
pub(crate) fn named<'a>(caller: &'a Caller, text: &'a str) -> (&'static str, &'a str) {
    match caller.agent() {
        Some((own, _)) if text == "me" => ("name", own),
        _ => (column(text), text),
    }
}

/// The column that a text names an agent by: an id, or else a name.
pub(crate) fn column(text: &str) -> &'static str {
    if text.starts_with(AgentId::PREFIX) { "id" } else { "name" }
}

/// The agent of that name or id (`me` is the asking agent), if the caller may do `action` with it. Absent and unreadable are the
/// same 404 by the same one statement; readable but not more is a 403 that says what is missing.
pub async fn get(
    reads: &dyn Rows,
    caller: &Caller,
    name: &str,
    action: Action,
    now: Timestamp,
) -> Result<Agent, ApiError> {
    let (column, name) = named(caller, name);
    let mut binder = Binder::default();
    let now = binder.bind(now);
    let name = binder.bind(name);
    let tenant = binder.bind(caller.tenant_id());
    let bound = Bound::new(caller, &mut binder);
    let (read, act) = (bound.on_agent(Action::Read), bound.on_agent(action));
    let sql = select(&now, &bound.about("p").on_agent(Action::Read), &format!(", {read}, {act}"))
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

/// The live agent with this id, whoever asks: for what the tree decides.
pub async fn by_id(reads: &dyn Rows, id: &AgentId, now: Timestamp) -> Result<Option<Agent>, DbError> {
    let sql = select("?2", "1", "") + " WHERE a.id = ?1 AND a.archived_at IS NULL";
    Ok(reads.packed(&sql, args![id, now]).await?.pop())
}

/// What a list of agents is narrowed to.
#[derive(Default)]
pub struct Filter<'a> {
    /// A part of name or display name.
    pub q: Option<&'a str>,
    /// The state.
    pub state: Option<&'a str>,
    /// The owner's id or address.
    pub owner: Option<&'a str>,
    /// The name or id of the agent above.
    pub parent: Option<&'a str>,
    /// With or without a live token.
    pub has_token: Option<bool>,
}

/// The agents that the caller may read, the newest first, as JSON.
pub async fn list(
    reads: &dyn Rows,
    caller: &Caller,
    filter: &Filter<'_>,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<String, DbError> {
    let mut binder = Binder::default();
    let now = binder.bind(now);
    let (at, id) = wanted.after();
    let (at, id, tenant) = (binder.bind(at), binder.bind(id), binder.bind(caller.tenant_id()));
    // First which ones, from the table of agents alone; only those of the page are read whole.
    let mut narrow = String::new();
    if let Some(q) = filter.q {
        let q = binder.bind(like(q));
        narrow.push_str(&format!(" AND (a.name LIKE {q} ESCAPE '\\' OR a.display_name LIKE {q} ESCAPE '\\')"));
    }
    if let Some(state) = filter.state {
        narrow.push_str(&format!(" AND a.state = {}", binder.bind(state)));
    }
    if let Some(owner) = filter.owner {
        let (column, owner) = user::named(owner);
        let owner = binder.bind(owner);
        narrow.push_str(&format!(
            " AND a.owner_id = (SELECT id FROM users WHERE tenant_id = {tenant} AND {column} = {owner})"
        ));
    }
    let bound = Bound::new(caller, &mut binder);
    let above = bound.about("p").on_agent(Action::Read);
    if let Some(parent) = filter.parent {
        // Below an agent that he may not read there is nothing, as below an absent one.
        let (column, parent) = (column(parent), binder.bind(parent));
        narrow.push_str(&format!(
            " AND a.parent_id = (SELECT p.id FROM agents p WHERE p.tenant_id = {tenant} AND p.archived_at IS NULL
                                 AND p.{column} = {parent} AND {above})"
        ));
    }
    if let Some(has_token) = filter.has_token {
        let not = if has_token { "" } else { "NOT " };
        narrow.push_str(&format!(" AND {not}EXISTS (SELECT 1 FROM credentials c WHERE {})", live_token(&now)));
    }
    let rows = binder.bind(wanted.rows());
    let ids = bound.readable(&narrow, (&at, &id), &rows);
    let (written, joins) = (written(&now, &above), joins(&now));
    // CROSS JOIN is SQLite's word for "in this order".
    let sql = format!(
        "SELECT ifnull(group_concat(r, {ROWS}), '') AS page FROM (
             SELECT {written} || {COLUMNS} || a.created_at || ' ' || a.id AS r
             FROM ({ids}) l CROSS JOIN agents a ON a.id = l.id {joins} ORDER BY a.id DESC)"
    );
    // Without a filter a person's page is found by its index, and an ordinary one is short; what a filter leaves out, or stands below
    // an agent, may be many. The others have a text of their own, since a host may remember of a text that it took long.
    let is_short = narrow.is_empty() && caller.agent_id().is_none() && wanted.rows() <= SHORT;
    let rows: Option<String> = match is_short {
        true => reads.find(&sql, binder.into_args()).await?,
        false => reads.optional(&format!("{sql} LIMIT 1"), binder.into_args()).await?,
    };
    Ok(wanted.written_page(&rows.unwrap_or_default()))
}

/// The agents below one that the caller may read, each after the one above it; at most `most` of them.
pub async fn list_below(
    reads: &dyn Rows,
    caller: &Caller,
    top: &AgentId,
    most: usize,
    now: Timestamp,
) -> Result<Vec<Agent>, DbError> {
    let mut binder = Binder::default();
    let (top, now) = (binder.bind(top), binder.bind(now));
    let bound = Bound::new(caller, &mut binder);
    let (may, above) = (bound.on_agent(Action::Read), bound.about("p").on_agent(Action::Read));
    let from = "below CROSS JOIN agents a ON a.id = below.id";
    let sql = format!(
        "{} {} WHERE a.id <> {top} AND {may} ORDER BY below.depth, a.id LIMIT {most}",
        crate::store::tree::BELOW,
        select_from(from, &now, &above, "")
    );
    reads.packed(&page(&sql), binder.into_args()).await
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
    /// What can be changed later too.
    pub fields: &'a Fields,
    /// Now.
    pub created_at: Timestamp,
}

/// What can be said and changed of an agent, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Fields {
    /// A name for people.
    pub display_name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What it runs on.
    pub runtime: Option<String>,
    /// The model behind it.
    pub model: Option<String>,
    /// Where it is reached.
    pub url: Option<String>,
    /// Texts by name.
    pub labels: Labels,
    /// The ceiling.
    pub scope: Patterns,
    /// The preset that the ceiling came from, and its version.
    pub preset: Option<(String, i64)>,
    /// From 1, trusted most, to 5.
    pub tier: i64,
    /// Tasks at once.
    pub max_concurrent_tasks: i64,
    /// Cents that it may spend.
    pub budget_cents: Option<i64>,
    /// Cents that it has spent.
    pub spent_cents: i64,
}

impl Fields {
    /// An agent of which nothing is said but its ceiling.
    pub fn new(scope: Patterns) -> Self {
        Self {
            display_name: None,
            description: None,
            runtime: None,
            model: None,
            url: None,
            labels: Labels::default(),
            scope,
            preset: None,
            tier: 3,
            max_concurrent_tasks: 1,
            budget_cents: None,
            spent_cents: 0,
        }
    }

    /// For the columns, in the order in which [`insert`] and [`update`] name them.
    fn columns(&self) -> Result<Vec<Value>, DbError> {
        let labels = serde_json::to_string(&self.labels).map_err(|_| DbError::Row("labels that cannot be written"))?;
        let (preset, version) = self.preset.as_ref().map(|(name, version)| (name.as_str(), *version)).unzip();
        Ok(args![
            self.display_name.as_deref(),
            self.description.as_deref(),
            self.runtime.as_deref(),
            self.model.as_deref(),
            self.url.as_deref(),
            labels,
            self.scope.to_column(),
            preset,
            version,
            self.tier,
            self.max_concurrent_tasks,
            self.budget_cents,
            self.spent_cents,
        ])
    }
}

impl From<&Agent> for Fields {
    fn from(agent: &Agent) -> Self {
        Self {
            display_name: agent.display_name.clone(),
            description: agent.description.clone(),
            runtime: agent.runtime.clone(),
            model: agent.model.clone(),
            url: agent.url.clone(),
            labels: agent.labels.clone(),
            scope: agent.scope.clone(),
            preset: agent.preset.clone().zip(agent.preset_version),
            tier: agent.tier,
            max_concurrent_tasks: agent.max_concurrent_tasks,
            budget_cents: agent.budget_cents,
            spent_cents: agent.spent_cents,
        }
    }
}

/// Stores an agent under the first free of its names; `None`: the name and its variants `-2` to `-100` are all taken.
pub async fn insert(tx: &Tx<'_>, name: &AgentName, new: &New<'_>) -> Result<Option<String>, DbError> {
    // The write lock is held: what is free now is free when the row goes in, and the unique index judges all the same.
    for candidate in name.variants() {
        let mut values = args![new.id, new.tenant_id, candidate.as_str(), new.owner_id, new.parent_id, new.created_at];
        values.extend(new.fields.columns()?);
        let inserted = tx
            .optional::<Happened>(
                "INSERT INTO agents (id, tenant_id, name, owner_id, parent_id, created_at, updated_at, display_name, description,
                     runtime, model, url, labels, scope, preset, preset_version, tier, max_concurrent_tasks, budget_cents, spent_cents)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
                 ON CONFLICT (tenant_id, name) WHERE archived_at IS NULL DO NOTHING RETURNING 1",
                values,
            )
            .await?;
        if inserted.is_some() {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

/// Writes an agent's changeable columns; the caller has decided in the same transaction that he may.
pub async fn update(tx: &Tx<'_>, id: &AgentId, fields: &Fields, now: Timestamp) -> Result<(), DbError> {
    let mut values = args![id, now];
    values.extend(fields.columns()?);
    tx.execute(
        "UPDATE agents SET updated_at = ?2, display_name = ?3, description = ?4, runtime = ?5, model = ?6, url = ?7, labels = ?8,
             scope = ?9, preset = ?10, preset_version = ?11, tier = ?12, max_concurrent_tasks = ?13, budget_cents = ?14,
             spent_cents = ?15
         WHERE id = ?1 AND archived_at IS NULL",
        values,
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R44: the same rules on every path that creates.
    #[test]
    fn a_name_is_a_slug() {
        for (typed, slug) in
            [("Scout", "scout"), (" Build  Bot_7 ", "build-bot-7"), ("Ä-1", "1"), ("a.b", "a-b"), ("x--y", "x-y")]
        {
            assert_eq!(AgentName::parse(typed).map(|name| name.0), Some(slug.to_owned()), "{typed:?}");
        }
        let long = "x".repeat(10_000);
        for bad in [
            "",
            " ",
            "-",
            "ü",
            "a/../b",
            "..",
            "a..b",
            "\\",
            "a\\b",
            "a/b",
            "a\nb",
            "a\0",
            "me",
            "Me",
            "Stop All",
            "bulk",
            &long,
            &"x".repeat(64),
        ] {
            assert_eq!(AgentName::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_variant_still_fits() {
        let name = AgentName::parse(&"x".repeat(63)).unwrap();
        assert_eq!(name.variant(100).len(), 63);
        assert!(name.variant(2).ends_with("x-2"));
    }
}
