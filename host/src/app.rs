//! The application: a request's way to a component and back, as in Spin's HTTP trigger.
//!
//! 1. Headers that belong to the connection are removed.
//! 2. The host itself answers `/.well-known/spin/`: `health` and `info`.
//! 3. The component of the best route gets the request with an absolute URI and with `spin-*` headers from the host. These
//!    come after headers of the same name from the client: only the last value counts.
//! 4. If the component fails, the answer is an empty 500. If no instance of it can be made, by two attempts, the answer is 503.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, InvalidHeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use tokio::time::{sleep, timeout};
use wasmtime_wasi_http::handler::{ExpirationError, InstantiationError};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::body::full;
use crate::instances::Handler;
use crate::observe::Late;
use crate::outbound::{Inside, Target};
use crate::refusal::{NO_ROOM, NO_TARGET, OTHER_CODING, TOO_LATE, header, request_id};
use crate::route::{Router, whole};

/// How long a request waits before the second attempt to make an instance for it.
const ROOM: Duration = Duration::from_millis(50);
const WELL_KNOWN: &str = "/.well-known/spin/";
const PATH_INFO: HeaderName = HeaderName::from_static("spin-path-info");
const FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");
const MATCHED_ROUTE: HeaderName = HeaderName::from_static("spin-matched-route");
const BASE_PATH: HeaderName = HeaderName::from_static("spin-base-path");
const RAW_COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-raw-component-route");
const COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-component-route");
const CLIENT_ADDR: HeaderName = HeaderName::from_static("spin-client-addr");

/// The client's address of a request that a component or the host sends.
const INSIDE: HeaderValue = HeaderValue::from_static("0.0.0.0:0");

/// A complete application.
pub(crate) struct App {
    /// The answer of `/.well-known/spin/info`.
    pub(crate) info: String,
    /// Public routes.
    pub(crate) router: Router<Endpoint>,
    /// Every component that a trigger names, with a public or a private route.
    pub(crate) components: HashMap<String, Endpoint>,
    /// Where the host listens.
    pub(crate) address: SocketAddr,
}

/// A component behind a route.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// The component's id.
    pub(crate) id: Arc<str>,
    /// Answers its requests.
    handler: Handler,
    /// Headers that are the same for all requests on this route.
    headers: [(HeaderName, HeaderValue); 4],
}

impl Endpoint {
    /// The component behind the route with this pattern.
    pub(crate) fn new(id: Arc<str>, handler: Handler, pattern: &str) -> anyhow::Result<Self> {
        let prefix = pattern.strip_suffix("/...").unwrap_or(pattern);
        let headers = [
            (MATCHED_ROUTE, value(whole(pattern))?),
            (BASE_PATH, HeaderValue::from_static("/")),
            (RAW_COMPONENT_ROUTE, value(pattern.to_owned())?),
            (COMPONENT_ROUTE, value(prefix.to_owned())?),
        ];
        Ok(Self { id, handler, headers })
    }

    async fn respond(&self, request: Request<WasiBody>) -> Response<WasiBody> {
        let error = match self.handler.state().reuse.request_timeout {
            None => match self.answer(request).await {
                Ok(response) => return response,
                Err(error) => error,
            },
            Some(limit) => {
                let began = Instant::now();
                // The instance looks at the time too, but a request may still wait for one, or for another request that computes.
                match timeout(limit, self.answer(request)).await {
                    Ok(Ok(response)) => return response,
                    // One that was ended because of the time takes all requests with it that are still in it: none is in time.
                    Ok(Err(error)) if began.elapsed() < limit && !error.is::<ExpirationError>() => error,
                    _ => {
                        let id = request_id();
                        say!("accredit-host: {id} {} gave no response within the time-out", self.id);
                        let mut response = TOO_LATE.response(&id);
                        response.extensions_mut().insert(Late);
                        return response;
                    }
                }
            }
        };
        let id = request_id();
        say!("accredit-host: {id} {} gave no response: {error:#}", self.id);
        if error.is::<InstantiationError<()>>() {
            NO_ROOM.response(&id)
        } else {
            let mut response = empty(StatusCode::INTERNAL_SERVER_ERROR);
            response.headers_mut().extend(header(&id));
            response
        }
    }

    /// Hands the request to an instance. If none can be made, it tries once more.
    async fn answer(&self, request: Request<WasiBody>) -> wasmtime::Result<Response<WasiBody>> {
        let error = match self.handler.handle((), request).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let failed = error.downcast::<InstantiationError<()>>()?;
        say!("accredit-host: no instance of {}, one more attempt follows: {:#}", self.id, failed.error);
        // Nothing of the request has happened yet: when other instances have ended there may be room.
        sleep(ROOM).await;
        let request = failed.request.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.handler.handle((), request).await
    }
}

impl App {
    /// Answers a request from outside; `client` is the peer's address.
    pub(crate) async fn respond(&self, mut request: Request<WasiBody>, client: HeaderValue) -> Response<WasiBody> {
        if has_other_coding(request.headers()) {
            return OTHER_CODING.response(&request_id());
        }
        strip(request.headers_mut());
        let path = request.uri().path();
        if let Some(name) = path.strip_prefix(WELL_KNOWN) {
            return self.well_known(name);
        }
        let Some(found) = self.router.find(path) else { return empty(StatusCode::NOT_FOUND) };
        let known: Vec<_> = found.names().filter_map(|(name, text)| path_match(name, text)).collect();
        let (endpoint, rest) = (&found.route.target, value(found.rest()).ok());
        if prepare(&mut request, endpoint, rest, client).is_none() {
            return NO_TARGET.response(&request_id());
        }
        for (name, value) in known {
            request.headers_mut().append(name, value);
        }
        endpoint.respond(request).await
    }

    /// The pattern and the component of the route that a path from outside belongs to. `None`: the host answers it.
    pub(crate) fn place(&self, path: &str) -> Option<(String, Arc<str>)> {
        let found = if path.starts_with(WELL_KNOWN) { None } else { self.router.find(path) }?;
        Some((found.route.pattern.clone(), found.route.target.id.clone()))
    }

    /// Live instances by component.
    pub(crate) fn instances(&self) -> Vec<(String, u64)> {
        let count = |endpoint: &Endpoint| endpoint.handler.state().live.load(Ordering::Relaxed);
        let mut all: Vec<_> = self.components.iter().map(|(id, endpoint)| (id.clone(), count(endpoint))).collect();
        all.sort();
        all
    }

    /// Answers a request of one of the application's components to the application.
    pub(crate) async fn respond_to_self(&self, mut request: Request<WasiBody>) -> Response<WasiBody> {
        let address = self.address.to_string();
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        (parts.scheme, parts.authority) = (Some(Scheme::HTTP), address.parse().ok());
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        request.headers_mut().remove(HOST);
        self.respond(request, INSIDE).await
    }

    /// Answers a request of one component to another, whatever its routes are. `None`: there is no such component.
    async fn respond_to_component(&self, id: &str, mut request: Request<WasiBody>) -> Option<Response<WasiBody>> {
        let endpoint = self.components.get(id)?;
        request.headers_mut().remove(HOST);
        let path = value(request.uri().path().to_owned()).ok();
        prepare(&mut request, endpoint, path, INSIDE)?;
        Some(endpoint.respond(request).await)
    }

    /// Answers requests that components send to the application or to each other.
    pub(crate) fn inside(self: &Arc<Self>) -> Inside {
        // Weak, since the application owns its components, and they own this.
        let app = Arc::downgrade(self);
        Box::new(move |target, request| {
            let app = app.upgrade();
            Box::pin(async move {
                let app = app.ok_or(Error::DestinationUnavailable)?;
                match target {
                    Target::Application => Ok(app.respond_to_self(request).await),
                    Target::Component(id) => {
                        app.respond_to_component(&id, request).await.ok_or(Error::DestinationNotFound)
                    }
                }
            })
        })
    }

    fn well_known(&self, name: &str) -> Response<WasiBody> {
        match name {
            "health" => Response::new(full("OK")),
            "info" => {
                let mut response = Response::new(full(self.info.clone()));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            _ => empty(StatusCode::NOT_FOUND),
        }
    }
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Response<WasiBody> {
    let mut response = Response::new(full(""));
    *response.status_mut() = status;
    response
}

/// A header's value. It may hold letters beyond ASCII, as a path may.
fn value(text: String) -> Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from(text))
}

/// The header for a `:name` of a route. `None`: the name cannot be part of a header's name.
fn path_match(name: &str, text: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = format!("spin-path-match-{}", name.replace('_', "-").to_ascii_lowercase());
    Some((name.try_into().ok()?, value(text.to_owned()).ok()?))
}

/// Removes headers that belong to the connection, and a `Host` that only components may use.
fn strip(headers: &mut HeaderMap) {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    if name.strip_suffix(".spin.internal").is_some_and(|id| !id.contains('.')) {
        headers.remove(HOST);
    }
    headers.remove(CONNECTION);
}

/// Whether a body is coded in a way that nothing here decodes (RFC 9112, section 6.1): it would be read as if it were not.
fn has_other_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let first = codings.next();
    codings.next().is_some() || first.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// Makes the URI absolute and adds the host's headers. `None`: the request has no clear target.
fn prepare(
    request: &mut Request<WasiBody>,
    endpoint: &Endpoint,
    rest: Option<HeaderValue>,
    client: HeaderValue,
) -> Option<()> {
    let mut parts = request.uri().clone().into_parts();
    let mut hosts = request.headers().get_all(HOST).iter();
    // RFC 9112, section 3.2: a request with two of them is invalid.
    let host = hosts.next();
    if hosts.next().is_some() {
        return None;
    }
    let authority = match (host, parts.authority.take()) {
        (Some(host), named) => {
            let authority =
                Authority::try_from(host.as_bytes()).ok().filter(|authority| !authority.as_str().contains('@'))?;
            named.is_none_or(|named| named == authority).then_some(authority)?
        }
        (None, Some(named)) => named,
        // HTTP/1.0 knows no such header, and simple health checks speak it.
        (None, None) if request.version() == Version::HTTP_10 => Authority::from_static("localhost"),
        (None, None) => return None,
    };
    let path = parts.path_and_query.as_ref()?.as_str();
    let host = if host.is_some() { authority.as_str() } else { "localhost" };
    let mut url = String::with_capacity("http://".len() + host.len() + path.len());
    write!(url, "http://{host}{path}").ok()?;
    let url = value(url).ok()?;
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    *request.uri_mut() = Uri::from_parts(parts).ok()?;

    let headers = request.headers_mut();
    headers.reserve(8);
    headers.append(PATH_INFO, rest?);
    headers.append(FULL_URL, url);
    for (name, value) in &endpoint.headers {
        headers.append(name, value.clone());
    }
    headers.append(CLIENT_ADDR, client);
    Some(())
}
