//! What is remembered of sessions that other replicas serve, and which of them are being claimed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::config::limits::hop::{PLACE_TTL, PLACES_MAX};
use crate::session::id::SessionKey;
use crate::session::tenure::{Replica, Tenure};

/// What this replica remembers of sessions that are not here.
#[derive(Debug, Default)]
pub(in crate::relay) struct Places {
    owners: Mutex<BTreeMap<SessionKey, (Tenure, Instant)>>,
    /// One for each session that is being claimed.
    gates: Mutex<BTreeMap<SessionKey, Arc<tokio::sync::Mutex<()>>>>,
}

impl Places {
    /// Who serves the session, if that was looked up a moment ago.
    pub(super) fn fresh_owner(&self, key: SessionKey) -> Option<Replica> {
        let owners = self.owners.lock();
        let fresh = owners.get(&key).filter(|(_, since)| since.elapsed() < PLACE_TTL);
        fresh.map(|(tenure, _)| tenure.replica.clone())
    }

    /// Who served the session when that was last looked up.
    pub(super) fn owner(&self, key: SessionKey) -> Option<Replica> {
        self.owners.lock().get(&key).map(|(tenure, _)| tenure.replica.clone())
    }

    pub(super) fn remember(&self, key: SessionKey, tenure: Tenure) {
        let mut owners = self.owners.lock();
        if owners.len() >= PLACES_MAX {
            owners.clear();
        }
        owners.insert(key, (tenure, Instant::now()));
    }

    pub(super) fn forget(&self, key: SessionKey) {
        self.owners.lock().remove(&key);
    }

    pub(super) fn gate(&self, key: SessionKey) -> Arc<tokio::sync::Mutex<()>> {
        self.gates.lock().entry(key).or_default().clone()
    }

    pub(super) fn gate_if_any(&self, key: SessionKey) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.gates.lock().get(&key).cloned()
    }

    /// Lets go of a gate, which is taken away when nobody else is at it.
    pub(super) fn leave(&self, key: SessionKey, gate: Arc<tokio::sync::Mutex<()>>) {
        let mut gates = self.gates.lock();
        drop(gate);
        if gates.get(&key).is_some_and(|it| Arc::strong_count(it) == 1) {
            gates.remove(&key);
        }
    }
}
