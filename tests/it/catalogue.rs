//! The catalogue of bad input, row by row (`docs/bad-input.md`): each test is named after its row
//! and holds what exactly comes of it.

mod bench;
mod calls;
mod configuration;
mod connections;
mod headers;
mod heads;
mod lists;
mod messages;
mod messages_of_sse;
mod modern;
mod operations;
mod page;
mod processes;
mod upstreams;
mod websocket;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use edge_tests::client::Client;
use edge_tests::edge::Edge;
use edge_tests::http1::{Reply, Request};
use edge_tests::processes::Process;
use edge_tests::{Fault, same};
use serde_json::{Value, json};

const UNAVAILABLE: i64 = -31001;
const OUTCOME_UNKNOWN: i64 = -31002;
const TIMEOUT: i64 = -31003;
const PROTOCOL: i64 = -31008;
const TOO_LARGE: i64 = -31011;

/// What a client is told: code, and whether the call was dispatched.
type Told = (Option<i64>, Value);

async fn call(client: &mut Client, tool: &str, arguments: Value) -> Result<Value, Fault> {
    client.request("tools/call", json!({"name": tool, "arguments": arguments})).await
}

fn told(answer: &Value) -> Told {
    let code = answer.pointer("/error/code").and_then(Value::as_i64);
    (code, answer.pointer("/error/data/dispatched").cloned().unwrap_or_default())
}

async fn initialize(edge: &Edge, server: &str) -> Result<Reply, Fault> {
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "edge-tests", "version": "1"}
    }});
    Request::post(&format!("/mcp/{server}"), hello.to_string()).reply(edge.address).await
}

/// Checks a refusal of what was not dispatched; its message. One that took so long that it had to
/// come in an event stream has status 200.
fn refused(reply: &Reply, status: u16, code: i64) -> Result<String, Fault> {
    let message = reply.message()?;
    let is_stream = reply.header("content-type") == Some("text/event-stream");
    let status = if is_stream { 200 } else { status };
    same(format!("status of {message}"), reply.status, status)?;
    same(format!("{message}"), told(&message), (Some(code), json!(false)))?;
    same("its id", message.get("id"), Some(&json!(1)))?;
    let text = message.pointer("/error/message").and_then(Value::as_str);
    Ok(text.unwrap_or_default().to_owned())
}

fn shared(mut server: Value) -> Value {
    set(&mut server, "isolation", json!("pooled"));
    set(&mut server, "lists", json!("shared"));
    server
}

fn set(server: &mut Value, key: &str, value: Value) {
    if let Some(server) = server.as_object_mut() {
        server.insert(key.to_owned(), value);
    }
}

/// A folder that goes away with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Result<Self, Fault> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("edge-{name}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn file(&self, name: &str, content: &[u8], mode: u32) -> Result<PathBuf, Fault> {
        let path = self.0.join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// The file in which an odd server writes down every process that was started.
struct Starts(PathBuf);

impl Starts {
    fn new(name: &str) -> Self {
        let name = format!("edge-starts-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn of(&self, mut server: Value) -> Value {
        set(&mut server, "env", json!({"ODD_STARTS": self.0}));
        server
    }

    fn pids(&self) -> Vec<u32> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Those of them that are still there.
    fn processes(&self) -> Vec<Process> {
        self.pids().into_iter().filter_map(Process::find).collect()
    }
}

impl Drop for Starts {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}
