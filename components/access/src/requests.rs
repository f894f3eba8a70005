//! What an agent may not do it can ask for, and a person decides: for some hours, and as the agent's alone.
//!
//! 1. The agent asks. What no approval could ever let it use is refused at once; who asks the same again has asked once.
//! 2. Its owner, or an admin, approves all or a part of it, or denies it, with a session. One statement decides, whoever else
//!    is deciding.
//! 3. What was approved counts for the agent's token from the next request on, until its end or until somebody revokes it.
//!    It outlives the token, and nothing can be minted from it.

use axum::{http::StatusCode, response::Response};
use common::{
    caller::Caller,
    db::Tx,
    error::{ApiError, Code},
    form,
    form::{Ask, Field, Nothing, Params},
    http::{App, Segment, json, prose, within},
    id::{AccessRequestId, NotificationId},
    idempotency::Answer,
    page::Wanted,
    route,
    scope::{Patterns, Role, Scope, Scopes},
    secret::Kind,
    store::{
        access::{self, AccessRequest, Asked},
        inbox, notification,
    },
    write::{Begun, Write},
};
use serde_json::{Value as Json, Value::Null, json};

/// Characters of a reason.
const REASON: usize = 500;
/// Hours that are asked for when nobody says how many, and the most.
const HOURS: i64 = 24;
const MOST_HOURS: i64 = 720;

/// Patterns as a text with blanks between them, as in an OAuth `scope`, or as a list of texts.
pub(crate) struct Wished(Vec<String>);

impl Field for Wished {
    const EXPECTED: &'static str = "a text of scopes with blanks between them, or a list of texts";

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
    Scopes::of_role(role, caller.defined()).for_agents()
}

/// What can be sent instead, as the beginning of a fix; empty when nothing is left.
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
    pub(crate) struct AskFor {
        scope: Wished,
        reason: String,
        hours: Option<i64>,
    }
}

/// `POST /api/access-requests`: the agent asks, and its owner is told. The same open request is the same row.
pub(crate) async fn ask(app: App, caller: Caller, ask: Ask<AskFor>) -> Result<Response, ApiError> {
    let body = ask.body;
    caller.read_scope(&body.scope.0)?; // read again below: a custom scope may be taken away meanwhile
    let reason = prose("reason", &body.reason, REASON)?;
    let hours = hours(body.hours.unwrap_or(HOURS))?;
    let write = match app.write(route::ACCESS_ASK, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let caller = &write.caller;
    let Some(agent) = caller.agent_id() else { return Err(Code::AgentRequired.into()) };
    // One by one and sorted, so that the same wish is the same text; and what is defined later is not part of it.
    let scope = caller.read_scope(&body.scope.0)?.scopes(caller.defined());
    may_ask(caller, &scope)?;
    let id = AccessRequestId::generate(app.now(), app.chance());
    let scope = scope.to_patterns();
    let new = access::New { id: &id, agent, scope: &scope, reason: &reason, hours, now: app.now() };
    match access::insert(&write.tx, &new).await? {
        Asked::Done => {}
        Asked::Already(id) => {
            let open = access::get(&write.tx, caller, &id, app.now()).await?;
            return json(StatusCode::OK, &open); // nothing changes, so there is nothing to audit
        }
        Asked::TooMany => return Err(Code::TooManyRequests.with("owner", caller.email())),
    }
    tell_owner(&app, &write.tx, caller, &new).await?;
    let asked = access::get(&write.tx, caller, id.as_str(), app.now()).await?;
    let after = json!({ "request": id, "scope": scope, "reason": reason, "hours": hours });
    let answer = Answer::json(StatusCode::CREATED, &asked)?;
    let agent = agent.clone();
    write.finish(agent.as_str(), Null, after, answer).await
}

/// Refuses a wish that no approval could fulfil, and one that is fulfilled already.
fn may_ask(caller: &Caller, scope: &Scopes) -> Result<(), ApiError> {
    let is_never = |at: &Scope| scope.known.contains(*at) && caller.kind_for(*at).is_err();
    let never = Scopes { known: Scope::ALL.iter().copied().filter(is_never).collect(), custom: Default::default() };
    // What is shared stays shared when the approval has ended.
    let lasting = Scopes { known: std::iter::once(Scope::AgentsShare).collect(), custom: Vec::new() }.and(scope);
    let usable = scope.clone().without(&never).without(&lasting);
    let left = usable.clone().and(&grantable(caller, caller.role()));
    let beyond = usable.without(&left);
    if !never.is_empty() || !lasting.is_empty() || !beyond.is_empty() {
        let (mut why, mut next) = (Vec::new(), Vec::new());
        let owner = caller.email();
        if !lasting.is_empty() {
            why.push(format!("{} is not given for a while: a grant outlasts it.", names(&lasting)));
            next.push(format!("{owner} can send {}. ", caller.steps_to_sharing()));
        }
        if !never.is_empty() {
            why.push(format!("Only people can use {}.", names(&never)));
            next.push(format!("Ask {owner} to do what only people may do. "));
        }
        if !beyond.is_empty() {
            why.push(format!("The role {} of your owner lacks {}.", caller.role().as_str(), names(&beyond)));
            next.push(format!(
                "What the role of {owner} lacks can be asked for once an admin of your tenant has raised that role. "
            ));
        }
        return Err(Code::ScopeNotGrantable.detail(why.join(" ")).with("rest", rest(&left) + &next.concat()));
    }
    // What a key lacks the token may have: only a token is told.
    if caller.credential_kind() == Kind::AgentToken && scope.clone().without(&caller.scopes()).is_empty() {
        return Err(Code::AlreadyGranted.into());
    }
    Ok(())
}

async fn tell_owner(app: &App, tx: &Tx<'_>, caller: &Caller, new: &access::New<'_>) -> Result<(), ApiError> {
    let name = caller.agent().map_or("", |(name, _)| name);
    let title = format!("{name} asks for access");
    // The agent's words stand in quotes and on one line: nobody takes them for the server's.
    let reason = new.reason.replace(char::is_whitespace, " ");
    let (scope, hours, id) = (new.scope.to_column(), new.hours, new.id);
    let body = format!(
        "Scope: {scope}\nHours: {hours}\nIn its own words: \"{reason}\"\nTo decide: POST /api/access-requests/{id}/approve or /api/access-requests/{id}/deny",
    );
    let id = NotificationId::generate(app.now(), app.chance());
    notification::tell(tx, &id, caller.tenant_id(), caller.user_id(), (&title, &body), app.now()).await?;
    Ok(())
}

form! {
    pub(crate) struct List {
        state: Option<String>,
        agent: Option<String>,
        limit: Option<i64>,
        cursor: Option<String>,
    }
}

/// `GET /api/access-requests`: an agent sees its own and those of the agents below it; a person those that he decides about.
pub(crate) async fn list(app: App, caller: Caller, Params(ask): Params<List>) -> Result<Response, ApiError> {
    let (state, agent) = (ask.state.as_deref(), ask.agent.as_deref());
    if state.is_some_and(|state| !access::STATES.contains(&state)) {
        return Err(Code::InvalidFilter.with("field", "state").with("valid", access::STATES.join(", ")));
    }
    let filters = ["access", state.unwrap_or_default(), agent.unwrap_or_default()];
    let wanted = Wanted::read(&caller, ask.limit, ask.cursor.as_deref(), &filters)?;
    let rows = access::list(app.db(), &caller, (state, agent), &wanted, app.now()).await?;
    json(StatusCode::OK, &wanted.page(rows, |row| (row.created_at, row.id.to_string())))
}

/// `GET /api/access-requests/{id}`: one request.
pub(crate) async fn get(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, ApiError> {
    json(StatusCode::OK, &access::get(app.db(), &caller, &id, app.now()).await?)
}

form! {
    pub(crate) struct Approve {
        scope: Option<Wished>,
        hours: Option<i64>,
    }
}

/// `POST /api/access-requests/{id}/approve`: all of it or a part, for as long as was asked or as the approver says.
pub(crate) async fn approve(
    app: App,
    caller: Caller,
    Segment(id): Segment,
    ask: Ask<Approve>,
) -> Result<Response, ApiError> {
    let scope = ask.body.scope.map(|Wished(scope)| caller.read_scope(&scope)).transpose()?;
    let given = ask.body.hours.map(hours).transpose()?;
    access::get(app.db(), &caller, &id, app.now()).await?; // early 404 or 403; decided again below
    let write = match app.write(route::ACCESS_APPROVE, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let caller = &write.caller;
    let found = access::get(&write.tx, caller, &id, app.now()).await?;
    let granted = approvable(caller, &found, scope)?;
    let ends_at = app.now().plus_seconds(given.unwrap_or(found.hours) * 3600);
    if !access::approve(&write.tx, &found.id, &granted, ends_at, caller.user_id(), app.now()).await? {
        return Err(decided(&found));
    }
    let told = json!({ "request": found.id, "scope": granted, "ends_at": ends_at });
    inbox::push(&write.tx, &found.agent.id, "scope_granted", &told, app.now()).await?;
    finish(&app, write, found, told).await
}

/// What is to be approved: all that was asked for, or what the approver says; never more than was asked for, than the owner's
/// role lets the agent use, and than the approver may use himself.
fn approvable(caller: &Caller, found: &AccessRequest, scope: Option<Patterns>) -> Result<Patterns, ApiError> {
    let requested = found.scope.scopes(caller.defined());
    let wanted = scope.map_or_else(|| requested.clone(), |scope| scope.scopes(caller.defined()));
    let possible = requested.and(&grantable(caller, found.role)).and(&caller.scopes());
    let excess = wanted.clone().without(&possible);
    // Nothing is wanted of a request whose custom scopes were all taken away.
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

form! {
    pub(crate) struct Deny {
        reason: Option<String>,
    }
}

/// `POST /api/access-requests/{id}/deny`.
pub(crate) async fn deny(app: App, caller: Caller, Segment(id): Segment, ask: Ask<Deny>) -> Result<Response, ApiError> {
    let reason = ask.body.reason.map(|reason| prose("reason", &reason, REASON)).transpose()?;
    access::get(app.db(), &caller, &id, app.now()).await?; // early 404 or 403; decided again below
    let write = match app.write(route::ACCESS_DENY, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let found = access::get(&write.tx, &write.caller, &id, app.now()).await?;
    if !access::deny(&write.tx, &found.id, write.caller.user_id(), app.now()).await? {
        return Err(decided(&found));
    }
    let told = json!({ "request": found.id, "scope": found.scope, "reason": reason });
    inbox::push(&write.tx, &found.agent.id, "access_denied", &told, app.now()).await?;
    finish(&app, write, found, told).await
}

/// `POST /api/access-requests/{id}/revoke`: takes back what was approved, from the agent's next request on. What was revoked or
/// has ended is answered as it is.
pub(crate) async fn revoke(
    app: App,
    caller: Caller,
    Segment(id): Segment,
    _: Ask<Nothing>,
) -> Result<Response, ApiError> {
    access::get(app.db(), &caller, &id, app.now()).await?; // early 404 or 403; decided again below
    let write = app.relieve(route::ACCESS_REVOKE, &caller).await?;
    let found = access::get(&write.tx, &write.caller, &id, app.now()).await?;
    if !access::revoke(&write.tx, &found.id, write.caller.user_id(), app.now()).await? {
        return match found.state.as_str() {
            "revoked" | "ended" => json(StatusCode::OK, &found),
            _ => Err(Code::NothingApproved.with("request", found.id.as_str()).extra("state", found.state)),
        };
    }
    let told = json!({ "request": found.id, "scope": found.granted, "reason": Null, "revoked": true });
    inbox::push(&write.tx, &found.agent.id, "access_denied", &told, app.now()).await?;
    finish(&app, write, found, told).await
}

fn decided(found: &AccessRequest) -> ApiError {
    let detail = format!("This request is {} already.", found.state);
    Code::AlreadyDecided.detail(detail).with("request", found.id.as_str()).extra("state", found.state.as_str())
}

/// Ends a decision: the audit row is about the agent, so that who may read it sees the row.
async fn finish(app: &App, write: Write<'_>, before: AccessRequest, after: Json) -> Result<Response, ApiError> {
    let now = access::get(&write.tx, &write.caller, before.id.as_str(), app.now()).await?;
    let was = json!({ "request": before.id, "state": before.state, "scope": before.scope });
    write.finish(before.agent.id.as_str(), was, after, Answer::json(StatusCode::OK, &now)?).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use common::{
        scope::Role,
        testing::{Actor, Answer, TestApp},
    };

    use super::*;
    use crate::with_neighbours;

    const ASK: &str = "/api/access-requests";
    const LIST: &str = "/api/agents";

    struct Stage {
        t: TestApp,
        ada: Actor,
        max: Actor,
        mia: Actor,
        scout: Actor,
    }

    /// Ada is the admin; Max, a member, owns scout; Mia is another member.
    async fn stage(scope: &str) -> Stage {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let max = t.user(&tenant, "max@example.com", Role::Member).await;
        let mia = t.user(&tenant, "mia@example.com", Role::Member).await;
        let scout = t.agent(&max, "scout", scope).await;
        Stage { t, ada, max, mia, scout }
    }

    fn wish(scope: &str) -> Json {
        json!({ "scope": scope, "reason": "to do my work" })
    }

    /// Asks, and gives the request's path.
    async fn asked(t: &TestApp, agent: &Actor, scope: &str) -> String {
        let request = t.as_(agent, "POST", ASK, wish(scope)).await.is(201);
        format!("{ASK}/{}", request["id"].as_str().unwrap())
    }

    /// Asks, and has it approved.
    async fn approved(t: &TestApp, agent: &Actor, by: &Actor, scope: &str) -> String {
        let path = asked(t, agent, scope).await;
        t.as_(by, "POST", &format!("{path}/approve"), Null).await.is(200);
        path
    }

    async fn session(t: &TestApp, actor: &Actor) -> Actor {
        let end = Some(t.now().plus_seconds(86_400));
        t.credential(Kind::Session, &actor.tenant, &actor.user, None, "*", end).await
    }

    /// What the agent's inbox holds, the newest last.
    async fn told(t: &TestApp) -> Vec<Json> {
        let rows = t.texts("SELECT json_object('type', kind, 'data', json(data)) FROM inbox ORDER BY seq").await;
        rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    #[tokio::test]
    async fn who_asks_and_is_approved_can_do_it_until_it_ends() {
        let Stage { t, max, scout, .. } = stage("ui.notify").await;
        let second = TestApp::over(with_neighbours(), &t);
        t.as_(&scout, "GET", LIST, Null).await.refused(403, "scope_denied");
        let ask = json!({ "scope": "agents.list agents.keys.*", "reason": " to see\nwho there is ", "hours": 2 });
        let request = t.as_(&scout, "POST", ASK, ask).await.is(201);
        let id = request["id"].as_str().unwrap();
        let open = json!({
            "id": id, "agent": { "id": scout.agent, "name": "scout" },
            "scope": ["agents.keys.read", "agents.keys.write", "agents.list"], "reason": "to see\nwho there is", "hours": 2,
            "state": "open", "granted": null, "created_at": "2026-01-02T03:04:05.000Z", "decided_at": null,
            "decided_by": null, "ends_at": null,
        });
        assert!(id.starts_with("acc_"), "{id}");
        assert_eq!(request, open);
        let path = format!("{ASK}/{id}");
        for reader in [&scout, &max] {
            assert_eq!(t.as_(reader, "GET", &path, Null).await.is(200), open);
            assert_eq!(t.as_(reader, "GET", ASK, Null).await.is(200), json!({ "items": [open], "next_cursor": null }));
        }
        let notified = t.texts("SELECT user_id || ' ' || source || ' ' || title FROM notifications").await;
        assert_eq!(notified, [format!("{} accredit scout asks for access", max.user)]);
        let body = t.texts("SELECT body FROM notifications").await;
        assert!(body[0].contains("\nIn its own words: \"to see who there is\"\n"), "{body:?}");
        t.wait(10);
        let said = t.as_(&max, "POST", &format!("{path}/approve"), json!({ "scope": ["agents.list"] })).await.is(200);
        let mut expected = open.clone();
        for (member, value) in [
            ("state", json!("approved")),
            ("granted", json!(["agents.list"])),
            ("decided_at", json!("2026-01-02T03:04:15.000Z")),
            ("decided_by", json!("max@example.com")),
            ("ends_at", json!("2026-01-02T05:04:15.000Z")),
        ] {
            expected[member] = value;
        }
        assert_eq!(said, expected);
        assert_eq!(
            told(&t).await,
            [json!({ "type": "scope_granted",
                "data": { "request": id, "scope": ["agents.list"], "ends_at": "2026-01-02T05:04:15.000Z" } })]
        );
        second.as_(&scout, "GET", LIST, Null).await.is(200);
        t.wait(2 * 3600 - 1);
        t.as_(&scout, "GET", LIST, Null).await.is(200);
        t.wait(1);
        second.as_(&scout, "GET", LIST, Null).await.refused(403, "scope_denied");
        expected["state"] = json!("ended");
        let max = session(&t, &max).await;
        assert_eq!(t.as_(&max, "GET", &path, Null).await.is(200), expected);
        for (state, count) in [("ended", 1), ("approved", 0), ("open", 0)] {
            let page = t.as_(&max, "GET", &format!("{ASK}?state={state}"), Null).await.is(200);
            assert_eq!(page["items"].as_array().unwrap().len(), count, "{state}");
        }
        let rows =
            t.texts("SELECT action || ' ' || (object_id = (SELECT id FROM agents)) FROM audit ORDER BY seq").await;
        assert_eq!(rows, ["access.request 1", "access.approve 1"]);
        t.as_(&scout, "POST", ASK, wish("agents.list")).await.is(201);
    }

    /// R59: the fix of a missing scope, followed to the letter, mends it.
    #[tokio::test]
    async fn the_fix_of_a_missing_scope_works() {
        let Stage { t, max, scout, .. } = stage("ui.notify").await;
        let refused = t.as_(&scout, "GET", LIST, Null).await.refused(403, "scope_denied");
        assert_eq!(
            refused["fix"],
            "Ask for it: POST /api/access-requests {\"scope\": \"agents.list\", \"reason\": \"…\"}. When max@example.com or an \
             admin has approved it, your token can use it."
        );
        let fix = refused["fix"].as_str().unwrap();
        let body = &fix[fix.find('{').unwrap()..=fix.find('}').unwrap()];
        let request = t.as_(&scout, "POST", ASK, serde_json::from_str(body).unwrap()).await.is(201);
        let path = format!("{ASK}/{}/approve", request["id"].as_str().unwrap());
        t.as_(&max, "POST", &path, Null).await.is(200);
        t.as_(&scout, "GET", LIST, Null).await.is(200);
    }

    /// R59: where the owner's role lacks it, asking alone is no use, and the fix says what comes first.
    #[tokio::test]
    async fn the_fix_beyond_the_owners_role_names_the_role_first() {
        let Stage { t, scout, max, .. } = stage("agents.read agents.update").await;
        t.execute("UPDATE users SET role = 'viewer' WHERE email_key = 'max@example.com'").await.unwrap();
        let change = json!({ "description": "mine" });
        let refused = t.as_(&scout, "PATCH", "/api/agents/scout", change.clone()).await.refused(403, "scope_denied");
        assert_eq!(
            refused["fix"],
            format!(
                "First an admin of your tenant must raise the role of max@example.com: PATCH /api/users/{} {{\"role\": \"member\"}}. Ask \
                 for it: POST /api/access-requests {{\"scope\": \"agents.update\", \"reason\": \"…\"}}. When max@example.com or an \
                 admin has approved it, your token can use it.",
                max.user
            )
        );
        t.as_(&scout, "POST", ASK, wish("agents.update")).await.refused(400, "scope_not_grantable");
        t.execute("UPDATE users SET role = 'member' WHERE email_key = 'max@example.com'").await.unwrap();
        t.as_(&scout, "PATCH", "/api/agents/scout", change).await.is(200);
        drop(max);
    }

    #[tokio::test]
    async fn a_wish_that_cannot_be_fulfilled_is_refused() {
        let Stage { t, max, scout, .. } = stage("ui.notify").await;
        for (body, status, slug) in [
            (json!({ "scope": "fly", "reason": "r" }), 400, "unknown_scope"),
            (json!({ "scope": "", "reason": "r" }), 400, "unknown_scope"),
            (json!({ "scope": [], "reason": "r" }), 400, "unknown_scope"),
            (json!({ "scope": ["agents.list agents.read"], "reason": "r" }), 400, "unknown_scope"),
            (json!({ "scope": 1, "reason": "r" }), 422, "validation_error"),
            (json!({ "scope": null, "reason": "r" }), 422, "validation_error"),
            (json!({ "scope": [1], "reason": "r" }), 422, "validation_error"),
            (json!({ "reason": "r" }), 422, "validation_error"),
            (json!({ "scope": "agents.list" }), 422, "validation_error"),
            (json!({ "scope": "agents.list", "reason": "r", "days": 1 }), 422, "validation_error"),
            (json!({ "scope": "agents.list", "reason": "  " }), 400, "invalid_text"),
            (json!({ "scope": "agents.list", "reason": "r".repeat(501) }), 400, "invalid_text"),
            (json!({ "scope": "agents.list", "reason": "a\u{202e}b" }), 400, "invalid_text"),
            (json!({ "scope": "agents.list", "reason": "r", "hours": 0 }), 400, "invalid_number"),
            (json!({ "scope": "agents.list", "reason": "r", "hours": 721 }), 400, "invalid_number"),
            (json!({ "scope": "agents.list", "reason": "r", "hours": 1.5 }), 422, "validation_error"),
            (json!({ "scope": "users.read", "reason": "r" }), 400, "scope_not_grantable"),
            (json!({ "scope": "guides.write", "reason": "r" }), 400, "scope_not_grantable"),
            (json!({ "scope": "notifications.read", "reason": "r" }), 400, "scope_not_grantable"),
            (json!({ "scope": "ui.notify", "reason": "r" }), 409, "already_granted"),
            (json!({ "scope": "agents.share", "reason": "r" }), 400, "scope_not_grantable"),
        ] {
            t.as_(&scout, "POST", ASK, body.clone()).await.refused(status, slug);
        }
        // What remains of a wish is told, and can be sent as it stands.
        let refused = t.as_(&scout, "POST", ASK, wish("agents.list users.* guides.write")).await;
        let refused = refused.refused(400, "scope_not_grantable");
        assert_eq!(
            refused["detail"],
            "Only people can use users.read, users.write. The role member of your owner lacks guides.write."
        );
        assert_eq!(
            refused["fix"],
            "Send the same request with \"scope\": \"agents.list\". Ask max@example.com to do what only people may do. What the role of \
             max@example.com lacks can be asked for once an admin of your tenant has raised that role. What can be asked for \
             stands on the page in doc_url."
        );
        let refused = t.as_(&scout, "POST", ASK, wish("agents.share")).await.refused(400, "scope_not_grantable");
        assert_eq!(
            refused["fix"],
            "max@example.com can send PATCH /api/agents/scout {\"scope\": [\"ui.notify\",\"agents.share\"]}, then POST \
             /api/agents/scout/token/issue {\"scope\": [\"ui.notify\",\"agents.share\"]}. What can be asked for stands on the page in \
             doc_url."
        );
        assert_eq!(t.number("SELECT count(*) FROM access_requests").await, 0);
        t.as_(&max, "POST", ASK, wish("agents.list")).await.refused(403, "agent_required");
        t.nobody("POST", ASK, wish("agents.list")).await.refused(401, "missing_credential");
    }

    /// Halted agents ask and see nothing.
    #[tokio::test]
    async fn a_halted_agent_does_not_ask() {
        let Stage { t, scout, .. } = stage("ui.notify").await;
        let path = asked(&t, &scout, "agents.list").await;
        t.execute("UPDATE agents SET state = 'paused'").await.unwrap();
        for (method, path) in [("POST", ASK), ("GET", ASK), ("GET", &path)] {
            let body = if method == "POST" { wish("agents.read") } else { Null };
            t.as_(&scout, method, path, body).await.refused(403, "agent_paused");
        }
        t.execute("UPDATE agents SET state = 'running', budget_cents = 1, spent_cents = 2").await.unwrap();
        t.as_(&scout, "POST", ASK, wish("agents.read")).await.refused(402, "over_budget");
    }

    /// The same open request is the same row, however it is written; 20 are open at most.
    #[tokio::test]
    async fn the_same_open_request_is_one_row_and_twenty_are_the_most() {
        let Stage { t, max, scout, .. } = stage("ui.notify").await;
        let first = t.as_(&scout, "POST", ASK, wish("agents.keys.write agents.keys.read")).await.is(201);
        let again = json!({ "scope": ["agents.keys.*", "agents.keys.read"], "reason": "another", "hours": 5 });
        assert_eq!(t.as_(&scout, "POST", ASK, again).await.is(200), first);
        let other = t.agent(&max, "other", "ui.notify").await;
        let path = asked(&t, &other, "agents.keys.*").await;
        t.as_(&max, "POST", &format!("{path}/deny"), Null).await.is(200);
        let names =
            ["list", "read", "logs", "create", "update", "delete", "lifecycle", "deploy", "message", "keys.read"];
        let pairs = names.iter().flat_map(|a| names.iter().map(move |b| (a, b))).filter(|(a, b)| a < b).take(19);
        for (a, b) in pairs {
            t.as_(&scout, "POST", ASK, wish(&format!("agents.{a} agents.{b}"))).await.is(201);
        }
        let refused = t.as_(&scout, "POST", ASK, wish("agents.list")).await.refused(409, "too_many_access_requests");
        assert!(refused["fix"].as_str().unwrap().contains("max@example.com"), "{refused}");
        assert_eq!(t.as_(&scout, "POST", ASK, wish("agents.keys.*")).await.is(200), first);
        let of = |agent: &Actor| {
            format!("SELECT count(*) FROM access_requests WHERE agent_id = '{}'", agent.agent.as_ref().unwrap())
        };
        assert_eq!((t.number(&of(&scout)).await, t.number(&of(&other)).await), (20, 1));
        assert_eq!(t.number("SELECT count(*) FROM notifications").await, 21);
        // Denied, it can be asked for anew.
        t.as_(&max, "POST", &format!("{ASK}/{}/deny", first["id"].as_str().unwrap()), Null).await.is(200);
        t.as_(&scout, "POST", ASK, wish("agents.list")).await.is(201);
    }

    /// R50, R51: one answer for one key.
    #[tokio::test]
    async fn a_repeated_request_is_answered_as_the_first_time() {
        let Stage { t, ada, max, scout, .. } = stage("ui.notify").await;
        let bearer = |actor: &Actor| format!("Bearer {}", actor.token);
        let (agent, owner) = (bearer(&scout), bearer(&max));
        let headers = [("authorization", agent.as_str()), ("idempotency-key", "k")];
        let first = t.call("POST", ASK, &headers, wish("agents.list")).await.is(201);
        let again = t.call("POST", ASK, &headers, wish("agents.list")).await;
        assert_eq!((again.is(201), again.header("idempotency-replayed")), (first.clone(), "true"));
        let headers = [("authorization", owner.as_str()), ("idempotency-key", "k")];
        let path = format!("{ASK}/{}/approve", first["id"].as_str().unwrap());
        let said = t.call("POST", &path, &headers, Null).await.is(200);
        assert_eq!(t.call("POST", &path, &headers, Null).await.is(200), said);
        t.call("POST", &path, &headers, json!({ "hours": 1 })).await.refused(422, "idempotency_mismatch");
        assert_eq!(told(&t).await.len(), 1);
        // Who may not decide any more gets nothing back.
        let other = t.as_(&scout, "POST", ASK, wish("agents.read")).await.is(201);
        let (path, admin) = (format!("{ASK}/{}/deny", other["id"].as_str().unwrap()), bearer(&ada));
        let headers = [("authorization", admin.as_str()), ("idempotency-key", "k")];
        t.call("POST", &path, &headers, Null).await.is(200);
        t.execute("UPDATE users SET role = 'member'").await.unwrap();
        t.call("POST", &path, &headers, Null).await.refused(404, "request_not_found");
    }

    /// R7: no agent, no PAT and nobody but owner and admin decides; R33, R34: the others learn nothing, or what is missing.
    #[tokio::test]
    async fn only_owner_and_admin_decide_with_a_session() {
        let Stage { t, ada, max, mia, scout } = stage("*").await;
        let helper = t.agent(&max, "helper", "agents.*").await;
        let narrow = t.agent_below(&max, Some(&scout), "narrow", "ui.notify").await;
        let path = asked(&t, &narrow, "agents.read").await;
        let pat = t.credential(Kind::Pat, &max.tenant, &max.user, None, "*", None).await;
        for verb in ["approve", "deny", "revoke"] {
            let path = format!("{path}/{verb}");
            for actor in [&scout, &narrow, &helper, &pat] {
                t.as_(actor, "POST", &path, Null).await.refused(403, "session_required");
            }
            t.as_(&mia, "POST", &path, Null).await.refused(404, "request_not_found");
        }
        // An agent sees its own and those of the agents below it; a PAT reads.
        for (actor, count) in [(&narrow, 1), (&scout, 1), (&helper, 0), (&pat, 1), (&ada, 1), (&mia, 0)] {
            let page = t.as_(actor, "GET", ASK, Null).await.is(200);
            assert_eq!(page["items"].as_array().unwrap().len(), count);
            let status = if count == 1 { 200 } else { 404 };
            assert_eq!(t.as_(actor, "GET", &path, Null).await.status, status);
        }
        t.grant(narrow.agent.as_ref().unwrap(), &max.tenant, mia.user.as_str(), "editor", &max.user).await;
        let refused = t.as_(&mia, "POST", &format!("{path}/approve"), Null).await.refused(403, "permission_denied");
        assert_eq!(refused["required_relations"], json!(["owner", "tenant.admin"]));
        assert_eq!(refused["fix"], "Ask max@example.com, who owns it, or an admin of your tenant.");
        t.as_(&mia, "GET", &path, Null).await.refused(403, "permission_denied");
        assert_eq!(t.as_(&mia, "GET", ASK, Null).await.is(200)["items"], json!([]));
        assert_eq!(t.texts("SELECT state FROM access_requests").await, ["open"]);
        assert_eq!(
            t.as_(&ada, "POST", &format!("{path}/approve"), Null).await.is(200)["decided_by"],
            "ada@example.com"
        );
    }

    #[tokio::test]
    async fn a_decision_is_made_once() {
        let Stage { t, max, scout, .. } = stage("ui.notify").await;
        let path = asked(&t, &scout, "agents.list").await;
        let verb = |verb: &str| format!("{path}/{verb}");
        let refused = t.as_(&max, "POST", &verb("revoke"), Null).await.refused(409, "nothing_approved");
        assert_eq!(refused["state"], "open");
        let denied = t.as_(&max, "POST", &verb("deny"), json!({ "reason": "not now" })).await.is(200);
        assert_eq!((&denied["state"], &denied["granted"]), (&json!("denied"), &Null));
        assert_eq!(told(&t).await[0]["data"]["reason"], "not now");
        for again in ["approve", "deny"] {
            let refused = t.as_(&max, "POST", &verb(again), Null).await.refused(409, "already_decided");
            assert_eq!(refused["state"], "denied");
        }
        t.as_(&max, "POST", &verb("revoke"), Null).await.refused(409, "nothing_approved");
        t.as_(&scout, "GET", LIST, Null).await.refused(403, "scope_denied");
        for (verb_, body) in [
            ("approve", json!({ "hours": 0 })),
            ("approve", json!({ "hours": 721 })),
            ("approve", json!({ "scope": "fly" })),
            ("deny", json!({ "reason": "" })),
            ("revoke", json!({ "reason": "r" })),
        ] {
            let answer = t.as_(&max, "POST", &verb(verb_), body).await;
            assert!([400, 422].contains(&answer.status.as_u16()), "{}", answer.text);
        }
        assert_eq!(t.number("SELECT count(*) FROM audit").await, 2);
    }

    /// Revoking counts from the next request on; again it is answered as it is, and it says who and when.
    #[tokio::test]
    async fn what_was_approved_is_revoked_at_once() {
        let Stage { t, ada, max, scout, .. } = stage("ui.notify").await;
        let second = TestApp::over(with_neighbours(), &t);
        let path = approved(&t, &scout, &max, "agents.list").await;
        t.as_(&scout, "GET", LIST, Null).await.is(200);
        let revoked = second.as_(&ada, "POST", &format!("{path}/revoke"), Null).await.is(200);
        t.as_(&scout, "GET", LIST, Null).await.refused(403, "scope_denied");
        assert_eq!((&revoked["state"], &revoked["decided_by"]), (&json!("revoked"), &json!("ada@example.com")));
        assert_eq!(t.as_(&max, "POST", &format!("{path}/revoke"), Null).await.is(200), revoked);
        let data = &told(&t).await[1];
        assert_eq!((&data["type"], &data["data"]["revoked"]), (&json!("access_denied"), &json!(true)));
        let rows = t.texts("SELECT action FROM audit ORDER BY seq").await;
        assert_eq!(rows, ["access.request", "access.approve", "access.revoke"]);
    }

    /// R74: a full database does not keep a right alive.
    #[tokio::test]
    async fn what_was_approved_is_revoked_in_a_full_database_too() {
        let settings = common::settings::Settings { database_max_mib: Some(1), ..Default::default() };
        let t = TestApp::with(with_neighbours(), settings);
        let tenant = t.tenant("main").await;
        let max = t.user(&tenant, "max@example.com", Role::Member).await;
        let scout = t.agent(&max, "scout", "ui.notify").await;
        let path = approved(&t, &scout, &max, "agents.list").await;
        for size in [9_000, 90, 1] {
            let row =
                format!("SELECT id, (SELECT count(*) + 100 FROM inbox), 'x', hex(zeroblob({size})), 0 FROM agents");
            while t.execute(&format!("INSERT INTO inbox {row}")).await.is_ok() {}
        }
        t.as_(&max, "POST", &format!("{path}/revoke"), Null).await.is(200);
        t.as_(&scout, "GET", LIST, Null).await.refused(403, "scope_denied");
    }

    /// Approved ⊆ asked ∩ the owner's role ∩ what the approver can use.
    #[tokio::test]
    async fn nobody_approves_more_than_was_asked_for_or_than_he_may() {
        let Stage { t, ada, max, scout, .. } = stage("ui.notify").await;
        let path = asked(&t, &scout, "agents.list agents.update").await;
        let approve = format!("{path}/approve");
        let refused = t.as_(&max, "POST", &approve, json!({ "scope": "agents.list agents.create" })).await;
        let refused = refused.refused(400, "approval_too_wide");
        assert_eq!(refused["excess_scopes"], json!(["agents.create"]));
        // A session may be narrower than its person.
        let end = Some(t.now().plus_seconds(600));
        let narrow = t.credential(Kind::Session, &max.tenant, &max.user, None, "agents.list", end).await;
        let refused = t.as_(&narrow, "POST", &approve, Null).await.refused(400, "approval_too_wide");
        assert_eq!(refused["excess_scopes"], json!(["agents.update"]));
        let fix = refused["fix"].as_str().unwrap();
        assert!(fix.starts_with("Send the same request with \"scope\": \"agents.list\". "), "{fix}");
        // The owner was demoted meanwhile: an admin cannot approve what would have no effect.
        t.execute("UPDATE users SET role = 'viewer' WHERE email_key = 'max@example.com'").await.unwrap();
        let refused = t.as_(&ada, "POST", &approve, Null).await.refused(400, "approval_too_wide");
        assert_eq!(refused["excess_scopes"], json!(["agents.update"]));
        let said = t.as_(&ada, "POST", &approve, json!({ "scope": "agents.list", "hours": 720 })).await.is(200);
        assert_eq!((&said["granted"], &said["ends_at"]), (&json!(["agents.list"]), &json!("2026-02-01T03:04:05.000Z")));
    }

    /// R41: an approval never reaches beyond the owner's role as it is now.
    #[tokio::test]
    async fn a_demoted_owner_cuts_what_was_approved_at_once() {
        let Stage { t, max, scout, .. } = stage("agents.read").await;
        approved(&t, &scout, &max, "agents.update").await;
        let change = |text: &str| json!({ "description": text });
        t.as_(&scout, "PATCH", "/api/agents/scout", change("a")).await.is(200);
        t.execute("UPDATE users SET role = 'viewer' WHERE email_key = 'max@example.com'").await.unwrap();
        t.as_(&scout, "PATCH", "/api/agents/scout", change("b")).await.refused(403, "scope_denied");
        assert_eq!(t.texts("SELECT description FROM agents").await, ["a"]);
    }

    /// The approval is the agent's: it outlives its tokens, also when the agent replaces its own; its keys have nothing of it.
    #[tokio::test]
    async fn an_approval_outlives_a_rotation_and_is_no_keys() {
        let Stage { t, max, mut scout, .. } = stage("agents.token.issue").await;
        approved(&t, &scout, &max, "agents.list").await;
        for by_itself in [true, false] {
            let by = if by_itself { &scout } else { &max };
            let issued = t.as_(by, "POST", "/api/agents/scout/token/issue", Null).await.is(200);
            assert_eq!(issued["scope"], json!(["agents.token.issue"]), "what was approved is not part of a token");
            scout.token = issued["token"].as_str().unwrap().to_owned();
            t.as_(&scout, "GET", LIST, Null).await.is(200);
        }
        let key = t
            .credential(
                Kind::ApiKey,
                &max.tenant,
                &max.user,
                scout.agent.as_ref(),
                "agents.token.* agents.token.issue",
                None,
            )
            .await;
        let refused = t.as_(&key, "GET", LIST, Null).await.refused(403, "scope_denied");
        let fix = refused["fix"].as_str().unwrap();
        // R59: the key's own way, followed to the letter.
        let steps = "Ask for it: max@example.com can send PATCH /api/agents/scout \
                     {\"scope\": [\"agents.token.issue\",\"agents.list\"]}, then POST /api/agents/scout/keys {\"name\": \"<a new \
                     name>\", \"scope\": [\"agents.token.issue\",\"agents.list\"]} and give you the key";
        assert!(fix.starts_with(steps), "{fix}");
        let scope = json!(["agents.token.issue", "agents.list"]);
        t.as_(&max, "PATCH", "/api/agents/scout", json!({ "scope": scope })).await.is(200);
        let made = t.as_(&max, "POST", "/api/agents/scout/keys", json!({ "name": "ci", "scope": scope })).await.is(201);
        let bearer = format!("Bearer {}", made["key"].as_str().unwrap());
        t.call("GET", LIST, &[("authorization", &bearer)], Null).await.is(200);
        // Asking with a key asks for the token.
        t.as_(&key, "POST", ASK, wish("agents.read")).await.is(201);
    }

    /// R8: nothing is minted from an approval, by no sequence.
    #[tokio::test]
    async fn nothing_is_minted_from_an_approval() {
        let Stage { t, max, scout, .. } = stage("agents.read agents.list").await;
        let child = t.agent_below(&max, Some(&scout), "child", "agents.read").await;
        approved(&t, &scout, &max, "agents.create agents.update agents.token.issue agents.logs").await;
        let make = |scope: &[&str]| json!({ "name": "more", "scope": scope });
        for scope in [&["agents.logs"][..], &["agents.create"], &["agents.read", "agents.update"], &["*"]] {
            t.as_(&scout, "POST", "/api/agents", make(scope)).await.refused(400, "scope_too_wide");
            let body = json!({ "scope": scope });
            t.as_(&scout, "PATCH", "/api/agents/child", body.clone()).await.refused(400, "scope_too_wide");
            t.as_(&scout, "POST", "/api/agents/child/token/issue", body.clone()).await.refused(400, "scope_too_wide");
            t.as_(&scout, "PATCH", "/api/agents/scout", body.clone()).await.refused(403, "person_required");
            // Replacing its own token, it keeps what the token carries.
            t.as_(&scout, "POST", "/api/agents/scout/token/issue", body).await.refused(400, "rotation_keeps_rights");
        }
        // What it carries itself it hands on, with the routes that were approved.
        t.as_(&scout, "POST", "/api/agents", make(&["agents.read"])).await.is(201);
        // The child's ceiling is wide, the minter is not: an approval of the minter's adds nothing.
        t.execute("UPDATE agents SET scope = '*'").await.unwrap();
        let issue = "/api/agents/child/token/issue";
        t.as_(&scout, "POST", issue, json!({ "scope": ["agents.logs"] })).await.refused(400, "scope_too_wide");
        t.as_(&scout, "POST", issue, json!({ "scope": ["agents.read"] })).await.is(200);
        assert_eq!(t.number("SELECT count(*) FROM credentials WHERE scope LIKE '%logs%'").await, 0);
        drop(child);
    }

    /// R42: what was asked and approved ends with the agent, and nothing brings it back.
    #[tokio::test]
    async fn archiving_ends_requests_and_a_restore_revives_none() {
        let Stage { t, max, scout, .. } = stage("agents.read").await;
        let open = asked(&t, &scout, "agents.logs").await;
        let given = approved(&t, &scout, &max, "agents.list").await;
        t.as_(&max, "DELETE", "/api/agents/scout", Null).await.is(204);
        for path in [&open, &given] {
            t.as_(&max, "GET", path, Null).await.refused(404, "request_not_found");
            t.as_(&max, "POST", &format!("{path}/approve"), Null).await.refused(404, "request_not_found");
        }
        assert_eq!(t.as_(&max, "GET", ASK, Null).await.is(200)["items"], json!([]));
        let id = scout.agent.as_ref().unwrap();
        t.as_(&max, "POST", &format!("/api/agents/archived/{id}/restore"), Null).await.is(200);
        t.execute("UPDATE agents SET state = 'running'").await.unwrap();
        let issued = t.as_(&max, "POST", "/api/agents/scout/token/issue", Null).await.is(200);
        let bearer = format!("Bearer {}", issued["token"].as_str().unwrap());
        t.call("GET", LIST, &[("authorization", &bearer)], Null).await.refused(403, "scope_denied");
        for (path, state) in [(&open, "denied"), (&given, "revoked")] {
            let seen = t.as_(&max, "GET", path, Null).await.is(200);
            assert_eq!((&seen["state"], &seen["decided_by"]), (&json!(state), &Null));
            t.as_(&max, "POST", &format!("{path}/approve"), Null).await.refused(409, "already_decided");
        }
    }

    /// R36: pages in SQL, no gap, nothing twice; of what others decide about nothing.
    #[tokio::test]
    async fn requests_are_paged_and_filtered() {
        let Stage { t, ada, max, mia, scout } = stage("ui.notify").await;
        let foreign = t.agent(&mia, "foreign", "ui.notify").await;
        for (number, agent) in
            [(0, &scout), (1, &foreign)].into_iter().cycle().take(14).enumerate().map(|(i, (_, a))| (i, a))
        {
            t.execute(&format!(
                "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, created_at)
                 VALUES ('acc_{number:02}', '{}', '{}', 'x{number}', 'r', 1, {})",
                agent.tenant,
                agent.agent.as_ref().unwrap(),
                number / 4
            ))
            .await
            .unwrap();
        }
        let (mut seen, mut query) = (Vec::new(), "limit=3".to_owned());
        loop {
            let page = t.as_(&max, "GET", &format!("{ASK}?{query}"), Null).await.is(200);
            seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            query = format!("limit=3&cursor={cursor}");
        }
        assert_eq!(seen, ["acc_12", "acc_10", "acc_08", "acc_06", "acc_04", "acc_02", "acc_00"]);
        let count = async |actor: &Actor, query: &str| {
            let page = t.as_(actor, "GET", &format!("{ASK}?limit=200&{query}"), Null).await.is(200);
            page["items"].as_array().unwrap().len()
        };
        assert_eq!(count(&ada, "").await, 14);
        assert_eq!(count(&ada, "agent=scout").await, 7);
        assert_eq!(count(&ada, &format!("agent={}", foreign.agent.as_ref().unwrap())).await, 7);
        assert_eq!((count(&max, "agent=foreign").await, count(&max, "agent=none").await), (0, 0));
        assert_eq!((count(&scout, "").await, count(&ada, "state=denied").await), (7, 0));
        t.as_(&ada, "GET", &format!("{ASK}?state=closed"), Null).await.refused(400, "invalid_filter");
        t.as_(&ada, "GET", &format!("{ASK}?owner=x"), Null).await.refused(422, "validation_error");
        t.as_(&ada, "GET", &format!("{ASK}?cursor=x"), Null).await.refused(400, "invalid_cursor");
    }

    /// Forty at once, over two instances on one file.
    async fn crowd(
        apps: &[Arc<TestApp>; 2],
        ask: impl Fn(usize) -> (Arc<Actor>, &'static str, String, Json),
    ) -> Vec<Answer> {
        let tasks: Vec<_> = (0..40)
            .map(|number| {
                let app = Arc::clone(&apps[number % 2]);
                let (actor, method, path, body) = ask(number);
                tokio::spawn(async move { app.as_(&actor, method, &path, body).await })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        answers
    }

    /// Two instances, and the first of them.
    fn pair(t: TestApp) -> ([Arc<TestApp>; 2], Arc<TestApp>) {
        let second = Arc::new(TestApp::over(with_neighbours(), &t));
        let t = Arc::new(t);
        ([Arc::clone(&t), second], t)
    }

    fn count(answers: &[Answer], status: u16) -> usize {
        answers.iter().filter(|answer| answer.status.as_u16() == status).count()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn forty_that_ask_the_same_at_once_make_one_row() {
        let Stage { t, scout, .. } = stage("ui.notify").await;
        let (apps, t) = pair(t);
        let scout = Arc::new(scout);
        let answers = crowd(&apps, |number| {
            let scope = if number % 3 == 0 { "agents.list agents.keys.*" } else { "agents.keys.* agents.list" };
            (Arc::clone(&scout), "POST", ASK.to_owned(), wish(scope))
        })
        .await;
        assert_eq!((count(&answers, 201), count(&answers, 200)), (1, 39));
        assert_eq!(t.number("SELECT count(*) FROM access_requests").await, 1);
        assert_eq!(t.number("SELECT count(*) FROM notifications").await, 1);
        assert_eq!(t.number("SELECT count(*) FROM audit").await, 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_forty_that_approve_or_deny_at_once_one_decides() {
        let Stage { t, ada, max, scout, .. } = stage("ui.notify").await;
        let path = asked(&t, &scout, "agents.list").await;
        let (apps, t) = pair(t);
        let (ada, max) = (Arc::new(ada), Arc::new(max));
        let answers = crowd(&apps, |number| {
            let actor = Arc::clone(if number % 3 == 0 { &ada } else { &max });
            (actor, "POST", format!("{path}/{}", if number % 4 < 2 { "approve" } else { "deny" }), Null)
        })
        .await;
        assert_eq!((count(&answers, 200), count(&answers, 409)), (1, 39));
        let winner = answers.iter().find(|answer| answer.status == 200).unwrap().is(200);
        assert_eq!(t.texts("SELECT state FROM access_requests").await, [winner["state"].as_str().unwrap()]);
        let works = t.as_(&scout, "GET", LIST, Null).await.status == 200;
        assert_eq!(works, winner["state"] == "approved");
        assert_eq!(
            (t.number("SELECT count(*) FROM inbox").await, t.number("SELECT count(*) FROM audit").await),
            (1, 2)
        );
    }

    /// Whichever comes first: an archived agent has nothing open and nothing approved.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn an_approval_against_an_archiving_leaves_nothing_approved() {
        for round in 0..4 {
            let Stage { t, max, scout, .. } = stage("ui.notify").await;
            let path = asked(&t, &scout, "agents.list").await;
            let (apps, t) = pair(t);
            let max = Arc::new(max);
            let answers = crowd(&apps, |number| match number == 10 * round {
                true => (Arc::clone(&max), "DELETE", "/api/agents/scout".to_owned(), Null),
                false => (Arc::clone(&max), "POST", format!("{path}/approve"), Null),
            })
            .await;
            assert_eq!(count(&answers, 204), 1);
            assert!(count(&answers, 200) <= 1);
            assert_eq!(count(&answers, 200) + count(&answers, 404) + count(&answers, 409), 39);
            let left = "SELECT count(*) FROM access_requests WHERE state IN ('open', 'approved')";
            assert_eq!(t.number(left).await, 0);
            t.as_(&scout, "GET", LIST, Null).await.refused(401, "token_revoked");
        }
    }
}
