//! Table `notifications`: messages of agents, and of the server itself, to people.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows, Tx},
    kept_answer::{KeptAnswer, MOST_KEPT},
    oauth_grant::Common,
    origin::Origin,
    page::{PageRequest, any_like, patterns, user_named},
};
use common::{
    id::{AgentId, NotificationId, TenantId, UserId},
    secret::{Chance, Digest},
    time::Timestamp,
};

/// A notification as its person sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
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
    /// Whose kept answer it is.
    pub caller: &'a str,
    /// The most that a person may have.
    pub most: i64,
    /// Whether the agent is its owner's own work: its credential rests on nobody else's grant.
    pub is_owners: bool,
}

impl New<'_> {
    /// Whether the recipient's notifications are counted with this one. Counting them all would cost each one more than all the rest; one of
    /// 32 finds out as well, or of 1,024 where a person may have ten times as many, and [`is_enough`] remembers it for all others.
    fn counts(&self) -> bool {
        self.id.as_str().ends_with(if self.most < 10_240 { "0" } else { "00" })
    }
}

/// What agents of others may use of a person's notifications.
fn of_others(most: i64) -> i64 {
    (most / 2).max(1)
}

/// Whether a webhook waits for notifications of the agent `?2`, in the words of the trigger that makes them events.
const IS_HEARD: &str = "EXISTS (SELECT 1 FROM agents b JOIN webhooks w ON w.tenant_id = b.tenant_id AND w.state = 'active' AND w.takes_notifications = 1
                                WHERE b.id = ?2) AS heard";

/// Notifies a person, in one statement: the recipient is the agent's owner, or a user who may read the agent; the answer is kept
/// with it. Gives whether a webhook waits for it. `None`: there is no such recipient, or they have as many notifications as they may, or the
/// caller keeps as many answers as it may.
pub async fn notify(db: &Db, agent: &AgentId, new: &New<'_>, ends: Timestamp) -> Result<Option<bool>, DbError> {
    let (column, user) = new.user.map(user_named).map_or(("id", None), |(column, user)| (column, Some(user)));
    let counted;
    let room = match (new.counts(), new.is_owners) {
        (false, true) => "u.is_notified_enough = 0 AND (u.id = a.owner_id OR u.is_notified_enough_by_others = 0)",
        (false, false) => "u.is_notified_enough = 0 AND u.is_notified_enough_by_others = 0",
        (true, is_owners) => {
            let most = most_now(new.most, is_owners);
            counted = format!("u.is_notified_enough = 0 AND {} < {most}", number_up_to("u", new.most));
            &counted
        }
    };
    let recipient = recipient(column, "?2", "?9", room);
    let mut row =
        args![new.id, agent, new.title, new.body, new.priority, new.app_origin, new.action_url, new.now, user,];
    let Some((digest, kept)) = &new.kept else {
        let heard: Vec<i64> = db.hot(&format!("{NOTIFY} {recipient} RETURNING {IS_HEARD}"), row).await?;
        return Ok(heard.first().map(|heard| *heard == 1));
    };
    row.extend(args![
        *digest,
        kept.credential_id.as_str(),
        kept.body_mac.clone(),
        kept.status,
        kept.answer.clone(),
        ends,
        MOST_KEPT,
        new.caller,
    ]);
    let sql = format!(
        "{NOTIFY_AND_KEEP} {recipient} AND (SELECT count(*) FROM idempotency i WHERE i.caller = ?17) < ?16 RETURNING {IS_HEARD}"
    );
    Ok(db.hot::<i64>(&sql, row).await?.first().map(|heard| *heard == 1))
}

const NOTIFY: &str = "
    INSERT INTO notifications (id, tenant_id, user_id, agent_id, source, title, body, priority, app_origin, action_url, created_at)
    SELECT ?1, a.tenant_id, u.id, a.id, 'agent:' || a.name, ?3, ?4, ?5, ?6, ?7, ?8";
/// Through a view, whose trigger writes the kept answer too.
const NOTIFY_AND_KEEP: &str = "
    INSERT INTO do_notify (id, tenant_id, user_id, agent_id, source, title, body, priority, app_origin, action_url,
                           created_at, key_digest, caller, credential_id, body_mac, status, answer, expires_at)
    SELECT ?1, a.tenant_id, u.id, a.id, 'agent:' || a.name, ?3, ?4, ?5, ?6, ?7, ?8, ?10, ?17, ?11, ?12, ?13, ?14, ?15";

/// The server's own notifications that are left out of the number of a person's, at most: they take nothing from what agents may send.
const LEFT_OUT: i64 = 10_000;

/// The number of the notifications of a row of `users` that agents sent, counted no further than to `most`.
fn number_up_to(users: &str, most: i64) -> String {
    let all = most.saturating_add(LEFT_OUT);
    format!(
        "((SELECT count(*) FROM (SELECT 1 FROM notifications n WHERE n.user_id = {users}.id LIMIT {all}))
          - (SELECT count(*) FROM (SELECT 1 FROM notifications s WHERE s.user_id = {users}.id AND s.source = 'accredit' LIMIT {LEFT_OUT})))"
    )
}

/// The most notifications of the user `u` with which the agent `a` may send one more.
fn most_now(most: i64, is_owners: bool) -> String {
    let of_others = of_others(most);
    if is_owners { format!("iif(u.id = a.owner_id, {most}, {of_others})") } else { of_others.to_string() }
}

/// Whether the recipient that an agent names has as many notifications as it may send them. From then on it does not notify them, until
/// there are fewer.
pub async fn is_enough(
    db: &Db,
    agent: &AgentId,
    user: Option<&str>,
    most: i64,
    is_owners: bool,
) -> Result<bool, DbError> {
    let (column, user) = user.map(user_named).map_or(("id", None), |(column, user)| (column, Some(user)));
    let own = if is_owners { "u.id = a.owner_id" } else { "0" };
    let room = format!(
        "(u.is_notified_enough = 1 OR (u.is_notified_enough_by_others = 1 AND NOT {own}) OR {} >= {})",
        number_up_to("u", most),
        most_now(most, is_owners)
    );
    let sql = format!(
        "UPDATE users SET is_notified_enough_by_others = 1,
                          is_notified_enough = (is_notified_enough = 1 OR {} >= {most})
         WHERE id = (SELECT u.id {}) RETURNING 1",
        number_up_to("users", most),
        recipient(column, "?1", "?2", &room)
    );
    Ok(!db.hot::<Affected>(&sql, args![agent, user]).await?.is_empty())
}

/// Lets agents notify a person again who has deleted some.
pub async fn is_no_more_enough(db: &Db, user: &UserId) -> Result<(), DbError> {
    let sql = "UPDATE users SET is_notified_enough = 0, is_notified_enough_by_others = 0
               WHERE id = ?1 AND (is_notified_enough = 1 OR is_notified_enough_by_others = 1) RETURNING 1";
    db.hot::<Affected>(sql, args![user]).await.map(drop)
}

/// Lets agents notify people again whose notifications were purged, some at a time.
pub(crate) async fn forget_enough(db: &Db, most: i64) -> Result<(), DbError> {
    let (number, of_others) = (number_up_to("users", most), of_others(most));
    let sql = format!(
        "UPDATE users SET is_notified_enough = 0, is_notified_enough_by_others = ({number} >= {of_others})
         WHERE id IN (SELECT id FROM (SELECT e.id FROM users e WHERE e.is_notified_enough = 1
                                      UNION SELECT e.id FROM users e WHERE e.is_notified_enough_by_others = 1) ORDER BY random() LIMIT 2)
           AND {number} < iif(is_notified_enough = 1, {most}, {of_others})
         RETURNING 1"
    );
    db.hot::<Affected>(&sql, args![]).await.map(drop)
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

/// Unread notifications of the server's own that one person's changes leave with another person at most.
const UNREAD_BY_ANOTHER: i64 = 50;
/// The same of a person's own changes, and of what nobody's change has caused.
const UNREAD: i64 = 1_000;

/// What stands for all further ones.
const MORE: (&str, &str) = (
    "More was changed than these notifications say",
    "One person's changes have left you many notifications that you have not read, so further ones are left out. Mark them as read or delete them, and look at the audit trail.",
);

/// Sends a person a notification of the server's own, such as a leak. Part of the transaction that it reports. When the person has left
/// unread as many as one cause may have, one that says so stands for all further ones.
pub async fn insert_own(
    tx: &Tx<'_>,
    (tenant, chance, now): (&TenantId, &Chance, Timestamp),
    (user, cause): (&UserId, Option<&UserId>),
    text: (&str, &str),
) -> Result<(), DbError> {
    let id = NotificationId::generate(now, chance);
    insert_own_as("high", tx, &id, tenant, (user, cause), text, now).await
}

/// The same with another priority, and an id that the caller has made.
pub async fn insert_own_as(
    priority: &str,
    tx: &Tx<'_>,
    id: &NotificationId,
    tenant: &TenantId,
    (user, cause): (&UserId, Option<&UserId>),
    (title, body): (&str, &str),
    now: Timestamp,
) -> Result<(), DbError> {
    let most = if cause.is_none_or(|cause| cause == user) { UNREAD } else { UNREAD_BY_ANOTHER };
    tx.execute(
        "INSERT INTO notifications (id, tenant_id, user_id, source, title, body, priority, created_at, caused_by)
         SELECT ?1, ?2, ?3, 'accredit', iif(count(*) < ?8, ?4, ?9), iif(count(*) < ?8, ?5, ?10), ?11, ?6, ?7
         FROM notifications o
         WHERE o.user_id = ?3 AND o.caused_by IS ?7 AND o.source = 'accredit' AND o.read_at IS NULL
         HAVING count(*) <= ?8",
        args![id, tenant, user, title, body, now, cause, most, MORE.0, MORE.1, priority],
    )
    .await
}

/// Tells the owners of a tenant's agents, before they are all stopped, that they are; an owner that does it is not told. One statement, and one
/// notification for each owner, however many agents there are.
pub async fn insert_for_owners_of_running(
    tx: &Tx<'_>,
    origin: &Origin<'_>,
    cause: &UserId,
    body: &str,
) -> Result<(), DbError> {
    let id = NotificationId::generate(origin.now, origin.chance);
    tx.execute(
        "INSERT INTO notifications (id, tenant_id, user_id, source, title, body, priority, created_at, caused_by)
         SELECT ?1 || lower(hex(randomblob(8))), ?2, o.owner_id, 'accredit',
                iif(o.number = 1, 'The agent ' || o.name || ' was stopped', o.number || ' of your agents were stopped'), ?3, 'high', ?4, ?5
         FROM (SELECT a.owner_id, count(*) AS number, min(a.name) AS name FROM agents a
               WHERE a.tenant_id = ?2 AND a.archived_at IS NULL AND a.state <> 'stopped' AND a.owner_id IS NOT ?6 GROUP BY a.owner_id) o
         WHERE (SELECT count(*) FROM notifications n
                WHERE n.user_id = o.owner_id AND n.caused_by IS ?5 AND n.source = 'accredit' AND n.read_at IS NULL) <= ?7",
        args![id.time_part(), origin.tenant, body, origin.now, cause, origin.user, UNREAD_BY_ANOTHER],
    )
    .await
}

/// Tells the people whose grants have this in common, before those end, that they do; a person that ends them is not told. One statement, and one
/// notification for each person, however many there are.
pub async fn insert_for_people_of_apps(
    tx: &Tx<'_>,
    origin: &Origin<'_>,
    cause: &UserId,
    what: Common<'_>,
    (title, body): (&str, &str),
) -> Result<(), DbError> {
    let id = NotificationId::generate(origin.now, origin.chance);
    let (column, value) = what.column();
    let sql = format!(
        "INSERT INTO notifications (id, tenant_id, user_id, source, title, body, priority, created_at, caused_by)
         SELECT ?1 || lower(hex(randomblob(8))), ?2, p.user_id, 'accredit', ?3, ?4, 'high', ?5, ?6
         FROM (SELECT DISTINCT user_id FROM oauth_grants
               WHERE {column} = ?9 AND tenant_id = ?2 AND ended_at IS NULL AND ends_at > ?5 AND user_id IS NOT ?7) p
         WHERE (SELECT count(*) FROM notifications n
                WHERE n.user_id = p.user_id AND n.caused_by IS ?6 AND n.source = 'accredit' AND n.read_at IS NULL) <= ?8"
    );
    let row =
        args![id.time_part(), origin.tenant, title, body, origin.now, cause, origin.user, UNREAD_BY_ANOTHER, value];
    tx.execute(&sql, row).await
}

/// Gives a notification of the server's own a link, if it is there and says what it was meant to say.
pub async fn link_own(tx: &Tx<'_>, id: &NotificationId, title: &str, action_url: &str) -> Result<(), DbError> {
    let sql = "UPDATE notifications SET action_url = ?3 WHERE id = ?1 AND title = ?2";
    tx.execute(sql, args![id, title, action_url]).await
}

/// Marks as read what the server has told of something that is settled now, by the page that it leads to: to an agent's owner and to the
/// admins.
pub async fn settle(
    tx: &Tx<'_>,
    tenant: &TenantId,
    agent: &AgentId,
    action_url: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "UPDATE notifications SET read_at = ?4
               WHERE user_id IN (SELECT owner_id FROM agents WHERE id = ?2
                                 UNION SELECT id FROM users WHERE tenant_id = ?1 AND role = 'admin' AND deactivated_at IS NULL)
                 AND read_at IS NULL AND source = 'accredit' AND action_url = ?3";
    tx.execute(sql, args![tenant, agent, action_url, now]).await
}

/// The same of all that the agents in the table `below` of `with` still ask for: nobody decides about it any more.
pub(crate) async fn settle_below(
    tx: &Tx<'_>,
    (with, subject): (&'static str, &str),
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = format!(
        "{with} UPDATE notifications SET read_at = ?2
         WHERE read_at IS NULL AND source = 'accredit'
           AND user_id IN (SELECT a.owner_id FROM below CROSS JOIN agents a ON a.id = below.id
                           UNION SELECT u.id FROM below CROSS JOIN agents a ON a.id = below.id
                                 CROSS JOIN users u ON u.tenant_id = a.tenant_id AND u.role = 'admin' AND u.deactivated_at IS NULL)
           AND action_url IN (SELECT '/access/' || r.id FROM below
                              CROSS JOIN access_requests r ON r.agent_id = below.id AND r.state = 'open')"
    );
    tx.execute(&sql, args![subject, now]).await
}

/// The filter of a list of notifications.
#[derive(Default)]
pub struct Filter<'a> {
    /// A part of title or text, or of the agent's name.
    pub q: Option<&'a str>,
    /// Of this priority.
    pub priority: Option<&'a str>,
    /// Those alone that were not read.
    pub unread_only: bool,
    /// Those that were made at this time or after it.
    pub since: Option<Timestamp>,
}

/// A person's notifications, the newest first.
pub async fn list(
    reads: &dyn Rows,
    user: &UserId,
    filter: &Filter<'_>,
    page: &PageRequest,
) -> Result<Vec<Notification>, DbError> {
    let (at, id) = page.after();
    // What the server itself says is of no agent.
    let found = any_like("?6", &["title", "body", "iif(source = 'accredit', NULL, substr(source, 7))"]);
    let sql = format!(
        "SELECT {COLUMNS} FROM notifications
         WHERE user_id = ?1 AND (created_at, id) < (?2, ?3) AND (?4 = 0 OR read_at IS NULL) AND created_at >= ifnull(?5, -1)
           AND (?6 IS NULL OR {found}) AND (?8 IS NULL OR priority = ?8)
         ORDER BY created_at DESC, id DESC LIMIT ?7"
    );
    let q = filter.q.map(patterns);
    reads.list(&sql, args![user, at, id, filter.unread_only, filter.since, q, page.rows(), filter.priority]).await
}

/// A person's notifications behind a moment and an id, the oldest first.
pub async fn behind(
    reads: &dyn Rows,
    user: &UserId,
    (at, id): (Timestamp, &str),
    most: usize,
) -> Result<Vec<Notification>, DbError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM notifications WHERE user_id = ?1 AND (created_at, id) > (?2, ?3) ORDER BY created_at, id LIMIT ?4"
    );
    reads.list(&sql, args![user, at, id, i64::try_from(most).unwrap_or(i64::MAX)]).await
}

/// How many there are of a person's.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "NotificationCount")]
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
pub async fn mark_all_read(db: &Db, user: &UserId, until: Option<Timestamp>, now: Timestamp) -> Result<usize, DbError> {
    let sql = "UPDATE notifications SET read_at = ?2
               WHERE user_id = ?1 AND read_at IS NULL AND created_at <= ?2 AND (?3 IS NULL OR created_at < ?3) RETURNING 1";
    Ok(db.hot::<Affected>(sql, args![user, now, until]).await?.len())
}

/// Deletes one of a person's notifications; `false`: there is none of that id.
pub async fn delete(db: &Db, user: &UserId, id: &str) -> Result<bool, DbError> {
    let sql = "DELETE FROM notifications WHERE id = ?1 AND user_id = ?2 RETURNING 1";
    Ok(!db.hot::<Affected>(sql, args![id, user]).await?.is_empty())
}
