//! Table `agent_secrets`: credentials of other services that agents need, encrypted.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx, Value},
};
use common::{id::AgentId, time::Timestamp};

/// Secrets of one agent at most.
const MOST: i64 = 64;

/// A secret, as callers that may read its agent see it: never its value.
#[derive(Clone, Debug, Serialize, PartialEq, Eq, JsonSchema)]
pub struct SecretRecord {
    /// The name.
    pub name: String,
    /// When it was set first.
    pub created_at: Timestamp,
    /// When its value was set last.
    pub updated_at: Timestamp,
    /// The id of the user or agent that did.
    pub updated_by: String,
}

impl FromRow for SecretRecord {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { name: row.take()?, created_at: row.take()?, updated_at: row.take()?, updated_by: row.take()? })
    }
}

/// The agent's secrets, by name.
pub async fn list(reads: &dyn Rows, agent: &AgentId) -> Result<Vec<SecretRecord>, DbError> {
    let sql = "SELECT name, created_at, updated_at, updated_by FROM agent_secrets WHERE agent_id = ?1 ORDER BY name";
    reads.list(sql, args![agent]).await
}

/// One secret of an agent.
pub async fn find(reads: &dyn Rows, agent: &AgentId, name: &str) -> Result<Option<SecretRecord>, DbError> {
    let sql = "SELECT name, created_at, updated_at, updated_by FROM agent_secrets WHERE agent_id = ?1 AND name = ?2";
    reads.optional(sql, args![agent, name]).await
}

/// Those of these names that the agent has no secret of.
pub async fn missing(reads: &dyn Rows, agent: &AgentId, names: &[String]) -> Result<Vec<String>, DbError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT n.value FROM json_each(?2) n
               WHERE NOT EXISTS (SELECT 1 FROM agent_secrets s WHERE s.agent_id = ?1 AND s.name = n.value) ORDER BY n.key";
    reads.list(sql, args![agent, names]).await
}

/// A secret as it is stored.
pub struct Sealed {
    /// The name.
    pub name: String,
    /// The encrypted value.
    pub sealed: Vec<u8>,
}

impl FromRow for Sealed {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { name: row.take()?, sealed: row.take()? })
    }
}

/// The agent's secrets with their encrypted values, by name.
pub async fn list_sealed(reads: &dyn Rows, agent: &AgentId) -> Result<Vec<Sealed>, DbError> {
    reads.list("SELECT name, sealed FROM agent_secrets WHERE agent_id = ?1 ORDER BY name", args![agent]).await
}

/// One secret with its encrypted value.
pub async fn find_sealed(reads: &dyn Rows, agent: &AgentId, name: &str) -> Result<Option<Sealed>, DbError> {
    reads.optional("SELECT name, sealed FROM agent_secrets WHERE agent_id = ?1 AND name = ?2", args![agent, name]).await
}

/// Stores secrets, new ones and new values; `false`: the agent would have more than it may, and the caller gives the transaction up.
pub async fn set(
    tx: &Tx<'_>,
    agent: &AgentId,
    secrets: Vec<Sealed>,
    by: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql = "INSERT INTO agent_secrets (agent_id, name, sealed, created_at, updated_at, updated_by) VALUES (?1, ?2, ?3, ?4, ?4, ?5)
               ON CONFLICT (agent_id, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at, updated_by = excluded.updated_by";
    for Sealed { name, sealed } in secrets {
        tx.execute(sql, args![agent, name, Value::Blob(sealed), now, by]).await?;
    }
    let count = "SELECT count(*) FROM agent_secrets WHERE agent_id = ?1";
    Ok(tx.optional::<i64>(count, args![agent]).await?.unwrap_or(0) <= MOST)
}

/// Deletes a secret; `false`: there was none.
pub async fn delete(tx: &Tx<'_>, agent: &AgentId, name: &str) -> Result<bool, DbError> {
    let sql = "DELETE FROM agent_secrets WHERE agent_id = ?1 AND name = ?2 RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![agent, name]).await?.is_some())
}
