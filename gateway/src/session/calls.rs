//! The client's requests in flight: taken in, cancelled, ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wire::id::Id;
use wire::refusal::{Reason, Refusal};

use crate::config::limits::client::RETRY_SOON;
use crate::session::Session;
use crate::session::replay::StreamTag;
use crate::telemetry::metrics::operations::Operation;

/// The client's requests in flight.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) open: BTreeMap<Id, Call>,
    /// The progress tokens of those that gave one.
    pub(super) tokens: BTreeMap<Id, Id>,
    /// The session is ending: no more are taken in.
    pub(super) is_shut: bool,
}

/// A request of the client in flight.
#[derive(Debug)]
pub(super) struct Call {
    /// The stream its answer is owed on.
    pub(super) stream: StreamTag,
    pub(super) is_cancelled: bool,
    /// Measures it; none of a request that is not a client's own, or was a former owner's.
    pub(super) operation: Option<Operation>,
}

/// A call that stands alone, beside the session on its client's socket, with which it ends: a
/// session is not at rest while one lives.
#[derive(Debug)]
pub struct Aside {
    _counted: Arc<()>,
}

impl Calls {
    /// Whether a request in flight hears of its progress under `token`.
    pub(super) fn is_used(&self, token: &Id) -> bool {
        self.tokens.values().any(|used| used == token)
    }

    /// The requests whose answers are owed on `stream`.
    pub(super) fn owed_on(&self, stream: StreamTag) -> Vec<Id> {
        let owed = self.open.iter().filter(|(_, call)| call.stream == stream);
        owed.map(|(id, _)| id.clone()).collect()
    }
}

impl Session {
    /// Takes a request of the client in: its id must not be in flight already (JSON-RPC 2.0; MCP
    /// basic, "Requests": the id must not have been used before in the session).
    ///
    /// # Errors
    /// `DUPLICATE_ID`, or `OVERLOADED` with too many calls in flight. Nothing was dispatched.
    pub fn begin(&self, id: &Id) -> Result<(), Refusal> {
        self.begin_on(StreamTag::STANDALONE, id, None)
    }

    pub(super) fn take_call(
        &self,
        id: &Id,
        stream: StreamTag,
        token: Option<Id>,
    ) -> Result<(), Refusal> {
        let mut calls = self.calls.lock();
        if let Some(token) = token.as_ref().filter(|token| calls.is_used(token)) {
            let what = format!("the progress token {token} is in use; give each request its own");
            return Err(Refusal::new(Reason::InvalidRequest, what));
        }
        if calls.is_shut {
            return Err(Refusal::new(Reason::InvalidRequest, "the session is over"));
        }
        if calls.open.contains_key(id) {
            return Err(Refusal::new(
                Reason::DuplicateId,
                format!("a request with id {id} is still in flight in this session; use a new id"),
            ));
        }
        if calls.open.len() >= self.bounds.calls {
            return Err(Refusal::new(
                Reason::Overloaded,
                format!(
                    "{} requests of this session are in flight \
                     (limits.in_flight_per_session); wait for one",
                    calls.open.len()
                ),
            )
            .retry_after(RETRY_SOON));
        }
        calls.open.insert(id.clone(), Call { stream, is_cancelled: false, operation: None });
        calls.tokens.extend(token.map(|token| (id.clone(), token)));
        Ok(())
    }

    /// As [`Session::begin`], for a request that wants to hear of its progress under `token`, which
    /// no other request in flight may have (MCP 2025-11-25, basic/utilities/progress).
    ///
    /// # Errors
    /// As there, or the token is in use.
    pub fn begin_with_token(&self, id: &Id, token: Id) -> Result<(), Refusal> {
        self.begin_on(StreamTag::STANDALONE, id, Some(token))
    }

    /// Has a request that was taken in measured until its answer.
    pub fn measure(&self, id: &Id, operation: Operation) {
        if let Some(call) = self.calls.lock().open.get_mut(id) {
            call.operation = Some(operation);
        }
    }

    /// Marks a request as cancelled by the client; false when it is not in flight.
    pub fn cancel(&self, id: &Id) -> bool {
        self.calls.lock().open.get_mut(id).is_some_and(|call| {
            call.is_cancelled = true;
            true
        })
    }

    /// Whether the client cancelled this request.
    pub fn is_cancelled(&self, id: &Id) -> bool {
        self.calls.lock().open.get(id).is_some_and(|call| call.is_cancelled)
    }

    /// Whether this request of the client is in flight.
    pub fn is_in_flight(&self, id: &Id) -> bool {
        self.calls.lock().open.contains_key(id)
    }

    /// Whether a server waits for the client.
    pub(super) fn is_asked(&self) -> bool {
        self.asks.lock().is_any_open()
    }

    /// How many requests of the client are in flight.
    pub fn in_flight(&self) -> usize {
        self.calls.lock().open.len()
    }

    /// Counts a call that stands alone, for as long as the guard lives.
    pub fn count_aside(&self) -> Aside {
        Aside { _counted: self.asides.clone() }
    }

    /// Whether calls are under way that stand alone.
    pub fn has_asides(&self) -> bool {
        Arc::strong_count(&self.asides) > 1
    }

    /// Whether nothing is in flight that would be lost, were it given to another replica.
    pub fn is_at_rest(&self) -> bool {
        self.in_flight() == 0 && !self.has_asides()
    }

    /// Takes a request out that is answered; `None` when there is none of this id.
    pub(super) fn end_call(&self, id: &Id) -> Option<Call> {
        let mut calls = self.calls.lock();
        if !calls.tokens.is_empty() {
            calls.tokens.remove(id);
        }
        let ended = calls.open.remove(id);
        drop(calls);
        if ended.is_some() {
            // Who has waited long for an answer is given as long for what comes next. It says
            // nothing of a client that is away, whose absence goes on.
            self.seen_ms.store(self.age_ms(), Ordering::Relaxed);
        }
        ended
    }
}
