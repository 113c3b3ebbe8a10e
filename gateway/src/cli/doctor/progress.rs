//! What is being looked at, on a terminal.

use std::io::{self, IsTerminal as _, Write as _};

/// A line on standard error that is overwritten by the next.
#[derive(Debug)]
pub(super) struct Progress {
    is_shown: bool,
}

impl Progress {
    pub(super) fn new(is_json: bool) -> Self {
        let seen = io::stderr().is_terminal() && io::stdout().is_terminal();
        Self { is_shown: seen && !is_json }
    }

    /// Something is looked at.
    pub(super) fn show(&self, what: &str) {
        if self.is_shown {
            // Who does not see it misses nothing.
            write!(io::stderr().lock(), "\r\u{1b}[Klooking at {what} …\r").ok();
        }
    }

    /// Nothing is.
    pub(super) fn clear(&self) {
        if self.is_shown {
            write!(io::stderr().lock(), "\r\u{1b}[K").ok();
        }
    }
}
