//! `GET /oauth/jwks` (RFC 7517): the public keys that verify what this server signs. All of the operator's keys are listed, so that a
//! verifier knows the next one before it signs, and the last one as long as its tokens live.

use common::error::{ApiError, Code};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    headers::Headers,
    response::{Fresh, Response},
};
use store::resource::SigningAlg;

use super::{
    keys::{Jwk, SigningKey},
    metadata::kept,
};

/// A set of keys.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeySet")]
pub(crate) struct KeySet {
    keys: Vec<Jwk>,
}

/// The handler.
pub(crate) async fn get(app: App, headers: Headers) -> Result<Response, ApiError> {
    let mut keys = Vec::new();
    for secret in &app.settings().signing_keys {
        for alg in [SigningAlg::EdDsa, SigningAlg::Es256] {
            keys.push(SigningKey::derive(secret, alg)?.public());
        }
    }
    let text = serde_json::to_string(&KeySet { keys }).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
    Ok(kept(Fresh::new(text).answer(&headers, StatusCode::OK, "application/jwk-set+json")))
}
