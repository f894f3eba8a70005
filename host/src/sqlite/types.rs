//! The interface's values, rows and errors.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use wasmtime::component::{ComponentType, Lift, Lower};

/// Bytes that a whole answer of `execute`, or one row of `execute-async`, may take in memory, as in Spin.
pub(super) const MAX_BYTES: usize = 128 << 20;

/// A value of a row or a parameter.
#[derive(Debug, Clone, PartialEq, ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum Value {
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

/// One row.
#[derive(Debug, Clone, PartialEq, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct RowResult {
    /// One value for each column.
    pub(super) values: Vec<Value>,
}

impl RowResult {
    /// Copies the current row of a statement.
    pub(super) fn read(row: &rusqlite::Row<'_>) -> Result<Self, Error> {
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
        let row = Self { values };
        if row.size() > MAX_BYTES { Err(too_large()) } else { Ok(row) }
    }

    /// Bytes that the row takes in memory, roughly.
    pub(super) fn size(&self) -> usize {
        let value = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            Value::Integer(_) | Value::Real(_) | Value::Null => 0,
        };
        self.values.iter().map(|one| size_of::<Value>() + value(one)).sum()
    }
}

/// All rows of a statement.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct QueryResult {
    /// The columns' names.
    pub(super) columns: Vec<String>,
    /// The rows.
    pub(super) rows: Vec<RowResult>,
}

/// Why a call failed.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum Error {
    /// No database has this label.
    #[component(name = "no-such-database")]
    NoSuchDatabase,
    /// The manifest does not grant this database.
    #[component(name = "access-denied")]
    AccessDenied,
    /// Not a connection.
    #[component(name = "invalid-connection")]
    InvalidConnection,
    /// The database has no room.
    #[component(name = "database-full")]
    DatabaseFull,
    /// SQLite's message.
    #[component(name = "io")]
    Io(String),
}

/// How a statement ended.
pub(super) type Outcome = Result<(), Error>;

/// Any failure as the interface's `io`.
pub(super) fn io(error: impl std::fmt::Display) -> Error {
    Error::Io(error.to_string())
}

/// The failure of an answer that passes [`MAX_BYTES`].
pub(super) fn too_large() -> Error {
    Error::Io(format!("query result exceeds limit of {MAX_BYTES} bytes"))
}
