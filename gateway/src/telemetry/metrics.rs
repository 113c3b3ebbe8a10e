//! Every figure the gateway publishes. Nobody else names a metric: the names are in `families`.
//!
//! Label values come from bounded sets only: configured server ids, known methods, transports, the
//! tools that servers list (`operations`). A client cannot invent a series. What is not counted as
//! it happens is looked up when the figures are asked for (`outlook`).

pub mod families;
pub mod operations;
pub mod outlook;

use std::time::{Duration, SystemTime};

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::telemetry::metrics::families::{Family, Kind};
use crate::telemetry::metrics::operations::{Sets, Tools};
use crate::telemetry::metrics::outlook::{BackendOutlook, Outlook};

/// The commit the gateway was built of, told to the compiler in `MCP_GATEWAY_REVISION`.
const REVISION: &str = match option_env!("MCP_GATEWAY_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// The gateway's figures.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    errors: IntCounterVec,
    connections: IntGaugeVec,
    durations: HistogramVec,
    operations: HistogramVec,
    operation_sets: Sets,
    tools: Tools,
    backend_requests: IntCounterVec,
    /// Open sessions, by `transport`.
    pub sessions: IntGaugeVec,
    /// Child processes started, by `backend`.
    pub process_starts: IntCounterVec,
    /// Child processes started in the place of one that had ended by itself, by `backend`.
    pub process_restarts: IntCounterVec,
    /// Lines of a server that were not JSON-RPC, by `backend`.
    pub garbage: IntCounterVec,
    /// Connections turned away because `limits.connections` was reached.
    pub connections_refused: IntCounter,
    traffic: Traffic,
    events: IntCounter,
    redis_errors: IntCounterVec,
    redis_durations: HistogramVec,
    redis_up: IntGaugeVec,
    lost_log_lines: IntCounter,
    hops: IntCounterVec,
    claims: IntCounterVec,
    limited: IntCounterVec,
    spans: IntCounterVec,
    config_success: IntGauge,
    config_time: IntGauge,
}

/// What is read from and written to sockets, in bytes.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// From clients.
    pub read: IntCounter,
    /// To clients.
    pub written: IntCounter,
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
    const ALL: [Self; 5] = [Self::Ok, Self::Error, Self::Timeout, Self::Lost, Self::Cancelled];

    /// Its name in labels.
    pub(crate) fn name(self) -> &'static str {
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
    /// Two metrics of one name: a mistake in `families`.
    pub fn new() -> Result<Self, prometheus::Error> {
        let register = Register(Registry::new());
        let bytes = register.counter(&families::BYTES)?;
        let build = register.gauge(&families::BUILD)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), REVISION]).set(1);
        let identity = register.gauge(&families::IDENTITY)?;
        if let Some(process) = identify() {
            identity.with_label_values(&[&process]).set(1);
        }
        let metrics = Self {
            requests: register.counter(&families::REQUESTS)?,
            errors: register.counter(&families::ERRORS)?,
            connections: register.gauge(&families::CONNECTIONS)?,
            durations: register.histogram(&families::REQUEST_DURATION)?,
            operations: register.histogram(&families::OPERATION_DURATION)?,
            operation_sets: Sets::default(),
            tools: Tools::default(),
            backend_requests: register.counter(&families::BACKEND_REQUESTS)?,
            sessions: register.gauge(&families::SESSIONS)?,
            process_starts: register.counter(&families::PROCESS_STARTS)?,
            process_restarts: register.counter(&families::PROCESS_RESTARTS)?,
            garbage: register.counter(&families::GARBAGE)?,
            connections_refused: sole(&register.counter(&families::CONNECTIONS_REFUSED)?),
            traffic: Traffic {
                read: bytes.with_label_values(&["in"]),
                written: bytes.with_label_values(&["out"]),
            },
            events: sole(&register.counter(&families::SSE_EVENTS)?),
            redis_errors: register.counter(&families::REDIS_ERRORS)?,
            redis_durations: register.histogram(&families::REDIS_DURATION)?,
            redis_up: register.gauge(&families::REDIS_UP)?,
            lost_log_lines: sole(&register.counter(&families::LOST_LINES)?),
            hops: register.counter(&families::HOPS)?,
            claims: register.counter(&families::CLAIMS)?,
            limited: register.counter(&families::LIMITED)?,
            spans: register.counter(&families::SPANS)?,
            config_success: sole_gauge(&register.gauge(&families::CONFIG_SUCCESS)?),
            config_time: sole_gauge(&register.gauge(&families::CONFIG_TIME)?),
            registry: register.0,
        };
        let process = prometheus::process_collector::ProcessCollector::for_self();
        metrics.registry.register(Box::new(process))?;
        metrics.begin();
        Ok(metrics)
    }

    /// Series that exist from the start, so that a rate over them is defined before traffic.
    fn begin(&self) {
        for transport in ["streamable_http", "sse", "websocket", "modern"] {
            self.connections.with_label_values(&[transport]).set(0);
        }
        for transport in ["streamable_http", "sse", "websocket"] {
            self.sessions.with_label_values(&[transport]).set(0);
            self.requests.with_label_values(&[transport, "initialize"]).inc_by(0);
        }
        self.requests.with_label_values(&["modern", "server/discover"]).inc_by(0);
        self.errors.with_label_values(&["INTERNAL"]).inc_by(0);
        for scope in ["address", "identity", "tool"] {
            self.limited.with_label_values(&[scope]).inc_by(0);
        }
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

    /// Spans were sent to the collector, or lost.
    pub fn count_spans(&self, outcome: &str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.spans.with_label_values(&[outcome]).inc_by(count);
    }

    /// A request was beyond a rate limit.
    pub fn count_limited(&self, scope: &str) {
        self.limited.with_label_values(&[scope]).inc();
    }

    /// There is a connection to Redis, or there is none.
    pub fn note_redis(&self, is_up: bool) {
        // Of a gateway that shares sessions, from the start.
        self.redis_errors.with_label_values(&["connect", "away"]).inc_by(0);
        self.hops.with_label_values(&["answered"]).inc_by(0);
        self.claims.with_label_values(&["failed"]).inc_by(0);
        sole_gauge(&self.redis_up).set(i64::from(is_up));
    }

    /// Redis did not answer as it was asked.
    pub fn count_redis_error(&self, operation: &str, kind: &str) {
        self.redis_errors.with_label_values(&[operation, kind]).inc();
    }

    /// Redis was asked for something, and answered or was given up.
    pub fn time_redis(&self, operation: &str, took: Duration) {
        self.redis_durations.with_label_values(&[operation]).observe(took.as_secs_f64());
    }

    /// What counts the bytes of a client's socket.
    pub fn traffic(&self) -> Traffic {
        self.traffic.clone()
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
        Counted { gauge, events: self.events.clone() }
    }

    /// The text exposition format 0.0.4, with how things are at this moment.
    pub fn render(&self, outlook: &Outlook) -> Vec<u8> {
        let mut text = Vec::new();
        self.lost_log_lines.inc_by(super::take_lost_lines());
        outlook.backends.iter().for_each(|backend| self.begin_backend(backend));
        if let Err(fault) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%fault, "the figures could not be written");
        }
        outlook.write_to(&mut text);
        text
    }

    /// Series of a server that has had no traffic.
    fn begin_backend(&self, backend: &BackendOutlook) {
        for outcome in Outcome::ALL {
            self.backend_requests.with_label_values(&[&*backend.id, outcome.name()]).inc_by(0);
        }
        self.garbage.with_label_values(&[&backend.id]).inc_by(0);
        if backend.processes.is_some() {
            self.process_starts.with_label_values(&[&backend.id]).inc_by(0);
            self.process_restarts.with_label_values(&[&backend.id]).inc_by(0);
        }
    }
}

/// What this process calls itself, for who meets it at several addresses; nothing where the system
/// has no random numbers to give.
fn identify() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Makes families into what counts.
struct Register(Registry);

impl Register {
    fn counter(&self, family: &Family) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Opts::new(family.name, family.help), family.labels)?)
    }

    fn gauge(&self, family: &Family) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(Opts::new(family.name, family.help), family.labels)?)
    }

    fn histogram(&self, family: &Family) -> Result<HistogramVec, prometheus::Error> {
        let bounds = match family.kind {
            Kind::Histogram(bounds) => bounds.to_vec(),
            Kind::Counter | Kind::Gauge => Vec::new(),
        };
        let options = HistogramOpts::new(family.name, family.help).buckets(bounds);
        self.add(HistogramVec::new(options, family.labels)?)
    }

    fn add<T: Collector + Clone + 'static>(&self, metric: T) -> Result<T, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

/// The one series of a family without labels.
fn sole(family: &IntCounterVec) -> IntCounter {
    family.with_label_values::<&str>(&[])
}

fn sole_gauge(family: &IntGaugeVec) -> IntGauge {
    family.with_label_values::<&str>(&[])
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

/// Counts an exchange with a client as active while it lives.
#[derive(Debug)]
pub struct Counted {
    gauge: IntGauge,
    events: IntCounter,
}

impl Counted {
    /// A message was written to its event stream.
    pub fn note_event(&self) {
        self.events.inc();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::telemetry::metrics::outlook::{Circuit, Processes};

    fn shown(metrics: &Metrics, outlook: &Outlook) -> String {
        String::from_utf8(metrics.render(outlook)).unwrap()
    }

    fn backend(id: &str) -> BackendOutlook {
        BackendOutlook {
            id: id.to_owned(),
            instances: vec![("a:1".to_owned(), true), ("b:2".to_owned(), false)],
            circuit: Circuit::Open,
            processes: Some(Processes { starting: 1, running: 2, closing: 3 }),
            queued: 4,
            in_flight: 5,
        }
    }

    #[test]
    fn the_three_names_of_the_first_dashboard_are_there_before_any_traffic() {
        let text = shown(&Metrics::new().unwrap(), &Outlook::default());
        for name in ["requests_total", "errors_total", "active_connections"] {
            assert!(text.contains(&format!("\nmcp_gateway_{name}{{")), "{name}:\n{text}");
        }
    }

    #[test]
    fn a_connection_counts_while_it_lives() {
        let metrics = Metrics::new().unwrap();
        let counted = metrics.connection("sse");
        let shown = |metrics: &Metrics| shown(metrics, &Outlook::default());
        assert!(shown(&metrics).contains("mcp_gateway_active_connections{transport=\"sse\"} 1"));
        counted.note_event();
        assert!(shown(&metrics).contains("\nmcp_gateway_sse_events_total 1\n"));
        drop(counted);
        assert!(shown(&metrics).contains("mcp_gateway_active_connections{transport=\"sse\"} 0"));
    }

    #[test]
    fn what_is_looked_up_is_as_it_was_last() {
        let metrics = Metrics::new().unwrap();
        let backends = vec![backend("one"), backend("two")];
        let text = shown(&metrics, &Outlook { backends, unwritten_sessions: 7, waiting_lines: 9 });
        for line in [
            "mcp_gateway_backend_up{backend=\"one\",instance=\"a:1\"} 1",
            "mcp_gateway_backend_up{backend=\"two\",instance=\"b:2\"} 0",
            "mcp_gateway_circuit_state{backend=\"one\"} 2",
            "mcp_gateway_stdio_processes{backend=\"one\",state=\"closing\"} 3",
            "mcp_gateway_stdio_restarts_total{backend=\"one\"} 0",
            "mcp_gateway_backend_in_flight{backend=\"one\"} 5",
            "mcp_gateway_backend_requests_total{backend=\"one\",outcome=\"timeout\"} 0",
            "mcp_gateway_queue_depth{queue=\"backends\"} 8",
            "mcp_gateway_queue_depth{queue=\"store\"} 7",
            "mcp_gateway_queue_depth{queue=\"log\"} 9",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}:\n{text}");
        }
        let backends = vec![backend("two")];
        let text = shown(&metrics, &Outlook { backends, ..Outlook::default() });
        assert!(!text.contains("mcp_gateway_backend_up{backend=\"one\""), "{text}");
        assert!(text.contains("\nmcp_gateway_queue_depth{queue=\"backends\"} 4\n"), "{text}");
    }

    #[test]
    fn what_is_published_is_what_is_described() {
        let metrics = Metrics::new().unwrap();
        let labels = |count: usize| vec!["x"; count];
        // A family without a series is not published.
        metrics.count_spans("sent", 1);
        for (vec, count) in [(&metrics.hops, 1), (&metrics.claims, 1), (&metrics.redis_errors, 2)] {
            vec.with_label_values(&labels(count)).inc();
        }
        for (vec, count) in
            [(&metrics.durations, 3), (&metrics.operations, 5), (&metrics.redis_durations, 1)]
        {
            vec.with_label_values(&labels(count)).observe(1.0);
        }
        metrics.note_redis(true);
        let text = shown(&metrics, &Outlook { backends: vec![backend("x")], ..Outlook::default() });
        let types: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let described = families::ALL.iter().chain(families::PROCESS);
        let described: Vec<String> =
            described.map(|it| format!("{} {}", it.name, it.kind.name())).collect();
        assert_eq!(types, described.iter().map(String::as_str).collect());
    }
}
