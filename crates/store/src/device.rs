//! Table `device_requests`: devices that ask to be signed in (RFC 8628). A person finds a request by its user code and decides; the
//! device polls with its device code, and spends an approval by one statement.

use common::{
    id::{CredentialId, TenantId, UserId},
    scope::Patterns,
    secret::{Digest, OneTimeCode, UserCode},
    time::Timestamp,
};

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows, Tx},
};

/// How long a request lives, seconds.
pub const LIFE: i64 = 600;
/// How long a request that has ended is kept, seconds.
pub const KEPT: i64 = 86_400;
/// Seconds between two polls at first.
pub const INTERVAL: i64 = 2;
/// Seconds that a poll which comes too early adds to them (RFC 8628, section 3.5), and the most that they become.
const SLOWER: i64 = 5;
const SLOWEST: i64 = 60;

/// A request to be stored.
pub struct New<'a> {
    /// What the device polls with.
    pub code: &'a OneTimeCode,
    /// The machine.
    pub name: &'a str,
    /// The program: what it calls itself, or the client that an admin registered. Nobody else gets what is given.
    pub client: &'a str,
    /// Where it comes from.
    pub address: &'a str,
    /// The patterns that are asked for, separated by blanks.
    pub scope: &'a str,
    /// Whether it asks for a session.
    pub is_session: bool,
}

/// Stores a request, with what a person types; `false`: another one has this user code.
pub async fn insert(tx: &Tx<'_>, new: &New<'_>, user_code: &UserCode, now: Timestamp) -> Result<bool, DbError> {
    let sql = "INSERT INTO device_requests (digest, user_digest, name, client, address, scope, is_session, created_at, expires_at, interval)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (user_digest) DO NOTHING RETURNING 1";
    let row = args![
        &new.code.digest(),
        &user_code.digest(),
        new.name,
        new.client,
        new.address,
        new.scope,
        new.is_session,
        now,
        now.plus_seconds(LIFE),
        INTERVAL
    ];
    Ok(tx.optional::<Affected>(sql, row).await?.is_some())
}

/// A request, as the person who decides sees it.
#[derive(Debug)]
pub struct Waiting {
    /// The machine.
    pub name: String,
    /// The program.
    pub client: String,
    /// Where it comes from.
    pub address: String,
    /// The patterns that are asked for.
    pub scope: String,
    /// Whether it asks for a session.
    pub is_session: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its end.
    pub expires_at: Timestamp,
}

impl FromRow for Waiting {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            name: row.take()?,
            client: row.take()?,
            address: row.take()?,
            scope: row.take()?,
            is_session: row.take()?,
            created_at: row.take()?,
            expires_at: row.take()?,
        })
    }
}

/// The request with this user code that waits for a decision by somebody of this tenant: no request of another tenant's registered client.
pub async fn find_waiting(
    reads: &dyn Rows,
    code: &Digest,
    tenant: &TenantId,
    now: Timestamp,
) -> Result<Option<Waiting>, DbError> {
    let sql = "SELECT name, client, address, scope, is_session, created_at, expires_at FROM device_requests d
               WHERE user_digest = ?1 AND state = 'waiting' AND expires_at > ?2
                 AND NOT EXISTS (SELECT 1 FROM oauth_clients c WHERE c.id = d.client AND c.tenant_id <> ?3)";
    reads.optional(sql, args![code, now, tenant]).await
}

/// Approves a request that waits, by a person in a session; `false`: there is none.
pub async fn approve(
    tx: &Tx<'_>,
    code: &Digest,
    (by, session): (&UserId, &CredentialId),
    (granted, days): (&Patterns, i64),
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE device_requests SET state = 'approved', user_id = ?2, granted = ?3, days = ?4, approved_by = ?6
               WHERE user_digest = ?1 AND state = 'waiting' AND expires_at > ?5 RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![code, by, granted.to_column(), days, now, session]).await?.is_some())
}

/// Denies a request that waits; `false`: there is none.
pub async fn deny(tx: &Tx<'_>, code: &Digest, by: &UserId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE device_requests SET state = 'denied', user_id = ?2
               WHERE user_digest = ?1 AND state = 'waiting' AND expires_at > ?3 RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![code, by, now]).await?.is_some())
}

/// Where a request stands, as the device that polls is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has decided.
    Waiting {
        /// Seconds that the device has to wait from now on.
        interval: i64,
        /// Whether this poll came too early.
        is_too_fast: bool,
    },
    /// Approved, and not redeemed.
    Approved,
    /// Denied.
    Denied,
    /// Redeemed before.
    Spent,
    /// Its time is over.
    Expired,
}

impl FromRow for Standing {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (state, is_live) = (row.take::<String>()?, row.take::<bool>()?);
        Ok(match (state.as_str(), is_live) {
            ("spent", _) => Self::Spent,
            ("denied", _) => Self::Denied,
            (_, false) => Self::Expired,
            ("approved", true) => Self::Approved,
            ("waiting", true) => Self::Waiting { interval: row.take()?, is_too_fast: row.take()? },
            _ => return Err(DbError::Row("a device request in no known state")),
        })
    }
}

/// Where the request of this client with this device code stands. `None`: there is none.
pub async fn find(reads: &dyn Rows, code: &Digest, client: &str, now: Timestamp) -> Result<Option<Standing>, DbError> {
    let sql =
        "SELECT state, expires_at > ?2, interval, is_too_fast FROM device_requests WHERE digest = ?1 AND client = ?3";
    reads.optional(sql, args![code, now, client]).await
}

/// Records a poll of a request that waits, and says where it stands now. One that comes too early makes the interval longer.
pub async fn poll(db: &Db, code: &Digest, client: &str, now: Timestamp) -> Result<Option<Standing>, DbError> {
    // A tenth is left for what the network adds to one request and not to the next.
    let sql = "UPDATE device_requests
               SET is_too_fast = ifnull((?2 - polled_at) * 10 < interval * 9000, 0),
                   interval = iif((?2 - polled_at) * 10 < interval * 9000, min(interval + ?3, ?4), interval), polled_at = ?2
               WHERE digest = ?1 AND client = ?5 AND state = 'waiting' AND expires_at > ?2 RETURNING state, 1, interval, is_too_fast";
    match db.hot::<Standing>(sql, args![code, now, SLOWER, SLOWEST, client]).await?.into_iter().next() {
        Some(standing) => Ok(Some(standing)),
        None => find(db, code, client, now).await, // decided meanwhile
    }
}

/// What a person approved.
#[derive(Debug)]
pub struct Approved {
    /// The person.
    pub user_id: UserId,
    /// The machine.
    pub name: String,
    /// Where it comes from.
    pub address: String,
    /// What it may do.
    pub scope: Patterns,
    /// How long its token lives.
    pub days: i64,
    /// Whether it gets a session instead.
    pub is_session: bool,
}

impl FromRow for Approved {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            user_id: row.take()?,
            name: row.take()?,
            address: row.take()?,
            scope: Patterns::stored(&row.take::<String>()?),
            days: row.take()?,
            is_session: row.take()?,
        })
    }
}

/// Spends an approval. `None`: there is none of this client, its time is over, or it was spent before.
pub async fn spend(tx: &Tx<'_>, code: &Digest, client: &str, now: Timestamp) -> Result<Option<Approved>, DbError> {
    let sql = "UPDATE device_requests SET state = 'spent'
               WHERE digest = ?1 AND client = ?3 AND state = 'approved' AND expires_at > ?2
               RETURNING user_id, name, address, granted, days, is_session";
    tx.optional(sql, args![code, now, client]).await
}

/// What the session that approved a request for another session has proved, and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approver {
    /// When its person proved last who they are.
    pub proved_at: Timestamp,
    /// Whether they proved two factors.
    pub two_factors: bool,
    /// When it ends.
    pub ends_at: Timestamp,
}

impl FromRow for Approver {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { proved_at: row.take()?, two_factors: row.take()?, ends_at: row.take()? })
    }
}

/// The session that approved a request. `None`: it has ended.
pub async fn approver(reads: &dyn Rows, code: &Digest, now: Timestamp) -> Result<Option<Approver>, DbError> {
    let sql = "SELECT ifnull(c.proved_at, c.created_at), c.two_factors, c.expires_at
               FROM device_requests d JOIN credentials c ON c.id = d.approved_by
               WHERE d.digest = ?1 AND c.kind = 'session' AND c.revoked_at IS NULL AND c.expires_at > ?2";
    reads.optional(sql, args![code, now]).await
}

/// Ends all requests that were made before a moment and are not redeemed.
pub async fn end_made_before(tx: &Tx<'_>, before: Timestamp) -> Result<(), DbError> {
    tx.execute("DELETE FROM device_requests WHERE created_at < ?1 AND state <> 'spent'", args![before]).await
}

/// Purges requests that ended a day ago: until then a device that polls once more is told how its request ended.
pub async fn purge(db: &Db, now: Timestamp, most: i64) -> Result<(), DbError> {
    let sql = "DELETE FROM device_requests WHERE digest IN (SELECT digest FROM device_requests WHERE expires_at <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![now.plus_seconds(-KEPT), most]).await.map(drop)
}
