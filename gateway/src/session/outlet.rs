//! The two ends of a stream: the outlet that backends speak into, the reader that carries it out.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytestring::ByteString;
use wire::id::Id;
use wire::refusal::Refusal;

use crate::session::caller::Caller;
use crate::session::replay::{Event, Next, Part, StreamTag};
use crate::session::{Session, Transport};
use crate::telemetry::metrics::operations::Ending;
use crate::telemetry::traces::End;
use crate::telemetry::trail::Trail;

/// Where answers and notes for one client go.
#[derive(Clone, Debug)]
pub struct Outlet {
    session: Arc<Session>,
    stream: StreamTag,
    trail: Trail,
    caller: Option<Caller>,
    /// Whether an answer here is the end of the trail's span.
    concludes: bool,
}

/// Reads one stream of a session, from where it was attached.
#[derive(Debug)]
pub struct Reader {
    session: Arc<Session>,
    stream: StreamTag,
    number: u64,
    start: u64,
}

/// Opens the session's streams; a method of `Arc<Session>` because outlets keep it alive.
pub trait Streams {
    /// An outlet on a new stream that owes `answers` answers, and its reader.
    fn open_stream(&self, answers: usize) -> (Outlet, Reader);
    /// The outlet of the standalone stream.
    fn standalone(&self) -> Outlet;
}

impl Streams for Arc<Session> {
    fn open_stream(&self, answers: usize) -> (Outlet, Reader) {
        let mut log = self.log.lock();
        let tag = log.open(answers);
        let after = log.head(tag).seq;
        let (number, _) = log.attach(tag, after).unwrap_or_default();
        drop(log);
        (Outlet::new(self.clone(), tag), Reader::new(self.clone(), tag, (number, after)))
    }

    fn standalone(&self) -> Outlet {
        Outlet::new(self.clone(), StreamTag::STANDALONE)
    }
}

// === impl Outlet ===

impl Outlet {
    pub(crate) fn new(session: Arc<Session>, stream: StreamTag) -> Self {
        Self { session, stream, trail: Trail::current(), caller: None, concludes: false }
    }

    /// The same for requests that count as this caller's; `None` where nothing is limited.
    #[must_use]
    pub fn counting_for(self, caller: Option<Caller>) -> Self {
        Self { caller, ..self }
    }

    /// The same for a single request, whose span ends with its answer.
    #[must_use]
    pub fn concluding(&self, trail: Trail) -> Self {
        Self { trail, concludes: true, ..self.clone() }
    }

    /// What the request is followed by that it speaks for.
    pub fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Whose requests it answers; `None` where nothing is limited.
    pub fn caller(&self) -> Option<Caller> {
        self.caller
    }

    /// The session that listens.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The stream it speaks on.
    pub fn stream(&self) -> StreamTag {
        self.stream
    }

    /// Whether somebody reads the stream at this moment.
    pub fn is_read(&self) -> bool {
        self.session.log.lock().is_read(self.stream)
    }

    /// Says something that is not an answer: a notification, or a request of the server.
    pub fn emit(&self, text: ByteString) {
        if self.is_nobodys() && !self.is_read() {
            return;
        }
        self.append(text, Part::Note, None);
    }

    /// Whether what is said here is said to nobody in particular. A client without a session hears
    /// of it while it listens, and not afterwards.
    pub fn is_nobodys(&self) -> bool {
        self.session.transport == Transport::StandIn && self.stream == StreamTag::STANDALONE
    }

    /// Gives the client's request `id` its result; a second answer is dropped.
    pub fn answer(&self, id: &Id, text: ByteString) {
        self.answer_as(id, text, Ending::Result);
    }

    /// As [`answer`](Self::answer), with a server's answer, which may be an error.
    pub fn answer_as(&self, id: &Id, text: ByteString, ending: Ending) {
        if self.end(id, ending) {
            self.conclude(End::Answered(&text));
            self.append(text, Part::Answer, Some(id));
        }
    }

    /// Refuses the client's request `id`.
    pub fn refuse(&self, id: &Id, refusal: &Refusal) {
        if self.end(id, Ending::Code(refusal.reason.code())) {
            self.say_refusal(Some(id), refusal, Some(id));
        }
    }

    /// Refuses a request that was not taken in: another one in flight may have its id.
    pub fn reject(&self, id: &Id, refusal: &Refusal) {
        self.reject_malformed(Some(id), refusal);
    }

    /// Answers a part of a batch that is no JSON-RPC message.
    pub fn reject_malformed(&self, id: Option<&Id>, refusal: &Refusal) {
        self.say_refusal(id, refusal, None);
    }

    fn say_refusal(&self, id: Option<&Id>, refusal: &Refusal, ended: Option<&Id>) {
        let request_id = self.trail.id().to_string();
        let reason = refusal.reason.name();
        self.conclude(End::Refused(reason));
        tracing::info!(event = "refused", reason, request_id, "an error was answered");
        let text = refusal.to_response(id, &request_id).text().clone();
        self.append(text, Part::Refusal(refusal.reason), ended);
    }

    /// Ends the client's request `id` without an answer: the client cancelled it (MCP 2025-11-25,
    /// basic/utilities/cancellation: no response is sent).
    pub fn abandon(&self, id: &Id) {
        if self.end(id, Ending::Cancelled) {
            self.conclude(End::Cancelled);
            let waker = self.session.with_log(|log| {
                log.end(id);
                log.abandon(self.stream, Instant::now())
            });
            waker.into_iter().for_each(std::task::Waker::wake);
            self.session.tell_of_turn();
        }
    }

    fn conclude(&self, end: End<'_>) {
        if let Some(trace) = self.trail.trace().filter(|_| self.concludes) {
            trace.end(end);
        }
    }

    /// Ends a request, and books how; false when it is not in flight.
    fn end(&self, id: &Id, ending: Ending) -> bool {
        let Some(call) = self.session.end_call(id) else { return false };
        if let Some(operation) = call.operation {
            operation.end(ending, self.session.revision());
        }
        true
    }

    /// Says something, and with it the end of a request: a successor finds both, or neither.
    fn append(&self, text: ByteString, part: Part, ended: Option<&Id>) {
        let waker = self.session.with_log(|log| {
            ended.into_iter().for_each(|id| log.end(id));
            log.append(self.stream, text, part, Instant::now())
        });
        waker.into_iter().for_each(std::task::Waker::wake);
        self.session.tell_of_turn();
    }
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

    /// Keeps the stream, before its reply turns into an event stream: it can be taken up again on
    /// any replica. `first` was read of it already, and is given back under the name it is kept by.
    ///
    /// # Cancel safety
    /// Not safe: what was read already is lost with it.
    pub async fn keep(&mut self, first: Option<Event>) -> Option<Event> {
        let Some((start, stands)) = self.session.start_keeping(self.stream) else {
            return first;
        };
        self.start = start;
        self.session.kept().await;
        first.map(|event| Event { seq: stands, ..event })
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
        let mut log = self.session.log.lock();
        log.detach(self.stream, self.number);
        // A client without a session cannot come back for the rest of it.
        if self.session.transport == Transport::StandIn && self.stream != StreamTag::STANDALONE {
            log.forget(self.stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::json;
    use wire::refusal::Reason;

    use super::*;
    use crate::session::fixture::{self, BOUNDS};
    use crate::session::replay::Event;

    fn text(text: &str) -> ByteString {
        ByteString::from(text)
    }

    fn event(reader: &mut Reader) -> Event {
        match fixture::ready(reader) {
            Some(Next::Event(event)) => event,
            other => panic!("{other:?} where an event was due"),
        }
    }

    #[test]
    fn a_request_is_answered_once() {
        let session = fixture::session();
        let (outlet, mut reader) = session.open_stream(1);
        let id = Id::number(1);
        session.begin(&id).unwrap();
        outlet.answer(&id, text("first"));
        outlet.answer(&id, text("second"));
        outlet.refuse(&id, &Refusal::new(Reason::BackendTimeout, "late"));
        outlet.abandon(&id);
        assert_eq!(fixture::texts(&mut reader), ["first"]);
        assert!(matches!(fixture::ready(&mut reader), Some(Next::End)));
        assert_eq!(session.in_flight(), 0);
    }

    #[test]
    fn an_answer_to_nothing_is_dropped() {
        let session = fixture::session();
        let (outlet, mut reader) = session.open_stream(1);
        outlet.answer(&Id::number(1), text("unasked"));
        outlet.abandon(&Id::number(1));
        assert!(fixture::ready(&mut reader).is_none(), "the stream still owes its answer");
    }

    #[test]
    fn a_refusal_says_what_the_client_needs_to_know() {
        let session = fixture::session();
        let (outlet, mut reader) = session.open_stream(1);
        let id = Id::parse("\"a\"").unwrap();
        session.begin(&id).unwrap();
        outlet.refuse(&id, &Refusal::new(Reason::BackendUnavailable, "away"));
        let event = event(&mut reader);
        assert_eq!(event.part, Part::Refusal(Reason::BackendUnavailable));
        assert_eq!(json::member(&event.text, "id"), Some("\"a\""));
        let data = json::path(&event.text, &["error", "data"]).unwrap();
        assert_eq!(json::member(data, "dispatched"), Some("false"));
        let tie = json::member(data, "requestId").and_then(json::string).unwrap();
        assert_eq!(tie.len(), 16);
    }

    #[test]
    fn a_request_that_was_not_taken_in_is_rejected_beside_its_namesake() {
        let session = fixture::session();
        let (outlet, mut reader) = session.open_stream(2);
        let id = Id::number(1);
        session.begin(&id).unwrap();
        outlet.reject(&id, &session.begin(&id).unwrap_err());
        assert_eq!(event(&mut reader).part, Part::Refusal(Reason::DuplicateId));
        assert_eq!(session.in_flight(), 1);
        outlet.answer(&id, text("answer"));
        assert_eq!(event(&mut reader).text, "answer");
        assert!(matches!(fixture::ready(&mut reader), Some(Next::End)));
    }

    #[test]
    fn what_is_no_message_is_rejected_without_an_id() {
        let session = fixture::session();
        let (outlet, mut reader) = session.open_stream(1);
        outlet.reject_malformed(None, &Refusal::new(Reason::InvalidRequest, "no"));
        assert_eq!(json::member(&event(&mut reader).text, "id"), Some("null"));
        assert!(matches!(fixture::ready(&mut reader), Some(Next::End)));
    }

    #[test]
    fn a_cancelled_request_ends_its_stream_without_an_answer() {
        let session = fixture::session();
        let (outlet, mut reader) = session.open_stream(1);
        session.begin(&Id::number(1)).unwrap();
        outlet.emit(text("note"));
        outlet.abandon(&Id::number(1));
        assert_eq!(fixture::texts(&mut reader), ["note"]);
        assert!(matches!(fixture::ready(&mut reader), Some(Next::End)));
    }

    #[test]
    fn each_stream_carries_its_own() {
        let session = fixture::session();
        let (one, mut reader_of_one) = session.open_stream(1);
        let (two, mut reader_of_two) = session.open_stream(1);
        let mut standalone = Reader::standalone(session.clone()).unwrap();
        one.emit(text("one"));
        two.emit(text("two"));
        session.standalone().emit(text("all"));
        assert_eq!(fixture::texts(&mut reader_of_one), ["one"]);
        assert_eq!(fixture::texts(&mut reader_of_two), ["two"]);
        assert_eq!(fixture::texts(&mut standalone), ["all"]);
        assert_ne!(one.stream(), two.stream());
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let session = fixture::session();
        let (outlet, mut reader) = session.open_stream(1);
        session.begin(&Id::number(1)).unwrap();
        let (next, ()) = tokio::join!(reader.next(), async { outlet.emit(text("note")) });
        assert!(matches!(next, Next::Event(event) if event.text == "note"));
        let (next, ()) = tokio::join!(reader.next(), async { outlet.abandon(&Id::number(1)) });
        assert!(matches!(next, Next::End));
    }

    #[tokio::test]
    async fn a_reader_that_waits_hears_that_it_was_taken_over() {
        let session = fixture::session();
        let mut old = Reader::standalone(session.clone()).unwrap();
        let takeover = async { Reader::standalone(session.clone()).unwrap() };
        let (next, mut new) = tokio::join!(old.next(), takeover);
        assert!(matches!(next, Next::Superseded));
        drop(old);
        assert!(session.is_listening());
        session.standalone().emit(text("note"));
        assert_eq!(fixture::texts(&mut new), ["note"]);
    }

    #[test]
    fn what_nobody_read_waits_for_the_next_reader() {
        let session = fixture::session();
        session.standalone().emit(text("early"));
        let mut first = Reader::standalone(session.clone()).unwrap();
        assert_eq!(event(&mut first).text, "early");
        session.standalone().emit(text("between"));
        drop(first);
        session.standalone().emit(text("late"));
        let mut second = Reader::standalone(session).unwrap();
        assert_eq!(second.start(), 1);
        assert_eq!(fixture::texts(&mut second), ["between", "late"]);
    }

    #[test]
    fn an_answer_can_be_fetched_after_its_reader_left() {
        let session = fixture::session();
        let (outlet, reader) = session.open_stream(1);
        let place = session.event_id(reader.stream(), reader.start());
        session.begin(&Id::number(1)).unwrap();
        drop(reader);
        outlet.answer(&Id::number(1), text("answer"));
        let (stream, seq) = session.position(&place).unwrap();
        let mut resumed = Reader::attach(session, stream, seq).unwrap();
        assert_eq!(fixture::texts(&mut resumed), ["answer"]);
        assert!(matches!(fixture::ready(&mut resumed), Some(Next::End)));
    }

    #[test]
    fn a_stream_whose_client_cannot_resume_goes_with_its_reader() {
        let session = fixture::session();
        let (outlet, reader) = session.open_stream(1);
        let place = session.event_id(reader.stream(), reader.start());
        reader.forget();
        outlet.emit(text("late"));
        assert!(session.position(&place).is_err());
        assert!(Reader::attach(session, place.stream, 0).is_none());
    }

    #[test]
    fn the_stream_of_a_session_outlives_its_readers() {
        for transport in [Transport::Streamable, Transport::Sse, Transport::WebSocket] {
            let session = Arc::new(fixture::bounded(transport, BOUNDS));
            Reader::standalone(session.clone()).unwrap().forget();
            session.standalone().emit(text("note"));
            let mut reader = Reader::standalone(session.clone()).unwrap();
            assert_eq!(fixture::texts(&mut reader), ["note"]);
        }
    }
}
