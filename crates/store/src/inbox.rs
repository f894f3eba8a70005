//! Table `inbox`: events for agents, in order, until they acknowledge them.

use std::sync::LazyLock;

use serde_json::Value as Json;

use crate::{
    args,
    credential::status::{REVOKED, status},
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows, Tx},
};
use common::{
    id::{AgentId, UserId},
    json,
    secret::Digest,
    time::Timestamp,
};

/// Events that one agent's inbox holds at most before messages are refused.
pub const MOST: i64 = 10_000;
/// Those among them that one person causes that is not the agent's owner, so that nobody else can fill the inbox.
pub const MOST_OF_ANOTHER: i64 = 1_000;

/// The prefix of every event's id; its number follows, in 16 digits, so that text order is their order.
const PREFIX: &str = "evt_";

/// An event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its number.
    pub seq: i64,
    /// When it happened.
    pub at: Timestamp,
    /// Its kind, such as `message`.
    pub kind: String,
    /// Its data: a JSON object.
    pub data: Json,
}

/// A row without an event says that the reader is known and has nothing to read.
impl FromRow for Option<Event> {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let Some(seq) = row.take::<Option<i64>>()? else { return Ok(None) };
        let (at, kind) = (row.take()?, row.take()?);
        // Of a large event it is read by itself.
        let data = match row.take::<Option<String>>()? {
            None => Json::Null,
            Some(data) => common::json::parse(&data).ok_or(DbError::Row("an event whose data is no JSON"))?,
        };
        Ok(Some(Event { seq, at, kind, data }))
    }
}

/// An event with more bytes of data is large.
const LARGE: usize = 64 * 1024;
/// Large events of a page at most, so that a page stays within a few MiB.
const MOST_LARGE: usize = 2;

/// An event's id.
pub fn id(seq: i64) -> String {
    format!("{PREFIX}{seq:016}")
}

/// The number in an event's id.
pub fn seq(id: &str) -> Option<i64> {
    let digits = id.strip_prefix(PREFIX)?;
    (digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// Puts an event into an agent's inbox, in the transaction of the change that it reports; gives its number. It counts for the quota of
/// the person who caused it. `None`: nothing was put there, since the inbox holds as many events of this cause as it may.
pub async fn push(
    tx: &Tx<'_>,
    agent: &AgentId,
    cause: &UserId,
    (kind, data): (&str, &Json),
    now: Timestamp,
) -> Result<Option<i64>, DbError> {
    let sql = "UPDATE agents SET inbox_seq = inbox_seq + 1 WHERE id = ?1 RETURNING inbox_seq";
    let seq: i64 = tx.optional(sql, args![agent]).await?.ok_or(DbError::Row("no agent for an event"))?;
    let sql = "INSERT INTO inbox (agent_id, seq, kind, data, created_at, caused_by)
               SELECT a.id, ?2, ?3, ?4, ?5, ?6 FROM agents a
               WHERE a.id = ?1 AND (SELECT count(*) FROM inbox i WHERE i.agent_id = ?1 AND i.caused_by = ?6) < iif(a.owner_id = ?6, ?7, ?8)
               RETURNING 1";
    let row = args![agent, seq, kind, common::json::to_text(data), now, cause, MOST, MOST_OF_ANOTHER];
    Ok(tx.optional::<Affected>(sql, row).await?.map(|_| seq))
}

/// Of the events that count for nobody, an inbox keeps those among its last events, of this number.
pub(crate) const NEWEST: i64 = 1_000;

/// Puts an event into an agent's inbox that always arrives and counts for nobody, since the agent must learn of it: such as a stop. Of
/// these the newest are kept. Gives its number; `None`: the agent is purged.
pub async fn push_newest(
    tx: &Tx<'_>,
    agent: &AgentId,
    (kind, data): (&str, &Json),
    now: Timestamp,
) -> Result<Option<i64>, DbError> {
    let sql = "UPDATE agents SET inbox_seq = inbox_seq + 1 WHERE id = ?1 RETURNING inbox_seq";
    let Some(seq) = tx.optional::<i64>(sql, args![agent]).await? else { return Ok(None) };
    put(tx, agent, seq, (kind, data), now).await?;
    Ok(Some(seq))
}

/// The same for the agent above, if there is one and it is not `but`: it gets `data` with the agent's id and name.
pub async fn push_above(
    tx: &Tx<'_>,
    agent: &AgentId,
    but: Option<&AgentId>,
    (kind, data): (&str, &Json),
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "UPDATE agents SET inbox_seq = inbox_seq + 1
               WHERE id = (SELECT b.parent_id FROM agents b WHERE b.id = ?1) AND archived_at IS NULL AND id IS NOT ?2
               RETURNING id, inbox_seq, (SELECT b.name FROM agents b WHERE b.id = ?1) AS name";
    let Some(Above(above, seq, name)) = tx.optional::<Above>(sql, args![agent, but]).await? else { return Ok(()) };
    let mut whole = serde_json::json!({ "agent": { "id": agent, "name": name } });
    if let (Some(whole), Some(data)) = (whole.as_object_mut(), data.as_object()) {
        whole.extend(data.clone());
    }
    put(tx, &above, seq, (kind, &whole), now).await
}

/// The agent above, the number of its new event, and the name of the agent below.
struct Above(AgentId, i64, String);

impl FromRow for Above {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self(row.take()?, row.take()?, row.take()?))
    }
}

async fn put(
    tx: &Tx<'_>,
    agent: &AgentId,
    seq: i64,
    (kind, data): (&str, &Json),
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO inbox (agent_id, seq, kind, data, created_at, caused_by) VALUES (?1, ?2, ?3, ?4, ?5, '')";
    tx.execute(sql, args![agent, seq, kind, common::json::to_text(data), now]).await?;
    if seq > NEWEST {
        let sql = "DELETE FROM inbox WHERE agent_id = ?1 AND caused_by = '' AND seq <= ?2";
        tx.execute(sql, args![agent, seq - NEWEST]).await?;
    }
    Ok(())
}

/// Put together once.
static READ: LazyLock<String> = LazyLock::new(|| {
    let status = status("(SELECT ?2)", REVOKED);
    format!(
        "SELECT i.seq, i.created_at, i.kind, iif(octet_length(i.data) > {LARGE}, NULL, i.data) AS data
         FROM credentials c JOIN agents a ON a.id = c.agent_id JOIN users u ON u.id = a.owner_id
         LEFT JOIN inbox i ON i.agent_id = c.agent_id AND i.seq > ?3
         WHERE c.digest = (SELECT ?1) AND {status} IN ('active', 'expiring')
         ORDER BY i.seq LIMIT ?4"
    )
});

/// The events behind a number, the oldest first, of the agent whose credential has this digest. `None`: the credential is not live now.
/// One statement decides who asks and what they read, so that nothing is read with a credential that has just ended.
pub async fn read(
    reads: &dyn Rows,
    digest: &Digest,
    now: Timestamp,
    after: i64,
    limit: i64,
) -> Result<Option<Vec<Event>>, DbError> {
    let rows: Vec<Option<Event>> = reads.list(&READ, args![digest, now, after, limit]).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let mut events: Vec<Event> = rows.into_iter().flatten().collect();
    let large: Vec<usize> =
        (0..events.len()).filter(|at| events.get(*at).is_some_and(|one| one.data.is_null())).collect();
    for at in large.iter().take(MOST_LARGE) {
        let Some(event) = events.get_mut(*at) else { continue };
        match reads.optional::<Option<Event>>(&READ_ONE, args![digest, now, event.seq]).await?.flatten() {
            Some(whole) => *event = whole,
            // The credential has just ended, or another request has acknowledged the event.
            None => {
                events.truncate(*at);
                return Ok(Some(events));
            }
        }
    }
    if let Some(end) = large.get(MOST_LARGE) {
        events.truncate(*end);
    }
    Ok(Some(events))
}

/// One event, whatever its size, for the same credential.
static READ_ONE: LazyLock<String> = LazyLock::new(|| {
    let status = status("(SELECT ?2)", REVOKED);
    format!(
        "SELECT i.seq, i.created_at, i.kind, i.data
         FROM credentials c JOIN agents a ON a.id = c.agent_id JOIN users u ON u.id = a.owner_id
         JOIN inbox i ON i.agent_id = c.agent_id AND i.seq = ?3
         WHERE c.digest = (SELECT ?1) AND {status} IN ('active', 'expiring')"
    )
});

/// How many events an agent has not acknowledged.
pub async fn unread(reads: &dyn Rows, agent: &AgentId) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM inbox WHERE agent_id = ?1";
    Ok(reads.optional(sql, args![agent]).await?.unwrap_or(0))
}

/// Forgets an agent's events up to a number; gives how many there were.
pub async fn acknowledge(db: &Db, agent: &AgentId, upto: i64) -> Result<usize, DbError> {
    let sql = "DELETE FROM inbox WHERE agent_id = ?1 AND seq <= ?2 RETURNING 1";
    Ok(db.hot::<Affected>(sql, args![agent, upto]).await?.len())
}

/// Purges events that nobody has acknowledged since this moment.
pub async fn purge(db: &Db, since: Timestamp, most: i64) -> Result<(), DbError> {
    let sql =
        "DELETE FROM inbox WHERE (agent_id, seq) IN (SELECT agent_id, seq FROM inbox WHERE created_at <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![since, most]).await.map(drop)
}

/// For each of these agents, by id, a text that is another one once an event has come, or once something has ended or was narrowed in its
/// tenant: whoever has seen what there was has nothing to look for until then.
pub async fn marks(reads: &dyn Rows, agents: &[String]) -> Result<Vec<(String, String)>, DbError> {
    let sql = "SELECT a.id, concat(a.inbox_seq, '-', (SELECT max(e.epoch) FROM epochs e WHERE e.tenant_id = a.tenant_id)) AS mark
               FROM json_each(?1) AS j CROSS JOIN agents a ON a.id = j.value";
    let found: Vec<Mark> = reads.list(sql, args![json::to_text(&serde_json::json!(agents))]).await?;
    Ok(found.into_iter().map(|Mark(agent, mark)| (agent, mark)).collect())
}

struct Mark(String, String);

impl FromRow for Mark {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self(row.take()?, row.take()?))
    }
}

/// The number of an agent's last event; 0 before the first one.
pub async fn last(reads: &dyn Rows, agent: &AgentId) -> Result<i64, DbError> {
    Ok(reads.optional("SELECT inbox_seq FROM agents WHERE id = ?1", args![agent]).await?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use common::{role::Role, secret::Secret};

    use super::*;
    use crate::{db::Purpose, testing::TestDb};

    /// R85: the statement that reads the events decides whether the credential that asks is live, whatever was decided before it.
    #[tokio::test]
    async fn a_credential_that_has_ended_reads_nothing() {
        for (end, can_read) in [
            ("UPDATE agents SET state = 'stopped'", true),
            ("UPDATE credentials SET revoked_at = 1 WHERE agent_id IS NOT NULL", false),
            ("UPDATE credentials SET expires_at = created_at WHERE agent_id IS NOT NULL", false),
            ("UPDATE users SET deactivated_at = 1", false),
            ("UPDATE agents SET archived_at = 1", false),
        ] {
            let t = TestDb::new();
            let tenant = t.tenant("main").await;
            let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
            let scout = t.agent(&ada, "scout", "*").await;
            let digest = |token: &str| Secret::parse(token).unwrap().digest();
            let own = digest(&scout.token);
            let read = async |digest| read(t.db(), &digest, t.now(), 0, 10).await.unwrap().map(|events| events.len());
            assert_eq!(read(own).await, Some(0));
            let tx = t.db().begin(Purpose::Durable).await.unwrap();
            push(&tx, scout.agent.as_ref().unwrap(), &ada.user, ("message", &Json::Null), t.now()).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(read(own).await, Some(1));
            // R682: what an inbox is looked at for changes its mark, and nothing else does.
            let ids = [scout.agent.as_ref().unwrap().to_string(), "agt_gone".to_owned()];
            let mark = async || marks(t.db(), &ids).await.unwrap();
            let before = mark().await;
            assert!(before.len() == 1 && before[0].0 == ids[0] && before[0].1.starts_with("1-"), "{before:?}");
            t.execute("UPDATE credentials SET last_used_at = 7").await.unwrap();
            t.execute("UPDATE leases SET until = 7").await.unwrap();
            assert_eq!(mark().await, before);
            assert_eq!(read(digest(&ada.token)).await, None, "a person has no inbox");
            t.execute(end).await.unwrap();
            assert_eq!(read(own).await, can_read.then_some(1), "{end}");
            assert_ne!(mark().await, before, "{end}");
        }
    }
}
