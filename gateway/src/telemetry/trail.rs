//! What one request is followed by: its id, and the trace that it is part of.
//!
//! A trail goes with the task that answers a request ([`Trail::scope`]), so that whatever is said
//! there, a refusal or a line of the log, names the request; what outlives that task carries its
//! own copy. An id of ours is a number until somebody asks for its text: a request without a trace
//! pays one allocation, for the header that tells the client its id.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

use crate::config::limits::trace::{REQUEST_ID_CHARS_MAX, REQUEST_ID_CHARS_MIN};
use crate::telemetry::traces::context::TraceContext;
use crate::telemetry::traces::{Asked, Trace};

tokio::task_local! {
    static CURRENT: Trail;
}

thread_local! {
    /// The last step of this thread's sequence of ids, and where it began.
    static SEQUENCE: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Sequences that were begun, so that no two threads have the same.
static SEQUENCES: AtomicU64 = AtomicU64::new(0);

/// What names a request in logs, errors and spans.
#[derive(Clone, Debug)]
pub struct RequestId(Form);

#[derive(Clone, Debug)]
enum Form {
    /// Ours, written as 16 hexadecimal digits.
    Made(u64),
    /// A trusted proxy's.
    Given(Arc<str>),
    /// That of a connection, and which of its messages this is.
    Part(Arc<str>, u64),
}

/// A request's id and trace. Clones are the same trail.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    id: RequestId,
    trace: Option<Arc<Trace>>,
}

/// A number from the operating system; 0 when it has none to give.
fn random() -> u64 {
    let mut bytes = [0; 8];
    let filled = getrandom::fill(&mut bytes);
    filled.map_or(0, |()| u64::from_ne_bytes(bytes))
}

// === impl RequestId ===

impl RequestId {
    /// Takes over what a trusted proxy calls the request; `None` when it is none of our form, which
    /// fits into a line of a log whatever is written around it.
    pub fn given(text: &str) -> Option<Self> {
        let lengths = REQUEST_ID_CHARS_MIN..=REQUEST_ID_CHARS_MAX;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_one = lengths.contains(&text.len()) && text.bytes().all(is_plain);
        is_one.then(|| Self(Form::Given(text.into())))
    }

    /// The id as a header has it.
    pub fn header(&self) -> Option<HeaderValue> {
        match &self.0 {
            Form::Made(number) => {
                let mut digits = [0; 16];
                for (place, digit) in digits.iter_mut().rev().enumerate() {
                    let digit_value = (number >> (4 * place)) & 0xf;
                    let digit_value = u32::try_from(digit_value).unwrap_or_default();
                    *digit = char::from_digit(digit_value, 16).unwrap_or('0') as u8;
                }
                HeaderValue::from_bytes(&digits).ok()
            }
            Form::Given(text) => HeaderValue::from_str(text).ok(),
            Form::Part(..) => HeaderValue::from_str(&self.to_string()).ok(),
        }
    }
}

impl Default for RequestId {
    /// Another one. Ids tell requests apart and are no secrets, so they cost no system call.
    fn default() -> Self {
        let (mut step, mut begin) = SEQUENCE.get();
        if begin == 0 {
            begin = random().wrapping_add(SEQUENCES.fetch_add(1, Ordering::Relaxed)) | 1;
        }
        step = step.wrapping_add(1);
        SEQUENCE.set((step, begin));
        // The mixing steps of SplitMix64 (Steele, Lea, Flood 2014): one to one, so that no id comes
        // twice within a sequence.
        let mut mixed = begin.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(Form::Made(mixed ^ (mixed >> 31)))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Made(number) => write!(f, "{number:016x}"),
            Form::Given(text) => f.write_str(text),
            Form::Part(text, number) => write!(f, "{text}-{number}"),
        }
    }
}

// === impl Trail ===

impl Trail {
    /// A trail with this id, in the trace that the caller named.
    pub fn new(id: RequestId, received: Option<TraceContext>) -> Self {
        Self { id, trace: received.map(|it| Arc::new(Trace::received(it, false))) }
    }

    /// The same for a request that another replica of this gateway has carried here.
    pub fn hopped(id: RequestId, received: Option<TraceContext>) -> Self {
        Self { id, trace: received.map(|it| Arc::new(Trace::received(it, true))) }
    }

    /// That of the request which is answered in this task; elsewhere one of its own.
    pub fn current() -> Self {
        CURRENT.try_with(Self::clone).unwrap_or_default()
    }

    /// The id of the request which is answered in this task, if one is.
    pub fn current_id() -> Option<RequestId> {
        CURRENT.try_with(|trail| trail.id.clone()).ok()
    }

    /// The request's id.
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// The request's trace.
    pub fn trace(&self) -> Option<&Arc<Trace>> {
        self.trace.as_ref()
    }

    /// That of one message of a connection whose trail this is.
    #[must_use]
    pub fn part(&self, number: u64) -> Self {
        let whole: Arc<str> = match &self.id.0 {
            Form::Given(text) => text.clone(),
            Form::Made(_) | Form::Part(..) => self.id.to_string().into(),
        };
        Self { id: RequestId(Form::Part(whole, number)), trace: self.trace.clone() }
    }

    /// The same with an id whose text is made once, for a connection with many messages.
    #[must_use]
    pub fn lasting(self) -> Self {
        Self { id: RequestId(Form::Given(self.id.to_string().into())), trace: self.trace }
    }

    /// The same request, in another span.
    #[must_use]
    pub(super) fn within(&self, trace: Trace) -> Self {
        Self { id: self.id.clone(), trace: Some(Arc::new(trace)) }
    }

    /// That of a call to a server in the course of this request: where calls are traced, a span of
    /// its own, which is what the server is told to be part of.
    #[must_use]
    pub fn calling(&self, asked: &Asked<'_>) -> Self {
        let span = self.trace.as_ref().and_then(|trace| trace.begin_call(asked));
        span.map_or_else(|| self.clone(), |span| self.within(span))
    }

    /// Runs `future` as what answers this request.
    ///
    /// # Cancel safety
    /// As that of `future`.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }

    /// Runs `work` as what answers this request.
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }
}

/// What the request at hand is called.
pub fn request_id() -> String {
    Trail::current().id().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_a_proxy_calls_a_request_is_taken_if_it_is_plain() {
        for good in ["12345678", "4bf92f3577b34da6a3ce929d0e0e4736", "a.b_c-d.e", &"x".repeat(128)]
        {
            assert_eq!(RequestId::given(good).unwrap().to_string(), good);
        }
        let long = "x".repeat(129);
        for bad in
            ["", "1234567", &long, "1234567 ", "12345678\n", "1234567\"8", "12345678\u{2028}"]
        {
            assert!(RequestId::given(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn an_id_reads_the_same_in_a_header() {
        let part = Trail::new(RequestId::given("connection").unwrap(), None).part(7);
        for id in [
            RequestId(Form::Made(0)),
            RequestId(Form::Made(0x0123_4567_89ab_cdef)),
            RequestId(Form::Made(u64::MAX)),
            RequestId::given("connection").unwrap(),
            part.id().clone(),
        ] {
            assert_eq!(id.header().unwrap(), id.to_string());
        }
    }

    #[test]
    fn no_id_comes_twice() {
        let make = || (0..10_000).map(|_| RequestId::default().to_string()).collect::<Vec<_>>();
        let other = std::thread::spawn(make);
        let all: BTreeSet<String> = make().into_iter().chain(other.join().unwrap()).collect();
        assert_eq!(all.len(), 20_000);
        assert!(all.iter().all(|it| it.len() == 16), "{:?}", all.first());
    }

    #[tokio::test]
    async fn a_trail_goes_with_the_task_that_answers() {
        assert!(Trail::current_id().is_none());
        let trail = Trail::default();
        let id = trail.id().to_string();
        let seen = trail.clone().scope(async { Trail::current().id().to_string() }).await;
        assert_eq!(seen, id);
        assert_eq!(trail.run(|| Trail::current_id().unwrap().to_string()), id);
        assert!(Trail::current_id().is_none());
    }

    #[test]
    fn the_messages_of_a_connection_are_told_apart() {
        let trail = Trail::new(RequestId::given("connection").unwrap(), None).lasting();
        assert_eq!(trail.part(1).id().to_string(), "connection-1");
        assert_eq!(trail.part(2).id().to_string(), "connection-2");
    }
}
