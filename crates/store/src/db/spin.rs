//! Spin's SQLite. `execute-async` returns before the statement has run: its error comes from the result behind the rows, so a
//! statement is always drained and its result read before the next one (see [`Connection::execute`]). `execute` gives all at once,
//! and holds up the instance so long (see [`Connection::look`]). The SDK's own wrapper has the first only; both are in its bindings.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use spin_sdk::sqlite::{self, wit::sqlite as wit};

use super::value::{DbError, Value};

/// The binding `default` of the component.
pub struct Source;

impl Source {
    pub(super) async fn open(&self) -> Result<Connection, DbError> {
        let opening = wit::Connection::open_async("default".to_owned());
        opening.await.map(Connection).map_err(from_spin)
    }
}

/// An open connection of the host's.
pub(crate) struct Connection(wit::Connection);

impl Connection {
    /// Runs one statement to its end.
    pub(crate) async fn execute(&self, sql: &str, args: Vec<Value>) -> Result<Vec<Vec<Value>>, DbError> {
        let args = args.into_iter().map(into_spin).collect();
        let (_, rows, result) = self.0.execute_async(sql.to_owned(), args).await.map_err(from_spin)?;
        let rows = rows.collect().await;
        result.await.map_err(from_spin)?;
        Ok(rows.into_iter().map(|row| row.values.into_iter().map(out_of_spin).collect()).collect())
    }

    /// Runs a statement that reads little, by an index. The whole instance waits for it, which is shorter than the calls for the
    /// stream of its rows and for the result behind them.
    pub(crate) fn look(&self, sql: &str, args: Vec<Value>) -> Result<Vec<Vec<Value>>, DbError> {
        let args: Vec<_> = args.into_iter().map(into_spin).collect();
        let result = self.0.execute(sql, &args).map_err(from_spin)?;
        Ok(result.rows.into_iter().map(|row| row.values.into_iter().map(out_of_spin).collect()).collect())
    }
}

fn into_spin(value: Value) -> sqlite::Value {
    match value {
        Value::Null => sqlite::Value::Null,
        Value::Integer(number) => sqlite::Value::Integer(number),
        Value::Real(number) => sqlite::Value::Real(number),
        Value::Text(text) => sqlite::Value::Text(text),
        Value::Blob(bytes) => sqlite::Value::Blob(bytes),
    }
}

fn out_of_spin(value: sqlite::Value) -> Value {
    match value {
        sqlite::Value::Null => Value::Null,
        sqlite::Value::Integer(number) => Value::Integer(number),
        sqlite::Value::Real(number) => Value::Real(number),
        sqlite::Value::Text(text) => Value::Text(text),
        sqlite::Value::Blob(bytes) => Value::Blob(bytes),
    }
}

fn from_spin(error: sqlite::Error) -> DbError {
    match error {
        sqlite::Error::DatabaseFull => DbError::Full,
        sqlite::Error::Io(text) => DbError::from_text(text),
        sqlite::Error::NoSuchDatabase => DbError::Unavailable("no such database".to_owned()),
        sqlite::Error::AccessDenied => DbError::Unavailable("this component was granted no database".to_owned()),
        sqlite::Error::InvalidConnection => DbError::Unavailable("invalid connection".to_owned()),
    }
}

/// How often a task that waits checks whether it is its turn.
const LOOK: Duration = Duration::from_millis(1);

/// Waits a little for another task of this instance.
pub(crate) async fn wait() {
    spin_sdk::time::sleep(LOOK).await;
}

/// One at a time in this instance, first come, first served.
///
/// A task of a component cannot be woken by another one, only by the host (the bindings have a feature for it, which traps on
/// today's runtimes); so a task that waits sleeps and checks. No waiting request is ever dropped, since a client that goes away
/// cancels nothing, so every ticket is served.
#[derive(Default)]
pub(crate) struct Queue {
    next: AtomicU64,
    serving: AtomicU64,
}

/// The right to go on; the next one's when dropped.
pub(crate) struct Turn<'a>(&'a Queue);

impl Queue {
    /// Waits for the turn.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        while self.serving.load(Ordering::Acquire) != ticket {
            wait().await;
        }
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.serving.fetch_add(1, Ordering::Release);
    }
}
