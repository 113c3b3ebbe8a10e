//! Every reason we answer a message with an error, and the error it becomes.

use std::time::Duration;

use crate::id::Id;
use crate::json;
use crate::message::Response;

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The text is not JSON.
    Parse,
    /// The JSON is not a JSON-RPC message.
    InvalidRequest,
    /// Nobody knows the method.
    MethodNotFound,
    /// The parameters do not fit the method.
    InvalidParams,
    /// A fault of ours.
    Internal,
    /// The resource does not exist (legacy revisions only; 2026-07-28 says `InvalidParams`).
    ResourceNotFound,
    /// A routing header is missing, comes twice or says something else than the body (2026-07-28).
    HeaderMismatch,
    /// The client did not declare a capability the call needs (2026-07-28).
    MissingCapability,
    /// The request names a revision that is not served here (2026-07-28).
    UnsupportedRevision,
    /// The backend cannot be reached or cannot start.
    BackendUnavailable,
    /// The backend may or may not have carried out the call.
    OutcomeUnknown,
    /// The backend did not answer in time.
    BackendTimeout,
    /// The session store cannot be reached.
    StoreUnavailable,
    /// The caller sends more than its rate allows.
    RateLimited,
    /// A bound of ours is reached.
    Overloaded,
    /// Events the client asked to have replayed are gone.
    ReplayGap,
    /// The backend broke the protocol.
    BackendProtocol,
    /// A request with this id is still in flight.
    DuplicateId,
    /// The message is larger than we accept.
    RequestTooLarge,
    /// The backend's answer is larger than we pass on.
    ResponseTooLarge,
    /// This replica is shutting down.
    Draining,
}

impl Reason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Reason; 21] = [
        Reason::Parse,
        Reason::InvalidRequest,
        Reason::MethodNotFound,
        Reason::InvalidParams,
        Reason::Internal,
        Reason::ResourceNotFound,
        Reason::HeaderMismatch,
        Reason::MissingCapability,
        Reason::UnsupportedRevision,
        Reason::BackendUnavailable,
        Reason::OutcomeUnknown,
        Reason::BackendTimeout,
        Reason::StoreUnavailable,
        Reason::RateLimited,
        Reason::Overloaded,
        Reason::ReplayGap,
        Reason::BackendProtocol,
        Reason::DuplicateId,
        Reason::RequestTooLarge,
        Reason::ResponseTooLarge,
        Reason::Draining,
    ];

    /// The JSON-RPC error code. Ours lie outside −32768…−32000, which the protocol reserves
    /// (2026-07-28 basic, "Error codes").
    pub const fn code(self) -> i64 {
        match self {
            Reason::Parse => -32700,
            Reason::InvalidRequest => -32600,
            Reason::MethodNotFound => -32601,
            Reason::InvalidParams => -32602,
            Reason::Internal => -32603,
            Reason::ResourceNotFound => -32002,
            Reason::HeaderMismatch => -32020,
            Reason::MissingCapability => -32021,
            Reason::UnsupportedRevision => -32022,
            Reason::BackendUnavailable => -31001,
            Reason::OutcomeUnknown => -31002,
            Reason::BackendTimeout => -31003,
            Reason::StoreUnavailable => -31004,
            Reason::RateLimited => -31005,
            Reason::Overloaded => -31006,
            Reason::ReplayGap => -31007,
            Reason::BackendProtocol => -31008,
            Reason::DuplicateId => -31009,
            Reason::RequestTooLarge => -31010,
            Reason::ResponseTooLarge => -31011,
            Reason::Draining => -31012,
        }
    }

    /// The name in logs, metrics and REST answers.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Parse => "PARSE",
            Reason::InvalidRequest => "INVALID_REQUEST",
            Reason::MethodNotFound => "METHOD_NOT_FOUND",
            Reason::InvalidParams => "INVALID_PARAMS",
            Reason::Internal => "INTERNAL",
            Reason::ResourceNotFound => "RESOURCE_NOT_FOUND",
            Reason::HeaderMismatch => "HEADER_MISMATCH",
            Reason::MissingCapability => "MISSING_CAPABILITY",
            Reason::UnsupportedRevision => "UNSUPPORTED_REVISION",
            Reason::BackendUnavailable => "BACKEND_UNAVAILABLE",
            Reason::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Reason::BackendTimeout => "BACKEND_TIMEOUT",
            Reason::StoreUnavailable => "STORE_UNAVAILABLE",
            Reason::RateLimited => "RATE_LIMITED",
            Reason::Overloaded => "OVERLOADED",
            Reason::ReplayGap => "REPLAY_GAP",
            Reason::BackendProtocol => "BACKEND_PROTOCOL",
            Reason::DuplicateId => "DUPLICATE_ID",
            Reason::RequestTooLarge => "REQUEST_TOO_LARGE",
            Reason::ResponseTooLarge => "RESPONSE_TOO_LARGE",
            Reason::Draining => "DRAINING",
        }
    }

    /// Whether the same message can succeed later without a change. A message that was or may
    /// have been carried out must not be repeated all the same: see [`Refusal::retryable`].
    pub const fn retryable(self) -> bool {
        match self {
            Reason::BackendUnavailable
            | Reason::StoreUnavailable
            | Reason::RateLimited
            | Reason::Overloaded
            | Reason::Draining => true,
            Reason::Parse
            | Reason::InvalidRequest
            | Reason::MethodNotFound
            | Reason::InvalidParams
            | Reason::Internal
            | Reason::ResourceNotFound
            | Reason::HeaderMismatch
            | Reason::MissingCapability
            | Reason::UnsupportedRevision
            | Reason::OutcomeUnknown
            | Reason::BackendTimeout
            | Reason::ReplayGap
            | Reason::BackendProtocol
            | Reason::DuplicateId
            | Reason::RequestTooLarge
            | Reason::ResponseTooLarge => false,
        }
    }
}

/// Whether a backend has seen the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispatched {
    /// Surely not: repeating it cannot carry it out twice.
    No,
    /// Yes.
    Yes,
    /// Perhaps.
    Unknown,
}

impl Dispatched {
    /// The JSON text in an error's data.
    pub const fn as_json(self) -> &'static str {
        match self {
            Dispatched::No => "false",
            Dispatched::Yes => "true",
            Dispatched::Unknown => "\"unknown\"",
        }
    }
}

/// A message refused: what the client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", reason.name())]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// For the client: what was wrong and what to do.
    pub message: String,
    /// Whether a backend has seen the message.
    pub dispatched: Dispatched,
    /// How long to wait before another attempt.
    pub retry_after: Option<Duration>,
    /// Further members of the error's data: keys, and their values as JSON text.
    pub data: Vec<(&'static str, String)>,
}

impl Refusal {
    /// A refusal of a message no backend has seen.
    pub fn new(reason: Reason, message: impl Into<String>) -> Refusal {
        Refusal {
            reason,
            message: message.into(),
            dispatched: Dispatched::No,
            retry_after: None,
            data: Vec::new(),
        }
    }

    /// Says whether a backend has seen the message.
    #[must_use]
    pub fn dispatched(mut self, dispatched: Dispatched) -> Refusal {
        self.dispatched = dispatched;
        self
    }

    /// Says how long to wait before another attempt.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Refusal {
        self.retry_after = Some(wait);
        self
    }

    /// Adds a member to the error's data: `value` is JSON text, and `key` is none of the members
    /// every refusal has ([`to_response`](Refusal::to_response)) nor one that was added before.
    #[must_use]
    pub fn with_data(mut self, key: &'static str, value: impl Into<String>) -> Refusal {
        self.data.push((key, value.into()));
        self
    }

    /// Whether the client may safely send the same message again: the reason passes with time,
    /// and no backend has seen the message. What is too much for a limit at any time is told no
    /// time to wait.
    pub fn retryable(&self) -> bool {
        let never_passes = self.reason == Reason::RateLimited && self.retry_after.is_none();
        self.reason.retryable() && self.dispatched == Dispatched::No && !never_passes
    }

    /// The JSON-RPC error. Its data is `{dispatched, retryable, retryAfterMs?, requestId}` and what
    /// [`with_data`](Refusal::with_data) added;
    /// `request_id` is the one in our logs, not the JSON-RPC id.
    pub fn to_response(&self, id: Option<&Id>, request_id: &str) -> Response {
        let mut data = format!(
            "{{\"dispatched\":{},\"retryable\":{},",
            self.dispatched.as_json(),
            self.retryable()
        );
        if let Some(wait) = self.retry_after {
            data.push_str(&format!("\"retryAfterMs\":{},", wait.as_millis()));
        }
        data.push_str(&format!("\"requestId\":{}", json::quote(request_id)));
        for (key, value) in &self.data {
            data.push_str(&format!(",{}:{value}", json::quote(key)));
        }
        data.push('}');
        Response::failure(id, self.reason.code(), &self.message, Some(&data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_are_distinct() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            for other in &Reason::ALL[..index] {
                assert_ne!((reason.name(), reason.code()), (other.name(), other.code()));
                assert!(reason.name() != other.name() && reason.code() != other.code());
            }
        }
    }

    #[test]
    fn tells_what_the_client_needs_to_decide() {
        let refusal = Refusal::new(Reason::RateLimited, "Slow \"down\".")
            .retry_after(Duration::from_millis(1500));
        let response = refusal.to_response(Some(&Id::number(7)), "r-1");
        assert_eq!(
            response.text(),
            "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-31005,\
             \"message\":\"Slow \\\"down\\\".\",\"data\":{\"dispatched\":false,\
             \"retryable\":true,\"retryAfterMs\":1500,\"requestId\":\"r-1\"}}}"
        );
    }

    #[test]
    fn says_what_would_have_been_accepted() {
        let refusal = Refusal::new(Reason::UnsupportedRevision, "Too new.")
            .with_data("supported", "[\"2026-07-28\"]")
            .with_data("requested", "\"2099-01-01\"");
        let response = refusal.to_response(None, "r");
        let error = json::member(response.text(), "error").unwrap();
        assert_eq!(json::member(error, "code"), Some("-32022"));
        let expected = "{\"dispatched\":false,\"retryable\":false,\"requestId\":\"r\",\
             \"supported\":[\"2026-07-28\"],\"requested\":\"2099-01-01\"}";
        assert_eq!(json::member(error, "data"), Some(expected));
    }

    #[test]
    fn what_is_always_too_much_is_not_to_be_repeated() {
        let refusal = Refusal::new(Reason::RateLimited, "Never.");
        assert!(!refusal.retryable());
        assert!(refusal.retry_after(Duration::from_secs(1)).retryable());
    }

    #[test]
    fn a_call_that_may_have_run_is_not_to_be_repeated() {
        let refusal =
            Refusal::new(Reason::BackendUnavailable, "Gone.").dispatched(Dispatched::Unknown);
        assert!(!refusal.retryable());
        let response = refusal.to_response(None, "r");
        let data = json::path(response.text(), &["error", "data"]);
        let expected = r#"{"dispatched":"unknown","retryable":false,"requestId":"r"}"#;
        assert_eq!(data, Some(expected));
        assert_eq!(json::member(response.text(), "id"), Some("null"));
    }
}
