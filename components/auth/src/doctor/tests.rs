use common::role::Role;
use serde_json::{Value as Json, Value::Null, json};
use service::testing::{Actor, TestApp};

use super::*;
use crate::with_neighbours;

const DOCTOR: &str = "/api/auth/doctor";

async fn stage(scope: &str) -> (TestApp, Actor, Actor) {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", scope).await;
    (t, ada, scout)
}

async fn ask(t: &TestApp, actor: &Actor, query: &str) -> Json {
    t.as_(actor, "GET", &format!("{DOCTOR}{query}"), Null).await.is(200)
}

/// `check requires status` of every check after the first two.
fn found(body: &Json) -> Vec<String> {
    let text = |check: &Json, name: &str| check[name].as_str().unwrap().to_owned();
    let checks = body["checks"].as_array().unwrap().iter().skip(2);
    checks
        .map(|check| format!("{} {} {}", text(check, "check"), text(check, "requires"), text(check, "status")))
        .collect()
}

#[tokio::test]
async fn a_healthy_agent_is_told_so_check_by_check() {
    let (t, ada, scout) = stage("agents.read ui.notify").await;
    let body = ask(&t, &scout, "").await;
    let good = |check: &str, requires: &str, detail: String| json!({ "check": check, "requires": requires, "status": "ok", "detail": detail, "fix": null });
    let prefix = &scout.token[..16];
    assert_eq!(
        body,
        json!({ "overall": "ok", "checks": [
            good("credential", "a live credential", format!("The credential agent_token {prefix} is live and never expires.")),
            good("account", "an active account", "The account ada@example.com is active and has the role member.".into()),
            good("state", "a running agent", "The agent scout is running.".into()),
            good("budget", "an agent within its budget", "The agent scout has not spent more than its budget.".into()),
            good("scope", "agents.read", "The credential can use agents.read.".into()),
            good("scope", "ui.notify", "The credential can use ui.notify.".into()),
        ] })
    );
    let body = ask(&t, &ada, "").await;
    assert_eq!((&body["overall"], body["checks"].as_array().unwrap().len()), (&json!("ok"), 2));
    assert_eq!(t.number("SELECT count(*) FROM audit").await, 0);
}

/// R43: the doctor answers a halted and an overspent agent, and says what is wrong with the fix of the refusal.
#[tokio::test]
async fn a_halted_agent_may_ask_and_is_told_so() {
    let (t, _, scout) = stage("agents.read").await;
    for (state, slug, check) in
        [("paused", "agent_paused", 2), ("stopped", "agent_stopped", 2), ("running", "over_budget", 3)]
    {
        let spent = i64::from(state == "running") * 9;
        t.execute(&format!("UPDATE agents SET state = '{state}', budget_cents = 5, spent_cents = {spent}"))
            .await
            .unwrap();
        let body = ask(&t, &scout, "").await;
        assert_eq!(body["overall"], "fail");
        let bad = &body["checks"][check];
        let status = if check == 3 { "over_budget" } else { state };
        assert_eq!(bad["status"], status);
        assert_eq!(body["checks"][4]["status"], "ok", "what it carries is there all the same");
        let refused = t.as_(&scout, "GET", "/api/audit", Null).await;
        let refused = refused.refused(if check == 3 { 402 } else { 403 }, slug);
        assert_eq!((&bad["fix"], &bad["detail"]), (&refused["fix"], &refused["detail"]));
    }
}

/// The fix of a missing scope is that of the 403; R59: it holds for people, agents and keys alike.
#[tokio::test]
async fn a_missing_scope_has_the_fix_of_the_refusal() {
    let (t, ada, scout) = stage("agents.read").await;
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.read", None).await;
    let key = t.credential(Kind::ApiKey, &ada.tenant, &ada.user, scout.agent.as_ref(), "agents.read", None).await;
    for actor in [&scout, &pat, &key] {
        let body = ask(&t, actor, "?expect=audit.read").await;
        let check = body["checks"].as_array().unwrap().last().unwrap().clone();
        let refused = t.as_(actor, "GET", "/api/audit", Null).await.refused(403, "scope_denied");
        assert_eq!((&body["overall"], &check["status"]), (&json!("fail"), &json!("missing_scope")));
        assert_eq!((&check["fix"], &check["detail"]), (&refused["fix"], &refused["detail"]));
    }
}

/// An agent is held to its preset in the newest version, or else to its ceiling; never to what no agent can use.
#[tokio::test]
async fn an_agent_is_held_to_its_preset_or_its_ceiling() {
    let (t, ada, scout) = stage("agents.list agents.read audit.read guides.read").await;
    t.execute("UPDATE agents SET preset = 'reader', preset_version = 1").await.unwrap();
    assert_eq!(ask(&t, &scout, "").await["overall"], "ok");
    t.execute(&format!(
        "INSERT INTO presets (tenant_id, name, version, scope, created_at, created_by) VALUES ('{0}', 'reader', 2, 'agents.* users.read x.crm.read', 0, '{1}')",
        ada.tenant, ada.user
    ))
    .await
    .unwrap();
    t.execute(&format!("INSERT INTO custom_scopes VALUES ('{}', 'x.crm.read', 'r', 0, 'u')", ada.tenant))
        .await
        .unwrap();
    let body = ask(&t, &scout, "").await;
    let lines = found(&body);
    assert_eq!(body["overall"], "fail");
    assert!(lines.contains(&"scope agents.read ok".to_owned()), "{lines:?}");
    assert!(lines.contains(&"scope agents.create missing_scope".to_owned()), "{lines:?}");
    assert!(lines.contains(&"scope x.crm.read missing_scope".to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("users.") || line.contains("stop_all")), "{lines:?}");
    t.execute("UPDATE agents SET preset = NULL, preset_version = NULL, scope = '*'").await.unwrap();
    t.execute("UPDATE credentials SET scope = '*'").await.unwrap();
    t.execute("UPDATE users SET role = 'admin'").await.unwrap();
    let body = ask(&t, &scout, "").await;
    assert_eq!(body["overall"], "ok", "{body}");
    // R41: the owner's role is part of every decision.
    t.execute("UPDATE users SET role = 'viewer'").await.unwrap();
    let lines = found(&ask(&t, &scout, "").await);
    assert!(lines.contains(&"scope agents.read ok".to_owned()), "{lines:?}");
    assert!(lines.contains(&"scope agents.update missing_scope".to_owned()), "{lines:?}");
    // Where nothing is expected, nothing is found good.
    t.execute("UPDATE agents SET scope = ''").await.unwrap();
    let body = ask(&t, &scout, "").await;
    assert_eq!((&body["overall"], found(&body).pop()), (&json!("warn"), Some("scope a scope skipped".to_owned())));
}

#[tokio::test]
async fn what_is_expected_is_named_as_preset_or_scopes() {
    let (t, ada, scout) = stage("agents.read agents.keys.*").await;
    assert_eq!(
        found(&ask(&t, &scout, "?expect=agents.keys.*,ui.notify%20agents.read").await)[2..],
        [
            "scope agents.read ok",
            "scope agents.keys.read ok",
            "scope agents.keys.write ok",
            "scope ui.notify missing_scope"
        ]
    );
    // Scopes for people only, agents only, sessions only.
    assert_eq!(found(&ask(&t, &scout, "?expect=users.read").await)[2..], ["scope users.read denied"]);
    assert_eq!(
        found(&ask(&t, &ada, "?expect=ui.notify,agents.read").await),
        ["scope agents.read ok", "scope ui.notify denied"]
    );
    t.execute("UPDATE users SET role = 'admin'").await.unwrap();
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    let body = ask(&t, &pat, "?expect=users.write").await;
    assert_eq!(found(&body), ["scope users.write denied"]);
    assert!(body["checks"][2]["fix"].as_str().unwrap().contains("POST /auth/token"), "{body}");
    assert_eq!(ask(&t, &ada, "?expect=users.write").await["overall"], "ok");
    let body = ask(&t, &scout, "?expect=preset:reader").await;
    assert_eq!(
        found(&body)[2..],
        [
            "scope agents.list missing_scope",
            "scope agents.read ok",
            "scope audit.read missing_scope",
            "scope guides.read missing_scope"
        ]
    );
    for bad in
        ["", ",", "preset:", "preset:none", "fly", "agents.read,fly", "preset:reader,fly", "preset:none,agents.read"]
    {
        t.as_(&scout, "GET", &format!("{DOCTOR}?expect={bad}"), Null).await.refused(400, "unknown_expectation");
    }
    t.as_(&scout, "GET", &format!("{DOCTOR}?preset=reader"), Null).await.refused(422, "validation_error");
    t.nobody("GET", DOCTOR, Null).await.refused(401, "missing_credential");
}

/// An end within 7 days is a warning; sessions always end soon.
#[tokio::test]
async fn a_warning_comes_before_a_near_end() {
    let (t, ada, scout) = stage("agents.read").await;
    let end = |days: i64| Some(t.now().plus_seconds(days * 86_400));
    for (days, overall) in [(8, "ok"), (7, "warn"), (1, "warn")] {
        let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", end(days)).await;
        let body = ask(&t, &pat, "").await;
        assert_eq!((&body["overall"], &body["checks"][0]["status"]), (&json!(overall), &json!("ok")), "{days}");
        assert_eq!(body["checks"][0]["fix"].is_string(), overall == "warn");
    }
    t.execute(&format!(
        "UPDATE credentials SET expires_at = {} WHERE kind = 'agent_token'",
        t.now().plus_seconds(60).millis()
    ))
    .await
    .unwrap();
    let body = ask(&t, &scout, "").await;
    assert_eq!(body["overall"], "warn");
    assert_eq!(body["checks"][0]["fix"], "Ask ada@example.com for a new token: POST /api/agents/scout/token/issue.");
    assert_eq!(ask(&t, &ada, "").await["overall"], "ok");
    let key = t.credential(Kind::ApiKey, &ada.tenant, &ada.user, scout.agent.as_ref(), "*", end(2)).await;
    let fix = ask(&t, &key, "").await["checks"][0]["fix"].clone();
    assert!(fix.as_str().unwrap().contains("POST /api/agents/scout/keys"), "{fix}");
}

/// An approved scope counts here as it does for the guard.
#[tokio::test]
async fn an_approved_scope_counts() {
    let (t, _, scout) = stage("agents.read").await;
    t.execute(&format!(
        "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, created_at, granted, ends_at)
         SELECT 'acc_1', tenant_id, id, 'audit.read', 'r', 1, 'approved', 0, 'audit.read', {} FROM agents",
        t.now().plus_seconds(60).millis()
    ))
    .await
    .unwrap();
    for overall in ["ok", "fail"] {
        assert_eq!(ask(&t, &scout, "?expect=audit.read").await["overall"], overall);
        t.wait(60);
    }
}

/// R112, R113: what the preset needs and the agent lacks fails the doctor; a probe that fails is a warning, with its own fix.
#[tokio::test]
async fn the_doctor_tells_of_secrets_and_probes() {
    let (t, ada, scout) = stage("agents.read").await;
    let id = scout.agent.as_ref().unwrap();
    t.execute(&format!(
        "INSERT INTO presets (tenant_id, name, version, scope, created_at, created_by, secrets, probes)
         VALUES ('{}', 'scribe', 1, 'agents.read', 0, 'u', '[\"A\",\"B\"]', '[\"github\",\"slack\"]');",
        scout.tenant
    ))
    .await
    .unwrap();
    t.execute(&format!("INSERT INTO agent_secrets VALUES ('{id}', 'A', x'00', 0, 0, 'u')")).await.unwrap();
    let insert = |probe: &str, name: &str, status: &str, detail: &str| {
        format!(
            "INSERT INTO probes (id, agent_id, name, method, url, secret, header, scheme, expect_status, created_at, created_by, status, detail)
             VALUES ('{probe}', '{id}', '{name}', 'GET', 'https://a.example', 'A', 'authorization', 'Bearer', 200, 0, 'u', {status}, {detail})"
        )
    };
    t.execute(&insert("prb_1", "github", "'forbidden'", "'a.example answered 403.'")).await.unwrap();
    t.execute(&insert("prb_2", "new", "NULL", "NULL")).await.unwrap();
    let body = ask(&t, &scout, "?expect=preset:scribe").await;
    assert_eq!(
        found(&body)[3..],
        [
            "secrets agents.secrets.read ok",
            "secret A ok",
            "secret B missing_secret",
            "probe slack skipped",
            "probe github missing_scope",
            "probe new skipped"
        ]
    );
    assert_eq!(body["overall"], "fail");
    let fix = |requires: &str| {
        let checks = body["checks"].as_array().unwrap();
        checks.iter().find(|check| check["requires"] == requires).unwrap()["fix"].as_str().unwrap().to_owned()
    };
    assert_eq!(fix("B"), "Ask ada@example.com to send PUT /api/agents/scout/secrets/B {\"value\": \"…\"}.");
    assert!(fix("github").starts_with("a.example answered 403. Give the credential there what it lacks"), "{body}");
    t.execute(&format!("INSERT INTO agent_secrets VALUES ('{id}', 'B', x'00', 0, 0, 'u')")).await.unwrap();
    assert_eq!(
        ask(&t, &scout, "?expect=preset:scribe").await["overall"],
        "warn",
        "somebody else's server is no fault of ours"
    );
    let body = ask(&t, &ada, "?expect=preset:scribe").await;
    assert!(!body.to_string().contains("probe"), "a person has none: {body}");
}

/// R610: secrets that it cannot read are a warning with the way out, and none once it can.
#[tokio::test]
async fn secrets_that_it_cannot_read_are_a_warning() {
    for (scope, overall) in [("agents.read", "warn"), ("agents.read agents.secrets.read", "ok")] {
        let (t, _, scout) = stage(scope).await;
        assert_eq!(ask(&t, &scout, "").await["overall"], "ok");
        let id = scout.agent.as_ref().unwrap();
        t.execute(&format!("INSERT INTO agent_secrets VALUES ('{id}', 'A', x'00', 0, 0, 'u')")).await.unwrap();
        let body = ask(&t, &scout, "").await;
        let check = body["checks"].as_array().unwrap().iter().find(|check| check["check"] == "secrets").unwrap();
        assert_eq!((&check["status"], &body["overall"]), (&json!("ok"), &json!(overall)), "{body}");
        assert_eq!(check["fix"].is_null(), overall == "ok", "{body}");
    }
}
