//! Requests to one MCP endpoint over Streamable HTTP, and the event streams it answers with.
//!
//! Rules: MCP 2025-11-25, basic/transports "Streamable HTTP". Redirects are never followed: one
//! could lead a request, with its credentials, to a host nobody configured.
//!
//! A request that surely was not sent is tried again here when a kept connection turned out to be
//! closed; any other is sent at most once. Which of the two it is says the connection, by giving
//! the request back or not.

mod answer;
mod carry;
mod connect;
mod connection;
mod pool;
mod target;
mod trial;
mod trust;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};

pub use self::answer::{Answer, AnswerKind, EventStream};
pub use self::carry::{Answering, CarryFault, Duplex, Upgrade};
use self::connect::Connector;
pub(super) use self::connect::Socket;
use self::connection::{Connection, Outgoing};
use self::pool::Pool;
pub use self::target::{BadTarget, Target};
pub use self::trial::{DialFault, Dialled, Steps, dial, understand};
pub use self::trust::Trust;
use crate::config::limits::remote::{CONNECT_TIMEOUT, FRESH_TRIES};
use crate::config::limits::server::LINE_BYTES;

/// Names the session; answered by `initialize`, sent with every later request.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Names the revision; sent with every request after `initialize`.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The last event seen, when a stream is taken up again.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Sends requests and keeps connections. Clones share the connections; a gateway has one.
#[derive(Clone, Debug)]
pub struct Client {
    connector: Connector,
    pool: Arc<Pool>,
    answer_limit: usize,
    connect_timeout: Duration,
}

/// Why a request has no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpFault {
    /// No connection, or a closed one: the backend surely has not seen the request.
    #[error("{0}")]
    NotSent(String),
    /// It failed after sending had begun: nobody knows whether the backend acted on it.
    #[error("{0}")]
    Lost(String),
    /// The backend answered with a status that is no success.
    #[error("the backend answered with HTTP status {code}{}", redirect(*code))]
    Status {
        /// The status code; a redirect is one too.
        code: u16,
        /// The answer's body, up to 64 KiB.
        body: Bytes,
        /// From `Retry-After`, when it was given in seconds.
        retry_after: Option<Duration>,
    },
    /// The answer, or one event of a stream, is longer than the limit.
    #[error("the backend's answer is too long")]
    TooLarge,
    /// The answer is none that MCP knows.
    #[error("{0}")]
    Protocol(String),
}

/// What is said of a status that points elsewhere.
fn redirect(code: u16) -> &'static str {
    if is_redirect(code) { "; redirects are not followed" } else { "" }
}

/// Whether a status asks to go elsewhere (RFC 9110 section 15.4).
#[must_use]
pub fn is_redirect(code: u16) -> bool {
    (300..400).contains(&code) && code != 304
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// Makes a client that trusts the machine's certificate store. Without one (the images that
    /// lack `ca-certificates`) plain HTTP works, and every HTTPS backend is refused.
    #[must_use]
    pub fn new() -> Self {
        Self::trusting(Trust::System)
    }

    /// A client that trusts others than the machine does.
    #[must_use]
    pub fn trusting(trust: Trust) -> Self {
        Self {
            connector: Connector::new(trust),
            pool: Arc::default(),
            answer_limit: LINE_BYTES,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }

    /// The same client with another limit for a whole answer or one event, in bytes.
    #[must_use]
    pub fn with_answer_limit(mut self, answer_limit: usize) -> Self {
        self.answer_limit = answer_limit;
        self
    }

    /// The same client with another time to connect.
    #[must_use]
    pub fn with_connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self
    }

    /// Closes connections that were idle for too long; to be called now and then.
    pub fn sweep(&self, now: Instant) {
        self.pool.sweep(now);
    }

    /// Closes the connections to this target that lie idle.
    pub fn forget(&self, target: &Target) {
        self.pool.forget(target.origin());
    }

    /// Sends one message, or one batch, and returns the answer once it is known to be one.
    ///
    /// Only connecting has a deadline here: how long an answer may take is for the caller to say.
    ///
    /// # Errors
    /// See [`HttpFault`].
    ///
    /// # Cancel safety
    /// Dropping it closes the connection (HTTP/1.1) or resets the stream (HTTP/2); whether the
    /// backend acts on the request is not known then.
    pub async fn post(&self, target: &Target, body: Bytes) -> Result<Answer, HttpFault> {
        self.post_with(target, std::iter::empty(), body).await
    }

    /// As [`post`](Self::post), with headers that belong to this request alone.
    ///
    /// # Errors
    /// See [`HttpFault`].
    ///
    /// # Cancel safety
    /// As [`post`](Self::post).
    pub async fn post_with(
        &self,
        target: &Target,
        own: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Result<Answer, HttpFault> {
        let mut headers = target.headers().clone();
        headers.extend(own);
        let request = prepare(Method::POST, headers, body);
        let response = self.send(target, request).await?;
        answer::read(response, target, self.answer_limit).await
    }

    /// Sends one message where the answer comes by another way; any success will do.
    ///
    /// # Errors
    /// See [`HttpFault`].
    ///
    /// # Cancel safety
    /// As [`post`](Self::post).
    pub async fn deliver(&self, target: &Target, body: Bytes) -> Result<(), HttpFault> {
        self.deliver_with(target, std::iter::empty(), body).await
    }

    /// As [`deliver`](Self::deliver), with headers that belong to this message alone.
    ///
    /// # Errors
    /// See [`HttpFault`].
    ///
    /// # Cancel safety
    /// As [`post`](Self::post).
    pub async fn deliver_with(
        &self,
        target: &Target,
        own: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Result<(), HttpFault> {
        let mut headers = target.headers().clone();
        headers.extend(own);
        let request = prepare(Method::POST, headers, body);
        let response = self.send(target, request).await?;
        if response.status().is_success() {
            answer::discard(response.into_body()).await;
            return Ok(());
        }
        Err(answer::status_fault(response).await)
    }

    /// Opens the stream for messages that answer no request of ours, from after `last_event_id`
    /// when one is given. `None`: the backend has no such stream (405).
    ///
    /// # Errors
    /// See [`HttpFault`].
    ///
    /// # Cancel safety
    /// Dropping it closes the stream; asking again is safe.
    pub async fn get_stream(
        &self,
        target: &Target,
        last_event_id: Option<&str>,
    ) -> Result<Option<EventStream>, HttpFault> {
        let mut request = prepare(Method::GET, target.headers_without_body(), Bytes::new());
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = last_event_id {
            let value = HeaderValue::from_str(id).map_err(|_invalid| {
                HttpFault::Protocol("the last event id does not fit into a header".to_owned())
            })?;
            headers.insert(LAST_EVENT_ID, value);
        }
        let response = self.send(target, request).await?;
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return Ok(None);
        }
        match answer::read(response, target, self.answer_limit).await?.kind {
            AnswerKind::Stream(stream) => Ok(Some(stream)),
            AnswerKind::Accepted | AnswerKind::Json(_) => Err(HttpFault::Protocol(format!(
                "{} answered a GET with something other than an event stream",
                target.authority()
            ))),
        }
    }

    /// Ends the session that the target names. That the backend does not know it any more (404), or
    /// does not let clients end sessions (405), is no error.
    ///
    /// # Errors
    /// See [`HttpFault`].
    ///
    /// # Cancel safety
    /// Whether the session was ended is not known after dropping it; asking again is safe.
    pub async fn delete(&self, target: &Target) -> Result<(), HttpFault> {
        let request = prepare(Method::DELETE, target.headers_without_body(), Bytes::new());
        let response = self.send(target, request).await?;
        let settled = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
        if response.status().is_success() || settled.contains(&response.status()) {
            answer::discard(response.into_body()).await;
            return Ok(());
        }
        Err(answer::status_fault(response).await)
    }

    /// Sends a request, again only as long as it surely was not sent.
    async fn send(
        &self,
        target: &Target,
        request: Request<Outgoing>,
    ) -> Result<Response<Answering>, HttpFault> {
        self.send_with(target, request, FRESH_TRIES, &AtomicBool::default()).await
    }

    /// As [`send`](Self::send), at most so many times; the last is over a new connection. `is_out`
    /// is kept true while something of the request may have been sent.
    async fn send_with(
        &self,
        target: &Target,
        mut request: Request<Outgoing>,
        mut tries: u32,
        is_out: &AtomicBool,
    ) -> Result<Response<Answering>, HttpFault> {
        loop {
            let connection = self.connection(target, tries > 1).await?;
            is_out.store(true, Ordering::Relaxed);
            let mut error = match connection.send(target, request, &self.pool).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let unsent = error.take_message();
            is_out.store(unsent.is_none(), Ordering::Relaxed);
            let told = tell(target, &error.into_error());
            tries -= 1;
            request = match unsent {
                Some(unsent) if tries > 0 => unsent,
                Some(_unsent) => return Err(HttpFault::NotSent(told)),
                None => return Err(HttpFault::Lost(told)),
            };
        }
    }

    /// A kept connection if it may be one, or a new one.
    async fn connection(
        &self,
        target: &Target,
        may_be_kept: bool,
    ) -> Result<Connection, HttpFault> {
        if may_be_kept && let Some(kept) = self.pool.take(target.origin()) {
            return Ok(kept);
        }
        let connection = self.connect(target).await?;
        if let Some(shared) = connection.share() {
            self.pool.put(target.origin(), shared);
        }
        Ok(connection)
    }
}

fn prepare(method: Method, headers: HeaderMap, body: Bytes) -> Request<Outgoing> {
    let mut request = Request::new(Outgoing::new(body));
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    request
}

/// The backend's address and the error with all its causes, in one line.
fn tell(target: &Target, error: &(dyn Error + 'static)) -> String {
    let mut told = format!("{}: {error}", target.authority());
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(": ");
        told.push_str(&error.to_string());
        cause = error.source();
    }
    told
}

#[cfg(test)]
mod tests;
