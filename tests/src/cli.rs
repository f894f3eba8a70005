//! The command `accredit` as a child process, in a home of its own and without anything of the tests' environment.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::{
    host::root,
    process::{self, Running, Signal},
    terminal::Terminal,
};

/// The program.
pub fn program() -> PathBuf {
    std::env::var_os("ACCREDIT_CLI_BIN").map_or_else(|| root().join("target/native/accredit"), PathBuf::from)
}

/// A user with a home, and the command in it.
pub struct Cli {
    home: TempDir,
    program: PathBuf,
    variables: Vec<(String, String)>,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// The exit status.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Cli {
    /// A user with an empty home and a server.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("accredit-home-").tempdir().expect("a temporary directory");
        Self { home, program: program(), variables: Vec::new() }
    }

    /// With a server.
    pub fn of(url: &str) -> Self {
        Self::new().variable("ACCREDIT_URL", url)
    }

    /// With one more variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another copy of the program.
    #[must_use]
    pub fn program(mut self, path: PathBuf) -> Self {
        self.program = path;
        self
    }

    /// The home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where its files are.
    pub fn folder(&self) -> PathBuf {
        self.home().join(".config/accredit")
    }

    /// The file of credentials; empty when there is none.
    pub fn saved(&self) -> String {
        std::fs::read_to_string(self.folder().join("credentials.json")).unwrap_or_default()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).env_clear().env("HOME", self.home()).current_dir(self.home());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end, with this as standard input.
    #[track_caller]
    pub fn fed(&self, input: &str, words: &[&str]) -> Ran {
        let mut child = self.command(words).stdin(Stdio::piped()).spawn().expect("the command accredit");
        // A command that reads nothing may have ended.
        drop(child.stdin.take().expect("its input").write_all(input.as_bytes()));
        Ran::of(child.wait_with_output().expect("its end"))
    }

    /// Runs a command to its end, with nothing to read.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).stdin(Stdio::null()).output().expect("the command accredit"))
    }

    /// Runs a line in a shell of this user, in which `accredit` is this program.
    #[track_caller]
    pub fn shell(&self, line: &str) -> Ran {
        let folder = self.program.parent().expect("a folder").display();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", line]).env_clear().env("HOME", self.home()).current_dir(self.home());
        shell.envs(self.variables.iter().map(|(name, value)| (name, value)));
        shell.env("PATH", format!("{folder}:/usr/bin:/bin"));
        Ran::of(shell.stdin(Stdio::null()).output().expect("a shell"))
    }

    /// Runs a command with this file as standard output.
    pub fn run_into(&self, file: File, words: &[&str]) -> i32 {
        let status = self.command(words).stdin(Stdio::null()).stdout(file).status().expect("the command accredit");
        status.code().unwrap_or(-1)
    }

    /// Starts a command that goes on until it is ended.
    #[track_caller]
    pub fn started(&self, words: &[&str]) -> Started {
        let mut child = self.command(words).stdin(Stdio::null()).spawn().expect("the command accredit");
        let lines = BufReader::new(child.stdout.take().expect("its output"));
        Started { child: Running(child), lines, said: String::new() }
    }

    /// Starts a command in a terminal with so many columns.
    #[track_caller]
    pub fn in_terminal(&self, columns: u16, words: &[&str]) -> Terminal {
        Terminal::start(&self.command(words), columns)
    }

    /// Starts a command that waits for somebody to approve a code, and reads the code.
    #[track_caller]
    pub fn waiting(&self, words: &[&str]) -> Waiting {
        let mut child = self.command(words).stdin(Stdio::null()).spawn().expect("the command accredit");
        let mut lines = BufReader::new(child.stderr.take().expect("its errors"));
        let mut shown = String::new();
        while !shown.contains("compare the code") {
            let read = lines.read_line(&mut shown).expect("a line");
            assert!(read > 0, "it ended without a code: {shown}");
        }
        let code = shown.split("compare the code").nth(1).unwrap_or_default().trim().to_owned();
        let rest = thread::spawn(move || {
            let mut rest = String::new();
            drop(lines.read_to_string(&mut rest));
            rest
        });
        Waiting { child, code, shown, rest }
    }
}

/// A command that goes on until it is ended.
pub struct Started {
    child: Running,
    lines: BufReader<ChildStdout>,
    /// What was read of standard error.
    said: String,
}

impl Started {
    /// Reads its output up to this line.
    #[track_caller]
    pub fn until(&mut self, wanted: &str) {
        let mut read = String::new();
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).expect("a line") > 0, "it ended before {wanted:?}: {read}");
            if line.trim_end() == wanted {
                return;
            }
            read.push_str(&line);
        }
    }

    /// The next line of its output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).expect("a line") > 0, "it ended");
        line.trim_end().to_owned()
    }

    /// Reads standard error up to a line that has this.
    #[track_caller]
    pub fn until_said(&mut self, wanted: &str) {
        let errors = self.child.0.stderr.as_mut().expect("its errors");
        while !self.said.contains(wanted) {
            let mut byte = [0];
            assert!(errors.read(&mut byte).expect("a byte") > 0, "it ended before {wanted:?}: {}", self.said);
            self.said.push(byte[0].into());
        }
    }

    /// Stops it for a while.
    pub fn pause(&self) {
        process::signal(self.child.0.id(), Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        process::signal(self.child.0.id(), Signal::CONT);
    }

    /// Waits for its end: the exit status, and standard error.
    #[track_caller]
    pub fn ended(mut self) -> (i32, String) {
        let mut err = self.said;
        drop(self.child.0.stderr.take().expect("its errors").read_to_string(&mut err));
        (self.child.0.wait().expect("its end").code().unwrap_or(-1), err)
    }

    /// Sends it a signal, and waits for its end.
    #[track_caller]
    pub fn signalled(mut self, signal: Signal) -> i32 {
        process::signal(self.child.0.id(), signal);
        self.child.0.wait().expect("its end").code().unwrap_or(-1)
    }
}

/// A command that waits for an approval.
pub struct Waiting {
    child: Child,
    /// The user code.
    pub code: String,
    /// What it has shown.
    pub shown: String,
    rest: thread::JoinHandle<String>,
}

impl Waiting {
    /// Waits for its end.
    pub fn ended(self) -> Ran {
        let output = self.child.wait_with_output().expect("its end");
        let err = self.shown + &self.rest.join().expect("its errors");
        Ran { err, ..Ran::of(output) }
    }
}

impl Ran {
    /// Of a program that has ended.
    pub fn of(output: std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn is(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
