//! The surface: every path on one screen.

mod body;
mod events;
mod guard;
mod legacy_sse;
mod mcp;
mod ops;
mod reply;
pub mod serve;
mod ws;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};

pub use self::ws::is_heartbeat;
use crate::config::Config;
use crate::policy::origin::Gate;
use crate::relay::Relay;

/// What every endpoint can reach.
#[derive(Debug)]
pub struct Edge {
    /// Takes messages on.
    pub relay: Arc<Relay>,
    gate: Gate,
    config: Config,
    ready: AtomicBool,
    started: Instant,
}

/// State of an endpoint.
type At = State<Arc<Edge>>;
/// The server a path names; none on the paths of all servers as one.
type Server = Option<Path<String>>;

impl Edge {
    /// A surface that is not ready yet.
    pub fn new(relay: Arc<Relay>, config: Config) -> Self {
        let gate = Gate::new(config.listen.host, &config.allowed_hosts, &config.cors);
        Self { relay, gate, config, ready: AtomicBool::new(false), started: Instant::now() }
    }

    /// Says whether new clients should be sent here (`/health/ready`).
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// The public surface.
pub fn public(edge: &Arc<Edge>) -> Router {
    let mcp = || post(mcp::post).get(mcp::get).delete(mcp::delete);
    let routes = Router::new()
        // Streamable HTTP: all servers as one, or one of them.
        .route("/mcp", mcp())
        .route("/mcp/{server}", mcp())
        // HTTP+SSE, revision 2024-11-05.
        .route("/sse", get(legacy_sse::open))
        .route("/sse/{server}", get(legacy_sse::open))
        .route("/messages", post(legacy_sse::message))
        // WebSocket.
        .route("/ws", get(ws::open))
        .route("/ws/{server}", get(ws::open))
        // For people and probes.
        .route("/", get(ops::root))
        .route("/health", get(ops::health))
        .route("/health/live", get(ops::live))
        .route("/health/ready", get(ops::ready))
        .route("/servers", get(ops::servers))
        .route("/servers/{server}", get(ops::server))
        .fallback(reply::no_such_path)
        .method_not_allowed_fallback(reply::no_such_method);
    guard::around(routes, edge).with_state(edge.clone())
}

/// The admin surface: never reachable through the public listener.
pub fn admin(edge: &Arc<Edge>) -> Router {
    Router::new()
        .route("/metrics", get(ops::metrics))
        .route("/health", get(ops::health))
        .route("/health/live", get(ops::live))
        .route("/health/ready", get(ops::ready))
        .fallback(reply::no_such_path)
        .with_state(edge.clone())
}
