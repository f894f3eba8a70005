//! Table `identities`: who a person is at the providers through which they sign in.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx},
    user::Login,
};
use common::{
    id::{IdentityId, UserId},
    time::Timestamp,
};

/// Identities that one person can have.
pub const MOST: i64 = 20;

/// An identity, as its person sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Identity {
    /// The id.
    pub id: IdentityId,
    /// The operator's name for the provider.
    pub provider: String,
    /// The address that the provider said last.
    pub email: Option<String>,
    /// When it was linked.
    pub created_at: Timestamp,
    /// The last sign-in with it.
    pub last_used_at: Option<Timestamp>,
}

impl FromRow for Identity {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            provider: row.take()?,
            email: row.take()?,
            created_at: row.take()?,
            last_used_at: row.take()?,
        })
    }
}

/// A person's identities, whole.
#[derive(Serialize, JsonSchema)]
pub struct Identities {
    /// All of them, the newest first.
    pub items: Vec<Identity>,
}

/// A person's identities, the newest first.
pub async fn list(reads: &dyn Rows, user: &UserId) -> Result<Vec<Identity>, DbError> {
    let sql = "SELECT id, provider, email, created_at, last_used_at FROM identities WHERE user_id = ?1
               ORDER BY created_at DESC, id DESC";
    reads.list(sql, args![user]).await
}

/// An identity with the account that it belongs to.
pub struct Linked {
    /// The identity.
    pub id: IdentityId,
    /// The address that the provider said before.
    pub email: Option<String>,
    /// The account, active or not.
    pub login: Login,
}

impl FromRow for Linked {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { id: row.take()?, email: row.take()?, login: Login::from_row(row)? })
    }
}

/// The account of an identity.
pub async fn find_login(reads: &dyn Rows, issuer: &str, subject: &str) -> Result<Option<Linked>, DbError> {
    let sql =
        "SELECT i.id, i.email, u.id, u.tenant_id, u.email, u.name, u.role, u.password_hash, u.deactivated_at IS NULL
               FROM identities i JOIN users u ON u.id = i.user_id WHERE i.issuer = ?1 AND i.subject = ?2";
    reads.optional(sql, args![issuer, subject]).await
}

/// Whether the person has an identity of this issuer.
pub async fn has_any(reads: &dyn Rows, user: &UserId, issuer: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM identities WHERE user_id = ?1 AND issuer = ?2 LIMIT 1";
    Ok(reads.optional::<Affected>(sql, args![user, issuer]).await?.is_some())
}

/// An identity to be stored.
pub struct New<'a> {
    /// The id.
    pub id: &'a IdentityId,
    /// The person.
    pub user: &'a UserId,
    /// The provider's own name for itself.
    pub issuer: &'a str,
    /// The provider's name for the person.
    pub subject: &'a str,
    /// The operator's name for the provider.
    pub provider: &'a str,
    /// The address that the provider says.
    pub email: Option<&'a str>,
}

/// The outcome of linking an identity.
#[derive(Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is linked now.
    Linked,
    /// It belongs to an account already.
    Taken,
    /// The person has as many as they may.
    TooMany,
}

/// Links an identity to a person.
pub async fn insert(tx: &Tx<'_>, new: &New<'_>, now: Timestamp) -> Result<Inserted, DbError> {
    let known = "SELECT 1 FROM identities WHERE issuer = ?1 AND subject = ?2";
    if tx.optional::<Affected>(known, args![new.issuer, new.subject]).await?.is_some() {
        return Ok(Inserted::Taken);
    }
    let count = "SELECT count(*) FROM identities WHERE user_id = ?1";
    if tx.optional::<i64>(count, args![new.user]).await?.unwrap_or(0) >= MOST {
        return Ok(Inserted::TooMany);
    }
    let sql = "INSERT INTO identities (id, user_id, issuer, subject, provider, email, created_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let row = args![new.id, new.user, new.issuer, new.subject, new.provider, new.email, now];
    tx.execute(sql, row).await?;
    Ok(Inserted::Linked)
}

/// Records a sign-in with an identity; `false`: it is no longer linked to this person.
pub async fn record_use(
    tx: &Tx<'_>,
    (id, user): (&IdentityId, &UserId),
    (provider, email): (&str, Option<&str>),
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE identities SET last_used_at = ?3, provider = ?4, email = ifnull(?5, email)
               WHERE id = ?1 AND user_id = ?2 RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, user, now, provider, email]).await?.is_some())
}

/// Whether the person could still sign in without this identity by the ways that the tenant allows: with a password, with a mailed link, or
/// with another identity. One that lets nobody in can always go. `has_mail`: whether links can be mailed.
pub async fn is_spare(reads: &dyn Rows, user: &UserId, id: &str, has_mail: bool) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM users u JOIN tenants t ON t.id = u.tenant_id WHERE u.id = ?1 AND (
                   instr(t.ways, 'oidc') = 0 OR (u.password_hash IS NOT NULL AND instr(t.ways, 'password') > 0)
                   OR (?3 AND instr(t.ways, 'link') > 0)
                   OR EXISTS (SELECT 1 FROM identities i WHERE i.user_id = ?1 AND i.id <> ?2))";
    Ok(reads.optional::<Affected>(sql, args![user, id, has_mail]).await?.is_some())
}

/// Takes an identity of a person away, and returns the operator's name for its provider. `None`: the person has no such identity.
pub async fn delete(tx: &Tx<'_>, user: &UserId, id: &str) -> Result<Option<String>, DbError> {
    tx.optional("DELETE FROM identities WHERE id = ?2 AND user_id = ?1 RETURNING provider", args![user, id]).await
}

/// Takes all identities of a person away, and returns the operator's names for their providers.
pub async fn delete_all(tx: &Tx<'_>, user: &UserId) -> Result<Vec<String>, DbError> {
    tx.list("DELETE FROM identities WHERE user_id = ?1 RETURNING provider", args![user]).await
}

#[cfg(test)]
mod tests {
    use common::{role::Role, secret::Chance};

    use super::*;
    use crate::{code, db::Purpose, testing::TestDb, user};

    const GOOGLE: &str = "https://accounts.google.com";

    /// R100: an identity is of one account, and ends with it.
    #[tokio::test]
    async fn an_identity_is_of_one_account_and_ends_with_it() {
        let t = TestDb::new();
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await.user;
        let max = t.user(&tenant, "max@example.com", Role::Member).await.user;
        let tx = t.db().begin(Purpose::Durable).await.unwrap();
        for (number, user, outcome) in [(1, &max, Inserted::Linked), (2, &ada, Inserted::Taken)] {
            let id = IdentityId::generate(t.now(), &Chance::seeded(number));
            let new = New { id: &id, user, issuer: GOOGLE, subject: "7", provider: "google", email: None };
            assert_eq!(insert(&tx, &new, t.now()).await.unwrap(), outcome);
        }
        let linked = find_login(&tx, GOOGLE, "7").await.unwrap().unwrap();
        assert_eq!(linked.login.id, max);
        assert!(find_login(&tx, "https://other.example", "7").await.unwrap().is_none());
        assert!(!record_use(&tx, (&linked.id, &ada), ("google", None), t.now()).await.unwrap());
        assert!(record_use(&tx, (&linked.id, &max), ("google", Some("m@example.com")), t.now()).await.unwrap());
        assert!(user::deactivate(&tx, &max, &ada, false, t.now()).await.unwrap());
        assert!(find_login(&tx, GOOGLE, "7").await.unwrap().is_some_and(|linked| !linked.login.is_active));
        user::delete(&tx, &max, t.now()).await.unwrap();
        assert!(find_login(&tx, GOOGLE, "7").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn identities_of_one_person_are_bounded() {
        let t = TestDb::new();
        let ada = t.ada().await.user;
        let tx = t.db().begin(Purpose::Durable).await.unwrap();
        for number in 0..=MOST {
            let id = IdentityId::generate(t.now(), t.chance());
            let subject = number.to_string();
            let new = New { id: &id, user: &ada, issuer: GOOGLE, subject: &subject, provider: "google", email: None };
            let expected = if number < MOST { Inserted::Linked } else { Inserted::TooMany };
            assert_eq!(insert(&tx, &new, t.now()).await.unwrap(), expected, "{number}");
        }
    }

    /// R101: a mailed link proves the address; another address is not proved by it.
    #[tokio::test]
    async fn a_spent_link_verifies_the_address_until_it_changes() {
        let t = TestDb::new();
        let ada = t.ada().await;
        let tx = t.db().begin(Purpose::Durable).await.unwrap();
        assert!(!user::has_verified_email(&tx, &ada.user).await.unwrap());
        for (kind, verifies) in [(code::Kind::Reset, false), (code::Kind::Link, true)] {
            let code = common::secret::OneTimeCode::generate(t.chance());
            let data = serde_json::json!({});
            let new =
                code::New { code: &code, kind, tenant: &ada.tenant, user: Some(&ada.user), agent: None, data: &data };
            code::insert(&tx, &new, t.now()).await.unwrap();
            assert!(code::spend(&tx, kind, &code.digest(), t.now()).await.unwrap().is_some());
            assert_eq!(user::has_verified_email(&tx, &ada.user).await.unwrap(), verifies, "{kind:?}");
        }
        let mut changed = user::get(&tx, &ada.tenant, ada.user.as_str()).await.unwrap();
        changed.email = "ada@example.org".to_owned();
        user::update(&tx, &ada.tenant, &changed, false).await.unwrap();
        assert!(!user::has_verified_email(&tx, &ada.user).await.unwrap());
    }
}
