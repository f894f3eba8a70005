//! A host as a child process: started, stopped, and gone with us whatever happens to us.

use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::command::ending;

/// The unit of /proc/<pid>/stat, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running host. Dropped, it is stopped.
pub(crate) struct Server {
    child: Child,
    pub(crate) base_url: String,
}

impl Server {
    /// Starts a host and waits until it says where it serves.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child = spawn(command)?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut server = Self { child, base_url: String::new() };
        let Some(base_url) = base_url(&mut BufReader::new(stdout))? else {
            bail!("the host did not start ({})", ending(server.child.wait()?));
        };
        server.base_url = base_url;
        Ok(server)
    }

    /// The most memory that it has held so far and what it holds now, in KB.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB"));
            value
                .and_then(|value| value.trim().parse().ok())
                .with_context(|| format!("no {name} in the status of the host"))
        };
        Ok((line("VmHWM:")?, line("VmRSS:")?))
    }

    /// The processor time that it has used so far, in µs: its own and the kernel's for it.
    pub(crate) fn processor_time(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Behind the name, which may hold anything: the state, then numbers; user and system time are the 12th and 13th of them.
        let (_, rest) = stat.rsplit_once(')').context("no name in the host's stat")?;
        let ticks = |at: usize| rest.split_whitespace().nth(at).and_then(|ticks| ticks.parse::<f64>().ok());
        let ticks =
            ticks(11).zip(ticks(12)).map(|(user, system)| user + system).context("no times in the host's stat")?;
        Ok(ticks * 1e6 / TICKS_PER_SECOND)
    }

    /// The number of files, and that of sockets, that it holds open.
    pub(crate) fn open_files(&self) -> Result<(usize, usize)> {
        let (mut files, mut sockets) = (0, 0);
        for entry in std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))? {
            // A file that was closed meanwhile does not count as a socket.
            let target = std::fs::read_link(entry?.path()).unwrap_or_default();
            let is_socket = target.to_string_lossy().starts_with("socket:");
            *(if is_socket { &mut sockets } else { &mut files }) += 1;
        }
        Ok((files, sockets))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        terminate(&self.child);
        let since = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if since.elapsed() > Duration::from_secs(15) {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A directory under the system's own that goes away with this value.
pub(crate) struct TemporaryState(PathBuf);

impl TemporaryState {
    pub(crate) fn new(name: &str) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("accredit-{name}-{}", std::process::id()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryState {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `accredit-host` for a manifest.
pub(crate) fn host(program: &Path, manifest: &Path, listen: &str, state: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--format", "json", "--listen", listen, "--from"]).arg(manifest).arg("--state-dir").arg(state);
    command
}

/// Starts a program that answers on its standard output, in a process group of its own: a Ctrl-C in the
/// terminal reaches us alone, and we pass on one signal.
pub(crate) fn spawn(command: &mut Command) -> Result<Child> {
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
    die_with_us(command);
    command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// Lets a child end with us, whatever happens to us.
pub(crate) fn die_with_us(command: &mut Command) {
    let parent = rustix::process::getpid();
    #[expect(unsafe_code, reason = "pre_exec is the one way to be followed into death by a child")]
    // SAFETY: between fork and exec the closure makes two system calls and nothing else: no allocation, no lock.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
            // The parent may have died before that call.
            if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
    }
}

/// Asks a child to stop. Its number is its own until we have waited for it.
pub(crate) fn terminate(child: &Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}

/// Waits for a line that says where a host serves: the JSON of `accredit-host`, or the text of Spin. `None` at the end of its output.
pub(crate) fn base_url(output: &mut BufReader<ChildStdout>) -> Result<Option<String>> {
    let mut line = String::new();
    while output.read_line(&mut line)? > 0 {
        if let Some(base_url) = base_url_in(&line) {
            return Ok(Some(base_url));
        }
        crate::ui::say(line.trim_end());
        line.clear();
    }
    Ok(None)
}

fn base_url_in(line: &str) -> Option<String> {
    let url = match line.trim().strip_prefix("Serving ") {
        Some(url) => url.to_owned(),
        None => serde_json::from_str::<Value>(line).ok()?.get("base_url")?.as_str()?.to_owned(),
    };
    url.starts_with("http").then(|| url.trim_end_matches('/').to_owned())
}

/// Whether a host that was asked to stop did so as it should.
pub(crate) fn stopped_well(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    status.success() || status.signal() == Some(Signal::TERM.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hosts_say_where_they_serve() {
        assert_eq!(
            base_url_in("{\"base_url\":\"http://127.0.0.1:3000/\"}\n").as_deref(),
            Some("http://127.0.0.1:3000")
        );
        assert_eq!(base_url_in("Serving http://127.0.0.1:3000\n").as_deref(), Some("http://127.0.0.1:3000"));
        assert_eq!(base_url_in("Serving nothing\n"), None);
        assert_eq!(base_url_in("Available Routes:\n"), None);
    }

    #[test]
    fn a_host_that_ends_at_once_is_an_error() {
        let error = Server::start(Command::new("sh").args(["-c", "exit 3"])).err().unwrap();
        assert_eq!(error.to_string(), "the host did not start (exit 3)");
    }

    #[test]
    fn a_dropped_server_is_stopped() {
        let server =
            Server::start(Command::new("sh").args(["-c", "echo '{\"base_url\":\"http://x\"}'; exec sleep 60"]))
                .unwrap();
        let (peak, now) = server.memory().unwrap();
        assert!(peak >= now && now > 0);
        let folder = PathBuf::from(format!("/proc/{}", server.child.id()));
        assert!(folder.exists());
        drop(server);
        assert!(!folder.exists());
    }
}
