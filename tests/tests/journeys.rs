//! Whole journeys through the server, with nothing but an HTTP client.

use serde_json::{Value as Json, json};
use tests::{
    Server,
    secret::is_well_formed,
    server::{PASSWORD, text},
    until,
};

/// From an empty database to an agent that came and went: bootstrap, sign in, create, use, ask who it is, issue another, see
/// the first one refused on the next request, revoke, delete; each with the state that it leaves.
#[test]
fn from_bootstrap_to_deletion() {
    let server = Server::empty();
    let nobody = server.nobody();
    assert_eq!(nobody.get("/readyz").is(200)["bootstrapped"], false);
    let body = json!({ "secret": server.operator_secret(), "email": "Ada@Example.com", "name": " Ada ", "password": PASSWORD, "tenant": "acme" });
    let made = nobody.post("/auth/bootstrap", &body);
    assert_eq!(made.header("cache-control"), "no-store");
    let made = made.is(201);
    assert_eq!(
        (&made["tenant"]["slug"], &made["user"]["email"], &made["user"]["role"]),
        (&json!("acme"), &json!("Ada@Example.com"), &json!("admin"))
    );
    assert_eq!(made["user"]["name"], "Ada");
    assert_eq!(nobody.get("/readyz").is(200)["bootstrapped"], true);

    // Without a slug: bootstrap's tenant.
    let signed_in = nobody.post("/auth/token", &json!({ "email": "ada@example.com", "password": PASSWORD }));
    assert_eq!(signed_in.header("cache-control"), "no-store");
    let signed_in = signed_in.is(200);
    assert_eq!(
        (&signed_in["token_type"], &signed_in["role"], &signed_in["user_id"]),
        (&json!("bearer"), &json!("admin"), &made["user"]["id"])
    );
    let ada = server.with(text(&signed_in["access_token"]));
    let who = ada.get("/api/auth/whoami").is(200);
    assert_eq!(
        who,
        json!({
            "tenant": "acme", "user_id": made["user"]["id"], "email": "Ada@Example.com", "role": "admin",
            "agent_id": null, "agent_name": null, "agent_state": null, "owner": null, "ceiling": null,
            "credential": {
                "id": who["credential"]["id"], "kind": "session", "prefix": ada.bearer()[..16], "expires_at": signed_in["expires_at"],
            },
            "scope": ["*"],
        })
    );

    let created = ada.post(
        "/api/agents",
        &json!({ "name": "Build Bot", "scope": ["agents.read", "agents.list"], "labels": { "team": "core" } }),
    );
    assert_eq!(created.header("cache-control"), "no-store");
    let created = created.is(201);
    assert_eq!(
        (&created["name"], &created["state"], &created["has_token"]),
        (&json!("build-bot"), &json!("running"), &json!(true))
    );
    assert_eq!(created["owner"], json!({ "id": made["user"]["id"], "email": "Ada@Example.com", "active": true }));
    assert!(is_well_formed(text(&created["auth_token"]), "acr_agt_"));
    let first = server.with(text(&created["auth_token"]));

    let who = first.get("/api/auth/whoami").is(200);
    assert_eq!(
        (&who["agent_id"], &who["agent_name"], &who["agent_state"]),
        (&created["id"], &json!("build-bot"), &json!("running"))
    );
    assert_eq!(
        (&who["credential"]["id"], &who["credential"]["kind"]),
        (&created["token"]["id"], &json!("agent_token"))
    );
    assert_eq!(who["scope"], json!(["agents.list", "agents.read"]));
    let listed = first.get("/api/agents").is(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    assert_eq!((&listed["items"][0]["id"], &listed["next_cursor"]), (&created["id"], &Json::Null));
    first.delete("/api/agents/build-bot").refused(403, "scope_denied");
    first.post("/api/users", &json!({})).refused(403, "session_required");

    let issued = ada.post("/api/agents/build-bot/token/issue", &json!({ "expires_in_days": 30 })).is(200);
    let second = server.with(text(&issued["token"]));
    first.get("/api/auth/whoami").refused(401, "token_revoked");
    assert_eq!(second.get("/api/auth/whoami").is(200)["credential"]["expires_at"], issued["expires_at"]);
    let seen = ada.get("/api/agents/build-bot").is(200);
    assert_eq!((&seen["token"]["id"], &seen["token"]["prefix"]), (&issued["id"], &issued["prefix"]));

    let patched = ada
        .patch(
            "/api/agents/build-bot",
            &json!({ "display_name": "The builder", "labels": {}, "scope": ["agents.read"] }),
        )
        .is(200);
    assert_eq!(
        (&patched["display_name"], &patched["labels"], &patched["scope"]),
        (&json!("The builder"), &json!({}), &json!(["agents.read"]))
    );
    // The ceiling narrows live tokens.
    assert_eq!(second.get("/api/auth/whoami").is(200)["scope"], json!(["agents.read"]));
    let cleared = ada.patch("/api/agents/build-bot", &json!({ "display_name": null })).is(200);
    assert_eq!(cleared["display_name"], Json::Null);

    for _ in 0..2 {
        ada.delete("/api/agents/build-bot/token").is(204);
    }
    second.get("/api/auth/whoami").refused(401, "token_revoked");
    assert_eq!(ada.get("/api/agents/build-bot").is(200)["has_token"], false);
    ada.delete("/api/agents/build-bot").is(204);
    ada.get("/api/agents/build-bot").refused(404, "agent_not_found");
    ada.delete("/api/agents/build-bot").refused(404, "agent_not_found");
    assert_eq!(ada.get("/api/agents").is(200), json!({ "items": [], "next_cursor": null }));

    ada.post("/auth/logout", &json!({})).is(204);
    ada.get("/api/auth/whoami").refused(401, "token_revoked");
    // R31: each change has its row, and each row names the author, the address and the request.
    let actions = server.texts("SELECT action FROM audit WHERE outcome = 'done' ORDER BY seq");
    let token = "agent.token.";
    assert_eq!(
        actions,
        [
            "tenant.bootstrap",
            "session.start",
            "agent.create",
            &format!("{token}issue"),
            "agent.update",
            "agent.update",
            &format!("{token}revoke"),
            "agent.archive",
            "session.end"
        ]
    );
    let incomplete = "SELECT count(*) FROM audit WHERE user_id IS NULL OR address <> '127.0.0.1' OR request_id NOT LIKE 'req\\_%' ESCAPE '\\'";
    assert_eq!(server.number(incomplete), 0);
}

/// People of each role: what an admin makes, others see or do not see.
#[test]
fn an_admin_makes_people_and_they_make_agents() {
    let (server, ada) = Server::with_admin();
    let mia = server.user(&ada, "mia@example.com", "member");
    let vic = server.user(&ada, "vic@example.com", "viewer");
    let found = ada.get("/api/users?role=member&active=true&q=MIA").is(200);
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    let id = text(&found["items"][0]["id"]).to_owned();
    assert_eq!(ada.get(&format!("/api/users/{id}")).is(200), found["items"][0]);
    assert!(found["items"][0]["last_login_at"].is_string());
    for other in [&mia, &vic] {
        other.get("/api/users").refused(403, "scope_denied");
        other.post("/api/users", &json!({ "email": "x@example.com", "name": "X" })).refused(403, "scope_denied");
    }
    let agent = server.agent(&mia, "mias", &["agents.read", "users.read", "agents.stop_all"]);
    assert_eq!(agent.client.get("/api/auth/whoami").is(200)["scope"], json!(["agents.read"]));
    vic.post("/api/agents", &json!({ "name": "vics" })).refused(403, "scope_denied");
    vic.get("/api/agents/mias").refused(404, "agent_not_found");
    assert_eq!(vic.get("/api/agents").is(200)["items"], json!([]));
    // An admin may read and change what others own; the owner stays.
    assert_eq!(ada.get("/api/agents/mias").is(200)["owner"]["email"], "mia@example.com");
    ada.post("/api/agents/mias/token/issue", &json!({})).is(200);
    agent.client.get("/api/auth/whoami").refused(401, "token_revoked");
    assert_eq!(ada.get("/api/agents?owner=mia@example.com").is(200)["items"].as_array().map(Vec::len), Some(1));
}

/// Sessions are rows: seen, ended one by one, never by others.
#[test]
fn a_person_sees_and_ends_sessions() {
    let (server, ada) = Server::with_admin();
    let body = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
    let phone = server
        .nobody()
        .call("POST", "/auth/token", &[("user-agent", "phone \u{202e}\t1")], Some(body.as_bytes()))
        .is(200);
    let phone = server.with(text(&phone["access_token"]));
    let listed = ada.get("/auth/sessions").is(200);
    let sessions = listed["items"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    assert!(text(&sessions[0]["user_agent"]).starts_with("phone"), "the newest first: {listed}");
    assert_eq!((&sessions[0]["current"], &sessions[1]["current"]), (&json!(false), &json!(true)));
    ada.delete(&format!("/auth/sessions/{}", text(&sessions[0]["id"]))).is(204);
    phone.get("/api/auth/whoami").refused(401, "token_revoked");
    assert_eq!(ada.get("/auth/sessions").is(200)["items"].as_array().map(Vec::len), Some(1));
}

/// Design, section 8: the host drives the tick; refusals of known callers become one row for each minute and slug (R31).
#[test]
fn the_tick_writes_what_was_refused() {
    let server = Server::settings().ticking().start();
    let ada = server.bootstrap();
    let scout = server.agent(&ada, "scout", &["agents.read"]);
    let lease = "SELECT until FROM leases WHERE name = 'tick'";
    let before = server.number(lease);
    until("the next tick", || (server.number(lease) > before).then_some(()));
    for _ in 0..30 {
        scout.client.get("/api/agents").refused(403, "scope_denied");
    }
    let counted = format!(
        "SELECT (SELECT ifnull(sum(count), 0) FROM refusals WHERE agent_id = '{0}') + (SELECT ifnull(sum(count), 0) FROM audit WHERE agent_id = '{0}' AND outcome = 'refused')",
        scout.id
    );
    server.until_number(&counted, 30);
    // The minute is over when the clock says so; here it is made to be over.
    server.execute("UPDATE refusals SET minute = minute - 3600000");
    let written = format!(
        "SELECT ifnull(sum(count), 0) FROM audit WHERE agent_id = '{}' AND action = 'scope_denied' AND outcome = 'refused'",
        scout.id
    );
    server.until_number(&written, 30);
    server.until_number("SELECT count(*) FROM refusals", 0);
    assert!(
        server.number(&format!("SELECT count(*) FROM audit WHERE agent_id = '{}' AND outcome = 'refused'", scout.id))
            <= 2
    );
    // Anybody may call it: it makes no difference, and returns nothing.
    for _ in 0..20 {
        let answer = server.nobody().post("/internal/tick", &json!({ "anything": true }));
        assert_eq!((answer.status(), answer.text()), (204, String::new()));
    }
}
