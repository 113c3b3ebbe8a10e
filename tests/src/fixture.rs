//! An MCP server on the official Rust SDK that shows every behaviour the suites ask for.
//!
//! It speaks the revisions that have `initialize` (2024-11-05 to 2025-11-25) over stdio or over
//! Streamable HTTP. Environment variables change it: `FIXTURE_PAGES` is a page length and turns
//! pagination of every list on; `FIXTURE_LEDGER` is the file the tool `append` writes to;
//! `FIXTURE_BY_CLIENT` offers a tool `sampler` to clients that can sample. Over stdio, SIGUSR1 is
//! what `change_lists` is.
#![expect(deprecated, reason = "subscriptions, roots and sampling are what the suites test")]

mod ask;
mod handler;
mod lists;
mod tools;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;
use rmcp::model::LoggingLevel;
use rmcp::service::{Peer, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServiceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How the fixture is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One session over this process's standard input and output.
    Stdio,
    /// Many sessions over `http://127.0.0.1:PORT/mcp`.
    Http(u16),
}

impl Mode {
    /// Reads `--stdio` or `--http PORT`.
    ///
    /// # Errors
    /// The usage line, when the arguments are neither.
    pub fn from_arguments(arguments: &[String]) -> Result<Self, Fault> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["--stdio"] => Ok(Self::Stdio),
            ["--http", port] => Ok(Self::Http(port.parse()?)),
            _ => Err("usage: fixture --stdio | --http PORT".into()),
        }
    }
}

/// Whatever stops the fixture; only its text matters.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Serves until the client hangs up (stdio) or the process is told to stop (HTTP).
///
/// # Errors
/// The port is taken, or the client never initialised.
pub async fn run(mode: Mode) -> Result<(), Fault> {
    let shared = Arc::new(Shared::from_environment());
    match mode {
        Mode::Stdio => {
            *shared.change.lock() = Some(signal(SignalKind::user_defined1())?);
            let serving = Session::new(shared).serve(rmcp::transport::stdio());
            let session = Box::pin(serving).await?;
            session.waiting().await?;
        }
        Mode::Http(port) => serve_http(shared, port).await?,
    }
    Ok(())
}

async fn serve_http(shared: Arc<Shared>, port: u16) -> Result<(), Fault> {
    let sessions = Arc::new(LocalSessionManager::default());
    let service_sessions = Arc::clone(&sessions);
    let config = StreamableHttpServerConfig::default().with_allowed_origins([
        "http://localhost:*",
        "http://127.0.0.1:*",
        "http://[::1]:*",
    ]);
    let service = StreamableHttpService::new(
        move || Ok(Session::over_http(Arc::clone(&shared), Arc::clone(&sessions))),
        service_sessions,
        config,
    );
    let router = axum::Router::new().route_service("/mcp", service);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, router).await?;
    Ok(())
}

/// What every session of one fixture process shares.
#[derive(Debug, Default)]
struct Shared {
    page_length: Option<usize>,
    ledger: Option<std::path::PathBuf>,
    /// Whether the tools depend on what the client declares.
    by_client: bool,
    /// Told from outside to change the lists.
    change: Mutex<Option<Signal>>,
    /// Calls of `slow` that were cancelled by the client.
    cancelled: AtomicU64,
    /// `notifications/roots/list_changed` that arrived.
    roots_changed: AtomicU64,
    /// Whether `change_lists` added its extra tool, prompt and resource.
    extra: AtomicBool,
}

impl Shared {
    fn from_environment() -> Self {
        let page_length = std::env::var_os("FIXTURE_PAGES")
            .and_then(|text| text.to_str().and_then(|text| text.parse().ok()));
        let ledger = std::env::var_os("FIXTURE_LEDGER").map(std::path::PathBuf::from);
        let by_client = std::env::var_os("FIXTURE_BY_CLIENT").is_some();
        Self { page_length, ledger, by_client, ..Self::default() }
    }
}

/// One client's session: what it subscribed to and how much it wants logged.
#[derive(Debug)]
struct Session {
    shared: Arc<Shared>,
    http: Option<Arc<LocalSessionManager>>,
    level: Mutex<Option<LoggingLevel>>,
    subscriptions: Mutex<BTreeMap<String, Peer<RoleServer>>>,
}

impl Session {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, http: None, level: Mutex::default(), subscriptions: Mutex::default() }
    }

    fn over_http(shared: Arc<Shared>, sessions: Arc<LocalSessionManager>) -> Self {
        Self { http: Some(sessions), ..Self::new(shared) }
    }
}

/// Reads one of the SDK's types from the JSON it stands for.
fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|fault| ErrorData::internal_error(format!("fixture: {fault}"), None))
}
