//! The end of accounts: deactivate and activate, delete.

use common::{
    error::{ApiError, Code},
    event::EventKind,
    role::Role,
    text::count,
};
use serde_json::{Value::Null, json};
use service::{
    change::{Answer, Change, new_owner},
    event::Event,
    extract::{Body, Empty, Path, Query},
    form,
    response::Response,
};
use store::{
    agent::tree::{self, AgentDisposal},
    user,
};

use crate::users::{Warned, audited, find, what_stays};

/// `POST /api/users/{id}/deactivate`: ends the user's sessions, and refuses their other credentials and those of their agents.
pub(crate) async fn deactivate(change: Change<Body<Empty>>, Path(id): Path) -> Result<Response, ApiError> {
    set_active(change, &id, false).await
}

/// `POST /api/users/{id}/activate`: the user's PATs and their agents' credentials are let in again; sessions stay ended. An admin's account
/// takes a fresh proof.
pub(crate) async fn activate(change: Change<Body<Empty>>, Path(id): Path) -> Result<Response, ApiError> {
    set_active(change, &id, true).await
}

async fn set_active(change: Change<Body<Empty>>, id: &str, is_active: bool) -> Result<Response, ApiError> {
    change
        .on(id, find, async |write, before, _| {
            let me = write.caller.user_id();
            if !is_active && before.id == *me {
                return Err(Code::SelfDeactivation.into());
            }
            if before.active == is_active {
                let warnings = if is_active { Vec::new() } else { what_stays(write, &before).await? };
                return Ok(Answer::ok(&Warned { user: &before, warnings })?.unchanged());
            }
            if is_active {
                // It makes an admin, as another role does.
                if before.role == Role::Admin {
                    write.require_fresh()?;
                }
                user::activate(&write.tx, &before.id).await?;
            } else if !user::deactivate(&write.tx, &before.id, me, write.app().settings().has_mail(), write.now())
                .await?
            {
                return Err(Code::LastAdmin.into());
            }
            // Afterwards: what rested on the person's grants has ended.
            let warnings = if is_active { Vec::new() } else { what_stays(write, &before).await? };
            let kind = if is_active { EventKind::UserActivated } else { EventKind::UserDeactivated };
            write.emit(Event::of_user(kind, &before.id).data(json!({ "email": before.email }))).await?;
            let after = find(&write.tx, &write.caller, before.id.as_str()).await?;
            let (was_active, is_active) = (json!({ "active": before.active }), json!({ "active": is_active }));
            let after = Warned { user: &after, warnings };
            Ok(Answer::ok(&after)?.audited(&after.user.id, was_active, is_active))
        })
        .await
}

form! {
    pub(crate) struct Delete {
        agents: Option<String>,
    }
}

/// What happens to the agents of the deleted user.
enum Agents {
    /// The user with this address or id gets them.
    Transfer(String),
    Archive,
}

impl Agents {
    fn read(text: &str) -> Result<Self, ApiError> {
        match (text, text.strip_prefix("transfer:")) {
            ("archive", _) => Ok(Self::Archive),
            (_, Some(to)) if !to.trim().is_empty() => Ok(Self::Transfer(to.to_owned())),
            _ => Err(ApiError::field("agents", "must be archive or transfer:<address or id of a user>")),
        }
    }
}

/// `DELETE /api/users/{id}`: the address is free, every credential ends; the audit trail still says who it was.
pub(crate) async fn delete(change: Change<Query<Delete>>, Path(id): Path) -> Result<Response, ApiError> {
    let Query(query) = &change.input;
    let agents = query.agents.as_deref().map(Agents::read).transpose()?;
    change
        .on(&id, find, async |write, found, _| {
            let (me, now) = (write.caller.user_id(), write.now());
            if found.id == *me {
                return Err(Code::SelfDeletion.into());
            }
            // Before the agents go, so that nobody can give them to the deleted user. The caller is another active admin, so this one
            // cannot be the last; the statement decides all the same.
            if found.active
                && !user::deactivate(&write.tx, &found.id, me, write.app().settings().has_mail(), now).await?
            {
                return Err(Code::LastAdmin.into());
            }
            let (live, archived) = tree::owned(&write.tx, &found.id).await?;
            let (to, fate) = match &agents {
                Some(Agents::Transfer(to)) => (new_owner(write, to).await?, AgentDisposal::Transferred),
                Some(Agents::Archive) => (me.clone(), AgentDisposal::Archived),
                // Archived ones need an owner too, or nobody could restore them.
                None if live == 0 => (me.clone(), AgentDisposal::Archived),
                None => {
                    let refusal = Code::OwnsAgents.with("count", live.to_string()).with("user", found.id.as_str());
                    return Err(refusal.extra("agents", live));
                }
            };
            tree::release_all(&write.tx, (&write.origin(), write.action()), &found.id, &to, fate).await?;
            user::delete(&write.tx, &found.id, now).await?;
            let all = live + archived;
            let mut event = Event::of_user(EventKind::UserDeleted, &found.id);
            if fate == AgentDisposal::Transferred && all > 0 {
                let title = format!("You now own the agents of {}", found.email);
                let body = format!(
                    "{} transferred {} and {} to you. Their credentials were revoked: issue new tokens.",
                    write.caller.email(),
                    count(live, "agent"),
                    count(archived, "archived agent")
                );
                event = event.telling(&to, title, body, Some("/agents".to_owned()));
            }
            write.emit(event.data(json!({ "email": found.email, "agents": all }))).await?;
            let after = match fate {
                _ if all == 0 => Null,
                AgentDisposal::Transferred => json!({ "agents": all, "given_to": to }),
                AgentDisposal::Archived => json!({ "agents": all, "archived_for": to }),
            };
            Ok(Answer::no_content().audited(&found.id, audited(&found), after))
        })
        .await
}

#[cfg(test)]
mod tests;
