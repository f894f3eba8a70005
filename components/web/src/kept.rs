//! A form that waits until its visitor has signed in again: they have neither a password nor a second factor to prove who they are in place,
//! or their session had ended when they sent it. A cookie of their own browser keeps it meanwhile, for as long as a proof counts; no address
//! and no mail has it, so that no link of others can fill a form in. It is shown to the same person alone, by another session than the one
//! that was refused.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{route, secret::equal};
use serde_json::{Value as Json, json};
use service::{app::App, credential, response::Response};

use crate::{
    api::{Api, Members, Trouble},
    cookie::{KEPT, LAST, PerTab},
    form::{Form, is_unseen, local, query},
};

/// The page that the sign-in leads back to.
pub(crate) const AGAIN: &str = "/login/again";
/// The field of its address that names the form.
const NAMED: &str = "form";
/// The field of the address that the form goes on to, which names it too: once it was sent, nothing waits any more.
pub(crate) const SENT: &str = "kept";
/// How long it is kept, seconds.
const LIFE: i64 = 15 * 60;
/// Browsers keep no longer cookie than 4,096 bytes, with its name.
const LONGEST: usize = 4_000;
/// Forms that are not filled in but answer what their page shows: that has to be seen again.
const OF_THEIR_PAGE: [&str; 2] = [route::WEB_AUTHORIZE_ACT.path, route::WEB_DEVICE_ACT.path];

/// The form.
pub(crate) struct Kept {
    user: String,
    /// The session that was refused; empty: it had ended.
    session: String,
    /// Where it was sent to.
    pub(crate) action: String,
    /// The page that it stands on.
    pub(crate) page: String,
    /// What was typed, but for passwords. `None`: it was too long to be kept.
    pub(crate) fields: Option<Vec<(String, String)>>,
    /// The passwords that were typed, by name.
    pub(crate) passwords: Vec<String>,
}

impl Kept {
    /// The form that the visitor has just sent.
    pub(crate) async fn of(app: &App, form: &Form) -> Result<Self, Trouble> {
        let who = Api::of(app)?.get(route::WHOAMI, &[], &[]).await?;
        Ok(Self::new(app, form, (who.text("user_id"), session_of(&who))))
    }

    /// The same of a form whose session has ended. `None`: it is not one of the last session of this browser.
    pub(crate) fn of_ended(app: &App, form: &Form) -> Option<Self> {
        let last = LAST.read(app)?;
        let (user, csrf) = last.split_once('.')?;
        (!csrf.is_empty() && equal(csrf, &form.csrf(app))).then(|| Self::new(app, form, (user, "")))
    }

    fn new(app: &App, form: &Form, (user, session): (&str, &str)) -> Self {
        let fields = form.shown_again().into_iter().filter(|(name, _)| name != "csrf").collect();
        let (path, asked) = (app.path(), Form::query(app).without(SENT));
        Self {
            user: user.to_owned(),
            session: session.to_owned(),
            action: if asked.is_empty() { path.to_owned() } else { format!("{path}?{asked}") },
            page: page_of(app),
            fields: Some(fields),
            passwords: form.passwords().into_iter().map(str::to_owned).collect(),
        }
    }

    /// The one of these letters that the browser keeps.
    pub(crate) fn read(app: &App, letters: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(KEPT.read(app, letters)?).ok()?;
        let json: Json = serde_json::from_slice(&bytes).ok()?;
        let pair = |pair: &Json| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_str()?.to_owned()));
        let kept = Self {
            user: json.text("user").to_owned(),
            session: json.text("session").to_owned(),
            action: json.text("action").to_owned(),
            page: json.text("page").to_owned(),
            fields: json.at("fields").as_array().and_then(|fields| fields.iter().map(pair).collect()),
            passwords: json.words("passwords").into_iter().map(str::to_owned).collect(),
        };
        (local(&kept.action) == kept.action && local(&kept.page) == kept.page).then_some(kept)
    }

    /// Whether there is something in it that somebody has typed, and it says by itself what it does.
    pub(crate) fn is_worth_keeping(&self, app: &App) -> bool {
        let is_typed = |(name, value): &(String, String)| !is_unseen(name) && !value.trim().is_empty();
        let is_any = self.fields.iter().flatten().any(is_typed) || !self.passwords.is_empty();
        is_any && !OF_THEIR_PAGE.contains(&app.path())
    }

    /// Leaves it with the browser, which `answer` sends to where it waits.
    pub(crate) fn keep(mut self, app: &App, answer: impl FnOnce(&Self, &str) -> Response) -> Response {
        let mut text = self.encoded();
        if text.len() > LONGEST {
            (self.fields, self.page) = (None, "/".to_owned());
            text = self.encoded();
        }
        let letters = PerTab::letters(app);
        let response = answer(&self, &format!("{AGAIN}?{}", query(&[(NAMED, &letters)])));
        let response = KEPT.forget(app, response, Form::query(app).text(SENT));
        KEPT.keep(app, response, (&letters, &text), LIFE)
    }

    fn encoded(&self) -> String {
        let json = json!({
            "user": self.user, "session": self.session, "action": self.action, "page": self.page, "fields": self.fields,
            "passwords": self.passwords,
        });
        URL_SAFE_NO_PAD.encode(json.to_string())
    }

    /// Whether it is of this person.
    pub(crate) fn is_of(&self, who: &Json) -> bool {
        self.user == who.text("user_id")
    }

    /// Whether it waits for a proof of who its person is: their session is there, and a sign-in alone proves it.
    pub(crate) fn waits_for_proof(&self) -> bool {
        !self.session.is_empty()
    }

    /// Whether its person has signed in since.
    pub(crate) fn goes_on(&self, who: &Json) -> bool {
        self.session != session_of(who)
    }
}

/// The page of ours that the form was sent from.
pub(crate) fn page_of(app: &App) -> String {
    let sent_from = app.headers().first("referer").unwrap_or_default();
    let page = sent_from.splitn(4, '/').nth(3).map_or_else(|| "/".to_owned(), |path| format!("/{path}"));
    let is_ours = credential::own_origin(app).is_some_and(|own| sent_from.starts_with(&format!("{own}/")));
    page.strip_prefix(app.settings().link()).filter(|_| is_ours).map_or("/", local).to_owned()
}

/// The letters of the form that an address waits for; empty: none of ours.
pub(crate) fn named(path: &str) -> String {
    let asked = path.strip_prefix(AGAIN).and_then(|rest| rest.strip_prefix('?'));
    asked.map(|query| Form::parse(query).text(NAMED).to_owned()).unwrap_or_default()
}

/// Where the form waits that an address names, or else the newest of this browser. `None`: none does.
pub(crate) fn waiting(app: &App, path: &str) -> Option<String> {
    let own = Some(named(path)).filter(|letters| KEPT.read(app, letters).is_some());
    let letters = own.or_else(|| KEPT.newest(app))?;
    Some(format!("{AGAIN}?{}", query(&[(NAMED, &letters)])))
}

/// Has the browser remember whose the last session is, and the token of its forms.
pub(crate) fn remember(app: &App, who: &Json, response: Response) -> Response {
    let text = format!("{}.{}", who.text("user_id"), who.text("csrf_token"));
    crate::cookie::with(response, &LAST.line(app, &text, Some(LAST_LIFE)))
}

/// How long a browser remembers that, seconds.
const LAST_LIFE: i64 = 7 * 86_400;

fn session_of(who: &Json) -> &str {
    who.at("credential").text("id")
}
