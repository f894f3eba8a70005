//! Secrets of OAuth clients.

use super::{
    Chance, Digest,
    form::{has_form, shown, written},
};

/// The prefix of secrets of OAuth clients.
pub(super) const CLIENT: &str = "acr_cls_";

/// What a confidential OAuth client proves itself with. Like [`super::Secret`] it cannot be copied or printed.
pub struct ClientSecret(String);

impl ClientSecret {
    /// A new one.
    pub fn generate(chance: &Chance) -> Self {
        Self(written(CLIENT, chance.bytes()))
    }

    /// Takes what a client sent, if it has the form of such a secret.
    pub fn parse(text: &str) -> Option<Self> {
        has_form(text.as_bytes(), CLIENT).then(|| Self(text.to_owned()))
    }

    /// The part that may be shown later.
    pub fn shown(&self) -> String {
        shown(&self.0)
    }

    /// The plaintext, for the one answer that shows it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The digest, which is stored.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}
