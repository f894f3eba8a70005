//! The key that a token is bound to, and its proofs: one for each request (RFC 9449).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::proof;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::fail::{Exit, Failure};

/// A private key. It leaves the file of credentials for the memory of this program alone.
#[derive(Clone)]
pub(crate) struct Key(SigningKey);

impl Key {
    /// A new one.
    pub(crate) fn make() -> Result<Self, Failure> {
        random::<32>().map(|seed| Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads what [`Key::text`] has written.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let seed: [u8; 32] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        Some(Self(SigningKey::from_bytes(&seed)))
    }

    /// The private key as it is kept.
    pub(crate) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.to_bytes())
    }

    fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.verifying_key().to_bytes())
    }

    /// What tells it from other keys (RFC 7638).
    pub(crate) fn thumbprint(&self) -> String {
        proof::thumbprint("OKP", "Ed25519", &self.public(), None)
    }

    /// A proof for one request, with the token that it presents.
    pub(crate) fn proof(&self, method: &str, uri: &str, token: Option<&str>) -> Result<String, Failure> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a proof has the time of this machine, and this program has no other clock"
        )]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": self.public() });
        let head = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk });
        let address = uri.split(['?', '#']).next().unwrap_or_default();
        let once = URL_SAFE_NO_PAD.encode(random::<16>()?);
        let mut claims = json!({ "htm": method, "htu": address, "iat": now, "jti": once });
        if let (Some(token), Some(members)) = (token, claims.as_object_mut()) {
            members.insert("ath".to_owned(), URL_SAFE_NO_PAD.encode(Sha256::digest(token)).into());
        }
        let encoded = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encoded(head), encoded(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes()).to_bytes());
        Ok(format!("{signed}.{signature}"))
    }
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0_u8; N];
    #[expect(clippy::disallowed_methods, reason = "this program has no other chance")]
    let filled = getrandom::fill(&mut bytes);
    filled.map_err(|error| Failure::new(Exit::Refused, format!("The system gives no randomness: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use common::proof::{Expected, Proof};

    use super::*;

    /// R222: a proof is one that the server reads, for this method, address and token alone, and no two are the same.
    #[test]
    fn a_proof_is_for_one_request() {
        let key = Key::make().unwrap();
        let text = key.proof("GET", "https://a.example/api/agents?limit=1", Some("acr_x")).unwrap();
        let proof = Proof::parse(&text).unwrap();
        assert_eq!(proof.thumbprint(), key.thumbprint());
        let now = proof.known_until() - proof::LIFE;
        let expected = Expected { method: "GET", url: "https://a.example/api/agents", token: Some("acr_x"), now };
        assert_eq!(proof.check(&expected), Ok(()));
        assert!(proof.check(&Expected { token: Some("acr_y"), ..expected }).is_err());
        assert_ne!(text, key.proof("GET", "https://a.example/api/agents?limit=1", Some("acr_x")).unwrap());
        let again = Key::parse(&key.text()).unwrap();
        assert_eq!(again.thumbprint(), key.thumbprint());
        assert!(["", "short", &"!".repeat(43)].into_iter().all(|text| Key::parse(text).is_none()));
    }
}
