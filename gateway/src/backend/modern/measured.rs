//! How long a server of the modern era takes for a call, and how that ends.

use std::sync::Arc;
use std::time::Instant;

use wire::message::Response;
use wire::method::Method;
use wire::refusal::{Reason, Refusal};

use crate::backend::modern::Modern;
use crate::telemetry::metrics::{CallLabels, Outcome};

/// A call on such a server. Dropped without an answer it was cancelled; a subscription, which lasts
/// for as long as its client wants, is not measured.
#[derive(Debug)]
pub struct Measured {
    server: Arc<Modern>,
    method: Method,
    started: Instant,
    outcome: Outcome,
}

impl Measured {
    /// A call that begins.
    pub fn new(server: &Arc<Modern>, method: Method) -> Self {
        let (server, started) = (server.clone(), Instant::now());
        Self { server, method, started, outcome: Outcome::Cancelled }
    }

    /// The server answered.
    pub fn note_answer(&mut self, response: &Response) {
        let is_error = response.error().is_some();
        self.outcome = if is_error { Outcome::Error } else { Outcome::Ok };
        if let Some(result) = response.result().filter(|_| self.method == Method::ToolsList)
            && self.server.facts.is_news(result)
        {
            self.server.context.metrics.note_tools(result);
        }
    }

    /// It did not.
    pub fn note_refusal(&mut self, refusal: &Refusal) {
        let is_late = refusal.reason == Reason::BackendTimeout;
        self.outcome = if is_late { Outcome::Timeout } else { Outcome::Lost };
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if self.method == Method::SubscriptionsListen {
            return;
        }
        let (method, backend) = (self.method.name(), &*self.server.facts.id);
        let labels = CallLabels { method, backend, transport: "modern" };
        let took = self.started.elapsed();
        self.server.context.metrics.count_call(&labels, self.outcome, took);
    }
}
