use base64::{Engine, engine::general_purpose::STANDARD};
use common::role::Role;
use serde_json::{Value as Json, json};
use service::testing::{TestApp, at_once};

use super::*;
use crate::{
    oauth::testing::{
        CALLBACK, CLIENTS, TOKEN, allowed, client, encoded, form_with, public, request, signed, tokens, trade,
    },
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
            "token_endpoint_auth_method": "client_secret_basic", "jwks_uri": null,
            "created_at": "2026-01-02T03:04:05.000Z", "updated_at": "2026-01-02T03:04:05.000Z", "secret_ended_at": null,
            "client_secret": secret,
        })
    );
    let path = format!("{CLIENTS}/{}", made["id"].as_str().unwrap());
    let got = t.as_(&ada, "GET", &path, Null).await.is(200);
    assert_eq!(got.get("client_secret"), None);
    // R701: one alone says how many people have let it in.
    assert_eq!(got["people"], 0);
    let mut listed = got.clone();
    listed.as_object_mut().unwrap().remove("people");
    assert_eq!(t.as_(&ada, "GET", CLIENTS, Null).await.is(200)["items"], json!([listed]));
    assert!(client(&t, &ada, false).await["client_secret"].is_null());

    let changed = t.as_(&ada, "PATCH", &path, json!({ "name": "Planner 2" })).await.is(200);
    assert_eq!((&changed["name"], &changed["redirect_uris"]), (&json!("Planner 2"), &got["redirect_uris"]));
    // R310: the same once more changes nothing.
    t.wait(1);
    let same = json!({ "name": "Planner 2", "redirect_uris": got["redirect_uris"] });
    assert_eq!(t.as_(&ada, "PATCH", &path, same).await.is(200), changed);
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'oauth.client.update'").await, 1);
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

/// R251: a scheme of a program's own is for public clients; one that others answer to is for nobody.
#[tokio::test]
async fn a_scheme_of_its_own_is_for_public_clients() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let uris = json!(["com.example.app:/cb", CALLBACK]);
    let send = async |more: Json| {
        let mut body = json!({ "name": "App", "redirect_uris": uris });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        t.as_(&ada, "POST", CLIENTS, body).await
    };
    assert_eq!(send(json!({})).await.is(201)["redirect_uris"], uris);
    for more in [json!({ "confidential": true }), json!({ "jwks": { "keys": [public("app", "a")] } })] {
        let refused = send(more).await.refused(400, "invalid_redirect_uri");
        assert_eq!(refused["refused"], json!(["com.example.app:/cb"]));
        assert!(refused["fix"].as_str().unwrap().contains("without confidential"), "{refused}");
    }
    let server = client(&t, &ada, true).await;
    let path = format!("{CLIENTS}/{}", server["id"].as_str().unwrap());
    t.as_(&ada, "PATCH", &path, json!({ "redirect_uris": uris })).await.refused(400, "invalid_redirect_uri");
    t.as_(&ada, "PATCH", &path, json!({ "redirect_uris": ["ms-settings:/cb"] }))
        .await
        .refused(400, "invalid_redirect_uri");
    assert_eq!(t.as_(&ada, "GET", &path, Null).await.is(200)["redirect_uris"], server["redirect_uris"]);
}

/// R132: a tenant has a bounded number of clients.
#[tokio::test]
async fn clients_are_bounded() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    for number in 0..oauth_client::MOST {
        t.execute(&format!(
            "INSERT INTO oauth_clients (id, tenant_id, name, redirect_uris, secret, created_at, updated_at, created_by) VALUES ('cli_{number}', '{}', 'n', '[]', NULL, 0, 0, 'u')",
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
    let fix = both.refused(400, "invalid_request")["fix"].as_str().unwrap().to_owned();
    assert!(fix.contains("one way") && !fix.contains("client_id=<value>"), "R235: {fix}");
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
    // R701: each person that has let it in is told once, and an admin sees before how many they are.
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    for _ in 0..2 {
        tokens(&t, &max, id).await;
    }
    assert_eq!(t.as_(&ada, "GET", &format!("{CLIENTS}/{id}"), Null).await.is(200)["people"], 2);
    t.as_(&ada, "DELETE", &format!("{CLIENTS}/{id}"), Null).await.is(204);
    let told = t.texts("SELECT user_id || ' ' || title || ': ' || body FROM notifications").await;
    assert_eq!(
        told,
        [format!(
            "{} The app Planner was removed: ada@example.com removed the app Planner: it can do nothing in your name any more.",
            max.user
        )]
    );
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
    assert_eq!(audited, [json!({ "grants_ended": 3 })]);
}

/// R706: a code that went to a redirect URI gives nothing once an admin has taken that from the client.
#[tokio::test]
async fn a_code_ends_with_the_redirect_uri_that_it_went_to() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let made = client(&t, &ada, false).await;
    let id = made["id"].as_str().unwrap();
    let local = ("redirect_uri", "http://127.0.0.1:8080/cb");
    let codes = [allowed(&t, &ada, &request(id, &[])).await, allowed(&t, &ada, &request(id, &[local])).await];
    let body = json!({ "redirect_uris": ["http://127.0.0.1/cb"] });
    t.as_(&ada, "PATCH", &format!("{CLIENTS}/{id}"), body).await.is(200);
    form_with(&t, TOKEN, None, &trade(id, &codes[0], &[("redirect_uri", "")])).await.refused(400, "invalid_grant");
    form_with(&t, TOKEN, None, &trade(id, &codes[1], &[local])).await.is(200);
    assert_eq!(t.number("SELECT count(*) FROM oauth_grants").await, 1);
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

const ISSUER: &str = "http://127.0.0.1:3000";

/// A client that proves itself by the key `app`.
async fn with_key(t: &TestApp, ada: &service::testing::Actor) -> String {
    let body = json!({ "name": "Planner", "redirect_uris": [CALLBACK], "jwks": { "keys": [public("app", "one")] } });
    let made = t.as_(ada, "POST", CLIENTS, body).await.is(201);
    assert_eq!(
        (&made["client_secret"], &made["confidential"], &made["token_endpoint_auth_method"]),
        (&Null, &json!(true), &json!("private_key_jwt"))
    );
    made["id"].as_str().unwrap().to_owned()
}

/// What a client signs, in which some claims are other ones.
fn assertion(t: &TestApp, id: &str, name: &str, changes: &[(&str, Json)]) -> String {
    let now = t.now().millis() / 1000;
    let mut claims = json!({ "iss": id, "sub": id, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": "1" });
    for (name, value) in changes {
        match value {
            Null => drop(claims.as_object_mut().unwrap().remove(*name)),
            value => claims[*name] = value.clone(),
        }
    }
    signed(name, &json!({ "typ": "JWT", "alg": "ES256", "kid": "one" }), &claims.to_string())
}

/// R172: a client with keys in place of a secret proves itself by what it signs: with each request anew, as itself, for this server.
#[tokio::test]
async fn a_client_proves_itself_by_a_key() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let id = with_key(&t, &ada).await;
    let proving = |text: &str| {
        [("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", text.to_owned())]
            .map(|(name, value)| (name.to_owned(), value))
    };
    let pairs = |more: &[(String, String)], code: &str, with_id: bool| {
        let mut all = vec![
            ("grant_type".to_owned(), "authorization_code".to_owned()),
            ("code".to_owned(), code.to_owned()),
            ("redirect_uri".to_owned(), CALLBACK.to_owned()),
            ("code_verifier".to_owned(), crate::oauth::testing::VERIFIER.to_owned()),
        ];
        all.extend(with_id.then(|| ("client_id".to_owned(), id.clone())));
        all.extend(more.iter().cloned());
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        encoded(&all)
    };
    let code = allowed(&t, &ada, &request(&id, &[])).await;
    for (text, why) in [
        (assertion(&t, &id, "other", &[]), "signature is wrong"),
        (assertion(&t, &id, "app", &[("iss", json!("cli_other"))]), "another issuer"),
        (assertion(&t, &id, "app", &[("sub", json!("cli_other"))]), "another client"),
        (assertion(&t, &id, "app", &[("sub", Null)]), "no sub"),
        (assertion(&t, &id, "app", &[("aud", json!("https://other.example"))]), "another audience"),
        (assertion(&t, &id, "app", &[("aud", json!(format!("{ISSUER}/")))]), "another audience"),
        // R233: the issuer or the token endpoint, and nothing beside it.
        (assertion(&t, &id, "app", &[("aud", json!(format!("{ISSUER}/oauth/revoke")))]), "another audience"),
        (assertion(&t, &id, "app", &[("aud", json!([format!("{ISSUER}/auth/device/token")]))]), "another audience"),
        (assertion(&t, &id, "app", &[("aud", json!([ISSUER, "https://other.example"]))]), "more than one audience"),
        (assertion(&t, &id, "app", &[("aud", json!([ISSUER, format!("{ISSUER}/oauth/token")]))]), "more than one"),
        (assertion(&t, &id, "app", &[("exp", json!(1))]), "expired"),
        (assertion(&t, &id, "app", &[("exp", Null)]), "no exp"),
        ("x".to_owned(), "no parts"),
    ] {
        let answer = form_with(&t, TOKEN, None, &pairs(&proving(&text), &code, true)).await;
        let refusal = answer.refused(401, "invalid_client");
        assert!(refusal["error_description"].as_str().unwrap().contains(why), "{refusal}: {why}");
    }
    // Neither nothing nor a secret is a proof of this client, nor are two proofs one.
    for more in [vec![], vec![("client_secret".to_owned(), "acr_cls_x".to_owned())]] {
        form_with(&t, TOKEN, None, &pairs(&more, &code, true)).await.refused(401, "invalid_client");
    }
    let good = assertion(&t, &id, "app", &[]);
    let mut two = proving(&good).to_vec();
    two.push(("client_secret".to_owned(), "x".to_owned()));
    form_with(&t, TOKEN, None, &pairs(&two, &code, true)).await.refused(400, "invalid_request");
    form_with(&t, TOKEN, Some(&basic(&id, "x")), &pairs(&proving(&good), &code, true))
        .await
        .refused(400, "invalid_request");
    for half in [&proving(&good)[..1], &proving(&good)[1..]] {
        form_with(&t, TOKEN, None, &pairs(half, &code, true)).await.refused(400, "invalid_request");
    }
    let got = form_with(&t, TOKEN, None, &pairs(&proving(&good), &code, false)).await.is(200);

    let refresh = |text: &str| {
        encoded(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", got["refresh_token"].as_str().unwrap()),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", text),
        ])
    };
    let refusal = form_with(&t, TOKEN, None, &refresh(&good)).await.refused(401, "invalid_client");
    assert!(refusal["detail"].as_str().unwrap().contains("sent before"), "{refusal}");
    let answers = at_once(8, |_| async {
        let text = assertion(&t, &id, "app", &[("jti", json!("2")), ("aud", json!([format!("{ISSUER}/oauth/token")]))]);
        form_with(&t, TOKEN, None, &refresh(&text)).await.status.as_u16()
    });
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    let revoked = encoded(&[
        ("token", got["refresh_token"].as_str().unwrap()),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &assertion(&t, &id, "app", &[("jti", json!("3"))])),
    ]);
    form_with(&t, "/oauth/revoke", None, &revoked).await.is(200);
}

/// R566: a client whose document names keys proves itself by one, for as long as what a person gave it lasts; nothing is no proof of it, but
/// of one whose document says that it need not prove itself.
#[tokio::test]
async fn a_client_of_a_document_proves_itself_by_a_key() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let id = "https://app.example.com/client.json";
    let put = async |is_public: bool| {
        let keys = Some(Keys::Pasted(vec![public("app", "one")]));
        let proof = oauth_document::Proof { keys, is_public };
        let (name, redirect_uris) = ("Assistant".to_owned(), vec![CALLBACK.to_owned()]);
        let document = oauth_document::Document { name, redirect_uris, proof };
        oauth_document::put(t.db(), id, &document, t.now()).await.unwrap();
    };
    let proving = |number: &str| assertion(&t, id, "app", &[("jti", json!(number))]);
    let send = async |form: &[(&str, &str)], text: Option<&str>| {
        let mut form = form.to_vec();
        form.push(("client_id", id));
        form.extend(
            text.into_iter().flat_map(|text| [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", text)]),
        );
        form_with(&t, TOKEN, None, &encoded(&form)).await
    };
    let oldest = async || t.number("SELECT oldest_code FROM schema_info").await;
    put(true).await;
    assert!(oldest().await < 55, "code that knows no such keys may take it as it was");
    put(false).await;
    assert_eq!(oldest().await, 55);
    // The document ends before the code does.
    t.wait(oauth_document::LIFE - 10);
    let code = allowed(&t, &ada, &request(id, &[])).await;
    t.wait(20);
    oauth_document::purge(t.db(), t.now(), 10).await.unwrap();
    let trade = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", crate::oauth::testing::VERIFIER),
    ];
    send(&trade, None).await.refused(401, "invalid_client");
    let others = assertion(&t, id, "other", &[]);
    send(&trade, Some(&others)).await.refused(401, "invalid_client");
    let first = send(&trade, Some(&proving("1"))).await.is(200);
    // The document has long stopped to count, and is purged of those that nobody let in.
    t.wait(20 * 86_400);
    oauth_document::purge(t.db(), t.now(), 10).await.unwrap();
    let refresh = |got: &Json| got["refresh_token"].as_str().unwrap().to_owned();
    let pairs =
        |token: &str| [("grant_type", "refresh_token"), ("refresh_token", token)].map(|(a, b)| (a, b.to_owned()));
    let send_refresh = async |got: &Json, text: Option<&str>| {
        let pairs = pairs(&refresh(got));
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        send(&pairs, text).await
    };
    send_refresh(&first, None).await.refused(401, "invalid_client");
    let second = send_refresh(&first, Some(&proving("2"))).await.is(200);
    assert_eq!(oauth_document::find(t.db(), id, t.now()).await.unwrap(), None);
    put(true).await;
    let third = send_refresh(&second, None).await.is(200);
    send_refresh(&third, Some(&proving("3"))).await.is(200);

    // Nobody let it in: an hour is all.
    t.execute("DELETE FROM oauth_documents").await.unwrap();
    put(false).await;
    t.wait(oauth_document::LIFE);
    oauth_document::purge(t.db(), t.now(), 10).await.unwrap();
    assert_eq!(t.number("SELECT count(*) FROM oauth_documents").await, 0);
}

/// R172: an admin gives a client keys or a secret, never both; keys are replaced, and a deleted client has none.
#[tokio::test]
async fn a_client_has_keys_or_a_secret() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let id = with_key(&t, &ada).await;
    let path = format!("{CLIENTS}/{id}");
    let keys = |name: &str| json!({ "keys": [public(name, "one")] });
    for (more, status, slug) in [
        (json!({ "jwks": keys("a"), "confidential": false }), 422, "validation_error"),
        (json!({ "jwks": keys("a"), "jwks_uri": "https://app.example.com/keys" }), 422, "validation_error"),
        (json!({ "jwks": { "keys": [] } }), 422, "validation_error"),
        (json!({ "jwks_uri": "https://app.example.com/keys" }), 403, "host_not_allowed"),
        (json!({ "jwks_uri": "http://app.example.com/keys" }), 400, "invalid_outbound_url"),
    ] {
        let mut body = json!({ "name": "x", "redirect_uris": [CALLBACK] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        t.as_(&ada, "POST", CLIENTS, body).await.refused(status, slug);
    }
    t.as_(&ada, "POST", &format!("{path}/rotate"), Null).await.refused(409, "public_client");
    let secret = client(&t, &ada, true).await;
    let other = format!("{CLIENTS}/{}", secret["id"].as_str().unwrap());
    t.as_(&ada, "PATCH", &other, json!({ "jwks": keys("a") })).await.refused(422, "validation_error");
    t.as_(&ada, "PATCH", &path, json!({ "name": "Planner 2" })).await.is(200);
    let prove = async |name: &str, number: &str| {
        let text = assertion(&t, &id, name, &[("jti", json!(number))]);
        let pairs = [
            ("grant_type", "refresh_token"),
            ("refresh_token", "x"),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &text),
        ];
        form_with(&t, TOKEN, None, &encoded(&pairs)).await
    };
    prove("app", "1").await.refused(400, "invalid_grant");
    let updates = "SELECT count(*) FROM audit WHERE action = 'oauth.client.update'";
    let before = t.number(updates).await;
    for _ in 0..2 {
        t.as_(&ada, "PATCH", &path, json!({ "jwks": keys("next") })).await.is(200);
    }
    assert_eq!(t.number(updates).await, before + 1);
    prove("app", "2").await.refused(401, "invalid_client");
    prove("next", "3").await.refused(400, "invalid_grant");
    t.as_(&ada, "DELETE", &path, Null).await.is(204);
    prove("next", "4").await.refused(401, "invalid_client");
    let metadata = t.nobody("GET", "/.well-known/oauth-authorization-server", Null).await.is(200);
    for endpoint in ["token", "revocation"] {
        let methods = &metadata[format!("{endpoint}_endpoint_auth_methods_supported")];
        assert!(methods.as_array().unwrap().contains(&json!("private_key_jwt")), "{metadata}");
        let algorithms = &metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")];
        assert_eq!(algorithms, &json!(["RS256", "ES256", "EdDSA"]));
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
