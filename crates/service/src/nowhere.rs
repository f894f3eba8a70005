//! The page for a browser at an address that does not exist or takes forms alone, and for one whose form no page could read. An address that
//! is a page's but for its slashes leads there. Programs get the envelope.

use common::{
    error::{ApiError, Code},
    route::{Group, ROUTES},
};
use http::{HeaderValue, Method, StatusCode, header};

use crate::{
    app::App,
    paths::matched,
    response::{Response, add_headers, bytes, see_other},
};

/// Below these, also a browser is answered as programs are.
const FOR_PROGRAMS: [&str; 9] =
    ["/api/", "/auth/", "/operator/", "/internal/", "/oauth/", "/cli/", "/assets/", "/.well-known/", "/mcp"];
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Below those, the forms of browsers.
const FORMS: [&str; 3] = ["/auth/login", "/auth/email/verify", "/oauth/authorize"];
/// What no page has read of a form.
const UNREAD: [Code; 4] = [Code::InvalidRequest, Code::BodyTooLarge, Code::BodyTooSlow, Code::UnsupportedMediaType];

/// What is the first part of addresses of pages and no page itself: where somebody finds themselves who shortens one, and the page meant.
const SHORTENED: [(&str, &str); 2] = [("/admin", "/admin/users"), ("/sessions", "/security")];

/// Tells which page a path means; `None`: it means none.
pub(crate) type Lead = fn(&str) -> Option<String>;

/// The page that a path means which is a page's but for its slashes; `None`: it means none.
pub(crate) fn meant(path: &str) -> Option<String> {
    let mut clean = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        clean.push('/');
        clean.push_str(part);
    }
    if clean.is_empty() {
        clean.push('/');
    }
    if let Some((_, page)) = SHORTENED.iter().find(|(short, _)| *short == clean) {
        return Some((*page).to_owned());
    }
    let mut pages = ROUTES.iter().filter(|row| row.method == "GET" && matches!(row.group, Group::Web | Group::Docs));
    (clean != path && pages.any(|page| matched(page.path, &clean).is_some())).then_some(clean)
}

/// Where a form stands whose address, without its last parts, is no page's or another one's.
const FORMS_ELSEWHERE: [(&str, &str); 4] = [
    ("/auth/login", "/login"),
    ("/start-all", "/stop-all"),
    ("/archived/{id}/restore", "/archived"),
    ("/sessions/{id}/end", "/security"),
];

/// The page that has the form for this path. The answer to a refused form stays at that address, so browsers open it too.
fn page_of_form(path: &str) -> &str {
    if let Some((_, page)) = FORMS_ELSEWHERE.iter().find(|(form, _)| matched(form, path).is_some()) {
        return page;
    }
    let is_page = |path: &str| {
        ROUTES.iter().any(|row| row.method == "GET" && row.group == Group::Web && matched(row.path, path).is_some())
    };
    let mut page = path;
    while let Some((shorter, _)) = page.rsplit_once('/').filter(|(shorter, _)| !shorter.is_empty()) {
        page = shorter;
        if is_page(page) {
            return page;
        }
    }
    "/"
}

/// The page in place of this refusal; `None`: the refusal is another one, or nobody asks for a page.
pub(crate) fn page(app: &App, refusal: &ApiError, lead: Option<Lead>) -> Option<Response> {
    let (head, path) = (app.head(), app.path());
    let accepts = app.headers().texts(header::ACCEPT.as_str());
    let wants_html = accepts.iter().any(|accept| accept.contains("text/html"));
    let is_for_programs =
        FOR_PROGRAMS.iter().any(|start| path.starts_with(start)) && !FORMS.contains(&path.trim_end_matches('/'));
    let (code, sentence) = (refusal.code(), refusal.sentence());
    let (heading, text) = match head.method {
        _ if !wants_html || is_for_programs => return None,
        Method::GET | Method::HEAD
            if code == Code::NotFound
                && let Some(page) = lead.and_then(|lead| lead(path)) =>
        {
            let (sign, query) = head.uri.query().map_or(("", ""), |query| ("?", query));
            return Some(with_policy(see_other(&[app.settings().link(), &page, sign, query].concat())));
        }
        Method::GET | Method::HEAD if code == Code::MethodNotAllowed && lead.is_some() => {
            return Some(with_policy(see_other(&[app.settings().link(), page_of_form(path)].concat())));
        }
        Method::GET | Method::HEAD if code == Code::NotFound => {
            ("This page does not exist", "The address may have been typed wrong, or the page was moved.")
        }
        Method::GET | Method::HEAD if code == Code::MethodNotAllowed => (
            "There is nothing to see here",
            "This address takes only what a form sends. Go back to the form, or begin at the home page.",
        ),
        Method::GET | Method::HEAD if code == Code::CredentialInUrl => (
            "A credential stands in this address",
            "Browsers, proxies and logs keep addresses, so it may have leaked. Report it, which ends it, and replace it where it is used.",
        ),
        Method::POST if UNREAD.contains(&code) => ("This did not work", sentence),
        _ => return None,
    };
    let status = StatusCode::from_u16(code.row().status).unwrap_or(StatusCode::NOT_FOUND);
    let next = match code {
        Code::CredentialInUrl => ("/leaks", "Report it"),
        _ => ("/", "Home"),
    };
    let mut response = with_policy(bytes(status, "text/html; charset=utf-8", html(app, heading, text, next)));
    add_headers(&mut response, refusal);
    Some(response)
}

fn with_policy(mut response: Response) -> Response {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// As text of a page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Nothing of the request is in it but its id: the sentences are ours. The style sheet of any version is the newest one.
fn html(app: &App, heading: &str, text: &str, (page, name): (&str, &str)) -> String {
    let text = escaped(text);
    let (link, request) = (app.settings().link(), app.request_id().as_str());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{heading} · Accredit</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"{link}/assets/0/style.css\">\n</head>\n<body>\n\
         <main id=\"main\" class=\"alone\">\n<a class=\"brand\" href=\"{link}/\">Accredit</a>\n\
         <div class=\"card\"><div class=\"body\"><h1>{heading}</h1>\n\
         <p>{text}</p>\n\
         <div class=\"row\"><a class=\"button main\" href=\"{link}{page}\">{name}</a><a class=\"small end\" href=\"{link}/docs/\">Manual</a></div>\n\
         <p class=\"small faint\">Request <code>{request}</code></p></div></div>\n</main>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R646
    #[test]
    fn the_address_of_a_form_leads_to_its_page() {
        for (form, page) in [
            ("/admin/users/usr_1/change", "/admin/users/usr_1"),
            ("/access/acc_1/approve", "/access/acc_1"),
            ("/archived/agt_1/restore", "/archived"),
            ("/archived/agt_1/purge", "/archived/agt_1"),
            ("/security/begin", "/security"),
            ("/profile/identities/idn_1/unlink", "/profile"),
            ("/tokens/tok_1/rotate", "/tokens"),
            ("/sessions/tok_1/end", "/security"),
            ("/login/link", "/login"),
            ("/auth/login", "/login"),
            ("/start-all", "/stop-all"),
            ("/logout", "/"),
        ] {
            assert_eq!(page_of_form(form), page);
        }
    }

    /// R473
    #[test]
    fn an_address_that_is_a_pages_but_for_its_slashes_means_that_page() {
        for (path, page) in [
            ("/agents/", "/agents"),
            ("/agents/scout/", "/agents/scout"),
            ("//agents///scout//log", "/agents/scout/log"),
            ("/admin", "/admin/users"),
            ("/admin/", "/admin/users"),
            ("/admin/users/", "/admin/users"),
            ("//login", "/login"),
            ("//", "/"),
            ("/auth/email/verify/", "/auth/email/verify"),
            ("/docs/agents/cli/", "/docs/agents/cli"),
        ] {
            assert_eq!(meant(path).as_deref(), Some(page), "{path}");
        }
        for path in ["/", "/agents", "/nothing/", "//evil.example/", "/\\evil.example/", "/logout/", "/admin/nothing/"]
        {
            assert_eq!(meant(path), None, "{path}");
        }
    }
}
