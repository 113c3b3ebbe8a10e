//! A server that is a command: words, environment, directory, and who shares its process.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::super::tree::{At, Entry, Node, Value};
use super::super::super::{Isolation, Lists, ServerKind, StdioConfig, env};
use super::super::command;
use super::super::form::Form;
use super::super::section::Section;
use super::super::values::{scalar, texts, veil_text};

/// Reads the settings of a stdio server.
pub(super) fn check(section: &mut Section<'_, '_>, at: At) -> Option<ServerKind> {
    let argv = argv(section, at);
    let given = section.take("env", &["env_vars", "environment"], Form::Map);
    let mut stdio = StdioConfig::new(argv.unwrap_or_default());
    stdio.env = given.map_or_else(BTreeMap::new, |entry| environment(section, entry));
    stdio.cwd = section.text("cwd", &["working_dir"]).map(|given| PathBuf::from(given.text));
    section.flag("prewarm", &[], &mut stdio.prewarm);
    sharing(section, &mut stdio);
    lifetime(section, &mut stdio);
    (!stdio.argv.is_empty()).then_some(ServerKind::Stdio(stdio))
}

fn argv(section: &mut Section<'_, '_>, at: At) -> Option<Vec<String>> {
    let args = section.take("args", &[], Form::List);
    if let Some(args) = args.filter(|args| !matches!(args.node.value, Value::List(_))) {
        section.refuse(args, "a list of strings");
    }
    let Some(command) = section.take("command", &[], Form::Texts) else {
        section.report.fault(at, "a stdio server needs a `command`");
        return None;
    };
    let mut argv = match (&command.node.value, args) {
        (Value::List(items), _) if items.is_empty() => {
            section.report.fault(command.node.at, "`command` is empty; name a program");
            return None;
        }
        (Value::List(_), _) => words(section, command, 0),
        (Value::Text(text), None) => split(section, command, text)?,
        (Value::Text(text), Some(_)) if has_arguments(text) => {
            let what = "`command` holds arguments and `args` too; put all of them into `args`";
            section.report.fault(command.node.at, what);
            return None;
        }
        (Value::Text(text), Some(_)) => {
            veil_text(section.report, text, &section.path("command[0]"));
            vec![section.report.expand(text, command.node.at)?]
        }
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Map(_), _) => {
            section.refuse(command, "a string or a list of strings");
            return None;
        }
    };
    let first = argv.len();
    argv.extend(args.map_or_else(Vec::new, |args| words(section, args, first)));
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

/// The words of a list; the first of them is word number `first` of the command.
fn words(section: &Section<'_, '_>, entry: &Entry, first: usize) -> Vec<String> {
    let words = texts(section.report, entry).into_iter().enumerate();
    let word = |(index, (text, node)): (usize, (String, &Node))| {
        if let Value::Text(written) = &node.value {
            let path = section.path(&format!("command[{}]", first + index));
            veil_text(section.report, written, &path);
        }
        text
    };
    words.map(word).collect()
}

/// A path may hold spaces; a bare program name does not.
fn has_arguments(command: &str) -> bool {
    let first = command.split_whitespace().next().unwrap_or_default();
    first != command.trim() && !first.contains(['/', '\\', '$'])
}

fn split(section: &Section<'_, '_>, entry: &Entry, text: &str) -> Option<Vec<String>> {
    let report = section.report;
    let at = entry.node.at;
    let words = command::split(text).map_err(|fault| report.fault(at, fault)).ok()?;
    let word = |(index, word): (usize, &String)| {
        veil_text(report, word, &section.path(&format!("command[{index}]")));
        report.expand(word, at)
    };
    words.iter().enumerate().map(word).collect()
}

fn environment(section: &Section<'_, '_>, entry: &Entry) -> BTreeMap<String, String> {
    let report = section.report;
    let Value::Map(members) = &entry.node.value else {
        let shown = entry.node.shown();
        let what = format!("`{}` must be a map from name to value, not {shown}", entry.key);
        report.fault(entry.node.at, what);
        return BTreeMap::new();
    };
    let mut environment = BTreeMap::new();
    for Entry { key, at, node } in members {
        report.note(&section.path(&format!("env.{key}")), *at);
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
    if let Some(entry) = size {
        section.report.note(&section.path("isolation"), entry.at);
        stdio.isolation = Isolation::Pooled;
    }
    let words = [
        ("session", Isolation::Session),
        ("principal", Isolation::Principal),
        ("pooled", Isolation::Pooled),
    ];
    let Some((isolation, entry)) = section.choice("isolation", &[], &words) else { return };
    stdio.isolation = isolation;
    if stdio.prewarm && isolation == Isolation::Principal {
        let what = "`prewarm` starts nothing with `isolation: principal`: nobody is there yet";
        section.report.warn(entry.at, what);
    }
    if let Some(size) = size.filter(|_| isolation != Isolation::Pooled) {
        let key = &size.key;
        let what = format!("`{key}` is for `isolation: pooled`");
        section.report.fault(size.at, format!("{what}; remove it or change `isolation`"));
    }
}

/// When processes start and end, and how many there may be.
fn lifetime(section: &mut Section<'_, '_>, stdio: &mut StdioConfig) {
    let words = [("shared", Lists::Shared), ("session", Lists::Session)];
    if let Some((lists, entry)) = section.choice("lists", &[], &words) {
        stdio.lists = lists;
        let changes_nothing = match stdio.isolation {
            Isolation::Session => None,
            Isolation::Principal => Some("principal"),
            Isolation::Pooled => Some("pooled"),
        };
        if let Some(isolation) = changes_nothing {
            let what = format!("`lists` changes nothing with `isolation: {isolation}`");
            section.report.warn(entry.at, format!("{what}: its processes answer all"));
        }
    }
    let most = section.find("max_processes");
    section.count("max_processes", &[], &mut stdio.max_processes);
    let needed = if stdio.isolation == Isolation::Pooled { stdio.pool_size } else { 1 };
    if stdio.max_processes < needed {
        match most {
            None => stdio.max_processes = needed,
            Some(entry) => {
                let what = "`max_processes` is smaller than `pool_size`; raise it";
                section.report.fault(entry.at, what);
            }
        }
    }
    section.duration_or_never(("idle_timeout", "idle_timeout_ms"), &mut stdio.idle_timeout);
}
