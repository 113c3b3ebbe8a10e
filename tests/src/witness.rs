//! A server that answers everything with little, and remembers what it was told, byte by byte.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::{Fault, until};

/// Copies each line to the file that is its first argument, and answers each that has an id.
const SCRIPT: &str = r#"
while IFS= read -r line; do
  printf '%s\n' "$line" >> "$1"
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  [ -n "$id" ] && printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$2"
done
"#;

/// A request as a witness over HTTP heard it.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

/// A witness over Streamable HTTP; it lives as long as the tasks it was started in.
#[derive(Debug, Clone)]
pub struct Witness {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// The result that a witness answers every request with, in either era.
pub fn result() -> Value {
    json!({
        "protocolVersion": "2025-06-18",
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "witness", "version": "1.0.0"},
        "resultType": "complete",
        "tools": [{"name": "look", "inputSchema": {"type": "object"}}],
        "content": [{"type": "text", "text": "seen"}]
    })
}

/// A witness over stdio, as the config file has it; what it hears is written to `file`.
pub fn stdio(file: &Path) -> Value {
    let result = result().to_string();
    json!({"command": ["sh", "-c", SCRIPT, "witness", file, result], "lists": "session"})
}

/// What a witness over stdio has heard that holds `what`.
///
/// # Errors
/// Nothing of the kind within the time of a step.
pub async fn heard(file: &Path, what: &str) -> Result<String, Fault> {
    let find = || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().rev().find(|line| line.contains(what)).map(ToOwned::to_owned)
    };
    until(format!("the witness hears {what}"), || async { find().is_some() }).await?;
    Ok(find().ok_or("it was heard")?)
}

impl Witness {
    /// Starts one.
    ///
    /// # Errors
    /// There is no port for it.
    pub async fn start(tasks: &mut JoinSet<()>) -> Result<Self, Fault> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let routes = Router::new().route("/mcp", post(answer)).with_state(heard.clone());
        tasks.spawn(async move {
            axum::serve(listener, routes).await.ok();
        });
        Ok(Self { address, heard })
    }

    /// It, as the config file has it.
    pub fn server(&self) -> Value {
        json!({"url": format!("http://{}/mcp", self.address)})
    }

    /// The last request whose body holds `what`.
    ///
    /// # Errors
    /// Nothing of the kind was heard.
    pub fn last(&self, what: &str) -> Result<Heard, Fault> {
        let heard = self.heard.lock();
        let found = heard.iter().rev().find(|it| it.body.contains(what));
        Ok(found.cloned().ok_or_else(|| format!("{what} was not heard: {heard:#?}"))?)
    }
}

impl Heard {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|it| it.to_str().ok())
    }

    /// What its `_meta` says under this name.
    pub fn meta(&self, name: &str) -> Option<String> {
        meta(&self.body, name)
    }
}

/// What a request's `_meta` says under a name.
pub fn meta(text: &str, name: &str) -> Option<String> {
    let message: Value = serde_json::from_str(text).ok()?;
    message.pointer(&format!("/params/_meta/{name}"))?.as_str().map(ToOwned::to_owned)
}

async fn answer(
    State(heard): State<Arc<Mutex<Vec<Heard>>>>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let message: Value = serde_json::from_str(&body).unwrap_or_default();
    heard.lock().push(Heard { headers, body });
    match message.get("id") {
        Some(id) => {
            let answer = json!({"jsonrpc": "2.0", "id": id, "result": result()});
            ([(CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
        }
        None => StatusCode::ACCEPTED.into_response(),
    }
}
