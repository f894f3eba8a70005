//! What an agent reads first: `/llms.txt`, and the manual for agents on one page; the OpenAPI document; whom to tell of a weakness.

use common::{
    error::{ApiError, Code},
    route::{AGENTS_GET, ROUTES},
};
use service::{
    app::App,
    headers::Headers,
    response::{Response, bytes},
};

use crate::{
    library::{Fields, Library, Written},
    pages,
};

/// The pages that follow `/llms.txt` in the long form: what an agent may need to know, and nothing that only people do.
const FULL: &[&str] = &[
    "agents/concepts/access",
    "agents/concepts/credentials",
    "agents/concepts/idempotency",
    "agents/concepts/inbox",
    "agents/concepts/lifecycle",
    "agents/concepts/lists",
    "agents/concepts/notifications",
    "agents/concepts/sharing",
];

const TEXT: &str = "text/plain; charset=utf-8";

/// `GET /llms.txt`.
pub(crate) async fn short(app: App, library: Library, headers: Headers) -> Result<Response, ApiError> {
    let link = app.settings().link();
    let written = library.kept("llms.txt", || Ok(Written::new(TEXT, written(&library, link)?)))?;
    Ok(written.answer(&headers))
}

/// `GET /llms-full.txt`.
pub(crate) async fn full(app: App, library: Library, headers: Headers) -> Result<Response, ApiError> {
    let link = app.settings().link();
    let written = library.kept("llms-full.txt", || {
        let mut text = written(&library, link)?;
        for page in FULL {
            text.push_str("\n---\n\n");
            text.push_str(&pages::linked(&pages::file(&library, page)?, link));
        }
        Ok(Written::new(TEXT, text))
    })?;
    Ok(written.answer(&headers))
}

/// `GET /openapi.json`.
pub(crate) async fn openapi(app: App, library: Library, headers: Headers) -> Result<Response, ApiError> {
    let written = library.kept("openapi.json", || {
        let document = library.read("reference/openapi.json")?;
        let base = format!("\"url\":\"{}/\"", app.settings().link());
        Ok(Written::new("application/json", document.replacen("\"url\":\"/\"", &base, 1)))
    })?;
    Ok(written.answer(&headers))
}

/// How long a `security.txt` may be trusted, seconds (RFC 9116, section 2.5.5: less than a year).
const TRUSTED: i64 = 180 * 24 * 3600;

/// `GET /.well-known/security.txt` (RFC 9116).
pub(crate) async fn security(app: App) -> Result<Response, ApiError> {
    let Some(contact) = &app.settings().security_contact else {
        return Err(Code::NotFound
            .detail("The operator of this server has named nobody to report a vulnerability to.")
            .fix("Ask the operator to set the variable security_contact. To report a leaked credential, send POST /auth/leaks {\"token\": \"<the credential>\"}."));
    };
    let expires = app.now().plus_seconds(TRUSTED);
    Ok(bytes(http::StatusCode::OK, TEXT, format!("Contact: {contact}\nExpires: {expires}\nPreferred-Languages: en\n")))
}

/// The short manual: each `<METHOD /path>` of its source becomes the call with its fields and its answer.
fn written(library: &Library, link: &str) -> Result<String, ApiError> {
    let (source, fields) = (library.read("reference/llms.md")?, library.fields()?);
    let mut text = pages::linked(&source, link);
    let agent = fields.of(AGENTS_GET).answer.unwrap_or_default();
    for route in ROUTES {
        let call = format!("{} {}", route.method, route.path);
        let marker = format!("<{call}>");
        if text.contains(&marker) {
            text = text.replace(&marker, &line(&call, &fields.of(route), &agent));
        }
    }
    Ok(text)
}

/// A call with its fields and its answer: `POST /api/ui/notify {title, body, priority?} → 201 {delivered}`. The members of an agent stand in
/// one line alone.
fn line(call: &str, fields: &Fields, agent: &[String]) -> String {
    let listed = |of: &[(String, bool, String)]| {
        let names =
            of.iter().map(|(name, is_required, _)| if *is_required { name.clone() } else { format!("{name}?") });
        names.collect::<Vec<_>>().join(", ")
    };
    let mut line = format!("`{call}`");
    if !fields.query.is_empty() {
        line.push_str(&format!(" ?{{{}}}", listed(&fields.query)));
    }
    if !fields.body.is_empty() {
        line.push_str(&format!(" {{{}}}", listed(&fields.body)));
    }
    match (fields.status, &fields.answer) {
        (Some(status), Some(members))
            if members.len() > agent.len() && agent.iter().all(|name| members.contains(name)) =>
        {
            let rest: Vec<&str> = members.iter().filter(|name| !agent.contains(name)).map(String::as_str).collect();
            line.push_str(&format!(" → {status} {{the members of an agent, as above, {}}}", rest.join(", ")));
        }
        (Some(status), Some(members)) if !members.is_empty() => {
            line.push_str(&format!(" → {status} {{{}}}", members.join(", ")));
        }
        (Some(status), _) => line.push_str(&format!(" → {status}")),
        _ => {}
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::Value::Null;
    use service::testing::TestApp;

    use crate::router_for_tests as router;

    /// R119: both manuals are bounded, every call in them is a row of the table, and nothing in them is left to be filled in.
    #[tokio::test]
    async fn the_manuals_for_agents_are_small_and_whole() {
        let t = TestApp::new(router());
        for (path, most) in [("/llms.txt", 8 * 1024), ("/llms-full.txt", 64 * 1024)] {
            let answer = t.nobody("GET", path, Null).await;
            answer.is(200);
            assert!(answer.text.len() <= most, "{path}: {}", answer.text.len());
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                assert!(!answer.text.contains(&format!("<{method} /")), "{path}");
            }
        }
        let short = t.nobody("GET", "/llms.txt", Null).await.text;
        let calls = short.lines().filter(|line| line.starts_with("- ") && line.contains('→')).count();
        assert!((20..=30).contains(&calls), "{calls}");
    }

    /// R119: each is sent with a tag, and not sent again to a client that has it.
    #[tokio::test]
    async fn what_a_client_has_is_not_sent_again() {
        let t = TestApp::new(router());
        for path in ["/llms.txt", "/openapi.json", "/docs/agents/errors", "/docs/api"] {
            let first = t.nobody("GET", path, Null).await;
            let tag = first.header("etag").to_owned();
            assert!(tag.len() > 10, "{path}");
            let again = t.call("GET", path, &[("if-none-match", &tag)], Null).await;
            again.is(304);
            assert!(again.text.is_empty() && again.header("etag") == tag, "{path}");
        }
    }

    /// R119: nobody is named unless the operator names somebody.
    #[tokio::test]
    async fn security_txt_names_whom_the_operator_names() {
        let t = TestApp::new(router());
        t.nobody("GET", "/.well-known/security.txt", Null).await.refused(404, "not_found");
        let contact = Some("mailto:security@example.com".to_owned());
        let t =
            TestApp::with(router(), service::settings::Settings { security_contact: contact, ..Default::default() });
        let text = t.nobody("GET", "/.well-known/security.txt", Null).await.text;
        assert!(text.starts_with("Contact: mailto:security@example.com\nExpires: 2026-"), "{text}");
    }
}
