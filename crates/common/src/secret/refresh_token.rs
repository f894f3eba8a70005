//! Refresh tokens.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Chance, Digest,
    form::{BODY, PREFIX, has_form, written},
};

/// The prefix of refresh tokens.
pub(super) const REFRESH: &str = "acr_ref_";

/// What an OAuth client gets new access tokens with. Its first half names its family, and is the same in all tokens of one grant; the second
/// half is new in each. So a token that was replaced still names the grant that it was of. No request presents it as a credential. Like
/// [`super::Secret`] it cannot be copied or printed.
pub struct RefreshToken {
    text: String,
    family: [u8; 16],
}

impl RefreshToken {
    /// The first token of a new family.
    pub fn generate(chance: &Chance) -> Self {
        Self::of(chance.bytes(), chance)
    }

    /// The next token of this one's family.
    #[must_use]
    pub fn next(&self, chance: &Chance) -> Self {
        Self::of(self.family, chance)
    }

    fn of(family: [u8; 16], chance: &Chance) -> Self {
        let mut body = [0_u8; 32];
        for (to, from) in body.iter_mut().zip(family.into_iter().chain(chance.bytes::<16>())) {
            *to = from;
        }
        Self { text: written(REFRESH, body), family }
    }

    /// Takes what a client sent, if it has the form of a refresh token.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.get(PREFIX..PREFIX + BODY).filter(|_| has_form(text.as_bytes(), REFRESH))?;
        let body = URL_SAFE_NO_PAD.decode(body).ok()?;
        let family = *body.first_chunk::<16>()?;
        Some(Self { text: text.to_owned(), family })
    }

    /// The plaintext, for the one answer that shows it.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The digest of this token.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// The digest of its family.
    pub fn family(&self) -> Digest {
        Digest::of(&self.family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{ClientSecret, Secret};

    /// R134: a refresh token names its family, of which each token is another one; what is no credential of a request is found in texts too.
    #[test]
    fn a_refresh_token_names_its_family() {
        let chance = Chance::seeded(7);
        let first = RefreshToken::generate(&chance);
        let next = RefreshToken::parse(first.reveal()).unwrap().next(&chance);
        assert_eq!(first.family(), next.family());
        assert_ne!(first.digest(), next.digest());
        assert_ne!(RefreshToken::generate(&chance).family(), first.family());
        let secret = ClientSecret::generate(&chance);
        assert!(ClientSecret::parse(secret.reveal()).is_some_and(|parsed| parsed.digest() == secret.digest()));
        for text in [next.reveal(), secret.reveal()] {
            assert!(Secret::parse(text).is_none(), "{text}");
            assert!(Secret::is_in(format!("x {text}").as_bytes()), "{text}");
            assert_eq!(Secret::cut_off(format!("x {text}")), format!("x [removed]"));
            assert!(Secret::all_in(text).is_empty());
        }
        for bad in ["", "acr_ref_", secret.reveal(), &next.reveal()[1..], &format!("{}0", next.reveal())] {
            assert!(RefreshToken::parse(bad).is_none(), "{bad}");
        }
        assert!(ClientSecret::parse(next.reveal()).is_none());
    }
}
