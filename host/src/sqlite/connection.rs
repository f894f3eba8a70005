//! A component's connection: where each of its statements runs.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rusqlite::TransactionState;
use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;

use crate::sqlite::answer::{Answer, AnswerSender};
use crate::sqlite::open::{BUSY_TIMEOUT, count_wait, lock, open, patience};
use crate::sqlite::shared_writer::{Effect, Settings, Single};
use crate::sqlite::types::{Error, Outcome, Value, io};
use crate::sqlite::write_queue::{Job, WriteQueue};
use crate::sqlite::{file, reserve, statement};
use crate::threads;

/// Steps of SQLite's machine between two calls of the progress handler.
const STEPS: i32 = 1000;
/// Calls of the progress handler after which an inline read is stopped.
const INLINE_CALLS: i64 = 20;
/// Texts of slow reads that a connection remembers.
const SLOW_READS: usize = 128;

/// A connection, opened by its first statement.
pub(super) struct Connection {
    /// `None`: in memory, and this connection's own.
    path: Option<PathBuf>,
    connection: Mutex<Option<rusqlite::Connection>>,
    /// Reads that took too many steps inline, by the hash of their text. They run on a blocking thread.
    slow_reads: Mutex<HashSet<u64>>,
    /// Calls of the progress handler that the running statement has left.
    calls_left: Arc<AtomicI64>,
    /// The busy timeout that the component set, in milliseconds.
    busy_timeout: AtomicU64,
    /// Whether the last statement left a transaction open.
    in_transaction: AtomicBool,
    /// What this connection was set to. `None`: it is not open yet, or has something that no other connection has, and so all of its
    /// statements run on itself.
    settings: Mutex<Option<Arc<Settings>>>,
    /// What the last statement did, if it ran on another connection.
    effect: Arc<Mutex<Option<Effect>>>,
    /// The queue of the file. A database in memory has none: no other connection writes to it. Without a thread for it there is none
    /// either, and SQLite alone decides who writes next.
    queue: Option<Arc<WriteQueue>>,
}

impl Connection {
    /// A connection to the file at `path`. `None`: to a new database in memory.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self {
            queue: path.as_deref().and_then(WriteQueue::of),
            path,
            connection: Mutex::default(),
            slow_reads: Mutex::default(),
            calls_left: Arc::new(AtomicI64::new(i64::MAX)),
            busy_timeout: AtomicU64::new(u64::try_from(BUSY_TIMEOUT.as_millis()).unwrap_or(u64::MAX)),
            in_transaction: AtomicBool::new(false),
            settings: Mutex::default(),
            effect: Arc::default(),
        }
    }

    /// Runs a statement where it belongs. Returns when the first rows are there.
    pub(super) async fn run(self: Arc<Self>, sql: String, parameters: Vec<Value>) -> Result<Answer, Error> {
        if let Some(answer) = self.run_inline(&sql, &parameters) {
            return Ok(answer);
        }
        let (sender, answer) = oneshot::channel();
        // Inside a transaction the lock is held already, or a statement outside the queue asks for it. Such statements stay out of
        // the queue, so that waiters cannot form a cycle.
        let begins_to_write = !statement::is_read(&sql) && !self.in_transaction.load(Ordering::Acquire);
        match self.queue.clone().filter(|_| begins_to_write) {
            // Not awaited: the thread goes on with the rows that come after the first ones.
            None => threads::run(&Runtime::current(), move || self.run_blocking(&sql, &parameters, sender)),
            Some(queue) => {
                let job = match self.shared_settings(&sql) {
                    Some(settings) => {
                        Job::Single(Single::new(settings, sql, parameters, sender, Arc::clone(&self.effect)))
                    }
                    None => {
                        let (connection, since, runtime) = (Arc::clone(&self), Instant::now(), Runtime::current());
                        let run = move || connection.run_in_turn(sql, parameters, sender, since, &runtime);
                        Job::Own(Box::new(run))
                    }
                };
                queue.push(job).map_err(io)?;
            }
        }
        answer.await.map_err(io)
    }

    /// The settings of the connection that runs this statement in the place of this one, if one may.
    fn shared_settings(&self, sql: &str) -> Option<Arc<Settings>> {
        let has_own_patience = self.busy_timeout() != BUSY_TIMEOUT;
        if has_own_patience || !statement::is_change(sql) {
            return None;
        }
        lock(&self.settings).clone()
    }

    /// Runs a write on the queue's thread (point 3 in the documentation of [`crate::sqlite`]).
    fn run_in_turn(
        self: Arc<Self>,
        sql: String,
        parameters: Vec<Value>,
        sender: oneshot::Sender<Answer>,
        since: Instant,
        runtime: &Runtime,
    ) {
        let guard = match self.connection.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
            // Another statement of this connection is running: the queue does not wait for it.
            Err(TryLockError::WouldBlock) => {
                count_wait(since.elapsed());
                let connection = Arc::clone(&self);
                threads::run(runtime, move || connection.run_blocking(&sql, &parameters, sender));
                return;
            }
        };
        if let Err(error) = self.path.as_deref().map_or(Ok(()), file::check) {
            AnswerSender::whole(sender).finish(Err(io(error)));
            return;
        }
        // Time in the queue counts towards the time that the statement may wait for another process.
        let waited = since.elapsed();
        let timeout = self.busy_timeout().min(patience(waited));
        let mut answer = AnswerSender::whole(sender);
        let outcome = self.run_statement(guard, timeout, &sql, &parameters, &mut answer);
        // To begin a transaction that writes takes no time but that in which another process has the lock.
        count_wait(if statement::is_begin(&sql) { since.elapsed() } else { waited });
        let has_begun = self.in_transaction.load(Ordering::Acquire);
        let queue = self.queue.clone().filter(|_| has_begun);
        // A component that drops its connection ends the transaction: this thread must not keep the connection alive.
        drop(self);
        answer.finish(outcome);
        if let Some(queue) = queue {
            queue.wait_for_end();
        }
    }

    /// Runs a read at once (points 1 and 2 in the documentation of [`crate::sqlite`]). `None`: run it on a blocking thread.
    pub(super) fn run_inline(&self, sql: &str, parameters: &[Value]) -> Option<Answer> {
        if !statement::is_read(sql) {
            return None;
        }
        if self.is_slow(sql) {
            return None;
        }
        let mut guard = self.connection.try_lock().ok()?;
        let connection = match &mut *guard {
            Some(connection) if connection.is_autocommit() => connection,
            Some(_) => return None,
            // The first connection to a file may have to recover it after a crash. Opening a further one takes less than a handover.
            closed => {
                self.queue.as_ref().filter(|queue| queue.is_connected())?;
                closed.insert(self.open().ok()?)
            }
        };
        connection.busy_timeout(Duration::ZERO).ok()?;
        self.calls_left.store(INLINE_CALLS, Ordering::Relaxed);
        let answer = statement::read_inline(connection, sql, parameters);
        let is_slow = self.calls_left.swap(i64::MAX, Ordering::Relaxed) < 0;
        connection.busy_timeout(self.busy_timeout()).ok()?;
        if is_slow && self.slow_reads().len() < SLOW_READS {
            self.slow_reads().insert(hash(sql));
        }
        answer
    }

    /// Most connections never see a slow read, and so compute no hash.
    fn is_slow(&self, sql: &str) -> bool {
        let slow = self.slow_reads();
        !slow.is_empty() && slow.contains(&hash(sql))
    }

    /// The reads that took too many steps inline.
    pub(super) fn slow_reads(&self) -> MutexGuard<'_, HashSet<u64>> {
        lock(&self.slow_reads)
    }

    fn run_blocking(&self, sql: &str, parameters: &[Value], sender: oneshot::Sender<Answer>) {
        let mut answer = AnswerSender::streamed(sender);
        let outcome = self.run_statement(self.lock(), self.busy_timeout(), sql, parameters, &mut answer);
        answer.finish(outcome);
    }

    fn busy_timeout(&self) -> Duration {
        Duration::from_millis(self.busy_timeout.load(Ordering::Relaxed))
    }

    /// Runs a statement to its end and gives its rows to `answer`. Waits at most `timeout` for a lock.
    fn run_statement(
        &self,
        mut guard: MutexGuard<'_, Option<rusqlite::Connection>>,
        timeout: Duration,
        sql: &str,
        parameters: &[Value],
        answer: &mut AnswerSender,
    ) -> Outcome {
        let connection = match &mut *guard {
            Some(connection) => connection,
            closed => closed.insert(self.open().map_err(io)?),
        };
        let own = self.busy_timeout();
        if timeout < own {
            connection.busy_timeout(timeout).map_err(io)?;
        }
        if let (Some(left), Some(path)) = (reserve::left_by(sql), &self.path) {
            reserve::lend(path, left);
        }
        let outcome = statement::run_to_end(connection, sql, parameters, answer);
        if timeout < own {
            connection.busy_timeout(own).map_err(io)?;
        } else if statement::is_pragma(sql) {
            let set: i64 = connection.query_row("PRAGMA busy_timeout", [], |row| row.get(0)).map_err(io)?;
            self.busy_timeout.store(u64::try_from(set).unwrap_or(0), Ordering::Relaxed);
        }
        if outcome.is_ok() && !statement::is_read(sql) {
            self.learn(sql);
        }
        let was_open = self.in_transaction.swap(!connection.is_autocommit(), Ordering::AcqRel);
        if let Some(queue) = &self.queue {
            // Before the answer is sent: the component may end the transaction at once.
            match connection.is_autocommit() {
                false if !was_open && holds_write_lock(connection) => queue.set_open(true),
                true if was_open => queue.set_open(false),
                _ => {}
            }
        }
        outcome
    }

    /// Keeps what a statement that ran here means for the next ones.
    fn learn(&self, sql: &str) {
        *lock(&self.effect) = None;
        let mut settings = lock(&self.settings);
        *settings = settings.take().and_then(|settings| Settings::after(settings, sql));
    }

    fn open(&self) -> rusqlite::Result<rusqlite::Connection> {
        let mut connection = open(self.path.as_deref())?;
        let calls_left = self.calls_left.clone();
        connection.progress_handler(STEPS, Some(move || calls_left.fetch_sub(1, Ordering::Relaxed) <= 0))?;
        if let Some(queue) = &self.queue {
            queue.connected();
            *lock(&self.settings) = Some(Arc::default());
        }
        Ok(connection)
    }

    /// What the last statement changed. From now on all statements run on this connection, which keeps count.
    pub(super) async fn effect(self: Arc<Self>) -> Effect {
        lock(&self.settings).take();
        let elsewhere = *lock(&self.effect);
        match elsewhere {
            Some(effect) => effect,
            None => self.ask(Effect::of).await,
        }
    }

    /// Asks the connection a question that takes no time. A connection that has run no statement answers with the default, and so
    /// does one whose thread is lost.
    pub(super) async fn ask<T: Default + Send + 'static>(
        self: Arc<Self>,
        question: fn(&rusqlite::Connection) -> T,
    ) -> T {
        if let Ok(connection) = self.connection.try_lock() {
            return connection.as_ref().map(question).unwrap_or_default();
        }
        let (sender, answer) = oneshot::channel();
        let ask = move || drop(sender.send(self.lock().as_ref().map(question).unwrap_or_default()));
        threads::run(&Runtime::current(), ask);
        answer.await.unwrap_or_default()
    }

    /// A panic while a statement ran does not break the connection: SQLite keeps it consistent.
    fn lock(&self) -> MutexGuard<'_, Option<rusqlite::Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    /// Closes the connection on a blocking thread: the last one to a file in WAL mode writes the log back when it closes.
    fn drop(&mut self) {
        if let Some(queue) = self.queue.as_ref().filter(|_| *self.in_transaction.get_mut()) {
            queue.set_open(false);
        }
        let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(queue), Some(_)) = (&self.queue, &connection) {
            queue.disconnected();
        }
        if let (Some(connection), Ok(runtime)) = (connection, Runtime::try_current()) {
            threads::run(&runtime, move || drop(connection));
        }
    }
}

/// Whether the connection's transaction holds the file's write lock.
fn holds_write_lock(connection: &rusqlite::Connection) -> bool {
    connection.transaction_state(None::<&str>).is_ok_and(|state| state == TransactionState::Write)
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
