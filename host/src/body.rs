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

/// How slowly a body may come. Only the time counts in which the reader waits for the sender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The longest wait for the next piece.
    pub(crate) pause: Duration,
    /// Bytes a second that the body must have on average after its first `pause`. 0: any number.
    pub(crate) rate: u32,
    /// The longest wait for the whole body. `None`: any time.
    pub(crate) whole: Option<Duration>,
}

impl Pace {
    /// Only limits the time between two pieces.
    pub(crate) fn steady(pause: Duration) -> Self {
        Self { pause, rate: 0, whole: None }
    }

    /// How long the reader may have waited in all, once it has so many bytes. `None`: any time.
    fn budget(self, bytes: u64) -> Option<Duration> {
        let earned = bytes.saturating_mul(1000).checked_div(u64::from(self.rate)).map(Duration::from_millis);
        earned.map(|earned| self.pause.saturating_add(earned)).into_iter().chain(self.whole).min()
    }
}

/// A body that fails when its sender is too slow. `K` is kept until the body has ended, has failed or is dropped.
pub(crate) struct Timed<K> {
    body: Incoming,
    pace: Pace,
    bytes: u64,
    /// How long the reader has waited so far.
    waited: Duration,
    /// When the reader began to wait for the sender; `None` while no reader waits.
    waiting: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    kept: Option<K>,
    /// What becomes of `kept` when the body has come to its end; otherwise it is dropped.
    at_end: fn(K),
}

impl<K> Timed<K> {
    /// Limits how slowly `body` may come.
    pub(crate) fn new(body: Incoming, pace: Pace, kept: K) -> Self {
        Self {
            body,
            pace,
            bytes: 0,
            waited: Duration::ZERO,
            waiting: None,
            sleep: None,
            kept: Some(kept),
            at_end: drop,
        }
    }

    /// Calls this with what is kept when the body has come to its end.
    pub(crate) fn at_end(self, at_end: fn(K)) -> Self {
        Self { at_end, ..self }
    }

    /// When the wait that began at `since` is too long.
    fn deadline(&self, since: Instant) -> Instant {
        let left = self.pace.budget(self.bytes).map(|budget| budget.saturating_sub(self.waited));
        since + left.unwrap_or(Duration::MAX).min(self.pace.pause)
    }
}

impl<K: Unpin> Body for Timed<K> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Some(since) = self.waiting.take() {
                self.waited += since.elapsed();
            }
            let piece = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
            self.bytes += piece as u64;
            let is_failed = matches!(frame, Some(Err(_)));
            if (is_failed || frame.is_none() || self.body.is_end_stream())
                && let Some(kept) = self.kept.take()
                && !is_failed
            {
                (self.at_end)(kept);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        let since = *self.waiting.get_or_insert_with(Instant::now);
        let deadline = self.deadline(since);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// R79: a body may pause, but its average counts after the first pause, and so does the whole time.
    #[test]
    fn a_body_earns_its_time_with_its_bytes() {
        let seconds = Duration::from_secs;
        let pace = Pace { pause: seconds(30), rate: 500, whole: Some(seconds(300)) };
        for (bytes, expected) in [(0, 30), (500, 31), (60_000, 150), (135_000, 300), (u64::MAX, 300)] {
            assert_eq!(pace.budget(bytes), Some(seconds(expected)), "{bytes}");
        }
        assert_eq!(Pace::steady(seconds(30)).budget(1), None);
        assert_eq!(Pace { rate: 0, ..pace }.budget(0), Some(seconds(300)));
    }
}
