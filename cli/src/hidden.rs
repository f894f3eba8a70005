//! What is typed without an echo. Whatever ends the program meanwhile, the terminal is left as it was: a shell that gets one without an echo
//! seems dead to its user.

use crate::fail::{Failure, of_file};

/// Asks in the terminal.
pub(crate) fn ask(what: &str) -> Result<String, Failure> {
    let modes = Modes::kept();
    let typed = rpassword::prompt_password(format!("{what}: "));
    if typed.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::Interrupted) {
        modes.interrupted();
    }
    typed.map_err(of_file("the terminal"))
}

#[cfg(unix)]
struct Modes {
    signals: Option<signal_hook::iterator::Handle>,
}

#[cfg(unix)]
impl Modes {
    /// Remembers how the terminal is, and makes it so again before a signal ends the program.
    fn kept() -> Self {
        use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
        use signal_hook::{
            consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM},
            iterator::Signals,
            low_level::emulate_default_handler,
        };
        let terminal = std::fs::File::open("/dev/tty");
        let modes = terminal.as_ref().ok().and_then(|terminal| tcgetattr(terminal).ok());
        let (Ok(terminal), Some(modes)) = (terminal, modes) else { return Self { signals: None } };
        let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]) else { return Self { signals: None } };
        let handle = signals.handle();
        std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                _ = tcsetattr(&terminal, OptionalActions::Now, &modes);
                _ = emulate_default_handler(signal);
            }
        });
        Self { signals: Some(handle) }
    }

    /// Ends the program as Ctrl-C does, which was typed.
    fn interrupted(&self) {
        if self.signals.is_some() {
            _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGINT);
        }
    }
}

#[cfg(unix)]
impl Drop for Modes {
    fn drop(&mut self) {
        if let Some(signals) = &self.signals {
            signals.close();
        }
    }
}

#[cfg(not(unix))]
struct Modes;

#[cfg(not(unix))]
impl Modes {
    fn kept() -> Self {
        Self
    }

    fn interrupted(&self) {}
}
