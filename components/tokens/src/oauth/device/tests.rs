use base64::{Engine, engine::general_purpose::STANDARD};
use common::role::Role;
use http::Request;
use serde_json::Value as Json;
use service::{
    body::RequestBody,
    settings::Settings,
    testing::{Actor, Answer, TestApp, at_once},
};
use store::{usage::Quotas, user};

use super::*;
use crate::{
    oauth::testing::{client, form_with},
    with_neighbours,
};

const CODE: &str = "/auth/device/code";
const TOKEN: &str = "/auth/device/token";

async fn form_to(t: &TestApp, path: &str, body: &str) -> Answer {
    let request = Request::post(path)
        .header("host", "localhost:3000")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("spin-client-addr", "192.0.2.7:1")
        .body(RequestBody::from(body.to_owned()));
    t.send(request.unwrap()).await
}

/// The codes, and beside them the client that asked.
async fn asked(t: &TestApp, body: &str) -> Json {
    let mut codes = form_to(t, CODE, body).await.is(200);
    let client = form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "client_id");
    codes["client"] = json!(client.map(|(_, client)| client).unwrap_or_default());
    codes
}

fn redemption(codes: &Json, client: &str) -> String {
    let code = codes["device_code"].as_str().unwrap();
    format!("grant_type={GRANT}&device_code={code}&client_id={client}")
}

async fn poll(t: &TestApp, codes: &Json) -> Answer {
    form_to(t, TOKEN, &redemption(codes, codes["client"].as_str().unwrap())).await
}

fn path(codes: &Json, act: &str) -> String {
    format!("/auth/device/{}{act}", codes["user_code"].as_str().unwrap())
}

async fn ada(t: &TestApp) -> Actor {
    let tenant = t.tenant("main").await;
    t.user(&tenant, "ada@example.com", Role::Member).await
}

fn bearing(actor: &Actor, token: &Json) -> Actor {
    let token = token.as_str().unwrap().to_owned();
    let Actor { tenant, user, credential, .. } = actor;
    Actor { tenant: tenant.clone(), user: user.clone(), agent: None, credential: credential.clone(), token }
}

/// R104: from the codes to a token that works, named after the machine, with what the person chose; and once.
#[tokio::test]
async fn a_device_gets_the_token_that_a_person_approved() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let codes = asked(&t, "client_id=accredit&name=build-1&scope=agents.read+x.crm.*").await;
    let user_code = codes["user_code"].as_str().unwrap();
    assert_eq!(codes["verification_uri"], "http://localhost:3000/device");
    assert_eq!(codes["verification_uri_complete"], format!("http://localhost:3000/device?user_code={user_code}"));
    assert_eq!((&codes["expires_in"], &codes["interval"]), (&json!(600), &json!(2)));

    let shown = t.as_(&ada, "GET", &path(&codes, ""), Null).await.is(200);
    assert_eq!(
        shown,
        json!({
            "name": "build-1", "client": "accredit", "address": "192.0.2.7", "scope": ["agents.read", "x.crm.*"], "want": "token",
            "created_at": "2026-01-02T03:04:05.000Z", "expires_at": "2026-01-02T03:14:05.000Z",
        })
    );
    let refused = poll(&t, &codes).await.refused(400, "authorization_pending");
    assert_eq!((&refused["interval"], &refused["error_description"]), (&json!(2), &refused["detail"]));

    let body = json!({ "scope": ["agents.read", "agents.list"], "expires_in_days": 7 });
    let decided = t.as_(&ada, "POST", &path(&codes, "/approve"), body).await.is(200);
    assert_eq!(decided, json!({ "state": "approved", "name": "build-1" }));
    let answer = poll(&t, &codes).await;
    let token = answer.is(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        token,
        json!({
            "access_token": token["access_token"], "token_type": "Bearer", "expires_in": 604_800, "scope": "agents.list agents.read",
            "id": token["id"], "name": "build-1", "user_id": ada.user, "email": "ada@example.com",
            "expires_at": "2026-01-09T03:04:05.000Z",
        })
    );
    let device = bearing(&ada, &token["access_token"]);
    let record = t.as_(&device, "GET", &format!("/auth/tokens/{}", token["id"].as_str().unwrap()), Null).await.is(200);
    assert_eq!(
        (&record["name"], &record["kind"], &record["scope"]),
        (&json!("build-1"), &json!("pat"), &json!(["agents.list", "agents.read"]))
    );
    poll(&t, &codes).await.refused(400, "invalid_grant");
    t.as_(&ada, "GET", &path(&codes, ""), Null).await.refused(404, "device_request_not_found");
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, 1);
    let audited = t.texts("SELECT action || ' ' || after FROM audit ORDER BY action").await;
    assert!(audited[0].starts_with("device.approve {") && audited[1].starts_with("token.create {"), "{audited:?}");
    for secret in [&codes["device_code"], &codes["user_code"], &token["access_token"]] {
        assert!(!audited.concat().contains(secret.as_str().unwrap()), "{secret}");
    }
}

/// R491: a program that no admin registered ends the token that it got (RFC 7009, section 2.1), and nothing that it may not.
#[tokio::test]
async fn a_program_revokes_the_token_that_a_device_got() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let registered = client(&t, &t.user(&ada.tenant, "eve@example.com", Role::Admin).await, true).await;
    for client in ["", "client_id=accredit"] {
        let codes = asked(&t, client).await;
        t.as_(&ada, "POST", &path(&codes, "/approve"), json!({})).await.is(200);
        let got = poll(&t, &codes).await.is(200);
        let token = got["access_token"].as_str().unwrap();
        let known = format!("client_id={}&token={token}", registered["id"].as_str().unwrap());
        form_to(&t, "/oauth/revoke", &known).await.refused(401, "invalid_client");
        let session = format!("{client}&token={}", ada.token);
        form_to(&t, "/oauth/revoke", &session).await.refused(401, "invalid_client");
        t.as_(&bearing(&ada, &got["access_token"]), "GET", "/auth/apps", Null).await.is(200);
        for _ in 0..2 {
            let answer = form_to(&t, "/oauth/revoke", &format!("{client}&token={token}")).await;
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
        }
        t.as_(&bearing(&ada, &got["access_token"]), "GET", "/auth/apps", Null).await.refused(401, "token_revoked");
    }
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'oauth.revoke'").await, 2);
    t.as_(&ada, "GET", "/auth/tokens", Null).await.is(200);
}

/// R104: `want=session` gives a session of ten minutes.
#[tokio::test]
async fn a_terminal_gets_a_session_of_ten_minutes() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let codes = asked(&t, "client_id=accredit&name=laptop&want=session").await;
    assert_eq!(t.as_(&ada, "GET", &path(&codes, ""), Null).await.is(200)["want"], "session");
    let refused = t.as_(&ada, "POST", &path(&codes, "/approve"), json!({ "scope": ["*"] })).await;
    refused.refused(422, "validation_error");
    t.as_(&ada, "POST", &path(&codes, "/approve"), json!({})).await.is(200);
    let session = poll(&t, &codes).await.is(200);
    assert_eq!(session["expires_at"], "2026-01-02T03:14:05.000Z");
    let terminal = bearing(&ada, &session["access_token"]);
    t.as_(&terminal, "POST", "/auth/tokens", json!({ "name": "made" })).await.is(201);
    t.wait(600);
    t.as_(&terminal, "GET", "/auth/tokens", Null).await.refused(401, "token_expired");
}

/// R104, R223: a session that a session approved has proved what that one had proved, when it did, and ends with its end.
#[tokio::test]
async fn a_session_of_a_session_proves_no_more_than_it() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let lasting = json!({ "name": "lasting", "expires_in_days": null });
    let mut by = bearing(&ada, &json!(ada.token));
    t.wait(800);
    let mut ends = Vec::new();
    for round in 0..2 {
        let codes = asked(&t, "want=session").await;
        t.as_(&by, "POST", &path(&codes, "/approve"), json!({})).await.is(200);
        let session = poll(&t, &codes).await.is(200);
        ends.push(session["expires_at"].clone());
        by = bearing(&ada, &session["access_token"]);
        t.as_(&by, "POST", "/auth/tokens", json!({ "name": format!("made-{round}") })).await.is(201);
        t.wait(45);
    }
    assert_eq!(ends, ["2026-01-02T03:27:25.000Z"; 2]);
    // The last one is not a minute old. Nobody has proved anything for a quarter of an hour.
    t.wait(15);
    let made = t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await;
    t.as_(&by, "POST", "/auth/tokens", lasting).await.refused(403, "reauthentication_required");
    let codes = asked(&t, "want=session").await;
    t.as_(&by, "POST", &path(&codes, "/approve"), json!({})).await.refused(403, "reauthentication_required");
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, made);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'session' AND two_factors = 1").await, 0);
}

/// R223: an approval of a session ends with the session that gave it.
#[tokio::test]
async fn a_session_that_has_ended_gives_no_other() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let codes = asked(&t, "want=session").await;
    t.as_(&ada, "POST", &path(&codes, "/approve"), json!({})).await.is(200);
    t.execute("UPDATE credentials SET revoked_at = 1 WHERE kind = 'session'").await.unwrap();
    let sessions = t.number("SELECT count(*) FROM credentials WHERE kind = 'session'").await;
    poll(&t, &codes).await.refused(400, "access_denied");
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'session'").await, sessions);
}

/// RFC 8628, section 3.5: the four ways in which a poll gives no token.
#[tokio::test]
async fn a_poll_is_told_where_its_request_stands() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let codes = asked(&t, "").await;
    assert_eq!(poll(&t, &codes).await.refused(400, "authorization_pending")["interval"], 2);
    assert_eq!(poll(&t, &codes).await.refused(400, "slow_down")["interval"], 7);
    t.wait(5);
    assert_eq!(poll(&t, &codes).await.refused(400, "slow_down")["interval"], 12);
    t.wait(12);
    assert_eq!(poll(&t, &codes).await.refused(400, "authorization_pending")["interval"], 12);
    t.as_(&ada, "POST", &path(&codes, "/deny"), Null).await.is(200);
    poll(&t, &codes).await.refused(400, "access_denied");
    t.as_(&ada, "POST", &path(&codes, "/approve"), json!({})).await.refused(404, "device_request_not_found");

    // However late it was approved, it ends after ten minutes.
    let codes = asked(&t, "").await;
    t.wait(599);
    t.as_(&ada, "POST", &path(&codes, "/approve"), json!({})).await.is(200);
    t.wait(1);
    poll(&t, &codes).await.refused(400, "expired_token");
    let late = asked(&t, "").await;
    t.wait(600);
    t.as_(&ada, "POST", &path(&late, "/approve"), json!({})).await.refused(404, "device_request_not_found");
    poll(&t, &late).await.refused(400, "expired_token");
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, 0);
}

/// R22, R104: of 20 polls at the same time, over two hosts, one gets the token; of 20 decisions one counts.
#[tokio::test]
async fn an_approval_is_spent_once() {
    let t = TestApp::new(with_neighbours());
    let second = TestApp::over(with_neighbours(), &t);
    let ada = ada(&t).await;
    let codes = asked(&t, "name=laptop").await;
    let decided = at_once(20, |number| {
        let (t, codes, ada) = (if number % 2 == 0 { &t } else { &second }, &codes, &ada);
        async move {
            let act = if number % 3 == 0 { "/deny" } else { "/approve" };
            let body = if number % 3 == 0 { Null } else { json!({}) };
            t.as_(ada, "POST", &path(codes, act), body).await.status.as_u16()
        }
    });
    assert_eq!(decided.iter().filter(|status| **status == 200).count(), 1, "{decided:?}");
    let approve = "UPDATE device_requests SET state = 'approved', granted = '*', days = 1";
    t.execute(approve).await.unwrap();
    let polled = at_once(20, |number| {
        let (t, codes) = (if number % 2 == 0 { &t } else { &second }, &codes);
        async move { poll(t, codes).await.status.as_u16() }
    });
    assert_eq!(polled.iter().filter(|status| **status == 200).count(), 1, "{polled:?}");
    assert!(polled.iter().all(|status| matches!(status, 200 | 400 | 503)), "{polled:?}");
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, 1);
}

/// R19, R105: an account that is deactivated between approval and redemption is refused, and stays so after an activation.
#[tokio::test]
async fn a_deactivated_persons_approval_gives_nothing() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    for want in ["token", "session"] {
        let max = t.user(&tenant, &format!("max+{want}@example.com"), Role::Member).await;
        let codes = asked(&t, &format!("want={want}")).await;
        t.as_(&max, "POST", &path(&codes, "/approve"), json!({})).await.is(200);
        let tx = t.db().begin(Purpose::Durable).await.unwrap();
        assert!(user::deactivate(&tx, &max.user, &ada.user, false, t.now()).await.unwrap());
        tx.commit().await.unwrap();
        poll(&t, &codes).await.refused(400, "access_denied");
        t.execute("UPDATE users SET deactivated_at = NULL, deactivated_by = NULL").await.unwrap();
        poll(&t, &codes).await.refused(400, "access_denied");
    }
    assert_eq!(t.number("SELECT count(*) FROM credentials").await, 3);
}

/// R7: only a session decides, and sees what waits.
#[tokio::test]
async fn only_a_session_decides() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let scout = t.agent(&ada, "scout", "*").await;
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    let codes = asked(&t, "").await;
    for (method, act) in [("GET", ""), ("POST", "/approve"), ("POST", "/deny")] {
        for actor in [&scout, &pat] {
            t.as_(actor, method, &path(&codes, act), Null).await.refused(403, "session_required");
        }
        t.nobody(method, &path(&codes, act), Null).await.refused(401, "missing_credential");
    }
    poll(&t, &codes).await.refused(400, "authorization_pending");
}

/// R105: guesses of user codes are counted by person, and the right one is not found either once there were too many.
#[tokio::test]
async fn user_codes_cannot_be_guessed() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let codes = asked(&t, "").await;
    for wrong in ["nonsense", "BCDF-GHJK", "%ff"].iter().cycle().take(60) {
        let refused = t.as_(&eve, "GET", &format!("/auth/device/{wrong}"), Null).await;
        refused.refused(404, "device_request_not_found");
    }
    for (method, act) in [("GET", ""), ("POST", "/approve"), ("POST", "/deny")] {
        let answer = t.as_(&eve, method, &path(&codes, act), Null).await;
        answer.refused(429, "too_many_attempts");
        assert_eq!(answer.header("retry-after"), "600");
    }
    t.as_(&ada, "GET", &path(&codes, ""), Null).await.is(200);
    t.wait(600);
    t.as_(&eve, "GET", &path(&codes, ""), Null).await.refused(404, "device_request_not_found");
    // Requests are counted by network.
    for _ in 0..30 {
        asked(&t, "").await;
    }
    form_to(&t, CODE, "").await.refused(429, "too_many_attempts");
    assert_eq!(t.number("SELECT count(*) FROM device_requests").await, 31);
}

/// R464: libraries of OpenID Connect ask for its scopes here too; they change nothing, and the person decides about the others.
#[tokio::test]
async fn scopes_of_openid_connect_change_nothing() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    for (scope, asked_for) in
        [("openid+agents.read+offline_access", json!(["agents.read"])), ("openid+profile+email", json!([]))]
    {
        let codes = asked(&t, &format!("client_id=kubelogin&scope={scope}")).await;
        let shown = t.as_(&ada, "GET", &path(&codes, ""), Null).await.is(200);
        assert_eq!(shown["scope"], asked_for);
    }
}

#[tokio::test]
async fn a_form_that_is_wrong_is_refused_in_words_of_oauth() {
    let t = TestApp::new(with_neighbours());
    let secret = Secret::generate(Kind::Pat, app_chance());
    let long = "n".repeat(65);
    for (body, slug) in [
        ("name=a&name=b".to_owned(), "invalid_request"),
        ("name=a%0Ab".to_owned(), "invalid_request"),
        ("name=a%E2%80%AEb".to_owned(), "invalid_request"),
        (format!("client_id={long}"), "invalid_request"),
        ("want=everything".to_owned(), "invalid_request"),
        ("scope=agents.read+nonsense".to_owned(), "invalid_scope"),
        (format!("scope={}", "x.a ".repeat(1000)), "invalid_scope"),
    ] {
        let refused = form_to(&t, CODE, &body).await.refused(400, slug);
        assert_eq!(refused["error_description"], refused["detail"], "{body}");
    }
    let refused = form_to(&t, CODE, &format!("name={}", secret.reveal())).await.refused(422, "credential_in_text");
    assert_eq!(refused["fields"][0]["field"], "name");
    let refused = form_to(&t, CODE, &format!("scope={}", secret.reveal())).await.refused(400, "invalid_scope");
    assert!(!refused.to_string().contains(secret.reveal()), "{refused}");
    assert_eq!(t.number("SELECT count(*) FROM device_requests").await, 0);

    let code = OneTimeCode::generate(app_chance());
    for (body, slug) in [
        (String::new(), "invalid_request"),
        (format!("grant_type={GRANT}"), "invalid_request"),
        (format!("device_code={}", code.reveal()), "invalid_request"),
        (format!("grant_type=password&device_code={}", code.reveal()), "unsupported_grant_type"),
        (format!("grant_type={GRANT}&device_code={}", code.reveal()), "invalid_grant"),
        (format!("grant_type={GRANT}&device_code=short"), "invalid_grant"),
        (format!("grant_type={GRANT}&device_code={0}&device_code={0}", code.reveal()), "invalid_request"),
    ] {
        let refused = form_to(&t, TOKEN, &body).await.refused(400, slug);
        assert_eq!(refused["error_description"], refused["detail"], "{body}");
        assert!(!refused.to_string().contains(code.reveal()), "{refused}");
    }
    // Unknown parameters are ignored, and empty ones are left out.
    asked(&t, "client_id=&scope=&want=&unknown=1&unknown=2").await;
}

fn app_chance() -> &'static common::secret::Chance {
    static CHANCE: std::sync::LazyLock<common::secret::Chance> =
        std::sync::LazyLock::new(|| common::secret::Chance::seeded(77));
    &CHANCE
}

/// The page's bounds: at most 90 days, scopes that exist, and no more tokens than the person may have.
#[tokio::test]
async fn an_approval_keeps_to_the_rules_of_tokens() {
    let quotas = Quotas { credentials: 1, ..Settings::default().quotas };
    let t = TestApp::with(with_neighbours(), Settings { quotas, ..Settings::default() });
    let ada = ada(&t).await;
    let codes = asked(&t, "scope=x.crm.read").await;
    for (body, slug) in [
        (json!({ "expires_in_days": 0, "scope": ["*"] }), "invalid_number"),
        (json!({ "expires_in_days": 91, "scope": ["*"] }), "invalid_number"),
        (json!({ "scope": ["nonsense"] }), "unknown_scope"),
        (json!({ "scope": [] }), "unknown_scope"),
        (json!({}), "unknown_scope"), // what was asked for is no scope of this tenant
    ] {
        t.as_(&ada, "POST", &path(&codes, "/approve"), body).await.refused(400, slug);
    }
    t.as_(&ada, "POST", "/auth/tokens", json!({ "name": "one" })).await.is(201);
    let more = t.as_(&ada, "POST", &path(&codes, "/approve"), json!({ "scope": ["agents.read"] })).await;
    more.refused(409, "quota_reached");
    poll(&t, &codes).await.refused(400, "authorization_pending");
}

/// What ends all credentials after a backup was restored ends approvals that are on their way.
#[tokio::test]
async fn the_operators_revocation_ends_requests() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let codes = asked(&t, "").await;
    t.as_(&ada, "POST", &path(&codes, "/approve"), json!({})).await.is(200);
    let tx = t.db().begin(Purpose::Revoking).await.unwrap();
    device::end_made_before(&tx, t.now().plus_seconds(1)).await.unwrap();
    tx.commit().await.unwrap();
    poll(&t, &codes).await.refused(400, "invalid_grant");
}

/// R126: the common token endpoint has the same grant, with the same refusals, and spends the same approval.
#[tokio::test]
async fn the_token_endpoint_has_the_grant_too() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let codes = asked(&t, "name=build-1").await;
    let form = format!("grant_type={GRANT}&device_code={}", codes["device_code"].as_str().unwrap());
    let refused = form_to(&t, "/oauth/token", &form).await.refused(400, "authorization_pending");
    assert_eq!(refused["error_description"], refused["detail"]);
    t.as_(&ada, "POST", &path(&codes, "/approve"), json!({ "scope": ["agents.read"] })).await.is(200);
    let answer = form_to(&t, "/oauth/token", &form).await;
    assert_eq!((&answer.is(200)["scope"], answer.header("cache-control")), (&json!("agents.read"), "no-store"));
    poll(&t, &codes).await.refused(400, "invalid_grant");

    for (form, slug) in [
        ("", "invalid_request"),
        ("grant_type=", "invalid_request"),
        (&format!("grant_type={GRANT}&grant_type={GRANT}"), "invalid_request"),
        ("grant_type=password", "unsupported_grant_type"),
        ("grant_type=client_credentials", "unsupported_grant_type"),
    ] {
        form_to(&t, "/oauth/token", form).await.refused(400, slug);
    }
}

/// R232: a device code is that of the client that asked for it. For all others it is unknown: nothing is spent, and no poll counts.
#[tokio::test]
async fn a_device_code_is_for_the_client_that_asked() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let codes = asked(&t, "client_id=my-tool&name=build-1").await;
    let others = async || {
        for client in ["other", "", "unknown", "My-tool", "my-tool2", "https%3A%2F%2Fapp.example.com%2Fc"] {
            for path in [TOKEN, "/oauth/token"] {
                let refused = form_to(&t, path, &redemption(&codes, client)).await.refused(400, "invalid_grant");
                assert!(refused["fix"].as_str().unwrap().contains("client_id"), "{client}: {refused}");
            }
        }
    };
    others().await;
    // None of them was a poll of the client's.
    assert_eq!(t.number("SELECT count(*) FROM device_requests WHERE polled_at IS NOT NULL").await, 0);
    assert_eq!(poll(&t, &codes).await.refused(400, "authorization_pending")["interval"], 2);
    t.as_(&ada, "POST", &path(&codes, "/approve"), json!({ "scope": ["agents.read"] })).await.is(200);
    others().await;
    poll(&t, &codes).await.is(200);
    // A device that names no client when it asks names none later.
    let codes = asked(&t, "name=build-2").await;
    t.as_(&ada, "POST", &path(&codes, "/approve"), json!({ "scope": ["agents.read"] })).await.is(200);
    form_to(&t, TOKEN, &redemption(&codes, "my-tool")).await.refused(400, "invalid_grant");
    poll(&t, &codes).await.is(200);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, 2);
}

/// R232: a registered client proves itself as at each grant, when it asks and when it redeems; a program that is not registered has nothing
/// that could be proved.
#[tokio::test]
async fn a_registered_client_of_a_device_proves_itself() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let made = client(&t, &ada, true).await;
    let (id, secret) = (made["id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
    let public = client(&t, &ada, false).await;
    let public = public["id"].as_str().unwrap();
    let basic = |id: &str, secret: &str| format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let wrong = secret.chars().rev().collect::<String>();

    for body in [
        format!("client_id={id}"),
        format!("client_id={id}&client_secret={wrong}"),
        format!("client_id={public}&client_secret={secret}"),
        format!("client_id=my-tool&client_secret={secret}"),
        format!("client_secret={secret}"),
    ] {
        form_to(&t, CODE, &body).await.refused(401, "invalid_client");
    }
    form_with(&t, CODE, Some(&basic("my-tool", "x")), "").await.refused(401, "invalid_client");
    assert_eq!(t.number("SELECT count(*) FROM device_requests").await, 0);

    let codes = asked(&t, &format!("client_id={id}&client_secret={secret}")).await;
    // R298: it is known in its tenant alone.
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    for (method, act, body) in [("GET", "", Null), ("POST", "/approve", json!({})), ("POST", "/deny", Null)] {
        t.as_(&eve, method, &path(&codes, act), body).await.refused(404, "device_request_not_found");
    }
    assert_eq!(t.as_(&ada, "GET", &path(&codes, ""), Null).await.is(200)["client"], id);
    t.as_(&ada, "POST", &path(&codes, "/approve"), json!({ "scope": ["agents.read"] })).await.is(200);
    let right = redemption(&codes, id);
    for path in [TOKEN, "/oauth/token"] {
        for (header, body, status, slug) in [
            (None, right.clone(), 401, "invalid_client"),
            (None, format!("{right}&client_secret={wrong}"), 401, "invalid_client"),
            (Some(basic(id, &wrong)), right.clone(), 401, "invalid_client"),
            (Some(basic(id, secret)), redemption(&codes, public), 401, "invalid_client"),
            (Some(basic(id, secret)), format!("{right}&client_secret={secret}"), 400, "invalid_request"),
            (None, redemption(&codes, public), 400, "invalid_grant"),
            (None, redemption(&codes, "my-tool"), 400, "invalid_grant"),
        ] {
            form_with(&t, path, header.as_deref(), &body).await.refused(status, slug);
        }
    }
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, 0);
    form_with(&t, TOKEN, Some(&basic(id, secret)), &redemption(&codes, "")).await.is(200);

    // A public one has its id alone, and none that is deleted gets anything.
    let codes = asked(&t, &format!("client_id={public}")).await;
    t.as_(&ada, "POST", &path(&codes, "/approve"), json!({ "scope": ["agents.read"] })).await.is(200);
    poll(&t, &codes).await.is(200);
    let codes = asked(&t, &format!("client_id={id}&client_secret={secret}")).await;
    t.as_(&ada, "POST", &path(&codes, "/approve"), json!({ "scope": ["agents.read"] })).await.is(200);
    t.as_(&ada, "DELETE", &format!("/api/oauth/clients/{id}"), Null).await.is(204);
    let right = format!("{}&client_secret={secret}", redemption(&codes, id));
    form_to(&t, TOKEN, &right).await.refused(401, "invalid_client");
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, 2);
}
