//! What a probe prints: a line with the time for people, or one JSON object a line.

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::super::print;
use crate::config::Environment;
use crate::telemetry;

/// Prints what happens, as it happens.
#[derive(Debug)]
pub(super) struct Report {
    begun: Instant,
    is_json: bool,
    is_coloured: bool,
    is_followed: AtomicBool,
}

impl Report {
    /// Times count from here on.
    pub(super) fn new(is_json: bool) -> Self {
        let is_coloured = io::stdout().is_terminal() && telemetry::colour(&Environment);
        let is_followed = AtomicBool::new(false);
        Self { begun: Instant::now(), is_json, is_coloured, is_followed }
    }

    /// All that was asked for was done, and what comes is shown until somebody ends it.
    pub(super) fn follow(&self) {
        self.is_followed.store(true, Ordering::Relaxed);
    }

    /// Whether it was done.
    pub(super) fn is_followed(&self) -> bool {
        self.is_followed.load(Ordering::Relaxed)
    }

    /// How long it has been going on.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Something happened: `what` in one word, the rest in `text`; with JSON, the facts instead.
    pub(super) fn say(&self, what: &str, text: &str, facts: Value) {
        let seconds = self.elapsed().as_secs_f64();
        if self.is_json {
            let mut line = Map::new();
            line.insert("seconds".to_owned(), json!((seconds * 1e6).round() / 1e6));
            line.insert("what".to_owned(), json!(what));
            if let Value::Object(facts) = facts {
                line.extend(facts);
            }
            print::line(&Value::Object(line).to_string());
            return;
        }
        let (dim, bold, end) =
            if self.is_coloured { ("\u{1b}[2m", "\u{1b}[1m", "\u{1b}[0m") } else { ("", "", "") };
        let mut lines = text.lines();
        let first = print::escaped(lines.next().unwrap_or_default());
        print::line(format!("{dim}{seconds:9.3}{end}  {bold}{what:<9}{end} {first}").trim_end());
        lines.for_each(|line| {
            print::line(format!("{:21} {}", "", print::escaped(line)).trim_end());
        });
    }

    /// It did not work.
    pub(super) fn fault(&self, fault: &str) {
        if self.is_json {
            self.say("fault", fault, json!({"fault": fault}));
        } else {
            fault.lines().for_each(|line| print::error(&print::escaped(line)));
        }
    }
}
