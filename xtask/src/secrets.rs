//! The secrets that `up` makes at its first start and keeps in the state directory, readable by nobody else.
//!
//! The file is born 0600 in a 0700 directory, whole or not at all: it is written beside under another name
//! and then linked to its own, so that of two starts at once one wins and both use the same secrets.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ui::say;

/// The variables of `spin.toml` that get a value of 32 random bytes, base64url.
pub(crate) const KEPT: [&str; 4] = ["operator_secret", "audit_key", "secrets_key", "signing_key"];
const FILE: &str = "secrets.toml";
const HEADER: &str = "# Made by `cargo xtask up` at its first start. Every reader of this file can act as the operator.\n\
                      # Back it up, apart from the database: without audit_key the seals of its audit trail cannot be\n\
                      # verified, and without secrets_key the secrets of agents, webhooks and second factors\n\
                      # cannot be read.\n";

/// Variable → secret. Has no `Debug`: it is not to be printed by habit.
pub(crate) struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// Reads the secrets of a state directory; makes the directory and those of `wanted` that are missing.
    pub(crate) fn keep(state: &Path, wanted: &[&str]) -> Result<Self> {
        make_private_directory(state)?;
        let file = file_in(state);
        let old = read(&file)?;
        let mut secrets = old.clone().unwrap_or_default();
        for name in wanted {
            if !secrets.contains_key(*name) {
                secrets.insert((*name).to_owned(), generate()?);
            }
        }
        if old.as_ref() == Some(&secrets) || secrets.is_empty() {
            return Ok(Self(secrets));
        }
        let part = write_aside(&file, &secrets)?;
        let placed = if old.is_some() { fs::rename(&part, &file) } else { fs::hard_link(&part, &file) };
        if old.is_none() {
            fs::remove_file(&part)?;
        }
        match placed {
            Ok(()) => {
                // The name is to survive a loss of power like the content does.
                fs::File::open(state)?.sync_all()?;
                Ok(Self(secrets))
            }
            // Somebody else started at the same moment and was first: theirs count.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::keep(state, wanted),
            Err(error) => Err(error).with_context(|| format!("cannot write {}", file.display())),
        }
    }

    pub(crate) fn reveal(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// The file of a state directory.
pub(crate) fn file_in(state: &Path) -> PathBuf {
    state.join(FILE)
}

fn generate() -> Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Makes the directory 0700. One that is there and open to others is narrowed when it is ours alone: empty, or with our file in it.
fn make_private_directory(state: &Path) -> Result<()> {
    if !state.is_dir() {
        return DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state)
            .with_context(|| format!("cannot make {}", state.display()));
    }
    let metadata = fs::metadata(state)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    if state.join(FILE).exists() || fs::read_dir(state)?.next().is_none() {
        fs::set_permissions(state, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("{} is open to others (mode {mode:o}) and cannot be closed", state.display()))?;
        say(format_args!("{} was open to others (mode {mode:o}): now it is yours alone", state.display()));
    } else {
        say(format_args!(
            "warning: {} is open to others (mode {mode:o}), and the database will be in it: `chmod 700 {}`",
            state.display(),
            state.display()
        ));
    }
    Ok(())
}

/// `None` when there is no such file.
fn read(file: &Path) -> Result<Option<BTreeMap<String, String>>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let mode = fs::metadata(file)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
        say(format_args!(
            "warning: {} could be read by others (mode {mode:o}); now only you can, but others may have read it before",
            file.display()
        ));
    }
    match parse(&text) {
        Some(secrets) => Ok(Some(secrets)),
        // New ones in their place would break every audit seal made so far: leave that to a person.
        None => bail!(
            "{} is damaged: each line must be `name = \"value\"`. Restore it, or move it away to get new secrets",
            file.display()
        ),
    }
}

fn parse(text: &str) -> Option<BTreeMap<String, String>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once('=')?;
            let value = value.trim().strip_prefix('"')?.strip_suffix('"')?;
            let is_plain =
                !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
            is_plain.then(|| (name.trim().to_owned(), value.to_owned()))
        })
        .collect()
}

fn write_aside(file: &Path, secrets: &BTreeMap<String, String>) -> Result<PathBuf> {
    // A name of its own: two containers on one folder may have the same process id.
    let part = file.with_extension(format!("part-{}", generate()?));
    let mut text = HEADER.to_owned();
    for (name, value) in secrets {
        text.push_str(&format!("{name} = \"{value}\"\n"));
    }
    let mut open = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .with_context(|| format!("cannot write {}", part.display()))?;
    open.write_all(text.as_bytes())?;
    open.sync_all()?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that goes away with its test.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("accredit-xtask-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn secrets_are_made_once_and_for_nobody_else() {
        let state = Temporary::new("once");
        let first = Secrets::keep(&state.0, &KEPT).unwrap();
        let again = Secrets::keep(&state.0, &KEPT).unwrap();
        assert_eq!(first.reveal("operator_secret").unwrap().len(), 43);
        assert_ne!(first.reveal("operator_secret"), first.reveal("audit_key"));
        assert_eq!(first.0, again.0);
        assert_eq!((mode(&state.0), mode(&state.0.join(FILE))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&state.0).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn a_secret_that_is_given_from_outside_is_not_made_and_one_made_before_stays() {
        let state = Temporary::new("some");
        let some = Secrets::keep(&state.0, &["audit_key"]).unwrap();
        assert_eq!(some.reveal("operator_secret"), None);
        let all = Secrets::keep(&state.0, &KEPT).unwrap();
        assert_eq!(all.reveal("audit_key"), some.reveal("audit_key"));
        assert!(all.reveal("operator_secret").is_some());
    }

    #[test]
    fn starts_at_the_same_moment_use_the_same_secrets() {
        let state = Temporary::new("race");
        let all: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| Secrets::keep(&state.0, &KEPT).unwrap().0)).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        let kept = Secrets::keep(&state.0, &KEPT).unwrap().0;
        assert!(all.iter().all(|secrets| *secrets == kept));
    }

    #[test]
    fn what_is_open_to_others_is_closed() {
        let state = Temporary::new("open");
        Secrets::keep(&state.0, &KEPT).unwrap();
        fs::set_permissions(&state.0, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(state.0.join(FILE), fs::Permissions::from_mode(0o644)).unwrap();
        Secrets::keep(&state.0, &KEPT).unwrap();
        assert_eq!((mode(&state.0), mode(&state.0.join(FILE))), (0o700, 0o600));
    }

    #[test]
    fn a_directory_with_other_things_in_it_keeps_its_mode() {
        let state = Temporary::new("others");
        fs::create_dir_all(&state.0).unwrap();
        fs::set_permissions(&state.0, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(state.0.join("somebody's"), "").unwrap();
        Secrets::keep(&state.0, &KEPT).unwrap();
        assert_eq!((mode(&state.0), mode(&state.0.join(FILE))), (0o755, 0o600));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_stays_as_it_is() {
        let state = Temporary::new("damaged");
        Secrets::keep(&state.0, &KEPT).unwrap();
        for damaged in
            ["operator_secret = \"cut off", "operator_secret", "operator_secret = \"\"", "operator_secret = \"a\\\"b\""]
        {
            fs::write(state.0.join(FILE), damaged).unwrap();
            assert!(Secrets::keep(&state.0, &KEPT).is_err(), "{damaged}");
            assert_eq!(fs::read_to_string(state.0.join(FILE)).unwrap(), damaged);
        }
    }
}
