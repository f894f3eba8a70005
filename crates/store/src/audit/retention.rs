//! The end of old audit rows. They go with the seals that cover them, the oldest first, once the operator has set for how long rows are kept.
//!
//! What is left stays verifiable: a check-point names the last row that is gone and the seal that ended with it, which the next seal
//! continues, under the HMAC of a key of the trail. Without a key nothing is deleted.
//!
//! Triggers keep every statement from deleting rows and seals. The one transaction of [`run`] takes them away and makes them again, by the
//! text that it has found; nobody else sees the database without them.

use crate::{
    args,
    audit::{
        chain::is_as_sealed,
        check_guarded,
        checkpoint::{Checkpoint, find},
        seal::{self, SealEnd, key_id},
    },
    db::{Db, DbError, Purpose, Reads, Rows, Tx},
    lease,
};
use common::{
    secret::{Digest, Key},
    time::Timestamp,
};

/// Rows and seals that one transaction deletes at most: it holds the write lock. A seal has at most 1,000 rows.
const BATCH: i64 = 2_000;
const SEALS: i64 = 500;
/// The triggers that are in the way.
const GUARDS: [&str; 2] = ["an_audit_row_is_never_deleted", "a_seal_is_never_deleted"];

/// The check-point that there is, and the seal to which rows can be deleted now: the last of the oldest that were made before a moment,
/// and never the newest of all, which the next one continues. `None`: there is none.
async fn old(reads: &dyn Rows, until: Timestamp) -> Result<Option<(Option<Checkpoint>, SealEnd)>, DbError> {
    let before = find(reads).await?;
    let gone_to = before.as_ref().map_or(0, |before| before.to_seq);
    let mut ends = seal::ends(reads, gone_to, SEALS).await?;
    ends.pop();
    let old = ends.into_iter().take_while(|(made_at, end)| *made_at <= until && end.to_seq - gone_to <= BATCH);
    Ok(old.last().map(|(_, end)| (before, end)))
}

/// Deletes some of the rows whose seals are older than so many days, at most once a minute; gives the new check-point. `None`: there is
/// nothing to delete, or no key.
pub async fn run(db: &Db, keys: &[Key], days: i64, now: Timestamp) -> Result<Option<Checkpoint>, DbError> {
    let Some(key) = keys.first() else { return Ok(None) };
    let until = now.plus_seconds(-days.saturating_mul(86_400));
    let Some((before, last)) = old(db, until).await? else { return Ok(None) };
    if !lease::take_minute(db, "audit retention", now).await? {
        return Ok(None);
    }
    // What is not as it was sealed stays as evidence. It is read without a lock: rows never change.
    let is_forged = before.as_ref().is_some_and(|before| before.fault(keys).is_some());
    if is_forged || !is_as_sealed(db, keys, before.as_ref().map(Checkpoint::end), last.to_seq).await? {
        return Err(DbError::Row(
            "rows that are not as they were sealed, or a check-point that no key has made, are not deleted",
        ));
    }
    let tx = db.begin(Purpose::Revoking).await?;
    // Another host may have been faster, beyond the lease.
    if find(&tx).await?.map(|now| now.to_seq) != before.as_ref().map(|before| before.to_seq) {
        return Ok(None);
    }
    let gone = tx.optional::<i64>("SELECT count(*) FROM audit WHERE seq <= ?1", args![last.to_seq]).await?.unwrap_or(0);
    let mut made = Checkpoint {
        to_seq: last.to_seq,
        rows: before.as_ref().map_or(0, |before| before.rows) + gone,
        made_at: now,
        seal_key: last.key_id,
        seal: last.mac,
        key_id: key_id(key),
        mac: Digest::of(&[]),
    };
    made.mac = made.mac(key);
    let guards = take_guards(&tx).await?;
    tx.execute("DELETE FROM audit WHERE seq <= ?1", args![made.to_seq]).await?;
    tx.execute("DELETE FROM audit_seals WHERE to_seq <= ?1", args![made.to_seq]).await?;
    for guard in guards {
        tx.execute(&guard, args![]).await?;
    }
    tx.execute("DELETE FROM audit_checkpoints WHERE to_seq < ?1", args![made.to_seq]).await?;
    let sql = "INSERT INTO audit_checkpoints (to_seq, rows, made_at, seal_key, seal, key_id, mac) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let row =
        args![made.to_seq, made.rows, made.made_at, made.seal_key.clone(), &made.seal, made.key_id.clone(), &made.mac,];
    tx.execute(sql, row).await?;
    check_guarded(&tx).await?;
    tx.commit().await?;
    Ok(Some(made))
}

/// Takes the triggers away, and gives the statements that make them again.
async fn take_guards(tx: &Tx<'_>) -> Result<Vec<String>, DbError> {
    let mut texts = Vec::new();
    for name in GUARDS {
        let sql = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?1";
        texts.push(
            tx.optional::<String>(sql, args![name]).await?.ok_or(DbError::Row("a trigger of the trail is missing"))?,
        );
        tx.execute(&format!("DROP TRIGGER {name}"), args![]).await?;
    }
    Ok(texts)
}

#[cfg(test)]
mod tests;
