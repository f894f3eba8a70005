//! The state of agents: start, stop, pause, resume, restart; of one agent, of several, or of all agents of a tenant.
//!
//! 1. People and the agents above set it; an agent never sets its own.
//! 2. Pausing and stopping reach all agents below in the same transaction. Starting and resuming reach the named agent alone, and only
//!    below an agent that runs: so nothing ever runs below a halted agent.
//! 3. Pausing and stopping go through when the database is full: their rows of the route table say so.

use std::collections::BTreeSet;

use common::{
    agent::AgentState,
    error::{ApiError, Code},
    event::EventKind,
    id::AgentId,
    route::Route,
    text::count,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use service::{
    caller::Caller,
    change::{Answer, Audited, Change, Write},
    event::Event,
    extract::{Body, Empty, Path},
    form, object,
    response::Response,
};
use store::{
    agent::{
        self, Agent,
        state::{self, StateChange, parent_halted},
    },
    inbox, notification,
};

/// A step from one state to another.
struct Step {
    /// The last word of its path.
    verb: &'static str,
    /// The states in which it is legal.
    from: &'static [AgentState],
    /// The state that it brings.
    to: AgentState,
}

const STEPS: [Step; 5] = [
    Step { verb: "start", from: &[AgentState::Stopped], to: AgentState::Running },
    Step { verb: "pause", from: &[AgentState::Running], to: AgentState::Paused },
    Step { verb: "resume", from: &[AgentState::Paused], to: AgentState::Running },
    Step { verb: "stop", from: &[AgentState::Running, AgentState::Paused], to: AgentState::Stopped },
    Step { verb: "restart", from: &[AgentState::Running, AgentState::Paused], to: AgentState::Running },
];

impl Step {
    /// The step that a row takes.
    fn of(route: &Route) -> Result<&'static Self, ApiError> {
        let verb = route.path.rsplit('/').next();
        let step = STEPS.iter().find(|step| Some(step.verb) == verb);
        step.ok_or_else(|| ApiError::from(Code::Internal).cause("a row that is no step"))
    }

    /// Whether it halts: then it reaches all agents below.
    fn halts(&self) -> bool {
        self.to != AgentState::Running
    }

    /// The data of its event: the step, the state that it brings, and by whom; `at`: the agent that the step names, which for an agent
    /// below is not the one that the event is about.
    fn event(&self, by: &str, at: Option<&AgentId>) -> Json {
        match at {
            Some(at) => json!({ "step": self.verb, "state": self.to, "by": by, "at": at }),
            None => json!({ "step": self.verb, "state": self.to, "by": by }),
        }
    }

    fn is_legal(&self, state: AgentState) -> bool {
        self.from.contains(&state)
    }

    /// Takes the step, or says why it cannot be taken now.
    async fn take(&self, write: &Write<'_>, mut agent: Agent) -> Result<Taken, ApiError> {
        if !self.is_legal(agent.state) {
            return Err(illegal(&agent));
        }
        if !self.halts()
            && let Some(parent) = &agent.parent_id
            && let Some(parent) = agent::by_id(&write.tx, parent, write.now()).await?
            && parent.state != AgentState::Running
        {
            return Err(parent_halted(&parent, agent.parent.as_deref()));
        }
        let by = actor(&write.caller);
        let kind = if self.verb == "restart" { EventKind::AgentRestart } else { EventKind::AgentStateChanged };
        let data = self.event(&by, Some(&agent.id));
        let event = (kind, &data);
        let change = StateChange { from: self.from, to: self.to, reaches_below: self.halts(), by: &by, event };
        let mut below = state::change(&write.tx, (&write.origin(), write.action()), &agent.id, &change).await?;
        below.retain(|id| *id != agent.id);
        let data = self.event(&by, None);
        inbox::push_above(&write.tx, &agent.id, write.caller.agent_id(), (kind.in_inbox(), &data), write.now()).await?;
        write.emit_to_people(Event::of_agent(kind, &agent.id).data(data)).await?;
        let before = std::mem::replace(&mut agent.state, self.to);
        agent.state_changed_at = Some(write.now());
        agent.state_changed_by = Some(by);
        agent.updated_at = write.now();
        Ok(Taken { agent, before, below })
    }
}

/// A step that was taken.
struct Taken {
    /// The agent as it is now.
    agent: Agent,
    /// Its state before.
    before: AgentState,
    /// The agents below whose state changed too.
    below: Vec<AgentId>,
}

impl Taken {
    fn audited(&self) -> Audited {
        Audited {
            object: self.agent.id.to_string(),
            before: json!({ "state": self.before }),
            after: json!({ "state": self.agent.state, "below": self.below.len() }),
        }
    }
}

/// The caller that sets a state, as it is stored beside the state. Of an agent it is the id alone, since a caller that may read the
/// one agent need not be allowed to read the other.
pub(crate) fn actor(caller: &Caller) -> String {
    caller.agent_id().map_or_else(|| caller.email().to_owned(), ToString::to_string)
}

/// The refusal of a step that the state does not allow, with the steps that it does.
fn illegal(agent: &Agent) -> ApiError {
    let legal: Vec<&str> = STEPS.iter().filter(|step| step.is_legal(agent.state)).map(|step| step.verb).collect();
    let state = agent.state.as_str();
    Code::IllegalState
        .detail(format!("The agent {} is {state}, which does not allow this step.", agent.name))
        .with("agent", &agent.name)
        .with("legal", legal.join(", "))
        .extra("state", state)
        .extra("legal", legal)
}

/// The result of each agent by the name that was sent: `ok`, and the new state or a refusal.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Results {
    results: Map<String, Json>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct StoppedAll {
    stopped: i64,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct StartedAll {
    started: i64,
    paused: i64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SteppedAgent")]
pub(crate) struct Stepped<'a> {
    #[serde(flatten)]
    agent: &'a Agent,
    below: usize,
    /// What may not be as the caller expects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// `POST /api/agents/{name}/start`, `stop`, `pause`, `resume`, `restart`: the agent is refused, or let in again, from its next request
/// on.
pub(crate) async fn one(change: Change<Body<Empty>>, Path(name): Path) -> Result<Response, ApiError> {
    let step = Step::of(change.route())?;
    change
        .on_agent(&name, async |write, agent, _| {
            let taken = step.take(write, agent).await?;
            let mut warnings = Vec::new();
            let still = if step.halts() { 0 } else { state::halted_below(&write.tx, &taken.agent.id).await? };
            if still > 0 {
                let (many, stay) = (count(still, "agent"), if still == 1 { "stays" } else { "stay" });
                warnings.push(format!(
                    "{many} below {} {stay} halted, since a start reaches the named agent alone. Start them with POST /api/agents/bulk/start, or resume them with POST /api/agents/bulk/resume.",
                    taken.agent.name
                ));
            }
            let stepped = Stepped { agent: &taken.agent, below: taken.below.len(), warnings };
            Ok(Answer::ok(&stepped)?.audited_all(vec![taken.audited()]))
        })
        .await
}

form! {
    pub(crate) struct Bulk {
        names: Vec<String>,
    }
}

/// `POST /api/agents/bulk/start` and so on: several agents in one transaction, in the order in which they are named, each decided by
/// itself. 200: all of them changed; 207: some; 409: none.
pub(crate) async fn many(mut change: Change<Body<Bulk>>) -> Result<Response, ApiError> {
    let (route, step) = (change.route(), Step::of(change.route())?);
    object::check_names(&change.input.0.names)?;
    // What has these names now is what the request is about, and what its key is bound to.
    let names = std::mem::take(&mut change.input.0.names);
    let ids = agent::ids(change.app.db(), change.caller.tenant_id(), &names).await?;
    change.bind(ids.iter().map(String::as_str));
    change
        .run(async |write, _| {
            let mut changes = Vec::new();
            // An agent that a step of this request has reached from above is changed already; its own step is not illegal.
            let mut reached: BTreeSet<AgentId> = BTreeSet::new();
            let (mut results, mut failed) = (Map::new(), 0);
            for (name, id) in names.into_iter().zip(&ids) {
                let result = match object::agent(&write.tx, &write.caller, route, id, write.now()).await {
                    Ok(agent) if reached.contains(&agent.id) => Ok(()),
                    Ok(agent) => step.take(write, agent).await.map(|taken| {
                        changes.push(taken.audited());
                        reached.extend(taken.below);
                        reached.insert(taken.agent.id); // the list may hold an agent's name and its id
                    }),
                    Err(refusal) => Err(refusal),
                };
                let result = match result {
                    Ok(()) => json!({ "ok": true, "state": step.to }),
                    Err(refusal) if refusal.code().row().status >= 500 => return Err(refusal),
                    Err(refusal) => {
                        failed += 1;
                        write.refused(&refusal)
                    }
                };
                results.insert(name, result);
            }
            if changes.is_empty() {
                return Err(ApiError::from(Code::NoneChanged).extra("results", results));
            }
            let status = if failed == 0 { StatusCode::OK } else { StatusCode::MULTI_STATUS };
            Ok(Answer::json(status, &Results { results })?.audited_all(changes))
        })
        .await
}

/// `POST /api/agents/stop-all`: stops every agent of the tenant, in one transaction.
pub(crate) async fn stop_all(change: Change<Body<Empty>>) -> Result<Response, ApiError> {
    change
        .run(async |write, _| {
            let by = actor(&write.caller);
            let data = json!({ "step": "stop-all", "state": AgentState::Stopped, "by": by });
            let body =
                format!("{} stopped all agents of the tenant. Each stays stopped until it is started.", write.author());
            notification::insert_for_owners_of_running(&write.tx, &write.origin(), &write.cause, &body).await?;
            let stopped = state::stop_all(&write.tx, (&write.origin(), write.action()), &by, &data).await?;
            let form = json!({ "stopped": stopped });
            let answer = Answer::ok(&form)?;
            Ok(match stopped {
                0 => answer.unchanged(),
                _ => answer.audited(write.caller.tenant_id(), Json::Null, form),
            })
        })
        .await
}

/// `POST /api/agents/start-all`: undoes the last `stop-all` for the agents whose state nobody has set since. Each is running or paused, as
/// `stop-all` found it.
pub(crate) async fn start_all(change: Change<Body<Empty>>) -> Result<Response, ApiError> {
    change
        .run(async |write, _| {
            let by = actor(&write.caller);
            let (origin, action) = (write.origin(), write.action());
            let restore = async |to: AgentState| {
                let data = json!({ "step": "start-all", "state": to, "by": by });
                state::start_all(&write.tx, (&origin, action), &by, to, &data).await
            };
            let (started, paused) = (restore(AgentState::Running).await?, restore(AgentState::Paused).await?);
            let form = json!({ "started": started, "paused": paused });
            let answer = Answer::ok(&form)?;
            Ok(match started + paused {
                0 => answer.unchanged(),
                _ => answer.audited(write.caller.tenant_id(), Json::Null, form),
            })
        })
        .await
}

#[cfg(test)]
mod tests;
