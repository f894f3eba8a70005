//! Bodies: that of a request is read once, to its end; that of a response is in memory, or is made while it is sent.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};

/// The body of a response.
pub enum Body {
    /// Bytes that are there.
    Full(Bytes),
    /// Pieces that are still to come.
    Pieces(Pin<Box<dyn Stream<Item = Result<Bytes, BrokenOff>>>>),
}

/// A body ended early. The cause is dropped: nobody reads it.
#[derive(Debug)]
pub struct BrokenOff;

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::Full(Bytes::new())
    }

    /// A body of pieces that are made while they are sent.
    pub fn pieces<E>(pieces: impl Stream<Item = Result<Bytes, E>> + 'static) -> Self {
        Self::Pieces(Box::pin(pieces.map_err(|_| BrokenOff)))
    }

    /// How many bytes it has, if that is known.
    pub fn length(&self) -> Option<usize> {
        match self {
            Self::Full(bytes) => Some(bytes.len()),
            Self::Pieces(_) => None,
        }
    }

    /// The next piece. `None`: the body is complete.
    pub async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        match self {
            Self::Full(bytes) if bytes.is_empty() => None,
            Self::Full(bytes) => Some(Ok(std::mem::take(bytes))),
            Self::Pieces(pieces) => pieces.next().await,
        }
    }

    /// The whole body.
    pub async fn collect(mut self) -> Result<Bytes, BrokenOff> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all.into())
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Full(bytes.into())
    }
}

/// The body of a request.
pub enum RequestBody {
    /// Bytes that are there: no body at all, or that of a test.
    Full(Bytes),
    /// A body that the host is still receiving.
    #[cfg(target_family = "wasm")]
    Host(host::Incoming),
}

/// Why a body cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It is longer than the limit.
    TooLong,
    /// It ended before it was complete.
    CutOff,
    /// It came so slowly that the host gave it up.
    #[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "only a host gives a body up"))]
    TooSlow,
}

impl<T: Into<Bytes>> From<T> for RequestBody {
    fn from(bytes: T) -> Self {
        Self::Full(bytes.into())
    }
}

impl RequestBody {
    /// Reads it to its end. `declared` is the length that the client gave, `most` the limit, both in bytes.
    pub(crate) async fn read(self, declared: Option<u64>, most: usize) -> Result<Bytes, Unusable> {
        let bytes = match self {
            Self::Full(_) if declared.is_some_and(|length| length > most as u64) => return Err(Unusable::TooLong),
            Self::Full(bytes) => bytes,
            #[cfg(target_family = "wasm")]
            Self::Host(incoming) => host::read(incoming, declared, most).await?,
        };
        match declared {
            _ if bytes.len() > most => Err(Unusable::TooLong),
            Some(length) if (bytes.len() as u64) < length => Err(Unusable::CutOff),
            _ => Ok(bytes),
        }
    }
}

#[cfg(target_family = "wasm")]
pub use host::Incoming;

#[cfg(target_family = "wasm")]
mod host {
    use std::{cell::Cell, rc::Rc};

    use bytes::Bytes;
    use spin_sdk::wasip3::{
        http::types::{ErrorCode, Request},
        spawn,
        wit_bindgen::{StreamReader, StreamResult},
        wit_future,
    };

    use super::Unusable;

    /// The room that each read has at least, bytes.
    const ROOM: usize = 4 * 1024;
    /// A body that is longer than its limit is received and dropped up to so many times the limit. Its sender then reads the refusal: were
    /// the connection closed while it sends, it would know of a broken one alone (RFC 9112, section 9.6).
    const DROPPED: usize = 16;

    /// The most bytes of a body that are received although nobody reads it.
    const MOST_UNREAD: usize = 1024 * 1024;

    /// A body that the host is still receiving, until somebody reads it.
    #[derive(Clone)]
    pub struct Incoming(Rc<Cell<Option<Request>>>);

    impl Incoming {
        pub(crate) fn new(request: Request) -> Self {
            Self(Rc::new(Cell::new(Some(request))))
        }

        /// Receives what nobody has read, beside the answer, and drops it. A request may be answered before its body has come, and a host
        /// that knows of nobody who reads it may close the connection with the answer still on its way, which its sender then does not get.
        pub(crate) fn drop_unread(&self) {
            let Some(request) = self.0.take() else { return };
            let first = |name: &str| request.get_headers().get(name).into_iter().next();
            let declared = first("content-length");
            let declared = declared.and_then(|length| std::str::from_utf8(&length).ok()?.parse::<usize>().ok());
            // One that asks before it sends is told by the answer not to.
            if declared.is_some_and(|length| length == 0 || length > MOST_UNREAD) || first("expect").is_some() {
                return;
            }
            spawn(async move {
                let (_outcome, outcome) = wit_future::new(|| Ok(()));
                let (mut stream, _trailers) = Request::consume_body(request, outcome);
                drop_rest(&mut stream, declared, MOST_UNREAD).await;
            });
        }
    }

    /// Reads the body of a request until it ends, or is as long as was declared, or longer than `most`. Each read runs to its end: none
    /// is ever cancelled while the host fills its buffer. All pieces come into one buffer, so that single bytes cost no more than whole
    /// bodies.
    pub(super) async fn read(incoming: Incoming, declared: Option<u64>, most: usize) -> Result<Bytes, Unusable> {
        let Some(request) = incoming.0.take() else { return Ok(Bytes::new()) };
        // The other end may ask for the result of the reading: it is success, even if data was dropped unread.
        let (_outcome, outcome) = wit_future::new(|| Ok(()));
        let (mut stream, trailers) = Request::consume_body(request, outcome);
        let expected = declared.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        if expected.is_some_and(|length| length > most) {
            drop_rest(&mut stream, expected, most.saturating_mul(DROPPED)).await;
            return Err(Unusable::TooLong);
        }
        let mut bytes = Vec::with_capacity(expected.unwrap_or(ROOM));
        // The host enforces the declared length; asking it for the end of a complete body would cost two more calls.
        while expected.is_none_or(|length| bytes.len() < length) && bytes.len() <= most {
            if bytes.capacity() - bytes.len() == 0 {
                bytes.reserve(ROOM);
            }
            let (result, filled) = stream.read(bytes).await;
            bytes = filled;
            if !matches!(result, StreamResult::Complete(_)) {
                // A body that broke off ends like any other; only the trailers report it.
                return match trailers.await {
                    Ok(_) => Ok(bytes.into()),
                    Err(ErrorCode::ConnectionReadTimeout) => Err(Unusable::TooSlow),
                    Err(_) => Err(Unusable::CutOff),
                };
            }
        }
        if bytes.len() > most {
            drop_rest(&mut stream, None, most.saturating_mul(DROPPED)).await;
        }
        Ok(bytes.into())
    }

    /// Receives what is still to come, of a body of known length or not, and drops it; of more than `most` bytes nothing further.
    async fn drop_rest(stream: &mut StreamReader<u8>, expected: Option<usize>, most: usize) {
        if expected.is_some_and(|length| length > most) {
            return;
        }
        let (mut buffer, mut dropped) = (Vec::with_capacity(16 * ROOM), 0);
        while dropped < expected.unwrap_or(most) {
            buffer.clear();
            let (result, filled) = stream.read(buffer).await;
            dropped += filled.len();
            buffer = filled;
            if !matches!(result, StreamResult::Complete(_)) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_neither_longer_nor_shorter_than_it_may_be() {
        for (declared, bytes, expected) in [
            (None, "abc", Ok("abc")),
            (Some(3), "abc", Ok("abc")),
            (Some(4), "abc", Err(Unusable::CutOff)),
            (Some(5), "abc", Err(Unusable::TooLong)),
            (Some(u64::MAX), "", Err(Unusable::TooLong)),
            (None, "abcde", Err(Unusable::TooLong)),
        ] {
            let read = RequestBody::from(bytes).read(declared, 4).await;
            assert_eq!(read, expected.map(Bytes::from), "{declared:?} {bytes}");
        }
    }

    #[tokio::test]
    async fn pieces_come_in_order_and_an_end_that_is_early_is_told() {
        let pieces = |broken: bool| {
            let end = if broken { Err(()) } else { Ok(Bytes::from("c")) };
            Body::pieces(futures_util::stream::iter([Ok(Bytes::from("ab")), end]))
        };
        assert_eq!(pieces(false).collect().await.unwrap(), "abc");
        assert!(pieces(true).collect().await.is_err());
        assert_eq!((Body::from("ab").length(), pieces(true).length()), (Some(2), None));
    }
}
