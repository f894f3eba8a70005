//! Secrets of webhooks.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::Chance;

/// A secret that somebody else's server signs its calls with. Never a credential of ours; like [`super::Secret`] it cannot be copied
/// or printed.
pub struct WebhookSecret(String);

impl WebhookSecret {
    /// A new one: 32 random bytes in base64url.
    pub fn generate(chance: &Chance) -> Self {
        Self(URL_SAFE_NO_PAD.encode(chance.bytes::<32>()))
    }

    /// Takes a secret that was checked before: one that was stored, and opened by the vault.
    pub fn of(text: String) -> Self {
        Self(text)
    }

    /// Takes the secret that a caller sent: 8 to 256 visible ASCII characters. No body may hold a credential of our own, so none of
    /// them reaches another server.
    pub fn parse(text: String) -> Option<Self> {
        let is_good = (8..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        is_good.then_some(Self(text))
    }

    /// The plaintext, for the one answer that shows it and for the vault.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}
