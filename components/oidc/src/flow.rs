//! What was begun: a sealed text that the browser keeps in a cookie until the provider sends it back. No database is written before
//! the provider has answered.
//!
//! The text is encrypted and authenticated under a key that the provider's client secret yields, so that every instance and host can
//! open it, and nobody else. State, nonce and code verifier are derived from one random seed in it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{
    error::{ApiError, Code},
    secret::{Chance, Digest, Key, equal},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use service::{response::local, settings::provider::IdentityProvider};

/// How long a person may take at the provider, seconds.
pub(crate) const LIFE: i64 = 600;
/// Bytes of the sealed text at most: with its name, the cookie has to fit into a browser's 4,096 bytes.
const LONGEST: usize = 4_000;

/// What was begun.
#[derive(Serialize, Deserialize)]
pub(crate) struct Flow {
    /// Where the person wants to go.
    next: String,
    /// Of a link: the digest of the session that asked for it.
    link: Option<String>,
    /// Whether the person is to prove anew at the provider who they are.
    #[serde(default)]
    again: bool,
    /// When it ends, milliseconds.
    ends: i64,
    seed: [u8; 32],
}

impl Flow {
    /// Begins. `session`: an identity is to be linked to the person of this session. `again`: the person is to prove anew who they are.
    pub(crate) fn begin(next: &str, (session, again): (Option<Digest>, bool), now: Timestamp, chance: &Chance) -> Self {
        Self {
            next: local(next).to_owned(),
            link: session.map(|digest| digest.to_string()),
            again,
            ends: now.plus_seconds(LIFE).millis(),
            seed: chance.bytes(),
        }
    }

    /// Seals it for the browser. What leads on by too long a path is refused: a browser would not keep it, and an app would wait for ever.
    pub(crate) fn seal(&self, provider: &IdentityProvider, chance: &Chance) -> Result<String, ApiError> {
        let internal = || ApiError::from(Code::Internal).cause("what was begun could not be sealed");
        let plain = serde_json::to_vec(self).map_err(|_| internal())?;
        let sealed = key(provider).seal(&plain, provider.name.as_bytes(), chance).ok_or_else(internal)?;
        let sealed = URL_SAFE_NO_PAD.encode(sealed);
        if sealed.len() > LONGEST {
            let refusal =
                Code::InvalidRequest.detail("The path in next, to which the sign-in leads, is too long to be kept.");
            return Err(refusal.fix("Sign in in another way, or begin with a path of at most 2,600 bytes."));
        }
        Ok(sealed)
    }

    /// Opens what the browser kept, and holds the `state` against it (RFC 6749, section 10.12). `None`: it was begun with another
    /// provider or in another browser, or took too long.
    pub(crate) fn open(provider: &IdentityProvider, sealed: &str, state: &str, now: Timestamp) -> Option<Self> {
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let plain = key(provider).open(&sealed, provider.name.as_bytes())?;
        let flow: Self = serde_json::from_slice(&plain).ok()?;
        (now.millis() < flow.ends && equal(&flow.state(), state)).then_some(flow)
    }

    /// Where the person wants to go, checked again.
    pub(crate) fn next(&self) -> &str {
        local(&self.next)
    }

    /// Of a link: the digest of the session that asked for it.
    pub(crate) fn session(&self) -> Option<Digest> {
        self.link.as_deref().and_then(Digest::parse)
    }

    /// Whether the person is to prove anew who they are.
    pub(crate) fn is_again(&self) -> bool {
        self.again
    }

    /// Whether it is a link.
    pub(crate) fn is_link(&self) -> bool {
        self.link.is_some()
    }

    /// `state` (RFC 6749, section 4.1.1).
    pub(crate) fn state(&self) -> String {
        self.derived("state")
    }

    /// `nonce` (OpenID Connect Core 1.0, section 3.1.2.1).
    pub(crate) fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// `code_verifier` (RFC 7636, section 4.1): 43 of its characters.
    pub(crate) fn verifier(&self) -> String {
        self.derived("verifier")
    }

    /// `code_challenge` by the method `S256` (RFC 7636, section 4.2).
    pub(crate) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Digest::of(self.verifier().as_bytes()).bytes())
    }

    fn derived(&self, purpose: &str) -> String {
        URL_SAFE_NO_PAD.encode(Key::derive(&self.seed, purpose, &[]).mac(b"").bytes())
    }
}

fn key(provider: &IdentityProvider) -> Key {
    let secret = provider.client_secret.reveal().as_bytes();
    Key::derive(secret, "accredit flow 1", &[&provider.issuer, &provider.client_id])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::providers;

    /// R102: bound to the provider and to `next`, and only for ten minutes.
    #[test]
    fn what_was_begun_opens_for_its_provider_and_state_in_time() {
        let (all, chance, now) = (providers(), Chance::seeded(1), Timestamp::from_millis(0));
        let [acme, other] = [&all[0], &all[1]];
        let flow = Flow::begin("/agents?q=a", (None, false), now, &chance);
        let (sealed, state) = (flow.seal(acme, &chance).unwrap(), flow.state());
        let open = |provider, sealed: &str, state: &str, at| Flow::open(provider, sealed, state, now.plus_seconds(at));
        let opened = open(acme, &sealed, &state, LIFE - 1).unwrap();
        assert_eq!((opened.next(), opened.nonce(), opened.verifier()), ("/agents?q=a", flow.nonce(), flow.verifier()));
        assert!(open(acme, &sealed, &state, LIFE).is_none());
        assert!(open(other, &sealed, &state, 0).is_none());
        assert!(open(acme, &sealed, &flow.nonce(), 0).is_none() && open(acme, &sealed, "", 0).is_none());
        let bent: String = sealed.chars().rev().collect();
        assert!(open(acme, &bent, &state, 0).is_none() && open(acme, "", &state, 0).is_none());
        let second = Flow::begin("/", (None, false), now, &chance);
        assert!(open(acme, &sealed, &second.state(), 0).is_none());
    }

    /// R664: the longest path that is taken fits into a cookie, and a longer one is refused, not forgotten.
    #[test]
    fn next_stays_on_this_site_and_fits_into_the_cookie() {
        let (all, chance, now) = (providers(), Chance::seeded(1), Timestamp::from_millis(0));
        let long = format!("/{}", "a".repeat(2_599));
        for (next, kept) in [("/a?b", "/a?b"), ("//evil.example", "/"), ("https://evil.example", "/"), (&long, &long)] {
            let flow = Flow::begin(next, (Some(Digest::of(b"a")), false), now, &chance);
            let sealed = flow.seal(&all[0], &chance).unwrap();
            assert_eq!(Flow::open(&all[0], &sealed, &flow.state(), now).unwrap().next(), kept);
            let cookie = format!("__Host-accredit-oidc-aaaaaaaaaaaa=1764420000000.{sealed}");
            assert!(cookie.len() <= 4_096, "{}", cookie.len());
        }
        let longer = Flow::begin(&format!("/{}", "a".repeat(3_000)), (None, false), now, &chance);
        assert_eq!(longer.seal(&all[0], &chance).unwrap_err().code(), Code::InvalidRequest);
    }

    /// RFC 7636, appendix B, has the example of a challenge; here its form, and that the three differ.
    #[test]
    fn the_texts_of_one_seed_differ() {
        let flow = Flow::begin("/", (None, false), Timestamp::from_millis(0), &Chance::seeded(2));
        let texts = [flow.state(), flow.nonce(), flow.verifier(), flow.challenge()];
        assert!(texts.iter().all(|text| text.len() == 43));
        let distinct: std::collections::BTreeSet<&String> = texts.iter().collect();
        assert_eq!(distinct.len(), 4);
    }
}
