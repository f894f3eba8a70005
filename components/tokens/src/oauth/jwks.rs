//! `GET /oauth/jwks` (RFC 7517): the public keys that verify what this server signs.

use common::error::{ApiError, Code};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    headers::Headers,
    response::{Fresh, Response},
};

use super::metadata::kept;

/// A set of keys.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeySet")]
pub(crate) struct KeySet {
    keys: Vec<Jwk>,
}

/// A public key (RFC 7518, section 6; RFC 8037).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PublicKey")]
pub(crate) struct Jwk {
    kty: &'static str,
    crv: &'static str,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    alg: &'static str,
    r#use: &'static str,
    kid: String,
}

/// The handler.
pub(crate) async fn get(headers: Headers) -> Result<Response, ApiError> {
    let set = KeySet { keys: Vec::new() };
    let text = serde_json::to_string(&set).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
    Ok(kept(Fresh::new(text).answer(&headers, StatusCode::OK, "application/jwk-set+json")))
}
