//! The laws every store keeps, as one test to be run against each.

use std::time::{Duration, SystemTime};

use bytestring::ByteString;

use crate::session::id::{Keyring, SessionId, SessionKey};
use crate::session::principal::Principal;
use crate::session::store::{Record, Store, StoreError, StoredEvent};

/// How many events of a session the store under test is to keep.
pub(crate) const EVENTS_KEPT: usize = 8;

const MINUTE: Duration = Duration::from_secs(60);

/// Runs every law against stores made by `make`.
pub(crate) async fn all<S: Store>(make: impl Fn() -> S) {
    what_was_created_is_loaded(&make()).await;
    create_never_overwrites(&make()).await;
    what_ended_is_unknown(&make()).await;
    touch_moves_the_idle_end_within_the_absolute_end(&make()).await;
    events_come_back_in_order_and_of_one_stream(&make()).await;
    replay_is_all_or_nothing(&make()).await;
    an_append_needs_a_session(&make()).await;
}

async fn what_was_created_is_loaded(store: &impl Store) {
    let (key, now) = (key(), SystemTime::now());
    store.create(key, record(now)).await.unwrap();
    assert_eq!(store.load(key, now).await.unwrap(), Some(record(now)));
    let agreed = Record { revision: Some("2025-06-18".to_owned()), ..record(now) };
    store.save(key, agreed.clone()).await.unwrap();
    assert_eq!(store.load(key, now).await.unwrap(), Some(agreed));
}

async fn create_never_overwrites(store: &impl Store) {
    let (key, now) = (key(), SystemTime::now());
    store.create(key, record(now)).await.unwrap();
    let other = Record { server: None, ..record(now) };
    assert_eq!(store.create(key, other).await, Err(StoreError::Taken));
    assert_eq!(store.load(key, now).await.unwrap(), Some(record(now)));
}

async fn what_ended_is_unknown(store: &impl Store) {
    let (removed, expired, now) = (key(), key(), SystemTime::now());
    store.create(removed, record(now)).await.unwrap();
    store.create(expired, record(now)).await.unwrap();
    store.remove(removed).await.unwrap();
    store.remove(removed).await.unwrap();
    assert_eq!(store.load(removed, now).await.unwrap(), None);
    assert_eq!(store.load(expired, now + MINUTE).await.unwrap(), None);
    assert_eq!(store.load(key(), now).await.unwrap(), None);
    assert_eq!(store.save(key(), record(now)).await, Err(StoreError::Unknown));
}

async fn touch_moves_the_idle_end_within_the_absolute_end(store: &impl Store) {
    let (key, now) = (key(), SystemTime::now());
    store.create(key, record(now)).await.unwrap();
    store.touch(key, now + MINUTE / 2, MINUTE).await.unwrap();
    assert!(store.load(key, now + MINUTE).await.unwrap().is_some());
    store.touch(key, now + MINUTE, MINUTE * 600).await.unwrap();
    let loaded = store.load(key, now + MINUTE).await.unwrap().unwrap();
    assert_eq!(loaded.idle_end, loaded.absolute_end);
}

async fn events_come_back_in_order_and_of_one_stream(store: &impl Store) {
    let (key, now) = (key(), SystemTime::now());
    store.create(key, record(now)).await.unwrap();
    store.append(key, vec![event(1, 1), event(2, 2)]).await.unwrap();
    store.append(key, vec![event(1, 3), event(1, 4)]).await.unwrap();
    assert_eq!(store.replay(key, 1, 1).await.unwrap(), [event(1, 3), event(1, 4)]);
    assert_eq!(store.replay(key, 2, 0).await.unwrap(), [event(2, 2)]);
    assert_eq!(store.replay(key, 1, 4).await.unwrap(), []);
    assert_eq!(store.replay(key, 9, 0).await.unwrap(), []);
}

async fn replay_is_all_or_nothing(store: &impl Store) {
    let (key, now) = (key(), SystemTime::now());
    store.create(key, record(now)).await.unwrap();
    let last = EVENTS_KEPT as u64 + 2;
    for seq in 1..=last {
        store.append(key, vec![event(1, seq)]).await.unwrap();
    }
    assert_eq!(store.replay(key, 1, 1).await, Err(StoreError::Gap));
    assert_eq!(store.replay(key, 1, 2).await.unwrap().len(), EVENTS_KEPT);
}

async fn an_append_needs_a_session(store: &impl Store) {
    assert_eq!(store.append(key(), vec![event(1, 1)]).await, Err(StoreError::Unknown));
    assert_eq!(store.replay(key(), 1, 0).await, Err(StoreError::Unknown));
}

fn key() -> SessionKey {
    Keyring::new(None).key(&Principal::anonymous(), &SessionId::mint())
}

fn record(now: SystemTime) -> Record {
    Record {
        transport: "streamable_http".to_owned(),
        server: Some("demo".to_owned()),
        revision: None,
        params: Some(ByteString::from_static(r#"{"protocolVersion":"2025-06-18"}"#)),
        idle_end: now + MINUTE,
        absolute_end: now + MINUTE * 8,
    }
}

fn event(stream: u32, seq: u64) -> StoredEvent {
    StoredEvent { stream, seq, text: ByteString::from(format!("{{\"seq\":{seq}}}")) }
}
