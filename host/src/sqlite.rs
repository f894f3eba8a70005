//! `spin:sqlite/sqlite@3.1.0`: databases for components, by SQLite in this process.
//!
//! What a component sees is Spin's: each `open` is a connection of its own with a busy timeout of 5 s and foreign keys
//! on, one statement runs at a time, text after the first statement is ignored, files cannot be attached.
//!
//! What differs is where a statement runs. A blocking call belongs on a thread of its own, but handing a short SELECT
//! over costs more than the SELECT. So:
//! 1. A read (by its first word and by `sqlite3_stmt_readonly`) outside a transaction runs at once, on the worker's
//!    thread, with no busy timeout and a bound on its steps and bytes.
//! 2. When it meets a bound or a lock, it is forgotten and run again from the start as in 4; a read outside a
//!    transaction leaves nothing behind. Of what took too many steps the text is remembered, and runs as in 4 from then on.
//! 3. What begins to write waits in the queue of its file, whose one thread runs what waits there, one after the other, and lets
//!    a transaction that it began come to its end before it goes on ([`Writer`]).
//! 4. Everything else runs on a blocking thread. The first rows come back with the answer; the rest is streamed.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Batch, Statement, ToSql, TransactionState, params_from_iter};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Accessor, ComponentType, Destination, FutureReader, Lift, Linker, Lower, Resource, ResourceType, StreamProducer,
    StreamReader, StreamResult, VecBuffer,
};
use wasmtime::error::Context as _;

use crate::guest::Guest;

/// Connections that one instance may hold at a time, as in Spin.
const CONNECTIONS: usize = 256;
/// The progress handler is called every so many steps of SQLite's machine …
const STEPS: i32 = 1000;
/// … and stops an inline read at this call.
const INLINE_CALLS: i64 = 20;
/// Rows of at most this many bytes are collected inline, and come with the answer of a blocking run.
const FIRST_BYTES: usize = 256 * 1024;
/// What a whole answer of `execute`, or one row of `execute-async`, may hold in memory, as in Spin.
const MOST_BYTES: usize = 128 << 20;
const STATEMENTS: usize = 128;
const BUSY: Duration = Duration::from_secs(5);

/// A value of a row or a parameter.
#[derive(Debug, Clone, PartialEq, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum Value {
    /// INTEGER.
    #[component(name = "integer")]
    Integer(i64),
    /// REAL.
    #[component(name = "real")]
    Real(f64),
    /// TEXT.
    #[component(name = "text")]
    Text(String),
    /// BLOB.
    #[component(name = "blob")]
    Blob(Vec<u8>),
    /// NULL.
    #[component(name = "null")]
    Null,
}

/// One row.
#[derive(Debug, Clone, PartialEq, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct RowResult {
    values: Vec<Value>,
}

/// All rows of a statement.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct QueryResult {
    columns: Vec<String>,
    rows: Vec<RowResult>,
}

/// Why a call failed.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum Error {
    /// Nobody knows this label.
    #[component(name = "no-such-database")]
    NoSuchDatabase,
    /// The manifest does not grant it.
    #[component(name = "access-denied")]
    AccessDenied,
    /// Not a connection.
    #[component(name = "invalid-connection")]
    InvalidConnection,
    /// There is no room.
    #[component(name = "database-full")]
    DatabaseFull,
    /// What SQLite said.
    #[component(name = "io")]
    Io(String),
}

type Outcome = Result<(), Error>;
type Answer = Result<(Vec<String>, StreamReader<RowResult>, FutureReader<Outcome>), Error>;

/// An open connection, as the guest's resource.
pub(crate) struct Connection(Arc<Session>);

/// A connection, opened by its first statement.
struct Session {
    /// `None`: in memory, and this connection's own.
    path: Option<PathBuf>,
    connection: Mutex<Option<rusqlite::Connection>>,
    /// Reads that took too long inline, by the hash of their text: the next time they are not begun so.
    long: Mutex<HashSet<u64>>,
    /// Calls of the progress handler that the running statement has left.
    budget: Arc<AtomicI64>,
    /// How long it waits for a lock, milliseconds: as the component set it.
    patience: AtomicU64,
    /// Whether the last statement left a transaction open.
    in_transaction: AtomicBool,
    /// The queue of the file; a database in memory is this connection's own.
    writer: Option<Arc<Writer>>,
}

/// Who writes to a file. SQLite's own way of waiting for a lock is to sleep and look again; and waking a thread for each
/// statement costs as much as a short INSERT. So one thread for each file takes what waits, while there is something.
struct Writer {
    queue: std::sync::mpsc::Sender<Job>,
    /// Whether a transaction that the thread began is still open.
    is_open: Mutex<bool>,
    ended: Condvar,
    /// Connections to the file that are open.
    connections: AtomicUsize,
}

type Job = Box<dyn FnOnce() + Send>;

/// The writer of each file.
static WRITERS: Mutex<BTreeMap<PathBuf, Arc<Writer>>> = Mutex::new(BTreeMap::new());

impl Writer {
    fn of(path: &Path) -> Arc<Self> {
        let mut writers = WRITERS.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || {
            let (queue, waiting) = std::sync::mpsc::channel::<Job>();
            // Who waits for a job that panics is told by its end; the next one is not concerned.
            std::thread::spawn(move || waiting.into_iter().for_each(|job| drop(catch_unwind(AssertUnwindSafe(job)))));
            Arc::new(Self {
                queue,
                is_open: Mutex::new(false),
                ended: Condvar::new(),
                connections: AtomicUsize::new(0),
            })
        };
        Arc::clone(writers.entry(path.to_owned()).or_insert_with(start))
    }

    /// On the thread: a transaction was begun. Its other statements run elsewhere; who waits would not get the lock before its
    /// end. When that takes too long, SQLite's lock decides, as it does between processes.
    fn wait_for_end(&self) {
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.wait_timeout_while(is_open, BUSY, |is_open| *is_open);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }

    fn set_open(&self, is_open: bool) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = is_open;
        if !is_open {
            self.ended.notify_one();
        }
    }
}

/// The answer's beginning: all there is, or the first rows and where the others come from.
struct First {
    columns: Vec<String>,
    rows: Vec<RowResult>,
    rest: Rest,
}

enum Rest {
    Done(Outcome),
    Streamed(mpsc::Receiver<Vec<RowResult>>, oneshot::Receiver<Outcome>),
}

/// Offers the interface to components.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut sqlite = linker.instance("spin:sqlite/sqlite@3.1.0")?;
    sqlite.resource("connection", ResourceType::host::<Connection>(), |mut store, rep| {
        let guest: &mut Guest = store.data_mut();
        guest.table.delete(Resource::<Connection>::new_own(rep))?;
        guest.connections = guest.connections.saturating_sub(1);
        Ok(())
    })?;
    sqlite
        .func_wrap("[static]connection.open", |mut store, (label,): (String,)| Ok((open(store.data_mut(), &label),)))?;
    sqlite.func_wrap_concurrent("[static]connection.open-async", |accessor, (label,): (String,)| {
        Box::pin(async move { Ok((accessor.with(|mut access| open(access.data_mut(), &label)),)) })
    })?;
    sqlite.func_wrap_async(
        "[method]connection.execute",
        |mut store, (connection, sql, parameters): (Resource<Connection>, String, Vec<Value>)| {
            let session = session(store.data_mut(), &connection);
            Box::new(async move { Ok((execute(session?, sql, parameters).await,)) })
        },
    )?;
    sqlite.func_wrap_concurrent(
        "[method]connection.execute-async",
        |accessor, (connection, sql, parameters): (Resource<Connection>, String, Vec<Value>)| {
            Box::pin(async move { Ok((execute_async(accessor, connection, sql, parameters).await?,)) })
        },
    )?;
    sqlite.func_wrap_async(
        "[method]connection.last-insert-rowid",
        |mut store, (connection,): (Resource<Connection>,)| {
            let session = session(store.data_mut(), &connection);
            Box::new(async move { Ok((session?.ask(rusqlite::Connection::last_insert_rowid).await?,)) })
        },
    )?;
    sqlite.func_wrap_concurrent(
        "[method]connection.last-insert-rowid-async",
        |accessor, (connection,): (Resource<Connection>,)| {
            let session = accessor.with(|mut access| session(access.data_mut(), &connection));
            Box::pin(async move { Ok((session?.ask(rusqlite::Connection::last_insert_rowid).await?,)) })
        },
    )?;
    sqlite.func_wrap_async("[method]connection.changes", |mut store, (connection,): (Resource<Connection>,)| {
        let session = session(store.data_mut(), &connection);
        Box::new(async move { Ok((session?.ask(rusqlite::Connection::changes).await?,)) })
    })?;
    sqlite.func_wrap_concurrent(
        "[method]connection.changes-async",
        |accessor, (connection,): (Resource<Connection>,)| {
            let session = accessor.with(|mut access| session(access.data_mut(), &connection));
            Box::pin(async move { Ok((session?.ask(rusqlite::Connection::changes).await?,)) })
        },
    )
}

fn open(guest: &mut Guest, label: &str) -> Result<Resource<Connection>, Error> {
    let path = guest.component.databases.get(label).ok_or(Error::AccessDenied)?.clone();
    if guest.connections >= CONNECTIONS {
        return Err(Error::Io("too many connections opened".to_owned()));
    }
    let connection =
        guest.table.push(Connection(Arc::new(Session::new(path)))).map_err(|error| Error::Io(error.to_string()))?;
    guest.connections += 1;
    Ok(connection)
}

/// A handle that is not a connection is the guest's own fault, and traps.
fn session(guest: &mut Guest, connection: &Resource<Connection>) -> wasmtime::Result<Arc<Session>> {
    Ok(guest.table.get(connection)?.0.clone())
}

async fn execute(session: Arc<Session>, sql: String, parameters: Vec<Value>) -> Result<QueryResult, Error> {
    let First { columns, mut rows, rest } = session.run(sql, parameters).await?;
    let outcome = match rest {
        Rest::Done(outcome) => outcome,
        Rest::Streamed(mut batches, outcome) => {
            let mut bytes = 0;
            while let Some(batch) = batches.recv().await {
                bytes += batch.iter().map(size).sum::<usize>();
                if bytes > MOST_BYTES {
                    return Err(too_large());
                }
                rows.extend(batch);
            }
            outcome.await.map_err(io)?
        }
    };
    outcome.map(|()| QueryResult { columns, rows })
}

async fn execute_async(
    accessor: &Accessor<Guest>,
    connection: Resource<Connection>,
    sql: String,
    parameters: Vec<Value>,
) -> wasmtime::Result<Answer> {
    let session = accessor.with(|mut access| session(access.data_mut(), &connection))?;
    let First { columns, rows, rest } = match session.run(sql, parameters).await {
        Ok(first) => first,
        Err(error) => return Ok(Err(error)),
    };
    accessor.with(|mut access| -> wasmtime::Result<Answer> {
        let (rows, outcome) =
            match rest {
                Rest::Done(outcome) => {
                    let outcome = FutureReader::new(&mut access, std::future::ready(wasmtime::error::Ok(outcome)))?;
                    (StreamReader::new(&mut access, rows)?, outcome)
                }
                Rest::Streamed(batches, outcome) => {
                    let outcome = FutureReader::new(&mut access, async move {
                        outcome.await.context("the statement's thread is gone")
                    })?;
                    (StreamReader::new(&mut access, Rows { first: rows, batches })?, outcome)
                }
            };
        Ok(Ok((columns, rows, outcome)))
    })
}

impl Session {
    fn new(path: Option<PathBuf>) -> Self {
        Self {
            writer: path.as_deref().map(Writer::of),
            path,
            connection: Mutex::default(),
            long: Mutex::default(),
            budget: Arc::new(AtomicI64::new(i64::MAX)),
            patience: AtomicU64::new(u64::try_from(BUSY.as_millis()).unwrap_or(u64::MAX)),
            in_transaction: AtomicBool::new(false),
        }
    }

    async fn run(self: Arc<Self>, sql: String, parameters: Vec<Value>) -> Result<First, Error> {
        if let Some(first) = self.run_inline(&sql, &parameters) {
            return Ok(first);
        }
        let (sender, first) = oneshot::channel();
        // Inside of a transaction the lock is held, or asked for by who is in no queue: so nobody waits for who waits for him.
        let begins_to_write = !is_read(&sql) && !self.in_transaction.load(Ordering::Acquire);
        match self.writer.clone().filter(|_| begins_to_write) {
            // Not awaited: the thread goes on with the rows that `first` leaves open.
            None => drop(spawn_blocking(move || self.run_blocking(&sql, &parameters, sender))),
            Some(writer) => {
                let (since, runtime) = (Instant::now(), tokio::runtime::Handle::current());
                let session = Arc::clone(&self);
                let job = move || session.run_in_turn(sql, parameters, sender, since, &runtime);
                writer.queue.send(Box::new(job)).map_err(io)?;
            }
        }
        first.await.map_err(io)
    }

    /// Step 3 of the file's comment, on the writer's thread.
    fn run_in_turn(
        self: Arc<Self>,
        sql: String,
        parameters: Vec<Value>,
        sender: oneshot::Sender<First>,
        since: Instant,
        runtime: &tokio::runtime::Handle,
    ) {
        let guard = match self.connection.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
            // Another statement of this connection is running; who waits for it may hold up nobody else.
            Err(TryLockError::WouldBlock) => {
                let session = Arc::clone(&self);
                drop(runtime.spawn_blocking(move || session.run_blocking(&sql, &parameters, sender)));
                return;
            }
        };
        // Who waited in the queue has less left to wait for another process.
        let waited = since.elapsed();
        let own = self.patience();
        let patience = if waited > BUSY / 50 { own.min(BUSY.saturating_sub(waited)) } else { own };
        let mut answer = Blocking { is_whole: true, ..Blocking::new(sender) };
        let outcome = self.feed(guard, patience, &sql, &parameters, &mut answer);
        let has_begun = self.in_transaction.load(Ordering::Acquire);
        let writer = self.writer.clone().filter(|_| has_begun);
        // A component that lets its connection go ends the transaction: nothing of it may be held here.
        drop(self);
        answer.finish(outcome);
        if let Some(writer) = writer {
            writer.wait_for_end();
        }
    }

    /// Steps 1 and 2 of the file's comment. `None`: run it on a blocking thread.
    fn run_inline(&self, sql: &str, parameters: &[Value]) -> Option<First> {
        if !is_read(sql) {
            return None;
        }
        if self.is_long(sql) {
            return None;
        }
        let mut guard = self.connection.try_lock().ok()?;
        let connection = match &mut *guard {
            Some(connection) if connection.is_autocommit() => connection,
            Some(_) => return None,
            // Who opens a file that nobody has open may have to mend what a crash left behind; else it takes less than a handover.
            closed => {
                self.writer.as_ref().filter(|writer| writer.connections.load(Ordering::Acquire) > 0)?;
                closed.insert(self.open().ok()?)
            }
        };
        connection.busy_timeout(Duration::ZERO).ok()?;
        self.budget.store(INLINE_CALLS, Ordering::Relaxed);
        let first = read_inline(connection, sql, parameters);
        let is_spent = self.budget.swap(i64::MAX, Ordering::Relaxed) < 0;
        connection.busy_timeout(self.patience()).ok()?;
        if is_spent && self.long().len() < STATEMENTS {
            self.long().insert(hash(sql));
        }
        first
    }

    /// Most connections never see a long read: they need no hash.
    fn is_long(&self, sql: &str) -> bool {
        let long = self.long();
        !long.is_empty() && long.contains(&hash(sql))
    }

    fn long(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.long.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_blocking(&self, sql: &str, parameters: &[Value], sender: oneshot::Sender<First>) {
        let mut answer = Blocking::new(sender);
        let outcome = self.feed(self.lock(), self.patience(), sql, parameters, &mut answer);
        answer.finish(outcome);
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.patience.load(Ordering::Relaxed))
    }

    /// Runs a statement to its end and gives its rows to `answer`. Waits as long as `patience` for a lock of SQLite's.
    fn feed(
        &self,
        mut guard: MutexGuard<'_, Option<rusqlite::Connection>>,
        patience: Duration,
        sql: &str,
        parameters: &[Value],
        answer: &mut Blocking,
    ) -> Outcome {
        let connection = match &mut *guard {
            Some(connection) => connection,
            closed => closed.insert(self.open().map_err(io)?),
        };
        let own = self.patience();
        if patience < own {
            connection.busy_timeout(patience).map_err(io)?;
        }
        let outcome = run_to_end(connection, sql, parameters, answer);
        if patience < own {
            connection.busy_timeout(own).map_err(io)?;
        } else if starts_with(sql, &["PRAGMA"]) {
            let set: i64 = connection.query_row("PRAGMA busy_timeout", [], |row| row.get(0)).map_err(io)?;
            self.patience.store(u64::try_from(set).unwrap_or(0), Ordering::Relaxed);
        }
        let was_open = self.in_transaction.swap(!connection.is_autocommit(), Ordering::AcqRel);
        if let Some(writer) = &self.writer {
            // Before the answer is given: the end may come at once.
            match connection.is_autocommit() {
                false if !was_open && writes(connection) => writer.set_open(true),
                true if was_open => writer.set_open(false),
                _ => {}
            }
        }
        outcome
    }

    fn open(&self) -> rusqlite::Result<rusqlite::Connection> {
        let mut connection = match &self.path {
            Some(path) => rusqlite::Connection::open(path)?,
            None => rusqlite::Connection::open_in_memory()?,
        };
        connection.busy_timeout(BUSY)?;
        // Without this guarantee a statement whose parameter meets a partial index is planned anew for every new value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.authorizer(Some(|context: AuthContext<'_>| match context.action {
            AuthAction::Attach { filename } if !matches!(filename, "" | ":memory:") => Authorization::Deny,
            _ => Authorization::Allow,
        }))?;
        let budget = self.budget.clone();
        connection.progress_handler(STEPS, Some(move || budget.fetch_sub(1, Ordering::Relaxed) <= 0))?;
        if let Some(writer) = &self.writer {
            writer.connections.fetch_add(1, Ordering::AcqRel);
        }
        Ok(connection)
    }

    /// Asks the connection something that takes no time; a connection that has run no statement has counted nothing.
    async fn ask<T: Default + Send + 'static>(
        self: Arc<Self>,
        question: fn(&rusqlite::Connection) -> T,
    ) -> wasmtime::Result<T> {
        if let Ok(connection) = self.connection.try_lock() {
            return Ok(connection.as_ref().map(question).unwrap_or_default());
        }
        Ok(spawn_blocking(move || self.lock().as_ref().map(question).unwrap_or_default()).await?)
    }

    /// A panic while a statement ran leaves a connection that SQLite itself keeps whole.
    fn lock(&self) -> MutexGuard<'_, Option<rusqlite::Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    /// The last connection to a file in WAL mode writes the log back when it closes: nothing for a worker's thread.
    fn drop(&mut self) {
        if let Some(writer) = self.writer.as_ref().filter(|_| *self.in_transaction.get_mut()) {
            writer.set_open(false);
        }
        let connection = self.connection.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(writer), Some(_)) = (&self.writer, &connection) {
            writer.connections.fetch_sub(1, Ordering::AcqRel);
        }
        if let (Some(connection), Ok(runtime)) = (connection, tokio::runtime::Handle::try_current()) {
            drop(runtime.spawn_blocking(move || drop(connection)));
        }
    }
}

/// An answer that is given from a blocking thread.
struct Blocking {
    /// Taken when the beginning was sent.
    first: Option<oneshot::Sender<First>>,
    columns: Vec<String>,
    batch: Vec<RowResult>,
    bytes: usize,
    /// Whether the rows are kept until the end, so that nobody has to wait for who reads them.
    is_whole: bool,
    rest: Option<(mpsc::Sender<Vec<RowResult>>, oneshot::Sender<Outcome>)>,
}

impl Blocking {
    fn new(first: oneshot::Sender<First>) -> Self {
        Self { first: Some(first), columns: Vec::new(), batch: Vec::new(), bytes: 0, is_whole: false, rest: None }
    }

    fn push(&mut self, row: RowResult) -> Outcome {
        self.bytes += size(&row);
        self.batch.push(row);
        if self.is_whole {
            return if self.bytes > MOST_BYTES { Err(too_large()) } else { Ok(()) };
        }
        if self.bytes < FIRST_BYTES {
            return Ok(());
        }
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if let Some((rows, _)) = &self.rest {
            return rows.blocking_send(batch).map_err(|_| Error::Io("row send error".to_owned()));
        }
        let (rows, batches) = mpsc::channel(2);
        let (done, outcome) = oneshot::channel();
        self.rest = Some((rows, done));
        self.begin(batch, Rest::Streamed(batches, outcome));
        Ok(())
    }

    fn finish(mut self, outcome: Outcome) {
        let batch = std::mem::take(&mut self.batch);
        match self.rest.take() {
            None => self.begin(batch, Rest::Done(outcome)),
            Some((rows, done)) => {
                // A reader that went away before the end has stopped asking for the outcome too. A batch without rows would end
                // the instance: a stream that says it has something must have it.
                if !batch.is_empty() {
                    drop(rows.blocking_send(batch));
                }
                drop(rows);
                drop(done.send(outcome));
            }
        }
    }

    fn begin(&mut self, rows: Vec<RowResult>, rest: Rest) {
        if let Some(first) = self.first.take() {
            drop(first.send(First { columns: std::mem::take(&mut self.columns), rows, rest }));
        }
    }
}

fn run_to_end(
    connection: &mut rusqlite::Connection,
    sql: &str,
    parameters: &[Value],
    answer: &mut Blocking,
) -> Outcome {
    let (mut cached, mut first);
    let statement: &mut Statement<'_> = match connection.prepare_cached(sql) {
        Ok(statement) => {
            cached = statement;
            &mut cached
        }
        // rusqlite refuses text after the first statement; Spin ignores it.
        Err(error) => {
            first = Batch::new(connection, sql).next().map_err(io)?.ok_or_else(|| io(error))?;
            &mut first
        }
    };
    answer.columns = columns(statement);
    let mut rows = statement.query(params_from_iter(parameters)).map_err(io)?;
    while let Some(row) = rows.next().map_err(io)? {
        answer.push(read_row(row)?)?;
    }
    Ok(())
}

/// Whether the connection's transaction holds the file's write lock.
fn writes(connection: &rusqlite::Connection) -> bool {
    connection.transaction_state(None::<&str>).is_ok_and(|state| state == TransactionState::Write)
}

/// `None` for whatever is not a complete answer within the bounds: the blocking run will say what is wrong.
fn read_inline(connection: &rusqlite::Connection, sql: &str, parameters: &[Value]) -> Option<First> {
    let mut statement = connection.prepare_cached(sql).ok()?;
    if !statement.readonly() {
        return None;
    }
    let columns = columns(&statement);
    let mut found = statement.query(params_from_iter(parameters)).ok()?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next().ok()? {
        let row = read_row(row).ok()?;
        bytes += size(&row);
        if bytes > FIRST_BYTES {
            return None;
        }
        rows.push(row);
    }
    Some(First { columns, rows, rest: Rest::Done(Ok(())) })
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// BEGIN and PRAGMA are read-only to SQLite, but change the connection.
fn is_read(sql: &str) -> bool {
    starts_with(sql, &["SELECT", "WITH", "VALUES"])
}

fn starts_with(sql: &str, words: &[&str]) -> bool {
    let first = sql.trim_start().split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
    words.iter().any(|word| word.eq_ignore_ascii_case(first))
}

fn columns(statement: &Statement<'_>) -> Vec<String> {
    statement.column_names().map(ToOwned::to_owned).collect()
}

fn read_row(row: &rusqlite::Row<'_>) -> Result<RowResult, Error> {
    let count = row.as_ref().column_count();
    let mut values = Vec::with_capacity(count);
    for column in 0..count {
        values.push(match row.get_ref(column).map_err(io)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(value) => Value::Integer(value),
            ValueRef::Real(value) => Value::Real(value),
            ValueRef::Text(text) => Value::Text(std::str::from_utf8(text).map_err(io)?.to_owned()),
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        });
    }
    let row = RowResult { values };
    if size(&row) > MOST_BYTES { Err(too_large()) } else { Ok(row) }
}

/// What a row takes in memory, roughly.
fn size(row: &RowResult) -> usize {
    let value = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        Value::Integer(_) | Value::Real(_) | Value::Null => 0,
    };
    row.values.iter().map(|one| size_of::<Value>() + value(one)).sum()
}

fn io(error: impl std::fmt::Display) -> Error {
    Error::Io(error.to_string())
}

fn too_large() -> Error {
    Error::Io(format!("query result exceeds limit of {MOST_BYTES} bytes"))
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
            Self::Null => ValueRef::Null,
        }))
    }
}

/// Rows that a blocking thread is still reading.
struct Rows {
    first: Vec<RowResult>,
    batches: mpsc::Receiver<Vec<RowResult>>,
}

impl StreamProducer<Guest> for Rows {
    type Item = RowResult;
    type Buffer = VecBuffer<RowResult>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Guest>,
        mut to: Destination<'a, RowResult, VecBuffer<RowResult>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if to.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        if !self.first.is_empty() {
            to.set_buffer(std::mem::take(&mut self.first).into());
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let batch = self.batches.poll_recv(cx);
        if finish && batch.is_pending() {
            return Poll::Ready(Ok(StreamResult::Cancelled));
        }
        Poll::Ready(Ok(match ready!(batch) {
            Some(rows) => {
                to.set_buffer(rows.into());
                StreamResult::Completed
            }
            None => StreamResult::Dropped,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Arc<Session> {
        Arc::new(Session::new(None))
    }

    async fn rows(session: &Arc<Session>, sql: &str) -> Result<Vec<Vec<Value>>, String> {
        let result = execute(session.clone(), sql.to_owned(), Vec::new()).await;
        result
            .map(|result| result.rows.into_iter().map(|row| row.values).collect())
            .map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn only_statements_that_change_nothing_are_reads() {
        for sql in ["SELECT 1", " select\n1", "WITH a AS (SELECT 1) SELECT * FROM a", "VALUES(1)"] {
            assert!(is_read(sql), "{sql}");
        }
        for sql in ["BEGIN", "PRAGMA busy_timeout", "INSERT INTO t SELECT 1", "-- c\nSELECT 1", "SELECTED", ""] {
            assert!(!is_read(sql), "{sql}");
        }
    }

    #[tokio::test]
    async fn a_short_read_runs_inline_once_the_connection_is_open() {
        let session = session();
        assert!(session.run_inline("SELECT 1", &[]).is_none());
        assert_eq!(rows(&session, "SELECT 1").await.unwrap(), [[Value::Integer(1)]]);
        assert_eq!(
            session.run_inline("SELECT ?1", &[Value::Text("a".into())]).unwrap().rows[0].values,
            [Value::Text("a".into())]
        );
    }

    #[tokio::test]
    async fn a_long_read_is_given_up_inline_and_answered_all_the_same() {
        let session = session();
        rows(&session, "SELECT 1").await.unwrap();
        let long = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 100000) SELECT i FROM c";
        assert!(session.run_inline(long, &[]).is_none());
        assert_eq!(rows(&session, long).await.unwrap().len(), 100_000);
        assert_eq!(session.long().len(), 1, "it is not begun inline again");
        assert!(session.run_inline("SELECT 1", &[]).is_some());
    }

    #[tokio::test]
    async fn a_write_and_a_read_in_a_transaction_are_never_inline() {
        let session = session();
        rows(&session, "CREATE TABLE t(a)").await.unwrap();
        assert!(session.run_inline("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", &[]).is_none());
        rows(&session, "BEGIN").await.unwrap();
        assert!(session.run_inline("SELECT 1", &[]).is_none());
        rows(&session, "COMMIT").await.unwrap();
        assert_eq!(rows(&session, "INSERT INTO t VALUES (7) RETURNING a").await.unwrap(), [[Value::Integer(7)]]);
        assert_eq!(session.clone().ask(rusqlite::Connection::changes).await.unwrap(), 1);
    }

    /// Three connections to one file, which goes away again.
    async fn on_a_file(name: &str) -> (PathBuf, [Arc<Session>; 3]) {
        let path = std::env::temp_dir().join(format!("accredit-host-{name}-{}.db", std::process::id()));
        let sessions = [(); 3].map(|()| Arc::new(Session::new(Some(path.clone()))));
        rows(&sessions[0], "PRAGMA journal_mode=WAL").await.unwrap();
        rows(&sessions[0], "CREATE TABLE t(a)").await.unwrap();
        (path, sessions)
    }

    /// The first connection to a file is opened on a blocking thread, further ones where their first read runs; and again the first
    /// one after the last was closed. What meets a lock is left to the blocking run.
    #[tokio::test]
    async fn a_further_connection_to_a_file_is_opened_inline() {
        let path = std::env::temp_dir().join(format!("accredit-host-further-{}.db", std::process::id()));
        let open = || Arc::new(Session::new(Some(path.clone())));
        let [first, second] = [(); 2].map(|()| open());
        assert!(second.run_inline("SELECT 1", &[]).is_none(), "nobody has it open");
        rows(&first, "CREATE TABLE t(a)").await.unwrap();
        assert!(second.run_inline("SELECT * FROM t", &[]).is_some());
        rows(&first, "PRAGMA locking_mode=EXCLUSIVE").await.unwrap();
        rows(&first, "BEGIN EXCLUSIVE").await.unwrap();
        assert!(open().run_inline("SELECT * FROM t", &[]).is_none(), "it is locked");
        rows(&first, "COMMIT").await.unwrap();
        drop((first, second));
        assert!(open().run_inline("SELECT 1", &[]).is_none(), "nobody has it open any more");
        clean(&path);
    }

    fn clean(path: &Path) {
        for end in ["", "-wal", "-shm"] {
            drop(std::fs::remove_file(format!("{}{end}", path.display())));
        }
    }

    /// A write that begins while a transaction is open runs when it has ended, not before, and is not refused.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_writes_waits_for_the_transaction_before_him() {
        let (path, [one, two, three]) = on_a_file("turns").await;
        rows(&one, "BEGIN IMMEDIATE").await.unwrap();
        let others = [two, three].map(|session| {
            tokio::spawn(async move { rows(&session, "INSERT INTO t SELECT count(*) FROM t RETURNING a").await })
        });
        for _ in 0..3 {
            rows(&one, "INSERT INTO t VALUES ('x')").await.unwrap();
        }
        assert_eq!(rows(&one, "SELECT count(*) FROM t").await.unwrap(), [[Value::Integer(3)]]);
        rows(&one, "COMMIT").await.unwrap();
        let mut seen = Vec::new();
        for other in others {
            seen.extend(other.await.unwrap().unwrap().concat());
        }
        seen.sort_by_key(|value| format!("{value:?}"));
        assert_eq!(seen, [Value::Integer(3), Value::Integer(4)]);
        clean(&path);
    }

    /// A transaction that has not written, and one whose connection is gone, hold up nobody.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn only_who_holds_the_lock_is_waited_for() {
        let (path, [one, two, three]) = on_a_file("idle").await;
        rows(&one, "BEGIN").await.unwrap();
        rows(&two, "BEGIN IMMEDIATE").await.unwrap();
        drop(two);
        // Nobody is woken by the end of his patience.
        tokio::time::timeout(BUSY / 2, rows(&three, "INSERT INTO t VALUES (1)")).await.unwrap().unwrap();
        assert_eq!(rows(&one, "SELECT count(*) FROM t").await.unwrap(), [[Value::Integer(1)]]);
        clean(&path);
    }

    /// A job that panics is its own caller's loss.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_writers_thread_outlives_a_panic() {
        let (path, [one, ..]) = on_a_file("panic").await;
        one.writer.as_ref().unwrap().queue.send(Box::new(|| panic!("for this test"))).unwrap();
        rows(&one, "INSERT INTO t VALUES (1)").await.unwrap();
        clean(&path);
    }

    /// Rows of a write come whole, however many: nobody who waits to write waits for who reads them.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_write_with_many_rows_is_answered() {
        let (path, [one, ..]) = on_a_file("rows").await;
        let many = "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i FROM n RETURNING a";
        assert_eq!(rows(&one, many).await.unwrap().len(), 20_000);
        clean(&path);
    }

    #[tokio::test]
    async fn what_follows_the_first_statement_is_ignored() {
        let session = session();
        assert_eq!(rows(&session, "SELECT 1; SELECT nonsense").await.unwrap(), [[Value::Integer(1)]]);
        assert_eq!(rows(&session, "SELECT 2; DROP TABLE t").await.unwrap(), [[Value::Integer(2)]]);
        assert!(rows(&session, "nonsense").await.unwrap_err().contains("syntax error"));
    }

    #[tokio::test]
    async fn files_cannot_be_attached_and_foreign_keys_are_on() {
        let session = session();
        assert!(rows(&session, "ATTACH 'other.db' AS other").await.unwrap_err().contains("not authorized"));
        assert!(rows(&session, "ATTACH ':memory:' AS other").await.is_ok());
        assert_eq!(rows(&session, "PRAGMA foreign_keys").await.unwrap(), [[Value::Integer(1)]]);
        assert_eq!(rows(&session, "PRAGMA busy_timeout").await.unwrap(), [[Value::Integer(5000)]]);
        // Its own is kept, by reads too.
        rows(&session, "PRAGMA busy_timeout = 70").await.unwrap();
        rows(&session, "SELECT 1").await.unwrap();
        assert_eq!(rows(&session, "PRAGMA busy_timeout").await.unwrap(), [[Value::Integer(70)]]);
    }
}
