//! Programs that tests start beside the host: clients, servers and commands of others.

use std::{
    ffi::OsStr,
    process::{Child, Command},
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, kill_process, kill_process_group, setrlimit};

pub use rustix::process::Signal;

/// A program that asks a host of the tests. No proxy stands between them, whatever the environment says.
pub fn asking(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("NO_PROXY", "*").env("no_proxy", "*");
    command
}

/// A running program; dropped, it is killed.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn pid(id: u32) -> Pid {
    i32::try_from(id).ok().and_then(Pid::from_raw).expect("the number of a process")
}

/// Sends a signal to the process with this number.
#[track_caller]
pub fn signal(id: u32, signal: Signal) {
    kill_process(pid(id), signal).expect("to signal a process");
}

/// Kills the processes of the group with this number, if any is left.
pub fn kill_group(id: u32) {
    _ = kill_process_group(pid(id), Signal::KILL);
}

/// Lets this process, and what it starts from now on, open as many files as the system lets it: many shells begin with 1,024.
pub fn raise_limit_of_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("to raise a limit");
}
