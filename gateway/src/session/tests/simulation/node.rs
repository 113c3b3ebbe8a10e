//! A replica of the simulation: its table, its lease, its scribe, and what waits in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use bytestring::ByteString;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use wire::id::Id;

use super::{Dice, Time};
use crate::config::limits::store::BEAT_EVERY;
use crate::session::fixture::{BOUNDS, Distant};
use crate::session::id::{Keyring, SessionId, SessionKey};
use crate::session::lease::Lease;
use crate::session::memory::MemoryStore;
use crate::session::outlet::Outlet;
use crate::session::principal::Principal;
use crate::session::replay::StreamTag;
use crate::session::scribe::Unknown;
use crate::session::store::{Beat, Claim, Store as _};
use crate::session::table::{Sessions, Terms};
use crate::session::tenure::{Replica, Tenure};
use crate::session::{Session, Transport};

pub(super) const TERMS: Terms = Terms {
    sessions: 8,
    sessions_per_principal: 8,
    idle_timeout: Duration::from_secs(3600),
    resume_window: Duration::from_secs(3600),
    max_age: Duration::from_secs(8 * 3600),
    bounds: BOUNDS,
};

/// A call that a server works at.
pub(super) struct Executing {
    pub(super) session: Arc<Session>,
    pub(super) stream: StreamTag,
    pub(super) id: Id,
}

pub(super) struct Node {
    pub(super) name: Replica,
    pub(super) sessions: Arc<Sessions<Arc<Session>>>,
    pub(super) store: Arc<Distant>,
    /// Whether it gets turns.
    pub(super) runs: bool,
    pub(super) executing: Vec<Executing>,
    waiting: Vec<BoxFuture<'static, ()>>,
    claims: Arc<AtomicBool>,
    /// Sessions that the store did not know when a sign of life was sent.
    unknown: Arc<Mutex<Vec<Unknown>>>,
    beaten: Arc<Mutex<(u64, Option<std::time::Instant>, bool)>>,
    said: u64,
}

impl Node {
    pub(super) fn new(store: &MemoryStore, time: &Time) -> Self {
        let name = Replica::new("host", "url");
        let store = Arc::new(Distant::of(store.clone()));
        let lease = Arc::new(Lease::new(time.now()));
        let keyring = Keyring::new(Some("secret"));
        let sessions = Sessions::new(TERMS, keyring, store.clone(), name.clone(), lease);
        let (scribe, clock) = (sessions.scribe(), time.clone());
        let is_set = scribe.clock.set(Arc::new(move || clock.now())).is_ok();
        assert!(is_set);
        Self {
            name,
            sessions: Arc::new(sessions),
            store,
            runs: true,
            executing: Vec::new(),
            waiting: Vec::new(),
            claims: Arc::default(),
            unknown: Arc::default(),
            beaten: Arc::default(),
            said: 0,
        }
    }

    pub(super) fn heal(&self) {
        self.store.set_away(false);
        self.store.lose_answers(false);
    }

    /// The session, if it is this replica's as far as it knows.
    pub(super) fn session(&self, key: SessionKey) -> Option<Arc<Session>> {
        let all = self.sessions.all();
        let session = all.iter().find(|it| it.key == key && !it.is_disowned() && !it.is_shut());
        session.map(|it| (**it).clone())
    }

    /// Whether it may take a call of the session in.
    pub(super) fn is_firm(&self, session: &Session, time: &Time) -> bool {
        let lease = self.sessions.lease();
        self.runs && lease.is_firm(time.now()) && session.term() == lease.term()
    }

    pub(super) fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.waiting.push(Box::pin(future));
    }

    /// What a replica does of itself: signs of life, writes, leaving what is another's.
    pub(super) fn keep_house(&mut self, time: &Time, age: Duration) {
        let born = std::time::Instant::now().checked_sub(age).unwrap();
        let now = time.now();
        let number = {
            let mut beaten = self.beaten.lock();
            let is_due = beaten.1.is_none_or(|at| now >= at + BEAT_EVERY) && !beaten.2;
            if is_due {
                *beaten = (beaten.0 + 1, Some(now), true);
            }
            is_due.then_some(beaten.0)
        };
        if let Some(number) = number {
            let (store, sessions, time) = (self.store.clone(), self.sessions.clone(), time.clone());
            let beaten = self.beaten.clone();
            let unknown = self.unknown.clone();
            unknown.lock().extend(sessions.scribe().take_unknown());
            let beat = Beat { replica: self.name.clone(), number, is_draining: false };
            self.spawn(async move {
                if store.beat(beat).await.is_ok() {
                    sessions.lease().confirm(now, time.now());
                    let unknown = std::mem::take(&mut *unknown.lock());
                    sessions.scribe().judge(unknown, born.elapsed());
                }
                beaten.lock().2 = false;
            });
        }
        let scribe = self.sessions.scribe().clone();
        scribe.look(time.now());
        let is_free = !scribe.is_away() || self.waiting.len() < 2;
        if let Some(session) = is_free.then(|| scribe.next()).flatten() {
            self.spawn(async move { scribe.write(session).await });
        }
        for gone in self.sessions.take_disowned() {
            gone.close();
        }
    }

    /// Polls one of the futures that wait.
    pub(super) fn poll(&mut self, dice: &mut Dice) {
        if self.waiting.is_empty() {
            return;
        }
        let which = dice.below(self.waiting.len());
        let future = &mut self.waiting[which];
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            drop(self.waiting.swap_remove(which));
        }
    }

    /// Claims a session; one claim at a time.
    pub(super) fn claim(
        &mut self,
        (key, id): (SessionKey, SessionId),
        transport: Transport,
        from: Option<Tenure>,
    ) {
        if self.claims.swap(true, Ordering::Relaxed) {
            return;
        }
        let (store, sessions) = (self.store.clone(), self.sessions.clone());
        let (claims, name) = (self.claims.clone(), self.name.clone());
        self.spawn(async move {
            let asked = sessions.lease().asking();
            if let Ok(Claim::Taken(tenure, estate)) = store.claim(key, from, name).await {
                let principal = Principal::anonymous();
                let session = sessions.adopt(
                    principal,
                    (id, key),
                    transport,
                    (tenure, asked),
                    &estate,
                    |it| it,
                );
                for call in &estate.calls {
                    let id = Id::parse(&call.id).unwrap();
                    let outlet = Outlet::new((*session).clone(), StreamTag::numbered(call.stream));
                    outlet.answer(&id, ByteString::from(format!("answer {id} unknown")));
                }
            }
            claims.store(false, Ordering::Relaxed);
        });
    }

    pub(super) fn say(&mut self, which: usize) {
        let it = &self.executing[which];
        self.said += 1;
        let text = format!("note {} of {}", self.said, self.name.name);
        Outlet::new(it.session.clone(), it.stream).emit(ByteString::from(text));
    }

    pub(super) fn say_unasked(&mut self, which: usize) {
        let it = &self.executing[which];
        self.said += 1;
        let text = format!("unasked {} of {}", self.said, self.name.name);
        Outlet::new(it.session.clone(), StreamTag::STANDALONE).emit(ByteString::from(text));
    }

    pub(super) fn answer(&mut self, which: usize) {
        let it = self.executing.swap_remove(which);
        let text = format!("answer {} of {}", it.id, self.name.name);
        Outlet::new(it.session, it.stream).answer(&it.id, ByteString::from(text));
    }
}
