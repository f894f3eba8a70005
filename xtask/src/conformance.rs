//! `cargo xtask conformance`: whether an agent that was given a URL, a token and a task in plain English finds its way.
//!
//! A host is started on an empty state. Each task has an agent of its own on it; the command gets the task on its standard input. What it
//! did is looked up by the API afterwards, as the agent's owner; how many requests it took, in the access log of the host. Before the tasks,
//! ten scripted agents show what a refusal takes until it is no longer one.

mod refusals;
mod tasks;

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::build;
use crate::command::ending;
use crate::http::{Answer, Client, text};
use crate::server::{self, Server, TemporaryState};
use crate::ui::{out, say};
use crate::workspace::Workspace;
use tasks::{TASKS, Task};

/// How often the harness looks after a running agent.
const EVERY: Duration = Duration::from_millis(50);
/// The longest wait for the access log.
const LOG: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Conformance {
    /// The agent: a command for `sh`, which gets the task on its standard input. Without it, only the scripted agents run
    #[arg(long, value_name = "COMMAND")]
    agent: Option<String>,
    /// Only this task, and no scripted agents; may be given several times
    #[arg(long = "task", value_name = "TASK", requires = "agent")]
    tasks: Vec<String>,
    /// For how long the agent may work on each task
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    seconds: u64,
    /// Take the host and the components that were built before
    #[arg(long)]
    no_build: bool,
}

impl Conformance {
    /// Prints one JSON document. The exit status is 0 if the agent succeeded at every task, and every scripted agent reached its answer with
    /// one click.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let chosen = self.chosen()?;
        let workspace = Workspace::load()?;
        let (host, manifest) = if self.no_build {
            // The same as the tests take.
            let named = |name: &str, otherwise: PathBuf| std::env::var_os(name).map_or(otherwise, PathBuf::from);
            let host = named("ACCREDIT_HOST_BIN", workspace.native("accredit-host"));
            (host, named("ACCREDIT_MANIFEST", workspace.manifest()))
        } else {
            build::components(&workspace, &workspace.components())?;
            (build::host(&workspace)?, workspace.manifest())
        };
        let state = TemporaryState::new("conformance")?;
        let log = state.path().join("access.log");
        let (operator, sealing) = (random()?, random()?);
        let mut command = server::host(&host, &manifest, "127.0.0.1:0", state.path());
        command.arg("--quiet").arg("--access-log").arg(&log);
        command.arg("--variable").arg(format!("operator_secret={operator}"));
        command.arg("--variable").arg(format!("secrets_key={sealing}"));
        let server = Server::start(&mut command)?;
        let world = World::bootstrap(&server, log, &operator)?;
        let refusals = self.tasks.is_empty().then(|| refusals::play(&world)).transpose()?;
        if let Some(refusals) = &refusals {
            say(format_args!("refusals: {}", refusals::in_words(refusals)));
        }
        let mut results = Vec::new();
        for (agent, task) in self.agent.iter().flat_map(|agent| chosen.iter().map(move |task| (agent, task))) {
            let result = self.try_task(&world, agent, task, state.path().join(task.name))?;
            say(format_args!("{}: {}", task.name, result.get("verdict").and_then(Value::as_str).unwrap_or_default()));
            results.push(result);
        }
        let count =
            |verdict: &str| results.iter().filter(|result| result.get("verdict") == Some(&json!(verdict))).count();
        let (succeeded, of) = (count("succeeded"), results.len());
        let document = json!({
            "agent": self.agent, "version": env!("CARGO_PKG_VERSION"), "succeeded": succeeded,
            "wrong_path": count("wrong_path"), "gave_up": count("gave_up"), "tasks": results, "refusals": refusals,
        });
        out(format_args!("{document:#}"))?;
        Ok(if succeeded == of && refusals.as_ref().is_none_or(refusals::all_reached) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn chosen(&self) -> Result<Vec<&'static Task>> {
        let names = || TASKS.iter().map(|task| task.name).collect::<Vec<_>>().join(", ");
        if let Some(unknown) = self.tasks.iter().find(|name| !TASKS.iter().any(|task| task.name == **name)) {
            bail!("there is no task {unknown}; the tasks are {}", names());
        }
        Ok(TASKS
            .iter()
            .filter(|task| self.tasks.is_empty() || self.tasks.iter().any(|name| name == task.name))
            .collect())
    }

    /// One task, from what it needs to its verdict.
    fn try_task(&self, world: &World<'_>, command: &str, task: &Task, folder: PathBuf) -> Result<Value> {
        let mut given = (task.prepare)(world).with_context(|| format!("preparing {}", task.name))?;
        fs::create_dir(&folder)?;
        let (before, since) = (world.log_length()?, Instant::now());
        let mut agent = Running::start(command, world.base_url, given.token.as_deref(), &folder, &given.task)?;
        let ended = loop {
            if let Some(status) = agent.child.try_wait()? {
                break Some(status);
            }
            if since.elapsed().as_secs() >= self.seconds {
                break None;
            }
            (task.meanwhile)(world, &mut given).with_context(|| format!("playing the owner of {}", task.name))?;
            sleep(EVERY);
        };
        drop(agent);
        let requests = world.requests_since(before)?;
        let wrong = (task.verify)(world, &given, &Done { ended, requests: &requests });
        let wrong = wrong.with_context(|| format!("verifying {}", task.name))?;
        let count = |is: fn(&Request) -> bool| requests.iter().filter(|request| !request.is_own && is(request)).count();
        let mut result = json!({
            "task": task.name,
            "verdict": verdict(wrong.as_deref(), &requests),
            "requests": count(|_| true),
            "refused": count(|request| request.status >= 400),
            "ended": ended.map_or_else(|| "time-out".to_owned(), ending),
        });
        if let (Some(why), Some(result)) = (wrong, result.as_object_mut()) {
            result.insert("why".to_owned(), json!(why));
        }
        Ok(result)
    }
}

/// An agent that has changed nothing has given up; one that has, and is not where it should be, is on a wrong path.
fn verdict(wrong: Option<&str>, requests: &[Request]) -> &'static str {
    match wrong {
        None => "succeeded",
        Some(_) if requests.iter().any(Request::has_changed) => "wrong_path",
        Some(_) => "gave_up",
    }
}

/// Text that nobody guesses.
fn random() -> Result<String> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What a task gives to its agent, and what the harness has to know of it.
struct Given {
    /// In plain English.
    task: String,
    token: Option<String>,
    /// The agent's name.
    name: String,
    /// What verifying needs.
    facts: Value,
}

impl Given {
    fn fact(&self, name: &str) -> &str {
        self.facts.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// What an agent left behind.
struct Done<'a> {
    /// `None`: it was killed when its time was over.
    ended: Option<ExitStatus>,
    requests: &'a [Request],
}

/// A request, as the access log has it.
struct Request {
    id: String,
    method: String,
    status: u16,
    /// Whether it is the harness's.
    is_own: bool,
}

impl Request {
    fn read(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        Some(Self {
            id: line.get("request_id")?.as_str()?.to_owned(),
            method: line.get("method")?.as_str()?.to_owned(),
            status: u16::try_from(line.get("status")?.as_u64()?).ok()?,
            is_own: false,
        })
    }

    fn has_changed(&self) -> bool {
        !self.is_own && !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS") && (200..300).contains(&self.status)
    }
}

/// The server, as the owner of all agents sees it.
struct World<'a> {
    client: Client,
    base_url: &'a str,
    session: String,
    log: PathBuf,
    /// The ids of the harness's own requests.
    own: RefCell<HashSet<String>>,
}

impl<'a> World<'a> {
    fn bootstrap(server: &'a Server, log: PathBuf, operator: &str) -> Result<Self> {
        let (email, password) = ("owner@example.com", random()?);
        let mut world = World {
            client: Client::new(&server.base_url),
            base_url: &server.base_url,
            session: String::new(),
            log,
            own: RefCell::default(),
        };
        let body = json!({ "secret": operator, "email": email, "name": "The owner", "password": password });
        world.must("POST", "/auth/bootstrap", None, Some(&body))?;
        let body = json!({ "email": email, "password": password });
        world.session = text(&world.must("POST", "/auth/token", None, Some(&body))?, "access_token")?;
        Ok(world)
    }

    /// A request of the harness.
    fn call(&self, method: &str, path: &str, bearer: Option<&str>, body: Option<&Value>) -> Result<Answer> {
        let answer = self.client.call(method, path, bearer, body)?;
        self.own.borrow_mut().insert(answer.request_id.clone());
        Ok(answer)
    }

    /// One that must succeed.
    fn must(&self, method: &str, path: &str, bearer: Option<&str>, body: Option<&Value>) -> Result<Value> {
        self.call(method, path, bearer, body)?.succeeded(method, path)
    }

    fn get(&self, path: &str) -> Result<Value> {
        self.must("GET", path, Some(&self.session), None)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.must("POST", path, Some(&self.session), Some(body))
    }

    /// The same for what may not be there.
    fn find(&self, path: &str) -> Result<Option<Value>> {
        let answer = self.call("GET", path, Some(&self.session), None)?;
        Ok((answer.status == 200).then_some(answer.body))
    }

    fn log_length(&self) -> Result<usize> {
        Ok(fs::read(&self.log)?.len())
    }

    /// The requests behind this place of the log. A request of the harness's own says how far the log has to be read: lines are
    /// written in the order in which answers were sent.
    fn requests_since(&self, before: usize) -> Result<Vec<Request>> {
        let answer = self.call("GET", "/healthz", None, None)?;
        let since = Instant::now();
        loop {
            let log = fs::read_to_string(&self.log)?;
            let lines = log.get(before..).unwrap_or_default().lines().filter_map(Request::read);
            let mut requests: Vec<Request> = lines.collect();
            if let Some(end) = requests.iter().position(|request| request.id == answer.request_id) {
                requests.truncate(end);
                let own = self.own.borrow();
                requests.iter_mut().for_each(|request| request.is_own = own.contains(&request.id));
                return Ok(requests);
            }
            ensure!(since.elapsed() < LOG, "the access log has no line of request {}", answer.request_id);
            sleep(EVERY);
        }
    }
}

/// A running agent. Dropped, it is ended with all that it has started.
struct Running {
    child: Child,
}

impl Running {
    fn start(command: &str, base_url: &str, token: Option<&str>, folder: &PathBuf, task: &str) -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(folder);
        // What else the environment has is the agent's own affair: its model, its proxy, its keys.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ACCREDIT_") {
                shell.env_remove(name);
            }
        }
        shell.env("ACCREDIT_URL", base_url).envs(token.map(|token| ("ACCREDIT_TOKEN", token)));
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::from(io::stderr()));
        server::die_with_us(&mut shell);
        let mut child = shell.spawn().context("cannot start sh")?;
        let mut input = child.stdin.take().context("no standard input")?;
        // An agent that does not read its task has ended, or has closed its input: what it does is looked at all the same.
        let _ = input.write_all(task.as_bytes());
        Ok(Self { child })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, status: u16) -> Request {
        Request { id: String::new(), method: method.to_owned(), status, is_own: false }
    }

    /// R160: what has changed nothing has given up, whatever it asked; what has changed something else is on a wrong path.
    #[test]
    fn a_verdict_rests_on_what_was_changed() {
        let reads = [request("GET", 200), request("POST", 403), request("GET", 404)];
        assert_eq!(verdict(Some("nothing is there"), &reads), "gave_up");
        assert_eq!(verdict(Some("nothing is there"), &[]), "gave_up");
        assert_eq!(verdict(Some("another one"), &[request("GET", 200), request("POST", 201)]), "wrong_path");
        assert_eq!(verdict(None, &reads), "succeeded");
    }

    #[test]
    fn a_line_of_the_log_is_a_request() {
        let line = r#"{"time":"2026-11-27T03:00:03.975Z","method":"POST","route":"/api/ui/notify","component":"notify","status":201,"us":164,"bytes":306,"request_id":"req_1"}"#;
        let read = Request::read(line).unwrap();
        assert_eq!((read.id.as_str(), read.has_changed()), ("req_1", true));
        assert!(Request::read("{\"lost\":3}").is_none() && Request::read("").is_none());
    }

    #[test]
    fn the_tasks_are_ten_and_each_has_a_name_of_its_own() {
        let names: HashSet<&str> = TASKS.iter().map(|task| task.name).collect();
        assert_eq!((names.len(), TASKS.len()), (10, 10));
        let one =
            Conformance { agent: Some(String::new()), tasks: vec!["enrol".to_owned()], seconds: 1, no_build: true };
        assert_eq!(one.chosen().unwrap().len(), 1);
        let none = Conformance { tasks: vec!["fly".to_owned()], ..one };
        assert!(none.chosen().err().unwrap().to_string().contains("who-am-i"));
    }
}
