//! Compiled components, kept in files: those that this host compiled, and those that came with the program.

use std::fs::{DirBuilder, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, ModuleVersionStrategy};

/// The version of the compiler: other versions cannot use its code.
const WASMTIME: &str = "48.0.8";

/// What wasmtime writes into compiled code and compares when it loads some. By itself it takes code of each patch of a release.
pub(crate) fn version() -> ModuleVersionStrategy {
    ModuleVersionStrategy::Custom(WASMTIME.to_owned())
}

/// The folder beside the program with the components that were compiled ahead.
const AHEAD: &str = "compiled";

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
        ensure!(found.mode() & 0o022 == 0, "{} can be written to by other users: chmod 700", place());
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
        component.inspect_err(|error| say!("accredit-host: cannot use {}: {error}", path.display())).ok()
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

/// Components that came with the program, compiled ahead for machines like the one that made the archive.
///
/// They run as native code, unchecked. So they count only beside the program, which runs unchecked too, and only if nobody but the program's
/// owner can write them.
#[derive(Debug)]
pub(crate) struct Ahead {
    directory: PathBuf,
    /// The owner of the program.
    owner: u32,
}

impl Ahead {
    /// The folder beside the program, if there is one.
    pub(crate) fn beside_program() -> Option<Self> {
        // Where there is no /proc, as in a bare chroot, the path by which it was started must do.
        let by_path = || std::env::args_os().next().map(PathBuf::from).filter(|path| path.components().count() > 1);
        Self::beside(&std::env::current_exe().ok().or_else(by_path)?)
    }

    fn beside(program: &Path) -> Option<Self> {
        let owner = std::fs::metadata(program).ok()?.uid();
        let directory = program.parent()?.join(AHEAD);
        directory.is_dir().then_some(Self { directory, owner })
    }

    /// The compiled form of a wasm file with this digest. `None`: it was not compiled ahead. The error says why it cannot be used here: it was
    /// made for processors that can do more, for another version, or for other settings. Wasmtime compares all of these.
    pub(crate) fn find(&self, engine: &Engine, digest: &str) -> Option<Result<Component>> {
        let path = self.directory.join(ahead_name(digest));
        path.exists().then(|| self.load(engine, &path))
    }

    fn load(&self, engine: &Engine, path: &Path) -> Result<Component> {
        for place in [&self.directory, path] {
            let found = std::fs::symlink_metadata(place)?;
            ensure!(
                !found.is_symlink() && found.uid() == self.owner && found.mode() & 0o022 == 0,
                "{} can be written by others than the owner of the program",
                place.display()
            );
        }
        // SAFETY: nobody could write this file but the owner of the program that runs here.
        #[expect(unsafe_code, reason = "compiled code can only be trusted, not checked")]
        let component = unsafe { Component::deserialize_file(engine, path) };
        component.map_err(|error| anyhow!("{}: {error:#}", path.display()))
    }

    /// Writes the compiled form of a wasm file with this digest into a folder that may become one beside a program.
    pub(crate) fn write(folder: &Path, digest: &str, component: &Component) -> Result<()> {
        let path = folder.join(ahead_name(digest));
        let compiled = component.serialize().map_err(|error| anyhow!("{error:#}"))?;
        std::fs::write(&path, compiled).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// It does not depend on machine or settings: wasmtime says whether the content fits.
fn ahead_name(digest: &str) -> String {
    format!("{digest}.cwasm")
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    // Compiled code is run unchecked: a power cut must not leave a file with its name and without its content.
    file.sync_data()
}

/// The digest of a wasm file, in hexadecimal digits.
pub(crate) fn digest(wasm: &[u8]) -> String {
    hex(&Sha256::digest(wasm))
}

/// The name of the compiled form of a wasm file with this digest. It depends on the file's content, the compiler and its settings.
pub(crate) fn key(engine: &Engine, wasm: &str) -> String {
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
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::SystemTime;

    use wasmtime::Config;

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

    /// R162: code that was compiled ahead is used where it fits, and only if nobody but the owner of the program could write it.
    #[test]
    fn only_code_that_fits_and_that_nobody_else_could_write_is_used() {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("host");
        std::fs::write(&program, "").unwrap();
        assert!(Ahead::beside(&program).is_none());
        let folder = home.path().join("compiled");
        let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        DirBuilder::new().mode(0o755).create(&folder).unwrap();
        let mut config = Config::new();
        config.module_version(version()).unwrap();
        let (engine, wasm) = (Engine::new(&config).unwrap(), b"\0asm\x0d\0\x01\0");
        let (name, file) = (digest(wasm), folder.join(digest(wasm) + ".cwasm"));
        Ahead::write(&folder, &name, &Component::new(&engine, wasm).unwrap()).unwrap();
        mode(&file, 0o644);
        let ahead = Ahead::beside(&program).unwrap();
        assert!(ahead.find(&engine, &name).unwrap().is_ok());
        assert!(ahead.find(&engine, &digest(b"another")).is_none());
        let reason = |engine: &Engine| ahead.find(engine, &name).unwrap().map(drop).unwrap_err().to_string();
        let timed = Engine::new(config.epoch_interruption(true)).unwrap();
        assert!(reason(&timed).contains("epoch"), "{}", reason(&timed));
        for (path, open, closed) in [(&folder, 0o777, 0o755), (&folder, 0o775, 0o755), (&file, 0o646, 0o644)] {
            mode(path, open);
            assert!(reason(&engine).contains("can be written by others"));
            mode(path, closed);
        }
        let other = Ahead { owner: ahead.owner + 1, directory: folder.clone() };
        assert!(other.find(&engine, &name).unwrap().is_err());
        let bytes = std::fs::read(&file).unwrap();
        let place = bytes.windows(WASMTIME.len()).position(|part| part == WASMTIME.as_bytes()).unwrap();
        let mut older = bytes.clone();
        older[place] -= 1;
        for broken in [&older[..], &bytes[..bytes.len() / 2], b"", b"nothing"] {
            std::fs::write(&file, broken).unwrap();
            assert!(!reason(&engine).is_empty());
        }
        std::fs::write(home.path().join("elsewhere"), &bytes).unwrap();
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(home.path().join("elsewhere"), &file).unwrap();
        assert!(reason(&engine).contains("can be written by others"));
    }
}
