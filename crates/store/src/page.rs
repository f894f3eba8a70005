//! Pages of a list: how many rows, and behind which one they begin.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use common::{
    error::{ApiError, Code},
    secret::Digest,
    time::Timestamp,
};

/// One page of a list.
#[derive(Serialize)]
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

/// Which page is asked for.
#[derive(Clone, Debug)]
pub struct PageRequest {
    limit: i64,
    after: Option<(i64, String)>,
    bound: String,
}

impl PageRequest {
    /// Checks `limit` (50 if it is left out) and `cursor`, which must have been made by a request that was bound to the same parts:
    /// the route, the caller and the filters.
    pub fn new(limit: Option<i64>, cursor: Option<&str>, bound_to: &[&str]) -> Result<Self, ApiError> {
        let limit = limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(Code::InvalidLimit.into());
        }
        let digest = Digest::of_parts(bound_to);
        let bound = URL_SAFE_NO_PAD.encode(digest.bytes().first_chunk::<9>().copied().unwrap_or_default());
        let after = match cursor {
            None => None,
            Some(cursor) => Some(read_cursor(cursor, &bound).ok_or(Code::InvalidCursor)?),
        };
        Ok(Self { limit, after, bound })
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

    fn cursor(&self, place: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{place} {}", self.bound))
    }
}

fn read_cursor(cursor: &str, bound: &str) -> Option<(i64, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let mut parts = text.split(' ');
    let (at, id, of) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    (of == bound && parts.next().is_none()).then(|| (at, id.to_owned()))
}
