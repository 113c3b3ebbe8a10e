//! What clients were told, held against what the ledger says.
//!
//! - no call ran twice;
//! - one that was answered ran;
//! - one that was said not to have been dispatched never ran;
//! - every call came to an end;
//! - ids of events on a stream only rise, and nothing comes after the answer.

use std::collections::BTreeMap;

use crate::ledger::Line;

/// How a call ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// It was answered with its own result.
    Answered,
    /// An error said that no server saw it; the error's code.
    NotSent(i64),
    /// An error said that a server saw it, or that this is unknown; the error's code.
    MayHaveRun(i64),
    /// The connection, or the session, was gone, and nothing more was said.
    Broken(&'static str),
    /// It was neither answered nor did its stream break.
    Never,
}

impl End {
    /// By what an error of the gateway says of itself.
    pub fn of_error(error: &serde_json::Value) -> Self {
        let code = error.get("code").and_then(serde_json::Value::as_i64).unwrap_or_default();
        match error.pointer("/data/dispatched") {
            Some(serde_json::Value::Bool(false)) => Self::NotSent(code),
            _ => Self::MayHaveRun(code),
        }
    }
}

/// All that clients saw.
#[derive(Debug, Default)]
pub struct Log {
    /// Every call, and how it ended.
    pub calls: Vec<(String, End)>,
    /// What was out of order on streams, in words.
    pub disorder: Vec<String>,
}

impl Log {
    /// Takes in what another one saw.
    pub fn add(&mut self, other: Self) {
        self.calls.extend(other.calls);
        self.disorder.extend(other.disorder);
    }

    /// How many calls ended how.
    pub fn ends(&self) -> BTreeMap<End, usize> {
        let mut ends = BTreeMap::new();
        for (_, end) in &self.calls {
            let count: &mut usize = ends.entry(*end).or_default();
            *count = count.saturating_add(1);
        }
        ends
    }
}

/// Every broken promise, in words; none when all were kept.
pub fn check(log: &Log, ledger: &[Line]) -> Vec<String> {
    let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
    for line in ledger {
        let count = runs.entry(&line.uuid).or_default();
        *count = count.saturating_add(1);
    }
    let mut broken = log.disorder.clone();
    let twice = runs.iter().filter(|(_, count)| **count > 1);
    broken.extend(twice.map(|(uuid, count)| format!("{uuid} ran {count} times")));
    for (uuid, end) in &log.calls {
        let ran = runs.get(uuid.as_str()).copied().unwrap_or_default();
        match end {
            End::Answered if ran == 0 => broken.push(format!("{uuid} was answered and never ran")),
            End::NotSent(code) if ran > 0 => {
                broken.push(format!("{uuid} ran, and {code} said that it was not dispatched"));
            }
            End::Never => broken.push(format!("{uuid} came to no end (it ran {ran} times)")),
            End::Answered | End::NotSent(_) | End::MayHaveRun(_) | End::Broken(_) => {}
        }
    }
    // What tells most comes first.
    broken.sort_by_key(|it| !it.contains("came to no end") && !it.contains(" ran"));
    broken
}

/// The ids of events on the streams of one session.
#[derive(Debug, Default)]
pub struct Places(BTreeMap<String, u64>);

impl Places {
    /// Takes in the id of an event, `<stream>-<epoch>-<seq>`, maybe with the session's behind it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn see(&mut self, id: &str) -> Result<(), String> {
        let place = id.split('.').next().unwrap_or_default();
        let mut words = place.splitn(3, '-');
        let stream = words.next().unwrap_or_default();
        let seq = words.nth(1).and_then(|seq| seq.parse::<u64>().ok());
        let Some(seq) = seq else { return Err(format!("no event id: {place:?}")) };
        match self.0.insert(stream.to_owned(), seq) {
            Some(before) if before >= seq => {
                Err(format!("{place} came after {before} on stream {stream}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, same};

    fn lines(uuids: &[&str]) -> Vec<Line> {
        let line = |uuid: &&str| Line {
            uuid: (*uuid).to_owned(),
            pid: 1,
            client: "-".to_owned(),
            at_ms: 1,
        };
        uuids.iter().map(line).collect()
    }

    fn verdict(calls: &[(&str, End)], ran: &[&str]) -> Vec<String> {
        let calls = calls.iter().map(|(uuid, end)| ((*uuid).to_owned(), *end)).collect();
        check(&Log { calls, disorder: Vec::new() }, &lines(ran))
    }

    #[test]
    fn what_may_be_is_no_fault() -> Outcome {
        let calls = [
            ("ok", End::Answered),
            ("not", End::NotSent(-31004)),
            ("ran", End::MayHaveRun(-31002)),
            ("ran not", End::MayHaveRun(-31002)),
            ("broke", End::Broken("reset")),
            ("broke and ran", End::Broken("reset")),
        ];
        same("none", verdict(&calls, &["ok", "ran", "broke and ran"]), vec![])
    }

    #[test]
    fn every_broken_promise_is_seen() -> Outcome {
        for (calls, ran, said) in [
            (vec![("u", End::Answered)], vec!["u", "u"], "u ran 2 times"),
            (vec![], vec!["u", "u"], "u ran 2 times"),
            (vec![("u", End::Answered)], vec![], "u was answered and never ran"),
            (
                vec![("u", End::NotSent(-31001))],
                vec!["u"],
                "u ran, and -31001 said that it was not dispatched",
            ),
            (vec![("u", End::Never)], vec!["u"], "u came to no end (it ran 1 times)"),
        ] {
            same(said, verdict(&calls, &ran), vec![said.to_owned()])?;
        }
        Ok(())
    }

    #[test]
    fn ids_of_events_only_rise() -> Outcome {
        let mut places = Places::default();
        for id in ["0-abc-1.s", "0-abc-2.s", "1-abc-1", "0-abc-1000000003.s"] {
            same(id, places.see(id), Ok(()))?;
        }
        same("the same again", places.see("1-abc-1").is_err(), true)?;
        same("an older one", places.see("0-abc-2.s").is_err(), true)?;
        same("none", places.see("gone").is_err(), true)
    }
}
