use common::{role::Role, secret::Kind};
use serde_json::{Value::Null, json};
use service::{settings::Settings, testing::TestApp};
use store::usage::Quotas;

use crate::with_neighbours;

const USAGE: &str = "/api/usage";
const QUOTAS: Quotas = Quotas { agents: 2, credentials: 3, bytes: 20_000, notifications: 2 };

fn bounded() -> TestApp {
    TestApp::with(with_neighbours(), Settings { quotas: QUOTAS, ..Settings::default() })
}

/// R86: an admin sees what is stored, by whom, and how much more may be.
#[tokio::test]
async fn an_admin_sees_who_stores_what() {
    let t = bounded();
    let ada = t.ada().await;
    let other = t.tenant("other").await;
    let zoe = t.user(&other, "zoe@example.com", Role::Admin).await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&max, "scout", "ui.notify").await;
    t.agent(&zoe, "zoes", "ui.notify").await;
    t.credential(Kind::Pat, &max.tenant, &max.user, None, "*", Some(t.now())).await; // has expired
    t.execute("INSERT INTO inbox (agent_id, seq, kind, data, created_at) SELECT id, 1, 'message', '{\"a\":1}', 0 FROM agents WHERE name = 'scout'")
        .await
        .unwrap();
    let id = scout.agent.as_ref().unwrap();
    t.execute(&format!(
        "INSERT INTO do_log (agent_id, at, lines) VALUES ('{id}', 0, '[{{\"level\":\"info\",\"text\":\"é\"}}]')"
    ))
    .await
    .unwrap();
    let user = |actor: &service::testing::Actor, email: &str, agents: i64, credentials: i64, bytes: i64| json!({ "user_id": actor.user, "email": email, "agents": agents, "credentials": credentials, "bytes": bytes, "notifications": 0 });
    let bytes = 64 + 7 + 64 + 2;
    assert_eq!(
        t.as_(&ada, "GET", USAGE, Null).await.is(200),
        json!({
            "quotas": { "user": QUOTAS, "tenant": { "agents": 10, "credentials": 15, "bytes": 100_000 } },
            "tenant": { "agents": 1, "credentials": 1, "bytes": bytes },
            "users": [user(&max, "max@example.com", 1, 1, bytes), user(&ada, "ada@example.com", 0, 0, 0)],
            "more": false,
        })
    );
    t.as_(&max, "GET", USAGE, Null).await.refused(403, "scope_denied");
    let theirs = t.as_(&zoe, "GET", USAGE, Null).await.is(200);
    assert_eq!((&theirs["tenant"]["agents"], theirs["users"].as_array().unwrap().len()), (&json!(1), 1));
    // What is acknowledged, archived or deleted counts no more; what is given away counts for its owner.
    t.execute("DELETE FROM inbox").await.unwrap();
    t.execute(&format!("UPDATE agents SET owner_id = '{}' WHERE name = 'scout'", ada.user)).await.unwrap();
    let stored = "SELECT group_concat(agents || ' ' || bytes, ', ') FROM (SELECT * FROM usage WHERE subject_id IN (SELECT id FROM users WHERE email <> 'zoe@example.com') ORDER BY bytes)";
    assert_eq!(t.texts(stored).await, ["0 0, 1 66"]);
    t.execute("UPDATE agents SET archived_at = 1").await.unwrap();
    assert_eq!(t.texts(stored).await, ["0 0, 0 66"]);
    t.execute("DELETE FROM agent_logs").await.unwrap();
    t.execute("DELETE FROM credentials WHERE agent_id IS NOT NULL").await.unwrap();
    t.execute("DELETE FROM agents").await.unwrap();
    assert_eq!(t.texts(stored).await, ["0 0, 0 0"]);
}

/// R478: the hundred that store the most are named, and the answer says when there are others.
#[tokio::test]
async fn an_answer_about_many_says_that_there_are_more() {
    let t = bounded();
    let ada = t.ada().await;
    for number in 0..99 {
        t.user(&ada.tenant, &format!("u{number}@example.com"), Role::Member).await;
    }
    let more = async |t: &TestApp| {
        let all = t.as_(&ada, "GET", USAGE, Null).await.is(200);
        (all["users"].as_array().unwrap().len(), all["more"].as_bool())
    };
    assert_eq!(more(&t).await, (100, Some(false)));
    t.user(&ada.tenant, "last@example.com", Role::Member).await;
    assert_eq!(more(&t).await, (100, Some(true)));
}

/// R86: what is counted is what is there, whatever was done; the newest 10,000 lines of a log and no more.
#[tokio::test]
async fn a_log_counts_what_it_keeps() {
    let t = bounded();
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.logs").await;
    let id = scout.agent.unwrap();
    for _ in 0..3 {
        t.execute(&format!(
            "INSERT INTO do_log (agent_id, at, lines)
             SELECT '{id}', 0, json_group_array(json_object('level', 'info', 'text', printf('%.*c', 1 + i % 9, 'x')))
             FROM (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) SELECT i FROM n)"
        ))
        .await
        .unwrap();
    }
    assert_eq!(t.number("SELECT count(*) FROM agent_logs").await, 10_000);
    let kept = t.number("SELECT sum(64 + length(text)) FROM agent_logs").await;
    assert_eq!(t.number("SELECT stored_bytes FROM agents").await, kept);
    assert_eq!(t.texts("SELECT DISTINCT CAST(bytes AS TEXT) FROM usage").await, [kept.to_string()]);
}
