//! Bodies of requests and responses.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::time::Sleep;
use wasmtime_wasi_http::{Error, WasiBody};

use crate::deadline;

/// A body that fails when its sender pauses for too long. `K` is kept until the body is dropped.
pub(crate) struct Timed<K> {
    body: Incoming,
    timeout: Duration,
    /// When the reader began to wait for the sender; `None` while no reader waits.
    waiting: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    _kept: K,
}

impl<K> Timed<K> {
    /// Limits the time between two pieces of `body`.
    pub(crate) fn new(body: Incoming, timeout: Duration, kept: K) -> Self {
        Self { body, timeout, waiting: None, sleep: None, _kept: kept }
    }
}

impl<K: Unpin> Body for Timed<K> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        let deadline = *self.waiting.get_or_insert_with(Instant::now) + self.timeout;
        deadline::poll(&mut self.sleep, cx, deadline).map(|()| Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that is complete from the start.
pub(crate) fn full(text: impl Into<Bytes>) -> WasiBody {
    Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}
