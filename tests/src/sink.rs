//! A server that mail is sent to: TLS with a certificate of its own authority, which the host is told to trust.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use serde_json::Value as Json;

use crate::{
    PATIENCE, Server,
    server::{KEY, Settings},
    tls::{Authority, Stream},
};

/// The token that a server has for this provider.
pub const TOKEN: &str = "s3cret-token-of-the-provider";

/// What the sink does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers with this status and body.
    Status(u16, &'static str),
    /// Answers with this status and `Retry-After`.
    Later(u16, &'static str),
    /// Answers 302 with this location.
    Redirect(String),
    /// Keeps the connection open and says nothing.
    Silence,
    /// Answers 400 with a body that never ends.
    Endless,
    /// Answers 200 and says that the body has so many bytes, whatever it has; then closes the connection.
    Length(usize, &'static str),
    /// Answers 200 with so many chunks, and neither a last one nor an end of the connection.
    Chunks(usize),
}

/// A request that has arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Method and path.
    pub line: String,
    /// Headers in the order that they came, the names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Json,
    /// The body as it came.
    pub raw: Vec<u8>,
}

impl Received {
    /// The first header of that name; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    replies: Mutex<VecDeque<Reply>>,
    /// What is answered at a path, each time.
    paths: Mutex<BTreeMap<String, Reply>>,
}

/// This machine, in every way of writing that some parser takes for it: no component reaches it, whatever the operator's list names.
pub const THIS_MACHINE: [&str; 9] = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::1]",
];

/// The server. Its threads end with the process.
pub struct Sink {
    port: u16,
    shared: Arc<Shared>,
    authority: Authority,
}

impl Sink {
    /// Starts it on a free port of `localhost`. It answers 200 unless it is told otherwise.
    #[expect(clippy::new_without_default, reason = "it opens a port and starts a thread")]
    pub fn new() -> Self {
        let authority = Authority::new(&["worker"]);
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let port = authority.serve(move |stream| serve(stream, &serving));
        Self { port, shared, authority }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// A runtime configuration that lets the component that sends mail trust this server.
    pub fn runtime_config(&self) -> PathBuf {
        self.authority.runtime_config()
    }

    /// The settings of a server that keeps secrets, and that may send requests of its users here.
    pub fn allowed(&self) -> Settings {
        Server::settings()
            .variable("outbound_hosts", &self.address())
            .variable("secrets_key", KEY)
            .flag("--runtime-config-file", &self.runtime_config().to_string_lossy())
            .flag("--allow-private", &self.address())
    }

    /// The settings of a server that sends its mail here, as to this provider.
    pub fn mail(&self, provider: &str) -> Settings {
        Server::settings()
            .variable("mail_provider", provider)
            .variable("mail_host", &self.address())
            .variable("mail_from", "no-reply@example.com")
            .variable("mail_token", TOKEN)
            .flag("--runtime-config-file", &self.runtime_config().to_string_lossy())
            .flag("--allow-private", &self.address())
    }

    /// What is done with the next requests.
    pub fn will(&self, replies: &[Reply]) {
        self.shared.replies.lock().unwrap_or_else(PoisonError::into_inner).extend(replies.iter().cloned());
    }

    /// What is done with every request for this path from now on.
    pub fn answers(&self, path: &str, reply: Reply) {
        self.shared.paths.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), reply);
    }

    /// All that has arrived.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut stream: &mut Stream, shared: &Shared) -> std::io::Result<()> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header)?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let is_chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = Vec::new();
    let mut take = |length: usize, stream: &mut dyn BufRead| -> std::io::Result<()> {
        let start = body.len();
        body.resize(start + length, 0);
        stream.read_exact(body.get_mut(start..).unwrap_or_default())
    };
    if is_chunked {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
            take(size, &mut stream)?;
            stream.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    } else {
        take(length.unwrap_or(0), &mut stream)?;
    }
    let line = line.rsplit_once(' ').map(|(line, _)| line.to_owned()).unwrap_or_default();
    let received = Received { line, headers, body: serde_json::from_slice(&body).unwrap_or_default(), raw: body };
    let path = received.line.split(' ').nth(1).unwrap_or_default();
    let reply = shared.paths.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    let reply = reply.or_else(|| shared.replies.lock().unwrap_or_else(PoisonError::into_inner).pop_front());
    shared.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);

    let stream = stream.get_mut();
    let head = |status: u16, more: &str| format!("HTTP/1.1 {status} Word\r\nconnection: close\r\n{more}");
    match reply.unwrap_or(Reply::Status(200, "{}")) {
        Reply::Status(status, body) => {
            let length = format!("content-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(head(status, &length).as_bytes())?;
        }
        Reply::Later(status, seconds) => {
            let more = format!("retry-after: {seconds}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head(status, &more).as_bytes())?;
        }
        Reply::Redirect(location) => {
            let more = format!("location: {location}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head(302, &more).as_bytes())?;
        }
        Reply::Silence => thread::sleep(PATIENCE),
        Reply::Length(said, body) => {
            let length = format!("content-length: {said}\r\n\r\n{body}");
            stream.write_all(head(200, &length).as_bytes())?;
        }
        Reply::Chunks(number) => {
            stream.write_all(head(200, "transfer-encoding: chunked\r\n\r\n").as_bytes())?;
            for _ in 0..number {
                stream.write_all(format!("400\r\n{}\r\n", "x".repeat(1024)).as_bytes())?;
            }
            stream.flush()?;
            thread::sleep(PATIENCE);
        }
        Reply::Endless => {
            stream.write_all(head(400, "\r\n").as_bytes())?;
            while stream.write_all(&[b' '; 1024]).is_ok() {
                stream.flush()?;
            }
        }
    }
    stream.flush()?;
    stream.conn.send_close_notify();
    stream.flush()
}
