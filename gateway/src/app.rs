//! Configuration in, a running gateway out: bound, served, drained.

pub mod reload;
pub mod stop;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use parking_lot::Mutex;
use socket2::SockRef;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

use crate::backend::Backends;
use crate::backend::context::Context;
use crate::config::limits::client::{ADMIN_CONNECTIONS, BACKLOG_CONNECTIONS};
use crate::config::limits::gateway::SWEEP_EVERY;
use crate::config::limits::session::ASKS;
use crate::config::{Config, Secret, Vars};
use crate::http::serve::{Closing, Door, serve};
use crate::http::{Edge, admin, public};
use crate::relay::Relay;
use crate::session::Bounds;
use crate::session::id::Keyring;
use crate::session::lease::Lease;
use crate::session::memory::MemoryStore;
use crate::session::redis::{self, RedisStore, Refused};
use crate::session::replay::Caps;
use crate::session::store::Store;
use crate::session::table::{Sessions, Terms};
use crate::session::tenure::Replica;
use crate::session::vault::Vault;
use crate::supervise::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Traces;
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
    /// The Redis that is configured refuses what it was asked, and would again.
    #[error("{0}; see `redis` in the configuration, REDIS_URL and REDIS_PASSWORD")]
    Store(#[from] Refused),
    /// Tracing is configured and cannot be set up.
    #[error("tracing could not be set up: {0}; see `tracing` in the configuration")]
    Tracing(String),
    /// The figures could not be set up.
    #[error("the metrics could not be set up: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl App {
    /// Binds the listeners and begins to serve. Servers start on first use.
    ///
    /// # Errors
    /// An address cannot be bound, or the Redis that is configured refuses.
    pub async fn start(config: Config, vars: &dyn Vars) -> Result<Self, StartError> {
        let (tasks, metrics) = (Tasks::new(), Arc::new(Metrics::new()?));
        let store = Box::pin(store(&config, &tasks, &metrics)).await?;
        Self::begin(config, vars, store, (tasks, metrics)).await
    }

    /// As [`start`](Self::start), with sessions in this store.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub async fn start_with(
        config: Config,
        vars: &dyn Vars,
        store: Arc<dyn Store>,
    ) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new()?);
        Self::begin(config, vars, store, (Tasks::new(), metrics)).await
    }

    async fn begin(
        config: Config,
        vars: &dyn Vars,
        store: Arc<dyn Store>,
        (tasks, metrics): (Tasks, Arc<Metrics>),
    ) -> Result<Self, StartError> {
        metrics.note_config(true);
        let listen = SocketAddr::new(config.listen.host, config.listen.port);
        let (listener, public_address) = bind(listen, "--port").await?;
        let listen = SocketAddr::new(config.listen.host, config.admin_port);
        let (admin_listener, admin_address) = bind(listen, "--admin-port").await?;
        let traces = Traces::start(&config.tracing, &tasks, &metrics);
        let house = House {
            tasks: tasks.clone(),
            metrics: metrics.clone(),
            traces: traces.map_err(StartError::Tracing)?,
        };
        let relay = relay(&config, house, vars, (store, admin_address));
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
        let (surface, traffic) = (public(&edge), Some(metrics.traffic()));
        let door = Door { listener, surface, connections, header_timeout, traffic };
        tasks.spawn("accept", serve(door, tasks.clone(), metrics.clone(), app.public.clone()));
        let (listener, surface) = (admin_listener, admin(&edge));
        // Other replicas may carry here what all clients of theirs have for this one.
        let carried = if relay.standing.is_shared() { connections } else { 0 };
        let connections = ADMIN_CONNECTIONS + carried;
        // Nobody's clients: what scrapers and other replicas say is not counted.
        let door = Door { listener, surface, connections, header_timeout, traffic: None };
        tasks.spawn("accept-admin", serve(door, tasks.clone(), metrics, app.admin.clone()));
        let (scribe, token) = (relay.sessions.scribe().clone(), tasks.token().clone());
        let standing = relay.standing.clone();
        tasks.spawn("scribe", async move {
            let heeding = scribe.heed(&standing, token.clone());
            tokio::join!(scribe.run(token.clone()), heeding, scribe.keep_counts(token));
        });
        let (standing, token) = (relay.standing.clone(), tasks.token().clone());
        tasks.spawn("standing", async move { standing.run(token).await });
        for hosts in [edge.proxies.clone(), edge.exempt.clone()] {
            let token = tasks.token().clone();
            tasks.spawn("names-of-hosts", async move { hosts.keep_looking_up(token).await });
        }
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

/// Where sessions are kept: in the Redis that is configured, or in this process.
async fn store(
    config: &Config,
    tasks: &Tasks,
    metrics: &Arc<Metrics>,
) -> Result<Arc<dyn Store>, Refused> {
    let Some(redis) = &config.redis else { return Ok(Arc::new(MemoryStore::alone())) };
    let limits = &config.limits;
    let caps = redis::Caps {
        events: limits.replay_events,
        bytes: limits.replay_bytes,
        life: config.session.max_age,
    };
    let store = RedisStore::connect(redis, caps, tasks, metrics.clone()).await?;
    Ok(Arc::new(store))
}

fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| "localhost".to_owned())
}

/// What everything in a gateway shares.
struct House {
    tasks: Tasks,
    metrics: Arc<Metrics>,
    traces: Option<Arc<Traces>>,
}

fn relay(
    config: &Config,
    house: House,
    vars: &dyn Vars,
    (store, admin): (Arc<dyn Store>, SocketAddr),
) -> Arc<Relay> {
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
    let secret = config.session.secret.as_ref().map(Secret::expose);
    let context = Arc::new(Context {
        tasks: house.tasks,
        metrics: house.metrics,
        traces: house.traces,
        limits: limits.clone(),
        http: Client::new().with_answer_limit(limits.line_bytes),
        children: AtomicUsize::new(0),
        listers: Mutex::default(),
        vault: Vault::new(secret),
        environment: vars.all(),
    });
    let backends = Backends::new(&config.servers, &context);
    let keyring = Keyring::new(secret);
    let host = host_name();
    let replica = Replica::new(&host, &config.advertised(admin, &host));
    let lease = if store.is_shared() { Lease::new(Instant::now()) } else { Lease::always() };
    let sessions = Sessions::new(terms, keyring, store, replica, Arc::new(lease));
    let relay = Relay::new(backends, context, sessions, config.naming, secret);
    Arc::new(relay.limited(&config.rate_limit))
}

async fn bind(
    address: SocketAddr,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let fault = |source| StartError::Bind { address, source, flag };
    let listener = TcpListener::bind(address).await.map_err(fault)?;
    // It has room for 128 that wait to be accepted. In a burst that is few, and a proxy in front
    // takes a connection that is not answered for lost.
    SockRef::from(&listener).listen(BACKLOG_CONNECTIONS.into()).map_err(fault)?;
    let bound = listener.local_addr().map_err(fault)?;
    Ok((listener, bound))
}

async fn sweep(relay: Arc<Relay>, tasks: Tasks) {
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => relay.sweep(Instant::now()),
            () = tasks.token().cancelled() => return,
        }
    }
}
