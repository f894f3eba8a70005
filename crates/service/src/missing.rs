//! What an agent lacks beside the scope that it was refused for: an ask that cannot help must not be advised, nor one that is open.

use common::{
    error::{ApiError, Code},
    route::Object,
    secret::Kind,
};
use store::{access_request, agent, key};

use crate::{app::App, call::Call, caller::Caller, fixes, object};

/// The refusal of a scope with what else is in the way: a relation to the object that the path names, or an open request for this scope.
/// An object that the caller may not read is in the way as an absent one is.
pub(crate) async fn beside(call: &Call, refusal: ApiError) -> ApiError {
    let Some(caller) = call.caller.as_ref().filter(|_| refusal.code() == Code::ScopeDenied) else { return refusal };
    let (Some(_), Some(scope)) = (caller.agent_id(), refusal.missing_scopes().first().copied()) else { return refusal };
    match relation(call, caller).await {
        Ok(None) => {}
        Ok(Some(why)) => {
            let sent = format!("{} {}", call.route.method, call.route.path);
            let tell = fixes::tell_owner(caller.email(), caller.can_notify(), &sent, scope);
            return refusal.also(why).fix(format!("Asking for the scope does not help: {why} {tell}"));
        }
        // The refusal stands without it.
        Err(_) => return refusal,
    }
    asked_already(&call.app, caller, refusal).await
}

/// The refusal of scopes with the open request that asks for all that are missing, if there is one.
pub async fn asked_already(app: &App, caller: &Caller, refusal: ApiError) -> ApiError {
    // An approval counts for the agent's token alone, and not for one that an editor issued.
    let is_token = caller.credential_kind() == Kind::AgentToken && caller.grantee().is_none();
    let Some(id) = caller.agent_id().filter(|_| is_token) else { return refusal };
    let mut open: Option<String> = None;
    for scope in refusal.missing_scopes() {
        match access_request::open_for(app.db(), id, scope).await {
            Ok(Some(request)) if open.as_ref().is_none_or(|open| *open == request) => open = Some(request),
            // The refusal stands without it.
            _ => return refusal,
        }
    }
    match open {
        Some(request) => refusal
            .fix(format!(
                "You have asked for it already: {request} is open. Wait for the event scope_granted or access_denied: GET \
                 /api/agents/me/inbox?wait=25."
            ))
            .extra("access_request", request),
        None => refusal,
    }
}

/// Why the caller could not do it even with the scope, as a sentence.
async fn relation(call: &Call, caller: &Caller) -> Result<Option<&'static str>, ApiError> {
    let (db, subject, now) = (call.app.db(), caller.subject(), call.app.now());
    let mut names = call.segments.as_slice().iter().map(String::as_str);
    // Routes about several agents name them in their bodies.
    let (Some(object), Some(name)) = (call.route.object, names.next()) else { return Ok(None) };
    let found = match object {
        Object::OwnAgent if caller.is_itself(name) => return Ok(None),
        Object::OwnAgent => return Ok(Some("Only the agent itself may do this.")),
        Object::Agent(action) => agent::get(db, subject, name, action, now).await.map(drop),
        Object::AgentState(action) => match agent::get(db, subject, name, action, now).await {
            Ok(found) if object::is_at_or_above(db, caller, &found.id).await? => {
                return Ok(Some("An agent cannot set its own state or the state of an agent above it."));
            }
            found => found.map(drop),
        },
        Object::Key(action) => {
            let path = (name, names.next().unwrap_or_default());
            key::get(db, subject, path, action, now).await.map(drop)
        }
        Object::AccessRequest(_) => return Ok(None),
    };
    match found {
        Ok(()) => Ok(None),
        Err(refusal) => match refusal.code().row().status {
            403 => Ok(Some("You may read this object, but you also lack the relation that lets you do this with it.")),
            404 => Ok(Some("This object does not exist, or you may not read it.")),
            _ => Err(refusal),
        },
    }
}
