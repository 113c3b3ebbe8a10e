//! Writing to the child: a bounded queue, and one task that writes batches.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Held;
use super::exit::Why;
use super::life::State;
use crate::config::limits::process::WRITE_BYTES;

/// Queues lines for the child's stdin. Clones feed the same queue.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::Sender<ByteString>,
    /// Lines queued so far; held while one is put in, so that tickets follow the queue's order.
    queued: Arc<Mutex<u64>>,
    held: Arc<Held>,
}

/// The place of a line among all lines queued for one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Why a line was not queued. The child has not seen any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue is full, and stayed full until the deadline if one was given.
    #[error("too many lines wait to be written to the process")]
    Full,
    /// The child has ended, is ending, or does not take input any more.
    #[error("the process takes no more input")]
    Closed,
}

impl Writer {
    pub(super) fn new(queue: mpsc::Sender<ByteString>, held: Arc<Held>) -> Self {
        Self { queue, queued: Arc::default(), held }
    }

    /// Queues one line, without its newline, when there is room.
    ///
    /// # Errors
    /// The queue is full, or the child takes no input. Neither way has the child seen the line.
    pub fn try_send(&self, line: ByteString) -> Result<(), SendError> {
        self.submit(line).map(|_ticket| ())
    }

    /// Queues one line as [`Writer::try_send`] does, and tells its place, for
    /// [`Writer::may_have_been_read`].
    ///
    /// # Errors
    /// As [`Writer::try_send`].
    pub fn submit(&self, line: ByteString) -> Result<Ticket, SendError> {
        let place = self.queue.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => SendError::Full,
            mpsc::error::TrySendError::Closed(()) => SendError::Closed,
        })?;
        Ok(self.put(place, line))
    }

    /// Queues one line, waiting for room up to `deadline`.
    ///
    /// # Errors
    /// As [`Writer::try_send`].
    ///
    /// # Cancel safety
    /// Cancel-safe: a line whose sending was dropped is not queued.
    pub async fn send(&self, line: ByteString, deadline: Duration) -> Result<Ticket, SendError> {
        match timeout(deadline, self.queue.reserve()).await {
            Ok(Ok(place)) => Ok(self.put(place, line)),
            Ok(Err(_closed)) => Err(SendError::Closed),
            Err(_elapsed) => Err(SendError::Full),
        }
    }

    /// Whether the child takes no input any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// How many lines wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Has every line dropped of which no byte was handed to the pipe yet: from here on
    /// [`Writer::may_have_been_read`] answers for good. What is half written is written out.
    pub fn seal(&self) {
        self.held.0.written.lock().sealed = true;
    }

    /// Whether any byte of the line was handed to the pipe. `false` once the child has ended, or
    /// after [`Writer::seal`], means that it surely never sees the line.
    #[must_use]
    pub fn may_have_been_read(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.held.0.written.lock().lines
    }

    fn put(&self, place: mpsc::Permit<'_, ByteString>, line: ByteString) -> Ticket {
        let mut queued = self.queued.lock();
        *queued += 1;
        place.send(line);
        Ticket(*queued)
    }
}

/// The task that moves lines from the queue to the pipe.
pub(super) struct Pump {
    stdin: ChildStdin,
    queue: mpsc::Receiver<ByteString>,
    state: Arc<State>,
    write_timeout: Duration,
    batch: BytesMut,
}

impl Pump {
    pub(super) fn new(
        stdin: ChildStdin,
        queue: mpsc::Receiver<ByteString>,
        state: Arc<State>,
        write_timeout: Duration,
    ) -> Self {
        Self { stdin, queue, state, write_timeout, batch: BytesMut::new() }
    }

    /// Runs until the child has ended, its stdin breaks, or, after `end`, the queue is empty.
    /// Dropping the pipe closes the child's stdin.
    pub(super) async fn run(mut self, end: CancellationToken) {
        let state = Arc::clone(&self.state);
        tokio::select! {
            biased;
            written = self.write_all(&end) => {
                if let Err(why) = written {
                    state.broken(why);
                }
            }
            _exit = state.exited() => {}
        }
    }

    async fn write_all(&mut self, end: &CancellationToken) -> Result<(), Why> {
        loop {
            let next = tokio::select! {
                biased;
                next = self.queue.recv() => next,
                () = end.cancelled() => {
                    // What is queued is still written: `recv` ends when the queue is empty.
                    self.queue.close();
                    self.queue.recv().await
                }
            };
            let Some(line) = next else { return Ok(()) };
            // Whoever else is about to send gets to: what they queue goes out in the same write.
            tokio::task::yield_now().await;
            self.write_batch(line).await?;
        }
    }

    /// Writes `line` and what else waits, up to [`WRITE_BYTES`], at once.
    async fn write_batch(&mut self, line: ByteString) -> Result<(), Why> {
        let mut lines = 0;
        let mut next = Some(line);
        while let Some(line) = next {
            lines += 1;
            append_line(&mut self.batch, &line);
            next = if self.batch.len() < WRITE_BYTES { self.queue.try_recv().ok() } else { None };
        }
        if !self.may_write(lines) {
            self.batch.clear();
            return Ok(());
        }
        let whole = self.batch.len();
        while self.batch.has_remaining() {
            let write = self.stdin.write_buf(&mut self.batch);
            match timeout(self.write_timeout, write).await {
                Ok(Ok(0) | Err(_)) => {
                    if self.batch.len() == whole {
                        // Nobody held the other end (POSIX write(), EPIPE): none of it was seen.
                        self.state.written.lock().lines -= lines;
                    }
                    return Err(Why::StdinClosed);
                }
                Ok(Ok(_some)) => {}
                Err(_elapsed) => return Err(Why::NotReading),
            }
        }
        if self.batch.capacity() > 2 * WRITE_BYTES {
            // A long line's buffer is given back: most children never see a second one.
            self.batch = BytesMut::new();
        }
        Ok(())
    }

    /// Counts lines before their first byte goes out, so that none is taken for unseen by mistake;
    /// `false` when they are to be dropped, because their senders were told that they are unseen.
    fn may_write(&self, lines: u64) -> bool {
        let mut written = self.state.written.lock();
        if !written.sealed {
            written.lines += lines;
        }
        !written.sealed
    }
}

/// Appends the line and its newline. A line break inside can only be white space between JSON
/// tokens (RFC 8259 section 7 has them escaped in strings); it would break the framing.
fn append_line(batch: &mut BytesMut, line: &str) {
    let line = line.as_bytes();
    batch.reserve(line.len() + 1);
    if line.contains(&b'\n') || line.contains(&b'\r') {
        let spaced = |&byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
        batch.extend(line.iter().map(spaced));
    } else {
        batch.put_slice(line);
    }
    batch.put_u8(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_spread_over_lines_becomes_one_line() {
        let mut batch = BytesMut::new();
        append_line(&mut batch, "{\"a\":\r\n\"\\n\"}");
        append_line(&mut batch, "{}");
        assert_eq!(&batch[..], b"{\"a\":  \"\\n\"}\n{}\n");
    }
}
