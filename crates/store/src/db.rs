//! One small interface to the database with two backends: Spin's SQLite on wasm, rusqlite in native tests.
//!
//! Reading goes over one or two connections that an instance's requests share: a single statement outside of a transaction
//! needs no connection of its own, and opening one costs more than some thirty reads. A write has a connection to itself,
//! which is put back clean; one that was dropped in the middle of a transaction is closed instead, which rolls it back.
//! Hot statements have a connection of their own, since `synchronous` is a setting of a connection. What a transaction may leave
//! behind is decided at its end, by what it has done (see [`Purpose`]): until then nobody knows whether it takes rights away.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};

use common::secret::Digest;

mod columns;
mod migrate;
mod migrations;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;
mod packed;
pub mod schema;
#[cfg(target_family = "wasm")]
pub(crate) mod spin;
mod value;

#[cfg(not(target_family = "wasm"))]
use native as backend;
#[cfg(target_family = "wasm")]
use spin as backend;

pub(crate) use packed::page;
pub use value::{Affected, DbError, FromRow, FromValue, Row, Value};

/// What a transaction has done, which decides how much of the database may be in use behind it. One that leaves no more in use than
/// it found is never refused: deleting goes on in a full database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It gives a right or stores more: within the bound.
    Durable,
    /// Signing in: with [`ENTRY`] beyond the bound, so that a person who can fix a full database can sign in.
    Entry,
    /// It makes a right less, and can be repeated without end, as a password or a budget can: with [`NARROWING`] beyond the bound.
    Narrowing,
    /// It ends a right for good, or until a write within the bound gives it again, or says what came of a row that was written within the
    /// bound: without a bound.
    Revoking,
}

impl Purpose {
    /// The pages that may be in use behind it; `max`: the configured bound. `None`: any number.
    fn most_pages(self, max: Option<i64>) -> Option<i64> {
        let beyond = match self {
            Self::Durable => 0,
            Self::Entry => ENTRY,
            Self::Narrowing => NARROWING,
            Self::Revoking => return None,
        };
        max.map(|pages| pages.saturating_add(beyond))
    }

    /// The statement that makes it last. `accredit-host` reads in its comment which transactions get the reserve of a full disk.
    fn commit(self) -> &'static str {
        match self {
            Self::Durable => "COMMIT",
            Self::Entry => "COMMIT /* entry */",
            Self::Narrowing => "COMMIT /* narrowing */",
            Self::Revoking => "COMMIT /* revoking */",
        }
    }
}

/// Pages that are kept for sign-ins when the database has reached its bound: 16 MiB.
const ENTRY: i64 = 4096;
/// Pages that are kept for what makes rights less: 32 MiB, of which sign-ins, which anybody can repeat, use no more than theirs.
const NARROWING: i64 = 8192;

/// The pages in use, as this connection sees them: its own transaction's included.
const PAGES_IN_USE: &str = "SELECT page_count - freelist_count AS pages FROM pragma_page_count, pragma_freelist_count";

/// SQLite's page size here; it is its default, and the first migration does not change it.
const PAGE: i64 = 4096;

/// Gives the disk back what a long read has made the write-ahead log grow to, beyond 64 MiB: the bound of the database does not count it.
const SHRINK: &str = "PRAGMA journal_size_limit=67108864";

/// The database of this instance: idle connections and the writers' queue.
pub struct Db {
    source: backend::Source,
    readers: Mutex<Shared>,
    hot: Mutex<Shared>,
    watch: Mutex<Shared>,
    /// How many connections for watching have been given up: what one says of writes is nothing to another.
    watches_lost: AtomicI64,
    idle: Mutex<Vec<backend::Connection>>,
    writers: backend::Queue,
    recorders: backend::Queue,
    /// What is being recorded or counted, and how often it came that was not written yet.
    under_way: Mutex<Vec<(Digest, Waiting)>>,
    /// Hot statements that run.
    hot_running: AtomicUsize,
    max_pages: Option<i64>,
    /// Whether SQLite could not bound a connection for hot statements, since the file was larger than the bound already.
    is_unbounded: AtomicBool,
    migrating: backend::Queue,
    migrated: AtomicBool,
}

/// A version of the database, as [`Db::version`] gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    lost: i64,
    number: i64,
}

/// Idle connections for writing that are kept; more than that are closed when they are put back.
const MOST_IDLE: usize = 8;

/// Connections of an instance for reading. Each is opened, reads the schema and plans every statement anew for its instance, which
/// costs more than most requests; so their users share them.
const READERS: usize = 2;
/// The same for hot statements. Only one writes to a file at a time, and what another connection has written SQLite reads again.
const HOT: usize = 1;
/// Hot statements of an instance that run at a time. Where one that waits for another holds a thread of the host, as in Spin, more of them could
/// take the threads that the statements of an open transaction need.
const HOT_AT_ONCE: usize = 8;

/// Connections that several requests use at a time, each for one statement that is a transaction of its own; and how many more
/// are just being opened.
struct Shared {
    most: usize,
    open: Vec<Arc<backend::Connection>>,
    opening: usize,
}

/// The use of a shared connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Read.
    Read,
    /// Read little, by an index.
    Look,
    /// Write what is hot, and read the rows of its RETURNING.
    Hot,
    /// Ask whether others have written, which is a question of one connection.
    Watch,
}

/// The next step of a task that wants one of them.
enum Next {
    Use(Arc<backend::Connection>),
    Open,
    Wait,
}

/// A connection that is being opened, until this is dropped: also when nobody waits for it any more.
struct Opening<'a>(&'a Mutex<Shared>);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).opening -= 1;
    }
}

impl Shared {
    fn at_most(most: usize) -> Mutex<Self> {
        Mutex::new(Self { most, open: Vec::new(), opening: 0 })
    }

    /// An idle connection if there is one, else a further one up to the bound, else the one that the fewest share.
    fn next(&mut self) -> Next {
        let least = self.open.iter().min_by_key(|shared| Arc::strong_count(shared));
        match least {
            Some(shared) if Arc::strong_count(shared) == 1 || self.open.len() + self.opening >= self.most => {
                Next::Use(Arc::clone(shared))
            }
            _ if self.open.len() + self.opening < self.most => {
                self.opening += 1;
                Next::Open
            }
            _ => Next::Wait,
        }
    }
}

impl Db {
    /// The database behind `source`; `max_mib` bounds its size for ordinary writes.
    pub fn new(source: backend::Source, max_mib: Option<i64>) -> Self {
        Self {
            source,
            readers: Shared::at_most(READERS),
            hot: Shared::at_most(HOT),
            watch: Shared::at_most(1),
            watches_lost: AtomicI64::new(0),
            idle: Mutex::new(Vec::new()),
            writers: backend::Queue::default(),
            recorders: backend::Queue::default(),
            under_way: Mutex::default(),
            hot_running: AtomicUsize::new(0),
            max_pages: max_mib.map(|mib| mib.saturating_mul(1024 * 1024) / PAGE),
            is_unbounded: AtomicBool::new(false),
            migrating: backend::Queue::default(),
            migrated: AtomicBool::new(false),
        }
    }

    /// Spin's binding `default`.
    #[cfg(target_family = "wasm")]
    pub fn spin(max_mib: Option<i64>) -> Self {
        Self::new(backend::Source, max_mib)
    }

    /// A file, for tests.
    #[cfg(not(target_family = "wasm"))]
    pub fn file(path: &std::path::Path, max_mib: Option<i64>) -> Self {
        Self::new(backend::Source::new(path), max_mib)
    }

    /// Until this is dropped, statements are those of a request: none of them may read a whole table that grows.
    #[cfg(not(target_family = "wasm"))]
    pub fn request(&self) -> backend::Request {
        self.source.request()
    }

    /// Closes the idle connections.
    #[cfg(not(target_family = "wasm"))]
    pub fn close(&self) {
        for pool in [&self.readers, &self.hot, &self.watch] {
            pool.lock().unwrap_or_else(PoisonError::into_inner).open.clear();
        }
        self.watches_lost.fetch_add(1, Ordering::AcqRel);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many statements have run so far.
    #[cfg(not(target_family = "wasm"))]
    pub fn statements(&self) -> u64 {
        self.source.statements()
    }

    /// A connection for writing; the last one put back is the first one handed out.
    async fn writer(&self) -> Result<Checkout<'_>, DbError> {
        let found = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match found {
            Some(connection) => connection,
            None => {
                let connection = self.open().await?;
                connection.execute("PRAGMA synchronous=FULL", vec![]).await?;
                connection.execute(SHRINK, vec![]).await?;
                connection
            }
        };
        Ok(Checkout { db: self, connection: Some(connection) })
    }

    /// A connection for hot statements: their loss in a power cut takes no right away. SQLite refuses what would grow the file beyond the
    /// bound; but it takes no bound below the size that the file has when the connection is opened.
    async fn open_hot(&self) -> Result<backend::Connection, DbError> {
        let connection = self.open().await?;
        connection.execute("PRAGMA synchronous=NORMAL", vec![]).await?;
        connection.execute(SHRINK, vec![]).await?;
        if let Some(max) = self.max_pages {
            let rows = connection.execute(&format!("PRAGMA max_page_count={max}"), vec![]).await?;
            let set = rows.into_iter().flatten().next();
            if set != Some(Value::Integer(max)) {
                self.is_unbounded.store(true, Ordering::Release);
            }
        }
        Ok(connection)
    }

    /// The bytes in use, and the bound, if there is one.
    pub async fn size(&self) -> Result<(i64, Option<i64>), DbError> {
        let bytes = |pages: i64| pages.saturating_mul(PAGE);
        Ok((bytes(pages_in_use(self).await?), self.max_pages.map(bytes)))
    }

    /// Runs one statement, a transaction of its own, on a connection that others may be using too: to read, or to write what is
    /// hot.
    fn on_shared<'a>(&'a self, how: How, sql: &'a str, args: Vec<Value>) -> Running<'a> {
        Box::pin(async move {
            let is_hot = how == How::Hot;
            let pool = match how {
                How::Hot => &self.hot,
                How::Watch => &self.watch,
                How::Read | How::Look => &self.readers,
            };
            let _place = if is_hot { Some(self.place().await) } else { None };
            let connection = self.shared(pool, is_hot).await?;
            if is_hot && self.is_unbounded.load(Ordering::Acquire) {
                drop(connection);
                return self.written(Purpose::Durable, sql, args).await;
            }
            let rows = match how {
                // In place only where no other task uses the connection (the pool's reference and ours are two): a task whose rows are
                // still coming holds it until they are taken, and they cannot be taken while the instance waits.
                How::Look if Arc::strong_count(&connection) <= 2 => connection.look(sql, args),
                How::Look | How::Read | How::Hot | How::Watch => connection.execute(sql, args).await,
            };
            if rows.is_err() {
                // The next one is opened anew.
                let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
                pool.open.retain(|open| !Arc::ptr_eq(open, &connection));
                if how == How::Watch {
                    self.watches_lost.fetch_add(1, Ordering::AcqRel);
                }
            }
            rows
        })
    }

    /// Waits until a hot statement may run.
    async fn place(&self) -> Place<'_> {
        while self.hot_running.load(Ordering::Acquire) >= HOT_AT_ONCE {
            backend::wait().await;
        }
        self.hot_running.fetch_add(1, Ordering::AcqRel);
        Place(&self.hot_running)
    }

    async fn shared(&self, pool: &Mutex<Shared>, is_hot: bool) -> Result<Arc<backend::Connection>, DbError> {
        loop {
            let next = pool.lock().unwrap_or_else(PoisonError::into_inner).next();
            match next {
                Next::Use(shared) => return Ok(shared),
                Next::Wait => backend::wait().await,
                Next::Open => {
                    let _opening = Opening(pool);
                    let opened = if is_hot { self.open_hot().await } else { self.open().await };
                    let opened = opened.map(Arc::new)?;
                    pool.lock().unwrap_or_else(PoisonError::into_inner).open.push(Arc::clone(&opened));
                    return Ok(opened);
                }
            }
        }
    }

    /// Opens a connection to a database that is as this code needs it.
    fn open(&self) -> Boxed<'_, backend::Connection> {
        Box::pin(async move {
            let connection = self.source.open().await?;
            if !self.migrated.load(Ordering::Acquire) {
                // Once per instance. A second task waits: the tables that it needs may not be there yet.
                let _turn = self.migrating.turn().await;
                if !self.migrated.load(Ordering::Acquire) {
                    migrate::run(&connection).await?;
                    self.migrated.store(true, Ordering::Release);
                }
            }
            Ok(connection)
        })
    }

    /// The version of the database: another one than before means that somebody may have written to it since. Costs next to nothing.
    pub async fn version(&self) -> Result<Version, DbError> {
        // Read first: should the connection be given up meanwhile, the next look sees another number.
        let lost = self.watches_lost.load(Ordering::Acquire);
        let rows: Vec<i64> = read_all(self.on_shared(How::Watch, "PRAGMA data_version", vec![]).await?)?;
        let number = rows.into_iter().next().ok_or(DbError::Row("the database has no version"))?;
        Ok(Version { lost, number })
    }

    /// Runs one hot statement and gives the rows of its RETURNING: one whose loss in a power cut takes no right away.
    pub async fn hot<T: FromRow>(&self, sql: &str, args: Vec<Value>) -> Result<Vec<T>, DbError> {
        read_all(self.on_shared(How::Hot, sql, args).await?)
    }

    /// Runs a hot statement that records something about `what`: one at a time in this instance, and none while there is one about the same.
    /// Where a statement that waits for another holds a thread of the host, as in Spin, many of them would take the threads that the other
    /// needs to end.
    pub async fn record(&self, what: &Digest, sql: &str, args: Vec<Value>) -> Result<(), DbError> {
        let Some(_recorded) = UnderWay::begin(&self.under_way, what, Vec::new()) else { return Ok(()) };
        let _turn = self.recorders.turn().await;
        self.hot::<Affected>(sql, args).await.map(drop)
    }

    /// Adds one to a count of `what` by a hot statement, whose last parameter is how many there are. While one is written, the others only add to a
    /// number, and the last one's parameters are written with it: a flood of them is as many statements as the database takes, and no more wait.
    /// A number that cannot be written is lost, and those that came meanwhile are tried all the same.
    pub async fn count(&self, what: &Digest, sql: &str, args: Vec<Value>) -> Result<(), DbError> {
        let Some(mut counting) = UnderWay::begin(&self.under_way, what, args) else { return Ok(()) };
        let mut done = Ok(());
        while let Some((more, mut args)) = counting.take() {
            let _turn = self.recorders.turn().await;
            args.push(Value::Integer(more));
            done = done.and(self.hot::<Affected>(sql, args).await.map(drop));
        }
        done
    }

    /// Holds what is recorded and counted until the value is dropped.
    #[cfg(test)]
    pub(crate) async fn hold_records(&self) -> backend::Turn<'_> {
        self.recorders.turn().await
    }

    /// Runs one statement that writes, in a transaction of its own, and gives the rows of its RETURNING.
    pub async fn single<T: FromRow>(&self, purpose: Purpose, sql: &str, args: Vec<Value>) -> Result<Vec<T>, DbError> {
        read_all(self.written(purpose, sql, args).await?)
    }

    fn written<'a>(&'a self, purpose: Purpose, sql: &'a str, args: Vec<Value>) -> Running<'a> {
        Box::pin(async move {
            let tx = self.begin(purpose).await?;
            let rows = tx.rows(sql, args).await?;
            tx.commit().await?;
            Ok(rows)
        })
    }

    /// Begins a durable transaction: one at a time in this instance, `BEGIN IMMEDIATE` against all others.
    pub fn begin(&self, purpose: Purpose) -> Boxed<'_, Tx<'_>> {
        Box::pin(async move {
            let turn = self.writers.turn().await;
            let kept = self.writer().await?;
            kept.get()?.execute("BEGIN IMMEDIATE", vec![]).await?;
            Ok(Tx { kept, purpose, leaves_work: Cell::new(false), _turn: turn })
        })
    }
}

/// How often something came that is not written yet, and what the last one says of it.
type Waiting = (i64, Vec<Value>);

/// Something that is being recorded or counted, until this is dropped.
struct UnderWay<'a> {
    all: &'a Mutex<Vec<(Digest, Waiting)>>,
    /// `None`: it is over, and somebody else may have begun anew.
    what: Option<Digest>,
}

impl<'a> UnderWay<'a> {
    /// `None`: somebody else does it, for this one too.
    fn begin(all: &'a Mutex<Vec<(Digest, Waiting)>>, what: &Digest, args: Vec<Value>) -> Option<Self> {
        let mut running = all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, waiting)) = running.iter_mut().find(|(known, _)| known == what) {
            *waiting = (waiting.0 + 1, args);
            return None;
        }
        running.push((*what, (1, args)));
        Some(Self { all, what: Some(*what) })
    }

    /// What came that was not written yet. `None`: nothing; then it is over.
    fn take(&mut self) -> Option<Waiting> {
        let what = self.what?;
        let mut running = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let at = running.iter().position(|(known, _)| *known == what)?;
        let waiting = running.get_mut(at).map(|(_, waiting)| std::mem::take(waiting)).filter(|(more, _)| *more > 0);
        if waiting.is_none() {
            running.remove(at);
            self.what = None;
        }
        waiting
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let Some(what) = self.what else { return };
        self.all.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| *known != what);
    }
}

/// A hot statement that runs.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn pages_in_use(reads: &dyn Rows) -> Result<i64, DbError> {
    reads.optional(PAGES_IN_USE, vec![]).await?.ok_or(DbError::Row("no number of pages"))
}

/// A result of the database, once it is there. Boxed where it is much code: an async function is compiled again for each crate, and each
/// other function, that waits for it.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, DbError>> + 'a>>;

/// The rows of a statement, once it has run.
type Running<'a> = Boxed<'a, Vec<Vec<Value>>>;

/// A source of rows: the database as it is, or a transaction's view of it. The functions of the store take a
/// `&dyn Rows`: taking any type that can be read from, each of them would be compiled twice.
pub trait Rows {
    /// Runs a statement and gives its rows.
    fn rows<'a>(&'a self, sql: &'a str, args: Vec<Value>) -> Running<'a>;

    /// The same, for [`Reads::find`].
    fn look<'a>(&'a self, sql: &'a str, args: Vec<Value>) -> Running<'a> {
        self.rows(sql, args)
    }
}

impl Rows for Db {
    fn rows<'a>(&'a self, sql: &'a str, args: Vec<Value>) -> Running<'a> {
        self.on_shared(How::Read, sql, args)
    }

    fn look<'a>(&'a self, sql: &'a str, args: Vec<Value>) -> Running<'a> {
        self.on_shared(How::Look, sql, args)
    }
}

impl Rows for Tx<'_> {
    fn rows<'a>(&'a self, sql: &'a str, args: Vec<Value>) -> Running<'a> {
        Box::pin(async move { self.kept.get()?.execute(sql, args).await })
    }
}

/// Reading rows as values of a type.
pub trait Reads: Rows {
    /// Runs a statement and gives its rows.
    fn list<T: FromRow>(&self, sql: &str, args: Vec<Value>) -> impl Future<Output = Result<Vec<T>, DbError>> {
        async move { read_all(self.rows(sql, args).await?) }
    }

    /// The same as [`Reads::optional`] for a statement that finds its row by an index and reads little more: the whole instance waits
    /// for it, which takes a third of the time of being called back. Not for what may take a while.
    fn find<T: FromRow>(&self, sql: &str, args: Vec<Value>) -> impl Future<Output = Result<Option<T>, DbError>> {
        async move { first(self.look(sql, args).await?) }
    }

    /// Runs a statement and gives its first row, if there is one.
    fn optional<T: FromRow>(&self, sql: &str, args: Vec<Value>) -> impl Future<Output = Result<Option<T>, DbError>> {
        async move { first(self.rows(sql, args).await?) }
    }

    /// The same for a statement that gives its one row as JSON (`SELECT json_array(…) AS r FROM …`), or a page of rows
    /// ([`page`]). Each value, and each column's name, costs on its way into a component about what reading it costs SQLite;
    /// one text costs once. Texts, integers and NULL only.
    fn packed<T: FromRow>(&self, sql: &str, args: Vec<Value>) -> impl Future<Output = Result<Vec<T>, DbError>> {
        async move { read_all(packed::unpack(self.rows(sql, args).await?)?) }
    }
}

impl<R: Rows + ?Sized> Reads for R {}

fn first<T: FromRow>(rows: Vec<Vec<Value>>) -> Result<Option<T>, DbError> {
    rows.into_iter().next().map(|values| T::from_row(&mut Row::from(values))).transpose()
}

fn read_all<T: FromRow>(rows: Vec<Vec<Value>>) -> Result<Vec<T>, DbError> {
    let mut read = Vec::with_capacity(rows.len());
    for values in rows {
        read.push(T::from_row(&mut Row::from(values))?);
    }
    Ok(read)
}

/// A connection that is out; dropped without [`Checkout::check_in`] it is closed.
struct Checkout<'a> {
    db: &'a Db,
    connection: Option<backend::Connection>,
}

impl Checkout<'_> {
    fn get(&self) -> Result<&backend::Connection, DbError> {
        self.connection.as_ref().ok_or(DbError::Row("the connection was put back"))
    }

    fn check_in(&mut self) {
        if let Some(connection) = self.connection.take() {
            let mut idle = self.db.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < MOST_IDLE {
                idle.push(connection);
            }
        }
    }
}

/// A transaction. Dropped without [`Tx::commit`], nothing of it has happened.
pub struct Tx<'a> {
    kept: Checkout<'a>,
    purpose: Purpose,
    leaves_work: Cell<bool>,
    _turn: backend::Turn<'a>,
}

impl<'a> Tx<'a> {
    /// Runs a statement for its effect.
    pub async fn execute(&self, sql: &str, args: Vec<Value>) -> Result<(), DbError> {
        self.rows(sql, args).await.map(drop)
    }

    /// Says that it leaves something behind for the worker.
    pub(crate) fn leave_work(&self) {
        self.leaves_work.set(true);
    }

    /// Whether it leaves something behind for the worker: an event that a webhook waits for, or a probe that is due.
    pub fn leaves_work(&self) -> bool {
        self.leaves_work.get()
    }

    /// Makes it last. When this answers an error, it may or may not have happened: the caller must say 503.
    pub fn commit(self) -> Boxed<'a, ()> {
        let purpose = self.purpose;
        self.commit_as(purpose)
    }

    /// The same for what turned out to have another purpose than it began with.
    pub fn commit_as(mut self, purpose: Purpose) -> Boxed<'a, ()> {
        Box::pin(async move {
            let db = self.kept.db;
            if let Some(most) = purpose.most_pages(db.max_pages) {
                let pages = pages_in_use(&self).await?;
                // The write lock is held, so that what others see is what was there before.
                if pages > most && pages > pages_in_use(db).await? {
                    return Err(DbError::Full);
                }
            }
            self.kept.get()?.execute(purpose.commit(), vec![]).await?;
            self.kept.check_in();
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestDb;

    /// What a connection says of the writes of others is nothing to the one after it.
    #[tokio::test]
    async fn a_connection_that_is_opened_anew_is_another_version() {
        let t = TestDb::new();
        let before = t.db().version().await.unwrap();
        assert_eq!(t.db().version().await.unwrap(), before);
        t.db().close();
        assert_ne!(t.db().version().await.unwrap(), before);
    }

    /// While something is being recorded, the same is left out, and other things are not.
    #[test]
    fn the_same_is_recorded_once_at_a_time() {
        let (all, [one, other]) = (Mutex::default(), [b"one", b"two"].map(|what| Digest::of(what)));
        let first = UnderWay::begin(&all, &one, vec![]);
        assert!(first.is_some() && UnderWay::begin(&all, &one, vec![]).is_none());
        assert!(UnderWay::begin(&all, &other, vec![]).is_some());
        drop(first);
        assert!(UnderWay::begin(&all, &one, vec![]).is_some());
    }

    /// R379: what comes while a count is written is added to the next one, and nothing is lost.
    #[test]
    fn what_comes_while_it_is_counted_is_counted_too() {
        let number = |waiting: Option<Waiting>| waiting.map(|(number, _)| number);
        let (all, [one, other]) = (Mutex::default(), [b"one", b"two"].map(|what| Digest::of(what)));
        let mut first = UnderWay::begin(&all, &one, vec![]).unwrap();
        assert_eq!(number(first.take()), Some(1));
        assert!((0..3).all(|_| UnderWay::begin(&all, &one, vec![]).is_none()));
        assert!(UnderWay::begin(&all, &other, vec![]).is_some());
        assert_eq!([first.take(), first.take()].map(number), [Some(3), None]);
        // The end of the first one ends nothing of the next.
        let mut next = UnderWay::begin(&all, &one, vec![]).unwrap();
        drop(first);
        assert!(UnderWay::begin(&all, &one, vec![]).is_none());
        assert_eq!(number(next.take()), Some(2));
    }

    /// R346: these are the words that `accredit-host` knows: by another one a stop would get nothing of the reserve.
    #[test]
    fn a_commit_says_what_it_is_for() {
        let all = [Purpose::Durable, Purpose::Entry, Purpose::Narrowing, Purpose::Revoking].map(Purpose::commit);
        assert_eq!(all, ["COMMIT", "COMMIT /* entry */", "COMMIT /* narrowing */", "COMMIT /* revoking */"]);
    }

    /// Somebody that no longer waits for its connection keeps nobody from opening one.
    #[test]
    fn an_opening_that_was_given_up_is_over() {
        let pool = Shared::at_most(1);
        let next = || pool.lock().unwrap().next();
        assert!(matches!(next(), Next::Open));
        let opening = Opening(&pool);
        assert!(matches!(next(), Next::Wait));
        drop(opening);
        assert!(matches!(next(), Next::Open));
    }
}
