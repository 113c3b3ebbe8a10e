//! The laws of replicas that live, that are gone, and that come too late.

use super::*;

pub(super) async fn a_principal_is_pinned_to_a_replica_that_lives(store: &impl Store) {
    let (holder, one, two) = (holder("pinned"), replica("p1"), replica("p2"));
    assert_eq!(store.pin(holder, one.clone(), None).await, Ok(one.clone()));
    assert_eq!(
        store.pin(holder, two.clone(), None).await,
        Ok(two.clone()),
        "nobody knew the first"
    );
    store.beat(beat(&two, 1)).await.unwrap();
    let pins = join_all((0..4).map(|_| store.pin(holder, one.clone(), None))).await;
    assert!(pins.iter().all(|it| *it == Ok(two.clone())), "{pins:?}");
    store.retire(&two.name).await.unwrap();
    assert_eq!(store.pin(holder, one.clone(), None).await, Ok(one.clone()));
    store.beat(beat(&one, 1)).await.unwrap();
    let three = replica("p3");
    assert_eq!(store.pin(holder, three.clone(), None).await, Ok(one.clone()));
    let lost = Some(one.clone());
    assert_eq!(store.pin(holder, two.clone(), lost.clone()).await, Ok(two.clone()), "it is gone");
    assert_eq!(store.pin(holder, two.clone(), lost).await, Ok(two), "as somebody knew before");
    let lost = Some(replica("p2"));
    assert_eq!(store.pin(holder, one.clone(), lost).await, Ok(one.clone()));
    store.beat(Beat { is_draining: true, ..beat(&one, 2) }).await.unwrap();
    assert_eq!(
        store.pin(holder, three.clone(), None).await,
        Ok(three),
        "the first one is stopping"
    );
    store.retire(&one.name).await.unwrap();
}

pub(super) async fn beats_are_known_for_a_while(subject: &impl Subject) {
    let store = subject.store();
    let (one, two) = (replica("b1"), replica("b2"));
    assert_eq!(store.pulse_of(&one.name).await, Ok(None));
    let first = store.beat(beat(&one, 1)).await.unwrap();
    let draining = Beat { is_draining: true, ..beat(&two, 5) };
    store.beat(draining.clone()).await.unwrap();
    store.beat(beat(&one, 2)).await.unwrap();
    assert_eq!(store.pulse_of(&one.name).await, Ok(Some(beat(&one, 2))));
    let mut known = store.replicas().await.unwrap();
    known.sort_by(|a, b| a.replica.cmp(&b.replica));
    assert_eq!(known, [beat(&one, 2), draining]);
    store.retire(&two.name).await.unwrap();
    assert_eq!(store.pulse_of(&two.name).await, Ok(None));
    subject.pass(BEAT_TTL + ANSWER_TIMEOUT).await;
    assert_eq!(store.replicas().await, Ok(Vec::new()));
    let again = store.beat(beat(&one, 3)).await.unwrap();
    assert!(again.now_ms >= first.now_ms + 10_000, "{first:?} {again:?}");
    assert!(again.age >= first.age + BEAT_TTL, "{first:?} {again:?}");
    store.retire(&one.name).await.unwrap();
}

pub(super) async fn what_was_forgotten_is_restored(subject: &mut impl Subject) {
    let (key, one) = (key(), Tenure { fence: 3, ..tenure("one") });
    subject.store().create(key, tenure("one"), record(), LIFE).await.unwrap();
    subject.forget().await;
    let store = subject.store();
    assert_eq!(store.look(key).await, Ok(Look::Unknown));
    let pulse = store.beat(beat(&one.replica, 9)).await.unwrap();
    assert!(pulse.age < MINUTE / 30, "{pulse:?}");
    let at = one.start();
    let page = Page { prev: at + 1, seq: at + 1, ..page() };
    assert_eq!(store.keep(key, one.clone(), page).await, Ok(Kept::Unknown));
    let spans = vec![(1, 5), (2, 6)];
    let events = vec![event(1, at + 1)];
    let whole = Estate { record: record(), events, seq: at + 1, spans, ..Estate::default() };
    let restored = store.restore(key, one.clone(), whole.clone(), LIFE).await;
    assert_eq!(restored, Ok(Kept::Done));
    let (two, estate) = claimed(store, key, Some(one), "two").await;
    assert_eq!(two.fence, 4, "the fence goes on where it was");
    assert_eq!(estate.spans, [(1, 5), (2, 6), (3, at + 1)]);
    assert_eq!(estate.events, whole.events);
}

pub(super) async fn a_later_owner_prevails(store: &impl Store) {
    for is_released in [false, true] {
        let (key, one) = (key(), Tenure { fence: 9, ..tenure("one") });
        let two = Tenure { fence: 10, ..tenure("two") };
        let estate = |tenure: &Tenure| {
            let at = tenure.start();
            let events = vec![event(1, at + 1)];
            Estate { record: record(), events, seq: at + 1, ..Estate::default() }
        };
        let restore = async |it: &Tenure| store.restore(key, it.clone(), estate(it), LIFE).await;
        let empty = |it: &Tenure| Page { prev: it.start() + 1, seq: it.start() + 1, ..page() };
        assert_eq!(restore(&one).await, Ok(Kept::Done), "it was quicker");
        if is_released {
            store.release(key, one.clone()).await.unwrap();
        }
        assert_eq!(store.keep(key, two.clone(), empty(&two)).await, Ok(Kept::Behind));
        for _ in 0..2 {
            assert_eq!(restore(&two).await, Ok(Kept::Done));
            assert_eq!(restore(&one).await, Ok(Kept::Lost));
        }
        assert_eq!(store.keep(key, one.clone(), empty(&one)).await, Ok(Kept::Lost));
        assert_eq!(store.keep(key, two.clone(), empty(&two)).await, Ok(Kept::Done));
        let equal = Tenure { fence: two.fence, ..tenure("other") };
        assert_eq!(restore(&equal).await, Ok(Kept::Lost), "of two of one fence the first stays");
        let (_, found) = claimed(store, key, Some(two.clone()), "three").await;
        assert_eq!(found.events, estate(&two).events);
    }
}

pub(super) async fn an_owner_that_skipped_fences_lets_others_be(store: &impl Store) {
    let of = |name, fence| Tenure { fence, ..tenure(name) };
    let (one, two, three) = (of("one", 1), of("two", 2), of("three", 3));
    let late = two.renewed();
    let restore = async |key, it: &Tenure, former: u64| {
        let spans = vec![(former, former * 10)];
        let estate = Estate { record: record(), seq: it.start(), spans, ..Estate::default() };
        store.restore(key, it.clone(), estate, LIFE).await
    };
    for (first, former, is_later) in [(&one, 0, false), (&two, 1, false), (&three, 2, true)] {
        let key = key();
        assert_eq!(restore(key, first, former).await, Ok(Kept::Done));
        let restored = restore(key, &late, 2).await;
        assert_eq!(restored, Ok(if is_later { Kept::Lost } else { Kept::Done }), "{first}");
        let owner = if is_later { first } else { &late };
        assert_eq!(store.look(key).await, Ok(Look::Owned(owner.clone())));
    }
    let key = key();
    for _ in 0..2 {
        assert_eq!(restore(key, &late, 2).await, Ok(Kept::Done));
        assert_eq!(restore(key, &three, 2).await, Ok(Kept::Lost), "the other one was not there");
    }
    let (next, estate) = claimed(store, key, Some(late.clone()), "next").await;
    assert_eq!(next.fence, late.fence + 1);
    assert_eq!(estate.spans, [(2, 20), (late.fence, late.start())]);
}
