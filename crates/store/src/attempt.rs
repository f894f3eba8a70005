//! Table `attempts`: counters of tries that end by themselves.

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Purpose, Reads, Row},
};
use common::{secret::Digest, time::Timestamp};

/// A counter after this try.
pub struct Count {
    /// Tries in this window, this one included.
    pub count: i64,
    /// When the window ends.
    pub ends_at: Timestamp,
}

impl FromRow for Count {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { count: row.take()?, ends_at: row.take()? })
    }
}

/// Counts a try in a window that begins with the first one and lasts `seconds`; a count above `limit` refuses the try. One
/// statement: tries that come at once are all counted. Refused ones are not: a try that is forgiven later makes room again.
pub async fn count(db: &Db, key: &Digest, limit: i64, now: Timestamp, seconds: i64) -> Result<Count, DbError> {
    let rows = db
        .single(
            Purpose::Entry,
            "INSERT INTO attempts (key, count, ends_at) VALUES (?1, 1, ?3)
             ON CONFLICT (key) DO UPDATE SET count = iif(ends_at > ?2, min(count, ?4) + 1, 1), ends_at = iif(ends_at > ?2, ends_at, ?3)
             RETURNING count, ends_at",
            args![key, now, now.plus_seconds(seconds), limit],
        )
        .await?;
    rows.into_iter().next().ok_or(DbError::Row("a counter gave no row"))
}

/// Takes one try back: it was right, or it was not made. A counter that comes to nothing goes.
pub async fn take_back(db: &Db, key: &Digest, limit: i64) -> Result<(), DbError> {
    let last = "DELETE FROM attempts WHERE key = ?1 AND count <= 1 RETURNING 1";
    if db.single::<Affected>(Purpose::Entry, last, args![key]).await?.is_empty() {
        let one = "UPDATE attempts SET count = min(count, ?2) - 1 WHERE key = ?1";
        db.single::<Affected>(Purpose::Entry, one, args![key, limit]).await?;
    }
    Ok(())
}

/// A counter as it is now; `None`: nothing was counted, or its window is over.
pub async fn find(reads: &dyn crate::db::Rows, key: &Digest, now: Timestamp) -> Result<Option<Count>, DbError> {
    reads.optional("SELECT count, ends_at FROM attempts WHERE key = ?1 AND ends_at > ?2", args![key, now]).await
}
