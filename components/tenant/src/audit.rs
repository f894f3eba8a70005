//! The audit trail: list, export, verify.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use common::{
    agent::AgentName,
    email,
    error::{ApiError, Code},
    id::{PREFIXES, begins_as_id, is_id},
    json as lines,
    route::{Access, OTHER_ACTIONS, ROUTES, Route},
    scope::Scope,
    text::{moment, text},
};
use futures_util::stream;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{
    Value::{self as Json, Null},
    json,
};
use service::{
    app::{App, log},
    body::{Body, BrokenOff},
    caller::Caller,
    change::{Answer, Change},
    extract::Query,
    form,
    form::PageQuery,
    guard,
    response::{self, Response},
};
use store::{
    audit::{
        chain::{self, Head},
        trail::{self, Entry, Filter},
    },
    db::DbError,
};

form! {
    /// The query of the list and of the export. In the route table the export has the filters and `format` alone, and the list no `format`.
    pub(crate) struct List {
        actor: Option<String>,
        action: Option<String>,
        object: Option<String>,
        credential: Option<String>,
        request: Option<String>,
        outcome: Option<String>,
        since: Option<String>,
        until: Option<String>,
        format: Option<String>,
        ..page: PageQuery,
    }
}

/// What `actor` can be.
const ACTORS: &str =
    "a user's id (usr_…), address or a part of it, for admins of the name too, or an agent's id (agt_…) or name";
/// What `object` can be.
const OBJECTS: &str = "a user's id (usr_…), address or what stands before its @, an agent's id (agt_…) or name, the object of another row, such \
     as the id of a credential (tok_…) or an OAuth client (cli_…), or the name of a scope or a preset. What a key did is found by credential, and \
     what was done to it by its agent as object";
/// What `credential` can be.
const CREDENTIALS: &str = "the id of a credential (tok_…) or of an agent's key (key_…); never the credential itself";
/// What `request` can be.
const REQUESTS: &str = "the id of a request (req_…), which each response carries in the header x-request-id";

/// Reads a filter that names something. A value that can be the name of nothing that it looks for is refused: an empty list would look as
/// if nothing had been done.
fn named(
    field: &'static str,
    value: Option<&String>,
    (prefixes, valid): (&[&str], &'static str),
    is_name: fn(&str) -> bool,
) -> Result<Option<String>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    let value = text(field, value, 254)?;
    if is_id(&value, prefixes) || is_name(&value) {
        return Ok(Some(value));
    }
    Err(Code::InvalidFilter
        .detail(format!("This cannot be the {field} of a row."))
        .with("field", field)
        .with("valid", valid))
}

/// Reads the action that is looked for. A scope is easily taken for the action of its routes, and is refused with those.
fn read_action(sent: &str) -> Result<String, ApiError> {
    let value = text("action", sent, 254)?;
    let Some(scope) = Scope::from_text(&value).filter(|_| ROUTES.iter().all(|row| row.audit != Some(value.as_str())))
    else {
        return Ok(value);
    };
    let rows = ROUTES.iter().filter(|row| row.access == Access::Scope(scope));
    let mut actions: Vec<&str> = rows.filter_map(|row| row.audit).collect();
    actions.dedup();
    let valid =
        if actions.is_empty() { "an action such as agent.create, or a slug".to_owned() } else { actions.join(", ") };
    let detail = "This is a scope. A row has the action of a route, or the slug of a refusal.";
    Err(Code::InvalidFilter.detail(detail).with("field", "action").with("valid", valid))
}

/// The actions that rows can have.
fn actions() -> impl Iterator<Item = &'static str> {
    ROUTES.iter().filter_map(|row| row.audit).chain(OTHER_ACTIONS)
}

/// Whether a row can have it: it is an action, or looks like the slug of a refusal. To compare with all slugs would put the texts of all
/// refusals into this component, 38 KB.
fn is_action(action: &str) -> bool {
    let looks_as_slug = action.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    actions().any(|known| known == action) || looks_as_slug && actions().all(|known| group(known) != action)
}

/// The first word of an action.
fn group(action: &str) -> &str {
    action.split('.').next().unwrap_or_default()
}

/// The refusal of an action that no row has, with those that begin as it does.
fn no_action(action: &str) -> ApiError {
    let begin = group(action).to_ascii_lowercase();
    let near: BTreeSet<&str> = actions().filter(|known| group(known) == begin).collect();
    let valid = match near.is_empty() {
        true => "an action such as agent.create, or a slug such as scope_denied".to_owned(),
        false => near.into_iter().collect::<Vec<_>>().join(", "),
    };
    Code::InvalidFilter.detail("No row has this action.").with("field", "action").with("valid", valid)
}

/// Whether it can name a person or an agent. An id cannot, nor what is left of one that was cut off, nor the beginning of a credential.
fn can_name(value: &str) -> bool {
    email::parse(value).is_some() || !(begins_as_id(value) || value.starts_with("acr_"))
}

/// Whether it can name the object of a row: an address or what stands before its @; the name of an agent, a preset or a scope; or a source of
/// guides.
fn can_name_object(value: &str) -> bool {
    let is_part = || !value.contains(char::is_uppercase) && email::parse(&format!("{value}@a.example")).is_some();
    can_name(value) && (email::parse(value).is_some() || is_part() || value.starts_with("app:"))
}

impl List {
    /// The filters that were sent, as the trail keeps them.
    fn asked(&self) -> Json {
        let filters = [
            ("actor", &self.actor),
            ("action", &self.action),
            ("object", &self.object),
            ("credential", &self.credential),
            ("request", &self.request),
            ("outcome", &self.outcome),
            ("since", &self.since),
            ("until", &self.until),
        ];
        let sent = filters.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        json!({ "filters": sent.collect::<BTreeMap<_, _>>() })
    }

    /// The filter. A name is that of an agent that the caller may know of, and of people.
    async fn filter(&self, app: &App, caller: &Caller) -> Result<Filter, ApiError> {
        let mut filter = self.read()?;
        if let Some(name) = filter.actor.take_if(|actor| can_name(actor) && email::parse(actor).is_none()) {
            let can_be_agent = AgentName::is_one(&name);
            filter.people = caller.named("actor", Some(&name))?;
            if can_be_agent && trail::is_agent(app.db(), caller.subject(), sees_all(caller), &name).await? {
                filter.actor = Some(name);
            }
        }
        // Rows of earlier releases may have actions that no route has any more.
        if let Some(action) = filter.action.as_deref().filter(|action| !is_action(action))
            && read(app, caller, &filter, "", 1).await?.is_empty()
        {
            return Err(no_action(action));
        }
        Ok(filter)
    }

    fn read(&self) -> Result<Filter, ApiError> {
        let moment = |field, value: &Option<String>| value.as_deref().map(|value| moment(field, value)).transpose();
        if self.outcome.as_deref().is_some_and(|outcome| !["done", "refused"].contains(&outcome)) {
            return Err(Code::InvalidFilter.with("field", "outcome").with("valid", "done, refused"));
        }
        // What is done to a key is about its agent.
        let ids: Vec<&str> = PREFIXES.iter().copied().filter(|prefix| !["key_", "req_"].contains(prefix)).collect();
        Ok(Filter {
            actor: named("actor", self.actor.as_ref(), (&["usr_", "agt_"], ACTORS), can_name)?,
            action: self.action.as_deref().map(read_action).transpose()?,
            object: named("object", self.object.as_ref(), (&ids, OBJECTS), can_name_object)?,
            credential: named("credential", self.credential.as_ref(), (&["tok_", "key_"], CREDENTIALS), |_| false)?,
            request: named("request", self.request.as_ref(), (&["req_"], REQUESTS), |_| false)?,
            outcome: self.outcome.clone(),
            since: moment("since", &self.since)?,
            until: moment("until", &self.until)?,
            people: None,
        })
    }
}

/// `GET /api/audit`: what happened to the agents that the caller may read, or in their tenant.
pub(crate) async fn list(app: App, caller: Caller, Query(query): Query<List>) -> Result<Response, ApiError> {
    let filter = query.filter(&app, &caller).await?;
    let page = caller.page(&app, &query.page)?;
    let (_, after) = page.after();
    let rows = read(&app, &caller, &filter, &after, page.rows()).await?;
    let response = response::json(StatusCode::OK, &page.page(rows, |row| (row.at, row.id.to_string())))?;
    Ok(covering(response, &caller))
}

/// The response, with what its rows are of: `tenant`, all of them; or `agents`, those that the caller may read. Else part of the trail would
/// look like all of it.
fn covering(mut response: Response, caller: &Caller) -> Response {
    let covers = if sees_all(caller) { "tenant" } else { "agents" };
    response.headers_mut().insert(COVERS, HeaderValue::from_static(covers));
    response
}

/// At most `limit` rows that the caller may see, the newest first, behind the row `after` (empty: from the newest).
async fn read(app: &App, caller: &Caller, filter: &Filter, after: &str, limit: i64) -> Result<Vec<Entry>, DbError> {
    trail::list(app.db(), caller.subject(), sees_all(caller), filter, after, limit).await
}

/// Whether the caller may see every row of the tenant.
fn sees_all(caller: &Caller) -> bool {
    caller.agent_id().is_none() && caller.scope().contains(Scope::AuditReadAll)
}

/// What the rows of a response are of.
const COVERS: HeaderName = HeaderName::from_static("x-accredit-covers");

/// Rows that the export reads at once: a row can have some 100 KB.
const BATCH: i64 = 100;

/// How an export is written: its media type, the name of its file, its first line, and a row of it.
struct Format {
    media: &'static str,
    file: &'static str,
    head: fn() -> String,
    row: fn(&Entry) -> Result<String, serde_json::Error>,
}

/// A JSON object a line.
static LINES: Format = Format {
    media: "application/x-ndjson",
    file: "attachment; filename=\"audit.ndjson\"",
    head: String::new,
    row: |row| lines::to_line(row),
};
/// CSV (RFC 4180), for spreadsheets.
static CSV: Format = Format {
    media: "text/csv; charset=utf-8",
    file: "attachment; filename=\"audit.csv\"",
    head: || COLUMNS.join(",") + "\r\n",
    row: |row| Ok(cells(row).map(|text| cell(&text)).join(",") + "\r\n"),
};

/// The columns of CSV.
const COLUMNS: [&str; 17] = [
    "id",
    "at",
    "action",
    "outcome",
    "count",
    "actor_user_id",
    "actor_email",
    "actor_agent_id",
    "actor_agent_name",
    "credential_id",
    "credential_kind",
    "address",
    "request_id",
    "object",
    "object_name",
    "before",
    "after",
];

/// What stands in them: what is null is empty.
fn cells(row: &Entry) -> [String; COLUMNS.len()] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let json = |json: &Json| if json.is_null() { String::new() } else { lines::to_text(json) };
    [
        row.id.to_string(),
        row.at.to_string(),
        row.action.clone(),
        row.outcome.clone(),
        row.count.to_string(),
        text(&row.actor.user_id),
        text(&row.actor.email),
        text(&row.actor.agent_id),
        text(&row.actor.agent_name),
        text(&row.credential_id),
        text(&row.credential_kind),
        text(&row.address),
        text(&row.request_id),
        text(&row.object),
        text(&row.object_name),
        json(&row.before),
        json(&row.after),
    ]
}

/// How a cell begins that a spreadsheet calculates.
const CALCULATES: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// A value in quotes. One that a spreadsheet would calculate, such as `=1+1`, stands behind an apostrophe, which makes it a text there; some
/// skip blanks before the sign, and those of East Asia take its wide form too.
fn cell(text: &str) -> String {
    let calculates = text.starts_with(['\t', '\r']) || text.trim_start().starts_with(CALCULATES);
    let guard = if calculates { "'" } else { "" };
    format!("\"{guard}{}\"", lines::seen(text).replace('"', "\"\""))
}

/// An export that is being sent.
struct Export {
    app: App,
    caller: Caller,
    route: &'static Route,
    filter: Filter,
    format: &'static Format,
}

/// The next step of an export.
enum Next {
    Write(Vec<Entry>),
    /// Reads the rows behind the one with this id.
    Read(String),
    End,
}

/// `GET /api/audit/export`: the same rows, one JSON object a line or as CSV, read while they are sent. The trail keeps who exported what of it;
/// the export itself does not have that row.
pub(crate) async fn export(
    change: Change<()>,
    route: &'static Route,
    Query(query): Query<List>,
) -> Result<Response, ApiError> {
    let (app, caller) = (change.app.clone(), change.caller.clone());
    let filter = query.filter(&app, &caller).await?;
    let format = match query.format.as_deref() {
        None | Some("ndjson") => &LINES,
        Some("csv") => &CSV,
        Some(_) => return Err(Code::InvalidFilter.with("field", "format").with("valid", "ndjson, csv")),
    };
    // Before the response begins, so that an outage is 503 and not a body that breaks off.
    let first = read(&app, &caller, &filter, "", BATCH).await?;
    let asked = query.asked();
    let tenant = caller.tenant_id().clone();
    change.run(async |_, ()| Ok(Answer::no_content().audited(&tenant, Null, asked))).await?;
    let whose = caller.clone();
    let export = Export { app, caller, route, filter, format };
    let pieces = stream::unfold((Next::Write(first), export), |(next, export)| async {
        let (piece, next) = match export.step(next).await? {
            Ok((lines, next)) => (Ok(Bytes::from(lines)), next),
            Err(refusal) => {
                let cause = refusal.inner().unwrap_or(refusal.code().row().slug);
                log(export.app.request_id(), "/api/audit/export broke off", cause);
                // The connection breaks, which shows the client that rows are missing.
                (Err(BrokenOff), Next::End)
            }
        };
        Some((piece, (next, export)))
    });
    let mut response = response::bytes(StatusCode::OK, format.media, Body::pieces(pieces));
    for (name, value) in [(header::CONTENT_DISPOSITION, format.file), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(covering(response, &whose))
}

impl Export {
    /// The next lines, and what comes behind them. `None`: the export is complete.
    async fn step(&self, next: Next) -> Option<Result<(String, Next), ApiError>> {
        match next {
            Next::Write(rows) => Some(self.write(&rows).map(|(lines, next)| ((self.format.head)() + &lines, next))),
            Next::Read(after) => Some(self.read_on(&after).await.and_then(|rows| self.write(&rows))),
            Next::End => None,
        }
    }

    /// Further rows, for the caller as the database knows them now and by the clock of now: an export can last, and a caller that has
    /// lost a right, or whose credential has ended, gets no more.
    async fn read_on(&self, after: &str) -> Result<Vec<Entry>, ApiError> {
        let app = &self.app;
        let caller = self.caller.reload(app.db(), app.clock().now()).await?;
        guard::admit(app, &caller, self.route)?;
        Ok(read(app, &caller, &self.filter, after, BATCH).await?)
    }

    fn write(&self, rows: &[Entry]) -> Result<(String, Next), ApiError> {
        let lines = rows.iter().map(self.format.row).collect::<Result<String, _>>();
        let lines = lines.map_err(|error| ApiError::from(Code::Internal).cause(error))?;
        let next = match rows.last() {
            Some(last) if i64::try_from(rows.len()).is_ok_and(|read| read == BATCH) => Next::Read(last.id.to_string()),
            _ => Next::End,
        };
        Ok((lines, next))
    }
}

form! {
    pub(crate) struct Verify {
        head: Option<String>,
        from: Option<i64>,
    }
}

/// `GET /api/audit/verify`: is the trail as it was sealed, and does it hold the head that was logged?
pub(crate) async fn verify(app: App, caller: Caller, Query(query): Query<Verify>) -> Result<Response, ApiError> {
    let head = match query.head.as_deref() {
        None => None,
        Some(head) => Some(Head::parse(head).ok_or(Code::InvalidHead)?),
    };
    let keys = &app.settings().audit_keys;
    if keys.is_empty() {
        return Err(Code::AuditKeyMissing.into());
    }
    let tenant = caller.tenant_id().as_str();
    let report = chain::verify(app.db(), keys, tenant, query.from, head.as_ref()).await?;
    response::json(StatusCode::OK, &report)
}

#[cfg(test)]
mod tests;
