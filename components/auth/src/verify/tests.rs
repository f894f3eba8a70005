use common::role::Role;
use http::Request;
use serde_json::{Value::Null, json};
use service::{
    body::RequestBody,
    testing::{Actor, Answer, TestApp},
};

use super::*;
use crate::{router, with_neighbours};

const VERIFY: &str = "/auth/verify";

async fn stage() -> (TestApp, Actor, Actor) {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    t.execute(&format!(
        "INSERT INTO custom_scopes VALUES ('{tenant}', 'x.crm.read', 'r', 0, 'u'), ('{tenant}', 'x.crm.write', 'w', 0, 'u')"
    ))
    .await
    .unwrap();
    let scout = t.agent(&ada, "scout", "agents.read x.crm.read").await;
    (t, ada, scout)
}

async fn ask(t: &TestApp, actor: &Actor, query: &str) -> Answer {
    t.as_(actor, "GET", &format!("{VERIFY}?{query}"), Null).await
}

/// R619: a refusal that a proxy passes on leads to a page of this server, and not of the service behind the proxy.
#[tokio::test]
async fn a_refusal_through_a_proxy_leads_here() {
    let settings = |name: &str| (name == "public_url").then(|| "https://accredit.example/acme".to_owned());
    let t = TestApp::with(with_neighbours(), service::settings::Settings::read(settings).unwrap());
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    let site = "https://accredit.example/acme/docs/";
    let refused = ask(&t, &scout, "scope=agents.update").await.refused(403, "scope_denied");
    assert!(refused["doc_url"].as_str().unwrap().starts_with(site), "{refused}");
    let refused = t.nobody("GET", VERIFY, Null).await.refused(401, "missing_credential");
    assert!(refused["doc_url"].as_str().unwrap().starts_with(site), "{refused}");
    let elsewhere = t.nobody("GET", "/api/auth/whoami", Null).await.refused(401, "missing_credential");
    assert!(elsewhere["doc_url"].as_str().unwrap().starts_with("/acme/docs/"), "{elsewhere}");
}

/// R143: every header is said, whatever the credential, so that a proxy that copies them overwrites what the client has sent.
#[tokio::test]
async fn a_service_is_told_who_calls() {
    let (t, ada, scout) = stage().await;
    let answer = ask(&t, &scout, "scope=x.crm.read").await;
    answer.is(200);
    assert_eq!((answer.text.as_str(), answer.header("cache-control")), ("", "no-store"));
    let agent = scout.agent.as_ref().unwrap().as_str();
    for (name, value) in [
        ("x-accredit-subject", ada.user.as_str()),
        ("x-accredit-kind", "agent_token"),
        ("x-accredit-agent", "scout"),
        ("x-accredit-agent-id", agent),
        ("x-accredit-owner", "ada@example.com"),
        ("x-accredit-tenant", "main"),
        ("x-accredit-scopes", "agents.read x.crm.read"),
        ("x-accredit-credential", scout.credential.as_str()),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "x.crm.*", None).await;
    let answer = ask(&t, &pat, "scope=x.crm.read+x.crm.write&scope=x.crm.read&resource=https://crm.example.com").await;
    answer.is(200);
    assert_eq!(answer.header("x-accredit-scopes"), "x.crm.read x.crm.write");
    for empty in ["x-accredit-agent", "x-accredit-agent-id"] {
        assert_eq!(answer.headers.get(empty).map(|value| value.as_bytes()), Some(&b""[..]), "{empty}");
    }
    let used = format!("SELECT count(*) FROM credentials WHERE id = '{}' AND last_used_at IS NOT NULL", pat.credential);
    assert_eq!(t.number(&used).await, 1);
}

/// R143: a name of any script is visible ASCII in a header.
#[test]
fn what_is_not_visible_ascii_is_encoded() {
    for (text, told) in
        [("ada+x@example.com", "ada+x@example.com"), ("zo\u{eb} 1%", "zo%C3%AB%201%25"), ("a\r\nb", "a%0D%0Ab")]
    {
        assert_eq!(written(text).to_str().unwrap(), told);
    }
}

/// R143: proxies pass on the method of the request, and some its path and query.
#[tokio::test]
async fn any_method_and_any_path_below_are_answered() {
    let (t, _, scout) = stage().await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"] {
        ask_by(&t, &scout, method, "/auth/verify?scope=x.crm.read").await.is(200);
        ask_by(&t, &scout, method, "/auth/verify/x.crm.read/orders/1?scope=x.crm.write&tenant=other").await.is(200);
        let refused = ask_by(&t, &scout, method, "/auth/verify/x.crm.read%20x.crm.write/").await;
        assert_eq!(refused.status, 403, "{method}");
        // R307.
        assert_eq!(refused.text.is_empty(), method == "HEAD", "{method}");
        ask_by(&t, &scout, method, "/auth/verify/-/").await.is(200);
        ask_by(&t, &scout, method, "/auth/verify/-/../../x.crm.write/").await.is(200);
    }
    for path in
        ["/auth/verify/x.crm.*/a", "/auth/verify//a", "/auth/verify/%20/a", "/auth/verify/x.crm.read,x.crm.write/a"]
    {
        ask_by(&t, &scout, "POST", path).await.refused(400, "unknown_scope");
    }
    ask_by(&t, &scout, "OPTIONS", "/auth/verify/x.crm.read*").await.refused(404, "not_found");
}

/// R143: below the path the query is the client's own. A link to the service does not choose whose metadata its refusal names.
#[tokio::test]
async fn a_refusal_below_names_no_metadata_that_the_client_chose() {
    let (t, _, scout) = stage().await;
    let below = "/auth/verify/x.crm.write/orders?resource=https://evil.example.com";
    let answer = t.nobody("GET", below, Null).await;
    answer.refused(401, "missing_credential");
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"accredit\"");
    let answer = ask_by(&t, &scout, "GET", below).await;
    answer.refused(403, "scope_denied");
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer realm=\"accredit\", error=\"insufficient_scope\", scope=\"x.crm.write\""
    );
}

async fn ask_by(t: &TestApp, actor: &Actor, method: &str, path: &str) -> Answer {
    let request =
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {}", actor.token));
    t.send(request.body(RequestBody::from(String::new())).unwrap()).await
}

/// R143: all that is missing is named at once, in the envelope, in the challenge, and in a header for proxies that drop the body.
#[tokio::test]
async fn a_missing_scope_is_403_with_all_that_is_missing_and_a_fix() {
    let (t, _, scout) = stage().await;
    let answer = ask(&t, &scout, "scope=x.crm.read+x.crm.write+ui.notify&resource=https://crm.example.com/v1").await;
    let body = answer.refused(403, "scope_denied");
    assert_eq!(body["missing_scopes"], json!(["x.crm.write", "ui.notify"]));
    assert_eq!(body["required_scopes"], json!(["x.crm.read", "x.crm.write", "ui.notify"]));
    let fix = body["fix"].as_str().unwrap();
    assert!(
        fix.contains("POST /api/access-requests {\"scope\": [\"x.crm.write\",\"ui.notify\"], \"reason\": \"…\"}"),
        "{fix}"
    );
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer realm=\"accredit\", error=\"insufficient_scope\", scope=\"x.crm.write ui.notify\", \
         resource_metadata=\"https://crm.example.com/.well-known/oauth-protected-resource/v1\""
    );
    let told: serde_json::Value = serde_json::from_str(answer.header("x-accredit-refusal")).unwrap();
    assert_eq!(told, body);
    // An agent that has asked waits, and does not ask again.
    t.execute(
        "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, created_at)
         SELECT 'acc_1', tenant_id, id, 'ui.notify x.crm.write', 'r', 1, 0 FROM agents WHERE name = 'scout'",
    )
    .await
    .unwrap();
    let body = ask(&t, &scout, "scope=x.crm.write+ui.notify").await.refused(403, "scope_denied");
    assert_eq!(body["access_request"], "acc_1");
    // What no admin has defined cannot be asked for.
    let body = ask(&t, &scout, "scope=x.erp").await.refused(403, "scope_denied");
    assert!(body["fix"].as_str().unwrap().contains("POST /api/scopes/custom"), "{body}");
    // A scope that is for people only is nothing that an agent could ask for.
    ask(&t, &scout, "scope=users.read").await.refused(403, "person_required");
}

/// R143: what is asked wrongly opens nothing.
#[tokio::test]
async fn a_wrong_question_is_refused() {
    let (t, _, scout) = stage().await;
    for query in [
        "scope=",
        "scope=%20",
        "scope=x.crm.read&scope=",
        "scope=x.crm.*",
        "scope=*",
        "scope=nothing",
        "scope=agents.*",
    ] {
        // R235: the fix names what stands in the refusal, and advises no pattern.
        let refused = ask(&t, &scout, query).await.refused(400, "unknown_scope");
        let fix = refused["fix"].as_str().unwrap();
        assert!(fix.contains("valid_scopes") && !fix.contains('*'), "{query}: {fix}");
        let valid = refused["valid_scopes"].as_array().unwrap();
        assert!(valid.contains(&json!("agents.read")) && valid.contains(&json!("x.crm.read")), "{query}: {refused}");
    }
    let many = (0..33).map(|number| format!("x.n{number}")).collect::<Vec<_>>().join("+");
    for query in [
        "resource=crm",
        "resource=",
        "resource=https://a&resource=https://b",
        "tenant=main&tenant=main",
        "other=1",
        &format!("scope={many}"),
    ] {
        ask(&t, &scout, query).await.refused(422, "validation_error");
    }
}

/// R143: neither a cookie nor a session opens a service, and no credential is asked for by name.
#[tokio::test]
async fn only_a_token_in_the_authorization_header_counts() {
    let (t, ada, scout) = stage().await;
    let answer = t.nobody("GET", "/auth/verify?resource=https://crm.example.com", Null).await;
    answer.refused(401, "missing_credential");
    assert_eq!(
        answer.header("www-authenticate"),
        "Bearer realm=\"accredit\", resource_metadata=\"https://crm.example.com/.well-known/oauth-protected-resource\""
    );
    let cookie = format!("accredit={}", ada.token);
    t.call("GET", VERIFY, &[("cookie", &cookie)], Null).await.refused(401, "missing_credential");
    let fix = ask(&t, &ada, "").await.refused(401, "invalid_token");
    assert!(fix["fix"].as_str().unwrap().contains("POST /auth/tokens"), "{fix}");
    let wrong = format!("Bearer {}x", scout.token);
    let answer = t.call("GET", VERIFY, &[("authorization", &wrong), ("cookie", &cookie)], Null).await;
    answer.refused(401, "invalid_token");
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"accredit\", error=\"invalid_token\"");
}

/// R143: what another tenant calls by the same name opens nothing here.
#[tokio::test]
async fn a_credential_of_another_tenant_is_unknown() {
    let (t, _, scout) = stage().await;
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    t.execute(&format!("INSERT INTO custom_scopes VALUES ('{other}', 'x.crm.read', 'r', 0, 'u')")).await.unwrap();
    let spy = t.agent(&eve, "spy", "x.crm.read").await;
    for query in ["scope=x.crm.read", "scope=x.crm.read&tenant=main", "tenant=nobody", "tenant="] {
        ask(&t, &spy, query).await.refused(401, "invalid_token");
    }
    ask(&t, &spy, "scope=x.crm.read&tenant=other").await.is(200);
    ask(&t, &scout, "scope=x.crm.read&tenant=other").await.refused(401, "invalid_token");
    ask(&t, &scout, "scope=x.crm.read&tenant=main").await.is(200);
}

/// R143: whatever takes the right away, the very next request is refused, with 401 or 403 alone.
#[tokio::test]
async fn what_ended_is_refused_at_the_very_next_request() {
    let (t, ada, scout) = stage().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let hand = t.agent(&max, "hand", "agents.read").await;
    for (undo, take, status, slug) in [
        ("state = 'running'", "state = 'paused'", 403, "agent_paused"),
        ("state = 'running'", "state = 'stopped'", 403, "agent_stopped"),
        ("budget_cents = NULL", "budget_cents = 1, spent_cents = 2", 403, "over_budget"),
        ("scope = 'agents.read'", "scope = 'agents.list'", 403, "scope_denied"),
    ] {
        t.execute(&format!("UPDATE agents SET {take} WHERE name = 'hand'")).await.unwrap();
        ask(&t, &hand, "scope=agents.read").await.refused(status, slug);
        t.execute(&format!("UPDATE agents SET {undo} WHERE name = 'hand'")).await.unwrap();
        ask(&t, &hand, "scope=agents.read").await.is(200);
    }
    let user = format!("/api/users/{}", max.user);
    t.as_(&ada, "POST", &format!("{user}/deactivate"), Null).await.is(200);
    ask(&t, &hand, "").await.refused(401, "account_deactivated");
    t.as_(&ada, "DELETE", "/api/agents/scout/token", Null).await.is(204);
    ask(&t, &scout, "").await.refused(401, "token_revoked");
}

/// R143: forward auth is asked before each request of a service: one SELECT.
#[tokio::test]
async fn it_costs_one_select() {
    let (t, _, scout) = stage().await;
    ask(&t, &scout, "tenant=main").await.is(200);
    // The tenant of the bootstrap is looked up once in an instance.
    for (query, statements) in [("tenant=main&scope=x.crm.read", 1), ("scope=x.crm.read", 2), ("scope=x.crm.read", 1)] {
        let before = t.db().statements();
        ask(&t, &scout, query).await.is(200);
        assert_eq!(t.db().statements() - before, statements, "{query}");
    }
}

/// The rows below a name that takes the rest of a path do not take those of others.
#[tokio::test]
async fn nothing_is_below_the_other_routes() {
    let t = TestApp::new(router());
    t.nobody("GET", "/healthz/", Null).await.refused(404, "not_found");
}
