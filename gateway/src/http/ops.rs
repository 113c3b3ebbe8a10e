//! For people, probes and scrapers: `/`, `/health…`, `/servers…`, `/metrics`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use crate::backend::server::Server;
use crate::backend::upstream::{Owner, Pipe, Upstream};
use crate::config::{Isolation, ServerKind};
use crate::http::reply::{self, document};
use crate::http::{At, Edge};
use crate::route::merge::List;
use crate::telemetry;
use crate::telemetry::metrics::outlook::Outlook;

/// `GET /`: what this is, how it is, where to go.
pub(crate) async fn root(State(edge): At) -> Response {
    let prefix = &edge.config.public_prefix;
    document(&json!({
        "name": "mcp-gateway",
        "version": env!("CARGO_PKG_VERSION"),
        "status": status(&edge),
        "servers": list(&edge),
        "endpoints": {
            "mcp": format!("{prefix}/mcp"),
            "sse": format!("{prefix}/sse"),
            "ws": format!("{prefix}/ws"),
            "mcpOfServer": format!("{prefix}/mcp/{{server}}"),
            "sseOfServer": format!("{prefix}/sse/{{server}}"),
            "wsOfServer": format!("{prefix}/ws/{{server}}"),
            "health": format!("{prefix}/health"),
            "servers": format!("{prefix}/servers"),
        },
    }))
}

/// `GET /health`: 200 as long as the gateway serves; a broken server makes it `degraded`, and
/// `healthy` means that no server is known to be broken.
pub(crate) async fn health(State(edge): At) -> Response {
    let backends: Map<String, Value> = edge
        .relay
        .backends
        .all()
        .iter()
        .map(|server| {
            let tools = server.facts.known.length(List::Tools.method()).unwrap_or_default();
            // `restart_count` counts every start, the first included, as the scripts and dashboards
            // that read this document expect it; `starts` of /servers/{id} is the same figure.
            let entry = json!({
                "status": state(server),
                "running": !server.upstreams().is_empty(),
                "restart_count": server.starts(),
                "tools_cached": tools,
            });
            (server.config.id.clone(), entry)
        })
        .collect();
    let mut health = json!({
        "status": status(&edge),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": edge.started.elapsed().as_secs(),
        "sessions": edge.relay.sessions.len(),
        "backends": backends,
    });
    let standing = &edge.relay.standing;
    if standing.is_shared()
        && let Some(health) = health.as_object_mut()
    {
        let store = if standing.is_store_up() { "up" } else { "away" };
        health.insert("store".to_owned(), Value::from(store));
    }
    document(&health)
}

/// `GET /health/live`: the process answers.
pub(crate) async fn live() -> Response {
    document(&json!({"status": "alive"}))
}

/// `GET /health/ready`: 503 while it starts or stops, so that a balancer looks elsewhere.
pub(crate) async fn ready(State(edge): At) -> Response {
    // A store that goes away later takes no readiness: much goes on without it.
    if edge.is_ready() && edge.relay.standing.was_confirmed() {
        return document(&json!({"status": "ready"}));
    }
    reply::not_ready()
}

/// `GET /servers`: every server in short.
pub(crate) async fn servers(State(edge): At) -> Response {
    let servers = list(&edge);
    document(&json!({"count": servers.len(), "servers": servers}))
}

/// `GET /servers/{id}`: one server with its instances.
pub(crate) async fn server(State(edge): At, Path(id): Path<String>) -> Response {
    let Some(server) = edge.relay.backends.get(&id) else {
        let servers = edge.relay.backends.all();
        let known = servers.iter().map(|it| it.config.id.as_str());
        let known = known.collect::<Vec<_>>().join(", ");
        let what = format!("there is no server {id:?}; there are: {known}");
        return reply::not_there(&what);
    };
    let mut entry = summary(&server);
    if let Some(entry) = entry.as_object_mut() {
        let running: Vec<_> = server.upstreams().iter().map(instance).collect();
        entry.insert("running".to_owned(), Value::from(running));
        entry.insert("starts".to_owned(), Value::from(server.starts()));
        entry.insert("last_error".to_owned(), Value::from(server.fault()));
        entry.insert(
            "endpoints".to_owned(),
            json!({
                "mcp": format!("{}/mcp/{id}", edge.config.public_prefix),
                "sse": format!("{}/sse/{id}", edge.config.public_prefix),
                "ws": format!("{}/ws/{id}", edge.config.public_prefix),
            }),
        );
    }
    document(&entry)
}

/// `GET /metrics` of the admin listener.
pub(crate) async fn metrics(State(edge): At) -> Response {
    let relay = &edge.relay;
    let unwritten_sessions = relay.sessions.scribe().waiting();
    let (backends, waiting_lines) = (relay.backends.outlook(), telemetry::waiting_lines());
    let outlook = Outlook { backends, unwritten_sessions, waiting_lines };
    let mut response = Response::new(Body::from(relay.context.metrics.render(&outlook)));
    let value = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

fn status(edge: &Edge) -> &'static str {
    let broken = edge.relay.backends.all().iter().any(|server| state(server) == "failed");
    if broken { "degraded" } else { "healthy" }
}

fn list(edge: &Edge) -> Vec<Value> {
    edge.relay.backends.all().iter().map(summary).collect()
}

fn summary(server: &Arc<Server>) -> Value {
    let urls = server.upstreams().into_iter().filter_map(|it| match &it.pipe {
        Pipe::Http(pipe) => Some(pipe.url()),
        Pipe::Link(pipe) => Some(pipe.url().to_owned()),
        Pipe::Stdio(_) | Pipe::Modern(_) => None,
    });
    let reached = urls.collect::<BTreeSet<_>>().len();
    let failed = server.fault().is_some();
    // What a session has at a modern server is no process and no connection.
    let is_reached = |upstream: &&Arc<Upstream>| !matches!(upstream.pipe, Pipe::Modern(_));
    let running = server.upstreams().iter().filter(is_reached).count();
    json!({
        "id": server.config.id,
        "description": server.config.description,
        "type": server.config.kind.name(),
        "isolation": isolation(server),
        "era": server.era(),
        "status": state(server),
        "instances": instances(&server.config.kind, &Signs { running, reached, failed }),
        "tools": server.facts.known.length(List::Tools.method()),
    })
}

/// What is known of how a server's instances are.
struct Signs {
    /// Conversations that are open.
    running: usize,
    /// Addresses among them.
    reached: usize,
    /// Whether the last start failed.
    failed: bool,
}

/// How many instances there are, and how many of them are well: of a process pool, those that run
/// of those that may; of remote instances, all until a start has failed, which tried each, and then
/// those that are still talked to; of processes that belong to a session each, those that run.
fn instances(kind: &ServerKind, signs: &Signs) -> Value {
    let (total, healthy) = match kind {
        ServerKind::Http(remote) | ServerKind::Sse(remote) | ServerKind::WebSocket(remote) => {
            let total = remote.instances.len();
            (total, if signs.failed { signs.reached } else { total })
        }
        ServerKind::Stdio(stdio) if stdio.isolation == Isolation::Pooled => {
            (stdio.pool_size, signs.running.min(stdio.pool_size))
        }
        ServerKind::Stdio(_) => (signs.running, signs.running),
        ServerKind::Unsupported { .. } => (0, 0),
    };
    json!({"total": total, "healthy": healthy})
}

fn isolation(server: &Server) -> &'static str {
    match server.isolation() {
        Isolation::Session => "session",
        Isolation::Principal => "principal",
        Isolation::Pooled => "pooled",
    }
}

/// `idle` (starts on first use), `running`, `failed` (the last start did not succeed) or
/// `unsupported`.
fn state(server: &Server) -> &'static str {
    if matches!(server.config.kind, ServerKind::Unsupported { .. }) {
        "unsupported"
    } else if server.fault().is_some() {
        "failed"
    } else if server.upstreams().is_empty() && !server.is_stateless() {
        "idle"
    } else {
        "running"
    }
}

fn instance(upstream: &Arc<Upstream>) -> Value {
    let uptime = upstream.started.elapsed().as_secs();
    let in_flight = upstream.in_flight();
    match &upstream.pipe {
        Pipe::Stdio(pipe) => {
            let serves = match &upstream.owner {
                Owner::Session(..) => "session",
                Owner::Shared(members) if members.is_one_principals() => "principal",
                Owner::Shared(_) => "all",
                Owner::Lists(_) => "lists",
                Owner::Stateless => "stateless",
            };
            json!({
                "pid": pipe.process_id(),
                "serves": serves,
                "uptime_seconds": uptime,
                "in_flight": in_flight,
            })
        }
        Pipe::Http(pipe) => {
            json!({"endpoint": pipe.url(), "uptime_seconds": uptime, "in_flight": in_flight})
        }
        Pipe::Link(pipe) => {
            json!({"endpoint": pipe.url(), "uptime_seconds": uptime, "in_flight": in_flight})
        }
        Pipe::Modern(_) => {
            json!({"serves": "session", "uptime_seconds": uptime, "in_flight": in_flight})
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{HttpConfig, StdioConfig};

    fn assert_instances(kind: &ServerKind, signs: &Signs, total: usize, healthy: usize) {
        assert_eq!(instances(kind, signs), json!({"total": total, "healthy": healthy}));
    }

    #[test]
    fn http_instances_are_well_until_a_start_has_failed() {
        let url = |port: u16| format!("http://127.0.0.1:{port}/mcp");
        let config = HttpConfig { instances: vec![url(1), url(2)], headers: BTreeMap::new() };
        let kind = ServerKind::Http(config);
        assert_instances(&kind, &Signs { running: 0, reached: 0, failed: false }, 2, 2);
        assert_instances(&kind, &Signs { running: 5, reached: 1, failed: false }, 2, 2);
        assert_instances(&kind, &Signs { running: 5, reached: 1, failed: true }, 2, 1);
        assert_instances(&kind, &Signs { running: 0, reached: 0, failed: true }, 2, 0);
    }

    #[test]
    fn processes_are_well_when_they_run() {
        let own = StdioConfig { isolation: Isolation::Session, ..StdioConfig::new(["x"]) };
        let pool =
            StdioConfig { isolation: Isolation::Pooled, pool_size: 3, ..StdioConfig::new(["x"]) };
        let signs = |running| Signs { running, reached: 0, failed: false };
        assert_instances(&ServerKind::Stdio(own.clone()), &signs(0), 0, 0);
        assert_instances(&ServerKind::Stdio(own), &signs(4), 4, 4);
        assert_instances(&ServerKind::Stdio(pool.clone()), &signs(0), 3, 0);
        assert_instances(&ServerKind::Stdio(pool), &signs(2), 3, 2);
    }
}
