//! Taking agents from one place to another: export and import.

use std::collections::HashMap;

use common::{
    agent::AgentName,
    error::{ApiError, Code},
    route::Route,
    scope::CustomScopes,
};
use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value as Json, Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Audited, Change},
    extract::{Body, Path},
    form,
    form::{Field as _, Form, Objects, nested},
    object,
    response::{self, Response},
};
use store::agent::{Agent, list::list_below};

use crate::{
    bounds::audited,
    register::{Create, Created, Draft, Registered},
};

/// The format that an exported document names.
const FORMAT: &str = "accredit-agents-1";
/// The most agents of a document.
const MOST: usize = 100;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ExportedAgents")]
pub(crate) struct Document {
    format: &'static str,
    #[schemars(schema_with = "documents")]
    agents: Vec<Json>,
}

/// What is exported is what an import reads.
fn documents(_: &mut SchemaGenerator) -> Schema {
    Objects::<Create>::schema().try_into().unwrap_or_default()
}

/// An agent in the form that registers it: those of its members that the form takes. The ceiling is exported as scopes, since the
/// other place may have no such preset; a token is not issued unless it is asked for.
fn exported(agent: &Agent, custom: &CustomScopes, is_root: bool) -> Json {
    let taken = Create::fields();
    let mut document = json!(agent);
    if let Some(members) = document.as_object_mut() {
        members.retain(|name, _| name != "preset" && taken.contains(&name.as_str()));
        members.insert("issue_token".to_owned(), json!(false));
        members.insert("scope".to_owned(), json!(agent.settings.scope.defined(custom)));
        if is_root {
            members.insert("parent".to_owned(), Null);
        }
    }
    document
}

/// `GET /api/agents/{name}/export`: the agent and those below it that the caller may read, each after the one above it.
pub(crate) async fn export(
    app: App,
    caller: Caller,
    route: &'static Route,
    Path(name): Path,
) -> Result<Response, ApiError> {
    let top = object::agent(app.db(), &caller, route, &name, app.now()).await?;
    let below = list_below(app.db(), caller.subject(), &top.id, MOST, app.now()).await?;
    if below.len() >= MOST {
        return Err(Code::TooManyAgents.into());
    }
    let agents = std::iter::once(exported(&top, caller.custom_scopes(), true))
        .chain(below.iter().map(|agent| exported(agent, caller.custom_scopes(), false)));
    response::json(StatusCode::OK, &Document { format: FORMAT, agents: agents.collect() })
}

form! {
    pub(crate) struct Import {
        format: Option<String>,
        agents: Objects<Create>,
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ImportedAgents")]
pub(crate) struct Imported<'a> {
    agents: Vec<Created<'a>>,
}

/// `POST /api/agents/import`: registers the agents of a document as the caller's, by the same rules as one by one, all of them
/// or none. A parent that the document holds is the one of the document, whatever name it got.
pub(crate) async fn import(change: Change<Body<Import>>) -> Result<Response, ApiError> {
    let drafts = read(&change).await?;
    change
        .run(async |write, _| {
            let mut names: HashMap<String, String> = HashMap::new();
            let mut made: Vec<Registered> = Vec::new();
            for (at, mut draft) in drafts.into_iter().enumerate() {
                let own = |parent: &String| {
                    names.get(parent).or_else(|| AgentName::parse(parent).and_then(|name| names.get(name.as_str())))
                };
                if let Some(stored) = draft.parent.as_ref().and_then(own) {
                    draft.parent = Some(stored.clone());
                }
                let name = draft.name.as_str().to_owned();
                let registered = draft.register(write).await.map_err(|refusal| refusal.extra("at", at))?;
                names.insert(name, registered.agent.name.clone());
                made.push(registered);
            }
            let answer = Answer::created(&Imported { agents: made.iter().map(Registered::form).collect() })?;
            let answer = if made.iter().any(|agent| agent.token.is_some()) { answer.with_secret() } else { answer };
            let changes = made.iter().map(|Registered { agent, .. }| Audited {
                object: agent.id.to_string(),
                before: Null,
                after: audited(agent),
            });
            Ok(answer.audited_all(changes.collect()))
        })
        .await
}

/// Reads the agents of a document. A refusal names the place of the wrong agent.
async fn read(change: &Change<Body<Import>>) -> Result<Vec<Draft>, ApiError> {
    let Body(document) = &change.input;
    if document.format.as_deref().is_some_and(|format| format != FORMAT) {
        return Err(ApiError::field("format", format!("must be {FORMAT}")));
    }
    let agents = &document.agents.items;
    if agents.is_empty() || agents.len() > MOST {
        return Err(ApiError::field("agents", format!("must contain 1 to {MOST} agents")));
    }
    let mut drafts: Vec<Draft> = Vec::new();
    for (at, agent) in agents.iter().enumerate() {
        let mut form: Create = nested(&format!("agents[{at}]."), agent.clone())?;
        form.issue_token = form.issue_token.or(Some(false));
        let draft = Draft::read(&change.app, &change.caller, &form).await;
        let draft = draft.map_err(|refusal| refusal.extra("at", at))?;
        // Nothing could say which of two is meant as a parent.
        if drafts.iter().any(|known| known.name == draft.name) {
            let place = format!("agents[{at}].name");
            return Err(ApiError::field(place, "is the name of another agent of this document").extra("at", at));
        }
        drafts.push(draft);
    }
    Ok(drafts)
}

#[cfg(test)]
mod tests {
    use common::role::Role;
    use service::testing::TestApp;

    use super::*;
    use crate::with_neighbours;

    /// R42, R44: an exported tree is imported by the rules of registering, below the same parents, and revives nothing.
    #[tokio::test]
    async fn an_exported_tree_can_be_imported() {
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
            ("owner", json!({ "id": eve.user, "email": "eve@example.com", "active": true })),
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

    /// R766: a tree of as many agents as an export has, with long texts, is imported as it was exported.
    #[tokio::test]
    async fn a_large_export_can_be_imported() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let long = "d".repeat(2000);
        let agent = |name: &str, parent: Json| json!({ "name": name, "parent": parent, "scope": ["agents.read"], "description": long, "access": long, "issue_token": false });
        t.as_(&ada, "POST", "/api/agents", agent("boss", Null)).await.is(201);
        let hands: Vec<Json> = (1..MOST).map(|n| agent(&format!("hand-{n}"), json!("boss"))).collect();
        t.as_(&ada, "POST", "/api/agents/import", json!({ "agents": hands })).await.is(201);
        let document = t.as_(&ada, "GET", "/api/agents/boss/export", Null).await.is(200);
        assert_eq!(document["agents"].as_array().unwrap().len(), MOST);
        let made = t.as_(&ada, "POST", "/api/agents/import", document).await.is(201);
        assert_eq!(made["agents"].as_array().unwrap().len(), MOST);
    }

    /// R678: a parent is found in the document as it is written there, however its own name came out.
    #[tokio::test]
    async fn a_parent_is_the_one_of_the_document() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        t.as_(&ada, "POST", "/api/agents", json!({ "name": "z-1" })).await.is(201);
        let document = json!({ "agents": [{ "name": "Z 1!" }, { "name": "hand", "parent": "Z 1!" }] });
        let made = t.as_(&ada, "POST", "/api/agents/import", document).await.is(201);
        assert_eq!((&made["agents"][0]["name"], &made["agents"][1]["parent"]), (&json!("z-1-2"), &json!("z-1-2")));
    }

    /// The document holds what registers an agent, and nothing else of it.
    #[tokio::test]
    async fn an_agent_is_exported_as_it_is_registered() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        t.as_(&ada, "POST", "/api/agents", json!({ "name": "boss", "preset": "reader" })).await.is(201);
        let body = json!({
            "name": "hand", "display_name": "Hand", "description": "Helps.", "runtime": "docker", "model": "m", "parent": "boss",
            "compute": { "cpu": 2 }, "access": "The tickets.",
            "url": "https://hand.example.com/", "labels": { "a": "1" }, "scope": ["agents.read"], "tier": 4,
            "max_concurrent_tasks": 2, "budget_cents": 7, "silent_after_minutes": null, "issue_token": false,
        });
        t.as_(&ada, "POST", "/api/agents", body.clone()).await.is(201);
        let document = t.as_(&ada, "GET", "/api/agents/boss/export", Null).await.is(200);
        let scope = t.as_(&ada, "GET", "/api/agents/boss", Null).await.is(200)["scope"].clone();
        let boss = json!({
            "name": "boss", "display_name": null, "description": null, "runtime": null, "model": null, "parent": null,
            "url": null, "compute": null, "access": null, "labels": {}, "scope": scope, "tier": 3, "max_concurrent_tasks": 1, "budget_cents": null,
            "silent_after_minutes": null, "issue_token": false,
        });
        assert_eq!(document, json!({ "format": FORMAT, "agents": [boss, body] }));
        let alone = t.as_(&ada, "GET", "/api/agents/hand/export", Null).await.is(200);
        assert_eq!(alone["agents"][0]["parent"], Null);
    }

    /// R44, R8, R47: all agents or none are imported, by the rules of registering. A refusal names the place of the wrong agent.
    #[tokio::test]
    async fn a_document_with_a_wrong_agent_is_refused() {
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
            // R587: an import issues no token unless it is asked to.
            (json!({ "name": "x", "scope": ["agents.read"], "expires_in_days": 9 }), 422, "validation_error"),
            (json!({ "name": "x", "scope": ["agents.read"], "parent": "nobody" }), 404, "parent_not_found"),
            // R678.
            (json!({ "name": " Good! ", "scope": ["agents.read"] }), 422, "validation_error"),
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
