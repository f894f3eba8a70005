//! Agents that have gone silent: once for each silence, the owner is told by a notification and by mail, and the agent above by an event.

use common::{event::EventKind, text::count};
use serde_json::json;
use service::{
    app::App,
    event::{self, Event},
};
use store::{
    agent::silence::{self, Silent},
    db::{DbError, Purpose, Tx},
    outbox::Kind,
};

/// Tells of those that there are now; `true`: somebody was told.
pub(crate) async fn tell(app: &App) -> Result<bool, DbError> {
    // Read first: mostly there are none, and then nothing waits for the lock.
    if !silence::any(app.db(), app.now()).await? {
        return Ok(false);
    }
    let tx = app.db().begin(Purpose::Durable).await?;
    for silent in silence::take(&tx, app.now()).await? {
        tell_of(app, &tx, &silent).await?;
    }
    tx.commit().await?;
    Ok(true)
}

async fn tell_of(app: &App, tx: &Tx<'_>, silent: &Silent) -> Result<(), DbError> {
    let Silent { id, name, tenant, last_seen_at, minutes } = silent;
    let title = format!("{name} has gone silent");
    let body = format!(
        "Its last heartbeat came at {last_seen_at}, which is more than {} ago. Check whether it still runs. You are not told again before its next heartbeat.",
        count(*minutes, "minute")
    );
    let data = json!({ "last_seen_at": last_seen_at, "silent_after_minutes": minutes });
    let event = Event::of_agent(EventKind::AgentSilent, id).data(data).saying(title, body);
    let mail = json!({ "agent": name, "minutes": minutes, "last_seen_at": last_seen_at });
    event::deliver(app, tx, &app.origin(tenant, None), None, &event.mailing(Kind::Silent, mail)).await.map(drop)
}

#[cfg(test)]
mod tests;
