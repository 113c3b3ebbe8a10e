//! The closed loop: a number of sessions, each with one call in flight, for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::call::Script;
use crate::client::{Client, Place, Transport};
use crate::process::Process;

/// How long all sessions together may take to open or to close.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the last answers may take.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls before the measurement, so that connections, processes and caches are there.
const WARM_UP: Duration = Duration::from_millis(400);

const WARMING_UP: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// What is put on a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) transport: Transport,
    pub(crate) sessions: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) window: Duration,
}

/// What one repeat showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) requests_per_second: f64,
    pub(crate) cpu_us_per_request: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// What went wrong: connections, statuses, ids, payloads.
    pub(crate) faults: Vec<String>,
}

/// What one session saw.
#[derive(Debug, Default)]
struct Seen {
    latencies: Vec<Duration>,
    fault: Option<String>,
    client: Option<Client>,
}

/// Puts the load on the processes, which a call goes through, and measures both.
pub(crate) async fn measure(load: &Load, place: &Place, processes: &[&Process]) -> Result<Sample> {
    let mut sample = Sample::default();
    let clients = open(load, place, &mut sample.faults).await;
    let phase = Arc::new(AtomicU8::new(WARMING_UP));
    let mut sessions = JoinSet::new();
    for (client, script) in clients {
        sessions.spawn(talk(client, script, phase.clone()));
    }
    sleep(WARM_UP).await;
    let (cpu, started) = (cpu_of(processes)?, Instant::now());
    phase.store(MEASURING, Ordering::Relaxed);
    sleep(load.window).await;
    phase.store(OVER, Ordering::Relaxed);
    let (cpu, elapsed) = (cpu_of(processes)?.saturating_sub(cpu), started.elapsed());
    let mut latencies = Vec::new();
    let mut clients = Vec::new();
    while !sessions.is_empty() {
        let Ok(Some(seen)) = timeout(LAST_ANSWERS_TIMEOUT, sessions.join_next()).await else {
            sample.faults.push(format!("{} sessions wait for an answer", sessions.len()));
            break;
        };
        let seen = seen?;
        latencies.extend(seen.latencies);
        sample.faults.extend(seen.fault);
        clients.extend(seen.client);
    }
    close(clients, &mut sample.faults).await;
    latencies.sort_unstable();
    if let Ok(requests) = u32::try_from(latencies.len()).map(|it| f64::from(it.max(1))) {
        sample.requests_per_second = requests / elapsed.as_secs_f64();
        sample.cpu_us_per_request = cpu.as_secs_f64() * 1e6 / requests;
    }
    sample.p50_ms = percentile_ms(&latencies, 50);
    sample.p99_ms = percentile_ms(&latencies, 99);
    Ok(sample)
}

fn cpu_of(processes: &[&Process]) -> Result<Duration> {
    processes.iter().map(|process| process.cpu()).sum()
}

/// Opens all sessions at once; each has made a call when it is counted.
async fn open(load: &Load, place: &Place, faults: &mut Vec<String>) -> Vec<(Client, Script)> {
    let mut opening = JoinSet::new();
    for session in 0..load.sessions {
        let place = place.clone();
        let script = Script::new(session, load.payload_bytes);
        let transport = load.transport;
        let is_modern = transport == Transport::Modern;
        let mut script = if is_modern { script.modern() } else { script };
        opening.spawn(async move {
            let mut client = Client::open(transport, &place).await?;
            verified_call(&mut client, &mut script).await?;
            Ok::<_, Error>((client, script))
        });
    }
    let mut clients = Vec::with_capacity(load.sessions);
    let all = async {
        while let Some(opened) = opening.join_next().await {
            match opened {
                Ok(Ok(opened)) => clients.push(opened),
                Ok(Err(fault)) => faults.push(format!("opening: {fault:#}")),
                Err(fault) => faults.push(fault.to_string()),
            }
        }
    };
    if timeout(OPEN_TIMEOUT, all).await.is_err() {
        faults.push(format!("not all sessions were open after {OPEN_TIMEOUT:?}"));
    }
    clients
}

/// Makes the next call of a script and checks its answer.
pub(crate) async fn verified_call(client: &mut Client, script: &mut Script) -> Result<Duration> {
    let call = script.next();
    let sent = Instant::now();
    let answer = client.call(&call.request).await?;
    let latency = sent.elapsed();
    call.verify(&answer)?;
    Ok(latency)
}

async fn talk(mut client: Client, mut script: Script, phase: Arc<AtomicU8>) -> Seen {
    let mut seen = Seen::default();
    loop {
        let called = verified_call(&mut client, &mut script).await;
        match (called, phase.load(Ordering::Relaxed)) {
            (Ok(latency), MEASURING) => seen.latencies.push(latency),
            (Ok(_), WARMING_UP) => {}
            (Ok(_), _) => {
                seen.client = Some(client);
                return seen;
            }
            (Err(fault), _) => {
                seen.fault = Some(format!("{fault:#}"));
                return seen;
            }
        }
    }
}

async fn close(clients: Vec<Client>, faults: &mut Vec<String>) {
    let mut closing = JoinSet::new();
    for client in clients {
        closing.spawn(client.close());
    }
    let all = async {
        while let Some(closed) = closing.join_next().await {
            if let Ok(Err(fault)) = closed {
                faults.push(format!("closing: {fault:#}"));
            }
        }
    };
    if timeout(OPEN_TIMEOUT, all).await.is_err() {
        faults.push(format!("not all sessions were closed after {OPEN_TIMEOUT:?}"));
    }
}

fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::percentile_ms;

    #[test]
    fn percentiles_are_of_the_sorted_list() {
        let latencies: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert!((percentile_ms(&latencies, 50) - 51.0).abs() < 1e-9);
        assert!((percentile_ms(&latencies, 99) - 100.0).abs() < 1e-9);
        assert!(percentile_ms(&[], 99).abs() < 1e-9);
    }
}
