//! Presets: what classes of agents need, in versions; and the agents that lack something of the newest version.

use common::{
    agent_secret::SecretName,
    error::{ApiError, Code, Flaws},
    scope::{Scope, Scopes},
    text::text,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{
    Map,
    Value::{self as Json, Null},
    json,
};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change},
    extract::{Body, Path, Query},
    form,
    form::PageQuery,
    response::{Response, json},
};
use store::{
    page::Page,
    preset::{self, Contents, DriftingAgent, Preset},
};

use crate::bounds;

/// The most characters of a name.
const NAME: usize = 32;
/// The most names of secrets, or of probes, in a preset.
const NAMES: usize = 32;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Presets")]
pub(crate) struct All {
    items: Vec<Preset>,
}

/// `GET /api/presets`: the newest version of each preset, by name. The list has one page, since there are at most 55.
pub(crate) async fn list(app: App, caller: Caller) -> Result<Response, ApiError> {
    json(StatusCode::OK, &All { items: preset::list(app.db(), caller.tenant_id()).await? })
}

form! {
    pub(crate) struct Put {
        scope: Vec<String>,
        secrets: Option<Vec<String>>,
        probes: Option<Vec<String>>,
        defaults: Option<Map<String, Json>>,
    }
}

impl Put {
    /// Checks what was sent.
    fn contents(&self, app: &App, caller: &Caller) -> Result<Contents, ApiError> {
        let mut flaws = Flaws::default();
        let scope = flaws.check("scope", caller.read_scope(&self.scope));
        let secrets = self.secrets.as_deref().unwrap_or_default();
        let secrets = listed("secrets", secrets, |name| SecretName::read(name).map(|name| name.as_str().to_owned()));
        let secrets = flaws.check("secrets", secrets);
        let probes = listed("probes", self.probes.as_deref().unwrap_or_default(), |name| text("probes", name, 64));
        let probes = flaws.check("probes", probes);
        let defaults = self.defaults.clone().unwrap_or_default();
        let read = bounds::defaults(&defaults).and_then(|read| bounds::check_tier(app, caller, read.tier));
        flaws.check("defaults", read);
        let (Some(scope), Some(secrets), Some(probes)) = (scope, secrets, probes) else { return Err(flaws.refusal()) };
        flaws.end()?;
        Ok(Contents { scope, secrets, probes, defaults })
    }
}

/// A list of names, each once.
fn listed(
    field: &'static str,
    sent: &[String],
    read: impl Fn(&str) -> Result<String, ApiError>,
) -> Result<Vec<String>, ApiError> {
    let mut names = sent.iter().map(|name| read(name)).collect::<Result<Vec<_>, _>>()?;
    names.sort();
    names.dedup();
    if names.len() > NAMES {
        return Err(ApiError::field(field, format!("must contain at most {NAMES} names")));
    }
    Ok(names)
}

fn is_name(name: &str) -> bool {
    (1..=NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// `PUT /api/presets/{name}`: makes a new version, for agents that are registered or changed from now on. The scope of the newest
/// version changes nothing.
pub(crate) async fn put(change: Change<Body<Put>>, Path(name): Path) -> Result<Response, ApiError> {
    if !is_name(&name) {
        return Err(Code::InvalidPresetName.into());
    }
    let contents = change.input.0.contents(&change.app, &change.caller)?;
    change
        .run(async |write, _| {
            let tenant = write.caller.tenant_id();
            let before = preset::newest(&write.tx, tenant, &name).await?;
            if let Some(same) = before.as_ref().filter(|newest| newest.contents() == contents) {
                return Ok(Answer::ok(same)?.unchanged());
            }
            let by = write.caller.user_id();
            if !preset::insert(&write.tx, tenant, &name, before.as_ref(), &contents, by, write.now()).await? {
                return Err(Code::TooManyPresets.into());
            }
            let after = preset::newest(&write.tx, tenant, &name).await?.ok_or(Code::PresetNotFound)?;
            let rest = |preset: &Preset| Contents { scope: contents.scope.clone(), ..preset.contents() };
            let is_narrower =
                before.as_ref().is_some_and(|before| rest(before) == contents && after.scope.is_within(&before.scope));
            let done = Answer::ok(&after)?.audited(&name, before.as_ref().map_or(Null, audited), audited(&after));
            Ok(done.narrowing(is_narrower))
        })
        .await
}

/// A version of a preset in its audit rows.
fn audited(preset: &Preset) -> Json {
    json!({
        "version": preset.version, "scope": preset.scope, "secrets": preset.secrets, "probes": preset.probes,
        "defaults": preset.defaults,
    })
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PresetWithVersions")]
pub(crate) struct WithVersions<'a> {
    #[serde(flatten)]
    newest: &'a Preset,
    versions: &'a [Preset],
}

/// `GET /api/presets/{name}`: the newest version, and all versions, the newest first; at most 100.
pub(crate) async fn get(app: App, caller: Caller, Path(name): Path) -> Result<Response, ApiError> {
    let versions = preset::versions(app.db(), caller.tenant_id(), &name).await?;
    let newest = versions.first().ok_or(Code::PresetNotFound)?;
    json(StatusCode::OK, &WithVersions { newest, versions: &versions })
}

/// `DELETE /api/presets/{name}`: deletes the tenant's versions, unless an agent has the preset. A built-in preset is as it was built.
pub(crate) async fn delete(change: Change<()>, Path(name): Path) -> Result<Response, ApiError> {
    change
        .run(async |write, ()| {
            let tenant = write.caller.tenant_id();
            let newest = preset::newest(&write.tx, tenant, &name).await?.ok_or(Code::PresetNotFound)?;
            if newest.built_in {
                return Err(Code::PresetBuiltIn.with("preset", &name));
            }
            if preset::is_used(&write.tx, tenant, &name).await? {
                return Err(Code::PresetInUse.into());
            }
            preset::delete(&write.tx, tenant, &name).await?;
            Ok(Answer::no_content().audited(&name, audited(&newest), Null))
        })
        .await
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Drift {
    preset: String,
    version: i64,
    #[serde(flatten)]
    page: Page<Lacking>,
}

/// An agent that lacks something of its preset.
#[derive(Serialize, JsonSchema)]
struct Lacking {
    agent: String,
    preset_version: Option<i64>,
    missing_scopes: Vec<String>,
    /// Null: it has no live token.
    token_missing_scopes: Option<Vec<String>>,
    /// Null: the caller lacks the scope to see which secrets an agent has.
    missing_secrets: Option<Vec<String>>,
    fix: String,
}

impl Lacking {
    fn of(agent: DriftingAgent, needed: &Scopes, preset: &str, caller: &Caller) -> Self {
        let missing = |scope: Scopes| -> Vec<String> {
            needed.clone().without(&scope).all_names().into_iter().map(str::to_owned).collect()
        };
        let missing_scopes = missing(agent.scope.scopes(caller.custom_scopes()));
        let token_missing_scopes = agent.token.map(|scope| missing(scope.scopes(caller.custom_scopes())));
        let name = &agent.name;
        let mut steps = Vec::new();
        if !missing_scopes.is_empty() {
            steps.push(format!("PATCH /api/agents/{name} {{\"preset\": \"{preset}\"}}"));
        }
        for secret in &agent.secrets {
            steps.push(format!("PUT /api/agents/{name}/secrets/{secret} {{\"value\": \"…\"}}"));
        }
        let mut ending = "";
        if token_missing_scopes.as_ref().is_some_and(|missing| !missing.is_empty()) {
            steps.push(format!("POST /api/agents/{name}/token/issue"));
            ending = ", and give the agent the token of the last response";
        }
        // An agent must not widen itself.
        let sender = match agent.may_update && caller.agent_id().is_none() {
            true => "Send".to_owned(),
            false => format!("Ask {} to send", agent.owner),
        };
        let fix = format!("{sender} {}{ending}.", steps.join(", then "));
        let missing_secrets = caller.scope().contains(Scope::AgentsSecretsRead).then_some(agent.secrets);
        Self {
            agent: agent.name,
            preset_version: agent.version,
            missing_scopes,
            token_missing_scopes,
            missing_secrets,
            fix,
        }
    }
}

/// `GET /api/presets/{name}/drift`: the agents of this preset whose ceiling or live token lacks something of its newest version, or that
/// lack a secret of it, and how to fix each. Scopes that only people can use are not missing from any agent.
pub(crate) async fn drift(
    app: App,
    caller: Caller,
    Path(name): Path,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let wanted = caller.page(&app, &query)?;
    let newest = preset::newest(app.db(), caller.tenant_id(), &name).await?.ok_or(Code::PresetNotFound)?;
    let needed = newest.scope.scopes(caller.custom_scopes()).for_agents();
    let may_see_secrets = caller.scope().contains(Scope::AgentsSecretsRead);
    let secrets = if may_see_secrets { newest.secrets.as_slice() } else { &[] };
    let rows = preset::drift(app.db(), caller.subject(), &name, (&needed, secrets), &wanted, app.now()).await?;
    let page = wanted.page(rows, |row| (row.created_at, row.id.to_string()));
    let items = page.items.into_iter().map(|agent| Lacking::of(agent, &needed, &name, &caller)).collect();
    let page = Page { items, next_cursor: page.next_cursor };
    json(StatusCode::OK, &Drift { preset: newest.name, version: newest.version, page })
}

#[cfg(test)]
mod tests;
