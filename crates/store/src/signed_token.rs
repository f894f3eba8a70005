//! Table `signed_tokens`: the signed tokens (JWT) that are out, each until its end.
//!
//! A token is known by the digest of its text, as every other credential is. So what is found here was signed here, for this resource and
//! with these claims, and nothing that was made up, changed or signed by somebody else can be found. A token is worth something as long as
//! all credentials that it rests on are: that of the agent or person whose authority it carries, and that of each service that acts.

use std::sync::LazyLock;

use common::{
    id::{CredentialId, ResourceId, SignedTokenId, TenantId},
    secret::Digest,
    time::Timestamp,
};

use crate::{
    args,
    credential::status::{REVOKED, status},
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows, Tx, Value},
    resource::{self, Resource},
};

/// Whether all credentials of a list in JSON are accepted now: live, of an active account and of an agent that runs within its budget.
fn are_accepted(list: &str, now: &str) -> String {
    format!(
        "NOT EXISTS (
             SELECT 1 FROM json_each({list}) j
             LEFT JOIN credentials c ON c.id = j.value
             LEFT JOIN agents a ON a.id = c.agent_id
             LEFT JOIN users u ON u.id = ifnull(a.owner_id, c.user_id)
             WHERE c.id IS NULL OR {} NOT IN ('active', 'expiring')
                OR (a.id IS NOT NULL AND (a.state <> 'running' OR a.spent_cents > a.budget_cents IS TRUE)))",
        status(now, REVOKED)
    )
}

/// A token to be stored.
pub struct New<'a> {
    /// Its `jti`.
    pub id: &'a SignedTokenId,
    /// The digest of its text.
    pub digest: Digest,
    /// The resource that it is for.
    pub resource: &'a ResourceId,
    /// The records of all credentials that it rests on; the first one is that whose authority it carries.
    pub rests_on: &'a [String],
    /// Its `client_id`.
    pub client_id: &'a str,
    /// Its `act`, as JSON.
    pub act: Option<&'a str>,
    /// Names, separated by blanks.
    pub scope: &'a str,
    /// The thumbprint of the key that it is bound to.
    pub bound_to: Option<&'a str>,
    /// When it is made.
    pub created_at: Timestamp,
    /// Its end.
    pub expires_at: Timestamp,
}

static INSERT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO signed_tokens (digest, id, resource_id, credential_id, rests_on, client_id, act, scope, created_at, expires_at, bound_to)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
         WHERE EXISTS (SELECT 1 FROM resources r WHERE r.id = ?3)
           AND NOT EXISTS (SELECT 1 FROM full_credentials f WHERE f.credential_id = ?4 AND f.until > ?9)
           AND {}
         RETURNING 1",
        are_accepted("?5", "?9")
    )
});

impl New<'_> {
    fn args(&self) -> Vec<Value> {
        let first = self.rests_on.first().map(String::as_str).unwrap_or_default();
        args![
            &self.digest,
            self.id,
            self.resource,
            first,
            self.rests_on,
            self.client_id,
            self.act,
            self.scope,
            self.created_at,
            self.expires_at,
            self.bound_to
        ]
    }
}

/// Stores a token, if everything that it rests on is accepted at this moment: between the look at the credential and this statement
/// somebody may have pressed Stop. `false`: it is not, the resource is gone, or there are too many.
///
/// A token that is lost in a power cut before it was used is one that nobody can introspect: it takes no right away from anybody.
pub async fn insert_hot(db: &Db, new: &New<'_>) -> Result<bool, DbError> {
    Ok(!db.hot::<Affected>(&INSERT, new.args()).await?.is_empty())
}

/// The same in a transaction, where there is more to write.
pub async fn insert(tx: &Tx<'_>, new: &New<'_>) -> Result<bool, DbError> {
    Ok(tx.optional::<Affected>(&INSERT, new.args()).await?.is_some())
}

/// What a token rests on, for guards that hear of what has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Footing {
    /// The last epoch of the tenant at this moment.
    pub epoch: i64,
    /// The ids of the records of credentials, and of their agents and persons.
    pub ids: Vec<String>,
    /// Whether such a token is out already: then the trail names it.
    pub is_out: bool,
}

struct Foot {
    resource: Resource,
    epoch: i64,
    is_out: bool,
    ids: [Option<String>; 3],
}

impl FromRow for Foot {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let resource = Resource::from_row(row)?;
        Ok(Self { resource, epoch: row.take()?, is_out: row.take()?, ids: [row.take()?, row.take()?, row.take()?] })
    }
}

static FOOTING: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {}, ifnull((SELECT max(epoch) FROM epochs WHERE tenant_id = ?1), 0) AS epoch,
                EXISTS (SELECT 1 FROM signed_tokens s
                        WHERE s.credential_id = ?4 AND s.resource_id = r.id AND s.expires_at > ?6 AND s.client_id = ?5) AS is_out,
                c.id AS credential, c.agent_id, ifnull(a.owner_id, c.user_id) AS owner
         FROM resources r JOIN json_each(?3) j LEFT JOIN credentials c ON c.id = j.value LEFT JOIN agents a ON a.id = c.agent_id
         WHERE r.identifier = ?2 AND r.tenant_id = ?1",
        crate::resource::COLUMNS
    )
});

/// A resource of the tenant by its identifier, or else by another spelling of it, and what a token for it with these records of credentials
/// rests on; and whether one of this credential for this resource and client is out. It is read before [`insert`] decides: whatever ends
/// between the two has a later epoch. `None`: there is no such resource.
pub async fn footing(
    reads: &dyn Rows,
    (tenant, identifier): (&TenantId, &str),
    rests_on: &[String],
    (credential, client): (&CredentialId, &str),
    now: Timestamp,
) -> Result<Option<(Resource, Footing)>, DbError> {
    let read = async |identifier: &str| {
        reads.list(&FOOTING, args![tenant, identifier, rests_on, credential, client, now]).await
    };
    let mut feet: Vec<Foot> = read(identifier).await?;
    if feet.is_empty()
        && let Some(known) = resource::spelled(reads, tenant, identifier).await?
    {
        feet = read(&known).await?;
    }
    let mut found = None;
    for foot in feet {
        let (_, footing) = found.get_or_insert_with(|| {
            (foot.resource, Footing { epoch: foot.epoch, ids: Vec::new(), is_out: foot.is_out })
        });
        for id in foot.ids.into_iter().flatten() {
            if !footing.ids.contains(&id) {
                footing.ids.push(id);
            }
        }
    }
    Ok(found)
}

/// A token that is out.
#[derive(Debug)]
pub struct SignedToken {
    /// Its `jti`.
    pub id: String,
    /// The record of the credential whose authority it carries.
    pub credential: String,
    /// The records of all credentials that it rests on.
    pub rests_on: Vec<String>,
    /// Its `client_id`.
    pub client_id: String,
    /// Its `act`, as JSON.
    pub act: Option<String>,
    /// Names, separated by blanks.
    pub scope: String,
    /// The thumbprint of the key that it is bound to.
    pub bound_to: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its end.
    pub expires_at: Timestamp,
    /// The resource that it is for.
    pub resource: Resource,
}

impl FromRow for SignedToken {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            credential: row.take()?,
            rests_on: row.take()?,
            client_id: row.take()?,
            act: row.take()?,
            scope: row.take()?,
            bound_to: row.take()?,
            created_at: row.take()?,
            expires_at: row.take()?,
            resource: Resource::from_row(row)?,
        })
    }
}

static FIND: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT s.id, s.credential_id, s.rests_on, s.client_id, s.act, s.scope, s.bound_to, s.created_at, s.expires_at, {}
         FROM signed_tokens s JOIN resources r ON r.id = s.resource_id
         WHERE s.digest = ?1 AND s.expires_at > ?4 AND r.tenant_id = ?2
           AND EXISTS (SELECT 1 FROM json_each(r.introspectors) i WHERE i.value = ?3) AND {}",
        crate::resource::COLUMNS,
        are_accepted("s.rests_on", "?4")
    )
});

/// The token with this text, for one of the resources that `asking`, the id of a user or an agent of the tenant, is for: if everything
/// that it rests on is accepted now. `None` does not say which of all that it is not.
pub async fn find(
    reads: &dyn Rows,
    text: &str,
    (tenant, asking): (&TenantId, &str),
    now: Timestamp,
) -> Result<Option<SignedToken>, DbError> {
    reads.optional(&FIND, args![&Digest::of(text.as_bytes()), tenant, asking, now]).await
}

/// The record of the credential whose authority the token with this text carries, for every caller.
pub async fn credential_of(reads: &dyn Rows, text: &str) -> Result<Option<CredentialId>, DbError> {
    let sql = "SELECT credential_id FROM signed_tokens WHERE digest = ?1";
    reads.optional(sql, args![&Digest::of(text.as_bytes())]).await
}

/// Purges tokens that have ended.
pub async fn purge(db: &Db, now: Timestamp, most: i64) -> Result<(), DbError> {
    let sql =
        "DELETE FROM signed_tokens WHERE digest IN (SELECT digest FROM signed_tokens WHERE expires_at <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![now, most]).await?;
    let sql = "DELETE FROM full_credentials WHERE credential_id IN (SELECT credential_id FROM full_credentials WHERE until <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![now, most]).await.map(drop)
}
