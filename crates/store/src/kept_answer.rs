//! Table `idempotency`: first answers, sealed.

use common::{secret::Digest, time::Timestamp};

use crate::{
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx},
};

/// Answers that are kept for one caller at most.
pub const MOST_KEPT: i64 = 5_000;

/// A kept answer.
pub struct KeptAnswer {
    /// The credential that got it.
    pub credential_id: String,
    /// Keyed digest of the body that it answered.
    pub body_mac: Vec<u8>,
    /// Whether it shows a secret.
    pub holds_secret: bool,
    /// Its status.
    pub status: i64,
    /// Its body, sealed.
    pub answer: Vec<u8>,
}

impl KeptAnswer {
    /// Whether it answered this body.
    pub fn body_mac_matches(&self, mac: &Digest) -> bool {
        self.body_mac == mac.bytes()
    }
}

impl FromRow for KeptAnswer {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            credential_id: row.take()?,
            body_mac: row.take()?,
            holds_secret: row.take()?,
            status: row.take()?,
            answer: row.take()?,
        })
    }
}

/// The answer that is kept for a request, unless it has expired.
pub async fn find(reads: &dyn Rows, digest: &Digest, now: Timestamp) -> Result<Option<KeptAnswer>, DbError> {
    let sql = "SELECT credential_id, body_mac, holds_secret, status, answer FROM idempotency WHERE digest = ?1 AND expires_at > ?2";
    reads.optional(sql, args![digest, now]).await
}

/// Whether the caller with this id has as many kept answers as one may have.
pub async fn is_full(reads: &dyn Rows, caller: &str) -> Result<bool, DbError> {
    let sql = "SELECT count(*) FROM idempotency WHERE caller = ?1";
    Ok(reads.optional::<i64>(sql, args![caller]).await?.unwrap_or(0) >= MOST_KEPT)
}

/// Keeps an answer, which counts for the quota of `user`; `false`: this caller has as many as one may have.
pub async fn insert(
    tx: &Tx<'_>,
    digest: &Digest,
    (caller, user): (&str, &str),
    kept: &KeptAnswer,
    ends: Timestamp,
    now: Timestamp,
) -> Result<bool, DbError> {
    let inserted = tx
        .optional::<Affected>(
            "INSERT INTO idempotency (digest, caller, credential_id, body_mac, holds_secret, status, answer, expires_at, user_id)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?11 WHERE (SELECT count(*) FROM idempotency WHERE caller = ?2) < ?10
             ON CONFLICT (digest) DO UPDATE SET credential_id = ?3, body_mac = ?4, holds_secret = ?5, status = ?6, answer = ?7, expires_at = ?8, user_id = ?11
             WHERE expires_at <= ?9
             RETURNING 1",
            args![
                digest,
                caller,
                kept.credential_id.as_str(),
                kept.body_mac.clone(),
                kept.holds_secret,
                kept.status,
                kept.answer.clone(),
                ends,
                now,
                MOST_KEPT,
                user,
            ],
        )
        .await?;
    Ok(inserted.is_some())
}
