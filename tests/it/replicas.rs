//! Several gateways and one Redis: any of them serves any session, and killing any part loses
//! nothing that was promised.

mod anywhere;
mod away;
mod bounds;
mod chaos;
mod death;
mod fence;
mod parted;
mod receipts;
mod twins;

use std::net::SocketAddr;
use std::path::PathBuf;

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Builder, Folder, edge, stdio};
use edge_tests::http1::{Incoming, Reply, Request};
use edge_tests::ledger::{self, Line, Web};
use edge_tests::replicas::{Replicas, replicas};
use edge_tests::{Fault, within};
use serde_json::{Value, json};

const STORE_UNAVAILABLE: i64 = -31004;
const OUTCOME_UNKNOWN: i64 = -31002;

/// Three gateways, with the fixture and the ledger by stdio (`ledger`) and by HTTP (`web`).
struct Stage {
    replicas: Replicas,
    file: PathBuf,
    _web: Web,
    _folder: Folder,
}

impl Stage {
    async fn set() -> Result<Self, Fault> {
        Self::set_with(|builder| builder).await
    }

    async fn set_with(more: impl FnOnce(Builder) -> Builder) -> Result<Self, Fault> {
        let folder = Folder::new()?;
        let file = folder.path.join("ledger");
        let web = Web::start(&file).await?;
        let builder = edge()
            .server("fixture", stdio())
            .server("ledger", ledger::by_stdio(&file)?)
            .server("web", web.server());
        let replicas = replicas(3, more(builder)).await?;
        Ok(Self { replicas, file, _web: web, _folder: folder })
    }

    fn address(&self, number: usize) -> Result<SocketAddr, Fault> {
        Ok(self.replicas.at(number)?.address)
    }

    fn lines(&self) -> Result<Vec<Line>, Fault> {
        ledger::read(&self.file)
    }

    /// How often a call ran.
    fn runs(&self, uuid: &str) -> Result<usize, Fault> {
        Ok(self.lines()?.iter().filter(|line| line.uuid == uuid).count())
    }

    /// A session on `/mcp` that this replica owns.
    async fn session(&self, number: usize, server: &str) -> Result<Session, Fault> {
        let client = Client::open(self.address(number)?, Transport::Mcp, Some(server)).await?;
        let id = client.session_id().ok_or("no session")?.to_owned();
        Ok(Session { id, path: format!("/mcp/{server}") })
    }
}

/// What a client knows of its session on `/mcp`.
#[derive(Debug, Clone)]
struct Session {
    id: String,
    path: String,
}

impl Session {
    fn with(&self, request: Request) -> Request {
        request.header("Mcp-Session-Id", &self.id).header("MCP-Protocol-Version", "2025-11-25")
    }

    fn post(&self, message: &Value) -> Request {
        self.with(Request::post(&self.path, message.to_string()))
    }

    /// Calls `append` and reads the whole answer, however it comes.
    async fn append(&self, at: SocketAddr, id: u64, uuid: &str) -> Result<Reply, Fault> {
        self.post(&append(id, uuid, &json!({}))).reply(at).await
    }

    async fn resume(&self, at: SocketAddr, last_id: &str) -> Result<Incoming, Fault> {
        let request = self.with(Request::stream(&self.path));
        request.header("Last-Event-ID", last_id).send(at).await
    }
}

/// A call of the ledger, with more arguments.
fn append(id: u64, uuid: &str, more: &Value) -> Value {
    let mut arguments = more.clone();
    if let Some(members) = arguments.as_object_mut() {
        members.insert("uuid".to_owned(), json!(uuid));
    }
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": "append", "arguments": arguments
    }})
}

/// The text a call was answered with, or what else came.
fn text(message: &Value) -> Result<&str, Fault> {
    let text = message.pointer("/result/content/0/text").and_then(Value::as_str);
    text.ok_or_else(|| format!("no result: {message}").into())
}

/// The code of an error and what it says of the call.
fn refusal(message: &Value) -> (Option<i64>, Value) {
    let code = message.pointer("/error/code").and_then(Value::as_i64);
    (code, message.pointer("/error/data/dispatched").cloned().unwrap_or_default())
}

/// Reads a stream until the answer to `id`; the ids of all events up to it are added to `ids`.
async fn answer(stream: &mut Incoming, id: u64, ids: &mut Vec<String>) -> Result<Value, Fault> {
    within(format!("the answer to {id}"), async {
        while let Some(event) = stream.event().await? {
            ids.extend(event.id.map(|id| id.to_string()));
            let Ok(message) = serde_json::from_str::<Value>(&event.data) else { continue };
            let is_answer = message.get("method").is_none();
            if is_answer && message.get("id") == Some(&json!(id)) {
                return Ok(message);
            }
        }
        Err(Fault::from("the stream ended before"))
    })
    .await
}
