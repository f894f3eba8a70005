//! The form of what we hand out: a prefix, 32 random bytes, and a checksum.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The regular expression by which a scanner finds any of our credentials.
pub const PATTERN: &str = "acr_(ses|pat|agt|key|ref|cls)_[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}";

/// Characters of 32 random bytes in base64url without padding.
pub(super) const BODY: usize = 43;
/// Characters of the checksum.
const CHECK: usize = 6;
/// Characters behind the prefix that may be shown later.
const SHOWN: usize = 8;

/// Characters of a prefix.
pub(super) const PREFIX: usize = 8;
/// Characters of a credential.
pub(super) const LENGTH: usize = PREFIX + BODY + CHECK;

/// Prefix, body and checksum.
pub(super) fn written(prefix: &str, body: [u8; 32]) -> String {
    let mut text = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(body));
    let check = checksum(text.as_bytes());
    text.extend(check.into_iter().map(char::from));
    text
}

/// Whether a text is a secret with this prefix.
pub(super) fn has_form(text: &[u8], prefix: &str) -> bool {
    let Some((body, check)) = text.split_last_chunk::<CHECK>() else { return false };
    text.len() == LENGTH && text.starts_with(prefix.as_bytes()) && text.is_ascii() && checksum(body) == *check
}

/// The part that may be shown later: the prefix and the first eight characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(PREFIX + SHOWN).collect()
}

/// The checksum of zip and PNG, without its table of 1 KB or more: the texts are short.
const CRC_32: crc::Crc<u32, crc::NoTable> = crc::Crc::<u32, crc::NoTable>::new(&crc::CRC_32_ISO_HDLC);

/// CRC-32 in base 62, six characters.
fn checksum(text: &[u8]) -> [u8; CHECK] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = CRC_32.checksum(text);
    let mut digits = [b'0'; CHECK];
    for place in digits.iter_mut().rev() {
        let digit = usize::try_from(rest % 62).unwrap_or(0);
        *place = DIGITS.get(digit).copied().unwrap_or(b'0');
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the catalogue of CRCs.
    #[test]
    fn the_checksum_is_that_of_zip() {
        assert_eq!(CRC_32.checksum(b"123456789"), 0xcbf4_3926);
    }
}
