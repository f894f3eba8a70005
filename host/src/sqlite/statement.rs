//! One statement on an open connection: what kind it is, and how it runs.

use std::sync::atomic::Ordering;

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::{Batch, Connection, ErrorCode, Statement, params_from_iter};

use crate::metrics::WRITES;
use crate::sqlite::answer::{Answer, AnswerSender, FIRST_BYTES, Rest};
use crate::sqlite::types::{Error, Outcome, RowResult, Value, io};

/// Whether the statement is a read by its first word. BEGIN and PRAGMA are read-only to SQLite, but change the connection.
pub(super) fn is_read(sql: &str) -> bool {
    starts_with(sql, &["SELECT", "WITH", "VALUES"])
}

/// Whether the statement is a PRAGMA.
pub(super) fn is_pragma(sql: &str) -> bool {
    starts_with(sql, &["PRAGMA"])
}

/// Whether the statement begins a transaction.
pub(super) fn is_begin(sql: &str) -> bool {
    starts_with(sql, &["BEGIN"])
}

/// Whether the statement changes rows and nothing else.
pub(super) fn is_change(sql: &str) -> bool {
    starts_with(sql, &["INSERT", "UPDATE", "DELETE", "REPLACE"])
}

fn starts_with(sql: &str, words: &[&str]) -> bool {
    let first = sql.trim_start().split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
    words.iter().any(|word| word.eq_ignore_ascii_case(first))
}

/// Runs a read and returns all of its rows. `None` when there is no complete answer within the limits; the blocking run
/// reports what is wrong.
pub(super) fn read_inline(connection: &Connection, sql: &str, parameters: &[Value]) -> Option<Answer> {
    let mut statement = connection.prepare_cached(sql).ok()?;
    if !statement.readonly() {
        return None;
    }
    let columns = columns(&statement);
    let mut found = statement.query(params_from_iter(parameters)).ok()?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next().ok()? {
        let row = RowResult::read(row).ok()?;
        bytes += row.size();
        if bytes > FIRST_BYTES {
            return None;
        }
        rows.push(row);
    }
    Some(Answer { columns, rows, rest: Rest::Done(Ok(())) })
}

/// Runs a statement to its end and gives its columns and rows to `answer`.
pub(super) fn run_to_end(
    connection: &Connection,
    sql: &str,
    parameters: &[Value],
    answer: &mut AnswerSender,
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
    answer.set_columns(columns(statement));
    let mut rows = statement.query(params_from_iter(parameters)).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        answer.push(RowResult::read(row)?)?;
    }
    Ok(())
}

/// The failure of a statement that ran. One that waited for a lock in vain is counted.
fn failed(error: rusqlite::Error) -> Error {
    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) {
        WRITES.refused.fetch_add(1, Ordering::Relaxed);
    }
    io(error)
}

fn columns(statement: &Statement<'_>) -> Vec<String> {
    statement.column_names().map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statements_that_change_nothing_are_reads() {
        for sql in ["SELECT 1", " select\n1", "WITH a AS (SELECT 1) SELECT * FROM a", "VALUES(1)"] {
            assert!(is_read(sql), "{sql}");
        }
        for sql in ["BEGIN", "PRAGMA busy_timeout", "INSERT INTO t SELECT 1", "-- c\nSELECT 1", "SELECTED", ""] {
            assert!(!is_read(sql), "{sql}");
        }
    }
}
