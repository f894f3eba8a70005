//! Taking agents from one place to another: export and import.

use std::collections::BTreeMap;

use axum::{Extension, http::StatusCode, response::Response};
use common::{
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::{Ask, nested},
    http::{App, Segment, json},
    idempotency::Answer,
    permission::Action,
    route,
    store::agent::{self, Agent},
    write::Begun,
};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::{
    create::{Create, Created, Draft, Registered},
    registry::audited,
};

/// What an exported document says that it is.
const FORMAT: &str = "accredit-agents-1";
/// The most agents of a document.
const MOST: usize = 100;

#[derive(Serialize)]
struct Document {
    format: &'static str,
    agents: Vec<Json>,
}

/// An agent in the form that registers it. No credential, state or grant is in it.
fn exported(agent: &Agent, is_root: bool) -> Json {
    json!({
        "name": agent.name, "display_name": agent.display_name, "description": agent.description, "runtime": agent.runtime,
        "model": agent.model, "url": agent.url, "parent": agent.parent.as_ref().filter(|_| !is_root), "labels": agent.labels,
        "scope": agent.scope, "tier": agent.tier, "max_concurrent_tasks": agent.max_concurrent_tasks,
        "budget_cents": agent.budget_cents, "issue_token": false,
    })
}

/// `GET /api/agents/{name}/export`: the agent and those below it that the caller may read, each after the one above it.
pub(crate) async fn export(
    app: App,
    Extension(caller): Extension<Caller>,
    Segment(name): Segment,
) -> Result<Response, ApiError> {
    let top = agent::get(app.db(), &caller, &name, Action::Read, app.now()).await?;
    let below = agent::list_below(app.db(), &caller, &top.id, MOST, app.now()).await?;
    if below.len() >= MOST {
        return Err(Code::TooManyAgents.into());
    }
    let agents = std::iter::once(exported(&top, true)).chain(below.iter().map(|agent| exported(agent, false)));
    json(StatusCode::OK, &Document { format: FORMAT, agents: agents.collect() })
}

form! {
    pub(crate) struct Import {
        format: Option<String>,
        agents: Vec<Map<String, Json>>,
    }
}

#[derive(Serialize)]
struct Imported<'a> {
    agents: Vec<Created<'a>>,
}

/// `POST /api/agents/import`: registers the agents of a document as the caller's, by the same rules as one by one, all of them
/// or none. A parent that the document holds is the one of the document, whatever name it got.
pub(crate) async fn import(
    app: App,
    Extension(caller): Extension<Caller>,
    ask: Ask<Import>,
) -> Result<Response, ApiError> {
    let body = ask.body;
    if body.format.as_deref().is_some_and(|format| format != FORMAT) {
        return Err(ApiError::field("format", format!("must be {FORMAT}")));
    }
    if body.agents.is_empty() || body.agents.len() > MOST {
        return Err(ApiError::field("agents", format!("must hold 1 to {MOST} agents")));
    }
    let mut drafts = Vec::new();
    for (at, agent) in body.agents.into_iter().enumerate() {
        let mut form: Create = nested(&format!("agents[{at}]."), agent)?;
        form.issue_token = form.issue_token.or(Some(false));
        let draft = Draft::read(&app, &caller, form).await;
        drafts.push(draft.map_err(|refusal| refusal.extra("at", at))?);
    }
    let write = match app.write(route::AGENTS_IMPORT, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut made: Vec<Registered> = Vec::new();
    for (at, mut draft) in drafts.into_iter().enumerate() {
        if let Some(stored) = draft.parent.as_ref().and_then(|parent| names.get(parent)) {
            draft.parent = Some(stored.clone());
        }
        let name = draft.name.as_str().to_owned();
        let registered = draft.register(&app, &write).await.map_err(|refusal| refusal.extra("at", at))?;
        names.insert(name, registered.agent.name.clone());
        made.push(registered);
    }
    let form = Imported { agents: made.iter().map(Registered::form).collect() };
    let answer = match made.iter().any(|agent| agent.secret.is_some()) {
        true => Answer::secret(StatusCode::CREATED, &form)?,
        false => Answer::json(StatusCode::CREATED, &form)?,
    };
    let after: Vec<Json> = made.iter().map(|registered| audited(&registered.agent)).collect();
    let first = made.first().map(|first| first.agent.id.to_string()).unwrap_or_default();
    write.finish(&first, Json::Null, json!({ "agents": after }), answer).await
}
