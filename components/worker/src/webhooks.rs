//! Webhooks: where people want events sent. Each has a secret of its own, shown once, that signs what is sent to it.

use common::{
    error::{ApiError, Code, Flaws},
    event::EventKind,
    id::{DeliveryId, WebhookId},
    permission::Action,
    secret::WebhookSecret,
    signature,
    text::{text, within},
    url::check_outbound,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change, Write},
    extract::{Body, Empty, Path, Query},
    form,
    form::{NamedQuery, Nullable, PageQuery},
    quota,
    response::{Response, json},
};
use store::{
    agent, audit,
    db::Rows,
    delivery::{self, Delivery},
    webhook::{self, Inserted, Webhook, Why},
};

use crate::deliver;

/// Entries of a filter at most.
const MOST_OF_A_FILTER: usize = 100;
/// How long the secret before signs too, hours: by default and at most.
const OVERLAP: i64 = 24;
const LONGEST_OVERLAP: i64 = 168;
/// How a person makes room.
const FREE: &str = "Delete webhooks that nobody needs with DELETE /api/webhooks/<id>, which GET /api/webhooks lists";

async fn find(reads: &dyn Rows, caller: &Caller, id: &str) -> Result<Webhook, ApiError> {
    Ok(webhook::find(reads, caller.subject(), id).await?.ok_or(Code::WebhookNotFound)?)
}

/// `GET /api/webhooks`: the caller's own, and for an admin all of the tenant's, the newest first.
pub(crate) async fn list(app: App, caller: Caller, Query(query): Query<NamedQuery>) -> Result<Response, ApiError> {
    let (q, order) = query.wanted()?;
    let page = caller.page(&app, &query.page)?;
    let rows = webhook::list(app.db(), caller.subject(), (q.as_deref(), order), &page).await?;
    json(StatusCode::OK, &page.ordered(rows, order, |row| (row.created_at, row.id.to_string(), row.name.clone())))
}

/// `GET /api/webhooks/{id}`.
pub(crate) async fn get(app: App, caller: Caller, Path(id): Path) -> Result<Response, ApiError> {
    json(StatusCode::OK, &find(app.db(), &caller, &id).await?)
}

/// A webhook, and the one time that its secret is shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookWithSecret")]
pub(crate) struct Shown<'a> {
    #[serde(flatten)]
    webhook: &'a Webhook,
    secret: &'a str,
}

form! {
    pub(crate) struct Create {
        url: String,
        name: Option<String>,
        kinds: Option<Nullable<Vec<String>>>,
        agents: Option<Nullable<Vec<String>>>,
    }
}

/// Reads the kinds of a filter. `None`: all.
fn read_kinds(kinds: Option<&Vec<String>>) -> Result<Option<Json>, ApiError> {
    let Some(kinds) = kinds else { return Ok(None) };
    check_length("kinds", kinds.len())?;
    match kinds.iter().find(|kind| !EventKind::is_filter(kind)) {
        Some(unknown) => Err(ApiError::from(Code::UnknownEventKind).extra("kind", unknown.as_str())),
        None => Ok(Some(json!(kinds))),
    }
}

/// Reads the agents of a filter, by name or id: those that the caller may read, and those that it has: one of them may be gone meanwhile.
/// `None`: all.
async fn read_agents(
    app: &App,
    caller: &Caller,
    has: Option<&Json>,
    agents: Option<&Vec<String>>,
) -> Result<Option<Json>, ApiError> {
    let Some(agents) = agents else { return Ok(None) };
    check_length("agents", agents.len())?;
    let has = has.and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    let mut ids = Vec::new();
    for name in agents {
        let id = match has.iter().any(|id| id == name) {
            true => name.clone(),
            false => {
                let found = agent::get(app.db(), caller.subject(), name, Action::Read, app.now()).await;
                found.map_err(|refusal| refusal.extra("agent", name.as_str()))?.id.to_string()
            }
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(Some(json!(ids)))
}

fn check_length(field: &'static str, length: usize) -> Result<(), ApiError> {
    if (1..=MOST_OF_A_FILTER).contains(&length) {
        return Ok(());
    }
    Err(ApiError::field(field, format!("must contain 1 to {MOST_OF_A_FILTER} entries; leave it out for all")))
}

fn takes_notifications(kinds: Option<&Json>) -> bool {
    let takes = |kind: &Json| kind.as_str().is_some_and(|filter| EventKind::Notification.matches(filter));
    kinds.and_then(Json::as_array).is_none_or(|kinds| kinds.iter().any(takes))
}

/// Encrypts a webhook's secret for its row.
fn seal(write: &Write<'_>, id: &WebhookId, secret: &WebhookSecret) -> Result<Vec<u8>, ApiError> {
    let place = [write.caller.tenant_id().as_str(), id.as_str()];
    write.app().settings().vault.seal(deliver::PURPOSE, &place, secret.reveal(), write.app().chance())
}

/// For the audit trail.
fn audited(webhook: &Webhook) -> Json {
    json!({
        "name": webhook.name, "url": webhook.url, "kinds": webhook.kinds, "agents": webhook.agents, "state": webhook.state,
    })
}

/// `POST /api/webhooks`: a webhook of the caller's person.
pub(crate) async fn create(change: Change<Body<Create>>) -> Result<Response, ApiError> {
    let (app, caller, Body(body)) = (&change.app, &change.caller, &change.input);
    let mut flaws = Flaws::default();
    flaws.check("url", check_outbound("url", &body.url, &app.settings().outbound_hosts));
    let name = flaws.check("name", body.name.as_deref().map(|name| text("name", name, 64)).transpose());
    let kinds = body.kinds.as_ref().and_then(|Nullable(kinds)| kinds.as_ref());
    let kinds = flaws.check("kinds", read_kinds(kinds));
    let agents = body.agents.as_ref().and_then(|Nullable(agents)| agents.as_ref());
    let agents = flaws.check("agents", read_agents(app, caller, None, agents).await);
    let (Some(name), Some(kinds), Some(agents)) = (name, kinds, agents) else { return Err(flaws.refusal()) };
    flaws.end()?;
    change
        .run(async |write, Body(body)| {
            let id = WebhookId::generate(write.now(), write.app().chance());
            let secret = signature::generate(write.app().chance());
            let settings = webhook::Settings {
                name: name.as_deref().unwrap_or_else(|| host(&body.url)),
                url: &body.url,
                kinds: kinds.as_ref(),
                agents: agents.as_ref(),
                takes_notifications: takes_notifications(kinds.as_ref()),
            };
            let whose = (write.caller.tenant_id(), write.caller.user_id());
            let new = (&settings, seal(write, &id, &secret)?);
            match webhook::insert(&write.tx, &id, whose, new, write.now()).await? {
                Inserted::Created => {}
                Inserted::TooMany(most) => {
                    let of = if most == webhook::MOST_OF_A_USER { "person" } else { "tenant" };
                    return Err(quota::reached("webhooks", FREE, of, most));
                }
            }
            let made = find(&write.tx, &write.caller, id.as_str()).await?;
            let shown = Shown { webhook: &made, secret: secret.reveal() };
            Ok(Answer::created(&shown)?.with_secret().audited(&id, Null, audited(&made)))
        })
        .await
}

/// The host of a URL that was checked.
fn host(url: &str) -> &str {
    let rest = url.strip_prefix("https://").unwrap_or(url);
    let host = rest.split(['/', '?']).next().unwrap_or(rest);
    host.get(..64).unwrap_or(host)
}

form! {
    pub(crate) struct Patch {
        url: Option<String>,
        name: Option<String>,
        kinds: Option<Nullable<Vec<String>>>,
        agents: Option<Nullable<Vec<String>>>,
        state: Option<String>,
    }
}

/// `PATCH /api/webhooks/{id}`: changes the fields that are sent. A webhook that is turned on has no failures, and gets what waits for it.
pub(crate) async fn patch(change: Change<Body<Patch>>, Path(id): Path) -> Result<Response, ApiError> {
    let (app, caller, Body(body)) = (&change.app, &change.caller, &change.input);
    let has = find(app.db(), caller, &id).await?.agents;
    let mut flaws = Flaws::default();
    if let Some(url) = &body.url {
        flaws.check("url", check_outbound("url", url, &app.settings().outbound_hosts));
    }
    let name = flaws.check("name", body.name.as_deref().map(|name| text("name", name, 64)).transpose());
    let kinds = body.kinds.as_ref().map(|Nullable(kinds)| read_kinds(kinds.as_ref())).transpose();
    let kinds = flaws.check("kinds", kinds);
    let agents = match &body.agents {
        Some(Nullable(agents)) => read_agents(app, caller, has.as_ref(), agents.as_ref()).await.map(Some),
        None => Ok(None),
    };
    let agents = flaws.check("agents", agents);
    let (Some(name), Some(kinds), Some(agents)) = (name, kinds, agents) else { return Err(flaws.refusal()) };
    flaws.end()?;
    let is_on = match body.state.as_deref() {
        None => None,
        Some("active") => Some(true),
        Some("disabled") => Some(false),
        Some(_) => return Err(ApiError::field("state", "must be active or disabled")),
    };
    change
        .on(&id, find, async |write, before, Body(body)| {
            let only_narrows =
                is_on == Some(false) && body.url.is_none() && name.is_none() && kinds.is_none() && agents.is_none();
            let kinds = kinds.unwrap_or_else(|| before.kinds.clone());
            let agents = agents.unwrap_or_else(|| before.agents.clone());
            let settings = webhook::Settings {
                name: name.as_deref().unwrap_or(&before.name),
                url: body.url.as_deref().unwrap_or(&before.url),
                kinds: kinds.as_ref(),
                agents: agents.as_ref(),
                takes_notifications: takes_notifications(kinds.as_ref()),
            };
            let mut is_changed = webhook::update(&write.tx, &before.id, &settings, write.now()).await?;
            let is_well = before.state == "active" && before.failing_since.is_none();
            match is_on {
                Some(true) if is_well => {}
                Some(true) if webhook::enable(&write.tx, &before.id, write.now()).await? => is_changed = true,
                Some(true) => return Err(Code::WebhookWithoutSecret.with("webhook", before.id.as_str())),
                Some(false) => {
                    is_changed |= webhook::disable(&write.tx, &before.id, Why::ByHand, write.now()).await?.is_some();
                }
                None => {}
            }
            if !is_changed {
                return Ok(Answer::ok(&before)?.unchanged());
            }
            let after = find(&write.tx, &write.caller, before.id.as_str()).await?;
            let (old, new) = audit::changed(audited(&before), audited(&after));
            Ok(Answer::ok(&after)?.audited(&before.id, old, new).narrowing(only_narrows))
        })
        .await
}

/// `DELETE /api/webhooks/{id}`: with all its deliveries. What is being sent at this moment still arrives.
pub(crate) async fn delete(change: Change<()>, Path(id): Path) -> Result<Response, ApiError> {
    change
        .on(&id, find, async |write, found, ()| {
            webhook::delete(&write.tx, &found.id).await?;
            Ok(Answer::no_content().audited(&found.id, audited(&found), Null))
        })
        .await
}

form! {
    pub(crate) struct Rotate {
        overlap_hours: Option<i64>,
    }
}

/// `POST /api/webhooks/{id}/rotate`: makes another secret. During the overlap both sign, so that the receiver can change at any time in it.
pub(crate) async fn rotate(change: Change<Body<Rotate>>, Path(id): Path) -> Result<Response, ApiError> {
    let hours = change.input.0.overlap_hours.unwrap_or(OVERLAP);
    let hours = within("overlap_hours", hours, 0..=LONGEST_OVERLAP)?;
    change
        .on(&id, find, async |write, found, _| {
            let secret = signature::generate(write.app().chance());
            let ends = (hours > 0).then(|| write.now().plus_seconds(hours * 3_600));
            webhook::rotate(&write.tx, &found.id, seal(write, &found.id, &secret)?, ends, write.now()).await?;
            let after = find(&write.tx, &write.caller, found.id.as_str()).await?;
            let shown = Shown { webhook: &after, secret: secret.reveal() };
            let audited = json!({ "former_secret_ends": after.former_secret_ends });
            Ok(Answer::created(&shown)?.with_secret().audited(&found.id, Null, audited))
        })
        .await
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "QueuedDelivery")]
pub(crate) struct Queued {
    queued: bool,
    delivery_id: DeliveryId,
}

/// `POST /api/webhooks/{id}/test`: an event for this webhook alone, sent at once.
pub(crate) async fn test(change: Change<Body<Empty>>, Path(id): Path) -> Result<Response, ApiError> {
    let app = change.app.clone();
    let mut queued = None;
    let answer = change
        .on(&id, find, async |write, found, _| {
            check_on(&found)?;
            let data = json!({ "webhook": found.id, "name": found.name });
            let (chance, now) = (write.app().chance(), write.now());
            let delivery =
                delivery::queue(&write.tx, (&found.id, EventKind::WebhookTest), &data, (chance, now)).await?;
            let audited = json!({ "delivery": delivery });
            queued = Some((found.id.clone(), delivery.clone()));
            let answer = Answer::json(StatusCode::ACCEPTED, &Queued { queued: true, delivery_id: delivery })?;
            Ok(answer.audited(&found.id, Null, audited))
        })
        .await?;
    if let Some((webhook, delivery)) = queued {
        deliver::send_now(&app, &webhook, delivery.as_str()).await;
    }
    Ok(answer)
}

fn check_on(found: &Webhook) -> Result<(), ApiError> {
    if found.state == "active" {
        return Ok(());
    }
    Err(Code::WebhookOff.with("webhook", found.id.as_str()))
}

form! {
    pub(crate) struct List {
        state: Option<String>,
        ..page: PageQuery,
    }
}

/// `GET /api/webhooks/{id}/deliveries?state=`: the newest first.
pub(crate) async fn deliveries(
    app: App,
    caller: Caller,
    Path(id): Path,
    Query(query): Query<List>,
) -> Result<Response, ApiError> {
    let state = query.state.as_deref();
    if state.is_some_and(|state| !delivery::STATES.contains(&state)) {
        return Err(Code::InvalidFilter.with("field", "state").with("valid", delivery::STATES.join(", ")));
    }
    let page = caller.page(&app, &query.page)?;
    let found = find(app.db(), &caller, &id).await?;
    let rows = delivery::list(app.db(), &found.id, state, &page).await?;
    json(StatusCode::OK, &page.page(rows, |row| (row.created_at, row.id.to_string())))
}

/// A delivery and what it says.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeliveryWithBody")]
pub(crate) struct Sent {
    #[serde(flatten)]
    delivery: Delivery,
    /// The body of each try, without a code for a token, which is for the receiver alone. Null: the webhook's person may not see the event any
    /// more.
    body: Option<Json>,
}

/// `GET /api/webhooks/{id}/deliveries/{delivery}`.
pub(crate) async fn delivery(
    app: App,
    caller: Caller,
    Path(id): Path,
    Path(delivery): Path,
) -> Result<Response, ApiError> {
    let found = find(app.db(), &caller, &id).await?;
    let unknown = || Code::DeliveryNotFound.with("webhook", found.id.as_str());
    let content = delivery::content(app.db(), &found.id, &delivery).await?.ok_or_else(unknown)?;
    let body = content.may_see.then(|| deliver::shown(&content));
    json(StatusCode::OK, &Sent { delivery: content.delivery, body })
}

/// `POST /api/webhooks/{id}/deliveries/{delivery}/retry`: sends a delivery at once that arrived, is dead, or waits for its next try, also
/// while the webhook pauses.
pub(crate) async fn retry(
    change: Change<Body<Empty>>,
    Path(id): Path,
    Path(delivery): Path,
) -> Result<Response, ApiError> {
    let app = change.app.clone();
    let mut queued = None;
    let find_both = async |reads: &dyn Rows, caller: &Caller, id: &str| {
        let found = find(reads, caller, id).await?;
        let known = delivery::find(reads, &found.id, &delivery).await?;
        known.ok_or_else(|| Code::DeliveryNotFound.with("webhook", id))?;
        Ok(found)
    };
    let answer = change
        .on(&id, find_both, async |write, found, _| {
            check_on(&found)?;
            let before = delivery::find(&write.tx, &found.id, &delivery).await?;
            let before = before.ok_or_else(|| Code::DeliveryNotFound.with("webhook", found.id.as_str()))?;
            let again = delivery::requeue(&write.tx, &found.id, &delivery, write.now()).await?;
            let again = again.ok_or(Code::DeliveryWithheld)?;
            queued = Some((found.id.clone(), again.id.clone()));
            let (was, now) = (json!({ "state": before.state }), json!({ "delivery": again.id, "state": again.state }));
            Ok(Answer::ok(&again)?.audited(&found.id, was, now))
        })
        .await?;
    if let Some((webhook, delivery)) = queued {
        deliver::send_now(&app, &webhook, delivery.as_str()).await;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests;
