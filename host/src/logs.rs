//! The output of components: whole lines on the host's stderr, each after its component's id.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// A longer line is split, in bytes.
const LINE: usize = 8 * 1024;

/// One instance's stdout or stderr. Clones share it; when the last one is dropped, it prints an unfinished line.
#[derive(Clone)]
pub(crate) struct Log(Arc<Lines>);

struct Lines {
    component: Arc<str>,
    unfinished: Mutex<Vec<u8>>,
}

impl Log {
    /// An output of the component with this id.
    pub(crate) fn new(component: Arc<str>) -> Self {
        Self(Arc::new(Lines { component, unfinished: Mutex::default() }))
    }

    fn push(&self, text: &[u8]) {
        let mut unfinished = self.0.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(LINE) {
                unfinished.extend_from_slice(part);
                if unfinished.ends_with(b"\n") || unfinished.len() >= LINE {
                    self.0.print(&unfinished);
                    unfinished.clear();
                }
            }
        }
    }
}

impl Lines {
    /// Writes at once, and synchronously, so that the last lines of an instance that traps are not lost.
    fn print(&self, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let whole = [b"[", self.component.as_bytes(), b"] ", line, b"\n"].concat();
        // If stderr fails, there is no other place to report it.
        drop(std::io::stderr().lock().write_all(&whole));
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let unfinished = std::mem::take(self.unfinished.get_mut().unwrap_or_else(PoisonError::into_inner));
        if !unfinished.is_empty() {
            self.print(&unfinished);
        }
    }
}

impl IsTerminal for Log {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Log {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Log {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, text: &[u8]) -> Poll<std::io::Result<usize>> {
        self.push(text);
        Poll::Ready(Ok(text.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Log {
    async fn ready(&mut self) {}
}

impl OutputStream for Log {
    fn write(&mut self, text: Bytes) -> StreamResult<()> {
        self.push(&text);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LINE)
    }
}
