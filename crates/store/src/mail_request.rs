//! Table `mail_requests`: mails that somebody without a session asks for. The request stores what was sent and looks at no account; the
//! sender of mails looks, and queues a mail where there is an active account whose tenant allows the way that it leads to.

use serde_json::Value as Json;

use crate::{
    args,
    audit::{self, Event},
    credential,
    db::{Affected, Db, DbError, FromRow, Purpose, Reads, Row},
    origin::Origin,
    outbox::{self, Kind},
    tenant, user,
};
use common::{email, entrance::Entrance, id::RequestId, json, secret::Chance, time::Timestamp};

/// Requests that are settled in one transaction at most.
const BATCH: i64 = 20;
/// How old a request may be when it is settled, seconds: nobody waits for the mail any more.
const WAITED_FOR: i64 = 3_600;

/// A request to be stored.
pub struct New<'a> {
    /// The kind of the mail.
    pub kind: Kind,
    /// The tenant's slug, if one was sent.
    pub tenant: Option<&'a str>,
    /// The address that was sent.
    pub email: &'a str,
    /// The data that the mail's text is made of.
    pub data: &'a Json,
    /// Where the request came from.
    pub address: &'a str,
    /// The request.
    pub request: &'a RequestId,
}

/// Stores a request.
pub async fn insert(db: &Db, new: &New<'_>, now: Timestamp) -> Result<(), DbError> {
    let sql = "INSERT INTO mail_requests (kind, tenant, email_key, data, address, request_id, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING 1";
    let row = args![
        new.kind.as_str(),
        new.tenant,
        email::key(new.email),
        json::to_text(new.data),
        new.address,
        new.request,
        now
    ];
    db.single::<Affected>(Purpose::Entry, sql, row).await.map(drop)
}

struct Asked {
    kind: Kind,
    tenant: Option<String>,
    email: String,
    data: Json,
    address: String,
    request: RequestId,
    created_at: Timestamp,
}

impl FromRow for Asked {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            kind: row.take()?,
            tenant: row.take()?,
            email: row.take()?,
            data: json::parse(&row.take::<String>()?).ok_or(DbError::Row("a request's data is no JSON"))?,
            address: row.take()?,
            request: row.take()?,
            created_at: row.take()?,
        })
    }
}

/// Turns requests into queued mails, each with its audit row, where the address has an active account; the others are dropped. So is one
/// with a `network`, which came when others had asked for too many, unless a session of the person was used from there.
pub async fn settle(db: &Db, chance: &Chance, now: Timestamp) -> Result<(), DbError> {
    // Read first: mostly there are none, and nobody has to wait for the lock.
    if db.optional::<i64>("SELECT EXISTS (SELECT 1 FROM mail_requests) AS waits", args![]).await? != Some(1) {
        return Ok(());
    }
    let tx = db.begin(Purpose::Entry).await?;
    let sql = "DELETE FROM mail_requests WHERE seq IN (SELECT seq FROM mail_requests ORDER BY seq LIMIT ?1)
               RETURNING kind, tenant, email_key, data, address, request_id, created_at";
    let asked: Vec<Asked> = tx.list(sql, args![BATCH]).await?;
    for asked in asked.iter().filter(|asked| asked.created_at.plus_seconds(WAITED_FOR) > now) {
        let login = user::find_login(&tx, asked.tenant.as_deref(), &asked.email).await?;
        let Some(login) = login.filter(|login| login.is_active) else { continue };
        let (tenant, user) = (&login.tenant_id, &login.id);
        if let Some(network) = asked.data.get("network").and_then(Json::as_str)
            && !credential::is_known_network(&tx, Some(user), network).await?
        {
            continue;
        }
        // A link would lead to a way that lets nobody in.
        let entrance = if asked.kind == Kind::Link { Entrance::Link } else { Entrance::Password };
        if !tenant::get(&tx, tenant).await?.ways.allow(entrance) {
            continue;
        }
        let mail = outbox::New { tenant, user, recipient: &login.email, kind: asked.kind, data: &asked.data };
        outbox::queue(&tx, &mail, chance, now).await?;
        let (address, request) = (asked.address.as_str(), &asked.request);
        let origin = Origin { tenant, user: None, agent: None, credential: None, address, request, now, chance };
        let action = if asked.kind == Kind::Link { "session.link" } else { "user.forgot_password" };
        let event = Event { action, object: user.as_str(), before: Json::Null, after: Json::Null };
        audit::insert(&tx, &origin, &event).await?;
    }
    tx.commit().await
}
