//! Webhooks over HTTP: from a change of one component through the tick to receivers that speak TLS, good ones and bad ones.

use std::{path::Path, process::Stdio, time::Instant};

use serde_json::{Value as Json, json};
use tests::{
    Client, GIVEN_UP, Server, packages,
    process::asking,
    server::{KEY, text},
    sink::{Reply, Sink, THIS_MACHINE},
    until,
};

const WEBHOOKS: &str = "/api/webhooks";

fn stage() -> (Sink, Server, Client) {
    let sink = Sink::new();
    let server = sink.allowed().start();
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
    assert_eq!(
        (got.header("content-length"), got.header("transfer-encoding")),
        (got.raw.len().to_string().as_str(), "")
    );
    assert!(got.header("webhook-signature").starts_with("v1,") && got.header("webhook-id") == text(&got.body["id"]));
    until("the delivery", || (server.texts("SELECT state FROM deliveries") == ["sent"]).then_some(()));
}

/// R241: a receiver that asks for patience gets it, an hour at most; nobody else's header counts.
#[test]
fn a_receiver_that_asks_for_patience_gets_it() {
    for (status, asked, least, most) in [
        (429, "600", 595, 600),
        (503, "100000", 3_595, 3_600),
        (500, "600", 0, 5),
        (429, "Wed, 21 Oct 2015 07:28:00 GMT", 0, 5),
    ] {
        let (sink, server, admin) = stage();
        server.agent(&admin, "scout", &["agents.read"]);
        webhook(&sink, &admin, "/in", &["scout"]);
        sink.will(&[Reply::Later(status, asked)]);
        admin.post("/api/agents/scout/stop", &json!({})).is(200);
        let waits = until("the failure", || {
            server.tick();
            server.texts("SELECT '' || ((due_at - (SELECT max(created_at) FROM deliveries)) / 1000) FROM deliveries WHERE tries = 1").pop()
        });
        let waits: i64 = waits.parse().unwrap();
        // The try itself took its time.
        assert!((least..=most + 10).contains(&waits), "{status} {asked}: {waits}");
    }
}

/// R424: the host refuses a private address behind a name that the operator allows, however it is written, at each try; nothing arrives.
#[test]
fn a_webhook_reaches_no_private_address() {
    let sink = Sink::new();
    let allowed: Vec<String> = THIS_MACHINE.iter().map(|host| format!("{host}:*")).collect();
    let server = Server::settings()
        .variable("secrets_key", KEY)
        .variable("outbound_hosts", &format!("{} 169.254.169.254", allowed.join(" ")))
        .flag("--runtime-config-file", &sink.runtime_config().to_string_lossy())
        .start();
    let admin = server.bootstrap();
    server.agent(&admin, "scout", &["agents.read"]);
    let port = sink.address().replace("localhost:", "");
    let urls = THIS_MACHINE.map(|host| format!("https://{host}:{port}/in"));
    let urls = urls.iter().map(String::as_str).chain(["https://169.254.169.254/latest/meta-data/"]);
    let mut made: Vec<(&str, String)> = urls
        .map(|url| {
            let body = json!({ "url": url, "name": url, "kinds": ["agent.*"] });
            (url, text(&admin.post(WEBHOOKS, &body).is(201)["id"]).to_owned())
        })
        .collect();
    // An event goes to all of them, and by hand one of them is tried at once.
    admin.post("/api/agents/scout/pause", &json!({})).is(200);
    for (url, id) in &made {
        admin.post(&format!("{WEBHOOKS}/{id}/test"), &json!({})).is(202);
        let failed = until(url, || {
            server.tick();
            let list = admin.get(&format!("{WEBHOOKS}/{id}/deliveries")).is(200);
            let all = list["items"].as_array().cloned().unwrap_or_default();
            (all.len() == 2 && all.iter().all(|one| one["tries"] != 0 && !one["error"].is_null())).then_some(all)
        });
        for one in &failed {
            let error = text(&one["error"]);
            assert!(error.contains("(DestinationIpProhibited)") || error.contains("(Dns"), "{url}: {one}");
            assert_eq!((&one["state"], &one["status"]), (&json!("due"), &Json::Null), "{url}: {one}");
        }
    }
    let prohibited = made.split_off(THIS_MACHINE.len());
    let list = admin.get(&format!("{WEBHOOKS}/{}/deliveries", prohibited[0].1)).is(200);
    assert!(text(&list["items"][0]["error"]).contains("(DestinationIpProhibited)"), "{list}");
    assert!(sink.received().is_empty());
    for (url, status, slug) in [
        ("https://example.com/", 403, "host_not_allowed"),
        ("https://auth.spin.internal/api/auth/whoami", 403, "host_not_allowed"),
        ("https://self.alt/internal/tick", 403, "host_not_allowed"),
        ("http://localhost/", 400, "invalid_outbound_url"),
        ("https://user@localhost/", 400, "invalid_outbound_url"),
        ("https://localhost./", 400, "invalid_outbound_url"),
        ("https://\u{24db}ocalhost/", 400, "invalid_outbound_url"),
    ] {
        admin.post(WEBHOOKS, &json!({ "url": url, "name": "bad" })).refused(status, slug);
    }
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

/// R116, R195: a receiver that lies about the length of its answer, either way, or never ends it, has answered: the status decides. What was read
/// is kept up to 2 KB, and nobody waits for it.
#[test]
fn receivers_that_lie_about_their_length_cost_nothing() {
    let (sink, server, admin) = stage();
    server.agent(&admin, "scout", &["agents.read"]);
    let made = webhook(&sink, &admin, "/liar", &["scout"]);
    let path = format!("{WEBHOOKS}/{}", text(&made["id"]));
    for (what, reply, answer) in [
        ("longer than it is", Reply::Length(5_000, "short"), Some("short".to_owned())),
        ("shorter than it is", Reply::Length(2, "longer"), Some("lo".to_owned())),
        ("longer than any", Reply::Length(usize::MAX, "short"), None),
        ("chunks that never end", Reply::Chunks(1), Some("x".repeat(1_024))),
        ("many chunks that never end", Reply::Chunks(64), Some("x".repeat(2_048))),
    ] {
        sink.answers("/liar", reply);
        let queued = admin.post(&format!("{path}/test"), &json!({})).is(202);
        let ended = until(what, || {
            let list = admin.get(&format!("{path}/deliveries")).is(200);
            let all = list["items"].as_array()?;
            all.iter()
                .find(|one| one["id"] == queued["delivery_id"] && one["tries"] == 1 && one["due_at"] != one["at"])
                .cloned()
                .filter(|one| one["state"] != "due" || !one["error"].is_null())
        });
        match answer {
            Some(answer) => assert_eq!(
                (&ended["state"], &ended["status"], &ended["answer"]),
                (&json!("sent"), &json!(200), &json!(answer)),
                "{what}"
            ),
            None => assert!(ended["answer"].as_str().is_none_or(|kept| kept.len() <= 2_048), "{what}: {ended}"),
        }
    }
    // The server is as well as before.
    sink.answers("/liar", Reply::Status(200, "{}"));
    admin.post("/api/agents/scout/pause", &json!({})).is(200);
    until("the next event", || {
        sink.received().iter().any(|one| one.body["kind"] == "agent.state_changed").then_some(())
    });
}

/// R115: what is sent is signed as the library of Standard Webhooks for Python verifies it, and nothing else: the list of packages pins it.
#[test]
fn a_real_library_verifies_what_is_sent() {
    const VERIFY: &str = "import sys, standardwebhooks as s; h = dict(zip(sys.argv[2::2], sys.argv[3::2])); \
                          s.Webhook(sys.argv[1]).verify(sys.stdin.buffer.read().decode(), h)";
    let packages = packages::pypi(Path::new(env!("CARGO_TARGET_TMPDIR")), "webhooks").join("packages");
    let (sink, server, admin) = stage();
    server.agent(&admin, "scout", &["agents.read"]);
    let made = webhook(&sink, &admin, "/in", &["scout"]);
    admin.post("/api/agents/scout/pause", &json!({})).is(200);
    let got = until("the event", || sink.received().into_iter().next());
    let changed = [got.raw.as_slice(), b" "].concat();
    let (secret, another) = (text(&made["secret"]), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    for (secret, body, is_good) in [(secret, &got.raw, true), (secret, &changed, false), (another, &got.raw, false)] {
        let mut command = asking("python3");
        command.env("PYTHONPATH", &packages).args(["-c", VERIFY, secret]);
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            command.args([name, got.header(name)]);
        }
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("python3");
        std::io::Write::write_all(&mut child.stdin.take().expect("its input"), body).expect("to write the body");
        let output = child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), is_good, "{said}");
        assert!(is_good || said.contains("WebhookVerificationError"), "{said}");
    }
}
