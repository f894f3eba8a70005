//! Credentials that end soon: the people and agents that they concern are told once 7 days before, and once the day before.

use common::event::EventKind;
use serde_json::json;
use service::{
    app::App,
    event::{self, Event},
};
use store::{
    credential::expiring,
    db::{DbError, Purpose},
    lease,
    outbox::Kind,
};

/// Tells what there is to tell, at most once a minute; `true`: somebody was told. The first time it is mailed, too.
pub(crate) async fn tell(app: &App) -> Result<bool, DbError> {
    if !lease::take_minute(app.db(), "expiring", app.now()).await? || !expiring::any(app.db(), app.now()).await? {
        return Ok(false);
    }
    let tx = app.db().begin(Purpose::Durable).await?;
    for found in expiring::take(&tx, app.now()).await? {
        let days = found.days;
        let when = if days == 1 { "tomorrow or today".to_owned() } else { format!("in less than {days} days") };
        let (what, next) = match &found.agent_name {
            Some(agent) if found.is_key => (
                format!("The key {} of the agent {agent}", found.name.as_deref().unwrap_or_default()),
                "Make another one on the agent's page, under Credentials, and delete this one. Rotating it keeps its end.",
            ),
            Some(agent) => {
                (format!("The token of the agent {agent}"), "Issue another one on the agent's page, under Credentials.")
            }
            None => (
                format!("Your personal access token {}", found.name.as_deref().unwrap_or_default()),
                "Make another one on the page Tokens. Rotating it keeps its end.",
            ),
        };
        let (title, body) = (format!("{what} expires {when}"), format!("It ends at {}. {next}", found.expires_at));
        let data = json!({
            "credential": found.id, "kind": found.kind, "name": found.name, "key": found.key, "expires_at": found.expires_at, "days": days,
        });
        let event = match &found.agent {
            Some(agent) => Event::of_agent(EventKind::TokenExpiring, agent),
            None => Event::of_user(EventKind::TokenExpiring, &found.user),
        };
        let mut event = event.data(data).saying(title, body);
        if found.is_first {
            // The owner may not have chosen a key's name, so it stays out of the mail.
            let name = found.name.filter(|_| found.agent.is_none());
            event = event.mailing(
                Kind::Expiring,
                json!({ "agent": found.agent_name, "kind": found.kind, "name": name, "expires_at": found.expires_at }),
            );
        }
        event::deliver(app, &tx, &app.origin(&found.tenant, None), None, &event).await?;
    }
    tx.commit().await?;
    Ok(true)
}
