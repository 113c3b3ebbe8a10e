//! Stdio servers that are played by the test: real processes (`puppet`) whose every byte it writes.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Fault;

/// One process: what it reads, and what it is made to write. Dropping it kills the process.
#[derive(Debug)]
pub struct Strings {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Strings {
    fn new(socket: TcpStream) -> Self {
        let (read, write) = socket.into_split();
        Self { lines: BufReader::new(read).lines(), write }
    }

    /// The next message it reads; `None` once its standard input has ended.
    pub async fn hear(&mut self) -> Option<Value> {
        let line = self.lines.next_line().await.ok()??;
        serde_json::from_str(&line).ok()
    }

    /// Makes it write these bytes; false when it is gone.
    pub async fn say(&mut self, bytes: &[u8]) -> bool {
        self.write.write_all(bytes).await.is_ok()
    }

    /// Answers what every server is asked, and comes back with the first call of a tool.
    pub async fn next_call(&mut self, tool: &str) -> Option<Value> {
        loop {
            let message = self.hear().await?;
            let Some(id) = message.get("id") else { continue };
            let is_there = match message.get("method").and_then(Value::as_str)? {
                "tools/call" => return Some(message),
                "initialize" => self.greet(&message).await,
                "tools/list" => {
                    let tool = json!({"name": tool, "inputSchema": {"type": "object"}});
                    self.answer(id, &json!({"tools": [tool]})).await
                }
                _ => self.answer(id, &json!({})).await,
            };
            if !is_there {
                return None;
            }
        }
    }

    /// Answers an `initialize`; false when it is gone.
    pub async fn greet(&mut self, hello: &Value) -> bool {
        let result = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "puppet", "version": "1"}
        });
        self.answer(hello.get("id").unwrap_or(&Value::Null), &result).await
    }

    async fn answer(&mut self, id: &Value, result: &Value) -> bool {
        let line = format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "result": result}));
        self.say(line.as_bytes()).await
    }
}

/// The answer to a call of a tool, one text block, without the end of its line.
pub fn answer(call: &Value, text: &str) -> String {
    let id = call.get("id");
    let result = json!({"content": [{"type": "text", "text": text}]});
    json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
}

/// Has every process that connects to the port played by `play`.
///
/// # Errors
/// There is no port.
pub async fn troupe<P, F>(tasks: &mut JoinSet<()>, play: P) -> Result<u16, Fault>
where
    P: Fn(Strings) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    tasks.spawn(async move {
        let mut plays = JoinSet::new();
        while let Ok((socket, _puppet)) = listener.accept().await {
            while plays.try_join_next().is_some() {}
            plays.spawn(play(Strings::new(socket)));
        }
    });
    Ok(port)
}
