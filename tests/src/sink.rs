//! A server that mail is sent to: TLS with a certificate of its own authority, which the host is told to trust.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::PATIENCE;

/// The token that a server has for this provider.
pub const TOKEN: &str = "s3cret-token-of-the-provider";

/// What the sink does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers with this status and body.
    Status(u16, &'static str),
    /// Answers 302 with this location.
    Redirect(String),
    /// Keeps the connection open and says nothing.
    Silence,
    /// Answers 400 with a body that never ends.
    Endless,
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
}

/// The server. Its threads end with the process.
pub struct Sink {
    port: u16,
    shared: Arc<Shared>,
    files: TempDir,
}

impl Sink {
    /// Starts it on a free port of `localhost`. It answers 200 unless it is told otherwise.
    #[expect(clippy::new_without_default, reason = "it opens a port and starts a thread")]
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("an authority");
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let names = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = names.signed_by(&key, &issuer).expect("a certificate");

        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate of its key");

        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let files = tempfile::tempdir().expect("a temporary directory");
        fs::write(files.path().join("ca.pem"), authority.pem()).expect("to write the authority");
        let trust =
            "[[client_tls]]\ncomponent_ids = [\"worker\"]\nhosts = [\"localhost\"]\nca_roots_file = \"ca.pem\"\n";
        fs::write(files.path().join("runtime-config.toml"), trust).expect("to write the configuration");

        let (shared, config) = (Arc::new(Shared::default()), Arc::new(config));
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, config) = (Arc::clone(&serving), Arc::clone(&config));
                // A client that goes away is the test's affair.
                thread::spawn(move || drop(serve(stream, config, &shared)));
            }
        });
        Self { port, shared, files }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// A runtime configuration that lets the component that sends mail trust this server.
    pub fn runtime_config(&self) -> PathBuf {
        self.files.path().join("runtime-config.toml")
    }

    /// The settings of a server that sends its mail here, as to this provider.
    pub fn mail(&self, provider: &str) -> crate::server::Settings {
        crate::Server::settings()
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

    /// All that has arrived.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
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
    let received = Received { line, headers, body: serde_json::from_slice(&body).unwrap_or_default() };
    let reply = shared.replies.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    shared.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);

    let stream = stream.get_mut();
    let head = |status: u16, more: &str| format!("HTTP/1.1 {status} Word\r\nconnection: close\r\n{more}");
    match reply.unwrap_or(Reply::Status(200, "{}")) {
        Reply::Status(status, body) => {
            let length = format!("content-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(head(status, &length).as_bytes())?;
        }
        Reply::Redirect(location) => {
            let more = format!("location: {location}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head(302, &more).as_bytes())?;
        }
        Reply::Silence => thread::sleep(PATIENCE),
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
