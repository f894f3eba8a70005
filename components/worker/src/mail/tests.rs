use common::role::Role;
use service::{
    outbound::stub,
    settings::Settings,
    testing::{Actor, TestApp},
};
use store::db::Purpose;

use super::*;
use crate::with_neighbours;

const TEST: &str = "/api/mail/test";
const OUTBOX: &str = "/api/mail/outbox";
const STATE: &str = "SELECT state || ' ' || tries || ' ' || ifnull(last_error, '-') FROM outbox";

pub(crate) fn settings(provider: &'static str) -> Settings {
    let read = Settings::read(|name| {
        let value = match name {
            "mail_provider" => provider,
            "mail_host" => "mail.example:8443",
            "mail_from" => "Accredit <no-reply@example.com>",
            "mail_token" => "t0ken",
            "public_url" => "https://accredit.example/acme",
            _ => return None,
        };
        Some(value.to_owned())
    });
    read.unwrap()
}

async fn stage(provider: &'static str) -> (TestApp, Actor) {
    let t = TestApp::with(with_neighbours(), settings(provider));
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    (t, ada)
}

/// Queues a mail, as a change of another component does.
async fn queue(t: &TestApp, to: &Actor) -> String {
    let tx = t.db().begin(Purpose::Durable).await.unwrap();
    let (tenant, user, data) = (&to.tenant, &to.user, &json!({}));
    let mail = outbox::New { tenant, user, recipient: "ada@example.com", kind: Kind::Test, data };
    let id = outbox::queue(&tx, &mail, t.chance(), t.now()).await.unwrap();
    tx.commit().await.unwrap();
    id.to_string()
}

async fn tick(t: &TestApp) {
    t.wait(1);
    t.nobody("POST", "/internal/tick", Null).await.is(204);
}

#[tokio::test]
async fn a_mail_is_queued_audited_and_sent_once() {
    let (t, ada) = stage("webhook").await;
    let queued = t.as_(&ada, "POST", TEST, Null).await.is(202);
    assert_eq!(queued["queued"], true);
    assert_eq!(t.texts("SELECT id FROM outbox").await, [queued["id"].as_str().unwrap()]);
    assert_eq!(
        t.texts("SELECT object_id FROM audit WHERE action = 'mail.test'").await,
        t.texts("SELECT id FROM outbox").await
    );
    // At once, and not again.
    assert_eq!(stub::sent().len(), 1);
    for _ in 0..3 {
        tick(&t).await;
    }
    assert!(stub::sent().is_empty());
    let item = t.as_(&ada, "GET", OUTBOX, Null).await.is(200)["items"][0].clone();
    assert_eq!(
        item,
        json!({
            "id": queued["id"], "kind": "test", "user_id": ada.user, "recipient": "ada@example.com", "state": "sent", "tries": 1,
            "last_error": null, "created_at": "2026-01-02T03:04:05.000Z", "due_at": null, "sent_at": "2026-01-02T03:04:05.000Z",
        })
    );
}

/// The requests are those of the providers' documentation.
#[tokio::test]
async fn each_provider_gets_requests_of_its_own_form() {
    let (subject, text) = (
        "Mail from Accredit works",
        "You requested this mail to test whether mail works. It does.\n\n-- \nAccredit at accredit.example/acme, tenant main\nhttps://accredit.example/acme\n",
    );
    let (from, to) = ("\"Accredit\" <no-reply@example.com>", "ada@example.com");
    let auto = json!({ "Auto-Submitted": "auto-generated" });
    for (provider, path, body) in [
        (
            "resend",
            "/emails",
            json!({ "from": from, "to": [to], "subject": subject, "text": text, "html": null, "headers": auto }),
        ),
        (
            "sendgrid",
            "/v3/mail/send",
            json!({
                "personalizations": [{ "to": [{ "email": to }] }], "from": { "email": "no-reply@example.com", "name": "Accredit" }, "subject": subject,
                "headers": auto,
                "content": [{ "type": "text/plain", "value": text }, { "type": "text/html", "value": null }],
                "tracking_settings": {
                    "click_tracking": { "enable": false, "enable_text": false }, "open_tracking": { "enable": false },
                },
            }),
        ),
        (
            "postmark",
            "/email",
            json!({
                "From": from, "To": to, "Subject": subject, "TextBody": text, "HtmlBody": null, "TrackOpens": false,
                "TrackLinks": "None", "Headers": [{ "Name": "Auto-Submitted", "Value": "auto-generated" }],
            }),
        ),
        ("webhook", "/", json!({ "from": from, "to": to, "subject": subject, "text": text, "html": null })),
    ] {
        let (t, ada) = stage(provider).await;
        queue(&t, &ada).await;
        tick(&t).await;
        let sent = stub::sent().pop().unwrap();
        assert_eq!(sent.uri().to_string(), format!("https://mail.example:8443{path}"));
        let mut told: Json = serde_json::from_str(sent.body()).unwrap();
        let at = match provider {
            "sendgrid" => "/content/1/value",
            "postmark" => "/HtmlBody",
            _ => "/html",
        };
        let html = told.pointer_mut(at).unwrap().take();
        assert!(html.as_str().unwrap().contains("<p style="), "{html}");
        assert_eq!(told, body);
        assert_eq!(sent.headers().get("content-length").unwrap(), &sent.body().len().to_string());
        let header = |name: &str| sent.headers().get(name).map(|value| value.to_str().unwrap());
        match provider {
            "postmark" => {
                assert_eq!((header("x-postmark-server-token"), header("authorization")), (Some("t0ken"), None))
            }
            _ => assert_eq!(header("authorization"), Some("Bearer t0ken")),
        }
    }
}

#[tokio::test]
async fn the_mail_of_a_leak_names_the_credential() {
    let (t, ada) = stage("webhook").await;
    t.execute(&format!(
        "INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, due_at, created_at)
         VALUES ('out_a', '{}', '{}', 'leak', 'ada@example.com', '{{\"whose\": \"the agent scout\", \"prefix\": \"acr_agt_01234567\"}}', 0, 0)",
        ada.tenant, ada.user
    ))
    .await
    .unwrap();
    tick(&t).await;
    let sent = stub::sent().pop().unwrap();
    assert!(sent.body().contains("acr_agt_01234567… of the agent scout"), "{}", sent.body());
}

#[tokio::test]
async fn a_failed_mail_is_tried_again_later_each_time_until_it_is_dead() {
    let (t, ada) = stage("webhook").await;
    queue(&t, &ada).await;
    stub::will_answer(&[
        Ok((500, "oops")),
        Err("ConnectionTimeout"),
        Ok((429, "")),
        Ok((408, "")),
        Ok((302, "")),
        Ok((503, "")),
        Ok((500, "")),
        Ok((500, "")),
    ]);
    tick(&t).await;
    assert_eq!(t.texts(STATE).await, ["due 1 the provider answered 500"]);
    let due = t.as_(&ada, "GET", OUTBOX, Null).await.is(200)["items"][0]["due_at"].clone();
    assert_eq!(due, t.now().plus_seconds(60).to_string());
    t.wait(58);
    tick(&t).await;
    assert_eq!(stub::sent().len(), 1, "not before its time");
    tick(&t).await;
    assert_eq!(t.texts(STATE).await, ["due 2 no answer: ConnectionTimeout"]);
    for tries in 3..=8 {
        assert_eq!(t.number("SELECT count(*) FROM outbox WHERE state = 'due'").await, 1, "{tries}");
        t.wait(3600);
        tick(&t).await;
    }
    assert_eq!(t.texts(STATE).await, ["dead 8 the provider answered 500"]);
    t.wait(86_400);
    tick(&t).await;
    assert_eq!(stub::sent().len(), 7);
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_is_dead_at_once_with_a_short_cause() {
    for (provider, body, cause) in [
        ("resend", r#"{"name": "invalid_from_address", "message": "secret t0ken"}"#, " invalid_from_address"),
        ("resend", r#"{"name": "not <a> word"}"#, ""),
        ("postmark", r#"{"ErrorCode": 300, "Message": "Invalid 'From'"}"#, " ErrorCode 300"),
        ("webhook", r#"{"name": "t0ken"}"#, ""),
        ("sendgrid", "no JSON", ""),
    ] {
        let (t, ada) = stage(provider).await;
        queue(&t, &ada).await;
        stub::will_answer(&[Ok((422, body))]);
        tick(&t).await;
        assert_eq!(t.texts(STATE).await, [format!("dead 1 the provider answered 422{cause}")]);
    }
}

#[tokio::test]
async fn no_mail_goes_to_a_text_that_is_no_address() {
    let (t, ada) = stage("webhook").await;
    queue(&t, &ada).await;
    t.execute("UPDATE outbox SET recipient = 'a@example.com, b@example.com' || char(13, 10) || 'bcc: c@example.com'")
        .await
        .unwrap();
    tick(&t).await;
    assert!(stub::sent().is_empty());
    assert_eq!(t.texts("SELECT state FROM outbox").await, ["dead"]);
}

#[tokio::test]
async fn a_dead_mail_can_be_made_due_again() {
    let (t, ada) = stage("webhook").await;
    let id = queue(&t, &ada).await;
    let retry = format!("{OUTBOX}/{id}/retry");
    // What is due is sent after the answer.
    stub::will_answer(&[Ok((400, ""))]);
    assert_eq!(t.as_(&ada, "POST", &retry, Null).await.is(200)["state"], "due", "as it is");
    tick(&t).await;
    let states = async |state: &str| {
        t.as_(&ada, "GET", &format!("{OUTBOX}?state={state}"), Null).await.is(200)["items"].as_array().unwrap().len()
    };
    assert_eq!((states("due").await, states("sent").await, states("dead").await), (0, 0, 1));
    let due = t.as_(&ada, "POST", &retry, Null).await.is(200);
    assert_eq!((&due["state"], &due["tries"]), (&json!("due"), &json!(0)));
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'mail.retry'").await, 1);
    tick(&t).await;
    assert_eq!(states("sent").await, 1);
    assert_eq!(t.as_(&ada, "POST", &retry, Null).await.is(200)["state"], "sent");
    t.as_(&ada, "GET", &format!("{OUTBOX}?state=lost"), Null).await.refused(400, "invalid_filter");
}

#[tokio::test]
async fn mails_of_other_tenants_are_absent() {
    let (t, ada) = stage("webhook").await;
    let id = t.as_(&ada, "POST", TEST, Null).await.is(202)["id"].as_str().unwrap().to_owned();
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Curator).await;
    assert_eq!(t.as_(&eve, "GET", OUTBOX, Null).await.is(200)["items"], json!([]));
    let mut bodies = Vec::new();
    for id in [id.as_str(), "out_nothing"] {
        let mut body = t.as_(&eve, "POST", &format!("{OUTBOX}/{id}/retry"), Null).await.refused(404, "mail_not_found");
        body["request_id"] = Null;
        bodies.push(body);
    }
    assert_eq!(bodies[0], bodies[1]);
    t.as_(&max, "GET", OUTBOX, Null).await.refused(403, "scope_denied");
    t.as_(&max, "POST", TEST, Null).await.is(202);
}

#[tokio::test]
async fn five_test_mails_in_an_hour_and_a_repeated_request_is_no_further_one() {
    let (t, ada) = stage("webhook").await;
    let bearer = format!("Bearer {}", ada.token);
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "once")];
    let first = t.call("POST", TEST, &headers, Null).await.is(202);
    for _ in 0..9 {
        assert_eq!(t.call("POST", TEST, &headers, Null).await.is(202), first);
    }
    for _ in 0..4 {
        t.as_(&ada, "POST", TEST, Null).await.is(202);
    }
    let refused = t.as_(&ada, "POST", TEST, Null).await;
    refused.refused(429, "too_many_mails");
    assert_eq!(refused.header("retry-after"), "3600");
    assert_eq!(t.number("SELECT count(*) FROM outbox").await, 5);
    t.wait(3600);
    t.as_(&ada, "POST", TEST, Null).await.is(202);
}

#[tokio::test]
async fn without_settings_there_is_no_mail() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    t.execute(&format!(
        "INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, state, due_at, created_at)
         VALUES ('out_a', '{tenant}', '{}', 'test', 'ada@example.com', '{{}}', 'dead', 9e15, 0)",
        ada.user
    ))
    .await
    .unwrap();
    for path in [TEST, "/api/mail/outbox/out_a/retry"] {
        let refused = t.as_(&ada, "POST", path, Null).await.refused(503, "mail_disabled");
        for name in ["mail_provider", "mail_from", "mail_token"] {
            assert!(refused["fix"].as_str().unwrap().contains(name), "{refused}");
        }
    }
    t.as_(&ada, "POST", "/api/mail/outbox/out_b/retry", Null).await.refused(404, "mail_not_found");
    // The outbox can still be read.
    assert_eq!(t.as_(&ada, "GET", OUTBOX, Null).await.is(200)["items"][0]["state"], "dead");
    tick(&t).await;
    assert!(stub::sent().is_empty());
}

/// A crash between the lease and the answer: the row and the sending are free again when their leases are over.
#[tokio::test]
async fn a_mail_that_a_crashed_sender_took_is_sent_by_the_next_one() {
    let (t, ada) = stage("webhook").await;
    queue(&t, &ada).await;
    assert!(outbox::begin_sending(t.db(), t.now(), t.now().plus_seconds(LEASE)).await.unwrap());
    assert_eq!(outbox::take(t.db(), t.now()).await.unwrap().len(), 1);
    assert!(outbox::take(t.db(), t.now()).await.unwrap().is_empty(), "one taker at a time");
    t.wait(58);
    tick(&t).await;
    assert!(stub::sent().is_empty());
    tick(&t).await;
    assert_eq!(stub::sent().len(), 1);
    assert_eq!(t.texts(STATE).await, ["sent 2 -"]);
}

/// A sender that was slower than its lease changes nothing of what the next sender did.
#[tokio::test]
async fn a_late_failure_does_not_undo_what_came_after_it() {
    let (t, ada) = stage("webhook").await;
    queue(&t, &ada).await;
    let late = outbox::take(t.db(), t.now()).await.unwrap().pop().unwrap();
    t.wait(61);
    tick(&t).await;
    outbox::failed(t.db(), &late, "late", true, t.now()).await.unwrap();
    assert_eq!(t.texts(STATE).await, ["sent 2 -"]);
}

#[tokio::test]
async fn one_tick_sends_a_bounded_number_and_the_next_one_the_rest() {
    let (t, ada) = stage("webhook").await;
    t.execute(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25)
         INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, due_at, created_at)
         SELECT 'out_' || i, '{}', '{}', iif(i = 25, 'of_tomorrow', 'test'), 'ada@example.com', '{{}}', 0, 0 FROM n",
        ada.tenant, ada.user
    ))
    .await
    .unwrap();
    tick(&t).await;
    assert_eq!(stub::sent().len(), 20);
    tick(&t).await;
    assert_eq!(stub::sent().len(), 4);
    // A kind that this release does not know waits for a release that does.
    assert_eq!(t.texts("SELECT kind FROM outbox WHERE state = 'due'").await, ["of_tomorrow"]);
}

#[tokio::test]
async fn old_rows_are_purged() {
    let (t, ada) = stage("webhook").await;
    for _ in 0..2 {
        queue(&t, &ada).await;
    }
    stub::will_answer(&[Ok((400, ""))]);
    tick(&t).await;
    let left = async || t.texts("SELECT state FROM outbox ORDER BY state").await;
    t.wait(6 * 86_400);
    tick(&t).await;
    assert_eq!(left().await, ["dead", "sent"]);
    t.wait(86_400);
    tick(&t).await;
    assert_eq!(left().await, ["dead"]);
    t.wait(23 * 86_400);
    tick(&t).await;
    // R623
    assert_eq!(left().await, ["dead"], "there was no tick for long");
    t.wait(3_600);
    tick(&t).await;
    assert!(left().await.is_empty());
}

/// R313: in a full database what came of a letter is written all the same: none goes out twice, and one that fails ends.
#[tokio::test]
async fn a_full_database_mails_nothing_twice() {
    let t = TestApp::with(with_neighbours(), Settings { database_max_mib: Some(1), ..settings("webhook") });
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    queue(&t, &ada).await;
    queue(&t, &ada).await;
    // What is written needs a page that is not there.
    rusqlite::Connection::open(t.path())
        .unwrap()
        .execute_batch(
            "CREATE TABLE filler (x BLOB); INSERT INTO filler VALUES (zeroblob(20000000));
             CREATE TRIGGER fills AFTER UPDATE OF state ON outbox BEGIN INSERT INTO filler VALUES (zeroblob(5000)); END",
        )
        .unwrap();
    stub::will_answer(&[Ok((200, "")), Ok((400, ""))]);
    for _ in 0..3 {
        tick(&t).await;
        t.wait(3_600);
    }
    assert_eq!(stub::sent().len(), 2);
    let mut state = t.texts(STATE).await;
    state.sort();
    assert_eq!(state, ["dead 1 the provider answered 400", "sent 1 -"]);
}
