//! The invariants of `ARCHITECTURE.md`, each in the form a text search can hold it to.

use crate::report;
use crate::source::{self, Source};

/// Where a name may stand and where it may not. A place is a module (`http`) or a file below
/// `gateway/src` (`config/env.rs`).
struct Rule {
    names: &'static [&'static str],
    only_in: &'static [&'static str],
    why: &'static str,
}

/// Messages pass through as text that `wire` reads; a JSON library is for our own documents.
const JSON_LIBRARY: Rule = Rule {
    names: &["serde_json"],
    only_in: &["config", "telemetry", "http", "cli"],
    why: "only `wire` reads JSON-RPC text",
};
const AXUM: Rule = Rule { names: &["axum"], only_in: &["http"], why: "only `http` knows axum" };
const REDIS: Rule = Rule {
    names: &["use redis", "redis::Client", "redis::cmd", "redis::aio", "deadpool_redis", "fred"],
    only_in: &["session/redis.rs", "session/redis"],
    why: "only `session/redis` knows Redis",
};
const SPAWN: Rule = Rule {
    names: &[
        "tokio::spawn",
        "task::spawn",
        "spawn_blocking",
        "spawn_local",
        "JoinSet",
        "Handle::current",
    ],
    only_in: &["supervise"],
    why: "only `supervise` spawns, so that every task is named and joined",
};
/// The demo server is a process of its own, in blocking IO. The launcher forks from one thread
/// that never ends, because the kernel ties a child's death signal to the thread that forked it.
const THREADS: Rule = Rule {
    names: &["thread::spawn", "thread::scope", "thread::Builder"],
    only_in: &["supervise", "cli/demo_server.rs", "cli/demo_server", "transport/stdio/launch.rs"],
    why: "only `supervise` spawns, so that every task is named and joined",
};
const ENVIRONMENT: Rule = Rule {
    names: &["env::var", "env::vars", "env::var_os", "env::vars_os"],
    only_in: &["config/env.rs"],
    why: "only `config/env.rs` reads the environment",
};
const UNBOUNDED: Rule = Rule {
    names: &["unbounded", "unbounded_channel", "UnboundedSender", "mpsc::channel()"],
    only_in: &[],
    why: "nothing queues without a bound",
};
const CLOCK_AND_IO: Rule = Rule {
    names: &["std::fs", "std::net", "std::process", "std::env", "std::io", "Instant", "SystemTime"],
    only_in: &[],
    why: "`wire` holds no IO and no clock",
};

/// Layers that read the status of somebody else's answer and give none of their own.
const READS_STATUS: &[&str] = &["transport", "backend"];

/// Every status that refuses, by its name in the crate `http`.
const REFUSALS: &[&str] = &[
    "BAD_REQUEST",
    "UNAUTHORIZED",
    "FORBIDDEN",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "NOT_ACCEPTABLE",
    "REQUEST_TIMEOUT",
    "CONFLICT",
    "GONE",
    "LENGTH_REQUIRED",
    "PRECONDITION_FAILED",
    "PAYLOAD_TOO_LARGE",
    "URI_TOO_LONG",
    "UNSUPPORTED_MEDIA_TYPE",
    "MISDIRECTED_REQUEST",
    "UNPROCESSABLE_ENTITY",
    "UPGRADE_REQUIRED",
    "TOO_MANY_REQUESTS",
    "REQUEST_HEADER_FIELDS_TOO_LARGE",
    "INTERNAL_SERVER_ERROR",
    "NOT_IMPLEMENTED",
    "BAD_GATEWAY",
    "SERVICE_UNAVAILABLE",
    "GATEWAY_TIMEOUT",
    "HTTP_VERSION_NOT_SUPPORTED",
    "from_u16",
];

/// What may wait for another machine or process for ever, and what a deadline looks like.
const WAITS: &[&str] = &["TcpStream::connect(", "connect_async(", ".request(", ".wait().await"];
const DEADLINES: &[&str] = &["timeout(", "timeout_at(", "sleep_until(", "deadline"];

/// The macros that write a log line.
const LOGS: &[&str] = &[
    "trace!(",
    "debug!(",
    "info!(",
    "warn!(",
    "error!(",
    "event!(",
    "span!(",
    "trace_span!(",
    "debug_span!(",
    "info_span!(",
    "warn_span!(",
    "error_span!(",
];
/// What a log line may not carry, under the names such values have here.
const SECRETS: &[&str] = &[
    "session_id",
    "token",
    "secret",
    "password",
    "authorization",
    "cookie",
    "api_key",
    "params",
    "arguments",
    "payload",
    "body",
];

#[test]
fn only_wire_reads_json_rpc_text() {
    check(&JSON_LIBRARY);
    let mut faults = Vec::new();
    for source in source::gateway() {
        envelope_faults(&source, &mut faults);
    }
    report(&faults);
}

#[test]
fn only_http_knows_axum() {
    check(&AXUM);
}

#[test]
fn only_the_redis_store_knows_redis() {
    check(&REDIS);
}

/// What keeps a shared connection waiting, or hears what was said only while it listens: commands
/// of Redis and methods of its library.
const WAITS_IN_REDIS: &[&str] = &[
    "BLOCK",
    "BLPOP",
    "BRPOP",
    "BLMOVE",
    "BLMPOP",
    "BZPOPMIN",
    "BZPOPMAX",
    "BZMPOP",
    "WAIT",
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "SSUBSCRIBE",
    "PUBLISH",
    "SPUBLISH",
    "MONITOR",
    "blpop",
    "brpop",
    "subscribe",
    "psubscribe",
    "publish",
    "get_async_pubsub",
    "get_async_monitor",
];

#[test]
fn nothing_waits_in_redis() {
    let mut faults = Vec::new();
    for source in source::gateway().iter().filter(|it| is_in(it, REDIS.only_in)) {
        waits_in_redis(&source.name, source.production_with_strings(), &mut faults);
    }
    let scripts = source::files(&["gateway/src/session/redis"], &["lua"]);
    assert!(scripts.len() > 10, "no scripts found: the walk is broken");
    for (name, text) in &scripts {
        let code: Vec<&str> = text.lines().map(|it| it.split("--").next().unwrap()).collect();
        waits_in_redis(name, &code.join("\n"), &mut faults);
    }
    report(&faults);
}

#[test]
fn a_wait_in_redis_is_noticed() {
    let mut faults = Vec::new();
    for (name, code) in [
        ("a.lua", "redis.call('XREAD', 'BLOCK', 0, 'STREAMS', KEYS[1], '$')"),
        ("b.rs", "connection.subscribe(\"news\").await"),
        ("c.rs", "let is_unblocked = is_subscribed;"),
    ] {
        waits_in_redis(name, code, &mut faults);
    }
    assert_eq!(faults.len(), 2, "{faults:#?}");
}

fn waits_in_redis(name: &str, code: &str, faults: &mut Vec<String>) {
    for word in WAITS_IN_REDIS.iter().filter(|word| !words(code, word).is_empty()) {
        faults.push(format!("{name}: `{word}`: nothing waits in Redis, nor listens there"));
    }
}

#[test]
fn only_supervise_spawns() {
    check(&SPAWN);
    check(&THREADS);
}

#[test]
fn only_config_env_reads_the_environment() {
    check(&ENVIRONMENT);
}

#[test]
fn nothing_queues_without_a_bound() {
    check(&UNBOUNDED);
}

#[test]
fn wire_has_no_clock_and_no_io() {
    let mut faults = Vec::new();
    for source in source::workspace() {
        if source.name.starts_with("gateway/wire/src/") {
            rule_faults(&CLOCK_AND_IO, &source, &mut faults);
        }
    }
    report(&faults);
}

#[test]
fn only_http_reply_picks_the_status_of_a_refusal() {
    let mut faults = Vec::new();
    for source in source::gateway() {
        status_faults(&source, &mut faults);
    }
    report(&faults);
}

#[test]
fn nothing_waits_without_a_deadline() {
    let mut faults = Vec::new();
    for source in source::gateway() {
        deadline_faults(&source, &mut faults);
    }
    report(&faults);
}

#[test]
fn no_session_id_token_or_payload_is_logged() {
    let mut faults = Vec::new();
    for source in source::gateway() {
        log_faults(&source, &mut faults);
    }
    report(&faults);
}

fn check(rule: &Rule) {
    let mut faults = Vec::new();
    for source in source::gateway() {
        rule_faults(rule, &source, &mut faults);
    }
    report(&faults);
}

fn rule_faults(rule: &Rule, source: &Source, faults: &mut Vec<String>) {
    if is_in(source, rule.only_in) {
        return;
    }
    for name in rule.names {
        for at in words(source.production(), name) {
            faults.push(format!("{}: `{name}`: {}", place(source, at), rule.why));
        }
    }
}

fn envelope_faults(source: &Source, faults: &mut Vec<String>) {
    let text = source.production_with_strings();
    // `jsonrpc.request.id` is what OpenTelemetry calls an attribute of spans.
    let found = words(text, "jsonrpc").into_iter();
    for at in found.filter(|at| !text[*at..].starts_with("jsonrpc.request.id")) {
        faults.push(format!("{}: `jsonrpc`: {}", place(source, at), JSON_LIBRARY.why));
    }
}

fn status_faults(source: &Source, faults: &mut Vec<String>) {
    if is_in(source, READS_STATUS) || is_in(source, &["http/reply.rs"]) {
        return;
    }
    let why = "only `http/reply.rs` picks the status of a refusal";
    let code = source.production();
    for refusal in REFUSALS {
        for at in words(code, &format!("StatusCode::{refusal}")) {
            faults.push(format!("{}: `StatusCode::{refusal}`: {why}", place(source, at)));
        }
    }
    for number in [".status(4", ".status(5"] {
        for (at, _) in code.match_indices(number) {
            faults.push(format!("{}: `{number}…)`: {why}", place(source, at)));
        }
    }
}

fn deadline_faults(source: &Source, faults: &mut Vec<String>) {
    let code = source.production();
    if DEADLINES.iter().any(|deadline| code.contains(deadline)) {
        return;
    }
    for wait in WAITS {
        for (at, _) in code.match_indices(wait) {
            faults.push(format!("{}: `{wait}` in a file without a deadline", place(source, at)));
        }
    }
}

fn log_faults(source: &Source, faults: &mut Vec<String>) {
    let code = source.production();
    for log in LOGS {
        for at in words(code, log) {
            let call = &source.uncommented[at..at + call_length(&code[at..])];
            let plain = &code[at..at + call.len()];
            for secret in SECRETS {
                // Tasks are all `supervise` sees: a payload there is what a panic said.
                if *secret == "payload" && is_in(source, &["supervise"]) {
                    continue;
                }
                let captured = [format!("{{{secret}}}"), format!("{{{secret}:")]
                    .iter()
                    .any(|it| call.contains(it));
                if captured || !words(plain, secret).is_empty() {
                    let macro_name = log.trim_end_matches('(');
                    faults.push(format!(
                        "{}: `{macro_name}` writes `{secret}` to the log",
                        place(source, at)
                    ));
                }
            }
        }
    }
    for at in words(code, "instrument") {
        let rest = &code[at..];
        if code[..at].trim_end_matches("tracing::").ends_with("#[")
            && !rest.split(']').next().is_some_and(|attribute| attribute.contains("skip_all"))
        {
            faults.push(format!("{}: `#[instrument]` without `skip_all`", place(source, at)));
        }
    }
}

/// How far a macro call reaches: to the parenthesis that closes its first one.
fn call_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return at,
            ')' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Where `name` stands as whole words.
fn words(code: &str, name: &str) -> Vec<usize> {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .filter(|(at, _)| !(name.starts_with(in_word) && code[..*at].ends_with(in_word)))
        .filter(|(at, _)| {
            !(name.ends_with(in_word) && code[at + name.len()..].starts_with(in_word))
        })
        .map(|(at, _)| at)
        .collect()
}

/// Whether a file is one of the places, or belongs to a module or folder among them.
fn is_in(source: &Source, places: &[&str]) -> bool {
    let Some(path) = source.name.strip_prefix("gateway/src/") else { return false };
    places.iter().any(|place| {
        path.strip_prefix(place)
            .is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
    })
}

fn place(source: &Source, at: usize) -> String {
    format!("{}:{}", source.name, source.text[..at].matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_out_of_its_place_is_noticed() {
        let mut faults = Vec::new();
        for (rule, name, text) in [
            (&JSON_LIBRARY, "relay.rs", "fn a() { serde_json::from_str(text) }"),
            (&JSON_LIBRARY, "config/raw.rs", "fn a() { serde_json::from_str(text) }"),
            (&AXUM, "app.rs", "use axum::Router;"),
            (&AXUM, "http/ws.rs", "use axum::Router;"),
            (&AXUM, "relay.rs", "// axum does this\nlet a = \"axum\"; let taxum = 1;"),
            (&REDIS, "session/memory.rs", "use redis::Script;"),
            (&REDIS, "session.rs", "pub mod redis;\nuse crate::session::redis::Store;"),
            (&SPAWN, "backend/pool.rs", "fn a() {\n  tokio::spawn(b);\n}"),
            (&SPAWN, "transport/stdio.rs", "fn a() { Command::new(b).spawn() }"),
            (&SPAWN, "http.rs", "#[cfg(test)]\nmod tests { fn a() { tokio::spawn(b); } }"),
            (&THREADS, "relay.rs", "fn a() { std::thread::spawn(b); }"),
            (&THREADS, "cli/demo_server/clock.rs", "fn a() { std::thread::scope(b); }"),
            (&ENVIRONMENT, "config.rs", "fn a() { std::env::var(\"A\") }"),
            (&ENVIRONMENT, "config/env.rs", "fn a() { std::env::var(\"A\") }"),
            (&ENVIRONMENT, "cli.rs", "const A: &str = env!(\"CARGO_PKG_VERSION\");"),
            (&UNBOUNDED, "relay.rs", "let (a, b) = std::sync::mpsc::channel();"),
            (&UNBOUNDED, "relay.rs", "let (a, b) = tokio::sync::mpsc::unbounded_channel();"),
            (&UNBOUNDED, "relay.rs", "let (a, b) = tokio::sync::mpsc::channel(8);"),
            (&CLOCK_AND_IO, "sse.rs", "use std::time::Instant;"),
        ] {
            rule_faults(rule, &Source::new(&format!("gateway/src/{name}"), text), &mut faults);
        }
        let places: Vec<&str> =
            faults.iter().map(|fault| fault.split(": ").next().unwrap_or_default()).collect();
        assert_eq!(
            places,
            [
                "gateway/src/relay.rs:1",
                "gateway/src/app.rs:1",
                "gateway/src/session/memory.rs:1",
                "gateway/src/backend/pool.rs:2",
                "gateway/src/relay.rs:1",
                "gateway/src/config.rs:1",
                "gateway/src/relay.rs:1",
                "gateway/src/relay.rs:1",
                "gateway/src/sse.rs:1",
            ],
            "{faults:#?}"
        );
        assert_eq!(faults[1], "gateway/src/app.rs:1: `axum`: only `http` knows axum");
    }

    #[test]
    fn an_envelope_written_by_hand_is_noticed() {
        let faults = each(
            envelope_faults,
            &[
                ("relay.rs", "fn a() { format!(r#\"{{\"jsonrpc\":\"2.0\"}}\"#) }"),
                ("relay.rs", "/// Reads `jsonrpc`.\nfn a() { \"a JSON-RPC message\" }"),
                ("relay.rs", "fn a() {}\n#[cfg(test)]\nmod tests { const A: &str = \"jsonrpc\"; }"),
            ],
        );
        assert_eq!(faults.len(), 1, "{faults:#?}");
    }

    #[test]
    fn a_status_chosen_elsewhere_is_noticed() {
        let faults = each(
            status_faults,
            &[
                ("http/mcp.rs", "fn a() { StatusCode::NOT_FOUND }"),
                ("policy/origin.rs", "fn a() { http::StatusCode::from_u16(code) }"),
                ("http/sse.rs", "fn a() { Response::builder().status(404) }"),
                ("http/reply.rs", "fn a() { StatusCode::NOT_FOUND }"),
                ("http/mcp.rs", "fn a() { StatusCode::ACCEPTED }"),
                ("transport/http.rs", "fn a() { status == StatusCode::NOT_FOUND }"),
            ],
        );
        assert_eq!(faults.len(), 3, "{faults:#?}");
    }

    #[test]
    fn a_wait_without_a_deadline_is_noticed() {
        let faults = each(
            deadline_faults,
            &[
                ("transport/ws.rs", "async fn a() { TcpStream::connect(address).await }"),
                ("transport/http.rs", "async fn a() { timeout(limit, client.request(b)).await }"),
                ("transport/stdio.rs", "async fn a() { child.wait().await }"),
            ],
        );
        assert_eq!(faults.len(), 2, "{faults:#?}");
    }

    #[test]
    fn a_secret_in_a_log_line_is_noticed() {
        let faults = each(
            log_faults,
            &[
                ("relay.rs", "fn a() { tracing::info!(%session_id, \"opened\"); }"),
                ("relay.rs", "fn a() { debug!(\"got {params}\"); }"),
                (
                    "relay.rs",
                    "fn a() { warn!(error = %e, text = ?request.params(), \"refused\"); }",
                ),
                ("backend.rs", "fn a() { error!(text = text(&payload), \"lost\"); }"),
                ("supervise.rs", "fn a() { error!(panic = text(&payload), \"panicked\"); }"),
                ("relay.rs", "#[tracing::instrument]\nasync fn a() {}"),
                ("relay.rs", "#[instrument(skip_all)]\nasync fn a() {}"),
                (
                    "relay.rs",
                    "fn a() { info!(body_bytes = 3, \"the token was refused\"); token() }",
                ),
            ],
        );
        assert_eq!(faults.len(), 5, "{faults:#?}");
    }

    fn each(check: fn(&Source, &mut Vec<String>), samples: &[(&str, &str)]) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, text) in samples {
            check(&Source::new(&format!("gateway/src/{name}"), text), &mut faults);
        }
        faults
    }
}
