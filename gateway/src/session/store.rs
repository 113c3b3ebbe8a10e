//! What a store of sessions must keep, whichever it is.
//!
//! The laws (each is a test in `laws`, run against every store):
//! 1. A record that was created is loaded as it was, until it is removed or expires.
//! 2. `create` never overwrites: a key that is taken is refused.
//! 3. An unknown, removed or expired key loads nothing; removing it again is no error.
//! 4. `touch` moves the idle end, never beyond the absolute end.
//! 5. Events come back in the order they were appended, those of the asked stream only, and only
//!    those after the asked place.
//! 6. All or nothing: when one asked event is gone, the answer is a gap, not a part.
//! 7. An append to an unknown key is refused.

use std::time::{Duration, SystemTime};

use bytestring::ByteString;
use futures_util::future::BoxFuture;
use thiserror::Error;

use crate::session::id::SessionKey;

/// What is known of a session beyond the replica that serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The transport's name.
    pub transport: String,
    /// The server id, or `None` for all servers as one.
    pub server: Option<String>,
    /// The agreed revision, once there is one.
    pub revision: Option<String>,
    /// The client's `initialize` params.
    pub params: Option<ByteString>,
    /// When the session ends if nobody is heard of.
    pub idle_end: SystemTime,
    /// When it ends at the latest.
    pub absolute_end: SystemTime,
}

/// One event of a session's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// The stream's number.
    pub stream: u32,
    /// The event's place in the session.
    pub seq: u64,
    /// The JSON-RPC message.
    pub text: ByteString,
}

/// Why a store did not do as asked.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// The key is taken.
    #[error("the session exists already")]
    Taken,
    /// No such session.
    #[error("there is no such session")]
    Unknown,
    /// Events that were asked for are gone.
    #[error("events after the asked one are gone")]
    Gap,
    /// The store cannot be reached, or is full.
    #[error("the session store is unavailable")]
    Unavailable,
}

/// The answer of a store.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keeps what sessions need beyond one replica.
pub trait Store: Send + Sync {
    /// Whether other replicas read what is written here; where they do not, a session's own log
    /// is enough and events are not appended.
    fn is_shared(&self) -> bool;
    /// Creates a record.
    fn create(&self, key: SessionKey, record: Record) -> Answer<'_, ()>;
    /// Loads a record.
    fn load(&self, key: SessionKey, now: SystemTime) -> Answer<'_, Option<Record>>;
    /// Replaces a record.
    fn save(&self, key: SessionKey, record: Record) -> Answer<'_, ()>;
    /// Moves the idle end to `now + idle`, at most to the absolute end.
    fn touch(&self, key: SessionKey, now: SystemTime, idle: Duration) -> Answer<'_, ()>;
    /// Removes a record and its events.
    fn remove(&self, key: SessionKey) -> Answer<'_, ()>;
    /// Appends events, in order.
    fn append(&self, key: SessionKey, events: Vec<StoredEvent>) -> Answer<'_, ()>;
    /// The events of `stream` after `seq`.
    fn replay(&self, key: SessionKey, stream: u32, seq: u64) -> Answer<'_, Vec<StoredEvent>>;
}

#[cfg(test)]
pub(crate) mod laws;
