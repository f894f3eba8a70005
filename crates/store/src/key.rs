//! Table `api_keys`, and the rows of `credentials` that are keys' secrets: every statement that names a key for a caller holds
//! the permission's expression.
//!
//! The secret of a bearer is the one row of `credentials` with the key's id that nothing has replaced; one that was replaced
//! may live beside it through its grace. The secret of a webhook is in the key's own row, sealed; the one before is in
//! `former_hook_secrets` through its grace.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    agent, args,
    credential::{
        self, Minter,
        status::{CredentialStatus, status},
    },
    db::{Affected, DbError, FromRow, FromValue, Reads, Row, Rows, Tx, Value},
    page::PageRequest,
    permission::{Binder, PermissionSql},
    subject::Subject,
};
use common::{
    error::{ApiError, Code},
    id::{AgentId, CredentialId, KeyId, TenantId},
    permission::{Action, Relation},
    scope::Patterns,
    time::Timestamp,
};

/// Keys of one agent at most.
const MOST: i64 = 500;

/// The type of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyType {
    /// A bearer for what runs elsewhere.
    External,
    /// A bearer for what runs here.
    Internal,
    /// The secret with which GitHub signs its webhooks.
    Github,
    /// The secret with which Slack signs its requests.
    Slack,
    /// The secret of a sender that signs as Standard Webhooks has it.
    Standard,
}

impl KeyType {
    /// Every type.
    pub const ALL: [Self; 5] = [Self::External, Self::Internal, Self::Github, Self::Slack, Self::Standard];

    /// The word that is stored and answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Internal => "internal",
            Self::Github => "github",
            Self::Slack => "slack",
            Self::Standard => "standard",
        }
    }

    /// The type that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|found| found.as_str() == word)
    }

    /// Whether its secret is a webhook's, which is not a bearer.
    pub const fn is_webhook(self) -> bool {
        matches!(self, Self::Github | Self::Slack | Self::Standard)
    }
}

impl FromValue for KeyType {
    fn from_value(value: Value) -> Result<Self, DbError> {
        Self::from_word(&String::from_value(value)?).ok_or(DbError::Row("not a type of key"))
    }
}

/// A key, as a caller that may read it sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Key {
    /// The id.
    pub id: KeyId,
    /// The name.
    pub name: String,
    /// Its type.
    pub r#type: KeyType,
    /// The part of a bearer's secret that may be shown; null for a webhook's.
    pub prefix: Option<String>,
    /// A bearer's patterns.
    pub scope: Option<Patterns>,
    /// The status of its secret.
    pub status: CredentialStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// The id of the user or agent that made it.
    pub created_by: String,
    /// The id of the user or agent that made its present secret; null: unknown, since it is older than this record.
    pub minted_by: Option<String>,
    /// The record's id of the credential that the secret was made with.
    pub minted_with: Option<String>,
    /// The id of the editor on whose grant the secret rests; null: the maker was the agent's owner or an admin.
    pub grantee: Option<String>,
    /// A bearer's end; null is never.
    pub expires_at: Option<Timestamp>,
    /// The last recorded use of the bearer's secret.
    pub last_used_at: Option<Timestamp>,
    /// The record of the bearer's secret.
    #[serde(skip)]
    pub secret: Option<CredentialId>,
}

fn columns(now: &str) -> String {
    let status = status(now, "c.revoked_at IS NOT NULL OR (c.id IS NULL AND k.sealed IS NULL)");
    format!(
        "k.id, k.name, k.type, c.prefix, c.scope, {status} AS status, k.created_at, k.created_by,
         ifnull(c.minted_by, k.minted_by) AS m, ifnull(c.minted_with, k.minted_with) AS w, ifnull(c.grantee, k.grantee) AS g,
         c.expires_at, c.last_used_at, c.id"
    )
}

const SECRET: &str = "LEFT JOIN credentials c ON c.key_id = k.id AND c.replaced_by IS NULL";

impl Key {
    fn with(id: KeyId, row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id,
            name: row.take()?,
            r#type: row.take()?,
            prefix: row.take()?,
            scope: row.take()?,
            status: row.take()?,
            created_at: row.take()?,
            created_by: row.take()?,
            minted_by: row.take()?,
            minted_with: row.take()?,
            grantee: row.take()?,
            expires_at: row.take()?,
            last_used_at: row.take()?,
            secret: row.take()?,
        })
    }
}

impl FromRow for Key {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let id = row.take()?;
        Self::with(id, row)
    }
}

/// A key and its agent.
pub struct AgentKey {
    /// The agent's id.
    pub agent_id: AgentId,
    /// The agent's name.
    pub agent: String,
    /// The key.
    pub key: Key,
}

/// An agent, perhaps its key, and the answers about both.
struct Decided {
    agent_id: AgentId,
    agent: String,
    owner: String,
    may_read_agent: bool,
    may_read: bool,
    stands: bool,
    may_act_on_agent: bool,
    key: Option<Key>,
}

impl FromRow for Decided {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            agent_id: row.take()?,
            agent: row.take()?,
            owner: row.take()?,
            may_read_agent: row.take()?,
            may_read: row.take()?,
            stands: row.take()?,
            may_act_on_agent: row.take()?,
            key: match row.take::<Option<KeyId>>()? {
                None => None,
                Some(id) => Some(Key::with(id, row)?),
            },
        })
    }
}

/// The key with this id of the agent of that name (`me` is the asking agent's own), if the caller may do `action` with it. An
/// agent that the caller may not read is an absent one, and so is a key, each by the same one statement; readable but not more is a
/// 403 that says what is missing.
pub async fn get(
    reads: &dyn Rows,
    subject: &Subject,
    (name, id): (&str, &str),
    action: Action,
    now: Timestamp,
) -> Result<AgentKey, ApiError> {
    let (column, name) = agent::named(subject, name);
    let mut binder = Binder::default();
    let (now, name, id) = (binder.bind(now), binder.bind(name), binder.bind(id));
    let tenant = binder.bind(&subject.tenant);
    let bound = PermissionSql::new(subject, &mut binder);
    let (stands, may) = bound.parts_on_key(action);
    let sql = format!(
        "SELECT a.id, a.name, u.email, {} AS reads_agent, {} AS reads_key, {stands} AS stands, {may} AS may, {}
         FROM agents a
         JOIN users u ON u.id = a.owner_id
         LEFT JOIN api_keys k ON k.id = {id} AND k.agent_id = a.id
         {SECRET}
         WHERE a.tenant_id = {tenant} AND a.{column} = {name} AND a.archived_at IS NULL",
        bound.on_agent(Action::Read),
        bound.on_key(Action::Read),
        columns(&now),
    );
    let decided = reads.optional::<Decided>(&sql, binder.into_args()).await?;
    let Some(found) = decided.filter(|found| found.may_read_agent) else { return Err(Code::AgentNotFound.into()) };
    let (Some(key), true) = (found.key, found.may_read) else {
        return Err(Code::KeyNotFound.with("agent", found.agent));
    };
    if found.stands && found.may_act_on_agent {
        return Ok(AgentKey { agent_id: found.agent_id, agent: found.agent, key });
    }
    let (of_key, on_agent) = action.on_keys();
    let words = |relations: &[Relation]| relations.iter().map(|relation| relation.as_str()).collect::<Vec<_>>();
    let (mut missing, mut refusal) = (Vec::new(), ApiError::from(Code::PermissionDenied));
    if !found.stands {
        missing.push(format!("one of {1} of the key {0}", key.name, words(of_key).join(", ")));
        refusal = refusal.extra("required_relations", words(of_key));
    }
    if !found.may_act_on_agent {
        let relations = words(on_agent.on_agents());
        missing.push(format!("one of {1} of the agent {0}", found.agent, relations.join(", ")));
        refusal = refusal.extra("required_relations_to_agent", relations);
    }
    let (act, missing) = (action.as_str(), missing.join("; and "));
    let detail = format!("You may read the key {}, but to {act} it you must be {missing}.", key.name);
    Err(refusal.detail(detail).with("owner", found.owner))
}

/// Whether this credential is the secret of a key for programs that run elsewhere. That of a workload has no key.
pub async fn is_external(reads: &dyn Rows, credential: &CredentialId) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM credentials c JOIN api_keys k ON k.id = c.key_id WHERE c.id = ?1 AND k.type = 'external'";
    Ok(reads.optional::<Affected>(sql, args![credential]).await?.is_some())
}

/// The filter of a list of keys.
#[derive(Default)]
pub struct Filter<'a> {
    /// Of this name.
    pub name: Option<&'a str>,
    /// Of this type.
    pub r#type: Option<KeyType>,
}

/// The agent's keys that the caller may read, the newest first.
pub async fn list(
    reads: &dyn Rows,
    subject: &Subject,
    agent: &AgentId,
    filter: &Filter<'_>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Vec<Key>, DbError> {
    let mut binder = Binder::default();
    let (at, id) = page.after();
    let (now, agent, at, id) = (binder.bind(now), binder.bind(agent), binder.bind(at), binder.bind(id));
    let may = PermissionSql::new(subject, &mut binder).on_key(Action::Read);
    let mut sql = format!(
        "SELECT {} FROM api_keys k JOIN agents a ON a.id = k.agent_id JOIN users u ON u.id = a.owner_id {SECRET}
         WHERE k.agent_id = {agent} AND (k.created_at, k.id) < ({at}, {id}) AND {may}",
        columns(&now)
    );
    if let Some(name) = filter.name {
        sql.push_str(&format!(" AND k.name = {}", binder.bind(name)));
    }
    if let Some(only) = filter.r#type {
        sql.push_str(&format!(" AND k.type = {}", binder.bind(only.as_str())));
    }
    sql.push_str(&format!(" ORDER BY k.created_at DESC, k.id DESC LIMIT {}", binder.bind(page.rows())));
    reads.list(&sql, binder.into_args()).await
}

/// A webhook's secret, encrypted, and who makes it.
pub struct Sealed<'a> {
    /// The encrypted secret.
    pub secret: Vec<u8>,
    /// Its maker.
    pub minter: Minter<'a>,
}

/// A key to be stored.
pub struct New<'a> {
    /// The id.
    pub id: &'a KeyId,
    /// The tenant.
    pub tenant_id: &'a TenantId,
    /// The agent that it belongs to.
    pub agent_id: &'a AgentId,
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub r#type: KeyType,
    /// Of a webhook: its secret.
    pub sealed: Option<Sealed<'a>>,
    /// The id of the user or agent that makes it.
    pub by: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// Stores a key; refuses one more than an agent may have, and a name that is taken.
pub async fn insert(tx: &Tx<'_>, new: New<'_>) -> Result<(), ApiError> {
    let known = "SELECT 1 FROM api_keys WHERE agent_id = ?1 AND name = ?2 AND type = ?3";
    if tx.optional::<Affected>(known, args![new.agent_id, new.name, new.r#type.as_str()]).await?.is_some() {
        return Err(Code::KeyTaken.into());
    }
    let count = "SELECT count(*) FROM api_keys WHERE agent_id = ?1";
    if tx.optional::<i64>(count, args![new.agent_id]).await?.unwrap_or(0) >= MOST {
        return Err(Code::TooManyApiKeys.into());
    }
    let sql = "INSERT INTO api_keys (id, tenant_id, agent_id, name, type, sealed, sealed_at, created_at, created_by,
                                     minted_by, minted_with, grantee)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, iif(?6 IS NULL, NULL, ?7), ?7, ?8, ?9, ?10, ?11)";
    let minter = new.sealed.as_ref().map_or_else(Minter::default, |sealed| sealed.minter);
    let sealed = new.sealed.map_or(Value::Null, |sealed| Value::Blob(sealed.secret));
    let row = args![
        new.id,
        new.tenant_id,
        new.agent_id,
        new.name,
        new.r#type.as_str(),
        sealed,
        new.now,
        new.by,
        minter.by,
        minter.with,
        minter.grantee
    ];
    tx.execute(sql, row).await?;
    Ok(())
}

/// Whether a credential is the key's, in its grace or not.
pub async fn holds(reads: &dyn Rows, key: &KeyId, credential: &CredentialId) -> Result<bool, DbError> {
    let sql = "SELECT count(*) FROM credentials WHERE id = ?1 AND key_id = ?2";
    Ok(reads.optional::<i64>(sql, args![credential, key]).await?.is_some_and(|count| count > 0))
}

/// Gives a webhook another secret. The one before is accepted until `grace_ends`; `None`: it ends at once. Says whether there is one before that
/// has a grace.
pub async fn reseal(
    tx: &Tx<'_>,
    id: &KeyId,
    sealed: Sealed<'_>,
    grace_ends: Option<Timestamp>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let Sealed { secret, minter } = sealed;
    tx.execute("DELETE FROM former_hook_secrets WHERE id = ?1", args![id]).await?;
    let mut has_grace = false;
    if grace_ends.is_some() {
        let former = "INSERT INTO former_hook_secrets (id, tenant_id, agent_id, sealed, sealed_at, grantee, ends_at)
                      SELECT id, tenant_id, agent_id, sealed, sealed_at, grantee, ?2
                      FROM api_keys WHERE id = ?1 AND sealed IS NOT NULL RETURNING 1";
        has_grace = !tx.list::<Affected>(former, args![id, grace_ends]).await?.is_empty();
    }
    let sql =
        "UPDATE api_keys SET sealed = ?2, sealed_at = ?3, minted_by = ?4, minted_with = ?5, grantee = ?6 WHERE id = ?1";
    tx.execute(sql, args![id, Value::Blob(secret), now, minter.by, minter.with, minter.grantee]).await?;
    Ok(has_grace)
}

/// Deletes a key with its grants and ends its secrets; gives the ids of those that were live.
pub async fn delete(tx: &Tx<'_>, found: &AgentKey, now: Timestamp) -> Result<Vec<String>, DbError> {
    let (id, agent) = (&found.key.id, &found.agent_id);
    // By the agent first: of its live credentials there is an index.
    let sql = concat!(
        "UPDATE credentials SET revoked_at = ?2
         WHERE agent_id = ?3 AND key_id = ?1 AND revoked_at IS NULL RETURNING ",
        credential::was_live!()
    );
    let ended = credential::live(tx.list(sql, args![id, now, agent]).await?);
    tx.execute("DELETE FROM grants WHERE object_id = ?1", args![id]).await?;
    tx.execute("DELETE FROM api_keys WHERE id = ?1", args![id]).await?;
    Ok(ended)
}
