//! R181: the programs of the manual that verify signed tokens with ordinary JOSE libraries, as they stand there.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use tests::{
    Server, host, oauth, packages,
    process::{Running, asking},
    server::text,
};

const ISSUER: &str = "https://accredit.example.com";
const CRM: &str = "https://crm.example.com";
const OLD: &str = "the-old-secret-of-the-operator-is-long-enough";
const NEW: &str = "the-new-secret-of-the-operator-is-long-enough";

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A place where a set of keys is, which can be another one at any moment.
struct Keys {
    url: String,
    set: Arc<Mutex<String>>,
}

impl Keys {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/oauth/jwks", listener.local_addr().unwrap());
        let set = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&set);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                drop(stream.read(&mut [0; 16 * 1024]));
                let set = kept.lock().unwrap().clone();
                let head = format!(
                    "Content-Type: application/jwk-set+json\r\nContent-Length: {}\r\nConnection: close",
                    set.len()
                );
                drop(write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{set}"));
            }
        });
        Self { url, set }
    }

    /// The keys of a server, and one that the test signs with.
    fn set(&self, server: &Server, own: &SigningKey) {
        let mut set = server.nobody().get("/oauth/jwks").is(200);
        let own = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "own", "x": base64(own.verifying_key().as_bytes()) });
        set["keys"].as_array_mut().unwrap().push(own);
        *self.set.lock().unwrap() = set.to_string();
    }
}

fn sign(key: &SigningKey, header: &Json, claims: &Json) -> String {
    let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    format!("{signed}.{}", base64(key.sign(signed.as_bytes()).to_bytes()))
}

/// A service in another language: it is asked about one token after the other.
struct Service {
    _process: Running,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Service {
    fn start(mut command: Command, program: &Path, keys: &Keys) -> Self {
        command.arg(program).args([ISSUER, CRM, &keys.url]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { _process: Running(process), input, output }
    }

    #[track_caller]
    fn says(&mut self, token: &str, scope: &str) -> String {
        writeln!(self.input, "{}", json!({ "token": token, "scope": scope })).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(line.starts_with("taken ") || line.starts_with("refused "), "it has ended: {line}");
        line.trim().to_owned()
    }
}

/// The program of the page.
fn program(language: &str, to: PathBuf) -> PathBuf {
    let page = fs::read_to_string(host::root().join("docs/agents/concepts/verifying.md")).unwrap();
    let code = page.split(&format!("```{language}\n")).nth(1).unwrap().split("```").next().unwrap();
    fs::write(&to, code).unwrap();
    to
}

fn settings(signing_key: &str) -> tests::server::Settings {
    Server::settings().variable("signing_key", signing_key).variable("public_url", ISSUER)
}

/// The same for each library.
fn verifies(start: impl Fn(&Keys) -> Service) {
    let server = settings(OLD).start();
    let admin = server.bootstrap();
    admin.post("/api/scopes/custom", &json!({ "name": "x.crm.read", "description": "d" })).is(201);
    let scout = server.agent(&admin, "scout", &["x.crm.read"]);
    let resources = [(CRM, "EdDSA"), ("https://crm.example.com/a", "EdDSA"), ("https://mail.example.com", "ES256")];
    let [crm, ..] = resources.map(|(identifier, alg)| {
        let body = json!({ "identifier": identifier, "scopes": ["x.crm.read"], "signing_alg": alg });
        format!("/api/resources/{}", text(&admin.post("/api/resources", &body).is(201)["id"]))
    });
    let exchange = |at: &str, resource: &str| {
        let form = oauth::exchange(scout.client.bearer(), resource);
        text(&server.nobody().at(at).form("/oauth/token", &form).is(200)["access_token"]).to_owned()
    };
    let here = server.host().base_url().to_owned();
    let own = SigningKey::from_bytes(&[7; 32]);
    let keys = Keys::start();
    keys.set(&server, &own);
    let mut service = start(&keys);
    let taken = format!("taken {}", scout.id);
    let good = exchange(&here, CRM);
    assert_eq!(service.says(&good, "x.crm.read"), taken);
    for other in ["https://crm.example.com/a", "https://mail.example.com"] {
        assert!(service.says(&exchange(&here, other), "x.crm.read").starts_with("refused"), "{other}");
    }
    // ES256, for its own service.
    admin.patch(&crm, &json!({ "signing_alg": "ES256" })).is(200);
    let es256 = exchange(&here, CRM);
    assert_eq!(service.says(&es256, "x.crm.read"), taken);

    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let claims = json!({
        "iss": ISSUER, "aud": CRM, "sub": "agt_own", "client_id": "agt_own", "scope": "x.crm.read", "jti": "jti_own",
        "iat": now - 10, "exp": now + 3_000, "tenant": "main",
    });
    let header = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "own" });
    let changed = |name: &str, value: Json| {
        let mut claims = claims.clone();
        match value {
            Json::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        sign(&own, &header, &claims)
    };
    let headed = |name: &str, value: Json| {
        let mut header = header.clone();
        match value {
            Json::Null => drop(header.as_object_mut().unwrap().remove(name)),
            value => header[name] = value,
        }
        sign(&own, &header, &claims)
    };
    assert_eq!(service.says(&changed("x", json!(1)), "x.crm.read"), "taken agt_own");
    let body = base64(claims.to_string());
    let hs256 = |secret: &[u8]| {
        let signed = format!("{}.{body}", base64(json!({ "typ": "at+jwt", "alg": "HS256", "kid": "own" }).to_string()));
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", base64(mac.finalize().into_bytes()))
    };
    let (public, set) = (own.verifying_key(), keys.set.lock().unwrap().clone());
    let es256_kid = serde_json::from_str::<Json>(&set).unwrap()["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["alg"] == "ES256")
        .unwrap()["kid"]
        .clone();
    let right = sign(&own, &header, &claims);
    let bent = right.rsplit_once('.').unwrap().0;
    for (what, token) in [
        ("expired", changed("exp", json!(now - 60))),
        ("no exp", changed("exp", Json::Null)),
        ("not yet", changed("nbf", json!(now + 3_000))),
        ("no aud", changed("aud", Json::Null)),
        ("a list of services", changed("aud", json!([CRM]))),
        ("two services", changed("aud", json!([CRM, "https://mail.example.com"]))),
        ("a slash more", changed("aud", json!("https://crm.example.com/"))),
        ("capitals", changed("aud", json!("https://CRM.example.com"))),
        ("another issuer", changed("iss", json!("https://evil.example.com"))),
        ("a slash more in iss", changed("iss", json!(format!("{ISSUER}/")))),
        ("no issuer", changed("iss", Json::Null)),
        ("no jti", changed("jti", Json::Null)),
        ("no sub", changed("sub", Json::Null)),
        ("bound to a key", changed("cnf", json!({ "jkt": "a" }))),
        ("without scope", changed("scope", Json::Null)),
        ("a longer scope", changed("scope", json!("x.crm.readx"))),
        ("typ JWT", headed("typ", json!("JWT"))),
        ("no typ", headed("typ", Json::Null)),
        ("unknown kid", headed("kid", json!("unknown"))),
        ("the key of another algorithm", headed("kid", es256_kid.clone())),
        ("ES256 with this key", headed("alg", json!("ES256"))),
        ("critical", headed("crit", json!(["x"]))),
        (
            "alg none",
            format!("{}.{body}.", base64(json!({ "typ": "at+jwt", "alg": "none", "kid": "own" }).to_string())),
        ),
        ("HS256 with the public key", hs256(public.as_bytes())),
        ("HS256 with its text", hs256(base64(public.as_bytes()).as_bytes())),
        ("another's key", sign(&SigningKey::from_bytes(&[8; 32]), &header, &claims)),
        ("a bent signature", format!("{bent}.{}", base64([0; 64]))),
        ("no signature", format!("{bent}.")),
        ("nonsense", "nonsense".to_owned()),
        ("nothing", String::new()),
    ] {
        assert!(service.says(&token, "x.crm.read").starts_with("refused"), "{what}");
    }
    assert!(service.says(&good, "x.crm.write").starts_with("refused"));

    // The operator adds a key: it is fetched when a token names it, and the old one stays good.
    let second = settings(&format!("{NEW},{OLD}")).on(server.state()).start();
    keys.set(&second, &own);
    let rotated = exchange(second.host().base_url(), CRM);
    assert_ne!(rotated.split('.').next(), es256.split('.').next());
    for token in [&rotated, &good] {
        assert_eq!(service.says(token, "x.crm.read"), taken);
    }
}

#[test]
fn the_program_for_python_verifies_tokens() {
    let home = packages::pypi(Path::new(env!("CARGO_TARGET_TMPDIR")), "jose");
    let code = program("python", home.join("accredit_tokens.py"));
    verifies(|keys| {
        let mut command = asking("python3");
        command.env("PYTHONPATH", home.join("packages")).arg(home.join("harness.py"));
        Service::start(command, &code, keys)
    });
}

#[test]
fn the_program_for_node_verifies_tokens() {
    let home = packages::npm(Path::new(env!("CARGO_TARGET_TMPDIR")), "jose");
    let code = program("js", home.join("accredit-tokens.mjs"));
    verifies(|keys| {
        let mut command = asking("node");
        command.arg(home.join("harness.mjs"));
        Service::start(command, &code, keys)
    });
}
