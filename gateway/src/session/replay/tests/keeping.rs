//! What is read only when it is kept, and how a log goes on elsewhere.

use wire::id::Id;

use super::*;
use crate::session::replay::kept::Due;
use crate::session::store::{Estate, Page, Record, StoredCall};
use crate::session::tenure::{Replica, Tenure};

const ZERO: StreamTag = StreamTag::STANDALONE;
const START: u64 = 1_000_000_000;

fn tenure(fence: u64) -> Tenure {
    Tenure { replica: Replica::new("host", ""), fence }
}

fn stored(caps: Caps) -> Log {
    let mut log = Log::stored(EPOCH, caps, &tenure(1));
    log.keep(ZERO, &[]);
    log
}

fn page(log: &mut Log) -> Page {
    match log.take_due() {
        Some(Due::Page(page)) => page,
        other => panic!("{other:?} where a page was due"),
    }
}

fn whole(log: &mut Log) -> Estate {
    log.keeping().unwrap().fall_behind();
    match log.take_due() {
        Some(Due::Whole(estate)) => *estate,
        other => panic!("{other:?} where everything was due"),
    }
}

fn write(log: &mut Log) -> Page {
    let page = page(log);
    log.confirm();
    page
}

fn id(number: u64) -> Id {
    Id::number(number)
}

#[test]
fn a_kept_event_is_read_when_the_store_has_it() {
    let mut log = stored(WIDE);
    let reader = attach(&mut log, ZERO, START);
    note(&mut log, ZERO, "a");
    let bell = Arc::new(Bell::default());
    assert_eq!(poll_with(&mut log, ZERO, reader, &bell.clone().into()), Seen::Pending);
    page(&mut log);
    note(&mut log, ZERO, "b");
    assert_eq!(poll_with(&mut log, ZERO, reader, &bell.clone().into()), Seen::Pending);
    let wakers = log.confirm();
    wakers.into_iter().for_each(Waker::wake);
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    assert_eq!(drain(&mut log, ZERO, reader), (vec![START + 1], Seen::Pending));
    write(&mut log);
    assert_eq!(drain(&mut log, ZERO, reader), (vec![START + 2], Seen::Pending));
}

#[test]
fn what_is_not_kept_is_read_at_once_and_not_written() {
    let mut log = stored(WIDE);
    let tag = log.open(1);
    let head = log.head(tag).seq;
    let reader = attach(&mut log, tag, head);
    log.begin(&id(1), tag);
    note(&mut log, tag, "a");
    log.append(tag, ByteString::from("b"), Part::Answer, Instant::now());
    log.end(&id(1));
    assert_eq!(drain(&mut log, tag, reader), (vec![START + 1, START + 2], Seen::End));
    assert!(log.take_due().is_none());
}

#[test]
fn a_stream_that_becomes_kept_is_named_anew_behind_what_is_kept() {
    let mut log = stored(WIDE);
    let tag = log.open(1);
    let head = log.head(tag).seq;
    let reader = attach(&mut log, tag, head);
    note(&mut log, tag, "read");
    note(&mut log, tag, "unread");
    assert_eq!(poll(&mut log, tag, reader), Seen::Event(START + 1));
    note(&mut log, ZERO, "kept");
    write(&mut log);
    assert_eq!(log.keep(tag, &[id(1)]), Some((START + 3, START + 4)));
    assert_eq!(log.keep(tag, &[id(1)]), None, "it is kept already");
    assert_eq!(poll(&mut log, tag, reader), Seen::Pending);
    let page = write(&mut log);
    assert_eq!(page.events.iter().map(|it| it.seq).collect::<Vec<_>>(), [START + 4, START + 5]);
    assert_eq!(page.begun, [StoredCall { id: ByteString::from("1"), stream: tag.number() }]);
    assert_eq!(drain(&mut log, tag, reader), (vec![START + 5], Seen::Pending));
}

#[test]
fn an_answer_is_written_with_the_end_of_its_call() {
    let mut log = stored(WIDE);
    log.begin(&id(1), ZERO);
    assert_eq!(write(&mut log).begun.len(), 1);
    log.end(&id(1));
    log.append(ZERO, ByteString::from("answer"), Part::Answer, Instant::now());
    let page = write(&mut log);
    assert_eq!((page.events.len(), page.ended), (1, vec![ByteString::from("1")]));
}

#[test]
fn a_stream_ends_after_its_last_event_is_kept() {
    let mut log = stored(WIDE);
    let tag = log.open(1);
    log.keep(tag, &[id(1)]);
    let head = log.head(tag).seq;
    let reader = attach(&mut log, tag, head);
    log.append(tag, ByteString::from("answer"), Part::Answer, Instant::now());
    assert_eq!(poll(&mut log, tag, reader), Seen::Pending);
    write(&mut log);
    assert_eq!(drain(&mut log, tag, reader), (vec![START + 1], Seen::End));
}

#[test]
fn a_slow_store_makes_no_slow_reader() {
    let caps = Caps { queue_events: 2, ..WIDE };
    let mut log = stored(caps);
    let reader = attach(&mut log, ZERO, START);
    (0..5).for_each(|_| note(&mut log, ZERO, "a"));
    write(&mut log);
    note(&mut log, ZERO, "b");
    assert_eq!(poll(&mut log, ZERO, reader), Seen::Event(START + 1), "it had no time to read");
    write(&mut log);
    note(&mut log, ZERO, "c");
    assert_eq!(poll(&mut log, ZERO, reader), Seen::Lagged, "it had");
}

#[test]
fn while_the_store_is_away_everything_is_read() {
    let caps = Caps { queue_events: 2, ..WIDE };
    let mut log = stored(caps);
    let reader = attach(&mut log, ZERO, START);
    (0..5).for_each(|_| note(&mut log, ZERO, "a"));
    log.set_away();
    note(&mut log, ZERO, "b");
    let all = (1..=6).map(|it| START + it).collect();
    assert_eq!(drain(&mut log, ZERO, reader), (all, Seen::Pending), "nor is it slow");
    (0..3).for_each(|_| note(&mut log, ZERO, "c"));
    assert_eq!(poll(&mut log, ZERO, reader), Seen::Lagged);
}

#[test]
fn what_is_anothers_is_read_no_more_and_what_ends_is_read_to_its_end() {
    for is_lost in [true, false] {
        let mut log = stored(WIDE);
        let tag = log.open(1);
        let head = log.head(tag).seq;
        let plain = attach(&mut log, tag, head);
        let reader = attach(&mut log, ZERO, START);
        note(&mut log, ZERO, "a");
        note(&mut log, tag, "b");
        if is_lost {
            log.disown()
        } else {
            log.end_keeping()
        };
        let expected = if is_lost { Seen::End } else { Seen::Event(START + 1) };
        assert_eq!(poll(&mut log, ZERO, reader), expected);
        assert_eq!(poll(&mut log, tag, plain), Seen::Event(START + 2));
        assert!(log.take_due().is_none());
    }
}

/// What a successor gets of a log with two kept streams.
fn estate() -> (Estate, StreamTag, EventId) {
    let mut log = stored(WIDE);
    let tag = log.open(2);
    log.keep(tag, &[id(1), id(2)]);
    note(&mut log, ZERO, "a");
    note(&mut log, tag, "b");
    log.end(&id(1));
    log.append(tag, ByteString::from("c"), Part::Answer, Instant::now());
    let mut estate = whole(&mut log);
    log.confirm();
    note(&mut log, tag, "never kept");
    estate.spans = vec![(1, estate.seq)];
    (estate, tag, log.head(tag))
}

#[test]
fn a_successor_goes_on_with_what_was_kept() {
    let (estate, tag, beyond) = estate();
    assert_eq!(estate.events.iter().map(|it| &*it.text).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(estate.calls.len(), 1);
    let second = tenure(2);
    let mut log = Log::inherited(&estate, WIDE, &second, 7, Instant::now());
    let seen = EventId { stream: tag, epoch: EPOCH, seq: START + 2 };
    assert_eq!(log.position(&seen), Ok((tag, START + 2)));
    assert_eq!(log.position(&beyond), Err(Gap), "it was never kept");
    let foreign = log.event_id(tag, 5 * START);
    assert_eq!(log.position(&foreign), Err(Gap), "of a fence that nobody had");
    let reader = attach(&mut log, tag, seen.seq);
    assert_eq!(drain(&mut log, tag, reader), (vec![START + 3], Seen::Pending));
    log.end(&id(2));
    log.append(tag, ByteString::from("d"), Part::Answer, Instant::now());
    let page = page(&mut log);
    assert_eq!((page.prev, page.ended.len()), (second.start(), 1));
    log.confirm();
    assert_eq!(drain(&mut log, tag, reader), (vec![second.start() + 8], Seen::End));
    assert_eq!(log.position(&seen), Ok((tag, START + 2)));
    assert_eq!(whole(&mut log).spans, estate.spans);
}

#[test]
fn a_successor_begins_with_what_it_says_for_who_names_nothing() {
    let (estate, ..) = estate();
    let log = Log::inherited(&estate, WIDE, &tenure(2), 7, Instant::now());
    let unread = log.unread(ZERO);
    assert_eq!(unread, 2 * START + 7);
    assert!(log.position(&log.event_id(ZERO, unread)).is_ok());
}

#[test]
fn a_stream_of_a_number_that_a_former_owner_gave_out_is_another() {
    let (estate, tag, _) = estate();
    let mut log = Log::inherited(&estate, WIDE, &tenure(2), 0, Instant::now());
    let next = log.open(1);
    assert_eq!(next.number(), tag.number() + 1);
    let of_former = EventId { stream: next, epoch: EPOCH, seq: START + 2 };
    assert_eq!(log.position(&of_former), Err(Gap));
    assert!(log.position(&log.head(next)).is_ok());
}

#[test]
fn what_was_pushed_out_is_a_gap_for_the_successor_too() {
    let mut log = stored(Caps { events: 2, ..WIDE });
    for text in ["a", "b", "c", "d"] {
        note(&mut log, ZERO, text);
        write(&mut log);
    }
    let mut estate = whole(&mut log);
    assert_eq!((estate.floor, estate.events.len()), (START + 2, 2));
    estate.spans = vec![(1, estate.seq)];
    let log = Log::inherited(&estate, WIDE, &tenure(2), 0, Instant::now());
    assert_eq!(log.position(&log.event_id(ZERO, START + 1)), Err(Gap));
    assert!(log.position(&log.event_id(ZERO, START + 2)).is_ok());
}

#[test]
fn a_stream_that_owes_nothing_is_let_go_of_by_a_successor() {
    let (mut estate, tag, _) = estate();
    estate.calls.clear();
    estate.record = Record { epoch: EPOCH, ..estate.record };
    let now = Instant::now();
    let mut log = Log::inherited(&estate, WIDE, &tenure(2), 0, now);
    assert!(log.is_kept(tag));
    log.sweep(now + ENDED_STREAM_TTL * 2);
    assert!(!log.is_kept(tag) && log.is_kept(ZERO));
}
