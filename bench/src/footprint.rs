//! What a process costs that does nothing: its start, its memory, and the memory of each stream
//! that is open and silent.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::bed::{Bed, Via};
use crate::call::Script;
use crate::client::{Client, Place, Transport};
use crate::load::verified_call;
use crate::process::Process;
use crate::report::{median, progress};

/// How long a start may take.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long all streams may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(120);
/// Streams opened at a time.
const AT_ONCE: usize = 50;
/// The most streams opened through nginx.
const NGINX_STREAMS_MAX: usize = 1_000;
/// How long memory may take to come to rest.
const REST_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two looks at the memory.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looks that agree before it counts as resting.
const LOOKS: usize = 5;

/// From nothing to the first verified call.
#[derive(Debug, Serialize)]
pub(crate) struct Start {
    pub(crate) name: &'static str,
    pub(crate) median_ms: f64,
    pub(crate) fastest_ms: f64,
    /// After that call.
    pub(crate) rss_idle_kib: u64,
}

/// Memory of silent streams.
#[derive(Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) name: String,
    pub(crate) streams: usize,
    pub(crate) kib_per_stream: f64,
    pub(crate) rss_kib: u64,
    pub(crate) fault: Option<String>,
}

const STARTS: &[(&str, Via, &str)] = &[
    ("start/nginx", Via::Nginx, "/mcp"),
    ("start/gateway-http", Via::Gateway, "/mcp/http"),
    ("start/gateway-pooled", Via::Gateway, "/mcp/pooled"),
];

const IDLE: &[(&str, Via, Transport, &str)] = &[
    ("idle/nginx/mcp", Via::Nginx, Transport::Streamable, "/mcp"),
    ("idle/nginx/sse", Via::Nginx, Transport::LegacySse, "/sse"),
    ("idle/nginx/ws", Via::Nginx, Transport::WebSocket, "/ws"),
    ("idle/gateway/mcp", Via::Gateway, Transport::Streamable, "/mcp/pooled"),
    ("idle/gateway/sse", Via::Gateway, Transport::LegacySse, "/sse/pooled"),
    ("idle/gateway/ws", Via::Gateway, Transport::WebSocket, "/ws/pooled"),
];

/// Times starts.
pub(crate) async fn starts(bed: &Bed, repeats: usize, only: &str) -> Result<Vec<Start>> {
    let mut rows = Vec::new();
    for (name, via, path) in STARTS.iter().filter(|(name, ..)| name.contains(only)) {
        progress(name);
        let mut times = Vec::new();
        let mut rss_idle_kib = Vec::new();
        for _ in 0..repeats {
            let started = Instant::now();
            let Some(mut process) = bed.launch(*via)? else { break };
            let place =
                Place { address: bed.address(*via, false), path, opened_at: None, headers: "" };
            first_call(&mut process, &place, started + START_TIMEOUT).await?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
            rss_idle_kib.push(resting_rss_kib(&process).await?);
        }
        let Some(median_ms) = median(times.iter().copied()) else { continue };
        let fastest_ms = times.iter().copied().fold(f64::INFINITY, f64::min);
        rss_idle_kib.sort_unstable();
        let rss_idle_kib = rss_idle_kib.get(repeats / 2).copied().unwrap_or_default();
        rows.push(Start { name, median_ms, fastest_ms, rss_idle_kib });
    }
    Ok(rows)
}

async fn first_call(process: &mut Process, place: &Place, deadline: Instant) -> Result<()> {
    let mut script = Script::new(0, 128);
    while Instant::now() < deadline {
        // Until somebody listens, to connect fails; after that every fault is one.
        match Client::open(Transport::Streamable, place).await {
            Ok(mut client) => return verified_call(&mut client, &mut script).await.map(drop),
            Err(fault) if is_refused(&fault) => process.check()?,
            Err(fault) => return Err(fault),
        }
        sleep(Duration::from_millis(1)).await;
    }
    bail!("no answer {START_TIMEOUT:?} after the start")
}

fn is_refused(fault: &anyhow::Error) -> bool {
    let io = fault.downcast_ref::<std::io::Error>();
    io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// Opens silent streams and weighs them, on a fresh process for each row.
pub(crate) async fn idle(bed: &Bed, counts: &[usize], only: &str) -> Result<Vec<Idle>> {
    let mut rows = Vec::new();
    for &streams in counts {
        for (name, via, transport, path) in IDLE {
            let name = format!("{name}/{streams}");
            // Through nginx each stream takes two descriptors, and ten thousand of them more than
            // most machines permit.
            if !name.contains(only) || (*via == Via::Nginx && streams > NGINX_STREAMS_MAX) {
                continue;
            }
            progress(&name);
            let Some(process) = bed.serve(*via).await? else { continue };
            let is_websocket = *transport == Transport::WebSocket;
            let address = bed.address(*via, is_websocket);
            let place = Place { address, path, opened_at: None, headers: "" };
            let mut row = Idle { name, streams, kib_per_stream: 0.0, rss_kib: 0, fault: None };
            if let Err(fault) = weigh(&process, &place, *transport, &mut row).await {
                row.fault = Some(format!("{fault:#}"));
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// What the first streams cost, such as starting the upstream, is not theirs alone: the memory
/// is weighed from the second handful on.
async fn weigh(
    process: &Process,
    place: &Place,
    transport: Transport,
    row: &mut Idle,
) -> Result<()> {
    let mut held = Vec::with_capacity(row.streams + AT_ONCE);
    open(AT_ONCE, transport, place, &mut held).await?;
    let before = resting_rss_kib(process).await?;
    match timeout(OPEN_TIMEOUT, open(row.streams, transport, place, &mut held)).await {
        Ok(opened) => opened?,
        Err(_) => bail!("{} streams were open after {OPEN_TIMEOUT:?}", held.len()),
    }
    row.rss_kib = resting_rss_kib(process).await?;
    let grown = u32::try_from(row.rss_kib.saturating_sub(before))?;
    row.kib_per_stream = f64::from(grown) / f64::from(u32::try_from(row.streams)?);
    Ok(())
}

async fn open(
    streams: usize,
    transport: Transport,
    place: &Place,
    held: &mut Vec<Client>,
) -> Result<()> {
    let wanted = held.len() + streams;
    while held.len() < wanted {
        let mut opening = JoinSet::new();
        for _ in 0..AT_ONCE.min(wanted - held.len()) {
            let place = place.clone();
            opening.spawn(async move { silent(transport, &place).await });
        }
        while let Some(opened) = opening.join_next().await {
            held.push(opened??);
        }
    }
    ensure!(held.len() == wanted, "{} streams are open, not {wanted}", held.len());
    Ok(())
}

async fn silent(transport: Transport, place: &Place) -> Result<Client> {
    match Client::open(transport, place).await? {
        Client::Streamable(client) => Ok(Client::Streamable(client.listen().await?)),
        Client::LegacySse(client) => Ok(Client::LegacySse(client.fall_silent())),
        client @ (Client::WebSocket(_) | Client::Modern(_)) => Ok(client),
    }
}

/// Resident memory once it does not change.
async fn resting_rss_kib(process: &Process) -> Result<u64> {
    let deadline = Instant::now() + REST_TIMEOUT;
    let mut last = process.rss_kib()?;
    let mut agreeing = 0;
    while agreeing < LOOKS && Instant::now() < deadline {
        sleep(LOOK_EVERY).await;
        let rss = process.rss_kib()?;
        agreeing = if rss == last { agreeing + 1 } else { 0 };
        last = rss;
    }
    Ok(last)
}
