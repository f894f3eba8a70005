//! The tree of agents over HTTP: after many changes at once, over two hosts on one file, it is still a tree.

#![expect(clippy::indexing_slicing, reason = "tests: whatever is not as expected ends the test")]

use serde_json::{Value as Json, json};
use tests::{Answer, Server, at_once, server::text};

/// The answer is one of these, or "come again".
#[track_caller]
fn one_of(answer: &Answer, allowed: &[(u16, &str)]) {
    if answer.status() == 503 {
        answer.refused(503, "database_unavailable");
        return;
    }
    let slug = answer.json()["error"].as_str().unwrap_or_default().to_owned();
    assert!(allowed.contains(&(answer.status(), slug.as_str())), "{}", answer.text());
}

/// R46: two callers that put each other's agents below their own at once make no cycle, and nobody makes a tree too deep.
#[test]
fn moves_at_once_make_no_cycle() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        server.agent(&admin, name, &["agents.*"]);
    }
    at_once(40, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        let (name, parent) = (names[number % 5], names[(number * 3 + 1) % 5]);
        let parent = if number % 11 == 0 { Json::Null } else { json!(parent) };
        let answer = admin.at(at.host().base_url()).patch(&format!("/api/agents/{name}"), &json!({ "parent": parent }));
        one_of(&answer, &[(200, ""), (409, "tree_cycle")]);
    });
    // Everyone reaches a root within five steps.
    let rooted = "WITH RECURSIVE up (id, top, depth) AS (SELECT id, parent_id, 1 FROM agents
                      UNION ALL SELECT up.id, a.parent_id, depth + 1 FROM up JOIN agents a ON a.id = up.top WHERE depth < 9)
                  SELECT count(DISTINCT id) FROM up WHERE top IS NULL AND depth <= 5";
    assert_eq!(server.number(rooted), 5);
}

/// R597: a code that waits is in the hands of whom the former owner chose: it ends with what else they gave, also of the agents below.
#[test]
fn a_code_ends_when_its_agent_gets_another_owner() {
    let (server, admin) = Server::with_admin();
    let max = server.user(&admin, "max@example.com", "member");
    server.agent(&admin, "gift", &["agents.*"]);
    admin.post("/api/agents", &json!({ "name": "below", "parent": "gift", "scope": ["agents.read"] })).is(201);
    let made = ["gift", "below"]
        .map(|name| text(&admin.post(&format!("/api/agents/{name}/enrolment"), &json!({})).is(201)["code"]).to_owned());
    admin.patch("/api/agents/gift", &json!({ "owner": "max@example.com" })).is(200);
    for code in made {
        server.nobody().post("/api/agents/enroll", &json!({ "code": code })).refused(400, "invalid_enrolment_code");
    }
    let live = "SELECT count(*) FROM credentials WHERE kind = 'agent_token' AND revoked_at IS NULL";
    assert_eq!((server.number("SELECT count(*) FROM codes"), server.number(live)), (0, 0));
    // The new owner makes one of their own.
    let made = max.post("/api/agents/gift/enrolment", &json!({})).is(201);
    server.nobody().post("/api/agents/enroll", &json!({ "code": made["code"] })).is(200);
}

/// R42, R38: while a tree is archived, others register below it: each new agent was archived with it, or was refused; no
/// credential of it lives.
#[test]
fn nothing_is_left_below_what_was_archived() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    server.agent(&admin, "top", &["agents.*"]);
    let answers = at_once(40, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        let client = admin.at(at.host().base_url());
        if number == 20 {
            return (client.delete("/api/agents/top?confirm=true"), None);
        }
        let body = json!({ "name": format!("hand{number}"), "parent": "top", "scope": ["agents.read"] });
        let answer = client.post("/api/agents", &body);
        one_of(&answer, &[(201, ""), (404, "parent_not_found")]);
        let token = (answer.status() == 201).then(|| text(&answer.json()["auth_token"]).to_owned());
        (answer, token)
    });
    if answers.iter().all(|(answer, _)| answer.status() != 204) {
        admin.delete("/api/agents/top?confirm=true").is(204); // it was busy
    }
    assert_eq!(server.number("SELECT count(*) FROM agents WHERE archived_at IS NULL"), 0);
    assert_eq!(server.number("SELECT count(*) FROM credentials WHERE agent_id IS NOT NULL AND revoked_at IS NULL"), 0);
    for token in answers.iter().filter_map(|(_, token)| token.as_ref()) {
        server.with(token).get("/api/auth/whoami").refused(401, "token_revoked");
    }
}

/// R42: a token that is issued while its agent is deleted does not outlive it.
#[test]
fn no_token_outlives_the_agent_that_it_was_issued_for() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    for round in 0..2 {
        let name = format!("scout{round}");
        server.agent(&admin, &name, &["agents.read"]);
        let answers = at_once(40, |number| {
            let client = admin.at(if number % 2 == 0 { &server } else { &second }.host().base_url());
            if number == 3 {
                client.delete(&format!("/api/agents/{name}"))
            } else {
                client.post(&format!("/api/agents/{name}/token/issue"), &json!({}))
            }
        });
        for answer in &answers {
            one_of(answer, &[(200, ""), (204, ""), (404, "agent_not_found")]);
        }
        if answers.iter().all(|answer| answer.status() != 204) {
            admin.delete(&format!("/api/agents/{name}")).is(204);
        }
        for answer in answers.iter().filter(|answer| answer.status() == 200) {
            server.with(text(&answer.json()["token"])).get("/api/auth/whoami").refused(401, "token_revoked");
        }
    }
    assert_eq!(server.number("SELECT count(*) FROM credentials WHERE agent_id IS NOT NULL AND revoked_at IS NULL"), 0);
}

/// The journey of one tree: registered by its own agents, moved, exported, archived, restored, imported, purged.
#[test]
fn a_tree_grows_goes_and_comes_back() {
    let (server, admin) = Server::with_admin();
    let boss = server.agent(&admin, "boss", &["agents.*"]);
    let made = boss.client.post("/api/agents", &json!({ "name": "hand", "scope": ["agents.read"] })).is(201);
    let hand = server.with(text(&made["auth_token"]));
    assert_eq!(hand.get("/api/agents/me").is(200)["parent"], Json::Null, "it does not see who is above it");
    assert_eq!(boss.client.get("/api/agents/hand").is(200)["parent"], "boss");
    hand.get("/api/agents/boss").refused(404, "agent_not_found");
    let document = admin.get("/api/agents/boss/export").is(200);
    admin.delete("/api/agents/boss").refused(409, "has_children");
    admin.delete("/api/agents/boss?confirm=true").is(204);
    hand.get("/api/auth/whoami").refused(401, "token_revoked");
    let archived = admin.get("/api/agents/archived").is(200);
    let id = |name: &str| {
        let items = archived["items"].as_array().unwrap();
        text(&items.iter().find(|item| item["name"] == name).unwrap()["id"]).to_owned()
    };
    let back = admin.post(&format!("/api/agents/archived/{}/restore", id("boss")), &json!({})).is(200);
    assert_eq!((&back["name"], &back["state"], &back["has_token"]), (&json!("boss"), &json!("stopped"), &json!(false)));
    let back = admin.post(&format!("/api/agents/archived/{}/restore", id("hand")), &json!({})).is(200);
    assert_eq!(back["parent"], "boss");
    let made = admin.post("/api/agents/import", &document).is(201);
    assert_eq!(made["agents"][1]["parent"], "boss-2");
    admin.delete("/api/agents/hand").is(204);
    admin.delete(&format!("/api/agents/archived/{}", id("hand"))).is(204);
    admin.get("/api/agents/archived").is(200);
    assert_eq!(server.number("SELECT count(*) FROM agents WHERE archived_at IS NOT NULL"), 0);
    boss.client.get("/api/auth/whoami").refused(401, "token_revoked");
}
