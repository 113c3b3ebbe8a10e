//! What the gateway is told to be: the checked configuration, its defaults and how it is loaded.
//!
//! A file (JSON or YAML) becomes a tree with positions ([`tree`]), `${VAR}` is expanded
//! ([`vars`]), and [`check`] turns the tree into a [`Config`] or into **all** faults at once.
//! Precedence: command line > environment ([`mod@env`]) > file > default. A [`Config`] holds no
//! `Option` that means "the default": whoever reads it never decides a value again.

pub mod env;
pub mod fault;
pub mod limits;

mod check;
mod choice;
mod load;
mod origin;
mod proxy;
mod rate;
mod redis;
mod schema;
mod settings;
mod stdio;
mod tracing;
mod tree;
mod vars;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

pub use self::choice::{EraChoice, OwnerLoss};
pub use self::env::{Environment, Vars};
pub use self::fault::{Fault, Faults, Place};
pub use self::load::{DEFAULT_FILE, Overrides, given, load, parse};
pub use self::origin::Origins;
pub use self::proxy::TrustedProxy;
pub use self::rate::{CallerBy, Rate, RateLimit, ToolRate};
pub use self::redis::RedisConfig;
pub use self::schema::schema;
pub use self::settings::{Setting, VEIL};
pub use self::stdio::{Isolation, Lists, StdioConfig};
pub use self::tracing::{Sampling, TracingConfig};
pub use redis_target::secret::Secret;

/// Everything the gateway was told, checked and complete.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect: `host` and `port`, at top level or inside `gateway`.
    pub listen: Listen,
    /// Port of the admin listener on the same host; 0 takes any free port. `admin_port`.
    pub admin_port: u16,
    /// What is logged and how. `log_level`, `log_format`.
    pub log: Log,
    /// Path prefix that a proxy in front strips, such as `/mcp-edge`; empty for none. It is put
    /// before every path the gateway hands to a client. `public_prefix`.
    pub public_prefix: String,
    /// Which web pages may read answers. `cors`.
    pub cors: Cors,
    /// Host names accepted in `Host` besides the loopback names and the listen host.
    /// `allowed_hosts`, `MCP_GATEWAY_ALLOWED_HOSTS`.
    pub allowed_hosts: Vec<String>,
    /// The proxies whose word about a client's address is taken. `trusted_proxies`,
    /// `MCP_GATEWAY_TRUSTED_PROXIES`.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// How long sessions live and how many there may be. `session`.
    pub session: SessionConfig,
    /// The store that replicas share; `None` keeps sessions in this process. `redis`,
    /// `REDIS_URL`.
    pub redis: Option<RedisConfig>,
    /// Where other replicas reach this one's admin listener, such as `http://10.0.0.7:9100`; `None`
    /// for its own address and `admin_port`. `advertise_url`, `MCP_GATEWAY_ADVERTISE_URL`.
    pub advertise_url: Option<String>,
    /// How many messages a client may send. `rate_limit`.
    pub rate_limit: RateLimit,
    /// Where spans go. `tracing`.
    pub tracing: TracingConfig,
    /// Every bound, with its unit. `limits`.
    pub limits: Limits,
    /// How tools of several servers are named where they are listed together. `naming`.
    pub naming: Naming,
    /// The servers, in the order of the file. `servers`.
    pub servers: Vec<ServerConfig>,
    /// Whether a change of the file takes effect at once. `reload`, `reload_registry`.
    pub reload: bool,
    /// Settings that were accepted but are not applied by this version.
    pub warnings: Vec<Fault>,
    /// The file this was read from; `None` for the embedded default.
    pub source: Option<PathBuf>,
    /// Where each setting was written.
    pub origins: Origins,
}

/// The public listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address to bind. Default 127.0.0.1; another one than loopback needs `auth: none`.
    pub host: IpAddr,
    /// TCP port. Default 3000; 0 takes any free port.
    pub port: u16,
}

/// What is logged, and in which form. Logs go to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A level (`error`, `warn`, `info`, `debug`, `trace`, `off`) or directives as in
    /// `info,mcp_gateway::relay=debug`. Default `info`.
    pub level: String,
    /// Default [`LogFormat::Auto`].
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON lines elsewhere.
    #[default]
    Auto,
    /// Always compact text.
    Text,
    /// Always one JSON object per line.
    Json,
}

/// Cross-origin rules for browsers. Loopback origins are always allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whether CORS headers are sent at all. Default true.
    pub enabled: bool,
    /// Allowed origins as `scheme://host[:port]`, lower case, besides the loopback ones.
    pub origins: Vec<String>,
    /// `*` was among the origins: any page may read. Never together with `credentials`.
    pub any_origin: bool,
    /// Whether browsers may send cookies and HTTP authentication. Default false.
    pub credentials: bool,
}

/// Lifetimes and numbers of client sessions.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Key that store keys are derived from (`session.secret`, `SESSION_SECRET`,
    /// `SESSION_SECRET_FILE`), at least 32 bytes. Needed with a Redis, whose replicas derive the
    /// same keys; sessions in memory do not need one.
    pub secret: Option<Secret>,
    /// A session without any message for this long ends. Default 1 h.
    pub idle_timeout: Duration,
    /// A session on `/sse` ends when its stream broke and was not taken up for this long. Default
    /// 60 s.
    pub resume_window: Duration,
    /// A session ends this long after it began. Default 8 h. `session.maxAge` is milliseconds.
    pub max_age: Duration,
    /// Sessions at the same time. Default 10 000.
    pub max_sessions: usize,
    /// Sessions at the same time of one principal. Default 1 000.
    pub max_per_principal: usize,
}

/// Every bound of the gateway. None may be zero.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one request body. Default 4 MiB.
    pub body_bytes: usize,
    /// Bytes of one line, event or body from a server. Default 16 MiB.
    pub line_bytes: usize,
    /// Depth and number of members of one JSON text. Default 128 and 10 000.
    pub json: wire::json::JsonLimits,
    /// Connections of clients at the same time. Default 10 000.
    pub connections: usize,
    /// Time for the head of a request to arrive. Default 10 s.
    pub header_timeout: Duration,
    /// Time for the body of a request to arrive. Default 30 s.
    pub body_timeout: Duration,
    /// Requests of one session without an answer yet. Default 64.
    pub in_flight_per_session: usize,
    /// Events kept per session for a client that resumes. Default 1 000.
    pub replay_events: usize,
    /// Bytes kept per session for a client that resumes. Default 256 KiB.
    pub replay_bytes: usize,
    /// Events waiting on one stream for a slow client. Default 256.
    pub queue_events: usize,
    /// Bytes waiting on one stream for a slow client. Default 1 MiB.
    pub queue_bytes: usize,
    /// Child processes at the same time, of all servers together. Default 256.
    pub processes: usize,
}

/// When a tool carries the id of its server in a merged list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// Only where two servers have a tool of the same name.
    #[default]
    Auto,
    /// Always, as `{server}__{tool}`.
    Always,
    /// Never: of two equal names the server listed first wins.
    Never,
}

/// One server behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Its id: `^[a-z0-9][a-z0-9-]{0,62}$`, unique and not a reserved path segment.
    pub id: String,
    /// One line for people. `description`.
    pub description: Option<String>,
    /// Whether it is offered at all. Default true. `enabled`, or `disabled` with the reverse sense.
    pub enabled: bool,
    /// How it is reached.
    pub kind: ServerKind,
    /// Which era it is spoken to in. Default: whichever it speaks. `era`.
    pub era: EraChoice,
    /// Time from the start of a process or connection to its `initialize` answer. Default 120 s.
    pub start_timeout: Duration,
    /// Time without an answer or progress after which a call fails. Default 60 s.
    pub call_timeout: Duration,
    /// Time after which a call fails whatever its progress. Default 600 s.
    pub call_timeout_max: Duration,
    /// What becomes of a session that used it when the session's replica is lost. Default:
    /// reinitialize. `on_owner_loss`.
    pub on_owner_loss: OwnerLoss,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// Child processes that speak over standard input and output.
    Stdio(StdioConfig),
    /// Streamable HTTP endpoints.
    Http(HttpConfig),
    /// HTTP+SSE endpoints, as of revision 2024-11-05.
    Sse(HttpConfig),
    /// WebSocket endpoints.
    WebSocket(HttpConfig),
    /// A kind that was accepted but that this version cannot speak to; calls are refused with
    /// `BACKEND_UNAVAILABLE`.
    Unsupported {
        /// The kind as the file names it: `template`.
        kind: &'static str,
        /// One sentence for the client and the log.
        why: String,
    },
}

/// A server that is one or more URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Absolute `http` or `https` URLs, of WebSocket servers `ws` or `wss`; never empty. `url`,
    /// `instances`.
    pub instances: Vec<String>,
    /// Headers sent with every request, names in lower case. `headers`.
    pub headers: BTreeMap<String, Secret>,
}

impl Config {
    /// The configuration without any file: the built-in `demo` server, bound to loopback.
    /// The program itself serves the demo, as a child process.
    #[must_use]
    pub fn embedded() -> Self {
        let demo = StdioConfig::new([env::own_program(), "demo-server".to_owned()]);
        let mut server = ServerConfig::new("demo", ServerKind::Stdio(demo));
        server.description = Some("The built-in demonstration server".to_owned());
        Self { servers: vec![server], ..Self::default() }
    }
}

/// Whether a secret was copied from an example, so that everybody knows it.
#[must_use]
pub fn is_placeholder(secret: &str) -> bool {
    check::is_placeholder(secret)
}

/// Reads the address of a listener; `localhost` is 127.0.0.1.
///
/// # Errors
/// A sentence that says what an address looks like.
pub fn parse_host(text: &str) -> Result<IpAddr, String> {
    check::host(text).ok_or_else(|| format!("must be {}", check::HOST))
}

impl Default for Config {
    /// All defaults and no server.
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            admin_port: 9100,
            log: Log::default(),
            public_prefix: String::new(),
            cors: Cors::default(),
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            session: SessionConfig::default(),
            redis: None,
            advertise_url: None,
            rate_limit: RateLimit::default(),
            tracing: TracingConfig::default(),
            limits: Limits::default(),
            naming: Naming::default(),
            servers: Vec::new(),
            reload: true,
            warnings: Vec::new(),
            source: None,
            origins: Origins::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self { host: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 3000 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Auto }
    }
}

impl Default for Cors {
    fn default() -> Self {
        Self { enabled: true, origins: Vec::new(), any_origin: false, credentials: false }
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            secret: None,
            idle_timeout: limits::session::IDLE_TIMEOUT,
            resume_window: limits::session::RESUME_WINDOW,
            max_age: limits::session::MAX_AGE,
            max_sessions: limits::session::SESSIONS,
            max_per_principal: limits::session::SESSIONS_PER_PRINCIPAL,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        use limits::{client, process, server, session};

        Self {
            body_bytes: client::BODY_BYTES,
            line_bytes: server::LINE_BYTES,
            json: wire::json::JsonLimits::default(),
            connections: client::CONNECTIONS,
            header_timeout: client::HEADER_TIMEOUT,
            body_timeout: client::BODY_TIMEOUT,
            in_flight_per_session: session::IN_FLIGHT_REQUESTS,
            replay_events: session::REPLAY_EVENTS,
            replay_bytes: session::REPLAY_BYTES,
            queue_events: session::QUEUE_EVENTS,
            queue_bytes: session::QUEUE_BYTES,
            processes: process::PROCESSES,
        }
    }
}

impl ServerConfig {
    /// A server with every default.
    #[must_use]
    pub fn new(id: impl Into<String>, kind: ServerKind) -> Self {
        Self {
            id: id.into(),
            description: None,
            enabled: true,
            kind,
            era: EraChoice::default(),
            start_timeout: limits::server::START_TIMEOUT,
            call_timeout: limits::server::CALL_TIMEOUT,
            call_timeout_max: limits::server::CALL_TIMEOUT_MAX,
            on_owner_loss: OwnerLoss::default(),
        }
    }
}

impl ServerKind {
    /// The kind as a configuration file names it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stdio(_) => "stdio",
            Self::Http(_) => "http",
            Self::Sse(_) => "sse",
            Self::WebSocket(_) => "ws",
            Self::Unsupported { kind, .. } => kind,
        }
    }
}

impl HttpConfig {
    /// The headers with their values, which are secrets.
    pub fn exposed_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }
}
