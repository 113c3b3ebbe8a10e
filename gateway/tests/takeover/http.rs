//! A scripted Streamable HTTP server that keeps sessions, and tells what it heard.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode};
use mcp_gateway::supervise::Tasks;
use mcp_gateway::transport::http::SESSION_ID;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// What a server of the modern era says of itself.
const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],
    "capabilities":{"tools":{},"resources":{"subscribe":true}},
    "ttlMs":60000,"cacheScope":"public"}"#;

/// What came and who is there.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Each message with the session it came in.
    pub heard: Mutex<Vec<(String, Value)>>,
    /// The sessions that are known, and those who listen in them.
    sessions: Mutex<BTreeMap<String, Vec<mpsc::Sender<String>>>>,
    opened: Mutex<usize>,
    /// Sessions that were ended by their client.
    pub deleted: Mutex<Vec<String>>,
}

/// A running server.
pub(crate) struct Server {
    pub url: String,
    pub memory: Arc<Memory>,
    tasks: Tasks,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let (memory, tasks) = (Arc::new(Memory::default()), Tasks::new());
        let routes = Router::new()
            .route("/mcp", post(take).get(listen).delete(end))
            .with_state(memory.clone());
        tasks.spawn("server", async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, memory, tasks }
    }

    /// How often a method came.
    pub(crate) fn count(&self, method: &str) -> usize {
        let heard = self.memory.heard.lock();
        heard.iter().filter(|(_, message)| message["method"] == method).count()
    }

    /// The last message with this method, and its session.
    pub(crate) fn last(&self, method: &str) -> (String, Value) {
        let heard = self.memory.heard.lock();
        let found = heard.iter().rev().find(|(_, message)| message["method"] == method);
        found.cloned().unwrap_or_else(|| panic!("no {method} came"))
    }

    /// How many streams are open in a session.
    pub(crate) fn listeners(&self, session: &str) -> usize {
        let sessions = self.memory.sessions.lock();
        sessions.get(session).map_or(0, |all| all.iter().filter(|it| !it.is_closed()).count())
    }

    /// Says something on every stream of a session.
    pub(crate) fn say(&self, session: &str, message: &Value) {
        let sessions = self.memory.sessions.lock();
        for listener in &sessions[session] {
            listener.try_send(format!("data: {message}\n\n")).ok();
        }
    }

    /// Forgets every session, as a server that was restarted.
    pub(crate) fn forget(&self) {
        self.memory.sessions.lock().clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

fn session_of(headers: &HeaderMap) -> String {
    let id = headers.get(SESSION_ID).and_then(|it| it.to_str().ok());
    id.unwrap_or_default().to_owned()
}

fn plain(status: StatusCode) -> Response {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

async fn take(State(memory): State<Arc<Memory>>, headers: HeaderMap, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap();
    let mut session = session_of(&headers);
    let method = message["method"].as_str().unwrap_or_default().to_owned();
    if method == "subscriptions/listen" {
        memory.heard.lock().push((session, message.clone()));
        let note = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
            "params": {"notifications": message["params"]["notifications"],
                "_meta": {"io.modelcontextprotocol/subscriptionId": message["id"]}}});
        let (sender, receiver) = mpsc::channel(8);
        sender.try_send(format!("data: {note}\n\n")).unwrap();
        memory.sessions.lock().entry("modern".to_owned()).or_default().push(sender);
        return stream(receiver);
    }
    let is_modern =
        message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"].is_string();
    if method == "initialize" {
        let mut opened = memory.opened.lock();
        *opened += 1;
        session = format!("kept-by-server-{opened}");
        memory.sessions.lock().insert(session.clone(), Vec::new());
    } else if !is_modern && !memory.sessions.lock().contains_key(&session) {
        return plain(StatusCode::NOT_FOUND);
    }
    memory.heard.lock().push((session.clone(), message.clone()));
    let result = match method.as_str() {
        "initialize" => json!({"protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {"listChanged": true}, "logging": {},
                "resources": {"subscribe": true}},
            "serverInfo": {"name": "kept", "version": "1"}}),
        "server/discover" => serde_json::from_str(DISCOVERED).unwrap(),
        "tools/call" => json!({"resultType": "complete",
            "content": [{"type": "text", "text": session}]}),
        _ => json!({"resultType": "complete"}),
    };
    if message["id"].is_null() {
        return plain(StatusCode::ACCEPTED);
    }
    let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
    let response = Response::builder().header("content-type", "application/json");
    let response = match method.as_str() {
        "initialize" => response.header(SESSION_ID, session),
        _ => response,
    };
    response.body(Body::from(answer.to_string())).unwrap()
}

async fn listen(State(memory): State<Arc<Memory>>, headers: HeaderMap) -> Response {
    let (sender, receiver) = mpsc::channel(8);
    match memory.sessions.lock().get_mut(&session_of(&headers)) {
        Some(listeners) => listeners.push(sender),
        None => return plain(StatusCode::NOT_FOUND),
    }
    stream(receiver)
}

fn stream(receiver: mpsc::Receiver<String>) -> Response {
    let events = futures_util::stream::unfold(receiver, |mut receiver| async move {
        Some((Ok::<_, Infallible>(receiver.recv().await?), receiver))
    });
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(Body::from_stream(events.fuse())).unwrap()
}

async fn end(State(memory): State<Arc<Memory>>, headers: HeaderMap) -> StatusCode {
    let session = session_of(&headers);
    memory.sessions.lock().remove(&session);
    memory.deleted.lock().push(session);
    StatusCode::NO_CONTENT
}
