//! The keys of signed tokens: of each secret of the operator one for Ed25519 and one for P-256. The one that signs is kept by the instance, as
//! the secret is: to derive it costs as much as a signature, some hundred microseconds.

use std::sync::{Arc, Mutex, PoisonError};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{
    error::{ApiError, Code},
    proof::thumbprint,
    secret::Key,
};
use p256::ecdsa::signature::Signer as _;
use schemars::JsonSchema;
use serde::Serialize;
use store::resource::SigningAlg;

/// A public key (RFC 7517; RFC 7518, section 6.2; RFC 8037, section 2).
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "PublicKey")]
pub(crate) struct Jwk {
    pub(crate) kty: &'static str,
    pub(crate) crv: &'static str,
    pub(crate) x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) y: Option<String>,
    pub(crate) alg: SigningAlg,
    pub(crate) r#use: &'static str,
    pub(crate) kid: String,
}

/// The key that has signed last, with its public key, and the number that it was derived from.
static LAST: Mutex<Option<([u8; 32], Arc<Signer>)>> = Mutex::new(None);

/// A key that signs, with its public key.
pub(crate) struct Signer {
    pub(crate) key: SigningKey,
    pub(crate) public: Jwk,
}

impl Signer {
    /// The key of an algorithm from a secret of the operator.
    pub(crate) fn of(secret: &Key, alg: SigningAlg) -> Result<Arc<Self>, ApiError> {
        let number = *secret.mac(format!("kept {}", alg.as_str()).as_bytes()).bytes();
        let kept = |last: &Option<([u8; 32], Arc<Self>)>| {
            last.as_ref().filter(|(known, _)| *known == number).map(|(_, signer)| Arc::clone(signer))
        };
        let last = || LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signer) = kept(&last()) {
            return Ok(signer);
        }
        let key = SigningKey::derive(secret, alg)?;
        let signer = Arc::new(Self { public: key.public(), key });
        *last() = Some((number, Arc::clone(&signer)));
        Ok(signer)
    }
}

/// A key that signs. It cannot be copied or printed.
pub(crate) enum SigningKey {
    EdDsa(ed25519_dalek::SigningKey),
    Es256(p256::ecdsa::SigningKey),
}

impl SigningKey {
    /// Derives the key of an algorithm from a secret of the operator.
    pub(crate) fn derive(secret: &Key, alg: SigningAlg) -> Result<Self, ApiError> {
        match alg {
            SigningAlg::EdDsa => {
                let seed = secret.mac(b"Ed25519");
                Ok(Self::EdDsa(ed25519_dalek::SigningKey::from_bytes(seed.bytes())))
            }
            SigningAlg::Es256 => {
                // A number that is no scalar of the curve, which one in four thousand million is, is passed over.
                let numbers = (0_u8..=255).map(|count| secret.mac(&[b"P-256 ".as_slice(), &[count]].concat()));
                let key =
                    numbers.map(|number| p256::ecdsa::SigningKey::from_slice(number.bytes())).find_map(Result::ok);
                let key = key.ok_or_else(|| ApiError::from(Code::Internal).cause("no number is a scalar of P-256"))?;
                Ok(Self::Es256(key))
            }
        }
    }

    /// Signs a text (RFC 7518, section 3.4; RFC 8037, section 3.1).
    pub(crate) fn sign(&self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::EdDsa(key) => key.sign(text).to_bytes().to_vec(),
            Self::Es256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(text);
                signature.to_bytes().to_vec()
            }
        }
    }

    /// The public key, named by its thumbprint.
    pub(crate) fn public(&self) -> Jwk {
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (alg, kty, crv, x, y) = match self {
            Self::EdDsa(key) => (SigningAlg::EdDsa, "OKP", "Ed25519", encoded(key.verifying_key().as_bytes()), None),
            Self::Es256(key) => {
                // SEC 1, section 2.3.3: an uncompressed point is 4, x, y.
                let point = key.verifying_key().to_sec1_point(false);
                let (x, y) = point.as_bytes().get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
                (SigningAlg::Es256, "EC", "P-256", encoded(x), Some(encoded(y)))
            }
        };
        let kid = thumbprint(kty, crv, &x, y.as_deref());
        Jwk { kty, crv, x, y, alg, r#use: "sig", kid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.3.
    #[test]
    fn a_thumbprint_is_that_of_the_standards_example() {
        let thumbprint = thumbprint("OKP", "Ed25519", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", None);
        assert_eq!(thumbprint, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    /// R126: of one secret the same keys each time, and of another one others.
    #[test]
    fn keys_are_those_of_their_secret() {
        let keys = |text: &str| {
            let secret = common::signing::keys(&text.repeat(32)).unwrap().remove(0);
            [SigningAlg::EdDsa, SigningAlg::Es256].map(|alg| SigningKey::derive(&secret, alg).unwrap().public())
        };
        assert_eq!(keys("a"), keys("a"));
        // The one that is kept is the one that is asked for.
        for (text, alg, at) in [
            ("a", SigningAlg::EdDsa, 0),
            ("a", SigningAlg::EdDsa, 0),
            ("a", SigningAlg::Es256, 1),
            ("b", SigningAlg::Es256, 1),
            ("b", SigningAlg::EdDsa, 0),
        ] {
            let secret = common::signing::keys(&text.repeat(32)).unwrap().remove(0);
            let signer = Signer::of(&secret, alg).unwrap();
            assert_eq!((&signer.public, &signer.key.public()), (&keys(text)[at], &keys(text)[at]));
        }
        let ([a, b], [c, d]) = (keys("a"), keys("b"));
        let kids = std::collections::BTreeSet::from([&a.kid, &b.kid, &c.kid, &d.kid]);
        assert_eq!((kids.len(), a.x.len(), b.y.map(|y| y.len())), (4, 43, Some(43)));
    }
}
