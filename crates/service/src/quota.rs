//! The quotas: what one person, with all of their agents, and one tenant may store, so that nobody fills the database of all.
//!
//! Triggers count it (`store::usage`); it is compared where something is added, under the write lock. What takes a right away is never
//! refused for a quota.

use common::{
    error::{ApiError, Code},
    id::UserId,
};
use serde_json::Value as Json;
use store::{
    audit::Event,
    db::{Rows, Tx},
    usage,
};

use crate::{app::App, caller::Caller};

/// Refuses more agents of this person than they, or their tenant, may have.
pub async fn check_agents(app: &App, reads: &dyn Rows, caller: &Caller, owner: &UserId) -> Result<(), ApiError> {
    let (quotas, now) = (app.settings().quotas, usage::find(reads, caller.tenant_id(), owner).await?);
    let free = "Archive agents that nobody needs, with DELETE /api/agents/<name>";
    check("agents", free, (now.person.agents, quotas.agents), (now.tenant.agents, quotas.of_tenant().agents))
}

/// Refuses more in the inboxes and logs of this person's agents than they, or their tenant, may have there.
pub async fn check_bytes(app: &App, reads: &dyn Rows, caller: &Caller, owner: &UserId) -> Result<(), ApiError> {
    let (quotas, now) = (app.settings().quotas, usage::find(reads, caller.tenant_id(), owner).await?);
    let free = "Let the agents acknowledge the events in their inboxes with POST /api/agents/me/inbox/ack, or archive and purge agents whose logs nobody needs";
    check("stored bytes", free, (now.person.bytes, quotas.bytes), (now.tenant.bytes, quotas.of_tenant().bytes))
}

/// Refuses more live credentials of this person than they, or their tenant, may have.
pub async fn check_credentials(app: &App, reads: &dyn Rows, caller: &Caller, owner: &UserId) -> Result<(), ApiError> {
    let (own, all) = (app.settings().quotas.credentials, app.settings().quotas.of_tenant().credentials);
    let now = usage::live_credentials(reads, (caller.tenant_id(), all), (owner, own), app.now()).await?;
    let free = "Revoke personal access tokens and delete keys that nobody needs: GET /auth/tokens and GET /api/agents/<name>/keys list them";
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
pub(crate) fn size(event: &Event<'_>) -> i64 {
    let length = |json: &Json| if json.is_null() { 0 } else { json.to_string().len() };
    i64::try_from(400 + length(&event.before) + length(&event.after)).unwrap_or(i64::MAX)
}

/// Counts what a change adds to the audit trail; refuses it when the person has added as much in a day as they may store.
pub(crate) async fn count_trail(app: &App, tx: &Tx<'_>, caller: &Caller, bytes: i64) -> Result<(), ApiError> {
    let added = usage::add_to_trail(tx, caller.user_id(), bytes, app.now()).await?;
    if added.bytes > app.settings().quotas.bytes {
        return Err(ApiError::from(Code::TooManyChanges).retry_after(app.now().seconds_until(added.ends_at)));
    }
    Ok(())
}

/// Whether the caller's person and their tenant may store more bytes.
pub(crate) async fn has_room(app: &App, reads: &dyn Rows, caller: &Caller) -> Result<bool, ApiError> {
    let (quotas, now) = (app.settings().quotas, usage::find(reads, caller.tenant_id(), caller.user_id()).await?);
    Ok(now.person.bytes < quotas.bytes && now.tenant.bytes < quotas.of_tenant().bytes)
}
