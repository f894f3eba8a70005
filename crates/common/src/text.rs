//! Rules for texts, numbers and times that a caller sent.

use crate::{
    error::{ApiError, Code},
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

/// The part of a name that a list is searched for; nothing typed is no filter.
pub fn part(q: Option<&str>) -> Result<Option<String>, ApiError> {
    q.filter(|q| !q.trim().is_empty()).map(|q| text("q", q, 100)).transpose()
}

/// The same for a text of several lines, which may have tabs and line ends.
pub fn prose(field: &'static str, value: &str, most: usize) -> Result<String, ApiError> {
    checked(field, value, most, |c| matches!(c, '\n' | '\t'))
}

fn checked(field: &'static str, value: &str, most: usize, allowed: fn(char) -> bool) -> Result<String, ApiError> {
    let value = value.trim();
    let length = value.chars().count();
    if length == 0 || length > most || has_unseen(value, allowed) {
        return Err(Code::InvalidText.with("field", field).with("most", most.to_string()).extra("field", field));
    }
    Ok(value.to_owned())
}

/// Whether a text has a character that is not seen, but for joiners within words of other scripts than Latin: Persian and Hindi need them,
/// and so do emoji (Unicode Standard Annex #31, section 2.3).
fn has_unseen(text: &str, allowed: fn(char) -> bool) -> bool {
    let is_joined = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && !c.is_whitespace() && !is_unseen(c));
    let mut before = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let joins = matches!(c, '\u{200c}' | '\u{200d}') && is_joined(before) && is_joined(rest.clone().next());
        if is_unseen(c) && !allowed(c) && !joins {
            return true;
        }
        before = Some(c);
    }
    false
}

/// Checks that a number is in a range.
pub fn within(field: &'static str, value: i64, range: std::ops::RangeInclusive<i64>) -> Result<i64, ApiError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (range.start().to_string(), range.end().to_string());
    Err(Code::InvalidNumber.with("field", field).with("least", least).with("most", most).extra("field", field))
}

/// Control, bidirectional and zero-width characters: they make a text look like another.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_no_unseen_characters() {
        assert_eq!(text("name", "  Ada ", 64).unwrap(), "Ada");
        for good in [
            "\u{646}\u{6cc}\u{6a9}\u{200c}\u{646}\u{627}\u{645}",
            "\u{1f469}\u{200d}\u{1f4bb}",
            "\u{915}\u{94d}\u{200d}\u{937}",
        ] {
            assert_eq!(text("name", good, 64).unwrap(), good);
        }
        for bad in [
            "a\u{200d}b",
            "\u{1f469}\u{200d}",
            "\u{200c}\u{646}",
            "\u{646}\u{200c}\u{200c}\u{646}",
            "\u{646}\u{200c} \u{646}",
        ] {
            assert!(text("name", bad, 64).is_err(), "{bad:?}");
        }
        for bad in ["", "  ", "a\nb", "a\u{202e}b", "a\u{200b}b", "\u{2800}", "\u{feff}", &"x".repeat(65)] {
            assert!(text("name", bad, 64).is_err(), "{bad:?}");
        }
    }
}
