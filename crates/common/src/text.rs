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
    if length == 0 || length > most || value.chars().any(|c| is_unseen(c) && !allowed(c)) {
        return Err(Code::InvalidText.with("field", field).with("most", most.to_string()).extra("field", field));
    }
    Ok(value.to_owned())
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
        || matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_no_unseen_characters() {
        assert_eq!(text("name", "  Ada ", 64).unwrap(), "Ada");
        for bad in ["", "  ", "a\nb", "a\u{202e}b", "a\u{200b}b", "\u{feff}", &"x".repeat(65)] {
            assert!(text("name", bad, 64).is_err(), "{bad:?}");
        }
    }
}
