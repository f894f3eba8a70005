//! Token exchange (RFC 8693): what an agent has, for a signed token that one service takes.
//!
//! 1. `subject_token` says who the token is about: an agent, by its token or one of its keys; or, by a signed token that a service has
//!    received, the subject of that one.
//! 2. `actor_token` says who acts: the service, by a credential of its own, which is an agent's too. A signed token is taken from the
//!    services alone that it is for, so that it needs one; each exchange adds one level to `act`, three at most.
//! 3. `resource` (RFC 8707), or `audience`, names one resource of the tenant, byte by byte.
//! 4. The scope is at most what the subject can use now, what the actor can use now, and what the resource takes. Of what the received token
//!    could have carried and does not, the new one carries nothing either: who narrowed a token meant it.
//!
//! A credential of a person is refused: services are called by agents. A person who wants a program to act for them lets a client in.

use common::{
    error::{ApiError, Code},
    secret::Secret,
    time::Timestamp,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, json};
use service::{
    app::App,
    caller::Caller,
    proof, reader,
    response::{Response, uncached_json},
};
use store::{resource::Resource, signed_token};

use super::{
    form::{self, Parameters, token_type},
    jwt::{self, Grant},
};

/// The grant type (RFC 8693, section 2.1).
pub(crate) const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// Types of tokens (RFC 8693, section 3).
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// Services that act one behind the other, at most.
const HOPS: usize = 3;
/// Where the page explains refusals.
const PAGE: &str = "/docs/agents/concepts/resources#refusals";

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ExchangedToken")]
pub(crate) struct Exchanged<'a> {
    access_token: &'a str,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: i64,
    scope: String,
}

/// Whom a token is about, and by what right.
pub(super) struct Subject {
    caller: Caller,
    /// `act` of a signed token that was received.
    act: Option<Json>,
    /// The records that a signed token rests on beside the subject's.
    rests_on: Vec<String>,
    /// The end of a signed token that was received.
    ends: Option<Timestamp>,
    /// Names that a signed token that was received could have carried and does not.
    left_out: Vec<String>,
}

impl Subject {
    /// An agent by a credential of its own.
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller, act: None, rests_on: Vec::new(), ends: None, left_out: Vec::new() }
    }
}

/// The grant.
pub(crate) async fn grant(app: &App, form: &Parameters, key: Option<&str>) -> Result<Response, ApiError> {
    let issued_token_type = match form.find("requested_token_type")? {
        None | Some(ACCESS_TOKEN) => ACCESS_TOKEN,
        Some(JWT) => JWT,
        Some(_) => {
            return Err(wrong("requested_token_type", &format!("leave it out, or send {ACCESS_TOKEN} or {JWT}")));
        }
    };
    let target = target(form)?;
    let (subject_token, actor_token) = (token(form, "subject_token")?, actor_token(form)?);
    if app.settings().signing_keys.is_empty() {
        return Err(Code::SigningDisabled.into());
    }

    let actor = match actor_token {
        Some(sent) => Some(agent(app, "actor_token", sent, key).await?),
        None => None,
    };
    let subject = match Secret::parse(subject_token) {
        Some(_) => Subject::new(agent(app, "subject_token", subject_token, key).await?),
        None => received(app, subject_token, actor.as_ref()).await?,
    };
    if let Some(actor) = &actor
        && actor.tenant_id() != subject.caller.tenant_id()
    {
        return Err(unknown("actor_token"));
    }
    let by = actor.as_ref().unwrap_or(&subject.caller);
    let mut rests_on = vec![subject.caller.credential_id().to_string()];
    rests_on.extend(subject.rests_on.iter().cloned());
    rests_on.extend(actor.as_ref().map(|actor| actor.credential_id().to_string()));
    let target = (subject.caller.tenant_id(), target);
    let client = (subject.caller.credential_id(), by.subject().id());
    let found = signed_token::footing(app.db(), target, &rests_on, client, app.now()).await?;
    let (resource, footing) = found.ok_or(Code::InvalidTarget)?;
    let scopes = scopes(app, &subject, actor.as_ref(), &resource, form.find("scope")?)?;

    let act = match &actor {
        None => None,
        Some(actor) => Some(act(actor, subject.act.as_ref())?),
    };
    let ends = [subject.ends, actor.as_ref().and_then(Caller::expires_at)].into_iter().flatten().min();
    let grant = Grant {
        resource: &resource,
        footing: Some(footing),
        scopes: &scopes,
        client_id: by.subject().id(),
        act: act.as_ref(),
        rests_on: &rests_on,
        ends,
        key,
    };
    let issued =
        jwt::issue(app, None, (&subject.caller, by), grant).await.map_err(|refusal| unacceptable(app, by, refusal))?;
    by.record_use(app).await;
    let answer = Exchanged {
        access_token: &issued.token,
        issued_token_type,
        token_type: token_type(key),
        expires_in: issued.expires_in,
        scope: scopes.join(" "),
    };
    uncached_json(StatusCode::OK, &answer)
}

/// The one resource that is asked for.
fn target(form: &Parameters) -> Result<&str, ApiError> {
    let more = |refusal: ApiError| {
        Code::InvalidTarget
            .detail(refusal.sentence())
            .fix("Send one resource in each request: a token is for one service.")
    };
    match (form.find("resource").map_err(more)?, form.find("audience").map_err(more)?) {
        (Some(resource), None) => Ok(resource),
        (None, Some(audience)) => Ok(audience),
        (Some(resource), Some(audience)) if resource == audience => Ok(resource),
        (Some(_), Some(_)) => Err(Code::InvalidTarget
            .detail("resource and audience name two services.")
            .fix("Send one resource in each request: a token is for one service.")),
        (None, None) => Err(wrong("resource", "send the identifier of the service, which GET /api/resources lists")),
    }
}

/// A token with its type, which must fit it.
fn token<'f>(form: &'f Parameters, name: &'static str) -> Result<&'f str, ApiError> {
    let type_name = if name == "subject_token" { "subject_token_type" } else { "actor_token_type" };
    let sent = form.get(name)?;
    match (form.get(type_name)?, Secret::parse(sent).is_some()) {
        (ACCESS_TOKEN, _) | (JWT, false) => Ok(sent),
        (JWT, true) => Err(wrong(type_name, &format!("send {ACCESS_TOKEN} with a credential of an agent"))),
        _ => Err(wrong(type_name, &format!("send {ACCESS_TOKEN}"))),
    }
}

fn actor_token(form: &Parameters) -> Result<Option<&str>, ApiError> {
    match (form.find("actor_token")?, form.find("actor_token_type")?) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(wrong("actor_token", "send it with actor_token_type, or leave both out")),
        (Some(_), _) => token(form, "actor_token").map(Some),
    }
}

/// The agent whose credential this is, if it is accepted now.
async fn agent(app: &App, name: &'static str, sent: &str, key: Option<&str>) -> Result<Caller, ApiError> {
    let found = match Secret::parse(sent) {
        Some(secret) => Caller::find_by_secret(app.db(), secret, app.now()).await?,
        None => None,
    };
    let caller = found.ok_or_else(|| unknown(name))?;
    if caller.agent_id().is_none() {
        return Err(Code::InvalidRequest
            .detail(format!("{name} is a credential of a person."))
            .fix("Send the token or a key of an agent: services are called by agents. An agent is registered with POST /api/agents.")
            .page(PAGE)
            .extra("reason", "agent_required"));
    }
    if caller.bound_to().is_some_and(|bound| key != Some(bound)) {
        return Err(proof::refused(&format!("{name} is bound to a key, and the request does not prove that key")));
    }
    caller.check_live().and_then(|()| caller.check_agent()).map_err(|refusal| unacceptable(app, &caller, refusal))?;
    Ok(caller)
}

/// The subject of a signed token that the actor has received.
async fn received(app: &App, sent: &str, actor: Option<&Caller>) -> Result<Subject, ApiError> {
    let actor = actor.ok_or_else(|| {
        wrong("actor_token", "send a credential of the service that received the token, with actor_token_type")
    })?;
    let asking = (actor.tenant_id(), actor.subject().id());
    let found = signed_token::find(app.db(), sent, asking, app.now()).await?.ok_or_else(|| unknown("subject_token"))?;
    let caller = Caller::of_record(app.db(), &found.credential, app.now()).await?;
    let caller = caller.filter(Caller::is_accepted).ok_or_else(|| unknown("subject_token"))?;
    let carried: Vec<&str> = found.scope.split(' ').collect();
    let left_out = found.resource.scopes.iter().filter(|name| !carried.contains(&name.as_str())).cloned().collect();
    Ok(Subject {
        caller,
        act: found.act.as_deref().and_then(common::json::parse),
        rests_on: found.rests_on.into_iter().skip(1).collect(),
        ends: Some(found.expires_at),
        left_out,
    })
}

/// The names that the token carries: those that were asked for, or else all that are possible.
pub(super) fn scopes(
    app: &App,
    subject: &Subject,
    actor: Option<&Caller>,
    resource: &Resource,
    asked: Option<&str>,
) -> Result<Vec<String>, ApiError> {
    let usable = subject.caller.scopes();
    let acting = actor.map(Caller::scopes);
    let is_possible = |name: &str| {
        usable.has_custom(name)
            && acting.as_ref().is_none_or(|acting| acting.has_custom(name))
            && !subject.left_out.iter().any(|left| left == name)
    };
    let Some(asked) = asked else {
        let possible: Vec<String> = resource.scopes.iter().filter(|name| is_possible(name)).cloned().collect();
        // A service that tells callers apart by scopes would let one in that has none of them, if it looked at the signature alone.
        if possible.is_empty() && !resource.scopes.is_empty() {
            let refusal = lacking(app, (subject, actor), &resource.scopes, "any scope that the service takes");
            return Err(refusal.unwrap_or_else(|| beyond(&resource.scopes)));
        }
        return Ok(possible);
    };
    let mut names: Vec<String> = asked.split_ascii_whitespace().map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    let foreign: Vec<String> = names.iter().filter(|name| !resource.scopes.contains(name)).cloned().collect();
    if !foreign.is_empty() {
        let shown: Vec<String> = foreign.into_iter().map(Secret::cut_off).collect();
        let fix = match resource.scopes.is_empty() {
            true => "Leave scope out: this service takes no scopes.".to_owned(),
            false => format!("Send scope as some of: {}. Or leave it out.", resource.scopes.join(" ")),
        };
        let refusal = Code::InvalidScope.detail("The service does not take a requested scope.").fix(fix).page(PAGE);
        return Err(refusal.extra("unknown_scopes", shown));
    }
    let missing: Vec<String> = names.iter().filter(|name| !is_possible(name)).cloned().collect();
    if !missing.is_empty() {
        let refusal = lacking(app, (subject, actor), &missing, "a requested scope");
        return Err(refusal.unwrap_or_else(|| beyond(&missing)));
    }
    Ok(names)
}

/// The refusal of the first name that the subject or the actor cannot use now, with the step for it.
fn lacking(
    app: &App,
    (subject, actor): (&Subject, Option<&Caller>),
    names: &[String],
    what: &'static str,
) -> Option<ApiError> {
    for (whose, caller) in [("The agent", Some(&subject.caller)), ("The service that acts", actor)] {
        let Some(caller) = caller else { continue };
        let refusals = names.iter().filter_map(|name| Some((name, caller.require_custom(name).err()?)));
        let mut refusals = refusals.peekable();
        if let Some((name, refusal)) = refusals.next() {
            let mut missing = vec![name.as_str()];
            missing.extend(refusals.map(|(name, _)| name.as_str()));
            let envelope = refusal.envelope("", app.settings().link(), Some(reader::of(caller, app)));
            let refusal = Code::InvalidScope
                .detail(format!("{whose} cannot use {what} now."))
                .fix(envelope.fix.into_owned())
                .page(PAGE);
            return Some(refusal.extra("reason", envelope.error).extra("missing_scopes", missing));
        }
    }
    None
}

/// The refusal of what the received token does not carry.
fn beyond(names: &[String]) -> ApiError {
    Code::InvalidScope
        .detail("The token that was received does not carry a requested scope.")
        .fix("Ask for less, or let the agent that calls get its token with the scope that is needed.")
        .page(PAGE)
        .extra("missing_scopes", names.to_vec())
}

/// `act` with one more level (RFC 8693, section 4.1).
fn act(actor: &Caller, before: Option<&Json>) -> Result<Json, ApiError> {
    let mut hops = 1;
    let mut inner = before;
    while let Some(level) = inner {
        hops += 1;
        inner = level.get("act");
    }
    if hops > HOPS {
        return Err(Code::InvalidRequest
            .detail(format!("{HOPS} services act already, one behind the other."))
            .fix("Let the agent call this service with a token of its own.")
            .page(PAGE)
            .extra("reason", "too_many_hops"));
    }
    let mut act = json!({ "sub": actor.subject().id() });
    if let (Some(before), Some(members)) = (before, act.as_object_mut()) {
        members.insert("act".to_owned(), before.clone());
    }
    Ok(act)
}

/// The refusal of a parameter with another value than it can have.
fn wrong(name: &'static str, step: &str) -> ApiError {
    Code::InvalidRequest
        .detail(format!("{name} is missing, or has a value that does not fit."))
        .fix(format!("For {name}, {step}."))
        .page(PAGE)
        .extra("field", name)
}

/// The refusal of a token that is unknown, has ended, or is for somebody else: it does not say which.
fn unknown(name: &'static str) -> ApiError {
    Code::InvalidRequest
        .detail(format!("{name} is unknown, has ended, or is not for the caller."))
        .fix("Send a live credential of an agent, or a signed token that a live service was sent, from that service. POST /auth/introspect tells whether it is active.")
        .page(PAGE)
        .extra("reason", "invalid_token")
}

/// A refusal of ours in the words of RFC 8693, section 2.2.2.
fn unacceptable(app: &App, caller: &Caller, refusal: ApiError) -> ApiError {
    form::as_code(Code::InvalidRequest, PAGE, (app, caller), refusal)
}

#[cfg(test)]
mod tests;
