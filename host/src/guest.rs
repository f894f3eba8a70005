//! A component at work: what it was granted, the state of one instance, and how instances are made and reused.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, ResourceTable};
use wasmtime::{Store, StoreContextMut, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, Proxy, ProxyHandler, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::allowed::AllowedHosts;
use crate::key_value;
use crate::logs::Log;
use crate::outbound::{Hooks, Outbound};

/// What answers requests for one component.
pub(crate) type Handler = ProxyHandler<Instances>;

/// A component and what it was granted.
pub(crate) struct Component {
    /// Its id in the manifest.
    pub(crate) id: Arc<str>,
    /// Its environment.
    pub(crate) environment: Vec<(String, String)>,
    /// The directory that it sees, read-only, as `/`.
    pub(crate) files: Option<PathBuf>,
    /// Its variables.
    pub(crate) variables: HashMap<String, String>,
    /// The databases that it may open. `None`: in memory.
    pub(crate) databases: HashMap<String, Option<PathBuf>>,
    /// The key-value stores that it may open.
    pub(crate) stores: HashMap<String, Arc<key_value::Store>>,
    /// What it may call.
    pub(crate) allowed: AllowedHosts,
    /// Whom it trusts at some hosts.
    pub(crate) tls: HashMap<String, Arc<rustls::ClientConfig>>,
    /// The way out.
    pub(crate) outbound: Arc<Outbound>,
}

/// How instances are reused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reuse {
    /// Requests that one instance answers in all.
    pub(crate) requests: usize,
    /// Requests that it answers at the same time.
    pub(crate) concurrent: usize,
    /// How long it waits for more.
    pub(crate) idle: Duration,
    /// How long a request may take until its response begins. `None`: for ever.
    pub(crate) request_timeout: Option<Duration>,
    /// The most memory that it may have, in bytes.
    pub(crate) memory: usize,
}

/// The state of one instance.
pub(crate) struct Guest {
    /// What the instance holds handles to.
    pub(crate) table: ResourceTable,
    /// What it is and was granted.
    pub(crate) component: Arc<Component>,
    /// Database connections that it has open.
    pub(crate) connections: usize,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    limits: StoreLimits,
}

impl Guest {
    fn new(component: &Arc<Component>, memory: usize) -> wasmtime::Result<Self> {
        let log = || Log::new(component.id.clone());
        let mut wasi = WasiCtxBuilder::new();
        // Nothing grants a socket or a look-up of names: those of WASI refuse everything.
        wasi.envs(&component.environment).stdout(log()).stderr(log());
        if let Some(files) = &component.files {
            wasi.preopened_dir(files, "/", FsPerms::ReadOnly)?;
        }
        Ok(Self {
            table: ResourceTable::new(),
            component: component.clone(),
            connections: 0,
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks(component.clone()),
            limits: StoreLimitsBuilder::new().memory_size(memory).build(),
        })
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

/// Why a variable has no value.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum VariableError {
    /// Not a variable's name.
    #[component(name = "invalid-name")]
    InvalidName(String),
    /// The manifest does not give the component this variable.
    #[component(name = "undefined")]
    Undefined(String),
    /// A provider failed.
    #[component(name = "provider")]
    Provider(String),
    /// Anything else.
    #[component(name = "other")]
    Other(String),
}

/// Offers `spin:variables/variables@3.0.0`: a component reads its own variables, which were resolved at the start.
pub(crate) fn add_variables_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance("spin:variables/variables@3.0.0")?.func_wrap_concurrent("get", |accessor, (name,): (String,)| {
        Box::pin(async move {
            let component = accessor.with(|mut access| access.data_mut().component.clone());
            let value =
                component.variables.get(&name).cloned().ok_or_else(|| match crate::variables::check_key(&name) {
                    Ok(()) => VariableError::Undefined(format!("no variable for {:?}.{name:?}", component.id)),
                    Err(error) => VariableError::InvalidName(error.to_string()),
                });
            Ok((value,))
        })
    })
}

/// Makes instances of one component.
pub(crate) struct Instances {
    /// What they are granted.
    pub(crate) component: Arc<Component>,
    /// The component, linked.
    pub(crate) service: ServicePre<Guest>,
    /// How they are reused.
    pub(crate) reuse: Reuse,
}

impl HandlerState for Instances {
    type StoreData = Guest;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Guest, Expiration, Worker>> {
        let mut store = Store::new(self.service.engine(), Guest::new(&self.component, self.reuse.memory)?);
        store.limiter(|guest| &mut guest.limits);
        let proxy = Proxy::P3(self.service.instantiate_async(&mut store).await?);
        Ok(Instance {
            store,
            proxy,
            view: WasiHttpView::http,
            expiration: Expiration { reuse: self.reuse, sleep: None },
            state: Worker { component: self.component.id.clone(), reuse: self.reuse },
        })
    }
}

/// Decides what one instance takes on.
pub(crate) struct Worker {
    component: Arc<str>,
    reuse: Reuse,
}

impl WorkerState for Worker {
    type StoreData = Guest;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        if total >= self.reuse.requests {
            ShouldAccept::Never
        } else if concurrent >= self.reuse.concurrent {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, Guest>,
        (): (),
        _: wasmtime::component::GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        match self.reuse.request_timeout {
            Some(timeout) => Box::pin(tokio::time::sleep(timeout)),
            None => Box::pin(std::future::pending()),
        }
    }

    fn drop(&self, store: Store<Guest>, result: wasmtime::Result<()>) {
        drop(store);
        if let Err(error) = result {
            eprintln!("accredit-host: an instance of {} failed: {error:?}", self.component);
        }
    }
}

/// Ends an instance that idled or took too long.
pub(crate) struct Expiration {
    reuse: Reuse,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl WorkerExpiration for Expiration {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, status: WorkerStatus, start: Instant) -> Poll<()> {
        let timeout = match status {
            WorkerStatus::Idle => Some(self.reuse.idle),
            WorkerStatus::Requests | WorkerStatus::PostReturn => self.reuse.request_timeout,
        };
        match timeout {
            Some(timeout) => poll_deadline(&mut self.sleep, cx, start + timeout),
            None => Poll::Pending,
        }
    }
}

/// Whether `deadline` has passed; wakes the task when it does.
///
/// Deadlines move with every request. Setting the timer each time would cost more than the request's routing, so a
/// timer that would ring early is left as it is, and set again when it rings.
pub(crate) fn poll_deadline(sleep: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
    let deadline = tokio::time::Instant::from_std(deadline);
    let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
    if sleep.deadline() > deadline {
        sleep.as_mut().reset(deadline);
    }
    loop {
        ready!(sleep.as_mut().poll(cx));
        if sleep.deadline() >= deadline {
            return Poll::Ready(());
        }
        sleep.as_mut().reset(deadline);
    }
}
