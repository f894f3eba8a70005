//! Secrets, their digests, and the randomness they are made of.
//!
//! A credential is `prefix + 43 base64url characters (32 random bytes) + 6 base62 characters`, where the last six are the
//! CRC-32 (ISO-HDLC) of all before them, zero-padded. [`PATTERN`] is published for secret scanners.

use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// The regular expression by which a scanner finds any of our credentials.
pub const PATTERN: &str = "acr_(ses|pat|agt|key|ref|cls)_[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}";

/// Characters of 32 random bytes in base64url without padding.
const BODY: usize = 43;
/// Characters of the checksum.
const CHECK: usize = 6;
/// Characters behind the prefix that may be shown later.
const SHOWN: usize = 8;

/// Characters of a prefix.
const PREFIX: usize = 8;
/// Characters of a credential.
const LENGTH: usize = PREFIX + BODY + CHECK;
/// What every prefix begins with.
const BEGINNING: &[u8] = b"acr_";
/// What stands for a credential, and for what follows it, in a text that must be kept.
const REMOVED: &str = "[removed]";

/// Where randomness comes from: the system, or a seed in tests.
#[derive(Clone)]
pub enum Chance {
    /// The operating system's generator.
    System,
    /// SHA-256 of a counter: repeatable, for tests only.
    Seeded(Arc<Mutex<u64>>),
}

impl Chance {
    /// A generator that gives the same bytes for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new(seed << 32)))
    }

    /// `N` random bytes. Without randomness nothing here can be safe, so a failing generator ends the instance.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0_u8; N];
        match self {
            Self::System => {
                #[expect(clippy::disallowed_methods, reason = "the one place that reads randomness")]
                let filled = getrandom::fill(&mut bytes);
                if filled.is_err() {
                    std::process::abort();
                }
            }
            Self::Seeded(state) => {
                let mut state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                for chunk in bytes.chunks_mut(32) {
                    *state = state.wrapping_add(1);
                    for (to, from) in chunk.iter_mut().zip(Sha256::digest(state.to_be_bytes())) {
                        *to = from;
                    }
                }
            }
        }
        bytes
    }
}

/// The kinds of credential, each with its own prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "CredentialKind")]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A person who signed in.
    Session,
    /// A personal access token: a person's CLI or CI.
    Pat,
    /// The one active token of an agent.
    AgentToken,
    /// One of several named keys of an agent.
    ApiKey,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Session, Self::Pat, Self::AgentToken, Self::ApiKey];

    /// The prefix of credentials of this kind.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Session => "acr_ses_",
            Self::Pat => "acr_pat_",
            Self::AgentToken => "acr_agt_",
            Self::ApiKey => "acr_key_",
        }
    }

    /// The word that is stored and answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Pat => "pat",
            Self::AgentToken => "agent_token",
            Self::ApiKey => "api_key",
        }
    }

    /// The kind in words, for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Pat => "personal access token",
            Self::AgentToken => "token",
            Self::ApiKey => "key",
        }
    }

    /// The kind that a stored word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A credential in clear. It cannot be copied, printed or serialised by habit: [`Secret::reveal`] is the one exit.
pub struct Secret {
    kind: Kind,
    text: String,
}

impl Secret {
    /// A new credential.
    pub fn generate(kind: Kind, chance: &Chance) -> Self {
        Self { kind, text: written(kind.prefix(), chance.bytes()) }
    }

    /// Takes what a caller presented, if prefix, length, alphabet and checksum are right. Reads nothing but the text.
    pub fn parse(text: &str) -> Option<Self> {
        kind(text.as_bytes()).map(|kind| Self { kind, text: text.to_owned() })
    }

    /// Whether a text holds one of our credentials. With the checksum a match is certain: a text that only looks like one is none.
    pub fn is_in(text: &[u8]) -> bool {
        place(text).is_some()
    }

    /// All of our credentials that a text holds.
    pub fn all_in(text: &str) -> Vec<Self> {
        let (mut found, mut rest) = (Vec::new(), text);
        while let Some((secret, after)) = place(rest.as_bytes()).and_then(|at| rest.get(at..)?.split_at_checked(LENGTH))
        {
            found.extend(Self::parse(secret));
            rest = after;
        }
        found
    }

    /// The text up to the first of our credentials, for texts that must be kept whatever was sent.
    pub fn cut_off(mut text: String) -> String {
        if let Some(at) = place(text.as_bytes()) {
            text.truncate(at);
            text.push_str(REMOVED);
        }
        text
    }

    /// The kind that the prefix names.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The plaintext, for the one answer that shows it. Grep for this name to see every use.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The digest, which is stored and looked up.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// The part that may be shown later: the kind's prefix and the first eight characters.
    pub fn shown(&self) -> String {
        self.text.chars().take(PREFIX + SHOWN).collect()
    }
}

/// Where the first of our credentials stands in a text.
fn place(text: &[u8]) -> Option<usize> {
    let is_ours = |part: &[u8]| kind(part).is_some() || has_form(part, REFRESH) || has_form(part, CLIENT);
    text.windows(LENGTH).position(|part| part.starts_with(BEGINNING) && is_ours(part))
}

/// The kind of credential that a text is, if it is one.
fn kind(text: &[u8]) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| has_form(text, kind.prefix()))
}

/// Prefix, body and checksum.
fn written(prefix: &str, body: [u8; 32]) -> String {
    let mut text = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(body));
    let check = checksum(text.as_bytes());
    text.extend(check.into_iter().map(char::from));
    text
}

/// Whether a text is a secret with this prefix.
fn has_form(text: &[u8], prefix: &str) -> bool {
    let Some((body, check)) = text.split_last_chunk::<CHECK>() else { return false };
    text.len() == LENGTH && text.starts_with(prefix.as_bytes()) && text.is_ascii() && checksum(body) == *check
}

/// The prefix of refresh tokens.
const REFRESH: &str = "acr_ref_";
/// The prefix of secrets of OAuth clients.
const CLIENT: &str = "acr_cls_";

/// What an OAuth client gets new access tokens with. Its first half names its family, and is the same in all tokens of one grant; the second
/// half is new in each. So a token that was replaced still names the grant that it was of. No request presents it as a credential. Like
/// [`Secret`] it cannot be copied or printed.
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

/// What a confidential OAuth client proves itself with. Like [`Secret`] it cannot be copied or printed.
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
        self.0.chars().take(PREFIX + SHOWN).collect()
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

/// A secret that somebody else's server signs its calls with. Never a credential of ours; like [`Secret`] it cannot be copied
/// or printed.
pub struct WebhookSecret(String);

impl WebhookSecret {
    /// A new one: 32 random bytes in base64url.
    pub fn generate(chance: &Chance) -> Self {
        Self(URL_SAFE_NO_PAD.encode(chance.bytes::<32>()))
    }

    /// Takes a secret that was checked before: one that was stored, and opened by the vault.
    pub fn of(text: String) -> Self {
        Self(text)
    }

    /// Takes the secret that a caller sent: 8 to 256 visible ASCII characters. No body may hold a credential of our own, so none of
    /// them reaches another server.
    pub fn parse(text: String) -> Option<Self> {
        let is_good = (8..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        is_good.then_some(Self(text))
    }

    /// The plaintext, for the one answer that shows it and for the vault.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// A code that opens something once: it is mailed, or handed to a runtime. Like [`Secret`] it cannot be copied or printed.
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

/// The letters of user codes: no vowels, so that no word comes out, and none that looks like another (RFC 8628, section 6.1).
const USER_LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Letters of a user code, which is shown in two groups.
const USER_CODE: usize = 8;
/// The largest multiple of the number of letters that fits into a byte: what is above would make some letters more likely.
const USER_BYTES: u8 = 240;

/// What a person types at a page to sign a device in. Short, so it lives for minutes and guesses are counted.
pub struct UserCode(String);

impl UserCode {
    /// A new one: eight letters.
    pub fn generate(chance: &Chance) -> Self {
        let mut letters = String::with_capacity(USER_CODE);
        while letters.len() < USER_CODE {
            let fair = chance.bytes::<16>().into_iter().filter(|byte| *byte < USER_BYTES);
            let fair = fair.filter_map(|byte| USER_LETTERS.get(usize::from(byte) % USER_LETTERS.len()));
            letters.extend(fair.take(USER_CODE - letters.len()).map(|letter| char::from(*letter)));
        }
        Self(letters)
    }

    /// Takes what a person typed, or copied out of a text: letters in any case, with blanks, any hyphens and full stops wherever they are.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '.' | '\u{ad}' | '\u{2010}'..='\u{2015}' | '\u{2212}'))
            .map(|c| c.to_ascii_uppercase())
            .take(USER_CODE + 1)
            .collect();
        let is_good = letters.len() == USER_CODE && letters.bytes().all(|letter| USER_LETTERS.contains(&letter));
        is_good.then_some(Self(letters))
    }

    /// The code as it is shown: two groups with a hyphen between them.
    pub fn reveal(&self) -> String {
        let (first, second) = self.0.split_at(USER_CODE / 2);
        format!("{first}-{second}")
    }

    /// The digest, which is stored and looked up.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

/// The checksum of zip and PNG, without its table of 1 KB or more: the texts are short.
const CRC_32: crc::Crc<u32, crc::NoTable> = crc::Crc::<u32, crc::NoTable>::new(&crc::CRC_32_ISO_HDLC);

/// CRC-32 in base 62, six characters.
fn checksum(text: &[u8]) -> [u8; CHECK] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = CRC_32.checksum(text);
    let mut digits = [b'0'; CHECK];
    for place in digits.iter_mut().rev() {
        let digit = usize::try_from(rest % 62).unwrap_or(0);
        *place = DIGITS.get(digit).copied().unwrap_or(b'0');
        rest /= 62;
    }
    digits
}

/// A SHA-256 digest: of a credential (what is stored of it), or of several parts of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of several parts. Each part's length goes in too, so that no two lists of parts run together.
    pub fn of_parts(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.finalize().into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
        let (pairs, []) = digits.as_deref()?.as_chunks::<2>() else { return None };
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in a time that does not depend on where the two differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// From the 32 bytes of a digest that was stored.
impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Hexadecimal, as digests are shown.
impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A 32-byte key for keyed digests and for sealing. Like [`Secret`] it cannot be copied or printed.
pub struct Key([u8; 32]);

/// Characters of an operator's secret at least.
const LEAST: usize = 32;

impl Key {
    /// The keys for a purpose from an operator's variable: one secret, or several with commas or blanks between them. `None`: one is shorter
    /// than 32 characters.
    pub fn read_all(variable: &str, purpose: &str) -> Option<Vec<Self>> {
        let secrets = variable.split([',', ' ']).filter(|secret| !secret.is_empty());
        secrets.map(|secret| (secret.len() >= LEAST).then(|| Self::derive(secret.as_bytes(), purpose, &[]))).collect()
    }

    /// Derives a key: HMAC-SHA-256 under `secret` over a purpose and parts, each with its length.
    pub fn derive(secret: &[u8], purpose: &str, parts: &[&str]) -> Self {
        let inputs: Vec<&str> = std::iter::once(purpose).chain(parts.iter().copied()).collect();
        Self(hmac(secret, Digest::of_parts(&inputs).bytes()))
    }

    /// A keyed digest of `bytes`: HMAC-SHA-256.
    pub fn mac(&self, bytes: &[u8]) -> Digest {
        Digest(hmac(&self.0, bytes))
    }

    /// Encrypts and authenticates (XChaCha20-Poly1305); the 24-byte nonce comes first. `bound` must be given again to open.
    /// `None` only when the cipher refuses, which it does for plaintexts of more than 256 GiB.
    pub fn seal(&self, plain: &[u8], bound: &[u8], chance: &Chance) -> Option<Vec<u8>> {
        let nonce = chance.bytes::<24>();
        let cipher = XChaCha20Poly1305::new(&self.0.into());
        let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: bound }).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Key::seal`] made; `None`: another key, other bound bytes, or a changed text.
    pub fn open(&self, sealed: &[u8], bound: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<24>()?;
        let cipher = XChaCha20Poly1305::new(&self.0.into());
        cipher.decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: bound }).ok()
    }
}

/// HMAC-SHA-256.
pub(crate) fn hmac(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    // HMAC takes keys of every length (RFC 2104, section 2); the error type stands for block ciphers only.
    match <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key) {
        Ok(mac) => mac.chain_update(bytes).finalize().into_bytes().into(),
        Err(_) => std::process::abort(),
    }
}

/// Compares two texts in a time that depends on neither.
pub fn equal(left: &str, right: &str) -> bool {
    Digest::of(left.as_bytes()).matches(&Digest::of(right.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the catalogue of CRCs.
    #[test]
    fn the_checksum_is_that_of_zip() {
        assert_eq!(CRC_32.checksum(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_one_time_code_is_parsed_by_its_form_alone() {
        let code = OneTimeCode::generate(&Chance::seeded(3));
        assert!(OneTimeCode::parse(code.reveal()).is_some_and(|parsed| parsed.digest() == code.digest()));
        for bad in ["", "short", &format!("{}=", code.reveal()), &"ä".repeat(21)] {
            assert!(OneTimeCode::parse(bad).is_none(), "{bad}");
        }
    }

    /// R104.
    #[test]
    fn a_user_code_is_read_however_it_is_typed() {
        let code = UserCode::generate(&Chance::seeded(5));
        let shown = code.reveal();
        assert_eq!((shown.len(), shown.find('-')), (9, Some(4)));
        // Also as it comes out of a text: with another hyphen, or the full stop of its sentence.
        let other = ["\u{2011}", "\u{2013}", "\u{a0}"].map(|between| format!("{}.", shown.replace('-', between)));
        let typed =
            [shown.clone(), shown.to_lowercase(), shown.replace('-', ""), format!(" {} ", shown.replace('-', " - "))];
        for typed in typed.into_iter().chain(other) {
            assert!(UserCode::parse(&typed).is_some_and(|parsed| parsed.digest() == code.digest()), "{typed}");
        }
        for bad in ["", "BCDF", "BCDF-GHJ", "BCDF-GHJKL", "ACDF-GHJK", "BCDF-GHJ1", "BCDF_GHJK", "\u{212a}CDFGHJK"] {
            assert!(UserCode::parse(bad).is_none(), "{bad}");
        }
        let mut seen = [0_u32; 128];
        let chance = Chance::seeded(6);
        for _ in 0..1000 {
            UserCode::generate(&chance).0.bytes().for_each(|letter| seen[usize::from(letter)] += 1);
        }
        assert!(USER_LETTERS.iter().all(|letter| (300..500).contains(&seen[usize::from(*letter)])), "{seen:?}");
    }

    #[test]
    fn a_credential_has_prefix_body_and_checksum() {
        let chance = Chance::seeded(1);
        for kind in Kind::ALL {
            let secret = Secret::generate(kind, &chance);
            assert_eq!(secret.reveal().len(), 8 + 43 + 6);
            assert_eq!(secret.shown(), &secret.reveal()[..16]);
            assert_eq!(Secret::parse(secret.reveal()).map(|s| s.kind()), Some(kind));
        }
    }

    /// R1: nothing that a person can mistype or a scanner can invent passes the checksum.
    #[test]
    fn one_changed_character_is_refused() {
        let secret = Secret::generate(Kind::AgentToken, &Chance::seeded(2));
        for at in 0..secret.reveal().len() {
            let mut bytes = secret.reveal().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(Secret::parse(&String::from_utf8(bytes).unwrap()).is_none(), "character {at}");
        }
        let text = secret.reveal();
        for bad in ["", "acr_", "acr_agt_", &text[..56], &format!("{text}0"), &format!("x{text}"), "acr_agt_\u{e9}"] {
            assert!(Secret::parse(bad).is_none(), "{bad:?}");
        }
    }

    /// R82: a credential is found wherever it stands in a text; what only looks like one is not.
    #[test]
    fn a_credential_in_a_text_is_found_and_cut_off() {
        let chance = Chance::seeded(4);
        for kind in Kind::ALL {
            let (one, two) = (Secret::generate(kind, &chance), Secret::generate(kind, &chance));
            let (one, two) = (one.reveal(), two.reveal());
            for (text, kept) in [
                (one.to_owned(), ""),
                (format!("use {one}, please"), "use "),
                (format!("xacr_{one}0 \u{e9}{two}"), "xacr_"),
                (format!("\u{e9}{one}{two}"), "\u{e9}"),
                (format!("acr_pat_{one}"), "acr_pat_"),
            ] {
                assert!(Secret::is_in(text.as_bytes()), "{text}");
                assert_eq!(Secret::cut_off(text), format!("{kept}{REMOVED}"));
            }
            let wrong = format!("{}0", &one[..one.len() - 1]);
            let wrong = if wrong == one { format!("{}1", &one[..one.len() - 1]) } else { wrong };
            let cut = format!("{}\u{e9}", &one[..one.len() - 1]);
            for text in [&one[..56], &one[1..], &wrong, &cut, "acr_", PATTERN, "[removed]", ""] {
                assert!(!Secret::is_in(text.as_bytes()) && Secret::cut_off(text.to_owned()) == text, "{text}");
            }
        }
    }

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
            assert_eq!(Secret::cut_off(format!("x {text}")), format!("x {REMOVED}"));
            assert!(Secret::all_in(text).is_empty());
        }
        for bad in ["", "acr_ref_", secret.reveal(), &next.reveal()[1..], &format!("{}0", next.reveal())] {
            assert!(RefreshToken::parse(bad).is_none(), "{bad}");
        }
        assert!(ClientSecret::parse(next.reveal()).is_none());
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(Digest::of_parts(&["ab", "c"]), Digest::of_parts(&["a", "bc"]));
    }

    #[test]
    fn a_digest_is_read_as_it_is_shown() {
        let digest = Digest::of(b"x");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        for bad in ["", "00", &"0".repeat(63), &"0".repeat(65), &"0".repeat(66), &"g".repeat(64)] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_sealed_text_opens_only_with_its_key_and_its_bound_bytes() {
        let chance = Chance::seeded(3);
        let key = Key::derive(b"one", "test", &[]);
        let sealed = key.seal(b"plain", b"row 1", &chance).unwrap();
        assert_eq!(key.open(&sealed, b"row 1").as_deref(), Some(&b"plain"[..]));
        assert_eq!(key.open(&sealed, b"row 2"), None);
        assert_eq!(Key::derive(b"two", "test", &[]).open(&sealed, b"row 1"), None);
        assert_eq!(key.open(&sealed[..10], b"row 1"), None);
    }
}
