//! R33: requests that GitHub's, Slack's and Standard Webhooks' own libraries sign at this moment become events of an agent.

#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value as Json, json};
use tests::{
    Answer, Client, Server, packages,
    raw::{self, Connection},
    server::text,
};

const BODY: &str = r#"{"type":"invoice.paid","data":{"id":"inv_1","text":"gr\u00fc\u00dfe \u2713"}}"#;

fn cache() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What GitHub's library signs.
fn github(secret: &str, body: &str) -> String {
    let folder = packages::npm(cache(), "hooks");
    said(Command::new("node").current_dir(folder).args(["sign.mjs", secret, body]))
}

/// What a library for Python signs.
fn python(kind: &str, secret: &str, at: &str, id: &str, body: &str) -> String {
    let folder = packages::pypi(cache(), "hooks");
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", folder.join("packages")).current_dir(&folder);
    said(command.args(["sign.py", kind, secret, at, id, body]))
}

/// Seconds since 1970, as the libraries write them.
fn seconds(ago: u64) -> String {
    (SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - ago).to_string()
}

fn send(to: &Client, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = [headers, &[("content-type", "application/json")]].concat();
    to.call("POST", path, &headers, Some(body.as_bytes()))
}

#[test]
fn what_the_senders_own_libraries_sign_is_taken() {
    let server = Server::settings().variable("secrets_key", "a-key-of-the-operator-that-is-long-enough").start();
    let admin = server.bootstrap();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let key = |kind: &str| {
        let made = admin.post("/api/agents/scout/keys", &json!({ "name": kind, "type": kind })).is(201);
        (format!("/api/hooks/{}", text(&made["id"])), text(&made["key"]).to_owned())
    };
    let world = server.nobody();

    let (path, secret) = key("github");
    let signature = github(&secret, BODY);
    let headers = [("x-hub-signature-256", &*signature), ("x-github-event", "issues"), ("x-github-delivery", "d-1")];
    send(&world, &path, &headers, &BODY.replace("inv_1", "inv_2")).refused(401, "hook_refused");
    send(&world, &path, &headers, BODY).is(202);
    assert_eq!(send(&world, &path, &headers, BODY).is(200)["duplicate"], true);

    let (path, secret) = key("slack");
    for (ago, status) in [(400, 401), (0, 200)] {
        let at = seconds(ago);
        let signature = python("slack", &secret, &at, "", BODY);
        let headers = [("x-slack-signature", &*signature), ("x-slack-request-timestamp", &at)];
        assert_eq!(send(&world, &path, &headers, BODY).status(), status, "slack, {ago} s ago");
    }

    let (path, secret) = key("standard");
    for (ago, status) in [(400, 401), (0, 202)] {
        let at = seconds(ago);
        let signature = python("standard", &secret, &at, "msg_1", BODY);
        let headers = [("webhook-id", "msg_1"), ("webhook-timestamp", &*at), ("webhook-signature", &signature)];
        assert_eq!(send(&world, &path, &headers, BODY).status(), status, "standard, {ago} s ago");
        // Of another request.
        let other = [("webhook-id", "msg_2"), headers[1], headers[2]];
        send(&world, &path, &other, BODY).refused(401, "hook_refused");
    }

    let inbox = scout.client.get("/api/agents/me/inbox").is(200);
    let events: Vec<&Json> =
        inbox["items"].as_array().unwrap().iter().filter(|event| event["type"] == "hook").collect();
    assert_eq!(events.len(), 3, "{inbox}");
    for event in events {
        assert_eq!(event["data"]["body"]["data"]["text"], "gr\u{fc}\u{df}e \u{2713}", "{event}");
    }
}

/// R510: what the senders' libraries sign with the former secret is taken through the grace that a rotation gave, and not after it.
#[test]
fn a_former_secret_is_taken_through_its_grace() {
    let server = Server::settings().variable("secrets_key", "a-key-of-the-operator-that-is-long-enough").start();
    let admin = server.bootstrap();
    server.agent(&admin, "scout", &["agents.read"]);
    let world = server.nobody();
    for kind in ["github", "slack"] {
        let made = admin.post("/api/agents/scout/keys", &json!({ "name": kind, "type": kind })).is(201);
        let path = format!("/api/hooks/{}", text(&made["id"]));
        let send = |secret: &str, number: i32| {
            let body = json!({ "number": number }).to_string();
            let at = seconds(0);
            match kind {
                "github" => send(&world, &path, &[("x-hub-signature-256", &*github(secret, &body))], &body),
                _ => {
                    let signature = python("slack", secret, &at, "", &body);
                    send(
                        &world,
                        &path,
                        &[("x-slack-signature", &*signature), ("x-slack-request-timestamp", &at)],
                        &body,
                    )
                }
            }
            .status()
        };
        let rotate = format!("/api/agents/scout/keys/{}/rotate", text(&made["id"]));
        let next = admin.post(&rotate, &json!({ "grace_seconds": 600 })).is(201);
        let taken = if kind == "github" { 202 } else { 200 };
        for (number, secret) in [&made, &next].into_iter().enumerate() {
            assert_eq!(send(text(&secret["key"]), number as i32), taken, "{kind}, {number}");
        }
        let last = admin.post(&rotate, &json!({})).is(201);
        for (number, (secret, status)) in [(&made, 401), (&next, 401), (&last, taken)].into_iter().enumerate() {
            assert_eq!(send(text(&secret["key"]), number as i32 + 2), status, "{kind}, {number}");
        }
    }
}

/// R58: a sender of too much reads why, also over a body of many times the limit: the connection is not closed while they send.
#[test]
fn a_sender_of_too_much_reads_the_refusal() {
    let server = Server::settings().variable("secrets_key", "a-key-of-the-operator-that-is-long-enough").start();
    let admin = server.bootstrap();
    server.agent(&admin, "scout", &["agents.read"]);
    let made = admin.post("/api/agents/scout/keys", &json!({ "name": "hub", "type": "github" })).is(201);
    let (path, address) = (format!("/api/hooks/{}", text(&made["id"])), admin.address().to_owned());
    let piece = vec![b'x'; 64 * 1024];
    for number in [17, 24, 160] {
        for is_declared in [true, false] {
            let length = (number * piece.len()).to_string();
            let framing =
                if is_declared { ("content-length", length.as_str()) } else { ("transfer-encoding", "chunked") };
            let headers = [("content-type", "application/json"), framing];
            let mut connection = Connection::open(&address).unwrap();
            connection.send(&raw::request("POST", &path, &address, &headers, None)).unwrap();
            for _ in 0..number {
                match is_declared {
                    true => connection.send(&piece).unwrap(),
                    false => {
                        connection.send(&[b"10000\r\n", piece.as_slice(), b"\r\n"].concat()).unwrap();
                    }
                }
            }
            if !is_declared {
                connection.send(b"0\r\n\r\n").unwrap();
            }
            let answer = Answer::new("too much", admin.base_url(), connection.response(false).unwrap());
            answer.refused(413, "body_too_large");
        }
    }
}
