//! `accredit-host`: runs a Spin application where there is no Spin.
//!
//! It knows the features of Spin that a small HTTP application needs, means by them what Spin means, and refuses all
//! others by name. Beyond Spin it only guards itself: time-outs, a bound on connections, private addresses, a clean stop.
//!
//! Read `manifest` and `variables` for what comes in, `engine` and `guest` for how components run, `app` and `serve` for
//! a request's way, and `sqlite`, `key_value` and `outbound` for what components can do.

mod address;
mod allowed;
mod app;
mod body;
mod engine;
mod files;
mod guest;
mod key_value;
mod logs;
mod manifest;
mod outbound;
mod route;
mod runtime_config;
mod serve;
mod sqlite;
mod variables;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use rustls::RootCertStore;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::address::Filter;
use crate::allowed::AllowedHosts;
use crate::app::{App, Endpoint};
use crate::engine::Cache;
use crate::files::Staged;
use crate::guest::{Component, Handler, Instances, Reuse};
use crate::key_value::Store;
use crate::manifest::Manifest;
use crate::outbound::Outbound;
use crate::route::Router;
use crate::runtime_config::{RuntimeConfig, tls_config};
use crate::variables::Provider;

/// Requests make garbage of many sizes on all threads, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs the Spin application of a manifest.
#[derive(Debug, Parser)]
#[command(name = "accredit-host", version)]
struct Flags {
    /// The manifest, or the directory that it is in.
    #[arg(short = 'f', long = "from", alias = "file", default_value = "spin.toml")]
    from: PathBuf,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "SPIN_HTTP_LISTEN_ADDR", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Where databases and stores are kept: by default `.spin` beside the manifest; empty: in memory.
    #[arg(long)]
    state_dir: Option<String>,
    /// A variable: `key=value`, `key=@file`, `@file.json` or `@file.toml`.
    #[arg(long = "variable", value_name = "KEY=VALUE")]
    variables: Vec<String>,
    /// The runtime configuration.
    #[arg(long, env = "RUNTIME_CONFIG_FILE")]
    runtime_config_file: Option<PathBuf>,
    /// How to say that the host serves: to people, or as one line of JSON on stdout.
    #[arg(long, value_enum, default_value_t = Format::Plain)]
    format: Format,
    /// Say nothing of routes at the start.
    #[arg(short, long)]
    quiet: bool,
    /// A host and port that components may call although its address is private.
    #[arg(long, value_name = "HOST:PORT")]
    allow_private: Vec<String>,
    /// Connections at a time; more are refused.
    #[arg(long, default_value_t = 1024)]
    max_connections: usize,
    /// Requests that one instance answers in all.
    #[arg(long, default_value_t = 128)]
    max_instance_reuse_count: usize,
    /// Requests that one instance answers at the same time.
    #[arg(long, default_value_t = 16)]
    max_instance_concurrent_reuse_count: usize,
    /// How long an instance waits for more requests.
    #[arg(long, default_value = "1s", value_parser = parse_duration)]
    idle_instance_timeout: Duration,
    /// How long a request may take until its response begins; without it, for ever.
    #[arg(long, value_parser = parse_duration)]
    request_timeout: Option<Duration>,
    /// The most memory that one instance may have, in bytes: by default 256 MiB.
    #[arg(long, env = "SPIN_MAX_INSTANCE_MEMORY", value_name = "BYTES")]
    max_instance_memory: Option<usize>,
    /// Where compiled components are kept.
    #[arg(long)]
    cache_dir: Option<PathBuf>,
    /// Compile at each start.
    #[arg(long)]
    no_cache: bool,
    /// Send no `POST /internal/tick`.
    #[arg(long)]
    no_tick: bool,
}

/// Bytes that one instance may have when nobody says it.
const MEMORY: usize = 256 << 20;

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Plain,
    Json,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    // A blocking thread for whatever a connection may wait for: with fewer, those that wait for a database's lock
    // could keep out the one that would give it back.
    let threads = flags.max_connections.saturating_add(64);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(threads).build();
    let result = runtime.context("cannot start the runtime").and_then(|runtime| {
        let result = runtime.block_on(run(&flags));
        // What is still running has had its time, and ends with the process: taking idle instances apart gains nothing.
        std::mem::forget(runtime);
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("accredit-host: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: &Flags) -> Result<()> {
    let start = tokio::task::block_in_place(|| Start::read(flags))?;
    let has_files = start.manifest.components.values().any(|component| !component.files.is_empty());
    let staged = if has_files { Some(Staged::new()?) } else { None };
    let listener =
        TcpListener::bind(flags.listen).await.with_context(|| format!("cannot listen on {}", flags.listen))?;
    let address = listener.local_addr()?;
    let app = tokio::task::block_in_place(|| start.build(flags, staged.as_ref(), address))?;

    let (stop, stopped) = watch::channel(false);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_replace(true);
    });
    announce(flags, &start, address)?;
    let ticking = (!flags.no_tick).then(|| tokio::spawn(serve::tick(app.clone())));
    let served = serve::serve(app.clone(), listener, flags.max_connections, stopped).await;
    if let Some(ticking) = ticking {
        ticking.abort();
    }
    // Instances end with the process; taken apart here, each idle one would be logged as one that failed.
    std::mem::forget(app);
    served
}

/// What was read before anything is built.
struct Start {
    manifest: Manifest,
    home: PathBuf,
    config: RuntimeConfig,
    variables: BTreeMap<String, String>,
}

impl Start {
    fn read(flags: &Flags) -> Result<Self> {
        let path = if flags.from.is_dir() { flags.from.join("spin.toml") } else { flags.from.clone() };
        let manifest = Manifest::read(&path)?;
        let home = path.parent().filter(|home| !home.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let mut config = match &flags.runtime_config_file {
            Some(path) => RuntimeConfig::read(path)?,
            None => RuntimeConfig::default(),
        };
        let mut given = HashMap::new();
        for flag in &flags.variables {
            given.extend(variables::from_flag(flag)?);
        }
        let mut providers = vec![Provider::Static(given)];
        providers.append(&mut config.providers);
        providers.push(Provider::environment(None, Some(Path::new(".env"))));
        let variables = variables::resolve(&manifest, &providers)?;
        if let Some(directory) = config.log_dir.as_deref().filter(|directory| !directory.is_empty()) {
            eprintln!("accredit-host: log_dir {directory:?} is not used: components print on this stderr");
        }
        Ok(Self { manifest, home, config, variables })
    }

    /// Compiles, links and routes. Components are compiled at the same time.
    fn build(&self, flags: &Flags, staged: Option<&Staged>, address: SocketAddr) -> Result<Arc<App>> {
        let memory = flags.max_instance_memory.or(self.config.max_instance_memory).unwrap_or(MEMORY);
        ensure!(memory >= 1 << 20, "no component can run in {memory} bytes of memory: the bound is in bytes");
        let instances =
            u32::try_from(flags.max_connections.saturating_add(256)).context("--max-connections is too large")?;
        let engine = engine::engine(instances, memory)?;
        let linker = engine::linker(&engine)?;
        let cache = open_cache(flags);
        let used: BTreeSet<&str> = self.manifest.triggers.iter().map(|trigger| trigger.component.as_str()).collect();
        let used = self.manifest.components.iter().filter(|(id, _)| used.contains(id.as_str()));

        let databases = self.databases(flags)?;
        let stores = self.stores(flags)?;
        let outbound = Arc::new(self.outbound(flags)?);
        let reuse = Reuse {
            requests: flags.max_instance_reuse_count,
            concurrent: flags.max_instance_concurrent_reuse_count,
            idle: flags.idle_instance_timeout,
            request_timeout: flags.request_timeout,
            memory,
        };
        let load = |(id, component): (&String, &manifest::Component)| -> Result<Handler> {
            let granted = self.grant(id, component, staged, &databases, &stores, &outbound)?;
            let loaded = engine::load(&engine, cache.as_ref(), &self.home.join(&component.source))?;
            let service = engine::link(id, &linker, &loaded)?;
            Ok(Handler::new(Instances { component: Arc::new(granted), service, reuse }))
        };
        let load = &load;
        let handlers: HashMap<&str, Handler> = std::thread::scope(|scope| {
            let threads: Vec<_> = used.map(|entry| (entry.0.as_str(), scope.spawn(move || load(entry)))).collect();
            let finished = threads.into_iter().map(|(id, thread)| match thread.join() {
                Ok(handler) => handler.map(|handler| (id, handler)).with_context(|| format!("in component {id}")),
                Err(_) => bail!("component {id} could not be compiled"),
            });
            finished.collect::<Result<_>>()
        })?;

        let mut routes = Vec::new();
        let mut components = HashMap::new();
        for trigger in &self.manifest.triggers {
            let id = trigger.component.as_str();
            let handler = handlers.get(id).context("a trigger without its component")?;
            let endpoint = |pattern: &str| Endpoint::new(id.into(), handler.clone(), pattern);
            components.insert(id.to_owned(), endpoint("/...")?);
            let Some(pattern) = &trigger.route else { continue };
            routes.push((pattern.clone(), endpoint(pattern)?));
            if route::whole(pattern).starts_with("/.well-known/spin/") {
                eprintln!("accredit-host: the route {pattern} of {id} will never be reached: the host answers there");
            }
        }
        let router = Router::new(routes, |route, other| {
            eprintln!(
                "accredit-host: the route {} of {} will never be reached: {} of {} is equal",
                route.pattern, route.target.id, other.pattern, other.target.id
            );
        })?;
        let mut info = serde_json::json!({ "name": self.manifest.name });
        if let (Some(info), false) = (info.as_object_mut(), self.manifest.version.is_empty()) {
            info.insert("version".to_owned(), self.manifest.version.clone().into());
        }
        let app = Arc::new(App { info: serde_json::to_string_pretty(&info)?, router, components, address });
        ensure!(outbound.app.set(Arc::downgrade(&app)).is_ok(), "the application was built twice");
        Ok(app)
    }

    fn grant(
        &self,
        id: &str,
        component: &manifest::Component,
        staged: Option<&Staged>,
        databases: &BTreeMap<String, Option<PathBuf>>,
        stores: &BTreeMap<String, Arc<Store>>,
        outbound: &Arc<Outbound>,
    ) -> Result<Component> {
        let database = |label: &String| {
            let path = databases.get(label).with_context(|| format!("nobody defines the database {label:?}"))?;
            Ok((label.clone(), path.clone()))
        };
        let store = |label: &String| {
            let store = stores.get(label).with_context(|| format!("nobody defines the key-value store {label:?}"))?;
            Ok((label.clone(), store.clone()))
        };
        let allowed = component.allowed_outbound_hosts.iter().map(|host| variables::fill(host, &self.variables));
        let tls = self.config.client_tls.iter().filter(|tls| tls.component_ids.iter().any(|known| known == id));
        let mut trusted = HashMap::new();
        for tls in tls {
            for host in &tls.hosts {
                // The first entry for a host is the one that counts.
                trusted.entry(host.clone()).or_insert_with(|| tls.config.clone());
            }
        }
        let files = staged.filter(|_| !component.files.is_empty());
        Ok(Component {
            id: id.into(),
            environment: component.environment.clone().into_iter().collect(),
            files: files.map(|staged| staged.component(id, component, &self.home)).transpose()?,
            variables: variables::of_component(component, &self.variables)?,
            databases: component.sqlite_databases.iter().map(database).collect::<Result<_>>()?,
            stores: component.key_value_stores.iter().map(store).collect::<Result<_>>()?,
            allowed: AllowedHosts::parse(&allowed.collect::<Result<Vec<_>>>()?)?,
            tls: trusted,
            outbound: outbound.clone(),
        })
    }

    /// `None`: in memory.
    fn state_dir(&self, flags: &Flags) -> Option<PathBuf> {
        match flags.state_dir.as_deref().or(self.config.state_dir.as_deref()) {
            None => Some(self.home.join(".spin")),
            Some("") => None,
            Some(path) => Some(path.into()),
        }
    }

    fn databases(&self, flags: &Flags) -> Result<BTreeMap<String, Option<PathBuf>>> {
        let mut databases = self.config.sqlite_databases.clone();
        databases
            .entry("default".to_owned())
            .or_insert_with(|| self.state_dir(flags).map(|path| path.join("sqlite_db.db")));
        make_parents(databases.values())?;
        Ok(databases)
    }

    fn stores(&self, flags: &Flags) -> Result<BTreeMap<String, Arc<Store>>> {
        let mut stores = self.config.key_value_stores.clone();
        stores
            .entry("default".to_owned())
            .or_insert_with(|| self.state_dir(flags).map(|path| path.join("sqlite_key_value.db")));
        make_parents(stores.values())?;
        Ok(stores.into_iter().map(|(label, path)| (label.clone(), Arc::new(Store::new(label, path)))).collect())
    }

    fn outbound(&self, flags: &Flags) -> Result<Outbound> {
        let private = flags
            .allow_private
            .iter()
            .map(|exception| address::parse_private(exception))
            .collect::<Result<Vec<_>>>()?;
        for (host, port) in &private {
            eprintln!("accredit-host: components may call {host}:{port} at private addresses");
        }
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let filter = Filter { blocked: self.config.blocked.clone(), private };
        Ok(Outbound { filter, tls: tls_config(roots)?, app: OnceLock::new() })
    }
}

fn make_parents<'a>(paths: impl Iterator<Item = &'a Option<PathBuf>>) -> Result<()> {
    for parent in paths.flatten().filter_map(|path| path.parent()) {
        // A new one is the owner's alone: it will hold the database and its secrets.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.with_context(|| format!("cannot make the directory {}", parent.display()))?;
    }
    Ok(())
}

/// Without a cache the host starts slower, and that is all.
fn open_cache(flags: &Flags) -> Option<Cache> {
    let directory = flags.cache_dir.clone().or_else(Cache::default_directory).filter(|_| !flags.no_cache)?;
    Cache::open(directory)
        .inspect_err(|error| eprintln!("accredit-host: compiled components are not kept: {error:#}"))
        .ok()
}

fn announce(flags: &Flags, start: &Start, address: SocketAddr) -> Result<()> {
    let base_url = format!("http://{address}");
    if flags.format == Format::Json {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{}", serde_json::json!({ "base_url": base_url }))?;
        stdout.flush()?;
    }
    if flags.quiet {
        return Ok(());
    }
    eprintln!("Serving {base_url}");
    for trigger in &start.manifest.triggers {
        let description =
            start.manifest.components.get(&trigger.component).map(|component| component.description.as_str());
        let route =
            trigger.route.as_deref().map_or_else(|| "(private)".to_owned(), |route| format!("{base_url}{route}"));
        eprintln!("  {}: {route}  {}", trigger.component, description.unwrap_or_default());
    }
    Ok(())
}

/// Spin's form: a number of seconds, or a number with `s`, `ms`, `us` or `ns`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    match text.strip_prefix(digits) {
        Some("" | "s") => Ok(Duration::from_secs(number)),
        Some("ms") => Ok(Duration::from_millis(number)),
        Some("us") => Ok(Duration::from_micros(number)),
        Some("ns") => Ok(Duration::from_nanos(number)),
        _ => Err(format!("{text:?} must end in s, ms, us or ns")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_spins_units() {
        assert_eq!(parse_duration("3"), Ok(Duration::from_secs(3)));
        assert_eq!(parse_duration("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(parse_duration("3h").is_err() && parse_duration("s").is_err());
    }
}
