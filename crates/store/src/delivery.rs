//! Table `deliveries`: events on their way to one webhook each, and those that arrived or could not.
//!
//! An event is sent at least once. A sender takes the webhook for a while ([`crate::webhook::take`]), so its rows are nobody else's; each is
//! read at the moment of its sending. What has arrived is written for several at once: a sender that dies before that sends these again.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Purpose, Reads, Row, Rows, Tx, Value},
    event::{may_change, may_see},
    page::PageRequest,
};
use common::{
    event::EventKind,
    id::{DeliveryId, EventId, TenantId, WebhookId},
    json,
    secret::Chance,
    time::Timestamp,
};

/// Seconds to wait after each try that fails: a day in all. The last try ends it.
const WAITS: [i64; 9] = [5, 30, 120, 600, 1_800, 7_200, 14_400, 28_800, 36_000];
/// How long a row is its sender's, seconds: longer than any try takes.
const LEASE: i64 = 60;

/// The states that a delivery can be in.
pub const STATES: [&str; 3] = ["due", "sent", "dead"];

/// A delivery whose turn it is, with what its webhook is now.
pub struct Due {
    /// The id.
    pub id: DeliveryId,
    /// Since when it is its turn.
    pub due_at: Timestamp,
    /// The event: the same for all webhooks.
    pub event: EventId,
    /// Its kind.
    pub kind: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The agent that it is about, by its id and the name that it had.
    pub agent: Option<(String, Option<String>)>,
    /// When it happened.
    pub at: Timestamp,
    /// Its data.
    pub data: Json,
    /// Tries, this one included.
    pub tries: i64,
    /// Where it is sent.
    pub url: String,
    /// The secret, sealed. `None`: there is none any more, or the webhook is off.
    pub sealed: Option<Vec<u8>>,
    /// The secret before, while it signs too.
    pub former: Option<Vec<u8>>,
    /// Whether the webhook's person may see it now.
    pub may_see: bool,
    /// Whether that person may change the agent.
    pub may_change: bool,
}

impl FromRow for Due {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (id, due_at) = (row.take()?, row.take()?);
        let (event, kind, tenant) = (row.take()?, row.take()?, row.take()?);
        let (agent, name): (Option<String>, Option<String>) = (row.take()?, row.take()?);
        let (at, data) = (row.take()?, row.take::<String>()?);
        Ok(Self {
            id,
            due_at,
            event,
            kind,
            tenant,
            agent: agent.map(|id| (id, name)),
            at,
            data: json::parse(&data).ok_or(DbError::Row("a delivery's data is no JSON"))?,
            tries: row.take()?,
            url: row.take()?,
            sealed: row.take()?,
            former: row.take()?,
            may_see: row.take()?,
            may_change: row.take()?,
        })
    }
}

/// Whether the delivery `d` was withheld: nothing is left of what it would have said.
macro_rules! withheld {
    () => {
        "(d.data = '{}' AND d.agent_id IS NULL)"
    };
}

/// Whether the webhook's person `u` may see the delivery `d` now.
macro_rules! may_see_it {
    () => {
        concat!(
            "(d.kind = 'webhook.test' OR NOT ",
            withheld!(),
            " AND u.deactivated_at IS NULL AND ",
            may_see!("d"),
            ")"
        )
    };
}

/// A delivery, its webhook and its person, as they are now.
const READ: &str = concat!(
    "SELECT d.id, d.due_at, d.event_id, d.kind, w.tenant_id, d.agent_id, d.agent, d.at, d.data, d.tries + 1 AS tries, w.url,
            iif(w.state = 'active', w.sealed, NULL) AS sealed, iif(w.former_ends > ?2, w.former, NULL) AS former,
            ",
    may_see_it!(),
    " AS may_see, ifnull(",
    may_change!(),
    ", 0) AS may_change
     FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id JOIN users u ON u.id = w.user_id
     LEFT JOIN agents a ON a.id = d.agent_id"
);

/// The delivery of a webhook that has been due the longest, behind the one that was sent before it.
pub async fn next(db: &Db, webhook: &WebhookId, after: Option<&Due>, now: Timestamp) -> Result<Option<Due>, DbError> {
    let sql = format!(
        "{READ} WHERE d.webhook_id = ?1 AND d.state = 'due' AND d.due_at <= ?2 AND (d.due_at, d.id) > (?3, ?4) ORDER BY d.due_at, d.id LIMIT 1"
    );
    let (at, id) = after.map_or((i64::MIN, ""), |after| (after.due_at.millis(), after.id.as_str()));
    db.optional(&sql, args![webhook, now, at, id]).await
}

/// Takes one delivery that is due, so that nobody else sends it for a while.
pub async fn take_one(db: &Db, webhook: &WebhookId, id: &str, now: Timestamp) -> Result<Option<Due>, DbError> {
    let sql = "UPDATE deliveries SET due_at = ?4 WHERE id = ?1 AND webhook_id = ?2 AND state = 'due' AND due_at <= ?3 RETURNING id";
    let row = args![id, webhook, now, now.plus_seconds(LEASE)];
    if db.hot::<DeliveryId>(sql, row).await?.is_empty() {
        return Ok(None);
    }
    db.optional(&format!("{READ} WHERE d.id = ?1"), args![id, now]).await
}

/// What came of a try.
#[derive(Default)]
pub struct Outcome {
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Its beginning.
    pub answer: Option<String>,
    /// Why it did not arrive, in a few words.
    pub error: Option<String>,
    /// How long the receiver asks to be left alone, seconds.
    pub retry_after: Option<i64>,
}

/// Writes that deliveries arrived, by one statement.
pub async fn sent(db: &Db, arrived: &[(DeliveryId, Outcome)], now: Timestamp) -> Result<(), DbError> {
    if arrived.is_empty() {
        return Ok(());
    }
    let row = |(id, outcome): &(DeliveryId, Outcome), answer: bool| {
        json!([id, outcome.status, outcome.answer.as_ref().filter(|_| answer)])
    };
    let rows = |answer| json::to_text(&Json::Array(arrived.iter().map(|one| row(one, answer)).collect()));
    let sql = "UPDATE deliveries SET state = 'sent', due_at = ?1, tries = tries + 1, status = s.value ->> 1, answer = s.value ->> 2, error = NULL
               FROM json_each(?2) s WHERE deliveries.id = s.value ->> 0 AND deliveries.state <> 'sent' RETURNING 1";
    write(db, sql, |answer| args![now, rows(answer)]).await
}

/// Writes that a try failed: the delivery waits for the next one, or is dead if this was the last or `is_final`.
pub async fn failed(db: &Db, due: &Due, outcome: &Outcome, is_final: bool, now: Timestamp) -> Result<(), DbError> {
    // A sender that was slower than its lease writes nothing over what another one has.
    let sql = "UPDATE deliveries SET tries = ?2, state = ?3, due_at = ?4, status = ?5, answer = ?6, error = ?7
               WHERE id = ?1 AND tries = ?2 - 1 AND state = 'due' RETURNING 1";
    let wait = wait(due.tries).filter(|_| !is_final).map(|wait| wait.max(outcome.retry_after.unwrap_or(0)));
    let (state, due_at) = wait.map_or(("dead", now), |wait| ("due", now.plus_seconds(wait)));
    let status = outcome.status.map(i64::from);
    let (answer, error) = (outcome.answer.as_deref(), outcome.error.as_deref());
    write(db, sql, |keeps| args![&due.id, due.tries, state, due_at, status, answer.filter(|_| keeps), error]).await
}

/// Writes what came of tries; `row` gives it with or without the answers, which take nearly all of its room. In a full database they are left
/// out: without the rest what has arrived would be sent without end, and no try would be the last.
async fn write(db: &Db, sql: &str, row: impl Fn(bool) -> Vec<Value>) -> Result<(), DbError> {
    let written = match db.single::<Affected>(Purpose::Durable, sql, row(true)).await {
        Err(DbError::Full) => db.single(Purpose::Revoking, sql, row(false)).await,
        written => written,
    };
    written.map(drop)
}

/// Takes what a delivery would have said out of it, and makes it dead: its person may no longer see it.
pub async fn withhold(db: &Db, due: &Due, why: &str, now: Timestamp) -> Result<(), DbError> {
    let sql =
        "UPDATE deliveries SET state = 'dead', due_at = ?2, error = ?3, data = '{}', agent = NULL, agent_id = NULL
               WHERE id = ?1 AND state = 'due' RETURNING 1";
    db.single::<Affected>(Purpose::Revoking, sql, args![&due.id, now, why]).await.map(drop)
}

/// Seconds to wait after so many tries; `None`: that was the last one.
fn wait(tries: i64) -> Option<i64> {
    WAITS.get(usize::try_from(tries - 1).ok()?).copied()
}

/// Queues a delivery for one webhook alone: a test.
pub async fn queue(
    tx: &Tx<'_>,
    (webhook, kind): (&WebhookId, EventKind),
    data: &Json,
    (chance, now): (&Chance, Timestamp),
) -> Result<DeliveryId, DbError> {
    let (id, event) = (DeliveryId::generate(now, chance), EventId::generate(now, chance));
    let sql = "INSERT INTO deliveries (id, webhook_id, event_id, kind, at, data, due_at, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5, ?5)";
    tx.execute(sql, args![&id, webhook, &event, kind.as_str(), now, json::to_text(data)]).await?;
    Ok(id)
}

/// A delivery as people see it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Delivery {
    /// The id.
    pub id: DeliveryId,
    /// The event's id: the header `webhook-id`.
    pub event_id: EventId,
    /// Its kind.
    pub kind: String,
    /// The agent that it is about.
    pub agent_id: Option<String>,
    /// `due`, `sent` or `dead`.
    pub state: String,
    /// Tries so far.
    pub tries: i64,
    /// The status of the last answer.
    pub status: Option<i64>,
    /// Its first 2 KB.
    pub answer: Option<String>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// When the event happened.
    pub at: Timestamp,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it is tried next; null when it is not.
    pub due_at: Option<Timestamp>,
    /// When it arrived or was given up.
    pub ended_at: Option<Timestamp>,
}

impl FromRow for Delivery {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            event_id: row.take()?,
            kind: row.take()?,
            agent_id: row.take()?,
            state: row.take()?,
            tries: row.take()?,
            status: row.take()?,
            answer: row.take()?,
            error: row.take()?,
            at: row.take()?,
            created_at: row.take()?,
            due_at: row.take()?,
            ended_at: row.take()?,
        })
    }
}

const COLUMNS: &str = "id, event_id, kind, agent_id, state, tries, status, answer, error, at, created_at,
    iif(state = 'due', due_at, NULL) AS due, iif(state = 'due', NULL, due_at) AS ended";

/// A webhook's deliveries, the newest first.
pub async fn list(
    reads: &dyn Rows,
    webhook: &WebhookId,
    state: Option<&str>,
    page: &PageRequest,
) -> Result<Vec<Delivery>, DbError> {
    let (at, id) = page.after();
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries
         WHERE webhook_id = ?1 AND (created_at, id) < (?2, ?3) AND (?4 IS NULL OR state = ?4)
         ORDER BY created_at DESC, id DESC LIMIT ?5"
    );
    reads.list(&sql, args![webhook, at, id, state, page.rows()]).await
}

/// One of a webhook's deliveries.
pub async fn find(reads: &dyn Rows, webhook: &WebhookId, id: &str) -> Result<Option<Delivery>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM deliveries WHERE id = ?2 AND webhook_id = ?1");
    reads.optional(&sql, args![webhook, id]).await
}

/// One of a webhook's deliveries with what it says.
pub struct Content {
    /// The delivery.
    pub delivery: Delivery,
    /// The tenant.
    pub tenant: TenantId,
    /// The name that the agent had that it is about.
    pub agent: Option<String>,
    /// Its data.
    pub data: Json,
    /// Whether the webhook's person may see it now. Nothing is left of one that was withheld.
    pub may_see: bool,
}

impl FromRow for Content {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (delivery, tenant, agent, data) =
            (Delivery::from_row(row)?, row.take()?, row.take()?, row.take::<String>()?);
        let data = json::parse(&data).ok_or(DbError::Row("a delivery's data is no JSON"))?;
        Ok(Self { delivery, tenant, agent, data, may_see: row.take()? })
    }
}

/// One of a webhook's deliveries, with what it says.
pub async fn content(reads: &dyn Rows, webhook: &WebhookId, id: &str) -> Result<Option<Content>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS}, tenant, agent, data, may_see
         FROM (SELECT d.*, w.tenant_id AS tenant, {} AS may_see
               FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id JOIN users u ON u.id = w.user_id
               LEFT JOIN agents a ON a.id = d.agent_id WHERE d.id = ?2 AND d.webhook_id = ?1)",
        may_see_it!()
    );
    reads.optional(&sql, args![webhook, id]).await
}

/// Makes a delivery due at once: one that has ended with all its tries, and one that waits for its next try with those that it has left.
/// `None`: it was withheld, and nothing is left of it.
pub async fn requeue(tx: &Tx<'_>, webhook: &WebhookId, id: &str, now: Timestamp) -> Result<Option<Delivery>, DbError> {
    let sql = format!(
        "UPDATE deliveries AS d SET state = 'due', tries = iif(state = 'due', tries, 0), due_at = ?3
         WHERE id = ?2 AND webhook_id = ?1 AND NOT {} RETURNING {COLUMNS}",
        withheld!()
    );
    tx.optional(&sql, args![webhook, id, now]).await
}

/// Purges rows of deliveries that arrived, or were given up, before `kept_since`.
pub async fn purge(db: &Db, kept_since: Timestamp, most: i64) -> Result<(), DbError> {
    let sql =
        "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE state = ?1 AND due_at <= ?2 LIMIT ?3)";
    for state in ["sent", "dead"] {
        db.hot::<Affected>(sql, args![state, kept_since, most]).await?;
    }
    Ok(())
}

impl Outcome {
    /// The columns of a failure that there is no answer for.
    pub fn error(error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_about_a_day_in_all() {
        let waits: Vec<i64> = (1..).map_while(wait).collect();
        assert!(waits.is_sorted() && waits.first() == Some(&5), "{waits:?}");
        let hours = waits.iter().sum::<i64>() / 3_600;
        assert!((24..=28).contains(&hours), "{hours}");
    }
}
