//! Ten thousand sessions that are opened and left: in every transport, idle and in mid-call, some
//! or all with a process of their own. When they have timed out, nothing of them is held.

use std::sync::atomic::{AtomicU64, Ordering};

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, edge, pooled, puppet};
use edge_tests::http1::Request;
use edge_tests::troupe::{Strings, answer, troupe};
use edge_tests::{Fault, Outcome, same};
use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;

const SESSIONS: u64 = 10_000;
/// Sessions with a process of their own in a round of only those.
const OWN: u64 = 1_000;
/// Sessions opened at a time.
const AT_ONCE: u64 = 48;
/// Every so many sessions one has a process of its own.
const OWN_EVERY: u64 = 33;
/// What memory may be more by than after a first round of as many: what the allocator has not
/// given back goes up and down by about half of that.
const GROWTH_KIB: u64 = 8 * 1024;
/// What one more round may add where more than that has gathered: it settles, and a leak does not.
const SETTLED_KIB: u64 = 2 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_abandoned_sessions_leave_nothing_behind() -> Outcome {
    let mut tasks = JoinSet::new();
    let edge = start(&mut tasks).await?;
    flat(&edge, async || abandon(&edge, SESSIONS / 2, open_and_leave).await, 2).await?;
    let started = edge.figure("mcp_gateway_stdio_starts_total").await?;
    same(format!("{started} processes were started"), started >= 300, true)
}

/// A process of its own for each of them, which ends with its client or long after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_with_processes_of_their_own_leave_nothing_behind() -> Outcome {
    let mut tasks = JoinSet::new();
    let edge = start(&mut tasks).await?;
    flat(&edge, async || abandon(&edge, OWN, open_own_and_leave).await, 3).await?;
    let started = edge.figure("mcp_gateway_stdio_starts_total").await?;
    same(format!("{started} processes were started"), started >= 4 * OWN, true)
}

async fn start(tasks: &mut JoinSet<()>) -> Result<Edge, Fault> {
    let port = troupe(tasks, play).await?;
    edge()
        .setting(
            "session",
            json!({"idle_timeout": "2s", "max_sessions": SESSIONS, "max_per_principal": SESSIONS}),
        )
        .setting("limits", json!({"processes": 2000}))
        .setting("log_level", json!("error"))
        .server("pooled", with_short_calls(pooled()))
        .server("own", with_short_calls(json!({"command": puppet(port), "max_processes": 2000})))
        .start()
        .await
}

/// Checks that after a first round so many more of the same add nothing to what is held. Memory
/// that seems more is looked at again after another one: a leak makes it more still.
async fn flat(edge: &Edge, round: impl AsyncFn() -> Outcome, rounds: u32) -> Outcome {
    round().await?;
    let base = edge.at_rest(None).await?;
    let (mut grown, mut last) = (0, base);
    for number in 1..=rounds.saturating_mul(2) {
        round().await?;
        let after = edge.at_rest(Some(base)).await?;
        tell(&format!("before {base:?}, after {number} rounds {after:?}"));
        grown = after.resident_kib.saturating_sub(base.resident_kib);
        let added = after.resident_kib.saturating_sub(last.resident_kib);
        let is_settled = added <= SETTLED_KIB && grown <= 3 * GROWTH_KIB;
        if number >= rounds && (grown <= GROWTH_KIB || is_settled) {
            return Ok(());
        }
        last = after;
    }
    Err(format!("memory is {grown} KiB more").into())
}

fn with_short_calls(mut server: serde_json::Value) -> serde_json::Value {
    if let Some(server) = server.as_object_mut() {
        server.insert("call_timeout".to_owned(), json!("2s"));
    }
    server
}

/// Answers the first call and none after it.
async fn play(mut strings: Strings) {
    let Some(call) = strings.next_call("slow").await else { return };
    let line = format!("{}\n", answer(&call, "once"));
    strings.say(line.as_bytes()).await;
    while strings.hear().await.is_some() {}
}

/// Opens so many sessions, in every manner in turn, and leaves them.
async fn abandon(edge: &Edge, sessions: u64, open: impl AsyncFn(&Edge, u64) -> Outcome) -> Outcome {
    let next = AtomicU64::new(0);
    let workers = (0..AT_ONCE).map(|_| async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= sessions {
                return Ok::<(), Fault>(());
            }
            let left = Box::pin(open(edge, number)).await;
            left.map_err(|fault| format!("session {number}: {fault}"))?;
        }
    });
    join_all(workers).await.into_iter().collect()
}

/// Each manner of [`open_and_leave`] with a process of its own.
async fn open_own_and_leave(edge: &Edge, number: u64) -> Outcome {
    open_and_leave(edge, number * OWN_EVERY).await
}

async fn open_and_leave(edge: &Edge, number: u64) -> Outcome {
    let transport = match number % 5 {
        0..=2 => Transport::Mcp,
        3 => Transport::Sse,
        _ => Transport::Ws,
    };
    let is_own = number.is_multiple_of(OWN_EVERY);
    if !is_own && transport == Transport::Mcp && number.is_multiple_of(2) {
        return only_initialize(edge).await;
    }
    let server = if is_own { "own" } else { "pooled" };
    let mut client = Client::open(edge, transport, Some(server)).await?;
    if is_own {
        client.call("slow", json!({})).await?;
    }
    match number % 4 {
        0 => client.listen().await?,
        // The stream is left in the middle, the call in flight.
        1 => {
            let slow = json!({
                "name": "slow",
                "arguments": {"ms": 60_000, "steps": 1},
                "_meta": {"progressToken": 1}
            });
            client.begin("tools/call", slow).await?;
        }
        _ => {}
    }
    drop(client);
    Ok(())
}

/// The least a client can do.
async fn only_initialize(edge: &Edge) -> Outcome {
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "edge-tests", "version": "1"}
    }});
    let reply = Request::post("/mcp/pooled", hello.to_string()).reply(edge.address).await?;
    same("initialize", reply.status, 200)
}

#[expect(clippy::print_stderr, reason = "the figures are part of what is shown")]
fn tell(line: &str) {
    eprintln!("{line}");
}
