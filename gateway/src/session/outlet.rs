//! The two ends of a stream: the outlet that backends speak into, the reader that carries it out.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytestring::ByteString;
use wire::id::Id;
use wire::refusal::Refusal;

use crate::session::replay::{Next, Part, StreamTag};
use crate::session::{Session, Transport};

/// Where answers and notes for one client go.
#[derive(Clone, Debug)]
pub struct Outlet {
    session: Arc<Session>,
    stream: StreamTag,
}

/// Reads one stream of a session, from where it was attached.
#[derive(Debug)]
pub struct Reader {
    session: Arc<Session>,
    stream: StreamTag,
    number: u64,
    start: u64,
}

// === impl Outlet ===

impl Outlet {
    pub(crate) fn new(session: Arc<Session>, stream: StreamTag) -> Self {
        Self { session, stream }
    }

    /// The session that listens.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The stream it speaks on.
    pub fn stream(&self) -> StreamTag {
        self.stream
    }

    /// Says something that is not an answer: a notification, or a request of the server.
    pub fn emit(&self, text: ByteString) {
        self.append(text, Part::Note);
    }

    /// Gives the final answer to the client's request `id`; a second answer is dropped.
    pub fn answer(&self, id: &Id, text: ByteString) {
        if self.session.end_call(id) {
            self.append(text, Part::Answer);
        }
    }

    /// Refuses the client's request `id`.
    pub fn refuse(&self, id: &Id, refusal: &Refusal) {
        if self.session.end_call(id) {
            let text = refusal.to_response(Some(id), &request_id()).text().clone();
            self.append(text, Part::Refusal(refusal.reason));
        }
    }

    /// Refuses a request that was not taken in: another one in flight may have its id.
    pub fn reject(&self, id: &Id, refusal: &Refusal) {
        let text = refusal.to_response(Some(id), &request_id()).text().clone();
        self.append(text, Part::Refusal(refusal.reason));
    }

    /// Answers a part of a batch that is no JSON-RPC message.
    pub fn reject_malformed(&self, id: Option<&Id>, refusal: &Refusal) {
        let text = refusal.to_response(id, &request_id()).text().clone();
        self.append(text, Part::Refusal(refusal.reason));
    }

    /// Ends the client's request `id` without an answer: the client cancelled it (MCP 2025-11-25,
    /// basic/utilities/cancellation: no response is sent).
    pub fn abandon(&self, id: &Id) {
        if self.session.end_call(id) {
            let waker = self.session.log.lock().abandon(self.stream, Instant::now());
            waker.into_iter().for_each(std::task::Waker::wake);
        }
    }

    fn append(&self, text: ByteString, part: Part) {
        let waker = self.session.log.lock().append(self.stream, text, part, Instant::now());
        waker.into_iter().for_each(std::task::Waker::wake);
    }
}

/// A short random id that ties an error the client sees to a log line of ours.
fn request_id() -> String {
    format!("{:016x}", u64::from_be_bytes(crate::session::id::random()))
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(
        session: Arc<Session>,
        stream: StreamTag,
        (number, start): (u64, u64),
    ) -> Self {
        Self { session, stream, number, start }
    }

    /// Takes `stream` over, to read what comes after `seq`; `None` when there is no such stream.
    pub fn attach(session: Arc<Session>, stream: StreamTag, seq: u64) -> Option<Self> {
        let (number, former) = session.log.lock().attach(stream, seq)?;
        former.into_iter().for_each(std::task::Waker::wake);
        Some(Self { session, stream, number, start: seq })
    }

    /// Reads the standalone stream from its oldest unread event.
    pub fn standalone(session: Arc<Session>) -> Option<Self> {
        let seq = session.log.lock().unread(StreamTag::STANDALONE);
        Self::attach(session, StreamTag::STANDALONE, seq)
    }

    /// The session that is read.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The stream that is read.
    pub fn stream(&self) -> StreamTag {
        self.stream
    }

    /// The place in the session after which it began to read.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The next event.
    ///
    /// # Cancel safety
    /// Safe: an event counts as read only when it is returned.
    pub async fn next(&mut self) -> Next {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next event, polled.
    pub fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Next> {
        let next = self.session.log.lock().poll_next(self.stream, self.number, cx);
        let over = next.is_pending() && self.session.closed.is_cancelled();
        if over { Poll::Ready(Next::End) } else { next }
    }

    /// Drops the stream with the reader: its client holds no event id to resume it with.
    pub fn forget(self) {
        if self.session.transport == Transport::Streamable && self.stream != StreamTag::STANDALONE {
            self.session.log.lock().forget(self.stream);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.session.touch();
        self.session.log.lock().detach(self.stream, self.number);
    }
}
