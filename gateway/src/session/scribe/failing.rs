//! Writes that the store did not answer: which are tried again when, and what that says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::config::limits::store::{
    FAILING_WAIT_MAX, RETRY_EVERY, WRITE_BYTES, WRITE_BYTES_EACH, WRITE_BYTES_LEAST,
};
use crate::session::id::SessionKey;

/// Writes that were not answered.
#[derive(Default)]
pub(super) struct Failing {
    /// The sessions whose last write it was; when each is tried again, and the wait until then.
    waits: BTreeMap<SessionKey, (Instant, Duration)>,
    /// Those of them whose writes failed since any other's succeeded.
    row: BTreeSet<SessionKey>,
    /// By how much fewer bytes than [`WRITE_BYTES`] are to be under way.
    short: usize,
}

impl Failing {
    /// A write was answered.
    pub(super) fn note_success(&mut self, key: SessionKey) {
        self.row.clear();
        self.waits.remove(&key);
        self.short = self.short.saturating_sub(WRITE_BYTES_EACH * 64);
    }

    /// One was not; those of how many sessions were not in succession.
    pub(super) fn note_miss(&mut self, key: SessionKey, now: Instant) -> usize {
        let wait = self.waits.get(&key).map_or(RETRY_EVERY, |(_, wait)| *wait * 2);
        let wait = wait.min(FAILING_WAIT_MAX);
        self.waits.insert(key, (now + wait, wait));
        self.row.insert(key);
        self.short += (self.room_bytes() - WRITE_BYTES_LEAST) / 2;
        self.row.len()
    }

    /// How many bytes may be under way.
    pub(super) fn room_bytes(&self) -> usize {
        WRITE_BYTES - self.short.min(WRITE_BYTES - WRITE_BYTES_LEAST)
    }

    /// The sessions to be tried again; each is said once.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<SessionKey> {
        let mut due = Vec::new();
        for (key, (at, wait)) in &mut self.waits {
            if *at <= now {
                due.push(*key);
                // Until it is answered or not, nobody tries it again.
                *at = now + FAILING_WAIT_MAX.max(*wait);
            }
        }
        due
    }

    /// Forgets a session that is gone.
    pub(super) fn leave(&mut self, key: SessionKey) {
        self.waits.remove(&key);
        self.row.remove(&key);
    }
}
