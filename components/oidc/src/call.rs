//! Requests to providers. An answer that is late, too long, redirected or no JSON is an outage; its words go to the log alone, and
//! only those that can hold nothing secret.

use common::{
    error::{ApiError, Code},
    json,
};
use http::{Method, Request, header, request::Builder};
use serde_json::Value as Json;
use service::{app::App, outbound, throttle};

/// Bytes of an answer that are read at most: key sets of large providers have some 10 KB.
const MOST_READ: usize = 256 * 1024;
/// Seconds after which an outage is worth another try.
const AGAIN: i64 = 10;

/// What one network may make the server ask providers for in a window.
pub(crate) const TRIES: i64 = 300;
/// The window, seconds.
pub(crate) const WINDOW: i64 = 600;

/// Counts a request that makes the server ask a provider: nobody may do that without end.
pub(crate) async fn admit(app: &App) -> Result<(), ApiError> {
    throttle::count(app, &["oidc", &app.network()], (TRIES, WINDOW), Code::TooManySignIns).await
}

/// An answer of a provider.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Json,
}

/// Reads something that everybody may read.
pub(crate) async fn get(url: &str) -> Result<Json, ApiError> {
    read(url, request(Method::GET, url)).await
}

/// Reads what a request to this URL asks for.
pub(crate) async fn read(url: &str, request: Builder) -> Result<Json, ApiError> {
    let answer = send(request, String::new()).await?;
    if answer.status == 200 { Ok(answer.body) } else { Err(outage(format!("{url} answered {}", answer.status))) }
}

/// A request for JSON.
pub(crate) fn request(method: Method, url: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(url)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "Accredit")
}

/// Sends a request. The answer is whole, and JSON.
pub(crate) async fn send(request: Builder, body: String) -> Result<Answer, ApiError> {
    let request = request.header(header::CONTENT_LENGTH, body.len()).body(body).map_err(outage)?;
    let url = request.uri().to_string();
    let answer = outbound::send(request, MOST_READ).await.map_err(|cause| {
        // The host's own words.
        let cause: String = cause.chars().take(120).collect();
        outage(format!("{url}: no answer: {cause}"))
    })?;
    if !answer.is_whole {
        return Err(outage(format!("{url}: the answer is too long, or did not end in time")));
    }
    let text = std::str::from_utf8(&answer.body).unwrap_or_default();
    // RFC 8725, section 2.4, asks for it of claims: a member that stands twice would be read in two ways.
    let body = json::parse(text).ok_or_else(|| outage(format!("{url} answered {} and no JSON", answer.status)))?;
    Ok(Answer { status: answer.status, body })
}

/// The provider does not answer as it should. The cause is for the log.
pub(crate) fn outage(cause: impl std::fmt::Display) -> ApiError {
    ApiError::from(Code::ProviderUnavailable).retry_after(AGAIN).cause(cause)
}

/// The provider does not take what this server asks for: waiting mends nothing. The cause is for the log.
pub(crate) fn wrong_setup(cause: impl std::fmt::Display) -> ApiError {
    let detail = "The provider does not take what this server asks it for.";
    let fix =
        "Sign in in another way. The operator of this server has to set the provider up: the log says what it refuses.";
    Code::ProviderUnavailable.detail(detail).fix(fix).cause(cause)
}

/// A text of an answer; empty if there is none.
pub(crate) fn text<'a>(body: &'a Json, name: &str) -> &'a str {
    body.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// The `error` of an answer, for the log: a word of a standard, or nothing.
pub(crate) fn error_word(body: &Json) -> &str {
    let word = text(body, "error");
    let is_word = word.len() <= 40 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if is_word { word } else { "" }
}
