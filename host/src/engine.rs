//! The engine, the interfaces that it offers, and the linking of components to them.

use std::time::Duration;

use anyhow::{Result, anyhow};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::guest::Guest;
use crate::{cache, key_value, sqlite, variables};

/// Bytes of an ended instance's memory that are cleared for the next instance instead of being returned to the system.
const KEPT_MEMORY: usize = 2 << 20;
/// The same for its tables.
const KEPT_TABLE: usize = 64 << 10;

/// Ended instances whose pages are kept; the pages of further ones would stay unused.
const WARM: u32 = 16;

/// Stacks beyond one for each instance. A request needs one, and each instance has a request or waits for one.
const MORE_STACKS: u32 = 64;
/// How often a component that computes lets others run, and can be ended.
const TICK: Duration = Duration::from_millis(100);

/// What the engine has room for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Instances at a time.
    pub(crate) instances: u32,
    /// Bytes of memory of each.
    pub(crate) memory: usize,
    /// Whether requests have a time-out: then components also stop while they compute, at [`TICK`]s.
    pub(crate) is_timed: bool,
}

/// The engine.
///
/// The pool reserves address space, not memory. If there is too little of it, instances are allocated one by one instead.
pub(crate) fn engine(limits: Limits) -> Result<Engine> {
    let Limits { instances, memory, is_timed } = limits;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(5))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(3))
        // Two of the process's memory maps each, also while they are unused.
        .total_stacks(instances.saturating_add(MORE_STACKS))
        // Instances come and go: clearing its first pages costs less than mapping new ones.
        .linear_memory_keep_resident(KEPT_MEMORY)
        .table_keep_resident(KEPT_TABLE)
        .max_unused_warm_slots(WARM)
        .max_memory_size(memory);
    let mut config = Config::new();
    config.module_version(cache::version()).map_err(|error| anyhow!("{error:?}"))?;
    // The check at each loop costs some time, so there is none without a time-out.
    config.wasm_component_model_async(true).epoch_interruption(is_timed).allocation_strategy(pool);
    match Engine::new(&config) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            say!("accredit-host: no address space for {instances} instances ({error}); they are allocated one by one");
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            Engine::new(&config).map_err(|error| anyhow!("{error:?}"))
        }
    }
}

/// Interrupts components that compute, for as long as the process lives. It has a thread of its own: components could take all others.
pub(crate) fn interrupt(engine: &Engine) {
    let engine = engine.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(TICK);
            engine.increment_epoch();
        }
    });
}

/// The interfaces that the host offers. Every component is linked to all of them; grants are checked at each call.
pub(crate) fn linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    let mut add = || {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
        sqlite::add_to_linker(&mut linker, Guest::sqlite)?;
        key_value::add_to_linker(&mut linker, Guest::key_value)?;
        variables::add_to_linker(&mut linker, Guest::variables)
    };
    add().map_err(|error: wasmtime::Error| anyhow!("{error:?}"))?;
    Ok(linker)
}

/// Links a component. The error names an import that the host does not offer.
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
