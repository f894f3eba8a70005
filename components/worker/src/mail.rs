//! Mail: how it is sent through a provider's API, and the part of the outbox that people may see. `letter.rs` has the texts.
//!
//! 1. A change that sends a mail queues a row of the outbox in its own transaction.
//! 2. The tick calls [`send_due`] after its response, each time that it is called: a component that has queued a mail calls the tick, which
//!    may have run in the same second. One instance of all hosts sends at a time, and each row is taken by one statement, so that two
//!    never send the same mail at once.
//! 3. A person gets at most one letter an hour of the kinds that can wait, with all that has come meanwhile.
//! 4. A mail that the provider accepted is sent. Otherwise it is tried again, later each time, until it is dead; a mail that the
//!    provider refuses for good is dead at once.

use common::{
    email,
    error::{ApiError, Code},
    id::MailId,
    secret::Digest,
    text::part,
    time::Timestamp,
};
use http::{Request, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, Value::Null, json};
use service::{
    app::{App, log},
    caller::Caller,
    change::{Answer, Change},
    extract::{Body, Empty, Path, Query},
    form,
    form::PageQuery,
    outbound,
    response::{Response, json},
    settings::{Mail, Provider},
};
use store::{
    attempt,
    db::DbError,
    mail_request,
    outbox::{self, DueMail, Kind},
};

use crate::{
    deliver::no_answer,
    letter::{self, Failure, Letter},
};

/// Bytes that are read of a provider's answer at most.
const MOST_READ: usize = 4 * 1024;
/// Mails that one call of [`send_due`] sends at most.
const MOST_AT_ONCE: usize = 20;
/// How long one call goes on beginning to send, seconds.
const LONGEST: i64 = 20;
/// How long the instance that began to send is the only one, seconds: [`LONGEST`], one more mail, and a little.
const LEASE: i64 = 45;

/// Mails to oneself in a window.
const TESTS: i64 = 5;
/// The window, seconds.
const WINDOW: i64 = 3_600;

/// The header by which out-of-office replies and the like know that nobody would read them (RFC 3834, section 5).
const AUTO: &str = "Auto-Submitted";
const BY: &str = "auto-generated";

/// The provider's request for the letter of one mail, or of several to one person.
fn request(mail: &Mail, taken: &[DueMail], letter: &Letter) -> Result<Request<String>, Failure> {
    let Some(due) = taken.first() else { return Err(Failure::for_good("there is nothing to say")) };
    // It was checked when it was stored. A provider might take a text that is not a single address for several.
    let Some(to) = email::sent_to(&due.recipient) else {
        return Err(Failure::for_good("the address is not one that mail can be sent to"));
    };
    let (from, subject) = (mail.from.to_string(), &letter.subject);
    let mut sender = json!({ "email": mail.from.email });
    if let (Some(name), Some(members)) = (&mail.from.name, sender.as_object_mut()) {
        members.insert("name".to_owned(), name.as_str().into());
    }
    let unwritten = |error: askama::Error| Failure::for_now(format!("no text: {error}"));
    let (text, html) = (letter.text(), letter.html().map_err(unwritten)?);
    // A link that a provider counts the clicks of would lead through that provider, with the code in it.
    let (path, body) = match mail.provider {
        Provider::Resend => (
            "/emails",
            json!({ "from": from, "to": [to], "subject": subject, "text": text, "html": html, "headers": { AUTO: BY } }),
        ),
        Provider::Sendgrid => (
            "/v3/mail/send",
            json!({
                "personalizations": [{ "to": [{ "email": to }] }],
                "from": sender,
                "subject": subject,
                "headers": { AUTO: BY },
                "content": [{ "type": "text/plain", "value": text }, { "type": "text/html", "value": html }],
                "tracking_settings": {
                    "click_tracking": { "enable": false, "enable_text": false }, "open_tracking": { "enable": false },
                },
            }),
        ),
        Provider::Postmark => (
            "/email",
            json!({
                "From": from, "To": to, "Subject": subject, "TextBody": text, "HtmlBody": html,
                "TrackOpens": false, "TrackLinks": "None", "Headers": [{ "Name": AUTO, "Value": BY }],
            }),
        ),
        Provider::Webhook => ("/", json!({ "from": from, "to": to, "subject": subject, "text": text, "html": html })),
    };
    let mut request = Request::post(format!("https://{}{path}", mail.host))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json");
    request = match mail.provider {
        Provider::Postmark => request.header("x-postmark-server-token", mail.token.reveal()),
        _ => request.header(header::AUTHORIZATION, format!("Bearer {}", mail.token.reveal())),
    };
    if matches!(mail.provider, Provider::Resend | Provider::Webhook) {
        // A provider that knows this header sends a mail once, even if the request had to be repeated. It refuses another text under
        // the same key: a mail with a code has another one in each try.
        let key = match taken {
            [one] if one.kind.has_code() => format!("{}-{}", one.id, one.tries),
            [one] => one.id.to_string(),
            several => digest_key(several),
        };
        request = request.header("idempotency-key", key);
    }
    let unusable = |_| Failure::for_now("the settings do not make a valid request");
    request.body(body.to_string()).map_err(unusable)
}

/// The key of a letter of several mails: the same when the same are sent again.
fn digest_key(mails: &[DueMail]) -> String {
    let ids: Vec<&str> = mails.iter().map(|mail| mail.id.as_str()).collect();
    Digest::of_parts(&ids).bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The meaning of a provider's answer.
fn judge(provider: Provider, answer: &outbound::Answer) -> Result<(), Failure> {
    let status = answer.status;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let body: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    let word = match provider {
        Provider::Resend => body.get("name").and_then(Json::as_str).map(str::to_owned),
        Provider::Postmark => body.get("ErrorCode").and_then(Json::as_i64).map(|code| format!("ErrorCode {code}")),
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

async fn deliver(app: &App, mail: &Mail, taken: &[DueMail]) -> Result<(), Failure> {
    let request = request(mail, taken, &letter::write(app, taken).await?)?;
    let answer = outbound::send(request, MOST_READ).await.map_err(|cause| Failure::for_now(no_answer(&cause)))?;
    judge(mail.provider, &answer)
}

/// Sends due mails, a bounded number of them, unless another instance is sending now.
pub(crate) async fn send_due(app: &App) -> Result<(), DbError> {
    let Some(mail) = &app.settings().mail else { return Ok(()) };
    let until = app.clock().now().plus_seconds(LONGEST);
    let mut left = MOST_AT_ONCE;
    // Look again after the end: while this call was the only sender, no other one took what was queued.
    while left > 0 && app.clock().now() <= until {
        let ends = app.clock().now().plus_seconds(LEASE);
        if !outbox::begin_sending(app.db(), app.clock().now(), ends).await? {
            break;
        }
        let sending = send_some(app, mail, &mut left, until).await;
        outbox::end_sending(app.db(), ends).await?;
        sending?;
    }
    // All that one call may send: another one goes on at once.
    if (left == 0 || app.clock().now() > until) && outbox::is_due(app.db(), app.clock().now()).await? {
        service::mail::call_worker(app).await;
    }
    Ok(())
}

async fn send_some(app: &App, mail: &Mail, left: &mut usize, until: Timestamp) -> Result<(), DbError> {
    mail_request::settle(app.db(), app.chance(), app.clock().now()).await?;
    while *left > 0 {
        let now = app.clock().now();
        if now > until {
            break;
        }
        let mut taken = outbox::take(app.db(), now).await?;
        let Some(first) = taken.first() else { break };
        *left -= 1;
        if first.kind.can_wait() {
            let dropped = outbox::drop_decided(app.db(), &first.user_id).await?;
            taken.retain(|due| !dropped.contains(&due.id));
            if taken.is_empty() {
                continue;
            }
        }
        match deliver(app, mail, &taken).await {
            Ok(()) => outbox::sent(app.db(), &taken, app.clock().now()).await?,
            Err(failure) => {
                for due in &taken {
                    log(app.request_id(), &format!("mail {} try {}", due.id, due.tries), &failure.cause);
                    outbox::failed(app.db(), due, &failure.cause, failure.is_final, app.clock().now()).await?;
                }
            }
        }
    }
    Ok(())
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "QueuedMail")]
pub(crate) struct Queued {
    queued: bool,
    id: MailId,
}

/// `POST /api/mail/test`: a mail to the caller's own address, to see that mail works.
pub(crate) async fn test(change: Change<Body<Empty>>) -> Result<Response, ApiError> {
    let app = change.app.clone();
    if app.settings().mail.is_none() {
        return Err(Code::MailDisabled.into());
    }
    // A repeated request queues no further mail.
    if let Some(answer) = change.replay().await? {
        return Ok(answer);
    }
    let key = Digest::of_parts(&["mail.test", change.caller.user_id().as_str()]);
    let tries = attempt::count(app.db(), &key, TESTS, app.now(), WINDOW).await?;
    if tries.count > TESTS {
        return Err(ApiError::from(Code::TooManyMails).retry_after(app.now().seconds_until(tries.ends_at)));
    }
    let answer = change
        .run(async |write, _| {
            let mail = outbox::New {
                tenant: write.caller.tenant_id(),
                user: write.caller.user_id(),
                recipient: write.caller.email(),
                kind: Kind::Test,
                data: &json!({}),
            };
            let id = outbox::queue(&write.tx, &mail, app.chance(), app.now()).await?;
            let answer = Answer::json(StatusCode::ACCEPTED, &Queued { queued: true, id: id.clone() })?;
            Ok(answer.audited(&id, Null, json!({ "kind": Kind::Test })))
        })
        .await?;
    send_soon(&app).await;
    Ok(answer)
}

/// Sends what is due after the response, which a slow provider does not delay.
pub(crate) async fn send_soon(app: &App) {
    let sender = app.clone();
    app.after_response(async move { send_due(&sender).await }).await;
}

form! {
    pub(crate) struct List {
        state: Option<String>,
        q: Option<String>,
        ..page: PageQuery,
    }
}

/// `GET /api/mail/outbox?state=&q=`: the tenant's mails, the newest first; never their text.
pub(crate) async fn list(app: App, caller: Caller, Query(query): Query<List>) -> Result<Response, ApiError> {
    let state = query.state.as_deref();
    if state.is_some_and(|state| !outbox::STATES.contains(&state)) {
        return Err(Code::InvalidFilter.with("field", "state").with("valid", outbox::STATES.join(", ")));
    }
    let q = part(query.q.as_deref())?;
    let page = caller.page(&app, &query.page)?;
    let rows = outbox::list(app.db(), caller.tenant_id(), (state, q.as_deref()), &page).await?;
    json(StatusCode::OK, &page.page(rows, |row| (row.created_at, row.id.to_string())))
}

/// `POST /api/mail/outbox/{id}/retry`: makes a dead mail due again. A mail that is not dead is answered as it is.
pub(crate) async fn retry(change: Change<Body<Empty>>, Path(id): Path) -> Result<Response, ApiError> {
    let app = change.app.clone();
    let is_disabled = app.settings().mail.is_none();
    let answer = change
        .on(
            &id,
            async |reads, caller, id| {
                let mail = outbox::find(reads, caller.tenant_id(), id).await?.ok_or(Code::MailNotFound)?;
                if is_disabled { Err(Code::MailDisabled.into()) } else { Ok(mail) }
            },
            async |write, mail, _| match outbox::requeue(&write.tx, write.caller.tenant_id(), &id, write.now()).await? {
                Some(revived) => {
                    Ok(Answer::ok(&revived)?.audited(&id, json!({ "state": "dead" }), json!({ "state": "due" })))
                }
                None => Ok(Answer::ok(&mail)?.unchanged()),
            },
        )
        .await?;
    send_soon(&app).await;
    Ok(answer)
}

#[cfg(test)]
mod digest;
#[cfg(test)]
pub(crate) mod tests;
