//! Temporary directories of this process.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// A new, empty directory, for this user only. It is deleted when the value is dropped.
pub(crate) fn directory() -> Result<TempDir> {
    let builder =
        || tempfile::Builder::new().prefix("accredit-host-").permissions(Permissions::from_mode(0o700)).tempdir();
    builder().with_context(|| format!("cannot make a directory in {}", std::env::temp_dir().display()))
}
