//! Codes of links, and for runtimes.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Chance, Digest, form::BODY};

/// A code that opens something once: it is mailed, or handed to a runtime. Like [`super::Secret`] it cannot be copied or printed.
pub struct OneTimeCode(String);

impl OneTimeCode {
    /// A new one: 32 random bytes in base64url.
    pub fn generate(chance: &Chance) -> Self {
        Self(URL_SAFE_NO_PAD.encode(chance.bytes::<32>()))
    }

    /// Takes what a caller sent, if it has the form of a code.
    pub fn parse(text: &str) -> Option<Self> {
        let is_good = text.len() == BODY && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        is_good.then(|| Self(text.to_owned()))
    }

    /// The plaintext, for the message that carries it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The digest, which is stored and looked up.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_time_code_is_parsed_by_its_form_alone() {
        let code = OneTimeCode::generate(&Chance::seeded(3));
        assert!(OneTimeCode::parse(code.reveal()).is_some_and(|parsed| parsed.digest() == code.digest()));
        for bad in ["", "short", &format!("{}=", code.reveal()), &"ä".repeat(21)] {
            assert!(OneTimeCode::parse(bad).is_none(), "{bad}");
        }
    }
}
