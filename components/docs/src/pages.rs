//! The documentation: HTML for browsers, Markdown for every other client. What is made from the code's own tables, so that it cannot
//! differ from it, is in `tables.rs`.

use common::{
    error::{ApiError, Code},
    route::{Group, Route},
};
use http::{StatusCode, header};
use service::{
    accept::weight,
    app::App,
    extract::Path,
    headers::Headers,
    response::{Response, see_other},
};

use crate::{
    html,
    library::{Form, Library, Written},
    tables,
};

/// The pages, by their paths below `/docs/` without the extension. Nothing else is read, whatever a request names.
const PAGES: &[&str] = &[
    "agents/",
    "agents/cli",
    "agents/errors",
    "agents/concepts/access",
    "agents/concepts/agents",
    "agents/concepts/audit",
    "agents/concepts/closures",
    "agents/concepts/credentials",
    "agents/concepts/deployment",
    "agents/concepts/device",
    "agents/concepts/doctor",
    "agents/concepts/enrolment",
    "agents/concepts/events",
    "agents/concepts/guard",
    "agents/concepts/guides",
    "agents/concepts/guarding",
    "agents/concepts/hooks",
    "agents/concepts/idempotency",
    "agents/concepts/inbox",
    "agents/concepts/dpop",
    "agents/concepts/introspection",
    "agents/concepts/keys",
    "agents/concepts/lifecycle",
    "agents/concepts/lists",
    "agents/concepts/mail",
    "agents/concepts/mcp",
    "agents/concepts/notifications",
    "agents/concepts/oauth",
    "agents/concepts/oauth-clients",
    "agents/concepts/once",
    "agents/concepts/overview",
    "agents/concepts/pats",
    "agents/concepts/people",
    "agents/concepts/permissions",
    "agents/concepts/presets",
    "agents/concepts/probes",
    "agents/concepts/providers",
    "agents/concepts/quotas",
    "agents/concepts/receipts",
    "agents/concepts/resources",
    "agents/concepts/runtime",
    "agents/concepts/second-factor",
    "agents/concepts/secrets",
    "agents/concepts/sharing",
    "agents/concepts/tenant",
    "agents/concepts/tree",
    "agents/concepts/verifying",
    "agents/concepts/webhooks",
    "agents/concepts/workload-identity",
    "agents/recipes/a-token-lacks-a-scope",
    "agents/recipes/accept-signed-tokens",
    "agents/recipes/add-a-tenant",
    "agents/recipes/ask-for-a-scope",
    "agents/recipes/back-up-and-restore",
    "agents/recipes/bind-a-token",
    "agents/recipes/connect-by-mcp",
    "agents/recipes/connect-github-or-slack",
    "agents/recipes/deploy-an-agent",
    "agents/recipes/do-one-thing-once",
    "agents/recipes/enrol-an-agent",
    "agents/recipes/first-agent",
    "agents/recipes/follow-an-agent",
    "agents/recipes/github-actions",
    "agents/recipes/give-a-secret",
    "agents/recipes/headless-in-ci",
    "agents/recipes/introspect-tokens",
    "agents/recipes/invite-a-colleague",
    "agents/recipes/kubernetes-workload",
    "agents/recipes/leave-the-company",
    "agents/recipes/let-an-app-in",
    "agents/recipes/protect-a-service",
    "agents/recipes/put-guides",
    "agents/recipes/receive-webhooks",
    "agents/recipes/recover-a-tenant",
    "agents/recipes/reset-a-password",
    "agents/recipes/rotate-a-fleet",
    "agents/recipes/rotate-a-token",
    "agents/recipes/rotate-the-keys",
    "agents/recipes/rotate-your-own-token",
    "agents/recipes/second-factor",
    "agents/recipes/set-up-a-server",
    "agents/recipes/sign-in-from-a-terminal",
    "agents/recipes/spiffe-behind-a-guard",
    "agents/recipes/stop-an-agent",
    "agents/recipes/stop-trusting-a-token",
    "agents/recipes/upgrade-the-server",
    "agents/recipes/verify-the-trail",
    "agents/recipes/watch-the-server",
];

/// The pages that are files, by their paths below `/docs/`.
pub const fn page_names() -> &'static [&'static str] {
    PAGES
}

/// Where the list of scopes goes.
const SCOPES: &str = "<!-- generated: scopes -->";

/// Where the reference runtime goes, which the tests run.
const RUNTIME: &str = "<!-- generated: runtime -->";

fn runtime() -> String {
    format!("```python\n{}```", include_str!("../../../tests/runtime/runtime.py"))
}

/// `GET /docs`.
pub(crate) async fn to_docs(app: App) -> Result<Response, ApiError> {
    Ok(see_other(&format!("{}/docs/", app.settings().link())))
}

/// `GET /docs/`: the first page.
pub(crate) async fn first(app: App, library: Library, headers: Headers) -> Result<Response, ApiError> {
    answer(&app, &library, &headers, "agents/")
}

/// `GET /docs/{page}`: a page, with or without `.md`; or the pages' style sheet.
pub(crate) async fn page(app: App, library: Library, headers: Headers, Path(path): Path) -> Result<Response, ApiError> {
    if path == "style.css" {
        let style =
            library.kept("style.css", || Ok(Written::new("text/css; charset=utf-8", html::STYLE.to_owned())))?;
        return Ok(style.answer(&headers));
    }
    answer(&app, &library, &headers, &path)
}

/// Whether a client prefers HTML over Markdown (RFC 9110, section 12.5.1). A client that names neither gets Markdown.
fn wants_html(accept: &str) -> bool {
    let html = weight(accept, "text/html").unwrap_or(0);
    html > 0 && html >= weight(accept, "text/markdown").unwrap_or(0)
}

fn answer(app: &App, library: &Library, headers: &Headers, path: &str) -> Result<Response, ApiError> {
    let bare = match path.strip_suffix(".md").unwrap_or(path) {
        "agents" | "agents/index" => "agents/",
        other => other,
    };
    let link = app.settings().link();
    let accept = headers.first("accept").unwrap_or_default();
    let form = if !path.ends_with(".md") && wants_html(&accept) { Form::Html } else { Form::Markdown };
    let Some(page) = Page::find(bare) else {
        return Err(Code::NotFound.detail("This page does not exist.").extra("pages", names(link)));
    };
    let written = library.kept(&format!("{form:?} {bare}"), || {
        let markdown = page.markdown(library)?;
        Ok(match form {
            Form::Html => Written::new("text/html; charset=utf-8", html::document(link, &markdown)),
            Form::Markdown => Written::new("text/markdown; charset=utf-8", linked(&markdown, link)),
        })
    })?;
    let mut response = written.answer(headers);
    if response.status() == StatusCode::OK {
        html::protect(response.headers_mut());
    } else {
        // RFC 9110, section 15.4.5: what the whole page would say.
        response.headers_mut().insert(header::VARY, html::VARIES);
    }
    Ok(response)
}

/// The text with the path of `public_url` before each link to this server.
pub(crate) fn linked(markdown: &str, link: &str) -> String {
    markdown.replace("](/", &format!("]({link}/"))
}

fn names(link: &str) -> Vec<String> {
    PAGES.iter().map(|name| format!("{link}/docs/{name}")).collect()
}

/// A page of the manual.
enum Page {
    /// A file, by its path below `/docs/` without the extension.
    File(&'static str),
    /// What leads to every slug.
    Errors,
    /// The slugs of a status.
    ErrorsOf(u16),
    /// Of one slug.
    Error(Code),
    /// Of one scope.
    Scope(common::scope::Scope),
    /// Of one route.
    Route(&'static Route),
    /// What leads to every route, for people.
    Api,
    /// The routes of a group.
    ApiOf(Group),
}

impl Page {
    fn find(path: &str) -> Option<Self> {
        if path == "api" {
            return Some(Self::Api);
        }
        if path == "agents/errors/all" {
            return Some(Self::Errors);
        }
        if let Some(name) = path.strip_prefix("api/") {
            return tables::groups().into_iter().find(|group| group.as_str() == name).map(Self::ApiOf);
        }
        if let Some(name) = path.strip_prefix("agents/errors/") {
            let of_status = tables::statuses().into_iter().find(|status| status.to_string() == name);
            return of_status.map(Self::ErrorsOf).or_else(|| tables::error_of(name).map(Self::Error));
        }
        if let Some(name) = path.strip_prefix("agents/scopes/") {
            return tables::scope_of(name).map(Self::Scope);
        }
        if let Some(name) = path.strip_prefix("agents/routes/") {
            return tables::route_of(name).map(Self::Route);
        }
        PAGES.iter().find(|page| **page == path).map(|page| Self::File(page))
    }

    fn markdown(&self, library: &Library) -> Result<String, ApiError> {
        Ok(match self {
            Self::File(page) => file(library, page)?,
            Self::Errors => tables::errors(),
            Self::ErrorsOf(status) => tables::errors_of(*status),
            Self::Error(code) => tables::error(*code),
            Self::Scope(scope) => tables::scope(*scope),
            Self::Route(route) => {
                let fields = library.fields()?;
                tables::route(route, &fields)
            }
            Self::Api => tables::api(),
            Self::ApiOf(group) => tables::api_of(*group),
        })
    }
}

/// A page that is a file, with what is made from the tables.
pub(crate) fn file(library: &Library, page: &str) -> Result<String, ApiError> {
    let name = if page.ends_with('/') { format!("{page}index.md") } else { format!("{page}.md") };
    let mut text = library.read(&name)?;
    for (mark, made) in [(SCOPES, tables::scopes as fn() -> String), (RUNTIME, runtime)] {
        if text.contains(mark) {
            text = text.replace(mark, &made());
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::Value::Null;
    use service::testing::TestApp;

    use std::path;

    use common::{error::ApiError, route::ROUTES, scope::Scope};

    use super::*;
    use crate::{router_for_tests as router, routes::over, tables::plain};

    /// The largest page of the manual.
    const MOST: usize = 12 * 1024;
    /// The same as HTML, for people.
    const MOST_HTML: usize = 24 * 1024;

    fn docs() -> std::path::PathBuf {
        path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
    }

    /// R753
    #[test]
    fn a_link_has_the_path_of_the_server_before_it() {
        let text = "[a](/docs/a), [b](/llms.txt), [c](https://c.example/)";
        assert_eq!(linked(text, "/x"), "[a](/x/docs/a), [b](/x/llms.txt), [c](https://c.example/)");
    }

    /// R753
    #[tokio::test]
    async fn what_a_client_has_varies_as_what_it_gets() {
        let t = TestApp::new(router());
        let path = "/docs/agents/concepts/agents";
        let whole = t.nobody("GET", path, Null).await;
        let again = t.call("GET", path, &[("if-none-match", whole.header("etag"))], Null).await;
        again.is(304);
        assert_eq!(
            (again.header("vary"), whole.header("vary")),
            ("accept, accept-encoding", "accept, accept-encoding")
        );
    }

    /// The paths of the pages that are made from the tables.
    fn made() -> Vec<String> {
        let errors = Code::ALL.iter().map(|code| code.reference_path());
        let scopes =
            Scope::ALL.iter().map(|scope| format!("/docs/agents/scopes/{}", common::error::anchor(scope.as_str())));
        let routes = ROUTES.iter().filter(|route| route.group != Group::Web);
        let lists = ["/docs/api".to_owned(), "/docs/agents/errors/all".to_owned()].into_iter();
        let groups = tables::groups().into_iter().map(|group| format!("/docs/api/{}", group.as_str()));
        let statuses = tables::statuses().into_iter().map(|status| format!("/docs/agents/errors/{status}"));
        let lists = lists.chain(groups).chain(statuses);
        errors.chain(scopes).chain(routes.map(|route| route.reference_path())).chain(lists).collect()
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
    fn the_first_page_links_every_page() {
        let first = std::fs::read_to_string(docs().join("agents/index.md")).unwrap();
        for page in PAGES.iter().filter(|page| **page != "agents/") {
            assert!(first.contains(&format!("](/docs/{page})")), "{page}");
        }
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
        let of = async |slug: &str| {
            let path = format!("/docs/agents/errors/{slug}");
            t.call("GET", &path, &[("accept", "text/html")], Null).await.text
        };
        assert!(of("missing-credential").await.contains("Authorization: Bearer &lt;token&gt;"));
        assert!(of("scope-denied").await.contains("&lt;the requests to send&gt;"));
        for code in Code::ALL {
            for fix in [code.row().fix].into_iter().chain(code.row().agent_fix).map(plain) {
                assert!(fix.starts_with(char::is_alphanumeric) || fix.starts_with('<'), "{fix}");
                for word in ["<rest>", "<bound>", "<verb>", "<steps>"] {
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
        urls.extend(made());
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
        let t = TestApp::new(over(Library::at(path::Path::new("/nowhere"))));
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

    /// R122, R411: every page is small enough to be read whole; as HTML, where links and tables take more, it is bounded too.
    #[tokio::test]
    async fn no_page_is_large() {
        let t = TestApp::new(router());
        let files = PAGES.iter().map(|name| format!("/docs/{name}"));
        for path in files.chain(made()) {
            for (accept, most) in [("text/markdown", MOST), ("text/html", MOST_HTML)] {
                let page = t.call("GET", &path, &[("accept", accept)], Null).await;
                page.is(200);
                assert!(page.text.len() <= most, "{path} as {accept}: {}", page.text.len());
            }
        }
    }

    /// R411: the lists of routes and of slugs lead to each of them, once.
    #[tokio::test]
    async fn the_lists_lead_to_every_route_and_slug() {
        let t = TestApp::new(router());
        for (first, below, all) in [
            ("/docs/api", "/docs/agents/routes/", made().iter().filter(|path| path.contains("/routes/")).count()),
            ("/docs/agents/errors/all", "/docs/agents/errors/", Code::ALL.len()),
        ] {
            let list = t.nobody("GET", first, Null).await.text;
            let mut found = Vec::new();
            for part in links(&list).filter(|link| link.starts_with("/docs/api/") || link.ends_with(char::is_numeric)) {
                let page = t.nobody("GET", &part, Null).await;
                page.is(200);
                let is_one = |link: &String| link.starts_with(below) && !link.ends_with("/all");
                found.extend(links(&page.text).filter(is_one));
            }
            let (listed, distinct) = (found.len(), found.into_iter().collect::<std::collections::BTreeSet<_>>().len());
            assert_eq!((listed, distinct), (all, all), "{first}");
        }
    }

    fn links(markdown: &str) -> impl Iterator<Item = String> {
        markdown.split("](").skip(1).filter_map(|rest| rest.split(')').next().map(str::to_owned))
    }

    /// R122: the page of a route has its fields, an example and what it answers.
    #[tokio::test]
    async fn the_page_of_a_route_says_what_to_send() {
        let t = TestApp::new(router());
        let page = t.nobody("GET", "/docs/agents/routes/post-api-ui-notify", Null).await.text;
        for part in [
            "# `POST /api/ui/notify`",
            "scope [`ui.notify`](/docs/agents/scopes/ui-notify)",
            "| `title` | a string | required |",
            "| `priority` | a string |  |",
            "Answers 201 with `delivered`, `notification_id`.",
            "Authorization: Bearer <token>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let page = t.nobody("GET", "/docs/agents/routes/post-api-agents-name-logs", Null).await.text;
        assert!(page.contains("a list of objects {text, level}"), "{page}");
    }

    /// Links between pages lead somewhere.
    #[tokio::test]
    async fn every_link_in_a_page_leads_somewhere() {
        let t = TestApp::new(router());
        let files = PAGES.iter().map(|name| format!("/docs/{name}"));
        for name in files.chain(made()) {
            let html = t.call("GET", &name, &[("accept", "text/html")], Null).await.text;
            for target in html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                if target.starts_with('/') {
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
