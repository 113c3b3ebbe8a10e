//! A session's stream as the body of an HTTP response: `text/event-stream`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep};
use wire::refusal::Reason;
use wire::sse;

use crate::config::limits::client::{KEEP_ALIVE, RETRY_MS, WRITE_BYTES};
use crate::http::mark::Marks;
use crate::relay::exchange::{Exchange, Said};
use crate::session::outlet::Reader;
use crate::session::replay::{Event, Next};
use crate::telemetry::metrics::Counted;

/// The body of an event stream.
pub(crate) struct EventStream {
    reader: Option<Reader>,
    /// What is said in answer to a request of a client without a session.
    exchange: Option<BoxStream<'static, ByteString>>,
    /// What is to be written before anything of the reader.
    head: BytesMut,
    /// The ids of its events; none on a stream that reads nothing.
    marks: Option<Marks>,
    keep_alive: Pin<Box<Sleep>>,
    counted: Counted,
}

/// The data of the event `gap`: what was said after the event that was asked for is gone, and the
/// client is told so in so many words (ARCHITECTURE.md, "Replay").
pub(crate) fn gap() -> String {
    let reason = Reason::ReplayGap;
    format!(r#"{{"code":{},"name":"{}"}}"#, reason.code(), reason.name())
}

impl EventStream {
    /// A stream of what `reader` reads.
    pub(crate) fn new(reader: Reader, counted: Counted) -> Self {
        let marks = Some(Marks::of(&reader));
        Self { reader: Some(reader), marks, ..Self::ended(counted) }
    }

    /// A stream that says its head and ends.
    pub(crate) fn ended(counted: Counted) -> Self {
        Self {
            reader: None,
            exchange: None,
            head: BytesMut::new(),
            marks: None,
            keep_alive: Box::pin(sleep(KEEP_ALIVE)),
            counted,
        }
    }

    /// A stream of what is said in an exchange, which has no ids: it cannot be taken up again.
    pub(crate) fn of(exchange: Exchange, counted: Counted) -> Self {
        Self {
            exchange: Some(exchange.into_said().map(Said::into_text).boxed()),
            ..Self::ended(counted)
        }
    }

    /// A message that was read already, first of all.
    pub(crate) fn say(mut self, text: &str) -> Self {
        self.counted.note_event();
        sse::encode_parts(None, Some("message"), text, &mut self.head);
        self
    }

    /// The event that gives the client an id to resume from before anything was said
    /// (MCP 2025-11-25, basic/transports, "Sending Messages to the Server", item 6).
    pub(crate) fn prime(mut self, id: &str) -> Self {
        let priming = sse::Event {
            id: Some(id.into()),
            event: None,
            data: ByteString::new(),
            retry: Some(RETRY_MS),
        };
        sse::encode(&priming, &mut self.head);
        self
    }

    /// An event of the gateway's own, first of all.
    pub(crate) fn announce(mut self, name: &str, data: &str) -> Self {
        sse::encode_parts(None, Some(name), data, &mut self.head);
        self
    }

    /// As [`announce`](Self::announce), with the id to resume from when nothing else has come.
    pub(crate) fn announce_start(mut self, name: &str, data: &str) -> Self {
        let start = self.reader.as_ref().map_or(0, Reader::start);
        let id = self.marks.as_mut().map(|marks| marks.at(start));
        sse::encode_parts(id, Some(name), data, &mut self.head);
        self
    }

    /// A comment, which clients pass over, and when to connect again.
    pub(crate) fn put_off(mut self, why: &str, pause: Duration) -> Self {
        sse::comment(why, &mut self.head);
        let milliseconds = u64::try_from(pause.as_millis()).unwrap_or(RETRY_MS);
        sse::retry(milliseconds.max(RETRY_MS), &mut self.head);
        self.head.extend_from_slice(b"\n");
        self
    }

    /// An event that was read already, first of all.
    pub(crate) fn begin_with(mut self, event: &Event) -> Self {
        let mut head = std::mem::take(&mut self.head);
        self.write(event, &mut head);
        self.head = head;
        self
    }

    /// The response. Its first bytes go out at once, so that whatever stands in between sees that
    /// the stream is open.
    pub(crate) fn respond(mut self) -> Response {
        if self.head.is_empty() {
            sse::comment("", &mut self.head);
        }
        let mut response = Response::new(Body::new(self));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        let uncached = HeaderValue::from_static("no-cache, no-store, no-transform");
        headers.insert(CACHE_CONTROL, uncached);
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    fn write(&mut self, event: &Event, out: &mut BytesMut) {
        self.counted.note_event();
        let id = self.marks.as_mut().map(|marks| marks.at(event.seq));
        sse::encode_parts(id, Some("message"), &event.text, out);
    }

    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut out = std::mem::take(&mut self.head);
        while out.len() < WRITE_BYTES {
            let Some(exchange) = self.exchange.as_mut() else { break };
            match exchange.poll_next_unpin(cx) {
                Poll::Ready(Some(text)) => {
                    self.counted.note_event();
                    sse::encode_parts(None, Some("message"), &text, &mut out);
                }
                Poll::Ready(None) => self.exchange = None,
                Poll::Pending => break,
            }
        }
        while out.len() < WRITE_BYTES {
            let Some(reader) = self.reader.as_mut() else { break };
            match reader.poll_next(cx) {
                Poll::Ready(Next::Event(event)) => self.write(&event, &mut out),
                Poll::Ready(Next::End) => {
                    if reader.session().closed().is_cancelled() {
                        // The session was ended, maybe because the gateway stops: not at once.
                        sse::retry(RETRY_MS, &mut out);
                        out.extend_from_slice(b"\n");
                    }
                    self.reader = None;
                }
                Poll::Ready(Next::Lagged) => {
                    sse::comment("this client is too slow; reconnect", &mut out);
                    self.reader = None;
                }
                Poll::Ready(Next::Superseded) => {
                    sse::comment("superseded by a newer stream", &mut out);
                    self.reader = None;
                }
                Poll::Pending => break,
            }
        }
        if !out.is_empty() {
            self.keep_alive.as_mut().reset(Instant::now() + KEEP_ALIVE);
            return Poll::Ready(Some(out.freeze()));
        }
        if self.reader.is_none() && self.exchange.is_none() {
            return Poll::Ready(None);
        }
        ready!(self.keep_alive.as_mut().poll(cx));
        self.keep_alive.as_mut().reset(Instant::now() + KEEP_ALIVE);
        sse::comment("", &mut out);
        Poll::Ready(Some(out.freeze()))
    }
}

impl http_body::Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let text = ready!(self.poll_text(cx));
        Poll::Ready(text.map(|text| Ok(Frame::data(text))))
    }
}
