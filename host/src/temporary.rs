//! Temporary directories of this process.
//!
//! A host that is killed leaves its directories behind. Each is locked while its host runs, so that the next host that starts can
//! tell which ones are left over, also from within another container on the same files.

use std::fs::{File, Metadata, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

/// The beginning of the names.
const PREFIX: &str = "accredit-host.";
/// Attempts to make a directory that another host takes for one that is left over, before it is locked.
const ATTEMPTS: usize = 10;

/// A directory that is deleted when the value is dropped.
pub(crate) struct Directory {
    directory: TempDir,
    /// Locked as long as it is open.
    _lock: File,
}

impl Directory {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// A new, empty directory, for this user only.
pub(crate) fn directory() -> Result<Directory> {
    let place = std::env::temp_dir();
    for _ in 0..ATTEMPTS {
        let builder = || tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir();
        let directory = builder().with_context(|| format!("cannot make a directory in {}", place.display()))?;
        match File::open(directory.path()) {
            Ok(lock) if lock_is_ours(&lock) && is_at(&lock, directory.path()) => {
                return Ok(Directory { directory, _lock: lock });
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot open {}", directory.path().display()));
            }
            _ => {}
        }
    }
    bail!("other hosts delete every directory that this one makes in {}", place.display())
}

/// Deletes the directories of hosts that were killed.
pub(crate) fn clean() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(PREFIX)
            && let Err(error) = remove_left_over(&path)
        {
            say!("accredit-host: cannot delete {}, which a killed host left behind: {error}", path.display());
        }
    }
}

fn remove_left_over(path: &Path) -> std::io::Result<()> {
    let found = path.symlink_metadata()?;
    // That of another user, or something else under such a name, is not a host's of ours.
    if !found.is_dir() || found.uid() != std::fs::metadata("/proc/self")?.uid() {
        return Ok(());
    }
    let lock = match File::open(path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if lock.try_lock().is_ok() && is_at(&lock, path) { std::fs::remove_dir_all(path) } else { Ok(()) }
}

/// Whether no host holds the lock, or the file system has no locks: then nobody deletes what is left over either.
fn lock_is_ours(lock: &File) -> bool {
    !matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
}

/// Whether a directory that was opened is still the one at this path.
fn is_at(opened: &File, path: &Path) -> bool {
    let id = |found: std::io::Result<Metadata>| found.map(|found| (found.dev(), found.ino())).ok();
    let opened = id(opened.metadata());
    opened.is_some() && opened == id(path.symlink_metadata())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R80.
    #[test]
    fn only_a_directory_that_no_host_holds_is_left_over() {
        let held = directory().unwrap();
        std::fs::write(held.path().join("file"), "x").unwrap();
        remove_left_over(held.path()).unwrap();
        assert!(held.path().join("file").exists());
        let Directory { directory, _lock } = held;
        let path = directory.keep();
        drop(_lock);
        remove_left_over(&path).unwrap();
        assert!(!path.exists());
    }
}
