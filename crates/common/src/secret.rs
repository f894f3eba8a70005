//! Secrets, their digests, and the randomness they are made of.
//!
//! A credential is `prefix + 43 base64url characters (32 random bytes) + 6 base62 characters`, where the last six are the
//! CRC-32 (ISO-HDLC) of all before them, zero-padded. [`PATTERN`] is published for secret scanners.

mod chance;
mod client_secret;
mod credential;
mod digest;
mod form;
mod key;
mod one_time_code;
mod refresh_token;
mod user_code;
mod webhook_secret;

pub(crate) use key::hmac;
pub use {
    chance::Chance,
    client_secret::ClientSecret,
    credential::{Kind, Secret},
    digest::{Digest, equal},
    form::PATTERN,
    key::Key,
    one_time_code::OneTimeCode,
    refresh_token::RefreshToken,
    user_code::UserCode,
    webhook_secret::WebhookSecret,
};
