//! From a path to the row of its route and its handler.
//!
//! A handler is an async function that names what it needs as arguments, each a [`FromCall`], and returns
//! `Result<Response, ApiError>`:
//!
//! ```text
//! pub(crate) async fn get(app: App, caller: Caller, Path(name): Path) -> Result<Response, ApiError> { … }
//! ```
//!
//! Arguments are made from left to right, without waiting; the body is read to its end before, if one of them needs it.

use std::{future::Future, pin::Pin, sync::Arc};

use common::{
    error::{ApiError, Code, RefusalHeader},
    exact::{Exact, decoded, matched},
    route::{Access, Group, Query, ROUTES, Route},
    secret::Secret,
};
use http::{Extensions, HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri::PathAndQuery};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use store::access_request;

use crate::{
    app::App,
    body::RequestBody,
    call::{Call, FromCall, Takes},
    caller::Caller,
    cors, extract, guard,
    idempotency::{IdempotencyKey, KEPT_FOR},
    missing,
    nowhere::{self, Lead},
    once, paths, proxy,
    response::Response,
};

/// A handler at work.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response, ApiError>>>>;

/// An async function whose arguments are each a [`FromCall`].
pub trait Handler<T>: Send + Sync + 'static {
    /// Whether one of the arguments is made of the body.
    const READS_BODY: bool;
    /// Whether one of the arguments changes something in a transaction of its own.
    const CHANGES: bool;

    /// Says what the arguments are made of.
    fn takes() -> Takes;

    /// Makes the arguments and starts the function.
    fn start(&self, call: &mut Call) -> Result<Answering, ApiError>;
}

macro_rules! handlers {
    ($(($($argument:ident),*))*) => {$(
        impl<H, F, $($argument),*> Handler<($($argument,)*)> for H
        where
            H: Fn($($argument),*) -> F + Send + Sync + 'static,
            F: Future<Output = Result<Response, ApiError>> + 'static,
            $($argument: FromCall,)*
        {
            const READS_BODY: bool = false $(|| $argument::READS_BODY)*;
            const CHANGES: bool = false $(|| $argument::CHANGES)*;

            fn takes() -> Takes {
                let takes = &mut Takes::default();
                $($argument::takes(takes);)*
                std::mem::take(takes)
            }

            fn start(&self, _call: &mut Call) -> Result<Answering, ApiError> {
                Ok(Box::pin(self($($argument::from_call(_call)?),*)))
            }
        }
    )*};
}

handlers! { () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, G) }

/// The outcome of a request: a response or a refusal, and the caller where it is known.
pub(crate) struct Outcome {
    pub(crate) result: Result<Response, ApiError>,
    pub(crate) caller: Option<Caller>,
}

type Answered<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;
type Start = dyn Fn(&mut Call) -> Result<Answering, ApiError> + Send + Sync;

/// What a successful answer is: its statuses and, natively, how its JSON Schema is made. A component does not carry the schemas.
#[cfg(not(target_family = "wasm"))]
#[derive(Clone, Copy)]
pub struct Given {
    /// The statuses.
    pub statuses: &'static [u16],
    /// Makes the schema of a body that is JSON; `None`: there is none.
    pub schema: Option<fn(&mut schemars::SchemaGenerator) -> schemars::Schema>,
    /// The media type of a body that is no JSON; `None`: there is none.
    pub media: Option<&'static str>,
    /// Statuses beside those, without a body.
    pub empty: &'static [u16],
}

/// A row as it is described to others.
#[cfg(not(target_family = "wasm"))]
pub struct Described {
    /// The row.
    pub route: &'static Route,
    /// What its handler reads.
    pub takes: Takes,
    /// What it answers, if that was said.
    pub gives: Option<Given>,
}

/// A row with its handler, and how the row lets callers in.
struct Mounted {
    route: &'static Route,
    #[cfg(not(target_family = "wasm"))]
    takes: fn() -> Takes,
    #[cfg(not(target_family = "wasm"))]
    gives: Option<Given>,
    reads_body: bool,
    changes: bool,
    start: Box<Start>,
    door: Door,
    /// Finds a live caller, where the row's component can.
    look: Look,
}

type Door = for<'a> fn(&'a Mounted, Call, RequestBody) -> Answered<'a>;
type Look = for<'a> fn(&'a App) -> Looked<'a>;

type Looked<'a> = Pin<Box<dyn Future<Output = Option<Caller>> + 'a>>;

fn look(app: &App) -> Looked<'_> {
    Box::pin(async { Caller::authenticate(app).await.ok().filter(|caller| caller.check_live().is_ok()) })
}

fn look_nowhere(_: &App) -> Looked<'_> {
    Box::pin(async { None })
}

impl Mounted {
    fn new<H: Handler<T>, T>(route: &'static Route, handler: H, (door, look): (Door, Look)) -> Self {
        Self {
            route,
            #[cfg(not(target_family = "wasm"))]
            takes: H::takes,
            #[cfg(not(target_family = "wasm"))]
            gives: None,
            reads_body: H::READS_BODY,
            changes: H::CHANGES,
            start: Box::new(move |call| handler.start(call)),
            door,
            look,
        }
    }

    /// Behind the guard.
    fn guarded(&self, mut call: Call, body: RequestBody) -> Answered<'_> {
        Box::pin(async move {
            let mut unread = Some(body);
            let result = match enter(&mut call).await {
                Ok(()) => self.answer(&mut call, &mut unread).await,
                Err(refusal) => Err(refusal),
            };
            let result = match result {
                Err(refusal) if refusal.code() == Code::ScopeDenied => self.refused(&mut call, unread, refusal).await,
                result => result,
            };
            leave(call, result).await
        })
    }

    /// What becomes of a request that is refused for want of a scope: an agent may have an approval for this one request, and else it reads
    /// what it can do. A function of its own, and boxed: no other request pays for it.
    fn refused<'a>(
        &'a self,
        call: &'a mut Call,
        mut unread: Option<RequestBody>,
        refusal: ApiError,
    ) -> Pin<Box<dyn Future<Output = Result<Response, ApiError>> + 'a>> {
        Box::pin(async move {
            if !call.caller.as_ref().is_some_and(Caller::takes_approvals) || refusal.missing_scopes().is_empty() {
                return Err(missing::beside(call, refusal, None).await);
            }
            self.read(call, &mut unread).await;
            call.find_names();
            let exact = exact(call);
            let refusal = match &exact {
                None => refusal,
                Some(exact) => match self.once(call, exact).await {
                    Ok(Some(response)) => return Ok(response),
                    Ok(None) => refusal,
                    // Another one was first.
                    Err(refusal) if refusal.code() == Code::ScopeDenied => refusal,
                    Err(refusal) => return Err(refusal),
                },
            };
            call.find_names();
            Err(missing::beside(call, refusal, exact.as_ref()).await)
        })
    }

    /// Answers exactly this request if it was approved once. `None`: it was not, or was sent.
    async fn once(&self, call: &mut Call, exact: &Exact) -> Result<Option<Response>, ApiError> {
        let (app, route) = (call.app.clone(), call.route);
        let Some(plain) = call.caller.clone() else { return Ok(None) };
        let Some(agent) = plain.agent_id() else { return Ok(None) };
        let times = (app.now(), app.now().plus_seconds(-KEPT_FOR));
        let Some(once) = access_request::find_once(app.db(), agent, exact, times).await? else { return Ok(None) };
        // One that was sent is answered from what was kept, or not at all.
        let (is_spent, kept) = (once.is_spent, Option::<IdempotencyKey>::from_call(call)?);
        if is_spent && kept.is_none() {
            return Ok(None);
        }
        let caller = plain.with_once(once, exact.clone());
        guard::admit(&app, &caller, route)?;
        guard::check_query(route, app.head().uri.query())?;
        check_conditions(&app, route)?;
        if self.changes {
            return self.start_as(call, caller).await.map(Some);
        }
        if let Some(kept) = kept
            && let Some(answer) = kept.answer_again(&app, &caller).await?
        {
            return Ok(Some(answer));
        }
        if is_spent {
            return Ok(None);
        }
        if route.is_safe() {
            let response = self.start_as(call, caller.clone()).await?;
            once::spend_alone(&app, &caller).await?;
            return Ok(Some(response));
        }
        let paid = once::spend_alone(&app, &caller).await?;
        self.start_as(call, paid).await.map(Some)
    }

    /// Runs the handler for this caller; the call has its own caller again after it.
    async fn start_as(&self, call: &mut Call, caller: Caller) -> Result<Response, ApiError> {
        let own = call.caller.replace(caller);
        call.find_names();
        let started = (self.start)(call);
        call.caller = own;
        started?.await
    }

    /// For a public row in a component without a database: no credential is looked up, so that its wasm imports no database.
    fn open(&self, mut call: Call, body: RequestBody) -> Answered<'_> {
        Box::pin(async move {
            let result = match guard::check_query(call.route, call.app.head().uri.query()) {
                Ok(()) => self.answer(&mut call, &mut Some(body)).await,
                Err(refusal) => Err(refusal),
            };
            Outcome { result, caller: None }
        })
    }

    async fn answer(&self, call: &mut Call, unread: &mut Option<RequestBody>) -> Result<Response, ApiError> {
        check_conditions(&call.app, call.route)?;
        self.read(call, unread).await;
        (self.start)(call)?.await
    }

    /// Reads the body, if the handler does and it was not read yet.
    async fn read(&self, call: &mut Call, unread: &mut Option<RequestBody>) {
        if self.reads_body
            && let Some(body) = unread.take()
        {
            call.body = Some(extract::read_body(call.route, call.app.headers(), body).await);
        }
    }
}

/// The request as it can be named. `None`: no approval could help it, or its body could not be read. A HEAD is none: what was approved is to
/// be read.
fn exact(call: &Call) -> Option<Exact> {
    let head = call.app.head();
    if matches!(call.body, Some(Err(_))) || head.method == Method::HEAD {
        return None;
    }
    let uri = &head.uri;
    Exact::sent(call.route, uri.path(), uri.query(), &call.body_bytes())
}

/// Refuses a change that has a condition: what cannot be compared must not be carried out as if it held (RFC 9110, section 13.1). It comes after
/// every other check that needs no body (section 13.2.1). Forms of pages and the requests of a proxy's visitors are not looked at.
fn check_conditions(app: &App, route: &Route) -> Result<(), ApiError> {
    if route.is_safe() || route.for_proxies || route.group == Group::Web {
        return Ok(());
    }
    let headers = app.headers();
    let is_sent =
        |name: &&str| headers.all(&name.to_ascii_lowercase()).iter().any(|value| *name != "If-Match" || value != "*");
    match ["If-Match", "If-None-Match", "If-Unmodified-Since"].into_iter().find(is_sent) {
        Some(name) => Err(ApiError::from(Code::PreconditionFailed).with("header", name)),
        None => Ok(()),
    }
}

/// Finds the caller and asks the guard.
async fn enter(call: &mut Call) -> Result<(), ApiError> {
    let (app, route) = (&call.app, call.route);
    if route.for_proxies {
        proxy::check_header(app)?;
    }
    if route.access != Access::Public {
        // Known from here on: a refusal below is counted as this caller's.
        let caller = call.caller.insert(Caller::presenting(app).await?);
        caller.check_proof(app, route.for_proxies.then_some(route)).await?;
        // Before all that depends on the person's rights: a change of another site's page is refused for that alone.
        caller.check_live()?;
        guard::check_same_site(app, caller, route)?;
        guard::admit(app, caller, route)?;
    } else {
        guard::check_own_page(app, route)?;
    }
    guard::check_query(route, app.head().uri.query())
}

/// Counts what a known caller did.
async fn leave(call: Call, mut result: Result<Response, ApiError>) -> Outcome {
    let Call { app, caller, route, .. } = call;
    if let Some(caller) = &caller {
        match &mut result {
            Ok(response) => {
                // Answers behind a credential belong to its bearer. A stream says more than that.
                let said = response.headers().get(header::CACHE_CONTROL);
                if !said.is_some_and(|said| said.as_bytes().starts_with(b"no-store")) {
                    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                }
                caller.record_use(&app).await;
            }
            Err(refusal) => {
                // It was let in, and refused what it asked for: not by a page of another site, which sends it unasked.
                if refusal.code().row().status != 401 && refusal.code() != Code::CsrfFailed {
                    caller.record_use(&app).await;
                }
                caller.record_refusal(&app, route, refusal).await;
            }
        }
    }
    Outcome { result, caller }
}

/// All rows of one path.
struct Place {
    path: &'static str,
    rows: Vec<Mounted>,
}

/// The routes of a component. Cheap to clone.
#[derive(Clone, Default)]
pub struct Router {
    places: Arc<Vec<Place>>,
    held: Extensions,
    lead: Option<Lead>,
}

impl Router {
    /// Leads browsers from addresses that are a page's but for their slashes to that page. For components below whose paths pages are: the
    /// others have no room for it.
    #[must_use]
    pub fn leading(mut self) -> Self {
        self.lead = Some(nowhere::meant);
        self
    }

    /// What tells the page that a path means for which nothing was found.
    pub(crate) fn lead(&self) -> Option<Lead> {
        self.lead
    }

    /// Keeps a value for handlers, which get it by [`Call::held`].
    #[must_use]
    pub fn holding<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.held.insert(value);
        self
    }

    /// The routes of several components as one router's: for tests that pass through more than one.
    #[cfg(not(target_family = "wasm"))]
    pub fn together(routers: impl IntoIterator<Item = Self>) -> Self {
        let (mut all, mut held) = (Vec::new(), Extensions::new());
        for router in routers {
            held.extend(router.held);
            all.extend(Arc::into_inner(router.places).unwrap_or_default());
        }
        Self { held, ..Self::of(all) }
    }

    /// Its rows, as they are described to others.
    #[cfg(not(target_family = "wasm"))]
    pub fn described(&self) -> Vec<Described> {
        let rows = self.places.iter().flat_map(|place| &place.rows);
        rows.map(|row| Described { route: row.route, takes: (row.takes)(), gives: row.gives }).collect()
    }

    fn of(places: Vec<Place>) -> Self {
        Self { places: Arc::new(places), held: Extensions::new(), lead: None }
    }

    /// The place of a path, and what its names stand for: a literal segment comes before a name, and a name before all that is
    /// left.
    fn find(&self, path: &str) -> Option<(&Place, Vec<String>)> {
        let plain = path.strip_suffix('/').filter(|plain| self.places.iter().any(|place| place.takes_slash(plain)));
        let path = plain.unwrap_or(path);
        // A path without names, as most are: a pattern with names has braces, which a path of ours has not.
        if let Some(place) = self.places.iter().find(|place| place.path == path && !path.contains('{')) {
            return Some((place, Vec::new()));
        }
        let matches = self.places.iter().filter_map(|place| Some((matched(place.path, path)?, place)));
        let ((_, named), place) = matches.min_by_key(|((rank, _), _)| *rank)?;
        Some((place, named.into_iter().map(decoded).collect()))
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, app: &App, body: RequestBody) -> Outcome {
        let head = app.head();
        let (path, is_head) = (head.uri.path(), head.method == Method::HEAD);
        // A HEAD has the headers of a GET, and its body is dropped before a byte of it is read.
        let method = if is_head { "GET" } else { head.method.as_str() };
        let mut outcome = match self.find(path) {
            _ if holds_credential(&head.uri) => Outcome { result: Err(Code::CredentialInUrl.into()), caller: None },
            found if let Some(refusal) = names_credential(&head.uri, found.as_ref().map(|(place, _)| *place)) => {
                Outcome { result: Err(refusal), caller: None }
            }
            None => Outcome { result: Err(paths::not_found(method, path)), caller: None },
            // Any other OPTIONS is a method that the path has not.
            Some((place, _)) if method == "OPTIONS" && cors::is_preflight(app) && place.is_for_browsers() => {
                let rows = place.rows.iter().map(|row| row.route);
                Outcome { result: Ok(cors::preflight(rows)), caller: None }
            }
            Some((place, segments)) => {
                match place.rows.iter().find(|row| row.route.method == method || row.route.for_proxies) {
                    None => place.method_not_allowed(app).await,
                    Some(row) => {
                        let (segments, held) = (segments.into_iter(), self.held.clone());
                        let call =
                            Call { app: app.clone(), route: row.route, caller: None, body: None, segments, held };
                        let mut outcome = (row.door)(row, call, body).await;
                        if let Ok(response) = &mut outcome.result {
                            say_if_key_is_ignored(app, row.route, response);
                        }
                        outcome.result = outcome.result.map_err(|refusal| match row.route.for_proxies {
                            true => proxy::refusal(app, row.route, refusal),
                            false => refusal.at(row.route),
                        });
                        if row.route.for_browsers {
                            outcome.result = cors::open(outcome.result);
                        }
                        outcome
                    }
                }
            }
        };
        if let Ok(response) = &mut outcome.result {
            set_length(response);
        }
        outcome
    }
}

/// Whether the path or the query holds one of our credentials, percent-encoded or not. Such a request is refused on every path, before
/// anything reads its URL, which therefore reaches no log of ours.
fn holds_credential(uri: &Uri) -> bool {
    let text = uri.path_and_query().map_or("", PathAndQuery::as_str);
    Secret::is_in(text.as_bytes())
        || (text.contains('%') && Secret::is_in(&percent_decode_str(text).collect::<Vec<u8>>()))
}

/// Names of query parameters in which clients of other servers send a credential.
const CREDENTIALS: [&str; 4] = ["access_token", "token", "api_key", "apikey"];

/// The refusal of a query that names a credential, whatever its value is: it was sent where logs keep it. Protocols and pages whose query is
/// that of others are not looked at.
fn names_credential(uri: &Uri, place: Option<&Place>) -> Option<ApiError> {
    let query = uri.query()?;
    let is_of_others = |row: &Mounted| row.route.query == Query::Any && row.route.group != Group::Docs;
    if place.is_some_and(|place| place.rows.iter().any(is_of_others)) {
        return None;
    }
    let (name, _) = form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| CREDENTIALS.iter().any(|known| name.eq_ignore_ascii_case(known)))?;
    let detail = format!(
        "The URL of this request has the query parameter {name}, which is no parameter of this server. Proxies, logs and browsers keep URLs: if it holds a credential, that may have leaked."
    );
    Some(Code::CredentialInUrl.detail(detail))
}

/// Says how long a body is, where that is known. RFC 9110, section 8.6: a 204 has no length, and that of a 304 would be the length of
/// the response that it stands for.
fn set_length(response: &mut Response) {
    let may_have_length = !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let has_length = response.headers().contains_key(header::CONTENT_LENGTH);
    if let (true, false, Some(length)) = (may_have_length, has_length, response.body().length()) {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// The header that says what became of an `Idempotency-Key`.
const KEY_STATUS: HeaderName = HeaderName::from_static("idempotency-key-status");

/// Says of a change that its `Idempotency-Key` had no effect: a client must not rely on what the server does not do.
fn say_if_key_is_ignored(app: &App, route: &Route, response: &mut Response) {
    let is_change = !matches!(app.head().method, Method::GET | Method::HEAD);
    if is_change && !route.is_idempotent && app.headers().first("idempotency-key").is_some() {
        response.headers_mut().insert(KEY_STATUS, HeaderValue::from_static("ignored"));
    }
}

impl Place {
    /// Whether this path with a slash at its end is it too.
    fn takes_slash(&self, plain: &str) -> bool {
        self.path == plain && self.rows.iter().any(|row| row.route.takes_slash)
    }

    /// Whether pages of every origin may ask it.
    fn is_for_browsers(&self) -> bool {
        self.rows.iter().any(|row| row.route.for_browsers)
    }

    /// 405, with the methods that the path has for a caller of this kind; the refusal of its kind if there are none.
    async fn method_not_allowed(&self, app: &App) -> Outcome {
        let caller = match self.rows.first() {
            Some(row) => (row.look)(app).await,
            None => None,
        };
        let is_taken =
            |row: &&Mounted| caller.as_ref().is_none_or(|caller| guard::check_kind(caller, row.route).is_ok());
        let rows: Vec<&Mounted> = self.rows.iter().filter(is_taken).collect();
        let refusal = match (rows.is_empty(), &caller, self.rows.first()) {
            (true, Some(caller), Some(row)) => guard::check_kind(caller, row.route).err(),
            _ => None,
        };
        Outcome { result: Err(refusal.unwrap_or_else(|| Self::allowing(&rows))), caller }
    }

    fn allowing(rows: &[&Mounted]) -> ApiError {
        let mut allowed = Vec::new();
        for row in rows {
            allowed.push(row.route.method);
            if row.route.method == "GET" {
                allowed.push("HEAD");
            }
        }
        Code::MethodNotAllowed.header(RefusalHeader::Allow, allowed.join(","))
    }
}

/// Builds one component's router from its rows.
pub struct Routes {
    group: Group,
    places: Vec<Place>,
    last: Option<&'static Route>,
}

impl Routes {
    /// An empty router for the group.
    pub fn new(group: Group) -> Self {
        Self { group, places: Vec::new(), last: None }
    }

    /// Mounts a handler behind the guard.
    #[must_use]
    pub fn on<H: Handler<T>, T>(mut self, route: &'static Route, handler: H) -> Self {
        self.mount(Mounted::new(route, handler, (Mounted::guarded, look)));
        self
    }

    /// The same for a public row, in a component that has no database. A row that is not public stays without a handler.
    #[must_use]
    pub fn on_open<H: Handler<T>, T>(mut self, route: &'static Route, handler: H) -> Self {
        if route.access == Access::Public {
            self.mount(Mounted::new(route, handler, (Mounted::open, look_nowhere)));
        }
        self
    }

    /// Says of the row that was mounted last that it answers with a `T` when it succeeds, with one of these statuses. The document at
    /// `/openapi.json` says so, and the tests compare every answer with it.
    #[must_use]
    #[cfg(not(target_family = "wasm"))]
    pub fn gives<T: JsonSchema>(self, statuses: &'static [u16]) -> Self {
        self.given(Given {
            statuses,
            schema: Some(|generator| generator.subschema_for::<T>()),
            media: None,
            empty: &[],
        })
    }

    /// A component does not carry the schemas.
    #[must_use]
    #[cfg(target_family = "wasm")]
    pub fn gives<T: JsonSchema>(self, _: &'static [u16]) -> Self {
        self
    }

    /// Says of the row that was mounted last that it answers with one of these statuses and without a body when it succeeds.
    #[must_use]
    #[cfg(not(target_family = "wasm"))]
    pub fn gives_no_body(self, statuses: &'static [u16]) -> Self {
        self.given(Given { statuses, schema: None, media: None, empty: &[] })
    }

    /// A component does not carry the schemas.
    #[must_use]
    #[cfg(target_family = "wasm")]
    pub fn gives_no_body(self, _: &'static [u16]) -> Self {
        self
    }

    /// Says of the row that was mounted last that it answers with a body of this media type when it succeeds: with nothing else, or beside
    /// the JSON that was named before.
    #[must_use]
    #[cfg(not(target_family = "wasm"))]
    pub fn gives_text(mut self, media: &'static str) -> Self {
        if let Some(row) = self.last.and_then(|path| self.row(path)) {
            let given = row.gives.get_or_insert(Given { statuses: &[200], schema: None, media: None, empty: &[] });
            given.media = Some(media);
        }
        self
    }

    /// A component does not carry the schemas.
    #[must_use]
    #[cfg(target_family = "wasm")]
    pub fn gives_text(self, _: &'static str) -> Self {
        self
    }

    /// Says of the row that was mounted last that it answers with a file of this media type, or with the part of it that was asked for.
    #[must_use]
    #[cfg(not(target_family = "wasm"))]
    pub fn gives_file(self, media: &'static str) -> Self {
        self.given(Given { statuses: &[200, 206], schema: None, media: Some(media), empty: &[] })
    }

    /// A component does not carry the schemas.
    #[must_use]
    #[cfg(target_family = "wasm")]
    pub fn gives_file(self, _: &'static str) -> Self {
        self
    }

    /// Says of the row that was mounted last that it also answers with one of these statuses, and then without a body.
    #[must_use]
    #[cfg(not(target_family = "wasm"))]
    pub fn gives_no_body_too(mut self, statuses: &'static [u16]) -> Self {
        if let Some(given) = self.last.and_then(|path| self.row(path)).and_then(|row| row.gives.as_mut()) {
            given.empty = statuses;
        }
        self
    }

    /// A component does not carry the schemas.
    #[must_use]
    #[cfg(target_family = "wasm")]
    pub fn gives_no_body_too(self, _: &'static [u16]) -> Self {
        self
    }

    /// Says of the row that was mounted last that it answers 204 when it succeeds.
    #[must_use]
    #[cfg(not(target_family = "wasm"))]
    pub fn gives_nothing(self) -> Self {
        self.given(Given { statuses: &[204], schema: None, media: None, empty: &[] })
    }

    /// A component does not carry the schemas.
    #[must_use]
    #[cfg(target_family = "wasm")]
    pub fn gives_nothing(self) -> Self {
        self
    }

    #[cfg(not(target_family = "wasm"))]
    fn given(mut self, given: Given) -> Self {
        if let Some(row) = self.last.and_then(|path| self.row(path)) {
            row.gives = Some(given);
        }
        self
    }

    #[cfg(not(target_family = "wasm"))]
    fn row(&mut self, route: &Route) -> Option<&mut Mounted> {
        self.places.iter_mut().flat_map(|place| &mut place.rows).find(|row| row.route == route)
    }

    fn mount(&mut self, row: Mounted) {
        self.last = Some(row.route);
        let path = row.route.path;
        match self.places.iter_mut().find(|place| place.path == path) {
            Some(place) => place.rows.push(row),
            None => self.places.push(Place { path, rows: vec![row] }),
        }
    }

    /// The router, with our 404 and 405 for all else.
    pub fn build(self) -> Router {
        Router::of(self.places)
    }

    /// The group's rows that no handler was given for: must be none.
    pub fn missing(&self) -> Vec<&'static str> {
        let is_mounted = |row: &Route| self.places.iter().flat_map(|place| &place.rows).any(|one| one.route == row);
        ROUTES.iter().filter(|row| row.group == self.group && !is_mounted(row)).map(|row| row.path).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn nothing() -> Result<Response, ApiError> {
        Ok(crate::response::no_content())
    }

    fn router(group: Group) -> Router {
        let mut routes = Routes::new(group);
        for row in ROUTES.iter().filter(|row| row.group == group) {
            routes.mount(Mounted::new(row, nothing, (Mounted::guarded, look)));
        }
        routes.build()
    }

    /// Every path of the table leads to its own row, whatever stands for its names.
    #[test]
    fn every_path_of_the_table_can_be_reached() {
        for row in ROUTES {
            let router = router(row.group);
            let path = row
                .path
                .replace("{*page}", "x/y")
                .replace("{*path}", "x/y")
                .split('/')
                .map(|segment| match segment.starts_with('{') {
                    true => "a%2Fb%20c",
                    false => segment,
                })
                .collect::<Vec<_>>()
                .join("/");
            let (found, segments) = router.find(&path).unwrap_or_else(|| panic!("{path} is not found"));
            assert_eq!(found.path, row.path);
            assert!(segments.iter().all(|segment| segment == "a/b c" || segment == "x/y"), "{segments:?}");
        }
    }

    /// A literal segment comes before a name; a segment that is empty or not UTF-8 names nothing.
    #[test]
    fn what_is_not_in_the_table_is_not_found() {
        let agents = router(Group::Agents);
        let found = |path: &str| agents.find(path).map(|(place, segments)| (place.path, segments.concat()));
        assert_eq!(found("/api/agents/archived"), Some(("/api/agents/archived", String::new())));
        assert_eq!(found("/api/agents/bulk/stop"), Some(("/api/agents/bulk/stop", String::new())));
        assert_eq!(found("/api/agents/bulk/fly"), None);
        assert_eq!(found("/api/agents/%ff"), Some(("/api/agents/{name}", String::new())));
        assert_eq!(found("/api/agents//stop"), Some(("/api/agents/{name}/stop", String::new())));
        for path in ["", "/", "/api/agents/", "/api/agents/a/", "/api/agents/a/b/c"] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    /// R82
    #[test]
    fn a_credential_in_a_url_is_found_however_it_is_written() {
        let secret = Secret::generate(common::secret::Kind::Session, &common::secret::Chance::seeded(1));
        let secret = secret.reveal();
        let all: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for uri in [
            format!("/a/{secret}"),
            format!("/a?b={secret}&c"),
            format!("/{}", secret.replace('_', "%5F")),
            format!("/?{all}"),
        ] {
            assert!(holds_credential(&uri.parse().unwrap()), "{uri}");
        }
        for uri in ["/", "/acr_pat_?%", &format!("/a?b={}x", &secret[..56])] {
            assert!(!holds_credential(&uri.parse().unwrap()), "{uri}");
        }
    }
}
