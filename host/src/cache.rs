//! Compiled components, kept in files.

use std::fs::{DirBuilder, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// The version of the compiler: other versions cannot use its code.
const WASMTIME: &str = "48.0.8";

/// The longest time in which a process writes a compiled component.
const UNFINISHED: Duration = Duration::from_secs(600);

/// A directory of compiled components.
#[derive(Debug, Clone)]
pub(crate) struct Cache(PathBuf);

impl Cache {
    /// Makes the directory if it is missing. It must be writable for this user only: files in it run as native code, unchecked.
    pub(crate) fn open(directory: PathBuf) -> Result<Self> {
        let place = || format!("the cache directory {}", directory.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("cannot make {}", place()))?;
        let found = std::fs::symlink_metadata(&directory).with_context(place)?;
        let own =
            std::fs::metadata("/proc/self").with_context(|| format!("cannot find out the owner of {}", place()))?.uid();
        ensure!(found.is_dir(), "{} is not a directory", place());
        ensure!(found.uid() == own, "{} belongs to another user", place());
        ensure!(found.mode() & 0o077 == 0, "{} is open to other users: chmod 700", place());
        let cache = Self(directory);
        cache.clean();
        Ok(cache)
    }

    /// Deletes what processes that were killed left behind: files that were not finished long ago.
    fn clean(&self) {
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_unfinished = name.rsplit_once(".cwasm.").is_some_and(|(_, process)| process.parse::<u32>().is_ok());
            let age = entry.metadata().and_then(|found| found.modified()).map(|modified| modified.elapsed());
            if is_unfinished && age.is_ok_and(|age| age.is_ok_and(|age| age > UNFINISHED)) {
                drop(std::fs::remove_file(entry.path()));
            }
        }
    }

    /// The directory to use if no flag names one: below `$XDG_CACHE_HOME`, else below `~/.cache`.
    pub(crate) fn default_directory() -> Option<PathBuf> {
        let below = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let home = below("XDG_CACHE_HOME").or_else(|| Some(below("HOME")?.join(".cache")))?;
        Some(home.join("accredit"))
    }

    /// Where it is.
    pub(crate) fn directory(&self) -> &Path {
        &self.0
    }

    /// The compiled component with this key. Its pages are read from the file when they are needed.
    pub(crate) fn find(&self, engine: &Engine, key: &str) -> Option<Component> {
        let path = self.0.join(key);
        if !path.exists() {
            return None;
        }
        // SAFETY: `open` made sure that only this user can write to the directory, and `insert` puts compiled components there only.
        #[expect(unsafe_code, reason = "compiled code can only be trusted, not checked")]
        let component = unsafe { Component::deserialize_file(engine, &path) };
        component.inspect_err(|error| eprintln!("accredit-host: cannot use {}: {error}", path.display())).ok()
    }

    /// Adds a compiled component. It is written to a file of its own and then renamed, so that readers find whole files only.
    pub(crate) fn insert(&self, key: &str, component: &Component) -> Result<()> {
        let compiled = component.serialize().map_err(|error| anyhow!("{error:#}"))?;
        let unfinished = self.0.join(format!("{key}.{}", std::process::id()));
        let written = write(&unfinished, &compiled).and_then(|()| std::fs::rename(&unfinished, self.0.join(key)));
        if written.is_err() {
            drop(std::fs::remove_file(&unfinished));
        }
        written.with_context(|| format!("cannot write to the cache directory {}", self.0.display()))
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    // Compiled code is run unchecked: a power cut must not leave a file with its name and without its content.
    file.sync_data()
}

/// The name of a wasm file's compiled form. It depends on the file's content, the compiler and its settings.
pub(crate) fn key(engine: &Engine, wasm: &[u8]) -> String {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    let mut digest = Sha256::new();
    digest.update(WASMTIME);
    digest.update(settings.finish().to_le_bytes());
    digest.update(wasm);
    hex(&digest.finalize()) + ".cwasm"
}

/// The bytes as lowercase hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// R80.
    #[test]
    fn only_unfinished_files_of_long_ago_are_deleted() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("cache");
        Cache::open(directory.clone()).unwrap();
        let old = SystemTime::now() - UNFINISHED - Duration::from_secs(1);
        let made = [("a.cwasm", old), ("a.cwasm.17", old), ("b.cwasm.17", SystemTime::now()), ("c.cwasm.x", old)];
        for (name, modified) in made {
            let file = std::fs::File::create(directory.join(name)).unwrap();
            file.set_modified(modified).unwrap();
        }
        Cache::open(directory.clone()).unwrap();
        let kept = made.map(|(name, _)| directory.join(name).exists());
        assert_eq!(kept, [true, false, true, true]);
    }
}
