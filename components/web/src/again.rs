//! `/login/again`: a step up by a new sign-in, for people with neither a password nor a second factor. First it offers their ways to sign
//! in; once they have, it shows the form that waits ([`Kept`]), which goes on by its button.

use askama::Template;
use common::{error::ApiError, route};
use futures_util::future::join3;
use serde_json::Value as Json;
use service::{app::App, response::Response};

use crate::{
    api::{Api, Members, Trouble},
    authorize::leading_back,
    cookie::KEPT,
    form::query,
    identities,
    kept::{AGAIN, Kept, named},
    login::FormToken,
    page::{Frame, ProvePage, answer, lead, see, write, write_with},
};

#[derive(Template)]
#[template(path = "again.html")]
struct AgainPage {
    frame: Frame,
    csrf: String,
    email: String,
    tenant: String,
    next: String,
    /// The page to which the visitor can go back.
    page: String,
    /// Whether a link can be mailed.
    has_link: bool,
    /// The providers at which the visitor is known.
    providers: Vec<Json>,
    /// Whether what was typed is too long to be kept.
    is_too_long: bool,
}

impl AgainPage {
    fn query(&self) -> String {
        query(&[("next", &self.next)])
    }

    /// The form for signing in, which has all ways.
    fn otherwise(&self) -> String {
        query(&[("next", &self.next), ("email", &self.email), ("tenant", &self.tenant)])
    }
}

/// `GET /login/again`.
pub(crate) async fn show(app: App) -> Result<Response, ApiError> {
    answer(&app, async {
        let letters = named(app.head().uri.path_and_query().map_or("", |here| here.as_str()));
        let Some(kept) = Kept::read(&app, &letters) else { return Ok(see(&app, "/")) };
        let api = Api::of(&app)?;
        let who = api.get(route::WHOAMI, &[], &[]).await?;
        match kept.is_of(&who) {
            // Somebody else's, who used this browser before.
            false => Ok(KEPT.forget(&app, see(&app, "/"), &letters)),
            true if kept.goes_on(&who) => go_on(&app, &who, kept, &letters),
            true => offer(&app, &api, &who, &kept, &letters).await,
        }
    })
    .await
}

fn go_on(app: &App, who: &Json, kept: Kept, letters: &str) -> Result<Response, Trouble> {
    if kept.fields.is_none() {
        return Ok(KEPT.forget(app, lead(app, &kept.page), letters));
    }
    let named = kept
        .fields
        .iter()
        .flatten()
        .find(|(name, _)| name == "request" && kept.action == route::WEB_AUTHORIZE_ACT.path);
    let request = named.map(|(_, text)| text.clone());
    let page = write(&ProvePage::kept(app, who.text("csrf_token"), kept, letters))?;
    // Its form leads to the app in the end.
    Ok(match request {
        Some(request) => leading_back(page, &request),
        None => page,
    })
}

async fn offer(app: &App, api: &Api<'_>, who: &Json, kept: &Kept, letters: &str) -> Result<Response, Trouble> {
    let (tenant, linked, offered) =
        join3(api.get(route::TENANT, &[], &[]), api.get(route::IDENTITIES_LIST, &[], &[]), identities::offered(app))
            .await;
    let ways = tenant.unwrap_or_default();
    let allows = |way: &str| ways.is_null() || ways.words("ways").contains(&way);
    // Without the list, all are offered: the provider knows.
    let is_linked = |provider: &Json| {
        let Ok(linked) = &linked else { return true };
        linked.list("items").iter().any(|one| one.text("provider") == provider.text("name"))
    };
    let has_link = app.settings().has_mail() && allows("link");
    // GitHub never says when somebody signed in there, so that it serves only those who have nothing else.
    let can_prove = |provider: &Json| !has_link || provider.text("preset") != "github";
    let is_way = |provider: &Json| allows("oidc") && is_linked(provider) && can_prove(provider);
    let providers = offered.into_iter().filter(is_way).collect();
    let token = FormToken::of(app);
    let page = AgainPage {
        frame: Frame::new(app, "Is it you?", None),
        csrf: token.text.clone(),
        email: who.text("email").to_owned(),
        tenant: who.text("tenant").to_owned(),
        next: format!("{AGAIN}?form={letters}"),
        page: kept.page.clone(),
        has_link,
        providers,
        is_too_long: kept.fields.is_none(),
    };
    Ok(token.set(write_with(&page, 403)?))
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use http::Request;
    use serde_json::{Value as Json, Value::Null, json};
    use service::{body::RequestBody, outbound::stub, testing::TestApp};

    use crate::{form::query, router};

    /// An API whose visitor has this id and this session; it refuses what is made with the first one, and counts what is made.
    fn api(user: &'static str, session: &'static str, made: &Rc<RefCell<i64>>) {
        let made = Rc::clone(made);
        stub::serve(Box::new(move |request| {
            let (status, body) = match (request.method().as_str(), request.uri().path()) {
                ("GET", "/api/auth/whoami") => {
                    let credential = json!({ "id": session });
                    let who = json!({
                        "user_id": user, "email": "ada@example.com", "tenant": "main", "csrf_token": "new-token",
                        "credential": credential,
                    });
                    (200, who)
                }
                ("GET", "/api/tenant") => (200, json!({ "slug": "main", "ways": ["password", "link", "oidc"] })),
                ("GET", "/auth/identities") => (200, json!({ "items": [{ "provider": "acme" }] })),
                ("GET", "/auth/oidc") => {
                    let other = json!({ "name": "other", "label": "Other" });
                    (200, json!({ "items": [{ "name": "acme", "label": "Acme" }, other] }))
                }
                (method, _) if method != "GET" && session == "tok_old" => (
                    403,
                    json!({ "error": "reauthentication_required", "detail": "No.", "fix": "Go.", "way": "sign_in" }),
                ),
                (method, _) if method != "GET" => {
                    *made.borrow_mut() += 1;
                    (201, json!({}))
                }
                _ => (200, json!({})),
            };
            Ok((status, body.to_string()))
        }));
    }

    async fn open(cookie: &str) -> (u16, String, String) {
        let letters = cookie.split('=').next().and_then(|name| name.strip_prefix("accredit-kept-")).unwrap_or_default();
        let (cookie, path) = (format!("accredit=one; {cookie}"), format!("/login/again?form={letters}"));
        let answer = TestApp::new(router()).call("GET", &path, &[("cookie", &cookie)], Null).await;
        let header = |name: &str| answer.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let told = if answer.status == 303 { header("location") } else { answer.text.clone() };
        (answer.status.as_u16(), told, header("set-cookie"))
    }

    /// R182: it waits in the browser, without passwords; it is shown to its person after another sign-in, and to nobody else.
    #[tokio::test]
    async fn a_form_waits_for_a_sign_in_of_its_person() {
        let made: Rc<RefCell<i64>> = Rc::default();
        api("usr_ada", "tok_old", &made);
        let typed = [
            ("csrf", "old-token"),
            ("name", "Eve <b>"),
            ("role", "admin"),
            ("role", "member"),
            ("password", "purple-otter"),
        ];
        let request = Request::post("/admin/users/usr_eve/change")
            .header("host", "127.0.0.1:3000")
            .header("referer", "http://127.0.0.1:3000/admin/users/usr_eve?x=1")
            .header("cookie", "accredit=one")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(RequestBody::from(query(&typed)));
        let answer = TestApp::new(router()).send(request.unwrap()).await;
        let line = answer.headers["set-cookie"].to_str().unwrap();
        let letters = line.strip_prefix("accredit-kept-").unwrap().split('=').next().unwrap();
        let to = format!("/login/again?form={letters}");
        assert_eq!((answer.status.as_u16(), answer.headers["location"].to_str().unwrap()), (303, to.as_str()));
        assert!(line.contains("Max-Age=900; HttpOnly; SameSite=Lax"), "{line}");
        let (kept, letters) = (line.split(';').next().unwrap().to_owned(), letters.to_owned());

        // The ways, of which only the linked provider is one; the page that leaves it is the form's own.
        let (status, html, _) = open(&kept).await;
        assert_eq!(status, 403);
        assert!(
            html.contains("/auth/oidc/acme/login?next=%2Flogin%2Fagain%3Fform%3D") && !html.contains("oidc/other"),
            "{html}"
        );
        assert!(html.contains("href=\"/admin/users/usr_eve?x=1\">Leave it"), "{html}");

        // After another sign-in: what was typed, with the new token, and without the password.
        api("usr_ada", "tok_new", &made);
        let (status, html, _) = open(&kept).await;
        assert_eq!(status, 200);
        assert!(html.contains(&format!("action=\"/admin/users/usr_eve/change?kept={letters}\"")), "{html}");
        assert!(html.contains("name=\"csrf\" value=\"new-token\"") && !html.contains("old-token"), "{html}");
        assert!(html.contains("<dt>Role</dt><dd>admin, member</dd>"), "{html}");
        assert!(
            !html.contains("purple-otter") && html.contains("name=\"password\"") && !html.contains("<b>"),
            "{html}"
        );
        assert_eq!(*made.borrow(), 0, "nothing is done by itself");

        // R474: one that answers an app leads to the app.
        let consent = json!({ "user": "usr_ada", "session": "tok_old", "action": "/oauth/authorize", "page": "/",
            "fields": [["request", "redirect_uri=https%3A%2F%2Fapp.example.com%2Fcb"], ["act", "allow"]], "passwords": [] });
        let text = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, consent.to_string());
        let cookie = format!("accredit=one; accredit-kept-a=1.{text}");
        let answer = TestApp::new(router()).call("GET", "/login/again?form=a", &[("cookie", &cookie)], Null).await;
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("form-action 'self' https://app.example.com;"), "{policy}");

        // Somebody else, a text that is no form, and nothing at all.
        api("usr_max", "tok_max", &made);
        let (status, to, line) = open(&kept).await;
        assert_eq!((status, to.as_str()), (303, "/"));
        assert!(line.starts_with(&format!("accredit-kept-{letters}=;")) && line.contains("Max-Age=0"), "{line}");
        for kept in ["", "accredit-kept-a=1.x", "accredit-kept-a=1.e30", "accredit-kept-=1.e30"] {
            assert_eq!(open(kept).await.0, 303, "{kept}");
        }
        // Only an address of this site is one.
        let outside: Json = json!({ "user": "usr_max", "session": "x", "action": "//evil.example", "page": "/", "fields": [], "passwords": [] });
        let text = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, outside.to_string());
        assert_eq!(open(&format!("accredit-kept-a=1.{text}")).await.0, 303);
    }
}
