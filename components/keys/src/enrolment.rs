//! Enrolment: a one-time code that a runtime trades for the token of its agent, so that no token travels.
//!
//! A code gives nothing by itself. When it is traded, everything is decided as if its maker issued the token at that moment: the maker's
//! credential must still be accepted, and must still allow it.

use common::{
    error::{ApiError, Code},
    id::NotificationId,
    route::{self, Route},
    scope::Patterns,
    secret::OneTimeCode,
    time::Timestamp,
};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value as Json, Value::Null, json};
use service::{
    app::App,
    change::{self, Answer, Audited, Change, Write},
    extract::{Body, Path},
    form,
    form::Nullable,
    mint, object,
    response::Response,
};
use store::{
    agent::{self, Agent},
    code::{self, Granted, Kind},
    db::{Purpose, Tx},
    notification,
};

use crate::token::{Issued, Plan, Requested};

form! {
    pub(crate) struct New {
        scope: Option<Vec<String>>,
        preset: Option<String>,
        expires_in_days: Option<Nullable<i64>>,
    }
}

#[derive(Serialize)]
struct Made {
    code: String,
    expires_at: Timestamp,
    agent_id: String,
    agent_name: String,
    scope: Patterns,
    token_expires_at: Option<Timestamp>,
    warnings: Vec<String>,
}

impl Made {
    fn audited(&self) -> Json {
        json!({ "expires_at": self.expires_at, "scope": self.scope })
    }
}

/// Makes a code for the agent, and ends those that it had. What the code would bring is refused here as it would be then.
async fn make(
    write: &Write<'_>,
    agent: &Agent,
    requested: &Requested,
    days: &Option<Nullable<i64>>,
) -> Result<Made, ApiError> {
    let Plan { scope, expires_at, warnings, .. } =
        Plan::fresh(write, agent, requested.scope.clone(), requested.lifetime).await?;
    let code = OneTimeCode::generate(write.app().chance());
    let mut data = json!({ "maker": write.caller.credential_id(), "scope": requested.scope });
    if let (Some(Nullable(days)), Some(members)) = (days, data.as_object_mut()) {
        members.insert("expires_in_days".to_owned(), json!(days));
    }
    let tenant = write.caller.tenant_id();
    let new = code::New { code: &code, kind: Kind::Enrolment, tenant, user: None, agent: Some(&agent.id), data: &data };
    code::end_of_agent(&write.tx, Kind::Enrolment, &agent.id).await?;
    let ends = code::insert(&write.tx, &new, write.now()).await?;
    Ok(Made {
        code: code.reveal().to_owned(),
        expires_at: ends,
        agent_id: agent.id.to_string(),
        agent_name: agent.name.clone(),
        scope,
        token_expires_at: expires_at,
        warnings,
    })
}

/// `POST /api/agents/{name}/enrolment`: makes a code. An agent has at most one that was not used.
pub(crate) async fn create(change: Change<Body<New>>, Path(name): Path) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let asked = (body.scope.as_deref(), body.preset.as_deref());
    let days = body.expires_in_days.clone();
    let requested = Requested::fresh(&change.app, &change.caller, asked, days.clone()).await?;
    change
        .on_agent(&name, async |write, agent, _| {
            let made = make(write, &agent, &requested, &days).await?;
            Ok(Answer::created(&made)?.with_secret().audited(&agent.id, Null, made.audited()))
        })
        .await
}

/// `DELETE /api/agents/{name}/enrolment`: ends the code that was not used. 204 too when there is none.
pub(crate) async fn revoke(change: Change<()>, Path(name): Path) -> Result<Response, ApiError> {
    change
        .on_agent(&name, async |write, agent, ()| {
            code::end_of_agent(&write.tx, Kind::Enrolment, &agent.id).await?;
            Ok(Answer::no_content().audited(&agent.id, Null, Null))
        })
        .await
}

form! {
    pub(crate) struct NewOfMany {
        names: Vec<String>,
        with_token: Option<bool>,
        scope: Option<Vec<String>>,
        preset: Option<String>,
        expires_in_days: Option<Nullable<i64>>,
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
    let (days, also_with_token) = (body.expires_in_days.clone(), body.with_token.unwrap_or(false));
    let requested = Requested::fresh(&change.app, &change.caller, asked, days.clone()).await?;
    change
        .run(async |write, _| {
            let (mut issued, mut skipped, mut failed) = (Map::new(), Map::new(), Map::new());
            let mut changes = Vec::new();
            for (name, id) in names.into_iter().zip(&ids) {
                let outcome = match object::agent(&write.tx, &write.caller, route, id, write.now()).await {
                    Ok(agent) if agent.has_token && !also_with_token => {
                        skipped.insert(name, json!({ "reason": "has_token" }));
                        continue;
                    }
                    Ok(agent) => make(write, &agent, &requested, &days).await.map(|made| (agent, made)),
                    Err(refusal) => Err(refusal),
                };
                match outcome {
                    Ok((agent, made)) => {
                        changes.push(Audited { object: agent.id.to_string(), before: Null, after: made.audited() });
                        issued.insert(name, json!(made));
                    }
                    Err(refusal) if refusal.code().row().status >= 500 => return Err(refusal),
                    Err(refusal) => drop(failed.insert(name, write.refused(&refusal))),
                }
            }
            let status = if failed.is_empty() { StatusCode::OK } else { StatusCode::MULTI_STATUS };
            let results = json!({ "issued": issued, "skipped": skipped, "failed": failed });
            if changes.is_empty() && !failed.is_empty() {
                return Err(ApiError::from(Code::NoneChanged).extra("results", results));
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

#[derive(Serialize)]
struct Enrolled<'a> {
    agent: &'a Agent,
    #[serde(flatten)]
    token: Issued,
}

/// `POST /api/agents/enroll`: trades a code for the agent's token, which ends the one before, and for the agent as it may see itself.
pub(crate) async fn enrol(app: App, route: &'static Route, Body(body): Body<Enrol>) -> Result<Response, ApiError> {
    let refusal = Code::InvalidEnrolmentCode;
    let code = OneTimeCode::parse(body.code.trim()).ok_or(refusal)?;
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
    let lifetime = mint::lifetime(member("expires_in_days").map(|days| Nullable(days.as_i64())))?;
    let id = granted.agent_id.ok_or(refusal)?;
    let rows = (maker.as_str(), route::ENROLMENT_CREATE, route);
    change::in_the_name_of(&app, tx, rows, refusal, async |write| {
        let agent = object::agent(&write.tx, &write.caller, route::ENROLMENT_CREATE, id.as_str(), write.now()).await?;
        let plan = Plan::fresh(write, &agent, scope, lifetime).await?;
        let token = Issued::mint(write, &agent, plan).await?;
        let (after, id) = (token.audited(), agent.id.clone());
        // The agent above may be one that the maker reads and the agent itself does not.
        let agent = Agent { parent: None, ..agent };
        Ok(Answer::ok(&Enrolled { agent: &agent, token })?.with_secret().audited(&id, Null, after))
    })
    .await
}

/// Tells the owner, once, that a used code was sent again: one of the two senders may have stolen it.
async fn tell_of_second_use(app: &App, tx: Tx<'_>, code: &OneTimeCode) -> Result<(), ApiError> {
    let spent = code::was_spent(&tx, Kind::Enrolment, &code.digest()).await?;
    let Some(Granted { tenant_id, agent_id: Some(agent), .. }) = spent else { return Ok(()) };
    if let Some(agent) = agent::by_id(&tx, &agent, app.now()).await? {
        let id = NotificationId::generate(app.now(), app.chance());
        let title = format!("An enrolment code of {} was sent twice", agent.name);
        let body = format!(
            "The code gave a token to its first sender, and {} sent it again. If you do not know both senders, revoke the token of {} and make a new code.",
            app.address(),
            agent.name
        );
        let told = (&agent.owner.id, None);
        notification::insert_own(&tx, &id, &tenant_id, told, (&title, &body), app.now()).await?;
    }
    Ok(tx.commit_as(Purpose::Entry).await?)
}

#[cfg(test)]
mod tests;
