//! Table `audit_seals`.

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Purpose, Reads, Row, Rows},
};
use common::{
    secret::{Digest, Key},
    time::Timestamp,
};

/// A seal over the rows `from_seq ..= to_seq`.
pub struct Seal {
    /// The first row's number.
    pub from_seq: i64,
    /// The last row's number.
    pub to_seq: i64,
    /// When it was made.
    pub sealed_at: Timestamp,
    /// Which key made it.
    pub key_id: Vec<u8>,
    /// HMAC over all of it and the seal before.
    pub mac: Digest,
    /// The rows' numbers and digests.
    pub digests: Vec<u8>,
}

impl FromRow for Seal {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            from_seq: row.take()?,
            to_seq: row.take()?,
            sealed_at: row.take()?,
            key_id: row.take()?,
            mac: row.take()?,
            digests: row.take()?,
        })
    }
}

/// Where a seal ends: what the next one continues.
pub struct SealEnd {
    /// The last row's number.
    pub to_seq: i64,
    /// Which key made it.
    pub key_id: Vec<u8>,
    /// Its HMAC.
    pub mac: Digest,
}

impl FromRow for SealEnd {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { to_seq: row.take()?, key_id: row.take()?, mac: row.take()? })
    }
}

/// The last seal that ends before `seq`.
pub async fn before(reads: &dyn Rows, seq: i64) -> Result<Option<SealEnd>, DbError> {
    let sql = "SELECT to_seq, key_id, mac FROM audit_seals WHERE to_seq < ?1 ORDER BY to_seq DESC LIMIT 1";
    reads.optional(sql, args![seq]).await
}

/// At most `limit` seals that begin after `seq`, and not after `to`, the oldest first.
pub async fn after(reads: &dyn Rows, seq: i64, to: i64, limit: i64) -> Result<Vec<Seal>, DbError> {
    let sql = "SELECT from_seq, to_seq, sealed_at, key_id, mac, digests FROM audit_seals
               WHERE from_seq > ?1 AND from_seq <= ?2 ORDER BY from_seq LIMIT ?3";
    reads.list(sql, args![seq, to, limit]).await
}

/// The ends of at most `limit` seals that begin after `seq`, the oldest first, each with when it was made.
pub async fn ends(reads: &dyn Rows, seq: i64, limit: i64) -> Result<Vec<(Timestamp, SealEnd)>, DbError> {
    let sql = "SELECT sealed_at, to_seq, key_id, mac FROM audit_seals WHERE from_seq > ?1 ORDER BY from_seq LIMIT ?2";
    reads.list(sql, args![seq, limit]).await
}

impl FromRow for (Timestamp, SealEnd) {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok((row.take()?, SealEnd::from_row(row)?))
    }
}

/// Whether there is a seal with this HMAC.
pub async fn is_known(reads: &dyn Rows, mac: &Digest) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM audit_seals WHERE mac = ?1 LIMIT 1";
    Ok(reads.optional::<Affected>(sql, args![mac]).await?.is_some())
}

/// Stores a seal, if it still continues the newest one; `false`: somebody else has sealed these rows.
///
/// On the disk before its head is logged, and beyond `database_max_mib`: a seal is small beside the rows that it covers,
/// and taking rights away writes rows when the database is full.
pub async fn insert(db: &Db, seal: &Seal) -> Result<bool, DbError> {
    let sql = "INSERT INTO audit_seals (from_seq, to_seq, sealed_at, key_id, mac, digests)
               SELECT ?1, ?2, ?3, ?4, ?5, ?6
               WHERE ?1 = (SELECT ifnull(max(to_seq), 0) + 1 FROM audit_seals) RETURNING 1";
    let row = args![seal.from_seq, seal.to_seq, seal.sealed_at, seal.key_id.clone(), &seal.mac, seal.digests.clone()];
    Ok(!db.single::<Affected>(Purpose::Revoking, sql, row).await?.is_empty())
}

/// The name of a key in its seals: it does not reveal the key.
pub(crate) fn key_id(key: &Key) -> Vec<u8> {
    key.mac(b"key id").bytes().iter().take(8).copied().collect()
}
