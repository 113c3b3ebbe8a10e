//! A server that is one or more URLs, its headers, and the settings of balancing and health.

use std::collections::BTreeMap;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};

use super::super::super::tree::{At, Entry, Node, Value};
use super::super::super::{HttpConfig, Secret, ServerKind};
use super::super::form::Form;
use super::super::report::Report;
use super::super::section::{Section, snake};
use super::super::url::{self, Shape};
use super::super::values::{scalar, veil};

/// Headers that the gateway sets itself.
const OWN_HEADERS: &[&str] = &[
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
];

/// A configuration without any instance, to be filled.
pub(super) fn none() -> HttpConfig {
    HttpConfig { instances: Vec::new(), headers: BTreeMap::new() }
}

/// Reads the settings of a server that has URLs; `expected` is what they must lead to.
pub(super) fn check(section: &mut Section<'_, '_>, at: At, expected: Shape) -> Option<ServerKind> {
    let one = section.take("url", &["http_url", "server_url", "endpoint"], Form::Text);
    let several = section.take("instances", &[], Form::Instances);
    let mut http = none();
    match (one, several) {
        (Some(one), None) => {
            let path = section.path("instances");
            section.report.note(&path, one.at);
            http.instances.extend(url_of(section.report, &one.node, (&path, 0), expected));
        }
        (None, Some(several)) => http.instances = instances(section, several, expected),
        (Some(one), Some(several)) => {
            let (a, b) = (&one.key, &several.key);
            let what = format!("this server has both `{a}` and `{b}`; keep one");
            section.report.fault(one.at.max(several.at), what);
        }
        (None, None) => section.report.fault(at, "this server needs a `url` or `instances`"),
    }
    if let Some(entry) = section.take("headers", &[], Form::Map) {
        http.headers = headers(section, entry);
    }
    balancing(section);
    if http.instances.is_empty() {
        return None;
    }
    Some(match expected {
        Shape::Http => ServerKind::Http(http),
        Shape::Sse => ServerKind::Sse(http),
        Shape::Ws => ServerKind::WebSocket(http),
    })
}

/// The first URL under `url` or `instances`, as it is written.
pub(super) fn first_url(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) => Some(text),
        Value::List(items) => first_url(items.first()?),
        Value::Map(members) => {
            let named = |entry: &&Entry| URLS.contains(&snake(&entry.key).as_str());
            first_url(&members.iter().find(named)?.node)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The names of the setting that holds a URL.
pub(super) const URLS: &[&str] = &["url", "http_url", "server_url", "endpoint"];

fn instances(section: &Section<'_, '_>, entry: &Entry, expected: Shape) -> Vec<String> {
    let (report, path) = (section.report, section.path("instances"));
    let Value::List(items) = &entry.node.value else {
        let shown = entry.node.shown();
        let what = format!("`{}` of a server with URLs must be a list of them", entry.key);
        report.fault(entry.node.at, format!("{what}, not {shown}"));
        return Vec::new();
    };
    if items.is_empty() {
        report.fault(entry.node.at, format!("`{}` is empty; list at least one URL", entry.key));
    }
    let one = |(index, item)| instance(report, item, (&path, index), expected);
    items.iter().enumerate().filter_map(one).collect()
}

fn instance(
    report: &Report<'_>,
    item: &Node,
    (path, index): (&str, usize),
    expected: Shape,
) -> Option<String> {
    if !matches!(item.value, Value::Map(_)) {
        return url_of(report, item, (path, index), expected);
    }
    let mut section = Section::of(report, item, (&format!("{path}[]."), "an instance"))?;
    let url = section.take("endpoint", &["url", "http_url", "server_url"], Form::Text);
    if let Some(entry) = section.take("command", &[], Form::Anything) {
        let what = "an instance of a server with URLs has no `command`; write it at the server";
        report.fault(entry.at, format!("{what}, with `pool_size` for the number of processes"));
    }
    for name in ["id", "name", "type", "transport", "status", "metadata"] {
        section.take(name, &[], Form::Anything);
    }
    let (heavy, mut weight) = (section.find("weight"), 1);
    section.count("weight", &[], &mut weight);
    if let Some(entry) = heavy.filter(|_| weight != 1) {
        report.warn(entry.at, "this version does not weigh instances");
    }
    section.finish(&[], "");
    let Some(url) = url else {
        report.fault(item.at, "this instance has no `endpoint`");
        return None;
    };
    url_of(report, &url.node, (path, index), expected)
}

fn url_of(
    report: &Report<'_>,
    node: &Node,
    (path, index): (&str, usize),
    expected: Shape,
) -> Option<String> {
    let text = scalar(report, node, "url")?;
    veil(report, node, &format!("{path}[{index}]"));
    let (shape, mut url) = match url::endpoint(&text) {
        Ok(read) => read,
        Err(fault) => {
            report.fault(node.at, fault);
            return None;
        }
    };
    if (expected == Shape::Ws) != (shape == Shape::Ws) {
        let scheme = if expected == Shape::Ws { "ws or wss" } else { "http or https" };
        report.fault(node.at, format!("the URL of this kind of server begins with {scheme}"));
    }
    if expected == Shape::Sse && url != text {
        // Without a path, such servers answer at `/sse`.
        url = format!("{text}/sse");
    }
    Some(url)
}

fn headers(section: &Section<'_, '_>, entry: &Entry) -> BTreeMap<String, Secret> {
    let report = section.report;
    let Value::Map(members) = &entry.node.value else {
        let shown = entry.node.shown();
        let what = format!("`{}` must be a map from name to value, not {shown}", entry.key);
        report.fault(entry.node.at, what);
        return BTreeMap::new();
    };
    let mut headers = BTreeMap::new();
    for Entry { key, at, node } in members {
        let name = key.to_ascii_lowercase();
        report.note(&section.path(&format!("headers.{name}")), *at);
        let value = scalar(report, node, key);
        if HeaderName::try_from(&name).is_err() {
            report.fault(*at, format!("`{key}` is not the name of a header"));
        } else if OWN_HEADERS.contains(&name.as_str()) {
            report.fault(*at, format!("the gateway sets `{key}` itself; remove it"));
        } else if let Some(value) = value {
            if HeaderValue::from_str(&value).is_err() {
                let what = format!("the value of `{key}` holds characters that no header may have");
                report.fault(node.at, format!("{what}, such as a line break"));
            }
            if headers.insert(name, Secret::new(value)).is_some() {
                report.fault(*at, format!("`{key}` is set twice, in different case; keep one"));
            }
        }
    }
    headers
}

/// Ways to spread calls over instances.
pub(in crate::config) const STRATEGIES: [&str; 5] =
    ["round_robin", "random", "weighted", "least_connections", "health_based"];

/// How calls are spread and instances are watched: checked here, applied by a later version.
fn balancing(section: &mut Section<'_, '_>) {
    let report = section.report;
    strategy(section, "load_balancing", &[]);
    if let Some(entry) = section.take("load_balancer", &[], Form::Section) {
        if let Some(mut inner) = section.within("load_balancer", entry) {
            let mut time = Duration::ZERO;
            strategy(&mut inner, "strategy", &[]);
            let names = ("health_check_interval", "health_check_interval_ms");
            inner.duration(names, &[], &mut time);
            inner.duration(("timeout", "timeout_ms"), &[], &mut time);
            inner.whole("max_retries");
            inner.count("pool_size", &[], &mut 0);
            inner.finish(&[], "");
        }
        let what = "this version applies nothing of `load_balancer` but the round_robin strategy";
        report.warn(entry.at, what);
    }
    let interval = section.find("health_check_interval");
    let names = ("health_check_interval", "health_check_interval_ms");
    let mut time = Duration::ZERO;
    section.duration(names, &[], &mut time);
    if let Some(entry) = interval {
        report.warn(entry.at, NO_HEALTH_CHECKS);
    }
    if let Some(entry) = section.take("health_check", &[], Form::Health) {
        health_check(section, entry);
    }
}

fn strategy(section: &mut Section<'_, '_>, name: &'static str, aliases: &[&'static str]) {
    let words = STRATEGIES.map(|name| (name, name));
    let chosen = section.choice(name, aliases, &words);
    if let Some((_, entry)) = chosen.filter(|(name, _)| *name != "round_robin") {
        let what = "this version spreads calls in turn (round_robin), whatever is written here";
        section.report.warn(entry.at, what);
    }
}

const NO_HEALTH_CHECKS: &str = "this version does not check the health of servers on its own";

fn health_check(section: &Section<'_, '_>, entry: &Entry) {
    let report = section.report;
    match &entry.node.value {
        Value::Bool(false) => return,
        Value::Text(path) if !path.starts_with('/') => {
            let what = "`health_check` must be a path such as \"/health\"";
            report.fault(entry.node.at, format!("{what}, not {}", entry.node.shown()));
        }
        Value::Map(_) => {
            if let Some(mut section) = section.within("health_check", entry) {
                let (mut enabled, mut time) = (true, Duration::ZERO);
                section.flag("enabled", &[], &mut enabled);
                section.text("path", &["endpoint"]);
                section.duration(("interval", "interval_ms"), &[], &mut time);
                section.duration(("timeout", "timeout_ms"), &[], &mut time);
                section.finish(&[], "");
            }
        }
        Value::Bool(true) | Value::Text(_) => {}
        Value::Null | Value::Number(_) | Value::List(_) => {
            let what = "`health_check` must be a path such as \"/health\"";
            report.fault(entry.node.at, format!("{what}, not {}", entry.node.shown()));
        }
    }
    report.warn(entry.at, NO_HEALTH_CHECKS);
}
