//! Providers of identities: a real one from npm, and one that does whatever is wrong.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use serde_json::{Value as Json, json};

use crate::{
    Client, PATIENCE, packages,
    process::Running,
    tls::{Authority, Stream},
};

/// npm's `oidc-provider` in a process of its own.
pub struct RealProvider {
    process: Running,
    authority: Authority,
    port: u16,
    /// Somebody's browser at the provider.
    browser: Client,
}

impl RealProvider {
    /// Starts it. `cache`: a folder in which its packages are kept.
    pub fn start(cache: &Path) -> Self {
        Self::start_as(cache, &[])
    }

    /// The same, with ID tokens that say no address and no name.
    pub fn start_thin(cache: &Path) -> Self {
        Self::start_as(cache, &["thin"])
    }

    fn start_as(cache: &Path, how: &[&str]) -> Self {
        let home = packages::npm(cache, "oidc");
        let authority = Authority::new(&["oidc"]);
        let mut process = Command::new("node")
            .arg("provider.mjs")
            .args(["certificate.pem", "key.pem"].map(|name| authority.files().join(name)))
            .args(how)
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("its output")).read_line(&mut line).expect("its ports");
        let ports: Vec<u16> = line.split_whitespace().filter_map(|port| port.parse().ok()).collect();
        let [port, beside] = ports[..] else { panic!("the provider did not start: {line:?}; run `node provider.mjs`") };
        let browser = Client::plain(&format!("http://127.0.0.1:{beside}"));
        Self { process: Running(process), authority, port, browser }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// A runtime configuration by which the component that asks providers trusts it.
    pub fn runtime_config(&self) -> PathBuf {
        self.authority.runtime_config()
    }

    /// Somebody signs in there, and agrees; returns the path and query to which the provider then leads.
    #[track_caller]
    pub fn sign_in(&self, name: &str, url: &str) -> String {
        let left = self.browser.get(&format!("/{name}?{url}"));
        let left = left.text();
        let path = left.strip_prefix("http://").and_then(|rest| rest.find('/').and_then(|at| rest.get(at..)));
        path.unwrap_or_else(|| panic!("the provider led to {left}")).to_owned()
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.process.0.kill().expect("to kill the provider");
        self.process.0.wait().expect("to wait for the provider");
    }
}

/// What is wrong with the answers to requests of a path.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It keeps the connection open and says nothing.
    Silence,
    /// It sends one byte in a while.
    Drip,
    /// It answers 10 MB.
    Huge,
    /// It leads to another path of its own, which has the right answer.
    Redirect,
    /// It answers this status with no body.
    Status(u16),
    /// It is closed in the middle.
    Broken,
}

/// A provider that does what the test says.
pub struct EvilProvider {
    port: u16,
    authority: Authority,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    issuer: String,
    /// What it says of itself otherwise than it should.
    metadata: BTreeMap<String, Json>,
    keys: Vec<String>,
    token: String,
    /// What it says of its person.
    person: Json,
    faults: BTreeMap<String, Fault>,
    asked: Vec<String>,
}

/// How a token is signed.
pub enum Signed<'a> {
    /// By the key of this name: by ES256, or RS256 if it begins with `rsa`.
    By(&'a str),
    /// With this header, and this text as the signature.
    As(Json, &'a str),
}

impl EvilProvider {
    /// Starts it.
    pub fn start() -> Self {
        let authority = Authority::new(&["oidc", "worker"]);
        let shared = Arc::new(Mutex::new(Shared { keys: vec!["one".to_owned()], ..Shared::default() }));
        let serving = Arc::clone(&shared);
        let port = authority.serve(move |stream| serve(stream, &serving));
        let provider = Self { port, authority, shared };
        provider.shared().issuer = format!("https://localhost:{port}");
        provider
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// The issuer.
    pub fn issuer(&self) -> String {
        self.shared().issuer.clone()
    }

    /// A runtime configuration by which the component that asks providers trusts it.
    pub fn runtime_config(&self) -> PathBuf {
        self.authority.runtime_config()
    }

    /// Publishes keys of these names.
    pub fn has_keys(&self, names: &[&str]) {
        self.shared().keys = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Says something else of itself.
    pub fn says(&self, name: &str, value: Json) {
        self.shared().metadata.insert(name.to_owned(), value);
    }

    /// Fails from now on where this path is asked for; `None`: no longer.
    pub fn fails(&self, path: &str, fault: Option<Fault>) {
        let faults = &mut self.shared().faults;
        match fault {
            Some(fault) => faults.insert(path.to_owned(), fault),
            None => faults.remove(path),
        };
    }

    /// The paths that were asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shared().asked)
    }

    /// Says this of the person whose access token it is sent.
    pub fn knows(&self, person: &Json) {
        self.shared().person = person.clone();
    }

    /// Trades the next codes for this token.
    pub fn trades(&self, claims: &Json, signed: &Signed<'_>) {
        self.shared().token = token(claims, signed);
    }
}

/// A token that says this.
pub fn token(claims: &Json, signed: &Signed<'_>) -> String {
    let encoded = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
    match signed {
        Signed::By(name) => {
            let key = Key::named(name);
            let header = json!({ "alg": key.algorithm(), "kid": name });
            let text = format!("{}.{}", encoded(&header), encoded(claims));
            let signature = URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()));
            format!("{text}.{signature}")
        }
        Signed::As(header, signature) => format!("{}.{}.{signature}", encoded(header), encoded(claims)),
    }
}

/// A key that signs tokens.
enum Key {
    P256(SigningKey),
    Rsa(KeyPair),
}

/// A key of RSA, made once for this process.
static RSA: LazyLock<String> = LazyLock::new(|| {
    let mut openssl = Command::new(packages::program("openssl"));
    let made = openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).output();
    String::from_utf8(made.expect("to start openssl").stdout).expect("a key")
});

impl Key {
    /// The key of this name. `rsa`, with whatever behind it, is a key of RSA, with which GitHub and Kubernetes sign.
    fn named(name: &str) -> Self {
        if name.starts_with("rsa") {
            let key = KeyPair::from_pem_and_sign_algo(&RSA, &PKCS_RSA_SHA256);
            return Self::Rsa(key.expect("a key"));
        }
        let mut seed = [1; 32];
        for (to, from) in seed.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        Self::P256(SigningKey::from_slice(&seed).expect("a key"))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(key) => {
                let signature: Signature = key.sign(text);
                signature.to_bytes().to_vec()
            }
            Self::Rsa(key) => rcgen::SigningKey::sign(key, text).expect("a signature"),
        }
    }
}

/// The public key of this name, as a member of a key set.
pub fn public_key(name: &str) -> Json {
    match Key::named(name) {
        Key::P256(key) => {
            let point = key.verifying_key().to_sec1_point(false);
            let bytes = point.as_bytes();
            json!({ "kty": "EC", "crv": "P-256", "kid": name, "use": "sig",
                    "x": URL_SAFE_NO_PAD.encode(&bytes[1..33]), "y": URL_SAFE_NO_PAD.encode(&bytes[33..]) })
        }
        Key::Rsa(key) => {
            // RFC 8017, section A.1.1, for 2,048 bits: two lengths and a zero, the modulus, and 65,537.
            let modulus = &key.public_key_raw()[9..265];
            json!({ "kty": "RSA", "alg": "RS256", "kid": name, "use": "sig", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB" })
        }
    }
}

fn serve(stream: &mut Stream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line)?;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header)?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap_or(0),
            Some(_) => {}
            None => break,
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (body, fault) = {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.asked.push(path.clone());
        (shared.answer(path.trim_end_matches("/moved")), shared.faults.get(&path).copied())
    };
    answer(stream, &path, &body, fault)
}

impl Shared {
    fn answer(&self, path: &str) -> String {
        let issuer = &self.issuer;
        let body = match path {
            "/.well-known/openid-configuration" => {
                let mut said = json!({ "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
                                       "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys") });
                for (name, value) in &self.metadata {
                    said[name] = value.clone();
                }
                said
            }
            "/keys" => json!({ "keys": self.keys.iter().map(|name| public_key(name)).collect::<Vec<_>>() }),
            "/token" => json!({ "access_token": "a", "token_type": "Bearer", "id_token": self.token }),
            "/userinfo" => self.person.clone(),
            _ => Json::Null,
        };
        body.to_string()
    }
}

fn answer(stream: &mut Stream, path: &str, body: &str, fault: Option<Fault>) -> std::io::Result<()> {
    let stream = stream.get_mut();
    let head = |status: u16, length: usize, more: &str| {
        format!(
            "HTTP/1.1 {status} Word\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
        )
    };
    match fault {
        None => stream.write_all(format!("{}{body}", head(200, body.len(), "")).as_bytes())?,
        Some(Fault::Status(status)) => stream.write_all(head(status, 0, "").as_bytes())?,
        Some(Fault::Redirect) => {
            stream.write_all(head(302, 0, &format!("location: {path}/moved\r\n")).as_bytes())?;
        }
        Some(Fault::Silence) => thread::sleep(PATIENCE),
        Some(Fault::Drip) => {
            stream.write_all(head(200, body.len(), "").as_bytes())?;
            for byte in body.as_bytes() {
                stream.write_all(&[*byte])?;
                stream.flush()?;
                thread::sleep(Duration::from_millis(500));
            }
        }
        Some(Fault::Huge) => {
            let size = 10 << 20;
            stream.write_all(head(200, size + body.len(), "").as_bytes())?;
            for _ in 0..size / 1024 {
                stream.write_all(&[b' '; 1024])?;
            }
            stream.write_all(body.as_bytes())?;
        }
        Some(Fault::Broken) => {
            let (half, _) = body.split_at(body.len() / 2);
            stream.write_all(format!("{}{half}", head(200, body.len(), "")).as_bytes())?;
        }
    }
    stream.flush()?;
    stream.conn.send_close_notify();
    stream.flush()
}
