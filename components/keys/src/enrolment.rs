//! Enrolment: a one-time code that a runtime trades for the token of its agent, so that no token travels.
//!
//! A code gives nothing by itself. When it is traded, everything is decided as if its maker issued the token at that moment: the maker's
//! credential must still be accepted, and must still allow it.

use std::collections::BTreeMap;

use common::{
    error::{ApiError, Code},
    route::{self, Route},
    scope::{Patterns, Scope},
    secret::OneTimeCode,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{self, Answer, Audited, Change, Write},
    enrolment::{Made, OF_DEPLOYMENT, make},
    extract::{Body, Path},
    form,
    form::Nullable,
    issue::{Plan, Requested},
    mint::Life,
    object, proof,
    response::Response,
    secrets,
};
use store::{
    agent::{self, Agent, secret},
    code::{self, Granted, Kind},
    db::{Purpose, Tx},
    notification,
};

use crate::token::Issued;

form! {
    pub(crate) struct New {
        scope: Option<Vec<String>>,
        preset: Option<String>,
        ..life: Life,
    }
}

/// `POST /api/agents/{name}/enrolment`: makes a code. An agent has at most one that was not used.
pub(crate) async fn create(change: Change<Body<New>>, Path(name): Path) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let asked = (body.scope.as_deref(), body.preset.as_deref());
    let requested = Requested::read(&change.app, &change.caller, asked, &body.life).await?;
    change
        .on_agent(&name, async |write, agent, _| {
            let made = make(write, &agent, &requested, false).await?;
            Ok(Answer::created(&made)?.with_secret().audited(&agent.id, Null, made.audited()))
        })
        .await
}

/// `DELETE /api/agents/{name}/enrolment`: ends the code that was not used. 204 too when there is none.
pub(crate) async fn revoke(change: Change<()>, Path(name): Path) -> Result<Response, ApiError> {
    change
        .on_agent(&name, async |write, agent, ()| {
            let ended = code::end_of_agent(&write.tx, Kind::Enrolment, &agent.id).await?;
            let answer = Answer::no_content();
            Ok(if ended == 0 { answer.unchanged() } else { answer.audited(&agent.id, Null, Null) })
        })
        .await
}

/// What became of each agent, by its name.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(rename = "EnrolmentResults")]
pub(crate) struct Results {
    /// Those that have a code now.
    issued: BTreeMap<String, Made>,
    /// Those that were left out.
    skipped: BTreeMap<String, Skipped>,
    /// The refusals of the others.
    failed: BTreeMap<String, Json>,
}

/// Why an agent was left out.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SkippedEnrolment")]
struct Skipped {
    /// `has_token`: it has a live token.
    reason: &'static str,
}

form! {
    pub(crate) struct NewOfMany {
        names: Vec<String>,
        with_token: Option<bool>,
        scope: Option<Vec<String>>,
        preset: Option<String>,
        ..life: Life,
    }
}

/// `POST /api/agents/bulk/enrolment`: codes for several agents, each decided by itself. An agent that has a live token is skipped,
/// unless the body says `with_token`. 200: nothing failed; 207: some did; 409: there is not one code.
pub(crate) async fn create_many(mut change: Change<Body<NewOfMany>>) -> Result<Response, ApiError> {
    let route = change.route();
    object::check_names(&change.input.0.names)?;
    let names = std::mem::take(&mut change.input.0.names);
    let ids = agent::ids(change.app.db(), change.caller.tenant_id(), &names).await?;
    change.bind(ids.iter().map(String::as_str));
    let Body(body) = &change.input;
    let asked = (body.scope.as_deref(), body.preset.as_deref());
    let also_with_token = body.with_token.unwrap_or(false);
    let requested = Requested::read(&change.app, &change.caller, asked, &body.life).await?;
    change
        .run(async |write, _| {
            let mut results = Results::default();
            let mut changes = Vec::new();
            for (name, id) in names.into_iter().zip(&ids) {
                let outcome = match object::agent(&write.tx, &write.caller, route, id, write.now()).await {
                    Ok(agent) if agent.has_token && !also_with_token => {
                        results.skipped.insert(name, Skipped { reason: "has_token" });
                        continue;
                    }
                    Ok(agent) => make(write, &agent, &requested, false).await.map(|made| (agent, made)),
                    Err(refusal) => Err(refusal),
                };
                match outcome {
                    Ok((agent, made)) => {
                        changes.push(Audited { object: agent.id.to_string(), before: Null, after: made.audited() });
                        results.issued.insert(name, made);
                    }
                    Err(refusal) if refusal.code().row().status >= 500 => return Err(refusal),
                    Err(refusal) => drop(results.failed.insert(name, write.refused(&refusal))),
                }
            }
            let status = if results.failed.is_empty() { StatusCode::OK } else { StatusCode::MULTI_STATUS };
            if changes.is_empty() && !results.failed.is_empty() {
                return Err(ApiError::from(Code::NoneChanged).extra("results", json!(results)));
            }
            let answer = Answer::json(status, &results)?;
            Ok(if changes.is_empty() { answer.unchanged() } else { answer.with_secret().audited_all(changes) })
        })
        .await
}

form! {
    pub(crate) struct Enrol {
        code: String,
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Enrolled<'a> {
    agent: &'a Agent,
    #[serde(flatten)]
    token: Issued,
    /// The agent's secrets. `None`: the token cannot read them now.
    secrets: Option<BTreeMap<String, String>>,
}

/// The secrets that the new token could read with its first request, each with its value; reading them is an audit row. A token that could
/// not read them brings none, and says so.
async fn secrets_of(
    write: &Write<'_>,
    agent: &Agent,
    token: &mut Issued,
) -> Result<Option<BTreeMap<String, String>>, ApiError> {
    let bearer = Caller::of_record(&write.tx, token.id.as_str(), write.now()).await?.ok_or(Code::InvalidToken)?;
    let can_read = bearer.check_live().and_then(|()| bearer.check_agent());
    let Err(refusal) = can_read.and_then(|()| bearer.require(Scope::AgentsSecretsRead)) else {
        let values = secrets::values(write.app(), &write.tx, write.caller.tenant_id(), &agent.id).await?;
        let names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
        let after = json!({ "format": "enrolment", "names": names });
        write.record("agent.secret.read", agent.id.as_str(), Null, after).await?;
        let shown = values.iter().map(|(name, value)| (name.as_str().to_owned(), value.reveal().to_owned()));
        return Ok(Some(shown.collect()));
    };
    if !secret::list(&write.tx, &agent.id).await?.is_empty() {
        let why = match refusal.code() {
            Code::AgentPaused | Code::AgentStopped => format!("the agent is {}", agent.state.as_str()),
            Code::OverBudget => "the agent has spent more than its budget".to_owned(),
            Code::AccountDeactivated => "the account of its owner is deactivated".to_owned(),
            _ => "its token lacks the scope agents.secrets.read".to_owned(),
        };
        token.warnings.push(format!("The agent has secrets that this answer does not hold, because {why}."));
    }
    Ok(None)
}

/// `POST /api/agents/enroll`: trades a code for the agent's token, which ends the one before, for its secrets, and for the agent as it may
/// see itself.
pub(crate) async fn enrol(app: App, route: &'static Route, Body(body): Body<Enrol>) -> Result<Response, ApiError> {
    let refusal = Code::InvalidEnrolmentCode;
    let code = OneTimeCode::parse(body.code.trim()).ok_or(refusal)?;
    // Before the code is spent.
    let key = proof::of_request(&app).await?;
    let tx = app.db().begin(Purpose::Durable).await?;
    let Some(granted) = code::spend(&tx, Kind::Enrolment, &code.digest(), app.now()).await? else {
        tell_of_second_use(&app, tx, &code).await?;
        return Err(refusal.into());
    };
    let member = |name: &str| granted.data.get(name).cloned();
    let maker = member("maker").and_then(|maker| maker.as_str().map(str::to_owned)).ok_or(refusal)?;
    let scope = member("scope").and_then(|scope| scope.as_array().cloned());
    let scope = scope.map(|scope| scope.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" "));
    let scope = scope.map(|scope| Patterns::stored(&scope));
    let expires_in_days = member("expires_in_days").map(|days| Nullable(days.as_i64()));
    let sent = Life { expires_in_days, expires_in: member("expires_in").and_then(|seconds| seconds.as_i64()) };
    let requested = Requested { scope, lifetime: sent.read()?, sent };
    let id = granted.agent_id.ok_or(refusal)?;
    let is_of_deployment = member(OF_DEPLOYMENT).is_some();
    let made_by = if is_of_deployment { route::DEPLOY } else { route::ENROLMENT_CREATE };
    change::in_the_name_of(&app, tx, (maker.as_str(), made_by, route), refusal, async |write| {
        let agent = object::agent(&write.tx, &write.caller, made_by, id.as_str(), write.now()).await?;
        let plan = Plan::fresh(write, &agent, requested).await?;
        let mut token = Issued::mint(write, &agent, plan, key).await?;
        let secrets = secrets_of(write, &agent, &mut token).await?;
        let (after, id) = (token.audited(), agent.id.clone());
        // The agent above may be one that the maker reads and the agent itself does not.
        let agent = Agent { parent: None, ..agent };
        Ok(Answer::ok(&Enrolled { agent: &agent, token, secrets })?.with_secret().audited(&id, Null, after))
    })
    .await
}

/// Tells the owner, once, that a used code was sent again: one of the two senders may have stolen it.
async fn tell_of_second_use(app: &App, tx: Tx<'_>, code: &OneTimeCode) -> Result<(), ApiError> {
    let spent = code::was_spent(&tx, Kind::Enrolment, &code.digest()).await?;
    let Some(Granted { tenant_id, agent_id: Some(agent), .. }) = spent else { return Ok(()) };
    if let Some(agent) = agent::by_id(&tx, &agent, app.now()).await? {
        let title = format!("An enrolment code of {} was sent twice", agent.name);
        let body = format!(
            "The code gave a token to its first sender, and {} sent it again. If you do not know both senders, revoke the token of {} and make a new code.",
            app.address(),
            agent.name
        );
        let told = (&agent.owner.id, None);
        notification::insert_own(&tx, (&tenant_id, app.chance(), app.now()), told, (&title, &body)).await?;
    }
    Ok(tx.commit_as(Purpose::Entry).await?)
}

#[cfg(test)]
mod tests;
