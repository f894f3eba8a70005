//! Work that blocks, on threads of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::Handle;

/// Runs a job on a blocking thread.
///
/// A job that panics, or for which the system has no thread, is dropped with all that it holds: give it the sender of a channel,
/// and the receiver learns of it. A panic here would end the instance that asked, and every request in it.
pub(crate) fn run(runtime: &Handle, job: impl FnOnce() + Send + 'static) {
    let started = catch_unwind(AssertUnwindSafe(|| runtime.spawn_blocking(job)));
    if started.is_err() {
        say!("accredit-host: no thread for a statement: the system's limit of threads or of memory is reached");
    }
}
