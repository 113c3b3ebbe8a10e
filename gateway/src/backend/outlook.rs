//! How the servers are, looked up for the figures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::Uri;

use crate::backend::Backends;
use crate::backend::server::Server;
use crate::backend::upstream::{Pipe, Upstream};
use crate::config::ServerKind;
use crate::telemetry::metrics::outlook::{BackendOutlook, Processes};

impl Backends {
    /// How each server is. What a reload took away and has yet to end counts with the server that
    /// has its id, if there is one.
    pub fn outlook(&self) -> Vec<BackendOutlook> {
        let mut all: BTreeMap<String, BackendOutlook> = BTreeMap::new();
        let now = Instant::now();
        for server in self.all().iter() {
            all.insert(server.config.id.clone(), outlook(server, now));
        }
        let retiring = self.retiring.lock().clone();
        for server in &retiring {
            let left = outlook(server, now);
            match all.get_mut(&left.id) {
                Some(backend) => join(backend, &left),
                None => {
                    let gone = BackendOutlook { instances: Vec::new(), ..left };
                    all.insert(gone.id.clone(), gone);
                }
            }
        }
        all.into_values().collect()
    }
}

fn join(backend: &mut BackendOutlook, left: &BackendOutlook) {
    backend.queued += left.queued;
    backend.in_flight += left.in_flight;
    if let Some(former) = left.processes {
        let processes = backend.processes.get_or_insert_default();
        processes.starting += former.starting;
        processes.running += former.running;
        processes.closing += former.closing;
    }
}

fn outlook(server: &Arc<Server>, now: Instant) -> BackendOutlook {
    let upstreams = server.upstreams();
    let queued = |upstream: &Arc<Upstream>| match &upstream.pipe {
        Pipe::Stdio(pipe) => pipe.queued(),
        Pipe::Link(pipe) => pipe.queued(),
        Pipe::Http(_) | Pipe::Modern(_) => 0,
    };
    BackendOutlook {
        id: server.config.id.clone(),
        instances: instances(server, &upstreams),
        circuit: server.trouble.lock().circuit(now),
        processes: processes(server, &upstreams),
        queued: upstreams.iter().map(queued).sum(),
        in_flight: upstreams.iter().map(|it| it.in_flight()).sum(),
    }
}

/// Of remote instances all are well until a start has failed, which tried each, and then those that
/// are still talked to.
fn instances(server: &Server, upstreams: &[Arc<Upstream>]) -> Vec<(String, bool)> {
    let has_failed = server.fault().is_some();
    let remote = match &server.config.kind {
        ServerKind::Http(remote) | ServerKind::Sse(remote) | ServerKind::WebSocket(remote) => {
            remote
        }
        ServerKind::Stdio(_) => return vec![("stdio".to_owned(), !has_failed)],
        ServerKind::Unsupported { .. } => return Vec::new(),
    };
    let is_reached = |url: &str| {
        upstreams.iter().any(|upstream| match &upstream.pipe {
            Pipe::Http(pipe) => pipe.instance() == url,
            Pipe::Link(pipe) => pipe.url() == url,
            Pipe::Stdio(_) | Pipe::Modern(_) => false,
        })
    };
    let named = remote.instances.iter().enumerate();
    let mut all: Vec<(String, bool)> = Vec::new();
    for (at, url) in named {
        let mut name = shown(url).unwrap_or_else(|| format!("#{}", at + 1));
        if all.iter().any(|(other, _)| *other == name) {
            name = format!("{name}#{}", at + 1);
        }
        all.push((name, !has_failed || is_reached(url)));
    }
    all
}

/// The host and port alone: the rest of an address may hold a secret.
fn shown(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host()?;
    Some(uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn processes(server: &Server, upstreams: &[Arc<Upstream>]) -> Option<Processes> {
    let ServerKind::Stdio(_) = &server.config.kind else { return None };
    let is_process = |it: &&Arc<Upstream>| matches!(it.pipe, Pipe::Stdio(_));
    let open = upstreams.iter().filter(is_process).count();
    let greeted = |it: &&Arc<Upstream>| !it.hello().is_empty();
    let running = upstreams.iter().filter(is_process).filter(greeted).count();
    let alive = server.facts.processes.load(Ordering::Relaxed);
    Some(Processes { starting: open - running, running, closing: alive.saturating_sub(open) })
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn an_instance_is_shown_without_what_may_be_secret() {
        for (url, name) in [
            ("https://user:word@host:8443/mcp?key=hidden", Some("host:8443")),
            ("http://host/hidden", Some("host")),
            ("wss://[::1]:9/x", Some("[::1]:9")),
            ("nothing of the kind", None),
        ] {
            assert_eq!(shown(url).as_deref(), name, "{url}");
        }
    }
}
