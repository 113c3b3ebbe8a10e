//! Which sessions have something to be written.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::session::id::SessionKey;
use crate::session::keeping::Desk;
use crate::session::scribe::Scribe;

/// The keys of the sessions that have something to be written, each once.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) keys: Mutex<VecDeque<SessionKey>>,
    pub(super) bell: Notify,
}

impl Scribe {
    /// How many sessions have something that is yet to be written.
    pub fn waiting(&self) -> usize {
        self.queue.keys.lock().len()
    }
}

impl Desk for Queue {
    fn put(&self, key: SessionKey) {
        self.keys.lock().push_back(key);
        self.bell.notify_one();
    }
}
