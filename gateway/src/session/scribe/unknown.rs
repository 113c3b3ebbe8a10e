//! Sessions that the store does not know although they are here, and not surely ours: whether it
//! forgot them, and who goes on with them then.

use std::time::{Duration, Instant};

use crate::config::limits::store::LAPSED_WAIT;
use crate::session::id::SessionKey;
use crate::session::scribe::{Scribe, State};
use crate::session::{Session, Transport};

/// A session that the store did not know when it was asked then.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Unknown {
    key: SessionKey,
    asked: Instant,
    /// When that was first heard.
    since: Instant,
}

impl Scribe {
    /// Sessions that the store does not know, to be [judged](Self::judge).
    pub(in crate::session) fn take_unknown(&self) -> Vec<Unknown> {
        std::mem::take(&mut self.state.lock().unknown)
    }

    /// The store has said for how long it has held data, and was asked after these sessions were
    /// taken: another one may be of a store that was emptied since. One is written down anew if the
    /// store is younger than what it said of it last, once later owners had time to do so; else
    /// somebody ended it.
    pub(in crate::session) fn judge(&self, unknown: Vec<Unknown>, age: Duration) {
        let birth = Instant::now().checked_sub(age);
        let now = self.now();
        for it in unknown {
            // It may have been written down anew since.
            let session = self.session(it.key).filter(|session| session.written() < it.asked);
            let Some(session) = session else { continue };
            if !was_forgotten(&session, birth) {
                session.disown();
            } else if now < it.since + LAPSED_WAIT {
                self.state.lock().doubt(it);
            } else {
                session.renew();
            }
        }
    }

    /// The store did not know a session when it was asked then.
    pub(super) fn doubt(&self, key: SessionKey, asked: Instant) {
        let since = self.now();
        self.state.lock().doubt(Unknown { key, asked, since });
        self.age_wanted.notify_one();
    }
}

impl State {
    /// Each session is doubted once, and since it first was.
    fn doubt(&mut self, it: Unknown) {
        match self.unknown.iter_mut().find(|known| known.key == it.key) {
            Some(known) => known.since = known.since.min(it.since),
            None => self.unknown.push(it),
        }
    }
}

/// Whether the store, which began to hold data then, forgot a session that it does not know.
fn was_forgotten(session: &Session, birth: Option<Instant>) -> bool {
    let written = session.written();
    // A connection that outlasts a long outage goes on. What was ended says so.
    let has_lapsed =
        session.transport == Transport::WebSocket && written.elapsed() >= session.idle_in_store();
    has_lapsed || birth.is_some_and(|birth| birth > written)
}
