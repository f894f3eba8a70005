//! How soon an event reaches whom it concerns, what webhooks cost those who notify, and what open streams cost everybody.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use super::{Row, median, quantile};
use crate::app::{App, Stop};
use crate::http::{Client, text};
use crate::server;
use crate::ui::{Step, out};
use crate::workspace::Workspace;

/// Events whose way is timed.
const EVENTS: usize = 200;
/// Webhooks that match each notification.
const WEBHOOKS: usize = 10;
/// The goal: what they add to the host's processor time for a notify at most, µs. So it keeps its own goal over hello with them.
const NOTIFY: f64 = 40.0;
/// Streams that are open at once, ten of each agent.
const STREAMS: usize = 1_000;
/// The goal: the least rate of whoami while they are open, to its rate without.
const WHOAMI: f64 = 0.8;
/// How long an event is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was measured.
pub(super) struct Reach {
    /// The ways, each with its goal and the times from the request that made an event to its arrival, ms, in order.
    pub(super) ways: Vec<(&'static str, f64, Vec<f64>)>,
    /// What webhooks that match add to the host's processor time for a notify, µs.
    pub(super) notify_us: f64,
    /// The rate of notify with them, to its rate without.
    pub(super) notify: f64,
    /// The rate of whoami while streams are open, to its rate without.
    pub(super) whoami: f64,
}

impl Reach {
    pub(super) fn as_json(&self) -> Value {
        let way = |ms: &[f64]| json!({"p50_ms": quantile(ms, 50), "p99_ms": quantile(ms, 99)});
        let mut all = json!({"notify_with_webhooks": self.notify, "webhooks_us": self.notify_us, "whoami_with_streams": self.whoami});
        for ((name, _, ms), key) in self.ways.iter().zip(["inbox", "stream", "webhook"]) {
            debug_assert!(name.contains(key), "{name}");
            if let Some(members) = all.as_object_mut() {
                members.insert(key.to_owned(), way(ms));
            }
        }
        all
    }

    /// Prints the figures beside their goals.
    pub(super) fn show(&self) -> Result<()> {
        let word = |is_met: bool| if is_met { "met   " } else { "missed" };
        for (name, goal, ms) in &self.ways {
            let (p50, p99) = (quantile(ms, 50), quantile(ms, 99));
            let is_met = word(p99 <= *goal);
            out(format_args!(
                "  {is_met}  an event reaches {name} within {goal} ms: p50 {p50:.1} ms, p99 {p99:.1} ms"
            ))?;
        }
        let (is_met, us, ratio) = (word(self.notify_us <= NOTIFY), self.notify_us, self.notify);
        out(format_args!(
            "  {is_met}  {WEBHOOKS} webhooks that match add at most {NOTIFY} µs to notify: {us:+.0} µs, {ratio:.2} of its rate"
        ))?;
        let (is_met, ratio) = (word(self.whoami >= WHOAMI), self.whoami);
        Ok(out(format_args!(
            "  {is_met}  whoami while {STREAMS} streams are open at least {WHOAMI} of whoami: {ratio:.2}"
        ))?)
    }
}

/// The receiver, killed when it is dropped.
struct Sink(Child);

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Measures on a host of its own, with a receiver that it trusts.
pub(super) fn measure(
    workspace: &Workspace,
    (host, receiver): (&Path, &Path),
    (seconds, rounds): (u32, u32),
    stop: &Stop,
) -> Result<Reach> {
    let step = Step::begin(format!("{EVENTS} events on their way"));
    let mut sink = Sink(server::spawn(&mut Command::new(receiver))?);
    let mut lines = BufReader::new(sink.0.stdout.take().context("no output")?);
    let mut first = String::new();
    lines.read_line(&mut first)?;
    let place: Value = serde_json::from_str(&first)?;
    let (address, config) = (text(&place, "address")?, text(&place, "runtime_config")?);
    let arguments = [
        ["--runtime-config-file", &config],
        ["--allow-private", &address],
        ["--variable", &format!("outbound_hosts={address}")],
        ["--variable", "secrets_key=only-for-this-run-and-of-32-characters"],
        // All streams come from this one address.
        ["--max-connections", "4000"],
        ["--max-connections-per-address", "4000"],
    ];
    let app = App::start_with(workspace, host, "bench-reach", arguments.as_flattened())?;
    let token = app.create_agent("told")?;
    let webhook = |kind: &str| -> Result<String> {
        let body = json!({"url": format!("https://{address}/"), "kinds": [kind]});
        text(&app.client.must("POST", "/api/webhooks", Some(&app.session), Some(&body))?, "id")
    };
    webhook("message")?;

    let watches = [inbox(&app, &token), stream(&app, &token)?, arrivals(lines)];
    thread::sleep(Duration::from_millis(500));
    let mut ways = vec![
        ("a waiting inbox", 200.0, Vec::new()),
        ("a stream", 200.0, Vec::new()),
        ("a webhook's receiver", 2_000.0, Vec::new()),
    ];
    for number in 0..EVENTS {
        stop.check()?;
        let begun = Instant::now();
        let body = json!({"text": format!("number {number}")});
        app.client.must("POST", "/api/agents/told/messages", Some(&app.session), Some(&body))?;
        for ((name, _, ms), watch) in ways.iter_mut().zip(&watches) {
            let at = watch.recv_timeout(PATIENCE).with_context(|| format!("no event reaches {name}"))?;
            ms.push(at.saturating_duration_since(begun).as_secs_f64() * 1e3);
        }
        // The inbox waits again.
        thread::sleep(Duration::from_millis(20));
    }
    for (_, _, ms) in &mut ways {
        ms.sort_by(f64::total_cmp);
    }
    step.done();

    // Before the webhooks leave a queue behind, which would slow both rates.
    let whoami = whoami_with_streams(workspace, &app, (seconds, rounds), stop)?;
    let step = Step::begin(format!("notify with {WEBHOOKS} webhooks that match"));
    let hooks = (0..WEBHOOKS).map(|_| webhook("notification")).collect::<Result<Vec<String>>>()?;
    let row = Row {
        body: r#"{"title": "Done", "body": "All is well."}"#,
        ..Row::new("notify", 0, "POST", vec!["/api/ui/notify".to_owned()], &token)
    };
    let set = |state: &str| -> Result<()> {
        for id in &hooks {
            let path = format!("/api/webhooks/{id}");
            app.client.must("PATCH", &path, Some(&app.session), Some(&json!({"state": state})))?;
        }
        Ok(())
    };
    let (mut ratios, mut added) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        stop.check()?;
        set("disabled")?;
        let without = row.measure(workspace, &app.server, seconds)?;
        set("active")?;
        let with = row.measure(workspace, &app.server, seconds)?;
        ratios.push(with.requests_per_s / without.requests_per_s);
        added.push(with.us - without.us);
    }
    step.done();
    Ok(Reach { ways, notify_us: median(added), notify: median(ratios), whoami })
}

/// The rate of whoami while streams are open, to its rate without.
fn whoami_with_streams(workspace: &Workspace, app: &App, (seconds, rounds): (u32, u32), stop: &Stop) -> Result<f64> {
    let step = Step::begin(format!("whoami while {STREAMS} streams are open"));
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })?;
    let tokens = (0..STREAMS / 10).map(|number| app.create_agent(&format!("reader-{number}")));
    let tokens = tokens.collect::<Result<Vec<String>>>()?;
    let row = Row::new("whoami", 0, "GET", vec!["/api/auth/whoami".to_owned()], &app.session);
    let rate = || -> Result<f64> {
        let measure = |_| {
            stop.check()?;
            Ok(row.measure(workspace, &app.server, seconds)?.requests_per_s)
        };
        Ok(median((0..rounds).map(measure).collect::<Result<Vec<f64>>>()?))
    };
    let without = rate()?;
    let mut streams = Vec::with_capacity(STREAMS);
    for token in tokens.iter().cycle().take(STREAMS) {
        stop.check()?;
        let mut line = BufReader::new(open_stream(app, token)?);
        let mut first = String::new();
        line.read_line(&mut first)?;
        ensure!(first.starts_with("HTTP/1.1 200"), "a stream was answered {first:?}");
        streams.push(line);
    }
    let with = rate()?;
    step.done();
    Ok(with / without)
}

/// When events come to an inbox that is waited at.
fn inbox(app: &App, token: &str) -> Receiver<Instant> {
    let (tell, told) = channel();
    let (client, token) = (Client::new(&app.server.base_url), token.to_owned());
    thread::spawn(move || -> Result<()> {
        let mut after = String::new();
        loop {
            let path = format!("/api/agents/me/inbox?wait=20{after}");
            let page = client.must("GET", &path, Some(&token), None)?;
            let at = Instant::now();
            for _ in page.get("items").and_then(Value::as_array).into_iter().flatten() {
                tell.send(at)?;
            }
            after = format!("&after={}", text(&page, "cursor")?);
        }
    });
    told
}

/// When events come to a stream.
fn stream(app: &App, token: &str) -> Result<Receiver<Instant>> {
    let (tell, told) = channel();
    let line = open_stream(app, token)?;
    thread::spawn(move || each_line(BufReader::new(line), &tell, |line| line.starts_with("data:")));
    Ok(told)
}

/// Asks for the stream of an agent's inbox.
fn open_stream(app: &App, token: &str) -> Result<TcpStream> {
    let address = app.server.base_url.strip_prefix("http://").context("an address")?;
    let mut line = TcpStream::connect(address)?;
    line.set_read_timeout(Some(PATIENCE))?;
    let head =
        format!("GET /api/agents/me/inbox/stream HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n");
    line.write_all(head.as_bytes())?;
    Ok(line)
}

/// When messages come to the receiver.
fn arrivals(lines: BufReader<std::process::ChildStdout>) -> Receiver<Instant> {
    let (tell, told) = channel();
    thread::spawn(move || each_line(lines, &tell, |line| line.starts_with("message")));
    told
}

fn each_line(mut from: impl std::io::BufRead, tell: &Sender<Instant>, counts: impl Fn(&str) -> bool) {
    let mut line = String::new();
    while from.read_line(&mut line).is_ok_and(|length| length > 0) {
        if counts(&line) && tell.send(Instant::now()).is_err() {
            return;
        }
        line.clear();
    }
}
