use common::{
    role::Role,
    secret::{Chance, Kind},
};
use service::testing::{Actor, TestApp};

use super::*;
use crate::router;

const PATH: &str = "/auth/password";

async fn eve(t: &TestApp) -> Actor {
    let tenant = t.tenant("main").await;
    let eve = t.user(&tenant, "eve@example.com", Role::Member).await;
    let hash = password::hash("correct horse", &Chance::seeded(9)).unwrap();
    t.execute(&format!("UPDATE users SET password_hash = '{hash}'")).await.unwrap();
    eve
}

/// R21: a changed password ends all other sessions, and is the one to sign in with; tokens stay.
#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() {
    let t = TestApp::new(router());
    let eve = eve(&t).await;
    let sign_in = |word: &'static str| {
        let body = json!({ "email": "eve@example.com", "password": word });
        t.nobody("POST", "/auth/token", body)
    };
    sign_in("correct horse").await.is(200);
    t.credential(Kind::Pat, &eve.tenant, &eve.user, None, "*", None).await;
    t.as_(&eve, "POST", PATH, json!({ "current": "correct horse", "new": "battery staple" })).await.is(204);
    let live = "SELECT kind || (id = '{}') FROM credentials WHERE revoked_at IS NULL ORDER BY kind";
    let live = t.texts(&live.replace("{}", eve.credential.as_str())).await;
    assert_eq!(live, ["pat0", "session1"]);
    sign_in("correct horse").await.refused(401, "login_failed");
    sign_in("battery staple").await.is(200);
    let row = "SELECT action || ' ' || object_id || ' ' || json_remove(after, '$.closure') FROM audit WHERE action LIKE 'user%'";
    assert_eq!(t.texts(row).await, [format!("user.change_password {} {{\"ended_sessions\":1}}", eve.user)]);
    // R165: the session that ended is told by its closure.
    assert_eq!(t.number("SELECT ended ->> 'sessions' FROM closures").await, 1);
}

/// R25, R7: the current password is no easier to guess than at a sign-in, and only a session can try.
#[tokio::test]
async fn the_current_password_cannot_be_guessed() {
    let t = TestApp::new(router());
    let eve = eve(&t).await;
    let before = t.texts("SELECT password_hash FROM users").await;
    let body = |current: &str| json!({ "current": current, "new": "battery staple" });
    let pat = t.credential(Kind::Pat, &eve.tenant, &eve.user, None, "*", None).await;
    let scout = t.agent(&eve, "scout", "*").await;
    for (actor, slug) in [(&pat, "session_required"), (&scout, "session_required")] {
        t.as_(actor, "POST", PATH, body("correct horse")).await.refused(403, slug);
    }
    t.nobody("POST", PATH, body("correct horse")).await.refused(401, "missing_credential");
    for (body, status, slug) in [
        (json!({ "new": "battery staple" }), 422, "validation_error"),
        (json!({ "current": "correct horse" }), 422, "validation_error"),
        (json!({ "current": "correct horse", "new": "short" }), 400, "weak_password"),
    ] {
        t.as_(&eve, "POST", PATH, body).await.refused(status, slug);
    }
    for _ in 0..5 {
        t.as_(&eve, "POST", PATH, body("wrong horse")).await.refused(403, "wrong_password");
    }
    for current in ["wrong horse", "correct horse"] {
        t.as_(&eve, "POST", PATH, body(current)).await.refused(429, "too_many_attempts");
    }
    // The same counter as at the sign-in.
    let sign_in = json!({ "email": "eve@example.com", "password": "correct horse" });
    t.nobody("POST", "/auth/token", sign_in).await.refused(429, "too_many_attempts");
    assert_eq!(t.texts("SELECT password_hash FROM users").await, before);
    t.wait(600);
    t.as_(&eve, "POST", PATH, body("correct horse")).await.is(204);
}

#[tokio::test]
async fn a_first_password_needs_no_current_one() {
    let t = TestApp::new(router());
    let eve = eve(&t).await;
    t.execute("UPDATE users SET password_hash = NULL").await.unwrap();
    t.as_(&eve, "POST", PATH, json!({ "new": "battery staple" })).await.is(204);
    t.as_(&eve, "POST", PATH, json!({ "new": "correct horse" })).await.refused(422, "validation_error");
}

/// R50: sent twice with one key, it happens once, although the password is another one by then.
#[tokio::test]
async fn a_repeated_change_is_answered_again() {
    let t = TestApp::new(router());
    let eve = eve(&t).await;
    let bearer = format!("Bearer {}", eve.token);
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "one")];
    let body = json!({ "current": "correct horse", "new": "battery staple" });
    t.call("POST", PATH, &headers, body.clone()).await.is(204);
    let again = t.call("POST", PATH, &headers, body).await;
    assert_eq!((again.is(204), again.header("idempotency-replayed")), (Null, "true"));
    let other = json!({ "current": "battery staple", "new": "third password" });
    t.call("POST", PATH, &headers, other).await.refused(422, "idempotency_mismatch");
    assert_eq!(t.number("SELECT count(*) FROM audit").await, 1);
}

/// Each is made on the condition that the password is still the one that it was given.
#[tokio::test]
async fn of_two_changes_at_once_one_happens() {
    let t = TestApp::new(router());
    let eve = eve(&t).await;
    let second = TestApp::over(router(), &t);
    let change = |t: &TestApp, new: &str| {
        let body = json!({ "current": "correct horse", "new": new });
        let (t, eve) = (TestApp::over(router(), t), eve.clone());
        async move { t.as_(&eve, "POST", PATH, body).await }
    };
    let (one, two) = tokio::join!(change(&t, "battery staple"), change(&second, "another staple"));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 403]);
}

/// R228: nor is the own name a password.
#[tokio::test]
async fn the_own_name_is_no_password() {
    let t = TestApp::new(router());
    let eve = eve(&t).await;
    t.execute("UPDATE users SET name = 'Eve Polastri'").await.unwrap();
    for new in ["eve polastri", "eve@example.com"] {
        let body = json!({ "current": "correct horse", "new": new });
        t.as_(&eve, "POST", PATH, body).await.refused(400, "weak_password");
    }
}

/// R336: where the tenant has no passwords nobody gets a first one; one that is there can still be changed, since it proves who its person
/// is.
#[tokio::test]
async fn no_first_password_is_set_where_the_tenant_allows_none() {
    let t = TestApp::new(router());
    let eve = eve(&t).await;
    t.execute("UPDATE tenants SET ways = 'link oidc'").await.unwrap();
    t.as_(&eve, "POST", PATH, json!({ "current": "correct horse", "new": "battery staple" })).await.is(204);
    assert_eq!(t.as_(&eve, "GET", "/auth/factor", Null).await.is(200)["has_password"], true);
    t.execute("UPDATE users SET password_hash = NULL").await.unwrap();
    assert_eq!(t.as_(&eve, "GET", "/auth/factor", Null).await.is(200)["has_password"], false);
    let refused = t.as_(&eve, "POST", PATH, json!({ "new": "battery staple" })).await.refused(403, "way_disabled");
    assert_eq!(refused["detail"], "Your tenant has no passwords: one would let nobody in.");
    assert_eq!(t.number("SELECT count(*) FROM users WHERE password_hash IS NOT NULL").await, 0);
    t.execute("UPDATE tenants SET ways = 'password'").await.unwrap();
    t.as_(&eve, "POST", PATH, json!({ "new": "battery staple" })).await.is(204);
}
