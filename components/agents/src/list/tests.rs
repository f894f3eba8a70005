use common::role::Role;
use serde_json::{Value as Json, Value::Null, json};
use service::testing::TestApp;

use crate::with_neighbours;

/// R33: filtered by a parent that the caller may not read, the list is empty, as with a parent that does not exist.
#[tokio::test]
async fn the_filter_by_parent_hides_a_parent_that_the_caller_may_not_read() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let boss = t.agent(&ada, "boss", "agents.read").await;
    let hand = t.agent_below(&ada, Some(&boss), "hand", "agents.read").await;
    t.grant(hand.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "viewer", &ada.user).await;
    let seen = t.as_(&eve, "GET", "/api/agents", Null).await.is(200);
    assert_eq!((&seen["items"][0]["name"], &seen["items"][0]["parent"]), (&json!("hand"), &Null));
    for parent in ["boss", boss.agent.as_ref().unwrap().as_str(), "nobody"] {
        let below = t.as_(&eve, "GET", &format!("/api/agents?parent={parent}"), Null).await.is(200);
        assert_eq!(below["items"], json!([]), "{parent}");
    }
    let below = t.as_(&ada, "GET", "/api/agents?parent=boss", Null).await.is(200);
    assert_eq!(below["items"][0]["name"], "hand");
}

/// R687: wherever an agent is shown, it stands there that its owner is deactivated, since no credential of it works then.
#[tokio::test]
async fn an_agent_says_that_its_owner_is_deactivated() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    t.agent(&eve, "hers", "agents.read").await;
    t.agent(&ada, "mine", "agents.read").await;
    t.execute(&format!("UPDATE users SET deactivated_at = 1 WHERE id = '{}'", eve.user)).await.unwrap();
    let listed = t.as_(&ada, "GET", "/api/agents", Null).await.is(200)["items"].clone();
    let newest = t.as_(&ada, "GET", "/api/overview", Null).await.is(200)["agents"]["newest"].clone();
    let of =
        |list: &Json, name: &str| list.as_array().unwrap().iter().find(|one| one["name"] == name).cloned().unwrap();
    for (name, active) in [("hers", false), ("mine", true)] {
        let one = t.as_(&ada, "GET", &format!("/api/agents/{name}"), Null).await.is(200);
        let said = [&one["owner"]["active"], &of(&listed, name)["owner"]["active"], &of(&newest, name)["owner_active"]];
        assert_eq!(said, [active, active, active], "{name}");
    }
}

/// SQLite writes the rows of a list, serde writes a single agent: the same members in the same order, whatever their values.
#[tokio::test]
async fn a_list_shows_an_agent_as_a_read_does() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let odd = "\"quoted\" \\ back / é 𝄞 <&>";
    for body in [
        json!({
            "name": "full", "display_name": odd, "description": format!("{odd}\nline\ttab"), "runtime": odd, "model": odd,
            "labels": { "b": odd, "a": "1", odd: "" }, "scope": ["agents.read", "ui.*", "agents.logs"], "expires_in_days": 1,
            "url": "https://a.example.com/x?y=1", "tier": 1, "max_concurrent_tasks": 7, "budget_cents": 900,
        }),
        json!({ "name": "below", "parent": "full", "scope": ["agents.read"], "issue_token": false }),
        json!({ "name": "plain", "preset": "reader" }),
    ] {
        t.as_(&ada, "POST", "/api/agents", body).await.is(201);
    }
    t.wait(1);
    t.as_(&ada, "POST", "/api/agents/plain/pause", Null).await.is(200);
    for sql in [
        "UPDATE agents SET last_seen_at = 1767323045999, spent_cents = 5 WHERE name = 'full'",
        "UPDATE credentials SET last_used_at = 1767323045001 WHERE kind = 'agent_token'",
        "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, created_at, granted, ends_at)
         SELECT 'acc_' || n, tenant_id, id, 's' || n, 'r', 1, 'approved', 0, n, 9e12 FROM agents, (SELECT 'audit.read users.read' AS n UNION SELECT 'x')
         WHERE name = 'full'",
    ] {
        t.execute(sql).await.unwrap();
    }
    let page = t.as_(&ada, "GET", "/api/agents?limit=2", Null).await.is(200);
    let rest = format!("/api/agents?cursor={}", page["next_cursor"].as_str().unwrap());
    let last = t.as_(&ada, "GET", &rest, Null).await.is(200);
    assert_eq!(last["next_cursor"], Null);
    let all = [page["items"].as_array().unwrap().as_slice(), last["items"].as_array().unwrap()].concat();
    assert_eq!(all.len(), 3);
    for listed in &all {
        let name = listed["name"].as_str().unwrap();
        let read = t.as_(&ada, "GET", &format!("/api/agents/{name}"), Null).await.is(200);
        // As texts: the order of the members counts.
        assert_eq!(listed.to_string(), read.to_string());
    }
    let full = all.iter().find(|agent| agent["name"] == "full").unwrap();
    assert_eq!(full["approved"], json!(["audit.read", "users.read", "x"]));
    assert_eq!(full["last_seen_at"], "2026-01-02T03:04:05.999Z");
}

/// R36: filter, limit and order happen in SQL: no gap, nothing twice. A caller that may read no agent sees an empty list.
#[tokio::test]
async fn a_list_of_every_second_agent_is_paged_without_gaps() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let zoe = t.user(&ada.tenant, "zoe@example.com", Role::Member).await;
    for number in 0..120 {
        t.wait(i64::from(number % 3 == 0)); // several agents of one moment, too
        let agent = t.agent(&ada, &format!("a{number}"), "agents.read").await;
        if number % 2 == 0 {
            t.grant(agent.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "viewer", &ada.user).await;
        }
    }
    let (mut names, mut sizes, mut cursor) = (vec![], vec![], String::new());
    loop {
        let page = t.as_(&eve, "GET", &format!("/api/agents?limit=50{cursor}"), Null).await.is(200);
        let items = page["items"].as_array().unwrap();
        sizes.push(items.len());
        names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(sizes, [50, 10]);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 60);
    assert_eq!(t.as_(&zoe, "GET", "/api/agents", Null).await.is(200), json!({ "items": [], "next_cursor": null }));
}

#[tokio::test]
async fn a_list_is_filtered() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    t.agent(&ada, "alpha", "agents.read").await;
    t.agent(&eve, "beta", "agents.read").await;
    t.as_(&ada, "POST", "/api/agents", json!({ "name": "gamma_x", "issue_token": false })).await.is(201);
    t.execute("UPDATE agents SET state = 'paused' WHERE name = 'beta'").await.unwrap();
    for (query, names) in [
        ("q=ALPH", vec!["alpha"]),
        ("q=%25", vec![]),
        ("q=_", vec![]),
        ("state=paused", vec!["beta"]),
        ("owner=EVE@example.com", vec!["beta"]),
        ("has_token=false", vec!["gamma-x"]),
        ("has_token=true&q=a", vec!["alpha", "beta"]),
    ] {
        let list = t.as_(&ada, "GET", &format!("/api/agents?{query}"), Null).await.is(200);
        let mut seen: Vec<&str> =
            list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, names, "{query}");
    }
    // The token of an agent whose owner is deactivated is not a live one: nothing accepts it.
    t.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'eve@example.com'").await.unwrap();
    for (query, names) in [("has_token=true", json!(["alpha"])), ("has_token=false&q=beta", json!(["beta"]))] {
        let list = t.as_(&ada, "GET", &format!("/api/agents?{query}"), Null).await.is(200);
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.iter().map(|item| item["name"].clone()).collect::<serde_json::Value>(), names, "{query}");
    }
    let beta = t.as_(&ada, "GET", "/api/agents?q=beta", Null).await.is(200)["items"][0].clone();
    assert_eq!((&beta["has_token"], &beta["token"]), (&json!(false), &Null));
    let long = format!("q={}", "x".repeat(50_000));
    t.as_(&ada, "GET", &format!("/api/agents?{long}"), Null).await.refused(400, "invalid_text");
    for query in ["state=asleep", "has_token=1"] {
        t.as_(&ada, "GET", &format!("/api/agents?{query}"), Null).await.refused(400, "invalid_filter");
    }
}

/// R31: refusals of known callers are counted.
#[tokio::test]
async fn refusals_are_counted_by_credential_and_slug() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let plain = t.agent(&ada, "plain", "ui.notify").await;
    for _ in 0..3 {
        t.as_(&plain, "GET", "/api/agents", Null).await.refused(403, "scope_denied");
    }
    let counted = t.texts("SELECT subject || ' ' || slug || ' ' || count FROM refusals").await;
    assert_eq!(counted, [format!("{} scope_denied 3", plain.credential)]);
}

/// R188: by name too, for every caller: what is owned, granted and below, without gaps and nothing twice.
#[tokio::test]
async fn a_list_is_sorted_by_name() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    for (name, owner, is_granted) in [
        ("delta", &ada, true),
        ("alpha", &eve, false),
        ("echo", &eve, true),
        ("bravo", &ada, false),
        ("charlie", &ada, true),
    ] {
        t.wait(1);
        let agent = t.agent(owner, name, "agents.list").await;
        if is_granted {
            for relation in ["viewer", "editor"] {
                t.grant(agent.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), relation, &ada.user).await;
            }
        }
    }
    let boss = t.agent(&eve, "hotel", "agents.list").await;
    t.agent_below(&eve, Some(&boss), "golf", "agents.list").await;
    let all = ["alpha", "bravo", "charlie", "delta", "echo", "golf", "hotel"];
    for (who, names) in [
        (&ada, all.to_vec()),
        (&eve, vec!["alpha", "charlie", "delta", "echo", "golf", "hotel"]),
        (&boss, vec!["golf", "hotel"]),
    ] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = t.as_(who, "GET", &format!("/api/agents?sort=name&limit=2{cursor}"), Null).await.is(200);
            seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, names);
    }
    let newest = t.as_(&ada, "GET", "/api/agents?sort=created_at&limit=1", Null).await.is(200);
    t.as_(&ada, "GET", "/api/agents?sort=size", Null).await.refused(400, "invalid_filter");
    // A cursor belongs to its order.
    let cursor = newest["next_cursor"].as_str().unwrap();
    let other = format!("/api/agents?sort=name&cursor={cursor}");
    t.as_(&ada, "GET", &other, Null).await.refused(400, "invalid_cursor");
}
