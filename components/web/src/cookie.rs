//! The pages' own cookies: no script reads them, and no other site gets them.

use http::{HeaderValue, header};
use service::{app::App, credential, response::Response, session};

/// A cookie by its two names: where this site is https, and on a loopback host without it.
pub(crate) struct Cookie {
    secure: &'static str,
    plain: &'static str,
}

/// The text that the forms of visitors without a session hold too.
pub(crate) const FORM: Cookie = Cookie { secure: "__Host-accredit-form", plain: "accredit-form" };
/// A form that waits for a sign-in.
pub(crate) const KEPT: Cookie = Cookie { secure: "__Host-accredit-kept", plain: "accredit-kept" };
/// The tenant in which somebody has last signed in with this browser.
pub(crate) const TENANT: Cookie = Cookie { secure: "__Host-accredit-tenant", plain: "accredit-tenant" };
/// What the form before this page has done.
pub(crate) const DONE: Cookie = Cookie { secure: "__Host-accredit-done", plain: "accredit-done" };

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

/// The cookies whose names begin with this.
pub(crate) fn named(app: &App, prefix: &str) -> Vec<(String, String)> {
    let sent = app.headers().texts("cookie");
    let pairs = sent.iter().flat_map(|pairs| pairs.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let pairs = pairs.filter(|(name, _)| name.starts_with(prefix));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Leaves a cookie with the browser.
pub(crate) fn with(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}
