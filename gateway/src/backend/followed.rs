//! What calls to a server are followed by.

use wire::message::Request;

use crate::backend::upstream::{Pipe, Upstream};
use crate::telemetry::traces::Asked;
use crate::telemetry::trail::Trail;

impl Upstream {
    /// What a call here is followed by, in the course of the request whose trail this is.
    pub(super) fn trail_of(&self, trail: &Trail, request: &Request) -> Trail {
        let transport = match &self.pipe {
            // Each of its exchanges has a span of its own.
            Pipe::Modern(_) => return trail.clone(),
            Pipe::Stdio(_) => "stdio",
            Pipe::Http(_) => "streamable_http",
            Pipe::Link(_) => "connection",
        };
        if trail.trace().is_none() {
            return trail.clone();
        }
        let server = Some(self.facts.id.as_str());
        trail.calling(&Asked { request, server, transport, session: None })
    }

    /// What a call in flight is followed by.
    pub(super) fn trail_of_call(&self, number: u64) -> Option<Trail> {
        self.pending.lock().get(number)?.trail.clone()
    }
}
