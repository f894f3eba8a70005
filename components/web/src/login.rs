//! Signing in and out by form.
//!
//! A visitor who has no session yet proves by two copies of one random text, in a cookie and in the form, that the form is of this site;
//! and by `Origin`, or where a browser sends none by `Sec-Fetch-Site`.

use askama::Template;
use common::{error::ApiError, route, secret::equal};
use futures_util::future::join;
use serde_json::{Value as Json, json};
use service::{
    app::{App, log},
    credential,
    response::Response,
    session,
};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    cookie::{FORM, KEPT, LAST, PerTab, TICKETS, unguessable, with as with_cookie},
    form::{Form, OTHER, local, query},
    help,
    home_tenant::{HomeTenant, at},
    identities,
    kept::{named, remember},
    page::{Frame, Note, answer, lead, see, write_with},
};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    csrf: String,
    next: String,
    email: String,
    /// The tenant's slug; empty: the usual one.
    tenant: String,
    /// The tenant's name for people; empty: nobody outside knows.
    tenant_name: String,
    /// Whether the form for a password is there.
    has_password: bool,
    /// Whether a link can be mailed.
    has_link: bool,
    /// The providers through which one can sign in.
    providers: Vec<Json>,
    /// Whether somebody else may sign in now: no provider leads the person who has a session there back unasked.
    is_other: bool,
    /// The site has no address that a session could be kept for.
    is_unsafe: bool,
}

impl LoginPage {
    /// The query of a link that leads on to where the visitor wants to go.
    fn query(&self) -> String {
        let other = if self.is_other { "1" } else { "" };
        let more = [("tenant", self.tenant.as_str()), (OTHER, other)];
        let more = more.into_iter().filter(|(_, value)| !value.is_empty());
        query(&[("next", self.next.as_str())].into_iter().chain(more).collect::<Vec<_>>())
    }

    /// The page for a forgotten password.
    fn forgot(&self) -> String {
        at("/forgot", &Form::of(&[("next", &self.next), ("tenant", &self.tenant)]), &[])
    }
}

/// `GET /login`.
pub(crate) async fn form(app: App) -> Result<Response, ApiError> {
    answer(&app, async {
        if is_new(&app).await? {
            return Ok(see(&app, "/setup"));
        }
        let asked = Form::query(&app);
        // A visitor who is signed in, perhaps in another tab since, is led in to where they wanted to go.
        let is_plain = Form::parse(&asked.without("next")).without(OTHER).is_empty()
            && named(local(asked.text("next"))).is_empty();
        if is_plain && visitor(&app).await.is_some() {
            return Ok(lead(&app, local(asked.text("next"))));
        }
        show_login(&app, &asked, None).await
    })
    .await
}

/// Whether the visitor's session is live, as far as the API says. A cookie alone may be that of one that has ended.
pub(crate) async fn has_session(app: &App) -> bool {
    if credential::cookie(app).is_none() {
        return false;
    }
    let Ok(api) = Api::of(app) else { return false };
    !matches!(api.get(route::WHOAMI, &[], &[]).await, Err(Trouble::SignIn | Trouble::Outage(_)))
}

/// The person whose live session the browser has, as `whoami` says it.
pub(crate) async fn visitor(app: &App) -> Option<Json> {
    credential::cookie(app)?;
    Api::of(app).ok()?.get(route::WHOAMI, &[], &[]).await.ok()
}

/// Whether nobody has set the server up yet.
pub(crate) async fn is_new(app: &App) -> Result<bool, Trouble> {
    let ready = Api::without_session(app).get(route::READYZ, &[], &[]).await?;
    Ok(!ready.is("bootstrapped"))
}

/// Whom an app expects that sends a person here (`login_hint`; OpenID Connect Core 1.0, section 3.1.2.1), if nothing was typed yet.
fn hint(typed: &Form) -> Option<String> {
    let asked =
        local(typed.text("next")).strip_prefix("/oauth/authorize?").filter(|_| typed.text("email").is_empty())?;
    Some(Form::parse(asked).text("login_hint").to_owned())
}

/// The form, with what was typed.
pub(crate) async fn show_login(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    // Of another tenant nobody says which ways it allows before somebody has signed in.
    let ways = Api::without_session(app).get(route::WAYS, &[], &[]).await.unwrap_or_default();
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let token = FormToken::of(app);
    let tenant = HomeTenant::of(app, typed, &ways);
    let is_unusual = !tenant.slug.is_empty();
    let allows = |way: &str| ways.is_null() || ways.words("ways").contains(&way) || is_unusual;
    let providers = if allows("oidc") { identities::offered(app).await } else { Vec::new() };
    let (mut frame, is_out) = (Frame::new(app, "Sign in", refusal.map(Note::from)), typed.is("done", SIGNED_OUT));
    if let Some(note) = frame.note.as_mut().filter(|note| is_out && note.kind == "good") {
        note.text = still_there(&providers);
    }
    let page = LoginPage {
        frame,
        csrf: token.text.clone(),
        next: local(typed.text("next")).to_owned(),
        email: hint(typed).unwrap_or_else(|| typed.text("email").to_owned()),
        tenant: tenant.slug,
        tenant_name: tenant.name,
        has_password: allows("password"),
        has_link: app.settings().has_mail() && allows("link"),
        providers,
        is_other: is_out || typed.is(OTHER, "1"),
        is_unsafe: credential::cookie_name(app).is_none(),
    };
    Ok(token.set(write_with(&page, status)?))
}

/// What a sign-out here does not end, for those who came through a provider; empty: there is none.
fn still_there(providers: &[Json]) -> String {
    let labels: Vec<&str> = providers.iter().map(|provider| provider.text("label")).collect();
    if labels.is_empty() {
        return String::new();
    }
    let labels = labels.join(" or ");
    format!(
        "If you came through {labels}, you are still signed in there: on a computer that others use, sign out there too."
    )
}

/// `POST /auth/login`.
pub(crate) async fn sign_in(app: App, typed: Form) -> Result<Response, ApiError> {
    answer(&app, async {
        match try_sign_in(&app, &typed).await {
            Err(Trouble::Refused(refusal)) if refusal.next.ticket.is_empty() => {
                show_login(&app, &typed, Some(refusal)).await
            }
            outcome => finish(&app, outcome, (local(typed.text("next")), typed.text("tenant"))).await,
        }
    })
    .await
}

async fn try_sign_in(app: &App, typed: &Form) -> Result<Json, Trouble> {
    check_same_site(app, typed)?;
    let mut body = json!({ "email": typed.text("email"), "password": typed.raw("password") });
    if let (Some(members), false) = (body.as_object_mut(), typed.text("tenant").is_empty()) {
        members.insert("tenant".to_owned(), typed.text("tenant").into());
    }
    Api::without_session(app).change(route::SIGN_IN, &[], Change { form: typed, body }).await
}

/// The end of every way to sign in by a page, with what the API made of it: leaves the session with the browser, or asks for the code of the
/// second factor. What else the API refuses is the page's own.
pub(crate) async fn finish(
    app: &App,
    outcome: Result<Json, Trouble>,
    (next, tenant): (&str, &str),
) -> Result<Response, Trouble> {
    match outcome {
        Ok(signed_in) => welcome(app, &signed_in, next).await,
        Err(Trouble::Refused(refusal)) if !refusal.next.ticket.is_empty() => {
            let letters = PerTab::letters(app);
            let pairs = [("next", next), (TICKET, letters.as_str())];
            let page = see(app, &at("/login/factor", &Form::of(&[("tenant", tenant)]), &pairs));
            Ok(TICKETS.keep(app, page, (&letters, &refusal.next.ticket), TICKET_LIFE))
        }
        Err(trouble) => Err(trouble),
    }
}

/// What the address says after a sign-out.
const SIGNED_OUT: &str = "signed-out";
/// The field of the address and of the form that names the ticket among those of the browser's tabs.
const TICKET: &str = "at";
/// How long a browser keeps it, seconds: as long as it lives.
const TICKET_LIFE: i64 = 10 * 60;

#[derive(Template)]
#[template(path = "login_factor.html")]
struct FactorPage {
    frame: Frame,
    csrf: String,
    /// The letters of the ticket.
    at: String,
    next: String,
    tenant: String,
    /// The form for signing in.
    login: String,
}

/// `GET /login/factor`: asks for the code of the second factor. The ticket of the sign-in so far is in a cookie.
pub(crate) async fn factor_form(app: App) -> Result<Response, ApiError> {
    answer(&app, async {
        let asked = Form::query(&app);
        match TICKETS.read(&app, asked.text(TICKET)) {
            Some(_) => show_factor(&app, &asked, None),
            None => Ok(see(&app, &at("/login", &asked, &[]))),
        }
    })
    .await
}

fn show_factor(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let token = FormToken::of(app);
    let page = FactorPage {
        frame: Frame::new(app, "Second factor", refusal.map(Note::from)),
        csrf: token.text.clone(),
        at: typed.text(TICKET).to_owned(),
        next: local(typed.text("next")).to_owned(),
        tenant: typed.text("tenant").to_owned(),
        login: at("/login", typed, &[]),
    };
    Ok(token.set(write_with(&page, status)?))
}

/// `POST /login/factor`.
pub(crate) async fn sign_in_by_code(app: App, typed: Form) -> Result<Response, ApiError> {
    answer(&app, async {
        let next = local(typed.text("next"));
        match try_code(&app, &typed).await {
            Ok(signed_in) => Ok(TICKETS.forget(&app, welcome(&app, &signed_in, next).await?, typed.text(TICKET))),
            // The sign-in begins again from where it began.
            Err(Trouble::Refused(refusal)) if refusal.slug == "ticket_ended" => {
                // By a form that was sent twice: its first answer has let them in.
                if has_session(&app).await {
                    return Ok(TICKETS.forget(&app, lead(&app, next), typed.text(TICKET)));
                }
                let again = match typed.text("tenant") {
                    "" => Form::of(&[("next", next)]),
                    tenant => Form::of(&[("next", next), ("tenant", tenant)]),
                };
                let mut refusal = refusal;
                "The sign-in took too long, or the account was changed.".clone_into(&mut refusal.detail);
                "Sign in once more.".clone_into(&mut refusal.fix);
                let page = show_login(&app, &again, Some(refusal)).await?;
                Ok(TICKETS.forget(&app, page, typed.text(TICKET)))
            }
            Err(Trouble::Refused(refusal)) => show_factor(&app, &typed, Some(refusal)),
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

async fn try_code(app: &App, typed: &Form) -> Result<Json, Trouble> {
    check_same_site(app, typed)?;
    let ticket = TICKETS.read(app, typed.text(TICKET)).unwrap_or_default();
    let body = json!({ "ticket": ticket, "code": typed.text("code") });
    Api::without_session(app).change(route::FACTOR_VERIFY, &[], Change { form: typed, body }).await
}

/// Leaves the session with the browser that has just signed in, in whichever way, and goes on to where it wanted to go.
pub(crate) async fn welcome(app: &App, signed_in: &Json, next: &str) -> Result<Response, Trouble> {
    let cookie = session::cookie(app, signed_in.text("access_token"));
    let cookie = cookie.ok_or_else(|| Trouble::Outage("this site has no cookie".to_owned()))?;
    // The browser forgets the session of somebody else here, so nobody could end it later. One's own may have let terminals in.
    if visitor(app).await.is_some_and(|before| before.text("user_id") != signed_in.text("user_id"))
        && let Err(Trouble::Outage(cause)) = Api::end_session(app).await
    {
        log(app.request_id(), app.path(), &cause);
    }
    let page = with_cookie(lead(app, next), &cookie);
    let api = Api::signed_in(app, signed_in.text("access_token"));
    let (tenant, who) = join(api.get(route::TENANT, &[], &[]), api.get(route::WHOAMI, &[], &[])).await;
    // Who is let in is in, also where this cannot be had.
    let page = match tenant {
        Ok(tenant) => HomeTenant::remember(app, &tenant, page),
        Err(_) => page,
    };
    Ok(match who {
        Ok(who) => remember(app, &who, page),
        Err(_) => page,
    })
}

#[derive(Template)]
#[template(path = "sign_out.html")]
struct SignOutPage {
    frame: Frame,
    csrf: String,
}

/// `POST /logout`: ends the session's row, and has the browser forget it.
pub(crate) async fn sign_out(app: App, typed: Form) -> Result<Response, ApiError> {
    answer(&app, async {
        let api = Api::of(&app)?;
        let ended = api.change(route::LOGOUT, &[], Change { form: &typed, body: Json::Null }).await;
        match ended {
            // It had ended before.
            Ok(_) | Err(Trouble::SignIn) => {}
            // A page of an earlier session: its visitor is still signed in, and is not left to believe otherwise.
            Err(Trouble::Refused(refusal)) if refusal.slug == "csrf_failed" => {
                let who = api.get(route::WHOAMI, &[], &[]).await?;
                let frame = Frame::new(&app, "Sign out?", None);
                return write_with(&SignOutPage { frame, csrf: who.text("csrf_token").to_owned() }, refusal.status);
            }
            Err(trouble) => return Err(trouble),
        }
        // After "Sign in as somebody else" the next person answers the same question.
        let response = match local(typed.text("next")) {
            "" | "/" => see(&app, &format!("/login?{}", query(&[("done", SIGNED_OUT)]))),
            next => see(&app, &format!("/login?{}", query(&[("next", next), (OTHER, "1")]))),
        };
        // The next visitor finds nothing of theirs.
        let response = LAST.forget(&app, KEPT.forget_all(&app, response));
        Ok(match session::no_cookie(&app) {
            Some(cookie) => with_cookie(response, &cookie),
            None => response,
        })
    })
    .await
}

/// The random text of the forms that a visitor without a session fills in.
pub(crate) struct FormToken {
    pub(crate) text: String,
    cookie: String,
}

impl FormToken {
    /// The visitor's own, or a new one.
    pub(crate) fn of(app: &App) -> Self {
        let text = FORM.read(app).filter(|text| is_token(text)).unwrap_or_else(|| unguessable(app));
        let cookie = FORM.line(app, &text, None);
        Self { text, cookie }
    }

    /// Leaves it with the visitor.
    pub(crate) fn set(&self, response: Response) -> Response {
        with_cookie(response, &self.cookie)
    }
}

fn is_token(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Refuses a form of another site.
pub(crate) fn check_same_site(app: &App, typed: &Form) -> Result<(), Trouble> {
    let own = credential::own_origin(app);
    let is_ours = match app.headers().first("origin") {
        Some(origin) => own.as_ref().is_some_and(|own| *own == origin.to_ascii_lowercase()),
        None => app.headers().first("sec-fetch-site").is_some_and(|site| site == "same-origin"),
    };
    let sent = FORM.read(app).filter(|text| is_token(text));
    if is_ours && sent.as_ref().is_some_and(|sent| equal(sent, &typed.csrf(app))) {
        return Ok(());
    }
    let slug = "csrf_failed";
    let (mut said, mut step) = (help::said(slug, "").to_owned(), help::step(slug, 403, ""));
    if sent.is_none() {
        step.push_str(" If this comes again, let this browser keep the cookies of this site.");
    }
    // Nobody can sign in at another address than the one that the operator has set: sending it again would not help.
    if let (Some(own), false, Some(origin)) = (own, is_ours, app.headers().first("origin"))
        && origin != "null"
    {
        said = format!("You have opened this site by another address than {own}.");
        step = format!("Nothing was changed. Open {own}{}/ and sign in there.", app.settings().link());
    }
    let mut refusal = Refusal::own(403, &said, &step);
    refusal.slug = slug.to_owned();
    Err(Trouble::Refused(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Visitor;

    /// R710: after a sign-out, for somebody else, and where the person of a provider was refused, the provider is to ask who comes; and a
    /// sign-out says that it does not end the session there.
    #[tokio::test]
    async fn a_provider_leads_nobody_back_who_has_signed_out() {
        let visitor = Visitor::new(|_, path| match path {
            "/readyz" => (200, json!({ "bootstrapped": true })),
            "/auth/ways" => (200, json!({ "ways": ["password", "oidc"] })),
            "/auth/oidc" => (200, json!({ "items": [{ "name": "acme", "label": "Acme" }] })),
            "/auth/oidc/acme/finish" => (403, json!({ "error": "no_account", "fix": "Ask an admin." })),
            "/auth/logout" => (200, json!({})),
            _ => (401, json!({ "error": "token_expired" })),
        });
        let plain = visitor.open("/login?next=%2Fagents").await.text;
        assert!(plain.contains("/auth/oidc/acme/login?next=%2Fagents\""), "{plain}");
        let left = visitor.send("/logout", &[("next", "/agents")]).await;
        assert_eq!(left.header("location"), "/login?next=%2Fagents&other=1", "{}", left.text);
        let hidden = "name=\"other\" value=\"1\"";
        for page in ["/login?next=%2Fagents&other=1", "/login?done=signed-out&next=%2Fagents"] {
            let html = visitor.open(page).await.text;
            assert!(html.contains("/auth/oidc/acme/login?next=%2Fagents&#38;other=1\""), "{page}: {html}");
            assert!(html.contains(hidden), "{page}: {html}");
        }
        let refused = visitor.open("/auth/oidc/acme/callback?code=c&state=s").await;
        assert!(refused.status == 403 && refused.text.contains(hidden), "{}", refused.text);

        let out = visitor.send("/logout", &[]).await;
        assert_eq!(out.header("location"), "/login?done=signed-out");
        let said = visitor.open_with("accredit-done=signed-out", "/login?done=signed-out").await.text;
        assert!(
            said.contains("You are signed out.") && said.contains("through Acme, you are still signed in"),
            "{said}"
        );
    }

    /// R710: what the page of the provider is asked for.
    #[tokio::test]
    async fn a_provider_is_told_that_somebody_else_may_come() {
        let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let sent = std::rc::Rc::clone(&seen);
        service::outbound::stub::serve(Box::new(move |request| {
            let body: Json = serde_json::from_str(request.body()).unwrap_or_default();
            sent.borrow_mut().push(body["other"].clone());
            Ok((200, json!({ "url": "https://sso.example/a?state=s", "flow": "f", "expires_in": 600 }).to_string()))
        }));
        let t = service::testing::TestApp::new(crate::router());
        for path in ["/auth/oidc/acme/login?next=%2F", "/auth/oidc/acme/login?next=%2F&other=1"] {
            assert_eq!(t.call("GET", path, &[], Json::Null).await.status, 303);
        }
        assert_eq!(*seen.borrow(), [json!(false), json!(true)]);
    }

    /// R528: what signs in and is sent twice leads on the second time too, and says nothing of a sign-in that took too long; without a
    /// session it does.
    #[tokio::test]
    async fn a_form_that_is_sent_twice_leads_on() {
        for (path, slug, status) in
            [("/login/factor", "ticket_ended", 401), ("/auth/email/verify", "invalid_code", 400)]
        {
            for (is_in, seen) in [(true, 303), (false, status)] {
                let visitor = Visitor::new(move |_, path| match path {
                    "/auth/factor/verify" | "/auth/email/token" => {
                        (status, json!({ "error": slug, "fix": "Begin again." }))
                    }
                    "/api/auth/whoami" if is_in => (200, json!({ "user_id": "usr_1" })),
                    "/api/auth/whoami" => (401, json!({ "error": "token_revoked" })),
                    _ => (200, json!({})),
                });
                let code = "A".repeat(43);
                let fields = [("next", "/agents?q=1"), ("code", code.as_str()), ("at", "aaaaaaaaaaaa")];
                let sent = visitor.send_open(path, &fields).await;
                let to = if is_in { "/agents?q=1" } else { "" };
                let seen = if path == "/login/factor" || is_in { seen } else { 410 };
                assert_eq!((sent.status.as_u16(), sent.header("location")), (seen, to), "{path}: {}", sent.text);
            }
        }
    }
}
