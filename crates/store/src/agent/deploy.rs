//! Deployments: columns of table `agents` that say what has become of the last request that an agent's runtime run it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows, Tx},
};
use common::{
    agent::DeployStatus,
    id::{AgentId, CredentialId, TenantId, UserId},
    time::Timestamp,
};

/// How long the first heartbeat is awaited, seconds: the life of an enrolment code, and five minutes to start.
const AWAITED: i64 = 20 * 60;
/// Deployments that one tick ends at most.
const BATCH: i64 = 100;

/// Whether a heartbeat with the credential of this id is the first one of the runtime that was asked: the credential is younger than the
/// request. One that comes late counts too; one after the runtime itself has given up does not.
macro_rules! is_deployed {
    ($credential:literal) => {
        concat!(
            "ifnull(deploy_status <> 'running' AND deploy_until IS NOT NULL AND EXISTS (
                 SELECT 1 FROM credentials c WHERE c.id = ",
            $credential,
            " AND c.created_at >= deploy_at), 0)"
        )
    };
}
pub(crate) use is_deployed;

/// A deployment.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Deployment {
    /// What has become of it. `None`: the agent was never deployed.
    pub status: Option<DeployStatus>,
    /// When it was asked for.
    pub asked_at: Option<Timestamp>,
    /// The user or agent that asked: an address, or an agent's id.
    pub asked_by: Option<String>,
    /// Until when the first heartbeat is awaited.
    pub until: Option<Timestamp>,
    /// When it came to run, or failed.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub reason: Option<String>,
}

impl FromRow for Deployment {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let status: Option<DeployStatus> = row.take()?;
        let mut found = Self {
            status,
            asked_at: row.take()?,
            asked_by: row.take()?,
            until: row.take()?,
            ended_at: row.take()?,
            reason: row.take()?,
        };
        if status != Some(DeployStatus::Deploying) {
            found.until = None; // nothing is awaited any more
        }
        Ok(found)
    }
}

/// The last deployment of an agent.
pub async fn find(reads: &dyn Rows, id: &AgentId) -> Result<Deployment, DbError> {
    let sql = "SELECT deploy_status, deploy_at, deploy_by, deploy_until, deploy_ended_at, deploy_reason FROM agents WHERE id = ?1";
    reads.optional(sql, args![id]).await?.ok_or(DbError::Row("no agent of a deployment"))
}

/// Begins a deployment, in place of the one before; gives until when its first heartbeat is awaited.
pub async fn begin(tx: &Tx<'_>, id: &AgentId, by: &str, now: Timestamp) -> Result<Timestamp, DbError> {
    let until = now.plus_seconds(AWAITED);
    let sql = "UPDATE agents SET deploy_status = 'deploying', deploy_at = ?2, deploy_by = ?3, deploy_until = ?4, deploy_ended_at = NULL, deploy_reason = NULL, updated_at = ?2
               WHERE id = ?1";
    tx.execute(sql, args![id, now, by, until]).await?;
    Ok(until)
}

/// Ends a deployment well, by a heartbeat with this credential; gives when it was asked for. `None`: somebody else was faster.
pub async fn succeed(
    tx: &Tx<'_>,
    id: &AgentId,
    credential: &CredentialId,
    now: Timestamp,
) -> Result<Option<Timestamp>, DbError> {
    let sql = concat!(
        "UPDATE agents SET deploy_status = 'running', deploy_ended_at = ?3, deploy_reason = NULL, updated_at = ?3 WHERE id = ?1 AND ",
        is_deployed!("?2"),
        " RETURNING deploy_at"
    );
    Ok(tx.optional::<i64>(sql, args![id, credential, now]).await?.map(Timestamp::from_millis))
}

/// Ends a deployment badly, for a reason that the runtime gives; `false`: the agent is not being deployed.
pub async fn fail(tx: &Tx<'_>, id: &AgentId, reason: &str, now: Timestamp) -> Result<bool, DbError> {
    let sql =
        "UPDATE agents SET deploy_status = 'failed', deploy_ended_at = ?3, deploy_reason = ?2, deploy_until = NULL, updated_at = ?3
               WHERE id = ?1 AND deploy_status = 'deploying' RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, reason, now]).await?.is_some())
}

/// A deployment that nothing was heard of in time.
pub struct Late {
    /// The agent's id.
    pub id: AgentId,
    /// Its name.
    pub name: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The owner.
    pub owner: UserId,
}

impl FromRow for Late {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { id: row.take()?, name: row.take()?, tenant: row.take()?, owner: row.take()? })
    }
}

/// The condition on an agent, in the words of the index.
const IS_LATE: &str = "deploy_until <= ?1 AND deploy_status = 'deploying' AND archived_at IS NULL";

/// Whether there is one.
pub async fn any_late(db: &Db, now: Timestamp) -> Result<bool, DbError> {
    let sql = format!("SELECT 1 FROM agents WHERE {IS_LATE} LIMIT 1");
    Ok(db.optional::<Affected>(&sql, args![now]).await?.is_some())
}

/// Ends some of them.
pub async fn take_late(tx: &Tx<'_>, reason: &str, now: Timestamp) -> Result<Vec<Late>, DbError> {
    let sql = format!(
        "UPDATE agents SET deploy_status = 'failed', deploy_ended_at = ?1, deploy_reason = ?3, updated_at = ?1
         WHERE id IN (SELECT id FROM agents WHERE {IS_LATE} LIMIT ?2) RETURNING id, name, tenant_id, owner_id"
    );
    tx.list(&sql, args![now, BATCH, reason]).await
}
