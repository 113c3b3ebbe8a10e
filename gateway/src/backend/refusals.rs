//! What callers are told when a backend does not answer: what happened, and whether it was sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wire::id::Id;
use wire::message::Message;
use wire::method::Method;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::backend::inbound::Source;
use crate::backend::patience::Patience;
use crate::backend::pending::Call;
use crate::backend::server::{Facts, Server};
use crate::backend::upstream::{NotSent, Upstream};
use crate::config::ServerKind;
use crate::config::limits::client::RETRY_SOON;
use crate::transport::http::{HttpFault, is_redirect};

impl Server {
    /// It can be reached in no way.
    pub(super) fn unsupported(&self) -> Refusal {
        let why = match &self.config.kind {
            ServerKind::Unsupported { why, .. } => why.as_str(),
            ServerKind::Stdio(_)
            | ServerKind::Http(_)
            | ServerKind::Sse(_)
            | ServerKind::WebSocket(_) => "it has no instance",
        };
        let what = format!("server {:?} is not available: {why}", self.config.id);
        Refusal::new(Reason::BackendUnavailable, what)
    }
}

/// Nothing is started any more.
pub(super) fn stopping() -> Refusal {
    Refusal::new(Reason::Draining, "the gateway is stopping; connect again")
}

impl Upstream {
    /// What a caller is told whose line was not taken.
    pub fn not_sent(&self, fault: NotSent) -> Refusal {
        match fault {
            NotSent::Closed => self.unavailable(),
            NotSent::Full => Refusal::new(
                Reason::Overloaded,
                format!("the queue in front of server {:?} is full; try again", self.facts.id),
            )
            .retry_after(RETRY_SOON),
        }
    }

    fn why(&self) -> &str {
        self.why.get().map_or("it is closed", String::as_str)
    }

    /// Nothing was sent, because the upstream is closed.
    pub fn unavailable(&self) -> Refusal {
        Refusal::new(
            Reason::BackendUnavailable,
            format!("server {:?} is not available: {}", self.facts.id, self.why()),
        )
        .retry_after(RETRY_SOON)
    }

    pub(super) fn lost(&self) -> Refusal {
        let what = format!(
            "server {:?} went away during the call ({}); whether it was carried out is unknown",
            self.facts.id,
            self.why()
        );
        Refusal::new(Reason::OutcomeUnknown, what).dispatched(Dispatched::Unknown)
    }

    /// The session ended while the call was in flight.
    pub(super) fn left(&self) -> Refusal {
        let what = "the session ended during the call; whether it was carried out is unknown";
        Refusal::new(Reason::OutcomeUnknown, what).dispatched(Dispatched::Unknown)
    }

    pub(super) fn timed_out(&self, call: &Call, now: Instant) -> Refusal {
        let took = now.duration_since(call.started);
        timed_out(&self.facts, call.method, took, call.patience)
    }
}

/// A call took too long.
pub(super) fn timed_out(
    facts: &Facts,
    method: Method,
    took: Duration,
    patience: Patience,
) -> Refusal {
    let what = format!(
        "server {:?} did not finish {} within {} s (call_timeout {} s without progress, \
         call_timeout_max {} s in all)",
        facts.id,
        method.name(),
        took.as_secs(),
        patience.idle.as_secs(),
        patience.total.as_secs(),
    );
    Refusal::new(Reason::BackendTimeout, what).dispatched(Dispatched::Unknown)
}

impl Upstream {
    /// A POST to the server failed; `number` is the call it carried.
    pub(super) fn post_failed(self: &Arc<Self>, number: Option<u64>, fault: &HttpFault) {
        let server = &self.facts.id;
        let Some(number) = number else {
            tracing::warn!(server, %fault, "a notification was not delivered");
            return;
        };
        if let HttpFault::Status { body, code, .. } = fault {
            if is_redirect(*code) {
                tracing::warn!(event = "ssrf_blocked", server, code, "a redirect was refused");
            }
            self.receive_error(number, body);
        }
        if self.pending.lock().get(number).is_some() {
            tracing::warn!(server, %fault, "a request failed");
            self.fail(number, &of_http(server, fault));
        }
    }

    /// An error status may still carry the JSON-RPC error that belongs to the request.
    fn receive_error(self: &Arc<Self>, number: u64, body: &Bytes) {
        let parsed = Message::parse(body.clone(), &self.context.limits.json);
        if let Ok(Message::Response(response)) = parsed
            && response.id().and_then(Id::as_u64) == Some(number)
        {
            self.receive(body, Source::Exchange(number));
        }
    }
}

/// What a caller is told when a connection could not be opened: nothing was sent.
pub(super) fn not_opened(server: &str, fault: &HttpFault) -> Refusal {
    tracing::error!(server, %fault, "the server could not be connected to");
    let reason = match fault {
        HttpFault::Protocol(_) | HttpFault::TooLarge => Reason::BackendProtocol,
        HttpFault::NotSent(_) | HttpFault::Lost(_) | HttpFault::Status { .. } => {
            Reason::BackendUnavailable
        }
    };
    Refusal::new(reason, format!("server {server:?} could not be connected to: {fault}"))
}

/// As [`not_opened`], when its time was up.
pub(super) fn not_opened_in(server: &str, wanted: &str, limit: Duration) -> Refusal {
    let limit = limit.as_secs_f64();
    let fault = format!("it did not offer {wanted} within {limit:.1} s (start_timeout)");
    not_opened(server, &HttpFault::NotSent(fault))
}

/// What a caller is told when an exchange over HTTP failed.
pub(super) fn of_http(server: &str, fault: &HttpFault) -> Refusal {
    let what = format!("server {server:?}: {fault}");
    match fault {
        HttpFault::NotSent(_) => {
            Refusal::new(Reason::BackendUnavailable, what).retry_after(RETRY_SOON)
        }
        HttpFault::Lost(_) => {
            Refusal::new(Reason::OutcomeUnknown, what).dispatched(Dispatched::Unknown)
        }
        HttpFault::Status { retry_after, .. } => {
            // It was sent, and a status alone does not tell whether it was carried out.
            let refusal = Refusal::new(Reason::OutcomeUnknown, what);
            let refusal = refusal.dispatched(Dispatched::Unknown);
            match retry_after {
                Some(after) => refusal.retry_after(*after),
                None => refusal,
            }
        }
        HttpFault::TooLarge => {
            Refusal::new(Reason::ResponseTooLarge, what).dispatched(Dispatched::Yes)
        }
        HttpFault::Protocol(_) => {
            Refusal::new(Reason::BackendProtocol, what).dispatched(Dispatched::Unknown)
        }
    }
}
