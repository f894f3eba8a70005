//! Requests that components send.
//!
//! 1. The manifest must allow scheme, host and port; otherwise the request fails with `HTTP-request-denied`.
//! 2. A request to the application itself, or to one of its components (`http://<id>.spin.internal`), stays inside.
//! 3. Any other name is resolved here. The filter drops private addresses, and the connection goes to one of the addresses
//!    that are left, without a second look-up. Redirects are left to the component; each hop goes through all of this again.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::address::Filter;
use crate::allowed::AllowedHosts;
use crate::body::{Pace, Timed};

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
    /// What all components share.
    pub(crate) shared: Arc<Shared>,
}

/// What the outbound requests of all components share.
pub(crate) struct Shared {
    /// The addresses that may be connected to.
    pub(crate) filter: Filter,
    /// The TLS settings for hosts that the runtime configuration does not name.
    pub(crate) tls: Arc<ClientConfig>,
    /// The application itself, set when it is complete.
    pub(crate) inside: OnceLock<Inside>,
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

impl Outbound {
    async fn send(&self, request: Request<WasiBody>, options: RequestOptions) -> Result<Response<WasiBody>, Error> {
        let uri = request.uri();
        let scheme = if uri.scheme() == Some(&Scheme::HTTP) { "http" } else { "https" };
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
        let is_to_self = host.is_empty() || host == "self.alt";
        let is_allowed = if is_to_self { self.allowed.allow_self() } else { self.allowed.allow(scheme, &host, port) };
        if !is_allowed {
            eprintln!(
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
        let tls = (scheme == "https").then(|| self.tls.get(&host).unwrap_or(&self.shared.tls).clone());
        let connect_timeout = options.connect_timeout.unwrap_or(CONNECT);
        let connect = connect(&self.shared.filter, &host, port, tls);
        let stream =
            timeout(connect_timeout, connect).await.map_err(|_| Error::ConnectionTimeout)?.inspect_err(|error| {
                eprintln!("accredit-host: {} could not call {scheme}://{host}:{port}: {error}", self.component);
            })?;
        exchange(stream, request, &options).await
    }

    async fn reply_inside(&self, target: Target, request: Request<WasiBody>) -> Result<Response<WasiBody>, Error> {
        let inside = self.shared.inside.get().ok_or(Error::DestinationUnavailable)?;
        inside(target, request).await
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(
    filter: &Filter,
    host: &str,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Box<dyn Stream>, Error> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let unknown = |_| Error::DnsError { rcode: Some("address not available".to_owned()), info_code: Some(0) };
    let addresses = filter.keep(host, port, tokio::net::lookup_host((bare, port)).await.map_err(unknown)?);
    if addresses.is_empty() {
        return Err(Error::DestinationIpProhibited);
    }
    let stream = TcpStream::connect(addresses.as_slice()).await.map_err(Error::Connect)?;
    stream.set_nodelay(true).map_err(Error::Connect)?;
    match tls {
        None => Ok(Box::new(stream)),
        Some(config) => {
            let name = ServerName::try_from(bare.to_owned())?;
            Ok(Box::new(TlsConnector::from(config).connect(name, stream).await.map_err(Error::Tls)?))
        }
    }
}

/// Sends one request over a new connection, which is open as long as the response's body is read.
async fn exchange(
    stream: Box<dyn Stream>,
    mut request: Request<WasiBody>,
    options: &RequestOptions,
) -> Result<Response<WasiBody>, Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = Running(tokio::spawn(async move {
        // The response fails with the connection's error.
        drop(connection.await);
    }));
    let authority =
        request.uri().authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default().to_owned());
    let host =
        authority.and_then(|authority| HeaderValue::try_from(authority).ok()).ok_or(Error::HttpRequestUriInvalid)?;
    request.headers_mut().insert(HOST, host);
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    let first_byte = options.first_byte_timeout.unwrap_or(FIRST_BYTE);
    let response =
        timeout(first_byte, sender.send_request(request)).await.map_err(|_| Error::ConnectionReadTimeout)??;
    let between_bytes = options.between_bytes_timeout.unwrap_or(BETWEEN_BYTES);
    Ok(response.map(|body| Timed::new(body, Pace::steady(between_bytes), connection).boxed_unsync()))
}

/// A connection's task, which is aborted when it is no longer needed.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}
