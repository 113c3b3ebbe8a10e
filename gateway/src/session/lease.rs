//! How long this replica may rely on its sessions being its own.
//!
//! The store lets others claim them [`BEAT_TTL`](crate::config::limits::store::BEAT_TTL) after the
//! last sign of life. This side stops [`FENCE_AFTER`] after it, counted from before that sign was
//! sent, by a clock that nobody sets: a process that was stopped and goes on finds its lease over.
//! That clock may stand still while a whole machine is suspended. One that is woken learns from its
//! first write of each session, which the store refuses, that the session is another's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::limits::store::FENCE_AFTER;

/// The confirmation of a lease that never ends: that of a replica without a shared store.
const ALWAYS: u64 = u64::MAX;

/// When the store was asked to make a session ours: what is known of it later counts from then, for
/// the store may have forgotten it before its answer came.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The lease's term.
    pub term: u64,
    /// The moment.
    pub at: Instant,
}

/// This replica's lease.
#[derive(Debug)]
pub struct Lease {
    begun: Instant,
    /// When the last confirmed sign of life was sent, in milliseconds after `begun`, plus 1; 0
    /// before the first, and [`ALWAYS`].
    confirmed_ms: AtomicU64,
    term: AtomicU64,
}

impl Lease {
    /// One that nothing has confirmed yet.
    pub fn new(now: Instant) -> Self {
        Self { begun: now, confirmed_ms: AtomicU64::new(0), term: AtomicU64::new(0) }
    }

    /// One that needs no confirmation: nobody else knows these sessions.
    pub fn always() -> Self {
        let lease = Self::new(Instant::now());
        lease.confirmed_ms.store(ALWAYS, Ordering::Relaxed);
        lease
    }

    /// The store has confirmed a sign of life that was sent at `sent`. After a lapse a new term
    /// begins, in which each session is to be confirmed anew.
    pub fn confirm(&self, sent: Instant, now: Instant) {
        if !self.is_firm(now) {
            self.term.fetch_add(1, Ordering::Relaxed);
        }
        let sent = u64::try_from(self.since_begun(sent).as_millis()).unwrap_or(ALWAYS - 2);
        self.confirmed_ms.fetch_max(sent + 1, Ordering::Relaxed);
    }

    /// Whether calls may be taken in and sent.
    pub fn is_firm(&self, now: Instant) -> bool {
        match self.confirmed_ms.load(Ordering::Relaxed) {
            0 => false,
            ALWAYS => true,
            sent => {
                let sent = Duration::from_millis(sent - 1);
                self.since_begun(now).saturating_sub(sent) < FENCE_AFTER
            }
        }
    }

    /// The term: a session that was confirmed in an earlier one has to be confirmed again.
    pub fn term(&self) -> u64 {
        self.term.load(Ordering::Relaxed)
    }

    /// The moment at which the store is asked for a session.
    pub fn asking(&self) -> Asked {
        Asked { term: self.term(), at: Instant::now() }
    }

    fn since_begun(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_holds_from_before_its_sign_of_life_was_sent() {
        let start = Instant::now();
        let lease = Lease::new(start);
        assert!(!lease.is_firm(start));
        lease.confirm(start + SECOND, start + SECOND * 3);
        assert!(lease.is_firm(start + SECOND * 7));
        assert!(!lease.is_firm(start + SECOND + FENCE_AFTER));
    }

    #[test]
    fn a_lapse_begins_another_term_and_a_renewal_does_not() {
        let start = Instant::now();
        let lease = Lease::new(start);
        lease.confirm(start, start);
        let first = lease.term();
        lease.confirm(start + SECOND * 2, start + SECOND * 2);
        assert_eq!(lease.term(), first);
        let late = start + SECOND * 2 + FENCE_AFTER;
        lease.confirm(late, late);
        assert_eq!(lease.term(), first + 1);
        lease.confirm(start, late);
        assert!(lease.is_firm(late + SECOND), "an older answer takes nothing back");
    }

    #[test]
    fn a_replica_alone_needs_none() {
        let lease = Lease::always();
        assert!(lease.is_firm(Instant::now() + FENCE_AFTER * 2) && lease.term() == 0);
    }
}
