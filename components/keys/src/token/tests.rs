use serde_json::Value as Json;
use service::testing::{Actor, TestApp};

use super::*;
use crate::with_neighbours;

const ISSUE: &str = "/api/agents/scout/token/issue";
const SELF: &str = "/api/agents/scout";

/// The same actor with the token of an answer.
fn with(actor: &Actor, issued: &Json) -> Actor {
    let token = issued["token"].as_str().unwrap().to_owned();
    Actor {
        tenant: actor.tenant.clone(),
        user: actor.user.clone(),
        agent: actor.agent.clone(),
        credential: actor.credential.clone(),
        token,
    }
}

/// R4, R6: the one before is refused on the next request.
#[tokio::test]
async fn a_new_token_ends_the_one_before() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.*").await;
    t.wait(5);
    let issued = t.as_(&ada, "POST", ISSUE, json!({ "expires_in_days": 30 })).await.is(200);
    assert_eq!(
        issued,
        json!({
            "token": issued["token"], "id": issued["id"], "prefix": &issued["token"].as_str().unwrap()[..16],
            "issued_at": "2026-01-02T03:04:10.000Z", "expires_at": "2026-02-01T03:04:10.000Z", "scope": ["agents.*"],
            "warnings": ["These scopes have no effect, because agents cannot use them or the owner's role admin lacks them: agents.stop_all."],
        })
    );
    t.as_(&scout, "GET", SELF, Null).await.refused(401, "token_revoked");
    let seen = t.as_(&with(&scout, &issued), "GET", SELF, Null).await.is(200);
    assert_eq!((&seen["token"]["id"], &seen["token"]["issued_at"]), (&issued["id"], &issued["issued_at"]));
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'agent_token' AND revoked_at IS NULL").await, 1);
}

/// R11: both work within the grace; the old one is refused the second it ends; a second rotation ends the first grace.
#[tokio::test]
async fn within_the_grace_both_tokens_work() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.*").await;
    let first = with(&scout, &t.as_(&ada, "POST", ISSUE, json!({ "grace_seconds": 100 })).await.is(200));
    t.wait(99);
    t.as_(&scout, "GET", SELF, Null).await.is(200);
    t.as_(&first, "GET", SELF, Null).await.is(200);
    t.wait(1);
    t.as_(&scout, "GET", SELF, Null).await.refused(401, "token_expired");
    let second = with(&scout, &t.as_(&ada, "POST", ISSUE, json!({ "grace_seconds": 100 })).await.is(200));
    let third = with(&scout, &t.as_(&ada, "POST", ISSUE, json!({ "grace_seconds": 100 })).await.is(200));
    t.as_(&first, "GET", SELF, Null).await.refused(401, "token_revoked");
    t.as_(&second, "GET", SELF, Null).await.is(200);
    t.as_(&third, "GET", SELF, Null).await.is(200);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'agent_token' AND revoked_at IS NULL").await, 2);
}

/// R11: a token in its grace never outlives its own end.
#[tokio::test]
async fn a_grace_is_no_longer_than_the_life_that_was_left() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.*").await;
    t.as_(&ada, "POST", ISSUE, json!({ "expires_in_days": 1 })).await.is(200);
    t.wait(86_400 - 10);
    let again = t.credential(Kind::Session, &ada.tenant, &ada.user, None, "*", Some(t.now().plus_seconds(3600))).await;
    t.as_(&again, "POST", ISSUE, json!({ "grace_seconds": 3600 })).await.is(200);
    let ends = "SELECT expires_at FROM credentials WHERE place = 'grace' AND revoked_at IS NULL";
    assert_eq!(t.number(ends).await, t.now().plus_seconds(10).millis());
}

/// R11, R8: a token that rotates itself keeps its scope and end, and lives on for at least 60 seconds.
#[tokio::test]
async fn an_agent_rotates_its_own_token() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.read agents.token.issue").await;
    for (body, slug) in [
        (json!({ "grace_seconds": 59 }), "invalid_grace"),
        (json!({ "scope": ["agents.read"] }), "rotation_keeps_rights"),
        (json!({ "preset": "reader" }), "rotation_keeps_rights"),
        (json!({ "expires_in_days": null }), "rotation_keeps_rights"),
    ] {
        t.as_(&scout, "POST", ISSUE, body).await.refused(400, slug);
    }
    let issued = t.as_(&scout, "POST", ISSUE, json!({})).await.is(200);
    assert_eq!((&issued["scope"], &issued["expires_at"]), (&json!(["agents.read", "agents.token.issue"]), &Null));
    t.wait(59);
    t.as_(&scout, "GET", SELF, Null).await.is(200);
    // A retry by the old token must not end the new one, whose answer may have been lost.
    t.as_(&scout, "POST", ISSUE, json!({})).await.refused(409, "token_replaced");
    t.as_(&with(&scout, &issued), "GET", SELF, Null).await.is(200);
}

/// R8: a token is never wider than the agent's ceiling, nor than a minter that is not a session.
#[tokio::test]
async fn a_token_is_no_wider_than_ceiling_and_minter() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.read ui.notify").await;
    let refused = t.as_(&ada, "POST", ISSUE, json!({ "scope": ["agents.*"] })).await.refused(400, "scope_too_wide");
    assert!(refused["fix"].as_str().unwrap().contains("\"scope\": [\"agents.read\"]"), "{refused}");
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.read agents.token.issue", None).await;
    t.as_(&pat, "POST", ISSUE, json!({ "scope": ["ui.notify"] })).await.refused(400, "scope_too_wide");
    t.as_(&pat, "POST", ISSUE, json!({})).await.refused(400, "scope_too_wide");
    let issued = t.as_(&pat, "POST", ISSUE, json!({ "scope": ["agents.read"] })).await.is(200);
    assert_eq!(issued["scope"], json!(["agents.read"]));
}

#[tokio::test]
async fn values_out_of_range_are_refused_and_the_token_stays() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.*").await;
    for (body, status, slug) in [
        (json!({ "grace_seconds": -1 }), 400, "invalid_grace"),
        (json!({ "grace_seconds": 86_401 }), 400, "invalid_grace"),
        (json!({ "grace_seconds": 1.5 }), 422, "validation_error"),
        (json!({ "expires_in_days": 0 }), 400, "invalid_lifetime"),
        (json!({ "scope": ["nope"] }), 400, "unknown_scope"),
        (json!({ "days": 1 }), 422, "validation_error"),
    ] {
        t.as_(&ada, "POST", ISSUE, body).await.refused(status, slug);
    }
    t.as_(&scout, "GET", SELF, Null).await.is(200);
}

/// R6: a revoked token is refused on the next request, the one in its grace too. A second revocation is 204 too.
#[tokio::test]
async fn a_revoked_token_is_refused_on_the_next_request() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.*").await;
    let next = with(&scout, &t.as_(&ada, "POST", ISSUE, json!({ "grace_seconds": 60 })).await.is(200));
    let revoked = "SELECT group_concat(revoked_at) FROM credentials WHERE kind = 'agent_token'";
    t.as_(&ada, "DELETE", "/api/agents/scout/token", Null).await.is(204);
    let at = t.texts(revoked).await;
    t.wait(1);
    t.as_(&ada, "DELETE", "/api/agents/scout/token", Null).await.is(204);
    assert_eq!(t.texts(revoked).await, at, "the first moment stays");
    for old in [&scout, &next] {
        t.as_(old, "GET", SELF, Null).await.refused(401, "token_revoked");
    }
    assert_eq!(t.as_(&ada, "GET", SELF, Null).await.is(200)["has_token"], json!(false));
}

/// R772: what had ended by its own time is not said to be revoked.
#[tokio::test]
async fn a_grace_that_is_over_is_not_revoked_once_more() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.*").await;
    let next = t.as_(&ada, "POST", ISSUE, json!({ "grace_seconds": 60 })).await.is(200);
    let key = json!({ "name": "ci", "scope": ["agents.read"] });
    let key = t.as_(&ada, "POST", "/api/agents/scout/keys", key).await.is(201);
    let path = format!("/api/agents/scout/keys/{}", key["id"].as_str().unwrap());
    t.as_(&ada, "POST", &format!("{path}/rotate"), json!({ "grace_seconds": 60 })).await.is(201);
    t.wait(60);
    t.as_(&ada, "DELETE", "/api/agents/scout/token", Null).await.is(204);
    t.as_(&ada, "DELETE", &path, Null).await.is(204);
    let rows = "SELECT CAST(json_array_length(after, '$.revoked') AS TEXT) FROM audit
                WHERE action IN ('agent.token.revoke', 'agent.key.delete')";
    assert_eq!(t.texts(rows).await, ["1", "1"]);
    let told =
        t.texts("SELECT data ->> '$.credentials' FROM inbox WHERE kind = 'credentials_ended' ORDER BY seq").await;
    assert_eq!(told.first(), Some(&json!([next["id"]]).to_string()));
}

/// R51: the answer of an issue is sealed and given again to the same credential only; the token is issued once.
#[tokio::test]
async fn a_repeated_issue_gives_the_first_token_again() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.*").await;
    let bearer = format!("Bearer {}", ada.token);
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    let first = t.call("POST", ISSUE, &headers, json!({})).await.is(200);
    assert_eq!(t.call("POST", ISSUE, &headers, json!({})).await.is(200), first);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'agent_token'").await, 2);
    // An agent that has the name later is another one, and gets a token of its own.
    t.execute("UPDATE agents SET archived_at = 1").await.unwrap();
    t.agent(&ada, "scout", "agents.*").await;
    let other = t.call("POST", ISSUE, &headers, json!({})).await;
    assert_eq!((other.is(200)["token"] == first["token"], other.header("idempotency-replayed")), (false, ""));
}

/// The thumbprint of a key.
const KEY: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

/// R210: a token is bound to the key whose thumbprint its issuer names. With a proof that is none, nothing is issued.
#[tokio::test]
async fn a_token_is_bound_to_the_key_that_is_named() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.*").await;
    for wrong in [json!(""), json!("short"), json!("=".repeat(43)), json!(KEY.replace('4', "!"))] {
        t.as_(&ada, "POST", ISSUE, json!({ "dpop_jkt": wrong })).await.refused(422, "validation_error");
    }
    let bearer = format!("Bearer {}", ada.token);
    let headers = [("authorization", bearer.as_str()), ("dpop", "a.b.c")];
    t.call("POST", ISSUE, &headers, json!({})).await.refused(401, "invalid_dpop_proof");
    t.as_(&scout, "GET", SELF, Null).await.is(200);

    let issued = t.as_(&ada, "POST", ISSUE, json!({ "dpop_jkt": KEY })).await.is(200);
    assert_eq!(issued["dpop_jkt"], KEY);
    let bound = with(&scout, &issued);
    t.as_(&bound, "GET", SELF, Null).await.refused(401, "invalid_token");
    t.as_(&bound, "POST", ISSUE, json!({})).await.refused(401, "invalid_token");
    let audited = t.texts("SELECT after FROM audit WHERE action = 'agent.token.issue'").await;
    assert!(audited.len() == 1 && audited[0].contains(KEY), "{audited:?}");
    let plain = t.as_(&ada, "POST", ISSUE, json!({})).await.is(200);
    assert_eq!(plain.get("dpop_jkt"), None);
    t.as_(&with(&scout, &plain), "GET", SELF, Null).await.is(200);
}

/// R210: a code is not spent by a request with a proof that is none.
#[tokio::test]
async fn a_bad_proof_spends_no_code() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.*").await;
    let made = t.as_(&ada, "POST", "/api/agents/scout/enrolment", json!({})).await.is(201);
    let body = json!({ "code": made["code"] });
    for proof in ["", "a.b.c"] {
        let answer = t.call("POST", "/api/agents/enroll", &[("dpop", proof)], body.clone()).await;
        answer.refused(401, "invalid_dpop_proof");
    }
    t.nobody("POST", "/api/agents/enroll", body).await.is(200);
}

/// R210, R67: a release that does not know keys works until there is a token that is bound to one, which it would take from anybody.
#[tokio::test]
async fn the_first_bound_token_shuts_out_code_that_does_not_know_keys() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.read").await;
    let oldest = "SELECT oldest_code FROM schema_info";
    t.as_(&ada, "POST", ISSUE, json!({})).await.is(200);
    assert_eq!(t.number(oldest).await, 1);
    t.as_(&ada, "POST", ISSUE, json!({ "dpop_jkt": KEY })).await.is(200);
    assert_eq!(t.number(oldest).await, 42);
    // A later number stays.
    t.execute("UPDATE schema_info SET oldest_code = 43").await.unwrap();
    t.as_(&ada, "POST", ISSUE, json!({ "dpop_jkt": KEY })).await.is(200);
    assert_eq!(t.number(oldest).await, 43);
}
