//! Migrations, applied once by whichever instance comes first.
//!
//! 1. Read the version, the journal's mode and the texts of the schema, by one SELECT. A hundred instances start each second: this is all that
//!    nearly every one of them does. What is not the migrations' is logged, and refuses nothing ([`super::schema`]).
//! 2. Behind: switch to WAL (outside of any transaction, where alone it works) and check that it took.
//! 3. `BEGIN IMMEDIATE`, read the version again, apply what is missing, set the version, commit.
//! 4. Ahead: go on, unless the database says that this code is too old for it.

#[cfg(not(target_family = "wasm"))]
use super::native::Connection;
#[cfg(target_family = "wasm")]
use super::spin::Connection;
use super::{
    migrations::{ALL, newest},
    schema,
    value::{DbError, FromValue, Value},
};

/// Tries to switch to WAL, each of some 0.1 s.
const SWITCHES: usize = 50;

/// Tries before a database that others keep busy is given up; each waits up to the busy timeout of 5 s.
const TRIES: usize = 3;

/// Brings the database to the version of this code.
pub(crate) async fn run(connection: &Connection) -> Result<(), DbError> {
    let newest = newest();
    let mut tries = 1;
    loop {
        let (version, mode, texts) = state(connection).await?;
        if version > newest {
            let oldest = integer(connection, "SELECT oldest_code FROM schema_info").await?;
            return if oldest > newest { Err(DbError::TooNew) } else { Ok(()) };
        }
        if version == newest {
            if !schema::is_as_made(texts.as_deref().unwrap_or_default()) {
                eprintln!("schema_changed: an index, trigger or view of the database is not as the migrations make it");
            }
            // A restored copy (VACUUM INTO) has the version and not the mode.
            return if is_write_ahead(&mode) { Ok(()) } else { write_ahead(connection).await };
        }
        match upgrade(connection, newest).await {
            Err(DbError::Unavailable(_)) if tries < TRIES => tries += 1,
            result => return result,
        }
    }
}

/// The database's version, its journal's mode, and the texts of what could bend its rows ([`schema::is_as_made`]).
async fn state(connection: &Connection) -> Result<(i64, Option<Value>, Option<String>), DbError> {
    let sql = format!(
        "SELECT user_version, journal_mode, {} AS texts FROM pragma_user_version, pragma_journal_mode",
        schema::TEXTS
    );
    let mut columns = connection.execute(&sql, vec![]).await?.into_iter().flatten();
    let version = i64::from_value(columns.next().ok_or(DbError::Row("no version"))?)?;
    let mode = columns.next();
    Ok((version, mode, columns.next().map(Option::from_value).transpose()?.flatten()))
}

/// A database that is reached over the network may answer nothing here; one in memory says so.
fn is_write_ahead(mode: &Option<Value>) -> bool {
    match mode {
        None | Some(Value::Null) => true,
        Some(Value::Text(mode)) => mode.eq_ignore_ascii_case("wal"),
        Some(_) => false,
    }
}

/// Switches to WAL, and checks that it took: a database in memory refuses, and would lose everything.
///
/// The switch needs the file alone. Two connections that both try hold each other up until one gives up, so each is patient
/// for a short time of its own and then looks whether another one was faster.
async fn write_ahead(connection: &Connection) -> Result<(), DbError> {
    for _ in 0..SWITCHES {
        let patience = 20 + integer(connection, "SELECT abs(random() % 200)").await?;
        connection.execute(&format!("PRAGMA busy_timeout={patience}"), vec![]).await?;
        let switched = connection.execute("PRAGMA journal_mode=WAL", vec![]).await;
        connection.execute("PRAGMA busy_timeout=5000", vec![]).await?;
        match switched {
            Ok(rows) => {
                let mode = rows.into_iter().flatten().next();
                if is_write_ahead(&mode) {
                    return Ok(());
                }
                if mode == Some(Value::Text("memory".to_owned())) {
                    break;
                }
            }
            Err(DbError::Unavailable(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let cause = "the database cannot use a write-ahead log (WAL): give the host a state directory";
    Err(DbError::Unavailable(cause.to_owned()))
}

async fn upgrade(connection: &Connection, newest: i64) -> Result<(), DbError> {
    write_ahead(connection).await?;
    connection.execute("BEGIN IMMEDIATE", vec![]).await?;
    let done = missing(connection, newest).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = connection.execute(end, vec![]).await;
    // SQLite has rolled back by itself where the disk is full or broken: then there is nothing to roll back, and the cause counts.
    done.and(ended.map(drop))
}

/// Applies what the database has not seen; runs under the write lock.
async fn missing(connection: &Connection, newest: i64) -> Result<(), DbError> {
    let version = usize::try_from(integer(connection, "PRAGMA user_version").await?).unwrap_or(0);
    if version >= ALL.len() {
        return Ok(()); // somebody else was faster, perhaps with newer code
    }
    for statement in ALL.iter().skip(version).copied().flatten() {
        connection.execute(statement, vec![]).await?;
    }
    connection.execute(&format!("PRAGMA user_version={newest}"), vec![]).await.map(drop)
}

async fn integer(connection: &Connection, sql: &str) -> Result<i64, DbError> {
    let rows = connection.execute(sql, vec![]).await?;
    i64::from_value(rows.into_iter().flatten().next().ok_or(DbError::Row("no row"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::native::Source;

    /// A disk that is full is told as that: SQLite has rolled back by itself, so that there is nothing to roll back.
    #[tokio::test]
    async fn a_full_disk_is_told_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Source::new(&folder.path().join("a.db")).open().await.unwrap();
        connection.execute("PRAGMA max_page_count=20", vec![]).await.unwrap();
        assert!(matches!(run(&connection).await, Err(DbError::Full)));
    }
}
