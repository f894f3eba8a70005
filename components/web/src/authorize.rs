//! `/oauth/authorize`: an app asks to be let in, and the visitor decides (RFC 6749, section 3.1). The request is passed on as it came, so
//! that the API alone reads it. Nothing is granted by opening the page.

use askama::Template;
use common::{
    error::{ApiError, Code},
    oauth::{document_url, origin_of},
    route,
};
use futures_util::future::join3;
use http::{HeaderValue, header};
use serde_json::{Value as Json, json};
use service::{app::App, response::Response};

use crate::{
    access::{Possible, possible},
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, number},
    page::{POLICY, Shell, answer, answer_form, lead, leave, see_other_site, write_with},
    scopes::{Choice, given},
};

#[derive(Template)]
#[template(path = "authorize.html")]
struct AuthorizePage {
    shell: Shell,
    typed: Form,
    /// The request, as it came.
    text: String,
    request: Json,
    possible: Vec<Possible>,
    /// The same by what they are about, where the app does not say what it needs.
    choice: Choice,
}

/// The page about an app that the visitor's tenant does not know. Another one may: the visitor can sign in there.
#[derive(Template)]
#[template(path = "unknown_app.html")]
struct UnknownPage {
    shell: Shell,
    next: String,
}

/// The page of this request.
fn with_request(text: &str) -> String {
    format!("/oauth/authorize?{text}")
}

impl AuthorizePage {
    /// This page.
    fn next(&self) -> String {
        with_request(&self.text)
    }

    fn client(&self) -> &Json {
        self.request.at("client")
    }

    /// How many scopes are left out, in words.
    fn left_out(&self) -> String {
        self.request.words("left_out").join(", ")
    }
}

/// `GET /oauth/authorize`.
pub(crate) async fn show(app: App) -> Result<Response, ApiError> {
    let text = app.head().uri.query().unwrap_or_default().to_owned();
    answer(&app, async {
        match page(&app, &text, &Form::default(), None).await {
            Err(Trouble::Refused(refusal)) if refusal.slug == "unknown_client" => {
                show_unknown(&app, &text, refusal).await
            }
            shown => Ok(leading_back(shown?, &text)),
        }
    })
    .await
}

async fn show_unknown(app: &App, text: &str, refusal: Refusal) -> Result<Response, Trouble> {
    let (api, status) = (Api::of(app)?, refusal.status);
    let shell = Shell::load(app, &api, "This app is not known here", "").await?.with(Some(refusal));
    write_with(&UnknownPage { shell, next: with_request(text) }, status)
}

/// The request as the API reads it. A document by which a client is known is read first.
async fn read(api: &Api<'_>, text: &str) -> Result<Json, Trouble> {
    let client = Form::parse(text).raw("client_id").to_owned();
    if document_url(&client).is_some() {
        api.get(route::CLIENT_DOCUMENT, &[], &[("client_id", &client)]).await?;
    }
    api.get(route::AUTHORIZATION, &[], &[("request", text)]).await
}

async fn page(app: &App, text: &str, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let (shell, request, custom) =
        join3(Shell::load(app, &api, "Let an app in", ""), read(&api, text), api.get(route::SCOPES_CUSTOM, &[], &[]))
            .await;
    let (shell, request) = (shell?, request?);
    // An app that nobody here has looked at sends the visitor nowhere by itself (RFC 9700, section 4.11.2).
    if !request.at("redirect_to").is_null() && request.at("client").is("is_registered") {
        return lead_to(app, request.text("redirect_to"));
    }
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (custom, ticked) = (custom.unwrap_or_default(), typed.all("scope"));
    let is_all = typed.text("from").is_empty() && request.is("names_scopes");
    let possible = request.words("scope").into_iter().map(|scope| {
        let is_ticked = is_all || ticked.contains(&scope);
        Possible { is_ticked, ..possible(scope, &ticked, &custom) }
    });
    let possible = possible.collect();
    let choice = Choice::of_asked(&request, &custom, typed);
    let page = AuthorizePage {
        shell: shell.with(refusal),
        typed: typed.clone(),
        text: text.to_owned(),
        request,
        possible,
        choice,
    };
    write_with(&page, status)
}

/// `POST /oauth/authorize`.
pub(crate) async fn act(app: App, typed: Form) -> Result<Response, ApiError> {
    let text = typed.raw("request").to_owned();
    let (route, body) = match typed.text("act") {
        "allow" => {
            let days = typed.or("days", "90");
            (route::AUTHORIZE, json!({ "request": text, "expires_in_days": number(days) }))
        }
        "deny" => (route::AUTHORIZE_DENY, json!({ "request": text })),
        // A client may send its request by POST too (OpenID Connect Core, section 3.1.2.1).
        "" if typed.has("client_id") => return Ok(lead(&app, &format!("/oauth/authorize?{}", typed.query_of_all()))),
        _ => return Err(Code::NotFound.into()),
    };
    let (mut is_read, mut body) = (false, body);
    let decided = answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        read(&api, &text).await?;
        is_read = true;
        if route.path == route::AUTHORIZE.path {
            match given(&typed) {
                Ok(scope) => drop(body.as_object_mut().map(|members| members.insert("scope".to_owned(), scope))),
                Err(Trouble::Refused(refusal)) => return page(&app, &text, &typed, Some(refusal)).await,
                Err(trouble) => return Err(trouble),
            }
        }
        match api.change(route, &[], Change { form: &typed, body }).await {
            Ok(answer) => lead_to(&app, answer.text("redirect_to")),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
                page(&app, &text, &typed, Some(refusal)).await
            }
            Err(trouble) => Err(trouble),
        }
    })
    .await?;
    // Also where a proof is asked for first: its form leads back to the app in the end.
    Ok(if is_read { leading_back(decided, &text) } else { decided })
}

/// To where the app is answered. After a form of ours, also one of the sign-in that led here, it is a page that leads there: browsers hold
/// the policy of the form's page against each redirect after it, also against those that the app makes to other sites.
fn lead_to(app: &App, url: &str) -> Result<Response, Trouble> {
    let is_after_form = app.headers().first("sec-fetch-site").is_some_and(|site| site == "same-origin");
    match is_after_form && url.starts_with("http") {
        true => leave(app, ("Back to the app", "The app is answered now. It opens by itself.", "Home"), ("/", url)),
        false => Ok(see_other_site(url)),
    }
}

/// Lets the forms of this page lead to where the app is answered: browsers hold the redirect after a form against `form-action` too. For
/// requests that the API has read alone: where client or redirect URI is wrong, nothing leads there.
pub(crate) fn leading_back(mut response: Response, text: &str) -> Response {
    let form = Form::parse(text);
    let Some(origin) = origin_of(form.raw("redirect_uri")) else { return response };
    // A policy cannot name an IPv6 address, so that it names the scheme.
    let source = origin.split_once("://[").map_or_else(|| origin.to_owned(), |(scheme, _)| format!("{scheme}:"));
    let policy = POLICY.replace("form-action 'self'", &format!("form-action 'self' {source}"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

#[cfg(test)]
mod tests {
    use service::response::no_content;

    use super::*;
    use crate::testing::Visitor;

    const CALLBACK: &str = "redirect_uri=https%3A%2F%2Fapp.example.com%2Fcb";

    /// R137: also the form of a page that says what was wrong leads to the app, whatever its status.
    #[tokio::test]
    async fn a_form_that_was_refused_leads_to_the_app_the_next_time() {
        let visitor = Visitor::new(|method, path| match (method, path) {
            ("POST", "/api/oauth/authorize") => (400, json!({ "error": "unknown_scope", "fix": "Choose others." })),
            ("GET", "/api/oauth/authorize") => {
                (200, json!({ "client": { "name": "Planner" }, "scope": ["agents.read"] }))
            }
            _ => (200, json!({})),
        });
        let refused = visitor.send("/oauth/authorize", &[("act", "allow"), ("request", CALLBACK)]).await;
        assert!(refused.status == 400 && refused.text.contains(">Allow</button>"), "{}", refused.text);
        let policy = refused.header("content-security-policy");
        assert!(policy.contains("form-action 'self' https://app.example.com;"), "{policy}");
    }

    /// R251: where a program on the person's own device is answered, the page names its scheme, and its forms lead there.
    #[tokio::test]
    async fn the_scheme_of_a_program_is_named() {
        let visitor = Visitor::new(|_, path| match path {
            "/api/oauth/authorize" => {
                let client = json!({ "name": "Cursor", "is_registered": true });
                (200, json!({ "client": client, "scope": ["agents.read"], "returns_to": "cursor:", "is_local": true }))
            }
            _ => (200, json!({})),
        });
        let opened = visitor.open("/oauth/authorize?redirect_uri=cursor%3A%2F%2Fanysphere.cursor-mcp%2Fcb").await;
        assert!(opened.text.contains("opens addresses with <span class=\"mono\">cursor:</span>"), "{}", opened.text);
        let policy = opened.header("content-security-policy");
        assert!(policy.contains("form-action 'self' cursor:;"), "{policy}");
    }

    /// R474: a sign-in leads here by its form, and the policy of its page is held against each redirect after it. A person whose proof has
    /// to be new comes back to a form that leads to the app too.
    #[tokio::test]
    async fn a_request_that_leads_back_by_itself_does_after_a_sign_in_too() {
        let to = "https://app.example.com/cb?error=invalid_scope&state=1";
        let visitor = Visitor::new(move |_, path| match path {
            "/api/oauth/authorize" => {
                (200, json!({ "client": { "name": "Planner", "is_registered": true }, "redirect_to": to }))
            }
            _ => (200, json!({})),
        });
        let page = format!("/oauth/authorize?{CALLBACK}");
        let from_app = visitor.open_from(&page, "cross-site").await;
        assert_eq!((from_app.status.as_u16(), from_app.header("location")), (303, to));
        let from_form = visitor.open_from(&page, "same-origin").await;
        assert_eq!(from_form.status, 200);
        let escaped = "https://app.example.com/cb?error=invalid_scope&#38;state=1";
        assert!(from_form.text.contains(&format!("content=\"0;url={escaped}\"")), "{}", from_form.text);
        assert!(from_form.text.contains(&format!("href=\"{escaped}\">Continue")), "{}", from_form.text);
    }

    /// R666: an app of another tenant is no dead end: one can sign in there, and the request is not lost.
    #[tokio::test]
    async fn an_app_of_another_tenant_leads_to_the_sign_in() {
        let visitor = Visitor::new(|_, path| match path {
            "/api/oauth/authorize" => (400, json!({ "error": "unknown_client", "detail": "No app.", "fix": "Stop." })),
            "/api/overview" => (200, json!({ "caller": { "email": "boss@acme.example", "tenant": "acme" } })),
            "/api/auth/device/BCDF-GHJK" | "/auth/device/BCDF-GHJK" => {
                (404, json!({ "error": "device_request_not_found" }))
            }
            _ => (200, json!({})),
        });
        for (page, next) in [
            ("/oauth/authorize?client_id=cli_1&state=2", "/oauth/authorize?client_id=cli_1&#38;state=2"),
            ("/device?user_code=BCDF-GHJK", "/device?user_code=BCDF-GHJK"),
        ] {
            let opened = visitor.open(page).await;
            assert!([400, 404].contains(&opened.status.as_u16()), "{page}: {}", opened.text);
            let hidden = format!("name=\"next\" value=\"{next}\">");
            assert!(opened.text.contains(&hidden) && opened.text.contains("boss@acme.example"), "{}", opened.text);
            assert!(opened.header("content-security-policy").contains("form-action 'self';"), "{page}");
        }
    }

    /// R133: a request that the API does not take leads nowhere, whatever is wrong about it.
    #[tokio::test]
    async fn a_request_that_cannot_be_read_leads_nowhere() {
        for (status, slug) in [(400, "redirect_uri_mismatch"), (403, "host_not_allowed"), (429, "too_many_attempts")] {
            let visitor = Visitor::new(move |_, path| match path {
                "/api/oauth/authorize" => (status, json!({ "error": slug, "detail": "No.", "fix": "Stop." })),
                _ => (200, json!({})),
            });
            let opened = visitor.open(&format!("/oauth/authorize?{CALLBACK}")).await;
            let sent = visitor.send("/oauth/authorize", &[("act", "deny"), ("request", CALLBACK)]).await;
            for answer in [opened, sent] {
                assert_eq!(answer.status, status, "{}", answer.text);
                let policy = answer.header("content-security-policy");
                assert!(policy.contains("form-action 'self';"), "{policy}");
            }
        }
    }

    /// R137: a form of the page leads to the app's own origin and to no other, and no address writes more into the policy.
    #[test]
    fn only_the_apps_own_origin_is_added_to_the_policy() {
        let policy = |text: &str| {
            let response = leading_back(no_content(), text);
            let policy = response.headers().get(header::CONTENT_SECURITY_POLICY);
            policy.map(|policy| policy.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let added = policy("redirect_uri=https%3A%2F%2Fapp.example.com%3A8443%2Fcb");
        assert!(added.contains("form-action 'self' https://app.example.com:8443; frame-ancestors 'none'"), "{added}");
        let local = policy("redirect_uri=http%3A%2F%2F%5B%3A%3A1%5D%3A9%2Fcb");
        assert!(local.contains("form-action 'self' http:; frame-ancestors 'none'"), "{local}");
        // R251: the scheme of a program on the person's own device.
        let app = policy("redirect_uri=com.example.app%3A%2Fcb");
        assert!(app.contains("form-action 'self' com.example.app:; frame-ancestors 'none'"), "{app}");
        for bad in [
            "",
            "redirect_uri=https%3A%2F%2Fa.example%3B%20script-src%20*",
            "redirect_uri=javascript:alert(1)",
            "redirect_uri=javascript%3A%2F%2Fx%2F%250aalert(1)",
            "redirect_uri=cursor%3A%2F%2Fa%3B%20script-src%20*",
            "redirect_uri=*",
        ] {
            assert_eq!(policy(bad), "", "{bad}");
        }
    }
}
