//! An agent's token: issue and revoke.
//!
//! Issuing is one transaction: it revokes the token in its grace, revokes the active one or moves it into the grace, and stores the
//! new one. An index lets at most one token stand in each of the two places, even if several callers issue at once.

use common::{
    error::{ApiError, Code},
    event::EventKind,
    id::CredentialId,
    scope::{Patterns, Scopes},
    secret::Kind,
    time::{Lifetime, Timestamp},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change, Write},
    event::Event,
    extract::{Body, Path},
    form,
    form::Nullable,
    grantee,
    mint::{self, NewCredential},
    response::Response,
};
use store::{
    agent::Agent,
    credential::{self, ActiveToken},
};

form! {
    pub(crate) struct Issue {
        scope: Option<Vec<String>>,
        preset: Option<String>,
        expires_in_days: Option<Nullable<i64>>,
        grace_seconds: Option<i64>,
    }
}

/// The fields of the request for the new token.
pub(crate) struct Requested {
    pub(crate) scope: Option<Patterns>,
    pub(crate) lifetime: Option<Lifetime>,
    grace_seconds: Option<i64>,
}

impl Requested {
    async fn read(app: &App, caller: &Caller, body: &Issue) -> Result<Self, ApiError> {
        mint::grace(body.grace_seconds, 0)?;
        let scope = (body.scope.as_deref(), body.preset.as_deref());
        let fresh = Self::fresh(app, caller, scope, body.expires_in_days.clone()).await?;
        Ok(Self { grace_seconds: body.grace_seconds, ..fresh })
    }

    /// The fields of a request for a token that leaves none in its grace.
    pub(crate) async fn fresh(
        app: &App,
        caller: &Caller,
        (scope, preset): (Option<&[String]>, Option<&str>),
        expires_in_days: Option<Nullable<i64>>,
    ) -> Result<Self, ApiError> {
        let scope = mint::requested_scope(app.db(), caller, scope, preset).await?.map(|requested| requested.scope);
        Ok(Self { scope, lifetime: mint::lifetime(expires_in_days)?, grace_seconds: None })
    }
}

/// The scopes of the new token, and how long the old one lives on, seconds.
pub(crate) struct Plan {
    pub(crate) scope: Patterns,
    pub(crate) expires_at: Option<Timestamp>,
    grace: i64,
    pub(crate) warnings: Vec<String>,
    grantee: Option<String>,
}

impl Plan {
    async fn make(write: &Write<'_>, agent: &Agent, requested: Requested) -> Result<Self, ApiError> {
        let caller = &write.caller;
        let active = credential::active(&write.tx, &agent.id).await?;
        if let Some(own) = active.filter(|active| active.id == *caller.credential_id()) {
            return Self::rotate_own(caller, own, &requested);
        }
        let plan = Self::fresh(write, agent, requested.scope, requested.lifetime).await?;
        Ok(Self { grace: mint::grace(requested.grace_seconds, 0)?, ..plan })
    }

    /// A token that ends the one before at once.
    pub(crate) async fn fresh(
        write: &Write<'_>,
        agent: &Agent,
        scope: Option<Patterns>,
        lifetime: Option<Lifetime>,
    ) -> Result<Self, ApiError> {
        let caller = &write.caller;
        check_not_replaced(write, agent).await?;
        let scope = scope.unwrap_or_else(|| agent.settings.scope.clone());
        let grantee = grantee::of(&write.tx, &write.caller, agent, write.now()).await?;
        let scope = grantable_scope(write, agent, &scope, grantee.is_none())?;
        let (expires_at, capped) = caller.cap_life(lifetime, write.now())?;
        let mut warnings = Vec::from_iter(capped);
        mint::warn_of_no_effect(caller, &scope, agent.owner.role, true, &mut warnings);
        Ok(Self { scope, expires_at, grace: 0, warnings, grantee })
    }

    /// A token that replaces itself keeps its scope and its end, and leaves its bearer time to take the new one into use.
    fn rotate_own(caller: &Caller, own: ActiveToken, requested: &Requested) -> Result<Self, ApiError> {
        if requested.scope.is_some() || requested.lifetime.is_some() {
            return Err(Code::RotationKeepsRights.into());
        }
        let grace = mint::grace(requested.grace_seconds, mint::OWN_GRACE)?;
        Ok(Self {
            scope: Patterns::stored(&own.scope),
            expires_at: own.expires_at,
            grace,
            warnings: Vec::new(),
            grantee: caller.grantee().map(str::to_owned),
        })
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

/// A token that was just issued, as it is answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IssuedToken")]
pub(crate) struct Issued {
    token: String,
    id: CredentialId,
    prefix: String,
    issued_at: Timestamp,
    expires_at: Option<Timestamp>,
    scope: Patterns,
    warnings: Vec<String>,
    /// When the one before ends, if it has a grace.
    #[serde(skip)]
    grace_ends: Option<Timestamp>,
}

impl Issued {
    /// Mints the token, which takes the place of the agent's one before, and delivers that to the agent.
    pub(crate) async fn mint(write: &Write<'_>, agent: &Agent, plan: Plan) -> Result<Self, ApiError> {
        let Plan { scope, expires_at, grace, warnings, grantee } = plan;
        let grace_ends = (grace > 0).then(|| write.now().plus_seconds(grace));
        let id = CredentialId::generate(write.now(), write.app().chance());
        credential::replace_active(&write.tx, &agent.id, &id, grace_ends, write.now()).await?;
        let new = NewCredential {
            kind: Kind::AgentToken,
            id,
            user: &agent.owner.id,
            agent: Some(&agent.id),
            key: None,
            name: None,
            scope: &scope,
            expires_at,
            grantee: grantee.as_deref(),
        };
        let secret = mint::credential(&write.tx, &write.origin(), &new).await?;
        let (id, token, prefix) = (new.id, secret.reveal().to_owned(), secret.shown());
        let data = json!({ "token": id, "grace_ends": grace_ends });
        write.emit(Event::of_agent(EventKind::AgentTokenRotated, &agent.id).data(data)).await?;
        Ok(Self { token, id, prefix, issued_at: write.now(), expires_at, scope, warnings, grace_ends })
    }

    /// What the audit row says of it.
    pub(crate) fn audited(&self) -> Json {
        json!({ "token": self.id, "scope": self.scope, "expires_at": self.expires_at, "grace_ends": self.grace_ends })
    }
}

/// `POST /api/agents/{name}/token/issue`: replaces the agent's token.
pub(crate) async fn issue(change: Change<Body<Issue>>, Path(name): Path) -> Result<Response, ApiError> {
    let requested = Requested::read(&change.app, &change.caller, &change.input.0).await?;
    change
        .on_agent(&name, async |write, agent, _| {
            let plan = Plan::make(write, &agent, requested).await?;
            let issued = Issued::mint(write, &agent, plan).await?;
            Ok(Answer::ok(&issued)?.with_secret().audited(&agent.id, Null, issued.audited()))
        })
        .await
}

/// The part of this scope that a credential of the agent may carry. For every caller it refuses scopes beyond the agent's
/// ceiling, and scopes wider than the caller, which gets the secret. A refusal names all of them.
pub(crate) fn grantable_scope(
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

/// `DELETE /api/agents/{name}/token`: revokes the agent's token, and the one in its grace. 204 too when there is none.
pub(crate) async fn revoke(change: Change<()>, Path(name): Path) -> Result<Response, ApiError> {
    change
        .on_agent(&name, async |write, agent, ()| {
            let revoked = credential::revoke_tokens(&write.tx, &agent.id, write.now()).await?;
            if revoked.is_empty() {
                return Ok(Answer::no_content().unchanged());
            }
            write
                .emit_ended(
                    EventKind::AgentTokenRevoked,
                    (&agent.id, &agent.name),
                    &agent.owner.id,
                    "revoked the token",
                    &revoked,
                )
                .await?;
            Ok(Answer::no_content().audited(&agent.id, Null, json!({ "revoked": revoked })))
        })
        .await
}

#[cfg(test)]
mod tests;
