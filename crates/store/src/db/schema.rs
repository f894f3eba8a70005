//! Whether the schema of the database is the one that the migrations make. Somebody who can write to the file can add a trigger that
//! drops or rewrites audit rows, or put an index in place of ours that hides some: no row and no seal would show it.
//!
//! What is compared is the text that SQLite keeps of each object. It is the text of the CREATE statement, with the columns that later
//! statements added, so the migrations themselves say what it must be, for each version that this code knows.

use std::{borrow::Cow, fmt};

use super::{
    Db, Purpose, Reads, Rows, migrations,
    value::{Affected, DbError, FromRow, Row},
};
use crate::args;

/// What comparing has shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Schema {
    /// It is as the migrations make it.
    AsMade,
    /// This object was added, changed or removed: its kind and name.
    Changed(String),
    /// The database says that it has a newer version, which this code cannot compare.
    Newer(i64),
}

impl Schema {
    /// The fault, as verifying names it, and the object that it is about. `None`: there is none.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        match self {
            Self::AsMade => None,
            Self::Changed(object) => Some(("schema_changed", object.clone())),
            Self::Newer(version) => Some(("schema_newer", format!("version {version}"))),
        }
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsMade => write!(f, "schema is as the migrations make it"),
            Self::Changed(object) => write!(f, "schema_changed: {object} is not as the migrations make it"),
            Self::Newer(version) => {
                write!(f, "schema_newer: version {version} is of a newer release and cannot be compared")
            }
        }
    }
}

/// How many indexes, triggers and views the migrations make.
const OBJECTS_MADE: usize = include!(concat!(env!("OUT_DIR"), "/objects.rs"));

/// The separators of objects, and of an object's name and text. No text of ours holds one, so a text that does is a difference.
const OBJECTS: u8 = 0x1e;
const PARTS: u8 = 0x1f;

/// The texts of all indexes, triggers and views as one, which crosses into a component for the price of one value; a part of a SELECT.
pub(super) const TEXTS: &str =
    "(SELECT group_concat(sql, char(30)) FROM sqlite_schema WHERE type <> 'table' AND sql IS NOT NULL)";

/// The text up to the next separator; what follows is left in `rest`.
fn cut<'a>(rest: &mut Option<&'a str>, separator: u8) -> Option<&'a str> {
    let text = (*rest)?;
    let end = text.bytes().position(|byte| byte == separator);
    *rest = end.and_then(|end| text.get(end + 1..));
    text.get(..end.unwrap_or(text.len()))
}

/// Whether a migration has this statement. A function of its own: the compiler would write it down once for each file.
#[inline(never)]
fn makes(file: &[&str], sql: &str) -> bool {
    file.contains(&sql)
}

/// Whether every index, trigger and view is one that the migrations make: a quick look for each new instance, at what can bend a row
/// or hide one. It does not name what differs, and does not look at tables.
pub(super) fn is_as_made(texts: &str) -> bool {
    let (mut rest, mut seen) = (Some(texts), 0);
    while let Some(sql) = cut(&mut rest, OBJECTS) {
        if !migrations::ALL.iter().any(|file| makes(file, sql)) {
            return false;
        }
        seen += 1;
    }
    seen == OBJECTS_MADE
}

const SELECT: &str = "SELECT user_version, (SELECT count(*) FROM sqlite_schema) AS count,
    (SELECT group_concat(name || char(31) || ifnull(sql, ''), char(30)) FROM sqlite_schema) AS objects
    FROM pragma_user_version";

struct Found(i64, i64, Option<String>);

impl FromRow for Found {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self(row.take()?, row.take()?, row.take()?))
    }
}

/// Compares the schema as it is now.
pub async fn look(reads: &dyn Rows) -> Result<Schema, DbError> {
    let Found(version, count, objects) = reads.optional(SELECT, vec![]).await?.ok_or(DbError::Row("no version"))?;
    Ok(compare(version, usize::try_from(count).unwrap_or(0), objects.as_deref()))
}

/// Compares the objects of a database of this version with those that the migrations make. How many there are shows a name that holds
/// a separator, and so looks like several.
fn compare(version: i64, count: usize, objects: Option<&str>) -> Schema {
    if version > migrations::newest() {
        return Schema::Newer(version);
    }
    let mut missing = made(version);
    let (mut rest, mut seen) = (objects, 0);
    while let Some(part) = cut(&mut rest, OBJECTS) {
        seen += 1;
        let mut part = Some(part);
        let (name, sql) = (cut(&mut part, PARTS).unwrap_or_default(), part.unwrap_or_default());
        if is_sqlites_own(name, sql) {
            continue;
        }
        // Nearly always the first one: objects stand in the order in which they were made.
        match missing.iter().position(|object| object.name == name && object.sql == sql) {
            Some(at) => drop(missing.remove(at)),
            None => return Schema::Changed(shown(sql, name)),
        }
    }
    match missing.first() {
        Some(object) => Schema::Changed(shown(&object.sql, &object.name)),
        None if seen == count => Schema::AsMade,
        None => Schema::Changed("object".to_owned()),
    }
}

/// An object that SQLite makes itself: the indexes of constraints, counters of numbers, what ANALYZE found.
fn is_sqlites_own(name: &str, sql: &str) -> bool {
    match name {
        "sqlite_sequence" => sql == "CREATE TABLE sqlite_sequence(name,seq)",
        "sqlite_stat1" => sql == "CREATE TABLE sqlite_stat1(tbl,idx,stat)",
        "sqlite_stat4" => sql == "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
        _ => sql.is_empty() && name.starts_with("sqlite_autoindex_"),
    }
}

/// The kind and the name of an object.
fn shown(sql: &str, name: &str) -> String {
    let kind = match words(sql) {
        [_, "UNIQUE", kind, _] => kind,
        [_, "", ..] => "object",
        [_, kind, ..] => kind,
    };
    let mut text = kind.to_ascii_lowercase();
    text.push(' ');
    text.extend(name.chars().filter(|c| !c.is_control()).take(60));
    text
}

/// The first words of a statement.
fn words(sql: &str) -> [&str; 4] {
    let mut words = [""; 4];
    let mut from = 0;
    for word in &mut words {
        let rest = sql.get(from..).unwrap_or_default();
        let end = rest.bytes().position(|byte| matches!(byte, b' ' | b'(' | b'\n')).unwrap_or(rest.len());
        *word = rest.get(..end).unwrap_or_default();
        from += end + 1;
    }
    words
}

/// An object as SQLite keeps it.
struct Object {
    name: Cow<'static, str>,
    sql: Cow<'static, str>,
}

/// The tables that FTS5 makes itself for an index whose texts are in a table of ours: the ends of their names, and their columns. The index
/// is of no use without them, so they are expected like the index, and nothing else beside them is.
const FTS5: &[(&str, &str)] = &[
    ("_data", "(id INTEGER PRIMARY KEY, block BLOB)"),
    ("_idx", "(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID"),
    ("_docsize", "(id INTEGER PRIMARY KEY, sz BLOB)"),
    ("_config", "(k PRIMARY KEY, v) WITHOUT ROWID"),
];

/// The objects that the migrations up to a version make.
fn made(version: i64) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::with_capacity(128);
    let files = migrations::ALL.iter().take(usize::try_from(version).unwrap_or(0));
    for sql in files.copied().flatten().copied() {
        match words(sql) {
            ["CREATE", kind @ ("UNIQUE" | "VIRTUAL"), _, name] | ["CREATE", kind, name, _] => {
                objects.push(Object { name: Cow::Borrowed(name), sql: Cow::Borrowed(sql) });
                if kind == "VIRTUAL" {
                    objects.extend(FTS5.iter().map(|(end, columns)| Object {
                        name: Cow::Owned([name, *end].concat()),
                        sql: Cow::Owned(["CREATE TABLE '", name, *end, "'", *columns].concat()),
                    }));
                }
            }
            ["DROP", _, name, _] => objects.retain(|object| object.name != name),
            ["ALTER", _, name, "ADD"] => {
                let column = sql.get("ALTER TABLE  ADD COLUMN ".len() + name.len()..).unwrap_or_default();
                if let Some(table) = objects.iter_mut().find(|object| object.name == name) {
                    table.sql = Cow::Owned(with_column(&table.sql, column));
                }
            }
            _ => {}
        }
    }
    objects
}

/// A table's text with one more column, as SQLite writes it: behind the last column, before the constraints of the whole table.
fn with_column(table: &str, column: &str) -> String {
    let (mut depth, mut quoted, mut end) = (0, false, table.len());
    for (at, letter) in table.char_indices() {
        match letter {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' if depth == 1 => {
                end = at;
                break;
            }
            ')' => depth -= 1,
            ',' if depth == 1 && is_constraint(table.get(at + 1..).unwrap_or_default()) => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    let (before, behind) = table.split_at_checked(end).unwrap_or((table, ""));
    [before, ", ", column, behind].concat()
}

/// Whether a constraint of the whole table begins here.
fn is_constraint(text: &str) -> bool {
    matches!(words(text.trim_start()), ["CHECK" | "UNIQUE" | "PRIMARY" | "FOREIGN" | "CONSTRAINT", ..])
}

/// Takes note of what the tick says of the schema; `false`: it said the same before.
pub async fn is_news(db: &Db, schema: &Schema) -> Result<bool, DbError> {
    let said = schema.fault().map(|_| schema.to_string());
    let differs = "SELECT count(*) FROM schema_info WHERE schema_said IS NOT ?1";
    if db.optional::<i64>(differs, args![said.as_deref()]).await? == Some(0) {
        return Ok(false);
    }
    // One instance of all hosts changes it.
    let sql = "UPDATE schema_info SET schema_said = ?1 WHERE schema_said IS NOT ?1 RETURNING 1";
    Ok(!db.single::<Affected>(Purpose::Revoking, sql, args![said]).await?.is_empty())
}

#[cfg(test)]
mod tests;
