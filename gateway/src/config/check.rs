//! From the text of a file to a [`Config`], or to all of its faults.

mod command;
mod edge;
mod form;
mod gateway;
mod ids;
mod rate;
mod report;
mod section;
mod server;
mod tracing;
mod url;
mod values;

use super::redis::RedisDraft;
use super::tree::{self, At, Entry, Node, Syntax, Value};
use super::{Config, Fault, Place, Vars};
use report::{Gathered, Report};
use section::Section;

pub(super) use edge::{host_name, proxy};
pub(super) use form::{Declaration, Form};
pub(super) use gateway::{HOST, host, is_placeholder, level, secret_fault};
pub(super) use section::suggestion;
pub(super) use server::STRATEGIES;
pub(super) use tracing::header;
pub(super) use url::{collector, replica};
pub(super) use values::{Bare, parse_time};

/// What a file says, as far as it can be read, before environment and command line.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// The configuration; its `warnings` and `origins` are filled.
    pub(super) config: Config,
    /// Where `host` was written.
    pub(super) host: Option<Place>,
    /// Whether the file says `auth: none`.
    pub(super) auth_none: bool,
    /// Where the shared store is.
    pub(super) redis: RedisDraft,
    /// Everything that is wrong, in the order of the file.
    pub(super) faults: Vec<Fault>,
    /// Every setting that was looked for.
    pub(super) declared: Vec<Declaration>,
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
    let Gathered { faults, warnings, origins, declared } = report.finish();
    let config = Config { warnings, origins, ..draft.config };
    let (auth_none, redis) = (draft.auth_none, draft.redis);
    Checked { config, host, auth_none, redis, faults, declared }
}

/// What is said about a file that holds nothing.
pub(super) const EMPTY: &str =
    "the file is empty; `mcp-gateway example` prints one to begin with, `{}` means all defaults";

/// Keys that hold the servers.
const SERVERS: (&str, &[&str]) =
    ("servers", &["backends", "mcp_servers", "templates", "context_servers"]);

/// Sections that have a URL as well, and are no servers: the shared store, and where spans go.
const SECTIONS: [&str; 2] = ["redis", "tracing"];

fn root(report: &Report<'_>, tree: &Node, draft: &mut gateway::Draft) {
    let Some(mut top) = Section::of(report, tree, ("", "the file")) else { return };
    let inner = top.take("gateway", &[], Form::Section);
    let listed = top.take(SERVERS.0, SERVERS.1, Form::Servers);
    let is_section = |entry: &Entry| SECTIONS.contains(&entry.key.as_str());
    let is_server = |entry: &Entry| !is_section(entry) && server::has_shape(entry);
    let mut bare = top.take_where(is_server);
    if let Some(listed) = listed {
        for entry in bare.drain(..) {
            let (id, key) = (&entry.key, &listed.key);
            report.fault(entry.at, format!("`{id}` looks like a server; move it into `{key}`"));
        }
    }
    let section = inner.and_then(|entry| Section::of(report, &entry.node, ("", "`gateway`")));
    if let Some(section) = section {
        top.join(section);
    }
    let rate_limit = top.find("rate_limit").map(|entry| entry.at);
    gateway::check(&mut top, draft);
    top.finish(&["servers"], "");

    match listed {
        Some(entry) => draft.config.servers = server::all(report, entry),
        None => draft.config.servers = server::each(report, &bare),
    }
    let at = listed.map_or(At { line: 1, column: 1 }, |entry| entry.at);
    if let Some(at) = rate_limit {
        rate::check_servers(report, at, &draft.config);
    }
    if draft.config.servers.is_empty() && report.is_clean() {
        report.warn(at, "no server is configured; add one under `servers`");
    }
}

/// The configuration of a text without faults, for tests of other files.
#[cfg(test)]
pub(super) fn check_text(text: &str, vars: &dyn Vars) -> Config {
    let checked = check("f", text, Syntax::Yaml, vars);
    assert_eq!(checked.faults, []);
    checked.config
}

#[cfg(test)]
mod tests;
