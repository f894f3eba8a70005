use common::{
    agent::AgentState,
    error::ApiError,
    id::{AgentId, CredentialId, UserId},
    role::Role,
    secret::Kind,
    time::Timestamp,
};
use http::StatusCode;
use serde::Serialize;
use service::{
    caller::Caller,
    response::{Response, json},
};

#[derive(Serialize)]
struct Whoami<'a> {
    tenant: &'a str,
    user_id: &'a UserId,
    email: &'a str,
    role: Role,
    agent_id: Option<&'a AgentId>,
    agent_name: Option<&'a str>,
    agent_state: Option<AgentState>,
    credential: Credential<'a>,
    scope: Vec<&'a str>,
    /// What a change by cookie must send in `x-csrf-token`. Only pages of this site can read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
}

#[derive(Serialize)]
struct Credential<'a> {
    id: &'a CredentialId,
    kind: Kind,
    prefix: &'a str,
    expires_at: Option<Timestamp>,
    /// The editor on whose grant it rests: then it reaches its agent alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    grantee: Option<&'a str>,
}

/// `GET /api/auth/whoami`: the credential's person, its agent if it is one's, and what it may do now. The guard has read all of it.
pub(crate) async fn whoami(caller: Caller) -> Result<Response, ApiError> {
    let scopes = caller.scopes();
    let form = Whoami {
        tenant: caller.tenant(),
        user_id: caller.user_id(),
        email: caller.email(),
        role: caller.role(),
        agent_id: caller.agent_id(),
        agent_name: caller.agent().map(|(name, _)| name),
        agent_state: caller.agent().map(|(_, state)| state),
        credential: Credential {
            id: caller.credential_id(),
            kind: caller.credential_kind(),
            prefix: caller.credential_prefix(),
            expires_at: caller.expires_at(),
            grantee: caller.grantee(),
        },
        scope: scopes.names(caller.custom_scopes()),
        csrf_token: caller.by_cookie().then(|| caller.csrf_token()),
    };
    json(StatusCode::OK, &form)
}

#[cfg(test)]
mod tests;
