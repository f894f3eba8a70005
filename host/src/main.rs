//! `accredit-host`: runs a Spin application where there is no Spin.
//!
//! It has the features of Spin that a small HTTP application needs, with the meaning that they have in Spin, and refuses all
//! others by name. Beyond Spin it protects itself: with time-outs, a limit on connections, a filter for private addresses
//! and a clean stop.
//!
//! # Layers
//!
//! A module imports modules of lower layers only. A test compares this table with the imports.
//!
//! | modules | what they do |
//! |---|---|
//! | `start` | the whole application, from what was read |
//! | `flags`, `serve` | the command line; connections, their time-outs and the tick |
//! | `app`, `compile` | a request's way to a component and back; wasm files to compiled components |
//! | `compose` | components from wasm files, and middleware before them |
//! | `engine`, `instances` | what components are linked to; how instances are made and reused |
//! | `guest` | one instance's state, and what its component was granted |
//! | `sqlite`, `key_value`, `outbound`, `logs` | what components can do |
//! | `backup`, `health` | the database as one file, and back; whether a server is well |
//! | `runtime_config`, `files` | what belongs to the place where the application runs; the files that components read |
//! | `backlog`, `observe`, `refusal`, `variables` | what waits in the database; what an operator sees of requests; what the host answers in place of a component; variables and their values |
//! | `manifest`, `allowed`, `body`, `cache`, `kept` | the manifest; which hosts may be called; bodies; compiled components on disk; connections that wait for another request |
//! | `access_log`, `address`, `connections`, `deadline`, `metrics` | the log of requests; counters; public and private addresses; the bound and the shares of connections; moving deadlines |
//! | `lock`, `patterns`, `private`, `route`, `say`, `temporary`, `threads` | which programs use a directory; patterns of the log; lines on stderr; files for this user only; routes; temporary directories; blocking threads |

#![deny(unsafe_code, reason = "only `cache` may, to load compiled code")]

#[macro_use]
mod say;

mod access_log;
mod address;
mod allowed;
mod app;
mod backlog;
mod backup;
mod body;
mod cache;
mod compile;
mod compose;
mod connections;
mod deadline;
mod engine;
mod files;
mod flags;
mod guest;
mod health;
mod instances;
mod kept;
mod key_value;
#[cfg(test)]
mod layers;
mod lock;
mod logs;
mod manifest;
mod metrics;
mod observe;
mod outbound;
mod patterns;
mod private;
mod refusal;
mod route;
mod runtime_config;
mod serve;
mod sqlite;
mod start;
mod temporary;
mod threads;
mod variables;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::access_log::AccessLog;
use crate::app::App;
use crate::body::Pace;
use crate::connections::Connections;
use crate::files::Staged;
use crate::flags::{Command, Flags};
use crate::metrics::Metrics;
use crate::observe::Observer;
use crate::patterns::Patterns;
use crate::start::Start;

/// Requests allocate and free memory of many sizes on all threads, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let result = match &flags.command {
        Some(Command::Compile(job)) => job.run(),
        Some(Command::Backup(backup)) => backup.run(),
        Some(Command::Restore(restore)) => restore.run(),
        Some(Command::Health(health)) => health.run(),
        Some(Command::CompileAhead(ahead)) => ahead.run(),
        None => run(&flags),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("accredit-host: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Allows as many open files as the system lets this process have: many systems begin with 1,024, which connections and databases soon reach.
fn raise_limit_of_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_err() {
        say!("accredit-host: the limit of open files stays as it is");
    }
}

fn run(flags: &Flags) -> Result<()> {
    raise_limit_of_files();
    // A blocking thread for each connection, and more: with fewer, statements that wait for a database's lock could take all
    // threads from the statement that would release it.
    let threads = flags.max_connections.saturating_add(64);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(threads).build();
    let runtime = runtime.context("cannot start the runtime")?;
    let result = runtime.block_on(start_and_serve(flags));
    // Requests that still run had their time, and end with the process: dropping idle instances one by one gains nothing.
    std::mem::forget(runtime);
    result
}

async fn start_and_serve(flags: &Flags) -> Result<()> {
    let (is_serving, stopped) = listen_for_signals()?;
    let start = tokio::task::block_in_place(|| Start::read(flags))?;
    let trusted = start.trusted_proxies()?;
    temporary::clean();
    let staged = if start.has_files() { Some(Staged::new()?) } else { None };
    let listener =
        TcpListener::bind(flags.listen).await.with_context(|| format!("cannot listen on {}", flags.listen))?;
    let address = listener.local_addr()?;
    let metrics = match flags.metrics {
        Some(address) => Some(listen_for_metrics(flags, address).await?),
        None => None,
    };
    let log = flags.access_log.as_deref().map(AccessLog::open).transpose()?;
    let patterns = if log.is_some() { start.patterns()? } else { Patterns::default() };
    let app = tokio::task::block_in_place(|| start.build(flags, staged.as_ref(), address))?;

    is_serving.store(true, Ordering::Release);
    let metrics_address = metrics.as_ref().map(TcpListener::local_addr).transpose()?;
    start.announce(flags, address, metrics_address)?;
    tokio::spawn(sqlite::keep_filled(start.database_files(flags)));
    let ticking = (!flags.no_tick).then(|| tokio::spawn(serve::tick(app.clone())));
    let connections = Arc::new(Connections::new(flags.max_connections, flags.max_connections_per_address, trusted));
    let pace = Pace { pause: flags.body_pause, rate: flags.body_rate, whole: Some(flags.body_timeout) };
    let observer =
        observe(&app, &connections, (log, patterns), metrics.map(|listener| (listener, start.database(flags))))?;
    let served = serve::serve(app.clone(), listener, connections, pace, stopped, observer.clone()).await;
    if let Some(log) = observer.as_ref().and_then(|observer| observer.log.as_ref()) {
        tokio::task::block_in_place(|| log.end());
    }
    if let Some(ticking) = ticking {
        ticking.abort();
    }
    for database in start.database_files(flags) {
        // One that is busy is folded by whoever uses it.
        drop(tokio::task::block_in_place(|| sqlite::fold(&database)));
    }
    // Instances end with the process: if they were dropped here, each idle one would be logged as one that failed.
    std::mem::forget(app);
    served
}

/// Signals that come so soon after the first one are the same one: `timeout`, `npm` and others send it to a program and to its group.
const ONE: Duration = Duration::from_millis(300);

/// Listens for signals, before anything that takes long: as the first process of a container a host gets none that it does not listen for. Gives
/// where to say that it serves, and what becomes true when it is to stop.
fn listen_for_signals() -> Result<(Arc<AtomicBool>, watch::Receiver<bool>)> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // A host that is asked to open its log anew, in whichever way, does not end because it has none.
    for kind in [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()] {
        drop(signal(kind)?);
    }
    let (stop, stopped) = watch::channel(false);
    let is_serving = Arc::new(AtomicBool::new(false));
    let serves = is_serving.clone();
    tokio::spawn(async move {
        let mut first: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if !serves.load(Ordering::Acquire) {
                say!("accredit-host: ended by a signal before it served");
                std::process::exit(0);
            }
            match first {
                None => first = Some(Instant::now()),
                Some(first) if first.elapsed() < ONE => {}
                Some(_) => break,
            }
            stop.send_replace(true);
        }
        say!("accredit-host: ended at once by a second signal");
        std::process::exit(1);
    });
    Ok((is_serving, stopped))
}

/// Listens for the program that collects the counters. It must be on this machine unless the operator says otherwise.
async fn listen_for_metrics(flags: &Flags, address: SocketAddr) -> Result<TcpListener> {
    ensure!(
        address.ip().is_loopback() || flags.metrics_for_others,
        "--metrics {address} is no loopback address, so others could read the counters; add --metrics-for-others if they may"
    );
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} for --metrics"))
}

/// Looks at requests, as the flags say. `None`: no flag does. Beside the listener of the counters is the database that they ask.
fn observe(
    app: &Arc<App>,
    connections: &Arc<Connections>,
    (log, patterns): (Option<AccessLog>, Patterns),
    metrics: Option<(TcpListener, Option<PathBuf>)>,
) -> Result<Option<Arc<Observer>>> {
    if log.is_none() && metrics.is_none() {
        return Ok(None);
    }
    let observer = Arc::new(Observer { log, patterns, metrics: Metrics::new(app.components.keys().cloned()) });
    if observer.log.is_some() {
        // nginx takes the second one for that.
        for kind in [SignalKind::hangup(), SignalKind::user_defined1()] {
            let (mut asked, observer) = (signal(kind)?, observer.clone());
            tokio::spawn(async move {
                while asked.recv().await.is_some() {
                    observer.log.iter().for_each(AccessLog::reopen);
                }
            });
        }
    }
    if let Some((listener, database)) = metrics {
        tokio::spawn(serve::metrics(listener, app.clone(), connections.clone(), observer.clone(), database));
    }
    Ok(Some(observer))
}
