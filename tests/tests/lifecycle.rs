//! The state of agents over HTTP: many changes at once, over two hosts on one file, and the states that a killed host keeps.

#![expect(clippy::indexing_slicing, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value as Json, json};
use tests::{Answer, Client, Over, Server, at_once, server::text, until};

/// Agents that run below one that does not: there must be none.
const RUNS_BELOW_HALTED: &str = "SELECT count(*) FROM agents a JOIN agents p ON p.id = a.parent_id
    WHERE a.archived_at IS NULL AND a.state = 'running' AND p.state <> 'running'";

fn step(client: &Client, name: &str, verb: &str) -> Answer {
    client.post(&format!("/api/agents/{name}/{verb}"), &json!({}))
}

/// The answer is a success, one of these refusals, or "come again".
#[track_caller]
fn done_or(answer: &Answer, slugs: &[&str]) -> bool {
    match answer.status() {
        200 | 201 | 207 => return true,
        503 => _ = answer.refused(503, "database_unavailable"),
        _ => {
            let slug = answer.json()["error"].as_str().unwrap_or_default().to_owned();
            assert!(slugs.contains(&slug.as_str()), "{}", answer.text());
        }
    }
    false
}

/// A tree of agents: `top`, three below it, three below each of those.
fn tree(server: &Server, admin: &Client) -> Vec<String> {
    let mut names = vec!["top".to_owned()];
    server.agent(admin, "top", &["agents.*"]);
    for middle in 0..3 {
        let name = format!("m{middle}");
        let below = |name: &str, parent: &str| {
            let body = json!({ "name": name, "parent": parent, "scope": ["agents.list"], "issue_token": false });
            admin.post("/api/agents", &body).is(201);
        };
        below(&name, "top");
        for low in 0..3 {
            let low = format!("l{middle}{low}");
            below(&low, &name);
            names.push(low);
        }
        names.push(name);
    }
    names
}

/// R43: forty callers over two hosts halt, let go on, register below and move; at no moment does an agent run below a halted
/// one, and the trail has a row for each step that was answered.
#[test]
fn what_many_do_to_a_tree_at_once_leaves_nothing_running_below_what_is_halted() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let names = tree(&server, &admin);
    let is_over = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut looks = 0;
            while !is_over.load(Ordering::SeqCst) {
                assert_eq!(server.number(RUNS_BELOW_HALTED), 0);
                looks += 1;
                thread::sleep(Duration::from_millis(5));
            }
            looks
        });
        let ended = Over(&is_over);
        let steps = at_once(40, |number| {
            let at = if number % 2 == 0 { &server } else { &second };
            let admin = admin.at(at.host().base_url());
            let mut steps = 0;
            for round in 0..6 {
                let name = &names[(number * 5 + round) % names.len()];
                if (number + round) % 9 == 0 {
                    let body = json!({ "name": format!("new-{number}-{round}"), "parent": name, "scope": ["agents.list"], "issue_token": false });
                    // A move may just have taken the parent as deep as a tree can be.
                    done_or(&admin.post("/api/agents", &body), &["parent_halted", "tree_too_deep"]);
                    continue;
                }
                if (number + round) % 11 == 0 {
                    let parent = &names[(number * 3 + round) % names.len()];
                    let answer = admin.patch(&format!("/api/agents/{name}"), &json!({ "parent": parent }));
                    done_or(&answer, &["parent_halted", "tree_cycle", "tree_too_deep", "scope_too_wide"]);
                    continue;
                }
                let verb = ["pause", "resume", "stop", "start", "restart"][(number + round) % 5];
                steps += usize::from(done_or(&step(&admin, name, verb), &["illegal_state", "parent_halted"]));
            }
            steps
        });
        drop(ended);
        assert!(watcher.join().is_ok_and(|looks| looks > 0));
        let deepest = "WITH RECURSIVE at (id, depth) AS (
                           SELECT id, 1 FROM agents WHERE parent_id IS NULL
                           UNION ALL SELECT a.id, depth + 1 FROM at JOIN agents a ON a.parent_id = at.id WHERE depth < 20)
                       SELECT max(depth) FROM at";
        assert!(server.number(deepest) <= 8);
        // Of the agents that were named; those below have rows of their own, which do not count any below them.
        let written = "SELECT count(*) FROM audit WHERE outcome = 'done' AND json_extract(after, '$.below') IS NOT NULL
                       AND action IN ('agent.pause', 'agent.resume', 'agent.stop', 'agent.start', 'agent.restart')";
        assert_eq!(server.number(written), i64::try_from(steps.iter().sum::<usize>()).unwrap());
    });
}

/// R43: stop-alls and resumes at once, while others register: every agent that was there is stopped once, and each that runs in
/// the end was registered or resumed afterwards.
#[test]
fn stop_all_reaches_every_agent_whatever_happens_beside() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    tree(&server, &admin);
    step(&admin, "top", "pause").is(200);
    let other = server.tenant("other");
    let foreign = server.agent(&other, "foreign", &["agents.list"]);
    let answers = at_once(20, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        let admin = admin.at(at.host().base_url());
        match number % 4 {
            0 => admin.post("/api/agents/stop-all", &json!({})),
            1 => step(&admin, "top", "resume"),
            _ => admin.post("/api/agents", &json!({ "name": format!("late-{number}"), "issue_token": false })),
        }
    });
    let mut stopped = 0;
    for (number, answer) in answers.iter().enumerate() {
        if done_or(answer, &["illegal_state"]) && number % 4 == 0 {
            stopped += answer.json()["stopped"].as_i64().unwrap();
        }
    }
    assert_eq!(server.number(RUNS_BELOW_HALTED), 0);
    // `top` can only have been resumed before the first stop-all.
    assert_eq!(
        server.number("SELECT count(*) FROM agents WHERE state <> 'stopped' AND name NOT LIKE 'late-%'"),
        1,
        "foreign"
    );
    let there = server.number("SELECT count(*) FROM agents WHERE state = 'stopped'");
    assert_eq!(stopped, there, "each is stopped once");
    let told = "SELECT sum(after ->> 'stopped') FROM audit WHERE action = 'agent.stop_all'";
    assert_eq!(server.number(told), stopped);
    foreign.client.get("/api/agents").is(200);
}

/// R6, R43: once the answer to a pause of the one above is there, no request of an agent below that begins after it is let in: at
/// neither host, by no instance.
#[test]
fn nothing_that_begins_after_a_pause_is_let_in() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let top = server.agent(&admin, "top", &["agents.*"]);
    let made = admin.post("/api/agents", &json!({ "name": "hand", "parent": "top", "scope": ["agents.list"] })).is(201);
    let hand = server.with(text(&made["auth_token"]));
    for (verb, back, slug) in [("pause", "resume", "agent_paused"), ("stop", "start", "agent_stopped")] {
        let (halted, let_in) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            let (halted, let_in) = (&halted, &let_in);
            let mut running = Vec::new();
            for number in 0..8 {
                let base = if number % 2 == 0 { server.host().base_url() } else { second.host().base_url() };
                let client = if number % 3 == 0 { top.client.at(base) } else { hand.at(base) };
                running.push(scope.spawn(move || {
                    let mut after = 0;
                    while after < 10 {
                        // Read before the request begins.
                        let must_be_refused = halted.load(Ordering::SeqCst);
                        let answer = client.get("/api/agents");
                        if must_be_refused {
                            answer.refused(403, slug);
                            after += 1;
                        } else {
                            assert!(matches!(answer.status(), 200 | 403), "{answer:?}");
                            let_in.fetch_add(usize::from(answer.status() == 200), Ordering::SeqCst);
                        }
                    }
                }));
            }
            until("all doors to be busy", || (let_in.load(Ordering::SeqCst) >= 16).then_some(()));
            assert_eq!(step(&admin, "top", verb).is(200)["below"], 1);
            halted.store(true, Ordering::SeqCst);
            for thread in running {
                thread.join().unwrap();
            }
        });
        step(&admin, "top", back).is(200);
        step(&admin, "hand", back).is(200);
        hand.get("/api/agents").is(200);
    }
}

/// R69: a step that was answered is kept, whenever the host is killed; and it needs no repair.
#[test]
fn a_killed_host_keeps_the_states_that_it_answered() {
    let (mut server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.list"]);
    for round in 0..5 {
        let (verb, state) =
            [("pause", "paused"), ("resume", "running"), ("stop", "stopped"), ("start", "running")][round % 4];
        step(&admin.at(server.host().base_url()), "scout", verb).is(200);
        server.kill_and_restart();
        let whoami = scout.client.at(server.host().base_url()).get("/api/auth/whoami").is(200);
        assert_eq!(whoami["agent_state"], state);
    }
}

/// Many heartbeats and lines at once over two hosts: the total is the greatest that was reported, and each line that was answered is
/// there once, under a number of its own.
#[test]
fn heartbeats_and_lines_at_once_are_all_kept() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let scout = server.agent(&admin, "scout", &["agents.logs"]);
    let answered = at_once(40, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        let client = scout.client.at(at.host().base_url());
        let spent = (number * 7) % 40;
        let beat = client.post("/api/agents/me/heartbeat", &json!({ "spent_cents": spent }));
        let spent = if done_or(&beat, &[]) { spent } else { 0 };
        let lines: Vec<Json> = (0..3).map(|line| json!({ "text": format!("{number}.{line}") })).collect();
        let answer = client.post("/api/agents/me/logs", &json!({ "lines": lines }));
        (spent, if done_or(&answer, &[]) { answer.json()["appended"].as_i64().unwrap_or(0) } else { 0 })
    });
    let lines: i64 = answered.iter().map(|(_, lines)| lines).sum();
    assert!(lines > 0);
    assert_eq!(server.number("SELECT count(DISTINCT text) FROM agent_logs"), lines);
    assert_eq!(server.number("SELECT max(seq) FROM agent_logs"), lines);
    assert_eq!(server.number("SELECT log_seq FROM agents"), lines);
    let log = admin.get("/api/agents/scout/logs?lines=1000").is(200);
    let texts: Vec<&str> = log["lines"].as_array().into_iter().flatten().map(|line| text(&line["text"])).collect();
    // Lines of one request stand together, in their order.
    for three in texts.chunks(3) {
        let who = three[0].split('.').next().unwrap_or_default();
        let expected: Vec<String> = (0..3).map(|line| format!("{who}.{line}")).collect();
        assert_eq!(three, expected);
    }
    let seen = admin.get("/api/agents/scout").is(200);
    assert!(seen["last_seen_at"].is_string());
    assert_eq!(seen["spent_cents"], json!(answered.iter().map(|(spent, _)| spent).max()));
}

/// Reads of a megabyte and more, side by side in the same instances with each other's look-ups of credentials: none waits for
/// rows that only another one could take.
#[test]
fn long_logs_are_read_side_by_side() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.logs"]);
    let lines: Vec<Json> = (0..30).map(|_| json!({ "text": "x".repeat(2_000) })).collect();
    for _ in 0..34 {
        scout.client.post("/api/agents/me/logs", &json!({ "lines": lines })).is(201);
    }
    let read =
        at_once(24, |_| admin.get("/api/agents/scout/logs?lines=1000").is(200)["lines"].as_array().unwrap().len());
    assert_eq!(read, [1_000; 24]);
}
