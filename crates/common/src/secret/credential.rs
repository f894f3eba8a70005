//! Credentials: what a request presents.

use super::{
    Chance, Digest,
    client_secret::CLIENT,
    form::{LENGTH, has_form, shown, written},
    refresh_token::REFRESH,
};

/// What every prefix begins with.
const BEGINNING: &[u8] = b"acr_";
/// What stands for a credential, and for what follows it, in a text that must be kept.
const REMOVED: &str = "[removed]";

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
        shown(&self.text)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::PATTERN;

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
}
