//! The surface: every path on one screen.

mod alarm;
mod body;
mod caller;
mod events;
mod exchange;
mod frames;
mod framing;
mod guard;
mod hop;
mod legacy_sse;
mod mark;
mod mcp;
mod modern;
mod operator;
mod ops;
mod reply;
pub mod serve;
mod socket;
mod trail;
mod ws;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::extract::{Path, Request, State};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use parking_lot::Mutex;
use wire::message::Message;

pub use self::ws::is_heartbeat;
use crate::config::Config;
use crate::http::exchange::Line;
use crate::http::guard::Surface;
use crate::policy::address::TrustedProxies;
use crate::policy::origin::Gate;
use crate::relay::Relay;
use crate::relay::conversation::Conversation;
use crate::session::Streams as _;
use crate::session::caller::Caller;

/// What every endpoint can reach.
#[derive(Debug)]
pub struct Edge {
    /// Takes messages on.
    pub relay: Arc<Relay>,
    /// Who is believed about the address of a client.
    pub proxies: Arc<TrustedProxies>,
    /// Who is never limited.
    pub exempt: Arc<TrustedProxies>,
    gate: Gate,
    config: Config,
    ready: AtomicBool,
    started: Instant,
    /// When it was last said that a proxy is not trusted.
    proxy_told: Mutex<Option<Instant>>,
}

/// State of an endpoint.
type At = State<Arc<Edge>>;
/// The connection that a request came on.
type OnLine = Extension<Arc<Line>>;
/// The server a path names; none on the paths of all servers as one.
type Server = Option<Path<String>>;

impl Edge {
    /// A surface that is not ready yet.
    pub fn new(relay: Arc<Relay>, config: Config) -> Self {
        let gate = Gate::new(config.listen.host, &config.allowed_hosts, &config.cors);
        let proxies = Arc::new(TrustedProxies::new(&config.trusted_proxies));
        let (ready, started) = (AtomicBool::new(false), Instant::now());
        let exempt = Arc::new(TrustedProxies::new(&config.rate_limit.exempt));
        let proxy_told = Mutex::default();
        Self { relay, proxies, exempt, gate, config, ready, started, proxy_told }
    }

    /// Says whether new clients should be sent here (`/health/ready`).
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Passes on one message of a client whose session has a single stream, where its answer goes.
    async fn pass_on(
        &self,
        conversation: &Arc<Conversation>,
        caller: Option<Caller>,
        message: Message,
    ) {
        match message {
            Message::Request(request) => {
                let outlet = conversation.session.standalone().counting_for(caller);
                self.relay.accept(conversation, request, &outlet);
            }
            Message::Notification(note) => self.relay.notification(conversation, &note).await,
            Message::Response(response) => {
                self.relay.response(&conversation.session, &response);
            }
        }
    }
}

/// The public surface.
pub fn public(edge: &Arc<Edge>) -> Surface {
    Surface::guarded(endpoints(edge), edge)
}

/// The endpoints that clients use.
fn endpoints(edge: &Arc<Edge>) -> Router {
    let mcp = || only("GET, POST, DELETE", post(mcp::post).get(mcp::get).delete(mcp::delete));
    let sse = || only("GET", get(legacy_sse::open));
    let ws = || only("GET", get(ws::open));
    let routes = Router::new()
        // Streamable HTTP: all servers as one, or one of them, also where other proxies have it.
        .route("/mcp", mcp())
        .route("/mcp/{server}", mcp())
        .route("/{server}/mcp", mcp())
        .route("/servers/{server}/mcp", mcp())
        // HTTP+SSE, revision 2024-11-05.
        .route("/sse", sse())
        .route("/sse/{server}", sse())
        .route("/{server}/sse", sse())
        .route("/servers/{server}/sse", sse())
        .route("/messages", post(legacy_sse::message))
        // WebSocket.
        .route("/ws", ws())
        .route("/ws/{server}", ws())
        .route("/{server}/ws", ws())
        .route("/servers/{server}/ws", ws())
        // For people and probes.
        .route("/", get(ops::root))
        .route("/health", get(ops::health))
        .route("/health/live", get(ops::live))
        .route("/health/ready", get(ops::ready))
        .route("/servers", get(ops::servers))
        .route("/servers/{server}", get(ops::server))
        .fallback(reply::no_such_path)
        .method_not_allowed_fallback(reply::no_such_method);
    routes.with_state(edge.clone())
}

/// `methods`, and none besides: axum would have GET answer HEAD, and a GET that opens a stream may
/// not be tried out like that (it would take the session's stream over, or open a session).
fn only(allowed: &'static str, methods: MethodRouter<Arc<Edge>>) -> MethodRouter<Arc<Edge>> {
    let refuse =
        move |request: Request| async move { reply::method_not_allowed(&request, allowed) };
    methods.head(refuse).fallback(refuse)
}

/// The admin surface: never reachable through the public listener.
pub fn admin(edge: &Arc<Edge>) -> Surface {
    let routes = Router::new()
        .route("/metrics", get(ops::metrics))
        .route("/health", get(ops::health))
        .route("/health/live", get(ops::live))
        .route("/health/ready", get(ops::ready))
        // For `mcp-gateway sessions`.
        .route("/internal/sessions", get(operator::list))
        .route("/internal/sessions/{key}", get(operator::show).delete(operator::end))
        .fallback(reply::no_such_path);
    // Between replicas; each request is signed.
    let inlet = hop::Inlet { edge: edge.clone(), endpoints: endpoints(edge) };
    Surface::open(routes.with_state(edge.clone())).with_inlet(inlet)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config;

    #[test]
    fn no_server_is_called_like_the_first_part_of_a_path() {
        let routes = include_str!("http.rs").lines().filter_map(|it| it.trim().split_once("(\"/"));
        let routes = routes.filter(|(call, _)| *call == ".route");
        let first = routes.filter_map(|(_, path)| path.split(['/', '"']).next());
        let fixed: Vec<_> = first.filter(|it| !it.is_empty() && !it.starts_with('{')).collect();
        assert!(fixed.len() > 10, "{fixed:?}");
        let planned =
            ["gateway", "docs", "redoc", "openapi.json", "auth", ".well-known", "internal"];
        for id in fixed.into_iter().chain(planned) {
            let text = format!("servers: {{\"{id}\": {{command: x}}}}");
            let vars = std::collections::BTreeMap::<String, String>::new();
            let read = config::parse(Path::new("g.yaml"), text.as_bytes(), &vars);
            let faults = read.unwrap_err().to_string();
            assert!(faults.contains("is an address of the gateway"), "{id}: {faults}");
        }
    }
}
