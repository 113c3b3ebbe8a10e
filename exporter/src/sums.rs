//! Sums of the replicas' counters that never fall: whatever restarts, goes away or comes back.
//!
//! Of each life of a replica (its process, and when that began) the last value of every
//! series is kept. A scrape adds what is beyond that value; a life that was not met before adds
//! everything, because a process begins at zero; a value that is below its last one, without a new
//! life, was set to zero in between. What a replica that is gone had counted stays in the sum.

mod kept;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use crate::family::{Family, Kind, Labels, Series};
use crate::limits::{ENTRIES, LIFE_AWAY, LIFE_TTL, LIVES, SUMMED_SERIES};

/// One run of a replica's process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life {
    /// What the process calls itself, which is the same at each of its addresses; `address:port` of
    /// one that has no name.
    pub(crate) process: Arc<str>,
    /// When its process began, in milliseconds of Unix time; 0 when it does not say.
    pub(crate) start_ms: u64,
}

/// Each series with its sum.
pub(crate) type Totals = BTreeMap<Arc<Series>, f64>;

/// The sums, and what is needed to go on with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    families: BTreeMap<Arc<str>, About>,
    totals: Totals,
    lives: BTreeMap<Life, Seen>,
    /// Counts observations, so that the life that was not met for the longest is known.
    turn: u64,
    /// The time.
    now: Duration,
    /// Last values of all lives.
    entries: usize,
    /// Series that were left out because there were too many, as numbers; no more than are summed.
    left_out: BTreeSet<u64>,
}

/// A family, and labels but for the bound of a bucket.
type Group = (Arc<str>, Labels);

#[derive(Clone, Debug, PartialEq)]
struct About {
    help: Arc<str>,
    kind: Kind,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    turn: u64,
    /// When it was met last.
    at: Duration,
    /// Last values; what was always 0 is left out.
    last: Totals,
}

impl Sums {
    /// What time it is, on a clock that is never set.
    pub(crate) fn tick(&mut self, now: Duration) {
        self.now = now;
    }

    /// Takes in what one replica says; families that cannot be summed over time are passed over.
    pub(crate) fn observe(&mut self, life: &Life, families: &[Family]) {
        let mut groups: Vec<Vec<(&Series, f64)>> = Vec::new();
        for family in families {
            let is_histogram = match family.kind {
                Kind::Counter | Kind::Histogram => true,
                Kind::Summary => false,
                Kind::Gauge | Kind::Untyped => continue,
            };
            let mut last: Option<&Labels> = None;
            for (series, value) in &family.samples {
                // Quantiles of several processes say nothing together.
                let is_summed = is_histogram || *series.name != *family.name;
                if is_summed && value.is_finite() && *value >= 0.0 {
                    // What belongs together is written together.
                    match groups.last_mut() {
                        Some(group)
                            if last.is_some_and(|it| it.are_but_for("le", &series.labels)) =>
                        {
                            group.push((series, *value));
                        }
                        Some(_) | None => groups.push(vec![(series, *value)]),
                    }
                    last = Some(&series.labels);
                }
            }
            let about = About { help: Arc::clone(&family.help), kind: family.kind };
            if self.families.len() < SUMMED_SERIES || self.families.contains_key(&family.name) {
                self.families.insert(Arc::clone(&family.name), about);
            }
        }
        self.take_in(life, groups.into_iter());
    }

    /// Takes in groups of series that say something together only, as buckets do: each whole or
    /// not at all.
    fn take_in<'a>(&mut self, life: &Life, groups: impl Iterator<Item = Vec<(&'a Series, f64)>>) {
        self.turn += 1;
        let mut seen = self.lives.remove(life).unwrap_or_default();
        (seen.turn, seen.at) = (self.turn, self.now);
        for group in groups {
            let is_known = |it: &&(&Series, f64)| self.totals.contains_key(it.0);
            let series = group.len() - group.iter().filter(is_known).count();
            let is_new = |it: &&(&Series, f64)| it.1 != 0.0 && !seen.last.contains_key(it.0);
            let entries = group.iter().filter(is_new).count();
            if self.totals.len() + series > SUMMED_SERIES || self.entries + entries > ENTRIES {
                let hashes = group.iter().map(|(series, _)| hash(series));
                let room = SUMMED_SERIES.saturating_sub(self.left_out.len());
                self.left_out.extend(hashes.take(room));
                continue;
            }
            self.entries += entries;
            for (series, value) in group {
                self.add(&mut seen, series, value);
            }
        }
        self.lives.insert(life.clone(), seen);
        while self.lives.len() > LIVES && self.forget_one(Duration::ZERO) {}
    }

    fn add(&mut self, seen: &mut Seen, series: &Series, value: f64) {
        let key = match self.totals.get_key_value(series) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::new(series.clone()),
        };
        // Of what is 0 nothing has to be known.
        let last = match seen.last.get_mut(series) {
            Some(last) => std::mem::replace(last, value),
            None if value == 0.0 => 0.0,
            None => seen.last.insert(Arc::clone(&key), value).unwrap_or(0.0),
        };
        let more = if value >= last { value - last } else { value };
        *self.totals.entry(key).or_insert(0.0) += more;
    }

    /// Forgets runs that have been away for long; to be called when those that are there were
    /// taken in.
    pub(crate) fn forget(&mut self) {
        while self.forget_one(LIFE_TTL) {}
        while self.entries >= ENTRIES && self.forget_one(LIFE_AWAY) {}
    }

    /// Forgets the run that was not met for the longest, if it has been away for so long.
    fn forget_one(&mut self, away: Duration) -> bool {
        let oldest = self.lives.iter().min_by_key(|(_, seen)| seen.turn);
        let is_away = |(_, seen): &(&Life, &Seen)| self.now.saturating_sub(seen.at) >= away;
        let Some(oldest) = oldest.filter(is_away).map(|(life, _)| life.clone()) else {
            return false;
        };
        let seen = self.lives.remove(&oldest).unwrap_or_default();
        self.entries -= seen.last.len();
        true
    }

    /// Takes in what was summed before this began, so that nothing counts twice: of a life that
    /// both know only what came after the older sums. None of this was shown yet.
    pub(crate) fn go_on_from(&mut self, older: Self) {
        let newer = std::mem::replace(self, older);
        self.now = newer.now;
        // Who could not be met while this was away is given the whole time again.
        self.lives.values_mut().for_each(|it| it.at = newer.now);
        self.families.extend(newer.families);
        self.left_out.extend(newer.left_out);
        let mut lives: Vec<_> = newer.lives.into_iter().collect();
        lives.sort_by_key(|(_, seen)| seen.turn);
        for (life, seen) in lives {
            let mut groups: BTreeMap<Group, Vec<(&Series, f64)>> = BTreeMap::new();
            for (series, value) in &seen.last {
                let name = self.about(&series.name).map_or("", |(name, _)| name);
                let group = (name.into(), series.labels.without("le"));
                groups.entry(group).or_default().push((&**series, *value));
            }
            self.take_in(&life, groups.into_values());
        }
        // What is 0 is not among the last values, and is there all the same.
        for series in newer.totals.into_keys() {
            if self.totals.len() < SUMMED_SERIES || self.totals.contains_key(&series) {
                self.totals.entry(series).or_insert(0.0);
            }
        }
    }

    /// The sums themselves.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Series that were left out because there were too many; each counts once.
    pub(crate) fn dropped(&self) -> u64 {
        u64::try_from(self.left_out.len()).unwrap_or(u64::MAX)
    }

    /// The sums, as families.
    pub(crate) fn families(&self) -> Vec<Family> {
        let mut families: BTreeMap<&str, Family> = BTreeMap::new();
        for (series, total) in &self.totals {
            let Some((name, about)) = self.about(&series.name) else { continue };
            let family =
                families.entry(name).or_insert_with(|| Family::new(about.kind, name, &about.help));
            family.samples.push((Series::clone(series), *total));
        }
        let mut families: Vec<_> = families.into_values().collect();
        for family in families.iter_mut().filter(|it| it.kind == Kind::Histogram) {
            put_buckets_in_order(family);
        }
        families
    }

    fn about(&self, sample: &str) -> Option<(&str, &About)> {
        let stems = ["", "_bucket", "_sum", "_count"];
        let mut names = stems.iter().filter_map(|it| sample.strip_suffix(it));
        names.find_map(|name| self.families.get_key_value(name).map(|(name, it)| (&**name, it)))
    }
}

fn hash(series: &Series) -> u64 {
    let mut hasher = DefaultHasher::new();
    series.hash(&mut hasher);
    hasher.finish()
}

/// Sorts the buckets of each series by their bounds, and lets none hold less than the one below
/// it: replicas of two versions may have had different bounds.
fn put_buckets_in_order(family: &mut Family) {
    let bound = |series: &Series| -> Option<f64> {
        match series.labels.get("le")? {
            "+Inf" => Some(f64::INFINITY),
            text => text.parse().ok(),
        }
    };
    let buckets = format!("{}_bucket", family.name);
    family.samples.sort_by(|(one, _), (other, _)| {
        let rank = |it: &Series| (*it.name != *buckets, it.labels.without("le"));
        let above = |it: &Series| bound(it).unwrap_or(f64::NAN);
        let by_bound = above(one).total_cmp(&above(other));
        rank(one).cmp(&rank(other)).then(by_bound).then_with(|| other.name.cmp(&one.name))
    });
    let mut below: Option<(Labels, f64)> = None;
    for (series, value) in &mut family.samples {
        if bound(series).is_none() {
            continue;
        }
        let labels = series.labels.without("le");
        if let Some((_, least)) = below.as_ref().filter(|(it, _)| *it == labels) {
            *value = value.max(*least);
        }
        below = Some((labels, *value));
    }
}
