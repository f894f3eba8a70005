//! Table `presets`: what a class of agents needs, in versions. The built-in presets are version 1 of their names; a tenant's
//! own versions come after them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::{
    agent::live_token,
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx},
    page::PageRequest,
    permission::{self, Binder},
    subject::Subject,
};
use common::{
    id::{AgentId, TenantId, UserId},
    permission::Action,
    scope::{Patterns, Scopes},
    time::Timestamp,
};

/// Names that a tenant has versions of its own of.
const MOST_NAMES: i64 = 50;
/// Versions of one name.
const MOST_VERSIONS: i64 = 1_000;
/// Versions that are listed.
const LISTED: i64 = 100;

/// One version of a preset.
#[derive(Clone, Debug, Serialize, PartialEq, Eq, JsonSchema)]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// Its version; 1 of a built-in name is the built-in one.
    pub version: i64,
    /// The ceiling of an agent of this class.
    pub scope: Patterns,
    /// Names of the secrets that its agents need.
    pub secrets: Vec<String>,
    /// Names of the probes that its agents need.
    pub probes: Vec<String>,
    /// Settings of an agent that is registered with it, where the request leaves them out.
    pub defaults: Map<String, Json>,
    /// Whether it is the built-in version.
    pub built_in: bool,
    /// When the tenant made it; null: it is built in.
    pub created_at: Option<Timestamp>,
    /// The address of the user who made it.
    pub created_by: Option<String>,
}

/// A list of names, as a column holds it.
fn names(row: &mut Row) -> Result<Vec<String>, DbError> {
    serde_json::from_str(&row.take::<String>()?).map_err(|_| DbError::Row("names that are no list"))
}

impl FromRow for Preset {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            name: row.take()?,
            version: row.take()?,
            scope: row.take()?,
            secrets: names(row)?,
            probes: names(row)?,
            defaults: match common::json::parse(&row.take::<String>()?) {
                Some(Json::Object(members)) => members,
                _ => return Err(DbError::Row("defaults that are no object")),
            },
            built_in: false,
            created_at: row.take()?,
            created_by: row.take()?,
        })
    }
}

impl From<common::preset::Preset> for Preset {
    fn from(built_in: common::preset::Preset) -> Self {
        Self {
            name: built_in.as_str().to_owned(),
            version: 1,
            scope: built_in.patterns(),
            secrets: Vec::new(),
            probes: Vec::new(),
            defaults: Map::new(),
            built_in: true,
            created_at: None,
            created_by: None,
        }
    }
}

const SELECT: &str = "SELECT p.name, p.version, p.scope, p.secrets, p.probes, p.defaults, p.created_at, u.email
                      FROM presets p LEFT JOIN users u ON u.id = p.created_by WHERE p.tenant_id = ?1 AND ";

/// The newest version of a preset: the tenant's own, or else the built-in one.
pub async fn newest(reads: &dyn Rows, tenant: &TenantId, name: &str) -> Result<Option<Preset>, DbError> {
    let sql = format!("{SELECT} p.name = ?2 ORDER BY p.version DESC LIMIT 1");
    let own = reads.optional(&sql, args![tenant, name]).await?;
    Ok(own.or_else(|| common::preset::Preset::from_text(name).map(Preset::from)))
}

/// The newest versions of all presets, by name.
pub async fn list(reads: &dyn Rows, tenant: &TenantId) -> Result<Vec<Preset>, DbError> {
    let sql = format!(
        "{SELECT} p.version = (SELECT max(n.version) FROM presets n WHERE n.tenant_id = p.tenant_id AND n.name = p.name) ORDER BY p.name"
    );
    let mut all: Vec<Preset> = reads.list(&sql, args![tenant]).await?;
    let built_in = common::preset::Preset::ALL.into_iter().filter(|it| all.iter().all(|own| own.name != it.as_str()));
    let built_in: Vec<Preset> = built_in.map(Preset::from).collect();
    for preset in built_in {
        all.insert(all.partition_point(|own| own.name < preset.name), preset);
    }
    Ok(all)
}

/// The versions of a preset, the newest first, at most 100; the built-in one is the last, if there are fewer. Empty: there is no such preset.
pub async fn versions(reads: &dyn Rows, tenant: &TenantId, name: &str) -> Result<Vec<Preset>, DbError> {
    let sql = format!("{SELECT} p.name = ?2 ORDER BY p.version DESC LIMIT ?3");
    let mut all: Vec<Preset> = reads.list(&sql, args![tenant, name, LISTED]).await?;
    let is_whole = i64::try_from(all.len()).is_ok_and(|number| number < LISTED);
    if is_whole && all.last().is_none_or(|oldest| oldest.version > 1) {
        all.extend(common::preset::Preset::from_text(name).map(Preset::from));
    }
    Ok(all)
}

/// Whether an agent of the tenant has this preset, an archived one too: it may be restored.
pub async fn is_used(reads: &dyn Rows, tenant: &TenantId, name: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM agents WHERE tenant_id = ?1 AND preset = ?2 LIMIT 1";
    Ok(reads.optional::<Affected>(sql, args![tenant, name]).await?.is_some())
}

/// Deletes the tenant's own versions of a preset; `false`: there are none.
pub async fn delete(tx: &Tx<'_>, tenant: &TenantId, name: &str) -> Result<bool, DbError> {
    let sql = "DELETE FROM presets WHERE tenant_id = ?1 AND name = ?2 RETURNING 1";
    Ok(!tx.list::<Affected>(sql, args![tenant, name]).await?.is_empty())
}

/// The contents of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The ceiling.
    pub scope: Patterns,
    /// Names of secrets.
    pub secrets: Vec<String>,
    /// Names of probes.
    pub probes: Vec<String>,
    /// Settings.
    pub defaults: Map<String, Json>,
}

impl Preset {
    /// Its contents.
    pub fn contents(&self) -> Contents {
        let Self { scope, secrets, probes, defaults, .. } = self.clone();
        Contents { scope, secrets, probes, defaults }
    }
}

/// Stores the version after `newest`; `false`: the tenant has as many names, or the name as many versions, as it may.
pub async fn insert(
    tx: &Tx<'_>,
    tenant: &TenantId,
    name: &str,
    newest: Option<&Preset>,
    contents: &Contents,
    by: &UserId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "INSERT INTO presets (tenant_id, name, version, scope, created_at, created_by, secrets, probes, defaults)
               SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?9, ?10, ?11
               WHERE ?3 <= ?7 AND (EXISTS (SELECT 1 FROM presets WHERE tenant_id = ?1 AND name = ?2)
                                   OR (SELECT count(DISTINCT name) FROM presets WHERE tenant_id = ?1) < ?8)
               RETURNING 1";
    let version = newest.map_or(1, |newest| newest.version + 1);
    let Contents { scope, secrets, probes, defaults } = contents;
    let text = |json: Json| common::json::to_text(&json);
    let (secrets, probes) = (text(secrets.as_slice().into()), text(probes.as_slice().into()));
    let defaults = text(defaults.clone().into());
    let row =
        args![tenant, name, version, scope.to_column(), now, by, MOST_VERSIONS, MOST_NAMES, secrets, probes, defaults];
    Ok(tx.optional::<Affected>(sql, row).await?.is_some())
}

/// An agent that lacks something of its preset.
pub struct DriftingAgent {
    /// The id.
    pub id: AgentId,
    /// The name.
    pub name: String,
    /// The version that its ceiling came from.
    pub version: Option<i64>,
    /// Its ceiling.
    pub scope: Patterns,
    /// The scopes of its live token, if it has one.
    pub token: Option<Patterns>,
    /// Those of the wanted secrets that it does not have.
    pub secrets: Vec<String>,
    /// The owner's address.
    pub owner: String,
    /// Whether the caller may update it.
    pub may_update: bool,
    /// When it was registered.
    pub created_at: Timestamp,
}

impl FromRow for DriftingAgent {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            name: row.take()?,
            version: row.take()?,
            scope: row.take()?,
            token: row.take()?,
            secrets: names(row)?,
            owner: row.take()?,
            may_update: row.take()?,
            created_at: row.take()?,
        })
    }
}

/// The agents of a preset that the caller may read, and whose ceiling or live token lacks one of the scopes, or that lack one of the secrets;
/// the newest first.
pub async fn drift(
    reads: &dyn Rows,
    subject: &Subject,
    name: &str,
    (needed, secrets): (&Scopes, &[String]),
    page: &PageRequest,
    now: Timestamp,
) -> Result<Vec<DriftingAgent>, DbError> {
    let mut binder = Binder::default();
    let (at, id) = page.after();
    let (at, id, now) = (binder.bind(at), binder.bind(id), binder.bind(now));
    let (tenant, name) = (binder.bind(&subject.tenant), binder.bind(name));
    let coverings = binder.bind(serde_json::to_string(&needed.coverings()).unwrap_or_default());
    let secrets = binder.bind(common::json::to_text(&secrets.into()));
    let may = permission::on_agent(subject, Action::Read, &mut binder);
    let may_update = permission::on_agent(subject, Action::Update, &mut binder);
    let missing = format!(
        "FROM json_each({secrets}) n WHERE NOT EXISTS (SELECT 1 FROM agent_secrets s WHERE s.agent_id = a.id AND s.name = n.value)"
    );
    // Is there a scope of which no pattern that covers it is in the column? Decided here, so that a page is full.
    let lacks = |column: &str| {
        format!(
            "EXISTS (SELECT 1 FROM json_each({coverings}) n WHERE NOT EXISTS (
                 SELECT 1 FROM json_each(n.value) p WHERE instr(' ' || {column} || ' ', ' ' || p.value || ' ') > 0))"
        )
    };
    let sql = format!(
        "SELECT a.id, a.name, a.preset_version, a.scope, c.scope, (SELECT json_group_array(n.value) {missing}) AS secrets, u.email,
                {may_update} AS may_update, a.created_at
         FROM agents a
         JOIN users u ON u.id = a.owner_id
         LEFT JOIN credentials c ON {}
         WHERE a.tenant_id = {tenant} AND a.preset = {name} AND a.archived_at IS NULL AND (a.created_at, a.id) < ({at}, {id})
           AND {may} AND ({} OR (c.id IS NOT NULL AND {}) OR EXISTS (SELECT 1 {missing}))
         ORDER BY a.created_at DESC, a.id DESC LIMIT {}",
        live_token(&now),
        lacks("a.scope"),
        lacks("c.scope"),
        binder.bind(page.rows())
    );
    reads.list(&sql, binder.into_args()).await
}
