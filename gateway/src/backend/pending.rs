//! The calls that a backend still owes an answer to.
//!
//! On a pipe or HTTP session every request carries a number of the gateway's own, and so does its
//! progress token: two clients may both use id 1 (JSON-RPC ids collide across clients), and the
//! client's own id and token are put back byte for byte. Pure: no IO, time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use tokio::sync::oneshot;
use wire::id::Id;
use wire::message::Response;
use wire::method::Method;

use crate::session::id::SessionKey;
use crate::session::outlet::Outlet;

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Time without an answer or progress.
    pub idle: Duration,
    /// Time in all, whatever the progress.
    pub total: Duration,
}

/// Who asked.
#[derive(Debug)]
pub enum Caller {
    /// A client's request.
    Client {
        /// Where the answer goes.
        outlet: Outlet,
        /// The client's id.
        id: Id,
        /// The client's progress token, as JSON text.
        progress_token: Option<ByteString>,
    },
    /// A request of the gateway's own, such as `initialize` or a list to be merged.
    Gateway(oneshot::Sender<Response>),
}

/// One call in flight.
#[derive(Debug)]
pub struct Call {
    /// Who asked.
    pub caller: Caller,
    /// What was asked.
    pub method: Method,
    /// When it was taken in.
    pub started: Instant,
    /// How long it may take.
    pub patience: Patience,
    /// When it was last heard of.
    heard: Instant,
    /// The client cancelled it; an answer may still come within the grace period.
    cancelled: Option<Instant>,
}

/// How long a cancelled call may still be answered before its stream is ended without an answer.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// The calls in flight on one upstream.
#[derive(Debug, Default)]
pub struct Pending {
    last: u64,
    calls: BTreeMap<u64, Call>,
}

/// Why a call is taken out by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// Nothing was heard for [`Patience::idle`], or it took [`Patience::total`].
    TimedOut,
    /// It was cancelled and no answer came.
    Cancelled,
}

// === impl Call ===

impl Call {
    /// A call that starts at `now`.
    pub fn new(caller: Caller, method: Method, patience: Patience, now: Instant) -> Self {
        Self { caller, method, started: now, patience, heard: now, cancelled: None }
    }

    /// The client's outlet, unless the gateway itself asked.
    pub fn outlet(&self) -> Option<&Outlet> {
        match &self.caller {
            Caller::Client { outlet, .. } => Some(outlet),
            Caller::Gateway(_) => None,
        }
    }

    fn belongs_to(&self, session: SessionKey) -> bool {
        self.outlet().is_some_and(|outlet| outlet.session().key == session)
    }

    fn overdue(&self, now: Instant) -> Option<Overdue> {
        if self.cancelled.is_some_and(|at| now.duration_since(at) >= CANCEL_GRACE) {
            return Some(Overdue::Cancelled);
        }
        let silent = now.duration_since(self.heard) >= self.patience.idle;
        let old = now.duration_since(self.started) >= self.patience.total;
        (silent || old).then_some(Overdue::TimedOut)
    }
}

// === impl Pending ===

impl Pending {
    /// Takes a call in and gives it its number on the pipe.
    pub fn insert(&mut self, call: Call) -> u64 {
        self.last += 1;
        self.calls.insert(self.last, call);
        self.last
    }

    /// The call with this number.
    pub fn get(&self, number: u64) -> Option<&Call> {
        self.calls.get(&number)
    }

    /// Takes the call with this number out.
    pub fn take(&mut self, number: u64) -> Option<Call> {
        self.calls.remove(&number)
    }

    /// Notes progress: the call's idle time starts anew.
    pub fn hear(&mut self, number: u64, now: Instant) -> Option<&Call> {
        let call = self.calls.get_mut(&number)?;
        call.heard = now;
        Some(call)
    }

    /// Marks a client's call as cancelled; its number, when it is in flight here.
    pub fn cancel(&mut self, session: SessionKey, id: &Id, now: Instant) -> Option<u64> {
        let is_it = |call: &Call| match &call.caller {
            Caller::Client { id: own, .. } => own == id && call.belongs_to(session),
            Caller::Gateway(_) => false,
        };
        let (number, call) = self.calls.iter_mut().find(|(_, call)| is_it(call))?;
        call.cancelled.get_or_insert(now);
        Some(*number)
    }

    /// Takes out every call whose time is up.
    pub fn take_overdue(&mut self, now: Instant) -> Vec<(u64, Call, Overdue)> {
        let due: Vec<_> = self
            .calls
            .iter()
            .filter_map(|(number, call)| Some((*number, call.overdue(now)?)))
            .collect();
        due.into_iter()
            .filter_map(|(number, why)| Some((number, self.calls.remove(&number)?, why)))
            .collect()
    }

    /// Takes every call out: the upstream is gone.
    pub fn take_all(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls).into_values().collect()
    }

    /// Takes out the calls of one session: it ended.
    pub fn take_of(&mut self, session: SessionKey) -> Vec<u64> {
        let own: Vec<_> = self
            .calls
            .iter()
            .filter(|(_, call)| call.belongs_to(session))
            .map(|(number, _)| *number)
            .collect();
        own.iter().for_each(|number| drop(self.calls.remove(number)));
        own
    }

    /// The outlet of the client call that was taken in last.
    pub fn newest_outlet(&self) -> Option<Outlet> {
        self.calls.values().rev().find_map(Call::outlet).cloned()
    }

    /// The newest outlet, when all client calls in flight belong to one and the same session.
    ///
    /// A message on a shared legacy pipe names no session; it may be passed on only when there
    /// is no doubt whose it is.
    pub fn sole_outlet(&self) -> Option<Outlet> {
        let newest = self.newest_outlet()?;
        let key = newest.session().key;
        let mut others = self.calls.values().filter(|call| call.outlet().is_some());
        others.all(|call| call.belongs_to(key)).then_some(newest)
    }

    /// The number of the call in flight, when there is one and no other.
    pub fn only(&self) -> Option<u64> {
        let (number, _) = self.calls.first_key_value()?;
        (self.calls.len() == 1).then_some(*number)
    }

    /// How many calls are in flight.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}
