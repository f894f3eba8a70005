use common::role::Role;
use serde_json::{
    Value::{self as Json, Null},
    json,
};
use service::testing::{Actor, TestApp};

use crate::with_neighbours;

const OVERVIEW: &str = "/api/overview";

async fn overview(t: &TestApp, actor: &Actor) -> Json {
    t.as_(actor, "GET", OVERVIEW, Null).await.is(200)
}

/// R108: the counts and the rows are those of the list, for every kind of reader.
#[tokio::test]
async fn an_overview_counts_what_the_caller_may_read() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let lea = t.user(&ada.tenant, "lea@example.com", Role::Viewer).await;
    let foreign = t.tenant("other").await;
    let eve = t.user(&foreign, "eve@example.com", Role::Admin).await;
    let boss = t.agent(&ada, "boss", "agents.read").await;
    t.agent_below(&max, Some(&boss), "hand", "agents.read agents.list").await;
    t.agent(&max, "other-hand", "agents.read").await;
    t.agent(&eve, "foreign", "agents.read").await;
    for reader in [&max, &lea] {
        let boss = boss.agent.as_ref().unwrap();
        t.grant(boss, &ada.tenant, reader.user.as_str(), "viewer", &ada.user).await;
        t.grant(boss, &ada.tenant, reader.user.as_str(), "editor", &ada.user).await;
    }
    t.execute("UPDATE agents SET state = 'paused' WHERE name = 'hand'").await.unwrap();
    t.execute("UPDATE agents SET archived_at = 1 WHERE name = 'other-hand'").await.unwrap();
    t.agent(&ada, "hers", "agents.read").await;
    for (actor, running, paused, owners) in [(&ada, 2, 1, 2), (&max, 1, 1, 2), (&lea, 1, 0, 1), (&eve, 1, 0, 1)] {
        let (seen, list) = (overview(&t, actor).await, t.as_(actor, "GET", "/api/agents", Null).await.is(200));
        let agents = &seen["agents"];
        let counts = ["running", "paused", "stopped", "owners"].map(|name| agents[name].clone());
        assert_eq!(counts, [json!(running), json!(paused), json!(0), json!(owners)], "{seen}");
        let names = |rows: &Json, parent: &str| {
            let row = |row: &Json| (row["name"].clone(), row["state"].clone(), row[parent].clone());
            rows.as_array().unwrap().iter().map(row).collect::<Vec<_>>()
        };
        assert_eq!(names(&agents["newest"], "parent"), names(&list["items"], "parent"));
    }
    // The agent above one is named to those that may read it alone.
    t.execute("DELETE FROM grants").await.unwrap();
    let newest = &overview(&t, &max).await["agents"]["newest"];
    assert_eq!(
        (&newest[0]["name"], &newest[0]["parent"], newest.as_array().unwrap().len()),
        (&json!("hand"), &Null, 1)
    );
    t.as_(&boss, "GET", OVERVIEW, Null).await.refused(403, "person_required");
}

/// R108: what happened lately is counted by hours: of the tenant for its admins, of a person and of their agents for others.
#[tokio::test]
async fn an_overview_says_what_happened_lately() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    for (actor, name) in [(&ada, "one"), (&max, "two")] {
        t.as_(actor, "POST", "/api/agents", json!({ "name": name, "issue_token": false })).await.is(201);
    }
    t.wait(3600);
    t.as_(&max, "POST", "/api/agents/two/pause", Null).await.is(200);
    let sums = |seen: &Json| {
        let hours = seen["lately"]["hours"].as_array().unwrap().clone();
        hours.iter().map(|hour| (hour["done"].clone(), hour["refused"].clone())).collect::<Vec<_>>()
    };
    let actions = |seen: &Json| {
        let events = seen["lately"]["events"].as_array().unwrap().clone();
        events.iter().map(|row| row["action"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (all, own) = (overview(&t, &ada).await, overview(&t, &max).await);
    assert_eq!(sums(&all), [(json!(2), json!(0)), (json!(1), json!(0))]);
    assert_eq!(actions(&all), ["agent.pause", "agent.create", "agent.create"]);
    assert_eq!(sums(&own), [(json!(1), json!(0)), (json!(1), json!(0))]);
    assert_eq!(actions(&own), ["agent.pause", "agent.create"]);
    t.execute(
        "INSERT INTO audit (id, at, tenant_id, user_id, action, outcome, count)
         SELECT 'aud_r', max(at), tenant_id, user_id, 'scope_denied', 'refused', 6 FROM audit",
    )
    .await
    .unwrap();
    assert_eq!(sums(&overview(&t, &ada).await)[1], (json!(1), json!(6)));
    // A day later nothing of it is lately any more.
    t.wait(25 * 3600);
    let ada = t.user(&ada.tenant, "noor@example.com", Role::Admin).await;
    assert_eq!(overview(&t, &ada).await["lately"]["hours"], json!([]));
}

/// Each part asks for its scope, and what waits for whom is decided as in its own list.
#[tokio::test]
async fn an_overview_shows_no_more_than_its_credential_carries() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    let asked = json!({ "scope": ["agents.logs"], "reason": "To look." });
    t.as_(&scout, "POST", "/api/access-requests", asked).await.is(201);
    let seen = overview(&t, &ada).await;
    assert_eq!(seen["waiting"]["items"][0]["reason"], "To look.");
    assert_eq!((&seen["unread"], &seen["waiting"]["is_more"]), (&json!(1), &json!(false)));
    let caller = ["email", "role", "agent_id", "scope"].map(|name| seen["caller"][name].clone());
    assert_eq!(caller, [json!("ada@example.com"), json!("admin"), Null, json!(["*"])]);
    assert_eq!(overview(&t, &max).await["waiting"]["items"], json!([]));
    let head = t.as_(&ada, "GET", "/api/overview?parts=head", Null).await.is(200);
    assert_eq!(head.as_object().unwrap().keys().collect::<Vec<_>>(), ["caller", "waiting", "unread"]);
    t.as_(&ada, "GET", "/api/overview?parts=all", Null).await.refused(400, "invalid_filter");
    let pat = json!({ "name": "narrow", "scope": ["agents.list"] });
    let pat = t.as_(&ada, "POST", "/auth/tokens", pat).await.is(201);
    let bearer = format!("Bearer {}", pat["token"].as_str().unwrap());
    let seen = t.call("GET", OVERVIEW, &[("authorization", &bearer)], Null).await.is(200);
    assert_eq!([&seen["unread"], &seen["lately"], &seen["ending"], &seen["waiting"]], [&Null; 4]);
    assert_eq!(seen["agents"]["running"], 1);
}

/// R760: what agents ask for, and why, is for a person's token that may read agents, here and in the list.
#[tokio::test]
async fn a_narrow_token_of_a_person_reads_no_access_requests() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    let asked = json!({ "scope": ["agents.logs"], "reason": "To look." });
    let asked = t.as_(&scout, "POST", "/api/access-requests", asked).await.is(201);
    let one = format!("/api/access-requests/{}", asked["id"].as_str().unwrap());
    let get = async |scope: &str, path: &str| {
        let pat = t.as_(&ada, "POST", "/auth/tokens", json!({ "name": "pat", "scope": [scope] })).await.is(201);
        let bearer = format!("Bearer {}", pat["token"].as_str().unwrap());
        t.call("GET", path, &[("authorization", &bearer)], Null).await
    };
    for path in ["/api/access-requests", &one] {
        get("guides.read", path).await.refused(403, "scope_denied");
        get("agents.read", path).await.is(200);
        t.as_(&ada, "GET", path, Null).await.is(200);
        t.as_(&scout, "GET", path, Null).await.is(200);
    }
    assert_eq!(get("guides.read", OVERVIEW).await.is(200)["waiting"], Null);
    assert_eq!(get("agents.read", OVERVIEW).await.is(200)["waiting"]["items"][0]["reason"], "To look.");
}

/// Credentials that end within a week are counted, those of the caller's agents too, and nobody else's.
#[tokio::test]
async fn an_overview_counts_credentials_that_end_soon() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    for (name, days) in [("soon", 3), ("later", 30)] {
        let body = json!({ "name": name, "scope": ["agents.read"], "expires_in_days": days });
        t.as_(&ada, "POST", "/auth/tokens", body).await.is(201);
    }
    t.as_(&ada, "POST", "/api/agents", json!({ "name": "brief", "expires_in_days": 2 })).await.is(201);
    t.as_(&max, "POST", "/auth/tokens", json!({ "name": "max", "scope": ["agents.read"], "expires_in_days": 1 }))
        .await
        .is(201);
    assert_eq!(overview(&t, &ada).await["ending"], 2);
    assert_eq!(overview(&t, &max).await["ending"], 1);
}
