//! The tests of the pages in a real browser: what they need on this machine, and how they are started.
//!
//! Node runs the files of `tests/browser`, which start the host and Debian's Chromium. The packages from npm are pinned by their lock file
//! and lie below the target folder.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::command::{self, on_path, output_of};
use crate::debian;
use crate::ui::{Step, say};
use crate::workspace::Workspace;

/// The oldest Node that the packages take.
const OLDEST_NODE: (u32, u32) = (20, 19);
/// The longest that a file of tests may take. Each test in it has a bound of its own.
const MOST: Duration = Duration::from_secs(40 * 60);
/// Its flags are Debian's, and so is the name.
const CHROMIUM: &str = "chromium";

/// What is missing on this machine, each with Debian's package that has it.
fn missing() -> Vec<(&'static str, String)> {
    let mut missing = Vec::new();
    match output_of("node", &["--version"]) {
        Some(line) if version(&line).is_some_and(|found| found >= OLDEST_NODE) => {}
        Some(line) => {
            missing.push(("nodejs", format!("node is {line}; {}.{} or newer is needed", OLDEST_NODE.0, OLDEST_NODE.1)))
        }
        None => missing.push(("nodejs", "no node".to_owned())),
    }
    if on_path("npm").is_none() {
        missing.push(("npm", "no npm".to_owned()));
    }
    if chromium().is_none() {
        missing.push((CHROMIUM, "no chromium".to_owned()));
    }
    missing
}

/// `v20.20.2` → (20, 20).
fn version(line: &str) -> Option<(u32, u32)> {
    let mut numbers = line.strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The browser: `ACCREDIT_CHROMIUM`, or the one on `PATH`.
fn chromium() -> Option<PathBuf> {
    std::env::var_os("ACCREDIT_CHROMIUM").map(PathBuf::from).or_else(|| on_path(CHROMIUM))
}

/// Installs node, npm and Chromium where they are missing. The error says what the tests of the pages lack.
pub(crate) fn ensure() -> Result<()> {
    let lacking = missing();
    if lacking.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = lacking.iter().map(|(package, _)| *package).collect();
    let refused = debian::install(&packages).err();
    let still = missing();
    if still.is_empty() {
        return Ok(());
    }
    bail!(advice(&still, refused.as_deref()))
}

fn advice(lacking: &[(&str, String)], refused: Option<&str>) -> String {
    let whats: Vec<&str> = lacking.iter().map(|(_, what)| what.as_str()).collect();
    let packages: Vec<&str> = lacking.iter().map(|(package, _)| *package).collect();
    let refused = refused.map(|why| format!(" ({why})")).unwrap_or_default();
    format!(
        "the tests of the pages cannot run here: {}{refused}. Install {}, or set ACCREDIT_CHROMIUM to a Chromium",
        whats.join(", "),
        packages.join(", ")
    )
}

/// For `cargo xtask setup`: whether all is there; with `only_check` nothing is installed.
pub(crate) fn setup(only_check: bool) -> bool {
    let outcome = if only_check && !missing().is_empty() { Err(advice(&missing(), None)) } else { prepare() };
    match outcome {
        Ok(()) => say("ok       node and chromium (tests of the pages)"),
        Err(why) => {
            say(format_args!("missing  {why}"));
            return false;
        }
    }
    true
}

fn prepare() -> std::result::Result<(), String> {
    let all = || {
        ensure()?;
        packages(&Workspace::load()?)
    };
    all().map(drop).map_err(|error| format!("{error:#}"))
}

/// The folder with the packages of the lock file, which are fetched when it has changed.
fn packages(workspace: &Workspace) -> Result<PathBuf> {
    let (from, folder) = (source(workspace), workspace.target.join("browser").join("packages"));
    let lock = fs::read(from.join("package-lock.json")).context("no lock file")?;
    let kept = folder.join("fetched.json");
    if fs::read(&kept).is_ok_and(|kept| kept == lock) {
        return Ok(folder);
    }
    let step = Step::begin("npm ci (packages of the browser tests)");
    fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(from.join(file), folder.join(file))?;
    }
    let mut npm = Command::new("npm");
    npm.current_dir(&folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
    command::run(&mut npm).context("the packages of the tests of the pages cannot be fetched from npm")?;
    fs::write(&kept, lock)?;
    step.done();
    Ok(folder)
}

fn source(workspace: &Workspace) -> PathBuf {
    workspace.root.join("tests").join("browser")
}

/// The files with tests.
fn files(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(source(workspace)).context("no tests of the pages")?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().ends_with(".test.mjs")).collect();
    files.sort();
    Ok(files)
}

/// Whether one of the tests has this in its name: only then browser and packages are asked for.
pub(crate) fn has_any(workspace: &Workspace, filter: &str) -> bool {
    let texts = files(workspace).unwrap_or_default().into_iter().filter_map(|path| fs::read_to_string(path).ok());
    "browser".contains(filter) || texts.into_iter().any(|text| has_name(&text, filter))
}

/// Whether a text of a test has a test with this in its name.
fn has_name(text: &str, filter: &str) -> bool {
    let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("test("));
    names.into_iter().any(|name| name.split(", ").next().is_some_and(|name| name.contains(filter)))
}

/// Node with the tests; it writes results as `cargo test` does. The host and the components are built.
pub(crate) fn tests(workspace: &Workspace, host: &Path, filter: Option<&str>) -> Result<Command> {
    ensure()?;
    let packages = packages(workspace)?;
    let mut node = Command::new("node");
    let reporter = format!("--test-reporter={}", source(workspace).join("reporter.mjs").display());
    node.current_dir(source(workspace)).args(["--test", &reporter, &format!("--test-timeout={}", MOST.as_millis())]);
    if let Some(filter) = filter.filter(|filter| !"browser".contains(*filter)) {
        node.arg(format!("--test-name-pattern={}", pattern(filter)));
    }
    let screenshots: OsString = workspace.target.join("browser").join("screenshots").into();
    node.args(files(workspace)?)
        .env("ACCREDIT_HOST_BIN", host)
        .env("ACCREDIT_MANIFEST", workspace.manifest())
        .env("ACCREDIT_NODE_PACKAGES", packages)
        .env("ACCREDIT_SCREENSHOTS", screenshots)
        .env("ACCREDIT_CHROMIUM", chromium().context("no chromium")?);
    Ok(node)
}

/// A regular expression for a text.
fn pattern(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() || c == ' ' { c.to_string() } else { format!("\\{c}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_tells_its_version() {
        assert_eq!(version("v20.20.2"), Some((20, 20)));
        assert_eq!(version("20"), None);
    }

    #[test]
    fn a_filter_finds_tests_by_their_names() {
        let text = "  test(\"one agent is stopped by a click\", () => x(\"keyboard\"));\n";
        assert!(has_name(text, "stopped by"));
        assert!(!has_name(text, "keyboard"));
        assert_eq!(pattern("a.b (c)"), "a\\.b \\(c\\)");
    }

    #[test]
    fn the_advice_says_what_is_missing_and_what_helps() {
        let text =
            advice(&[("nodejs", "no node".to_owned()), ("chromium", "no chromium".to_owned())], Some("no apt-get"));
        for part in ["cannot run", "no node, no chromium", "no apt-get", "nodejs, chromium", "ACCREDIT_CHROMIUM"] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}
