//! Requests to the other components of the application, by service chaining: `http://<component>.spin.internal`. The route table names the
//! component of a route; `spin.toml` grants those that a component calls.
//!
//! A request carries what the other component cannot see: the client's address and agent string, and the host that was asked. What proves
//! who the client is, the caller adds. Rules, audit rows and refusals are the other component's own.

use common::route::Route;
use http::{HeaderMap, HeaderValue, Request, StatusCode, request::Builder};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{app::App, body::Body};

/// What a segment of a path cannot hold as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The header of a request that an open page sends by itself.
pub const UNATTENDED: &str = "x-accredit-unattended";

/// The answer of a component; its body is still to come.
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

/// A request for a route. `names` are what the names in its path stand for, in their order.
pub fn request(app: &App, route: &Route, names: &[&str], asked: &[(&str, &str)]) -> Builder {
    let mut names = names.iter();
    let segments = route.path.split('/').skip(1).map(|segment| match segment.starts_with('{') {
        // Of `.` and `..` a reader of URLs would make another path.
        true => match *names.next().unwrap_or(&"") {
            name @ ("." | "..") => format!("/{}", name.replace('.', "%2E")),
            name => format!("/{}", utf8_percent_encode(name, SEGMENT)),
        },
        false => format!("/{segment}"),
    });
    let mut uri = format!("http://{}.spin.internal{}", route.group.as_str(), segments.collect::<String>());
    if !asked.is_empty() {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(asked).finish();
        uri = format!("{uri}?{query}");
    }
    from(app, Request::builder().method(route.method).uri(uri))
}

/// Adds what the other component cannot see.
pub fn from(app: &App, mut request: Builder) -> Builder {
    request = request.header("x-forwarded-for", app.address());
    for (from, to) in [("host", "x-forwarded-host"), ("user-agent", "user-agent"), (UNATTENDED, UNATTENDED)] {
        if let Some(value) = app.headers().first(from) {
            request = request.header(to, value);
        }
    }
    request
}

/// A text as the value of a header. One that no header can hold becomes empty, which the other component refuses.
pub fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// Sends a request; its answer's body is still to come. `Err` says in a few words why there is no answer.
#[cfg(target_family = "wasm")]
pub async fn send(request: Request<String>) -> Result<Reply, String> {
    use bytes::Bytes;
    use common::task::with_spawned;
    use futures_util::StreamExt;
    use http_body_util::BodyStream;
    use spin_sdk::http::FullBody;

    let request = request.map(|body| FullBody::new(Bytes::from(body)));
    let response = with_spawned(spin_sdk::http::send(request)).await.map_err(|error| format!("{error:?}"))?;
    let (parts, body) = response.into_parts();
    let pieces = BodyStream::new(body);
    let pieces = pieces.filter_map(async |frame| match frame {
        Ok(frame) => frame.into_data().ok().map(Ok),
        Err(error) => Some(Err(error)),
    });
    Ok(Reply { status: parts.status, headers: parts.headers, body: Body::pieces(pieces) })
}

/// Natively there are no other components, but those that a test sets.
#[cfg(not(target_family = "wasm"))]
pub async fn send(request: Request<String>) -> Result<Reply, String> {
    match crate::outbound::stub::served(&request) {
        Some(answer) => {
            let (status, body) = answer?;
            let status = StatusCode::from_u16(status).map_err(|error| error.to_string())?;
            Ok(Reply { status, headers: HeaderMap::new(), body: body.into() })
        }
        None => Err(format!("{} is not called by a native build", request.uri())),
    }
}
