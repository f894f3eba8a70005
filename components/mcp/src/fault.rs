//! What is wrong with a message, as JSON-RPC 2.0 has it (section 5.1) and the revision 2026-07-28 (Basic, Error Codes). Beside it stands the
//! envelope of the refusal, wherever the API has written one.

use common::error::ApiError;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value as Json, json};
use service::{
    app::App,
    response::{Response, written_json},
};

use crate::metadata;

/// What is wrong, or why there is no result. Boxed, so that a `Result` stays small.
#[derive(Debug)]
pub(crate) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: u16,
    code: i64,
    message: String,
    data: Json,
    challenge: Option<Challenge>,
}

/// What a client has to prove, or to get.
#[derive(Debug)]
struct Challenge {
    /// The word for what is wrong (RFC 6750, section 3.1); none: nothing was sent.
    error: Option<&'static str>,
    /// The scopes that the request needs.
    scope: Option<String>,
    /// The algorithms of proofs, if the credential needs a proof of its key (RFC 9449, section 7.1).
    algs: Option<String>,
}

impl Fault {
    fn new(status: u16, code: i64, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { status, code, message: message.into(), data: Json::Null, challenge: None }))
    }

    fn data(mut self, data: Json) -> Self {
        self.0.data = data;
        self
    }

    /// The body is no JSON.
    pub(crate) fn parse(message: impl Into<String>) -> Self {
        Self::new(400, -32700, message)
    }

    /// The body is JSON, but no message of the protocol.
    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self::new(400, -32600, message)
    }

    /// The method does not exist.
    pub(crate) fn method(method: &str) -> Self {
        Self::new(404, -32601, format!("Method not found: {method}"))
    }

    /// The parameters are not those of the method.
    pub(crate) fn params(message: impl Into<String>) -> Self {
        Self::new(400, -32602, message)
    }

    /// A resource that is not there.
    pub(crate) fn resource(uri: &str, is_modern: bool) -> Self {
        // The code of earlier revisions must not be sent by this one.
        let code = if is_modern { -32602 } else { -32002 };
        Self::new(400, code, "Resource not found").data(json!({ "uri": uri }))
    }

    /// A header says something else than the body, or is missing.
    pub(crate) fn header(message: impl Into<String>) -> Self {
        Self::new(400, -32020, format!("Header mismatch: {}", message.into()))
    }

    /// The revision is not one of these.
    pub(crate) fn version(requested: &str, supported: &[&str]) -> Self {
        let data = json!({ "supported": supported, "requested": requested });
        Self::new(400, -32022, "Unsupported protocol version").data(data)
    }

    /// The server failed; the cause was logged.
    pub(crate) fn internal() -> Self {
        Self::new(500, -32603, "A part of this server does not answer at the moment. Send the request again.")
    }

    /// The request needs a credential: there is none, or it is not good.
    pub(crate) fn unauthorized(envelope: Json, is_missing: bool) -> Self {
        let word = |name: &str| envelope.get(name).and_then(Json::as_str);
        let algs = word("algs").map(str::to_owned);
        let error = match word("error") {
            _ if is_missing => None,
            Some("invalid_dpop_proof") => Some("invalid_dpop_proof"),
            _ => Some("invalid_token"),
        };
        Self::of_api(401, envelope).challenging(Challenge { error, scope: None, algs })
    }

    /// The credential lacks scopes that its client can get by asking its person again.
    pub(crate) fn insufficient_scope(envelope: Json, scope: String) -> Self {
        Self::of_api(403, envelope).challenging(Challenge {
            error: Some("insufficient_scope"),
            scope: Some(scope),
            algs: None,
        })
    }

    /// A refusal of the API that no tool can pass on. The code is the status: it is no code of the protocol's.
    pub(crate) fn of_api(status: u16, envelope: Json) -> Self {
        let sentence = |name: &str| envelope.get(name).and_then(Json::as_str).unwrap_or_default();
        let message = format!("{} {}", sentence("detail"), sentence("fix"));
        Self::new(status, i64::from(status), message).data(envelope)
    }

    fn challenging(mut self, challenge: Challenge) -> Self {
        self.0.challenge = Some(challenge);
        self
    }

    /// The code, for tests.
    #[cfg(test)]
    pub(crate) fn code(&self) -> i64 {
        self.0.code
    }

    /// As it is answered. Clients of earlier revisions take a status other than 200 for a fault of the transport, which is what they are
    /// told of credentials and versions only.
    pub(crate) fn response(self, app: &App, id: Option<&Json>, is_modern: bool) -> Response {
        let Inner { status, code, message, data, challenge } = *self.0;
        let is_of_transport = matches!(status, 401 | 403) || code == -32022;
        let status = if is_modern || is_of_transport { status } else { 200 };
        let mut error = Map::new();
        error.insert("code".to_owned(), json!(code));
        error.insert("message".to_owned(), json!(message));
        if !data.is_null() {
            error.insert("data".to_owned(), data);
        }
        let mut body = Map::new();
        body.insert("jsonrpc".to_owned(), json!("2.0"));
        if let Some(id) = id {
            body.insert("id".to_owned(), id.clone());
        }
        body.insert("error".to_owned(), Json::Object(error));
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = written_json(status, Json::Object(body).to_string());
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = challenge {
            let scheme = if challenge.algs.is_some() { "DPoP" } else { "Bearer" };
            let mut text = format!("{scheme} realm=\"accredit\"");
            for (name, value) in [
                ("error", challenge.error.map(str::to_owned)),
                ("scope", challenge.scope),
                ("algs", challenge.algs),
                ("resource_metadata", metadata::address(app)),
            ] {
                if let Some(value) = value {
                    text.push_str(&format!(", {name}=\"{value}\""));
                }
            }
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(header::WWW_AUTHENTICATE, value);
            }
        }
        response
    }
}

/// The envelope of a refusal of this component's own.
pub(crate) fn envelope(app: &App, refusal: &ApiError) -> Json {
    json!(refusal.envelope(app.request_id().as_str(), app.settings().link(), None))
}
