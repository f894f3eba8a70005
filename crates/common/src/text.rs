//! Rules for texts, numbers and times that a caller sent.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use icu_normalizer::ComposingNormalizerBorrowed;
use serde_json::Value as Json;

pub use crate::letter::is_unseen;
use crate::{
    error::{ApiError, Code},
    letter::selects,
    secret::Secret,
    time::Timestamp,
};

/// Reads a moment: RFC 3339 in UTC.
pub fn moment(field: &'static str, value: &str) -> Result<Timestamp, ApiError> {
    Timestamp::parse(value).ok_or_else(|| Code::InvalidTime.with("field", field))
}

/// Trims and checks a text of one line: `1..=most` characters, none of them control, bidirectional or invisible.
pub fn text(field: &'static str, value: &str, most: usize) -> Result<String, ApiError> {
    checked(field, value, most, |_| false)
}

/// The same for a person's name, or a part of one, which is composed (normal form C): it is found however its letters and their marks were
/// typed. The tables for it make a component 75 KB larger.
pub fn persons_name(field: &'static str, value: &str, most: usize) -> Result<String, ApiError> {
    text(field, &ComposingNormalizerBorrowed::new_nfc().normalize(value), most)
}

/// The part of a name that a list is searched for; nothing typed is no filter.
pub fn part(q: Option<&str>) -> Result<Option<String>, ApiError> {
    word("q", q, 100)
}

/// A filter that takes a text; nothing typed is no filter.
pub fn word(field: &'static str, value: Option<&str>, most: usize) -> Result<Option<String>, ApiError> {
    value.filter(|value| !value.trim().is_empty()).map(|value| text(field, value, most)).transpose()
}

/// The same for a text of several lines, which may have tabs and line ends, and stays as it was typed otherwise. A line end of two characters,
/// as browsers and Windows have it, becomes one.
pub fn prose(field: &'static str, value: &str, most: usize) -> Result<String, ApiError> {
    checked(field, &value.replace("\r\n", "\n"), most, |c| matches!(c, '\n' | '\t'))
}

/// The refusal of a text that holds one of our credentials, by the field that it stands in.
pub fn credential_in(field: &str) -> ApiError {
    ApiError::field(field, "holds a credential of this server").instead(Code::CredentialInText)
}

/// Whether a value holds one of our credentials, in a text or in the name of a member, at any depth.
pub fn holds_credential(value: &Json) -> bool {
    match value {
        Json::String(text) => Secret::is_in(text.as_bytes()),
        Json::Array(items) => items.iter().any(holds_credential),
        Json::Object(members) => {
            members.iter().any(|(name, value)| Secret::is_in(name.as_bytes()) || holds_credential(value))
        }
        _ => false,
    }
}

/// The value of a header of MCP that repeats a part of the body: as it is, or in Base64 between `=?base64?` and `?=`. `None`: it is no such
/// thing.
pub fn of_mcp_header(value: &str) -> Option<String> {
    let inner = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    let Some(inner) = inner else { return Some(value.to_owned()) };
    String::from_utf8(STANDARD.decode(inner).ok()?).ok()
}

fn checked(field: &'static str, value: &str, most: usize, allowed: fn(char) -> bool) -> Result<String, ApiError> {
    let value = value.trim();
    let length = value.chars().count();
    if length == 0 || length > most || has_unseen(value, allowed) {
        return Err(Code::InvalidText.with("field", field).with("most", most.to_string()).extra("field", field));
    }
    // What a form sends was looked at as a whole; this is for texts that come from elsewhere, such as a provider or a document.
    if Secret::is_in(value.as_bytes()) {
        return Err(credential_in(field));
    }
    Ok(value.to_owned())
}

fn has_unseen(text: &str, allowed: fn(char) -> bool) -> bool {
    seen(text).any(|(c, is_seen)| !is_seen && !allowed(c))
}

/// The characters of a text, and which of them are seen, or belong where they stand: joiners within words of other scripts than Latin, since
/// Persian and Hindi need them, and so do emoji (Unicode Standard Annex #31, section 2.3); and one selector behind what it shows another way.
pub fn seen(text: &str) -> impl Iterator<Item = (char, bool)> + '_ {
    let is_joined = move |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && !c.is_whitespace() && !is_unseen(c));
    // What stands before, and the same without a selector behind it.
    let (mut before, mut shown) = (None, None);
    let mut rest = text.chars();
    std::iter::from_fn(move || {
        let c = rest.next()?;
        let joins = matches!(c, '\u{200c}' | '\u{200d}') && is_joined(shown) && is_joined(rest.clone().next());
        let is_keycap = rest.clone().next() == Some('\u{20e3}');
        let selects = selects(c) && (is_joined(before) || is_keycap && before.is_some_and(|c| c.is_ascii_graphic()));
        before = Some(c);
        shown = if selects { shown } else { before };
        Some((c, !is_unseen(c) || joins || selects))
    })
}

/// What is seen of a text, and the joiners that belong in it, as far as so many characters go.
pub fn without_unseen(text: &str, most: usize) -> String {
    let kept: String = seen(text).filter(|(_, is_seen)| *is_seen).map(|(c, _)| c).take(most).collect();
    // A joiner that has lost what it joins.
    kept.trim_end_matches(['\u{200c}', '\u{200d}']).to_owned()
}

/// Checks that a number is in a range.
pub fn within(field: &'static str, value: i64, range: std::ops::RangeInclusive<i64>) -> Result<i64, ApiError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (range.start().to_string(), range.end().to_string());
    Err(Code::InvalidNumber.with("field", field).with("least", least).with("most", most).extra("field", field))
}

/// A number of things in words: `1 agent`, `2 agents`.
pub fn count(number: impl TryInto<i64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(i64::MAX);
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{end}")
}

/// What isolates a text from the direction of the words around it.
pub const ISOLATE: char = '\u{2068}';
/// The end of what [`ISOLATE`] isolates.
pub const ISOLATED: char = '\u{2069}';

/// Characters that set the direction of others, and are none themselves.
fn directs(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Letters and digits that are written from right to left: the blocks that Unicode keeps for them.
fn turns(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

/// A typed text as it can stand among words of ours: one that is written from right to left is isolated (Unicode Standard Annex #9, section
/// 2.4.2), so that it does not turn what stands beside it. A sentence in which such texts are isolated already stays as it is. Of the
/// characters that direct others only whole isolates are left.
pub fn isolated(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || !text.chars().any(|c| directs(c) || turns(c)) {
        return Cow::Borrowed(text);
    }
    let step = |c: char| i32::from(c == ISOLATE) - i32::from(c == ISOLATED);
    let mut depth = 0;
    let is_whole = text.chars().all(|c| {
        depth += step(c);
        depth >= 0
    }) && depth == 0;
    let (mut kept, mut is_bare, mut depth) = (String::with_capacity(text.len() + 6), false, 0);
    for c in text.chars() {
        if is_whole && step(c) != 0 {
            depth += step(c);
        } else if directs(c) {
            continue;
        } else {
            is_bare |= depth == 0 && turns(c);
        }
        kept.push(c);
    }
    Cow::Owned(if is_bare { format!("{ISOLATE}{kept}{ISOLATED}") } else { kept })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R281.
    #[test]
    fn one_thing_is_not_several() {
        assert_eq!([0, 1, 2].map(|number| count(number, "agent")), ["0 agents", "1 agent", "2 agents"]);
    }

    /// R275: a text that is written from right to left is isolated, once, and nothing of it reaches beyond its end.
    #[test]
    fn a_text_from_right_to_left_is_isolated() {
        for same in ["Ada", "50 \u{20ac} \u{2013} Z\u{fc}rich", "\u{4e2d}\u{6587}"] {
            assert_eq!(isolated(same), same);
        }
        for (typed, shown) in [
            ("\u{5d0}\u{5d1} (1)", "\u{2068}\u{5d0}\u{5d1} (1)\u{2069}"),
            ("\u{645}\u{6f1}", "\u{2068}\u{645}\u{6f1}\u{2069}"),
            // Marks, overrides and what is no whole isolate.
            ("a\u{202e}b\u{200f}", "ab"),
            ("a\u{2069}\u{5d0}\u{2068}", "\u{2068}a\u{5d0}\u{2069}"),
            ("\u{2068}\u{2068}\u{5d0}\u{2069}", "\u{2068}\u{5d0}\u{2069}"),
        ] {
            assert_eq!(isolated(typed), shown, "{typed:?}");
        }
        let sentence = format!("The token {} is made", isolated("\u{5d0}"));
        assert_eq!(isolated(&sentence), sentence);
    }

    /// R82: also of a text that no form has brought, such as a name that a provider says.
    #[test]
    fn a_text_holds_no_credential() {
        let chance = crate::secret::Chance::seeded(1);
        let secret = Secret::generate(crate::secret::Kind::Pat, &chance);
        let refusal = text("name", &format!("Ada {}", secret.reveal()), 200).unwrap_err();
        assert_eq!(refusal.code(), Code::CredentialInText);
    }

    #[test]
    fn a_text_has_no_unseen_characters() {
        assert_eq!(text("name", "  Ada ", 64).unwrap(), "Ada");
        for good in [
            "\u{646}\u{6cc}\u{6a9}\u{200c}\u{646}\u{627}\u{645}",
            "\u{1f469}\u{200d}\u{1f4bb}",
            "\u{915}\u{94d}\u{200d}\u{937}",
            "\u{2764}\u{fe0f} a",
            "1\u{fe0f}\u{20e3}",
            "\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}",
            "\u{1f469}\u{1f3fd}\u{200d}\u{2695}\u{fe0f}",
        ] {
            assert_eq!(text("name", good, 64).unwrap(), good);
        }
        for bad in [
            "a\u{200d}b",
            "\u{1f469}\u{200d}",
            "\u{200c}\u{646}",
            "\u{646}\u{200c}\u{200c}\u{646}",
            "\u{646}\u{200c} \u{646}",
            "deploy\u{fe0f}",
            "\u{2764}\u{fe0f}\u{fe0f}",
            "\u{fe0f}\u{fe0f}",
            "a\u{34f}",
            "a\u{fffc}",
        ] {
            assert!(text("name", bad, 64).is_err(), "{bad:?}");
        }
        for bad in ["", "  ", "a\nb", "a\u{202e}b", "a\u{200b}b", "\u{2800}", "\u{feff}", &"x".repeat(65)] {
            assert!(text("name", bad, 64).is_err(), "{bad:?}");
        }
    }

    /// R440: a name is one name however its letters were typed; a text of several lines has the line ends of every system, and is kept as it is.
    #[test]
    fn a_name_is_composed_and_line_ends_are_one_character() {
        assert_eq!(persons_name("name", "Zoe\u{308}", 64).unwrap(), "Zo\u{eb}");
        assert_eq!(prose("text", "Zoe\u{308}\r\nb\tc\nd\r\n", 64).unwrap(), "Zoe\u{308}\nb\tc\nd");
        for bad in ["a\rb", "a\n\u{b}b"] {
            assert!(prose("text", bad, 64).is_err(), "{bad:?}");
        }
    }
}
