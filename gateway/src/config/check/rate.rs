//! `rate_limit`: how many messages a client may send.

use super::super::tree::{At, Entry, Value};
use super::super::{CallerBy, Config, Rate, RateLimit, ToolRate};
use super::edge;
use super::form::Form;
use super::report::Report;
use super::section::{Section, suggestion};
use crate::config::limits::rate::{REFILL_MAX, TOOL_RULES};

/// The names of a rate's settings: how many, in which time (also in milliseconds), and at once.
struct Names {
    max: &'static str,
    window: (&'static str, &'static str),
    burst: &'static str,
}

const PLAIN: Names = Names { max: "max", window: ("window", "window_ms"), burst: "burst" };
const ADDRESS: Names = Names {
    max: "address_max",
    window: ("address_window", "address_window_ms"),
    burst: "address_burst",
};

/// Reads the section. Who writes it wants it, unless it says otherwise.
pub(super) fn check(mut section: Section<'_, '_>, limit: &mut RateLimit) {
    limit.enabled = true;
    section.flag("enabled", &[], &mut limit.enabled);
    let words = [("address", CallerBy::Address), ("credential", CallerBy::Credential)];
    if let Some((by, _)) = section.choice("by", &[], &words) {
        limit.by = by;
    }
    rate(&mut section, &PLAIN, &mut limit.caller);
    rate(&mut section, &ADDRESS, &mut limit.address);
    for (text, node) in section.texts("exempt", &[]) {
        match edge::proxy(&text) {
            Ok(host) => limit.exempt.push(host),
            Err(fault) => section.report.fault(node.at, format!("{fault}, not {}", node.shown())),
        }
    }
    if let Some(entry) = section.take("tools", &[], Form::Rates) {
        tools(&section, entry, limit);
    }
    section.finish(&[], "");
}

/// Reads a rate into one that holds the defaults. A burst that is not written is all of it.
fn rate(section: &mut Section<'_, '_>, names: &Names, into: &mut Rate) {
    let at = [names.max, names.window.0, names.burst].map(|name| section.find(name));
    let at = at.into_iter().flatten().map(|entry| entry.at).min();
    let is_max_written = section.find(names.max).is_some();
    let (mut max, mut burst) = (0, 0);
    section.count(names.max, &[], &mut max);
    section.duration(names.window, &[], &mut into.window);
    section.count(names.burst, &[], &mut burst);
    let known = |count: usize| u32::try_from(count).ok().filter(|count| *count > 0);
    into.max = known(max).unwrap_or(into.max);
    let without = if is_max_written { into.max } else { into.burst };
    into.burst = known(burst).unwrap_or(without);
    let Some(at) = at else { return };
    let (window_us, max) = (into.window.as_micros(), u128::from(into.max));
    let refill_us = window_us.saturating_mul(u128::from(into.burst)).checked_div(max);
    if refill_us.is_none_or(|it| it > REFILL_MAX.as_micros()) {
        let what = format!("`{}` would take longer than a year to come back", names.burst);
        section.report.fault(at, format!("{what}; write a shorter `{}`", names.window.0));
    }
    if max > window_us {
        let what = format!("`{}` is more than one in each microsecond", names.max);
        section.report.fault(at, format!("{what}; leave the limit out"));
    }
}

fn tools(section: &Section<'_, '_>, entry: &Entry, limit: &mut RateLimit) {
    let report = section.report;
    let Value::Map(rules) = &entry.node.value else {
        let (key, shown) = (&entry.key, entry.node.shown());
        let what = format!("`{key}` must be a map from \"server/tool\" to a limit, not {shown}");
        return report.fault(entry.node.at, what);
    };
    if rules.len() > TOOL_RULES {
        report.fault(entry.at, format!("there are more than {TOOL_RULES} rules; use `*`"));
    }
    for rule in rules {
        let pattern = &rule.key;
        if let Some(fault) = pattern_fault(pattern) {
            report.fault(rule.at, format!("`{pattern}` {fault}; write \"server/tool\""));
        }
        let prefix = section.path(&format!("tools.{pattern}."));
        let what = format!("`{pattern}`");
        let Some(mut inner) = Section::of(report, &rule.node, (&prefix, &what)) else { continue };
        let is_whole = inner.find(PLAIN.max).is_some();
        if !is_whole {
            report.fault(rule.at, format!("`{pattern}` has no `max`"));
        }
        let mut own = limit.caller;
        rate(&mut inner, &PLAIN, &mut own);
        inner.finish(&[], "");
        limit.tools.push(ToolRate { pattern: pattern.clone(), rate: own });
    }
}

fn pattern_fault(pattern: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_graphic() && !"{}\"\\".contains(c);
    match pattern.split_once('/') {
        None => Some("names a server or a tool only"),
        Some((server, tool)) if server.is_empty() || tool.is_empty() => Some("lacks a part"),
        Some(_) if !pattern.chars().all(plain) => Some("has characters that no name has"),
        Some(_) => None,
    }
}

/// A rule for a server that there is not limits nothing.
pub(super) fn check_servers(report: &Report<'_>, at: At, config: &Config) {
    let known = || config.servers.iter().map(|it| it.id.as_str());
    for rule in &config.rate_limit.tools {
        let server = rule.pattern.split('/').next().unwrap_or_default();
        if !server.contains('*') && !known().any(|id| id == server) {
            let near = suggestion(server, known());
            let pattern = &rule.pattern;
            report.warn(at, format!("no server is called as `{pattern}` has it{near}"));
        }
    }
}
