//! The credential of a request: the one `Authorization` header, `Bearer` or `DPoP`, else the session's cookie. Any `Authorization` header, valid
//! or not, makes the cookie irrelevant (RFC 6750, section 2: one method per request).

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{
    error::{ApiError, Code},
    route::{self, Route},
    secret::{Kind, Secret},
};

use crate::app::{App, is_from_inside};

/// The longest `Authorization` header that is read, bytes.
const MAX_HEADER: usize = 4096;

/// The cookie of a session on https.
const SECURE_COOKIE: &str = "__Host-accredit";
/// The cookie of a session on a loopback host without `public_url`.
const LOOPBACK_COOKIE: &str = "accredit";

/// A credential that was presented.
pub(crate) struct Presented {
    /// The secret; its form is right, and nothing more is known.
    pub(crate) secret: Secret,
    /// Whether it came in the cookie, which a browser sends with the requests of every page.
    pub(crate) by_cookie: bool,
    /// Whether it came as one that is bound to a key (RFC 9449, section 7.1).
    pub(crate) is_dpop: bool,
}

/// The route that also takes its caller's credential as the password of `Authorization: Basic`: what services have built in for introspection
/// sends a client's id and secret in it (RFC 7662, section 2.1; RFC 6749, section 2.3.1).
const BASIC: &Route = route::INTROSPECT;
const BASIC_PAGE: &str = "/docs/agents/concepts/introspection#by-a-library";
const BY_BASIC: &str = "Send the header Authorization: Bearer <credential>, or Authorization: Basic with the credential as the password, which libraries call the client's secret; the user name can be any. The credential is a token or a key with the scope tokens.introspect. The secret of an OAuth client is none.";

/// The credential in the place of a password. The user name says nothing about it.
fn password(encoded: &str) -> Option<Secret> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    Secret::parse(text.split_once(':')?.1)
}

/// Takes the request's credential. A wrong prefix, length or checksum is refused here, without the database.
pub(crate) fn presented(app: &App) -> Result<Presented, ApiError> {
    let sent = app.headers().all("authorization");
    if let Some(value) = sent.first() {
        if sent.len() > 1 {
            return Err(Code::InvalidToken.detail("The request has more than one Authorization header."));
        }
        if value.len() > MAX_HEADER {
            return Err(Code::InvalidToken.detail("The Authorization header is longer than 4096 bytes."));
        }
        let text = value.to_str().map_err(|_| {
            Code::InvalidToken.detail(
                "The Authorization header has characters that are not ASCII, such as quotation marks of a text program.",
            )
        })?;
        let text = text.trim();
        let (scheme, token) = text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") && app.path() == BASIC.path {
            let secret = password(token.trim())
                .ok_or_else(|| ApiError::from(Code::InvalidToken).fix(BY_BASIC).page(BASIC_PAGE))?;
            return Ok(Presented { secret, by_cookie: false, is_dpop: false });
        }
        let is_dpop = scheme.eq_ignore_ascii_case("dpop");
        if !is_dpop && !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Code::InvalidToken.detail("The scheme of the Authorization header is neither Bearer nor DPoP."));
        }
        let secret = Secret::parse(token.trim()).ok_or(Code::InvalidToken)?;
        return Ok(Presented { secret, by_cookie: false, is_dpop });
    }
    let cookie = cookie(app).ok_or_else(|| match app.path() == BASIC.path {
        true => ApiError::from(Code::MissingCredential).fix(BY_BASIC).page(BASIC_PAGE),
        false => Code::MissingCredential.into(),
    })?;
    let secret = Secret::parse(&cookie).filter(|secret| secret.kind() == Kind::Session).ok_or(Code::InvalidToken)?;
    Ok(Presented { secret, by_cookie: true, is_dpop: false })
}

/// The name of the session's cookie: the secure one where `public_url` is https, the plain one only on loopback without `public_url`.
/// `None`: this site has none.
pub fn cookie_name(app: &App) -> Option<&'static str> {
    match &app.settings().public_url {
        Some(url) => url.is_secure.then_some(SECURE_COOKIE),
        None => own_origin(app).map(|_| LOOPBACK_COOKIE),
    }
}

/// The value of the session's cookie, whatever it is.
pub fn cookie(app: &App) -> Option<String> {
    cookie_value(app, cookie_name(app)?)
}

/// The value of a cookie.
pub fn cookie_value(app: &App, name: &str) -> Option<String> {
    cookies(app).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The cookies of a request that are of ASCII, as ours are: names and values. A browser sends those that other pages of the host have left too,
/// which may hold anything. Only what stands in the syntax is trimmed (RFC 6265, section 5.2): with other white space in front, a name would be
/// another one that has fewer rights.
pub fn cookies(app: &App) -> Vec<(String, String)> {
    let sent = app.headers().all("cookie");
    sent.iter().flat_map(|pairs| pairs.as_bytes().split(|byte| *byte == b';')).filter_map(pair).collect()
}

fn pair(bytes: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())?;
    let (name, value) = text.trim_matches([' ', '\t']).split_once('=')?;
    Some((name.to_owned(), value.to_owned()))
}

/// What comes before the path of a link that leaves this site: its origin and the path of `public_url`. `None`: without `public_url`, only
/// a loopback host is believed to be this site.
pub fn own_base(app: &App) -> Option<String> {
    own_origin(app).map(|origin| format!("{origin}{}", app.settings().link()))
}

/// This site's origin: that of `public_url`, or else of a loopback host as the request names it. A request of another component names
/// the host that its visitor asked for.
pub fn own_origin(app: &App) -> Option<String> {
    if let Some(url) = &app.settings().public_url {
        return Some(url.origin.clone());
    }
    let name = if is_from_inside(app.headers()) { "x-forwarded-host" } else { "host" };
    let host = app.headers().first(name)?.to_ascii_lowercase();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
        _ => (host.as_str(), "80"),
    };
    let is_loopback = matches!(name, "127.0.0.1" | "localhost" | "[::1]") && port.parse::<u16>().is_ok();
    is_loopback.then(|| format!("http://{host}"))
}
