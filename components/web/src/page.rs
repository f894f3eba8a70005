//! What every page has: the header with the visitor's name and what waits, a note, the security headers; and the pages that stand for
//! trouble.

use std::{future::Future, pin::Pin};

use askama::Template;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{
    error::{ApiError, Code},
    route,
    text::isolated,
    time::Timestamp,
};
use futures_util::future::join3;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value as Json, json};
use service::{
    app::{App, log},
    inside::header_value,
    response::{Response, bytes, see_other},
};

use crate::{
    api::{Api, Asked, Members, Refusal, Trouble},
    assets, bidi,
    cookie::{DONE as DONE_COOKIE, KEPT, with as with_cookie},
    form::{AGENT, Form, is_unseen, local, passwords_of, query},
    home_tenant::at,
    kept::{Kept, SENT},
    list::List,
    words::{self, Html},
};

/// No inline script or style, and nothing of another site.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'";

/// Characters of the longest address of a person.
const LONGEST_EMAIL: usize = 254;

/// Seconds in which a page says what was done before it.
const SAID_WITHIN: i64 = 60;

const OUTAGE: &str = "Accredit is not available";
const SOON: &str = "Wait some seconds, then open this page again.";

/// What was done, by the word in the address after a form was sent: no text of a visitor's comes this way.
const DONE: &[(&str, &str)] = &[
    ("address-changed", "The address is changed. They sign in with the new one."),
    (
        "address-asked",
        "A mail with a link is on its way to the new address. Nothing changes before you open the link and confirm.",
    ),
    ("address-waits", "Sign in, and then open the link of the mail once more, in this browser."),
    ("address-withdrawn", "Withdrawn. Your address stays as it is."),
    ("activated", "The account is active again."),
    ("app-ended", "Ended. The app has no rights of yours any more."),
    ("approved", "Approved. It works from the agent's next request on, as long as the agent runs."),
    (
        "approved-all",
        "All that you ticked is approved. It works from the agents' next requests on, as long as they run.",
    ),
    ("archived", "Archived, with all agents below it. Their credentials have ended."),
    ("changed", "Saved."),
    ("deactivated", "Deactivated, with the person's sessions, tokens and agents."),
    ("deleted", "Deleted."),
    ("denied", "Denied. The agent was told."),
    ("denied-all", "All that you ticked is denied. The agents were told."),
    ("device-approved", "Approved. Go back to the terminal: it goes on by itself."),
    ("device-denied", "Denied. The device gets nothing."),
    ("ended", "Signed out there."),
    ("ended-all", "Signed out everywhere. Tokens and agents go on to work."),
    (
        "form-too-long",
        "Your session had ended. Nothing was done. Sign in again: what you typed is too long to be kept, and has to be typed again.",
    ),
    (
        "form-waits",
        "Your session had ended. Nothing was done, and what you typed is kept for 15 minutes: sign in again, and you find it.",
    ),
    ("factor-removed", "Your second factor is removed. A sign-in asks for no code any more."),
    ("factor-taken", "The second factor is removed, and the person was told."),
    ("from-the-start", "This list has changed, or the link is from another one: here it is from the start."),
    ("given-away", "Given away. It needs another token from its new owner."),
    ("invited-again", "A mail with another invitation is on its way to them."),
    ("invited", "Added. A mail with an invitation is on its way to them."),
    (
        "link-asked",
        "If this address has an account, a mail with a link is on its way. The link works once, for 15 minutes.",
    ),
    ("mailed", "A mail with a link is on its way to them."),
    ("mailed-again", "It is due again, and is sent in a moment."),
    ("made", "Made."),
    (
        "leak-reported",
        "Reported. If this was a live credential of this server, it has ended, and its owner and the admins were told. Nobody is told here whether it was one.",
    ),
    ("linked", "Linked. From now on you can sign in with it."),
    ("marked", "Marked as read."),
    ("password", "Your password is changed. Your other sessions are ended; tokens and apps go on."),
    ("password-set", "Your password is set. Sign in with it."),
    ("own-role", "Your role is changed. You are no admin any more."),
    (
        "own-address",
        "Your address is changed. You sign in with the new one from now on. Your other sessions are ended.",
    ),
    ("own-name", "Saved. This is what others see."),
    ("paused", "Paused, with all agents below it."),
    ("purged", "Deleted for good. The audit trail keeps what it did."),
    (
        "reset-asked",
        "If this address has an account, a mail with a link to set a new password is on its way. The link works once, for 24 hours.",
    ),
    (
        "person-deleted",
        "Deleted, with all of their sessions and tokens. Agents of theirs that were not given away are archived.",
    ),
    ("ran", "Run. Its result is in the list."),
    ("restarted", "Restarted."),
    ("restored", "Restored: it is stopped, and has no credentials. Issue a token and start it."),
    ("resumed", "Resumed."),
    ("revoked", "Revoked."),
    ("session-ended", "Your session had ended. Nothing was done. Sign in again."),
    ("set", "Set. The agent was told."),
    ("sent", "It is being sent. The deliveries say what comes of it."),
    ("set-up", "Accredit is set up. Sign in with the address and the password that you just chose."),
    ("shared", "Shared."),
    (
        "shared-in-vain",
        "Shared. But they can read and not change, because their role is viewer: an admin can change it.",
    ),
    ("shown", "It was made and shown. If you did not keep it, make a new one."),
    ("signed-in", "You are signed in. What was begun at the provider was finished before, or took too long."),
    ("signed-out", "You are signed out."),
    ("started", "Started."),
    ("started-in-vain", "Started, but the account of its owner is deactivated. No credential of it works meanwhile."),
    ("stopped", "Stopped, with all agents below it."),
    ("stopped-all", "Every agent is stopped. To undo this, open “Start again…”."),
    ("started-all", "Agents that the last stop of all had stopped run again, or are paused as before."),
    ("nothing-to-undo", "Nothing was undone: no agent is stopped by the last stop of all."),
    ("trusted", "Trusted. Its workloads can get credentials of the agent from now on."),
    ("unlinked-all", "Unlinked, and the person was told. A sign-in with their proved address links it anew."),
    ("unlinked", "Unlinked. It no longer opens your account, and your other sessions are ended."),
    ("untrusted", "Deleted, with the credentials that it gave."),
    ("unshared", "No longer shared. Credentials that rested on it ended with it."),
];

/// What is done from a list too, where the page says of which agent.
const OF_AN_AGENT: [&str; 6] = ["paused", "restarted", "resumed", "started", "started-in-vain", "stopped"];

/// The pages by which admins set the tenant up: the word of each, its path, and its name.
pub(crate) const SETTINGS: [(&str, &str, &str); 7] = [
    ("settings", "tenant", "Tenant"),
    ("presets", "presets", "Presets"),
    ("scopes", "scopes", "Scopes"),
    ("webhooks", "webhooks", "Webhooks"),
    ("clients", "clients", "OAuth clients"),
    ("resources", "resources", "Services"),
    ("outbox", "outbox", "Outbox"),
];

/// A note above the page's content.
pub(crate) struct Note {
    /// `good` or `bad`.
    pub(crate) kind: &'static str,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) fields: Vec<(String, String)>,
    /// The closure of what was ended, which has a receipt; empty: nothing was.
    pub(crate) closure: String,
}

impl From<Refusal> for Note {
    fn from(refusal: Refusal) -> Self {
        let fields = refusal.fields;
        Self { kind: "bad", title: refusal.detail, text: refusal.fix, fields, closure: String::new() }
    }
}

impl Note {
    /// What the address says was done, where the form before this page has done it: by the address alone, a link from elsewhere could
    /// say so too.
    pub(crate) fn done(app: &App) -> Option<Self> {
        let (asked, kept) = (Form::query(app), DONE_COOKIE.read(app)?);
        let (done, typed) = kept.split_once('.').unwrap_or((&kept, ""));
        if !asked.is("done", done) {
            return None;
        }
        let (_, title) = DONE.iter().find(|(word, _)| asked.is("done", word))?;
        let typed = URL_SAFE_NO_PAD.decode(typed).ok().and_then(|typed| String::from_utf8(typed).ok());
        let mut title = (*title).to_owned();
        let text = match typed.filter(|typed| !typed.is_empty()) {
            Some(name) if OF_AN_AGENT.contains(&done) => {
                // Stopped: scout, with all agents below it.
                title.insert_str(title.find([',', '.']).unwrap_or(title.len()), &format!(": {}", isolated(&name)));
                String::new()
            }
            Some(typed) => format!("You typed {}. If that is not right, ask once more.", isolated(&typed)),
            None => String::new(),
        };
        Some(Self { kind: "good", title, text, fields: Vec::new(), closure: String::new() })
    }
}

/// The part of a page outside of its content that does not need a session.
pub(crate) struct Frame {
    pub(crate) title: String,
    /// What comes before every path.
    pub(crate) link: String,
    pub(crate) version: String,
    pub(crate) note: Option<Note>,
}

impl Frame {
    /// Whether the note is about a refusal, which the title says first: it is what is read aloud first.
    pub(crate) fn is_refused(&self) -> bool {
        self.note.as_ref().is_some_and(|note| note.kind == "bad")
    }

    /// The attributes of a field that was sent wrong.
    pub(crate) fn flaw(&self, field: &str) -> Html {
        words::flaw(self.wrong(), field)
    }

    /// What is wrong about it.
    pub(crate) fn told(&self, field: &str) -> Html {
        words::told(self.wrong(), field)
    }

    fn wrong(&self) -> &[(String, String)] {
        self.note.as_ref().map_or(&[], |note| &note.fields)
    }

    pub(crate) fn new(app: &App, title: &str, note: Option<Note>) -> Self {
        let link = app.settings().link().to_owned();
        Self { title: title.to_owned(), link, version: assets::version(), note: note.or_else(|| Note::done(app)) }
    }
}

/// A header on its way.
type Loading<'a> = Pin<Box<dyn Future<Output = Result<Shell, Trouble>> + 'a>>;

/// A page of a visitor with a session.
pub(crate) struct Shell {
    pub(crate) frame: Frame,
    /// The part of the navigation that is open.
    pub(crate) nav: &'static str,
    /// Who is here, as `whoami` says it.
    pub(crate) who: Json,
    /// The tenant's settings.
    pub(crate) tenant: Json,
    /// Access requests that wait for the visitor.
    pub(crate) requests: Vec<Json>,
    /// A plus where there are more of them.
    pub(crate) more_requests: &'static str,
    pub(crate) unread: i64,
    pub(crate) now: Timestamp,
    once: String,
    /// The id of the agent that the page shows; empty: it is no page of one.
    agent: String,
}

impl Shell {
    /// Asks for what the header shows.
    pub(crate) fn load<'a>(app: &'a App, api: &'a Api<'_>, title: &'a str, nav: &'static str) -> Loading<'a> {
        Box::pin(async move {
            let overview = api.get(route::OVERVIEW, &[], &[("parts", "head")]);
            let (overview, tenant, note) =
                join3(overview, api.get(route::TENANT, &[], &[]), Self::note(app, api)).await;
            let overview = match overview {
                // The page where the second factor is set up is open before there is one. Its header shows who is here, and nothing more.
                Err(Trouble::Refused(refusal))
                    if refusal.slug == "second_factor_setup_required" && app.path().starts_with("/security") =>
                {
                    json!({ "caller": api.get(route::WHOAMI, &[], &[]).await? })
                }
                overview => overview?,
            };
            Ok(Self::of(app, title, nav, (&overview, tenant, note)))
        })
    }

    /// What was done before this page, and since when nobody accepts what it ended.
    pub(crate) async fn note(app: &App, api: &Api<'_>) -> Option<Note> {
        let (note, asked) = (Note::done(app)?, Form::query(app));
        let id = asked.text("closure");
        if id.is_empty() {
            return Some(note);
        }
        let closure = api.get(route::CLOSURE_GET, &[id], &[]).await.unwrap_or_default();
        let agent = app.path().strip_prefix("/agents/").filter(|name| !name.contains('/'));
        // A new token of an agent that goes on ends the one before it alone.
        let is_all = matches!(closure.text("action"), "agent.stop" | "agent.pause");
        let text = words::closed(agent.filter(|_| is_all).unwrap_or("what has ended"), &closure);
        Some(Note { text, closure: closure.text("id").to_owned(), ..note })
    }

    /// The same from answers that are there. Without the tenant's settings a page is shown all the same.
    pub(crate) fn of(
        app: &App,
        title: &str,
        nav: &'static str,
        (overview, tenant, note): (&Json, Result<Json, Trouble>, Option<Note>),
    ) -> Self {
        let waiting = overview.at("waiting");
        Self {
            frame: Frame::new(app, title, note),
            nav,
            who: overview.at("caller").clone(),
            tenant: tenant.unwrap_or_default(),
            requests: waiting.list("items").to_vec(),
            more_requests: if waiting.is("is_more") { "+" } else { "" },
            unread: overview.number("unread"),
            now: app.now(),
            once: app.request_id().to_string(),
            agent: String::new(),
        }
    }

    /// As a page of this agent, whose forms name it.
    pub(crate) fn of_agent(mut self, id: &str) -> Self {
        id.clone_into(&mut self.agent);
        self
    }

    /// The attributes of a field that was sent wrong.
    pub(crate) fn flaw(&self, field: &str) -> Html {
        self.frame.flaw(field)
    }

    /// What is wrong about it.
    pub(crate) fn told(&self, field: &str) -> Html {
        self.frame.told(field)
    }

    /// The attribute of a filter whose value is refused, as the note above the list says.
    pub(crate) fn marked(&self, field: &str) -> Html {
        let is_wrong = self.frame.wrong().iter().any(|(name, _)| name == field);
        words::written(if is_wrong { " aria-invalid=\"true\"".to_owned() } else { String::new() })
    }

    /// A filter of a list by a day.
    pub(crate) fn day(&self, name: &str, label: &str, list: &List) -> Html {
        words::day_filter(name, label, list.asked.text(name), &self.marked(name))
    }

    /// With a note about a form that was sent.
    pub(crate) fn with(mut self, refusal: Option<Refusal>) -> Self {
        if let Some(refusal) = refusal {
            self.frame.note = Some(refusal.into());
        }
        self
    }

    /// With the name of what the page shows as its title.
    pub(crate) fn called(mut self, name: &str) -> Self {
        name.clone_into(&mut self.frame.title);
        self
    }

    /// With the answer to a filter: the list, or an empty one and the status of the refusal, which is said above it.
    pub(crate) fn with_list(self, list: Result<Json, Trouble>) -> Result<(Self, Json, Option<u16>), Trouble> {
        match list {
            Ok(list) => Ok((self, list, None)),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() && !refusal.is_of_another_list() => {
                let refused = refusal.status;
                Ok((self.with(Some(refusal)), Json::Null, Some(refused)))
            }
            Err(trouble) => Err(trouble),
        }
    }

    pub(crate) fn link(&self) -> &str {
        &self.frame.link
    }

    /// The tenant as pages name it.
    pub(crate) fn tenant_name(&self) -> &str {
        Some(self.tenant.text("name")).filter(|name| !name.is_empty()).unwrap_or_else(|| self.who.text("tenant"))
    }

    /// Whether the tenant lets anybody in by a password.
    pub(crate) fn has_passwords(&self) -> bool {
        self.lets_in_by("password")
    }

    /// Whether the tenant lets anybody in through a provider.
    pub(crate) fn has_providers(&self) -> bool {
        self.lets_in_by("oidc")
    }

    fn lets_in_by(&self, way: &str) -> bool {
        self.tenant.is_null() || self.tenant.words("ways").contains(&way)
    }

    /// Whether this is one of the pages by which admins set the tenant up.
    pub(crate) fn is_at_settings(&self) -> bool {
        SETTINGS.iter().any(|(word, ..)| self.is_at(word))
    }

    pub(crate) fn is_at(&self, nav: &str) -> bool {
        self.nav == nav
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.who.text("role") == "admin"
    }

    /// Whether the visitor's role has a scope. It decides what a page offers; the API decides what happens.
    pub(crate) fn may(&self, scope: &str) -> bool {
        self.who.words("scope").iter().any(|held| *held == "*" || *held == scope)
    }

    /// The hidden fields of a form.
    pub(crate) fn hidden(&self) -> Html {
        let both = words::hidden(self.who.text("csrf_token"), &self.once);
        if self.agent.is_empty() {
            return both;
        }
        words::written(format!("{both}{}", words::hidden_field(AGENT, &self.agent)))
    }

    pub(crate) fn when(&self, at: &str) -> Html {
        words::when(self.now, at, "never")
    }

    pub(crate) fn due(&self, at: &str) -> Html {
        words::due(self.now, at)
    }

    /// A person in few letters.
    pub(crate) fn person(&self, email: &str) -> String {
        words::person(email, self.who.text("email"))
    }

    /// Two letters for the visitor.
    pub(crate) fn initials(&self) -> String {
        let name = self.who.text("email").split('@').next().unwrap_or_default();
        let parts = name.split(['.', '-', '_', '+']).filter_map(|part| part.chars().next());
        parts.take(2).flat_map(char::to_uppercase).collect()
    }

    /// Only admins go on.
    pub(crate) fn admins_only(self) -> Result<Self, Trouble> {
        if self.is_admin() {
            return Ok(self);
        }
        let fix = "Ask an admin of your tenant, or ask them to raise your role.";
        Err(Trouble::Refused(Refusal::own(403, "This page is for the admins of your tenant.", fix)))
    }
}

/// A page that stands alone, when there is nothing else to show.
#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage {
    frame: Frame,
    heading: &'static str,
    detail: String,
    fix: String,
    request: String,
}

/// Answers with a page, or with one that says why not.
pub(crate) async fn answer(
    app: &App,
    page: impl Future<Output = Result<Response, Trouble>>,
) -> Result<Response, ApiError> {
    answered(app, Box::pin(page)).await
}

/// The same for all pages: their states are laid out once.
async fn answered(
    app: &App,
    page: Pin<Box<dyn Future<Output = Result<Response, Trouble>> + '_>>,
) -> Result<Response, ApiError> {
    let answered = match page.await {
        Ok(response) => Ok(settle(app, response)),
        Err(trouble) => match wait(app, trouble).await {
            Ok(trouble) => explain(app, trouble).await,
            Err(waits) => Ok(waits),
        },
    };
    answered.map(|response| let_open(app, response))
}

/// Where a person signs in and lets an app in. The app may open these in a window beside its own, and hears there when its person is back;
/// no other page stays in touch with the page that opened it.
const FOR_WINDOWS: [&str; 3] = ["/login", "/auth/", "/oauth/authorize"];

fn let_open(app: &App, mut response: Response) -> Response {
    if FOR_WINDOWS.iter().any(|start| app.path().starts_with(start)) {
        response.headers_mut().remove(OPENER);
    }
    response
}

/// The same for a form. One whose session has ended waits for its person to sign in again.
pub(crate) async fn answer_form(
    app: &App,
    form: &Form,
    page: impl Future<Output = Result<Response, Trouble>>,
) -> Result<Response, ApiError> {
    let page = async {
        match page.await {
            Err(Trouble::SignIn) => Ok(wait_for_sign_in(app, form)),
            shown => shown.map(|response| with_closure(response, form.closure())),
        }
    };
    answer(app, page).await
}

/// Lets the page that says what was done say since when nobody accepts it.
fn with_closure(mut response: Response, closure: Option<&str>) -> Response {
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    if let (Some(closure), Some(location)) = (closure, location.filter(|location| location.contains("done="))) {
        let location = header_value(&format!("{location}&closure={closure}"));
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// 303 to the form for signing in, which leads back to what was typed, or else to the page that it was typed on.
fn wait_for_sign_in(app: &App, form: &Form) -> Response {
    // Only a form of the last session says where it was sent from.
    let Some(kept) = Kept::of_ended(app, form) else { return see_login(app) };
    if !kept.is_worth_keeping(app) {
        return see(app, &format!("/login?{}", query(&[("done", "session-ended"), ("next", &kept.page)])));
    }
    kept.keep(app, |kept, waits| {
        let done = if kept.fields.is_some() { "form-waits" } else { "form-too-long" };
        see(app, &format!("/login?{}", query(&[("done", done), ("next", waits)])))
    })
}

/// Has the browser forget what has come to its end with this answer.
fn settle(app: &App, response: Response) -> Response {
    let is_sent = app.head().method == http::Method::POST;
    if is_sent {
        return KEPT.forget(app, response, Form::query(app).text(SENT));
    }
    // A page has said it.
    if response.status() != StatusCode::SEE_OTHER && DONE_COOKIE.read(app).is_some() {
        return DONE_COOKIE.forget(app, response);
    }
    response
}

/// A form whose visitor can prove who they are by a new sign-in alone waits for it.
async fn wait(app: &App, trouble: Trouble) -> Result<Trouble, Response> {
    match trouble {
        Trouble::Prove(asked) if asked.refusal.next.way == "sign_in" => match Kept::of(app, &asked.form).await {
            Ok(kept) => Err(kept.keep(app, |_, waits| see(app, waits))),
            Err(trouble) => Ok(trouble),
        },
        trouble => Ok(trouble),
    }
}

async fn explain(app: &App, trouble: Trouble) -> Result<Response, ApiError> {
    let (status, heading, detail, fix) = match trouble {
        Trouble::SignIn => return Ok(see_login(app)),
        Trouble::Refused(refusal) if refusal.is_of_another_list() => return Ok(see_the_start(app)),
        // The one page on which somebody who lacks the second factor that is demanded can go on.
        Trouble::Refused(refusal) if refusal.slug == "second_factor_setup_required" => {
            return Ok(see(app, &format!("/security?{}", query(&[("next", wanted(app))]))));
        }
        Trouble::Prove(asked) => {
            return ask_for_proof(app, *asked).await.map_err(|_| ApiError::from(Code::Internal));
        }
        Trouble::Refused(refusal) => {
            let heading = match refusal.status {
                403 => "You may not do this",
                404 => "This is not here",
                503 if refusal.slug.starts_with("database_") => OUTAGE,
                _ => "This did not work",
            };
            (refusal.status, heading, refusal.detail, refusal.fix)
        }
        Trouble::Outage(cause) => {
            log(app.request_id(), app.path(), &cause);
            let detail = "A part of this server does not answer at the moment.".to_owned();
            (503, OUTAGE, detail, SOON.to_owned())
        }
    };
    let frame = Frame::new(app, heading, None);
    let page = TroublePage { frame, heading, detail, fix, request: app.request_id().to_string() };
    let mut response = write(&page).map_err(|_| ApiError::from(Code::Internal))?;
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status == 503 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    Ok(response)
}

/// A step up, in place: a form that was refused because its visitor has not proved for a while who they are. What was typed is kept, except
/// passwords, and goes on with the proof to where it was sent.
#[derive(Template)]
#[template(path = "prove.html")]
pub(crate) struct ProvePage {
    frame: Frame,
    /// How it is proved: `code`, `password`; empty: by a new sign-in, which has been.
    way: String,
    /// Who proves it, as `whoami` says it; null: nobody has to, or it cannot be had.
    who: Json,
    /// Where the form was sent.
    action: String,
    /// The page that leaves it.
    back: String,
    fields: Vec<(String, String)>,
    /// The passwords that were typed, which have to be typed again.
    passwords: Vec<&'static str>,
}

impl ProvePage {
    /// The form that waited for a sign-in.
    pub(crate) fn kept(app: &App, csrf: &str, kept: Kept, letters: &str) -> Self {
        let link = app.settings().link();
        let mut fields = kept.fields.unwrap_or_default();
        fields.push(("csrf".to_owned(), csrf.to_owned()));
        Self {
            frame: Frame::new(app, "Go on?", None),
            way: String::new(),
            who: Json::Null,
            action: format!(
                "{link}{}{}{SENT}={letters}",
                kept.action,
                if kept.action.contains('?') { '&' } else { '?' }
            ),
            back: format!("{link}{}", kept.page),
            fields,
            passwords: passwords_of(&kept.passwords),
        }
    }

    /// What was typed, by the names of the fields.
    fn typed(&self) -> Vec<(String, String)> {
        let mut typed: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.fields {
            if is_unseen(name) || value.is_empty() {
                continue;
            }
            let name = words::title(name);
            match typed.last_mut() {
                Some((before, all)) if *before == name => *all = format!("{all}, {value}"),
                _ => typed.push((name, value.clone())),
            }
        }
        typed
    }
}

async fn ask_for_proof(app: &App, asked: Asked) -> Result<Response, Trouble> {
    let Asked { refusal, form } = asked;
    // Without it the page is what it was.
    let who = match Api::of(app) {
        Ok(api) => api.get(route::WHOAMI, &[], &[]).await.unwrap_or_default(),
        Err(_) => Json::Null,
    };
    let (status, way) = (refusal.status, refusal.next.way.clone());
    // The first time, the page itself says what is missing.
    let note = (refusal.slug != "reauthentication_required").then(|| Note::from(refusal));
    let here = app.head().uri.path_and_query().map_or("/", |here| here.as_str());
    let link = app.settings().link();
    let page = ProvePage {
        frame: Frame::new(app, "Is it you?", note),
        way,
        who,
        action: format!("{link}{here}"),
        back: format!("{link}/"),
        fields: form.shown_again(),
        passwords: form.passwords(),
    };
    write_with(&page, status)
}

/// The page that the visitor wants, for which something has to be done first. After a form was sent it is the home page.
fn wanted(app: &App) -> &str {
    let here = app.head().uri.path_and_query().map_or("/", |here| here.as_str());
    if app.head().method == http::Method::POST { "/" } else { local(here) }
}

/// 303 to the form for signing in, which leads back here.
fn see_login(app: &App) -> Response {
    let next = wanted(app);
    // A mail's link names the tenant of its reader, who may have to sign in there first.
    let (path, asked) = next.split_once('?').unwrap_or((next, ""));
    let asked = Form::parse(asked);
    if !asked.has("tenant") {
        return see(app, &format!("/login?{}", query(&[("next", next)])));
    }
    let rest = asked.without("tenant");
    let next = if rest.is_empty() { path.to_owned() } else { format!("{path}?{rest}") };
    see(app, &at("/login", &asked, &[("next", &next)]))
}

/// 303 to the first page of a list, with its filters, from a place that it does not have any more.
fn see_the_start(app: &App) -> Response {
    let asked = Form::parse(&Form::query(app).without("cursor"));
    let asked = Form::parse(&asked.without("before")).without("done");
    let sign = if asked.is_empty() { "" } else { "&" };
    see(app, &format!("{}?{asked}{sign}done=from-the-start", app.path()))
}

/// 303 to a page of this site that somebody else may have named: nothing of what its address says was done is said there.
pub(crate) fn lead(app: &App, path: &str) -> Response {
    with_headers(see_other(&format!("{}{path}", app.settings().link())))
}

/// 303 to a page of this site. What its address says was done is said there once.
pub(crate) fn see(app: &App, path: &str) -> Response {
    let response = lead(app, path);
    let asked = Form::parse(path.split_once('?').map_or("", |(_, query)| query));
    match asked.text("done") {
        done if DONE.iter().any(|(known, _)| *known == done) => {
            with_cookie(response, &DONE_COOKIE.line(app, done, Some(SAID_WITHIN)))
        }
        _ => response,
    }
}

/// The same with the address that was typed, or the name of an agent, which the page repeats: a person that is told nothing of accounts sees a
/// slip of the fingers. It stays out of the address of the page, and so out of logs.
pub(crate) fn see_typed(app: &App, path: &str, done: &str, typed: &str) -> Response {
    let typed: String = typed.chars().take(LONGEST_EMAIL).collect();
    let value = format!("{done}.{}", URL_SAFE_NO_PAD.encode(typed));
    with_cookie(lead(app, path), &DONE_COOKIE.line(app, &value, Some(SAID_WITHIN)))
}

/// 303 to a page of another site, which the API names.
pub(crate) fn see_other_site(url: &str) -> Response {
    with_headers(see_other(url))
}

/// The page that leads to another site after a form: browsers hold the policy of the form's page, which lets it lead to this site alone,
/// against each redirect after it, also against those of the pages that a sign-in leads to.
#[derive(Template)]
#[template(path = "leave.html")]
struct LeavePage<'a> {
    frame: Frame,
    text: &'a str,
    /// The words of the link that leads nowhere else, and where it leads.
    stay: (&'a str, &'a str),
    url: &'a str,
}

/// A page with this title and text that leads to `url` by itself; `stay` is where its reader goes on who does not want that.
pub(crate) fn leave(
    app: &App,
    (title, text, words): (&str, &str, &str),
    (stay, url): (&str, &str),
) -> Result<Response, Trouble> {
    write(&LeavePage { frame: Frame::new(app, title, None), text, stay: (words, stay), url })
}

/// 303 to the page that the form names in `back`, or else to this one, with what was done.
pub(crate) fn see_done(app: &App, form: &Form, otherwise: &str, done: &str) -> Response {
    see(app, &page_after(form, otherwise, done))
}

/// The same, where a list says to which agent it was done.
pub(crate) fn see_done_to(app: &App, form: &Form, (agent, otherwise): (&str, &str), done: &str) -> Response {
    let page = page_after(form, otherwise, done);
    if form.has("back") { see_typed(app, &page, done, agent) } else { see(app, &page) }
}

fn page_after(form: &Form, otherwise: &str, done: &str) -> String {
    let back = Some(form.text("back")).filter(|back| !back.is_empty()).map_or(otherwise, local);
    let sign = if back.contains('?') { '&' } else { '?' };
    format!("{back}{sign}done={done}")
}

/// Writes a page.
pub(crate) fn write(page: &impl Template) -> Result<Response, Trouble> {
    let html = page.render().map_err(|error| Trouble::Outage(error.to_string()))?;
    Ok(with_headers(bytes(StatusCode::OK, "text/html; charset=utf-8", bidi::settle(html))))
}

/// Writes a page with a note about a form that was refused.
pub(crate) fn write_with(page: &impl Template, status: u16) -> Result<Response, Trouble> {
    let mut response = write(page)?;
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    Ok(response)
}

/// Whether a page stays in touch with the page that opened it.
const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

fn with_headers(mut response: Response) -> Response {
    let headers: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not `no-referrer`: with it a browser sends `Origin: null` with our own forms. To other sites both send nothing.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (OPENER, "same-origin"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
