use common::role::Role;
use http::Request;
use serde_json::json;
use service::{
    body::RequestBody,
    testing::{Actor, Answer, TestApp},
};

use super::*;
use crate::router;

async fn ask(t: &TestApp, actor: &Actor, form: &str) -> Answer {
    let request = Request::builder()
        .method("POST")
        .uri("/auth/introspect")
        .header("authorization", format!("Bearer {}", actor.token))
        .header("content-type", "application/x-www-form-urlencoded");
    t.send(request.body(RequestBody::from(form.to_owned())).unwrap()).await
}

/// Makes the custom scopes that the tests name.
async fn let_have_scopes(t: &TestApp, admin: &Actor) {
    let names = r#"["x.crm.read", "x.crm.write", "x.mail"]"#;
    let sql =
        format!("INSERT INTO custom_scopes SELECT '{}', value, 'd', 0, 'u' FROM json_each('{names}')", admin.tenant);
    t.execute(&sql).await.unwrap();
}

/// A scope that was approved for the agent is part of what its token may do, until the approval ends.
#[tokio::test]
async fn an_approved_scope_is_told_while_it_counts() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    t.execute(&format!(
        "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, created_at, granted, ends_at)
         SELECT 'acc_1', tenant_id, id, 'ui.notify', 'r', 1, 'approved', 0, 'ui.notify', {} FROM agents",
        t.now().plus_seconds(60).millis()
    ))
    .await
    .unwrap();
    for expected in ["agents.read ui.notify", "agents.read"] {
        let body = ask(&t, &ada, &format!("token={}", scout.token)).await.is(200);
        assert_eq!(body["scope"], expected);
        t.wait(60);
    }
}

/// R43, and the effective scope: what the credential, its agent's ceiling and its owner's role allow.
#[tokio::test]
async fn a_live_token_is_told_with_its_effective_scope() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&max, "scout", "agents.read x.crm.* users.read").await;
    let_have_scopes(&t, &ada).await;
    let body = ask(&t, &ada, &format!("token={}&token_type_hint=x&other=1", scout.token)).await.is(200);
    assert_eq!(
        body,
        json!({
            "active": true, "scope": "agents.read x.crm.read x.crm.write", "token_type": "Bearer", "sub": max.user,
            "act": { "sub": scout.agent, "name": "scout" }, "kind": "agent_token", "iat": 1_767_323_045,
        })
    );
    t.execute("UPDATE users SET role = 'viewer' WHERE email = 'max@example.com'").await.unwrap();
    let body = ask(&t, &ada, &format!("token={}", scout.token)).await.is(200);
    assert_eq!(body["scope"], "agents.read x.crm.read");
    let pat = t.credential(Kind::Pat, &tenant, &max.user, None, "x.crm.*", Some(t.now().plus_seconds(60))).await;
    let body = ask(&t, &ada, &format!("token={}", pat.token)).await.is(200);
    assert_eq!(
        body,
        json!({
            "active": true, "scope": "x.crm.read", "token_type": "Bearer", "sub": max.user, "kind": "pat",
            "iat": 1_767_323_045, "exp": 1_767_323_105,
        })
    );
    for halted in ["state = 'paused'", "state = 'stopped'", "state = 'running', budget_cents = 1, spent_cents = 2"] {
        t.execute(&format!("UPDATE agents SET {halted}")).await.unwrap();
        assert_eq!(ask(&t, &ada, &format!("token={}", scout.token)).await.is(200), json!({ "active": false }));
    }
}

/// A key acts as its agent; a scope that was approved for the agent is not the key's.
#[tokio::test]
async fn a_key_is_told_as_its_agents() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    let ends = Some(t.now().plus_seconds(60));
    let agent = scout.agent.as_ref();
    let key = t.credential(Kind::ApiKey, &tenant, &ada.user, agent, "agents.*", ends).await;
    t.execute(&format!(
        "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, created_at, granted, ends_at)
         SELECT 'acc_1', tenant_id, id, 'ui.notify', 'r', 1, 'approved', 0, 'ui.notify', {} FROM agents",
        t.now().plus_seconds(60).millis()
    ))
    .await
    .unwrap();
    assert_eq!(
        ask(&t, &ada, &format!("token={}", key.token)).await.is(200),
        json!({
            "active": true, "scope": "agents.read", "token_type": "Bearer", "sub": ada.user,
            "act": { "sub": scout.agent, "name": "scout" }, "kind": "api_key", "iat": 1_767_323_045, "exp": 1_767_323_105,
        })
    );
    t.execute("UPDATE agents SET state = 'paused'").await.unwrap();
    assert_eq!(ask(&t, &ada, &format!("token={}", key.token)).await.is(200), json!({ "active": false }));
}

/// R78: a service learns of the scopes that its own credential carries, and of no other.
#[tokio::test]
async fn a_service_learns_the_scopes_of_its_own_resource_only() {
    let t = TestApp::new(router());
    let ada = t.ada().await;
    let_have_scopes(&t, &ada).await;
    let scout = t.agent(&ada, "scout", "agents.read x.crm.read x.mail").await;
    for (carries, told) in [
        ("tokens.introspect", ""),
        ("tokens.introspect x.crm.*", "x.crm.read"),
        ("tokens.introspect x.mail agents.*", "agents.read x.mail"),
        ("*", "agents.read x.crm.read x.mail"),
    ] {
        let service = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, carries, None).await;
        let body = ask(&t, &service, &format!("token={}", scout.token)).await.is(200);
        assert_eq!((&body["active"], &body["scope"]), (&json!(true), &json!(told)), "{carries}");
    }
}

/// R78: a service that a resource names needs no right to what its callers may do: it is told of the resource's scopes, and no other one is.
#[tokio::test]
async fn a_service_learns_the_scopes_of_the_resources_that_name_it() {
    let t = TestApp::new(router());
    let ada = t.ada().await;
    let_have_scopes(&t, &ada).await;
    let scout = t.agent(&ada, "scout", "agents.read x.crm.* x.mail").await;
    let crm = t.agent(&ada, "crm", "tokens.introspect").await;
    let mail = t.agent(&ada, "mail", "tokens.introspect x.crm.write").await;
    let told =
        async |service: &Actor| ask(&t, service, &format!("token={}", scout.token)).await.is(200)["scope"].clone();
    assert_eq!(told(&crm).await, "");
    for (id, scopes, of) in
        [("res_1", "x.crm.read x.crm.gone", &crm), ("res_2", "x.mail", &crm), ("res_3", "x.mail", &mail)]
    {
        t.execute(&format!(
            "INSERT INTO resources VALUES ('{id}', '{}', 'https://{id}.example.com', 'n', '{scopes}', '[\"usr_x\", \"{}\"]', 'EdDSA', 0, 'u', 0)",
            ada.tenant,
            of.agent.as_ref().unwrap()
        ))
        .await
        .unwrap();
    }
    assert_eq!(told(&crm).await, "x.crm.read x.mail");
    assert_eq!(told(&mail).await, "x.crm.write x.mail");
    t.execute("UPDATE agents SET scope = 'agents.read x.mail' WHERE name = 'scout'").await.unwrap();
    assert_eq!(told(&crm).await, "x.mail");
    t.execute("UPDATE resources SET introspectors = '[]'").await.unwrap();
    assert_eq!(told(&crm).await, "");
    // Of another tenant's resource nothing is told, whatever it says.
    let other = t.tenant("other").await;
    t.execute(&format!(
        "UPDATE resources SET tenant_id = '{other}', introspectors = '[\"{}\"]'",
        crm.agent.as_ref().unwrap()
    ))
    .await
    .unwrap();
    assert_eq!(told(&crm).await, "");
}

/// R253: the libraries of services send Basic; its password is the service's credential, on this route alone.
#[tokio::test]
async fn a_service_asks_by_basic() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let t = TestApp::new(router());
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    let service = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "tokens.introspect agents.read", None).await;
    let other = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.read", None).await;
    let send = async |method: &str, path: &str, authorization: Option<String>| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        t.send(request.body(RequestBody::from(format!("token={}", scout.token))).unwrap()).await
    };
    let basic = |name: &str, word: &str| Some(format!("Basic {}", STANDARD.encode(format!("{name}:{word}"))));
    let told = ask(&t, &service, &format!("token={}", scout.token)).await.is(200);
    assert_eq!(told["active"], true);
    for name in ["crm", "", "cli_0190"] {
        assert_eq!(send("POST", "/auth/introspect", basic(name, &service.token)).await.is(200), told, "{name}");
    }
    send("POST", "/auth/introspect", basic("crm", &other.token)).await.refused(403, "scope_denied");
    for wrong in [
        basic("cli_0190", "acr_cls_x"),
        basic(&service.token, ""),
        Some(format!("Basic {}", STANDARD.encode(&service.token))),
        Some("Basic =".to_owned()),
        Some("Basic".to_owned()),
    ] {
        let refused = send("POST", "/auth/introspect", wrong.clone()).await.refused(401, "invalid_token");
        assert!(refused["fix"].as_str().unwrap().contains("as the password"), "{wrong:?}: {refused}");
        assert!(refused["doc_url"].as_str().unwrap().ends_with("/concepts/introspection#by-a-library"), "{refused}");
    }
    let refused = send("POST", "/auth/introspect", None).await.refused(401, "missing_credential");
    assert!(refused["fix"].as_str().unwrap().contains("as the password"), "{refused}");
    send("GET", "/api/auth/whoami", basic("crm", &service.token)).await.refused(401, "invalid_token");
    send("GET", "/auth/verify?scope=agents.read", basic("crm", &service.token)).await.refused(401, "invalid_token");
}

/// R253: quotation marks of a text program are not ASCII, and the refusal says so.
#[tokio::test]
async fn a_header_that_is_not_ascii_is_said_to_be_so() {
    let t = TestApp::new(router());
    let ada = t.ada().await;
    let quoted = format!("Bearer \u{201c}{}\u{201d}", ada.token);
    let request = Request::get("/api/auth/whoami").header("authorization", quoted.as_bytes());
    let refused = t.send(request.body(RequestBody::from(String::new())).unwrap()).await.refused(401, "invalid_token");
    assert!(refused["detail"].as_str().unwrap().contains("not ASCII"), "{refused}");
}

/// R78: a session is for this server alone; a service gets not even the answer that it is live.
#[tokio::test]
async fn a_session_is_never_told_of() {
    let t = TestApp::new(router());
    let ada = t.ada().await;
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    for (asking, token) in [(&ada, &ada.token), (&pat, &ada.token)] {
        assert_eq!(ask(&t, asking, &format!("token={token}")).await.is(200), json!({ "active": false }));
    }
    assert_eq!(ask(&t, &ada, &format!("token={}", pat.token)).await.is(200)["active"], true);
}

#[tokio::test]
async fn a_credential_that_is_not_live_is_inactive_and_nothing_more() {
    let t = TestApp::new(router());
    let (tenant, other) = (t.tenant("main").await, t.tenant("other").await);
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    let pat = t.credential(Kind::Pat, &tenant, &ada.user, None, "*", Some(t.now().plus_seconds(10))).await;
    t.wait(10);
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    t.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'max@example.com'").await.unwrap();
    for token in [eve.token.as_str(), &pat.token, &max.token, "nonsense", "", &format!("{}x", ada.token)] {
        assert_eq!(ask(&t, &ada, &format!("token={token}")).await.is(200), json!({ "active": false }), "{token}");
    }
    for form in ["", "other=1", "token=a&token=b"] {
        let refused = ask(&t, &ada, form).await.refused(400, "invalid_request");
        assert!(refused["error_description"].is_string());
    }
    let mia = t.user(&tenant, "mia@example.com", Role::Curator).await;
    ask(&t, &mia, "token=x").await.refused(403, "scope_denied");
}
