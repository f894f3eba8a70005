//! R50 to R53: a request that is sent twice with one key happens once.

use std::{sync::Arc, thread, time::Duration};

use serde_json::{Value as Json, json};
use tests::{Answer, Client, Server, Shared, at_once, secret::unique, server::text};

struct Site {
    server: Server,
    admin: Client,
    member: Client,
}

static SITE: Shared<Site> = Shared::new();

fn site() -> Arc<Site> {
    SITE.get(|| {
        let (server, admin) = Server::with_admin();
        let member = server.user(&admin, "mia@example.com", "member");
        Site { server, admin, member }
    })
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == "true"
}

/// R50: 40 requests with one key at once, over two hosts on one file: one agent, one token, one answer.
#[test]
fn forty_at_once_with_one_key_happen_once() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let body = json!({ "name": "once", "scope": ["agents.read"] });
    let answers = at_once(40, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        admin.at(at.host().base_url()).post_once("/api/agents", "forty", &body)
    });
    let (mut done, mut busy) = (Vec::new(), 0);
    for answer in &answers {
        if answer.status() == 503 {
            answer.refused(503, "database_unavailable");
            busy += 1;
        } else {
            done.push((is_replayed(answer), answer.is(201)));
        }
    }
    assert!(!done.is_empty(), "all {busy} were told to come again");
    assert_eq!(done.iter().filter(|(replayed, _)| !replayed).count(), 1, "one did it");
    assert!(done.windows(2).all(|pair| pair[0].1 == pair[1].1), "{done:#?}");
    assert_eq!(server.number("SELECT count(*) FROM agents"), 1);
    assert_eq!(server.number("SELECT count(*) FROM credentials WHERE kind = 'agent_token'"), 1);
    assert_eq!(server.number("SELECT count(*) FROM audit WHERE action = 'agent.create'"), 1);
    assert_eq!(server.number("SELECT count(*) FROM idempotency"), 1);
    let token = text(&done[0].1["auth_token"]);
    assert_eq!(server.with(token).get("/api/auth/whoami").is(200)["agent_name"], "once");
    // A client that was told to come again comes again.
    assert_eq!(admin.post_once("/api/agents", "forty", &body).is(201), done[0].1);
}

/// R50: the same for a rotation: forty at once replace the token once.
#[test]
fn forty_rotations_with_one_key_are_one() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let first = server.agent(&admin, "scout", &["agents.read"]);
    let answers = at_once(40, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        admin.at(at.host().base_url()).post_once("/api/agents/scout/token/issue", "\"quoted\"", &json!({}))
    });
    let done: Vec<Json> = answers.iter().filter(|answer| answer.status() != 503).map(|answer| answer.is(200)).collect();
    assert!(!done.is_empty() && done.windows(2).all(|pair| pair[0] == pair[1]), "{done:#?}");
    assert_eq!(server.number("SELECT count(*) FROM credentials WHERE kind = 'agent_token'"), 2);
    first.client.get("/api/auth/whoami").refused(401, "token_revoked");
    server.with(text(&done[0]["token"])).get("/api/auth/whoami").is(200);
}

/// R51: the first answer again, with its status, marked; quoted or bare is one key; another body is refused.
#[test]
fn a_replay_is_the_first_answer() {
    let site = site();
    let body = json!({ "name": "replayed", "issue_token": false });
    let first = site.admin.post_once("/api/agents", "k-1", &body);
    assert!(!is_replayed(&first));
    for key in ["k-1", "\"k-1\"", "  k-1  "] {
        let again = site.admin.post_once("/api/agents", key, &body);
        assert!(is_replayed(&again));
        assert_eq!((again.is(201), again.header("cache-control")), (first.is(201), "no-store"));
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    for other in [json!({ "name": "replayed" }), json!({ "name": "replayed", "issue_token": false, "labels": {} })] {
        site.admin.post_once("/api/agents", "k-1", &other).refused(422, "idempotency_mismatch");
    }
    assert_eq!(site.server.number("SELECT count(*) FROM agents WHERE name LIKE 'replayed%'"), 1);
    for bad in ["", "\"", "\"open", "a\"b", &"k".repeat(256)] {
        site.admin.post_once("/api/agents", bad, &body).refused(400, "invalid_idempotency_key");
    }
    site.admin
        .call(
            "POST",
            "/api/agents",
            &[("idempotency-key", "a"), ("idempotency-key", "b")],
            Some(body.to_string().as_bytes()),
        )
        .refused(400, "invalid_idempotency_key");
    assert_eq!(site.admin.post_once("/api/agents", &"k".repeat(255), &json!({ "name": "long-key" })).status(), 201);
}

/// R51: callers, methods and paths are kept apart under one key.
#[test]
fn one_key_of_two_callers_or_for_two_paths_is_two_keys() {
    let site = site();
    let body = json!({ "name": "apart", "issue_token": false });
    let admins = site.admin.post_once("/api/agents", "same", &body).is(201);
    let members = site.member.post_once("/api/agents", "same", &body);
    assert!(!is_replayed(&members));
    assert_ne!(members.is(201)["id"], admins["id"]);
    let other = site.server.tenant("apart");
    let theirs = other.post_once("/api/agents", "same", &body);
    assert!(!is_replayed(&theirs));
    assert_eq!(theirs.is(201)["name"], "apart");
    for name in ["apart", text(&members.json()["name"])] {
        let issued = site.admin.post_once(&format!("/api/agents/{name}/token/issue"), "same", &json!({}));
        assert!(!is_replayed(&issued));
        issued.is(200);
    }
    let agent = site.server.agent(&site.admin, "keyed", &["agents.token.issue"]);
    let by_agent = agent.client.post_once("/api/agents/keyed/token/issue", "own", &json!({ "grace_seconds": 3600 }));
    let by_owner = site.admin.post_once("/api/agents/keyed/token/issue", "own", &json!({ "grace_seconds": 3600 }));
    assert!(!is_replayed(&by_owner) && !is_replayed(&by_agent));
    assert_ne!(by_owner.is(200)["id"], by_agent.is(200)["id"]);
}

/// R51: an answer with a secret only to the credential that got it; one without to every credential of the caller; sealed
/// at rest either way.
#[test]
fn a_secret_is_replayed_to_its_credential_only() {
    let site = site();
    let again = site.server.sign_in("ada@example.com", None);
    let secret = json!({ "name": "with-secret" });
    let first = site.admin.post_once("/api/agents", "secret", &secret).is(201);
    assert_eq!(site.admin.post_once("/api/agents", "secret", &secret).is(201), first);
    let refused = again.post_once("/api/agents", "secret", &secret).refused(409, "idempotency_other_credential");
    assert!(!refused.to_string().contains(text(&first["auth_token"])));
    // Another body is refused as such, whichever credential sends it.
    again.post_once("/api/agents", "secret", &json!({ "name": "x" })).refused(422, "idempotency_mismatch");
    let plain = json!({ "name": "without-secret", "issue_token": false });
    let first = site.admin.post_once("/api/agents", "plain", &plain).is(201);
    assert_eq!(again.post_once("/api/agents", "plain", &plain).is(201), first);
    let stored = site.server.texts("SELECT hex(answer) FROM idempotency");
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02X}")).collect::<String>();
    for name in ["with-secret", "without-secret", "auth_token"] {
        assert!(!stored.iter().any(|answer| answer.contains(&hex(name))), "{name} can be read in a kept answer");
    }
}

/// R51: permission is decided before a replay: a caller that was demoted, or whose credential ended, gets nothing back.
#[test]
fn a_replay_is_for_a_caller_that_may_still_do_it() {
    let (server, admin) = Server::with_admin();
    let mia = server.user(&admin, "mia@example.com", "member");
    let body = json!({ "name": "scout" });
    let first = mia.post_once("/api/agents", "k", &body).is(201);
    server.execute("UPDATE users SET role = 'viewer' WHERE email_key = 'mia@example.com'");
    mia.post_once("/api/agents", "k", &body).refused(403, "scope_denied");
    server.execute("UPDATE users SET role = 'member' WHERE email_key = 'mia@example.com'");
    assert_eq!(mia.post_once("/api/agents", "k", &body).is(201), first);
    // Once the object is gone, its replay is gone too.
    let issue = "/api/agents/scout/token/issue";
    mia.post_once(issue, "i", &json!({})).is(200);
    mia.delete("/api/agents/scout").is(204);
    mia.post_once(issue, "i", &json!({})).refused(404, "agent_not_found");
    mia.post("/auth/logout", &json!({})).is(204);
    mia.post_once("/api/agents", "k", &body).refused(401, "token_revoked");
}

/// R51: only an answer to a change is kept: a refusal is decided anew.
#[test]
fn a_refusal_is_not_kept() {
    let site = site();
    site.admin.post_once("/api/agents", "kept", &json!({ "name": "me" })).refused(400, "invalid_name");
    site.admin.post_once("/api/agents", "kept", &json!({ "name": "kept" })).is(201);
    let issue = "/api/agents/late/token/issue";
    site.admin.post_once(issue, "late", &json!({})).refused(404, "agent_not_found");
    site.server.agent(&site.admin, "late", &["agents.read"]);
    assert!(!is_replayed(&site.admin.post_once(issue, "late", &json!({}))));
}

/// Design, section 5: routes without a credential ignore the header.
#[test]
fn a_route_without_a_credential_ignores_the_key() {
    let site = site();
    let body = json!({ "email": "mia@example.com", "password": tests::server::PASSWORD });
    let tokens: Vec<Json> = (0..2)
        .map(|_| site.server.nobody().post_once("/auth/token", "sign-in", &body).is(200)["access_token"].clone())
        .collect();
    assert_ne!(tokens[0], tokens[1]);
}

/// R52: killed at any moment between the write and the answer, the key afterwards gives the first outcome, or nothing had
/// happened and it happens now: once in all.
#[test]
fn a_crash_leaves_the_first_outcome_or_none() {
    let (mut server, admin) = Server::with_admin();
    for round in 0..12 {
        let base = admin.at(server.host().base_url());
        let prefix = unique();
        let ask = |client: &Client, number: usize| {
            let name = format!("r{round}-{number}");
            let body = json!({ "name": name, "scope": ["agents.read"] }).to_string();
            client.try_call(
                "POST",
                "/api/agents",
                &[("idempotency-key", &format!("{prefix}-{number}"))],
                Some(body.as_bytes()),
            )
        };
        let answered: Vec<Option<Json>> = thread::scope(|scope| {
            let running: Vec<_> = (0..8)
                .map(|number| {
                    scope.spawn({
                        let (ask, base) = (&ask, &base);
                        move || ask(base, number)
                    })
                })
                .collect();
            // Some time in the middle of them, another one each round.
            thread::sleep(Duration::from_millis(round * 3));
            server.kill_and_restart();
            let answers = running.into_iter().map(|thread| thread.join().unwrap());
            answers
                .map(|answer| answer.ok().filter(|answer| answer.status() == 201).map(|answer| answer.json()))
                .collect()
        });
        let after = admin.at(server.host().base_url());
        for (number, before) in answered.into_iter().enumerate() {
            let name = format!("r{round}-{number}");
            let was_there = server.number(&format!("SELECT count(*) FROM agents WHERE name = '{name}'")) == 1;
            let again = ask(&after, number).unwrap();
            let outcome = again.is(201);
            assert_eq!(is_replayed(&again), was_there, "{name}");
            if let Some(before) = before {
                assert_eq!(outcome, before, "{name}: what was answered stands");
            }
            assert_eq!(server.number(&format!("SELECT count(*) FROM agents WHERE name LIKE '{name}%'")), 1, "{name}");
            assert_eq!(server.with(text(&outcome["auth_token"])).get("/api/auth/whoami").is(200)["agent_name"], name);
        }
    }
}

/// R53: a caller stores only so many answers, others are not held up by it, and what has had its 24 hours is purged.
#[test]
fn kept_answers_are_bounded_and_purged() {
    let server = Server::settings().ticking().start();
    let admin = server.bootstrap();
    let mia = server.user(&admin, "mia@example.com", "member");
    let ends = "(CAST(strftime('%s', 'now') AS INTEGER) + 3600) * 1000";
    server.execute(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO idempotency SELECT randomblob(32), (SELECT id FROM users WHERE email_key = 'mia@example.com'), 'tok_x', x'00', 0, 201, x'00', {ends}, NULL FROM n"
    ));
    let body = json!({ "name": "one-more" });
    let refused = mia.post_once("/api/agents", "5001", &body);
    refused.refused(429, "too_many_idempotency_keys");
    assert_eq!(server.number("SELECT count(*) FROM agents"), 0, "refused as a whole");
    mia.post("/api/agents", &body).is(201);
    admin.post_once("/api/agents", "5001", &body).is(201);
    let kept = "SELECT count(*) FROM idempotency";
    assert_eq!(server.number(kept), 5001);
    let life = "SELECT max(expires_at) / 1000 - CAST(strftime('%s', 'now') AS INTEGER) FROM idempotency";
    assert!((86_340..=86_400).contains(&server.number(life)), "24 hours");
    server.execute("UPDATE idempotency SET expires_at = 1 WHERE credential_id = 'tok_x'");
    server.until_number(kept, 1);
    mia.post_once("/api/agents", "5001", &body).is(201);
}

/// R53: a key whose time is over is a new one, also before it was purged.
#[test]
fn a_key_whose_time_is_over_is_new() {
    let site = site();
    let olga = site.server.user(&site.admin, "olga@example.com", "member");
    let body = json!({ "name": "over", "issue_token": false });
    let first = olga.post_once("/api/agents", "over", &body).is(201);
    site.server.execute("UPDATE idempotency SET expires_at = 1 WHERE caller = (SELECT id FROM users WHERE email_key = 'olga@example.com')");
    let second = olga.post_once("/api/agents", "over", &body);
    assert!(!is_replayed(&second));
    assert_ne!(second.is(201)["id"], first["id"]);
}
