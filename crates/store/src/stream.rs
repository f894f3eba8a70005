//! Table `streams`: the event streams that are open now, and the requests that wait.

use serde::Serialize;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row},
    subject::Subject,
};
use common::{id::RequestId, json, role::Role, time::Timestamp};

/// Streams that one person or agent has at once at most.
pub const MOST: i64 = 10;
/// Requests that one person or agent has waiting at once at most: each holds a connection.
pub const MOST_WAITS: i64 = 50;
/// How long a stream that is not renewed counts as open, seconds: an instance that ended cannot close it.
pub const RENEWED_WITHIN: i64 = 40;

/// Opens a stream; `false`: the subject has as many as it may.
pub async fn open(db: &Db, id: &RequestId, subject: &str, now: Timestamp) -> Result<bool, DbError> {
    take_place(db, id, (subject, MOST), now).await
}

/// Begins a wait, which is [closed](close) as a stream is; `false`: the subject has as many as it may.
pub async fn begin_wait(db: &Db, id: &RequestId, subject: &str, now: Timestamp) -> Result<bool, DbError> {
    take_place(db, id, (&format!("{subject} waits"), MOST_WAITS), now).await
}

async fn take_place(db: &Db, id: &RequestId, (of, most): (&str, i64), now: Timestamp) -> Result<bool, DbError> {
    let sql = "INSERT INTO streams (id, subject_id, until)
               SELECT ?1, ?2, ?4 WHERE (SELECT count(*) FROM streams s WHERE s.subject_id = ?2 AND s.until > ?3) < ?5
               ON CONFLICT (id) DO NOTHING RETURNING 1";
    let row = args![id.as_str(), of, now, now.plus_seconds(RENEWED_WITHIN), most];
    Ok(!db.hot::<Affected>(sql, row).await?.is_empty())
}

/// Says that these streams are still open.
pub async fn renew(db: &Db, ids: &[String], now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE streams SET until = ?2 WHERE id IN (SELECT value FROM json_each(?1)) RETURNING 1";
    let ids = json::to_text(&serde_json::json!(ids));
    db.hot::<Affected>(sql, args![ids, now.plus_seconds(RENEWED_WITHIN)]).await.map(drop)
}

/// Closes a stream.
pub async fn close(db: &Db, id: &RequestId) -> Result<(), DbError> {
    db.hot::<Affected>("DELETE FROM streams WHERE id = ?1 RETURNING 1", args![id.as_str()]).await.map(drop)
}

/// What an open page wants to know: is it still as it was?
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Glance {
    /// Notifications that the person has not read.
    pub unread: i64,
    /// Another text when an agent that the person may read has changed, or a request for access that they may decide. It means nothing else.
    pub mark: String,
}

impl FromRow for Glance {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { unread: row.take()?, mark: row.take()? })
    }
}

/// A glance at what concerns a person, by indexes alone: it is taken by every open page whenever somebody has written. `sees_agents`:
/// whether the mark is about agents too.
pub async fn glance(db: &Db, subject: &Subject, sees_agents: bool) -> Result<Glance, DbError> {
    let (agents, requests) = match subject.role {
        Role::Admin => (
            "SELECT max(a.updated_at) FROM agents a WHERE a.tenant_id = ?2",
            "SELECT count(*) || '-' || ifnull(max(r.id), '') FROM access_requests r WHERE r.tenant_id = ?2 AND r.state = 'open'",
        ),
        _ => (
            "SELECT concat((SELECT max(a.updated_at) FROM agents a WHERE a.owner_id = ?1), '-',
                           (SELECT max(a.updated_at) FROM grants g JOIN agents a ON a.id = g.object_id WHERE g.subject_id = ?1))",
            "SELECT count(*) || '-' || ifnull(max(r.id), '') FROM access_requests r JOIN agents a ON a.id = r.agent_id
             WHERE r.tenant_id = ?2 AND r.state = 'open' AND a.owner_id = ?1",
        ),
    };
    let sql = format!(
        "SELECT (SELECT count(*) FROM notifications n WHERE n.user_id = ?1 AND n.read_at IS NULL) AS unread,
                concat(iif(?3, ({agents}), ''), ' ', ({requests})) AS mark"
    );
    let found = db.optional(&sql, args![&subject.user, &subject.tenant, sees_agents]).await?;
    found.ok_or(DbError::Row("no glance"))
}

/// Purges the rows of streams that nobody closed.
pub async fn purge(db: &Db, now: Timestamp, most: i64) -> Result<(), DbError> {
    let sql = "DELETE FROM streams WHERE id IN (SELECT id FROM streams WHERE until <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![now, most]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use common::secret::Chance;

    use super::*;
    use crate::testing::TestDb;

    #[tokio::test]
    async fn a_subject_has_a_few_streams_at_once_and_those_that_nobody_renews_end() {
        let t = TestDb::new();
        let (db, now, chance) = (t.db(), t.now(), Chance::seeded(7));
        let ids: Vec<RequestId> = (0..=MOST).map(|_| RequestId::generate(now, &chance)).collect();
        for (number, id) in (0..).zip(&ids) {
            assert_eq!(open(db, id, "usr_1", now).await.unwrap(), number < MOST);
        }
        assert!(open(db, &ids[10], "usr_2", now).await.unwrap());
        close(db, &ids[10]).await.unwrap();
        close(db, &ids[0]).await.unwrap();
        renew(db, &[ids[1].as_str().to_owned(), "req_gone".to_owned()], now.plus_seconds(39)).await.unwrap();
        assert!(open(db, &ids[0], "usr_1", now).await.unwrap());
        purge(db, now.plus_seconds(40), 100).await.unwrap();
        assert_eq!(t.number("SELECT count(*) FROM streams").await, 1);
    }
}
