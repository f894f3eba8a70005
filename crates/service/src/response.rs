//! Responses, and the one function that makes a response of a refusal.

use bytes::Bytes;
use common::{
    error::{ApiError, Code, Problem, Reader, RefusalHeader},
    id::RequestId,
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use crate::{body::Body, headers::Headers};

/// A response.
pub type Response = http::Response<Body>;

/// A JSON answer.
pub fn json(status: StatusCode, form: &impl Serialize) -> Result<Response, ApiError> {
    let mut text = Vec::with_capacity(1024); // most answers need no more
    serde_json::to_writer(&mut text, form).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
    Ok(written_json(status, text))
}

/// The same for an answer that no cache may keep, since it holds a credential or leads to one (RFC 6749, section 5.1).
pub fn uncached_json(status: StatusCode, form: &impl Serialize) -> Result<Response, ApiError> {
    let mut response = json(status, form)?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// An answer of written JSON.
pub fn written_json(status: StatusCode, text: impl Into<Body>) -> Response {
    bytes(status, "application/json", text)
}

/// An answer of this media type.
pub fn bytes(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A stream of events (HTML Standard, section 9.2). A proxy that packs an answer, or collects it before it passes it on, would hold events back.
pub fn event_stream(body: Body) -> Response {
    let mut response = bytes(StatusCode::OK, "text/event-stream", body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A body with its entity tag. Cheap to clone.
#[derive(Clone)]
pub struct Fresh {
    body: Bytes,
    tag: HeaderValue,
}

impl Fresh {
    /// A text and the tag that belongs to it.
    pub fn new(text: String) -> Self {
        // SHA-256, which has no instructions of its own in WebAssembly, took a sixth of a list's time.
        let digest = blake3::hash(text.as_bytes()).to_hex();
        let tag = digest.get(..24).unwrap_or_default();
        let tag = HeaderValue::from_str(&format!("\"{tag}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { body: text.into(), tag }
    }

    /// The body, or 304 for a client that has it already (RFC 9110, section 13.1.2).
    pub fn answer(&self, headers: &Headers, status: StatusCode, media_type: &'static str) -> Response {
        let sent = headers.first("if-none-match").unwrap_or_default();
        let is_known = sent
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|known| known == "*" || known.as_bytes() == self.tag.as_bytes());
        let mut response = match is_known {
            true => empty(StatusCode::NOT_MODIFIED),
            false => bytes(status, media_type, self.body.clone()),
        };
        response.headers_mut().insert(header::ETAG, self.tag.clone());
        response
    }
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// 204: done, and there is nothing to say.
pub fn no_content() -> Response {
    empty(StatusCode::NO_CONTENT)
}

/// 303: the answer is at another path of this server.
pub fn see_other(path: &str) -> Response {
    let mut response = empty(StatusCode::SEE_OTHER);
    if let Ok(location) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// R27: a path of this site, or `/`. It begins with one slash, and holds no control character, however often it was encoded.
pub fn local(text: &str) -> &str {
    let mut form = text.to_owned();
    for _ in 0..4 {
        let mut first = form.chars();
        let is_local = first.next() == Some('/') && !matches!(first.next(), Some('/' | '\\'));
        if !is_local || form.len() > 4000 || form.chars().any(char::is_control) {
            return "/";
        }
        let decoded = percent_decode_str(&form).decode_utf8_lossy().into_owned();
        if decoded == form {
            return text;
        }
        form = decoded;
    }
    "/"
}

/// Writes a refusal: the envelope, or for a client that asked for it `application/problem+json` (RFC 9457), with the headers that
/// belong to its status. `link` comes before every path.
pub fn refusal(
    refusal: &ApiError,
    request: &RequestId,
    link: &str,
    reader: Option<Reader<'_>>,
    wants_problem: bool,
) -> Response {
    let row = refusal.code().row();
    let mut body = refusal.envelope(request.as_str(), link, reader);
    if wants_problem {
        body.problem = Some(Problem { r#type: body.doc_url.clone(), title: row.detail, status: row.status });
    }
    let mut text = Vec::with_capacity(1024);
    // Into memory: it cannot fail.
    drop(serde_json::to_writer(&mut text, &body));
    let media_type = if wants_problem { "application/problem+json" } else { "application/json" };
    // Some proxies know of 401 and 403 alone, and take anything else for a failure of this server.
    let status = if refusal.is_for_proxy() && row.status == 402 { 403 } else { refusal.status() };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let in_header = refusal.is_for_proxy().then(|| in_a_header(&text)).flatten();
    let length = text.len();
    let mut response = bytes(status, media_type, text);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(seconds) = refusal.seconds() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(challenge) = challenge(refusal).and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(value) = in_header {
        headers.insert(REFUSAL, value);
    }
    add_headers(&mut response, refusal);
    response
}

/// Adds the headers that belong to a refusal, whatever it is shown as.
pub(crate) fn add_headers(response: &mut Response, refusal: &ApiError) {
    for (name, value) in refusal.headers() {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(header_name(*name), value);
        }
    }
}

/// The envelope once more, for proxies that drop the body of a refusal.
const REFUSAL: HeaderName = HeaderName::from_static("x-accredit-refusal");

/// JSON as the value of a header: what is not ASCII is escaped.
fn in_a_header(json: &[u8]) -> Option<HeaderValue> {
    let mut value = String::with_capacity(json.len());
    for c in std::str::from_utf8(json).ok()?.chars() {
        if c.is_ascii() && !c.is_ascii_control() {
            value.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                value.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    HeaderValue::from_str(&value).ok()
}

/// As a constant: a name that is made at run time is looked up among all known names.
fn header_name(header: RefusalHeader) -> HeaderName {
    match header {
        RefusalHeader::Accept => header::ACCEPT,
        RefusalHeader::AcceptEncoding => header::ACCEPT_ENCODING,
        RefusalHeader::AcceptRanges => header::ACCEPT_RANGES,
        RefusalHeader::AccessControlAllowOrigin => header::ACCESS_CONTROL_ALLOW_ORIGIN,
        RefusalHeader::AccessControlExposeHeaders => header::ACCESS_CONTROL_EXPOSE_HEADERS,
        RefusalHeader::Allow => header::ALLOW,
        RefusalHeader::ContentRange => header::CONTENT_RANGE,
    }
}

/// `WWW-Authenticate` (RFC 6750, section 3).
fn challenge(refusal: &ApiError) -> Option<String> {
    let mut challenge = match (refusal.code(), refusal.missing_scopes().as_slice()) {
        // RFC 9449, section 7.1.
        (code, _) if refusal.status() == 401 && refusal.member("algs").is_some() => {
            let algs = common::proof::ALGORITHMS.join(" ");
            let error = if code == Code::InvalidProof { code.row().slug } else { "invalid_token" };
            format!("DPoP realm=\"accredit\", error=\"{error}\", algs=\"{algs}\"")
        }
        (Code::MissingCredential, _) => "Bearer realm=\"accredit\"".to_owned(),
        // RFC 6749, section 5.2.
        (Code::InvalidClient, _) => "Basic realm=\"accredit\"".to_owned(),
        (_, []) if refusal.status() == 401 => "Bearer realm=\"accredit\", error=\"invalid_token\"".to_owned(),
        (_, []) => return None,
        (_, missing) => {
            format!("Bearer realm=\"accredit\", error=\"insufficient_scope\", scope=\"{}\"", missing.join(" "))
        }
    };
    if let Some(metadata) = refusal.metadata() {
        challenge.push_str(&format!(", resource_metadata=\"{metadata}\""));
    }
    Some(challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R27.
    #[test]
    fn next_stays_on_this_site() {
        for text in ["/", "/agents", "/agents?q=a%20b&state=running", "/access/acc_1?x=%2Fy", "/a%C3%A9"] {
            assert_eq!(local(text), text);
        }
        for text in [
            "",
            "agents",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/%2fevil.example",
            "/%5cevil.example",
            "/%252fevil.example",
            "/a\tb",
            "/a\r\nb",
            "/a%0d%0ab",
            "/a%250ab",
            "/%09/evil.example",
            "/a%7f",
            " /agents",
            "/a%2525252525250a",
        ] {
            assert_eq!(local(text), "/", "{text}");
        }
        assert_eq!(local(&format!("/{}", "a".repeat(4000))), "/");
    }
}
