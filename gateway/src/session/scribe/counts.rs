//! Which sessions count among those of their principals.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::limits::store::{COUNTED_AT_ONCE, RETRY_EVERY};
use crate::session::id::{Holder, SessionKey};
use crate::session::scribe::Scribe;
use crate::session::store::{count_every, counted_for};

impl Scribe {
    /// Counts the sessions that are in use, until `token` is cancelled. Returns at once where the
    /// store is not shared.
    ///
    /// # Cancel safety
    /// Not safe: what is under way is lost with it.
    pub async fn keep_counts(&self, token: CancellationToken) {
        if !self.store.is_shared() {
            return;
        }
        let mut ticks = interval(RETRY_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let counting = async {
            loop {
                ticks.tick().await;
                self.count(Instant::now()).await;
            }
        };
        token.run_until_cancelled(counting).await;
    }

    /// Counts every session once more that was used since it was counted last, when that is due.
    pub async fn count(&self, now: Instant) {
        let (is_due, since) = {
            let state = self.state.lock();
            let is_due = |at: Instant| now.duration_since(at) >= count_every(self.idle);
            (!state.is_away && state.counted.is_none_or(is_due), state.counted)
        };
        if !is_due {
            return;
        }
        let mut used: BTreeMap<Holder, Vec<SessionKey>> = BTreeMap::new();
        for session in self.sessions.lock().values().filter(|it| !it.is_disowned()) {
            if since.is_none_or(|since| session.was_used_since(since))
                && let Some(holder) = session.holder()
            {
                used.entry(holder).or_default().push(session.key);
            }
        }
        let life = counted_for(self.idle);
        for (holder, keys) in used {
            for keys in keys.chunks(COUNTED_AT_ONCE) {
                if self.store.count(holder, keys.to_vec(), life).await.is_err() {
                    return;
                }
            }
        }
        self.state.lock().counted = Some(now);
    }

    /// Counts every session with the next look: the store may have forgotten them.
    pub(super) fn count_anew(&self) {
        self.state.lock().counted = None;
    }
}
