//! What callers are told when a backend does not answer: what happened, and whether it was sent.

use std::time::{Duration, Instant};

use wire::refusal::{Dispatched, Reason, Refusal};

use crate::backend::pending::Call;
use crate::backend::upstream::{NotSent, Upstream};
use crate::transport::http::HttpFault;

impl Upstream {
    /// What a caller is told whose line was not taken.
    pub fn not_sent(&self, fault: NotSent) -> Refusal {
        match fault {
            NotSent::Closed => self.unavailable(),
            NotSent::Full => Refusal::new(
                Reason::Overloaded,
                format!("the queue in front of server {:?} is full; try again", self.facts.id),
            )
            .retry_after(Duration::from_secs(1)),
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
        .retry_after(Duration::from_secs(1))
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
        let what = format!(
            "server {:?} did not finish {} within {} s (call_timeout {} s without progress, \
             call_timeout_max {} s in all)",
            self.facts.id,
            call.method.name(),
            now.duration_since(call.started).as_secs(),
            call.patience.idle.as_secs(),
            call.patience.total.as_secs(),
        );
        Refusal::new(Reason::BackendTimeout, what).dispatched(Dispatched::Unknown)
    }
}

/// What a caller is told when an exchange over HTTP failed.
pub(super) fn of_http(server: &str, fault: &HttpFault) -> Refusal {
    let what = format!("server {server:?}: {fault}");
    match fault {
        HttpFault::NotSent(_) => {
            Refusal::new(Reason::BackendUnavailable, what).retry_after(Duration::from_secs(1))
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
