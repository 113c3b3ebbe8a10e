//! Servers of either era: the fixture over stdio and over HTTP, and one whose part a test plays.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use crate::edge::{binary, puppet};
use crate::ports::free_port;
use crate::troupe::{Strings, troupe};
use crate::{Fault, until};

/// What may wait to be written by an actor.
const SCRIPT: usize = 64;

/// The fixture as a stdio server of this era (`legacy`, `modern` or `both`).
pub fn stdio_of(era: &str) -> Value {
    let program = binary("fixture").map(|path| path.display().to_string()).unwrap_or_default();
    json!({"command": [program, "--stdio", "--era", era]})
}

/// A server's settings with one more.
#[must_use]
pub fn with(mut server: Value, key: &str, value: Value) -> Value {
    if let Some(server) = server.as_object_mut() {
        server.insert(key.to_owned(), value);
    }
    server
}

/// The fixture over HTTP, a process of the test's own; dropping it kills it.
#[derive(Debug)]
pub struct OverHttp {
    address: SocketAddr,
    _child: Child,
}

impl OverHttp {
    /// Starts it, with the file that the tool `append` writes to.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(era: &str, ledger: &Path) -> Result<Self, Fault> {
        let port = free_port()?;
        let child = Command::new(binary("fixture")?)
            .args(["--http", &port.to_string(), "--era", era])
            .env("FIXTURE_LEDGER", ledger)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        until("the fixture listens", || async { TcpStream::connect(address).await.is_ok() })
            .await?;
        Ok(Self { address, _child: child })
    }

    /// It as a server of the gateway.
    pub fn server(&self) -> Value {
        json!({"url": format!("http://{}/mcp", self.address)})
    }
}

/// A stdio server of one era that remembers every message and says what a test has it say. Its
/// tools: `echo` answers its arguments, `hold` never answers.
#[derive(Debug, Clone)]
pub struct Actor {
    era: &'static str,
    heard: Arc<Mutex<Vec<Value>>>,
    script: broadcast::Sender<String>,
    port: u16,
}

impl Actor {
    /// Lets every process that is started be played, for as long as the tasks are kept.
    ///
    /// # Errors
    /// There is no port.
    pub async fn start(era: &'static str, tasks: &mut JoinSet<()>) -> Result<Self, Fault> {
        let (heard, script) = (Arc::default(), broadcast::Sender::new(SCRIPT));
        let mut actor = Self { era, heard, script, port: 0 };
        let played = actor.clone();
        actor.port = troupe(tasks, move |strings| played.clone().play(strings)).await?;
        Ok(actor)
    }

    /// It as a server of the gateway.
    pub fn server(&self) -> Value {
        json!({"command": puppet(self.port), "era": self.era, "lists": "session"})
    }

    /// The requests and notifications of this method that it heard, oldest first.
    pub fn heard(&self, method: &str) -> Vec<Value> {
        let is_it = |it: &&Value| it.get("method").and_then(Value::as_str) == Some(method);
        self.heard.lock().iter().filter(is_it).cloned().collect()
    }

    /// The responses it heard.
    pub fn answered(&self) -> Vec<Value> {
        let heard = self.heard.lock();
        heard.iter().filter(|it| it.get("method").is_none()).cloned().collect()
    }

    /// Waits until it has heard so many of this method; these.
    ///
    /// # Errors
    /// It does not; the fault shows what it did hear.
    pub async fn hears(&self, method: &str, count: usize) -> Result<Vec<Value>, Fault> {
        let what = format!("{} server hears {count} {method}", self.era);
        let waited = until(what, || async { self.heard(method).len() >= count }).await;
        waited.map_err(|fault| format!("{fault}: {:?}", self.heard.lock()))?;
        Ok(self.heard(method))
    }

    /// Has every process say this.
    pub fn say(&self, message: &Value) {
        // A process that is not there says nothing.
        let _nobody = self.script.send(format!("{message}\n"));
    }

    async fn play(self, mut strings: Strings) {
        let mut script = self.script.subscribe();
        loop {
            tokio::select! {
                heard = strings.hear() => {
                    let Some(message) = heard else { return };
                    self.heard.lock().push(message.clone());
                    let Some(answer) = self.answer(&message) else { continue };
                    if !strings.say(format!("{answer}\n").as_bytes()).await {
                        return;
                    }
                }
                Ok(line) = script.recv() => {
                    if !strings.say(line.as_bytes()).await {
                        return;
                    }
                }
            }
        }
    }

    fn answer(&self, message: &Value) -> Option<Value> {
        let id = message.get("id")?;
        let method = message.get("method").and_then(Value::as_str)?;
        let name = message.pointer("/params/name").and_then(Value::as_str);
        let result = match method {
            "initialize" if self.era == "legacy" => json!({
                "protocolVersion": "2025-11-25",
                "capabilities": capabilities(),
                "serverInfo": {"name": "actor", "version": "1"}
            }),
            "server/discover" if self.era == "modern" => json!({
                "supportedVersions": ["2026-07-28"],
                "capabilities": capabilities(),
                "ttlMs": 60_000,
                "cacheScope": "public"
            }),
            "initialize" | "server/discover" => {
                let error = json!({"code": -32601, "message": "Method not found"});
                return Some(json!({"jsonrpc": "2.0", "id": id, "error": error}));
            }
            "tools/list" => json!({"tools": tools(), "ttlMs": 0, "cacheScope": "private"}),
            "tools/call" if name == Some("hold") => return None,
            "tools/call" => {
                let said = message.pointer("/params/arguments").cloned().unwrap_or_default();
                json!({"content": [{"type": "text", "text": said.to_string()}]})
            }
            "subscriptions/listen" => return None,
            _ => json!({}),
        };
        Some(json!({"jsonrpc": "2.0", "id": id, "result": self.shaped(result)}))
    }

    fn shaped(&self, result: Value) -> Value {
        if self.era == "modern" { with(result, "resultType", json!("complete")) } else { result }
    }
}

fn capabilities() -> Value {
    json!({
        "tools": {"listChanged": true},
        "prompts": {"listChanged": true},
        "resources": {"subscribe": true, "listChanged": true},
        "logging": {}
    })
}

fn tools() -> Value {
    let headed = json!({
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"}
    });
    json!([
        {"name": "echo", "inputSchema": {"type": "object"}},
        {"name": "hold", "inputSchema": {"type": "object"}},
        {"name": "headed", "inputSchema": {"type": "object", "properties": headed}}
    ])
}
