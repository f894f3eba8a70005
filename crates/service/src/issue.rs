//! What an agent's token may carry and how long it lives, decided for the caller that issues it or makes a code that will.

use common::{
    error::{ApiError, Code},
    scope::{Patterns, Scopes},
    secret::Kind,
    time::{Lifetime, Timestamp},
};
use store::{agent::Agent, credential};

use crate::{app::App, caller::Caller, change::Write, grantee, mint, mint::Life};

/// The fields of a request for a token. `None`: left out.
#[derive(Clone)]
pub struct Requested {
    /// The scopes.
    pub scope: Option<Patterns>,
    /// How long it lives.
    pub lifetime: Option<Lifetime>,
    /// The same as it was sent, which a code for a token keeps.
    pub sent: Life,
}

impl Requested {
    /// Reads what was sent: scopes or a preset, and how long it lives.
    pub async fn read(
        app: &App,
        caller: &Caller,
        (scope, preset): (Option<&[String]>, Option<&str>),
        sent: &Life,
    ) -> Result<Self, ApiError> {
        let scope = mint::requested_scope(app.db(), caller, scope, preset).await?.map(|requested| requested.scope);
        Ok(Self { scope, lifetime: sent.read()?, sent: sent.clone() })
    }
}

/// A token that may be issued.
pub struct Plan {
    /// Its scopes.
    pub scope: Patterns,
    /// Its end. `None`: never.
    pub expires_at: Option<Timestamp>,
    /// How long the one before lives on, seconds.
    pub grace: i64,
    /// What the caller should know.
    pub warnings: Vec<String>,
    /// The id of the editor on whose grant it rests.
    pub grantee: Option<String>,
}

impl Plan {
    /// A token that ends the one before at once.
    pub async fn fresh(write: &Write<'_>, agent: &Agent, requested: Requested) -> Result<Self, ApiError> {
        let caller = &write.caller;
        check_not_replaced(write, agent).await?;
        let scope = requested.scope.unwrap_or_else(|| agent.settings.scope.clone());
        let grantee = grantee::of(&write.tx, &write.caller, agent, write.now()).await?;
        let scope = grantable_scope(write, agent, &scope, grantee.is_none())?;
        let (expires_at, capped) = caller.cap_life(requested.lifetime, write.now())?;
        let mut warnings = Vec::from_iter(capped);
        mint::warn_of_no_effect(caller, &scope, agent.owner.role, true, &mut warnings);
        Ok(Self { scope, expires_at, grace: 0, warnings, grantee })
    }
}

/// Refuses a token of the agent that is in its grace: live, but not the active one. If it could issue, it would end the token that replaced
/// it, for one that lives no longer than the grace.
async fn check_not_replaced(write: &Write<'_>, agent: &Agent) -> Result<(), ApiError> {
    let caller = &write.caller;
    if caller.agent_id() != Some(&agent.id) || caller.credential_kind() != Kind::AgentToken {
        return Ok(());
    }
    match credential::active(&write.tx, &agent.id).await? {
        Some(active) if active.id == *caller.credential_id() => Ok(()),
        _ => Err(Code::TokenReplaced.with("step", format!("POST /api/agents/{}/token/issue", agent.name))),
    }
}

/// The part of this scope that a credential of the agent may carry. For every caller it refuses scopes beyond the agent's
/// ceiling, and scopes wider than the caller, which gets the secret. A refusal names all of them.
pub fn grantable_scope(
    write: &Write<'_>,
    agent: &Agent,
    scope: &Patterns,
    may_share: bool,
) -> Result<Patterns, ApiError> {
    let caller = &write.caller;
    let asked = scope.scopes(caller.custom_scopes());
    let mut excess = asked.clone().without(&agent.settings.scope.scopes(caller.custom_scopes()));
    // An agent owns itself, so its credentials can share and archive it: a caller that may not do that gives no such credential.
    if !may_share {
        let owners = Scopes::stored("agents.delete agents.share", caller.custom_scopes());
        excess = excess.or(asked.clone().and(&owners));
    }
    caller.may_mint(asked, excess, &agent.owner.id, scope)
}
