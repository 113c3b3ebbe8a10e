//! Writes down what the sessions of this replica have to keep.
//!
//! A session puts its key on the desk when it has something; the scribe takes one write of it at a
//! time to the store, and those of many sessions at once. It also tells sessions how the store
//! fares: that it is away and back, that it forgot them, that they are another's.

mod counts;
mod failing;
mod queue;
mod unknown;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::config::limits::store::{FAILING_MAX, RETRY_EVERY, SOCKET_IDLE_MIN, WRITES_MAX};
use crate::session::Session;
use crate::session::id::SessionKey;
use crate::session::keeping::{Desk, Write};
use crate::session::lease::Lease;
use crate::session::scribe::failing::Failing;
use crate::session::scribe::queue::Queue;
pub(super) use crate::session::scribe::unknown::Unknown;
use crate::session::standing::Standing;
use crate::session::store::{Kept, Store, StoreError};

/// Writes sessions down.
pub struct Scribe {
    store: Arc<dyn Store>,
    lease: Arc<Lease>,
    /// How long a session lasts in the store that is not written to.
    idle: Duration,
    queue: Arc<Queue>,
    sessions: Mutex<BTreeMap<SessionKey, Arc<Session>>>,
    state: Mutex<State>,
    age_wanted: Notify,
    /// A store that was away may be tried at once.
    retry: Notify,
    /// The time of a test.
    #[cfg(test)]
    pub(crate) clock: std::sync::OnceLock<crate::session::memory::Clock>,
}

#[derive(Default)]
struct State {
    is_away: bool,
    /// Sessions that the store does not know, until it is known whether it forgot them.
    unknown: Vec<Unknown>,
    /// The lease's term in which every session was asked to confirm itself.
    term: u64,
    /// When sessions in use are looked at next.
    touch_at: Option<Instant>,
    /// When sessions in use were counted.
    counted: Option<Instant>,
    /// Writes that were not answered.
    failing: Failing,
}

impl Scribe {
    /// One without sessions, which last for `idle` in the store.
    pub fn new(store: Arc<dyn Store>, lease: Arc<Lease>, idle: Duration) -> Self {
        let state = State { term: lease.term(), ..State::default() };
        Self {
            store,
            lease,
            idle,
            queue: Arc::default(),
            sessions: Mutex::default(),
            state: Mutex::new(state),
            age_wanted: Notify::new(),
            retry: Notify::new(),
            #[cfg(test)]
            clock: std::sync::OnceLock::new(),
        }
    }

    /// Where its sessions put what they have.
    pub fn desk(&self) -> Arc<dyn Desk> {
        self.queue.clone()
    }

    /// Writes a session down from here on. One that had its key is forgotten.
    pub fn add(&self, session: Arc<Session>) {
        let key = session.key;
        if self.is_away() {
            session.set_away();
        }
        self.sessions.lock().insert(key, session);
        // It may have had something to say before.
        self.queue.put(key);
    }

    /// Writes a session down no more.
    pub fn leave(&self, session: &Arc<Session>) {
        let mut sessions = self.sessions.lock();
        if sessions.get(&session.key).is_some_and(|held| Arc::ptr_eq(held, session)) {
            sessions.remove(&session.key);
            drop(sessions);
            self.state.lock().failing.leave(session.key);
        }
    }

    /// Whether the store did not do as asked when it was asked last.
    pub fn is_away(&self) -> bool {
        self.state.lock().is_away
    }

    /// Writes until `token` is cancelled, and then what is under way. Returns at once where the
    /// store is not shared.
    ///
    /// # Cancel safety
    /// Not safe: what is under way is lost with it.
    pub async fn run(&self, token: CancellationToken) {
        if !self.store.is_shared() {
            return;
        }
        let mut writes = FuturesUnordered::new();
        let mut ticks = interval(RETRY_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut may_try = true;
        let mut under_way = 0;
        loop {
            let room = if self.is_away() { usize::from(may_try) } else { WRITES_MAX };
            while writes.len() < room && (writes.is_empty() || under_way < self.room_bytes()) {
                let Some(session) = self.next() else { break };
                let Some(write) = session.next_write() else { continue };
                may_try = false;
                let bytes = write.weight();
                under_way += bytes;
                writes.push(async move {
                    self.put(session, write).await;
                    bytes
                });
            }
            tokio::select! {
                () = token.cancelled() => break,
                Some(bytes) = writes.next(), if !writes.is_empty() => under_way -= bytes,
                () = self.queue.bell.notified() => {}
                () = self.retry.notified() => {
                    may_try = true;
                    self.look(Instant::now());
                }
                _ = ticks.tick() => {
                    may_try = true;
                    self.look(Instant::now());
                }
            }
        }
        while writes.next().await.is_some() {}
    }

    /// Asks for the store's age whenever that decides whether a session goes on, and tries a store
    /// that was away as soon as it confirms a sign of life, until `token` is cancelled.
    ///
    /// # Cancel safety
    /// Not safe: sessions that wait for the answer are decided on no more.
    pub async fn heed(&self, standing: &Standing, token: CancellationToken) {
        let heeding = async { tokio::join!(self.learn_ages(standing), self.try_again(standing)) };
        token.run_until_cancelled(heeding).await;
    }

    async fn try_again(&self, standing: &Standing) {
        loop {
            standing.store_is_back().await;
            if self.is_away() {
                self.retry.notify_one();
            }
        }
    }

    async fn learn_ages(&self, standing: &Standing) {
        loop {
            tokio::select! {
                () = self.age_wanted.notified() => {}
                () = standing.store_began_anew() => {
                    // Who has nothing to say would not find out for long that it was forgotten.
                    self.each(Session::call_in);
                    self.count_anew();
                    continue;
                }
            }
            let unknown = self.take_unknown();
            loop {
                match standing.store_age_anew().await {
                    Ok(age) => break self.judge(unknown, age),
                    Err(_away) => sleep(RETRY_EVERY).await,
                }
            }
        }
    }

    /// The next session that has something to be written.
    pub fn next(&self) -> Option<Arc<Session>> {
        loop {
            let key = self.queue.keys.lock().pop_front()?;
            if let Some(session) = self.session(key) {
                return Some(session);
            }
        }
    }

    /// Takes one write of a session to the store, if it has one.
    pub async fn write(&self, session: Arc<Session>) {
        if let Some(write) = session.next_write() {
            self.put(session, write).await;
        }
    }

    async fn put(&self, session: Arc<Session>, write: Write) {
        let Some(tenure) = session.tenure() else { return };
        let (term, sent) = (self.lease.term(), Instant::now());
        let (key, by) = (session.key, tenure.clone());
        let answer = match write {
            Write::Page(page) => self.store.keep(key, by, page).await,
            Write::Whole(estate, life) => self.store.restore(key, by, *estate, life).await,
        };
        // What became of a former tenure says nothing of this one.
        if session.tenure() == Some(tenure) {
            self.settle(&session, answer, (term, sent));
        }
    }

    fn settle(
        &self,
        session: &Arc<Session>,
        answer: Result<Kept, StoreError>,
        (term, sent): (u64, Instant),
    ) {
        let kept = match answer {
            Ok(kept) => kept,
            Err(StoreError::Taken | StoreError::Unavailable) => return self.miss(session),
        };
        self.state.lock().failing.note_success(session.key);
        match kept {
            Kept::Done => session.confirm(term, sent),
            Kept::Lost => session.disown(),
            Kept::Behind => session.fall_behind(),
            Kept::Unknown if session.closed().is_cancelled() => {}
            Kept::Unknown if session.is_over() => session.disown(),
            // Nobody else can have ended it, who would not have left word of that.
            Kept::Unknown if self.is_surely_ours(session, term) => session.fall_behind(),
            Kept::Unknown => {
                session.hold();
                self.doubt(session.key, sent);
            }
        }
        self.come_back();
    }

    /// A session was not written. That says something of the store if there is no connection, or
    /// others are not written either; else it waits alone, and does not keep the others waiting.
    fn miss(&self, session: &Session) {
        let (sessions, now) = (self.sessions.lock().len(), self.now());
        let is_down = !self.store.is_up();
        let is_away = {
            let mut state = self.state.lock();
            let row = state.failing.note_miss(session.key, now);
            state.is_away || is_down || row >= sessions.min(FAILING_MAX)
        };
        if is_away {
            self.go_away();
            session.fail();
        } else {
            session.hold();
        }
    }

    /// How many bytes may be under way.
    fn room_bytes(&self) -> usize {
        self.state.lock().failing.room_bytes()
    }

    /// Whether the lease holds in which the store said last, before this, that a session is ours.
    fn is_surely_ours(&self, session: &Session, term: u64) -> bool {
        session.term() == term && self.lease.term() == term && self.lease.is_firm(self.now())
    }

    fn now(&self) -> Instant {
        #[cfg(test)]
        if let Some(clock) = self.clock.get() {
            return clock();
        }
        Instant::now()
    }

    /// Looks after what no session says by itself: each in use is heard of before it expires in the
    /// store, each is confirmed when the lease begins another term, and a store that is away is
    /// tried.
    pub fn look(&self, now: Instant) {
        let due = self.state.lock().failing.take_due(now);
        due.into_iter().for_each(|key| self.queue.put(key));
        let (is_new_term, is_touch_due, is_away) = {
            let mut state = self.state.lock();
            if !state.unknown.is_empty() {
                self.age_wanted.notify_one();
            }
            let term = self.lease.term();
            let is_new_term = std::mem::replace(&mut state.term, term) != term;
            let is_due = state.touch_at.is_none_or(|at| at <= now);
            if is_due {
                state.touch_at = now.checked_add(self.idle.min(SOCKET_IDLE_MIN) / 8);
            }
            (is_new_term, is_due, state.is_away)
        };
        if is_new_term {
            self.each(|session| session.call_in());
        } else if is_touch_due {
            let is_due = |session: &Session| session.unheard() > session.idle_in_store() / 4;
            self.each(|session| {
                if is_due(session) {
                    session.call_in()
                }
            });
        }
        if is_away && self.queue.keys.lock().is_empty() {
            let any = self.sessions.lock().values().next().cloned();
            match any {
                Some(session) => session.call_in(),
                None => self.come_back(),
            }
        }
    }

    fn go_away(&self) {
        let was_away = std::mem::replace(&mut self.state.lock().is_away, true);
        if !was_away {
            tracing::warn!("the session store is away; what is said is kept when it is back");
            self.each(Session::set_away);
        }
    }

    fn come_back(&self) {
        let was_away = std::mem::take(&mut self.state.lock().is_away);
        if was_away {
            tracing::info!("the session store is back");
            self.age_wanted.notify_one();
            let term = self.lease.term();
            self.each(|session| match session.term() == term {
                // What it has to say is on the desk.
                true => session.come_back(),
                false => session.call_in(),
            });
        }
    }

    fn each(&self, act: impl Fn(&Session)) {
        let sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        sessions.iter().for_each(|session| act(session));
    }

    fn session(&self, key: SessionKey) -> Option<Arc<Session>> {
        self.sessions.lock().get(&key).cloned()
    }
}

impl std::fmt::Debug for Scribe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sessions = self.sessions.lock().len();
        f.debug_struct("Scribe").field("sessions", &sessions).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
