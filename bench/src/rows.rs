//! The rows of the throughput table, and the interleaved run that fills them.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::bed::{Bed, Via};
use crate::client::{Place, Transport};
use crate::load::{Load, Sample, measure};
use crate::report::median;

const SMALL: usize = 128;
const LARGE: usize = 64 * 1024;

/// One way a call can take. Rows whose names begin alike are compared with their nginx row.
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
    /// To nginx in the same repeat; `None` without nginx.
    pub(crate) times_nginx: Option<f64>,
    pub(crate) cpu_us_per_request: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) faults: Vec<String>,
}

/// Measures all rows whose name contains `only`, and the nginx rows they are compared with, one
/// after the other, and all of them again in each repeat.
pub(crate) async fn run(bed: &Bed, plan: &Plan, only: &str) -> Result<Vec<Throughput>> {
    let chosen = chosen(only);
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let direct = bed.serve(Via::Direct).await?;
    let nginx = bed.serve(Via::Nginx).await?;
    let gateway = bed.serve(Via::Gateway).await?;
    let mut samples: Vec<(&Row, Vec<Sample>)> =
        chosen.into_iter().map(|row| (row, Vec::new())).collect();
    for repeat in 1..=plan.repeats {
        for (row, samples) in &mut samples {
            let process = match row.via {
                Via::Direct => &direct,
                Via::Nginx => &nginx,
                Via::Gateway => &gateway,
            };
            let Some(process) = process else { continue };
            crate::report::progress(&format!("repeat {repeat} of {}: {}", plan.repeats, row.name));
            let load = Load {
                transport: row.transport,
                sessions: plan.sessions,
                payload_bytes: row.payload_bytes,
                window: plan.window,
            };
            let is_websocket = row.transport == Transport::WebSocket;
            let place = Place { address: bed.address(row.via, is_websocket), path: row.path };
            samples.push(measure(&load, &place, process).await?);
        }
    }
    let measured = samples.iter().filter(|(_, samples)| !samples.is_empty());
    Ok(measured.map(|(row, own)| summary(row, own, reference(row, &samples))).collect())
}

fn chosen(only: &str) -> Vec<&'static Row> {
    let is_asked = |row: &Row| row.name.contains(only);
    let is_reference = |row: &Row| {
        row.via == Via::Nginx && ROWS.iter().any(|it| is_asked(it) && group(it) == group(row))
    };
    ROWS.iter().filter(|row| is_asked(row) || is_reference(row)).collect()
}

fn group(row: &Row) -> &'static str {
    row.name.split('/').next().unwrap_or_default()
}

fn reference<'a>(row: &Row, samples: &'a [(&Row, Vec<Sample>)]) -> &'a [Sample] {
    let found =
        samples.iter().find(|(other, _)| other.via == Via::Nginx && group(other) == group(row));
    found.map_or(&[], |(_, samples)| samples)
}

fn summary(row: &Row, samples: &[Sample], nginx: &[Sample]) -> Throughput {
    let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure)).unwrap_or_default();
    let ratios = samples
        .iter()
        .zip(nginx)
        .map(|(own, nginx)| own.requests_per_second / nginx.requests_per_second);
    Throughput {
        name: row.name,
        requests_per_second: of(|sample| sample.requests_per_second),
        times_nginx: median(ratios),
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
        assert!(chosen("no such row").is_empty());
    }
}
