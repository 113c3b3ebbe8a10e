//! One stream of a log: its events, and who reads them.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

use crate::session::replay::{Caps, Event};

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) entries: VecDeque<Event>,
    /// Whether its events are in the store before they are read.
    pub(super) is_kept: bool,
    /// The last place before it was opened.
    pub(super) born: u64,
    /// Answers still owed; `None` on a stream that only its session ends.
    pub(super) owed: Option<usize>,
    /// The newest event that was pushed out.
    pub(super) lost: u64,
    /// How far former readers got.
    pub(super) read_to: u64,
    pub(super) reader: Option<Reader>,
    pub(super) ended: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) number: u64,
    pub(super) delivered: u64,
    /// The newest event when it began to read: what it catches up with is no delay of its own.
    pub(super) since: u64,
    pub(super) lagged: bool,
    pub(super) waker: Option<Waker>,
}

impl Stream {
    pub(super) fn new(owed: Option<usize>) -> Self {
        Self {
            entries: VecDeque::new(),
            is_kept: false,
            born: 0,
            owed,
            lost: 0,
            read_to: 0,
            reader: None,
            ended: None,
        }
    }

    pub(super) fn settle(&mut self, now: Instant) {
        if let Some(owed) = self.owed.as_mut() {
            *owed = owed.saturating_sub(1);
            if *owed == 0 {
                self.ended = Some(now);
            }
        }
    }

    /// Cuts the reader off when it is too far behind. What lies beyond `ripe` it had no time to
    /// read, and does not count.
    pub(super) fn cut_off_slow_reader(&mut self, caps: Caps, newest_bytes: usize, ripe: u64) {
        let Some(reader) = self.reader.as_mut() else { return };
        let from = reader.delivered.max(reader.since);
        let at = self.entries.partition_point(|event| event.seq <= from);
        let end = self.entries.partition_point(|event| event.seq <= ripe);
        let waiting = end.saturating_sub(at);
        if waiting <= 1 {
            return;
        }
        let due = self.entries.iter().skip(at).take(waiting);
        let bytes: usize = due.map(|event| event.text.len()).sum();
        let newest_bytes = if end == self.entries.len() { newest_bytes } else { 0 };
        reader.lagged |= waiting > caps.queue_events || bytes - newest_bytes > caps.queue_bytes;
    }

    /// Whether the oldest event may go: it is not the log's newest, and was read or has no reader.
    pub(super) fn front_is_spare(&self, newest: u64) -> bool {
        let Some(front) = self.entries.front() else { return false };
        let read = match &self.reader {
            Some(reader) => reader.lagged || front.seq <= reader.delivered,
            None => true,
        };
        read && front.seq != newest
    }
}
