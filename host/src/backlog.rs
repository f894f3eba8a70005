//! What waits in the database, asked for with the counters: by a connection of its own that cannot write, so that requests pay nothing.
//!
//! This is the one place where the host knows tables of the application. In a database that has none of them nothing is said.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags};

use crate::metrics::Backlog;

/// How long a question may wait for a lock; readers wait for nobody in a database that is written ahead.
const PATIENCE: Duration = Duration::from_millis(100);
/// More than this is not counted, so that a question takes some milliseconds.
const MOST: i64 = 100_000;

const MAILS: &str = "SELECT count(*) FROM (SELECT 1 FROM outbox WHERE state = 'due' LIMIT ?1)";
const DELIVERIES: &str = "SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE state = 'due' LIMIT ?1)";
/// Milliseconds. The first row is of the last seal, and no other one is read.
const SEALED: &str = "SELECT sealed_at FROM audit_seals ORDER BY from_seq DESC LIMIT ?1";
const UNSEALED: &str = "SELECT count(*) FROM (SELECT 1 FROM audit
                        WHERE seq > (SELECT ifnull(max(to_seq), 0) FROM audit_seals) LIMIT ?1)";

/// Asks the database. `None`: it is in memory.
pub(crate) fn of(database: Option<&Path>) -> Backlog {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Some(Ok(connection)) = database.map(|path| Connection::open_with_flags(path, flags)) else {
        return Backlog::default();
    };
    if connection.busy_timeout(PATIENCE).is_err() {
        return Backlog::default();
    }
    let ask = |sql| u64::try_from(connection.query_row(sql, [MOST], |row| row.get::<_, i64>(0)).ok()?).ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = |sealed| now.saturating_sub(Duration::from_millis(sealed)).as_secs();
    Backlog { mails: ask(MAILS), deliveries: ask(DELIVERIES), seal_age: ask(SEALED).map(age), unsealed: ask(UNSEALED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R163.
    #[test]
    fn what_waits_is_counted_and_another_database_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        assert_eq!((of(None), of(Some(&path))), (Backlog::default(), Backlog::default()));
        assert!(!path.exists(), "a question makes no file");
        let writer = Connection::open(&path).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        let tables = "CREATE TABLE outbox (state); CREATE TABLE deliveries (state); CREATE TABLE audit (seq INTEGER PRIMARY KEY);
                      CREATE TABLE audit_seals (from_seq INTEGER PRIMARY KEY, to_seq, sealed_at)";
        writer.execute_batch(tables).unwrap();
        let none = Backlog { mails: Some(0), deliveries: Some(0), seal_age: None, unsealed: Some(0) };
        assert_eq!(of(Some(&path)), none);
        // A writer that has the lock holds no question up.
        let rows = "INSERT INTO outbox VALUES ('due'), ('sent'), ('due'); INSERT INTO audit VALUES (1), (2), (3);
                    INSERT INTO audit_seals VALUES (1, 1, 0); BEGIN IMMEDIATE";
        writer.execute_batch(rows).unwrap();
        let found = of(Some(&path));
        assert_eq!((found.mails, found.deliveries, found.unsealed), (Some(2), Some(0), Some(2)));
        assert!(found.seal_age.unwrap() > 1_700_000_000);
    }
}
