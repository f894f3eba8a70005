//! Pages of other origins at the endpoints of OAuth (the CORS protocol of the Fetch standard): an app that runs in a browser gets its tokens
//! there by itself. Nothing at these endpoints looks at a cookie, so that every origin is let in, and none with credentials of the browser.
//! The API is not among them: what its answers hold is for pages of this server alone.

use common::{
    error::{ApiError, RefusalHeader},
    route::Route,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::{
    app::App,
    response::{Response, empty},
};

/// What a page may send beside what every page may: how a client proves itself, and what clients of MCP send with each request.
const TAKEN: &str = "authorization, content-type, dpop, mcp-protocol-version";
/// What a page may read beside what every page may.
const SHOWN: &str = "retry-after, www-authenticate, x-request-id";
/// Seconds for which a browser need not ask again.
const KEPT: &str = "600";

const ANY: &str = "*";

/// Whether a browser asks whether it may send a request of a page.
pub(crate) fn is_preflight(app: &App) -> bool {
    app.headers().first("access-control-request-method").is_some()
}

/// Answers what a browser asks before it sends a page's request.
pub(crate) fn preflight<'r>(rows: impl Iterator<Item = &'r Route>) -> Response {
    let methods: Vec<&str> = rows.filter(|row| row.for_browsers).map(|row| row.method).collect();
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    insert(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    insert(headers, header::ACCESS_CONTROL_ALLOW_METHODS, &methods.join(", "));
    insert(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, TAKEN);
    insert(headers, header::ACCESS_CONTROL_MAX_AGE, KEPT);
    response
}

/// Lets pages of every origin read an answer, or a refusal.
pub(crate) fn open(result: Result<Response, ApiError>) -> Result<Response, ApiError> {
    match result {
        Ok(mut response) => {
            let headers = response.headers_mut();
            insert(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
            insert(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, SHOWN);
            Ok(response)
        }
        Err(refusal) => Err(refusal
            .header(RefusalHeader::AccessControlAllowOrigin, ANY)
            .header(RefusalHeader::AccessControlExposeHeaders, SHOWN)),
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
