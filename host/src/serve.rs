//! Connections, their limits, and how the host stops.
//!
//! Spin leaves all of this to a proxy before it. This host must be safe without one.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, Sleep, interval, sleep, timeout};
use wasmtime_wasi_http::{Error, WasiBody};

use crate::app::App;
use crate::body::{Timed, full};
use crate::deadline;

/// From the first byte of a request to its last header, and from the start of a connection.
const HEAD: Duration = Duration::from_secs(10);
/// Between two requests on a connection.
const IDLE: Duration = Duration::from_secs(60);
/// Between two pieces of a request's body, while the component reads.
const BODY: Duration = Duration::from_secs(30);
/// How long a client may read nothing of a response.
const WRITE: Duration = Duration::from_secs(30);
/// How long running requests may go on when the host stops.
const STOP: Duration = Duration::from_secs(30);
/// Refusals at a time; further connections are closed without an answer.
const REFUSALS: usize = 64;
const TICK: &str = "/internal/tick";

const REFUSED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
    connection: close\r\ncontent-length: 169\r\n\r\n\
    {\"error\":\"too_many_connections\",\"detail\":\"This host has as many open connections as it may.\",\"fix\":\"Wait for the seconds in the header Retry-After, then connect again.\"}";

/// Serves the application until `stop` changes, then waits for running requests.
pub(crate) async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    most: usize,
    mut stop: watch::Receiver<bool>,
) -> Result<()> {
    let connections = Arc::new(Semaphore::new(most));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // No file descriptor is free, or the client went away: neither is a reason to stop.
            Err(error) => {
                eprintln!("accredit-host: cannot accept a connection: {error}");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Ok(permit) = connections.clone().try_acquire_owned() {
            tokio::spawn(connection(app.clone(), stream, peer, stop.clone(), permit));
        } else if let Ok(permit) = refusals.clone().try_acquire_owned() {
            tokio::spawn(refuse(stream, permit));
        }
    }
    drop(listener);
    let all = u32::try_from(most).context("too many connections")?;
    if timeout(STOP, connections.acquire_many(all)).await.is_err() {
        eprintln!("accredit-host: stopped with requests still running after {} s", STOP.as_secs());
    }
    Ok(())
}

async fn connection(
    app: Arc<App>,
    stream: TcpStream,
    peer: SocketAddr,
    mut stop: watch::Receiver<bool>,
    permit: OwnedSemaphorePermit,
) {
    // Otherwise answers would wait for acknowledgements. A socket that refuses this fails soon anyway.
    drop(stream.set_nodelay(true));
    let Ok(client) = HeaderValue::try_from(peer.to_string()) else { return };
    let phase = Arc::new(Phase::new());
    let io = TokioIo::new(Guarded::new(stream, phase.clone()));
    let service = service_fn(move |request: Request<Incoming>| {
        let busy = Busy::new(phase.clone());
        let (app, client) = (app.clone(), client.clone());
        async move {
            let request = request.map(|body| match body.is_end_stream() {
                true => full(Bytes::new()),
                false => Timed::new(body, BODY, ()).boxed_unsync(),
            });
            let response = app.respond(request, client).await;
            Ok::<_, Error>(response.map(|body| Answer { body, _busy: busy }))
        }
    });
    let mut connection = pin!(http1::Builder::new().serve_connection(io, service));
    // Aborts by the client, time-outs and broken requests end a connection. They are not logged.
    tokio::select! {
        ended = connection.as_mut() => drop(ended),
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
    drop(permit);
}

/// Sends the reason, and reads what the client still sends, so that the client can read the answer.
async fn refuse(mut stream: TcpStream, _permit: OwnedSemaphorePermit) {
    let answer = async {
        stream.write_all(REFUSED).await?;
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
            eprintln!("accredit-host: the tick was answered {}", response.status());
        }
        // Otherwise it might still run when the next one is sent.
        drop(response.into_body().collect().await);
    }
}

/// What a connection is doing, shared by its socket and its requests.
struct Phase {
    began: Instant,
    /// Requests so far.
    requests: AtomicU32,
    /// A request is being answered.
    is_busy: AtomicBool,
    /// When the last answer was complete, in milliseconds since `began`.
    answered: AtomicU64,
}

impl Phase {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            requests: AtomicU32::new(0),
            is_busy: AtomicBool::new(false),
            answered: AtomicU64::new(0),
        }
    }

    fn idle_since(&self) -> Instant {
        self.began + Duration::from_millis(self.answered.load(Ordering::Relaxed))
    }
}

/// Marks a connection as busy, from a request's head to the end of its answer.
struct Busy(Arc<Phase>);

impl Busy {
    fn new(phase: Arc<Phase>) -> Self {
        phase.requests.fetch_add(1, Ordering::Relaxed);
        phase.is_busy.store(true, Ordering::Relaxed);
        Self(phase)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let answered = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.answered.store(answered, Ordering::Relaxed);
        self.0.is_busy.store(false, Ordering::Relaxed);
    }
}

/// A response's body. The connection is busy until it is dropped.
struct Answer {
    body: WasiBody,
    _busy: Busy,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
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
    phase: Arc<Phase>,
    /// The number of requests when `since` was set.
    seen: u32,
    /// When it began to wait for a head, and how long it may wait. `None`: it waits for the next request.
    since: Option<(Instant, Duration)>,
    reading: Option<Pin<Box<Sleep>>>,
    /// When the client stopped reading.
    stuck: Option<Instant>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    fn new(stream: TcpStream, phase: Arc<Phase>) -> Self {
        Self { stream, phase, seen: 0, since: Some((Instant::now(), HEAD)), reading: None, stuck: None, writing: None }
    }

    fn poll_slow_reader(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Error> {
        let since = *self.stuck.get_or_insert_with(Instant::now);
        deadline::poll(&mut self.writing, cx, since + WRITE).map(|()| too_slow())
    }

    /// Clears `since` if the head that it belongs to is complete. Returns whether a request is being answered.
    fn follow(&mut self) -> bool {
        let requests = self.phase.requests.load(Ordering::Relaxed);
        if requests != self.seen {
            (self.seen, self.since) = (requests, None);
        }
        self.phase.is_busy.load(Ordering::Relaxed)
    }
}

fn too_slow() -> std::io::Error {
    std::io::ErrorKind::TimedOut.into()
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let is_busy = self.follow();
        if polled.is_ready() {
            // These are the first bytes of a head.
            if !is_busy && buffer.filled().len() > before && !matches!(self.since, Some((_, HEAD))) {
                self.since = Some((Instant::now(), HEAD));
            }
            return polled;
        }
        if is_busy {
            // This does not fail, but looks again later: hyper does not poll again when the answer is complete.
            ready!(deadline::poll(&mut self.reading, cx, Instant::now() + IDLE));
            return Poll::Pending;
        }
        let (since, limit) = self.since.unwrap_or((self.phase.idle_since(), IDLE));
        deadline::poll(&mut self.reading, cx, since + limit).map(|()| Err(too_slow()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Pending => Poll::Ready(Err(ready!(self.poll_slow_reader(cx)))),
            done => {
                self.stuck = None;
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
                self.stuck = None;
                done
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_has_the_right_content_length() {
        let text = std::str::from_utf8(REFUSED).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
