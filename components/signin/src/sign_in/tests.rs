use common::secret::Chance;
use common::{
    role::Role,
    secret::{Kind, Secret},
};
use serde_json::Value::Null;
use serde_json::json;
use service::{settings::Settings, testing::TestApp};

use super::*;
use crate::{
    router,
    tries::{TRIES, TRIES_BEYOND, WINDOW},
};

const TOKEN: &str = "/auth/token";

/// A tenant with Ada, whose password is `correct horse`.
async fn with_ada() -> TestApp {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "Ada@example.com", Role::Admin).await;
    let hash = password::hash("correct horse", &Chance::seeded(9)).unwrap();
    t.execute(&format!("UPDATE users SET password_hash = '{hash}' WHERE id = '{}'", ada.user)).await.unwrap();
    t.execute("DELETE FROM credentials").await.unwrap();
    t
}

#[tokio::test]
async fn the_right_password_makes_a_session() {
    let t = with_ada().await;
    let headers = [("user-agent", "curl/8 \tx"), ("spin-client-addr", "192.0.2.9:1")];
    let body = json!({ "email": "ada@EXAMPLE.com", "password": "correct horse", "tenant": " MAIN " });
    let answer = t.call("POST", TOKEN, &headers, body).await;
    let signed_in = answer.is(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        signed_in,
        json!({
            "access_token": signed_in["access_token"], "token_type": "bearer", "user_id": signed_in["user_id"],
            "email": "Ada@example.com", "role": "admin", "expires_at": "2026-01-03T03:04:05.000Z",
        })
    );
    let token = Secret::parse(signed_in["access_token"].as_str().unwrap()).unwrap();
    assert_eq!(token.kind(), Kind::Session);
    let row = t.texts("SELECT hex(digest) || ' ' || prefix || ' ' || user_agent FROM credentials").await;
    let digest: String = token.digest().bytes().iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(row, [format!("{digest} {} curl/8 x", token.shown())]);
    assert_eq!(t.number("SELECT last_login_at FROM users").await, t.now().millis());
    let tried = format!("SELECT count(*) FROM attempts WHERE ends_at > {}", t.now().plus_seconds(1).millis());
    assert_eq!(t.number(&tried).await, 0, "a right password is no try");
}

/// R24: unknown address, unknown tenant, wrong password and inactive account are one answer and one amount of work.
#[tokio::test]
async fn a_stranger_learns_nothing() {
    let t = with_ada().await;
    let tenant = t.tenant("other").await;
    t.user(&tenant, "idle@example.com", Role::Viewer).await;
    let hash = t.texts("SELECT password_hash FROM users WHERE password_hash IS NOT NULL").await;
    t.execute(&format!(
        "UPDATE users SET deactivated_at = 1, password_hash = '{}' WHERE email_key = 'idle@example.com'",
        hash[0]
    ))
    .await
    .unwrap();
    t.nobody("POST", TOKEN, json!({ "email": "warm@example.com", "password": "x" })).await.is(401);
    let mut seen = vec![];
    for body in [
        json!({ "email": "ada@example.com", "password": "wrong horse" }),
        json!({ "email": "nobody@example.com", "password": "correct horse" }),
        json!({ "email": "ada@example.com", "password": "correct horse", "tenant": "nowhere" }),
        json!({ "email": "idle@example.com", "password": "correct horse", "tenant": "other" }),
        json!({ "email": "no address", "password": "" }),
    ] {
        let before = t.db().statements();
        let answer = t.nobody("POST", TOKEN, body).await;
        let mut body = answer.refused(401, "login_failed");
        body["request_id"] = Null;
        let names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        seen.push((body.to_string(), names, t.db().statements() - before));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
    // R31: of all these only ada's and idle's failed tries are counted.
    assert_eq!(t.number("SELECT count(*) FROM refusals").await, 2);
}

/// R25: the sixth wrong try of an account from a network is refused without a hash; others sign in; it ends by itself.
#[tokio::test]
async fn guessing_is_throttled_by_account_and_network() {
    let t = with_ada().await;
    let wrong = json!({ "email": "ada@example.com", "password": "wrong horse" });
    let right = json!({ "email": "Ada@Example.com", "password": "correct horse" });
    for _ in 0..5 {
        t.nobody("POST", TOKEN, wrong.clone()).await.refused(401, "login_failed");
    }
    for body in [&wrong, &right] {
        let before = t.db().statements();
        let answer = t.nobody("POST", TOKEN, body.clone()).await;
        answer.refused(429, "too_many_attempts");
        assert_eq!((answer.header("retry-after"), t.db().statements() - before), ("600", 1));
    }
    let elsewhere = [("spin-client-addr", "[2001:db8::1]:1")];
    t.call("POST", TOKEN, &elsewhere, right.clone()).await.is(200);
    for number in 2..8 {
        let same_network = [("spin-client-addr", format!("[2001:db8::{number}]:1"))];
        let headers: Vec<(&str, &str)> = same_network.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let status = if number < 7 { 401 } else { 429 };
        t.call("POST", TOKEN, &headers, wrong.clone()).await.is(status);
    }
    // Unknown accounts alike.
    for number in 0..6 {
        let answer = t.nobody("POST", TOKEN, json!({ "email": "nobody@example.com", "password": "x" })).await;
        answer.is(if number < 5 { 401 } else { 429 });
    }
    t.wait(600);
    t.nobody("POST", TOKEN, right).await.is(200);
}

/// R531: tries that were counted while the clock was an hour ahead keep nobody out once it is right.
#[tokio::test]
async fn tries_of_a_clock_that_was_ahead_are_over() {
    let t = with_ada().await;
    t.execute("DELETE FROM attempts").await.unwrap();
    let settings = Settings { hashes_per_second: Some(2), ..Settings::default() };
    let few = TestApp::with(router(), settings);
    let tenant = few.tenant("main").await;
    few.user(&tenant, "ada@example.com", Role::Admin).await;
    let body = |password: &str| json!({ "email": "ada@example.com", "password": password });
    for t in [&t, &few] {
        t.wait(3_600);
        for _ in 0..5 {
            t.nobody("POST", TOKEN, body("wrong horse")).await.refused(401, "login_failed");
            t.wait(1);
        }
        t.wait(-3_605);
    }
    t.nobody("POST", TOKEN, body("correct horse")).await.is(200);
    // Hashes have their turn in each second again, and no more of them.
    few.nobody("POST", TOKEN, body("wrong horse")).await.refused(401, "login_failed");
    few.nobody("POST", TOKEN, body("wrong horse")).await.refused(429, "too_many_hashes");
}

/// R89: guesses that are being checked take up the places of those that may be wrong, and become wrong only by their outcome.
#[tokio::test]
async fn guesses_that_are_being_checked_are_not_wrong_ones() {
    let t = with_ada().await;
    let guesses = Guesses::new(&["sign-in", "ada@example.com", "192.0.2.1"], TRIES, WINDOW);
    let right = json!({ "email": "ada@example.com", "password": "correct horse" });
    let begin_twelve = async || {
        let mut begun = 0;
        for _ in 0..12 {
            begun += i64::from(guesses.begin(t.db(), t.now()).await.unwrap());
        }
        begun
    };
    // Twelve at once: five are checked, the others wait for their places. All of them were right.
    assert_eq!(begin_twelve().await, TRIES);
    for _ in 0..TRIES {
        guesses.end(t.db(), false, t.now()).await.unwrap();
    }
    assert_eq!(t.number("SELECT count(*) FROM attempts").await, 0);
    t.nobody("POST", TOKEN, right.clone()).await.is(200);
    // Instances that ended while they checked hold no place for long.
    assert_eq!(begin_twelve().await, TRIES);
    t.nobody("POST", TOKEN, right.clone()).await.refused(429, "too_many_attempts");
    t.wait(30);
    t.nobody("POST", TOKEN, right.clone()).await.is(200);
    // Twelve at once, all of them wrong: five were checked, and no more are.
    assert_eq!(begin_twelve().await, TRIES);
    for left in (0..TRIES).rev() {
        guesses.end(t.db(), true, t.now()).await.unwrap();
        let counted = guesses.count(t.db(), t.now()).await.unwrap();
        assert_eq!((counted.wrong, counted.checking), (TRIES - left, left));
        assert_eq!(begin_twelve().await, 0);
    }
    t.nobody("POST", TOKEN, right).await.refused(429, "too_many_attempts");
}

/// R25: naming the tenant gives no second counter.
#[tokio::test]
async fn every_tenant_of_an_address_has_one_throttle() {
    let t = with_ada().await;
    let tenants = [None, Some("main"), None, Some("main"), Some("nowhere"), Some("main")];
    for (number, tenant) in tenants.into_iter().enumerate() {
        let mut body = json!({ "email": "ada@example.com", "password": "wrong horse" });
        if let Some(tenant) = tenant {
            body["tenant"] = json!(tenant);
        }
        t.nobody("POST", TOKEN, body).await.is(if number < 5 { 401 } else { 429 });
    }
}

#[tokio::test]
async fn right_passwords_are_not_counted() {
    let t = with_ada().await;
    for _ in 0..8 {
        t.nobody("POST", TOKEN, json!({ "email": "ada@example.com", "password": "correct horse" })).await.is(200);
    }
}

#[tokio::test]
async fn hashes_of_a_second_are_bounded() {
    let settings = Settings { hashes_per_second: Some(4), ..Default::default() };
    let t = TestApp::with(router(), settings);
    // Three from one network, the fourth from another one, then no more.
    for (number, address, is_let_in) in [
        (0, "192.0.2.1:1", true),
        (1, "192.0.2.1:1", true),
        (3, "192.0.2.1:1", true),
        (2, "192.0.2.1:1", false),
        (4, "192.0.2.7:1", true),
        (5, "192.0.2.8:1", false),
    ] {
        let body = json!({ "email": format!("{number}@example.com"), "password": "x" });
        let answer = t.call("POST", TOKEN, &[("spin-client-addr", address)], body).await;
        if is_let_in {
            answer.is(401)
        } else {
            answer.refused(429, "too_many_hashes")
        };
    }
    let tried = format!("SELECT count(*) FROM attempts WHERE ends_at > {}", t.now().plus_seconds(1).millis());
    assert_eq!(t.number(&tried).await, 8, "a try that was not made leaves nothing; others count twice");
    t.wait(1);
    t.nobody("POST", TOKEN, json!({ "email": "2@example.com", "password": "x" })).await.is(401);
}

/// R26: a broken hash is 500, and the response says nothing of it.
#[tokio::test]
async fn a_broken_hash_is_no_wrong_password() {
    let t = with_ada().await;
    t.execute("UPDATE users SET password_hash = 'broken'").await.unwrap();
    let answer = t.nobody("POST", TOKEN, json!({ "email": "ada@example.com", "password": "correct horse" })).await;
    answer.refused(500, "internal");
    assert!(!answer.text.contains("hash"), "{}", answer.text);
}

#[tokio::test]
async fn an_outdated_hash_is_made_anew() {
    let t = with_ada().await;
    let params = argon2::Params::new(64, 1, 1, None).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let old: argon2::password_hash::phc::PasswordHash =
        argon2::PasswordHasher::hash_password_with_salt(&argon2, b"correct horse", b"0123456789abcdef").unwrap();
    t.execute(&format!("UPDATE users SET password_hash = '{old}'")).await.unwrap();
    t.nobody("POST", TOKEN, json!({ "email": "ada@example.com", "password": "correct horse" })).await.is(200);
    assert!(!password::is_outdated(&t.texts("SELECT password_hash FROM users").await[0]));
}

#[tokio::test]
async fn a_body_of_the_wrong_shape_is_refused_before_anything_is_counted() {
    let t = with_ada().await;
    for body in [
        json!({}),
        json!({ "email": 1, "password": "x" }),
        json!({ "email": "a", "password": "b", "next": "/" }),
        json!([]),
    ] {
        t.nobody("POST", TOKEN, body).await.refused(422, "validation_error");
    }
    assert_eq!(t.number("SELECT count(*) FROM attempts").await, 0);
}

/// R235: where this server sends mail, a wrong password leads to the mail that sets another one, for every address alike; elsewhere to an
/// admin.
#[tokio::test]
async fn a_wrong_password_leads_to_another_one() {
    let mailing = Settings::read(|name| match name {
        "mail_provider" => Some("webhook".to_owned()),
        "public_url" => Some("https://accredit.example".to_owned()),
        _ => None,
    });
    for (settings, has_mail) in [(Settings::default(), false), (mailing.unwrap(), true)] {
        let t = TestApp::with(router(), settings);
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let hash = password::hash("correct horse", &Chance::seeded(9)).unwrap();
        t.execute(&format!("UPDATE users SET password_hash = '{hash}' WHERE id = '{}'", ada.user)).await.unwrap();
        let mut fixes = Vec::new();
        for email in ["ada@example.com", "nobody@example.com"] {
            let body = json!({ "email": email, "password": "wrong horse" });
            fixes.push(t.nobody("POST", TOKEN, body).await.refused(401, "login_failed")["fix"].clone());
        }
        assert_eq!(fixes[0], fixes[1]);
        for (path, body) in [
            ("/auth/password", json!({ "current": "wrong horse", "new": "battery staple" })),
            ("/auth/reauthenticate", json!({ "password": "wrong horse" })),
        ] {
            fixes.push(t.as_(&ada, "POST", path, body).await.refused(403, "wrong_password")["fix"].clone());
        }
        for fix in fixes {
            let fix = fix.as_str().unwrap();
            assert_eq!(fix.contains("POST /auth/forgot"), has_mail, "{fix}");
            assert_eq!(fix.contains("ask an admin"), !has_mail, "{fix}");
        }
    }
}

/// R333: very many wrong passwords from everywhere slow the guesses of strangers down, of an account that there is not alike; the person gets
/// in from a network where their sessions were used.
#[tokio::test]
async fn guesses_from_everywhere_are_slowed_down() {
    let t = with_ada().await;
    let sign_in = async |email: &str, from: &str, password: &str| {
        t.wait(1); // so many hashes in a second
        let body = json!({ "email": email, "password": password });
        t.call("POST", TOKEN, &[("spin-client-addr", from)], body).await
    };
    sign_in("ada@example.com", "192.0.2.1:1", "correct horse").await.is(200);
    t.execute("UPDATE credentials SET last_used_address = '192.0.2.1'").await.unwrap();
    for email in ["ada@example.com", "nobody@example.com"] {
        for _ in 1..TRIES_IN_A_DAY.0 {
            guesses_in_a_day(email).end(t.db(), true, t.now()).await.unwrap();
        }
        sign_in(email, "198.51.100.1:1", "wrong horse").await.refused(401, "login_failed");
        for number in 0..TRIES_BEYOND.0 {
            sign_in(email, &format!("203.0.113.{number}:1"), "wrong horse").await.refused(401, "login_failed");
        }
        let refused = sign_in(email, "203.0.113.99:1", "correct horse").await;
        refused.refused(429, "too_many_attempts");
        assert_eq!(refused.header("retry-after"), "3590");
    }
    sign_in("ada@example.com", "192.0.2.1:1", "wrong horse").await.refused(401, "login_failed");
    sign_in("ada@example.com", "192.0.2.1:1", "correct horse").await.is(200);
    t.wait(24 * 3_600);
    sign_in("ada@example.com", "203.0.113.99:1", "correct horse").await.is(200);
}
