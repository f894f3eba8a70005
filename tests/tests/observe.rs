//! R151: what an operator sees of requests: the access log, the counters, and the dashboard for them.

#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value as Json, json};
use tests::{
    Client, Server, Start, host,
    process::{self, Signal},
    secret::unique,
    server::KEY,
    until,
};

/// The lines of an access log, once there are this many.
fn lines(file: &Path, count: usize) -> Vec<Json> {
    let text = until(&format!("{count} lines"), || {
        let text = fs::read_to_string(file).unwrap_or_default();
        // The last line may be half written.
        (text.matches('\n').count() >= count).then_some(text)
    });
    let (whole, _) = text.rsplit_once('\n').unwrap();
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A host with both flags, its log, and a client of its counters.
fn observed(folder: &Path) -> (Server, PathBuf, Client) {
    let log = folder.join("access.log");
    let server =
        Server::settings().flag("--access-log", log.to_str().unwrap()).flag("--metrics", "127.0.0.1:0").start();
    let metrics = server.host().metrics();
    (server, log, metrics)
}

/// R151: a line has the pattern of a route, and nothing that a client has sent but its method.
#[test]
fn each_request_is_a_line_without_a_value_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (server, log, _) = observed(folder.path());
    let admin = server.bootstrap();
    let (name, query) = (format!("a{}", unique()), unique());
    admin.post("/api/agents", &json!({ "name": name })).is(201);
    let shown = admin.get(&format!("/api/agents/{name}"));
    admin.get(&format!("/api/agents?q={query}")).is(200);
    server.nobody().get(&format!("/nowhere/{query}")).is(404);
    server.nobody().get(&format!("/api/auth/whoami?token={query}"));
    // Bootstrap is two: the tenant, and the sign-in.
    let all = lines(&log, 7);
    let found = all.iter().find(|line| line["request_id"] == shown.header("x-request-id")).unwrap();
    assert_eq!(
        (&found["method"], &found["component"], &found["status"], &found["bytes"]),
        (&json!("GET"), &json!("agents"), &json!(200), &json!(shown.text().len()))
    );
    assert_eq!(found["route"], "/api/agents/{name}");
    let routes: BTreeSet<&str> = all.iter().filter_map(|line| line["route"].as_str()).collect();
    for route in ["/auth/bootstrap", "/api/agents", "/api/auth/whoami"] {
        assert!(routes.contains(route), "{route}: {routes:?}");
    }
    let known: BTreeSet<&str> = found.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(known, BTreeSet::from(["bytes", "component", "method", "request_id", "route", "status", "time", "us"]));
    assert!(found["us"].as_u64().unwrap() > 0 && found["time"].as_str().unwrap().ends_with('Z'));
    let text = fs::read_to_string(&log).unwrap();
    for secret in [name.as_str(), query.as_str(), admin.bearer(), server.operator_secret(), "ada@example.com"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

/// R151, R600: a log that was moved is opened anew by either signal, and a stop loses no line.
#[test]
fn a_log_can_be_moved_and_is_whole_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (mut server, log, _) = observed(folder.path());
    let nobody = server.nobody();
    nobody.get("/healthz").is(200);
    lines(&log, 1);
    let moved = folder.path().join("access.log.1");
    for (signal, to) in [(Signal::HUP, &moved), (Signal::USR1, &folder.path().join("access.log.2"))] {
        fs::rename(&log, to).unwrap();
        process::signal(server.host().id(), signal);
        until("the new file", || log.exists().then_some(()));
    }
    for _ in 0..40 {
        nobody.get("/healthz").is(200);
    }
    server.host().terminate();
    assert!(server.host_mut().ended().success());
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 40);
    assert_eq!(fs::read_to_string(&moved).unwrap().lines().count(), 1);
}

fn counters(metrics: &Client) -> String {
    let answer = metrics.get("/metrics");
    assert_eq!(answer.status(), 200);
    answer.text()
}

fn sum(text: &str, name: &str, label: &str) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// R151: the counters are of what happened; they are on an address of their own.
#[test]
fn the_counters_are_of_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _, metrics) = observed(folder.path());
    let nobody = server.nobody();
    for _ in 0..5 {
        nobody.get("/healthz").is(200);
    }
    nobody.get("/api/auth/whoami").refused(401, "missing_credential");
    let asked = || counters(&metrics);
    let count = |text: &str| sum(text, "accredit_requests_total", "component=\"auth\"");
    until("six requests", || (count(&asked()) >= 6.0).then_some(()));
    let text = asked();
    assert_eq!(sum(&text, "accredit_requests_total", "component=\"auth\",status=\"200\""), 5.0);
    assert_eq!(sum(&text, "accredit_requests_total", "component=\"auth\",status=\"401\""), 1.0);
    assert_eq!(sum(&text, "accredit_request_duration_seconds_count", "component=\"auth\""), 6.0);
    assert!(sum(&text, "accredit_instances", "component=\"auth\"") <= 2.0);
    // Not for clients of the application, and nothing else is there.
    nobody.get("/metrics").refused(404, "not_found");
    assert_eq!(metrics.get("/").status(), 404);
    assert_eq!(metrics.post("/metrics", &json!({})).status(), 404);
    // R612: what only asks whether they are there reads nothing of them.
    let head = metrics.call("HEAD", "/metrics", &[], None);
    assert_eq!((head.status(), head.text().as_str()), (200, ""));
    // An idle instance ends, and counts no more.
    until("no instance", || (sum(&asked(), "accredit_instances", "component=\"auth\"") == 0.0).then_some(()));
    // A head that does not end.
    let silent = std::net::TcpStream::connect(server.host().address()).unwrap();
    until("a time-out", || (sum(&asked(), "accredit_timeouts_total", "kind=\"head\"") >= 1.0).then_some(()));
    drop(silent);
}

/// R163: what waits in the database is asked of it with the counters, and is left out where it cannot be known.
#[test]
fn what_waits_is_said_with_the_counters() {
    let server = Server::settings().variable("audit_key", KEY).flag("--metrics", "127.0.0.1:0").start();
    let metrics = server.host().metrics();
    assert!(!counters(&metrics).lines().any(|line| line.starts_with("accredit_seal_age_seconds ")));
    server.bootstrap();
    // What could not be asked for in time is left out.
    let value = |name: &str| {
        until(name, || {
            let text = counters(&metrics);
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok())
        })
    };
    assert_eq!(value("accredit_outbox{kind=\"mail\"}"), 0);
    assert_eq!(value("accredit_outbox{kind=\"webhook\"}"), 0);
    assert!(value("accredit_unsealed_rows") > 0);
    server.execute(
        "INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, due_at, created_at)
         SELECT 'mal_' || id, tenant_id, id, 'of a newer release', email, '{}', 0, 0 FROM users",
    );
    assert_eq!(value("accredit_outbox{kind=\"mail\"}"), 1);
    server.tick();
    until("a seal over all rows", || (value("accredit_unsealed_rows") == 0).then_some(()));
    assert!(value("accredit_seal_age_seconds") < 3600);
    // Without a database that can be asked, all the rest is said.
    let start = Start::new(host::manifest()).switch("--no-tick").flag("--state-dir", Path::new(""));
    let host = start.flag("--metrics", "127.0.0.1:0").run();
    let text = counters(&host.metrics());
    assert!(text.contains("# TYPE accredit_outbox gauge") && !text.contains("accredit_outbox{"), "{text}");
}

/// R163: the time that writes wait is counted, and those that find the database locked.
#[test]
fn waiting_for_the_database_is_counted() {
    let server = Server::settings().flag("--metrics", "127.0.0.1:0").start();
    let admin = server.bootstrap();
    let text = counters(&server.host().metrics());
    let waits = sum(&text, "accredit_sqlite_wait_seconds_count", "");
    assert!(waits > 0.0, "{text}");
    assert_eq!(sum(&text, "accredit_sqlite_locked_total", ""), 0.0);
    let other = server.database();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    admin.post("/api/agents", &json!({ "name": "waiting" })).refused(503, "database_unavailable");
    other.execute_batch("ROLLBACK").unwrap();
    let text = counters(&server.host().metrics());
    assert!(sum(&text, "accredit_sqlite_locked_total", "") >= 1.0, "{text}");
    assert!(sum(&text, "accredit_sqlite_wait_seconds_count", "") > waits);
    // The lock was waited for until the time-out of SQLite, which is longer than this.
    assert!(sum(&text, "accredit_sqlite_wait_seconds_sum", "") > 1.0, "{text}");
}

/// R151: counters are for this machine, unless somebody says otherwise.
#[test]
fn counters_are_not_for_others_unless_that_is_said() {
    let start = || Start::new(host::manifest()).switch("--no-tick").flag("--state-dir", Path::new(""));
    let said = start().flag("--metrics", "0.0.0.0:0").fails();
    assert!(said.contains("--metrics-for-others"), "{said}");
    let host = start().flag("--metrics", "0.0.0.0:0").switch("--metrics-for-others").run();
    counters(&host.metrics());
    drop(host);
    let said = start().flag("--access-log", Path::new("/nowhere/access.log")).fails();
    assert!(said.contains("/nowhere/access.log"), "{said}");
}

/// R151: the dashboard asks for counters that there are.
#[test]
fn the_dashboard_asks_for_what_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _, metrics) = observed(folder.path());
    server.nobody().get("/healthz").is(200);
    until("a request", || (sum(&counters(&metrics), "accredit_requests_total", "") >= 1.0).then_some(()));
    let text = counters(&metrics);
    let known: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let dashboard: Json =
        serde_json::from_str(&fs::read_to_string(host::root().join("docs/grafana.json")).unwrap()).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            for name in expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                if let Some(name) = name.starts_with("accredit_").then(|| name.trim_end_matches("_bucket")) {
                    assert!(known.contains(name), "{name}");
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 8);
}
