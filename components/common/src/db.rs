//! One small interface to the database with two backends: Spin's SQLite on wasm, rusqlite in native tests.
//!
//! Reading goes over one or two connections that an instance's requests share: a single statement outside of a transaction
//! needs no connection of its own, and opening one costs more than some thirty reads. A write has a connection to itself,
//! which is put back clean; one that was dropped in the middle of a transaction is closed instead, which rolls it back.
//! There are four purposes of writing (see [`Purpose`]), each with its own idle connections, since `synchronous` and
//! `max_page_count` are settings of a connection.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};

#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;
#[cfg(target_family = "wasm")]
pub(crate) mod spin;

#[cfg(not(target_family = "wasm"))]
use native as backend;
#[cfg(target_family = "wasm")]
use spin as backend;

/// A value of SQLite.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// Why the database gave no answer.
#[derive(Debug)]
pub enum DbError {
    /// It could not be opened, read or written; or it was busy for too long. The text is for the log only.
    Unavailable(String),
    /// It has reached its greatest size, or the disk is full.
    Full,
    /// It was written by a newer release that says this code is too old for it.
    TooNew,
    /// A row was not as its table promises: a wrong type or an unexpected NULL. Never read as a default.
    Row(&'static str),
}

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unavailable(cause) => write!(f, "database unavailable: {cause}"),
            Self::Full => f.write_str("database full: it reached database_max_mib, or the disk is full"),
            Self::TooNew => f.write_str("database too new: a newer release of Accredit says this one must not use it"),
            Self::Row(what) => write!(f, "unexpected row: {what}"),
        }
    }
}

impl std::error::Error for DbError {}

impl DbError {
    /// From a backend's text. Only the slug of the 503 depends on it: no decision does.
    fn from_text(text: String) -> Self {
        if text.contains("database or disk is full") { Self::Full } else { Self::Unavailable(text) }
    }
}

/// Reads one column; a wrong type is an error, never a default.
pub trait FromValue: Sized {
    /// The column's value as this type.
    fn from_value(value: Value) -> Result<Self, DbError>;
}

impl FromValue for i64 {
    fn from_value(value: Value) -> Result<Self, DbError> {
        match value {
            Value::Integer(number) => Ok(number),
            _ => Err(DbError::Row("not an integer")),
        }
    }
}

impl FromValue for bool {
    fn from_value(value: Value) -> Result<Self, DbError> {
        match value {
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            _ => Err(DbError::Row("not 0 or 1")),
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<Self, DbError> {
        match value {
            Value::Text(text) => Ok(text),
            _ => Err(DbError::Row("not a text")),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value) -> Result<Self, DbError> {
        match value {
            Value::Blob(bytes) => Ok(bytes),
            _ => Err(DbError::Row("not a blob")),
        }
    }
}

/// As it is, for who reads columns of any type.
impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, DbError> {
        Ok(value)
    }
}

impl FromValue for crate::time::Timestamp {
    fn from_value(value: Value) -> Result<Self, DbError> {
        i64::from_value(value).map(Self::from_millis)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, DbError> {
        match value {
            Value::Null => Ok(None),
            other => T::from_value(other).map(Some),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Integer(i64::from(yes))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

impl From<crate::time::Timestamp> for Value {
    fn from(at: crate::time::Timestamp) -> Self {
        Self::Integer(at.millis())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// The parameters `?1`, `?2` … of a statement.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::db::Value::from($value)),*] };
}

/// One row, read from left to right in the order of the statement's columns.
#[derive(Debug)]
pub struct Row(std::vec::IntoIter<Value>);

impl Row {
    /// The next column.
    pub fn take<T: FromValue>(&mut self) -> Result<T, DbError> {
        T::from_value(self.0.next().ok_or(DbError::Row("too few columns"))?)
    }
}

impl From<Vec<Value>> for Row {
    fn from(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }
}

/// A type that is read from a row.
pub trait FromRow: Sized {
    /// Takes the columns that it needs, in order.
    fn from_row(row: &mut Row) -> Result<Self, DbError>;
}

/// What a connection writes, which decides its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Writes of one statement whose loss in a power cut takes no right away: `synchronous=NORMAL`, bounded in size.
    Hot,
    /// What gives a right: on the disk before the answer (`synchronous=FULL`), bounded in size.
    Durable,
    /// Coming in: as [`Purpose::Durable`], with [`RESERVE`] beyond the bound, so that who can mend a full database gets in.
    Entry,
    /// What takes a right away: as [`Purpose::Durable`], but beyond the bound, so that a full database can still be locked down.
    Relief,
}

impl Purpose {
    fn settings(self, max_pages: Option<i64>) -> Vec<String> {
        let reserve = if self == Self::Entry { RESERVE } else { 0 };
        let bound = max_pages.map(|pages| format!("PRAGMA max_page_count={}", pages + reserve));
        match self {
            Self::Hot => std::iter::once("PRAGMA synchronous=NORMAL".to_owned()).chain(bound).collect(),
            Self::Durable | Self::Entry => std::iter::once("PRAGMA synchronous=FULL".to_owned()).chain(bound).collect(),
            Self::Relief => vec!["PRAGMA synchronous=FULL".to_owned()],
        }
    }
}

/// Pages that are kept for sign-ins when the database has reached its bound: 16 MiB.
const RESERVE: i64 = 4096;

/// SQLite's page size here; it is its default, and the first migration does not change it.
const PAGE: i64 = 4096;

/// The database of this instance: idle connections and the writers' queue.
pub struct Db {
    source: backend::Source,
    readers: Mutex<Shared>,
    hot: Mutex<Shared>,
    idle: Mutex<Vec<(Purpose, backend::Connection)>>,
    writers: backend::Queue,
    max_pages: Option<i64>,
    migrating: backend::Queue,
    migrated: AtomicBool,
}

/// Idle connections for writing that are kept; more than that are closed when they are put back.
const KEPT: usize = 8;

/// Connections of an instance for reading. Each is opened, reads the schema and plans every statement anew for its instance, which
/// costs more than most requests; so their users share them.
const READERS: usize = 2;
/// The same for hot statements. Only one writes to a file at a time, and what another connection has written SQLite reads again.
const HOT: usize = 1;

/// Connections that several requests use at a time, each for one statement that is a transaction of its own; and how many more
/// are just being opened.
struct Shared {
    most: usize,
    open: Vec<Arc<backend::Connection>>,
    opening: usize,
}

/// What is done on a shared connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Read.
    Read,
    /// Read little, by an index.
    Look,
    /// Write what is hot, and read the rows of its RETURNING.
    Hot,
}

/// What who wants one of them does next.
enum Next {
    Use(Arc<backend::Connection>),
    Open,
    Wait,
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
            idle: Mutex::new(Vec::new()),
            writers: backend::Queue::default(),
            max_pages: max_mib.map(|mib| mib.saturating_mul(1024 * 1024) / PAGE),
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

    /// How many statements have run so far.
    #[cfg(not(target_family = "wasm"))]
    pub fn statements(&self) -> u64 {
        self.source.statements()
    }

    /// A connection for writing; the last one put back is the first one handed out.
    async fn writer(&self, purpose: Purpose) -> Result<Kept<'_>, DbError> {
        let found = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let at = idle.iter().rposition(|(kept, _)| *kept == purpose);
            at.map(|at| idle.remove(at).1)
        };
        let connection = match found {
            Some(connection) => connection,
            None => self.open_for(purpose).await?,
        };
        Ok(Kept { db: self, purpose, connection: Some(connection) })
    }

    async fn open_for(&self, purpose: Purpose) -> Result<backend::Connection, DbError> {
        let connection = self.open().await?;
        for setting in purpose.settings(self.max_pages) {
            connection.execute(&setting, vec![]).await?;
        }
        Ok(connection)
    }

    /// Runs one statement, a transaction of its own, on a connection that others may be using too: to read, or to write what is
    /// hot.
    fn on_shared<'a>(&'a self, how: How, sql: &'a str, args: Vec<Value>) -> Running<'a> {
        Box::pin(async move {
            let is_hot = how == How::Hot;
            let pool = if is_hot { &self.hot } else { &self.readers };
            let connection = self.shared(pool, is_hot).await?;
            let rows = match how {
                // In place only where nobody else is on the connection (the pool's and ours are two): whose rows are still coming
                // holds it until they are taken, which they could not be while the instance stands.
                How::Look if Arc::strong_count(&connection) <= 2 => connection.look(sql, args),
                How::Look | How::Read | How::Hot => connection.execute(sql, args).await,
            };
            if rows.is_err() {
                // The next one is opened anew.
                let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
                pool.open.retain(|open| !Arc::ptr_eq(open, &connection));
            }
            rows
        })
    }

    async fn shared(&self, pool: &Mutex<Shared>, is_hot: bool) -> Result<Arc<backend::Connection>, DbError> {
        loop {
            let next = pool.lock().unwrap_or_else(PoisonError::into_inner).next();
            match next {
                Next::Use(shared) => return Ok(shared),
                Next::Wait => backend::wait().await,
                Next::Open => {
                    let opened = if is_hot { self.open_for(Purpose::Hot).await } else { self.open().await };
                    let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
                    pool.opening -= 1;
                    let opened = opened.map(Arc::new)?;
                    pool.open.push(Arc::clone(&opened));
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
                // Once per instance. Who comes second waits: the tables that he needs may not be there yet.
                let _turn = self.migrating.turn().await;
                if !self.migrated.load(Ordering::Acquire) {
                    crate::migrate::run(&connection).await?;
                    self.migrated.store(true, Ordering::Release);
                }
            }
            Ok(connection)
        })
    }

    /// Runs one hot statement and gives the rows of its RETURNING. See [`Purpose::Hot`].
    pub async fn hot<T: FromRow>(&self, sql: &str, args: Vec<Value>) -> Result<Vec<T>, DbError> {
        read_all(self.on_shared(How::Hot, sql, args).await?)
    }

    /// Runs one statement that writes, in a transaction of its own, and gives the rows of its RETURNING.
    pub async fn single<T: FromRow>(&self, purpose: Purpose, sql: &str, args: Vec<Value>) -> Result<Vec<T>, DbError> {
        read_all(self.written(purpose, sql, args).await?)
    }

    fn written<'a>(&'a self, purpose: Purpose, sql: &'a str, args: Vec<Value>) -> Running<'a> {
        Box::pin(async move {
            let mut kept = self.writer(purpose).await?;
            let rows = kept.get()?.execute(sql, args).await?;
            kept.put_back();
            Ok(rows)
        })
    }

    /// Begins a durable transaction: one at a time in this instance, `BEGIN IMMEDIATE` against all others.
    pub fn begin(&self, purpose: Purpose) -> Boxed<'_, Tx<'_>> {
        Box::pin(async move {
            let turn = self.writers.turn().await;
            let kept = self.writer(purpose).await?;
            kept.get()?.execute("BEGIN IMMEDIATE", vec![]).await?;
            Ok(Tx { kept, _turn: turn })
        })
    }
}

/// What the database gives, once it has. Boxed where it is much code: an async function is compiled again for each crate, and each
/// other function, that waits for it.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, DbError>> + Send + 'a>>;

/// The rows of a statement, once it has run.
type Running<'a> = Boxed<'a, Vec<Vec<Value>>>;

/// What can be read from: the database as it is, or a transaction's view of it. The functions of the store take a
/// `&dyn Rows`: taking any type that can be read from, each of them would be compiled twice.
pub trait Rows: Sync {
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

/// Reading rows as what they are.
pub trait Reads: Rows {
    /// Runs a statement and gives its rows.
    fn list<T: FromRow + Send>(
        &self,
        sql: &str,
        args: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<T>, DbError>> + Send {
        async move { read_all(self.rows(sql, args).await?) }
    }

    /// The same as [`Reads::optional`] for a statement that finds its row by an index and reads little more: the whole instance waits
    /// for it, which takes a third of the time of being called back. Not for what may take a while.
    fn find<T: FromRow + Send>(
        &self,
        sql: &str,
        args: Vec<Value>,
    ) -> impl Future<Output = Result<Option<T>, DbError>> + Send {
        async move { first(self.look(sql, args).await?) }
    }

    /// Runs a statement and gives its first row, if there is one.
    fn optional<T: FromRow + Send>(
        &self,
        sql: &str,
        args: Vec<Value>,
    ) -> impl Future<Output = Result<Option<T>, DbError>> + Send {
        async move { first(self.rows(sql, args).await?) }
    }

    /// The same for a statement that gives its one row as JSON (`SELECT json_array(…) AS r FROM …`), or a page of rows
    /// ([`page`]). Each value, and each column's name, costs on its way into a component about what reading it costs SQLite;
    /// one text costs once. Texts, integers and NULL only.
    fn packed<T: FromRow + Send>(
        &self,
        sql: &str,
        args: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<T>, DbError>> + Send {
        async move { read_all(unpack(self.rows(sql, args).await?)?) }
    }
}

impl<R: Rows + ?Sized> Reads for R {}

fn first<T: FromRow>(rows: Vec<Vec<Value>>) -> Result<Option<T>, DbError> {
    rows.into_iter().next().map(|values| T::from_row(&mut Row::from(values))).transpose()
}

/// All rows of a statement for [`Reads::packed`] as one, in their order.
pub(crate) fn page(select: &str) -> String {
    // The rows are JSON already: joined as texts, they are not read and written again.
    format!("SELECT '[' || ifnull(group_concat(r, ','), '') || ']' AS r FROM ({select})")
}

fn unpack(packed: Vec<Vec<Value>>) -> Result<Vec<Vec<Value>>, DbError> {
    let mut rows = Vec::new();
    for text in packed.into_iter().flatten() {
        match serde_json::from_str(&String::from_value(text)?).map_err(|_| NO_ROW)? {
            Packed::List(page) if page.iter().all(|row| matches!(row, Packed::List(_))) => {
                for row in page {
                    rows.push(columns(row)?);
                }
            }
            row => rows.push(columns(row)?),
        }
    }
    Ok(rows)
}

const NO_ROW: DbError = DbError::Row("not a row as JSON");

fn columns(row: Packed) -> Result<Vec<Value>, DbError> {
    let Packed::List(list) = row else { return Err(NO_ROW) };
    let column = |item| if let Packed::Column(value) = item { Ok(value) } else { Err(NO_ROW) };
    list.into_iter().map(column).collect()
}

/// What stands in a packed text: a column, or a list of them, or of such lists.
enum Packed {
    Column(Value),
    List(Vec<Self>),
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PackedReader)
    }
}

/// Says of each kind of value what it is, also of those that are none of ours: serde's own words for what it did not expect come
/// with the writing of floating-point numbers, 10 KB in each component.
struct PackedReader;

impl<'de> Visitor<'de> for PackedReader {
    type Value = Packed;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("texts, integers, null and lists of them")
    }

    fn visit_unit<E>(self) -> Result<Packed, E> {
        Ok(Packed::Column(Value::Null))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Packed, E> {
        Ok(Packed::Column(Value::Integer(number)))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Packed, E> {
        i64::try_from(number).map(|number| Packed::Column(Value::Integer(number))).map_err(E::custom)
    }

    fn visit_str<E>(self, text: &str) -> Result<Packed, E> {
        Ok(Packed::Column(Value::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Packed, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Packed::List(list))
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Packed, E> {
        Err(E::custom("no column"))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Packed, E> {
        Err(E::custom("no column"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Packed, A::Error> {
        Err(A::Error::custom("no column"))
    }
}

fn read_all<T: FromRow>(rows: Vec<Vec<Value>>) -> Result<Vec<T>, DbError> {
    let mut read = Vec::with_capacity(rows.len());
    for values in rows {
        read.push(T::from_row(&mut Row::from(values))?);
    }
    Ok(read)
}

/// A connection that is out; dropped without [`Kept::put_back`] it is closed.
struct Kept<'a> {
    db: &'a Db,
    purpose: Purpose,
    connection: Option<backend::Connection>,
}

impl Kept<'_> {
    fn get(&self) -> Result<&backend::Connection, DbError> {
        self.connection.as_ref().ok_or(DbError::Row("the connection was put back"))
    }

    fn put_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            let mut idle = self.db.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < KEPT {
                idle.push((self.purpose, connection));
            }
        }
    }
}

/// A transaction. Dropped without [`Tx::commit`], nothing of it has happened.
pub struct Tx<'a> {
    kept: Kept<'a>,
    _turn: backend::Turn<'a>,
}

impl Tx<'_> {
    /// Runs a statement for its effect.
    pub async fn execute(&self, sql: &str, args: Vec<Value>) -> Result<(), DbError> {
        self.rows(sql, args).await.map(drop)
    }

    /// Makes it last. When this answers an error, it may or may not have happened: the caller must say 503.
    pub async fn commit(mut self) -> Result<(), DbError> {
        self.kept.get()?.execute("COMMIT", vec![]).await?;
        self.kept.put_back();
        Ok(())
    }
}

/// One integer, such as a count.
impl FromRow for i64 {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        row.take()
    }
}

/// One text.
impl FromRow for String {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        row.take()
    }
}

/// A row whose being there is all that matters.
#[derive(Debug)]
pub struct Happened;

impl FromRow for Happened {
    fn from_row(_: &mut Row) -> Result<Self, DbError> {
        Ok(Self)
    }
}
