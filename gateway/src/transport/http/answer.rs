//! What a backend answers: told apart by status and content type, read within limits.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::timeout;
use wire::sse::{Decoder, Event};

use super::connection::Answering;
use super::{HttpFault, SESSION_ID, Target};
use crate::config::limits::remote::{FAULT_BODY_BYTES, FAULT_BODY_TIMEOUT, SESSION_ID_BYTES};

/// A successful answer.
#[derive(Debug)]
pub struct Answer {
    /// The session the backend has opened: visible ASCII, at most 256 bytes.
    pub session_id: Option<String>,
    /// What it says.
    pub kind: AnswerKind,
}

/// What a successful answer says.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "an answer is moved once and never kept in numbers")]
pub enum AnswerKind {
    /// Nothing: what was sent was a notification or a response.
    Accepted,
    /// One JSON text, whole and unchecked.
    Json(Bytes),
    /// A stream of events.
    Stream(EventStream),
}

/// Tells what the answer is, and reads it unless it is a stream.
pub(super) async fn read(
    response: Response<Answering>,
    target: &Target,
    limit: usize,
) -> Result<Answer, HttpFault> {
    if !response.status().is_success() {
        return Err(status_fault(response).await);
    }
    let host = target.authority();
    let (head, body) = response.into_parts();
    let session_id = session_id(&head.headers, host)?;
    let kind = match (head.status, content_type(&head.headers)) {
        (StatusCode::ACCEPTED | StatusCode::NO_CONTENT, _) => {
            discard(body).await;
            AnswerKind::Accepted
        }
        (_, Some(kind)) if kind.eq_ignore_ascii_case("application/json") => {
            plain(&head.headers, host)?;
            AnswerKind::Json(whole(body, limit, host).await?)
        }
        (_, Some(kind)) if kind.eq_ignore_ascii_case("text/event-stream") => {
            plain(&head.headers, host)?;
            AnswerKind::Stream(EventStream::new(body, limit, host))
        }
        (_, None) if body.is_end_stream() => {
            discard(body).await;
            AnswerKind::Accepted
        }
        (status, kind) => {
            let kind = kind.unwrap_or("none");
            return Err(HttpFault::Protocol(format!(
                "{host} answered with status {status} and content type {kind}, which is no MCP \
                 answer; check the address"
            )));
        }
    };
    Ok(Answer { session_id, kind })
}

/// Takes in an answer that is no success.
pub(super) async fn status_fault(response: Response<Answering>) -> HttpFault {
    let (head, body) = response.into_parts();
    let retry_after = text(&head.headers, &RETRY_AFTER)
        .filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs);
    HttpFault::Status { code: head.status.as_u16(), body: beginning(body).await, retry_after }
}

/// Reads a short body to its end, so that the connection can be used again.
pub(super) async fn discard(body: Answering) {
    drop(beginning(body).await);
}

/// The messages a backend sends one by one, as server-sent events.
///
/// A stream that was cut off and one that was ended look the same (`None`): whether an answer is
/// missing is for the caller to know.
#[derive(Debug)]
pub struct EventStream {
    /// Gone when the stream has ended.
    body: Option<Answering>,
    decoder: Decoder,
    host: String,
}

impl EventStream {
    fn new(body: Answering, limit: usize, host: &str) -> Self {
        Self { body: Some(body), decoder: Decoder::new(limit), host: host.to_owned() }
    }

    /// Waits for the next event; `None` at the end.
    ///
    /// # Errors
    /// [`HttpFault::Lost`]: the connection broke; the stream has ended. [`HttpFault::TooLarge`]:
    /// an event was longer than the limit and was skipped; the stream goes on, because taking it
    /// up again would only bring the same event.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Result<Event, HttpFault>> {
        loop {
            match self.decoder.next() {
                Some(Ok(event)) => return Some(Ok(event)),
                Some(Err(_too_long)) => return Some(Err(HttpFault::TooLarge)),
                None => {}
            }
            match self.body.as_mut()?.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.decoder.push(data);
                    }
                }
                Some(Err(error)) => {
                    self.body = None;
                    return Some(Err(lost(&self.host, &error)));
                }
                None => self.body = None,
            }
        }
    }

    /// The id of the last event that had one: where to take the stream up again.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        self.decoder.last_event_id()
    }

    /// How long the backend wants a client to wait before it comes back, in milliseconds.
    #[must_use]
    pub fn retry_ms(&self) -> Option<u64> {
        self.decoder.retry()
    }
}

async fn whole(mut body: Answering, limit: usize, host: &str) -> Result<Bytes, HttpFault> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(HttpFault::TooLarge);
    }
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| lost(host, &error))?;
        let Some(data) = frame.data_ref() else { continue };
        if data.len() > limit - read.len() {
            return Err(HttpFault::TooLarge);
        }
        if read.is_empty() {
            read.reserve(announced.max(data.len()));
        }
        read.extend_from_slice(data);
    }
    Ok(read.freeze())
}

/// As much of a body as comes in time and fits.
async fn beginning(mut body: Answering) -> Bytes {
    let mut read = BytesMut::new();
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let data = frame.data_ref().map_or(&[][..], |data| data);
            let room = FAULT_BODY_BYTES - read.len();
            if let Some(part) = data.get(..room) {
                read.extend_from_slice(part);
                return;
            }
            read.extend_from_slice(data);
        }
    };
    // Out of time, what has come is enough: nobody depends on the rest.
    let _in_time: Result<(), _> = timeout(FAULT_BODY_TIMEOUT, reading).await;
    read.freeze()
}

fn session_id(headers: &HeaderMap, host: &str) -> Result<Option<String>, HttpFault> {
    let Some(value) = headers.get(SESSION_ID) else { return Ok(None) };
    let visible = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_graphic);
    let valid = (1..=SESSION_ID_BYTES).contains(&value.len()) && visible(value.as_bytes());
    match value.to_str() {
        Ok(id) if valid => Ok(Some(id.to_owned())),
        Ok(_) | Err(_) => Err(HttpFault::Protocol(format!(
            "{host} answered with a session id that is not 1 to {SESSION_ID_BYTES} visible \
             ASCII characters"
        ))),
    }
}

/// The content type without its parameters.
fn content_type(headers: &HeaderMap) -> Option<&str> {
    let value = text(headers, &CONTENT_TYPE)?;
    value.split(';').next().map(str::trim)
}

/// No encoding was asked for, so none may have been used.
fn plain(headers: &HeaderMap, host: &str) -> Result<(), HttpFault> {
    match text(headers, &CONTENT_ENCODING) {
        None => Ok(()),
        Some(encoding) if encoding.eq_ignore_ascii_case("identity") => Ok(()),
        Some(encoding) => Err(HttpFault::Protocol(format!(
            "{host} answered with content encoding {encoding}, which nobody asked for"
        ))),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn lost(host: &str, error: &hyper::Error) -> HttpFault {
    HttpFault::Lost(format!("{host}: the answer broke off: {error}"))
}
