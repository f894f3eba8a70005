//! Table `codes`: one-time codes. A code is minted when it is sent, stored as its digest, and spent by one statement.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows, Tx},
    outbox,
};
use common::{
    id::{AgentId, CredentialId, TenantId, UserId},
    json,
    secret::{Chance, Digest, OneTimeCode},
    time::Timestamp,
};

/// What a code is for. One that was made for one thing is nothing for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sets a forgotten password.
    Reset,
    /// Sets the first password of a person who was invited.
    Invite,
    /// Signs a person in by a mailed link.
    Link,
    /// Makes another address a person's own. A person has one at most: from the moment at which they ask on, its row says which address
    /// it is, and the mail to that address has the code.
    NewAddress,
    /// Stands for a sign-in that waits for its second factor.
    Ticket,
    /// Gives a runtime the token of its agent.
    Enrolment,
    /// Gives an OAuth client what a person gave it (RFC 6749, section 4.1.2).
    Authorization,
}

impl Kind {
    /// The kinds of codes in links to pages.
    pub const OF_LINKS: [Self; 4] = [Self::Reset, Self::Invite, Self::Link, Self::NewAddress];

    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Invite => "invite",
            Self::Link => "link",
            Self::NewAddress => "new_address",
            Self::Ticket => "ticket",
            Self::Enrolment => "enrolment",
            Self::Authorization => "authorization",
        }
    }

    /// How long a code of this kind lives, seconds.
    pub const fn life(self) -> i64 {
        match self {
            Self::Reset | Self::NewAddress => 24 * 3_600,
            Self::Invite => 7 * 24 * 3_600,
            Self::Link | Self::Enrolment => 15 * 60,
            Self::Ticket => 10 * 60,
            Self::Authorization => 60,
        }
    }
}

/// A code to be stored.
pub struct New<'a> {
    /// The code.
    pub code: &'a OneTimeCode,
    /// What it is for.
    pub kind: Kind,
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The person whom it is for.
    pub user: Option<&'a UserId>,
    /// The agent that it is for.
    pub agent: Option<&'a AgentId>,
    /// What it stands for beside that; never a secret.
    pub data: &'a Json,
}

/// Stores a code; returns when it ends.
pub async fn insert(tx: &Tx<'_>, new: &New<'_>, now: Timestamp) -> Result<Timestamp, DbError> {
    let ends = now.plus_seconds(new.kind.life());
    tx.execute(
        "INSERT INTO codes (digest, kind, tenant_id, user_id, agent_id, data, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        args![
            &new.code.digest(),
            new.kind.as_str(),
            new.tenant,
            new.user.map(UserId::as_str),
            new.agent.map(AgentId::as_str),
            json::to_text(new.data),
            now,
            ends
        ],
    )
    .await?;
    Ok(ends)
}

/// What a code stands for.
#[derive(Debug)]
pub struct Granted {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The person whom it is for.
    pub user_id: Option<UserId>,
    /// The agent that it is for.
    pub agent_id: Option<AgentId>,
    /// What it stands for beside that.
    pub data: Json,
}

impl FromRow for Granted {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (tenant_id, user_id, agent_id, data) = (row.take()?, row.take()?, row.take()?, row.take::<String>()?);
        let data = json::parse(&data).ok_or(DbError::Row("a code's data is no JSON"))?;
        Ok(Self { tenant_id, user_id, agent_id, data })
    }
}

const COLUMNS: &str = "tenant_id, user_id, agent_id, data";

/// What a live code stands for, without spending it: for the page that asks before it does. `None`: unknown, expired or spent.
pub async fn find(reads: &dyn Rows, kind: Kind, code: &Digest, now: Timestamp) -> Result<Option<Granted>, DbError> {
    let sql =
        format!("SELECT {COLUMNS} FROM codes WHERE digest = ?1 AND kind = ?2 AND spent_at IS NULL AND expires_at > ?3");
    reads.optional(&sql, args![code, kind.as_str(), now]).await
}

/// What is known of the code of a link, whether it still opens something or not.
pub struct Known {
    /// What it is for.
    pub kind: Kind,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The person whom it is for.
    pub user_id: UserId,
    /// What it stands for beside that.
    pub data: Json,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether it was spent.
    pub is_spent: bool,
}

impl FromRow for Known {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let word: String = row.take()?;
        let kind = Kind::OF_LINKS.into_iter().find(|kind| kind.as_str() == word);
        Ok(Self {
            kind: kind.ok_or(DbError::Row("not a kind of code in a link"))?,
            tenant_id: row.take()?,
            user_id: row.take()?,
            data: json::parse(&row.take::<String>()?).ok_or(DbError::Row("a code's data is no JSON"))?,
            expires_at: row.take()?,
            is_spent: row.take()?,
        })
    }
}

/// What is known of the code of a link. `None`: nothing; it was never one, another took its place, or it ended long ago.
pub async fn look(reads: &dyn Rows, code: &Digest) -> Result<Option<Known>, DbError> {
    let sql = "SELECT kind, tenant_id, user_id, data, expires_at, spent_at IS NOT NULL FROM codes
               WHERE digest = ?1 AND kind IN ('reset', 'invite', 'link', 'new_address') AND user_id IS NOT NULL";
    reads.optional(sql, args![code]).await
}

/// Spends a code. `None`: unknown, expired or spent before; callers must not tell which.
pub async fn spend(tx: &Tx<'_>, kind: Kind, code: &Digest, now: Timestamp) -> Result<Option<Granted>, DbError> {
    let sql = format!(
        "UPDATE codes SET spent_at = ?3 WHERE digest = ?1 AND kind = ?2 AND spent_at IS NULL AND expires_at > ?3 RETURNING {COLUMNS}"
    );
    tx.optional(&sql, args![code, kind.as_str(), now]).await
}

/// Whether a code was spent, and nobody has sent it again since.
pub async fn is_spent(reads: &dyn Rows, kind: Kind, code: &Digest) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM codes WHERE digest = ?1 AND kind = ?2 AND spent_at IS NOT NULL AND json_extract(data, '$.sent_again') IS NULL";
    Ok(reads.optional::<Affected>(sql, args![code, kind.as_str()]).await?.is_some())
}

/// Adds to a code that was spent what it gave: one that is sent again ends it.
pub async fn set_given(tx: &Tx<'_>, code: &Digest, given: &str) -> Result<(), DbError> {
    tx.execute("UPDATE codes SET data = json_set(data, '$.given', ?2) WHERE digest = ?1", args![code, given]).await
}

/// What a code stands for that was spent before, said to the first caller that asks: it may have been stolen, and its owner should hear of
/// it once.
pub async fn was_spent(tx: &Tx<'_>, kind: Kind, code: &Digest) -> Result<Option<Granted>, DbError> {
    let sql = format!(
        "UPDATE codes SET data = json_set(data, '$.sent_again', json('true'))
         WHERE digest = ?1 AND kind = ?2 AND spent_at IS NOT NULL AND json_extract(data, '$.sent_again') IS NULL RETURNING {COLUMNS}"
    );
    tx.optional(&sql, args![code, kind.as_str()]).await
}

/// Ends all codes of a kind that an agent has and that were not used; gives how many there were.
pub async fn end_of_agent(tx: &Tx<'_>, kind: Kind, agent: &AgentId) -> Result<usize, DbError> {
    let sql = "DELETE FROM codes WHERE agent_id = ?1 AND kind = ?2 AND spent_at IS NULL RETURNING 1";
    Ok(tx.list::<Affected>(sql, args![agent, kind.as_str()]).await?.len())
}

/// Ends the codes of clients for a service of the tenant that were not used.
pub async fn end_of_service(tx: &Tx<'_>, tenant: &TenantId, service: &str, now: Timestamp) -> Result<(), DbError> {
    let kind = Kind::Authorization;
    let sql = "DELETE FROM codes WHERE expires_at > ?3 AND expires_at <= ?4 AND kind = ?5 AND tenant_id = ?1
                  AND data ->> 'service' = ?2 AND spent_at IS NULL";
    tx.execute(sql, args![tenant, service, now, now.plus_seconds(kind.life()), kind.as_str()]).await
}

/// Ends the codes for another token of the agent whose token this is: who had the token may have got one.
pub async fn end_of_token(tx: &Tx<'_>, id: &CredentialId) -> Result<(), DbError> {
    let sql = "DELETE FROM codes WHERE kind = 'enrolment' AND spent_at IS NULL
                  AND agent_id = (SELECT c.agent_id FROM credentials c WHERE c.id = ?1 AND c.kind = 'agent_token')";
    tx.execute(sql, args![id]).await
}

/// Ends all codes of a kind that a person has. What was spent is left, so that its bearer can be told.
pub async fn end_of_user(tx: &Tx<'_>, kind: Kind, user: &UserId) -> Result<(), DbError> {
    let sql = "DELETE FROM codes WHERE user_id = ?1 AND kind = ?2 AND spent_at IS NULL";
    tx.execute(sql, args![user, kind.as_str()]).await
}

/// Ends the invitations of a person: the codes, and the mails that wait to be sent.
pub async fn end_invitations(tx: &Tx<'_>, user: &UserId) -> Result<(), DbError> {
    end_of_user(tx, Kind::Invite, user).await?;
    outbox::drop_unsent(tx, user, outbox::Kind::Invite).await
}

/// Whether a person was invited, lately or by a code that still works.
pub async fn is_invited(reads: &dyn Rows, user: &UserId) -> Result<bool, DbError> {
    let sql = "SELECT 1 WHERE EXISTS (SELECT 1 FROM codes WHERE user_id = ?1 AND kind = 'invite')
                          OR EXISTS (SELECT 1 FROM outbox WHERE user_id = ?1 AND kind = 'invite')";
    Ok(reads.optional::<Affected>(sql, args![user]).await?.is_some())
}

/// An address that a person wants, and has not confirmed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NewAddress {
    /// The address.
    pub email: String,
    /// When the person asked for it.
    pub asked_at: Timestamp,
    /// When it can be confirmed no more.
    pub expires_at: Timestamp,
}

impl FromRow for NewAddress {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { email: row.take()?, asked_at: row.take()?, expires_at: row.take()? })
    }
}

/// The address that a person wants, if one waits to be confirmed.
pub async fn new_address(reads: &dyn Rows, user: &UserId, now: Timestamp) -> Result<Option<NewAddress>, DbError> {
    let sql = "SELECT data ->> 'email', created_at, expires_at FROM codes
               WHERE user_id = ?1 AND kind = 'new_address' AND spent_at IS NULL AND expires_at > ?2";
    reads.optional(sql, args![user, now]).await
}

/// Stores the address that a person wants, in the place of the one that they wanted before. Nobody gets this code: the mail that is sent to
/// the address brings its own ([`renew`]).
pub async fn want_address(
    tx: &Tx<'_>,
    (tenant, user): (&TenantId, &UserId),
    email: &str,
    chance: &Chance,
    now: Timestamp,
) -> Result<NewAddress, DbError> {
    withdraw_address(tx, user).await?;
    let (code, data) = (OneTimeCode::generate(chance), json!({ "email": email }));
    let new = New { code: &code, kind: Kind::NewAddress, tenant, user: Some(user), agent: None, data: &data };
    let expires_at = insert(tx, &new, now).await?;
    Ok(NewAddress { email: email.to_owned(), asked_at: now, expires_at })
}

/// Ends the wish of a person for another address: neither a code nor a mail is left of it.
pub async fn withdraw_address(tx: &Tx<'_>, user: &UserId) -> Result<(), DbError> {
    end_of_user(tx, Kind::NewAddress, user).await?;
    outbox::drop_unsent(tx, user, outbox::Kind::NewAddress).await
}

/// Puts the code of a mail in the place of the one before; returns when it ends. `None`: the person does not want this address any more.
pub async fn renew(
    tx: &Tx<'_>,
    user: &UserId,
    email: &str,
    code: &OneTimeCode,
    now: Timestamp,
) -> Result<Option<Timestamp>, DbError> {
    let sql = "UPDATE codes SET digest = ?3, expires_at = ?5
               WHERE user_id = ?1 AND kind = 'new_address' AND data ->> 'email' = ?2 AND spent_at IS NULL AND expires_at > ?4
               RETURNING 1";
    let ends = now.plus_seconds(Kind::NewAddress.life());
    Ok(tx.optional::<Affected>(sql, args![user, email, &code.digest(), now, ends]).await?.map(|_| ends))
}

/// Purges codes that ended before `kept_since`: until then a code that is sent once more is known to have been spent.
pub async fn purge(db: &Db, kept_since: Timestamp, most: i64) -> Result<(), DbError> {
    let sql = "DELETE FROM codes WHERE digest IN (SELECT digest FROM codes WHERE expires_at <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![kept_since, most]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use common::role::Role;

    use super::*;
    use crate::{credential, db::Purpose, testing::TestDb};

    /// R22: a code is spent once, by one kind, and ends by itself.
    #[tokio::test]
    async fn a_code_is_spent_once() {
        let t = TestDb::new();
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await.user;
        let code = OneTimeCode::generate(&Chance::seeded(1));
        let (now, data) = (t.now(), json!({ "next": "/x" }));
        let tx = t.db().begin(Purpose::Durable).await.unwrap();
        let new = New { code: &code, kind: Kind::Link, tenant: &tenant, user: Some(&ada), agent: None, data: &data };
        let ends = insert(&tx, &new, now).await.unwrap();
        assert_eq!(ends, now.plus_seconds(900));
        assert!(find(&tx, Kind::Link, &code.digest(), now).await.unwrap().is_some());
        assert!(find(&tx, Kind::Link, &code.digest(), ends).await.unwrap().is_none());
        assert!(spend(&tx, Kind::Reset, &code.digest(), now).await.unwrap().is_none());
        let granted = spend(&tx, Kind::Link, &code.digest(), now).await.unwrap().unwrap();
        assert_eq!((granted.user_id, granted.data), (Some(ada), data));
        assert!(spend(&tx, Kind::Link, &code.digest(), now).await.unwrap().is_none());
    }
    /// A restored backup may hold a code that was spent since.
    #[tokio::test]
    async fn a_code_ends_with_the_credentials_that_were_issued_before_a_moment() {
        let t = TestDb::new();
        let ada = t.ada().await;
        let data = json!({});
        let tx = t.db().begin(Purpose::Durable).await.unwrap();
        let mut codes = Vec::new();
        for seconds in [0, 60] {
            let code = OneTimeCode::generate(t.chance());
            let (tenant, user) = (&ada.tenant, Some(&ada.user));
            let new = New { code: &code, kind: Kind::Invite, tenant, user, agent: None, data: &data };
            insert(&tx, &new, t.now().plus_seconds(seconds)).await.unwrap();
            codes.push(code.digest());
        }
        let before = t.now().plus_seconds(60);
        credential::revoke_issued_before(&tx, before, before).await.unwrap();
        assert!(find(&tx, Kind::Invite, &codes[0], before).await.unwrap().is_none());
        assert!(find(&tx, Kind::Invite, &codes[1], before).await.unwrap().is_some());
    }
}
