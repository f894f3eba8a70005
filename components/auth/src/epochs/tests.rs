use common::{role::Role, secret::Kind};
use serde_json::{Value::Null, json};
use service::testing::{Actor, Answer, TestApp, at_once};

use crate::with_neighbours;

const EPOCHS: &str = "/auth/epochs";

/// An admin, an agent of theirs, and the PAT of a guard.
async fn stage() -> (TestApp, Actor, Actor, Actor) {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    let guard = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "tokens.introspect", None).await;
    (t, ada, scout, guard)
}

async fn ask(t: &TestApp, guard: &Actor, query: &str) -> Answer {
    t.as_(guard, "GET", &format!("{EPOCHS}?{query}"), Null).await
}

/// R145: a guard begins with the last number, and from there on is told one row for each change.
#[tokio::test]
async fn a_guard_is_told_what_ended_since_it_asked() {
    let (t, ada, scout, guard) = stage().await;
    let page = ask(&t, &guard, "").await.is(200);
    assert_eq!(page, json!({ "epoch": 0, "items": [], "more": false }));
    t.as_(&ada, "POST", "/api/agents/scout/stop", Null).await.is(200);
    t.as_(&ada, "DELETE", "/api/agents/scout/token", Null).await.is(204);
    let page = ask(&t, &guard, "after=0").await.is(200);
    let stopped = json!({ "epoch": 1, "kind": "agent", "id": scout.agent, "change": "halted" });
    let revoked = json!({ "epoch": 2, "kind": "credential", "id": scout.credential, "change": "ended" });
    assert_eq!(page, json!({ "epoch": 2, "items": [stopped, revoked], "more": false }));
    let page = ask(&t, &guard, "after=0&limit=1").await.is(200);
    assert_eq!(page, json!({ "epoch": 1, "items": [stopped], "more": true }));
    assert_eq!(ask(&t, &guard, "after=1&limit=5").await.is(200)["items"], json!([revoked]));
    assert_eq!(ask(&t, &guard, "").await.is(200)["epoch"], 2);
}

/// R145: with nothing new there is nothing to read.
#[tokio::test]
async fn nothing_new_is_304() {
    let (t, ada, _, guard) = stage().await;
    let first = ask(&t, &guard, "after=0").await;
    assert_eq!((first.status.as_u16(), first.header("etag"), first.header("x-accredit-held-ms")), (200, "\"0\"", "0"));
    let auth = format!("Bearer {}", guard.token);
    let again = async |after: &str, tag: &str| {
        let headers = [("authorization", auth.as_str()), ("if-none-match", tag)];
        t.call("GET", &format!("{EPOCHS}?after={after}&guard=g1"), &headers, Null).await
    };
    let answer = again("0", "\"0\"").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str(), answer.header("x-accredit-held-ms")), (304, "", "0"));
    assert_eq!(t.number("SELECT count(*) FROM guards").await, 1); // and the lease runs all the same
    t.as_(&ada, "POST", "/api/agents/scout/pause", Null).await.is(200);
    let news = again("0", "\"0\"").await;
    assert_eq!((news.is(200)["epoch"].clone(), news.header("etag")), (json!(1), "\"1\""));
}

/// R145: a guard that is too far behind, or ahead of what there ever was, begins anew.
#[tokio::test]
async fn a_guard_that_cannot_be_told_starts_over() {
    let (t, ada, _, guard) = stage().await;
    t.as_(&ada, "POST", "/api/agents/scout/pause", Null).await.is(200);
    t.as_(&ada, "POST", "/api/agents/scout/stop", Null).await.is(200);
    t.execute("DELETE FROM epochs WHERE epoch = 1").await.unwrap();
    for after in ["0", "3", "9223372036854775807"] {
        let body = ask(&t, &guard, &format!("after={after}")).await.refused(410, "epochs_forgotten");
        assert_eq!(body["epoch"], 2);
    }
    ask(&t, &guard, "after=1").await.is(200);
}

/// R145: a question that is not understood lends nothing.
#[tokio::test]
async fn a_bad_question_is_refused() {
    let (t, _, scout, guard) = stage().await;
    let long = format!("guard={}", "g".repeat(65));
    for query in ["lease=5", "guard=", "guard=a%20b", "guard=%C3%AB", "after=x", "limit=x", &long] {
        ask(&t, &guard, query).await.refused(422, "validation_error");
    }
    for query in ["after=-1", "limit=0", "limit=1001", "guard=g&lease=0", "guard=g&lease=61"] {
        ask(&t, &guard, query).await.refused(400, "invalid_number");
    }
    ask(&t, &guard, "after=0&wait=26").await.refused(400, "invalid_wait");
    assert_eq!(t.number("SELECT count(*) FROM guards").await, 0);
    ask(&t, &scout, "").await.refused(403, "scope_denied");
    t.nobody("GET", EPOCHS, Null).await.refused(401, "missing_credential");
}

/// R145: one tenant learns nothing of another, not even how much ends there.
#[tokio::test]
async fn numbers_are_those_of_the_own_tenant() {
    let (t, ada, _, guard) = stage().await;
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    t.agent(&eve, "spy", "agents.read").await;
    t.as_(&eve, "POST", "/api/agents/stop-all", Null).await.is(200);
    assert_eq!(ask(&t, &guard, "").await.is(200)["epoch"], 0);
    t.as_(&ada, "POST", "/api/agents/stop-all", Null).await.is(200);
    assert_eq!(ask(&t, &guard, "after=0").await.is(200)["epoch"], 1);
    assert_eq!(t.as_(&eve, "GET", EPOCHS, Null).await.is(200)["epoch"], 1);
}

/// R145: a guard names its lease; the number of guards is bounded, and one that is known goes on.
#[tokio::test]
async fn a_guard_is_lent_its_lease() {
    let (t, _, _, guard) = stage().await;
    ask(&t, &guard, "guard=g1").await.is(200);
    ask(&t, &guard, "guard=g2&lease=60&after=0").await.is(200);
    let leases = t.texts("SELECT name || ' ' || heard || ' ' || until FROM guards ORDER BY name").await;
    let until = |seconds| t.now().plus_seconds(seconds).millis();
    // With a tenth more, see below.
    assert_eq!(leases, [format!("g1 0 {}", until(11)), format!("g2 0 {}", until(66))]);
    // A lease is never cut.
    ask(&t, &guard, "guard=g2&lease=1&after=0").await.is(200);
    assert_eq!(t.number("SELECT until FROM guards WHERE name = 'g2'").await, until(66));
    t.execute(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO guards SELECT g.tenant_id, g.credential_id, 'm' || n.i, 0, {} FROM n, guards g WHERE g.name = 'g2'",
        until(5)
    ))
    .await
    .unwrap();
    ask(&t, &guard, "guard=new").await.refused(409, "too_many_guards");
    ask(&t, &guard, "guard=g1").await.is(200);
    t.wait(6);
    ask(&t, &guard, "guard=new").await.is(200);
}

/// R650: a guard that asks again within a tenth of its lease costs no write, and what is written down never ends before what was lent.
#[tokio::test]
async fn a_lease_that_is_written_down_is_not_written_again() {
    let (t, ada, _, guard) = stage().await;
    let until = async || t.number("SELECT until FROM guards").await;
    ask(&t, &guard, "guard=g1&after=0").await.is(200);
    let first = until().await;
    for second in 0..30 {
        ask(&t, &guard, "guard=g1&after=0").await.is(200);
        let lent = t.now().plus_seconds(10).millis();
        assert!(until().await >= lent, "after {second} s");
        assert_eq!(until().await == first, second <= 1, "after {second} s");
        t.wait(1);
    }
    // What is new is told all the same, and what was taken in is written down at once.
    t.as_(&ada, "POST", "/api/agents/scout/pause", Null).await.is(200);
    assert_eq!(ask(&t, &guard, "guard=g1&after=0").await.is(200)["epoch"], 1);
    assert_eq!(ask(&t, &guard, "guard=g1&after=1").await.is(200)["items"], json!([]));
    assert_eq!(t.number("SELECT heard FROM guards").await, 1);
    // A longer lease than the one that is written down is lent.
    ask(&t, &guard, "guard=g1&after=1&lease=60").await.is(200);
    assert_eq!(until().await, t.now().plus_seconds(66).millis());
}

/// R651: two processes under one name: the one that is behind is lent nothing, so that no closure closes while it accepts.
#[tokio::test]
async fn a_second_process_of_one_name_is_lent_nothing() {
    let (t, ada, _, guard) = stage().await;
    ask(&t, &guard, "guard=g1&after=0").await.is(200);
    t.as_(&ada, "POST", "/api/agents/scout/pause", Null).await.is(200);
    ask(&t, &guard, "guard=g1&after=1").await.is(200);
    let before = t.texts("SELECT heard || ' ' || until FROM guards").await;
    t.wait(5);
    let refused = ask(&t, &guard, "guard=g1&after=0").await.refused(409, "guard_name_taken");
    assert!(refused["fix"].as_str().unwrap().contains("name of its own"), "{refused}");
    assert_eq!(t.texts("SELECT heard || ' ' || until FROM guards").await, before);
    // Under a name of its own, without after, or once the other one's lease is over, it is.
    ask(&t, &guard, "guard=g2&after=0").await.is(200);
    ask(&t, &guard, "guard=g1").await.is(200);
    t.wait(12);
    ask(&t, &guard, "guard=g1&after=0").await.is(200);
    assert_eq!(t.number("SELECT heard FROM guards WHERE name = 'g1'").await, 0);
}

/// R144: sixteen changes at once: each has a number, and none is left out.
#[test]
fn numbers_are_gapless_under_concurrent_changes() {
    let (t, ada, guard) = wait_for(async {
        let (t, ada, _, guard) = stage().await;
        for number in 0..16 {
            t.agent(&ada, &format!("a{number}"), "agents.read").await;
        }
        (t, ada, guard)
    });
    let second = TestApp::over(with_neighbours(), &t);
    at_once(16, |number| {
        let app = if number % 2 == 0 { &t } else { &second };
        let ada = &ada;
        async move {
            app.as_(ada, "POST", &format!("/api/agents/a{number}/pause"), Null).await.is(200);
            app.as_(ada, "POST", &format!("/api/agents/a{number}/stop"), Null).await.is(200);
        }
    });
    let page = wait_for(ask(&t, &guard, "after=0")).is(200);
    let numbers: Vec<i64> =
        page["items"].as_array().unwrap().iter().map(|row| row["epoch"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=32).collect::<Vec<i64>>());
}

fn wait_for<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// R318: a guard that waits asks nothing while nobody writes.
#[tokio::test]
async fn a_waiting_guard_asks_nothing_while_nobody_writes() {
    let (t, _, _, guard) = stage().await;
    let asked = async |query: &str| {
        let before = t.db().statements();
        ask(&t, &guard, query).await.is(200);
        t.db().statements() - before
    };
    let at_once = asked("after=0").await;
    // The version of the database, two looks, and the guard's credential once more.
    let waiting = asked("after=0&wait=25").await;
    assert!(waiting <= at_once + 6, "{waiting} and {at_once}");
}
