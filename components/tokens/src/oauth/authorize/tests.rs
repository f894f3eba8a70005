use common::role::Role;
use serde_json::{Value as Json, json};
use service::{
    settings::{Provider, Settings},
    testing::{Actor, TestApp},
};
use store::oauth_document::{self, Document};

use super::*;
use crate::{
    oauth::testing::{
        AUTHORIZE, CALLBACK, VERIFIER, allowed, challenge, client, encoded, parameter, parameters, request,
    },
    with_neighbours,
};

async fn stage() -> (TestApp, Actor, String) {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let made = client(&t, &ada, false).await;
    (t, ada, made["id"].as_str().unwrap().to_owned())
}

fn path(request: &str) -> String {
    format!("{AUTHORIZE}?{}", encoded(&[("request", request)]))
}

/// R133: a request is shown with what the person may grant of it, and reading it grants nothing.
#[tokio::test]
async fn a_request_is_shown_in_the_scopes_that_the_person_may_grant() {
    let (t, ada, id) = stage().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let asked =
        request(&id, &[("scope", "agents.read users.read offline_access"), ("resource", "http://127.0.0.1:3000/mcp/")]);
    let shown = t.as_(&max, "GET", &path(&asked), Null).await.is(200);
    assert_eq!(
        shown,
        json!({
            "client": { "id": id, "name": "Planner", "host": null, "is_registered": true }, "redirect_uri": CALLBACK,
            "returns_to": "app.example.com", "is_local": false, "resource": null, "scope": ["agents.read"], "left_out": ["users.read"],
            "names_scopes": true, "redirect_to": null, "error": null, "error_description": null,
        })
    );
    let all = t.as_(&max, "GET", &path(&request(&id, &[("scope", "")])), Null).await.is(200);
    assert_eq!(all["names_scopes"], json!(false));
    assert_eq!(
        all["scope"].as_array().unwrap().len(),
        common::scope::Scope::ALL.iter().filter(|scope| Role::Member.ceiling().contains(**scope)).count()
    );
    assert_eq!(t.number("SELECT count(*) FROM codes").await, 0);
    t.nobody("GET", &path(&asked), Null).await.refused(401, "missing_credential");
    let pat = t.as_(&max, "POST", "/auth/tokens", json!({ "name": "p" })).await.is(201);
    let pat = Actor { token: pat["token"].as_str().unwrap().to_owned(), ..max };
    t.as_(&pat, "GET", &path(&asked), Null).await.refused(403, "session_required");
    t.as_(&pat, "POST", AUTHORIZE, json!({ "request": asked })).await.refused(403, "session_required");
}

/// R702: who lets an app in is mailed what it may do, also when it was somebody with their session.
#[tokio::test]
async fn an_app_that_is_let_in_is_mailed_to_its_person() {
    let settings = Settings { mail_provider: Some(Provider::Resend), ..Settings::default() };
    let t = TestApp::with(with_neighbours(), settings);
    let ada = t.ada().await;
    let made = client(&t, &ada, false).await;
    allowed(&t, &ada, &request(made["id"].as_str().unwrap(), &[])).await;
    let told = t.texts("SELECT user_id || ' ' || kind || ' ' || data FROM outbox").await;
    let data = json!({
        "name": "Planner", "host": null, "is_registered": true, "resource": null, "scope": ["agents.list", "agents.read"],
        "expires_at": t.now().plus_seconds(90 * 86_400), "by": null, "address": "192.0.2.1",
    });
    assert_eq!(told, [format!("{} app_let_in {data}", ada.user)]);
}

/// R133: with an unknown client or another redirect URI nothing is sent anywhere.
#[tokio::test]
async fn a_wrong_client_or_redirect_uri_is_answered_to_nobody() {
    let (t, ada, id) = stage().await;
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    let foreign = client(&t, &eve, false).await;
    let twice = format!("{}&client_id={id}", request(&id, &[]));
    let both = format!("{}&{}", request(&id, &[]), encoded(&[("redirect_uri", CALLBACK)]));
    for (asked, slug) in [
        (request("", &[]), "unknown_client"),
        (request("cli_nobody", &[]), "unknown_client"),
        (request(foreign["id"].as_str().unwrap(), &[]), "unknown_client"),
        (request("https://app.example.com/client.json", &[]), "unknown_client"),
        (twice, "unknown_client"),
        (String::new(), "unknown_client"),
        (request(&id, &[("redirect_uri", "")]), "redirect_uri_mismatch"),
        (both, "redirect_uri_mismatch"),
        (request(&id, &[("redirect_uri", "https://evil.example/cb")]), "redirect_uri_mismatch"),
        (request(&id, &[("redirect_uri", "https://app.example.com/cb/")]), "redirect_uri_mismatch"),
        (request(&id, &[("redirect_uri", "https://app.example.com:8443/cb")]), "redirect_uri_mismatch"),
        (request(&id, &[("redirect_uri", "https://app.example.com@evil.example/cb")]), "redirect_uri_mismatch"),
        (request(&id, &[("redirect_uri", "https://app.example.com/x/../cb")]), "redirect_uri_mismatch"),
        (request(&id, &[("redirect_uri", "https://app.example.com/%2e%2e/cb")]), "redirect_uri_mismatch"),
        (request(&id, &[("redirect_uri", "https://app.example.com/cb#x")]), "redirect_uri_mismatch"),
        (request(&id, &[("redirect_uri", "http://127.0.0.1:80@evil.example/cb")]), "redirect_uri_mismatch"),
        (request(&id, &[("redirect_uri", "javascript:alert(1)")]), "redirect_uri_mismatch"),
        (request(&id, &[("state", &"x".repeat(3_000))]), "invalid_authorization_request"),
    ] {
        let refused = t.as_(&ada, "GET", &path(&asked), Null).await.refused(400, slug);
        assert_eq!(refused.get("redirect_to"), None);
        for path in [AUTHORIZE, "/api/oauth/authorize/deny"] {
            t.as_(&ada, "POST", path, json!({ "request": asked })).await.refused(400, slug);
        }
    }
    let none = t
        .as_(&ada, "GET", &path(&request(&id, &[("redirect_uri", "")])), Null)
        .await
        .refused(400, "redirect_uri_mismatch");
    assert_eq!(none["detail"], "The request has no redirect_uri, or several.");
    let local = request(&id, &[("redirect_uri", "http://127.0.0.1:51004/cb")]);
    let shown = t.as_(&ada, "GET", &path(&local), Null).await.is(200);
    assert_eq!((&shown["is_local"], &shown["returns_to"]), (&json!(true), &json!("127.0.0.1:51004")));
}

/// R133: every other fault goes to the client, with its state as it came and with the issuer (RFC 9207).
#[tokio::test]
async fn every_other_fault_goes_to_the_client() {
    let (t, ada, id) = stage().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let twice = |name: &str| format!("{}&{name}=x&{name}=y", request(&id, &[(name, "")]));
    let state = "a+b/c==&d=%41 \"<e>\\";
    for (asked, error) in [
        (request(&id, &[("response_type", "")]), "invalid_request"),
        (request(&id, &[("response_type", "token")]), "unsupported_response_type"),
        (request(&id, &[("response_type", "code id_token")]), "unsupported_response_type"),
        (request(&id, &[("response_mode", "fragment")]), "invalid_request"),
        (request(&id, &[("code_challenge", "")]), "invalid_request"),
        (request(&id, &[("code_challenge_method", "")]), "invalid_request"),
        (request(&id, &[("code_challenge_method", "plain")]), "invalid_request"),
        (request(&id, &[("code_challenge_method", "s256")]), "invalid_request"),
        (request(&id, &[("code_challenge", "short")]), "invalid_request"),
        (request(&id, &[("prompt", "none")]), "interaction_required"),
        (request(&id, &[("request", "eyJ")]), "request_not_supported"),
        (request(&id, &[("request_uri", "https://a.example")]), "request_uri_not_supported"),
        (request(&id, &[("scope", "agents.read nothing.like.this")]), "invalid_scope"),
        (request(&id, &[("scope", "users.write")]), "invalid_scope"),
        (request(&id, &[("resource", "https://other.example.com")]), "invalid_target"),
        (request(&id, &[("resource", "http://127.0.0.1:3000.evil.example/")]), "invalid_target"),
        (request(&id, &[("resource", "http://127.0.0.1:3000/mcp/x")]), "invalid_target"),
        (request(&id, &[("resource", "http://127.0.0.1:3000/MCP")]), "invalid_target"),
        (twice("resource"), "invalid_target"),
        (twice("scope"), "invalid_request"),
        (twice("code_challenge"), "invalid_request"),
        (twice("code_challenge_method"), "invalid_request"),
        (twice("response_type"), "invalid_request"),
    ] {
        let asked = format!("{}&{}", asked.replace("&state=s-1", ""), encoded(&[("state", state)]));
        let shown = t.as_(&max, "GET", &path(&asked), Null).await.is(200);
        assert_eq!(shown["error"], error, "{asked}");
        assert!(shown["redirect_to"].as_str().unwrap().starts_with(&format!("{CALLBACK}?error=")), "{shown}");
        let names: Vec<String> = parameters(&shown).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["error", "error_description", "state", "iss"]);
        // R530: a client that decodes what is percent-encoded alone reads it too.
        assert!(!shown["redirect_to"].as_str().unwrap().contains('+'), "{shown}");
        assert_eq!(
            (parameter(&shown, "state"), parameter(&shown, "iss")),
            (state.to_owned(), "http://127.0.0.1:3000".to_owned())
        );
        // Allowing it makes no code.
        let decided = t.as_(&max, "POST", AUTHORIZE, json!({ "request": asked })).await.is(200);
        assert_eq!(decided["redirect_to"], shown["redirect_to"]);
    }
    // A state that cannot be given back as it came is left out, and the client is told.
    for asked in [twice("state"), request(&id, &[("state", "\u{e9}")]), request(&id, &[("state", "a\nb")])] {
        let shown = t.as_(&max, "GET", &path(&asked), Null).await.is(200);
        assert_eq!((&shown["error"], parameter(&shown, "state")), (&json!("invalid_request"), String::new()));
    }
    assert_eq!(t.number("SELECT count(*) FROM codes").await, 0);
}

/// R133: the person gives what they tick, of what is offered, by a code that is stored as its digest.
#[tokio::test]
async fn a_person_allows_what_they_tick() {
    let (t, ada, id) = stage().await;
    let asked = request(&id, &[("scope", "agents.*")]);
    let send = async |body: Json| t.as_(&ada, "POST", AUTHORIZE, body).await;
    let answer = send(json!({ "request": asked, "scope": ["agents.list"], "expires_in_days": 7 })).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let answer = answer.is(200);
    let names: Vec<String> = parameters(&answer).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["code", "state", "iss"]);
    let code = parameter(&answer, "code");
    assert!(answer["redirect_to"].as_str().unwrap().starts_with("https://app.example.com/cb?code="));
    let data: Json = serde_json::from_str(&t.texts("SELECT data FROM codes").await[0]).unwrap();
    assert_eq!(
        data,
        json!({
            "client_id": id, "client_name": "Planner", "redirect_uri": CALLBACK, "challenge": challenge(VERIFIER), "dpop_jkt": null, "resource": null,
            "service": null, "scope": "agents.list", "days": 7,
        })
    );
    let audited = t.texts("SELECT action || ' ' || after FROM audit WHERE action LIKE 'oauth.allow'").await;
    assert!(audited[0].contains("\"agents.list\"") && !audited[0].contains(&code), "{audited:?}");
    for (scope, days) in
        [(json!([]), 7), (json!(["users.read"]), 7), (json!(["*"]), 7), (json!(["agents.list", "audit.read"]), 7)]
    {
        send(json!({ "request": asked, "scope": scope, "expires_in_days": days }))
            .await
            .refused(422, "validation_error");
    }
    send(json!({ "request": asked, "scope": ["nothing.like.this"] })).await.refused(400, "unknown_scope");
    for days in [0, 91, -1] {
        send(json!({ "request": asked, "expires_in_days": days })).await.refused(400, "invalid_number");
    }
    send(json!({})).await.refused(422, "validation_error");
    assert_eq!(t.number("SELECT count(*) FROM codes").await, 1);

    let denied = t.as_(&ada, "POST", "/api/oauth/authorize/deny", json!({ "request": asked })).await.is(200);
    assert_eq!(
        (parameter(&denied, "error"), parameter(&denied, "state")),
        ("access_denied".to_owned(), "s-1".to_owned())
    );
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'oauth.deny'").await, 1);
}

/// R133: scopes whose routes ask for a fresh proof take one to be given away.
#[tokio::test]
async fn scopes_that_need_a_fresh_proof_take_one_to_be_given() {
    let (t, ada, id) = stage().await;
    let asked = request(&id, &[("scope", "users.write agents.read")]);
    t.wait(16 * 60);
    t.as_(&ada, "POST", AUTHORIZE, json!({ "request": asked })).await.refused(403, "reauthentication_required");
    t.as_(&ada, "POST", AUTHORIZE, json!({ "request": asked, "scope": ["agents.read"] })).await.is(200);
}

/// R133: a form of another page decides nothing.
#[tokio::test]
async fn a_decision_by_cookie_needs_this_sites_own_form() {
    let (t, ada, id) = stage().await;
    let cookie = format!("accredit={}", ada.token);
    for path in [AUTHORIZE, "/api/oauth/authorize/deny"] {
        let headers = [("cookie", cookie.as_str()), ("origin", "https://evil.example")];
        let answer = t.call("POST", path, &headers, json!({ "request": request(&id, &[]) })).await;
        assert_eq!(answer.status.as_u16(), 403, "{}", answer.text);
        let headers = [("cookie", cookie.as_str()), ("origin", "http://127.0.0.1:3000")];
        t.call("POST", path, &headers, json!({ "request": request(&id, &[]) })).await.refused(403, "csrf_failed");
    }
    assert_eq!(t.number("SELECT count(*) FROM codes").await, 0);
}

/// R132: a client of a document is one as long as the document is known.
#[tokio::test]
async fn a_client_is_known_by_its_document() {
    let (t, ada, _) = stage().await;
    let id = "https://app.example.com:8443/client.json";
    let proof = oauth_document::Proof { keys: None, is_public: true };
    let document = Document { name: "Editor".to_owned(), redirect_uris: vec![CALLBACK.to_owned()], proof };
    oauth_document::put(t.db(), id, &document, t.now()).await.unwrap();
    let shown = t.as_(&ada, "GET", &path(&request(id, &[])), Null).await.is(200);
    assert_eq!(
        shown["client"],
        json!({ "id": id, "name": "Editor", "host": "app.example.com:8443", "is_registered": false })
    );
    allowed(&t, &ada, &request(id, &[])).await;
    t.wait(oauth_document::LIFE);
    t.as_(&ada, "GET", &path(&request(id, &[])), Null).await.refused(400, "unknown_client");
}

/// R133: a person lets in a bounded number of apps.
#[tokio::test]
async fn apps_are_bounded() {
    let (t, ada, id) = stage().await;
    for number in 0..oauth_grant::MOST {
        let (one, ends) = (format!("{number:064x}"), t.now().plus_seconds(9).millis());
        t.execute(&format!(
            "INSERT INTO oauth_grants VALUES ('apg_{number}', '{}', '{}', 'c', 'n', NULL, '*', NULL, x'{one}', x'{one}', 0, 0, {ends}, {ends}, NULL, NULL)",
            ada.tenant, ada.user
        ))
        .await
        .unwrap();
    }
    t.as_(&ada, "POST", AUTHORIZE, json!({ "request": request(&id, &[]) })).await.refused(409, "quota_reached");
    t.wait(10);
    allowed(&t, &ada, &request(&id, &[])).await;
}
