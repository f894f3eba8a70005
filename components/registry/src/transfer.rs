//! Taking agents from one place to another: export and import.

use std::collections::HashMap;

use axum::{http::StatusCode, response::Response};
use common::{
    agents::audited,
    audit::Event,
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

use crate::create::{Create, Created, Draft, Registered};

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
pub(crate) async fn export(app: App, caller: Caller, Segment(name): Segment) -> Result<Response, ApiError> {
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
pub(crate) async fn import(app: App, caller: Caller, ask: Ask<Import>) -> Result<Response, ApiError> {
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
    let mut names: HashMap<String, String> = HashMap::new();
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
    let mut events = Vec::new();
    for Registered { agent, .. } in &made {
        let (before, after) = (Json::Null, audited(agent));
        events.push(Event { action: write.action(), object: agent.id.as_str(), before, after });
    }
    write.finish_all(&events, answer).await
}

#[cfg(test)]
mod tests {
    use common::{scope::Role, testing::TestApp};
    use serde_json::Value::Null;

    use super::*;
    use crate::with_neighbours;

    /// R42, R44: what was exported is imported by the rules of a create, below the same parents, and revives nothing.
    #[tokio::test]
    async fn a_tree_goes_out_and_comes_in() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        for body in [
            json!({ "name": "boss", "scope": ["agents.*"], "labels": { "team": "core" }, "tier": 2, "url": "https://boss.example.com/" }),
            json!({ "name": "hand", "parent": "boss", "scope": ["agents.read"], "budget_cents": 7 }),
            json!({ "name": "nail", "parent": "hand", "scope": ["agents.read"] }),
        ] {
            t.as_(&ada, "POST", "/api/agents", body).await.is(201);
        }
        let document = t.as_(&ada, "GET", "/api/agents/boss/export", Null).await.is(200);
        assert_eq!(document["format"], FORMAT);
        let names: Vec<&str> =
            document["agents"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["boss", "hand", "nail"]);
        assert!(!document.to_string().contains("acr_"), "{document}");
        let made = t.as_(&eve, "POST", "/api/agents/import", document.clone()).await.is(201);
        let made = made["agents"].as_array().unwrap();
        let shown: Vec<_> = made.iter().map(|a| (a["name"].as_str().unwrap(), a["parent"].as_str())).collect();
        assert_eq!(shown, [("boss-2", None), ("hand-2", Some("boss-2")), ("nail-2", Some("hand-2"))]);
        for (member, value) in [
            ("owner", json!({ "id": eve.user, "email": "eve@example.com" })),
            ("auth_token", Null),
            ("tier", json!(2)),
            ("labels", json!({ "team": "core" })),
        ] {
            assert_eq!(made[0][member], value, "{member}");
        }
        assert_eq!(made[1]["budget_cents"], 7);
        assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'agent_token'").await, 3);
        assert_eq!(t.number("SELECT count(DISTINCT object_id) FROM audit WHERE action = 'agent.import'").await, 3);
    }

    /// R44, R8, R47: all of it or nothing, by the rules of a create; what is wrong is named with its place.
    #[tokio::test]
    async fn what_cannot_be_created_cannot_be_imported() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let pat = t
            .credential(common::secret::Kind::Pat, &ada.tenant, &ada.user, None, "agents.create agents.read", None)
            .await;
        let good = json!({ "name": "good", "scope": ["agents.read"] });
        for (bad, status, slug) in [
            (json!({ "name": "a/../b" }), 400, "invalid_name"),
            (json!({ "name": "me" }), 400, "invalid_name"),
            (json!({ "name": "x", "scope": ["agents.delete"] }), 400, "scope_too_wide"),
            (json!({ "name": "x", "tier": 9 }), 400, "invalid_number"),
            (json!({ "name": "x", "scope": ["agents.read"], "parent": "nobody" }), 404, "parent_not_found"),
        ] {
            let refused =
                t.as_(&pat, "POST", "/api/agents/import", json!({ "agents": [good, bad] })).await.refused(status, slug);
            assert_eq!(refused["at"], 1, "{refused}");
        }
        let refused =
            t.as_(&ada, "POST", "/api/agents/import", json!({ "agents": [good, { "nme": "x", "token": "y" }] })).await;
        let fields = refused.refused(422, "validation_error")["fields"].clone();
        assert_eq!((&fields[0]["field"], &fields[1]["field"]), (&json!("agents[1].name"), &json!("agents[1].nme")));
        let many: Vec<Json> = (0..101).map(|n| json!({ "name": format!("a{n}") })).collect();
        for bad in [
            json!({}),
            json!({ "agents": [] }),
            json!({ "agents": many }),
            json!({ "agents": [7] }),
            json!({ "agents": [good], "format": "x" }),
        ] {
            t.as_(&ada, "POST", "/api/agents/import", bad).await.refused(422, "validation_error");
        }
        assert_eq!(t.number("SELECT (SELECT count(*) FROM agents) + (SELECT count(*) FROM audit)").await, 0);
    }
}
