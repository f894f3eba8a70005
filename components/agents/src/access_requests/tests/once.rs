//! What is approved for one request alone, for good, and not at all.

use common::secret::Digest;
use http::Request;
use service::body::RequestBody;

use super::*;

const HELPER: &str = r#"{"name":"helper"}"#;

/// Sends a body as these bytes, with a key if there is one.
async fn send(t: &TestApp, actor: &Actor, (method, path): (&str, &str), body: &str, key: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:3000");
    request =
        request.header("authorization", format!("Bearer {}", actor.token)).header("spin-client-addr", "192.0.2.1:1");
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    t.send(request.body(RequestBody::from(body.to_owned())).unwrap()).await
}

/// Sends the ask of a refusal as it is, and gives the path of the request.
async fn ask_of(t: &TestApp, agent: &Actor, refused: &Json) -> String {
    let ask = &refused["ask"];
    let (method, path) = (ask["method"].as_str().unwrap(), ask["path"].as_str().unwrap());
    let request = t.as_(agent, method, path, ask["body"].clone()).await.is(201);
    format!("{ASK}/{}", request["id"].as_str().unwrap())
}

/// Is refused, asks as the refusal says, and has it approved once.
async fn approved_once(t: &TestApp, agent: &Actor, by: &Actor, call: (&str, &str), body: &str) -> String {
    let path = ask_of(t, agent, &send(t, agent, call, body, None).await.refused(403, "scope_denied")).await;
    t.as_(by, "POST", &format!("{path}/approve"), json!({ "lasts": "once" })).await.is(200);
    path
}

/// R174, R176: from the refusal to the change, with nothing but what the answers say.
#[tokio::test]
async fn a_change_that_was_approved_once_is_made_once() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    let call = ("POST", "/api/agents");
    let refused = send(&t, &scout, call, HELPER, None).await.refused(403, "scope_denied");
    let digest = Digest::of(HELPER.as_bytes()).to_string();
    assert_eq!(
        refused["ask"],
        json!({ "method": "POST", "path": ASK, "body": {
            "scope": ["agents.create"],
            "reason": "Register an agent and issue its token: POST /api/agents",
            "for": { "method": "POST", "path": "/api/agents", "body_sha256": digest, "body": HELPER },
        } })
    );
    let path = ask_of(&t, &scout, &refused).await;
    let open = t.as_(&max, "GET", &path, Null).await.is(200);
    let named = json!({ "method": "POST", "path": "/api/agents", "body_sha256": digest, "words": "Register an agent and issue its token" });
    let mut shown = named.clone();
    shown["body"] = json!(HELPER);
    assert_eq!((&open["for"], &open["scope"]), (&shown, &json!(["agents.create"])));
    let told = t.texts("SELECT body FROM notifications").await;
    assert!(
        told[0].starts_with("For: Register an agent and issue its token (POST /api/agents)\nScope: agents.create\n"),
        "{told:?}"
    );
    let done = t.as_(&max, "POST", &format!("{path}/approve"), json!({ "lasts": "once", "hours": 1 })).await.is(200);
    assert_eq!(
        (&done["lasts"], &done["granted"], &done["state"]),
        (&json!("once"), &json!(["agents.create"]), &json!("approved"))
    );
    let event = &events(&t).await[0];
    assert_eq!(
        (&event["type"], &event["data"]["lasts"], &event["data"]["for"]),
        (&json!("scope_granted"), &json!("once"), &named)
    );
    // It gives nothing by itself: neither to what the credential shows nor to another body.
    assert!(!t.as_(&scout, "GET", &path, Null).await.is(200)["next"].as_str().unwrap().contains("GET"));
    send(&t, &scout, call, r#"{"name": "helper"}"#, None).await.refused(403, "scope_denied");
    send(&t, &scout, call, "", None).await.refused(403, "scope_denied");
    t.as_(&scout, "POST", "/api/agents/import", json!({ "agents": [] })).await.refused(403, "scope_denied");
    let made = send(&t, &scout, call, HELPER, None).await.is(201);
    assert_eq!(made["name"], "helper");
    let again = send(&t, &scout, call, HELPER, None).await.refused(403, "scope_denied");
    assert!(again["ask"].is_object(), "it can be asked again: {again}");
    let spent = t.as_(&scout, "GET", &path, Null).await.is(200);
    assert_eq!((&spent["state"], &spent["granted"]), (&json!("spent"), &json!(["agents.create"])));
    assert!(spent["next"].as_str().unwrap().starts_with("You have sent it."), "{spent}");
    let rows = t.texts("SELECT action || ' ' || outcome FROM audit ORDER BY seq").await;
    assert_eq!(rows, ["access.request done", "access.approve done", "access.spend done", "agent.create done"]);
    // What was approved once is no right to give on.
    assert!(!made["scope"].to_string().contains("agents.create"), "{made}");
}

/// R386: the body that is shown is the one that is sent, and nothing that nobody may read; what stays behind has its digest alone.
#[tokio::test]
async fn a_body_is_shown_to_those_who_decide() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    let digest = Digest::of(HELPER.as_bytes()).to_string();
    let ask = |named: Json| json!({ "reason": "to help", "for": named });
    let named = |members: Json| {
        let mut named = json!({ "method": "POST", "path": "/api/agents" });
        named.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        ask(named)
    };
    let flaw = async |body: Json| {
        let answer = t.as_(&scout, "POST", ASK, body).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        let refused: Json = serde_json::from_str(&answer.text).unwrap();
        (refused["error"].as_str().unwrap().to_owned(), refused["fields"][0].clone())
    };
    let escaped = format!(r#"{{"description":"{}"}}"#, max.token.replace("acr_", "\\u0061cr_"));
    let long = format!(r#"{{"description":"{}"}}"#, "x".repeat(2_048));
    for (members, slug, field) in [
        (json!({ "body": HELPER, "body_sha256": "0".repeat(64) }), "validation_error", "for.body"),
        (json!({ "body": long }), "validation_error", "for.body"),
        (json!({ "body": "" }), "validation_error", "for.body"),
        (json!({ "body": "[]" }), "validation_error", "for.body"),
        (json!({ "body": r#"{"name":"a","name":"b"}"# }), "validation_error", "for.body"),
        (json!({ "body": { "name": "a" } }), "validation_error", "for.body"),
        (json!({ "body": r#"{"name":"a","secrets":{"A":"hush"}}"# }), "validation_error", "for.body"),
        (json!({ "body": format!(r#"{{"name":"{}"}}"#, max.token) }), "credential_in_text", "for"),
        (json!({ "body": escaped }), "credential_in_text", "for.body"),
    ] {
        let (said, told) = flaw(named(members.clone())).await;
        assert_eq!((said.as_str(), &told["field"]), (slug, &json!(field)), "{members}");
        assert!(!told.to_string().contains("hush"), "{told}");
    }
    let secret = json!({ "method": "PUT", "path": "/api/agents/scout/secrets/A", "body": r#"{"value":"hush"}"# });
    assert_eq!(flaw(ask(secret)).await.1["field"], "for.body");
    assert_eq!(t.number("SELECT count(*) FROM access_requests").await, 0);

    // Named by its digest first, and shown later: the same request. Without a digest the body gives it.
    let first = t.as_(&scout, "POST", ASK, named(json!({ "body_sha256": digest }))).await.is(201);
    assert_eq!(first["for"].get("body"), None, "{first}");
    for body in [json!({ "body": HELPER }), json!({ "body": HELPER, "body_sha256": digest.to_uppercase() })] {
        let again = t.as_(&scout, "POST", ASK, named(body)).await.is(200);
        assert_eq!((&again["id"], &again["for"]["body"]), (&first["id"], &json!(HELPER)));
        assert_eq!(again["for"]["body_sha256"], json!(digest));
    }
    // One that does not show it takes it from nobody's eyes.
    let hidden = t.as_(&scout, "POST", ASK, named(json!({ "body_sha256": digest }))).await.is(200);
    assert_eq!(hidden["for"]["body"], json!(HELPER));
    let path = format!("{ASK}/{}", first["id"].as_str().unwrap());
    assert_eq!(t.as_(&max, "GET", &path, Null).await.is(200)["for"]["body"], json!(HELPER));
    t.as_(&max, "POST", &format!("{path}/approve"), json!({ "lasts": "once" })).await.is(200);
    send(&t, &scout, ("POST", "/api/agents"), HELPER, None).await.is(201);
    for left in [
        "SELECT after FROM audit",
        "SELECT body FROM notifications",
        "SELECT data FROM inbox",
        "SELECT data FROM outbox",
    ] {
        assert!(
            t.texts(left).await.iter().all(|text| !text.contains(r#"{\"name"#) && !text.contains(HELPER)),
            "{left}"
        );
    }
    // A refusal shows no secret back.
    let refused = send(&t, &scout, ("POST", "/api/agents"), r#"{"name":"a","secrets":{"A":"hush"}}"#, None).await;
    assert!(!refused.text.contains("hush") && refused.text.contains("body_sha256"), "{}", refused.text);
}

/// R174: a replay gets the kept answer and spends nothing; what was refused has spent nothing.
#[tokio::test]
async fn a_replay_spends_nothing_and_a_refused_change_neither() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    let (call, body) = (("POST", "/api/agents"), r#"{"name":"helper","parent":"hand"}"#);
    let first = approved_once(&t, &scout, &max, call, body).await;
    // There is no such parent yet: refused before anything was changed.
    send(&t, &scout, call, body, Some("k")).await.refused(404, "parent_not_found");
    assert_eq!(t.as_(&max, "GET", &first, Null).await.is(200)["state"], "approved");
    t.agent_below(&max, Some(&scout), "hand", "ui.notify").await;
    let made = send(&t, &scout, call, body, Some("k")).await;
    assert_eq!(made.is(201)["name"], "helper");
    assert_eq!(t.as_(&max, "GET", &first, Null).await.is(200)["state"], "spent");
    for _ in 0..2 {
        let again = send(&t, &scout, call, body, Some("k")).await;
        assert_eq!((again.header("idempotency-replayed"), &again.text), ("true", &made.text));
    }
    send(&t, &scout, call, body, Some("other")).await.refused(403, "scope_denied");
    send(&t, &scout, call, body, Some("")).await.refused(400, "invalid_idempotency_key");
    // A second approval is not spent by a replay of what the first one let through.
    let second = approved_once(&t, &scout, &max, call, body).await;
    assert_eq!(send(&t, &scout, call, body, Some("k")).await.header("idempotency-replayed"), "true");
    assert_eq!(t.as_(&max, "GET", &second, Null).await.is(200)["state"], "approved");
    t.wait(24 * 3600);
    send(&t, &scout, call, body, Some("k")).await.refused(403, "scope_denied");
}

/// R174: what takes rights away is done again with its key by those who have the right, and not by an approval for once.
#[tokio::test]
async fn a_stop_that_was_approved_once_is_not_done_again() {
    let Stage { t, max, scout, .. } = stage("agents.read").await;
    let hand = t.agent_below(&max, Some(&scout), "hand", "agents.read").await;
    let call = ("POST", "/api/agents/hand/stop");
    approved_once(&t, &scout, &max, call, "").await;
    let stopped = send(&t, &scout, call, "", Some("k")).await.is(200);
    t.execute("UPDATE agents SET state = 'running' WHERE name = 'hand'").await.unwrap();
    let again = send(&t, &scout, call, "", Some("k")).await;
    assert_eq!((again.header("idempotency-replayed"), &again.is(200)["state"]), ("true", &stopped["state"]));
    assert_eq!(t.texts("SELECT state FROM agents WHERE name = 'hand'").await, ["running"]);
    drop(hand);
}

/// R174: a read is answered once, with its own query alone; one that fails spends nothing.
#[tokio::test]
async fn a_read_that_was_approved_once_is_answered_once() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    let path = approved_once(&t, &scout, &max, ("GET", "/api/agents?limit=1&q=sc"), "").await;
    for other in
        ["/api/agents", "/api/agents?limit=2&q=sc", "/api/agents?q=sc&limit=1", "/api/agents?limit=1&q=sc&owner=me"]
    {
        t.as_(&scout, "GET", other, Null).await.refused(403, "scope_denied");
    }
    let seen = t.as_(&scout, "GET", "/api/agents?limit=1&q=sc", Null).await.is(200);
    assert_eq!(seen["items"][0]["name"], "scout");
    t.as_(&scout, "GET", "/api/agents?limit=1&q=sc", Null).await.refused(403, "scope_denied");
    assert_eq!(t.as_(&scout, "GET", &path, Null).await.is(200)["state"], "spent");
    let path = approved_once(&t, &scout, &max, ("GET", "/api/agents?limit=0"), "").await;
    t.as_(&scout, "GET", "/api/agents?limit=0", Null).await.refused(400, "invalid_limit");
    assert_eq!(t.as_(&scout, "GET", &path, Null).await.is(200)["state"], "approved");
    let rows = t.number("SELECT count(*) FROM audit WHERE action = 'access.spend'").await;
    assert_eq!(rows, 1);
}

/// R174: what is written by one statement spends its approval first.
#[tokio::test]
async fn a_line_of_a_log_that_was_approved_once_is_written_once() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    let (call, line) = (("POST", "/api/agents/me/logs"), r#"{"text":"begun"}"#);
    approved_once(&t, &scout, &max, call, line).await;
    send(&t, &scout, call, line, None).await.is(201);
    send(&t, &scout, call, line, None).await.refused(403, "scope_denied");
    assert_eq!(t.number("SELECT count(*) FROM agent_logs").await, 1);
}

/// R174: an approval for once ends as others do, and is for its agent alone: by no key, no other agent, and no other object of that name.
#[tokio::test]
async fn an_approval_for_once_ends_and_is_for_one_agent() {
    let Stage { t, ada, max, scout, .. } = stage("agents.read").await;
    t.agent_below(&max, Some(&scout), "hand", "ui.notify").await;
    let call = ("PATCH", "/api/agents/hand");
    let body = r#"{"description":"tidy"}"#;
    let other = t.agent(&max, "other", "agents.read").await;
    let key = t.credential(Kind::ApiKey, &max.tenant, &max.user, scout.agent.as_ref(), "agents.read", None).await;
    for end in ["time", "revoke", "role", "renamed", "scope", "archive"] {
        let max = session(&t, &max).await;
        let path = approved_once(&t, &scout, &max, call, body).await;
        for actor in [&other, &key] {
            assert_eq!(send(&t, actor, call, body, None).await.status, 403);
        }
        let ada = session(&t, &ada).await;
        match end {
            "time" => t.wait(24 * 3600),
            "revoke" => drop(t.as_(&ada, "POST", &format!("{path}/revoke"), Null).await.is(200)),
            "role" => drop(t.execute("UPDATE users SET role = 'viewer' WHERE email_key = 'max@example.com'").await),
            // Another agent gets the name.
            "renamed" => {
                t.execute("UPDATE agents SET name = 'former' WHERE name = 'hand'").await.unwrap();
                t.agent_below(&max, Some(&scout), "hand", "ui.notify").await;
            }
            "scope" => {
                drop(t.execute("UPDATE access_requests SET once = 'agents.list' WHERE state = 'approved'").await)
            }
            _ => drop(t.execute("UPDATE agents SET archived_at = 5 WHERE name = 'scout'").await),
        }
        assert!([401, 403].contains(&send(&t, &scout, call, body, None).await.status.as_u16()), "{end}");
        assert_eq!(t.texts("SELECT ifnull(description, '') FROM agents WHERE name = 'hand'").await, [""], "{end}");
        t.execute("UPDATE users SET role = 'member' WHERE email_key = 'max@example.com'").await.unwrap();
        t.execute("UPDATE access_requests SET state = 'revoked' WHERE state = 'approved'").await.unwrap();
    }
}

/// R622: nor is it for another agent that has the name by now, where the body names the agent; what is the same agent goes on.
#[tokio::test]
async fn an_approval_for_once_is_for_the_agents_that_its_body_names() {
    let Stage { t, max, scout, .. } = stage("agents.read").await;
    for (path, body) in [
        ("/api/agents/bulk/pause", r#"{"names":["hand"]}"#),
        ("/api/agents/deploy", r#"{"name":"hand"}"#),
        ("/api/agents", r#"{"name":"finger","parent":"hand"}"#),
    ] {
        let call = ("POST", path);
        for is_same in [false, true] {
            t.execute("UPDATE agents SET archived_at = 5 WHERE name IN ('hand', 'finger')").await.unwrap();
            t.execute("UPDATE agents SET name = id WHERE archived_at = 5").await.unwrap();
            t.agent_below(&max, Some(&scout), "hand", "agents.read").await;
            let by = session(&t, &max).await;
            approved_once(&t, &scout, &by, call, body).await;
            t.wait(1);
            if !is_same {
                t.execute("UPDATE agents SET name = 'former' || id, archived_at = 5 WHERE name = 'hand'")
                    .await
                    .unwrap();
                t.agent_below(&max, Some(&scout), "hand", "agents.read").await;
            }
            let answer = send(&t, &scout, call, body, None).await;
            assert_eq!(answer.status.is_success(), is_same, "{path}: {} {}", answer.status, answer.text);
            t.execute("UPDATE access_requests SET state = 'revoked' WHERE state = 'approved'").await.unwrap();
        }
    }
}

/// R174: of sixteen that send what was approved once, over two instances, one passes.
#[tokio::test]
async fn one_of_sixteen_passes() {
    for (call, body) in [
        (("POST", "/api/agents"), HELPER),
        (("GET", "/api/agents"), ""),
        (("POST", "/api/agents/me/logs"), r#"{"text":"x"}"#),
    ] {
        let Stage { t, max, scout, .. } = stage("ui.notify").await;
        let second = TestApp::over(with_neighbours(), &t);
        approved_once(&t, &scout, &max, call, body).await;
        let answers = at_once(16, async |number| {
            let at = if number % 2 == 0 { &t } else { &second };
            send(at, &scout, call, body, None).await.status.as_u16()
        });
        assert_eq!(answers.iter().filter(|status| [200, 201].contains(status)).count(), 1, "{call:?}: {answers:?}");
        assert!(answers.iter().all(|status| [200, 201, 403, 503].contains(status)), "{answers:?}");
        assert_eq!(t.number("SELECT count(*) FROM access_requests WHERE spent_at IS NOT NULL").await, 1);
    }
}

/// R174: of sixteen with one key, all get the one answer, and one change was made.
#[tokio::test]
async fn sixteen_with_one_key_make_one_change() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    let second = TestApp::over(with_neighbours(), &t);
    let call = ("POST", "/api/agents");
    approved_once(&t, &scout, &max, call, HELPER).await;
    let answers = at_once(16, async |number| {
        let at = if number % 2 == 0 { &t } else { &second };
        send(at, &scout, call, HELPER, Some("k")).await
    });
    let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert!(!made.is_empty() && made.iter().all(|answer| answer.text == made[0].text));
    assert!(answers.iter().all(|answer| [201, 503].contains(&answer.status.as_u16())), "{answers:?}");
    assert_eq!(t.number("SELECT count(*) FROM agents WHERE name = 'helper'").await, 1);
}

/// R174: what cannot be approved cannot be named, and each problem is said.
#[tokio::test]
async fn a_request_that_cannot_be_named_is_refused() {
    let Stage { t, ada, max, scout, .. } = stage("ui.notify").await;
    let named = |method: &str, path: &str| json!({ "reason": "r", "for": { "method": method, "path": path } });
    let digest = |digest: Json| json!({ "reason": "r", "for": { "method": "POST", "path": "/api/agents", "body_sha256": digest } });
    for (body, field) in [
        (named("POST", "/api/nothing"), "for.path"),
        (named("GET", "/api/users"), "for.path"),
        (named("GET", "/api/auth/whoami"), "for.path"),
        (digest(json!("abc")), "for.body_sha256"),
        (digest(json!(1)), "for.body_sha256"),
        (json!({ "reason": "r", "for": { "method": "GET" } }), "for.path"),
        (json!({ "reason": "r", "for": { "method": "GET", "path": "/api/agents", "body": "" } }), "for.body"),
        (json!({ "reason": "r", "for": "GET /api/agents" }), "for"),
        (json!({ "reason": "r" }), "scope"),
        (
            json!({ "reason": "r", "scope": "agents.list agents.delete", "for": { "method": "GET", "path": "/api/agents" } }),
            "scope",
        ),
    ] {
        let refused = t.as_(&scout, "POST", ASK, body.clone()).await.refused(422, "validation_error");
        assert_eq!(refused["fields"][0]["field"], field, "{body} {refused}");
    }
    // Where an approval would not help, as the refusal itself says.
    t.agent(&ada, "hers", "ui.notify").await;
    for path in ["/api/agents/hers", "/api/agents/nobody"] {
        let refused = send(&t, &scout, ("DELETE", path), "", None).await.refused(403, "scope_denied");
        assert_eq!(refused["ask"], Null, "{refused}");
        let refused = t.as_(&scout, "POST", ASK, named("DELETE", path)).await.refused(400, "scope_not_grantable");
        assert!(
            refused["detail"].as_str().unwrap().starts_with("An approval would not help: This object does not exist"),
            "{refused}"
        );
    }
    t.as_(&scout, "POST", ASK, named("GET", "/api/agents/scout/grants")).await.refused(400, "scope_not_grantable");
    assert_eq!(t.number("SELECT count(*) FROM access_requests").await, 0);
    // Once is for a request that was named.
    let path = asked(&t, &scout, "agents.list").await;
    let refused = t
        .as_(&max, "POST", &format!("{path}/approve"), json!({ "lasts": "once" }))
        .await
        .refused(422, "validation_error");
    assert_eq!(refused["fields"][0]["field"], "lasts");
    for body in [
        json!({ "lasts": "ever" }),
        json!({ "lasts": 1 }),
        json!({ "lasts": "always", "hours": 2 }),
        json!({ "lasts": null }),
    ] {
        t.as_(&max, "POST", &format!("{path}/approve"), body).await.refused(422, "validation_error");
    }
    assert_eq!(t.as_(&max, "GET", &path, Null).await.is(200)["state"], "open");
}

/// R174: two requests of one scope are asked beside each other; the same one twice is one, and a refusal says that it is open.
#[tokio::test]
async fn each_request_is_asked_for_by_itself() {
    let Stage { t, scout, max, .. } = stage("ui.notify").await;
    let first = send(&t, &scout, ("POST", "/api/agents"), HELPER, None).await.refused(403, "scope_denied");
    let other =
        send(&t, &scout, ("POST", "/api/agents"), r#"{"name":"other"}"#, None).await.refused(403, "scope_denied");
    let (path, second) = (ask_of(&t, &scout, &first).await, ask_of(&t, &scout, &other).await);
    assert_ne!(path, second);
    let again = t.as_(&scout, "POST", ASK, first["ask"]["body"].clone()).await.is(200);
    assert_eq!(format!("{ASK}/{}", again["id"].as_str().unwrap()), path);
    let refused = send(&t, &scout, ("POST", "/api/agents"), HELPER, None).await.refused(403, "scope_denied");
    assert_eq!((&refused["access_request"], &refused["ask"]), (&again["id"], &Null));
    assert!(refused["fix"].as_str().unwrap().ends_with(&format!("GET {path}?wait=25.")), "{refused}");
    // One for all requests is beside those.
    let general = asked(&t, &scout, "agents.create").await;
    assert_eq!(t.number("SELECT count(*) FROM access_requests WHERE state = 'open'").await, 3);
    t.as_(&max, "POST", &format!("{general}/approve"), Null).await.is(200);
    send(&t, &scout, ("POST", "/api/agents"), HELPER, None).await.is(201);
}

/// R175: what is approved for good counts without an end, within the ceiling as it is at each moment.
#[tokio::test]
async fn what_is_approved_for_good_counts_within_the_ceiling() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    t.execute(&format!("INSERT INTO custom_scopes VALUES ('{}', 'x.crm', 'n', 0, 'u')", max.tenant)).await.unwrap();
    let path = asked(&t, &scout, "agents.list x.crm").await;
    let approve = format!("{path}/approve");
    let refused = t.as_(&max, "POST", &approve, json!({ "lasts": "always" })).await.refused(400, "approval_too_wide");
    assert_eq!(refused["excess_scopes"], json!(["agents.list", "x.crm"]));
    assert!(
        refused["fix"]
            .as_str()
            .unwrap()
            .contains("PATCH /api/agents/scout {\"scope\": [\"ui.notify\",\"agents.list\",\"x.crm\"]}"),
        "{refused}"
    );
    let ceiling = async |scope: &str| {
        t.execute(&format!("UPDATE agents SET scope = '{scope}' WHERE name = 'scout'")).await.unwrap();
    };
    ceiling("agents.* x.crm ui.notify").await;
    let done = t.as_(&max, "POST", &approve, json!({ "lasts": "always" })).await.is(200);
    assert_eq!((&done["lasts"], &done["ends_at"], &done["state"]), (&json!("always"), &Null, &json!("approved")));
    assert_eq!(events(&t).await[0]["data"]["ends_at"], Null);
    t.wait(9 * 365 * 24 * 3600);
    t.as_(&scout, "GET", LIST, Null).await.is(200);
    let max = session(&t, &max).await;
    // A narrower ceiling narrows it at once, and a wider one gives it back; what it goes beyond is not given on.
    ceiling("ui.notify").await;
    t.as_(&scout, "GET", LIST, Null).await.refused(403, "scope_denied");
    ceiling("agents.list ui.notify").await;
    t.as_(&scout, "GET", LIST, Null).await.is(200);
    t.as_(&max, "POST", &format!("{path}/revoke"), Null).await.is(200);
    t.as_(&scout, "GET", LIST, Null).await.refused(403, "scope_denied");
}

/// R177: a denial ends it: the agent is told by whom and with which word, in each answer, and may not ask the same again at once.
#[tokio::test]
async fn a_denied_agent_is_told_so_and_does_not_ask_again_at_once() {
    let Stage { t, max, scout, .. } = stage("ui.notify").await;
    let call = ("POST", "/api/agents");
    let refused = send(&t, &scout, call, HELPER, None).await.refused(403, "scope_denied");
    let path = ask_of(&t, &scout, &refused).await;
    t.as_(&max, "POST", &format!("{path}/deny"), json!({ "reason": "use\nother" })).await.is(200);
    let said = "max@example.com denied it: \"use other\".";
    let until = "2026-01-02T04:04:05.000Z";
    let read = t.as_(&scout, "GET", &format!("{path}?wait=25"), Null).await.is(200);
    assert_eq!(read["next"], format!("{said} Do not ask for it again before {until}. Go on with something else."));
    assert_eq!((&read["state"], &read["denial_reason"]), (&json!("denied"), &json!("use\nother")));
    let again = send(&t, &scout, call, HELPER, None).await.refused(403, "scope_denied");
    assert!(again["detail"].as_str().unwrap().ends_with(said), "{again}");
    assert_eq!(
        (&again["ask"], &again["denied"]["by"], &again["denied"]["until"]),
        (&Null, &json!("max@example.com"), &json!(until))
    );
    assert!(
        again["fix"].as_str().unwrap().starts_with("Do not ask for it again before 2026-01-02T04:04:05.000Z"),
        "{again}"
    );
    let refused_ask = t.as_(&scout, "POST", ASK, refused["ask"]["body"].clone()).await.refused(409, "recently_denied");
    assert_eq!((&refused_ask["detail"], &refused_ask["request"]), (&json!(said), &read["id"]));
    // Another request was not denied, nor the scope as such.
    let other = send(&t, &scout, call, r#"{"name":"other"}"#, None).await.refused(403, "scope_denied");
    assert!(other["ask"].is_object(), "{other}");
    t.wait(3600);
    let later = send(&t, &scout, call, HELPER, None).await.refused(403, "scope_denied");
    assert_eq!((&later["ask"], &later["denied"]), (&refused["ask"], &Null));
    // What was denied for all requests is denied for each.
    let path = asked(&t, &scout, "agents.create").await;
    t.as_(&max, "POST", &format!("{path}/deny"), Null).await.is(200);
    let refused = send(&t, &scout, call, HELPER, None).await.refused(403, "scope_denied");
    assert!(refused["detail"].as_str().unwrap().ends_with("max@example.com denied it, without a word."), "{refused}");
    t.as_(&scout, "POST", ASK, other["ask"]["body"].clone()).await.refused(409, "recently_denied");
    t.as_(&scout, "POST", ASK, request_for("agents.create agents.list")).await.is(201);
}

/// R174: a caller that has the scope pays nothing for what others were approved once: the same statements run.
#[tokio::test]
async fn a_caller_that_has_the_scope_looks_for_no_approval() {
    let Stage { t, max, scout, .. } = stage("agents.list agents.read").await;
    let statements = async || {
        t.as_(&scout, "GET", LIST, Null).await.is(200);
        let before = t.db().statements();
        t.as_(&scout, "GET", LIST, Null).await.is(200);
        t.db().statements() - before
    };
    let before = statements().await;
    approved_once(&t, &scout, &max, ("POST", "/api/agents"), HELPER).await;
    assert_eq!(statements().await, before);
}
