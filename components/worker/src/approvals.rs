//! Approvals that have ended by time: the agent, its owner and webhooks are told once, as of one that was revoked.

use common::event::EventKind;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    event::{self, Event},
};
use store::{
    access_request,
    db::{DbError, Purpose},
};

/// Tells of those that there are now, a bounded number; `true`: somebody was told.
pub(crate) async fn tell_ended(app: &App) -> Result<bool, DbError> {
    // Read first: mostly there are none, and then nothing waits for the lock.
    if !access_request::any_ended(app.db(), app.now()).await? {
        return Ok(false);
    }
    let tx = app.db().begin(Purpose::Durable).await?;
    for ended in access_request::take_ended(&tx, app.now()).await? {
        // Nobody reads the inbox of an archived agent, and its owner was told when it was archived.
        if !ended.is_live {
            continue;
        }
        let data = json!({
            "request": ended.id, "scope": ended.scope, "reason": Null, "revoked": false, "ended": true, "ends_at": ended.ends_at,
        });
        let event = Event::of_agent(EventKind::AccessEnded, &ended.agent).data(data);
        event::deliver(app, &tx, &app.origin(&ended.tenant, None), None, &event).await?;
    }
    tx.commit().await?;
    Ok(true)
}
