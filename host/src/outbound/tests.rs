//! R219: kept connections, R420: names whose addresses change, and R549: addresses that do not answer, against servers that count what
//! they get.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Barrier, watch};
use tokio_rustls::rustls::RootCertStore;

use super::*;
use crate::address::Network;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// What a server does with a request: what it sends, and whether it closes the connection then.
#[derive(Clone, Copy)]
struct Step(&'static str, bool);

const STAY: bool = false;
const CLOSE: bool = true;

/// What a server has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// Connections that the other side has closed.
    ended: AtomicUsize,
}

struct Server {
    port: u16,
    seen: Arc<Seen>,
    /// Closes the connections that there are.
    close: watch::Sender<()>,
}

impl Server {
    /// Answers each request by what `script` says of the connection and of the request on it, both from 0.
    async fn start(script: fn(usize, usize) -> Step) -> Self {
        Self::together(script, 1).await
    }

    /// The same; each answer waits until there are so many requests.
    async fn together(script: fn(usize, usize) -> Step, requests: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::new(Seen::default()));
        let (shared, all) = (seen.clone(), Arc::new(Barrier::new(requests)));
        let close = watch::Sender::new(());
        let closing = close.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                let (seen, all, mut close) = (shared.clone(), all.clone(), closing.subscribe());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    for request in 0.. {
                        while !head.ends_with(b"\r\n\r\n") {
                            tokio::select! {
                                _ = close.changed() => return,
                                byte = stream.read_u8() => match byte {
                                    Ok(byte) => head.push(byte),
                                    Err(_) => {
                                        seen.ended.fetch_add(1, Ordering::SeqCst);
                                        return;
                                    }
                                },
                            }
                        }
                        head.clear();
                        seen.requests.fetch_add(1, Ordering::SeqCst);
                        all.wait().await;
                        let Step(text, closes) = script(number, request);
                        stream.write_all(text.as_bytes()).await.unwrap();
                        if closes {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, seen, close }
    }

    fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Waits until the other side has closed so many connections.
    async fn ended(&self, count: usize) {
        until(|| self.seen.ended.load(Ordering::SeqCst) == count).await;
    }

    /// A component that may call the server.
    fn component(&self) -> Outbound {
        self.blocking(&[])
    }

    /// The same, where these networks are blocked.
    fn blocking(&self, networks: &[&str]) -> Outbound {
        let filter = Filter {
            blocked: networks.iter().map(|network| Network::parse(network).unwrap()).collect(),
            private: vec![("127.0.0.1".to_owned(), self.port)],
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
        Outbound {
            component: "test".into(),
            allowed: AllowedHosts::parse(&[format!("http://127.0.0.1:{}", self.port)]).unwrap(),
            tls: HashMap::new(),
            // No test waits for it.
            kept: Arc::new(Kept::new(Duration::from_secs(3600))),
            shared: Arc::new(Shared { filter, tls, look_up: system_resolver(), inside: OnceLock::new() }),
        }
    }

    fn request(&self, method: Method) -> Request<WasiBody> {
        let uri = format!("http://127.0.0.1:{}/path", self.port);
        Request::builder().method(method).uri(uri).body(full("")).unwrap()
    }

    /// Sends a request, and reads the body of its answer.
    async fn call(&self, outbound: &Outbound, method: Method) -> Result<Bytes, Error> {
        let response = outbound.send(self.request(method), RequestOptions::default()).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

/// Waits until something is so.
async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), wait).await.expect("it never came to be so");
}

/// Waits until a component keeps so many connections.
async fn keeps(outbound: &Outbound, count: usize) {
    until(|| outbound.kept.count() == count).await;
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let server = Server::start(|_, request| match request {
        1 => Step("HTTP/1.1 204 No Content\r\n\r\n", STAY),
        2 => Step("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", STAY),
        3 => Step("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", STAY),
        _ => Step(OK, STAY),
    })
    .await;
    let outbound = server.component();
    for (method, body) in [
        (Method::GET, "hello"),
        (Method::POST, ""),
        (Method::PUT, "hello"),
        (Method::HEAD, ""),
        (Method::DELETE, "hello"),
    ] {
        assert_eq!(server.call(&outbound, method.clone()).await.unwrap(), body, "{method}");
        keeps(&outbound, 1).await;
    }
    assert_eq!((server.connections(), server.requests()), (1, 5));
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_fails_no_request() {
    let server = Server::start(|_, _| Step(OK, STAY)).await;
    let outbound = server.component();
    for number in 1..=3 {
        assert_eq!(server.call(&outbound, Method::POST).await.unwrap(), "hello");
        keeps(&outbound, 1).await;
        server.close.send(()).unwrap();
        keeps(&outbound, 0).await;
        assert_eq!(server.connections(), number);
    }
    // Closed at once and without a word, so it may not have been noticed.
    let server = Server::start(|_, _| Step(OK, CLOSE)).await;
    let outbound = server.component();
    for number in 1..=20 {
        assert_eq!(server.call(&outbound, Method::GET).await.unwrap(), "hello");
        assert_eq!((server.connections(), server.requests()), (number, number));
    }
}

#[tokio::test]
async fn a_request_that_meets_the_end_of_its_connection_is_sent_again_only_if_that_is_safe() {
    let server = Server::start(|connection, request| match (connection, request) {
        (0, 1) => Step("", CLOSE),
        (1, 1) => Step("HTTP/1.1 200", CLOSE),
        _ => Step(OK, STAY),
    })
    .await;
    let outbound = server.component();
    assert_eq!(server.call(&outbound, Method::GET).await.unwrap(), "hello");
    keeps(&outbound, 1).await;
    assert_eq!(server.call(&outbound, Method::GET).await.unwrap(), "hello");
    assert_eq!((server.connections(), server.requests()), (2, 3));
    keeps(&outbound, 1).await;
    // The server may have acted on this one.
    let error = server.call(&outbound, Method::POST).await.unwrap_err();
    assert!(matches!(&error, Error::Hyper(error) if error.is_incomplete_message()), "{error}");
    assert_eq!((server.connections(), server.requests()), (2, 4));
    assert_eq!(server.call(&outbound, Method::POST).await.unwrap(), "hello");
    assert_eq!((server.connections(), server.requests()), (3, 5));
}

#[tokio::test]
async fn a_server_that_ends_every_connection_is_asked_twice_at_most() {
    let server = Server::start(|connection, request| match (connection, request) {
        (0, 0) => Step(OK, STAY),
        _ => Step("", CLOSE),
    })
    .await;
    let outbound = server.component();
    assert_eq!(server.call(&outbound, Method::GET).await.unwrap(), "hello");
    keeps(&outbound, 1).await;
    server.call(&outbound, Method::GET).await.unwrap_err();
    assert_eq!((server.connections(), server.requests()), (2, 3));
}

#[tokio::test]
async fn a_connection_that_cannot_be_trusted_with_another_request_is_closed() {
    type Script = fn(usize, usize) -> Step;
    let whole: [(Script, &str); 5] = [
        (|_, _| Step("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", STAY), "hello"),
        (|_, _| Step("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", STAY), "hello"),
        (|_, _| Step("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n", STAY), "hello"),
        (|_, _| Step("HTTP/1.1 204 No Content\r\n\r\nhello", STAY), ""),
        (|_, _| Step("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", CLOSE), "hello"),
    ];
    for (number, (script, body)) in whole.into_iter().enumerate() {
        let server = Server::start(script).await;
        let outbound = server.component();
        for connections in 1..=2 {
            assert_eq!(server.call(&outbound, Method::GET).await.unwrap(), body, "{number}");
            if !script(0, 0).1 {
                server.ended(connections).await;
            }
            keeps(&outbound, 0).await;
            assert_eq!(server.connections(), connections, "{number}");
        }
    }
    let broken: [Script; 4] = [
        |_, _| Step("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", CLOSE),
        |_, _| Step("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", CLOSE),
        |_, _| Step("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", STAY),
        |_, _| Step("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", STAY),
    ];
    for (number, script) in broken.into_iter().enumerate() {
        let server = Server::start(script).await;
        let outbound = server.component();
        for connections in 1..=2 {
            // Whether the upgrade has an answer is hyper's business; a request never goes over its connection.
            let answer = server.call(&outbound, Method::GET).await;
            assert!(answer.is_err() || number == 3, "{number}");
            if !script(0, 0).1 {
                server.ended(connections).await;
            }
            keeps(&outbound, 0).await;
            assert_eq!(server.connections(), connections, "{number}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_not_read_to_its_end_ends_its_connection() {
    let server = Server::start(|_, _| Step("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", STAY)).await;
    let outbound = server.component();
    let mut response = outbound.send(server.request(Method::GET), RequestOptions::default()).await.unwrap();
    assert!(response.body_mut().frame().await.unwrap().is_ok());
    drop(response);
    server.ended(1).await;
    assert_eq!(outbound.kept.count(), 0);
}

/// An answer that comes before its request has ended leaves a connection on which the rest of that request may still come.
#[tokio::test]
async fn a_request_that_is_not_sent_to_its_end_ends_its_connection() {
    let server = Server::start(|_, _| Step("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", STAY)).await;
    let outbound = Outbound { kept: Arc::new(Kept::new(Duration::from_millis(50))), ..server.component() };
    let request = server.request(Method::POST).map(|_| Endless.boxed_unsync());
    let response = outbound.send(request, RequestOptions::default()).await.unwrap();
    assert_eq!(response.status(), 413);
    server.ended(1).await;
    assert_eq!((outbound.kept.count(), server.connections()), (0, 1));
}

/// A body of which nothing ever comes.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn a_connection_waits_for_a_bounded_time_and_beside_a_bounded_number_of_others() {
    let server = Server::start(|_, _| Step(OK, STAY)).await;
    let outbound = Outbound { kept: Arc::new(Kept::new(Duration::from_millis(50))), ..server.component() };
    assert_eq!(server.call(&outbound, Method::GET).await.unwrap(), "hello");
    server.ended(1).await;

    let server = Server::together(|_, _| Step(OK, STAY), 12).await;
    let outbound = Arc::new(server.component());
    let calls = (0..12).map(|_| {
        let (outbound, request) = (outbound.clone(), server.request(Method::GET));
        tokio::spawn(async move {
            let response = outbound.send(request, RequestOptions::default()).await.unwrap();
            response.into_body().collect().await.unwrap();
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    server.ended(4).await;
    assert_eq!((server.connections(), outbound.kept.count()), (12, 8));
}

#[tokio::test]
async fn a_kept_connection_leads_only_where_a_new_one_might() {
    let server = Server::start(|_, _| Step(OK, STAY)).await;
    let outbound = server.component();
    assert_eq!(server.call(&outbound, Method::GET).await.unwrap(), "hello");
    keeps(&outbound, 1).await;
    let blocked = Outbound { kept: outbound.kept.clone(), ..server.blocking(&["127.0.0.0/8"]) };
    let error = server.call(&blocked, Method::GET).await.unwrap_err();
    assert!(matches!(error, Error::DestinationIpProhibited), "{error}");
    let denied = AllowedHosts::parse(&["http://127.0.0.1:1".to_owned()]).unwrap();
    let denied = Outbound { kept: outbound.kept.clone(), allowed: denied, ..server.component() };
    let error = server.call(&denied, Method::GET).await.unwrap_err();
    assert!(matches!(error, Error::HttpRequestDenied), "{error}");

    let place = Place { is_tls: false, host: "127.0.0.1".to_owned(), port: server.port };
    let address = |text: &str| SocketAddr::new(text.parse().unwrap(), server.port);
    assert!(outbound.kept.take(&place, &[]).is_none());
    assert!(outbound.kept.take(&place, &[address("127.0.0.2"), address("::1")]).is_none());
    for other in [
        Place { is_tls: true, ..place.clone() },
        Place { host: "localhost".to_owned(), ..place.clone() },
        Place { port: 1, ..place.clone() },
    ] {
        assert!(outbound.kept.take(&other, &[address("127.0.0.1")]).is_none(), "{other:?}");
    }
    assert_eq!((server.connections(), server.requests(), outbound.kept.count()), (1, 1, 1));
    assert!(outbound.kept.take(&place, &[address("127.0.0.2"), address("127.0.0.1")]).is_some());
    assert_eq!(outbound.kept.count(), 0);
}

#[tokio::test]
async fn a_component_uses_no_connection_of_another_one() {
    let server = Server::start(|_, _| Step(OK, STAY)).await;
    let components = [server.component(), server.component()];
    for _ in 0..2 {
        for outbound in &components {
            assert_eq!(server.call(outbound, Method::GET).await.unwrap(), "hello");
            keeps(outbound, 1).await;
        }
    }
    assert_eq!((server.connections(), server.requests()), (2, 4));
}

#[tokio::test]
async fn the_first_byte_has_its_time_on_a_kept_connection_too() {
    let server = Server::start(|_, request| if request == 0 { Step(OK, STAY) } else { Step("", STAY) }).await;
    let outbound = server.component();
    assert_eq!(server.call(&outbound, Method::GET).await.unwrap(), "hello");
    keeps(&outbound, 1).await;
    let options = RequestOptions { first_byte_timeout: Some(Duration::from_millis(50)), ..RequestOptions::default() };
    let error = outbound.send(server.request(Method::GET), options).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
    server.ended(1).await;
    assert_eq!((server.connections(), server.requests(), outbound.kept.count()), (1, 2, 0));
}

/// R420: a name has one look-up for each request, whose addresses are checked and connected to. What the resolver says the next time is
/// never connected to unchecked: neither by the same request, nor by the next one, whatever connection is kept.
#[tokio::test]
async fn what_a_resolver_says_the_second_time_is_never_connected_to_unchecked() {
    const HOST: &str = "rebind.example";
    let server = Server::start(|_, _| Step(OK, STAY)).await;
    // On the same port of another address: what the name leads to from the second answer on.
    let inner = std::net::TcpListener::bind(("127.0.0.2", server.port)).unwrap();
    inner.set_nonblocking(true).unwrap();
    let answers = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
    let (asked, port) = (Arc::new(AtomicUsize::new(0)), server.port);
    let counted = asked.clone();
    let outbound = server.component();
    let (allowed, tls) =
        (AllowedHosts::parse(&[format!("http://{HOST}:{port}")]).unwrap(), outbound.shared.tls.clone());
    let shared = Shared {
        // The first address stands for a public one: a test asks nothing of the Internet.
        filter: Filter {
            blocked: vec![Network::parse("127.0.0.2/32").unwrap()],
            private: vec![(HOST.to_owned(), port)],
        },
        tls,
        look_up: Box::new(move |host, port| {
            assert_eq!(host, HOST);
            let ip = answers[counted.fetch_add(1, Ordering::SeqCst).min(1)];
            Box::pin(async move { Ok(vec![SocketAddr::from((ip, port))]) })
        }),
        inside: OnceLock::new(),
    };
    let outbound = Outbound { allowed, shared: Arc::new(shared), ..outbound };
    let get = || Request::get(format!("http://{HOST}:{port}/")).body(full("")).unwrap();
    let response = outbound.send(get(), RequestOptions::default()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert_eq!((asked.load(Ordering::SeqCst), server.connections()), (1, 1));
    keeps(&outbound, 1).await;
    let error = outbound.send(get(), RequestOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::DestinationIpProhibited), "{error}");
    assert_eq!((asked.load(Ordering::SeqCst), server.connections(), server.requests()), (2, 1, 1));
    assert!(inner.accept().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock), "it was connected to");
}

/// R549: an address from which nothing comes leaves time for the next one of its name, and for no longer than the whole may take.
#[tokio::test]
async fn an_address_that_says_nothing_leaves_time_for_the_next_one() {
    let server = Server::start(|_, _| Step(OK, STAY)).await;
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let silent = silent.listen(1).unwrap();
    let (dead, live) = (silent.local_addr().unwrap(), SocketAddr::from((Ipv4Addr::LOCALHOST, server.port)));
    // Nobody takes the connections that it has, so soon it answers no more.
    let mut full = Vec::new();
    while let Ok(Ok(stream)) = timeout(Duration::from_millis(200), TcpStream::connect(dead)).await {
        full.push(stream);
    }
    for addresses in [vec![dead, live], vec![dead, dead, live], vec![dead, dead]] {
        let outbound = server.component();
        let is_reached = addresses.contains(&live);
        let shared = Shared {
            filter: Filter { blocked: Vec::new(), private: vec![("127.0.0.1".to_owned(), server.port)] },
            tls: outbound.shared.tls.clone(),
            look_up: Box::new(move |_, _| {
                let addresses = addresses.clone();
                Box::pin(async move { Ok(addresses) })
            }),
            inside: OnceLock::new(),
        };
        let outbound = Outbound { shared: Arc::new(shared), ..outbound };
        let options = RequestOptions { connect_timeout: Some(Duration::from_secs(2)), ..RequestOptions::default() };
        match outbound.send(server.request(Method::GET), options).await {
            Ok(response) => assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello"),
            Err(error) => assert!(!is_reached && matches!(error, Error::ConnectionTimeout), "{error}"),
        }
    }
    assert_eq!(server.connections(), 2);
}
