//! The host's semantics one by one, as Spin has them, with a component that only tests run (`tests/trap`).

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};
use tests::{
    Answer, Client, Host, PATIENCE, Server, Shared, Start, at_once,
    host::{trap_manifest, until_logged, wasm_directory},
    raw::{self, Connection},
    server::REPLACEABLE,
    until,
};

static HOST: Shared<Host> = Shared::new();

/// One host for all tests that change nothing about it.
fn host() -> Arc<Host> {
    HOST.get(|| Start::trap(&trap_manifest()).run())
}

fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02x}") })
        .collect()
}

/// The name of the component that answers a path.
fn who(client: &Client, path: &str) -> String {
    client.get(path).is(200)["name"].as_str().unwrap_or_default().to_owned()
}

/// All values of a header that reached the component, in order.
fn reached(answer: &Json, name: &str) -> Vec<String> {
    let pairs = answer["headers"].as_array().cloned().unwrap_or_default();
    pairs.iter().filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap_or_default().to_owned()).collect()
}

fn refusal(answer: &Answer) -> String {
    answer.is(502)["refused"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_exact_route_beats_a_name_beats_a_prefix_and_the_longest_prefix_wins() {
    let host = host();
    let client = host.client();
    for (path, name) in [
        ("/one/who", "one"),
        ("/one/a/b/who", "one"),
        ("/one", "one"),
        ("/one/", "one"),
        ("/one/exact/who", "other"),
        ("/one/longer/who", ""),
        ("/named/ada/who", "one"),
        ("/named/literal/who", "other"),
        ("/named/ada/b/who", ""),
        ("/named/who", ""),
    ] {
        assert_eq!(who(&client, path), name, "{path}");
    }
}

/// Slashes at the ends of a path count for nothing. Within it each one separates two segments, which may be empty.
#[test]
fn an_empty_segment_is_a_segment() {
    // Held to the end: a host ends with the last test that holds it.
    let host = host();
    let client = host.client();
    for (path, name) in [
        ("//one/exact/who//", "other"),
        ("/one/exact//who", "one"),
        ("/one//exact/who", "one"),
        ("/one/longer//x/who", ""),
        ("/named//who", "one"),
        ("/named//literal/who", ""),
    ] {
        assert_eq!(who(&client, path), name, "{path}");
    }
    assert_eq!(reached(&client.get("/named//who").is(200), "spin-path-match-first-name"), [""]);
    assert_eq!(reached(&client.get("/one/exact//who").is(200), "spin-path-info"), ["/exact//who"]);
}

/// Of two routes that are written alike the last one counts, of two that only mean the same the first.
#[test]
fn of_two_routes_that_mean_the_same_the_first_wins_and_the_log_says_so() {
    let route = |path: &str, to: &str| format!("[[trigger.http]]\nroute = \"{path}\"\ncomponent = \"{to}\"\n");
    let more = [("/same/:user_id/who", "one"), ("/same/:b/who", "other"), ("/end/who", "other"), ("/end/who/", "one")];
    let more: String = more.iter().map(|(path, to)| route(path, to)).collect();
    let host = Start::trap(&trap_manifest().replacen("[[trigger.http]]", &(more + "[[trigger.http]]"), 1)).run();
    assert_eq!(who(&host.client(), "/same/ada/who"), "one");
    assert_eq!(who(&host.client(), "/end/who"), "other");
    assert_eq!(reached(&host.client().get("/same/ada/who").is(200), "spin-path-match-user-id"), ["ada"]);
    until_logged(&host, "never be reached");
}

#[test]
fn of_two_equal_routes_the_last_wins_and_the_log_says_so() {
    let host = host();
    assert_eq!(who(&host.client(), "/twice/who"), "other");
    assert!(host.log().contains("/twice/who"), "{}", host.log());
}

#[test]
fn an_unknown_path_is_an_empty_404() {
    for path in ["/", "/unknown", "/onelonger", "/private/who", "/.well-known/spin/unknown"] {
        let answer = host().client().get(path);
        assert_eq!((answer.status(), answer.text()), (404, String::new()), "{path}");
    }
}

#[test]
fn a_private_route_is_reached_by_components_only() {
    let host = host();
    let inside = host.client().get(&format!("/one/fetch?url={}", encode("http://private.spin.internal/x/who"))).is(200);
    assert_eq!(inside["status"], 200);
    let seen: Json = serde_json::from_str(inside["body"].as_str().unwrap_or_default()).unwrap();
    assert_eq!(seen["name"], "private");
    // A component that may not call it does not reach it, and neither does a request from outside that uses its name.
    assert!(
        refusal(&host.client().get(&format!("/other/fetch?url={}", encode("http://private.spin.internal/who"))))
            .contains("Denied")
    );
    let request = b"GET /who HTTP/1.1\r\nhost: private.spin.internal\r\nconnection: close\r\n\r\n";
    assert_ne!(raw::exchange(host.address(), request).unwrap().status, 200);
}

/// R71: what a client sends under the host's names comes before the host's values; only the last value is the host's.
#[test]
fn the_hosts_headers_come_last() {
    let host = host();
    let forged = [
        ("spin-client-addr", "6.6.6.6:1"),
        ("spin-full-url", "http://evil.example/"),
        ("spin-path-info", "/evil"),
        ("spin-matched-route", "/evil"),
        ("spin-path-match-first-name", "eve"),
    ];
    let answer = host.client().call("GET", "/named/ada/who?x=1", &forged, None).is(200);
    let last = |name: &str| reached(&answer, name).pop().unwrap_or_default();
    assert!(last("spin-client-addr").starts_with("127.0.0.1:"), "{answer}");
    assert_eq!(last("spin-full-url"), format!("{}/named/ada/who?x=1", host.base_url()));
    assert_eq!(last("spin-path-info"), "");
    assert_eq!(last("spin-matched-route"), "/named/:first-name/who");
    assert_eq!(last("spin-raw-component-route"), "/named/:first-name/who");
    assert_eq!(last("spin-path-match-first-name"), "ada");
    assert_eq!(reached(&answer, "spin-client-addr").first().map(String::as_str), Some("6.6.6.6:1"));
    assert_eq!(reached(&answer, "spin-path-match-first-name"), ["eve", "ada"]);
    assert_eq!(answer["uri"], format!("{}/named/ada/who?x=1", host.base_url()));
    let rest = host.client().get("/one/a/b/who").is(200);
    assert_eq!(reached(&rest, "spin-path-info"), ["/a/b/who"]);
}

#[test]
fn the_connections_own_headers_do_not_reach_the_component() {
    let answer = host().client().get("/one/who").is(200);
    assert_eq!(reached(&answer, "connection"), Vec::<String>::new());
}

#[test]
fn an_instance_answers_so_many_requests_and_no_more() {
    let host = Start::trap(&trap_manifest())
        .flag("--idle-instance-timeout", "60s")
        .flag("--max-instance-reuse-count", "128")
        .run();
    let client = host.client();
    let numbers: Vec<u64> = (0..400).map(|_| client.get("/bare/count").is(200)["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers.iter().max(), Some(&128), "reused to its limit and not beyond");
    assert!(numbers.iter().filter(|number| **number == 1).count() > 3, "{numbers:?}");
}

#[test]
fn an_instance_answers_16_requests_at_once_and_no_more() {
    let host = Start::trap(&trap_manifest()).run();
    let answers = at_once(48, |_| host.client().get("/bare/slow?ms=500").is(200)["most_at_once"].as_u64().unwrap());
    assert!(answers.iter().all(|most| *most <= 16), "{answers:?}");
    assert!(answers.iter().any(|most| *most > 1), "{answers:?}");
}

#[test]
fn how_instances_are_reused_can_be_set() {
    let host = Start::trap(&trap_manifest())
        .flag("--max-instance-reuse-count", "3")
        .flag("--max-instance-concurrent-reuse-count", "1")
        .run();
    let answers = at_once(12, |_| host.client().get("/bare/slow?ms=50").is(200));
    for answer in answers {
        assert_eq!(answer["most_at_once"], 1);
        assert!(answer["number"].as_u64().unwrap() <= 3, "{answer}");
    }
}

#[test]
fn an_idle_instance_ends() {
    let host = Start::trap(&trap_manifest()).flag("--idle-instance-timeout", "50ms").run();
    let client = host.client();
    client.get("/bare/count").is(200);
    until("a new instance after the old one idled", || {
        // Far beyond the 50 ms that an instance may idle.
        thread::sleep(Duration::from_millis(500));
        (client.get("/bare/count").is(200)["number"] == 1).then_some(())
    });
}

/// R58, R69: a trap is an empty 500; only its instance is gone, and the next request is served.
#[test]
fn a_trap_is_an_empty_500_and_the_next_request_is_served() {
    let host = host();
    let client = host.client();
    for _ in 0..5 {
        let answer = client.get("/other/trap");
        assert_eq!((answer.status(), answer.text()), (500, String::new()));
        // R363: its id is the one that the log says.
        let id = answer.header("x-request-id");
        assert!(id.starts_with("req_"), "{answer:?}");
        until_logged(&host, id);
        assert_eq!(who(&client, "/other/who"), "other");
    }
    // An instance of another component is not affected.
    let slow = thread::spawn({
        let client = client.clone();
        move || client.get("/one/slow?ms=300").status()
    });
    until_logged(&host, "[one] slow: begun");
    assert_eq!(client.get("/other/trap").status(), 500);
    assert_eq!(slow.join().unwrap(), 200);
}

#[test]
fn an_instance_has_only_so_much_memory() {
    let host = Start::trap(&trap_manifest()).flag("--max-instance-memory", "33554432").run();
    let client = host.client();
    assert_eq!(client.get("/bare/memory?mib=8").is(200)["sum"], 8 * 1024 * 1024);
    assert_eq!(client.get("/bare/memory?mib=100").status(), 500);
    assert_eq!(client.get("/bare/memory?mib=8").status(), 200);
}

/// R70: a host without room for one more instance says so, and the others are answered: nothing of the refused request has happened.
#[test]
fn without_room_for_an_instance_a_request_is_503() {
    // Too little address space for the pool, and for more than a few instances one by one.
    let start = Start::trap(&trap_manifest()).flag("--max-instance-concurrent-reuse-count", "1");
    let host = start.after("ulimit -v 25165824").run();
    let answers = at_once(32, |_| host.client().get("/bare/slow?ms=1000"));
    for answer in &answers {
        assert!(matches!(answer.status(), 200 | 503), "{answer:?}");
        if answer.status() == 503 {
            answer.refused_by_host(503, "no_instance");
        }
    }
    let count = |status: u16| answers.iter().filter(|answer| answer.status() == status).count();
    assert!(count(200) > 0 && count(503) > 0, "{} answered, {} refused", count(200), count(503));
    assert_eq!(host.client().get("/bare/slow?ms=1").status(), 200);
}

#[test]
fn a_component_logs_whole_lines_with_its_name() {
    let host = host();
    host.client().get("/one/log?text=hello%20log").is(200);
    until_logged(&host, "[one] hello log\n");
}

/// R73: flag beats runtime configuration beats environment beats `.env` beats default.
#[test]
fn variables_have_their_precedence() {
    let start = Start::trap(&trap_manifest());
    let names = ["from_flag", "from_config", "from_environment", "from_dotenv"];
    let config = start.home().join("runtime-config.toml");
    let values =
        |value: &str, names: &[&str]| names.iter().map(|name| format!("{name} = \"{value}\"\n")).collect::<String>();
    fs::write(
        &config,
        format!(
            "[[variables_provider]]\ntype = \"static\"\n[variables_provider.values]\n{}",
            values("config", &names[..2])
        ),
    )
    .unwrap();
    let dotenv: String = names.iter().map(|name| format!("SPIN_VARIABLE_{}=dotenv\n", name.to_uppercase())).collect();
    fs::write(start.home().join(".env"), dotenv).unwrap();
    let mut start = start.flag("--runtime-config-file", &config).variable("from_flag", "flag");
    for name in &names[..3] {
        start = start.environment(&format!("SPIN_VARIABLE_{}", name.to_uppercase()), "environment");
    }
    let host = start.run();
    let value = |name: &str| host.client().get(&format!("/one/var?name={name}")).is(200);
    assert_eq!(value("from_flag"), "flag");
    assert_eq!(value("from_config"), "config");
    assert_eq!(value("from_environment"), "environment");
    assert_eq!(value("from_dotenv"), "dotenv");
    assert_eq!(value("from_default"), "default");
    assert_eq!(value("mixed"), "<default|flag>");
    assert!(refusal(&host.client().get("/one/var?name=hidden")).contains("Undefined"));
    assert!(refusal(&host.client().get("/bare/var?name=from_flag")).contains("Undefined"));
}

/// R73: `.env` has quotes, comments, escapes and names of other values.
#[test]
fn a_dotenv_file_is_read_as_spin_reads_it() {
    let start = Start::trap(&trap_manifest());
    let text = "# c\nexport SPIN_VARIABLE_FROM_FLAG='a b' # c\nSPIN_VARIABLE_FROM_CONFIG=a # c\n\
                SPIN_VARIABLE_FROM_DOTENV=\"a\\nb\"\nSPIN_VARIABLE_FROM_ENVIRONMENT=\"<${SPIN_VARIABLE_FROM_CONFIG}>\"\n";
    fs::write(start.home().join(".env"), text).unwrap();
    let host = start.run();
    for (name, value) in
        [("from_flag", "a b"), ("from_config", "a"), ("from_dotenv", "a\nb"), ("from_environment", "<a>")]
    {
        assert_eq!(host.client().get(&format!("/one/var?name={name}")).is(200), value, "{name}");
    }
}

/// R73: nothing starts without what it needs.
#[test]
fn a_missing_required_variable_stops_the_start_and_is_named() {
    let manifest = trap_manifest().replace("[variables]\n", "[variables]\nmail_host = { required = true }\n");
    let said = Start::trap(&manifest).fails();
    assert!(said.contains("mail_host"), "{said}");
    let host = Start::trap(&manifest).variable("mail_host", "mail.example").run();
    assert_eq!(who(&host.client(), "/one/who"), "one");
}

/// R73, R229: a slip of the pen in the name of a setting is seen, and a value that cannot be used is told with what the setting takes.
#[test]
fn a_setting_of_no_use_is_told() {
    let server = Server::settings().variable("publc_url", "x").variable("database_max_mib", "plenty").start();
    server.nobody().get("/api/auth/whoami").refused(500, "internal");
    for said in
        ["--variable publc_url is not used", "the variable database_max_mib has a value that is not valid: it takes"]
    {
        until_logged(server.host(), said);
    }
}

/// The exit status of `accredit-host health`, and what it says.
fn health(words: &[&str]) -> (i32, String) {
    let mut command = Command::new(tests::host::program());
    let ran = command.arg("health").args(words).env_remove("SPIN_HTTP_LISTEN_ADDR").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    (ran.status.code().unwrap(), said)
}

/// R288: a server is well when its database and all of its components are.
#[test]
fn a_server_says_whether_it_is_well() {
    let mut server = Server::empty();
    let url = server.host().base_url().to_owned();
    let manifest = fs::read_to_string(tests::host::manifest()).unwrap();
    let is_component = |line: &&str| line.starts_with("[component.") && line.matches('.').count() == 1;
    let whole = format!("ready: {} components", manifest.lines().filter(is_component).count());
    assert_eq!(health(&["--url", &url]), (0, format!("{whole}, without an admin yet\n")));
    server.bootstrap();
    assert_eq!(health(&["--url", &url]), (0, format!("{whole}\n")));
    // One component that refuses its settings, while the others work.
    let other = Server::settings().variable("oidc1", "nonsense").variable("oidc1_secret", "s").start();
    other.nobody().get("/readyz").is(200);
    let (code, said) = health(&["--url", other.host().base_url()]);
    assert!(code == 1 && said.contains("is not ready: oidc answers 500: A setting"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    // The database itself, and nobody at all.
    server.execute("ALTER TABLE bootstrap RENAME TO gone");
    let (code, said) = health(&["--url", &url]);
    assert!(code == 1 && said.contains("/readyz answers 503"), "{said}");
    server.host_mut().kill();
    assert!(health(&["--url", &url]).1.contains("nobody answers"));
    // What takes a connection and says nothing, and what is another program.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, said) = health(&["--url", &format!("http://{}", silent.local_addr().unwrap()), "--timeout", "1"]);
    assert!(code == 1 && said.contains("within 1 s"), "{said}");
    assert_eq!(health(&["--url", host().base_url()]).0, 1);
    assert_eq!(health(&["--url", "https://accredit.example"]).0, 1);
    // R546: it is not asked at port 80.
    assert!(health(&["--url", "http://127.0.0.1:99999"]).1.contains("has no port from 1 to 65535"));
}

/// R288: what has just started a server can wait until it is well.
#[test]
fn a_server_is_waited_for() {
    let free = TcpListener::bind(REPLACEABLE).unwrap().local_addr().unwrap().to_string();
    let url = format!("http://{free}");
    let waiting = thread::spawn(move || health(&["--url", &url, "--wait", "60"]));
    let _server = Server::settings().at(&free).start();
    assert_eq!(waiting.join().unwrap().0, 0);
}

/// R72: access that the manifest does not grant is refused.
#[test]
fn a_component_without_a_grant_is_refused() {
    let host = host();
    let client = host.client();
    for (path, word) in [
        ("/bare/sqlite?sql=SELECT%201", "AccessDenied"),
        ("/one/sqlite?label=elsewhere&sql=SELECT%201", "AccessDenied"),
        ("/bare/kv?key=k&value=v", "AccessDenied"),
        ("/one/kv?label=elsewhere&key=k", "AccessDenied"),
        ("/bare/fetch?url=http%3A%2F%2F127.0.0.1%3A1%2F", "HttpRequestDenied"),
        ("/one/fetch?url=http%3A%2F%2Fexample.com%2F", "HttpRequestDenied"),
        ("/one/fetch?url=https%3A%2F%2F127.0.0.1%2F", "HttpRequestDenied"),
    ] {
        let said = refusal(&client.get(path));
        assert!(said.contains(word), "{path}: {said}");
    }
    assert_eq!(client.get("/bare/env").is(200), json!({}));
    assert_eq!(client.get("/bare/file?path=/files/public.txt").status(), 502);
    // No component can read the host's own files.
    assert_eq!(client.get("/one/file?path=/etc/passwd").status(), 502);
    assert_eq!(client.get(&format!("/one/file?path={}", encode("/files/../../../../etc/passwd"))).status(), 502);
}

#[test]
fn each_open_is_a_connection_of_its_own_on_one_file() {
    let host = host();
    let sql = |component: &str, sql: &str| host.client().get(&format!("/{component}/sqlite?sql={}", encode(sql)));
    sql("one", "CREATE TABLE t (n INTEGER);;INSERT INTO t VALUES (1)").is(200);
    // Not committed by the connection that began it: gone with it.
    sql("one", "BEGIN;;INSERT INTO t VALUES (2)").is(200);
    assert_eq!(sql("other", "SELECT n FROM t").is(200), json!([[1]]));
    assert_eq!(sql("one", "PRAGMA foreign_keys").is(200), json!([[1]]));
    assert_eq!(sql("one", "SELECT 1, 2.5, 'x', NULL, x'00ff'").is(200), json!([[1, 2.5, "x", null, [0, 255]]]));
    assert!(refusal(&sql("one", "SELECT nothing FROM nowhere")).contains("nowhere"));
    // A row that fills the piece in which rows are handed over, with none behind it, and with one.
    assert_eq!(sql("one", "SELECT length(a) FROM (SELECT hex(zeroblob(200000)) a)").is(200), json!([[400_000]]));
    let row = sql("one", "SELECT hex(zeroblob(200000))").is(200);
    assert_eq!(row[0][0].as_str().map(str::len), Some(400_000));
    let two = sql("one", "SELECT hex(zeroblob(200000)) UNION ALL SELECT 'x'").is(200);
    assert_eq!(two[1], json!(["x"]));
    assert!(host.home().join("state/sqlite_db.db").is_file());
}

#[test]
fn what_is_stored_is_there_after_a_restart() {
    let shared = host();
    let start = || Start::new(shared.home().join("spin.toml"));
    let state = tempfile::tempdir().unwrap();
    let mut first = start().flag("--state-dir", state.path()).run();
    first.client().get("/one/kv?key=k&value=v1").is(200);
    assert_eq!(first.client().get("/other/kv?key=k").is(200), "v1");
    assert_eq!(first.client().get("/one/kv?key=absent").is(200), Json::Null);
    first.kill();
    let second = start().flag("--state-dir", state.path()).run();
    assert_eq!(second.client().get("/one/kv?key=k").is(200), "v1");
}

#[test]
fn files_are_read_only_and_excluded_ones_are_not_there() {
    let host = host();
    let client = host.client();
    assert_eq!(client.get("/one/file?path=/files/public.txt").is(200), "a file for the component\n");
    assert_eq!(client.get("/one/file?path=/files/secret.txt").status(), 502);
    assert_eq!(client.get("/one/write?path=/files/public.txt").status(), 502);
    assert_eq!(client.get("/one/write?path=/files/new.txt").status(), 502);
    assert_eq!(client.get("/one/file?path=/files/public.txt").is(200), "a file for the component\n");
}

#[test]
fn the_environment_is_what_the_manifest_says_and_nothing_of_the_hosts() {
    assert_eq!(host().client().get("/one/env").is(200), json!({ "NAME": "one", "COLOUR": "green" }));
}

/// A server that answers everything with `body`; its port.
fn serve(body: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, body);
        }
    });
    port
}

fn answer(mut stream: TcpStream, body: &str) {
    let mut request = [0; 4096];
    let read = stream.read(&mut request).unwrap_or(0);
    let status = if request[..read].starts_with(b"GET /redirect") {
        "302 Found\r\nlocation: http://127.0.0.1:1/"
    } else {
        "200 OK"
    };
    let length = body.len();
    // A client that went away is the host's affair.
    let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
}

/// R72, R49: a granted host is still refused when it resolves to a private address, however it is written.
#[test]
fn private_networks_are_refused_after_resolving() {
    let port = serve("reached");
    let host = host();
    let client = host.client();
    let names = "127.0.0.1 localhost 2130706433 0x7f.1 0177.0.0.1 127.1 [::1] [::ffff:127.0.0.1] [::127.0.0.1] [64:ff9b::7f00:1] [2002:7f00:1::1]";
    for name in names.split(' ') {
        let said = refusal(&client.get(&format!("/one/fetch?url={}", encode(&format!("http://{name}:{port}/")))));
        assert!(!said.contains("reached") && !said.contains("HttpRequestDenied"), "{name}: {said}");
        assert!(said.contains("DestinationIpProhibited") || said.contains("Dns"), "{name}: {said}");
    }
    let said = refusal(&client.get(&format!("/one/fetch?url={}", encode("http://169.254.169.254/latest/meta-data/"))));
    assert!(said.contains("DestinationIpProhibited"), "{said}");
}

#[test]
fn an_exception_opens_one_host_and_port_and_redirects_are_not_followed() {
    let (port, closed) = (serve("reached"), serve("not this one"));
    let host = Start::trap(&trap_manifest()).flag("--allow-private", format!("127.0.0.1:{port}")).run();
    let fetch = |port: u16, path: &str| {
        host.client().get(&format!("/one/fetch?url={}", encode(&format!("http://127.0.0.1:{port}{path}"))))
    };
    assert_eq!(fetch(port, "/").is(200), json!({ "status": 200, "body": "reached" }));
    assert_eq!(fetch(port, "/redirect").is(200)["status"], 302);
    assert!(refusal(&fetch(closed, "/")).contains("DestinationIpProhibited"));
    assert!(host.log().contains(&format!("127.0.0.1:{port}")), "the exception is logged: {}", host.log());
}

#[test]
fn a_component_may_call_the_application_itself_when_that_is_granted() {
    let host = host();
    let inside = host.client().get(&format!("/one/fetch?url={}", encode("http://self.alt/other/who"))).is(200);
    assert!(inside["body"].as_str().unwrap_or_default().contains("\"name\":\"other\""), "{inside}");
    assert!(
        refusal(&host.client().get(&format!("/other/fetch?url={}", encode("http://self.alt/other/who"))))
            .contains("HttpRequestDenied")
    );
}

#[test]
fn the_host_answers_for_its_health() {
    let host = host();
    let client = host.client();
    assert_eq!(client.get("/.well-known/spin/health").text(), "OK");
    let info = client.get("/.well-known/spin/info").is(200);
    assert_eq!((&info["name"], &info["version"]), (&json!("trap"), &json!("1.2.3")));
}

#[test]
fn what_the_host_does_not_have_is_refused_by_name() {
    for (manifest, name) in [
        (trap_manifest() + "\n[component.private.dependencies]\n", "dependencies"),
        (trap_manifest().replace("sqlite_databases", "ai_models"), "ai_models"),
        (trap_manifest() + "\n[[trigger.redis]]\nchannel = \"c\"\ncomponent = \"one\"\n", "redis"),
        (trap_manifest().replace("spin_manifest_version = 2", "spin_manifest_version = 1"), "spin_manifest_version"),
        (trap_manifest().replace("version = \"1.2.3\"", "[application.trigger.http]\nbase = \"/x\""), "trigger"),
        (trap_manifest().replace("\"default\"]", "\"elsewhere\"]"), "elsewhere"),
        (trap_manifest().replace("component = \"private\"", "component = \"absent\""), "absent"),
    ] {
        let said = Start::trap(&manifest).fails();
        assert!(said.contains(name), "{name}: {said}");
    }
    // R461: a middleware uses only what it inherits, and is one.
    let middleware = |wasm: &str, inherited: &str| {
        let wasm = wasm_directory().join(wasm).canonicalize().unwrap();
        let manifest = format!(
            r#"
spin_manifest_version = 2
[application]
name = "composed"
[[trigger.http]]
route = "/..."
component = "other"
dependencies.middleware = [{{ path = "{}"{inherited} }}]
[component.other]
source = "../../target/wasm32-wasip1/release/trap.wasm"
"#,
            wasm.display()
        );
        Start::trap(&manifest).fails()
    };
    for (inherited, missing) in [
        ("", "allowed_outbound_hosts"),
        (", inherit_configuration = false", "allowed_outbound_hosts"),
        (", inherit_configuration = [\"allowed_outbound_hosts\"]", "variables"),
    ] {
        let said = middleware("guard_middleware.wasm", inherited);
        assert!(said.contains(&format!("`inherit_configuration` must name \"{missing}\"")), "{said}");
    }
    let said = middleware("trap.wasm", ", inherit_configuration = true");
    assert!(said.contains("in component other") && said.contains("wasi:http/handler@0.3.0"), "{said}");
    let config = |text: &str| {
        let start = Start::trap(&trap_manifest());
        let path = start.home().join("runtime-config.toml");
        fs::write(&path, text).unwrap();
        start.flag("--runtime-config-file", path).fails()
    };
    assert!(config("[llm_compute]\ntype = \"spin\"\n").contains("llm_compute"));
    assert!(config("[sqlite_database.default]\ntype = \"libsql\"\nurl = \"https://x\"\n").contains("libsql"));
}

/// R70: a client that begins a request and does not end it is disconnected, and delays nobody meanwhile.
#[test]
fn a_head_that_does_not_end_is_timed_out() {
    let host = host();
    let mut slow = Connection::open(host.address()).unwrap();
    slow.send(b"GET /one/who HTTP/1.1\r\nhost: x\r\nx-half: ").unwrap();
    let mut silent = Connection::open(host.address()).unwrap();
    assert_eq!(who(&host.client(), "/one/who"), "one");
    // The reads end when the host closes; `Connection` itself gives up much later.
    assert!(silent.rest().is_ok());
    assert!(slow.rest().is_ok());
}

/// R164: a head is bounded. A client that sends more sees that, or the end of the connection while it still sends.
#[test]
fn a_head_that_is_too_large_is_refused() {
    let host = host();
    let ask = |length: usize| {
        let long = "x".repeat(length);
        host.client().try_call("GET", "/one/who", &[("x-long", &long)], None).map(|answer| answer.status())
    };
    assert_eq!(ask(40_000), Ok(200));
    assert!(matches!(ask(200_000), Ok(431) | Err(_)));
    assert_eq!(ask(1), Ok(200));
}

#[test]
fn a_request_may_be_given_a_time_until_its_response_begins() {
    let host = Start::trap(&trap_manifest()).flag("--request-timeout", "2s").run();
    let answer = host.client().get("/bare/slow?ms=20000");
    assert!(answer.status() >= 500, "{answer:?}");
    assert_eq!(host.client().get("/bare/slow?ms=1").status(), 200);
}

/// R69: a clean stop ends nothing that runs.
#[test]
fn a_stop_finishes_what_runs_and_takes_nothing_new() {
    let mut host = Start::trap(&trap_manifest()).run();
    let client = host.client();
    let mut idle = Connection::open(host.address()).unwrap();
    idle.send(b"GET /bare/count HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    idle.response(false).unwrap();
    let running = thread::spawn({
        let client = client.clone();
        move || client.get("/bare/slow?ms=1500")
    });
    until_logged(&host, "slow: begun");
    host.terminate();
    until("new connections to be refused", || client.try_call("GET", "/bare/count", &[], None).is_err().then_some(()));
    running.join().unwrap().is(200);
    assert!(host.ended().success());
    assert!(idle.rest().unwrap_or_default().is_empty());
}

#[test]
fn bodies_arrive_whole_however_they_are_sent() {
    let host = host();
    let address = host.address();
    let body = vec![b'x'; 1_000_000];
    let answer = raw::exchange(address, &raw::request("POST", "/bare/body", address, &[], Some(&body))).unwrap();
    assert_eq!(answer.body, b"{\"bytes\":1000000}");
    let chunked = b"POST /bare/body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(raw::exchange(address, chunked).unwrap().body, b"{\"bytes\":5}");
    let mut connection = Connection::open(address).unwrap();
    connection
        .send(b"POST /bare/body HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
        .unwrap();
    connection.send(b"abcd").unwrap();
    assert_eq!(connection.response(false).unwrap().body, b"{\"bytes\":4}");
    // The same connection serves the next request, and HEAD has no body.
    connection
        .send(b"HEAD /bare/count HTTP/1.1\r\nhost: x\r\n\r\nGET /bare/count HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    assert_eq!(connection.response(true).unwrap().status, 200);
    assert_eq!(connection.response(false).unwrap().status, 200);
}

/// A request that can be read in two ways is refused: one of the two might be somebody else's.
#[test]
fn an_ambiguous_request_is_refused() {
    let host = host();
    for (what, head) in [
        ("two lengths", "content-length: 3\r\ncontent-length: 5\r\n"),
        ("a length that is none", "content-length: +3\r\n"),
        ("a folded header", "x-a: 1\r\n folded: 2\r\n"),
        ("a blank before the colon", "content-length : 3\r\n"),
    ] {
        let request = format!("POST /bare/body HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\nabc");
        let answer = raw::exchange(host.address(), request.as_bytes()).unwrap();
        assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
    }
    // Where both are there, chunks count (RFC 9112, section 6.3), and the connection ends.
    let both = b"POST /bare/body HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /one/who HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut connection = Connection::open(host.address()).unwrap();
    connection.send(both).unwrap();
    let first = connection.response(false).unwrap();
    assert!(first.status == 400 || first.body == b"{\"bytes\":0}", "{first:?}");
}

#[test]
fn without_the_switch_the_host_says_its_routes() {
    let host = host();
    let program = tests::host::program();
    let mut child = std::process::Command::new(program)
        .arg("--from")
        .arg(host.home().join("spin.toml"))
        .args(["--listen", "127.0.0.1:0", "--state-dir", ""])
        .env("TMPDIR", host.home())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    let (start, mut piece) = (Instant::now(), [0; 4096]);
    while !said.contains("private:") && start.elapsed() < PATIENCE {
        let read = stderr.read(&mut piece).unwrap();
        assert!(read > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.contains("Serving http://127.0.0.1:") && said.contains("/one/..."), "{said}");
}

/// R306: a log that cannot be written ends no host, neither at its start nor later.
#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let host = Start::trap(&trap_manifest()).after("exec 2>/dev/full").run();
    let client = host.client();
    // The host says of each that it has failed.
    assert_eq!(client.get("/other/trap").status(), 500);
    assert_eq!(client.get("/other/trap").status(), 500);
    assert_eq!(who(&client, "/other/who"), "other");
}
