//! A session's part in being kept: what it hands the scribe, and who waits until that is written.

mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Instant;

use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;
use wire::id::Id;
use wire::refusal::Refusal;

use crate::config::limits::store::{BEAT_EVERY, FENCE_AFTER, KEEP_WAIT};
use crate::session::Session;
use crate::session::id::{Holder, SessionKey};
use crate::session::keep::Keep;
use crate::session::lease::{Asked, Lease};
use crate::session::replay::{Log, StreamTag};
use crate::session::store::{Estate, Life, Page};
use crate::session::tenure::Tenure;
use crate::session::transport::Transport;

/// Where sessions say that they have something to be written down.
pub trait Desk: Send + Sync {
    /// The session under `key` has; it says so once until that is taken.
    fn put(&self, key: SessionKey);
}

/// What a session in a shared store is kept with.
#[derive(Clone)]
pub struct Keeping {
    /// Whose it is at first, and since when.
    pub tenure: Tenure,
    /// Its server, or `None` for all servers as one.
    pub server: Option<String>,
    /// Whose sessions it counts among.
    pub holder: Holder,
    /// How long it may last from here on.
    pub life: Life,
    /// When the store was asked to make it ours.
    pub asked: Asked,
    /// How long this replica may rely on its being ours.
    pub lease: Arc<Lease>,
    /// Who writes.
    pub desk: Arc<dyn Desk>,
}

/// What is to be written of a session next.
#[derive(Debug)]
pub enum Write {
    /// What is new.
    Page(Page),
    /// Everything.
    Whole(Box<Estate>, Life),
}

impl Write {
    /// How many bytes it takes to write, about.
    pub fn weight(&self) -> usize {
        match self {
            Self::Page(page) => page.weight(),
            Self::Whole(estate, _) => estate.weight(),
        }
    }
}

/// The state of a session that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    with: Keeping,
    tenure: Mutex<Tenure>,
    term: AtomicU64,
    /// When the store last heard of it, counted from its opening.
    written_ns: AtomicU64,
    is_disowned: AtomicBool,
    is_handed_on: AtomicBool,
    settled: Notify,
}

impl Kept {
    pub(super) fn new(with: Keeping) -> Self {
        Self {
            term: AtomicU64::new(with.asked.term),
            tenure: Mutex::new(with.tenure.clone()),
            with,
            written_ns: AtomicU64::new(0),
            is_disowned: AtomicBool::new(false),
            is_handed_on: AtomicBool::new(false),
            settled: Notify::new(),
        }
    }

    /// What is known once enough was written, given up or answered.
    async fn learn<T>(&self, known: impl Fn() -> Option<T>) -> T {
        loop {
            let settled = self.settled.notified();
            let mut settled = std::pin::pin!(settled);
            settled.as_mut().enable();
            if let Some(known) = known() {
                return known;
            }
            settled.await;
        }
    }
}

impl Session {
    /// Whether other replicas can take the session over.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Whose it is, and since when; `None` where nobody else can have it.
    pub fn tenure(&self) -> Option<Tenure> {
        self.kept.as_ref().map(|kept| kept.tenure.lock().clone())
    }

    /// The lease's term in which the store last confirmed that the session is ours; 0 where nobody
    /// else can have it.
    pub fn term(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.term.load(Ordering::Relaxed))
    }

    /// What the layers above noted under `name` for a successor.
    pub fn note(&self, name: &str) -> Option<ByteString> {
        self.log.lock().keeping()?.notes().get(name).cloned()
    }

    /// Notes something for a successor, or with `None` takes it away. Without effect in a session
    /// that has none.
    pub fn set_note(&self, name: &str, note: Option<ByteString>) {
        self.record(|keep| keep.set_note(name, note));
    }

    /// Whether what is said on `stream` is in the store before it is read.
    pub fn is_stream_kept(&self, stream: StreamTag) -> bool {
        self.is_kept() && self.log.lock().is_kept(stream)
    }

    /// Keeps `stream`, and waits until it and the calls it owes are in the store. Returns at once
    /// in a session that is not kept, and in time when the store is away.
    ///
    /// # Cancel safety
    /// Safe: the stream is kept from the first poll on.
    pub async fn keep(&self, stream: StreamTag) {
        self.start_keeping(stream);
        self.kept().await;
    }

    /// As [`keep`](Self::keep), without the wait. Returns where the stream's reader began and
    /// stands since its events were named anew.
    pub(super) fn start_keeping(&self, stream: StreamTag) -> Option<(u64, u64)> {
        self.kept.as_ref()?;
        self.with_log(|log| {
            // Under the log's lock, so that a call that ends meanwhile ends after it was noted.
            let calls = self.calls.lock().owed_on(stream);
            log.keep(stream, &calls)
        })
    }

    /// Waits until everything that was begun and said so far on kept streams is in the store; not
    /// longer than a store takes that answers, and not at all when it is away.
    ///
    /// # Cancel safety
    /// Safe: nothing depends on it.
    pub async fn kept(&self) {
        let Some(kept) = &self.kept else { return };
        let Some(said) = self.log.lock().keeping().map(|keep| keep.said()) else { return };
        let waits = |keep: &mut Keep| keep.is_waited_for(said);
        let known = || (!self.log.lock().keeping().is_some_and(waits)).then_some(());
        if timeout(KEEP_WAIT, kept.learn(known)).await.is_err() {
            tracing::debug!(session = %self.key, "a page was not written in time");
        }
    }

    /// Waits until everything that was said so far is in the store; false when it is away, or takes
    /// so long that another replica may claim the session as it was before.
    ///
    /// # Cancel safety
    /// Safe: nothing depends on it.
    pub async fn is_in_store(&self) -> bool {
        let Some(kept) = &self.kept else { return true };
        let Some(said) = self.log.lock().keeping().map(|keep| keep.said()) else { return true };
        let look = |keep: &mut Keep| (keep.is_lost(), keep.has(said), keep.is_away());
        let sure = |may_be_away: bool| {
            let (is_lost, is_kept, is_away) = self.log.lock().keeping().map(look)?;
            let is_lost = is_lost || self.is_disowned();
            (is_lost || is_kept || is_away && !may_be_away).then_some(is_kept && !is_lost)
        };
        // One that is back again may count as away until the next write.
        if let Ok(is_kept) = timeout(KEEP_WAIT, kept.learn(|| sure(true))).await {
            return is_kept;
        }
        timeout(FENCE_AFTER, kept.learn(|| sure(false))).await.unwrap_or(false)
    }

    /// Whether requests that came in just now, answers to which are owed on a kept stream, may be
    /// acknowledged: the store has them, so their end is heard of even if this replica is lost.
    /// While the store is away, if their end is heard of here: once they have ended, lasted for
    /// long, or a server asks the client something, whose answer may wait for this.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn receipt(&self, ids: &[Id]) -> bool {
        let Some(kept) = &self.kept else { return true };
        let Some(said) = self.log.lock().keeping().map(|keep| keep.said()) else { return true };
        let is_heard = || self.is_listening() || kept.with.lease.is_firm(Instant::now());
        let known = || {
            let look = |keep: &mut Keep| (keep.is_lost(), keep.has(said), keep.is_away());
            let (is_lost, is_kept, is_away) = self.log.lock().keeping().map(look)?;
            let is_lost = is_lost || self.is_disowned();
            let is_done = || !ids.iter().any(|id| self.is_in_flight(id)) || self.is_asked();
            (is_lost || is_kept || (is_away && is_heard() && is_done())).then_some(!is_lost)
        };
        let begun = Instant::now();
        let in_time = timeout(FENCE_AFTER, kept.learn(known)).await;
        // Who hears of it late was stopped meanwhile, and the session may be another's.
        let is_late = begun.elapsed() > FENCE_AFTER.saturating_add(BEAT_EVERY);
        let is_away = || self.log.lock().keeping().is_some_and(|it| it.is_away());
        in_time.unwrap_or_else(|_| !is_late && is_away() && is_heard())
    }

    /// Something was said, maybe the end of a request or a question: who waits for that may go on.
    pub(super) fn tell_of_turn(&self) {
        self.kept.iter().for_each(|kept| kept.settled.notify_waiters());
    }

    /// The session is another's: it takes no more calls, and its readers get what the store had, so
    /// that their clients come back. Its end removes nothing from the store.
    pub fn disown(&self) {
        let Some(kept) = &self.kept else { return };
        kept.is_disowned.store(true, Ordering::Relaxed);
        self.shut();
        self.wake(Log::disown);
    }

    /// Whether the session is another's.
    pub fn is_disowned(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.is_disowned.load(Ordering::Relaxed))
    }

    /// Whether the session is surely this replica's still: another one may have claimed it since
    /// the store last confirmed that it is ours.
    pub fn is_surely_own(&self) -> bool {
        let Some(kept) = &self.kept else { return true };
        let lease = &kept.with.lease;
        lease.is_firm(Instant::now()) && self.term() == lease.term() && !self.is_disowned()
    }

    /// It is about to be given back: what servers keep for it they are to keep for its successor.
    pub fn hand_on(&self) {
        self.kept.iter().for_each(|kept| kept.is_handed_on.store(true, Ordering::Relaxed));
    }

    /// Whether another replica goes on with it, or may: then what servers keep for it is not this
    /// one's to end.
    pub fn may_go_on_elsewhere(&self) -> bool {
        let is_handed_on = |kept: &Kept| kept.is_handed_on.load(Ordering::Relaxed);
        self.kept.as_ref().is_some_and(is_handed_on) || !self.is_surely_own()
    }

    /// Takes a request in whose answer is owed on `stream`.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub fn begin_on(&self, stream: StreamTag, id: &Id, token: Option<Id>) -> Result<(), Refusal> {
        self.take_call(id, stream, token)?;
        if self.kept.is_some() {
            self.with_log(|log| log.begin(id, stream));
        }
        Ok(())
    }

    /// Records something; the scribe hears of it.
    pub(super) fn record(&self, what: impl FnOnce(&mut Keep)) {
        if self.kept.is_some() {
            self.with_log(|log| log.keeping().map(what));
        }
    }

    /// Does something to the log that may have to be written down; the scribe hears of it.
    pub(super) fn with_log<T>(&self, work: impl FnOnce(&mut Log) -> T) -> T {
        let mut log = self.log.lock();
        let value = work(&mut log);
        let is_due = log.keeping().is_some_and(Keep::is_due);
        drop(log);
        if let Some(kept) = self.kept.as_ref().filter(|_| is_due) {
            kept.with.desk.put(self.key);
        }
        value
    }

    /// Does something to the log that readers and those who wait hear of.
    pub(super) fn wake(&self, work: impl FnOnce(&mut Log) -> Vec<Waker>) {
        let wakers = self.with_log(work);
        wakers.into_iter().for_each(Waker::wake);
        self.kept.iter().for_each(|kept| kept.settled.notify_waiters());
    }

    /// Whether the standalone stream of this transport is kept from the start.
    pub(super) fn keeps_from_start(transport: Transport) -> bool {
        matches!(transport, Transport::Streamable | Transport::Sse)
    }
}

impl std::fmt::Debug for Keeping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeping").field("tenure", &self.tenure).finish_non_exhaustive()
    }
}
