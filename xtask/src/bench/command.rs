//! How long the command `accredit` takes for one request, from its start to its end, and how large it is.

use std::fs;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::quantile;
use crate::app::{App, Stop};
use crate::dist;
use crate::ui::{Step, out};
use crate::workspace::Workspace;

/// How often it is started.
const RUNS: usize = 200;
/// The goal of each run, ms of wall time against a server on the same machine.
const MOST_MS: f64 = 20.0;

/// What was measured.
pub(super) struct Command {
    /// Times of `accredit auth whoami`, ms, in order.
    pub(super) whoami_ms: Vec<f64>,
    /// The size of the program, bytes. What `dist` hands out is the smaller one of its own profile, with the same bound.
    pub(super) bytes: u64,
}

impl Command {
    pub(super) fn as_json(&self) -> Value {
        let rounded = |value: f64| (value * 1e3).round() / 1e3;
        let at = |of_100: usize| rounded(quantile(&self.whoami_ms, of_100));
        json!({"whoami_p50_ms": at(50), "whoami_p90_ms": at(90), "bytes": self.bytes})
    }

    pub(super) fn show(&self) -> Result<()> {
        let mark = |is_met| if is_met { "met   " } else { "missed" };
        let (p50, p90) = (quantile(&self.whoami_ms, 50), quantile(&self.whoami_ms, 90));
        out(format_args!(
            "  {}  accredit auth whoami at most {MOST_MS} ms of wall time: median {p50:.1} ms, nine of ten runs at most {p90:.1} ms",
            mark(p90 <= MOST_MS)
        ))?;
        let (bytes, most) = (self.bytes, dist::MOST);
        Ok(out(format_args!("  {}  the program at most {most} bytes: {bytes}", mark(bytes <= most)))?)
    }
}

/// Starts it again and again, with a token in its environment and an empty home.
pub(super) fn measure(workspace: &Workspace, host: &Path, program: &Path, stop: &Stop) -> Result<Command> {
    let step = Step::begin(format!("accredit auth whoami, {RUNS} times"));
    let app = App::start(workspace, host, "bench-command")?;
    let token = app.create_agent("asking")?;
    let mut whoami_ms = Vec::new();
    for run in 0..=RUNS {
        stop.check()?;
        let mut command = Process::new(program);
        command.args(["auth", "whoami"]).env("HOME", app.state.path()).env("ACCREDIT_CONFIG_DIR", app.state.path());
        command.env("ACCREDIT_URL", &app.server.base_url).env("ACCREDIT_TOKEN", &token).env("NO_PROXY", "*");
        let began = Instant::now();
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().context("cannot start the command")?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        ensure!(status.success(), "accredit auth whoami ended with {status}");
        // The first run only warms up.
        if run > 0 {
            whoami_ms.push(took);
        }
    }
    whoami_ms.sort_by(f64::total_cmp);
    step.done();
    Ok(Command { whoami_ms, bytes: fs::metadata(program)?.len() })
}
