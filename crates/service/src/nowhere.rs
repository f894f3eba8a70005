//! The page for a browser at an address that does not exist or takes forms alone, and for one whose form no page could read. Programs get
//! the envelope.

use common::error::{ApiError, Code};
use http::{HeaderValue, Method, StatusCode, header};

use crate::{
    app::App,
    response::{Response, add_headers, bytes},
};

/// Below these, also a browser is answered as programs are.
const FOR_PROGRAMS: [&str; 9] =
    ["/api/", "/auth/", "/operator/", "/internal/", "/oauth/", "/cli/", "/assets/", "/.well-known/", "/mcp"];
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Below those, the forms of browsers.
const FORMS: [&str; 3] = ["/auth/login", "/auth/email/verify", "/oauth/authorize"];
/// What no page has read of a form.
const UNREAD: [Code; 4] = [Code::InvalidRequest, Code::BodyTooLarge, Code::BodyTooSlow, Code::UnsupportedMediaType];

/// The page in place of this refusal; `None`: the refusal is another one, or nobody asks for a page.
pub(crate) fn page(app: &App, refusal: &ApiError) -> Option<Response> {
    let (head, path) = (app.head(), app.path());
    let accepts = app.headers().texts(header::ACCEPT.as_str());
    let wants_html = accepts.iter().any(|accept| accept.contains("text/html"));
    let is_for_programs = FOR_PROGRAMS.iter().any(|start| path.starts_with(start)) && !FORMS.contains(&path);
    let (code, sentence) = (refusal.code(), refusal.sentence());
    let (heading, text) = match head.method {
        _ if !wants_html || is_for_programs => return None,
        Method::GET | Method::HEAD if code == Code::NotFound => {
            ("This page does not exist", "The address may have been typed wrong, or the page was moved.")
        }
        Method::GET | Method::HEAD if code == Code::MethodNotAllowed => (
            "There is nothing to see here",
            "This address takes only what a form sends. Go back to the form, or begin at the home page.",
        ),
        Method::POST if UNREAD.contains(&code) => ("This did not work", sentence),
        _ => return None,
    };
    let status = StatusCode::from_u16(code.row().status).unwrap_or(StatusCode::NOT_FOUND);
    let mut response = bytes(status, "text/html; charset=utf-8", html(app, heading, text));
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    add_headers(&mut response, refusal);
    Some(response)
}

/// As text of a page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Nothing of the request is in it but its id: the sentences are ours. The style sheet of any version is the newest one.
fn html(app: &App, heading: &str, text: &str) -> String {
    let text = escaped(text);
    let (link, request) = (app.settings().link(), app.request_id().as_str());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{heading} · Accredit</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"{link}/assets/0/style.css\">\n</head>\n<body>\n\
         <main id=\"main\" class=\"alone\">\n<a class=\"brand\" href=\"{link}/\">Accredit</a>\n\
         <div class=\"card\"><div class=\"body\"><h1>{heading}</h1>\n\
         <p>{text}</p>\n\
         <div class=\"row\"><a class=\"button main\" href=\"{link}/\">Home</a><a class=\"small end\" href=\"{link}/docs/\">Manual</a></div>\n\
         <p class=\"small faint\">Request <code>{request}</code></p></div></div>\n</main>\n</body>\n</html>\n"
    )
}
