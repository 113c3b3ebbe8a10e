//! Where a connection stands: whether a request is awaited, read or answered, and whether the
//! client has hung up meanwhile.
//!
//! A client that sends FIN after its request either wants its answer still (it shut down its
//! sending side only) or is gone; TCP does not tell which. So an answer is finished, and an event
//! stream, which may never end, probes its client: comments are written at once, and a client that
//! is gone answers the first with a reset, which makes the next one fail. An abandoned stream thus
//! ends within a round trip and [`PROBES`], and one that is still read costs its client a few
//! comments.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep};

use crate::config::limits::client::{PROBES, TURNS_MAX};
use crate::http::alarm::Alarm;
use crate::http::trail::Told;

/// A comment, which clients ignore (WHATWG HTML §9.2.6).
const PROBE: Bytes = Bytes::from_static(b":\n\n");

/// What a connection's socket and its exchanges know of each other.
#[derive(Debug)]
pub(crate) struct Line(Mutex<State>);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Whether no request was taken in yet.
    first: bool,
    hung_up: bool,
    /// Whether the last request was answered before all of it was read.
    unread: bool,
    /// How often the end of the input was put off for a body that was not read yet.
    turns: u8,
    /// Who wants to hear of the client's hanging up.
    prober: Option<Waker>,
    /// Who was not told of it because of an answer to come.
    reader: Option<Waker>,
    /// For the deadlines of this connection's requests, one after the other.
    alarm: Alarm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has come of the next request; the instant is when that was first looked at.
    Idle(Instant),
    /// Its first byte came.
    Head(Instant),
    /// Its head is read, its body is not.
    Reading,
    /// All of it is read and its answer is not out.
    Answering,
    /// The socket speaks another protocol.
    Upgraded,
}

/// What a read waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// A request; the first of the connection, or another one.
    Request { since: Instant, first: bool },
    /// The rest of a head.
    Head { since: Instant },
    /// Nothing that has a deadline here.
    Nothing,
}

/// One request and its answer; it is over when this is dropped.
#[derive(Debug)]
struct Exchange(Arc<Line>);

/// The body of a request, which notes when it has been read.
struct Question {
    body: Incoming,
    line: Arc<Line>,
}

/// The body of an answer, which notes when it is out, and probes a client that hung up.
pub(crate) struct Answer {
    body: Body,
    exchange: Exchange,
    /// For event streams.
    probes: Option<Probes>,
    /// Where the log tells of exchanges.
    told: Option<Told>,
}

#[derive(Default)]
struct Probes {
    written: usize,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Takes a request in: what is behind it finds the line among the request's extensions, reads the
/// body and gives the answer through it.
pub(crate) fn begin(
    line: &Arc<Line>,
    request: Request<Incoming>,
) -> (Request<Body>, impl FnOnce(Response<Body>) -> Response<Answer> + use<>) {
    line.begin(request.body().is_end_stream());
    let exchange = Exchange(line.clone());
    let line = line.clone();
    let mut request = request.map(|body| Body::new(Question { body, line: line.clone() }));
    request.extensions_mut().insert(line);
    (request, move |response| exchange.answer(response))
}

// === impl Line ===

impl Default for Line {
    fn default() -> Self {
        let phase = Phase::Idle(Instant::now());
        Self(Mutex::new(State {
            phase,
            first: true,
            hung_up: false,
            unread: false,
            turns: 0,
            prober: None,
            reader: None,
            alarm: Alarm::default(),
        }))
    }
}

impl Line {
    /// What `future` gives within `limit`; one at a time. The connection's timer goes from request
    /// to request, since to arm one for each would cost a system call.
    ///
    /// # Cancel safety
    /// As that of `future`.
    pub(crate) async fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let deadline = Instant::now() + limit;
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.0.lock().alarm.poll(cx, deadline).map(|()| None),
        })
        .await
    }

    /// A request's head was read, and its body, if it has none.
    pub(crate) fn begin(&self, is_whole: bool) {
        let mut state = self.0.lock();
        state.phase = if is_whole { Phase::Answering } else { Phase::Reading };
        state.first = false;
        state.unread = false;
        state.turns = 0;
    }

    /// The request's body was read.
    fn read(&self) {
        let mut state = self.0.lock();
        if state.phase == Phase::Reading {
            state.phase = Phase::Answering;
        }
    }

    /// The answer agrees to another protocol.
    pub(crate) fn upgrade(&self) {
        self.0.lock().phase = Phase::Upgraded;
    }

    /// The answer is out, or nobody will give one.
    pub(crate) fn end(&self) {
        let mut state = self.0.lock();
        state.unread = state.phase == Phase::Reading;
        if state.phase != Phase::Upgraded {
            state.phase = Phase::Idle(Instant::now());
        }
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    /// What the socket waits for.
    pub(crate) fn awaits(&self) -> Awaited {
        let state = self.0.lock();
        match state.phase {
            Phase::Idle(since) => Awaited::Request { since, first: state.first },
            Phase::Head(since) => Awaited::Head { since },
            Phase::Reading | Phase::Answering | Phase::Upgraded => Awaited::Nothing,
        }
    }

    /// Whether the client may still be sending what is not going to be read.
    pub(crate) fn is_unread(&self) -> bool {
        let state = self.0.lock();
        !state.hung_up && (state.unread || matches!(state.phase, Phase::Head(_)))
    }

    /// The socket read something; whether it is HTTP.
    pub(crate) fn heard(&self) -> bool {
        let mut state = self.0.lock();
        if matches!(state.phase, Phase::Idle(_)) {
            state.phase = Phase::Head(Instant::now());
        }
        state.phase != Phase::Upgraded
    }

    /// The client sends no more. Pending while it has an answer to come, so that its input is not
    /// taken for ended yet.
    pub(crate) fn poll_hang_up(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        state.hung_up = true;
        let prober = state.prober.take();
        let outcome = if state.phase == Phase::Answering {
            state.reader = Some(cx.waker().clone());
            Poll::Pending
        } else if state.phase == Phase::Reading && state.turns < TURNS_MAX {
            // hyper reads ahead: all of the body may be there, and its reader has yet to take it.
            // It runs in this very task, so a few turns tell a whole body from a broken one.
            state.turns += 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        } else {
            Poll::Ready(())
        };
        drop(state);
        prober.into_iter().for_each(Waker::wake);
        outcome
    }

    /// Ready once the client has hung up.
    fn poll_hung_up(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.hung_up {
            return Poll::Ready(());
        }
        if !state.prober.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            state.prober = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

// === impl Exchange ===

impl Exchange {
    fn answer(self, mut response: Response<Body>) -> Response<Answer> {
        let told = Told::take(&mut response);
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.0.upgrade();
        }
        let events = HeaderValue::from_static("text/event-stream");
        let is_stream = response.headers().get(CONTENT_TYPE) == Some(&events);
        let probes = is_stream.then(Probes::default);
        response.map(|body| Answer { body, exchange: self, probes, told })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.end();
    }
}

// === impl Question, Answer ===

impl http_body::Body for Question {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.line.read();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let (Some(told), Some(Ok(frame))) = (&mut self.told, &frame) {
                told.count(frame.data_ref().map_or(0, Bytes::len));
            }
            return Poll::Ready(frame);
        }
        let Self { exchange, probes, .. } = &mut *self;
        let Some(probes) = probes else { return Poll::Pending };
        ready!(exchange.0.poll_hung_up(cx));
        ready!(probes.poll(cx));
        Poll::Ready(Some(Ok(Frame::data(PROBE))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Probes {
    /// Ready when the next comment is due; never, after the last. From then on the stream's own
    /// keep-alive comments do.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pause) = PROBES.get(self.written) else { return Poll::Pending };
        let sleep = self.pause.get_or_insert_with(|| Box::pin(sleep(*pause)));
        ready!(sleep.as_mut().poll(cx));
        self.written += 1;
        self.pause = None;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATER: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn what_is_there_in_time_is_given() {
        let line = Line::default();
        assert_eq!(line.within(Duration::ZERO, ready(1)).await, Some(1));
        let (give, given) = tokio::sync::oneshot::channel();
        let giving = async { give.send(2).unwrap() };
        assert_eq!(tokio::join!(line.within(LATER, given), giving).0, Some(Ok(2)));
    }

    #[tokio::test]
    async fn each_request_has_its_own_deadline_on_the_one_timer() {
        let line = Line::default();
        // Set too late for the next request, then just passed, then too early.
        assert!(line.within(LATER, ready(())).await.is_some());
        let long = line.within(LATER, pending::<()>());
        assert!(tokio::time::timeout(SOON, long).await.is_err());
        for limit in [SOON, Duration::ZERO, SOON * 4] {
            let began = Instant::now();
            assert!(line.within(limit, pending::<()>()).await.is_none());
            assert!(began.elapsed() >= limit && began.elapsed() < LATER);
        }
        let short = line.within(SOON, tokio::task::yield_now());
        assert!(short.await.is_some());
        let began = Instant::now();
        assert!(line.within(SOON * 4, pending::<()>()).await.is_none());
        assert!(began.elapsed() >= SOON * 4);
    }
}
