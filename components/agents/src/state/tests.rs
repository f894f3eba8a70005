use common::{role::Role, secret::Kind};
use serde_json::Value::Null;
use service::{
    settings::Settings,
    testing::{Actor, Answer, TestApp, at_once},
};

use super::*;
use crate::with_neighbours;

const SCOPES: &str = "agents.lifecycle agents.list agents.read agents.update agents.create agents.token.issue";

struct Stage {
    t: TestApp,
    ada: Actor,
    boss: Actor,
    lead: Actor,
    hand: Actor,
}

/// Ada, a member, owns boss, with lead below it, with hand below that.
async fn stage() -> Stage {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let boss = t.agent(&ada, "boss", SCOPES).await;
    let lead = t.agent_below(&ada, Some(&boss), "lead", SCOPES).await;
    let hand = t.agent_below(&ada, Some(&lead), "hand", SCOPES).await;
    Stage { t, ada, boss, lead, hand }
}

async fn send(t: &TestApp, actor: &Actor, name: &str, verb: &str) -> Answer {
    t.as_(actor, "POST", &format!("/api/agents/{name}/{verb}"), Null).await
}

async fn states(t: &TestApp) -> String {
    let sql = "SELECT group_concat(name || '=' || state, ' ') FROM (SELECT name, state FROM agents ORDER BY name)";
    t.texts(sql).await.concat()
}

/// R43: every step from every state; a legal step is taken, and the refusal of another names the legal ones.
#[tokio::test]
async fn a_step_is_taken_from_the_states_that_allow_it() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    t.agent(&ada, "scout", "agents.*").await;
    for (verb, from, to) in [
        ("start", vec!["stopped"], "running"),
        ("resume", vec!["paused"], "running"),
        ("pause", vec!["running"], "paused"),
        ("stop", vec!["running", "paused"], "stopped"),
        ("restart", vec!["running", "paused"], "running"),
    ] {
        for (state, legal) in [
            ("running", json!(["pause", "stop", "restart"])),
            ("paused", json!(["resume", "stop", "restart"])),
            ("stopped", json!(["start"])),
        ] {
            t.wait(1);
            let now = t.now();
            t.execute(&format!("UPDATE agents SET state = '{state}', state_changed_at = 7, state_changed_by = 'x'"))
                .await
                .unwrap();
            let rows = t.number("SELECT count(*) FROM audit").await;
            let answer = send(&t, &ada, "scout", verb).await;
            if from.contains(&state) {
                let mut answer = answer.is(200);
                assert_eq!((&answer["state"], &answer["below"]), (&json!(to), &json!(0)), "{verb} {state}");
                assert_eq!(answer["state_changed_at"], json!(now));
                assert_eq!(answer["state_changed_by"], "ada@example.com");
                for member in ["below", "closure"] {
                    answer.as_object_mut().unwrap().remove(member);
                }
                assert_eq!(t.as_(&ada, "GET", "/api/agents/scout", Null).await.is(200), answer);
                let row = "SELECT action || ' ' || before || ' ' || json_remove(after, '$.closure') FROM audit ORDER BY seq DESC LIMIT 1";
                let row = t.texts(row).await.concat();
                let after = format!("{{\"state\":\"{to}\",\"below\":0}}");
                assert_eq!(row, format!("agent.{verb} {{\"state\":\"{state}\"}} {after}"));
            } else {
                let refused = answer.refused(409, "illegal_state");
                assert_eq!((&refused["state"], &refused["legal"]), (&json!(state), &legal));
                let words: Vec<&str> = legal.as_array().unwrap().iter().filter_map(Json::as_str).collect();
                let fix = refused["fix"].as_str().unwrap();
                assert!(fix.contains("/api/agents/scout/") && fix.contains(&words.join(", ")), "{fix}");
                let kept = format!("SELECT count(*) FROM agents WHERE state = '{state}' AND state_changed_at = 7");
                assert_eq!(t.number(&kept).await, 1, "nothing has changed");
                assert_eq!(t.number("SELECT count(*) FROM audit").await, rows);
            }
        }
    }
}

/// R43, R6: a halted agent is refused on its next request, on another instance too; resumed it is let in again.
#[tokio::test]
async fn a_halted_agent_is_refused_on_its_next_request_everywhere() {
    let Stage { t, ada, boss, .. } = stage().await;
    let second = TestApp::over(with_neighbours(), &t);
    second.as_(&boss, "GET", "/api/agents", Null).await.is(200);
    for (verb, slug, back) in [("pause", "agent_paused", "resume"), ("stop", "agent_stopped", "start")] {
        send(&t, &ada, "boss", verb).await.is(200);
        for app in [&second, &t] {
            let refused = app.as_(&boss, "GET", "/api/agents", Null).await.refused(403, slug);
            assert!(refused["fix"].as_str().unwrap().contains("ada@example.com"), "{refused}");
            send(app, &boss, "hand", "stop").await.refused(403, slug);
        }
        send(&second, &ada, "boss", back).await.is(200);
        t.as_(&boss, "GET", "/api/agents", Null).await.is(200);
    }
}

/// R43: pausing and stopping reach all agents below, except those that are halted harder; resuming reaches the named agent alone.
#[tokio::test]
async fn halting_reaches_all_below_and_resuming_reaches_one() {
    let Stage { t, ada, lead, hand, .. } = stage().await;
    let other = t.agent(&ada, "other", SCOPES).await;
    send(&t, &ada, "hand", "stop").await.is(200);
    t.wait(1);
    let answer = send(&t, &ada, "boss", "pause").await.is(200);
    assert_eq!(answer["below"], 1);
    assert_eq!(states(&t).await, "boss=paused hand=stopped lead=paused other=running");
    let at = t.now().millis();
    let by = "SELECT group_concat(name, ' ') FROM (SELECT name FROM agents WHERE state_changed_by = 'ada@example.com' AND state_changed_at = ";
    assert_eq!(t.texts(&format!("{by}{at} ORDER BY name)")).await.concat(), "boss lead");
    // R31: a row for each of them, with its state before.
    let rows = "SELECT a.name || ' ' || r.before || ' ' || json_remove(r.after, '$.closure') FROM audit r JOIN agents a ON a.id = r.object_id
                WHERE action = 'agent.pause' ORDER BY a.name";
    let expected =
        [r#"boss {"state":"running"} {"state":"paused","below":1}"#, r#"lead {"state":"running"} {"state":"paused"}"#];
    assert_eq!(t.texts(rows).await, expected);
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE length(id) <> 30 OR id NOT GLOB 'aud_*'").await, 0);
    t.as_(&lead, "GET", "/api/agents", Null).await.refused(403, "agent_paused");
    t.as_(&hand, "GET", "/api/agents", Null).await.refused(403, "agent_stopped");
    t.as_(&other, "GET", "/api/agents", Null).await.is(200);
    // Nothing starts below a halted agent; following the fix to the letter works.
    for (name, verb) in [("lead", "resume"), ("lead", "restart"), ("hand", "start")] {
        let refused = send(&t, &ada, name, verb).await.refused(409, "parent_halted");
        assert!(refused["fix"].as_str().unwrap().contains("/resume"), "{refused}");
    }
    send(&t, &ada, "boss", "resume").await.is(200);
    assert_eq!(states(&t).await, "boss=running hand=stopped lead=paused other=running");
    send(&t, &ada, "lead", "resume").await.is(200);
    let answer = send(&t, &ada, "boss", "stop").await.is(200);
    assert_eq!(answer["below"], 1, "hand was stopped before");
    assert_eq!(states(&t).await, "boss=stopped hand=stopped lead=stopped other=running");
    let refused = send(&t, &ada, "lead", "start").await.refused(409, "parent_halted");
    assert!(refused["fix"].as_str().unwrap().contains("POST /api/agents/boss/start"), "{refused}");
    for name in ["boss", "lead", "hand"] {
        send(&t, &ada, name, "start").await.is(200);
    }
    t.as_(&hand, "GET", "/api/agents", Null).await.is(200);
}

/// R769: an editor that may not read the halted agent above is told whom to ask, and nothing of that agent.
#[tokio::test]
async fn a_halted_agent_above_is_named_to_its_readers_alone() {
    let Stage { t, ada, lead, boss, .. } = stage().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    t.grant(lead.agent.as_ref().unwrap(), &ada.tenant, max.user.as_str(), "editor", &ada.user).await;
    send(&t, &ada, "boss", "pause").await.is(200);
    let answer = send(&t, &max, "lead", "resume").await;
    let fix = "Ask its owner ada@example.com to resume the agent above it. Then send the same request again.";
    assert_eq!(answer.refused(409, "parent_halted")["fix"], fix);
    assert!(!answer.text.contains(boss.agent.as_ref().unwrap().as_str()), "{}", answer.text);
}

/// R43, R41: an agent sets the state of those below it, never its own, by whatever name or grant.
#[tokio::test]
async fn an_agent_halts_those_below_it_and_never_itself() {
    let Stage { t, ada, boss, lead, hand } = stage().await;
    send(&t, &boss, "hand", "pause").await.is(200);
    let by = "SELECT state_changed_by FROM agents WHERE name = 'hand'";
    assert_eq!(t.texts(by).await, [boss.agent.as_ref().unwrap().to_string()]);
    send(&t, &lead, "hand", "resume").await.is(200);
    for name in ["boss", "me"] {
        for verb in ["pause", "stop", "restart"] {
            let refused = send(&t, &boss, name, verb).await.refused(403, "permission_denied");
            assert!(refused["detail"].as_str().unwrap().contains("cannot set its own state"), "{refused}");
            assert!(refused["fix"].as_str().unwrap().contains("ada@example.com"));
        }
    }
    // An agent may not read the one above it; with a grant it may, but cannot halt itself by halting that one.
    send(&t, &lead, "boss", "stop").await.refused(404, "agent_not_found");
    let (id, to) = (boss.agent.as_ref().unwrap(), lead.agent.as_ref().unwrap().as_str());
    t.grant(id, &ada.tenant, to, "editor", &ada.user).await;
    send(&t, &lead, "boss", "stop").await.refused(403, "permission_denied");
    // With a grant it halts others.
    let other = t.agent(&ada, "other", SCOPES).await;
    send(&t, &lead, "other", "stop").await.refused(404, "agent_not_found");
    t.grant(other.agent.as_ref().unwrap(), &ada.tenant, to, "editor", &ada.user).await;
    send(&t, &lead, "other", "stop").await.is(200);
    t.as_(&hand, "GET", "/api/agents", Null).await.is(200);
    assert_eq!(states(&t).await, "boss=running hand=running lead=running other=stopped");
}

/// R12, R33, R34, R45: the refusal of each caller that may not set a state; the state stays as it is.
#[tokio::test]
async fn only_a_caller_that_may_change_an_agent_sets_its_state() {
    let Stage { t, ada, boss, .. } = stage().await;
    let (max, other) = (t.user(&ada.tenant, "max@example.com", Role::Member).await, t.tenant("other").await);
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    let mia = t.user(&ada.tenant, "mia@example.com", Role::Viewer).await;
    let id = boss.agent.as_ref().unwrap();
    let weak = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.read agents.update", None).await;
    for verb in ["start", "stop", "pause", "resume", "restart"] {
        for actor in [&max, &eve] {
            send(&t, actor, "boss", verb).await.refused(404, "agent_not_found");
            send(&t, actor, "nobody", verb).await.refused(404, "agent_not_found");
        }
        for actor in [&weak, &mia] {
            let refused = send(&t, actor, "boss", verb).await.refused(403, "scope_denied");
            assert_eq!(refused["missing_scopes"], json!(["agents.lifecycle"]));
        }
        let bulk = format!("/api/agents/bulk/{verb}");
        t.as_(&weak, "POST", &bulk, json!({ "names": ["boss"] })).await.refused(403, "scope_denied");
        t.as_(&ada, "POST", &format!("/api/agents/boss/{verb}"), json!({ "why": "x" }))
            .await
            .refused(422, "validation_error");
    }
    t.grant(id, &ada.tenant, max.user.as_str(), "viewer", &ada.user).await;
    for verb in ["start", "stop", "pause", "resume", "restart"] {
        let refused = send(&t, &max, "boss", verb).await.refused(403, "permission_denied");
        assert_eq!(refused["required_relations"], json!(["editor", "owner", "tenant.admin"]));
    }
    assert_eq!(states(&t).await, "boss=running hand=running lead=running");
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE outcome = 'done'").await, 0);
    t.grant(id, &ada.tenant, max.user.as_str(), "editor", &ada.user).await;
    send(&t, &max, "boss", "pause").await.is(200);
    assert_eq!(states(&t).await, "boss=paused hand=paused lead=paused");
}

/// R51: a step that is sent twice with one key is taken once; a caller that may no longer take it gets no kept answer.
#[tokio::test]
async fn a_repeated_step_is_replayed() {
    let Stage { t, ada, boss, .. } = stage().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    t.grant(boss.agent.as_ref().unwrap(), &ada.tenant, max.user.as_str(), "editor", &ada.user).await;
    let bearer = format!("Bearer {}", max.token);
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    for (path, body) in [
        ("/api/agents/boss/pause", Null),
        ("/api/agents/boss/resume", Null),
        ("/api/agents/bulk/restart", json!({ "names": ["boss", "lead"] })),
    ] {
        let first = t.call("POST", path, &headers, body.clone()).await;
        let rows = t.number("SELECT count(*) FROM audit WHERE outcome = 'done'").await;
        let again = t.call("POST", path, &headers, body).await;
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!((first.status, &first.text), (again.status, &again.text));
        assert_eq!(t.number("SELECT count(*) FROM audit WHERE outcome = 'done'").await, rows);
    }
    t.execute("DELETE FROM grants").await.unwrap();
    t.call("POST", "/api/agents/boss/pause", &headers, Null).await.refused(404, "agent_not_found");
}

/// R88: a kept answer never keeps a right from being taken away again: somebody may have given it back.
#[tokio::test]
async fn a_halt_is_repeated_after_a_start() {
    let Stage { t, ada, .. } = stage().await;
    let bearer = format!("Bearer {}", ada.token);
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    for (halt, path, body, free) in [
        ("stop", "/api/agents/boss/stop", Null, "start"),
        ("pause", "/api/agents/boss/pause", Null, "resume"),
        ("stop", "/api/agents/bulk/stop", json!({ "names": ["boss", "hand"] }), "start"),
        ("pause", "/api/agents/bulk/pause", json!({ "names": ["boss"] }), "resume"),
    ] {
        let halted = if halt == "stop" { "stopped" } else { "paused" };
        for _ in 0..2 {
            t.execute("UPDATE agents SET state = 'running'").await.unwrap();
            let done = t.call("POST", path, &headers, body.clone()).await;
            assert_eq!((done.status.as_u16(), done.headers.get("idempotency-replayed")), (200, None), "{path}");
            assert_eq!(states(&t).await, format!("boss={halted} hand={halted} lead={halted}"), "{path}");
            // And a request whose response was lost gets it.
            let again = t.call("POST", path, &headers, body.clone()).await;
            assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (200, "true"), "{path}");
        }
        send(&t, &ada, "boss", free).await.is(200);
    }
}

/// R88: a key is bound to the agents that had the names of the request, and not to the names.
#[tokio::test]
async fn a_kept_answer_is_not_about_another_agent_of_the_same_name() {
    let Stage { t, ada, hand, .. } = stage().await;
    let bearer = format!("Bearer {}", ada.token);
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    let (path, body) = ("/api/agents/bulk/restart", json!({ "names": ["boss", "hand"] }));
    t.call("POST", path, &headers, body.clone()).await.is(200);
    assert_eq!(t.call("POST", path, &headers, body.clone()).await.header("idempotency-replayed"), "true");
    let give = ("/api/agents/boss/grants", json!({ "subject": "hand", "relation": "viewer" }));
    t.call("POST", give.0, &headers, give.1.clone()).await.is(201);
    t.as_(&ada, "DELETE", "/api/agents/hand", Null).await.is(204);
    let next = t.agent(&ada, "hand", SCOPES).await;
    for (path, body) in [(path, body), give] {
        let answer = t.call("POST", path, &headers, body).await;
        assert_eq!((answer.status.is_success(), answer.headers.get("idempotency-replayed")), (true, None), "{path}");
    }
    let restarted = "SELECT object_id FROM audit WHERE action = 'agent.restart' ORDER BY seq";
    let ids = [&hand, &next].map(|actor| actor.agent.as_ref().unwrap().to_string());
    let restarted = t.texts(restarted).await;
    assert_eq!((&restarted[1], &restarted[3]), (&ids[0], &ids[1]));
    assert_eq!(t.texts("SELECT subject_id FROM grants").await, [ids[1].clone()]);
}

/// R42, R47: no step and no heartbeat ends a credential or brings one back.
#[tokio::test]
async fn steps_and_heartbeats_leave_credentials_alone() {
    let Stage { t, ada, lead, .. } = stage().await;
    let made =
        t.as_(&ada, "POST", "/api/agents", json!({ "name": "fresh", "parent": "boss", "scope": ["agents.list"] }));
    let made = made.await.is(201);
    let bearer = format!("Bearer {}", made["auth_token"].as_str().unwrap());
    let fresh = [("authorization", bearer.as_str())];
    for (name, verb) in [
        ("fresh", "pause"),
        ("fresh", "resume"),
        ("fresh", "restart"),
        ("boss", "stop"),
        ("boss", "start"),
        ("fresh", "start"),
    ] {
        send(&t, &ada, name, verb).await.is(200);
        t.call("POST", "/api/agents/me/heartbeat", &fresh, Null).await.is(200);
    }
    t.call("GET", "/api/agents", &fresh, Null).await.is(200);
    t.as_(&ada, "DELETE", "/api/agents/fresh/token", Null).await.is(204);
    for verb in ["restart", "stop", "start"] {
        send(&t, &ada, "fresh", verb).await.is(200);
        t.call("GET", "/api/agents", &fresh, Null).await.refused(401, "token_revoked");
    }
    // A restored agent is stopped, and can be started only while the agent above it runs.
    let id = lead.agent.as_ref().unwrap();
    t.as_(&ada, "DELETE", "/api/agents/lead?confirm=true", Null).await.is(204);
    send(&t, &ada, "lead", "start").await.refused(404, "agent_not_found");
    send(&t, &ada, "boss", "pause").await.is(200);
    t.as_(&ada, "POST", &format!("/api/agents/archived/{id}/restore"), Null).await.is(200);
    send(&t, &ada, "lead", "start").await.refused(409, "parent_halted");
    send(&t, &ada, "boss", "resume").await.is(200);
    send(&t, &ada, "lead", "start").await.is(200);
    t.as_(&lead, "GET", "/api/agents", Null).await.refused(401, "token_revoked");
}

/// R31: without audit row no step, also of a tree, of several agents and of all.
#[tokio::test]
async fn a_step_without_its_audit_row_has_not_happened() {
    let Stage { t, ada, .. } = stage().await;
    let admin = t.user(&ada.tenant, "root@example.com", Role::Admin).await;
    t.execute("CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END").await.unwrap();
    send(&t, &ada, "boss", "stop").await.refused(503, "database_unavailable");
    let body = json!({ "names": ["hand", "lead"] });
    t.as_(&ada, "POST", "/api/agents/bulk/pause", body).await.refused(503, "database_unavailable");
    t.as_(&admin, "POST", "/api/agents/stop-all", Null).await.refused(503, "database_unavailable");
    assert_eq!(states(&t).await, "boss=running hand=running lead=running");
}

/// R74: beyond the bound halting goes through, with an idempotency key too, and starting does not.
#[tokio::test]
async fn halting_goes_through_when_the_database_is_full() {
    let t = TestApp::with(with_neighbours(), Settings { database_max_mib: Some(1), ..Settings::default() });
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    t.agent(&ada, "scout", SCOPES).await;
    t.agent(&ada, "other", SCOPES).await;
    // Written beside the app, beyond the bound.
    let file = rusqlite::Connection::open(t.path()).unwrap();
    file.execute_batch("CREATE TABLE ballast (x BLOB); INSERT INTO ballast VALUES (zeroblob(2000000));").unwrap();
    let bearer = format!("Bearer {}", ada.token);
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    t.call("POST", "/api/agents/scout/pause", &headers, Null).await.is(200);
    let again = t.call("POST", "/api/agents/scout/pause", &headers, Null).await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (200, "true"));
    let names = json!({ "names": ["scout", "other"] });
    t.as_(&ada, "POST", "/api/agents/bulk/stop", names.clone()).await.is(200);
    let mut full = false;
    for _ in 0..200 {
        let answer = t.as_(&ada, "POST", "/api/agents/bulk/start", names.clone()).await;
        full = answer.status.as_u16() == 503;
        if full {
            answer.refused(503, "storage_full");
            break;
        }
        t.as_(&ada, "POST", "/api/agents/bulk/stop", names.clone()).await.is(200);
    }
    assert!(full, "the bound was never reached");
    file.execute_batch("UPDATE agents SET state = 'running'").unwrap();
    let all = t.as_(&ada, "POST", "/api/agents/stop-all", Null).await.is(200);
    // R147: a full database keeps neither the epochs nor the closure out.
    assert_eq!(
        (&all["stopped"], &all["closure"]["ended"]["agents"], &all["closure"]["status"]),
        (&json!(2), &json!(2), &json!("closed"))
    );
    assert_eq!(t.number("SELECT max(epoch) FROM epochs").await, all["closure"]["epoch"].as_i64().unwrap());
    assert_eq!(states(&t).await, "other=stopped scout=stopped");
}

/// Contract: 200 when all changed, 207 when some did, 409 when none did; one refusal does not stop the others.
#[tokio::test]
async fn each_of_several_is_decided_by_itself() {
    let Stage { t, ada, boss, .. } = stage().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    t.agent(&max, "foreign", SCOPES).await;
    let bulk = |verb: &str, names: &[&str]| (format!("/api/agents/bulk/{verb}"), json!({ "names": names }));
    let (path, body) = bulk("pause", &["hand", "foreign", "nobody"]);
    let answer = t.as_(&ada, "POST", &path, body).await.is(207);
    let results = answer["results"].as_object().unwrap();
    assert_eq!(results.keys().collect::<Vec<_>>(), ["hand", "foreign", "nobody"]);
    assert_eq!(results["hand"], json!({ "ok": true, "state": "paused" }));
    // R33, R45
    assert_eq!(results["foreign"], results["nobody"]);
    assert_eq!((&results["nobody"]["ok"], &results["nobody"]["error"]), (&json!(false), &json!("agent_not_found")));
    assert!(results["nobody"]["fix"].as_str().unwrap().contains("GET /api/agents"));
    let (path, body) = bulk("pause", &["hand", "nobody"]);
    let refused = t.as_(&ada, "POST", &path, body).await.refused(409, "none_changed");
    assert_eq!(refused["results"]["hand"]["error"], "illegal_state");
    assert!(refused["results"]["hand"]["fix"].as_str().unwrap().contains("/api/agents/hand/"), "{refused}");
    // An agent that was reached from above in the same request counts as changed; the order does not matter.
    let (path, body) = bulk("stop", &["boss", "hand", "lead"]);
    let answer = t.as_(&ada, "POST", &path, body).await.is(200);
    assert_eq!(answer["results"]["lead"], json!({ "ok": true, "state": "stopped" }));
    assert_eq!(states(&t).await, "boss=stopped foreign=running hand=stopped lead=stopped");
    // In the order of the names: hand is refused, because lead is not named before it.
    let (path, body) = bulk("start", &["hand", "boss", "lead"]);
    let answer = t.as_(&ada, "POST", &path, body).await.is(207);
    assert_eq!(answer["results"]["hand"]["error"], "parent_halted");
    assert_eq!(states(&t).await, "boss=running foreign=running hand=stopped lead=running");
    // An agent cannot set its own state here either.
    let (path, body) = bulk("restart", &["lead", "boss"]);
    let answer = t.as_(&boss, "POST", &path, body).await.is(207);
    assert_eq!(answer["results"]["boss"]["error"], "permission_denied");
    // A row for each agent that was changed.
    let sql = "SELECT r.action || ' ' || a.name FROM audit r JOIN agents a ON a.id = r.object_id WHERE outcome = 'done' ORDER BY seq";
    let expected = [
        "agent.pause hand",
        "agent.stop hand",
        "agent.stop lead",
        "agent.stop boss",
        "agent.start boss",
        "agent.start lead",
        "agent.restart lead",
    ];
    assert_eq!(t.texts(sql).await, expected);
}

#[tokio::test]
async fn a_bulk_request_names_1_to_100_agents_once() {
    let Stage { t, ada, .. } = stage().await;
    let many: Vec<String> = (0..101).map(|number| format!("a{number}")).collect();
    for names in
        [json!([]), json!(many), json!(["boss", "lead", "boss"]), json!("boss"), json!([1]), json!(null), json!([null])]
    {
        let body = json!({ "names": names });
        t.as_(&ada, "POST", "/api/agents/bulk/stop", body).await.refused(422, "validation_error");
    }
    t.as_(&ada, "POST", "/api/agents/bulk/stop", Null).await.refused(422, "validation_error");
    t.as_(&ada, "POST", "/api/agents/bulk/fly", json!({ "names": ["boss"] })).await.refused(404, "not_found");
    t.as_(&ada, "POST", "/api/agents/bulk/stop", json!({ "names": many.get(..100) }))
        .await
        .refused(409, "none_changed");
    assert_eq!(states(&t).await, "boss=running hand=running lead=running");
}

/// R33: an unreadable agent costs the same work as an absent one.
#[tokio::test]
async fn foreign_names_in_bulk_cost_the_same_work_as_absent_ones() {
    let Stage { t, .. } = stage().await;
    let tenant = t.tenant("second").await;
    let zoe = t.user(&tenant, "zoe@example.com", Role::Admin).await;
    t.as_(&zoe, "GET", "/api/agents", Null).await.is(200);
    let mut seen = vec![];
    for name in ["nobody", "nobody", "boss"] {
        let before = t.db().statements();
        let answer = t.as_(&zoe, "POST", "/api/agents/bulk/stop", json!({ "names": [name] })).await;
        let result = answer.refused(409, "none_changed")["results"][name].clone();
        seen.push((result, t.db().statements() - before));
    }
    assert_eq!(seen[1], seen[2]);
}

/// R43: stops every agent of the tenant and of no other; a repetition stops none and writes no row.
#[tokio::test]
async fn stop_all_stops_the_agents_of_the_tenant_alone() {
    let Stage { t, ada, boss, .. } = stage().await;
    let admin = t.user(&ada.tenant, "root@example.com", Role::Admin).await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let helper = t.agent(&max, "helper", SCOPES).await;
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    let foreign = t.agent(&eve, "foreign", SCOPES).await;
    let gone = t.agent(&max, "gone", SCOPES).await.agent.unwrap();
    t.execute(&format!("UPDATE agents SET archived_at = 1 WHERE id = '{gone}'")).await.unwrap();
    send(&t, &ada, "hand", "stop").await.is(200);
    t.as_(&ada, "POST", "/api/agents/stop-all", Null).await.refused(403, "scope_denied");
    let strong = t.agent(&admin, "strong", "*").await;
    t.as_(&strong, "POST", "/api/agents/stop-all", Null).await.refused(403, "person_required");
    assert_eq!(t.as_(&admin, "POST", "/api/agents/stop-all", Null).await.is(200)["stopped"], 4);
    for agent in [&boss, &helper, &strong] {
        t.as_(agent, "GET", "/api/agents", Null).await.refused(403, "agent_stopped");
    }
    t.as_(&foreign, "GET", "/api/agents", Null).await.is(200);
    let by = "SELECT count(*) FROM agents WHERE state_changed_by = 'root@example.com' AND state = 'stopped'";
    assert_eq!(t.number(by).await, 4);
    assert_eq!(t.as_(&admin, "POST", "/api/agents/stop-all", Null).await.is(200), json!({ "stopped": 0 }));
    // R194: each owner is told once, however many agents they have, and nobody of what they did themselves.
    assert_eq!(
        t.texts("SELECT user_id || ' ' || title FROM notifications ORDER BY title").await,
        [format!("{} 2 of your agents were stopped", ada.user), format!("{} The agent helper was stopped", max.user)]
    );
    // A row for the tenant, and one for each agent with its state before.
    let rows =
        "SELECT json_remove(after, '$.closure') FROM audit WHERE action = 'agent.stop_all' AND object_id LIKE 'ten_%'";
    assert_eq!(t.texts(rows).await, ["{\"stopped\":4}"]);
    let rows = "SELECT a.name || ' ' || r.before || r.after FROM audit r JOIN agents a ON a.id = r.object_id
                WHERE r.action = 'agent.stop_all' ORDER BY a.name";
    let rows = t.texts(rows).await;
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0], "boss {\"state\":\"running\"}{\"state\":\"stopped\"}");
    assert_eq!(
        t.number("SELECT count(*) FROM agents WHERE id LIKE 'agt%' AND archived_at = 1 AND state = 'running'").await,
        1
    );
}

/// R696: who starts an agent is told that those below it stay halted.
#[tokio::test]
async fn a_start_says_what_stays_halted_below() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let boss = t.agent(&ada, "boss", "*").await;
    let hand = t.agent_below(&ada, Some(&boss), "hand", "*").await;
    t.agent_below(&ada, Some(&hand), "nail", "*").await;
    let step = async |name: &str, verb: &str| {
        t.as_(&ada, "POST", &format!("/api/agents/{name}/{verb}"), json!({})).await.is(200)
    };
    assert!(step("boss", "pause").await.get("warnings").is_none());
    let warned = step("boss", "resume").await["warnings"][0].as_str().unwrap().to_owned();
    assert!(warned.starts_with("2 agents below boss stay halted, "), "{warned}");
    let warned = step("hand", "resume").await["warnings"][0].as_str().unwrap().to_owned();
    assert!(warned.starts_with("1 agent below hand stays halted, "), "{warned}");
    assert!(step("nail", "resume").await.get("warnings").is_none());
}

/// R584: of the agents that the last stop of all stopped, those that ran run and those that were paused are paused. Agents that were stopped
/// otherwise, before or after, stay stopped with all below them; another tenant's are not touched. Each has a row and an event of its own,
/// and a second time there is nothing to undo.
#[tokio::test]
async fn start_all_undoes_the_last_stop_all_and_nothing_else() {
    let Stage { t, ada, .. } = stage().await;
    let admin = t.user(&ada.tenant, "root@example.com", Role::Admin).await;
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    t.agent(&eve, "foreign", SCOPES).await;
    for name in ["idle", "moved", "gone", "again", "busy", "earlier"] {
        t.agent(&ada, name, SCOPES).await;
    }
    let all = async |who: &Actor, verb: &str| t.as_(who, "POST", &format!("/api/agents/{verb}-all"), Null).await;
    assert_eq!(all(&admin, "start").await.is(200), json!({ "started": 0, "paused": 0 }));
    // An earlier stop of all, after which all agents but one were started one by one.
    all(&admin, "stop").await.is(200);
    t.wait(1);
    let others = ["boss", "lead", "hand", "idle", "moved", "gone", "again", "busy"];
    t.as_(&ada, "POST", "/api/agents/bulk/start", json!({ "names": others })).await.is(200);
    // boss > lead > hand: all below `lead` are paused. `idle` was stopped before.
    send(&t, &ada, "lead", "pause").await.is(200);
    send(&t, &ada, "idle", "stop").await.is(200);
    all(&eve, "stop").await.is(200);
    t.wait(1);
    all(&admin, "stop").await.is(200);
    t.wait(1);
    // Set since: one runs already, one was started and stopped again, one stands below an agent that stays stopped, one is archived.
    send(&t, &ada, "busy", "start").await.is(200);
    send(&t, &ada, "again", "start").await.is(200);
    send(&t, &ada, "again", "stop").await.is(200);
    let below = "UPDATE agents SET parent_id = (SELECT id FROM agents WHERE name = 'idle') WHERE name = 'moved'";
    t.execute(below).await.unwrap();
    t.execute("UPDATE agents SET archived_at = 1 WHERE name = 'gone'").await.unwrap();
    t.execute("DELETE FROM inbox").await.unwrap();
    all(&ada, "start").await.refused(403, "scope_denied");
    let strong = t.agent(&admin, "strong", "*").await;
    all(&strong, "start").await.refused(403, "person_required");
    assert_eq!(all(&admin, "start").await.is(200), json!({ "started": 1, "paused": 2 }));
    assert_eq!(
        states(&t).await,
        "again=stopped boss=running busy=running earlier=stopped foreign=stopped gone=stopped hand=paused idle=stopped lead=paused \
         moved=stopped strong=running"
    );
    let rows = "SELECT a.name || r.before || r.after FROM audit r JOIN agents a ON a.id = r.object_id
                WHERE r.action = 'agent.start_all' ORDER BY a.name";
    let row = |name: &str, to: &str| format!("{name}{{\"state\":\"stopped\"}}{{\"state\":\"{to}\"}}");
    let expected = [row("boss", "running"), row("hand", "paused"), row("lead", "paused")];
    assert_eq!(t.texts(rows).await, expected);
    let events = "SELECT a.name || ' ' || (i.data ->> 'step') || ' ' || (i.data ->> 'state') FROM inbox i JOIN agents a ON a.id = i.agent_id
                  WHERE i.data ->> 'step' = 'start-all' ORDER BY a.name, i.seq";
    let event = |name: &str, to: &str| format!("{name} start-all {to}");
    assert_eq!(t.texts(events).await, [event("boss", "running"), event("hand", "paused"), event("lead", "paused")]);
    assert_eq!(all(&admin, "start").await.is(200), json!({ "started": 0, "paused": 0 }));
    let of_tenant = "SELECT count(*) FROM audit WHERE action = 'agent.start_all' AND object_id LIKE 'ten_%'";
    assert_eq!(t.number(of_tenant).await, 1);
    // What was undone can be stopped, and that undone, again.
    t.wait(1);
    assert_eq!(all(&admin, "stop").await.is(200)["stopped"], 5);
    assert_eq!(all(&admin, "start").await.is(200), json!({ "started": 3, "paused": 2 }));
}

/// Design, section 7: one statement stops ten thousand agents.
#[tokio::test]
async fn stop_all_takes_as_many_statements_for_many_as_for_one() {
    let Stage { t, ada, .. } = stage().await;
    let admin = t.user(&ada.tenant, "root@example.com", Role::Admin).await;
    let mut taken = vec![];
    for number in [1, 10_000] {
        t.execute(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number})
             INSERT INTO agents (id, tenant_id, name, owner_id, scope, created_at, updated_at)
             SELECT 'agt_' || {number} || '_' || i, '{}', 'a' || {number} || '-' || i, '{}', '*', i, i FROM n",
            ada.tenant, ada.user
        ))
        .await
        .unwrap();
        let before = t.db().statements();
        let answer = t.as_(&admin, "POST", "/api/agents/stop-all", Null).await.is(200);
        taken.push(t.db().statements() - before);
        assert!(answer["stopped"].as_i64().unwrap() >= number);
    }
    assert!(taken[1] <= taken[0], "{taken:?}");
    assert_eq!(t.number("SELECT count(*) FROM agents WHERE state <> 'stopped'").await, 0);
    // R584: and as few start them again.
    let before = t.db().statements();
    assert_eq!(t.as_(&admin, "POST", "/api/agents/start-all", Null).await.is(200)["started"], 10_000);
    assert!(t.db().statements() - before < taken[1] + 10);
    assert_eq!(t.number("SELECT count(*) FROM agents WHERE state = 'running'").await, 10_000);
}

/// R43: forty callers halt and resume the agents of a tree over two instances. Each answer is a step or a clean refusal, and in the end
/// nothing runs below a halted agent.
#[tokio::test]
async fn forty_callers_leave_a_legal_tree() {
    let Stage { t, ada, .. } = stage().await;
    let second = TestApp::over(with_neighbours(), &t);
    let apps = [&t, &second];
    at_once(40, async |number| {
        let name = ["boss", "lead", "hand"][number % 3];
        for round in 0..4 {
            let verb = ["pause", "resume", "stop", "start", "restart"][(number + round) % 5];
            let answer = send(apps[number % 2], &ada, name, verb).await;
            match answer.status.as_u16() {
                200 => _ = answer.is(200),
                409 => assert!(answer.text.contains("illegal_state") || answer.text.contains("parent_halted")),
                _ => _ = answer.refused(503, "database_unavailable"),
            }
        }
    });
    let wrong = "SELECT count(*) FROM agents a JOIN agents p ON p.id = a.parent_id WHERE a.state = 'running' AND p.state <> 'running'";
    assert_eq!(t.number(wrong).await, 0, "{}", states(&t).await);
    let rows = "SELECT count(*) FROM audit WHERE outcome = 'done'";
    assert!(t.number(rows).await > 0);
    // Every agent that does not run was halted by a step.
    let named = "SELECT count(*) FROM agents WHERE state_changed_at IS NULL AND state <> 'running'";
    assert_eq!(t.number(named).await, 0);
}

/// R43: two stop-alls and a resume at once stop each agent once.
#[tokio::test]
async fn two_stop_alls_and_a_resume_at_once_stop_each_agent_once() {
    for _ in 0..5 {
        let Stage { t, ada, .. } = stage().await;
        let root = t.user(&ada.tenant, "root@example.com", Role::Admin).await;
        send(&t, &ada, "boss", "pause").await.is(200);
        let second = TestApp::over(with_neighbours(), &t);
        let apps = [&t, &second];
        let answers = at_once(3, async |number| match number {
            2 => send(&second, &ada, "boss", "resume").await,
            _ => apps[number].as_(&root, "POST", "/api/agents/stop-all", Null).await,
        });
        let [one, two, resumed] = &answers[..] else { panic!() };
        let (one, two) = (one.is(200)["stopped"].as_i64(), two.is(200)["stopped"].as_i64());
        assert_eq!(one.zip(two).map(|(one, two)| one + two), Some(3), "each is stopped once");
        assert!(resumed.status.as_u16() == 200 || resumed.refused(409, "illegal_state").is_object());
        assert_eq!(states(&t).await, "boss=stopped hand=stopped lead=stopped");
        assert_eq!(
            t.number("SELECT count(*) FROM audit WHERE action = 'agent.stop_all' AND object_id LIKE 'ten_%'").await,
            1
        );
    }
}

/// R115: a step is an event in the inbox of every agent whose state it changed, with the step and who took it, and of the agent above.
#[tokio::test]
async fn a_step_reaches_the_inbox_of_every_agent_whose_state_it_changed() {
    let Stage { t, ada, .. } = stage().await;
    let inboxes = "SELECT a.name || ' ' || i.kind || ' ' || json_extract(i.data, '$.step') || ' ' || json_extract(i.data, '$.state') || ' '
                          || json_extract(i.data, '$.by') || ' ' || ifnull(json_extract(i.data, '$.agent.name'), '-')
                   FROM inbox i JOIN agents a ON a.id = i.agent_id ORDER BY a.name, i.seq";
    send(&t, &ada, "lead", "pause").await.is(200);
    let by = "agent.state_changed pause paused ada@example.com";
    let expected = [format!("boss {by} lead"), format!("hand {by} -"), format!("lead {by} -")];
    assert_eq!(t.texts(inboxes).await, expected);
    t.execute("DELETE FROM inbox").await.unwrap();
    send(&t, &ada, "boss", "restart").await.is(200);
    let root = t.user(&ada.tenant, "root@example.com", Role::Admin).await;
    t.as_(&root, "POST", "/api/agents/stop-all", Null).await.is(200);
    let by = "agent.state_changed stop-all stopped root@example.com -";
    let restarted = "boss agent.restart restart running ada@example.com -".to_owned();
    assert_eq!(t.texts(inboxes).await, [restarted, format!("boss {by}"), format!("hand {by}"), format!("lead {by}")]);
    // The numbers go on: nothing that is read twice, nothing that is left out.
    let numbers =
        "SELECT count(*) FROM agents a WHERE inbox_seq <> (SELECT max(seq) FROM inbox i WHERE i.agent_id = a.id)";
    assert_eq!(t.number(numbers).await, 0);
}

/// R115: it arrives in an inbox that takes no more messages, and very many steps leave no more than the newest.
#[tokio::test]
async fn a_step_arrives_in_a_full_inbox_and_the_newest_are_kept() {
    let Stage { t, ada, .. } = stage().await;
    let usage = "SELECT sum(bytes) FROM usage";
    t.execute(
        "INSERT INTO inbox (agent_id, seq, kind, data, created_at, caused_by)
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10000)
         SELECT a.id, n, 'message', '{}', 0, a.owner_id FROM n JOIN agents a ON a.name = 'hand'",
    )
    .await
    .unwrap();
    t.execute("UPDATE agents SET inbox_seq = 10000 WHERE name = 'hand'").await.unwrap();
    let before = t.number(usage).await;
    for _ in 0..600 {
        send(&t, &ada, "hand", "pause").await.is(200);
        send(&t, &ada, "hand", "resume").await.is(200);
    }
    let own = "SELECT count(*) FROM inbox i JOIN agents a ON a.id = i.agent_id WHERE a.name = 'hand' AND kind = 'agent.state_changed'";
    let number = t.number(own).await;
    assert!((1_000..=1_001).contains(&number), "{number}");
    assert_eq!(t.number("SELECT count(*) FROM inbox WHERE kind = 'message'").await, 10_000);
    assert_eq!(t.number(usage).await, before, "they count for nobody");
}
