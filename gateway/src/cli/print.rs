//! Writing for people. A reader that has gone away is not an error.

use std::io::{self, Write};

/// A line of a command's result.
pub(super) fn line(text: &str) {
    writeln!(io::stdout().lock(), "{text}").ok();
}

/// A line about something that is wrong, or that a result should not be mixed with.
pub(super) fn error(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}
