//! Replicas of one gateway in this process, over one store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use bytestring::ByteString;
use mcp_gateway::backend::Backends;
use mcp_gateway::backend::context::Context;
use mcp_gateway::config::{Limits, Naming, ServerConfig};
use mcp_gateway::relay::Relay;
use mcp_gateway::relay::conversation::Conversation;
use mcp_gateway::session::id::Keyring;
use mcp_gateway::session::lease::Lease;
use mcp_gateway::session::memory::MemoryStore;
use mcp_gateway::session::outlet::Reader;
use mcp_gateway::session::principal::Principal;
use mcp_gateway::session::replay::{Caps, Next};
use mcp_gateway::session::store::{Claim, Estate, Look, Store as _, StoredCall};
use mcp_gateway::session::table::{Sessions, Terms};
use mcp_gateway::session::tenure::{self, Tenure};
use mcp_gateway::session::vault::Vault;
use mcp_gateway::session::{Bounds, Streams as _, Transport};
use mcp_gateway::supervise::Tasks;
use mcp_gateway::telemetry::metrics::Metrics;
use mcp_gateway::transport::http::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use wire::json::JsonLimits;
use wire::message::Message;
use wire::refusal::Refusal;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
const SECRET: Option<&str> = Some("the secret of all replicas");

/// One replica.
pub(crate) struct Replica {
    pub relay: Arc<Relay>,
    pub store: MemoryStore,
    tasks: Tasks,
}

/// A client's session at a replica.
pub(crate) struct Talk {
    pub relay: Arc<Relay>,
    pub conversation: Arc<Conversation>,
    pub principal: Principal,
}

pub(crate) fn store() -> MemoryStore {
    MemoryStore::shared(Arc::new(Instant::now))
}

pub(crate) fn person(name: &str) -> Principal {
    Principal::of_credential(name)
}

impl Replica {
    pub(crate) fn start(store: &MemoryStore, servers: &[&ServerConfig]) -> Self {
        let tasks = Tasks::new();
        let context = Arc::new(Context {
            tasks: tasks.clone(),
            metrics: Arc::new(Metrics::new().unwrap()),
            traces: None,
            limits: Limits::default(),
            http: Client::new(),
            children: AtomicUsize::new(0),
            listers: Mutex::default(),
            vault: Vault::new(SECRET),
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        });
        let servers: Vec<_> = servers.iter().copied().cloned().collect();
        let backends = Backends::new(&servers, &context);
        let (store, keyring) = (store.clone(), Keyring::new(SECRET));
        let own = tenure::Replica::new("test", "http://127.0.0.1:9");
        let shared = Arc::new(store.clone());
        let sessions = Sessions::new(terms(), keyring, shared, own, Arc::new(Lease::always()));
        let (scribe, token) = (sessions.scribe().clone(), tasks.token().clone());
        tasks.spawn("scribe", async move { scribe.run(token).await });
        let relay = Relay::new(backends, context, sessions, Naming::Auto, SECRET);
        Self { relay: Arc::new(relay), store, tasks }
    }

    /// A session whose handshake is done.
    pub(crate) async fn open(&self, principal: &Principal, server: Option<&str>) -> Talk {
        let talk = self.open_only(principal, server).await;
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {"roots": {}},
            "clientInfo": {"name": "the client itself", "version": "1"}});
        let answer = talk.ask(0, "initialize", &params).await;
        assert!(answer["result"]["capabilities"].is_object(), "{answer}");
        talk.tell("notifications/initialized").await;
        talk
    }

    /// A session before its handshake.
    pub(crate) async fn open_only(&self, principal: &Principal, server: Option<&str>) -> Talk {
        let opened = self.relay.open(principal.clone(), Transport::Streamable, server).await;
        let (relay, principal) = (self.relay.clone(), principal.clone());
        Talk { relay, conversation: opened.unwrap(), principal }
    }

    /// Claims a session whose owner is gone and takes it over, with these calls in flight, each on
    /// the stream of its number.
    pub(crate) async fn take_over(&self, lost: &Talk, calls: &[u32]) -> Option<Talk> {
        let taken = self.try_to_take_over(lost, calls).await.unwrap();
        let (relay, principal) = (self.relay.clone(), lost.principal.clone());
        taken.map(|conversation| Talk { relay, conversation, principal })
    }

    pub(crate) async fn try_to_take_over(
        &self,
        lost: &Talk,
        calls: &[u32],
    ) -> Result<Option<Arc<Conversation>>, Refusal> {
        let session = &lost.conversation.session;
        let (tenure, mut estate) = self.claim(lost).await;
        let text = |number: &u32| ByteString::from(number.to_string());
        let call = |number: &u32| StoredCall { id: text(number), stream: *number };
        estate.calls = calls.iter().map(call).collect();
        let (principal, id) = (lost.principal.clone(), session.id.clone());
        let held = (tenure, self.relay.sessions.lease().asking());
        let taking = self.relay.take_over(principal, id, session.key, held, estate);
        timeout(DEADLINE, taking).await.unwrap()
    }

    async fn claim(&self, lost: &Talk) -> (Tenure, Estate) {
        let session = &lost.conversation.session;
        timeout(DEADLINE, session.kept()).await.unwrap();
        let look = self.store.look(session.key).await.unwrap();
        let from = match look {
            Look::Owned(tenure) => Some(tenure),
            Look::Free => None,
            Look::Unknown => panic!("the session is not known"),
        };
        let by = self.relay.sessions.replica().clone();
        match self.store.claim(session.key, from, by).await.unwrap() {
            Claim::Taken(tenure, estate) => (tenure, *estate),
            other @ (Claim::Other(_) | Claim::Unknown) => panic!("{other:?}"),
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.relay.backends.close();
        self.tasks.token().cancel();
    }
}

impl Talk {
    pub(crate) async fn ask(&self, id: u32, method: &str, params: &Value) -> Value {
        let (outlet, mut reader) = self.conversation.session.open_stream(1);
        let text = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let Message::Request(request) = parsed(&text) else { panic!("a request") };
        self.relay.accept(&self.conversation, request, &outlet);
        loop {
            let message = heard(&mut reader).await;
            if message["id"] == id {
                return message;
            }
        }
    }

    pub(crate) async fn call(&self, id: u32, tool: &str, arguments: &Value) -> Value {
        self.ask(id, "tools/call", &json!({"name": tool, "arguments": arguments})).await
    }

    pub(crate) async fn tell(&self, method: &str) {
        let Message::Notification(note) = parsed(&json!({"jsonrpc": "2.0", "method": method}))
        else {
            panic!("a notification")
        };
        self.relay.notification(&self.conversation, &note).await;
    }

    /// What was said in answer to nothing, from the oldest that was not read.
    pub(crate) fn listen(&self) -> Reader {
        Reader::standalone(self.conversation.session.clone()).unwrap()
    }

    pub(crate) fn note(&self, name: &str) -> Option<ByteString> {
        self.conversation.session.note(name)
    }
}

/// The next message on a stream.
pub(crate) async fn heard(reader: &mut Reader) -> Value {
    match timeout(DEADLINE, reader.next()).await.unwrap() {
        Next::Event(event) => serde_json::from_str(&event.text).unwrap(),
        other @ (Next::End | Next::Lagged | Next::Superseded) => {
            panic!("{other:?} where a message was due")
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

fn parsed(message: &Value) -> Message {
    Message::parse(ByteString::from(message.to_string()), &JsonLimits::default()).unwrap()
}

fn terms() -> Terms {
    let log = Caps { events: 1000, bytes: 1 << 20, queue_events: 1000, queue_bytes: 1 << 20 };
    Terms {
        sessions: 100,
        sessions_per_principal: 100,
        idle_timeout: Duration::from_secs(3600),
        resume_window: Duration::from_secs(60),
        max_age: Duration::from_secs(8 * 3600),
        bounds: Bounds { calls: 64, asks: 64, log },
    }
}
