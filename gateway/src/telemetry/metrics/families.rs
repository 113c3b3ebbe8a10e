//! Every family of figures: its name, its labels, what it means. `docs/metrics.md` is made of this.

use crate::telemetry::metrics::families::Kind::{Counter, Gauge, Histogram};

/// A figure, or as many as its labels tell apart.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name, which ends with its unit, or with `_total` when it only rises.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What tells its series apart; the values of each come from a bounded set. The library
    /// compares them written one after the other, so from their order it has to be clear where
    /// each ends.
    pub labels: &'static [&'static str],
    /// What it means, in one phrase.
    pub help: &'static str,
}

/// What a figure is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// It only rises, except that it begins anew with the process.
    Counter,
    /// It rises and falls.
    Gauge,
    /// How many observations fell below each of these bounds.
    Histogram(&'static [f64]),
}

/// Seconds: the steps of the MCP semantic conventions of OpenTelemetry (gen-ai/mcp,
/// "mcp.server.operation.duration").
const OPERATION_SECONDS: &[f64] =
    &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// The same, with finer steps below, for what the gateway itself adds.
const REQUEST_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0,
    300.0,
];
/// Seconds of a store that is near, up to the longest that is waited for it.
const STORE_SECONDS: &[f64] =
    &[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Writes the constants and the list of all of them from one table.
macro_rules! families {
    ($($constant:ident $name:literal $kind:expr, [$($label:literal),*] $help:literal;)+) => {
        $(pub(super) const $constant: Family = Family {
            name: $name,
            kind: $kind,
            labels: &[$($label),*],
            help: $help,
        };)+

        /// All that the gateway counts and measures itself, in the order of the page.
        pub const ALL: &[Family] = &[$($constant),+];
    };
}

families! {
    REQUESTS "mcp_gateway_requests_total" Counter, ["transport", "method"]
        "MCP requests received from clients";
    ERRORS "mcp_gateway_errors_total" Counter, ["reason"]
        "Requests refused or failed by the gateway, by reason";
    CONNECTIONS "mcp_gateway_active_connections" Gauge, ["transport"]
        "Client exchanges being served: open streams, WebSockets and requests";
    REQUEST_DURATION "mcp_gateway_request_duration_seconds"
        Histogram(REQUEST_SECONDS), ["method", "backend", "transport"]
        "Time from when a request was sent to a backend until it was answered";
    OPERATION_DURATION "mcp_server_operation_duration_seconds" Histogram(OPERATION_SECONDS),
        ["mcp_method_name", "gen_ai_tool_name", "network_transport", "error_type",
         "mcp_protocol_version"]
        "Time from a client's request until its answer (OpenTelemetry, gen-ai/mcp)";
    SESSIONS "mcp_gateway_sessions" Gauge, ["transport"] "Open client sessions";
    BYTES "mcp_gateway_bytes_total" Counter, ["direction"]
        "Bytes read from and written to the sockets of clients";
    SSE_EVENTS "mcp_gateway_sse_events_total" Counter, []
        "Messages written to event streams of clients";
    CONNECTIONS_REFUSED "mcp_gateway_connections_refused_total" Counter, []
        "Connections turned away at limits.connections";
    LIMITED "mcp_gateway_rate_limited_total" Counter, ["scope"]
        "Requests refused by a rate limit, by which one";
    BACKEND_UP "mcp_gateway_backend_up" Gauge, ["backend", "instance"]
        "0 when the last attempt to start or reach a backend's instance failed, else 1";
    CIRCUIT "mcp_gateway_circuit_state" Gauge, ["backend"]
        "If a backend that failed is started: 0 it did not fail, 1 with the next call, 2 not yet";
    BACKEND_REQUESTS "mcp_gateway_backend_requests_total" Counter, ["backend", "outcome"]
        "Requests sent to backends, by outcome";
    BACKEND_IN_FLIGHT "mcp_gateway_backend_in_flight" Gauge, ["backend"]
        "Requests that a backend has yet to answer";
    GARBAGE "mcp_gateway_backend_garbage_total" Counter, ["backend"]
        "Messages of backends that could not be read";
    PROCESSES "mcp_gateway_stdio_processes" Gauge, ["backend", "state"]
        "Child processes, by state: starting, running, closing";
    PROCESS_STARTS "mcp_gateway_stdio_starts_total" Counter, ["backend"]
        "Child processes started";
    PROCESS_RESTARTS "mcp_gateway_stdio_restarts_total" Counter, ["backend"]
        "Child processes started in the place of one that had ended by itself";
    QUEUE "mcp_gateway_queue_depth" Gauge, ["queue"]
        "What waits to be written: messages to backends, sessions to the store, lines to the log";
    REDIS_UP "mcp_gateway_redis_up" Gauge, []
        "1 while there is a connection to the Redis that is configured, else 0";
    REDIS_DURATION "mcp_gateway_redis_operation_duration_seconds"
        Histogram(STORE_SECONDS), ["op"]
        "Time until Redis had answered, or was no longer waited for";
    REDIS_ERRORS "mcp_gateway_redis_errors_total" Counter, ["op", "kind"]
        "Commands to Redis that were not answered as asked, by kind";
    HOPS "mcp_gateway_hops_total" Counter, ["outcome"]
        "Requests carried to the replica that serves their session, by outcome";
    CLAIMS "mcp_gateway_claims_total" Counter, ["outcome"]
        "Sessions claimed from owners that are gone, by outcome";
    SPANS "mcp_gateway_spans_total" Counter, ["outcome"]
        "Spans for the collector, by what became of them";
    CONFIG_SUCCESS "mcp_gateway_config_reload_success" Gauge, []
        "1 when the configuration was last read without a fault, else 0";
    CONFIG_TIME "mcp_gateway_config_last_reload_timestamp_seconds" Gauge, []
        "When the configuration was last read, with or without a fault; Unix time";
    LOST_LINES "mcp_gateway_log_lines_lost_total" Counter, []
        "Lines of the log that standard error did not take";
    BUILD "mcp_gateway_build_info" Gauge, ["version", "revision"]
        "Always 1; the labels tell the build";
    IDENTITY "mcp_gateway_process_info" Gauge, ["process"]
        "Always 1; the label is what the process calls itself, another word after each start";
}

/// What the system knows of the process, from the library's collector.
pub const PROCESS: &[Family] = &[
    process("process_cpu_seconds_total", Counter, "Processor time used, in seconds"),
    process("process_open_fds", Gauge, "Open file descriptors"),
    process("process_max_fds", Gauge, "How many file descriptors may be open"),
    process("process_virtual_memory_bytes", Gauge, "Virtual memory, in bytes"),
    process("process_resident_memory_bytes", Gauge, "Resident memory, in bytes"),
    process("process_start_time_seconds", Gauge, "When the process started; Unix time"),
    process("process_threads", Gauge, "Threads of the process"),
];

const fn process(name: &'static str, kind: Kind, help: &'static str) -> Family {
    Family { name, kind, labels: &[], help }
}

impl Kind {
    /// As the text format has it.
    pub fn name(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
            Histogram(_) => "histogram",
        }
    }
}
