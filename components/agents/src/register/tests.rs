use common::{
    role::Role,
    secret::{Kind, Secret},
};
use serde_json::{Value as Json, Value::Null, json};
use service::{
    settings::Settings,
    testing::{Actor, TestApp},
};
use store::usage::Quotas;

use crate::with_neighbours;

/// The agent of an answer, as an actor with the token in it.
fn with_token(owner: &Actor, made: &Json) -> Actor {
    let token = made["auth_token"].as_str().unwrap().to_owned();
    let (tenant, user, credential) = (owner.tenant.clone(), owner.user.clone(), owner.credential.clone());
    Actor { tenant, user, agent: None, credential, token }
}

/// R47: agent and token are created together, and the token is stored as it was answered.
#[tokio::test]
async fn an_agent_is_registered_with_a_token() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let body = json!({
        "name": "Build Bot", "display_name": " The builder ", "description": "Builds.", "runtime": "docker", "model": "m-1",
        "labels": { "team": "core" }, "scope": ["agents.read", "ui.*"], "expires_in_days": 1,
    });
    let answer = t.as_(&ada, "POST", "/api/agents", body).await;
    let made = answer.is(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let token = Secret::parse(made["auth_token"].as_str().unwrap()).unwrap();
    assert_eq!(
        made,
        json!({
            "id": made["id"], "name": "build-bot", "display_name": "The builder", "description": "Builds.",
            "runtime": "docker", "model": "m-1", "compute": null, "access": null, "labels": { "team": "core" }, "scope": ["agents.read", "ui.*"],
            "approved": [], "preset": null, "preset_version": null, "url": null, "tier": 3, "max_concurrent_tasks": 1, "budget_cents": null, "silent_after_minutes": null,
            "spent_cents": 0, "state": "running", "state_changed_at": null, "state_changed_by": null, "deploy_status": null, "owner": { "id": ada.user, "email": "ada@example.com", "active": true }, "parent": null,
            "created_at": "2026-01-02T03:04:05.000Z", "updated_at": "2026-01-02T03:04:05.000Z", "last_seen_at": null,
            "has_token": true,
            "token": {
                "id": made["token"]["id"], "prefix": token.shown(), "issued_at": "2026-01-02T03:04:05.000Z",
                "expires_at": "2026-01-03T03:04:05.000Z", "last_used_at": null, "scope": ["agents.read", "ui.*"],
                "minted_by": ada.user, "minted_with": ada.credential, "grantee": null,
            },
            "auth_token": token.reveal(), "warnings": [],
        })
    );
    // R5, R3: a read shows the same without the secret.
    let mut expected = made.clone();
    expected.as_object_mut().unwrap().retain(|key, _| key != "auth_token" && key != "warnings");
    assert_eq!(t.as_(&ada, "GET", "/api/agents/build-bot", Null).await.is(200), expected);
    assert_eq!(t.as_(&ada, "GET", "/api/agents", Null).await.is(200)["items"], json!([expected]));
    let by_id = format!("/api/agents/{}", made["id"].as_str().unwrap());
    assert_eq!(t.as_(&ada, "GET", &by_id, Null).await.is(200), expected, "its id does as well");
    t.as_(&ada, "GET", "/api/agents/agt_nothing", Null).await.refused(404, "agent_not_found");
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'agent.create' AND outcome = 'done'").await, 1);
    let leaked = format!("SELECT count(*) FROM audit WHERE after LIKE '%{}%'", token.reveal());
    assert_eq!(t.number(&leaked).await, 0);
}

#[tokio::test]
async fn the_default_preset_is_worker() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let made = t.as_(&ada, "POST", "/api/agents", json!({ "name": "scout", "issue_token": false })).await.is(201);
    assert_eq!(
        (&made["preset"], &made["auth_token"], &made["has_token"], &made["token"]),
        (&json!("worker"), &Null, &json!(false), &Null)
    );
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'agent_token'").await, 0);
    // R587: of no token.
    for life in ["expires_in_days", "expires_in"] {
        let body = json!({ "name": "short", "issue_token": false, life: 90 });
        let refused = t.as_(&ada, "POST", "/api/agents", body).await.refused(422, "validation_error");
        assert_eq!(refused["fields"][0]["field"], life);
    }
    let made = t.as_(&ada, "POST", "/api/agents", json!({ "name": "eng", "preset": "engineer" })).await.is(201);
    assert!(made["scope"].as_array().unwrap().contains(&json!("agents.secrets.*")));
    assert_eq!(made["token"]["expires_at"], Null);
}

#[tokio::test]
async fn a_taken_name_gets_a_number_up_to_100() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let body = json!({ "name": "Scout", "issue_token": false });
    for number in 1..=100 {
        let made = t.as_(&ada, "POST", "/api/agents", body.clone()).await.is(201);
        let expected = if number == 1 { "scout".to_owned() } else { format!("scout-{number}") };
        assert_eq!(made["name"], expected);
    }
    t.as_(&ada, "POST", "/api/agents", body).await.refused(409, "name_taken");
}

/// R44: each wrong value is refused with its slug, and nothing is stored.
#[tokio::test]
async fn wrong_values_are_refused() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let many: std::collections::BTreeMap<String, String> = (0..33).map(|n| (n.to_string(), String::new())).collect();
    for (body, status, slug) in [
        (json!({}), 422, "validation_error"),
        (json!({ "name": 7 }), 422, "validation_error"),
        (json!({ "name": "a", "tier": "1" }), 422, "validation_error"),
        (json!({ "name": "a", "tier": 0 }), 400, "invalid_number"),
        (json!({ "name": "a", "tier": 6 }), 400, "invalid_number"),
        (json!({ "name": "a", "budget_cents": -1 }), 400, "invalid_number"),
        (json!({ "name": "a", "max_concurrent_tasks": 0 }), 400, "invalid_number"),
        (json!({ "name": "a", "url": "http://a.example.com" }), 400, "invalid_agent_url"),
        (json!({ "name": "a", "url": "https://169.254.169.254/" }), 400, "invalid_agent_url"),
        (json!({ "name": "a", "parent": "b" }), 404, "parent_not_found"),
        (json!({ "name": "a", "secrets": [] }), 422, "validation_error"),
        (json!({ "name": "a", "labels": ["x"] }), 422, "validation_error"),
        (json!({ "name": "a", "scope": null }), 422, "validation_error"),
        (json!({ "name": "a", "issue_token": null }), 422, "validation_error"),
        (json!({ "name": "a", "expires_in_days": 1.5 }), 422, "validation_error"),
        (json!({ "name": "a", "expires_in_days": 1e30 }), 422, "validation_error"),
        (json!({ "name": "a", "scope": ["agents.read"], "preset": "worker" }), 422, "validation_error"),
        (json!({ "name": "a/../b" }), 400, "invalid_name"),
        (json!({ "name": ".." }), 400, "invalid_name"),
        (json!({ "name": "\\" }), 400, "invalid_name"),
        (json!({ "name": "a\u{0}b" }), 400, "invalid_name"),
        (json!({ "name": "" }), 400, "invalid_name"),
        (json!({ "name": "Import" }), 400, "invalid_name"),
        (json!({ "name": "x".repeat(10_000) }), 400, "invalid_name"),
        (json!({ "name": "a", "display_name": "a\u{202e}b" }), 400, "invalid_text"),
        (json!({ "name": "a", "labels": many }), 400, "invalid_labels"),
        (json!({ "name": "a", "labels": { "": "x" } }), 400, "invalid_labels"),
        (json!({ "name": "a", "scope": ["agents.fly", "agents.read"] }), 400, "unknown_scope"),
        (json!({ "name": "a", "scope": [] }), 400, "unknown_scope"),
        (json!({ "name": "a", "preset": "boss" }), 400, "unknown_preset"),
        (json!({ "name": "a", "expires_in_days": 0 }), 400, "invalid_lifetime"),
        (json!({ "name": "a", "expires_in_days": -1 }), 400, "invalid_lifetime"),
        (json!({ "name": "a", "expires_in_days": 3651 }), 400, "invalid_lifetime"),
    ] {
        t.as_(&ada, "POST", "/api/agents", body).await.refused(status, slug);
    }
    assert_eq!(t.number("SELECT (SELECT count(*) FROM agents) + (SELECT count(*) FROM audit)").await, 0);
}

/// Nothing that was sent is dropped silently.
#[tokio::test]
async fn a_repeated_label_is_refused() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let body = r#"{"name": "a", "labels": {"x": "1", "x": "2"}}"#;
    let request = http::Request::builder().method("POST").uri("/api/agents");
    let request = request.header("authorization", format!("Bearer {}", ada.token));
    let request = request.header("content-type", "application/json");
    t.send(request.body(service::body::RequestBody::from(body)).unwrap()).await.refused(422, "validation_error");
}

/// R8, R9: a PAT gives no more than it carries, and no longer than it lives. To a session, the answer warns of scopes without effect.
#[tokio::test]
async fn an_agent_is_never_wider_or_longer_lived_than_its_minter() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let ends = Some(t.now().plus_seconds(10 * 86_400));
    let pat = t
        .credential(
            Kind::Pat,
            &ada.tenant,
            &ada.user,
            None,
            "agents.create agents.read agents.list agents.update",
            ends,
        )
        .await;
    let refused = t
        .as_(&pat, "POST", "/api/agents", json!({ "name": "a", "scope": ["agents.*"] }))
        .await
        .refused(400, "scope_too_wide");
    assert!(refused["excess_scopes"].as_array().unwrap().contains(&json!("agents.delete")), "{refused}");
    let long = json!({ "name": "a", "scope": ["agents.read"], "expires_in_days": 11 });
    t.as_(&pat, "POST", "/api/agents", long).await.refused(400, "lifetime_too_long");
    let never = json!({ "name": "a", "scope": ["agents.read"], "expires_in_days": null });
    t.as_(&pat, "POST", "/api/agents", never).await.refused(400, "lifetime_too_long");
    assert_eq!(t.number("SELECT count(*) FROM agents").await, 0);
    let made = t.as_(&pat, "POST", "/api/agents", json!({ "name": "a", "scope": ["agents.read"] })).await.is(201);
    assert_eq!(made["token"]["expires_at"], "2026-01-12T03:04:05.000Z");
    assert_eq!(made["warnings"].as_array().unwrap().len(), 1);
    t.as_(&pat, "PATCH", "/api/agents/a", json!({ "scope": ["agents.delete"] })).await.refused(400, "scope_too_wide");
    let made = t
        .as_(&ada, "POST", "/api/agents", json!({ "name": "b", "scope": ["agents.read", "users.read"] }))
        .await
        .is(201);
    assert!(made["warnings"][0].as_str().unwrap().contains("users.read"), "{made}");
}

/// R38, R47: if one part fails, nothing is stored.
#[tokio::test]
async fn a_failed_registration_stores_nothing() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    t.execute("CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END").await.unwrap();
    t.as_(&ada, "POST", "/api/agents", json!({ "name": "a" })).await.refused(503, "database_unavailable");
    assert_eq!(
        t.number("SELECT (SELECT count(*) FROM agents) + (SELECT count(*) FROM credentials WHERE agent_id NOT NULL)")
            .await,
        0
    );
}

/// R51, R53: the answer is kept with its secret, only for the credential that got it.
#[tokio::test]
async fn a_secret_is_replayed_to_the_credential_that_got_it() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let second = t.credential(Kind::Session, &ada.tenant, &ada.user, None, "*", Some(t.now().plus_seconds(3600))).await;
    let body = json!({ "name": "scout" });
    let call = |actor: &Actor, key: &str, body: &Json| {
        let bearer = format!("Bearer {}", actor.token);
        let (key, body) = (key.to_owned(), body.clone());
        let t = &t;
        async move { t.call("POST", "/api/agents", &[("authorization", &bearer), ("idempotency-key", &key)], body).await }
    };
    let first = call(&ada, "\"k 1\"", &body).await.is(201);
    let again = call(&ada, "k 1", &body).await;
    assert_eq!((again.is(201), again.header("idempotency-replayed")), (first.clone(), "true"));
    call(&second, "k 1", &body).await.refused(409, "idempotency_other_credential");
    call(&second, "k 1", &json!({ "name": "other" })).await.refused(422, "idempotency_mismatch");
    call(&ada, "", &body).await.refused(400, "invalid_idempotency_key");
    assert_eq!(t.number("SELECT count(*) FROM agents").await, 1);
    let kept: Vec<u8> = {
        let file = rusqlite::Connection::open(t.path()).unwrap();
        file.query_row("SELECT answer FROM idempotency", [], |row| row.get(0)).unwrap()
    };
    let token = first["auth_token"].as_str().unwrap().as_bytes();
    assert!(!kept.windows(token.len()).any(|window| window == token), "sealed at rest");
    t.wait(24 * 3600);
    let third = t.credential(Kind::Session, &ada.tenant, &ada.user, None, "*", Some(t.now().plus_seconds(3600))).await;
    assert_eq!(call(&third, "k 1", &body).await.is(201)["name"], "scout-2");
}

/// R41, R12: an agent registers agents for its owner, below itself or below those below it, and reaches no others.
#[tokio::test]
async fn an_agent_registers_below_itself() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let boss = t.agent(&ada, "boss", "agents.*").await;
    t.agent(&ada, "other", "agents.*").await;
    let made = t.as_(&boss, "POST", "/api/agents", json!({ "name": "hand", "scope": ["agents.*"] })).await.is(201);
    assert_eq!((&made["parent"], &made["owner"]["email"]), (&json!("boss"), &json!("ada@example.com")));
    let hand = with_token(&ada, &made);
    let finger = json!({ "name": "finger", "scope": ["agents.read"] });
    assert_eq!(t.as_(&hand, "POST", "/api/agents", finger).await.is(201)["parent"], "hand");
    let nail = json!({ "name": "nail", "parent": "finger", "scope": ["agents.read"] });
    assert_eq!(t.as_(&boss, "POST", "/api/agents", nail).await.is(201)["parent"], "finger");
    // It may change those below it; those above and beside it are absent.
    for name in ["hand", "finger", "nail"] {
        t.as_(&boss, "GET", &format!("/api/agents/{name}"), Null).await.is(200);
        t.as_(&boss, "PATCH", &format!("/api/agents/{name}"), json!({ "model": "m" })).await.is(200);
    }
    for name in ["boss", "other"] {
        t.as_(&hand, "GET", &format!("/api/agents/{name}"), Null).await.refused(404, "agent_not_found");
        let below = json!({ "name": "x", "parent": name, "scope": ["agents.read"] });
        t.as_(&hand, "POST", "/api/agents", below).await.refused(404, "parent_not_found");
    }
    let list = t.as_(&boss, "GET", "/api/agents?parent=hand", Null).await.is(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let own = t.as_(&hand, "GET", "/api/agents/me", Null).await.is(200);
    assert_eq!(own["name"], "hand");
}

/// R8: a child gets no scope that its parent's ceiling lacks or that the minter cannot use.
#[tokio::test]
async fn a_child_has_no_more_than_its_parent() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let boss = t.agent(&ada, "boss", "agents.create agents.read").await;
    let wide = json!({ "name": "x", "scope": ["agents.*"] });
    t.as_(&boss, "POST", "/api/agents", wide.clone()).await.refused(400, "scope_too_wide");
    // A session cannot give it either: the bound is the parent's.
    let wide = json!({ "name": "x", "parent": "boss", "scope": ["agents.*"] });
    t.as_(&ada, "POST", "/api/agents", wide).await.refused(400, "scope_too_wide");
    let made = t.as_(&boss, "POST", "/api/agents", json!({ "name": "x" })).await.is(201);
    assert_eq!((&made["scope"], &made["preset"]), (&json!(["agents.read"]), &Null));
    assert!(made["warnings"][0].as_str().unwrap().contains("ui.notify"), "{made}");
    let only = t.agent(&ada, "only", "agents.create").await;
    t.as_(&only, "POST", "/api/agents", json!({ "name": "y" })).await.refused(400, "scope_too_wide");
    assert_eq!(t.number("SELECT count(*) FROM agents").await, 3);
}

/// An agent cannot raise its budget or tier by registering agents below itself.
#[tokio::test]
async fn an_agent_gives_no_more_budget_tier_and_tasks_than_it_has() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let boss = t.agent(&ada, "boss", "agents.create agents.read agents.update").await;
    t.execute("UPDATE agents SET budget_cents = 100, spent_cents = 10, tier = 2, max_concurrent_tasks = 4")
        .await
        .unwrap();
    let make = |name: &str, more: Json| {
        let mut body = json!({ "name": name, "scope": ["agents.read"], "budget_cents": 50 });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    for (more, field, value) in [
        (json!({ "tier": 1 }), "tier", "least 2"),
        (json!({ "max_concurrent_tasks": 5 }), "max_concurrent_tasks", "most 4"),
        (json!({ "budget_cents": 91 }), "budget_cents", "most 90"),
        (json!({ "budget_cents": null }), "budget_cents", "most 90"),
    ] {
        let refused = t.as_(&boss, "POST", "/api/agents", make("x", more)).await.refused(400, "beyond_parent");
        assert_eq!(refused["field"], field);
        assert!(refused["fix"].as_str().unwrap().contains(value), "{refused}");
    }
    t.as_(&boss, "POST", "/api/agents", make("x", json!({}))).await.is(201);
    // The second child gets at most what the first one left.
    t.as_(&boss, "POST", "/api/agents", make("y", json!({}))).await.refused(400, "beyond_parent");
    t.as_(&boss, "POST", "/api/agents", make("y", json!({ "budget_cents": 40 }))).await.is(201);
    t.as_(&boss, "PATCH", "/api/agents/x", json!({ "budget_cents": 51 })).await.refused(400, "beyond_parent");
    t.as_(&boss, "PATCH", "/api/agents/x", json!({ "budget_cents": 20, "tier": 4 })).await.is(200);
    t.as_(&boss, "PATCH", "/api/agents/y", json!({ "budget_cents": 70 })).await.is(200);
    for own in [
        json!({ "budget_cents": 1_000 }),
        json!({ "tier": 1 }),
        json!({ "spent_cents": 0 }),
        json!({ "max_concurrent_tasks": 9 }),
    ] {
        t.as_(&boss, "PATCH", "/api/agents/me", own).await.refused(403, "person_required");
    }
    assert_eq!(t.number("SELECT sum(budget_cents) FROM agents WHERE name <> 'boss'").await, 90);
    // Of these bounds, only the scope holds for a person.
    t.as_(&ada, "POST", "/api/agents", make("z", json!({ "parent": "boss", "tier": 1, "budget_cents": null })))
        .await
        .is(201);
}

/// R46: at most 8 agents deep, of one owner, and none is registered below a halted one.
#[tokio::test]
async fn a_tree_is_at_most_eight_deep_and_of_one_owner() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    for number in 1..=8 {
        let parent = if number == 1 { Null } else { json!(format!("a{}", number - 1)) };
        let body = json!({ "name": format!("a{number}"), "parent": parent, "issue_token": false });
        t.as_(&ada, "POST", "/api/agents", body).await.is(201);
    }
    let body = json!({ "name": "a9", "parent": "a8" });
    t.as_(&ada, "POST", "/api/agents", body).await.refused(409, "tree_too_deep");
    t.agent(&eve, "eves", "agents.*").await;
    t.as_(&ada, "POST", "/api/agents", json!({ "name": "b", "parent": "eves" }))
        .await
        .refused(409, "parent_of_another_owner");
    t.as_(&eve, "POST", "/api/agents", json!({ "name": "b", "parent": "a1" })).await.refused(404, "parent_not_found");
    t.execute("UPDATE agents SET state = 'paused' WHERE name = 'a3'").await.unwrap();
    let refused =
        t.as_(&ada, "POST", "/api/agents", json!({ "name": "b", "parent": "a3" })).await.refused(409, "parent_halted");
    assert!(refused["fix"].as_str().unwrap().contains("POST /api/agents/a3/resume"), "{refused}");
    assert_eq!(t.number("SELECT count(*) FROM agents").await, 9);
}

/// R618: a custom scope that was deleted is in nothing that is made afterwards, however it is asked for; what is exported can be imported.
#[tokio::test]
async fn a_deleted_scope_is_handed_on_to_nothing() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let define =
        |name: &str| format!("INSERT INTO custom_scopes VALUES ('{}', '{name}', 'x', 1, '{}')", ada.tenant, ada.user);
    t.execute(&define("x.gone")).await.unwrap();
    t.execute(&define("x.kept")).await.unwrap();
    t.execute(&define("x.later.one")).await.unwrap();
    let scope = json!(["agents.read", "x.gone", "x.kept", "x.later.*"]);
    t.as_(&ada, "PUT", "/api/presets/own", json!({ "scope": ["agents.read", "x.gone"] })).await.is(200);
    t.as_(&ada, "POST", "/api/agents", json!({ "name": "scout", "scope": scope })).await.is(201);
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    t.execute("DELETE FROM custom_scopes WHERE name = 'x.gone'").await.unwrap();
    let left = json!(["agents.read", "x.kept", "x.later.*"]);
    let issued = t.as_(&ada, "POST", "/api/agents/scout/token/issue", json!({})).await.is(200);
    assert_eq!(issued["scope"], left);
    let key = t.as_(&ada, "POST", "/api/agents/scout/keys", json!({ "name": "k" })).await.is(201);
    assert_eq!(key["scope"], left);
    let issued = t.as_(&pat, "POST", "/api/agents/scout/token/issue", json!({})).await.is(200);
    assert!(!issued["scope"].to_string().contains("x.gone"), "{issued}");
    let made = t.as_(&ada, "POST", "/api/agents", json!({ "name": "b", "preset": "own" })).await.is(201);
    assert_eq!(made["scope"], json!(["agents.read"]));
    // R681: of a preset it is said; and nothing is made by one of which nothing is left.
    assert!(made["warnings"].to_string().contains("The preset own names custom scopes that were deleted"), "{made}");
    t.execute(&define("x.gone")).await.unwrap();
    t.as_(&ada, "PUT", "/api/presets/only", json!({ "scope": ["x.gone"] })).await.is(200);
    t.execute("DELETE FROM custom_scopes WHERE name = 'x.gone'").await.unwrap();
    for (method, path, more) in [
        ("POST", "/api/agents", json!({ "name": "c", "preset": "only" })),
        ("PATCH", "/api/agents/b", json!({ "preset": "only" })),
        ("POST", "/api/agents/scout/token/issue", json!({ "preset": "only" })),
    ] {
        let told = t.as_(&ada, method, path, more).await.refused(400, "unknown_scope");
        assert!(told["fix"].as_str().unwrap().contains("PUT /api/presets/only"), "{told}");
    }
    let document = t.as_(&ada, "GET", "/api/agents/scout/export", Null).await.is(200);
    assert_eq!(document["agents"][0]["scope"], left);
    t.as_(&ada, "POST", "/api/agents/import", document).await.is(201);
}

/// R8: a pattern wider than the minter's own is stored as the scopes that it covers today: a scope that is defined later is not given.
#[tokio::test]
async fn a_scope_that_is_defined_later_is_not_part_of_what_was_minted() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let define =
        |name: &str| format!("INSERT INTO custom_scopes VALUES ('{}', '{name}', 'x', 1, '{}')", ada.tenant, ada.user);
    t.execute(&define("x.crm.read")).await.unwrap();
    let own = "agents.create agents.read agents.update agents.token.issue agents.keys.write x.crm.*";
    let pat = t.credential(Kind::Pat, &max.tenant, &max.user, None, own, None).await;
    let boss = t.agent(&max, "boss", own).await;
    for (minter, name) in [(&pat, "by-pat"), (&boss, "by-agent")] {
        let body = json!({ "name": name, "scope": ["x.*", "agents.read"] });
        let made = t.as_(minter, "POST", "/api/agents", body).await.is(201);
        assert_eq!(made["scope"], json!(["agents.read", "x.crm.read"]));
        let path = format!("/api/agents/{name}");
        let told = t.as_(minter, "PATCH", &path, json!({ "scope": ["x.*"] })).await.is(200);
        assert_eq!(told["scope"], json!(["x.crm.read"]));
        let told = t.as_(minter, "PATCH", &path, json!({ "scope": ["x.crm.*"] })).await.is(200);
        assert_eq!(told["scope"], json!(["x.crm.*"]), "the minter's own pattern is given as it is");
    }
    t.agent(&max, "wide", "*").await;
    let issued = t.as_(&pat, "POST", "/api/agents/wide/token/issue", json!({ "scope": ["x.*"] })).await.is(200);
    assert_eq!(issued["scope"], json!(["x.crm.read"]));
    let ask = json!({ "name": "ci", "scope": ["x.*"] });
    let key = t.as_(&pat, "POST", "/api/agents/wide/keys", ask).await.is(201);
    assert_eq!(key["scope"], json!(["x.crm.read"]));
    // A caller that rotates a wider key gets no more by it either.
    t.as_(&max, "POST", "/api/agents/wide/keys", json!({ "name": "own", "scope": ["x.*"] })).await.is(201);
    let keys = t.as_(&max, "GET", "/api/agents/wide/keys?name=own", Null).await.is(200);
    assert_eq!(keys["items"][0]["scope"], json!(["x.*"]));
    let rotate = format!("/api/agents/wide/keys/{}/rotate", keys["items"][0]["id"].as_str().unwrap());
    assert_eq!(t.as_(&pat, "POST", &rotate, json!({})).await.is(201)["scope"], json!(["x.crm.read"]));
    // Narrowing the parent's ceiling cuts a wider pattern below it too.
    let top = t.agent(&max, "top", "x.*").await;
    t.agent_below(&max, Some(&top), "low", "x.*").await;
    t.as_(&max, "PATCH", "/api/agents/top", json!({ "scope": ["x.crm.read"] })).await.is(200);
    assert_eq!(t.texts("SELECT scope FROM agents WHERE name = 'low'").await, ["x.crm.read"]);
}

/// A budget is given once: it does not become free when a child is archived, gets a lower one, or is restored.
#[tokio::test]
async fn a_budget_is_not_given_twice() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let boss = t.agent(&ada, "boss", "agents.*").await;
    t.execute("UPDATE agents SET budget_cents = 100 WHERE name = 'boss'").await.unwrap();
    let make = |name: &str| json!({ "name": name, "scope": ["agents.*"], "budget_cents": 100 });
    let first = t.as_(&boss, "POST", "/api/agents", make("a")).await.is(201);
    t.execute("UPDATE agents SET spent_cents = 60 WHERE name = 'a'").await.unwrap();
    t.as_(&boss, "PATCH", "/api/agents/a", json!({ "budget_cents": 10 })).await.refused(400, "beyond_parent");
    t.as_(&boss, "DELETE", "/api/agents/a", Null).await.is(204);
    t.as_(&boss, "POST", "/api/agents", make("b")).await.refused(400, "beyond_parent");
    let rest = json!({ "name": "b", "scope": ["agents.*"], "budget_cents": 40 });
    t.as_(&boss, "POST", "/api/agents", rest).await.is(201);
    let back = format!("/api/agents/archived/{}", first["id"].as_str().unwrap());
    t.as_(&boss, "POST", &format!("{back}/restore"), Null).await.refused(400, "beyond_parent");
    t.as_(&boss, "DELETE", &back, Null).await.refused(403, "person_required");
    // A child's budget cannot be lowered below what it has given.
    let hand = t.as_(&boss, "POST", "/api/agents/b/token/issue", json!({ "scope": ["agents.create"] })).await.is(200);
    let bearer = format!("Bearer {}", hand["token"].as_str().unwrap());
    let body = json!({ "name": "c", "scope": ["agents.create"], "budget_cents": 40 });
    t.call("POST", "/api/agents", &[("authorization", &bearer)], body).await.is(201);
    t.as_(&boss, "PATCH", "/api/agents/b", json!({ "budget_cents": 0 })).await.refused(400, "beyond_parent");
    // What a grandchild has spent does not become free when both are archived.
    t.execute("UPDATE agents SET spent_cents = 40 WHERE name = 'c'").await.unwrap();
    t.as_(&boss, "DELETE", "/api/agents/b?confirm=true", Null).await.is(204);
    let again = json!({ "name": "d", "scope": ["agents.create"], "budget_cents": 1 });
    t.as_(&boss, "POST", "/api/agents", again).await.refused(400, "beyond_parent");
}

/// R33: a caller that may not read an agent's parent never learns its name: not from the agent, a list, the audit trail or a fix.
#[tokio::test]
async fn a_parent_that_the_caller_may_not_read_is_hidden() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let top = t.agent(&ada, "hidden-top", "agents.*").await;
    let mid = t.agent_below(&ada, Some(&top), "mid", "agents.*").await;
    t.grant(mid.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "editor", &ada.user).await;
    t.as_(&top, "POST", "/api/agents/mid/pause", Null).await.is(200);
    t.as_(&ada, "POST", "/api/agents/hidden-top/pause", Null).await.is(200);
    for (method, path, status) in [
        ("GET", "/api/agents/mid", 200),
        ("GET", "/api/agents", 200),
        ("GET", "/api/agents/mid/export", 200),
        ("POST", "/api/agents/mid/resume", 409),
    ] {
        let answer = t.as_(&eve, method, path, Null).await;
        answer.is(status);
        assert!(!answer.text.contains("hidden-top"), "{path}: {}", answer.text);
    }
    t.as_(&eve, "PATCH", "/api/agents/mid", json!({ "model": "m" })).await.is(200);
    assert_eq!(t.as_(&ada, "GET", "/api/agents/mid", Null).await.is(200)["parent"], "hidden-top");
    let rows = t.texts("SELECT ifnull(before, '') || ifnull(after, '') FROM audit WHERE object_id IN (SELECT id FROM agents WHERE name = 'mid')").await;
    assert!(!rows.is_empty() && rows.iter().all(|row| !row.contains("hidden-top")), "{rows:?}");
}

/// R86: a person has as many agents as their quota allows, whichever way they come; archived ones do not count.
#[tokio::test]
async fn agents_of_a_person_are_bounded() {
    let quotas = Quotas { agents: 2, ..Settings::default().quotas };
    let t = TestApp::with(with_neighbours(), Settings { quotas, ..Settings::default() });
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    for name in ["one", "two"] {
        t.as_(&ada, "POST", "/api/agents", json!({ "name": name })).await.is(201);
    }
    let more = json!({ "name": "three" });
    let refused = t.as_(&ada, "POST", "/api/agents", more.clone()).await.refused(409, "quota_reached");
    assert_eq!((&refused["quota"], &refused["of"], &refused["limit"]), (&json!("agents"), &json!("person"), &json!(2)));
    t.as_(&ada, "POST", "/api/agents/import", json!({ "agents": [more] })).await.refused(409, "quota_reached");
    t.as_(&max, "POST", "/api/agents", more.clone()).await.is(201);
    t.as_(&ada, "DELETE", "/api/agents/one", Null).await.is(204);
    t.as_(&ada, "POST", "/api/agents", json!({ "name": "four" })).await.is(201);
    let archived = t.texts("SELECT id FROM agents WHERE archived_at IS NOT NULL").await;
    let restore = format!("/api/agents/archived/{}/restore", archived[0]);
    t.as_(&ada, "POST", &restore, Null).await.refused(409, "quota_reached");
    t.as_(&ada, "DELETE", "/api/agents/four", Null).await.is(204);
    t.as_(&ada, "POST", &restore, Null).await.is(200);
    // Five times as many in a tenant.
    t.execute("UPDATE usage SET agents = 10 WHERE subject_id LIKE 'ten_%'").await.unwrap();
    let refused = t.as_(&max, "POST", "/api/agents", more).await.refused(409, "quota_reached");
    assert_eq!((&refused["of"], &refused["limit"]), (&json!("tenant"), &json!(10)));
}

/// R617: a person is given no more than half of their quota by others than an admin; nothing is given then.
#[tokio::test]
async fn agents_that_are_given_are_bounded() {
    let quotas = Quotas { agents: 4, ..Settings::default().quotas };
    let t = TestApp::with(with_neighbours(), Settings { quotas, ..Settings::default() });
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let give = async |by: &Actor, name: &str| {
        t.as_(by, "PATCH", &format!("/api/agents/{name}"), json!({ "owner": "eve@example.com" })).await
    };
    for name in ["one", "two", "three"] {
        t.as_(&max, "POST", "/api/agents", json!({ "name": name })).await.is(201);
    }
    t.as_(&max, "POST", "/api/agents", json!({ "name": "four", "parent": "three" })).await.is(201);
    give(&max, "one").await.is(200);
    // With one below it.
    let refused = give(&max, "three").await.refused(409, "quota_reached");
    assert_eq!(refused["limit"], 2);
    give(&max, "two").await.is(200);
    assert_eq!(
        t.number("SELECT count(*) FROM agents WHERE owner_id = (SELECT id FROM users WHERE email LIKE 'eve@%')").await,
        2
    );
    t.as_(&eve, "POST", "/api/agents", json!({ "name": "own" })).await.is(201);
    give(&ada, "three").await.is(200);
    assert_eq!(
        t.number("SELECT count(*) FROM agents WHERE owner_id = (SELECT id FROM users WHERE email LIKE 'eve@%')").await,
        5
    );
}

/// R86: nobody fills the audit trail: in a day a person adds as much to it as they may store. What takes a right away goes on.
#[tokio::test]
async fn a_person_changes_so_much_in_a_day() {
    let quotas = Quotas { bytes: 20_000, ..Settings::default().quotas };
    let t = TestApp::with(with_neighbours(), Settings { quotas, ..Settings::default() });
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Admin).await;
    let scope = ["agents.read", "agents.update"];
    let scout = t.as_(&ada, "POST", "/api/agents", json!({ "name": "scout", "scope": scope })).await.is(201);
    let scout = with_token(&ada, &scout);
    let long = |number: usize| json!({ "description": format!("{number}{}", "x".repeat(1_800)) });
    let mut made = 0;
    let refused = loop {
        // The agents of a person are the person.
        let by = if made % 2 == 0 { &ada } else { &scout };
        let answer = t.as_(by, "PATCH", "/api/agents/scout", long(made)).await;
        if answer.status.as_u16() != 200 {
            break answer;
        }
        made += 1;
        assert!(made < 20, "no end");
    };
    refused.refused(429, "too_many_changes");
    assert_eq!(refused.header("retry-after"), "86400");
    assert!(t.number("SELECT sum(length(before) + length(after)) FROM audit").await < 20_000);
    t.as_(&max, "PATCH", "/api/agents/scout", long(99)).await.is(200);
    t.as_(&ada, "PATCH", "/api/agents/scout", json!({ "scope": ["agents.read"] })).await.is(200);
    t.as_(&ada, "DELETE", "/api/agents/scout", Null).await.is(204);
    t.as_(&ada, "POST", "/api/agents", json!({ "name": "other" })).await.refused(429, "too_many_changes");
    t.wait(86_400);
    let ada = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    t.as_(&ada, "POST", "/api/agents", json!({ "name": "other" })).await.is(201);
}

/// R86: what an editor does with a token that it issued for an agent counts for the editor, and takes nothing from the agent's owner.
#[tokio::test]
async fn what_an_editor_changes_counts_for_the_editor() {
    let quotas = Quotas { bytes: 20_000, agents: 4, ..Settings::default().quotas };
    let t = TestApp::with(with_neighbours(), Settings { quotas, ..Settings::default() });
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.*").await;
    let lent = t.lent(&scout, &max, "agents.*").await;
    let long = |number: usize| json!({ "description": format!("{number}{}", "x".repeat(1_800)) });
    let mut made = 0;
    while t.as_(&lent, "PATCH", "/api/agents/scout", long(made)).await.status.as_u16() == 200 {
        made += 1;
        assert!(made < 20, "no end");
    }
    for by in [&lent, &max] {
        t.as_(by, "PATCH", "/api/agents/scout", long(99)).await.refused(429, "too_many_changes");
    }
    t.as_(&ada, "PATCH", "/api/agents/scout", long(99)).await.is(200);
    // Answers are kept for the editor, too.
    t.execute("DELETE FROM attempts").await.unwrap();
    let headers = [("authorization", format!("Bearer {}", lent.token)), ("idempotency-key", "k".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    t.call("POST", "/api/access-requests", &headers, json!({ "scope": "agents.logs", "reason": "r" })).await;
    t.call("POST", "/api/agents/scout/token/issue", &headers, json!({})).await.is(200);
    let whose = t.texts("SELECT DISTINCT caller || ' ' || user_id FROM idempotency").await;
    assert_eq!(whose, [format!("{0} {0}", max.user)]);
}

/// R86, R53: kept answers count for what a person stores; the change itself is refused without a trace.
#[tokio::test]
async fn kept_answers_of_a_person_are_bounded() {
    let quotas = Quotas { bytes: 3_000, ..Settings::default().quotas };
    let t = TestApp::with(with_neighbours(), Settings { quotas, ..Settings::default() });
    let ada = t.ada().await;
    let bearer = format!("Bearer {}", ada.token);
    let mut kept = 0;
    let refused = loop {
        let key = format!("key-{kept}");
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", &key)];
        let answer = t.call("POST", "/api/agents", &headers, json!({ "name": key, "issue_token": false })).await;
        if answer.status.as_u16() != 201 {
            break answer;
        }
        kept += 1;
        t.execute("DELETE FROM attempts").await.unwrap(); // the trail has a bound of its own
    };
    let refused = refused.refused(409, "quota_reached");
    assert_eq!((&refused["quota"], &refused["limit"]), (&json!("stored bytes"), &json!(3_000)));
    assert_eq!(t.number("SELECT count(*) FROM agents").await, kept);
    let sum = t.number("SELECT sum(256 + length(answer)) FROM idempotency").await;
    assert_eq!(t.texts("SELECT DISTINCT CAST(bytes AS TEXT) FROM usage").await, [sum.to_string()]);
    t.execute("DELETE FROM idempotency").await.unwrap();
    assert_eq!(t.number("SELECT sum(bytes) FROM usage").await, 0);
}

fn with_vault(settings: service::settings::Settings) -> service::settings::Settings {
    let vault = common::vault::Vault::parse("a-key-of-the-operator-that-is-long-enough").unwrap();
    service::settings::Settings { vault, ..settings }
}

/// R111: an agent is registered with its secrets, or not at all.
#[tokio::test]
async fn an_agent_is_registered_with_its_secrets_or_not_at_all() {
    let t = TestApp::with(with_neighbours(), with_vault(Default::default()));
    let ada = t.ada().await;
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.create agents.read", None).await;
    for (by, secrets, status, slug) in [
        (&ada, json!({ "A": "x", "PATH": "y" }), 400, "invalid_secret_name"),
        (&ada, json!({ "A": "" }), 400, "invalid_secret_value"),
        (&ada, json!({ "A": 1 }), 422, "validation_error"),
        (&ada, json!({ "A": ada.token }), 422, "credential_in_text"),
        (&pat, json!({ "A": "x" }), 403, "scope_denied"),
    ] {
        let body = json!({ "name": "scout", "scope": ["agents.read"], "secrets": secrets });
        t.as_(by, "POST", "/api/agents", body).await.refused(status, slug);
    }
    assert_eq!(t.number("SELECT (SELECT count(*) FROM agents) + (SELECT count(*) FROM agent_secrets)").await, 0);
    let body = json!({ "name": "scout", "scope": ["agents.secrets.read"], "secrets": { "A": "x", "B": "two\nlines" } });
    let made = t.as_(&ada, "POST", "/api/agents", body).await.is(201);
    assert!(!made.to_string().contains("two"), "{made}");
    let bearer = format!("Bearer {}", made["auth_token"].as_str().unwrap());
    let values = t.call("GET", "/api/agents/me/secrets/values", &[("authorization", &bearer)], Null).await.is(200);
    assert_eq!(values, json!({ "secrets": { "A": "x", "B": "two\nlines" } }));
    let rows = t.texts("SELECT action || ' ' || ifnull(after, '') FROM audit WHERE action = 'agent.secret.set'").await;
    assert_eq!(rows, [r#"agent.secret.set {"set":["A","B"]}"#]);

    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let body = json!({ "name": "scout", "secrets": { "A": "x" } });
    t.as_(&ada, "POST", "/api/agents", body).await.refused(503, "secrets_disabled");
    assert_eq!(t.number("SELECT count(*) FROM agents").await, 0);
}

/// R112: what a request leaves out is as the preset says, and what it sends is as it says.
#[tokio::test]
async fn a_preset_gives_defaults() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let defaults = json!({ "runtime": "docker", "model": "m", "tier": 4, "max_concurrent_tasks": 3, "budget_cents": 900, "labels": { "team": "core" } });
    for name in ["scribe", "worker"] {
        let body = json!({ "scope": ["agents.read"], "defaults": defaults });
        t.as_(&ada, "PUT", &format!("/api/presets/{name}"), body).await.is(200);
    }
    let shown = |made: &Json| {
        ["runtime", "model", "tier", "max_concurrent_tasks", "budget_cents", "labels"].map(|name| made[name].clone())
    };
    let usual = [json!("docker"), json!("m"), json!(4), json!(3), json!(900), json!({ "team": "core" })];
    let plain = [Null, Null, json!(3), json!(1), Null, json!({})];
    let register = async |body: Json| shown(&t.as_(&ada, "POST", "/api/agents", body).await.is(201));
    assert_eq!(register(json!({ "name": "a", "preset": "scribe" })).await, usual);
    assert_eq!(register(json!({ "name": "b" })).await, usual, "the default preset's");
    assert_eq!(register(json!({ "name": "c", "scope": ["agents.read"] })).await, plain);
    let own = json!({ "name": "d", "preset": "scribe", "tier": 2, "budget_cents": null, "labels": {}, "model": "n", "runtime": null });
    assert_eq!(register(own).await, [Null, json!("n"), json!(2), json!(3), Null, json!({})]);
    let put = t.as_(&ada, "PUT", "/api/agents/c", json!({ "preset": "scribe", "model": "n" })).await.is(200);
    assert_eq!(shown(&put)[..3], [json!("docker"), json!("n"), json!(4)]);
    let patched = t.as_(&ada, "PATCH", "/api/agents/d", json!({ "preset": "scribe" })).await.is(200);
    assert_eq!(patched["tier"], 2, "a change changes what it names");
}

/// R112: `compute` comes back as it was sent, wherever the agent is shown, and moves with it.
#[tokio::test]
async fn compute_and_access_are_kept_as_they_were_sent() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let compute = json!({ "z": 1, "a": [1.5, null, true, { "memory": "4Gi", "big": 9_007_199_254_740_993_i64 }], "": "\u{e9} \"'\u{2028}" });
    let access = "Reads the tickets.\nWrites to no system.";
    let body = json!({ "name": "scout", "scope": ["agents.read"], "compute": compute, "access": access });
    let made = t.as_(&ada, "POST", "/api/agents", body).await.is(201);
    let got = t.as_(&ada, "GET", "/api/agents/scout", Null).await.is(200);
    let listed = t.as_(&ada, "GET", "/api/agents", Null).await.is(200)["items"][0].clone();
    let exported = t.as_(&ada, "GET", "/api/agents/scout/export", Null).await.is(200);
    for shown in [&made, &got, &listed, &exported["agents"][0]] {
        assert_eq!(shown["compute"].to_string(), compute.to_string());
        assert_eq!(shown["access"], access);
    }
    assert_eq!(listed, got, "the written agent is the one that the code writes");
    let imported = t.as_(&ada, "POST", "/api/agents/import", exported).await.is(201);
    assert_eq!(imported["agents"][0]["compute"].to_string(), compute.to_string());
    // R447: a number is kept by its value, as the manual says; a text keeps its digits.
    let sent = serde_json::from_str::<Json>(r#"{"cpu": 1.10, "exact": "1.10", "big": 18446744073709551615}"#).unwrap();
    let kept = t.as_(&ada, "PATCH", "/api/agents/scout", json!({ "compute": sent })).await.is(200);
    assert_eq!(kept["compute"].to_string(), r#"{"cpu":1.1,"exact":"1.10","big":18446744073709551615}"#);
    for (compute, status, slug) in [
        (json!("x".repeat(4095)), 400, "compute_too_large"),
        (json!({ "token": ada.token }), 422, "credential_in_text"),
    ] {
        t.as_(&ada, "PATCH", "/api/agents/scout", json!({ "compute": compute })).await.refused(status, slug);
    }
    let patched =
        t.as_(&ada, "PATCH", "/api/agents/scout", json!({ "compute": "x".repeat(4094), "access": null })).await.is(200);
    assert_eq!((patched["compute"].as_str().unwrap().len(), &patched["access"]), (4094, &Null));
    let cleared = t.as_(&ada, "PATCH", "/api/agents/scout", json!({ "compute": null })).await.is(200);
    assert_eq!(cleared["compute"], Null);
    let put = t.as_(&ada, "PUT", "/api/agents/scout-2", json!({ "scope": ["agents.read"] })).await.is(200);
    assert_eq!((&put["compute"], &put["access"]), (&Null, &Null));
}

/// R112: no way of making or changing an agent gives it a tier that the operator does not allow.
#[tokio::test]
async fn the_operator_bounds_the_tier() {
    let lowest =
        service::settings::Settings::read(|name| (name == "lowest_tier").then(|| "4 other=1".to_owned())).unwrap();
    let t = TestApp::with(with_neighbours(), lowest);
    let ada = t.ada().await;
    let scope = json!(["agents.read"]);
    let refused = t.as_(&ada, "POST", "/api/agents", json!({ "name": "a", "scope": scope, "tier": 3 })).await;
    let refused = refused.refused(400, "tier_too_low");
    assert!(refused["fix"].as_str().unwrap().starts_with("Send tier as a whole number from 4 to 5"), "{refused}");
    let made = t.as_(&ada, "POST", "/api/agents", json!({ "name": "a", "scope": scope })).await.is(201);
    assert_eq!(made["tier"], 4, "the usual tier is one that is allowed");
    t.as_(&ada, "PATCH", "/api/agents/a", json!({ "tier": 1 })).await.refused(400, "tier_too_low");
    t.as_(&ada, "PUT", "/api/agents/a", json!({ "scope": scope, "tier": 1 })).await.refused(400, "tier_too_low");
    assert_eq!(t.as_(&ada, "PUT", "/api/agents/a", json!({ "scope": scope })).await.is(200)["tier"], 4);
    let import = json!({ "agents": [{ "name": "b", "scope": scope, "tier": 2 }] });
    t.as_(&ada, "POST", "/api/agents/import", import).await.refused(400, "tier_too_low");
    let preset = json!({ "scope": scope, "defaults": { "tier": 3 } });
    t.as_(&ada, "PUT", "/api/presets/scribe", preset).await.refused(400, "tier_too_low");
    // What an agent has already stays, and does not hinder another change.
    t.execute("UPDATE agents SET tier = 1").await.unwrap();
    t.as_(&ada, "PATCH", "/api/agents/a", json!({ "tier": 1, "model": "m" })).await.is(200);
    t.execute("INSERT INTO presets (tenant_id, name, version, scope, created_at, created_by, defaults) SELECT id, 'old', 1, 'agents.read', 0, 'u', '{\"tier\":2}' FROM tenants").await.unwrap();
    let made = t.as_(&ada, "POST", "/api/agents", json!({ "name": "c", "preset": "old" })).await.is(201);
    assert_eq!(made["tier"], 4);
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", common::role::Role::Admin).await;
    t.as_(&eve, "POST", "/api/agents", json!({ "name": "a", "scope": scope, "tier": 1 })).await.is(201);
}
