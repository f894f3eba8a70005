//! An app that a person lets in, step by step: requests, codes and forms.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::browser::encoded as escape;

/// Where the app is sent back to.
pub const CALLBACK: &str = "https://app.example.com/cb";
/// What the app proves its codes with (RFC 7636).
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// Pairs as a form or a query.
pub fn encoded(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
}

/// A request of a client for two scopes.
pub fn request(client: &str) -> String {
    request_for(client, CALLBACK, "agents.read tokens.read")
}

/// A request of a client.
pub fn request_for(client: &str, redirect: &str, scope: &str) -> String {
    encoded(&[
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", redirect),
        ("code_challenge", &URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))),
        ("code_challenge_method", "S256"),
        ("scope", scope),
        ("state", "s-1"),
    ])
}

/// A parameter of an address; empty if it is not there.
pub fn parameter(address: &str, name: &str) -> String {
    let query = address.split_once('?').map_or("", |(_, query)| query);
    let value = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name);
    value.map(|(_, value)| value.to_owned()).unwrap_or_default()
}

/// The code of a person's decision.
pub fn code(decided: &Json) -> String {
    parameter(decided["redirect_to"].as_str().unwrap_or_default(), "code")
}

/// The form that trades a code.
pub fn trade(client: &str, code: &str) -> String {
    trade_for(client, code, CALLBACK)
}

/// The same for another redirect URI.
pub fn trade_for(client: &str, code: &str, redirect: &str) -> String {
    encoded(&[
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", code),
        ("redirect_uri", redirect),
        ("code_verifier", VERIFIER),
    ])
}

/// The grant that exchanges a token for a signed one for a service (RFC 8693).
pub const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The type of a token that is exchanged.
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The form that exchanges a token for one for a service.
pub fn exchange(token: &str, resource: &str) -> String {
    encoded(&[
        ("grant_type", EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", resource),
    ])
}

/// The form that sends a refresh token.
pub fn refresh(client: &str, token: &str) -> String {
    encoded(&[("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)])
}
