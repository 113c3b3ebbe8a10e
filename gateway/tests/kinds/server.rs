//! A scripted MCP server that speaks HTTP+SSE or WebSocket.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, StatusCode};
use mcp_gateway::supervise::Tasks;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{
    ErrorResponse, Request, Response as Hello,
};

/// How the server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sse,
    Ws,
}

/// What the server does on one connection.
#[derive(Clone, Debug)]
enum Act {
    Say(String),
    /// A binary frame, or an event of no message.
    Binary,
    Cut,
}

/// The server's memory, over all its connections.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The methods and answers that came, in their order.
    pub heard: Mutex<Vec<Value>>,
    /// Connections by number; a closed channel is one that ended.
    links: Mutex<BTreeMap<usize, mpsc::Sender<Act>>>,
    /// What the `endpoint` event says before the number of the connection.
    pub endpoint: Mutex<String>,
    /// A POST of a call is answered only when the call is.
    pub posts_late: Mutex<bool>,
    /// The next POST is answered as one of an unknown session.
    pub forgotten: Mutex<bool>,
    /// The request a client is asked for, and the call that waits for the answer.
    asked: Mutex<Option<Value>>,
}

/// A running server.
pub(crate) struct Server {
    pub url: String,
    pub memory: Arc<Memory>,
    tasks: Tasks,
}

impl Server {
    pub(crate) async fn start(kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let memory = Arc::new(Memory::default());
        "/messages?n=".clone_into(&mut memory.endpoint.lock());
        let tasks = Tasks::new();
        let url = match kind {
            Kind::Sse => {
                let routes = Router::new()
                    .route("/sse", get(stream))
                    .route("/messages", axum::routing::post(post))
                    .with_state(memory.clone());
                tasks.spawn(
                    "sse-server",
                    async move { axum::serve(listener, routes).await.unwrap() },
                );
                format!("http://{address}/sse")
            }
            Kind::Ws => {
                tasks.spawn("ws-server", accept(listener, memory.clone(), tasks.clone()));
                format!("ws://{address}/mcp")
            }
        };
        Self { url, memory, tasks }
    }

    /// How many clients are connected.
    pub(crate) fn connected(&self) -> usize {
        self.memory.links.lock().values().filter(|link| !link.is_closed()).count()
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.memory.links.lock().len()
    }

    pub(crate) fn heard(&self, method: &str) -> Option<Value> {
        let heard = self.memory.heard.lock();
        heard.iter().rev().find(|message| message["method"] == method).cloned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

impl Memory {
    fn enter(&self) -> (usize, mpsc::Receiver<Act>) {
        let (sender, receiver) = mpsc::channel(64);
        let mut links = self.links.lock();
        let number = links.len();
        links.insert(number, sender);
        (number, receiver)
    }

    fn link(&self, number: usize) -> Option<mpsc::Sender<Act>> {
        self.links.lock().get(&number).filter(|link| !link.is_closed()).cloned()
    }

    async fn react(&self, text: &str, link: &mpsc::Sender<Act>) {
        let message: Value = serde_json::from_str(text).unwrap();
        self.heard.lock().push(message.clone());
        for act in self.acts(&message) {
            link.send(act).await.ok();
        }
    }

    fn acts(&self, message: &Value) -> Vec<Act> {
        let say = |value: Value| Act::Say(value.to_string());
        let id = &message["id"];
        let answer = |text: &str| {
            let result = json!({"content": [{"type": "text", "text": text}]});
            say(json!({"jsonrpc": "2.0", "id": id, "result": result}))
        };
        let note = |method: &str, params: Value| {
            say(json!({"jsonrpc": "2.0", "method": method, "params": params}))
        };
        let params = &message["params"];
        match message["method"].as_str() {
            Some("initialize") => {
                let capabilities = json!({"tools": {"listChanged": true}, "logging": {},
                    "resources": {"subscribe": true}});
                let result = json!({"protocolVersion": params["protocolVersion"],
                    "capabilities": capabilities, "serverInfo": {"name": "s", "version": "1"}});
                vec![say(json!({"jsonrpc": "2.0", "id": id, "result": result}))]
            }
            Some("tools/call") => match params["name"].as_str().unwrap() {
                "progress" => {
                    let token = &params["_meta"]["progressToken"];
                    let progress = json!({"progressToken": token, "progress": 1});
                    vec![note("notifications/progress", progress), answer("done")]
                }
                "ask" => {
                    *self.asked.lock() = Some(id.clone());
                    let ask = json!({"jsonrpc": "2.0", "id": "ask-1", "method": "roots/list"});
                    vec![say(ask)]
                }
                "change" => vec![
                    note("notifications/tools/list_changed", json!({})),
                    note("notifications/resources/updated", json!({"uri": "a://b"})),
                    say(json!({"jsonrpc": "2.0", "id": "ping-1", "method": "ping"})),
                    answer("changed"),
                ],
                "hang" => Vec::new(),
                "cut" => vec![Act::Cut],
                "binary" => vec![Act::Binary],
                other => vec![answer(other)],
            },
            Some(_) if !id.is_null() => {
                vec![say(json!({"jsonrpc": "2.0", "id": id, "result": {}}))]
            }
            Some(_) => Vec::new(),
            None if id == "ask-1" => {
                let call = self.asked.lock().take().unwrap();
                let result = json!({"content": [], "roots": message["result"]["roots"]});
                vec![say(json!({"jsonrpc": "2.0", "id": call, "result": result}))]
            }
            None => Vec::new(),
        }
    }
}

async fn stream(State(memory): State<Arc<Memory>>, headers: HeaderMap) -> Response {
    assert_eq!(headers[AUTHORIZATION], "Bearer x");
    let (number, mut acts) = memory.enter();
    let endpoint = format!("event: endpoint\ndata: {}{number}\n\n", memory.endpoint.lock());
    let events = async_stream(endpoint, async move || match acts.recv().await {
        Some(Act::Say(text)) => Some(format!("event: message\ndata: {text}\n\n")),
        Some(Act::Binary) => Some("event: noise\ndata: x\n\n".to_owned()),
        Some(Act::Cut) | None => None,
    });
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(Body::from_stream(events)).unwrap()
}

/// The first part, then what `next` yields until it yields nothing.
fn async_stream(
    first: String,
    next: impl AsyncFnMut() -> Option<String> + Send + 'static,
) -> impl futures_util::Stream<Item = Result<String, Infallible>> {
    let state = (Some(first), next);
    futures_util::stream::unfold(state, |(first, mut next)| async move {
        let part = match first {
            Some(first) => first,
            None => next().await?,
        };
        Some((Ok(part), (None, next)))
    })
}

async fn post(
    State(memory): State<Arc<Memory>>,
    Query(query): Query<BTreeMap<String, usize>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    assert_eq!(headers[AUTHORIZATION], "Bearer x");
    let forgotten = std::mem::take(&mut *memory.forgotten.lock());
    let Some(link) = memory.link(query["n"]).filter(|_| !forgotten) else {
        return (StatusCode::NOT_FOUND, "no such session");
    };
    let text = String::from_utf8(body.to_vec()).unwrap();
    memory.react(&text, &link).await;
    if *memory.posts_late.lock() {
        while memory.asked.lock().is_some() {
            sleep(Duration::from_millis(2)).await;
        }
        return (StatusCode::OK, "done");
    }
    (StatusCode::ACCEPTED, "Accepted")
}

async fn accept(listener: TcpListener, memory: Arc<Memory>, tasks: Tasks) {
    loop {
        let (socket, _from) = listener.accept().await.unwrap();
        #[expect(clippy::result_large_err, reason = "the signature is the library's")]
        let greet = |request: &Request, mut hello: Hello| {
            assert_eq!(request.headers()[AUTHORIZATION], "Bearer x");
            let offered = request.headers()[SEC_WEBSOCKET_PROTOCOL].clone();
            hello.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, offered);
            Ok::<_, ErrorResponse>(hello)
        };
        let upgrading = Box::pin(tokio_tungstenite::accept_hdr_async(socket, greet));
        let mut socket = upgrading.await.unwrap();
        let memory = memory.clone();
        tasks.spawn("ws-talk", async move {
            let (number, mut acts) = memory.enter();
            loop {
                tokio::select! {
                    act = acts.recv() => {
                        let frame = match act {
                            Some(Act::Say(text)) => Message::text(text),
                            Some(Act::Binary) => Message::binary("x"),
                            Some(Act::Cut) | None => return,
                        };
                        if socket.send(frame).await.is_err() { return }
                    }
                    frame = socket.next() => match frame {
                        Some(Ok(Message::Text(text))) => {
                            let Some(link) = memory.link(number) else { return };
                            memory.react(&text, &link).await;
                        }
                        Some(Ok(Message::Close(frame))) => {
                            let code = frame.map(|frame| u16::from(frame.code));
                            memory.heard.lock().push(json!({"method": "close", "code": code}));
                        }
                        Some(Ok(_)) => {}
                        Some(Err(_)) | None => return,
                    },
                }
            }
        });
    }
}
