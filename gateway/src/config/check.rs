//! From the text of a file to a [`Config`], or to all of its faults.

mod command;
mod gateway;
mod ids;
mod report;
mod section;
mod server;
mod url;
mod values;

use super::tree::{self, At, Node, Syntax, Value};
use super::{Config, Fault, Place, Vars};
use report::Report;
use section::Section;

pub(super) use gateway::{HOST, host, level, secret_fault};

/// What a file says, as far as it can be read, before environment and command line.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// The configuration; its `warnings` are filled.
    pub(super) config: Config,
    /// Where `host` was written.
    pub(super) host: Option<Place>,
    /// Whether the file says `auth: none`.
    pub(super) auth_none: bool,
    /// Everything that is wrong, in the order of the file.
    pub(super) faults: Vec<Fault>,
}

/// Checks the text of a file.
pub(super) fn check(file: &str, text: &str, syntax: Syntax, vars: &dyn Vars) -> Checked {
    let report = Report::new(file, vars);
    let (tree, problems) = tree::read(text, syntax);
    for (at, message) in problems {
        report.fault(at, message);
    }
    let mut draft = gateway::Draft::default();
    match tree {
        Some(Node { value: Value::Null, at }) => report.fault(at, EMPTY),
        Some(tree) => root(&report, &tree, &mut draft),
        None => {}
    }
    let host = draft.host.map(|at| report.place(at));
    let (faults, warnings) = report.finish();
    let config = Config { warnings, ..draft.config };
    Checked { config, host, auth_none: draft.auth_none, faults }
}

/// What is said about a file that holds nothing.
pub(super) const EMPTY: &str =
    "the file is empty; `mcp-gateway example` prints one to begin with, `{}` means all defaults";

/// Keys that hold the servers.
const SERVERS: (&str, &[&str]) = ("servers", &["backends", "mcp_servers", "templates"]);

fn root(report: &Report<'_>, tree: &Node, draft: &mut gateway::Draft) {
    let Some(mut top) = Section::of(report, tree, "the file") else { return };
    let inner = top.take("gateway", &[]);
    let listed = top.take(SERVERS.0, SERVERS.1);
    let mut bare = top.take_where(server::has_shape);
    if let Some(listed) = listed {
        for entry in bare.drain(..) {
            let (id, key) = (&entry.key, &listed.key);
            report.fault(entry.at, format!("`{id}` looks like a server; move it into `{key}`"));
        }
    }
    if let Some(section) = inner.and_then(|entry| Section::of(report, &entry.node, "`gateway`")) {
        top.join(section);
    }
    gateway::check(&mut top, draft);
    top.finish(&["servers"], "");

    match listed {
        Some(entry) => draft.config.servers = server::all(report, entry),
        None => draft.config.servers = server::each(report, &bare),
    }
    let at = listed.map_or(At { line: 1, column: 1 }, |entry| entry.at);
    if draft.config.servers.is_empty() && report.is_clean() {
        report.warn(at, "no server is configured; add one under `servers`");
    }
}

#[cfg(test)]
mod tests;
