//! Files and directories for this user only: a reader of the database reads what all tenants keep in it.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The bits of a mode that open something to other users.
const OTHERS: u32 = 0o077;
/// What a file of SQLite begins with.
pub(crate) const HEAD: &[u8; 16] = b"SQLite format 3\0";
/// What SQLite appends to a database's name for the files beside it. It makes them with the database's mode.
pub(crate) const BESIDE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// The path with this at its end.
pub(crate) fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(end);
    text.into()
}

/// The directory that a file is in.
pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a directory, and those above it, if they are missing. Returns whether the directory is open to other users: it may be one
/// that others need, so it is not changed.
pub(crate) fn directory(path: &Path) -> Result<bool> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    Ok(path.metadata()?.mode() & OTHERS != 0)
}

/// Makes an empty file, if it is missing. SQLite would make it as the umask says.
pub(crate) fn file(path: &Path) -> Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Narrows a database's files that are open to other users. Returns those that were.
pub(crate) fn narrow(database: &Path) -> Result<Vec<PathBuf>> {
    let mut narrowed = Vec::new();
    for end in BESIDE {
        let path = with_end(database, end);
        match path.metadata() {
            Ok(found) if found.is_file() && found.mode() & OTHERS != 0 => {
                std::fs::set_permissions(&path, Permissions::from_mode(found.mode() & 0o700))?;
                narrowed.push(path);
            }
            _ => {}
        }
    }
    Ok(narrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o777
    }

    /// R80.
    #[test]
    fn what_is_made_is_for_this_user_only_and_what_was_there_is_narrowed() {
        let home = tempfile::tempdir().unwrap();
        let made = home.path().join("a/b");
        assert!(!directory(&made).unwrap());
        assert_eq!((mode(&made), mode(made.parent().unwrap())), (0o700, 0o700));
        let new = made.join("new.db");
        file(&new).unwrap();
        assert_eq!(mode(&new), 0o600);
        let old = made.join("old.db");
        for end in BESIDE {
            let path = made.join(format!("old.db{end}"));
            std::fs::write(&path, "kept").unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        }
        file(&old).unwrap();
        assert_eq!(narrow(&old).unwrap().len(), 4);
        assert!(narrow(&old).unwrap().is_empty());
        assert_eq!((mode(&old), mode(&made.join("old.db-wal"))), (0o600, 0o600));
        assert_eq!(std::fs::read(&old).unwrap(), b"kept");
        std::fs::set_permissions(&made, Permissions::from_mode(0o755)).unwrap();
        assert!(directory(&made).unwrap());
        assert_eq!(mode(&made), 0o755, "it may be one that others need");
    }
}
