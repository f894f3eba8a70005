//! Deployments over HTTP, by the reference runtime `tests/runtime/runtime.py`: it enrols, sends heartbeats, obeys, fails and comes late.

#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tests::{
    Client, Server,
    host::root,
    packages,
    process::{Running, Signal, asking, kill_group, signal},
    server::{KEY, text},
    sink::Sink,
    until,
};

/// A running runtime; dropped, it is killed, and what it started with it.
struct Runtime {
    child: Running,
    home: TempDir,
    said: Arc<Mutex<Vec<String>>>,
}

impl Runtime {
    /// Of the agent above with this token, with the command of each agent that it runs.
    fn start(server: &Server, token: &str, command: &[&str]) -> Self {
        let home = tempfile::Builder::new().prefix("accredit-runtime-").tempdir().unwrap();
        let mut child = asking(packages::program("python3"))
            .arg(root().join("tests/runtime/runtime.py"))
            .args(["--every", "1"])
            .args(command)
            .current_dir(home.path())
            .env("ACCREDIT_URL", server.host().base_url())
            .env("ACCREDIT_TOKEN", token)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (lines, out) = (Arc::clone(&said), child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self { child: Running(child), home, said }
    }

    /// Waits for a line that begins so.
    fn says(&self, what: &str) -> String {
        until(what, || self.said.lock().unwrap().iter().find(|line| line.starts_with(what)).cloned())
    }

    /// The number of the process that it has started last.
    fn process(&self) -> Option<String> {
        let said = self.said.lock().unwrap();
        said.iter().rev().find_map(|line| line.split(": process ").nth(1).map(str::to_owned))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(process) = self.process() {
            kill_group(process.parse().unwrap());
        }
    }
}

/// The letter of a process's state, such as `S` for one that sleeps and `T` for one that was halted. `None`: it is gone.
fn state_of(process: &str) -> Option<char> {
    let stat = fs::read_to_string(Path::new("/proc").join(process).join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next().filter(|state| *state != 'Z')
}

fn stage() -> (Server, Client, String) {
    let server = Server::settings().variable("secrets_key", KEY).start();
    let admin = server.bootstrap();
    let boss = server.agent(&admin, "boss", &["agents.deploy", "agents.read", "agents.secrets.read"]);
    let token = boss.client.bearer().to_owned();
    (server, admin, token)
}

fn deploy(admin: &Client) -> Json {
    let create = json!({ "parent": "boss", "scope": ["agents.read", "agents.secrets.read"], "secrets": { "GREETING": "it's me" } });
    admin.post("/api/agents/deploy", &json!({ "name": "scout", "create": create })).is(202)
}

fn status(admin: &Client) -> Json {
    admin.get("/api/agents/scout/deploy-status").is(200)
}

fn until_status(admin: &Client, wanted: &str) -> Json {
    until(wanted, || Some(status(admin)).filter(|status| status["status"] == wanted))
}

/// R154: from the request to the running process, which has the token and the secrets; a pause halts it, a stop ends it, a start begins
/// anew, and the archive ends it for good.
#[test]
fn the_reference_runtime_runs_what_is_deployed_and_obeys() {
    let (server, admin, token) = stage();
    let command = "printf '%s|%s|%s' \"$GREETING\" \"$ACCREDIT_AGENT\" \"$ACCREDIT_TOKEN\" > said; exec sleep 600";
    let runtime = Runtime::start(&server, &token, &["sh", "-c", command]);
    assert_eq!(deploy(&admin)["warnings"], json!([]));
    let running = until_status(&admin, "running");
    assert_eq!((&running["reason"], &running["asked_by"]), (&Json::Null, &json!("ada@example.com")));
    let said = until("what the process says", || {
        fs::read_to_string(runtime.home.path().join("said")).ok().filter(|said| said.contains("acr_"))
    });
    assert!(said.starts_with("it's me|scout|acr_agt_"), "{said}");
    let first = until("the process", || runtime.process());
    for (verb, wanted) in [("pause", Some('T')), ("resume", Some('S')), ("stop", None)] {
        admin.post(&format!("/api/agents/scout/{verb}"), &json!({})).is(200);
        until(verb, || (state_of(&first) == wanted).then_some(()));
    }
    admin.post("/api/agents/scout/start", &json!({})).is(200);
    let second = until("another process", || runtime.process().filter(|process| *process != first));
    admin.post("/api/agents/scout/restart", &json!({})).is(200);
    let third = until("a third process", || runtime.process().filter(|process| *process != second));
    assert_eq!(state_of(&second), None);
    let audit = server.texts("SELECT after FROM audit WHERE action = 'agent.secret.read'");
    assert_eq!(audit, [r#"{"format":"enrolment","names":["GREETING"]}"#]);
    admin.delete("/api/agents/scout").is(204);
    runtime.says("scout: ended");
    until("the end of the process", || state_of(&third).is_none().then_some(()));
}

/// R613: a runtime that is ended leaves no process behind, a halted one neither.
#[test]
fn the_reference_runtime_ends_with_its_processes() {
    let (server, admin, token) = stage();
    let mut runtime = Runtime::start(&server, &token, &["sleep", "600"]);
    deploy(&admin);
    until_status(&admin, "running");
    let process = until("the process", || runtime.process());
    admin.post("/api/agents/scout/pause", &json!({})).is(200);
    until("the halt", || (state_of(&process) == Some('T')).then_some(()));
    signal(runtime.child.0.id(), Signal::TERM);
    assert!(runtime.child.0.wait().unwrap().success());
    assert_eq!(state_of(&process), None);
}

/// R154: a runtime that cannot start the command says why; the owner is told.
#[test]
fn the_reference_runtime_says_why_it_fails() {
    let (server, admin, token) = stage();
    let _runtime = Runtime::start(&server, &token, &["/nonexistent/agent"]);
    deploy(&admin);
    let failed = until_status(&admin, "failed");
    assert_eq!(failed["reason"], "The command does not start: No such file or directory");
    let told = admin.get("/api/notifications").is(200);
    assert_eq!(told["items"][0]["title"], "scout could not be deployed");
}

/// R154: a deployment that nobody answers fails in time; a runtime that comes late gets nothing for its code, and runs the agent when it
/// is deployed anew.
#[test]
fn the_reference_runtime_comes_late() {
    let (server, admin, token) = stage();
    deploy(&admin);
    server.execute("UPDATE codes SET expires_at = 1; UPDATE agents SET deploy_until = 1 WHERE name = 'scout'");
    server.tick();
    let failed = status(&admin);
    assert_eq!(
        (&failed["status"], &failed["reason"]),
        (&json!("failed"), &json!("No heartbeat came within 20 minutes."))
    );
    assert_eq!(admin.get("/api/notifications").is(200)["items"][0]["title"], "scout could not be deployed");
    let runtime = Runtime::start(&server, &token, &["sleep", "600"]);
    assert!(runtime.says("not enrolled").contains("invalid_enrolment_code"));
    assert_eq!(status(&admin)["status"], "failed");
    deploy(&admin);
    until_status(&admin, "running");
}

/// R154: a webhook gets the code if its person may change the agent, and the event without it if not.
#[test]
fn webhooks_get_the_code_only_for_people_that_may_change_the_agent() {
    let sink = Sink::new();
    let server = sink.allowed().start();
    let admin = server.bootstrap();
    let (max, eve) =
        (server.user(&admin, "max@example.com", "member"), server.user(&admin, "eve@example.com", "member"));
    server.agent(&admin, "scout", &["agents.read"]);
    for (email, relation) in [("max@example.com", "editor"), ("eve@example.com", "viewer")] {
        admin.post("/api/agents/scout/grants", &json!({ "subject": email, "relation": relation })).is(201);
    }
    for (client, path) in [(&max, "/editor"), (&eve, "/viewer")] {
        let url = format!("https://{}{path}", sink.address());
        client.post("/api/webhooks", &json!({ "url": url, "kinds": ["agent.deploy"] })).is(201);
    }
    let asked = admin.post("/api/agents/deploy", &json!({ "name": "scout" })).is(202);
    assert_eq!(asked["warnings"], json!([]));
    let got = until("both", || {
        server.tick();
        Some(sink.received()).filter(|received| received.len() == 2)
    });
    let of = |line: &str| &got.iter().find(|one| one.line.ends_with(line)).unwrap().body;
    assert_eq!(of("/viewer")["data"], json!({ "by": "ada@example.com", "until": asked["deployment"]["until"] }));
    let code = text(&of("/editor")["data"]["code"]);
    let got = server.nobody().post("/api/agents/enroll", &json!({ "code": code })).is(200);
    assert_eq!((&got["agent"]["deploy_status"], &got["secrets"]), (&json!("deploying"), &Json::Null));
}
