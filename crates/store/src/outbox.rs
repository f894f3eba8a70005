//! Table `outbox`: mails that are to be sent, and those that were or could not be.
//!
//! A mail is queued in the transaction of what it reports. It is sent at least once: a sender takes the row by one
//! conditional statement, for [`LEASE`] seconds, and writes what came of it. Only a sender that ends between the provider's
//! answer and that write makes a mail go out twice.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, FromValue, Purpose, Reads, Row, Rows, Tx},
    page::{PageRequest, any_has, pattern},
};
use common::{
    id::{MailId, TenantId, UserId},
    json,
    secret::Chance,
    time::Timestamp,
};

/// Tries of a mail; the last one that fails ends it.
pub const MOST_TRIES: i64 = 8;
/// The wait behind the first try that fails, seconds; each further one is twice as long.
const FIRST_WAIT: i64 = 60;
/// The longest wait between two tries, seconds.
const LONGEST_WAIT: i64 = 3_600;
/// How long a row is its sender's, seconds: longer than any try takes.
const LEASE: i64 = 60;
/// Days that a sent mail's row is kept.
pub const SENT_KEPT: i64 = 7;
/// Days that a dead mail's row is kept.
pub const DEAD_KEPT: i64 = 30;

/// Mails to one person that wait to go out together, at most; further ones are left out.
pub const MOST_WAITING: i64 = 100;
/// The time between two mails to one person of kinds that can wait, seconds.
const DIGEST: i64 = 3_600;

/// The kind of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "MailKind")]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An agent asks for a scope: `{agent, request, scope, hours, reason}`.
    AccessRequest,
    /// The person let an app in: `{name, host, is_registered, resource, scope, expires_at, address}`; `host` and `resource` may be null.
    AppLetIn,
    /// The person's address was changed, told to both: `{by, address, was, now}`.
    EmailChanged,
    /// A credential ends soon: `{agent, kind, name, expires_at}`.
    Expiring,
    /// The person set up a second factor: `{address}`.
    FactorAdded,
    /// A second factor of the person was removed: `{by, address}`; `by` is null if they did it themselves.
    FactorRemoved,
    /// An identity at a provider was linked to the person's account: `{address, provider, email}`; `email` may be null.
    IdentityLinked,
    /// An identity at a provider was unlinked from the person's account: `{by, address, provider}`.
    IdentityUnlinked,
    /// A person was invited, and sets a password by the link: `{by, address, base}`.
    Invite,
    /// A credential was found in the open: `{whose, prefix, text}`.
    Leak,
    /// A person asked to be signed in by a link: `{address, base, next}`.
    Link,
    /// A person wants this address as their own, and confirms it by the link: `{was, address, base}`.
    NewAddress,
    /// The person signed in with a device or from a network that was not seen before: `{device, new, address, at}`.
    NewSignIn,
    /// The person's password was changed: `{by, address, set}`; with `set` there was none before.
    PasswordChanged,
    /// A recovery code of the person was used: `{left, address}`.
    RecoveryCodeUsed,
    /// The person made new recovery codes, which end the ones before: `{address}`.
    RecoveryCodesReplaced,
    /// A person asked to set a forgotten password anew: `{address, base}`.
    Reset,
    /// The person's role allows less than before: `{by, address, was, now}`.
    RoleLowered,
    /// A person may do more than before, told to that person; of a new admin also to the other admins: `{by, address, who, was, now}`, where
    /// `who` is left out for the person, and `was` for a new account.
    RoleRaised,
    /// An agent has not been heard of for longer than its people have set: `{agent, minutes, last_seen_at}`.
    Silent,
    /// A personal access token of the person was made: `{name, scope, expires_at, address, replaces}`; with `replaces` in the place of one
    /// that there was.
    TokenMade,
    /// A user asked for a mail to their own address, to see that mail works: `{}`.
    Test,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 22] = [
        Self::AccessRequest,
        Self::AppLetIn,
        Self::EmailChanged,
        Self::Expiring,
        Self::FactorAdded,
        Self::FactorRemoved,
        Self::IdentityLinked,
        Self::IdentityUnlinked,
        Self::Invite,
        Self::Leak,
        Self::Link,
        Self::NewAddress,
        Self::NewSignIn,
        Self::PasswordChanged,
        Self::RecoveryCodeUsed,
        Self::RecoveryCodesReplaced,
        Self::Reset,
        Self::RoleLowered,
        Self::RoleRaised,
        Self::Silent,
        Self::TokenMade,
        Self::Test,
    ];

    /// The kinds that people choose. All others tell of the security of their own account, or were asked for.
    pub const CHOSEN: [Self; 5] = [Self::AccessRequest, Self::Leak, Self::Expiring, Self::Silent, Self::NewSignIn];

    /// Whether its text has a one-time code, which is made when it is sent.
    pub const fn has_code(self) -> bool {
        matches!(self, Self::Invite | Self::Link | Self::NewAddress | Self::Reset)
    }

    /// Whether it can wait: of such mails a person gets one in an hour, and what comes meanwhile goes out together.
    pub const fn can_wait(self) -> bool {
        matches!(self, Self::AccessRequest | Self::Expiring | Self::Silent)
    }

    /// Mails of this kind to one person in an hour, at most: of what a script can do a hundred times. `None`: no more than are caused.
    const fn most_in_an_hour(self) -> Option<i64> {
        match self {
            Self::AppLetIn | Self::NewSignIn | Self::RecoveryCodesReplaced | Self::TokenMade => Some(10),
            _ => None,
        }
    }

    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessRequest => "access_request",
            Self::AppLetIn => "app_let_in",
            Self::EmailChanged => "email_changed",
            Self::Expiring => "expiring",
            Self::FactorAdded => "factor_added",
            Self::FactorRemoved => "factor_removed",
            Self::IdentityLinked => "identity_linked",
            Self::IdentityUnlinked => "identity_unlinked",
            Self::Invite => "invite",
            Self::Leak => "leak",
            Self::Link => "link",
            Self::NewAddress => "new_address",
            Self::NewSignIn => "new_sign_in",
            Self::PasswordChanged => "password_changed",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::RecoveryCodesReplaced => "recovery_codes_replaced",
            Self::Reset => "reset",
            Self::RoleLowered => "role_lowered",
            Self::RoleRaised => "role_raised",
            Self::Silent => "silent",
            Self::TokenMade => "token_made",
            Self::Test => "test",
        }
    }
}

impl FromValue for Kind {
    fn from_value(value: crate::db::Value) -> Result<Self, DbError> {
        let word = String::from_value(value)?;
        Self::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or(DbError::Row("not a kind of mail"))
    }
}

/// The states that a mail can be in.
pub const STATES: [&str; 3] = ["due", "sent", "dead"];

/// A mail to be queued.
pub struct New<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The recipient.
    pub user: &'a UserId,
    /// The recipient's address.
    pub recipient: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// The data that its text is made of; never a secret.
    pub data: &'a Json,
}

/// Queues a mail, in the transaction that it reports.
pub async fn queue(tx: &Tx<'_>, new: &New<'_>, chance: &Chance, now: Timestamp) -> Result<MailId, DbError> {
    let id = MailId::generate(now, chance);
    tx.execute(
        "INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, due_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
        args![&id, new.tenant, new.user, new.kind.as_str(), new.recipient, json::to_text(new.data), now],
    )
    .await?;
    tx.leave_work();
    Ok(id)
}

/// Whether a person gets no more mails of this kind in this hour.
pub async fn is_enough(tx: &Tx<'_>, user: &UserId, kind: Kind, now: Timestamp) -> Result<bool, DbError> {
    let Some(most) = kind.most_in_an_hour() else { return Ok(false) };
    let sql = "SELECT count(*) FROM (SELECT 1 FROM outbox
               WHERE user_id = ?1 AND state IN ('due', 'sent') AND due_at > ?3 AND kind = ?2 LIMIT ?4)";
    let args = args![user, kind.as_str(), now.plus_seconds(-3_600), most];
    Ok(tx.optional::<i64>(sql, args).await?.unwrap_or(0) >= most)
}

/// The kinds that can wait, as SQL has them.
const WAITING: &str = "'access_request', 'expiring', 'silent'";

/// The earliest moment at which one more mail that can wait may go to the user `?2`; `?1` is now.
fn earliest() -> String {
    format!(
        "max(?1, ifnull((SELECT s.due_at + {DIGEST}000 FROM outbox s
                         WHERE s.user_id = ?2 AND s.state = 'sent' AND s.due_at > ?1 - {DIGEST}000 AND s.kind IN ({WAITING})
                         ORDER BY s.due_at DESC LIMIT 1), 0))"
    )
}

/// Queues a mail of a kind that people choose, in the transaction that it reports. `false`: the person has turned the kind off, or it can
/// wait and as many as may wait for them already.
pub async fn offer(tx: &Tx<'_>, new: &New<'_>, chance: &Chance, now: Timestamp) -> Result<bool, DbError> {
    let id = MailId::generate(now, chance);
    let (due, most) = if new.kind.can_wait() { (earliest(), MOST_WAITING) } else { ("?1".to_owned(), i64::MAX) };
    let sql = format!(
        "INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, due_at, created_at)
         SELECT ?3, ?4, u.id, ?5, ?6, ?7, {due}, ?1 FROM users u
         WHERE u.id = ?2 AND instr(u.mails_off, ' ' || ?5 || ' ') = 0
           AND (SELECT count(*) FROM (SELECT 1 FROM outbox o WHERE o.user_id = ?2 AND o.state = 'due' AND o.kind IN ({WAITING}) LIMIT ?8)) < ?8
         RETURNING 1"
    );
    let row = args![now, new.user, &id, new.tenant, new.kind.as_str(), new.recipient, json::to_text(new.data), most];
    let is_queued = tx.optional::<Affected>(&sql, row).await?.is_some();
    if is_queued {
        tx.leave_work();
    }
    Ok(is_queued)
}

/// A mail whose turn it is.
pub struct DueMail {
    /// The id.
    pub id: MailId,
    /// Its kind.
    pub kind: Kind,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The tenant's slug.
    pub tenant: String,
    /// The tenant's name, if it has one beside its slug.
    pub tenant_name: Option<String>,
    /// Whether it is the usual tenant, which no link has to name.
    pub is_usual: bool,
    /// The recipient.
    pub user_id: UserId,
    /// The recipient's address.
    pub recipient: String,
    /// The data that its text is made of.
    pub data: Json,
    /// Tries, this one included.
    pub tries: i64,
}

impl FromRow for DueMail {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            kind: row.take()?,
            tenant_id: row.take()?,
            tenant: row.take()?,
            tenant_name: row.take()?,
            is_usual: row.take()?,
            user_id: row.take()?,
            recipient: row.take()?,
            data: json::parse(&row.take::<String>()?).ok_or(DbError::Row("a mail's data is no JSON"))?,
            tries: row.take()?,
        })
    }
}

/// The kinds that this release sends, as SQL has them. Those of a newer release are left for that release.
const KINDS: &str = "'access_request', 'app_let_in', 'email_changed', 'expiring', 'factor_added', 'factor_removed', 'identity_linked', 'identity_unlinked', 'invite', 'leak', 'link', 'new_address', 'new_sign_in', 'password_changed', 'recovery_code_used', 'recovery_codes_replaced', 'reset', 'role_lowered', 'role_raised', 'silent', 'token_made', 'test'";

/// The condition that something is due; `?1` is now.
fn some_is_due() -> String {
    format!(
        "(EXISTS (SELECT 1 FROM outbox WHERE state = 'due' AND due_at <= ?1 AND kind IN ({KINDS}))
          OR EXISTS (SELECT 1 FROM mail_requests))"
    )
}

/// Whether something is due.
pub async fn is_due(db: &Db, now: Timestamp) -> Result<bool, DbError> {
    Ok(db.optional::<i64>(&format!("SELECT {} AS due", some_is_due()), args![now]).await? == Some(1))
}

/// Makes the caller the only sender until `ends`, if something is due; `false`: nothing is, or somebody sends already.
pub async fn begin_sending(db: &Db, now: Timestamp, ends: Timestamp) -> Result<bool, DbError> {
    // Read first: anybody may call the tick, and a statement that may write waits for the lock.
    if !is_due(db, now).await? {
        return Ok(false);
    }
    let is_due = some_is_due();
    let sql = format!("UPDATE leases SET until = ?2 WHERE name = 'mail' AND until <= ?1 AND {is_due} RETURNING 1");
    Ok(!db.hot::<Affected>(&sql, args![now, ends]).await?.is_empty())
}

/// Lets others send; `ends` is what [`begin_sending`] was given.
pub async fn end_sending(db: &Db, ends: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE leases SET until = 0 WHERE name = 'mail' AND until = ?1";
    db.hot::<Affected>(sql, args![ends]).await.map(drop)
}

/// Takes the mails of the next letter: the one that has been due the longest or, if it can wait, all of its recipient's that can and are
/// due, the oldest first. For the time of a try nobody else gets them. Empty: nothing is due.
pub async fn take(db: &Db, now: Timestamp) -> Result<Vec<DueMail>, DbError> {
    let sql = format!(
        "WITH next AS (SELECT id, user_id, kind IN ({WAITING}) AS waits FROM outbox
                       WHERE state = 'due' AND due_at <= ?1 AND kind IN ({KINDS}) ORDER BY due_at LIMIT 1)
         UPDATE outbox SET tries = tries + 1, due_at = ?2
         WHERE id IN (SELECT id FROM next
                      UNION ALL
                      SELECT * FROM (SELECT o.id FROM next CROSS JOIN outbox o
                                     ON o.user_id = next.user_id AND o.state = 'due' AND o.due_at <= ?1
                                     WHERE next.waits AND o.kind IN ({WAITING}) AND o.id <> next.id LIMIT {MOST_WAITING}))
         RETURNING id, kind, tenant_id, (SELECT slug FROM tenants t WHERE t.id = tenant_id) AS slug,
             (SELECT name FROM tenants t WHERE t.id = tenant_id) AS name,
             ifnull((SELECT b.tenant_id FROM bootstrap b WHERE b.id = 1) = outbox.tenant_id, 1) AS is_usual, user_id, recipient, data, tries"
    );
    let mut taken: Vec<DueMail> = db.hot(&sql, args![now, now.plus_seconds(LEASE)]).await?;
    taken.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
    Ok(taken)
}

/// Drops what waits about access requests that need no decision of the person any more: somebody has decided, or the person may not. Gives
/// the ids.
pub async fn drop_decided(db: &Db, user: &UserId) -> Result<Vec<MailId>, DbError> {
    let sql = "DELETE FROM outbox
               WHERE user_id = ?1 AND state = 'due' AND kind = 'access_request' AND NOT EXISTS (
                   SELECT 1 FROM access_requests r JOIN agents a ON a.id = r.agent_id JOIN users u ON u.id = outbox.user_id
                   WHERE r.id = outbox.data ->> 'request' AND r.state = 'open' AND a.archived_at IS NULL
                     AND (a.owner_id = u.id OR u.role = 'admin'))
               RETURNING id";
    db.hot(sql, args![user]).await
}

/// Drops what waits of one kind for a person, or could not be sent.
pub async fn drop_unsent(tx: &Tx<'_>, user: &UserId, kind: Kind) -> Result<(), DbError> {
    let sql = "DELETE FROM outbox WHERE user_id = ?1 AND state <> 'sent' AND kind = ?2";
    tx.execute(sql, args![user, kind.as_str()]).await
}

/// Writes that a letter went out. Of its recipient's mails that can wait, the others wait for an hour then. In a full database too, as in
/// [`failed`]: it takes next to no room, and without it the letter would go out again and again.
pub async fn sent(db: &Db, mails: &[DueMail], now: Timestamp) -> Result<(), DbError> {
    let Some(first) = mails.first() else { return Ok(()) };
    let tx = db.begin(Purpose::Revoking).await?;
    let sql = "UPDATE outbox SET state = 'sent', sent_at = ?2, due_at = ?2, last_error = NULL WHERE id = ?1 AND state <> 'sent'";
    for mail in mails {
        tx.execute(sql, args![&mail.id, now]).await?;
    }
    if first.kind.can_wait() {
        let sql = format!(
            "UPDATE outbox SET due_at = ?2 WHERE user_id = ?1 AND state = 'due' AND due_at < ?2 AND kind IN ({WAITING})"
        );
        tx.execute(&sql, args![&first.user_id, now.plus_seconds(DIGEST)]).await?;
    }
    tx.commit().await
}

/// Writes that a try failed: the mail waits for the next one, or is dead if this was the last or `is_final`.
pub async fn failed(db: &Db, mail: &DueMail, cause: &str, is_final: bool, now: Timestamp) -> Result<(), DbError> {
    // A sender that was slower than its lease does not take the row from the sender that has it now.
    let sql = "UPDATE outbox SET state = ?3, due_at = ?4, last_error = ?5
               WHERE id = ?1 AND tries = ?2 AND state = 'due' RETURNING 1";
    let is_dead = is_final || mail.tries >= MOST_TRIES;
    let (state, due) = if is_dead { ("dead", now) } else { ("due", now.plus_seconds(wait(mail.tries))) };
    db.single::<Affected>(Purpose::Revoking, sql, args![&mail.id, mail.tries, state, due, cause]).await.map(drop)
}

/// Seconds to wait behind so many tries.
fn wait(tries: i64) -> i64 {
    let doublings = u32::try_from(tries - 1).unwrap_or(0).min(20);
    (FIRST_WAIT << doublings).min(LONGEST_WAIT)
}

/// Purges rows of mails that were sent, or given up, long ago: after `most_days` at the latest.
pub async fn purge(db: &Db, most_days: i64, now: Timestamp, most: i64) -> Result<(), DbError> {
    let sql = "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE state = ?1 AND due_at <= ?2 LIMIT ?3)";
    for (state, days) in [("sent", SENT_KEPT), ("dead", DEAD_KEPT)] {
        db.hot::<Affected>(sql, args![state, now.plus_seconds(-most_days.min(days) * 86_400), most]).await?;
    }
    Ok(())
}

/// A mail as admins see it: neither its text nor what the text is made of.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Mail {
    /// The id.
    pub id: MailId,
    /// Its kind.
    pub kind: String,
    /// The recipient.
    pub user_id: UserId,
    /// The recipient's address.
    pub recipient: String,
    /// `due`, `sent` or `dead`.
    pub state: String,
    /// Tries so far.
    pub tries: i64,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it is tried next; null when it is not.
    pub due_at: Option<Timestamp>,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
}

impl FromRow for Mail {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            kind: row.take()?,
            user_id: row.take()?,
            recipient: row.take()?,
            state: row.take()?,
            tries: row.take()?,
            last_error: row.take()?,
            created_at: row.take()?,
            due_at: row.take()?,
            sent_at: row.take()?,
        })
    }
}

const COLUMNS: &str =
    "id, kind, user_id, recipient, state, tries, last_error, created_at, iif(state = 'due', due_at, NULL), sent_at";

/// The tenant's mails, the newest first: in this state, and to an address with this part.
pub async fn list(
    reads: &dyn Rows,
    tenant: &TenantId,
    (state, q): (Option<&str>, Option<&str>),
    page: &PageRequest,
) -> Result<Vec<Mail>, DbError> {
    let (at, id) = page.after();
    let sought = any_has("?6", &["recipient"]);
    let sql = format!(
        "SELECT {COLUMNS} FROM outbox
         WHERE tenant_id = ?1 AND (created_at, id) < (?2, ?3) AND (?4 IS NULL OR state = ?4)
           AND (?6 IS NULL OR {sought})
         ORDER BY created_at DESC, id DESC LIMIT ?5"
    );
    reads.list(&sql, args![tenant, at, id, state, page.rows(), q.map(pattern)]).await
}

/// One of the tenant's mails.
pub async fn find(reads: &dyn Rows, tenant: &TenantId, id: &str) -> Result<Option<Mail>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM outbox WHERE id = ?2 AND tenant_id = ?1");
    reads.optional(&sql, args![tenant, id]).await
}

/// Makes a dead mail due again, with all its tries; `None`: it is not dead, or not the tenant's, or for somebody whose account is
/// deactivated.
pub async fn requeue(tx: &Tx<'_>, tenant: &TenantId, id: &str, now: Timestamp) -> Result<Option<Mail>, DbError> {
    let sql = format!(
        "UPDATE outbox SET state = 'due', tries = 0, due_at = ?3
         WHERE id = ?2 AND tenant_id = ?1 AND state = 'dead'
           AND EXISTS (SELECT 1 FROM users u WHERE u.id = outbox.user_id AND u.deactivated_at IS NULL) RETURNING {COLUMNS}"
    );
    tx.optional(&sql, args![tenant, id, now]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour() {
        let waits: Vec<i64> = (1..=MOST_TRIES).map(wait).collect();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
    }

    /// What is stored is read, and `take` knows every kind.
    #[test]
    fn kinds_are_stored_by_their_words() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_value(kind.as_str().into()).unwrap(), kind);
            let is_among = |words: &str| words.split(", ").any(|word| word == format!("'{}'", kind.as_str()));
            assert!(is_among(KINDS));
            assert_eq!(is_among(WAITING), kind.can_wait(), "{kind:?}");
        }
        assert!(Kind::from_value("other".into()).is_err());
    }
}
