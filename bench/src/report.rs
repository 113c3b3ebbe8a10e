//! What a run prints: tables for people, or one JSON document.

use std::io::{self, Write as _};

use anyhow::Result;
use serde::Serialize;

use crate::footprint::{Idle, Start};
use crate::rows::Throughput;
use crate::slow::{SOCKETS, Slow};

/// Faults shown of one row; all are counted.
const SHOWN_FAULTS: usize = 3;

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// How it was measured.
    pub(crate) conditions: String,
    pub(crate) throughput: Vec<Throughput>,
    pub(crate) starts: Vec<Start>,
    pub(crate) idle: Vec<Idle>,
    pub(crate) slow: Vec<Slow>,
}

impl Report {
    /// Whether every id and payload was right and nothing failed.
    pub(crate) fn is_clean(&self) -> bool {
        self.throughput.iter().all(|row| row.faults.is_empty())
            && self.idle.iter().all(|row| row.fault.is_none())
            && self.slow.iter().all(|row| row.faults.is_empty())
    }

    /// Whether nothing was measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.throughput.is_empty()
            && self.starts.is_empty()
            && self.idle.is_empty()
            && self.slow.is_empty()
    }

    /// Prints the JSON document.
    pub(crate) fn print_json(&self) -> Result<()> {
        Ok(writeln!(io::stdout(), "{}", serde_json::to_string_pretty(self)?)?)
    }

    /// Prints the tables.
    pub(crate) fn print(&self) -> Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", self.conditions)?;
        if !self.throughput.is_empty() {
            writeln!(
                out,
                "\n{:<24} {:>10} {:>8} {:>8} {:>8} {:>8} {:>6}",
                "tools/call echo", "calls/s", "× ref", "CPU µs", "p50 ms", "p99 ms", "faults"
            )?;
        }
        for row in &self.throughput {
            let ratio = row.times_reference.map_or_else(|| "-".to_owned(), |it| format!("{it:.2}"));
            writeln!(
                out,
                "{:<24} {:>10.0} {ratio:>8} {:>8.1} {:>8.2} {:>8.2} {:>6}",
                row.name,
                row.requests_per_second,
                row.cpu_us_per_request,
                row.p50_ms,
                row.p99_ms,
                row.faults.len()
            )?;
            for fault in row.faults.iter().take(SHOWN_FAULTS) {
                writeln!(out, "    {fault}")?;
            }
        }
        if !self.starts.is_empty() {
            let heads = ["start to first call", "median ms", "min ms", "RSS MiB"];
            let [name, median, fastest, rss] = heads;
            writeln!(out, "\n{name:<24} {median:>10} {fastest:>8} {rss:>8}")?;
        }
        for Start { name, median_ms, fastest_ms, rss_idle_kib } in &self.starts {
            let rss = mib(*rss_idle_kib);
            writeln!(out, "{name:<24} {median_ms:>10.1} {fastest_ms:>8.1} {rss:>8.1}")?;
        }
        if !self.idle.is_empty() {
            let [name, each, rss] = ["silent streams", "KiB each", "RSS MiB"];
            writeln!(out, "\n{name:<24} {each:>10} {rss:>8}")?;
        }
        for Idle { name, kib_per_stream, rss_kib, fault, .. } in &self.idle {
            match fault {
                None => {
                    let rss = mib(*rss_kib);
                    writeln!(out, "{name:<24} {kib_per_stream:>10.1} {rss:>8.1}")?;
                }
                Some(fault) => writeln!(out, "{name:<24} failed: {fault}")?,
            }
        }
        self.print_slow(&mut out)
    }

    fn print_slow(&self, out: &mut impl io::Write) -> Result<()> {
        if !self.slow.is_empty() {
            writeln!(
                out,
                "\n{:<26} {:>16} {:>16} {:>18} {:>6} {:>8} {:>6}",
                format!("without, with {SOCKETS} slow"),
                "p50 ms",
                "p99 ms",
                "calls/s",
                "× p99",
                "RSS MiB",
                "faults"
            )?;
        }
        for row in &self.slow {
            let ([p50, p50_slow], [p99, p99_slow]) = (row.p50_ms, row.p99_ms);
            let [calls, calls_slow] = row.requests_per_second;
            writeln!(
                out,
                "{:<26} {p50:>8.2}{p50_slow:>8.2} {p99:>8.2}{p99_slow:>8.2} {calls:>9.0}\
                 {calls_slow:>9.0} {:>6.2} {:>8.1} {:>6}",
                row.name,
                row.times_p99,
                mib(row.rss_kib),
                row.faults.len()
            )?;
            for fault in row.faults.iter().take(SHOWN_FAULTS) {
                writeln!(out, "    {fault}")?;
            }
        }
        Ok(())
    }
}

/// Tells on standard error what is being measured.
pub(crate) fn progress(what: &str) {
    // Without a standard error nobody wants to know.
    writeln!(io::stderr(), "edge-bench: {what}").ok();
}

/// The middle of the figures, the upper one of two.
pub(crate) fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

fn mib(kib: u64) -> f64 {
    u32::try_from(kib).map_or(f64::INFINITY, |kib| f64::from(kib) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median(std::iter::empty()), None);
    }
}
