//! Values of SQLite, rows, and errors.

use common::error::{ApiError, Code};

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
            Self::TooNew => f.write_str(
                "database too new: a newer release of Accredit upgraded it, and this release must not use it",
            ),
            Self::Row(what) => write!(f, "unexpected row: {what}"),
        }
    }
}

impl std::error::Error for DbError {}

impl DbError {
    /// From a backend's text. Only the slug of the 503 depends on it: no decision does.
    pub(super) fn from_text(text: String) -> Self {
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

/// As it is, for code that reads columns of any type.
impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, DbError> {
        Ok(value)
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

/// A row of which only the existence matters.
#[derive(Debug)]
pub struct Affected;

impl FromRow for Affected {
    fn from_row(_: &mut Row) -> Result<Self, DbError> {
        Ok(Self)
    }
}

/// Every failure of the database means the same: try again later. It never means "unknown", "forbidden" or "allowed".
impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        let code = match error {
            DbError::Unavailable(_) => Code::DatabaseUnavailable,
            DbError::Full => Code::StorageFull,
            DbError::TooNew => Code::DatabaseTooNew,
            DbError::Row(_) => Code::Internal,
        };
        Self::from(code).cause(error)
    }
}
