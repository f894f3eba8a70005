//! The access log: one line of JSON for each request from outside, written by a thread of its own.
//!
//! A line has what a request was answered with, and of the request its method and the pattern of its route alone: no path, query, header
//! or address, so no secret can be in it. A log that is too slow loses lines, and says how many, but holds no request up.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Lines that may wait for the disk.
const WAITING: usize = 8192;
/// How long the end of the host waits for the last lines.
const END: Duration = Duration::from_secs(2);

/// One request.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    /// When its head had arrived.
    pub(crate) time: String,
    pub(crate) method: &'a str,
    /// The pattern of the application's route, or else of the manifest's. `None`: no route has this path.
    pub(crate) route: Option<&'a str>,
    pub(crate) component: Option<&'a str>,
    pub(crate) status: u16,
    /// Microseconds until the response began, or the client went away.
    pub(crate) us: u64,
    /// Bytes of its body that were sent.
    pub(crate) bytes: u64,
    pub(crate) request_id: Option<&'a str>,
}

/// Where lines go. Cheap to call.
pub(crate) struct AccessLog {
    sender: SyncSender<Message>,
    lost: AtomicU64,
    /// Another program has moved the file away.
    is_moved: Arc<AtomicBool>,
}

enum Message {
    Line(String),
    Reopen,
    End(SyncSender<()>),
}

enum Target {
    Stdout,
    File(PathBuf, File),
}

impl AccessLog {
    /// Opens the file, or the standard output as `-`, and starts the thread.
    pub(crate) fn open(name: &Path) -> Result<Self> {
        let target = match name.to_str() {
            Some("-") => Target::Stdout,
            _ => Target::File(name.to_owned(), append(name)?),
        };
        let (sender, receiver) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("access log".to_owned());
        let log = Self { sender, lost: AtomicU64::new(0), is_moved: Arc::default() };
        let is_moved = log.is_moved.clone();
        thread
            .spawn(move || write(&receiver, target, &is_moved))
            .context("cannot start the thread of the access log")?;
        Ok(log)
    }

    pub(crate) fn write(&self, line: &Line<'_>) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let mut text = String::new();
        if lost > 0 {
            text = format!("{{\"time\":\"{}\",\"lost\":{lost}}}\n", line.time);
        }
        text.push_str(&serde_json::to_string(line).unwrap_or_default());
        text.push('\n');
        if self.sender.try_send(Message::Line(text)).is_err() {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }

    /// Opens the file anew: another program has moved it away.
    pub(crate) fn reopen(&self) {
        self.is_moved.store(true, Ordering::Release);
        // Where there is no room for it, the thread is awake.
        drop(self.sender.try_send(Message::Reopen));
    }

    /// Waits until the lines so far are written, but not for long.
    pub(crate) fn end(&self) {
        let (until, (done, ended)) = (Instant::now() + END, sync_channel(1));
        let mut message = Message::End(done);
        while let Err(refused) = self.sender.try_send(message) {
            match refused {
                TrySendError::Full(again) if Instant::now() < until => message = again,
                _ => return,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        _ = ended.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

fn append(name: &Path) -> Result<File> {
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(name);
    opened.with_context(|| format!("cannot write the access log {}", name.display()))
}

fn write(receiver: &Receiver<Message>, mut target: Target, is_moved: &AtomicBool) {
    let mut has_failed = false;
    let mut buffer = Vec::new();
    while let Ok(first) = receiver.recv() {
        let (mut next, mut ended) = (Some(first), None);
        // What waits is written at once.
        while let Some(message) = next {
            match message {
                Message::Line(line) => buffer.extend_from_slice(line.as_bytes()),
                Message::Reopen => {
                    flush(&mut buffer, &mut target, &mut has_failed);
                    follow(&mut target, is_moved);
                }
                Message::End(done) => ended = Some(done),
            }
            next = receiver.try_recv().ok();
        }
        flush(&mut buffer, &mut target, &mut has_failed);
        // The message may have had no room.
        follow(&mut target, is_moved);
        if let Some(done) = ended {
            _ = done.send(());
        }
    }
}

/// Opens the file anew, if it was moved.
fn follow(target: &mut Target, is_moved: &AtomicBool) {
    if let (true, Target::File(name, file)) = (is_moved.swap(false, Ordering::AcqRel), target) {
        match append(name) {
            Ok(new) => *file = new,
            Err(error) => say!("accredit-host: {error:#}"),
        }
    }
}

fn flush(buffer: &mut Vec<u8>, target: &mut Target, has_failed: &mut bool) {
    let bytes = std::mem::take(buffer);
    let written = match target {
        Target::Stdout => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&bytes).and_then(|()| stdout.flush())
        }
        Target::File(_, file) => file.write_all(&bytes),
    };
    match written {
        Ok(()) => *has_failed = false,
        // Said once, until it works again.
        Err(error) if !std::mem::replace(has_failed, true) => {
            say!("accredit-host: the access log cannot be written, lines are lost: {error}");
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(method: &str) -> Line<'_> {
        let time = "2026-11-26T23:00:00.000Z".to_owned();
        Line { time, method, route: None, component: None, status: 404, us: 5, bytes: 0, request_id: Some("a\"b") }
    }

    /// R151.
    #[test]
    fn lines_are_whole_and_a_moved_file_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (file, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let log = AccessLog::open(&file).unwrap();
        log.write(&line("GET"));
        log.end();
        let text = std::fs::read_to_string(&file).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&read["route"], &read["us"], &read["request_id"]),
            (&serde_json::Value::Null, &5.into(), &"a\"b".into())
        );
        std::fs::rename(&file, &moved).unwrap();
        log.reopen();
        log.write(&line("PUT"));
        log.end();
        assert!(std::fs::read_to_string(&file).unwrap().contains("PUT"));
        assert_eq!(std::fs::read_to_string(&moved).unwrap().lines().count(), 1);
        let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().unwrap());
        assert_eq!(mode & 0o777, 0o600);
        assert!(AccessLog::open(&folder.path().join("none/log")).is_err());
    }

    /// R151.
    #[test]
    fn a_log_that_is_behind_opens_a_moved_file_anew_too() {
        let folder = tempfile::tempdir().unwrap();
        let (file, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let (sender, receiver) = sync_channel(1);
        let log = AccessLog { sender, lost: AtomicU64::new(0), is_moved: Arc::default() };
        let target = Target::File(file.clone(), append(&file).unwrap());
        // No more has room.
        log.write(&line("GET"));
        std::fs::rename(&file, &moved).unwrap();
        log.reopen();
        let is_moved = log.is_moved.clone();
        drop(log);
        write(&receiver, target, &is_moved);
        assert!(std::fs::read_to_string(&moved).unwrap().contains("GET"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
    }
}
