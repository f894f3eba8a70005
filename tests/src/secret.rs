//! Credentials beside the routes, built as the contract says: prefix, 43 characters of base64url, 6 of base 62 that
//! are the CRC-32 of all before them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// A well-formed credential that nobody has.
pub fn credential(prefix: &str) -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("chance");
    let body = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes));
    let check = checksum(&body);
    body + &check
}

/// A text that nobody else has.
pub fn unique() -> String {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).expect("chance");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The stored form of a credential.
pub fn digest(credential: &str) -> Vec<u8> {
    Sha256::digest(credential.as_bytes()).to_vec()
}

/// CRC-32 in base 62, six characters.
pub fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = Vec::new();
    for _ in 0..6 {
        let digit = u8::try_from(rest % 62).expect("less than 62");
        digits.push(char::from(match digit {
            0..10 => b'0' + digit,
            10..36 => b'A' + digit - 10,
            _ => b'a' + digit - 36,
        }));
        rest /= 62;
    }
    digits.iter().rev().collect()
}

/// Whether a text has the shape that the contract gives to credentials of this prefix, checksum included.
pub fn is_well_formed(text: &str, prefix: &str) -> bool {
    let length = prefix.len() + 43 + 6;
    let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let parts = text.split_at_checked(length - 6);
    text.len() == length
        && text.starts_with(prefix)
        && is_plain
        && parts.is_some_and(|(body, check)| checksum(body) == check)
}
