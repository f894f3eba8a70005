//! The messages for a person while something runs: all of them on standard error, so that standard output holds results only.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Instant;

/// One line on standard error. A closed standard error is no reason to stop.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// One line on standard output: a result.
pub(crate) fn out(line: impl Display) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Something that takes a while: says what it is at once, and at the end how long it took.
pub(crate) struct Step {
    what: String,
    since: Instant,
}

impl Step {
    pub(crate) fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        say(format_args!("==> {what} …"));
        Self { what, since: Instant::now() }
    }

    pub(crate) fn done(self) {
        say(format_args!("    {}: done in {:.1} s", self.what, self.since.elapsed().as_secs_f64()));
    }
}
