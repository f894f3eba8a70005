use common::role::Role;
use serde_json::Value::Null;
use service::{
    settings::Settings,
    testing::{Actor, TestApp},
};
use store::usage::Quotas;

use super::*;
use crate::with_neighbours;

const LOGS: &str = "/api/agents/scout/logs";

async fn stage() -> (TestApp, Actor, Actor) {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.read agents.logs").await;
    (t, ada, scout)
}

fn texts(log: &Json) -> Vec<String> {
    log["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn lines_are_read_in_the_order_in_which_they_were_written() {
    let (t, ada, scout) = stage().await;
    let path = "/api/agents/me/logs";
    assert_eq!(t.as_(&scout, "POST", path, json!({ "text": " one\n\ttwo " })).await.is(201), json!({ "appended": 1 }));
    t.wait(1);
    let lines =
        json!({ "lines": [{ "text": "b", "level": "error" }, { "text": "c" }, { "text": "d", "level": "debug" }] });
    assert_eq!(t.as_(&scout, "POST", LOGS, lines).await.is(201), json!({ "appended": 3 }));
    let log = t.as_(&ada, "GET", LOGS, Null).await.is(200);
    let (first, second) = ("2026-01-02T03:04:05.000Z", "2026-01-02T03:04:06.000Z");
    assert_eq!(
        log,
        json!({ "id": scout.agent, "name": "scout", "more": false, "lines": [
            { "seq": 1, "at": first, "level": "info", "text": "one\n\ttwo" },
            { "seq": 2, "at": second, "level": "error", "text": "b" },
            { "seq": 3, "at": second, "level": "info", "text": "c" },
            { "seq": 4, "at": second, "level": "debug", "text": "d" },
        ] })
    );
    assert_eq!(t.as_(&scout, "GET", path, Null).await.is(200), log);
    // The newest lines, the oldest of them first; and since a moment.
    assert_eq!(texts(&t.as_(&ada, "GET", &format!("{LOGS}?lines=2"), Null).await.is(200)), ["c", "d"]);
    for (since, expected) in [(first, 4), (second, 3), ("2026-01-02T03:04:06.001Z", 0)] {
        let log = t.as_(&ada, "GET", &format!("{LOGS}?since={since}"), Null).await.is(200);
        assert_eq!(texts(&log).len(), expected, "{since}");
    }
    let log = t.as_(&ada, "GET", &format!("{LOGS}?since={second}&lines=1"), Null).await.is(200);
    assert_eq!(texts(&log), ["d"]);
    // R431: by their numbers a log is read whole, forwards and backwards, also where many lines have one time.
    for (query, expected) in [
        ("after=0&lines=3", &["one\n\ttwo", "b", "c"][..]),
        ("after=3&lines=3", &["d"]),
        ("after=4", &[]),
        ("after=1&level=debug", &["d"]),
        ("before=4&lines=2", &["b", "c"]),
        ("before=2&lines=2", &["one\n\ttwo"]),
        ("before=1", &[]),
        ("after=1&before=4&lines=1", &["b"]),
    ] {
        let log = t.as_(&ada, "GET", &format!("{LOGS}?{query}"), Null).await.is(200);
        assert_eq!(texts(&log), expected, "{query}");
    }
    // R443: what is left out is said.
    for (query, more) in [
        ("lines=3", true),
        ("lines=4", false),
        ("after=0&lines=3", true),
        ("after=1&lines=3", false),
        ("before=3&lines=1", true),
        ("before=3&lines=2", false),
        ("level=debug&lines=1", false),
    ] {
        let log = t.as_(&ada, "GET", &format!("{LOGS}?{query}"), Null).await.is(200);
        assert_eq!(log["more"], more, "{query}");
    }
    // R587.
    for query in ["after=-1", "before=-1"] {
        t.as_(&ada, "GET", &format!("{LOGS}?{query}"), Null).await.refused(400, "invalid_number");
    }
    assert_eq!(t.number("SELECT count(*) FROM audit").await, 0, "rows that speak for themselves");
    let before = t.db().statements();
    t.as_(&scout, "POST", path, json!({ "text": "x" })).await.is(201);
    assert_eq!(t.db().statements() - before, 2, "the caller and the lines");
}

#[tokio::test]
async fn the_newest_ten_thousand_lines_are_kept() {
    let (t, ada, scout) = stage().await;
    t.agent(&ada, "other", "agents.logs").await;
    t.execute(
        "INSERT INTO agent_logs
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
         SELECT id, i, 0, 'info', 'old ' || i FROM n, agents",
    )
    .await
    .unwrap();
    t.execute("UPDATE agents SET log_seq = 9999").await.unwrap();
    let lines: Vec<Json> = (0..100).map(|number| json!({ "text": format!("new {number}") })).collect();
    t.as_(&scout, "POST", LOGS, json!({ "lines": lines })).await.is(201);
    let count = |name: &str| {
        format!("SELECT count(*) FROM agent_logs WHERE agent_id = (SELECT id FROM agents WHERE name = '{name}')")
    };
    assert_eq!((t.number(&count("scout")).await, t.number(&count("other")).await), (10_000, 9_999));
    let first = "SELECT text FROM agent_logs WHERE agent_id = (SELECT id FROM agents WHERE name = 'scout') ORDER BY seq LIMIT 1";
    assert_eq!(t.texts(first).await, ["old 100"]);
    let log = t.as_(&ada, "GET", &format!("{LOGS}?lines=1000"), Null).await.is(200);
    let texts = texts(&log);
    assert_eq!((texts.len(), texts[899].as_str(), texts[999].as_str()), (1_000, "old 9999", "new 99"));
}

#[tokio::test]
async fn a_body_with_a_bad_line_is_refused_and_writes_nothing() {
    let (t, _, scout) = stage().await;
    let many: Vec<Json> = (0..101).map(|_| json!({ "text": "a" })).collect();
    for (body, status, slug) in [
        (json!({}), 422, "validation_error"),
        (json!({ "lines": [] }), 422, "validation_error"),
        (json!({ "lines": many }), 422, "validation_error"),
        (json!({ "lines": ["a"] }), 422, "validation_error"),
        (json!({ "lines": [{ "text": "a" }, { "level": "info" }] }), 422, "validation_error"),
        (json!({ "lines": [{ "text": "a", "at": "2026" }] }), 422, "validation_error"),
        (json!({ "lines": [{ "text": "a" }], "text": "b" }), 422, "validation_error"),
        (json!({ "lines": [{ "text": "a" }], "level": "info" }), 422, "validation_error"),
        (json!({ "text": 1 }), 422, "validation_error"),
        (json!({ "text": "" }), 400, "invalid_text"),
        (json!({ "text": "a\u{0}" }), 400, "invalid_text"),
        (json!({ "text": "a\u{1b}[31mb" }), 400, "invalid_text"),
        (json!({ "text": "a\u{202e}b" }), 400, "invalid_text"),
        (json!({ "text": "a\rb" }), 400, "invalid_text"),
        (json!({ "text": "\u{e9}".repeat(2_001) }), 400, "invalid_text"),
        (json!({ "text": "a", "level": "fatal" }), 400, "invalid_level"),
        (json!({ "lines": [{ "text": "a" }, { "text": "b", "level": "INFO" }] }), 400, "invalid_level"),
    ] {
        let refused = t.as_(&scout, "POST", LOGS, body.clone()).await.refused(status, slug);
        if status == 400 && body["lines"].is_array() {
            assert_eq!(refused["at"], 1);
        }
    }
    assert_eq!(t.number("SELECT (SELECT count(*) FROM agent_logs) + (SELECT sum(log_seq) FROM agents)").await, 0);
    t.as_(&scout, "POST", LOGS, json!({ "text": "\u{e9}".repeat(2_000) })).await.is(201);
    for (query, status, slug) in [
        ("lines=0", 400, "invalid_number"),
        ("lines=1001", 400, "invalid_number"),
        ("lines=x", 422, "validation_error"),
        ("since=yesterday", 400, "invalid_time"),
        ("limit=1", 422, "validation_error"),
    ] {
        t.as_(&scout, "GET", &format!("{LOGS}?{query}"), Null).await.refused(status, slug);
    }
}

/// R12, R33, R34: a caller that may read an agent and has the scope reads its log; only the agent itself writes.
#[tokio::test]
async fn only_the_agent_itself_writes_and_only_its_readers_read() {
    let (t, ada, scout) = stage().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let (admin, other) = (t.user(&ada.tenant, "root@example.com", Role::Admin).await, t.tenant("other").await);
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    let hand = t.agent_below(&ada, Some(&scout), "hand", "agents.logs").await;
    let mute = t.agent(&ada, "mute", "agents.read").await;
    let line = json!({ "text": "a" });
    for actor in [&ada, &admin, &scout] {
        t.as_(actor, "GET", "/api/agents/hand/logs", Null).await.is(200);
        let refused = t.as_(actor, "POST", "/api/agents/hand/logs", line.clone()).await.refused(403, "own_log_only");
        let fix = if actor.agent.is_some() { "POST /api/agents/me/logs" } else { "POST /api/agents/hand/messages" };
        assert!(refused["fix"].as_str().unwrap().contains(fix), "{refused}");
    }
    for actor in [&max, &eve, &hand] {
        t.as_(actor, "GET", LOGS, Null).await.refused(404, "agent_not_found");
        t.as_(actor, "POST", LOGS, line.clone()).await.refused(404, "agent_not_found");
    }
    t.as_(&ada, "POST", "/api/agents/me/logs", line.clone()).await.refused(404, "agent_not_found");
    for method in ["GET", "POST"] {
        let refused = t.as_(&mute, method, "/api/agents/me/logs", line.clone()).await.refused(403, "scope_denied");
        assert_eq!(refused["missing_scopes"], json!(["agents.logs"]));
    }
    t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, max.user.as_str(), "editor", &ada.user).await;
    t.as_(&max, "POST", LOGS, line.clone()).await.refused(403, "own_log_only");
    t.as_(&max, "GET", LOGS, Null).await.is(200);
    assert_eq!(t.number("SELECT count(*) FROM agent_logs").await, 0);
    t.as_(&hand, "POST", "/api/agents/hand/logs", line).await.is(201);
    assert_eq!(texts(&t.as_(&ada, "GET", LOGS, Null).await.is(200)), Vec::<String>::new());
}

/// An agent that gets a free name inherits no line.
#[tokio::test]
async fn a_log_belongs_to_the_agent_and_not_to_its_name() {
    let (t, ada, scout) = stage().await;
    t.as_(&scout, "POST", LOGS, json!({ "text": "mine" })).await.is(201);
    t.as_(&ada, "DELETE", "/api/agents/scout", Null).await.is(204);
    t.as_(&ada, "POST", "/api/agents", json!({ "name": "scout" })).await.is(201);
    assert_eq!(t.as_(&ada, "GET", LOGS, Null).await.is(200)["lines"], json!([]));
    let id = scout.agent.as_ref().unwrap();
    t.as_(&ada, "DELETE", &format!("/api/agents/archived/{id}"), Null).await.is(204);
    assert_eq!(t.number("SELECT count(*) FROM agent_logs").await, 0);
}

/// R86: the logs of a person's agents hold as much as their quota allows; what others store does not matter.
#[tokio::test]
async fn logs_of_a_person_are_bounded() {
    let quotas = Quotas { bytes: 5_000, ..Settings::default().quotas };
    let t = TestApp::with(with_neighbours(), Settings { quotas, ..Settings::default() });
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.read agents.logs").await;
    let other = t.agent(&ada, "other", "agents.read agents.logs").await;
    let third = t.agent(&max, "third", "agents.read agents.logs").await;
    let (path, long) = ("/api/agents/me/logs", json!({ "text": "x".repeat(1_900) }));
    for agent in [&scout, &other, &scout] {
        t.as_(agent, "POST", path, long.clone()).await.is(201);
    }
    let before = t.db().statements();
    for agent in [&scout, &other] {
        let refused = t.as_(agent, "POST", path, long.clone()).await.refused(409, "quota_reached");
        assert_eq!((&refused["quota"], &refused["of"]), (&json!("stored bytes"), &json!("person")));
    }
    assert!(t.db().statements() - before < 12);
    t.as_(&third, "POST", path, long.clone()).await.is(201);
    assert_eq!(t.number("SELECT count(*) FROM agent_logs").await, 4);
    // With a token that an editor issued no more than half, so that the owner always has the other half.
    let lent = t.lent(&third, &ada, "agents.read agents.logs").await;
    t.as_(&lent, "POST", path, long.clone()).await.is(201);
    let refused = t.as_(&lent, "POST", path, long.clone()).await.refused(409, "quota_reached");
    assert_eq!(refused["limit"], 2_500);
    let other = t.agent(&max, "fourth", "agents.read agents.logs").await;
    t.as_(&other, "POST", path, long).await.is(201);
}
