//! Requests of revision 2026-07-28 on a socket: each stands alone, and many are under way at once.
//!
//! There are no headers to compare with, and nothing is closed that could mean a cancellation, so
//! that `notifications/cancelled` does, as over stdio (MCP 2026-07-28, basic/transports/stdio).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString;
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, SelectAll};
use tokio::sync::oneshot;
use wire::id::Id;
use wire::json;
use wire::message::{Notification, Request};
use wire::method::Method;
use wire::modern;
use wire::refusal::{Reason, Refusal};

use crate::config::limits::client::RETRY_SOON;
use crate::http::Edge;
use crate::relay::exchange::Said;
use crate::relay::standin::Guest;
use crate::session::{Aside, Session};

/// The requests under way on one socket.
pub(super) struct Exchanges {
    guest: Guest,
    open: BTreeMap<Id, Open>,
    said: SelectAll<BoxStream<'static, (Id, Said)>>,
}

/// A request under way; dropped when it was answered, or the client cancels.
struct Open {
    _cancel: oneshot::Sender<()>,
    /// None of a subscription: it lasts for as long as its client wants, and nobody waits for its
    /// end.
    _counted: Option<Aside>,
}

impl Exchanges {
    /// None yet.
    pub(super) fn new(guest: Guest) -> Self {
        Self { guest, open: BTreeMap::new(), said: SelectAll::new() }
    }

    /// Takes a request in, beside the session that is on the same socket.
    ///
    /// # Errors
    /// It cannot be carried out as it is; nothing was done.
    pub(super) fn begin(
        &mut self,
        edge: &Arc<Edge>,
        session: &Session,
        request: Request,
    ) -> Result<(), Refusal> {
        modern::check(&request, None)?;
        let id = request.id().clone();
        if self.open.contains_key(&id) {
            let what = format!("a request with id {id} is still in flight; use a new id");
            return Err(Refusal::new(Reason::DuplicateId, what));
        }
        if self.open.len() >= edge.config.limits.in_flight_per_session {
            let what = "too many requests of this connection are in flight \
                        (limits.in_flight_per_session); wait for one";
            return Err(Refusal::new(Reason::Overloaded, what).retry_after(RETRY_SOON));
        }
        let (cancel, cancelled) = oneshot::channel();
        let is_call = request.method() != Method::SubscriptionsListen;
        let counted = is_call.then(|| session.count_aside());
        self.open.insert(id.clone(), Open { _cancel: cancel, _counted: counted });
        let said = edge.relay.exchange(self.guest.clone(), request, None).into_said();
        let named = said.map(move |said| (id.clone(), said));
        self.said.push(named.take_until(cancelled).boxed());
        Ok(())
    }

    /// Whether a notification cancels one of these requests, which is then over.
    pub(super) fn cancel(&mut self, note: &Notification) -> bool {
        let id = note.params().and_then(|it| Id::parse(json::member(it, "requestId")?));
        note.method() == Method::Cancelled && id.is_some_and(|id| self.open.remove(&id).is_some())
    }

    /// What is said next; waits for ever while nothing is under way.
    ///
    /// # Cancel safety
    /// Safe: nothing that was said is lost.
    pub(super) async fn next(&mut self) -> ByteString {
        let Some((id, said)) = self.said.next().await else {
            return std::future::pending().await;
        };
        if matches!(said, Said::Answer(..)) {
            self.open.remove(&id);
        }
        said.into_text()
    }
}
