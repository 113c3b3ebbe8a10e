//! What is to be written, step by step.

use super::*;

const START: u64 = 1_000_000_000;
const CAPS: Caps = Caps { events: 4, bytes: 100, queue_events: 4, queue_bytes: 100 };

/// A machine, with the last place that its log gave out.
struct Bench {
    keep: Keep,
    last: u64,
}

impl Bench {
    fn new() -> Self {
        Self { keep: Keep::new(START, CAPS), last: START }
    }

    fn say(&mut self, text: &str) {
        self.last += 1;
        let text = ByteString::from(text);
        self.keep.say(StoredEvent { stream: 0, seq: self.last, text });
    }

    fn page(&mut self) -> Page {
        match self.keep.take(&mut self.last) {
            Some(Taken::Page(page)) => page,
            other => panic!("{other:?} where a page was due"),
        }
    }

    fn take_whole(&mut self) -> u64 {
        match self.keep.take(&mut self.last) {
            Some(Taken::Whole(seq)) => seq,
            other => panic!("{other:?} where everything was due"),
        }
    }

    fn is_idle(&mut self) -> bool {
        self.keep.take(&mut self.last).is_none()
    }

    fn begin(&mut self, id: &str) {
        self.keep.begin(&Id::parse(id).unwrap(), StreamTag::numbered(3));
    }

    fn end(&mut self, id: &str) {
        self.keep.end(&Id::parse(id).unwrap());
    }
}

fn seqs(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.seq - START).collect()
}

fn begun(page: &Page) -> Vec<&str> {
    page.begun.iter().map(|call| &*call.id).collect()
}

#[test]
fn pages_continue_each_other_one_at_a_time() {
    let mut bench = Bench::new();
    assert!(bench.is_idle());
    bench.say("a");
    bench.say("b");
    let first = bench.page();
    assert_eq!((first.prev, first.seq, seqs(&first)), (START, START + 2, vec![1, 2]));
    bench.say("c");
    assert!(bench.is_idle(), "one is under way");
    assert_eq!(bench.keep.ceiling(), START, "nothing is durable before the store says so");
    bench.keep.confirm();
    assert_eq!(bench.keep.ceiling(), START + 2);
    let second = bench.page();
    assert_eq!((second.prev, second.seq, seqs(&second)), (START + 2, START + 3, vec![3]));
    bench.keep.confirm();
    assert!(bench.is_idle());
}

#[test]
fn a_page_whose_answer_was_lost_is_sent_again_as_it_was() {
    let mut bench = Bench::new();
    bench.say("a");
    bench.begin("1");
    let first = bench.page();
    bench.say("b");
    bench.keep.fail();
    assert_eq!(bench.page(), first);
    bench.keep.confirm();
    assert_eq!(seqs(&bench.page()), [2]);
}

#[test]
fn a_page_without_events_has_a_place_of_its_own() {
    let mut bench = Bench::new();
    bench.begin("1");
    let first = bench.page();
    assert_eq!((first.prev, first.seq, bench.last), (START, START + 1, START + 1));
    bench.keep.confirm();
    bench.end("1");
    let second = bench.page();
    assert_eq!((second.prev, second.seq), (START + 1, START + 2));
    bench.keep.confirm();
    bench.keep.touch();
    let touch = bench.page();
    assert_eq!((touch.prev, touch.seq), (START + 2, START + 2), "a touch says nothing");
}

#[test]
fn a_call_that_ended_before_it_was_written_is_not_begun() {
    let mut bench = Bench::new();
    bench.begin("1");
    bench.begin("1");
    bench.begin("2");
    bench.end("1");
    bench.end("3");
    let page = bench.page();
    assert_eq!(begun(&page), ["2"]);
    assert_eq!(page.ended, ["1"]);
    assert_eq!(bench.keep.calls().len(), 1);
}

#[test]
fn the_end_of_a_call_does_not_end_its_namesake() {
    let mut bench = Bench::new();
    bench.begin("1");
    bench.page();
    bench.keep.confirm();
    bench.end("1");
    bench.begin("1");
    let page = bench.page();
    assert_eq!((begun(&page), page.ended.len()), (vec!["1"], 0));
    bench.keep.confirm();
    bench.end("1");
    bench.begin("1");
    bench.end("1");
    let page = bench.page();
    assert_eq!((page.begun.len(), page.ended), (0, vec![ByteString::from("1")]));
}

#[test]
fn a_note_is_written_when_it_changes_and_only_as_it_is_last() {
    let mut bench = Bench::new();
    bench.keep.set_note("gone", None);
    assert!(bench.is_idle());
    bench.keep.set_note("a", Some(ByteString::from("1")));
    bench.keep.set_note("a", Some(ByteString::from("2")));
    bench.keep.set_note("b", Some(ByteString::from("3")));
    bench.keep.set_note("b", None);
    let page = bench.page();
    let expected = [("a".to_owned(), Some(ByteString::from("2"))), ("b".to_owned(), None)];
    assert_eq!(page.notes, expected);
    bench.keep.confirm();
    bench.keep.set_note("a", Some(ByteString::from("2")));
    assert!(bench.is_idle(), "it is noted already");
}

#[test]
fn the_agreement_and_the_handshake_are_written_once() {
    let mut bench = Bench::new();
    bench.keep.agree("2025-06-18", ByteString::from("{}"));
    bench.keep.set_ready();
    let page = bench.page();
    assert_eq!(page.agreement, Some(("2025-06-18".to_owned(), ByteString::from("{}"))));
    assert!(page.is_ready);
    bench.keep.confirm();
    assert!(bench.is_idle());
}

#[test]
fn a_store_that_knows_less_is_told_everything_under_a_new_place() {
    let mut bench = Bench::new();
    bench.say("a");
    bench.page();
    bench.say("b");
    bench.keep.fall_behind();
    assert!(bench.keep.is_due());
    let whole = bench.take_whole();
    assert_eq!((whole, bench.last), (START + 3, START + 3));
    bench.say("c");
    assert!(bench.is_idle());
    bench.keep.confirm();
    assert_eq!(bench.keep.ceiling(), START + 3);
    let page = bench.page();
    assert_eq!((page.prev, seqs(&page)), (START + 3, vec![4]));
}

#[test]
fn everything_is_told_again_when_that_was_not_answered() {
    let mut bench = Bench::new();
    bench.keep.fall_behind();
    let first = bench.take_whole();
    bench.say("a");
    bench.keep.fail();
    assert!(bench.take_whole() > first);
    bench.keep.confirm();
    assert!(bench.is_idle(), "it holds what was said meanwhile");
}

#[test]
fn what_waits_is_bounded_and_given_up_for_the_whole() {
    let mut bench = Bench::new();
    (0..=CAPS.events).for_each(|_| bench.say("a"));
    assert_eq!(bench.keep.ripe(), u64::MAX, "who has yet to read so much is slow");
    bench.take_whole();
    bench.keep.confirm();
    assert_eq!(bench.keep.ripe(), START);
    bench.say(&"x".repeat(CAPS.bytes + 1));
    bench.take_whole();
    bench.keep.confirm();
    for id in 0..=CAPS.events {
        bench.begin(&id.to_string());
        bench.end(&id.to_string());
    }
    bench.take_whole();
}

#[test]
fn while_the_store_is_away_everything_is_given_and_nobody_waits() {
    let mut bench = Bench::new();
    bench.say("a");
    let said = bench.keep.said();
    assert!(bench.keep.is_waited_for(said));
    bench.page();
    bench.keep.fail();
    bench.keep.set_away();
    assert_eq!((bench.keep.ceiling(), bench.keep.is_waited_for(said)), (u64::MAX, false));
    bench.page();
    bench.keep.confirm();
    assert_eq!((bench.keep.ceiling(), bench.keep.is_waited_for(said)), (START + 1, false));
    bench.say("b");
    assert!(bench.keep.is_waited_for(bench.keep.said()));
}

#[test]
fn it_is_due_once_until_it_is_taken() {
    let mut bench = Bench::new();
    assert!(!bench.keep.is_due());
    bench.say("a");
    assert!(bench.keep.is_due());
    bench.say("b");
    assert!(!bench.keep.is_due());
    bench.page();
    bench.say("c");
    assert!(!bench.keep.is_due(), "a write is under way");
    bench.keep.confirm();
    assert!(bench.keep.is_due());
    bench.page();
    bench.keep.hold();
    assert!(!bench.keep.is_due(), "it waits to be told");
    bench.keep.fall_behind();
    assert!(bench.keep.is_due());
}

#[test]
fn what_is_anothers_is_written_no_more() {
    let mut bench = Bench::new();
    bench.say("a");
    bench.page();
    bench.keep.end_all(true);
    bench.say("b");
    bench.keep.touch();
    bench.keep.confirm();
    assert!(bench.is_idle() && !bench.keep.is_due() && bench.keep.is_lost());
}
