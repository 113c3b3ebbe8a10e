//! A server that is a command: words, environment, directory, and who shares its process.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::super::tree::{At, Entry, Value};
use super::super::super::{Isolation, ServerKind, StdioConfig, env};
use super::super::command;
use super::super::report::Report;
use super::super::section::Section;
use super::super::values::{scalar, texts};

/// Reads the settings of a stdio server.
pub(super) fn check(section: &mut Section<'_, '_>, at: At) -> Option<ServerKind> {
    let argv = argv(section, at);
    let given = section.take("env", &["env_vars"]);
    let mut stdio = StdioConfig::new(argv.unwrap_or_default());
    stdio.env = given.map_or_else(BTreeMap::new, |entry| environment(section.report, entry));
    stdio.cwd = section.text("cwd", &["working_dir"]).map(|given| PathBuf::from(given.text));
    section.flag("prewarm", &[], &mut stdio.prewarm);
    sharing(section, &mut stdio);
    (!stdio.argv.is_empty()).then_some(ServerKind::Stdio(stdio))
}

fn argv(section: &mut Section<'_, '_>, at: At) -> Option<Vec<String>> {
    let args = section.take("args", &[]);
    if let Some(args) = args.filter(|args| !matches!(args.node.value, Value::List(_))) {
        section.refuse(args, "a list of strings");
    }
    let Some(command) = section.take("command", &[]) else {
        section.report.fault(at, "a stdio server needs a `command`");
        return None;
    };
    let mut argv = match (&command.node.value, args) {
        (Value::List(items), _) if items.is_empty() => {
            section.report.fault(command.node.at, "`command` is empty; name a program");
            return None;
        }
        (Value::List(_), _) => words(section.report, command),
        (Value::Text(text), None) => split(section.report, command, text)?,
        (Value::Text(text), Some(_)) if has_arguments(text) => {
            let what = "`command` holds arguments and `args` too; put all of them into `args`";
            section.report.fault(command.node.at, what);
            return None;
        }
        (Value::Text(text), Some(_)) => vec![section.report.expand(text, command.node.at)?],
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Map(_), _) => {
            section.refuse(command, "a string or a list of strings");
            return None;
        }
    };
    argv.extend(args.map_or_else(Vec::new, |args| words(section.report, args)));
    if argv.first().is_some_and(|program| program.trim().is_empty()) {
        section.report.fault(command.node.at, "`command` is empty; name a program");
        return None;
    }
    // The demo is this very program, wherever it is installed and whatever PATH holds.
    if argv == ["mcp-gateway", "demo-server"] {
        argv = vec![env::own_program(), "demo-server".to_owned()];
    }
    if argv.iter().any(|word| word.contains('\0')) {
        section.report.fault(command.node.at, "a command cannot hold a NUL character");
    }
    Some(argv)
}

fn words(report: &Report<'_>, entry: &Entry) -> Vec<String> {
    texts(report, entry).into_iter().map(|(text, _)| text).collect()
}

/// A path may hold spaces; a bare program name does not.
fn has_arguments(command: &str) -> bool {
    let first = command.split_whitespace().next().unwrap_or_default();
    first != command.trim() && !first.contains(['/', '\\', '$'])
}

fn split(report: &Report<'_>, entry: &Entry, text: &str) -> Option<Vec<String>> {
    let at = entry.node.at;
    let words = command::split(text).map_err(|fault| report.fault(at, fault)).ok()?;
    words.iter().map(|word| report.expand(word, at)).collect()
}

fn environment(report: &Report<'_>, entry: &Entry) -> BTreeMap<String, String> {
    let Value::Map(members) = &entry.node.value else {
        let shown = entry.node.shown();
        let what = format!("`{}` must be a map from name to value, not {shown}", entry.key);
        report.fault(entry.node.at, what);
        return BTreeMap::new();
    };
    let mut environment = BTreeMap::new();
    for Entry { key, at, node } in members {
        if key.is_empty() || key.contains(['=', '\0']) {
            report.fault(*at, format!("`{key}` is not the name of an environment variable"));
        } else if matches!(node.value, Value::Null) {
            let what = format!("`{key}` has no value");
            report.fault(*at, format!("{what}; write \"\", or \"${{{key}}}\" to pass it on"));
        } else if let Some(value) = scalar(report, node, key) {
            if value.contains('\0') {
                report.fault(node.at, format!("the value of `{key}` holds a NUL character"));
            }
            environment.insert(key.clone(), value);
        }
    }
    environment
}

fn sharing(section: &mut Section<'_, '_>, stdio: &mut StdioConfig) {
    let size = section.find("pool_size").or_else(|| section.find("instances"));
    section.count("pool_size", &["instances"], &mut stdio.pool_size);
    if size.is_some() {
        stdio.isolation = Isolation::Pooled;
    }
    let words = [
        ("session", (Isolation::Session, "")),
        ("pooled", (Isolation::Pooled, "")),
        ("principal", (Isolation::Session, "knows no principals yet and uses `session`")),
    ];
    let Some(((isolation, instead), entry)) = section.choice("isolation", &[], &words) else {
        return;
    };
    stdio.isolation = isolation;
    if !instead.is_empty() {
        section.report.warn(entry.at, format!("this version {instead}"));
    }
    if let Some(size) = size.filter(|_| isolation == Isolation::Session) {
        let key = &size.key;
        let what = format!("`{key}` is for `isolation: pooled`");
        section.report.fault(size.at, format!("{what}; remove it or change `isolation`"));
    }
}
