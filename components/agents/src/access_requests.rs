//! Requests for access: an agent asks for a scope that it lacks, and a person approves it once, for some hours or for good, for this agent
//! alone.
//!
//! 1. The agent asks, and can name the one request that it is for. A scope that no approval could let it use is refused at once, and what
//!    was denied lately; asking twice for the same makes one request.
//! 2. Its owner, or an admin, approves all or a part of it, or denies it, with a session. Of several decisions at once, one statement
//!    lets one through.
//! 3. An approved scope counts for the agent's token from the next request on, until its end or until a person revokes it. It outlives
//!    the token, and nothing can be minted from it. One for a single request counts for nothing else: that request spends it
//!    (`service::once`).

use common::{
    error::{ApiError, Code, Flaws},
    event::EventKind,
    exact::Exact,
    id::{AccessRequestId, AgentId},
    role::Role,
    route::{Access, Route},
    scope::{Patterns, Scope, Scopes},
    secret::Kind,
    text::{isolated, part, prose, within},
    time::Timestamp,
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
    form::{Field, Nullable, Object, PageQuery, nested},
    guard, missing,
    response::{Response, json},
    watch::{Follow, Watch},
};
use store::{
    access_request::{
        self, AccessRequest, AccessRequestState, ExactRequest, Filter, InsertOutcome, Lasts, MOST_REASON, Open, Wanted,
    },
    db::Rows,
    notification, outbox,
    page::Order,
};

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
    /// The one request that an agent asks for.
    pub(crate) struct Named {
        method: String,
        path: String,
        body_sha256: Option<Nullable<String>>,
        body: Option<Nullable<String>>,
    }
}

form! {
    pub(crate) struct Ask {
        scope: Option<ScopeList>,
        reason: String,
        hours: Option<i64>,
        r#for: Option<Object<Named>>,
    }
}

/// What is asked for: the one request, if one is named, and the scopes; without any those that the request needs by its row.
fn asked(body: &Ask) -> Result<(Option<Exact>, Vec<String>), ApiError> {
    let exact = body.r#for.as_ref().map(exact).transpose()?;
    let scope = match (&body.scope, &exact) {
        (Some(ScopeList(scope)), _) => scope.clone(),
        (None, Some(exact)) => needed(exact).first().map(|scope| scope.as_str().to_owned()).into_iter().collect(),
        (None, None) => return Err(ApiError::field("scope", format!("is missing: {}", ScopeList::EXPECTED))),
    };
    let of_row = exact.as_ref().map(needed).unwrap_or_default();
    let is_foreign = |name: &&String| exact.is_some() && !of_row.iter().any(|scope| scope.as_str() == name.as_str());
    match scope.iter().find(is_foreign) {
        Some(name) => Err(ApiError::field("scope", format!("holds {name}, which the request in for does not need"))),
        None => Ok((exact, scope)),
    }
}

fn exact(named: &Object<Named>) -> Result<Exact, ApiError> {
    let named: Named = nested("for.", named.members.clone())?;
    let (digest, text) =
        (named.body_sha256.and_then(|Nullable(digest)| digest), named.body.and_then(|Nullable(text)| text));
    let exact = Exact::new(&named.method, &named.path, digest.as_deref())
        .map_err(|(member, problem)| ApiError::field(format!("for.{member}"), problem))?;
    match text {
        None => Ok(exact),
        Some(text) => missing::show(exact, &text),
    }
}

/// The scopes that a request can be refused for: that of its row first, and those of the fields that its body may have.
fn needed(exact: &Exact) -> Vec<Scope> {
    let of_row = match exact.route().access {
        Access::Scope(scope) => Some(scope),
        Access::Public | Access::Credential => None,
    };
    of_row.into_iter().chain(exact.route().fields.iter().filter_map(|field| field.scope)).collect()
}

/// `POST /api/access-requests`: the agent asks, and its owner is notified. The same open request is the same row.
pub(crate) async fn ask(change: Change<Body<Ask>>) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let (exact, scope) = asked(body)?;
    if scope.iter().any(|pattern| pattern == "*") {
        let detail = "An agent cannot ask for everything: the people who decide must see what it is for.";
        let rest = "Name the scopes that you need: missing_scopes of a refusal has them, and GET /api/scopes lists all with their routes. ";
        return Err(Code::ScopeNotGrantable.detail(detail).with("rest", rest));
    }
    let mut flaws = Flaws::default();
    flaws.check("scope", change.caller.read_scope(&scope)); // read again under the lock: a custom scope may be deleted meanwhile
    let reason = flaws.check("reason", prose("reason", &body.reason, MOST_REASON));
    let hours = flaws.check("hours", hours(body.hours.unwrap_or(HOURS)));
    let (Some(reason), Some(hours)) = (reason, hours) else { return Err(flaws.refusal()) };
    flaws.end()?;
    change
        .run(async |write, Body(_)| {
            let (caller, exact) = (&write.caller, exact.as_ref());
            let agent = caller.agent_id().ok_or(Code::AgentRequired)?;
            // One by one and sorted, so that the same request is the same text; scopes that are defined later are not part of it.
            let scope = caller.read_scope(&scope)?.scopes(caller.custom_scopes());
            may_ask(caller, &scope)?;
            check_lacks(write, agent, &scope, hours).await?;
            may_name(write, exact).await?;
            if let Some(denied) = missing::denied(&write.tx, caller, &scope, exact, write.now()).await? {
                let said = missing::said(&denied.by, denied.reason.as_deref());
                let refusal = Code::RecentlyDenied.detail(said).with("until", missing::until(denied.at));
                return Err(refusal.extra("request", denied.id));
            }
            let (scope, replaced, covering) = merged(write, agent, (scope, exact), hours).await?;
            let id = AccessRequestId::generate(write.now(), write.app().chance());
            let scope = scope.to_patterns();
            let now = write.now();
            let new = access_request::New { id: &id, agent, scope: &scope, reason: &reason, hours, exact, now };
            let get = async |id: &str| -> Result<AccessRequest, ApiError> {
                Ok(shown(caller, access_request::get(&write.tx, caller.subject(), id, write.now()).await?))
            };
            for open in &replaced {
                settle(write, agent, &open.id).await?;
                access_request::withdraw(&write.tx, &open.id).await?;
            }
            let replaces: Vec<String> = replaced.into_iter().map(|open| open.id).collect();
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
            let mut after =
                json!({ "request": id, "scope": scope, "reason": reason, "hours": hours, "replaces": replaces });
            name(&mut after, exact);
            let asked = AccessRequest { replaces, ..get(id.as_str()).await? };
            Ok(Answer::created(&asked)?.audited(agent, Null, after))
        })
        .await
}

/// Adds the one request that is asked for or approved to what is told of it.
fn name(told: &mut Json, exact: Option<&Exact>) {
    if let (Some(members), Some(exact)) = (told.as_object_mut(), exact) {
        members.insert("for".to_owned(), json!(ExactRequest::of(exact)));
    }
}

/// Refuses to ask for a request that an approval would not help: the agent may not do it with what the path names.
async fn may_name(write: &Write<'_>, exact: Option<&Exact>) -> Result<(), ApiError> {
    let Some(exact) = exact else { return Ok(()) };
    let names = exact.names();
    match missing::lacking_relation(&write.tx, &write.caller, (exact.route(), &names), write.now()).await? {
        None => Ok(()),
        Some(why) => Err(Code::ScopeNotGrantable
            .detail(format!("An approval would not help: {why}"))
            .with("rest", String::new())),
    }
}

/// The request as the caller sees it: the agent that asks reads what it does next.
fn shown(caller: &Caller, request: AccessRequest) -> AccessRequest {
    match caller.agent_id() == Some(&request.agent.id) {
        true => AccessRequest { next: Some(next(caller, &request)), ..request },
        false => request,
    }
}

/// What the agent does next. Of its credentials only its own token gets what is approved.
fn next(caller: &Caller, request: &AccessRequest) -> String {
    let what =
        if caller.credential_kind() == Kind::ApiKey && caller.federated().is_none() { "key" } else { "credential" };
    let counts = format!("It counts for the agent's token and not for this {what}");
    match request.state {
        _ if caller.takes_approvals() => {}
        AccessRequestState::Open => return format!("{} {counts}.", next_with_token(request)),
        AccessRequestState::Approved => return format!("{counts}, with which the same request is refused again."),
        _ => {}
    }
    next_with_token(request)
}

fn next_with_token(request: &AccessRequest) -> String {
    let again = match &request.exact {
        None => "Send the request that was refused again".to_owned(),
        Some(exact) => {
            let same = if exact.body().is_some() { " with the same body" } else { "" };
            format!("Send {} {} again{same}", exact.route().method, exact.path())
        }
    };
    match (request.state, request.lasts) {
        (AccessRequestState::Open, _) => {
            let (id, owner) = (&request.id, &request.owner);
            format!("Wait for the decision of {owner} or an admin: GET /api/access-requests/{id}?wait=25.")
        }
        (AccessRequestState::Approved, Some(Lasts::Once)) => match request.ends_at {
            Some(end) => format!("{again}, once, before {end}."),
            None => format!("{again}, once."),
        },
        (AccessRequestState::Approved, _) => format!("{again}."),
        (AccessRequestState::Denied, _) => match request.decided_by.as_ref().zip(request.decided_at) {
            Some((by, at)) => {
                let (said, until) = (missing::said(by, request.denial_reason.as_deref()), missing::until(at));
                format!("{said} Do not ask for it again before {until}. Go on with something else.")
            }
            None => "Nobody can approve it any more. Go on with something else.".to_owned(),
        },
        (AccessRequestState::Spent, _) => {
            "You have sent it. With the same Idempotency-Key you get its answer again; to do it once more, ask again."
                .to_owned()
        }
        (AccessRequestState::Revoked | AccessRequestState::Ended, _) => {
            let scope = json!(request.scope);
            format!(
                "The approval has ended. If you still need it, ask again: POST /api/access-requests {{\"scope\": {scope}, \"reason\": \"…\"}}."
            )
        }
    }
}

/// What becomes of a request beside the agent's open ones: its scopes with those of the open ones that it overlaps, which it replaces; or
/// the open one that covers it, for as long at least. One that replaces others has an id of its own, so that nobody approves by an id more
/// than they have read there.
async fn merged(
    write: &Write<'_>,
    agent: &AgentId,
    (scope, exact): (Scopes, Option<&Exact>),
    hours: i64,
) -> Result<(Scopes, Vec<Open>, Option<Open>), ApiError> {
    let custom = write.caller.custom_scopes();
    let mut open = access_request::open(&write.tx, agent).await?;
    // One for a single request is beside none but those for the same.
    open.retain(|open| open.exact.as_ref() == exact);
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
        write.caller.check_for_itself(&write.tx).await?;
        if !access_request::withdraw(&write.tx, found.id.as_str()).await? {
            return Err(already_decided(&found));
        }
        settle(write, &found.agent.id, found.id.as_str()).await?;
        let before = json!({ "request": found.id, "scope": found.scope, "reason": found.reason, "hours": found.hours });
        Ok(Answer::no_content().audited(found.agent.id, before, Null))
    })
    .await
}

/// Refuses a request that is fulfilled already. One that is for longer, since less than half of its hours is left, prolongs the approval.
async fn check_lacks(write: &Write<'_>, agent: &AgentId, scope: &Scopes, hours: i64) -> Result<(), ApiError> {
    let caller = &write.caller;
    // An approval counts for the agent's token, which may lack what another of its credentials carries.
    if caller.credential_kind() != Kind::AgentToken || !scope.clone().without(&caller.scopes()).is_empty() {
        return Ok(());
    }
    let enough = write.now().plus_seconds(hours * 3600 / 2);
    let running = access_request::running(&write.tx, agent, write.now()).await?;
    let lasting = running.iter().filter(|approval| approval.ends_at >= enough);
    let lasting =
        lasting.fold(caller.mintable(), |all, approval| all.or(approval.granted.scopes(caller.custom_scopes())));
    if scope.clone().without(&lasting).is_empty() { Err(Code::AlreadyGranted.into()) } else { Ok(()) }
}

/// Ends the approvals that this one covers and outlasts, which it prolongs: they are revoked with it, and nobody is told of their end. Gives
/// the ids of their requests.
async fn replace(
    write: &Write<'_>,
    found: &AccessRequest,
    granted: &Patterns,
    ends_at: Timestamp,
) -> Result<Vec<String>, ApiError> {
    let custom = write.caller.custom_scopes();
    let granted = granted.scopes(custom);
    let mut replaced = Vec::new();
    for approval in access_request::running(&write.tx, &found.agent.id, write.now()).await? {
        let is_covered = approval.granted.scopes(custom).without(&granted).is_empty();
        if approval.id != found.id.as_str() && approval.ends_at <= ends_at && is_covered {
            access_request::replace(&write.tx, &approval.id, write.now()).await?;
            replaced.push(approval.id);
        }
    }
    Ok(replaced)
}

/// Refuses a request that no approval could fulfil.
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
    Ok(())
}

/// Notifies the owner, and mails the owner and the admins, where there is mail.
async fn tell(write: &Write<'_>, new: &access_request::New<'_>) -> Result<(), ApiError> {
    let caller = &write.caller;
    let agent_name = caller.agent().map_or("", |(name, _)| name);
    let title = format!("{agent_name} asks for access");
    // The agent's words stand in quotes and on one line, so that they cannot pass for the server's.
    let reason = new.reason.replace(char::is_whitespace, " ");
    let reason = isolated(&reason);
    let (scope, hours, id) = (new.scope.to_column(), new.hours, new.id);
    let exact = new.exact.map(|exact| format!("For: {} ({} {})\n", exact.words(), exact.route().method, exact.path()));
    let exact = exact.unwrap_or_default();
    let body = format!(
        "{exact}Scope: {scope}\nHours: {hours}\nReason, in the agent's words: \"{reason}\"\nTo decide, send POST /api/access-requests/{id}/approve or POST /api/access-requests/{id}/deny.",
    );
    let agent = caller.agent_id().ok_or(Code::AgentRequired)?;
    let event =
        Event::of_agent(EventKind::AccessRequested, agent).saying(title, body).leading_to(format!("/access/{id}"));
    let mut told = json!({ "request": id, "scope": new.scope, "hours": hours });
    name(&mut told, new.exact);
    let mut data = json!({ "agent": agent_name, "request": id, "scope": scope, "hours": hours });
    if let (Some(members), Some(exact)) = (data.as_object_mut(), new.exact) {
        members.insert("action".to_owned(), exact.own_words().into());
    }
    write.emit(event.data(told).mailing(outbox::Kind::AccessRequest, data)).await.map(drop)
}

form! {
    pub(crate) struct List {
        q: Option<String>,
        state: Option<String>,
        agent: Option<String>,
        owner: Option<String>,
        sort: Option<String>,
        ..page: PageQuery,
    }
}

/// Whether the caller may read requests. What agents ask for, why and with which body is the business of a person's token only if it may
/// read agents; an agent reads its own without a scope.
pub(crate) fn may_read(caller: &Caller) -> bool {
    caller.agent_id().is_some() || caller.scope().contains(Scope::AgentsRead)
}

fn check_read(caller: &Caller) -> Result<(), ApiError> {
    if may_read(caller) { Ok(()) } else { caller.require(Scope::AgentsRead) }
}

/// `GET /api/access-requests`: an agent sees its own requests and those of the agents below it; a person sees the requests that they
/// decide about.
pub(crate) async fn list(app: App, caller: Caller, Query(query): Query<List>) -> Result<Response, ApiError> {
    check_read(&caller)?;
    let q = part(query.q.as_deref())?;
    let state = query.state.as_deref().map(state).transpose()?;
    let wanted = caller.page(&app, &query.page)?;
    let order = Order::read(query.sort.as_deref())?;
    let owner = caller.named("owner", query.owner.as_deref())?;
    let filter = Filter { q: q.as_deref(), state, agent: query.agent.as_deref(), owner, order };
    let rows = access_request::list(app.db(), caller.subject(), &filter, &wanted, app.now()).await?;
    let rows: Vec<AccessRequest> = rows.into_iter().map(|row| shown(&caller, row)).collect();
    let place = |row: &AccessRequest| (row.created_at, row.id.to_string(), row.agent.name.clone());
    json(StatusCode::OK, &wanted.ordered(rows, order, place))
}

fn state(word: &str) -> Result<Wanted, ApiError> {
    let words = AccessRequestState::ALL.map(AccessRequestState::as_str).join(", ");
    let unknown = || Code::InvalidFilter.with("field", "state").with("valid", format!("{words}, {}", Wanted::DECIDED));
    Wanted::from_word(word).ok_or_else(unknown)
}

/// `GET /api/access-requests/{id}?wait=`: one request. With `wait` it answers as soon as somebody has decided, or when that many seconds are
/// over; also an agent that is halted. A request that a wider one has taken in is that one.
pub(crate) async fn get(
    app: App,
    route: &'static Route,
    mut caller: Caller,
    Path(id): Path,
    Query(query): Query<Follow>,
) -> Result<Response, ApiError> {
    check_read(&caller)?;
    let mut watch = Watch::begin(&app, &caller, query.wait).await?;
    loop {
        let found = find(&app, &caller, &id).await?;
        if found.state != AccessRequestState::Open || watch.is_over() {
            return json(StatusCode::OK, &shown(&caller, found));
        }
        watch.wait(&app).await?;
        caller = caller.reload(app.db(), app.clock().now()).await?;
        guard::admit(&app, &caller, route)?;
    }
}

/// A request that other requests have taken in is followed so far.
const MOST_TAKEN_IN: usize = 20;

/// The request with this id, or the one that has taken it in: mails and links go on leading to what waits for a decision. It is decided about by
/// its own id alone.
async fn find(app: &App, caller: &Caller, id: &str) -> Result<AccessRequest, ApiError> {
    let get = async |id: &str| access_request::get(app.db(), caller.subject(), id, app.clock().now()).await;
    let mut found = get(id).await;
    let mut next = id.to_owned();
    for _ in 0..MOST_TAKEN_IN {
        match &found {
            Err(refusal) if refusal.code() == Code::RequestNotFound => {}
            _ => break,
        }
        let Some(taken_in_by) = access_request::taken_in_by(app.db(), caller.tenant_id(), &next).await? else { break };
        next = taken_in_by;
        found = get(&next).await;
    }
    let found = found?;
    let replaces = if found.id.as_str() == id { Vec::new() } else { vec![id.to_owned()] };
    Ok(AccessRequest { replaces, ..found })
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
    settle(write, &before.agent.id, before.id.as_str()).await?;
    write.emit(Event::of_agent(kind, &before.agent.id).data(data.clone())).await?;
    let now = access_request::get(&write.tx, write.caller.subject(), before.id.as_str(), write.now()).await?;
    let audited = json!({ "request": before.id, "state": before.state, "scope": before.scope });
    Ok(Answer::ok(&now)?.audited(before.agent.id, audited, data))
}

/// What told of the request asks nobody for a decision any more.
async fn settle(write: &Write<'_>, agent: &AgentId, id: &str) -> Result<(), ApiError> {
    let page = format!("/access/{id}");
    notification::settle(&write.tx, write.caller.tenant_id(), agent, &page, write.now()).await?;
    Ok(())
}

fn already_decided(found: &AccessRequest) -> ApiError {
    let state = found.state.as_str();
    let detail = format!("This request is already {state}.");
    Code::AlreadyDecided.detail(detail).with("request", found.id.as_str()).extra("state", state)
}

/// For how long, in a body.
pub(crate) struct LastsWord(Lasts);

impl Field for LastsWord {
    const EXPECTED: &'static str = "once, hours or always";

    fn schema() -> Json {
        json!({ "type": "string", "enum": Lasts::ALL.map(Lasts::as_str) })
    }

    fn from_json(value: Json) -> Option<Self> {
        Lasts::ALL.into_iter().find(|lasts| Some(lasts.as_str()) == value.as_str()).map(Self)
    }
}

form! {
    pub(crate) struct Approve {
        scope: Option<ScopeList>,
        lasts: Option<LastsWord>,
        hours: Option<i64>,
    }
}

/// `POST /api/access-requests/{id}/approve`: all of it or a part; once, for as long as was asked or as the approver says, or for good.
pub(crate) async fn approve(change: Change<Body<Approve>>, Path(id): Path) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let scope = body.scope.as_ref().map(|ScopeList(scope)| change.caller.read_scope(scope)).transpose()?;
    let given = body.hours.map(hours).transpose()?;
    let lasts = body.lasts.as_ref().map_or(Lasts::Hours, |LastsWord(lasts)| *lasts);
    if lasts == Lasts::Always && given.is_some() {
        return Err(ApiError::field("hours", "means nothing beside \"lasts\": \"always\": leave it out"));
    }
    decide(change, &id, async |write, found| {
        let granted = approvable(&write.caller, &found, scope)?;
        match lasts {
            Lasts::Once if found.exact.is_none() => {
                let problem = "cannot be once: the agent has named no request, so send hours or always";
                return Err(ApiError::field("lasts", problem));
            }
            Lasts::Always => check_ceiling(&write.caller, &found, &granted)?,
            Lasts::Once | Lasts::Hours => {}
        }
        if is_wide(&write.caller, &granted) {
            write.require_fresh()?;
        }
        let ends_at = write.now().plus_seconds(given.unwrap_or(found.hours) * 3600);
        let by = write.caller.user_id();
        if !access_request::approve(&write.tx, &found.id, (&granted, lasts), ends_at, by, write.now()).await? {
            return Err(already_decided(&found));
        }
        let replaced = match lasts {
            Lasts::Hours => replace(write, &found, &granted, ends_at).await?,
            Lasts::Once | Lasts::Always => Vec::new(),
        };
        let ends_at = (lasts != Lasts::Always).then_some(ends_at);
        let mut data = json!({ "request": found.id, "scope": granted, "lasts": lasts, "ends_at": ends_at });
        name(&mut data, found.exact.as_ref());
        if let Some(members) = data.as_object_mut().filter(|_| !replaced.is_empty()) {
            members.insert("replaces".to_owned(), json!(replaced));
        }
        decided(write, found, EventKind::AccessApproved, data).await
    })
    .await
}

/// Refuses to approve for good what the agent's ceiling lacks: a wider ceiling is a change of its own, which everybody sees at the agent.
fn check_ceiling(caller: &Caller, found: &AccessRequest, granted: &Patterns) -> Result<(), ApiError> {
    let custom = caller.custom_scopes();
    let beyond = granted.scopes(custom).without(&found.ceiling.scopes(custom));
    if beyond.is_empty() {
        return Ok(());
    }
    let wider: Vec<String> = format!("{} {}", found.ceiling.to_column(), beyond.to_patterns().to_column())
        .split_ascii_whitespace()
        .map(str::to_owned)
        .collect();
    let rest = format!(
        "Send the same request with \"lasts\": \"hours\", or widen the ceiling first: PATCH /api/agents/{} {{\"scope\": {}}}. ",
        found.agent.name,
        json!(wider)
    );
    let detail = format!("The agent's ceiling lacks {}, and nothing is approved for good beyond it.", names(&beyond));
    let excess: Vec<String> = beyond.all_names().into_iter().map(str::to_owned).collect();
    Err(Code::ApprovalTooWide
        .detail(detail)
        .with("rest", rest)
        .with("request", found.id.as_str())
        .extra("excess_scopes", excess))
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
    let reason = change.input.0.reason.as_deref().map(|reason| prose("reason", reason, MOST_REASON)).transpose()?;
    decide(change, &id, async |write, found| {
        if !access_request::deny(&write.tx, &found.id, reason.as_deref(), write.caller.user_id(), write.now()).await? {
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
                AccessRequestState::Revoked | AccessRequestState::Ended | AccessRequestState::Spent => {
                    Ok(Answer::ok(&found)?.unchanged())
                }
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
