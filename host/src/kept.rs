//! Connections of one component that wait for its next request to the same place.
//!
//! A kept connection saves time and grants nothing: the caller resolves the name and filters its addresses for each request, and only a
//! connection to one of these addresses is taken. Each component has connections of its own, so its TLS settings serve nobody else.
//! hyper-util's pool knows a connection by its scheme and authority alone, so it cannot do this.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use wasmtime_wasi_http::WasiBody;

/// How long a connection waits. Servers that close early do it after 5 s, and a request that meets the end is lost.
const IDLE: Duration = Duration::from_secs(4);
/// Connections that wait for one place.
const PER_PLACE: usize = 8;
/// Connections that wait for all places of a component.
const ALL: usize = 64;

/// What a connection was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Whether TLS is spoken.
    pub(crate) is_tls: bool,
    /// The host as the request named it, in lower case: the name of its certificate, and of its TLS settings.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
}

/// A connection that can send a request.
pub(crate) struct Connected {
    /// Where requests go in.
    pub(crate) sender: SendRequest<WasiBody>,
    /// What it was made for.
    pub(crate) place: Place,
    /// Where it leads.
    pub(crate) address: SocketAddr,
    /// Its socket once more, to look at.
    pub(crate) socket: TcpStream,
    /// Its task, which ends with it.
    pub(crate) _running: Running,
}

impl Connected {
    /// Whether nothing has arrived, and no end either: the connection's task may not have seen it yet.
    fn is_quiet(&self) -> bool {
        self.socket.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// A connection's task, which is aborted when it is no longer needed.
pub(crate) struct Running(pub(crate) JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The connections of one component that wait.
pub(crate) struct Kept {
    idle: Duration,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Oldest first.
    connections: Vec<(Instant, Connected)>,
    /// Whether a task closes those that have waited too long.
    is_swept: bool,
}

impl Default for Kept {
    fn default() -> Self {
        Self::new(IDLE)
    }
}

impl Kept {
    /// Keeps each connection for this time.
    pub(crate) fn new(idle: Duration) -> Self {
        Self { idle, waiting: Mutex::default() }
    }

    /// Takes the connection to this place that was used last, if it leads to one of these addresses.
    pub(crate) fn take(&self, place: &Place, addresses: &[SocketAddr]) -> Option<Connected> {
        let mut waiting = self.waiting();
        waiting.forget(self.idle);
        let fits = |(_, kept): &(Instant, Connected)| kept.place == *place && addresses.contains(&kept.address);
        loop {
            let found = waiting.connections.iter().rposition(fits)?;
            let (_, kept) = waiting.connections.remove(found);
            if kept.is_quiet() {
                return Some(kept);
            }
        }
    }

    /// Keeps a connection whose response has ended, once it can send another request. hyper closes one that cannot: it was to be closed,
    /// or more came than was announced.
    pub(crate) fn give_back(self: Arc<Self>, mut connected: Connected) {
        tokio::spawn(async move {
            // A request's body may still be on its way.
            if matches!(timeout(self.idle, connected.sender.ready()).await, Ok(Ok(()))) {
                self.keep(connected);
            }
        });
    }

    fn keep(self: Arc<Self>, connected: Connected) {
        let mut waiting = self.waiting();
        waiting.forget(self.idle);
        let same = |(_, kept): &(Instant, Connected)| kept.place == connected.place;
        if waiting.connections.iter().filter(|kept| same(kept)).count() >= PER_PLACE
            && let Some(oldest) = waiting.connections.iter().position(same)
        {
            waiting.connections.remove(oldest);
        }
        if waiting.connections.len() >= ALL {
            waiting.connections.remove(0);
        }
        waiting.connections.push((Instant::now(), connected));
        if !std::mem::replace(&mut waiting.is_swept, true) {
            drop(waiting);
            tokio::spawn(self.sweep());
        }
    }

    /// Closes what has waited too long, until nothing waits.
    async fn sweep(self: Arc<Self>) {
        loop {
            sleep(self.idle).await;
            let mut waiting = self.waiting();
            waiting.forget(self.idle);
            if waiting.connections.is_empty() {
                waiting.is_swept = false;
                return;
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections wait and are open.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        let mut waiting = self.waiting();
        waiting.forget(self.idle);
        waiting.connections.len()
    }
}

impl Waiting {
    /// Closes connections that have waited too long, and drops those that their servers have closed.
    fn forget(&mut self, idle: Duration) {
        self.connections.retain(|(since, kept)| since.elapsed() < idle && kept.sender.is_ready());
    }
}
