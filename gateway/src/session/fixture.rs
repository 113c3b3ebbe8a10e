//! Sessions made for tests, and a store that can fail, here and in the layers above.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::session::bucket::Quota;
use crate::session::id::{Holder, Keyring, SessionId, SessionKey};
use crate::session::memory::MemoryStore;
use crate::session::outlet::Reader;
use crate::session::principal::Principal;
use crate::session::replay::{Caps, Next};
use crate::session::store::{
    Answer, Beat, Claim, Estate, Kept, Life, Listed, Look, Page, Pulse, Record, Store, StoreError,
    StoredEvent,
};
use crate::session::tenure::{Replica, Tenure};
use crate::session::{Bounds, Session, Transport};

/// Room for everything a test says.
pub(crate) const BOUNDS: Bounds = Bounds {
    calls: 64,
    asks: 64,
    log: Caps { events: 1000, bytes: 1 << 20, queue_events: 1000, queue_bytes: 1 << 20 },
};

/// A session on `/mcp`, unlike every other.
pub(crate) fn session() -> Arc<Session> {
    Arc::new(bounded(Transport::Streamable, BOUNDS))
}

/// A session with bounds of its own.
pub(crate) fn bounded(transport: Transport, bounds: Bounds) -> Session {
    let id = SessionId::mint();
    let key = Keyring::new(None).key(&Principal::anonymous(), &id);
    Session::new(id, key, transport, bounds, None)
}

/// What the reader finds without waiting; `None` when it would have to wait.
pub(crate) fn ready(reader: &mut Reader) -> Option<Next> {
    let mut next = pin!(reader.next());
    match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(next) => Some(next),
        Poll::Pending => None,
    }
}

/// The texts of all events that are there.
pub(crate) fn texts(reader: &mut Reader) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(Next::Event(event)) = ready(reader) {
        texts.push(event.text.to_string());
    }
    texts
}

/// A write of an owner's.
pub(crate) struct Written {
    pub(crate) key: SessionKey,
    pub(crate) tenure: Tenure,
    pub(crate) events: Vec<StoredEvent>,
    /// Whether it took the place of all that was there.
    pub(crate) is_whole: bool,
}

/// A store that is across a network: others get a turn while it writes, and it can be away, lose
/// its answers, or forget everything.
pub(crate) struct Distant {
    inner: Mutex<MemoryStore>,
    /// What owners wrote, whether or not they heard of it.
    written: Arc<Mutex<Vec<Written>>>,
    is_away: AtomicBool,
    loses_answers: AtomicBool,
}

impl Distant {
    pub(crate) fn new() -> Self {
        Self::of(MemoryStore::shared(Arc::new(Instant::now)))
    }

    pub(crate) fn of(inner: MemoryStore) -> Self {
        let (is_away, loses_answers) = Default::default();
        Self { inner: Mutex::new(inner), written: Arc::default(), is_away, loses_answers }
    }

    /// What owners wrote since this was asked last.
    pub(crate) fn take_written(&self) -> Vec<Written> {
        std::mem::take(&mut *self.written.lock())
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    pub(crate) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// What is asked is done, and nobody hears of it.
    pub(crate) fn lose_answers(&self, loses: bool) {
        self.loses_answers.store(loses, Ordering::Relaxed);
    }

    pub(crate) fn empty(&self) {
        self.inner.lock().empty();
    }

    /// What an operator would see of a session.
    pub(crate) async fn listed(&self, key: SessionKey) -> Option<Listed> {
        let store = self.inner.lock().clone();
        let listed = store.list(usize::MAX).await.unwrap_or_default();
        listed.into_iter().find(|it| it.key == key)
    }

    fn across<'a, T: Send + 'a>(
        &'a self,
        ask: impl for<'b> FnOnce(&'b MemoryStore) -> Answer<'b, T> + Send + 'a,
    ) -> Answer<'a, T> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if self.is_away.load(Ordering::Relaxed) {
                return Err(StoreError::Unavailable);
            }
            let inner = self.inner.lock().clone();
            let answer = ask(&inner).await;
            tokio::task::yield_now().await;
            if self.loses_answers.load(Ordering::Relaxed) {
                return Err(StoreError::Unavailable);
            }
            answer
        })
    }
}

impl Store for Distant {
    fn is_shared(&self) -> bool {
        true
    }

    fn is_up(&self) -> bool {
        !self.is_away.load(Ordering::Relaxed)
    }

    fn create(
        &self,
        key: SessionKey,
        tenure: Tenure,
        record: Record,
        life: Life,
    ) -> Answer<'_, ()> {
        self.across(move |it| it.create(key, tenure, record, life))
    }

    fn look(&self, key: SessionKey) -> Answer<'_, Look> {
        self.across(move |it| it.look(key))
    }

    fn claim(&self, key: SessionKey, from: Option<Tenure>, by: Replica) -> Answer<'_, Claim> {
        self.across(move |it| it.claim(key, from, by))
    }

    fn keep(&self, key: SessionKey, tenure: Tenure, page: Page) -> Answer<'_, Kept> {
        let (written, events) = (self.written.clone(), page.events.clone());
        self.across(move |it| {
            Box::pin(async move {
                let answer = it.keep(key, tenure.clone(), page).await;
                if answer == Ok(Kept::Done) {
                    written.lock().push(Written { key, tenure, events, is_whole: false });
                }
                answer
            })
        })
    }

    fn restore(
        &self,
        key: SessionKey,
        tenure: Tenure,
        estate: Estate,
        life: Life,
    ) -> Answer<'_, Kept> {
        let (written, events) = (self.written.clone(), estate.events.clone());
        self.across(move |it| {
            Box::pin(async move {
                let answer = it.restore(key, tenure.clone(), estate, life).await;
                if answer == Ok(Kept::Done) {
                    written.lock().push(Written { key, tenure, events, is_whole: true });
                }
                answer
            })
        })
    }

    fn release(&self, key: SessionKey, tenure: Tenure) -> Answer<'_, ()> {
        self.across(move |it| it.release(key, tenure))
    }

    fn remove(&self, key: SessionKey, tenure: Option<Tenure>) -> Answer<'_, ()> {
        self.across(move |it| it.remove(key, tenure))
    }

    fn admit(
        &self,
        holder: Holder,
        key: SessionKey,
        max: usize,
        life: Duration,
    ) -> Answer<'_, bool> {
        self.across(move |it| it.admit(holder, key, max, life))
    }

    fn count(&self, holder: Holder, keys: Vec<SessionKey>, life: Duration) -> Answer<'_, ()> {
        self.across(move |it| it.count(holder, keys, life))
    }

    fn dismiss(&self, holder: Holder, key: SessionKey) -> Answer<'_, ()> {
        self.across(move |it| it.dismiss(holder, key))
    }

    fn pin(&self, holder: Holder, by: Replica, lost: Option<Replica>) -> Answer<'_, Replica> {
        self.across(move |it| it.pin(holder, by, lost))
    }

    fn beat(&self, beat: Beat) -> Answer<'_, Pulse> {
        self.across(move |it| it.beat(beat))
    }

    fn pulse_of(&self, name: &str) -> Answer<'_, Option<Beat>> {
        let name = name.to_owned();
        self.across(move |it| it.pulse_of(&name))
    }

    fn replicas(&self) -> Answer<'_, Vec<Beat>> {
        self.across(|it| it.replicas())
    }

    fn retire(&self, name: &str) -> Answer<'_, ()> {
        let name = name.to_owned();
        self.across(move |it| it.retire(&name))
    }

    fn list(&self, max: usize) -> Answer<'_, Vec<Listed>> {
        self.across(move |it| it.list(max))
    }

    fn take(&self, bucket: &str, quota: Quota, count: u64) -> Answer<'_, Option<Duration>> {
        let bucket = bucket.to_owned();
        self.across(move |it| it.take(&bucket, quota, count))
    }
}
