//! The scribe, a table of sessions and a store that fails.

mod trouble;

use bytestring::ByteString;
use wire::id::Id;
use wire::revision::Revision;

use super::*;
use crate::session::fixture::{BOUNDS, Distant, ready, texts};
use crate::session::id::Keyring;
use crate::session::memory::MemoryStore;
use crate::session::outlet::Reader;
use crate::session::principal::Principal;
use crate::session::replay::{Next, StreamTag};
use crate::session::store::{Claim, Estate, Look};
use crate::session::table::{Sessions, Terms};
use crate::session::tenure::Replica;
use crate::session::{Agreement, Streams as _, Transport};

const TERMS: Terms = Terms {
    sessions: 9,
    sessions_per_principal: 9,
    idle_timeout: Duration::from_secs(3600),
    resume_window: Duration::from_secs(60),
    max_age: Duration::from_secs(8 * 3600),
    bounds: BOUNDS,
};

type Table = Arc<Sessions<Arc<Session>>>;

fn replica(store: &Arc<Distant>, terms: Terms) -> Table {
    let lease = Arc::new(Lease::new(Instant::now()));
    let keyring = Keyring::new(Some("secret"));
    Arc::new(Sessions::new(terms, keyring, store.clone(), Replica::new("host", ""), lease))
}

fn bench() -> (Table, Arc<Distant>) {
    let store = Arc::new(Distant::new());
    (replica(&store, TERMS), store)
}

fn standing(table: &Table, store: &Arc<Distant>) -> Standing {
    Standing::new(store.clone(), table.replica().clone(), table.lease().clone())
}

async fn open(table: &Table, transport: Transport) -> Arc<Session> {
    let opened = table.open(Principal::anonymous(), transport, None, |session| session).await;
    let session = (*opened.unwrap()).clone();
    write_all(table).await;
    session
}

/// Takes one write of each session that has something to the store; how many there were.
async fn write_once(table: &Table) -> usize {
    let due: Vec<_> = std::iter::from_fn(|| table.scribe().next()).collect();
    for session in &due {
        table.scribe().write(session.clone()).await;
    }
    due.len()
}

async fn write_all(table: &Table) {
    while write_once(table).await > 0 {}
}

async fn claim(store: &Distant, session: &Session) -> Estate {
    let other = Replica::new("other", "");
    match store.claim(session.key, session.tenure(), other).await {
        Ok(Claim::Taken(_, estate)) => *estate,
        other => panic!("{other:?} where a claim was to succeed"),
    }
}

fn say(session: &Arc<Session>, text: &'static str) {
    session.standalone().emit(ByteString::from_static(text));
}

#[tokio::test]
async fn what_a_session_agrees_on_and_notes_is_found_by_a_successor() {
    let (table, store) = bench();
    let session = open(&table, Transport::Streamable).await;
    let params = ByteString::from_static("{}");
    session.agree(&Agreement { revision: Revision::V2025_06_18, params: params.clone() });
    session.set_ready();
    session.set_note("level", Some(ByteString::from_static("debug")));
    say(&session, "a");
    write_all(&table).await;
    let estate = claim(&store, &session).await;
    assert_eq!(estate.record.revision.as_deref(), Some("2025-06-18"));
    assert_eq!(estate.record.params, Some(params));
    assert!(estate.record.is_ready);
    assert_eq!(estate.record.notes.len(), 1);
    assert_eq!(session.note("level").as_deref(), Some("debug"));
    assert_eq!(estate.events.len(), 1);
}

#[tokio::test]
async fn a_call_that_is_answered_at_once_writes_nothing() {
    let (table, _) = bench();
    let session = open(&table, Transport::Streamable).await;
    let (outlet, mut reader) = session.open_stream(1);
    session.begin_on(outlet.stream(), &Id::number(1), None).unwrap();
    outlet.answer(&Id::number(1), ByteString::from_static("answer"));
    assert_eq!(texts(&mut reader), ["answer"]);
    reader.forget();
    session.kept().await;
    assert!(table.scribe().next().is_none());
}

#[tokio::test]
async fn a_reply_that_becomes_a_stream_waits_until_it_is_kept() {
    let (table, store) = bench();
    let session = open(&table, Transport::Streamable).await;
    let (outlet, mut reader) = session.open_stream(1);
    session.begin_on(outlet.stream(), &Id::number(7), None).unwrap();
    outlet.emit(ByteString::from_static("early"));
    let Some(Next::Event(first)) = ready(&mut reader) else { panic!("it is not kept yet") };
    let before = reader.start();
    let keep = async {
        let first = reader.keep(Some(first)).await.unwrap();
        let kept = store.listed(session.key).await.unwrap();
        assert_eq!((kept.calls, kept.events), (1, 1));
        first
    };
    let (first, ()) = tokio::join!(keep, write_all(&table));
    assert!(first.seq > reader.start() && reader.start() > before);
    let place = session.event_id(reader.stream(), reader.start());
    assert!(session.position(&place).is_ok());
    outlet.answer(&Id::number(7), ByteString::from_static("answer"));
    assert!(ready(&mut reader).is_none(), "it is not in the store");
    write_all(&table).await;
    assert_eq!(texts(&mut reader), ["answer"]);
    let estate = claim(&store, &session).await;
    assert_eq!((estate.calls.len(), estate.events.len()), (0, 2));
}

#[tokio::test]
async fn only_a_websocket_that_can_be_resumed_is_kept() {
    let (table, _) = bench();
    let session = open(&table, Transport::WebSocket).await;
    say(&session, "a");
    assert!(!session.is_stream_kept(StreamTag::STANDALONE) && table.scribe().next().is_none());
    let session = open(&table, Transport::WebSocket).await;
    session.set_resumable();
    say(&session, "a");
    let mut reader = Reader::standalone(session.clone()).unwrap();
    assert!(ready(&mut reader).is_none());
    write_all(&table).await;
    assert_eq!(texts(&mut reader), ["a"]);
}

#[tokio::test]
async fn who_waits_for_a_store_that_is_away_waits_no_longer_and_is_told() {
    let (table, store) = bench();
    let session = open(&table, Transport::Sse).await;
    let mut reader = Reader::standalone(session.clone()).unwrap();
    store.set_away(true);
    session.begin(&Id::number(1)).unwrap();
    say(&session, "a");
    tokio::join!(session.kept(), write_once(&table));
    assert!(table.scribe().is_away());
    assert_eq!(texts(&mut reader), ["a"]);
    session.kept().await;
    let late = open_away(&table).await;
    assert!(late.is_err());
    store.set_away(false);
    write_all(&table).await;
    assert!(!table.scribe().is_away());
    say(&session, "b");
    assert!(ready(&mut reader).is_none());
    write_all(&table).await;
    assert_eq!(texts(&mut reader), ["b"]);
    assert_eq!(store.listed(session.key).await.map(|it| (it.calls, it.events)), Some((1, 2)));
}

async fn open_away(table: &Table) -> Result<(), ()> {
    let opened = table.open(Principal::anonymous(), Transport::Sse, None, |session| session).await;
    opened.map(drop).map_err(drop)
}

#[tokio::test]
async fn a_page_whose_answer_was_lost_is_there_once() {
    let (table, store) = bench();
    let session = open(&table, Transport::Sse).await;
    store.lose_answers(true);
    say(&session, "a");
    write_once(&table).await;
    say(&session, "b");
    store.lose_answers(false);
    write_all(&table).await;
    assert_eq!(store.listed(session.key).await.map(|it| it.events), Some(2));
}

#[tokio::test]
async fn a_session_that_was_lost_says_nothing_more_and_leaves_the_store_alone() {
    let (table, store) = bench();
    let session = open(&table, Transport::Sse).await;
    let mut reader = Reader::standalone(session.clone()).unwrap();
    say(&session, "a");
    claim(&store, &session).await;
    write_all(&table).await;
    assert!(session.is_disowned() && session.begin(&Id::number(1)).is_err());
    assert!(matches!(ready(&mut reader), Some(Next::End)));
    let gone = table.take_disowned();
    assert!(gone.len() == 1 && table.is_empty() && table.take_disowned().is_empty());
    session.close();
    assert!(store.listed(session.key).await.is_some(), "it is its new owner's");
    assert!(table.scribe().next().is_none());
}

#[tokio::test]
async fn who_reads_a_session_that_goes_elsewhere_is_given_what_the_store_had() {
    let (table, _) = bench();
    let session = open(&table, Transport::Sse).await;
    let mut reader = Reader::standalone(session.clone()).unwrap();
    say(&session, "a");
    write_all(&table).await;
    say(&session, "b");
    assert!(table.abandon(session.key).is_some());
    assert_eq!(texts(&mut reader), ["a"], "its successor has it too");
    assert!(matches!(ready(&mut reader), Some(Next::End)), "and not what came after it");
}

#[tokio::test]
async fn a_disowned_session_that_is_taken_out_stays_in_the_store() {
    let (table, store) = bench();
    let session = open(&table, Transport::Sse).await;
    claim(&store, &session).await;
    session.disown();
    table.take(session.key).unwrap();
    assert!(table.settle(session.key).await);
    assert!(store.listed(session.key).await.is_some());
}

#[tokio::test]
async fn what_somebody_ended_is_not_restored() {
    let (table, store) = bench();
    let session = open(&table, Transport::Sse).await;
    store.remove(session.key, None).await.unwrap();
    say(&session, "a");
    write_all(&table).await;
    assert!(session.is_disowned());
    assert!(store.listed(session.key).await.is_none());
}

#[tokio::test]
async fn what_has_expired_is_not_restored() {
    let skipped = Arc::<Mutex<Duration>>::default();
    let (begun, clock) = (Instant::now(), skipped.clone());
    let inner = MemoryStore::shared(Arc::new(move || begun + *clock.lock()));
    let store = Arc::new(Distant::of(inner));
    let table = replica(&store, TERMS);
    table.scribe().judge(table.scribe().take_unknown(), Duration::from_secs(60));
    let session = open(&table, Transport::Sse).await;
    *skipped.lock() = TERMS.max_age;
    say(&session, "a");
    write_all(&table).await;
    assert!(!session.is_disowned(), "the store may have been emptied since it said its age");
    table.scribe().judge(table.scribe().take_unknown(), Duration::from_secs(60));
    assert!(session.is_disowned());
    write_all(&table).await;
    assert!(store.listed(session.key).await.is_none());
}

#[tokio::test]
async fn in_a_new_term_every_session_is_confirmed() {
    let (table, store) = bench();
    let (stays, goes) =
        (open(&table, Transport::Streamable).await, open(&table, Transport::Streamable).await);
    table.lease().confirm(Instant::now(), Instant::now());
    assert_ne!(stays.term(), table.lease().term());
    claim(&store, &goes).await;
    table.scribe().look(Instant::now());
    write_all(&table).await;
    assert_eq!(stays.term(), table.lease().term());
    assert!(goes.is_disowned() && !stays.is_disowned());
}

#[tokio::test]
async fn a_session_in_use_is_heard_of_before_it_expires() {
    let store = Arc::new(Distant::new());
    let table = replica(&store, Terms { idle_timeout: Duration::from_nanos(400), ..TERMS });
    let opened = table.open(Principal::anonymous(), Transport::Sse, None, |session| session).await;
    let session = (*opened.unwrap()).clone();
    let _reader = Reader::standalone(session.clone()).unwrap();
    write_all(&table).await;
    assert!(store.listed(session.key).await.is_none(), "nanoseconds are over");
    let table = replica(&store, TERMS);
    let session = open(&table, Transport::Sse).await;
    assert_eq!(session.unheard(), Duration::ZERO, "it was not used since");
    let _reader = Reader::standalone(session.clone()).unwrap();
    assert!(!session.unheard().is_zero());
}

#[tokio::test]
async fn a_session_that_is_given_back_is_whole_and_free() {
    let (table, store) = bench();
    let session = open(&table, Transport::Sse).await;
    say(&session, "a");
    let (released, ()) = tokio::join!(table.release(session.key, false), write_all(&table));
    assert!(released.is_some() && table.is_empty() && session.is_disowned());
    assert_eq!(store.look(session.key).await, Ok(Look::Free));
    assert_eq!(store.listed(session.key).await.map(|it| it.events), Some(1));
    say(&session, "late");
    assert!(table.scribe().next().is_none());
    assert!(table.release(session.key, false).await.is_none());
}

#[tokio::test]
async fn a_claimed_session_goes_on_here() {
    let (one, store) = bench();
    let other = replica(&store, TERMS);
    let session = open(&one, Transport::Streamable).await;
    session.agree(&Agreement {
        revision: Revision::V2025_11_25,
        params: ByteString::from_static("{}"),
    });
    let (outlet, mut reader) = session.open_stream(1);
    session.begin_on(outlet.stream(), &Id::number(1), None).unwrap();
    tokio::join!(reader.keep(None), write_all(&one));
    let place = session.event_id(reader.stream(), reader.start());
    let by = other.replica().clone();
    let taken = store.claim(session.key, session.tenure(), by).await;
    let Ok(Claim::Taken(tenure, estate)) = taken else { panic!("{taken:?}") };
    let names = (session.id.clone(), session.key);
    let who = Principal::anonymous();
    let adopted = other.adopt(
        who,
        names,
        Transport::Streamable,
        (tenure.clone(), other.lease().asking()),
        &estate,
        |session| session,
    );
    assert!(other.by_key(session.key).is_some());
    assert_eq!((adopted.tenure(), adopted.in_flight()), (Some(tenure.clone()), 1));
    assert_eq!(adopted.revision(), Some(Revision::V2025_11_25));
    assert!(adopted.left().is_some_and(|left| left <= estate.left), "it lasts no longer");
    assert!(!adopted.is_ready());
    let (stream, seq) = adopted.position(&place).unwrap();
    let mut resumed = Reader::attach((*adopted).clone(), stream, seq).unwrap();
    let outlet = crate::session::outlet::Outlet::new((*adopted).clone(), stream);
    outlet.answer(&Id::number(1), ByteString::from_static("unknown"));
    write_all(&other).await;
    assert_eq!(texts(&mut resumed), ["unknown"]);
    assert!(matches!(ready(&mut resumed), Some(Next::End)));
    write_all(&one).await;
    let again = other.adopt(
        Principal::anonymous(),
        (session.id.clone(), session.key),
        Transport::Streamable,
        (tenure, other.lease().asking()),
        &estate,
        |session| session,
    );
    assert!(adopted.is_disowned() && !again.is_disowned());
    assert_eq!(other.take_disowned().len(), 1, "the former one is left to be closed");
    assert!(other.by_key(session.key).is_some());
}
