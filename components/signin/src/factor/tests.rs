use common::{id::TenantId, role::Role, secret::Kind, vault::Vault};
use serde_json::Value as Json;
use service::{
    settings::{Provider, Settings},
    testing::{Actor, Answer, TestApp, at_once},
};
use store::usage::Quotas;

use super::*;
use crate::{password, router};

const PASSWORD: &str = "correct horse";

fn settings() -> Settings {
    let vault = Vault::parse("a-key-that-is-as-long-as-it-has-to-be").unwrap();
    Settings { vault, hashes_per_second: Some(1_000_000), ..Default::default() }
}

/// A tenant with Ada, an admin with a password and a session.
async fn with_ada() -> (TestApp, Actor) {
    let t = TestApp::with(router(), settings());
    let tenant = t.tenant("main").await;
    let ada = person(&t, &tenant, "ada@example.com", Role::Admin).await;
    (t, ada)
}

async fn person(t: &TestApp, tenant: &TenantId, email: &str, role: Role) -> Actor {
    let person = t.user(tenant, email, role).await;
    let hash = password::hash(PASSWORD, &Chance::seeded(9)).unwrap();
    t.execute(&format!("UPDATE users SET password_hash = '{hash}' WHERE id = '{}'", person.user)).await.unwrap();
    person
}

/// An app that holds somebody's secret, and the recovery codes.
struct Device {
    secret: TotpSecret,
    recovery: Vec<String>,
}

impl Device {
    fn code(&self, t: &TestApp) -> String {
        self.secret.code(t.now())
    }
}

/// Sets a second factor up, and waits until the code of the confirmation is over.
async fn set_up(t: &TestApp, person: &Actor) -> Device {
    let begun = t.as_(person, "POST", "/auth/factor", Json::Null).await.is(201);
    let secret = TotpSecret::opened(begun["secret"].as_str().unwrap().to_owned());
    let code = json!({ "code": secret.code(t.now()) });
    let confirmed = t.as_(person, "POST", "/auth/factor/confirm", code).await.is(200);
    let recovery = confirmed["recovery_codes"].as_array().unwrap();
    let recovery = recovery.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    t.wait(30);
    Device { secret, recovery }
}

async fn sign_in(t: &TestApp, email: &str) -> Answer {
    t.nobody("POST", "/auth/token", json!({ "email": email, "password": PASSWORD })).await
}

/// Signs in as far as the second factor.
async fn ticket(t: &TestApp, email: &str) -> String {
    sign_in(t, email).await.refused(401, "second_factor_required")["ticket"].as_str().unwrap().to_owned()
}

async fn verify(t: &TestApp, ticket: &str, code: &str) -> Answer {
    t.nobody("POST", "/auth/factor/verify", json!({ "ticket": ticket, "code": code })).await
}

async fn sessions(t: &TestApp) -> i64 {
    t.number("SELECT count(*) FROM credentials WHERE kind = 'session' AND revoked_at IS NULL").await
}

/// R643: what a person's agents have changed in a day does not keep the person from the second factor that is demanded.
#[tokio::test]
async fn a_demanded_factor_is_set_up_whatever_was_changed_that_day() {
    let quotas = Quotas { bytes: 1, ..Settings::default().quotas };
    let t = TestApp::with(router(), Settings { quotas, ..settings() });
    let tenant = t.tenant("main").await;
    let ada = person(&t, &tenant, "ada@example.com", Role::Admin).await;
    t.as_(&ada, "POST", "/auth/factor", Json::Null).await.refused(429, "too_many_changes");
    t.execute("UPDATE tenants SET second_factor = 'all'").await.unwrap();
    set_up(&t, &ada).await;
    assert_eq!(t.as_(&ada, "GET", "/auth/factor", Json::Null).await.is(200)["enabled"], true);
}

/// R644: a sign-in whose second factor was removed meanwhile begins again.
#[tokio::test]
async fn a_ticket_ends_with_the_factor() {
    let (t, ada) = with_ada().await;
    let device = set_up(&t, &ada).await;
    let ticket = ticket(&t, "ada@example.com").await;
    t.execute("DELETE FROM factors").await.unwrap();
    for code in [device.code(&t), "nothing".to_owned()] {
        verify(&t, &ticket, &code).await.refused(401, "ticket_ended");
    }
    sign_in(&t, "ada@example.com").await.is(200);
}

/// R96: the secret is shown once, is stored sealed, and counts only when a code has confirmed it.
#[tokio::test]
async fn a_factor_is_begun_and_counts_once_it_is_confirmed() {
    let (t, ada) = with_ada().await;
    let none = json!({ "enabled": false, "confirmed_at": null, "begun": false, "recovery_codes_left": 0, "demanded": false, "has_password": true });
    assert_eq!(t.as_(&ada, "GET", "/auth/factor", Json::Null).await.is(200), none);
    let begun = t.as_(&ada, "POST", "/auth/factor", Json::Null).await.is(201);
    let secret = begun["secret"].as_str().unwrap();
    let uri = format!(
        "otpauth://totp/Accredit%20main:ada%40example%2Ecom?secret={secret}&issuer=Accredit%20main&algorithm=SHA1&digits=6&period=30"
    );
    assert_eq!(begun["uri"], uri);
    let state = t.as_(&ada, "GET", "/auth/factor", Json::Null).await;
    assert!(state.is(200)["begun"] == true && !state.text.contains(secret), "{}", state.text);
    sign_in(&t, "ada@example.com").await.is(200);
    // Begun anew: the first secret is worth nothing.
    let (first, device) = (TotpSecret::opened(secret.to_owned()), set_up_again(&t, &ada).await);
    let code = json!({ "code": first.code(t.now()) });
    t.as_(&ada, "POST", "/auth/factor/confirm", code).await.refused(403, "wrong_code");
    let code = json!({ "code": device.code(t.now()) });
    let confirmed = t.as_(&ada, "POST", "/auth/factor/confirm", code.clone()).await.is(200);
    assert_eq!(confirmed["recovery_codes"].as_array().unwrap().len(), 10);
    t.as_(&ada, "POST", "/auth/factor/confirm", code).await.refused(409, "second_factor_exists");
    t.as_(&ada, "POST", "/auth/factor", Json::Null).await.refused(409, "second_factor_exists");
    let state = t.as_(&ada, "GET", "/auth/factor", Json::Null).await.is(200);
    assert_eq!((&state["enabled"], &state["recovery_codes_left"]), (&json!(true), &json!(10)));
    sign_in(&t, "ada@example.com").await.refused(401, "second_factor_required");
    let actions = t.texts("SELECT action FROM audit WHERE action LIKE 'factor%'").await;
    assert_eq!(actions, ["factor.begin", "factor.begin", "factor.confirm"]);
    // Nothing of it is stored or noted in clear.
    let secrets = [device.reveal().to_owned(), confirmed["recovery_codes"][0].as_str().unwrap().replace('-', "")];
    for secret in secrets {
        for sql in [
            "SELECT ifnull(before, '') || ifnull(after, '') FROM audit",
            "SELECT body FROM notifications",
            "SELECT hex(sealed) FROM factors",
        ] {
            assert!(t.texts(sql).await.iter().all(|text| !text.contains(&secret)), "{sql}");
        }
    }
    assert_eq!(t.texts("SELECT title FROM notifications").await, ["A second factor was set up"]);
}

async fn set_up_again(t: &TestApp, person: &Actor) -> TotpSecret {
    let begun = t.as_(person, "POST", "/auth/factor", Json::Null).await.is(201);
    TotpSecret::opened(begun["secret"].as_str().unwrap().to_owned())
}

/// R96: without the operator's key no secret is stored.
#[tokio::test]
async fn without_the_key_no_factor_is_begun() {
    let t = TestApp::new(router());
    let ada = t.ada().await;
    t.as_(&ada, "POST", "/auth/factor", Json::Null).await.refused(503, "secrets_disabled");
    assert_eq!(t.number("SELECT count(*) FROM factors").await, 0);
}

/// R96: a sign-in ends with a ticket and a code; a wrong code leaves the ticket, a right one spends it.
#[tokio::test]
async fn a_sign_in_ends_with_a_code() {
    let (t, ada) = with_ada().await;
    let device = set_up(&t, &ada).await;
    t.execute("UPDATE users SET last_login_at = NULL").await.unwrap();
    let before = sessions(&t).await;
    let ticket = ticket(&t, "ada@example.com").await;
    assert_eq!(
        (sessions(&t).await, t.number("SELECT count(*) FROM users WHERE last_login_at IS NULL").await),
        (before, 1)
    );
    let wrong = verify(&t, &ticket, "000000").await;
    wrong.refused(403, "wrong_code");
    verify(&t, &ticket, "").await.refused(403, "wrong_code");
    assert_eq!(sessions(&t).await, before);
    let code = device.code(&t);
    let typed = format!(" {} {}", &code[..3], &code[3..]);
    let signed_in = verify(&t, &ticket, &typed).await;
    assert_eq!(signed_in.header("cache-control"), "no-store");
    let token = signed_in.is(200)["access_token"].as_str().unwrap().to_owned();
    t.call("GET", "/auth/factor", &[("authorization", &format!("Bearer {token}"))], Json::Null).await.is(200);
    assert_eq!(
        (sessions(&t).await, t.number("SELECT count(*) FROM users WHERE last_login_at > 0").await),
        (before + 1, 1)
    );
    verify(&t, &ticket, &code).await.refused(401, "ticket_ended");
    let after = t.texts("SELECT after FROM audit WHERE action = 'session.start'").await;
    assert_eq!(after, [r#"{"way":"password","second":"code"}"#]);
    assert_eq!(t.number("SELECT sum(two_factors) FROM credentials").await, 1);
    // R31: what was refused is counted for the person.
    assert_eq!(t.number("SELECT sum(count) FROM refusals WHERE slug = 'wrong_code'").await, 2);
}

/// R96: a caller that does not know the password learns nothing of a second factor, and costs the same work.
#[tokio::test]
async fn only_the_right_password_tells_of_a_second_factor() {
    let (t, ada) = with_ada().await;
    let device = set_up(&t, &ada).await;
    let tenant = ada.tenant.clone();
    person(&t, &tenant, "eve@example.com", Role::Member).await;
    let mut seen = vec![];
    for (email, code) in [
        ("ada@example.com", None),
        ("eve@example.com", None),
        ("nobody@example.com", None),
        ("ada@example.com", Some(device.code(&t))),
        ("eve@example.com", Some("123456".to_owned())),
    ] {
        let mut body = json!({ "email": email, "password": "wrong horse" });
        if let Some(code) = code {
            body["code"] = json!(code);
        }
        let before = t.db().statements();
        let mut body = t.nobody("POST", "/auth/token", body).await.refused(401, "login_failed");
        body["request_id"] = Null;
        seen.push((body.to_string(), t.db().statements() - before));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
    // The code that was sent with a wrong password is not used up.
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "code": device.code(&t) });
    t.nobody("POST", "/auth/token", body.clone()).await.is(200);
    t.nobody("POST", "/auth/token", body).await.refused(403, "wrong_code");
}

/// A code for an account that has no second factor is not ignored: its sender believes in one.
#[tokio::test]
async fn a_code_without_a_second_factor_is_refused() {
    let (t, _) = with_ada().await;
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "code": "123456" });
    let refused = t.nobody("POST", "/auth/token", body).await.refused(404, "no_second_factor");
    // R594: what a stranger can do about it; and what nobody has filled in is not sent.
    assert_eq!(refused["fix"], "Send the same without code: this account has no second factor.");
    for nothing in [json!(""), json!(" "), Null] {
        let body = json!({ "email": "ada@example.com", "password": PASSWORD, "code": nothing, "tenant": nothing });
        t.nobody("POST", "/auth/token", body).await.is(200);
    }
}

/// R97: a code works once, whichever way it comes, also one step later and at the clock's other side.
#[tokio::test]
async fn a_code_works_once() {
    let (t, ada) = with_ada().await;
    let device = set_up(&t, &ada).await;
    let early = device.secret.code(t.now().plus_seconds(30));
    let present = device.code(&t);
    let one = ticket(&t, "ada@example.com").await;
    let two = ticket(&t, "ada@example.com").await;
    verify(&t, &one, &early).await.is(200);
    // A step before one that was taken is used up too.
    verify(&t, &two, &present).await.refused(403, "wrong_code");
    verify(&t, &two, &early).await.refused(403, "wrong_code");
    t.wait(30);
    verify(&t, &two, &early).await.refused(403, "wrong_code");
    t.as_(&ada, "POST", "/auth/reauthenticate", json!({ "code": early })).await.refused(403, "wrong_code");
    t.wait(30);
    verify(&t, &two, &device.code(&t)).await.is(200);
}

/// R97: a recovery code works once, however it is typed, and its person is told.
#[tokio::test]
async fn a_recovery_code_works_once() {
    let (t, ada) = with_ada().await;
    let device = set_up(&t, &ada).await;
    let code = &device.recovery[3];
    assert_eq!((code.len(), code.matches('-').count()), (19, 3));
    let first = ticket(&t, "ada@example.com").await;
    verify(&t, &first, &code.to_lowercase().replace('-', " ")).await.is(200);
    let second = ticket(&t, "ada@example.com").await;
    verify(&t, &second, code).await.refused(403, "wrong_code");
    let state = t.as_(&ada, "GET", "/auth/factor", Json::Null).await.is(200);
    assert_eq!(state["recovery_codes_left"], 9);
    let told = t.texts("SELECT body FROM notifications WHERE title = 'A recovery code was used'").await;
    assert!(told.len() == 1 && told[0].contains("9 are left") && !told[0].contains(code), "{told:?}");
    assert_eq!(
        t.number("SELECT count(*) FROM audit WHERE after LIKE '%recovery_code%' AND action = 'session.start'").await,
        1
    );
    // New ones end the old ones. R702: their person is mailed.
    let t = TestApp::over_with(router(), Settings { mail_provider: Some(Provider::Resend), ..settings() }, &t);
    let replaced = t.as_(&ada, "POST", "/auth/factor/recovery-codes", Json::Null).await.is(200);
    let mailed = "SELECT user_id FROM outbox WHERE kind = 'recovery_codes_replaced'";
    assert_eq!(t.texts(mailed).await, [ada.user.to_string()]);
    verify(&t, &second, &device.recovery[0]).await.refused(403, "wrong_code");
    verify(&t, &second, replaced["recovery_codes"][0].as_str().unwrap()).await.is(200);
}

/// R97: one code sixteen times at once, over two hosts: one session.
#[tokio::test]
async fn of_one_code_at_once_one_is_taken() {
    let (t, ada) = with_ada().await;
    let device = set_up(&t, &ada).await;
    let other = TestApp::over_with(router(), settings(), &t);
    for recovery in [None, Some(device.recovery[0].clone())] {
        let before = sessions(&t).await;
        let code = recovery.unwrap_or_else(|| device.code(&t));
        let mut tickets = vec![];
        for _ in 0..16 {
            tickets.push(ticket(&t, "ada@example.com").await);
        }
        let statuses = at_once(16, async |number| {
            let host = if number % 2 == 0 { &t } else { &other };
            verify(host, &tickets[number], &code).await.status.as_u16()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 403 | 429)), "{statuses:?}");
        assert_eq!(sessions(&t).await, before + 1);
        t.wait(600);
    }
    // One ticket sixteen times.
    let (before, one, code) = (sessions(&t).await, ticket(&t, "ada@example.com").await, device.code(&t));
    let statuses = at_once(16, async |number| {
        let host = if number % 2 == 0 { &t } else { &other };
        verify(host, &one, &code).await.status.as_u16()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(sessions(&t).await, before + 1);
}

/// R97: five wrong codes are throttled as passwords are, whichever tickets they come with; the password's own tries are others.
#[tokio::test]
async fn wrong_codes_are_throttled() {
    let (t, ada) = with_ada().await;
    let device = set_up(&t, &ada).await;
    for _ in 0..5 {
        let ticket = ticket(&t, "ada@example.com").await;
        verify(&t, &ticket, "000000").await.refused(403, "wrong_code");
    }
    let ticket = ticket(&t, "ada@example.com").await;
    let right = device.code(&t);
    verify(&t, &ticket, &right).await.refused(429, "too_many_attempts");
    let with_password = json!({ "email": "ada@example.com", "password": PASSWORD, "code": right });
    t.nobody("POST", "/auth/token", with_password).await.refused(429, "too_many_attempts");
    t.as_(&ada, "POST", "/auth/reauthenticate", json!({ "code": right })).await.refused(429, "too_many_attempts");
    // Others are let in, and so is she from another network.
    let elsewhere = [("spin-client-addr", "198.51.100.7:1")];
    t.call("POST", "/auth/factor/verify", &elsewhere, json!({ "ticket": ticket, "code": right })).await.is(200);
}

/// R531: codes that were taken, and proofs that were given, while the clock was ahead: the ones let their person in again once it is right,
/// the others prove nothing then. A code is taken once all the same.
#[tokio::test]
async fn a_clock_that_was_ahead_locks_nobody_out() {
    let (t, ada) = with_ada().await;
    let device = set_up(&t, &ada).await;
    t.wait(3_600);
    let proof = json!({ "code": device.code(&t) });
    t.as_(&ada, "POST", "/auth/reauthenticate", proof).await.is(200);
    t.as_(&ada, "POST", "/auth/factor/recovery-codes", Json::Null).await.is(200);
    t.wait(-3_600);
    t.as_(&ada, "POST", "/auth/factor/recovery-codes", Json::Null).await.refused(403, "reauthentication_required");
    let proof = json!({ "code": device.code(&t) });
    t.as_(&ada, "POST", "/auth/reauthenticate", proof.clone()).await.is(200);
    t.as_(&ada, "POST", "/auth/factor/recovery-codes", Json::Null).await.is(200);
    t.as_(&ada, "POST", "/auth/reauthenticate", proof).await.refused(403, "wrong_code");
}

/// R97: from many networks six digits could be guessed. The account's counter stops that, and a recovery code lets its person in.
#[tokio::test]
async fn guesses_from_many_networks_are_counted_for_the_account() {
    let (t, ada) = with_ada().await;
    let device = set_up(&t, &ada).await;
    let ticket = ticket(&t, "ada@example.com").await;
    let from = async |number: i64, code: &str| {
        let address = format!("198.51.100.{number}:1");
        let body = json!({ "ticket": ticket, "code": code });
        t.call("POST", "/auth/factor/verify", &[("spin-client-addr", &address)], body).await
    };
    for number in 0..TRIES_OF_ALL {
        from(number, "000000").await.refused(403, "wrong_code");
    }
    from(100, &device.code(&t)).await.refused(429, "too_many_attempts");
    from(101, &device.recovery[0]).await.is(200);
    // R527: the app that replaces it has not been guessed at.
    t.execute("DELETE FROM factors").await.unwrap();
    let device = set_up(&t, &ada).await;
    let body = json!({ "ticket": self::ticket(&t, "ada@example.com").await, "code": device.code(&t) });
    t.call("POST", "/auth/factor/verify", &[("spin-client-addr", "198.51.100.102:1")], body).await.is(200);
}

/// R96: a ticket is one person's, and no other code than theirs spends it. It ends by itself, with another password, and with the account.
#[tokio::test]
async fn a_ticket_is_one_persons_and_ends() {
    let (t, ada) = with_ada().await;
    let tenant = ada.tenant.clone();
    let eve = person(&t, &tenant, "eve@example.com", Role::Member).await;
    let (of_ada, of_eve) = (set_up(&t, &ada).await, set_up(&t, &eve).await);
    let ticket_of_ada = ticket(&t, "ada@example.com").await;
    verify(&t, &ticket_of_ada, &of_eve.code(&t)).await.refused(403, "wrong_code");
    verify(&t, &ticket_of_ada, &of_eve.recovery[0]).await.refused(403, "wrong_code");
    for no_ticket in ["", "x", &"A".repeat(43), &ada.token] {
        let answer = verify(&t, no_ticket, &of_ada.code(&t)).await;
        answer.refused(401, "ticket_ended");
    }
    // By itself.
    t.wait(600);
    verify(&t, &ticket_of_ada, &of_ada.code(&t)).await.refused(401, "ticket_ended");
    // With another password.
    let waiting = ticket(&t, "eve@example.com").await;
    let path = format!("/api/users/{}/set-password", eve.user);
    let fresh = t.credential(Kind::Session, &tenant, &ada.user, None, "*", None).await;
    t.as_(&fresh, "POST", &path, json!({ "password": "battery staple" })).await.is(204);
    verify(&t, &waiting, &of_eve.code(&t)).await.refused(401, "ticket_ended");
    // With the account.
    let waiting = ticket(&t, "ada@example.com").await;
    t.execute(&format!("UPDATE users SET deactivated_at = 1 WHERE id = '{}'", ada.user)).await.unwrap();
    verify(&t, &waiting, &of_ada.code(&t)).await.refused(401, "ticket_ended");
    t.execute("UPDATE users SET deactivated_at = NULL").await.unwrap();
    verify(&t, &waiting, &of_ada.code(&t)).await.refused(401, "ticket_ended");
}

/// R98: removing a factor takes a fresh proof, and its person is told; a stolen session that is old does not do.
#[tokio::test]
async fn a_stolen_session_removes_no_factor() {
    let (t, ada) = with_ada().await;
    let device = set_up(&t, &ada).await;
    t.wait(900);
    for (method, path) in
        [("DELETE", "/auth/factor"), ("POST", "/auth/factor/recovery-codes"), ("POST", "/auth/factor")]
    {
        let refused = t.as_(&ada, method, path, Json::Null).await.refused(403, "reauthentication_required");
        assert_eq!((&refused["way"], &refused["max_age_seconds"]), (&json!("code"), &json!(900)));
    }
    // The password alone does not prove it.
    let body = json!({ "password": PASSWORD });
    t.as_(&ada, "POST", "/auth/reauthenticate", body).await.refused(422, "validation_error");
    let both = json!({ "password": PASSWORD, "code": device.code(&t) });
    t.as_(&ada, "POST", "/auth/reauthenticate", both).await.refused(422, "validation_error");
    assert_eq!(t.number("SELECT count(*) FROM factors").await, 1);
    let proved = t.as_(&ada, "POST", "/auth/reauthenticate", json!({ "code": device.code(&t) })).await.is(200);
    assert_eq!(proved["proved_at"], t.now().to_string());
    t.as_(&ada, "DELETE", "/auth/factor", Json::Null).await.is(204);
    t.as_(&ada, "DELETE", "/auth/factor", Json::Null).await.refused(404, "no_second_factor");
    assert_eq!(t.number("SELECT (SELECT count(*) FROM factors) + (SELECT count(*) FROM recovery_codes)").await, 0);
    assert_eq!(t.number("SELECT count(*) FROM notifications WHERE title = 'Your second factor was removed'").await, 1);
    sign_in(&t, "ada@example.com").await.is(200);
}

/// R98: a session that was there before the factor, and has proved two factors elsewhere, takes it away only when it has proved this one too.
#[tokio::test]
async fn a_session_from_before_the_factor_removes_none() {
    let (t, ada) = with_ada().await;
    let other = sign_in(&t, "ada@example.com").await.is(200);
    let other = Actor { token: other["access_token"].as_str().unwrap().to_owned(), ..ada.clone() };
    t.execute("UPDATE credentials SET two_factors = 1 WHERE kind = 'session'").await.unwrap();
    let device = set_up(&t, &ada).await;
    t.as_(&other, "GET", "/auth/factor", Json::Null).await.is(200);
    for (method, path) in [("DELETE", "/auth/factor"), ("POST", "/auth/factor/recovery-codes")] {
        let refused = t.as_(&other, method, path, Json::Null).await.refused(403, "reauthentication_required");
        assert_eq!(refused["way"], "code");
    }
    t.as_(&other, "POST", "/auth/reauthenticate", json!({ "code": device.code(&t) })).await.is(200);
    t.as_(&other, "DELETE", "/auth/factor", Json::Null).await.is(204);
}

/// R98: a proof is a session's own, and is over after 15 minutes; wrong passwords are counted as at a sign-in.
#[tokio::test]
async fn a_session_is_proved_again_by_the_password() {
    let (t, ada) = with_ada().await;
    let tenant = ada.tenant.clone();
    let eve = t.user(&tenant, "eve@example.com", Role::Member).await;
    let set = format!("/api/users/{}/set-password", eve.user);
    let body = json!({ "password": "battery staple" });
    t.wait(899);
    t.as_(&ada, "POST", &set, body.clone()).await.is(204);
    t.wait(1);
    let refused = t.as_(&ada, "POST", &set, body.clone()).await.refused(403, "reauthentication_required");
    assert_eq!(refused["way"], "password");
    let other = t.credential(Kind::Session, &tenant, &ada.user, None, "*", None).await;
    t.wait(900);
    t.as_(&other, "POST", "/auth/reauthenticate", json!({ "password": "wrong" })).await.refused(403, "wrong_password");
    t.as_(&other, "POST", "/auth/reauthenticate", json!({})).await.refused(422, "validation_error");
    t.as_(&other, "POST", "/auth/reauthenticate", json!({ "code": "123456" })).await.refused(422, "validation_error");
    t.as_(&other, "POST", "/auth/reauthenticate", json!({ "password": PASSWORD })).await.is(200);
    t.as_(&other, "POST", &set, body.clone()).await.is(204);
    t.as_(&ada, "POST", &set, body.clone()).await.refused(403, "reauthentication_required");
    for _ in 0..4 {
        t.as_(&ada, "POST", "/auth/reauthenticate", json!({ "password": "wrong" })).await.is(403);
    }
    t.as_(&ada, "POST", "/auth/reauthenticate", json!({ "password": PASSWORD }))
        .await
        .refused(429, "too_many_attempts");
    // Without a session nothing is proved.
    let pat = t.credential(Kind::Pat, &tenant, &ada.user, None, "*", None).await;
    t.as_(&pat, "POST", "/auth/reauthenticate", json!({ "password": PASSWORD })).await.refused(403, "session_required");
    // A person with neither signs in again.
    let bare = t.user(&tenant, "bare@example.com", Role::Admin).await;
    t.wait(900);
    for (path, body) in [(set.as_str(), body), ("/auth/reauthenticate", json!({ "password": "x" }))] {
        let refused = t.as_(&bare, "POST", path, body).await.refused(403, "reauthentication_required");
        assert_eq!(refused["way"], "sign_in");
    }
    // And makes no first password with a session that may be stolen.
    let first = json!({ "new": "battery staple" });
    t.as_(&bare, "POST", "/auth/password", first).await.refused(403, "reauthentication_required");
}

/// R98: one's own password takes the present one.
#[tokio::test]
async fn set_password_is_for_others() {
    let (t, ada) = with_ada().await;
    let path = format!("/api/users/{}/set-password", ada.user);
    let refused =
        t.as_(&ada, "POST", &path, json!({ "password": "battery staple" })).await.refused(409, "own_password");
    assert!(refused["fix"].as_str().unwrap().contains("POST /auth/password"));
    sign_in(&t, "ada@example.com").await.is(200);
}

/// R99: a person who lacks the factor that is demanded may set one up, read whoami and sign out. Their tokens and agents go on.
#[tokio::test]
async fn a_demanded_factor_is_set_up_before_anything_else() {
    let (t, ada) = with_ada().await;
    let tenant = ada.tenant.clone();
    let eve = person(&t, &tenant, "eve@example.com", Role::Member).await;
    let first = json!({ "new": "battery staple", "current": PASSWORD });
    t.execute("UPDATE tenants SET second_factor = 'admins'").await.unwrap();
    t.as_(&ada, "POST", "/auth/password", first.clone()).await.refused(403, "second_factor_setup_required");
    t.as_(&eve, "POST", "/auth/password", json!({ "new": PASSWORD, "current": PASSWORD })).await.is(204);
    t.execute("UPDATE tenants SET second_factor = 'all'").await.unwrap();
    t.as_(&eve, "POST", "/auth/password", first.clone()).await.refused(403, "second_factor_setup_required");
    assert_eq!(t.as_(&eve, "GET", "/auth/factor", Json::Null).await.is(200)["demanded"], true);
    // A session that proved two factors elsewhere is enough.
    let strong = t.credential(Kind::Session, &tenant, &eve.user, None, "*", None).await;
    t.execute(&format!("UPDATE credentials SET two_factors = 1 WHERE id = '{}'", strong.credential)).await.unwrap();
    t.as_(&strong, "POST", "/auth/password", json!({ "new": PASSWORD, "current": PASSWORD })).await.is(204);
    let eve = t.credential(Kind::Session, &tenant, &eve.user, None, "*", None).await;
    set_up(&t, &eve).await;
    t.as_(&eve, "POST", "/auth/password", first).await.is(204);
}

/// R99: a way that was switched off lets nobody in, and says so only to a caller with the right password.
#[tokio::test]
async fn a_way_that_is_switched_off_lets_nobody_in() {
    let (t, ada) = with_ada().await;
    let device = set_up(&t, &ada).await;
    let waiting = ticket(&t, "ada@example.com").await;
    t.execute("UPDATE tenants SET ways = 'link oidc'").await.unwrap();
    let before = sessions(&t).await;
    sign_in(&t, "ada@example.com").await.refused(403, "way_disabled");
    verify(&t, &waiting, &device.code(&t)).await.refused(403, "way_disabled");
    let wrong = json!({ "email": "ada@example.com", "password": "wrong horse" });
    t.nobody("POST", "/auth/token", wrong).await.refused(401, "login_failed");
    assert_eq!(sessions(&t).await, before);
}

/// R267: the label of the link has one colon, whatever the tenant is called.
#[test]
fn a_colon_in_a_name_breaks_no_label() {
    let secret = TotpSecret::generate(&Chance::seeded(1));
    let uri = uri(&secret, "Acme: Ops :B\u{e4}r", "a:da@example.com");
    let label = "Accredit%20Acme%20Ops%20B%C3%A4r:a%20da%40example%2Ecom";
    assert!(
        uri.starts_with(&format!(
            "otpauth://totp/{label}?secret={}&issuer=Accredit%20Acme%20Ops%20B%C3%A4r&",
            secret.reveal()
        )),
        "{uri}"
    );
}

/// R477: as keyboards of other scripts and texts have them.
#[test]
fn a_code_is_read_however_it_is_typed() {
    for typed in [
        "123456",
        "123 456",
        "123-456",
        "123\u{a0}456",
        "\u{200e}123456\u{202c}",
        "123\u{2013}456",
        "١٢٣٤٥٦",
        "۱۲۳ ۴۵۶",
        "１２３４５６",
        "१२३४५६",
    ] {
        assert!(matches!(Typed::read(typed), Typed::OfApp(code) if code == "123456"), "{typed}");
    }
    for typed in [
        "EV3K-35LS-VRG5-PTN3",
        "ev3k 35ls vrg5 ptn3",
        "EV3K–35LS‑VRG5−PTN3",
        "ＥＶ３Ｋ－３５ｌｓ－VRG5-PTN3",
        "\u{feff}EV3K35LSVRG5PTN3\n",
    ] {
        assert!(matches!(Typed::read(typed), Typed::Recovery(code) if code == "EV3K35LSVRG5PTN3"), "{typed}");
    }
    for typed in ["", "12345", "1234567", "12345a", "¹²³⁴⁵⁶", "EV3K-35LS-VRG5-PTNß"] {
        assert!(matches!(Typed::read(typed), Typed::Nothing), "{typed}");
    }
}
