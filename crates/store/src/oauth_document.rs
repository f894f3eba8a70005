//! Table `oauth_documents`: what the documents of clients said that are known by a URL.

use common::time::Timestamp;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows, Tx},
    key_set::Keys,
};

/// How long a document counts, seconds.
pub const LIFE: i64 = 3_600;
/// How long it is known by which keys a client proves itself to which a person has given something, seconds: longer than that can last.
pub const KEYS_LIFE: i64 = 91 * 86_400;

/// What a document says of its client.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// The name that the client gives itself.
    pub name: String,
    /// Where browsers are sent back to.
    pub redirect_uris: Vec<String>,
    /// How it proves itself.
    pub proof: Proof,
}

/// How a client that is known by a document proves itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Proof {
    /// The keys with which it signs, if it has any.
    pub keys: Option<Keys>,
    /// Whether it may send nothing that proves it.
    pub is_public: bool,
}

impl FromRow for Proof {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { keys: Option::from_row(row)?, is_public: row.take()? })
    }
}

impl FromRow for Document {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { name: row.take()?, redirect_uris: row.take()?, proof: Proof::from_row(row)? })
    }
}

/// What the document at a URL said, if it was read lately.
pub async fn find(reads: &dyn Rows, url: &str, now: Timestamp) -> Result<Option<Document>, DbError> {
    let sql = "SELECT name, redirect_uris, keys_from, keys, is_public FROM oauth_documents
               WHERE url = ?1 AND ifnull(counts_until, expires_at) > ?2";
    reads.optional(sql, args![url, now]).await
}

/// How the client at a URL proves itself, as its document last said; `None`: no document says so.
pub async fn proof(reads: &dyn Rows, url: &str) -> Result<Option<Proof>, DbError> {
    reads.optional("SELECT keys_from, keys, is_public FROM oauth_documents WHERE url = ?1", args![url]).await
}

/// Keeps what a document said.
pub async fn put(db: &Db, url: &str, document: &Document, now: Timestamp) -> Result<(), DbError> {
    let sql =
        "INSERT INTO oauth_documents (url, name, redirect_uris, keys_from, keys, is_public, counts_until, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
               ON CONFLICT (url) DO UPDATE SET name = ?2, redirect_uris = ?3, keys_from = ?4, keys = ?5, is_public = ?6,
                                               counts_until = ?7, expires_at = max(expires_at, ?7)
               RETURNING 1";
    let (from, keys) = document.proof.keys.as_ref().map(Keys::to_columns).unwrap_or_default();
    let (uris, is_public) = (document.redirect_uris.as_slice(), document.proof.is_public);
    let row = args![url, &document.name, uris, from, keys, is_public, now.plus_seconds(LIFE)];
    db.hot::<Affected>(sql, row).await.map(drop)
}

/// Keeps until a moment by which keys a client proves itself: for [`LIFE`] once a person lets it in, and for [`KEYS_LIFE`] once it has got
/// something. A client without a document, or whose document names no keys, is left as it is.
pub async fn keep(tx: &Tx<'_>, url: &str, until: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE oauth_documents SET expires_at = max(expires_at, ?2)
               WHERE url = ?1 AND coalesce(keys_from, keys) IS NOT NULL RETURNING 1";
    tx.optional::<Affected>(sql, args![url, until]).await.map(drop)
}

/// Purges documents that ended.
pub async fn purge(db: &Db, now: Timestamp, most: i64) -> Result<(), DbError> {
    let sql =
        "DELETE FROM oauth_documents WHERE url IN (SELECT url FROM oauth_documents WHERE expires_at <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![now, most]).await.map(drop)
}
