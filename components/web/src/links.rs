//! The pages around one-time codes: a mail with a link is asked for, and a link is opened. Opening one spends nothing, since scanners of
//! mail open links too: only the form of its page does.

use askama::Template;
use common::{
    error::ApiError,
    route::{self, Route},
    secret::OneTimeCode,
};
use http::{HeaderValue, header};
use serde_json::{Map, Value as Json, json};
use service::{app::App, credential, response::Response};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, local, query},
    home_tenant::{HomeTenant, at, at_sign_in},
    identities,
    kept::named,
    login::{FormToken, check_same_site, finish, has_session, show_login, visitor},
    page::{Frame, Note, answer, lead, see, see_typed, write_with},
};

/// Sends a form of a visitor without a session on to the API.
async fn send(app: &App, typed: &Form, route: &'static Route, body: Map<String, Json>) -> Result<Json, Trouble> {
    check_same_site(app, typed)?;
    Api::without_session(app).change(route, &[], Change { form: typed, body: body.into() }).await
}

/// Sets a header that says no other site, and no other page of ours, which address it was opened by: the address has a code.
pub(crate) fn unnamed(mut response: Response) -> Response {
    // Not `no-referrer`: with it a browser sends `Origin: null` with our own forms.
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    response
}

/// `POST /login/link`: the form for signing in, by its other button.
pub(crate) async fn ask_link(app: App, typed: Form) -> Result<Response, ApiError> {
    answer(&app, async {
        let next = local(typed.text("next"));
        let mut body = typed.body(&["email"], &["tenant"]);
        body.insert("next".to_owned(), next.into());
        match send(&app, &typed, route::LINK_ASK, body).await {
            Ok(_) if !named(next).is_empty() && has_session(&app).await => {
                Ok(see(&app, &format!("{next}&done=link-asked")))
            }
            Ok(_) => {
                let path = at("/login", &typed, &[("done", "link-asked"), ("next", next)]);
                Ok(see_typed(&app, &path, "link-asked", typed.text("email")))
            }
            Err(Trouble::Refused(refusal)) => show_login(&app, &typed, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

#[derive(Template)]
#[template(path = "forgot.html")]
struct ForgotPage {
    frame: Frame,
    csrf: String,
    typed: Form,
    /// The tenant's slug, where it is not the usual one.
    tenant: String,
    has_mail: bool,
    /// The form for signing in.
    login: String,
}

/// `GET /forgot`.
pub(crate) async fn forgot(app: App) -> Result<Response, ApiError> {
    answer(&app, show_forgot(&app, &Form::query(&app), None)).await
}

async fn show_forgot(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let token = FormToken::of(app);
    let frame = Frame::new(app, "Forgot your password?", refusal.map(Note::from));
    let has_mail = app.settings().has_mail();
    let usual = Api::without_session(app).get(route::WAYS, &[], &[]).await.unwrap_or_default();
    let tenant = HomeTenant::of(app, typed, &usual).slug;
    let login = at("/login", typed, &[]);
    let page = ForgotPage { frame, csrf: token.text.clone(), typed: typed.clone(), tenant, has_mail, login };
    Ok(token.set(write_with(&page, status)?))
}

/// `POST /forgot`.
pub(crate) async fn ask_reset(app: App, typed: Form) -> Result<Response, ApiError> {
    answer(&app, async {
        match send(&app, &typed, route::FORGOT, typed.body(&["email"], &["tenant", "next"])).await {
            Ok(_) => {
                let path = at("/login", &typed, &[("done", "reset-asked")]);
                Ok(see_typed(&app, &path, "reset-asked", typed.text("email")))
            }
            Err(Trouble::Refused(refusal)) => show_forgot(&app, &typed, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

/// A page that a link leads to.
struct Door {
    path: &'static str,
    route: &'static Route,
    /// The kind of its codes.
    kind: &'static str,
    title: &'static str,
    /// What the form does, up to the address of its reader, and what comes after the name of the tenant.
    text: (&'static str, &'static str),
    button: &'static str,
    /// The field of the API that takes the password; empty: it takes none.
    password: &'static str,
    /// The way to sign in that it leads to.
    way: &'static str,
    /// How long its links work.
    life: &'static str,
    /// Where to get another link.
    again: (&'static str, &'static str),
}

static LINK: Door = Door {
    path: "/auth/email/verify",
    route: route::LINK_SIGN_IN,
    kind: "link",
    title: "Sign in",
    text: ("You sign in as ", " The link works once."),
    button: "Sign in",
    password: "",
    way: "link",
    life: "15 minutes",
    again: ("/login", "Ask for a new link"),
};

static RESET: Door = Door {
    path: "/reset",
    route: route::RESET,
    kind: "reset",
    title: "Set a new password",
    text: ("Choose a password for ", " It ends all of your sessions. Then sign in with it."),
    button: "Set the password",
    password: "new",
    way: "password",
    life: "24 hours",
    again: ("/forgot", "Ask for a new link"),
};

static INVITE: Door = Door {
    path: "/invite",
    route: route::INVITE_ACCEPT,
    kind: "invite",
    title: "Welcome to Accredit",
    text: ("Choose a password for ", " Then sign in with both."),
    button: "Set the password",
    password: "password",
    way: "password",
    life: "7 days",
    // An account without a password gets one by the same mail as one whose password is forgotten.
    again: ("/forgot", "Ask for a new link"),
};

#[derive(Template)]
#[template(path = "link.html")]
struct DoorPage {
    frame: Frame,
    csrf: String,
    door: &'static Door,
    code: String,
    next: String,
    tenant: String,
    /// Whose account it is; empty: the code opens nothing.
    email: String,
    /// Who is signed in here, where the code opens nothing; empty: nobody is.
    visitor: String,
    /// The tenant as pages name it.
    place: String,
    /// Of an invitation: the role of its person; empty: it is none.
    role: String,
    /// Whether the tenant lets people in by what this page leads to.
    is_allowed: bool,
    /// Whether a link can be mailed in its place.
    has_link: bool,
    /// The providers in its place.
    providers: Vec<Json>,
    /// Where to get another link.
    again: String,
    /// The form for signing in.
    login: String,
    /// The site has no address that a session could be kept for.
    is_unsafe: bool,
}

impl DoorPage {
    fn query(&self) -> String {
        query(&[("next", &self.next)])
    }
}

impl Door {
    async fn open(&'static self, app: App) -> Result<Response, ApiError> {
        answer(&app, async { self.show(&app, &Form::query(&app), None).await }).await
    }

    /// What the code opens, which nothing spends; or why it opens nothing.
    async fn look(&self, app: &App, code: &str) -> Result<Result<Json, Refusal>, Trouble> {
        if OneTimeCode::parse(code).is_none() {
            let (what, fix) = match code {
                "" => ("This address has no code.", "Open the whole link of the mail."),
                _ => ("A part of this link is missing.", "Open the whole link of the mail, or copy it from there."),
            };
            return Ok(Err(Refusal::own(400, what, fix)));
        }
        let (form, body) = (Form::default(), json!({ "code": code }));
        let looked = Api::without_session(app).change(route::CODE_LOOK, &[], Change { form: &form, body }).await;
        let known = match looked {
            Ok(known) => known,
            Err(Trouble::Refused(refusal)) if refusal.slug == "invalid_code" => Json::Null,
            Err(Trouble::Refused(refusal)) => return Ok(Err(refusal)),
            Err(trouble) => return Err(trouble),
        };
        let gone = |what: &str, fix: &str| Ok(Err(Refusal::own(410, what, fix)));
        match known.text("state") {
            "live" if known.text("kind") == self.kind => Ok(Ok(known)),
            "used" if self.password.is_empty() => {
                gone("This link was used before.", "It signed somebody in. Ask for a new one.")
            }
            "used" => gone(
                "This link was used before.",
                "A password was set with it: sign in with that. If it was not you, ask for a new link, and set another one.",
            ),
            "ended" => gone("This link has ended.", &format!("It worked for {}. Ask for a new one.", self.life)),
            _ => gone(
                "This link does not work any more.",
                "A newer link took its place, the account was changed since, or it ended long ago. Ask for a new one.",
            ),
        }
    }

    async fn show(&'static self, app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
        let code = typed.text("code").to_owned();
        let (known, refusal) = match self.look(app, &code).await? {
            Ok(known) => (known, refusal),
            Err(why) => (Json::Null, Some(why)),
        };
        let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
        let ways = known.words("ways");
        let is_allowed = ways.contains(&self.way);
        let offers = |way: &str| !is_allowed && ways.contains(&way);
        let token = FormToken::of(app);
        let place = Some(known.text("tenant_name")).filter(|name| !name.is_empty());
        // The code's own tenant: the browser may remember another one.
        let typed = if known.is_null() { typed.clone() } else { typed.with_all("tenant", &[known.text("tenant")]) };
        let page = DoorPage {
            frame: Frame::new(app, self.title, refusal.map(Note::from)),
            csrf: token.text.clone(),
            door: self,
            code,
            next: local(typed.text("next")).to_owned(),
            tenant: typed.text("tenant").to_owned(),
            email: known.text("email").to_owned(),
            visitor: match known.is_null() {
                true => visitor(app).await.map(|who| who.text("email").to_owned()).unwrap_or_default(),
                false => String::new(),
            },
            role: known.text("role").to_owned(),
            place: place.unwrap_or_else(|| known.text("tenant")).to_owned(),
            is_allowed,
            has_link: app.settings().has_mail() && offers("link"),
            providers: if offers("oidc") { identities::offered(app).await } else { Vec::new() },
            again: at(self.again.0, &typed, &[]),
            login: at("/login", &typed, &[]),
            is_unsafe: credential::cookie_name(app).is_none(),
        };
        Ok(unnamed(token.set(write_with(&page, status)?)))
    }

    /// Spends the code.
    async fn pass(&'static self, app: App, typed: Form) -> Result<Response, ApiError> {
        answer(&app, async {
            let mut body = typed.filled(&["code"]);
            if !self.password.is_empty() {
                body.insert(self.password.to_owned(), typed.raw("password").into());
            }
            match send(&app, &typed, self.route, body).await {
                // The code is spent, and the second factor is asked for.
                Err(Trouble::Refused(refusal)) if refusal.next.ticket.is_empty() => {
                    // A form that signs in and was sent twice: its first answer has let them in.
                    if refusal.slug == "invalid_code" && self.password.is_empty() && has_session(&app).await {
                        return Ok(lead(&app, local(typed.text("next"))));
                    }
                    self.show(&app, &typed, Some(refusal)).await
                }
                outcome if self.password.is_empty() => {
                    finish(&app, outcome, (local(typed.text("next")), typed.text("tenant"))).await
                }
                Ok(_) => Ok(see(&app, &at_sign_in(&typed, "password-set"))),
                Err(trouble) => Err(trouble),
            }
        })
        .await
    }
}

/// `GET /auth/email/verify`.
pub(crate) async fn link(app: App) -> Result<Response, ApiError> {
    LINK.open(app).await
}

/// `POST /auth/email/verify`.
pub(crate) async fn sign_in(app: App, typed: Form) -> Result<Response, ApiError> {
    LINK.pass(app, typed).await
}

/// `GET /reset`.
pub(crate) async fn reset(app: App) -> Result<Response, ApiError> {
    RESET.open(app).await
}

/// `POST /reset`.
pub(crate) async fn set_password(app: App, typed: Form) -> Result<Response, ApiError> {
    RESET.pass(app, typed).await
}

/// `GET /invite`.
pub(crate) async fn invite(app: App) -> Result<Response, ApiError> {
    INVITE.open(app).await
}

/// `POST /invite`.
pub(crate) async fn accept(app: App, typed: Form) -> Result<Response, ApiError> {
    INVITE.pass(app, typed).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::Visitor;

    /// R716: the page of an invitation says the role as it is now.
    #[tokio::test]
    async fn an_invitation_says_the_role() {
        let visitor = Visitor::new(|_, path| match path {
            "/auth/code" => {
                let known = json!({ "state": "live", "kind": "invite", "email": "max@example.com", "tenant": "main",
                                    "role": "viewer", "ways": ["password"] });
                (200, known)
            }
            _ => (200, json!({})),
        });
        let html = visitor.open(&format!("/invite?code={}", "A".repeat(43))).await.text;
        assert!(html.contains("at <b>main</b>, with the role viewer. Then sign in"), "{html}");
    }

    /// R715: a used link that is opened once more leads somebody on who is signed in, and nobody else.
    #[tokio::test]
    async fn a_used_link_leads_on_who_is_signed_in() {
        let code = "A".repeat(43);
        for (page, kind) in [("/auth/email/verify", "link"), ("/invite", "invite"), ("/reset", "reset")] {
            for is_in in [true, false] {
                let visitor = Visitor::new(move |_, path| match path {
                    "/auth/code" => (200, json!({ "state": "used", "kind": kind })),
                    "/api/auth/whoami" if is_in => (200, json!({ "email": "ada@example.com" })),
                    "/api/auth/whoami" => (401, json!({ "error": "token_revoked" })),
                    _ => (200, json!({})),
                });
                let opened = visitor.open(&format!("{page}?code={code}&next=%2Fagents")).await;
                let leads_on = opened.text.contains("href=\"/agents\">Go on</a>");
                assert_eq!((opened.status.as_u16(), leads_on), (410, is_in), "{page}: {}", opened.text);
                assert_eq!(opened.text.contains("signed in as <b>ada@example.com</b>"), is_in, "{page}");
            }
        }
    }
}
