//! Lines of the host's own on stderr.

use std::fmt::Arguments;
use std::io::Write as _;

/// Writes a line to stderr. Where that fails, as on a full disk, the line is lost and the host goes on: `eprintln!` would end it.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::say::line(format_args!($($text)*))
    };
}

/// The line of [`say!`], as one piece.
pub(crate) fn line(text: Arguments<'_>) {
    // There is no other place to report it.
    drop(std::io::stderr().lock().write_all(format!("{text}\n").as_bytes()));
}
