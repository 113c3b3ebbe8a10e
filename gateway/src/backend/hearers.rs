//! Whom a message of a server's is for that names no call.
//!
//! Which session a message is meant for is told by the HTTP exchange it came on, by a progress
//! token, or by the upstream's only owner. On a shared stdio process nothing names the session of
//! a log line or of a server's request; such a message is passed on only when exactly one session
//! has calls in flight there.

use crate::backend::inbound::Source;
use crate::backend::pending::Call;
use crate::backend::upstream::{Owner, Upstream};
use crate::session::outlet::Outlet;
use crate::session::{Streams as _, Transport};

impl Upstream {
    /// Whom a message without a token is for, and the call it most likely belongs to.
    pub(super) fn hearer(&self, source: Source, is_of_task: bool) -> Option<(Option<u64>, Outlet)> {
        let pending = self.pending.lock();
        let of_call = |(number, outlet): (u64, &Outlet)| (Some(number), outlet.clone());
        if let Source::Exchange(number) = source
            && let Some(outlet) = pending.get(number).and_then(Call::outlet)
        {
            return Some((Some(number), outlet.clone()));
        }
        let Owner::Session(session, _) = &self.owner else {
            return pending.sole(is_of_task).map(of_call);
        };
        let session = session.upgrade()?;
        if source == Source::Unasked {
            return Some((None, session.standalone()));
        }
        // A legacy server's request belongs to a call of the client (MCP 2025-11-25, SEP-2260),
        // which over stdio is a guess; a stream that nobody reads is the worst one.
        match pending
            .likely(is_of_task)
            .filter(|(_, outlet)| outlet.is_read() || !session.is_listening())
        {
            Some(call) => Some(of_call(call)),
            None => Some((None, session.standalone())),
        }
    }

    /// Clients without a session share one, and can be told and asked only in the course of a call.
    /// A message that does not come with the answer to its call is taken for that of the one call
    /// in flight; of two, nobody can tell whose it is.
    pub(super) fn beyond_doubt(
        &self,
        hearer: (Option<u64>, Outlet),
        source: Source,
    ) -> Option<(Option<u64>, Outlet)> {
        let is_named = matches!(source, Source::Exchange(number) if hearer.0 == Some(number));
        if is_named || hearer.1.session().transport != Transport::StandIn {
            return Some(hearer);
        }
        let pending = self.pending.lock();
        let (number, outlet) = pending.likely(false).filter(|_| pending.clients() == 1)?;
        Some((Some(number), outlet.clone()))
    }

    /// Who is asked by a request, and the call in whose course it most likely is.
    ///
    /// Put to the wrong one of the calls of clients without a session, a question would wait there
    /// while the call it belongs to hangs.
    ///
    /// # Errors
    /// Nobody can tell; what the server is told of it.
    pub(super) fn asked(
        &self,
        source: Source,
        is_of_task: bool,
    ) -> Result<(Option<u64>, Outlet), &'static str> {
        let heard = self.hearer(source, is_of_task);
        let heard = heard.ok_or("the gateway cannot tell which client this request is for")?;
        if heard.1.session().transport != Transport::StandIn {
            return Ok(heard);
        }
        let is_named = matches!(source, Source::Exchange(number) if heard.0 == Some(number));
        if is_named || (is_of_task && !heard.1.is_nobodys()) {
            return Ok(heard);
        }
        self.sole_that_may_ask().ok_or(
            "the gateway cannot tell in the course of which call this is asked; call again, and a \
             shared process one at a time",
        )
    }

    /// The one call in whose course a client without a session can be asked something that names
    /// none: it can be asked in the course of a call only, and of two calls, nobody can tell.
    fn sole_that_may_ask(&self) -> Option<(Option<u64>, Outlet)> {
        let pending = self.pending.lock();
        let mut calls = pending.that_may_ask();
        let (number, outlet) = calls.next().filter(|_| calls.next().is_none())?;
        Some((Some(number), outlet.clone()))
    }
}
