//! The quotas: what one person, with all of their agents, and one tenant may store, so that nobody fills the database of all.
//!
//! Triggers count it (`store::usage`); it is compared where something is added, under the write lock. What takes a right away is never
//! refused for a quota.

use common::{
    error::{ApiError, Code},
    id::{TenantId, UserId},
    role::Role,
};
use serde_json::Value as Json;
use store::{
    agent::tree,
    audit::Event,
    db::{Rows, Tx},
    usage,
};

use crate::{app::App, caller::Caller};

/// The person behind a caller, whom all that it causes is counted for: of a credential that rests on an editor's grant that editor, of an
/// agent its owner.
pub async fn person_behind(reads: &dyn Rows, caller: &Caller) -> Result<UserId, ApiError> {
    let Some(grantee) = caller.grantee() else { return Ok(caller.user_id().clone()) };
    let person = match UserId::try_from(grantee.to_owned()) {
        Ok(user) => Some(user),
        Err(_) => tree::owner(reads, grantee).await?,
    };
    Ok(person.unwrap_or_else(|| caller.user_id().clone()))
}

/// What this caller may use of a quota of this person: an admin and the person all of it, others half, so that nobody uses up what is
/// another one's.
fn most_of(caller: &Caller, owner: &UserId, quota: i64) -> i64 {
    let is_own = caller.grantee().is_none() && (caller.user_id() == owner || caller.role() == Role::Admin);
    if is_own { quota } else { (quota / 2).max(1) }
}

/// The bytes that an agent, with the credential that it presents, may fill of its owner's.
#[must_use]
pub fn own_bytes(app: &App, caller: &Caller) -> i64 {
    most_of(caller, caller.user_id(), app.settings().quotas.bytes)
}

/// Refuses more agents of this person than they, or their tenant, may have.
pub async fn check_agents(app: &App, reads: &dyn Rows, caller: &Caller, owner: &UserId) -> Result<(), ApiError> {
    let (quotas, now) = (app.settings().quotas, usage::find(reads, caller.tenant_id(), owner).await?);
    let free = "Archive agents that nobody needs, with DELETE /api/agents/<name>";
    let most = most_of(caller, owner, quotas.agents);
    check("agents", free, (now.person.agents, most), (now.tenant.agents, quotas.of_tenant().agents))
}

/// Refuses a person more agents than one may be given: by anybody but an admin half of the quota. Asked once they have them.
pub async fn check_given(app: &App, reads: &dyn Rows, caller: &Caller, to: &UserId) -> Result<(), ApiError> {
    if caller.role() == Role::Admin && caller.agent_id().is_none() {
        return Ok(());
    }
    let now = usage::find(reads, caller.tenant_id(), to).await?.person.agents;
    let most = most_of(caller, to, app.settings().quotas.agents);
    if now > most {
        Err(reached("agents", "Give the agent to somebody else, or ask an admin to give it", "person", most))
    } else {
        Ok(())
    }
}

/// Refuses more bytes of this person's than `most`, or than their tenant may have: in the logs of their agents, in kept answers, and in
/// the events that they caused.
pub async fn check_bytes(
    app: &App,
    reads: &dyn Rows,
    tenant: &TenantId,
    (person, most): (&UserId, i64),
) -> Result<(), ApiError> {
    let (quotas, now) = (app.settings().quotas, usage::find(reads, tenant, person).await?);
    let free = "Let the agents that were sent messages acknowledge them with POST /api/agents/me/inbox/ack, archive and purge agents whose logs nobody needs, delete guides and secrets that nobody needs, or wait until kept responses end after 24 hours";
    check("stored bytes", free, (now.person.bytes, most), (now.tenant.bytes, quotas.of_tenant().bytes))
}

/// Refuses more bytes of this person's, or of their tenant's, than this caller may fill: with what is stored for an agent of theirs.
pub async fn check_bytes_of_agents(
    app: &App,
    reads: &dyn Rows,
    caller: &Caller,
    owner: &UserId,
) -> Result<(), ApiError> {
    let most = most_of(caller, owner, app.settings().quotas.bytes);
    check_bytes(app, reads, caller.tenant_id(), (owner, most)).await
}

/// Refuses more live credentials of this person than they, or their tenant, may have.
pub async fn check_credentials(app: &App, reads: &dyn Rows, caller: &Caller, owner: &UserId) -> Result<(), ApiError> {
    let most = most_of(caller, owner, app.settings().quotas.credentials);
    let free = "Revoke personal access tokens and delete keys that nobody needs. GET /auth/tokens lists the tokens. GET /api/agents/<name>/keys lists the keys";
    check_live(app, reads, caller.tenant_id(), (owner, most), free).await
}

/// The same for a credential that no caller makes: of an agent of this person.
pub async fn check_credentials_of(
    app: &App,
    reads: &dyn Rows,
    tenant: &TenantId,
    owner: &UserId,
) -> Result<(), ApiError> {
    let free = "Revoke credentials that nobody needs: an admin lists them with GET /auth/admin/tokens?status=active";
    check_live(app, reads, tenant, (owner, app.settings().quotas.credentials), free).await
}

async fn check_live(
    app: &App,
    reads: &dyn Rows,
    tenant: &TenantId,
    (owner, own): (&UserId, i64),
    free: &'static str,
) -> Result<(), ApiError> {
    let all = app.settings().quotas.of_tenant().credentials;
    let now = usage::live_credentials(reads, (tenant, all), (owner, own), app.now()).await?;
    check("live credentials", free, (now.0, own), (now.1, all))
}

fn check(what: &'static str, free: &'static str, person: (i64, i64), tenant: (i64, i64)) -> Result<(), ApiError> {
    for (whose, (used, most)) in [("person", person), ("tenant", tenant)] {
        if used >= most {
            return Err(reached(what, free, whose, most));
        }
    }
    Ok(())
}

/// The refusal of one more.
pub fn reached(what: &'static str, free: &'static str, whose: &'static str, most: i64) -> ApiError {
    Code::QuotaReached
        .detail(format!("The {whose} has reached the quota of {most} {what}."))
        .with("free", free)
        .extra("quota", what)
        .extra("of", whose)
        .extra("limit", most)
}

/// Bytes that an audit row takes, with its indexes.
pub fn size(event: &Event<'_>) -> i64 {
    let length = |json: &Json| if json.is_null() { 0 } else { json.to_string().len() };
    i64::try_from(400 + length(&event.before) + length(&event.after)).unwrap_or(i64::MAX)
}

/// Bytes beyond the quota of a day that setting up a demanded second factor may add to the audit trail.
pub const SETTING_UP: i64 = 64 * 1024;

/// Counts what a change adds to the audit trail; refuses it when the person has added as much in a day as they may store, and these bytes more.
pub async fn count_trail(app: &App, tx: &Tx<'_>, person: &UserId, bytes: i64, beyond: i64) -> Result<(), ApiError> {
    let added = usage::add_to_trail(tx, person, bytes, app.now()).await?;
    if added.bytes > app.settings().quotas.bytes.saturating_add(beyond) {
        return Err(ApiError::from(Code::TooManyChanges).retry_after(app.now().seconds_until(added.ends_at)));
    }
    Ok(())
}
