//! Table `usage`: what tenants and people store, counted by triggers; and the quotas that bound it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    addressee, args,
    db::{DbError, FromRow, Reads, Row, Rows, Tx},
    notification,
};
use common::{
    id::{TenantId, UserId},
    secret::{Chance, Digest},
    time::Timestamp,
};

/// The most of each that one person may have, with all of their agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Quotas {
    /// Agents that are not archived.
    pub agents: i64,
    /// Live credentials beside sessions.
    pub credentials: i64,
    /// Bytes in inboxes, logs, secrets, guides and kept answers; and bytes that they add to the audit trail in a day.
    pub bytes: i64,
    /// Notifications for them.
    pub notifications: i64,
}

/// A tenant may have so many times what one person may.
const TENANT: i64 = 5;

impl Quotas {
    /// The quotas of a tenant: of notifications there is none, since each person has their own.
    #[must_use]
    pub fn of_tenant(self) -> Self {
        let all = |most: i64| most.saturating_mul(TENANT);
        Self { agents: all(self.agents), credentials: all(self.credentials), bytes: all(self.bytes), ..self }
    }
}

/// What somebody stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Agents that are not archived.
    pub agents: i64,
    /// Bytes in inboxes, logs, secrets, guides and kept answers.
    pub bytes: i64,
}

/// What a person and the whole tenant store.
#[derive(Default)]
pub struct Both {
    /// The person.
    pub person: Usage,
    /// The tenant.
    pub tenant: Usage,
}

impl FromRow for Both {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let mut usage = || Ok(Usage { agents: row.take()?, bytes: row.take()? });
        Ok(Self { person: usage()?, tenant: usage()? })
    }
}

/// What a person and their tenant store now.
pub async fn find(reads: &dyn Rows, tenant: &TenantId, user: &UserId) -> Result<Both, DbError> {
    let sql = "SELECT p.agents, p.bytes, t.agents, t.bytes FROM usage p JOIN usage t ON t.subject_id = ?1 WHERE p.subject_id = ?2";
    Ok(reads.optional(sql, args![tenant, user]).await?.unwrap_or_default())
}

/// Live credentials, beside sessions, of a person and of the whole tenant; counted no further than to these numbers.
pub async fn live_credentials(
    reads: &dyn Rows,
    (tenant, most_of_tenant): (&TenantId, i64),
    (user, most): (&UserId, i64),
    now: Timestamp,
) -> Result<(i64, i64), DbError> {
    let live = |column: &str, whose: &str, most: &str| {
        format!(
            "(SELECT count(*) FROM (
                SELECT 1 FROM credentials c WHERE c.{column} = {whose} AND c.revoked_at IS NULL AND c.kind <> 'session' AND c.expires_at > ?5
                UNION ALL
                SELECT 1 FROM credentials c WHERE c.{column} = {whose} AND c.revoked_at IS NULL AND c.kind <> 'session' AND c.expires_at IS NULL
                LIMIT {most}))"
        )
    };
    let sql =
        format!("SELECT {} AS own, {} AS all_of_them", live("user_id", "?1", "?2"), live("tenant_id", "?3", "?4"));
    let counted = reads.optional::<Pair>(&sql, args![user, most, tenant, most_of_tenant, now]).await?;
    Ok(counted.map_or((0, 0), |Pair(own, all)| (own, all)))
}

struct Pair(i64, i64);

impl FromRow for Pair {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self(row.take()?, row.take()?))
    }
}

/// What a person has added to the audit trail in this day, and when the day ends. A day begins with the first addition.
pub struct Added {
    /// Bytes.
    pub bytes: i64,
    /// The end.
    pub ends_at: Timestamp,
}

impl FromRow for Added {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { bytes: row.take()?, ends_at: row.take()? })
    }
}

/// Counts what a change adds to the audit trail, in the change's own transaction.
pub async fn add_to_trail(tx: &Tx<'_>, user: &UserId, bytes: i64, now: Timestamp) -> Result<Added, DbError> {
    let key = Digest::of_parts(&["audit bytes", user.as_str()]);
    let sql = "INSERT INTO attempts (key, count, ends_at) VALUES (?1, ?2, ?4)
               ON CONFLICT (key) DO UPDATE SET count = iif(ends_at > ?3 AND ends_at <= ?5, count, 0) + ?2,
                                               ends_at = iif(ends_at > ?3 AND ends_at <= ?5, ends_at, ?4)
               RETURNING count, ends_at";
    // A day that ends later was begun by a clock that was ahead.
    let row = args![&key, bytes, now, now.plus_seconds(86_400), now.plus_seconds(86_400 + 60)];
    tx.optional(sql, row).await?.ok_or(DbError::Row("a counter gave no row"))
}

/// A user who stores something.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UserUsage")]
pub struct OfUser {
    /// The user.
    pub user_id: UserId,
    /// The address.
    pub email: String,
    /// Agents that are not archived.
    pub agents: i64,
    /// Live credentials beside sessions, the agents' included.
    pub credentials: i64,
    /// Bytes in inboxes, logs, secrets, guides and kept answers.
    pub bytes: i64,
    /// Notifications for them.
    pub notifications: i64,
}

impl FromRow for OfUser {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            user_id: row.take()?,
            email: row.take()?,
            agents: row.take()?,
            bytes: row.take()?,
            credentials: row.take()?,
            notifications: row.take()?,
        })
    }
}

/// The users of a tenant that store the most, at most `most` of them. It reads all users of the tenant: for an admin's question.
pub async fn list(
    reads: &dyn Rows,
    tenant: &TenantId,
    quotas: &Quotas,
    most: i64,
    now: Timestamp,
) -> Result<Vec<OfUser>, DbError> {
    let sql = "SELECT w.id, w.email, w.agents, w.bytes,
                      (SELECT count(*) FROM (SELECT 1 FROM credentials c WHERE c.user_id = w.id AND c.revoked_at IS NULL AND c.kind <> 'session'
                                             AND (c.expires_at IS NULL OR c.expires_at > ?2) LIMIT ?3)) AS credentials,
                      (SELECT count(*) FROM (SELECT 1 FROM notifications n WHERE n.user_id = w.id LIMIT ?4)) AS notifications
               FROM (SELECT u.id, u.email, s.agents, s.bytes FROM users u JOIN usage s ON s.subject_id = u.id
                     WHERE u.tenant_id = ?1 AND u.deleted_at IS NULL ORDER BY s.bytes DESC, s.agents DESC, u.id LIMIT ?5) w
               ORDER BY w.bytes DESC, w.agents DESC, w.id";
    reads.list(sql, args![tenant, now, quotas.credentials, quotas.notifications, most]).await
}

/// A person, or a tenant as a whole, that has come to use four fifths of a quota, or uses less again.
#[derive(Debug)]
pub struct News {
    /// The tenant.
    pub tenant: TenantId,
    /// The person; `None`: the tenant as a whole.
    pub user: Option<UserId>,
    /// What they store.
    pub usage: Usage,
    /// Whether it is four fifths of one of the quotas.
    pub is_near: bool,
}

impl FromRow for News {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            tenant: row.take()?,
            user: row.take()?,
            usage: Usage { agents: row.take()?, bytes: row.take()? },
            is_near: row.take()?,
        })
    }
}

/// Those of whom it was not said yet, at most 100: they have come near at four fifths of a quota, and are near until they use three fifths, so
/// that what goes up and down says it once. It reads the whole table, which is narrow: for the tick, once a minute.
pub async fn news(reads: &dyn Rows, quotas: &Quotas) -> Result<Vec<News>, DbError> {
    let all = quotas.of_tenant();
    // What is far from a person's quotas is far from those of a tenant, too, and looked up no further.
    let sql = "SELECT ifnull(p.tenant_id, s.subject_id) AS tenant_id, p.id AS user_id, s.agents, s.bytes,
                      iif(p.id IS NULL, s.agents * 5 >= ?3 * (4 - s.is_told) OR s.bytes * 5 >= ?4 * (4 - s.is_told),
                                        s.agents * 5 >= ?1 * (4 - s.is_told) OR s.bytes * 5 >= ?2 * (4 - s.is_told)) AS is_near
               FROM usage s LEFT JOIN users p ON p.id = s.subject_id
               WHERE (s.is_told OR s.agents * 5 >= ?1 * 4 OR s.bytes * 5 >= ?2 * 4) AND is_near <> s.is_told LIMIT 100";
    reads.list(sql, args![quotas.agents, quotas.bytes, all.agents, all.bytes]).await
}

/// Remembers one of them, and notifies whom it concerns, the person or the active admins, when it has come near.
pub async fn tell(
    tx: &Tx<'_>,
    news: &News,
    chance: &Chance,
    text: (&str, &str),
    now: Timestamp,
) -> Result<(), DbError> {
    let subject = news.user.as_ref().map_or(news.tenant.as_str(), UserId::as_str);
    tx.execute("UPDATE usage SET is_told = ?2 WHERE subject_id = ?1", args![subject, news.is_near]).await?;
    if !news.is_near {
        return Ok(());
    }
    let told = match &news.user {
        Some(user) => vec![user.clone()],
        None => addressee::admins(tx, &news.tenant).await?,
    };
    for user in &told {
        notification::insert_own(tx, (&news.tenant, chance, now), (user, None), text).await?;
    }
    Ok(())
}
