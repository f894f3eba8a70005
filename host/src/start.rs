//! From the command line to a complete application.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;
use rustls::RootCertStore;

use crate::address::{self, Filter};
use crate::allowed::AllowedHosts;
use crate::app::{App, Endpoint};
use crate::cache::{Ahead, Cache};
use crate::engine::Limits;
use crate::files::Staged;
use crate::flags::{Flags, Format};
use crate::guest::Grants;
use crate::instances::{Handler, Instances, Reuse};
use crate::key_value::Store;
use crate::manifest::{self, Manifest};
use crate::outbound::{self, Outbound};
use crate::patterns::Patterns;
use crate::route::{self, Router};
use crate::runtime_config::{RuntimeConfig, tls_config};
use crate::variables::{self, Provider};
use crate::{compile, compose, engine, lock, private, sqlite, temporary};

/// Bytes of memory that one instance may have if neither a flag nor the runtime configuration sets them.
const MEMORY: usize = 256 << 20;

/// The application's input, before anything is built.
pub(crate) struct Start {
    manifest: Manifest,
    home: PathBuf,
    config: RuntimeConfig,
    variables: BTreeMap<String, String>,
}

/// What the components are granted shares of.
struct Shares<'a> {
    staged: Option<&'a Staged>,
    databases: BTreeMap<String, Option<PathBuf>>,
    stores: BTreeMap<String, Arc<Store>>,
    outbound: Arc<outbound::Shared>,
}

impl Start {
    /// What the access log names requests by.
    pub(crate) fn patterns(&self) -> Result<Patterns> {
        let Some(file) = &self.manifest.patterns else { return Ok(Patterns::default()) };
        let file = self.home.join(file);
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Patterns::parse(&text))
    }

    /// Reads the manifest, the runtime configuration and the variables.
    pub(crate) fn read(flags: &Flags) -> Result<Self> {
        let path = if flags.from.is_dir() { flags.from.join("spin.toml") } else { flags.from.clone() };
        let manifest = Manifest::read(&path)?;
        let home = private::folder_of(&path).to_owned();
        let mut config = match &flags.runtime_config_file {
            Some(path) => RuntimeConfig::read(path)?,
            None => RuntimeConfig::default(),
        };
        let mut given = HashMap::new();
        for flag in &flags.variables {
            given.extend(variables::from_flag(flag)?);
        }
        // Spin takes them without a word too. A setting that has a slip of the pen in its name would be unset unseen.
        for name in given.keys().filter(|name| !manifest.variables.contains_key(*name)) {
            say!("accredit-host: --variable {name} is not used: the manifest has no variable of this name");
        }
        let mut providers = vec![Provider::Static(given)];
        providers.append(&mut config.providers);
        providers.push(Provider::environment(None, Some(Path::new(".env"))));
        let variables = variables::resolve(&manifest, &providers)?;
        if let Some(directory) = config.log_dir.as_deref().filter(|directory| !directory.is_empty()) {
            say!("accredit-host: log_dir {directory:?} is not used: components print on this stderr");
        }
        Ok(Self { manifest, home, config, variables })
    }

    /// Whether a component has files, for which `build` needs a [`Staged`].
    pub(crate) fn has_files(&self) -> bool {
        self.manifest.components.values().any(|component| !component.files.is_empty())
    }

    /// Compiles, links and routes.
    pub(crate) fn build(&self, flags: &Flags, staged: Option<&Staged>, address: SocketAddr) -> Result<Arc<App>> {
        let limits = self.limits(flags)?;
        let (databases, stores) = (self.databases(flags), self.stores(flags));
        make_private(databases.values().chain(stores.values()))?;
        for path in databases.values().flatten() {
            lock::share(private::folder_of(path))?;
            // It may be a moment's trouble, so the host serves all the same; its components say 503 meanwhile.
            if let Err(error) = sqlite::look(path) {
                say!("accredit-host: the database cannot be used: {error}");
            }
        }
        let store = |(label, path): (String, _)| (label.clone(), Arc::new(Store::new(label, path)));
        let stores = stores.into_iter().map(store).collect();
        let shares = Shares { staged, databases, stores, outbound: Arc::new(self.outbound(flags)?) };
        let handlers = self.handlers(flags, limits, &shares)?;
        let (router, components) = self.routes(&handlers)?;
        let app = Arc::new(App { info: self.info()?, router, components, address });
        ensure!(shares.outbound.inside.set(app.inside()).is_ok(), "the application was built twice");
        Ok(app)
    }

    fn limits(&self, flags: &Flags) -> Result<Limits> {
        let memory = flags.max_instance_memory.or(self.config.max_instance_memory).unwrap_or(MEMORY);
        ensure!(memory >= 1 << 20, "{memory} bytes of memory are too few for any component: the limit is in bytes");
        let instances =
            u32::try_from(flags.max_connections.saturating_add(256)).context("--max-connections is too large")?;
        Ok(Limits { instances, memory, is_timed: flags.request_timeout.is_some() })
    }

    /// What answers for each component that a trigger names.
    fn handlers(&self, flags: &Flags, limits: Limits, shares: &Shares<'_>) -> Result<HashMap<&str, Handler>> {
        let engine = engine::engine(limits)?;
        if limits.is_timed {
            engine::interrupt(&engine);
        }
        let linker = engine::linker(&engine)?;
        let reuse = Reuse {
            requests: flags.max_instance_reuse_count,
            concurrent: flags.max_instance_concurrent_reuse_count,
            idle: flags.idle_instance_timeout,
            request_timeout: flags.request_timeout,
            memory: limits.memory,
        };
        let used: BTreeSet<&str> = self.manifest.triggers.iter().map(|trigger| trigger.component.as_str()).collect();
        let used: Vec<_> = self.manifest.components.iter().filter(|(id, _)| used.contains(id.as_str())).collect();
        let in_component = |id: &str| format!("in component {id}");
        // Before anything is compiled: a grant that is wrong is told at once.
        let grant = |(id, component): &(&String, &manifest::Component)| {
            self.grant(id, component, shares).map(Arc::new).with_context(|| in_component(id))
        };
        let grants = used.iter().map(grant).collect::<Result<Vec<_>>>()?;
        let composed = used.iter().any(|(_, component)| !component.middleware.is_empty());
        let composed = composed.then(temporary::directory).transpose()?;
        let file = |(id, component): &(&String, &manifest::Component)| match &composed {
            Some(composed) if !component.middleware.is_empty() => {
                self.compose(component, composed.path().join(id)).with_context(|| in_component(id))
            }
            _ => Ok(self.home.join(&component.source)),
        };
        let files = used.iter().map(file).collect::<Result<Vec<PathBuf>>>()?;
        let loaded =
            compile::load(&engine, limits, Ahead::beside_program().as_ref(), open_cache(flags).as_ref(), &files);
        let handler = |((id, _), grants, loaded): (_, _, Result<_>)| -> Result<(&str, Handler)> {
            let id: &String = id;
            let service = loaded.and_then(|loaded| engine::link(id, &linker, &loaded));
            let service = service.with_context(|| in_component(id))?;
            Ok((id.as_str(), Handler::new(Instances { grants, service, reuse, live: Arc::default() })))
        };
        used.into_iter()
            .zip(grants)
            .zip(loaded)
            .map(|((used, grants), loaded)| handler((used, grants, loaded)))
            .collect()
    }

    /// Writes a component with its middleware into a file.
    fn compose(&self, component: &manifest::Component, into: PathBuf) -> Result<PathBuf> {
        let read = |path: &Path| {
            let path = self.home.join(path);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let middleware = component.middleware.iter().map(|one| Ok((read(&one.source)?, &one.inherits)));
        let wasm = compose::chain(middleware.collect::<Result<_>>()?, read(&component.source)?)?;
        std::fs::write(&into, wasm).with_context(|| format!("cannot write {}", into.display()))?;
        Ok(into)
    }

    fn routes(&self, handlers: &HashMap<&str, Handler>) -> Result<(Router<Endpoint>, HashMap<String, Endpoint>)> {
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
                say!("accredit-host: the route {pattern} of {id} will never be reached: the host answers there");
            }
        }
        let router = Router::new(routes, |route, other| {
            say!(
                "accredit-host: the route {} of {} will never be reached: {} of {} is equal",
                route.pattern,
                route.target.id,
                other.pattern,
                other.target.id
            );
        })?;
        Ok((router, components))
    }

    /// The answer of `/.well-known/spin/info`.
    fn info(&self) -> Result<String> {
        let mut info = serde_json::json!({ "name": self.manifest.name });
        if let (Some(info), false) = (info.as_object_mut(), self.manifest.version.is_empty()) {
            info.insert("version".to_owned(), self.manifest.version.clone().into());
        }
        Ok(serde_json::to_string_pretty(&info)?)
    }

    fn grant(&self, id: &str, component: &manifest::Component, shares: &Shares<'_>) -> Result<Grants> {
        let database = |label: &String| {
            let path = shares.databases.get(label);
            let path = path.with_context(|| format!("the runtime configuration defines no database {label:?}"))?;
            Ok((label.clone(), path.clone()))
        };
        let store = |label: &String| {
            let store = shares.stores.get(label);
            let store =
                store.with_context(|| format!("the runtime configuration defines no key-value store {label:?}"))?;
            Ok((label.clone(), store.clone()))
        };
        let files = shares.staged.filter(|_| !component.files.is_empty());
        let outbound = Outbound {
            component: id.into(),
            allowed: self.allowed(component)?,
            tls: self.config.client_tls_of(id),
            kept: Arc::default(),
            shared: shares.outbound.clone(),
        };
        Ok(Grants {
            id: id.into(),
            environment: component.environment.clone().into_iter().collect(),
            files: files.map(|staged| staged.component(id, component, &self.home)).transpose()?,
            variables: variables::of_component(component, &self.variables)?,
            databases: component.sqlite_databases.iter().map(database).collect::<Result<_>>()?,
            stores: component.key_value_stores.iter().map(store).collect::<Result<_>>()?,
            outbound: Arc::new(outbound),
        })
    }

    fn allowed(&self, component: &manifest::Component) -> Result<AllowedHosts> {
        let hosts = component.allowed_outbound_hosts.iter().map(|host| variables::fill(host, &self.variables));
        AllowedHosts::parse(&hosts.collect::<Result<Vec<_>>>()?)
    }

    /// The addresses and networks in the variable of this name, with which the application says whose `X-Forwarded-For` counts: behind them are
    /// many clients. A value that the application cannot use is refused here: host and application never trust different ones.
    pub(crate) fn trusted_proxies(&self) -> Result<Vec<IpNet>> {
        let listed = self.variables.get("trusted_proxies").map(String::as_str).unwrap_or_default();
        address::parse_proxies(listed).context("the variable trusted_proxies cannot be used")
    }

    /// `None`: in memory.
    fn state_dir(&self, flags: &Flags) -> Option<PathBuf> {
        self.config.state_dir(flags.state_dir.as_deref(), &self.home)
    }

    /// The usual database. `None`: in memory.
    pub(crate) fn database(&self, flags: &Flags) -> Option<PathBuf> {
        self.config.database("default", flags.state_dir.as_deref(), &self.home)
    }

    /// The files of all databases.
    pub(crate) fn database_files(&self, flags: &Flags) -> Vec<PathBuf> {
        self.databases(flags).into_values().flatten().collect()
    }

    fn databases(&self, flags: &Flags) -> BTreeMap<String, Option<PathBuf>> {
        let mut databases = self.config.sqlite_databases.clone();
        databases.insert("default".to_owned(), self.database(flags));
        databases
    }

    fn stores(&self, flags: &Flags) -> BTreeMap<String, Option<PathBuf>> {
        let mut stores = self.config.key_value_stores.clone();
        stores
            .entry("default".to_owned())
            .or_insert_with(|| self.state_dir(flags).map(|path| path.join("sqlite_key_value.db")));
        stores
    }

    fn outbound(&self, flags: &Flags) -> Result<outbound::Shared> {
        let private = flags
            .allow_private
            .iter()
            .map(|exception| address::parse_private(exception))
            .collect::<Result<Vec<_>>>()?;
        for (host, port) in &private {
            say!("accredit-host: components may call {host}:{port} at private addresses");
        }
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let filter = Filter { blocked: self.config.blocked.clone(), private };
        let look_up = outbound::system_resolver();
        Ok(outbound::Shared { filter, tls: tls_config(roots)?, look_up, inside: OnceLock::new() })
    }

    /// Reports that the host serves.
    pub(crate) fn announce(&self, flags: &Flags, address: SocketAddr, metrics: Option<SocketAddr>) -> Result<()> {
        let base_url = format!("http://{address}");
        if flags.format == Format::Json {
            let mut stdout = std::io::stdout().lock();
            let mut line = serde_json::json!({ "base_url": base_url });
            if let (Some(line), Some(metrics)) = (line.as_object_mut(), metrics) {
                line.insert("metrics".to_owned(), format!("http://{metrics}/metrics").into());
            }
            writeln!(stdout, "{line}")?;
            stdout.flush()?;
        }
        if flags.quiet {
            return Ok(());
        }
        say!("Serving {base_url}");
        if let Some(metrics) = metrics {
            say!("Counters at http://{metrics}/metrics");
        }
        for trigger in &self.manifest.triggers {
            let component = self.manifest.components.get(&trigger.component);
            let description = component.map(|component| component.description.as_str()).unwrap_or_default();
            let route =
                trigger.route.as_deref().map_or_else(|| "(private)".to_owned(), |route| format!("{base_url}{route}"));
            say!("  {}: {route}  {description}", trigger.component);
        }
        Ok(())
    }
}

/// Makes the directories of databases, and narrows files that an earlier release or Spin made for everybody to read.
fn make_private<'a>(paths: impl Iterator<Item = &'a Option<PathBuf>> + Clone) -> Result<()> {
    let parents: BTreeSet<_> = paths.clone().flatten().filter_map(|path| path.parent()).collect();
    for parent in parents.into_iter().filter(|parent| !parent.as_os_str().is_empty()) {
        let is_open = private::directory(parent);
        if is_open.with_context(|| format!("cannot make the directory {}", parent.display()))? {
            let parent = parent.display();
            say!("accredit-host: {parent} is open to other users of this machine; chmod 700 {parent}");
        }
    }
    for path in paths.flatten() {
        match private::narrow(path) {
            Ok(narrowed) => {
                for path in narrowed {
                    say!("accredit-host: {} was open to other users of this machine, and is not now", path.display());
                }
            }
            Err(error) => say!("accredit-host: cannot narrow the mode of {}: {error}", path.display()),
        }
    }
    Ok(())
}

/// Without a cache the host starts more slowly, and nothing else changes.
fn open_cache(flags: &Flags) -> Option<Cache> {
    let directory = flags.cache_dir.clone().or_else(Cache::default_directory).filter(|_| !flags.no_cache)?;
    Cache::open(directory).inspect_err(|error| say!("accredit-host: compiled components are not kept: {error:#}")).ok()
}
