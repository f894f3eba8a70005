//! Table `users`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args, credential,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx, Value},
    outbox::Kind,
    page::{PageRequest, any_has, like, pattern},
};
use common::{
    email,
    error::{ApiError, Code},
    id::{TenantId, UserId},
    role::Role,
    time::Timestamp,
};

/// A user, as admins may see them.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The address as it was written.
    pub email: String,
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// Whether the account may be used.
    pub active: bool,
    /// When the user was created.
    pub created_at: Timestamp,
    /// When the account was deactivated.
    pub deactivated_at: Option<Timestamp>,
    /// The user who deactivated it.
    pub deactivated_by: Option<String>,
    /// The last sign-in.
    pub last_login_at: Option<Timestamp>,
    /// Whether there is a second factor.
    pub second_factor: bool,
}

impl FromRow for User {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            email: row.take()?,
            name: row.take()?,
            role: row.take()?,
            active: row.take()?,
            created_at: row.take()?,
            deactivated_at: row.take()?,
            deactivated_by: row.take()?,
            last_login_at: row.take()?,
            second_factor: row.take()?,
        })
    }
}

const COLUMNS: &str =
    "id, email, name, role, deactivated_at IS NULL, created_at, deactivated_at, deactivated_by, last_login_at,
     EXISTS (SELECT 1 FROM factors f WHERE f.user_id = users.id AND f.confirmed_at IS NOT NULL) AS sf";

/// A user to be stored.
pub struct New<'a> {
    /// The id.
    pub id: &'a UserId,
    /// The tenant.
    pub tenant_id: &'a TenantId,
    /// The address, checked.
    pub email: &'a str,
    /// The name, checked.
    pub name: &'a str,
    /// The role.
    pub role: Role,
    /// The password's hash, if there is a password.
    pub password_hash: Option<&'a str>,
    /// Now.
    pub created_at: Timestamp,
}

/// Stores a user; `false`: the address is taken in this tenant.
pub async fn insert(tx: &Tx<'_>, new: &New<'_>) -> Result<bool, DbError> {
    let inserted = tx
        .optional::<Affected>(
            "INSERT INTO users (id, tenant_id, email, email_key, name, role, password_hash, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (tenant_id, email_key) DO NOTHING RETURNING 1",
            args![
                new.id,
                new.tenant_id,
                new.email,
                email::key(new.email),
                new.name,
                new.role.as_str(),
                new.password_hash,
                new.created_at
            ],
        )
        .await?;
    Ok(inserted.is_some())
}

/// A user of the tenant.
pub async fn find(reads: &dyn Rows, tenant: &TenantId, id: &str) -> Result<Option<User>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id = ?2 AND tenant_id = ?1 AND deleted_at IS NULL");
    reads.optional(&sql, args![tenant, id]).await
}

/// The user of the tenant with this id; absent and another tenant's are the same 404.
pub async fn get(reads: &dyn Rows, tenant: &TenantId, id: &str) -> Result<User, ApiError> {
    find(reads, tenant, id).await?.ok_or_else(|| Code::UserNotFound.into())
}

/// The filter of a list of users.
#[derive(Default)]
pub struct Filter<'a> {
    /// A part of name or address.
    pub q: Option<&'a str>,
    /// The role.
    pub role: Option<Role>,
    /// Active or not.
    pub active: Option<bool>,
    /// How the account stands.
    pub state: Option<Account>,
    /// The order.
    pub sort: Sort,
}

/// How an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// Its person has signed in, and may.
    Active,
    /// Its person may sign in, and never has.
    Invited,
    /// Its person may not sign in.
    Deactivated,
}

impl Account {
    /// The words, as they are asked for.
    pub const WORDS: &str = "active, invited, deactivated";

    /// The state that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "active" => Some(Self::Active),
            "invited" => Some(Self::Invited),
            "deactivated" => Some(Self::Deactivated),
            _ => None,
        }
    }

    const fn sql(state: Option<Self>) -> &'static str {
        match state {
            None => "",
            Some(Self::Active) => " AND deactivated_at IS NULL AND last_login_at IS NOT NULL",
            Some(Self::Invited) => " AND deactivated_at IS NULL AND last_login_at IS NULL",
            Some(Self::Deactivated) => " AND deactivated_at IS NOT NULL",
        }
    }
}

/// The order of a list of users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The newest first.
    #[default]
    Created,
    /// By address.
    Email,
    /// By name, whatever its case.
    Name,
    /// The last sign-in, the latest first; a user who never signed in comes last.
    LastLogin,
}

impl Sort {
    /// The words, as they are asked for.
    pub const WORDS: &str = "created_at, name, email, last_login_at";

    /// The order that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "created_at" => Some(Self::Created),
            "email" => Some(Self::Email),
            "name" => Some(Self::Name),
            "last_login_at" => Some(Self::LastLogin),
            _ => None,
        }
    }

    /// Where a user stands in this order, as a page's place: a time, and an id, an address, or an id and a name.
    pub fn place(self, user: &User) -> (Timestamp, String) {
        match self {
            Self::Created => (user.created_at, user.id.to_string()),
            Self::Email => (Timestamp::from_millis(0), email::key(&user.email)),
            // As SQLite's `lower` writes it: an id has no blank, a name can have some.
            Self::Name => (Timestamp::from_millis(0), format!("{} {}", user.id, user.name.to_ascii_lowercase())),
            Self::LastLogin => (user.last_login_at.unwrap_or(Timestamp::from_millis(0)), user.id.to_string()),
        }
    }
}

/// The tenant's users.
pub async fn list(
    reads: &dyn Rows,
    tenant: &TenantId,
    filter: &Filter<'_>,
    page: &PageRequest,
) -> Result<Vec<User>, DbError> {
    let (at, id) = page.after();
    let (at, id): (Value, Value) = match filter.sort {
        Sort::Name => {
            let (id, name) = id.split_once(' ').unwrap_or_default();
            (name.into(), id.into())
        }
        _ => (at.into(), id.into()),
    };
    let (behind, sorted) = match filter.sort {
        Sort::Created => ("(created_at, id) < (?2, ?3)", "created_at DESC, id DESC"),
        Sort::Email => ("?2 IS NOT NULL AND email_key > ?3", "email_key"),
        // Not a comparison of two values at once: by that SQLite does not find a place in an index of an expression.
        Sort::LastLogin => (
            "ifnull(last_login_at, 0) <= ?2 AND (ifnull(last_login_at, 0) < ?2 OR id < ?3)",
            "ifnull(last_login_at, 0) DESC, id DESC",
        ),
        Sort::Name => ("lower(name) >= ?2 AND (lower(name) > ?2 OR id > ?3)", "lower(name), id"),
    };
    let named = any_has("?4", &["name"]);
    let sql = format!(
        "SELECT {COLUMNS} FROM users
         WHERE tenant_id = ?1 AND {behind} AND deleted_at IS NULL
           AND (?4 IS NULL OR email_key LIKE ?8 ESCAPE '\\' OR {named})
           AND (?5 IS NULL OR role = ?5) AND (?6 IS NULL OR (deactivated_at IS NULL) = ?6){}
         ORDER BY {sorted} LIMIT ?7",
        Account::sql(filter.state)
    );
    // Compared in the form in which addresses are: a pattern of the address as written would be compared by the letters of ASCII alone.
    let key = filter.q.map(|q| like(&email::key(q)));
    let (role, active) = (filter.role.map(Role::as_str), filter.active);
    let row = args![tenant, at, id, filter.q.map(pattern), role, active, page.rows(), key];
    reads.list(&sql, row).await
}

/// The recipient of a message.
pub struct Addressee {
    /// The id.
    pub id: UserId,
    /// The address.
    pub email: String,
}

impl FromRow for Addressee {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { id: row.take()?, email: row.take()? })
    }
}

/// A person and the tenant's active admins, each once.
pub async fn owner_and_admins(reads: &dyn Rows, tenant: &TenantId, owner: &UserId) -> Result<Vec<Addressee>, DbError> {
    let sql = "SELECT id, email FROM users WHERE id = ?2 AND tenant_id = ?1 AND deactivated_at IS NULL
               UNION
               SELECT * FROM (SELECT id, email FROM users
                              WHERE tenant_id = ?1 AND role = 'admin' AND deactivated_at IS NULL ORDER BY id LIMIT 100)";
    reads.list(sql, args![tenant, owner]).await
}

/// The data of an account that a sign-in needs.
pub struct Login {
    /// The user.
    pub id: UserId,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The address as it was written.
    pub email: String,
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The password's hash, if there is a password.
    pub password_hash: Option<String>,
    /// Whether the account may be used.
    pub is_active: bool,
}

impl FromRow for Login {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            tenant_id: row.take()?,
            email: row.take()?,
            name: row.take()?,
            role: row.take()?,
            password_hash: row.take()?,
            is_active: row.take()?,
        })
    }
}

/// The account of an address, in the tenant with this slug or, without one, in the tenant of the bootstrap.
pub async fn find_login(reads: &dyn Rows, tenant: Option<&str>, email: &str) -> Result<Option<Login>, DbError> {
    reads
        .optional(
            "SELECT u.id, u.tenant_id, u.email, u.name, u.role, u.password_hash, u.deactivated_at IS NULL
             FROM users u JOIN tenants t ON t.id = u.tenant_id
             WHERE u.email_key = ?2 AND t.id = iif(?1 IS NULL, (SELECT tenant_id FROM bootstrap),
                                                               (SELECT id FROM tenants WHERE slug = ?1))",
            args![tenant, email::key(email)],
        )
        .await
}

/// The account of a user, as a sign-in needs it.
pub async fn login_of(reads: &dyn Rows, user: &UserId) -> Result<Option<Login>, DbError> {
    let sql = "SELECT id, tenant_id, email, name, role, password_hash, deactivated_at IS NULL
               FROM users WHERE id = ?1 AND deleted_at IS NULL";
    reads.optional(sql, args![user]).await
}

/// Whether it was proved that the person reads the mail of the address that the account has.
pub async fn has_verified_email(reads: &dyn Rows, user: &UserId) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM users WHERE id = ?1 AND email_verified_at IS NOT NULL";
    Ok(reads.optional::<Affected>(sql, args![user]).await?.is_some())
}

/// Whether anybody has ever used the account: with a password, an identity, a second factor or a credential, or by a sign-in. One that was
/// added for a person is not used before that person comes.
pub async fn is_used(reads: &dyn Rows, user: &UserId) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM users WHERE id = ?1 AND (password_hash IS NOT NULL OR last_login_at IS NOT NULL
                   OR EXISTS (SELECT 1 FROM identities i WHERE i.user_id = ?1)
                   OR EXISTS (SELECT 1 FROM factors f WHERE f.user_id = ?1)
                   OR EXISTS (SELECT 1 FROM credentials c WHERE c.user_id = ?1 AND c.kind IN ('session', 'pat')))";
    Ok(reads.optional::<Affected>(sql, args![user]).await?.is_some())
}

/// Whether the person has ever signed in.
pub async fn has_signed_in(reads: &dyn Rows, user: &UserId) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM users WHERE id = ?1 AND last_login_at IS NOT NULL";
    Ok(reads.optional::<Affected>(sql, args![user]).await?.is_some())
}

/// Records that the person reads the mail of the address that the account has.
pub async fn verify_email(tx: &Tx<'_>, user: &UserId, now: Timestamp) -> Result<(), DbError> {
    tx.execute("UPDATE users SET email_verified_at = ?2 WHERE id = ?1", args![user, now]).await
}

/// Records a sign-in at this moment, or none for one that is not finished, and, where the hash was made anew, stores it. `false`: the
/// account was changed meanwhile (its password, or it was deactivated), and the sign-in must be refused.
pub async fn signed_in(
    tx: &Tx<'_>,
    login: &Login,
    rehashed: Option<&str>,
    at: Option<Timestamp>,
) -> Result<bool, DbError> {
    let sql = "UPDATE users SET last_login_at = ifnull(?2, last_login_at), password_hash = ifnull(?3, password_hash)
               WHERE id = ?1 AND password_hash IS ?4 AND deactivated_at IS NULL RETURNING 1";
    let row = args![&login.id, at, rehashed, login.password_hash.as_deref()];
    Ok(tx.optional::<Affected>(sql, row).await?.is_some())
}

/// Whether an account of another tenant has this address too.
pub async fn has_namesake(tx: &Tx<'_>, tenant: &TenantId, email: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM tenants t
               WHERE t.id <> ?1 AND EXISTS (SELECT 1 FROM users u WHERE u.tenant_id = t.id AND u.email_key = ?2) LIMIT 1";
    Ok(tx.optional::<Affected>(sql, args![tenant, email::key(email)]).await?.is_some())
}

/// Sets a password's hash; `false`: there is no such user in the tenant.
pub async fn set_password(tx: &Tx<'_>, tenant: &TenantId, id: &str, hash: &str) -> Result<bool, DbError> {
    let sql = "UPDATE users SET password_hash = ?3 WHERE id = ?2 AND tenant_id = ?1 AND deleted_at IS NULL RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![tenant, id, hash]).await?.is_some())
}

/// The hash of a person's password; `None`: there is none yet.
pub async fn password_hash(reads: &dyn Rows, user: &UserId) -> Result<Option<String>, DbError> {
    let sql = "SELECT password_hash FROM users WHERE id = ?1 AND password_hash IS NOT NULL";
    reads.optional(sql, args![user]).await
}

/// Sets a password's hash in the place of another one; `false`: another hash is stored by now.
pub async fn change_password(tx: &Tx<'_>, user: &UserId, was: Option<&str>, hash: &str) -> Result<bool, DbError> {
    let sql = "UPDATE users SET password_hash = ?3 WHERE id = ?1 AND password_hash IS ?2 RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![user, was, hash]).await?.is_some())
}

/// Whether the user is not an active admin, or there is another one who can sign in by the ways that the tenant allows: a tenant never loses
/// its last. A password can be set by a link that is handed over. `has_mail`: a parameter, whether links can be mailed.
fn keeps_an_admin(has_mail: &str) -> String {
    has_an_admin("AND o.id <> users.id", has_mail)
}

/// The same with a condition on the admin who is left: `o` in SQL.
fn has_an_admin(who: &str, has_mail: &str) -> String {
    format!(
        "(role <> 'admin' OR deactivated_at IS NOT NULL OR EXISTS (
    SELECT 1 FROM users o JOIN tenants t ON t.id = o.tenant_id
    WHERE o.tenant_id = users.tenant_id AND o.role = 'admin' AND o.deactivated_at IS NULL {who}
      AND (instr(t.ways, 'password') > 0 OR ({has_mail} AND instr(t.ways, 'link') > 0)
           OR (instr(t.ways, 'oidc') > 0
               AND EXISTS (SELECT 1 FROM identities i WHERE i.user_id = o.id AND i.last_used_at IS NOT NULL)))))"
    )
}

/// Whether the user is not an active admin, or the tenant has one who can sign in by the ways that it allows: also this one. `has_mail`:
/// whether links can be mailed.
pub async fn leaves_an_admin(reads: &dyn Rows, id: &UserId, has_mail: bool) -> Result<bool, DbError> {
    let sql = format!("SELECT 1 FROM users WHERE id = ?1 AND {}", has_an_admin("", "?2"));
    Ok(reads.optional::<Affected>(&sql, args![id, has_mail]).await?.is_some())
}

/// The outcome of a change of a user.
#[derive(Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// It is done.
    Done,
    /// The address is another user's.
    EmailTaken,
    /// The tenant would have no active admin who can sign in.
    LastAdmin,
}

/// Stores address, name and role of an existing user. `has_mail`: whether links can be mailed.
pub async fn update(tx: &Tx<'_>, tenant: &TenantId, user: &User, has_mail: bool) -> Result<UpdateOutcome, DbError> {
    let (key, kept) = (email::key(&user.email), keeps_an_admin("?7"));
    let sql = format!(
        "UPDATE users SET email = ?3, email_key = ?4, name = ?5, role = ?6
         WHERE id = ?2 AND tenant_id = ?1 AND deleted_at IS NULL AND (?6 = 'admin' OR {kept})
           AND NOT EXISTS (SELECT 1 FROM users o WHERE o.tenant_id = ?1 AND o.email_key = ?4 AND o.id <> ?2)
         RETURNING 1"
    );
    let row = args![tenant, &user.id, &user.email, &key, &user.name, user.role.as_str(), has_mail];
    if tx.optional::<Affected>(&sql, row).await?.is_none() {
        let sql = "SELECT 1 FROM users WHERE tenant_id = ?1 AND email_key = ?2 AND id <> ?3";
        let taken = tx.optional::<Affected>(sql, args![tenant, key, &user.id]).await?;
        return Ok(if taken.is_some() { UpdateOutcome::EmailTaken } else { UpdateOutcome::LastAdmin });
    }
    // Mails that wait to be sent go to the new address, but for what tells the old one of its end, and what asks a third one.
    let sql = "UPDATE outbox SET recipient = ?2
               WHERE user_id = ?1 AND state <> 'sent' AND recipient <> ?2 AND kind NOT IN ('email_changed', 'new_address')";
    tx.execute(sql, args![&user.id, &user.email]).await?;
    Ok(UpdateOutcome::Done)
}

/// Makes a user an active admin, with this password if there is one.
pub async fn make_admin(tx: &Tx<'_>, user: &UserId, hash: Option<&str>) -> Result<(), DbError> {
    let sql = "UPDATE users SET role = 'admin', deactivated_at = NULL, deactivated_by = NULL, password_hash = ifnull(?2, password_hash)
               WHERE id = ?1 AND deleted_at IS NULL";
    tx.execute(sql, args![user, hash]).await
}

/// Deactivates an account; `false`: it is not active, or its user is the tenant's last active admin. Sessions end for good; all other
/// credentials of the account are refused until it is activated. `has_mail`: whether links can be mailed.
pub async fn deactivate(
    tx: &Tx<'_>,
    user: &UserId,
    by: &UserId,
    has_mail: bool,
    now: Timestamp,
) -> Result<bool, DbError> {
    let kept = keeps_an_admin("?4");
    let sql = format!(
        "UPDATE users SET deactivated_at = ?2, deactivated_by = ?3
         WHERE id = ?1 AND deactivated_at IS NULL AND {kept} RETURNING 1"
    );
    if tx.optional::<Affected>(&sql, args![user, now, by, has_mail]).await?.is_none() {
        return Ok(false);
    }
    credential::revoke_sessions(tx, user, None, now).await?;
    tx.execute("DELETE FROM outbox WHERE user_id = ?1 AND state <> 'sent'", args![user]).await?;
    Ok(true)
}

/// The kinds of mail that a person has turned off, of those that people choose.
pub async fn mails_off(reads: &dyn Rows, user: &UserId) -> Result<Vec<Kind>, DbError> {
    let sql = "SELECT mails_off FROM users WHERE id = ?1";
    let off: String = reads.optional(sql, args![user]).await?.unwrap_or_default();
    Ok(Kind::CHOSEN.into_iter().filter(|kind| off.split_ascii_whitespace().any(|word| word == kind.as_str())).collect())
}

/// Turns kinds of mail off, and all others that people choose on. What waits of a kind that is off is not sent.
pub async fn set_mails_off(tx: &Tx<'_>, user: &UserId, off: &[Kind]) -> Result<(), DbError> {
    let words: String = off.iter().map(|kind| format!(" {}", kind.as_str())).collect();
    tx.execute("UPDATE users SET mails_off = ?2 WHERE id = ?1", args![user, format!("{words} ")]).await?;
    let sql = "DELETE FROM outbox WHERE user_id = ?1 AND state = 'due' AND kind = ?2";
    for kind in off {
        tx.execute(sql, args![user, kind.as_str()]).await?;
    }
    Ok(())
}

/// Activates an account again.
pub async fn activate(tx: &Tx<'_>, user: &UserId) -> Result<(), DbError> {
    let sql = "UPDATE users SET deactivated_at = NULL, deactivated_by = NULL WHERE id = ?1 AND deleted_at IS NULL";
    tx.execute(sql, args![user]).await
}

/// Deletes an inactive user who owns no agent: the address is free, and every credential, grant and notification ends.
pub async fn delete(tx: &Tx<'_>, user: &UserId, now: Timestamp) -> Result<(), DbError> {
    let key = format!("deleted {}", user.as_str()); // no address, and nobody else's
    for (sql, args) in [
        (
            "UPDATE users SET deleted_at = ?2, email_key = ?3, password_hash = NULL
             WHERE id = ?1 AND deactivated_at IS NOT NULL",
            args![user, now, key],
        ),
        (
            "UPDATE credentials SET revoked_at = ?2 WHERE user_id = ?1 AND agent_id IS NULL AND revoked_at IS NULL",
            args![user, now],
        ),
        ("DELETE FROM grants WHERE subject_id = ?1", args![user]),
        ("DELETE FROM notifications WHERE user_id = ?1", args![user]),
        ("DELETE FROM outbox WHERE user_id = ?1 AND state <> 'sent'", args![user]),
    ] as [(&str, Vec<Value>); 5]
    {
        tx.execute(sql, args).await?;
    }
    Ok(())
}
