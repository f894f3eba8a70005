//! `accredit-host` as a child process.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    Client, PATIENCE,
    process::{self, Signal},
    until,
};

/// One start at a time: the first compiles the components, the others find them in the cache.
static STARTING: Mutex<()> = Mutex::new(());

/// Where the logs of running hosts are, by their addresses.
static LOGS: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

fn logs() -> MutexGuard<'static, BTreeMap<String, PathBuf>> {
    LOGS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_log(path: &Path) -> String {
    fs::read(path).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
}

/// Shows the end of the log of the host at `host:port`, because of an answer that only the log can explain.
pub fn show_log(address: &str, what: &str) {
    let Some(path) = logs().get(address).cloned() else { return };
    eprintln!("--- {what}; the end of the log of {address} ---\n{}\n---", tail(&read_log(&path)));
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
}

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace around the tests").to_owned()
}

fn home_directory() -> TempDir {
    tempfile::Builder::new().prefix("accredit-tests-").tempdir().expect("a temporary directory")
}

fn from_environment(name: &str, otherwise: &str) -> PathBuf {
    std::env::var_os(name).map_or_else(|| root().join(otherwise), PathBuf::from)
}

/// The program.
pub fn program() -> PathBuf {
    from_environment("ACCREDIT_HOST_BIN", "target/native/accredit-host")
}

/// The manifest of Accredit.
pub fn manifest() -> PathBuf {
    from_environment("ACCREDIT_MANIFEST", "spin.toml")
}

/// Where the built components are.
pub fn wasm_directory() -> PathBuf {
    from_environment("ACCREDIT_TEST_WASM_DIR", "target/wasm32-wasip1/release")
}

/// A host that is about to be started.
pub struct Start {
    manifest: PathBuf,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    /// Shell commands before the host, such as limits that it inherits.
    before: String,
    program: PathBuf,
    home: TempDir,
}

impl Start {
    /// With the manifest at this path.
    pub fn new(manifest: impl Into<PathBuf>) -> Self {
        Self {
            manifest: manifest.into(),
            flags: Vec::new(),
            environment: Vec::new(),
            before: String::new(),
            program: program(),
            home: home_directory(),
        }
    }

    /// The component `trap` with this manifest, its state in the directory that it runs in.
    pub fn trap(manifest: &str) -> Self {
        let home = home_directory();
        let manifest = write_trap_manifest(home.path(), manifest);
        let state = home.path().join("state");
        Self { home, ..Self::new(manifest) }.flag("--state-dir", state)
    }

    /// Another copy of the program.
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = path.into();
        self
    }

    /// With one more flag.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: impl AsRef<Path>) -> Self {
        self.flags.extend([flag.to_owned(), value.as_ref().to_string_lossy().into_owned()]);
        self
    }

    /// With a flag that has no value.
    #[must_use]
    pub fn switch(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// With a variable.
    #[must_use]
    pub fn variable(self, name: &str, value: &str) -> Self {
        self.flag("--variable", format!("{name}={value}"))
    }

    /// With a variable of the environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// In a shell that has run these commands, such as limits that the host inherits.
    #[must_use]
    pub fn after(mut self, commands: &str) -> Self {
        self.before = format!("{commands}; ");
        self
    }

    /// The directory that the host will run in; it is gone when the host is.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    fn spawn(&self) -> Child {
        // The shell becomes the host: the process that we start is the one that we end.
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{}exec \"$0\" \"$@\"", self.before)])
            .arg(&self.program)
            .arg("--from")
            .arg(&self.manifest)
            .args(["--format", "json", "--quiet"])
            .args(&self.flags)
            .current_dir(self.home.path())
            // The files that a killed host leaves behind are deleted with its home.
            .env("TMPDIR", self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(self.home.path().join("stderr")).expect("a file for the log"));
        if !self.flags.iter().any(|flag| flag == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        // Without a home, each start would compile every component.
        if ["HOME", "XDG_CACHE_HOME"].iter().all(|name| std::env::var_os(name).is_none()) {
            command.env("XDG_CACHE_HOME", root().join("target/tmp"));
        }
        // Nothing from the environment of the tests.
        for (name, _) in std::env::vars() {
            if name.starts_with("SPIN_") || name == "RUNTIME_CONFIG_FILE" {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let host = &self.program;
        assert!(host.exists(), "{} is not there; cargo xtask build makes it", host.display());
        command.spawn().expect("a shell")
    }

    /// Starts it, and waits until it serves.
    pub fn run(self) -> Host {
        let turn = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = self.spawn();
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("a line of output");
        drop(turn);
        let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let metrics = said["metrics"].as_str().map(|url| url.trim_end_matches("/metrics").to_owned());
        let mut host = Host { child: Some(child), base_url: String::new(), metrics, home: self.home };
        let Some(base_url) = said["base_url"].as_str() else {
            panic!("the host did not start: {line:?}\n{}", host.log())
        };
        base_url.clone_into(&mut host.base_url);
        logs().insert(host.address().to_owned(), host.home.path().join("stderr"));
        host
    }

    /// Starts a host that cannot start; returns its output.
    pub fn fails(self) -> String {
        let mut child = self.spawn();
        let status = wait(&mut child);
        assert!(!status.success(), "it must not start");
        fs::read_to_string(self.home.path().join("stderr")).expect("its log")
    }
}

/// A running host; dropped, it is killed. Its log is shown when the test fails.
pub struct Host {
    child: Option<Child>,
    base_url: String,
    metrics: Option<String>,
    home: TempDir,
}

impl Host {
    /// Scheme, host and port.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        self.base_url.trim_start_matches("http://")
    }

    /// Asks it without a credential, and expects nothing that only Accredit answers.
    pub fn client(&self) -> Client {
        Client::plain(&self.base_url)
    }

    /// Asks it for its counters, if `--metrics` was set.
    pub fn metrics(&self) -> Client {
        Client::plain(self.metrics.as_deref().expect("the address of its counters"))
    }

    /// Its standard error so far.
    pub fn log(&self) -> String {
        read_log(&self.home.path().join("stderr"))
    }

    /// The directory that it runs in.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Kills it in the middle of whatever it is doing.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("to kill the host");
            child.wait().expect("to wait for the host");
        }
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        process::signal(self.id(), Signal::TERM);
    }

    /// Waits for it to end by itself.
    pub fn ended(&mut self) -> ExitStatus {
        wait(&mut self.child.take().expect("a running host"))
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// The memory that it holds now, in KiB.
    pub fn memory(&self) -> u64 {
        self.of_memory("VmRSS:")
    }

    /// The most memory that it has held so far, in KiB.
    pub fn peak_memory(&self) -> u64 {
        self.of_memory("VmHWM:")
    }

    fn of_memory(&self, name: &str) -> u64 {
        let id = self.child.as_ref().expect("a running host").id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("a system with /proc");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("its memory");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
        logs().remove(self.address());
        if thread::panicking() {
            eprintln!("--- the end of the log of {} ---\n{}\n---", self.base_url, tail(&self.log()));
        }
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    // Beyond what a clean stop may take.
    let limit = PATIENCE * 2;
    let start = std::time::Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("to wait for the host") {
            return status;
        }
        if start.elapsed() > limit {
            child.kill().expect("to kill the host");
            child.wait().expect("to wait for the host");
            panic!("the host did not end within {} s", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The manifest of the component `trap`, as the workspace has it.
pub fn trap_manifest() -> String {
    let path = root().join("tests/trap/spin.toml");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Writes a manifest of the component `trap` to `directory`, with its wasm where it was built, and its files.
pub fn write_trap_manifest(directory: &Path, text: &str) -> PathBuf {
    let wasm = wasm_directory().join("trap.wasm");
    let wasm =
        wasm.canonicalize().unwrap_or_else(|error| panic!("{}: {error}; cargo xtask test builds it", wasm.display()));
    let files = directory.join("files");
    fs::create_dir_all(&files).expect("a directory");
    for name in ["public.txt", "secret.txt"] {
        fs::copy(root().join("tests/trap/files").join(name), files.join(name)).expect("to copy a file");
    }
    let path = directory.join("spin.toml");
    let text = text.replace("../../target/wasm32-wasip1/release/trap.wasm", &wasm.to_string_lossy());
    fs::write(&path, text).expect("to write the manifest");
    path
}

/// Writes a copy of Accredit's manifest to `directory`, its wasm where it was built, and its pages beside it: files are mounted from
/// there alone. A folder `dist` beside it is handed out.
pub fn write_manifest(directory: &Path) -> PathBuf {
    let original = manifest().canonicalize().expect("the manifest of Accredit");
    let text = fs::read_to_string(&original).expect("the manifest of Accredit");
    let wasm = original.with_file_name("target/wasm32-wasip1/release");
    let path = directory.join("spin.toml");
    let text = text.replace("\"target/wasm32-wasip1/release/", &format!("\"{}/", wasm.display()));
    fs::write(&path, text).expect("to write the manifest");
    copy_all(&original.with_file_name("docs/agents"), &directory.join("docs/agents"));
    copy_all(&original.with_file_name("docs/reference"), &directory.join("docs/reference"));
    path
}

/// Copies what is in a directory.
fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.path() {
            directory if directory.is_dir() => copy_all(&directory, &to),
            file => drop(fs::copy(file, to).expect("to copy a file")),
        }
    }
}

/// Waits until the host's log holds a text.
#[track_caller]
pub fn until_logged(host: &Host, text: &str) {
    until(&format!("{text:?} in the host's log"), || host.log().contains(text).then_some(()));
}
