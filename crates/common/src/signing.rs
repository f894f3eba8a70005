//! The operator's variable `signing_key`: the secrets from which the keys of signed tokens are derived.

use crate::secret::Key;

/// Reads the variable: secrets with commas between them, of which the first one signs. `None`: one is shorter than 32 characters.
pub fn keys(text: &str) -> Option<Vec<Key>> {
    Key::read_all(text, "accredit signing 1")
}
