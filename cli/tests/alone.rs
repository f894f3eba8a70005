//! The command with its files and its environment, beside servers that are a few lines of this test.
#![expect(clippy::unwrap_used, reason = "a test says what it expects in the shortest way, in what its cases share too")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use common::secret::{Chance, Kind, Secret};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// What every server here answers, whatever is asked.
const ANSWER: &str = r#"{"email":"ada@example.com","role":"member"}"#;

/// What a run of the command left.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// The run, if it ended so.
    #[track_caller]
    fn is(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    #[track_caller]
    fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.err.contains(text), "{text}: {self:?}");
        }
        self
    }
}

/// Runs the command with these variables and no others.
fn run(variables: &[(&str, &str)], words: &[&str], input: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_accredit"));
    command.args(words).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that asks for nothing may have gone.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

fn token() -> String {
    Secret::generate(Kind::AgentToken, &Chance::seeded(7)).reveal().to_owned()
}

/// Reads one request, and answers it.
fn answer(mut stream: impl Read + Write, status: &str) -> std::io::Result<String> {
    let mut head = String::new();
    let mut reader = BufReader::new(&mut stream);
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    let (length, end) = (ANSWER.len(), "connection: close\r\n\r\n");
    write!(stream, "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{end}{ANSWER}")?;
    stream.flush()?;
    Ok(head)
}

/// A server without TLS: its port, and how many came.
fn server(status: &'static str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            drop(answer(stream, status));
        }
    });
    (port, asked)
}

/// A server for `localhost` whose CA nobody knows: its port, and the certificate of the CA.
fn tls_server() -> (u16, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap().der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            drop(answer(StreamOwned::new(connection, stream), "200 OK"));
        }
    });
    (port, authority)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// R107: whoever has both variables needs no HOME; only what saves something does, and asks for its place before it spends a code.
#[test]
fn both_variables_need_no_home() {
    let (port, asked) = server("200 OK");
    let (url, token) = (format!("http://127.0.0.1:{port}"), token());
    for home in [None, Some(("HOME", "")), Some(("HOME", "relative"))] {
        let with = |more: &[(&'static str, &str)], words: &[&str], input: &str| {
            let variables: Vec<(&str, &str)> = more.iter().copied().chain(home).collect();
            run(&variables, words, input)
        };
        let both: [(&str, &str); 2] = [("ACCREDIT_URL", &url), ("ACCREDIT_TOKEN", &token)];
        let line = format!("export ACCREDIT_URL='{url}' ACCREDIT_TOKEN='{token}'\n");
        assert_eq!(with(&both, &["auth", "status", "--export"], "").is(0).out, line);
        assert!(with(&both, &["auth", "status"], "").is(0).out.contains("ACCREDIT_TOKEN"));
        let ran = with(&both, &["whoami"], "").is(0);
        assert!(ran.out.contains("ada@example.com") && ran.err.is_empty(), "{ran:?}");
        with(&both[..1], &["whoami"], "").is(2).says(&["no credential"]);
        with(&both[..1], &["auth", "logout"], "").is(0);
        with(&both[1..], &["whoami"], "").is(64).says(&["No server is named", "ACCREDIT_URL"]);

        let before = asked.load(Ordering::SeqCst);
        for words in [
            &["auth", "login"][..],
            &["auth", "login", "--token", "-"],
            &["auth", "import-token", "--token", "-", "--skip-verify"],
            &["auth", "enroll"],
        ] {
            with(&both[..1], words, &token).is(64).says(&["no place to save", "fix: Set HOME or ACCREDIT_CONFIG_DIR"]);
        }
        assert_eq!(asked.load(Ordering::SeqCst), before);
    }
}

/// R107: a broken file of the user stops those who need it, with its place and a step, and only warns the others.
#[test]
fn a_broken_file_stops_only_those_who_need_it() {
    let (port, _) = server("200 OK");
    let (url, token, home) = (format!("http://127.0.0.1:{port}"), token(), tempfile::tempdir().unwrap());
    let (config, saved) = (home.path().join("config.toml"), home.path().join("credentials.json"));
    let place = ("ACCREDIT_CONFIG_DIR", text(home.path()));
    let (of_url, of_token) = (("ACCREDIT_URL", url.as_str()), ("ACCREDIT_TOKEN", token.as_str()));
    fs::write(&config, "# mine\nurl = \n").unwrap();
    for (variables, words) in
        [(&[place, of_url, of_token][..], &["whoami"][..]), (&[place, of_token], &["whoami", "--url", &url])]
    {
        let ran = run(variables, words, "").is(0).says(&["config.toml, line 2, column 7: ", "fix: Mend line 2"]);
        assert!(ran.err.starts_with("warning: ") && ran.err.matches("warning").count() == 1, "{ran:?}");
    }
    let ran = run(&[place, of_token], &["whoami"], "").is(64).says(&["config.toml, line 2, column 7: ", "fix: Mend"]);
    assert!(ran.err.starts_with("error: "), "{ran:?}");

    fs::write(&config, format!("url = \"{url}\"\n")).unwrap();
    fs::write(&saved, "{ not json").unwrap();
    let ran =
        run(&[place, of_token], &["whoami"], "").is(0).says(&["warning: ", " is damaged at line 1, column 3, so"]);
    assert_eq!(ran.err.matches("damaged").count(), 1, "{ran:?}");
    run(&[place], &["whoami"], "").is(2).says(&["damaged", "error: There is no credential"]);
    // Signing in warns once, and writes the file anew.
    let ran = run(&[place], &["auth", "login", "--token", "-"], &token).is(0);
    assert_eq!(ran.err.matches("damaged").count(), 1, "{ran:?}");
    let ran = run(&[place], &["whoami"], "").is(0);
    assert!(ran.err.is_empty(), "{ran:?}");
}

/// R107: the proxy of the scheme is the one that is asked, and one that cannot be used is told, never passed over.
#[test]
fn a_proxy_is_asked_or_told() {
    let (proxy, asked) = server("403 Forbidden");
    let proxy = format!("http://ada:hidden@127.0.0.1:{proxy}");
    let (socks, token) = ("socks5://ada:hidden@127.0.0.1:1", token());
    let with = |proxies: &[(&'static str, &str)]| {
        let mut variables = vec![("ACCREDIT_URL", "https://accredit.invalid"), ("ACCREDIT_TOKEN", token.as_str())];
        variables.extend_from_slice(proxies);
        let ran = run(&variables, &["whoami", "--timeout", "5"], "");
        assert!(!ran.err.contains("hidden"), "{ran:?}");
        ran
    };
    let through = ["through the proxy http://127.0.0.1:", "403", "fix: Check the proxy in HTTPS_PROXY, or name"];
    with(&[("HTTPS_PROXY", &proxy), ("ALL_PROXY", socks), ("NO_PROXY", "invalid.example")]).is(3).says(&through);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let told = ["error: ALL_PROXY names a SOCKS proxy", "fix: Set https_proxy to an HTTP proxy", "accredit.invalid"];
    with(&[("ALL_PROXY", socks)]).is(64).says(&told);
    with(&[("https_proxy", "garbage://")]).is(64).says(&["error: https_proxy holds no address of a proxy."]);
    // A server that is exempt is asked itself.
    for proxy in [proxy.as_str(), socks, "garbage://"] {
        let ran = with(&[("HTTPS_PROXY", proxy), ("NO_PROXY", "invalid")]).is(3);
        assert!(ran.err.starts_with("error: https://accredit.invalid cannot be reached: "), "{ran:?}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// R107: a CA of the machine, or of the file that is named, is trusted; where none is, the step says how.
#[test]
fn a_ca_of_ones_own_can_be_trusted() {
    let (port, authority) = tls_server();
    let (url, token, folder) = (format!("https://localhost:{port}"), token(), tempfile::tempdir().unwrap());
    let (file, store, empty) =
        (folder.path().join("ca.pem"), folder.path().join("store"), folder.path().join("empty.pem"));
    fs::create_dir(&store).unwrap();
    fs::write(&file, &authority).unwrap();
    fs::write(store.join("0123abcd.0"), &authority).unwrap();
    fs::write(&empty, "").unwrap();
    let with = |variable: Option<(&'static str, &str)>| {
        let variables = [("ACCREDIT_URL", url.as_str()), ("ACCREDIT_TOKEN", token.as_str())];
        run(&variables.into_iter().chain(variable).collect::<Vec<_>>(), &["whoami"], "")
    };
    with(None).is(3).says(&["The certificate of https://localhost:", "UnknownIssuer", "set SSL_CERT_FILE to a file"]);
    with(Some(("SSL_CERT_FILE", text(&file)))).is(0);
    // Where the machine keeps its own.
    with(Some(("SSL_CERT_DIR", text(&store)))).is(0);
    with(Some(("SSL_CERT_FILE", "/nonexistent")))
        .is(64)
        .says(&["names /nonexistent, which cannot", "fix: Set SSL_CERT"]);
    with(Some(("SSL_CERT_FILE", text(&empty)))).is(64).says(&["holds no certificate as PEM", "fix: Set SSL_CERT_FILE"]);
}
