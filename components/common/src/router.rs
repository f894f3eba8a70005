//! From a request to its handler.
//!
//! A handler is an async function that asks for what it needs by its arguments, each a [`FromCall`], and gives
//! `Result<Response, ApiError>`:
//!
//! ```text
//! pub(crate) async fn get(app: App, caller: Caller, Segment(name): Segment) -> Result<Response, ApiError> { … }
//! ```
//!
//! Arguments are made one after the other, from left to right, without waiting; a body is read to its end before, if one of
//! them wants it. What is not the handler's own is compiled once for all handlers, not once for each: a component is small,
//! and one more route costs little.

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{
    body::{Body, HttpBody},
    http::{Extensions, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    caller::Caller,
    error::{ApiError, Code},
    form,
    http::{self, App, Headers},
    route::{Access, Group, ROUTES, Route},
};

/// A request on its way: what arguments of handlers are made of.
pub struct Call {
    /// The request's view of the instance.
    pub app: App,
    /// The row of the route that was chosen.
    pub route: &'static Route,
    /// Who came in; nobody in particular at a public route.
    pub(crate) caller: Option<Caller>,
    body: Result<Vec<u8>, ApiError>,
    segments: Vec<String>,
    held: Extensions,
}

impl Call {
    /// The body. One argument of a handler takes it.
    pub(crate) fn take_body(&mut self) -> Result<Vec<u8>, ApiError> {
        std::mem::replace(&mut self.body, Ok(Vec::new()))
    }

    /// What the router holds of this type.
    pub fn held<T: Clone + Send + Sync + 'static>(&self) -> Result<T, ApiError> {
        self.held.get().cloned().ok_or_else(|| ApiError::from(Code::Internal).cause("the router holds no such thing"))
    }

    /// Whether the pattern names one more segment.
    pub(crate) fn has_segment(&self) -> bool {
        !self.segments.is_empty()
    }

    /// The next segment of the path that the pattern names, percent-decoded. What can be no name is the name of nothing.
    pub(crate) fn next_segment(&mut self) -> String {
        if self.segments.is_empty() { String::new() } else { self.segments.remove(0) }
    }
}

/// What a handler can ask for.
pub trait FromCall: Sized {
    /// Whether it is made of the body.
    const READS_BODY: bool = false;

    /// Makes it, or says why the request is refused.
    fn from_call(call: &mut Call) -> Result<Self, ApiError>;
}

impl FromCall for App {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(call.app.clone())
    }
}

impl FromCall for Caller {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        call.caller.clone().ok_or_else(|| ApiError::from(Code::Internal).cause("no caller: a public route"))
    }
}

impl FromCall for &'static Route {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(call.route)
    }
}

impl FromCall for Headers {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(call.app.head().headers.clone())
    }
}

impl FromCall for Method {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(call.app.head().method.clone())
    }
}

/// A handler at work.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response, ApiError>> + Send>>;

/// An async function whose arguments are each a [`FromCall`].
pub trait Handler<T>: Send + Sync + 'static {
    /// Whether one of the arguments is made of the body.
    const READS_BODY: bool;

    /// Makes the arguments and starts the function.
    fn start(&self, call: &mut Call) -> Result<Answering, ApiError>;
}

macro_rules! handlers {
    ($(($($argument:ident),*))*) => {$(
        impl<H, F, $($argument),*> Handler<($($argument,)*)> for H
        where
            H: Fn($($argument),*) -> F + Send + Sync + 'static,
            F: Future<Output = Result<Response, ApiError>> + Send + 'static,
            $($argument: FromCall,)*
        {
            const READS_BODY: bool = false $(|| $argument::READS_BODY)*;

            fn start(&self, _call: &mut Call) -> Result<Answering, ApiError> {
                Ok(Box::pin(self($($argument::from_call(_call)?),*)))
            }
        }
    )*};
}

handlers! { () (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, G) }

type Answered<'a> = Pin<Box<dyn Future<Output = Response> + Send + 'a>>;
type Start = dyn Fn(&mut Call) -> Result<Answering, ApiError> + Send + Sync;

/// A row with its handler, and how the row lets people in.
struct Mounted {
    route: &'static Route,
    reads_body: bool,
    start: Box<Start>,
    door: for<'a> fn(&'a Self, Call, Body) -> Answered<'a>,
}

impl Mounted {
    fn new<H: Handler<T>, T>(
        route: &'static Route,
        handler: H,
        door: for<'a> fn(&'a Self, Call, Body) -> Answered<'a>,
    ) -> Self {
        Self { route, reads_body: H::READS_BODY, start: Box::new(move |call| handler.start(call)), door }
    }

    /// Behind the guard.
    fn guarded(&self, mut call: Call, body: Body) -> Answered<'_> {
        Box::pin(async move {
            let response = match http::enter(&mut call).await {
                Ok(()) => self.answer(&mut call, body).await,
                Err(refusal) => refusal.into_response(),
            };
            http::leave(call, response).await
        })
    }

    /// A public row's: nobody's credential is looked at. A component that has no other rows asks no database, and its wasm
    /// imports none.
    fn open(&self, mut call: Call, body: Body) -> Answered<'_> {
        Box::pin(async move {
            match http::known_parameters(call.route, call.app.head().uri.query()) {
                Ok(()) => self.answer(&mut call, body).await,
                Err(refusal) => refusal.into_response(),
            }
        })
    }

    async fn answer(&self, call: &mut Call, body: Body) -> Response {
        if self.reads_body {
            call.body = form::read_body(&call.app.head().headers, body).await;
        }
        let answer = match (self.start)(call) {
            Ok(answering) => answering.await,
            Err(refusal) => Err(refusal),
        };
        answer.unwrap_or_else(ApiError::into_response)
    }
}

/// All rows of one path.
struct Place {
    path: &'static str,
    rows: Vec<Mounted>,
}

/// A component's routes. Cheap to clone.
#[derive(Clone, Default)]
pub struct Router {
    places: Arc<Vec<Place>>,
    held: Extensions,
}

impl Router {
    /// Keeps a value for handlers, which get it by [`Call::held`].
    #[must_use]
    pub fn holding<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.held.insert(value);
        self
    }

    /// The routes of several components as one router's: for tests that pass through more than one.
    #[cfg(not(target_family = "wasm"))]
    pub fn together(routers: impl IntoIterator<Item = Self>) -> Self {
        let places = routers.into_iter().filter_map(|router| Arc::into_inner(router.places));
        Self::of(places.flatten().collect())
    }

    fn of(places: Vec<Place>) -> Self {
        Self { places: Arc::new(places), held: Extensions::new() }
    }

    /// The place of a path, and what its names stand for: a literal segment comes before a name, and a name before all that is
    /// left.
    fn find(&self, path: &str) -> Option<(&Place, Vec<String>)> {
        // A path without names, as most are: a pattern with names has braces, which a path of ours has not.
        if let Some(place) = self.places.iter().find(|place| place.path == path && !path.contains('{')) {
            return Some((place, Vec::new()));
        }
        let matches = self.places.iter().filter_map(|place| Some((matched(place.path, path)?, place)));
        let ((_, named), place) = matches.min_by_key(|((rank, _), _)| *rank)?;
        Some((place, named.into_iter().map(decoded).collect()))
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, app: &App, body: Body) -> Response {
        let head = app.head();
        let (path, is_head) = (head.uri.path(), head.method == Method::HEAD);
        // Of a HEAD the headers are those of a GET, and its body is dropped before a byte of it is read.
        let method = if is_head { "GET" } else { head.method.as_str() };
        let mut response = match self.find(path) {
            None => ApiError::from(Code::NotFound).into_response(),
            Some((place, segments)) => match place.rows.iter().find(|row| row.route.method == method) {
                None => place.method_not_allowed(),
                Some(row) => {
                    let (app, held, body_unread) = (app.clone(), self.held.clone(), Ok(Vec::new()));
                    let call = Call { app, route: row.route, caller: None, body: body_unread, segments, held };
                    (row.door)(row, call, body).await
                }
            },
        };
        let length = response.body().size_hint().exact();
        // RFC 9110, section 8.6: a 204 has no length, and that of a 304 would be the length of what it stands for.
        let may_have_length = !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if let (true, Some(length), false) =
            (may_have_length, length, response.headers().contains_key(header::CONTENT_LENGTH))
        {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if is_head {
            *response.body_mut() = Body::empty();
        }
        response
    }
}

impl Place {
    /// Our 405, with the methods that would do.
    fn method_not_allowed(&self) -> Response {
        let mut allowed = Vec::new();
        for row in &self.rows {
            allowed.push(row.route.method);
            if row.route.method == "GET" {
                allowed.push("HEAD");
            }
        }
        let mut response = ApiError::from(Code::MethodNotAllowed).into_response();
        if let Ok(allowed) = HeaderValue::try_from(allowed.join(",")) {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        response
    }
}

/// Whether a path is of a pattern: how general the pattern is, where its first segments count most, and what its names stand for.
/// A name at the end stands for something.
fn matched<'p>(pattern: &str, path: &'p str) -> Option<(u64, Vec<&'p str>)> {
    let (mut rank, mut weight, mut named, mut left) = (0, 1 << 60, Vec::new(), Some(path));
    for segment in pattern.split('/') {
        let rest = left?;
        let (first, others) = rest.split_once('/').map_or((rest, None), |(first, others)| (first, Some(others)));
        left = others;
        if segment.starts_with("{*") {
            named.push(rest);
            left = None;
            rank += 2 * weight;
        } else if segment.starts_with('{') {
            named.push(first);
            rank += weight;
        } else if segment != first {
            return None;
        }
        weight >>= 2;
    }
    let is_whole = left.is_none() && !(pattern.ends_with('}') && named.last()?.is_empty());
    is_whole.then_some((rank, named))
}

/// A segment, percent-decoded. What is no UTF-8 is the name of nothing.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().map(|text| text.into_owned()).unwrap_or_default()
}

/// Builds one component's router from its rows.
pub struct Routes {
    group: Group,
    places: Vec<Place>,
}

impl Routes {
    /// An empty router for the group.
    pub fn new(group: Group) -> Self {
        Self { group, places: Vec::new() }
    }

    /// Answers the row's requests with `handler`, behind the guard.
    #[must_use]
    pub fn on<H: Handler<T>, T>(mut self, route: &'static Route, handler: H) -> Self {
        self.mount(Mounted::new(route, handler, Mounted::guarded));
        self
    }

    /// The same for a public row, in a component that has no database. A row that is not public stays without a handler.
    #[must_use]
    pub fn on_open<H: Handler<T>, T>(mut self, route: &'static Route, handler: H) -> Self {
        if route.access == Access::Public {
            self.mount(Mounted::new(route, handler, Mounted::open));
        }
        self
    }

    fn mount(&mut self, row: Mounted) {
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

/// The tests that the table of routes gives each component, in the file of its `routes()` and `router()`.
#[macro_export]
macro_rules! tests_of_routes {
    ($group:ident) => {
        #[cfg(test)]
        mod tests {
            #[test]
            fn every_row_of_the_table_has_a_handler() {
                assert_eq!(super::routes().missing(), Vec::<&str>::new());
            }

            /// R33, for whatever rows the table has.
            #[tokio::test]
            async fn foreign_objects_are_absent_on_every_route() {
                $crate::testing::foreign_objects_are_absent($crate::route::Group::$group, super::router).await;
            }
        }
    };
}

/// The component's routes with those of other components, which its tests pass through too.
#[macro_export]
macro_rules! with_neighbours {
    ($($neighbour:ident),*) => {
        #[cfg(test)]
        fn with_neighbours() -> $crate::router::Router {
            $crate::router::Router::together([router(), $($neighbour::router()),*])
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn nothing() -> Result<Response, ApiError> {
        Ok(http::empty())
    }

    fn router(group: Group) -> Router {
        let mut routes = Routes::new(group);
        for row in ROUTES.iter().filter(|row| row.group == group) {
            routes.mount(Mounted::new(row, nothing, Mounted::guarded));
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

    /// A literal segment comes before a name; a name that is empty or no UTF-8 is the name of nothing.
    #[test]
    fn what_is_not_in_the_table_is_not_found() {
        let agents = Router::together([Group::Agents, Group::Archive, Group::Lifecycle].map(router));
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
}
