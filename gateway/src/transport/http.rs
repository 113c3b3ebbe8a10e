//! Requests to one MCP endpoint over Streamable HTTP, and the event streams it answers with.
//!
//! Rules: MCP 2025-11-25, basic/transports "Streamable HTTP". Redirects are never followed: one
//! could lead a request, with its credentials, to a host nobody configured.
//!
//! Whether a failed request was surely not sent is not read from an error: the request's body
//! keeps the record (see `http/departure.rs`). A request that surely was not sent is tried again
//! here when a kept connection turned out to be closed; any other is sent at most once.

mod answer;
mod connect;
mod departure;
mod target;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::sleep;

pub use self::answer::{Answer, AnswerKind, EventStream};
pub(super) use self::connect::Socket;
use self::connect::{Connectors, PROBE_INTERVAL};
use self::departure::{Departure, Outgoing};
pub use self::target::{BadTarget, Target};

/// Names the session; answered by `initialize`, sent with every later request.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Names the revision; sent with every request after `initialize`.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The last event seen, when a stream is taken up again.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How long name look-up, connecting and TLS may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept: less than the 5 s after which common servers (Node's http
/// module, uvicorn) close theirs, because a request that meets the closing is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// How many idle connections are kept per host.
const IDLE_CONNECTIONS: usize = 256;

/// How often a request may be handed to another kept connection after one was found closed.
const FRESH_TRIES: u32 = 3;

/// The longest whole answer, and the longest event of a stream, in bytes.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// Sends requests and keeps connections. Clones share the connections; a gateway has one.
#[derive(Clone, Debug)]
pub struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector>, Outgoing>,
    sockets: HttpsConnector<HttpConnector>,
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
        let Connectors { requests, sockets } = connect::connectors();
        Self {
            inner: legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .timer(TokioTimer::new())
                .http2_keep_alive_interval(PROBE_INTERVAL)
                .retry_canceled_requests(false)
                .build(requests),
            sockets,
            answer_limit: ANSWER_LIMIT,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }

    /// The same client with another limit for a whole answer or one event, in bytes.
    #[must_use]
    pub fn with_answer_limit(mut self, answer_limit: usize) -> Self {
        self.answer_limit = answer_limit;
        self
    }

    /// Sends one message, or one batch, and returns the answer once it is known to be one.
    ///
    /// `extra` holds what belongs to this request, such as [`SESSION_ID`] and
    /// [`PROTOCOL_VERSION`]; it wins over the target's own headers. Only connecting has a deadline
    /// here: how long an answer may take is for the caller to say.
    ///
    /// # Errors
    /// See [`HttpFault`].
    ///
    /// # Cancel safety
    /// Dropping it closes the connection (HTTP/1.1) or resets the stream (HTTP/2); whether the
    /// backend acts on the request is not known then.
    pub async fn post(
        &self,
        target: &Target,
        extra: &HeaderMap,
        body: Bytes,
    ) -> Result<Answer, HttpFault> {
        let response = self.send_once(target, extra, body).await?;
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
        let response = self.send_once(target, &HeaderMap::new(), body).await?;
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
        extra: &HeaderMap,
        last_event_id: Option<&str>,
    ) -> Result<Option<EventStream>, HttpFault> {
        let mut request = prepare(Method::GET, target, extra, Outgoing::empty());
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = last_event_id {
            let value = HeaderValue::from_str(id).map_err(|_invalid| {
                HttpFault::Protocol("the last event id does not fit into a header".to_owned())
            })?;
            headers.insert(LAST_EVENT_ID, value);
        }
        let response = self.ask(target, request).await?;
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

    /// Ends the session named in `extra`. That the backend does not know it any more (404), or
    /// does not let clients end sessions (405), is no error.
    ///
    /// # Errors
    /// See [`HttpFault`].
    ///
    /// # Cancel safety
    /// Whether the session was ended is not known after dropping it; asking again is safe.
    pub async fn delete(&self, target: &Target, extra: &HeaderMap) -> Result<(), HttpFault> {
        let request = prepare(Method::DELETE, target, extra, Outgoing::empty());
        let response = self.ask(target, request).await?;
        let settled = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
        if response.status().is_success() || settled.contains(&response.status()) {
            answer::discard(response.into_body()).await;
            return Ok(());
        }
        Err(answer::status_fault(response).await)
    }

    /// Sends a message, again only as long as it surely was not sent.
    async fn send_once(
        &self,
        target: &Target,
        extra: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, HttpFault> {
        let accept = HeaderValue::from_static("application/json, text/event-stream");
        let mut tries = FRESH_TRIES;
        loop {
            let departure = Arc::new(Departure::default());
            let outgoing = Outgoing::new(body.clone(), Arc::clone(&departure));
            let mut request = prepare(Method::POST, target, extra, outgoing);
            request.headers_mut().insert(ACCEPT, accept.clone());
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
            match self.depart(target, request, &departure).await {
                Ok(response) => return Ok(response),
                Err(Failure::Closed(_)) if tries > 1 => tries -= 1,
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Sends a request without a body, which may safely be sent more than once.
    async fn ask(
        &self,
        target: &Target,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, HttpFault> {
        self.inner.request(request).await.map_err(|error| {
            let told = tell(target, &error);
            if error.is_connect() { HttpFault::NotSent(told) } else { HttpFault::Lost(told) }
        })
    }

    /// Sends a request with a body, which may be sent once only.
    async fn depart(
        &self,
        target: &Target,
        request: Request<Outgoing>,
        departure: &Departure,
    ) -> Result<Response<Incoming>, Failure> {
        let sending = self.inner.request(request);
        tokio::pin!(sending);
        let sent = tokio::select! {
            biased;
            sent = &mut sending => sent,
            () = sleep(self.connect_timeout) => {
                if departure.withdraw() {
                    let (host, limit) = (target.authority(), self.connect_timeout);
                    let told = format!("{host}: no connection within {limit:?}");
                    return Err(Failure::Unreachable(told));
                }
                sending.await
            }
        };
        sent.map_err(|error| {
            let told = tell(target, &error);
            match (departure.withdraw(), error.is_connect()) {
                (true, true) => Failure::Unreachable(told),
                (true, false) => Failure::Closed(told),
                (false, _) => Failure::Lost(told),
            }
        })
    }
}

/// How sending failed.
enum Failure {
    /// There was no connection.
    Unreachable(String),
    /// The connection closed before it took the request.
    Closed(String),
    /// The connection had taken the request, or a part of it.
    Lost(String),
}

impl From<Failure> for HttpFault {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(told) | Failure::Closed(told) => Self::NotSent(told),
            Failure::Lost(told) => Self::Lost(told),
        }
    }
}

fn prepare(
    method: Method,
    target: &Target,
    extra: &HeaderMap,
    body: Outgoing,
) -> Request<Outgoing> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = target.uri().clone();
    *request.headers_mut() = target.headers().clone();
    for (name, value) in extra {
        request.headers_mut().insert(name.clone(), value.clone());
    }
    request
}

/// The backend's address and the error with all its causes, in one line.
fn tell(target: &Target, error: &legacy::Error) -> String {
    let mut told = format!("{}: {error}", target.authority());
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        told.push_str(": ");
        told.push_str(&error.to_string());
        cause = error.source();
    }
    told
}

#[cfg(test)]
mod tests;
