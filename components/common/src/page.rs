//! Pages of a list: how many rows, and behind which one they begin.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use crate::{
    caller::Caller,
    db::DbError,
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

crate::form! {
    /// The query of a list that has no filters.
    pub struct Paging {
        /// Rows of a page.
        pub limit: Option<i64>,
        /// Where the page begins.
        pub cursor: Option<String>,
    }
}

/// Which page is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    limit: i64,
    after: Option<(i64, String)>,
    bound: String,
}

impl Wanted {
    /// Reads `limit` and `cursor`. `filters` are what the cursor is bound to, beside the caller.
    pub fn read(caller: &Caller, limit: Option<i64>, cursor: Option<&str>, filters: &[&str]) -> Result<Self, ApiError> {
        let limit = limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(Code::InvalidLimit.into());
        }
        let mut parts = vec![caller.user_id().as_str(), caller.agent_id().map_or("", |id| id.as_str())];
        parts.extend(filters);
        let bound =
            URL_SAFE_NO_PAD.encode(Digest::of_parts(&parts).bytes().first_chunk::<9>().copied().unwrap_or_default());
        let after = match cursor {
            None => None,
            Some(cursor) => Some(read_cursor(cursor, &bound).ok_or(Code::InvalidCursor)?),
        };
        Ok(Self { limit, after, bound })
    }

    /// How many rows to read: one more than the page holds tells whether there is another page.
    pub fn rows(&self) -> i64 {
        self.limit + 1
    }

    /// The row (time in milliseconds, id) that the page begins behind; the far end of time for the first page.
    pub fn after(&self) -> (i64, String) {
        self.after.clone().unwrap_or((i64::MAX, String::new()))
    }

    /// Makes the page of what was read; `place` gives a row's time and id.
    pub fn page<T>(&self, mut items: Vec<T>, place: impl Fn(&T) -> (Timestamp, String)) -> Page<T> {
        let next_cursor = self.cut(&mut items).then(|| items.last().map(|last| self.cursor(place(last)))).flatten();
        Page { items, next_cursor }
    }

    /// The same of rows that are JSON already, as JSON. `None` of `place`: the row is not what was asked for.
    pub(crate) fn written_page(
        &self,
        mut items: Vec<&str>,
        place: impl Fn(&str) -> Option<(Timestamp, String)>,
    ) -> Result<String, DbError> {
        let next_cursor = if self.cut(&mut items) {
            let place = items.last().and_then(|last| place(last)).ok_or(DbError::Row("not a row as JSON"))?;
            format!("\"{}\"", self.cursor(place))
        } else {
            "null".to_owned()
        };
        Ok(format!(r#"{{"items":[{}],"next_cursor":{next_cursor}}}"#, items.join(",")))
    }

    /// Leaves what the page holds; whether there was more.
    fn cut<T>(&self, items: &mut Vec<T>) -> bool {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        more
    }

    fn cursor(&self, (at, id): (Timestamp, String)) -> String {
        URL_SAFE_NO_PAD.encode(format!("{} {id} {}", at.millis(), self.bound))
    }
}

fn read_cursor(cursor: &str, bound: &str) -> Option<(i64, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let mut parts = text.split(' ');
    let (at, id, of) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    (of == bound && parts.next().is_none()).then(|| (at, id.to_owned()))
}
