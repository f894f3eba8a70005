//! The door: what happens to every request before and after its handler.
//!
//! 1. [`serve`] reads the clock once, makes the request id, takes the address, and lets the router choose a route.
//! 2. [`guard`] holds the route's row against the caller: credential, state, scope, query parameters, in that order.
//! 3. The handler's extractors read path, query and body ([`Params`], [`Ask`]), then the handler decides and acts.
//! 4. [`serve`] writes the envelope of a refusal and the headers that every answer carries.

use std::{future::Future, net::IpAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http_body_util::BodyExt;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use crate::{
    caller::Caller,
    db::Db,
    error::{ApiError, Code, Problem, Refused},
    id::{RequestId, RequestNumbers},
    idempotency,
    route::{Access, Query, Route},
    secret::{Chance, Digest},
    settings::Settings,
    time::{Clock, Timestamp},
};

/// The largest body that a route takes, bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// What an instance has: made once, given to every request.
pub struct Env {
    /// The database.
    pub db: Db,
    /// Where `now` comes from.
    pub clock: Clock,
    /// Where randomness comes from.
    pub chance: Chance,
    /// What the operator has set.
    pub settings: Settings,
    /// Where requests get their ids from.
    pub requests: RequestNumbers,
}

/// One request's view of the instance. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    env: Arc<Env>,
    now: Timestamp,
    request_id: RequestId,
    address: Option<IpAddr>,
}

impl App {
    /// The database.
    pub fn db(&self) -> &Db {
        &self.0.env.db
    }

    /// The time of this request: one for all that it does.
    pub fn now(&self) -> Timestamp {
        self.0.now
    }

    /// Randomness.
    pub fn chance(&self) -> &Chance {
        &self.0.env.chance
    }

    /// What the operator has set.
    pub fn settings(&self) -> &Settings {
        &self.0.env.settings
    }

    /// This request's id.
    pub fn request_id(&self) -> &RequestId {
        &self.0.request_id
    }

    /// The client's address as text; empty when the host gave none.
    pub fn address(&self) -> String {
        self.0.address.map(|address| address.to_string()).unwrap_or_default()
    }

    /// What guesses are counted by: the address, or for IPv6 its /64, which one household has whole.
    pub fn network(&self) -> String {
        match self.0.address {
            Some(IpAddr::V6(v6)) => {
                let [a, b, c, d, ..] = v6.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
            _ => self.address(),
        }
    }

    /// Does something after the answer was decided. It never changes the answer: a failure is logged, and that is all.
    pub async fn afterwards(&self, work: impl Future<Output = Result<(), crate::db::DbError>> + Send + 'static) {
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

impl<S: Sync> FromRequestParts<S> for App {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| ApiError::from(Code::Internal).cause("no App: not served"))
    }
}

/// Answers one request. All that leaves here has the envelope, if it is a refusal, and the request's id.
pub async fn serve<B>(env: &Arc<Env>, mut router: Router, mut request: axum::http::Request<B>) -> Response
where
    B: http_body_util_body::HttpBody,
{
    let now = env.clock.now();
    let app = App(Arc::new(Inner {
        now,
        request_id: env.requests.next(now),
        address: client_address(request.headers(), &env.settings.trusted_proxies),
        env: Arc::clone(env),
    }));
    let wants_problem = request
        .headers()
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.to_str().is_ok_and(|accept| accept.contains("application/problem+json")));
    let path = request.uri().path().to_owned();
    name_host(&mut request);
    request.extensions_mut().insert(app.clone());
    let mut response = match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if let Some(Refused(refusal)) = response.extensions_mut().remove::<Refused>() {
        response = refuse(&app, &refusal, response, wants_problem, &path);
    }
    if let Ok(id) = HeaderValue::from_str(app.request_id().as_str()) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}

/// wasi:http takes the `Host` header out and gives the authority with the URI; here it is put back, where handlers look for it.
fn name_host<B>(request: &mut axum::http::Request<B>) {
    let authority = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(authority) = authority.filter(|_| !request.headers().contains_key(header::HOST)) {
        request.headers_mut().insert(header::HOST, authority);
    }
}

/// Bounds of the bodies that axum's router takes, named once.
mod http_body_util_body {
    /// A request's body, whichever host it comes from.
    pub trait HttpBody:
        axum::body::HttpBody<Data = bytes::Bytes, Error: Into<axum::BoxError>> + Send + 'static
    {
    }
    impl<B: axum::body::HttpBody<Data = bytes::Bytes, Error: Into<axum::BoxError>> + Send + 'static> HttpBody for B {}
}

/// Writes the envelope. `bare` is the response as it came, with `Allow` on it if a method was wrong.
fn refuse(app: &App, refusal: &ApiError, bare: Response, wants_problem: bool, path: &str) -> Response {
    let (status, row) = (bare.status(), refusal.code().row());
    if let Some(cause) = refusal.inner() {
        log(app.request_id(), &format!("{path} {}", row.slug), cause);
    }
    let caller = bare.extensions().get::<Caller>();
    let link = app.settings().link();
    let mut body = refusal.envelope(app.request_id().as_str(), link, caller.and_then(Caller::agent_and_owner));
    if wants_problem {
        // RFC 9457: the same members beside the registered ones.
        body.problem = Some(Problem { r#type: body.doc_url.clone(), title: row.detail, status: status.as_u16() });
    }
    let text = serde_json::to_string(&body).unwrap_or_default();
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
fn client_address(headers: &HeaderMap, trusted: &[IpAddr]) -> Option<IpAddr> {
    let last = headers.get_all("spin-client-addr").iter().next_back()?.to_str().ok()?;
    let peer: IpAddr = last.parse::<std::net::SocketAddr>().map(|at| at.ip()).or_else(|_| last.parse()).ok()?;
    let peer = peer.to_canonical(); // an IPv4 address that came over IPv6 is that address
    if !trusted.contains(&peer) {
        return Some(peer);
    }
    let forwarded: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
    let mut nearest = peer;
    for hop in forwarded.join(",").rsplit(',') {
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        nearest = address.to_canonical();
        if !trusted.contains(&nearest) {
            break;
        }
    }
    Some(nearest)
}

/// Lets in whom the row lets in. Every route of the table is behind it.
pub(crate) async fn guard<F: Future<Output = Response>>(
    route: &'static Route,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    request.extensions_mut().insert(route);
    if route.access == Access::Public {
        return match known_parameters(route, request.uri().query()) {
            Ok(()) => next(request).await,
            Err(refusal) => refusal.into_response(),
        };
    }
    let Some(app) = request.extensions().get::<App>().cloned() else {
        return ApiError::from(Code::Internal).cause("no App: not served").into_response();
    };
    let caller = match Caller::find(&app, request.headers()).await {
        Ok(caller) => caller,
        Err(refusal) => return refusal.into_response(),
    };
    let admitted = caller
        .admit(app.now(), route)
        .and_then(|()| caller.same_site(&app, route, request.headers()))
        .and_then(|()| known_parameters(route, request.uri().query()));
    let mut response = match admitted {
        Ok(()) => {
            request.extensions_mut().insert(caller.clone());
            next(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    // Answers behind a credential say who somebody is, or hold what is his.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let refused = response.extensions().get::<Refused>().map(|Refused(refusal)| refusal.code());
    if let Some(code) = refused {
        response.extensions_mut().insert(caller.clone());
        caller.record_refusal(&app, code).await;
    } else {
        caller.record_use(&app).await;
    }
    response
}

/// Refuses query parameters that the route does not know.
fn known_parameters(route: &Route, query: Option<&str>) -> Result<(), ApiError> {
    let (Query::Only(known), Some(query)) = (route.query, query) else { return Ok(()) };
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    match pairs.into_iter().find(|(name, _)| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(ApiError::field(name, format!("this route does not know this query parameter; it knows: {known}")))
        }
    }
}

/// Our 404 for a path that no row names.
pub(crate) async fn not_found() -> ApiError {
    Code::NotFound.into()
}

/// Our 405; the router adds `Allow`.
pub(crate) async fn method_not_allowed() -> ApiError {
    Code::MethodNotAllowed.into()
}

/// The row of the route that was chosen.
impl<S: Sync> FromRequestParts<S> for &'static Route {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let route = parts.extensions.get::<Self>().copied();
        route.ok_or_else(|| ApiError::from(Code::Internal).cause("no route: not behind the guard"))
    }
}

/// One segment of the path, percent-decoded. What can be no name is simply the name of nothing: the look-up says 404.
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(path.map_or_else(|_| String::new(), |axum::extract::Path(segment)| segment)))
    }
}

/// The query, read into a form of the route's own.
pub struct Params<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let read = serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(form_pairs(query)));
        read.map(Params).map_err(|error| problem(&error.path().to_string(), &error.inner().to_string()))
    }
}

fn form_pairs(query: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(query.as_bytes())
}

/// The body, read into a form of the route's own, and what `Idempotency-Key` asks for.
pub struct Ask<T> {
    /// The form.
    pub body: T,
    /// What to keep, when a key was sent to a route that keeps answers.
    pub kept: Option<idempotency::Request>,
}

/// The form of a route that takes no body.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Ask<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read_body(&parts.headers, body).await?;
        let form = read_json(&bytes)?;
        let (route, caller) = (parts.extensions.get::<&'static Route>(), parts.extensions.get::<Caller>());
        let kept = match (route, caller) {
            (Some(route), Some(caller)) if route.is_idempotent => {
                idempotency::Request::read(&parts.headers, caller, route.method, parts.uri.path(), &bytes)?
            }
            _ => None,
        };
        Ok(Self { body: form, kept })
    }
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, ApiError> {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if declared.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(Code::BodyTooLarge.into());
    }
    // Copied piece by piece: each piece comes in a buffer of its own, and kept, those of single bytes would fill the memory.
    let (mut body, mut bytes) = (body, Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Code::InvalidJson.detail("The body ended before it was complete."))?;
        let Some(piece) = frame.data_ref() else { continue };
        if bytes.len() + piece.len() > MAX_BODY {
            return Err(Code::BodyTooLarge.into());
        }
        bytes.extend_from_slice(piece);
    }
    Ok(bytes)
}

/// Reads a JSON object. An empty body is the empty object, for routes whose fields can all be left out.
fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|_| Code::InvalidJson.detail("The body is not UTF-8."))?;
    let text = if text.trim().is_empty() { "{}" } else { text };
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        Code::InvalidJson.detail(format!(
            "The body is not JSON: it breaks at line {}, column {}.",
            error.line(),
            error.column()
        ))
    })?;
    if !json.is_object() {
        return Err(ApiError::field("", "the body must be a JSON object"));
    }
    // From the text, not from `json`: a field that stands twice must be seen.
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| problem(&error.path().to_string(), &error.inner().to_string()))
}

/// A problem in serde's words, such as "missing field `name`", made into field and problem.
fn problem(path: &str, words: &str) -> ApiError {
    let words = words.split(" at line ").next().unwrap_or(words);
    let named = words.split('`').nth(1).filter(|_| words.contains(" field `"));
    let parent = if path == "." { "" } else { path };
    let field = match named {
        // serde names an unknown field in its path, and a missing one only in its words.
        Some(name) if parent.is_empty() => name.to_owned(),
        Some(name) if parent == name || parent.ends_with(&format!(".{name}")) => parent.to_owned(),
        Some(name) => format!("{parent}.{name}"),
        None => parent.to_owned(),
    };
    ApiError::field(field, words)
}

/// A JSON answer.
pub fn json(status: axum::http::StatusCode, form: &impl Serialize) -> Result<Response, ApiError> {
    let text = serde_json::to_string(form).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
    Ok((status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response())
}

/// One page of a list.
#[derive(Serialize)]
pub struct Page<T> {
    /// The page's rows.
    pub items: Vec<T>,
    /// Passed as `cursor`, it gives the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// Which page is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    limit: i64,
    after: Option<(i64, String)>,
    bound: String,
}

impl Wanted {
    /// Reads `limit` and `cursor`. `filters` are what the cursor is bound to, beside the caller.
    pub fn read(caller: &Caller, limit: Option<i64>, cursor: Option<&str>, filters: &[&str]) -> Result<Self, ApiError> {
        let limit = limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(Code::InvalidLimit.into());
        }
        let mut parts = vec![caller.user_id().as_str(), caller.agent_id().map_or("", |id| id.as_str())];
        parts.extend(filters);
        let bound =
            URL_SAFE_NO_PAD.encode(Digest::of_parts(&parts).bytes().first_chunk::<9>().copied().unwrap_or_default());
        let after = match cursor {
            None => None,
            Some(cursor) => Some(read_cursor(cursor, &bound).ok_or(Code::InvalidCursor)?),
        };
        Ok(Self { limit, after, bound })
    }

    /// How many rows to read: one more than the page holds tells whether there is another page.
    pub fn rows(&self) -> i64 {
        self.limit + 1
    }

    /// The row (time in milliseconds, id) that the page begins behind; the far end of time for the first page.
    pub fn after(&self) -> (i64, String) {
        self.after.clone().unwrap_or((i64::MAX, String::new()))
    }

    /// Makes the page of what was read; `place` gives a row's time and id.
    pub fn page<T>(&self, mut items: Vec<T>, place: impl Fn(&T) -> (Timestamp, String)) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| more).map(|last| {
            let (at, id) = place(last);
            URL_SAFE_NO_PAD.encode(format!("{} {id} {}", at.millis(), self.bound))
        });
        Page { items, next_cursor }
    }
}

fn read_cursor(cursor: &str, bound: &str) -> Option<(i64, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let mut parts = text.split(' ');
    let (at, id, of) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    (of == bound && parts.next().is_none()).then(|| (at, id.to_owned()))
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

/// Control, bidirectional and zero-width characters: what makes a text look like another.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(target_family = "wasm")]
mod instance {
    //! What an instance keeps between requests: its environment and its router, each made once.

    use std::sync::{Arc, OnceLock};

    use axum::{Router, response::Response};

    use super::{Env, serve};
    use crate::{
        db::Db,
        id::{RequestId, RequestNumbers},
        secret::Chance,
        settings,
        time::Clock,
    };

    static INSTANCE: OnceLock<(Arc<Env>, Router)> = OnceLock::new();

    /// Answers a request that Spin handed over.
    pub async fn answer(request: spin_sdk::http::Request, router: fn() -> Router) -> Response {
        let (env, router) = match INSTANCE.get() {
            Some(made) => made,
            None => {
                let mut values = std::collections::BTreeMap::new();
                for name in settings::NAMES {
                    #[expect(clippy::disallowed_methods, reason = "the one place that reads settings")]
                    if let Ok(value) = spin_sdk::variables::get(name).await {
                        values.insert(*name, value);
                    }
                }
                match settings::Settings::read(|name| values.get(name).cloned()) {
                    Ok(settings) => INSTANCE.get_or_init(|| (Arc::new(env(settings)), router())),
                    Err(name) => return unusable(name),
                }
            }
        };
        serve(env, router.clone(), request).await
    }

    fn env(settings: settings::Settings) -> Env {
        Env {
            db: Db::spin(settings.database_max_mib),
            clock: Clock::System,
            requests: RequestNumbers::new(&Chance::System),
            chance: Chance::System,
            settings,
        }
    }

    fn unusable(name: &str) -> Response {
        eprintln!("the variable {name} has a value that cannot be used; nothing is served until it is mended");
        let id = RequestId::generate(Clock::System.now(), &Chance::System);
        let mut response = crate::error::ApiError::from(crate::error::Code::Internal)
            .detail("A setting of this server cannot be used; its log names it.")
            .envelope(id.as_str(), "", None)
            .into_answer();
        if let Ok(id) = axum::http::HeaderValue::from_str(id.as_str()) {
            response.headers_mut().insert("x-request-id", id);
        }
        response
    }
}

#[cfg(target_family = "wasm")]
pub use instance::answer;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    /// R71: a client's own copy of the header changes nothing.
    #[test]
    fn the_last_spin_client_addr_counts() {
        let sent = headers(&[("spin-client-addr", "6.6.6.6:1"), ("spin-client-addr", "192.0.2.1:4000")]);
        assert_eq!(client_address(&sent, &[]), "192.0.2.1".parse().ok());
    }

    #[test]
    fn forwarded_addresses_count_only_behind_a_trusted_proxy_and_from_the_right() {
        let sent =
            headers(&[("spin-client-addr", "10.0.0.1:4000"), ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.2")]);
        let trusted = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        assert_eq!(client_address(&sent, &trusted), "192.0.2.7".parse().ok());
        assert_eq!(client_address(&sent, &[]), "10.0.0.1".parse().ok());
    }

    #[test]
    fn a_text_has_no_unseen_characters() {
        assert_eq!(text("name", "  Ada ", 64).unwrap(), "Ada");
        for bad in ["", "  ", "a\nb", "a\u{202e}b", "a\u{200b}b", "\u{feff}", &"x".repeat(65)] {
            assert!(text("name", bad, 64).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn serde_words_become_fields() {
        #[derive(serde::Deserialize, Debug)]
        #[serde(deny_unknown_fields)]
        struct Form {
            #[expect(dead_code, reason = "read by serde")]
            name: String,
        }
        for (body, field) in [("{}", "name"), (r#"{"name":1}"#, "name"), (r#"{"name":"a","x":1}"#, "x"), ("[]", "")] {
            let error = read_json::<Form>(body.as_bytes()).unwrap_err();
            assert_eq!(error.code(), Code::ValidationError, "{body}");
            let envelope = serde_json::to_value(error.envelope("req_1", "", None)).unwrap();
            assert_eq!(envelope["fields"][0]["field"], field, "{body} {envelope:?}");
        }
        for body in [&b"{"[..], b"\xff", b"{\"a\":1}x"] {
            assert_eq!(read_json::<Form>(body).unwrap_err().code(), Code::InvalidJson);
        }
    }
}
