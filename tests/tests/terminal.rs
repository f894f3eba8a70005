//! R30, R66, R206: what the command shows while it goes on, and in a terminal: `agents watch`, and a sign-in that asks.
#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Sender, channel},
    thread,
};

use serde_json::json;
use tests::{
    Agent, Client, PATIENCE, Server,
    cli::{Cli, Started},
    process::Signal,
    server::{KEY, PASSWORD, REPLACEABLE, text},
    totp::Authenticator,
    until,
};

/// So long that nobody sees a look that no event has asked for.
const NEVER: &str = "3600";

fn of(server: &Server, client: &Client) -> Cli {
    Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", client.bearer())
}

/// R149, R206: in a pipe a watcher gets a line for each change as it comes, and ends well when it is told to.
#[test]
fn a_watcher_is_told_of_each_change() {
    let (server, admin) = Server::with_admin();
    server.agent(&admin, "scout", &["agents.read"]);
    let cli = of(&server, &admin);
    let mut watching = cli.started(&["agents", "watch", "--every", NEVER]);
    watching.until("scout  running");
    admin.post("/api/agents/scout/pause", &json!({})).is(200);
    watching.until("scout  paused");
    server.agent(&admin, "builder", &["agents.read"]);
    watching.until("builder  running");
    admin.delete("/api/agents/scout").is(204);
    watching.until("scout  gone");
    assert_eq!(watching.signalled(Signal::INT), 0);
    let mut watching = cli.started(&["agents", "watch", "--json"]);
    watching.until(r#"{"name":"builder","state":"running"}"#);
    assert_eq!(watching.signalled(Signal::TERM), 0);
    let first = admin.get("/api/agents");
    let tag = first.header("etag").to_owned();
    let headers = [("if-none-match", tag.as_str())];
    assert_eq!(admin.call("GET", "/api/agents", &headers, None).status(), 304);
}

/// R206: an agent watches those below it by its inbox; with no stream left, by the inbox that waits.
#[test]
fn an_agent_watches_those_below_it() {
    let (server, admin) = Server::with_admin();
    let above = |boss: &str, hand: &str| {
        let agent = server.agent(&admin, boss, &["agents.list", "agents.read"]);
        admin.post("/api/agents", &json!({ "name": hand, "parent": boss, "scope": ["agents.read"] })).is(201);
        agent.client
    };
    let boss = above("boss", "hand");
    let cli = of(&server, &boss);
    let mut watching = cli.started(&["agents", "watch", "--every", NEVER]);
    watching.until("hand  running");
    admin.post("/api/agents/hand/pause", &json!({})).is(200);
    watching.until("hand  paused");
    assert_eq!(watching.signalled(Signal::INT), 0);
    // As many streams as one may have.
    let chief = above("chief", "aide");
    let open: Vec<TcpStream> = (0..5).map(|_| opened(&chief, "/api/agents/me/inbox/stream")).collect();
    let mut watching = of(&server, &chief).started(&["agents", "watch", "--every", NEVER]);
    watching.until("aide  running");
    admin.post("/api/agents/aide/pause", &json!({})).is(200);
    watching.until("aide  paused");
    assert_eq!(watching.signalled(Signal::INT), 0);
    drop(open);
}

fn opened(client: &Client, path: &str) -> TcpStream {
    let mut connection = TcpStream::connect(client.address()).unwrap();
    let (address, bearer) = (client.address(), client.bearer());
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {bearer}\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(connection.try_clone().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    connection
}

/// R206: a credential that ends ends its watcher at once, with the words of the refusal; one that had ended before too.
#[test]
fn a_watcher_ends_with_its_credential() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.list", "agents.read"]);
    let pat = server.plant_pat(&admin, "agents.list agents.read notifications.read tokens.write");
    for (client, end) in [(&scout.client, "/api/agents/scout/token"), (&pat, "")] {
        let cli = of(&server, client);
        let mut watching = cli.started(&["agents", "watch", "--every", NEVER]);
        watching.until("scout  running");
        match end {
            "" => drop(client.delete("/auth/tokens/me").is(204)),
            path => drop(admin.delete(path).is(204)),
        }
        let (code, err) = watching.ended();
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("revoked") && err.contains("fix:") && err.contains("request:"), "{err}");
        assert!(cli.run(&["agents", "watch"]).is(2).err.contains("fix:"));
    }
}

/// R206: without the right to a stream a watcher looks by itself, and is refused once, not again and again.
#[test]
fn a_watcher_without_a_stream_looks_by_itself() {
    let (server, admin) = Server::with_admin();
    server.agent(&admin, "scout", &["agents.read"]);
    let pat = server.plant_pat(&admin, "agents.list agents.read");
    let mut watching = of(&server, &pat).started(&["agents", "watch"]);
    watching.until("scout  running");
    for (step, state) in [("pause", "paused"), ("resume", "running"), ("pause", "paused")] {
        admin.post(&format!("/api/agents/scout/{step}"), &json!({})).is(200);
        watching.until(&format!("scout  {state}"));
    }
    assert_eq!(watching.signalled(Signal::INT), 0);
}

/// A server of one agent. It tells the last id that each stream asked for; its first stream ends behind one event.
fn with_streams(asked: Sender<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut streams = 0;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let Some(first) = head.first() else { continue };
            if !first.contains("/stream") {
                let state = if streams < 2 { "running" } else { "paused" };
                let body = json!({ "items": [{ "name": "scout", "state": state }], "next_cursor": null }).to_string();
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).unwrap();
                continue;
            }
            streams += 1;
            let last = head.iter().find_map(|line| line.strip_prefix("last-event-id: ")).unwrap_or("none");
            asked.send(last.to_owned()).unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\nretry: 1\n\n";
            stream.write_all(answer.as_bytes()).unwrap();
            if streams == 1 {
                stream.write_all(b"id: ntf_7\nevent: notification\ndata: {}\n\nid: ntf_8\nevent: notif").unwrap();
                continue;
            }
            // Open for as long as the watcher wants it.
            thread::spawn(move || BufReader::new(stream).lines().count());
        }
    });
    format!("http://{address}")
}

/// R206: a stream that breaks off is taken up again behind the last event that came whole.
#[test]
fn a_watcher_comes_again_with_the_last_id() {
    let (sender, asked) = channel();
    let cli = Cli::of(&with_streams(sender)).variable("ACCREDIT_TOKEN", &tests::secret::credential("acr_pat_"));
    let mut watching = cli.started(&["agents", "watch", "--every", NEVER]);
    watching.until("scout  running");
    assert_eq!(asked.recv_timeout(PATIENCE).unwrap(), "none");
    assert_eq!(asked.recv_timeout(PATIENCE).unwrap(), "ntf_7");
    watching.until("scout  paused");
    assert_eq!(watching.signalled(Signal::INT), 0);
}

/// R206: on a terminal the tree is drawn, drawn anew in its place, and Ctrl-C ends it well.
#[test]
fn a_tree_is_drawn_in_its_place() {
    let (server, admin) = Server::with_admin();
    server.agent(&admin, "boss", &["agents.read"]);
    admin.post("/api/agents", &json!({ "name": "hand", "parent": "boss", "scope": ["agents.read"] })).is(201);
    let mut terminal = of(&server, &admin).in_terminal(60, &["agents", "watch", "--every", NEVER]);
    terminal.until("boss  running\r\n").until("  hand  running\r\n");
    admin.post("/api/agents/hand/pause", &json!({})).is(200);
    // The lines before are erased.
    terminal.until("\u{1b}[").until("boss  running\r\n").until("  hand  paused\r\n");
    let (code, shown) = terminal.types("\u{3}").ended();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("error"), "{shown}");
}

/// R285: a log is followed: what is in it, each line as it comes, once, also when the server was away; Ctrl-C ends it well.
#[test]
fn a_log_is_followed() {
    let mut server = Server::settings().at(REPLACEABLE).start();
    let admin = server.bootstrap();
    let scout = server.agent(&admin, "scout", &["agents.read", "agents.logs"]);
    let write = |client: &Client, text: &str| {
        client.post("/api/agents/me/logs", &json!({ "text": text, "level": "warn" })).is(201);
    };
    for text in ["one", "two", "two"] {
        write(&scout.client, text);
    }
    let cli = of(&server, &admin);
    let mut following = cli.started(&["agents", "logs", "scout", "--follow"]);
    for text in ["one", "two", "two"] {
        assert_eq!(following.line().split_once(" warn  ").unwrap().1, text);
    }
    write(&scout.client, "three");
    assert!(following.line().ends_with(" warn  three"));
    let mut second = cli.started(&["agents", "logs", "scout", "-f", "--lines", "1", "--json", "--q", "four"]);
    write(&scout.client, "four");
    let line: serde_json::Value = serde_json::from_str(&second.line()).unwrap();
    assert_eq!((&line["text"], &line["level"]), (&json!("four"), &json!("warn")));
    assert_eq!(second.signalled(Signal::INT), 0);
    assert!(following.line().ends_with("four"));
    // The same server again, after some looks that found nobody.
    let address = server.host().address().to_owned();
    server.host_mut().kill();
    following.until_said("Trying again.");
    let again = Server::settings().on(server.state()).at(&address).start();
    write(&again.with(scout.client.bearer()), "five");
    assert!(following.line().ends_with("five"));
    let mut since =
        of(&again, &admin).started(&["agents", "logs", "scout", "--follow", "--since", "1h", "--lines", "1"]);
    assert!(since.line().ends_with("five"));
    assert_eq!(since.signalled(Signal::TERM), 0);
    // R444: the log is that of one agent. Its end is said, also when another one has got the name between two looks.
    following.pause();
    admin.delete("/api/agents/scout").is(204);
    again.agent(&admin, "scout", &["agents.logs"]);
    following.go_on();
    let (code, err) = following.ended();
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains("It answers again.") && err.contains("is no more") && err.contains("agents logs scout --follow"),
        "{err}"
    );
    for wrong in [&["--until", "1h"][..], &["--lines", "1001"], &["--since", "soon"]] {
        of(&again, &admin).run(&[&["agents", "logs", "scout", "-f"], wrong].concat()).is(64);
    }
    of(&again, &admin).run(&["agents", "logs", "nobody", "--follow"]).is(1);
}

/// A request of an agent, and the command that waits for its decision.
fn waiting_for_a_decision(server: &Server, agent: &Agent) -> (String, Started) {
    let ask = json!({ "scope": ["agents.create"], "reason": "To build" });
    let asked = agent.client.post("/api/access-requests", &ask).is(201);
    let id = asked.get("id").map(text).unwrap_or_default().to_owned();
    let mut waiting = of(server, &agent.client).started(&["access", "wait", &id]);
    waiting.until_said("Waiting for the decision.");
    (id, waiting)
}

/// R293: what waits for a person goes on over a restart of the server: a decision, and a sign-in by a code.
#[test]
fn waiting_goes_on_over_a_restart() {
    let mut server = Server::settings().at(REPLACEABLE).start();
    let admin = server.bootstrap();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let (id, mut waiting) = waiting_for_a_decision(&server, &scout);
    let signing_in = Cli::of(server.host().base_url());
    let signing_in = signing_in.waiting(&["auth", "login"]);
    let address = server.host().address().to_owned();
    server.host_mut().kill();
    waiting.until_said("Trying again.");
    let again = Server::settings().on(server.state()).at(&address).start();
    admin.post(&format!("/api/access-requests/{id}/approve"), &json!({})).is(200);
    admin.post(&format!("/auth/device/{}/approve", signing_in.code), &json!({ "scope": ["agents.read"] })).is(200);
    let (code, err) = waiting.ended();
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("It answers again."), "{err}");
    signing_in.ended().is(0);
    drop(again);
}

/// R285: more lines than one answer holds are followed whole, in their order.
#[test]
fn a_log_is_followed_over_a_gap() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read", "agents.logs"]);
    let mut following = of(&server, &admin).started(&["agents", "logs", "scout", "--follow"]);
    scout.client.post("/api/agents/me/logs", &json!({ "text": "begin" })).is(201);
    assert!(following.line().ends_with("begin"));
    following.pause();
    // A minute of a machine that slept, in which 2,500 lines came.
    let now = server.number("SELECT max(at) FROM agent_logs");
    let rows = format!(
        "INSERT INTO agent_logs (agent_id, seq, at, level, text) WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
         SELECT agent_id, seq + i, {now} + i * 40, 'info', 'line ' || i FROM agent_logs, n"
    );
    server.execute(&rows);
    following.go_on();
    for number in 1..=2500 {
        assert!(following.line().ends_with(&format!(" line {number}")), "{number}");
    }
    assert_eq!(following.signalled(Signal::INT), 0);
}

/// R431: no line is lost, also not of thousands that were written at one time; and what the log itself has forgotten is counted.
#[test]
fn a_log_is_followed_whole_however_fast_it_is_written() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read", "agents.logs"]);
    scout.client.post("/api/agents/me/logs", &json!({ "text": "line 1" })).is(201);
    // One agent with many threads: so many lines in one millisecond.
    let more = |from: i64, to: i64| {
        server.execute(&format!(
            "INSERT INTO agent_logs (agent_id, seq, at, level, text) WITH n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to})
             SELECT l.agent_id, i, l.at, 'info', 'line ' || i FROM (SELECT agent_id, at FROM agent_logs LIMIT 1) l, n"
        ));
    };
    more(2, 4_890);
    let cli = of(&server, &admin);
    let mut since = cli.started(&["agents", "logs", "scout", "--follow", "--since", "1h"]);
    for number in 1..=4_890 {
        assert!(since.line().ends_with(&format!(" line {number}")), "{number}");
    }
    since.pause();
    more(4_891, 8_500);
    since.go_on();
    for number in 4_891..=8_500 {
        assert!(since.line().ends_with(&format!(" line {number}")), "{number}");
    }
    // What was written and forgotten between two looks cannot be shown.
    since.pause();
    more(8_501, 9_000);
    server.execute("DELETE FROM agent_logs WHERE seq BETWEEN 2 AND 8620");
    since.go_on();
    assert!(since.line().ends_with(" line 8621"));
    since.until_said("120 lines are left out");
    assert_eq!(since.signalled(Signal::INT), 0);
}

/// R432: a stop of the server that waits for nobody is no decision.
#[test]
fn waiting_goes_on_over_a_stop() {
    let mut server = Server::settings().at(REPLACEABLE).start();
    let admin = server.bootstrap();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let (id, mut waiting) = waiting_for_a_decision(&server, &scout);
    until("the server waits", || (server.number("SELECT count(*) FROM streams") == 1).then_some(()));
    let address = server.host().address().to_owned();
    server.host().terminate();
    waiting.until_said("This host stops, so it waits no longer for what you asked for. Trying again.");
    assert!(server.host_mut().ended().success());
    let again = Server::settings().on(server.state()).at(&address).start();
    admin.post(&format!("/api/access-requests/{id}/approve"), &json!({})).is(200);
    let (code, err) = waiting.ended();
    assert_eq!(code, 0, "{err}");
    drop(again);
}

const SIGN_IN: [&str; 5] = ["auth", "login", "--password", "--email", "ada@example.com"];

/// R97, R207: a person with a second factor is asked for its code in the terminal, without an echo, and again when it was wrong.
#[test]
fn a_terminal_asks_for_the_second_factor() {
    let server = Server::settings().variable("secrets_key", KEY).start();
    let admin = server.bootstrap();
    let app = Authenticator::set_up(&server, &admin);
    let cli = Cli::of(server.host().base_url());
    let mut terminal = cli.in_terminal(60, &SIGN_IN);
    terminal.until("Password: ").hidden().types(&format!("{PASSWORD}\n"));
    terminal.until("recovery code: ").hidden().types("wrong-code\n");
    terminal.until("This code is wrong").until("recovery code: ").hidden();
    let code = app.code(&server);
    let (status, shown) = terminal.types(&format!("{code}\n")).ended();
    assert_eq!(status, 0, "{shown}");
    assert!(shown.contains("Signed in as ada@example.com"), "{shown}");
    assert!(!shown.contains(PASSWORD) && !shown.contains(&code) && !shown.contains("wrong-code"), "{shown}");
    cli.run(&["whoami"]).is(0);

    // Codes that stay wrong end it, with the refusal of the last one.
    let mut terminal = cli.in_terminal(60, &SIGN_IN);
    terminal.until("Password: ").types(&format!("{PASSWORD}\n"));
    for _ in 0..3 {
        terminal.until("recovery code: ").types("wrong\n");
    }
    let (status, shown) = terminal.ended();
    assert_eq!(status, 1, "{shown}");
    assert!(shown.contains("error:") && shown.contains("request:"), "{shown}");
}

/// R291: Ctrl-C, or another end, at a question without an echo leaves the terminal as it was.
#[test]
fn a_terminal_is_left_as_it_was() {
    let (server, _admin) = Server::with_admin();
    let cli = Cli::of(server.host().base_url());
    let mut terminal = cli.in_terminal(60, &SIGN_IN);
    terminal.until("Password: ").hidden().types("half a passw\u{3}");
    let (_, shown) = terminal.ended();
    assert!(terminal.echoes(), "{shown}");
    assert!(!shown.contains("error:") && !shown.contains("half"), "{shown}");
    assert_eq!(cli.saved(), "");
    // What was typed before is no part of what is typed now.
    let mut terminal = cli.in_terminal(60, &SIGN_IN);
    terminal.until("Password: ").hidden().types(&format!("{PASSWORD}\n"));
    let (status, shown) = terminal.ended();
    assert_eq!(status, 0, "{shown}");
    assert!(terminal.echoes());
}

/// R97, R207: without a terminal the code is the next line, a recovery code too; without one the advice is to approve a code.
#[test]
fn the_second_factor_is_read_from_a_pipe() {
    let server = Server::settings().variable("secrets_key", KEY).start();
    let admin = server.bootstrap();
    let app = Authenticator::set_up(&server, &admin);
    let cli = Cli::of(server.host().base_url());
    let ran = cli.fed(&format!("{PASSWORD}\n"), &SIGN_IN).is(64);
    assert!(ran.err.contains("fix:") && ran.err.contains("accredit auth login"), "{ran:?}");
    assert_eq!(cli.saved(), "");
    cli.fed(&format!("{PASSWORD}\nwrong\n"), &SIGN_IN).is(1);
    assert_eq!(cli.saved(), "");
    let spare = app.recovery_codes.first().unwrap();
    cli.fed(&format!("{PASSWORD}\n{spare}\n"), &SIGN_IN).is(0);
    cli.run(&["whoami"]).is(0);
    // None of it can be typed as an argument.
    cli.run(&[&SIGN_IN[..], &["--code", "123456"]].concat()).is(64);
}

/// R30, R66, R209: a terminal gets colours unless NO_COLOR is set, lines no wider than itself, and ids that can be copied; a failure names its
/// request.
#[test]
fn a_terminal_gets_what_fits_it() {
    let (server, admin) = Server::with_admin();
    server.agent(&admin, "scout", &["agents.read"]);
    admin
        .post("/api/agents/scout/keys", &json!({ "name": "ci", "type": "internal", "scope": ["agents.read"] }))
        .is(201);
    for (cli, is_coloured) in [(of(&server, &admin), true), (of(&server, &admin).variable("NO_COLOR", "1"), false)] {
        let (status, shown) = cli.in_terminal(60, &["agents", "get", "nobody"]).ended();
        assert_eq!((status, shown.contains("\u{1b}[")), (1, is_coloured), "{shown:?}");
        assert!(shown.contains("req_") && shown.contains("accredit agents list"), "{shown}");
        for words in [
            &["agents", "keys", "list", "scout"][..],
            &["auth", "sessions", "list"],
            &["admin", "tokens", "list"],
            &["agents", "get", "scout"],
            &["whoami"],
        ] {
            let (status, shown) = cli.in_terminal(60, words).ended();
            assert_eq!(status, 0, "{shown}");
            assert!(shown.lines().all(|line| line.trim_end().chars().count() <= 60), "{words:?}: {shown}");
            let json = cli.run(&[words, &["--json"]].concat()).is(0).json();
            let first = json["items"].get(0).unwrap_or(&json);
            let id = ["id", "prefix", "user_id"].into_iter().find_map(|name| first[name].as_str()).unwrap();
            assert!(
                shown.contains(id) || shown.contains(first["prefix"].as_str().unwrap_or("-")),
                "{words:?} {id}: {shown}"
            );
        }
    }
}
