//! Servers of all five kinds that say what a test wrote down and keep what they hear, to the byte.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::routing::{get, post};
use edge_tests::edge::puppet;
use edge_tests::{Fault, until, within};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::links::{take_pipes, take_sockets};
use super::speech::{event, events, reply};
use super::template::fill;

/// How long a look for a message waits for the next one.
const POLL: Duration = Duration::from_millis(2);

/// The kinds of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A process of the session's own.
    Stdio,
    /// A process that all sessions share.
    Pooled,
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE.
    Sse,
    /// WebSocket.
    Ws,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self::Stdio, Self::Pooled, Self::Http, Self::Sse, Self::Ws];

    /// The id of its server.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stdio => "process",
            Self::Pooled => "pool",
            Self::Http => "streamable",
            Self::Sse => "events",
            Self::Ws => "socket",
        }
    }
}

/// What a server does when it reads a request with a certain mark in it.
#[derive(Debug, Clone)]
struct Scene {
    mark: String,
    lines: Vec<Line>,
}

/// One thing a server does.
#[derive(Debug, Clone)]
pub(super) enum Line {
    /// It says this, with the id and the token of the request put in.
    Say(String),
    /// It waits until it has read a message with this mark.
    Hear(String),
}

/// One server; every conversation with it goes by the same book.
#[derive(Debug)]
pub(super) struct Stage {
    kind: Kind,
    /// What it has read, and whether the test has seen that.
    heard: Mutex<Vec<(String, bool)>>,
    scenes: Mutex<Vec<Scene>>,
    /// The conversation that was last called.
    called: Mutex<Option<u64>>,
    /// Where each conversation can be spoken into unasked.
    pub(super) links: Mutex<BTreeMap<u64, mpsc::Sender<String>>>,
    last: AtomicU64,
    /// What is played beside the exchange it began in.
    plays: Mutex<JoinSet<()>>,
}

/// A server as those see it who play it.
pub(super) type Shared = Arc<Stage>;

impl Stage {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            heard: Mutex::default(),
            scenes: Mutex::default(),
            called: Mutex::default(),
            links: Mutex::default(),
            last: AtomicU64::new(0),
            plays: Mutex::default(),
        }
    }

    /// The URI of its only resource.
    pub(super) fn uri(&self) -> String {
        format!("stage://{}/thing", self.kind.name())
    }

    /// Starts a server of this kind; how the gateway's configuration has it.
    pub(super) async fn open(
        kind: Kind,
        tasks: &mut JoinSet<()>,
    ) -> Result<(Shared, Value), Fault> {
        let stage = Arc::new(Self::new(kind));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let config = match kind {
            Kind::Stdio => json!({"command": puppet(address.port())}),
            Kind::Pooled => {
                json!({"command": puppet(address.port()), "isolation": "pooled", "pool_size": 1})
            }
            Kind::Http => json!({"url": format!("http://{address}/mcp")}),
            Kind::Sse => json!({"type": "sse", "url": format!("http://{address}/sse")}),
            Kind::Ws => json!({"url": format!("ws://{address}/ws")}),
        };
        match kind {
            Kind::Stdio | Kind::Pooled => tasks.spawn(take_pipes(stage.clone(), listener)),
            Kind::Ws => tasks.spawn(take_sockets(stage.clone(), listener)),
            Kind::Http | Kind::Sse => {
                let router = axum::Router::new()
                    .route("/mcp", post(take_post).get(open_unasked).delete(|| async {}))
                    .route("/sse", get(open_sse))
                    .route("/messages", post(take_message))
                    .with_state(stage.clone());
                tasks.spawn(async move {
                    let _ended = axum::serve(listener, router).await;
                })
            }
        };
        Ok((stage, config))
    }

    /// Writes a scene into the book.
    pub(super) fn rehearse(&self, mark: &str, lines: Vec<Line>) {
        self.scenes.lock().push(Scene { mark: mark.to_owned(), lines });
    }

    /// Waits for the next message with this mark, byte for byte.
    pub(super) async fn heard(&self, mark: &str) -> Result<String, Fault> {
        let take = || {
            let mut heard = self.heard.lock();
            let fresh = heard.iter_mut().find(|(text, seen)| !seen && text.contains(mark));
            fresh.map(|(text, seen)| {
                *seen = true;
                text.clone()
            })
        };
        let mut got = None;
        within(format!("the server hears {mark}"), async {
            while got.is_none() {
                got = take();
                tokio::time::sleep(POLL).await;
            }
            Ok::<_, Fault>(())
        })
        .await?;
        Ok(got.unwrap_or_default())
    }

    /// Says something unasked in the conversation that was called last.
    pub(super) async fn say(&self, text: String) -> Result<(), Fault> {
        until("a stream for what is said unasked", || async { self.voice().is_some() }).await?;
        let voice = self.voice().ok_or("nobody listens")?;
        Ok(voice.send(text).await?)
    }

    fn voice(&self) -> Option<mpsc::Sender<String>> {
        let called = *self.called.lock();
        self.links.lock().get(&called?).cloned()
    }

    fn has_heard(&self, mark: &str) -> bool {
        self.heard.lock().iter().any(|(text, _)| text.contains(mark))
    }

    /// Takes a message in and plays its scene, if it has one.
    pub(super) async fn take_in(&self, text: &str, voice: &mpsc::Sender<String>, link: u64) {
        self.heard.lock().push((text.to_owned(), false));
        let Ok(Envelope { id: Some(id), method: Some(method), params }) =
            serde_json::from_str(text)
        else {
            return;
        };
        let scene = self.scenes.lock().iter().find(|it| text.contains(&it.mark)).cloned();
        let Some(scene) = scene else {
            let _gone = voice.send(self.usual(id.get(), &method)).await;
            return;
        };
        *self.called.lock() = Some(link);
        let token = params.and_then(token_of).unwrap_or_default();
        for line in scene.lines {
            match line {
                Line::Say(template) => {
                    let said = fill(&template, &[("ID", id.get()), ("TOKEN", token)]);
                    let _gone = voice.send(said).await;
                }
                Line::Hear(mark) => {
                    let _late = until("an answer", || async { self.has_heard(&mark) }).await;
                }
            }
        }
    }

    /// Takes a message in while the exchange that brought it goes on.
    fn play(self: &Shared, text: String, voice: mpsc::Sender<String>, link: u64) {
        let stage = self.clone();
        let mut plays = self.plays.lock();
        while plays.try_join_next().is_some() {}
        plays.spawn(async move { stage.take_in(&text, &voice, link).await });
    }

    /// A conversation begins.
    pub(super) fn enter(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed)
    }

    /// What every server answers that was told nothing else.
    fn usual(&self, id: &str, method: &str) -> String {
        let result = match method {
            "initialize" => json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {
                    "tools": {"listChanged": true},
                    "prompts": {"listChanged": true},
                    "resources": {"subscribe": true, "listChanged": true},
                    "completions": {}, "logging": {}
                },
                "serverInfo": {"name": "stage", "version": "1"}
            }),
            "tools/list" => json!({"tools": [{"name": "same", "inputSchema": {"type": "object"}}]}),
            "prompts/list" => json!({"prompts": [{"name": "same"}]}),
            "resources/list" => json!({"resources": [{"name": "thing", "uri": self.uri()}]}),
            "resources/templates/list" => json!({"resourceTemplates": []}),
            _ => json!({}),
        };
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}")
    }
}

/// The members of a message that a server has to look at.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

fn token_of(params: &RawValue) -> Option<&str> {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        _meta: Option<Meta<'a>>,
    }
    #[derive(Deserialize)]
    struct Meta<'a> {
        #[serde(borrow, rename = "progressToken")]
        progress_token: Option<&'a RawValue>,
    }
    let params: Params<'_> = serde_json::from_str(params.get()).ok()?;
    Some(params._meta?.progress_token?.get())
}

// === Streamable HTTP ===

/// A lone answer is a JSON text, everything else an event stream.
async fn take_post(
    State(stage): State<Shared>,
    headers: HeaderMap,
    text: String,
) -> Response<Body> {
    let (voice, mut said) = mpsc::channel(64);
    let is_request = serde_json::from_str(&text)
        .is_ok_and(|it: Envelope<'_>| it.id.is_some() && it.method.is_some());
    let known = session_of(&headers);
    let link = known.unwrap_or_else(|| stage.enter());
    stage.play(text, voice, link);
    if !is_request {
        return reply(StatusCode::ACCEPTED, "text/plain", Body::empty());
    }
    let first = said.recv().await.unwrap_or_default();
    let is_answer = !first.contains("\"method\":");
    let mut response = if is_answer {
        reply(StatusCode::OK, "application/json", Body::from(first))
    } else {
        let head = stream::iter([first]);
        events(head.chain(stream::poll_fn(move |cx| said.poll_recv(cx))))
    };
    if known.is_none() {
        response.headers_mut().insert("mcp-session-id", HeaderValue::from(link));
    }
    response
}

fn session_of(headers: &HeaderMap) -> Option<u64> {
    headers.get("mcp-session-id")?.to_str().ok()?.parse().ok()
}

async fn open_unasked(State(stage): State<Shared>, headers: HeaderMap) -> Response<Body> {
    let (voice, mut said) = mpsc::channel(64);
    let Some(link) = session_of(&headers) else {
        return reply(StatusCode::BAD_REQUEST, "text/plain", Body::empty());
    };
    stage.links.lock().insert(link, voice);
    events(stream::poll_fn(move |cx| said.poll_recv(cx)))
}

// === HTTP+SSE ===

#[derive(Deserialize)]
struct Link {
    link: u64,
}

async fn open_sse(State(stage): State<Shared>) -> Response<Body> {
    let (voice, mut said) = mpsc::channel(64);
    let link = stage.enter();
    stage.links.lock().insert(link, voice);
    let endpoint = format!("event: endpoint\ndata: /messages?link={link}\n\n");
    let messages = stream::poll_fn(move |cx| said.poll_recv(cx)).map(|text| event(&text));
    let all = stream::iter([endpoint]).chain(messages).map(Ok::<_, Infallible>);
    reply(StatusCode::OK, "text/event-stream", Body::from_stream(all))
}

async fn take_message(
    State(stage): State<Shared>,
    Query(Link { link }): Query<Link>,
    text: String,
) -> StatusCode {
    let Some(voice) = stage.links.lock().get(&link).cloned() else { return StatusCode::NOT_FOUND };
    stage.play(text, voice, link);
    StatusCode::ACCEPTED
}
