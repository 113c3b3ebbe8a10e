//! The connections that are kept for the next request, by origin.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::connection::Connection;
use crate::config::limits::remote::{IDLE_CONNECTIONS, IDLE_TIMEOUT};

/// Idle connections, and those that can be shared.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// For each origin, the one used last at the end.
    kept: Mutex<BTreeMap<Arc<str>, Vec<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// The connection to this origin that was used last.
    pub(super) fn take(&self, origin: &str) -> Option<Connection> {
        let now = Instant::now();
        let mut kept = self.kept.lock();
        let own = kept.get_mut(origin)?;
        while let Some(mut last) = own.pop() {
            if last.is_fit(now) {
                own.extend(last.connection.share().map(|it| Kept { connection: it, since: now }));
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection, if it can still be used and there is room.
    pub(super) fn put(&self, origin: &Arc<str>, connection: Connection) {
        let now = Instant::now();
        let mut idle = Kept { connection, since: now };
        if !idle.is_fit(now) {
            return;
        }
        let mut kept = self.kept.lock();
        let own = kept.entry(Arc::clone(origin)).or_default();
        if own.len() < IDLE_CONNECTIONS {
            own.push(idle);
        }
    }

    /// Closes what is kept of this origin.
    pub(super) fn forget(&self, origin: &str) {
        self.kept.lock().remove(origin);
    }

    /// Closes what was idle for too long, and forgets what the servers have closed.
    pub(super) fn sweep(&self, now: Instant) {
        self.kept.lock().retain(|_, own| {
            own.retain_mut(|it| it.is_fit(now));
            !own.is_empty()
        });
    }
}

impl Kept {
    fn is_fit(&mut self, now: Instant) -> bool {
        now.duration_since(self.since) < IDLE_TIMEOUT && self.connection.is_usable()
    }
}
