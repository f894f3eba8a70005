//! Passwords: hashing, checking, and `POST /api/users/{id}/set-password`.
//!
//! Argon2id (RFC 9106) with m = 19 MiB, t = 2, p = 1, stored as a PHC string. A hash made with other parameters is made anew
//! at the next sign-in.

use std::borrow::Cow;

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version,
    password_hash::{Error as HashError, phc::PasswordHash},
};
use common::{
    entrance::Entrance,
    error::{ApiError, Code},
    event::EventKind,
    id::TenantId,
    secret::Chance,
    text::count,
};
use icu_normalizer::ComposingNormalizerBorrowed;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    change::{Answer, Change},
    event::Event,
    extract::{Body, Path},
    form,
    response::Response,
    throttle,
};
use store::{credential, db::Rows, outbox, tenant, user};

use crate::{strength, tries};

/// Memory of a hash, KiB.
const MEMORY: u32 = 19 * 1024;
/// Passes over it.
const PASSES: u32 = 2;
/// Hashes that the server makes in one second, unless the operator sets `hashes_per_second`.
const HASHES_PER_SECOND: i64 = 24;

/// A hash of nobody's password, with the parameters above: checked where there is no account, so that a stranger learns
/// nothing from the time. A test holds it against the parameters.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LW5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password as it is measured, hashed and compared: the same letters are the same text, on whatever keyboard they were typed
/// (NIST SP 800-63B, section 5.1.1.2).
fn composed(password: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(password)
}

/// Refuses a password that is too short, too long or among the first that are tried. `own` are the address and the name of its person, and the
/// tenant's names.
pub(crate) fn check_strength(password: &str, own: &[&str]) -> Result<(), ApiError> {
    strength::check(&composed(password), own)
}

/// The same for a person of this tenant.
pub(crate) async fn check_strength_in(
    reads: &dyn Rows,
    tenant: &TenantId,
    password: &str,
    (email, name): (&str, &str),
) -> Result<(), ApiError> {
    let tenant = tenant::get(reads, tenant).await?;
    check_strength(password, &[email, name, &tenant.slug, tenant.name.as_deref().unwrap_or_default()])
}

/// Refuses to set a password where the tenant lets nobody in by one.
pub(crate) async fn check_allowed(reads: &dyn Rows, tenant: &TenantId) -> Result<(), ApiError> {
    match tenant::get(reads, tenant).await?.ways.allow(Entrance::Password) {
        true => Ok(()),
        false => Err(Code::WayDisabled.detail("Your tenant has no passwords: one would let nobody in.")),
    }
}

/// The same with what an admin can do.
async fn check_allowed_for(reads: &dyn Rows, tenant: &TenantId) -> Result<(), ApiError> {
    const FIX: &str = "They sign in by the ways that GET /api/tenant lists. To let them have a password, allow passwords first, with PATCH /api/tenant {\"ways\": […]}.";
    check_allowed(reads, tenant).await.map_err(|refusal| match refusal.code() {
        Code::WayDisabled => refusal.fix(FIX),
        _ => refusal,
    })
}

fn argon2() -> Result<Argon2<'static>, ApiError> {
    let params = Params::new(MEMORY, PASSES, 1, None).map_err(broken)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn broken(error: impl std::fmt::Display) -> ApiError {
    ApiError::from(Code::Internal).cause(format!("password hash: {error}"))
}

/// Hashes a password for the column.
pub(crate) fn hash(password: &str, chance: &Chance) -> Result<String, ApiError> {
    let hash: PasswordHash =
        argon2()?.hash_password_with_salt(composed(password).as_bytes(), &chance.bytes::<16>()).map_err(broken)?;
    Ok(hash.to_string())
}

/// Checks a password against a stored hash; without one against nobody's, which takes as long and never matches.
/// A hash that cannot be read is an error, not a wrong password.
pub(crate) fn verify(password: &str, stored: Option<&str>) -> Result<bool, ApiError> {
    let parsed = PasswordHash::new(stored.unwrap_or(NOBODY)).map_err(broken)?;
    match argon2()?.verify_password(composed(password).as_bytes(), &parsed) {
        Ok(()) => Ok(stored.is_some()),
        Err(HashError::PasswordInvalid) => Ok(false),
        Err(error) => Err(broken(error)),
    }
}

/// Whether a stored hash was made with other parameters than today's.
pub(crate) fn is_outdated(stored: &str) -> bool {
    !stored.starts_with(&format!("$argon2id$v=19$m={MEMORY},t={PASSES},p=1$"))
}

/// Takes a place among the hashes of this second, or refuses. Counted in the database: it holds for all instances together.
pub(crate) async fn take_turn(app: &App) -> Result<(), ApiError> {
    let limit = app.settings().hashes_per_second.unwrap_or(HASHES_PER_SECOND);
    // One network has at most three of four places, so that it cannot keep all others out.
    let (own, all) = (["hashes", &app.network()], ["hashes", ""]);
    for (key, limit) in [(own, (limit * 3 / 4).max(1)), (all, limit)] {
        throttle::count(app, &key, (limit, 1), Code::TooManyHashes).await?;
    }
    Ok(())
}

/// A refusal of a wrong password, with the way to another one where this server sends mail. It is the same for every address.
pub(crate) fn or_forgotten(app: &App, refusal: ApiError) -> ApiError {
    const FORGOT: &str = "If you forgot the password, send POST /auth/forgot {\"email\": \"<the address>\"}: when the address has an account, a mail with a link to set another one comes.";
    let first = match refusal.code() {
        Code::LoginFailed => "Check the address, the password and the tenant, and sign in again.",
        Code::WrongPassword => "Send the password that you sign in with.",
        _ => return refusal,
    };
    if !app.settings().has_mail() {
        return refusal;
    }
    refusal.fix(format!("{first} {FORGOT}")).page("/docs/agents/concepts/people#a-forgotten-password")
}

/// Compares what was sent as the present password with the stored hash, when its turn comes.
pub(crate) async fn check(app: &App, sent: &str, stored: &str) -> Result<(), ApiError> {
    take_turn(app).await?;
    if verify(sent, Some(stored))? { Ok(()) } else { Err(Code::WrongPassword.into()) }
}

form! {
    pub(crate) struct Set {
        password: String,
    }
}

/// `POST /api/users/{id}/set-password`: sets another user's password and ends their sessions.
pub(crate) async fn set(change: Change<Body<Set>>, Path(id): Path) -> Result<Response, ApiError> {
    let (app, Body(body)) = (&change.app, &change.input);
    let user = user::get(app.db(), change.caller.tenant_id(), &id).await?;
    let own = (user.email.as_str(), user.name.as_str());
    check_strength_in(app.db(), change.caller.tenant_id(), &body.password, own).await?;
    // A stolen session of an admin must not change what its person signs in with: that takes the present password.
    if user.id == *change.caller.user_id() {
        return Err(Code::OwnPassword.into());
    }
    check_allowed_for(app.db(), change.caller.tenant_id()).await?;
    // A repeated request hashes nothing.
    if let Some(answer) = change.replay().await? {
        return Ok(answer);
    }
    take_turn(app).await?;
    // Before the transaction: nothing slow may happen under the write lock.
    let hash = hash(&body.password, app.chance())?;
    change
        .run(async |write, _| {
            check_allowed_for(&write.tx, write.caller.tenant_id()).await?;
            // A new password locks out everybody who knows the old one; the first one lets somebody in.
            let had_one = user::password_hash(&write.tx, &user.id).await?.is_some();
            if !user::set_password(&write.tx, write.caller.tenant_id(), user.id.as_str(), &hash).await? {
                return Err(Code::UserNotFound.into());
            }
            // An admin who sits where the person does lets them in at once.
            tries::forget(write.app(), &write.tx, (write.caller.tenant_id(), &user.email)).await?;
            let ended = credential::revoke_sessions(&write.tx, &user.id, None, write.now()).await?;
            let mut event = Event::of_user(EventKind::UserPasswordSet, &user.id);
            if ended > 0 {
                let ended = count(ended, "session");
                let body = format!("{} set a new password for you, which ended {ended} of yours.", write.author());
                event = event.saying("Your password was set", body);
            } else if !had_one {
                event = event.no_news(); // the first one: the person asked for it, or gets it from an admin
            }
            if had_one {
                write.mail(&user.id, outbox::Kind::PasswordChanged, json!({})).await?;
            }
            write.emit(event.data(json!({ "ended_sessions": ended }))).await?;
            let after = json!({ "ended_sessions": ended });
            Ok(Answer::no_content().audited(&user.id, Null, after).narrowing(had_one))
        })
        .await
}

#[cfg(test)]
mod tests {
    use common::{role::Role, secret::Kind};
    use service::testing::TestApp;

    use super::*;
    use crate::router;

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let stored = hash("correct horse", &Chance::seeded(1)).unwrap();
        assert!(verify("correct horse", Some(&stored)).unwrap());
        assert!(!verify("correct horsf", Some(&stored)).unwrap());
        assert!(!is_outdated(&stored));
        assert!(is_outdated(&stored.replace("t=2", "t=1")));
    }

    /// R24: the same work is done as for an account.
    #[test]
    fn without_an_account_no_password_matches() {
        assert!(!is_outdated(NOBODY));
        for guess in ["nobody", "", "correct horse"] {
            assert!(!verify(guess, None).unwrap());
        }
    }

    /// R26: a broken hash is a fault of the server, not a wrong password.
    #[test]
    fn a_broken_hash_is_an_error() {
        for stored in ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1$x", "$md5$abc"] {
            assert_eq!(verify("x", Some(stored)).unwrap_err().code(), Code::Internal, "{stored}");
        }
    }

    /// R228: a letter is the same whether it was typed as one character or as two.
    #[test]
    fn composed_and_decomposed_letters_are_the_same_password() {
        let (one, two) = ("caf\u{e9} cr\u{e8}me", "cafe\u{301} cre\u{300}me");
        for (set, typed) in [(one, two), (two, one)] {
            let stored = hash(set, &Chance::seeded(1)).unwrap();
            assert!(verify(typed, Some(&stored)).unwrap());
        }
        // Eight characters, however many code points they are.
        assert!(check_strength(&"e\u{301}a\u{300}".repeat(3), &[]).is_err());
    }

    #[tokio::test]
    async fn a_set_password_ends_the_users_sessions_and_signs_them_in() {
        let t = TestApp::new(router());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let eve = t.user(&tenant, "eve@example.com", Role::Member).await;
        let path = format!("/api/users/{}/set-password", eve.user);
        t.as_(&ada, "POST", &path, json!({ "password": "correct horse" })).await.is(204);
        assert_eq!(t.number("SELECT count(*) FROM credentials WHERE revoked_at IS NOT NULL").await, 1);
        let body = json!({ "email": "eve@example.com", "password": "correct horse" });
        t.nobody("POST", "/auth/token", body).await.is(200);
        assert_eq!(t.texts("SELECT action FROM audit").await, ["user.set_password", "session.start"]);
        let hash = t.texts("SELECT password_hash FROM users WHERE email_key = 'eve@example.com'").await;
        assert!(hash[0].starts_with("$argon2id$"));
        assert_eq!(t.number("SELECT count(*) FROM audit WHERE after LIKE '%horse%' OR after LIKE '%argon%'").await, 0);
    }

    /// R336: an admin sets no password where it lets nobody in, and is told what does.
    #[tokio::test]
    async fn no_password_is_set_where_the_tenant_allows_none() {
        let t = TestApp::new(router());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let eve = t.user(&tenant, "eve@example.com", Role::Member).await;
        t.execute("UPDATE tenants SET ways = 'link'").await.unwrap();
        let (path, body) = (format!("/api/users/{}/set-password", eve.user), json!({ "password": "correct horse" }));
        let refused = t.as_(&ada, "POST", &path, body.clone()).await.refused(403, "way_disabled");
        assert!(refused["fix"].as_str().unwrap().contains("PATCH /api/tenant"), "{refused}");
        assert_eq!(t.number("SELECT count(*) FROM users WHERE password_hash IS NOT NULL").await, 0);
        assert_eq!(t.number("SELECT count(*) FROM credentials WHERE revoked_at IS NOT NULL").await, 0);
        t.execute("UPDATE tenants SET ways = 'password link'").await.unwrap();
        t.as_(&ada, "POST", &path, body).await.is(204);
    }

    /// R527: an admin in the same office lets a person in who was refused for wrong tries.
    #[tokio::test]
    async fn a_set_password_forgets_wrong_tries() {
        let t = TestApp::new(router());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let eve = t.user(&tenant, "eve@example.com", Role::Member).await;
        let body = json!({ "email": "eve@example.com", "password": "correct horse" });
        for _ in 0..5 {
            t.nobody("POST", "/auth/token", body.clone()).await.refused(401, "login_failed");
        }
        t.nobody("POST", "/auth/token", body.clone()).await.refused(429, "too_many_attempts");
        let path = format!("/api/users/{}/set-password", eve.user);
        t.as_(&ada, "POST", &path, json!({ "password": "correct horse" })).await.is(204);
        t.nobody("POST", "/auth/token", body.clone()).await.is(200);
        // An admin of another tenant gets no more guesses at an account here by an account there that has its address.
        let other = t.tenant("other").await;
        let mallory = t.user(&other, "mallory@example.com", Role::Admin).await;
        let namesake = t.user(&other, "eve@example.com", Role::Member).await;
        let wrong = json!({ "email": "eve@example.com", "password": "wrong horse" });
        for _ in 0..5 {
            t.nobody("POST", "/auth/token", wrong.clone()).await.refused(401, "login_failed");
        }
        let path = format!("/api/users/{}/set-password", namesake.user);
        t.as_(&mallory, "POST", &path, json!({ "password": "correct horse" })).await.is(204);
        t.nobody("POST", "/auth/token", wrong).await.refused(429, "too_many_attempts");
    }

    /// R315: a repeated request is answered again, however many others hash.
    #[tokio::test]
    async fn a_repeated_request_takes_no_turn() {
        let settings = service::settings::Settings { hashes_per_second: Some(1), ..Default::default() };
        let t = TestApp::with(router(), settings);
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let eve = t.user(&tenant, "eve@example.com", Role::Member).await;
        let bearer = format!("Bearer {}", ada.token);
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "one")];
        let path = format!("/api/users/{}/set-password", eve.user);
        for replayed in ["", "true"] {
            let answer = t.call("POST", &path, &headers, json!({ "password": "correct horse" })).await;
            answer.is(204);
            assert_eq!(answer.header("idempotency-replayed"), replayed);
        }
    }

    /// R7, R33: only an admin's session, only in the own tenant; a refused one changes nothing.
    #[tokio::test]
    async fn a_password_is_set_by_an_admins_session_only() {
        let t = TestApp::new(router());
        let (tenant, other) = (t.tenant("main").await, t.tenant("other").await);
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let eve = t.user(&tenant, "eve@example.com", Role::Curator).await;
        let zoe = t.user(&other, "zoe@example.com", Role::Admin).await;
        let pat = t.credential(Kind::Pat, &tenant, &ada.user, None, "*", None).await;
        let path = format!("/api/users/{}/set-password", eve.user);
        let body = json!({ "password": "correct horse" });
        t.as_(&eve, "POST", &path, body.clone()).await.refused(403, "scope_denied");
        t.as_(&pat, "POST", &path, body.clone()).await.refused(403, "session_required");
        t.as_(&zoe, "POST", &path, body.clone()).await.refused(404, "user_not_found");
        t.as_(&zoe, "POST", "/api/users/usr_none/set-password", body).await.refused(404, "user_not_found");
        t.as_(&ada, "POST", &path, json!({ "password": "short" })).await.refused(400, "weak_password");
        t.as_(&ada, "POST", &path, json!({})).await.refused(422, "validation_error");
        assert_eq!(t.number("SELECT count(*) FROM users WHERE password_hash IS NOT NULL").await, 0);
    }
}
