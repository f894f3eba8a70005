//! Pages of a list: how many rows, behind which one they begin, and by which texts they are found.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::Serialize;

use common::{
    email,
    error::{ApiError, Code},
    json,
    secret::{Digest, Key},
    time::Timestamp,
};

use crate::db::Value;

/// One page of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Page<T> {
    /// The page's rows.
    pub items: Vec<T>,
    /// Passed as `cursor`, it gives the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// The separator of the rows of a written page in SQL: no written JSON holds a control character.
pub(crate) const ROWS: &str = "char(30)";
/// The separator of a row and its place.
pub(crate) const COLUMNS: &str = "char(31)";

/// The column by which a text names a user, and its value. An address has an `@`, and an id has none. One column, not either of
/// two: SQLite would read all users of the tenant.
pub(crate) fn user_named(text: &str) -> (&'static str, String) {
    match text.contains('@') {
        true => ("email_key", email::key(text)),
        false => ("id", text.trim().to_owned()),
    }
}

/// A pattern for LIKE … ESCAPE '\' that finds the text anywhere.
pub(crate) fn like(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}

/// Letters that stand for those with marks, as people type names of others: where these begin and end, in both cases.
const MARKED: &[(char, &[(char, char)])] = &[
    ('a', &[('À', 'Å'), ('à', 'å'), ('Ā', 'ą'), ('Ạ', 'ặ')]),
    ('c', &[('Ç', 'Ç'), ('ç', 'ç'), ('Ć', 'č')]),
    ('d', &[('Ď', 'đ')]),
    ('e', &[('È', 'Ë'), ('è', 'ë'), ('Ē', 'ě'), ('Ẹ', 'ệ')]),
    ('g', &[('Ĝ', 'ģ')]),
    ('h', &[('Ĥ', 'ħ')]),
    ('i', &[('Ì', 'Ï'), ('ì', 'ï'), ('Ĩ', 'ı'), ('Ỉ', 'ị')]),
    ('j', &[('Ĵ', 'ĵ')]),
    ('k', &[('Ķ', 'ķ')]),
    ('l', &[('Ĺ', 'ł')]),
    ('n', &[('Ñ', 'Ñ'), ('ñ', 'ñ'), ('Ń', 'ň')]),
    ('o', &[('Ò', 'Ö'), ('Ø', 'Ø'), ('ò', 'ö'), ('ø', 'ø'), ('Ō', 'ő'), ('Ơ', 'ơ'), ('Ọ', 'ợ')]),
    ('r', &[('Ŕ', 'ř')]),
    ('s', &[('Ś', 'š'), ('Ș', 'ș'), ('Ṣ', 'ṣ')]),
    ('t', &[('Ţ', 'ŧ'), ('Ț', 'ț')]),
    ('u', &[('Ù', 'Ü'), ('ù', 'ü'), ('Ũ', 'ų'), ('Ư', 'ư'), ('Ụ', 'ự')]),
    ('y', &[('Ý', 'Ý'), ('ý', 'ý'), ('ÿ', 'ÿ'), ('Ŷ', 'Ÿ'), ('Ỳ', 'ỹ')]),
    ('z', &[('Ź', 'ž')]),
    ('\'', &[('ʼ', 'ʼ'), ('‘', '’')]),
    ('σ', &[('ς', 'ς'), ('Σ', 'Σ')]),
    ('е', &[('Е', 'Е'), ('Ё', 'Ё'), ('ё', 'ё')]),
    ('и', &[('И', 'Й'), ('й', 'й')]),
    ('і', &[('І', 'Ї'), ('ї', 'ї')]),
    ('у', &[('У', 'У'), ('Ў', 'Ў'), ('ў', 'ў')]),
    ('α', &[('Α', 'Α'), ('Ά', 'Ά'), ('ά', 'ά')]),
    ('ε', &[('Ε', 'Ε'), ('Έ', 'Έ'), ('έ', 'έ')]),
    ('η', &[('Η', 'Η'), ('Ή', 'Ή'), ('ή', 'ή')]),
    ('ι', &[('Ι', 'Ι'), ('Ί', 'Ί'), ('Ϊ', 'Ϊ'), ('ΐ', 'ΐ'), ('ί', 'ί'), ('ϊ', 'ϊ')]),
    ('ο', &[('Ο', 'Ο'), ('Ό', 'Ό'), ('ό', 'ό')]),
    ('υ', &[('Υ', 'Υ'), ('Ύ', 'Ύ'), ('Ϋ', 'Ϋ'), ('ΰ', 'ΰ'), ('ϋ', 'ϋ'), ('ύ', 'ύ')]),
    ('ω', &[('Ω', 'Ω'), ('Ώ', 'Ώ'), ('ώ', 'ώ')]),
    ('w', &[('Ŵ', 'ŵ')]),
];

/// A pattern for GLOB that finds the text anywhere in a name, in any case, and its letters with marks or without. In long texts it would be
/// some 17 times slower than LIKE.
pub(crate) fn pattern(text: &str) -> String {
    let mut pattern = String::from("*");
    // As `any_has` reads the columns.
    for c in text.replace(['ß', 'ẞ'], "ss").chars() {
        // A mark that was typed apart from its letter, which stands for both: it may stand apart in the name too.
        if ('\u{300}'..='\u{36f}').contains(&c) {
            if !pattern.ends_with('*') {
                pattern.push('*');
            }
            continue;
        }
        let stands = |(plain, marked): &&(char, &[(char, char)])| {
            c.to_ascii_lowercase() == *plain || marked.iter().any(|(first, last)| (*first..=*last).contains(&c))
        };
        if let Some((plain, marked)) = MARKED.iter().find(stands) {
            pattern.extend(['[', *plain, plain.to_ascii_uppercase()]);
            pattern.extend(marked.iter().flat_map(|(first, last)| [*first, '-', *last]));
            pattern.push(']');
        } else if c.is_alphabetic() || "*?[".contains(c) {
            pattern.extend(['[', c]);
            // Some letters are two in the other case.
            let other = [c.to_lowercase().to_string(), c.to_uppercase().to_string()];
            pattern.extend(other.into_iter().filter(|other| other.chars().count() == 1));
            pattern.push(']');
        } else {
            pattern.push(c);
        }
    }
    if pattern == "*" {
        pattern.push_str(text);
    }
    if !pattern.ends_with('*') {
        pattern.push('*');
    }
    pattern
}

/// Whether one of these columns has the [`pattern`] of a parameter: ß is ss, which no pattern can say.
pub(crate) fn any_has(pattern: &str, columns: &[&str]) -> String {
    let folded = |column: &&str| format!("replace(replace({column}, 'ß', 'ss'), 'ẞ', 'ss') GLOB {pattern}");
    let some: Vec<String> = columns.iter().map(folded).collect();
    format!("({})", some.join(" OR "))
}

/// What [`any_like`] looks for: the text, in the ways in which it may be written. LIKE knows the cases of ASCII alone.
pub(crate) fn patterns(text: &str) -> String {
    let mut all = vec![like(text)];
    if !text.is_ascii() {
        let (lower, upper) = (text.to_lowercase(), text.to_uppercase());
        let mut is_first = true;
        let capital = lower.chars().flat_map(|c| {
            let first = std::mem::replace(&mut is_first, !c.is_alphanumeric());
            if first { c.to_uppercase().collect::<Vec<char>>() } else { vec![c] }
        });
        all.extend([like(&capital.collect::<String>()), like(&lower), like(&upper)]);
    }
    json::to_text(&all.into())
}

/// Whether one of these columns has one of the [`patterns`] of a parameter.
pub(crate) fn any_like(patterns: &str, columns: &[&str]) -> String {
    let some: Vec<String> = columns.iter().map(|column| format!("{column} LIKE sought.value ESCAPE '\\'")).collect();
    format!("EXISTS (SELECT 1 FROM json_each({patterns}) sought WHERE {})", some.join(" OR "))
}

/// The order of a list of things that have names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// By name, whatever its case.
    Name,
}

impl Order {
    /// Reads `sort`.
    pub fn read(word: Option<&str>) -> Result<Self, ApiError> {
        Self::read_with(word, "created_at")
    }

    /// The same of a list whose times have another name.
    pub fn read_with(word: Option<&str>, time: &str) -> Result<Self, ApiError> {
        match word {
            None => Ok(Self::Newest),
            Some("name") => Ok(Self::Name),
            Some(word) if word == time => Ok(Self::Newest),
            Some(_) => Err(Code::InvalidFilter.with("field", "sort").with("valid", format!("{time}, name"))),
        }
    }

    /// What is behind the place `(?2, ?3)` that [`PageRequest::begin`] gives, in this order; both of a table with `created_at`, `name`
    /// and `id`.
    pub(crate) const fn sql(self) -> (&'static str, &'static str) {
        match self {
            Self::Newest => ("(created_at, id) < (?2, ?3)", "created_at DESC, id DESC"),
            Self::Name => ("(lower(name), id) > (?2, ?3)", "lower(name), id"),
        }
    }
}

/// Which page is asked for.
pub struct PageRequest {
    limit: i64,
    after: Option<(i64, String)>,
    key: Key,
}

impl PageRequest {
    /// Checks `limit` (50 if it is left out) and `cursor`, which must have been made under the same key. The key stands for all that a
    /// cursor is bound to: route, caller and filters.
    pub fn new(limit: Option<i64>, cursor: Option<&str>, key: Key) -> Result<Self, ApiError> {
        let limit = limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(Code::InvalidLimit.into());
        }
        let after = match cursor {
            None => None,
            Some(cursor) => Some(read_cursor(cursor, &key).ok_or(Code::InvalidCursor)?),
        };
        Ok(Self { limit, after, key })
    }

    /// How many rows to read: one more than the page holds shows whether there is another page.
    pub fn rows(&self) -> i64 {
        self.limit + 1
    }

    /// The row (time in milliseconds, id) that the page begins behind; the far end of time for the first page.
    pub fn after(&self) -> (i64, String) {
        self.after.clone().unwrap_or((i64::MAX, String::new()))
    }

    /// Makes the page of what was read; `place` gives a row's time and id.
    pub fn page<T>(&self, mut items: Vec<T>, place: impl Fn(&T) -> (Timestamp, String)) -> Page<T> {
        let more = self.cut(&mut items);
        let next_cursor = items.last().filter(|_| more).map(|last| {
            let (at, id) = place(last);
            self.cursor(&format!("{} {id}", at.millis()))
        });
        Page { items, next_cursor }
    }

    /// The values of [`Order::sql`].
    pub(crate) fn begin(&self, order: Order) -> (Value, Value) {
        let (at, id) = self.after();
        match order {
            Order::Newest => (at.into(), id.into()),
            Order::Name => {
                let (id, name) = id.split_once(' ').unwrap_or_default();
                (name.into(), id.into())
            }
        }
    }

    /// Makes the page of what was read in this order; `place` gives a row's time, id and name.
    pub fn ordered<T>(
        &self,
        mut items: Vec<T>,
        order: Order,
        place: impl Fn(&T) -> (Timestamp, String, String),
    ) -> Page<T> {
        let more = self.cut(&mut items);
        let next_cursor = items.last().filter(|_| more).map(|last| {
            let (at, id, name) = place(last);
            match order {
                Order::Newest => self.cursor(&format!("{} {id}", at.millis())),
                // As SQLite's `lower` writes it: an id has no blank, a name can have some.
                Order::Name => self.cursor(&format!("0 {id} {}", name.to_ascii_lowercase())),
            }
        });
        Page { items, next_cursor }
    }

    /// The same of rows that are JSON already, as JSON: each row and its place (`{milliseconds} {id}`) separated by [`COLUMNS`], the
    /// rows by [`ROWS`].
    pub(crate) fn written_page(&self, rows: &str) -> String {
        let mut items: Vec<(&str, &str)> = rows.split('\u{1e}').filter_map(|row| row.split_once('\u{1f}')).collect();
        let more = self.cut(&mut items);
        let next_cursor = match items.last() {
            Some((_, place)) if more => format!("\"{}\"", self.cursor(place)),
            _ => "null".to_owned(),
        };
        let mut page = String::with_capacity(rows.len() + next_cursor.len() + 32);
        page.push_str(r#"{"items":["#);
        for (at, (row, _)) in items.iter().enumerate() {
            page.push_str(if at > 0 { "," } else { "" });
            page.push_str(row);
        }
        page.push_str(r#"],"next_cursor":"#);
        page.push_str(&next_cursor);
        page.push('}');
        page
    }

    /// Removes the rows beyond the page; returns whether there were any.
    fn cut<T>(&self, items: &mut Vec<T>) -> bool {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        more
    }

    /// A place that nobody else can make or change: the MAC in front authenticates all of it.
    fn cursor(&self, place: &str) -> String {
        let mac = self.key.mac(place.as_bytes());
        URL_SAFE_NO_PAD.encode([mac.bytes().as_slice(), place.as_bytes()].concat())
    }
}

fn read_cursor(cursor: &str, key: &Key) -> Option<(i64, String)> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (mac, place) = bytes.split_first_chunk::<32>()?;
    if !key.mac(place).matches(&Digest::from(*mac)) {
        return None;
    }
    let (at, id) = std::str::from_utf8(place).ok()?.split_once(' ')?;
    Some((at.parse().ok()?, id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(of: &str) -> Key {
        Key::derive(of.as_bytes(), "cursor", &["/api/agents"])
    }

    /// R490, R495, R670: a name is found by letters without its marks, in any case, and no sign of what is looked for is an operator.
    #[test]
    fn a_pattern_finds_letters_with_their_marks() {
        assert_eq!(pattern("jŠ"), "*[jJĴ-ĵ][sSŚ-šȘ-șṢ-ṣ]*");
        assert_eq!(pattern("s\u{30c}"), pattern("\u{161}"));
        assert_eq!(pattern("e\u{301} b"), "*[eEÈ-Ëè-ëĒ-ěẸ-ệ]* [bbB]*");
        assert_eq!(pattern("\u{301}"), "*\u{301}*");
        assert_eq!(pattern("и\u{306}"), pattern("Й"));
        assert_eq!(pattern("O’N"), pattern("o'n"));
        assert_eq!(pattern("Weiß"), pattern("WEISS"));
        assert_eq!(pattern("[b*?]^-_%ж"), "*[[[[][bbB][***][???]]^-_%[жжЖ]*");
    }

    /// R85: no byte of a cursor can be changed, added or left out, and no other key opens it.
    #[test]
    fn a_cursor_is_authenticated_whole() {
        let page = PageRequest::new(None, None, key("one")).ok().unwrap();
        let cursor = page.cursor("1767323045000 agt_1");
        let read = |cursor: &str, of: &str| PageRequest::new(None, Some(cursor), key(of)).map(|page| page.after()).ok();
        assert_eq!(read(&cursor, "one"), Some((1_767_323_045_000, "agt_1".to_owned())));
        assert_eq!(read(&cursor, "two"), None);
        let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(read(&URL_SAFE_NO_PAD.encode(changed), "one"), None, "byte {at}, bit {bit}");
            }
            assert_eq!(read(&URL_SAFE_NO_PAD.encode(&bytes[..at]), "one"), None, "{at} bytes");
        }
        assert_eq!(read(&URL_SAFE_NO_PAD.encode([&bytes[..], b"0"].concat()), "one"), None);
        for nonsense in ["", "x", "!", "AAAA", &"A".repeat(64)] {
            assert_eq!(read(nonsense, "one"), None, "{nonsense}");
        }
    }
}
