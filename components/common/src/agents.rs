//! What several components say and decide of an agent: what is said of it, what an agent may give to those below it, what a narrower
//! ceiling takes from them, and what the audit keeps.
//!
//! What an agent gives: no scope beyond its ceiling, whoever asks; and, where an agent asks, no better tier, no more tasks at once,
//! and no more of its budget than is left. A budget is given out once, also when a child is archived, has its own lowered, or comes
//! back.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use crate::{
    audit::{self, Event},
    error::{ApiError, Code},
    form::OrNull,
    http::{App, is_public_url, prose, text, within},
    id::{AgentId, UserId},
    permission::Action,
    scope::{Patterns, Role},
    store::{
        agent::{self, Agent, Fields, Labels},
        archived::Archived,
        grant, inbox,
        state::MOST_CENTS,
        tree,
    },
    write::Write,
};

/// The most labels of an agent.
const LABELS: usize = 32;
/// Characters of a description.
const DESCRIPTION: usize = 2_000;
/// Characters of a name for people, a runtime, a model.
const NAME: usize = 64;

/// What was said of an agent, as it was sent. `None`: it was left out.
#[derive(Clone, Default)]
pub struct Said {
    /// A name for people.
    pub display_name: Option<OrNull<String>>,
    /// What it is for.
    pub description: Option<OrNull<String>>,
    /// What it runs on.
    pub runtime: Option<OrNull<String>>,
    /// The model that it thinks with.
    pub model: Option<OrNull<String>>,
    /// Where it can be reached.
    pub url: Option<OrNull<String>>,
    /// Labels.
    pub labels: Option<Labels>,
    /// 1 is the best, 5 the least.
    pub tier: Option<i64>,
    /// Tasks that it may have at once.
    pub max_concurrent_tasks: Option<i64>,
    /// Cents that it may spend.
    pub budget_cents: Option<OrNull<i64>>,
    /// Cents that it has spent.
    pub spent_cents: Option<i64>,
}

impl Said {
    /// Checks all that was said and puts it into `fields`; what was left out stays as it is there.
    pub fn put_into(self, fields: &mut Fields) -> Result<(), ApiError> {
        for (name, value, field, most) in [
            ("display_name", self.display_name, &mut fields.display_name, NAME),
            ("description", self.description, &mut fields.description, DESCRIPTION),
            ("runtime", self.runtime, &mut fields.runtime, NAME),
            ("model", self.model, &mut fields.model, NAME),
        ] {
            let read =
                |value: String| if most == DESCRIPTION { prose(name, &value, most) } else { text(name, &value, most) };
            if let Some(OrNull(value)) = value {
                *field = value.map(read).transpose()?;
            }
        }
        if let Some(OrNull(url)) = self.url {
            if url.as_deref().is_some_and(|url| !is_public_url(url)) {
                return Err(Code::InvalidAgentUrl.into());
            }
            fields.url = url;
        }
        if let Some(labels) = self.labels {
            fields.labels = checked(labels)?;
        }
        if let Some(tier) = self.tier {
            fields.tier = within("tier", tier, 1..=5)?;
        }
        if let Some(most) = self.max_concurrent_tasks {
            fields.max_concurrent_tasks = within("max_concurrent_tasks", most, 1..=1_000)?;
        }
        if let Some(OrNull(budget)) = self.budget_cents {
            fields.budget_cents = budget.map(|cents| within("budget_cents", cents, 0..=MOST_CENTS)).transpose()?;
        }
        if let Some(spent) = self.spent_cents {
            fields.spent_cents = within("spent_cents", spent, 0..=MOST_CENTS)?;
        }
        Ok(())
    }
}

/// Checks labels: names of 1 to 64 characters, texts of at most 128, 32 in all.
fn checked(labels: Labels) -> Result<Labels, ApiError> {
    let is_good = labels.len() <= LABELS
        && labels.iter().all(|(name, value)| {
            text("labels", name, 64).is_ok_and(|trimmed| trimmed == name)
                && (value.is_empty() || text("labels", value, 128).is_ok())
        });
    if is_good { Ok(labels) } else { Err(Code::InvalidLabels.into()) }
}

/// What the audit keeps of an agent: no secret is in it, and of other agents nothing but the id.
pub fn audited(agent: &Agent) -> Json {
    let mut kept = json!(agent);
    if let Some(kept) = kept.as_object_mut() {
        kept.insert("parent".to_owned(), json!(agent.parent_id));
    }
    kept
}

/// The agent of that name, if `owner`'s agent may be put below it by the caller.
pub async fn parent(app: &App, write: &Write<'_>, name: &str, owner: &str) -> Result<Agent, ApiError> {
    let found = agent::get(&write.tx, &write.caller, name, Action::Update, app.now()).await;
    let parent = found.map_err(|refusal| match refusal.code() {
        Code::AgentNotFound => Code::ParentNotFound.into(),
        _ => refusal,
    })?;
    // An agent's own are itself and those below it; what was shared with it is not its to build on.
    if let Some(own) = write.caller.agent_id()
        && !tree::is_at_or_below(&write.tx, &parent.id, own).await?
    {
        return Err(Code::ParentOfAnother.into());
    }
    if parent.owner.id.as_str() != owner {
        return Err(Code::ParentOfAnother.into());
    }
    Ok(parent)
}

fn beyond(field: &'static str, bound: &'static str, value: i64) -> ApiError {
    Code::BeyondParent.with("field", field).with("bound", bound).with("value", value.to_string()).extra("field", field)
}

/// Refuses what a parent cannot give. `old`: the agent as it is already.
pub async fn within_parent(
    write: &Write<'_>,
    parent: &Agent,
    old: Option<&Agent>,
    fields: &Fields,
) -> Result<(), ApiError> {
    let defined = write.caller.defined();
    let excess = fields.scope.scopes(defined).without(&parent.scope.scopes(defined));
    write.caller.refuse_excess(excess, &fields.scope)?;
    if write.caller.agent_id().is_none() {
        return Ok(());
    }
    if fields.tier < parent.tier && old.is_none_or(|old| fields.tier < old.tier) {
        return Err(beyond("tier", "least", parent.tier));
    }
    let (tasks, most) = (fields.max_concurrent_tasks, parent.max_concurrent_tasks);
    if tasks > most && old.is_none_or(|old| tasks > old.max_concurrent_tasks) {
        return Err(beyond("max_concurrent_tasks", "most", most));
    }
    if old.is_none_or(|old| fields.budget_cents != old.budget_cents) {
        within_budget(write, parent, old.map(|old| &old.id), fields.budget_cents, 0).await?;
    }
    Ok(())
}

/// Refuses an agent to bring back a budget that it could not give: meanwhile it may have given it to others.
pub async fn may_come_back(write: &Write<'_>, parent: &Agent, found: &Archived) -> Result<(), ApiError> {
    if write.caller.agent_id().is_none() {
        return Ok(());
    }
    within_budget(write, parent, Some(&found.id), found.budget_cents, found.spent_cents).await
}

/// Refuses a child a budget beyond what its parent has left beside it; one without a budget, if the parent has one.
async fn within_budget(
    write: &Write<'_>,
    parent: &Agent,
    child: Option<&AgentId>,
    budget: Option<i64>,
    spent: i64,
) -> Result<(), ApiError> {
    let Some(whole) = parent.budget_cents else { return Ok(()) };
    let given = tree::spoken_for_below(&write.tx, &parent.id, child).await?;
    let left = whole.saturating_sub(parent.spent_cents).saturating_sub(given).max(0);
    match budget {
        Some(budget) if budget.max(spent) <= left => Ok(()),
        _ => Err(beyond("budget_cents", "most", left)),
    }
}

/// Refuses to take from an agent's budget what it has spent or given to those below it: it could be given out again.
pub async fn keeps_what_is_given(write: &Write<'_>, agent: &Agent, budget: Option<i64>) -> Result<(), ApiError> {
    let given = tree::spoken_for_below(&write.tx, &agent.id, None).await?;
    let least = agent.spent_cents.saturating_add(given);
    match budget {
        Some(budget) if budget < least => Err(beyond("budget_cents", "least", least)),
        _ => Ok(()),
    }
}

/// Takes from every agent below what the one above it no longer has, and tells it.
pub async fn narrow_below(app: &App, write: &Write<'_>, top: &Agent) -> Result<(), ApiError> {
    let defined = write.caller.defined();
    let mut have: HashMap<AgentId, Patterns> = HashMap::new();
    for agent in tree::ceilings(&write.tx, &top.id).await? {
        let mut scope = agent.scope.clone();
        if let Some(above) = agent.parent_id.as_ref().and_then(|above| have.get(above)) {
            scope = scope.within(&[&above.to_column()], defined);
            let (scopes, bound) = (scope.scopes(defined), above.scopes(defined));
            if !scopes.clone().without(&bound).is_empty() {
                scope = scopes.and(&bound).to_patterns();
            }
        }
        if scope != agent.scope {
            tree::narrow(&write.tx, &agent.id, &scope, app.now()).await?;
            inbox::push(&write.tx, &agent.id, "limit_changed", &json!({ "scope": scope }), app.now()).await?;
            let (before, after) = (json!({ "scope": agent.scope }), json!({ "scope": scope, "with": top.id }));
            let event = Event { action: "agent.update", object: agent.id.as_str(), before, after };
            audit::by_caller(app, &write.tx, &write.caller, &event).await?;
        }
        have.insert(agent.id, scope);
    }
    Ok(())
}

/// The active user of the tenant whom agents can be given to: one whose role lets him look after them.
pub async fn new_owner(write: &Write<'_>, to: &str) -> Result<UserId, ApiError> {
    let found = grant::subject(&write.tx, &write.caller, to).await?;
    let found = found.filter(|found| found.agent.is_none() && found.is_active && found.role >= Role::Member);
    Ok(found.ok_or(Code::OwnerNotFound)?.user)
}
