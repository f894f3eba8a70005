//! `cargo xtask up`: builds, starts the host, says where it serves and what to do first. No secret is printed on a terminal: others may see
//! it too.

use std::io::{BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::command::{ending, on_path};
use crate::http::Client;
use crate::secrets::{self, KEPT, Secrets};
use crate::ui::{out, say};
use crate::workspace::Workspace;
use crate::{build, server};

/// The runtime configuration for `spin up`, so that both hosts refuse private networks.
const RUNTIME_CONFIG: &str = "runtime-config.toml";
const READY_LIMIT: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Up {
    /// Address and port to serve on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    listen: String,
    /// Where the database and the secrets are kept (.accredit in the project's root)
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// A variable of the application; may be given several times
    #[arg(long = "variable", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// Runtime configuration in Spin's form (with --spin: runtime-config.toml)
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
    /// With json: one line {"base_url", "bootstrap_secret"} on standard output once it serves; on a terminal without the secret
    #[arg(long, value_enum, default_value_t = Format::Plain)]
    format: Format,
    /// Use the `spin` on PATH (4.1 or newer) instead of accredit-host
    #[arg(long)]
    spin: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Plain,
    Json,
}

/// The operator secret, and the file that it is in; `None`: it was given.
struct Operator {
    secret: String,
    file: Option<PathBuf>,
}

/// An event while a host runs.
enum Event {
    /// Its output has ended before it said where it serves, or later.
    Ended,
    Serving(String),
    /// `/readyz` has answered 200 with this.
    Ready(Value),
    Signal,
}

impl Up {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let workspace = Workspace::load()?;
        if self.spin && on_path("spin").is_none() {
            bail!("--spin needs `spin` 4.1 or newer on PATH; without --spin our own host serves the same");
        }
        let components = workspace.components();
        let is_built = |name: &&str| workspace.wasm_folder().join(format!("{name}.wasm")).exists();
        let is_first = !components.iter().all(is_built) || (!self.spin && !workspace.native("accredit-host").exists());
        if is_first {
            say(plan(components.len(), self.spin, &self.listen));
        }
        build::components(&workspace, &components)?;
        let state = self.state_dir.clone().unwrap_or_else(|| workspace.root.join(".accredit"));
        let mut host = if self.spin { self.spin(&workspace, &state) } else { self.accredit_host(&workspace, &state)? };

        let given = |name: &str| self.given(name, &workspace);
        let missing: Vec<&str> = KEPT.into_iter().filter(|name| given(name).is_none()).collect();
        let kept = Secrets::keep(&state, &missing)?;
        for name in missing {
            // Not as arguments: those are for all to see in the list of processes.
            host.env(environment_name(name), kept.reveal(name).context("a secret is missing")?);
        }
        let operator = match given("operator_secret") {
            Some(secret) => Operator { secret, file: None },
            None => Operator {
                secret: kept.reveal("operator_secret").unwrap_or_default().to_owned(),
                file: Some(secrets::file_in(&std::path::absolute(&state)?)),
            },
        };
        self.serve(&mut host, &operator)
    }

    fn accredit_host(&self, workspace: &Workspace, state: &Path) -> Result<Command> {
        let mut host = server::host(&build::host(workspace)?, &workspace.manifest(), &self.listen, state);
        if let Some(file) = &self.runtime_config_file {
            host.arg("--runtime-config-file").arg(file);
        }
        self.add_variables(&mut host);
        Ok(host)
    }

    fn spin(&self, workspace: &Workspace, state: &Path) -> Command {
        let mut spin = Command::new("spin");
        spin.args(["up", "--listen", &self.listen, "--from"]).arg(workspace.manifest()).arg("--state-dir").arg(state);
        spin.arg("--runtime-config-file")
            .arg(self.runtime_config_file.clone().unwrap_or_else(|| workspace.root.join(RUNTIME_CONFIG)));
        self.add_variables(&mut spin);
        spin
    }

    fn add_variables(&self, host: &mut Command) {
        for variable in &self.variables {
            host.arg("--variable").arg(variable);
        }
    }

    /// The operator's value for a variable, by the ways that the host reads: `--variable`, the environment, `.env`.
    fn given(&self, name: &str, workspace: &Workspace) -> Option<String> {
        let by_argument = self.variables.iter().rev().find_map(|pair| value_of(pair, name));
        by_argument.or_else(|| std::env::var(environment_name(name)).ok()).or_else(|| {
            let file = std::fs::read_to_string(workspace.root.join(".env")).ok()?;
            file.lines().find_map(|line| value_of(line.trim(), &environment_name(name)))
        })
    }

    /// Runs the host in the foreground until it ends or we are told to stop.
    fn serve(&self, host: &mut Command, operator: &Operator) -> Result<ExitCode> {
        let (events, happened) = channel();
        // Before the host starts: from here on a signal is never lost.
        listen_for_signals(events.clone())?;
        let mut child = server::spawn(host)?;
        let stdout = child.stdout.take().context("no standard output")?;
        std::thread::spawn(move || follow(BufReader::new(stdout), &events));

        let mut base_url = None;
        let mut deadline = None;
        loop {
            match next(&happened, deadline)? {
                Some(Event::Serving(url)) => {
                    deadline = Some(Instant::now() + READY_LIMIT);
                    if self.format == Format::Plain {
                        say(format_args!("\nAccredit serves on {url}   (Ctrl-C stops it)"));
                    }
                    base_url = Some(url);
                }
                Some(Event::Ready(body)) => {
                    deadline = None;
                    let url = base_url.as_deref().unwrap_or_default();
                    let is_bootstrapped = body.get("bootstrapped").and_then(Value::as_bool).unwrap_or(false);
                    match self.format {
                        Format::Json => {
                            let secret = (!is_bootstrapped).then_some(operator.secret.as_str());
                            out(facts(url, secret, std::io::stdout().is_terminal()))?;
                        }
                        Format::Plain if !is_bootstrapped => say(first_steps(url, operator.file.as_deref())),
                        Format::Plain => {}
                    }
                }
                Some(Event::Signal) => {
                    server::terminate(&child);
                    let status = loop {
                        match next(&happened, None)? {
                            // Asked twice: no more waiting for what still runs.
                            Some(Event::Signal) => child.kill()?,
                            Some(Event::Ended) => break child.wait()?,
                            _ => {}
                        }
                    };
                    if server::stopped_well(status) {
                        return Ok(ExitCode::SUCCESS);
                    }
                    bail!("the host did not stop cleanly ({})", ending(status));
                }
                Some(Event::Ended) => {
                    bail!("the host has ended by itself ({})", ending(child.wait()?))
                }
                None => {
                    deadline = None;
                    let late = format!("GET /readyz has not answered 200 in {} s", READY_LIMIT.as_secs());
                    if self.format == Format::Json {
                        server::terminate(&child);
                        child.wait()?;
                        bail!(late);
                    }
                    say(format_args!(
                        "warning: {late}; see what it says: curl -i {}/readyz",
                        base_url.as_deref().unwrap_or_default()
                    ));
                }
            }
        }
    }
}

/// The next event; `None` when the deadline comes first.
fn next(happened: &Receiver<Event>, deadline: Option<Instant>) -> Result<Option<Event>> {
    let Some(deadline) = deadline else {
        return Ok(Some(happened.recv()?));
    };
    match happened.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(event) => Ok(Some(event)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn listen_for_signals(events: Sender<Event>) -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            let _ = events.send(Event::Signal);
        }
    });
    Ok(())
}

/// Reads what a host prints to its end; asks for `/readyz` once it serves.
fn follow(mut output: BufReader<std::process::ChildStdout>, events: &Sender<Event>) {
    if let Ok(Some(base_url)) = server::base_url(&mut output) {
        let _ = events.send(Event::Serving(base_url.clone()));
        let ready = events.clone();
        std::thread::spawn(move || {
            let client = Client::new(&base_url);
            let since = Instant::now();
            while since.elapsed() < READY_LIMIT {
                if let Ok(answer) = client.call("GET", "/readyz", None, None)
                    && answer.status == 200
                {
                    let _ = ready.send(Event::Ready(answer.body));
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let _ = std::io::copy(&mut output, &mut std::io::stderr());
    }
    let _ = events.send(Event::Ended);
}

/// `NAME=VALUE` → VALUE, when the name is that one.
fn value_of(pair: &str, name: &str) -> Option<String> {
    Some(pair.strip_prefix(name)?.trim_start().strip_prefix('=')?.trim().trim_matches('"').to_owned())
}

fn environment_name(variable: &str) -> String {
    format!("SPIN_VARIABLE_{}", variable.to_ascii_uppercase())
}

/// What the first run in a clone does, and how long that usually takes.
fn plan(components: usize, is_spin: bool, listen: &str) -> String {
    let host = if is_spin { "takes `spin` as the host" } else { "builds the host" };
    format!(
        "Not everything is built here yet. This\n  1. gets the Rust target for WebAssembly, if it is missing (seconds);\n  \
         2. builds {components} components for it (3 to 6 minutes on two cores);\n  \
         3. {host}{};\n  \
         4. starts it on {listen}, with a database and secrets of its own (10 to 20 seconds, to compile the components for this machine).\n\
         All of it usually takes 8 to 15 minutes, and the next time some seconds. Ctrl-C stops it at any time; what was built is kept.\n",
        if is_spin { "" } else { " (4 to 8 minutes)" },
    )
}

/// The line for programs. A terminal gets no secret.
fn facts(base_url: &str, secret: Option<&str>, is_terminal: bool) -> Value {
    match is_terminal {
        true => json!({"base_url": base_url}),
        false => json!({"base_url": base_url, "bootstrap_secret": secret}),
    }
}

/// What to do first, without the secret itself.
fn first_steps(base_url: &str, file: Option<&Path>) -> String {
    let Some(file) = file else {
        return format!(
            "\nNobody has used it yet. Make yourself the first administrator: open {base_url}/setup. The form asks for the operator\n\
             secret, which is what you set the variable operator_secret to.\n"
        );
    };
    let show = show_secret(file);
    format!(
        "\nNobody has used it yet. Make yourself the first administrator: open {base_url}/setup. The form asks for the operator\n\
         secret, which is in a file that only you can read. This shows it:\n\n    \
         {show}\n\n\
         Or set the server up from a terminal, with your own address, name and password:\n\n    \
         {show} |\n      \
         sed 's/.*/{{\"secret\": \"&\", \"email\": \"you@example.org\", \"name\": \"You\", \"password\": \"choose a long one\"}}/' |\n      \
         curl -sS {base_url}/auth/bootstrap -H 'content-type: application/json' -d @-\n"
    )
}

/// The command that prints the operator secret.
fn show_secret(file: &Path) -> String {
    let file = file.display().to_string().replace('\'', "'\\''");
    format!("sed -n 's/^operator_secret = \"\\(.*\\)\"$/\\1/p' '{file}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(variables: &[&str]) -> Up {
        Up {
            listen: "127.0.0.1:0".to_owned(),
            state_dir: None,
            variables: variables.iter().map(|pair| (*pair).to_owned()).collect(),
            runtime_config_file: None,
            format: Format::Json,
            spin: false,
        }
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        assert_eq!(value_of("operator_secret=a=b", "operator_secret").as_deref(), Some("a=b"));
        assert_eq!(value_of("operator_secret_2=a", "operator_secret"), None);
        assert_eq!(value_of("SPIN_VARIABLE_AUDIT_KEY = \"x\"", &environment_name("audit_key")).as_deref(), Some("x"));
    }

    #[test]
    fn a_first_run_says_what_it_does_and_how_long_that_takes() {
        let text = plan(13, false, "127.0.0.1:3000");
        assert!(text.contains("13 components") && text.contains("builds the host (4 to 8 minutes)"), "{text}");
        assert!(text.contains("on 127.0.0.1:3000") && text.contains("usually takes 8 to 15 minutes"), "{text}");
        let text = plan(13, true, "127.0.0.1:3000");
        assert!(text.contains("takes `spin` as the host;"), "{text}");
    }

    /// R205: the commands work when they are pasted, and what is shown holds no secret.
    #[test]
    fn the_first_steps_say_where_the_secret_is_and_how_to_show_it() {
        let folder = server::TemporaryState::new("first-steps").unwrap();
        let state = folder.path().join("the state's folder");
        let kept = Secrets::keep(&state, &KEPT).unwrap();
        let secret = kept.reveal("operator_secret").unwrap();
        let text = first_steps("http://127.0.0.1:1", Some(&secrets::file_in(&state)));
        assert!(!text.contains(secret), "{text}");
        assert!(text.contains("open http://127.0.0.1:1/setup."), "{text}");

        let commands: Vec<&str> = text.split("\n\n").filter(|part| part.starts_with("    ")).collect();
        let run = |command: &str| {
            let output = Command::new("sh").args(["-c", command]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(run(commands[0]), format!("{secret}\n"));
        let (body, call) = commands[1].split_once(" |\n      curl ").unwrap();
        assert!(
            call.starts_with("-sS http://127.0.0.1:1/auth/bootstrap ") && call.trim_end().ends_with(" -d @-"),
            "{call}"
        );
        let body: Value = serde_json::from_str(&run(body)).unwrap();
        assert_eq!(
            body,
            json!({"secret": secret, "email": "you@example.org", "name": "You", "password": "choose a long one"})
        );
    }

    /// R205
    #[test]
    fn a_secret_that_was_given_is_not_shown_again_and_a_terminal_gets_none() {
        let text = first_steps("http://127.0.0.1:1", None);
        assert!(text.contains("the variable operator_secret"), "{text}");
        assert_eq!(facts("http://a", Some("s"), true), json!({"base_url": "http://a"}));
        assert_eq!(facts("http://a", Some("s"), false), json!({"base_url": "http://a", "bootstrap_secret": "s"}));
        assert_eq!(facts("http://a", None, false), json!({"base_url": "http://a", "bootstrap_secret": null}));
    }

    #[test]
    fn a_host_that_ends_by_itself_is_an_error() {
        let mut host = Command::new("sh");
        host.args(["-c", "exit 4"]);
        assert_eq!(
            up(&[]).serve(&mut host, &Operator { secret: String::new(), file: None }).unwrap_err().to_string(),
            "the host has ended by itself (exit 4)"
        );
    }
}
