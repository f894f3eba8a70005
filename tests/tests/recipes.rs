//! R60: every recipe of the manual is replayed, from its first block to its last, by the grammar of `docs/agents/recipes/README.md`.
#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::SystemTime,
};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag};
use serde_json::{Value as Json, json};
use tests::{
    Client, Host, Server, Start, at_once,
    host::{self, wasm_directory},
    process::{asking, kill_group},
    provider::{EvilProvider, Signed, public_key, token},
    server::{EMAIL, KEY, PASSWORD, Settings, text},
    sink::{Reply, Sink},
    totp::Authenticator,
    until,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/agents/recipes")
}

/// A piece of a recipe that is replayed.
#[derive(Debug)]
enum Block {
    /// A request, with the status that is documented and the body, if one is.
    Http { request: String, status: u16, answer: Option<String> },
    /// Commands that do the same again.
    Bash(String),
    /// Commands of the CLI that do the same in place of the request, and the status with which they end.
    Cli { commands: String, status: i32 },
    /// Commands on the server's machine: a step of its own, with the CLI as without it.
    Machine(String),
}

/// The blocks of a recipe, in order, or the line of the first one that does not follow the grammar.
fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let (mut found, mut request, mut answers) = (Vec::new(), None, None);
    for (event, range) in Parser::new(text).into_offset_iter() {
        let wrong = |what: &str| format!("line {}: {what}", text[..range.start].lines().count() + 1);
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(kind))) => {
                let source = &text[range.clone()];
                let (Some(body), true) = (source.split_once('\n'), source.trim_end().ends_with("```")) else {
                    return Err(wrong("this block has no end"));
                };
                let body = body.1.trim_end().trim_end_matches('`').to_owned();
                if body.trim().is_empty() {
                    return Err(wrong("this block is empty"));
                }
                match (&*kind, request.is_some(), answers) {
                    ("json", true, Some(status)) => {
                        let request = request.take().unwrap_or_default();
                        found.push(Block::Http { request, status, answer: Some(body) });
                        answers = None;
                    }
                    (_, true, _) => return Err(wrong("the request above has no \"Answers\"")),
                    ("http", ..) => request = Some(body),
                    ("bash", ..) => found.push(Block::Bash(body)),
                    ("bash-host", ..) => found.push(Block::Machine(body)),
                    (kind, ..) if kind.starts_with("bash-cli") => {
                        let status = kind.trim_start_matches("bash-cli").trim();
                        let status = if status.is_empty() { Ok(0) } else { status.parse() };
                        let status = status.map_err(|_| wrong("this status is no number"))?;
                        found.push(Block::Cli { commands: body, status });
                    }
                    _ => {}
                }
            }
            Event::Start(Tag::Paragraph) if request.is_some() => {
                let said = text[range.clone()].trim();
                let number = said.strip_prefix("Answers ").and_then(|rest| rest.get(..3)?.parse().ok());
                let status: u16 = number.ok_or_else(|| wrong("this should say \"Answers\" and a status"))?;
                match said.ends_with(':') {
                    true => answers = Some(status),
                    false => {
                        let request = request.take().unwrap_or_default();
                        found.push(Block::Http { request, status, answer: None });
                    }
                }
            }
            _ => {}
        }
    }
    if request.is_some() { Err("the last request has no answer".to_owned()) } else { Ok(found) }
}

/// The values of placeholders.
type Values = BTreeMap<String, String>;

/// A text with the values in place of the placeholders.
fn filled(text: &str, values: &Values) -> String {
    let mut filled = text.to_owned();
    for (name, value) in values {
        filled = filled.replace(&format!("{{{{{name}}}}}"), value);
    }
    assert!(!filled.contains("{{"), "a placeholder without a value: {filled}");
    filled
}

/// Compares an answer with the documented one, and takes the values that it defines.
fn compare(at: &str, said: &Json, got: &Json, values: &mut Values) {
    match (said, got) {
        (Json::String(text), got) if text.starts_with("{{") && text.ends_with("}}") => {
            let got = got.as_str().unwrap_or_else(|| panic!("{at}: {got} is no text"));
            let known = values.entry(text[2..text.len() - 2].to_owned()).or_insert_with(|| got.to_owned());
            assert_eq!(known, got, "{at}");
        }
        (Json::Object(said), Json::Object(got)) => {
            // A member may be named by a placeholder that has its value already.
            let said: BTreeMap<String, &Json> =
                said.iter().map(|(name, value)| (filled(name, values), value)).collect();
            let (names, answered) = (said.keys().collect::<BTreeSet<_>>(), got.keys().collect::<BTreeSet<_>>());
            assert_eq!(names, answered, "{at}: the members");
            for (name, said) in said {
                compare(&format!("{at}.{name}"), said, &got[&name], values);
            }
        }
        (Json::Array(said), Json::Array(got)) => {
            for (number, got) in got.iter().enumerate() {
                if let Some(said) = said.get(number).or(said.first()) {
                    compare(&format!("{at}[{number}]"), said, got, values);
                }
            }
        }
        (Json::String(said), Json::String(got)) if at.ends_with(".error") => assert_eq!(said, got, "{at}"),
        (Json::String(_), Json::String(_))
        | (Json::Number(_), Json::Number(_))
        | (Json::Bool(_), Json::Bool(_))
        | (Json::Null, Json::Null) => {}
        _ => panic!("{at}: {said} is documented, and {got} was answered"),
    }
}

fn replay_request(client: &Client, request: &str, (status, answer): (u16, Option<&str>), values: &mut Values) {
    let request = filled(request, values);
    let (head, body) = request.split_once("\n\n").unwrap_or((request.trim_end(), ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let (method, path) = first.split_once(' ').unwrap_or_else(|| panic!("{first:?} is no request line"));
    let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    let body = body.trim();
    if let Some(guarded) = values.get("guarded").filter(|guarded| path.starts_with(*guarded)) {
        let (client, path) = (Client::plain(guarded), path.trim_start_matches(guarded.as_str()));
        let sent = || client.call(method, path, &headers, None).status() == status;
        return until(first, || sent().then_some(()));
    }
    let got = client.call(method, path, &headers, (!body.is_empty()).then_some(body.as_bytes()));
    assert_eq!(got.status(), status, "{first}: {}", got.text());
    let Some(answer) = answer else { return };
    let got = got.json();
    // A placeholder is a value wherever it stands: in the middle of a text it has one already.
    let said: Json = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{first}: {error}: {answer}"));
    compare(first, &said, &got, values);
}

/// What the authenticator app shows now, for a block that says so; the app has the secret that a block before has named.
fn put_code(server: &Server, block: &str, values: &mut Values) {
    if !["{{app_code}}", "$APP_CODE"].iter().any(|name| block.contains(name)) {
        return;
    }
    let secret = values.get("app_secret").unwrap_or_else(|| panic!("no app has a secret yet: {block}")).clone();
    let code = Authenticator { secret, recovery_codes: Vec::new() }.code(server);
    values.insert("app_code".to_owned(), code);
}

/// The time, for a block that says it.
fn put_time(block: &str, values: &mut Values) {
    if ["{{now}}", "$NOW"].iter().any(|name| block.contains(name)) {
        let said = asking("date").args(["-u", "+%FT%TZ"]).output().unwrap();
        values.insert("now".to_owned(), String::from_utf8(said.stdout).unwrap().trim().to_owned());
    }
}

fn replay_commands(server: &Server, commands: &str, values: &Values) {
    let variables = values.iter().map(|(name, value)| (name.to_uppercase(), value));
    let home = tempfile::tempdir().unwrap();
    let ran = asking("bash")
        .args(["-e", "-c", commands])
        .env("ACCREDIT_URL", server.host().base_url())
        .env("HOME", home.path())
        .current_dir(home.path())
        .envs(variables)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{commands}\n{}", String::from_utf8_lossy(&ran.stderr));
}

/// The command `accredit` as a person uses it who says yes, but that it prints the API's answer.
const COMMAND: &str = r#"accredit() {
    local all=() word
    for word in "$@"; do [ "$word" = --raw ] || all+=("$word"); done
    "$ACCREDIT_CLI" --json --yes "${all[@]}"
}
"#;

/// Runs commands of the CLI in the place of a request, with its credential. The last answer is compared with the documented one.
fn replay_cli(
    server: &Server,
    home: &Path,
    (commands, status): (&str, i32),
    http: Option<&Block>,
    values: &mut Values,
) {
    // What stands above all requests asks nothing, or begins with the agent's token.
    let (request, answer) = match http {
        Some(Block::Http { request, answer, .. }) => (request.as_str(), answer.as_ref()),
        _ => ("Bearer {{accredit_token}}", None),
    };
    let variables = values.iter().map(|(name, value)| (name.to_uppercase(), value));
    let head = filled(request, values);
    let bearer = head.split("Bearer ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let ran = asking("bash")
        .args(["-e", "-c", &format!("{COMMAND}{commands}")])
        .env("HOME", home)
        .current_dir(home)
        .envs(variables)
        .env("ACCREDIT_CLI", tests::cli::program())
        .env("ACCREDIT_URL", server.host().base_url())
        .env("ACCREDIT_TOKEN", bearer)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(ran.status.code(), Some(status), "{commands}\n{out}{err}");
    let answers = serde_json::Deserializer::from_str(&out).into_iter::<Json>();
    let (Some(said), Some(got)) = (answer, answers.map_while(Result::ok).last()) else { return };
    let said: Json = serde_json::from_str(said).unwrap_or_else(|error| panic!("{commands}: {error}"));
    compare(commands.lines().last().unwrap_or_default(), &said, &got, values);
}

/// The machine of an operator: the program of the host, its configuration and its log. `systemctl` starts and stops the host of the test.
struct Machine {
    folder: tempfile::TempDir,
    /// Where a second host listens.
    other: String,
    /// Groups of processes that commands have started.
    started: Vec<u32>,
}

/// The port that is tried next, from one that other runs do not begin with.
static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(std::process::id()));

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        symlink(host::program(), bin.join("accredit-host")).unwrap();
        fs::write(bin.join("journalctl"), "#!/bin/sh\nexec cat \"$LOG\"\n").unwrap();
        fs::set_permissions(bin.join("journalctl"), fs::Permissions::from_mode(0o755)).unwrap();
        let keys = ["AUDIT_KEY", "SECRETS_KEY", "SIGNING_KEY"].map(|name| format!("SPIN_VARIABLE_{name}={KEY}\n"));
        let secret = format!("SPIN_VARIABLE_OPERATOR_SECRET={}\n", tests::secret::unique());
        fs::write(folder.path().join("accredit.env"), secret + &keys.concat()).unwrap();
        // Below the ports that the system gives to the hosts of other tests.
        let free = || NEXT.fetch_add(1, Ordering::Relaxed) % 10_000 + 20_000;
        let other = std::iter::repeat_with(|| format!("127.0.0.1:{}", free())).find(|at| TcpListener::bind(at).is_ok());
        Self { folder, other: other.unwrap(), started: Vec::new() }
    }

    /// As the unit of systemd starts it, by what the configuration says now.
    fn settings(&self) -> Settings {
        let configuration = fs::read_to_string(self.folder.path().join("accredit.env")).unwrap();
        let variables = configuration.lines().filter_map(|line| line.strip_prefix("SPIN_VARIABLE_")?.split_once('='));
        let settings = Server::settings().flag("--metrics", "127.0.0.1:0").ticking();
        variables.fold(settings, |settings, (name, value)| settings.variable(&name.to_lowercase(), value))
    }

    /// Runs commands in a directory.
    fn run(&mut self, commands: &str, home: &Path, server: &mut Server, values: &Values) {
        let mut several = String::new();
        for line in commands.lines().chain(["systemctl"]) {
            let Some(step) = line.strip_prefix("systemctl") else {
                several.push_str(&format!("{line}\n"));
                continue;
            };
            self.shell(&std::mem::take(&mut several), home, server, values);
            let step = step.trim().strip_suffix(" accredit").unwrap_or(step);
            assert!(["", "stop", "start", "restart"].contains(&step), "{line}");
            if ["stop", "restart"].contains(&step) {
                server.host().terminate();
                assert!(server.host_mut().ended().success());
            }
            if ["start", "restart"].contains(&step) {
                *server = self.settings().on(server.state()).start();
            }
        }
    }

    fn shell(&mut self, commands: &str, home: &Path, server: &Server, values: &Values) {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut commands = commands.to_owned();
        for (said, here) in [
            ("/opt/accredit-new/spin.toml", path(&host::manifest())),
            ("/opt/accredit-new/accredit-host", "accredit-host".to_owned()),
            ("/etc/accredit/accredit.env", path(&self.folder.path().join("accredit.env"))),
            ("/var/lib/accredit", path(server.state().path())),
            ("127.0.0.1:3000", server.host().address().to_owned()),
            ("127.0.0.1:3001", self.other.clone()),
        ] {
            commands = commands.replace(said, &here);
        }
        if commands.contains("127.0.0.1:9100") {
            let metrics = server.host().metrics();
            commands = commands.replace("http://127.0.0.1:9100", metrics.base_url());
        }
        let search = format!("{}:{}", path(&self.folder.path().join("bin")), std::env::var("PATH").unwrap_or_default());
        let mut shell = asking("bash");
        shell
            .args(["-e", "-o", "pipefail", "-c", &commands])
            .envs(values.iter().map(|(name, value)| (name.to_uppercase(), value)))
            .env("PATH", search)
            .env("LOG", server.host().home().join("stderr"))
            .env("ACCREDIT_URL", server.host().base_url())
            .current_dir(home)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let ran = shell.spawn().unwrap();
        self.started.push(ran.id());
        let ran = ran.wait_with_output().unwrap();
        let said = [ran.stdout, ran.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        let log = fs::read_to_string(home.join("new.log")).unwrap_or_default();
        assert!(ran.status.success(), "{commands}\n{said}{log}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.started.iter().for_each(|group| kill_group(*group));
    }
}

fn recipes() -> Vec<PathBuf> {
    let paths = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| !path.ends_with("README.md")).collect()
}

/// R60, R412: a server of its own for each recipe, on which every block does what the page says.
#[test]
fn every_recipe_does_what_it_says() {
    let recipes = recipes();
    let counts = at_once(recipes.len(), |number| replay(&recipes[number], false));
    assert!(counts.iter().sum::<usize>() > 30, "too few blocks were found: {counts:?}");
}

/// R204: the same with the CLI: its commands in the place of the requests that they stand below. What they answer is as the page says, and
/// so is what becomes of it, which the requests behind them read.
#[test]
fn every_recipe_does_what_it_says_with_the_cli() {
    let recipes = recipes();
    let counts = at_once(recipes.len(), |number| replay(&recipes[number], true));
    assert!(counts.iter().sum::<usize>() > 30, "too few blocks were found: {counts:?}");
}

/// R60: a recipe says at its top who runs it, and one that an agent runs begins with what an agent has.
#[test]
fn every_recipe_says_who_runs_it() {
    let mut of_agents = 0;
    for path in fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()) {
        if path.ends_with("README.md") {
            continue;
        }
        let (name, text) = (path.display(), fs::read_to_string(&path).unwrap());
        let who = text.lines().nth(2).unwrap_or_default().strip_prefix("**Who runs it:** ");
        let who = who.unwrap_or_else(|| panic!("{name} does not say who runs it"));
        if who.starts_with("an agent") {
            of_agents += 1;
            let first = text.split("Bearer ").nth(1).unwrap_or_default();
            let sign_in = text.find("/auth/token").unwrap_or(text.len());
            let token = text.find("Bearer {{accredit_token}}").unwrap_or(text.len());
            assert!(
                first.starts_with("{{accredit_token}}") && token < sign_in,
                "{name} begins with another credential"
            );
            assert!(text.contains("`ACCREDIT_TOKEN`"), "{name} does not say where the token is");
        } else {
            assert!(["a person", "an admin", "the operator"].iter().any(|kind| who.starts_with(kind)), "{name}: {who}");
        }
    }
    assert!(of_agents >= 5);
}

/// R417: each recipe has requests and the CLI side by side; those that were promised are there, and the one about a lacking scope has its parts.
#[test]
fn every_recipe_has_requests_and_the_cli() {
    for path in recipes() {
        let blocks = blocks(&fs::read_to_string(&path).unwrap()).unwrap();
        let has = |is: fn(&Block) -> bool| blocks.iter().any(is);
        assert!(has(|block| matches!(block, Block::Http { .. })), "{} has no request", path.display());
        assert!(has(|block| matches!(block, Block::Cli { .. })), "{} has no command of the CLI", path.display());
    }
    for name in [
        "add-a-tenant",
        "back-up-and-restore",
        "headless-in-ci",
        "introspect-tokens",
        "leave-the-company",
        "recover-a-tenant",
        "rotate-a-fleet",
        "rotate-the-keys",
        "set-up-a-server",
        "upgrade-the-server",
        "verify-the-trail",
        "watch-the-server",
    ] {
        assert!(folder().join(format!("{name}.md")).is_file(), "{name}");
    }
    let text = fs::read_to_string(folder().join("a-token-lacks-a-scope.md")).unwrap();
    for part in ["Symptom", "Cause", "Detection", "Fix", "Prevention"] {
        assert!(text.lines().any(|line| line.starts_with("## ") && line.contains(part)), "{part}");
    }
}

/// What SPIRE hands to a workload.
fn svid() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (subject, audience) = ("spiffe://acme.example/ns/prod/sa/scout", ["https://accredit.example.com"]);
    token(&json!({ "sub": subject, "aud": audience, "exp": now + 300 }), &Signed::By("one"))
}

/// What signs for the workloads of a recipe, where GitHub or a cluster would.
fn assertion(recipe: &str, issuer: &EvilProvider, server: &Server) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let said = if recipe.contains("system:serviceaccount") {
        json!({
            "iss": "https://kubernetes.default.svc.cluster.local", "sub": "system:serviceaccount:prod:indexer",
            "aud": ["https://accredit.example.com"], "kubernetes.io": { "namespace": "prod" },
        })
    } else {
        json!({
            "iss": issuer.issuer(), "sub": "repo:acme@12345/shop@67890:environment:production", "aud": server.host().base_url(),
            "repository_owner": "acme", "ref": "refs/heads/main",
        })
    };
    let mut claims = json!({ "jti": format!("j-{now}"), "iat": now, "nbf": now, "exp": now + 300 });
    claims.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
    token(&claims, &Signed::By("rsa"))
}

/// The host that runs the manifest of a recipe, once a block asks for what it guards.
fn guarded(recipe: &str, server: &Server, block: &str, values: &mut Values) -> Option<(tempfile::TempDir, Host)> {
    if !["{{guarded}}", "$GUARDED"].iter().any(|name| block.contains(name)) || values.contains_key("guarded") {
        return None;
    }
    let manifest = recipe.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (component, file) in [("guard", "guard.wasm"), ("trap", "crm.wasm")] {
        fs::copy(wasm_directory().join(format!("{component}.wasm")), folder.path().join(file)).unwrap();
    }
    let manifest = manifest.replace("{{accredit}}", server.host().base_url());
    fs::write(folder.path().join("spin.toml"), filled(&manifest, values)).unwrap();
    let start = Start::new(folder.path().join("spin.toml")).flag("--state-dir", folder.path().join("state"));
    let host = start.flag("--allow-private", server.host().address()).run();
    values.insert("guarded".to_owned(), host.base_url().to_owned());
    Some((folder, host))
}

/// Replays one, by requests or where it can with the CLI; gives the number of blocks that were replayed so.
fn replay(path: &Path, with_cli: bool) -> usize {
    let mut text = fs::read_to_string(path).unwrap();
    let has_issuer = ["{{bundle}}", "{{assertion}}"].iter().any(|name| text.contains(name));
    let (sink, issuer) = (Sink::new(), has_issuer.then(EvilProvider::start));
    if let Some(issuer) = &issuer {
        issuer.has_keys(&["one", "rsa"]);
        text = text.replace("https://token.actions.githubusercontent.com", &issuer.issuer());
    }
    let bundle = issuer.as_ref().map(EvilProvider::address).unwrap_or_default();
    let trusted = issuer.as_ref().map_or_else(|| sink.runtime_config(), EvilProvider::runtime_config);
    let mut settings = Server::settings()
        .variable("secrets_key", KEY)
        .variable("signing_key", KEY)
        .variable("outbound_hosts", &format!("token.actions.githubusercontent.com {} {bundle}", sink.address()))
        .flag("--runtime-config-file", &trusted.to_string_lossy())
        .flag("--allow-private", &sink.address());
    if issuer.is_some() {
        settings = settings.flag("--allow-private", &bundle);
    }
    let mut machine = text.contains("**Who runs it:** the operator").then(Machine::new);
    let settings = machine.as_ref().map_or(settings, Machine::settings);
    let mut server = settings.start();
    let admin = if text.contains("/auth/bootstrap") { server.nobody() } else { server.bootstrap() };
    sink.answers("/user", Reply::Status(401, r#"{"message": "Bad credentials"}"#));
    let host = sink.address();
    let svid = svid();
    let assertion = issuer.as_ref().map(|issuer| assertion(&text, issuer, &server)).unwrap_or_default();
    let jwks = json!({ "keys": [public_key("rsa")] }).to_string();
    let given = [
        ("email", EMAIL),
        ("password", PASSWORD),
        ("receiver", &*host),
        ("service", &*host),
        ("bundle", &*bundle),
        ("jwt_svid", &*svid),
        ("operator_secret", server.operator_secret()),
        ("assertion", &*assertion),
        ("jwks", &*jwks),
    ];
    let mut values: Values = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    if text.contains("{{accredit_token}}") {
        // A recipe for agents begins with what an agent has.
        let made = admin.post("/api/agents", &json!({ "name": "Courier", "preset": "worker" })).is(201);
        values.insert("accredit_token".to_owned(), made.get("auth_token").and_then(Json::as_str).unwrap().to_owned());
    }
    let recipe = text.as_str();
    let blocks = blocks(&text).unwrap_or_else(|wrong| panic!("{}, {wrong}", path.display()));
    let (home, mut replayed, mut guard) = (tempfile::tempdir().unwrap(), 0, None);
    for (number, block) in blocks.iter().enumerate() {
        let is_request = |block: &&Block| matches!(block, Block::Http { .. });
        match block {
            Block::Http { request: text, .. }
            | Block::Bash(text)
            | Block::Machine(text)
            | Block::Cli { commands: text, .. } => {
                put_code(&server, text, &mut values);
                put_time(text, &mut values);
                // The tick seals once a second.
                if ["audit/verify", "audit verify", "seal_age"].iter().any(|word| text.contains(word)) {
                    server.until_number("SELECT count(*) > 0 FROM audit_seals", 1);
                }
                if text.contains("audit head") {
                    until("a head", || server.host().log().contains("audit head").then_some(()));
                }
                guard = guarded(recipe, &server, text, &mut values).or(guard);
            }
        }
        match block {
            Block::Http { request, status, answer } => {
                let below = blocks.iter().skip(number + 1).take_while(|block| !is_request(block));
                if with_cli && below.clone().any(|block| matches!(block, Block::Cli { .. })) {
                    continue;
                }
                replay_request(&server.nobody(), request, (*status, answer.as_deref()), &mut values);
                replayed += usize::from(!with_cli);
            }
            Block::Bash(commands) if !with_cli => {
                replay_commands(&server, commands, &values);
                replayed += 1;
            }
            Block::Cli { commands, status } if with_cli => {
                let above = blocks.iter().take(number).rev().find(is_request);
                replay_cli(&server, home.path(), (commands, *status), above, &mut values);
                replayed += 1;
            }
            Block::Machine(commands) => {
                let machine = machine.as_mut().unwrap_or_else(|| panic!("{} is for no operator", path.display()));
                machine.run(commands, home.path(), &mut server, &values);
                replayed += 1;
            }
            Block::Bash(_) | Block::Cli { .. } => {}
        }
    }
    drop(guard);
    replayed
}

/// A block of a recipe in this language.
fn code(recipe: &str, language: &str) -> String {
    let page = fs::read_to_string(folder().join(recipe)).unwrap();
    let code = page.split(&format!("```{language}\n")).nth(1).unwrap_or_else(|| panic!("no {language} in {recipe}"));
    code.split("```").next().unwrap().to_owned()
}

/// R60, R115: the programs of the recipe, in Python and in a shell, check what this server sends, and refuse what was changed.
#[test]
fn the_programs_of_the_recipe_check_webhooks() {
    let sink = Sink::new();
    let server = sink.allowed().start();
    let admin = server.bootstrap();
    let made = admin.post("/api/webhooks", &json!({ "url": format!("https://{}/accredit", sink.address()) })).is(201);
    admin.post(&format!("/api/webhooks/{}/test", text(&made["id"])), &json!({})).is(202);
    let got = until("the event", || sink.received().into_iter().next());
    let (id, at, signature) =
        (got.header("webhook-id"), got.header("webhook-timestamp"), got.header("webhook-signature"));
    let home = tempfile::tempdir().unwrap();
    let body = home.path().join("body.json");
    let python = code("receive-webhooks.md", "python")
        + "import os, sys\nnames = ['webhook-id', 'webhook-timestamp', 'webhook-signature']\n\
           print(is_from_accredit(os.environ['SECRET'], dict(zip(names, sys.argv[1:])), open('body.json', 'rb').read()))\n";
    let shell = code("receive-webhooks.md", "sh");
    for is_changed in [false, true] {
        fs::write(&body, if is_changed { [&*got.raw, b" "].concat() } else { got.raw.clone() }).unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let mut command = asking(program);
            command.args(arguments).current_dir(home.path()).env("SECRET", text(&made["secret"]));
            let output = command.env("WEBHOOK_ID", id).env("WEBHOOK_TIMESTAMP", at).output().unwrap();
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(run("python3", &["-c", &python, id, at, signature]), if is_changed { "False" } else { "True" });
        assert_eq!(format!("v1,{}", run("sh", &["-e", "-c", &shell])) == signature, !is_changed);
    }
}

/// R392: the step of the recipe by which a job of GitHub Actions becomes the agent, as it stands there: only what GitHub answers is given.
#[test]
fn the_job_of_the_recipe_becomes_the_agent() {
    const GITHUB: &str = r#"curl() {
    case "$*" in
        "-fsS https://github.example/token?x=1&audience=$ACCREDIT_URL -H Authorization: Bearer of-the-job") printf '{"value": "%s"}' "$ASSERTION" ;;
        *) command curl "$@" ;;
    esac
}
"#;
    let issuer = EvilProvider::start();
    issuer.has_keys(&["rsa"]);
    let server = Server::settings()
        .variable("outbound_hosts", &issuer.address())
        .flag("--runtime-config-file", &issuer.runtime_config().to_string_lossy())
        .flag("--allow-private", &issuer.address())
        .start();
    let admin = server.bootstrap();
    server.agent(&admin, "deployer", &["agents.read"]);
    let subject = "repo:acme@12345/shop@67890:environment:production";
    let body = json!({ "name": "ci", "issuer": issuer.issuer(), "subject": subject, "claims": { "repository_owner": "acme" } });
    let made = admin.post("/api/agents/deployer/federated-credentials", &body).is(201);
    let yaml = code("github-actions.md", "yaml");
    let step = yaml.split("- name: Become the agent\n        run: |\n").nth(1).unwrap();
    let script: String =
        step.lines().map_while(|line| line.strip_prefix("          ")).flat_map(|line| [line, "\n"]).collect();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("github.env");
    let ran = asking("bash")
        .args(["-e", "-o", "pipefail", "-c", &format!("{GITHUB}{script}")])
        .envs([("ACCREDIT_URL", server.host().base_url()), ("FEDERATED_CREDENTIAL", text(&made["id"]))])
        .envs([
            ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://github.example/token?x=1"),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job"),
        ])
        .env("ASSERTION", assertion("", &issuer, &server))
        .env("GITHUB_ENV", &file)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{script}\n{}", String::from_utf8_lossy(&ran.stderr));
    let kept = fs::read_to_string(&file).unwrap();
    let token = kept.trim().strip_prefix("ACCREDIT_TOKEN=").unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), format!("::add-mask::{token}"));
    assert_eq!(server.with(token).get("/api/auth/whoami").is(200)["agent_name"], "deployer");
}

/// What is compared, so that a page that says too little or too much fails.
#[test]
fn an_answer_that_differs_from_the_page_is_noticed() {
    let differs =
        |said: Json, got: Json| std::panic::catch_unwind(|| compare("x", &said, &got, &mut Values::new())).is_err();
    assert!(differs(json!({ "a": 1 }), json!({ "a": 1, "b": 2 })));
    assert!(differs(json!({ "a": 1, "b": 2 }), json!({ "a": 1 })));
    assert!(differs(json!({ "a": 1 }), json!({ "a": "1" })));
    assert!(differs(json!([{ "a": 1 }]), json!([{ "a": 1 }, {}])));
    assert!(differs(json!({ "error": "one" }), json!({ "error": "two" })));
    assert!(differs(json!({ "a": "{{id}}", "b": "{{id}}" }), json!({ "a": "1", "b": "2" })));
    assert!(!differs(json!({ "a": "x", "b": [], "c": ["{{id}}"] }), json!({ "a": "y", "b": [1], "c": ["z"] })));
}

/// R60: what is no block by the grammar is named with its line, and nothing but a fence ends a block.
#[test]
fn a_page_that_breaks_the_grammar_is_refused_by_its_line() {
    let wrong = |text: &str| blocks(text).map(|found| found.len()).unwrap_err();
    assert_eq!(wrong("# A\n\n```bash\ntrue\n"), "line 3: this block has no end");
    assert_eq!(wrong("# A\n\n```bash\n\n```\n"), "line 3: this block is empty");
    assert_eq!(wrong("```http\nGET /x\n```\n\nSo it is.\n"), "line 5: this should say \"Answers\" and a status");
    assert_eq!(wrong("```http\nGET /x\n```\n"), "the last request has no answer");
    let page = "```bash\necho one\n``` more\necho two\n```\n";
    assert!(matches!(&blocks(page).unwrap()[..], [Block::Bash(all)] if all.contains("echo two")));
    let page = "````bash\necho one\n```\necho two\n````\n";
    assert!(matches!(&blocks(page).unwrap()[..], [Block::Bash(all)] if all.contains("echo two")));
}
