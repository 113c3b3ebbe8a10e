//! Good calls beside sockets that send a head or a body a byte at a time: both figures from one
//! interleaved run on one process.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::bed::{Bed, Via};
use crate::client::{Place, Transport};
use crate::load::{Load, Sample, measure};
use crate::report::{median, progress};
use crate::rows::Plan;

/// Slow sockets, half of them slow heads and half slow bodies.
pub(crate) const SOCKETS: usize = 2_000;
/// How often each of them sends a byte.
const BYTE_EVERY: Duration = Duration::from_secs(1);
/// How many connect at a time: fewer than a listener lets wait.
const AT_ONCE: usize = 100;
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
const PAYLOAD_BYTES: usize = 128;

const ROWS: &[(&str, Transport, &str)] = &[
    ("slow/http/gateway-http", Transport::Streamable, "/mcp/http"),
    ("slow/http/gateway-pooled", Transport::Streamable, "/mcp/pooled"),
    ("slow/sse/gateway-pooled", Transport::LegacySse, "/sse/pooled"),
    ("slow/ws/gateway-pooled", Transport::WebSocket, "/ws/pooled"),
];

/// A way to call, without slow sockets and with them; medians over the repeats.
#[derive(Debug, Serialize)]
pub(crate) struct Slow {
    pub(crate) name: &'static str,
    pub(crate) p50_ms: [f64; 2],
    pub(crate) p99_ms: [f64; 2],
    pub(crate) requests_per_second: [f64; 2],
    /// The median of the ratios of one repeat each.
    pub(crate) times_p99: f64,
    /// With all of them open.
    pub(crate) rss_kib: u64,
    /// Slow sockets that were still open when the measurement beside them ended, the fewest.
    pub(crate) still_open: usize,
    pub(crate) faults: Vec<String>,
}

/// Measures each row without and with slow sockets in turn, in every repeat.
pub(crate) async fn run(bed: &Bed, plan: &Plan, only: &str) -> Result<Vec<Slow>> {
    let mut rows = Vec::new();
    for (name, transport, path) in ROWS.iter().filter(|(name, ..)| name.contains(only)) {
        let Some(process) = bed.serve(Via::Gateway).await? else { continue };
        let address = bed.address(Via::Gateway, false);
        let place = Place { address, path, opened_at: None, headers: "" };
        let load = Load {
            transport: *transport,
            sessions: plan.sessions,
            payload_bytes: PAYLOAD_BYTES,
            window: plan.window,
        };
        let mut samples: [Vec<Sample>; 2] = [Vec::new(), Vec::new()];
        let (mut rss_kib, mut still_open) = (0, SOCKETS);
        for repeat in 1..=plan.repeats {
            progress(&format!("repeat {repeat} of {}: {name}", plan.repeats));
            let [without, with] = &mut samples;
            without.push(measure(&load, &place, &[&process]).await?);
            let held = timeout(OPEN_TIMEOUT, open(address)).await??;
            rss_kib = rss_kib.max(process.rss_kib()?);
            with.push(measure(&load, &place, &[&process]).await?);
            still_open = still_open.min(still(held));
        }
        rows.push(summary(name, &samples, rss_kib, still_open));
    }
    Ok(rows)
}

fn summary(
    name: &'static str,
    samples: &[Vec<Sample>; 2],
    rss_kib: u64,
    still_open: usize,
) -> Slow {
    let of = |figure: fn(&Sample) -> f64| {
        samples.each_ref().map(|own| median(own.iter().map(figure)).unwrap_or_default())
    };
    let [without, with] = samples;
    let ratios = without.iter().zip(with).map(|(without, with)| with.p99_ms / without.p99_ms);
    let mut faults: Vec<String> =
        samples.iter().flatten().flat_map(|sample| sample.faults.clone()).collect();
    if still_open < SOCKETS {
        faults.push(format!("only {still_open} of {SOCKETS} slow sockets stayed open"));
    }
    Slow {
        name,
        p50_ms: of(|sample| sample.p50_ms),
        p99_ms: of(|sample| sample.p99_ms),
        requests_per_second: of(|sample| sample.requests_per_second),
        times_p99: median(ratios).unwrap_or_default(),
        rss_kib,
        still_open,
        faults,
    }
}

/// Opens all slow sockets; each is a task that ends when the gateway hangs up.
async fn open(address: SocketAddr) -> Result<JoinSet<()>> {
    let mut held = JoinSet::new();
    while held.len() < SOCKETS {
        let mut opening = JoinSet::new();
        for number in 0..AT_ONCE {
            opening.spawn(begin(address, number % 2 == 0));
        }
        while let Some(opened) = opening.join_next().await {
            let socket = opened??;
            held.spawn(dawdle(socket));
        }
    }
    ensure!(held.len() == SOCKETS, "{} slow sockets are open", held.len());
    Ok(held)
}

async fn begin(address: SocketAddr, is_head: bool) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(address).await?;
    let start = format!("POST /mcp/pooled HTTP/1.1\r\nHost: {address}\r\n");
    let rest = if is_head {
        "X-Slow: "
    } else {
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         Content-Length: 100000\r\n\r\n"
    };
    socket.write_all(format!("{start}{rest}").as_bytes()).await?;
    Ok(socket)
}

async fn dawdle(mut socket: TcpStream) {
    let mut beat = interval(BYTE_EVERY);
    let mut read = [0; 64];
    loop {
        tokio::select! {
            // Whatever comes is a refusal or the end.
            _ended = socket.read(&mut read) => return,
            _ = beat.tick() => if socket.write_all(b" ").await.is_err() { return },
        }
    }
}

/// How many were still open; closes them.
fn still(mut held: JoinSet<()>) -> usize {
    while held.try_join_next().is_some() {}
    held.len()
}
