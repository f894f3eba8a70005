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
    let digest = after["closure"]["digest"].as_str().unwrap();
    let told = json!({ "id": id, "epoch": 3, "ended": closure["ended"], "digest": digest });
    assert_eq!(digest.len(), 64);
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
    let until = "2026-01-02T03:04:16.000Z";
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
    s.t.wait(7);
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

/// R165: so has every other route that takes a right away: also one that may give some, which then names it in the header alone.
#[tokio::test]
async fn whatever_takes_a_right_away_has_a_closure() {
    let s = stage().await;
    let (t, ada) = (&s.t, &s.ada);
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    t.agent(ada, "wide", "agents.read ui.notify").await;
    let session = async || t.credential(Kind::Session, &ada.tenant, &ada.user, None, "*", None).await;
    let (one, own) = (session().await, session().await);
    let app = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.read", None).await;
    let other = t.credential(Kind::Pat, &ada.tenant, &max.user, None, "agents.read", None).await;
    for (id, client, user, credential) in
        [("apg_1", "https://app.example/c", &ada.user, &app), ("apg_2", "cli_1", &max.user, &other)]
    {
        t.execute(&format!(
            "INSERT INTO oauth_grants VALUES ('{id}', '{}', '{user}', '{client}', 'App', NULL, 'agents.read', '{}', randomblob(32),
                                              randomblob(32), 0, 0, {end}, {end}, NULL, NULL)",
            ada.tenant,
            credential.credential,
            end = t.now().plus_seconds(600).millis()
        ))
        .await
        .unwrap();
    }
    for sql in [
        format!(
            "INSERT INTO oauth_clients (id, tenant_id, name, redirect_uris, secret, created_at, updated_at, created_by)
             VALUES ('cli_1', '{}', 'App', '[]', NULL, 0, 0, '{}')",
            ada.tenant, ada.user
        ),
        format!("INSERT INTO custom_scopes VALUES ('{}', 'x.a', 'd', 0, 'u')", ada.tenant),
        format!(
            "INSERT INTO resources VALUES ('res_1', '{}', 'https://a.example', 'a', 'x.a', '[]', 'EdDSA', 0, 'u', 0)",
            ada.tenant
        ),
    ] {
        t.execute(&sql).await.unwrap();
    }
    for subject in ["max@example.com", "boss"] {
        let body = json!({ "subject": subject, "relation": "viewer" });
        t.as_(ada, "POST", "/api/agents/lead/grants", body).await.is(201);
    }
    let replaced = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.read", None).await;
    let key = t.as_(ada, "POST", "/api/agents/hand/keys", json!({ "name": "k" })).await.is(201)["id"].clone();
    let nothing = json!([]);
    for (caller, method, path, body, ended) in [
        (ada, "DELETE", format!("/auth/sessions/{}", one.credential), Null, json!(["sessions", 1])),
        (&own, "POST", "/auth/logout".to_owned(), Null, json!(["sessions", 1])),
        (ada, "DELETE", "/auth/apps/apg_1".to_owned(), Null, json!(["tokens", 1])),
        (ada, "DELETE", "/api/oauth/clients/cli_1".to_owned(), Null, json!(["tokens", 1])),
        (
            ada,
            "DELETE",
            "/api/agents/lead/grants?subject=max@example.com&relation=viewer".to_owned(),
            Null,
            nothing.clone(),
        ),
        (ada, "PATCH", "/api/agents/wide".to_owned(), json!({ "scope": ["agents.read"] }), nothing.clone()),
        (ada, "PATCH", "/api/resources/res_1".to_owned(), json!({ "scopes": [] }), nothing.clone()),
        (ada, "DELETE", "/api/resources/res_1".to_owned(), Null, nothing.clone()),
        (ada, "DELETE", "/api/scopes/custom?name=x.a".to_owned(), Null, nothing.clone()),
        (ada, "PATCH", format!("/api/users/{}", max.user), json!({ "role": "viewer" }), nothing.clone()),
        // What is replaced ends now, or has an earlier end.
        (ada, "POST", "/api/agents/hand/token/issue".to_owned(), json!({}), json!(["tokens", 1])),
        (ada, "POST", "/api/agents/hand/token/issue".to_owned(), json!({ "grace_seconds": 60 }), nothing.clone()),
        (ada, "POST", format!("/auth/tokens/{}/rotate", replaced.credential), json!({}), json!(["tokens", 1])),
        (ada, "POST", format!("/api/agents/hand/keys/{}/rotate", key.as_str().unwrap()), json!({}), json!(["keys", 1])),
    ] {
        let before = t.number("SELECT count(*) FROM closures").await;
        let answer = t.as_(caller, method, &path, body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
        let id = answer.header("x-accredit-closure");
        assert!(id.starts_with("cls_"), "{path}: {answer:?}");
        assert_eq!(t.number("SELECT count(*) FROM closures").await, before + 1, "{path}");
        // What was changed is answered as it is, with nothing beside it.
        assert!(answer.status == 204 || answer.is(answer.status.as_u16()).get("closure").is_none(), "{path}");
        let closure = t.as_(ada, "GET", &format!("/api/closures/{id}"), Null).await.is(200);
        let sum: i64 = closure["ended"].as_object().unwrap().values().map(|number| number.as_i64().unwrap()).sum();
        match ended.as_array().unwrap().as_slice() {
            [kind, number] => {
                assert_eq!((&closure["ended"][kind.as_str().unwrap()], sum), (number, 1), "{path}: {closure}")
            }
            _ => assert_eq!(sum, 0, "{path}: {closure}"),
        }
        let row = format!(
            "SELECT count(*) FROM closures c JOIN audit a ON a.id = c.audit_id WHERE c.id = '{id}' AND a.after ->> '$.closure.id' = c.id"
        );
        assert_eq!(t.number(&row).await, 1, "{path}");
    }
    // Somebody's report ends a token too; the reporter is told nothing, and the owner and admins find the closure.
    let found = t.credential(Kind::Pat, &ada.tenant, &max.user, None, "agents.read", None).await;
    let answer = t.nobody("POST", "/auth/leaks", json!({ "token": found.token })).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-accredit-closure")), (204, ""));
    let ids = t.texts("SELECT id || ' ' || (ids ->> '$.tokens') FROM closures WHERE action = 'token.leaked'").await;
    let (id, ended) = ids[0].split_once(' ').unwrap();
    assert_eq!((ids.len(), ended), (1, json!([found.credential]).to_string().as_str()));
    for who in [ada, &max] {
        t.as_(who, "GET", &format!("/api/closures/{id}"), Null).await.is(200);
    }
    // What gives a right, or changes none, has none.
    for (method, path, body) in [
        ("PATCH", "/api/agents/hand".to_owned(), json!({ "description": "d" })),
        ("PATCH", format!("/api/users/{}", max.user), json!({ "role": "curator" })),
        ("DELETE", "/auth/apps/apg_1".to_owned(), Null),
    ] {
        let answer = t.as_(ada, method, &path, body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
        assert_eq!(answer.header("x-accredit-closure"), "", "{path}");
    }
    let ids = t.texts("SELECT ids ->> '$.tokens' FROM closures WHERE action = 'oauth.revoke'").await;
    assert_eq!(ids, [json!([app.credential]).to_string()]);
}

/// R165: of what has ended each id is kept, up to a bound, and the counts say all.
#[tokio::test]
async fn ids_are_bounded_and_counts_are_not() {
    let s = stage().await;
    s.t.execute(&format!(
        "WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
         INSERT INTO credentials (id, digest, kind, tenant_id, user_id, agent_id, prefix, scope, created_at)
         SELECT printf('tok_many%04d', i), randomblob(32), 'api_key', '{}', '{}', '{}', 'acr_key_x', '*', 0 FROM n",
        s.ada.tenant,
        s.ada.user,
        s.boss.agent.as_ref().unwrap()
    ))
    .await
    .unwrap();
    let closure = s.stop().await;
    assert_eq!((&closure["ended"]["keys"], &closure["ended"]["agents"]), (&json!(1201), &json!(3)));
    let ids = "SELECT json_array_length(ids, '$.keys') || ' ' || json_array_length(ids, '$.agents') FROM closures";
    assert_eq!(s.t.texts(ids).await, ["1000 3"]);
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
    assert_eq!(again.header("x-accredit-closure"), first["closure"]["id"].as_str().unwrap());
    let again = again.is(200);
    assert_eq!(again, first);
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

/// R318: somebody that waits for a closure asks nothing while nobody writes and no lease ends.
#[tokio::test]
async fn a_closure_that_is_waited_for_asks_nothing_while_nobody_writes() {
    let s = stage().await;
    s.poll("g1", 0).await;
    let closure = s.stop().await;
    assert_eq!(closure["status"], "partial");
    let path = format!("/api/closures/{}", closure["id"].as_str().unwrap());
    let asked = async |path: &str| {
        let before = s.t.db().statements();
        s.t.as_(&s.ada, "GET", path, Null).await.is(200);
        s.t.db().statements() - before
    };
    let at_once = asked(&path).await;
    let waiting = asked(&format!("{path}?wait=25")).await;
    assert!(waiting <= 2 * at_once + 3, "{waiting} and {at_once}");
}

/// R676: with a token that somebody takes away goes the code for the next one, which whoever had it may have got. A runtime that ends its own
/// token leaves the code, which may be meant for the one after it.
#[tokio::test]
async fn a_code_ends_with_the_token_that_is_taken_away() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let mut scout = t.agent(&ada, "scout", "agents.read").await;
    const MAKE: &str = "/api/agents/scout/enrolment";
    let enrol = async |made: &Json| t.nobody("POST", "/api/agents/enroll", json!({ "code": made["code"] })).await;
    let ways: [(&str, &str, bool); 5] = [
        ("DELETE", "/api/agents/scout/token", true),
        ("DELETE", "/auth/admin/tokens/{id}", true),
        ("POST", "/auth/leaks", true),
        ("DELETE", "/auth/tokens/me", false),
        ("DELETE", "/api/agents/scout/token", true),
    ];
    for (method, path, ends) in ways {
        let made = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
        match path {
            "/auth/leaks" => t.nobody(method, path, json!({ "token": scout.token })).await.is(204),
            "/auth/tokens/me" => t.as_(&scout, method, path, Null).await.is(204),
            path => t.as_(&ada, method, &path.replace("{id}", scout.credential.as_str()), Null).await.is(204),
        };
        let answer = enrol(&made).await;
        if ends {
            answer.refused(400, "invalid_enrolment_code");
        } else {
            answer.is(200);
        }
        let next = t.as_(&ada, "POST", "/api/agents/scout/token/issue", json!({})).await.is(200);
        scout.token = next["token"].as_str().unwrap().to_owned();
        scout.credential = common::id::CredentialId::try_from(next["id"].as_str().unwrap().to_owned()).unwrap();
    }
    // There is no token any more, and a code waits: that ends, and is a change.
    t.as_(&ada, "DELETE", "/api/agents/scout/token", Null).await.is(204);
    let made = t.as_(&ada, "POST", MAKE, json!({})).await.is(201);
    t.as_(&ada, "DELETE", "/api/agents/scout/token", Null).await.is(204);
    enrol(&made).await.refused(400, "invalid_enrolment_code");
    let last = t.texts("SELECT after FROM audit WHERE action = 'agent.token.revoke' ORDER BY seq DESC LIMIT 1").await;
    assert!(last[0].contains("\"codes_ended\":1"), "{last:?}");
}
