//! Table `oauth_documents`: what the documents of clients said that are known by a URL.

use common::time::Timestamp;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows},
};

/// How long a document counts, seconds.
pub const LIFE: i64 = 3_600;

/// What a document says of its client.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// The name that the client gives itself.
    pub name: String,
    /// Where browsers are sent back to.
    pub redirect_uris: Vec<String>,
}

impl FromRow for Document {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { name: row.take()?, redirect_uris: row.take()? })
    }
}

/// What the document at a URL said, if it was read lately.
pub async fn find(reads: &dyn Rows, url: &str, now: Timestamp) -> Result<Option<Document>, DbError> {
    let sql = "SELECT name, redirect_uris FROM oauth_documents WHERE url = ?1 AND expires_at > ?2";
    reads.optional(sql, args![url, now]).await
}

/// Keeps what a document said.
pub async fn put(db: &Db, url: &str, document: &Document, now: Timestamp) -> Result<(), DbError> {
    let sql = "INSERT INTO oauth_documents (url, name, redirect_uris, expires_at) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (url) DO UPDATE SET name = ?2, redirect_uris = ?3, expires_at = ?4 RETURNING 1";
    let row = args![url, &document.name, document.redirect_uris.as_slice(), now.plus_seconds(LIFE)];
    db.hot::<Affected>(sql, row).await.map(drop)
}

/// Purges documents that ended.
pub async fn purge(db: &Db, now: Timestamp, most: i64) -> Result<(), DbError> {
    let sql =
        "DELETE FROM oauth_documents WHERE url IN (SELECT url FROM oauth_documents WHERE expires_at <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![now, most]).await.map(drop)
}
