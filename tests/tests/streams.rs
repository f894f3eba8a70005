//! R55, R57, R451: streams of server-sent events.
#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpStream},
    time::Instant,
};

use serde_json::{Value as Json, json};
use tests::{Client, PATIENCE, Server, process::raise_limit_of_files, server::text, until};

/// An open stream.
struct Stream {
    reader: BufReader<TcpStream>,
}

/// An event: id, kind, data.
type Event = (String, String, Json);

impl Stream {
    fn open(client: &Client, path: &str, last: Option<&str>) -> Self {
        let mut connection = TcpStream::connect(client.address()).unwrap();
        connection.set_read_timeout(Some(PATIENCE * 2)).unwrap();
        let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let (address, bearer) = (client.address(), client.bearer());
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {bearer}\r\n{last}\r\n"
        );
        connection.write_all(request.as_bytes()).unwrap();
        let mut stream = Self { reader: BufReader::new(connection) };
        assert!(stream.line().unwrap().starts_with("HTTP/1.1 200"));
        let head: Vec<String> =
            std::iter::from_fn(|| stream.line()).take_while(|line| !line.starts_with("retry:")).collect();
        // R451: no proxy packs it, nor keeps its events back until there are enough of them.
        for header in ["cache-control: no-store, no-transform", "x-accel-buffering: no"] {
            assert!(head.iter().any(|line| line.eq_ignore_ascii_case(header)), "{head:?}");
        }
        stream
    }

    /// The next line, whatever chunk it came in. `None`: the stream is over.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.reader.read_line(&mut line).unwrap();
        (length > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event. `None`: the stream is over.
    fn event(&mut self) -> Option<Event> {
        let (mut id, mut kind) = (String::new(), String::new());
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("id", value)) => value.clone_into(&mut id),
                Some(("event", value)) => value.clone_into(&mut kind),
                Some(("data", value)) => return Some((id, kind, serde_json::from_str(value).unwrap())),
                _ => {}
            }
        }
    }

    fn close(self) {
        self.reader.get_ref().shutdown(Shutdown::Both).unwrap();
    }
}

const TOLD: &str = "/api/notifications/stream";
const INBOX: &str = "/api/agents/me/inbox/stream";

/// R55: what a person is told comes at once, once, and goes on behind the last id; another person's never comes.
#[test]
fn notifications_come_as_they_are_made_and_go_on_where_they_were_left() {
    let (server, admin) = Server::with_admin();
    let max = server.user(&admin, "max@example.com", "member");
    let scout = server.agent(&admin, "scout", &["ui.notify"]);
    let other = server.agent(&max, "other", &["ui.notify"]);
    let tell = |client: &Client, title: &str| {
        let sent = client.post("/api/ui/notify", &json!({ "title": title, "body": "b" })).is(201);
        text(&sent["notification_id"]).to_owned()
    };
    tell(&scout.client, "before");
    let mut stream = Stream::open(&admin, TOLD, None);
    tell(&other.client, "not yours");
    let one = tell(&scout.client, "one");
    let (id, kind, data) = stream.event().unwrap();
    assert_eq!((&id, kind.as_str(), &data["title"]), (&one, "notification", &json!("one")));
    stream.close();
    let missed = tell(&scout.client, "two");
    let mut again = Stream::open(&admin, TOLD, Some(&one));
    // What was made within the same seconds may come once more; what was missed comes.
    let seen: Vec<Event> = std::iter::from_fn(|| again.event()).take_while(|(id, ..)| *id != missed).collect();
    assert!(seen.iter().all(|(_, _, data)| data["title"] == "before"), "{seen:?}");
    again.close();
    let bad = admin.call("GET", TOLD, &[("last-event-id", "x")], None);
    let refused = bad.refused(400, "invalid_event");
    assert!(text(&refused["fix"]).contains("/api/notifications"), "{refused}");
    Stream::open(&admin, TOLD, Some("")).close();
    scout.client.get(TOLD).refused(403, "person_required");
}

/// R57, R6: an agent's events come with their ids, while it is halted too; the end of its credential is the last event.
#[test]
fn an_inbox_is_streamed_until_the_credential_ends() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let send = |text: &str| {
        let sent = admin.post("/api/agents/scout/messages", &json!({ "text": text })).is(201);
        tests::server::text(&sent["id"]).to_owned()
    };
    let first = send("one");
    let mut stream = Stream::open(&scout.client, INBOX, None);
    let (id, kind, data) = stream.event().unwrap();
    assert_eq!((&id, kind.as_str(), &data["data"]["text"]), (&first, "message", &json!("one")));
    admin.post("/api/agents/scout/pause", &json!({})).is(200);
    let second = send("two");
    let found = std::iter::from_fn(|| stream.event()).find(|(_, kind, _)| kind == "message").unwrap();
    assert_eq!((&found.0, &found.2["data"]["text"]), (&second, &json!("two")));
    let mut behind = Stream::open(&scout.client, INBOX, Some(&first));
    assert_eq!(std::iter::from_fn(|| behind.event()).find(|(_, kind, _)| kind == "message").unwrap().0, second);
    admin.delete("/api/agents/scout/token").is(204);
    for mut open in [stream, behind] {
        let (_, kind, data) = std::iter::from_fn(|| open.event()).last().unwrap();
        assert_eq!((kind.as_str(), &data["error"]), ("refused", &json!("token_revoked")));
    }
}

/// R652: one of the streams of an instance looks for all; whichever ones are closed, the others are told what comes, and so are requests that wait.
#[test]
fn whichever_stream_is_closed_the_others_go_on() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["ui.notify", "agents.read"]);
    let told = |title: &str| {
        scout.client.post("/api/ui/notify", &json!({ "title": title, "body": "b" })).is(201);
    };
    let mut open: Vec<Stream> = (0..9).map(|_| Stream::open(&admin, TOLD, None)).collect();
    while !open.is_empty() {
        let title = format!("for {}", open.len());
        told(&title);
        for stream in &mut open {
            let (_, kind, data) = stream.event().unwrap();
            assert_eq!((kind.as_str(), &data["title"]), ("notification", &json!(title)));
        }
        // The one that looks is among the oldest: each is closed once as the first one, some as the last.
        let at = if open.len().is_multiple_of(3) { open.len() - 1 } else { 0 };
        open.remove(at).close();
    }
    // The same with requests that wait: all of them end by the same event, however many there are.
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| scout.client.get("/api/agents/me/inbox?wait=25").is(200)["items"].clone()))
            .collect();
        until("all of them wait", || (server.number("SELECT count(*) FROM streams") >= 6).then_some(()));
        admin.post("/api/agents/scout/messages", &json!({ "text": "at last" })).is(201);
        for one in waiting {
            assert_eq!(one.join().unwrap()[0]["data"]["text"], "at last");
        }
    });
}

/// R225: an agent that has a place from before a restore is told so, instead of waiting for events that it would miss; what it is told helps.
#[test]
fn a_place_behind_the_last_event_is_refused_and_the_beginning_is_not() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read"]).client;
    let send = || text(&admin.post("/api/agents/scout/messages", &json!({ "text": "t" })).is(201)["id"]).to_owned();
    let ids: Vec<String> = (0..3).map(|_| send()).collect();
    let last = ids.last().unwrap();
    scout.post("/api/agents/me/inbox/ack", &json!({ "upto": last })).is(200);
    // Everything is acknowledged: the last place is a place nevertheless.
    assert_eq!(scout.get(&format!("/api/agents/me/inbox?after={last}")).is(200)["items"], json!([]));
    Stream::open(&scout, INBOX, Some(last)).close();
    // As a restored database has it.
    server.execute("UPDATE agents SET inbox_seq = 1");
    let refusals = [
        scout.get(&format!("/api/agents/me/inbox?after={last}")),
        scout.get(&format!("/api/agents/me/inbox?wait=25&after={last}")),
        scout.get(&format!("{INBOX}?after={last}")),
        scout.call("GET", INBOX, &[("last-event-id", last)], None),
        scout.post("/api/agents/me/inbox/ack", &json!({ "upto": last })),
    ];
    for answer in &refusals {
        let refused = answer.refused(400, "invalid_event");
        assert!(text(&refused["fix"]).contains("from its beginning"), "{refused}");
    }
    let next = send();
    assert_eq!(scout.get("/api/agents/me/inbox").is(200)["items"][0]["id"], json!(next));
    let mut stream = Stream::open(&scout, INBOX, Some(""));
    assert_eq!(stream.event().unwrap().0, next);
}

/// R69, R55: a stop ends a stream as a server that is done does, so its reader comes again, and no stream holds the stop up, whether its
/// reader is still there or has gone.
#[test]
fn a_stop_ends_streams() {
    let (mut server, admin) = Server::with_admin();
    let mut stream = Stream::open(&admin, TOLD, None);
    let gone = Stream::open(&admin, TOLD, None);
    gone.close();
    server.host().terminate();
    // The last chunk is the empty one: the body is whole.
    let lines: Vec<String> = std::iter::from_fn(|| stream.line()).collect();
    assert_eq!(lines.iter().rev().find(|line| !line.is_empty()).map(String::as_str), Some("0"), "{lines:?}");
    assert!(server.host_mut().ended().success());
    let log = server.host().log();
    assert!(!log.contains("still running"), "{log}");
}

/// R55, R295: one person has ten streams at once; one whose client has gone makes room, whether or not there is something to send.
#[test]
fn a_person_has_ten_streams_at_once() {
    let (server, admin) = Server::with_admin();
    let mut open: Vec<Stream> = (0..10).map(|_| Stream::open(&admin, TOLD, None)).collect();
    let answer = admin.get(TOLD);
    answer.refused(429, "too_many_streams");
    assert_eq!(answer.header("retry-after"), "40");
    open.remove(0).close();
    let is_free = || (server.number("SELECT count(*) FROM streams") < 10).then_some(());
    until("the closed stream's row is gone, although there is nothing to send", is_free);
    open.push(Stream::open(&admin, TOLD, None));
    // A client that sends nothing more has gone, too: it would get the comments for ten minutes.
    let mut half = open.remove(0);
    half.reader.get_ref().shutdown(Shutdown::Write).unwrap();
    while half.line().is_some() {}
    until("its row is gone", is_free);
    Stream::open(&admin, TOLD, None).close();
}

/// R155: a thousand open streams cost at most 100 MiB, and every request is answered beside them. What they cost whoami is printed;
/// `cargo xtask bench --only reach` measures and judges it.
#[test]
fn a_thousand_open_streams_cost_little() {
    const STREAMS: usize = 1_000;
    const ASKED: usize = 2_000;
    const MOST_MIB: u64 = 100;
    raise_limit_of_files();
    // All connections come from this one address.
    let server =
        Server::settings().flag("--max-connections", "4000").flag("--max-connections-per-address", "4000").start();
    let admin = server.bootstrap();
    let agents: Vec<_> =
        (0..STREAMS / 10).map(|number| server.agent(&admin, &format!("a{number}"), &["agents.read"])).collect();
    let rate = |what: &str| {
        let begun = Instant::now();
        for _ in 0..ASKED {
            admin.get("/api/auth/whoami").is(200);
        }
        let rate = ASKED as f64 / begun.elapsed().as_secs_f64();
        println!("whoami {what}: {rate:.0} requests/s, {} MiB", server.host().memory() / 1024);
        rate
    };
    rate("before");
    let (before, alone) = (server.host().memory(), rate("without streams"));
    let mut streams = Vec::with_capacity(STREAMS);
    for agent in &agents {
        // As many as one agent may have.
        streams.extend((0..10).map(|_| Stream::open(&agent.client, INBOX, None)));
    }
    let with = rate("with streams");
    let grown = server.host().memory().saturating_sub(before) / 1024;
    println!("{STREAMS} streams: {grown} MiB, whoami at {:.2} of its rate", with / alone);
    assert!(grown <= MOST_MIB, "{grown} MiB");
    // They are alive: what comes reaches the last one.
    admin.post("/api/agents/a99/messages", &json!({ "text": "hello" })).is(201);
    let (_, kind, _) = streams.last_mut().unwrap().event().unwrap();
    assert_eq!(kind, "message");
    for stream in streams {
        stream.close();
    }
}
