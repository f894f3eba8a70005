//! The check-point behind which the trail begins, once older rows were deleted (`retention`).

use crate::{
    args,
    audit::seal::{SealEnd, key_id},
    db::{DbError, FromRow, Reads, Row, Rows},
};
use common::{
    secret::{Digest, Key},
    time::Timestamp,
};

/// Where the trail begins since older rows were deleted.
#[derive(Clone)]
pub struct Checkpoint {
    /// The last row that is gone.
    pub to_seq: i64,
    /// Rows that are gone in all.
    pub rows: i64,
    /// When it was made.
    pub made_at: Timestamp,
    /// Which key made the last seal that is gone.
    pub(super) seal_key: Vec<u8>,
    /// That seal's HMAC, which the next one continues.
    pub(super) seal: Digest,
    /// Which key made this.
    pub(super) key_id: Vec<u8>,
    /// The HMAC of all that.
    pub(super) mac: Digest,
}

impl FromRow for Checkpoint {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            to_seq: row.take()?,
            rows: row.take()?,
            made_at: row.take()?,
            seal_key: row.take()?,
            seal: row.take()?,
            key_id: row.take()?,
            mac: row.take()?,
        })
    }
}

impl Checkpoint {
    pub(super) fn mac(&self, key: &Key) -> Digest {
        let mut bytes = b"accredit audit check-point 1".to_vec();
        for number in [self.to_seq, self.rows, self.made_at.millis()] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(&self.seal_key);
        bytes.extend(self.seal.bytes());
        bytes.extend(&self.key_id);
        key.mac(&bytes)
    }

    /// Why it cannot be trusted. `None`: one of these keys has made it as it is.
    pub(crate) fn fault(&self, keys: &[Key]) -> Option<&'static str> {
        match keys.iter().find(|key| key_id(key) == self.key_id) {
            None => Some("unknown_key"),
            Some(key) if !self.mac(key).matches(&self.mac) => Some("checkpoint_changed"),
            Some(_) => None,
        }
    }

    /// The seal that the first one that is left continues.
    pub(crate) fn end(&self) -> SealEnd {
        SealEnd { to_seq: self.to_seq, key_id: self.seal_key.clone(), mac: Digest::from(*self.seal.bytes()) }
    }
}

/// The newest check-point. `None`: the trail is whole.
pub async fn find(reads: &dyn Rows) -> Result<Option<Checkpoint>, DbError> {
    let sql =
        "SELECT to_seq, rows, made_at, seal_key, seal, key_id, mac FROM audit_checkpoints ORDER BY to_seq DESC LIMIT 1";
    reads.optional(sql, args![]).await
}
