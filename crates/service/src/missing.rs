//! What an agent can do about a scope that it lacks: an ask that cannot help must not be advised, nor one that is open or was denied.

use common::{
    error::{ApiError, Code},
    exact::Exact,
    permission::Action,
    route::{Access, Object, Route},
    scope::{Patterns, Scope, Scopes},
    text::{credential_in, holds_credential},
    time::Timestamp,
};
use serde_json::{Value as Json, json};
use store::{
    access_request::{self, DENIED_FOR, Denied, MOST_REASON, Open},
    agent,
    db::{DbError, Rows},
    key,
};

use crate::{
    app::App,
    call::Call,
    caller::Caller,
    fixes::{self, ASK},
    object,
};

/// The longest body that is shown, bytes.
const MOST_SHOWN: usize = 2_048;

/// The refusal of a scope with what else is in the way: a relation to the object that the path names, an open request for this scope, or one
/// that was denied. An object that the caller may not read is in the way as an absent one is. Else the refusal carries the ask as a request
/// that can be sent as it is; `exact` is what was refused.
pub(crate) async fn beside(call: &Call, refusal: ApiError, exact: Option<&Exact>) -> ApiError {
    let Some(caller) = call.caller.as_ref().filter(|_| refusal.code() == Code::ScopeDenied) else { return refusal };
    let (Some(_), Some(scope)) = (caller.agent_id(), refusal.missing_scopes().first().copied()) else { return refusal };
    match relation(call, caller).await {
        Ok(None) => {}
        Ok(Some(why)) => {
            let sent = fixes::plain(&call.app, &format!("{} {}", call.route.method, call.route.path));
            let tell = fixes::tell_owner(caller.email(), caller.can_notify(), &sent, scope);
            return refusal.without(ASK).also(why).fix(format!("Asking for the scope does not help: {why} {tell}"));
        }
        // The refusal stands without it.
        Err(_) => return refusal,
    }
    let refusal = match exact {
        None => refusal,
        Some(exact) => naming(refusal, exact, &call.body_bytes()),
    };
    match decided(&call.app, caller, &refusal, exact).await {
        Ok(Some(Decided::Open(open))) => refusal
            .without(ASK)
            .fix(format!(
                "You have asked for it already: {open} is open. Wait for the decision: GET /api/access-requests/{open}?wait=25."
            ))
            .extra("access_request", open),
        Ok(Some(Decided::Denied(denied))) => refused_before(refusal, &denied),
        // The refusal stands without it.
        Ok(None) | Err(_) => refusal,
    }
}

/// The request with its body itself, for the person who decides. A body with a value that nobody is shown, such as an agent's secret, is not
/// taken.
pub fn show(exact: Exact, text: &str) -> Result<Exact, ApiError> {
    const FIELD: &str = "for.body";
    let refused = |problem: &str| Err(ApiError::field(FIELD, problem));
    if text.is_empty() || text.len() > MOST_SHOWN {
        return refused("must have 1 to 2048 bytes; name a longer one by body_sha256 alone");
    }
    let Ok(body @ Json::Object(_)) = common::json::parse_strict(text) else {
        return refused("must be the JSON object that is sent, byte for byte");
    };
    if holds_credential(&body) {
        return Err(credential_in(FIELD));
    }
    let route = exact.route();
    let has_secrets = route.secrets.iter().chain(&["secrets"]).any(|name| body.get(name).is_some());
    if has_secrets || route.access == Access::Scope(Scope::AgentsSecretsWrite) {
        return refused("has values of secrets, which nobody is shown: name it by body_sha256 alone");
    }
    exact.showing(text).map_or_else(|| refused("is not the body whose SHA-256 is body_sha256"), Ok)
}

/// The refusal whose ask names the request that was refused, and shows its body where that can be shown.
fn naming(refusal: ApiError, exact: &Exact, body: &[u8]) -> ApiError {
    let Some(mut ask) = refusal.member(ASK).cloned() else { return refusal };
    let route = exact.route();
    let reason: String =
        format!("{}: {} {}", route.title, route.method, exact.path()).chars().take(MOST_REASON).collect();
    let mut named = json!({ "method": route.method, "path": exact.path() });
    if let (Some(members), Some(digest)) = (named.as_object_mut(), exact.body()) {
        members.insert("body_sha256".to_owned(), digest.into());
        let text = std::str::from_utf8(body).ok().filter(|text| show(exact.clone(), text).is_ok());
        members.extend(text.map(|text| ("body".to_owned(), text.into())));
    }
    if let Some(body) = ask.get_mut("body").and_then(Json::as_object_mut) {
        body.insert("reason".to_owned(), reason.into());
        body.insert("for".to_owned(), named);
    }
    refusal.extra(ASK, ask)
}

/// What has become of an ask that would be sent again.
enum Decided {
    /// Nobody has decided about the request with this id.
    Open(String),
    /// A person said no.
    Denied(Denied),
}

async fn decided(
    app: &App,
    caller: &Caller,
    refusal: &ApiError,
    exact: Option<&Exact>,
) -> Result<Option<Decided>, DbError> {
    // Without an ask there is nothing to be approved.
    let Some(id) = caller.agent_id().filter(|_| refusal.member(ASK).is_some()) else { return Ok(None) };
    let missing = Scopes::stored(&refusal.missing_scopes().join(" "), caller.custom_scopes());
    let is_same = |open: &Open| covers(caller, (&open.scope, open.exact.as_ref()), &missing, exact);
    if let Some(open) = access_request::open(app.db(), id).await?.into_iter().find(is_same) {
        return Ok(Some(Decided::Open(open.id)));
    }
    Ok(denied(app.db(), caller, &missing, exact, app.now()).await?.map(Decided::Denied))
}

/// Whether a person denied the agent the same lately: all of these scopes, for this request or for all.
pub async fn denied(
    reads: &dyn Rows,
    caller: &Caller,
    scope: &Scopes,
    exact: Option<&Exact>,
    now: Timestamp,
) -> Result<Option<Denied>, DbError> {
    let Some(id) = caller.agent_id() else { return Ok(None) };
    let is_same = |denied: &Denied| covers(caller, (&denied.scope, denied.exact.as_ref()), scope, exact);
    Ok(access_request::denied(reads, id, now).await?.into_iter().find(is_same))
}

/// Whether an ask for these patterns, for one request or for all, is for all that is missing.
fn covers(
    caller: &Caller,
    (asked, only): (&Patterns, Option<&Exact>),
    missing: &Scopes,
    exact: Option<&Exact>,
) -> bool {
    let rest = missing.clone().without(&asked.scopes(caller.custom_scopes()));
    rest.is_empty() && (only.is_none() || only == exact)
}

/// Adds to a refusal who denied the scope to the agent, when and with which word, and from when on the agent may ask again.
fn refused_before(refusal: ApiError, denied: &Denied) -> ApiError {
    let until = until(denied.at);
    let told =
        json!({ "request": denied.id, "by": denied.by, "at": denied.at, "reason": denied.reason, "until": until });
    refusal
        .without(ASK)
        .also(&said(&denied.by, denied.reason.as_deref()))
        .fix(format!(
            "Do not ask for it again before {until}, and do not send the request again. Go on with something else."
        ))
        .extra("denied", told)
}

/// Until when a denial of this moment stands.
pub fn until(denied_at: Timestamp) -> String {
    denied_at.plus_seconds(DENIED_FOR).to_string()
}

/// Who denied it, and with which word, as a sentence. The person's words stand in quotes and on one line.
pub fn said(by: &str, word: Option<&str>) -> String {
    match word {
        Some(word) => format!("{by} denied it: \"{}\".", word.replace(char::is_whitespace, " ")),
        None => format!("{by} denied it, without a word."),
    }
}

/// Why the caller could not do it even with the scope, as a sentence.
async fn relation(call: &Call, caller: &Caller) -> Result<Option<&'static str>, ApiError> {
    // Routes about several agents name them in their bodies.
    let names = call.segments.as_slice();
    let lacking = lacking_relation(call.app.db(), caller, (call.route, names), call.app.now()).await?;
    if lacking.is_some() || call.route.fields.is_empty() {
        return Ok(lacking);
    }
    let (Some(name), Ok(Json::Object(sent))) = (names.first(), serde_json::from_slice(&call.body_bytes())) else {
        return Ok(None);
    };
    let has_field = |field: &str| sent.contains_key(field);
    let agent = agent::get(call.app.db(), caller.subject(), name, Action::Read, call.app.now()).await?;
    let allowed = object::may_send_all(call.app.db(), caller, call.route, has_field, &agent.id).await?;
    Ok((!allowed).then_some(object::OF_PEOPLE))
}

/// Why the caller could not do what a route does with what its path names, whatever its scope, as a sentence.
pub async fn lacking_relation(
    reads: &dyn Rows,
    caller: &Caller,
    (route, names): (&Route, &[String]),
    now: Timestamp,
) -> Result<Option<&'static str>, ApiError> {
    let subject = caller.subject();
    let mut names = names.iter().map(String::as_str);
    let (Some(object), Some(name)) = (route.object, names.next()) else { return Ok(None) };
    let found = match object {
        Object::OwnAgent if caller.is_itself(name) => return Ok(None),
        Object::OwnAgent => return Ok(Some("Only the agent itself may do this.")),
        Object::Agent(action) => agent::get(reads, subject, name, action, now).await.map(drop),
        Object::AgentState(action) => match agent::get(reads, subject, name, action, now).await {
            Ok(found) if object::is_at_or_above(reads, caller, &found.id).await? => {
                return Ok(Some("An agent cannot set its own state or the state of an agent above it."));
            }
            found => found.map(drop),
        },
        Object::Key(action) => {
            let path = (name, names.next().unwrap_or_default());
            key::get(reads, subject, path, action, now).await.map(drop)
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
