//! Secrets of an agent: credentials of other services that it needs. People and agents that may change it set them and see their names and
//! ages; only the agent itself reads the values, and each time is an audit row.

use std::collections::BTreeMap;

use common::{
    agent_secret::{SecretName, SecretValue},
    error::{ApiError, Code},
    route::Route,
    scope::Scope,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change, Write},
    extract::{Body, Path, Query},
    form, object,
    response::{Response, json},
    secrets::{self, NewSecrets},
};
use store::{
    agent::{
        Agent,
        secret::{self, SecretRecord},
    },
    probe,
};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Secrets")]
pub(crate) struct All {
    items: Vec<SecretRecord>,
    /// What keeps the agent from reading them; left out: nothing does, or nothing was set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// A secret that was set.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SetSecret")]
pub(crate) struct Set {
    #[serde(flatten)]
    record: SecretRecord,
    /// What keeps the agent from reading it; left out: nothing does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// `GET /api/agents/{name}/secrets`: names and ages, by name. The list has one page, since an agent has at most 64.
pub(crate) async fn list(
    app: App,
    caller: Caller,
    route: &'static Route,
    Path(name): Path,
) -> Result<Response, ApiError> {
    let agent = object::agent(app.db(), &caller, route, &name, app.now()).await?;
    json(StatusCode::OK, &All { items: secret::list(app.db(), &agent.id).await?, warnings: Vec::new() })
}

/// `GET /api/agents/{name}/secrets/{key}`: the age of one.
pub(crate) async fn get(
    app: App,
    caller: Caller,
    route: &'static Route,
    Path(name): Path,
    Path(key): Path,
) -> Result<Response, ApiError> {
    let agent = object::agent(app.db(), &caller, route, &name, app.now()).await?;
    let found = secret::find(app.db(), &agent.id, &key).await?;
    json(StatusCode::OK, &found.ok_or_else(|| not_found(&agent))?)
}

fn not_found(agent: &Agent) -> ApiError {
    Code::SecretNotFound.with("agent", &agent.name)
}

form! {
    pub(crate) struct Several {
        secrets: BTreeMap<String, String>,
    }
}

/// `PUT /api/agents/{name}/secrets`: sets several, all of them or none. Those that it does not name stay, and are answered to callers that
/// may see which there are.
pub(crate) async fn set_several(mut change: Change<Body<Several>>, Path(name): Path) -> Result<Response, ApiError> {
    let sent = std::mem::take(&mut change.input.0.secrets);
    if sent.is_empty() {
        return Err(ApiError::field("secrets", "must contain at least one secret"));
    }
    let new = NewSecrets::read(sent)?;
    change
        .on_agent(&name, async |write, agent, _| {
            let (before, after) = store(write, &agent, &new).await?;
            let mut items = secret::list(&write.tx, &agent.id).await?;
            if !write.caller.scope().contains(Scope::AgentsSecretsRead) {
                let names = new.names();
                items.retain(|item| names.contains(&item.name));
            }
            let warnings = secrets::barrier(write, &agent).await?.into_iter().collect();
            Ok(Answer::ok(&All { items, warnings })?.audited(&agent.id, before, after))
        })
        .await
}

form! {
    pub(crate) struct One {
        value: String,
    }
}

/// `PUT /api/agents/{name}/secrets/{key}`: sets one.
pub(crate) async fn set(
    mut change: Change<Body<One>>,
    Path(name): Path,
    Path(key): Path,
) -> Result<Response, ApiError> {
    let value = std::mem::take(&mut change.input.0.value);
    let new = NewSecrets::read(BTreeMap::from([(key.clone(), value)]))?;
    change
        .on_agent(&name, async |write, agent, _| {
            let (before, after) = store(write, &agent, &new).await?;
            let made = secret::find(&write.tx, &agent.id, &key).await?.ok_or_else(|| not_found(&agent))?;
            let warnings = secrets::barrier(write, &agent).await?.into_iter().collect();
            Ok(Answer::ok(&Set { record: made, warnings })?.audited(&agent.id, before, after))
        })
        .await
}

/// Stores secrets and tells the agent. Gives what the audit row says of before and after.
async fn store(write: &Write<'_>, agent: &Agent, new: &NewSecrets) -> Result<(Json, Json), ApiError> {
    let names = new.names();
    let before: Vec<SecretRecord> = secret::list(&write.tx, &agent.id).await?;
    let replaced: Vec<&SecretRecord> = before.iter().filter(|old| names.contains(&old.name)).collect();
    new.store(write, agent).await?;
    secrets::tell(write, &agent.id, &names, &[]).await?;
    Ok((json!({ "replaced": replaced }), json!({ "set": names })))
}

/// `DELETE /api/agents/{name}/secrets/{key}`.
pub(crate) async fn delete(change: Change<()>, Path(name): Path, Path(key): Path) -> Result<Response, ApiError> {
    change
        .on_agent(&name, async |write, agent, ()| {
            let found = secret::find(&write.tx, &agent.id, &key).await?.ok_or_else(|| not_found(&agent))?;
            secret::delete(&write.tx, &agent.id, &found.name).await?;
            probe::secrets_have_changed(&write.tx, &agent.id, std::slice::from_ref(&found.name), write.now()).await?;
            secrets::tell(write, &agent.id, &[], std::slice::from_ref(&found.name)).await?;
            Ok(Answer::no_content().audited(&agent.id, json!({ "secret": found }), Null))
        })
        .await
}

form! {
    pub(crate) struct Values {
        format: Option<String>,
    }
}

/// The values of an agent's secrets, as JSON.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "SecretValues")]
pub(crate) enum Shown {
    /// With `format=json`, or without a format.
    Json(NamedSecrets),
    /// With `format=files`: each text by the name of its file.
    Files(BTreeMap<String, String>),
}

/// The values of an agent's secrets by their names.
#[derive(Serialize, JsonSchema)]
pub(crate) struct NamedSecrets {
    /// Each value by its name.
    secrets: BTreeMap<String, String>,
}

/// The forms in which an agent reads its secrets.
#[derive(Clone, Copy)]
enum Format {
    /// `{"secrets": {NAME: value}}`.
    Json,
    /// Lines of a POSIX shell.
    Env,
    /// `{NAME: text}`: what stands in a file of each name.
    Files,
}

impl Format {
    const ALL: [(&'static str, Self); 3] = [("json", Self::Json), ("env", Self::Env), ("files", Self::Files)];

    fn parse(word: Option<&str>) -> Result<(&'static str, Self), ApiError> {
        let Some(word) = word else { return Ok(("json", Self::Json)) };
        let found = Self::ALL.into_iter().find(|(name, _)| *name == word);
        let valid = Self::ALL.map(|(name, _)| name).join(", ");
        found.ok_or_else(|| Code::InvalidFilter.with("field", "format").with("valid", valid))
    }

    fn answer(self, values: &[(SecretName, SecretValue)]) -> Result<Answer, ApiError> {
        let map = || -> BTreeMap<String, String> {
            values.iter().map(|(name, value)| (name.as_str().to_owned(), value.reveal().to_owned())).collect()
        };
        match self {
            Self::Json => Answer::ok(&Shown::Json(NamedSecrets { secrets: map() })),
            Self::Files => Answer::ok(&Shown::Files(map())),
            Self::Env => {
                let lines = values.iter().map(|(name, value)| value.to_shell(name)).collect();
                Ok(Answer::text("text/plain; charset=utf-8", lines))
            }
        }
    }
}

/// `GET /api/agents/me/secrets/values?format=`: the calling agent's own secrets. It writes an audit row with their names.
pub(crate) async fn values(change: Change<()>, Query(query): Query<Values>) -> Result<Response, ApiError> {
    let (word, format) = Format::parse(query.format.as_deref())?;
    change
        .run(async |write, ()| {
            let id = write.caller.agent_id().ok_or(Code::AgentRequired)?;
            let values = secrets::values(write.app(), &write.tx, write.caller.tenant_id(), id).await?;
            let names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
            let answer = format.answer(&values)?.with_secret();
            Ok(answer.audited(id, Null, json!({ "format": word, "names": names })))
        })
        .await
}

#[cfg(test)]
mod tests;
