//! R210 to R214: tokens that are bound to a key, with clients of others: a library for Node, and the programs of the recipe in Python.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::Stdio,
    thread,
};

use serde_json::{Value as Json, json};
use tests::{
    Client, Server,
    cli::Cli,
    host,
    oauth::encoded,
    packages,
    process::{Running, asking},
    server::text,
};

const CRM: &str = "https://crm.example.com";
const KEY: &str = "a-secret-of-the-operator-that-is-long-enough";

fn cache() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// R210, R212, R213, R214: what a library asks for with a key is bound to it, at every component and through the tools of models.
#[test]
fn a_library_binds_tokens_and_uses_them() {
    let folder = packages::npm(cache(), "dpop");
    let server = Server::settings().variable("signing_key", KEY).start();
    let admin = server.bootstrap();
    admin.post("/api/scopes/custom", &json!({ "name": "x.crm.read", "description": "d" })).is(201);
    let crm = server.agent(&admin, "crm", &["tokens.introspect", "x.crm.read"]);
    let body = json!({ "identifier": CRM, "scopes": ["x.crm.read"], "introspectors": ["crm"] });
    admin.post("/api/resources", &body).is(201);
    let scout = server.agent(&admin, "scout", &["x.crm.read"]);
    server.agent(&admin, "keyed", &["agents.list", "x.crm.read"]);
    let code = admin.post("/api/agents/keyed/enrolment", &json!({})).is(201);
    let output = asking("node")
        .current_dir(&folder)
        .args(["client.mjs", admin.base_url(), CRM, scout.client.bearer(), text(&code["code"])])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["algorithms"], json!(["ES256", "EdDSA"]));
    assert_eq!(said["type"], "dpop", "as the library writes it");
    assert_eq!(said["bound"], said["thumbprint"]);
    for (step, expected) in [
        ("whoami", json!(200)),
        ("again", json!(200)),
        ("other", json!("401 dpop invalid_dpop_proof")),
        ("bearer", json!("401 dpop invalid_token")),
        ("list", json!([200, false])),
        ("call", json!([200, false])),
        ("tools", json!("401 dpop invalid_dpop_proof")),
        ("next", json!(200)),
        ("stolen", json!("401 dpop invalid_token")),
    ] {
        assert_eq!(said[step], expected, "{step}: {said}");
    }
    let told = crm.client.form("/auth/introspect", &encoded(&[("token", text(&said["signed"]))])).is(200);
    assert_eq!((&told["token_type"], &told["cnf"]["jkt"]), (&json!("DPoP"), &said["thumbprint"]));
}

/// The programs of the recipe, and a line of JSON for each request.
struct Recipe {
    _process: Running,
    /// Where the programs are: the second is read after the first has said the thumbprint.
    _folder: tempfile::TempDir,
    input: std::process::ChildStdin,
    output: BufReader<std::process::ChildStdout>,
    thumbprint: String,
}

impl Recipe {
    fn start() -> Self {
        let home = packages::pypi(cache(), "dpop");
        let folder = tempfile::tempdir().unwrap();
        let page = fs::read_to_string(host::root().join("docs/agents/recipes/bind-a-token.md")).unwrap();
        let parts = page.split("```python\n").skip(1).map(|part| part.split("```").next().unwrap());
        let mut command = asking("python3");
        command.arg(home.join("client.py")).env("PYTHONPATH", home.join("packages")).current_dir(folder.path());
        for (number, part) in parts.enumerate() {
            let file = folder.path().join(format!("part{number}.py"));
            fs::write(&file, part).unwrap();
            command.arg(file);
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut recipe = Self {
            _process: Running(process),
            _folder: folder,
            input,
            output: BufReader::new(output),
            thumbprint: String::new(),
        };
        recipe.thumbprint = recipe.line();
        recipe
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the programs of the recipe have ended");
        line.trim().to_owned()
    }

    /// The headers of a request.
    #[track_caller]
    fn headers(&mut self, method: &str, address: &str, token: &str) -> [String; 2] {
        writeln!(self.input, "{}", json!({ "method": method, "address": address, "token": token })).unwrap();
        let said: Json = serde_json::from_str(&self.line()).unwrap();
        [text(&said["Authorization"]).to_owned(), text(&said["DPoP"]).to_owned()]
    }
}

fn send(client: &Client, method: &str, path: &str, [authorization, proof]: &[String; 2]) -> tests::Answer {
    let headers = [("authorization", authorization.as_str()), ("dpop", proof.as_str())];
    client.nobody().call(method, path, &headers, None)
}

/// R210, R211: the recipe does what it says, at every component that looks callers up; one proof of many senders at once is taken once, over two
/// hosts; a stopped agent is refused with the best of proofs.
#[test]
fn the_programs_of_the_recipe_prove_a_key() {
    let (server, admin) = Server::with_admin();
    let mut recipe = Recipe::start();
    server.agent(&admin, "keyed", &["*"]);
    let body = json!({ "dpop_jkt": recipe.thumbprint });
    let issued = admin.post("/api/agents/keyed/token/issue", &body).is(200);
    assert_eq!(text(&issued["dpop_jkt"]), recipe.thumbprint);
    let token = text(&issued["token"]).to_owned();
    for wrong in ["", "short", &"=".repeat(43)] {
        admin.post("/api/agents/keyed/token/issue", &json!({ "dpop_jkt": wrong })).refused(422, "validation_error");
    }
    let base = admin.base_url().to_owned();
    for path in
        ["/api/auth/whoami", "/api/agents", "/api/agents/me/inbox", "/api/scopes/custom", "/api/agents/keyed/keys"]
    {
        let headers = recipe.headers("GET", &format!("{base}{path}"), &token);
        assert_eq!(send(&admin, "GET", path, &headers).status(), 200, "{path}");
        let answer = send(&admin, "GET", path, &headers);
        answer.refused(401, "invalid_dpop_proof");
        assert!(answer.header("www-authenticate").starts_with("DPoP "), "{path}: {answer:?}");
        server.with(&token).get(path).refused(401, "invalid_token");
    }
    // A change is done once, and its proof is none for another method.
    let path = "/api/agents/me/heartbeat";
    let headers = recipe.headers("GET", &format!("{base}{path}"), &token);
    send(&admin, "POST", path, &headers).refused(401, "invalid_dpop_proof");

    let second = server.second();
    let far = second.nobody();
    let headers = recipe.headers("GET", &format!("{base}/api/auth/whoami"), &token);
    let there = recipe.headers("GET", &format!("{}/api/auth/whoami", far.base_url()), &token);
    assert_eq!(send(&far, "GET", "/api/auth/whoami", &there).status(), 200);
    let taken: usize = thread::scope(|scope| {
        let ask = || usize::from(send(&admin, "GET", "/api/auth/whoami", &headers).status() == 200);
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(taken, 1);
    admin.post("/api/agents/keyed/stop", &Json::Null).is(200);
    let headers = recipe.headers("GET", &format!("{base}/api/agents"), &token);
    send(&admin, "GET", "/api/agents", &headers).refused(403, "agent_stopped");
}

/// R222: the command makes a key when it enrols, and proves it with each request. The token alone does nothing elsewhere, and what the
/// refusal advises works.
#[test]
fn the_command_binds_its_token_and_uses_it() {
    let (server, admin) = Server::with_admin();
    server.agent(&admin, "keyed", &["agents.list", "agents.read"]);
    let url = server.host().base_url();
    let enrolled = |cli: &Cli| {
        let code = admin.post("/api/agents/keyed/enrolment", &json!({})).is(201);
        cli.fed(text(&code["code"]), &["auth", "enroll", "--bind"]).is(0)
    };
    let cli = Cli::of(url);
    enrolled(&cli);
    let saved = || {
        let saved: Json = serde_json::from_str(&cli.saved()).unwrap();
        ["token", "key"].map(|name| text(&saved["profiles"]["default"][name]).to_owned())
    };
    let [token, key] = saved();
    for words in [&["whoami"][..], &["agents", "list", "--limit", "1"], &["agents", "heartbeat"], &["agents", "get"]] {
        let ran = cli.run(words).is(0);
        assert!(!format!("{ran:?}").contains(&key), "{ran:?}");
    }
    let status = cli.run(&["auth", "status"]).is(0).out;
    assert!(status.lines().any(|line| line.starts_with("key ")), "{status}");
    let mut watching = cli.started(&["agents", "watch"]);
    watching.until("keyed  running");
    assert_eq!(watching.signalled(tests::process::Signal::INT), 0);
    // It is handed to nobody who could not use it.
    for words in [&["auth", "status", "--export"][..], &["mcp", "config", "--with-token"]] {
        let ran = cli.run(words).is(64);
        assert!(ran.err.contains("bound to a key") && !format!("{ran:?}").contains(&token), "{ran:?}");
    }

    // Copied without the key, into another profile, on another machine or into the environment.
    let other = Cli::of(url);
    let import = ["auth", "import-token", "--token", "-"];
    for ran in [
        cli.fed(&token, &[&import[..], &["--profile", "copy"]].concat()),
        other.fed(&token, &import),
        Cli::of(url).variable("ACCREDIT_TOKEN", &token).run(&["whoami"]),
    ] {
        let ran = ran.is(2);
        assert!(ran.err.contains("fix: ") && ran.err.contains("accredit auth enroll --bind"), "{ran:?}");
    }
    assert!(other.saved().is_empty() && !cli.saved().contains("copy"));

    // One that replaces itself keeps the key, and is taken into the same profile.
    let next = cli.run(&["agents", "token", "issue", "me", "--raw", "--yes"]).is(0).out;
    cli.fed(&next, &import).is(0);
    assert_eq!(saved(), [next.trim().to_owned(), key.clone()]);
    cli.run(&["whoami"]).is(0);
    // The other machine gets a token of its own, as the refusal says.
    enrolled(&other);
    other.run(&["whoami"]).is(0);
    cli.run(&["auth", "logout", "--keep"]).is(0);
    assert!(!cli.saved().contains(&key));
}
