//! The work of the tick: it purges ended rows, and turns counters of refusals into audit rows.

use crate::{
    addressee,
    agent::log,
    args, audit, code, credential,
    db::{Affected, Db, DbError, Purpose, Reads},
    delivery, device, epoch, federated_credential, guard, hook, inbox, key_set, notification, oauth_document,
    oauth_grant, outbox, proof, signed_token, stream,
    usage::Quotas,
};
use common::{
    id::{AuditId, NotificationId, TenantId},
    secret::Chance,
    time::Timestamp,
};

/// Rows that one tick purges of a table at most, so that it never holds the write lock for long.
const BATCH: i64 = 2_000;

/// Brings back to now what a clock that was ahead has put farther away than it ever is: leases, pauses, next tries, counters. What it has
/// written as times of what happened stays.
pub async fn forget_the_future(db: &Db, now: Timestamp) -> Result<(), DbError> {
    const SECOND: i64 = 1_000;
    const HOUR: i64 = 3_600 * SECOND;
    let tx = db.begin(Purpose::Narrowing).await?;
    for (sql, longest) in [
        ("UPDATE leases SET until = 0 WHERE until > ?1 + ?2 AND name <> 'forgetting'", 120 * SECOND),
        ("UPDATE webhooks SET leased_until = 0 WHERE leased_until > ?1 + ?2", 2 * HOUR),
        ("UPDATE probes SET busy_until = 0 WHERE busy_until > ?1 + ?2", 120 * SECOND),
        ("UPDATE probes SET due_at = ?1 WHERE due_at > ?1 + ?2 + every_hours * 3600000", HOUR),
        ("UPDATE deliveries SET due_at = ?1 WHERE state = 'due' AND due_at > ?1 + ?2", 12 * HOUR),
        ("UPDATE outbox SET due_at = ?1 WHERE state = 'due' AND due_at > ?1 + ?2", 12 * HOUR),
        ("UPDATE guards SET until = ?1 + ?2 WHERE until > ?1 + ?2", 120 * SECOND),
        ("DELETE FROM streams WHERE until > ?1 + ?2", 120 * SECOND),
        ("DELETE FROM attempts WHERE ends_at > ?1 + ?2", 48 * HOUR),
    ] {
        tx.execute(sql, args![now, longest]).await?;
    }
    tx.commit().await
}

/// Remembers whether the database is nearly full: four fifths of its bound are in use. When it has become so, the active admins of the first
/// tenant, whose people run the server, are notified in the same transaction; then `true`.
pub async fn tell_nearly_full(
    db: &Db,
    (used, bound): (i64, i64),
    chance: &Chance,
    (title, body): (&str, &str),
    now: Timestamp,
) -> Result<bool, DbError> {
    let is_nearly_full = used.saturating_mul(5) >= bound.saturating_mul(4);
    let known = "SELECT until FROM leases WHERE name = 'nearly full'";
    if db.optional::<i64>(known, args![]).await? == Some(i64::from(is_nearly_full)) {
        return Ok(false);
    }
    let tx = db.begin(Purpose::Entry).await?;
    let sql = "UPDATE leases SET until = ?1 WHERE name = 'nearly full' AND until <> ?1 RETURNING 1";
    if tx.optional::<Affected>(sql, args![is_nearly_full]).await?.is_none() {
        return Ok(false);
    }
    if is_nearly_full {
        let first: Option<TenantId> = tx.optional("SELECT tenant_id FROM bootstrap", args![]).await?;
        if let Some(tenant) = first {
            for user in addressee::admins(&tx, &tenant).await? {
                notification::insert_own(&tx, (&tenant, chance, now), (&user, None), (title, body)).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(is_nearly_full)
}

/// Purges kept answers and counters that have ended, and what ended, or was not read or acknowledged, so many days ago: credentials, codes,
/// notifications, events of inboxes, lines of logs, deliveries; mails sooner. What fails holds up none of the others; the first failure is
/// returned.
pub async fn purge(db: &Db, quotas: &Quotas, days: i64, now: Timestamp) -> Result<(), DbError> {
    let kept_since = now.plus_seconds(-days.saturating_mul(86_400));
    let answers =
        "DELETE FROM idempotency WHERE digest IN (SELECT digest FROM idempotency WHERE expires_at <= ?1 LIMIT ?2)";
    let attempts = "DELETE FROM attempts WHERE key IN (SELECT key FROM attempts WHERE ends_at <= ?1 LIMIT ?2)";
    let notifications = "DELETE FROM notifications WHERE id IN (SELECT id FROM notifications WHERE id < ?1 LIMIT ?2)";
    let first = NotificationId::first_at(kept_since);
    let purged = [
        credential::purge(db, kept_since, BATCH).await,
        inbox::purge(db, kept_since, BATCH).await,
        log::purge(db, kept_since, BATCH).await,
        db.hot::<Affected>(answers, args![now, BATCH]).await.map(drop),
        db.hot::<Affected>(attempts, args![now, BATCH]).await.map(drop),
        db.hot::<Affected>(notifications, args![&first, BATCH]).await.map(drop),
        notification::forget_enough(db, quotas.notifications).await,
        code::purge(db, kept_since, BATCH).await,
        stream::purge(db, now, BATCH).await,
        hook::purge(db, now, BATCH).await,
        delivery::purge(db, kept_since, BATCH).await,
        device::purge(db, now, BATCH).await,
        epoch::purge(db, now, BATCH).await,
        federated_credential::purge_assertions(db, now, BATCH).await,
        key_set::purge(db, now, BATCH).await,
        guard::purge(db, now, BATCH).await,
        oauth_document::purge(db, now, BATCH).await,
        oauth_grant::purge(db, now, BATCH).await,
        proof::purge(db, now, BATCH).await,
        signed_token::purge(db, now, BATCH).await,
        outbox::purge(db, days, now, BATCH).await,
    ];
    purged.into_iter().fold(Ok(()), Result::and)
}

/// Writes one audit row for each credential (of sign-ins: each account), slug and minute that is over, and takes the counters away with it.
pub async fn write_refusals(db: &Db, chance: &Chance, now: Timestamp) -> Result<(), DbError> {
    let due = "SELECT count(*) FROM refusals WHERE minute < ?1";
    if db.optional::<i64>(due, args![now.minute()]).await? == Some(0) {
        return Ok(());
    }
    // The time part of the ids is made here, their random part by SQLite, as of the rows about many agents.
    let id = AuditId::generate(now, chance);
    let tx = db.begin(Purpose::Durable).await?;
    let ended = "SELECT subject, slug, minute FROM refusals WHERE minute < ?1 ORDER BY subject, slug, minute LIMIT ?2";
    let sql = format!(
        "INSERT INTO audit (id, at, tenant_id, user_id, agent_id, credential_id, address, request_id, action, outcome, count, after)
         SELECT ?3 || lower(hex(randomblob(8))), ifnull(r.first_at, r.minute), r.tenant_id, r.user_id, r.agent_id, r.credential_id, r.address,
                r.request_id, r.slug, 'refused', r.count, r.last
         FROM ({ended}) e JOIN refusals r ON (r.subject, r.slug, r.minute) = (e.subject, e.slug, e.minute)"
    );
    tx.execute(&sql, args![now.minute(), BATCH, id.time_part()]).await?;
    let sql = format!("DELETE FROM refusals WHERE (subject, slug, minute) IN ({ended})");
    tx.execute(&sql, args![now.minute(), BATCH]).await?;
    audit::check_guarded(&tx).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDb;

    /// R158: an operator that wants to keep everything sets as many days as there are numbers.
    #[tokio::test]
    async fn the_longest_retention_keeps_everything() {
        let t = TestDb::new();
        let ada = t.ada().await;
        let scout = t.agent(&ada, "scout", "*").await;
        t.execute(&format!(
            "INSERT INTO inbox (agent_id, seq, kind, data, created_at, caused_by) VALUES ('{}', 1, 'x', '{{}}', 0, '')",
            scout.agent.unwrap()
        ))
        .await
        .unwrap();
        let quotas = Quotas { agents: 1, credentials: 1, bytes: 1, notifications: 1 };
        purge(t.db(), &quotas, i64::MAX, t.now()).await.unwrap();
        assert_eq!(t.number("SELECT count(*) FROM inbox").await, 1);
    }
}
