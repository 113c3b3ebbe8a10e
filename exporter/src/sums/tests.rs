//! The sums against a model that knows the truth, through every kind of restart.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::family::encode;
use crate::limits::STATE_BYTES;
use crate::parse::parse;

fn life(process: &str, start_ms: u64) -> Life {
    Life { process: process.into(), start_ms }
}

fn says(value: f64) -> Vec<Family> {
    vec![Family::counter("c_total", "h").with(&[("x", "1")], value)]
}

fn total(sums: &Sums) -> f64 {
    let families = sums.families();
    families.first().map_or(0.0, |it| it.samples.iter().map(|(_, value)| value).sum())
}

#[test]
fn a_replica_that_restarts_or_goes_away_takes_nothing_from_the_sum() {
    let mut sums = Sums::default();
    sums.observe(&life("a", 1), &says(10.0));
    sums.observe(&life("b", 1), &says(5.0));
    assert_eq!(total(&sums), 15.0);
    sums.observe(&life("a", 2), &says(3.0));
    assert_eq!(total(&sums), 18.0);
    sums.observe(&life("a", 2), &says(4.0));
    // Not met for a while, and as it was.
    sums.observe(&life("b", 1), &says(7.0));
    assert_eq!(total(&sums), 21.0);
    // Set to zero without a new life.
    sums.observe(&life("b", 1), &says(1.0));
    assert_eq!(total(&sums), 22.0);
}

#[test]
fn what_cannot_be_added_is_passed_over() {
    let text = "# TYPE g gauge\ng 1\nu 2\n# TYPE s summary\ns{quantile=\"0.5\"} 3\ns_sum 4\n\
                s_count 5\n# TYPE c counter\nc NaN\n# TYPE d counter\nd -1\n";
    let mut sums = Sums::default();
    let families = parse(text, 100).unwrap().families;
    sums.observe(&life("a", 1), &families);
    sums.observe(&life("b", 1), &families);
    let shown = encode(&sums.families());
    let samples: Vec<_> = shown.lines().filter(|it| !it.starts_with('#')).collect();
    assert_eq!(samples, ["s_count 10", "s_sum 8"]);
}

#[test]
fn buckets_rise_with_their_bounds_also_where_versions_differ() {
    let one = "# TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"10\"} 6\n\
               h_bucket{le=\"+Inf\"} 6\nh_sum 9\nh_count 6\n";
    let other = "# TYPE h histogram\nh_bucket{le=\"2\"} 1\nh_bucket{le=\"10\"} 1\n\
                 h_bucket{le=\"+Inf\"} 1\nh_sum 1.5\nh_count 1\n";
    let mut sums = Sums::default();
    sums.observe(&life("a", 1), &parse(one, 100).unwrap().families);
    sums.observe(&life("b", 1), &parse(other, 100).unwrap().families);
    let text = encode(&sums.families());
    let samples: Vec<_> = text.lines().filter(|it| !it.starts_with('#')).collect();
    assert_eq!(
        samples,
        [
            "h_bucket{le=\"1\"} 5",
            "h_bucket{le=\"2\"} 5",
            "h_bucket{le=\"10\"} 7",
            "h_bucket{le=\"+Inf\"} 7",
            "h_sum 10.5",
            "h_count 7",
        ]
    );
}

#[test]
fn series_and_lives_are_bounded() {
    let mut sums = Sums::default();
    let mut family = Family::counter("c_total", "h");
    for number in 0..SUMMED_SERIES + 7 {
        family.add(&[("n", &number.to_string())], 1.0);
    }
    sums.observe(&life("a", 1), std::slice::from_ref(&family));
    assert_eq!((sums.totals().len(), sums.dropped()), (SUMMED_SERIES, 7));
    // A second look leaves the same ones out, not more of them.
    sums.observe(&life("a", 1), &[family]);
    assert_eq!((sums.totals().len(), sums.dropped()), (SUMMED_SERIES, 7));
    let mut sums = Sums::default();
    for start in 0..u64::try_from(LIVES).unwrap() + 50 {
        sums.observe(&life("a", start), &says(1.0));
    }
    assert_eq!(sums.lives.len(), LIVES);
    assert!(sums.lives.keys().all(|it| it.start_ms >= 50));
}

#[test]
fn a_histogram_is_left_out_as_a_whole() {
    let mut sums = Sums::default();
    let mut family = Family::counter("c_total", "h");
    for number in 0..SUMMED_SERIES - 3 {
        family.add(&[("n", &number.to_string())], 1.0);
    }
    sums.observe(&life("a", 1), &[family]);
    let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"+Inf\"} 6\n\
                h_sum 9\nh_count 6\n";
    let more = parse(text, 100).unwrap();
    sums.observe(&life("a", 1), &more.families);
    assert!(!encode(&sums.families()).contains("h_bucket"));
    assert_eq!(sums.dropped(), 4);
}

#[test]
fn a_run_that_is_away_is_forgotten_and_its_count_is_not() {
    let mut sums = Sums::default();
    sums.observe(&life("a", 1), &says(5.0));
    sums.observe(&life("b", 1), &says(7.0));
    let mut sums = {
        // A restart gives everybody the whole time again.
        let mut later = Sums::default();
        later.tick(LIFE_TTL);
        later.go_on_from(Sums::from_text(&sums.to_text()).unwrap());
        later
    };
    sums.forget();
    assert_eq!(sums.lives.len(), 2);
    sums.tick(LIFE_TTL * 2 - Duration::from_secs(1));
    sums.observe(&life("b", 1), &says(7.0));
    sums.forget();
    assert_eq!(sums.lives.len(), 2);
    sums.tick(LIFE_TTL * 2);
    sums.forget();
    assert_eq!((sums.lives.len(), sums.entries, total(&sums)), (1, 1, 12.0));
    sums.observe(&life("b", 1), &says(8.0));
    assert_eq!(total(&sums), 13.0);
}

#[test]
fn what_is_remembered_is_bounded_and_can_be_read_back() {
    let mut sums = Sums::default();
    let mut family = Family::counter("mcp_gateway_a_name_of_usual_length_total", "h");
    let wide = "a value of a label that is rather longer than most of them are";
    for number in 0..SUMMED_SERIES {
        let number = number.to_string();
        family.add(&[("tool", wide), ("backend", wide), ("n", &number)], 123_456_789.123_456_7);
    }
    let families = [family];
    let lives = ENTRIES / SUMMED_SERIES;
    for number in 0..=lives {
        sums.observe(&life("a", u64::try_from(number).unwrap()), &families);
    }
    assert_eq!(sums.entries, ENTRIES);
    assert_eq!(sums.dropped(), u64::try_from(SUMMED_SERIES / 2).unwrap());
    let text = sums.to_text();
    assert!(text.len() < STATE_BYTES * 2 / 3, "{}", text.len());
    let again = Sums::from_text(&text).unwrap();
    assert_eq!((again.totals(), again.entries), (sums.totals(), ENTRIES));
    // Who is away makes room.
    sums.tick(LIFE_AWAY);
    sums.observe(&life("a", u64::try_from(lives).unwrap()), &families);
    sums.forget();
    sums.observe(&life("a", u64::try_from(lives).unwrap()), &families);
    assert_eq!(sums.entries, ENTRIES - SUMMED_SERIES / 2);
}

/// Why the sums are kept before they are shown, in each round: what was shown and not kept is taken
/// back if the exporter and a replica are killed together. Prometheus takes that for a counter that
/// was set to zero, and all that was ever counted for counted at that moment.
#[test]
fn what_is_shown_before_it_is_kept_may_be_taken_back() {
    let mut sums = Sums::default();
    sums.observe(&life("a", 1), &says(1e6));
    let kept = sums.to_text();
    sums.observe(&life("a", 1), &says(1e6 + 5.0));
    let shown = total(&sums);
    let mut later = Sums::from_text(&kept).unwrap();
    later.observe(&life("a", 2), &says(0.0));
    assert!(total(&later) < shown);
}

#[test]
fn what_is_no_state_is_refused() {
    let kept = Sums::default().to_text();
    assert!(Sums::from_text(&kept).is_ok(), "{kept}");
    // An older one told lives by their addresses, with which all would be counted again.
    let older = kept.replace("\"form\":2", "\"form\":1");
    for text in ["", "{}", "[]", "{\"form\":2,\"turn\":0}", "\u{0}", &older] {
        assert!(Sums::from_text(text).is_err(), "{text:?}");
    }
}

/// What happens to the stack.
#[derive(Clone, Debug)]
enum Event {
    /// Replica `0` counts so much.
    Counts(usize, u32),
    /// Its process begins anew, at its address.
    Restarts(usize),
    /// It is scraped.
    Scraped(usize),
    /// The exporter keeps its sums.
    Keeps,
    /// The exporter begins anew with what it kept last.
    Begins,
    /// The exporter begins anew, and can read what it kept only after some scrapes.
    BeginsBlind,
    /// It can read it again.
    Reads,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let replica = 0..3_usize;
    let event = prop_oneof![
        4 => (replica.clone(), 1..1000_u32).prop_map(|(at, more)| Event::Counts(at, more)),
        1 => replica.clone().prop_map(Event::Restarts),
        5 => replica.prop_map(Event::Scraped),
        1 => Just(Event::Keeps),
        1 => Just(Event::Begins),
        1 => Just(Event::BeginsBlind),
        1 => Just(Event::Reads),
    ];
    proptest::collection::vec(event, 0..120)
}

/// What is true: of each life, what the exporter knows it to have counted.
#[derive(Default)]
struct Truth {
    /// Count and start of each replica.
    replicas: BTreeMap<usize, (f64, u64)>,
    starts: u64,
}

proptest! {
    /// With the sums kept after each scrape, as the exporter does, nothing is lost and nothing
    /// counts twice; fractions and huge counts included.
    #[test]
    fn the_sum_is_what_all_lives_were_seen_to_count(
        events in events(),
        step in prop_oneof![Just(1.0), Just(0.1), Just(1e12)],
    ) {
        let mut truth = Truth { starts: 1, ..Truth::default() };
        let mut seen: BTreeMap<(usize, u64), f64> = BTreeMap::new();
        let mut sums = Sums::default();
        let mut kept = sums.to_text();
        let mut is_read = true;
        let mut shown = 0.0;
        for event in events {
            match event {
                Event::Counts(at, more) => {
                    truth.replicas.entry(at).or_insert((0.0, 0)).0 += f64::from(more) * step;
                }
                Event::Restarts(at) => {
                    truth.starts += 1;
                    truth.replicas.insert(at, (0.0, truth.starts));
                }
                Event::Scraped(at) => {
                    let (count, start) = *truth.replicas.entry(at).or_insert((0.0, 0));
                    sums.observe(&life(&at.to_string(), start), &says(count));
                    // While what was kept cannot be read, only this run's own scrapes are known
                    // for sure to end up in the sum.
                    seen.insert((at, start), count);
                    if is_read {
                        kept = sums.to_text();
                    }
                }
                Event::Keeps if is_read => kept = sums.to_text(),
                Event::Begins if is_read => sums = Sums::from_text(&kept).unwrap(),
                Event::BeginsBlind if is_read => {
                    sums = Sums::default();
                    is_read = false;
                }
                Event::Reads if !is_read => {
                    sums.go_on_from(Sums::from_text(&kept).unwrap());
                    kept = sums.to_text();
                    is_read = true;
                }
                Event::Keeps | Event::Begins | Event::BeginsBlind | Event::Reads => {}
            }
            // Nothing is shown of sums that do not go on from those that were shown before.
            if is_read {
                let total = total(&sums);
                prop_assert!(total >= shown, "fell from {shown} to {total}");
                shown = total;
            }
        }
        if !is_read {
            sums.go_on_from(Sums::from_text(&kept).unwrap());
        }
        let wanted: f64 = seen.values().sum();
        let got = total(&sums);
        prop_assert!((got - wanted).abs() <= wanted.abs() * 1e-9, "{got}, not {wanted}");
    }

    /// What was kept some scrapes ago is caught up with by lives that go on.
    #[test]
    fn old_sums_catch_up(counts in proptest::collection::vec(1..50_u32, 2..20)) {
        let (mut sums, mut count) = (Sums::default(), 0.0);
        let mut kept = sums.to_text();
        for (number, more) in counts.iter().enumerate() {
            count += f64::from(*more);
            sums.observe(&life("a", 1), &says(count));
            if number == counts.len() / 2 {
                kept = sums.to_text();
            }
        }
        let mut later = Sums::from_text(&kept).unwrap();
        later.observe(&life("a", 1), &says(count));
        prop_assert_eq!(total(&later), total(&sums));
    }
}
