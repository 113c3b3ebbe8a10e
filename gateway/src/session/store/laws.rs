//! The laws every store keeps, each a test to be run against each store.

use std::time::Duration;

use bytestring::ByteString;
use futures_util::future::join_all;

use crate::config::limits::session::{REPLAY_BYTES, REPLAY_EVENTS};
use crate::config::limits::store::{ANSWER_TIMEOUT, BEAT_TTL};
use crate::session::id::SessionKey;
use crate::session::store::{
    Beat, Claim, Estate, Kept, Life, Look, Page, Record, Store, StoreError, StoredEvent,
};
use crate::session::tenure::Tenure;
use matter::{beat, call, event, holder, key, note, page, record, replica, tenure};

mod buckets;
pub(crate) mod matter;
mod replicas;

const MINUTE: Duration = Duration::from_secs(60);
const LIFE: Life = Life { idle: MINUTE, total: Duration::from_secs(480) };
const MILLIS: Duration = Duration::from_millis(1);

/// A store under test: how to let time pass there, and how to make it forget everything.
pub(crate) trait Subject {
    /// Which store it is.
    type Kind: Store;
    /// The store itself.
    fn store(&self) -> &Self::Kind;
    /// The store's clock goes on by this.
    async fn pass(&self, time: Duration);
    /// It is restarted without its data.
    async fn forget(&mut self);
}

/// Runs every law against `store`.
pub(crate) async fn all(mut subject: impl Subject) {
    let store = subject.store();
    create_never_overwrites(store).await;
    a_session_is_known_until_it_ends(&subject).await;
    one_of_many_claims_gets_it(store).await;
    a_successor_inherits_everything(store).await;
    only_the_owner_writes(store).await;
    a_page_counts_once(store).await;
    what_does_not_continue_is_behind(store).await;
    the_oldest_events_go_first(store).await;
    ends_move_with_use(&subject).await;
    a_principal_has_a_cap(&subject).await;
    replicas::a_principal_is_pinned_to_a_replica_that_lives(store).await;
    replicas::beats_are_known_for_a_while(&subject).await;
    what_was_removed_stays_removed(store).await;
    a_list_names_what_is_known(store).await;
    buckets::a_bucket_gives_out_what_it_holds(&subject).await;
    replicas::what_was_forgotten_is_restored(&mut subject).await;
    replicas::a_later_owner_prevails(subject.store()).await;
    replicas::an_owner_that_skipped_fences_lets_others_be(subject.store()).await;
}

async fn create_never_overwrites(store: &impl Store) {
    let (key, one, other) = (key(), tenure("one"), tenure("other"));
    store.create(key, one.clone(), record(), LIFE).await.unwrap();
    let again = store.create(key, other, Record::default(), LIFE).await;
    assert_eq!(again, Err(StoreError::Taken));
    assert_eq!(store.look(key).await, Ok(Look::Owned(one)));
}

async fn a_session_is_known_until_it_ends(subject: &impl Subject) {
    let store = subject.store();
    let (removed, expired, tenure) = (key(), key(), tenure("one"));
    let short = Life { idle: MILLIS * 60, total: MINUTE };
    for (key, life) in [(removed, LIFE), (expired, short)] {
        store.create(key, tenure.clone(), record(), life).await.unwrap();
        assert_eq!(store.look(key).await, Ok(Look::Owned(tenure.clone())));
    }
    for _ in 0..2 {
        store.remove(removed, Some(tenure.clone())).await.unwrap();
    }
    subject.pass(MILLIS * 70).await;
    for key in [removed, expired, key()] {
        assert_eq!(store.look(key).await, Ok(Look::Unknown));
        assert_eq!(store.claim(key, None, replica("two")).await, Ok(Claim::Unknown));
        store.release(key, tenure.clone()).await.unwrap();
        store.remove(key, None).await.unwrap();
    }
    let kept = store.keep(expired, tenure.clone(), Page::default()).await;
    assert_eq!(kept, Ok(Kept::Unknown));
}

async fn one_of_many_claims_gets_it(store: &impl Store) {
    let (key, first) = (key(), tenure("one"));
    store.create(key, first.clone(), record(), LIFE).await.unwrap();
    let other = store.claim(key, None, replica("two")).await;
    assert_eq!(other, Ok(Claim::Other(first.clone())), "it is not nobody's");
    let wrong = Tenure { fence: 9, ..first.clone() };
    let other = store.claim(key, Some(wrong), replica("two")).await;
    assert_eq!(other, Ok(Claim::Other(first.clone())), "it is not that one's");

    for from in [Some(first.clone()), None] {
        let claims = (0..8).map(|n| store.claim(key, from.clone(), replica(&format!("c{n}"))));
        let claims = join_all(claims).await;
        let taken = claims.iter().filter_map(|it| match it {
            Ok(Claim::Taken(tenure, _)) => Some(tenure.clone()),
            _ => None,
        });
        let taken: Vec<Tenure> = taken.collect();
        let [owner] = taken.as_slice() else { panic!("{claims:?}") };
        assert_eq!(owner.fence, if from.is_some() { 2 } else { 3 });
        assert_eq!(store.look(key).await, Ok(Look::Owned(owner.clone())));
        let others = claims.iter().filter(|it| **it == Ok(Claim::Other(owner.clone())));
        assert_eq!(others.count(), 7);
        store.release(key, owner.clone()).await.unwrap();
        assert_eq!(store.look(key).await, Ok(Look::Free));
    }
}

async fn a_successor_inherits_everything(store: &impl Store) {
    let (key, one) = (key(), tenure("one"));
    store.create(key, one.clone(), record(), LIFE).await.unwrap();
    let at = one.start();
    let (a, b) = (note("a", Some("1")), note("b", Some("é\n\0")));
    let first = Page {
        prev: at,
        seq: at + 3,
        events: vec![event(1, at + 1), event(7, at + 3)],
        begun: vec![call("1", 1), call("\"1\"", 7), call("2", 7)],
        notes: vec![a, b],
        agreement: Some(("2025-11-25".to_owned(), ByteString::from_static("{\"x\":1}"))),
        ..Page::default()
    };
    assert_eq!(store.keep(key, one.clone(), first).await, Ok(Kept::Done));
    let second = Page {
        prev: at + 3,
        seq: at + 4,
        events: vec![event(1, at + 4)],
        ended: vec!["1".into(), "never begun".into()],
        notes: vec![note("a", None), note("c", None), note("c", Some(""))],
        is_ready: true,
        ..Page::default()
    };
    assert_eq!(store.keep(key, one.clone(), second).await, Ok(Kept::Done));

    let (two, mut estate) = claimed(store, key, Some(one), "two").await;
    estate.calls.sort_by(|a, b| a.id.cmp(&b.id));
    let mut expected = record();
    expected.revision = Some("2025-11-25".to_owned());
    expected.params = Some(ByteString::from_static("{\"x\":1}"));
    expected.is_ready = true;
    let notes = [("kept", "n"), ("b", "é\n\0"), ("c", "")];
    expected.notes = notes.map(|(name, text)| (name.to_owned(), text.into())).into();
    let events = vec![event(1, at + 1), event(7, at + 3), event(1, at + 4)];
    let calls = vec![call("\"1\"", 7), call("2", 7)];
    let spans = vec![(1, at + 4)];
    let left = estate.left;
    let whole = Estate { record: expected, events, calls, floor: 0, seq: at + 4, spans, left };
    assert_eq!(estate, whole);
    // It speaks from its own start on, and the next one knows of both.
    let start = two.start();
    let page = Page { prev: start, seq: start + 1, events: vec![event(1, start + 1)], ..page() };
    assert_eq!(store.keep(key, two.clone(), page).await, Ok(Kept::Done));
    let (_, estate) = claimed(store, key, Some(two), "three").await;
    assert_eq!(estate.spans, [(1, at + 4), (2, start + 1)]);
    assert_eq!((estate.events.len(), estate.seq), (4, start + 1));
}

async fn only_the_owner_writes(store: &impl Store) {
    let (key, one) = (key(), tenure("one"));
    store.create(key, one.clone(), record(), LIFE).await.unwrap();
    let (two, before) = claimed(store, key, Some(one.clone()), "two").await;
    let at = one.start();
    let said = |at| Page { prev: at, seq: at + 1, events: vec![event(1, at + 1)], ..page() };
    let begun = Page { prev: at, seq: at, begun: vec![call("5", 1)], ..page() };
    assert_eq!(store.keep(key, one.clone(), said(at)).await, Ok(Kept::Lost));
    assert_eq!(store.keep(key, one.clone(), begun).await, Ok(Kept::Lost));
    let estate = Estate { seq: at + 9, ..Estate::default() };
    assert_eq!(store.restore(key, one.clone(), estate, LIFE).await, Ok(Kept::Lost));
    store.release(key, one.clone()).await.unwrap();
    store.remove(key, Some(one.clone())).await.unwrap();
    assert_eq!(store.look(key).await, Ok(Look::Owned(two.clone())));

    store.release(key, two.clone()).await.unwrap();
    assert_eq!(store.keep(key, two.clone(), said(two.start())).await, Ok(Kept::Lost));
    let restored = store.restore(key, two, Estate::default(), LIFE).await;
    assert_eq!(restored, Ok(Kept::Lost));
    let (_, after) = claimed(store, key, None, "three").await;
    assert_eq!((after.events, after.calls), (before.events, before.calls));
}

async fn a_page_counts_once(store: &impl Store) {
    let (key, one) = (key(), tenure("one"));
    store.create(key, one.clone(), record(), LIFE).await.unwrap();
    let at = one.start();
    let page = Page {
        prev: at,
        seq: at + 2,
        events: vec![event(1, at + 1), event(1, at + 2)],
        begun: vec![call("1", 1)],
        ended: vec!["0".into()],
        notes: vec![note("a", Some("1"))],
        ..page()
    };
    for _ in 0..3 {
        assert_eq!(store.keep(key, one.clone(), page.clone()).await, Ok(Kept::Done));
    }
    let (_, estate) = claimed(store, key, Some(one), "two").await;
    assert_eq!(estate.events, [event(1, at + 1), event(1, at + 2)]);
    assert_eq!((estate.calls.len(), estate.seq), (1, at + 2));
}

async fn what_does_not_continue_is_behind(store: &impl Store) {
    let (key, one) = (key(), tenure("one"));
    store.create(key, one.clone(), record(), LIFE).await.unwrap();
    let at = one.start();
    let later = Page { prev: at + 5, seq: at + 6, events: vec![event(1, at + 6)], ..page() };
    assert_eq!(store.keep(key, one.clone(), later.clone()).await, Ok(Kept::Behind));
    let estate = Estate {
        record: record(),
        events: vec![event(1, at + 4), event(2, at + 5)],
        calls: vec![call("9", 2)],
        floor: at + 3,
        seq: at + 5,
        spans: vec![(0, 7)],
        left: Duration::ZERO,
    };
    let restored = store.restore(key, one.clone(), estate.clone(), LIFE).await;
    assert_eq!(restored, Ok(Kept::Done));
    assert_eq!(store.keep(key, one.clone(), later).await, Ok(Kept::Done));
    let (_, found) = claimed(store, key, Some(one), "two").await;
    assert_eq!((found.floor, found.calls), (at + 3, estate.calls));
    assert_eq!(found.events.first(), estate.events.first());
    assert_eq!(found.events.len(), 3);
    assert_eq!(found.spans, [(0, 7), (1, at + 6)]);
}

async fn the_oldest_events_go_first(store: &impl Store) {
    let (key, one) = (key(), tenure("one"));
    store.create(key, one.clone(), record(), LIFE).await.unwrap();
    let at = one.start();
    let more = REPLAY_EVENTS as u64 + 3;
    let events = (1..=more).map(|n| event(1, at + n)).collect();
    let many = Page { prev: at, seq: at + more, events, ..page() };
    assert_eq!(store.keep(key, one.clone(), many).await, Ok(Kept::Done));
    let (two, estate) = claimed(store, key, Some(one), "two").await;
    assert_eq!(estate.events.len(), REPLAY_EVENTS);
    assert_eq!(estate.events.first(), Some(&event(1, at + 4)));
    assert_eq!(estate.floor, at + 3);

    let start = two.start();
    let large = StoredEvent { text: "x".repeat(REPLAY_BYTES + 1).into(), ..event(1, start + 1) };
    let page = Page { prev: start, seq: start + 1, events: vec![large.clone()], ..page() };
    assert_eq!(store.keep(key, two.clone(), page).await, Ok(Kept::Done));
    let (_, estate) = claimed(store, key, Some(two), "three").await;
    assert!(estate.events == [large], "the newest stays, whatever its size");
    assert_eq!(estate.floor, at + more);
}

async fn ends_move_with_use(subject: &impl Subject) {
    let store = subject.store();
    let (key, one) = (key(), tenure("one"));
    let life = Life { idle: MILLIS * 400, total: MILLIS * 900 };
    store.create(key, one.clone(), record(), life).await.unwrap();
    for _ in 0..2 {
        subject.pass(MILLIS * 300).await;
        let empty = Page { prev: one.start(), seq: one.start(), ..page() };
        assert_eq!(store.keep(key, one.clone(), empty).await, Ok(Kept::Done));
    }
    subject.pass(MILLIS * 310).await;
    let empty = Page { prev: one.start(), seq: one.start(), ..page() };
    assert_eq!(store.keep(key, one, empty).await, Ok(Kept::Unknown), "used, and over in any case");
    let (key, one) = (self::key(), tenure("one"));
    store.create(key, one.clone(), record(), LIFE).await.unwrap();
    subject.pass(MILLIS * 300).await;
    let (two, estate) = claimed(store, key, Some(one), "two").await;
    let rest = LIFE.total - MILLIS * 300;
    assert!(estate.left <= rest && estate.left > rest / 2, "{:?}", estate.left);
    let life = Life { total: MILLIS * 200, ..LIFE };
    assert_eq!(store.restore(key, two.clone(), estate, life).await, Ok(Kept::Done));
    let (_, estate) = claimed(store, key, Some(two), "three").await;
    assert!(estate.left <= life.total, "a restored one lasts no longer than what was left of it");
    subject.pass(life.total).await;
    assert_eq!(store.look(key).await, Ok(Look::Unknown), "nor by changing its owner");
}

async fn a_principal_has_a_cap(subject: &impl Subject) {
    let store = subject.store();
    let (holder, other) = (holder("some"), holder("other"));
    let (one, two, three) = (key(), key(), key());
    let life = MILLIS * 200;
    for key in [one, two, one] {
        assert_eq!(store.admit(holder, key, 2, life).await, Ok(true));
    }
    assert_eq!(store.admit(holder, three, 2, life).await, Ok(false));
    assert_eq!(store.admit(other, three, 2, life).await, Ok(true));
    for _ in 0..2 {
        store.dismiss(holder, one).await.unwrap();
    }
    assert_eq!(store.admit(holder, three, 2, MINUTE).await, Ok(true));
    assert_eq!(store.admit(holder, one, 2, life).await, Ok(false));
    subject.pass(life).await;
    assert_eq!(store.admit(holder, one, 2, life).await, Ok(true), "the second one's time is over");
    store.count(holder, vec![one, two], MINUTE).await.unwrap();
    subject.pass(life).await;
    assert_eq!(store.admit(holder, key(), 3, life).await, Ok(false), "they are in use");
    for key in [one, two, three] {
        store.dismiss(holder, key).await.unwrap();
    }
    assert_eq!(store.admit(holder, one, 1, life).await, Ok(true));
    store
        .create(one, tenure("one"), Record { holder: Some(holder), ..record() }, LIFE)
        .await
        .unwrap();
    store.remove(one, Some(tenure("two"))).await.unwrap();
    assert_eq!(store.admit(holder, two, 1, life).await, Ok(false), "it is not that one's");
    store.remove(one, None).await.unwrap();
    assert_eq!(store.admit(holder, two, 1, life).await, Ok(true), "who ended it knew no holder");
}

async fn what_was_removed_stays_removed(store: &impl Store) {
    for by in [None, Some(tenure("one"))] {
        let (key, one) = (key(), tenure("one"));
        store.create(key, one.clone(), record(), LIFE).await.unwrap();
        store.remove(key, by).await.unwrap();
        let empty = Page { prev: one.start(), seq: one.start(), ..page() };
        assert_eq!(store.keep(key, one.clone(), empty).await, Ok(Kept::Lost));
        let restored = store.restore(key, one.clone(), Estate::default(), LIFE).await;
        assert_eq!(restored, Ok(Kept::Lost));
        let created = store.create(key, one, record(), LIFE).await;
        assert_eq!(created, Err(StoreError::Taken));
        assert_eq!(store.look(key).await, Ok(Look::Unknown));
    }
}

async fn a_list_names_what_is_known(store: &impl Store) {
    let (shown, ended, one) = (key(), key(), tenure("list"));
    for key in [shown, ended] {
        store.create(key, one.clone(), record(), LIFE).await.unwrap();
    }
    let at = one.start();
    let (events, begun) = (vec![event(1, at + 1)], vec![call("1", 1), call("2", 1)]);
    let page = Page { prev: at, seq: at + 1, events, begun, ..page() };
    assert_eq!(store.keep(shown, one.clone(), page).await, Ok(Kept::Done));
    store.remove(ended, None).await.unwrap();
    let all = store.list(1000).await.unwrap();
    assert!(all.iter().all(|it| it.key != ended));
    let found = all.iter().find(|it| it.key == shown).unwrap();
    assert_eq!((found.tenure.as_ref(), found.calls, found.events), (Some(&one), 2, 1));
    assert_eq!(found.record, record());
    assert!(found.left <= MINUTE && found.left > MINUTE / 2, "{:?}", found.left);
    assert_eq!(store.list(1).await.unwrap().len(), 1);
    store.release(shown, one).await.unwrap();
    let all = store.list(1000).await.unwrap();
    assert_eq!(all.iter().find(|it| it.key == shown).unwrap().tenure, None);
}

async fn claimed(
    store: &impl Store,
    key: SessionKey,
    from: Option<Tenure>,
    by: &str,
) -> (Tenure, Estate) {
    match store.claim(key, from, replica(by)).await {
        Ok(Claim::Taken(tenure, estate)) => (tenure, *estate),
        other => panic!("{other:?}"),
    }
}
