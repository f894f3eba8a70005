//! The operator's variable `signing_key`: the secrets from which the keys of signed tokens are derived.

use crate::secret::Key;

/// Characters of a secret at least.
const LEAST: usize = 32;

/// Reads the variable: secrets with commas between them, of which the first one signs. `None`: one is shorter than 32 characters.
pub fn keys(text: &str) -> Option<Vec<Key>> {
    let secrets = text.split([',', ' ']).filter(|part| !part.is_empty());
    secrets.map(|part| (part.len() >= LEAST).then(|| Key::derive(part.as_bytes(), "accredit signing 1", &[]))).collect()
}
