//! The log, law by law; `model` drives it at random against everything that was ever said.

mod gaps;
mod keeping;
mod model;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::time::Duration;

use super::*;

const EPOCH: u64 = 0x00ab_cdef_0123_4567;
const WIDE: Caps = Caps { events: 1000, bytes: 1 << 20, queue_events: 1000, queue_bytes: 1 << 20 };

/// What a poll gave, comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Event(u64),
    End,
    Lagged,
    Superseded,
    Pending,
}

fn poll(log: &mut Log, tag: StreamTag, reader: u64) -> Seen {
    poll_with(log, tag, reader, Waker::noop())
}

fn poll_with(log: &mut Log, tag: StreamTag, reader: u64, waker: &Waker) -> Seen {
    match log.poll_next(tag, reader, &Context::from_waker(waker)) {
        Poll::Ready(Next::Event(event)) => Seen::Event(event.seq),
        Poll::Ready(Next::End) => Seen::End,
        Poll::Ready(Next::Lagged) => Seen::Lagged,
        Poll::Ready(Next::Superseded) => Seen::Superseded,
        Poll::Pending => Seen::Pending,
    }
}

/// Every event there is for the reader, and what came after them.
fn drain(log: &mut Log, tag: StreamTag, reader: u64) -> (Vec<u64>, Seen) {
    let mut events = Vec::new();
    let mut seen = poll(log, tag, reader);
    while let Seen::Event(seq) = seen {
        events.push(seq);
        seen = poll(log, tag, reader);
    }
    (events, seen)
}

fn log(caps: Caps) -> Log {
    Log::new(EPOCH, caps)
}

fn note(log: &mut Log, tag: StreamTag, text: &str) {
    log.append(tag, ByteString::from(text), Part::Note, Instant::now());
}

fn attach(log: &mut Log, tag: StreamTag, seq: u64) -> u64 {
    log.attach(tag, seq).unwrap().0
}

fn totals(log: &Log) -> (usize, usize) {
    let entries = || log.streams.values().flat_map(|stream| &stream.entries);
    (entries().count(), entries().map(|event| event.text.len()).sum())
}

fn kept(log: &Log, tag: StreamTag) -> Vec<u64> {
    log.streams.get(&tag).map_or_else(Vec::new, |it| it.entries.iter().map(|e| e.seq).collect())
}

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

const ZERO: StreamTag = StreamTag::STANDALONE;

#[test]
fn each_reader_gets_its_own_stream_in_order() {
    let mut log = log(WIDE);
    let (one, two) = (log.open(1), log.open(1));
    for tag in [one, two, ZERO, one, two, one] {
        note(&mut log, tag, "x");
    }
    for (tag, events) in [(one, vec![1, 4, 6]), (two, vec![2, 5]), (ZERO, vec![3])] {
        let reader = attach(&mut log, tag, 0);
        assert_eq!(drain(&mut log, tag, reader), (events, Seen::Pending));
    }
}

#[test]
fn a_resume_gives_exactly_what_came_after_each_place() {
    let mut log = log(WIDE);
    let one = log.open(1);
    for tag in [one, ZERO, one, ZERO, one] {
        note(&mut log, tag, "x");
    }
    for seen in 0..=5 {
        let later: Vec<_> = [1, 3, 5].into_iter().filter(|seq| *seq > seen).collect();
        let place = log.position(&log.event_id(one, seen)).unwrap();
        assert_eq!(place, (one, seen));
        let reader = attach(&mut log, one, place.1);
        assert_eq!(drain(&mut log, one, reader), (later, Seen::Pending));
    }
}

#[test]
fn the_head_stands_before_everything_yet_to_come() {
    let mut log = log(WIDE);
    note(&mut log, ZERO, "before");
    let head = log.head(ZERO);
    note(&mut log, ZERO, "after");
    let (tag, seq) = log.position(&head).unwrap();
    let reader = attach(&mut log, tag, seq);
    assert_eq!(drain(&mut log, tag, reader), (vec![2], Seen::Pending));
}

#[test]
fn a_place_the_log_never_had_is_a_gap() {
    let mut log = log(WIDE);
    let one = log.open(1);
    note(&mut log, one, "x");
    assert!(log.position(&log.event_id(one, 1)).is_ok());
    let future = log.event_id(one, 2);
    let other_life = EventId { epoch: EPOCH + 1, ..log.event_id(one, 1) };
    let no_stream = EventId { stream: StreamTag(9), ..log.event_id(one, 1) };
    for id in [future, other_life, no_stream] {
        assert_eq!(log.position(&id), Err(Gap), "{id}");
    }
}

#[test]
fn replay_is_all_or_nothing() {
    let mut log = log(Caps { events: 3, ..WIDE });
    for _ in 0..5 {
        note(&mut log, ZERO, "x");
    }
    assert_eq!(kept(&log, ZERO), [3, 4, 5]);
    let gaps: Vec<_> = (0..=5).map(|seq| log.position(&log.event_id(ZERO, seq)).is_err()).collect();
    assert_eq!(gaps, [true, true, false, false, false, false]);
    let reader = attach(&mut log, ZERO, 1);
    assert_eq!(poll(&mut log, ZERO, reader), Seen::Lagged);
}

#[test]
fn what_another_stream_lost_is_no_gap_here() {
    let mut log = log(Caps { events: 2, ..WIDE });
    let one = log.open(1);
    for tag in [ZERO, ZERO, one, one] {
        note(&mut log, tag, "x");
    }
    assert!(log.position(&log.event_id(ZERO, 1)).is_err());
    assert!(log.position(&log.event_id(one, 0)).is_ok());
}

#[test]
fn the_oldest_goes_first_by_count_and_by_bytes() {
    let mut by_bytes = log(Caps { bytes: 10, ..WIDE });
    let one = by_bytes.open(1);
    for (tag, text) in [(one, "12345"), (ZERO, "1234"), (one, "1"), (ZERO, "1")] {
        note(&mut by_bytes, tag, text);
    }
    assert_eq!((kept(&by_bytes, one), kept(&by_bytes, ZERO)), (vec![3], vec![2, 4]));
    assert_eq!((by_bytes.events, by_bytes.bytes), totals(&by_bytes));
}

#[test]
fn the_newest_event_stays_whatever_its_size() {
    let mut log = log(Caps { events: 0, bytes: 0, ..WIDE });
    let one = log.open(1);
    note(&mut log, one, "more than nothing");
    note(&mut log, ZERO, "more than nothing");
    assert_eq!((kept(&log, one), kept(&log, ZERO)), (vec![], vec![2]));
}

#[test]
fn what_a_live_reader_has_yet_to_read_is_kept_over_the_caps() {
    let mut log = log(Caps { events: 2, bytes: 2, ..WIDE });
    let one = log.open(1);
    let reader = attach(&mut log, one, 0);
    for _ in 0..6 {
        note(&mut log, one, "x");
    }
    assert_eq!(totals(&log), (6, 6));
    assert_eq!(poll(&mut log, one, reader), Seen::Event(1));
    note(&mut log, ZERO, "x");
    assert_eq!(kept(&log, one), [2, 3, 4, 5, 6]);
    assert_eq!(drain(&mut log, one, reader), (vec![2, 3, 4, 5, 6], Seen::Pending));
    log.detach(one, reader);
    assert_eq!((kept(&log, one), kept(&log, ZERO)), (vec![6], vec![7]));
}

#[test]
fn a_reader_that_falls_behind_is_cut_by_count() {
    let mut log = log(Caps { events: 1, queue_events: 2, ..WIDE });
    let reader = attach(&mut log, ZERO, 0);
    note(&mut log, ZERO, "x");
    note(&mut log, ZERO, "x");
    assert_eq!(poll(&mut log, ZERO, reader), Seen::Event(1));
    note(&mut log, ZERO, "x");
    assert_eq!(poll(&mut log, ZERO, reader), Seen::Event(2));
    for _ in 0..2 {
        note(&mut log, ZERO, "x");
    }
    assert_eq!(poll(&mut log, ZERO, reader), Seen::Lagged);
    assert_eq!(kept(&log, ZERO), [5], "a reader that was cut holds nothing back");
    assert_eq!(log.position(&log.event_id(ZERO, 2)), Err(Gap));
}

#[test]
fn a_reader_is_cut_by_bytes_but_never_by_the_newest_event() {
    let mut log = log(Caps { queue_bytes: 4, ..WIDE });
    let reader = attach(&mut log, ZERO, 0);
    note(&mut log, ZERO, "one huge event");
    assert_eq!(poll(&mut log, ZERO, reader), Seen::Event(1));
    note(&mut log, ZERO, "1234");
    note(&mut log, ZERO, "another huge event");
    assert_eq!(poll(&mut log, ZERO, reader), Seen::Event(2));
    note(&mut log, ZERO, "x");
    assert_eq!(poll(&mut log, ZERO, reader), Seen::Lagged);
}

#[test]
fn the_newest_reader_wins() {
    let mut log = log(WIDE);
    let bell = Arc::new(Bell::default());
    let old = attach(&mut log, ZERO, 0);
    note(&mut log, ZERO, "x");
    assert_eq!(poll(&mut log, ZERO, old), Seen::Event(1));
    assert_eq!(poll_with(&mut log, ZERO, old, &Waker::from(bell.clone())), Seen::Pending);
    let (new, former) = log.attach(ZERO, 1).unwrap();
    former.unwrap().wake();
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    note(&mut log, ZERO, "x");
    assert_eq!(poll(&mut log, ZERO, old), Seen::Superseded);
    log.detach(ZERO, old);
    assert!(log.is_read(ZERO), "the old reader's leave is not the new one's");
    assert_eq!(drain(&mut log, ZERO, new), (vec![2], Seen::Pending));
}

#[test]
fn a_reader_that_names_no_event_starts_after_what_was_read() {
    let mut log = log(Caps { events: 3, ..WIDE });
    note(&mut log, ZERO, "x");
    note(&mut log, ZERO, "x");
    assert_eq!(log.unread(ZERO), 0);
    let first = attach(&mut log, ZERO, 0);
    assert_eq!(poll(&mut log, ZERO, first), Seen::Event(1));
    assert_eq!(log.unread(ZERO), 1, "a reader that is still there has read it too");
    let second = attach(&mut log, ZERO, 1);
    log.detach(ZERO, first);
    log.detach(ZERO, second);
    assert_eq!(log.unread(ZERO), 1, "what a superseded reader read stays read");
    for _ in 0..4 {
        note(&mut log, ZERO, "x");
    }
    assert_eq!(log.unread(ZERO), 3, "what is gone is not waited for");
    assert_eq!(log.unread(StreamTag(9)), 0);
}

#[test]
fn a_stream_ends_with_its_last_answer() {
    let mut log = log(WIDE);
    let (one, now) = (log.open(3), Instant::now());
    let reader = attach(&mut log, one, 0);
    log.append(one, ByteString::from("a"), Part::Answer, now);
    log.append(one, ByteString::from("b"), Part::Refusal(Reason::Overloaded), now);
    assert_eq!(drain(&mut log, one, reader), (vec![1, 2], Seen::Pending));
    assert!(log.abandon(one, now).is_some(), "the waiting reader is told");
    assert_eq!(poll(&mut log, one, reader), Seen::End);
}

#[test]
fn the_standalone_stream_never_ends_by_itself() {
    let mut log = log(WIDE);
    let reader = attach(&mut log, ZERO, 0);
    log.append(ZERO, ByteString::from("a"), Part::Answer, Instant::now());
    assert_eq!(drain(&mut log, ZERO, reader), (vec![1], Seen::Pending));
    log.detach(ZERO, reader);
    log.sweep(Instant::now() + ENDED_STREAM_TTL * 2);
    assert!(log.position(&log.event_id(ZERO, 0)).is_ok());
}

#[test]
fn a_waiting_reader_is_woken_once() {
    let mut log = log(WIDE);
    let (bell, now) = (Arc::new(Bell::default()), Instant::now());
    let reader = attach(&mut log, ZERO, 0);
    poll_with(&mut log, ZERO, reader, &Waker::from(bell.clone()));
    let first = log.append(ZERO, ByteString::from("a"), Part::Note, now);
    let second = log.append(ZERO, ByteString::from("b"), Part::Note, now);
    assert!(second.is_none());
    first.unwrap().wake();
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    drain(&mut log, ZERO, reader);
    assert_eq!(log.wakers().len(), 1);
    assert_eq!(log.wakers().len(), 0);
}

#[test]
fn a_forgotten_stream_is_gone_and_takes_nothing() {
    let mut log = log(WIDE);
    let one = log.open(1);
    let reader = attach(&mut log, one, 0);
    note(&mut log, one, "abc");
    note(&mut log, ZERO, "de");
    log.forget(one);
    log.forget(one);
    note(&mut log, one, "late");
    assert_eq!((log.events, log.bytes), (1, 2));
    assert_eq!(poll(&mut log, one, reader), Seen::End);
    assert_eq!(log.position(&log.event_id(one, 0)), Err(Gap));
    assert!(log.attach(one, 0).is_none());
    assert!(!log.is_read(one));
}

#[test]
fn an_ended_stream_is_swept_after_its_time_unless_it_is_read() {
    let mut log = log(WIDE);
    let (ended, open, start) = (log.open(1), log.open(1), Instant::now());
    log.append(ended, ByteString::from("abc"), Part::Answer, start);
    note(&mut log, open, "de");
    let over = start + ENDED_STREAM_TTL + Duration::from_nanos(1);
    log.sweep(start + ENDED_STREAM_TTL);
    assert!(log.position(&log.event_id(ended, 0)).is_ok());
    let reader = attach(&mut log, ended, 0);
    log.sweep(over);
    assert_eq!(drain(&mut log, ended, reader), (vec![1], Seen::End));
    log.detach(ended, reader);
    log.sweep(over);
    assert_eq!(log.position(&log.event_id(ended, 0)), Err(Gap));
    assert!(log.position(&log.event_id(open, 0)).is_ok());
    assert_eq!((log.events, log.bytes), (1, 2));
}

#[test]
fn an_event_id_reads_back() {
    for (stream, epoch, seq) in
        [(0, 0, 0), (1, 0xabc, 7), (u32::MAX, u64::MAX, 999_999_999_999_999)]
    {
        let id = EventId { stream: StreamTag(stream), epoch, seq };
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
    }
    let id = EventId { stream: StreamTag(3), epoch: EPOCH, seq: 42 };
    assert_eq!(id.to_string(), "3-00abcdef01234567-42");
}

#[test]
fn what_this_gateway_cannot_have_written_is_no_event_id() {
    let long = "1".repeat(10_240);
    let wrong = [
        "",
        "-",
        "--",
        "../",
        "../../etc/passwd",
        "\u{ff}\u{fe}",
        &long,
        "42",
        "0-00abcdef01234567",
        "0-00abcdef01234567-",
        "-00abcdef01234567-1",
        "0-00abcdef01234567-1-",
        "0-00abcdef01234567-1-1",
        "0-00abcdef0123456-1",
        "0-00abcdef012345678-1",
        "0-00ABCDEF01234567-1",
        "0-00abcdefg1234567-1",
        "0-+0abcdef01234567-1",
        "0-ä0abcdef0123456-1",
        "00-00abcdef01234567-1",
        "+0-00abcdef01234567-1",
        "4294967296-00abcdef01234567-1",
        "0-00abcdef01234567-01",
        "0-00abcdef01234567-+1",
        "0-00abcdef01234567-1 ",
        " 0-00abcdef01234567-1",
        "0-00abcdef01234567-1000000000000000",
        "0-00abcdef01234567-18446744073709551616",
        "0-00abcdef01234567-١",
    ];
    for text in wrong {
        assert_eq!(EventId::parse(text), None, "{text:?}");
    }
}
