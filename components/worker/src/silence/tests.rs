use common::role::Role;
use serde_json::{Value as Json, Value::Null, json};
use service::{
    outbound::stub,
    testing::{Actor, TestApp},
};

use crate::{mail::tests::settings, tick::tests::tick, with_neighbours};

struct Stage {
    t: TestApp,
    max: Actor,
    boss: Actor,
    scout: Actor,
}

/// Max, a member, owns boss and scout below it, which is silent after half an hour; Ada is the admin.
async fn stage() -> Stage {
    let t = TestApp::with(with_neighbours(), settings("webhook"));
    let tenant = t.tenant("main").await;
    t.user(&tenant, "ada@example.com", Role::Admin).await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let boss = t.agent(&max, "boss", "*").await;
    let scout = t.agent_below(&max, Some(&boss), "scout", "agents.read").await;
    let set = json!({ "silent_after_minutes": 30 });
    assert_eq!(t.as_(&max, "PATCH", "/api/agents/scout", set).await.is(200)["silent_after_minutes"], 30);
    Stage { t, max, boss, scout }
}

async fn beat(t: &TestApp, scout: &Actor) {
    t.as_(scout, "POST", "/api/agents/me/heartbeat", json!({})).await.is(200);
}

/// Told in all: notifications, events, mails.
async fn told(t: &TestApp) -> (i64, i64, i64) {
    let mut numbers = [0; 3];
    for (number, sql) in numbers.iter_mut().zip([
        "SELECT count(*) FROM notifications WHERE title = 'scout has gone silent'",
        "SELECT count(*) FROM inbox WHERE kind = 'agent.silent'",
        "SELECT count(*) FROM outbox WHERE kind = 'silent'",
    ]) {
        *number = t.number(sql).await;
    }
    numbers.into()
}

/// R125: once for each silence: the owner, the agent above, nobody else.
#[tokio::test]
async fn a_silence_is_told_once_and_again_after_a_heartbeat() {
    let Stage { t, max, boss, scout } = stage().await;
    t.wait(1_900);
    tick(&t).await;
    assert_eq!(told(&t).await, (0, 0, 0), "never heard of");
    beat(&t, &scout).await;
    let seen = t.now().to_string();
    t.wait(29 * 60);
    tick(&t).await;
    assert_eq!(told(&t).await, (0, 0, 0), "not yet");
    t.wait(60);
    tick(&t).await;
    assert_eq!(told(&t).await, (1, 1, 1));
    let whom = "SELECT user_id FROM notifications UNION ALL SELECT user_id FROM outbox";
    assert_eq!(t.texts(whom).await, [max.user.as_str(), max.user.as_str()]);
    let read = t.as_(&boss, "GET", "/api/agents/me/inbox", Null).await.is(200);
    let last = read["items"].as_array().unwrap().last().unwrap();
    assert_eq!(last["type"], "agent.silent");
    assert_eq!(
        last["data"],
        json!({ "agent": { "id": scout.agent, "name": "scout" }, "last_seen_at": seen, "silent_after_minutes": 30 })
    );
    // At once, with one link, which only shows.
    let sent = stub::sent().pop().unwrap();
    let body: Json = serde_json::from_str(sent.body()).unwrap();
    assert_eq!((&body["to"], &body["subject"]), (&json!("max@example.com"), &json!("scout has gone silent")), "{body}");
    let text = body["text"].as_str().unwrap();
    assert!(text.contains("https://accredit.example/acme/agents/scout\n"), "{text}");
    assert!(text.contains("Its limit is 30 minutes."), "{text}");

    for _ in 0..3 {
        t.wait(3_600);
        tick(&t).await;
    }
    assert_eq!(told(&t).await, (1, 1, 1), "once");
    beat(&t, &scout).await;
    t.wait(30 * 60);
    tick(&t).await;
    assert_eq!(told(&t).await, (2, 2, 2));
}

/// R125: an agent that nobody watches, that is halted, archived or just resumed is not silent.
#[tokio::test]
async fn only_an_agent_that_should_be_heard_of_is_silent() {
    for end in [
        "UPDATE agents SET silent_after_minutes = NULL",
        "UPDATE agents SET state = 'paused', state_changed_at = 1",
        "UPDATE agents SET state = 'stopped', state_changed_at = 1",
        "UPDATE agents SET archived_at = 1 WHERE name = 'scout'",
    ] {
        let Stage { t, scout, .. } = stage().await;
        beat(&t, &scout).await;
        t.execute(end).await.unwrap();
        t.wait(1_900);
        tick(&t).await;
        assert_eq!(told(&t).await, (0, 0, 0), "{end}");
    }
    let Stage { t, max, scout, .. } = stage().await;
    beat(&t, &scout).await;
    t.as_(&max, "POST", "/api/agents/scout/pause", Null).await.is(200);
    t.wait(1_900);
    t.as_(&max, "POST", "/api/agents/scout/resume", Null).await.is(200);
    tick(&t).await;
    assert_eq!(told(&t).await, (0, 0, 0), "just resumed");
    t.wait(30 * 60);
    tick(&t).await;
    assert_eq!(told(&t).await, (1, 1, 1));
}

/// R125: values that make no sense are refused, and no agent turns its own watch off.
#[tokio::test]
async fn who_sets_the_limit_of_a_silence() {
    let Stage { t, max, boss, scout } = stage().await;
    for (bad, status, slug) in [
        (json!(0), 400, "invalid_number"),
        (json!(-1), 400, "invalid_number"),
        (json!(525_601), 400, "invalid_number"),
        (json!("30"), 422, "validation_error"),
        (json!(1.5), 422, "validation_error"),
    ] {
        let body = json!({ "silent_after_minutes": bad });
        t.as_(&max, "PATCH", "/api/agents/scout", body).await.refused(status, slug);
    }
    t.execute("UPDATE agents SET scope = '*'; ").await.unwrap();
    t.execute("UPDATE credentials SET scope = '*' WHERE agent_id IS NOT NULL").await.unwrap();
    let off = json!({ "silent_after_minutes": Null });
    let refused = t.as_(&scout, "PATCH", "/api/agents/me", off.clone()).await;
    assert_eq!(refused.status.as_u16(), 403, "{}", refused.text);
    assert_eq!(t.number("SELECT silent_after_minutes FROM agents WHERE name = 'scout'").await, 30);
    assert_eq!(t.as_(&boss, "PATCH", "/api/agents/scout", off).await.is(200)["silent_after_minutes"], Null);
}
