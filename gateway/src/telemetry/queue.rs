//! The lines of the log that wait for the one thread that writes them.

use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::config::limits::gateway::{LOG_LINES, LOG_LINES_AT_ONCE};

/// Lines between those that log and the one that writes. Nobody who logs ever waits.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug)]
struct State {
    lines: VecDeque<Box<[u8]>>,
    /// Whether lines are being written that are no longer among `lines`.
    writing: bool,
}

impl Queue {
    /// Without lines.
    pub(super) const fn new() -> Self {
        let state = State { lines: VecDeque::new(), writing: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), emptied: Condvar::new() }
    }

    /// Queues a line, unless [`LOG_LINES`] wait already; whether it did.
    pub(super) fn offer(&self, line: &[u8]) -> bool {
        let line = Box::from(line);
        let mut state = self.state.lock();
        if state.lines.len() >= LOG_LINES {
            return false;
        }
        state.lines.push_back(line);
        drop(state);
        self.filled.notify_one();
        true
    }

    /// How many lines wait.
    pub(super) fn len(&self) -> usize {
        self.state.lock().lines.len()
    }

    /// Writes what waits, for ever, and as many lines at once as there are, since each write is a
    /// system call; calls `lose` for each line that could not be written with the others.
    pub(super) fn write_to(&self, out: &mut impl Write, lose: impl Fn()) {
        loop {
            let lines = self.next();
            if out.write_all(&lines.concat()).is_err() {
                lines.iter().for_each(|_| lose());
            }
        }
    }

    fn next(&self) -> Vec<Box<[u8]>> {
        let mut state = self.state.lock();
        state.writing = false;
        loop {
            if !state.lines.is_empty() {
                state.writing = true;
                let count = state.lines.len().min(LOG_LINES_AT_ONCE);
                return state.lines.drain(..count).collect();
            }
            self.emptied.notify_all();
            self.filled.wait(&mut state);
        }
    }

    /// Waits until all that was queued is written, at most `limit`; whether it is.
    pub(super) fn wait_until_empty(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock();
        while state.writing || !state.lines.is_empty() {
            if self.emptied.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read as _};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);
    const SOON: Duration = Duration::from_millis(20);

    #[test]
    fn a_reader_that_stalls_costs_lines_and_holds_nobody_up() {
        static QUEUE: Queue = Queue::new();
        let (mut reader, mut writer) = io::pipe().unwrap();
        thread::spawn(move || QUEUE.write_to(&mut writer, || ()));
        // A pipe holds 64 KiB: this fills it and the queue behind it.
        let line = [b'x'; 1024];
        let taken = (0..LOG_LINES * 4).filter(|_| QUEUE.offer(&line)).count();
        assert!((LOG_LINES..LOG_LINES * 2).contains(&taken), "{taken}");
        assert!(!QUEUE.wait_until_empty(SOON));
        let reading = thread::spawn(move || {
            let mut read = vec![0; taken * line.len()];
            reader.read_exact(&mut read).unwrap();
        });
        reading.join().unwrap();
        assert!(QUEUE.wait_until_empty(DEADLINE), "what was taken is written in the end");
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        static QUEUE: Queue = Queue::new();
        static LOST: AtomicUsize = AtomicUsize::new(0);
        let lose = || {
            LOST.fetch_add(1, Ordering::Relaxed);
        };
        assert!(QUEUE.offer(b"one") && QUEUE.offer(b"two"));
        thread::spawn(move || {
            let mut full: &mut [u8] = &mut [];
            QUEUE.write_to(&mut full, lose);
        });
        assert!(QUEUE.wait_until_empty(DEADLINE));
        assert_eq!(LOST.load(Ordering::Relaxed), 2);
    }
}
