//! A gateway in front of one server, and a client of its `/mcp/s`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use mcp_gateway::app::App;
use mcp_gateway::config::{Config, HttpConfig, Listen, Secret, ServerConfig, ServerKind};
use mcp_gateway::transport::http::{
    AnswerKind, Client, EventStream, HttpFault, SESSION_ID, Target,
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::server::{Kind, Server};

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Gateway {
    client: Client,
    target: Target,
    _app: App,
}

impl Gateway {
    /// A gateway that knows the server as `s`; no session is open yet.
    pub(crate) async fn start(kind: Kind, urls: &[&str]) -> Self {
        let remote = HttpConfig {
            instances: urls.iter().map(|&url| url.to_owned()).collect(),
            headers: BTreeMap::from([("authorization".to_owned(), Secret::new("Bearer x"))]),
        };
        let mut server = ServerConfig::new(
            "s",
            match kind {
                Kind::Sse => ServerKind::Sse(remote),
                Kind::Ws => ServerKind::WebSocket(remote),
            },
        );
        server.start_timeout = Duration::from_secs(5);
        let listen = Listen { port: 0, ..Listen::default() };
        let config = Config { listen, admin_port: 0, servers: vec![server], ..Config::default() };
        let app = App::start(config, &BTreeMap::new()).await.unwrap();
        let url = format!("http://{}/mcp/s", app.addresses().public);
        let target = Target::new(&url, []).unwrap();
        Self { client: Client::new(), target, _app: app }
    }

    /// A gateway with a session whose handshake is done.
    pub(crate) async fn ready(kind: Kind, server: &Server) -> Self {
        let mut gateway = Self::start(kind, &[&server.url]).await;
        let answer = gateway.initialize().await;
        assert_eq!(answer["result"]["serverInfo"]["name"], "s", "{answer}");
        gateway.tell(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        gateway
    }

    pub(crate) async fn initialize(&mut self) -> Value {
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {"roots": {}},
            "clientInfo": {"name": "c", "version": "1"}});
        let text = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let sending = self.client.post(&self.target, body(&text));
        let answer = match timeout(DEADLINE, sending).await.unwrap() {
            Ok(answer) => answer,
            Err(HttpFault::Status { body, .. }) => return serde_json::from_slice(&body).unwrap(),
            Err(fault) => panic!("{fault}"),
        };
        if let Some(id) = &answer.session_id {
            self.target.set(SESSION_ID, HeaderValue::from_str(id).unwrap());
        }
        match answer.kind {
            AnswerKind::Json(text) => serde_json::from_slice(&text).unwrap(),
            AnswerKind::Stream(mut stream) => next(&mut stream).await,
            AnswerKind::Accepted => panic!("an answer"),
        }
    }

    /// Sends what is not answered.
    pub(crate) async fn tell(&self, message: &Value) {
        let sending = self.client.post(&self.target, body(message));
        let answer = timeout(DEADLINE, sending).await.unwrap().unwrap();
        assert!(matches!(answer.kind, AnswerKind::Accepted), "{answer:?}");
    }

    /// Calls a tool; the answer, and what was said before it. Requests are answered with a root.
    pub(crate) async fn call(&self, id: u64, tool: &str) -> (Value, Vec<Value>) {
        let token = format!("p-{id}");
        let params = json!({"name": tool, "arguments": {}, "_meta": {"progressToken": token}});
        self.ask(id, "tools/call", params).await
    }

    pub(crate) async fn ask(&self, id: u64, method: &str, params: Value) -> (Value, Vec<Value>) {
        let text = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let sending = self.client.post(&self.target, body(&text));
        let mut before = Vec::new();
        let mut stream = match timeout(DEADLINE, sending).await.unwrap() {
            Ok(answer) => match answer.kind {
                AnswerKind::Json(text) => return (serde_json::from_slice(&text).unwrap(), before),
                AnswerKind::Stream(stream) => stream,
                AnswerKind::Accepted => panic!("an answer"),
            },
            Err(HttpFault::Status { body, .. }) => {
                return (serde_json::from_slice(&body).unwrap(), before);
            }
            Err(fault) => panic!("{fault}"),
        };
        loop {
            let message = next(&mut stream).await;
            if message["method"].is_null() {
                assert_eq!(message["id"], id);
                return (message, before);
            }
            if !message["id"].is_null() {
                let result = json!({"roots": [{"uri": "file:///x"}]});
                self.tell(&json!({"jsonrpc": "2.0", "id": message["id"], "result": result})).await;
            }
            before.push(message);
        }
    }

    /// The stream of what is said unasked.
    pub(crate) async fn listen(&self) -> EventStream {
        let getting = self.client.get_stream(&self.target, None);
        timeout(DEADLINE, getting).await.unwrap().unwrap().unwrap()
    }

    pub(crate) async fn leave(&self) {
        self.client.delete(&self.target).await.unwrap();
    }

    /// What `GET /servers/s` says.
    pub(crate) async fn status(&self) -> Value {
        let base = self.target.uri().to_string().replace("/mcp/s", "/servers/s");
        let target = Target::new(&base, []).unwrap();
        let fault = self.client.get_stream(&target, None).await;
        assert!(fault.is_err());
        let text = tokio::net::TcpStream::connect(target.authority()).await.unwrap();
        let (mut read, mut write) = text.into_split();
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let head = "GET /servers/s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        write.write_all(head.as_bytes()).await.unwrap();
        let mut whole = String::new();
        read.read_to_string(&mut whole).await.unwrap();
        let (_, text) = whole.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(text).unwrap()
    }
}

pub(crate) async fn next(stream: &mut EventStream) -> Value {
    loop {
        let event = timeout(DEADLINE, stream.next()).await.unwrap().unwrap().unwrap();
        if !event.data.is_empty() {
            return serde_json::from_str(&event.data).unwrap();
        }
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let looking = async {
        while !is_so() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(DEADLINE, looking).await.is_ok(), "{what}");
}

fn body(message: &Value) -> Bytes {
    Bytes::from(message.to_string())
}
