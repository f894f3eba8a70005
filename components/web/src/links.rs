//! The pages around one-time codes: a mail with a link is asked for, and a link is opened. Opening one spends nothing, since scanners of
//! mail open links too: only the form of its page does.

use askama::Template;
use common::{
    error::ApiError,
    route::{self, Route},
};
use http::{HeaderValue, header};
use serde_json::{Map, Value as Json};
use service::{app::App, credential, response::Response};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, local},
    home_tenant::{HomeTenant, at},
    kept::AGAIN,
    login::{FormToken, check_same_site, finish, show_login},
    page::{Frame, Note, answer, see, write_with},
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
            Ok(_) if next == AGAIN => Ok(see(&app, &format!("{AGAIN}?done=link-asked"))),
            Ok(_) => Ok(see(&app, &at("/login", &typed, &[("done", "link-asked"), ("next", next)]))),
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
        match send(&app, &typed, route::FORGOT, typed.body(&["email"], &["tenant"])).await {
            Ok(_) => Ok(see(&app, &at("/login", &typed, &[("done", "reset-asked")]))),
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
    title: &'static str,
    /// What the form does, for its reader.
    text: &'static str,
    button: &'static str,
    /// The field of the API that takes the password; empty: it takes none.
    password: &'static str,
    /// Where to get another link.
    again: (&'static str, &'static str),
}

static LINK: Door = Door {
    path: "/auth/email/verify",
    route: route::LINK_SIGN_IN,
    title: "Sign in",
    text: "You opened a link that was mailed to you. It works once.",
    button: "Sign in",
    password: "",
    again: ("/login", "Ask for a new link"),
};

static RESET: Door = Door {
    path: "/reset",
    route: route::RESET,
    title: "Set a new password",
    text: "It ends all of your sessions. Then sign in with it.",
    button: "Set the password",
    password: "new",
    again: ("/forgot", "Ask for a new link"),
};

static INVITE: Door = Door {
    path: "/invite",
    route: route::INVITE_ACCEPT,
    title: "Welcome to Accredit",
    text: "Choose a password. Then sign in with it and the address that the invitation was sent to.",
    button: "Set the password",
    password: "password",
    again: ("/login", "Sign in"),
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
    /// Where to get another link.
    again: String,
    /// The site has no address that a session could be kept for.
    is_unsafe: bool,
    /// No form would do anything any more.
    is_closed: bool,
}

impl Door {
    async fn open(&'static self, app: App) -> Result<Response, ApiError> {
        answer(&app, async { self.show(&app, &Form::query(&app), None) }).await
    }

    fn show(&'static self, app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
        let code = typed.text("code").to_owned();
        let refusal = match refusal {
            None if code.is_empty() => {
                Some(Refusal::own(400, "This address has no code.", "Open the whole link of the mail."))
            }
            Some(refusal) if refusal.slug == "invalid_code" => Some(Refusal {
                detail: "This link does not work any more.".to_owned(),
                fix: "It has ended, was used, or a newer one took its place.".to_owned(),
                ..refusal
            }),
            refusal => refusal,
        };
        let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
        let is_closed = code.is_empty() || refusal.as_ref().is_some_and(|refusal| refusal.slug == "invalid_code");
        let token = FormToken::of(app);
        let page = DoorPage {
            frame: Frame::new(app, self.title, refusal.map(Note::from)),
            csrf: token.text.clone(),
            door: self,
            code,
            next: local(typed.text("next")).to_owned(),
            tenant: typed.text("tenant").to_owned(),
            again: at(self.again.0, typed, &[]),
            is_unsafe: credential::cookie_name(app).is_none(),
            is_closed,
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
                    self.show(&app, &typed, Some(refusal))
                }
                outcome if self.password.is_empty() => {
                    finish(&app, outcome, (local(typed.text("next")), typed.text("tenant"))).await
                }
                Ok(_) => Ok(see(&app, &at("/login", &typed, &[("done", "password-set")]))),
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

/// `GET /invite`. Where no password lets anybody in, one would be set for nothing: the page for signing in has the ways that do.
pub(crate) async fn invite(app: App) -> Result<Response, ApiError> {
    answer(&app, async {
        let typed = Form::query(&app);
        // Of another tenant nobody says which ways it allows before somebody has signed in.
        let usual = Api::without_session(&app).get(route::WAYS, &[], &[]).await.unwrap_or_default();
        let (ways, tenant) = (usual.words("ways"), typed.text("tenant"));
        let is_usual = tenant.is_empty() || tenant == usual.text("tenant");
        if is_usual && !ways.is_empty() && !ways.contains(&"password") {
            return Ok(unnamed(see(&app, &at("/login", &typed, &[]))));
        }
        INVITE.show(&app, &typed, None)
    })
    .await
}

/// `POST /invite`.
pub(crate) async fn accept(app: App, typed: Form) -> Result<Response, ApiError> {
    INVITE.pass(app, typed).await
}
