//! Traces and request ids, as a collector, a server and a client see them.

mod ids;
mod spans;
mod troubles;

use edge_tests::collector::Collector;
use serde_json::{Value, json};

/// The caller's place in its own trace.
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// `tracing`, as the config file has it.
fn to(collector: &Collector) -> Value {
    json!({"endpoint": collector.endpoint()})
}

/// A call of the witness's tool.
fn look(id: u64) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": "look", "arguments": {"at": "it"}}})
    .to_string()
}
