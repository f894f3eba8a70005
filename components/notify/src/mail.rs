//! Mail: its text, its way through a provider's API, and what people may see of the outbox.
//!
//! 1. Whoever has something to tell queues a row of the outbox in the transaction of what it tells of.
//! 2. The tick calls [`send_due`], behind its answer. One instance of all hosts sends at a time, and each row is taken by one
//!    statement, so that two never send the same mail at once.
//! 3. A mail that the provider took is sent. Otherwise it is tried again, later each time, until it is dead; what the provider
//!    refuses for good is dead at once.

use axum::{
    http::{Request, StatusCode, header},
    response::Response,
};
use common::{
    caller::Caller,
    db::DbError,
    error::{ApiError, Code},
    form,
    form::{Ask, Nothing, Params},
    http::{App, Segment, json, log},
    id::MailId,
    idempotency::Answer,
    page::Wanted,
    route,
    secret::Digest,
    settings::{Mail, Provider},
    store::{
        attempt,
        outbox::{self, Due, Kind},
        user,
    },
    write::Begun,
};
use serde::Serialize;
use serde_json::{Value as Json, Value::Null, json};

use crate::outbound;

/// Mails that one call of [`send_due`] sends at most.
const MOST_AT_ONCE: usize = 20;
/// How long one call goes on beginning to send, seconds.
const LONGEST: i64 = 20;
/// How long others leave the sending to whoever has begun it, seconds: [`LONGEST`], one more mail, and a little.
const LEASE: i64 = 45;

/// Mails to oneself in a window.
const TESTS: i64 = 5;
/// The window, seconds.
const WINDOW: i64 = 3_600;

/// What goes out.
struct Letter {
    subject: &'static str,
    text: String,
}

/// Makes a mail's text. It is never stored: a kind that carries a one-time code mints the code here, when it goes out.
fn write(app: &App, due: &Due) -> Letter {
    let of = |member: &str| due.data.get(member).and_then(Json::as_str).unwrap_or_default().to_owned();
    let (subject, told) = match due.kind {
        Kind::Leak => ("A credential was leaked", leak(&of("text"), &of("prefix"), &of("whose"))),
        Kind::Test => {
            ("Mail from Accredit works", "You asked for this mail to see that mail works. It does.".to_owned())
        }
    };
    let from = app.settings().public_url.as_ref().map(|url| format!("\n\n{}{}", url.origin, url.path));
    Letter { subject, text: format!("{told}{}\n", from.unwrap_or_default()) }
}

/// What a leak's mail tells. One that was queued by a release before has no text.
fn leak(text: &str, prefix: &str, whose: &str) -> String {
    match text {
        "" => format!("The credential {prefix}… of {whose} was found in the open and reported. Look at what it did."),
        text => text.to_owned(),
    }
}

/// The provider's request for a letter.
fn request(mail: &Mail, due: &Due, letter: &Letter) -> Result<Request<String>, Failure> {
    let (from, to, subject, text) = (&mail.from, &due.recipient, letter.subject, &letter.text);
    // It was checked when it was stored; what a provider makes of anything else is not ours to find out.
    if user::parse_email(to).as_ref() != Some(to) {
        return Err(Failure { cause: "the address is none that mail can be sent to".to_owned(), is_final: true });
    }
    let (path, body) = match mail.provider {
        Provider::Resend => ("/emails", json!({ "from": from, "to": [to], "subject": subject, "text": text })),
        Provider::Sendgrid => (
            "/v3/mail/send",
            json!({
                "personalizations": [{ "to": [{ "email": to }] }],
                "from": { "email": from },
                "subject": subject,
                "content": [{ "type": "text/plain", "value": text }],
            }),
        ),
        Provider::Postmark => ("/email", json!({ "From": from, "To": to, "Subject": subject, "TextBody": text })),
        Provider::Webhook => ("/", json!({ "from": from, "to": to, "subject": subject, "text": text })),
    };
    let mut request = Request::post(format!("https://{}{path}", mail.host))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json");
    request = match mail.provider {
        Provider::Postmark => request.header("x-postmark-server-token", mail.token.reveal()),
        _ => request.header(header::AUTHORIZATION, format!("Bearer {}", mail.token.reveal())),
    };
    if matches!(mail.provider, Provider::Resend | Provider::Webhook) {
        // Who knows this header does not send twice what we had to ask for twice.
        request = request.header("idempotency-key", due.id.as_str());
    }
    let unusable = |_| Failure { cause: "no request can be made of the settings".to_owned(), is_final: false };
    request.body(body.to_string()).map_err(unusable)
}

/// Why a mail did not go out.
struct Failure {
    /// A few words, of which none is the provider's prose: it might repeat the mail.
    cause: String,
    /// Whether another try would be refused as well.
    is_final: bool,
}

/// What a provider's answer means.
fn judge(provider: Provider, answer: &outbound::Answer) -> Result<(), Failure> {
    let status = answer.status;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let told: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    let word = match provider {
        Provider::Resend => told.get("name").and_then(Json::as_str).map(str::to_owned),
        Provider::Postmark => told.get("ErrorCode").and_then(Json::as_i64).map(|code| format!("ErrorCode {code}")),
        Provider::Sendgrid | Provider::Webhook => None,
    };
    let is_word =
        |word: &String| word.len() <= 40 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b' ');
    let word = word.filter(is_word).map(|word| format!(" {word}")).unwrap_or_default();
    Err(Failure {
        cause: format!("the provider answered {status}{word}"),
        is_final: (400..500).contains(&status) && !matches!(status, 408 | 429),
    })
}

async fn deliver(app: &App, mail: &Mail, due: &Due) -> Result<(), Failure> {
    let request = request(mail, due, &write(app, due))?;
    let answer = outbound::send(request).await.map_err(|cause| {
        let cause: String = cause.replace(|c: char| c.is_control(), " ").chars().take(120).collect();
        Failure { cause: format!("no answer: {cause}"), is_final: false }
    })?;
    judge(mail.provider, &answer)
}

/// Sends what is due, a bounded number of mails, unless somebody else does just now.
pub(crate) async fn send_due(app: &App) -> Result<(), DbError> {
    let Some(mail) = &app.settings().mail else { return Ok(()) };
    let start = app.clock().now();
    let ends = start.plus_seconds(LEASE);
    if !outbox::begin_sending(app.db(), start, ends).await? {
        return Ok(());
    }
    let sending = send_some(app, mail, start.plus_seconds(LONGEST)).await;
    outbox::end_sending(app.db(), ends).await?;
    sending
}

async fn send_some(app: &App, mail: &Mail, until: common::time::Timestamp) -> Result<(), DbError> {
    for _ in 0..MOST_AT_ONCE {
        let now = app.clock().now();
        if now > until {
            break;
        }
        let Some(due) = outbox::take(app.db(), now).await? else { break };
        match deliver(app, mail, &due).await {
            Ok(()) => outbox::sent(app.db(), &due, app.clock().now()).await?,
            Err(failure) => {
                log(app.request_id(), &format!("mail {} try {}", due.id, due.tries), &failure.cause);
                outbox::failed(app.db(), &due, &failure.cause, failure.is_final, app.clock().now()).await?;
            }
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Queued {
    queued: bool,
    id: MailId,
}

/// `POST /api/mail/test`: a mail to the caller's own address, to see that mail works.
pub(crate) async fn test(app: App, caller: Caller, ask: Ask<Nothing>) -> Result<Response, ApiError> {
    if app.settings().mail.is_none() {
        return Err(Code::MailDisabled.into());
    }
    // What was asked before is no further mail.
    if let Some(request) = &ask.kept
        && let Some(answer) = request.replayed(&app, app.db(), &caller).await?
    {
        return Ok(answer);
    }
    let key = Digest::of_parts(&["mail.test", caller.user_id().as_str()]);
    let asked = attempt::count(app.db(), &key, TESTS, app.now(), WINDOW).await?;
    if asked.count > TESTS {
        return Err(ApiError::from(Code::TooManyMails).retry_after(app.now().seconds_until(asked.ends_at)));
    }
    let write = match app.write(route::MAIL_TEST, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let mail = outbox::New {
        tenant: write.caller.tenant_id(),
        user: write.caller.user_id(),
        recipient: write.caller.email(),
        kind: Kind::Test,
        data: &json!({}),
    };
    let id = outbox::queue(&app, &write.tx, &mail).await?;
    let answer = Answer::json(StatusCode::ACCEPTED, &Queued { queued: true, id: id.clone() })?;
    write.finish(id.as_str(), Null, json!({ "kind": Kind::Test }), answer).await
}

form! {
    pub(crate) struct List {
        state: Option<String>,
        limit: Option<i64>,
        cursor: Option<String>,
    }
}

/// `GET /api/mail/outbox?state=`: the tenant's mails, the newest first; never their text.
pub(crate) async fn list(app: App, caller: Caller, Params(ask): Params<List>) -> Result<Response, ApiError> {
    let state = ask.state.as_deref();
    if state.is_some_and(|state| !outbox::STATES.contains(&state)) {
        return Err(Code::InvalidFilter.with("field", "state").with("valid", outbox::STATES.join(", ")));
    }
    let wanted = Wanted::read(&caller, ask.limit, ask.cursor.as_deref(), &[state.unwrap_or("all")])?;
    let rows = outbox::list(app.db(), caller.tenant_id(), state, &wanted).await?;
    json(StatusCode::OK, &wanted.page(rows, |row| (row.created_at, row.id.to_string())))
}

/// `POST /api/mail/outbox/{id}/retry`: makes a dead mail due again. One that is not dead is answered as it is.
pub(crate) async fn retry(
    app: App,
    caller: Caller,
    Segment(id): Segment,
    ask: Ask<Nothing>,
) -> Result<Response, ApiError> {
    outbox::find(app.db(), caller.tenant_id(), &id).await?.ok_or(Code::MailNotFound)?; // early; decided again below
    if app.settings().mail.is_none() {
        return Err(Code::MailDisabled.into());
    }
    let write = match app.write(route::MAIL_RETRY, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let tenant = write.caller.tenant_id();
    if let Some(mail) = outbox::revive(&write.tx, tenant, &id, app.now()).await? {
        let answer = Answer::json(StatusCode::OK, &mail)?;
        return write.finish(&id, json!({ "state": "dead" }), json!({ "state": "due" }), answer).await;
    }
    let mail = outbox::find(&write.tx, tenant, &id).await?.ok_or(Code::MailNotFound)?;
    write.nothing(Answer::json(StatusCode::OK, &mail)?)
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        settings::Settings,
        testing::{Actor, TestApp},
    };

    use super::*;
    use crate::{outbound::stub, with_neighbours};

    const TEST: &str = "/api/mail/test";
    const OUTBOX: &str = "/api/mail/outbox";
    const STATE: &str = "SELECT state || ' ' || tries || ' ' || ifnull(last_error, '-') FROM outbox";

    fn settings(provider: &'static str) -> Settings {
        let read = Settings::read(|name| {
            let value = match name {
                "mail_provider" => provider,
                "mail_host" => "mail.example:8443",
                "mail_from" => "no-reply@example.com",
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
        assert!(stub::sent().is_empty(), "not before the tick");
        for _ in 0..3 {
            tick(&t).await;
        }
        assert_eq!(stub::sent().len(), 1);
        let item = t.as_(&ada, "GET", OUTBOX, Null).await.is(200)["items"][0].clone();
        assert_eq!(
            item,
            json!({
                "id": queued["id"], "kind": "test", "user_id": ada.user, "recipient": "ada@example.com", "state": "sent", "tries": 1,
                "last_error": null, "created_at": "2026-01-02T03:04:05.000Z", "due_at": null, "sent_at": "2026-01-02T03:04:06.000Z",
            })
        );
    }

    /// The requests as the providers' documentation has them.
    #[tokio::test]
    async fn each_provider_is_asked_in_its_own_way() {
        let (subject, text) = (
            "Mail from Accredit works",
            "You asked for this mail to see that mail works. It does.\n\nhttps://accredit.example/acme\n",
        );
        let (from, to) = ("no-reply@example.com", "ada@example.com");
        for (provider, path, body) in [
            ("resend", "/emails", json!({ "from": from, "to": [to], "subject": subject, "text": text })),
            (
                "sendgrid",
                "/v3/mail/send",
                json!({ "personalizations": [{ "to": [{ "email": to }] }], "from": { "email": from }, "subject": subject,
                        "content": [{ "type": "text/plain", "value": text }] }),
            ),
            ("postmark", "/email", json!({ "From": from, "To": to, "Subject": subject, "TextBody": text })),
            ("webhook", "/", json!({ "from": from, "to": to, "subject": subject, "text": text })),
        ] {
            let (t, ada) = stage(provider).await;
            t.as_(&ada, "POST", TEST, Null).await.is(202);
            tick(&t).await;
            let sent = stub::sent().pop().unwrap();
            assert_eq!(sent.uri().to_string(), format!("https://mail.example:8443{path}"));
            assert_eq!(serde_json::from_str::<Json>(sent.body()).unwrap(), body);
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
    async fn a_leak_says_what_was_leaked() {
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
    async fn what_fails_is_tried_again_later_each_time_and_dies_in_the_end() {
        let (t, ada) = stage("webhook").await;
        t.as_(&ada, "POST", TEST, Null).await.is(202);
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
    async fn what_is_refused_for_good_is_dead_at_once_and_says_so_in_few_words() {
        for (provider, body, cause) in [
            ("resend", r#"{"name": "invalid_from_address", "message": "secret t0ken"}"#, " invalid_from_address"),
            ("resend", r#"{"name": "not <a> word"}"#, ""),
            ("postmark", r#"{"ErrorCode": 300, "Message": "Invalid 'From'"}"#, " ErrorCode 300"),
            ("webhook", r#"{"name": "t0ken"}"#, ""),
            ("sendgrid", "no JSON", ""),
        ] {
            let (t, ada) = stage(provider).await;
            t.as_(&ada, "POST", TEST, Null).await.is(202);
            stub::will_answer(&[Ok((422, body))]);
            tick(&t).await;
            assert_eq!(t.texts(STATE).await, [format!("dead 1 the provider answered 422{cause}")]);
        }
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_not_sent_to() {
        let (t, ada) = stage("webhook").await;
        t.as_(&ada, "POST", TEST, Null).await.is(202);
        t.execute(
            "UPDATE outbox SET recipient = 'a@example.com, b@example.com' || char(13, 10) || 'bcc: c@example.com'",
        )
        .await
        .unwrap();
        tick(&t).await;
        assert!(stub::sent().is_empty());
        assert_eq!(t.texts("SELECT state FROM outbox").await, ["dead"]);
    }

    #[tokio::test]
    async fn a_dead_mail_can_be_made_due_again() {
        let (t, ada) = stage("webhook").await;
        let id = t.as_(&ada, "POST", TEST, Null).await.is(202)["id"].as_str().unwrap().to_owned();
        let retry = format!("{OUTBOX}/{id}/retry");
        assert_eq!(t.as_(&ada, "POST", &retry, Null).await.is(200)["state"], "due", "as it is");
        stub::will_answer(&[Ok((400, ""))]);
        tick(&t).await;
        let states = async |state: &str| {
            t.as_(&ada, "GET", &format!("{OUTBOX}?state={state}"), Null).await.is(200)["items"]
                .as_array()
                .unwrap()
                .len()
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
    async fn mails_of_others_are_absent() {
        let (t, ada) = stage("webhook").await;
        let id = t.as_(&ada, "POST", TEST, Null).await.is(202)["id"].as_str().unwrap().to_owned();
        let other = t.tenant("other").await;
        let eve = t.user(&other, "eve@example.com", Role::Admin).await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Curator).await;
        assert_eq!(t.as_(&eve, "GET", OUTBOX, Null).await.is(200)["items"], json!([]));
        let mut bodies = Vec::new();
        for id in [id.as_str(), "out_nothing"] {
            let mut body =
                t.as_(&eve, "POST", &format!("{OUTBOX}/{id}/retry"), Null).await.refused(404, "mail_not_found");
            body["request_id"] = Null;
            bodies.push(body);
        }
        assert_eq!(bodies[0], bodies[1]);
        t.as_(&max, "GET", OUTBOX, Null).await.refused(403, "scope_denied");
        t.as_(&max, "POST", TEST, Null).await.is(202);
    }

    #[tokio::test]
    async fn five_mails_to_oneself_in_an_hour_and_a_repeated_one_is_no_further_one() {
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
        // What is there can still be seen.
        assert_eq!(t.as_(&ada, "GET", OUTBOX, Null).await.is(200)["items"][0]["state"], "dead");
        tick(&t).await;
        assert!(stub::sent().is_empty());
    }

    /// A crash between the lease and the answer: the row is free again when its lease is over, and so is the sending.
    #[tokio::test]
    async fn what_a_sender_left_behind_is_sent_by_the_next_one() {
        let (t, ada) = stage("webhook").await;
        t.as_(&ada, "POST", TEST, Null).await.is(202);
        assert!(outbox::begin_sending(t.db(), t.now(), t.now().plus_seconds(LEASE)).await.unwrap());
        outbox::take(t.db(), t.now()).await.unwrap().unwrap();
        assert!(outbox::take(t.db(), t.now()).await.unwrap().is_none(), "one taker at a time");
        t.wait(58);
        tick(&t).await;
        assert!(stub::sent().is_empty());
        tick(&t).await;
        assert_eq!(stub::sent().len(), 1);
        assert_eq!(t.texts(STATE).await, ["sent 2 -"]);
    }

    /// Who was slower than his lease changes nothing of what the next sender did.
    #[tokio::test]
    async fn a_late_failure_does_not_undo_what_came_after_it() {
        let (t, ada) = stage("webhook").await;
        t.as_(&ada, "POST", TEST, Null).await.is(202);
        let late = outbox::take(t.db(), t.now()).await.unwrap().unwrap();
        t.wait(61);
        tick(&t).await;
        outbox::failed(t.db(), &late, "late", true, t.now()).await.unwrap();
        assert_eq!(t.texts(STATE).await, ["sent 2 -"]);
    }

    #[tokio::test]
    async fn one_tick_sends_so_many_and_the_next_one_the_rest() {
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
        // A kind that this release does not know waits for the one that does.
        assert_eq!(t.texts("SELECT kind FROM outbox WHERE state = 'due'").await, ["of_tomorrow"]);
    }

    #[tokio::test]
    async fn old_rows_are_purged() {
        let (t, ada) = stage("webhook").await;
        for _ in 0..2 {
            t.as_(&ada, "POST", TEST, Null).await.is(202);
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
        assert!(left().await.is_empty());
    }
}
