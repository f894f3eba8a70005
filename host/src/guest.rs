//! An instance of a component: its state, and what the component was granted.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::logs::Log;
use crate::outbound::{Hooks, Outbound};
use crate::{key_value, sqlite, variables};

/// What a component was granted.
pub(crate) struct Grants {
    /// The component's id in the manifest.
    pub(crate) id: Arc<str>,
    /// Its environment.
    pub(crate) environment: Vec<(String, String)>,
    /// The directory that it finds at `/`, read-only.
    pub(crate) files: Option<PathBuf>,
    /// Its variables.
    pub(crate) variables: HashMap<String, String>,
    /// The databases that it may open. `None`: in memory.
    pub(crate) databases: HashMap<String, Option<PathBuf>>,
    /// The key-value stores that it may open.
    pub(crate) stores: HashMap<String, Arc<key_value::Store>>,
    /// Its outbound requests.
    pub(crate) outbound: Arc<Outbound>,
}

/// The state of one instance.
pub(crate) struct Guest {
    table: ResourceTable,
    grants: Arc<Grants>,
    /// Database connections that the instance has open.
    connections: usize,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    limits: StoreLimits,
}

impl Guest {
    /// The state of a new instance with at most so many bytes of memory.
    pub(crate) fn new(grants: &Arc<Grants>, memory: usize) -> wasmtime::Result<Self> {
        let log = || Log::new(grants.id.clone());
        let mut wasi = WasiCtxBuilder::new();
        // Sockets and look-ups of names are not granted here: those of WASI refuse everything.
        wasi.envs(&grants.environment).stdout(log()).stderr(log());
        // Its files are copies that this host made, read a page or two at a time. Otherwise each read would go to another thread: two switches,
        // and with many downloads at once as many threads, each with an allocator's share of memory.
        wasi.allow_blocking_current_thread(true);
        if let Some(files) = &grants.files {
            wasi.preopened_dir(files, "/", FsPerms::ReadOnly)?;
        }
        Ok(Self {
            table: ResourceTable::new(),
            grants: grants.clone(),
            connections: 0,
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks(grants.outbound.clone()),
            limits: StoreLimitsBuilder::new().memory_size(memory).build(),
        })
    }

    /// What limits its memory.
    pub(crate) fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.limits
    }

    /// For `spin:sqlite`.
    pub(crate) fn sqlite(&mut self) -> sqlite::View<'_> {
        let Self { grants, connections, table, .. } = self;
        sqlite::View { databases: &grants.databases, connections, table }
    }

    /// For `spin:key-value`.
    pub(crate) fn key_value(&mut self) -> key_value::View<'_> {
        key_value::View { stores: &self.grants.stores, table: &mut self.table }
    }

    /// For `spin:variables`.
    pub(crate) fn variables(&mut self) -> variables::View<'_> {
        variables::View { component: &self.grants.id, values: &self.grants.variables }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}
