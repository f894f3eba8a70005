//! The public keys of Accredit (RFC 7517): Ed25519 (RFC 8037) and P-256 (RFC 7518, section 6.2), each for its own algorithm alone.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::ecdsa::signature::Verifier;
use serde_json::Value as Json;

/// The most keys that are read of a set.
const MOST: usize = 64;

/// A set of keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys(Vec<Key>);

#[derive(Debug, PartialEq, Eq)]
struct Key {
    id: String,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    EdDsa(ed25519_dalek::VerifyingKey),
    Es256(Box<p256::ecdsa::VerifyingKey>),
}

impl Keys {
    /// Reads a set. Keys of other kinds are left out. `None`: it is no set.
    pub(crate) fn parse(set: &Json) -> Option<Self> {
        let keys = set.get("keys")?.as_array()?;
        Some(Self(keys.iter().take(MOST).filter_map(Key::parse).collect()))
    }

    /// Whether a key has this name.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id == id)
    }

    /// Whether the key with this name, which must be one of this algorithm, has signed a text.
    pub(crate) fn verify(&self, id: &str, algorithm: &str, text: &[u8], signature: &[u8]) -> bool {
        let holds = |key: &Key| match (&key.kind, algorithm) {
            (Kind::EdDsa(key), "EdDSA") => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(text, &signature).is_ok()),
            (Kind::Es256(key), "ES256") => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(text, &signature).is_ok()),
            _ => false,
        };
        self.0.iter().filter(|key| key.id == id).any(holds)
    }
}

impl Key {
    fn parse(json: &Json) -> Option<Self> {
        let word = |name: &str| json.get(name).and_then(Json::as_str);
        let bytes = |name: &str| -> Option<[u8; 32]> { URL_SAFE_NO_PAD.decode(word(name)?).ok()?.try_into().ok() };
        if !matches!(word("use"), None | Some("sig")) {
            return None;
        }
        let kind = match (word("kty")?, word("crv")?, word("alg")?) {
            ("OKP", "Ed25519", "EdDSA") => Kind::EdDsa(ed25519_dalek::VerifyingKey::from_bytes(&bytes("x")?).ok()?),
            ("EC", "P-256", "ES256") => {
                // SEC 1, section 2.3.3: an uncompressed point.
                let point = [&[4], bytes("x")?.as_slice(), bytes("y")?.as_slice()].concat();
                Kind::Es256(Box::new(p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok()?))
            }
            _ => return None,
        };
        Some(Self { id: word("kid")?.to_owned(), kind })
    }
}
