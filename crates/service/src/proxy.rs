//! Forward auth: a proxy asks before it passes a request on. It sends the headers of that request, and with some proxies its method and
//! its path; what it wants to know stands in its own configuration, before all of that.

use common::{
    error::{ApiError, Code},
    route::{Query, Route},
    url::Url,
};

use crate::app::App;

/// Refuses a request without an `Authorization` header. A browser sends the cookie of this site with requests that any page makes it send,
/// and what they do behind the proxy nobody here knows: so a cookie is no credential there.
pub(crate) fn check_header(app: &App) -> Result<(), ApiError> {
    if app.headers().all("authorization").is_empty() { Err(Code::MissingCredential.into()) } else { Ok(()) }
}

/// A refusal that a proxy can pass on, with the place of the metadata of the service that it protects. At a row that takes any query the
/// query is the client's own: a link could name the metadata of a stranger there, and the client would send its person there to sign in.
pub(crate) fn refusal(app: &App, route: &Route, refusal: ApiError) -> ApiError {
    let query = match route.query {
        Query::Any => "",
        Query::Only(_) => app.head().uri.query().unwrap_or_default(),
    };
    let resource = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "resource");
    refusal.to_proxy(resource.and_then(|(_, resource)| metadata(&resource)))
}

/// Where the metadata of a service are. `None`: the text is no identifier of one.
pub fn metadata(resource: &str) -> Option<String> {
    Url::parse(resource)?.metadata()
}
