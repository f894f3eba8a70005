//! The work of the tick: it purges ended rows, and turns counters of refusals into audit rows.

use crate::{
    args, audit,
    db::{Affected, Db, DbError, Purpose, Reads, Tx},
    outbox,
};
use common::{
    id::{AuditId, NotificationId},
    secret::Chance,
    time::Timestamp,
};

/// Rows that one tick purges of a table at most, so that it never holds the write lock for long.
const BATCH: i64 = 2_000;

/// How long notifications are kept, seconds: 90 days.
const NOTIFICATIONS_KEPT: i64 = 90 * 86_400;

/// Takes the tick's lease for a second; `false`: another instance or host has it.
pub async fn take_lease(db: &Db, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE leases SET until = ?1 + 1000 WHERE name = 'tick' AND until <= ?1 RETURNING 1";
    Ok(!db.hot::<Affected>(sql, args![now]).await?.is_empty())
}

/// Purges kept answers and counters that have ended, old notifications and old mails.
pub async fn purge(db: &Db, now: Timestamp) -> Result<(), DbError> {
    db.hot::<Affected>(
        "DELETE FROM idempotency WHERE digest IN (SELECT digest FROM idempotency WHERE expires_at <= ?1 LIMIT ?2)",
        args![now, BATCH],
    )
    .await?;
    db.hot::<Affected>(
        "DELETE FROM attempts WHERE key IN (SELECT key FROM attempts WHERE ends_at <= ?1 LIMIT ?2)",
        args![now, BATCH],
    )
    .await?;
    db.hot::<Affected>(
        "DELETE FROM notifications WHERE id IN (SELECT id FROM notifications WHERE id < ?1 LIMIT ?2)",
        args![&NotificationId::first_at(now.plus_seconds(-NOTIFICATIONS_KEPT)), BATCH],
    )
    .await?;
    outbox::purge(db, now, BATCH).await
}

/// Writes one audit row for each subject, slug and minute that is over, and takes the counters away with it.
pub async fn write_refusals(db: &Db, chance: &Chance, now: Timestamp) -> Result<(), DbError> {
    let due = "SELECT count(*) FROM refusals WHERE minute < ?1";
    if db.optional::<i64>(due, args![now.minute()]).await? == Some(0) {
        return Ok(());
    }
    let tx = db.begin(Purpose::Durable).await?;
    for (subject, slug, minute) in ended(&tx, now).await? {
        let id = AuditId::generate(now, chance);
        tx.execute(
            "INSERT INTO audit (id, at, tenant_id, user_id, agent_id, credential_id, address, request_id, action, outcome, count)
             SELECT ?1, minute, tenant_id, user_id, agent_id, credential_id, address, request_id, slug, 'refused', count
             FROM refusals WHERE subject = ?2 AND slug = ?3 AND minute = ?4",
            args![&id, &subject, &slug, minute],
        )
        .await?;
        let delete = "DELETE FROM refusals WHERE subject = ?1 AND slug = ?2 AND minute = ?3";
        tx.execute(delete, args![subject, slug, minute]).await?;
    }
    audit::check_guarded(&tx).await?;
    tx.commit().await
}

async fn ended(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<(String, String, i64)>, DbError> {
    let sql = "SELECT subject, slug, minute FROM refusals WHERE minute < ?1 LIMIT ?2";
    tx.list(sql, args![now.minute(), BATCH]).await
}

impl crate::db::FromRow for (String, String, i64) {
    fn from_row(row: &mut crate::db::Row) -> Result<Self, DbError> {
        Ok((row.take()?, row.take()?, row.take()?))
    }
}
