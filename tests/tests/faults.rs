//! Faults around the server: it is killed, shares its files, meets an older or newer database, a full one, and
//! hostile clients.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rusqlite::Connection as Database;
use serde_json::{Value as Json, json};
use tests::{
    Client, Over, Server, at_once, host,
    raw::{self, Connection},
    secret::{credential, unique},
    server::{REPLACEABLE, state_directory, text},
    until,
};

const WHOAMI: &str = "/api/auth/whoami";

/// A client's knowledge of one agent: the answers that it got, and its open request when the host was killed.
#[derive(Debug)]
struct Known {
    name: String,
    /// Tokens that must work, and whether a request to end them was on its way.
    live: Option<(String, bool)>,
    /// Tokens that must not.
    dead: Vec<String>,
    /// Whether the agent was deleted, and answered so.
    is_gone: bool,
    /// Whether its deletion was on its way.
    may_be_gone: bool,
}

/// Creates agents, replaces, revokes, deletes, until no answer comes.
fn work(client: &Client, acknowledged: &AtomicUsize, known: &Mutex<Vec<Known>>) {
    for round in 0.. {
        let name = unique();
        let body = json!({ "name": name, "scope": ["agents.read"] }).to_string();
        let Some(made) = tell(client, "POST", "/api/agents", Some(&body), 201, acknowledged) else { return };
        let mut agent = Known {
            name: name.clone(),
            live: Some((text(&made["auth_token"]).to_owned(), false)),
            dead: vec![],
            is_gone: false,
            may_be_gone: false,
        };
        let path = format!("/api/agents/{name}");
        let steps: &[&str] = match round % 4 {
            0 => &["issue", "revoke"],
            1 => &["issue", "issue"],
            2 => &["issue", "delete"],
            _ => &[],
        };
        let mut ended = false;
        for step in steps {
            let old = agent.live.as_mut();
            if let Some((_, is_ending)) = old {
                *is_ending = true;
            }
            agent.may_be_gone |= *step == "delete";
            let answer = match *step {
                "issue" => tell(client, "POST", &format!("{path}/token/issue"), Some("{}"), 200, acknowledged),
                "revoke" => tell(client, "DELETE", &format!("{path}/token"), None, 204, acknowledged),
                _ => tell(client, "DELETE", &path, None, 204, acknowledged),
            };
            let Some(answer) = answer else {
                ended = true;
                break;
            };
            agent.dead.extend(agent.live.take().map(|(token, _)| token));
            agent.is_gone = *step == "delete";
            agent.live = answer["token"].as_str().map(|token| (token.to_owned(), false));
        }
        known.lock().unwrap().push(agent);
        if ended {
            return;
        }
    }
}

/// Asks until there is an answer that is not "come again"; `None` when the host is gone.
fn tell(
    client: &Client,
    method: &str,
    path: &str,
    body: Option<&str>,
    status: u16,
    acknowledged: &AtomicUsize,
) -> Option<Json> {
    loop {
        let answer = client.try_call(method, path, &[], body.map(str::as_bytes)).ok()?;
        if answer.status() == 503 {
            answer.refused(503, "database_unavailable");
            continue;
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
        return Some(answer.is(status));
    }
}

/// R69: killed under load 50 times, each time at another moment; after each restart, without any repair, everything
/// that was answered is there and nothing that was taken away is back.
#[test]
fn killed_fifty_times_under_load_it_loses_nothing_that_it_answered() {
    let (mut server, admin) = Server::with_admin();
    let mut before: Vec<Known> = Vec::new();
    for round in 0..50 {
        let (acknowledged, known) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let client = admin.at(server.host().base_url());
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| work(&client, &acknowledged, &known));
            }
            until("enough answers", || (acknowledged.load(Ordering::Relaxed) >= 5 + round % 17).then_some(()));
            server.kill_and_restart();
        });
        let known = known.into_inner().unwrap();
        let admin = admin.at(server.host().base_url());
        assert_eq!(server.texts("PRAGMA integrity_check"), ["ok"], "round {round}");
        assert_eq!(
            server.texts("SELECT 'broken' FROM pragma_foreign_key_check"),
            Vec::<String>::new(),
            "round {round}"
        );
        // This round's, and one of those that went before.
        for agent in known.iter().chain(before.iter().rev().take(1)) {
            let found = admin.get(&format!("/api/agents/{}", agent.name));
            match (agent.is_gone, agent.may_be_gone) {
                (true, _) => _ = found.refused(404, "agent_not_found"),
                (false, true) => assert!(matches!(found.status(), 200 | 404), "{agent:?}"),
                (false, false) => _ = found.is(200),
            }
            for token in &agent.dead {
                server.with(token).get(WHOAMI).refused(401, "token_revoked");
            }
            if let Some((token, is_ending)) = &agent.live {
                let answer = server.with(token).get(WHOAMI);
                assert!(
                    answer.status() == 200 || (*is_ending && answer.status() == 401),
                    "round {round}: {agent:?}: {answer:?}"
                );
            }
        }
        before.extend(known);
    }
    let changes =
        "SELECT count(*) FROM agents WHERE id NOT IN (SELECT object_id FROM audit WHERE action = 'agent.create')";
    assert_eq!(server.number(changes), 0, "no change without its row");
    assert_eq!(server.number("SELECT count(*) FROM agents a WHERE archived_at IS NULL AND NOT EXISTS (SELECT 1 FROM credentials WHERE agent_id = a.id)"), 0);
}

/// R67: two hosts that meet an empty directory at once make one database between them, whichever comes first.
#[test]
fn two_hosts_migrate_one_database_once() {
    for _ in 0..3 {
        let server = Server::empty();
        let second = server.second();
        let answers = at_once(32, |number| {
            let at = if number % 2 == 0 { &server } else { &second };
            match number % 4 {
                0 | 1 => at.nobody().get("/readyz"),
                2 => at.with(&credential("acr_ses_")).get(WHOAMI),
                _ => at
                    .nobody()
                    .post("/auth/token", &json!({ "email": "x@example.com", "password": format!("wrong {number}") })),
            }
        });
        for answer in &answers {
            assert!(matches!(answer.status(), 200 | 401 | 429), "{answer:?}");
        }
        assert_eq!(server.texts("PRAGMA journal_mode"), ["wal"]);
        assert!(server.number("PRAGMA user_version") >= 1);
        assert_eq!(server.number("SELECT count(*) FROM schema_info"), 1);
        let admin = server.bootstrap();
        admin.at(second.host().base_url()).get(WHOAMI).is(200);
    }
}

/// R67: the data of an older database is kept through the upgrade.
#[test]
fn an_older_database_is_kept() {
    let state = Arc::new(state_directory());
    let file = state.path().join("sqlite_db.db");
    let old = Database::open(&file).unwrap();
    old.execute_batch("CREATE TABLE older (text TEXT); INSERT INTO older VALUES ('kept');").unwrap();
    drop(old);
    let server = Server::settings().on(&state).start();
    server.bootstrap();
    assert_eq!(server.texts("SELECT text FROM older"), ["kept"]);
    assert_eq!(server.texts("PRAGMA journal_mode"), ["wal"]);
}

/// R67: a database without WAL, as some ways to restore a backup leave one, is set to it again by the first host that opens it.
#[test]
fn a_restored_database_is_written_ahead_again() {
    let (mut server, admin) = Server::with_admin();
    server.host_mut().kill();
    server.execute("PRAGMA journal_mode = DELETE");
    assert_eq!(server.texts("PRAGMA journal_mode"), ["delete"]);
    server.kill_and_restart();
    let admin = admin.at(server.host().base_url());
    admin.get(WHOAMI).is(200);
    admin.post("/api/agents", &json!({ "name": "scout" })).is(201);
    assert_eq!(server.texts("PRAGMA journal_mode"), ["wal"]);
}

/// R16: a file that is not a database is 503 for everybody, and when it is gone the same host serves.
#[test]
fn a_file_that_is_no_database_is_503_while_it_is_there() {
    let state = Arc::new(state_directory());
    let file = state.path().join("sqlite_db.db");
    fs::write(&file, "this is no database, whatever its name says. ".repeat(200)).unwrap();
    let server = Server::settings().on(&state).start();
    for _ in 0..3 {
        let answers = at_once(12, |number| match number % 3 {
            0 => server.with(&credential("acr_ses_")).get(WHOAMI),
            1 => server.nobody().get("/readyz"),
            _ => server.nobody().post("/auth/token", &json!({ "email": "ada@example.com", "password": "x" })),
        });
        for answer in &answers {
            answer.refused(503, "database_unavailable");
        }
    }
    fs::remove_file(&file).unwrap();
    server.bootstrap().get(WHOAMI).is(200);
}

/// R67: beside a newer release on the same files this one goes on, until the database says that it is too old.
#[test]
fn a_newer_database_is_used_until_it_says_no() {
    let (mut server, admin) = Server::with_admin();
    server.execute("ALTER TABLE agents ADD COLUMN later TEXT; PRAGMA user_version = 99;");
    server.kill_and_restart();
    let at = |server: &Server| admin.at(server.host().base_url());
    at(&server).get(WHOAMI).is(200);
    at(&server).post("/api/agents", &json!({ "name": "scout" })).is(201);
    server.execute("UPDATE schema_info SET oldest_code = 99");
    server.kill_and_restart();
    for _ in 0..2 {
        at(&server).get(WHOAMI).refused(503, "database_too_new");
        at(&server).post("/api/agents", &json!({ "name": "never" })).refused(503, "database_too_new");
        server.nobody().get("/readyz").refused(503, "database_too_new");
    }
    server.nobody().get("/healthz").is(200);
    host::until_logged(server.host(), "database too new");
    assert_eq!(server.number("SELECT count(*) FROM agents"), 1);
    assert_eq!(server.number("PRAGMA user_version"), 99);
}

/// R74: beyond the bound a change that gives a right is refused, one that takes a right away goes through, and reading goes on.
#[test]
fn a_full_database_still_takes_rights_away() {
    let server = Server::settings().variable("database_max_mib", "1").start();
    let admin = server.bootstrap();
    let leaving = server.sign_in("ada@example.com", None);
    let (revoked, deleted) =
        (server.agent(&admin, "revoked", &["agents.read"]), server.agent(&admin, "deleted", &["agents.read"]));
    server.agent(&admin, "kept", &["agents.read"]);
    let halted = server.agent(&admin, "halted", &["agents.read"]);
    let long = "x".repeat(1_900);
    let full = (0..2_000).find_map(|number| {
        let body = json!({ "name": format!("filler-{number}"), "description": long, "labels": { "a": "y".repeat(120), "b": "z".repeat(120) } });
        let answer = admin.post("/api/agents", &body);
        if answer.status() == 201 { None } else { Some(answer) }
    });
    full.expect("the bound").refused(503, "storage_full");
    let agents = server.number("SELECT count(*) FROM agents");
    let size = fs::metadata(server.database_file()).unwrap().len()
        + fs::metadata(server.database_file().with_extension("db-wal")).map_or(0, |wal| wal.len());
    assert!(size < 16 * 1024 * 1024, "{size} bytes");
    for (path, body) in [
        ("/api/agents", json!({ "name": "one-more", "description": long })),
        ("/api/users", json!({ "email": "one@example.com", "name": "o".repeat(60) })),
        ("/api/agents/kept/token/issue", json!({})),
    ] {
        // A small row may still find room in a page that has some; a refusal is clean.
        let answer = admin.post(path, &body);
        assert!(matches!(answer.status(), 200 | 201) || answer.refused(503, "storage_full").is_object());
    }
    admin.get("/api/agents?limit=200").is(200);
    // Both ways to end a credential, and both ways to end a session.
    admin.delete("/api/agents/revoked/token").is(204);
    admin.delete("/api/agents/deleted").is(204);
    leaving.post("/auth/logout", &json!({})).is(204);
    for gone in [&revoked.client, &deleted.client, &leaving] {
        gone.get(WHOAMI).refused(401, "token_revoked");
    }
    admin.get("/api/agents/deleted").refused(404, "agent_not_found");
    // Both ways to halt one, with and without a key, and all.
    admin.post("/api/agents/halted/pause", &json!({})).is(200);
    halted.client.get("/api/agents").refused(403, "agent_paused");
    let key = [("idempotency-key", "halt")];
    for _ in 0..2 {
        admin.call("POST", "/api/agents/halted/stop", &key, None).is(200);
    }
    halted.client.get("/api/agents").refused(403, "agent_stopped");
    assert!(admin.post("/api/agents/stop-all", &json!({})).is(200)["stopped"].as_i64() > Some(0));
    assert_eq!(server.number("SELECT count(*) FROM agents WHERE archived_at IS NULL AND state <> 'stopped'"), 0);
    admin.delete("/auth/sessions").is(204);
    admin.get(WHOAMI).is(200);
    assert!(server.number("SELECT count(*) FROM agents") <= agents + 1);
    assert_eq!(
        server.number(
            "SELECT count(*) FROM audit WHERE action IN ('agent.archive', 'agent.token.revoke', 'session.end')"
        ),
        3
    );
    assert_eq!(server.texts("PRAGMA integrity_check"), ["ok"]);
    // With room again all is as before.
    let roomy = Server::settings().variable("database_max_mib", "64").on(server.state()).start();
    admin.at(roomy.host().base_url()).post("/api/agents", &json!({ "name": "roomy" })).is(201);
}

/// R74: on a full disk every write is a 503, reading goes on, and nothing is broken when there is room again.
/// The disk is a limit on the size of files, whose signal is ignored: writes beyond it fail as they would on a full one.
#[test]
fn on_a_full_disk_writes_are_503_and_reading_goes_on() {
    let (first, admin) = Server::with_admin();
    let scout = first.agent(&admin, "scout", &["agents.read"]);
    let limited = Server::settings().after("trap '' XFSZ; ulimit -f 2048").on(first.state()).start();
    drop(first);
    let admin = admin.at(limited.host().base_url());
    let scout = scout.client.at(limited.host().base_url());
    let mut made = 1;
    let full = (0..3_000).find_map(|number| {
        let body = json!({ "name": format!("filler-{number}"), "description": "x".repeat(1_900) });
        let answer = admin.post("/api/agents", &body);
        if answer.status() != 201 {
            return Some(answer);
        }
        made += 1;
        None
    });
    let full = full.expect("the disk to be full");
    assert!(["storage_full", "database_unavailable"].contains(&text(&full.is(503)["error"])), "{full:?}");
    full.envelope();
    for _ in 0..3 {
        for answer in [
            admin.post("/api/agents", &json!({ "name": "more", "description": "x".repeat(1_900) })),
            admin.post("/api/agents/scout/token/issue", &json!({})),
            admin.delete("/api/agents/scout/token"),
        ] {
            assert!(answer.status() == 503 || answer.status() < 300, "{answer:?}");
        }
        scout.get("/api/agents/none").envelope();
        admin.get(WHOAMI).is(200);
        admin.get("/api/agents?limit=200").is(200);
        limited.nobody().get("/readyz").is(200);
    }
    let state = Arc::clone(limited.state());
    drop(limited);
    let again = Server::settings().on(&state).start();
    let admin = admin.at(again.host().base_url());
    assert_eq!(again.texts("PRAGMA integrity_check"), ["ok"]);
    assert!(again.number("SELECT count(*) FROM agents") >= made, "what was answered is there");
    admin.post("/api/agents", &json!({ "name": "roomy" })).is(201);
}

/// R74, R31: a caller without a credential leaves nothing in the database but a bounded throttle.
#[test]
fn a_stranger_fills_nothing() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let rows = "SELECT (SELECT count(*) FROM audit) + (SELECT count(*) FROM refusals) + (SELECT count(*) FROM idempotency) + (SELECT count(*) FROM credentials)";
    let before = server.number(rows);
    let nobody = server.nobody();
    at_once(4, |_| {
        for _ in 0..50 {
            server.with(&credential("acr_agt_")).get(WHOAMI).refused(401, "invalid_token");
            server.with("acr_agt_nonsense").get(WHOAMI).refused(401, "invalid_token");
            nobody.post_once("/api/agents", &unique(), &json!({ "name": "x" })).refused(401, "missing_credential");
            nobody.get(&format!("/{}", unique())).refused(404, "not_found");
        }
    });
    assert_eq!(server.number(rows), before);
    // Unknown accounts move the throttle alone; known ones are summed.
    for number in 0..4 {
        nobody
            .post("/auth/token", &json!({ "email": format!("n{number}@example.com"), "password": "wrong horse" }))
            .refused(401, "login_failed");
        nobody
            .post("/auth/token", &json!({ "email": "ada@example.com", "password": "wrong horse" }))
            .refused(401, "login_failed");
    }
    for _ in 0..100 {
        scout.client.get("/api/agents").refused(403, "scope_denied");
    }
    server.until_number("SELECT sum(count) FROM refusals", 104);
    // Two subjects with one slug each; two minutes, if one ended meanwhile.
    assert!(server.number("SELECT count(*) FROM refusals") <= 4);
    assert_eq!(server.number("SELECT count(*) FROM audit WHERE outcome = 'refused'"), 0);
}

/// A hostile client; it goes on until it is told to stop.
fn misbehave(address: &str, number: usize, token: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut connection) = Connection::open(address) else { continue };
        let head = format!(
            "POST /api/agents HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer {token}\r\n"
        );
        let drip = |connection: &mut Connection, piece: &[u8], pause: u64| {
            while !stop.load(Ordering::Relaxed) && connection.send(piece).is_ok() {
                thread::sleep(Duration::from_millis(pause));
            }
        };
        // That it could not send is no failure.
        match number % 5 {
            // Connects and says nothing.
            0 => drip(&mut connection, b"", 100),
            // A head, byte by byte, that never ends.
            1 => {
                drop(connection.send(head.as_bytes()));
                drip(&mut connection, b"a", 100);
            }
            // A body in single bytes that never ends.
            2 => {
                drop(connection.send(format!("{head}content-length: 60000\r\n\r\n{{").as_bytes()));
                drip(&mut connection, b" ", 10);
            }
            // A body that is far too large, as fast as it can.
            3 => {
                drop(connection.send(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()));
                let chunk = [b"4000\r\n".as_slice(), &[b'x'; 0x4000], b"\r\n"].concat();
                while !stop.load(Ordering::Relaxed) && connection.send(&chunk).is_ok() {}
            }
            // Asks again and again, and reads no answer.
            _ => {
                let request = b"GET /docs/agents/errors HTTP/1.1\r\nhost: x\r\n\r\n".repeat(64);
                drop(connection.send(&request));
                drip(&mut connection, b"", 100);
            }
        }
    }
}

/// R70: under 200 connections, most of them slow, half-open, oversized or deaf, the others are answered, and memory stays flat.
#[test]
fn two_hundred_connections_hold_up_nobody() {
    let (server, admin) = Server::with_admin();
    let token = admin.bearer();
    let stop = AtomicBool::new(false);
    let (answered, pace) = (AtomicUsize::new(0), Duration::from_millis(10));
    let address = server.host().address();
    let mut measured = Vec::new();
    thread::scope(|scope| {
        let (stop, answered) = (&stop, &answered);
        for number in 0..180 {
            scope.spawn(move || misbehave(address, number, token, stop));
        }
        for number in 0..20 {
            let client = admin.clone();
            scope.spawn(move || {
                let mut connection = Connection::open(client.address()).unwrap();
                let path = ["/api/auth/whoami", "/api/agents", "/healthz", "/docs/agents/errors"][number % 4];
                while !stop.load(Ordering::Relaxed) {
                    let request =
                        format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", client.bearer());
                    connection.send(request.as_bytes()).unwrap();
                    assert_eq!(connection.response(false).unwrap().status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(pace);
                }
            });
        }
        // The first seconds fill what has to be filled once.
        for _ in 0..24 {
            thread::sleep(Duration::from_secs(1));
            measured.push(server.host().memory());
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Each of the good ones has read every answer that it asked for, or its thread has failed.
    assert!(answered.load(Ordering::Relaxed) > 20 * 20, "{answered:?} answers");
    // Flat: a leak for each piece that comes in would be hundreds of MiB by then.
    let (early, late) = (measured[7..10].iter().max().unwrap(), measured[21..].iter().min().unwrap());
    println!("{answered:?} answers; memory in KiB, second by second: {measured:?}");
    assert!(*late <= early + early / 3 + 32 * 1024, "memory in KiB, second by second: {measured:?}");
    admin.get(WHOAMI).is(200);
    assert_eq!(server.number("SELECT count(*) FROM agents"), 0);
}

/// R58, R69: after a fault inside, the next request is served, and the fault was a clean answer.
#[test]
fn a_database_that_comes_and_goes_leaves_no_trace() {
    let (server, admin) = Server::with_admin();
    for _ in 0..3 {
        server.execute("ALTER TABLE agents RENAME TO gone");
        let answers = at_once(20, |_| admin.get("/api/agents"));
        for answer in &answers {
            answer.refused(503, "database_unavailable");
        }
        server.execute("ALTER TABLE gone RENAME TO agents");
        let answers = at_once(20, |_| admin.get("/api/agents"));
        for answer in &answers {
            answer.is(200);
        }
    }
    assert!(!server.host().log().contains("gave no response"), "{}", server.host().log());
}

/// R16: a writer beside the server that does not let go is a 503 with Retry-After, and then all is as before.
#[test]
fn a_locked_database_is_503_and_reading_goes_on() {
    let (server, admin) = Server::with_admin();
    let lock = server.database();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writing = thread::scope(|scope| {
        let writing = scope.spawn(|| admin.post("/api/agents", &json!({ "name": "blocked" })));
        // Readers are not held up by it.
        for _ in 0..20 {
            admin.get(WHOAMI).is(200);
            admin.get("/api/agents").is(200);
        }
        writing.join().unwrap()
    });
    writing.refused(503, "database_unavailable");
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(admin.post("/api/agents", &json!({ "name": "blocked" })).is(201)["name"], "blocked");
}

/// R69: asked to stop while many write, the server finishes them: a request without an answer had not been received.
#[test]
fn a_stop_under_load_finishes_what_it_began() {
    let (mut server, admin) = Server::with_admin();
    let (acknowledged, known) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| work(&admin, &acknowledged, &known));
        }
        until("some answers", || (acknowledged.load(Ordering::Relaxed) >= 20).then_some(()));
        server.host().terminate();
    });
    assert!(server.host_mut().ended().success());
    assert!(!server.host().log().contains("panicked"), "{}", server.host().log());
    let again = Server::settings().on(server.state()).start();
    for agent in known.into_inner().unwrap().iter().filter(|agent| !agent.may_be_gone) {
        admin.at(again.host().base_url()).get(&format!("/api/agents/{}", agent.name)).is(200);
    }
}

/// Sends a request to the first of these hosts that answers, as a proxy before them does: one that is gone has not received it. A lock that
/// was waited for in vain on a slow machine is no refusal of a host that ends: the same request is sent again.
fn through(client: &Client, hosts: &[String], request: (&str, &str, &str), body: Option<&str>) -> (usize, Json) {
    let (method, path, key) = request;
    loop {
        for (place, host) in hosts.iter().enumerate() {
            let sent = client.at(host).try_call(method, path, &[("idempotency-key", key)], body.map(str::as_bytes));
            match sent {
                // The page of the refusal is not looked for: the host may be gone by then.
                Ok(answer) if answer.status() == 503 => assert_eq!(answer.json()["error"], "database_unavailable"),
                Ok(answer) => return (place, answer.is(if method == "POST" { 201 } else { 200 })),
                Err(error) => assert!(place + 1 < hosts.len(), "no host answers: {error}"),
            }
        }
    }
}

/// R162: a new host starts beside the old one, on the same database, and takes over: under load no request is refused, none is lost, and
/// none is done twice.
#[test]
fn a_host_takes_over_from_another_one_under_load() {
    let (mut old, admin) = Server::with_admin();
    let hosts = Mutex::new(vec![old.host().base_url().to_owned()]);
    let (answered, is_over) = ([const { AtomicUsize::new(0) }; 3], AtomicBool::new(false));
    let more = |stage: usize, count: usize| {
        let before = answered[stage].load(Ordering::SeqCst);
        until("more answers", || (answered[stage].load(Ordering::SeqCst) >= before + count).then_some(()));
    };
    let load = || {
        let (mut made, mut turn) = (0, 0);
        while !is_over.load(Ordering::SeqCst) {
            let mut hosts = hosts.lock().unwrap().clone();
            turn += 1;
            // In turn, so that what one has done is used at the other one.
            if turn % 2 == 0 {
                hosts.reverse();
            }
            let (name, count) = (unique(), hosts.len());
            let body = json!({ "name": name, "scope": ["agents.read"] }).to_string();
            let (_, agent) = through(&admin, &hosts, ("POST", "/api/agents", &name), Some(&body));
            made += 1;
            hosts.reverse();
            let own = admin.with(text(&agent["auth_token"]));
            let (_, found) = through(&own, &hosts, ("GET", WHOAMI, &unique()), None);
            assert_eq!(found["agent_name"], agent["name"]);
            answered[count].fetch_add(1, Ordering::SeqCst);
        }
        made
    };
    let made: usize = thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        let over = Over(&is_over);
        more(1, 8);
        let new = old.second();
        hosts.lock().unwrap().push(new.host().base_url().to_owned());
        more(2, 8);
        old.host().terminate();
        assert!(old.host_mut().ended().success());
        // The clients still know both, and the one that is gone is asked first half of the time.
        more(2, 8);
        hosts.lock().unwrap().remove(0);
        more(1, 8);
        drop(over);
        let made = all.into_iter().map(|one| one.join().unwrap()).sum();
        for host in [&old, &new] {
            assert!(!host.host().log().contains("panicked"), "{}", host.host().log());
        }
        made
    });
    assert_eq!(usize::try_from(old.number("SELECT count(*) FROM agents")).unwrap(), made);
}

/// The address of a host that is gone is free again, and a second start on it serves.
#[test]
fn a_host_takes_the_place_of_one_that_was_killed() {
    let server = Server::settings().at(REPLACEABLE).start();
    let address = server.host().address().to_owned();
    assert!(raw::exchange(&address, &raw::request("GET", "/healthz", &address, &[], None)).is_ok());
    drop(server);
    let start = tests::Start::new(host::manifest()).flag("--listen", &address).flag("--state-dir", "");
    let again = start.run();
    assert_eq!(again.address(), address);
    Client::of_accredit(again.base_url()).get("/healthz").is(200);
}

/// Compiling takes many times the memory of serving. What a start with an empty cache took is given back before the host serves.
#[test]
fn a_first_start_gives_back_what_compiling_took() {
    let cache = tests::server::state_directory();
    let memory = || {
        let server = Server::settings().flag("--cache-dir", &cache.path().to_string_lossy()).start();
        server.nobody().get("/healthz").is(200);
        server.host().memory()
    };
    let (cold, warm) = (memory(), memory());
    assert!(cold * 5 <= warm * 6, "{cold} KiB after a first start, {warm} KiB after a second one");
}
