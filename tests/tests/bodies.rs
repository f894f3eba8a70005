//! R58, R70: bodies as networks deliver them, at every component that reads one: whole, in single bytes, cut off half-way, ended
//! early, too long, badly framed, and left alone. Requests share an instance, so that one that fails takes others with it: every
//! request that still has a reader gets an answer with a body, and no instance fails.

use std::{thread, time::Duration};

use serde_json::json;
use tests::{Answer, Client, Server, at_once, raw, raw::Connection};

/// A route of every component that reads bodies, with a body that it refuses or accepts without a limit on how often.
fn targets() -> Vec<(&'static str, &'static str, String)> {
    let wide = "e".repeat(3_000);
    vec![
        ("POST", "/auth/introspect", format!("token={wide}")),
        ("POST", "/auth/token", json!({ "email": wide, "password": "wrong horse" }).to_string()),
        ("POST", "/auth/bootstrap", json!({ "secret": wide, "email": "a@example.com" }).to_string()),
        ("POST", "/auth/leaks", json!({ "token": wide }).to_string()),
        ("POST", "/auth/tokens", json!({ "name": wide, "scope": [] }).to_string()),
        ("POST", "/api/users", json!({ "email": wide, "name": "N", "role": "member" }).to_string()),
        ("POST", "/api/scopes/custom", json!({ "name": wide }).to_string()),
        ("POST", "/api/agents", json!({ "name": wide }).to_string()),
        ("PATCH", "/api/agents/scout", json!({ "description": wide }).to_string()),
        ("POST", "/api/agents/scout/keys", json!({ "name": wide }).to_string()),
        ("POST", "/api/agents/scout/messages", json!({ "text": wide, "unknown": true }).to_string()),
        ("POST", "/api/ui/notify", json!({ "title": wide }).to_string()),
    ]
}

/// How a body comes.
#[derive(Clone, Copy, Debug)]
enum Delivery {
    Whole,
    SingleBytes,
    SingleBytesSlowly,
    CutOff,
    EndedEarly,
    ChunksThatEndEarly,
    BadlyFramed,
    TooLong,
    HugeLength,
    NobodyReads,
}

const DELIVERIES: [Delivery; 10] = [
    Delivery::Whole,
    Delivery::SingleBytes,
    Delivery::SingleBytesSlowly,
    Delivery::CutOff,
    Delivery::EndedEarly,
    Delivery::ChunksThatEndEarly,
    Delivery::BadlyFramed,
    Delivery::TooLong,
    Delivery::HugeLength,
    Delivery::NobodyReads,
];

fn single_bytes(body: &str) -> Vec<u8> {
    let mut chunks = Vec::with_capacity(body.len() * 6);
    for byte in body.bytes() {
        chunks.extend_from_slice(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']);
    }
    chunks
}

fn half(bytes: &[u8]) -> &[u8] {
    bytes.get(..bytes.len() / 2).unwrap_or_default()
}

/// Sends one request, and gives the answer if the client waits for one and the connection was still good for it.
fn deliver(client: &Client, (method, path, body): &(&str, &str, String), how: Delivery) -> Option<Answer> {
    let authorization = format!("Bearer {}", client.bearer());
    let is_form = *path == "/auth/introspect";
    let content_type = if is_form { "application/x-www-form-urlencoded" } else { "application/json" };
    let common = [("authorization", authorization.as_str()), ("content-type", content_type)];
    let chunked = [common.as_slice(), &[("transfer-encoding", "chunked")]].concat();
    let whole = raw::request(method, path, client.address(), &common, Some(body.as_bytes()));
    let head = raw::request(method, path, client.address(), &chunked, None);
    let mut connection = Connection::open(client.address()).ok()?;
    // A request that could not be sent whole was refused before: then the answer counts.
    let mut send = |bytes: &[u8]| drop(connection.send(bytes));
    match how {
        Delivery::Whole => send(&whole),
        Delivery::SingleBytes => send(&[head, single_bytes(body), b"0\r\n\r\n".to_vec()].concat()),
        Delivery::SingleBytesSlowly => {
            send(&head);
            for piece in single_bytes(body).chunks(6 * 64) {
                send(piece);
                thread::sleep(Duration::from_millis(1));
            }
            send(b"0\r\n\r\n");
        }
        Delivery::CutOff => {
            send(half(&whole));
            return None;
        }
        Delivery::EndedEarly => {
            send(half(&whole));
            connection.end().ok()?;
        }
        Delivery::ChunksThatEndEarly => {
            send(&[head.as_slice(), half(&single_bytes(body))].concat());
            connection.end().ok()?;
        }
        Delivery::BadlyFramed => send(&[head.as_slice(), b"2\r\n{\"\r\nnot-a-length\r\n"].concat()),
        Delivery::TooLong => {
            let long = format!("{{\"x\":\"{}\"}}", "x".repeat(200_000));
            send(&raw::request(method, path, client.address(), &common, Some(long.as_bytes())));
        }
        Delivery::HugeLength => {
            let huge = [common.as_slice(), &[("content-length", "18446744073709551600")]].concat();
            send(&raw::request(method, path, client.address(), &huge, None));
        }
        Delivery::NobodyReads => {
            send(&whole);
            return None;
        }
    }
    let response = connection.response(false).ok()?;
    Some(Answer::new(&format!("{method} {path} {how:?}"), client.base_url(), response))
}

/// Whether a request that is delivered so has a right to an answer: the others may find their connection closed.
fn must_be_answered(how: Delivery) -> bool {
    matches!(how, Delivery::Whole | Delivery::SingleBytes | Delivery::SingleBytesSlowly | Delivery::HugeLength)
}

#[test]
fn however_bodies_come_no_instance_fails() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["ui.notify", "agents.message"]);
    let targets = targets();
    let answered = at_once(12, |number| {
        let mut answered = 0;
        for round in 0..3 * DELIVERIES.len() * targets.len() / 12 {
            // Numbers without a common divisor: in the end every way met every target, beside many others.
            let at = number * 31 + round * 7;
            let (Some(target), Some(how)) =
                (targets.get(at % targets.len()), DELIVERIES.get((at / targets.len() + number) % DELIVERIES.len()))
            else {
                continue;
            };
            let client = if target.1 == "/api/ui/notify" { &scout.client } else { &admin };
            let answer = deliver(client, target, *how);
            assert!(answer.is_some() || !must_be_answered(*how), "no answer to {target:?} {how:?}");
            let Some(answer) = answer else { continue };
            answered += 1;
            if matches!(how, Delivery::BadlyFramed | Delivery::EndedEarly | Delivery::ChunksThatEndEarly) {
                // The connection itself may be refused by the host; a component that answers, answers whole.
                assert!((400..500).contains(&answer.status()), "{answer:?}");
            } else {
                answer.is_ours();
                assert!(answer.status() < 500, "{answer:?}");
                assert_eq!(answer.text().is_empty(), answer.status() == 204, "{answer:?}");
            }
        }
        answered
    });
    assert!(answered.iter().sum::<usize>() > 100, "{answered:?}");
    admin.get("/api/auth/whoami").is(200);
    let log = server.host().log();
    for sign in ["failed", "gave no response", "panicked"] {
        assert!(!log.contains(sign), "{log}");
    }
}
