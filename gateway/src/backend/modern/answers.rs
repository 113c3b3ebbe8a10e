//! A call under way, and what it is followed by.

use wire::message::{Request, Response};
use wire::refusal::{Reason, Refusal};

use crate::backend::modern::exchange::Exchange;
use crate::backend::modern::stdio::Flow;
use crate::backend::modern::{Lane, Modern, Said};
use crate::telemetry::traces::{Asked, End};
use crate::telemetry::trail::Trail;

/// A call under way. Ids, progress tokens and `subscriptionId` in it are the caller's own.
///
/// Dropping it before the last message cancels the call: over HTTP the connection is closed, over
/// stdio the server gets `notifications/cancelled` (MCP 2026-07-28, basic/utilities/cancellation).
#[derive(Debug)]
pub struct Answers {
    pub(super) inner: Inner,
    /// What the call is followed by.
    pub(super) trail: Trail,
}

#[derive(Debug)]
pub(super) enum Inner {
    Http(Box<Exchange>),
    Stdio(Flow),
}

impl Answers {
    /// Waits for the next message; `None` after the last one.
    ///
    /// The server's time limits (`call_timeout`, `call_timeout_max`) are kept here, except for
    /// `subscriptions/listen`, which has none.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Said> {
        let said = match &mut self.inner {
            Inner::Http(exchange) => exchange.next().await,
            Inner::Stdio(flow) => flow.next().await,
        };
        if let Some(trace) = self.trail.trace() {
            match &said {
                Some(Said::Answer(response)) => trace.end_call(End::Answered(response.text())),
                Some(Said::Refused(refusal)) => trace.end_call(End::Refused(refusal.reason.name())),
                Some(Said::Note(_)) | None => {}
            }
        }
        said
    }

    /// Waits for the answer; what comes before it is of no interest.
    pub(super) async fn last(mut self) -> Result<Response, Refusal> {
        loop {
            match self.next().await {
                Some(Said::Note(_)) => {}
                Some(Said::Answer(response)) => return Ok(response),
                Some(Said::Refused(refusal)) => return Err(refusal),
                None => return Err(Refusal::new(Reason::Internal, "a call had no end")),
            }
        }
    }
}

impl Modern {
    /// What a call is followed by, and the request that tells the server of it.
    pub(super) fn followed(&self, request: Request) -> (Trail, Request) {
        let trail = Trail::current();
        if trail.trace().is_none() {
            return (trail, request);
        }
        let transport = match &self.lane {
            Lane::Http(_) | Lane::None => "streamable_http",
            Lane::Stdio(_) => "stdio",
        };
        let server = Some(self.facts.id.as_str());
        let asked = Asked { request: &request, server, transport, session: None };
        let trail = trail.calling(&asked);
        let request = match trail.trace() {
            Some(trace) => trace.carried_by(request),
            None => request,
        };
        (trail, request)
    }
}
