//! Services behind Accredit, and what stands before them: real proxies with the configurations of the recipe, or the component `guard`.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tempfile::TempDir;

use crate::{
    Client, Host, Start,
    host::{root, wasm_directory},
    process::Running,
    until,
};

/// The headers that a service is told.
pub const TOLD: [&str; 8] = [
    "x-accredit-subject",
    "x-accredit-kind",
    "x-accredit-agent",
    "x-accredit-agent-id",
    "x-accredit-owner",
    "x-accredit-tenant",
    "x-accredit-scopes",
    "x-accredit-credential",
];

/// Every way to write one of these names that some service takes for it: each `-` may be a `_`, or a `.` (PHP).
pub fn spellings(name: &str) -> Vec<String> {
    name.split('-').fold(Vec::new(), |written: Vec<String>, part| match written.is_empty() {
        true => vec![part.to_owned()],
        false => written
            .iter()
            .flat_map(|start| ["-", "_", ".", "~"].map(|between| format!("{start}{between}{part}")))
            .collect(),
    })
}

/// What a client sends to lose the headers on the way that a service is told: it says that they are for one connection (RFC 9110, section
/// 7.6.1).
pub fn as_hops() -> Vec<Vec<(&'static str, String)>> {
    let names = TOLD.join(", ");
    let with_underscores = TOLD.iter().flat_map(|name| spellings(name)).collect::<Vec<_>>().join(",");
    let each = TOLD.iter().map(|name| ("Connection", name.to_uppercase())).collect();
    vec![
        vec![("Connection", format!("close, {names}"))],
        vec![("Connection", "close".to_owned()), ("connection", names.clone())],
        vec![("Connection", with_underscores)],
        vec![
            ("Keep-Alive", "timeout=5".to_owned()),
            ("Proxy-Connection", names.clone()),
            ("TE", "trailers".to_owned()),
        ],
        vec![("Connection", format!("Upgrade, {names}")), ("Upgrade", "websocket".to_owned())],
        each,
    ]
}

/// A service that answers with the head of the request, and counts them.
pub struct Service {
    /// Host and port.
    pub address: String,
    served: Arc<AtomicUsize>,
}

impl Service {
    /// Starts it.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        let served = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&served);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is no fault of the service.
                drop(answer(stream, &count));
            }
        });
        Self { address, served }
    }

    /// How many requests have reached it.
    pub fn count(&self) -> usize {
        self.served.load(Ordering::Acquire)
    }
}

fn answer(mut stream: TcpStream, served: &AtomicUsize) -> io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    while reader.read_line(&mut head)? > 2 {}
    // All of an upload: to close the connection before would reset it, and the proxy could lose the answer.
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    io::copy(&mut reader.by_ref().take(length.unwrap_or(0)), &mut io::sink())?;
    // Before its client can have the answer.
    served.fetch_add(1, Ordering::AcqRel);
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{head}", head.len())
}

/// The configuration in a section of the recipe, with other addresses.
#[track_caller]
pub fn configuration(section: &str, language: &str, changes: &[(&str, String)]) -> String {
    let recipe = root().join("docs/agents/recipes/protect-a-service.md");
    let recipe = fs::read_to_string(recipe).expect("the recipe");
    let block = recipe.split(&format!("\n### {section}\n")).nth(1);
    let block = block.and_then(|block| block.split(&format!("```{language}\n")).nth(1)?.split("```").next());
    let mut text = block.unwrap_or_else(|| panic!("no {language} for {section} in the recipe")).to_owned();
    for (said, here) in changes {
        assert_eq!(text.matches(said).count(), 1, "{said} in the recipe");
        text = text.replace(said, here);
    }
    text
}

/// A real proxy, which ends with the test.
pub struct Proxy {
    /// Asks it.
    pub client: Client,
    _process: Running,
    _folder: TempDir,
}

impl Proxy {
    /// Starts the command that is made for a folder and a free port. Another program may take a port that was free: then the proxy ends, and has
    /// another one.
    #[track_caller]
    pub fn start(name: &str, make: impl Fn(&Path, u16) -> Command) -> Self {
        let started = (0..5).find_map(|_| Self::at(free_port(), name, &make));
        started.unwrap_or_else(|| panic!("{name} does not start"))
    }

    /// At this port. `None`: it has ended.
    #[track_caller]
    fn at(port: u16, name: &str, make: impl Fn(&Path, u16) -> Command) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = make(folder.path(), port);
        let place = folder.path().join("log");
        let log = File::create(&place).expect("a log");
        let errors = log.try_clone().expect("the same log");
        command.stdin(Stdio::null()).stdout(log).stderr(errors).env("HOME", folder.path());
        let mut process = Running(command.spawn().expect("a proxy"));
        let client = Client::plain(&format!("http://127.0.0.1:{port}"));
        let is_up = until(&format!("{name} answers, or ends"), || {
            let answer = client.try_call("GET", "/", &[], None);
            // It says its name itself: what answers may be another program.
            let has_answered = answer.is_ok_and(|answer| {
                let said = [answer.header("server"), answer.header("via")].concat();
                said.to_ascii_lowercase().contains(name)
            });
            let has_ended = process.0.try_wait().expect("its state").is_some();
            (has_answered || has_ended).then_some(!has_ended)
        });
        if !is_up {
            eprintln!("{}", fs::read_to_string(place).unwrap_or_default());
        }
        is_up.then_some(Self { client, _process: process, _folder: folder })
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port()
}

/// How a guard stands before an application that says with which request it was reached.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A component of its own; the application has no route.
    Component,
    /// Middleware of the application's route.
    Middleware,
}

const APPLICATION: &str = r#"
spin_manifest_version = 2
[application]
name = "guarded"
version = "0.1.0"

GUARD

[component.app]
source = "../../target/wasm32-wasip1/release/trap.wasm"
environment = { NAME = "app" }
"#;

impl Shape {
    /// The manifest of an application with the guard before it.
    fn manifest(self, accredit: &str, settings: &[(&str, String)]) -> String {
        let (wasm, prefix) = match self {
            Self::Component => ("guard.wasm", ""),
            Self::Middleware => ("guard_middleware.wasm", "guard_"),
        };
        let wasm = wasm_directory().join(wasm).canonicalize().expect("the guard");
        let wasm = wasm.to_string_lossy();
        let settings: String = settings.iter().map(|(name, value)| format!("{prefix}{name} = \"{value}\"\n")).collect();
        match self {
            Self::Component => {
                let guard = format!(
                    r#"
[[trigger.http]]
route = "/..."
component = "guard"
[[trigger.http]]
route = {{ private = true }}
component = "app"

[component.guard]
source = "{wasm}"
allowed_outbound_hosts = ["http://{accredit}", "http://app.spin.internal"]
[component.guard.variables]
app = "app"
{settings}"#
                );
                APPLICATION.replace("GUARD", &guard)
            }
            Self::Middleware => {
                let guard = format!(
                    r#"
[[trigger.http]]
route = "/..."
component = "app"
[[trigger.http.dependencies.middleware]]
path = "{wasm}"
inherit_configuration = ["allowed_outbound_hosts", "variables"]
"#
                );
                let grants =
                    format!("allowed_outbound_hosts = [\"http://{accredit}\"]\n[component.app.variables]\n{settings}");
                APPLICATION.replace("GUARD", &guard) + &grants
            }
        }
    }

    /// A host with an application behind the guard, which has these settings and asks Accredit at this host and port.
    #[track_caller]
    pub fn start(self, accredit: &str, settings: &[(&str, String)]) -> Host {
        self.start_with(accredit, settings, &[])
    }

    /// The same by a host with more flags.
    #[track_caller]
    fn start_with(self, accredit: &str, settings: &[(&str, String)], flags: &[(&str, &str)]) -> Host {
        let start = Start::trap(&self.manifest(accredit, settings)).flag("--allow-private", accredit);
        flags.iter().fold(start, |start, (flag, value)| start.flag(flag, value)).run()
    }
}

/// A host with an application behind the component `guard`, which has these settings and asks Accredit at this host and port.
#[track_caller]
pub fn guarded(accredit: &str, settings: &[(&str, String)]) -> Host {
    Shape::Component.start(accredit, settings)
}

/// The same by a host with more flags.
#[track_caller]
pub fn guarded_by(accredit: &str, settings: &[(&str, String)], flags: &[(&str, &str)]) -> Host {
    Shape::Component.start_with(accredit, settings, flags)
}
