//! The end of agents: archive with all below, restore, purge.

use common::{
    agent::AgentName,
    error::{ApiError, Code},
    event::EventKind,
    text::{count, part},
};
use http::StatusCode;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Audited, Change, Write},
    event::Event,
    extract::{Body, Empty, Path, Query, QueryOrBody},
    form,
    form::PageQuery,
    quota,
    response::{self, Response},
};
use store::{
    agent::{
        self, Agent,
        archived::{self, Archived, Filter},
        tree,
    },
    db::Rows,
    event,
    page::Order,
    permission::DEEPEST,
};

use crate::bounds::{Bounds, Child, audited, check_within_parent, narrow_below};

form! {
    pub(crate) struct Confirm {
        confirm: Option<bool>,
    }
}

/// `DELETE /api/agents/{name}`: archives the agent and all below it. Their credentials end in the same transaction, and their names
/// become free: an agent that gets such a name inherits nothing.
pub(crate) async fn archive(change: Change<QueryOrBody<Confirm>>, Path(name): Path) -> Result<Response, ApiError> {
    change
        .on_agent(&name, async |write, agent, QueryOrBody(query)| {
            let mut below = tree::at_and_below(&write.tx, &agent.id).await?;
            below.retain(|id| *id != agent.id);
            if !below.is_empty() && query.confirm != Some(true) {
                return Err(Code::HasChildren
                    .with("agent", &agent.name)
                    .with("count", below.len().to_string())
                    .extra("below", below.len()));
            }
            let with_it = json!({ "with": agent.id });
            let kind = EventKind::AgentArchived;
            event::insert_below(&write.tx, &write.origin(), &agent.id, kind, &with_it).await?;
            let revoked = tree::archive(&write.tx, &agent.id, write.now()).await?;
            let body = format!(
                "{} archived it, with {} below it. Their credentials were revoked. An admin or the owner can restore it on the page Archived.",
                write.author(),
                count(below.len(), "agent")
            );
            let event = Event::of_agent(EventKind::AgentArchived, &agent.id).data(json!({ "below": below.len() }));
            write.emit(event.saying(format!("The agent {} was archived", agent.name), body)).await?;
            let with_it = below.iter().map(|id| Audited {
                object: id.to_string(),
                before: json!({ "with": agent.id }),
                after: Null,
            });
            let itself =
                Audited { object: agent.id.to_string(), before: audited(&agent), after: json!({ "revoked": revoked }) };
            Ok(Answer::no_content().audited_all(with_it.chain([itself]).collect()))
        })
        .await
}

form! {
    pub(crate) struct List {
        q: Option<String>,
        owner: Option<String>,
        sort: Option<String>,
        ..page: PageQuery,
    }
}

/// `GET /api/agents/archived`: the archived agents that the caller may restore, the last archived first, or by name.
pub(crate) async fn list(app: App, caller: Caller, Query(query): Query<List>) -> Result<Response, ApiError> {
    let q = part(query.q.as_deref())?;
    let wanted = caller.page(&app, &query.page)?;
    let order = Order::read_with(query.sort.as_deref(), "archived_at")?;
    let filter = Filter { q: q.as_deref(), owner: caller.named("owner", query.owner.as_deref())?, order };
    let rows = archived::list(app.db(), caller.subject(), &filter, &wanted).await?;
    let page = wanted.ordered(rows, order, |row| (row.archived_at, row.id.to_string(), row.name.clone()));
    response::json(StatusCode::OK, &page)
}

async fn find(reads: &dyn Rows, caller: &Caller, id: &str) -> Result<Archived, ApiError> {
    archived::find(reads, caller.subject(), id).await
}

/// `POST /api/agents/archived/{id}/restore`: the agent exists again, stopped, without credentials, grants and keys. It is below the
/// same agent as before, if that one still exists and has room; else below none.
pub(crate) async fn restore(change: Change<Body<Empty>>, Path(id): Path) -> Result<Response, ApiError> {
    change
        .on(&id, find, async |write, found, _| {
            // A word that became one of the routes meanwhile is no name any more.
            let name = AgentName::parse(&found.name).or_else(|| AgentName::parse(&format!("{}-2", found.name)));
            let name = name.ok_or_else(|| ApiError::from(Code::Internal).cause("a stored name"))?;
            quota::check_agents(write.app(), &write.tx, &write.caller, &found.owner.id).await?;
            let parent = former_parent(write, &found).await?;
            if let Some(parent) = &parent {
                // It comes back as if it were new; its ceiling is narrowed below.
                let child = Child { scope: None, bounds: Bounds::from(&found), id: Some(&found.id), before: None };
                check_within_parent(write, parent, &child).await?;
            }
            let parent_id = parent.as_ref().map(|parent| &parent.id);
            if !archived::restore(&write.tx, &found, &name, parent_id, write.now()).await? {
                return Err(Code::NameTaken.into());
            }
            if let Some(parent) = &parent {
                narrow_below(write, parent).await?; // its ceiling may be narrower by now
            }
            let after = agent::by_id(&write.tx, &found.id, write.now()).await?.ok_or(Code::ArchivedNotFound)?;
            write.emit(Event::of_agent(EventKind::AgentRestored, &found.id)).await?;
            let before = json!({ "archived_at": found.archived_at });
            Ok(Answer::ok(&after)?.audited(&found.id, before, audited(&after)))
        })
        .await
}

/// The agent that an archived one was below, if the tree still has a place for it there.
async fn former_parent(write: &Write<'_>, found: &Archived) -> Result<Option<Agent>, ApiError> {
    let Some(id) = &found.parent_id else { return Ok(None) };
    let parent = agent::by_id(&write.tx, id, write.now()).await?;
    let Some(parent) = parent.filter(|parent| parent.owner.id == found.owner.id) else { return Ok(None) };
    let has_room = tree::depth(&write.tx, &parent.id).await? < DEEPEST as i64;
    Ok(has_room.then_some(parent))
}

/// `DELETE /api/agents/archived/{id}`: deletes the agent for good. The audit trail keeps what it did.
pub(crate) async fn purge(change: Change<()>, Path(id): Path) -> Result<Response, ApiError> {
    change
        .on(&id, find, async |write, found, ()| {
            let body = format!("{} deleted it for good. The audit trail keeps what it did.", write.author());
            let event = Event::of_agent(EventKind::AgentPurged, &found.id);
            write.emit(event.saying(format!("The archived agent {} was deleted", found.name), body)).await?;
            archived::purge(&write.tx, &found.id).await?;
            Ok(Answer::no_content().audited(&found.id, json!(found), Null))
        })
        .await
}

#[cfg(test)]
mod tests;
