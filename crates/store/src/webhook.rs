//! Table `webhooks`: where people want events sent.
//!
//! A webhook sees what its person may see, decided anew for each event and at each sending. Admins see and change all of their tenant's,
//! others their own.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows, Tx, Value},
    page::{Order, PageRequest, any_has, pattern},
    subject::Subject,
};
use common::{
    id::{TenantId, UserId, WebhookId},
    json,
    role::Role,
    time::Timestamp,
};

/// Webhooks of one person at most.
pub const MOST_OF_A_USER: i64 = 20;
/// Webhooks of one tenant at most.
pub const MOST_OF_A_TENANT: i64 = 200;
/// Webhooks that are sent to at the same time, in all hosts together.
const MOST_AT_ONCE: i64 = 64;

/// Why a webhook gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A person turned it off.
    ByHand,
    /// Its receiver answered 410.
    Gone,
    /// Nothing has arrived for days.
    Failing,
    /// The operator revoked its secret.
    Revoked,
}

impl Why {
    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ByHand => "by_hand",
            Self::Gone => "gone",
            Self::Failing => "failing",
            Self::Revoked => "revoked",
        }
    }
}

/// A webhook as people see it: never its secret.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Webhook {
    /// The id.
    pub id: WebhookId,
    /// Whose it is: it sees what this person may see.
    pub user_id: UserId,
    /// The address of that person.
    pub user_email: String,
    /// Whether that person's account is active. If not, nothing is sent to the webhook.
    pub user_active: bool,
    /// A name for people.
    pub name: String,
    /// Where events are sent.
    pub url: String,
    /// The kinds that it asks for: words and groups; null: all.
    pub kinds: Option<Json>,
    /// The ids of the agents that it asks for; null: all.
    pub agents: Option<Json>,
    /// `active` or `disabled`.
    pub state: String,
    /// Why it is disabled: `by_hand`, `gone`, `failing` or `revoked`.
    pub why: Option<String>,
    /// Tries since the last one that arrived.
    pub failures: i64,
    /// Since when nothing arrives.
    pub failing_since: Option<Timestamp>,
    /// Events that it did not get, since too many waited for it.
    pub left_out: i64,
    /// Since when its secret is this one.
    pub secret_since: Timestamp,
    /// Until when the secret before signs too.
    pub former_secret_ends: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
}

impl FromRow for Webhook {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let list = |text: Option<String>| match text {
            None => Ok(None),
            Some(text) => json::parse(&text).map(Some).ok_or(DbError::Row("a webhook's filter is no JSON")),
        };
        Ok(Self {
            id: row.take()?,
            user_id: row.take()?,
            user_email: row.take()?,
            user_active: row.take()?,
            name: row.take()?,
            url: row.take()?,
            kinds: list(row.take()?)?,
            agents: list(row.take()?)?,
            state: row.take()?,
            why: row.take()?,
            failures: row.take()?,
            failing_since: row.take()?,
            left_out: row.take()?,
            secret_since: row.take()?,
            former_secret_ends: row.take()?,
            created_at: row.take()?,
            updated_at: row.take()?,
        })
    }
}

const COLUMNS: &str =
    "id, user_id, (SELECT email FROM users WHERE id = user_id) AS w,
    (SELECT deactivated_at IS NULL FROM users WHERE id = user_id) AS x, name, url, kinds, agents, state, why, failures, failing_since, left_out, sealed_at, former_ends,
    created_at, updated_at";

/// Whose webhooks a person sees: `None`: all of the tenant.
fn own(subject: &Subject) -> Option<&UserId> {
    (subject.role != Role::Admin).then_some(&subject.user)
}

/// The webhooks that a person sees; `q` is a part of name or address.
pub async fn list(
    reads: &dyn Rows,
    subject: &Subject,
    (q, order): (Option<&str>, Order),
    page: &PageRequest,
) -> Result<Vec<Webhook>, DbError> {
    let ((behind, sorted), (at, id)) = (order.sql(), page.begin(order));
    let found = any_has("?5", &["name", "url"]);
    let sql = format!(
        "SELECT {COLUMNS} FROM webhooks WHERE tenant_id = ?1 AND {behind} AND (?4 IS NULL OR user_id = ?4)
           AND (?5 IS NULL OR {found})
         ORDER BY {sorted} LIMIT ?6"
    );
    reads.list(&sql, args![&subject.tenant, at, id, own(subject), q.map(pattern), page.rows()]).await
}

/// One of the webhooks that a person sees.
pub async fn find(reads: &dyn Rows, subject: &Subject, id: &str) -> Result<Option<Webhook>, DbError> {
    let sql =
        format!("SELECT {COLUMNS} FROM webhooks WHERE id = ?1 AND tenant_id = ?2 AND (?3 IS NULL OR user_id = ?3)");
    reads.optional(&sql, args![id, &subject.tenant, own(subject)]).await
}

/// A webhook to be stored, or all that may change of it.
pub struct Settings<'a> {
    /// A name for people.
    pub name: &'a str,
    /// Where events are sent.
    pub url: &'a str,
    /// The kinds that it asks for.
    pub kinds: Option<&'a Json>,
    /// The ids of the agents that it asks for.
    pub agents: Option<&'a Json>,
    /// Whether notifications are among the kinds.
    pub takes_notifications: bool,
}

/// The outcome of making one.
#[derive(Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is there now.
    Created,
    /// The person or the tenant has as many as this.
    TooMany(i64),
}

/// Stores a webhook of a person.
pub async fn insert(
    tx: &Tx<'_>,
    id: &WebhookId,
    (tenant, user): (&TenantId, &UserId),
    (settings, sealed): (&Settings<'_>, Vec<u8>),
    now: Timestamp,
) -> Result<Inserted, DbError> {
    for (sql, whose, most) in [
        ("SELECT count(*) FROM webhooks WHERE user_id = ?1", user.as_str(), MOST_OF_A_USER),
        ("SELECT count(*) FROM webhooks WHERE tenant_id = ?1", tenant.as_str(), MOST_OF_A_TENANT),
    ] {
        if tx.optional::<i64>(sql, args![whose]).await?.unwrap_or(0) >= most {
            return Ok(Inserted::TooMany(most));
        }
    }
    let sql = "INSERT INTO webhooks (id, tenant_id, user_id, name, url, kinds, agents, takes_notifications, sealed, sealed_at, created_at, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?10)";
    let Settings { name, url, kinds, agents, takes_notifications } = settings;
    let (kinds, agents) = (kinds.map(json::to_text), agents.map(json::to_text));
    tx.execute(
        sql,
        args![id, tenant, user, *name, *url, kinds, agents, *takes_notifications, Value::Blob(sealed), now],
    )
    .await?;
    Ok(Inserted::Created)
}

/// Changes a webhook's settings; `false`: they are so already. Another address has none of the failures of the one before.
pub async fn update(tx: &Tx<'_>, id: &WebhookId, settings: &Settings<'_>, now: Timestamp) -> Result<bool, DbError> {
    let sql =
        "UPDATE webhooks SET name = ?2, url = ?3, kinds = ?4, agents = ?5, takes_notifications = ?6, updated_at = ?7,
                             failures = iif(url = ?3, failures, 0), failing_since = iif(url = ?3, failing_since, NULL),
                             leased_until = iif(url = ?3 OR failures = 0, leased_until, 0)
               WHERE id = ?1 AND (name, url, kinds, agents) IS NOT (?2, ?3, ?4, ?5) RETURNING 1";
    let Settings { name, url, kinds, agents, takes_notifications } = settings;
    let (kinds, agents) = (kinds.map(json::to_text), agents.map(json::to_text));
    let row = args![id, *name, *url, kinds, agents, *takes_notifications, now];
    Ok(tx.optional::<Affected>(sql, row).await?.is_some())
}

/// Turns a webhook on, with no failures, if it has a secret; `false`: it has none.
pub async fn enable(tx: &Tx<'_>, id: &WebhookId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE webhooks SET state = 'active', why = NULL, failures = 0, failing_since = NULL, leased_until = 0, updated_at = ?2
               WHERE id = ?1 AND sealed IS NOT NULL RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, now]).await?.is_some())
}

/// Turns a webhook off; `None`: it was off. Gives its person and its name.
pub async fn disable(tx: &Tx<'_>, id: &WebhookId, why: Why, now: Timestamp) -> Result<Option<Disabled>, DbError> {
    let sql = "UPDATE webhooks SET state = 'disabled', why = ?2, updated_at = ?3 WHERE id = ?1 AND state = 'active'
               RETURNING tenant_id, user_id, name, url";
    tx.optional(sql, args![id, why.as_str(), now]).await
}

/// A webhook that was turned off.
pub struct Disabled {
    /// The tenant.
    pub tenant: TenantId,
    /// Whose it is.
    pub user: UserId,
    /// Its name.
    pub name: String,
    /// Where events were sent.
    pub url: String,
}

impl FromRow for Disabled {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { tenant: row.take()?, user: row.take()?, name: row.take()?, url: row.take()? })
    }
}

/// Gives a webhook another secret. The one before signs too until `ends`; `None`: it ends at once.
pub async fn rotate(
    tx: &Tx<'_>,
    id: &WebhookId,
    sealed: Vec<u8>,
    ends: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "UPDATE webhooks SET former = iif(?3 IS NULL, NULL, sealed), former_ends = iif(sealed IS NULL, NULL, ?3),
                                   sealed = ?2, sealed_at = ?4, updated_at = ?4 WHERE id = ?1";
    tx.execute(sql, args![id, Value::Blob(sealed), ends, now]).await
}

/// Deletes a webhook with all its deliveries.
pub async fn delete(tx: &Tx<'_>, id: &WebhookId) -> Result<(), DbError> {
    tx.execute("DELETE FROM webhooks WHERE id = ?1", args![id]).await
}

/// Ends the secrets that were made before a moment, after an old backup was restored; gives the tenant of each.
pub async fn revoke_before(tx: &Tx<'_>, before: Timestamp, now: Timestamp) -> Result<Vec<TenantId>, DbError> {
    let sql = "UPDATE webhooks SET sealed = NULL, former = NULL, former_ends = NULL, state = 'disabled', why = 'revoked', updated_at = ?2
               WHERE sealed_at < ?1 AND sealed IS NOT NULL RETURNING tenant_id";
    tx.list(sql, args![before, now]).await
}

/// Takes the webhook that has waited the longest, so that nobody else sends to it until `ends`. `None`: nothing is due, or as many as may
/// be sent to at the same time are.
pub async fn take(db: &Db, now: Timestamp, ends: Timestamp) -> Result<Option<WebhookId>, DbError> {
    let sql = "UPDATE webhooks SET leased_until = ?2
               WHERE id = (SELECT w.id FROM webhooks w
                           WHERE w.state = 'active' AND w.leased_until <= ?1
                             AND EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook_id = w.id AND d.state = 'due' AND d.due_at <= ?1)
                           ORDER BY w.leased_until LIMIT 1)
                 AND (SELECT count(*) FROM webhooks w WHERE w.state = 'active' AND w.leased_until > ?1 AND w.failures = 0) < ?3
               RETURNING id";
    // Nearly always nothing is due: that is seen without the write lock.
    let due = "SELECT 1 FROM webhooks w WHERE w.state = 'active' AND w.leased_until <= ?1
                 AND EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook_id = w.id AND d.state = 'due' AND d.due_at <= ?1) LIMIT 1";
    if db.optional::<Affected>(due, args![now]).await?.is_none() {
        return Ok(None);
    }
    Ok(db.hot(sql, args![now, ends, MOST_AT_ONCE]).await?.into_iter().next())
}

/// Gives a webhook back that was taken until `ends`: to be taken again from `next` on.
pub async fn give_back(db: &Db, id: &WebhookId, ends: Timestamp, next: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE webhooks SET leased_until = ?3 WHERE id = ?1 AND leased_until = ?2 RETURNING 1";
    db.hot::<Affected>(sql, args![id, ends, next]).await.map(drop)
}

/// Counts a try that did not arrive; gives how many there were in a row, and since when.
pub async fn count_failure(
    db: &Db,
    (id, url): (&WebhookId, &str),
    now: Timestamp,
) -> Result<Option<(i64, Timestamp)>, DbError> {
    let sql = "UPDATE webhooks SET failures = failures + 1, failing_since = ifnull(failing_since, ?2) WHERE id = ?1 AND url = ?3
               RETURNING failures, failing_since";
    Ok(db
        .hot::<Failures>(sql, args![id, now, url])
        .await?
        .into_iter()
        .next()
        .map(|Failures(number, since)| (number, since)))
}

struct Failures(i64, Timestamp);

impl FromRow for Failures {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self(row.take()?, row.take()?))
    }
}

/// Ends the pause of a webhook after failures, and forgets them, since something has arrived: what waits for it is sent now.
pub async fn end_pause(db: &Db, id: &WebhookId) -> Result<(), DbError> {
    let sql = "UPDATE webhooks SET failures = 0, failing_since = NULL, leased_until = 0 WHERE id = ?1 AND failures > 0 RETURNING 1";
    db.hot::<Affected>(sql, args![id]).await.map(drop)
}

/// Forgets the failures of a webhook, since something has arrived.
pub async fn forget_failures(db: &Db, id: &WebhookId) -> Result<(), DbError> {
    let sql = "UPDATE webhooks SET failures = 0, failing_since = NULL WHERE id = ?1 AND failures > 0 RETURNING 1";
    db.hot::<Affected>(sql, args![id]).await.map(drop)
}
