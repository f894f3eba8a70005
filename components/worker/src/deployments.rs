//! Deployments that nothing was heard of in time: the owner is told by a notification, and the agent above by an event.

use common::event::EventKind;
use serde_json::json;
use service::{
    app::App,
    event::{self, Event},
};
use store::{
    agent::deploy,
    db::{DbError, Purpose},
};

/// The reason.
const LATE: &str = "No heartbeat came within 20 minutes.";

/// Ends those that there are now, and tells of them; `true`: somebody was told.
pub(crate) async fn end_late(app: &App) -> Result<bool, DbError> {
    // Read first: mostly there are none, and then nothing waits for the lock.
    if !deploy::any_late(app.db(), app.now()).await? {
        return Ok(false);
    }
    let tx = app.db().begin(Purpose::Durable).await?;
    for late in deploy::take_late(&tx, LATE, app.now()).await? {
        let title = format!("{} could not be deployed", late.name);
        let body = format!(
            "{LATE} Look at its runtime and at the deliveries of your webhooks. If it sends one later, it counts as running."
        );
        let event = Event::of_agent(EventKind::AgentDeployFailed, &late.id)
            .data(json!({ "reason": LATE, "by": null }))
            .saying(title, body);
        event::deliver(app, &tx, &app.origin(&late.tenant, None), None, &event).await?;
    }
    tx.commit().await?;
    Ok(true)
}
