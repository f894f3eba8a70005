//! Registering agents: one at a time, or many that were exported. Both take the same path through the same rules.

use axum::{Extension, http::StatusCode, response::Response};
use common::{
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::{Ask, OrNull},
    http::App,
    id::AgentId,
    idempotency::Answer,
    mint,
    permission::{Action, DEEPEST},
    route,
    scope::Patterns,
    secret::Secret,
    store::{
        agent::{self, Agent, AgentName, Fields, Labels},
        tree,
    },
    time::Lifetime,
    write::{Begun, Write},
};
use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    ask::{self, Rights, Said},
    registry::audited,
    token,
};

form! {
    pub(crate) struct Create {
        name: String,
        display_name: Option<OrNull<String>>,
        description: Option<OrNull<String>>,
        runtime: Option<OrNull<String>>,
        model: Option<OrNull<String>>,
        url: Option<OrNull<String>>,
        parent: Option<OrNull<String>>,
        labels: Option<Labels>,
        scope: Option<Vec<String>>,
        preset: Option<String>,
        tier: Option<i64>,
        max_concurrent_tasks: Option<i64>,
        budget_cents: Option<OrNull<i64>>,
        expires_in_days: Option<OrNull<i64>>,
        pub(crate) issue_token: Option<bool>,
    }
}

/// An agent to be registered: what can be checked without the tree is.
pub(crate) struct Draft {
    pub(crate) name: AgentName,
    /// The name of the agent above it.
    pub(crate) parent: Option<String>,
    /// What was asked for; `None`: what the preset `worker` gives, or as much of it as there is to give.
    rights: Option<Rights>,
    fields: Fields,
    lifetime: Option<Lifetime>,
    issue_token: bool,
}

impl Draft {
    /// Reads what was sent.
    pub(crate) async fn read(app: &App, caller: &Caller, body: Create) -> Result<Self, ApiError> {
        let name = AgentName::parse(&body.name).ok_or(Code::InvalidName)?;
        let rights = ask::rights(app.db(), caller, body.scope.as_deref(), body.preset.as_deref()).await?;
        let mut fields = Fields::new(Patterns::stored(""));
        let said = Said {
            display_name: body.display_name,
            description: body.description,
            runtime: body.runtime,
            model: body.model,
            url: body.url,
            labels: body.labels,
            tier: body.tier,
            max_concurrent_tasks: body.max_concurrent_tasks,
            budget_cents: body.budget_cents,
            spent_cents: None,
        };
        said.put_into(&mut fields)?;
        Ok(Self {
            name,
            parent: body.parent.and_then(|OrNull(parent)| parent),
            rights,
            fields,
            lifetime: mint::lifetime(body.expires_in_days)?,
            issue_token: body.issue_token.unwrap_or(true),
        })
    }

    /// Registers the agent below its parent, and issues its token.
    pub(crate) async fn register(mut self, app: &App, write: &Write<'_>) -> Result<Registered, ApiError> {
        let caller = &write.caller;
        // An agent registers below itself, unless it names one of those below it.
        let above = self.parent.as_deref().or(caller.agent().map(|(name, _)| name));
        let parent = match above {
            Some(name) => Some(parent(app, write, name, caller.user_id().as_str()).await?),
            None => None,
        };
        let mut warnings = Vec::new();
        let wanted = match self.rights.take() {
            Some(rights) => rights,
            None => default_rights(write, parent.as_ref(), &mut warnings).await?,
        };
        (self.fields.scope, self.fields.preset) = (wanted.scope, wanted.preset);
        if let Some(parent) = &parent {
            let depth = tree::depth(&write.tx, &parent.id).await?;
            if depth >= DEEPEST as i64 {
                return Err(Code::TreeTooDeep.with("parent", &parent.name));
            }
            if parent.state != "running" {
                return Err(halted(parent));
            }
            within_parent(write, parent, None, &self.fields, self.name.as_str()).await?;
        }
        let scope = &self.fields.scope;
        caller.may_mint(scope.scopes(caller.defined()), caller.user_id(), scope, self.name.as_str())?;
        mint::warn_of_no_effect(caller, scope, caller.role(), true, &mut warnings);
        let id = AgentId::generate(app.now(), app.chance());
        let new = agent::New {
            id: &id,
            tenant_id: caller.tenant_id(),
            owner_id: caller.user_id(),
            parent_id: parent.as_ref().map(|parent| &parent.id),
            fields: &self.fields,
            created_at: app.now(),
        };
        let stored = agent::insert(&write.tx, &self.name, &new).await?.ok_or(Code::NameTaken)?;
        let secret = match self.issue_token {
            false => None,
            true => {
                let (expires_at, capped) = caller.cap_life(self.lifetime, app.now())?;
                warnings.extend(capped);
                let owner = (caller.tenant_id(), caller.user_id());
                let (_, secret) = token::mint(app, &write.tx, owner, &id, &scope.to_column(), expires_at).await?;
                Some(secret)
            }
        };
        let agent = agent::get(&write.tx, caller, &stored, Action::Read, app.now()).await?;
        Ok(Registered { agent, secret, warnings })
    }
}

/// An agent that was registered.
pub(crate) struct Registered {
    pub(crate) agent: Agent,
    pub(crate) secret: Option<Secret>,
    pub(crate) warnings: Vec<String>,
}

/// As it is answered.
#[derive(Serialize)]
pub(crate) struct Created<'a> {
    #[serde(flatten)]
    agent: &'a Agent,
    auth_token: Option<&'a str>,
    warnings: &'a [String],
}

impl Registered {
    /// The form of the answer.
    pub(crate) fn form(&self) -> Created<'_> {
        let auth_token = self.secret.as_ref().map(Secret::reveal);
        Created { agent: &self.agent, auth_token, warnings: &self.warnings }
    }
}

/// The agent of that name, if `owner`'s agent may be put below it by the caller.
pub(crate) async fn parent(app: &App, write: &Write<'_>, name: &str, owner: &str) -> Result<Agent, ApiError> {
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

/// The refusal of what cannot be while the agent above is halted.
pub(crate) fn halted(parent: &Agent) -> ApiError {
    let verb = if parent.state == "paused" { "resume" } else { "start" };
    Code::ParentHalted.with("parent", &parent.name).with("verb", verb)
}

/// The ceiling of whom nothing was asked for: the preset `worker`, and below another agent no more of it than that one and
/// the minter have.
async fn default_rights(
    write: &Write<'_>,
    parent: Option<&Agent>,
    warnings: &mut Vec<String>,
) -> Result<Rights, ApiError> {
    let caller = &write.caller;
    let worker = ask::worker(&write.tx, caller).await?;
    let Some(parent) = parent else { return Ok(worker) };
    let all = worker.scope.scopes(caller.defined());
    let mut given = all.clone().and(&parent.scope.scopes(caller.defined()));
    if caller.agent_id().is_some() {
        given = given.and(&caller.mintable());
    }
    let missing = all.without(&given);
    if missing.is_empty() {
        return Ok(worker);
    }
    if given.is_empty() {
        caller.refuse_excess(missing.clone(), &worker.scope, &parent.name)?;
    }
    let names = missing.names(caller.defined()).join(", ");
    warnings.push(format!("scope was left out and is the preset worker without what cannot be given here: {names}."));
    Ok(Rights { scope: given.to_patterns(), preset: None })
}

/// Refuses what a parent cannot give: scopes beyond its own ceiling, whoever asks; and, where an agent asks, a better tier,
/// more tasks at once, or more of the budget than is left. `old`: what the agent has already.
pub(crate) async fn within_parent(
    write: &Write<'_>,
    parent: &Agent,
    old: Option<&Fields>,
    fields: &Fields,
    name: &str,
) -> Result<(), ApiError> {
    let defined = write.caller.defined();
    let beyond = fields.scope.scopes(defined).without(&parent.scope.scopes(defined));
    write.caller.refuse_excess(beyond, &fields.scope, name)?;
    if write.caller.agent_id().is_none() {
        return Ok(());
    }
    let beyond = |field: &'static str, bound: &'static str, value: i64| {
        Code::BeyondParent
            .with("field", field)
            .with("bound", bound)
            .with("value", value.to_string())
            .extra("field", field)
    };
    if fields.tier < parent.tier && old.is_none_or(|old| fields.tier < old.tier) {
        return Err(beyond("tier", "least", parent.tier));
    }
    let (tasks, most) = (fields.max_concurrent_tasks, parent.max_concurrent_tasks);
    if tasks > most && old.is_none_or(|old| tasks > old.max_concurrent_tasks) {
        return Err(beyond("max_concurrent_tasks", "most", most));
    }
    if let Some(budget) = parent.budget_cents
        && old.is_none_or(|old| fields.budget_cents != old.budget_cents)
    {
        let spoken_for = old.and_then(|old| old.budget_cents).unwrap_or(0);
        let given = tree::budgets_below(&write.tx, &parent.id).await?.saturating_sub(spoken_for);
        let left = budget.saturating_sub(parent.spent_cents).saturating_sub(given).max(0);
        if fields.budget_cents.is_none_or(|asked| asked > left) {
            return Err(beyond("budget_cents", "most", left));
        }
    }
    Ok(())
}

/// `POST /api/agents`: registers an agent of the caller's and, unless told not to, issues its token; all of it or nothing.
pub(crate) async fn create(
    app: App,
    Extension(caller): Extension<Caller>,
    ask: Ask<Create>,
) -> Result<Response, ApiError> {
    let draft = Draft::read(&app, &caller, ask.body).await?;
    let write = match app.write(route::AGENTS_CREATE, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let made = draft.register(&app, &write).await?;
    let answer = match &made.secret {
        Some(_) => Answer::secret(StatusCode::CREATED, &made.form())?,
        None => Answer::json(StatusCode::CREATED, &made.form())?,
    };
    write.finish(made.agent.id.as_str(), Json::Null, audited(&made.agent), answer).await
}
