//! Table `attempts`: counters of tries that end by themselves. They go as far beyond the bound as what makes rights less: a new password is
//! counted too, and the sessions of others must not keep it from being set.

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Purpose, Reads, Row, Rows, Tx},
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

/// How far the clock of another host may be ahead, seconds. A window that ends later than it can was begun by a clock that was wrong: it is
/// over.
const SKEW: i64 = 60;

/// Counts a try in a window that begins with the first one and lasts `seconds`; a count above `limit` refuses the try. One
/// statement: tries that come at once are all counted, and refused ones are not.
pub async fn count(db: &Db, key: &Digest, limit: i64, now: Timestamp, seconds: i64) -> Result<Count, DbError> {
    let rows = db
        .single(
            Purpose::Narrowing,
            "INSERT INTO attempts (key, count, ends_at) VALUES (?1, 1, ?3)
             ON CONFLICT (key) DO UPDATE SET count = iif(ends_at > ?2 AND ends_at <= ?5, min(count, ?4) + 1, 1),
                                             ends_at = iif(ends_at > ?2 AND ends_at <= ?5, ends_at, ?3)
             RETURNING count, ends_at",
            args![key, now, now.plus_seconds(seconds), limit, now.plus_seconds(seconds + SKEW)],
        )
        .await?;
    rows.into_iter().next().ok_or(DbError::Row("a counter gave no row"))
}

/// Guesses of one secret: those that were wrong, and those that are still being checked, each with a counter of its own.
pub struct Guesses {
    wrong: Digest,
    checking: Digest,
    limit: i64,
    seconds: i64,
}

/// How many guesses there are now.
pub struct Guessed {
    /// Wrong ones.
    pub wrong: i64,
    /// When these are forgotten.
    pub ends_at: Timestamp,
    /// Those that are still being checked.
    pub checking: i64,
}

impl FromRow for Guessed {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { wrong: row.take()?, ends_at: row.take()?, checking: row.take()? })
    }
}

/// How long a guess is taken to be checked whose instance never says how it ended, seconds.
const CHECKED_FOR: i64 = 30;

impl Guesses {
    /// Guesses of what `parts` name: at most `limit` wrong ones in a window that begins with the first of them and lasts `seconds`.
    pub fn new(parts: &[&str], limit: i64, seconds: i64) -> Self {
        let wrong = Digest::of_parts(parts);
        let checking = Digest::of_parts(&[&wrong.to_string(), "checking"]);
        Self { wrong, checking, limit, seconds }
    }

    /// Whether so many are as many as may be wrong.
    pub fn are_too_many(&self, guesses: i64) -> bool {
        guesses >= self.limit
    }

    /// When a window of these ends at the latest.
    fn latest(&self, now: Timestamp) -> Timestamp {
        now.plus_seconds(self.seconds.max(CHECKED_FOR) + SKEW)
    }

    /// How many there are now.
    pub async fn count(&self, reads: &dyn Rows, now: Timestamp) -> Result<Guessed, DbError> {
        let sql = "SELECT ifnull(max(count) FILTER (WHERE key = ?1), 0) AS wrong, ifnull(max(ends_at) FILTER (WHERE key = ?1), ?3) AS ends,
                          ifnull(max(count) FILTER (WHERE key = ?2), 0) AS checking
                   FROM attempts WHERE key IN (?1, ?2) AND ends_at > ?3 AND ends_at <= ?4";
        let row = args![&self.wrong, &self.checking, now, self.latest(now)];
        reads.optional(sql, row).await?.ok_or(DbError::Row("counters gave no row"))
    }

    /// Begins to check one more; `false`: together with the wrong ones, as many are being checked as may be wrong.
    pub async fn begin(&self, db: &Db, now: Timestamp) -> Result<bool, DbError> {
        let wrong =
            "ifnull((SELECT w.count FROM attempts w WHERE w.key = ?1 AND w.ends_at > ?3 AND w.ends_at <= ?6), 0)";
        let sql = format!(
            "INSERT INTO attempts (key, count, ends_at) SELECT ?2, 1, ?4 WHERE {wrong} < ?5
             ON CONFLICT (key) DO UPDATE SET count = iif(ends_at > ?3 AND ends_at <= ?6, count, 0) + 1,
                                             ends_at = iif(ends_at <= ?6, max(ends_at, ?4), ?4)
             WHERE iif(ends_at > ?3 AND ends_at <= ?6, count, 0) + {wrong} < ?5
             RETURNING 1"
        );
        let row = args![&self.wrong, &self.checking, now, now.plus_seconds(CHECKED_FOR), self.limit, self.latest(now)];
        Ok(!db.single::<Affected>(Purpose::Narrowing, &sql, row).await?.is_empty())
    }

    /// Forgets the wrong ones: the secret that they missed is another one now.
    pub async fn forget(&self, tx: &Tx<'_>) -> Result<(), DbError> {
        tx.execute("DELETE FROM attempts WHERE key = ?1", args![&self.wrong]).await
    }

    /// Ends the check of one: it was wrong, or right, or nobody knows. Until it is counted as wrong it is counted as being checked.
    pub async fn end(&self, db: &Db, was_wrong: bool, now: Timestamp) -> Result<(), DbError> {
        let tx = db.begin(Purpose::Narrowing).await?;
        if was_wrong {
            let sql = "INSERT INTO attempts (key, count, ends_at) VALUES (?1, 1, ?3)
                       ON CONFLICT (key) DO UPDATE SET count = iif(ends_at > ?2 AND ends_at <= ?4, count + 1, 1),
                                                       ends_at = iif(ends_at > ?2 AND ends_at <= ?4, ends_at, ?3)";
            tx.execute(sql, args![&self.wrong, now, now.plus_seconds(self.seconds), self.latest(now)]).await?;
        }
        tx.execute("UPDATE attempts SET count = count - 1 WHERE key = ?1", args![&self.checking]).await?;
        tx.execute("DELETE FROM attempts WHERE key = ?1 AND count <= 0", args![&self.checking]).await?;
        tx.commit().await
    }
}
