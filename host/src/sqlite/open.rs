//! What all connections to a file have in common: how one is opened, and for how long its statements wait.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::OpenFlags;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::metrics::WRITES;
use crate::sqlite::file;

/// How long a statement waits for a lock, as in Spin.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 128;

/// Opens a connection to the file at `path`, which only this user may read. `None`: to a new database in memory.
pub(super) fn open(path: Option<&Path>) -> rusqlite::Result<rusqlite::Connection> {
    let mut connection = match path {
        Some(path) => {
            file::check(path)?;
            rusqlite::Connection::open_with_flags(path, OpenFlags::default().difference(OpenFlags::SQLITE_OPEN_CREATE))?
        }
        None => rusqlite::Connection::open_in_memory()?,
    };
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Without this setting SQLite plans a statement anew for each new value of a parameter that a partial index depends on.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.authorizer(Some(|context: AuthContext<'_>| match context.action {
        AuthAction::Attach { filename } if !matches!(filename, "" | ":memory:") => Authorization::Deny,
        _ => Authorization::Allow,
    }))?;
    Ok(connection)
}

/// Whether the database at `path` can be used; it is made if there is none.
pub(crate) fn look(path: &Path) -> rusqlite::Result<()> {
    open(Some(path))?.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// Writes what the write-ahead log of a database holds into its file, as far as nobody else uses it: who copies that one file after a stop has
/// all of it.
pub(crate) fn fold(path: &Path) -> rusqlite::Result<()> {
    let connection = open(Some(path))?;
    connection.busy_timeout(Duration::ZERO)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// How long a statement that has waited in the queue may wait for another process: what is left, if the wait was not short.
pub(super) fn patience(waited: Duration) -> Duration {
    if waited > BUSY_TIMEOUT / 50 { BUSY_TIMEOUT.saturating_sub(waited) } else { BUSY_TIMEOUT }
}

/// Counts how long a write has waited for its turn.
pub(super) fn count_wait(waited: Duration) {
    WRITES.waits.add(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
}

/// A panic while something is locked leaves it as it was before or after a change.
pub(super) fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
