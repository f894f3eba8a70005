//! Requests for access: an agent asks for a scope that it lacks, and a person approves it for some hours, for this agent alone.
//!
//! 1. The agent asks. A scope that no approval could let it use is refused at once; asking twice for the same makes one request.
//! 2. Its owner, or an admin, approves all or a part of it, or denies it, with a session. Of several decisions at once, one statement
//!    lets one through.
//! 3. An approved scope counts for the agent's token from the next request on, until its end or until a person revokes it. It outlives
//!    the token, and nothing can be minted from it.

use common::{
    error::{ApiError, Code},
    event::EventKind,
    id::{AccessRequestId, AgentId},
    role::Role,
    scope::{Patterns, Scope, Scopes},
    secret::Kind,
    text::{prose, within},
};
use http::StatusCode;
use serde_json::{
    Value::{self as Json, Null},
    json,
};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change, Done, Write},
    event::Event,
    extract::{Body, Empty, Path, Query},
    form,
    form::{Field, PageQuery},
    guard, mail,
    response::{Response, json},
};
use store::{
    access_request::{self, AccessRequest, AccessRequestState, Filter, InsertOutcome, Open},
    db::Rows,
    outbox, user,
};

/// The most characters of a reason.
const REASON: usize = 500;
/// Hours of a request that names none.
const HOURS: i64 = 24;
/// The most hours.
const MOST_HOURS: i64 = 720;

/// Scopes as a text with blanks between them, as in an OAuth `scope`, or as a list of texts.
pub(crate) struct ScopeList(Vec<String>);

impl Field for ScopeList {
    const EXPECTED: &'static str = "a string of scopes separated by spaces, or a list of strings";

    fn schema() -> Json {
        json!({ "anyOf": [String::schema(), Vec::<String>::schema()] })
    }

    fn from_json(value: Json) -> Option<Self> {
        match value {
            Json::String(text) => Some(Self(text.split_ascii_whitespace().map(str::to_owned).collect())),
            other => Vec::from_json(other).map(Self),
        }
    }
}

fn hours(asked: i64) -> Result<i64, ApiError> {
    within("hours", asked, 1..=MOST_HOURS)
}

/// All that an agent of a person with this role can ever use.
fn grantable(caller: &Caller, role: Role) -> Scopes {
    role.scopes(caller.custom_scopes()).for_agents()
}

/// The request that can be sent instead, as the beginning of a fix; empty when no scope is left.
fn rest(left: &Scopes) -> String {
    match left.is_empty() {
        true => String::new(),
        false => format!("Send the same request with \"scope\": \"{}\". ", left.to_patterns().to_column()),
    }
}

fn names(scopes: &Scopes) -> String {
    scopes.all_names().join(", ")
}

form! {
    pub(crate) struct Ask {
        scope: ScopeList,
        reason: String,
        hours: Option<i64>,
    }
}

/// `POST /api/access-requests`: the agent asks, and its owner is notified. The same open request is the same row.
pub(crate) async fn ask(change: Change<Body<Ask>>) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    if body.scope.0.iter().any(|pattern| pattern == "*") {
        let detail = "An agent cannot ask for everything: the people who decide must see what it is for.";
        let rest = "Name the scopes that you need: missing_scopes of a refusal has them, and GET /api/scopes lists all with their routes. ";
        return Err(Code::ScopeNotGrantable.detail(detail).with("rest", rest));
    }
    change.caller.read_scope(&body.scope.0)?; // read again under the lock: a custom scope may be deleted meanwhile
    let reason = prose("reason", &body.reason, REASON)?;
    let hours = hours(body.hours.unwrap_or(HOURS))?;
    change
        .run(async |write, Body(body)| {
            let caller = &write.caller;
            let agent = caller.agent_id().ok_or(Code::AgentRequired)?;
            // One by one and sorted, so that the same request is the same text; scopes that are defined later are not part of it.
            let scope = caller.read_scope(&body.scope.0)?.scopes(caller.custom_scopes());
            may_ask(caller, &scope)?;
            let (scope, replaced, covering) = merged(write, agent, scope, hours).await?;
            let id = AccessRequestId::generate(write.now(), write.app().chance());
            let scope = scope.to_patterns();
            let new = access_request::New { id: &id, agent, scope: &scope, reason: &reason, hours, now: write.now() };
            let get = async |id: &str| access_request::get(&write.tx, caller.subject(), id, write.now()).await;
            for open in &replaced {
                access_request::withdraw(&write.tx, &open.id).await?;
            }
            let replaced: Vec<&str> = replaced.iter().map(|open| open.id.as_str()).collect();
            match access_request::insert(&write.tx, &new, covering.as_ref()).await? {
                InsertOutcome::Done => {}
                InsertOutcome::Already { id, is_changed } => {
                    let open = get(&id).await?;
                    let after = json!({ "request": id, "scope": open.scope, "reason": reason, "hours": hours });
                    let answer = Answer::ok(&open)?;
                    return Ok(if is_changed { answer.audited(agent, Null, after) } else { answer.unchanged() });
                }
                InsertOutcome::TooMany => return Err(Code::TooManyRequests.with("owner", caller.email())),
            }
            tell(write, &new).await?;
            let asked = get(id.as_str()).await?;
            let after =
                json!({ "request": id, "scope": scope, "reason": reason, "hours": hours, "replaces": replaced });
            Ok(Answer::created(&asked)?.audited(agent, Null, after))
        })
        .await
}

/// What becomes of a request beside the agent's open ones: its scopes with those of the open ones that it overlaps, which it replaces; or
/// the open one that covers it, for as long at least. One that replaces others has an id of its own, so that nobody approves by an id more
/// than they have read there.
async fn merged(
    write: &Write<'_>,
    agent: &AgentId,
    scope: Scopes,
    hours: i64,
) -> Result<(Scopes, Vec<Open>, Option<Open>), ApiError> {
    let custom = write.caller.custom_scopes();
    let mut open = access_request::open(&write.tx, agent).await?;
    let covers = |open: &Open| hours <= open.hours && scope.clone().without(&open.scope.scopes(custom)).is_empty();
    if let Some(at) = open.iter().position(covers) {
        return Ok((scope, Vec::new(), Some(open.swap_remove(at))));
    }
    let (mut all, mut replaced) = (scope, Vec::new());
    // Each that is taken in may overlap with one that was not.
    while let Some(at) = open.iter().position(|open| !open.scope.scopes(custom).and(&all).is_empty()) {
        let open = open.swap_remove(at);
        all = all.or(open.scope.scopes(custom));
        replaced.push(open);
    }
    Ok((all, replaced, None))
}

/// `DELETE /api/access-requests/{id}`: the agent takes an open request back, as if it had not asked.
pub(crate) async fn withdraw(change: Change<()>, Path(id): Path) -> Result<Response, ApiError> {
    decide(change, &id, async |write, found| {
        if !access_request::withdraw(&write.tx, found.id.as_str()).await? {
            return Err(already_decided(&found));
        }
        let before = json!({ "request": found.id, "scope": found.scope, "reason": found.reason, "hours": found.hours });
        Ok(Answer::no_content().audited(found.agent.id, before, Null))
    })
    .await
}

/// Refuses a request that no approval could fulfil, and one that is fulfilled already.
fn may_ask(caller: &Caller, scope: &Scopes) -> Result<(), ApiError> {
    if caller.grantee().is_some() {
        let name = caller.agent().map_or("", |(name, _)| name);
        let detail =
            "This credential was issued by an editor of the agent, so what people approve does not apply to it.";
        let rest = format!("Ask {} to issue a token: POST /api/agents/{name}/token/issue. ", caller.email());
        return Err(Code::ScopeNotGrantable.detail(detail).with("rest", rest));
    }
    let is_never = |at: &Scope| scope.known.contains(*at) && guard::check_kind_for(caller, *at).is_err();
    let never = Scopes { known: Scope::ALL.iter().copied().filter(is_never).collect(), custom: Vec::new() };
    // A grant that was given with an approved scope would outlast the approval.
    let lasting = Scopes { known: std::iter::once(Scope::AgentsShare).collect(), custom: Vec::new() }.and(scope);
    let usable = scope.clone().without(&never).without(&lasting);
    let left = usable.clone().and(&grantable(caller, caller.role()));
    let beyond = usable.without(&left);
    if !never.is_empty() || !lasting.is_empty() || !beyond.is_empty() {
        let (mut why, mut next) = (Vec::new(), Vec::new());
        let owner = caller.email();
        if !lasting.is_empty() {
            why.push(format!(
                "{} cannot be approved for a limited time, because a grant would outlast the approval.",
                names(&lasting)
            ));
            next.push(format!("Ask {owner} to send {}. ", caller.steps_to_sharing()));
        }
        if !never.is_empty() {
            why.push(format!("Only people can use {}.", names(&never)));
            next.push(format!("Ask {owner} to do what only people may do. "));
        }
        if !beyond.is_empty() {
            why.push(format!("The role {} of your owner does not allow {}.", caller.role().as_str(), names(&beyond)));
            next.push(format!("Tell {owner} what you need it for: nobody else can help. "));
        }
        return Err(Code::ScopeNotGrantable.detail(why.join(" ")).with("rest", rest(&left) + &next.concat()));
    }
    // An approval counts for the agent's token, which may lack what another of its credentials carries.
    if caller.credential_kind() == Kind::AgentToken && scope.clone().without(&caller.scopes()).is_empty() {
        return Err(Code::AlreadyGranted.into());
    }
    Ok(())
}

/// Notifies the owner, and mails the owner and the admins, where there is mail.
async fn tell(write: &Write<'_>, new: &access_request::New<'_>) -> Result<(), ApiError> {
    let caller = &write.caller;
    let name = caller.agent().map_or("", |(name, _)| name);
    let title = format!("{name} asks for access");
    // The agent's words stand in quotes and on one line, so that they cannot pass for the server's.
    let reason = new.reason.replace(char::is_whitespace, " ");
    let (scope, hours, id) = (new.scope.to_column(), new.hours, new.id);
    let body = format!(
        "Scope: {scope}\nHours: {hours}\nReason, in the agent's words: \"{reason}\"\nTo decide, send POST /api/access-requests/{id}/approve or POST /api/access-requests/{id}/deny.",
    );
    let agent = caller.agent_id().ok_or(Code::AgentRequired)?;
    let event = Event::of_agent(EventKind::AccessRequested, agent);
    write.emit(event.data(json!({ "request": id, "scope": new.scope, "hours": hours }))).await?;
    write.notify_with(caller.user_id(), &title, &body, &format!("/access/{id}")).await?;
    let data = json!({ "agent": name, "request": id, "scope": scope, "hours": hours });
    for user in user::owner_and_admins(&write.tx, caller.tenant_id(), caller.user_id()).await? {
        mail::queue(write.app(), &write.tx, (caller.tenant_id(), &user.id), outbox::Kind::AccessRequest, data.clone())
            .await?;
    }
    Ok(())
}

form! {
    pub(crate) struct List {
        state: Option<String>,
        agent: Option<String>,
        ..page: PageQuery,
    }
}

/// `GET /api/access-requests`: an agent sees its own requests and those of the agents below it; a person sees the requests that they
/// decide about.
pub(crate) async fn list(app: App, caller: Caller, Query(query): Query<List>) -> Result<Response, ApiError> {
    let state = query.state.as_deref().map(state).transpose()?;
    let agent = query.agent.as_deref();
    let wanted = caller.page(&app, &query.page)?;
    let filter = Filter { state, agent };
    let rows = access_request::list(app.db(), caller.subject(), &filter, &wanted, app.now()).await?;
    json(StatusCode::OK, &wanted.page(rows, |row| (row.created_at, row.id.to_string())))
}

fn state(word: &str) -> Result<AccessRequestState, ApiError> {
    let valid = AccessRequestState::ALL.map(AccessRequestState::as_str).join(", ");
    let unknown = || Code::InvalidFilter.with("field", "state").with("valid", valid);
    AccessRequestState::from_word(word).ok_or_else(unknown)
}

/// `GET /api/access-requests/{id}`: one request.
pub(crate) async fn get(app: App, caller: Caller, Path(id): Path) -> Result<Response, ApiError> {
    json(StatusCode::OK, &access_request::get(app.db(), caller.subject(), &id, app.now()).await?)
}

/// Changes the request with this id, if the caller may decide about it.
async fn decide<T>(
    change: Change<T>,
    id: &str,
    act: impl AsyncFnOnce(&Write<'_>, AccessRequest) -> Result<Done, ApiError>,
) -> Result<Response, ApiError> {
    let now = change.app.now();
    let find =
        async |reads: &dyn Rows, caller: &Caller, id: &str| access_request::get(reads, caller.subject(), id, now).await;
    change.on(id, find, async |write, found, _| act(write, found).await).await
}

/// Ends a decision: puts an event into the agent's inbox and answers with the request as it is now. The audit row is about the agent, so
/// that every caller that may read the agent sees it.
async fn decided(write: &Write<'_>, before: AccessRequest, kind: EventKind, data: Json) -> Result<Done, ApiError> {
    write.emit(Event::of_agent(kind, &before.agent.id).data(data.clone())).await?;
    let now = access_request::get(&write.tx, write.caller.subject(), before.id.as_str(), write.now()).await?;
    let audited = json!({ "request": before.id, "state": before.state, "scope": before.scope });
    Ok(Answer::ok(&now)?.audited(before.agent.id, audited, data))
}

fn already_decided(found: &AccessRequest) -> ApiError {
    let state = found.state.as_str();
    let detail = format!("This request is already {state}.");
    Code::AlreadyDecided.detail(detail).with("request", found.id.as_str()).extra("state", state)
}

form! {
    pub(crate) struct Approve {
        scope: Option<ScopeList>,
        hours: Option<i64>,
    }
}

/// `POST /api/access-requests/{id}/approve`: all of it or a part, for as long as was asked or as the approver says.
pub(crate) async fn approve(change: Change<Body<Approve>>, Path(id): Path) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let scope = body.scope.as_ref().map(|ScopeList(scope)| change.caller.read_scope(scope)).transpose()?;
    let given = body.hours.map(hours).transpose()?;
    decide(change, &id, async |write, found| {
        let granted = approvable(&write.caller, &found, scope)?;
        if is_wide(&write.caller, &granted) {
            write.require_fresh()?;
        }
        let ends_at = write.now().plus_seconds(given.unwrap_or(found.hours) * 3600);
        let by = write.caller.user_id();
        if !access_request::approve(&write.tx, &found.id, &granted, ends_at, by, write.now()).await? {
            return Err(already_decided(&found));
        }
        let data = json!({ "request": found.id, "scope": granted, "ends_at": ends_at });
        decided(write, found, EventKind::AccessApproved, data).await
    })
    .await
}

/// The scopes to be approved: all that were asked for, or those that the approver names; never more than was asked for,
/// than the owner's role lets the agent use, and than the approver can use.
fn approvable(caller: &Caller, found: &AccessRequest, scope: Option<Patterns>) -> Result<Patterns, ApiError> {
    let requested = found.scope.scopes(caller.custom_scopes());
    let wanted = scope.map_or_else(|| requested.clone(), |scope| scope.scopes(caller.custom_scopes()));
    let possible = requested.and(&grantable(caller, found.role)).and(&caller.scopes());
    let excess = wanted.clone().without(&possible);
    // A request whose custom scopes were all deleted asks for nothing any more.
    if excess.is_empty() && !wanted.is_empty() {
        return Ok(wanted.to_patterns());
    }
    let left = wanted.and(&possible);
    let excess: Vec<String> = excess.all_names().into_iter().map(str::to_owned).collect();
    Err(Code::ApprovalTooWide
        .detail(format!("These scopes cannot be approved: {}.", excess.join(", ")))
        .with("rest", rest(&left))
        .with("request", found.id.as_str())
        .extra("excess_scopes", excess))
}

/// Whether an approval amounts to `agents.*` or more: to every scope over agents that can be approved.
fn is_wide(caller: &Caller, granted: &Patterns) -> bool {
    let lasting = std::iter::once(Scope::AgentsShare).collect();
    let all = Scopes::stored("agents.*", caller.custom_scopes()).for_agents();
    let all = all.without(&Scopes { known: lasting, custom: Vec::new() });
    all.without(&granted.scopes(caller.custom_scopes())).is_empty()
}

form! {
    pub(crate) struct Deny {
        reason: Option<String>,
    }
}

/// `POST /api/access-requests/{id}/deny`.
pub(crate) async fn deny(change: Change<Body<Deny>>, Path(id): Path) -> Result<Response, ApiError> {
    let reason = change.input.0.reason.as_deref().map(|reason| prose("reason", reason, REASON)).transpose()?;
    decide(change, &id, async |write, found| {
        if !access_request::deny(&write.tx, &found.id, write.caller.user_id(), write.now()).await? {
            return Err(already_decided(&found));
        }
        let data = json!({ "request": found.id, "scope": found.scope, "reason": reason });
        decided(write, found, EventKind::AccessDenied, data).await
    })
    .await
}

/// `POST /api/access-requests/{id}/revoke`: withdraws an approval, from the agent's next request on. A request that was revoked or has
/// ended is answered as it is.
pub(crate) async fn revoke(change: Change<Body<Empty>>, Path(id): Path) -> Result<Response, ApiError> {
    decide(change, &id, async |write, found| {
        if !access_request::revoke(&write.tx, &found.id, write.caller.user_id(), write.now()).await? {
            return match found.state {
                AccessRequestState::Revoked | AccessRequestState::Ended => Ok(Answer::ok(&found)?.unchanged()),
                _ => Err(Code::NothingApproved.with("request", found.id.as_str()).extra("state", found.state.as_str())),
            };
        }
        let data = json!({ "request": found.id, "scope": found.granted, "reason": Null, "revoked": true });
        decided(write, found, EventKind::AccessEnded, data).await
    })
    .await
}

#[cfg(test)]
mod tests;
