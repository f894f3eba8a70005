//! The end of agents: archive with all below, restore, purge.

use axum::{Extension, http::StatusCode, response::Response};
use common::{
    audit::{self, Event},
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::{Ask, Nothing, Params},
    http::{App, Segment, json},
    idempotency::Answer,
    page::Wanted,
    permission::{Action, DEEPEST},
    route,
    store::{
        agent::{self, AgentName},
        archived, tree,
    },
    write::Begun,
};
use serde_json::{Value::Null, json};

use crate::{change::narrow_below, registry::audited};

form! {
    pub(crate) struct Confirm {
        confirm: Option<bool>,
    }
}

/// `DELETE /api/agents/{name}`: archives the agent and all below it. All their credentials die in the same transaction, their
/// names become free, and who reuses one inherits nothing.
pub(crate) async fn archive(
    app: App,
    Extension(caller): Extension<Caller>,
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
            Event { action: "agent.archive", object: id.as_str(), before: json!({ "with": found.id }), after: Null };
        audit::by_caller(&app, &write.tx, &write.caller, &event).await?;
    }
    let revoked = tree::archive(&write.tx, &found.id, app.now()).await?;
    write.finish(found.id.as_str(), audited(&found), json!({ "revoked": revoked }), Answer::empty()).await
}

form! {
    pub(crate) struct List {
        limit: Option<i64>,
        cursor: Option<String>,
    }
}

/// `GET /api/agents/archived`: the archived agents that the caller may restore, the last archived first.
pub(crate) async fn list(
    app: App,
    Extension(caller): Extension<Caller>,
    Params(ask): Params<List>,
) -> Result<Response, ApiError> {
    let wanted = Wanted::read(&caller, ask.limit, ask.cursor.as_deref(), &["archived"])?;
    let rows = archived::list(app.db(), &caller, &wanted).await?;
    json(StatusCode::OK, &wanted.page(rows, |row| (row.archived_at, row.id.to_string())))
}

/// `POST /api/agents/archived/{id}/restore`: the agent is there again, stopped, with no credential, grant or key. It stands
/// below the agent that it stood below, if that is still there and it fits; else below nobody.
pub(crate) async fn restore(
    app: App,
    Extension(caller): Extension<Caller>,
    Segment(id): Segment,
    ask: Ask<Nothing>,
) -> Result<Response, ApiError> {
    archived::find(app.db(), &caller, &id).await?; // early 404; decided again below
    let write = match app.write(route::ARCHIVED_RESTORE, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let found = archived::find(&write.tx, &write.caller, &id).await?;
    let name = AgentName::parse(&found.name).ok_or_else(|| ApiError::from(Code::Internal).cause("a stored name"))?;
    let parent = match &found.parent_id {
        Some(above) => {
            agent::by_id(&write.tx, above, app.now()).await?.filter(|above| above.owner.id == found.owner.id)
        }
        None => None,
    };
    let parent = match parent {
        Some(above) if tree::depth(&write.tx, &above.id).await? < DEEPEST as i64 => Some(above),
        _ => None,
    };
    let parent_id = parent.as_ref().map(|above| &above.id);
    if !archived::restore(&write.tx, &found, &name, parent_id, app.now()).await? {
        return Err(Code::NameTaken.into());
    }
    if let Some(parent) = &parent {
        narrow_below(&app, &write, parent).await?; // it may have been narrowed meanwhile
    }
    let after = agent::by_id(&write.tx, &found.id, app.now()).await?.ok_or(Code::ArchivedNotFound)?;
    let answer = Answer::json(StatusCode::OK, &after)?;
    write.finish(found.id.as_str(), json!({ "archived_at": found.archived_at }), audited(&after), answer).await
}

/// `DELETE /api/agents/archived/{id}`: forgets the agent for good. The audit trail keeps what it did.
pub(crate) async fn purge(
    app: App,
    Extension(caller): Extension<Caller>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    archived::find(app.db(), &caller, &id).await?; // early 404; decided again below
    let write = app.relieve(route::ARCHIVED_PURGE, &caller).await?;
    let found = archived::find(&write.tx, &write.caller, &id).await?;
    archived::purge(&write.tx, &found.id).await?;
    let before = serde_json::to_value(&found).unwrap_or_default();
    write.finish(found.id.as_str(), before, Null, Answer::empty()).await
}
