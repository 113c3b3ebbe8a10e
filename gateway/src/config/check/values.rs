//! Single values out of a [`Section`]: texts, numbers, durations, sizes, choices and lists.

use std::time::Duration;

use super::super::tree::{Entry, Node, Value};
use super::form::Form;
use super::report::Report;
use super::section::{Section, suggestion};

/// A bare number of seconds this large was meant as milliseconds.
const SUSPICIOUS_SECONDS: f64 = 10_000.0;

/// A bare number of milliseconds this small was meant as seconds.
const SUSPICIOUS_MILLISECONDS: f64 = 60_000.0;

/// A setting with its text after `${VAR}` was replaced. Messages show `entry`, never `text`,
/// which may hold a secret from the environment.
pub(super) struct Given<'t> {
    pub(super) entry: &'t Entry,
    pub(super) text: String,
}

/// The unit of a duration that is a bare number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Bare {
    Seconds,
    Milliseconds,
    /// Milliseconds where other settings have seconds, so that a small number is doubtful.
    OddMilliseconds,
}

impl<'t> Section<'_, 't> {
    /// A single value as text.
    pub(super) fn text(
        &mut self,
        name: &'static str,
        aliases: &[&'static str],
    ) -> Option<Given<'t>> {
        self.single(name, aliases, Form::Text)
    }

    fn single(
        &mut self,
        name: &'static str,
        aliases: &[&'static str],
        form: Form,
    ) -> Option<Given<'t>> {
        let entry = self.take(name, aliases, form)?;
        let text = scalar(self.report, &entry.node, &entry.key)?;
        Some(Given { entry, text })
    }

    /// A whole number greater than zero.
    pub(super) fn count(&mut self, name: &'static str, aliases: &[&'static str], into: &mut usize) {
        let Some(given) = self.single(name, aliases, Form::Count) else { return };
        match given.text.parse::<usize>() {
            Ok(count) if count > 0 && u32::try_from(count).is_ok() => *into = count,
            Ok(_) | Err(_) => self.refuse(given.entry, "a whole number greater than zero"),
        }
    }

    /// A whole number, which may be zero.
    pub(super) fn whole(&mut self, name: &'static str) -> Option<u32> {
        let given = self.single(name, &[], Form::Whole)?;
        let number = given.text.parse().ok();
        if number.is_none() {
            self.refuse(given.entry, "a whole number");
        }
        number
    }

    /// A TCP port; 0 stands for any free one.
    pub(super) fn port(&mut self, name: &'static str, into: &mut u16) {
        let Some(given) = self.single(name, &[], Form::Port) else { return };
        match given.text.parse() {
            Ok(port) => *into = port,
            Err(_) => self.refuse(given.entry, "a port from 1 to 65535, or 0 for any free one"),
        }
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &'static str, aliases: &[&'static str], into: &mut bool) {
        let Some(given) = self.single(name, aliases, Form::Flag) else { return };
        match given.text.to_ascii_lowercase().as_str() {
            "true" => *into = true,
            "false" => *into = false,
            _ => self.refuse(given.entry, "true or false"),
        }
    }

    /// A number of bytes, such as `4MiB` or 4194304.
    pub(super) fn bytes(&mut self, name: &'static str, into: &mut usize) {
        let Some(given) = self.single(name, &[], Form::Bytes) else { return };
        match parse_bytes(&given.text) {
            Some(bytes) if bytes > 0 => *into = bytes,
            Some(_) | None => {
                self.refuse(given.entry, "a size greater than zero such as \"4MiB\" or 4194304");
            }
        }
    }

    /// A time such as `"15m"`, a number of seconds, or `{name}_ms` in milliseconds.
    pub(super) fn duration(
        &mut self,
        names: (&'static str, &'static str),
        aliases: &[&'static str],
        into: &mut Duration,
    ) {
        if let Some((given, bare)) = self.given_time(names, aliases, Form::Time) {
            self.time(&given, bare, into);
        }
    }

    /// As [`duration`](Self::duration), or `never`.
    pub(super) fn duration_or_never(
        &mut self,
        names: (&'static str, &'static str),
        into: &mut Option<Duration>,
    ) {
        let given = self.given_time(names, &[], Form::TimeOrNever);
        match given {
            Some((given, _)) if given.text.eq_ignore_ascii_case("never") => *into = None,
            Some((given, _)) if given.text.parse() == Ok(0.0_f64) => {
                self.refuse(given.entry, "a time greater than zero such as \"15m\", or \"never\"");
            }
            Some((given, bare)) => {
                let mut time = into.unwrap_or_default();
                self.time(&given, bare, &mut time);
                *into = Some(time);
            }
            None => {}
        }
    }

    /// A time under one of its two names, and the unit of a bare number there.
    fn given_time(
        &mut self,
        names: (&'static str, &'static str),
        aliases: &[&'static str],
        form: Form,
    ) -> Option<(Given<'t>, Bare)> {
        let plain = self.single(names.0, aliases, form);
        let exact = self.single(names.1, &[], Form::Time);
        if let Some(exact) = &exact {
            self.report.note(&self.path(names.0), exact.entry.at);
        }
        if let (Some(plain), Some(exact)) = (&plain, &exact) {
            let (key, other) = (&exact.entry.key, &plain.entry.key);
            let what = format!("`{key}` and `{other}` are the same setting; keep one");
            self.report.fault(exact.entry.at, what);
        }
        let plain = plain.map(|given| (given, Bare::Seconds));
        plain.or(exact.map(|given| (given, Bare::Milliseconds)))
    }

    /// A time whose bare number is milliseconds where other settings have seconds.
    pub(super) fn odd_duration(&mut self, name: &'static str, into: &mut Duration) {
        if let Some(given) = self.single(name, &[], Form::Time) {
            self.time(&given, Bare::OddMilliseconds, into);
        }
    }

    /// A time whose bare number has the unit `bare`.
    fn time(&self, given: &Given<'_>, bare: Bare, into: &mut Duration) {
        let entry = given.entry;
        let Some(time) = parse_time(&given.text, bare).filter(|time| !time.is_zero()) else {
            return self.refuse(entry, "a time greater than zero such as \"60s\" or \"15m\"");
        };
        let number = given.text.parse::<f64>().ok();
        let (unit, doubtful) = match bare {
            Bare::Seconds => ("seconds", number.is_some_and(|n| n >= SUSPICIOUS_SECONDS)),
            Bare::Milliseconds => ("milliseconds", false),
            Bare::OddMilliseconds => {
                ("milliseconds", number.is_some_and(|n| n < SUSPICIOUS_MILLISECONDS))
            }
        };
        if doubtful {
            let (key, shown) = (&entry.key, entry.node.shown().replace('"', ""));
            let what = format!("`{key}`: a bare number is {unit}, so {shown} means {time:?}");
            let remedy = format!("write \"{shown}s\" or \"{shown}ms\"");
            return self.report.fault(entry.node.at, format!("{what}; {remedy}"));
        }
        *into = time;
    }

    /// One word of several, in any case.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        aliases: &[&'static str],
        words: &[(&'static str, T)],
    ) -> Option<(T, &'t Entry)> {
        let form = Form::Choice(words.iter().map(|(word, _)| *word).collect());
        let given = self.single(name, aliases, form)?;
        let word = given.text.to_ascii_lowercase().replace('-', "_");
        if let Some((_, value)) = words.iter().find(|(known, _)| *known == word) {
            return Some((*value, given.entry));
        }
        // Other spellings of a value are understood, and not advertised.
        let other = |index, value| words.iter().take(index).any(|(_, earlier)| *earlier == value);
        let all = words.iter().enumerate().filter(|(index, (_, value))| !other(*index, *value));
        let all: Vec<&str> = all.map(|(_, (word, _))| *word).collect();
        let (key, shown) = (&given.entry.key, given.entry.node.shown());
        let near = suggestion(&word, all.iter().copied());
        let what = format!("`{key}` must be one of {}, not {shown}{near}", all.join(", "));
        self.report.fault(given.entry.node.at, what);
        None
    }

    /// A list of texts, or one text alone. Each comes with the node it stands in.
    pub(super) fn texts(
        &mut self,
        name: &'static str,
        aliases: &[&'static str],
    ) -> Vec<(String, &'t Node)> {
        self.take(name, aliases, Form::Texts)
            .map_or_else(Vec::new, |entry| texts(self.report, entry))
    }

    /// Says what a setting must be.
    pub(super) fn refuse(&self, entry: &Entry, expected: &str) {
        let (key, shown) = (&entry.key, entry.node.shown());
        self.report.fault(entry.node.at, format!("`{key}` must be {expected}, not {shown}"));
    }
}

/// The items of a list as texts, or one text alone.
pub(super) fn texts<'t>(report: &Report<'_>, entry: &'t Entry) -> Vec<(String, &'t Node)> {
    let one = |node: &'t Node| scalar(report, node, &entry.key).map(|text| (text, node));
    match &entry.node.value {
        Value::List(items) => items.iter().filter_map(one).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
            one(&entry.node).into_iter().collect()
        }
    }
}

/// One value as text with its variables replaced; `key` names it in messages.
pub(super) fn scalar(report: &Report<'_>, node: &Node, key: &str) -> Option<String> {
    match &node.value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(text) => Some(text.clone()),
        Value::Text(text) => report.expand(text, node.at),
        Value::Null | Value::List(_) | Value::Map(_) => {
            let shown = node.shown();
            report.fault(node.at, format!("`{key}` must be a single value, not {shown}"));
            None
        }
    }
}

/// Notes that a value is not to be shown when a variable is part of it.
pub(super) fn veil(report: &Report<'_>, node: &Node, path: &str) {
    if let Value::Text(text) = &node.value {
        veil_text(report, text, path);
    }
}

/// As [`veil`], for text out of a longer value.
pub(super) fn veil_text(report: &Report<'_>, text: &str, path: &str) {
    if text.contains("${") {
        report.veil(path);
    }
}

pub(in crate::config) fn parse_time(text: &str, bare: Bare) -> Option<Duration> {
    match (text.parse::<f64>(), bare) {
        (Ok(seconds), Bare::Seconds) => Duration::try_from_secs_f64(seconds).ok(),
        (Ok(millis), Bare::Milliseconds | Bare::OddMilliseconds) => {
            Duration::try_from_secs_f64(millis / 1000.0).ok()
        }
        (Err(_), _) => humantime::parse_duration(text).ok(),
    }
}

fn parse_bytes(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let scale: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(scale)
}
