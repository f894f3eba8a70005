//! The door: what happens to every request before and after its handler.
//!
//! 1. [`serve`] reads the clock once, makes the request id, and lets the router choose a route.
//! 2. [`enter`] holds the route's row against the caller: credential, state, scope, query parameters, in that order.
//! 3. The handler's arguments are made of path, query and body ([`crate::form`]), then the handler decides and acts.
//! 4. [`serve`] writes the envelope of a refusal and the headers that every answer carries.

use std::{future::Future, net::IpAddr, pin::Pin, sync::Arc};

mod headers;
#[cfg(target_family = "wasm")]
mod spin;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::Response,
};
use serde::Serialize;

use crate::{
    caller::Caller,
    db::{Db, DbError},
    error::{ApiError, Code, Problem, Refused},
    id::{RequestId, RequestNumbers},
    route::{Access, Query, Route},
    router::{Call, FromCall, Router},
    secret::Chance,
    settings::Settings,
    time::{Clock, Timestamp},
};

pub use headers::Headers;
#[cfg(target_family = "wasm")]
pub use spin::answer;

/// Makes the crate a component that answers with a router.
#[macro_export]
macro_rules! component {
    ($router:path) => {
        #[cfg(target_family = "wasm")]
        mod component {
            use spin_sdk::wasip3::{exports::http::handler::Guest, http::types};

            struct Component;

            spin_sdk::wasip3::http::service::export!(Component);

            impl Guest for Component {
                async fn handle(request: types::Request) -> Result<types::Response, types::ErrorCode> {
                    $crate::http::answer(request, $router).await
                }
            }
        }
    };
}

/// What lives as long as its instance. No code closes it: with such code, a component that never asks the database would
/// import it all the same.
#[cfg(target_family = "wasm")]
pub type Lasting<T> = std::mem::ManuallyDrop<T>;
/// In tests, what lives as long as its test.
#[cfg(not(target_family = "wasm"))]
pub type Lasting<T> = T;

/// What an instance has: made once, given to every request.
pub struct Env {
    /// The database.
    pub db: Lasting<Db>,
    /// Where `now` comes from.
    pub clock: Clock,
    /// Where randomness comes from.
    pub chance: Chance,
    /// What the operator has set.
    pub settings: Settings,
    /// Where requests get their ids from.
    pub requests: RequestNumbers,
}

/// What a request begins with.
pub struct Head {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// The headers.
    pub headers: Headers,
}

/// One request's view of the instance. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    env: Arc<Env>,
    head: Head,
    now: Timestamp,
    request_id: RequestId,
}

impl App {
    /// What the request began with.
    pub fn head(&self) -> &Head {
        &self.0.head
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.0.env.db
    }

    /// The time of this request: one for all that it does.
    pub fn now(&self) -> Timestamp {
        self.0.now
    }

    /// Where the time comes from, for requests that wait.
    pub fn clock(&self) -> &Clock {
        &self.0.env.clock
    }

    /// Randomness.
    pub fn chance(&self) -> &Chance {
        &self.0.env.chance
    }

    /// What the operator has set.
    pub fn settings(&self) -> &Settings {
        &self.0.env.settings
    }

    /// The request's path, as it was sent.
    pub fn path(&self) -> &str {
        self.0.head.uri.path()
    }

    /// This request's id.
    pub fn request_id(&self) -> &RequestId {
        &self.0.request_id
    }

    /// The client's address as text; empty when the host gave none.
    pub fn address(&self) -> String {
        self.client().map(|address| address.to_string()).unwrap_or_default()
    }

    fn client(&self) -> Option<IpAddr> {
        client_address(&self.0.head.headers, &self.settings().trusted_proxies)
    }

    /// What guesses are counted by: the address, or for IPv6 its /64, which one household has whole.
    pub fn network(&self) -> String {
        match self.client() {
            Some(IpAddr::V6(v6)) => {
                let [a, b, c, d, ..] = v6.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
            _ => self.address(),
        }
    }

    /// Does something after the answer was decided. It never changes the answer: a failure is logged, and that is all.
    pub async fn afterwards(&self, work: impl Future<Output = Result<(), DbError>> + Send + 'static) {
        self.later(Box::pin(work)).await;
    }

    async fn later(&self, work: Pin<Box<dyn Future<Output = Result<(), DbError>> + Send>>) {
        let request_id = self.0.request_id.clone();
        let logged = async move {
            if let Err(error) = work.await {
                log(&request_id, "after the answer", &error.to_string());
            }
        };
        #[cfg(target_family = "wasm")]
        spin_sdk::wasip3::spawn(logged);
        #[cfg(not(target_family = "wasm"))]
        logged.await;
    }
}

/// One line for the operator.
pub fn log(request_id: &RequestId, place: &str, what: &str) {
    let what = what.replace(|c: char| c.is_control(), " ");
    eprintln!("{request_id} {place}: {what}");
}

/// Answers one request. All that leaves here has the envelope, if it is a refusal, and the request's id.
pub async fn serve(env: &Arc<Env>, router: &Router, head: Head, body: Body) -> Response {
    let now = env.clock.now();
    let app = App(Arc::new(Inner { head, now, request_id: env.requests.next(now), env: Arc::clone(env) }));
    let mut response = router.answer(&app, body).await;
    if let Some(Refused(refusal)) = response.extensions_mut().remove::<Refused>() {
        let accepted = app.head().headers.first("accept");
        let wants_problem = accepted.is_some_and(|accepted| accepted.contains("application/problem+json"));
        response = refuse(&app, &refusal, response, wants_problem);
    }
    if let Ok(id) = HeaderValue::from_str(app.request_id().as_str()) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}

/// Writes the envelope. `bare` is the response as it came, with `Allow` on it if a method was wrong.
fn refuse(app: &App, refusal: &ApiError, bare: Response, wants_problem: bool) -> Response {
    let (status, row) = (bare.status(), refusal.code().row());
    if let Some(cause) = refusal.inner() {
        log(app.request_id(), &format!("{} {}", app.path(), row.slug), cause);
    }
    let caller = bare.extensions().get::<Caller>();
    let link = app.settings().link();
    let mut body = refusal.envelope(app.request_id().as_str(), link, caller.map(Caller::known));
    if wants_problem {
        // RFC 9457: the same members beside the registered ones.
        body.problem = Some(Problem { r#type: body.doc_url.clone(), title: row.detail, status: status.as_u16() });
    }
    let mut text = Vec::with_capacity(1024);
    // Into memory: it cannot fail.
    drop(serde_json::to_writer(&mut text, &body));
    let (mut parts, _) = bare.into_parts();
    let form = if wants_problem { "application/problem+json" } else { "application/json" };
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form));
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    if let Some(seconds) = refusal.seconds() {
        parts.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    let challenge = match (refusal.code(), refusal.missing()) {
        (Code::MissingCredential, _) => Some("Bearer realm=\"accredit\"".to_owned()),
        (_, Some(missing)) => {
            let scope = missing.names().join(" ");
            Some(format!("Bearer realm=\"accredit\", error=\"insufficient_scope\", scope=\"{scope}\""))
        }
        _ if row.status == 401 => Some("Bearer realm=\"accredit\", error=\"invalid_token\"".to_owned()),
        _ => None,
    };
    if let Some(challenge) = challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
        parts.headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    Response::from_parts(parts, Body::from(text))
}

/// The client's address: the last `spin-client-addr`, which the host appends after whatever a client sent. Behind proxies
/// that the operator trusts, the first address of `X-Forwarded-For`, read from the right, that is not one of them.
fn client_address(headers: &Headers, trusted: &[IpAddr]) -> Option<IpAddr> {
    let values = headers.all("spin-client-addr");
    let last = values.last()?.to_str().ok()?;
    let peer: IpAddr = last.parse::<std::net::SocketAddr>().map(|at| at.ip()).or_else(|_| last.parse()).ok()?;
    let peer = peer.to_canonical(); // an IPv4 address that came over IPv6 is that address
    if !trusted.contains(&peer) {
        return Some(peer);
    }
    let mut nearest = peer;
    for hop in headers.texts("x-forwarded-for").join(",").rsplit(',') {
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        nearest = address.to_canonical();
        if !trusted.contains(&nearest) {
            break;
        }
    }
    Some(nearest)
}

/// Lets in whom the row lets in, or gives the refusal. Every route of the table is behind it.
pub(crate) async fn enter(call: &mut Call) -> Result<(), ApiError> {
    let (app, route) = (&call.app, call.route);
    if route.access != Access::Public {
        let headers = &app.head().headers;
        // Known from here on: a refusal below is counted as his.
        let caller = call.caller.insert(Caller::find(app, headers).await?);
        caller.admit(app, route)?;
        caller.same_site(app, route, headers)?;
    }
    known_parameters(route, app.head().uri.query())
}

/// What is done with every answer to somebody who came in.
pub(crate) async fn leave(call: Call, mut response: Response) -> Response {
    let Call { app, caller: Some(caller), .. } = call else { return response };
    // Answers behind a credential say who somebody is, or hold what is his.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let refused = response.extensions().get::<Refused>().map(|Refused(refusal)| refusal.code());
    if let Some(code) = refused {
        caller.record_refusal(&app, code).await;
        response.extensions_mut().insert(caller);
    } else {
        caller.record_use(&app).await;
    }
    response
}

/// Refuses query parameters that the route does not know.
pub(crate) fn known_parameters(route: &Route, query: Option<&str>) -> Result<(), ApiError> {
    let (Query::Only(known), Some(query)) = (route.query, query) else { return Ok(()) };
    let unknown = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| !known.contains(&name.as_ref()));
    match unknown {
        None => Ok(()),
        Some((name, _)) => {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(ApiError::field(name, format!("this route does not know this query parameter; it knows: {known}")))
        }
    }
}

/// One segment of the path, percent-decoded. What can be no name is simply the name of nothing: the look-up says 404.
pub struct Segment(pub String);

impl FromCall for Segment {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(Self(call.next_segment()))
    }
}

/// The next segment, if the pattern names one more.
impl FromCall for Option<Segment> {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(call.has_segment().then(|| Segment(call.next_segment())))
    }
}

/// A JSON answer.
pub fn json(status: StatusCode, form: &impl Serialize) -> Result<Response, ApiError> {
    let mut text = Vec::with_capacity(1024); // most answers need no more
    serde_json::to_writer(&mut text, form).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
    Ok(written_json(status, text))
}

/// An answer of written JSON.
pub fn written_json(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// 204: done, and there is nothing to say.
pub fn empty() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Reads a moment: RFC 3339 in UTC.
pub fn moment(field: &'static str, value: &str) -> Result<Timestamp, ApiError> {
    Timestamp::parse(value).ok_or_else(|| Code::InvalidTime.with("field", field))
}

/// Trims a text that a person wrote and checks it: `1..=most` characters, none of them control, bidirectional or invisible.
pub fn text(field: &'static str, value: &str, most: usize) -> Result<String, ApiError> {
    checked(field, value, most, |_| false)
}

/// The same for a text of several lines.
pub fn prose(field: &'static str, value: &str, most: usize) -> Result<String, ApiError> {
    checked(field, value, most, |c| matches!(c, '\n' | '\t'))
}

fn checked(field: &'static str, value: &str, most: usize, allowed: fn(char) -> bool) -> Result<String, ApiError> {
    let value = value.trim();
    let length = value.chars().count();
    if length == 0 || length > most || value.chars().any(|c| is_unseen(c) && !allowed(c)) {
        return Err(Code::InvalidText.with("field", field).with("most", most.to_string()).extra("field", field));
    }
    Ok(value.to_owned())
}

/// Checks a number that somebody sent.
pub fn within(field: &'static str, value: i64, range: std::ops::RangeInclusive<i64>) -> Result<i64, ApiError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (range.start().to_string(), range.end().to_string());
    Err(Code::InvalidNumber.with("field", field).with("least", least).with("most", most))
}

/// Whether a text is an https URL of a public host by its looks: a name with a dot, no user, no literal address, no name of a
/// private network. What the name resolves to is for the host to judge, when somebody connects.
pub fn is_public_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, port) = authority.split_once(':').map_or((authority, "443"), |(host, port)| (host, port));
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    // A last label that begins with a digit makes the whole an address, in decimal, octal or hexadecimal.
    let is_name = host.contains('.') && host.len() <= 253 && !last.starts_with(|c: char| c.is_ascii_digit());
    let is_private = ["localhost", "local", "internal", "lan", "home", "corp", "intranet", "test", "invalid", "arpa"]
        .contains(&last.as_str());
    text.len() <= 2_000
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && port.parse::<u16>().is_ok_and(|port| port > 0)
        && is_name
        && !is_private
        && host.split('.').all(is_label)
}

/// Control, bidirectional and zero-width characters: what makes a text look like another.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// A line of JSON whose texts cannot steer a terminal: what is unseen in them stands as `\\uXXXX`. JSON itself escapes only the
/// control characters of ASCII.
pub fn json_line(form: &impl Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(form)?;
    let mut line = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if is_unseen(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| line.push_str(&format!("\\u{unit:04x}")));
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R71: a client's own copy of the header changes nothing.
    #[test]
    fn the_last_spin_client_addr_counts() {
        let sent = Headers::from([("spin-client-addr", "6.6.6.6:1"), ("spin-client-addr", "192.0.2.1:4000")]);
        assert_eq!(client_address(&sent, &[]), "192.0.2.1".parse().ok());
    }

    #[test]
    fn forwarded_addresses_count_only_behind_a_trusted_proxy_and_from_the_right() {
        let forwarded = ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.2");
        let sent = Headers::from([("spin-client-addr", "10.0.0.1:4000"), forwarded]);
        let trusted = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        assert_eq!(client_address(&sent, &trusted), "192.0.2.7".parse().ok());
        assert_eq!(client_address(&sent, &[]), "10.0.0.1".parse().ok());
    }

    /// R49, of the part that can be seen: no literal address in any form, no user, no private name.
    #[test]
    fn an_agents_url_is_of_a_public_name() {
        for good in ["https://agents.example.com", "https://a.example:8443/x?y#z", "https://xn--bcher-kva.example/"] {
            assert!(is_public_url(good), "{good}");
        }
        for bad in [
            "",
            "http://a.example.com",
            "https://",
            "https://localhost",
            "https://a.localhost",
            "https://127.0.0.1",
            "https://[::1]",
            "https://[::ffff:10.0.0.1]",
            "https://2130706433",
            "https://0x7f.1",
            "https://0177.0.0.1",
            "https://127.1",
            "https://a.0x7f",
            "https://user@a.example.com",
            "https://a.example.com:0",
            "https://a.example.com:99999",
            "https://a.example.com:",
            "https://a..b.com",
            "https://metadata.google.internal",
            "https://a.example.com/\u{202e}",
            "https://a.example.com\\@b",
            "https://-a.example.com",
            "ftp://a.example.com",
        ] {
            assert!(!is_public_url(bad), "{bad}");
        }
    }

    /// R30: what somebody typed is a text and nothing else, on a terminal too.
    #[test]
    fn a_line_of_json_steers_no_terminal() {
        let typed = "a\u{1b}[2J\u{9b}1m\u{7f}\u{202e}\u{e0001}\"\\\n\u{2028}\u{e9}";
        let line = json_line(&typed).unwrap();
        assert_eq!(line, "\"a\\u001b[2J\\u009b1m\\u007f\\u202e\\udb40\\udc01\\\"\\\\\\n\\u2028\u{e9}\"\n");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), typed);
    }

    #[test]
    fn a_text_has_no_unseen_characters() {
        assert_eq!(text("name", "  Ada ", 64).unwrap(), "Ada");
        for bad in ["", "  ", "a\nb", "a\u{202e}b", "a\u{200b}b", "\u{feff}", &"x".repeat(65)] {
            assert!(text("name", bad, 64).is_err(), "{bad:?}");
        }
    }
}
