use common::{role::Role, secret::Kind};
use serde_json::{Value as Json, Value::Null, json};
use service::testing::{Actor, TestApp};

use crate::with_neighbours;

const HEARTBEAT: &str = "/api/agents/me/heartbeat";

async fn stage() -> (TestApp, Actor, Actor) {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.list agents.read agents.update").await;
    (t, ada, scout)
}

async fn beat(t: &TestApp, scout: &Actor, body: Json) -> Json {
    t.as_(scout, "POST", HEARTBEAT, body).await.is(200)
}

#[tokio::test]
async fn a_heartbeat_is_recorded_and_answers_the_agents_state() {
    let (t, ada, scout) = stage().await;
    let well = json!({
        "state": "running", "warnings": [], "unread": 0, "probes": [], "spent_cents": 0, "budget_cents": null,
    });
    assert_eq!(beat(&t, &scout, Null).await, well);
    t.wait(61);
    let at = t.now();
    assert_eq!(beat(&t, &scout, json!({})).await, well);
    let seen = t.as_(&ada, "GET", "/api/agents/scout", Null).await.is(200);
    assert_eq!((&seen["last_seen_at"], &seen["spent_cents"]), (&json!(at), &json!(0)));
    t.execute(
        "INSERT INTO inbox (agent_id, seq, kind, data, created_at) SELECT id, 1, 'message', '{}', 0 FROM agents UNION ALL SELECT id, 2, 'message', '{}', 0 FROM agents",
    )
    .await
    .unwrap();
    assert_eq!(beat(&t, &scout, Null).await["unread"], 2);
    assert_eq!(t.number("SELECT count(*) FROM audit").await, 0, "a row that speaks for itself");
    let before = t.db().statements();
    beat(&t, &scout, Null).await;
    assert_eq!(t.db().statements() - before, 2, "the caller and the heartbeat");
}

/// What an agent has spent is a running total: its own reports never lower it.
#[tokio::test]
async fn a_report_never_lowers_what_was_spent() {
    let (t, ada, scout) = stage().await;
    for (reported, kept) in [
        (json!(40), 40),
        (json!(10), 40),
        (json!(0), 40),
        (json!(41), 41),
        (json!(1_000_000_000_000i64), 1_000_000_000_000),
    ] {
        beat(&t, &scout, json!({ "spent_cents": reported })).await;
        assert_eq!(t.number("SELECT spent_cents FROM agents").await, kept);
    }
    for (body, status, slug) in [
        (json!({ "spent_cents": -1 }), 400, "invalid_number"),
        (json!({ "spent_cents": 1_000_000_000_001i64 }), 400, "invalid_number"),
        (json!({ "spent_cents": 1.5 }), 422, "validation_error"),
        (json!({ "spent_cents": "7" }), 422, "validation_error"),
        (json!({ "spent_cents": null }), 422, "validation_error"),
        (json!({ "probes": [] }), 422, "validation_error"),
        (json!([]), 422, "validation_error"),
    ] {
        t.as_(&scout, "POST", HEARTBEAT, body).await.refused(status, slug);
    }
    t.as_(&ada, "POST", HEARTBEAT, Null).await.refused(403, "agent_required");
    t.nobody("POST", HEARTBEAT, Null).await.refused(401, "missing_credential");
    t.as_(&ada, "PATCH", "/api/agents/scout", json!({ "spent_cents": 0 })).await.is(200);
    assert_eq!(t.number("SELECT spent_cents FROM agents").await, 0);
}

#[tokio::test]
async fn the_agent_is_warned_of_its_state_budget_and_end() {
    let (t, ada, scout) = stage().await;
    let warnings = async |spent: i64| {
        let answer = beat(&t, &scout, json!({ "spent_cents": spent })).await;
        answer["warnings"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    t.as_(&ada, "PATCH", "/api/agents/scout", json!({ "budget_cents": 100 })).await.is(200);
    assert_eq!(warnings(89).await, Vec::<String>::new());
    assert_eq!(
        warnings(90).await,
        ["You have spent 90 cents of your budget of 100. ada@example.com can raise the budget."]
    );
    assert_eq!(warnings(100).await.len(), 1);
    let over = "You have spent 101 cents, which is more than your budget of 100. ada@example.com can raise the budget.";
    assert_eq!(warnings(101).await, [over]);
    for (state, warning) in [
        ("paused", "You are paused. ada@example.com can resume you."),
        ("stopped", "You are stopped. ada@example.com can start you again."),
    ] {
        t.execute(&format!("UPDATE agents SET state = '{state}'")).await.unwrap();
        assert_eq!(warnings(101).await, [warning, over]);
    }
    t.execute("UPDATE agents SET state = 'running', budget_cents = NULL").await.unwrap();
    let ends = (t.now().millis() / 1000 + 8 * 86_400) * 1000;
    t.execute(&format!("UPDATE credentials SET expires_at = {ends} WHERE agent_id IS NOT NULL")).await.unwrap();
    t.wait(86_400);
    assert_eq!(warnings(101).await, Vec::<String>::new(), "seven days are left");
    t.wait(1);
    let warning = "The token that you sent expires at 2026-01-10T03:04:05.000Z. Ask ada@example.com for a new one: POST /api/agents/scout/token/issue.";
    assert_eq!(warnings(101).await, [warning]);
    let ends = Some(t.now().plus_seconds(60));
    let key = t.credential(Kind::ApiKey, &ada.tenant, &ada.user, scout.agent.as_ref(), "ui.notify", ends).await;
    let warning = "The key that you sent expires at 2026-01-03T03:05:06.000Z. ada@example.com can replace it.";
    assert_eq!(beat(&t, &key, Null).await["warnings"], json!([warning]));
}

/// R43: an agent over its budget is refused wherever a halted one is, and reads how to fix it; each of the ways works.
#[tokio::test]
async fn an_agent_over_its_budget_is_refused_until_a_person_raises_it() {
    let (t, ada, scout) = stage().await;
    let own = "/api/agents/scout";
    t.as_(&ada, "PATCH", own, json!({ "budget_cents": 100 })).await.is(200);
    for fix in [json!({ "budget_cents": 200 }), json!({ "spent_cents": 0 }), json!({ "budget_cents": null })] {
        let budget = t.number("SELECT budget_cents FROM agents").await;
        beat(&t, &scout, json!({ "spent_cents": budget })).await;
        t.as_(&scout, "GET", own, Null).await.is(200);
        beat(&t, &scout, json!({ "spent_cents": budget + 1 })).await;
        for (method, path, body) in [
            ("GET", own, Null),
            ("GET", "/api/agents", Null),
            ("PATCH", own, json!({ "spent_cents": 0 })),
            ("GET", "/api/agents/me/logs", Null),
            ("POST", "/api/agents/me/logs", json!({ "text": "a" })),
        ] {
            let refused = t.as_(&scout, method, path, body).await.refused(402, "over_budget");
            assert!(
                refused["fix"].as_str().unwrap().contains("PATCH /api/agents/scout {\"budget_cents\": "),
                "{refused}"
            );
        }
        assert_eq!(beat(&t, &scout, Null).await["warnings"].as_array().unwrap().len(), 1);
        // The agent cannot fix it itself by reporting less.
        beat(&t, &scout, json!({ "spent_cents": 0 })).await;
        t.as_(&scout, "GET", own, Null).await.refused(402, "over_budget");
        t.as_(&ada, "PATCH", own, fix).await.is(200);
        t.as_(&scout, "GET", own, Null).await.is(200);
    }
}

/// R647, R722: the owner is told in money, and led to where the budget is raised.
#[tokio::test]
async fn an_owner_is_told_in_money_that_an_agent_is_over_its_budget() {
    let (t, ada, scout) = stage().await;
    t.as_(&ada, "PATCH", "/api/agents/scout", json!({ "budget_cents": 1000 })).await.is(200);
    beat(&t, &scout, json!({ "spent_cents": 1205 })).await;
    let told = t.texts("SELECT body || ' ' || ifnull(action_url, '-') FROM notifications").await;
    let body = "It has spent 12.05 of 10.00. Its requests are refused until the budget is raised, or counted from 0, in its settings.";
    let agent = t.texts("SELECT id FROM agents").await[0].clone();
    assert_eq!(told, [format!("{body} /agents/{agent}/settings")]);
}

#[tokio::test]
async fn a_heartbeat_is_answered_for_a_halted_agent_and_refused_for_an_ended_token() {
    let (t, ada, scout) = stage().await;
    let boss = t.agent(&ada, "boss", "agents.lifecycle agents.read").await;
    for (verb, state) in [("pause", "paused"), ("stop", "stopped")] {
        t.as_(&ada, "POST", &format!("/api/agents/scout/{verb}"), Null).await.is(200);
        assert_eq!(beat(&t, &scout, Null).await["state"], state);
    }
    beat(&t, &boss, json!({ "spent_cents": 7 })).await;
    assert_eq!(t.number("SELECT spent_cents FROM agents WHERE name = 'scout'").await, 0, "each its own");
    t.as_(&ada, "DELETE", "/api/agents/scout/token", Null).await.is(204);
    t.as_(&scout, "POST", HEARTBEAT, Null).await.refused(401, "token_revoked");
}

/// R761: a key of a program elsewhere neither spends for its agent nor lives for it, and takes back none of its requests.
#[tokio::test]
async fn an_external_key_does_not_stand_for_its_agent() {
    let (t, ada, scout) = stage().await;
    beat(&t, &scout, Null).await;
    let asked = json!({ "scope": ["agents.logs"], "reason": "To look." });
    let asked = t.as_(&scout, "POST", "/api/access-requests", asked).await.is(201);
    let asked = format!("/api/access-requests/{}", asked["id"].as_str().unwrap());
    t.execute("UPDATE agents SET silent_told_at = 1").await.unwrap();
    t.wait(120);
    let state = "SELECT json_array(spent_cents, last_seen_at, silent_told_at) FROM agents";
    let before = t.texts(state).await;
    let key = async |kind: &str| {
        let ask = json!({ "name": kind, "type": kind, "scope": ["agents.read"] });
        let key = t.as_(&ada, "POST", "/api/agents/scout/keys", ask).await.is(201);
        format!("Bearer {}", key["key"].as_str().unwrap())
    };
    let external = key("external").await;
    let send = async |key: &str, method: &str, path: &str, body: Json| {
        t.call(method, path, &[("authorization", key)], body).await
    };
    let refused = send(&external, "POST", HEARTBEAT, json!({ "spent_cents": 7 })).await;
    assert_eq!(refused.refused(403, "permission_denied")["fix"], "Send it with the agent's own token.");
    send(&external, "DELETE", &asked, Null).await.refused(403, "permission_denied");
    assert_eq!(send(&external, "POST", HEARTBEAT, Null).await.is(200)["state"], "running");
    assert_eq!(t.texts(state).await, before);
    t.as_(&scout, "GET", &asked, Null).await.is(200);
    // One of a program that runs beside the agent does.
    let internal = key("internal").await;
    send(&internal, "POST", HEARTBEAT, json!({ "spent_cents": 7 })).await.is(200);
    assert_ne!(t.texts(state).await, before);
    send(&internal, "DELETE", &asked, Null).await.is(204);
}
