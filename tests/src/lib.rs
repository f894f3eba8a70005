//! The code that the tests share: they know the server by HTTP alone, real wasm on the real host, a state directory for each.
//!
//! - [`host`] starts hosts and ends them; [`server`] is a host that serves Accredit, with people and agents in it.
//! - [`client`] sends requests; [`answer`] is a response, with the checks that every answer of ours must pass; [`raw`] sends what
//!   no well-behaved client would.
//! - [`totp`] is an authenticator app; [`sink`] is a server that mail is sent to;
//!   [`provider`] are providers through which people sign in; [`tls`] is what both speak.
//! - [`proxy`] is what stands before a service, and the service; [`line`] carries what guards ask, until it is cut.
//! - [`packages`] fetches what others made, or finds it on this machine; [`process`] starts it, and ends it with the test.
//! - [`oauth`] is an app that a person lets in; [`mcp`] sends messages of the Model Context Protocol.
//! - [`browser`] is a browser without a script; [`cli`] is the command accredit.
//! - [`schema`] compares every answer with the OpenAPI document.
//! - [`docs`] fetches every `doc_url` that a test meets; [`secret`] makes credentials beside the routes.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a library for tests only: whatever is not as expected ends the test"
)]

pub mod answer;
pub mod browser;
pub mod cli;
pub mod client;
pub mod docs;
pub mod host;
pub mod line;
pub mod mcp;
pub mod oauth;
pub mod packages;
pub mod process;
pub mod provider;
pub mod proxy;
pub mod raw;
pub mod schema;
pub mod secret;
pub mod server;
pub mod sink;
pub mod terminal;
pub mod tls;
pub mod totp;

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub use answer::{Answer, OPEN};
pub use client::Client;
pub use host::{Host, Start};
pub use server::{Agent, Server};

/// The longest wait for anything here.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// When a component gives up another server that does not answer: what takes less has not waited for one.
pub const GIVEN_UP: Duration = Duration::from_secs(10);

/// Asks until there is an answer, at most for [`PATIENCE`].
#[track_caller]
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, ask)
}

/// The same with another patience.
#[track_caller]
pub fn until_within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < patience, "waited {} s in vain: {what}", patience.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs `work` in so many threads at the same time; returns the result of each, in order.
pub fn at_once<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = std::sync::Barrier::new(threads);
    thread::scope(|scope| {
        let (work, barrier) = (&work, &barrier);
        let running: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn(move || {
                    barrier.wait();
                    work(number)
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
            .collect()
    })
}

/// Sets a flag when it is dropped, also by a test that fails: threads that go on until then would go on for ever.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One thing that the tests of a file share. It is dropped when the last of them ends, not with the process: what a
/// static holds is never dropped, and a host must be.
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    /// Nothing yet.
    #[expect(clippy::new_without_default, reason = "for statics, where `default` cannot be called")]
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The shared thing; made, if no test holds it.
    pub fn get(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut weak = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        weak.upgrade().unwrap_or_else(|| {
            let made = Arc::new(make());
            *weak = Arc::downgrade(&made);
            made
        })
    }
}
