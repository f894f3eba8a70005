//! Packages of npm, of PyPI and of Debian that tests run, fetched once for each list of them, and programs of the machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use crate::host::root;

/// The programs of this machine that tests run, each with Debian's package. `cargo xtask test` installs them.
const PROGRAMS: &str = include_str!("../programs.txt");

/// The file of a program that tests run. A test that needs one which is not here fails: nothing is left out.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Programs of the system, rather than what stands for them in a person's PATH.
    let places = ["/usr/bin", "/bin"].map(PathBuf::from).into_iter().chain(std::env::split_paths(&path));
    let found = places.map(|place| place.join(name)).find(|path| path.is_file());
    let package = PROGRAMS.lines().filter_map(|line| line.split_once(' ')).find(|(program, _)| *program == name);
    let package = package.map_or("of that name", |(_, package)| package);
    found.unwrap_or_else(|| {
        panic!("no {name} here: `cargo xtask test` installs it; or install Debian's package {package}")
    })
}

/// Two tests of a process fetch one after the other.
static ONE: Mutex<()> = Mutex::new(());

/// The copy of a folder of `tests/` with the packages of its list, for this version of what runs them, below `cache`; `fetch` fetches them into
/// a new folder.
fn installed(cache: &Path, (folder, list): (&str, &str), version: &str, fetch: impl FnOnce(&Path)) -> PathBuf {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let source = root().join("tests").join(folder);
    let text = fs::read_to_string(source.join(list)).expect("a list of packages");
    let name = list.split(['.', '-']).next().unwrap_or_default();
    let home = cache.join(format!("{folder}-{name}-{:08x}", crc32fast::hash((text + version).as_bytes())));
    let copy = |to: &Path| {
        for entry in fs::read_dir(&source).expect("a folder of tests").flatten() {
            if entry.path().is_file() {
                copy_changed(&entry.path(), &to.join(entry.file_name()));
            }
        }
    };
    if !home.join("fetched").is_file() {
        let made = tempfile::tempdir_in(cache).expect("a folder for the packages");
        copy(made.path());
        fetch(made.path());
        fs::write(made.path().join("fetched"), "").expect("to write a file");
        // Another process may have been faster: then this one's folder is deleted.
        drop(fs::rename(made.path(), &home));
    }
    copy(&home);
    home
}

/// Copies a file that is another one there. What is the same is left alone: a program that another test has started may be reading it.
fn copy_changed(from: &Path, to: &Path) {
    let bytes = fs::read(from).expect("to read a file");
    if fs::read(to).ok().as_ref() != Some(&bytes) {
        fs::write(to, bytes).expect("to write a file");
    }
}

/// A folder of `tests/` with the packages of npm that its lock file names.
pub fn npm(cache: &Path, folder: &str) -> PathBuf {
    installed(cache, (folder, "package-lock.json"), "", |made| {
        let npm = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"])
            .current_dir(made)
            .status();
        let is_done = npm.as_ref().is_ok_and(|status| status.success());
        assert!(
            is_done,
            "npm ci failed ({npm:?}): this test needs node and npm, which `cargo xtask setup` installs, and fetches packages once"
        );
    })
}

/// A folder of `tests/` with the packages of PyPI that its `requirements.txt` names, in `packages`, for `PYTHONPATH`.
pub fn pypi(cache: &Path, folder: &str) -> PathBuf {
    // Some of them are compiled for one version of Python.
    let version = Command::new("python3").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    installed(cache, (folder, "requirements.txt"), &String::from_utf8_lossy(&version), |made| {
        // Debian's Python has no pip of its own, and no environment without the package python3-venv, which `cargo xtask test` installs.
        let venv = Command::new("python3").args(["-m", "venv", "venv"]).current_dir(made).status();
        let pip = Command::new(made.join("venv/bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", "packages"])
            .args(["-r", "requirements.txt"])
            .current_dir(made)
            .status();
        let is_done = pip.as_ref().is_ok_and(|status| status.success());
        assert!(
            is_done,
            "no packages ({venv:?}, {pip:?}): this test needs Python 3.10 or newer with venv, and fetches packages once"
        );
    })
}

/// The files of a package of Debian below `cache`, unpacked and not installed: a server that it has is not started.
pub fn debian(cache: &Path, package: &str) -> PathBuf {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let home = cache.join(format!("debian-{package}"));
    if !home.is_dir() {
        let made = tempfile::tempdir_in(cache).expect("a folder for the package");
        let script = "apt-get -qq download \"$0\" || { apt-get -qq update; apt-get -qq download \"$0\"; } && dpkg-deb -x \"$0\"_*.deb files";
        let run = Command::new("sh").args(["-c", script, package]).current_dir(made.path()).output();
        let is_done = run.as_ref().is_ok_and(|run| run.status.success());
        assert!(
            is_done,
            "no package {package} ({run:?}): this test fetches it once by apt-get, on Debian and its like"
        );
        // Another process may have been faster: then this one's files are deleted.
        drop(fs::rename(made.path().join("files"), &home));
    }
    home
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_the_same_is_not_written_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "one").expect("to write a file");
        copy_changed(&from, &to);
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        fs::File::options().write(true).open(&to).and_then(|file| file.set_modified(long_ago)).expect("to set a time");
        copy_changed(&from, &to);
        let modified = || fs::metadata(&to).and_then(|found| found.modified()).expect("its time");
        assert_eq!(modified(), long_ago);
        fs::write(&from, "two").expect("to write a file");
        copy_changed(&from, &to);
        assert_eq!(fs::read(&to).expect("to read a file"), b"two");
        assert_ne!(modified(), long_ago);
    }
}
