//! R79, R80: what clients do with their connections: slow bodies, many connections, half-closed ones. Each test has an honest client
//! beside those that are not.

#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tests::{
    Answer, Client, Host, Over, PATIENCE, Server, Start, at_once,
    host::{trap_manifest, until_logged},
    raw::{self, Connection},
    until,
};

const WHOAMI: &str = "/api/auth/whoami";
/// Longer than a connection must have waited before it makes room for another one.
const LONG_ENOUGH: Duration = Duration::from_millis(1200);

/// A client of its own at a host.
fn other(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// Sends a body that these routes read before anything else, its body in such pieces with such pauses, until it is sent or the host takes no more. Gives the
/// answer and what came after it.
fn trickle(server: &Server, path: &str, length: usize, piece: usize, pause: Duration) -> (Answer, Vec<u8>) {
    let body = json!({ "email": "e".repeat(length), "password": "wrong horse" }).to_string();
    let headers = [("content-type", "application/json"), ("content-length", &body.len().to_string())];
    let address = server.host().address();
    // Without `connection: close`, which would hide that the host ends the connection.
    let head = raw::request("POST", path, address, &headers, None);
    let head = String::from_utf8(head).unwrap().replace("connection: close\r\n", "");
    let mut writer = Connection::open(address).unwrap();
    let mut reader = writer.reader().unwrap();
    let is_answered = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut is_taken = writer.send(head.as_bytes()).is_ok();
            for bytes in body.as_bytes().chunks(piece) {
                is_taken = is_taken && writer.send(bytes).is_ok();
                let start = Instant::now();
                while start.elapsed() < pause && !is_answered.load(Ordering::Relaxed) {
                    thread::sleep(pause.min(Duration::from_millis(50)));
                }
                if !is_taken || is_answered.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let response = reader.response(false);
        is_answered.store(true, Ordering::Relaxed);
        let response = response.unwrap_or_else(|error| panic!("{path}, {piece} bytes each {pause:?}: {error}"));
        let rest = if response.status == 408 { reader.rest().unwrap_or_default() } else { Vec::new() };
        (Answer::new(&format!("{path}, {piece} bytes each {pause:?}"), server.host().base_url(), response), rest)
    })
}

/// R79: a body that pauses, or comes in single bytes, or never ends gets a 408, and its connection ends; one that is only slow is read.
#[test]
fn a_body_that_is_too_slow_is_given_up_and_one_that_is_slow_is_read() {
    let settings =
        Server::settings().flag("--body-pause", "1s").flag("--body-rate", "200").flag("--body-timeout", "6s");
    let server = settings.start();
    let admin = server.bootstrap();
    let millis = Duration::from_millis;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                admin.get(WHOAMI).is(200);
                count += 1;
            }
            count
        });
        let slow = scope.spawn(|| trickle(&server, "/auth/token", 6_000, 1_000, millis(300)).0);
        // The last one has the rate, and would take half a minute.
        let too_slow = [(30, PATIENCE), (1, millis(100)), (100, millis(100))];
        let refused: Vec<_> = ["/auth/token", "/auth/leaks"]
            .into_iter()
            .flat_map(|path| too_slow.map(|how| (path, how)))
            .map(|(path, (piece, pause))| {
                let server = &server;
                scope.spawn(move || {
                    let start = Instant::now();
                    let (answer, rest) = trickle(server, path, 30_000, piece, pause);
                    answer.refused(408, "body_too_slow");
                    assert_eq!(answer.header("connection"), "close", "{answer:?}");
                    assert!(rest.is_empty() && start.elapsed() < PATIENCE / 2, "{answer:?}: {:?}", start.elapsed());
                })
            })
            .collect();
        let refused: Vec<_> = refused.into_iter().map(thread::ScopedJoinHandle::join).collect();
        let slow = slow.join();
        done.store(true, Ordering::Relaxed);
        assert!(beside.join().unwrap() > 10);
        assert!(refused.iter().all(Result::is_ok));
        slow.unwrap().refused(401, "login_failed");
    });
    let log = server.host().log();
    assert!(!log.contains("failed") && !log.contains("gave no response"), "{log}");
}

/// R79: one address that opens connections as fast as it can, and sends half a request on each, delays no other.
#[test]
fn one_address_cannot_take_all_connections() {
    let server = Server::settings().flag("--max-connections", "12").flag("--max-connections-per-address", "6").start();
    let admin = server.bootstrap();
    let address = server.host().address();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut held = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    if let Ok(mut connection) = Connection::open_from(other(2), address) {
                        let head = b"POST /auth/token HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{";
                        drop(connection.send(head));
                        held.push(connection);
                    }
                    held.drain(..held.len().saturating_sub(30));
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let _over = Over(&done);
        let start = Instant::now();
        while start.elapsed() < 2 * LONG_ENOUGH {
            admin.get(WHOAMI).is(200);
        }
    });
}

/// R479: a request that is answered without its body leaves its connection for the next one, whenever the body comes: with its head, behind
/// it, or once the answer is there. One that is refused, and one at an address that is none.
#[test]
fn a_body_that_nobody_reads_is_received() {
    let server = Server::settings().start();
    let admin = server.bootstrap();
    let address = server.host().address();
    let good = format!("Bearer {}", admin.bearer());
    let body = vec![b'x'; 40_000];
    let length = body.len().to_string();
    for (path, bearer, status) in [("/api/agents", "Bearer acr_pat_none", 401), ("/api/nothing", good.as_str(), 404)] {
        let headers = [("authorization", bearer), ("content-type", "application/json"), ("content-length", &length)];
        let head = raw::request("POST", path, address, &headers, None);
        let head = String::from_utf8(head).unwrap().replace("connection: close\r\n", "");
        for (at_once, parts) in [(true, 1), (false, 1), (false, 3)] {
            let mut connection = Connection::open(address).unwrap();
            connection.send(head.as_bytes()).unwrap();
            if at_once {
                connection.send(&body).unwrap();
            }
            let answer = connection.response(false).unwrap();
            assert_eq!((answer.status, answer.header("connection")), (status, None), "{path}: {answer:?}");
            assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok(), "{path}: {answer:?}");
            if !at_once {
                for part in body.chunks(body.len().div_ceil(parts)) {
                    connection.send(part).unwrap();
                }
            }
            let next = raw::request("GET", "/readyz", address, &[], None);
            connection.send(&next).unwrap();
            assert_eq!(connection.response(false).unwrap().status, 200, "{path}: the same connection");
        }
    }
}

/// R79: when many addresses together hold all connections, those that wait make room, the oldest first.
#[test]
fn waiting_connections_make_room_for_a_request() {
    let server = Server::settings().flag("--max-connections", "12").flag("--max-connections-per-address", "6").start();
    let admin = server.bootstrap();
    let address = server.host().address();
    let half: [&[u8]; 3] = [
        b"",
        b"GET /api/auth/whoami HTTP/1.1\r\nhost: x\r\nx-half: ",
        b"POST /auth/token HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{",
    ];
    let mut held: Vec<Connection> = (0..12)
        .map(|number| {
            let mut connection = Connection::open_from(other(2 + number % 2), address).unwrap();
            connection.send(half[usize::from(number % 3)]).unwrap();
            connection
        })
        .collect();
    thread::sleep(LONG_ENOUGH);
    // A connection of its own for each; kept connections would hide a refusal. A slow host took them in a moment later.
    for _ in 0..5 {
        let client = Client::plain(admin.base_url()).with(admin.bearer());
        let ask = || client.try_call("GET", WHOAMI, &[], None).is_ok_and(|answer| answer.status() == 200);
        until("room", || ask().then_some(()));
    }
    let mut first = held.swap_remove(0);
    assert!(first.rest().is_ok() || first.send(b"x").is_err(), "the oldest one has ended");
}

/// R70, R79: a connection whose request is being answered never makes room: then a further one gets a clear 503, until there is room.
#[test]
fn connections_that_are_busy_stay_and_further_ones_get_a_503() {
    let busy = |flag: &str| {
        let host = Start::trap(&trap_manifest()).flag(flag, "4").run();
        let client = host.client();
        let running = at_once_in_background(&host, 4, 3_000);
        thread::sleep(LONG_ENOUGH);
        let refused = client.get("/bare/count");
        refused.refused_by_host(503, "too_many_connections");
        for answer in running {
            answer.join().unwrap().is(200);
        }
        client.get("/bare/count").is(200);
    };
    busy("--max-connections");
    busy("--max-connections-per-address");
}

/// Requests that take so long, each on a connection of its own, once all of them have begun.
fn at_once_in_background(host: &Host, count: usize, millis: u32) -> Vec<thread::JoinHandle<Answer>> {
    let client = host.client();
    let request = move || client.get(&format!("/bare/slow?ms={millis}"));
    let running = (0..count).map(|_| thread::spawn(request.clone())).collect();
    until("all to have begun", || (host.log().matches("slow: begun").count() >= count).then_some(()));
    running
}

/// R79: the addresses in `trusted_proxies` have no share, since many clients are behind them.
#[test]
fn a_trusted_proxy_has_no_share() {
    let variable = "[variables]\ntrusted_proxies = { default = \"192.0.2.1, 127.0.0.1\" }\n";
    let host = Start::trap(&trap_manifest().replacen("[variables]\n", variable, 1))
        .flag("--max-connections-per-address", "2")
        .run();
    for answer in at_once(12, |_| host.client().get("/bare/slow?ms=500")) {
        answer.is(200);
    }
    // Another address has one.
    let from = |request: &[u8]| {
        let mut connection = Connection::open_from(other(2), host.address()).unwrap();
        connection.send(request).unwrap();
        connection
    };
    let slow: Vec<_> = (0..2).map(|_| from(b"GET /bare/slow?ms=3000 HTTP/1.1\r\nhost: x\r\n\r\n")).collect();
    until("both to have begun", || (host.log().matches("slow: begun").count() >= 14).then_some(()));
    assert_eq!(from(b"GET /bare/count HTTP/1.1\r\nhost: x\r\n\r\n").response(false).unwrap().status, 503);
    for mut connection in slow {
        assert_eq!(connection.response(false).unwrap().status, 200);
    }
}

/// R80: a client that has sent its request and closes its half of the connection gets the answer, however long it takes.
#[test]
fn a_client_that_half_closes_gets_its_answer() {
    let host = Start::trap(&trap_manifest()).run();
    let requests: [(&[u8], &[u8]); 3] = [
        (b"GET /bare/slow?ms=1500 HTTP/1.1\r\nhost: x\r\n\r\n", b"most_at_once"),
        (b"GET /bare/count HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"number"),
        (b"POST /bare/body HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc", b"{\"bytes\":3}"),
    ];
    for (request, expected) in requests {
        let mut connection = Connection::open(host.address()).unwrap();
        connection.send(request).unwrap();
        connection.end().unwrap();
        let response = connection.response(false).unwrap();
        assert_eq!(response.status, 200);
        assert!(response.body.windows(expected.len()).any(|part| part == expected), "{response:?}");
        assert!(connection.rest().unwrap().is_empty(), "the host closes its half too");
    }
    // Two requests before the end are two answers.
    let mut connection = Connection::open(host.address()).unwrap();
    connection
        .send(b"GET /bare/slow?ms=300 HTTP/1.1\r\nhost: x\r\n\r\nGET /one/who HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    connection.end().unwrap();
    assert_eq!(connection.response(false).unwrap().status, 200);
    assert_eq!(connection.response(false).unwrap().status, 200);
    let server = Server::settings().start();
    let admin = server.bootstrap();
    let request = raw::request(
        "GET",
        WHOAMI,
        server.host().address(),
        &[("authorization", &format!("Bearer {}", admin.bearer()))],
        None,
    );
    let mut connection = Connection::open(server.host().address()).unwrap();
    connection.send(&request).unwrap();
    connection.end().unwrap();
    assert_eq!(connection.response(false).unwrap().status, 200);
}

/// R80: clients that go away while their requests are answered leave no connection behind.
#[test]
fn a_client_that_goes_away_leaves_no_connection() {
    let host = Start::trap(&trap_manifest()).flag("--max-connections", "4").run();
    for _ in 0..4 {
        let mut connection = Connection::open(host.address()).unwrap();
        connection.send(b"GET /bare/slow?ms=500 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    }
    until_logged(&host, "slow: begun");
    until("room", || (host.client().get("/bare/count").status() == 200).then_some(()));
}

/// R301: a client that closes its half of the connection while it waits has gone: nobody holds its place for it. One whose answer comes at once
/// still gets it.
#[test]
fn a_client_that_goes_while_it_waits_leaves_its_place() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let bearer = format!("Bearer {}", scout.client.bearer());
    let ask = |path: &str| {
        let mut connection = Connection::open(server.host().address()).unwrap();
        let request = raw::request("GET", path, server.host().address(), &[("authorization", &bearer)], None);
        connection.send(&request).unwrap();
        connection.end().unwrap();
        String::from_utf8(connection.reader().unwrap().rest().unwrap()).unwrap()
    };
    assert!(ask(WHOAMI).starts_with("HTTP/1.1 200"));
    assert_eq!(ask("/api/agents/me/inbox?wait=25"), "");
}

/// R302: a stop waits for no request that waits itself: it is told to come again, and the next host has it at once.
#[test]
fn a_stop_ends_waits() {
    let (mut server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let answers = at_once(2, |number| {
        if number == 0 {
            // The answer is the host's own.
            let client = Client::plain(server.host().base_url()).with(scout.client.bearer());
            return Some(client.get("/api/agents/me/inbox?wait=25"));
        }
        until("the wait has begun", || (server.number("SELECT count(*) FROM streams") == 1).then_some(()));
        server.host().terminate();
        None
    });
    let answer = answers.into_iter().flatten().next().unwrap();
    answer.refused_by_host(503, "server_stopping");
    assert!(server.host_mut().ended().success());
}
