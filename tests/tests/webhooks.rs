//! Webhooks over HTTP: from a change of one component through the tick to receivers that speak TLS, good ones and bad ones.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tests::{
    Client, Server,
    server::text,
    sink::{Reply, Sink},
    until,
};

const WEBHOOKS: &str = "/api/webhooks";

fn stage() -> (Sink, Server, Client) {
    let sink = Sink::new();
    let server = Server::settings()
        .variable("outbound_hosts", &sink.address())
        .variable("secrets_key", "a-key-of-the-operator-that-is-long-enough")
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

/// R115: a stop of one component reaches a receiver, signed, within two seconds of the tick.
#[test]
fn a_stop_reaches_a_receiver() {
    let (sink, server, admin) = stage();
    server.agent(&admin, "scout", &["agents.read"]);
    webhook(&sink, &admin, "/in", &["scout"]);
    admin.post("/api/agents/scout/stop", &json!({})).is(200);
    let begun = Instant::now();
    let got = until("the event at the receiver", || {
        server.tick();
        sink.received().into_iter().find(|one| one.body["kind"] == "agent.state_changed")
    });
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
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
    assert!(begun.elapsed() < Duration::from_secs(4), "not behind the slow one: {:?}", begun.elapsed());
    assert_eq!(bad.received().len(), 2, "no redirect is followed");
    // The one that never answered is given up, and tried again later.
    until("the time of the slow one", || {
        let list = admin.get(&format!("{WEBHOOKS}/{}/deliveries", text(&slow["id"]))).is(200);
        list["items"][0]["error"].as_str().is_some_and(|error| error.starts_with("no answer")).then_some(())
    });
}
