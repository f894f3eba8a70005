//! Which programs use a state directory: each host holds a shared lock on it for as long as it lives, and a restore holds it alone. The lock
//! is on the directory itself, so it leaves no file, and the system ends it with its process.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// Shares a directory with other hosts until this process ends. Fails while somebody replaces what is in it.
pub(crate) fn share(directory: &Path) -> Result<()> {
    let held = File::open(directory).with_context(|| format!("cannot open {}", directory.display()))?;
    match held.try_lock_shared() {
        Ok(()) => {
            std::mem::forget(held);
            Ok(())
        }
        Err(TryLockError::WouldBlock) => {
            bail!("a database in {} is being restored; start again when that is done", directory.display())
        }
        // A file system without locks: SQLite, which needs them too, says so.
        Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// Has a directory alone until the file is dropped. `None`: a host runs on it.
pub(crate) fn own(directory: &Path) -> Result<Option<File>> {
    let held = File::open(directory).with_context(|| format!("cannot open {}", directory.display()))?;
    match held.try_lock() {
        Ok(()) => Ok(Some(held)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", directory.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_share_a_directory_and_a_restore_has_it_alone() {
        let (shared, owned) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        share(shared.path()).unwrap();
        share(shared.path()).unwrap();
        assert!(own(shared.path()).unwrap().is_none());
        let held = own(owned.path()).unwrap();
        assert!(held.is_some() && share(owned.path()).is_err() && own(owned.path()).unwrap().is_none());
        drop(held);
        share(owned.path()).unwrap();
    }
}
