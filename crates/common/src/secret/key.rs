//! Keys for keyed digests and for sealing.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{Chance, Digest};

/// A 32-byte key for keyed digests and for sealing. Like [`super::Secret`] it cannot be copied or printed.
pub struct Key([u8; 32]);

/// Characters of an operator's secret at least.
const LEAST: usize = 32;

impl Key {
    /// The keys for a purpose from an operator's variable: one secret, or several with commas or blanks between them. `None`: one is shorter
    /// than 32 characters.
    pub fn read_all(variable: &str, purpose: &str) -> Option<Vec<Self>> {
        let secrets = variable.split([',', ' ']).filter(|secret| !secret.is_empty());
        secrets.map(|secret| (secret.len() >= LEAST).then(|| Self::derive(secret.as_bytes(), purpose, &[]))).collect()
    }

    /// Derives a key: HMAC-SHA-256 under `secret` over a purpose and parts, each with its length.
    pub fn derive(secret: &[u8], purpose: &str, parts: &[&str]) -> Self {
        let inputs: Vec<&str> = std::iter::once(purpose).chain(parts.iter().copied()).collect();
        Self(hmac(secret, Digest::of_parts(&inputs).bytes()))
    }

    /// A keyed digest of `bytes`: HMAC-SHA-256.
    pub fn mac(&self, bytes: &[u8]) -> Digest {
        hmac(&self.0, bytes).into()
    }

    /// Encrypts and authenticates (XChaCha20-Poly1305); the 24-byte nonce comes first. `bound` must be given again to open.
    /// `None` only when the cipher refuses, which it does for plaintexts of more than 256 GiB.
    pub fn seal(&self, plain: &[u8], bound: &[u8], chance: &Chance) -> Option<Vec<u8>> {
        let nonce = chance.bytes::<24>();
        let cipher = XChaCha20Poly1305::new(&self.0.into());
        let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: bound }).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Key::seal`] made; `None`: another key, other bound bytes, or a changed text.
    pub fn open(&self, sealed: &[u8], bound: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<24>()?;
        let cipher = XChaCha20Poly1305::new(&self.0.into());
        cipher.decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: bound }).ok()
    }
}

/// HMAC-SHA-256.
pub(crate) fn hmac(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    // HMAC takes keys of every length (RFC 2104, section 2); the error type stands for block ciphers only.
    match <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key) {
        Ok(mac) => mac.chain_update(bytes).finalize().into_bytes().into(),
        Err(_) => std::process::abort(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_text_opens_only_with_its_key_and_its_bound_bytes() {
        let chance = Chance::seeded(3);
        let key = Key::derive(b"one", "test", &[]);
        let sealed = key.seal(b"plain", b"row 1", &chance).unwrap();
        assert_eq!(key.open(&sealed, b"row 1").as_deref(), Some(&b"plain"[..]));
        assert_eq!(key.open(&sealed, b"row 2"), None);
        assert_eq!(Key::derive(b"two", "test", &[]).open(&sealed, b"row 1"), None);
        assert_eq!(key.open(&sealed[..10], b"row 1"), None);
    }
}
