//! The rows of the throughput table, and the interleaved run that fills them.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::bed::{Bed, Replicas, Via};
use crate::client::{Place, Transport};
use crate::load::{Load, Sample, measure};
use crate::process::Process;
use crate::report::median;

const SMALL: usize = 128;
const LARGE: usize = 64 * 1024;
/// Says who calls, where that is looked at.
const CREDENTIAL: &str = "Authorization: Bearer of-this-run-alone\r\n";

/// One way a call can take. Rows whose names begin alike are compared with the nginx row among
/// them, with that of a gateway which keeps its sessions in memory, or with that of one on which
/// whatever can be off is.
#[derive(Debug, Clone, Copy)]
struct Row {
    name: &'static str,
    via: Via,
    transport: Transport,
    path: &'static str,
    payload_bytes: usize,
}

const fn row(name: &'static str, via: Via, how: (Transport, &'static str, usize)) -> Row {
    let (transport, path, payload_bytes) = how;
    Row { name, via, transport, path, payload_bytes }
}

const ROWS: &[Row] = &[
    row("http/direct", Via::Direct, (Transport::Streamable, "/mcp", SMALL)),
    row("http/nginx", Via::Nginx, (Transport::Streamable, "/mcp", SMALL)),
    row("http/gateway-http", Via::Gateway, (Transport::Streamable, "/mcp/http", SMALL)),
    row("http/gateway-pooled", Via::Gateway, (Transport::Streamable, "/mcp/pooled", SMALL)),
    row("http/gateway-session", Via::Gateway, (Transport::Streamable, "/mcp/session", SMALL)),
    row("http/gateway-down", Via::Gateway, (Transport::Streamable, "/mcp/http-modern", SMALL)),
    row("modern/direct", Via::Direct, (Transport::Modern, "/mcp", SMALL)),
    row("modern/nginx", Via::Nginx, (Transport::Modern, "/mcp", SMALL)),
    row("modern/gateway-http", Via::Gateway, (Transport::Modern, "/mcp/http", SMALL)),
    row("modern/gateway-stdio", Via::Gateway, (Transport::Modern, "/mcp/pooled", SMALL)),
    row("modern/gateway-up", Via::Gateway, (Transport::Modern, "/mcp/http-legacy", SMALL)),
    row("modern64k/nginx", Via::Nginx, (Transport::Modern, "/mcp", LARGE)),
    row("modern64k/gateway-http", Via::Gateway, (Transport::Modern, "/mcp/http", LARGE)),
    row("modern64k/gateway-stdio", Via::Gateway, (Transport::Modern, "/mcp/pooled", LARGE)),
    row("http64k/direct", Via::Direct, (Transport::Streamable, "/mcp", LARGE)),
    row("http64k/nginx", Via::Nginx, (Transport::Streamable, "/mcp", LARGE)),
    row("http64k/gateway-http", Via::Gateway, (Transport::Streamable, "/mcp/http", LARGE)),
    row("http64k/gateway-pooled", Via::Gateway, (Transport::Streamable, "/mcp/pooled", LARGE)),
    row("http64k/gateway-session", Via::Gateway, (Transport::Streamable, "/mcp/session", LARGE)),
    row("ws/direct", Via::Direct, (Transport::WebSocket, "/ws", SMALL)),
    row("ws/nginx", Via::Nginx, (Transport::WebSocket, "/ws", SMALL)),
    row("ws/gateway-http", Via::Gateway, (Transport::WebSocket, "/ws/http", SMALL)),
    row("ws/gateway-pooled", Via::Gateway, (Transport::WebSocket, "/ws/pooled", SMALL)),
    row("ws64k/direct", Via::Direct, (Transport::WebSocket, "/ws", LARGE)),
    row("ws64k/nginx", Via::Nginx, (Transport::WebSocket, "/ws", LARGE)),
    row("ws64k/gateway-pooled", Via::Gateway, (Transport::WebSocket, "/ws/pooled", LARGE)),
    row("sse/direct", Via::Direct, (Transport::LegacySse, "/sse", SMALL)),
    row("sse/nginx", Via::Nginx, (Transport::LegacySse, "/sse", SMALL)),
    row("sse/gateway-http", Via::Gateway, (Transport::LegacySse, "/sse/http", SMALL)),
    row("sse/gateway-pooled", Via::Gateway, (Transport::LegacySse, "/sse/pooled", SMALL)),
    row("sse64k/direct", Via::Direct, (Transport::LegacySse, "/sse", LARGE)),
    row("sse64k/nginx", Via::Nginx, (Transport::LegacySse, "/sse", LARGE)),
    row("sse64k/gateway-pooled", Via::Gateway, (Transport::LegacySse, "/sse/pooled", LARGE)),
    row("on-http/off", Via::Gateway, (Transport::Streamable, "/mcp/http", SMALL)),
    row("on-http/guarded", Via::Guarded, (Transport::Streamable, "/mcp/http", SMALL)),
    row("on-http/logged", Via::Logged, (Transport::Streamable, "/mcp/http", SMALL)),
    row("on-http/traced", Via::Traced, (Transport::Streamable, "/mcp/http", SMALL)),
    row("on-pooled/off", Via::Gateway, (Transport::Streamable, "/mcp/pooled", SMALL)),
    row("on-pooled/guarded", Via::Guarded, (Transport::Streamable, "/mcp/pooled", SMALL)),
    row("on-pooled/logged", Via::Logged, (Transport::Streamable, "/mcp/pooled", SMALL)),
    row("on-pooled/traced", Via::Traced, (Transport::Streamable, "/mcp/pooled", SMALL)),
    row("kept-http/memory", Via::Gateway, (Transport::Streamable, "/mcp/http", SMALL)),
    row("kept-http/owner", Via::Owner, (Transport::Streamable, "/mcp/http", SMALL)),
    row("kept-http/hop", Via::Entry, (Transport::Streamable, "/mcp/http", SMALL)),
    row("kept-http/hop-apart", Via::EntryApart, (Transport::Streamable, "/mcp/http", SMALL)),
    row("kept-pooled/memory", Via::Gateway, (Transport::Streamable, "/mcp/pooled", SMALL)),
    row("kept-pooled/owner", Via::Owner, (Transport::Streamable, "/mcp/pooled", SMALL)),
    row("kept-pooled/hop", Via::Entry, (Transport::Streamable, "/mcp/pooled", SMALL)),
    row("kept-pooled/hop-apart", Via::EntryApart, (Transport::Streamable, "/mcp/pooled", SMALL)),
    row("kept-sse/memory", Via::Gateway, (Transport::LegacySse, "/sse/pooled", SMALL)),
    row("kept-sse/owner", Via::Owner, (Transport::LegacySse, "/sse/pooled", SMALL)),
];

/// How often and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) sessions: usize,
    pub(crate) repeats: usize,
    pub(crate) window: Duration,
}

/// A row of the table: medians over the repeats.
#[derive(Debug, Serialize)]
pub(crate) struct Throughput {
    pub(crate) name: &'static str,
    pub(crate) requests_per_second: f64,
    /// To the row it is compared with, in the same repeat; `None` when that was not measured.
    pub(crate) times_reference: Option<f64>,
    pub(crate) cpu_us_per_request: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) faults: Vec<String>,
}

/// What clients connect to, as far as rows ask for it.
struct Served {
    alone: Vec<(Via, Process)>,
    replicas: Option<Replicas>,
}

impl Served {
    async fn start(bed: &Bed, rows: &[&Row]) -> Result<Self> {
        let mut alone = Vec::new();
        for via in [Via::Direct, Via::Nginx, Via::Gateway, Via::Guarded, Via::Logged, Via::Traced] {
            if rows.iter().any(|row| row.via == via)
                && let Some(process) = bed.serve(via).await?
            {
                alone.push((via, process));
            }
        }
        let is_shared = rows.iter().any(|row| is_replica(row.via));
        let replicas = if is_shared { bed.replicas().await? } else { None };
        Ok(Self { alone, replicas })
    }

    /// The processes that a call goes through; none where they are not there.
    fn of(&self, via: Via) -> Vec<&Process> {
        let alone = self.alone.iter().filter(|(served, _)| *served == via);
        let together = self.replicas.iter().flat_map(|replicas| on_the_way(replicas, via));
        alone.map(|(_, process)| process).chain(together).collect()
    }
}

/// Measures all rows whose name contains `only`, and the rows they are compared with, one after
/// the other, and all of them again in each repeat.
pub(crate) async fn run(bed: &Bed, plan: &Plan, only: &str) -> Result<Vec<Throughput>> {
    let chosen = chosen(only);
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let served = Served::start(bed, &chosen).await?;
    let mut samples: Vec<(&Row, Vec<Sample>)> =
        chosen.into_iter().map(|row| (row, Vec::new())).collect();
    for repeat in 1..=plan.repeats {
        for (row, samples) in &mut samples {
            let processes = served.of(row.via);
            if processes.is_empty() {
                continue;
            }
            crate::report::progress(&format!("repeat {repeat} of {}: {}", plan.repeats, row.name));
            let load = Load {
                transport: row.transport,
                sessions: plan.sessions,
                payload_bytes: row.payload_bytes,
                window: plan.window,
            };
            let is_websocket = row.transport == Transport::WebSocket;
            let (address, opened_at) = (bed.address(row.via, is_websocket), bed.opened_at(row.via));
            let headers = if is_guarded(row.via) { CREDENTIAL } else { "" };
            let place = Place { address, path: row.path, opened_at, headers };
            samples.push(measure(&load, &place, &processes).await?);
        }
    }
    let measured = samples.iter().filter(|(_, samples)| !samples.is_empty());
    Ok(measured.map(|(row, own)| summary(row, own, reference(row, &samples))).collect())
}

fn chosen(only: &str) -> Vec<&'static Row> {
    let is_asked = |row: &Row| row.name.contains(only);
    let is_wanted = |row: &Row| {
        is_reference(row) && ROWS.iter().any(|it| is_asked(it) && group(it) == group(row))
    };
    ROWS.iter().filter(|row| is_asked(row) || is_wanted(row)).collect()
}

fn is_reference(row: &Row) -> bool {
    row.via == Via::Nginx || ["/memory", "/off"].iter().any(|it| row.name.ends_with(it))
}

fn is_guarded(via: Via) -> bool {
    matches!(via, Via::Guarded | Via::Logged | Via::Traced)
}

fn is_replica(via: Via) -> bool {
    matches!(via, Via::Owner | Via::Entry | Via::EntryApart)
}

/// The replicas that a call goes through.
fn on_the_way(replicas: &Replicas, via: Via) -> Vec<&Process> {
    let Replicas { owner, apart, entry, .. } = replicas;
    match via {
        Via::Owner => vec![owner],
        Via::Entry => vec![entry, owner],
        Via::EntryApart => vec![entry, apart],
        Via::Direct | Via::Nginx | Via::Gateway => Vec::new(),
        Via::Guarded | Via::Logged | Via::Traced => Vec::new(),
    }
}

fn group(row: &Row) -> &'static str {
    row.name.split('/').next().unwrap_or_default()
}

fn reference<'a>(row: &Row, samples: &'a [(&Row, Vec<Sample>)]) -> &'a [Sample] {
    let found = samples.iter().find(|(other, _)| is_reference(other) && group(other) == group(row));
    found.map_or(&[], |(_, samples)| samples)
}

fn summary(row: &Row, samples: &[Sample], reference: &[Sample]) -> Throughput {
    let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure)).unwrap_or_default();
    let ratios = samples
        .iter()
        .zip(reference)
        .map(|(own, reference)| own.requests_per_second / reference.requests_per_second);
    Throughput {
        name: row.name,
        requests_per_second: of(|sample| sample.requests_per_second),
        times_reference: median(ratios),
        cpu_us_per_request: of(|sample| sample.cpu_us_per_request),
        p50_ms: of(|sample| sample.p50_ms),
        p99_ms: of(|sample| sample.p99_ms),
        faults: samples.iter().flat_map(|sample| sample.faults.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn a_row_brings_its_reference_along() {
        let names: Vec<_> = chosen("ws/gateway").iter().map(|row| row.name).collect();
        assert_eq!(names, ["ws/nginx", "ws/gateway-http", "ws/gateway-pooled"]);
        let names: Vec<_> = chosen("on-http/tr").iter().map(|row| row.name).collect();
        assert_eq!(names, ["on-http/off", "on-http/traced"]);
        let names: Vec<_> = chosen("kept-http/hop-").iter().map(|row| row.name).collect();
        assert_eq!(names, ["kept-http/memory", "kept-http/hop-apart"]);
        assert!(chosen("no such row").is_empty());
    }
}
