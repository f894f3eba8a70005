//! Table `guides`: what agents of a tenant should know, as pages of sources, and the index of their words.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx},
    page::PageRequest,
};
use common::{
    id::{TenantId, UserId},
    json,
    time::Timestamp,
};

/// Pages of one tenant.
pub const MOST_PAGES: i64 = 500;
/// Sources of one tenant.
pub const MOST_SOURCES: i64 = 100;
/// Pages that a search finds.
pub const FOUND: usize = 20;
/// Words of a search that count.
const WORDS: usize = 16;
/// Pages that are read at once for a prompt.
const AT_ONCE: i64 = 16;

/// A page as lists show it.
#[derive(Clone, Debug, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "ListedGuide")]
pub struct Listed {
    /// The application that it is from, such as `app:crm`.
    pub source: String,
    /// Its name within the source.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Its beginning, or of what was searched the part that has the words.
    pub excerpt: String,
    /// Bytes of its text.
    pub bytes: i64,
    /// Since when it is so.
    pub updated_at: Timestamp,
    /// The id of the user or agent that put it.
    pub updated_by: String,
    /// Its place in its source.
    #[serde(skip)]
    pub place: i64,
}

impl FromRow for Listed {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            source: row.take()?,
            name: row.take()?,
            title: row.take()?,
            bytes: row.take()?,
            updated_at: row.take()?,
            updated_by: row.take()?,
            place: row.take()?,
            excerpt: row.take()?,
        })
    }
}

const LISTED: &str =
    "g.source, g.name, g.title, length(CAST(g.body AS BLOB)) AS bytes, g.updated_at, g.updated_by, g.place";

/// A page.
#[derive(Clone, Debug, Serialize, PartialEq, Eq, JsonSchema)]
pub struct Guide {
    /// The application that it is from, such as `app:crm`.
    pub source: String,
    /// Its name within the source.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Its text.
    pub text: String,
    /// Since when it is so.
    pub updated_at: Timestamp,
    /// The id of the user or agent that put it.
    pub updated_by: String,
}

impl FromRow for Guide {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            source: row.take()?,
            name: row.take()?,
            title: row.take()?,
            text: row.take()?,
            updated_at: row.take()?,
            updated_by: row.take()?,
        })
    }
}

const COLUMNS: &str = "g.source, g.name, g.title, g.body, g.updated_at, g.updated_by";

/// The pages of a tenant, or of one of its sources, by source and in their order.
pub async fn list(
    reads: &dyn Rows,
    tenant: &TenantId,
    source: Option<&str>,
    page: &PageRequest,
) -> Result<Vec<Listed>, DbError> {
    // Behind the first row of all: no source is empty.
    let (place, after) = page.after();
    let sql = format!(
        "SELECT {LISTED}, substr(g.body, 1, 200) AS excerpt FROM guides g
         WHERE g.tenant_id = ?1 AND (g.source, g.place) > (?2, ?3) AND (?4 IS NULL OR g.source = ?4)
         ORDER BY g.source, g.place LIMIT ?5"
    );
    reads.list(&sql, args![tenant, after, place, source, page.rows()]).await
}

/// The pages that have all of these words, or words that begin with them, in title or text: first those with one of them in the title, then
/// by source and in their order, so that what other tenants have changes nothing. The one place that knows of the index.
pub async fn search(
    reads: &dyn Rows,
    tenant: &TenantId,
    source: Option<&str>,
    words: &str,
) -> Result<Vec<Listed>, DbError> {
    let (unspaced, spaced): (Vec<&str>, Vec<&str>) = words_in(words).partition(|word| word.contains(is_unspaced));
    let spaced = phrases(&spaced);
    // The tenant is a word of the index, so other tenants' pages are not looked at; and a condition, which alone decides.
    let of = |columns: &str, words: String| format!("tenant_id : \"{}\" AND {columns} : ({words})", tenant.as_str());
    let (all, any) = (of("{title body}", spaced.join(" AND ")), of("title", spaced.join(" OR ")));
    let most = i64::try_from(FOUND).unwrap_or(i64::MAX);
    if !unspaced.is_empty() {
        // The index knows runs of such letters by their beginnings alone. A tenant has few pages: they are looked through.
        let all = Some(all).filter(|_| !spaced.is_empty());
        let sql = format!(
            "SELECT {LISTED}, substr(g.body, max(1, instr(lower(g.body), lower(?2 ->> 0)) - 60), 240) AS excerpt
             FROM guides g
             WHERE g.tenant_id = ?1 AND (?4 IS NULL OR g.source = ?4)
               AND (?3 IS NULL OR g.id IN (SELECT t.rowid FROM guides_text t WHERE t.guides_text MATCH ?3))
               AND NOT EXISTS (SELECT 1 FROM json_each(?2) w
                               WHERE instr(lower(g.title), lower(w.value)) = 0 AND instr(lower(g.body), lower(w.value)) = 0)
             ORDER BY instr(lower(g.title), lower(?2 ->> 0)) > 0 DESC, g.source, g.place LIMIT ?5"
        );
        return reads.list(&sql, args![tenant, json::to_text(&unspaced.into()), all, source, most]).await;
    }
    if spaced.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {LISTED}, snippet(guides_text, 2, '', '', '…', 64) AS excerpt
         FROM guides_text CROSS JOIN guides g ON g.id = guides_text.rowid
         WHERE guides_text MATCH ?2 AND g.tenant_id = ?1 AND (?4 IS NULL OR g.source = ?4)
         ORDER BY g.id IN (SELECT t.rowid FROM guides_text t WHERE t.guides_text MATCH ?3) DESC, g.source, g.place LIMIT ?5"
    );
    reads.list(&sql, args![tenant, all, any, source, most]).await
}

/// The words of a search that count.
fn words_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).take(WORDS)
}

/// Letters of scripts that put no blanks between words: Thai and Lao, Burmese, Khmer, kana and Han.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}')
        || matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}')
}

/// Words as phrases of FTS5, in which no sign is an operator. What has a beginning of one letter only is not looked for by it.
fn phrases(words: &[&str]) -> Vec<String> {
    let star = |word: &str| if word.chars().nth(1).is_some() { "*" } else { "" };
    words.iter().map(|word| format!("\"{word}\"{}", star(word))).collect()
}

/// One page.
pub async fn find(reads: &dyn Rows, tenant: &TenantId, (source, name): (&str, &str)) -> Result<Option<Guide>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM guides g WHERE g.tenant_id = ?1 AND g.source = ?2 AND g.name = ?3");
    reads.optional(&sql, args![tenant, source, name]).await
}

/// Pages for a prompt.
#[derive(Debug)]
pub struct Part {
    /// They begin behind this one.
    after: (String, i64),
    /// Whether there are no more.
    pub is_last: bool,
    /// The pages, by source and in their order. One that is longer than was asked for has an empty text and `false`.
    pub pages: Vec<(Guide, bool)>,
}

struct Read(Guide, i64, bool);

impl FromRow for Read {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self(Guide::from_row(row)?, row.take()?, row.take::<i64>()? == 1))
    }
}

impl Part {
    /// Before the first page.
    pub fn none() -> Self {
        Self { after: (String::new(), -1), is_last: false, pages: Vec::new() }
    }

    /// The next pages behind these; texts of more than `most` bytes are not read.
    pub async fn next(&self, reads: &dyn Rows, tenant: &TenantId, most: i64) -> Result<Self, DbError> {
        let sql = "SELECT g.source, g.name, g.title, iif(length(CAST(g.body AS BLOB)) <= ?4, g.body, '') AS body,
                          g.updated_at, g.updated_by, g.place, length(CAST(g.body AS BLOB)) <= ?4 AS is_whole
                   FROM guides g WHERE g.tenant_id = ?1 AND (g.source, g.place) > (?2, ?3)
                   ORDER BY g.source, g.place LIMIT ?5";
        let (source, place) = &self.after;
        let rows: Vec<Read> = reads.list(sql, args![tenant, source, *place, most, AT_ONCE]).await?;
        let after = rows.last().map_or_else(|| self.after.clone(), |last| (last.0.source.clone(), last.1));
        let is_last = rows.len() < usize::try_from(AT_ONCE).unwrap_or_default();
        Ok(Self { after, is_last, pages: rows.into_iter().map(|Read(guide, _, is_whole)| (guide, is_whole)).collect() })
    }
}

/// A page to put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGuide {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Its text.
    pub text: String,
}

/// Whether the source has exactly these pages.
pub async fn is_same(reads: &dyn Rows, tenant: &TenantId, source: &str, pages: &[NewGuide]) -> Result<bool, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM guides g WHERE g.tenant_id = ?1 AND g.source = ?2 ORDER BY g.place");
    let old: Vec<Guide> = reads.list(&sql, args![tenant, source]).await?;
    let is_same =
        |(old, new): (&Guide, &NewGuide)| (&old.name, &old.title, &old.text) == (&new.name, &new.title, &new.text);
    Ok(old.len() == pages.len() && old.iter().zip(pages).all(is_same))
}

/// The outcome of putting a source.
#[derive(Debug, PartialEq, Eq)]
pub enum Replaced {
    /// Its pages are these now; before it had so many.
    Done(usize),
    /// The tenant would have more pages than it may.
    TooManyPages,
    /// It would have more sources.
    TooManySources,
}

/// Replaces the pages of one source.
pub async fn replace(
    tx: &Tx<'_>,
    tenant: &TenantId,
    source: &str,
    pages: &[NewGuide],
    (at, by, counted_for): (Timestamp, &str, &UserId),
) -> Result<Replaced, DbError> {
    let before = delete(tx, tenant, source).await?;
    let count = "SELECT count(*) AS pages FROM guides WHERE tenant_id = ?1";
    let others = tx.optional::<i64>(count, args![tenant]).await?.unwrap_or(0);
    if others.saturating_add(i64::try_from(pages.len()).unwrap_or(i64::MAX)) > MOST_PAGES {
        return Ok(Replaced::TooManyPages);
    }
    let count = "SELECT count(DISTINCT source) AS sources FROM guides WHERE tenant_id = ?1";
    if tx.optional::<i64>(count, args![tenant]).await?.unwrap_or(0) >= MOST_SOURCES {
        return Ok(Replaced::TooManySources);
    }
    let sql = "INSERT INTO guides (tenant_id, source, place, name, title, body, updated_at, updated_by, counted_for)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING 1";
    for (place, page) in (0_i64..).zip(pages) {
        let row = args![tenant, source, place, &page.name, &page.title, &page.text, at, by, counted_for];
        tx.optional::<Affected>(sql, row).await?;
    }
    Ok(Replaced::Done(before))
}

/// Deletes a source; gives how many pages it had.
pub async fn delete(tx: &Tx<'_>, tenant: &TenantId, source: &str) -> Result<usize, DbError> {
    let sql = "DELETE FROM guides WHERE tenant_id = ?1 AND source = ?2 RETURNING 1";
    Ok(tx.list::<Affected>(sql, args![tenant, source]).await?.len())
}

#[cfg(test)]
mod tests {
    use super::{phrases, words_in};

    /// R153: whatever signs a search has, its words are phrases, in which nothing is an operator.
    #[test]
    fn words_are_phrases() {
        let words = |text: &str| phrases(&words_in(text).collect::<Vec<_>>());
        let joined = |text: &str| words(text).join(" ");
        assert_eq!(
            joined("a \"refund\" NEAR(x) title:b* -OR ^c + d"),
            "\"a\" \"refund\"* \"NEAR\"* \"x\" \"title\"* \"b\" \"OR\"* \"c\" \"d\""
        );
        assert_eq!(joined("\"\" * : ^ () {} -- \u{1f600} '"), "");
        assert_eq!(words(&"ab ".repeat(5_000)).len(), 16);
    }
}
