use common::{
    role::Role,
    secret::Kind::{Pat, Session},
};
use serde_json::{Value as Json, Value::Null, json};
use service::{
    settings::Settings,
    testing::{Actor, TestApp, at_once},
};

use crate::with_neighbours;

const MAKE: &str = "/api/agents/scout/enrolment";
const ENROL: &str = "/api/agents/enroll";

async fn stage() -> (TestApp, Actor, Actor) {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.read ui.notify").await;
    (t, ada, scout)
}

async fn enrol(t: &TestApp, made: &Json) -> service::testing::Answer {
    t.nobody("POST", ENROL, json!({ "code": made["code"] })).await
}

/// R22, R3: a runtime trades the code for a token that works on the next request, and for the agent's settings; the token before ends.
#[tokio::test]
async fn a_code_is_traded_once_for_the_token() {
    let (t, ada, scout) = stage().await;
    let made = t.as_(&ada, "POST", MAKE, json!({ "scope": ["agents.read"], "expires_in_days": 7 })).await.is(201);
    assert_eq!(made["expires_at"], json!(t.now().plus_seconds(900)));
    t.as_(&scout, "GET", "/api/agents/me", Null).await.is(200); // the code alone changes nothing
    t.wait(10);
    let got = enrol(&t, &made).await.is(200);
    assert_eq!((&got["agent"]["name"], &got["scope"]), (&json!("scout"), &json!(["agents.read"])));
    assert_eq!(got["expires_at"], json!(t.now().plus_seconds(7 * 86_400)));
    t.as_(&scout, "GET", "/api/agents/me", Null).await.refused(401, "token_revoked");
    let bearer = format!("Bearer {}", got["token"].as_str().unwrap());
    t.call("GET", "/api/agents/me", &[("authorization", &bearer)], Null).await.is(200);
    let actions = t.texts("SELECT action FROM audit WHERE action LIKE 'agent.enrol%' ORDER BY id").await;
    assert_eq!(actions, ["agent.enrolment.create", "agent.enroll"]);
    // The agent hears of it as of every other new token.
    let events = t.texts("SELECT kind || ' ' || data FROM inbox").await;
    let data = json!({ "token": got["id"], "grace_ends": null });
    assert_eq!(events, [format!("token_rotated {data}")]);
    let code = made["code"].as_str().unwrap();
    assert_eq!(t.number(&format!("SELECT count(*) FROM codes WHERE digest = CAST('{code}' AS BLOB)")).await, 0);
    assert_eq!(t.number(&format!("SELECT count(*) FROM audit WHERE after LIKE '%{code}%'")).await, 0);
}

/// R22: of 20 trades at the same time, over two hosts, one gets the token.
#[test]
fn a_code_is_traded_once_by_twenty_at_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (t, ada, _) = runtime.block_on(stage());
    let second = TestApp::over(with_neighbours(), &t);
    let made = runtime.block_on(async { t.as_(&ada, "POST", MAKE, json!({})).await.is(201) });
    let answers = at_once(20, |number| {
        let (t, made) = (if number % 2 == 0 { &t } else { &second }, &made);
        async move { enrol(t, made).await.status.as_u16() }
    });
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|status| matches!(status, 200 | 400 | 503)), "{answers:?}");
    let live = "SELECT count(*) FROM credentials WHERE kind = 'agent_token' AND revoked_at IS NULL";
    assert_eq!(runtime.block_on(t.number(live)), 1);
}

/// R111, R154: the secrets come with the token if it may read them, and the reading is in the trail; else the answer says why not.
#[tokio::test]
async fn a_code_brings_the_secrets_that_the_token_may_read() {
    let vault = common::vault::Vault::parse("a-key-of-the-operator-that-is-long-enough").unwrap();
    let t = TestApp::with(with_neighbours(), Settings { vault, ..Settings::default() });
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.read agents.secrets.read").await;
    t.as_(&ada, "PUT", "/api/agents/scout/secrets", json!({ "secrets": { "A": "x", "B": "y z" } })).await.is(200);
    let made = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
    let got = enrol(&t, &made).await.is(200);
    assert_eq!((&got["secrets"], &got["warnings"]), (&json!({ "A": "x", "B": "y z" }), &json!([])));
    let read = "SELECT after FROM audit WHERE action = 'agent.secret.read'";
    assert_eq!(t.texts(read).await, [r#"{"format":"enrolment","names":["A","B"]}"#]);
    let narrow = t.as_(&ada, "POST", MAKE, json!({ "scope": ["agents.read"] })).await.is(201);
    let got = enrol(&t, &narrow).await.is(200);
    assert_eq!(got["secrets"], Null);
    assert!(got["warnings"].to_string().contains("lacks the scope agents.secrets.read"), "{got}");
    t.execute("UPDATE agents SET state = 'paused'").await.unwrap();
    let made = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
    let got = enrol(&t, &made).await.is(200);
    assert_eq!(got["secrets"], Null);
    assert!(got["warnings"].to_string().contains("the agent is paused"), "{got}");
    // What the first request with the token would be refused for keeps the secrets back.
    t.execute("UPDATE agents SET state = 'running', budget_cents = 100, spent_cents = 101").await.unwrap();
    let made = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
    let got = enrol(&t, &made).await.is(200);
    assert_eq!(got["secrets"], Null);
    assert!(got["warnings"].to_string().contains("the agent has spent more than its budget"), "{got}");
    let bearer = format!("Bearer {}", got["token"].as_str().unwrap());
    let values = "/api/agents/me/secrets/values?format=json";
    t.call("GET", values, &[("authorization", &bearer)], Null).await.refused(402, "over_budget");
    t.execute("UPDATE agents SET budget_cents = NULL").await.unwrap();
    assert_eq!(t.texts(read).await.len(), 1);
    // Secrets that cannot be opened now: an outage, and the code is not spent.
    t.execute("UPDATE agents SET state = 'running'").await.unwrap();
    let made = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
    let without = TestApp::over(with_neighbours(), &t);
    enrol(&without, &made).await.refused(503, "secrets_disabled");
    enrol(&t, &made).await.is(200);
}

/// R22: one that is sent again is refused like an unknown one, and the owner hears of it once.
#[tokio::test]
async fn a_code_that_is_used_twice_is_told_to_the_owner() {
    let (t, ada, _) = stage().await;
    let made = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
    enrol(&t, &made).await.is(200);
    let mut refusals = Vec::new();
    for code in [made["code"].clone(), made["code"].clone(), json!("x".repeat(43)), json!("short")] {
        let mut body = t.nobody("POST", ENROL, json!({ "code": code })).await.refused(400, "invalid_enrolment_code");
        body["request_id"] = Null;
        refusals.push(body);
    }
    assert!(refusals.iter().all(|body| *body == refusals[0]));
    let told = "SELECT count(*) FROM notifications WHERE title = 'An enrolment code of scout was sent twice'";
    assert_eq!(t.number(told).await, 1);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'agent_token'").await, 2);
}

#[tokio::test]
async fn a_code_ends_after_a_quarter_of_an_hour_with_a_newer_one_and_when_it_is_revoked() {
    let (t, ada, _) = stage().await;
    let old = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
    let new = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
    enrol(&t, &old).await.refused(400, "invalid_enrolment_code");
    t.wait(899);
    enrol(&t, &new).await.is(200);
    let late = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
    t.wait(900);
    enrol(&t, &late).await.refused(400, "invalid_enrolment_code");
    let revoked = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
    for _ in 0..2 {
        t.as_(&ada, "DELETE", MAKE, Null).await.is(204);
    }
    enrol(&t, &revoked).await.refused(400, "invalid_enrolment_code");
    // R310: the second one ended nothing.
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'agent.enrolment.revoke'").await, 1);
}

/// R8: a code brings no more than its maker may give: refused when it is made, and decided again when it is traded.
#[tokio::test]
async fn a_code_is_no_wider_than_its_maker_at_both_moments() {
    let (t, ada, scout) = stage().await;
    let pat = t.credential(Pat, &ada.tenant, &ada.user, None, "agents.read agents.token.issue", None).await;
    t.as_(&pat, "POST", MAKE, json!({ "scope": ["ui.notify"] })).await.refused(400, "scope_too_wide");
    t.as_(&pat, "POST", MAKE, json!({ "scope": ["nope"] })).await.refused(400, "unknown_scope");
    t.as_(&ada, "POST", MAKE, json!({ "expires_in_days": 0 })).await.refused(400, "invalid_lifetime");
    t.as_(&scout, "POST", MAKE, json!({})).await.refused(403, "scope_denied");
    let of = async |sql: String| {
        let made = t.as_(&pat, "POST", MAKE, json!({ "scope": ["agents.read"] })).await.is(201);
        t.execute(&sql).await.unwrap();
        let refused = enrol(&t, &made).await;
        refused.refused(400, "invalid_enrolment_code");
    };
    of("UPDATE credentials SET scope = 'agents.token.issue' WHERE kind = 'pat'".to_owned()).await;
    t.execute("UPDATE credentials SET scope = 'agents.read agents.token.issue' WHERE kind = 'pat'").await.unwrap();
    of("UPDATE agents SET scope = 'ui.notify'".to_owned()).await;
    t.execute("UPDATE agents SET scope = 'agents.read ui.notify'").await.unwrap();
    of(format!("UPDATE credentials SET revoked_at = {} WHERE kind = 'pat'", t.now().millis())).await;
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'agent_token'").await, 1);
}

/// R36: neither a former owner's code, nor that of a former editor or of a deactivated person, brings anything.
#[tokio::test]
async fn a_code_ends_with_the_right_of_its_maker() {
    let (t, ada, scout) = stage().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "editor", &ada.user).await;
    let made = t.as_(&eve, "POST", MAKE, json!({})).await.is(201);
    t.execute("DELETE FROM grants").await.unwrap();
    enrol(&t, &made).await.refused(400, "invalid_enrolment_code");
    t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "editor", &ada.user).await;
    let made = t.as_(&eve, "POST", MAKE, json!({})).await.is(201);
    let got = enrol(&t, &made).await.is(200);
    let grantee = "SELECT count(*) FROM credentials WHERE grantee IS NOT NULL AND revoked_at IS NULL";
    assert_eq!((t.number(grantee).await, got["agent"]["name"].clone()), (1, json!("scout")));
    let made = t.as_(&eve, "POST", MAKE, json!({})).await.is(201);
    t.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'eve@example.com'").await.unwrap();
    enrol(&t, &made).await.refused(400, "invalid_enrolment_code");
    let made = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
    t.execute("UPDATE agents SET archived_at = 1").await.unwrap();
    enrol(&t, &made).await.refused(400, "invalid_enrolment_code");
}

/// R11: a token in its grace ends the one that replaced it neither by a new code nor by one that it made before.
#[tokio::test]
async fn a_token_in_its_grace_makes_no_code() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.read agents.token.issue").await;
    let made = t.as_(&scout, "POST", MAKE, json!({})).await.is(201);
    let issued = t.as_(&scout, "POST", "/api/agents/scout/token/issue", json!({})).await.is(200);
    t.as_(&scout, "POST", MAKE, json!({})).await.refused(409, "token_replaced");
    enrol(&t, &made).await.refused(400, "invalid_enrolment_code");
    let bearer = format!("Bearer {}", issued["token"].as_str().unwrap());
    t.call("POST", MAKE, &[("authorization", &bearer)], json!({})).await.is(201);
}

/// R3: of several agents, one's refusal does not keep the others from their codes, and one that has a token is skipped.
#[tokio::test]
async fn codes_are_made_for_many_agents_at_once() {
    let (t, ada, _) = stage().await;
    t.agent(&ada, "fresh", "agents.read").await;
    t.as_(&ada, "DELETE", "/api/agents/fresh/token", Null).await.is(204);
    const MANY: &str = "/api/agents/bulk/enrolment";
    let body = json!({ "names": ["scout", "fresh", "nobody"], "scope": ["agents.read"] });
    let got = t.as_(&ada, "POST", MANY, body).await.is(207);
    assert_eq!(got["skipped"], json!({ "scout": { "reason": "has_token" } }));
    assert_eq!(got["failed"]["nobody"]["error"], json!("agent_not_found"));
    let made = &got["issued"]["fresh"];
    assert_eq!(enrol(&t, made).await.is(200)["agent"]["name"], json!("fresh"));
    let body = json!({ "names": ["scout"], "with_token": true });
    assert!(t.as_(&ada, "POST", MANY, body).await.is(200)["issued"]["scout"]["code"].is_string());
    let body = json!({ "names": ["scout"] });
    assert_eq!(t.as_(&ada, "POST", MANY, body).await.is(200)["issued"], json!({}));
    t.as_(&ada, "POST", MANY, json!({ "names": ["nobody"] })).await.refused(409, "none_changed");
    t.as_(&ada, "POST", MANY, json!({ "names": [] })).await.refused(422, "validation_error");
    let session = t.credential(Session, &ada.tenant, &ada.user, None, "*", Some(t.now().plus_seconds(60))).await;
    t.as_(&session, "POST", MANY, json!({ "names": ["scout", "scout"] })).await.refused(422, "validation_error");
}

/// R220: a code whose token replaces another one has a closure, which the trail names; a code that replaces none, or is refused, has none.
#[tokio::test]
async fn what_a_code_replaces_has_a_closure() {
    let (t, ada, scout) = stage().await;
    let made = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
    let answer = enrol(&t, &made).await;
    let id = answer.header("x-accredit-closure").to_owned();
    assert!(id.starts_with("cls_"), "{answer:?}");
    assert_eq!(answer.is(200).get("closure"), None);
    let row = "SELECT action || ' ' || object_id || ' ' || (ended ->> '$.tokens') || ' ' || (ids ->> '$.tokens') FROM closures";
    let agent = scout.agent.clone().unwrap();
    assert_eq!(t.texts(row).await, [format!("agent.enroll {agent} 1 {}", json!([scout.credential]))]);
    let named = "SELECT a.after ->> '$.closure.id' FROM closures c JOIN audit a ON a.id = c.audit_id WHERE a.action = 'agent.enroll'";
    assert_eq!(t.texts(named).await, [id]);
    t.as_(&scout, "GET", "/api/agents/me", Null).await.refused(401, "token_revoked");

    let again = enrol(&t, &made).await;
    assert_eq!(again.header("x-accredit-closure"), "");
    again.refused(400, "invalid_enrolment_code");
    t.as_(&ada, "DELETE", "/api/agents/scout/token", Null).await.is(204);
    let made = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
    let first = enrol(&t, &made).await;
    assert_eq!(first.header("x-accredit-closure"), "");
    first.is(200);
    assert_eq!(t.texts("SELECT action FROM closures ORDER BY epoch").await, ["agent.enroll", "agent.token.revoke"]);
}
