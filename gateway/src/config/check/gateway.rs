//! The settings of the gateway itself: everything in a file but its servers.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::super::redis::RedisDraft;
use super::super::tree::{At, Value};
use super::super::{Config, Cors, Limits, LogFormat, Naming, Secret, SessionConfig};
use super::edge;
use super::form::Form;
use super::rate;
use super::section::{Section, suggestion};
use super::{tracing, url};
use crate::config::limits::session::SECRET_BYTES;

/// The settings read so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) host: Option<At>,
    pub(super) auth_none: bool,
    pub(super) redis: RedisDraft,
}

/// Reads every setting of the gateway out of the top level (and `gateway`).
pub(super) fn check(top: &mut Section<'_, '_>, draft: &mut Draft) {
    for name in ["$schema", "inputs"] {
        let entry = top.take(name, &[], Form::Anything);
        if let Some(entry) = entry.filter(|_| name == "inputs") {
            let what = "`inputs` are questions of an editor; write `${VAR}` for such a value";
            top.report.warn(entry.at, what);
        }
    }
    listeners(top, draft);
    let config = &mut draft.config;
    logging(top, config);
    if let Some(given) = top.text("public_prefix", &["base_path"]) {
        match prefix(&given.text) {
            Some(prefix) => config.public_prefix = prefix,
            None => top.refuse(given.entry, "a path such as \"/edge\""),
        }
    }
    edge::hosts(top, config);
    edge::proxies(top, config);
    let words = [("auto", Naming::Auto), ("always", Naming::Always), ("never", Naming::Never)];
    if let Some((naming, _)) = top.choice("naming", &[], &words) {
        config.naming = naming;
    }
    if let Some(section) = top.section("cors", &[]) {
        cors(section, &mut config.cors);
    }
    if let Some(section) = top.section("session", &["sessions"]) {
        session(section, &mut config.session);
    }
    if let Some(section) = top.section("redis", &[]) {
        redis(section, &mut draft.redis);
    }
    if let Some(given) = top.text("advertise_url", &[]) {
        match url::replica(&given.text) {
            Ok(url) => config.advertise_url = Some(url),
            Err(fault) => top.report.fault(given.entry.node.at, format!("`advertise_url` {fault}")),
        }
    }
    if let Some(section) = top.section("rate_limit", &[]) {
        rate::check(section, &mut config.rate_limit);
    }
    if let Some(section) = top.section("tracing", &[]) {
        tracing::check(section, &mut config.tracing);
    }
    if let Some(section) = top.section("limits", &[]) {
        limits(section, &mut config.limits);
    }
    top.flag("reload", &["reload_registry"], &mut config.reload);
    later(top);
}

fn listeners(top: &mut Section<'_, '_>, draft: &mut Draft) {
    if let Some(given) = top.text("host", &[]) {
        draft.host = Some(given.entry.node.at);
        match host(&given.text) {
            Some(host) => draft.config.listen.host = host,
            None => top.refuse(given.entry, HOST),
        }
    }
    top.port("port", &mut draft.config.listen.port);
    top.port("admin_port", &mut draft.config.admin_port);
    if let Some(given) = top.text("auth", &[]) {
        draft.auth_none = given.text.eq_ignore_ascii_case("none");
        if !draft.auth_none {
            top.refuse(given.entry, "`none`: this version has no other authentication");
        }
    }
}

fn logging(top: &mut Section<'_, '_>, config: &mut Config) {
    if let Some(given) = top.text("log_level", &[]) {
        match level(&given.text) {
            Ok(level) => config.log.level = level,
            Err(expected) => top.refuse(given.entry, &expected),
        }
    }
    let words = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    if let Some((format, _)) = top.choice("log_format", &[], &words) {
        config.log.format = format;
    }
}

fn cors(mut section: Section<'_, '_>, cors: &mut Cors) {
    section.flag("enabled", &[], &mut cors.enabled);
    let mut star = None;
    for (text, node) in section.texts("origins", &["origin", "allowed_origins"]) {
        if text == "*" {
            (cors.any_origin, star) = (true, Some(node.at));
            continue;
        }
        match url::origin(&text) {
            Ok(origin) => cors.origins.push(origin),
            Err(fault) => section.report.fault(node.at, fault),
        }
    }
    section.flag("credentials", &["allow_credentials"], &mut cors.credentials);
    if let Some(at) = star.filter(|_| cors.credentials) {
        let what = "`*` with `credentials` would let any web page act as its visitor";
        section.report.fault(at, format!("{what}; list the origins, or drop `credentials`"));
    }
    section.finish(&[], "");
}

fn session(mut section: Section<'_, '_>, session: &mut SessionConfig) {
    if let Some(given) = section.text("secret", &[]) {
        match secret_fault(&given.text) {
            Some(fault) => section.report.fault(given.entry.node.at, fault),
            None => session.secret = Some(Secret::new(given.text)),
        }
    }
    section.duration(("idle_timeout", "idle_timeout_ms"), &[], &mut session.idle_timeout);
    section.duration(("resume_window", "resume_window_ms"), &[], &mut session.resume_window);
    section.odd_duration("max_age", &mut session.max_age);
    section.count("max_sessions", &[], &mut session.max_sessions);
    section.count("max_per_principal", &[], &mut session.max_per_principal);
    section.finish(&[], "");
}

fn redis(mut section: Section<'_, '_>, redis: &mut RedisDraft) {
    let report = section.report;
    if let Some(given) = section.text("url", &[]) {
        redis.url = Some((Secret::new(given.text), report.place(given.entry.node.at)));
    }
    let mut others = Vec::new();
    if let Some(given) = section.text("username", &["user"]) {
        redis.username = Some(given.text);
        others.push(given.entry.at);
    }
    if let Some(given) = section.text("password", &[]) {
        redis.password = Some(Secret::new(given.text));
        others.push(given.entry.at);
    }
    if let Some(given) = section.text("ca_file", &[]) {
        redis.ca_file = Some(PathBuf::from(given.text));
        others.push(given.entry.at);
    }
    redis.other = others.into_iter().min().map(|at| report.place(at));
    section.finish(&[], "");
}

fn limits(mut section: Section<'_, '_>, limits: &mut Limits) {
    section.bytes("body_bytes", &mut limits.body_bytes);
    section.bytes("line_bytes", &mut limits.line_bytes);
    section.count("json_depth", &[], &mut limits.json.depth);
    section.count("json_keys", &[], &mut limits.json.keys);
    section.count("connections", &[], &mut limits.connections);
    section.duration(("header_timeout", "header_timeout_ms"), &[], &mut limits.header_timeout);
    section.duration(("body_timeout", "body_timeout_ms"), &[], &mut limits.body_timeout);
    section.count("in_flight_per_session", &[], &mut limits.in_flight_per_session);
    section.count("replay_events", &[], &mut limits.replay_events);
    section.bytes("replay_bytes", &mut limits.replay_bytes);
    section.count("queue_events", &[], &mut limits.queue_events);
    section.bytes("queue_bytes", &mut limits.queue_bytes);
    section.count("processes", &["max_processes"], &mut limits.processes);
    section.finish(&[], "");
}

/// Settings whose types are checked, and that have no effect yet.
fn later(top: &mut Section<'_, '_>) {
    let report = top.report;
    let mut meta_tools = false;
    let at = top.peek("enable_meta_mcp");
    top.flag("enable_meta_mcp", &[], &mut meta_tools);
    if let Some(at) = at.filter(|_| meta_tools) {
        report.warn(at, "this version does not have the meta tools; every tool is listed itself");
    }
    let at = top.peek("health_check_interval");
    let mut interval = std::time::Duration::ZERO;
    let names = ("health_check_interval", "health_check_interval_ms");
    top.duration(names, &[], &mut interval);
    if let Some(at) = at {
        report.warn(at, "this version does not check servers on its own; calls show their state");
    }
}

/// What a host must be.
pub(in crate::config) const HOST: &str = "an IP address such as 127.0.0.1 or 0.0.0.0";

/// The address of a listener; `localhost` is 127.0.0.1.
pub(in crate::config) fn host(text: &str) -> Option<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// A log level in any case, also as other programs spell it, or a list of directives. The error
/// says what it must be.
pub(in crate::config) fn level(text: &str) -> Result<String, String> {
    let parts = text.split(',').map(|part| match part.rsplit_once('=') {
        Some((target, level)) => Ok(format!("{}={}", target.trim(), one_level(level)?)),
        None => one_level(part),
    });
    Ok(parts.collect::<Result<Vec<_>, String>>()?.join(","))
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

fn one_level(text: &str) -> Result<String, String> {
    let word = text.trim().to_ascii_lowercase();
    let word = match word.as_str() {
        "warning" => "warn",
        "critical" | "fatal" => "error",
        other => other,
    };
    if LEVELS.contains(&word) {
        return Ok(word.to_owned());
    }
    let near = suggestion(word, LEVELS.into_iter()).replace("; did you mean", ", perhaps");
    let near = near.trim_end_matches('?');
    Err(format!("one of {}{near}", LEVELS.join(", ")))
}

/// What is wrong with a session secret; the secret itself is never repeated.
pub(in crate::config) fn secret_fault(secret: &str) -> Option<String> {
    let remedy = "make one with `openssl rand -hex 32`, or leave it out: sessions in memory \
                  need none";
    if is_placeholder(secret) {
        return Some(format!("this secret is a placeholder that everybody knows; {remedy}"));
    }
    let short = format!("this secret is shorter than {SECRET_BYTES} bytes; {remedy}");
    (secret.len() < SECRET_BYTES).then_some(short)
}

/// Whether a secret was copied from an example: one character repeated, or words of examples.
pub(in crate::config) fn is_placeholder(secret: &str) -> bool {
    let plain: String = secret.chars().filter(char::is_ascii_alphanumeric).collect();
    let plain = plain.to_ascii_lowercase();
    let words = [
        "changethis",
        "changeme",
        "changeit",
        "replaceme",
        "replacethis",
        "secrethere",
        "yoursecret",
        "yoursession",
        "placeholder",
        "secureredispassword",
        "examplesecret",
        "mysecret",
        "supersecret",
        "secretsecret",
        "password123",
        "todo",
    ];
    let mut characters = secret.chars();
    let first = characters.next();
    let repeated = first.is_some() && characters.all(|c| Some(c) == first);
    repeated || words.iter().any(|word| plain.contains(word))
}

fn prefix(text: &str) -> Option<String> {
    let prefix = text.strip_suffix('/').unwrap_or(text);
    let character = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    let valid = prefix.starts_with('/') && prefix.chars().all(character);
    let whole = valid && prefix.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
    (prefix.is_empty() || whole).then(|| prefix.to_owned())
}

impl Section<'_, '_> {
    /// Where a setting is written, without taking it.
    fn peek(&self, name: &str) -> Option<At> {
        let entry = self.find(name)?;
        (!matches!(entry.node.value, Value::Null)).then_some(entry.at)
    }
}
