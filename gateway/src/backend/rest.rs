//! A process that nobody has used for a while is ended; the next call starts another one.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::backend::members::Members;
use crate::backend::server::Server;
use crate::backend::upstream::{Owner, Pipe, Upstream};
use crate::config::ServerKind;
use crate::session::Session;

/// Since when nothing was said on an upstream, and what becomes of its session while it rests.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// Messages either way.
    said: AtomicU64,
    quiet: Mutex<Option<Quiet>>,
    has_changed: AtomicBool,
    hibernated: AtomicBool,
    crash_counted: AtomicBool,
    refuge: OnceLock<Arc<Members>>,
}

/// When a number of messages was seen first.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    said: u64,
    since: Instant,
}

impl Rest {
    /// Notes a message.
    pub(super) fn stir(&self) {
        self.said.fetch_add(1, Ordering::Relaxed);
    }

    /// How long nothing was said, as far as those who asked before can tell.
    fn quiet(&self, now: Instant) -> Duration {
        let said = self.said.load(Ordering::Relaxed);
        let mut quiet = self.quiet.lock();
        let last = quiet.filter(|it| it.said == said).unwrap_or(Quiet { said, since: now });
        *quiet = Some(last);
        now.saturating_duration_since(last.since)
    }
}

impl Server {
    /// Ends processes that were not used for `idle_timeout`.
    pub fn rest(&self, now: Instant) {
        let ServerKind::Stdio(stdio) = &self.config.kind else { return };
        self.end_deserted();
        let Some(limit) = stdio.idle_timeout else { return };
        for upstream in self.upstreams() {
            let is_kept = stdio.prewarm && !matches!(upstream.owner, Owner::Session(..));
            if !is_kept && upstream.rest.quiet(now) >= limit && !upstream.is_awaited() {
                upstream.hibernate("nobody has used it for idle_timeout");
            }
        }
    }
}

impl Upstream {
    /// Ends it unless a call is in flight; the token fires when its process has ended. Who uses
    /// it next starts another one.
    pub(super) fn hibernate(self: &Arc<Self>, why: &str) -> Option<CancellationToken> {
        let Pipe::Stdio(pipe) = &self.pipe else { return None };
        // Under this lock a call either is in flight already or finds the upstream closed.
        let pending = self.pending.lock();
        if pending.in_flight() > 0 || self.why.set(why.to_owned()).is_err() {
            return None;
        }
        self.rest.hibernated.store(true, Ordering::Relaxed);
        self.closed.cancel();
        drop(pending);
        tracing::info!(server = self.facts.id, pid = pipe.process_id(), why, "process ends");
        pipe.close(&self.context);
        if let Owner::Session(session, _) = &self.owner {
            let session = session.upgrade().filter(|it| !it.closed().is_cancelled());
            session.iter().zip(self.rest.refuge.get()).for_each(|(it, refuge)| refuge.add(it));
        }
        // What it came to list with time, another process does not.
        if self.rest.has_changed.load(Ordering::Relaxed) {
            self.tell_lists_changed();
        }
        Some(pipe.gone().clone())
    }

    /// Whether it was ended because nobody used it.
    pub(super) fn is_hibernated(&self) -> bool {
        self.rest.hibernated.load(Ordering::Relaxed)
    }

    /// When its process ended by itself, to the first who asks: a crash is counted once.
    pub(super) fn take_crash(&self) -> Option<Instant> {
        let at = self.crashed()?;
        (!self.rest.crash_counted.swap(true, Ordering::Relaxed)).then_some(at)
    }

    /// Names the sessions among which its own is told of lists while it has no process.
    pub(super) fn set_refuge(&self, refuge: &Arc<Members>) {
        if self.rest.refuge.set(refuge.clone()).is_err() {
            tracing::debug!(server = self.facts.id, "a process was given away twice");
        }
    }

    /// The server said that one of its lists changed.
    pub(super) fn note_change(&self) {
        self.rest.has_changed.store(true, Ordering::Relaxed);
        match &self.owner {
            Owner::Lists(members) => members.note_change(),
            Owner::Session(..) | Owner::Shared(_) | Owner::Stateless => {}
        }
    }

    /// Whether a client waits for what the server may say unasked, or the server for a client.
    fn is_awaited(&self) -> bool {
        let is_subscribed = match &self.owner {
            Owner::Session(session, wishes) => {
                let session = session.upgrade().filter(|it| !it.closed().is_cancelled());
                session.is_some() && !wishes.uris().is_empty()
            }
            Owner::Shared(members) => members.has_subscribers(),
            Owner::Lists(_) | Owner::Stateless => false,
        };
        let asks = |it: &Arc<Session>| it.asks().lock().waits(self.number);
        is_subscribed || self.sessions().iter().any(asks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_begins_when_it_is_first_seen_and_anew_with_each_message() {
        let (rest, start) = (Rest::default(), Instant::now());
        let minute = Duration::from_secs(60);
        assert_eq!(rest.quiet(start), Duration::ZERO);
        assert_eq!(rest.quiet(start + minute), minute);
        rest.stir();
        assert_eq!(rest.quiet(start + minute), Duration::ZERO);
        assert_eq!(rest.quiet(start + 2 * minute), minute);
        assert_eq!(rest.quiet(start), Duration::ZERO, "a clock that went back");
    }
}
