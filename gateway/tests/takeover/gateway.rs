//! Whole gateways in this process, over one store, each with threads of its own to die with.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use mcp_gateway::app::App;
use mcp_gateway::config::{Config, Secret, ServerConfig};
use mcp_gateway::session::id::Keyring;
use mcp_gateway::session::memory::MemoryStore;
use mcp_gateway::session::principal::Principal;
use mcp_gateway::session::store::Store;
use mcp_gateway::session::tenure::Replica;
use mcp_gateway::transport::http::{Answer, AnswerKind, Client, SESSION_ID, Target};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::replica::DEADLINE;

const SECRET: &str = "a secret of the operator, 32 bytes and more";

/// One gateway.
pub(crate) struct Gateway {
    runtime: Option<Runtime>,
    public: SocketAddr,
    pub admin: SocketAddr,
}

impl Gateway {
    pub(crate) async fn start(store: &MemoryStore, server: &ServerConfig) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        let servers = vec![server.clone()];
        let mut config = Config { admin_port: 0, servers, ..Config::default() };
        config.listen.port = 0;
        config.session.secret = Some(Secret::new(SECRET));
        let store: Arc<dyn Store> = Arc::new(store.clone());
        let vars = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        let starting = move || {
            let app = runtime.block_on(App::start_with(config, &vars, store)).unwrap();
            let addresses = app.addresses();
            // It lasts as long as its threads.
            std::mem::forget(app);
            (runtime, addresses)
        };
        let (runtime, addresses) = tokio::task::spawn_blocking(starting).await.unwrap();
        Self { runtime: Some(runtime), public: addresses.public, admin: addresses.admin }
    }

    /// Ends at once, without a word.
    pub(crate) async fn kill(mut self) {
        // Its connections are closed by then, as those of a process are that was killed.
        let runtime = self.runtime.take();
        let ending = move || runtime.into_iter().for_each(|it| it.shutdown_timeout(DEADLINE));
        tokio::task::spawn_blocking(ending).await.unwrap();
        let refused = async { while TcpStream::connect(self.admin).await.is_ok() {} };
        timeout(DEADLINE, refused).await.unwrap();
    }

    /// Opens a session; its id.
    pub(crate) async fn open(&self) -> String {
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "c", "version": "1"}});
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let session = self.post(None, &hello).await.session_id.unwrap();
        let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let told = self.post(Some(&session), &note).await;
        assert!(matches!(told.kind, AnswerKind::Accepted), "{told:?}");
        session
    }

    /// What the tool `echo` says.
    pub(crate) async fn echo(&self, session: &str, text: &str) -> String {
        let params = json!({"name": "echo", "arguments": {"text": text}});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let answer = match self.post(Some(session), &call).await.kind {
            AnswerKind::Json(text) => serde_json::from_slice::<Value>(&text).unwrap(),
            AnswerKind::Stream(mut stream) => loop {
                let event = timeout(DEADLINE, stream.next()).await.unwrap().unwrap().unwrap();
                let message = serde_json::from_str::<Value>(&event.data).unwrap_or_default();
                if message["id"] == 1 {
                    break message;
                }
            },
            AnswerKind::Accepted => panic!("an answer"),
        };
        let said = answer.pointer("/result/content/0/text").and_then(Value::as_str);
        said.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    async fn post(&self, session: Option<&str>, message: &Value) -> Answer {
        let mut target = Target::new(&format!("http://{}/mcp", self.public), []).unwrap();
        if let Some(session) = session {
            target.set(SESSION_ID, HeaderValue::from_str(session).unwrap());
        }
        let client = Client::new();
        let sending = client.post(&target, Bytes::from(message.to_string()));
        timeout(DEADLINE, sending).await.unwrap().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// Where the clients without a credential are pinned to.
pub(crate) async fn pinned(store: &MemoryStore) -> SocketAddr {
    let holder = Keyring::new(Some(SECRET)).holder(&Principal::anonymous());
    let nobody = Replica::new("nobody", "http://127.0.0.1:9");
    let pinned = store.pin(holder, nobody, None).await.unwrap();
    pinned.url.strip_prefix("http://").unwrap().parse().unwrap()
}
