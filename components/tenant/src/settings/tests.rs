use common::{role::Role, secret::Kind};
use serde_json::{Value::Null, json};
use service::{
    settings::{Provider, Settings},
    testing::{Actor, TestApp},
};

use crate::with_neighbours;

const TENANT: &str = "/api/tenant";

/// Ada, an admin with a password and a second factor.
async fn with_ada(settings: Settings) -> (TestApp, Actor) {
    let t = TestApp::with(with_neighbours(), settings);
    let ada = t.ada().await;
    t.execute("UPDATE users SET password_hash = 'x'").await.unwrap();
    t.execute(&format!("INSERT INTO factors VALUES ('{}', x'00', 0, 0, 0)", ada.user)).await.unwrap();
    (t, ada)
}

#[tokio::test]
async fn settings_are_read_by_all_and_changed_by_admins() {
    let (t, ada) = with_ada(Settings::default()).await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Viewer).await;
    let usual = json!({
        "slug": "main", "name": null, "ways": ["password", "link", "oidc"], "second_factor": "nobody", "pat_days": 90,
    });
    for person in [&ada, &eve] {
        assert_eq!(t.as_(person, "GET", TENANT, Null).await.is(200), usual);
    }
    let agent = t.agent(&ada, "scout", "*").await;
    t.as_(&agent, "GET", TENANT, Null).await.refused(403, "person_required");
    let body =
        json!({ "name": " Acme & Sons ", "ways": ["oidc", "password"], "second_factor": "admins", "pat_days": null });
    t.as_(&eve, "PATCH", TENANT, body.clone()).await.refused(403, "scope_denied");
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    t.as_(&pat, "PATCH", TENANT, body.clone()).await.refused(403, "session_required");
    let changed = json!({
        "slug": "main", "name": "Acme & Sons", "ways": ["password", "oidc"], "second_factor": "admins", "pat_days": null,
    });
    assert_eq!(t.as_(&ada, "PATCH", TENANT, body.clone()).await.is(200), changed);
    assert_eq!(t.as_(&eve, "GET", TENANT, Null).await.is(200), changed);
    // Once more: nothing is changed, and nothing written.
    t.as_(&ada, "PATCH", TENANT, body).await.is(200);
    assert_eq!(t.texts("SELECT action FROM audit").await, ["tenant.update"]);
    let after = t.texts("SELECT after FROM audit").await;
    assert!(after[0].contains("\"second_factor\":\"admins\"") && after[0].contains("Acme & Sons"), "{after:?}");
    // Back, one by one; of another tenant nothing has changed.
    t.as_(&ada, "PATCH", TENANT, json!({ "name": null })).await.is(200);
    t.tenant("other").await;
    let other = "SELECT ways || second_factor || pat_days FROM tenants WHERE slug = 'other' AND name IS NULL";
    assert_eq!(t.texts(other).await, ["password link oidcnobody90"]);
}

#[tokio::test]
async fn a_setting_that_cannot_be_is_refused() {
    let (t, ada) = with_ada(Settings::default()).await;
    for (body, status, slug) in [
        (json!({}), 422, "validation_error"),
        (json!({ "name": "" }), 400, "invalid_text"),
        (json!({ "name": "a\u{202e}b" }), 400, "invalid_text"),
        (json!({ "name": "x".repeat(65) }), 400, "invalid_text"),
        (json!({ "ways": [] }), 422, "validation_error"),
        (json!({ "ways": ["password", "pigeon"] }), 422, "validation_error"),
        (json!({ "ways": "password" }), 422, "validation_error"),
        (json!({ "second_factor": "some" }), 422, "validation_error"),
        (json!({ "second_factor": null }), 422, "validation_error"),
        (json!({ "pat_days": 0 }), 400, "invalid_number"),
        (json!({ "pat_days": 3651 }), 400, "invalid_number"),
        (json!({ "pat_days": 1.5 }), 422, "validation_error"),
        (json!({ "slug": "other" }), 422, "validation_error"),
    ] {
        t.as_(&ada, "PATCH", TENANT, body).await.refused(status, slug);
    }
    assert_eq!(t.number("SELECT count(*) FROM audit").await, 0);
}

/// R99: no change of the ways locks all admins out.
#[tokio::test]
async fn a_way_stays_by_which_an_admin_gets_in() {
    let (t, ada) = with_ada(Settings::default()).await;
    let ways = |ways: &[&str]| json!({ "ways": ways });
    // Nobody has signed in with a provider, and this server sends no mail.
    for locked in [&["oidc"][..], &["link"], &["link", "oidc"]] {
        t.as_(&ada, "PATCH", TENANT, ways(locked)).await.refused(409, "last_way_in");
    }
    // An inactive admin with a password is none.
    let bob = t.user(&ada.tenant, "bob@example.com", Role::Admin).await;
    let alone = "UPDATE users SET password_hash = CASE id WHEN '{}' THEN 'x' END, deactivated_at = CASE id WHEN '{}' THEN 1 END";
    t.execute(&alone.replace("{}", bob.user.as_str())).await.unwrap();
    t.as_(&ada, "PATCH", TENANT, ways(&["password"])).await.refused(409, "last_way_in");
    assert_eq!(t.texts("SELECT ways FROM tenants").await, ["password link oidc"]);
    let settings = Settings { mail_provider: Some(Provider::Resend), ..Settings::default() };
    let (t, ada) = with_ada(settings).await;
    t.as_(&ada, "PATCH", TENANT, ways(&["link"])).await.is(200);
    assert_eq!(t.texts("SELECT ways FROM tenants").await, ["link"]);
}

/// R99: an admin that demands a second factor has one, so that the demand can be fulfilled.
#[tokio::test]
async fn a_factor_is_demanded_by_those_who_have_one() {
    let (t, ada) = with_ada(Settings::default()).await;
    t.execute("UPDATE factors SET confirmed_at = NULL").await.unwrap();
    for demand in ["admins", "all"] {
        let body = json!({ "second_factor": demand });
        t.as_(&ada, "PATCH", TENANT, body).await.refused(409, "own_factor_first");
    }
    t.execute("UPDATE factors SET confirmed_at = 1").await.unwrap();
    t.as_(&ada, "PATCH", TENANT, json!({ "second_factor": "all" })).await.is(200);
    // A person without one: people's routes are closed, their PAT and their agent go on, what leads to one is open.
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let pat = t.credential(Kind::Pat, &ada.tenant, &eve.user, None, "*", None).await;
    let agent = t.agent(&eve, "scout", "*").await;
    t.as_(&eve, "GET", "/api/scopes/custom", Null).await.refused(403, "second_factor_setup_required");
    t.as_(&pat, "GET", "/api/scopes/custom", Null).await.is(200);
    t.as_(&agent, "GET", "/api/scopes/custom", Null).await.is(200);
    t.as_(&eve, "GET", TENANT, Null).await.is(200);
    // An admin's demand can be taken back.
    t.as_(&ada, "PATCH", TENANT, json!({ "second_factor": "nobody" })).await.is(200);
    t.as_(&eve, "GET", "/api/scopes/custom", Null).await.is(200);
}

/// R98: settings, making an admin, another's address and another's factor take a fresh proof; what makes nobody more powerful does not.
#[tokio::test]
async fn what_changes_how_people_sign_in_takes_a_fresh_proof() {
    let (t, ada) = with_ada(Settings::default()).await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    t.execute(&format!("INSERT INTO factors VALUES ('{}', x'00', 0, 0, 0)", eve.user)).await.unwrap();
    let idle = t.user(&ada.tenant, "idle@example.com", Role::Admin).await;
    let gone = t.user(&ada.tenant, "gone@example.com", Role::Member).await;
    t.execute("UPDATE users SET deactivated_at = 1 WHERE email IN ('idle@example.com', 'gone@example.com')")
        .await
        .unwrap();
    let activate = |user: &Actor| format!("/api/users/{}/activate", user.user);
    let (activate_admin, activate_member) = (activate(&idle), activate(&gone));
    t.wait(900);
    let path = format!("/api/users/{}", eve.user);
    let factor = format!("{path}/factor");
    let admin = json!({ "email": "new@example.com", "name": "New", "role": "admin" });
    let member = json!({ "email": "new@example.com", "name": "New" });
    let stale = [
        ("PATCH", TENANT, json!({ "name": "Acme" })),
        ("PATCH", path.as_str(), json!({ "role": "admin" })),
        ("PATCH", path.as_str(), json!({ "email": "mallory@example.com" })),
        ("POST", "/api/users", admin),
        ("DELETE", factor.as_str(), Null),
        // R641: an admin who comes back, too.
        ("POST", activate_admin.as_str(), Null),
    ];
    for (method, path, body) in &stale {
        let refused = t.as_(&ada, method, path, body.clone()).await.refused(403, "reauthentication_required");
        assert_eq!(refused["way"], "code", "{method} {path} {body}");
    }
    assert_eq!(t.number("SELECT count(*) FROM audit").await, 0);
    t.as_(&ada, "PATCH", &path, json!({ "role": "curator", "name": "Eve" })).await.is(200);
    t.as_(&ada, "POST", "/api/users", member).await.is(201);
    t.as_(&ada, "POST", &activate_member, Null).await.is(200);
    t.execute(&format!("UPDATE credentials SET proved_at = {}", t.now().millis())).await.unwrap();
    for (method, path, body) in stale {
        let answer = t.as_(&ada, method, path, body.clone()).await;
        let is_taken = body["email"] == "new@example.com" && answer.status.as_u16() == 409;
        assert!(answer.status.is_success() || is_taken, "{method} {path}: {}", answer.text);
    }
    // A demotion of an admin takes rights away.
    t.wait(900);
    t.as_(&ada, "PATCH", &path, json!({ "role": "viewer" })).await.is(200);
}

/// R98: a second factor that an admin removes is told to its person, and is an audit row.
#[tokio::test]
async fn an_admin_removes_the_factor_of_another() {
    let (t, ada) = with_ada(Settings::default()).await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let of_eve = format!("/api/users/{}/factor", eve.user);
    t.as_(&ada, "DELETE", &of_eve, Null).await.refused(404, "no_second_factor");
    t.execute(&format!("INSERT INTO factors VALUES ('{}', x'00', 0, 0, 0)", eve.user)).await.unwrap();
    t.execute(&format!("INSERT INTO recovery_codes VALUES (randomblob(32), '{}', NULL)", eve.user)).await.unwrap();
    t.as_(&eve, "DELETE", &of_eve, Null).await.refused(403, "scope_denied");
    let path = format!("/api/users/{}", eve.user);
    assert_eq!(t.as_(&ada, "GET", &path, Null).await.is(200)["second_factor"], true);
    t.as_(&ada, "DELETE", &of_eve, Null).await.is(204);
    assert_eq!(t.as_(&ada, "GET", &path, Null).await.is(200)["second_factor"], false);
    assert_eq!(
        t.number("SELECT (SELECT count(*) FROM factors) * 10 + (SELECT count(*) FROM recovery_codes)").await,
        10
    );
    let told = "SELECT user_id || ' ' || title FROM notifications WHERE body LIKE 'ada@example.com removed%'";
    assert_eq!(t.texts(told).await, [format!("{} Your second factor was removed", eve.user)]);
    let row = t.texts("SELECT action || ' ' || object_id FROM audit").await;
    assert_eq!(row, [format!("user.remove_factor {}", eve.user)]);
    // A foreign person is an absent one.
    let other = t.tenant("other").await;
    let zoe = t.user(&other, "zoe@example.com", Role::Admin).await;
    let of_zoe = format!("/api/users/{}/factor", zoe.user);
    t.as_(&ada, "DELETE", &of_zoe, Null).await.refused(404, "user_not_found");
    // With the account everything of it ends.
    t.execute(&format!("INSERT INTO factors VALUES ('{}', x'00', 0, 0, 0)", eve.user)).await.unwrap();
    t.as_(&ada, "DELETE", &path, Null).await.is(204);
    assert_eq!(t.number("SELECT count(*) FROM factors").await, 1);
}

/// R347: an admin unlinks the sign-ins of a person, who is told; again is nothing new.
#[tokio::test]
async fn an_admin_unlinks_the_identities_of_another() {
    let (t, ada) = with_ada(Settings::default()).await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let identity = |user: &str, subject: &str| {
        format!(
            "INSERT INTO identities (id, user_id, issuer, subject, provider, created_at)
             VALUES ('idn_{subject}', '{user}', 'https://sso.example', '{subject}', 'acme', 0)"
        )
    };
    for (user, subject) in [(&eve.user, "1"), (&eve.user, "2"), (&ada.user, "3")] {
        t.execute(&identity(user.as_str(), subject)).await.unwrap();
    }
    let of_eve = format!("/api/users/{}/identities", eve.user);
    t.as_(&eve, "DELETE", &of_eve, Null).await.refused(403, "scope_denied");
    for _ in 0..2 {
        t.as_(&ada, "DELETE", &of_eve, Null).await.is(204);
    }
    assert_eq!(t.texts("SELECT id FROM identities").await, ["idn_3"]);
    let told = "SELECT user_id || ' ' || title FROM notifications";
    assert_eq!(t.texts(told).await, [format!("{} Your sign-in was unlinked", eve.user)]);
    assert_eq!(t.texts("SELECT action FROM audit").await, ["user.unlink"]);
    let zoe = t.user(&t.tenant("other").await, "zoe@example.com", Role::Admin).await;
    let of_zoe = format!("/api/users/{}/identities", zoe.user);
    t.as_(&ada, "DELETE", &of_zoe, Null).await.refused(404, "user_not_found");
}

/// A stranger learns the ways of the usual tenant, and of no other.
#[tokio::test]
async fn the_ways_of_the_usual_tenant_are_public() {
    let t = TestApp::new(with_neighbours());
    let none = json!({ "tenant": null, "name": null, "ways": ["password", "link", "oidc"] });
    assert_eq!(t.nobody("GET", "/auth/ways", Null).await.is(200), none);
    t.ada().await;
    t.tenant("other").await;
    t.execute("UPDATE tenants SET ways = 'oidc', name = 'Acme' WHERE slug = 'main'").await.unwrap();
    let ways = json!({ "tenant": "main", "name": "Acme", "ways": ["oidc"] });
    assert_eq!(t.nobody("GET", "/auth/ways", Null).await.is(200), ways);
    t.nobody("GET", "/auth/ways?tenant=other", Null).await.refused(422, "validation_error");
}
