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

/// The guard before the service: the manifest, and its name in the figures.
const SHAPES: [(&str, &str); 2] = [("bench/guarded.toml", "component"), ("bench/composed.toml", "middleware")];
/// What is sent, in the figures and in words.
const TOKENS: [(&str, &str); 2] = [("signed_token", "a signed token"), ("own_token", "an agent's own token")];

/// What was measured: each shape with each token.
pub(super) struct Guarded(Vec<Later>);

/// How much later an answer comes behind a guard, ms, medians of the rounds.
struct Later {
    shape: &'static str,
    token: (&'static str, &'static str),
    p50_ms: f64,
    p99_ms: f64,
}

impl Guarded {
    pub(super) fn as_json(&self) -> Value {
        let of = |shape: &str| -> Value {
            let rows = self.0.iter().filter(|later| later.shape == shape);
            rows.map(|later| (later.token.0.to_owned(), json!({"p50_ms": later.p50_ms, "p99_ms": later.p99_ms})))
                .collect()
        };
        SHAPES.iter().map(|(_, shape)| ((*shape).to_owned(), of(shape))).collect()
    }

    pub(super) fn show(&self) -> Result<()> {
        for Later { shape, token, p50_ms, p99_ms } in &self.0 {
            let word = if *p99_ms <= MOST_MS { "met   " } else { "missed" };
            let name = token.1;
            out(format_args!(
                "  {word}  a guard as {shape} takes at most {MOST_MS} ms at p99 with {name}: p50 {p50_ms:+.3} ms, p99 {p99_ms:+.3} ms"
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
    let state = TemporaryState::new("bench-alone")?;
    let states = SHAPES.iter().map(|(_, shape)| TemporaryState::new(&format!("bench-{shape}")));
    let states = states.collect::<Result<Vec<_>>>()?;
    let alone = start("bench/spin.toml", &state)?;
    let mut guarded = Vec::new();
    for ((manifest, shape), state) in SHAPES.into_iter().zip(&states) {
        guarded.push((start(manifest, state)?, shape));
    }
    let row = |bearer: &str| Row { connections: 1, ..Row::new("hello", 0, "GET", vec!["/hello".to_owned()], bearer) };
    let (plain, rows) = (row(""), [row(&signed), row(&caller)]);
    let ways = guarded.iter().flat_map(|(server, shape)| {
        rows.iter().zip(TOKENS).map(|(row, token)| Way { server, shape, row, token, later: Vec::new() })
    });
    let mut ways: Vec<Way<'_>> = ways.collect();
    for round in 0..=rounds {
        stop.check()?;
        let hello = plain.measure(workspace, &alone, seconds)?;
        for way in &mut ways {
            let behind = way.row.measure(workspace, way.server, seconds)?;
            // The first round only warms up.
            if round > 0 {
                way.later.push((behind.p50_ms - hello.p50_ms, behind.p99_ms - hello.p99_ms));
            }
        }
    }
    step.done();
    Ok(Guarded(ways.into_iter().map(Way::ended).collect()))
}

/// What is measured in each round.
struct Way<'s> {
    server: &'s Server,
    shape: &'static str,
    row: &'s Row,
    token: (&'static str, &'static str),
    /// How much later an answer comes, ms: p50 and p99 of each round.
    later: Vec<(f64, f64)>,
}

impl Way<'_> {
    fn ended(self) -> Later {
        let (p50, p99): (Vec<f64>, Vec<f64>) = self.later.into_iter().unzip();
        Later { shape: self.shape, token: self.token, p50_ms: median(p50), p99_ms: median(p99) }
    }
}
