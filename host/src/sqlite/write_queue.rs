//! The queue of writes to one file.
//!
//! SQLite waits for a lock by sleeping and looking again, and waking a thread for each statement costs as much as a
//! short INSERT. So each file has one thread, which runs the waiting statements one after the other, or together
//! where it can ([`crate::sqlite::shared_writer`]).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SendError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::sqlite::open::{BUSY_TIMEOUT, lock};
use crate::sqlite::shared_writer::{SharedWriter, Single};

/// Statements that run together at most: the others wait for them.
const TOGETHER: usize = 64;

/// Something for the thread to do.
pub(super) enum Job {
    /// A statement that runs on its own connection.
    Own(Box<dyn FnOnce() + Send>),
    /// A statement that may run on another connection, together with others.
    Single(Single),
    /// No connection to the file is open any more.
    Close,
}

/// The queue of one file.
pub(super) struct WriteQueue {
    jobs: Sender<Job>,
    /// Whether a transaction that writes to the file is open.
    is_open: Mutex<bool>,
    ended: Condvar,
    /// Connections to the file that are open.
    connections: AtomicUsize,
}

/// The queue of each file.
static QUEUES: Mutex<BTreeMap<PathBuf, Arc<WriteQueue>>> = Mutex::new(BTreeMap::new());

impl WriteQueue {
    /// The queue of the file at `path`; starts its thread at the first call. `None`: the system has no thread for it.
    pub(super) fn of(path: &Path) -> Option<Arc<Self>> {
        let mut queues = lock(&QUEUES);
        if let Some(queue) = queues.get(path) {
            return Some(queue.clone());
        }
        let (jobs, waiting) = channel::<Job>();
        let writer = SharedWriter::new(path);
        let run = move || run(&waiting, writer);
        std::thread::Builder::new().spawn(run).ok()?;
        let queue = Self { jobs, is_open: Mutex::new(false), ended: Condvar::new(), connections: AtomicUsize::new(0) };
        Some(queues.entry(path.to_owned()).or_insert(Arc::new(queue)).clone())
    }

    /// Appends a job.
    pub(super) fn push(&self, job: Job) -> Result<(), SendError<()>> {
        self.jobs.send(job).map_err(|_| SendError(()))
    }

    /// Blocks the queue's thread until the open transaction has ended. Its other statements run elsewhere, and no waiting
    /// statement would get the lock before. After [`BUSY_TIMEOUT`] SQLite's lock decides, as it does between processes.
    pub(super) fn wait_for_end(&self) {
        let is_open = lock(&self.is_open);
        let waited = self.ended.wait_timeout_while(is_open, BUSY_TIMEOUT, |is_open| *is_open);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }

    /// A transaction that writes to the file began or ended.
    pub(super) fn set_open(&self, is_open: bool) {
        *lock(&self.is_open) = is_open;
        if !is_open {
            self.ended.notify_one();
        }
    }

    /// Whether any connection to the file is open.
    pub(super) fn is_connected(&self) -> bool {
        self.connections.load(Ordering::Acquire) > 0
    }

    /// A connection to the file was opened.
    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::AcqRel);
    }

    /// A connection to the file was closed.
    pub(super) fn disconnected(&self) {
        if self.connections.fetch_sub(1, Ordering::AcqRel) == 1 {
            // A thread that has ended has closed its connections.
            self.push(Job::Close).unwrap_or_default();
        }
    }
}

/// Runs jobs until nobody can send any. One that panics drops its sender, which tells its caller; the next job still runs.
fn run(waiting: &Receiver<Job>, mut writer: SharedWriter) {
    let mut next = None;
    while let Some(job) = next.take().or_else(|| waiting.recv().ok()) {
        let done = match job {
            Job::Own(job) => catch_unwind(AssertUnwindSafe(job)),
            Job::Close => catch_unwind(AssertUnwindSafe(|| writer.close())),
            Job::Single(first) => {
                let mut batch = vec![first];
                while batch.len() < TOGETHER {
                    match waiting.try_recv() {
                        Ok(Job::Single(single)) if single.fits(&batch) => batch.push(single),
                        other => {
                            next = other.ok();
                            break;
                        }
                    }
                }
                catch_unwind(AssertUnwindSafe(|| writer.run(batch)))
            }
        };
        if done.is_err() {
            writer.close();
        }
    }
}
