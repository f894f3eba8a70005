//! The object that a request names, looked up for the caller by what the row of the route asks. Handlers find their objects here, and
//! `GET /api/auth/can` reads the same rows, so that it returns what a route would decide.

use std::collections::BTreeSet;

use common::{
    error::{ApiError, Code},
    id::AgentId,
    role::Role,
    route::{Field, Object, Route, Senders},
    time::Timestamp,
};
use store::{
    agent::{self, Agent, tree},
    closure,
    db::{DbError, Rows},
    key::{self, AgentKey},
};

use crate::caller::Caller;

/// The closure with this id, for the person behind the change, admins, and the agent that made it.
pub async fn closure(reads: &dyn Rows, caller: &Caller, id: &str) -> Result<closure::Stored, ApiError> {
    let is_readable = |stored: &closure::Stored| {
        let own = match caller.agent_id() {
            Some(agent) => caller.grantee().is_none() && stored.agent.as_deref() == Some(agent.as_str()),
            None => caller.role() == Role::Admin || stored.user == caller.user_id().as_str(),
        };
        own && stored.tenant == *caller.tenant_id()
    };
    Ok(closure::find(reads, id).await?.filter(is_readable).ok_or(Code::ClosureNotFound)?)
}

/// The most names in a request about several agents.
const MOST_NAMES: usize = 100;

/// Refuses too few names of agents, too many, and one that stands twice.
pub fn check_names(names: &[String]) -> Result<(), ApiError> {
    if !(1..=MOST_NAMES).contains(&names.len()) {
        return Err(ApiError::field("names", format!("must contain 1 to {MOST_NAMES} names")));
    }
    let mut seen = BTreeSet::new();
    match names.iter().position(|name| !seen.insert(name)) {
        Some(at) => Err(ApiError::field(format!("names[{at}]"), "is listed twice")),
        None => Ok(()),
    }
}

/// The agent with this name or id, if the caller may do with it what the route does.
pub async fn agent(
    reads: &dyn Rows,
    caller: &Caller,
    route: &Route,
    name: &str,
    now: Timestamp,
) -> Result<Agent, ApiError> {
    agent_with(reads, caller, route, |_| false, name, now).await
}

/// The same for a route whose action depends on the fields of the body.
pub async fn agent_with(
    reads: &dyn Rows,
    caller: &Caller,
    route: &Route,
    has_field: impl Fn(&str) -> bool,
    name: &str,
    now: Timestamp,
) -> Result<Agent, ApiError> {
    let (Some(Object::Agent(_) | Object::AgentState(_)), Some(action)) = (route.object, route.action(&has_field))
    else {
        return Err(no_object());
    };
    check_scopes(caller, route, &has_field)?;
    let found = agent::get(reads, caller.subject(), name, action, now).await?;
    if matches!(route.object, Some(Object::AgentState(_))) && is_at_or_above(reads, caller, &found.id).await? {
        let detail = "An agent cannot set its own state or the state of an agent above it. Only people and the agents above it can.";
        return Err(Code::PermissionDenied.detail(detail).with("owner", found.owner.email));
    }
    check_senders(reads, caller, route, has_field, &found.id).await?;
    Ok(found)
}

/// Refuses the fields of the row whose scope the caller lacks. A caller that may never send a field is told that, and not to get a scope.
fn check_scopes(caller: &Caller, route: &Route, has_field: &dyn Fn(&str) -> bool) -> Result<(), ApiError> {
    for field in route.sent_fields(has_field).filter(|field| may_send(field, caller, true)) {
        if let Some(scope) = field.scope {
            let name = field.name;
            caller.require(scope).map_err(|refusal| {
                let scope = scope.as_str();
                refusal.detail(format!("This credential lacks the scope {scope}, which the field {name} needs."))
            })?;
        }
    }
    Ok(())
}

/// Whether the caller carries the scope that a field takes.
pub fn carries_scope_of(field: &Field, caller: &Caller) -> bool {
    field.scope.is_none_or(|scope| caller.scope().contains(scope))
}

/// Refuses the fields of the row that the caller may not send for this agent.
pub async fn check_senders(
    reads: &dyn Rows,
    caller: &Caller,
    route: &Route,
    has_field: impl Fn(&str) -> bool,
    agent: &AgentId,
) -> Result<(), ApiError> {
    match may_send_all(reads, caller, route, has_field, agent).await? {
        true => Ok(()),
        false => Err(Code::PersonRequired.detail(OF_PEOPLE)),
    }
}

/// What an agent is told that may not send a field.
pub const OF_PEOPLE: &str = "An agent can change the scope, tier, tasks and budget only of the agents below it, and never parent, owner or spent_cents.";

/// Whether the caller may send all fields of the row that are sent for this agent.
pub async fn may_send_all(
    reads: &dyn Rows,
    caller: &Caller,
    route: &Route,
    has_field: impl Fn(&str) -> bool,
    agent: &AgentId,
) -> Result<bool, DbError> {
    let mut sent = route.sent_fields(has_field).peekable();
    if sent.peek().is_none() {
        return Ok(true);
    }
    let is_above = is_above(reads, caller, agent).await?;
    Ok(sent.all(|field| may_send(field, caller, is_above)))
}

/// Whether the caller may send a field. `is_above`: the caller is an agent above the one that the path names.
pub fn may_send(field: &Field, caller: &Caller, is_above: bool) -> bool {
    caller.agent_id().is_none() || (field.senders == Senders::PeopleAndAgentsAbove && is_above)
}

/// Whether the caller is an agent above this one.
pub async fn is_above(reads: &dyn Rows, caller: &Caller, agent: &AgentId) -> Result<bool, DbError> {
    match caller.agent_id() {
        Some(own) if own != agent => tree::is_at_or_below(reads, agent, own).await,
        _ => Ok(false),
    }
}

/// Whether this is the calling agent or an agent above it. An agent may not set such a state, since that reaches its own.
pub async fn is_at_or_above(reads: &dyn Rows, caller: &Caller, agent: &AgentId) -> Result<bool, DbError> {
    match caller.agent_id() {
        Some(own) => tree::is_at_or_below(reads, own, agent).await,
        None => Ok(false),
    }
}

/// The key with this id of the agent with this name or id, if the caller may do with it what the route does.
pub async fn key(
    reads: &dyn Rows,
    caller: &Caller,
    route: &Route,
    path: (&str, &str),
    now: Timestamp,
) -> Result<AgentKey, ApiError> {
    match route.object {
        Some(Object::Key(action)) => key::get(reads, caller.subject(), path, action, now).await,
        _ => Err(no_object()),
    }
}

fn no_object() -> ApiError {
    ApiError::from(Code::Internal).cause("the row of this route names no such object")
}
