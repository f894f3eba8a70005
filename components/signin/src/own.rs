//! `POST /auth/password`: a person's own password.
//!
//! 1. A repeated request is answered from what was kept, before the password that it calls the current one is held against the
//!    new one.
//! 2. The current password is checked as at a sign-in: tries are counted, hashes have their turn. A session that was stolen is no
//!    way to guess it.
//! 3. The new one is stored on the condition that the current one is still as it was checked; all other sessions end.

use axum::response::Response;
use common::{
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::Ask,
    http::App,
    idempotency::Answer,
    route,
    store::{credential, user},
    write::Begun,
};
use serde_json::{Value::Null, json};

use crate::{password, sign_in::one_try};

form! {
    pub(crate) struct Change {
        current: Option<String>,
        new: String,
    }
}

/// The handler.
pub(crate) async fn change(app: App, caller: Caller, ask: Ask<Change>) -> Result<Response, ApiError> {
    password::check_strength(&ask.body.new)?;
    if let Some(kept) = &ask.kept
        && let Some(answer) = kept.replayed(&app, app.db(), &caller).await?
    {
        return Ok(answer);
    }
    let stored = user::password_hash(app.db(), caller.user_id()).await?;
    if let Some(stored) = &stored {
        let current = ask.body.current.as_deref().ok_or_else(|| ApiError::field("current", "is missing"))?;
        one_try(&app, caller.email(), Code::WrongPassword, check(&app, current, stored)).await?;
    }
    password::take_turn(&app).await?;
    // Before the transaction: nothing slow may happen under the write lock.
    let hash = password::hash(&ask.body.new, app.chance())?;
    let write = match app.write(route::PASSWORD_CHANGE, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let me = write.caller.user_id();
    if !user::change_password(&write.tx, me, stored.as_deref(), &hash).await? {
        return Err(Code::WrongPassword.into()); // it was changed meanwhile
    }
    let ended = credential::revoke_sessions(&write.tx, me, Some(write.caller.credential_id()), app.now()).await?;
    let id = me.to_string();
    write.finish(&id, Null, json!({ "ended_sessions": ended }), Answer::empty()).await
}

async fn check(app: &App, current: &str, stored: &str) -> Result<(), ApiError> {
    password::take_turn(app).await?;
    if password::verify(current, Some(stored))? { Ok(()) } else { Err(Code::WrongPassword.into()) }
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        secret::{Chance, Kind},
        testing::{Actor, TestApp},
    };

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
        let row =
            t.texts("SELECT action || ' ' || object_id || ' ' || after FROM audit WHERE action LIKE 'user%'").await;
        assert_eq!(row, [format!("user.change_password {} {{\"ended_sessions\":1}}", eve.user)]);
    }

    /// R25, R7: the current password is no easier to guess from a session, and a session it must be.
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

    /// Who has no password yet, sets one without.
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

    /// Of two changes at once one happens: each goes out from the password that it was given.
    #[tokio::test]
    async fn two_changes_at_once_are_one() {
        let t = TestApp::new(router());
        let eve = eve(&t).await;
        let second = TestApp::over(router(), &t);
        let ask = |t: &TestApp, new: &str| {
            let body = json!({ "current": "correct horse", "new": new });
            let (t, eve) = (TestApp::over(router(), t), eve.clone());
            async move { t.as_(&eve, "POST", PATH, body).await }
        };
        let (one, two) = tokio::join!(ask(&t, "battery staple"), ask(&second, "another staple"));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 403]);
    }
}
