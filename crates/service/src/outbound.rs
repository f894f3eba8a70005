//! Requests to other servers. Few components send any; the manifest says which, and to which hosts.
//!
//! The host resolves names and refuses private addresses. This module bounds how long a request may take, ten seconds in all, and how
//! much of an answer is read. A redirect is an answer like any other and is not followed.

use common::{probe::NOT_PUBLIC, time::Timestamp};
use http::{HeaderMap, Method, Request, header};

/// The part of an answer that is looked at.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The beginning of the body, at most as many bytes as were asked for.
    pub body: Vec<u8>,
    /// Whether that is the whole body.
    pub is_whole: bool,
    /// How long the server asks to be left alone (`Retry-After`, RFC 9110, section 10.2.3), seconds.
    pub retry_after: Option<i64>,
}

/// The request with the length of its body: many servers take none in chunks.
fn with_length(mut request: Request<String>) -> Request<String> {
    let length = request.body().len();
    if length > 0 || matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
        request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    request
}

#[cfg_attr(all(not(target_family = "wasm"), not(test)), expect(dead_code, reason = "natively only tests call it"))]
fn retry_after(headers: &HeaderMap) -> Option<i64> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text(header::RETRY_AFTER)?;
    // A date is one by the server's own clock.
    let until = || Some(http_date(text(header::DATE)?)?.seconds_until(http_date(asked)?));
    // A number that does not fit is a long time all the same.
    let is_digits = !asked.is_empty() && asked.bytes().all(|b| b.is_ascii_digit());
    let number = asked.parse().ok().or(is_digits.then_some(i64::from(i32::MAX)));
    number.or_else(until).filter(|seconds| *seconds > 0)
}

/// A date as headers have it (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    let mut words = text.split(' ').skip(1);
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(month)? / 3 + 1;
    Timestamp::parse(&format!("{year}-{month:02}-{day}T{time}Z"))
}

impl Answer {
    /// The whole body of an answer with status 200; else why there is none, in few words. `cut` says that it is not whole.
    pub fn found(&self, cut: &str) -> Result<&[u8], String> {
        match (self.status, self.is_whole) {
            (200, true) => Ok(&self.body),
            (200, false) => Err(cut.to_owned()),
            (status @ 300..400, _) => Err(format!("its host answered {status}, and redirects are not followed")),
            (status, _) => Err(format!("its host answered {status}")),
        }
    }
}

/// Why there was no answer, for people: what the host's error code means, and its name.
#[cfg_attr(all(not(target_family = "wasm"), not(test)), expect(dead_code, reason = "natively only tests call it"))]
fn words(error: &str) -> String {
    let name = error.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let words = match name {
        "DnsError" | "DnsTimeout" | "DestinationNotFound" => "its name was not found",
        "DestinationIpProhibited" => NOT_PUBLIC,
        "DestinationIpUnroutable" | "DestinationUnavailable" => "its address cannot be reached",
        "ConnectionRefused" => "it refused the connection",
        "ConnectionTerminated" => "it closed the connection",
        "ConnectionTimeout" => "no connection came about in time",
        "ConnectionReadTimeout" | "HttpResponseTimeout" => "it said nothing in time",
        "ConnectionWriteTimeout" => "it took no request in time",
        "TlsCertificateError" => "its certificate is not trusted",
        "TlsProtocolError" | "TlsAlertReceived" => "no encrypted connection came about",
        "HttpProtocolError" | "HttpResponseIncomplete" => {
            "it closed the connection without a whole answer, or its answer is no HTTP"
        }
        "HttpRequestDenied" => "this server may not call it",
        // Two lengths in an answer, for one; the host says it in quotes.
        _ => match error.split('"').nth(1).filter(|said| !said.is_empty()) {
            Some(said) => return format!("the request failed: {said} ({name})"),
            None => "the request failed",
        },
    };
    format!("{words} ({name})")
}

#[cfg(target_family = "wasm")]
pub use wasm::send;

#[cfg(target_family = "wasm")]
mod wasm {
    use std::{pin::pin, time::Duration};

    use bytes::Bytes;
    use common::task::with_spawned;
    use futures_util::future::{Either, select};
    use http_body_util::BodyExt;
    use spin_sdk::{
        http::{FullBody, Response},
        time::sleep,
        wasip3::{http::types::RequestOptions, http_compat::RequestOptionsExtension},
    };

    use super::{Answer, Request, retry_after, with_length, words};

    /// Nanoseconds until the connection stands.
    const CONNECT: u64 = 3_000_000_000;
    /// Until the answer begins, from the start.
    const FIRST_BYTE: Duration = Duration::from_secs(8);
    /// Until the body was read, from then on.
    const BODY: Duration = Duration::from_secs(2);

    /// Sends a request, and reads at most `most` bytes of the answer's body. `Err` says in a few words why there was no answer.
    pub async fn send(request: Request<String>, most: usize) -> Result<Answer, String> {
        let options = RequestOptions::new();
        // A host that does not support these bounds has its own.
        drop(options.set_connect_timeout(Some(CONNECT)));
        let mut request = with_length(request).map(|body| FullBody::new(Bytes::from(body)));
        request.extensions_mut().insert(RequestOptionsExtension(options));
        let response = match select(pin!(with_spawned(spin_sdk::http::send(request))), pin!(sleep(FIRST_BYTE))).await {
            Either::Left((response, _)) => {
                response.map_err(|error| words(&format!("{error:?}").replace("ErrorCode::", "")))?
            }
            Either::Right(_) => return Err(words("ConnectionReadTimeout")),
        };
        let mut answer = Answer {
            status: response.status().as_u16(),
            body: Vec::new(),
            is_whole: false,
            retry_after: retry_after(response.headers()),
        };
        // What was read in time counts, and the rest is missing.
        drop(select(pin!(read(response, most, &mut answer)), pin!(sleep(BODY))).await);
        Ok(answer)
    }

    async fn read(response: Response, most: usize, answer: &mut Answer) {
        let mut body = response.into_body();
        loop {
            let Some(piece) = body.frame().await else {
                answer.is_whole = true;
                return;
            };
            let Ok(piece) = piece else { return };
            let Ok(bytes) = piece.into_data() else { continue };
            let room = most.saturating_sub(answer.body.len());
            answer.body.extend(bytes.iter().take(room));
            if bytes.len() > room {
                return;
            }
        }
    }
}

/// Natively nothing is called: tests set the answers and see the requests.
#[cfg(not(target_family = "wasm"))]
pub async fn send(request: Request<String>, most: usize) -> Result<Answer, String> {
    stub::answer(with_length(request), most)
}

/// For native tests: the servers that a component calls.
#[cfg(not(target_family = "wasm"))]
pub mod stub {
    use std::{cell::RefCell, collections::VecDeque};

    use super::{Answer, Request};

    /// A server: from a request to its status and body, or to the reason why there is no answer.
    pub type Server = Box<dyn Fn(&Request<String>) -> Result<(u16, String), String>>;

    // A test runs in a thread of its own.
    thread_local! {
        static ANSWERS: RefCell<VecDeque<Result<(u16, String), String>>> = RefCell::default();
        static SERVER: RefCell<Option<Server>> = RefCell::default();
        static SENT: RefCell<Vec<Request<String>>> = RefCell::default();
    }

    /// Sets the answers to the next requests; after the last one, the server answers, or else each gets 200.
    pub fn will_answer(answers: &[Result<(u16, &str), &str>]) {
        let owned = |answer: &Result<(u16, &str), &str>| match answer {
            Ok((status, body)) => Ok((*status, (*body).to_owned())),
            Err(cause) => Err((*cause).to_owned()),
        };
        ANSWERS.with_borrow_mut(|queue| queue.extend(answers.iter().map(owned)));
    }

    /// Forgets the answers that were set.
    pub fn clear() {
        ANSWERS.with_borrow_mut(VecDeque::clear);
    }

    /// Sets the server that answers from now on.
    pub fn serve(server: Server) {
        SERVER.set(Some(server));
    }

    /// The requests that were sent since the last call.
    pub fn sent() -> Vec<Request<String>> {
        SENT.take()
    }

    /// What the server that was set answers; `None`: none was.
    pub(crate) fn served(request: &Request<String>) -> Option<Result<(u16, String), String>> {
        SERVER.with_borrow(|server| server.as_ref().map(|server| server(request)))
    }

    pub(super) fn answer(request: Request<String>, most: usize) -> Result<Answer, String> {
        let next = ANSWERS.with_borrow_mut(VecDeque::pop_front);
        let answer = next.or_else(|| served(&request)).unwrap_or(Ok((200, String::new())));
        SENT.with_borrow_mut(|sent| sent.push(request));
        let (status, body) = answer?;
        let is_whole = body.len() <= most;
        Ok(Answer { status, body: body.into_bytes().into_iter().take(most).collect(), is_whole, retry_after: None })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{header, retry_after, words};

    /// R520
    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
        let asked = |after: &'static str, date: &'static str| {
            let headers = [(header::RETRY_AFTER, after), (header::DATE, date)];
            retry_after(
                &headers
                    .map(|(name, value)| (name, http::HeaderValue::from_static(value)))
                    .into_iter()
                    .collect::<HeaderMap>(),
            )
        };
        let date = "Sat, 28 Nov 2026 20:54:32 GMT";
        assert_eq!(asked("120", ""), Some(120));
        assert_eq!(asked("99999999999999999999", ""), Some(i64::from(i32::MAX)));
        assert_eq!(asked("Sat, 28 Nov 2026 20:56:02 GMT", date), Some(90));
        for nothing in ["Sat, 28 Nov 2026 20:54:32 GMT", "Fri, 27 Nov 2026 20:54:32 GMT", "0", "-1", "soon", ""] {
            assert_eq!(asked(nothing, date), None, "{nothing}");
        }
        assert_eq!(asked("Sat, 28 Nov 2026 20:56:02 GMT", "now"), None);
    }

    #[test]
    fn an_error_of_the_host_is_told_in_words_with_its_name() {
        let dns = "DnsError(DnsErrorPayload { rcode: Some(\"address not available\"), info-code: Some(0) })";
        assert_eq!(words(dns), "its name was not found (DnsError)");
        assert_eq!(words("DestinationIpProhibited"), "its address is not public (DestinationIpProhibited)");
        // R752
        let lengths = "InternalError(Some(\"multiple content-length values\"))";
        assert_eq!(words(lengths), "the request failed: multiple content-length values (InternalError)");
        assert_eq!(words("InternalError(None)"), "the request failed (InternalError)");
    }
}
