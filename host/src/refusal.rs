//! What the host itself answers in place of a component, in the form of the components' own refusals.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use common::id::{RequestId, RequestIds};
use common::secret::Chance;
use common::time::Timestamp;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;
use wasmtime_wasi_http::WasiBody;

use crate::body::full;

/// The page that explains all of them.
const PAGE: &str = "/docs/agents/errors#of-the-host";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A refusal of the host.
pub(crate) struct Refusal {
    status: StatusCode,
    slug: &'static str,
    detail: &'static str,
    fix: &'static str,
}

const fn come_again(slug: &'static str, detail: &'static str, fix: &'static str) -> Refusal {
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, slug, detail, fix }
}

pub(crate) const NO_TARGET: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    slug: "invalid_request",
    detail: "The request does not say clearly which host it is for.",
    fix: "Send one Host header with the name or address of this server, and its port if that is not the usual one.",
};
pub(crate) const OTHER_CODING: Refusal = Refusal {
    status: StatusCode::BAD_REQUEST,
    slug: "invalid_request",
    detail: "The request has a Transfer-Encoding other than chunked, which this host does not decode.",
    fix: "Send the body with a Content-Length, or with Transfer-Encoding: chunked alone.",
};
pub(crate) const NO_ROOM: Refusal = come_again(
    "no_instance",
    "This host has no room for one more instance of a component.",
    "Wait for the seconds in the header Retry-After, then send the same request again.",
);
pub(crate) const TOO_LATE: Refusal = come_again(
    "request_timeout",
    "The answer did not begin within the time that this host allows.",
    "Wait for the seconds in the header Retry-After, then send the same request again. It may have taken effect: repeat it with the same Idempotency-Key, or look first.",
);
pub(crate) const STOPPING: Refusal = come_again(
    "server_stopping",
    "This host stops, so it waits no longer for what you asked for.",
    "Wait for the seconds in the header Retry-After, then send the same request again: another host answers it, or this one after its restart.",
);
pub(crate) const TOO_MANY_CONNECTIONS: Refusal = come_again(
    "too_many_connections",
    "This host has as many open connections as it may.",
    "Wait for the seconds in the header Retry-After, then connect again.",
);

impl Refusal {
    /// The answer to a request, which the log can say by the id.
    pub(crate) fn response(&self, id: &RequestId) -> Response<WasiBody> {
        let mut response = Response::new(full(self.body(id)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(header(id));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// The answer on a connection on which no request is read.
    pub(crate) fn message(&self) -> String {
        let (status, id) = (self.status, request_id());
        let body = self.body(&id);
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\n{REQUEST_ID}: {id}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn body(&self, id: &RequestId) -> String {
        let Self { slug, detail, fix, .. } = self;
        json!({ "error": slug, "detail": detail, "fix": fix, "doc_url": PAGE, "request_id": id }).to_string()
    }
}

/// The header that says an id.
pub(crate) fn header(id: &RequestId) -> Option<(HeaderName, HeaderValue)> {
    Some((REQUEST_ID, HeaderValue::from_str(id.as_str()).ok()?))
}

/// The id of a request that no component has given one.
pub(crate) fn request_id() -> RequestId {
    static IDS: LazyLock<RequestIds> = LazyLock::new(|| RequestIds::new(&Chance::System));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    IDS.next(Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R363
    #[test]
    fn a_message_has_the_length_that_it_says_and_an_id_of_its_own() {
        let messages = [TOO_MANY_CONNECTIONS.message(), TOO_MANY_CONNECTIONS.message()];
        assert_ne!(messages[0], messages[1]);
        for message in messages {
            let (head, body) = message.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(head.contains(&format!("x-request-id: {}\r\n", body["request_id"].as_str().unwrap())), "{head}");
        }
    }
}
