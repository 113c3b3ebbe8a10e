//! Sessions that count, and a store that fails for some of them.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;
use wire::id::Id;

use super::*;
use crate::config::limits::store::{LAPSED_FENCES, LAPSED_WAIT};
use crate::session::store::Life;
use crate::session::tenure::Tenure;

#[tokio::test]
async fn whoever_stops_waiting_for_a_session_leaves_none_behind() {
    let store = Arc::new(Distant::new());
    let table = replica(&store, Terms { sessions_per_principal: 1, ..TERMS });
    // The store is asked twice, and each answer is waited for twice.
    for polls in 1..=4 {
        {
            let opening = open_away(&table);
            let mut opening = std::pin::pin!(opening);
            for _ in 0..polls {
                assert!(futures_util::poll!(opening.as_mut()).is_pending());
            }
        }
        table.settle_all().await;
    }
    let session = open(&table, Transport::Sse).await;
    store.set_away(true);
    table.take(session.key).unwrap();
    table.settle_all().await;
    store.set_away(false);
    assert!(open_away(&table).await.is_err(), "it is counted");
    table.settle_all().await;
    assert!(store.listed(session.key).await.is_none());
    open(&table, Transport::Sse).await;
}

#[tokio::test]
async fn sessions_in_use_are_counted_by_a_store_that_forgot_them() {
    let store = Arc::new(Distant::new());
    let table = replica(&store, Terms { sessions_per_principal: 1, ..TERMS });
    let session = open(&table, Transport::Sse).await;
    let other = replica(&store, Terms { sessions_per_principal: 1, ..TERMS });
    table.scribe().count(Instant::now()).await;
    store.empty();
    table.scribe().count(Instant::now()).await;
    table.scribe().count_anew();
    table.scribe().count(Instant::now()).await;
    assert!(open_away(&other).await.is_err());
    store.empty();
    let _in_use = Reader::standalone(session).unwrap();
    table.scribe().count(Instant::now() + TERMS.idle_timeout / 8).await;
    assert!(open_away(&other).await.is_err(), "and from time to time");
}

#[tokio::test]
async fn one_session_that_is_not_written_keeps_no_other_waiting() {
    let (table, store) = bench();
    let (large, one, other) = (
        open(&table, Transport::Sse).await,
        open(&table, Transport::Sse).await,
        open(&table, Transport::Sse).await,
    );
    let mut reader = Reader::standalone(large.clone()).unwrap();
    let mut of_other = Reader::standalone(one.clone()).unwrap();
    say(&large, "large");
    store.lose_answers(true);
    write_once(&table).await;
    store.lose_answers(false);
    assert!(!table.scribe().is_away(), "there is a connection, and others may be written");
    assert_eq!(texts(&mut reader), ["large"], "nobody waits for it");
    assert!(table.scribe().next().is_none(), "it is not tried again at once");
    say(&one, "small");
    assert!(ready(&mut of_other).is_none(), "it is kept first");
    write_all(&table).await;
    assert_eq!(texts(&mut of_other), ["small"]);
    table.scribe().look(Instant::now() + RETRY_EVERY * 2);
    write_all(&table).await;
    say(&large, "again");
    assert!(ready(&mut reader).is_none(), "it is kept as before");
    store.lose_answers(true);
    [&large, &one, &other].into_iter().for_each(|session| say(session, "lost"));
    write_once(&table).await;
    assert!(table.scribe().is_away(), "none is written");
}

#[tokio::test]
async fn a_store_that_is_back_hears_of_those_that_have_something_to_say() {
    let (table, store) = bench();
    let (busy, idle) = (open(&table, Transport::Sse).await, open(&table, Transport::Sse).await);
    store.set_away(true);
    say(&busy, "a");
    write_once(&table).await;
    assert!(table.scribe().is_away());
    store.set_away(false);
    assert_eq!((write_once(&table).await, write_once(&table).await), (1, 0));
    let mut reader = Reader::standalone(idle.clone()).unwrap();
    say(&idle, "b");
    assert!(ready(&mut reader).is_none(), "it is kept first again");
    table.lease().confirm(Instant::now(), Instant::now());
    table.scribe().look(Instant::now());
    assert_eq!(write_once(&table).await, 2, "in a new term, of all");
}

#[tokio::test]
async fn an_owner_that_is_firm_restores_whatever_the_age_of_the_store() {
    let (table, store) = bench();
    table.lease().confirm(Instant::now(), Instant::now());
    let session = open(&table, Transport::Sse).await;
    table.scribe().judge(Vec::new(), Duration::from_secs(60));
    store.empty();
    say(&session, "a");
    write_all(&table).await;
    assert!(!session.is_disowned(), "one shard may have forgotten it");
    assert_eq!(store.listed(session.key).await.map(|it| it.events), Some(1));
    store.remove(session.key, None).await.unwrap();
    say(&session, "b");
    write_all(&table).await;
    assert!(session.is_disowned(), "what was ended stays so");
}

/// The scribe's own clock, which goes on by so many milliseconds when it is told so.
fn clock_of(table: &Table) -> Arc<AtomicU64> {
    let (begun, late_ms) = (Instant::now(), Arc::<AtomicU64>::default());
    let late = late_ms.clone();
    let clock = move || begun + Duration::from_millis(late.load(Ordering::Relaxed));
    assert!(table.scribe().clock.set(Arc::new(clock)).is_ok());
    late_ms
}

#[tokio::test]
async fn an_owner_that_had_lapsed_restores_after_later_ones_and_speaks_after_them() {
    let (table, store) = bench();
    let late_ms = clock_of(&table);
    let (session, other) = (open(&table, Transport::Sse).await, open(&table, Transport::Sse).await);
    session.begin(&Id::number(1)).unwrap();
    [&session, &other].into_iter().for_each(|it| say(it, "a"));
    write_all(&table).await;
    let (seen, of_later) = (session.head(StreamTag::STANDALONE), Tenure { fence: 2, ..tenure() });
    let later = Estate { seq: of_later.start(), spans: vec![(1, seen.seq)], ..Estate::default() };
    store.empty();
    let birth = Instant::now();
    [&session, &other].into_iter().for_each(|it| say(it, "b"));
    let judge = || table.scribe().judge(table.scribe().take_unknown(), birth.elapsed());
    write_all(&table).await;
    judge();
    write_all(&table).await;
    assert!(store.listed(session.key).await.is_none(), "a later owner may come");
    let life = Life { idle: TERMS.idle_timeout, total: TERMS.max_age };
    let restored = store.restore(other.key, of_later.clone(), later, life).await;
    assert_eq!(restored, Ok(Kept::Done));
    late_ms.store(u64::try_from(LAPSED_WAIT.as_millis()).unwrap(), Ordering::Relaxed);
    judge();
    write_all(&table).await;
    assert!(other.is_disowned() && !session.is_disowned());
    let own = session.tenure().unwrap();
    assert!(own.fence > of_later.fence + 1, "one that is gone may have come after it");
    say(&session, "c");
    write_all(&table).await;
    assert!(session.position(&seen).is_ok(), "what it said before it knows still");
    assert!(session.position(&session.event_id(seen.stream, of_later.start() + 1)).is_err());
    let estate = claim(&store, &session).await;
    assert_eq!((estate.calls.len(), estate.events.len()), (1, 3));
    assert_eq!(estate.record.transport, "sse");
    assert!(estate.events.last().unwrap().seq > of_later.start() + 1);
    assert_eq!(estate.spans.iter().map(|it| it.0).collect::<Vec<_>>(), [1, own.fence]);
}

#[tokio::test]
async fn an_owner_that_had_lapsed_skips_fences_once() {
    let (table, store) = bench();
    let (late_ms, session) = (clock_of(&table), open(&table, Transport::Sse).await);
    store.empty();
    let birth = Instant::now();
    say(&session, "a");
    write_all(&table).await;
    let doubted = table.scribe().take_unknown();
    // It is asked once more while the store says its age.
    table.scribe().doubt(session.key, Instant::now());
    table.scribe().judge(doubted, birth.elapsed());
    late_ms.store(u64::try_from(LAPSED_WAIT.as_millis()).unwrap(), Ordering::Relaxed);
    table.scribe().judge(table.scribe().take_unknown(), birth.elapsed());
    assert_eq!(session.tenure().unwrap().fence, 1 + LAPSED_FENCES);
}

fn tenure() -> Tenure {
    Tenure::first(Replica::new("later", ""))
}

#[tokio::test]
async fn a_session_is_written_when_the_store_has_it_and_not_when_that_is_away() {
    let (table, store) = bench();
    let session = open(&table, Transport::Streamable).await;
    let agree = || {
        let params = ByteString::from_static("{}");
        session.agree(&Agreement { revision: Revision::V2025_11_25, params });
    };
    agree();
    assert_eq!(session.is_in_store().now_or_never(), None);
    write_all(&table).await;
    assert_eq!(session.is_in_store().now_or_never(), Some(true));
    store.set_away(true);
    agree();
    let (is_written, _) = tokio::join!(session.is_in_store(), write_once(&table));
    assert!(!is_written);
}

#[tokio::test]
async fn a_store_that_is_back_is_tried_with_the_first_sign_of_life() {
    let (table, store) = bench();
    let token = CancellationToken::new();
    let session = open(&table, Transport::Sse).await;
    let standing = standing(&table, &store);
    let scribe = table.scribe();
    let client = async {
        store.set_away(true);
        say(&session, "a");
        session.kept().await;
        assert!(scribe.is_away());
        store.set_away(false);
        standing.store_age_anew().await.unwrap();
        // Far fewer turns than there are until it would be tried in any case.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert!(!scribe.is_away());
        token.cancel();
    };
    tokio::join!(scribe.run(token.clone()), scribe.heed(&standing, token.clone()), client);
}

#[tokio::test]
async fn a_message_is_acknowledged_when_it_surely_comes_to_an_end() {
    let (table, store) = bench();
    table.lease().confirm(Instant::now(), Instant::now());
    let session = open(&table, Transport::Sse).await;
    let receipt = |id: &str| session.receipt(&[Id::parse(id).unwrap()]).now_or_never();
    let begin = |id: &str| session.begin(&Id::parse(id).unwrap()).unwrap();
    begin("1");
    assert_eq!(receipt("1"), None, "it may be lost");
    write_all(&table).await;
    assert_eq!(receipt("1"), Some(true), "the store has it");
    begin("4");
    session.standalone().abandon(&Id::parse("4").unwrap());
    assert_eq!(receipt("4"), None, "neither it nor its end is in the store");
    write_all(&table).await;
    store.set_away(true);
    begin("2");
    write_once(&table).await;
    assert_eq!(receipt("2"), None, "nobody but this replica has it");
    assert!(session.log.lock().keeping().is_some_and(|it| it.is_away()));
    session.standalone().abandon(&Id::parse("2").unwrap());
    assert_eq!(receipt("2"), Some(true), "it has ended");
    begin("3");
    session.disown();
    assert_eq!(receipt("3"), Some(false), "its end reaches nobody");
}

#[tokio::test]
async fn the_session_of_a_socket_is_known_as_long_as_its_owner_lives() {
    let skipped = Arc::<Mutex<Duration>>::default();
    let (begun, clock) = (Instant::now(), skipped.clone());
    let inner = MemoryStore::shared(Arc::new(move || begun + *clock.lock()));
    let store = Arc::new(Distant::of(inner));
    let idle_timeout = Duration::from_millis(80);
    let terms = Terms { idle_timeout, sessions_per_principal: 1, ..TERMS };
    let table = replica(&store, terms);
    let session = open(&table, Transport::WebSocket).await;
    let reader = Reader::standalone(session.clone()).unwrap();
    for _ in 0..3 {
        *skipped.lock() += idle_timeout * 3 / 4;
        while session.unheard() <= idle_timeout / 4 {
            tokio::task::yield_now().await;
        }
        table.scribe().look(Instant::now() + TERMS.max_age);
        write_all(&table).await;
        assert!(store.listed(session.key).await.is_some());
    }
    // Its owner is gone.
    drop(reader);
    *skipped.lock() += idle_timeout;
    assert!(store.listed(session.key).await.is_none());
}

#[tokio::test]
async fn the_store_has_a_socket_for_twice_as_long_as_it_can_be_resumed() {
    let (table, store) = bench();
    let socket = open(&table, Transport::WebSocket).await;
    let other = open(&table, Transport::Sse).await;
    let left = async |session: &Session| store.listed(session.key).await.unwrap().left;
    assert!(left(&socket).await <= TERMS.resume_window * 2);
    assert!(left(&socket).await > TERMS.resume_window);
    assert!(left(&other).await > TERMS.resume_window * 2);
}

#[tokio::test]
async fn the_scribe_writes_by_itself_and_through_an_outage() {
    let (table, store) = bench();
    let token = CancellationToken::new();
    let session = open(&table, Transport::Sse).await;
    let mut reader = Reader::standalone(session.clone()).unwrap();
    let client = async {
        say(&session, "a");
        session.kept().await;
        assert_eq!(texts(&mut reader), ["a"]);
        store.set_away(true);
        say(&session, "b");
        assert!(matches!(reader.next().await, Next::Event(event) if event.text == "b"));
        store.set_away(false);
        let deadline = Instant::now() + Duration::from_secs(10);
        while store.listed(session.key).await.is_none_or(|it| it.events < 2) {
            assert!(Instant::now() < deadline, "the store was never told");
            tokio::task::yield_now().await;
        }
        store.empty();
        say(&session, "c");
        while store.listed(session.key).await.is_none_or(|it| it.events < 3) {
            assert!(Instant::now() < deadline, "the store was never told again");
            tokio::task::yield_now().await;
        }
        store.remove(session.key, None).await.unwrap();
        say(&session, "d");
        while !session.is_disowned() {
            assert!(Instant::now() < deadline, "what was ended goes on");
            tokio::task::yield_now().await;
        }
        token.cancel();
    };
    let standing = standing(&table, &store);
    let scribe = table.scribe();
    let ages = scribe.heed(&standing, token.clone());
    tokio::join!(scribe.run(token.clone()), ages, client);
}
