//! From a wasm file to something that can be instantiated: made a component, compiled (once for each file), linked.

use std::fs::{DirBuilder, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use sha2::{Digest as _, Sha256};
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wit_component::ComponentEncoder;

use crate::guest::Guest;
use crate::{guest, key_value, sqlite};

/// The version of what compiles; compiled code of another version is of no use.
const WASMTIME: &str = "48.0.8";

/// Bytes of an ended instance's memory that are cleaned for the next one instead of being given back.
const KEPT_MEMORY: usize = 2 << 20;
/// The same of its tables.
const KEPT_TABLE: usize = 64 << 10;

/// Ended instances whose pages are kept: more would be memory that nobody uses.
const WARM: u32 = 16;

/// The engine, with room for this many instances of at most so many bytes of memory each.
///
/// The pool reserves address space, not memory; where that is short, instances are allocated one by one instead.
pub(crate) fn engine(instances: u32, memory: usize) -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(5))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(3))
        .total_stacks(instances.saturating_mul(4))
        // An instance lives for some 128 requests: cleaning its first pages costs less than having them mapped anew.
        .linear_memory_keep_resident(KEPT_MEMORY)
        .table_keep_resident(KEPT_TABLE)
        .max_unused_warm_slots(WARM)
        .max_memory_size(memory);
    let mut config = Config::new();
    config.wasm_component_model_async(true).allocation_strategy(pool);
    match Engine::new(&config) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            eprintln!(
                "accredit-host: no address space for {instances} instances ({error}); they are allocated one by one"
            );
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            Engine::new(&config).map_err(|error| anyhow!("{error:?}"))
        }
    }
}

/// The interfaces that the host has. All components see them all; what they may do with them is asked at each call.
pub(crate) fn linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    let mut add = || {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        sqlite::add_to_linker(&mut linker)?;
        key_value::add_to_linker(&mut linker)?;
        guest::add_variables_to_linker(&mut linker)
    };
    add().map_err(|error: wasmtime::Error| anyhow!("{error:?}"))?;
    Ok(linker)
}

/// Links a component, and says which import is missing if one is.
pub(crate) fn link(id: &str, linker: &Linker<Guest>, component: &Component) -> Result<ServicePre<Guest>> {
    let pre = linker.instantiate_pre(component).map_err(|error| {
        let reason = format!("{error:#}");
        let imports = component.component_type();
        let missing =
            imports.imports(linker.engine()).map(|(name, _)| name).find(|name| reason.contains(&format!("`{name}`")));
        match missing {
            Some(name) => anyhow!("component {id} imports {name}, which accredit-host does not offer: {reason}"),
            None => anyhow!("component {id} cannot be linked: {reason}"),
        }
    })?;
    ServicePre::new(pre).map_err(|error| anyhow!("component {id} does not export wasi:http/handler@0.3: {error:#}"))
}

/// Where compiled components are kept between starts.
#[derive(Debug, Clone)]
pub(crate) struct Cache(PathBuf);

impl Cache {
    /// A directory that only we can write to: what lies in it is run as native code, unchecked.
    pub(crate) fn open(directory: PathBuf) -> Result<Self> {
        let place = || format!("the cache directory {}", directory.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("cannot make {}", place()))?;
        let found = std::fs::symlink_metadata(&directory).with_context(place)?;
        let ours = std::fs::metadata("/proc/self").with_context(|| format!("cannot tell whose {} is", place()))?.uid();
        ensure!(found.is_dir(), "{} is not a directory", place());
        ensure!(found.uid() == ours, "{} belongs to somebody else", place());
        ensure!(found.mode() & 0o077 == 0, "{} is open to others: chmod 700", place());
        Ok(Self(directory))
    }

    /// The directory when nobody names one: below `$XDG_CACHE_HOME`, else `~/.cache`.
    pub(crate) fn default_directory() -> Option<PathBuf> {
        let below = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let home = below("XDG_CACHE_HOME").or_else(|| Some(below("HOME")?.join(".cache")))?;
        Some(home.join("accredit"))
    }

    fn find(&self, engine: &Engine, key: &str) -> Option<Component> {
        let path = self.0.join(key);
        if !path.exists() {
            return None;
        }
        // SAFETY: only we can write to this directory (`open` made sure), and we put only compiled components there.
        #[expect(unsafe_code, reason = "compiled code can only be trusted, not checked")]
        let component = unsafe { Component::deserialize_file(engine, &path) };
        component.inspect_err(|error| eprintln!("accredit-host: {} is compiled again: {error}", path.display())).ok()
    }

    /// Whole files only: written beside and moved into place.
    fn keep(&self, key: &str, component: &Component) -> Result<()> {
        let compiled = component.serialize().map_err(|error| anyhow!("{error:#}"))?;
        let beside = self.0.join(format!("{key}.{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&compiled)?;
        Ok(std::fs::rename(&beside, self.0.join(key))?)
    }
}

/// The component in a wasm file, from the cache when it has it.
pub(crate) fn load(engine: &Engine, cache: Option<&Cache>, path: &Path) -> Result<Component> {
    let wasm = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let key = key(engine, &wasm);
    if let Some(component) = cache.and_then(|cache| cache.find(engine, &key)) {
        return Ok(component);
    }
    let wasm = encode(wasm).with_context(|| format!("cannot make a component of {}", path.display()))?;
    let component =
        Component::new(engine, &wasm).map_err(|error| anyhow!("cannot compile {}: {error:?}", path.display()))?;
    if let Some(Err(error)) = cache.map(|cache| cache.keep(&key, &component)) {
        eprintln!("accredit-host: {} could not be cached: {error:#}", path.display());
    }
    Ok(component)
}

/// Changes with the file, with what compiles, and with how.
fn key(engine: &Engine, wasm: &[u8]) -> String {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    let mut digest = Sha256::new();
    digest.update(WASMTIME);
    digest.update(settings.finish().to_le_bytes());
    digest.update(wasm);
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    hex + ".cwasm"
}

/// Makes a component of a core module for WASI preview 1; a component is left as it is.
fn encode(wasm: Vec<u8>) -> Result<Vec<u8>> {
    const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
    if wasm.starts_with(&COMPONENT) {
        return Ok(wasm);
    }
    ComponentEncoder::default()
        .validate(true)
        .module(&wasm)?
        .adapter("wasi_snapshot_preview1", WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
        .encode()
}
