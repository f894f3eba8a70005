use common::role::Role;
use serde_json::{Value as Json, Value::Null, json};
use service::testing::{Actor, TestApp};

use crate::with_neighbours;

async fn archived(t: &TestApp, who: &Actor) -> Vec<Json> {
    let list = t.as_(who, "GET", "/api/agents/archived", Null).await.is(200);
    list["items"].as_array().unwrap().clone()
}

/// R42: the credentials of an archived agent and of all below it end, and their names become free.
#[tokio::test]
async fn a_whole_tree_is_archived_only_if_that_is_confirmed() {
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

/// R647: a person is told of a page, and not of a request.
#[tokio::test]
async fn an_owner_hears_where_an_archived_agent_is_restored() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    t.agent(&max, "scout", "agents.read").await;
    t.as_(&ada, "DELETE", "/api/agents/scout", Null).await.is(204);
    let told = "SELECT body FROM notifications WHERE title = 'The agent scout was archived'";
    let body = "ada@example.com archived it, with 0 agents below it. Their credentials were revoked. An admin or the owner can restore it on the page Archived.";
    assert_eq!(t.texts(told).await, [body]);
}

/// R42, R37: the credentials of an archived agent end. An agent that gets its name inherits nothing.
#[tokio::test]
async fn an_agent_with_the_name_of_an_archived_one_inherits_nothing() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "editor", &ada.user).await;
    t.as_(&eve, "GET", "/api/agents/scout", Null).await.is(200);
    t.as_(&scout, "GET", "/api/agents/scout", Null).await.is(200);
    t.as_(&ada, "DELETE", "/api/agents/scout", Null).await.is(204);
    let refused = t.as_(&scout, "GET", "/api/agents/scout", Null).await.refused(401, "token_revoked");
    assert_eq!(refused["fix"], "Ask ada@example.com for a new token: POST /api/agents {\"name\": \"scout\"}.");
    t.as_(&ada, "DELETE", "/api/agents/scout", Null).await.refused(404, "agent_not_found");
    t.as_(&ada, "POST", "/api/agents", json!({ "name": "scout" })).await.is(201);
    t.as_(&eve, "GET", "/api/agents/scout", Null).await.refused(404, "agent_not_found");
    t.as_(&scout, "GET", "/api/agents/scout", Null).await.refused(401, "token_revoked");
    assert_eq!(t.number("SELECT count(*) FROM grants").await, 0);
}

/// R42, R8: a restored agent is stopped and has no credential, grant or approval. If its name is taken, it gets another.
#[tokio::test]
async fn a_restored_agent_has_nothing_but_its_ceiling() {
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
        ("scope", json!(["agents.read"])), // as narrow as its parent's by now
        ("has_token", json!(false)),
    ] {
        assert_eq!(back[member], value, "{member}");
    }
    t.as_(&hand, "GET", "/api/agents/me", Null).await.refused(401, "token_revoked");
    t.as_(&eve, "GET", "/api/agents/hand-2", Null).await.refused(404, "agent_not_found");
    t.as_(&ada, "POST", &path, Null).await.refused(404, "archived_agent_not_found");
    assert_eq!(archived(&t, &ada).await, Vec::<Json>::new());
}

/// R42: an agent whose name became a word of the routes while it was archived gets another one.
#[tokio::test]
async fn an_agent_with_a_reserved_name_is_restored() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let hand = t.agent(&ada, "hand", "agents.read").await;
    t.as_(&ada, "DELETE", "/api/agents/hand", Null).await.is(204);
    t.execute("UPDATE agents SET name = 'start-all'").await.unwrap();
    let path = format!("/api/agents/archived/{}/restore", hand.agent.unwrap());
    assert_eq!(t.as_(&ada, "POST", &path, Null).await.is(200)["name"], "start-all-2");
}

/// R88: an agent restores below itself only what it could register there: tier and tasks are bounded as the budget is. A person restores
/// all of it.
#[tokio::test]
async fn an_agent_restores_no_more_than_it_can_give() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let boss = t.agent(&ada, "boss", "agents.*").await;
    let hand = t.agent_below(&ada, Some(&boss), "hand", "agents.read").await;
    let id = hand.agent.as_ref().unwrap().as_str();
    let path = format!("/api/agents/archived/{id}/restore");
    for (column, value, given) in [("tier", 1, 3), ("max_concurrent_tasks", 7, 1), ("budget_cents", 9, 5)] {
        t.execute(&format!("UPDATE agents SET {column} = {value} WHERE name = 'hand'")).await.unwrap();
        t.execute("UPDATE agents SET budget_cents = 5 WHERE name = 'boss'").await.unwrap();
        t.as_(&ada, "DELETE", "/api/agents/hand", Null).await.is(204);
        let refused = t.as_(&boss, "POST", &path, Null).await.refused(400, "beyond_parent");
        assert_eq!(refused["field"], column);
        let same =
            json!({ "name": "hand", "parent": "boss", "scope": ["agents.read"], "budget_cents": 1, column: value });
        t.as_(&boss, "POST", "/api/agents", same).await.refused(400, "beyond_parent");
        t.as_(&ada, "POST", &path, Null).await.is(200);
        t.execute(&format!("UPDATE agents SET budget_cents = 5, {column} = {given} WHERE name = 'hand'"))
            .await
            .unwrap();
    }
    t.as_(&ada, "DELETE", "/api/agents/hand", Null).await.is(204);
    t.as_(&boss, "POST", &path, Null).await.is(200);
}

/// R42: purge is final, and the audit trail stays.
#[tokio::test]
async fn a_purged_agent_is_gone() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let boss = t.agent(&ada, "boss", "agents.*").await;
    let id = boss.agent.as_ref().unwrap().as_str();
    let path = format!("/api/agents/archived/{id}");
    t.as_(&ada, "DELETE", &path, Null).await.refused(404, "archived_agent_not_found"); // it is not archived yet
    t.as_(&ada, "DELETE", "/api/agents/boss", Null).await.is(204);
    t.as_(&eve, "DELETE", &path, Null).await.refused(404, "archived_agent_not_found");
    t.as_(&ada, "DELETE", &path, Null).await.is(204);
    t.as_(&ada, "DELETE", &path, Null).await.refused(404, "archived_agent_not_found");
    t.as_(&boss, "GET", "/api/agents/me", Null).await.refused(401, "invalid_token");
    assert_eq!(
        t.number("SELECT (SELECT count(*) FROM agents) + (SELECT count(*) FROM credentials WHERE agent_id NOT NULL)")
            .await,
        0
    );
    assert_eq!(t.texts("SELECT action FROM audit ORDER BY seq").await, ["agent.archive", "agent.purge"]);
}
