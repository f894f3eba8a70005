//! Which file a path is. A database that is moved away or replaced under a running host is another one: what one connection answered would be
//! missing for the next.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, Read as _, Result};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::ffi;

use crate::private::{self, HEAD};

/// Each file, as it was when this process first opened it. They stay open: closing one would take away the locks that SQLite has on it, and a
/// deleted one could come back under the same number.
static KNOWN: Mutex<BTreeMap<PathBuf, File>> = Mutex::new(BTreeMap::new());

/// Makes the file at the first call if it is missing, for this user only. At later calls it fails if the path has another file, or none.
pub(super) fn check(path: &Path) -> rusqlite::Result<()> {
    is_the_same(path).map_err(|error| {
        let text = format!("{}: {error}", path.display());
        rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CANTOPEN), Some(text))
    })
}

fn is_the_same(path: &Path) -> Result<()> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(first) = known.get(path) else {
        private::file(path)?;
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut head = Vec::new();
        (&mut file).take(HEAD.len() as u64).read_to_end(&mut head)?;
        // Where something else lies, nothing has been answered from it: SQLite says so, and somebody may take it away.
        if head.is_empty() || head == *HEAD {
            known.insert(path.to_owned(), file);
        }
        return Ok(());
    };
    let number = |file: &Metadata| (file.dev(), file.ino());
    match path.metadata() {
        Ok(file) if number(&file) == number(&first.metadata()?) => Ok(()),
        _ => Err(Error::other(
            "the database was moved away or replaced while this host runs; put it back, or restart the host",
        )),
    }
}
