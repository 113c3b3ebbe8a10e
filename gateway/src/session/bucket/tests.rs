//! The rule against another implementation of it, and the table under a flood of keys.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock as _, FakeRelativeClock};
use governor::{Quota as Other, RateLimiter};
use proptest::prelude::*;

use super::*;

const HUNDRED: Quota = Quota { each_us: 9_000_000, burst: 100 };

fn rate(max: u32, window: Duration, burst: u32) -> Rate {
    Rate { max, window, burst }
}

#[test]
fn a_setting_becomes_a_quota() {
    for (rate, each_us, burst) in [
        (rate(100, Duration::from_mins(15), 100), 9_000_000, 100),
        (rate(100, Duration::from_secs(1), 200), 10_000, 200),
        (rate(3, Duration::from_secs(1), 1), 333_333, 1),
        (rate(2_000_000, Duration::from_secs(1), 1), 1, 1),
    ] {
        assert_eq!(Quota::of(&rate), Quota { each_us, burst }, "{rate:?}");
    }
    assert_eq!(HUNDRED.share(3), Quota { each_us: 27_000_000, burst: 34 });
    assert_eq!(HUNDRED.share(0), HUNDRED);
}

#[test]
fn a_bucket_gives_out_its_burst_and_then_one_at_a_time() {
    let buckets = Buckets::new(Instant::now());
    let began = buckets.began;
    let take = |at: Duration, count| buckets.take("a", HUNDRED, count, began + at);
    for _ in 0..100 {
        assert_eq!(take(Duration::ZERO, 1), Ok(()));
    }
    assert_eq!(take(Duration::ZERO, 1), Err(Duration::from_secs(9)));
    assert_eq!(take(Duration::from_secs(4), 1), Err(Duration::from_secs(5)));
    assert_eq!(take(Duration::from_secs(9), 1), Ok(()));
    assert_eq!(take(Duration::from_secs(9), 3), Err(Duration::from_secs(27)));
    // A refusal takes nothing.
    assert_eq!(take(Duration::from_secs(36), 3), Ok(()));
    assert_eq!(take(Duration::from_hours(1), 101), Err(Duration::from_secs(9)));
    assert_eq!(take(Duration::from_hours(1), 100), Ok(()));
    assert_eq!(buckets.take("b", HUNDRED, 100, began), Ok(()), "another bucket");
    assert_eq!(buckets.len(), 2);
}

#[test]
fn a_bucket_never_lies_further_ahead_than_it_takes_to_fill() {
    let buckets = Buckets::new(Instant::now());
    let began = buckets.began;
    // Settings were changed, or a share of a limit became the whole of it.
    let long = Quota { each_us: 3_600_000_000, burst: 10 };
    let short = Quota { each_us: 1_000_000, burst: 5 };
    assert_eq!(buckets.take("a", long, 10, began), Ok(()));
    let take = |at: Duration| buckets.take("a", short, 1, began + at);
    assert_eq!(take(Duration::ZERO), Err(Duration::from_secs(1)));
    assert_eq!(take(Duration::from_millis(400)), Err(Duration::from_millis(600)));
    assert_eq!(take(Duration::from_secs(1)), Ok(()));
    assert_eq!(take(Duration::from_secs(1)), Err(Duration::from_secs(1)));
    // A clock was set back.
    assert_eq!(short.take(u64::MAX, 7, 1), Err(1_000_000));
}

proptest! {
    /// `governor` is another implementation of the same rule: each says yes when the other does,
    /// and is ready at the same moment.
    #[test]
    fn governor_says_the_same(
        each_ms in 1_u64..5_000,
        burst in 1_u32..50,
        steps in proptest::collection::vec((0_u64..20_000, 1_u32..6), 1..80),
    ) {
        let quota = Quota { each_us: each_ms * 1000, burst: u64::from(burst) };
        let clock = FakeRelativeClock::default();
        let burst = NonZeroU32::new(burst).unwrap();
        let other = Other::with_period(Duration::from_millis(each_ms)).unwrap().allow_burst(burst);
        let other = RateLimiter::direct_with_clock(other, clock.clone());
        let buckets = Buckets::new(Instant::now());
        let mut now = buckets.began;
        for (pause, count) in steps {
            let pause = Duration::from_millis(pause);
            clock.advance(pause);
            now += pause;
            let own = buckets.take(0, quota, u64::from(count), now);
            match other.check_n(NonZeroU32::new(count).unwrap()) {
                Ok(Ok(())) => prop_assert_eq!(own, Ok(())),
                Ok(Err(until)) => {
                    let wait = until.wait_time_from(clock.now());
                    // It rounds a burst of one differently by a nanosecond.
                    let own = own.unwrap_err();
                    let apart = own.abs_diff(wait);
                    prop_assert!(apart <= Duration::from_micros(1), "{own:?} {wait:?}");
                }
                Err(_never) => prop_assert!(own.is_err()),
            }
        }
    }

    /// However the requests fall, no stretch of time lets more through than the burst and what
    /// came back in it.
    #[test]
    fn no_more_passes_than_promised(pauses in proptest::collection::vec(0_u64..3_000_000, 1..300)) {
        let quota = Quota { each_us: 1_000_000, burst: 5 };
        let (mut full_at, mut now) = (0, 1);
        let mut passed = Vec::new();
        for pause in pauses {
            now += pause;
            if let Ok(then) = quota.take(full_at, now, 1) {
                full_at = then;
                passed.push(now);
            }
        }
        for (first, from) in passed.iter().enumerate() {
            for (last, to) in passed.iter().enumerate().skip(first) {
                let most = 5 + (to - from) / 1_000_000;
                let between = (last - first) as u64;
                prop_assert!(between < most, "{between}");
            }
        }
    }
}

#[test]
fn extreme_numbers_do_no_harm() {
    let huge = Quota { each_us: u64::MAX, burst: u64::MAX };
    assert_eq!(huge.take(u64::MAX, u64::MAX, u64::MAX), Ok(u64::MAX));
    let small = Quota { each_us: 1, burst: 1 };
    assert!(small.take(u64::MAX, 1, u64::MAX).is_err());
    assert_eq!(huge.share(u64::MAX).burst, 1);
}

/// What this process holds of the machine's memory, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_million_keys_take_no_more_memory_than_the_table_has() {
    let buckets = Buckets::new(Instant::now());
    let now = buckets.began;
    let spent = (0..100).map(|spender| format!("spender {spender}"));
    let spent: Vec<_> = spent.collect();
    for key in &spent {
        (0..100).for_each(|_| buckets.take(key, HUNDRED, 1, now).unwrap());
    }
    // The table is all there is: its pages are touched as they are needed.
    let flood = |from: u64| {
        for key in from..from + 1_000_000 {
            buckets.take(key, HUNDRED, 1, now).unwrap();
        }
    };
    flood(0);
    let (entries, resident) = (buckets.len(), resident_kib());
    flood(1_000_000);
    let more = resident_kib().saturating_sub(resident);
    println!("{entries} buckets of {BUCKETS} in use; a second million keys took {more} KiB more");
    assert_eq!((entries, buckets.len()), (BUCKETS, BUCKETS));
    // Other tests run beside this one.
    assert!(more < 64 * 1024, "{more} KiB more");
    // Nobody who has spent everything got it back by the flood.
    for key in &spent {
        assert!(buckets.take(key, HUNDRED, 1, now).is_err(), "{key} was forgotten");
    }
}

#[test]
fn one_bucket_is_exact_however_many_take_from_it_at_once() {
    let buckets = Arc::new(Buckets::new(Instant::now()));
    let now = buckets.began;
    let taking = (0..8).map(|_| {
        let buckets = buckets.clone();
        std::thread::spawn(move || {
            (0..100).filter(|_| buckets.take("a", HUNDRED, 1, now).is_ok()).count()
        })
    });
    let taking: Vec<_> = taking.collect();
    let passed: usize = taking.into_iter().map(|it| it.join().unwrap()).sum();
    assert_eq!(passed, 100);
}
