use common::{
    role::Role,
    secret::Kind::{Pat, Session},
};
use serde_json::{Value as Json, Value::Null, json};
use service::testing::{Actor, TestApp};

use crate::with_neighbours;

const DEPLOY: &str = "/api/agents/deploy";
const STATUS: &str = "/api/agents/scout/deploy-status";
const HEARTBEAT: &str = "/api/agents/me/heartbeat";

async fn stage() -> (TestApp, Actor, Actor) {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let boss = t.agent(&ada, "boss", "agents.* ui.notify").await;
    (t, ada, boss)
}

/// The code of the event that the agent above got last.
async fn code(t: &TestApp) -> String {
    let sql = "SELECT i.data FROM inbox i JOIN agents a ON a.id = i.agent_id
               WHERE a.name = 'boss' AND i.kind = 'agent.deploy' ORDER BY i.seq DESC LIMIT 1";
    let data: Json = serde_json::from_str(&t.texts(sql).await[0]).unwrap();
    data["code"].as_str().unwrap().to_owned()
}

async fn enrol(t: &TestApp, code: &str) -> String {
    let got = t.nobody("POST", "/api/agents/enroll", json!({ "code": code })).await.is(200);
    format!("Bearer {}", got["token"].as_str().unwrap())
}

async fn status(t: &TestApp, by: &Actor) -> Json {
    t.as_(by, "GET", STATUS, Null).await.is(200)["status"].clone()
}

/// R154: an agent that is not there is registered, the agent above gets a code, and the first heartbeat with its token ends the deployment.
#[tokio::test]
async fn an_agent_is_deployed_from_registering_to_its_first_heartbeat() {
    let (t, ada, boss) = stage().await;
    let body = json!({ "name": "scout", "create": { "parent": "boss", "scope": ["ui.notify"], "runtime": "box" } });
    let asked = t.as_(&ada, "POST", DEPLOY, body.clone()).await.is(202);
    assert_eq!((&asked["created"], &asked["warnings"]), (&json!(true), &json!([])));
    assert_eq!(asked["agent"]["deploy_status"], "deploying");
    assert_eq!((&asked["agent"]["has_token"], &asked["agent"]["runtime"]), (&json!(false), &json!("box")));
    assert_eq!(
        asked["deployment"],
        json!({
            "status": "deploying", "asked_at": t.now(), "asked_by": "ada@example.com", "until": t.now().plus_seconds(1_200),
            "ended_at": null, "reason": null,
        })
    );
    let code = code(&t).await;
    assert!(!asked.to_string().contains(&code), "the answer holds no code");
    let own = t.texts("SELECT i.data FROM inbox i JOIN agents a ON a.id = i.agent_id WHERE a.name = 'scout' AND i.kind = 'agent.deploy'").await;
    assert_eq!(own.len(), 1);
    assert!(!own[0].contains("code"), "{own:?}");
    let bearer = enrol(&t, &code).await;
    assert_eq!(status(&t, &ada).await, "deploying");
    t.wait(30);
    t.call("POST", HEARTBEAT, &[("authorization", &bearer)], json!({})).await.is(200);
    let ended = t.as_(&ada, "GET", STATUS, Null).await.is(200);
    assert_eq!((&ended["status"], &ended["ended_at"]), (&json!("running"), &json!(t.now())));
    assert_eq!((&ended["until"], &ended["reason"]), (&Null, &Null));
    t.call("POST", HEARTBEAT, &[("authorization", &bearer)], json!({})).await.is(200);
    let told = "SELECT count(*) FROM inbox WHERE kind = 'agent.deployed'";
    assert_eq!(t.number(told).await, 1, "the agent above hears of it once");
    let actions = t.texts("SELECT action FROM audit ORDER BY seq").await;
    assert_eq!(actions, ["agent.create", "agent.deploy", "agent.enroll"]);
    let agent = t.as_(&boss, "GET", "/api/agents/scout", Null).await.is(200);
    assert_eq!((&agent["deploy_status"], &agent["state"]), (&json!("running"), &json!("running")));
    // Again: the agent is taken as it is, and the body's `create` is not used.
    let again = t.as_(&ada, "POST", DEPLOY, body).await.is(202);
    assert_eq!((&again["created"], &again["deployment"]["status"]), (&json!(false), &json!("deploying")));
    assert!(again["warnings"][0].as_str().unwrap().contains("create was not used"), "{again}");
    assert_eq!(t.number("SELECT count(*) FROM agents").await, 2);
}

/// R154: a heartbeat of the runtime before, or with a credential that is older than the request, does not end a deployment.
#[tokio::test]
async fn a_heartbeat_of_the_runtime_before_is_not_that_of_the_new_one() {
    let (t, ada, _) = stage().await;
    let scout = t.agent(&ada, "scout", "ui.notify").await;
    t.execute("UPDATE agents SET parent_id = (SELECT id FROM agents WHERE name = 'boss') WHERE name = 'scout'")
        .await
        .unwrap();
    assert_eq!(status(&t, &ada).await, Null);
    t.wait(1);
    t.as_(&ada, "POST", DEPLOY, json!({ "name": "scout" })).await.is(202);
    t.as_(&scout, "POST", HEARTBEAT, json!({})).await.is(200);
    assert_eq!(status(&t, &ada).await, "deploying");
    t.wait(1);
    let bearer = enrol(&t, &code(&t).await).await;
    t.call("POST", HEARTBEAT, &[("authorization", &bearer)], json!({})).await.is(200);
    assert_eq!(status(&t, &ada).await, "running");
}

/// R154: the runtime says why it cannot, with the agent's own token whatever its scopes; the owner and the agent above hear of it.
#[tokio::test]
async fn a_runtime_that_cannot_run_an_agent_says_why() {
    let (t, ada, boss) = stage().await;
    let create = json!({ "name": "scout", "create": { "scope": ["ui.notify"] } });
    t.as_(&boss, "POST", DEPLOY, create).await.is(202);
    let bearer = enrol(&t, &code(&t).await).await;
    let reason = json!({ "reason": "The image cannot be pulled." });
    let failed = t.call("POST", STATUS, &[("authorization", &bearer)], reason.clone()).await.is(200);
    assert_eq!((&failed["status"], &failed["reason"]), (&json!("failed"), &reason["reason"]));
    // What has ended does not end again, neither by the runtime's word nor by its heartbeat.
    t.as_(&ada, "POST", STATUS, reason.clone()).await.refused(409, "not_deploying");
    t.call("POST", HEARTBEAT, &[("authorization", &bearer)], json!({})).await.is(200);
    assert_eq!(status(&t, &ada).await, "failed");
    let told =
        "SELECT count(*) FROM notifications WHERE title = 'scout could not be deployed' AND body LIKE '%pulled.'";
    assert_eq!(t.number(told).await, 1);
    assert_eq!(t.number("SELECT count(*) FROM inbox WHERE kind = 'agent.deploy_failed'").await, 1, "the agent above");
    for bad in [json!({}), json!({ "reason": 1 })] {
        t.as_(&ada, "POST", STATUS, bad).await.refused(422, "validation_error");
    }
    for bad in ["", " ", &"x".repeat(501)] {
        t.as_(&ada, "POST", STATUS, json!({ "reason": bad })).await.refused(400, "invalid_text");
    }
}

/// R154, R8: who may deploy, and what a deployment gives: never more than who asked could give, decided again when the code is traded.
#[tokio::test]
async fn a_deployment_takes_its_scope_and_gives_no_more_than_its_caller_has() {
    let (t, ada, _) = stage().await;
    let scout = t.agent(&ada, "scout", "ui.notify agents.read").await;
    t.execute("UPDATE agents SET parent_id = (SELECT id FROM agents WHERE name = 'boss') WHERE name = 'scout'")
        .await
        .unwrap();
    let body = json!({ "name": "scout" });
    t.as_(&scout, "POST", DEPLOY, body.clone()).await.refused(403, "scope_denied");
    let pat = |scope: &'static str| t.credential(Pat, &ada.tenant, &ada.user, None, scope, None);
    let narrow = pat("agents.deploy agents.read").await;
    t.as_(&narrow, "POST", DEPLOY, body.clone()).await.refused(400, "scope_too_wide");
    t.as_(&narrow, "POST", DEPLOY, json!({ "name": "new", "create": {} })).await.refused(403, "scope_denied");
    assert_eq!(status(&t, &ada).await, Null, "a refusal leaves nothing");
    // Without agents.token.issue: the scope of deploying is enough, then and when the code is traded.
    let wide = pat("agents.deploy agents.read ui.notify").await;
    t.as_(&wide, "POST", DEPLOY, body.clone()).await.is(202);
    let first = code(&t).await;
    enrol(&t, &first).await;
    t.as_(&wide, "POST", DEPLOY, body.clone()).await.is(202);
    t.execute("UPDATE credentials SET revoked_at = 1 WHERE scope LIKE 'agents.deploy agents.read ui%'").await.unwrap();
    let second = code(&t).await;
    t.nobody("POST", "/api/agents/enroll", json!({ "code": second })).await.refused(400, "invalid_enrolment_code");
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, max.user.as_str(), "viewer", &ada.user).await;
    t.as_(&max, "POST", DEPLOY, body.clone()).await.refused(403, "permission_denied");
    t.as_(&max, "GET", STATUS, Null).await.is(200);
    for path in [STATUS, "/api/agents/nobody/deploy-status"] {
        t.as_(&eve, "GET", path, Null).await.refused(404, "agent_not_found");
        t.as_(&eve, "POST", path, json!({ "reason": "x" })).await.refused(404, "agent_not_found");
    }
    t.as_(&eve, "POST", DEPLOY, body).await.refused(404, "agent_not_found");
    t.as_(&eve, "POST", DEPLOY, json!({ "name": "nobody" })).await.refused(404, "agent_not_found");
}

#[tokio::test]
async fn a_deployment_that_nobody_hears_of_says_so_and_bad_bodies_are_refused() {
    let (t, ada, boss) = stage().await;
    let asked = t.as_(&ada, "POST", DEPLOY, json!({ "name": "boss" })).await.is(202);
    assert!(asked["warnings"].to_string().contains("Nobody is asked to run boss"), "{asked}");
    t.execute("UPDATE agents SET state = 'paused'").await.unwrap();
    let asked = t.as_(&ada, "POST", DEPLOY, json!({ "name": "boss" })).await.is(202);
    assert!(asked["warnings"].to_string().contains("The agent is paused"), "{asked}");
    t.as_(&boss, "POST", HEARTBEAT, json!({})).await.is(200);
    for (body, status, slug) in [
        (json!({}), 422, "validation_error"),
        (json!({ "name": "a/b", "create": {} }), 400, "invalid_name"),
        (json!({ "name": "new", "create": [] }), 422, "validation_error"),
        (json!({ "name": "new", "create": { "name": "other" } }), 422, "validation_error"),
        (json!({ "name": "new", "create": { "issue_token": true } }), 422, "validation_error"),
        (json!({ "name": "new", "create": { "parent": "boss" } }), 409, "parent_halted"),
        (json!({ "name": "new", "create": { "tier": 9 } }), 400, "invalid_number"),
        (json!({ "name": "boss", "expires_in_days": 0 }), 400, "invalid_lifetime"),
    ] {
        t.as_(&ada, "POST", DEPLOY, body).await.refused(status, slug);
    }
    assert_eq!(t.number("SELECT count(*) FROM agents").await, 1);
}

/// R47, R50: the same request is answered once more, and does nothing more; a restored agent is not being deployed.
#[tokio::test]
async fn a_deployment_is_idempotent_and_does_not_outlive_the_archive() {
    let (t, ada, _) = stage().await;
    let bearer = format!("Bearer {}", ada.token);
    let body = json!({ "name": "scout", "create": { "parent": "boss", "scope": ["ui.notify"] } });
    let mut answers = Vec::new();
    for _ in 0..2 {
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "once")];
        answers.push(t.call("POST", DEPLOY, &headers, body.clone()).await.is(202));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(t.number("SELECT count(*) FROM inbox WHERE kind = 'agent.deploy'").await, 2, "scout and boss, once");
    let session = t.credential(Session, &ada.tenant, &ada.user, None, "*", None).await;
    t.as_(&session, "DELETE", "/api/agents/scout", Null).await.is(204);
    let code = code(&t).await;
    t.nobody("POST", "/api/agents/enroll", json!({ "code": code })).await.refused(400, "invalid_enrolment_code");
    let id = answers[0]["agent"]["id"].as_str().unwrap();
    let back = t.as_(&session, "POST", &format!("/api/agents/archived/{id}/restore"), json!({})).await.is(200);
    assert_eq!(back["deploy_status"], Null);
}
