//! rusqlite, for native tests: the same SQLite with the same defaults as Spin's (busy timeout 5 s, foreign keys on).

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::types::ValueRef;

use super::value::{DbError, Value};

mod plan;

/// A database file.
pub struct Source {
    path: PathBuf,
    statements: Arc<AtomicU64>,
    /// Requests that are being answered: the plans of their statements are looked at.
    requests: Arc<AtomicU64>,
}

impl Source {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), statements: Arc::default(), requests: Arc::default() }
    }

    /// Counts a request until the value is dropped.
    pub(super) fn request(&self) -> Request {
        self.requests.fetch_add(1, Ordering::SeqCst);
        Request(Arc::clone(&self.requests))
    }

    pub(super) fn statements(&self) -> u64 {
        self.statements.load(Ordering::SeqCst)
    }

    #[expect(clippy::unused_async, reason = "the same signature as the other backend's")]
    pub(super) async fn open(&self) -> Result<Connection, DbError> {
        let inner = rusqlite::Connection::open(&self.path).map_err(from_sqlite)?;
        inner.pragma_update(None, "foreign_keys", true).map_err(from_sqlite)?;
        let (statements, requests) = (Arc::clone(&self.statements), Arc::clone(&self.requests));
        Ok(Connection { inner: Mutex::new(inner), statements, requests })
    }
}

/// A request that is being answered.
pub struct Request(Arc<AtomicU64>);

impl Drop for Request {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An open connection.
pub(crate) struct Connection {
    inner: Mutex<rusqlite::Connection>,
    statements: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

impl Connection {
    /// Runs one statement to its end; what follows the first `;` is ignored, as Spin does.
    #[expect(clippy::unused_async, reason = "the same signature as the other backend's")]
    pub(crate) async fn execute(&self, sql: &str, args: Vec<Value>) -> Result<Vec<Vec<Value>>, DbError> {
        self.statements.fetch_add(1, Ordering::SeqCst);
        let connection = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection.prepare_cached(sql).map_err(from_sqlite)?;
        if self.requests.load(Ordering::SeqCst) > 0 {
            plan::check(&connection, sql);
        }
        let columns = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(args)).map_err(from_sqlite)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(from_sqlite)? {
            let values = (0..columns).map(|at| row.get_ref(at).map_err(from_sqlite).and_then(out_of_sqlite));
            all.push(values.collect::<Result<_, _>>()?);
        }
        Ok(all)
    }

    /// The same, without waiting: the statement runs as it is asked for.
    pub(crate) fn look(&self, sql: &str, args: Vec<Value>) -> Result<Vec<Vec<Value>>, DbError> {
        futures_util::FutureExt::now_or_never(self.execute(sql, args)).ok_or(DbError::Row("it waits"))?
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::ToSqlOutput::Borrowed;
        Ok(Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn out_of_sqlite(value: ValueRef<'_>) -> Result<Value, DbError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => {
            Value::Text(String::from_utf8(text.to_vec()).map_err(|_| DbError::Row("text that is not UTF-8"))?)
        }
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn from_sqlite(error: rusqlite::Error) -> DbError {
    DbError::from_text(error.to_string())
}

/// Waits a little for another task of this process.
pub(crate) async fn wait() {
    std::thread::yield_now();
}

/// One at a time in this process.
#[derive(Default)]
pub(crate) struct Queue(futures_util::lock::Mutex<()>);

/// The right to go on; the next one's when dropped.
pub(crate) struct Turn<'a>(#[expect(dead_code, reason = "held, never read")] futures_util::lock::MutexGuard<'a, ()>);

impl Queue {
    /// Waits for the turn.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn(self.0.lock().await)
    }
}
