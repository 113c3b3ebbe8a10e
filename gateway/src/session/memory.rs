//! The store of a gateway that runs alone: a map in this process.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::session::id::SessionKey;
use crate::session::store::{Answer, Record, Store, StoreError, StoredEvent};

/// Records and events in memory, bounded per session.
#[derive(Debug)]
pub struct MemoryStore {
    events_per_session: usize,
    entries: Mutex<BTreeMap<SessionKey, Entry>>,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    events: VecDeque<StoredEvent>,
    /// The newest place whose event was pushed out.
    floor: u64,
}

impl MemoryStore {
    /// An empty store that keeps at most `events_per_session` events of each session.
    pub fn new(events_per_session: usize) -> Self {
        Self { events_per_session, entries: Mutex::new(BTreeMap::new()) }
    }

    fn with<T>(
        &self,
        key: SessionKey,
        work: impl FnOnce(&mut Entry) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.entries.lock().get_mut(&key).ok_or(StoreError::Unknown).and_then(work)
    }
}

impl Store for MemoryStore {
    fn is_shared(&self) -> bool {
        false
    }

    fn create(&self, key: SessionKey, record: Record) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut entries = self.entries.lock();
            if entries.contains_key(&key) {
                return Err(StoreError::Taken);
            }
            entries.insert(key, Entry { record, events: VecDeque::new(), floor: 0 });
            Ok(())
        })
    }

    fn load(&self, key: SessionKey, now: SystemTime) -> Answer<'_, Option<Record>> {
        Box::pin(async move {
            let mut entries = self.entries.lock();
            let record = entries.get(&key).map(|entry| entry.record.clone());
            let Some(record) = record else { return Ok(None) };
            if now >= record.idle_end.min(record.absolute_end) {
                entries.remove(&key);
                return Ok(None);
            }
            Ok(Some(record))
        })
    }

    fn save(&self, key: SessionKey, record: Record) -> Answer<'_, ()> {
        Box::pin(async move {
            self.with(key, |entry| {
                entry.record = record;
                Ok(())
            })
        })
    }

    fn touch(&self, key: SessionKey, now: SystemTime, idle: Duration) -> Answer<'_, ()> {
        Box::pin(async move {
            self.with(key, |entry| {
                entry.record.idle_end = (now + idle).min(entry.record.absolute_end);
                Ok(())
            })
        })
    }

    fn remove(&self, key: SessionKey) -> Answer<'_, ()> {
        Box::pin(async move {
            self.entries.lock().remove(&key);
            Ok(())
        })
    }

    fn append(&self, key: SessionKey, events: Vec<StoredEvent>) -> Answer<'_, ()> {
        Box::pin(async move {
            self.with(key, |entry| {
                entry.events.extend(events);
                while entry.events.len() > self.events_per_session {
                    entry.floor = entry.events.pop_front().map_or(entry.floor, |event| event.seq);
                }
                Ok(())
            })
        })
    }

    fn replay(&self, key: SessionKey, stream: u32, seq: u64) -> Answer<'_, Vec<StoredEvent>> {
        Box::pin(async move {
            self.with(key, |entry| {
                if seq < entry.floor {
                    return Err(StoreError::Gap);
                }
                let asked = |event: &&StoredEvent| event.stream == stream && event.seq > seq;
                Ok(entry.events.iter().filter(asked).cloned().collect())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::store::laws;

    #[tokio::test]
    async fn the_memory_store_keeps_the_laws() {
        laws::all(|| MemoryStore::new(laws::EVENTS_KEPT)).await;
    }
}
