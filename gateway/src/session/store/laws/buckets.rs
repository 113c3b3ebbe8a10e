//! The law of rate limits.

use super::*;
use crate::session::bucket::Quota;

pub(super) async fn a_bucket_gives_out_what_it_holds(subject: &impl Subject) {
    let store = subject.store();
    // Nothing comes back while this runs.
    let slow = Quota { each_us: 3_600_000_000, burst: 100 };
    let taking = (0..150).map(|_| store.take("a:203.0.113.7", slow, 1));
    let taken = join_all(taking).await;
    assert_eq!(taken.iter().filter(|it| **it == Ok(None)).count(), 100);
    let near = |wait: Duration, from: u64| {
        let hour = Duration::from_hours(from);
        wait <= hour && wait > hour - MINUTE
    };
    let waits = taken.into_iter().filter_map(Result::unwrap);
    assert!(waits.into_iter().all(|wait| near(wait, 1)), "those that are refused take nothing");
    let all = store.take("a:203.0.113.8", slow, 100).await;
    assert_eq!(all, Ok(None), "another bucket");
    let more = store.take("a:203.0.113.9", slow, 101).await;
    assert!(near(more.unwrap().unwrap(), 1), "more than it ever holds");
    // A bucket of which less is known to come back than before fills as it is meant to from there
    // on, and is never further ahead than that takes, whoever left it there.
    let smaller = Quota { each_us: 60_000_000, burst: 2 };
    let wait = store.take("a:203.0.113.7", smaller, 2).await.unwrap().unwrap();
    assert!(wait <= MINUTE * 2, "{wait:?}");
    let quick = Quota { each_us: 30_000, burst: 2 };
    let wait = store.take("a:203.0.113.8", quick, 1).await.unwrap().unwrap();
    assert!(wait <= MILLIS * 30, "{wait:?}");
    subject.pass(MILLIS * 31).await;
    assert_eq!(store.take("a:203.0.113.8", quick, 1).await, Ok(None), "it came back");
    assert_eq!(store.take("quick", quick, 2).await, Ok(None));
    for _ in 0..3 {
        subject.pass(MILLIS * 31).await;
        assert_eq!(store.take("quick", quick, 1).await, Ok(None), "it came back");
    }
}
