//! Reading from the child: its lines, and its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::time::{Instant, sleep_until};
use wire::lines::{Line, Lines};

use super::Held;
use super::exit::{Exit, Why};
use crate::config::limits::process::{LEFTOVER_GRACE, READ_BYTES};

/// Reads the child's stdout, line by line.
#[derive(Debug)]
pub struct Reader {
    /// Gone when the pipe has ended.
    stdout: Option<ChildStdout>,
    lines: Lines,
    buffer: BytesMut,
    /// When to give up on what may still be in the pipe; set once the child has ended.
    leftover_end: Option<Instant>,
    held: Arc<Held>,
}

/// What came from the child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// One line, without its line break; it is never empty. Nothing else was checked.
    Line(Bytes),
    /// A line beyond the limit, thrown away; the next one is read as usual.
    TooLong {
        /// How it begins, up to 4 KiB.
        head: Bytes,
        /// How long it was, in bytes.
        length: u64,
    },
    /// The child has ended; a line it had begun is dropped. Comes again when asked again.
    Closed(Exit),
}

impl Reader {
    pub(super) fn new(stdout: ChildStdout, line_limit: usize, held: Arc<Held>) -> Self {
        Self {
            stdout: Some(stdout),
            lines: Lines::new(line_limit),
            buffer: BytesMut::new(),
            leftover_end: None,
            held,
        }
    }

    /// Waits for the next line, or for the end of the child.
    ///
    /// The end of the leader is the end, even when a process it left behind holds the pipe open;
    /// what is in the pipe by then is read. A leader that closes stdout and lives on is killed.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Incoming {
        loop {
            match self.lines.next() {
                Some(Line::Text(line)) => return Incoming::Line(line),
                Some(Line::TooLong { head, length }) => return Incoming::TooLong { head, length },
                None => {}
            }
            self.held.0.in_long_line.store(self.lines.is_dropping(), Ordering::Relaxed);
            let Some(stdout) = &mut self.stdout else {
                return Incoming::Closed(self.held.0.exited().await);
            };
            if self.leftover_end.is_none() && self.held.0.exit().is_some() {
                self.leftover_end = Some(Instant::now() + LEFTOVER_GRACE);
            }
            self.buffer.reserve(READ_BYTES);
            let state = &self.held.0;
            let leftover_end = self.leftover_end;
            let read = tokio::select! {
                biased;
                () = passed(leftover_end) => Ok(0),
                read = stdout.read_buf(&mut self.buffer) => read,
                // Without a deadline yet, the end sets one in the next round.
                _exit = state.exited(), if leftover_end.is_none() => continue,
            };
            match read {
                Ok(0) | Err(_) => {
                    self.stdout = None;
                    state.broken(Why::StdoutClosed);
                }
                Ok(_some) => {
                    self.lines.push(&self.buffer);
                    self.buffer.clear();
                }
            }
        }
    }
}

/// Waits until the instant, for ever when there is none.
async fn passed(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
