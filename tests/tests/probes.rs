//! Secrets and probes over HTTP: through the real components and host to servers that speak TLS.

#![expect(clippy::indexing_slicing, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::time::Instant;

use serde_json::{Value as Json, json};
use tests::{
    Agent, Client, GIVEN_UP, PATIENCE, Server,
    process::asking,
    server::{KEY, Settings, text},
    sink::{Reply, Sink, THIS_MACHINE},
    until,
};

const VALUE: &str = "ghp_0123456789abcdefghij";
const VALUES: &str = "/api/agents/me/secrets/values";

struct Stage {
    sink: Sink,
    server: Server,
    admin: Client,
    scout: Agent,
}

fn stage_of(settings: Settings, sink: Sink) -> Stage {
    let server = settings.start();
    let admin = server.bootstrap();
    let scout = server.agent(&admin, "scout", &["agents.*"]);
    admin.put("/api/agents/scout/secrets", &json!({ "secrets": { "GITHUB_TOKEN": VALUE } })).is(200);
    Stage { sink, server, admin, scout }
}

fn stage() -> Stage {
    let sink = Sink::new();
    stage_of(sink.allowed(), sink)
}

impl Stage {
    fn probe(&self, more: &Json) -> String {
        let mut body = json!({ "name": "github", "url": format!("https://{}/user", self.sink.address()), "secret": "GITHUB_TOKEN" });
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        let made = self.admin.post("/api/agents/scout/probes", &body).is(201);
        format!("/api/agents/scout/probes/{}", text(&made["id"]))
    }

    fn run(&self, probe: &str) -> Json {
        self.server.execute("UPDATE probes SET busy_until = 0");
        self.admin.post(&format!("{probe}/run"), &json!({})).is(200)
    }
}

/// R113: each service's own answer, over the wire, in the result, the fix, the doctor, and in nobody's log with the secret.
#[test]
fn a_probe_tells_what_the_other_server_says() {
    let stage = stage();
    let probe = stage.probe(&json!({ "scheme": "token" }));
    for (status, body, found, words) in [
        (200, r#"{"login":"octocat"}"#, "ok", "answered 200."),
        (
            401,
            r#"{"message":"Bad credentials","documentation_url":"https://docs.github.com/rest","status":"401"}"#,
            "unauthorized",
            "Bad credentials",
        ),
        (
            403,
            r#"{"message":"token does not have at least one of required scope(s), required=[read:user], token scope=write:repository","url":"https://git.example.com/api/swagger"}"#,
            "forbidden",
            "required=[read:user]",
        ),
        (
            403,
            r#"{"error":"insufficient_scope","error_description":"The request requires higher privileges than provided by the access token.","scope":"api read_api"}"#,
            "forbidden",
            "higher privileges than provided",
        ),
        (200, r#"{"ok":false,"error":"invalid_auth"}"#, "unauthorized", "invalid_auth"),
        (
            200,
            r#"{"ok":false,"error":"missing_scope","needed":"chat:write","provided":"identify"}"#,
            "forbidden",
            "needed: chat:write",
        ),
        (
            401,
            r#"{"error":{"message":"Incorrect API key provided: ghp_0123456789abcdefghij.","code":"invalid_api_key"}}"#,
            "unauthorized",
            "Incorrect API key provided: [removed]",
        ),
        (500, "", "unexpected", "answered 500, and 200 is expected."),
    ] {
        stage.sink.will(&[Reply::Status(status, body)]);
        let ran = stage.run(&probe);
        assert_eq!((&ran["status"], &ran["http_status"]), (&json!(found), &json!(status)), "{ran}");
        assert!(text(&ran["detail"]).contains(words), "{ran}");
        assert!(found == "ok" || text(&ran["fix"]).contains(words), "{ran}");
    }
    let received = stage.sink.received();
    assert_eq!(received.len(), 8);
    for request in &received {
        assert_eq!(request.line, "GET /user");
        assert_eq!(request.header("authorization"), format!("token {VALUE}"));
        assert_eq!(
            (request.header("user-agent"), request.header("host")),
            ("accredit-probe", stage.sink.address().as_str())
        );
    }
    let doctor = stage.scout.client.get("/api/auth/doctor").is(200);
    let check =
        doctor["checks"].as_array().and_then(|checks| checks.iter().find(|check| check["check"] == "probe")).cloned();
    assert_eq!(check.map(|check| check["status"].clone()), Some(json!("unreachable")), "{doctor}");
    assert_eq!(doctor["overall"], "warn", "somebody else's outage is none of ours");
    let log = stage.server.host().log();
    assert!(!log.contains(VALUE), "{log}");
}

/// R113: whatever the other server does, the answer comes in time and is bounded, and nobody else waits.
#[test]
fn a_server_that_misbehaves_is_no_outage_of_ours() {
    let stage = stage();
    let probe = stage.probe(&json!({}));
    let elsewhere = Sink::new();
    for (reply, found) in [
        (Reply::Redirect(format!("https://{}/", elsewhere.address())), "unexpected"),
        (Reply::Redirect("https://169.254.169.254/latest/meta-data/".to_owned()), "unexpected"),
        (Reply::Silence, "unreachable"),
        (Reply::Endless, "unexpected"),
    ] {
        stage.sink.will(std::slice::from_ref(&reply));
        let (begun, before) = (Instant::now(), stage.sink.received().len());
        std::thread::scope(|scope| {
            let running = scope.spawn(|| stage.run(&probe));
            until("the request at the sink", || (stage.sink.received().len() > before).then_some(()));
            let asked = Instant::now();
            stage.scout.client.get("/api/auth/whoami").is(200);
            assert!(asked.elapsed() < GIVEN_UP, "{reply:?}");
            let ran = running.join().unwrap_or_default();
            assert_eq!(ran["status"], found, "{reply:?}: {ran}");
        });
        assert!(begun.elapsed() < PATIENCE, "{reply:?}: {:?}", begun.elapsed());
    }
    assert!(elsewhere.received().is_empty(), "no redirect is followed");
}

/// R114: the host refuses a private address behind an allowed name, and the guest what the operator did not allow.
#[test]
fn a_probe_reaches_no_private_address() {
    let sink = Sink::new();
    let stage = stage_of(
        Server::settings()
            .variable("secrets_key", KEY)
            .variable("outbound_hosts", "localhost:* 127.0.0.1:* [::1]:* [::ffff:127.0.0.1]:* 2130706433:* 0x7f.1:* 0177.0.0.1:* 169.254.169.254 [64:ff9b::7f00:1]:* [2002:7f00:1::1]:*")
            .flag("--runtime-config-file", &sink.runtime_config().to_string_lossy()),
        sink,
    );
    let port = stage.sink.address().replace("localhost:", "");
    for (at, host) in THIS_MACHINE.iter().enumerate() {
        let probe = stage.probe(&json!({ "name": format!("p{at}"), "url": format!("https://{host}:{port}/") }));
        let ran = stage.run(&probe);
        assert_eq!(ran["status"], "unreachable", "{host}: {ran}");
        let detail = text(&ran["detail"]);
        assert!(detail.contains("DestinationIpProhibited") || detail.contains("Dns"), "{host}: {ran}");
    }
    let metadata = stage.probe(&json!({ "name": "metadata", "url": "https://169.254.169.254/latest/meta-data/" }));
    assert!(text(&stage.run(&metadata)["detail"]).contains("DestinationIpProhibited"));
    assert!(stage.sink.received().is_empty());
    for (url, status, slug) in [
        ("https://example.com/", 403, "host_not_allowed"),
        ("https://auth.spin.internal/api/auth/whoami", 403, "host_not_allowed"),
        ("https://self.alt/internal/tick", 403, "host_not_allowed"),
        ("http://localhost/", 400, "invalid_outbound_url"),
        ("https://user@localhost/", 400, "invalid_outbound_url"),
        ("https://localhost./", 400, "invalid_outbound_url"),
        ("https://\u{24db}ocalhost/", 400, "invalid_outbound_url"),
    ] {
        let body = json!({ "name": "bad", "url": url, "secret": "GITHUB_TOKEN" });
        stage.admin.post("/api/agents/scout/probes", &body).refused(status, slug);
    }
}

/// The tick of several hosts runs a due probe once, and tells the owner and the agent what has changed.
#[test]
fn due_probes_are_run_once_over_two_hosts() {
    let stage = stage();
    stage.probe(&json!({ "every_hours": 1 }));
    stage.sink.will(&[Reply::Status(401, r#"{"message":"Bad credentials"}"#)]);
    let second = stage.server.second();
    std::thread::scope(|scope| {
        for host in [&stage.server, &second, &stage.server, &second] {
            scope.spawn(move || host.tick());
        }
    });
    until("a result", || {
        stage.server.tick();
        (stage.server.texts("SELECT ifnull(status, '') FROM probes") == ["unauthorized"]).then_some(())
    });
    second.tick();
    assert_eq!(stage.sink.received().len(), 1);
    let inbox = stage.scout.client.get("/api/agents/me/inbox").is(200);
    let kinds: Vec<&str> = inbox["items"].as_array().into_iter().flatten().map(|event| text(&event["type"])).collect();
    assert_eq!(kinds, ["secret_changed", "probe_failed"]);
    let told = stage.admin.get("/api/notifications").is(200);
    assert_eq!(told["items"][0]["title"], "The probe github of scout fails");
    // The next run is due in an hour, and mends it.
    stage.server.execute("UPDATE probes SET due_at = 0, busy_until = 0");
    until("a recovery", || {
        stage.server.tick();
        (stage.server.texts("SELECT status FROM probes") == ["ok"]).then_some(())
    });
    let inbox = stage.scout.client.get("/api/agents/me/inbox").is(200);
    assert_eq!(inbox["items"][2]["type"], "probe_recovered");
}

/// R111: a plain shell puts the values into a process; what a value holds is not run.
#[test]
fn a_shell_starts_a_process_with_the_agents_secrets() {
    let stage = stage();
    let odd = "it's $(touch /nowhere/x) `id` \\ \"q\"\nsecond line\n";
    stage.admin.put("/api/agents/scout/secrets/ODD", &json!({ "value": odd })).is(200);
    let script = r#"set -eu
        secrets=$(curl -fsS "$ACCREDIT_URL/api/agents/me/secrets/values?format=env" -H "Authorization: Bearer $ACCREDIT_TOKEN")
        eval "$secrets"
        unset secrets ACCREDIT_TOKEN
        exec sh -c 'printf "%s|%s|" "$GITHUB_TOKEN" "$ODD"'"#;
    let out = asking("sh")
        .args(["-c", script])
        .env("ACCREDIT_URL", stage.server.host().base_url())
        .env("ACCREDIT_TOKEN", stage.scout.client.bearer())
        .output()
        .unwrap_or_else(|error| panic!("no shell: {error}"));
    assert_eq!(String::from_utf8_lossy(&out.stdout), format!("{VALUE}|{odd}|"), "{out:?}");
    assert!(out.stderr.is_empty(), "{out:?}");
    stage.admin.post("/api/agents/scout/stop", &Json::Null).is(200);
    stage.scout.client.get(VALUES).refused(403, "agent_stopped");
}

/// R2, R48, R111: a value is in no file, no log and no other answer, through a crash and a change of the operator's key.
#[test]
fn a_value_is_nowhere_in_clear_and_survives_a_new_key() {
    const NEW: &str = "a-new-key-of-the-operator-that-is-long";
    let Stage { sink, mut server, scout, .. } = stage();
    server.kill_and_restart();
    let whole = json!({ "secrets": { "GITHUB_TOKEN": VALUE } });
    let read = |server: &Server| server.with(scout.client.bearer()).get(VALUES).is(200);
    assert_eq!(read(&server), whole);
    let both = sink.allowed().variable("secrets_key", &format!("{NEW},{KEY}")).on(server.state()).start();
    let key = "SELECT hex(substr(sealed, 1, 8)) FROM agent_secrets";
    let old = server.texts(key);
    until("another key", || {
        both.tick();
        (server.texts(key) != old).then_some(())
    });
    tests::host::until_logged(both.host(), "1 secrets were sealed under the first key; none is left under that key");
    let only = sink.allowed().variable("secrets_key", NEW).on(server.state()).start();
    assert_eq!(read(&only), whole);
    server.with(scout.client.bearer()).get(VALUES).refused(503, "secrets_disabled");

    let admin = only.sign_in("ada@example.com", None);
    for path in [
        "/api/agents/scout/secrets",
        "/api/agents/scout/secrets/GITHUB_TOKEN",
        "/api/agents/scout",
        "/api/audit",
        "/api/agents/scout/export",
    ] {
        let answer = admin.get(path);
        assert!(answer.status() == 200 && !answer.text().contains(VALUE), "{path}: {}", answer.text());
    }
    let inbox = only.with(scout.client.bearer()).get("/api/agents/me/inbox").text();
    assert!(!inbox.contains(VALUE), "{inbox}");
    for host in [&server, &both, &only] {
        assert!(!host.host().log().contains(VALUE) && !host.host().log().contains(KEY));
    }
    for name in ["sqlite_db.db", "sqlite_db.db-wal"] {
        let file = std::fs::read(server.state().path().join(name)).unwrap_or_default();
        assert!(!file.windows(VALUE.len()).any(|window| window == VALUE.as_bytes()), "{name}");
    }
}
