//! One legacy session over any of the three transports, byte by byte where that matters.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::http1::Request;
use crate::{Fault, within};

/// Messages that may wait to be taken.
const INBOX: usize = 1024;

/// The three ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP, `/mcp`.
    Mcp,
    /// HTTP+SSE, `/sse` and `/messages`.
    Sse,
    /// WebSocket, `/ws`.
    Ws,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mcp, Self::Sse, Self::Ws];

    /// The first segment of its paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mcp => "mcp",
            Self::Sse => "sse",
            Self::Ws => "ws",
        }
    }
}

/// A session after its `initialize`.
#[derive(Debug)]
pub struct Client {
    way: Way,
    address: SocketAddr,
    inbox: mpsc::Receiver<String>,
    put: mpsc::Sender<String>,
    readers: JoinSet<()>,
    next_id: u64,
    /// Notifications and requests that arrived while an answer was awaited.
    pub told: Vec<Value>,
    /// The result of `initialize`.
    pub initialized: Value,
    /// Whether the last POST on `/mcp` was answered by an event stream.
    pub is_streamed: bool,
}

/// Where a message is written to.
#[derive(Debug)]
enum Way {
    Mcp { path: String, session: Option<String> },
    Sse { endpoint: String },
    Ws { outbox: mpsc::Sender<Message> },
}

impl Client {
    /// Opens a session with one server, or with all of them as one, and initialises it.
    ///
    /// # Errors
    /// The gateway refuses any step of it.
    pub async fn open(
        gateway: impl Into<SocketAddr>,
        transport: Transport,
        server: Option<&str>,
    ) -> Result<Self, Fault> {
        Self::open_able(gateway, transport, server, json!({})).await
    }

    /// As [`Client::open`], declaring these capabilities.
    ///
    /// # Errors
    /// The gateway refuses any step of it.
    pub async fn open_able(
        gateway: impl Into<SocketAddr>,
        transport: Transport,
        server: Option<&str>,
        capabilities: Value,
    ) -> Result<Self, Fault> {
        let at = server.map(|server| format!("/{server}")).unwrap_or_default();
        let path = format!("/{}{at}", transport.name());
        Self::open_at(gateway, transport, &path, capabilities).await
    }

    /// As [`Client::open_able`], at this path.
    ///
    /// # Errors
    /// The gateway refuses any step of it.
    pub async fn open_at(
        gateway: impl Into<SocketAddr>,
        transport: Transport,
        path: &str,
        capabilities: Value,
    ) -> Result<Self, Fault> {
        let mut client = Self::connect(gateway, transport, path).await?;
        client.initialize(capabilities).await?;
        Ok(client)
    }

    /// Connects and says nothing yet.
    ///
    /// # Errors
    /// The gateway refuses it.
    pub async fn connect(
        gateway: impl Into<SocketAddr>,
        transport: Transport,
        path: &str,
    ) -> Result<Self, Fault> {
        let path = path.to_owned();
        let (put, inbox) = mpsc::channel(INBOX);
        let mut readers = JoinSet::new();
        let address = gateway.into();
        let way = match transport {
            Transport::Mcp => Way::Mcp { path, session: None },
            Transport::Sse => {
                let endpoint = open_sse(address, &path, put.clone(), &mut readers).await?;
                Way::Sse { endpoint }
            }
            Transport::Ws => {
                let url = format!("ws://{address}{path}");
                Way::Ws { outbox: Box::pin(open_ws(&url, put.clone(), &mut readers)).await? }
            }
        };
        let (told, initialized) = (Vec::new(), Value::Null);
        let (next_id, is_streamed) = (1, false);
        Ok(Self { way, address, inbox, put, readers, next_id, told, initialized, is_streamed })
    }

    /// Sends a request with the next id and waits for its answer.
    ///
    /// # Errors
    /// It is refused by the transport, or no answer comes.
    pub async fn request(&mut self, method: &str, params: Value) -> Result<Value, Fault> {
        let id = json!(self.begin(method, params).await?);
        self.answer(&id).await
    }

    /// Sends a request with the next id and does not wait; the id.
    ///
    /// # Errors
    /// It is refused by the transport.
    pub async fn begin(&mut self, method: &str, params: Value) -> Result<u64, Fault> {
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await?;
        Ok(id)
    }

    /// Calls a tool and waits for the text it answers.
    ///
    /// # Errors
    /// The call is refused; the fault shows the error.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Result<String, Fault> {
        let params = json!({"name": tool, "arguments": arguments});
        let answer = self.request("tools/call", params).await?;
        let text = answer.pointer("/result/content/0/text").and_then(Value::as_str);
        Ok(text.ok_or_else(|| format!("{tool} answered {answer}"))?.to_owned())
    }

    /// Waits for the answer to `id`; what else arrives meanwhile goes to `told`.
    ///
    /// # Errors
    /// The session ends, or nothing comes.
    pub async fn answer(&mut self, id: &Value) -> Result<Value, Fault> {
        loop {
            let message = self.message().await?;
            let is_answer = message.get("method").is_none();
            if is_answer && message.get("id") == Some(id) {
                return Ok(message);
            }
            self.told.push(message);
        }
    }

    /// The next message, whatever it is.
    ///
    /// # Errors
    /// The session ends, or nothing comes.
    pub async fn message(&mut self) -> Result<Value, Fault> {
        Ok(serde_json::from_str(&self.text().await?)?)
    }

    /// The next message, byte for byte.
    ///
    /// # Errors
    /// The session ends, or nothing comes.
    pub async fn text(&mut self) -> Result<String, Fault> {
        within("a message", async {
            self.inbox.recv().await.ok_or_else(|| Fault::from("the session has ended"))
        })
        .await
    }

    /// Sends one message as it is.
    ///
    /// # Errors
    /// It is refused by the transport.
    pub async fn send(&mut self, message: Value) -> Result<(), Fault> {
        self.send_text(message.to_string()).await
    }

    /// Sends one message, byte for byte.
    ///
    /// # Errors
    /// It is refused by the transport.
    pub async fn send_text(&mut self, text: String) -> Result<(), Fault> {
        match &mut self.way {
            Way::Sse { endpoint } => {
                let reply = Request::post(endpoint, text).reply(self.address).await?;
                accepted(reply.status, &reply.text())
            }
            Way::Ws { outbox } => Ok(outbox.send(Message::text(text)).await?),
            Way::Mcp { path, session } => {
                let mut request = Request::post(path, text);
                if let Some(session) = session {
                    request = request
                        .header("Mcp-Session-Id", session)
                        .header("MCP-Protocol-Version", "2025-11-25");
                }
                let incoming = request.send(self.address).await?;
                if let Some(id) = incoming.header("mcp-session-id") {
                    *session = Some(id.to_owned());
                }
                let is_stream = incoming
                    .header("content-type")
                    .is_some_and(|kind| kind.starts_with("text/event-stream"));
                self.is_streamed = is_stream;
                if is_stream {
                    let put = self.put.clone();
                    self.readers.spawn(read_stream(incoming, put));
                    return Ok(());
                }
                let reply = incoming.reply().await?;
                if reply.status == 202 {
                    return Ok(());
                }
                // Not by value: no number type holds every number that JSON has.
                let text = reply.text();
                let is_json: Result<IgnoredAny, _> = serde_json::from_str(&text);
                is_json.map_err(|fault| format!("{fault}: {} {text}", reply.status))?;
                Ok(self.put.send(text).await?)
            }
        }
    }

    /// Opens the stream of `/mcp` for what servers say unasked; the other transports have one.
    ///
    /// # Errors
    /// It is refused.
    pub async fn listen(&mut self) -> Result<(), Fault> {
        let Way::Mcp { path, session: Some(session) } = &self.way else { return Ok(()) };
        let request = Request::stream(path)
            .header("Mcp-Session-Id", session)
            .header("MCP-Protocol-Version", "2025-11-25");
        let incoming = request.send(self.address).await?;
        if incoming.status != 200 {
            return Err(format!("GET {path} answered {}", incoming.status).into());
        }
        self.readers.spawn(read_stream(incoming, self.put.clone()));
        Ok(())
    }

    /// Ends the session as its transport has it: by a DELETE, or by hanging up.
    ///
    /// # Errors
    /// The DELETE is refused.
    pub async fn end(self) -> Result<(), Fault> {
        let Way::Mcp { path, session: Some(session) } = &self.way else { return Ok(()) };
        let end = Request::new("DELETE", path).header("Mcp-Session-Id", session);
        let reply = end.reply(self.address).await?;
        if reply.status / 100 == 2 {
            return Ok(());
        }
        Err(format!("DELETE answered {} {}", reply.status, reply.text()).into())
    }

    /// Has every request from now on go to another gateway; streams that are open stay.
    pub fn go_to(&mut self, gateway: SocketAddr) {
        self.address = gateway;
    }

    /// The session id, where the transport has one.
    pub fn session_id(&self) -> Option<&str> {
        match &self.way {
            Way::Mcp { session, .. } => session.as_deref(),
            Way::Sse { .. } | Way::Ws { .. } => None,
        }
    }

    /// Where messages are posted to, on HTTP+SSE.
    pub fn endpoint(&self) -> Option<&str> {
        match &self.way {
            Way::Sse { endpoint } => Some(endpoint),
            Way::Mcp { .. } | Way::Ws { .. } => None,
        }
    }

    /// Makes it a session.
    ///
    /// # Errors
    /// The gateway refuses it.
    pub async fn initialize(&mut self, capabilities: Value) -> Result<(), Fault> {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "clientInfo": {"name": "edge-tests", "version": "1.0.0"}
        });
        self.initialized = self.request("initialize", params).await?;
        if self.initialized.get("result").is_none() {
            return Err(format!("initialize answered {}", self.initialized).into());
        }
        self.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await
    }
}

fn accepted(status: u16, body: &str) -> Result<(), Fault> {
    if status == 202 { Ok(()) } else { Err(format!("answered {status} {body}").into()) }
}

/// Opens the stream and reads the endpoint; every message after it is put into the inbox.
async fn open_sse(
    address: SocketAddr,
    path: &str,
    put: mpsc::Sender<String>,
    readers: &mut JoinSet<()>,
) -> Result<String, Fault> {
    let mut incoming = Request::stream(path).send(address).await?;
    if incoming.status != 200 {
        let reply = incoming.reply().await?;
        return Err(format!("{path} answered {} {}", reply.status, reply.text()).into());
    }
    let first = within("the endpoint", incoming.event()).await?.ok_or("the stream is empty")?;
    if first.event.as_deref() != Some("endpoint") {
        return Err(format!("the first event is {first:?}").into());
    }
    readers.spawn(read_stream(incoming, put));
    Ok(first.data.to_string())
}

async fn read_stream(mut incoming: crate::http1::Incoming, put: mpsc::Sender<String>) {
    while let Ok(Some(text)) = incoming.data().await {
        if put.send(text).await.is_err() {
            return;
        }
    }
}

async fn open_ws(
    url: &str,
    put: mpsc::Sender<String>,
    readers: &mut JoinSet<()>,
) -> Result<mpsc::Sender<Message>, Fault> {
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", http::HeaderValue::from_static("mcp"));
    let (socket, _head) = within("the upgrade", tokio_tungstenite::connect_async(request)).await?;
    let (mut write, mut read) = socket.split();
    let (outbox, mut out) = mpsc::channel::<Message>(INBOX);
    readers.spawn(async move {
        while let Some(message) = out.recv().await {
            if write.send(message).await.is_err() {
                return;
            }
        }
    });
    readers.spawn(async move {
        while let Some(Ok(frame)) = read.next().await {
            let Message::Text(text) = frame else { continue };
            if put.send(text.to_string()).await.is_err() {
                return;
            }
        }
    });
    Ok(outbox)
}
