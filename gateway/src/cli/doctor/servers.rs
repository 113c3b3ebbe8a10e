//! The servers behind the gateway: does each start, shake hands, and list its tools.
//!
//! They are reached as clients reach them, through a gateway: one of the doctor's own, on loopback
//! and without the shared store, which is stopped afterwards with every process it started.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::HeaderValue;
use serde_json::Value;
use tokio::time::{Instant as Moment, timeout};
use wire::json as text;

use super::{Finding, Findings, Interrupts, Progress};
use crate::app::App;
use crate::app::stop::{Pace, Stopped};
use crate::cli::awaiting::milliseconds;
use crate::cli::probe::reach::Route;
use crate::cli::probe::{explain, talk};
use crate::config::limits::command::{DOCTOR_FINISH, DOCTOR_LET_GO, SERVER_GRACE};
use crate::config::limits::remote::CONNECT_TIMEOUT;
use crate::config::{Config, Environment, Listen, ServerConfig, ServerKind};
use crate::session::memory::MemoryStore;
use crate::transport::http::{
    Client, HttpFault, PROTOCOL_VERSION, SESSION_ID, Target, Trust, dial,
};

const PART: &str = "server";

/// How its gateway is stopped: nobody else uses it.
const PACE: Pace = Pace {
    notice: Duration::ZERO,
    finish: DOCTOR_FINISH,
    let_go: DOCTOR_LET_GO,
    spread: Duration::ZERO,
};

/// Tries all of them at the same time, and tells of each as soon as it is known.
pub(super) async fn examine(
    config: &Config,
    most: Option<Duration>,
    findings: &mut Findings,
    (progress, stop): (&Progress, &Interrupts),
) {
    let mut own = config.clone();
    own.listen = Listen { host: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 0 };
    (own.admin_port, own.reload) = (0, false);
    (own.redis, own.advertise_url) = (None, None);
    // All visits are one caller's, and none of them is anybody's business elsewhere.
    own.rate_limit.enabled = false;
    own.tracing.endpoint = None;
    own.public_prefix.clear();
    for server in &mut own.servers {
        server.start_timeout = most.unwrap_or(server.start_timeout);
    }
    findings.note(own.servers.iter().filter_map(unreachable));
    let servers: Vec<&ServerConfig> =
        own.servers.iter().filter(|server| unreachable(server).is_none()).collect();
    if servers.is_empty() {
        return;
    }
    let store = Arc::new(MemoryStore::alone());
    let app = match Box::pin(App::start_with(own.clone(), &Environment, store)).await {
        Ok(app) => app,
        Err(error) => {
            let fix = "see what is told of this machine above";
            findings.note([Finding::fail(PART, "all", error.to_string(), fix)]);
            return;
        }
    };
    let address = app.addresses().public;
    let mut tries: FuturesUnordered<_> =
        servers.iter().map(|server| Box::pin(examined(address, server))).collect();
    loop {
        let left = tries.len();
        progress.show(&format!("{left} of {} servers", servers.len()));
        tokio::select! {
            finding = tries.next() => match finding {
                Some(finding) => {
                    progress.clear();
                    findings.note([finding]);
                }
                None => break,
            },
            () = stop.first.cancelled() => break,
        }
    }
    drop(tries);
    progress.show("the end of the servers");
    let stopped = tokio::select! {
        stopped = app.stop(&PACE) => stopped,
        // What is left is killed with this process.
        () = stop.second.cancelled() => Stopped { cut_short: true, ..Stopped::default() },
    };
    progress.clear();
    if stopped.unfinished_tasks > 0 {
        let told = format!("{} tasks did not end in time", stopped.unfinished_tasks);
        let fix = "see whether processes of a server are left, and whether they heed the end of \
                   their input";
        findings.note([Finding::warn(PART, "end", told, fix)]);
    }
}

/// What is not tried, and why.
fn unreachable(server: &ServerConfig) -> Option<Finding> {
    if !server.enabled {
        let fix = "set `enabled` if it is to be used";
        return Some(Finding::skipped(PART, &server.id, "disabled", fix));
    }
    match &server.kind {
        ServerKind::Unsupported { why, .. } => {
            let fix = "use another kind, or remove it";
            Some(Finding::fail(PART, &server.id, why.clone(), fix))
        }
        ServerKind::Stdio(_)
        | ServerKind::Http(_)
        | ServerKind::Sse(_)
        | ServerKind::WebSocket(_) => None,
    }
}

async fn examined(address: SocketAddr, server: &ServerConfig) -> Finding {
    let deadline = server.start_timeout.saturating_add(SERVER_GRACE);
    match timeout(deadline, visit(address, &server.id)).await {
        Ok(Ok(seen)) => {
            let tools =
                seen.tools.map_or_else(|| "no tools".to_owned(), |count| format!("{count} tools"));
            let (start, list) = (milliseconds(seen.start), milliseconds(seen.list));
            let told = format!("{}: ready after {start}, {tools} after {list}", seen.name);
            Finding::ok(PART, &server.id, told)
        }
        Ok(Err(told)) => match unreached(server).await {
            // What keeps it from being reached says more than that it was not.
            Some(fault) => Finding::of_fault(PART, &server.id, &fault),
            None => Finding::fail(PART, &server.id, told, remedy(server)),
        },
        Err(_elapsed) => {
            let told = format!("it did not answer within {deadline:?}");
            Finding::fail(PART, &server.id, told, remedy(server))
        }
    }
}

/// Why none of its addresses can be connected to; `None` when one can be.
async fn unreached(server: &ServerConfig) -> Option<String> {
    let instances = match &server.kind {
        ServerKind::Http(http) | ServerKind::Sse(http) | ServerKind::WebSocket(http) => {
            http.instances.as_slice()
        }
        ServerKind::Stdio(_) | ServerKind::Unsupported { .. } => &[],
    };
    let mut told = None;
    for url in instances {
        let route = Route::new(url, Vec::new(), Trust::System, CONNECT_TIMEOUT);
        let target = route.target("").ok()?;
        match dial(&target, &route.trust, Moment::now() + CONNECT_TIMEOUT).await {
            Ok(_reached) => return None,
            Err(fault) => told = Some(explain::unreached(&fault, &target, CONNECT_TIMEOUT)),
        }
    }
    told
}

fn remedy(server: &ServerConfig) -> &'static str {
    match &server.kind {
        ServerKind::Stdio(_) => {
            "run its command by hand: it has to speak MCP on its standard output and nothing else; \
             `npx` and `uvx` need Node and uv where the gateway runs, and time for the first start \
             (start_timeout)"
        }
        ServerKind::Http(_) | ServerKind::Sse(_) | ServerKind::WebSocket(_) => {
            "try its address with `mcp-gateway probe mcp|sse|ws`; check url, kind and headers"
        }
        ServerKind::Unsupported { .. } => "use another kind",
    }
}

/// What was seen of a server.
struct Seen {
    name: String,
    tools: Option<usize>,
    start: Duration,
    list: Duration,
}

async fn visit(address: SocketAddr, id: &str) -> Result<Seen, String> {
    let mut target = Target::new(&format!("http://{address}/mcp/{id}"), [])
        .map_err(|fault| fault.to_string())?;
    let client = Client::new();
    let begun = Instant::now();
    let hello = Bytes::from(talk::hello(1).text().to_string());
    let answer = client.post(&target, hello).await.map_err(|fault| told(&fault))?;
    let session = answer.session_id.clone();
    let result = talk::answered(answer, 1, |_, _| {}).await.map_err(|fault| told(&fault))??;
    let start = begun.elapsed();
    if let Some(session) = session.and_then(|id| HeaderValue::from_str(&id).ok()) {
        target.set(SESSION_ID, session);
    }
    let agreed = text::member(&result, "protocolVersion").and_then(text::string);
    if let Some(agreed) = agreed.and_then(|agreed| HeaderValue::from_str(&agreed).ok()) {
        target.set(PROTOCOL_VERSION, agreed);
    }
    let note = Bytes::from(talk::greeted().text().to_string());
    client.deliver(&target, note).await.map_err(|fault| told(&fault))?;
    let begun = Instant::now();
    let list = Bytes::from(talk::request(2, "tools/list", "{}").text().to_string());
    let answer = client.post(&target, list).await.map_err(|fault| told(&fault))?;
    let listed = talk::answered(answer, 2, |_, _| {}).await.map_err(|fault| told(&fault))?;
    let document: Value = serde_json::from_str(&result).unwrap_or_default();
    let said = |at: &str| document.pointer(at).and_then(Value::as_str).unwrap_or_default();
    let offers = document.pointer("/capabilities/tools").is_some();
    let tools = match listed {
        Ok(listed) => {
            let listed: Value = serde_json::from_str(&listed).unwrap_or_default();
            listed.pointer("/tools").and_then(Value::as_array).map(Vec::len)
        }
        // A server may have none, and then need not know how to list them.
        Err(_) if !offers => None,
        Err(told) => return Err(format!("its tools cannot be listed: {told}")),
    };
    let name = format!("{} {}", said("/serverInfo/name"), said("/serverInfo/version"));
    let seen = Seen { name: name.trim().to_owned(), tools, start, list: begun.elapsed() };
    // Nobody waits for it: the gateway stops in a moment.
    let _ended = client.delete(&target).await;
    Ok(seen)
}

/// What the gateway said of a server that it cannot reach.
fn told(fault: &HttpFault) -> String {
    match fault {
        HttpFault::Status { code, body, .. } => {
            explain::said(body).unwrap_or_else(|| format!("status {code}"))
        }
        HttpFault::NotSent(_)
        | HttpFault::Lost(_)
        | HttpFault::TooLarge
        | HttpFault::Protocol(_) => fault.to_string(),
    }
}
