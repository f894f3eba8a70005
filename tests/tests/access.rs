//! Requests for access over HTTP: from the refusal to the end of an approval, and many that decide at once.

use serde_json::{Value as Json, json};
use tests::{Answer, Server, at_once, server::text};

/// R7, R43: the whole sequence over four components: refusal, request, notification, approval, event, use, doctor, revocation.
#[test]
fn an_agent_asks_and_goes_on_with_the_token_that_it_has() {
    let (server, admin) = Server::with_admin();
    let max = server.user(&admin, "max@example.com", "member");
    let scout = server.agent(&max, "scout", &["agents.read"]);
    let doctor = "/api/auth/doctor?expect=preset:reader";
    let told = scout.client.get(doctor).is(200);
    assert_eq!(told["overall"], "fail");
    let missing: Vec<&str> = told["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|check| check["status"] == "missing_scope")
        .map(|check| text(&check["requires"]))
        .collect();
    assert_eq!(missing, ["agents.list", "audit.read", "guides.read"]);
    let wish = json!({ "scope": missing.join(" "), "reason": "to read what I need" });
    let asked = scout.client.post_once("/api/access-requests", "ask", &wish).is(201);
    let path = format!("/api/access-requests/{}", text(&asked["id"]));
    let notified = max.get("/api/notifications").is(200);
    assert_eq!(notified["items"][0]["title"], "scout asks for access");
    // R7: no other credential decides; R33: for a caller without a relation to the agent there is no request.
    let pat = server.plant_pat(&max, "*");
    let mia = server.user(&admin, "mia@example.com", "member");
    for verb in ["approve", "deny", "revoke"] {
        let path = format!("{path}/{verb}");
        for client in [&pat, &scout.client] {
            client.post(&path, &json!({})).refused(403, "session_required");
        }
        mia.post(&path, &json!({})).refused(404, "request_not_found");
    }
    max.post(&format!("{path}/approve"), &json!({ "hours": 1 })).is(200);
    let inbox = scout.client.get("/api/agents/me/inbox").is(200);
    assert_eq!(
        (&inbox["items"][0]["type"], &inbox["items"][0]["data"]["request"]),
        (&json!("scope_granted"), &asked["id"])
    );
    assert_eq!(scout.client.get(doctor).is(200)["overall"], "ok");
    scout.client.get("/api/agents").is(200);
    // R43: the doctor answers a halted agent.
    max.post("/api/agents/scout/pause", &json!({})).is(200);
    let told = scout.client.get(doctor).is(200);
    assert_eq!((&told["overall"], &told["checks"][2]["status"]), (&json!("fail"), &json!("paused")));
    scout.client.get("/api/access-requests").refused(403, "agent_paused");
    max.post("/api/agents/scout/resume", &json!({})).is(200);
    max.post(&format!("{path}/revoke"), &json!({})).is(200);
    scout.client.get("/api/agents").refused(403, "scope_denied");
    // A preset of the tenant's own, and what drifts from it.
    let put = admin.call("PUT", "/api/presets/scribe", &[], Some(br#"{"scope": ["agents.read"]}"#));
    assert_eq!(put.is(200)["version"], 1);
    max.patch("/api/agents/scout", &json!({ "preset": "scribe" })).is(200);
    let put = admin.call("PUT", "/api/presets/scribe", &[], Some(br#"{"scope": ["agents.read", "ui.notify"]}"#));
    assert_eq!(put.is(200)["version"], 2);
    let drift = max.get("/api/presets/scribe/drift").is(200);
    assert_eq!(
        (&drift["items"][0]["agent"], &drift["items"][0]["missing_scopes"]),
        (&json!("scout"), &json!(["ui.notify"]))
    );
}

/// Forty over two hosts that approve, deny or archive at once: one decides, and what is archived can use nothing.
#[test]
fn one_decides_a_request_for_access() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    for archives in [false, true] {
        let scout = server.agent(&admin, "scout", &["ui.notify"]);
        let wish = json!({ "scope": "agents.list", "reason": "to see who there is" });
        let asked = at_once(40, |number| {
            let at = if number % 2 == 0 { &server } else { &second };
            scout.client.at(at.host().base_url()).post("/api/access-requests", &wish)
        });
        let made: Vec<Json> = asked.iter().filter(|answer| answer.status() == 201).map(Answer::json).collect();
        assert_eq!(made.len(), 1);
        assert!(asked.iter().all(|answer| [200, 201, 503].contains(&answer.status())));
        let path = format!("/api/access-requests/{}", text(&made[0]["id"]));
        let answers = at_once(40, |number| {
            let at = if number % 2 == 0 { &server } else { &second };
            let admin = admin.at(at.host().base_url());
            match number {
                19 if archives => admin.delete("/api/agents/scout"),
                _ if number % 4 < 2 => admin.post(&format!("{path}/approve"), &json!({})),
                _ => admin.post(&format!("{path}/deny"), &json!({})),
            }
        });
        if archives && answers.iter().all(|answer| answer.status() != 204) {
            admin.delete("/api/agents/scout").is(204); // it was too busy
        }
        let decided = answers.iter().filter(|answer| answer.status() == 200).count();
        assert!(decided == 1 || (archives && decided == 0), "{decided}");
        let state = |state: &str| {
            server.number(&format!(
                "SELECT count(*) FROM access_requests WHERE agent_id = '{}' AND state = '{state}'",
                scout.id
            ))
        };
        assert_eq!(state("open"), 0);
        if archives {
            assert_eq!(state("approved"), 0);
            scout.client.get("/api/agents").refused(401, "token_revoked");
        } else {
            let works = scout.client.get("/api/agents").status() == 200;
            assert_eq!(i64::from(works), state("approved"));
            admin.delete("/api/agents/scout").is(204);
        }
    }
}
