//! R150: backups of a server that runs, and what comes back with them.

#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use serde_json::json;
use tests::{Client, Over, Server, host, until};

struct Ran {
    is_well: bool,
    said: String,
}

/// Runs the host's program on a state directory.
fn ran(words: &[&str], state: &Path) -> Ran {
    let mut command = Command::new(host::program());
    command.args(words).arg("--state-dir").arg(state);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Ran { is_well: output.status.success(), said }
}

/// R514: a path need not be UTF-8, and nothing is left beside the copy.
#[test]
fn a_backup_is_written_where_the_path_is_not_utf8() {
    let (server, _) = Server::with_admin();
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join(OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&folder).unwrap();
    let mut command = Command::new(host::program());
    command.arg("backup").arg(folder.join("a.db")).arg("--state-dir").arg(server.state().path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = |folder: &Path| fs::read_dir(folder).unwrap().map(|one| one.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!((names(out.path()).len(), names(&folder)), (1, vec!["a.db".into()]));
}

/// R75, R150.
#[test]
fn a_running_server_is_backed_up_and_brought_back() {
    let (mut server, admin) = Server::with_admin();
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("accredit.db");
    let path = file.to_str().unwrap().to_owned();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let state = server.state().clone();
    let tell = |admin: &Client, text: &str| admin.post("/api/agents/scout/messages", &json!({ "text": text })).is(201);
    tell(&admin, "before the backup");

    // Others write meanwhile, and nobody is held up.
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0;
            while !is_done.load(Ordering::Relaxed) {
                admin.post("/auth/tokens", &json!({ "name": format!("t{written}") })).is(201);
                written += 1;
            }
            written
        });
        let made = ran(&["backup", &path], state.path());
        is_done.store(true, Ordering::Relaxed);
        assert!(made.is_well && made.said.contains("integrity: ok"), "{}", made.said);
        assert!(writer.join().unwrap() > 0);
    });
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    // R521: what would be piped on is not the copy.
    let refused = ran(&["backup", "-"], state.path());
    assert!(!refused.is_well && refused.said.contains("standard output"), "{}", refused.said);
    let again = ran(&["backup", &path], state.path());
    assert!(!again.is_well && again.said.contains("is there already"), "{}", again.said);

    // After the backup: a message is read, a token revoked, and an agent made.
    tell(&admin, "after it");
    let read = scout.client.get("/api/agents/me/inbox").is(200)["cursor"].as_str().unwrap().to_owned();
    admin.delete("/api/agents/scout/token").is(204);
    scout.client.get("/api/auth/whoami").refused(401, "token_revoked");
    server.agent(&admin, "later", &["agents.read"]);
    let heard = admin.get("/auth/epochs").is(200)["epoch"].as_i64().unwrap();

    // Not while a host runs, and not over a database that nobody wants replaced.
    let refused = ran(&["restore", &path, "--replace"], state.path());
    assert!(!refused.is_well && refused.said.contains("a host runs on"), "{}", refused.said);
    server.host().terminate();
    server.host_mut().ended();
    let refused = ran(&["restore", &path], state.path());
    assert!(!refused.is_well && refused.said.contains("--replace"), "{}", refused.said);
    let restored = ran(&["restore", &path, "--replace"], state.path());
    assert!(restored.is_well && restored.said.contains("POST /operator/revoke"), "{}", restored.said);
    assert!(state.path().join("sqlite_db.db.before-1").exists());

    let server = Server::settings().on(&state).start();
    let (admin, scout) = (admin.at(server.host().base_url()), scout.client.at(server.host().base_url()));
    admin.get("/api/agents/later").refused(404, "agent_not_found");
    // R625: numbers are not given a second time: a guard begins anew, and an inbox lacks nothing.
    admin.get(&format!("/auth/epochs?after={heard}")).refused(410, "epochs_forgotten");
    tell(&admin, "after the restore");
    let items = scout.get(&format!("/api/agents/me/inbox?after={read}")).is(200)["items"].clone();
    let texts: Vec<&str> = items.as_array().unwrap().iter().filter_map(|one| one["data"]["text"].as_str()).collect();
    assert_eq!(texts, ["before the backup", "after the restore"]);
    // What was revoked since works again, until the step that the restore names.
    scout.get("/api/auth/whoami").is(200);
    let said = restored.said.split_once("POST /operator/revoke ").unwrap().1.lines().next().unwrap();
    let asked: serde_json::Value = serde_json::from_str(said).unwrap();
    let body = json!({ "secret": server.operator_secret(), "issued_before": asked["issued_before"] });
    server.nobody().post("/operator/revoke", &body).is(200);
    scout.get("/api/auth/whoami").refused(401, "token_revoked");
    admin.get("/api/auth/whoami").refused(401, "token_revoked");
    server.sign_in("ada@example.com", None);
}

/// R470: what a host leaves that was stopped is whole in its one file, which is what is copied where nobody knows of the others.
#[test]
fn a_host_that_was_stopped_leaves_all_in_one_file() {
    let (mut server, admin) = Server::with_admin();
    server.agent(&admin, "scout", &["agents.read"]);
    server.host().terminate();
    assert!(server.host_mut().ended().success());
    let copy = server.state().path().join("copied.db");
    fs::copy(server.database_file(), &copy).unwrap();
    let copied = rusqlite::Connection::open(&copy).unwrap();
    let agents: i64 = copied.query_row("SELECT count(*) FROM agents", [], |row| row.get(0)).unwrap();
    assert_eq!(agents, 1);
}

/// R418: an old and a new host on one database, under load: while the old one ends, a client that tries the next host where it is not answered,
/// as a proxy does, is refused nothing, and nothing of it is lost or done twice.
#[test]
fn a_release_is_replaced_under_load_without_a_refusal() {
    let (mut old, admin) = Server::with_admin();
    let new = old.second();
    let (done, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let hosts = [&old, &new].map(|server| admin.at(server.host().base_url()));
    let before = new.number("SELECT count(*) FROM credentials WHERE kind = 'pat'");
    let made: usize = thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|number| {
                let (hosts, done, is_over) = (&hosts, &done, &is_over);
                scope.spawn(move || {
                    let mut made = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        let body = json!({ "name": format!("{number} {made}") }).to_string();
                        for (method, path, body) in
                            [("POST", "/auth/tokens", Some(body.as_bytes())), ("GET", "/api/auth/whoami", None)]
                        {
                            let ask = || hosts.iter().find_map(|host| host.try_call(method, path, &[], body).ok());
                            // A lock that was waited for in vain on a slow machine is no refusal of a host that ends.
                            let answer = until("an answer", || {
                                let answer = ask().unwrap_or_else(|| panic!("neither host answers {method} {path}"));
                                let is_busy =
                                    answer.status() == 503 && answer.json()["error"] == "database_unavailable";
                                (!is_busy).then_some(answer)
                            });
                            assert!(answer.status() < 300, "{}: {}", answer.status(), answer.text());
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        made += 1;
                    }
                    made
                })
            })
            .collect();
        let _over = Over(&is_over);
        let more = |count: usize| {
            let from = done.load(Ordering::Relaxed);
            until("requests", || (done.load(Ordering::Relaxed) >= from + count).then_some(()));
        };
        more(200);
        old.host().terminate();
        assert!(old.host_mut().ended().success());
        more(200);
        is_over.store(true, Ordering::Relaxed);
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    let after = new.number("SELECT count(*) FROM credentials WHERE kind = 'pat'");
    assert_eq!(usize::try_from(after - before), Ok(made));
    assert!(made > 100, "{made}");
}
