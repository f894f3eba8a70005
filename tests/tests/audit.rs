//! R31, R33, R36: the audit trail over HTTP. It holds under writers on two hosts that are killed, reports when it was falsified,
//! shows every caller only its own rows, and cannot be made to grow from outside.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use serde_json::{Value as Json, json};
use tests::{
    Answer, Client, Over, PATIENCE, Server, host, raw,
    secret::{credential, unique},
    server::text,
    until,
};

/// A server that seals, with its first admin.
fn sealing(ticks: bool) -> (Server, Client) {
    let settings = Server::settings().variable("audit_key", &unique());
    let server = if ticks { settings.ticking() } else { settings }.start();
    let admin = server.bootstrap();
    (server, admin)
}

/// The heads that a host has logged, as they are to be sent.
fn heads(server: &Server) -> Vec<String> {
    let log = server.host().log();
    let heads = log.lines().filter_map(|line| line.split_once("audit head ")).map(|(_, head)| head.replace(' ', "%20"));
    heads.collect()
}

/// One tick, now: its lease is taken back first.
fn tick(server: &Server) {
    server.execute("UPDATE leases SET until = 0");
    server.nobody().call("POST", "/internal/tick", &[], None).is(204);
}

fn verify(client: &Client, query: &str) -> Json {
    client.get(&format!("/api/audit/verify{query}")).is(200)
}

fn ids(rows: &[Json]) -> Vec<&str> {
    rows.iter().map(|row| text(&row["id"])).collect()
}

/// All pages of a list.
fn pages(client: &Client, query: &str) -> Vec<Json> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/api/audit?{query}{cursor}")).is(200);
        rows.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

fn exported(answer: &Answer) -> Vec<Json> {
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// R31, R69: writers on two hosts on one file, each killed in the middle of it again and again while both tick and seal: there
/// is one chain, it is whole, and every head that was ever logged is in it.
#[test]
fn two_hosts_that_write_seal_and_are_killed_make_one_whole_chain() {
    let (mut server, admin) = sealing(true);
    let mut second = server.second();
    let mut logged = Vec::new();
    for round in 0..6 {
        let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
        let doors = [admin.at(server.host().base_url()), admin.at(second.host().base_url())];
        thread::scope(|scope| {
            for number in 0..6 {
                let (client, stop, written) = (doors[number % 2].clone(), &stop, &written);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let body = json!({ "name": unique() }).to_string();
                        let Ok(answer) = client.try_call("POST", "/api/agents", &[], Some(body.as_bytes())) else {
                            return; // the host is gone
                        };
                        assert!(matches!(answer.status(), 201 | 503), "{answer:?}");
                        written.fetch_add(usize::from(answer.status() == 201), Ordering::Relaxed);
                    }
                });
            }
            let before = heads(&server).len() + heads(&second).len();
            until("a head while others write", || {
                let enough = written.load(Ordering::Relaxed) >= 40 + round;
                (enough && heads(&server).len() + heads(&second).len() > before).then_some(())
            });
            logged.extend(heads(&server).into_iter().chain(heads(&second)));
            if round % 2 == 0 { &mut server } else { &mut second }.kill_and_restart();
            stop.store(true, Ordering::Relaxed);
        });
    }
    let newest = "SELECT ifnull((SELECT max(seq) FROM audit), 0) - ifnull((SELECT max(to_seq) FROM audit_seals), 0)";
    server.until_number(newest, 0);
    assert!(logged.len() >= 6, "one of each round at least: {logged:?}");
    let admin = admin.at(second.host().base_url());
    let rows = server.number("SELECT count(*) FROM audit");
    for head in logged.iter().chain(&heads(&server)) {
        let report = verify(&admin, &format!("?head={head}"));
        assert_eq!((&report["ok"], &report["rows"], &report["unsealed"]), (&json!(true), &json!(rows), &json!(0)));
        assert_eq!((&report["first_bad"], &report["next_from"]), (&Json::Null, &Json::Null));
    }
    let changes =
        "SELECT count(*) FROM agents WHERE id NOT IN (SELECT object_id FROM audit WHERE action = 'agent.create')";
    assert_eq!(server.number(changes), 0, "no change without its row");
}

/// R31: a change by somebody who can write to the file is found, and the first bad row is named.
#[test]
fn a_bent_trail_is_found() {
    let (server, admin) = sealing(false);
    for number in 0..4 {
        server.agent(&admin, &format!("scout-{number}"), &["agents.read"]);
    }
    tick(&server);
    server.agent(&admin, "later", &["agents.read"]);
    tick(&server);
    let rows = server.number("SELECT count(*) FROM audit");
    let head = heads(&server).pop().unwrap();
    assert!(head.starts_with(&format!("{rows}%20")), "{head}");
    let whole = verify(&admin, &format!("?head={head}"));
    assert_eq!(
        whole,
        json!({
            "ok": true, "verified_from": 1, "rows": rows, "sealed_to": rows, "head": head.split_once("%20").unwrap().1, "unsealed": 0,
            "next_from": null, "first_bad": null,
        })
    );
    for refused in ["UPDATE audit SET after = NULL", "DELETE FROM audit", "DELETE FROM audit_seals"] {
        assert!(server.database().execute_batch(refused).is_err(), "{refused}");
    }
    // Somebody who can write to the file can take the triggers away, and put them back.
    let guards = server.texts("SELECT sql FROM sqlite_schema WHERE name IN ('an_audit_row_is_never_changed', 'an_audit_row_is_never_deleted', 'a_seal_is_never_deleted')");
    let bend = |statements: &str| {
        server.execute("DROP TRIGGER an_audit_row_is_never_changed; DROP TRIGGER an_audit_row_is_never_deleted; DROP TRIGGER a_seal_is_never_deleted");
        server.execute(statements);
        server.execute(&guards.join(";\n"));
    };
    bend(
        "DELETE FROM audit_seals WHERE from_seq > 1; DELETE FROM audit WHERE action = 'agent.create' AND seq = (SELECT max(seq) FROM audit)",
    );
    assert_eq!(verify(&admin, "")["ok"], true, "the end was cut off with its seal");
    let cut = verify(&admin, &format!("?head={head}"));
    assert_eq!(
        (&cut["ok"], &cut["first_bad"]),
        (&json!(false), &json!({ "seq": rows, "id": null, "what": "cut_off" }))
    );
    let second = server.texts("SELECT id FROM audit ORDER BY seq LIMIT 1 OFFSET 1").remove(0);
    bend("UPDATE audit SET address = '192.0.2.9' WHERE seq = 2");
    assert_eq!(verify(&admin, "")["first_bad"], json!({ "seq": 2, "id": second, "what": "changed" }));
    bend("DELETE FROM audit WHERE seq = 1");
    assert_eq!(verify(&admin, "")["first_bad"], json!({ "seq": 1, "id": null, "what": "removed" }));
}

/// R76: a trigger in the file that drops audit rows, or puts another person into them, stops changes; verifying, the tick and each new
/// instance say so. No caller is refused for it.
#[test]
fn a_trigger_in_the_file_is_found() {
    let (mut server, mut admin) = sealing(false);
    for (number, trigger) in [
        "CREATE TRIGGER evil BEFORE INSERT ON audit WHEN NEW.action = 'agent.create' BEGIN SELECT RAISE(IGNORE); END",
        "DROP TRIGGER an_audit_row_is_never_changed;
         CREATE TRIGGER evil AFTER INSERT ON audit BEGIN UPDATE audit SET user_id = 'usr_b' WHERE seq = NEW.seq; END",
    ]
    .into_iter()
    .enumerate()
    {
        let guard =
            server.texts("SELECT sql FROM sqlite_schema WHERE name = 'an_audit_row_is_never_changed'").remove(0);
        let rows = server.number("SELECT count(*) FROM audit");
        tick(&server);
        server.execute(trigger);
        let scout = json!({ "name": format!("scout-{number}") });
        admin.post("/api/agents", &scout).refused(503, "database_unavailable");
        let counts = "SELECT (SELECT count(*) FROM agents) * 1000 + (SELECT count(*) FROM audit)";
        assert_eq!(server.number(counts), i64::try_from(number).unwrap() * 1000 + rows, "neither the agent nor a row");
        let bad = json!({ "seq": 0, "id": null, "what": "schema_changed", "object": "trigger evil" });
        assert_eq!(verify(&admin, "")["first_bad"], bad);
        let said = "tick: schema_changed: trigger evil is not as the migrations make it";
        tick(&server);
        host::until_logged(server.host(), said);
        tick(&server);
        let log = server.host().log();
        assert_eq!(log.matches(said).count(), 1, "{log}");
        server.kill_and_restart();
        admin = admin.at(server.host().base_url());
        admin.get("/api/auth/whoami").is(200);
        host::until_logged(server.host(), "schema_changed: an index, trigger or view");
        server.execute(&format!("DROP TRIGGER evil; DROP TRIGGER IF EXISTS an_audit_row_is_never_changed; {guard}"));
        admin.post("/api/agents", &scout).is(201);
    }
    tick(&server);
    assert_eq!(verify(&admin, "")["first_bad"]["what"], Json::Null, "nothing was written meanwhile");
}

#[test]
fn without_a_key_nothing_is_sealed_and_verifying_says_so() {
    let (server, admin) = Server::with_admin();
    tick(&server);
    assert_eq!(server.number("SELECT count(*) FROM audit_seals"), 0);
    admin.get("/api/audit/verify").refused(503, "audit_key_missing");
    assert!(!admin.get("/api/audit").is(200)["items"].as_array().unwrap().is_empty());
}

/// R31: however often a stranger is refused, there is at most a row a minute for each account and slug, and none for accounts
/// that are not there, for credentials that nobody has and for texts that are not credentials.
#[test]
fn a_stranger_cannot_make_the_trail_grow() {
    let (server, admin) = sealing(false);
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    admin.delete("/api/agents/scout/token").is(204);
    let before = server.number("SELECT count(*) FROM audit");
    let nobody = server.nobody();
    for round in 0..40 {
        for email in ["ada@example.com".to_owned(), "nobody@example.com".to_owned(), format!("{round}@example.com")] {
            let body = json!({ "email": email, "password": format!("wrong-{round}-password") });
            assert!(matches!(nobody.post("/auth/token", &body).status(), 401 | 429));
        }
        scout.client.get("/api/agents").refused(401, "token_revoked");
        server.with(&credential("acr_agt_")).get("/api/agents").refused(401, "invalid_token");
        server.with("nonsense").get("/api/audit").refused(401, "invalid_token");
        nobody.get("/api/audit").refused(401, "missing_credential");
        let body =
            json!({ "secret": "wrong", "tenant": "x", "email": "x@example.com", "name": "X", "password": unique() });
        assert!(matches!(nobody.post("/operator/tenants", &body).status(), 403 | 429));
    }
    assert_eq!(server.number("SELECT count(*) FROM audit"), before, "counted, not written");
    // Counting goes on after an answer, and may pass from one minute to the next.
    server.until_number(&format!("SELECT sum(count) FROM refusals WHERE agent_id = '{}'", scout.id), 40);
    server.execute("UPDATE refusals SET minute = minute - 600000");
    tick(&server);
    let rows = pages(&admin, "outcome=refused");
    let mut seen: Vec<String> =
        rows.iter().map(|row| format!("{} {} {}", row["actor"], row["action"], row["at"])).collect();
    assert!(
        (2..=6).contains(&seen.len()),
        "at most two slugs of an account, one of an agent, in two minutes: {seen:?}"
    );
    assert_eq!(server.number("SELECT count(*) FROM audit"), before + i64::try_from(seen.len()).unwrap());
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), rows.len(), "one row for each subject, slug and minute");
    for row in &rows {
        assert!(row["actor"]["email"] == "ada@example.com", "nobody else is known: {row}");
    }
    let tries: i64 =
        rows.iter().filter(|row| row["action"] == "token_revoked").filter_map(|row| row["count"].as_i64()).sum();
    assert_eq!(tries, 40);
    // What is written is sealed by the same tick.
    assert_eq!(verify(&admin, "")["unsealed"], 0);
}

/// R33, R36: an agent and a member see what happened to the agents that they may read; another tenant sees nothing of it.
#[test]
fn every_caller_sees_only_its_own_rows() {
    let (server, admin) = sealing(false);
    let mia = server.user(&admin, "mia@example.com", "member");
    let scout = server.agent(&mia, "scout", &["agents.read", "audit.read"]);
    let blind = server.agent(&mia, "blind", &["agents.read"]);
    server.agent(&admin, "hidden", &["agents.read"]);
    mia.patch("/api/agents/scout", &json!({ "description": "<b>scouts</b>" })).is(200);
    let other = server.tenant("other");
    server.agent(&other, "scout", &["agents.read"]);

    let of_scout = pages(&scout.client, "");
    let done: Vec<&str> = of_scout.iter().map(|row| text(&row["action"])).collect();
    assert_eq!(done, ["agent.update", "agent.create"]);
    assert_eq!(of_scout[0]["actor"]["email"], "mia@example.com");
    assert_eq!(of_scout[0]["object"], scout.id);
    assert_eq!(of_scout[0]["after"]["description"], "<b>scouts</b>");
    assert!(text(&of_scout[0]["at"]).ends_with('Z') && text(&of_scout[0]["request_id"]).starts_with("req_"));
    let of_mia = pages(&mia, "");
    assert_eq!(of_mia.len(), 3);
    assert!(of_mia.iter().all(|row| row["object"] == scout.id || row["object"] == blind.id));
    assert_eq!(pages(&mia, "object=scout"), of_scout);
    assert_eq!(exported(&scout.client.get("/api/audit/export")), of_scout);
    blind.client.get("/api/audit").refused(403, "scope_denied");
    blind.client.get("/api/audit/export").refused(403, "scope_denied");
    for client in [&mia, &scout.client] {
        client.get("/api/audit/verify").is(403);
    }
    // Of the whole tenant, and of no other.
    let all = pages(&admin, "limit=3");
    assert_eq!(exported(&admin.get("/api/audit/export")), all);
    let theirs = pages(&other, "");
    assert!(ids(&all).iter().all(|id| !ids(&theirs).contains(id)));
    let total = server.number("SELECT count(*) FROM audit");
    assert_eq!(i64::try_from(all.len() + theirs.len()).unwrap() + 1, total, "and the row of the export");
    // R279: the trail says who exported what of it.
    assert_eq!(admin.get("/api/audit/export?object=scout&since=2020-01-01T00:00:00Z").status(), 200);
    let exports = pages(&admin, "action=audit.export");
    let told: Vec<(&Json, &Json)> =
        exports.iter().map(|row| (&row["actor"]["agent_name"], &row["after"]["filters"])).collect();
    let range = json!({ "object": "scout", "since": "2020-01-01T00:00:00Z" });
    assert_eq!(told, [(&Json::Null, &range), (&Json::Null, &json!({})), (&json!("scout"), &json!({}))]);
    let total = total + 1;
    for query in [format!("object={}", scout.id), format!("actor={}", scout.id), "actor=ada@example.com".to_owned()] {
        assert_eq!(pages(&other, &query), Vec::<Json>::new(), "{query}");
    }
    assert_eq!(server.number("SELECT count(*) FROM audit"), total, "looking is not audited");
}

/// R36: pages have no gap while others write, and the export is the same rows; it is streamed: a trail far larger than the
/// memory that it may take comes whole, and one that cannot be read to its end does not look whole.
#[test]
fn a_long_trail_is_paged_and_exported_whole() {
    let (server, admin) = sealing(false);
    let bystander = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO audit (id, at, tenant_id, user_id, action, object_id, outcome, after)
         SELECT printf('aud_%06d', i), 1767323045000 + i, tenant_id, user_id, 'x.y', 'x', iif(i % 100, 'done', 'refused'), json_object('text', hex(randomblob(2000)))
         FROM n, (SELECT tenant_id, user_id FROM audit WHERE user_id IS NOT NULL LIMIT 1)";
    server.execute(bystander);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // A name of its own: one that is taken gets a number up to a hundred.
                server.agent(&admin, &unique(), &["agents.read"]);
            }
        });
        let _over = Over(&stop);
        let some = pages(&admin, "outcome=refused&limit=7");
        let expected: Vec<String> = (1..=200).rev().map(|i| format!("aud_{:06}", i * 100)).collect();
        assert_eq!(ids(&some), expected);
        assert_eq!(exported(&admin.get("/api/audit/export?outcome=refused")), some);
    });
    let before = server.host().memory();
    let export = admin.get("/api/audit/export?action=x.y");
    let (size, rows) = (export.text().len(), exported(&export));
    let expected: Vec<String> = (1..=20_000).rev().map(|i| format!("aud_{i:06}")).collect();
    assert_eq!(ids(&rows), expected);
    let grown = server.host().memory().saturating_sub(before) * 1024;
    assert!(size > 80_000_000 && grown < 50_000_000, "{size} bytes, for which the memory grew by {grown}");

    // The right to read the trail goes away while it is sent; and so does the trail. No change is made behind that.
    let pat = server.plant_pat(&admin, "audit.*");
    breaks_off(&server, &pat, size, "UPDATE credentials SET revoked_at = 1 WHERE kind = 'pat'");
    breaks_off(&server, &admin, size, "ALTER TABLE audit RENAME TO gone");
    server.execute("ALTER TABLE gone RENAME TO audit");
    admin.get("/api/audit").is(200);
}

/// Begins an export, runs `sql`, and asserts that what comes does not look whole.
fn breaks_off(server: &Server, client: &Client, size: usize, sql: &str) {
    let bearer = format!("Bearer {}", client.bearer());
    let request = raw::request("GET", "/api/audit/export", client.address(), &[("authorization", &bearer)], None);
    let mut stream = TcpStream::connect(client.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&request).unwrap();
    let (mut begin, mut rest) = ([0; 4096], Vec::new());
    let read = stream.read_exact(&mut begin);
    assert!(read.is_ok(), "{}", String::from_utf8_lossy(&begin));
    assert!(begin.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&begin));
    until("the database to be free", || server.database().execute_batch(sql).ok());
    let ended = stream.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "broken off, {ended:?}, and yet it looks whole");
    assert!(rest.len() < size, "{} of {size}", rest.len());
    host::until_logged(server.host(), "/api/audit/export broke off");
}

/// A trail longer than one request verifies is verified in several, and a backlog is sealed by several ticks.
#[test]
fn a_long_trail_is_sealed_and_verified_in_parts() {
    let (server, admin) = sealing(false);
    server.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
         INSERT INTO audit (id, at, tenant_id, action, outcome) SELECT 'aud_' || i, i, 'ten_x', 'x.y', 'done' FROM n",
    );
    let newest = "SELECT ifnull((SELECT max(seq) FROM audit), 0) - ifnull((SELECT max(to_seq) FROM audit_seals), 0)";
    for _ in 0..20 {
        tick(&server);
    }
    assert_eq!(server.number(newest), 0);
    let first = verify(&admin, "");
    assert_eq!(first["ok"], true);
    let next = first["next_from"].as_i64().unwrap();
    let rest = verify(&admin, &format!("?from={next}"));
    assert_eq!((&rest["ok"], &rest["next_from"]), (&json!(true), &Json::Null));
    assert_eq!(
        first["rows"].as_i64().unwrap() + rest["rows"].as_i64().unwrap(),
        server.number("SELECT count(*) FROM audit")
    );
    assert_eq!(first["rows"].as_i64(), Some(next - 1));
}
