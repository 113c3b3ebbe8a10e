//! An MCP server on the official Rust SDK that shows every behaviour the suites ask for.
//!
//! It speaks one era or both, over stdio or over Streamable HTTP: the revisions that have
//! `initialize` (2024-11-05 to 2025-11-25), which is what it does unless told otherwise, or
//! 2026-07-28, or each client's own. What it asks its clients it asks in their era's way.
//!
//! Environment variables change it: `FIXTURE_PAGES` is a page length and turns
//! pagination of every list on; `FIXTURE_LEDGER` is the file the tool `append` writes to;
//! `FIXTURE_BY_CLIENT` offers a tool `sampler` to clients that can sample; `FIXTURE_TASKS` has some
//! tools run as tasks of 2025-11-25, over stdio. There, SIGUSR1 is what `change_lists` is.
#![expect(deprecated, reason = "subscriptions, roots and sampling are what the suites test")]

mod ask;
mod handler;
mod jobs;
mod legacy_tasks;
mod lists;
mod questions;
mod tools;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use rmcp::model::LoggingLevel;
use rmcp::service::{Peer, RoleServer, ServerInitializeError};
use rmcp::task_manager::TaskManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServiceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{broadcast, watch};

/// How the fixture is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One session over this process's standard input and output.
    Stdio,
    /// Many sessions over `http://127.0.0.1:PORT/mcp`.
    Http(u16),
}

/// The revisions the fixture speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Era {
    /// 2024-11-05 to 2025-11-25, with `initialize`.
    #[default]
    Legacy,
    /// 2026-07-28 alone.
    Modern,
    /// All of them.
    Both,
}

impl FromStr for Era {
    type Err = Fault;

    fn from_str(word: &str) -> Result<Self, Fault> {
        match word {
            "legacy" => Ok(Self::Legacy),
            "modern" => Ok(Self::Modern),
            "both" => Ok(Self::Both),
            _ => Err(USAGE.into()),
        }
    }
}

const USAGE: &str = "usage: fixture --stdio | --http PORT [--era legacy | modern | both]";

/// Reads `--stdio` or `--http PORT`, and the era: `--era`, or else `FIXTURE_ERA`.
///
/// # Errors
/// The usage line, when the arguments are something else.
pub fn from_arguments(arguments: &[String]) -> Result<(Mode, Era), Fault> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let from_environment = std::env::var_os("FIXTURE_ERA");
    let (words, era) = match words.as_slice() {
        [words @ .., "--era", era] => (words, Some(*era)),
        words => (words, from_environment.as_deref().and_then(OsStr::to_str)),
    };
    let mode = match words {
        ["--stdio"] => Mode::Stdio,
        ["--http", port] => Mode::Http(port.parse()?),
        _ => return Err(USAGE.into()),
    };
    Ok((mode, era.map(str::parse).transpose()?.unwrap_or_default()))
}

/// Whatever stops the fixture; only its text matters.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Serves until the client hangs up (stdio) or the process is told to stop (HTTP).
///
/// # Errors
/// The port is taken, or the client neither initialised nor asked anything.
pub async fn run(mode: Mode, era: Era) -> Result<(), Fault> {
    let shared = Arc::new(Shared::from_environment(era));
    match mode {
        Mode::Stdio => {
            let signals = signal(SignalKind::user_defined1())?;
            tokio::select! {
                outcome = serve_stdio(Arc::clone(&shared)) => outcome,
                () = heed(&shared, signals) => Ok(()),
            }
        }
        Mode::Http(port) => serve_http(shared, port).await,
    }
}

async fn serve_stdio(shared: Arc<Shared>) -> Result<(), Fault> {
    if std::env::var_os("FIXTURE_TASKS").is_some() {
        return serve_with_tasks(shared).await;
    }
    loop {
        let serving = Session::new(Arc::clone(&shared)).serve(rmcp::transport::stdio());
        match Box::pin(serving).await {
            Ok(session) => {
                session.waiting().await?;
                return Ok(());
            }
            // A client that tried `initialize` in vain may go on without it.
            Err(ServerInitializeError::InitializeFailed(_)) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
}

async fn serve_with_tasks(shared: Arc<Shared>) -> Result<(), Fault> {
    let (near, far) = tokio::io::duplex(1 << 20);
    let serving = async {
        let session = Box::pin(Session::new(shared).serve(tokio::io::split(near))).await?;
        session.waiting().await?;
        Ok(())
    };
    tokio::select! {
        outcome = serving => outcome,
        outcome = legacy_tasks::run(far) => outcome,
    }
}

/// Changes the lists each time SIGUSR1 comes.
async fn heed(shared: &Shared, mut signals: Signal) {
    while signals.recv().await.is_some() {
        shared.extra.store(true, Ordering::SeqCst);
        shared.announce_lists();
        shared.signals.0.send_modify(|count| *count = count.wrapping_add(1));
    }
}

async fn serve_http(shared: Arc<Shared>, port: u16) -> Result<(), Fault> {
    let sessions = Arc::new(LocalSessionManager::default());
    let service_sessions = Arc::clone(&sessions);
    let config = StreamableHttpServerConfig::default()
        .with_allowed_origins(["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"])
        .with_legacy_session_mode(shared.era != Era::Modern);
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

/// What a client may want to hear of.
#[derive(Debug, Clone)]
enum Change {
    Tools,
    Prompts,
    Resources,
    Resource(String),
}

/// What every session of one fixture process shares.
struct Shared {
    era: Era,
    page_length: Option<usize>,
    ledger: Option<std::path::PathBuf>,
    /// Whether the tools depend on what the client declares.
    by_client: bool,
    /// How often SIGUSR1 changed the lists: for the session over stdio, if it is a legacy one.
    signals: (watch::Sender<u64>, watch::Receiver<u64>),
    /// Everything that changes: for those who listen in the modern era.
    changes: broadcast::Sender<Change>,
    /// The tasks that run, or ran a short while ago.
    jobs: TaskManager,
    /// Calls of `slow` that were cancelled by the client.
    cancelled: AtomicU64,
    /// `notifications/roots/list_changed` that arrived.
    roots_changed: AtomicU64,
    /// Whether `change_lists` added its extra tool, prompt and resource.
    extra: AtomicBool,
}

impl Shared {
    fn from_environment(era: Era) -> Self {
        let page_length = std::env::var_os("FIXTURE_PAGES")
            .and_then(|text| text.to_str().and_then(|text| text.parse().ok()));
        Self {
            era,
            page_length,
            ledger: std::env::var_os("FIXTURE_LEDGER").map(std::path::PathBuf::from),
            by_client: std::env::var_os("FIXTURE_BY_CLIENT").is_some(),
            signals: watch::channel(0),
            changes: broadcast::Sender::new(64),
            jobs: TaskManager::new(),
            cancelled: AtomicU64::default(),
            roots_changed: AtomicU64::default(),
            extra: AtomicBool::default(),
        }
    }

    /// Tells those who listen in the modern era; whether anybody does.
    fn announce(&self, change: Change) -> bool {
        self.changes.send(change).is_ok()
    }

    fn announce_lists(&self) {
        for change in [Change::Tools, Change::Prompts, Change::Resources] {
            self.announce(change);
        }
    }
}

/// One client's session: what it subscribed to and how much it wants logged. In the modern era
/// over HTTP it is one request.
struct Session {
    shared: Arc<Shared>,
    http: Option<Arc<LocalSessionManager>>,
    level: Mutex<Option<LoggingLevel>>,
    subscriptions: Mutex<BTreeMap<String, Peer<RoleServer>>>,
    /// Receivers of changes for streams that are about to be opened.
    listening: Mutex<Vec<broadcast::Receiver<Change>>>,
}

impl Session {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            http: None,
            level: Mutex::default(),
            subscriptions: Mutex::default(),
            listening: Mutex::default(),
        }
    }

    fn over_http(shared: Arc<Shared>, sessions: Arc<LocalSessionManager>) -> Self {
        Self { http: Some(sessions), ..Self::new(shared) }
    }
}

/// A result. The SDK takes `resultType` away again for clients of the legacy era.
fn complete<T: DeserializeOwned>(mut result: Value) -> Result<T, ErrorData> {
    if let Some(members) = result.as_object_mut() {
        members.insert("resultType".to_owned(), Value::from("complete"));
    }
    typed(result)
}

/// Reads one of the SDK's types from the JSON it stands for.
fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|fault| ErrorData::internal_error(format!("fixture: {fault}"), None))
}
