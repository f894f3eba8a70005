//! `POST /api/hooks/{key_id}`: a signed request of another service becomes an event in the inbox of the agent whose key signed it.
//!
//! Everything about it that is wrong before the signature is right is the same 401, by the same work: an unknown key, a key of another
//! kind, one whose agent is archived or whose owner is deactivated, a header that is missing, a body that was changed, an old time. What
//! a sender with the right secret does wrong is told.

use bytes::Bytes;
use common::{
    error::{ApiError, Code},
    event::EventKind,
    json,
    route::Route,
    secret::{Digest, Secret, WebhookSecret},
    signature, vault,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json, Value::Null, json};
use service::{
    app::{App, log},
    event::{self, Event},
    extract::{Path, Raw},
    mail, quota,
    response::{Response, empty, json},
};
use store::{
    audit,
    db::Purpose,
    hook::{self, Hook},
    inbox,
    key::KeyType,
};

/// What a service calls its requests.
struct Sent {
    /// The sender's own id of the request, by which it repeats it.
    id: Option<String>,
    /// What it is about, where a header says so.
    event: Option<String>,
    /// Media type.
    content_type: String,
}

fn header(app: &App, name: &str) -> String {
    app.headers().first(name).map(|value| value.chars().take(1_000).collect()).unwrap_or_default()
}

/// The type of key that a request looks like.
fn look(app: &App) -> KeyType {
    if app.headers().first("x-hub-signature-256").is_some() {
        KeyType::Github
    } else if app.headers().first("x-slack-signature").is_some() {
        KeyType::Slack
    } else {
        KeyType::Standard
    }
}

/// The names of the headers of a sender of Standard Webhooks: those of the standard, or those that Svix and its customers send where there is
/// none of them. Names of both kinds are never mixed.
fn standard_names(app: &App) -> [&'static str; 3] {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let is_svix = names.iter().all(|name| app.headers().first(name).is_none());
    if is_svix { ["svix-id", "svix-timestamp", "svix-signature"] } else { names }
}

/// Whether a request is signed with this secret, as keys of this type are.
fn is_signed(app: &App, r#type: KeyType, secret: &WebhookSecret, body: &[u8]) -> bool {
    match r#type {
        KeyType::Github => signature::is_github(secret, &header(app, "x-hub-signature-256"), body),
        KeyType::Slack => {
            let sent = (header(app, "x-slack-request-timestamp"), header(app, "x-slack-signature"));
            signature::is_slack(secret, (&sent.0, &sent.1), body, app.now())
        }
        KeyType::Standard => {
            let sent = standard_names(app).map(|name| header(app, name));
            let [id, time, signatures] = sent.each_ref().map(String::as_str);
            signature::is_standard(secret, (id, time, signatures), body, app.now())
        }
        KeyType::External | KeyType::Internal => false,
    }
}

/// The secret of a key. Without one, the same work is done with a secret that nobody has; so it is with one that cannot be opened now, since
/// the sender must not learn that there is such a key.
fn open(app: &App, found: Option<&Hook>, sealed: Option<&Vec<u8>>) -> WebhookSecret {
    let opened = found.zip(sealed).and_then(|(found, sealed)| {
        let place = [found.agent.as_str(), found.key.as_str()];
        let opened = app.settings().vault.open(vault::WEBHOOK, &place, sealed);
        opened
            .map_err(|_| log(app.request_id(), "hook", &format!("secrets_key does not open the key {}", found.key)))
            .ok()
    });
    opened.map_or_else(|| signature::generate(app.chance()), WebhookSecret::of)
}

/// Finds the key, and checks the signature over the raw body: by its secret, and by the one before while its grace lasts. What is refused
/// has been checked twice, whatever there is. Gives the secret too, sealed, by which the request is signed.
async fn verify(app: &App, id: &str, body: &[u8]) -> Result<(Hook, Vec<u8>), ApiError> {
    let found = hook::find(app.db(), id, app.now()).await?;
    let r#type = found.as_ref().map_or_else(|| look(app), |found| found.r#type);
    let sealed = found.as_ref().map(|found| &found.sealed);
    let former = found.as_ref().and_then(|found| found.former.as_ref());
    let signing =
        [sealed, former].into_iter().find(|sealed| is_signed(app, r#type, &open(app, found.as_ref(), *sealed), body));
    let signing = signing.flatten().cloned();
    found.zip(signing).ok_or_else(|| Code::HookRefused.into())
}

/// Reads what a service says about its request beside the body.
fn read(app: &App, r#type: KeyType) -> Sent {
    let given = |name| Some(header(app, name)).filter(|value| !value.is_empty());
    let (id, event) = match r#type {
        KeyType::Github => (given("x-github-delivery"), given("x-github-event")),
        KeyType::Standard => {
            let [id, ..] = standard_names(app);
            (given(id), None)
        }
        KeyType::Slack | KeyType::External | KeyType::Internal => (None, None),
    };
    Sent { id, event, content_type: header(app, "content-type") }
}

/// The body as JSON: a JSON text as it is, a form as an object of its fields, all else as a text. GitHub puts its JSON into the field
/// `payload` of a form, and Slack does for what people click.
fn parse(content_type: &str, body: &[u8]) -> Json {
    let text = String::from_utf8_lossy(body);
    if !content_type.trim_start().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        return shallow(&text).unwrap_or_else(|| Json::String(text.into_owned()));
    }
    let fields: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    match fields.as_slice() {
        [(name, payload)] if name == "payload" => shallow(payload).unwrap_or_else(|| json!({ "payload": payload })),
        _ => Json::Object(fields.into_iter().map(|(name, value)| (name, Json::String(value))).collect::<Map<_, _>>()),
    }
}

/// JSON that readers of the inbox can read beside other events; what is nested deeper stays the text that it was.
fn shallow(text: &str) -> Option<Json> {
    let text = text.strip_prefix(json::BYTE_ORDER_MARK).unwrap_or(text);
    Some(text).filter(|text| !json::is_too_deep(text)).and_then(json::parse)
}

/// The digests by which a request is known when it comes again: of the sender's id, and of the body where no id is signed.
fn known_by(r#type: KeyType, sent: &Sent, body: &[u8]) -> Vec<Digest> {
    let by_id = sent.id.as_ref().map(|id| Digest::of_parts(&["id", id]));
    let by_body = (r#type != KeyType::Standard).then(|| Digest::of_parts(&["body", &Digest::of(body).to_string()]));
    by_id.into_iter().chain(by_body).collect()
}

/// What the sender is answered.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "TakenHook")]
pub(crate) enum Taken<'a> {
    /// It is in the inbox.
    Event(TakenEvent<'a>),
    /// It was there already.
    Duplicate(TakenDuplicate),
    /// The sender only tried whether somebody is there.
    Ping(TakenPing),
    /// Slack asked for its challenge.
    Challenge(TakenChallenge<'a>),
}

/// What arrived is in the inbox.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TakenEvent<'a> {
    accepted: bool,
    event: &'a str,
}

/// What arrived was in the inbox already.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TakenDuplicate {
    accepted: bool,
    duplicate: bool,
}

/// The answer to a ping.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TakenPing {
    accepted: bool,
    ping: bool,
}

/// The answer to a challenge.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TakenChallenge<'a> {
    challenge: &'a str,
}

/// The handler. It never waits: what arrived is in the inbox, or refused.
pub(crate) async fn receive(
    app: App,
    route: &'static Route,
    Path(id): Path,
    Raw(body): Raw,
) -> Result<Response, ApiError> {
    let (found, signing) = verify(&app, &id, &body).await?;
    let sent = read(&app, found.r#type);
    let content = parse(&sent.content_type, &body);
    let is = |kind: &str| content.get("type").and_then(Json::as_str) == Some(kind);
    if found.r#type == KeyType::Slack && is("url_verification") {
        let challenge = content.get("challenge").and_then(Json::as_str).unwrap_or_default();
        return json(StatusCode::OK, &Taken::Challenge(TakenChallenge { challenge }));
    }
    // Slack tries whether the certificate of an address is good.
    if found.r#type == KeyType::Slack && content.get("ssl_check").and_then(Json::as_str) == Some("1") {
        return Ok(empty(StatusCode::OK));
    }
    if found.r#type == KeyType::Github && sent.event.as_deref() == Some("ping") {
        return json(StatusCode::OK, &Taken::Ping(TakenPing { accepted: false, ping: true }));
    }
    store(&app, route, (&found, &signing), (sent, content, body)).await
}

/// Puts the event into the agent's inbox, once.
async fn store(
    app: &App,
    route: &Route,
    (found, signing): (&Hook, &Vec<u8>),
    (sent, content, body): (Sent, Json, Bytes),
) -> Result<Response, ApiError> {
    let tx = app.db().begin(Purpose::Durable).await?;
    // The key, or this secret of it, may have ended since the signature was checked.
    let now = hook::find(&tx, found.key.as_str(), app.now()).await?;
    if !now.is_some_and(|now| now.sealed == *signing || now.former.as_ref() == Some(signing)) {
        return Err(Code::HookRefused.into());
    }
    if !hook::is_new(&tx, &found.key, &known_by(found.r#type, &sent, &body), app.now()).await? {
        return answer(
            found.r#type,
            StatusCode::OK,
            &Taken::Duplicate(TakenDuplicate { accepted: false, duplicate: true }),
        );
    }
    let owner = (&found.owner, app.settings().quotas.bytes);
    quota::check_bytes(app, &tx, &found.tenant, owner).await?;
    // What holds a credential of ours is not kept: the agent learns that something came.
    let holds_credential = Secret::is_in(json::to_text(&content).as_bytes());
    let content = if holds_credential { Null } else { content };
    let key = json!({ "id": found.key, "name": found.name, "type": found.r#type });
    let data = json!({
        "key": key, "id": sent.id.map(Secret::cut_off), "event": sent.event.map(Secret::cut_off), "content_type": Secret::cut_off(sent.content_type), "body": content,
        "withheld": holds_credential.then_some("credential_in_text"),
    });
    let event = Event::of_agent(EventKind::Hook, &found.agent).data(data).for_webhooks(json!({ "key": key }));
    let origin = app.origin(&found.tenant, None);
    let seq = event::deliver(app, &tx, &origin, Some(&found.owner), &event).await?.ok_or(Code::InboxFull)?;
    let (event, action) = (inbox::id(seq), route.audit.unwrap_or_default());
    let after = json!({ "event": event, "key": found.key });
    let row = audit::Event { action, object: found.agent.as_str(), before: Null, after };
    audit::insert(&tx, &origin, &row).await?;
    mail::hurry_if_left(app, &tx);
    tx.commit().await?;
    answer(found.r#type, StatusCode::ACCEPTED, &Taken::Event(TakenEvent { accepted: true, event: &event }))
}

/// What the sender of something that was taken is answered. Slack takes 200 alone for an answer, and shows its body to the person.
fn answer(r#type: KeyType, status: StatusCode, taken: &Taken<'_>) -> Result<Response, ApiError> {
    if r#type == KeyType::Slack { Ok(empty(StatusCode::OK)) } else { json(status, taken) }
}

#[cfg(test)]
mod tests;
