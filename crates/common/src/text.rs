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
    Err(Code::InvalidNumber.with("field", field).with("least", least).with("most", most))
}

/// Whether a text is an https URL whose host looks public: a name with a dot, no user, no literal address, no name of a private
/// network. The host checks what the name resolves to when a connection is made.
pub fn is_public_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, port) = authority.split_once(':').map_or((authority, "443"), |(host, port)| (host, port));
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    // A last label that begins with a digit makes the whole an address, in decimal, octal or hexadecimal.
    let is_name = host.contains('.') && host.len() <= 253 && !last.starts_with(|c: char| c.is_ascii_digit());
    let is_private = ["localhost", "local", "internal", "lan", "home", "corp", "intranet", "test", "invalid", "arpa"]
        .contains(&last.as_str());
    text.len() <= 2_000
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && port.parse::<u16>().is_ok_and(|port| port > 0)
        && is_name
        && !is_private
        && host.split('.').all(is_label)
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

    /// R49, of the part that can be seen: no literal address in any form, no user, no private name.
    #[test]
    fn an_agents_url_is_of_a_public_name() {
        for good in ["https://agents.example.com", "https://a.example:8443/x?y#z", "https://xn--bcher-kva.example/"] {
            assert!(is_public_url(good), "{good}");
        }
        for bad in [
            "",
            "http://a.example.com",
            "https://",
            "https://localhost",
            "https://a.localhost",
            "https://127.0.0.1",
            "https://[::1]",
            "https://[::ffff:10.0.0.1]",
            "https://2130706433",
            "https://0x7f.1",
            "https://0177.0.0.1",
            "https://127.1",
            "https://a.0x7f",
            "https://user@a.example.com",
            "https://a.example.com:0",
            "https://a.example.com:99999",
            "https://a.example.com:",
            "https://a..b.com",
            "https://metadata.google.internal",
            "https://a.example.com/\u{202e}",
            "https://a.example.com\\@b",
            "https://-a.example.com",
            "ftp://a.example.com",
        ] {
            assert!(!is_public_url(bad), "{bad}");
        }
    }

    #[test]
    fn a_text_has_no_unseen_characters() {
        assert_eq!(text("name", "  Ada ", 64).unwrap(), "Ada");
        for bad in ["", "  ", "a\nb", "a\u{202e}b", "a\u{200b}b", "\u{feff}", &"x".repeat(65)] {
            assert!(text("name", bad, 64).is_err(), "{bad:?}");
        }
    }
}
