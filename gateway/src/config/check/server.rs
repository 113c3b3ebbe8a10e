//! One server of a file: which kind it is, and its settings.

use std::collections::BTreeMap;

use super::super::tree::{At, Entry, Node, Value};
use super::super::{EraChoice, OwnerLoss, ServerConfig, ServerKind};
use super::form::Form;
use super::ids;
use super::report::Report;
use super::section::{Section, snake};
use super::url::{self, Shape};

mod http;
mod stdio;

pub(in crate::config) use http::STRATEGIES;

/// Settings that make a map look like a server.
const SHAPE: &[&str] = &[
    "type",
    "transport",
    "transport_type",
    "command",
    "url",
    "http_url",
    "server_url",
    "endpoint",
    "instances",
    "template_name",
];

/// Settings of some kind of server, for telling a misplaced one from a misspelt one.
const KINDS: &[&str] = &[
    "command",
    "args",
    "env",
    "env_vars",
    "environment",
    "cwd",
    "working_dir",
    "isolation",
    "pool_size",
    "prewarm",
    "lists",
    "max_processes",
    "url",
    "http_url",
    "server_url",
    "endpoint",
    "headers",
    "load_balancing",
    "load_balancer",
    "health_check",
    "template_name",
    "config",
];

/// The names of the setting that tells the kind.
const KIND: &[&str] = &["type", "transport", "transport_type"];

/// How a server says it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stdio,
    Http,
    Sse,
    Ws,
    Template,
}

/// Whether an entry at the top of a file is a server.
pub(super) fn has_shape(entry: &Entry) -> bool {
    match &entry.node.value {
        Value::Map(members) => members.iter().any(|m| SHAPE.contains(&snake(&m.key).as_str())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => false,
    }
}

/// Reads the servers of a file: a map by id, or a list whose items have an `id` or `name`.
pub(super) fn all(report: &Report<'_>, entry: &Entry) -> Vec<ServerConfig> {
    match &entry.node.value {
        Value::Map(entries) => each(report, &entries.iter().collect::<Vec<_>>()),
        Value::List(items) => listed(report, items),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
            let (key, shown) = (&entry.key, entry.node.shown());
            let what = format!("`{key}` must be a map from name to server, not {shown}");
            report.fault(entry.node.at, what);
            Vec::new()
        }
    }
}

/// Reads servers whose keys are their ids.
pub(super) fn each(report: &Report<'_>, entries: &[&Entry]) -> Vec<ServerConfig> {
    let one = |entry: &&Entry| {
        check_id(report, &entry.key, entry.at);
        let mut section =
            server_section(report, &entry.node, &entry.key, &format!("server `{}`", entry.key))?;
        if let Some(name) = section.text("name", &["id"]).filter(|name| name.text != entry.key) {
            let (key, id) = (&name.entry.key, &entry.key);
            let what = format!("`{key}` differs from the name `{id}` this server is listed under");
            report.fault(name.entry.node.at, format!("{what}; remove it"));
        }
        one(section, &entry.key, entry.at)
    };
    entries.iter().filter_map(one).collect()
}

fn listed(report: &Report<'_>, items: &[Node]) -> Vec<ServerConfig> {
    let mut first: BTreeMap<String, At> = BTreeMap::new();
    let mut servers = Vec::new();
    for item in items {
        let Some(mut section) = server_section(report, item, "", "a server") else { continue };
        let Some(id) = section.text("id", &["name"]) else {
            report.fault(item.at, "this server has no name; give it an `id`");
            continue;
        };
        let at = id.entry.node.at;
        check_id(report, &id.text, at);
        if let Some(At { line, .. }) = first.get(&id.text) {
            let what = format!("a server `{}` is already listed on line {line}", id.text);
            report.fault(at, format!("{what}; rename one"));
        }
        first.entry(id.text.clone()).or_insert(at);
        section.prefix = format!("servers.{}.", id.text);
        servers.extend(one(section, &id.text, item.at));
    }
    servers
}

fn server_section<'r, 't>(
    report: &'r Report<'r>,
    node: &'t Node,
    id: &str,
    what: &str,
) -> Option<Section<'r, 't>> {
    Section::of(report, node, (&format!("servers.{id}."), what))
}

fn check_id(report: &Report<'_>, id: &str, at: At) {
    if let Some(fault) = ids::fault(id) {
        report.fault(at, fault);
    }
}

/// Reads one server; `None` when its kind cannot be told, which is then reported.
fn one(mut section: Section<'_, '_>, id: &str, at: At) -> Option<ServerConfig> {
    let kind = kind(&mut section, id, at)?;
    let mut server = ServerConfig::new(id, ServerKind::Http(http::none()));
    common(&mut section, &mut server);
    era(&mut section, kind, &mut server);
    let (kind, here) = match kind {
        Kind::Stdio => (stdio::check(&mut section, at), "for a stdio server"),
        Kind::Http => (http::check(&mut section, at, Shape::Http), "for an http server"),
        Kind::Sse => (http::check(&mut section, at, Shape::Sse), "for an sse server"),
        Kind::Ws => (http::check(&mut section, at, Shape::Ws), "for a ws server"),
        Kind::Template => (template(&mut section, at), "for a template server"),
    };
    if !matches!(kind, Some(ServerKind::Stdio(_))) {
        no_process(&mut section);
    }
    section.finish(KINDS, here);
    server.kind = kind?;
    Some(server)
}

/// The kind by `type`, else by shape.
fn kind(section: &mut Section<'_, '_>, id: &str, at: At) -> Option<Kind> {
    let words = [
        ("http", Kind::Http),
        ("stdio", Kind::Stdio),
        ("sse", Kind::Sse),
        ("ws", Kind::Ws),
        ("template", Kind::Template),
        ("streamable_http", Kind::Http),
        ("streamablehttp", Kind::Http),
        ("websocket", Kind::Ws),
        ("local", Kind::Stdio),
        ("remote", Kind::Http),
    ];
    let written = KIND.iter().any(|name| section.find(name).is_some());
    if written {
        let (kind, entry) = section.choice("type", &["transport", "transport_type"], &words)?;
        let shape = by_url(section).map(|(kind, _)| kind);
        if kind == Kind::Http && shape == Some(Kind::Ws) {
            section.report.fault(entry.node.at, "the URL is a ws one; write `type: ws`");
        }
        return Some(kind);
    }
    let by_url = by_url(section);
    let found = match (section.find("command"), &by_url) {
        (Some(command), Some((_, url))) => {
            let (a, b) = (&command.key, &url.key);
            let what = format!("server `{id}` has both `{a}` and `{b}`; keep one");
            section.report.fault(command.at.max(url.at), what);
            return None;
        }
        (Some(_), None) => Some(Kind::Stdio),
        (None, Some((kind, _))) => Some(*kind),
        (None, None) => section.find("template_name").map(|_| Kind::Template),
    };
    let shown_by = section.find("command").or_else(|| by_url.map(|(_, entry)| entry));
    if let Some(entry) = shown_by {
        section.report.note(&section.path("type"), entry.at);
    }
    if found.is_none() {
        let what = format!("server `{id}` says neither `command` nor `url`");
        let names = ["command", "url", "http_url", "endpoint", "type"];
        let hint = section.misspelt(&names).unwrap_or_else(|| "; give it one of them".to_owned());
        section.report.fault(at, format!("{what}{hint}"));
    }
    found
}

/// What the first URL of a server leads to, and the setting that holds it.
fn by_url<'t>(section: &Section<'_, 't>) -> Option<(Kind, &'t Entry)> {
    let entry = http::URLS.iter().chain(&["instances"]).find_map(|name| section.find(name))?;
    let text = http::first_url(&entry.node)?;
    let kind = match url::endpoint(&section.report.peek(text)).map(|(shape, _)| shape) {
        Ok(Shape::Sse) => Kind::Sse,
        Ok(Shape::Ws) => Kind::Ws,
        Ok(Shape::Http) | Err(_) => Kind::Http,
    };
    Some((kind, entry))
}

/// Settings that every kind of server has.
fn common(section: &mut Section<'_, '_>, server: &mut ServerConfig) {
    server.description = section.text("description", &[]).map(|given| given.text);
    let (disabled_at, enabled_at) = (section.find("disabled"), section.find("enabled"));
    let mut disabled = false;
    section.flag("enabled", &[], &mut server.enabled);
    section.flag("disabled", &[], &mut disabled);
    if let Some(entry) = disabled_at {
        section.report.note(&section.path("enabled"), entry.at);
    }
    server.enabled &= !disabled;
    if let (Some(disabled), Some(enabled)) = (disabled_at, enabled_at) {
        let at = disabled.at.max(enabled.at);
        section.report.fault(at, "`enabled` and `disabled` are the same setting; keep one");
    }
    section.duration(("start_timeout", "start_timeout_ms"), &[], &mut server.start_timeout);
    let names = ("call_timeout", "call_timeout_ms");
    section.duration(names, &["timeout"], &mut server.call_timeout);
    let names = ("call_timeout_max", "call_timeout_max_ms");
    let longest = section.find("call_timeout_max");
    section.duration(names, &[], &mut server.call_timeout_max);
    if server.call_timeout > server.call_timeout_max {
        match longest {
            None => server.call_timeout_max = server.call_timeout,
            Some(entry) => {
                let what = "`call_timeout_max` is shorter than `call_timeout`; raise it";
                section.report.fault(entry.at, what);
            }
        }
    }
    let words = [("reinitialize", OwnerLoss::Reinitialize), ("end", OwnerLoss::End)];
    if let Some((loss, _)) = section.choice("on_owner_loss", &[], &words) {
        server.on_owner_loss = loss;
    }
    not_applied(section);
}

/// Which revisions it is spoken to in.
fn era(section: &mut Section<'_, '_>, kind: Kind, server: &mut ServerConfig) {
    let words =
        [("auto", EraChoice::Auto), ("legacy", EraChoice::Legacy), ("modern", EraChoice::Modern)];
    let Some((era, entry)) = section.choice("era", &[], &words) else { return };
    server.era = era;
    if era == EraChoice::Modern && matches!(kind, Kind::Sse | Kind::Ws) {
        let what = "`era: modern` is for servers of type stdio or http; remove it";
        section.report.fault(entry.node.at, what);
    }
}

/// Settings of processes that other kinds of servers may carry along.
fn no_process(section: &mut Section<'_, '_>) {
    for name in ["idle_timeout", "idle_timeout_ms"] {
        if let Some(entry) = section.take(name, &[], Form::Anything) {
            let what = format!("`{}` is for processes, which this server has none of", entry.key);
            section.report.warn(entry.at, what);
        }
    }
}

/// What clients write about a server in their own files, and what becomes of it here.
const FOREIGN: &[(&[&str], &str)] = &[
    (
        &[
            "auto_approve",
            "always_allow",
            "trust",
            "watch_paths",
            "dev",
            "gallery",
            "icon",
            "source",
            "version",
        ],
        "is a setting of a client; the gateway ignores it",
    ),
    (
        &["disabled_tools", "enabled_tools", "include_tools", "exclude_tools"],
        "is not applied: this version passes every tool on",
    ),
    (&["env_file"], "is not read by this version; write its variables under `env`"),
    (&["oauth"], "is not applied: this version signs in with `headers` only"),
    (&["metadata", "tags"], "is kept by nobody; the gateway ignores it"),
];

fn not_applied(section: &mut Section<'_, '_>) {
    for (names, why) in FOREIGN {
        for name in *names {
            if let Some(entry) = section.take(name, &[], Form::Anything) {
                let what = format!("`{}` {why}", entry.key);
                section.report.warn(entry.at, what);
            }
        }
    }
}

fn template(section: &mut Section<'_, '_>, at: At) -> Option<ServerKind> {
    let named = section.text("template_name", &["template"]);
    let mut instances = 1;
    section.count("instances", &[], &mut instances);
    section.take("config", &[], Form::Anything);
    section.take("load_balancer", &[], Form::Anything);
    if named.is_none() {
        section.report.fault(at, "a template server needs a `template_name`");
        return None;
    }
    Some(unsupported(section, at, "template", "expand templates; write the `command` itself"))
}

/// A kind of server that this version knows and cannot reach.
fn unsupported(section: &Section<'_, '_>, at: At, kind: &'static str, cannot: &str) -> ServerKind {
    let why = format!("this version cannot {cannot}");
    section.report.warn(at, format!("{why}; calls to this server are refused"));
    ServerKind::Unsupported { kind, why }
}
