//! The pages' own cookies: no script reads them, and no other site gets them.

use std::cmp::Reverse;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, header};
use service::{app::App, credential, response::Response, session};

/// A cookie by its two names: where this site is https, and on a loopback host without it.
pub(crate) struct Cookie {
    secure: &'static str,
    plain: &'static str,
}

/// The text that the forms of visitors without a session hold too.
pub(crate) const FORM: Cookie = Cookie { secure: "__Host-accredit-form", plain: "accredit-form" };
/// The tenant in which somebody has last signed in with this browser.
pub(crate) const TENANT: Cookie = Cookie { secure: "__Host-accredit-tenant", plain: "accredit-tenant" };
/// The person that has last signed in with this browser, with the token of the forms of that session.
pub(crate) const LAST: Cookie = Cookie { secure: "__Host-accredit-last", plain: "accredit-last" };
/// What the form before this page has done.
pub(crate) const DONE: Cookie = Cookie { secure: "__Host-accredit-done", plain: "accredit-done" };
/// The forms whose answers have shown a secret that the API keeps no answer for, by their `once`.
const SHOWN: Cookie = Cookie { secure: "__Host-accredit-shown", plain: "accredit-shown" };
/// How long a browser knows them, seconds.
const SHOWN_LIFE: i64 = 86_400;
/// How many of them it knows.
const MOST_SHOWN: usize = 4;

/// Whether a form is sent again, as by a reload, whose answer has shown a secret: another one would end that.
pub(crate) fn was_shown(app: &App, once: &str) -> bool {
    !once.is_empty() && SHOWN.read(app).is_some_and(|shown| shown.split('.').any(|known| known == once))
}

/// Has the browser know that the answer to this form has shown a secret.
pub(crate) fn note_shown(app: &App, once: &str, response: Response) -> Response {
    if once.is_empty() || !once.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return response;
    }
    let before = SHOWN.read(app).unwrap_or_default();
    let all: Vec<&str> = std::iter::once(once).chain(before.split('.')).take(MOST_SHOWN).collect();
    with(response, &SHOWN.line(app, &all.join("."), Some(SHOWN_LIFE)))
}

impl Cookie {
    fn name(&self, app: &App) -> &'static str {
        if session::is_secure(app) { self.secure } else { self.plain }
    }

    /// Its value, whatever it is.
    pub(crate) fn read(&self, app: &App) -> Option<String> {
        credential::cookie_value(app, self.name(app))
    }

    /// As it is left with a browser until that is closed, or for so many seconds.
    pub(crate) fn line(&self, app: &App, value: &str, life: Option<i64>) -> String {
        line(app, self.name(app), value, life)
    }

    /// Has the browser forget it.
    pub(crate) fn forget(&self, app: &App, response: Response) -> Response {
        forget(app, self.name(app), response)
    }
}

/// A cookie of this name, as it is left with a browser until that is closed, or for so many seconds.
pub(crate) fn line(app: &App, name: &str, value: &str, life: Option<i64>) -> String {
    let secure = session::secure(app);
    let age = life.map(|seconds| format!(" Max-Age={seconds};")).unwrap_or_default();
    format!("{name}={value}; Path=/;{age}{secure} HttpOnly; SameSite=Lax")
}

/// Has the browser forget the cookie of this name.
pub(crate) fn forget(app: &App, name: &str, response: Response) -> Response {
    with(response, &line(app, name, "", Some(0)))
}

/// Cookies of which a browser has one for each tab: what two tabs have begun does not disturb each other, neither when one of them ends well
/// nor when it fails. The cookie's name ends with a few letters, which the address or a field of the tab's page has too; its value is when it
/// was left, and the text.
///
/// Servers take some 8 KB of headers, so there are few at a time, of all kinds together.
pub(crate) struct PerTab {
    secure: &'static str,
    plain: &'static str,
}

/// A form that waits for a sign-in.
pub(crate) const KEPT: PerTab = PerTab { secure: "__Host-accredit-kept-", plain: "accredit-kept-" };
/// The ticket of a sign-in that waits for its second factor.
pub(crate) const TICKETS: PerTab = PerTab { secure: "__Host-accredit-ticket-", plain: "accredit-ticket-" };
/// What was begun at a provider.
pub(crate) const FLOWS: PerTab = PerTab { secure: "__Host-accredit-oidc-", plain: "accredit-oidc-" };

/// Those that are forgotten last come first: what was begun at a provider is begun again by one button, and what was typed is lost.
const BY_WORTH: [&PerTab; 3] = [&KEPT, &TICKETS, &FLOWS];
/// How many there are at most.
const MOST: usize = 5;
/// Bytes that all of them may have, with their names.
pub(crate) const ROOM: usize = 6_000;
/// Letters by which one is told from another.
const LETTERS: usize = 12;

impl PerTab {
    /// The letters of a new one, which nobody can guess.
    pub(crate) fn letters(app: &App) -> String {
        unguessable(app).chars().filter(char::is_ascii_alphanumeric).take(LETTERS).collect()
    }

    fn prefix(&self, app: &App) -> &'static str {
        if session::is_secure(app) { self.secure } else { self.plain }
    }

    /// Letters of an address that are none of ours name no cookie.
    fn name(&self, app: &App, letters: &str) -> Option<String> {
        let is_good = !letters.is_empty() && letters.bytes().all(|b| b.is_ascii_alphanumeric());
        is_good.then(|| format!("{}{letters}", self.prefix(app)))
    }

    /// The cookies of this kind: letters and values as they were sent.
    fn all(&self, app: &App) -> Vec<(String, String)> {
        let pairs = credential::cookies(app).into_iter();
        pairs.filter_map(|(name, value)| Some((name.strip_prefix(self.prefix(app))?.to_owned(), value))).collect()
    }

    /// The text of one.
    pub(crate) fn read(&self, app: &App, letters: &str) -> Option<String> {
        let value = credential::cookie_value(app, &self.name(app, letters)?)?;
        value.split_once('.').map(|(_, text)| text.to_owned())
    }

    /// The letters of the newest one.
    pub(crate) fn newest(&self, app: &App) -> Option<String> {
        self.all(app).into_iter().max_by_key(|(_, value)| left_at(value)).map(|(letters, _)| letters)
    }

    /// Leaves one with the browser for so many seconds, and forgets what there is no room for: the oldest first.
    pub(crate) fn keep(&self, app: &App, response: Response, (letters, text): (&str, &str), life: i64) -> Response {
        let Some(own) = self.name(app, letters) else { return response };
        let value = format!("{}.{text}", app.now().millis());
        let mut others = Vec::new();
        for (worth, kind) in BY_WORTH.iter().enumerate() {
            for (letters, value) in kind.all(app) {
                let name = format!("{}{letters}", kind.prefix(app));
                others.push((worth, Reverse(left_at(&value)), name, value.len()));
            }
        }
        others.retain(|(_, _, name, _)| *name != own);
        others.sort_unstable();
        let mut room = ROOM.saturating_sub(own.len() + value.len());
        let mut response = with(response, &line(app, &own, &value, Some(life)));
        for (number, (_, _, name, size)) in others.into_iter().enumerate() {
            let size = name.len() + size;
            if number + 1 < MOST && size <= room {
                room -= size;
            } else {
                room = 0;
                response = forget(app, &name, response);
            }
        }
        response
    }

    /// Has the browser forget one, if it has it, and no other.
    pub(crate) fn forget(&self, app: &App, response: Response, letters: &str) -> Response {
        match self.name(app, letters) {
            Some(name) if credential::cookie_value(app, &name).is_some() => forget(app, &name, response),
            _ => response,
        }
    }

    /// Has the browser forget all of this kind.
    pub(crate) fn forget_all(&self, app: &App, response: Response) -> Response {
        let names = self.all(app).into_iter().map(|(letters, _)| format!("{}{letters}", self.prefix(app)));
        names.fold(response, |response, name| forget(app, &name, response))
    }
}

/// When one was left, milliseconds; 0: the value is none of ours.
fn left_at(value: &str) -> i64 {
    value.split_once('.').and_then(|(at, _)| at.parse().ok()).unwrap_or_default()
}

/// A text that nobody can guess.
pub(crate) fn unguessable(app: &App) -> String {
    URL_SAFE_NO_PAD.encode(app.chance().bytes::<18>())
}

/// Leaves a cookie with the browser.
pub(crate) fn with(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}
