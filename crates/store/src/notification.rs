//! Table `notifications`: messages of agents, and of the server itself, to people.

use serde::Serialize;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows, Tx},
    kept_answer::{KeptAnswer, MOST_KEPT},
    page::PageRequest,
    user,
};
use common::{
    id::{AgentId, NotificationId, TenantId, UserId},
    secret::Digest,
    time::Timestamp,
};

/// A notification as its person sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Notification {
    /// The id.
    pub id: NotificationId,
    /// The sender: `agent:<name>`, from the credential, or `accredit`.
    pub source: String,
    /// The agent's id.
    pub agent_id: Option<String>,
    /// The application that the agent says it speaks for: not verified.
    pub app_origin: Option<String>,
    /// The title.
    pub title: String,
    /// The text.
    pub body: String,
    /// `low`, `normal` or `high`.
    pub priority: String,
    /// Where it leads.
    pub action_url: Option<String>,
    /// When it was sent.
    pub created_at: Timestamp,
    /// When it was marked as read.
    pub read_at: Option<Timestamp>,
}

impl FromRow for Notification {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            source: row.take()?,
            agent_id: row.take()?,
            app_origin: row.take()?,
            title: row.take()?,
            body: row.take()?,
            priority: row.take()?,
            action_url: row.take()?,
            created_at: row.take()?,
            read_at: row.take()?,
        })
    }
}

const COLUMNS: &str = "id, source, agent_id, app_origin, title, body, priority, action_url, created_at, read_at";

/// A notification of an agent's.
pub struct New<'a> {
    /// The id.
    pub id: &'a NotificationId,
    /// The title.
    pub title: &'a str,
    /// The text.
    pub body: &'a str,
    /// `low`, `normal` or `high`.
    pub priority: &'a str,
    /// The application that the agent says it speaks for.
    pub app_origin: Option<&'a str>,
    /// Where it leads.
    pub action_url: Option<&'a str>,
    /// To whom, by id or address; left out: to the owner.
    pub user: Option<&'a str>,
    /// Now.
    pub now: Timestamp,
    /// The answer to keep, under this digest.
    pub kept: Option<(&'a Digest, KeptAnswer)>,
    /// The most that a person may have.
    pub most: i64,
}

impl New<'_> {
    /// Whether the recipient's notifications are counted with this one. Counting them all would cost each one more than all the rest; one of
    /// 32 finds out as well, and [`is_enough`] remembers it for all others.
    fn counts(&self) -> bool {
        self.id.as_str().ends_with('0')
    }
}

/// Notifies a person, in one statement: the recipient is the agent's owner, or a user who may read the agent; the answer is kept
/// with it. `false`: there is no such recipient, or they have as many notifications as they may, or the caller keeps as many answers as
/// it may.
pub async fn notify(db: &Db, agent: &AgentId, new: &New<'_>, ends: Timestamp) -> Result<bool, DbError> {
    let (column, user) = new.user.map(user::named).map_or(("id", None), |(column, user)| (column, Some(user)));
    let counted;
    let room = match new.counts() {
        false => "u.is_notified_enough = 0",
        true => {
            counted = format!("u.is_notified_enough = 0 AND {} < {}", number_up_to(new.most), new.most);
            &counted
        }
    };
    let recipient = recipient(column, "?2", "?9", room);
    let mut row =
        args![new.id, agent, new.title, new.body, new.priority, new.app_origin, new.action_url, new.now, user,];
    let Some((digest, kept)) = &new.kept else {
        return Ok(!db.hot::<Affected>(&format!("{NOTIFY} {recipient} RETURNING 1"), row).await?.is_empty());
    };
    row.extend(args![
        *digest,
        kept.credential_id.as_str(),
        kept.body_mac.clone(),
        kept.status,
        kept.answer.clone(),
        ends,
        MOST_KEPT,
    ]);
    let sql = format!(
        "{NOTIFY_AND_KEEP} {recipient} AND (SELECT count(*) FROM idempotency i WHERE i.caller = a.id) < ?16 RETURNING 1"
    );
    Ok(!db.hot::<Affected>(&sql, row).await?.is_empty())
}

const NOTIFY: &str = "
    INSERT INTO notifications (id, tenant_id, user_id, agent_id, source, title, body, priority, app_origin, action_url, created_at)
    SELECT ?1, a.tenant_id, u.id, a.id, 'agent:' || a.name, ?3, ?4, ?5, ?6, ?7, ?8";
/// Through a view, whose trigger writes the kept answer too.
const NOTIFY_AND_KEEP: &str = "
    INSERT INTO do_notify (id, tenant_id, user_id, agent_id, source, title, body, priority, app_origin, action_url,
                           created_at, key_digest, caller, credential_id, body_mac, status, answer, expires_at)
    SELECT ?1, a.tenant_id, u.id, a.id, 'agent:' || a.name, ?3, ?4, ?5, ?6, ?7, ?8, ?10, a.id, ?11, ?12, ?13, ?14, ?15";

/// The number of the notifications of the user `u`, counted no further than to `most`.
fn number_up_to(most: i64) -> String {
    format!("(SELECT count(*) FROM (SELECT 1 FROM notifications n WHERE n.user_id = u.id LIMIT {most}))")
}

/// Whether the recipient that an agent names has as many notifications as a person may have. From then on no agent notifies them, until
/// there are fewer.
pub async fn is_enough(db: &Db, agent: &AgentId, user: Option<&str>, most: i64) -> Result<bool, DbError> {
    let (column, user) = user.map(user::named).map_or(("id", None), |(column, user)| (column, Some(user)));
    let sql = format!(
        "UPDATE users SET is_notified_enough = 1
         WHERE id = (SELECT u.id {}) RETURNING 1",
        recipient(column, "?1", "?2", &format!("(u.is_notified_enough = 1 OR {} >= {most})", number_up_to(most)))
    );
    Ok(!db.hot::<Affected>(&sql, args![agent, user]).await?.is_empty())
}

/// Lets agents notify a person again who has deleted some.
pub async fn is_no_more_enough(db: &Db, user: &UserId) -> Result<(), DbError> {
    let sql = "UPDATE users SET is_notified_enough = 0 WHERE id = ?1 AND is_notified_enough = 1 RETURNING 1";
    db.hot::<Affected>(sql, args![user]).await.map(drop)
}

/// The recipient: the user that is named, or the owner. What a person may read of the agent `a` is as `permission` has it, with the person in a column
/// instead of a parameter.
fn recipient(column: &str, agent: &str, user: &str, room: &str) -> String {
    let (who, or) = if column == "id" { ("ifnull((SELECT ", "), a.owner_id)") } else { ("(SELECT ", ")") };
    format!(
        "FROM agents a
         JOIN users u ON u.{column} = {who}{user}{or} AND u.tenant_id = a.tenant_id AND u.deactivated_at IS NULL
         WHERE a.id = (SELECT {agent})
           AND (u.id = a.owner_id OR u.role = 'admin'
                OR EXISTS (SELECT 1 FROM grants g WHERE g.object_id = a.id AND g.subject_id = u.id))
           AND {room}"
    )
}

/// Sends a person a notification of the server's own, such as a leak. Part of the transaction that it reports.
pub async fn insert_own(
    tx: &Tx<'_>,
    id: &NotificationId,
    tenant: &TenantId,
    user: &UserId,
    (title, body): (&str, &str),
    now: Timestamp,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO notifications (id, tenant_id, user_id, source, title, body, priority, created_at)
         VALUES (?1, ?2, ?3, 'accredit', ?4, ?5, 'high', ?6)",
        args![id, tenant, user, title, body, now],
    )
    .await
}

/// A person's notifications, the newest first.
pub async fn list(
    reads: &dyn Rows,
    user: &UserId,
    unread_only: bool,
    since: Option<Timestamp>,
    page: &PageRequest,
) -> Result<Vec<Notification>, DbError> {
    let (at, id) = page.after();
    let sql = format!(
        "SELECT {COLUMNS} FROM notifications
         WHERE user_id = ?1 AND (created_at, id) < (?2, ?3) AND (?4 = 0 OR read_at IS NULL) AND created_at >= ifnull(?5, -1)
         ORDER BY created_at DESC, id DESC LIMIT ?6"
    );
    reads.list(&sql, args![user, at, id, unread_only, since, page.rows()]).await
}

/// How many there are of a person's.
#[derive(Debug, Serialize)]
pub struct Count {
    /// Not read yet.
    pub unread: i64,
    /// All of them.
    pub total: i64,
}

impl FromRow for Count {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { unread: row.take()?, total: row.take()? })
    }
}

/// Counts a person's notifications.
pub async fn count(reads: &dyn Rows, user: &UserId) -> Result<Option<Count>, DbError> {
    let sql = "SELECT count(*) FILTER (WHERE read_at IS NULL), count(*) FROM notifications WHERE user_id = ?1";
    reads.optional(sql, args![user]).await
}

/// Marks one of a person's notifications as read; the first moment stays. `None`: there is none of that id.
pub async fn mark_read(db: &Db, user: &UserId, id: &str, now: Timestamp) -> Result<Option<Notification>, DbError> {
    let sql = format!(
        "UPDATE notifications SET read_at = ifnull(read_at, ?3) WHERE id = ?1 AND user_id = ?2 RETURNING {COLUMNS}"
    );
    Ok(db.hot(&sql, args![id, user, now]).await?.into_iter().next())
}

/// Marks all of a person's notifications as read that were sent until now; gives how many there were.
pub async fn mark_all_read(db: &Db, user: &UserId, now: Timestamp) -> Result<usize, DbError> {
    let sql =
        "UPDATE notifications SET read_at = ?2 WHERE user_id = ?1 AND read_at IS NULL AND created_at <= ?2 RETURNING 1";
    Ok(db.hot::<Affected>(sql, args![user, now]).await?.len())
}

/// Deletes one of a person's notifications; `false`: there is none of that id.
pub async fn delete(db: &Db, user: &UserId, id: &str) -> Result<bool, DbError> {
    let sql = "DELETE FROM notifications WHERE id = ?1 AND user_id = ?2 RETURNING 1";
    Ok(!db.hot::<Affected>(sql, args![id, user]).await?.is_empty())
}
