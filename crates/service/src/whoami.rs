//! The caller, as it is told about itself.

use common::{
    agent::AgentState,
    id::{AgentId, CredentialId, UserId},
    role::Role,
    scope::Scopes,
    secret::Kind,
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::caller::Caller;

/// The credential's person, its agent if it is one's, and what it may do now.
#[derive(Serialize, JsonSchema)]
pub struct Whoami<'a> {
    tenant: &'a str,
    user_id: &'a UserId,
    email: &'a str,
    role: Role,
    agent_id: Option<&'a AgentId>,
    agent_name: Option<&'a str>,
    agent_state: Option<AgentState>,
    /// The address of the agent's owner; null for people.
    owner: Option<&'a str>,
    credential: Credential<'a>,
    /// What the caller may use now.
    scope: Vec<&'a str>,
    /// The most that any credential of the agent can carry; null for people.
    ceiling: Option<Vec<&'a str>>,
    /// What a change by cookie must send in `x-csrf-token`. Only pages of this site can read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OwnCredential")]
struct Credential<'a> {
    id: &'a CredentialId,
    kind: Kind,
    prefix: &'a str,
    expires_at: Option<Timestamp>,
    /// The editor on whose grant it rests: then it reaches its agent alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    grantee: Option<&'a str>,
}

impl<'a> Whoami<'a> {
    /// What the guard has read of the caller; `scopes` are [`Caller::scopes`].
    pub fn of(caller: &'a Caller, scopes: &'a Scopes) -> Self {
        Self {
            tenant: caller.tenant(),
            user_id: caller.user_id(),
            email: caller.email(),
            role: caller.role(),
            agent_id: caller.agent_id(),
            agent_name: caller.agent().map(|(name, _)| name),
            agent_state: caller.agent().map(|(_, state)| state),
            owner: caller.agent().map(|_| caller.email()),
            credential: Credential {
                id: caller.credential_id(),
                kind: caller.credential_kind(),
                prefix: caller.credential_prefix(),
                expires_at: caller.expires_at(),
                grantee: caller.grantee(),
            },
            scope: scopes.names(caller.custom_scopes()),
            ceiling: caller.agent().map(|_| caller.ceiling().split_ascii_whitespace().collect()),
            csrf_token: caller.by_cookie().then(|| caller.csrf_token()),
        }
    }
}
