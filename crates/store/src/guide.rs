//! Table `guides`: what agents of a tenant should know, as pages of sources, and the index of their words.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx},
};
use common::{id::TenantId, time::Timestamp};

/// Pages of one tenant.
const MOST_PAGES: i64 = 500;
/// Sources of one tenant.
const MOST_SOURCES: i64 = 100;
/// Pages that a search finds.
const FOUND: i64 = 20;
/// Words of a search that count.
const WORDS: usize = 16;

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

/// The pages of a tenant, or of one of its sources, by source and in their order. Most pages: all that a tenant may have.
pub async fn list(reads: &dyn Rows, tenant: &TenantId, source: Option<&str>) -> Result<Vec<Guide>, DbError> {
    match source {
        Some(source) => {
            let sql =
                format!("SELECT {COLUMNS} FROM guides g WHERE g.tenant_id = ?1 AND g.source = ?2 ORDER BY g.place");
            reads.list(&sql, args![tenant, source]).await
        }
        None => {
            let sql = format!("SELECT {COLUMNS} FROM guides g WHERE g.tenant_id = ?1 ORDER BY g.source, g.place");
            reads.list(&sql, args![tenant]).await
        }
    }
}

/// The pages that have all of these words, or words that begin with them, in title or text: the best ones first. The one place that knows of
/// the index.
pub async fn search(
    reads: &dyn Rows,
    tenant: &TenantId,
    source: Option<&str>,
    words: &str,
) -> Result<Vec<Guide>, DbError> {
    let Some(query) = query_of(tenant, words) else { return Ok(Vec::new()) };
    // The tenant is a word of the index, so other tenants' pages are not looked at; and a condition, which alone decides.
    let sql = format!(
        "SELECT {COLUMNS} FROM guides_text JOIN guides g ON g.id = guides_text.rowid
         WHERE guides_text MATCH ?2 AND g.tenant_id = ?1 AND (?3 IS NULL OR g.source = ?3)
         ORDER BY bm25(guides_text, 0.0, 8.0, 1.0), g.id LIMIT ?4"
    );
    reads.list(&sql, args![tenant, query, source, FOUND]).await
}

/// The words as a query of FTS5, in which none of them is an operator. `None`: there is no word.
fn query_of(tenant: &TenantId, words: &str) -> Option<String> {
    let words = words.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).take(WORDS);
    let words: Vec<String> = words.map(|word| format!("\"{word}\"*")).collect();
    (!words.is_empty())
        .then(|| format!("tenant_id : \"{}\" AND {{title body}} : ({})", tenant.as_str(), words.join(" AND ")))
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

/// The outcome of putting a source.
#[derive(Debug, PartialEq, Eq)]
pub enum Replaced {
    /// Its pages are these now; before it had so many.
    Done(usize),
    /// They were these already.
    Same,
    /// The tenant would have more pages or sources than it may.
    TooMany,
}

/// Replaces the pages of one source.
pub async fn replace(
    tx: &Tx<'_>,
    tenant: &TenantId,
    source: &str,
    pages: &[NewGuide],
    (at, by): (Timestamp, &str),
) -> Result<Replaced, DbError> {
    let before = list(tx, tenant, Some(source)).await?;
    let is_same =
        |(old, new): (&Guide, &NewGuide)| (&old.name, &old.title, &old.text) == (&new.name, &new.title, &new.text);
    if before.len() == pages.len() && before.iter().zip(pages).all(is_same) {
        return Ok(Replaced::Same);
    }
    delete(tx, tenant, source).await?;
    let count = "SELECT count(*) FROM guides WHERE tenant_id = ?1";
    let others = tx.optional::<i64>(count, args![tenant]).await?.unwrap_or(0);
    let sources = "SELECT count(DISTINCT source) FROM guides WHERE tenant_id = ?1";
    let sources = tx.optional::<i64>(sources, args![tenant]).await?.unwrap_or(0);
    if sources >= MOST_SOURCES || others.saturating_add(i64::try_from(pages.len()).unwrap_or(i64::MAX)) > MOST_PAGES {
        return Ok(Replaced::TooMany);
    }
    let sql = "INSERT INTO guides (tenant_id, source, place, name, title, body, updated_at, updated_by)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING 1";
    for (place, page) in (0_i64..).zip(pages) {
        let row = args![tenant, source, place, &page.name, &page.title, &page.text, at, by];
        tx.optional::<Affected>(sql, row).await?;
    }
    Ok(Replaced::Done(before.len()))
}

/// Deletes a source; gives how many pages it had.
pub async fn delete(tx: &Tx<'_>, tenant: &TenantId, source: &str) -> Result<usize, DbError> {
    let sql = "DELETE FROM guides WHERE tenant_id = ?1 AND source = ?2 RETURNING 1";
    Ok(tx.list::<Affected>(sql, args![tenant, source]).await?.len())
}
