//! Deployments: an agent's runtime is asked to run it. The event `agent.deploy` goes, with an enrolment code, to the webhooks whose person
//! may change the agent, and to the agent above. The first heartbeat with a credential that is younger than the request ends it well; the
//! runtime's word that it cannot, or twenty minutes without a heartbeat, badly. A deployment decides about nothing.

use std::collections::BTreeMap;

use common::{
    agent::AgentState,
    error::{ApiError, Code},
    event::EventKind,
    permission::Action,
    route::Route,
    scope::Scope,
    text::{isolated, prose},
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change, Write},
    enrolment,
    event::Event,
    extract::{Body, Path},
    form,
    form::{Nullable, Object, nested},
    issue::Requested,
    mint::Life,
    object,
    response::{Response, json},
};
use store::{
    agent::{
        self, Agent,
        deploy::{self, Deployment},
    },
    event,
};

use crate::{
    bounds::{AgentChanges, audited},
    register::{Create, Draft},
    state::actor,
};

/// Characters of a reason at most.
const REASON: usize = 500;

form! {
    /// The agent to be registered, if there is none: the fields of registering, without its name and its token.
    pub(crate) struct New {
        parent: Option<Nullable<String>>,
        secrets: Option<BTreeMap<String, String>>,
        ..changes: AgentChanges,
    }
}

form! {
    pub(crate) struct Deploy {
        name: String,
        create: Option<Object<New>>,
        ..life: Life,
    }
}

/// A deployment that was asked for.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AskedDeployment")]
pub(crate) struct Asked<'a> {
    agent: &'a Agent,
    /// Whether the agent was registered by this request.
    created: bool,
    deployment: Deployment,
    warnings: Vec<String>,
}

/// Reads the agent that is to be registered if there is none.
async fn draft(change: &Change<Body<Deploy>>) -> Result<Option<Draft>, ApiError> {
    let Body(body) = &change.input;
    let Some(sent) = &body.create else { return Ok(None) };
    change.caller.require(Scope::AgentsCreate)?;
    let New { parent, secrets, changes } = nested("create.", sent.members.clone())?;
    let name = body.name.clone();
    let create = Create { name, parent, life: Life::default(), issue_token: Some(false), secrets, changes };
    Draft::read(&change.app, &change.caller, &create).await.map(Some)
}

/// `POST /api/agents/deploy`: asks the runtime of an agent to run it. An agent that is not there is registered first, if the body says
/// how. What was asked for before ends.
pub(crate) async fn deploy(mut change: Change<Body<Deploy>>) -> Result<Response, ApiError> {
    let route = change.route();
    let draft = draft(&change).await?;
    let name = match &draft {
        Some(draft) => draft.name.as_str().to_owned(),
        None => {
            let name = change.input.0.name.clone();
            let found = object::agent(change.app.db(), &change.caller, route, &name, change.app.now()).await?;
            change.bind([found.id.as_str()]);
            found.id.to_string()
        }
    };
    let requested = Requested::read(&change.app, &change.caller, (None, None), &change.input.0.life).await?;
    change
        .run(async |write, _| {
            let found = object::agent(&write.tx, &write.caller, route, &name, write.now()).await;
            let mut warnings = Vec::new();
            let (agent, created) = match (found, draft) {
                (Ok(agent), draft) => {
                    if draft.is_some() {
                        warnings.push(format!("The agent {name} is there already, so create was not used."));
                    }
                    (agent, false)
                }
                (Err(refusal), Some(draft)) if refusal.code() == Code::AgentNotFound => {
                    let mut made = draft.register(write).await?;
                    warnings.append(&mut made.warnings);
                    write.record("agent.create", made.agent.id.as_str(), Null, audited(&made.agent)).await?;
                    (made.agent, true)
                }
                (Err(refusal), _) => return Err(refusal),
            };
            ask(write, &agent, &requested, &mut warnings).await?;
            let agent =
                agent::get(&write.tx, write.caller.subject(), agent.id.as_str(), Action::Read, write.now()).await?;
            let deployment = deploy::find(&write.tx, &agent.id).await?;
            let after = json!({ "until": deployment.until });
            let answer = Answer::json(StatusCode::ACCEPTED, &Asked { agent: &agent, created, deployment, warnings })?;
            Ok(answer.audited(&agent.id, Null, after))
        })
        .await
}

/// Makes the code, and tells those that can run the agent.
async fn ask(write: &Write<'_>, agent: &Agent, wanted: &Requested, warnings: &mut Vec<String>) -> Result<(), ApiError> {
    let made = enrolment::make(write, agent, wanted, true).await?;
    let by = actor(&write.caller);
    let until = deploy::begin(&write.tx, &agent.id, &by, write.now()).await?;
    let data = json!({ "by": by, "until": until });
    let whole = json!({ "by": by, "until": until, "code": made.code, "code_expires_at": made.expires_at });
    let event = Event::of_agent(EventKind::AgentDeploy, &agent.id).data(data);
    write.emit(event.for_above(whole.clone()).for_webhooks(whole)).await?;
    warnings.extend(made.warnings);
    let name = &agent.name;
    if agent.state != AgentState::Running {
        let state = agent.state.as_str();
        warnings.push(format!("The agent is {state}: it can be enrolled, and does nothing before it is running."));
    }
    if agent.parent_id.is_none() && !event::is_heard(&write.tx, EventKind::AgentDeploy, &agent.id).await? {
        warnings.push(format!(
            "Nobody is asked to run {name}: it has no agent above it, and no webhook of a person that may change it asks for agent.deploy. \
             Create one with POST /api/webhooks, or make a code for the runtime with POST /api/agents/{name}/enrolment."
        ));
    }
    Ok(())
}

/// The last deployment of an agent.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeploymentStatus")]
pub(crate) struct Status {
    agent_id: String,
    agent_name: String,
    #[serde(flatten)]
    deployment: Deployment,
}

impl Status {
    async fn of(reads: &dyn store::db::Rows, agent: &Agent) -> Result<Self, ApiError> {
        let deployment = deploy::find(reads, &agent.id).await?;
        Ok(Self { agent_id: agent.id.to_string(), agent_name: agent.name.clone(), deployment })
    }
}

/// `GET /api/agents/{name}/deploy-status`
pub(crate) async fn status(
    app: App,
    caller: Caller,
    route: &'static Route,
    Path(name): Path,
) -> Result<Response, ApiError> {
    let agent = object::agent(app.db(), &caller, route, &name, app.now()).await?;
    json(StatusCode::OK, &Status::of(app.db(), &agent).await?)
}

form! {
    pub(crate) struct Failed {
        reason: String,
    }
}

/// `POST /api/agents/{name}/deploy-status`: the runtime, or somebody who watches it, says that the agent cannot be deployed, and why.
pub(crate) async fn failed(change: Change<Body<Failed>>, Path(name): Path) -> Result<Response, ApiError> {
    let reason = prose("reason", &change.input.0.reason, REASON)?;
    change
        .on_agent(&name, async |write, agent, _| {
            if !deploy::fail(&write.tx, &agent.id, &reason, write.now()).await? {
                return Err(Code::NotDeploying.with("agent", &agent.name));
            }
            let by = actor(&write.caller);
            let title = format!("{} could not be deployed", agent.name);
            let event = Event::of_agent(EventKind::AgentDeployFailed, &agent.id)
                .data(json!({ "reason": reason, "by": by }))
                .saying(title, format!("Its runtime says: {}", isolated(&reason)));
            write.emit(event).await?;
            let status = Status::of(&write.tx, &agent).await?;
            Ok(Answer::ok(&status)?.audited(&agent.id, Null, json!({ "reason": reason })))
        })
        .await
}

#[cfg(test)]
mod tests;
