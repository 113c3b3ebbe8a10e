//! A session and its scribe: what is to be written, and what came of it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::session::Session;
use crate::session::id::{self, Holder};
use crate::session::keep::Keep;
use crate::session::keeping::Write;
use crate::session::replay::Log;
use crate::session::replay::kept::Due;
use crate::session::store::{Life, Record};

impl Session {
    /// What is to be written next, if nothing is under way.
    pub fn next_write(&self) -> Option<Write> {
        let kept = self.kept.as_ref()?;
        let due = self.log.lock().take_due()?;
        let mut estate = match due {
            Due::Page(page) => return Some(Write::Page(page)),
            Due::Whole(estate) => estate,
        };
        let agreement = self.agreement();
        estate.record = Record {
            transport: self.transport.name().to_owned(),
            server: kept.with.server.clone(),
            holder: Some(kept.with.holder),
            revision: agreement.as_ref().map(|it| it.revision.as_str().to_owned()),
            params: agreement.map(|it| it.params),
            is_ready: self.is_ready(),
            ..estate.record
        };
        let total = kept.with.life.total.saturating_sub(self.opened.elapsed());
        Some(Write::Whole(estate, Life { total, ..kept.with.life }))
    }

    /// What was sent at `sent` is written; the store said so in `term` of the lease, or later.
    pub fn confirm(&self, term: u64, sent: Instant) {
        if let Some(kept) = &self.kept {
            kept.term.fetch_max(term, Ordering::Relaxed);
            // Not when the answer came: the store may have forgotten it before that.
            let age = sent.saturating_duration_since(self.opened).as_nanos();
            let age = u64::try_from(age).unwrap_or(u64::MAX);
            kept.written_ns.store(age, Ordering::Relaxed);
        }
        self.wake(Log::confirm);
    }

    /// It is not known whether what was under way is written.
    pub fn fail(&self) {
        self.record(Keep::fail);
    }

    /// The store knows less than it was told, or nothing: everything is to be written.
    pub fn fall_behind(&self) {
        self.record(Keep::fall_behind);
    }

    /// The store forgot the session, and others may have owned it since: it goes on as that of an
    /// owner later than they were, and everything is written.
    pub fn renew(&self) {
        let Some(kept) = &self.kept else { return };
        let ahead = u64::from(u32::from_be_bytes(id::random()) >> 3);
        self.with_log(|log| {
            let mut tenure = kept.tenure.lock();
            *tenure = tenure.renewed();
            log.renew(&tenure, ahead);
        });
        self.fall_behind();
    }

    /// What is under way is not to be written again until it is known whether the store forgot the
    /// session; meanwhile readers are given everything.
    pub fn hold(&self) {
        self.record(Keep::hold);
        self.wake(Log::set_away);
    }

    /// When the store was told what it last said that it has of the session: no later than it had
    /// it, or a store that was emptied while the answer came would be thought to have ended it.
    pub fn written(&self) -> Instant {
        let written = self.kept.as_ref().map_or(0, |kept| kept.written_ns.load(Ordering::Relaxed));
        self.opened.checked_add(Duration::from_nanos(written)).unwrap_or(self.opened)
    }

    /// The store is away: readers are given everything, and nobody waits for it.
    pub fn set_away(&self) {
        self.wake(Log::set_away);
    }

    /// The store is back: what is said is read when it has it, once it has what was said before.
    pub fn come_back(&self) {
        self.record(Keep::come_back);
    }

    /// What is left of the time that it may last in any case, over all its owners; `None` where
    /// nobody else can have it.
    pub fn left(&self) -> Option<Duration> {
        let kept = self.kept.as_ref()?;
        Some(kept.with.life.total.saturating_sub(self.opened.elapsed()))
    }

    /// Whether it has lasted as long as a session may.
    pub fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// The store is to hear of the session.
    pub fn call_in(&self) {
        self.record(Keep::touch);
    }

    /// How long ago the store last heard of a session that was used since; zero for one that was
    /// not.
    pub fn unheard(&self) -> Duration {
        let written = self.written().elapsed();
        if self.is_kept() && self.idle() < written { written } else { Duration::ZERO }
    }

    /// How long the store has it without hearing of it.
    pub fn idle_in_store(&self) -> Duration {
        self.kept.as_ref().map_or(Duration::MAX, |kept| kept.with.life.idle)
    }

    /// Whose sessions it counts among, on all replicas.
    pub fn holder(&self) -> Option<Holder> {
        self.kept.as_ref().map(|kept| kept.with.holder)
    }

    /// Whether its client was heard of, or the store was told of it, since then.
    pub fn was_used_since(&self, then: Instant) -> bool {
        self.idle() <= then.elapsed() || self.written() >= then
    }
}
