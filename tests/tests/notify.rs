//! Notifications and inboxes over HTTP: under concurrency, over two hosts, and for callers that wait.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use serde_json::json;
use tests::{Over, Server, server::text};

const NOTIFY: &str = "/api/ui/notify";
const INBOX: &str = "/api/agents/me/inbox";

/// R50: 40 requests with one key over two hosts: one notification, and everybody gets its answer or 503.
#[test]
fn forty_callers_with_one_key_notify_once() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let scout = server.agent(&admin, "scout", &["ui.notify"]).client;
    let answers = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for number in 0..40 {
            let at = if number % 2 == 0 { scout.clone() } else { scout.at(second.host().base_url()) };
            let answers = &answers;
            scope.spawn(move || {
                let answer = at.post_once(NOTIFY, "one key", &json!({ "title": "a", "body": "b" }));
                match answer.status() {
                    201 => drop(answers.lock().unwrap().insert(text(&answer.json()["notification_id"]).to_owned())),
                    503 => assert_eq!(answer.header("retry-after"), "1"),
                    other => panic!("{other}: {}", answer.text()),
                }
            });
        }
    });
    let stored = server.texts("SELECT id FROM notifications");
    assert_eq!(stored.len(), 1);
    assert_eq!(answers.into_inner().unwrap().into_iter().collect::<Vec<_>>(), stored);
}

/// R57: nothing is lost with 10 readers who read and acknowledge while others write, over two hosts.
#[test]
fn an_inbox_loses_nothing_under_ten_readers() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let agent = server.agent(&admin, "scout", &["agents.read"]).client;
    let (sent, seen) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        let writers: Vec<_> = (0..4)
            .map(|number| {
                let at = if number % 2 == 0 { admin.clone() } else { admin.at(second.host().base_url()) };
                let sent = &sent;
                scope.spawn(move || {
                    for _ in 0..15 {
                        let answer = at.post("/api/agents/scout/messages", &json!({ "text": "hello" }));
                        if answer.status() == 201 {
                            sent.lock().unwrap().insert(text(&answer.json()["id"]).to_owned());
                        } else {
                            answer.is(503);
                        }
                    }
                })
            })
            .collect();
        for number in 0..10 {
            let at = if number % 2 == 0 { agent.clone() } else { agent.at(second.host().base_url()) };
            let (seen, is_over) = (&seen, &is_over);
            scope.spawn(move || {
                loop {
                    let was_over = is_over.load(Ordering::SeqCst);
                    let page = at.get(INBOX).is(200);
                    let ids: Vec<String> =
                        page["items"].as_array().unwrap().iter().map(|item| text(&item["id"]).to_owned()).collect();
                    assert!(ids.is_sorted(), "{ids:?}");
                    seen.lock().unwrap().extend(ids.iter().cloned());
                    match ids.last() {
                        Some(last) => drop(at.post(&format!("{INBOX}/ack"), &json!({ "upto": last }))),
                        None if was_over => break,
                        None => {}
                    }
                }
            });
        }
        for writer in writers {
            writer.join().unwrap();
        }
        drop(over);
    });
    assert_eq!(seen.into_inner().unwrap(), sent.into_inner().unwrap());
    assert_eq!(server.number("SELECT count(*) FROM inbox"), 0);
}

/// A caller that waits is answered when there is something, and refused when its credential ends meanwhile.
#[test]
fn a_waiting_caller_is_answered_at_once_and_refused_when_its_token_ends() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "scout", &["agents.read"]).client;
    let asked = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| agent.get(&format!("{INBOX}?wait=25")).is(200));
        tests::until("the wait has begun", || (asked.elapsed().as_millis() > 1500).then_some(()));
        admin.post("/api/agents/scout/messages", &json!({ "text": "hello" })).is(201);
        let page = waiting.join().unwrap();
        assert_eq!(page["items"][0]["data"]["text"], "hello");
    });
    let last = text(&agent.get(INBOX).is(200)["cursor"]).to_owned();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| agent.get(&format!("{INBOX}?wait=25&after={last}")));
        admin.delete("/api/agents/scout/token").is(204);
        waiting.join().unwrap().refused(401, "token_revoked");
    });
}
