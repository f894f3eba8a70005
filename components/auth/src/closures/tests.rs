use common::{role::Role, secret::Kind};
use serde_json::{Value as Json, Value::Null, json};
use service::testing::{Actor, TestApp};

use crate::with_neighbours;

struct Stage {
    t: TestApp,
    ada: Actor,
    boss: Actor,
    /// The PAT of a guard.
    guard: Actor,
}

/// Ada has boss, with lead below it, and hand below that; lead has a key and an approval.
async fn stage() -> Stage {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let boss = t.agent(&ada, "boss", "agents.lifecycle agents.read").await;
    let lead = t.agent_below(&ada, Some(&boss), "lead", "agents.read").await;
    t.agent_below(&ada, Some(&lead), "hand", "agents.read").await;
    let id = lead.agent.clone().unwrap();
    t.credential(Kind::ApiKey, &ada.tenant, &ada.user, Some(&id), "agents.read", None).await;
    t.execute(&format!(
        "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, created_at, granted, ends_at)
         VALUES ('acc_1', '{}', '{id}', 'ui.notify', 'r', 1, 'approved', 0, 'ui.notify', {})",
        ada.tenant,
        t.now().plus_seconds(600).millis()
    ))
    .await
    .unwrap();
    t.execute(&format!("INSERT INTO streams VALUES ('req_1', '{id}', {})", t.now().plus_seconds(40).millis()))
        .await
        .unwrap();
    let guard = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "tokens.introspect", None).await;
    Stage { t, ada, boss, guard }
}

impl Stage {
    async fn poll(&self, name: &str, after: i64) -> Json {
        self.t.as_(&self.guard, "GET", &format!("/auth/epochs?guard={name}&after={after}"), Null).await.is(200)
    }

    async fn stop(&self) -> Json {
        self.t.as_(&self.ada, "POST", "/api/agents/boss/stop", Null).await.is(200)["closure"].clone()
    }

    async fn read(&self, closure: &Json) -> Json {
        let path = format!("/api/closures/{}?wait=2", closure["id"].as_str().unwrap());
        self.t.as_(&self.ada, "GET", &path, Null).await.is(200)
    }
}

/// R146: without a guard whose lease runs, a stop is closed as soon as it has happened.
#[tokio::test]
async fn a_stop_says_what_has_ended_and_since_when() {
    let s = stage().await;
    let closure = s.stop().await;
    let id = closure["id"].as_str().unwrap();
    assert!(id.starts_with("cls_"), "{id}");
    assert_eq!(
        closure,
        json!({
            "id": id, "epoch": 3, "action": "agent.stop", "object": s.boss.agent, "at": "2026-01-02T03:04:05.000Z",
            "ended": { "agents": 3, "people": 0, "tokens": 3, "keys": 1, "sessions": 0, "approvals": 1, "streams": 1 },
            "status": "closed", "closed_at": "2026-01-02T03:04:05.000Z", "latest": null, "waiting": [],
        })
    );
    s.t.wait(100);
    assert_eq!(s.read(&closure).await, closure);
    // The trail has it, and so has its seal.
    let row = "SELECT object_id || ' ' || after FROM audit WHERE action = 'agent.stop' AND after LIKE '%closure%'";
    let row = s.t.texts(row).await.concat();
    let (object, after) = row.split_once(' ').unwrap();
    let after: Json = serde_json::from_str(after).unwrap();
    assert_eq!(object, s.boss.agent.as_ref().unwrap().as_str());
    let told = json!({ "id": id, "epoch": 3, "ended": closure["ended"] });
    assert_eq!(after, json!({ "state": "stopped", "below": 2, "closure": told }));
}

/// R146: a guard that has not said that it knows can still accept until its lease ends.
#[tokio::test]
async fn a_stop_is_partial_until_every_guard_knows_or_its_lease_has_ended() {
    let s = stage().await;
    s.poll("g1", 0).await;
    s.poll("g2", 0).await;
    s.t.wait(3);
    let closure = s.stop().await;
    let until = "2026-01-02T03:04:15.000Z";
    assert_eq!(
        (&closure["status"], &closure["closed_at"], &closure["latest"]),
        (&json!("partial"), &Null, &json!(until))
    );
    assert_eq!(closure["waiting"], json!([{ "guard": "g1", "until": until }, { "guard": "g2", "until": until }]));
    // It was told, and has not said yet that it has taken it in.
    assert_eq!(s.poll("g1", 0).await["epoch"], 3);
    assert_eq!(s.read(&closure).await["waiting"].as_array().unwrap().len(), 2);
    s.poll("g1", 3).await;
    let waiting = s.read(&closure).await;
    assert_eq!(
        (&waiting["status"], &waiting["waiting"]),
        (&json!("partial"), &json!([{ "guard": "g2", "until": until }]))
    );
    s.t.wait(6);
    assert_eq!(s.read(&closure).await["status"], "partial");
    s.t.wait(1);
    let closed = s.read(&closure).await;
    assert_eq!((&closed["status"], &closed["closed_at"], &closed["latest"]), (&json!("closed"), &json!(until), &Null));
    // A guard that comes back later changes nothing: it begins where it was.
    assert_eq!(s.poll("g2", 0).await["epoch"], 3);
    assert_eq!(s.read(&closure).await, closed);
}

/// R146: each kind of change that ends something answers with its closure: as a member, or by its id in a header.
#[tokio::test]
async fn every_change_that_ends_something_has_a_closure() {
    let s = stage().await;
    let (t, ada) = (&s.t, &s.ada);
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    t.agent(&max, "lone", "agents.read").await;
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    let own = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    let pause = json!({ "names": ["hand"] });
    let deactivate = format!("/api/users/{}/deactivate", max.user);
    for (caller, method, path, body, ended) in [
        (ada, "POST", "/api/agents/bulk/pause".to_owned(), pause, json!(["agents", 1, "tokens", 1])),
        (ada, "DELETE", "/api/agents/hand/token".to_owned(), Null, json!(["tokens", 1])),
        (ada, "POST", "/api/access-requests/acc_1/revoke".to_owned(), Null, json!(["approvals", 1])),
        (ada, "DELETE", format!("/auth/tokens/{}", pat.credential), Null, json!(["tokens", 1])),
        (&own, "DELETE", "/auth/tokens/me".to_owned(), Null, json!(["tokens", 1])),
        (ada, "POST", deactivate, Null, json!(["agents", 1, "people", 1, "tokens", 1, "sessions", 1])),
        (ada, "DELETE", "/api/agents/hand".to_owned(), Null, json!(["agents", 1])),
        (ada, "POST", "/api/agents/stop-all".to_owned(), Null, json!(["agents", 3])),
    ] {
        let answer = t.as_(caller, method, &path, body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
        let id = answer.header("x-accredit-closure");
        assert!(id.starts_with("cls_"), "{path}: {answer:?}");
        let closure = t.as_(ada, "GET", &format!("/api/closures/{id}"), Null).await.is(200);
        if answer.status == 200 {
            assert_eq!(answer.is(200)["closure"], closure, "{path}");
        }
        for pair in ended.as_array().unwrap().chunks(2) {
            assert_eq!(closure["ended"][pair[0].as_str().unwrap()], pair[1], "{path}: {closure}");
        }
        assert_eq!(closure["status"], "closed", "{path}");
    }
}

/// R146: what ends nothing has no closure, and the same request again gets the first answer.
#[tokio::test]
async fn what_ends_nothing_has_no_closure() {
    let s = stage().await;
    let key = [("authorization", format!("Bearer {}", s.ada.token)), ("idempotency-key", "once".to_owned())];
    let headers = [("authorization", key[0].1.as_str()), ("idempotency-key", "once")];
    let first = s.t.call("POST", "/api/agents/boss/stop", &headers, Null).await.is(200);
    let again = s.t.call("POST", "/api/agents/boss/stop", &headers, Null).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    let again = again.is(200);
    assert_eq!(again["closure"]["id"], first["closure"]["id"]);
    // What was kept is what was known before the commit; the closure itself says more.
    assert_eq!(again["closure"]["status"], "partial");
    assert_eq!(s.read(&again["closure"]).await, first["closure"]);
    let all = s.t.as_(&s.ada, "POST", "/api/agents/stop-all", Null).await;
    assert_eq!((all.is(200), all.header("x-accredit-closure")), (json!({ "stopped": 0 }), ""));
    assert_eq!(s.t.number("SELECT count(*) FROM closures").await, 1);
}

/// R146: the person behind the change, the agent that made it, and admins read it; to all others it is not there.
#[tokio::test]
async fn a_closure_is_read_by_those_whom_it_concerns() {
    let s = stage().await;
    let t = &s.t;
    let answer = t.as_(&s.boss, "POST", "/api/agents/lead/stop", Null).await;
    let path = format!("/api/closures/{}", answer.is(200)["closure"]["id"].as_str().unwrap());
    let max = t.user(&s.ada.tenant, "max@example.com", Role::Member).await;
    let mia = t.user(&s.ada.tenant, "mia@example.com", Role::Admin).await;
    let aide = t.agent(&s.ada, "aide", "agents.*").await;
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    for reader in [&s.ada, &s.boss, &mia] {
        t.as_(reader, "GET", &path, Null).await.is(200);
    }
    let absent = "/api/closures/cls_01kahq0h8gpzq3wzkdw9b7v5xt";
    for stranger in [&max, &aide, &eve] {
        let (refused, none) = (t.as_(stranger, "GET", &path, Null).await, t.as_(stranger, "GET", absent, Null).await);
        let (mut refused, mut none) =
            (refused.refused(404, "closure_not_found"), none.refused(404, "closure_not_found"));
        (refused["request_id"], none["request_id"]) = (Null, Null);
        assert_eq!(refused, none);
    }
    t.as_(&s.ada, "GET", &format!("{path}?wait=26"), Null).await.refused(400, "invalid_wait");
    t.nobody("GET", &path, Null).await.refused(401, "missing_credential");
}

/// R146: a closure is written once and closed once.
#[tokio::test]
async fn a_closure_stays_as_it_is() {
    let s = stage().await;
    s.poll("g1", 0).await;
    s.stop().await;
    for sql in
        ["UPDATE closures SET epoch = 1", "DELETE FROM closures", "UPDATE closures SET ended = '{}', closed_at = 1"]
    {
        assert!(s.t.execute(sql).await.is_err(), "{sql}");
    }
    s.t.execute("UPDATE closures SET closed_at = 1").await.unwrap();
    assert!(s.t.execute("UPDATE closures SET closed_at = 2").await.is_err());
}
