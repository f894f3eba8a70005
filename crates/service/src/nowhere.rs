//! The page for a browser at an address that does not exist. Programs get the envelope.

use common::error::{ApiError, Code};
use http::{HeaderValue, Method, StatusCode, header};

use crate::{
    app::App,
    response::{Response, bytes},
};

/// Below these, also a browser is answered as programs are.
const FOR_PROGRAMS: [&str; 9] =
    ["/api/", "/auth/", "/operator/", "/internal/", "/oauth/", "/cli/", "/assets/", "/.well-known/", "/mcp"];
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The page in place of this refusal; `None`: the refusal is another one, or nobody asks for a page.
pub(crate) fn page(app: &App, refusal: &ApiError) -> Option<Response> {
    let head = app.head();
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    let is_for_programs = FOR_PROGRAMS.iter().any(|start| app.path().starts_with(start));
    let accepts = app.headers().texts(header::ACCEPT.as_str());
    let wants_html = accepts.iter().any(|accept| accept.contains("text/html"));
    if refusal.code() != Code::NotFound || !is_read || is_for_programs || !wants_html {
        return None;
    }
    let mut response = bytes(StatusCode::NOT_FOUND, "text/html; charset=utf-8", html(app));
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

/// Nothing of the request is in it but its id. The style sheet of any version is the newest one.
fn html(app: &App) -> String {
    let (link, request) = (app.settings().link(), app.request_id().as_str());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Not found · Accredit</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"{link}/assets/0/style.css\">\n</head>\n<body>\n\
         <main id=\"main\" class=\"alone\">\n<a class=\"brand\" href=\"{link}/\">Accredit</a>\n\
         <div class=\"card\"><div class=\"body\"><h1>This page does not exist</h1>\n\
         <p>The address may have been typed wrong, or the page was moved.</p>\n\
         <div class=\"row\"><a class=\"button main\" href=\"{link}/\">Home</a><a class=\"small end\" href=\"{link}/docs/\">Manual</a></div>\n\
         <p class=\"small faint\">Request <code>{request}</code></p></div></div>\n</main>\n</body>\n</html>\n"
    )
}
