//! Sessions made for tests, here and in the layers above.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::session::id::{Keyring, SessionId};
use crate::session::outlet::Reader;
use crate::session::principal::Principal;
use crate::session::replay::{Caps, Next};
use crate::session::{Bounds, Session, Transport};

/// Room for everything a test says.
pub(crate) const BOUNDS: Bounds = Bounds {
    calls: 64,
    asks: 64,
    log: Caps { events: 1000, bytes: 1 << 20, queue_events: 1000, queue_bytes: 1 << 20 },
};

/// A session on `/mcp`, unlike every other.
pub(crate) fn session() -> Arc<Session> {
    Arc::new(bounded(Transport::Streamable, BOUNDS))
}

/// A session with bounds of its own.
pub(crate) fn bounded(transport: Transport, bounds: Bounds) -> Session {
    let id = SessionId::mint();
    let key = Keyring::new(None).key(&Principal::anonymous(), &id);
    Session::new(id, key, transport, bounds)
}

/// What the reader finds without waiting; `None` when it would have to wait.
pub(crate) fn ready(reader: &mut Reader) -> Option<Next> {
    let mut next = pin!(reader.next());
    match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(next) => Some(next),
        Poll::Pending => None,
    }
}

/// The texts of all events that are there.
pub(crate) fn texts(reader: &mut Reader) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(Next::Event(event)) = ready(reader) {
        texts.push(event.text.to_string());
    }
    texts
}
