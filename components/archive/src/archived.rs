//! The end of agents: archive with all below, restore, purge.

use axum::{http::StatusCode, response::Response};
use common::{
    agents::{audited, may_come_back, narrow_below},
    caller::Caller,
    error::{ApiError, Code},
    form::{Ask, Nothing, Params},
    http::{App, Segment, json},
    idempotency::Answer,
    page::{Paging, Wanted},
    permission::DEEPEST,
    route,
    store::{
        agent::{self, AgentName},
        archived, tree,
    },
    write::Begun,
};
use serde_json::{Value::Null, json};

/// `GET /api/agents/archived`: the archived agents that the caller may restore, the last archived first.
pub(crate) async fn list(app: App, caller: Caller, Params(ask): Params<Paging>) -> Result<Response, ApiError> {
    let wanted = Wanted::read(&caller, ask.limit, ask.cursor.as_deref(), &["archived"])?;
    let rows = archived::list(app.db(), &caller, &wanted).await?;
    json(StatusCode::OK, &wanted.page(rows, |row| (row.archived_at, row.id.to_string())))
}

/// `POST /api/agents/archived/{id}/restore`: the agent is there again, stopped, with no credential, grant or key. It stands
/// below the agent that it stood below, if that is still there and it fits; else below nobody.
pub(crate) async fn restore(
    app: App,
    caller: Caller,
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
    if let Some(above) = &parent {
        may_come_back(&write, above, &found).await?;
    }
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
pub(crate) async fn purge(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, ApiError> {
    archived::find(app.db(), &caller, &id).await?; // early 404; decided again below
    let write = app.relieve(route::ARCHIVED_PURGE, &caller).await?;
    let found = archived::find(&write.tx, &write.caller, &id).await?;
    archived::purge(&write.tx, &found.id).await?;
    let before = serde_json::to_value(&found).unwrap_or_default();
    write.finish(found.id.as_str(), before, Null, Answer::empty()).await
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        testing::{Actor, TestApp},
    };
    use serde_json::Value as Json;

    use super::*;
    use crate::with_neighbours;

    async fn archived(t: &TestApp, who: &Actor) -> Vec<Json> {
        let list = t.as_(who, "GET", "/api/agents/archived", Null).await.is(200);
        list["items"].as_array().unwrap().clone()
    }

    /// R42: with an agent die the credentials of all below it; their names are free.
    #[tokio::test]
    async fn a_whole_tree_is_archived_once_that_is_confirmed() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let boss = t.agent(&ada, "boss", "agents.*").await;
        let hand = t.agent_below(&ada, Some(&boss), "hand", "agents.*").await;
        let nail = t.agent_below(&ada, Some(&hand), "nail", "agents.*").await;
        let refused = t.as_(&ada, "DELETE", "/api/agents/boss", Null).await.refused(409, "has_children");
        assert_eq!(refused["below"], 2);
        t.as_(&ada, "DELETE", "/api/agents/boss?confirm=false", Null).await.refused(409, "has_children");
        t.as_(&ada, "DELETE", "/api/agents/boss?confirm=yes", Null).await.refused(422, "validation_error");
        t.as_(&nail, "GET", "/api/agents/me", Null).await.is(200);
        t.as_(&ada, "DELETE", "/api/agents/boss?confirm=true", Null).await.is(204);
        for gone in [&boss, &hand, &nail] {
            t.as_(gone, "GET", "/api/agents/me", Null).await.refused(401, "token_revoked");
        }
        let list = t.as_(&ada, "GET", "/api/agents", Null).await.is(200);
        assert_eq!(list["items"], json!([]));
        assert_eq!(archived(&t, &ada).await.len(), 3);
        assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'agent.archive'").await, 3);
    }

    /// R42, R8: what is restored is stopped, and has no credential, grant or approval; its name may be another's by now.
    #[tokio::test]
    async fn what_is_restored_has_nothing_but_its_ceiling() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let boss = t.agent(&ada, "boss", "agents.*").await;
        let hand = t.agent_below(&ada, Some(&boss), "hand", "agents.*").await;
        t.grant(hand.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "editor", &ada.user).await;
        t.as_(&ada, "DELETE", "/api/agents/hand", Null).await.is(204);
        t.as_(&ada, "POST", "/api/agents", json!({ "name": "hand" })).await.is(201);
        t.as_(&ada, "PATCH", "/api/agents/boss", json!({ "scope": ["agents.read"] })).await.is(200);
        assert_eq!(archived(&t, &eve).await, Vec::<Json>::new());
        let id = hand.agent.as_ref().unwrap().as_str();
        let path = format!("/api/agents/archived/{id}/restore");
        t.as_(&eve, "POST", &path, Null).await.refused(404, "archived_agent_not_found");
        let back = t.as_(&ada, "POST", &path, Null).await.is(200);
        for (member, value) in [
            ("name", json!("hand-2")),
            ("id", json!(id)),
            ("state", json!("stopped")),
            ("parent", json!("boss")),
            ("scope", json!(["agents.read"])), // what its parent has by now
            ("has_token", json!(false)),
        ] {
            assert_eq!(back[member], value, "{member}");
        }
        t.as_(&hand, "GET", "/api/agents/me", Null).await.refused(401, "token_revoked");
        t.as_(&eve, "GET", "/api/agents/hand-2", Null).await.refused(404, "agent_not_found");
        t.as_(&ada, "POST", &path, Null).await.refused(404, "archived_agent_not_found");
        assert_eq!(archived(&t, &ada).await, Vec::<Json>::new());
    }

    /// R42: purge is final, and the trail stays.
    #[tokio::test]
    async fn a_purged_agent_is_gone() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let boss = t.agent(&ada, "boss", "agents.*").await;
        let id = boss.agent.as_ref().unwrap().as_str();
        let path = format!("/api/agents/archived/{id}");
        t.as_(&ada, "DELETE", &path, Null).await.refused(404, "archived_agent_not_found"); // it lives
        t.as_(&ada, "DELETE", "/api/agents/boss", Null).await.is(204);
        t.as_(&eve, "DELETE", &path, Null).await.refused(404, "archived_agent_not_found");
        t.as_(&ada, "DELETE", &path, Null).await.is(204);
        t.as_(&ada, "DELETE", &path, Null).await.refused(404, "archived_agent_not_found");
        t.as_(&boss, "GET", "/api/agents/me", Null).await.refused(401, "invalid_token");
        assert_eq!(
            t.number(
                "SELECT (SELECT count(*) FROM agents) + (SELECT count(*) FROM credentials WHERE agent_id NOT NULL)"
            )
            .await,
            0
        );
        assert_eq!(t.texts("SELECT action FROM audit ORDER BY seq").await, ["agent.archive", "agent.purge"]);
    }
}
