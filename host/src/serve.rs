//! Connections, their limits, and how the host stops.
//!
//! Spin leaves all of this to a proxy before it. This host must be safe without one.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{MissedTickBehavior, Sleep, interval, sleep, timeout};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::app::App;
use crate::backlog;
use crate::body::{Pace, Timed, full};
use crate::connections::{Admitted, Answering, Connections, Visit};
use crate::deadline;
use crate::metrics::{Gauges, Wait};
use crate::observe::{Observer, Seen};
use crate::refusal::{STOPPING, TOO_MANY_CONNECTIONS, request_id};

/// From the first byte of a request to its last header, and from the start of a connection.
const HEAD: Duration = Duration::from_secs(10);
/// Between two requests on a connection. Longer than proxies keep one that nobody uses (nginx and load balancers 60 s, Traefik 90 s, Caddy
/// 120 s): one that both give up at the same time is a request of somebody that fails.
const IDLE: Duration = Duration::from_secs(130);
// R523.
const _: () = assert!(IDLE.as_secs() > 120);
/// How long a client may read nothing of a response.
const WRITE: Duration = Duration::from_secs(30);
/// After this time the answer to a reading request is one that is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long running requests may go on when the host stops.
const STOP: Duration = Duration::from_secs(30);
/// Refusals at a time; further connections are closed without an answer.
const REFUSALS: usize = 64;
/// Collectors of counters at a time; further ones are closed.
const COLLECTORS: usize = 16;
/// The most bytes that are kept of a head, which its last piece may exceed, and of an answer that its client has not read yet: many clients
/// may download at once.
const BUFFER: usize = 64 * 1024;
const TICK: &str = "/internal/tick";

/// Serves the application until `stop` changes, then waits for running requests.
pub(crate) async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    connections: Arc<Connections>,
    pace: Pace,
    mut stop: watch::Receiver<bool>,
    observer: Option<Arc<Observer>>,
) -> Result<()> {
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    // Each connection has a sender: when all of them are gone, so are the connections.
    let (running, mut ended) = mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // No file descriptor is free, or the client went away: neither is a reason to stop.
            Err(error) => {
                say!("accredit-host: cannot accept a connection: {error}");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Some(admitted) = connections.admit(peer.ip()) {
            let (app, stop, running, observer) = (app.clone(), stop.clone(), running.clone(), observer.clone());
            tokio::spawn(async move {
                connection(app, stream, peer, pace, stop, admitted, observer).await;
                drop(running);
            });
        } else {
            if let Some(observer) = &observer {
                observer.metrics.refused_connections.fetch_add(1, Ordering::Relaxed);
            }
            if let Ok(permit) = refusals.clone().try_acquire_owned() {
                tokio::spawn(refuse(stream, permit));
            }
        }
    }
    drop((listener, running));
    if timeout(STOP, ended.recv()).await.is_err() {
        say!("accredit-host: stopped with requests still running after {} s", STOP.as_secs());
    }
    Ok(())
}

async fn connection(
    app: Arc<App>,
    stream: TcpStream,
    peer: SocketAddr,
    pace: Pace,
    mut stop: watch::Receiver<bool>,
    admitted: Admitted,
    observer: Option<Arc<Observer>>,
) {
    // Otherwise answers would wait for acknowledgements. A socket that refuses this fails soon anyway.
    drop(stream.set_nodelay(true));
    let Ok(client) = HeaderValue::try_from(peer.to_string()) else { return };
    let visit = admitted.visit.clone();
    let io = TokioIo::new(Guarded::new(stream, visit.clone(), observer.clone()));
    let stopping = stop.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let is_whole = request.body().is_end_stream();
        let answering = Answering::new(visit.clone(), is_whole);
        let (app, client, stopping) = (app.clone(), client.clone(), stopping.clone());
        let seen = observer.as_ref().map(|observer| observer.begin(&request, app.place(request.uri().path())));
        async move {
            let mut seen = seen;
            let request = request.map(|body| match is_whole {
                true => full(Bytes::new()),
                false => Timed::new(body, pace, answering.receiving()).boxed_unsync(),
            });
            let reads = matches!(*request.method(), Method::GET | Method::HEAD);
            let responding = app.respond(request, client);
            let mut response = match reads {
                true => patient(responding, &answering, stopping.clone()).await,
                false => responding.await,
            };
            if response.status() == StatusCode::REQUEST_TIMEOUT {
                // The rest of the body is not read.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if let Some(seen) = &mut seen {
                seen.answered(&response);
            }
            let ends = is_event_stream(&response).then(|| ending(stopping));
            if ends.is_some() {
                answering.take_long();
            }
            Ok::<_, Error>(response.map(|body| Answer { body, ends, _answering: answering, seen }))
        }
    });
    // A client that has sent its request may close its half of the connection, and still gets the answer, unless that takes long.
    let mut connection =
        pin!(http1::Builder::new().half_close(true).max_buf_size(BUFFER).serve_connection(io, service));
    // Aborts by the client, time-outs and broken requests end a connection. They are not logged.
    tokio::select! {
        ended = connection.as_mut() => drop(ended),
        () = admitted.visit.ended() => {}
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}

/// The answer to a request that changes nothing. One that is waited for is only for a client that is still there, and only while the host
/// serves: a wait of the application would hold the stop up, and the client finds the next host at once.
async fn patient(
    responding: impl Future<Output = Response<WasiBody>>,
    answering: &Answering,
    mut stop: watch::Receiver<bool>,
) -> Response<WasiBody> {
    let mut responding = pin!(responding);
    if let Ok(response) = timeout(PATIENCE, responding.as_mut()).await {
        return response;
    }
    answering.take_long();
    tokio::select! {
        response = responding => response,
        _ = stop.wait_for(|is_stopping| *is_stopping) => STOPPING.response(&request_id()),
    }
}

/// Sends the reason, and reads what the client still sends, so that the client can read the answer.
async fn refuse(mut stream: TcpStream, _permit: OwnedSemaphorePermit) {
    let answer = async {
        stream.write_all(TOO_MANY_CONNECTIONS.message().as_bytes()).await?;
        stream.shutdown().await?;
        let mut unread = [0; 4096];
        while stream.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    };
    drop(timeout(Duration::from_secs(1), answer).await);
}

/// Sends `POST /internal/tick` once a second, one at a time, if the application has a route for it.
pub(crate) async fn tick(app: Arc<App>) {
    let has_route = app.router.find(TICK).is_some_and(|found| !matches!(found.route.pattern.as_str(), "/..." | "/*"));
    if !has_route {
        return;
    }
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        let mut request = Request::new(full(""));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(TICK);
        let response = app.respond_to_self(request).await;
        if !response.status().is_success() {
            say!("accredit-host: the tick was answered {}", response.status());
        }
        // Otherwise it might still run when the next one is sent.
        drop(response.into_body().collect().await);
    }
}

/// Answers `GET /metrics` with the counters, on a listener of its own: no client of the application reaches it.
pub(crate) async fn metrics(
    listener: TcpListener,
    app: Arc<App>,
    connections: Arc<Connections>,
    observer: Arc<Observer>,
    database: Option<PathBuf>,
) {
    let room = Arc::new(Semaphore::new(COLLECTORS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                say!("accredit-host: cannot accept a connection for metrics: {error}");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else { continue };
        let seen = (app.clone(), connections.clone(), observer.clone(), database.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (app, connections, observer, database) = seen.clone();
                async move {
                    if request.uri().path() != "/metrics" || ![Method::GET, Method::HEAD].contains(request.method()) {
                        let mut response = Response::new(Full::<Bytes>::from("GET /metrics\n"));
                        *response.status_mut() = StatusCode::NOT_FOUND;
                        return Ok::<_, Infallible>(response);
                    }
                    let asked = tokio::task::spawn_blocking(move || backlog::of(database.as_deref()));
                    let (open, most) = connections.count();
                    let gauges = Gauges {
                        connections: open,
                        most_connections: most,
                        instances: app.instances(),
                        backlog: asked.await.unwrap_or_default(),
                    };
                    let mut response = Response::new(Full::<Bytes>::from(observer.metrics.text(&gauges)));
                    let form = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                    response.headers_mut().insert(CONTENT_TYPE, form);
                    Ok(response)
                }
            });
            let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
            drop(timeout(HEAD, connection).await);
            drop(permit);
        });
    }
}

/// Whether a response is a stream of events (HTML Standard, section 9.2), which would go on for as long as its reader stays.
fn is_event_stream(response: &Response<WasiBody>) -> bool {
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("text/event-stream"))
}

type Ending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Is over when the host stops.
fn ending(mut stop: watch::Receiver<bool>) -> Ending {
    Box::pin(async move { drop(stop.wait_for(|is_stopping| *is_stopping).await) })
}

/// A response's body. The request is being answered until it is dropped.
struct Answer {
    body: WasiBody,
    /// Of a stream of events: when this is over, so is the stream. Its reader comes again, to the next host.
    ends: Option<Ending>,
    _answering: Answering,
    seen: Option<Seen>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.ends.as_mut().is_some_and(|ends| ends.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Some(seen), Poll::Ready(Some(Ok(frame)))) = (&mut self.seen, &polled) {
            seen.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that fails if its client is too slow.
struct Guarded {
    stream: TcpStream,
    visit: Arc<Visit>,
    /// The number of requests when `since` was set.
    seen: u32,
    /// When it began to wait for a head, and how long it may wait. `None`: it waits for the next request.
    since: Option<(Instant, Duration)>,
    reading: Option<Pin<Box<Sleep>>>,
    /// When the client stopped reading.
    stuck: Option<Instant>,
    writing: Option<Pin<Box<Sleep>>>,
    observer: Option<Arc<Observer>>,
}

impl Guarded {
    fn new(stream: TcpStream, visit: Arc<Visit>, observer: Option<Arc<Observer>>) -> Self {
        let since = Some((Instant::now(), HEAD));
        Self { stream, visit, seen: 0, since, reading: None, stuck: None, writing: None, observer }
    }

    /// Counts a client that is too slow; the connection fails with this.
    fn too_slow(&self, wait: Wait) -> std::io::Error {
        if let Some(observer) = &self.observer {
            observer.metrics.timed_out(wait);
        }
        std::io::ErrorKind::TimedOut.into()
    }

    fn poll_slow_reader(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Error> {
        let visit = &self.visit;
        let since = *self.stuck.get_or_insert_with(|| {
            visit.wait();
            Instant::now()
        });
        deadline::poll(&mut self.writing, cx, since + WRITE).map(|()| self.too_slow(Wait::Write))
    }

    /// The client reads again.
    fn unstick(&mut self) {
        if self.stuck.take().is_some() && self.visit.is_answering() {
            self.visit.work();
        }
    }

    /// Clears `since` if the head that it belongs to is complete. Returns whether a request is being answered.
    fn follow(&mut self) -> bool {
        let requests = self.visit.requests();
        if requests != self.seen {
            (self.seen, self.since) = (requests, None);
        }
        self.visit.is_answering()
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let is_answering = self.follow();
        if polled.is_ready() {
            // These are the first bytes of a head.
            if !is_answering && buffer.filled().len() > before && !matches!(self.since, Some((_, HEAD))) {
                self.since = Some((Instant::now(), HEAD));
            }
            return polled;
        }
        if is_answering {
            // This does not fail, but looks again later: hyper does not poll again when the answer is complete.
            ready!(deadline::poll(&mut self.reading, cx, Instant::now() + IDLE));
            return Poll::Pending;
        }
        let (since, limit) = self.since.unwrap_or((self.visit.idle_since(), IDLE));
        // A connection that waits for its next request is closed in time, and is no fault.
        let is_fault = self.since.is_some();
        deadline::poll(&mut self.reading, cx, since + limit)
            .map(|()| Err(if is_fault { self.too_slow(Wait::Head) } else { std::io::ErrorKind::TimedOut.into() }))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Pending => Poll::Ready(Err(ready!(self.poll_slow_reader(cx)))),
            done => {
                self.unstick();
                done
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(cx, bytes) {
            Poll::Pending => Poll::Ready(Err(ready!(self.poll_slow_reader(cx)))),
            done => {
                self.unstick();
                done
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        // hyper comes here whenever it is woken, and reads nothing meanwhile.
        if self.visit.is_long() {
            let mut byte = [0];
            match self.stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(std::io::ErrorKind::ConnectionAborted.into())),
                Poll::Ready(Err(gone)) => return Poll::Ready(Err(gone)),
                Poll::Ready(Ok(_)) | Poll::Pending => {}
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
