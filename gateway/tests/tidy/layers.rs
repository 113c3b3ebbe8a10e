//! The rule of direction: a module imports only from its own line of the table or a line above.

use crate::report;
use crate::source::{self, Source};

/// The layers of the gateway crate, lowest first. Below them all lies the crate `wire`.
const LAYERS: &[&[&str]] = &[
    &["bridge"],
    &["transport"],
    &["session"],
    &["backend"],
    &["policy", "route"],
    &["relay"],
    &["http"],
    &["app"],
    &["cli", "main"],
];

/// Modules any layer may use, and which use no layer themselves.
const GROUND: &[&str] = &["config", "supervise", "telemetry"];

/// All that `wire` may depend on: it holds no IO, no clock and no async runtime, and Cargo
/// proves it.
const WIRE_DEPENDENCIES: &[&str] = &["base64", "bytes", "bytestring", "memchr", "thiserror"];

#[test]
fn imports_point_one_way() {
    let mut faults = Vec::new();
    for source in source::gateway() {
        check_layers(&source, &mut faults);
    }
    report(&faults);
}

#[test]
fn an_import_the_wrong_way_is_noticed() {
    let mut faults = Vec::new();
    for (name, text) in [
        ("gateway/src/transport/http.rs", "use crate::{config, session::Store};"),
        ("gateway/src/session/store.rs", "fn f() { crate::http::reply() }"),
        ("gateway/src/session/store.rs", "use super::super::relay::Relay;"),
        ("gateway/src/session.rs", "use super::app;"),
        ("gateway/src/config/env.rs", "use crate::transport::Link;"),
        ("gateway/src/http/ws.rs", "use crate::{session::{http, Store}, policy};"),
        ("gateway/src/route.rs", "use crate::policy::Verdict; // crate::app"),
        ("gateway/src/route/names.rs", "use super::Route;"),
        ("gateway/src/helpers.rs", "use crate::config::Config;"),
    ] {
        check_layers(&Source::new(name, text), &mut faults);
    }
    assert_eq!(
        faults,
        [
            "gateway/src/transport/http.rs: `transport` imports `session`, which lies above it",
            "gateway/src/session/store.rs: `session` imports `http`, which lies above it",
            "gateway/src/session/store.rs: `session` imports `relay`, which lies above it",
            "gateway/src/session.rs: `session` imports `app`, which lies above it",
            "gateway/src/config/env.rs: `config` imports `transport`, which lies above it",
            "gateway/src/helpers.rs: module `helpers` has no place in the table of layers",
        ]
    );
}

#[test]
fn wire_depends_on_nothing_that_does_io() {
    let manifest = std::fs::read_to_string(source::root().join("gateway/wire/Cargo.toml"));
    report(&wire_faults(&manifest.unwrap()));
}

#[test]
fn a_runtime_dependency_of_wire_is_noticed() {
    let manifest = "[package]\nname = \"x\"\n\n[dependencies]\nbytes = \"1\"\n# A comment.\n\
        tokio.workspace = true\n[dependencies.hyper]\nversion = \"1\"\n\
        [dev-dependencies]\nproptest = \"1\"\n";
    assert_eq!(
        wire_faults(manifest),
        [
            "gateway/wire/Cargo.toml: `wire` may not depend on `tokio`",
            "gateway/wire/Cargo.toml: `wire` may not depend on `hyper`",
        ]
    );
}

fn check_layers(source: &Source, faults: &mut Vec<String>) {
    let Some(module) = source.module() else { return };
    let name = &source.name;
    let Some(own) = rank(module) else {
        faults.push(format!("{name}: module `{module}` has no place in the table of layers"));
        return;
    };
    for import in imports(source) {
        if rank(&import).is_some_and(|other| other > own) {
            faults.push(format!("{name}: `{module}` imports `{import}`, which lies above it"));
        }
    }
}

/// A module's height: ground is 0, the lowest layer 1.
fn rank(module: &str) -> Option<usize> {
    if GROUND.contains(&module) {
        return Some(0);
    }
    LAYERS.iter().position(|layer| layer.contains(&module)).map(|at| at + 1)
}

/// The top-level modules a file names: after `crate::`, after the crate's own name, and after as
/// many `super::` as lead from the file to the crate's root.
fn imports(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for prefix in ["crate::", "mcp_gateway::"] {
        for (at, _) in source.code.match_indices(prefix) {
            found.extend(heads(&source.code[at + prefix.len()..]));
        }
    }
    // A test module is one level deeper, and `use super::*` means its own file there.
    let depth = source.name.matches('/').count() - 1;
    let to_root = "super::".repeat(depth);
    let code = source.production();
    for (at, _) in code.match_indices(&to_root) {
        let rest = &code[at + to_root.len()..];
        if !code[..at].ends_with("super::") && !rest.starts_with("super::") {
            found.extend(heads(rest));
        }
    }
    found
}

/// The first names of a path, or of every path of a `{…}` group.
fn heads(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else { return vec![identifier(rest)] };
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut at_head = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            c if at_head && c.is_alphabetic() => {
                heads.push(identifier(&group[at..]));
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn wire_faults(manifest: &str) -> Vec<String> {
    let mut section = "";
    let mut names = Vec::new();
    for line in manifest.lines() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            names.extend(section.strip_prefix("dependencies."));
        } else if section == "dependencies" {
            names.extend(line.split(['.', ' ', '=']).next().filter(|name| !name.is_empty()));
        }
    }
    names.retain(|name| !name.starts_with('#') && !WIRE_DEPENDENCIES.contains(name));
    names
        .into_iter()
        .map(|name| format!("gateway/wire/Cargo.toml: `wire` may not depend on `{name}`"))
        .collect()
}
