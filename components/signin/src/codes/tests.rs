use common::{id::UserId, role::Role, secret::Chance};
use service::testing::{Actor, TestApp, at_once, mailing};
use store::db::Purpose;

use super::*;
use crate::router;

const TOKEN: &str = "/auth/email/token";
const RESET: &str = "/auth/reset";
const INVITE: &str = "/auth/invite";
const NEW: &str = "a quiet orbit of nine";

async fn stage() -> (TestApp, Actor) {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    (t, ada)
}

/// Mints a code, as a message that carries one does.
async fn code(t: &TestApp, kind: Kind, user: &UserId) -> String {
    let code = OneTimeCode::generate(t.chance());
    let tx = t.db().begin(Purpose::Durable).await.unwrap();
    let tenant = user::login_of(&tx, user).await.unwrap().unwrap().tenant_id;
    let (data, user) = (json!({}), Some(user));
    let new = code::New { code: &code, kind, tenant: &tenant, user, agent: None, data: &data };
    code::insert(&tx, &new, t.now()).await.unwrap();
    tx.commit().await.unwrap();
    code.reveal().to_owned()
}

/// The route of a kind and the body that spends a code of it.
fn spending(kind: Kind, code: &str) -> (&'static str, serde_json::Value) {
    match kind {
        Kind::Link => (TOKEN, json!({ "code": code })),
        Kind::Reset => (RESET, json!({ "code": code, "new": NEW })),
        _ => (INVITE, json!({ "code": code, "password": NEW })),
    }
}

const KINDS: [Kind; 3] = [Kind::Link, Kind::Reset, Kind::Invite];

#[tokio::test]
async fn a_link_signs_in_once_and_says_so_in_the_trail() {
    let (t, ada) = stage().await;
    let code = code(&t, Kind::Link, &ada.user).await;
    let answer = t.nobody("POST", TOKEN, json!({ "code": format!(" {code}\n") })).await;
    let signed_in = answer.is(200);
    assert_eq!((&signed_in["email"], &signed_in["token_type"]), (&json!("ada@example.com"), &json!("bearer")));
    assert_eq!(answer.header("cache-control"), "no-store");
    let row = "SELECT action || ' ' || after || ' ' || user_id FROM audit";
    assert_eq!(t.texts(row).await, [format!("session.start {{\"way\":\"link\"}} {}", ada.user)]);
    t.nobody("POST", TOKEN, json!({ "code": code })).await.refused(400, "invalid_code");
    assert_eq!(t.number("SELECT count(*) FROM credentials").await, 2);
}

/// R92: a reset and an invitation set a password and sign nobody in; sessions end, and the trail says so without the code.
#[tokio::test]
async fn a_reset_sets_a_password_ends_sessions_and_signs_nobody_in() {
    for kind in [Kind::Reset, Kind::Invite] {
        let (t, ada) = stage().await;
        let pat = t.credential(common::secret::Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
        let code = code(&t, kind, &ada.user).await;
        let (path, body) = spending(kind, &code);
        let answer = t.nobody("POST", path, body.clone()).await;
        answer.is(204);
        assert!(!answer.headers.contains_key("set-cookie"));
        let live = "SELECT id FROM credentials WHERE revoked_at IS NULL";
        assert_eq!(t.texts(live).await, [pat.credential.to_string()], "sessions alone");
        let sign_in = json!({ "email": "ada@example.com", "password": NEW });
        t.nobody("POST", "/auth/token", sign_in).await.is(200);
        let action = if kind == Kind::Reset { "user.reset_password" } else { "user.accept_invite" };
        let row = "SELECT action || ' ' || (after ->> 'ended_sessions') || ' ' || (after ->> '$.closure.id') FROM audit WHERE after ->> 'ended_sessions'";
        // R178: what it has ended has a closure, which the trail names.
        let closure = t.texts("SELECT id FROM closures WHERE ended ->> 'sessions' = 1").await.remove(0);
        assert_eq!(t.texts(row).await[0], format!("{action} 1 {closure}"));
        assert_eq!(
            t.number(&format!("SELECT count(*) FROM audit WHERE after LIKE '%{code}%' OR before LIKE '%{code}%'"))
                .await,
            0
        );
        t.nobody("POST", path, body).await.refused(400, "invalid_code");
    }
}

/// R527: who was refused for wrong tries and sets another password signs in with it at once, from where it was set.
#[tokio::test]
async fn a_new_password_forgets_wrong_tries_of_the_old_one() {
    for kind in [Kind::Reset, Kind::Invite] {
        let (t, ada) = stage().await;
        let sign_in = async |from: &str| {
            let body = json!({ "email": "ada@example.com", "password": NEW });
            t.call("POST", "/auth/token", &[("spin-client-addr", from)], body).await
        };
        for from in ["192.0.2.1:1", "198.51.100.7:1"] {
            for _ in 0..5 {
                sign_in(from).await.refused(401, "login_failed");
            }
            sign_in(from).await.refused(429, "too_many_attempts");
        }
        let (path, body) = spending(kind, &code(&t, kind, &ada.user).await);
        t.call("POST", path, &[("spin-client-addr", "192.0.2.1:9")], body).await.is(204);
        sign_in("192.0.2.1:1").await.is(200);
        sign_in("198.51.100.7:1").await.refused(429, "too_many_attempts");
    }
}

/// A webhook learns of a new password, whatever has set it.
#[tokio::test]
async fn a_password_that_a_code_has_set_is_an_event() {
    let (t, ada) = stage().await;
    t.execute(&format!(
        "INSERT INTO webhooks (id, tenant_id, user_id, name, url, takes_notifications, sealed, sealed_at, created_at, updated_at)
         VALUES ('whk_1', '{}', '{}', 'w', 'https://a.example', 1, x'00', 0, 0, 0)",
        ada.tenant, ada.user
    ))
    .await
    .unwrap();
    for kind in [Kind::Invite, Kind::Reset] {
        let (path, body) = spending(kind, &code(&t, kind, &ada.user).await);
        t.nobody("POST", path, body).await.is(204);
    }
    let events = t.texts("SELECT kind || ' ' || user_id || ' ' || data FROM events ORDER BY data DESC").await;
    let event = |ended: i64| format!("user.password_set {} {{\"ended_sessions\":{ended}}}", ada.user);
    assert_eq!(events, [event(1), event(0)]);
}

/// R92: a code opens one thing, ends by itself, and ends with whatever made it right.
#[tokio::test]
async fn a_code_is_useless_after_anything_that_makes_it_wrong() {
    let ends = [
        "UPDATE users SET deactivated_at = 1",
        "UPDATE users SET deactivated_at = 1, deleted_at = 1",
        "UPDATE users SET email = 'x@example.com', email_key = 'x@example.com'",
        "UPDATE users SET password_hash = 'another'",
        // And what went back to how it was does not bring it back.
        "UPDATE users SET deactivated_at = 1; UPDATE users SET deactivated_at = NULL",
        "UPDATE users SET password_hash = 'another'; UPDATE users SET password_hash = NULL",
    ];
    for kind in KINDS {
        for sql in ends {
            let (t, ada) = stage().await;
            let code = code(&t, kind, &ada.user).await;
            for sql in sql.split("; ") {
                t.execute(sql).await.unwrap();
            }
            let (path, body) = spending(kind, &code);
            t.nobody("POST", path, body).await.refused(400, "invalid_code");
        }
        // Its end, another kind's route, and another code of its kind that was used.
        let (t, ada) = stage().await;
        let (one, two) = (code(&t, kind, &ada.user).await, code(&t, kind, &ada.user).await);
        for other in KINDS.into_iter().filter(|other| *other != kind) {
            let (path, body) = spending(other, &one);
            t.nobody("POST", path, body).await.refused(400, "invalid_code");
        }
        t.wait(kind.life());
        let (path, body) = spending(kind, &one);
        t.nobody("POST", path, body).await.refused(400, "invalid_code");
        let three = code(&t, kind, &ada.user).await;
        let four = code(&t, kind, &ada.user).await;
        let (path, body) = spending(kind, &four);
        assert!(t.nobody("POST", path, body).await.status.is_success());
        for old in [one, two, three] {
            let (path, body) = spending(kind, &old);
            t.nobody("POST", path, body).await.refused(400, "invalid_code");
        }
        assert!(t.number("SELECT count(*) FROM credentials WHERE kind = 'session'").await <= 2);
    }
}

/// R22: twenty at once, one is let in.
#[test]
fn a_code_is_spent_once_by_twenty_at_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for kind in KINDS {
        let (t, ada) = runtime.block_on(stage());
        let code = runtime.block_on(code(&t, kind, &ada.user));
        let answers = at_once(20, async |_| {
            let (path, body) = spending(kind, &code);
            t.nobody("POST", path, body).await.status.as_u16()
        });
        assert_eq!(answers.iter().filter(|status| (200..300).contains(*status)).count(), 1, "{answers:?}");
        let refused = |status: &&u16| matches!(**status, 400 | 429 | 503);
        assert_eq!(answers.iter().filter(refused).count(), 19, "{answers:?}");
    }
}

#[tokio::test]
async fn a_weak_password_spends_nothing() {
    let (t, ada) = stage().await;
    let code = code(&t, Kind::Reset, &ada.user).await;
    for weak in ["short", "password", &"x".repeat(257)] {
        t.nobody("POST", RESET, json!({ "code": code, "new": weak })).await.refused(400, "weak_password");
    }
    t.nobody("POST", RESET, json!({ "code": code, "new": NEW })).await.is(204);
}

/// Nobody gets a hash computed with a code that is none.
#[tokio::test]
async fn what_is_no_code_is_refused_without_a_hash() {
    let (t, _) = stage().await;
    let unknown = OneTimeCode::generate(&Chance::seeded(77)).reveal().to_owned();
    for code in ["", "x", "' OR 1 = 1 --", &unknown, &format!("{unknown}x")] {
        for kind in KINDS {
            let (path, body) = spending(kind, code);
            t.nobody("POST", path, body).await.refused(400, "invalid_code");
        }
    }
    t.nobody("POST", RESET, json!({ "code": unknown })).await.refused(422, "validation_error");
    assert_eq!(t.number("SELECT count(*) FROM attempts").await, 0, "no hash was taken");
    assert_eq!(t.number("SELECT count(*) FROM audit").await, 0);
}

const LOOK: &str = "/auth/code";

async fn look(t: &TestApp, code: &str) -> service::testing::Answer {
    t.nobody("POST", LOOK, json!({ "code": code })).await
}

/// R260: a look says whose a code is and spends nothing; of one that works no more it says how it ended, and not whose it was.
#[tokio::test]
async fn a_look_says_what_a_code_opens_and_spends_nothing() {
    for kind in KINDS {
        let (t, ada) = stage().await;
        let (code, late) = (code(&t, kind, &ada.user).await, code(&t, kind, &ada.user).await);
        let expires_at = t.now().plus_seconds(kind.life());
        let live = json!({
            "kind": kind.as_str(), "state": "live", "email": "ada@example.com", "tenant": "main", "tenant_name": null,
            "role": (kind == Kind::Invite).then_some("admin"), "ways": ["password", "link", "oidc"], "expires_at": expires_at,
        });
        for _ in 0..3 {
            let answer = look(&t, &format!(" {code} ")).await;
            assert_eq!(answer.is(200), live);
            assert_eq!(answer.header("cache-control"), "no-store");
        }
        let rows = "SELECT (SELECT count(*) FROM audit) + (SELECT count(*) FROM attempts) + (SELECT count(*) FROM codes WHERE spent_at IS NOT NULL)";
        assert_eq!(t.number(rows).await, 0);
        let (path, body) = spending(kind, &code);
        t.nobody("POST", path, body).await;
        let none = |state: &str| {
            json!({
                "kind": kind.as_str(), "state": state, "email": null, "tenant": null, "tenant_name": null, "role": null,
                "ways": null, "expires_at": null,
            })
        };
        assert_eq!(look(&t, &code).await.is(200), none("used"));
        // Another one of the same kind took its place with that, and is known no more.
        look(&t, &late).await.refused(400, "invalid_code");
        let late = self::code(&t, kind, &ada.user).await;
        t.wait(kind.life());
        assert_eq!(look(&t, &late).await.is(200), none("ended"));
    }
}

/// R260: codes of other things are none of a link, and wrong ones are counted by network; then a good one of that network waits too.
#[tokio::test]
async fn wrong_codes_are_counted_by_network() {
    let (t, ada) = stage().await;
    let (ticket, good) = (code(&t, Kind::Ticket, &ada.user).await, code(&t, Kind::Reset, &ada.user).await);
    for bad in ["", "short", &ticket] {
        look(&t, bad).await.refused(400, "invalid_code");
    }
    // A text that cannot be a code costs nothing.
    assert_eq!(t.number("SELECT sum(count) FROM attempts").await, 1);
    for _ in 1..WRONG {
        look(&t, &ticket).await.refused(400, "invalid_code");
    }
    for code in [&ticket, &good] {
        look(&t, code).await.refused(429, "too_many_attempts");
    }
    t.wait(WINDOW);
    look(&t, &good).await.is(200);
}

/// R261: no password is set where none lets anybody in, and the code goes on working for when one does.
#[tokio::test]
async fn no_password_is_set_where_the_tenant_allows_none() {
    for kind in [Kind::Reset, Kind::Invite] {
        let (t, ada) = stage().await;
        let code = code(&t, kind, &ada.user).await;
        let ways = |ways: &str| format!("UPDATE tenants SET ways = '{ways}'");
        t.execute(&ways("link oidc")).await.unwrap();
        let before = t.texts("SELECT ifnull(password_hash, '') FROM users").await;
        let (path, body) = spending(kind, &code);
        t.nobody("POST", path, body.clone()).await.refused(403, "way_disabled");
        assert_eq!(t.texts("SELECT ifnull(password_hash, '') FROM users").await, before);
        assert_eq!(look(&t, &code).await.is(200)["ways"], json!(["link", "oidc"]));
        t.execute(&ways("password")).await.unwrap();
        t.nobody("POST", path, body).await.is(204);
    }
}
/// R228: the own name is no password, and the code is still there for another one.
#[tokio::test]
async fn the_own_name_is_no_password() {
    for kind in [Kind::Reset, Kind::Invite] {
        let (t, ada) = stage().await;
        t.execute("UPDATE users SET name = 'Ada Lovelace'").await.unwrap();
        let (path, mut body) = spending(kind, &code(&t, kind, &ada.user).await);
        let member = if kind == Kind::Reset { "new" } else { "password" };
        for weak in ["ada lovelace", "ada@example.com"] {
            body[member] = json!(weak);
            t.nobody("POST", path, body.clone()).await.refused(400, "weak_password");
        }
        body[member] = json!(NEW);
        t.nobody("POST", path, body).await.is(204);
    }
}

/// R315: a password that was changed is mailed, and not the first one of somebody who signed in by a link or a provider until then.
#[tokio::test]
async fn the_first_password_is_no_changed_one() {
    let t = TestApp::with(router(), mailing("https://accredit.example"));
    let ada = t.ada().await;
    for mails in [0, 1] {
        let (path, body) = spending(Kind::Reset, &code(&t, Kind::Reset, &ada.user).await);
        t.nobody("POST", path, body).await.is(204);
        assert_eq!(t.number("SELECT count(*) FROM outbox WHERE kind = 'password_changed'").await, mails);
    }
}
