//! What a guard costs a service: hello behind it against hello alone, one request after the other.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Row, median};
use crate::app::{App, Stop};
use crate::http::text;
use crate::server::{self, Server, TemporaryState};
use crate::ui::{Step, out};
use crate::workspace::Workspace;

/// The goal: how much later the 99th of a hundred answers may come.
const MOST_MS: f64 = 0.3;

/// What was measured, medians of the rounds.
pub(super) struct Guarded {
    /// How much later an answer comes behind the guard, ms: with a signed token, and with an agent's own.
    signed: Later,
    own: Later,
}

struct Later {
    p50_ms: f64,
    p99_ms: f64,
}

impl Guarded {
    pub(super) fn as_json(&self) -> Value {
        let later = |later: &Later| json!({"p50_ms": later.p50_ms, "p99_ms": later.p99_ms});
        json!({"signed_token": later(&self.signed), "own_token": later(&self.own)})
    }

    pub(super) fn show(&self) -> Result<()> {
        for (name, later) in [("a signed token", &self.signed), ("an agent's own token", &self.own)] {
            let word = if later.p99_ms <= MOST_MS { "met   " } else { "missed" };
            out(format_args!(
                "  {word}  a guard takes at most {MOST_MS} ms at p99 with {name}: p50 {:+.3} ms, p99 {:+.3} ms",
                later.p50_ms, later.p99_ms
            ))?;
        }
        Ok(())
    }
}

/// Measures on hosts of its own, in turn.
pub(super) fn measure(
    workspace: &Workspace,
    host: &Path,
    (seconds, rounds): (u32, u32),
    stop: &Stop,
) -> Result<Guarded> {
    let step = Step::begin("a service behind a guard".to_owned());
    let app = App::start(workspace, host, "bench-guarding")?;
    let service = app.service()?;
    let (caller, form) = app.caller(1)?;
    let signed = text(&app.client.form("/oauth/token", &form)?, "access_token")?;
    let accredit = app.server.base_url.as_str();
    let at = accredit.strip_prefix("http://").context("an address")?;
    let start = |manifest: &str, state: &TemporaryState| {
        let mut command = server::host(host, &workspace.root.join(manifest), "127.0.0.1:0", state.path());
        command.args(["--quiet", "--allow-private", at]);
        command.env("SPIN_VARIABLE_ACCREDIT", accredit).env("SPIN_VARIABLE_TOKEN", &service);
        Server::start(&mut command)
    };
    let (state, other) = (TemporaryState::new("bench-alone")?, TemporaryState::new("bench-guarded")?);
    let (alone, guarded) = (start("bench/spin.toml", &state)?, start("bench/guarded.toml", &other)?);
    let row = |bearer: &str| Row { connections: 1, ..Row::new("hello", 0, "GET", vec!["/hello".to_owned()], bearer) };
    let (plain, mut later) = (row(""), [(row(&signed), Vec::new()), (row(&caller), Vec::new())]);
    for round in 0..=rounds {
        stop.check()?;
        let hello = plain.measure(workspace, &alone, seconds)?;
        for (row, all) in &mut later {
            let behind = row.measure(workspace, &guarded, seconds)?;
            // The first round only warms up.
            if round > 0 {
                all.push((behind.p50_ms - hello.p50_ms, behind.p99_ms - hello.p99_ms));
            }
        }
    }
    step.done();
    let [signed, own] = later.map(|(_, all)| Later {
        p50_ms: median(all.iter().map(|(p50, _)| *p50).collect()),
        p99_ms: median(all.iter().map(|(_, p99)| *p99).collect()),
    });
    Ok(Guarded { signed, own })
}
