//! What a person approved for one request alone, once. It gives nothing by itself: a request that would be refused for want of a scope is
//! looked up here, and one conditional statement lets it through.
//!
//! A change spends the approval in its own transaction: a change that is refused has spent nothing. A read is answered only when its
//! approval could be spent. What is written by single statements spends it before.

use common::error::ApiError;
use serde_json::{Value::Null, json};
use store::{
    access_request,
    audit::{self, Event},
    db::{Purpose, Tx},
};

use crate::{app::App, caller::Caller};

/// Spends the approval by which the caller may do more than it may without; refuses the caller as it is without, if there is nothing to be
/// spent any more. A caller that needs none spends none.
pub(crate) async fn spend(tx: &Tx<'_>, app: &App, caller: &Caller) -> Result<(), ApiError> {
    let (Some(one), Some(agent)) = (caller.once().filter(|one| !one.is_paid), caller.agent_id()) else { return Ok(()) };
    let (once, exact) = (&one.once, &one.exact);
    if once.is_spent || !access_request::spend(tx, &once.id, agent, exact, app.now()).await? {
        return caller.without_once().require_each(&caller.by_once(one));
    }
    let request = json!({ "method": exact.route().method, "path": exact.path(), "body_sha256": exact.body() });
    let after = json!({ "request": once.id, "scope": once.scope, "for": request });
    let event = Event { action: "access.spend", object: agent.as_str(), before: Null, after };
    Ok(audit::insert(tx, &caller.origin(app), &event).await?)
}

/// The same on its own, for what has no transaction; gives the caller as it is then.
pub(crate) async fn spend_alone(app: &App, caller: &Caller) -> Result<Caller, ApiError> {
    if caller.once().is_none() {
        return Ok(caller.clone());
    }
    let tx = app.db().begin(Purpose::Durable).await?;
    spend(&tx, app, caller).await?;
    tx.commit().await?;
    Ok(caller.paid())
}
