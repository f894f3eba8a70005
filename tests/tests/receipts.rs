//! R166: receipts of closures over HTTP: verified without the server by the command `accredit` and by the Python of the manual, and whatever
//! is forged is refused by both.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{fs, path::Path, process::Command};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use tempfile::TempDir;
use tests::{
    Client, Server,
    cli::Cli,
    host::root,
    oauth::exchange,
    packages,
    server::{KEY, text},
};

const OTHER: &str = "another-secret-of-the-operator-that-is-long-enough";

fn server(key: &str) -> (Server, Client) {
    let server = Server::settings().variable("signing_key", key).start();
    let admin = server.bootstrap();
    (server, admin)
}

/// Stops an agent and those below it; the receipt of that.
fn stopped(server: &Server, admin: &Client) -> String {
    server.agent(admin, "scout", &["agents.read"]);
    let below = json!({ "name": "helper", "scope": ["agents.read"], "parent": "scout" });
    admin.post("/api/agents", &below).is(201);
    let closure = admin.post("/api/agents/scout/stop", &Json::Null).is(200)["closure"].clone();
    let answer = admin.get(&format!("/api/closures/{}/receipt", text(&closure["id"])));
    assert_eq!((answer.status(), answer.header("content-type")), (200, "application/jwt"), "{answer:?}");
    answer.text()
}

fn part(token: &str, number: usize) -> Json {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn encode(json: &Json) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// A token for a service, signed by the same key: another type.
fn access_token(server: &Server, admin: &Client) -> String {
    admin.post("/api/scopes/custom", &json!({ "name": "x.crm.read", "description": "d" })).is(201);
    let caller = server.agent(admin, "caller", &["x.crm.read"]);
    let body = json!({ "identifier": "https://crm.example.com", "scopes": ["x.crm.read"] });
    admin.post("/api/resources", &body).is(201);
    let form = exchange(caller.client.bearer(), "https://crm.example.com");
    text(&server.nobody().form("/oauth/token", &form).is(200)["access_token"]).to_owned()
}

/// A receipt and what was made of it, each with why it is refused.
struct Forged {
    keys: Json,
    issuer: String,
    good: String,
    bad: Vec<(&'static str, String)>,
    _server: Server,
}

fn forged() -> Forged {
    let (server, admin) = server(KEY);
    let good = stopped(&server, &admin);
    let keys = server.nobody().get("/oauth/jwks").is(200);
    let (head, claims, signature) = {
        let parts: Vec<&str> = good.split('.').collect();
        (part(&good, 0), part(&good, 1), parts[2].to_owned())
    };
    let mut later = claims.clone();
    later["closed_at"] = json!("2020-01-01T00:00:00.000Z");
    let mut renamed = claims.clone();
    renamed["closure"]["object"] = json!("agt_other");
    let with = |name: &str, value: Json| {
        let mut head = head.clone();
        head[name] = value;
        encode(&head)
    };
    let hs256 = {
        let signed = format!("{}.{}", with("alg", json!("HS256")), encode(&claims));
        let public = URL_SAFE_NO_PAD.decode(text(&keys["keys"][0]["x"])).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&public).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    };
    // The same key in the hands of a server that has another address, and another key.
    let (same_key, its_admin) = self::server(KEY);
    let foreign_issuer = stopped(&same_key, &its_admin);
    let (other_key, its_admin) = self::server(OTHER);
    let foreign_key = stopped(&other_key, &its_admin);
    let bad = vec![
        ("another time", format!("{}.{}.{signature}", encode(&head), encode(&later))),
        ("another object", format!("{}.{}.{signature}", encode(&head), encode(&renamed))),
        ("alg none", format!("{}.{}.", with("alg", json!("none")), encode(&claims))),
        ("alg none with a signature", format!("{}.{}.{signature}", with("alg", json!("none")), encode(&claims))),
        ("HS256 with the public key", hs256),
        ("another type, by its header", format!("{}.{}.{signature}", with("typ", json!("at+jwt")), encode(&claims))),
        ("an access token", access_token(&server, &admin)),
        ("an unknown key", foreign_key),
        ("another issuer", foreign_issuer),
        ("cut off", good[..good.len() - 8].to_owned()),
        ("nothing", String::new()),
    ];
    Forged { keys, issuer: server.nobody().base_url().to_owned(), good, bad, _server: server }
}

/// R166: what a receipt says is what the closure and the trail say.
#[test]
fn a_receipt_says_what_the_closure_and_the_trail_say() {
    let (server, admin) = server(KEY);
    let claims = part(&stopped(&server, &admin), 1);
    let closure = admin.get(&format!("/api/closures/{}", text(&claims["sub"]))).is(200);
    for member in ["id", "epoch", "action", "object", "at", "ended"] {
        assert_eq!(claims["closure"][member], closure[member], "{member}");
    }
    for member in ["status", "closed_at", "latest", "waiting"] {
        assert_eq!(claims[member], closure[member], "{member}");
    }
    assert_eq!(claims["iss"], server.nobody().base_url());
    let ids = &claims["closure"]["ids"];
    assert_eq!((ids["agents"].as_array().unwrap().len(), ids["tokens"].as_array().unwrap().len()), (2, 2));
    assert!(ids["agents"].as_array().unwrap().contains(&closure["object"]));
    let row = &admin.get("/api/audit?action=agent.stop&limit=1").is(200)["items"][0];
    assert_eq!((&row["id"], &row["after"]["closure"]["digest"]), (&claims["audit"]["id"], &claims["digest"]));
}

/// R166: the command verifies a receipt without the server, says what it proves, and refuses whatever is forged.
#[test]
fn the_command_verifies_a_receipt_without_the_server() {
    let forged = forged();
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let (keys, receipt) = (write("keys.json", &forged.keys.to_string()), write("receipt.jwt", &forged.good));
    let closed = text(&part(&forged.good, 1)["closed_at"]).to_owned();
    let offline = Cli::new();
    let verify = |file: &str| offline.run(&["receipt", "verify", file, "--jwks", &keys, "--issuer", &forged.issuer]);
    let said = verify(&receipt).is(0).out;
    let sentence = format!("nothing of this that began after {closed} was accepted");
    for part in [sentence.as_str(), "2 agents, 2 tokens", "agent.stop", &forged.issuer] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (why, text) in &forged.bad {
        let ran = verify(&write("bad.jwt", text)).is(1);
        assert!(ran.out.is_empty() && ran.err.contains("proves nothing"), "{why}: {ran:?}");
    }
    // By the server's address, by that of its keys, and from standard input as JSON.
    let online = Cli::of(&forged.issuer);
    online.run(&["receipt", "verify", &receipt]).is(0);
    let jwks = format!("{}/oauth/jwks", forged.issuer);
    offline.run(&["receipt", "verify", &receipt, "--jwks", &jwks]).is(0);
    let json = online.fed(&forged.good, &["receipt", "verify", "-", "--json"]).is(0).json();
    assert_eq!(json, part(&forged.good, 1));
    // It must be said whose receipt it is to be, and by which keys.
    offline.run(&["receipt", "verify", &receipt, "--jwks", &keys]).is(64);
    offline.run(&["receipt", "verify", &receipt, "--issuer", &forged.issuer]).is(64);
    offline.run(&["receipt", "verify", &receipt, "--jwks", &jwks, "--issuer", "https://accredit.example"]).is(64);
    offline.run(&["receipt", "verify", &receipt, "--jwks", &receipt, "--issuer", &forged.issuer]).is(1);
    offline.run(&["receipt", "verify", "/nowhere.jwt", "--jwks", &keys, "--issuer", &forged.issuer]).is(1);
}

/// R166: so does the Python of the manual, by an ordinary library.
#[test]
fn the_python_of_the_manual_verifies_a_receipt() {
    let page = fs::read_to_string(root().join("docs/agents/concepts/receipts.md")).unwrap();
    let program = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let lines = program.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 40, "{lines} lines");
    let home = packages::pypi(Path::new(env!("CARGO_TARGET_TMPDIR")), "mcp");
    let folder = TempDir::new().unwrap();
    let forged = forged();
    fs::write(folder.path().join("verify.py"), program).unwrap();
    fs::write(folder.path().join("keys.json"), forged.keys.to_string()).unwrap();
    let verify = |receipt: &str| {
        fs::write(folder.path().join("receipt.jwt"), receipt).unwrap();
        let mut command = Command::new("python3");
        command.args(["verify.py", "receipt.jwt", "keys.json", &forged.issuer]).current_dir(folder.path());
        command.env("PYTHONPATH", home.join("packages")).output().unwrap()
    };
    let good = verify(&forged.good);
    let said = String::from_utf8_lossy(&good.stdout).into_owned();
    let closed = text(&part(&forged.good, 1)["closed_at"]).to_owned();
    assert!(good.status.success() && said.contains(&format!("began after {closed} was accepted")), "{good:?}");
    for (why, text) in &forged.bad {
        let bad = verify(text);
        assert!(!bad.status.success() && bad.stdout.is_empty(), "{why}: {bad:?}");
        assert!(!String::from_utf8_lossy(&bad.stderr).contains("ModuleNotFoundError"), "{bad:?}");
    }
}

/// R220: what a new token and an enrolment code replace has a closure with a receipt, and nobody is let in by it.
#[test]
fn what_is_replaced_has_a_receipt() {
    let server = Server::settings().variable("signing_key", KEY).start();
    let admin = server.bootstrap();
    let mut before = server.agent(&admin, "scout", &["agents.read"]).client;
    for way in ["issue", "enrol"] {
        before.get("/api/auth/whoami").is(200);
        let answer = match way {
            "issue" => admin.post("/api/agents/scout/token/issue", &json!({})),
            _ => {
                let code = admin.post("/api/agents/scout/enrolment", &json!({})).is(201)["code"].clone();
                before.get("/api/auth/whoami").is(200);
                server.nobody().post("/api/agents/enroll", &json!({ "code": code }))
            }
        };
        before.get("/api/auth/whoami").refused(401, "token_revoked");
        let path = format!("/api/closures/{}", answer.header("x-accredit-closure"));
        let closure = admin.get(&path).is(200);
        assert_eq!((&closure["status"], &closure["ended"]["tokens"]), (&json!("closed"), &json!(1)), "{way}");
        assert_eq!(admin.get(&format!("{path}/receipt")).status(), 200, "{way}");
        before = server.with(text(&answer.json()["token"]));
    }
    before.get("/api/auth/whoami").is(200);
    assert_eq!(server.number("SELECT count(*) FROM closures"), 2);
}
