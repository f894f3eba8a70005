use base64::{Engine, engine::general_purpose::STANDARD};
use common::role::Role;
use serde_json::{Value as Json, json};
use service::testing::{TestApp, at_once};

use super::*;
use crate::{
    oauth::testing::{CALLBACK, CLIENTS, TOKEN, allowed, client, encoded, form_with, request, tokens, trade},
    with_neighbours,
};

/// R132: an admin registers a client; a secret is shown once and stored as a digest, and what is wrong about a redirect URI is refused.
#[tokio::test]
async fn an_admin_registers_clients() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let made = client(&t, &ada, true).await;
    let secret = made["client_secret"].as_str().unwrap();
    assert!(ClientSecret::parse(secret).is_some());
    assert_eq!(
        made,
        json!({
            "id": made["id"], "name": "Planner", "redirect_uris": [CALLBACK, "http://127.0.0.1/cb"], "confidential": true,
            "created_at": "2026-01-02T03:04:05.000Z", "updated_at": "2026-01-02T03:04:05.000Z", "secret_ended_at": null,
            "client_secret": secret,
        })
    );
    let path = format!("{CLIENTS}/{}", made["id"].as_str().unwrap());
    let got = t.as_(&ada, "GET", &path, Null).await.is(200);
    assert_eq!(got.get("client_secret"), None);
    assert_eq!(t.as_(&ada, "GET", CLIENTS, Null).await.is(200)["items"], json!([got]));
    assert!(client(&t, &ada, false).await["client_secret"].is_null());

    let changed = t.as_(&ada, "PATCH", &path, json!({ "name": "Planner 2" })).await.is(200);
    assert_eq!((&changed["name"], &changed["redirect_uris"]), (&json!("Planner 2"), &got["redirect_uris"]));
    for uris in [
        json!([]),
        json!(["http://app.example.com/cb"]),
        json!([CALLBACK, CALLBACK]),
        json!(["https://user@app.example.com/cb"]),
        json!(["https://app.example.com/a/../cb"]),
        json!(["https://app.example.com/cb#x"]),
        json!(["javascript:alert(1)"]),
        json!([format!("https://app.example.com/{}", "a".repeat(500))]),
        json!((0..17).map(|number| format!("https://app.example.com/{number}")).collect::<Vec<_>>()),
    ] {
        t.as_(&ada, "PATCH", &path, json!({ "redirect_uris": uris })).await.refused(400, "invalid_redirect_uri");
        let body = json!({ "name": "x", "redirect_uris": uris });
        t.as_(&ada, "POST", CLIENTS, body).await.refused(400, "invalid_redirect_uri");
    }
    t.as_(&ada, "POST", CLIENTS, json!({ "name": "a\u{202e}", "redirect_uris": [CALLBACK] }))
        .await
        .refused(400, "invalid_text");
    let audited = t.texts("SELECT action || ' ' || ifnull(after, '') FROM audit").await;
    assert!(audited[0].starts_with("oauth.client.create {") && !audited.concat().contains(secret), "{audited:?}");
    assert!(audited[2].starts_with("oauth.client.update {\"name\":\"Planner 2\"}"), "{audited:?}");

    let max = t.user(&ada.tenant, "max@example.com", Role::Curator).await;
    for (method, path) in [("GET", CLIENTS), ("POST", CLIENTS), ("GET", &path), ("PATCH", &path), ("DELETE", &path)] {
        let body = if method == "POST" { json!({ "name": "x", "redirect_uris": [CALLBACK] }) } else { Null };
        t.as_(&max, method, path, body).await.refused(403, "scope_denied");
    }
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    t.as_(&eve, "GET", &path, Null).await.refused(404, "client_not_found");
    t.as_(&eve, "DELETE", &path, Null).await.refused(404, "client_not_found");
}

/// R132: a tenant has a bounded number of clients.
#[tokio::test]
async fn clients_are_bounded() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    for number in 0..oauth_client::MOST {
        t.execute(&format!(
            "INSERT INTO oauth_clients VALUES ('cli_{number}', '{}', 'n', '[]', NULL, 0, 0, 'u', NULL)",
            ada.tenant
        ))
        .await
        .unwrap();
    }
    let body = json!({ "name": "x", "redirect_uris": [CALLBACK] });
    t.as_(&ada, "POST", CLIENTS, body).await.refused(409, "quota_reached");
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// R132: a confidential client proves itself in one of two ways, and a public one must not pretend to; nothing tells why a proof is refused.
#[tokio::test]
async fn a_confidential_client_proves_itself() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let made = client(&t, &ada, true).await;
    let (id, secret) = (made["id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
    let public = client(&t, &ada, false).await;
    let public = public["id"].as_str().unwrap();

    let code = allowed(&t, &ada, &request(id, &[])).await;
    let form = |changes: &[(&str, &str)]| trade(id, &code, changes);
    let wrong = secret.replace("acr_cls_", "acr_pat_");
    for (header, body) in [
        (None, form(&[])),
        (None, form(&[("client_id", "")])),
        (None, form(&[("client_secret", "wrong")])),
        (None, form(&[("client_secret", &wrong)])),
        (Some(basic(id, "wrong")), form(&[])),
        (Some(basic(id, "")), form(&[])),
        (Some(basic("cli_nobody", secret)), form(&[("client_id", "")])),
        (Some(basic(public, secret)), form(&[])),
        (Some(basic(id, secret)), form(&[("client_id", public)])),
        (Some("Basic !!!".to_owned()), form(&[])),
        (Some("Basic".to_owned()), form(&[])),
        (Some(format!("Bearer {}", ada.token)), form(&[])),
        (None, trade(public, &code, &[("client_secret", secret)])),
        (None, trade("https://app.example.com/c", &code, &[("client_secret", secret)])),
    ] {
        let answer = form_with(&t, TOKEN, header.as_deref(), &body).await;
        let refused = answer.refused(401, "invalid_client");
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"accredit\"");
        assert_eq!(refused["error_description"], refused["detail"]);
    }
    let both = form_with(&t, TOKEN, Some(&basic(id, secret)), &form(&[("client_secret", secret)])).await;
    both.refused(400, "invalid_request");
    // None of them has spent the code.
    form_with(&t, TOKEN, Some(&basic(id, secret)), &form(&[("client_id", "")])).await.is(200);
    let code = allowed(&t, &ada, &request(id, &[])).await;
    form_with(&t, TOKEN, None, &trade(id, &code, &[("client_secret", secret)])).await.is(200);

    let rotated = t.as_(&ada, "POST", &format!("{CLIENTS}/{id}/rotate"), Null).await.is(201);
    let next = rotated["client_secret"].as_str().unwrap();
    let code = allowed(&t, &ada, &request(id, &[])).await;
    form_with(&t, TOKEN, None, &trade(id, &code, &[("client_secret", secret)])).await.refused(401, "invalid_client");
    form_with(&t, TOKEN, None, &trade(id, &code, &[("client_secret", next)])).await.is(200);
    t.as_(&ada, "POST", &format!("{CLIENTS}/{public}/rotate"), Null).await.refused(409, "public_client");
}

/// R132: with a client ends all that it was given.
#[tokio::test]
async fn a_deleted_client_has_nothing_left() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let made = client(&t, &ada, false).await;
    let id = made["id"].as_str().unwrap();
    let got = tokens(&t, &ada, id).await;
    let code = allowed(&t, &ada, &request(id, &[])).await;
    t.as_(&ada, "DELETE", &format!("{CLIENTS}/{id}"), Null).await.is(204);
    let app = crate::oauth::testing::bearing(&ada, &got);
    t.as_(&app, "GET", "/auth/tokens", Null).await.refused(401, "token_revoked");
    form_with(&t, TOKEN, None, &trade(id, &code, &[])).await.refused(401, "invalid_client");
    let form = encoded(&[
        ("grant_type", "refresh_token"),
        ("client_id", id),
        ("refresh_token", got["refresh_token"].as_str().unwrap()),
    ]);
    form_with(&t, TOKEN, None, &form).await.refused(401, "invalid_client");
    let audited: Vec<Json> = vec![
        serde_json::from_str(
            &t.texts("SELECT json_remove(after, '$.closure') FROM audit WHERE action = 'oauth.client.delete'").await[0],
        )
        .unwrap(),
    ];
    assert_eq!(audited, [json!({ "grants_ended": 1 })]);
}

/// R132: a client that is deleted while its codes are traded has nothing left either.
#[tokio::test]
async fn a_code_races_with_the_end_of_its_client() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    for _ in 0..8 {
        let made = client(&t, &ada, false).await;
        let id = made["id"].as_str().unwrap();
        let mut codes = Vec::new();
        for _ in 0..7 {
            codes.push(allowed(&t, &ada, &request(id, &[])).await);
        }
        let answers = at_once(8, async |number| match codes.get(number) {
            Some(code) => form_with(&t, TOKEN, None, &trade(id, code, &[])).await.status.as_u16(),
            None => t.as_(&ada, "DELETE", &format!("{CLIENTS}/{id}"), Null).await.status.as_u16(),
        });
        assert!(answers.iter().all(|status| matches!(status, 200 | 204 | 401)), "{answers:?}");
        assert_eq!(t.number("SELECT count(*) FROM oauth_grants WHERE ended_at IS NULL").await, 0);
    }
}

/// R168: a page of any origin may ask, and is told so before and with every answer; an OPTIONS that no browser sends for a page is as before.
#[tokio::test]
async fn a_page_of_any_origin_gets_tokens() {
    let t = TestApp::new(with_neighbours());
    t.ada().await;
    let page = [("origin", "https://app.example"), ("sec-fetch-site", "cross-site")];
    let asks = [page[0], page[1], ("access-control-request-method", "POST")];
    for path in [TOKEN, "/oauth/revoke", "/oauth/jwks", "/.well-known/oauth-authorization-server"] {
        let preflight = t.call("OPTIONS", path, &asks, Null).await;
        assert_eq!((preflight.status.as_u16(), preflight.header("access-control-allow-origin")), (204, "*"), "{path}");
        let plain = t.call("OPTIONS", path, &page, Null).await;
        plain.refused(405, "method_not_allowed");
        assert_eq!(plain.header("access-control-allow-origin"), "", "{path}");
    }
    let refused = t.call("POST", TOKEN, &page, Null).await;
    refused.refused(400, "invalid_request");
    assert_eq!(refused.header("access-control-allow-origin"), "*");
    assert_eq!(refused.header("access-control-expose-headers"), "retry-after, www-authenticate, x-request-id");
    // Nowhere else.
    for path in [CLIENTS, "/auth/device/code", "/auth/leaks"] {
        let preflight = t.call("OPTIONS", path, &asks, Null).await;
        assert_eq!((preflight.status.as_u16(), preflight.header("access-control-allow-origin")), (405, ""), "{path}");
    }
    t.call("POST", "/auth/leaks", &page, json!({ "token": "x" })).await.refused(403, "cross_site_request");
}
