//! Requests that components send.
//!
//! 1. The manifest must allow scheme, host and port; otherwise the request fails with `HTTP-request-denied`.
//! 2. A request to the application itself, or to one of its components (`http://<id>.spin.internal`), stays inside.
//! 3. Any other name is resolved here. The filter drops private addresses, and the connection goes to one of the addresses
//!    that are left, without a second look-up. A connection that was [`kept`](crate::kept) to one of them serves as well. Redirects are
//!    left to the component; each hop goes through all of this again.

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::address::Filter;
use crate::allowed::AllowedHosts;
use crate::body::{Pace, Timed, full};
use crate::kept::{Connected, Kept, Place, Running};

const CONNECT: Duration = Duration::from_secs(10);
const FIRST_BYTE: Duration = Duration::from_secs(30);
const BETWEEN_BYTES: Duration = Duration::from_secs(30);

/// Outbound requests of one component.
pub(crate) struct Outbound {
    /// The component's id.
    pub(crate) component: Arc<str>,
    /// The hosts that it may call.
    pub(crate) allowed: AllowedHosts,
    /// Its TLS settings for some hosts.
    pub(crate) tls: HashMap<String, Arc<ClientConfig>>,
    /// Its connections that wait for another request.
    pub(crate) kept: Arc<Kept>,
    /// What all components share.
    pub(crate) shared: Arc<Shared>,
}

/// What the outbound requests of all components share.
pub(crate) struct Shared {
    /// The addresses that may be connected to.
    pub(crate) filter: Filter,
    /// The TLS settings for hosts that the runtime configuration does not name.
    pub(crate) tls: Arc<ClientConfig>,
    /// Finds the addresses of a host.
    pub(crate) look_up: LookUp,
    /// The application itself, set when it is complete.
    pub(crate) inside: OnceLock<Inside>,
}

/// Asks for the addresses of a host and port, once. It is a value so that tests can answer otherwise each time.
pub(crate) type LookUp = Box<dyn Fn(&str, u16) -> Found + Send + Sync>;
/// The future of a [`LookUp`].
pub(crate) type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// The system's resolver.
pub(crate) fn system_resolver() -> LookUp {
    Box::new(|host, port| {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    })
}

/// Answers requests that stay inside. It is a function because this module does not know the application, which is made of
/// components that call this module.
pub(crate) type Inside = Box<dyn Fn(Target, Request<WasiBody>) -> Reply + Send + Sync>;
/// The future of an [`Inside`].
pub(crate) type Reply = Pin<Box<dyn Future<Output = Result<Response<WasiBody>, Error>> + Send>>;

/// The receiver of a request that stays inside.
pub(crate) enum Target {
    /// The application: its routes decide.
    Application,
    /// The component with this id, whatever its routes are.
    Component(String),
}

/// What `wasi:http` calls for one instance.
pub(crate) struct Hooks(pub(crate) Arc<Outbound>);

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(Response<WasiBody>, Io), Error>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let outbound = self.0.clone();
        Box::new(async move {
            let response = outbound.send(request, options.unwrap_or_default()).await?;
            // Errors of the connection come through the response's body.
            Ok((response, Box::new(std::future::ready(Ok(()))) as Io))
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Outbound {
    async fn send(&self, request: Request<WasiBody>, options: RequestOptions) -> Result<Response<WasiBody>, Error> {
        let uri = request.uri();
        let scheme = if uri.scheme() == Some(&Scheme::HTTP) { "http" } else { "https" };
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
        let is_to_self = host.is_empty() || host == "self.alt";
        let is_allowed = if is_to_self { self.allowed.allow_self() } else { self.allowed.allow(scheme, &host, port) };
        if !is_allowed {
            say!(
                "accredit-host: {} may not call {scheme}://{host}:{port}: it is not in its allowed_outbound_hosts",
                self.component
            );
            return Err(Error::HttpRequestDenied);
        }
        if is_to_self {
            return self.reply_inside(Target::Application, request).await;
        }
        if let Some(id) = host.strip_suffix(".spin.internal").filter(|id| !id.contains('.')) {
            return self.reply_inside(Target::Component(id.to_owned()), request).await;
        }
        let place = Place { is_tls: scheme == "https", host, port };
        self.call(&place, in_origin_form(request)?, &options).await
    }

    /// Sends a request that leaves. If its connection was a kept one that the server has closed, it goes out once more.
    async fn call(
        &self,
        place: &Place,
        mut request: Request<WasiBody>,
        options: &RequestOptions,
    ) -> Result<Response<WasiBody>, Error> {
        let connect_timeout = options.connect_timeout.unwrap_or(CONNECT);
        let mut connect_by = Instant::now() + connect_timeout;
        let report = |error: &Error| {
            let Place { is_tls, host, port } = place;
            let scheme = if *is_tls { "https" } else { "http" };
            say!("accredit-host: {} could not call {scheme}://{host}:{port}: {error}", self.component);
        };
        let resolve = resolve(&self.shared, place);
        let addresses =
            timeout_at(connect_by, resolve).await.map_err(|_| Error::ConnectionTimeout)?.inspect_err(report)?;
        if let Some(kept) = self.kept.take(place, &addresses) {
            // hyper gives back a request of which nothing was sent. One that is safe and has no body may be sent twice.
            let copy = (request.method().is_safe() && request.body().is_end_stream()).then(|| copy(&request));
            match self.exchange(kept, request, options).await {
                Ok(response) => return Ok(response),
                Err(Failed { error, unsent, is_closed }) => {
                    request = unsent.or(copy.filter(|_| is_closed)).ok_or(error)?;
                }
            }
            connect_by = Instant::now() + connect_timeout;
        }
        let connect = self.connect(place, &addresses, connect_by);
        let connected =
            timeout_at(connect_by, connect).await.map_err(|_| Error::ConnectionTimeout)?.inspect_err(report)?;
        self.exchange(connected, request, options).await.map_err(|failed| failed.error)
    }

    async fn connect(&self, place: &Place, addresses: &[SocketAddr], by: Instant) -> Result<Connected, Error> {
        let stream = reach(addresses, by).await.map_err(Error::Connect)?;
        stream.set_nodelay(true).map_err(Error::Connect)?;
        let address = stream.peer_addr().map_err(Error::Connect)?;
        let stream = stream.into_std().map_err(Error::Connect)?;
        let socket = stream.try_clone().map_err(Error::Connect)?;
        let stream = TcpStream::from_std(stream).map_err(Error::Connect)?;
        let stream: Box<dyn Stream> = if place.is_tls {
            let config = self.tls.get(&place.host).unwrap_or(&self.shared.tls).clone();
            let name = ServerName::try_from(bare(&place.host).to_owned())?;
            Box::new(TlsConnector::from(config).connect(name, stream).await.map_err(Error::Tls)?)
        } else {
            Box::new(stream)
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let running = Running(tokio::spawn(async move {
            // The response fails with the connection's error.
            drop(connection.await);
        }));
        Ok(Connected { sender, place: place.clone(), address, socket, _running: running })
    }

    /// Sends one request over a connection, which is kept when the response's body has been read to its end, and closed when it has not.
    async fn exchange(
        &self,
        mut connected: Connected,
        request: Request<WasiBody>,
        options: &RequestOptions,
    ) -> Result<Response<WasiBody>, Failed> {
        let first_byte = options.first_byte_timeout.unwrap_or(FIRST_BYTE);
        let answer = timeout(first_byte, connected.sender.try_send_request(request)).await;
        let response = answer.map_err(|_| Failed::from(Error::ConnectionReadTimeout))??;
        if response.body().is_end_stream() {
            self.kept.clone().give_back(connected);
            return Ok(response.map(|body| body.map_err(Error::from).boxed_unsync()));
        }
        let pace = Pace::steady(options.between_bytes_timeout.unwrap_or(BETWEEN_BYTES));
        let lease = Lease { kept: self.kept.clone(), connected };
        Ok(response.map(|body| Timed::new(body, pace, lease).at_end(Lease::give_back).boxed_unsync()))
    }

    async fn reply_inside(&self, target: Target, request: Request<WasiBody>) -> Result<Response<WasiBody>, Error> {
        let inside = self.shared.inside.get().ok_or(Error::DestinationUnavailable)?;
        inside(target, request).await
    }
}

/// The addresses of a place that a component may be connected to now.
async fn resolve(shared: &Shared, place: &Place) -> Result<Vec<SocketAddr>, Error> {
    let unknown = |_| Error::DnsError { rcode: Some("address not available".to_owned()), info_code: Some(0) };
    let found = (shared.look_up)(bare(&place.host), place.port).await.map_err(unknown)?;
    let addresses = shared.filter.keep(&place.host, place.port, found.into_iter());
    if addresses.is_empty() { Err(Error::DestinationIpProhibited) } else { Ok(addresses) }
}

/// Connects to the first address that answers. Each has its share of the time that is left: one from which nothing ever comes, such as
/// that of IPv6 where its packets are lost, leaves time for the next.
async fn reach(addresses: &[SocketAddr], by: Instant) -> io::Result<TcpStream> {
    let (last, others) = addresses.split_last().ok_or(io::ErrorKind::AddrNotAvailable)?;
    for (number, address) in others.iter().enumerate() {
        let left = u32::try_from(addresses.len() - number).unwrap_or(u32::MAX);
        let share = by.saturating_duration_since(Instant::now()) / left;
        if let Ok(Ok(stream)) = timeout(share, TcpStream::connect(address)).await {
            return Ok(stream);
        }
    }
    TcpStream::connect(last).await
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// A request as it is sent to a server: its authority in `Host`, and the path alone.
fn in_origin_form(mut request: Request<WasiBody>) -> Result<Request<WasiBody>, Error> {
    let authority =
        request.uri().authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default().to_owned());
    let host =
        authority.and_then(|authority| HeaderValue::try_from(authority).ok()).ok_or(Error::HttpRequestUriInvalid)?;
    request.headers_mut().insert(HOST, host);
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    Ok(request)
}

/// A request without a body, once more.
fn copy(request: &Request<WasiBody>) -> Request<WasiBody> {
    let mut copy = Request::new(full(""));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Why a request has no response.
struct Failed {
    error: Error,
    /// The request, if nothing of it was sent.
    unsent: Option<Request<WasiBody>>,
    /// Whether the server closed the connection instead of answering.
    is_closed: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, unsent: None, is_closed: false }
    }
}

impl From<TrySendError<Request<WasiBody>>> for Failed {
    fn from(mut error: TrySendError<Request<WasiBody>>) -> Self {
        let unsent = error.take_message();
        let error = error.into_error();
        let is_reset = || error.source().is_some_and(|cause| cause.is::<std::io::Error>());
        let is_closed = error.is_incomplete_message() || is_reset();
        Self { error: error.into(), unsent, is_closed }
    }
}

/// A connection whose response is being read.
struct Lease {
    kept: Arc<Kept>,
    connected: Connected,
}

impl Lease {
    fn give_back(self) {
        self.kept.give_back(self.connected);
    }
}

#[cfg(test)]
mod tests;
