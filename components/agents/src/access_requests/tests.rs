use common::role::Role;
use service::testing::{Actor, Answer, TestApp, at_once};

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

fn request_for(scope: &str) -> Json {
    json!({ "scope": scope, "reason": "to do my work" })
}

/// Asks, and gives the path of the request.
async fn asked(t: &TestApp, agent: &Actor, scope: &str) -> String {
    let request = t.as_(agent, "POST", ASK, request_for(scope)).await.is(201);
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

/// The events of the agent's inbox, the newest last.
async fn events(t: &TestApp) -> Vec<Json> {
    let rows = t.texts("SELECT json_object('type', kind, 'data', json(data)) FROM inbox ORDER BY seq").await;
    rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect()
}

#[tokio::test]
async fn an_approved_scope_can_be_used_until_the_approval_ends() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    let second = TestApp::over(with_neighbours(), &t);
    t.as_(&scout, "GET", LIST, Null).await.refused(403, "scope_denied");
    let body = json!({ "scope": "agents.list agents.keys.*", "reason": " to see\nwho there is ", "hours": 2 });
    let request = t.as_(&scout, "POST", ASK, body).await.is(201);
    let id = request["id"].as_str().unwrap();
    let open = json!({
        "id": id, "agent": { "id": scout.agent, "name": "scout" }, "owner": "max@example.com",
        "scope": ["agents.keys.read", "agents.keys.write", "agents.list"], "reason": "to see\nwho there is", "hours": 2,
        "for": null, "state": "open", "granted": null, "lasts": null, "created_at": "2026-01-02T03:04:05.000Z", "decided_at": null,
        "decided_by": null, "denial_reason": null, "ends_at": null,
    });
    assert!(id.starts_with("acc_"), "{id}");
    let mut to_agent = open.clone();
    let next = format!("Wait for the decision of max@example.com or an admin: GET /api/access-requests/{id}?wait=25.");
    to_agent["next"] = json!(next);
    assert_eq!(request, to_agent);
    let path = format!("{ASK}/{id}");
    for (reader, seen) in [(&scout, &to_agent), (&max, &open)] {
        assert_eq!(t.as_(reader, "GET", &path, Null).await.is(200), *seen);
        assert_eq!(t.as_(reader, "GET", ASK, Null).await.is(200), json!({ "items": [seen], "next_cursor": null }));
    }
    let notified = t.texts("SELECT user_id || ' ' || source || ' ' || title FROM notifications").await;
    assert_eq!(notified, [format!("{} accredit scout asks for access", max.user)]);
    assert_eq!(
        t.texts("SELECT action_url FROM notifications").await,
        t.texts("SELECT '/access/' || id FROM access_requests").await
    );
    let body = t.texts("SELECT body FROM notifications").await;
    assert!(body[0].contains("\nReason, in the agent's words: \"to see who there is\"\n"), "{body:?}");
    t.wait(10);
    let answer = t.as_(&max, "POST", &format!("{path}/approve"), json!({ "scope": ["agents.list"] })).await.is(200);
    let mut expected = open.clone();
    for (member, value) in [
        ("state", json!("approved")),
        ("granted", json!(["agents.list"])),
        ("lasts", json!("hours")),
        ("decided_at", json!("2026-01-02T03:04:15.000Z")),
        ("decided_by", json!("max@example.com")),
        ("ends_at", json!("2026-01-02T05:04:15.000Z")),
    ] {
        expected[member] = value;
    }
    assert_eq!(answer, expected);
    assert_eq!(
        events(&t).await,
        [json!({ "type": "scope_granted",
            "data": { "request": id, "scope": ["agents.list"], "lasts": "hours", "ends_at": "2026-01-02T05:04:15.000Z" } })]
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
    let rows = t.texts("SELECT action || ' ' || (object_id = (SELECT id FROM agents)) FROM audit ORDER BY seq").await;
    assert_eq!(rows, ["access.request 1", "access.approve 1"]);
    t.as_(&scout, "POST", ASK, request_for("agents.list")).await.is(201);
}

/// R59: following the fix of a missing scope to the letter works.
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

/// R59, R121: asking does not help while the owner's role lacks the scope, and the fix advises neither that nor a change of the role.
#[tokio::test]
async fn the_fix_beyond_the_owners_role_is_to_tell_the_owner() {
    let Stage { t, scout, max, .. } = stage("agents.read agents.update").await;
    t.execute("UPDATE users SET role = 'viewer' WHERE email_key = 'max@example.com'").await.unwrap();
    let change = json!({ "description": "mine" });
    let refused = t.as_(&scout, "PATCH", "/api/agents/scout", change.clone()).await.refused(403, "scope_denied");
    assert_eq!(
        refused["fix"],
        "The role of your owner does not allow agents.update, so nobody can approve it for you. Tell your owner max@example.com, and go on \
         with something else."
    );
    t.as_(&scout, "POST", ASK, request_for("agents.update")).await.refused(400, "scope_not_grantable");
    t.execute("UPDATE users SET role = 'member' WHERE email_key = 'max@example.com'").await.unwrap();
    t.as_(&scout, "PATCH", "/api/agents/scout", change).await.is(200);
    drop(max);
}

#[tokio::test]
async fn a_request_that_cannot_be_fulfilled_is_refused() {
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
    // The refusal names the rest of the request, which can be sent as it stands.
    let refused = t.as_(&scout, "POST", ASK, request_for("agents.list users.* guides.write")).await;
    let refused = refused.refused(400, "scope_not_grantable");
    assert_eq!(
        refused["detail"],
        "Only people can use users.read, users.write. The role member of your owner does not allow guides.write."
    );
    assert_eq!(
        refused["fix"],
        "Send the same request with \"scope\": \"agents.list\". Ask max@example.com to do what only people may do. Tell \
         max@example.com what you need it for: nobody else can help. Read the page in doc_url to see what can be asked for."
    );
    let refused = t.as_(&scout, "POST", ASK, request_for("agents.share")).await.refused(400, "scope_not_grantable");
    assert_eq!(
        refused["fix"],
        "Ask max@example.com to send PATCH /api/agents/scout {\"scope\": [\"ui.notify\",\"agents.share\"]}, then POST \
         /api/agents/scout/token/issue {\"scope\": [\"ui.notify\",\"agents.share\"]}. Read the page in doc_url to see what can be \
         asked for."
    );
    assert_eq!(t.number("SELECT count(*) FROM access_requests").await, 0);
    t.as_(&max, "POST", ASK, request_for("agents.list")).await.refused(403, "agent_required");
    t.nobody("POST", ASK, request_for("agents.list")).await.refused(401, "missing_credential");
}

/// A halted agent does not ask, but can wait for the decision about what it has asked.
#[tokio::test]
async fn a_halted_agent_does_not_ask() {
    let Stage { t, scout, .. } = stage("ui.notify").await;
    let path = asked(&t, &scout, "agents.list").await;
    t.execute("UPDATE agents SET state = 'paused'").await.unwrap();
    for (method, path) in [("POST", ASK), ("GET", ASK), ("DELETE", &path)] {
        let body = if method == "POST" { request_for("agents.read") } else { Null };
        t.as_(&scout, method, path, body).await.refused(403, "agent_paused");
    }
    assert_eq!(t.as_(&scout, "GET", &format!("{path}?wait=25"), Null).await.is(200)["state"], "open");
    t.execute("UPDATE agents SET state = 'running', budget_cents = 1, spent_cents = 2").await.unwrap();
    t.as_(&scout, "POST", ASK, request_for("agents.read")).await.refused(402, "over_budget");
}

/// The same open request is the same row, however it is written; an agent has at most 20 open ones.
#[tokio::test]
async fn the_same_open_request_is_one_row_and_twenty_are_the_most() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    let first = t.as_(&scout, "POST", ASK, request_for("agents.keys.write agents.keys.read")).await.is(201);
    let again = json!({ "scope": ["agents.keys.*", "agents.keys.read"], "reason": "another", "hours": 5 });
    let changed = t.as_(&scout, "POST", ASK, again.clone()).await.is(200);
    assert_eq!((&changed["id"], &changed["reason"], &changed["hours"]), (&first["id"], &json!("another"), &json!(5)));
    assert_eq!(changed["scope"], first["scope"]);
    let other = t.agent(&max, "other", "ui.notify").await;
    let path = asked(&t, &other, "agents.keys.*").await;
    t.as_(&max, "POST", &format!("{path}/deny"), Null).await.is(200);
    for number in 0..20 {
        let row = format!("INSERT INTO custom_scopes VALUES ('{}', 'x.n{number}', 'n', 0, 'u')", max.tenant);
        t.execute(&row).await.unwrap();
        let status = if number < 19 { 201 } else { 409 };
        t.as_(&scout, "POST", ASK, request_for(&format!("x.n{number}"))).await.is(status);
    }
    let refused = t.as_(&scout, "POST", ASK, request_for("agents.list")).await.refused(409, "too_many_access_requests");
    assert!(refused["fix"].as_str().unwrap().contains("max@example.com"), "{refused}");
    assert_eq!(t.as_(&scout, "POST", ASK, again).await.is(200), changed);
    let of = |agent: &Actor| {
        format!("SELECT count(*) FROM access_requests WHERE agent_id = '{}'", agent.agent.as_ref().unwrap())
    };
    assert_eq!((t.number(&of(&scout)).await, t.number(&of(&other)).await), (20, 1));
    assert_eq!(t.number("SELECT count(*) FROM notifications").await, 21);
    // After a denial the agent can ask again.
    t.as_(&max, "POST", &format!("{ASK}/{}/deny", first["id"].as_str().unwrap()), Null).await.is(200);
    t.as_(&scout, "POST", ASK, request_for("agents.list")).await.is(201);
}

/// R121: an ask for more takes in the open ones that it overlaps, under an id of its own: a person who approves by an id has read what is there.
#[tokio::test]
async fn overlapping_requests_become_one_under_a_new_id() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    let ask = async |scope: &str, hours: i64| {
        let body = json!({ "scope": scope, "reason": "r", "hours": hours });
        t.as_(&scout, "POST", ASK, body).await.is(201)
    };
    let (first, second) = (ask("agents.list agents.read", 5).await, ask("agents.logs", 5).await);
    let merged = ask("agents.read agents.logs agents.create", 5).await;
    assert_eq!(merged["scope"], json!(["agents.create", "agents.list", "agents.logs", "agents.read"]));
    for old in [&first, &second] {
        let path = format!("{ASK}/{}/approve", old["id"].as_str().unwrap());
        t.as_(&max, "POST", &path, Null).await.refused(404, "request_not_found");
    }
    let longer = ask("agents.list", 6).await;
    assert_ne!(longer["id"], merged["id"], "more hours are another request");
    assert_eq!((&longer["scope"], &longer["hours"]), (&merged["scope"], &json!(6)));
    assert_eq!(t.number("SELECT count(*) FROM access_requests").await, 1);
}

/// R410: of requests that were taken in nothing lies before the owner any more, and the agent is told which they were.
#[tokio::test]
async fn what_was_taken_in_waits_for_nobody() {
    let Stage { t, scout, .. } = stage("ui.notify").await;
    let ask = async |scope: &str| t.as_(&scout, "POST", ASK, request_for(scope)).await.is(201);
    let unread = "SELECT action_url FROM notifications WHERE read_at IS NULL ORDER BY action_url";
    let (first, beside) = (ask("agents.list").await, ask("agents.logs").await);
    assert_eq!((t.texts(unread).await.len(), &first["replaces"]), (2, &Null));
    let wider = ask("agents.list agents.create").await;
    assert_eq!(wider["replaces"], json!([first["id"]]));
    let mut waits = [&beside, &wider].map(|request| format!("/access/{}", request["id"].as_str().unwrap()));
    waits.sort();
    assert_eq!(t.texts(unread).await, waits);
    // What is read later is the request alone.
    let path = format!("{ASK}/{}", wider["id"].as_str().unwrap());
    assert_eq!(t.as_(&scout, "GET", &path, Null).await.is(200)["replaces"], Null);
}

/// R446: a link to a request that was taken in leads to the one that took it in, however often that came about; for those alone that may see it,
/// and a decision names what was read.
#[tokio::test]
async fn what_was_taken_in_leads_to_what_took_it_in() {
    let Stage { t, max, mia, scout, .. } = stage("ui.notify").await;
    let mut asked = Vec::new();
    for scope in ["agents.list", "agents.list agents.create", "agents.list agents.logs"] {
        asked.push(t.as_(&scout, "POST", ASK, request_for(scope)).await.is(201));
        t.wait(1);
    }
    let paths: Vec<String> = asked.iter().map(|one| format!("{ASK}/{}", one["id"].as_str().unwrap())).collect();
    for (old, path) in asked.iter().zip(&paths).take(2) {
        for reader in [&max, &scout] {
            let shown = t.as_(reader, "GET", path, Null).await.is(200);
            assert_eq!((&shown["id"], &shown["replaces"]), (&asked[2]["id"], &json!([old["id"]])));
        }
        let absent = t.as_(&mia, "GET", &format!("{ASK}/acc_00000000000000000000000000"), Null).await;
        let hidden = t.as_(&mia, "GET", path, Null).await;
        assert_eq!(
            absent.refused(404, "request_not_found")["detail"],
            hidden.refused(404, "request_not_found")["detail"]
        );
        t.as_(&max, "POST", &format!("{path}/approve"), Null).await.refused(404, "request_not_found");
    }
    // What the agent took back is gone.
    t.as_(&scout, "DELETE", &paths[2], Null).await.is(204);
    for path in &paths {
        t.as_(&max, "GET", path, Null).await.refused(404, "request_not_found");
    }
}

/// R121: an agent takes back what is open, and nothing that was decided; another agent's request is an absent one.
#[tokio::test]
async fn an_agent_withdraws_its_own_open_request() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    let path = asked(&t, &scout, "agents.list").await;
    let other = t.agent(&max, "other", "ui.notify").await;
    t.as_(&other, "DELETE", &path, Null).await.refused(404, "request_not_found");
    t.as_(&max, "DELETE", &path, Null).await.refused(403, "agent_required");
    t.as_(&scout, "DELETE", &path, Null).await.is(204);
    t.as_(&scout, "DELETE", &path, Null).await.refused(404, "request_not_found");
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'access.withdraw'").await, 1);
    let path = asked(&t, &scout, "agents.list").await;
    t.as_(&max, "POST", &format!("{path}/approve"), Null).await.is(200);
    let refused = t.as_(&scout, "DELETE", &path, Null).await.refused(409, "already_decided");
    assert!(!refused["fix"].as_str().unwrap().contains("/revoke"), "{refused}");
}

/// R121: everything is asked for by name, so that those who decide see what it is for.
#[tokio::test]
async fn an_ask_for_everything_is_refused_with_the_advice_to_name_it() {
    let Stage { t, scout, .. } = stage("ui.notify").await;
    let refused = t.as_(&scout, "POST", ASK, request_for("*")).await.refused(400, "scope_not_grantable");
    assert!(refused["fix"].as_str().unwrap().starts_with("Name the scopes that you need"), "{refused}");
}

/// R50, R51: one answer for one key.
#[tokio::test]
async fn a_repeated_request_is_answered_as_the_first_time() {
    let Stage { t, ada, max, scout, .. } = stage("ui.notify").await;
    let bearer = |actor: &Actor| format!("Bearer {}", actor.token);
    let (agent, owner) = (bearer(&scout), bearer(&max));
    let headers = [("authorization", agent.as_str()), ("idempotency-key", "k")];
    let first = t.call("POST", ASK, &headers, request_for("agents.list")).await.is(201);
    let again = t.call("POST", ASK, &headers, request_for("agents.list")).await;
    assert_eq!((again.is(201), again.header("idempotency-replayed")), (first.clone(), "true"));
    let headers = [("authorization", owner.as_str()), ("idempotency-key", "k")];
    let path = format!("{ASK}/{}/approve", first["id"].as_str().unwrap());
    let answer = t.call("POST", &path, &headers, Null).await.is(200);
    assert_eq!(t.call("POST", &path, &headers, Null).await.is(200), answer);
    t.call("POST", &path, &headers, json!({ "hours": 1 })).await.refused(422, "idempotency_mismatch");
    assert_eq!(events(&t).await.len(), 1);
    // A caller that may no longer decide gets no kept answer.
    let other = t.as_(&scout, "POST", ASK, request_for("agents.read")).await.is(201);
    let (path, admin) = (format!("{ASK}/{}/deny", other["id"].as_str().unwrap()), bearer(&ada));
    let headers = [("authorization", admin.as_str()), ("idempotency-key", "k")];
    t.call("POST", &path, &headers, Null).await.is(200);
    t.execute("UPDATE users SET role = 'member'").await.unwrap();
    t.call("POST", &path, &headers, Null).await.refused(404, "request_not_found");
}

/// R7: only the owner and admins decide, never an agent or a PAT; R33, R34: the others learn nothing, or what is missing.
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
    // An agent sees its own requests and those of the agents below it; a PAT can read.
    for (actor, count) in [(&narrow, 1), (&scout, 1), (&helper, 0), (&pat, 1), (&ada, 1), (&mia, 0)] {
        let page = t.as_(actor, "GET", ASK, Null).await.is(200);
        assert_eq!(page["items"].as_array().unwrap().len(), count);
        let status = if count == 1 { 200 } else { 404 };
        assert_eq!(t.as_(actor, "GET", &path, Null).await.status, status);
    }
    t.grant(narrow.agent.as_ref().unwrap(), &max.tenant, mia.user.as_str(), "editor", &max.user).await;
    let refused = t.as_(&mia, "POST", &format!("{path}/approve"), Null).await.refused(403, "permission_denied");
    assert_eq!(refused["required_relations"], json!(["owner", "tenant.admin"]));
    assert_eq!(refused["fix"], "Ask its owner max@example.com, or an admin of your tenant, to do it.");
    t.as_(&mia, "GET", &path, Null).await.refused(403, "permission_denied");
    assert_eq!(t.as_(&mia, "GET", ASK, Null).await.is(200)["items"], json!([]));
    assert_eq!(t.texts("SELECT state FROM access_requests").await, ["open"]);
    assert_eq!(t.as_(&ada, "POST", &format!("{path}/approve"), Null).await.is(200)["decided_by"], "ada@example.com");
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
    assert_eq!(events(&t).await[0]["data"]["reason"], "not now");
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

/// Revoking counts from the next request on. A repetition is answered with the request as it is, which names the first revoker.
#[tokio::test]
async fn what_was_approved_is_revoked_at_once() {
    let Stage { t, ada, max, scout, .. } = stage("ui.notify").await;
    let second = TestApp::over(with_neighbours(), &t);
    let path = approved(&t, &scout, &max, "agents.list").await;
    t.as_(&scout, "GET", LIST, Null).await.is(200);
    let mut revoked = second.as_(&ada, "POST", &format!("{path}/revoke"), Null).await.is(200);
    revoked.as_object_mut().unwrap().remove("closure");
    t.as_(&scout, "GET", LIST, Null).await.refused(403, "scope_denied");
    assert_eq!((&revoked["state"], &revoked["decided_by"]), (&json!("revoked"), &json!("ada@example.com")));
    assert_eq!(t.as_(&max, "POST", &format!("{path}/revoke"), Null).await.is(200), revoked);
    let data = &events(&t).await[1];
    assert_eq!((&data["type"], &data["data"]["revoked"]), (&json!("access_denied"), &json!(true)));
    let rows = t.texts("SELECT action FROM audit ORDER BY seq").await;
    assert_eq!(rows, ["access.request", "access.approve", "access.revoke"]);
}

/// R74: a full database does not keep an approval alive.
#[tokio::test]
async fn what_was_approved_is_revoked_in_a_full_database_too() {
    let settings = service::settings::Settings { database_max_mib: Some(1), ..Default::default() };
    let t = TestApp::with(with_neighbours(), settings);
    let tenant = t.tenant("main").await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&max, "scout", "ui.notify").await;
    let path = approved(&t, &scout, &max, "agents.list").await;
    for size in [9_000, 90, 1] {
        let row = format!("SELECT id, (SELECT count(*) + 100 FROM inbox), 'x', hex(zeroblob({size})), 0 FROM agents");
        while t.execute(&format!("INSERT INTO inbox {row}")).await.is_ok() {}
    }
    t.as_(&max, "POST", &format!("{path}/revoke"), Null).await.is(200);
    t.as_(&scout, "GET", LIST, Null).await.refused(403, "scope_denied");
}

/// Approved ⊆ asked ∩ the owner's role ∩ what the approver can use.
#[tokio::test]
async fn an_approval_is_no_wider_than_the_request_or_the_approver() {
    let Stage { t, ada, max, scout, .. } = stage("ui.notify").await;
    let path = asked(&t, &scout, "agents.list agents.update").await;
    let approve = format!("{path}/approve");
    let refused = t.as_(&max, "POST", &approve, json!({ "scope": "agents.list agents.create" })).await;
    let refused = refused.refused(400, "approval_too_wide");
    assert_eq!(refused["excess_scopes"], json!(["agents.create"]));
    // A session can be narrower than its person's role.
    let end = Some(t.now().plus_seconds(600));
    let narrow = t.credential(Kind::Session, &max.tenant, &max.user, None, "agents.list", end).await;
    let refused = t.as_(&narrow, "POST", &approve, Null).await.refused(400, "approval_too_wide");
    assert_eq!(refused["excess_scopes"], json!(["agents.update"]));
    let fix = refused["fix"].as_str().unwrap();
    assert!(fix.starts_with("Send the same request with \"scope\": \"agents.list\". "), "{fix}");
    // The owner's role was lowered meanwhile: an admin cannot approve a scope that would have no effect.
    t.execute("UPDATE users SET role = 'viewer' WHERE email_key = 'max@example.com'").await.unwrap();
    let refused = t.as_(&ada, "POST", &approve, Null).await.refused(400, "approval_too_wide");
    assert_eq!(refused["excess_scopes"], json!(["agents.update"]));
    let answer = t.as_(&ada, "POST", &approve, json!({ "scope": "agents.list", "hours": 720 })).await.is(200);
    assert_eq!((&answer["granted"], &answer["ends_at"]), (&json!(["agents.list"]), &json!("2026-02-01T03:04:05.000Z")));
}

/// R41: an approval never reaches beyond the owner's role as it is now.
#[tokio::test]
async fn a_lower_role_of_the_owner_narrows_approvals_at_once() {
    let Stage { t, max, scout, .. } = stage("agents.read").await;
    approved(&t, &scout, &max, "agents.update").await;
    let change = |text: &str| json!({ "description": text });
    t.as_(&scout, "PATCH", "/api/agents/scout", change("a")).await.is(200);
    t.execute("UPDATE users SET role = 'viewer' WHERE email_key = 'max@example.com'").await.unwrap();
    t.as_(&scout, "PATCH", "/api/agents/scout", change("b")).await.refused(403, "scope_denied");
    assert_eq!(t.texts("SELECT description FROM agents").await, ["a"]);
}

/// An approval is the agent's: it outlives its tokens, also when the agent replaces its own; its keys do not get it.
#[tokio::test]
async fn an_approval_outlives_a_rotation_and_is_not_for_keys() {
    let Stage { t, max, mut scout, .. } = stage("agents.token.issue").await;
    approved(&t, &scout, &max, "agents.list").await;
    for by_itself in [true, false] {
        let by = if by_itself { &scout } else { &max };
        let issued = t.as_(by, "POST", "/api/agents/scout/token/issue", Null).await.is(200);
        assert_eq!(issued["scope"], json!(["agents.token.issue"]), "an approval is not part of a token");
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
    // R59: following the fix for a key to the letter works.
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
    let asked = t.as_(&key, "POST", ASK, request_for("agents.read")).await.is(201);
    // R767: the key is told so at once, and again when it is approved.
    let said = |request: &Json| request["next"].as_str().unwrap().to_owned();
    assert!(said(&asked).ends_with("It counts for the agent's token and not for this key."), "{asked}");
    let path = format!("{ASK}/{}", asked["id"].as_str().unwrap());
    t.as_(&max, "POST", &format!("{path}/approve"), Null).await.is(200);
    let (of_key, of_token) =
        (t.as_(&key, "GET", &path, Null).await.is(200), t.as_(&scout, "GET", &path, Null).await.is(200));
    assert!(said(&of_key).starts_with("It counts for the agent's token and not for this key"), "{of_key}");
    assert_eq!(said(&of_token), "Send the request that was refused again.");
}

/// R774: an agent asks for more time before its approval ends, and has it without a break; the longer approval is the only one then.
#[tokio::test]
async fn an_approval_is_prolonged_before_it_ends() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    let ask = |hours: i64| json!({ "scope": "agents.list", "reason": "to go on", "hours": hours });
    let approve = async |hours: i64| {
        let asked = t.as_(&scout, "POST", ASK, ask(hours)).await.is(201);
        let path = format!("{ASK}/{}", asked["id"].as_str().unwrap());
        t.as_(&session(&t, &max).await, "POST", &format!("{path}/approve"), Null).await.is(200);
        path
    };
    let first = approve(4).await;
    t.as_(&scout, "POST", ASK, ask(4)).await.refused(409, "already_granted");
    t.as_(&scout, "POST", ASK, json!({ "scope": "ui.notify", "reason": "r", "hours": 720 }))
        .await
        .refused(409, "already_granted");
    t.wait(2 * 3600 + 1);
    let second = approve(4).await;
    assert_eq!(t.as_(&scout, "GET", &first, Null).await.is(200)["state"], "ended");
    let replaces = t
        .texts("SELECT ifnull(after ->> '$.replaces[0]', '') FROM audit WHERE action = 'access.approve' ORDER BY seq")
        .await;
    assert!(replaces.len() == 2 && first.ends_with(&replaces[1]), "{replaces:?}");
    t.wait(3 * 3600);
    t.as_(&scout, "GET", LIST, Null).await.is(200);
    assert_eq!(t.number("SELECT count(*) FROM access_requests WHERE end_told_at IS NULL").await, 1);
    t.as_(&session(&t, &max).await, "POST", &format!("{second}/revoke"), Null).await.is(200);
    t.as_(&scout, "GET", LIST, Null).await.refused(403, "scope_denied");
}

/// R8: no sequence mints from an approval.
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
        // An agent that replaces its own token keeps what the token carries.
        t.as_(&scout, "POST", "/api/agents/scout/token/issue", body).await.refused(400, "rotation_keeps_rights");
    }
    // It can hand on what its own token carries, by the routes that were approved.
    t.as_(&scout, "POST", "/api/agents", make(&["agents.read"])).await.is(201);
    // The child's ceiling is wide, the minter is not: an approval of the minter's adds nothing.
    t.execute("UPDATE agents SET scope = '*'").await.unwrap();
    let issue = "/api/agents/child/token/issue";
    t.as_(&scout, "POST", issue, json!({ "scope": ["agents.logs"] })).await.refused(400, "scope_too_wide");
    t.as_(&scout, "POST", issue, json!({ "scope": ["agents.read"] })).await.is(200);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE scope LIKE '%logs%'").await, 0);
    drop(child);
}

/// R42: requests and approvals end with the agent, and nothing brings them back.
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

/// R36: pages in SQL without gaps or repetitions, and without the requests that others decide about.
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
    t.as_(&ada, "GET", &format!("{ASK}?whose=x"), Null).await.refused(422, "validation_error");
    t.as_(&ada, "GET", &format!("{ASK}?cursor=x"), Null).await.refused(400, "invalid_cursor");
}

/// The answers to forty requests at once, over two instances on one file.
fn crowd(apps: [&TestApp; 2], request: impl Fn(usize) -> (Actor, &'static str, String, Json) + Sync) -> Vec<Answer> {
    at_once(40, async |number| {
        let (actor, method, path, body) = request(number);
        apps[number % 2].as_(&actor, method, &path, body).await
    })
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status.as_u16() == status).count()
}

#[tokio::test]
async fn forty_equal_requests_at_once_make_one_row() {
    let Stage { t, scout, .. } = stage("ui.notify").await;
    let second = TestApp::over(with_neighbours(), &t);
    let answers = crowd([&t, &second], |number| {
        let scope = if number % 3 == 0 { "agents.list agents.keys.*" } else { "agents.keys.* agents.list" };
        (scout.clone(), "POST", ASK.to_owned(), request_for(scope))
    });
    assert_eq!((count(&answers, 201), count(&answers, 200)), (1, 39));
    assert_eq!(t.number("SELECT count(*) FROM access_requests").await, 1);
    assert_eq!(t.number("SELECT count(*) FROM notifications").await, 1);
    assert_eq!(t.number("SELECT count(*) FROM audit").await, 1);
}

#[tokio::test]
async fn one_of_forty_decisions_at_once_counts() {
    let Stage { t, ada, max, scout, .. } = stage("ui.notify").await;
    let path = asked(&t, &scout, "agents.list").await;
    let second = TestApp::over(with_neighbours(), &t);
    let answers = crowd([&t, &second], |number| {
        let actor = if number % 3 == 0 { ada.clone() } else { max.clone() };
        (actor, "POST", format!("{path}/{}", if number % 4 < 2 { "approve" } else { "deny" }), Null)
    });
    assert_eq!((count(&answers, 200), count(&answers, 409)), (1, 39));
    let winner = answers.iter().find(|answer| answer.status == 200).unwrap().is(200);
    assert_eq!(t.texts("SELECT state FROM access_requests").await, [winner["state"].as_str().unwrap()]);
    let works = t.as_(&scout, "GET", LIST, Null).await.status == 200;
    assert_eq!(works, winner["state"] == "approved");
    assert_eq!((t.number("SELECT count(*) FROM inbox").await, t.number("SELECT count(*) FROM audit").await), (1, 2));
}

/// Whichever comes first, an archived agent has no open request and no approval.
#[tokio::test]
async fn an_approval_racing_an_archiving_leaves_nothing_approved() {
    for round in 0..4 {
        let Stage { t, max, scout, .. } = stage("ui.notify").await;
        let path = asked(&t, &scout, "agents.list").await;
        let second = TestApp::over(with_neighbours(), &t);
        let answers = crowd([&t, &second], |number| match number == 10 * round {
            true => (max.clone(), "DELETE", "/api/agents/scout".to_owned(), Null),
            false => (max.clone(), "POST", format!("{path}/approve"), Null),
        });
        assert_eq!(count(&answers, 204), 1);
        assert!(count(&answers, 200) <= 1);
        assert_eq!(count(&answers, 200) + count(&answers, 404) + count(&answers, 409), 39);
        let left = "SELECT count(*) FROM access_requests WHERE state IN ('open', 'approved')";
        assert_eq!(t.number(left).await, 0);
        t.as_(&scout, "GET", LIST, Null).await.refused(401, "token_revoked");
    }
}

/// R98: an approval that amounts to `agents.*` takes a fresh proof by the person that approves; a smaller one does not.
#[tokio::test]
async fn a_wide_approval_takes_a_fresh_proof() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    let all: Scopes = Scopes::stored("agents.*", &common::scope::CustomScopes::default()).for_agents();
    let names: Vec<String> =
        all.all_names().into_iter().filter(|name| *name != "agents.share").map(str::to_owned).collect();
    let (part, wide) = (&names[1..], &names);
    let path = asked(&t, &scout, &wide.join(" ")).await;
    t.wait(900);
    let approve = format!("{path}/approve");
    for body in [Null, json!({ "scope": wide })] {
        t.as_(&max, "POST", &approve, body).await.refused(403, "reauthentication_required");
    }
    assert_eq!(t.number("SELECT count(*) FROM access_requests WHERE state = 'approved'").await, 0);
    t.as_(&max, "POST", &approve, json!({ "scope": part })).await.is(200);
    // One scope alone.
    let path = asked(&t, &scout, &names[0]).await;
    t.as_(&max, "POST", &format!("{path}/approve"), Null).await.is(200);
}

mod once;
