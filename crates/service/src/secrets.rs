//! Secrets of agents, between the vault and the database: read from a body, sealed, and opened for the agent alone, or for the header of a
//! probe.

use std::collections::BTreeMap;

use common::{
    agent_secret::{SecretName, SecretValue},
    error::{ApiError, Code},
    event::EventKind,
    id::{AgentId, TenantId},
    scope::Scope,
    vault,
};
use serde_json::json;
use store::{
    agent::{
        Agent,
        secret::{self, Sealed},
    },
    db::Rows,
    probe,
};

use crate::{
    app::{App, log},
    caller::Caller,
    change::Write,
    event::Event,
    quota,
};

/// Secrets that a caller sent, checked.
pub struct NewSecrets(Vec<(SecretName, SecretValue)>);

impl NewSecrets {
    /// Checks what was sent. A refusal names the secret and nothing of its value.
    pub fn read(sent: BTreeMap<String, String>) -> Result<Self, ApiError> {
        let one = |(name, value): (String, String)| {
            let name = SecretName::read(&name)?;
            let value = SecretValue::read(&name, value)?;
            Ok((name, value))
        };
        sent.into_iter().map(one).collect::<Result<_, ApiError>>().map(Self)
    }

    /// The names, in order.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.as_str().to_owned()).collect()
    }

    /// Stores all of them, or refuses all: the agent keeps what it has beside them. 503 `secrets_disabled`: the operator has set no key.
    pub async fn store(&self, write: &Write<'_>, agent: &Agent) -> Result<(), ApiError> {
        let (app, tenant) = (write.app(), write.caller.tenant_id());
        let mut sealed = Vec::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            let place = [tenant.as_str(), agent.id.as_str(), name.as_str()];
            let bytes = app.settings().vault.seal(vault::SECRET, &place, value.reveal(), app.chance())?;
            sealed.push(Sealed { name: name.as_str().to_owned(), sealed: bytes });
        }
        let by = write.caller.subject().id();
        if !secret::set(&write.tx, &agent.id, sealed, by, write.now()).await? {
            return Err(Code::TooManySecrets.with("agent", &agent.name));
        }
        probe::secrets_have_changed(&write.tx, &agent.id, &self.names(), write.now()).await?;
        quota::check_bytes_of_agents(app, &write.tx, &write.caller, &agent.owner.id).await
    }
}

/// What keeps the agent from reading its secrets with the token that it has, as a sentence that says what to do; `None`: nothing does.
pub async fn barrier(write: &Write<'_>, agent: &Agent) -> Result<Option<String>, ApiError> {
    const SCOPE: Scope = Scope::AgentsSecretsRead;
    let bearer = match &agent.token {
        Some(token) => Caller::of_record(&write.tx, token.id.as_str(), write.now()).await?,
        None => None,
    };
    let ceiling = agent.settings.scope.set().or(agent.approved.set());
    let can_read = bearer.as_ref().map_or(ceiling.contains(SCOPE), |bearer| bearer.require(SCOPE).is_ok());
    if can_read {
        return Ok(None);
    }
    let (name, scope) = (&agent.name, SCOPE.as_str());
    if !agent.owner.role.ceiling().contains(SCOPE) {
        let role = agent.owner.role.as_str();
        return Ok(Some(format!("The owner's role {role} lacks {scope}, so {name} cannot read its secrets.")));
    }
    Ok(Some(match agent.settings.scope.set().contains(SCOPE) {
        true => format!(
            "The token of {name} does not carry {scope}, so {name} cannot read its secrets: replace it with POST /api/agents/{name}/token/issue."
        ),
        false => format!(
            "The scope of {name} lacks {scope}, so {name} cannot read its secrets: add it with PATCH /api/agents/{name}, then issue its token anew."
        ),
    }))
}

/// Tells the agent that its secrets are others now.
pub async fn tell(write: &Write<'_>, agent: &AgentId, set: &[String], deleted: &[String]) -> Result<(), ApiError> {
    let data = json!({ "set": set, "deleted": deleted });
    write.emit(Event::of_agent(EventKind::SecretChanged, agent).data(data)).await.map(drop)
}

/// `None`: the name is one that is refused since, and was taken by an earlier release. It holds up none of the others.
fn open(
    app: &App,
    tenant: &TenantId,
    agent: &AgentId,
    row: Sealed,
) -> Result<Option<(SecretName, SecretValue)>, ApiError> {
    let Some(name) = SecretName::parse(&row.name) else {
        let left_out = format!("{agent} has a secret {}, which could steer programs and is given to nobody", row.name);
        log(app.request_id(), "secrets", &left_out);
        return Ok(None);
    };
    let place = [tenant.as_str(), agent.as_str(), name.as_str()];
    let text = app.settings().vault.open(vault::SECRET, &place, &row.sealed)?;
    Ok(Some((name, SecretValue::opened(text))))
}

/// The agent's secrets with their values, by name: for the agent itself, and for whatever equips it. 503 `secrets_disabled`: one of them was
/// sealed under a key that is not set.
pub async fn values(
    app: &App,
    reads: &dyn Rows,
    tenant: &TenantId,
    agent: &AgentId,
) -> Result<Vec<(SecretName, SecretValue)>, ApiError> {
    let rows = secret::list_sealed(reads, agent).await?;
    rows.into_iter().filter_map(|row| open(app, tenant, agent, row).transpose()).collect()
}

/// One secret's value. `None`: the agent has no such secret.
pub async fn value(
    app: &App,
    reads: &dyn Rows,
    tenant: &TenantId,
    agent: &AgentId,
    name: &str,
) -> Result<Option<SecretValue>, ApiError> {
    match secret::find_sealed(reads, agent, name).await? {
        Some(row) => Ok(open(app, tenant, agent, row)?.map(|(_, value)| value)),
        None => Ok(None),
    }
}
