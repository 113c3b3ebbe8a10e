//! Probes from outside: what a client gets who comes through nginx.
//!
//! They run at a pace of their own and keep what they found; a scrape reads that and never waits
//! for them.

mod health;
mod mcp;
mod sse;
mod websocket;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use http::request::Builder;
use http::{Method, Request};
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use crate::address::Address;
use crate::dial::{self, Phases, Stream, USER_AGENT};
use crate::family::Family;
use crate::limits::{PROBE, PROBE_CONNECT};
use crate::nginx::float;
use crate::tls::Tls;

/// What is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Probe {
    /// `GET /health`.
    Health,
    /// `GET /sse`, until its first event.
    Sse,
    /// `GET /ws`, until a ping is answered.
    WebSocket,
    /// `POST /mcp`, a request of `tools/list`.
    Mcp,
}

/// Every probe, in the order in which they are shown.
pub(crate) const ALL: [Probe; 4] = [Probe::Health, Probe::Sse, Probe::WebSocket, Probe::Mcp];

/// Where probes go, and as what.
pub(crate) struct Way {
    /// The URL that clients would have.
    pub(crate) address: Address,
    /// Another name to ask for there: `Host`, and the name in the certificate.
    pub(crate) host: Option<String>,
    /// Whom to trust; `None` without TLS.
    pub(crate) tls: Option<Tls>,
}

/// The probes, and what they found.
pub(crate) struct Prober {
    way: Way,
    /// The place in the one session that the probe of `/sse` has.
    mark: Mutex<Option<String>>,
    found: Mutex<BTreeMap<Probe, Found>>,
}

/// What a probe found last.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Why it failed.
    pub(crate) fault: Option<String>,
    /// What its steps took, up to the one that failed.
    pub(crate) phases: Phases,
    /// When it ended.
    pub(crate) at: SystemTime,
    /// How often it ran, and failed.
    pub(crate) runs: u64,
    /// How often it failed.
    pub(crate) failures: u64,
}

impl Probe {
    /// As the label has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Sse => "sse",
            Self::WebSocket => "websocket",
            Self::Mcp => "mcp",
        }
    }
}

impl Way {
    /// A connection, encrypted where the URL says so.
    async fn open(&self, phases: &mut Phases) -> Result<Stream, String> {
        let found = dial::look_up(&self.address).await?;
        phases.done("resolve");
        let mut fault = "it has no address".to_owned();
        for to in found.into_iter().take(3) {
            let connected = timeout(PROBE_CONNECT, dial::connect(to)).await;
            match connected.unwrap_or_else(|_elapsed| Err(format!("no connection to {to} in time")))
            {
                Ok(stream) => {
                    phases.done("connect");
                    let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
                    let stream = dial::encrypt(stream, tls, self.name()).await?;
                    phases.done("tls");
                    return Ok(stream);
                }
                Err(said) => fault = said,
            }
        }
        Err(fault)
    }

    /// The name that the certificate has to have.
    fn name(&self) -> &str {
        match &self.host {
            Some(host) => host.rsplit_once(':').map_or(host, |(name, _)| name),
            None => &self.address.host,
        }
    }

    /// What `Host` says.
    fn authority(&self) -> String {
        self.host.clone().unwrap_or_else(|| self.address.authority())
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.address.path)
    }

    fn request(&self, method: Method, path: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(self.path(path))
            .header(http::header::HOST, self.authority())
            .header(http::header::USER_AGENT, USER_AGENT)
    }
}

impl Prober {
    /// For that way; nothing has been found yet.
    pub(crate) fn new(way: Way) -> Self {
        Self { way, mark: Mutex::default(), found: Mutex::default() }
    }

    /// Where it probes.
    pub(crate) fn address(&self) -> &Address {
        &self.way.address
    }

    /// Probes again and again until it is told to stop.
    pub(crate) async fn run(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut ticks = interval_at(Instant::now(), every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.round() => {}
            }
        }
    }

    /// All probes once, beside each other.
    pub(crate) async fn round(&self) {
        join_all(ALL.map(|probe| self.probe(probe))).await;
    }

    async fn probe(&self, probe: Probe) {
        let mut phases = Phases::begin();
        let probing = Box::pin(self.carry_out(probe, &mut phases));
        let ended = timeout(PROBE, probing).await;
        let fault = match ended {
            Ok(Ok(())) => None,
            Ok(Err(fault)) => Some(dial::shorten(&fault)),
            Err(_elapsed) => Some(overdue(probe, &phases)),
        };
        let mut found = self.found.lock();
        let (runs, failures, was_well) =
            found.get(&probe).map_or((0, 0, true), |it| (it.runs, it.failures, it.fault.is_none()));
        match &fault {
            Some(fault) if was_well => {
                tracing::warn!(probe = probe.name(), fault, "a probe fails");
            }
            None if !was_well => tracing::info!(probe = probe.name(), "a probe succeeds again"),
            _ => {}
        }
        let failures = failures + u64::from(fault.is_some());
        let (at, runs) = (SystemTime::now(), runs + 1);
        found.insert(probe, Found { fault, phases, at, runs, failures });
    }

    async fn carry_out(&self, probe: Probe, phases: &mut Phases) -> Result<(), String> {
        match probe {
            Probe::Health => health::probe(&self.way, phases).await,
            Probe::WebSocket => websocket::probe(&self.way, phases).await,
            Probe::Mcp => mcp::probe(&self.way, phases).await,
            Probe::Sse => {
                let mark = self.mark.lock().take();
                let resumed = mark.is_some();
                let mut opened = sse::probe(&self.way, mark, phases).await;
                if opened.is_err() && resumed {
                    // Only the session that the probe had may be out of reach.
                    *phases = Phases::begin();
                    opened = sse::probe(&self.way, None, phases).await;
                }
                *self.mark.lock() = opened?;
                Ok(())
            }
        }
    }

    /// What each probe found last.
    pub(crate) fn found(&self) -> Vec<(Probe, Found)> {
        self.found.lock().iter().map(|(probe, found)| (*probe, found.clone())).collect()
    }

    /// When the first certificate runs out that was shown last, in Unix time.
    pub(crate) fn certificate_ends(&self) -> Option<i64> {
        self.way.tls.as_ref().and_then(Tls::ends)
    }

    /// What only rises.
    pub(crate) fn counters(&self) -> Vec<Family> {
        let mut runs = Family::counter("mcp_gateway_probe_runs_total", "Probes that were made");
        let mut failures =
            Family::counter("mcp_gateway_probe_failures_total", "Probes that failed");
        for (probe, found) in self.found() {
            runs.add(&[("probe", probe.name())], float(found.runs));
            failures.add(&[("probe", probe.name())], float(found.failures));
        }
        vec![runs, failures]
    }

    /// What rises and falls.
    pub(crate) fn gauges(&self) -> Vec<Family> {
        let mut success = Family::gauge(
            "mcp_gateway_probe_success",
            "1 when a client from outside was served by the last probe, else 0",
        );
        let mut durations = Family::gauge(
            "mcp_gateway_probe_duration_seconds",
            "What the steps of the last probe took; those of one probe add up to the whole",
        );
        let mut ended = Family::gauge(
            "mcp_gateway_probe_last_run_timestamp_seconds",
            "When the last probe ended; Unix time",
        );
        for (probe, found) in self.found() {
            let name = probe.name();
            success.add(&[("probe", name)], f64::from(u8::from(found.fault.is_none())));
            for (phase, took) in found.phases.iter() {
                durations.add(&[("probe", name), ("phase", phase)], took.as_secs_f64());
            }
            ended.add(&[("probe", name)], crate::clock::unix(found.at));
        }
        let mut ends = Family::gauge(
            "mcp_gateway_tls_certificate_expiry_timestamp_seconds",
            "When the first certificate runs out that clients are shown; Unix time",
        );
        if let Some(end) = self.certificate_ends() {
            ends.add(&[], crate::clock::signed(end));
        }
        vec![success, durations, ended, ends]
    }
}

/// What a probe that took too long waited for.
fn overdue(probe: Probe, phases: &Phases) -> String {
    let last = phases.iter().last().map(|(name, _)| name);
    let hint = match (probe, last) {
        (Probe::Sse, Some("tls" | "connect")) | (Probe::Sse, Some("response")) => {
            "; something in between holds events back (proxy_buffering?)"
        }
        _ => "",
    };
    let after = last.map_or_else(String::new, |it| format!(" after `{it}`"));
    format!("nothing came{after} within {PROBE:?}{hint}")
}

fn empty() -> Full<Bytes> {
    Full::default()
}
