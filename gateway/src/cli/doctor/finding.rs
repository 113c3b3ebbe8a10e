//! One thing that was found, and the report of all.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::print;
use crate::config::Environment;
use crate::config::limits::command::FINDING_CHARACTERS;
use crate::telemetry;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Not looked at, for a reason.
    Skipped,
    /// It works, and will not always.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was found.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// The part it belongs to: `redis`, `server`, `front`.
    pub(super) part: &'static str,
    /// What was looked at in that part.
    pub(super) subject: String,
    /// What is the case.
    pub(super) told: String,
    /// What helps; none when nothing has to.
    pub(super) fix: Option<String>,
}

impl Finding {
    fn new(level: Level, part: &'static str, subject: impl Into<String>) -> Self {
        Self { level, part, subject: subject.into(), told: String::new(), fix: None }
    }

    pub(super) fn ok(
        part: &'static str,
        subject: impl Into<String>,
        told: impl Into<String>,
    ) -> Self {
        Self { told: told.into(), ..Self::new(Level::Ok, part, subject) }
    }

    pub(super) fn skipped(
        part: &'static str,
        subject: impl Into<String>,
        told: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let new = Self::new(Level::Skipped, part, subject);
        Self { told: told.into(), fix: Some(fix.into()), ..new }
    }

    pub(super) fn warn(
        part: &'static str,
        subject: impl Into<String>,
        told: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let new = Self::new(Level::Warn, part, subject);
        Self { told: told.into(), fix: Some(fix.into()), ..new }
    }

    pub(super) fn fail(
        part: &'static str,
        subject: impl Into<String>,
        told: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let new = Self::new(Level::Fail, part, subject);
        Self { told: told.into(), fix: Some(fix.into()), ..new }
    }

    /// A fault whose sentence says what helps, after its last semicolon but those of the reason.
    pub(super) fn of_fault(part: &'static str, subject: impl Into<String>, fault: &str) -> Self {
        let (told, fix) = fault.split_once("; ").unwrap_or((fault, "see the log of the gateway"));
        Self::fail(part, subject, told, fix)
    }
}

/// All that was found; each is printed at once, unless it is to be JSON.
#[derive(Debug)]
pub(super) struct Findings {
    is_json: bool,
    is_coloured: bool,
    all: Vec<Finding>,
}

impl Findings {
    pub(super) fn new(is_json: bool) -> Self {
        let is_coloured = io::stdout().is_terminal() && telemetry::colour(&Environment);
        Self { is_json, is_coloured, all: Vec::new() }
    }

    /// Takes findings in.
    pub(super) fn note(&mut self, found: impl IntoIterator<Item = Finding>) {
        for finding in found {
            if !self.is_json {
                print::line(&line(&finding, self.is_coloured));
            }
            self.all.push(finding);
        }
    }

    /// Ends the report.
    pub(super) fn conclude(&self) -> ExitCode {
        let count = |level| self.all.iter().filter(|it| it.level == level).count();
        let (ok, warn, fail) = (count(Level::Ok), count(Level::Warn), count(Level::Fail));
        if self.is_json {
            let findings: Vec<Value> = self.all.iter().map(document).collect();
            let whole = json!({"findings": findings, "ok": ok, "warn": warn, "fail": fail});
            print::line(&format!("{whole:#}"));
        } else {
            print::line(&format!("\n{ok} ok, {warn} warnings, {fail} failed"));
        }
        if fail == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn document(finding: &Finding) -> Value {
    json!({
        "level": word(finding.level),
        "part": finding.part,
        "subject": print::cut(&finding.subject, FINDING_CHARACTERS),
        "told": print::cut(&finding.told, FINDING_CHARACTERS),
        "fix": finding.fix,
    })
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Skipped => "skipped",
        Level::Warn => "warn",
        Level::Fail => "fail",
    }
}

fn line(finding: &Finding, is_coloured: bool) -> String {
    let Finding { level, part, subject, told, fix } = finding;
    let (begin, end) = match (is_coloured, level) {
        (false, _) => ("", ""),
        (true, Level::Ok) => ("\u{1b}[32m", "\u{1b}[0m"),
        (true, Level::Skipped) => ("\u{1b}[2m", "\u{1b}[0m"),
        (true, Level::Warn) => ("\u{1b}[33m", "\u{1b}[0m"),
        (true, Level::Fail) => ("\u{1b}[31m", "\u{1b}[0m"),
    };
    // Servers, proxies and certificates have a say in them.
    let [subject, told] = [subject, told].map(|text| print::cut(text, FINDING_CHARACTERS));
    let mut text = format!("{begin}{:<7}{end} {part} {subject}: {told}", word(*level));
    if let Some(fix) = fix {
        let fix = print::cut(fix, FINDING_CHARACTERS);
        text = format!("{text}\n        fix: {fix}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_fix_another() {
        let warned = Finding::warn("redis", "eviction", "it throws away", "noeviction");
        let plain = "warn    redis eviction: it throws away\n        fix: noeviction";
        assert_eq!(line(&warned, false), plain);
        assert!(line(&warned, true).starts_with("\u{1b}[33mwarn   \u{1b}[0m redis"));
        let fault = Finding::of_fault("front", "tls", "it ended; renew it; now");
        assert_eq!(
            (fault.told.as_str(), fault.fix.as_deref()),
            ("it ended", Some("renew it; now"))
        );
    }

    #[test]
    fn nobody_else_writes_a_finding() {
        let told = "x\u{1b}[2J\nok      front TLS: fine".to_owned() + &"a".repeat(5_000);
        let forged = line(&Finding::ok("server", "a\rb", told), false);
        assert_eq!(forged.lines().count(), 1);
        assert!(!forged.contains(['\u{1b}', '\r']), "{forged}");
        assert!(forged.len() < 1_200, "{}", forged.len());
    }

    #[test]
    fn only_a_failure_fails() {
        let mut findings = Findings::new(true);
        findings.note([
            Finding::ok("a", "b", "c"),
            Finding::warn("a", "b", "c", "d"),
            Finding::skipped("a", "b", "c", "d"),
        ]);
        assert_eq!(findings.conclude(), ExitCode::SUCCESS);
        findings.note([Finding::fail("a", "b", "c", "d")]);
        assert_eq!(findings.conclude(), ExitCode::FAILURE);
    }
}
