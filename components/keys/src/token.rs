//! An agent's token: issue and revoke.
//!
//! Issuing is one transaction: it revokes the token in its grace, revokes the active one or moves it into the grace, and stores the
//! new one. An index lets at most one token stand in each of the two places, even if several callers issue at once.

use common::{
    error::{ApiError, Code},
    event::EventKind,
    id::CredentialId,
    proof::is_thumbprint,
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
    issue::{Plan, Requested},
    mint::{self, Life, NewCredential},
    proof,
    response::Response,
};
use store::{
    agent::Agent,
    code,
    credential::{self, ActiveToken},
};

form! {
    pub(crate) struct Issue {
        scope: Option<Vec<String>>,
        preset: Option<String>,
        grace_seconds: Option<i64>,
        dpop_jkt: Option<String>,
        ..life: Life,
    }
}

/// The fields of the request for the new token, with the seconds that the one before lives on.
struct Wanted {
    requested: Requested,
    grace_seconds: Option<i64>,
    /// The thumbprint of the key that it is to be bound to.
    key: Option<String>,
}

impl Wanted {
    async fn read(app: &App, caller: &Caller, body: &Issue) -> Result<Self, ApiError> {
        mint::grace(body.grace_seconds, 0)?;
        let scope = (body.scope.as_deref(), body.preset.as_deref());
        let requested = Requested::read(app, caller, scope, &body.life).await?;
        let key = key(app, caller, body.dpop_jkt.as_deref()).await?;
        Ok(Self { requested, grace_seconds: body.grace_seconds, key })
    }

    /// What is issued, and the key that it is bound to.
    async fn plan(mut self, write: &Write<'_>, agent: &Agent) -> Result<(Plan, Option<String>), ApiError> {
        let caller = &write.caller;
        let active = credential::active(&write.tx, &agent.id).await?;
        if let Some(own) = active.filter(|active| active.id == *caller.credential_id()) {
            let plan = rotate_own(caller, own, &self)?;
            // A token that is bound makes none that is not.
            return Ok((plan, self.key.or(caller.bound_to().map(str::to_owned))));
        }
        let key = self.key.take();
        let plan = Plan::fresh(write, agent, self.requested).await?;
        Ok((Plan { grace: mint::grace(self.grace_seconds, 0)?, ..plan }, key))
    }
}

/// The key that the new token is to be bound to: the one whose thumbprint is sent, or else the one that the request proves. The proof of a
/// caller whose own credential is bound is about that one.
async fn key(app: &App, caller: &Caller, sent: Option<&str>) -> Result<Option<String>, ApiError> {
    if let Some(sent) = sent
        && !is_thumbprint(sent)
    {
        let problem = "must be the SHA-256 thumbprint of a public key (RFC 7638): 43 characters of base64url";
        return Err(ApiError::field("dpop_jkt", problem));
    }
    let proved = if caller.bound_to().is_none() { proof::of_request(app).await? } else { None };
    match (sent, proved) {
        (Some(sent), Some(proved)) if sent != proved => {
            Err(ApiError::field("dpop_jkt", "is not the thumbprint of the key that the header DPoP proves"))
        }
        (sent, proved) => Ok(proved.or(sent.map(str::to_owned))),
    }
}

/// A token that replaces itself keeps its scope and its end, and leaves its bearer time to take the new one into use.
fn rotate_own(caller: &Caller, own: ActiveToken, wanted: &Wanted) -> Result<Plan, ApiError> {
    if wanted.requested.scope.is_some() || wanted.requested.lifetime.is_some() {
        return Err(Code::RotationKeepsRights.into());
    }
    let grace = mint::grace(wanted.grace_seconds, mint::OWN_GRACE)?;
    Ok(Plan {
        scope: Patterns::stored(&own.scope).defined(caller.custom_scopes()),
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
    /// The thumbprint of the key that it is bound to: without proofs of that key it is worth nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    dpop_jkt: Option<String>,
    pub(crate) warnings: Vec<String>,
    /// When the one before ends, if it has a grace.
    #[serde(skip)]
    grace_ends: Option<Timestamp>,
}

impl Issued {
    /// Mints the token, which takes the place of the agent's one before, and delivers that to the agent.
    pub(crate) async fn mint(
        write: &Write<'_>,
        agent: &Agent,
        plan: Plan,
        key: Option<String>,
    ) -> Result<Self, ApiError> {
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
        if let Some(key) = &key {
            credential::bind(&write.tx, &new.id, key).await?;
        }
        let (id, token, prefix) = (new.id, secret.reveal().to_owned(), secret.shown());
        let data = json!({ "token": id, "grace_ends": grace_ends });
        write.emit(Event::of_agent(EventKind::AgentTokenRotated, &agent.id).data(data)).await?;
        let issued_at = write.now();
        Ok(Self { token, id, prefix, issued_at, expires_at, scope, dpop_jkt: key, warnings, grace_ends })
    }

    /// What the audit row says of it.
    pub(crate) fn audited(&self) -> Json {
        let mut row = json!({ "token": self.id, "scope": self.scope, "expires_at": self.expires_at, "grace_ends": self.grace_ends });
        if let (Some(key), Some(members)) = (&self.dpop_jkt, row.as_object_mut()) {
            members.insert("dpop_jkt".to_owned(), json!(key));
        }
        row
    }
}

/// `POST /api/agents/{name}/token/issue`: replaces the agent's token.
pub(crate) async fn issue(change: Change<Body<Issue>>, Path(name): Path) -> Result<Response, ApiError> {
    let wanted = Wanted::read(&change.app, &change.caller, &change.input.0).await?;
    change
        .on_agent(&name, async |write, agent, _| {
            let (plan, key) = wanted.plan(write, &agent).await?;
            let issued = Issued::mint(write, &agent, plan, key).await?;
            Ok(Answer::ok(&issued)?.with_secret().audited(&agent.id, Null, issued.audited()))
        })
        .await
}

/// `DELETE /api/agents/{name}/token`: revokes the agent's token, and the one in its grace. 204 too when there is none.
pub(crate) async fn revoke(change: Change<()>, Path(name): Path) -> Result<Response, ApiError> {
    change
        .on_agent(&name, async |write, agent, ()| {
            let revoked = credential::revoke_tokens(&write.tx, &agent.id, write.now()).await?;
            // A code that waits would be the agent's next token.
            let codes = code::end_of_agent(&write.tx, code::Kind::Enrolment, &agent.id).await?;
            if revoked.is_empty() && codes == 0 {
                return Ok(Answer::no_content().unchanged());
            }
            if revoked.is_empty() {
                return Ok(Answer::no_content().audited(&agent.id, Null, json!({ "codes_ended": codes })));
            }
            write
                .emit_ended(EventKind::AgentTokenRevoked, (&agent.id, &agent.name), "revoked the token", &revoked)
                .await?;
            Ok(Answer::no_content().audited(&agent.id, Null, json!({ "revoked": revoked, "codes_ended": codes })))
        })
        .await
}

#[cfg(test)]
mod tests;
