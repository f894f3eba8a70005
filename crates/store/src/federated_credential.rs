//! Tables `federated_credentials` and `assertions_seen`: the workloads that an agent trusts, which get credentials of it without a secret.

use std::collections::BTreeMap;

use common::{
    id::{AgentId, CredentialId, FederatedCredentialId, TenantId},
    json,
    scope::Patterns,
    secret::Digest,
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Purpose, Reads, Row, Rows, Tx},
    key_set::Keys,
    page::PageRequest,
};

/// Federated credentials of one agent at most.
pub const MOST: i64 = 32;
/// Live credentials that one of them may have given at most.
pub const MOST_LIVE: i64 = 200;

/// A federated credential, as a caller that may read its agent sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FederatedCredential {
    /// The id, which a workload sends as `client_id`.
    pub id: FederatedCredentialId,
    /// The name.
    pub name: String,
    /// The issuer of the assertions.
    pub issuer: String,
    /// What their `aud` must hold.
    pub audience: String,
    /// What their `sub` must be; `*` stands for characters other than `:` and `/`.
    pub subject: String,
    /// Further claims that must have these values.
    pub claims: BTreeMap<String, String>,
    /// The patterns that a credential carries at most.
    pub scope: Patterns,
    /// Where the keys of the issuer are; null: the issuer's discovery document says it, or they are pasted.
    pub jwks_uri: Option<String>,
    /// Whether the keys were pasted, and are never fetched.
    pub has_pasted_keys: bool,
    /// Whether an assertion is taken once.
    pub single_use: bool,
    /// How long a credential lives at most, seconds.
    pub expires_in: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// The id of the user that made it.
    pub created_by: String,
    /// When a workload last got a credential.
    pub last_used_at: Option<Timestamp>,
    /// Live credentials that it has given.
    pub live_credentials: i64,
    /// When the issuer's keys were last fetched; null: never.
    pub keys_fetched_at: Option<Timestamp>,
    /// Why they could not be fetched when that was last tried; null: they could.
    pub keys_failure: Option<String>,
    /// Its tenant.
    #[serde(skip)]
    pub tenant: TenantId,
    /// Its agent.
    #[serde(skip)]
    pub agent: AgentId,
    /// Where the keys come from, or the keys.
    #[serde(skip)]
    pub keys: Keys,
}

impl FromRow for FederatedCredential {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (id, tenant, agent) = (row.take()?, row.take()?, row.take()?);
        let (name, issuer, audience, subject) = (row.take()?, row.take()?, row.take()?, row.take()?);
        let (claims, scope) = (row.take()?, row.take()?);
        let keys = Option::<Keys>::from_row(row)?.ok_or(DbError::Row("a federated credential without keys"))?;
        Ok(Self {
            id,
            name,
            issuer,
            audience,
            subject,
            claims,
            scope,
            jwks_uri: keys.jwks_uri().map(str::to_owned),
            has_pasted_keys: matches!(keys, Keys::Pasted(_)),
            single_use: row.take()?,
            expires_in: row.take()?,
            created_at: row.take()?,
            created_by: row.take()?,
            last_used_at: row.take()?,
            live_credentials: row.take()?,
            keys_fetched_at: row.take()?,
            keys_failure: row.take()?,
            tenant,
            agent,
            keys,
        })
    }
}

/// The columns, at the moment `now`.
fn select(now: &str) -> String {
    format!(
        "SELECT fed.id, fed.tenant_id, fed.agent_id, fed.name, fed.issuer, fed.audience, fed.subject, fed.claims, fed.scope, fed.key_source, fed.keys,
                fed.single_use, fed.life, fed.created_at, fed.created_by, fed.last_used_at,
                (SELECT count(*) FROM credentials c WHERE c.federated_id = fed.id AND c.revoked_at IS NULL AND c.expires_at > {now}) AS live,
                s.fetched_at, s.failure
         FROM federated_credentials fed LEFT JOIN key_sets s ON s.source = fed.key_source"
    )
}

/// Those of an agent, the newest first.
pub async fn list(
    reads: &dyn Rows,
    agent: &AgentId,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Vec<FederatedCredential>, DbError> {
    let (at, id) = page.after();
    let sql = select("?5")
        + " WHERE fed.agent_id = ?1 AND (fed.created_at, fed.id) < (?2, ?3) ORDER BY fed.created_at DESC, fed.id DESC LIMIT ?4";
    reads.list(&sql, args![agent, at, id, page.rows(), now]).await
}

/// The one with this id, of any agent: what a workload sends names no other.
pub async fn find(reads: &dyn Rows, id: &str, now: Timestamp) -> Result<Option<FederatedCredential>, DbError> {
    reads.optional(&(select("?2") + " WHERE fed.id = ?1"), args![id, now]).await
}

/// One to be stored.
pub struct New<'a> {
    /// The id.
    pub id: &'a FederatedCredentialId,
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The agent.
    pub agent: &'a AgentId,
    /// The name.
    pub name: &'a str,
    /// The issuer.
    pub issuer: &'a str,
    /// The audience.
    pub audience: &'a str,
    /// The pattern of subjects.
    pub subject: &'a str,
    /// Further claims.
    pub claims: &'a BTreeMap<String, String>,
    /// The patterns of scopes.
    pub scope: &'a Patterns,
    /// The keys.
    pub keys: &'a Keys,
    /// Whether an assertion is taken once.
    pub single_use: bool,
    /// The life of a credential at most, seconds.
    pub life: i64,
    /// The id of the user that makes it.
    pub by: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// The outcome of storing one.
#[derive(Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is there now.
    Created,
    /// The agent has another one of this name.
    Taken,
    /// The agent has as many as it may.
    TooMany,
}

/// Stores one.
pub async fn insert(tx: &Tx<'_>, new: &New<'_>) -> Result<Inserted, DbError> {
    let known = "SELECT 1 FROM federated_credentials WHERE agent_id = ?1 AND name = ?2";
    if tx.optional::<Affected>(known, args![new.agent, new.name]).await?.is_some() {
        return Ok(Inserted::Taken);
    }
    let count = "SELECT count(*) FROM federated_credentials WHERE agent_id = ?1";
    if tx.optional::<i64>(count, args![new.agent]).await?.unwrap_or(0) >= MOST {
        return Ok(Inserted::TooMany);
    }
    let (source, pasted) = new.keys.to_columns();
    let sql =
        "INSERT INTO federated_credentials (id, tenant_id, agent_id, name, issuer, audience, subject, claims, scope,
                                                  key_source, keys, single_use, life, created_at, created_by)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    let row = args![
        new.id,
        new.tenant,
        new.agent,
        new.name,
        new.issuer,
        new.audience,
        new.subject,
        json::to_text(&serde_json::json!(new.claims)),
        new.scope.to_column(),
        source,
        pasted,
        new.single_use,
        new.life,
        new.now,
        new.by
    ];
    tx.execute(sql, row).await?;
    Ok(Inserted::Created)
}

/// Deletes one, and ends the credentials that it has given; gives their ids.
pub async fn delete(tx: &Tx<'_>, id: &FederatedCredentialId, now: Timestamp) -> Result<Vec<String>, DbError> {
    tx.execute("DELETE FROM federated_credentials WHERE id = ?1", args![id]).await?;
    let sql = "UPDATE credentials SET revoked_at = ?2 WHERE federated_id = ?1 AND revoked_at IS NULL AND expires_at > ?2 RETURNING id";
    tx.list(sql, args![id, now]).await
}

/// Notes that a credential was given for this one. `false`: it is gone, or has given as many as it may.
pub async fn give(
    tx: &Tx<'_>,
    id: &FederatedCredentialId,
    credential: &CredentialId,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "UPDATE federated_credentials SET last_used_at = ?2
               WHERE id = ?1 AND (SELECT count(*) FROM credentials c
                                  WHERE c.federated_id = ?1 AND c.revoked_at IS NULL AND c.expires_at > ?2) < ?3 RETURNING 1";
    if tx.optional::<Affected>(sql, args![id, now, MOST_LIVE]).await?.is_none() {
        return Ok(false);
    }
    tx.execute("UPDATE credentials SET federated_id = ?2 WHERE id = ?1", args![credential, id]).await?;
    Ok(true)
}

const SPEND: &str =
    "INSERT INTO assertions_seen (digest, expires_at) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING RETURNING 1";

/// Takes an assertion that is known until a moment; `false`: it was taken before.
pub async fn spend(tx: &Tx<'_>, assertion: &Digest, until: Timestamp) -> Result<bool, DbError> {
    Ok(tx.optional::<Affected>(SPEND, args![assertion, until]).await?.is_some())
}

/// The same without a transaction.
pub async fn spend_at_once(db: &Db, assertion: &Digest, until: Timestamp) -> Result<bool, DbError> {
    match db.hot::<Affected>(SPEND, args![assertion, until]).await {
        // What gives back a right proves itself too.
        Err(DbError::Full) => {
            Ok(!db.single::<Affected>(Purpose::Revoking, SPEND, args![assertion, until]).await?.is_empty())
        }
        taken => Ok(!taken?.is_empty()),
    }
}

/// Purges assertions that nobody takes any more.
pub async fn purge_assertions(db: &Db, now: Timestamp, most: i64) -> Result<(), DbError> {
    let sql = "DELETE FROM assertions_seen WHERE digest IN (SELECT digest FROM assertions_seen WHERE expires_at <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![now, most]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use crate::{agent::tree, credential, db::Purpose, testing::TestDb};

    /// R171: an archived agent trusts no workload any more; nor does any agent after a backup was restored.
    #[tokio::test]
    async fn what_is_trusted_ends_with_the_agent_and_after_a_restored_backup() {
        let t = TestDb::new();
        let ada = t.ada().await;
        for name in ["scout", "other"] {
            t.agent(&ada, name, "*").await;
        }
        t.execute(
            "INSERT INTO federated_credentials (id, tenant_id, agent_id, name, issuer, audience, subject, claims, scope, keys,
                                                single_use, life, created_at, created_by)
             SELECT 'fed_' || name, tenant_id, id, 'ci', 'i', 'a', 's', '{}', '*', '[]', 1, 60, 1, owner_id FROM agents",
        )
        .await
        .unwrap();
        let rows = async || t.texts("SELECT id FROM federated_credentials ORDER BY id").await;
        let scout = t.texts("SELECT id FROM agents WHERE name = 'scout'").await.remove(0);
        let tx = t.db().begin(Purpose::Revoking).await.unwrap();
        tree::archive(&tx, &scout.try_into().unwrap(), t.now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(rows().await, ["fed_other"]);
        let tx = t.db().begin(Purpose::Revoking).await.unwrap();
        credential::revoke_issued_before(&tx, t.now(), t.now()).await.unwrap();
        tx.commit().await.unwrap();
        assert!(rows().await.is_empty());
    }
}
