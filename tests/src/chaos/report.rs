//! What came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::World;
use super::faults::Counts;
use crate::checker::{End, Log, check};
use crate::ledger::{Line, double_owners};

/// A stream that broke so soon after a kill broke because of it.
const OF_A_KILL: Duration = Duration::from_secs(2);
/// Streams are taken up again within this after a kill -9, all but one in twenty.
const RESUMED: Duration = Duration::from_secs(20);
/// Broken promises that are printed.
const SHOWN: usize = 12;

/// Everything that was counted, and every promise that was broken.
#[derive(Debug)]
pub struct Report {
    seed: u64,
    took: Duration,
    calls: usize,
    runs: usize,
    faults: Counts,
    ends: BTreeMap<End, usize>,
    resumes: Resumes,
    slowest_of_kills: Resumes,
    lost_sessions: u64,
    excused: u64,
    gaps: u64,
    double_owners: Vec<(String, Duration)>,
    orphans: u64,
    /// In words.
    pub broken: Vec<String>,
    trouble: Vec<String>,
    story: Vec<(Duration, String)>,
}

/// How long it took until streams were taken up.
#[derive(Debug, Default)]
pub struct Resumes(Vec<Duration>);

impl Report {
    pub(super) fn of(
        world: &World,
        log: &Log,
        ledger: &[Line],
        faults: Counts,
        took: Duration,
    ) -> Self {
        let resumes = world.resumes.lock().clone();
        let kills = world.kills.lock().clone();
        let of = |kill: &Instant| {
            let kill = *kill;
            let soon = resumes.iter().filter(move |(broke, _)| {
                broke.checked_duration_since(kill).is_some_and(|it| it < OF_A_KILL)
            });
            soon.map(|(_, took)| *took)
        };
        let mut report = Self {
            seed: world.seed,
            took,
            calls: log.calls.len(),
            runs: ledger.len(),
            faults,
            ends: log.ends(),
            resumes: kills.iter().flat_map(of).collect(),
            slowest_of_kills: kills.iter().filter_map(|kill| of(kill).max()).collect(),
            lost_sessions: world.lost_sessions.load(Ordering::Relaxed),
            excused: world.excused.load(Ordering::Relaxed),
            gaps: world.gaps.load(Ordering::Relaxed),
            double_owners: double_owners(ledger),
            orphans: world.orphans.load(Ordering::Relaxed),
            broken: check(log, ledger),
            trouble: world.trouble.lock().clone(),
            story: world.story.lock().clone(),
        };
        report.broken.extend(report.demands());
        report
    }

    /// What is asked of the whole, and does not hold.
    fn demands(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for (session, overlap) in &self.double_owners {
            let ms = overlap.as_millis();
            missed.push(format!("session {session} had two owners that ran calls, for {ms} ms"));
        }
        if self.orphans > 0 {
            missed.push(format!("{} processes outlived their gateway", self.orphans));
        }
        let p95 = self.resumes.percentile(95);
        if p95 > RESUMED {
            missed.push(format!("streams were taken up after a kill in {p95:?} (p95)"));
        }
        if self.answered() * 2 <= self.calls {
            missed.push("less than half of the calls were answered".to_owned());
        }
        missed
    }

    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.broken.is_empty() && self.trouble.is_empty()
    }

    /// Calls that came to be.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// Calls that were answered.
    pub fn answered(&self) -> usize {
        self.ends.get(&End::Answered).copied().unwrap_or_default()
    }

    /// How often each fault came.
    pub fn faults(&self) -> &BTreeMap<&'static str, u64> {
        &self.faults
    }

    /// How long streams were away after a kill.
    pub fn resumes(&self) -> &Resumes {
        &self.resumes
    }
}

impl FromIterator<Duration> for Resumes {
    fn from_iter<I: IntoIterator<Item = Duration>>(all: I) -> Self {
        let mut all: Vec<Duration> = all.into_iter().collect();
        all.sort_unstable();
        Self(all)
    }
}

impl Resumes {
    /// That of so many per cent at the most; zero when there were none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let at = (self.0.len().saturating_mul(percent) / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Resumes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |percent| self.percentile(percent).as_millis();
        let count = self.0.len();
        write!(f, "{count}, p50 {} ms, p95 {} ms, longest {} ms", of(50), of(95), of(100))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64().max(1.0);
        let rate = f64::from(u32::try_from(self.calls).unwrap_or(u32::MAX)) / seconds;
        writeln!(f, "seed {}, {seconds:.0} s", self.seed)?;
        writeln!(f, "\nfaults")?;
        for (fault, count) in &self.faults {
            writeln!(f, "  {count:>8}  {fault}")?;
        }
        writeln!(f, "\ncalls {} ({rate:.0} a second), in the ledger {}", self.calls, self.runs)?;
        for (end, count) in &self.ends {
            writeln!(f, "  {count:>8}  {end:?}")?;
        }
        writeln!(f, "\nstreams taken up after a kill -9: {}", self.resumes)?;
        writeln!(f, "the slowest of each kill: {}", self.slowest_of_kills)?;
        let (lost, excused) = (self.lost_sessions, self.excused);
        write!(f, "sessions that were unknown: {lost}, of them {excused} whose owner was lost ")?;
        writeln!(f, "with Redis's memory, or before they were open; gaps: {}", self.gaps)?;
        let longest = self.double_owners.iter().map(|it| it.1).max().unwrap_or_default();
        let count = self.double_owners.len();
        writeln!(f, "two owners at once: {count}, for {} ms at the most", longest.as_millis())?;
        writeln!(f, "orphan processes: {}", self.orphans)?;
        let of = |tells: fn(&str) -> bool| self.broken.iter().filter(|it| tells(it)).count();
        let twice = of(|it| it.contains(" ran ") && it.ends_with(" times"));
        let refused = of(|it| it.ends_with("was not dispatched"));
        let endless = of(|it| it.contains("came to no end"));
        let unordered = of(|it| it.contains(" on stream ") || it.ends_with("came twice"));
        write!(f, "ran twice: {twice}, ran though refused: {refused}, ")?;
        write!(f, "without an end: {endless}, ")?;
        writeln!(f, "event ids out of order: {unordered}")?;
        for line in self.trouble.iter().take(SHOWN) {
            writeln!(f, "trouble: {line}")?;
        }
        for line in self.broken.iter().take(SHOWN) {
            writeln!(f, "BROKEN: {line}")?;
        }
        if !self.is_clean() {
            writeln!(f, "\nwhat happened when")?;
            for (at, what) in &self.story {
                writeln!(f, "  {:>8.3} s  {what}", at.as_secs_f64())?;
            }
        }
        let verdict = if self.is_clean() { "every promise was kept" } else { "VIOLATED" };
        writeln!(f, "\n{} broken promises: {verdict}", self.broken.len())
    }
}
