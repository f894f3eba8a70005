//! What the first page of a person shows, in one answer.

use common::{
    error::{ApiError, Code},
    scope::Scope,
    time::Timestamp,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;
use service::{
    app::App,
    caller::Caller,
    extract::Query,
    form,
    form::PageQuery,
    response::{Response, json},
    whoami::Whoami,
};
use store::{
    access_request::{self, AccessRequest, AccessRequestState, Wanted},
    agent::overview::{self, Brief, Counts},
    audit::trail::{self, Entry, Hour},
    credential, notification,
};

use crate::access_requests;

/// Requests that are shown.
const WAITING: i64 = 20;
/// Agents that are shown.
const AGENTS: i64 = 25;
/// Rows of the audit trail that are shown.
const EVENTS: i64 = 10;
/// How far back the hours go, seconds: this hour and the 23 before it.
const HOURS: i64 = 23 * 3600;
/// A credential that ends within this time ends soon, seconds.
const SOON: i64 = 7 * 24 * 3600;

form! {
    pub(crate) struct Asked {
        parts: Option<String>,
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Overview<'a> {
    caller: Whoami<'a>,
    /// Access requests that the caller may decide. `None`: the credential does not carry the scope; so are the others.
    waiting: Option<Waiting>,
    /// Notifications that the caller has not read.
    unread: Option<i64>,
    #[serde(flatten)]
    home: Option<Home>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WaitingRequests")]
struct Waiting {
    items: Vec<AccessRequest>,
    is_more: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OverviewHome")]
struct Home {
    agents: Option<Agents>,
    /// Credentials of the caller and of the caller's agents that end within a week.
    ending: Option<i64>,
    lately: Option<Lately>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CountedAgents")]
struct Agents {
    #[serde(flatten)]
    counts: Counts,
    newest: Vec<Brief>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LatelyHappened")]
struct Lately {
    since: Timestamp,
    hours: Vec<Hour>,
    events: Vec<Entry>,
}

/// `GET /api/overview`: what a person sees first. With `parts=head` only what every page shows.
pub(crate) async fn overview(app: App, caller: Caller, Query(asked): Query<Asked>) -> Result<Response, ApiError> {
    let is_head = match asked.parts.as_deref() {
        None => false,
        Some("head") => true,
        Some(_) => return Err(Code::InvalidFilter.with("field", "parts").with("valid", "head")),
    };
    let waiting = match access_requests::may_read(&caller) {
        true => Some(waiting(&app, &caller).await?),
        false => None,
    };
    let unread = match caller.scope().contains(Scope::NotificationsRead) {
        true => notification::count(app.db(), caller.user_id()).await?.map(|count| count.unread),
        false => None,
    };
    let home = if is_head { None } else { Some(home(&app, &caller).await?) };
    let scopes = caller.scopes();
    json(StatusCode::OK, &Overview { caller: Whoami::of(&caller, &scopes), waiting, unread, home })
}

async fn waiting(app: &App, caller: &Caller) -> Result<Waiting, ApiError> {
    let wanted = caller.page(app, &PageQuery { cursor: None, limit: Some(WAITING) })?;
    let open = access_request::Filter { state: Some(Wanted::One(AccessRequestState::Open)), ..Default::default() };
    let open = access_request::list(app.db(), caller.subject(), &open, &wanted, app.now()).await?;
    let page = wanted.page(open, |row| (row.created_at, row.id.to_string()));
    Ok(Waiting { is_more: page.next_cursor.is_some(), items: page.items })
}

async fn home(app: &App, caller: &Caller) -> Result<Home, ApiError> {
    let (db, subject, may) = (app.db(), caller.subject(), |scope| caller.scope().contains(scope));
    let agents = match may(Scope::AgentsList) {
        true => Some(Agents {
            counts: overview::count(db, subject).await?,
            newest: overview::newest(db, subject, AGENTS).await?,
        }),
        false => None,
    };
    let ending = match may(Scope::TokensRead) {
        true => Some(credential::list::ending(db, caller.user_id(), app.now(), app.now().plus_seconds(SOON)).await?),
        false => None,
    };
    let lately = match may(Scope::AuditRead) {
        true => Some(lately(app, caller).await?),
        false => None,
    };
    Ok(Home { agents, ending, lately })
}

async fn lately(app: &App, caller: &Caller) -> Result<Lately, ApiError> {
    let (db, subject) = (app.db(), caller.subject());
    let sees_all = caller.scope().contains(Scope::AuditReadAll);
    let since = app.now().plus_seconds(-HOURS);
    let since = Timestamp::from_millis(since.millis() - since.millis().rem_euclid(3_600_000));
    let hours = trail::hours(db, subject, sees_all, (since, app.now())).await?;
    let mut events = match sees_all {
        true => trail::list(db, subject, true, &trail::Filter::default(), "", EVENTS).await?,
        // What they and their agents did: to find what was done to each agent that they may read takes a walk through all of the tenant.
        false => trail::own(db, subject, since, EVENTS).await?,
    };
    for event in &mut events {
        event.before = named(&event.before);
        event.after = named(&event.after);
    }
    Ok(Lately { since, hours, events })
}

/// Of what a row holds only what names its object: a row can have some 100 KB.
fn named(side: &Json) -> Json {
    let members = side.as_object().into_iter().flatten();
    let named = members.filter(|(name, _)| matches!(name.as_str(), "name" | "email" | "scope"));
    let named: serde_json::Map<String, Json> = named.map(|(name, value)| (name.clone(), value.clone())).collect();
    if named.is_empty() { Json::Null } else { named.into() }
}

#[cfg(test)]
mod tests;
