//! Registering agents: one at a time, or many that were exported. Both take the same path through the same rules.

use std::collections::BTreeMap;

use common::{
    agent::{AgentName, AgentSettings, AgentState},
    error::{ApiError, Code, Flaws},
    event::EventKind,
    id::{AgentId, CredentialId},
    permission::Action,
    scope::{Patterns, Scope, Scopes},
    secret::{Kind, Secret},
    time::Lifetime,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change, Write},
    event::Event,
    extract::Body,
    form,
    form::Nullable,
    mint::{self, Life, NewCredential, RequestedScope},
    quota,
    response::Response,
    secrets::{self, NewSecrets},
};
use store::{
    agent::{self, Agent, secret, state::parent_halted, tree},
    permission::DEEPEST,
    preset,
};

use crate::bounds::{
    AgentChanges, Bounds, Child, apply_defaults, audited, check_tier, check_within_parent, find_parent, set_ceiling,
};

/// The preset of an agent that is registered without one and without a scope.
const DEFAULT_PRESET: &str = "worker";

form! {
    pub(crate) struct Create {
        pub(crate) name: String,
        pub(crate) parent: Option<Nullable<String>>,
        pub(crate) issue_token: Option<bool>,
        pub(crate) secrets: Option<BTreeMap<String, String>>,
        ..pub(crate) life: Life,
        ..pub(crate) changes: AgentChanges,
    }
}

/// An agent to be registered, as far as it can be checked without the tree.
pub(crate) struct Draft {
    pub(crate) name: AgentName,
    /// The name of the agent above it.
    pub(crate) parent: Option<String>,
    /// `None`: the preset `worker`, or as much of it as can be given.
    ceiling: Option<RequestedScope>,
    settings: AgentSettings,
    /// Whether the tier was left out: then an agent gives no better one than it has.
    tier_left_out: bool,
    lifetime: Option<Lifetime>,
    issue_token: bool,
    secrets: Option<NewSecrets>,
    /// The secrets that its preset says it needs.
    needed: Vec<String>,
}

impl Draft {
    /// Reads what was sent.
    pub(crate) async fn read(app: &App, caller: &Caller, body: &Create) -> Result<Self, ApiError> {
        let mut flaws = Flaws::default();
        let name = flaws.check("name", AgentName::parse(&body.name).ok_or_else(|| Code::InvalidName.into()));
        let lifetime = flaws.check(body.life.field(), body.life.read());
        let issue_token = body.issue_token.unwrap_or(true);
        let lifetime = match lifetime {
            Some(Some(_)) if !issue_token => {
                let problem =
                    "is the lifetime of a token, and none is issued: send issue_token true, or leave the lifetime out";
                flaws.check(body.life.field(), Err(ApiError::field(body.life.field(), problem)))
            }
            lifetime => lifetime,
        };
        let ceiling = flaws.check("scope", body.changes.ceiling(app.db(), caller).await);
        body.changes.put(&mut AgentSettings::new(Patterns::stored("")), &mut flaws);
        let (Some(name), Some(lifetime), Some(ceiling)) = (name, lifetime, ceiling) else {
            return Err(flaws.refusal());
        };
        flaws.end()?;
        let mut settings = AgentSettings::new(Patterns::stored(""));
        let preset = match &ceiling {
            Some(RequestedScope { preset: None, .. }) => None,
            Some(RequestedScope { preset: Some((name, _)), .. }) => Some(name.as_str()),
            None => Some(DEFAULT_PRESET),
        };
        let preset = match preset {
            Some(name) => preset::newest(app.db(), caller.tenant_id(), name).await?,
            None => None,
        };
        apply_defaults(app, caller, preset.as_ref(), &mut settings)?;
        body.changes.apply(&mut settings)?;
        check_tier(app, caller, body.changes.tier)?;
        let secrets = match &body.secrets {
            Some(sent) if !sent.is_empty() => {
                caller.require(Scope::AgentsSecretsWrite)?;
                Some(NewSecrets::read(sent.clone())?)
            }
            _ => None,
        };
        Ok(Self {
            name,
            parent: body.parent.clone().and_then(|Nullable(parent)| parent),
            ceiling,
            settings,
            tier_left_out: body.changes.tier.is_none(),
            lifetime,
            issue_token,
            secrets,
            needed: preset.map(|preset| preset.secrets).unwrap_or_default(),
        })
    }

    /// Registers the agent below its parent, and issues its token.
    pub(crate) async fn register(mut self, write: &Write<'_>) -> Result<Registered, ApiError> {
        let (caller, origin) = (&write.caller, write.origin());
        // An agent registers below itself, unless it names one of those below it.
        let parent = match self.parent.as_deref().or(caller.agent().map(|(name, _)| name)) {
            Some(name) => Some(find_parent(write, name, caller.user_id()).await?),
            None => None,
        };
        quota::check_agents(write.app(), &write.tx, caller, caller.user_id()).await?;
        let mut warnings = Vec::new();
        let ceiling = match self.ceiling.take() {
            Some(ceiling) => ceiling,
            None => default_ceiling(write, parent.as_ref(), &mut warnings).await?,
        };
        mint::warn_of_deleted(caller, &ceiling, &mut warnings);
        set_ceiling(&mut self.settings, ceiling, None);
        if let Some(parent) = &parent {
            self.check_place(write, parent).await?;
        }
        let custom = caller.custom_scopes();
        let asked = &self.settings.scope;
        let scope = caller.may_mint(asked.scopes(custom), Scopes::default(), caller.user_id(), asked)?;
        let scope = match &parent {
            Some(parent) => scope.within(&[&parent.settings.scope.to_column()], custom),
            None => scope,
        };
        mint::warn_of_no_effect(caller, &scope, caller.role(), true, &mut warnings);
        self.settings.scope = scope;
        let id = AgentId::generate(origin.now, origin.chance);
        let new = agent::New {
            id: &id,
            tenant_id: caller.tenant_id(),
            owner_id: caller.user_id(),
            parent_id: parent.as_ref().map(|parent| &parent.id),
            settings: &self.settings,
            created_at: origin.now,
        };
        let name = agent::insert(&write.tx, &self.name, &new).await?.ok_or(Code::NameTaken)?;
        let data = json!({ "parent": new.parent_id, "preset": self.settings.preset });
        write.emit(Event::of_agent(EventKind::AgentCreated, &id).data(data)).await?;
        let token = if self.issue_token { Some(self.issue(write, &id, &mut warnings).await?) } else { None };
        let agent = agent::get(&write.tx, caller.subject(), &name, Action::Read, origin.now).await?;
        self.equip(write, &agent, &mut warnings).await?;
        Ok(Registered { agent, token, warnings })
    }

    /// Stores its secrets, and warns of those that its preset needs and that were not sent.
    async fn equip(&self, write: &Write<'_>, agent: &Agent, warnings: &mut Vec<String>) -> Result<(), ApiError> {
        if let Some(secrets) = &self.secrets {
            secrets.store(write, agent).await?;
            let after = json!({ "set": secrets.names() });
            write.record("agent.secret.set", agent.id.as_str(), Null, after).await?;
            warnings.extend(secrets::barrier(write, agent).await?);
        }
        let missing = secret::missing(&write.tx, &agent.id, &self.needed).await?;
        if !missing.is_empty() {
            let (names, name) = (missing.join(", "), &agent.name);
            warnings.push(format!(
                "Agents of this preset need secrets that {name} does not have: {names}. Set them with PUT /api/agents/{name}/secrets."
            ));
        }
        Ok(())
    }

    /// Checks that the agent has a place below `parent`, and that `parent` can give what was asked for.
    async fn check_place(&mut self, write: &Write<'_>, parent: &Agent) -> Result<(), ApiError> {
        if tree::depth(&write.tx, &parent.id).await? >= DEEPEST as i64 {
            return Err(Code::TreeTooDeep.with("parent", &parent.name));
        }
        if parent.state != AgentState::Running {
            return Err(parent_halted(parent, Some(&parent.name)));
        }
        if self.tier_left_out && write.caller.agent_id().is_some() {
            self.settings.tier = self.settings.tier.max(parent.settings.tier);
        }
        let (scope, bounds) = (Some(&self.settings.scope), Bounds::of(&self.settings));
        check_within_parent(write, parent, &Child { scope, bounds, id: None, before: None }).await
    }

    /// Issues a token that carries the whole ceiling.
    async fn issue(&self, write: &Write<'_>, agent: &AgentId, warnings: &mut Vec<String>) -> Result<Secret, ApiError> {
        let (caller, origin) = (&write.caller, write.origin());
        let (expires_at, capped) = caller.cap_life(self.lifetime, origin.now)?;
        warnings.extend(capped);
        let new = NewCredential {
            kind: Kind::AgentToken,
            id: CredentialId::generate(origin.now, origin.chance),
            user: caller.user_id(),
            agent: Some(agent),
            key: None,
            name: None,
            scope: &self.settings.scope,
            expires_at,
            grantee: None, // the caller's own agent; a caller that rests on a grant registers none
        };
        mint::credential(&write.tx, &origin, &new).await
    }
}

/// A registered agent, with the one time that its token is shown.
pub(crate) struct Registered {
    pub(crate) agent: Agent,
    pub(crate) token: Option<Secret>,
    pub(crate) warnings: Vec<String>,
}

/// The form in which it is answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RegisteredAgent")]
pub(crate) struct Created<'a> {
    #[serde(flatten)]
    agent: &'a Agent,
    auth_token: Option<&'a str>,
    warnings: &'a [String],
}

impl Registered {
    /// The form of the answer.
    pub(crate) fn form(&self) -> Created<'_> {
        let auth_token = self.token.as_ref().map(Secret::reveal);
        Created { agent: &self.agent, auth_token, warnings: &self.warnings }
    }
}

/// The ceiling of an agent for which none was sent: the preset `worker`, without what its parent lacks and the minter cannot give.
async fn default_ceiling(
    write: &Write<'_>,
    parent: Option<&Agent>,
    warnings: &mut Vec<String>,
) -> Result<RequestedScope, ApiError> {
    let (caller, custom) = (&write.caller, write.caller.custom_scopes());
    let worker = mint::of_preset(&write.tx, caller, DEFAULT_PRESET).await?;
    let all = worker.scope.scopes(custom);
    let mut given = all.clone();
    if let Some(parent) = parent {
        given = given.and(&parent.settings.scope.scopes(custom));
    }
    if caller.credential_kind() != Kind::Session {
        given = given.and(&caller.mintable());
    }
    let missing = all.without(&given);
    if missing.is_empty() {
        return Ok(worker);
    }
    if given.is_empty() {
        caller.refuse_excess(missing.clone(), &worker.scope)?;
    }
    let names = missing.names(custom).join(", ");
    warnings.push(format!(
        "scope was left out. It was set to the preset worker without the scopes that cannot be granted here: {names}."
    ));
    Ok(RequestedScope { scope: given.to_patterns(), preset: None })
}

/// `POST /api/agents`: registers an agent of the caller's and, unless told not to, issues its token; all of it or nothing.
pub(crate) async fn register(change: Change<Body<Create>>) -> Result<Response, ApiError> {
    let draft = Draft::read(&change.app, &change.caller, &change.input.0).await?;
    change
        .run(async |write, _| {
            let made = draft.register(write).await?;
            let answer = Answer::created(&made.form())?;
            let answer = if made.token.is_some() { answer.with_secret() } else { answer };
            Ok(answer.audited(&made.agent.id, Null, audited(&made.agent)))
        })
        .await
}

#[cfg(test)]
mod tests;
