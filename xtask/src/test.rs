//! `cargo xtask test`: builds what the tests start, runs them all, and ends with one line that counts them.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufRead as _, BufReader};
use std::ops::AddAssign;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::command::{self, ending};
use crate::ui::{out, say};
use crate::workspace::Workspace;
use crate::{browser, build, dist, programs, schemathesis};

/// How long a run of tests may print nothing. Compiling prints nothing here, and takes minutes on a cold machine; a test that takes more than
/// a minute is named by its runner.
const SILENCE: Duration = Duration::from_secs(25 * 60);

/// How many tests passed, failed and were left out.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// Builds, then tests; `filter` is a part of the names of the tests to run. A failure does not stop what comes after it.
pub(crate) fn run(filter: Option<&str>) -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut total = Count::default();
    let mut names = BTreeSet::new();
    let mut tell = |what: &str, result: Result<(Count, BTreeSet<String>)>| {
        let (count, failed) = result.unwrap_or_else(|error| {
            say(format_args!("error: {error:#}"));
            // Tests that could not even start are a failure.
            (Count { failed: 1, ..Count::default() }, BTreeSet::from([format!("({what})")]))
        });
        total += count;
        names.extend(failed);
    };

    // First the tests that need no wasm: the quickest answer.
    let mut native = workspace.native_packages();
    native.extend(["reference", "seed", "accredit-cli"].into_iter().filter(|package| workspace.has(package)));
    for packages in [vec!["xtask"], native] {
        let mut cargo = cargo_test(&workspace, &packages, filter);
        tell(&packages.join(" "), count(&mut cargo, &mut io::stdout()));
    }
    if workspace.has("accredit-host") {
        let mut cargo = cargo_test(&workspace, &["accredit-host"], filter);
        cargo.args(["--profile", "native"]);
        tell("accredit-host", count(&mut cargo, &mut io::stdout()));
    }
    if workspace.has("tests") {
        tell("tests", over_http(&workspace, filter));
    }
    if filter.is_none_or(|filter| browser::has_any(&workspace, filter)) {
        tell("tests of the pages in a browser", in_a_browser(&workspace, filter));
    }

    if !names.is_empty() {
        say("\nfailed:");
        for name in &names {
            say(format_args!("    {name}"));
        }
    }
    let is_empty = filter.is_none() && total.passed == 0;
    if is_empty {
        say("no test has run");
    }
    out(total)?;
    Ok(if total.failed > 0 || is_empty { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The tests that talk HTTP with real wasm on the real host.
fn over_http(workspace: &Workspace, filter: Option<&str>) -> Result<(Count, BTreeSet<String>)> {
    build::components(workspace, &workspace.components())?;
    // By a call of their own: built together, what the tests' components ask of the SDK would go into the others too.
    build::components(workspace, &workspace.test_components())?;
    let host = build::host(workspace)?;
    let cli = build::native(workspace, "accredit-cli", "accredit")?;
    // A provider of identities from npm is one of the servers that they start. A filter may leave its tests out, so nothing is installed
    // for one. Without node they say so.
    if filter.is_none()
        && let Err(error) = browser::ensure()
    {
        say(format_args!("{error:#}"));
    }
    // A test that runs a program which is missing here fails, and says so.
    if let Err(lacking) = programs::ensure() {
        say(lacking);
    }
    let mut cargo = cargo_test(workspace, &["tests"], filter);
    // The same for a client that knows the OpenAPI document.
    if filter.is_none_or(|filter| "whatever_is_sent_an_answer_is_one_that_is_described".contains(filter)) {
        match schemathesis::ensure(workspace) {
            Ok(program) => drop(cargo.env("ACCREDIT_SCHEMATHESIS", program)),
            Err(error) => say(format_args!("{error:#}")),
        }
    }
    cargo
        .env("ACCREDIT_HOST_BIN", host)
        .env("ACCREDIT_XTASK", std::env::current_exe()?)
        .env("ACCREDIT_DIST", release(workspace, filter)?)
        .env("ACCREDIT_CLI_BIN", cli)
        .env("ACCREDIT_MANIFEST", workspace.manifest())
        .env("ACCREDIT_TEST_WASM_DIR", workspace.wasm_folder());
    count(&mut cargo, &mut io::stdout())
}

/// The CLI as a server hands it out, for the tests that install it: built as it is released. A filter gets the program of the other tests,
/// packed, and so does a machine that cannot build a release.
fn release(workspace: &Workspace, filter: Option<&str>) -> Result<PathBuf> {
    let folder = workspace.target.join("release-of-tests");
    if filter.is_none() {
        match dist::run(false, Some(&folder)) {
            Ok(()) => return Ok(folder),
            Err(error) => say(format_args!("no release can be built here: {error:#}")),
        }
    }
    dist::run(true, Some(&folder))?;
    Ok(folder)
}

/// The pages, in Chromium. Where it or its packages cannot be had, that is a failure.
fn in_a_browser(workspace: &Workspace, filter: Option<&str>) -> Result<(Count, BTreeSet<String>)> {
    build::components(workspace, &workspace.components())?;
    let host = build::host(workspace)?;
    build::native(workspace, "accredit-cli", "accredit")?;
    let mut node = browser::tests(workspace, &host, filter)?;
    node.env("ACCREDIT_DIST", release(workspace, filter)?);
    say("==> node --test (tests of the pages in a browser) …");
    count(&mut node, &mut io::stdout())
}

fn cargo_test(workspace: &Workspace, packages: &[&str], filter: Option<&str>) -> Command {
    let mut cargo = command::cargo();
    cargo.current_dir(&workspace.root).args(["test", "--no-fail-fast"]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    cargo.args(filter);
    say(format_args!("==> cargo test {} …", packages.join(" ")));
    cargo
}

/// Runs `cargo test`, or what writes results in the same way, passes on what it prints, and counts; also the names of those that failed.
/// One that is silent for too long is ended, and is a failure: what waits for ever must not take all other results with it.
fn count(cargo: &mut Command, shown: &mut impl io::Write) -> Result<(Count, BTreeSet<String>)> {
    count_within(cargo, shown, SILENCE)
}

fn count_within(
    cargo: &mut Command,
    shown: &mut impl io::Write,
    silence: Duration,
) -> Result<(Count, BTreeSet<String>)> {
    let program = cargo.get_program().to_string_lossy().into_owned();
    let mut child =
        cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {program}"))?;
    let output = child.stdout.take().context("no standard output")?;
    let (send, lines) = mpsc::channel();
    // Never waited for: what was ended may have left somebody who still holds the pipe.
    thread::spawn(move || {
        // By bytes: a test may print bytes that are not UTF-8.
        let mut output = BufReader::new(output);
        loop {
            let mut line = Vec::new();
            match output.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if send.send(line).is_err() => return,
                Ok(_) => {}
            }
        }
    });
    let mut count = Count::default();
    let mut failed = BTreeSet::new();
    let mut was_ended = false;
    loop {
        match lines.recv_timeout(silence) {
            Ok(line) => {
                shown.write_all(&line)?;
                let text = String::from_utf8_lossy(&line);
                count += counted(&text).unwrap_or_default();
                failed.extend(failed_test(&text));
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                say(format_args!("{program} has printed nothing for {} s: ended", silence.as_secs()));
                command::kill_with_descendants(&mut child);
                was_ended = true;
                break;
            }
        }
    }
    let status = child.wait()?;
    // One that was ended may still say that all is well: what it waited for was killed before it.
    if was_ended || (!status.success() && count.failed == 0) {
        // It did not compile, or a test took the whole process with it.
        count.failed += 1;
        failed.insert(format!("(a run of {program} that did not finish: {})", ending(status)));
    }
    Ok((count, failed))
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; …` → the numbers.
fn counted(line: &str) -> Option<Count> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |what: &str| numbers.split(';').find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok());
    Some(Count { passed: number("passed")?, failed: number("failed")?, skipped: number("ignored")? })
}

/// `test some::name ... FAILED` → the name.
fn failed_test(line: &str) -> Option<String> {
    Some(line.strip_prefix("test ")?.trim_end().strip_suffix(" ... FAILED")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_a_run_are_counted() {
        let line =
            "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.02s\n";
        assert_eq!(counted(line), Some(Count { passed: 12, failed: 2, skipped: 1 }));
        assert_eq!(counted("test secrets::tests::a_name ... ok\n"), None);
    }

    #[test]
    fn failed_tests_are_named() {
        assert_eq!(failed_test("test a::b ... FAILED\n").as_deref(), Some("a::b"));
        assert_eq!(failed_test("test a::b ... ok\n"), None);
    }

    #[test]
    fn the_last_line_names_skipped_tests_only_when_there_are_any() {
        assert_eq!(Count { passed: 3, failed: 0, skipped: 0 }.to_string(), "3 passed, 0 failed");
        assert_eq!(Count { passed: 3, failed: 1, skipped: 2 }.to_string(), "3 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn a_run_that_breaks_off_counts_as_a_failure() {
        let (count, names) = count(
            Command::new("sh")
                .args(["-c", "echo 'test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured'; exit 101"]),
            &mut io::sink(),
        )
        .unwrap();
        assert_eq!(count, Count { passed: 3, failed: 1, skipped: 0 });
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn a_run_that_says_nothing_any_more_is_ended_with_all_that_it_started() {
        let mut shown = Vec::new();
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 1000 & echo $!; echo 'test result: ok. 3 passed; 0 failed; 0 ignored'; wait"]);
        let (count, names) = count_within(&mut shell, &mut shown, Duration::from_secs(2)).unwrap();
        assert_eq!((count, names.len()), (Count { passed: 3, failed: 1, skipped: 0 }, 1));
        let shown = String::from_utf8(shown).unwrap();
        let child = shown.lines().next().unwrap();
        // A signal takes a moment, and somebody else reaps it.
        let lives = || std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while lives() {
            assert!(std::time::Instant::now() < end, "{child} lives on");
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn output_that_is_no_text_is_passed_on_and_counted_around() {
        let mut shown = Vec::new();
        let (count, _) = count(
            Command::new("sh")
                .args(["-c", "printf '\\377\\n'; echo 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured'"]),
            &mut shown,
        )
        .unwrap();
        assert_eq!(count.passed, 1);
        assert!(shown.starts_with(b"\xff\ntest result"));
    }
}
