//! Configuration in, a running gateway out: bound, served, drained.

pub mod reload;
pub mod stop;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

use crate::backend::Backends;
use crate::backend::context::Context;
use crate::config::limits::client::ADMIN_CONNECTIONS;
use crate::config::limits::gateway::SWEEP_EVERY;
use crate::config::limits::session::ASKS;
use crate::config::{Config, Secret, Vars};
use crate::http::serve::{Closing, Door, serve};
use crate::http::{Edge, admin, public};
use crate::relay::Relay;
use crate::session::Bounds;
use crate::session::id::Keyring;
use crate::session::memory::MemoryStore;
use crate::session::replay::Caps;
use crate::session::table::{Sessions, Terms};
use crate::supervise::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::transport::http::Client;

/// A running gateway.
#[derive(Debug)]
pub struct App {
    edge: Arc<Edge>,
    tasks: Tasks,
    addresses: Addresses,
    public: Closing,
    admin: Closing,
}

/// Where a gateway listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For clients.
    pub public: SocketAddr,
    /// For probes and scrapers.
    pub admin: SocketAddr,
}

/// Why a gateway could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address is taken, or not ours to bind.
    #[error(
        "cannot listen on {address}: {source}; `ss -ltnp 'sport = :{port}'` names the process that \
         does; stop it, or choose another port with {flag}",
        port = address.port()
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
        /// The flag that sets the port.
        flag: &'static str,
    },
    /// The figures could not be set up.
    #[error("the metrics could not be set up: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl App {
    /// Binds the listeners and begins to serve. Servers start on first use.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub async fn start(config: Config, vars: &dyn Vars) -> Result<Self, StartError> {
        let tasks = Tasks::new();
        let metrics = Arc::new(Metrics::new()?);
        metrics.note_config(true);
        let listen = SocketAddr::new(config.listen.host, config.listen.port);
        let (listener, public_address) = bind(listen, "--port").await?;
        let listen = SocketAddr::new(config.listen.host, config.admin_port);
        let (admin_listener, admin_address) = bind(listen, "--admin-port").await?;
        let relay = relay(&config, tasks.clone(), metrics.clone(), vars);
        let connections = config.limits.connections;
        let header_timeout = config.limits.header_timeout;
        let edge = Arc::new(Edge::new(relay.clone(), config));
        let app = Self {
            edge: edge.clone(),
            tasks: tasks.clone(),
            addresses: Addresses { public: public_address, admin: admin_address },
            public: Closing::default(),
            admin: Closing::default(),
        };
        let door = Door { listener, surface: public(&edge), connections, header_timeout };
        tasks.spawn("accept", serve(door, tasks.clone(), metrics.clone(), app.public.clone()));
        let (listener, surface) = (admin_listener, admin(&edge));
        let door = Door { listener, surface, connections: ADMIN_CONNECTIONS, header_timeout };
        tasks.spawn("accept-admin", serve(door, tasks.clone(), metrics, app.admin.clone()));
        tasks.spawn("sweep", sweep(relay.clone(), tasks.clone()));
        tasks.spawn("prewarm", async move { relay.backends.prewarm().await });
        edge.set_ready(true);
        Ok(app)
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }
}

fn relay(config: &Config, tasks: Tasks, metrics: Arc<Metrics>, vars: &dyn Vars) -> Arc<Relay> {
    let limits = &config.limits;
    let log = Caps {
        events: limits.replay_events,
        bytes: limits.replay_bytes,
        queue_events: limits.queue_events,
        queue_bytes: limits.queue_bytes,
    };
    let bounds = Bounds { calls: limits.in_flight_per_session, asks: ASKS, log };
    let terms = Terms {
        sessions: config.session.max_sessions,
        sessions_per_principal: config.session.max_per_principal,
        idle_timeout: config.session.idle_timeout,
        resume_window: config.session.resume_window,
        max_age: config.session.max_age,
        bounds,
    };
    let context = Arc::new(Context {
        tasks,
        metrics,
        limits: limits.clone(),
        http: Client::new().with_answer_limit(limits.line_bytes),
        children: AtomicUsize::new(0),
        listers: Mutex::default(),
        environment: vars.all(),
    });
    let backends = Backends::new(&config.servers, &context);
    let secret = config.session.secret.as_ref().map(Secret::expose);
    let keyring = Keyring::new(secret);
    let store = Arc::new(MemoryStore::new(limits.replay_events));
    let sessions = Sessions::new(terms, keyring, store);
    Arc::new(Relay::new(backends, context, sessions, config.naming, secret))
}

async fn bind(
    address: SocketAddr,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let fault = |source| StartError::Bind { address, source, flag };
    let listener = TcpListener::bind(address).await.map_err(fault)?;
    let bound = listener.local_addr().map_err(fault)?;
    Ok((listener, bound))
}

async fn sweep(relay: Arc<Relay>, tasks: Tasks) {
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => relay.sweep(Instant::now()).await,
            () = tasks.token().cancelled() => return,
        }
    }
}
