//! The surface: every path on one screen.

mod alarm;
mod body;
mod events;
mod exchange;
mod guard;
mod legacy_sse;
mod mcp;
mod ops;
mod reply;
pub mod serve;
mod socket;
mod ws;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::extract::{Path, Request, State};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};

pub use self::ws::is_heartbeat;
use crate::config::Config;
use crate::http::exchange::Line;
use crate::http::guard::Surface;
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
/// The connection that a request came on.
type OnLine = Extension<Arc<Line>>;
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
pub fn public(edge: &Arc<Edge>) -> Surface {
    let mcp = || only("GET, POST, DELETE", post(mcp::post).get(mcp::get).delete(mcp::delete));
    let sse = || only("GET", get(legacy_sse::open));
    let ws = || only("GET", get(ws::open));
    let routes = Router::new()
        // Streamable HTTP: all servers as one, or one of them.
        .route("/mcp", mcp())
        .route("/mcp/{server}", mcp())
        // HTTP+SSE, revision 2024-11-05.
        .route("/sse", sse())
        .route("/sse/{server}", sse())
        .route("/messages", post(legacy_sse::message))
        // WebSocket.
        .route("/ws", ws())
        .route("/ws/{server}", ws())
        // For people and probes.
        .route("/", get(ops::root))
        .route("/health", get(ops::health))
        .route("/health/live", get(ops::live))
        .route("/health/ready", get(ops::ready))
        .route("/servers", get(ops::servers))
        .route("/servers/{server}", get(ops::server))
        .fallback(reply::no_such_path)
        .method_not_allowed_fallback(reply::no_such_method);
    Surface::guarded(routes.with_state(edge.clone()), edge)
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
        .fallback(reply::no_such_path);
    Surface::open(routes.with_state(edge.clone()))
}
