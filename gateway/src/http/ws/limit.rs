//! How much a client may say on a socket.
//!
//! What would be a request of HTTP each is a message here, and is counted as one: all that comes
//! for its address, before it is read, and requests for their caller. A request beyond the caller's
//! limit is answered with an error; what is beyond the address's closes the socket, as too many
//! pings do.

use std::net::IpAddr;

use axum::extract::Request as Question;
use wire::message::{Body as Said, Malformed, Message, Request};
use wire::refusal::Refusal;

use super::{End, Talk, code};
use crate::http::{Edge, caller};
use crate::session::caller::Caller;

/// Who is at the other end of a socket, as far as limits go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance(Option<(IpAddr, Caller)>);

impl Allowance {
    /// That of a request to speak WebSocket.
    pub(super) fn of(edge: &Edge, question: &Question) -> Self {
        let (headers, extensions) = (question.headers(), question.extensions());
        let caller = caller::of(edge, headers, extensions);
        Self(caller.map(|caller| (caller::address_of(edge, headers, extensions), caller)))
    }

    /// Whose requests come on the socket; none where nothing is limited.
    pub(super) fn caller(self) -> Option<Caller> {
        self.0.map(|(_, caller)| caller)
    }

    /// Counts a message for the address it came from, before it is read.
    pub(super) fn pass(self, edge: &Edge) -> Result<(), End> {
        let Some((address, _)) = self.0 else { return Ok(()) };
        edge.relay.limits.pass(address).map_err(|refusal| {
            edge.relay.context.metrics.count_error(refusal.reason.name());
            End::Close(code::POLICY, "too many messages")
        })
    }

    async fn take(self, edge: &Edge, said: Option<&Said>) -> Result<(), Refusal> {
        let Some((_, caller)) = self.0 else { return Ok(()) };
        match said.map_or(0, caller::requests) {
            0 => Ok(()),
            counted => edge.relay.limits.take(caller, counted).await,
        }
    }
}

impl Talk<'_> {
    /// Counts the requests in what the client said: what of it is to be taken in. Where nothing is,
    /// what becomes of the socket.
    pub(super) async fn admit(
        &mut self,
        said: Result<Said, Malformed>,
    ) -> Result<Result<Said, Malformed>, Option<End>> {
        let Err(refusal) = self.allowance.take(self.edge, said.as_ref().ok()).await else {
            return Ok(said);
        };
        self.edge.relay.context.metrics.count_error(refusal.reason.name());
        let messages = match said {
            Ok(Said::One(Message::Request(request))) => {
                return Err(self.deny(&request, &refusal).await);
            }
            Ok(Said::Batch(messages)) => messages,
            // Nothing of it counts.
            other @ (Ok(Said::One(Message::Notification(_) | Message::Response(_))) | Err(_)) => {
                return Ok(other);
            }
        };
        let mut others = Vec::new();
        for message in messages {
            match message {
                Ok(Message::Request(request)) => {
                    if let Some(end) = self.deny(&request, &refusal).await {
                        return Err(Some(end));
                    }
                }
                other => others.push(other),
            }
        }
        if others.is_empty() { Err(None) } else { Ok(Ok(Said::Batch(others))) }
    }

    /// Answers a request that is not taken in, in the way of its era.
    async fn deny(&mut self, request: &Request, refusal: &Refusal) -> Option<End> {
        if wire::modern::is_modern(request.params(), None) {
            return self.say_no(Some(request.id()), refusal).await;
        }
        self.reject(Some(request.id()), refusal).await
    }
}
