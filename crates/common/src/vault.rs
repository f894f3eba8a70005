//! The vault: encrypts what must be read again, such as a webhook's secret, under the operator's variable `secrets_key`.
//!
//! 1. The variable holds one key, or several with commas between them: the first one encrypts, all of them decrypt, so that
//!    one can be replaced. The tick seals again, under the first one, what was sealed under the others.
//! 2. What is sealed is 8 bytes that say which key, then nonce and text of XChaCha20-Poly1305.
//! 3. A purpose and the ids of the row are authenticated with it: a sealed text that was moved to another row does not open there.

use crate::{
    error::{ApiError, Code},
    secret::{Chance, Digest, Key},
};

/// Bytes that say which key, at the beginning of what is sealed.
pub const KEY_ID: usize = 8;

/// The purpose of the secret of a webhook's key, with which another service signs; its place is agent and key.
pub const WEBHOOK: &str = "webhook";
/// The purpose of a second factor's secret; its place is the person.
pub const TOTP: &str = "totp";
/// The purpose of an agent's secret; its place is tenant, agent and name.
pub const SECRET: &str = "secret";

/// The operator's keys; none: nothing can be sealed, and nothing opens.
#[derive(Default)]
pub struct Vault(Vec<Key>);

/// Why a sealed text did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// It was sealed under a key that is not set now.
    KeyMissing,
    /// It was changed, or belongs to another place.
    Altered,
}

impl From<OpenError> for ApiError {
    fn from(closed: OpenError) -> Self {
        match closed {
            OpenError::KeyMissing => Self::from(Code::SecretsDisabled).cause("sealed under a key that is not set"),
            OpenError::Altered => Self::from(Code::Internal).cause("a sealed secret could not be opened"),
        }
    }
}

impl Vault {
    /// Reads the variable; `None`: a key is shorter than 32 characters.
    pub fn parse(text: &str) -> Option<Self> {
        Key::read_all(text, "accredit vault 1").map(Self)
    }

    /// Encrypts a text for one place: a purpose, and the ids that name the row.
    pub fn seal(&self, purpose: &str, place: &[&str], plain: &str, chance: &Chance) -> Result<Vec<u8>, ApiError> {
        let key = self.0.first().ok_or(Code::SecretsDisabled)?;
        let sealed = key.seal(plain.as_bytes(), bound(purpose, place).bytes(), chance);
        let sealed = sealed.ok_or_else(|| ApiError::from(Code::Internal).cause("a secret could not be sealed"))?;
        Ok([key_id(key).as_slice(), &sealed].concat())
    }

    /// The names of all keys but the first: what was sealed under them can be sealed again.
    pub fn older_keys(&self) -> impl Iterator<Item = [u8; KEY_ID]> {
        self.0.iter().skip(1).map(key_id)
    }

    /// Decrypts what was sealed for this place.
    pub fn open(&self, purpose: &str, place: &[&str], sealed: &[u8]) -> Result<String, OpenError> {
        let (id, sealed) = sealed.split_first_chunk::<KEY_ID>().ok_or(OpenError::Altered)?;
        let key = self.0.iter().find(|key| key_id(key) == *id).ok_or(OpenError::KeyMissing)?;
        let plain = key.open(sealed, bound(purpose, place).bytes()).ok_or(OpenError::Altered)?;
        String::from_utf8(plain).map_err(|_| OpenError::Altered)
    }
}

/// The data that is authenticated beside the text.
fn bound(purpose: &str, place: &[&str]) -> Digest {
    let parts: Vec<&str> = std::iter::once(purpose).chain(place.iter().copied()).collect();
    Digest::of_parts(&parts)
}

/// The name of a key: it does not reveal the key.
fn key_id(key: &Key) -> [u8; KEY_ID] {
    key.mac(b"key id").bytes().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "the old key of thirty-two characters or more";

    fn vault(text: &str) -> Vault {
        Vault::parse(&text.replace(' ', "-")).unwrap()
    }

    /// R48: bound to its row; a ciphertext that was moved or changed does not open.
    #[test]
    fn what_is_sealed_opens_in_its_own_place_only() {
        let (vault, chance) = (vault(OLD), Chance::seeded(1));
        let place = ["agt_1", "key_1"];
        let sealed = vault.seal("webhook", &place, "s3cret", &chance).unwrap();
        assert_eq!(vault.open("webhook", &place, &sealed).as_deref(), Ok("s3cret"));
        for (purpose, place) in [
            ("webhook", ["agt_1", "key_2"]),
            ("webhook", ["agt_2", "key_1"]),
            ("webhook", ["agt_1key", "_1"]),
            ("other", place),
        ] {
            assert_eq!(vault.open(purpose, &place, &sealed), Err(OpenError::Altered));
        }
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            let why = if at < KEY_ID { OpenError::KeyMissing } else { OpenError::Altered };
            assert_eq!(vault.open("webhook", &place, &bent), Err(why), "byte {at}");
        }
        assert_eq!(vault.open("webhook", &place, &sealed[..KEY_ID - 1]), Err(OpenError::Altered));
        assert_ne!(vault.seal("webhook", &place, "s3cret", &chance).unwrap(), sealed, "a nonce of its own");
    }

    #[test]
    fn a_key_is_replaced_by_one_before_it() {
        let (new, chance) = ("a new key that is as long as it must be", Chance::seeded(2));
        let sealed = vault(OLD).seal("webhook", &["a"], "s3cret", &chance).unwrap();
        let both = Vault::parse(&format!("{},{}", new.replace(' ', "-"), OLD.replace(' ', "-"))).unwrap();
        assert_eq!(both.open("webhook", &["a"], &sealed).as_deref(), Ok("s3cret"));
        let anew = both.seal("webhook", &["a"], "s3cret", &chance).unwrap();
        assert_eq!(vault(new).open("webhook", &["a"], &anew).as_deref(), Ok("s3cret"));
        assert_eq!(vault(OLD).open("webhook", &["a"], &anew), Err(OpenError::KeyMissing));
    }

    /// R48: without a key nothing is stored.
    #[test]
    fn without_a_key_nothing_is_sealed() {
        let none = Vault::parse("").unwrap();
        let refused = none.seal("webhook", &["a"], "s3cret", &Chance::seeded(3)).err().map(|refusal| refusal.code());
        assert_eq!(refused, Some(Code::SecretsDisabled));
        assert!(Vault::parse("short").is_none() && Vault::parse(&format!("{},short", "x".repeat(32))).is_none());
    }
}
