//! The settings that an agent can have, and the bounds that its place in the tree gives it.
//!
//! An agent gives those below it no scope beyond its own ceiling, for any caller. Where an agent asks, it also gives no better tier, no
//! more tasks at once, and no more of its budget than is left. A budget is given once: it does not become free again when a child is
//! archived, gets a lower one, or is restored.

use std::collections::HashMap;

use common::{
    agent::{AgentSettings, Labels, MOST_CENTS, MOST_SILENT_MINUTES},
    error::{ApiError, Code, Flaws},
    event::EventKind,
    id::{AgentId, UserId},
    permission::Action,
    scope::Patterns,
    text::{prose, text, within},
    url::Url,
};
use serde_json::{Map, Value as Json, json};
use service::{
    app::App,
    caller::Caller,
    change::Write,
    event::Event,
    form,
    form::{Nullable, nested},
    mint::{self, RequestedScope},
};
use store::{
    agent::{self, Agent, archived::Archived, tree},
    db::Rows,
    preset::Preset,
};

/// The most labels of an agent.
const LABELS: usize = 32;
/// Characters of a description.
const DESCRIPTION: usize = 2_000;
/// Bytes of `compute`, written.
const COMPUTE: usize = 4 * 1024;
/// Characters of a display name, a runtime, a model.
const NAME: usize = 64;

form! {
    /// Settings of an agent, as they were sent. `None`: left out; null: cleared.
    pub(crate) struct AgentChanges {
        display_name: Option<Nullable<String>>,
        description: Option<Nullable<String>>,
        runtime: Option<Nullable<String>>,
        model: Option<Nullable<String>>,
        url: Option<Nullable<String>>,
        compute: Option<Nullable<Json>>,
        access: Option<Nullable<String>>,
        labels: Option<Labels>,
        scope: Option<Vec<String>>,
        preset: Option<String>,
        pub(crate) tier: Option<i64>,
        max_concurrent_tasks: Option<i64>,
        budget_cents: Option<Nullable<i64>>,
        silent_after_minutes: Option<Nullable<i64>>,
    }
}

impl AgentChanges {
    /// The ceiling that was sent, as scopes or as a preset. `None`: neither was sent.
    pub(crate) async fn ceiling(&self, reads: &dyn Rows, caller: &Caller) -> Result<Option<RequestedScope>, ApiError> {
        mint::requested_scope(reads, caller, self.scope.as_deref(), self.preset.as_deref()).await
    }

    /// Checks the values and puts them into `settings`, except the ceiling. What was left out stays as it is there.
    pub(crate) fn apply(&self, settings: &mut AgentSettings) -> Result<(), ApiError> {
        let mut flaws = Flaws::default();
        self.put(settings, &mut flaws);
        flaws.end()
    }

    /// The same, with what else is wrong about the body.
    pub(crate) fn put(&self, settings: &mut AgentSettings, flaws: &mut Flaws) {
        let line = |field| move |value: &String| text(field, value, NAME);
        let lines = |field| move |value: &String| prose(field, value, DESCRIPTION);
        let number = |field, range| move |value: &i64| within(field, *value, range);
        let (display_name, description) = (self.display_name.as_ref(), self.description.as_ref());
        flaws.check("display_name", set(&mut settings.display_name, display_name, line("display_name")));
        flaws.check("description", set(&mut settings.description, description, lines("description")));
        flaws.check("runtime", set(&mut settings.runtime, self.runtime.as_ref(), line("runtime")));
        flaws.check("model", set(&mut settings.model, self.model.as_ref(), line("model")));
        flaws.check("url", set(&mut settings.url, self.url.as_ref(), |url| agent_url(url)));
        flaws.check("compute", set(&mut settings.compute, self.compute.as_ref(), compute));
        flaws.check("access", set(&mut settings.access, self.access.as_ref(), lines("access")));
        if let Some(labels) = &self.labels
            && flaws.check("labels", check_labels(labels)).is_some()
        {
            settings.labels.clone_from(labels);
        }
        if let Some(tier) = self.tier.and_then(|tier| flaws.check("tier", within("tier", tier, 1..=5))) {
            settings.tier = tier;
        }
        let tasks = self.max_concurrent_tasks.map(|tasks| within("max_concurrent_tasks", tasks, 1..=1_000));
        if let Some(tasks) = tasks.and_then(|tasks| flaws.check("max_concurrent_tasks", tasks)) {
            settings.max_concurrent_tasks = tasks;
        }
        let budget = number("budget_cents", 0..=MOST_CENTS);
        flaws.check("budget_cents", set(&mut settings.budget_cents, self.budget_cents.as_ref(), budget));
        let (silent, minutes) = (self.silent_after_minutes.as_ref(), "silent_after_minutes");
        let set = set(&mut settings.silent_after_minutes, silent, number(minutes, 1..=MOST_SILENT_MINUTES));
        flaws.check(minutes, set);
    }
}

/// The fields that a preset can have defaults of.
const DEFAULTS: [&str; 6] = ["runtime", "model", "tier", "max_concurrent_tasks", "budget_cents", "labels"];

/// Reads the defaults of a preset, as settings of an agent.
pub(crate) fn defaults(members: &Map<String, Json>) -> Result<AgentChanges, ApiError> {
    if let Some(unknown) = members.keys().find(|name| !DEFAULTS.contains(&name.as_str())) {
        let known = DEFAULTS.join(", ");
        return Err(ApiError::field(
            format!("defaults.{unknown}"),
            format!("is unknown; the known fields are: {known}"),
        ));
    }
    let changes: AgentChanges = nested("defaults.", members.clone())?;
    changes.apply(&mut AgentSettings::new(Patterns::stored("")))?;
    Ok(changes)
}

/// Puts the defaults of a preset into the settings of a new agent, whose tier is one that the operator allows.
pub(crate) fn apply_defaults(
    app: &App,
    caller: &Caller,
    preset: Option<&Preset>,
    settings: &mut AgentSettings,
) -> Result<(), ApiError> {
    if let Some(preset) = preset {
        defaults(&preset.defaults)?.apply(settings)?;
    }
    settings.tier = settings.tier.max(lowest_tier(app, caller));
    Ok(())
}

/// The most trusted tier that the operator lets agents of the caller's tenant have.
fn lowest_tier(app: &App, caller: &Caller) -> i64 {
    app.settings().lowest_tier.of(caller.tenant())
}

/// Refuses a tier that is trusted more than the operator lets agents of this tenant be. `None`: none was sent.
pub(crate) fn check_tier(app: &App, caller: &Caller, tier: Option<i64>) -> Result<(), ApiError> {
    let least = lowest_tier(app, caller);
    match tier {
        Some(tier) if tier < least => Err(Code::TierTooLow.with("least", least.to_string()).extra("field", "tier")),
        _ => Ok(()),
    }
}

/// JSON of at most 4 KiB.
fn compute(json: &Json) -> Result<Json, ApiError> {
    if json.to_string().len() > COMPUTE { Err(Code::ComputeTooLarge.into()) } else { Ok(json.clone()) }
}

/// The address of an agent. It has no fragment, which no server would ever see.
fn agent_url(text: &str) -> Result<String, ApiError> {
    let is_good = |url: &Url<'_>| url.is_secure && url.fragment.is_none() && url.has_public_host();
    Url::parse(text).filter(is_good).map(|_| text.to_owned()).ok_or_else(|| Code::InvalidAgentUrl.into())
}

/// Sets what was sent: null clears the setting, and what was left out does not touch it.
fn set<T>(
    setting: &mut Option<T>,
    sent: Option<&Nullable<T>>,
    check: impl FnOnce(&T) -> Result<T, ApiError>,
) -> Result<(), ApiError> {
    if let Some(Nullable(value)) = sent {
        *setting = value.as_ref().map(check).transpose()?;
    }
    Ok(())
}

/// Checks labels: names of 1 to 64 characters, texts of at most 128, 32 in all.
fn check_labels(labels: &Labels) -> Result<(), ApiError> {
    let is_good = labels.len() <= LABELS
        && labels.iter().all(|(name, value)| {
            text("labels", name, 64).is_ok_and(|trimmed| trimmed == *name)
                && (value.is_empty() || text("labels", value, 128).is_ok())
        });
    if is_good { Ok(()) } else { Err(Code::InvalidLabels.into()) }
}

/// Sets the ceiling and the preset that it came from. An agent that is sent the scope that it has, as a client does that changes
/// something else, keeps its preset.
pub(crate) fn set_ceiling(settings: &mut AgentSettings, ceiling: RequestedScope, before: Option<&AgentSettings>) {
    match before.filter(|before| ceiling.preset.is_none() && before.scope == ceiling.scope) {
        Some(before) => (settings.preset, settings.preset_version) = (before.preset.clone(), before.preset_version),
        None => (settings.preset, settings.preset_version) = ceiling.preset.unzip(),
    }
    settings.scope = ceiling.scope;
}

/// An agent in its audit rows: no secret, and nothing of other agents but the id.
pub(crate) fn audited(agent: &Agent) -> Json {
    let mut row = json!(agent);
    if let Some(members) = row.as_object_mut() {
        members.insert("parent".to_owned(), json!(agent.parent_id));
    }
    row
}

/// Finds the agent of this name, below which the caller may put an agent of `owner`'s.
pub(crate) async fn find_parent(write: &Write<'_>, name: &str, owner: &UserId) -> Result<Agent, ApiError> {
    let found = agent::get(&write.tx, write.caller.subject(), name, Action::Update, write.now()).await;
    let parent = found.map_err(|refusal| match refusal.code() {
        Code::AgentNotFound => Code::ParentNotFound.into(),
        _ => refusal,
    })?;
    if write.caller.grantee().is_some() {
        let detail = "This credential was issued by an editor of the agent, so it reaches that agent alone. To register agents below it, use a token that its owner or an admin issued.";
        return Err(Code::PermissionDenied.detail(detail).with("owner", parent.owner.email));
    }
    // An agent builds on itself and on those below it, and not on what was shared with it.
    if let Some(own) = write.caller.agent_id()
        && !tree::is_at_or_below(&write.tx, &parent.id, own).await?
    {
        return Err(Code::ParentOfAnother.into());
    }
    if parent.owner.id != *owner {
        return Err(Code::ParentOfAnother.into());
    }
    Ok(parent)
}

fn beyond(field: &'static str, bound: &'static str, value: i64) -> ApiError {
    Code::BeyondParent.with("field", field).with("bound", bound).with("value", value.to_string()).extra("field", field)
}

/// An agent that is to be below another one, wherever it comes from: registered, imported, moved, changed or restored.
pub(crate) struct Child<'a> {
    /// The ceiling that is asked for. `None`: the one above narrows it, and nothing is refused.
    pub(crate) scope: Option<&'a Patterns>,
    /// What else bounds it.
    pub(crate) bounds: Bounds,
    /// The agent, if it exists already.
    pub(crate) id: Option<&'a AgentId>,
    /// How it is bounded where it is. What it has there already is not refused.
    pub(crate) before: Option<Bounds>,
}

/// What bounds an agent beside its ceiling.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    tier: i64,
    max_concurrent_tasks: i64,
    budget_cents: Option<i64>,
    spent_cents: i64,
}

impl Bounds {
    pub(crate) fn of(settings: &AgentSettings) -> Self {
        let AgentSettings { tier, max_concurrent_tasks, budget_cents, spent_cents, .. } = *settings;
        Self { tier, max_concurrent_tasks, budget_cents, spent_cents }
    }
}

impl From<&Archived> for Bounds {
    fn from(archived: &Archived) -> Self {
        let Archived { tier, max_concurrent_tasks, budget_cents, spent_cents, .. } = *archived;
        Self { tier, max_concurrent_tasks, budget_cents, spent_cents }
    }
}

/// The one function that bounds a child: refuses what its parent cannot give.
pub(crate) async fn check_within_parent(write: &Write<'_>, parent: &Agent, child: &Child<'_>) -> Result<(), ApiError> {
    if let Some(scope) = child.scope {
        let custom = write.caller.custom_scopes();
        let excess = scope.scopes(custom).without(&parent.settings.scope.scopes(custom));
        write.caller.refuse_excess(excess, scope)?;
    }
    if write.caller.agent_id().is_none() {
        return Ok(());
    }
    let (given, old, new) = (&parent.settings, child.before, child.bounds);
    if new.tier < given.tier && old.is_none_or(|old| new.tier < old.tier) {
        return Err(beyond("tier", "least", given.tier));
    }
    let (tasks, most) = (new.max_concurrent_tasks, given.max_concurrent_tasks);
    if tasks > most && old.is_none_or(|old| tasks > old.max_concurrent_tasks) {
        return Err(beyond("max_concurrent_tasks", "most", most));
    }
    if old.is_none_or(|old| new.budget_cents != old.budget_cents) {
        let spent = if old.is_none() { new.spent_cents } else { 0 };
        check_budget_left(write, parent, child.id, new.budget_cents, spent).await?;
    }
    Ok(())
}

/// Refuses a child a budget beyond what its parent has left beside it. No bound is refused, too, if the parent has one.
async fn check_budget_left(
    write: &Write<'_>,
    parent: &Agent,
    child: Option<&AgentId>,
    budget: Option<i64>,
    spent: i64,
) -> Result<(), ApiError> {
    let Some(whole) = parent.settings.budget_cents else { return Ok(()) };
    let given = tree::committed_below(&write.tx, &parent.id, child).await?;
    let left = whole.saturating_sub(parent.settings.spent_cents).saturating_sub(given).max(0);
    match budget {
        Some(budget) if budget.max(spent) <= left => Ok(()),
        _ => Err(beyond("budget_cents", "most", left)),
    }
}

/// Refuses a budget that is less than what the agent has spent and given to those below it: the rest could be given twice.
pub(crate) async fn check_covers_given_budget(
    write: &Write<'_>,
    agent: &Agent,
    budget: Option<i64>,
) -> Result<(), ApiError> {
    let given = tree::committed_below(&write.tx, &agent.id, None).await?;
    let least = agent.settings.spent_cents.saturating_add(given);
    match budget {
        Some(budget) if budget < least => Err(beyond("budget_cents", "least", least)),
        _ => Ok(()),
    }
}

/// Takes from every agent below `top` the scopes that the one above it no longer has, and notifies it.
pub(crate) async fn narrow_below(write: &Write<'_>, top: &Agent) -> Result<(), ApiError> {
    let custom = write.caller.custom_scopes();
    let mut ceilings: HashMap<AgentId, Patterns> = HashMap::new();
    for agent in tree::ceilings(&write.tx, &top.id).await? {
        let mut scope = agent.scope.clone();
        if let Some(above) = agent.parent_id.as_ref().and_then(|above| ceilings.get(above)) {
            scope = scope.within(&[&above.to_column()], custom);
            let (scopes, bound) = (scope.scopes(custom), above.scopes(custom));
            if !scopes.clone().without(&bound).is_empty() {
                scope = scopes.and(&bound).to_patterns();
            }
        }
        if scope != agent.scope {
            tree::narrow(&write.tx, &agent.id, &scope, write.now()).await?;
            write.emit(Event::of_agent(EventKind::LimitChanged, &agent.id).data(json!({ "scope": scope }))).await?;
            let (before, after) = (json!({ "scope": agent.scope }), json!({ "scope": scope, "with": top.id }));
            write.record("agent.update", agent.id.as_str(), before, after).await?;
        }
        ceilings.insert(agent.id, scope);
    }
    Ok(())
}
