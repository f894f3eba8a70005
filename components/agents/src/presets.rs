//! Presets: what classes of agents need, in versions; and the agents that lack something of the newest version.

use common::{
    error::{ApiError, Code},
    scope::Scopes,
};
use http::StatusCode;
use serde::Serialize;
use serde_json::{
    Value::{self as Json, Null},
    json,
};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change},
    extract::{Body, Path, Query},
    form,
    form::{Field, PageQuery},
    response::{Response, json},
};
use store::{
    page::Page,
    preset::{self, DriftingAgent, Preset},
};

/// The most characters of a name.
const NAME: usize = 32;

#[derive(Serialize)]
struct All {
    items: Vec<Preset>,
}

/// `GET /api/presets`: the newest version of each preset, by name. The list has one page, since there are at most 55.
pub(crate) async fn list(app: App, caller: Caller) -> Result<Response, ApiError> {
    json(StatusCode::OK, &All { items: preset::list(app.db(), caller.tenant_id()).await? })
}

/// A list that must be empty as long as there is nothing that it could name.
pub(crate) struct EmptyList;

impl Field for EmptyList {
    const EXPECTED: &'static str = "an empty list: presets name no secrets and no probes yet";

    fn from_json(value: Json) -> Option<Self> {
        value.as_array().is_some_and(Vec::is_empty).then_some(Self)
    }
}

form! {
    pub(crate) struct Put {
        scope: Vec<String>,
        secrets: Option<EmptyList>,
        probes: Option<EmptyList>,
    }
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
    let scope = change.caller.read_scope(&change.input.0.scope)?;
    change
        .run(async |write, _| {
            let tenant = write.caller.tenant_id();
            let before = preset::newest(&write.tx, tenant, &name).await?;
            if let Some(same) = before.as_ref().filter(|newest| newest.scope == scope) {
                return Ok(Answer::ok(same)?.unchanged());
            }
            let by = write.caller.user_id();
            if !preset::insert(&write.tx, tenant, &name, before.as_ref(), &scope, by, write.now()).await? {
                return Err(Code::TooManyPresets.into());
            }
            let after = preset::newest(&write.tx, tenant, &name).await?.ok_or(Code::PresetNotFound)?;
            let audited = |preset: &Preset| json!({ "version": preset.version, "scope": preset.scope });
            let is_narrower = before.as_ref().is_some_and(|before| after.scope.is_within(&before.scope));
            let done = Answer::ok(&after)?.audited(&name, before.as_ref().map_or(Null, audited), audited(&after));
            Ok(done.narrowing(is_narrower))
        })
        .await
}

#[derive(Serialize)]
struct Drift {
    preset: String,
    version: i64,
    #[serde(flatten)]
    page: Page<Lacking>,
}

/// An agent that lacks something of its preset.
#[derive(Serialize)]
struct Lacking {
    agent: String,
    preset_version: Option<i64>,
    missing_scopes: Vec<String>,
    /// Null: it has no live token.
    token_missing_scopes: Option<Vec<String>>,
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
        let mut ending = "";
        if token_missing_scopes.as_ref().is_some_and(|missing| !missing.is_empty()) {
            steps.push(format!("POST /api/agents/{name}/token/issue"));
            ending = ", and give the agent the token of the last response";
        }
        // An agent must not widen itself.
        let sender = caller.agent_id().map_or("Send".to_owned(), |_| format!("Ask {} to send", agent.owner));
        let fix = format!("{sender} {}{ending}.", steps.join(", then "));
        Self { agent: agent.name, preset_version: agent.version, missing_scopes, token_missing_scopes, fix }
    }
}

/// `GET /api/presets/{name}/drift`: the agents of this preset whose ceiling or live token lacks something of its newest version, and
/// how to fix each. Scopes that only people can use are not missing from any agent.
pub(crate) async fn drift(
    app: App,
    caller: Caller,
    Path(name): Path,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let wanted = caller.page(&app, &query)?;
    let newest = preset::newest(app.db(), caller.tenant_id(), &name).await?.ok_or(Code::PresetNotFound)?;
    let needed = newest.scope.scopes(caller.custom_scopes()).for_agents();
    let rows = preset::drift(app.db(), caller.subject(), &name, &needed, &wanted, app.now()).await?;
    let page = wanted.page(rows, |row| (row.created_at, row.id.to_string()));
    let items = page.items.into_iter().map(|agent| Lacking::of(agent, &needed, &name, &caller)).collect();
    let page = Page { items, next_cursor: page.next_cursor };
    json(StatusCode::OK, &Drift { preset: newest.name, version: newest.version, page })
}

#[cfg(test)]
mod tests;
