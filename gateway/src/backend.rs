//! Who answers: the servers behind the gateway, and the conversations held with them.
//!
//! Reading order: `server` (a name, and how it is started), `attachment` (a session's tie to a
//! server), `listing` (what all sessions are told alike), `upstream` (one initialised
//! conversation: calls out), `inbound` (what comes back), `rest` (when nobody uses it),
//! `pending` (which answer belongs to whom), `stdio` and `http` (two kinds of conversation), `link`
//! (what the two others have in common), `sse` and `ws`. Beside all that stands the other era:
//! `modern` (calls without a conversation) and `era` (which of the two a server speaks).

pub mod attachment;
pub mod change;
pub mod context;
pub mod downward;
mod ending;
pub mod era;
mod followed;
pub mod handshake;
mod hearers;
pub mod http;
mod inbound;
pub mod known;
pub mod link;
pub mod listing;
pub mod members;
pub mod modern;
mod outlook;
pub mod patience;
pub mod pending;
mod places;
mod pool;
mod refusals;
mod rest;
mod seat;
pub mod server;
mod single;
mod sse;
pub mod stdio;
pub mod trouble;
pub mod upstream;
pub mod wishes;
mod ws;

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use parking_lot::{Mutex, RwLock};

use crate::backend::change::Change;
use crate::backend::context::Context;
use crate::backend::server::Server;
use crate::config::limits::server::SETTLED;
use crate::config::{ServerConfig, ServerKind};

/// All servers, in the order of the configuration, which a reload replaces.
#[derive(Debug)]
pub struct Backends {
    servers: RwLock<Arc<[Arc<Server>]>>,
    /// Servers that a reload took away, until what they had in flight is over.
    retiring: Mutex<Vec<Arc<Server>>>,
}

impl Backends {
    /// The enabled servers of the configuration; none is started yet.
    pub fn new(configs: &[ServerConfig], context: &Arc<Context>) -> Self {
        let enabled = configs.iter().filter(|config| config.enabled);
        let make = |config: &ServerConfig| Arc::new(Server::new(config.clone(), context.clone()));
        Self { servers: RwLock::new(enabled.map(make).collect()), retiring: Mutex::default() }
    }

    /// Every server, as the list is at this moment.
    pub fn all(&self) -> Arc<[Arc<Server>]> {
        self.servers.read().clone()
    }

    /// The server with this id.
    pub fn get(&self, id: &str) -> Option<Arc<Server>> {
        self.servers.read().iter().find(|server| server.config.id == id).cloned()
    }

    /// Puts another list in the place of this one. A server whose settings are the same is kept
    /// with all it has; any other finishes its calls in flight and is then closed by
    /// [`sweep`](Self::sweep).
    pub fn replace(&self, configs: &[ServerConfig], context: &Arc<Context>) -> Change {
        let mut servers = self.servers.write();
        let change = Change::between(servers.iter().map(|it| &it.config), configs);
        let same = |config: &ServerConfig| servers.iter().find(|it| it.config == *config).cloned();
        let make = |config: &ServerConfig| Arc::new(Server::new(config.clone(), context.clone()));
        let enabled = configs.iter().filter(|config| config.enabled);
        let next: Arc<[Arc<Server>]> =
            enabled.map(|config| same(config).unwrap_or_else(|| make(config))).collect();
        let stays = |server: &&Arc<Server>| next.iter().any(|it| Arc::ptr_eq(it, server));
        let gone = servers.iter().filter(|server| !stays(server)).cloned();
        self.retiring.lock().extend(gone);
        *servers = next;
        change
    }

    /// Starts what is to run before the first call.
    pub async fn prewarm(&self) {
        let is_wanted = |server: &&Arc<Server>| match &server.config.kind {
            ServerKind::Stdio(stdio) => stdio.prewarm,
            ServerKind::Http(_)
            | ServerKind::Sse(_)
            | ServerKind::WebSocket(_)
            | ServerKind::Unsupported { .. } => false,
        };
        let servers = self.all();
        join_all(servers.iter().filter(is_wanted).map(|server| server.prewarm())).await;
    }

    /// Answers calls whose time is up, and lets go of servers that were taken away and are idle.
    pub fn sweep(&self, now: Instant) {
        for server in self.all().iter() {
            server.upstreams().iter().for_each(|upstream| upstream.sweep(now));
            server.rest(now);
        }
        let retiring = self.retiring.lock().clone();
        retiring.iter().for_each(|server| server.retire());
        for upstream in retiring.iter().flat_map(|server| server.upstreams()) {
            upstream.sweep(now);
            let settled = now.saturating_duration_since(upstream.started) >= SETTLED;
            if settled && upstream.in_flight() == 0 {
                upstream.close("its server was changed or removed in the configuration");
            }
        }
        drop(retiring);
        // Whoever else holds the server may be about to start it.
        let held = |server: &Arc<Server>| Arc::strong_count(server) > 1;
        self.retiring.lock().retain(|it| held(it) || !it.upstreams().is_empty());
    }

    /// Closes every conversation.
    pub fn close(&self) {
        let retiring = self.retiring.lock().clone();
        self.all().iter().chain(&retiring).for_each(|server| server.close());
    }
}
