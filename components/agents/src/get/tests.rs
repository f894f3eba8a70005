use common::role::Role;
use serde_json::{Value::Null, json};
use service::testing::TestApp;

use crate::with_neighbours;

/// R33, R45: for every method, an agent that the caller may not read is an absent one: same body, headers and statements.
#[tokio::test]
async fn foreign_agents_look_absent() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let other = t.tenant("other").await;
    let zoe = t.user(&other, "zoe@example.com", Role::Admin).await;
    let spy = t.agent(&eve, "spy", "agents.*").await;
    t.agent(&ada, "scout", "agents.read").await;
    for actor in [&eve, &zoe, &spy] {
        t.as_(actor, "GET", "/api/agents", Null).await.is(200); // records the use, so that no later request does it
        for (method, tail, body) in [
            ("GET", "", Null),
            ("PATCH", "", json!({ "model": "x" })),
            ("DELETE", "", Null),
            ("POST", "/token/issue", json!({})),
            ("DELETE", "/token", Null),
        ] {
            let mut seen = vec![];
            for name in ["scout", "nobody", "UPPER", "%2e%2e", "a%2Fb", "%ff", "%00"] {
                let before = t.db().statements();
                let answer = t.as_(actor, method, &format!("/api/agents/{name}{tail}"), body.clone()).await;
                let mut refused = answer.refused(404, "agent_not_found");
                refused["request_id"] = Null;
                let names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
                seen.push((refused.to_string(), names, t.db().statements() - before));
            }
            assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{method} {tail} {seen:#?}");
        }
    }
    assert_eq!(t.number("SELECT count(*) FROM agents WHERE archived_at IS NULL").await, 2);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE revoked_at IS NOT NULL").await, 0);
}

/// R34: a caller that may only read is told what it lacks, and nothing has changed.
#[tokio::test]
async fn a_viewer_is_told_which_relation_it_lacks() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "viewer", &ada.user).await;
    for (method, path, needed) in [
        ("PATCH", "/api/agents/scout", json!(["editor", "owner", "tenant.admin"])),
        ("DELETE", "/api/agents/scout", json!(["owner", "tenant.admin"])),
        ("POST", "/api/agents/scout/token/issue", json!(["editor", "owner", "tenant.admin"])),
        ("DELETE", "/api/agents/scout/token", json!(["editor", "owner", "tenant.admin"])),
    ] {
        let refused = t.as_(&eve, method, path, Null).await.refused(403, "permission_denied");
        assert_eq!(refused["required_relations"], needed);
        assert!(refused["fix"].as_str().unwrap().contains("ada@example.com"));
    }
    t.as_(&scout, "GET", "/api/agents/scout", Null).await.is(200);
}

/// R41: an agent reaches only itself, whatever its owner's role is; with a grant it may do what its owner may do as well.
#[tokio::test]
async fn an_agent_of_an_admin_is_not_an_admin() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.*").await;
    let other = t.agent(&ada, "other", "agents.read").await;
    let helper = t.agent(&eve, "helper", "agents.*").await;
    t.as_(&scout, "PATCH", "/api/agents/scout", json!({ "model": "m" })).await.is(200);
    t.as_(&scout, "GET", "/api/agents/other", Null).await.refused(404, "agent_not_found");
    let seen = t.as_(&scout, "GET", "/api/agents", Null).await.is(200);
    assert_eq!(seen["items"].as_array().unwrap().len(), 1);
    // A grant to an agent is worth nothing while its owner has none.
    t.grant(other.agent.as_ref().unwrap(), &ada.tenant, helper.agent.as_ref().unwrap().as_str(), "editor", &ada.user)
        .await;
    t.as_(&helper, "GET", "/api/agents/other", Null).await.refused(404, "agent_not_found");
    t.grant(other.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "viewer", &ada.user).await;
    t.as_(&helper, "GET", "/api/agents/other", Null).await.is(200);
    t.as_(&helper, "PATCH", "/api/agents/other", json!({ "model": "m" })).await.refused(403, "permission_denied");
    let own = json!({ "scope": ["agents.read"] });
    t.as_(&scout, "PATCH", "/api/agents/scout", own).await.refused(403, "person_required");
}

/// R43: a halted agent is refused on its next request.
#[tokio::test]
async fn a_halted_agent_is_refused() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.*").await;
    for (state, slug) in [("paused", "agent_paused"), ("stopped", "agent_stopped")] {
        t.execute(&format!("UPDATE agents SET state = '{state}'")).await.unwrap();
        t.as_(&scout, "GET", "/api/agents/scout", Null).await.refused(403, slug);
    }
}
