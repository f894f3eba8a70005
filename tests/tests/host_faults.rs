//! R80: what goes wrong in the host, or around it, reaches the one caller that it concerns, as an answer with a body; and a host that
//! was killed leaves nothing behind that the next one does not clean.

#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tests::{
    Answer, Client, Host, Server, Start, at_once,
    host::{trap_manifest, until_logged},
    process::{self, Signal},
    raw,
    server::PASSWORD,
    until,
};

fn timed(limit: &str) -> Host {
    Start::trap(&trap_manifest()).flag("--request-timeout", limit).run()
}

/// Asserts the answer to a request that took too long.
#[track_caller]
fn is_too_late(answer: &Answer) {
    answer.refused_by_host(503, "request_timeout");
    assert_eq!(answer.header("retry-after"), "1");
}

fn in_background(client: &Client, path: &str) -> thread::JoinHandle<Answer> {
    let (client, path) = (client.clone(), path.to_owned());
    thread::spawn(move || client.get(&path))
}

/// Only the request that takes too long gets a 503. The others in its instance, also those that come later, are answered.
#[test]
fn a_request_that_takes_too_long_takes_no_other_with_it() {
    // Those beside it have four seconds to spare on a busy machine.
    let host = timed("5s");
    let client = host.client();
    let late = in_background(&client, "/bare/slow?ms=60000");
    until_logged(&host, "slow: begun");
    let start = Instant::now();
    let mut beside = Vec::new();
    while start.elapsed() < Duration::from_millis(5500) {
        beside.push(in_background(&client, "/bare/slow?ms=1000"));
        thread::sleep(Duration::from_millis(200));
    }
    is_too_late(&late.join().unwrap());
    let answers: Vec<_> = beside.into_iter().map(|answer| answer.join().unwrap().is(200)).collect();
    assert!(
        answers.iter().any(|answer| answer["number"].as_u64() > Some(1)),
        "some were in the same instance: {answers:?}"
    );
    assert!(!host.log().contains("an instance of bare failed"), "{}", host.log());
}

/// A component that computes for ever is ended, whatever else is in its instance or waits for one: all are answered, on time.
#[test]
fn a_component_that_computes_for_ever_is_ended() {
    let host = timed("2s");
    let client = host.client();
    let beside: Vec<_> = (0..4).map(|_| in_background(&client, "/bare/slow?ms=60000")).collect();
    until("all to have begun", || (host.log().matches("slow: begun").count() >= 4).then_some(()));
    // More of them than there are processors.
    let spinning: Vec<_> = (0..6).map(|_| in_background(&client, "/bare/spin")).collect();
    until_logged(&host, "spin: begun");
    let waiting: Vec<_> = (0..8).map(|_| in_background(&client, "/bare/count")).collect();
    for answer in beside.into_iter().chain(spinning) {
        is_too_late(&answer.join().unwrap());
    }
    for answer in waiting {
        let answer = answer.join().unwrap();
        if answer.status() != 200 {
            is_too_late(&answer);
        }
    }
    until_logged(&host, "an instance of bare failed: guest timed out");
    // The other components, and in the end this one, are as before.
    client.get("/one/who").is(200);
    until("an answer", || (client.get("/bare/count").status() == 200).then_some(()));
}

/// The modes of all files below a directory, and of the directories.
fn modes(below: &Path, found: &mut BTreeMap<PathBuf, u32>) {
    found.insert(below.to_owned(), fs::metadata(below).unwrap().permissions().mode() & 0o777);
    for entry in fs::read_dir(below).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            modes(&path, found);
        } else {
            found.insert(path.clone(), fs::metadata(&path).unwrap().permissions().mode() & 0o777);
        }
    }
}

/// What the host makes in its state directory is for its own user, whatever the umask is.
#[test]
fn the_state_is_for_the_hosts_user_only() {
    let host = Start::trap(&trap_manifest()).after("umask 000").run();
    let client = host.client();
    client.get("/one/sqlite?sql=PRAGMA%20journal_mode%3DWAL;;CREATE%20TABLE%20t(n)").is(200);
    client.get("/one/kv?key=k&value=v").is(200);
    let mut found = BTreeMap::new();
    modes(&host.home().join("state"), &mut found);
    assert!(found.len() >= 3, "{found:?}");
    for (path, mode) in found {
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    let server = Server::settings().after("umask 000").start();
    server.bootstrap();
    let mut found = BTreeMap::new();
    modes(server.state().path(), &mut found);
    for name in ["sqlite_db.db", "sqlite_db.db-wal", "sqlite_db.db-shm"] {
        assert_eq!(found.get(&server.state().path().join(name)), Some(&0o600), "{name}: {found:?}");
    }
}

/// Files that an earlier host left open to others are narrowed; a directory that is open is left as it is, and the log says so.
#[test]
fn what_was_open_to_others_is_narrowed_or_reported() {
    let state = tempfile::tempdir().unwrap();
    let shared = Start::trap(&trap_manifest()).run();
    let start = || Start::new(shared.home().join("spin.toml")).flag("--state-dir", state.path());
    let mut first = start().run();
    first.client().get("/one/sqlite?sql=CREATE%20TABLE%20t(n);;INSERT%20INTO%20t%20VALUES%20(7)").is(200);
    first.kill();
    let file = state.path().join("sqlite_db.db");
    let open = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(&file, 0o644);
    open(state.path(), 0o755);
    let second = start().run();
    assert_eq!(second.client().get("/one/sqlite?sql=SELECT%20n%20FROM%20t").is(200)[0][0], 7);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(state.path()).unwrap().permissions().mode() & 0o777, 0o755);
    let log = second.log();
    assert!(log.contains("sqlite_db.db was open to other users"), "{log}");
    assert_eq!(log.matches(&format!("{} is open to other users", state.path().display())).count(), 1, "{log}");
}

/// The folders with copies that hosts made in a temporary directory.
fn copies(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    found.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("accredit-host")).collect()
}

/// The copies of files that a killed host left are deleted by the next one that starts; those of a running one stay.
#[test]
fn what_a_killed_host_left_is_cleaned_at_the_next_start() {
    let temporary = tempfile::tempdir().unwrap();
    let start = || Start::trap(&trap_manifest()).environment("TMPDIR", &temporary.path().to_string_lossy());
    let running = start().run();
    let of_running = copies(temporary.path());
    assert_eq!(of_running.len(), 1);
    let mut killed = start().run();
    assert_eq!(copies(temporary.path()).len(), 2);
    killed.kill();
    assert_eq!(copies(temporary.path()).len(), 2, "a host that is killed cleans nothing");
    let mut stopped = start().run();
    let now = copies(temporary.path());
    assert!(now.len() == 2 && now.contains(&of_running[0]), "{now:?}");
    assert_eq!(running.client().get("/one/file?path=/files/public.txt").is(200), "a file for the component\n");
    stopped.terminate();
    assert!(stopped.ended().success());
    assert_eq!(copies(temporary.path()), of_running);
}

/// R375: nothing is written to a database that was moved away, and none is made in its place: what was answered is there when it is back.
#[test]
fn a_database_that_was_moved_away_is_not_made_anew() {
    let (server, admin) = Server::with_admin();
    let state = server.state().path().to_owned();
    let away = tempfile::tempdir_in(&state).unwrap();
    let move_all = |from: &Path, to: &Path| {
        for end in ["", "-wal", "-shm"] {
            let name = format!("sqlite_db.db{end}");
            fs::rename(from.join(&name), to.join(&name)).unwrap();
        }
    };
    move_all(&state, away.path());
    for _ in 0..3 {
        admin.post("/api/agents", &json!({ "name": "lost" })).refused(503, "database_unavailable");
    }
    until_logged(server.host(), "was moved away or replaced while this host runs");
    let again =
        json!({ "secret": server.operator_secret(), "email": "eve@example.com", "name": "Eve", "password": PASSWORD });
    assert_ne!(server.nobody().post("/auth/bootstrap", &again).status(), 201);
    assert!(!state.join("sqlite_db.db").exists());
    move_all(away.path(), &state);
    admin.post("/api/agents", &json!({ "name": "kept" })).is(201);
    assert_eq!(server.texts("SELECT name FROM agents"), ["kept"]);
    assert_eq!(server.texts("PRAGMA integrity_check"), ["ok"]);
}

/// R376, R600: a host that has no log to open anew goes on when it is asked to, in whichever way.
#[test]
fn a_hang_up_ends_no_host() {
    let mut host = Start::trap(&trap_manifest()).run();
    for kind in [Signal::HUP, Signal::USR1, Signal::USR2] {
        process::signal(host.id(), kind);
    }
    host.client().get("/one/file?path=/files/public.txt").is(200);
    host.terminate();
    assert!(host.ended().success());
}

/// R547: what sends a signal to a program and once more to its group, as `timeout` does, breaks no request off; a later signal does.
#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let mut host = Start::trap(&trap_manifest()).run();
    let running = in_background(&host.client(), "/one/slow?ms=1500");
    until_logged(&host, "slow: begun");
    host.terminate();
    thread::sleep(Duration::from_millis(50));
    host.terminate();
    running.join().unwrap().is(200);
    assert!(host.ended().success());

    let mut host = Start::trap(&trap_manifest()).run();
    let stream = TcpStream::connect(host.address()).unwrap();
    write!(&stream, "POST /one/slow?ms=20000 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
    until_logged(&host, "slow: begun");
    host.terminate();
    thread::sleep(Duration::from_millis(400));
    host.terminate();
    assert_eq!(host.ended().code(), Some(1));
}

/// A host reserves what its bound of connections needs, not more: many hosts on one machine must find room for their threads.
#[test]
fn a_host_reserves_memory_maps_for_its_connections_only() {
    let maps = |host: &Host| fs::read_to_string(format!("/proc/{}/maps", host.id())).unwrap().lines().count();
    let usual = Start::trap(&trap_manifest()).run();
    assert!(maps(&usual) < 4_000, "{}", maps(&usual));
    let small = Start::trap(&trap_manifest()).flag("--max-connections", "32").run();
    assert!(maps(&small) < 1_500, "{}", maps(&small));
    // All of its connections at once, each in an instance of its own, find a stack in the pool.
    let full = Start::trap(&trap_manifest())
        .flag("--max-connections", "100")
        .flag("--max-instance-concurrent-reuse-count", "1")
        .run();
    for answer in at_once(100, |_| full.client().get("/one/kv?key=k&value=v")) {
        answer.is(200);
    }
    for answer in at_once(100, |_| full.client().get("/one/slow?ms=500")) {
        answer.is(200);
    }
}

/// R516: a body in a coding that the host does not undo is not read as if it had none; one in chunks is.
#[test]
fn a_body_in_another_coding_is_refused() {
    let host = Start::trap(&trap_manifest()).run();
    let address = host.client().address().to_owned();
    let chunked = "Transfer-Encoding: chunked";
    let others = ["gzip, chunked", "chunked, chunked", "identity\r\nTransfer-Encoding: chunked"]
        .map(|coding| format!("Transfer-Encoding: {coding}"));
    for (coding, status) in
        others.iter().map(|coding| (coding.as_str(), 400)).chain([(chunked, 200), ("Transfer-Encoding: Chunked", 200)])
    {
        let head = format!(
            "POST /bare/count HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{coding}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
        );
        let answer = raw::exchange(&address, head.as_bytes()).unwrap();
        let answer = Answer::new(coding, host.client().base_url(), answer);
        match status {
            400 => answer.refused_by_host(400, "invalid_request"),
            _ => assert_eq!(answer.status(), status, "{coding}"),
        }
    }
}

/// R58, R80: a request that does not say for whom it is gets an answer that says so; HTTP/1.0 need not say it.
#[test]
fn a_request_without_a_clear_host_is_told_so() {
    let host = Start::trap(&trap_manifest()).run();
    let address = host.client().address().to_owned();
    let ask = |head: &str| raw::exchange(&address, format!("{head}\r\n\r\n").as_bytes()).unwrap();
    let get = "GET /bare/count HTTP/1.1\r\nConnection: close";
    for hosts in ["Host: a.example\r\nHost: b.example", "Host: u@a.example", "Host: a b", "Host:"] {
        let answer = ask(&format!("{get}\r\n{hosts}"));
        let answer = Answer::new(hosts, host.client().base_url(), answer);
        answer.refused_by_host(400, "invalid_request");
        assert!(answer.json()["fix"].as_str().is_some_and(|fix| fix.contains("Host")), "{answer:?}");
    }
    // R363: its page is there.
    let server = Server::empty();
    let with_pages = server.host().client().address().to_owned();
    let answer = raw::exchange(&with_pages, format!("{get}\r\n\r\n").as_bytes()).unwrap();
    Answer::new("no Host", server.host().base_url(), answer).refused(400, "invalid_request");
    let mut old = TcpStream::connect(&address).unwrap();
    old.write_all(b"GET /bare/count HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    old.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert_eq!(ask(&format!("{get}\r\nHost: a.example")).status, 200);
}
