//! The tenant that a visitor without a session belongs to, as far as it is known: what the address or the form names, else the one in which
//! somebody has last signed in with this browser. Nobody else is told that it exists, or what it is called.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value as Json;
use service::{app::App, response::Response};

use crate::{
    api::Members,
    cookie::{TENANT, with as with_cookie},
    form::{Form, OTHER, local, query},
};

/// How long a browser knows it, seconds: browsers keep no cookie longer.
const LIFE: i64 = 400 * 86_400;

/// Slug and name.
pub(crate) struct HomeTenant {
    /// Empty: the usual one, which nobody has to name.
    pub(crate) slug: String,
    /// The name for people; empty: it is not known.
    pub(crate) name: String,
}

impl HomeTenant {
    /// The one for a form for signing in. `usual` is what anybody may know: the answer of `GET /auth/ways`.
    pub(crate) fn of(app: &App, typed: &Form, usual: &Json) -> Self {
        let (known, name) = remembered(app).unwrap_or_default();
        // As it is stored, however it was typed.
        let slug = if typed.has("tenant") { typed.text("tenant").to_ascii_lowercase() } else { known.clone() };
        if slug.is_empty() || slug == usual.text("tenant") {
            return Self { slug: String::new(), name: usual.text("name").to_owned() };
        }
        let name = if slug == known { name } else { String::new() };
        Self { slug, name }
    }

    /// Has the browser remember the tenant of somebody who has just signed in.
    pub(crate) fn remember(app: &App, tenant: &Json, response: Response) -> Response {
        let slug = tenant.text("slug");
        let name = Some(tenant.text("name")).filter(|name| !name.is_empty()).unwrap_or(slug);
        let text = format!("{slug}.{}", URL_SAFE_NO_PAD.encode(name));
        with_cookie(response, &TENANT.line(app, &text, Some(LIFE)))
    }
}

fn remembered(app: &App) -> Option<(String, String)> {
    let text = TENANT.read(app)?;
    let (slug, name) = text.split_once('.')?;
    let name = String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?;
    Some((slug.to_owned(), name))
}

/// The form for signing in with what was just set, in which the address stands already.
pub(crate) fn at_sign_in(typed: &Form, done: &str) -> String {
    let mut pairs = vec![("done", done)];
    pairs.extend(typed.pairs(&["email"]));
    at("/login", typed, &pairs)
}

/// The address of a page for visitors without a session, which goes on to name what a form or an address named: the tenant, the page that the
/// visitor wants, and that they may be somebody else.
pub(crate) fn at(path: &str, typed: &Form, more: &[(&str, &str)]) -> String {
    let mut pairs = more.to_vec();
    let next = local(typed.text("next"));
    if next != "/" && !more.iter().any(|(name, _)| *name == "next") {
        pairs.push(("next", next));
    }
    pairs.extend(typed.pairs(&["tenant", OTHER]));
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", query(&pairs)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::Visitor;

    /// R645: who sets a password by a link, or the server up, is led to the sign-in of that tenant, whichever one the browser remembers.
    #[tokio::test]
    async fn a_link_leads_to_the_sign_in_of_its_own_tenant() {
        let visitor = Visitor::new(|_, path| match path {
            "/auth/code" => {
                let known = json!({
                    "state": "live", "kind": "reset", "email": "ada@example.com", "tenant": "main", "ways": ["password"],
                });
                (200, known)
            }
            "/auth/bootstrap" => (201, json!({ "tenant": { "slug": "main" } })),
            _ => (200, json!({})),
        });
        let code = "A".repeat(43);
        let html = visitor.open(&format!("/reset?code={code}")).await.text;
        let hidden = "name=\"tenant\" value=\"main\"";
        assert!(html.contains(hidden), "{html}");
        let to = "/login?done=password-set&email=ada%40example.com&tenant=main";
        let fields = [("code", code.as_str()), ("email", "ada@example.com"), ("tenant", "main"), ("password", "one")];
        assert_eq!(visitor.send_open("/reset", &fields).await.header("location"), to);
        let typed = [("email", "ada@example.com"), ("secret", "one")];
        let set_up = visitor.send_open("/setup", &typed).await;
        assert_eq!(set_up.header("location"), to.replace("password-set", "set-up"), "{}", set_up.text);
    }

    /// R663: no page around a sign-in forgets the page that its visitor wants.
    #[tokio::test]
    async fn what_the_visitor_wants_outlives_every_way_to_sign_in() {
        let code = "A".repeat(43);
        let visitor = Visitor::new(|_, path| match path {
            "/readyz" => (200, json!({ "bootstrapped": true })),
            "/auth/code" => (200, json!({ "state": "used", "kind": "link" })),
            "/auth/factor/verify" => (400, json!({ "error": "wrong_code" })),
            "/auth/reset" => (200, json!({})),
            path if path.starts_with("/auth/") => (200, json!({ "ways": ["password"] })),
            _ => (401, json!({ "error": "token_expired" })),
        });
        let next = "next=%2Faccess%3Fstate%3Dopen";
        for (page, link) in [
            (format!("/login?{next}"), "/forgot"),
            (format!("/forgot?{next}"), "/login"),
            (format!("/auth/email/verify?code={code}&{next}"), "/login"),
            (format!("/reset?code={code}&{next}"), "/forgot"),
        ] {
            let html = visitor.open(&page).await.text;
            assert!(html.contains(&format!("href=\"{link}?{next}\"")), "{page}: {html}");
        }
        let wanted = ("next", "/access?state=open");
        let html = visitor.send_open("/login/factor", &[wanted, ("at", "aaaaaaaaaaaa"), ("code", "1")]).await.text;
        assert!(html.contains(&format!("href=\"/login?{next}\">Begin again")), "{html}");
        let asked = visitor.send_open("/forgot", &[wanted, ("email", "ada@example.com")]).await;
        assert_eq!(asked.header("location"), format!("/login?done=reset-asked&{next}"), "{}", asked.text);
        let set = visitor.send_open("/reset", &[wanted, ("code", &code), ("password", "one")]).await;
        assert_eq!(set.header("location"), format!("/login?done=password-set&{next}"), "{}", set.text);
    }
}
