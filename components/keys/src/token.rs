//! An agent's token: issue and revoke.
//!
//! Issuing is one transaction: it revokes the token in its grace, revokes the active one or moves it into the grace, and stores the
//! new one. An index lets at most one token stand in each of the two places, even if several callers issue at once.

use common::{
    error::{ApiError, Code},
    event::EventKind,
    id::CredentialId,
    scope::Patterns,
    secret::Kind,
    time::Timestamp,
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
    issue::{Plan, Requested},
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

/// The fields of the request for the new token, with the seconds that the one before lives on.
struct Wanted {
    requested: Requested,
    grace_seconds: Option<i64>,
}

impl Wanted {
    async fn read(app: &App, caller: &Caller, body: &Issue) -> Result<Self, ApiError> {
        mint::grace(body.grace_seconds, 0)?;
        let scope = (body.scope.as_deref(), body.preset.as_deref());
        let requested = Requested::read(app, caller, scope, body.expires_in_days.clone()).await?;
        Ok(Self { requested, grace_seconds: body.grace_seconds })
    }

    async fn plan(self, write: &Write<'_>, agent: &Agent) -> Result<Plan, ApiError> {
        let caller = &write.caller;
        let active = credential::active(&write.tx, &agent.id).await?;
        if let Some(own) = active.filter(|active| active.id == *caller.credential_id()) {
            return rotate_own(caller, own, &self);
        }
        let plan = Plan::fresh(write, agent, self.requested).await?;
        Ok(Plan { grace: mint::grace(self.grace_seconds, 0)?, ..plan })
    }
}

/// A token that replaces itself keeps its scope and its end, and leaves its bearer time to take the new one into use.
fn rotate_own(caller: &Caller, own: ActiveToken, wanted: &Wanted) -> Result<Plan, ApiError> {
    if wanted.requested.scope.is_some() || wanted.requested.lifetime.is_some() {
        return Err(Code::RotationKeepsRights.into());
    }
    let grace = mint::grace(wanted.grace_seconds, mint::OWN_GRACE)?;
    Ok(Plan {
        scope: Patterns::stored(&own.scope),
        expires_at: own.expires_at,
        grace,
        warnings: Vec::new(),
        grantee: caller.grantee().map(str::to_owned),
    })
}

/// A token that was just issued, as it is answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IssuedToken")]
pub(crate) struct Issued {
    token: String,
    pub(crate) id: CredentialId,
    prefix: String,
    issued_at: Timestamp,
    expires_at: Option<Timestamp>,
    scope: Patterns,
    pub(crate) warnings: Vec<String>,
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
    let wanted = Wanted::read(&change.app, &change.caller, &change.input.0).await?;
    change
        .on_agent(&name, async |write, agent, _| {
            let plan = wanted.plan(write, &agent).await?;
            let issued = Issued::mint(write, &agent, plan).await?;
            Ok(Answer::ok(&issued)?.with_secret().audited(&agent.id, Null, issued.audited()))
        })
        .await
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
                .emit_ended(EventKind::AgentTokenRevoked, (&agent.id, &agent.name), "revoked the token", &revoked)
                .await?;
            Ok(Answer::no_content().audited(&agent.id, Null, json!({ "revoked": revoked })))
        })
        .await
}

#[cfg(test)]
mod tests;
