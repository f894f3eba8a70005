//! Webhooks over HTTP: from a change of one component through the tick to receivers that speak TLS, good ones and bad ones.

use std::time::Instant;

use serde_json::{Value as Json, json};
use tests::{
    Client, GIVEN_UP, Server,
    server::{KEY, text},
    sink::{Reply, Sink},
    until,
};

const WEBHOOKS: &str = "/api/webhooks";

fn stage() -> (Sink, Server, Client) {
    let sink = Sink::new();
    let server = Server::settings()
        .variable("outbound_hosts", &sink.address())
        .variable("secrets_key", KEY)
        .flag("--runtime-config-file", &sink.runtime_config().to_string_lossy())
        .flag("--allow-private", &sink.address())
        .start();
    let admin = server.bootstrap();
    (sink, server, admin)
}

fn webhook(sink: &Sink, admin: &Client, path: &str, agents: &[&str]) -> Json {
    let url = format!("https://{}{path}", sink.address());
    admin.post(WEBHOOKS, &json!({ "url": url, "name": path, "kinds": ["agent.*"], "agents": agents })).is(201)
}

/// R115: a stop of one component reaches a receiver, signed.
#[test]
fn a_stop_reaches_a_receiver() {
    let (sink, server, admin) = stage();
    server.agent(&admin, "scout", &["agents.read"]);
    webhook(&sink, &admin, "/in", &["scout"]);
    admin.post("/api/agents/scout/stop", &json!({})).is(200);
    let got = until("the event at the receiver", || {
        server.tick();
        sink.received().into_iter().find(|one| one.body["kind"] == "agent.state_changed")
    });
    assert_eq!(got.line, "POST /in");
    assert_eq!((&got.body["data"]["step"], &got.body["agent"]["name"]), (&json!("stop"), &json!("scout")));
    assert!(got.header("webhook-signature").starts_with("v1,") && got.header("webhook-id") == text(&got.body["id"]));
    until("the delivery", || (server.texts("SELECT state FROM deliveries") == ["sent"]).then_some(()));
}

/// R116: a receiver that never answers, one whose answer never ends and one that redirects hold up no other.
#[test]
fn bad_receivers_hold_up_no_other() {
    let (bad, server, admin) = stage();
    for name in ["one", "two"] {
        server.agent(&admin, name, &["agents.read"]);
    }
    let slow = webhook(&bad, &admin, "/slow", &["one"]);
    bad.will(&[Reply::Silence]);
    admin.post("/api/agents/one/pause", &json!({})).is(200);
    until("the request that is not answered", || {
        server.tick();
        (!bad.received().is_empty()).then_some(())
    });
    webhook(&bad, &admin, "/quick", &["two"]);
    bad.will(&[Reply::Redirect("https://localhost:1/".to_owned())]);
    let begun = Instant::now();
    admin.post("/api/agents/two/pause", &json!({})).is(200);
    until("the redirect", || {
        server.tick();
        let errors = server.texts("SELECT error FROM deliveries WHERE status = 302");
        (errors == ["the receiver answered 302: redirects are not followed"]).then_some(())
    });
    assert!(begun.elapsed() < GIVEN_UP, "not behind the slow one: {:?}", begun.elapsed());
    assert_eq!(bad.received().len(), 2, "no redirect is followed");
    // The one that never answered is given up, and tried again later.
    until("the time of the slow one", || {
        let list = admin.get(&format!("{WEBHOOKS}/{}/deliveries", text(&slow["id"]))).is(200);
        list["items"][0]["error"].as_str().is_some_and(|error| error.starts_with("no answer")).then_some(())
    });
}

/// R156: the components that change something wake the worker: no tick is needed.
#[test]
fn receivers_have_events_without_a_tick() {
    let (sink, server, admin) = stage();
    let url = format!("https://{}/in", sink.address());
    let scout = server.agent(&admin, "scout", &["agents.read", "ui.notify"]);
    admin.post(WEBHOOKS, &json!({ "url": url })).is(201);
    let mut seen = 0;
    for (kind, ask) in [
        ("agent.state_changed", &(|| drop(admin.post("/api/agents/scout/pause", &json!({})).is(200))) as &dyn Fn()),
        ("agent.state_changed", &|| drop(admin.post("/api/agents/scout/resume", &json!({})).is(200))),
        ("agent.key_created", &|| drop(admin.post("/api/agents/scout/keys", &json!({ "name": "ci" })).is(201))),
        ("message", &|| drop(admin.post("/api/agents/scout/messages", &json!({ "text": "hi" })).is(201))),
        ("notification", &|| {
            drop(scout.client.post("/api/ui/notify", &json!({ "title": "t", "body": "b" })).is(201));
        }),
        ("user.created", &|| {
            let body = json!({ "email": "max@example.com", "name": "Max", "invite": false });
            drop(admin.post("/api/users", &body).is(201));
        }),
    ] {
        ask();
        let begun = Instant::now();
        until(kind, || sink.received().get(seen..)?.iter().any(|one| one.body["kind"] == kind).then_some(()));
        println!("{kind}: {:?}", begun.elapsed());
        seen = sink.received().len();
    }
}

/// R115: what is sent is signed as the library of Standard Webhooks for Python verifies it, where that is installed.
#[test]
fn a_real_library_verifies_what_is_sent() {
    let python = |code: &str, arguments: &[&str], input: &[u8]| -> Option<std::process::Output> {
        let mut child = std::process::Command::new("python3")
            .args(["-c", code])
            .args(arguments)
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .ok()?;
        std::io::Write::write_all(&mut child.stdin.take()?, input).ok()?;
        child.wait_with_output().ok()
    };
    if !python("import standardwebhooks", &[], b"").is_some_and(|output| output.status.success()) {
        eprintln!("left out: no standardwebhooks for python3 here");
        return;
    }
    let (sink, server, admin) = stage();
    server.agent(&admin, "scout", &["agents.read"]);
    let made = webhook(&sink, &admin, "/in", &["scout"]);
    admin.post("/api/agents/scout/pause", &json!({})).is(200);
    let got = until("the event", || sink.received().into_iter().next());
    const VERIFY: &str = "import sys, standardwebhooks as s; h = dict(zip(sys.argv[2::2], sys.argv[3::2])); \
                          s.Webhook(sys.argv[1]).verify(sys.stdin.buffer.read().decode(), h)";
    for (secret, is_good) in [(text(&made["secret"]), true), ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", false)] {
        let mut arguments = vec![secret];
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            arguments.extend([name, got.header(name)]);
        }
        let output = python(VERIFY, &arguments, &got.raw).unwrap();
        assert_eq!(output.status.success(), is_good, "{}", String::from_utf8_lossy(&output.stderr));
    }
}
