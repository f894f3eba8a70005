//! A form that waits until its visitor has signed in again: they have neither a password nor a second factor to prove who they are in
//! place. A cookie of their own browser keeps it meanwhile, for as long as a proof counts; no address and no mail has it, so that no link
//! of others can fill a form in. It is shown to the same person alone, by another session than the one that was refused.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::route;
use serde_json::{Value as Json, json};
use service::{app::App, response::Response};

use crate::{
    api::{Api, Members, Trouble},
    cookie::{KEPT, with as with_cookie},
    form::{Form, local},
};

/// The page that the sign-in leads back to.
pub(crate) const AGAIN: &str = "/login/again";
/// How long it is kept, seconds.
const LIFE: i64 = 15 * 60;
/// Browsers keep no longer cookie than 4,096 bytes, with its name.
const LONGEST: usize = 4_000;

/// The form.
pub(crate) struct Kept {
    user: String,
    /// The session that was refused.
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
        let sent_from = app.headers().first("referer").unwrap_or_default();
        let page = sent_from.splitn(4, '/').nth(3).map_or_else(|| "/".to_owned(), |path| format!("/{path}"));
        let page = page.strip_prefix(app.settings().link()).map_or("/", local).to_owned();
        let fields = form.shown_again().into_iter().filter(|(name, _)| name != "csrf").collect();
        Ok(Self {
            user: who.text("user_id").to_owned(),
            session: session_of(&who).to_owned(),
            action: app.head().uri.path_and_query().map_or("/", |here| here.as_str()).to_owned(),
            page,
            fields: Some(fields),
            passwords: form.passwords().into_iter().map(str::to_owned).collect(),
        })
    }

    /// The one that the browser keeps.
    pub(crate) fn read(app: &App) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(KEPT.read(app)?).ok()?;
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

    /// Leaves it with the browser.
    pub(crate) fn keep(mut self, app: &App, response: Response) -> Response {
        let mut text = self.encoded();
        if text.len() > LONGEST {
            (self.fields, self.page) = (None, "/".to_owned());
            text = self.encoded();
        }
        with_cookie(response, &KEPT.line(app, &text, Some(LIFE)))
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

    /// Whether its person has signed in since.
    pub(crate) fn goes_on(&self, who: &Json) -> bool {
        self.session != session_of(who)
    }
}

fn session_of(who: &Json) -> &str {
    who.at("credential").text("id")
}
