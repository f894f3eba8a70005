//! Table `events`: what has happened and waits to be given to webhooks; and the events that one statement puts into many inboxes.
//!
//! An event is written in the transaction of the change that it reports, and only where there is an active webhook: without one it costs
//! a look at an index. The tick gives it to the webhooks that ask for it ([`fan_out`]), so that a change does not pay for their number.

use std::{sync::LazyLock, time::Duration};

use serde_json::{Value as Json, json};

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Purpose, Reads, Row, Tx},
    inbox::NEWEST,
    origin::Origin,
    permission::BELOW,
};
use common::{
    event::EventKind,
    id::{AgentId, DeliveryId, EventId, TenantId, UserId},
    json,
    secret::Chance,
    time::Timestamp,
};

/// Events that one transaction of [`fan_out`] gives to webhooks: it holds the write lock.
const BATCH: i64 = 500;
/// How long somebody has the turn to give events out at most, ms: longer than it takes, unless they have died.
const TURN: i64 = 10_000;
/// So many events given in one turn are a flood: then the next turn begins no sooner than so many ms later, and takes all that came meanwhile.
const FLOOD: i64 = 32;
const BREAK: i64 = 100;
/// How long to wait for another's turn to end, ms: what one takes that gives out all that waits.
const PATIENCE: i64 = 1_000;
/// Deliveries that wait for one webhook at most; of frequent kinds fewer.
const MOST_DUE: i64 = 50_000;
const MOST_FREQUENT_DUE: i64 = 1_000;

/// An event for webhooks.
pub struct New<'a> {
    /// Its kind.
    pub kind: EventKind,
    /// The agent that it is about.
    pub agent: Option<&'a AgentId>,
    /// The user that it is about; left out for an agent: its owner.
    pub user: Option<&'a UserId>,
    /// Its data: a JSON object, never a secret.
    pub data: &'a Json,
}

/// Writes an event, if the tenant has an active webhook.
pub async fn insert(
    tx: &Tx<'_>,
    (tenant, chance, now): (&TenantId, &Chance, Timestamp),
    new: &New<'_>,
) -> Result<(), DbError> {
    let id = EventId::generate(now, chance);
    let sql = "INSERT INTO events (id, tenant_id, kind, agent_id, agent, user_id, at, data)
               SELECT ?1, ?2, ?3, ?4, (SELECT a.name FROM agents a WHERE a.id = ?4),
                      ifnull(?5, (SELECT a.owner_id FROM agents a WHERE a.id = ?4)), ?6, ?7
               WHERE EXISTS (SELECT 1 FROM webhooks w WHERE w.tenant_id = ?2 AND w.state = 'active') RETURNING 1";
    let row = args![&id, tenant, new.kind.as_str(), new.agent, new.user, now, json::to_text(new.data)];
    if tx.optional::<Affected>(sql, row).await?.is_some() {
        tx.leave_work();
    }
    Ok(())
}

/// Many agents that an event is about.
pub(crate) struct Many<'a> {
    /// The text before the statement, which may name a table.
    pub(crate) with: &'a str,
    /// A condition on the agent `a`; it and `with` know `subject` as `?1`.
    pub(crate) which: &'a str,
    /// An id.
    pub(crate) subject: &'a str,
    /// The kind of the event.
    pub(crate) kind: EventKind,
    /// Its data, the same for all.
    pub(crate) data: &'a Json,
}

/// Puts an event into the inbox of each of many agents, by one statement. The caller's next statement raises `inbox_seq` of the same
/// agents by one. They count for nobody, as [`crate::inbox::push_newest`] has it.
pub(crate) async fn push_to_many(tx: &Tx<'_>, origin: &Origin<'_>, many: &Many<'_>) -> Result<(), DbError> {
    let Many { with, which, .. } = many;
    let sql = format!(
        "{with} INSERT INTO inbox (agent_id, seq, kind, data, created_at, caused_by)
         SELECT a.id, a.inbox_seq + 1, ?2, ?3, ?4, '' FROM agents a WHERE {which}"
    );
    let row = args![many.subject, many.kind.in_inbox(), json::to_text(many.data), origin.now];
    tx.execute(&sql, row).await?;
    // Few inboxes have had so many events that there are old ones to forget.
    let sql = format!(
        "{with} DELETE FROM inbox WHERE (agent_id, seq) IN (
             SELECT i.agent_id, i.seq FROM agents a
             JOIN inbox i ON i.agent_id = a.id AND i.caused_by = '' AND i.seq <= a.inbox_seq + 1 - ?2
             WHERE a.inbox_seq >= ?2 AND {which})"
    );
    tx.execute(&sql, args![many.subject, NEWEST]).await?;
    insert_for_many(tx, origin, many).await
}

/// Writes an event about each agent below this one for webhooks.
pub async fn insert_below(
    tx: &Tx<'_>,
    origin: &Origin<'_>,
    agent: &AgentId,
    kind: EventKind,
    data: &Json,
) -> Result<(), DbError> {
    let which = "a.id IN (SELECT id FROM below WHERE depth > 1)";
    insert_for_many(tx, origin, &Many { with: BELOW, which, subject: agent.as_str(), kind, data }).await
}

/// Writes an event about each of many agents for webhooks, by one statement, if the tenant has an active one.
pub(crate) async fn insert_for_many(tx: &Tx<'_>, origin: &Origin<'_>, many: &Many<'_>) -> Result<(), DbError> {
    let sql = "SELECT 1 FROM webhooks w WHERE w.tenant_id = ?1 AND w.state = 'active' LIMIT 1";
    if tx.optional::<Affected>(sql, args![origin.tenant]).await?.is_none() {
        return Ok(());
    }
    tx.leave_work();
    let Many { with, which, .. } = many;
    let id = EventId::generate(origin.now, origin.chance);
    let sql = format!(
        "{with} INSERT INTO events (id, tenant_id, kind, agent_id, agent, user_id, at, data)
         SELECT ?2 || lower(hex(randomblob(8))), a.tenant_id, ?3, a.id, a.name, a.owner_id, ?4, ?5 FROM agents a WHERE {which}"
    );
    let row = args![many.subject, id.time_part(), many.kind.as_str(), origin.now, json::to_text(many.data)];
    tx.execute(&sql, row).await
}

/// Whether the user `u` may see the event `e` now; `a` is the agent that it is about, where that is still there. Admins see all of their
/// tenant; others what is about themselves, and about agents that they own or were granted.
macro_rules! may_see {
    ($e:literal) => {
        concat!(
            "(u.role = 'admin' OR CASE WHEN a.id IS NULL THEN ",
            $e,
            ".user_id = u.id WHEN a.archived_at IS NOT NULL THEN a.owner_id = u.id ELSE a.owner_id = u.id OR EXISTS (SELECT 1 FROM grants g WHERE g.object_id = a.id AND g.subject_id = u.id) END)"
        )
    };
}
pub(crate) use may_see;

/// Whether the user `u` may change the agent `a`, and so get a code for its token.
macro_rules! may_change {
    () => {
        "(u.role <> 'viewer' AND (u.role = 'admin' OR a.owner_id = u.id OR EXISTS (
             SELECT 1 FROM grants g WHERE g.object_id = a.id AND g.subject_id = u.id AND g.relation = 'editor')))"
    };
}
pub(crate) use may_change;

/// Whether the webhook `w` asks for events of a kind about an agent, by its id.
macro_rules! asks_for {
    ($kind:literal, $agent:literal) => {
        concat!(
            "(w.kinds IS NULL OR EXISTS (SELECT 1 FROM json_each(w.kinds) k WHERE ",
            $kind,
            " GLOB k.value)) AND (w.agents IS NULL OR EXISTS (SELECT 1 FROM json_each(w.agents) k WHERE k.value = ",
            $agent,
            "))"
        )
    };
}

/// Whether a webhook asks for events of a kind about an agent, of a person that may change the agent.
pub async fn is_heard(tx: &Tx<'_>, kind: EventKind, agent: &AgentId) -> Result<bool, DbError> {
    let sql = concat!(
        "SELECT 1 FROM agents a JOIN webhooks w ON w.tenant_id = a.tenant_id AND w.state = 'active'
         JOIN users u ON u.id = w.user_id AND u.deactivated_at IS NULL
         WHERE a.id = ?1 AND ",
        may_change!(),
        " AND ",
        asks_for!("?2", "a.id"),
        " LIMIT 1"
    );
    Ok(tx.optional::<Affected>(sql, args![agent, kind.as_str()]).await?.is_some())
}

/// The events, and the webhooks that they match: found once for all that are alike, since a load makes many of one kind about one agent. Put
/// together once.
static MATCHES: LazyLock<String> = LazyLock::new(|| {
    let frequent = EventKind::ALL.iter().filter(|kind| kind.is_frequent());
    let frequent = frequent.map(|kind| format!("'{}'", kind.as_str())).collect::<Vec<_>>().join(", ");
    format!(
        "WITH some AS MATERIALIZED (
                  SELECT *, dense_rank() OVER (ORDER BY tenant_id, kind, agent_id, user_id) AS alike
                  FROM (SELECT * FROM events ORDER BY seq LIMIT ?1)),
              hooks AS MATERIALIZED (
                  SELECT w.id, w.tenant_id, w.user_id, w.kinds, w.agents, w.created_at,
                         (SELECT count(*) FROM (SELECT 1 FROM deliveries d WHERE d.webhook_id = w.id AND d.state = 'due' LIMIT ?2)) AS due
                  FROM webhooks w WHERE w.state = 'active' AND w.tenant_id IN (SELECT tenant_id FROM some)),
              matches AS MATERIALIZED (
                  SELECT e.alike, w.id AS webhook_id, w.created_at AS since, w.due < iif(e.kind IN ({frequent}), ?3, ?2) AS has_room
                  FROM (SELECT DISTINCT alike, tenant_id, kind, agent_id, user_id FROM some) e
                  JOIN hooks w ON w.tenant_id = e.tenant_id
                  JOIN users u ON u.id = w.user_id AND u.deactivated_at IS NULL
                  LEFT JOIN agents a ON a.id = e.agent_id
                  WHERE {} AND {})",
        asks_for!("e.kind", "e.agent_id"),
        may_see!("e")
    )
});

/// Whose turn it is to give out the events that wait.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nobody's: none wait.
    Nobodys,
    /// The caller's, until it is [given back](give_back), or this moment comes.
    Own(Timestamp),
    /// Another's: to be asked for again after this time. The one after sees all that is committed now.
    Anothers(Duration),
}

/// Takes the turn to give out events, if some wait. One has it at a time, however many callers there are.
pub async fn take_turn(db: &Db, now: Timestamp) -> Result<Turn, DbError> {
    let sql = "SELECT ifnull((SELECT l.until FROM leases l WHERE l.name = 'events'), 0) AS until FROM events LIMIT 1";
    let Some(until) = db.optional::<i64>(sql, args![]).await? else { return Ok(Turn::Nobodys) };
    let rest = until.saturating_sub(now.millis());
    // An end that is farther away is of a clock that was wrong.
    if (1..=TURN).contains(&rest) {
        return Ok(Turn::Anothers(Duration::from_millis(rest.min(PATIENCE).unsigned_abs())));
    }
    let ends = now.plus_millis(TURN);
    let sql = "INSERT INTO leases (name, until) VALUES ('events', ?2)
               ON CONFLICT (name) DO UPDATE SET until = excluded.until WHERE until = ?1 RETURNING 1";
    let is_taken = !db.hot::<Affected>(sql, args![until, ends]).await?.is_empty();
    Ok(if is_taken { Turn::Own(ends) } else { Turn::Anothers(Duration::from_millis(BREAK.unsigned_abs())) })
}

/// Gives the turn back that ends then, after so many events were given out.
pub async fn give_back(db: &Db, ends: Timestamp, given: i64, now: Timestamp) -> Result<(), DbError> {
    let next = if given < FLOOD { now } else { now.plus_millis(BREAK) };
    let sql = "UPDATE leases SET until = ?2 WHERE name = 'events' AND until = ?1 RETURNING 1";
    db.hot::<Affected>(sql, args![ends, next]).await.map(drop)
}

/// The events that are given out next: the number of the last one, and how many there are.
struct Batch {
    last: i64,
    number: i64,
}

impl FromRow for Batch {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { last: row.take()?, number: row.take()? })
    }
}

/// How many of some events a webhook asks for, and whether it has room for them.
struct Asked {
    webhook: String,
    has_room: bool,
    number: i64,
}

impl FromRow for Asked {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { webhook: row.take()?, has_room: row.take()?, number: row.take()? })
    }
}

/// Gives events that wait to the webhooks that ask for them, a bounded number; gives how many. None: there are no more.
pub async fn fan_out(db: &Db, chance: &Chance, now: Timestamp) -> Result<i64, DbError> {
    let next = "SELECT max(e.seq) AS last, count(*) AS number FROM (SELECT seq FROM events ORDER BY seq LIMIT ?1) e HAVING count(*) > 0";
    if db.optional::<Batch>(next, args![BATCH]).await?.is_none() {
        return Ok(0);
    }
    let tx = db.begin(Purpose::Durable).await?;
    let Some(Batch { last, number }) = tx.optional(next, args![BATCH]).await? else { return Ok(0) };
    // Asked before anything is given: what is given takes room. In a flood few webhooks have any, and the rest is only counted.
    let sql = format!(
        "{}, groups AS MATERIALIZED (SELECT alike, count(*) AS number, min(at) AS first FROM some GROUP BY alike)
         SELECT m.webhook_id, m.has_room,
                sum(iif(m.since <= l.first, l.number, (SELECT count(*) FROM some e WHERE e.alike = m.alike AND m.since <= e.at))) AS asked
         FROM matches m JOIN groups l ON l.alike = m.alike GROUP BY m.webhook_id, m.has_room HAVING asked > 0",
        *MATCHES
    );
    let asked: Vec<Asked> = tx.list(&sql, args![BATCH, MOST_DUE, MOST_FREQUENT_DUE]).await?;
    let left_out: Vec<Json> =
        asked.iter().filter(|one| !one.has_room).map(|one| json!([one.webhook, one.number])).collect();
    if !left_out.is_empty() {
        let sql = "UPDATE webhooks SET left_out = left_out + (s.value ->> 1) FROM json_each(?1) s WHERE webhooks.id = s.value ->> 0";
        tx.execute(sql, args![json::to_text(&Json::Array(left_out))]).await?;
    }
    if asked.iter().any(|one| one.has_room) {
        // Their ids sort as the events happened, and so they are sent in that order.
        let id = DeliveryId::generate(now, chance);
        let sql = format!(
            "{} INSERT INTO deliveries (id, webhook_id, event_id, kind, agent_id, agent, user_id, at, data, due_at, created_at)
             SELECT ?4 || printf('%08x', e.seq % 4294967296) || lower(hex(randomblob(4))), m.webhook_id, e.id, e.kind, e.agent_id, e.agent, e.user_id, e.at, e.data, ?5, ?5
             FROM matches m JOIN some e ON e.alike = m.alike AND m.since <= e.at WHERE m.has_room",
            *MATCHES
        );
        tx.execute(&sql, args![BATCH, MOST_DUE, MOST_FREQUENT_DUE, id.time_part(), now]).await?;
    }
    tx.execute("DELETE FROM events WHERE seq <= ?1", args![last]).await?;
    tx.commit().await?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::TestDb,
        webhook::{self, Settings},
    };
    use common::role::Role;

    /// An event is given or left out, and never counted as both.
    #[tokio::test]
    async fn an_event_is_left_out_only_where_no_room_was_left_before() {
        let t = TestDb::new();
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let id = common::id::WebhookId::generate(t.now(), t.chance());
        let tx = t.db().begin(Purpose::Durable).await.unwrap();
        let settings =
            Settings { name: "x", url: "https://hooks.example", kinds: None, agents: None, takes_notifications: false };
        webhook::insert(&tx, &id, (&tenant, &ada.user), (&settings, vec![1]), t.now()).await.unwrap();
        tx.commit().await.unwrap();
        let due = "SELECT count(*) FROM deliveries WHERE state = 'due'";
        let left_out = "SELECT left_out FROM webhooks";
        for (events, expected) in [(999, (999, 0)), (2, (1_001, 0)), (2, (1_001, 2))] {
            let tx = t.db().begin(Purpose::Durable).await.unwrap();
            for _ in 0..events {
                let data = json!({});
                let new = New { kind: EventKind::Message, agent: None, user: Some(&ada.user), data: &data };
                insert(&tx, (&tenant, t.chance(), t.now()), &new).await.unwrap();
            }
            tx.commit().await.unwrap();
            while fan_out(t.db(), t.chance(), t.now()).await.unwrap() > 0 {}
            assert_eq!((t.number(due).await, t.number(left_out).await), expected);
        }
    }

    /// R296: one caller at a time gives events out, and the next one at once, unless it was a flood.
    #[tokio::test]
    async fn events_are_given_out_in_turns() {
        let t = TestDb::new();
        assert_eq!(take_turn(t.db(), t.now()).await.unwrap(), Turn::Nobodys, "nothing waits");
        t.execute(
            "INSERT INTO events (id, tenant_id, kind, user_id, at, data) VALUES ('msg_1', 'ten_1', 'message', NULL, 0, '{}')",
        )
        .await
        .unwrap();
        let ends = t.now().plus_millis(TURN);
        let take = async |now| take_turn(t.db(), now).await.unwrap();
        assert_eq!(take(t.now()).await, Turn::Own(ends));
        assert_eq!(take(t.now()).await, Turn::Anothers(Duration::from_secs(1)));
        give_back(t.db(), ends, 1, t.now()).await.unwrap();
        assert_eq!(take(t.now()).await, Turn::Own(ends), "the next one needs not wait");
        give_back(t.db(), ends, FLOOD, t.now()).await.unwrap();
        assert_eq!(take(t.now()).await, Turn::Anothers(Duration::from_millis(100)));
        let later = t.now().plus_millis(BREAK);
        let ends = later.plus_millis(TURN);
        assert_eq!(take(later).await, Turn::Own(ends));
        // One that dies loses it, and takes nothing from the next one when it comes back.
        let after = Turn::Own(ends.plus_millis(TURN));
        assert_eq!(take(ends).await, after);
        give_back(t.db(), ends, 1, ends).await.unwrap();
        assert!(matches!(take(ends).await, Turn::Anothers(_)));
        // A clock that is set back by an hour keeps nobody waiting.
        assert!(matches!(take(ends.plus_seconds(-3_600)).await, Turn::Own(_)));
    }
}
