//! Who answers: the servers behind the gateway, and the conversations held with them.
//!
//! Reading order: `server` (a name, and how it is started), `attachment` (a session's tie to a
//! server), `upstream` (one initialised conversation: calls out), `inbound` (what comes back),
//! `pending` (which answer belongs to whom), `stdio` and `http` (two kinds of conversation), `link`
//! (what the two others have in common), `sse` and `ws`.

pub mod attachment;
pub mod context;
mod ending;
mod handshake;
pub mod http;
mod inbound;
pub mod known;
pub mod link;
pub mod members;
pub mod pending;
mod refusals;
pub mod server;
mod sse;
pub mod stdio;
pub mod trouble;
pub mod upstream;
pub mod wishes;
mod ws;

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;

use crate::backend::context::Context;
use crate::backend::server::Server;
use crate::config::{ServerConfig, ServerKind};

/// All servers, in the order of the configuration.
#[derive(Debug)]
pub struct Backends {
    servers: Vec<Arc<Server>>,
}

impl Backends {
    /// The enabled servers of the configuration; none is started yet.
    pub fn new(configs: &[ServerConfig], context: &Arc<Context>) -> Self {
        let enabled = configs.iter().filter(|config| config.enabled);
        let make = |config: &ServerConfig| Arc::new(Server::new(config.clone(), context.clone()));
        Self { servers: enabled.map(make).collect() }
    }

    /// Every server.
    pub fn all(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// The server with this id.
    pub fn get(&self, id: &str) -> Option<&Arc<Server>> {
        self.servers.iter().find(|server| server.config.id == id)
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
        join_all(self.servers.iter().filter(is_wanted).map(|server| server.prewarm())).await;
    }

    /// Answers calls whose time is up.
    pub fn sweep(&self, now: Instant) {
        for server in &self.servers {
            server.upstreams().iter().for_each(|upstream| upstream.sweep(now));
        }
    }

    /// Closes every conversation.
    pub fn close(&self) {
        self.servers.iter().for_each(|server| server.close());
    }
}
