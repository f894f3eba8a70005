//! An agent's log: the agent appends its own lines, and every caller that may read the agent reads them.

use common::{
    error::{ApiError, Code},
    id::AgentId,
    permission::Action,
    route::Route,
    text::{moment, part, prose, within},
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, json};
use service::{
    app::App,
    caller::Caller,
    extract::{Body, Path, Query},
    form,
    form::{Objects, nested},
    object, quota,
    response::{Response, json},
};
use store::agent::{
    self,
    log::{self, LogLine},
};

/// The most lines that one request reads.
const MOST_READ: i64 = 1_000;
/// The levels, the least urgent first.
const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];
/// The most lines that one request appends.
const MOST_LINES: usize = 100;
/// The most characters of a line.
const MOST_TEXT: usize = 2_000;

form! {
    pub(crate) struct Read {
        lines: Option<i64>,
        since: Option<String>,
        until: Option<String>,
        level: Option<String>,
        q: Option<String>,
        after: Option<i64>,
        before: Option<i64>,
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Log {
    /// The agent's id: another agent can get its name.
    id: AgentId,
    name: String,
    lines: Vec<LogLine>,
    /// Whether there are further lines like these: older ones, or with `after` newer ones.
    more: bool,
}

/// `GET /api/agents/{name}/logs`: the newest lines, or those next after a number; the oldest of them first.
pub(crate) async fn read(
    app: App,
    caller: Caller,
    route: &'static Route,
    Path(name): Path,
    Query(query): Query<Read>,
) -> Result<Response, ApiError> {
    let most = within("lines", query.lines.unwrap_or(100), 1..=MOST_READ)?;
    let since = query.since.as_deref().map(|since| moment("since", since)).transpose()?;
    let until = query.until.as_deref().map(|until| moment("until", until)).transpose()?;
    let invalid = || Code::InvalidFilter.with("field", "level").with("valid", LEVELS.join(", "));
    let level = query.level.as_deref();
    if level.is_some_and(|level| !LEVELS.contains(&level)) {
        return Err(invalid());
    }
    for (field, seq) in [("after", query.after), ("before", query.before)] {
        within(field, seq.unwrap_or(0), 0..=i64::MAX)?;
    }
    let q = part(query.q.as_deref())?;
    let found = object::agent(app.db(), &caller, route, &name, app.now()).await?;
    let filter = log::Filter { q: q.as_deref(), level, since, until, after: query.after, before: query.before };
    let mut lines = log::list(app.db(), &found.id, &filter, most + 1).await?;
    let more = i64::try_from(lines.len()).is_ok_and(|read| read > most);
    if more {
        // The one beyond those that were asked for.
        drop(lines.remove(if query.after.is_some() { lines.len() - 1 } else { 0 }));
    }
    json(StatusCode::OK, &Log { id: found.id, name: found.name, lines, more })
}

form! {
    pub(crate) struct Append {
        lines: Option<Objects<NewLine>>,
        text: Option<String>,
        level: Option<String>,
    }
}

form! {
    /// A line to be appended.
    pub(crate) struct NewLine {
        text: String,
        level: Option<String>,
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Appended {
    appended: usize,
}

/// `POST /api/agents/{name}/logs`: the agent itself appends lines, all of them or none. One hot statement.
pub(crate) async fn append(
    app: App,
    caller: Caller,
    Path(name): Path,
    Body(body): Body<Append>,
) -> Result<Response, ApiError> {
    let lines = checked(body)?;
    let Some(agent) = caller.agent_id().filter(|_| caller.is_itself(&name)) else {
        let found = agent::get(app.db(), caller.subject(), &name, Action::Read, app.now()).await?;
        return Err(Code::OwnLogOnly.with("agent", found.name));
    };
    let appended = lines.len();
    let (most, of_tenant) = (quota::own_bytes(&app, &caller), app.settings().quotas.of_tenant().bytes);
    if !log::append(app.db(), agent, Json::Array(lines).to_string(), (most, of_tenant), app.now()).await? {
        quota::check_bytes(&app, app.db(), caller.tenant_id(), (caller.user_id(), most)).await?;
        return Err(Code::AgentNotFound.into()); // archived since the caller was looked up
    }
    json(StatusCode::CREATED, &Appended { appended })
}

/// The checked lines of a body, which holds a list of them or one.
fn checked(body: Append) -> Result<Vec<Json>, ApiError> {
    let Some(lines) = body.lines else {
        let text = body.text.ok_or_else(|| ApiError::field("text", "is missing: send text or lines"))?;
        return Ok(vec![checked_line(NewLine { text, level: body.level })?]);
    };
    if body.text.is_some() || body.level.is_some() {
        return Err(ApiError::field("lines", "must not be sent together with text or level"));
    }
    let lines = lines.items;
    if !(1..=MOST_LINES).contains(&lines.len()) {
        return Err(ApiError::field("lines", format!("must contain 1 to {MOST_LINES} lines")));
    }
    // The shapes of all lines are checked before any value.
    let read = lines.into_iter().enumerate().map(|(at, line)| nested(&format!("lines[{at}]."), line));
    let read = read.collect::<Result<Vec<NewLine>, _>>()?;
    let checked = read.into_iter().enumerate();
    checked.map(|(at, line)| checked_line(line).map_err(|refusal| refusal.extra("at", at))).collect()
}

fn checked_line(line: NewLine) -> Result<Json, ApiError> {
    let level = line.level.as_deref().unwrap_or("info");
    if !LEVELS.contains(&level) {
        return Err(Code::InvalidLevel.into());
    }
    Ok(json!({ "level": level, "text": prose("text", &line.text, MOST_TEXT)? }))
}

#[cfg(test)]
mod tests;
