//! The store in this process: of a gateway that runs alone, and, shared by several replicas of one
//! test, the model that every other store is held to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::limits::session::{REPLAY_BYTES, REPLAY_EVENTS};
use crate::config::limits::store::{BEAT_TTL, LATE_WRITES, OWNERS};
use crate::session::bucket::{Buckets, Quota};
use crate::session::id::{Holder, SessionKey};
use crate::session::store::{
    Answer, Beat, Claim, Estate, Kept, Life, Listed, Look, Page, Pulse, Record, Store, StoreError,
    StoredCall, StoredEvent,
};
use crate::session::tenure::{Replica, Tenure};

/// Tells the time: the system's, or a test's.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Sessions in memory.
#[derive(Clone)]
pub struct MemoryStore {
    is_shared: bool,
    clock: Clock,
    born: Instant,
    state: Arc<Mutex<State>>,
    /// Made when it is first needed.
    buckets: Arc<OnceLock<Buckets>>,
}

#[derive(Default)]
struct State {
    sessions: BTreeMap<SessionKey, Entry>,
    /// Sessions that were removed, and until when that is remembered.
    removed: BTreeMap<SessionKey, Instant>,
    counted: BTreeMap<Holder, BTreeMap<SessionKey, Instant>>,
    pins: BTreeMap<Holder, Replica>,
    beats: BTreeMap<String, (Instant, Beat)>,
}

struct Entry {
    record: Record,
    tenure: Option<Tenure>,
    fence: u64,
    idle: Duration,
    ends: Instant,
    ends_at_last: Instant,
    events: VecDeque<StoredEvent>,
    calls: Vec<StoredCall>,
    floor: u64,
    seq: u64,
    spans: Vec<(u64, u64)>,
}

impl MemoryStore {
    /// The store of a gateway that runs alone.
    pub fn alone() -> Self {
        Self::with(false, Arc::new(Instant::now))
    }

    /// One that several replicas of this process share; clones are the same store.
    pub fn shared(clock: Clock) -> Self {
        Self::with(true, clock)
    }

    fn with(is_shared: bool, clock: Clock) -> Self {
        let born = clock();
        Self { is_shared, clock, born, state: Arc::default(), buckets: Arc::default() }
    }

    /// Forgets everything, as a store that was restarted without its data.
    pub fn empty(&mut self) {
        *self.state.lock() = State::default();
        self.buckets = Arc::default();
        self.born = (self.clock)();
    }

    fn answer<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&mut State, Instant) -> Result<T, StoreError> + Send + 'a,
    ) -> Answer<'a, T> {
        Box::pin(async move {
            let now = (self.clock)();
            let mut state = self.state.lock();
            state.sessions.retain(|_, entry| now < entry.ends);
            state.removed.retain(|_, ends| now < *ends);
            state.beats.retain(|_, (at, _)| now.duration_since(*at) < BEAT_TTL);
            work(&mut state, now)
        })
    }
}

impl Store for MemoryStore {
    fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn is_up(&self) -> bool {
        true
    }

    fn create(
        &self,
        key: SessionKey,
        tenure: Tenure,
        record: Record,
        life: Life,
    ) -> Answer<'_, ()> {
        self.answer(move |state, now| {
            if state.sessions.contains_key(&key) || state.removed.contains_key(&key) {
                return Err(StoreError::Taken);
            }
            let estate = Estate { record, seq: tenure.start(), ..Estate::default() };
            state.sessions.insert(key, Entry::new(tenure, estate, life, now));
            Ok(())
        })
    }

    fn look(&self, key: SessionKey) -> Answer<'_, Look> {
        self.answer(move |state, _| {
            let Some(entry) = state.sessions.get(&key) else { return Ok(Look::Unknown) };
            Ok(entry.tenure.clone().map_or(Look::Free, Look::Owned))
        })
    }

    fn claim(&self, key: SessionKey, from: Option<Tenure>, by: Replica) -> Answer<'_, Claim> {
        self.answer(move |state, now| {
            let Some(entry) = state.sessions.get_mut(&key) else { return Ok(Claim::Unknown) };
            if let Some(other) = entry.tenure.clone().filter(|it| Some(it) != from.as_ref()) {
                return Ok(Claim::Other(other));
            }
            entry.spans.push((entry.fence, entry.seq));
            if entry.spans.len() > OWNERS {
                entry.spans.remove(0);
            }
            entry.fence += 1;
            let tenure = Tenure { replica: by, fence: entry.fence };
            entry.tenure = Some(tenure.clone());
            let left = entry.ends_at_last.saturating_duration_since(now);
            let estate = Estate { left, ..entry.estate() };
            entry.seq = tenure.start();
            entry.touch(now);
            Ok(Claim::Taken(tenure, Box::new(estate)))
        })
    }

    fn keep(&self, key: SessionKey, tenure: Tenure, page: Page) -> Answer<'_, Kept> {
        self.answer(move |state, now| {
            if state.removed.contains_key(&key) {
                return Ok(Kept::Lost);
            }
            let Some(entry) = state.sessions.get_mut(&key) else { return Ok(Kept::Unknown) };
            if entry.fence < tenure.fence {
                return Ok(Kept::Behind);
            }
            if entry.tenure.as_ref() != Some(&tenure) {
                return Ok(Kept::Lost);
            }
            if entry.seq != page.prev && entry.seq != page.seq {
                return Ok(Kept::Behind);
            }
            let is_new = entry.seq == page.prev;
            entry.apply(page, is_new);
            entry.touch(now);
            Ok(Kept::Done)
        })
    }

    fn restore(
        &self,
        key: SessionKey,
        tenure: Tenure,
        estate: Estate,
        life: Life,
    ) -> Answer<'_, Kept> {
        self.answer(move |state, now| {
            let former = estate.former(&tenure);
            let present = state.sessions.get(&key).filter(|entry| entry.fence > former);
            let is_lost = present.is_some_and(|entry| entry.tenure.as_ref() != Some(&tenure));
            if is_lost || state.removed.contains_key(&key) {
                return Ok(Kept::Lost);
            }
            state.sessions.insert(key, Entry::new(tenure, estate, life, now));
            Ok(Kept::Done)
        })
    }

    fn release(&self, key: SessionKey, tenure: Tenure) -> Answer<'_, ()> {
        self.answer(move |state, _| {
            if let Some(entry) = state.sessions.get_mut(&key) {
                entry.tenure.take_if(|it| *it == tenure);
            }
            Ok(())
        })
    }

    fn remove(&self, key: SessionKey, tenure: Option<Tenure>) -> Answer<'_, ()> {
        self.answer(move |state, now| {
            let may = |entry: &Entry| tenure.is_none() || entry.tenure == tenure;
            let Some(entry) = state.sessions.get_mut(&key).filter(|it| may(it)) else {
                return Ok(());
            };
            let until = if tenure.is_none() { entry.ends_at_last } else { now + LATE_WRITES };
            state.removed.insert(key, until);
            let gone = state.sessions.remove(&key);
            let holder = gone.and_then(|entry| entry.record.holder);
            if let Some(own) = holder.and_then(|it| state.counted.get_mut(&it)) {
                own.remove(&key);
            }
            Ok(())
        })
    }

    fn admit(
        &self,
        holder: Holder,
        key: SessionKey,
        max: usize,
        life: Duration,
    ) -> Answer<'_, bool> {
        self.answer(move |state, now| {
            let own = state.counted.entry(holder).or_default();
            own.retain(|_, ends| now < *ends);
            if own.len() >= max && !own.contains_key(&key) {
                return Ok(false);
            }
            own.insert(key, now + life);
            Ok(true)
        })
    }

    fn count(&self, holder: Holder, keys: Vec<SessionKey>, life: Duration) -> Answer<'_, ()> {
        self.answer(move |state, now| {
            let ends = keys.into_iter().map(|key| (key, now + life));
            state.counted.entry(holder).or_default().extend(ends);
            Ok(())
        })
    }

    fn dismiss(&self, holder: Holder, key: SessionKey) -> Answer<'_, ()> {
        self.answer(move |state, _| {
            if let Some(own) = state.counted.get_mut(&holder) {
                own.remove(&key);
            }
            state.counted.retain(|_, own| !own.is_empty());
            Ok(())
        })
    }

    fn pin(&self, holder: Holder, by: Replica, lost: Option<Replica>) -> Answer<'_, Replica> {
        self.answer(move |state, _| {
            let stays = |replica: &Replica| {
                let beat = state.beats.get(&*replica.name);
                lost.as_ref() != Some(replica) && beat.is_some_and(|(_, beat)| !beat.is_draining)
            };
            let pinned = state.pins.get(&holder).filter(|it| stays(it)).cloned();
            let pinned = pinned.unwrap_or(by);
            state.pins.insert(holder, pinned.clone());
            Ok(pinned)
        })
    }

    fn beat(&self, beat: Beat) -> Answer<'_, Pulse> {
        self.answer(move |state, now| {
            state.beats.insert(beat.replica.name.to_string(), (now, beat));
            let age = now.duration_since(self.born);
            Ok(Pulse { now_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX), age })
        })
    }

    fn pulse_of(&self, name: &str) -> Answer<'_, Option<Beat>> {
        let name = name.to_owned();
        self.answer(move |state, _| Ok(state.beats.get(&name).map(|(_, beat)| beat.clone())))
    }

    fn replicas(&self) -> Answer<'_, Vec<Beat>> {
        self.answer(|state, _| Ok(state.beats.values().map(|(_, beat)| beat.clone()).collect()))
    }

    fn retire(&self, name: &str) -> Answer<'_, ()> {
        let name = name.to_owned();
        self.answer(move |state, _| {
            state.beats.remove(&name);
            Ok(())
        })
    }

    fn list(&self, max: usize) -> Answer<'_, Vec<Listed>> {
        self.answer(move |state, now| {
            let listed = state.sessions.iter().take(max).map(|(key, entry)| Listed {
                key: *key,
                record: entry.record.clone(),
                tenure: entry.tenure.clone(),
                calls: entry.calls.len(),
                events: entry.events.len(),
                left: entry.ends.saturating_duration_since(now),
            });
            Ok(listed.collect())
        })
    }

    fn take(&self, bucket: &str, quota: Quota, count: u64) -> Answer<'_, Option<Duration>> {
        let bucket = bucket.to_owned();
        Box::pin(async move {
            let buckets = self.buckets.get_or_init(|| Buckets::new(self.born));
            Ok(buckets.take(bucket, quota, count, (self.clock)()).err())
        })
    }
}

impl Entry {
    fn new(tenure: Tenure, estate: Estate, life: Life, now: Instant) -> Self {
        let mut entry = Self {
            record: estate.record,
            fence: tenure.fence,
            tenure: Some(tenure),
            idle: life.idle,
            ends: now,
            ends_at_last: now + life.total,
            events: estate.events.into(),
            calls: estate.calls,
            floor: estate.floor,
            seq: estate.seq,
            spans: estate.spans,
        };
        entry.touch(now);
        entry.cap();
        entry
    }

    fn touch(&mut self, now: Instant) {
        self.ends = (now + self.idle).min(self.ends_at_last);
    }

    fn estate(&self) -> Estate {
        Estate {
            record: self.record.clone(),
            events: self.events.iter().cloned().collect(),
            calls: self.calls.clone(),
            floor: self.floor,
            seq: self.seq,
            spans: self.spans.clone(),
            left: Duration::ZERO,
        }
    }

    /// Everything but the events may be applied twice without harm.
    fn apply(&mut self, page: Page, is_new: bool) {
        if is_new {
            self.events.extend(page.events);
            self.seq = page.seq;
        }
        for call in page.begun {
            self.calls.retain(|it| it.id != call.id);
            self.calls.push(call);
        }
        self.calls.retain(|call| !page.ended.contains(&call.id));
        for (name, note) in page.notes {
            match note {
                Some(note) => drop(self.record.notes.insert(name, note)),
                None => drop(self.record.notes.remove(&name)),
            }
        }
        if let Some((revision, params)) = page.agreement {
            self.record.revision = Some(revision);
            self.record.params = Some(params);
        }
        self.record.is_ready |= page.is_ready;
        self.cap();
    }

    /// Pushes out the oldest events; the newest one stays, whatever its size.
    fn cap(&mut self) {
        let mut bytes: usize = self.events.iter().map(|event| event.text.len()).sum();
        while self.events.len() > 1 && (self.events.len() > REPLAY_EVENTS || bytes > REPLAY_BYTES) {
            let Some(oldest) = self.events.pop_front() else { return };
            bytes -= oldest.text.len();
            self.floor = oldest.seq;
        }
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("is_shared", &self.is_shared).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::session::store::laws::{self, Subject};

    /// One whose clock the test turns.
    struct Turned {
        store: MemoryStore,
        late_ms: Arc<AtomicU64>,
    }

    impl Subject for Turned {
        type Kind = MemoryStore;

        fn store(&self) -> &MemoryStore {
            &self.store
        }

        async fn pass(&self, time: Duration) {
            let millis = u64::try_from(time.as_millis()).unwrap();
            self.late_ms.fetch_add(millis, Ordering::Relaxed);
        }

        async fn forget(&mut self) {
            self.store.empty();
        }
    }

    #[tokio::test]
    async fn the_memory_store_keeps_the_laws() {
        let (begun, late_ms) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let late = Arc::clone(&late_ms);
        let clock = move || begun + Duration::from_millis(late.load(Ordering::Relaxed));
        laws::all(Turned { store: MemoryStore::shared(Arc::new(clock)), late_ms }).await;
    }
}
