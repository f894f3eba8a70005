//! The documentation: HTML for browsers, Markdown for every other client. Two sections are made from the code's own tables, so that
//! they cannot differ from it: the errors and the scopes.

use std::{path, sync::Arc};

use common::{
    error::{ApiError, Code, anchor},
    role::Role,
    route::{Access, ROUTES},
    scope::Scope,
};
use http::{HeaderValue, StatusCode, header};
use service::{
    app::App,
    call::{Call, FromCall},
    extract::Path,
    headers::Headers,
    response::{Response, bytes},
};

use crate::html;

/// Where the component sees the pages' folder.
const GRANTED: &str = "/";

/// The pages, by their paths below `/docs/` without the extension. Nothing else is read, whatever a request names.
const PAGES: &[&str] = &[
    "agents/",
    "agents/cli",
    "agents/errors",
    "agents/concepts/access",
    "agents/concepts/agents",
    "agents/concepts/audit",
    "agents/concepts/credentials",
    "agents/concepts/device",
    "agents/concepts/doctor",
    "agents/concepts/idempotency",
    "agents/concepts/inbox",
    "agents/concepts/introspection",
    "agents/concepts/keys",
    "agents/concepts/lifecycle",
    "agents/concepts/lists",
    "agents/concepts/mail",
    "agents/concepts/notifications",
    "agents/concepts/pats",
    "agents/concepts/people",
    "agents/concepts/permissions",
    "agents/concepts/providers",
    "agents/concepts/second-factor",
    "agents/concepts/sharing",
    "agents/concepts/tenant",
    "agents/concepts/tree",
    "agents/recipes/ask-for-a-scope",
    "agents/recipes/first-agent",
    "agents/recipes/rotate-a-token",
    "agents/recipes/second-factor",
    "agents/recipes/sign-in-from-a-terminal",
    "agents/recipes/stop-an-agent",
    "agents/recipes/stop-trusting-a-token",
];

/// The folder with the pages.
#[derive(Clone)]
pub(crate) struct Folder(Arc<path::Path>);

impl FromCall for Folder {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        call.held()
    }
}

impl Folder {
    /// The folder that `spin.toml` grants.
    pub(crate) fn granted() -> Self {
        Self::at(path::Path::new(GRANTED))
    }

    /// A folder.
    pub(crate) fn at(folder: &path::Path) -> Self {
        Self(folder.into())
    }

    /// Reads a page of the list. Every release has all of them, so a missing one is the server's fault.
    fn read(&self, page: &str) -> Result<String, ApiError> {
        let name = if page.ends_with('/') { format!("{page}index.md") } else { format!("{page}.md") };
        std::fs::read_to_string(self.0.join(&name)).map_err(|error| {
            Code::Internal
                .detail(
                    "A page of the documentation cannot be read on this server. The error was logged with this request_id.",
                )
                .cause(format!("docs/{name}: {error}"))
        })
    }
}

/// Where the table of errors goes.
const ERRORS: &str = "<!-- generated: errors -->";
/// Where the table of scopes goes.
const SCOPES: &str = "<!-- generated: scopes -->";

/// `GET /docs/`: the first page.
pub(crate) async fn first(app: App, folder: Folder, headers: Headers) -> Result<Response, ApiError> {
    answer(&app, &folder, &headers, "agents/")
}

/// `GET /docs/{page}`: a page, with or without `.md`; or the pages' style sheet.
pub(crate) async fn page(app: App, folder: Folder, headers: Headers, Path(path): Path) -> Result<Response, ApiError> {
    if path == "style.css" {
        return Ok(bytes(StatusCode::OK, "text/css; charset=utf-8", html::STYLE));
    }
    answer(&app, &folder, &headers, &path)
}

/// Whether a client prefers HTML over Markdown (RFC 9110, section 12.5.1). A client that names neither gets Markdown.
fn wants_html(accept: &str) -> bool {
    let weight = |media_type: &str| {
        let mut ranges = accept.split(',').map(|range| range.split(';').map(str::trim));
        let mut found = ranges.find_map(|mut parts| parts.next()?.eq_ignore_ascii_case(media_type).then_some(parts))?;
        let q = found.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        // In thousandths: a weight has three decimals at most.
        Some(q.map_or(1_000, |q| match q.strip_prefix("0.") {
            Some(decimals) => format!("{decimals:0<3.3}").parse().unwrap_or(0),
            None if q == "0" => 0,
            None => 1_000,
        }))
    };
    let html: u32 = weight("text/html").unwrap_or(0);
    html > 0 && html >= weight("text/markdown").unwrap_or(0)
}

fn answer(app: &App, folder: &Folder, headers: &Headers, path: &str) -> Result<Response, ApiError> {
    let bare = match path.strip_suffix(".md").unwrap_or(path) {
        "agents" | "agents/index" => "agents/",
        other => other,
    };
    let Some(page) = PAGES.iter().find(|page| **page == bare) else {
        return Err(Code::NotFound.detail("This page does not exist.").extra("pages", names(app.settings().link())));
    };
    let markdown = folder.read(page)?.replace(ERRORS, &errors()).replace(SCOPES, &scopes());
    let accept = headers.first("accept").unwrap_or_default();
    let wants_html = !path.ends_with(".md") && wants_html(&accept);
    let (media_type, body) = if wants_html {
        ("text/html; charset=utf-8", html::document(app.settings().link(), &markdown))
    } else {
        ("text/markdown; charset=utf-8", markdown.replace("](/docs/", &format!("]({}/docs/", app.settings().link())))
    };
    let mut response = bytes(StatusCode::OK, media_type, body);
    for (name, value) in [
        (header::VARY, "accept"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, html::POLICY),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

fn names(link: &str) -> Vec<String> {
    PAGES.iter().map(|name| format!("{link}/docs/{name}")).collect()
}

/// One section for each error.
fn errors() -> String {
    let mut text = String::new();
    for code in Code::ALL {
        let row = code.row();
        text.push_str(&format!("## {}\n\n", anchor(row.slug)));
        text.push_str(&format!(
            "`{}`, status {}. {}\n\nTo fix it: {}\n\n",
            row.slug,
            row.status,
            row.detail,
            plain(row.fix)
        ));
        if let Some(fix) = row.agent_fix {
            text.push_str(&format!("As an agent: {}\n\n", plain(fix)));
        }
        if !row.page.is_empty() {
            text.push_str(&format!("More: [{0}]({0}).\n\n", row.page));
        }
    }
    text
}

/// The text that a reader sees for a placeholder whose own name is not clear enough.
const WORDS: [(&str, &str); 7] = [
    ("{bound}", "<least or most>"),
    ("{excess}", "<the scopes in excess_scopes>"),
    ("{legal}", "<the words in legal>"),
    (
        "{person_steps}",
        "Sign in with POST /auth/token: a session carries everything that your role allows. If your role does not allow the scope, ask an admin to raise the role with PATCH /api/users/<id>",
    ),
    ("{step}", "<the request to send>"),
    ("{steps}", "<the requests to send>"),
    ("{verb}", "<resume or start>"),
];

/// A template for a reader: doubled braces stand for single ones, and `{name}`, which the response fills in, becomes `<name>`. A
/// placeholder at the beginning, before a capital letter, stands for a whole sentence or nothing: it is left out.
fn plain(template: &str) -> String {
    let mut text = template;
    if let Some((name, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}'))
        && !name.starts_with('{')
        && rest.starts_with(char::is_uppercase)
    {
        text = rest;
    }
    let mut text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    for (name, words) in WORDS {
        text = text.replace(name, words);
    }
    text.replace('{', "<").replace('}', ">").replace('\u{1}', "{").replace('\u{2}', "}")
}

/// One section for each scope.
fn scopes() -> String {
    let mut text = String::new();
    for scope in Scope::ALL {
        text.push_str(&format!("### {}\n\n`{}`: {}\n\n", anchor(scope.as_str()), scope.as_str(), scope.describe()));
        for route in ROUTES.iter().filter(|route| route.access == Access::Scope(*scope)) {
            text.push_str(&format!("- `{} {}`: {}\n", route.method, route.path, route.title));
        }
        for route in ROUTES {
            for field in route.fields.iter().filter(|field| field.scope == Some(*scope)) {
                text.push_str(&format!("- `{} {}`: the field `{}`\n", route.method, route.path, field.name));
            }
        }
        let roles: Vec<&str> =
            Role::ALL.into_iter().filter(|role| role.ceiling().contains(*scope)).map(Role::as_str).collect();
        text.push_str(&format!("\nRoles that allow it: {}.\n\n", roles.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value::Null;
    use service::testing::TestApp;

    use super::*;
    use crate::routes::over;

    fn docs() -> std::path::PathBuf {
        path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
    }

    fn router() -> service::router::Router {
        over(Folder::at(&docs()))
    }

    fn files(folder: &path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files(&path, found);
            } else {
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }

    #[test]
    fn html_is_for_clients_that_prefer_it() {
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("text/markdown", false),
            ("text/html", true),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("text/html;q=0.1, text/markdown", false),
            ("text/markdown;q=0.5, TEXT/HTML;q=0.75", true),
            ("text/html;q=0", false),
            ("text/html;level=1;q=0.000", false),
            ("text/htmlx", false),
            ("text/html;q=é", true),
        ] {
            assert_eq!(wants_html(accept), expected, "{accept}");
        }
    }

    #[test]
    fn every_file_of_the_agents_documentation_is_a_page() {
        let root = docs();
        let mut found = vec![];
        files(&root.join("agents"), &mut found);
        let prefix = format!("{}/", root.to_string_lossy());
        // How recipes are written is for contributors.
        found.retain(|path| !path.ends_with("/README.md"));
        let mut names: Vec<String> = found
            .iter()
            .map(|path| path.trim_start_matches(&prefix).trim_end_matches(".md").trim_end_matches("index").to_owned())
            .collect();
        names.sort();
        let mut served = PAGES.to_vec();
        served.sort_unstable();
        assert_eq!(names, served);
    }

    #[test]
    fn a_template_is_written_for_a_reader() {
        assert_eq!(plain("{rest}What {owner} may."), "What <owner> may.");
        assert_eq!(plain("{first}Ask for it: {steps}."), "Ask for it: <the requests to send>.");
        assert_eq!(plain("{owner} sends {{\"a\": 1}}."), "<owner> sends {\"a\": 1}.");
        assert_eq!(plain("{{id}} is one."), "{id} is one.");
    }

    /// R58: no fix is shown as a raw template, and nothing in angle brackets is lost as a tag.
    #[tokio::test]
    async fn the_page_of_errors_can_be_read() {
        let t = TestApp::new(router());
        let page = t.call("GET", "/docs/agents/errors", &[("accept", "text/html")], Null).await.text;
        assert!(page.contains("Authorization: Bearer &lt;token&gt;") && page.contains("&lt;the requests to send&gt;"));
        for code in Code::ALL {
            for fix in [code.row().fix].into_iter().chain(code.row().agent_fix).map(plain) {
                assert!(fix.starts_with(char::is_alphanumeric) || fix.starts_with('<'), "{fix}");
                for word in ["<rest>", "<first>", "<bound>", "<verb>", "<steps>"] {
                    assert!(!fix.contains(word), "{fix}");
                }
            }
        }
    }

    /// R59: every page and anchor that a refusal or a route names is served without a credential.
    #[tokio::test]
    async fn every_page_and_anchor_that_the_tables_name_exists() {
        let t = TestApp::new(router());
        let mut urls: Vec<String> = ROUTES.iter().map(|route| route.page_path()).collect();
        for code in Code::ALL {
            urls.push(ApiError::from(*code).envelope("req_1", "", None).doc_url);
        }
        urls.extend(
            Scope::ALL.iter().map(|scope| format!("/docs/agents/concepts/permissions#{}", anchor(scope.as_str()))),
        );
        for url in urls {
            let (path, anchor) =
                url.split_once('#').map_or((url.as_str(), None), |(path, anchor)| (path, Some(anchor)));
            let page = t.call("GET", path, &[("accept", "text/html")], Null).await;
            page.is(200);
            if let Some(anchor) = anchor {
                assert!(page.text.contains(&format!("id=\"{anchor}\"")), "{url}");
            }
        }
    }

    #[tokio::test]
    async fn agents_get_markdown_and_browsers_html() {
        let t = TestApp::new(router());
        for (path, accept, form) in [
            ("/docs/agents/errors", "*/*", "text/markdown; charset=utf-8"),
            ("/docs/agents/errors", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
            ("/docs/agents/errors.md", "text/html", "text/markdown; charset=utf-8"),
            ("/docs/style.css", "*/*", "text/css; charset=utf-8"),
            ("/docs/", "text/html", "text/html; charset=utf-8"),
            ("/docs/agents/", "", "text/markdown; charset=utf-8"),
        ] {
            let answer = t.call("GET", path, &[("accept", accept)], Null).await;
            answer.is(200);
            assert_eq!(answer.header("content-type"), form, "{path}");
        }
        let refused = t.nobody("GET", "/docs/agents/nothing", Null).await.refused(404, "not_found");
        assert!(refused["pages"].as_array().unwrap().len() == PAGES.len());
    }

    /// A page that is missing from the folder is an error that says so, and no path leads beyond the list of pages.
    #[tokio::test]
    async fn a_missing_page_is_an_error_and_nothing_else_is_read() {
        let t = TestApp::new(over(Folder::at(path::Path::new("/nowhere"))));
        let refused = t.nobody("GET", "/docs/agents/errors", Null).await.refused(500, "internal");
        assert!(
            refused["detail"].as_str().unwrap().contains("documentation") && !refused.to_string().contains("nowhere")
        );
        let t = TestApp::new(router());
        for path in [
            "agents/../operations",
            "agents/concepts/../index",
            "agents/%2e%2e/operations",
            "operations",
            "/etc/passwd",
        ] {
            t.nobody("GET", &format!("/docs/{path}"), Null).await.refused(404, "not_found");
        }
    }

    /// Links between pages lead somewhere.
    #[tokio::test]
    async fn every_link_in_a_page_leads_somewhere() {
        let t = TestApp::new(router());
        for name in PAGES {
            let html = t.call("GET", &format!("/docs/{name}"), &[("accept", "text/html")], Null).await.text;
            for target in html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                if target.starts_with("/docs/") {
                    let (path, anchor) = target.split_once('#').map_or((target, ""), |(path, anchor)| (path, anchor));
                    let page = t.call("GET", path, &[("accept", "text/html")], Null).await;
                    page.is(200);
                    assert!(anchor.is_empty() || page.text.contains(&format!("id=\"{anchor}\"")), "{name}: {target}");
                } else {
                    assert!(!target.ends_with(".md") && !target.starts_with("http:"), "{name}: {target}");
                    let anchor = target.strip_prefix('#').unwrap_or_default();
                    assert!(anchor.is_empty() || html.contains(&format!("id=\"{anchor}\"")), "{name}: {target}");
                }
            }
        }
    }
}
