//! One agent: read it, archive it.

use axum::{http::StatusCode, response::Response};
use common::{
    agents::audited,
    audit::{self, Event},
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::Params,
    http::{App, Segment, json},
    idempotency::Answer,
    permission::Action,
    route,
    store::{agent, tree},
};
use serde_json::{Value::Null, json};

/// `GET /api/agents/{name}`: one agent.
pub(crate) async fn get(app: App, caller: Caller, Segment(name): Segment) -> Result<Response, ApiError> {
    json(StatusCode::OK, &agent::get(app.db(), &caller, &name, Action::Read, app.now()).await?)
}

form! {
    pub(crate) struct Confirm {
        confirm: Option<bool>,
    }
}

/// `DELETE /api/agents/{name}`: archives the agent and all below it. All their credentials die in the same transaction, their
/// names become free, and who reuses one inherits nothing.
pub(crate) async fn archive(
    app: App,
    caller: Caller,
    Segment(name): Segment,
    Params(ask): Params<Confirm>,
) -> Result<Response, ApiError> {
    agent::get(app.db(), &caller, &name, Action::Delete, app.now()).await?; // early 404 or 403; decided again below
    let write = app.relieve(route::AGENTS_DELETE, &caller).await?;
    let found = agent::get(&write.tx, &write.caller, &name, Action::Delete, app.now()).await?;
    let all = tree::at_and_below(&write.tx, &found.id).await?;
    let below = all.iter().filter(|id| **id != found.id);
    let count = below.clone().count();
    if count > 0 && ask.confirm != Some(true) {
        return Err(Code::HasChildren
            .with("agent", &found.name)
            .with("count", count.to_string())
            .extra("below", count));
    }
    for id in below {
        let event =
            Event { action: write.action(), object: id.as_str(), before: json!({ "with": found.id }), after: Null };
        audit::by_caller(&app, &write.tx, &write.caller, &event).await?;
    }
    let revoked = tree::archive(&write.tx, &found.id, app.now()).await?;
    write.finish(found.id.as_str(), audited(&found), json!({ "revoked": revoked }), Answer::empty()).await
}
