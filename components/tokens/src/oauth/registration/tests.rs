use common::role::Role;
use serde_json::json;
use service::{
    settings::Settings,
    testing::{Actor, Answer, TestApp},
};

use super::*;
use crate::{
    oauth::testing::{AUTHORIZE, TOKEN, allowed, bearing, encoded, form_with, refresh, request, trade},
    with_neighbours,
};

const REGISTER: &str = "/oauth/register";
const BACK: &str = "http://127.0.0.1/callback";

fn settings(secret: &str) -> Settings {
    let keys = Key::read_all(secret, "signing").unwrap();
    Settings { signing_keys: keys, ..Settings::default() }
}

async fn stage() -> (TestApp, Actor) {
    let t = TestApp::with(with_neighbours(), settings("a-signing-key-that-is-long-enough-for-it"));
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    (t, ada)
}

async fn register(t: &TestApp, body: &Json) -> Answer {
    t.nobody("POST", REGISTER, body.clone()).await
}

/// R377, RFC 7591: a program registers itself, its person lets it in, it gets tokens and refreshes them; nothing is stored but the grant.
#[tokio::test]
async fn a_program_registers_itself_and_is_let_in() {
    let (t, ada) = stage().await;
    // As MCP clients send it, with members that mean nothing here.
    let body = json!({
        "client_name": "Planner\u{202e}", "redirect_uris": [BACK, "https://planner.example/cb", "com.example.planner:/cb"],
        "token_endpoint_auth_method": "client_secret_post", "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"], "scope": "agents.read", "client_uri": "https://planner.example", "software_id": "x", "later": { "a": 1 },
    });
    let made = register(&t, &body).await.is(201);
    let expected = json!({
        "client_id": made["client_id"], "client_id_issued_at": t.now().millis() / 1_000, "client_name": "Planner",
        "redirect_uris": [BACK, "com.example.planner:/cb"], "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"], "token_endpoint_auth_method": "none",
    });
    assert_eq!(made, expected);
    let id = made["client_id"].as_str().unwrap();
    assert_eq!(t.number("SELECT count(*) FROM oauth_clients").await, 0);

    // The port of a loopback address is free.
    let port = "http://127.0.0.1:33418/callback";
    let asked = request(id, &[("redirect_uri", port)]);
    let path = format!("{AUTHORIZE}?{}", encoded(&[("request", &asked)]));
    let shown = t.as_(&ada, "GET", &path, Json::Null).await.is(200);
    assert_eq!(shown["client"], json!({ "id": id, "name": "Planner", "host": null, "is_registered": false }));
    assert_eq!((&shown["is_local"], &shown["returns_to"]), (&json!(true), &json!("127.0.0.1:33418")));
    let code = allowed(&t, &ada, &asked).await;
    let traded = form_with(&t, TOKEN, None, &trade(id, &code, &[("redirect_uri", port)])).await.is(200);
    t.as_(&bearing(&ada, &traded), "GET", "/api/auth/whoami", Json::Null).await.is(200);
    refresh(&t, id, &traded["refresh_token"]).await.is(200);
    let apps = t.as_(&ada, "GET", "/auth/apps", Json::Null).await.is(200);
    assert_eq!(apps["items"][0]["client_name"], "Planner");
    // A site that it named is no way back.
    let away = request(id, &[("redirect_uri", "https://planner.example/cb")]);
    t.as_(&ada, "POST", AUTHORIZE, json!({ "request": away })).await.refused(400, "redirect_uri_mismatch");
}

/// R377: an id that was not made here, was changed, or was made by a key that is gone opens nothing.
#[tokio::test]
async fn an_id_is_of_this_server_alone() {
    let (t, ada) = stage().await;
    let made = register(&t, &json!({ "redirect_uris": [BACK] })).await.is(201);
    let id = made["client_id"].as_str().unwrap();
    let (text, mac) = id.strip_prefix("dyn_").unwrap().split_once('.').unwrap();
    let other = URL_SAFE_NO_PAD.encode(json!(["Evil", ["https://evil.example/cb"]]).to_string());
    let foreign = TestApp::with(with_neighbours(), settings("another-signing-key-that-is-long-enough"));
    let foreign = register(&foreign, &json!({ "redirect_uris": [BACK] })).await.is(201);
    for bad in [
        format!("dyn_{other}.{mac}"),
        format!("dyn_{text}.{}", mac.replace(|c: char| c.is_ascii_alphanumeric(), "A")),
        format!("dyn_{text}."),
        format!("dyn_{text}"),
        "dyn_.".to_owned(),
        foreign["client_id"].as_str().unwrap().to_owned(),
    ] {
        let asked = request(&bad, &[("redirect_uri", BACK)]);
        t.as_(&ada, "POST", AUTHORIZE, json!({ "request": asked })).await.refused(400, "unknown_client");
        form_with(&t, TOKEN, None, &trade(&bad, "x", &[("redirect_uri", BACK)])).await.refused(401, "invalid_client");
    }
    // R567: a name of which nothing is seen is none.
    for name in [json!(""), json!(" "), json!("\u{202e}"), Json::Null] {
        let nameless = register(&t, &json!({ "client_name": name, "redirect_uris": [BACK] })).await.is(201);
        assert_eq!(nameless["client_name"], "An app without a name", "{name}");
    }
    // R665: joiners that a script or an emoji needs are seen.
    for name in ["क्\u{200d}ष", "👩\u{200d}👩\u{200d}👧 Müller"] {
        let named = register(&t, &json!({ "client_name": name, "redirect_uris": [BACK] })).await.is(201);
        assert_eq!(named["client_name"], name);
    }
    // It has no secret, so that one that sends any is another client.
    let code = allowed(&t, &ada, &request(id, &[("redirect_uri", BACK)])).await;
    let with_secret = trade(id, &code, &[("redirect_uri", BACK), ("client_secret", "s")]);
    form_with(&t, TOKEN, None, &with_secret).await.refused(401, "invalid_client");
    // Codes are bound to it.
    let second = register(&t, &json!({ "client_name": "Second", "redirect_uris": [BACK] })).await.is(201);
    let stolen = trade(second["client_id"].as_str().unwrap(), &code, &[("redirect_uri", BACK)]);
    form_with(&t, TOKEN, None, &stolen).await.refused(400, "invalid_grant");
}

/// R377: what cannot be registered says why, in the words of RFC 7591.
#[tokio::test]
async fn what_leads_to_no_program_of_the_person_is_refused() {
    let (t, _) = stage().await;
    let uris = |uris: Json| json!({ "client_name": "a", "redirect_uris": uris });
    for (body, slug) in [
        (json!({}), "invalid_client_metadata"),
        (uris(json!(BACK)), "invalid_client_metadata"),
        (json!({ "client_name": 7, "redirect_uris": [BACK] }), "invalid_client_metadata"),
        (
            uris(json!([
                "http://127.0.0.1/".to_owned() + &"a".repeat(480),
                "http://localhost/".to_owned() + &"a".repeat(480)
            ])),
            "invalid_client_metadata",
        ),
        (uris(json!([])), "invalid_redirect_uri"),
        (uris(json!(["https://planner.example/cb"])), "invalid_redirect_uri"),
        (
            uris(json!(["http://planner.example/cb", "javascript:alert(1)", "http://127.0.0.1/cb?code=1", 7])),
            "invalid_redirect_uri",
        ),
        (uris(json!(vec![BACK; 17])), "invalid_redirect_uri"),
    ] {
        let refusal = register(&t, &body).await;
        refusal.refused(400, slug);
        assert!(refusal.text.contains("\"error_description\""), "{}", refusal.text);
    }
    let unable = TestApp::with(with_neighbours(), Settings::default());
    unable.tenant("main").await;
    let refusal = register(&unable, &uris(json!([BACK]))).await;
    refusal.refused(503, "signing_disabled");
    let metadata = unable.nobody("GET", "/.well-known/oauth-authorization-server", Json::Null).await.is(200);
    assert!(metadata.get("registration_endpoint").is_none());
}
