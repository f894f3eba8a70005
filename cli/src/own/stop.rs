//! The end of a verb that goes on until somebody ends it.

use std::time::Duration;

use crate::fail::Failure;

/// Tells when somebody ends it, by Ctrl-C or by the system. A verb that does not end soon is ended.
#[cfg(unix)]
pub(super) fn told(tell: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    use signal_hook::{
        consts::{SIGINT, SIGTERM},
        iterator::Signals,
    };
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(crate::fail::of_file("signals"))?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            tell();
            // The other thread may wait for a server that says nothing.
            std::thread::sleep(Duration::from_millis(500));
            std::process::exit(0);
        }
    });
    Ok(())
}

/// The system ends the program.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same on every system")]
pub(super) fn told(_: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    Ok(())
}
