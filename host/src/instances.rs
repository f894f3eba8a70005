//! How instances of a component are made and reused.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use wasmtime::{Store, StoreContextMut};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, Proxy, ProxyHandler, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::deadline;
use crate::guest::{Grants, Guest};

/// How long bodies may take in an instance in which another request took too long, and may still run.
const BODIES: Duration = Duration::from_secs(60);

/// Answers requests for one component.
pub(crate) type Handler = ProxyHandler<Instances>;

/// How instances are reused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reuse {
    /// Requests that one instance answers in all.
    pub(crate) requests: usize,
    /// Requests that it answers at the same time.
    pub(crate) concurrent: usize,
    /// How long it waits for more requests.
    pub(crate) idle: Duration,
    /// How long a request may take until its response begins. `None`: without a limit.
    pub(crate) request_timeout: Option<Duration>,
    /// The most memory that it may have, in bytes.
    pub(crate) memory: usize,
}

/// Makes instances of one component.
pub(crate) struct Instances {
    /// What they are granted.
    pub(crate) grants: Arc<Grants>,
    /// The component, linked.
    pub(crate) service: ServicePre<Guest>,
    /// How they are reused.
    pub(crate) reuse: Reuse,
    /// How many there are.
    pub(crate) live: Arc<AtomicU64>,
}

/// An instance that counts until this is dropped.
struct Live(Arc<AtomicU64>);

impl Live {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HandlerState for Instances {
    type StoreData = Guest;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Guest, Expiration, Worker>> {
        let mut store = Store::new(self.service.engine(), Guest::new(&self.grants, self.reuse.memory)?);
        store.limiter(Guest::limiter);
        if self.reuse.request_timeout.is_some() {
            // A component that computes would otherwise never return to where time-outs are looked at.
            store.set_epoch_deadline(1);
            store.epoch_deadline_async_yield_and_update(1);
        }
        let is_late = Arc::new(AtomicBool::new(false));
        let proxy = Proxy::P3(self.service.instantiate_async(&mut store).await?);
        Ok(Instance {
            store,
            proxy,
            view: WasiHttpView::http,
            expiration: Expiration { reuse: self.reuse, is_late: is_late.clone(), sleep: None },
            state: Worker {
                component: self.grants.id.clone(),
                reuse: self.reuse,
                is_late,
                _live: Live::new(&self.live),
            },
        })
    }
}

/// Decides which requests one instance accepts.
pub(crate) struct Worker {
    component: Arc<str>,
    reuse: Reuse,
    /// Set when a request took too long.
    is_late: Arc<AtomicBool>,
    _live: Live,
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
            Some(timeout) => {
                let is_late = self.is_late.clone();
                Box::pin(async move {
                    tokio::time::sleep(timeout).await;
                    is_late.store(true, Ordering::Relaxed);
                })
            }
            None => Box::pin(std::future::pending()),
        }
    }

    fn drop(&self, store: Store<Guest>, result: wasmtime::Result<()>) {
        drop(store);
        if let Err(error) = result {
            say!("accredit-host: an instance of {} failed: {error:?}", self.component);
        }
    }
}

/// Ends an instance that was idle for too long, or in which every request took too long.
///
/// A request that takes too long gets its answer from the host, and the others go on. The instance takes no more requests, and ends
/// when they are answered and have sent their bodies, or a while later.
pub(crate) struct Expiration {
    reuse: Reuse,
    /// Whether a request took too long.
    is_late: Arc<AtomicBool>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl WorkerExpiration for Expiration {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, status: WorkerStatus, start: Instant) -> Poll<()> {
        let timeout = match status {
            WorkerStatus::Idle => Some(self.reuse.idle),
            WorkerStatus::Requests => self.reuse.request_timeout,
            // Bodies may take as long as their readers need.
            WorkerStatus::PostReturn if !self.is_late.load(Ordering::Relaxed) => None,
            WorkerStatus::PostReturn => self.reuse.request_timeout.map(|timeout| timeout.max(BODIES)),
        };
        match timeout {
            Some(timeout) => deadline::poll(&mut self.sleep, cx, start + timeout),
            None => Poll::Pending,
        }
    }
}
