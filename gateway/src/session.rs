//! Who is speaking: a client's session, what was said in it, and what is still owed on both sides.
//!
//! Reading order: `id` and `principal` (who), `replay` (what was said), `asks` (what the servers
//! asked the client), `outlet` (how an answer reaches the client), `table` (all sessions of this
//! replica), `store` (what other replicas may know of them), `keep` (what is yet to be written
//! there), `keeping` and `scribe` (how it is).

pub mod asks;
pub mod attendance;
pub mod bucket;
pub mod caller;
mod calls;
#[cfg(test)]
pub(crate) mod fixture;
pub mod hop;
pub mod id;
pub mod keep;
pub mod keeping;
pub mod lease;
pub mod memory;
pub mod outlet;
pub mod principal;
pub mod redis;
pub mod replay;
pub mod scribe;
pub mod standing;
pub mod store;
pub mod table;
pub mod tenure;
mod transport;
pub mod vault;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use wire::id::Id;
use wire::refusal::{Reason, Refusal};
use wire::revision::Revision;

use crate::config::limits::gateway::STOP_LEAVE;
use crate::config::limits::session::NOTES_MAX;
use crate::session::asks::Asks;
use crate::session::attendance::{Attendance, Attended};
pub use crate::session::calls::Aside;
use crate::session::calls::{Call, Calls};
use crate::session::id::{SessionId, SessionKey};
use crate::session::keep::Keep;
use crate::session::keeping::{Keeping, Kept};
pub use crate::session::outlet::Streams;
use crate::session::replay::{Caps, EventId, Gap, Log, StreamTag};
use crate::session::store::Estate;
pub use crate::session::transport::Transport;

/// What was agreed on at `initialize`.
#[derive(Clone)]
pub struct Agreement {
    /// The revision both sides speak.
    pub revision: Revision,
    /// The client's `initialize` params, kept as they came: repeated to every backend the
    /// session reaches.
    pub params: ByteString,
}

impl std::fmt::Debug for Agreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The params are the client's words, and no payload is ever shown.
        f.debug_struct("Agreement").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// The bounds of one session.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests of the client that may be in flight at once.
    pub calls: usize,
    /// Requests of servers that may wait for the client at once.
    pub asks: usize,
    /// The replay log's caps.
    pub log: Caps,
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    /// The id the client presents.
    pub id: SessionId,
    /// The key the session is stored under.
    pub key: SessionKey,
    /// How the client is connected.
    pub transport: Transport,
    /// When it began.
    pub opened: Instant,
    bounds: Bounds,
    /// When the client was last heard of or answered, counted from `opened`.
    seen_ms: AtomicU64,
    /// When it last spoke, or stopped reading.
    heard_ms: AtomicU64,
    agreement: Mutex<Option<Agreement>>,
    resumable: AtomicBool,
    ready: CancellationToken,
    closed: CancellationToken,
    log: Mutex<Log>,
    calls: Mutex<Calls>,
    /// Counts the calls that stand alone, itself as one.
    asides: Arc<()>,
    asks: Mutex<Asks>,
    attended: Attended,
    notes: Arc<Semaphore>,
    kept: Option<Kept>,
}

impl Session {
    /// A session that waits for its `initialize`. `keeping` is there when other replicas may have
    /// to take it over.
    pub fn new(
        id: SessionId,
        key: SessionKey,
        transport: Transport,
        bounds: Bounds,
        keeping: Option<(Keeping, u64)>,
    ) -> Self {
        let Some((keeping, epoch)) = keeping else {
            let epoch = u64::from_be_bytes(id::random());
            return Self::with_log_of(
                (id, key, transport),
                bounds,
                Log::new(epoch, bounds.log),
                None,
            );
        };
        let mut log = Log::stored(epoch, bounds.log, &keeping.tenure);
        if Self::keeps_from_start(transport) {
            log.keep(StreamTag::STANDALONE, &[]);
        }
        Self::with_log_of((id, key, transport), bounds, log, Some(keeping))
    }

    /// The session that a former owner kept, with the calls that were in flight.
    pub fn inherit(
        (id, key): (SessionId, SessionKey),
        transport: Transport,
        bounds: Bounds,
        keeping: Keeping,
        estate: &Estate,
    ) -> Self {
        let ahead = u64::from(u32::from_be_bytes(id::random()) >> 3);
        let log = Log::inherited(estate, bounds.log, &keeping.tenure, ahead, Instant::now());
        let session = Self::with_log_of((id, key, transport), bounds, log, Some(keeping));
        for call in &estate.calls {
            if let Some(id) = Id::parse(&call.id) {
                let stream = StreamTag::numbered(call.stream);
                let call = Call { stream, is_cancelled: false, operation: None };
                session.calls.lock().open.insert(id, call);
            }
        }
        let revision = estate.record.revision.as_deref().and_then(Revision::parse);
        let agreement = revision.zip(estate.record.params.clone());
        *session.agreement.lock() =
            agreement.map(|(revision, params)| Agreement { revision, params });
        if estate.record.is_ready {
            session.ready.cancel();
        }
        // Of WebSockets only those are claimed that are taken up again.
        let is_resumable = transport == Transport::WebSocket;
        session.resumable.store(is_resumable, Ordering::Relaxed);
        session
    }

    fn with_log_of(
        (id, key, transport): (SessionId, SessionKey, Transport),
        bounds: Bounds,
        log: Log,
        keeping: Option<Keeping>,
    ) -> Self {
        Self {
            id,
            key,
            transport,
            opened: keeping.as_ref().map_or_else(Instant::now, |it| it.asked.at),
            bounds,
            seen_ms: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            agreement: Mutex::new(None),
            resumable: AtomicBool::new(false),
            ready: CancellationToken::new(),
            closed: CancellationToken::new(),
            log: Mutex::new(log),
            calls: Mutex::default(),
            asides: Arc::default(),
            asks: Mutex::new(Asks::new(bounds.asks)),
            attended: Attended::default(),
            notes: Arc::new(Semaphore::new(NOTES_MAX)),
            kept: keeping.map(Kept::new),
        }
    }

    /// Notes that the client was heard of: the idle time starts anew.
    pub fn touch(&self) {
        let now = self.age_ms();
        self.seen_ms.store(now, Ordering::Relaxed);
        self.heard_ms.store(now, Ordering::Relaxed);
    }

    /// How long the client was neither heard of nor answered. A session whose client reads a stream
    /// or waits for an answer is not idle.
    pub fn idle(&self) -> Duration {
        if self.log.lock().is_read(StreamTag::STANDALONE) || !self.calls.lock().open.is_empty() {
            return Duration::ZERO;
        }
        self.since(&self.seen_ms)
    }

    /// How long the client has read no stream and said nothing; unlike with [`idle`](Self::idle),
    /// calls in flight and their answers do not count: nobody waits for them.
    pub fn absence(&self) -> Duration {
        if self.log.lock().is_read(StreamTag::STANDALONE) {
            return Duration::ZERO;
        }
        self.since(&self.heard_ms)
    }

    fn since(&self, moment_ms: &AtomicU64) -> Duration {
        let moment = Duration::from_millis(moment_ms.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(moment)
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Records the outcome of `initialize`.
    pub fn agree(&self, agreement: &Agreement) {
        // A copy, because what was cut out of a request holds on to all that was read with it.
        let params = ByteString::from(&*agreement.params);
        let revision = agreement.revision;
        // In one step for the scribe, which may be about to write everything down instead.
        self.with_log(|log| {
            log.keeping().into_iter().for_each(|it| it.agree(revision.as_str(), params.clone()));
            *self.agreement.lock() = Some(Agreement { params, revision });
        });
    }

    /// What was agreed on, once `initialize` was answered.
    pub fn agreement(&self) -> Option<Agreement> {
        self.agreement.lock().clone()
    }

    /// The agreed revision.
    pub fn revision(&self) -> Option<Revision> {
        self.agreement.lock().as_ref().map(|it| it.revision)
    }

    /// Whether the agreed revision has batches: 2025-03-26 alone does.
    ///
    /// # Errors
    /// `INVALID_REQUEST`: it has none, or nothing is agreed on yet.
    pub fn check_batch(&self) -> Result<(), Refusal> {
        if self.revision().is_some_and(Revision::allows_batch) {
            return Ok(());
        }
        let what = "a batch is allowed in revision 2025-03-26 only; send each message by itself";
        Err(Refusal::new(Reason::InvalidRequest, what))
    }

    /// The client sent `notifications/initialized`.
    pub fn set_ready(&self) {
        self.with_log(|log| {
            log.keeping().into_iter().for_each(Keep::set_ready);
            self.ready.cancel();
        });
    }

    /// Whether the client sent `notifications/initialized`.
    pub fn is_ready(&self) -> bool {
        self.ready.is_cancelled()
    }

    /// Its client holds what it needs to take its one stream up on another connection: it is kept
    /// from here on, and nothing was said yet.
    pub fn set_resumable(&self) {
        self.resumable.store(true, Ordering::Relaxed);
        if self.is_kept() {
            self.with_log(|log| log.keep(StreamTag::STANDALONE, &[]));
        }
    }

    /// Whether its client may come back on another connection although this transport has none of
    /// that by itself.
    pub fn is_resumable(&self) -> bool {
        self.resumable.load(Ordering::Relaxed)
    }

    /// Notes that its client has a socket; the newest one counts.
    pub fn attend(&self) -> Attendance {
        self.attended.begin()
    }

    /// Asks its client's socket to leave; whether it has, or had [`STOP_LEAVE`] for it.
    pub fn dismiss(&self, now: Instant) -> bool {
        self.attended.dismiss(now, STOP_LEAVE)
    }

    /// Whether its client's socket was asked to leave, and has not yet.
    pub fn is_being_left(&self) -> bool {
        self.attended.is_leaving()
    }

    /// Takes no more requests in: the session is about to end.
    pub fn shut(&self) {
        self.calls.lock().is_shut = true;
    }

    /// It takes requests in again: it does not end after all.
    pub fn reopen(&self) {
        self.calls.lock().is_shut = false;
    }

    /// Whether it takes no more requests in.
    pub fn is_shut(&self) -> bool {
        self.calls.lock().is_shut
    }

    /// Ends the session: its streams end, and its backends let go of it.
    pub fn close(&self) {
        self.closed.cancel();
        self.wake(Log::end_keeping);
    }

    /// Fires when the session is closed.
    pub fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// How many requests may be in flight.
    pub fn in_flight_max(&self) -> usize {
        self.bounds.calls
    }

    /// The requests that servers put to this client.
    pub fn asks(&self) -> &Mutex<Asks> {
        &self.asks
    }

    /// Room for a notification that waits for a server; `None` when too many do.
    pub fn room_for_note(&self) -> Option<OwnedSemaphorePermit> {
        self.notes.clone().try_acquire_owned().ok()
    }

    /// The id that stands before everything yet to come on `stream`.
    pub fn head(&self, stream: StreamTag) -> EventId {
        self.log.lock().head(stream)
    }

    /// The id of the event at `seq` on `stream`.
    pub fn event_id(&self, stream: StreamTag, seq: u64) -> EventId {
        self.log.lock().event_id(stream, seq)
    }

    /// Where a client that saw `id` last goes on.
    ///
    /// # Errors
    /// A gap, when an event after `id` is gone.
    pub fn position(&self, id: &EventId) -> Result<(StreamTag, u64), Gap> {
        self.log.lock().position(id)
    }

    /// Where a client goes on that cannot be given everything after `id`: with what is left of it,
    /// or, when `id` is none of this log's, with what nobody has read.
    pub fn remainder(&self, id: &EventId) -> u64 {
        self.log.lock().remainder(id)
    }

    /// How many events are kept for a client that comes back.
    pub fn events(&self) -> usize {
        self.log.lock().len()
    }

    /// Whether the client reads the standalone stream.
    pub fn is_listening(&self) -> bool {
        self.log.lock().is_read(StreamTag::STANDALONE)
    }

    /// Lets go of streams that nobody can ask for any more.
    pub fn sweep(&self, now: Instant) {
        self.log.lock().sweep(now);
    }
}

#[cfg(test)]
mod tests {
    mod simulation;

    use wire::refusal::Dispatched;

    use super::*;
    use crate::config::limits::session::ENDED_STREAM_TTL;
    use crate::session::fixture::{self, BOUNDS};
    use crate::session::outlet::Reader;
    use crate::session::replay::Next;

    const MINUTE: Duration = Duration::from_secs(60);

    fn id(raw: &str) -> Id {
        Id::parse(raw).unwrap()
    }

    /// A session whose client was last heard of a minute ago.
    fn silent() -> Session {
        let mut session = fixture::bounded(Transport::Streamable, BOUNDS);
        session.opened = session.opened.checked_sub(MINUTE).unwrap();
        session
    }

    #[test]
    fn a_duplicate_id_is_refused_and_leaves_the_first_alone() {
        let session = fixture::session();
        let (outlet, mut reader) = session.open_stream(1);
        session.begin(&id("1")).unwrap();
        let refusal = session.begin(&id("1")).unwrap_err();
        assert_eq!(refusal.reason, Reason::DuplicateId);
        assert_eq!(refusal.dispatched, Dispatched::No);
        session.begin(&id("\"1\"")).unwrap();
        assert_eq!(session.in_flight(), 2);
        assert!(!session.is_cancelled(&id("1")));
        outlet.answer(&id("1"), ByteString::from("first"));
        assert_eq!(fixture::texts(&mut reader), ["first"]);
    }

    #[test]
    fn a_progress_token_is_free_again_when_its_call_has_ended() {
        let session = fixture::session();
        let (outlet, _reader) = session.open_stream(1);
        session.begin_with_token(&id("1"), id("\"t\"")).unwrap();
        let refusal = session.begin_with_token(&id("2"), id("\"t\"")).unwrap_err();
        assert_eq!((refusal.reason, session.in_flight()), (Reason::InvalidRequest, 1));
        assert!(session.begin_with_token(&id("1"), id("2")).is_err());
        outlet.answer(&id("1"), ByteString::from("first"));
        session.begin_with_token(&id("2"), id("\"t\"")).unwrap();
        session.begin_with_token(&id("3"), id("2")).unwrap();
    }

    #[test]
    fn calls_in_flight_are_capped() {
        let bounds = Bounds { calls: 2, ..BOUNDS };
        let session = Arc::new(fixture::bounded(Transport::Streamable, bounds));
        let (outlet, _reader) = session.open_stream(2);
        session.begin(&id("1")).unwrap();
        session.begin(&id("2")).unwrap();
        let refusal = session.begin(&id("3")).unwrap_err();
        assert_eq!(refusal.reason, Reason::Overloaded);
        assert_eq!(refusal.dispatched, Dispatched::No);
        assert!(refusal.retry_after.is_some());
        assert_eq!(session.begin(&id("2")).unwrap_err().reason, Reason::DuplicateId);
        outlet.answer(&id("1"), ByteString::from("{}"));
        session.begin(&id("3")).unwrap();
    }

    #[test]
    fn only_a_call_in_flight_can_be_cancelled() {
        let session = fixture::session();
        let (outlet, _reader) = session.open_stream(1);
        assert!(!session.cancel(&id("1")));
        session.begin(&id("1")).unwrap();
        assert!(!session.is_cancelled(&id("1")));
        assert!(session.cancel(&id("1")) && session.cancel(&id("1")));
        assert!(session.is_cancelled(&id("1")));
        assert_eq!(session.in_flight(), 1);
        outlet.abandon(&id("1"));
        assert!(!session.is_cancelled(&id("1")) && !session.cancel(&id("1")));
    }

    #[test]
    fn a_session_is_idle_since_its_client_was_heard_of() {
        let session = silent();
        assert!(session.idle() >= MINUTE);
        session.touch();
        assert!(session.idle() < MINUTE);
    }

    #[test]
    fn a_session_with_a_reader_or_a_call_is_not_idle() {
        let session = Arc::new(silent());
        let reader = Reader::standalone(session.clone()).unwrap();
        assert!(session.is_listening());
        assert_eq!(session.idle(), Duration::ZERO);
        drop(reader);
        assert!(!session.is_listening());
        assert!(session.idle() < MINUTE, "the end of the stream counts as a sign of life");
        session.seen_ms.store(0, Ordering::Relaxed);
        let (outlet, _reader) = session.open_stream(1);
        session.begin(&id("1")).unwrap();
        assert_eq!(session.idle(), Duration::ZERO);
        outlet.answer(&id("1"), ByteString::from("{}"));
        assert!(session.idle() < MINUTE, "so does an answer");
    }

    #[test]
    fn a_client_is_absent_that_neither_reads_nor_speaks_whatever_is_in_flight() {
        let session = Arc::new(silent());
        let (outlet, _reader) = session.open_stream(1);
        session.begin(&id("1")).unwrap();
        assert_eq!(session.idle(), Duration::ZERO);
        assert!(session.absence() >= MINUTE);
        outlet.answer(&id("1"), ByteString::from("{}"));
        assert!(session.idle() < MINUTE);
        assert!(session.absence() >= MINUTE, "an answer that nobody reads is no sign of life");
        let reader = Reader::standalone(session.clone()).unwrap();
        assert_eq!(session.absence(), Duration::ZERO);
        drop(reader);
        assert!(session.absence() < MINUTE, "it begins with the end of the stream");
        session.heard_ms.store(0, Ordering::Relaxed);
        session.touch();
        assert!(session.absence() < MINUTE, "and anew with a message");
    }

    #[test]
    fn notifications_that_wait_are_bounded() {
        let session = fixture::session();
        let mut waiting: Vec<_> = (0..NOTES_MAX).filter_map(|_| session.room_for_note()).collect();
        assert_eq!(waiting.len(), NOTES_MAX);
        assert!(session.room_for_note().is_none());
        assert!(fixture::session().room_for_note().is_some(), "another session's");
        waiting.pop();
        assert!(session.room_for_note().is_some());
    }

    #[test]
    fn only_one_revision_has_batches() {
        let session = fixture::session();
        assert_eq!(session.check_batch().unwrap_err().reason, Reason::InvalidRequest);
        for revision in Revision::ALL {
            session.agree(&Agreement { revision, params: ByteString::new() });
            assert_eq!(session.check_batch().is_ok(), revision == Revision::V2025_03_26);
        }
    }

    #[test]
    fn what_was_agreed_on_is_kept() {
        let session = fixture::session();
        assert!(session.agreement().is_none() && session.revision().is_none());
        let params = ByteString::from_static("{}");
        session.agree(&Agreement { revision: Revision::V2025_03_26, params: params.clone() });
        assert_eq!(session.revision(), Some(Revision::V2025_03_26));
        assert_eq!(session.agreement().unwrap().params, params);
        assert!(!session.is_ready());
        session.set_ready();
        assert!(session.is_ready());
    }

    #[test]
    fn what_was_agreed_on_does_not_hold_on_to_the_request() {
        let session = fixture::session();
        let request = bytes::Bytes::from(b"read with {} and more".to_vec());
        let params = ByteString::try_from(request.slice(10..12)).unwrap();
        session.agree(&Agreement { revision: Revision::V2025_03_26, params });
        assert!(request.is_unique());
        assert_eq!(session.agreement().unwrap().params, "{}");
    }

    #[tokio::test]
    async fn the_end_of_a_session_ends_its_readers_after_what_was_said() {
        let session = fixture::session();
        let mut standalone = Reader::standalone(session.clone()).unwrap();
        let (outlet, mut behind) = session.open_stream(1);
        outlet.emit(ByteString::from("unread"));
        let (end, ()) = tokio::join!(standalone.next(), async { session.close() });
        assert!(matches!(end, Next::End));
        assert!(session.closed().is_cancelled());
        assert_eq!(fixture::texts(&mut behind), ["unread"]);
        assert!(matches!(fixture::ready(&mut behind), Some(Next::End)));
    }

    #[test]
    fn a_place_is_found_by_the_id_its_event_was_given() {
        let session = fixture::session();
        let (outlet, reader) = session.open_stream(1);
        let tag = reader.stream();
        outlet.emit(ByteString::from("x"));
        let head = session.head(tag);
        assert_eq!(head, session.event_id(tag, 1));
        assert_eq!(session.position(&head), Ok((tag, 1)));
        assert_eq!(fixture::session().position(&head), Err(Gap), "of another session");
    }

    #[test]
    fn an_ended_stream_is_let_go_of() {
        let session = fixture::session();
        let (outlet, reader) = session.open_stream(1);
        let place = session.head(reader.stream());
        session.begin(&id("1")).unwrap();
        outlet.answer(&id("1"), ByteString::from("x"));
        drop(reader);
        session.sweep(Instant::now());
        assert!(session.position(&place).is_ok());
        session.sweep(Instant::now() + ENDED_STREAM_TTL + MINUTE);
        assert_eq!(session.position(&place), Err(Gap));
    }
}
