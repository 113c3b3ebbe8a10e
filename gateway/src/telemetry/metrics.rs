//! Every figure the gateway publishes: name, labels, help text. Nobody else names a metric.
//!
//! Label values come from bounded sets only: configured server ids, known methods, transports.
//! A client cannot invent a series.

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};
use std::time::{Duration, SystemTime};

/// Seconds; the MCP semantic conventions of OpenTelemetry, with finer steps at the low end.
const DURATION_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0,
    300.0,
];

/// Name and help of what counts the lines of the log that were lost.
const LOST_LINES: (&str, &str) =
    ("mcp_gateway_log_lines_lost_total", "Lines of the log that standard error did not take");
/// Name and help of what tells whether the configuration was read without a fault.
const CONFIG_SUCCESS: (&str, &str) = (
    "mcp_gateway_config_reload_success",
    "1 when the configuration was last read without a fault, else 0",
);
/// Name and help of what tells when the configuration was read.
const CONFIG_TIME: (&str, &str) = (
    "mcp_gateway_config_last_reload_timestamp_seconds",
    "When the configuration was last read, with or without a fault; Unix time",
);
/// Name and help of what counts commands to Redis that failed.
const REDIS_ERRORS: (&str, &str) = (
    "mcp_gateway_redis_errors_total",
    "Commands to Redis that were not answered as asked, by kind",
);
/// Name and help of what tells whether Redis is there; without one there is no such figure.
const REDIS_UP: (&str, &str) = (
    "mcp_gateway_redis_up",
    "1 while there is a connection to the Redis that is configured, else 0",
);
/// Name and help of what counts requests that were carried to another replica.
const HOPS: (&str, &str) = (
    "mcp_gateway_hops_total",
    "Requests carried to the replica that serves their session, by outcome",
);
/// Name and help of what counts sessions that were taken over.
const CLAIMS: (&str, &str) =
    ("mcp_gateway_claims_total", "Sessions claimed from owners that are gone, by outcome");

/// The gateway's figures.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    errors: IntCounterVec,
    connections: IntGaugeVec,
    durations: HistogramVec,
    backend_requests: IntCounterVec,
    /// Open sessions, by `transport`.
    pub sessions: IntGaugeVec,
    /// Child processes alive, by `backend`.
    pub processes: IntGaugeVec,
    /// Child processes started, by `backend`.
    pub process_starts: IntCounterVec,
    /// Lines of a server that were not JSON-RPC, by `backend`.
    pub garbage: IntCounterVec,
    /// Connections turned away because `limits.connections` was reached.
    pub connections_refused: IntCounter,
    redis_errors: IntCounterVec,
    redis_up: IntGaugeVec,
    lost_log_lines: IntCounter,
    hops: IntCounterVec,
    claims: IntCounterVec,
    config_success: IntGauge,
    config_time: IntGauge,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend answered with a result.
    Ok,
    /// The backend answered with an error.
    Error,
    /// The call took too long.
    Timeout,
    /// The backend went away with the call.
    Lost,
    /// The client cancelled it.
    Cancelled,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Metrics {
    /// All figures at zero, together with the process figures of the platform.
    ///
    /// # Errors
    /// Two metrics of one name: a mistake in this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name, help, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauge = |name, help, labels: &[&str]| {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let metrics = Self {
            requests: counter(
                "mcp_gateway_requests_total",
                "MCP requests received from clients",
                &["transport", "method"],
            )?,
            errors: counter(
                "mcp_gateway_errors_total",
                "Requests refused or failed by the gateway, by reason",
                &["reason"],
            )?,
            connections: gauge(
                "mcp_gateway_active_connections",
                "Client exchanges being served: open streams, WebSockets and requests",
                &["transport"],
            )?,
            durations: HistogramVec::new(
                HistogramOpts::new(
                    "mcp_gateway_request_duration_seconds",
                    "Time from a request's arrival to its answer",
                )
                .buckets(DURATION_BUCKETS.to_vec()),
                &["method", "backend", "transport"],
            )?,
            backend_requests: counter(
                "mcp_gateway_backend_requests_total",
                "Requests sent to backends, by outcome",
                &["backend", "outcome"],
            )?,
            sessions: gauge("mcp_gateway_sessions", "Open client sessions", &["transport"])?,
            processes: gauge("mcp_gateway_stdio_processes", "Child processes alive", &["backend"])?,
            process_starts: counter(
                "mcp_gateway_stdio_starts_total",
                "Child processes started",
                &["backend"],
            )?,
            garbage: counter(
                "mcp_gateway_backend_garbage_total",
                "Messages of backends that could not be read",
                &["backend"],
            )?,
            connections_refused: IntCounter::new(
                "mcp_gateway_connections_refused_total",
                "Connections turned away at limits.connections",
            )?,
            redis_errors: counter(REDIS_ERRORS.0, REDIS_ERRORS.1, &["kind"])?,
            redis_up: gauge(REDIS_UP.0, REDIS_UP.1, &[])?,
            lost_log_lines: IntCounter::new(LOST_LINES.0, LOST_LINES.1)?,
            hops: counter(HOPS.0, HOPS.1, &["outcome"])?,
            claims: counter(CLAIMS.0, CLAIMS.1, &["outcome"])?,
            config_success: IntGauge::new(CONFIG_SUCCESS.0, CONFIG_SUCCESS.1)?,
            config_time: IntGauge::new(CONFIG_TIME.0, CONFIG_TIME.1)?,
            registry: registry.clone(),
        };
        metrics.publish()?;
        Ok(metrics)
    }

    fn publish(&self) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(self.durations.clone()))?;
        self.registry.register(Box::new(self.connections_refused.clone()))?;
        self.registry.register(Box::new(self.lost_log_lines.clone()))?;
        self.registry.register(Box::new(self.config_success.clone()))?;
        self.registry.register(Box::new(self.config_time.clone()))?;
        let build = IntGaugeVec::new(
            Opts::new("mcp_gateway_build_info", "Always 1; the labels tell the build"),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.registry.register(Box::new(build))?;
        let process = prometheus::process_collector::ProcessCollector::for_self();
        self.registry.register(Box::new(process))?;
        // Series that exist from the start, so that a rate over them is defined before traffic.
        for transport in ["streamable_http", "sse", "websocket"] {
            self.connections.with_label_values(&[transport]).set(0);
            self.sessions.with_label_values(&[transport]).set(0);
            self.requests.with_label_values(&[transport, "initialize"]).inc_by(0);
        }
        self.errors.with_label_values(&["INTERNAL"]).inc_by(0);
        Ok(())
    }

    /// The configuration was read: at the start, or again.
    pub fn note_config(&self, success: bool) {
        self.config_success.set(i64::from(success));
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since_epoch.map_or(0, |it| it.as_secs());
        self.config_time.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// A request of a client arrived.
    pub fn count_request(&self, transport: &str, method: &str) {
        self.requests.with_label_values(&[transport, method]).inc();
    }

    /// The gateway refused or failed a request.
    pub fn count_error(&self, reason: &str) {
        self.errors.with_label_values(&[reason]).inc();
    }

    /// A request was carried to another replica.
    pub fn count_hop(&self, outcome: &str) {
        self.hops.with_label_values(&[outcome]).inc();
    }

    /// A session was to be claimed from an owner that is gone.
    pub fn count_claim(&self, outcome: &str) {
        self.claims.with_label_values(&[outcome]).inc();
    }

    /// There is a connection to Redis, or there is none.
    pub fn note_redis(&self, is_up: bool) {
        self.redis_up.with_label_values::<&str>(&[]).set(i64::from(is_up));
    }

    /// Redis did not answer as it was asked.
    pub fn count_redis_error(&self, kind: &str) {
        self.redis_errors.with_label_values(&[kind]).inc();
    }

    /// A call to a backend ended.
    pub fn count_call(&self, labels: &CallLabels<'_>, outcome: Outcome, took: Duration) {
        let CallLabels { method, backend, transport } = *labels;
        self.durations.with_label_values(&[method, backend, transport]).observe(took.as_secs_f64());
        self.backend_requests.with_label_values(&[backend, outcome.name()]).inc();
    }

    /// Counts one exchange with a client for as long as the guard lives.
    pub fn connection(&self, transport: &str) -> Counted {
        let gauge = self.connections.with_label_values(&[transport]);
        gauge.inc();
        Counted(gauge)
    }

    /// The text exposition format 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        self.lost_log_lines.inc_by(super::take_lost_lines());
        if let Err(fault) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%fault, "the figures could not be written");
        }
        text
    }
}

/// The labels of one call.
#[derive(Clone, Copy, Debug)]
pub struct CallLabels<'a> {
    /// A known method, or `other`.
    pub method: &'a str,
    /// The server's id.
    pub backend: &'a str,
    /// The client's transport, or `gateway` for requests of our own.
    pub transport: &'a str,
}

/// Keeps a gauge one higher while it lives.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_names_of_the_first_dashboard_are_there_before_any_traffic() {
        let text = String::from_utf8(Metrics::new().unwrap().render()).unwrap();
        for name in ["requests_total", "errors_total", "active_connections"] {
            assert!(text.contains(&format!("\nmcp_gateway_{name}{{")), "{name}:\n{text}");
        }
    }

    #[test]
    fn a_connection_counts_while_it_lives() {
        let metrics = Metrics::new().unwrap();
        let counted = metrics.connection("sse");
        let shown = |metrics: &Metrics| String::from_utf8(metrics.render()).unwrap();
        assert!(shown(&metrics).contains("mcp_gateway_active_connections{transport=\"sse\"} 1"));
        drop(counted);
        assert!(shown(&metrics).contains("mcp_gateway_active_connections{transport=\"sse\"} 0"));
    }
}
