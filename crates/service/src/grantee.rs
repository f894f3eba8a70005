//! Credentials that rest on an editor's grant: which do, and their end with it.

use common::{
    error::{ApiError, Code},
    event::EventKind,
    id::UserId,
    permission::Action,
    time::Timestamp,
};
use serde_json::{Value::Null, json};
use store::{
    agent::{self, Agent},
    audit::{self, Event},
    credential::grantee::{self, Ended},
    db::{Rows, Tx},
    origin::Origin,
};

use crate::{app::App, caller::Caller, event};

/// The id of the editor on whose grant a credential of this agent rests that the caller makes; `None`: the caller is its owner, or an
/// admin, or an agent above it. What is made with a credential that rests on a grant rests on the same one.
pub async fn of(reads: &dyn Rows, caller: &Caller, agent: &Agent, now: Timestamp) -> Result<Option<String>, ApiError> {
    if let Some(grantee) = caller.grantee() {
        return Ok(Some(grantee.to_owned()));
    }
    match agent::get(reads, caller.subject(), agent.id.as_str(), Action::Share, now).await {
        Ok(_) => Ok(None),
        Err(refusal) if refusal.code() == Code::PermissionDenied => Ok(Some(caller.subject().id().to_owned())),
        Err(refusal) => Err(refusal),
    }
}

/// Ends the credentials whose grants this change took away. Each agent has an audit row of its own and an event; its owner is notified,
/// unless the change is theirs.
pub(crate) async fn end(app: &App, tx: &Tx<'_>, origin: &Origin<'_>, cause: &UserId) -> Result<(), ApiError> {
    let mut rest = grantee::end(tx, origin.tenant, origin.now).await?;
    while let Some(Ended { agent, agent_name, grantee, .. }) = rest.first().cloned() {
        let (these, others): (Vec<Ended>, Vec<Ended>) = rest.into_iter().partition(|ended| ended.agent == agent);
        rest = others;
        let ids: Vec<&str> = these.iter().map(|ended| ended.id.as_str()).collect();
        let data = json!({ "credentials": ids, "grantee": grantee });
        let title = format!("Credentials of {agent_name} ended");
        let body = format!(
            "{grantee} may no longer change the agent {agent_name}, so the credentials that they issued for it were revoked: {}. If the agent has no other token, issue a new one.",
            ids.join(", ")
        );
        let ended = event::Event::of_agent(EventKind::AgentTokenRevoked, &agent).data(data.clone());
        event::deliver(app, tx, origin, Some(cause), &ended.saying(title, body)).await?;
        let event = Event { action: "credential.end", object: agent.as_str(), before: data, after: Null };
        audit::insert(tx, origin, &event).await?;
    }
    Ok(())
}
