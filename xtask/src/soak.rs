//! `cargo xtask soak`: mixed load for a while, with rude clients among the polite ones. The host's memory and
//! open files must stay flat, and no answer may be one that its route does not give.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use crate::app::{App, Stop};
use crate::build;
use crate::http::{Client, text};
use crate::ui::{out, say};
use crate::workspace::Workspace;

const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// After the last request: connections and instances end when they have been idle.
const REST: Duration = Duration::from_secs(15);
/// Of each 1,000 requests so many may be refused for now (429, 503).
const BUSY_OF_1000: u64 = 10;

#[derive(Args)]
pub(crate) struct Soak {
    /// For how long
    #[arg(long, value_name = "MINUTES", default_value_t = 10.0)]
    minutes: f64,
}

/// The counts that all clients add to.
#[derive(Default)]
struct Tally {
    is_over: AtomicBool,
    answered: AtomicU64,
    busy: AtomicU64,
    /// The fault → how often it happened.
    wrong: Mutex<BTreeMap<String, u64>>,
}

struct Sample {
    memory_kb: u64,
    files: usize,
    sockets: usize,
}

/// One kind of client, until the tally says that it is over.
type Act = fn(&Visitor<'_>) -> Result<()>;

/// A client with what it needs to know.
struct Visitor<'a> {
    tally: &'a Tally,
    base_url: &'a str,
    client: Client,
    session: &'a str,
    agent_token: &'a str,
    number: usize,
}

const ACTS: [(Act, usize); 7] = [
    (asks_who_it_is, 4),
    (lists_agents, 1),
    (lives_as_an_agent, 2),
    (guesses, 1),
    (leaves_half_open, 1),
    (trickles, 2),
    (does_not_read, 1),
];

impl Soak {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let workspace = Workspace::load()?;
        build::components(&workspace, &workspace.components())?;
        let host = build::host(&workspace)?;
        let stop = Stop::on_signal()?;
        let mut app = App::start(&workspace, &host, "soak")?;
        let agent_token = app.create_agent("asking")?;
        // Without the connection that the preparations came by.
        app.client = Client::new(&app.server.base_url);
        sleep(Duration::from_secs(1));
        let before = sample(&app)?;
        let length = Duration::from_secs_f64(self.minutes * 60.0);
        say(format_args!("==> {} min of mixed load …", self.minutes));

        let tally = Tally::default();
        let samples = scope(|scope| {
            for (act, times) in ACTS {
                for number in 0..times {
                    let (tally, app, agent_token) = (&tally, &app, &agent_token);
                    scope.spawn(move || {
                        let base_url = &app.server.base_url;
                        let visitor = Visitor {
                            tally,
                            base_url,
                            client: Client::new(base_url),
                            session: &app.session,
                            agent_token,
                            number,
                        };
                        while !tally.is_over.load(Ordering::Relaxed) {
                            if let Err(error) = act(&visitor) {
                                tally.is_wrong(&format!("{error:#}"));
                                sleep(Duration::from_millis(100));
                            }
                        }
                    });
                }
            }
            let samples = watch(&app, &tally, length, &stop);
            tally.is_over.store(true, Ordering::Relaxed);
            samples
        })?;
        stop.check()?;

        say("==> everybody has left; waiting for what was idle to end …");
        sleep(REST);
        let after = sample(&app)?;
        self.judge(&tally, &samples, &before, &after)
    }

    fn judge(&self, tally: &Tally, samples: &[Sample], before: &Sample, after: &Sample) -> Result<ExitCode> {
        let (answered, busy) = (tally.answered.load(Ordering::Relaxed), tally.busy.load(Ordering::Relaxed));
        let wrong = tally.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let (memory, files) =
            (Growth::of(samples, |sample| sample.memory_kb), Growth::of(samples, |sample| sample.files as u64));
        let verdicts = [
            (
                wrong.is_empty() && answered > 0,
                format!("{answered} answers, {} of a kind that should not be", wrong.values().sum::<u64>()),
            ),
            (busy * 1000 <= answered * BUSY_OF_1000, format!("{busy} were told to come again later")),
            // A twentieth, or 8 MB: what pools and caches of SQLite may still take.
            (
                memory.is_within((memory.earlier / 20).max(8 * 1024)),
                format!("memory {} MB, then {} MB", memory.earlier / 1024, memory.later / 1024),
            ),
            // SQLite closes files of a database only when no connection holds a lock on it, and uses them again: their number is that
            // of the most connections there were at a time.
            (files.is_within(8), format!("files {}, then {}", files.earlier, files.later)),
            (
                after.sockets <= before.sockets,
                format!("sockets {} before, {} when everybody had left", before.sockets, after.sockets),
            ),
        ];
        out(format_args!("soak of {} min", self.minutes))?;
        for (is_good, what) in &verdicts {
            out(format_args!("  {}  {what}", if *is_good { "good" } else { "BAD " }))?;
        }
        for (what, times) in wrong.iter() {
            out(format_args!("        {times} × {what}"))?;
        }
        Ok(if verdicts.iter().all(|(is_good, _)| *is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Something in the first and in the second half of a run, without its first fifth, which warms up.
struct Growth {
    earlier: u64,
    later: u64,
}

impl Growth {
    fn of(samples: &[Sample], what: fn(&Sample) -> u64) -> Self {
        let (_, warm) = samples.split_at(samples.len() / 5);
        let (earlier, later) = warm.split_at(warm.len() / 2);
        let median = |samples: &[Sample]| {
            let mut sizes: Vec<u64> = samples.iter().map(what).collect();
            sizes.sort_unstable();
            sizes.get(sizes.len() / 2).copied().unwrap_or_default()
        };
        Self { earlier: median(earlier), later: median(later) }
    }

    fn is_within(&self, more: u64) -> bool {
        self.later <= self.earlier + more
    }
}

fn sample(app: &App) -> Result<Sample> {
    let (files, sockets) = app.server.open_files()?;
    Ok(Sample { memory_kb: app.server.memory()?.1, files, sockets })
}

/// Samples until the time is over, with a line for each minute.
fn watch(app: &App, tally: &Tally, length: Duration, stop: &Stop) -> Result<Vec<Sample>> {
    let since = Instant::now();
    let mut samples = Vec::new();
    let mut minutes = 0;
    while since.elapsed() < length && !stop.is_asked() {
        sleep(SAMPLE_EVERY.min(length.saturating_sub(since.elapsed())));
        let sample = sample(app).context("the host is gone")?;
        if since.elapsed().as_secs() / 60 > minutes {
            minutes = since.elapsed().as_secs() / 60;
            let answered = tally.answered.load(Ordering::Relaxed);
            say(format_args!(
                "    {minutes:>3} min  {answered:>9} answers  {:>5} MB  {:>4} open files",
                sample.memory_kb / 1024,
                sample.files + sample.sockets
            ));
        }
        samples.push(sample);
    }
    Ok(samples)
}

impl Tally {
    fn is_wrong(&self, what: &str) {
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner).entry(what.to_owned()).or_default() += 1;
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

impl Visitor<'_> {
    /// Asks, and notes an answer that is not `expected`. `None`: a 429 or 503.
    fn ask(
        &self,
        expected: u16,
        method: &str,
        path: &str,
        bearer: &str,
        body: Option<&Value>,
    ) -> Result<Option<Value>> {
        let answer = self.client.call(method, path, Some(bearer), body)?;
        self.tally.answered.fetch_add(1, Ordering::Relaxed);
        match answer.status {
            status if status == expected => Ok(Some(answer.body)),
            429 | 503 => {
                self.tally.busy.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
            status => {
                // The own name of an agent would make each wrong answer one of a kind.
                let route = path
                    .split('/')
                    .map(|part| if part.starts_with("soak-") { "{name}" } else { part })
                    .collect::<Vec<_>>()
                    .join("/");
                let slug = answer.body.get("error").and_then(Value::as_str).unwrap_or_default().to_owned();
                self.tally.is_wrong(&format!("{method} {route}: {status} {slug} instead of {expected}"));
                Ok(None)
            }
        }
    }

    fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.base_url.trim_start_matches("http://"))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    /// Does nothing for a while, but not past the end.
    fn pause(&self, seconds: f64) {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < until && !self.tally.is_over() {
            sleep(Duration::from_millis(20));
        }
    }
}

fn asks_who_it_is(visitor: &Visitor<'_>) -> Result<()> {
    visitor.ask(200, "GET", "/api/auth/whoami", visitor.agent_token, None)?;
    Ok(())
}

fn lists_agents(visitor: &Visitor<'_>) -> Result<()> {
    visitor.ask(200, "GET", "/api/agents?limit=20", visitor.session, None)?;
    Ok(())
}

/// Is created, gets another token, loses it, is deleted; each token ends when it should.
fn lives_as_an_agent(visitor: &Visitor<'_>) -> Result<()> {
    let name = format!("soak-{}", visitor.number);
    let path = format!("/api/agents/{name}");
    let Some(agent) = visitor.ask(201, "POST", "/api/agents", visitor.session, Some(&json!({"name": name})))? else {
        return Ok(());
    };
    let first = text(&agent, "auth_token")?;
    visitor.ask(200, "GET", "/api/auth/whoami", &first, None)?;
    if let Some(issued) = visitor.ask(200, "POST", &format!("{path}/token/issue"), visitor.session, Some(&json!({})))? {
        let second = text(&issued, "token")?;
        visitor.ask(401, "GET", "/api/auth/whoami", &first, None)?;
        visitor.ask(200, "GET", "/api/auth/whoami", &second, None)?;
        if visitor.ask(204, "DELETE", &format!("{path}/token"), visitor.session, None)?.is_some() {
            visitor.ask(401, "GET", "/api/auth/whoami", &second, None)?;
        }
    }
    // A 429 or 503: try again later, so that the name is free for the next round.
    while visitor.ask(204, "DELETE", &path, visitor.session, None)?.is_none() && !visitor.tally.is_over() {
        visitor.pause(0.2);
    }
    Ok(())
}

fn guesses(visitor: &Visitor<'_>) -> Result<()> {
    for guess in ["", "nothing", "acr_agt_", &visitor.agent_token.to_uppercase(), &format!("{}0", visitor.agent_token)]
    {
        visitor.ask(401, "GET", "/api/auth/whoami", guess, None)?;
    }
    Ok(())
}

/// Opens connections, sends half a head, and goes away or waits to be sent away.
fn leaves_half_open(visitor: &Visitor<'_>) -> Result<()> {
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut stream = visitor.connect()?;
        stream.write_all(b"GET /api/auth/whoami HTTP/1.1\r\nhost: half\r\nx-never")?;
        open.push(stream);
    }
    visitor.pause(5.0);
    Ok(())
}

/// Sends its request a few bytes at a time; must get its answer all the same.
fn trickles(visitor: &Visitor<'_>) -> Result<()> {
    let mut stream = visitor.connect()?;
    let request = format!(
        "GET /api/auth/whoami HTTP/1.1\r\nhost: slow\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
        visitor.agent_token
    );
    for part in request.as_bytes().chunks(16) {
        stream.write_all(part)?;
        sleep(Duration::from_millis(30));
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    visitor.tally.answered.fetch_add(1, Ordering::Relaxed);
    if !answer.starts_with("HTTP/1.1 200") {
        visitor.tally.is_wrong(&format!("a slow request: {}", answer.lines().next().unwrap_or("no answer")));
    }
    Ok(())
}

/// Asks for much at once, reads none of it, and leaves.
fn does_not_read(visitor: &Visitor<'_>) -> Result<()> {
    let mut stream = visitor.connect()?;
    let request =
        format!("GET /api/agents HTTP/1.1\r\nhost: deaf\r\nauthorization: Bearer {}\r\n\r\n", visitor.session);
    for _ in 0..50 {
        // The host may refuse when it has too many connections.
        if stream.write_all(request.as_bytes()).is_err() {
            break;
        }
    }
    visitor.pause(3.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(sizes_mb: impl IntoIterator<Item = u64>) -> Vec<Sample> {
        sizes_mb.into_iter().map(|size| Sample { memory_kb: size * 1024, files: 7, sockets: 3 }).collect()
    }

    fn verdict(samples: &[Sample], after: usize) -> ExitCode {
        let tally = Tally::default();
        tally.answered.store(1000, Ordering::Relaxed);
        let sample = |sockets| Sample { memory_kb: 0, files: 7, sockets };
        Soak { minutes: 1.0 }.judge(&tally, samples, &sample(3), &sample(after)).unwrap()
    }

    #[test]
    fn what_settles_is_flat() {
        assert_eq!(verdict(&samples([10, 150].into_iter().chain([200; 8])), 3), ExitCode::SUCCESS);
        assert_eq!(verdict(&samples([200, 205, 199, 207, 201, 204, 206, 203, 200, 205]), 3), ExitCode::SUCCESS);
    }

    #[test]
    fn what_keeps_growing_is_not_flat() {
        assert_eq!(verdict(&samples((0..20).map(|n| 200 + 5 * n)), 3), ExitCode::FAILURE);
        let mut files = samples([200; 20]);
        for (at, sample) in files.iter_mut().enumerate() {
            sample.files += 2 * at;
        }
        assert_eq!(verdict(&files, 3), ExitCode::FAILURE);
    }

    #[test]
    fn a_connection_that_stays_makes_the_run_fail() {
        assert_eq!(verdict(&samples([100; 10]), 4), ExitCode::FAILURE);
    }

    #[test]
    fn a_wrong_answer_makes_the_run_fail() {
        let soak = Soak { minutes: 1.0 };
        let samples = samples([100; 10]);
        let tally = Tally::default();
        tally.answered.store(1000, Ordering::Relaxed);
        let sample = || Sample { memory_kb: 0, files: 7, sockets: 3 };
        assert_eq!(soak.judge(&tally, &samples, &sample(), &sample()).unwrap(), ExitCode::SUCCESS);
        tally.is_wrong("GET /x: 500 instead of 200");
        assert_eq!(soak.judge(&tally, &samples, &sample(), &sample()).unwrap(), ExitCode::FAILURE);
    }
}
