use common::secret::Digest;
use serde_json::Value as Json;
use service::{settings::Settings, testing::TestApp};

use super::*;
use crate::router;

const RECOVER: &str = "/operator/recover";
const NEW: &str = "a quiet orbit of nine";

async fn stage() -> TestApp {
    let settings = Settings { operator_secret: Some(Digest::of(b"open sesame")), ..Settings::default() };
    let t = TestApp::with(router(), settings);
    t.tenant("main").await;
    t
}

fn body(more: Json) -> Json {
    let mut body = json!({ "secret": "open sesame", "tenant": "main", "email": "ada@example.com" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn code(answer: &Json) -> String {
    answer["url"].as_str().unwrap().split("code=").nth(1).unwrap().to_owned()
}

/// R93: a new admin gets in by the link of the answer, or with the password of the request.
#[tokio::test]
async fn a_tenant_that_lost_its_admins_gets_a_new_one() {
    let t = stage().await;
    let answer = t.nobody("POST", RECOVER, body(json!({ "name": "Ada" }))).await;
    let made = answer.is(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!((&made["user"]["role"], &made["user"]["active"]), (&json!("admin"), &json!(true)));
    assert_eq!(made["url"].as_str().unwrap(), format!("http://127.0.0.1:3000/invite?code={}", code(&made)));
    assert_eq!(made["expires_at"], "2026-01-09T03:04:05.000Z");
    t.nobody("POST", "/auth/invite", json!({ "code": code(&made), "password": NEW })).await.is(204);
    t.nobody("POST", "/auth/token", json!({ "email": "ada@example.com", "password": NEW })).await.is(200);

    let made =
        t.nobody("POST", RECOVER, body(json!({ "email": "eve@example.com", "name": "Eve", "password": NEW }))).await;
    assert_eq!((&made.is(201)["url"], &made.is(201)["expires_at"]), (&Json::Null, &Json::Null));
    t.nobody("POST", "/auth/token", json!({ "email": "eve@example.com", "password": NEW })).await.is(200);
    let rows = "SELECT after FROM audit WHERE action = 'operator.recover' AND user_id IS NULL ORDER BY id";
    assert_eq!(
        t.texts(rows).await[0],
        r#"{"email":"ada@example.com","role":"admin","active":true,"link":true,"ended_sessions":0,"factor_removed":false,"passwords_allowed":false}"#
    );
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE after LIKE '%code=%' OR after LIKE '%argon%'").await, 0);
    assert_eq!(t.number("SELECT count(*) FROM notifications WHERE title = 'The operator made an admin'").await, 3);
}

#[tokio::test]
async fn a_user_of_the_tenant_becomes_an_active_admin_with_a_way_in() {
    let t = stage().await;
    let tenant = t.texts("SELECT id FROM tenants").await.remove(0);
    let tenant = TenantId::try_from(tenant).unwrap();
    let ada = t.user(&tenant, "Ada@example.com", Role::Viewer).await;
    t.execute("UPDATE users SET deactivated_at = 1, deactivated_by = 'usr_x', password_hash = 'forgotten'")
        .await
        .unwrap();
    let made = t.nobody("POST", RECOVER, body(json!({}))).await.is(200);
    assert_eq!(made["user"]["id"], json!(ada.user));
    assert_eq!((&made["user"]["role"], &made["user"]["active"]), (&json!("admin"), &json!(true)));
    assert!(made["url"].as_str().unwrap().contains("/reset?code="));
    assert_eq!(
        t.number("SELECT count(*) FROM credentials WHERE revoked_at IS NULL").await,
        0,
        "no session outlives it"
    );
    assert_eq!(t.texts("SELECT before FROM audit").await, [r#"{"role":"viewer","active":false}"#]);
    t.nobody("POST", "/auth/reset", json!({ "code": code(&made), "new": NEW })).await.is(204);
    t.nobody("POST", "/auth/token", json!({ "email": "ada@example.com", "password": NEW })).await.is(200);
    // With a password: at once, and links that were made before are useless.
    let older = t.nobody("POST", RECOVER, body(json!({}))).await.is(200);
    t.nobody("POST", RECOVER, body(json!({ "password": "another quiet orbit" }))).await.is(200);
    t.nobody("POST", "/auth/reset", json!({ "code": code(&older), "new": NEW })).await.refused(400, "invalid_code");
    t.nobody("POST", "/auth/token", json!({ "email": "ada@example.com", "password": "another quiet orbit" }))
        .await
        .is(200);
}

/// R93: a tenant whose people come in by others alone, which is what failed, lets its new admin in by the password; and the person is told
/// by mail of what was done to the account.
#[tokio::test]
async fn a_recovered_admin_gets_in_whatever_ways_the_tenant_allowed() {
    for ways in ["oidc", "link", "link oidc"] {
        let t = stage().await;
        let tenant = TenantId::try_from(t.texts("SELECT id FROM tenants").await.remove(0)).unwrap();
        t.user(&tenant, "ada@example.com", Role::Admin).await;
        t.execute(&format!("UPDATE tenants SET ways = '{ways}'")).await.unwrap();
        t.nobody("POST", RECOVER, body(json!({ "password": NEW }))).await.is(200);
        t.nobody("POST", "/auth/token", json!({ "email": "ada@example.com", "password": NEW })).await.is(200);
        assert_eq!(t.texts("SELECT ways FROM tenants").await, [format!("password {ways}")]);
        let after = t.texts("SELECT after FROM audit WHERE action = 'operator.recover'").await.remove(0);
        assert!(after.contains("\"passwords_allowed\":true"), "{after}");
        // R178: the session that was open has a closure, which the trail names.
        assert!(after.contains(&t.texts("SELECT id FROM closures").await.concat()), "{after}");
        assert_eq!(t.number("SELECT count(*) FROM closures").await, 1);
        let told = t.texts("SELECT body FROM notifications").await.remove(0);
        assert!(told.contains("Passwords let people in again"), "{told}");
    }
}

#[tokio::test]
async fn what_cannot_be_recovered_is_refused_and_nothing_changes() {
    let t = stage().await;
    for (more, status, slug) in [
        (json!({ "secret": "open barley", "name": "Ada" }), 403, "wrong_operator_secret"),
        (json!({ "tenant": "nowhere", "name": "Ada" }), 404, "tenant_not_found"),
        (json!({ "tenant": "", "name": "Ada" }), 404, "tenant_not_found"),
        (json!({}), 422, "validation_error"),
        (json!({ "email": "ada" }), 400, "invalid_email"),
        (json!({ "name": "" }), 400, "invalid_text"),
        (json!({ "name": "Ada", "password": "short" }), 400, "weak_password"),
        (json!({ "name": "Ada", "role": "admin" }), 422, "validation_error"),
    ] {
        t.nobody("POST", RECOVER, body(more)).await.refused(status, slug);
    }
    let count = "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM codes) + (SELECT count(*) FROM audit)";
    assert_eq!(t.number(count).await, 0);
    // A deleted user's address is free: the new admin is another person.
    let tenant = TenantId::try_from(t.texts("SELECT id FROM tenants").await.remove(0)).unwrap();
    let gone = t.user(&tenant, "ada@example.com", Role::Admin).await;
    t.execute("UPDATE users SET deactivated_at = 1, deleted_at = 1, email_key = 'deleted x'").await.unwrap();
    let made = t.nobody("POST", RECOVER, body(json!({ "name": "Ada" }))).await.is(201);
    assert_ne!(made["user"]["id"], json!(gone.user));
    let closed = TestApp::new(router());
    closed.nobody("POST", RECOVER, body(json!({ "name": "Ada" }))).await.refused(404, "not_found");
}

/// R228: the name is no password, neither of a new admin nor of a user that is there.
#[tokio::test]
async fn the_name_is_no_password() {
    let t = stage().await;
    let tenant = TenantId::try_from(t.texts("SELECT id FROM tenants").await.remove(0)).unwrap();
    let new = body(json!({ "name": "Ada Lovelace", "password": "ada lovelace" }));
    t.nobody("POST", RECOVER, new).await.refused(400, "weak_password");
    t.user(&tenant, "ada@example.com", Role::Member).await;
    t.execute("UPDATE users SET name = 'Grace Hopper'").await.unwrap();
    let known = body(json!({ "password": "grace hopper" }));
    t.nobody("POST", RECOVER, known).await.refused(400, "weak_password");
}
