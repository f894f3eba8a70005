//! Room on the disk for what must go through when it is full.
//!
//! A stop and a revocation are written like everything else, and need some pages of the write-ahead log. So a file beside the database
//! holds room, and gives a step of it back to the disk just before a transaction commits that says what it is for. Components say so in
//! a comment behind `COMMIT`, which SQLite passes over, and so does a host that knows nothing of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Result};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};

use crate::private::with_end;

/// The whole reserve, bytes.
const WHOLE: u64 = 8 << 20;
/// What a transaction that may have it finds free, bytes: a stop takes a tenth of it.
const STEP: u64 = 256 << 10;
/// What is left for revocations by what can be repeated without end, as signing in can, bytes.
const LEFT: u64 = WHOLE / 2;
/// Free bytes beyond the reserve that the disk must have before it is filled.
const PLENTY: u64 = 4 * WHOLE;
/// How often it is filled again.
const PAUSE: Duration = Duration::from_secs(30);

/// What a transaction of this statement may leave of the reserve, bytes. `None`: it gets nothing of it.
pub(super) fn left_by(sql: &str) -> Option<u64> {
    match sql {
        "COMMIT /* revoking */" => Some(0),
        "COMMIT /* narrowing */" | "COMMIT /* entry */" => Some(LEFT),
        _ => None,
    }
}

/// Gives the disk a step of the reserve of the database at `path`, if it has less than that free and more than `left` bytes remain. What
/// fails here shows when the transaction commits.
pub(super) fn lend(path: &Path, left: u64) {
    let given = open(path, false).and_then(|file| if free(&file)? < STEP { shrink(&file, left) } else { Ok(()) });
    drop(given);
}

/// Keeps the reserves of these databases filled while their disks have plenty of room.
pub(crate) async fn keep_filled(paths: Vec<PathBuf>) {
    let mut is_told = false;
    loop {
        for path in &paths {
            let filled = tokio::task::block_in_place(|| fill(path));
            if let (Err(error), false) = (filled, is_told) {
                is_told = true;
                say!("accredit-host: the reserve of {} cannot be filled: {error}", path.display());
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn fill(path: &Path) -> Result<()> {
    let file = open(path, true)?;
    if file.metadata()?.len() < WHOLE && free(&file)? >= PLENTY {
        // Where the file system cannot promise room, bytes take it that cannot be compressed.
        return fallocate(&file, FallocateFlags::empty(), 0, WHOLE).or_else(|_| write(&file));
    }
    Ok(())
}

fn write(mut file: &File) -> Result<()> {
    io::copy(&mut File::open("/dev/urandom")?.take(WHOLE), &mut file).map(drop)
}

fn shrink(file: &File, left: u64) -> Result<()> {
    let now = file.metadata()?.len();
    let then = now.saturating_sub(STEP).max(left);
    if then < now { file.set_len(then) } else { Ok(()) }
}

fn open(path: &Path, create: bool) -> Result<File> {
    OpenOptions::new().write(true).create(create).truncate(false).mode(0o600).open(with_end(path, "-reserve"))
}

/// Free bytes of the file's disk.
fn free(file: &File) -> Result<u64> {
    let disk = fstatvfs(file)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// R346: what ends a right gets the whole reserve, what can be repeated without end gets half of it, and all else nothing.
    #[test]
    fn the_reserve_is_given_back_step_by_step() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.db");
        fill(&path).unwrap();
        let file = open(&path, false).unwrap();
        let size = || file.metadata().unwrap().len();
        assert_eq!((size(), file.metadata().unwrap().mode() & 0o777), (WHOLE, 0o600));
        assert!(file.metadata().unwrap().blocks() * 512 >= WHOLE, "its room is taken");
        lend(&path, 0);
        assert_eq!(size(), WHOLE, "the disk has room");
        shrink(&file, LEFT).unwrap();
        assert_eq!(size(), WHOLE - STEP);
        (0..WHOLE / STEP).for_each(|_| shrink(&file, LEFT).unwrap());
        assert_eq!(size(), LEFT);
        (0..WHOLE / STEP).for_each(|_| shrink(&file, 0).unwrap());
        assert_eq!(size(), 0);
        write(&file).unwrap();
        assert_eq!(size(), WHOLE, "on a file system that promises no room");
        shrink(&file, 0).unwrap();
        fill(&path).unwrap();
        assert_eq!(size(), WHOLE);
        assert_eq!(left_by("COMMIT /* revoking */"), Some(0));
        assert_eq!(left_by("COMMIT /* entry */"), Some(LEFT));
        assert_eq!(left_by("COMMIT"), None);
    }
}
