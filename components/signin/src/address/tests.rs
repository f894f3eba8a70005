use common::{id::UserId, role::Role, secret};
use service::{
    link,
    settings::Settings,
    testing::{Actor, TestApp},
};
use store::db::Purpose;

use super::*;
use crate::router;

const PATH: &str = "/auth/email";
const CONFIRM: &str = "/auth/email/confirm";

async fn stage() -> (TestApp, Actor) {
    let settings = Settings::read(|name| match name {
        "mail_provider" => Some("webhook".to_owned()),
        "public_url" => Some("https://accredit.example".to_owned()),
        _ => None,
    });
    let t = TestApp::with(router(), settings.unwrap());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    (t, ada)
}

/// The code that a mail to this address would have, as the worker makes it; `None`: it would not be sent.
async fn mailed(t: &TestApp, who: &Actor, email: &str) -> Option<String> {
    let app = t.app();
    let tx = t.db().begin(Purpose::Entry).await.unwrap();
    let base = ("https://accredit.example", email);
    let link = link::mint_for_address(&app, &tx, (&who.tenant, &who.user), base).await.unwrap();
    tx.commit().await.unwrap();
    let url = link?.url;
    assert!(url.starts_with("https://accredit.example/security/address?code="), "{url}");
    Some(url.split_once("code=").unwrap().1.split('&').next().unwrap().to_owned())
}

async fn email_of(t: &TestApp, user: &UserId) -> String {
    t.texts(&format!("SELECT email || ' ' || email_key FROM users WHERE id = '{user}'")).await.remove(0)
}

async fn prove(t: &TestApp) {
    t.execute(&format!("UPDATE credentials SET proved_at = {} WHERE kind = 'session'", t.now().millis()))
        .await
        .unwrap();
}

/// R217: asking changes nothing, and is one answer and one amount of work for taken addresses and free ones.
#[tokio::test]
async fn a_taken_and_a_free_address_are_one_answer_and_one_amount_of_work() {
    let (t, ada) = stage().await;
    t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    // The first change of a session also notes that it was used.
    t.as_(&ada, "POST", PATH, json!({ "email": "first@example.com" })).await.is(202);
    let mut seen = Vec::new();
    for email in ["eve@example.com", "new@example.com"] {
        t.execute("DELETE FROM attempts").await.unwrap();
        let before = t.db().statements();
        let answer = t.as_(&ada, "POST", PATH, json!({ "email": email })).await;
        let body = answer.is(202);
        assert_eq!(body["email"], email);
        let mut headers = answer.headers.clone();
        headers.remove("x-request-id");
        seen.push((t.db().statements() - before, headers, body["asked_at"].clone(), body["expires_at"].clone()));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(email_of(&t, &ada.user).await, "ada@example.com ada@example.com");
    let queued = "SELECT recipient || ' ' || kind || ' ' || state || ' ' || (data ->> 'was') || ' ' || (data ->> 'base') FROM outbox";
    assert_eq!(
        t.texts(queued).await,
        ["new@example.com new_address due ada@example.com https://accredit.example"],
        "the newer one took the place of the other"
    );
    let shown = t.as_(&ada, "GET", PATH, Null).await.is(200);
    assert_eq!((&shown["email"], &shown["pending"]["email"]), (&json!("ada@example.com"), &json!("new@example.com")));
}

/// R717: a member whose new address was given away meanwhile is told what a member can do.
#[tokio::test]
async fn a_taken_address_has_a_step_for_a_member() {
    let (t, ada) = stage().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    t.as_(&max, "POST", PATH, json!({ "email": "new@example.com" })).await.is(202);
    let code = mailed(&t, &max, "new@example.com").await.unwrap();
    t.user(&ada.tenant, "new@example.com", Role::Member).await;
    let refused = t.as_(&max, "POST", CONFIRM, json!({ "code": code })).await.refused(409, "email_taken");
    let fix = "Ask for another address with POST /auth/email, or ask an admin of your tenant who has this one.";
    assert_eq!(refused["fix"], fix);
}

/// R244: a person changes what they are called, in a session, by the rules of names.
#[tokio::test]
async fn a_person_changes_their_own_name() {
    let (t, ada) = stage().await;
    t.as_(&ada, "POST", "/auth/name", json!({ "name": " Ada Lovelace " })).await.is(204);
    assert_eq!(t.as_(&ada, "GET", PATH, Null).await.is(200)["name"], "Ada Lovelace");
    let rows = "SELECT object_id || ' ' || after FROM audit WHERE action = 'user.change_name'";
    assert_eq!(t.texts(rows).await, [format!("{} {{\"name\":\"Ada Lovelace\"}}", ada.user)]);
    t.as_(&ada, "POST", "/auth/name", json!({ "name": "Ada Lovelace" })).await.is(204);
    assert_eq!(t.texts(rows).await.len(), 1, "nothing has changed");
    for (body, status, slug) in [
        (json!({}), 422, "validation_error"),
        (json!({ "name": "  " }), 400, "invalid_text"),
        (json!({ "name": "x".repeat(65) }), 400, "invalid_text"),
        (json!({ "name": "A", "role": "admin" }), 422, "validation_error"),
    ] {
        t.as_(&ada, "POST", "/auth/name", body).await.refused(status, slug);
    }
    let scout = t.agent(&ada, "scout", "*").await;
    t.as_(&scout, "POST", "/auth/name", json!({ "name": "Eve" })).await.refused(403, "session_required");
}

/// R217: another way of writing the own address is no other address, and what is none is refused as everywhere; neither is counted.
#[tokio::test]
async fn the_own_address_however_it_is_written_is_refused() {
    let (t, ada) = stage().await;
    let zoe = t.user(&ada.tenant, "zo\u{eb}@b\u{fc}cher.example", Role::Member).await;
    for same in [
        "zo\u{eb}@b\u{fc}cher.example",
        " ZO\u{cb}@B\u{dc}CHER.example ",
        "zoe\u{308}@xn--bcher-kva.example",
        "Zo\u{eb}@XN--BCHER-KVA.EXAMPLE",
    ] {
        t.as_(&zoe, "POST", PATH, json!({ "email": same })).await.refused(409, "same_email");
    }
    for (body, status, slug) in [
        (json!({}), 422, "validation_error"),
        (json!({ "email": 1 }), 422, "validation_error"),
        (json!({ "email": "zoe@example.com", "tenant": "main" }), 422, "validation_error"),
        (json!({ "email": "zoe" }), 400, "invalid_email"),
        (json!({ "email": "a@example.com, b@example.com" }), 400, "invalid_email"),
        (json!({ "email": "zoe@example.com\r\nbcc: eve@example.com" }), 400, "invalid_email"),
    ] {
        t.as_(&zoe, "POST", PATH, body).await.refused(status, slug);
    }
    let all = "SELECT (SELECT count(*) FROM codes) + (SELECT count(*) FROM outbox) + (SELECT count(*) FROM attempts)";
    assert_eq!(t.number(all).await, 0);
    let without = TestApp::new(router());
    let tenant = without.tenant("main").await;
    let max = without.user(&tenant, "max@example.com", Role::Member).await;
    without.as_(&max, "POST", PATH, json!({ "email": "new@example.com" })).await.refused(503, "mail_disabled");
}

/// R7, R217: a session alone, whose person has proved lately who they are. Its code opens nothing for others, and stays unspent.
#[tokio::test]
async fn only_the_session_of_the_person_asks_and_confirms() {
    let (t, ada) = stage().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let pat = t.credential(secret::Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    let scout = t.agent(&ada, "scout", "*").await;
    let ask = json!({ "email": "new@example.com" });
    for actor in [&pat, &scout] {
        t.as_(actor, "POST", PATH, ask.clone()).await.refused(403, "session_required");
    }
    t.nobody("POST", PATH, ask.clone()).await.refused(401, "missing_credential");
    t.wait(900);
    t.as_(&ada, "POST", PATH, ask.clone()).await.refused(403, "reauthentication_required");
    assert_eq!(t.number("SELECT count(*) FROM codes").await, 0);
    prove(&t).await;
    t.as_(&ada, "POST", PATH, ask).await.is(202);
    let code = json!({ "code": mailed(&t, &ada, "new@example.com").await.unwrap() });
    for actor in [&pat, &scout] {
        t.as_(actor, "POST", CONFIRM, code.clone()).await.refused(403, "session_required");
        t.as_(actor, "DELETE", PATH, Null).await.refused(403, "session_required");
        t.as_(actor, "GET", PATH, Null).await.refused(403, "session_required");
    }
    t.nobody("POST", CONFIRM, code.clone()).await.refused(401, "missing_credential");
    let refused = t.as_(&eve, "POST", CONFIRM, code.clone()).await;
    refused.refused(400, "invalid_code");
    let unknown = t.as_(&eve, "POST", CONFIRM, json!({ "code": "x" })).await;
    assert_eq!(refused.is(400)["fix"], unknown.is(400)["fix"]);
    // No fresh proof any more: the code is one.
    t.wait(900);
    t.as_(&ada, "POST", CONFIRM, code).await.is(204);
    assert_eq!(email_of(&t, &ada.user).await, "new@example.com new@example.com");
    assert_eq!(email_of(&t, &eve.user).await, "eve@example.com eve@example.com");
}

/// R217: what ends the wish ends its code, and its mail is not sent.
#[tokio::test]
async fn a_code_ends_by_time_with_a_newer_one_and_with_what_ends_other_codes() {
    let (t, ada) = stage().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let ask = async |email: &str| {
        t.execute("DELETE FROM attempts").await.unwrap();
        prove(&t).await;
        t.as_(&eve, "POST", PATH, json!({ "email": email })).await.is(202);
    };
    let confirm = async |code: &str| t.as_(&eve, "POST", CONFIRM, json!({ "code": code })).await;
    // A newer one.
    ask("one@example.com").await;
    let first = mailed(&t, &eve, "one@example.com").await.unwrap();
    ask("two@example.com").await;
    assert_eq!(mailed(&t, &eve, "one@example.com").await, None, "the first mail is not sent any more");
    confirm(&first).await.refused(400, "invalid_code");
    // A mail that is tried again has another code.
    let lost = mailed(&t, &eve, "two@example.com").await.unwrap();
    let second = mailed(&t, &eve, "two@example.com").await.unwrap();
    confirm(&lost).await.refused(400, "invalid_code");
    // Withdrawn, once.
    t.as_(&eve, "DELETE", PATH, Null).await.is(204);
    t.as_(&eve, "DELETE", PATH, Null).await.is(204);
    confirm(&second).await.refused(400, "invalid_code");
    assert_eq!(t.number("SELECT (SELECT count(*) FROM codes) + (SELECT count(*) FROM outbox)").await, 0);
    // After a day.
    ask("three@example.com").await;
    let third = mailed(&t, &eve, "three@example.com").await.unwrap();
    let ends = t.number("SELECT expires_at FROM codes").await;
    assert_eq!(ends, t.now().plus_seconds(24 * 3_600).millis());
    t.execute(&format!("UPDATE codes SET expires_at = {}", t.now().millis())).await.unwrap();
    confirm(&third).await.refused(400, "invalid_code");
    assert_eq!(t.as_(&eve, "GET", PATH, Null).await.is(200)["pending"], Null);
    // Another password, another address by an admin, a deactivation.
    for end in ["password_hash = 'x'", "email_key = 'eva@example.com'", "deactivated_at = 1"] {
        ask("four@example.com").await;
        let code = mailed(&t, &eve, "four@example.com").await.unwrap();
        t.execute(&format!("UPDATE users SET {end} WHERE id = '{}'", eve.user)).await.unwrap();
        t.execute("UPDATE users SET deactivated_at = NULL").await.unwrap();
        confirm(&code).await.refused(400, "invalid_code");
        assert_eq!(mailed(&t, &eve, "four@example.com").await, None, "{end}");
    }
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'user.ask_email'").await, 6);
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'user.withdraw_email'").await, 1);
    assert_eq!(t.number("SELECT count(*) FROM audit").await, 7);
}

/// R217: a person asks for few mails, to whatever addresses; an address gets few, however many people ask.
#[tokio::test]
async fn the_mails_are_bounded_by_person_address_and_network() {
    let (t, ada) = stage().await;
    let ask = async |who: &Actor, email: &str| t.as_(who, "POST", PATH, json!({ "email": email })).await;
    for number in 0..5 {
        ask(&ada, &format!("n{number}@example.com")).await.is(202);
    }
    let refused = ask(&ada, "n6@example.com").await;
    refused.refused(429, "too_many_mails");
    assert_eq!(refused.header("retry-after"), "3600");
    // It is the same counter as that of the other mails to an address.
    for _ in 0..4 {
        t.nobody("POST", "/auth/email/link", json!({ "email": "n0@example.com" })).await.is(204);
    }
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    ask(&eve, "N0@example.com").await.refused(429, "too_many_mails");
    ask(&eve, "n7@example.com").await.is(202);
}
