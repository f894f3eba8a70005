//! JSON as text: written in one way, and read strictly.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value as Json};

use crate::text::is_unseen;

/// Reads JSON that was stored. `None`: it is not JSON, or a member stands twice.
pub fn parse(text: &str) -> Option<Json> {
    parse_strict(text).ok()
}

/// Reads JSON in which no member stands twice at any depth: a reader that keeps one of the two would drop what was sent. A repeated
/// member is an error of serde's category "data"; its text begins with the member's name.
pub fn parse_strict(text: &str) -> Result<Json, serde_json::Error> {
    serde_json::from_str(text).map(|Strict(json)| json)
}

/// Whether a text of JSON has more than 64 levels of lists and objects within each other. Readers stop at some depth, ours at 127: what
/// others send is stored, stands deeper in lists, in the trail and in events, and would hide all that stands beside it.
#[inline(never)]
pub fn is_too_deep(text: &str) -> bool {
    let (mut level, mut is_quoted, mut is_escaped) = (0_u32, false, false);
    text.bytes().any(|byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_quoted,
            b'"' => is_quoted = !is_quoted,
            b'[' | b'{' if !is_quoted => level += 1,
            b']' | b'}' if !is_quoted => level = level.saturating_sub(1),
            _ => {}
        }
        level > 64
    })
}

/// What some programs put before a text in UTF-8.
pub const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A whole number, also one that is written with a fraction of zeros or an exponent (JSON Schema Core, section 4.2.3).
pub fn whole(value: &Json) -> Option<i64> {
    let written = || value.as_f64().filter(|number| value.is_f64() && number.fract() == 0.0 && number.abs() < 9e15);
    value.as_i64().or_else(|| written().map(|number| number as i64))
}

/// Writes a value, which always succeeds.
pub fn to_text(json: &Json) -> String {
    serde_json::to_string(json).unwrap_or_default()
}

/// Writes a line of JSON whose texts cannot control a terminal.
pub fn to_line(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut line = escaped(&serde_json::to_string(value)?);
    line.push('\n');
    Ok(line)
}

/// The same JSON, in which unseen characters of texts stand as `\\uXXXX`, so that they cannot control a terminal. JSON itself escapes only
/// the control characters of ASCII.
pub fn escaped(json: &str) -> String {
    // White space can only stand between the parts of a document.
    written(json, |c| is_unseen(c) && !matches!(c, '\n' | '\r' | '\t'))
}

/// A text whose unseen characters stand as `\\uXXXX`.
pub fn seen(text: &str) -> String {
    written(text, is_unseen)
}

fn written(text: &str, is_hidden: fn(char) -> bool) -> String {
    let mut written = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if is_hidden(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| written.push_str(&format!("\\u{unit:04x}")));
        } else {
            written.push(c);
        }
    }
    written
}

struct Strict(Json);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, _>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(name));
            }
            object.insert(name, value);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R30: a text that a caller sent stays a text, on a terminal too.
    #[test]
    fn a_line_of_json_steers_no_terminal() {
        let typed = "a\u{1b}[2J\u{9b}1m\u{7f}\u{202e}\u{e0001}\"\\\n\u{2028}\u{e9}";
        let line = to_line(&typed).unwrap();
        assert_eq!(line, "\"a\\u001b[2J\\u009b1m\\u007f\\u202e\\udb40\\udc01\\\"\\\\\\n\\u2028\u{e9}\"\n");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), typed);
    }

    /// R553: lists and objects count alike, and what stands in texts does not.
    #[test]
    fn levels_are_counted_by_the_deepest() {
        for (part, end) in [("[", "]"), ("{\"a\":", "}"), ("[[],[1,{}],", "]")] {
            let nested = |levels| format!("{}\"[{{\\\"[\\\\\"{}", part.repeat(levels), end.repeat(levels));
            for (levels, expected) in [(0, false), (1, false), (62, false), (65, true), (100, true), (10_000, true)] {
                assert!(levels > 120 || parse(&nested(levels)).is_some(), "{}", nested(levels));
                assert_eq!(is_too_deep(&nested(levels)), expected, "{part} {levels}");
            }
        }
        let flat = format!("[{}1]", "[],".repeat(1_000));
        assert!(!is_too_deep(&flat) && !is_too_deep(&format!("\"{}\"", "[".repeat(1_000))));
        assert!(!is_too_deep(&format!("{}{}", "[".repeat(64), "]".repeat(64))));
    }

    #[test]
    fn a_member_that_stands_twice_is_not_json() {
        assert_eq!(parse(r#"{"a": [1, null, "x"]}"#), Some(serde_json::json!({ "a": [1, null, "x"] })));
        assert_eq!(parse(r#"{"a": {"b": 1, "b": 2}}"#), None);
    }
}
