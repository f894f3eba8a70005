//! Table `leases`: what one instance at a time does, of all hosts on one database.

use crate::{
    args,
    db::{Affected, Db, DbError, Reads},
};
use common::time::Timestamp;

/// What came of asking for the tick's lease.
#[derive(Debug, PartialEq, Eq)]
pub enum Lease {
    /// The caller has it for a second.
    Taken,
    /// Nobody has it. The clock of the one before was ahead by more than a minute: what that has put off is brought back first, which frees
    /// the lease too.
    AClockWasAhead,
    /// The caller has it, and nobody had it for more than a day: nothing ran, or this clock is ahead. Nothing is forgotten for an hour.
    AfterAGap,
    /// Another instance or host has it.
    Anothers,
}

/// Ticks are so far apart at most, ms, where something runs and clocks are right.
const GAP: i64 = 86_400_000;
/// How long nothing is forgotten after a longer gap, ms.
const CAUTION: i64 = 3_600_000;

/// Takes the tick's lease for a second, unless somebody else has it. Nobody has it for longer: an end that is farther away is of a clock that
/// was wrong.
pub async fn take_tick(db: &Db, now: Timestamp) -> Result<Lease, DbError> {
    const AHEAD: i64 = 60_000;
    let until = db.optional::<i64>("SELECT until FROM leases WHERE name = 'tick'", args![]).await?.unwrap_or(0);
    let rest = until.saturating_sub(now.millis());
    if (1..=AHEAD).contains(&rest) {
        return Ok(Lease::Anothers);
    }
    if rest > AHEAD {
        return Ok(Lease::AClockWasAhead);
    }
    let is_gap = until > 0 && rest < -GAP;
    if is_gap {
        // Before the lease is taken: whoever takes it next sees no gap any more.
        let sql = "INSERT INTO leases (name, until) VALUES ('forgetting', ?1 + ?2)
                   ON CONFLICT (name) DO UPDATE SET until = excluded.until RETURNING 1";
        db.hot::<Affected>(sql, args![now, CAUTION]).await?;
    }
    let sql = "UPDATE leases SET until = ?1 + 1000 WHERE name = 'tick' AND until = ?2 RETURNING 1";
    Ok(match db.hot::<Affected>(sql, args![now, until]).await?.is_empty() {
        true => Lease::Anothers,
        false if is_gap => Lease::AfterAGap,
        false => Lease::Taken,
    })
}

/// Whether what is old may be forgotten now: not in the hour after a gap between ticks. A clock that is ahead for a moment deletes nothing.
pub async fn may_forget(db: &Db, now: Timestamp) -> Result<bool, DbError> {
    let until = db.optional::<i64>("SELECT until FROM leases WHERE name = 'forgetting'", args![]).await?.unwrap_or(0);
    // An end that is farther away is of a clock that was ahead.
    Ok(!(1..=CAUTION).contains(&until.saturating_sub(now.millis())))
}

/// Takes a lease for a minute; `false`: another instance or host has it, or had it less than a minute ago.
pub async fn take_minute(db: &Db, name: &str, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE leases SET until = ?2 + 60000 WHERE name = ?1 AND until <= ?2 RETURNING 1";
    Ok(!db.hot::<Affected>(sql, args![name, now]).await?.is_empty())
}
