use axum::{
    Extension,
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use common::{
    caller::Caller,
    db::DbError,
    error::{ApiError, Code},
    form,
    form::Params,
    http::{App, json, json_line, log, text},
    page::Wanted,
    seal::{self, Head},
    store::audit::{self, Entry, Filter},
    time::Timestamp,
};
use futures_util::stream;

form! {
    /// The export takes the filters alone; the route table says so.
    pub(crate) struct List {
        actor: Option<String>,
        action: Option<String>,
        object: Option<String>,
        outcome: Option<String>,
        since: Option<String>,
        until: Option<String>,
        cursor: Option<String>,
        limit: Option<i64>,
    }
}

impl List {
    fn filter(&self) -> Result<Filter, ApiError> {
        let words = |field, value: &Option<String>| value.as_deref().map(|value| text(field, value, 254)).transpose();
        let moment = |field, value: &Option<String>| match value.as_deref() {
            None => Ok(None),
            Some(value) => Timestamp::parse(value).map(Some).ok_or_else(|| Code::InvalidTime.with("field", field)),
        };
        if self.outcome.as_deref().is_some_and(|outcome| !["done", "refused"].contains(&outcome)) {
            return Err(Code::InvalidFilter.with("field", "outcome").with("valid", "done, refused"));
        }
        Ok(Filter {
            actor: words("actor", &self.actor)?,
            action: words("action", &self.action)?,
            object: words("object", &self.object)?,
            outcome: self.outcome.clone(),
            since: moment("since", &self.since)?,
            until: moment("until", &self.until)?,
        })
    }
}

/// `GET /api/audit`: what happened to the agents that the caller may read, or in his tenant.
pub(crate) async fn list(
    app: App,
    Extension(caller): Extension<Caller>,
    Params(ask): Params<List>,
) -> Result<Response, ApiError> {
    let filter = ask.filter()?;
    let bound = [&ask.actor, &ask.action, &ask.object, &ask.outcome, &ask.since, &ask.until];
    let bound = bound.map(|filter| filter.as_deref().unwrap_or_default());
    let wanted = Wanted::read(&caller, ask.limit, ask.cursor.as_deref(), &bound)?;
    let (_, after) = wanted.after();
    let rows = audit::list(app.db(), &caller, &filter, &after, wanted.rows()).await?;
    json(StatusCode::OK, &wanted.page(rows, |row| (row.at, row.id.to_string())))
}

/// Rows that the export reads at once: a row can have some 100 KB.
const BATCH: i64 = 100;

/// What the export does next.
enum Next {
    Write(Vec<Entry>),
    Read(String),
    End,
}

/// `GET /api/audit/export`: the same rows, one JSON object a line, read while they are sent.
pub(crate) async fn export(
    app: App,
    Extension(caller): Extension<Caller>,
    Params(ask): Params<List>,
) -> Result<Response, ApiError> {
    let filter = ask.filter()?;
    // Asked before there is an answer, so that an outage is 503 and not a body that breaks off.
    let first = audit::list(app.db(), &caller, &filter, "", BATCH).await?;
    let lines = stream::unfold((Next::Write(first), app, caller, filter), |(next, app, caller, filter)| async {
        let rows = match next {
            Next::Write(rows) => Ok(rows),
            Next::Read(after) => audit::list(app.db(), &caller, &filter, &after, BATCH).await,
            Next::End => return None,
        };
        match rows.and_then(write) {
            Ok((text, next)) => Some((Ok(text), (next, app, caller, filter))),
            Err(error) => {
                // The connection breaks, which tells the client that this is not all.
                log(app.request_id(), "/api/audit/export", &error.to_string());
                Some((Err(error), (Next::End, app, caller, filter)))
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"audit.ndjson\"")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

fn write(rows: Vec<Entry>) -> Result<(String, Next), DbError> {
    let lines = rows.iter().map(json_line).collect::<Result<_, _>>();
    let next = match rows.last() {
        Some(last) if i64::try_from(rows.len()).is_ok_and(|read| read == BATCH) => Next::Read(last.id.to_string()),
        _ => Next::End,
    };
    Ok((lines.map_err(|_| DbError::Row("a row that cannot be written"))?, next))
}

form! {
    pub(crate) struct Verify {
        head: Option<String>,
        from: Option<i64>,
    }
}

/// `GET /api/audit/verify`: is the trail as it was sealed, and does it hold the head that was logged?
pub(crate) async fn verify(
    app: App,
    Extension(caller): Extension<Caller>,
    Params(ask): Params<Verify>,
) -> Result<Response, ApiError> {
    let head = match ask.head.as_deref() {
        None => None,
        Some(head) => Some(Head::parse(head).ok_or(Code::InvalidHead)?),
    };
    let keys = &app.settings().audit_keys;
    if keys.is_empty() {
        return Err(Code::AuditKeyMissing.into());
    }
    let tenant = caller.tenant_id().as_str();
    let report = seal::verify(app.db(), keys, tenant, ask.from.unwrap_or(i64::MIN), head.as_ref()).await?;
    json(StatusCode::OK, &report)
}
