//! Servers as the config file has them.

use serde_json::{Value, json};

use super::binary;

/// The fixture as a stdio server, one process a session.
pub fn stdio() -> Value {
    json!({"command": [fixture(), "--stdio"]})
}

/// The same with none beside them that answers lists, for tests that count processes.
pub fn stdio_alone() -> Value {
    json!({"command": [fixture(), "--stdio"], "lists": "session"})
}

/// The fixture as one stdio process that every session shares.
pub fn pooled() -> Value {
    json!({"command": [fixture(), "--stdio"], "isolation": "pooled", "pool_size": 1})
}

/// The command of a stdio server that says what a test says at this port of its own.
pub fn puppet(port: u16) -> Vec<String> {
    let program = binary("puppet").map(|path| path.display().to_string()).unwrap_or_default();
    vec![program, port.to_string()]
}

/// The server that breaks the rules, one process a session and none for lists; how, tells
/// `tests/src/bin/odd.rs`.
pub fn odd(how: &str) -> Value {
    json!({"command": [path_of("odd"), how], "lists": "session"})
}

fn fixture() -> String {
    path_of("fixture")
}

fn path_of(name: &str) -> String {
    binary(name).map(|path| path.display().to_string()).unwrap_or_default()
}
