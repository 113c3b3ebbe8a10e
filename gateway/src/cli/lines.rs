//! The lines of standard input, one at a time, while something else is going on.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use crate::config::limits::gateway::PROBE_PATIENCE;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

/// Standard input.
#[derive(Debug)]
pub(super) struct Keyboard {
    lines: Lines<BufReader<Stdin>>,
    is_terminal: bool,
}

impl Keyboard {
    /// Begins to read.
    pub(super) fn open() -> Self {
        let lines = BufReader::new(tokio::io::stdin()).lines();
        Self { lines, is_terminal: io::stdin().is_terminal() }
    }

    /// Whether a person types.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// How long answers are waited for when there are no more lines: not at all when a person has
    /// ended it, a little when a program has said all it has to say.
    pub(super) fn patience(&self) -> Duration {
        if self.is_terminal { Duration::ZERO } else { PROBE_PATIENCE }
    }

    /// The next line that is not empty; `None` at the end.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped call loses nothing.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            match self.lines.next_line().await {
                Ok(Some(line)) if line.trim().is_empty() => {}
                Ok(line) => return line,
                Err(_unreadable) => return None,
            }
        }
    }
}
