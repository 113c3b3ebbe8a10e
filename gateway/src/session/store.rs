//! What a store of sessions must keep, whichever it is.
//!
//! The laws (each is a test in `laws`, run against every store):
//! 1. `create` never overwrites: a key that is taken is refused.
//! 2. A session is known until it is removed or expires; unknown keys are no error.
//! 3. One owner at a time: of many who claim at once, one gets it, with a higher fence.
//! 4. What an owner kept, its successor inherits: record, notes, calls, events, in order.
//! 5. Only the owner writes: whoever lost the session is told so, and nothing is changed.
//! 6. `keep` is idempotent: a page that was applied, though its answer was lost, is applied once.
//! 7. `keep` that does not continue what is there is refused as behind; `restore` puts it right.
//! 8. Events are capped by number and bytes, the oldest go first, and the floor says so.
//! 9. Ends move with use, never beyond the absolute end.
//! 10. A principal has no more sessions than its cap, whichever replica it comes to.
//! 11. A replica that beats is known with its address; one that does not is forgotten in time.
//! 12. What was removed stays removed: an owner that comes late is told that it lost it, and cannot
//!     restore it as if the store had forgotten it.
//! 13. A later owner prevails over an earlier one that was quicker to restore the session in a
//!     store that forgot it, and not the other way round. Later is who came after it: an owner
//!     that skipped fences prevails over none of those that it does not know.
//! 14. An operator's list names what is known, and a store that was emptied is young.
//! 15. A bucket gives out what it holds and what came back since, however many take from it at
//!     once, and one that is refused takes nothing.
//!
//! An owner whose session is used without anything to keep writes an empty page before the idle
//! time is over, or the store forgets the session. A claim whose answer was lost may have been
//! made: whoever is then told that the session is its own claims it again, from itself.
//!
//! Time is the store's own: replicas' clocks may disagree.

use std::collections::BTreeMap;
use std::time::Duration;

use bytestring::ByteString;
use futures_util::future::BoxFuture;
use thiserror::Error;

use crate::config::limits::store::WRITE_BYTES_EACH;
use crate::session::bucket::Quota;
use crate::session::id::{Holder, SessionKey};
use crate::session::tenure::{Replica, Tenure};

/// What a successor has to know of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The transport's name.
    pub transport: String,
    /// The server id, or `None` for all servers as one.
    pub server: Option<String>,
    /// Whose it is, so that a cap can be kept and an operator can tell them apart.
    pub holder: Option<Holder>,
    /// Which life of the log it is: the epoch in event ids.
    pub epoch: u64,
    /// The agreed revision, once there is one.
    pub revision: Option<String>,
    /// The client's `initialize` params.
    pub params: Option<ByteString>,
    /// The client finished its handshake.
    pub is_ready: bool,
    /// What the layers above want their successors to know, by name.
    pub notes: BTreeMap<String, ByteString>,
}

/// How long a session may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Without use.
    pub idle: Duration,
    /// In any case, from its creation on. On `restore`: what is left of it.
    pub total: Duration,
}

/// One event of a session's log.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The stream's number.
    pub stream: u32,
    /// The event's place in the session.
    pub seq: u64,
    /// The JSON-RPC message.
    pub text: ByteString,
}

/// A request of the client that is in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCall {
    /// Its id, as JSON text.
    pub id: ByteString,
    /// The stream its answer is owed on.
    pub stream: u32,
}

/// What is written down of a session at one time; all of it, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The place up to which everything was kept before.
    pub prev: u64,
    /// The place up to which everything is kept with this page; at least that of the last event.
    pub seq: u64,
    /// What was said, in order.
    pub events: Vec<StoredEvent>,
    /// Requests that came in.
    pub begun: Vec<StoredCall>,
    /// The ids, as JSON text, of requests that were answered or given up.
    pub ended: Vec<ByteString>,
    /// Notes that changed; `None` takes one away.
    pub notes: Vec<(String, Option<ByteString>)>,
    /// The agreement, when it was made: revision and params.
    pub agreement: Option<(String, ByteString)>,
    /// The client finished its handshake.
    pub is_ready: bool,
}

/// Everything that is known of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estate {
    /// The record.
    pub record: Record,
    /// The log, oldest first.
    pub events: Vec<StoredEvent>,
    /// Requests in flight, in no order.
    pub calls: Vec<StoredCall>,
    /// The newest place whose event was pushed out by a cap; 0 when none was.
    pub floor: u64,
    /// The place up to which everything was kept.
    pub seq: u64,
    /// How far each former owner kept: fence and place. Of very many owners, the last ones.
    pub spans: Vec<(u64, u64)>,
    /// Of a claim: how long the session lasts from here on in any case.
    pub left: Duration,
}

/// How a claim went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is ours, with all that is known of it.
    Taken(Tenure, Box<Estate>),
    /// It is another's, and not the one's it was to be claimed from.
    Other(Tenure),
    /// There is no such session.
    Unknown,
}

/// How a write of an owner went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept.
    Done,
    /// The session is another's by now, or was released, or somebody else ended it.
    Lost,
    /// The store knows less than it was told: it forgot something. Everything is to be restored.
    Behind,
    /// The store knows no such session: it was ended, has expired, or the store was emptied.
    Unknown,
}

/// Whose a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Owned by this replica, which may be gone by now.
    Owned(Tenure),
    /// Given back: whoever comes first may claim it.
    Free,
    /// There is no such session.
    Unknown,
}

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Whose.
    pub replica: Replica,
    /// Which, counted from 1 in each life: a number that moves tells a replica that lives.
    pub number: u64,
    /// Whether it is stopping: it takes over nothing, and gives its sessions back.
    pub is_draining: bool,
}

/// What a store answers to a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// The store's clock, in milliseconds of the Unix era.
    pub now_ms: u64,
    /// For how long it has held data: one that was emptied a moment ago does not know sessions
    /// that exist.
    pub age: Duration,
}

/// A session as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key it is kept under.
    pub key: SessionKey,
    /// Its record.
    pub record: Record,
    /// Who serves it; `None` when it was given back.
    pub tenure: Option<Tenure>,
    /// Requests in flight, as far as they are kept.
    pub calls: usize,
    /// Events kept.
    pub events: usize,
    /// How long it will still last if it is not used.
    pub left: Duration,
}

/// Why a store did not do as asked.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The key is taken.
    #[error("the session exists already")]
    Taken,
    /// The store cannot be reached, does not answer in time, or refuses. What was to be written
    /// may have been written.
    #[error("the session store is unavailable")]
    Unavailable,
}

/// The answer of a store.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keeps what sessions need beyond one replica. Every answer comes within a deadline of the
/// store's own.
pub trait Store: Send + Sync {
    /// Whether other replicas read what is written here. Where they do not, a session's own log is
    /// enough, and nothing is ever kept.
    fn is_shared(&self) -> bool;

    /// Whether there is a connection, as far as that can be told without asking.
    fn is_up(&self) -> bool;

    /// Creates a session that is owned from the start.
    fn create(&self, key: SessionKey, tenure: Tenure, record: Record, life: Life)
    -> Answer<'_, ()>;
    /// Whose a session is.
    fn look(&self, key: SessionKey) -> Answer<'_, Look>;
    /// Makes `by` the owner, if the session is `from`'s still (`None`: if it is nobody's).
    fn claim(&self, key: SessionKey, from: Option<Tenure>, by: Replica) -> Answer<'_, Claim>;
    /// Writes a page down; the idle time starts anew.
    fn keep(&self, key: SessionKey, tenure: Tenure, page: Page) -> Answer<'_, Kept>;
    /// Writes everything down once more, for a store that forgot; creates what is missing.
    fn restore(
        &self,
        key: SessionKey,
        tenure: Tenure,
        estate: Estate,
        life: Life,
    ) -> Answer<'_, Kept>;
    /// Gives a session back: it is nobody's until it is claimed.
    fn release(&self, key: SessionKey, tenure: Tenure) -> Answer<'_, ()>;
    /// Removes a session, and counts it out: with `tenure` only if it is that owner's, else
    /// whoever's it is.
    fn remove(&self, key: SessionKey, tenure: Option<Tenure>) -> Answer<'_, ()>;

    /// Counts a session of a principal's in; false when it has `max` already.
    fn admit(
        &self,
        holder: Holder,
        key: SessionKey,
        max: usize,
        life: Duration,
    ) -> Answer<'_, bool>;
    /// Counts sessions of a principal's for `life` from here on, whatever the cap: they exist.
    fn count(&self, holder: Holder, keys: Vec<SessionKey>, life: Duration) -> Answer<'_, ()>;
    /// Counts it out.
    fn dismiss(&self, holder: Holder, key: SessionKey) -> Answer<'_, ()>;
    /// The replica that holds what this principal's sessions share: `by`, unless another one does
    /// that is known to live and is not stopping. `lost` was found not to live.
    fn pin(&self, holder: Holder, by: Replica, lost: Option<Replica>) -> Answer<'_, Replica>;

    /// Says that a replica lives.
    fn beat(&self, beat: Beat) -> Answer<'_, Pulse>;
    /// The last sign of life of a replica, by name; `None` when that was too long ago.
    fn pulse_of(&self, name: &str) -> Answer<'_, Option<Beat>>;
    /// Every replica that lives.
    fn replicas(&self) -> Answer<'_, Vec<Beat>>;
    /// This replica ends.
    fn retire(&self, name: &str) -> Answer<'_, ()>;

    /// Up to `max` sessions.
    fn list(&self, max: usize) -> Answer<'_, Vec<Listed>>;

    /// Takes `count` messages out of a bucket, which all replicas take from; how long to wait, if
    /// it holds fewer.
    fn take(&self, bucket: &str, quota: Quota, count: u64) -> Answer<'_, Option<Duration>>;
}

impl Page {
    /// How many bytes it takes to write, about.
    pub fn weight(&self) -> usize {
        let notes = self.notes.iter().filter_map(|(_, note)| note.as_ref()).map(|it| it.len());
        let params = self.agreement.iter().map(|(_, params)| params.len());
        let each = 1 + self.notes.len() + self.begun.len() + self.ended.len();
        weight(&self.events) + each * WRITE_BYTES_EACH + notes.chain(params).sum::<usize>()
    }
}

impl Estate {
    /// The fence of the last owner before the one that has this `tenure`, as far as it knows.
    pub fn former(&self, tenure: &Tenure) -> u64 {
        let last = self.spans.last().map(|(fence, _)| *fence);
        last.unwrap_or(tenure.fence.saturating_sub(1))
    }

    /// How many bytes it takes to write, about.
    pub fn weight(&self) -> usize {
        let notes = self.record.notes.values().map(|it| it.len());
        let params = self.record.params.iter().map(|it| it.len());
        let each = 1 + self.record.notes.len() + self.calls.len();
        weight(&self.events) + each * WRITE_BYTES_EACH + notes.chain(params).sum::<usize>()
    }
}

fn weight(events: &[StoredEvent]) -> usize {
    events.iter().map(|event| event.text.len() + WRITE_BYTES_EACH).sum()
}

/// How long a session counts that was used a moment ago, and lasts for `idle` without use. Whoever
/// serves it counts it anew every [`count_every`] in which it was used.
pub fn counted_for(idle: Duration) -> Duration {
    idle + idle / 4
}

/// How often sessions are counted anew that last for `idle`.
pub fn count_every(idle: Duration) -> Duration {
    idle / 8
}

impl std::fmt::Debug for StoredEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The text is a payload, and no payload is ever shown.
        f.debug_struct("StoredEvent").field("stream", &self.stream).field("seq", &self.seq).finish()
    }
}

#[cfg(test)]
#[expect(clippy::cognitive_complexity, reason = "a law is a list of what holds")]
pub(crate) mod laws;
