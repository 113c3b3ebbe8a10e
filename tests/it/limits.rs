//! Limits of rates: whose requests count together, over all replicas, and what is said beyond them.

mod flood;
mod forged;
mod pages;
mod shapes;
mod shared;
mod tools;

use std::net::SocketAddr;

use edge_tests::http1::{Reply, Request};
use edge_tests::modern::Ask;
use edge_tests::{Fault, Outcome, same};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Value, json};

const RATE_LIMITED: i64 = -31005;
/// Requests at the same time.
const AT_ONCE: usize = 24;

/// Settings in which only callers are limited, to so many requests in an hour.
fn callers(max: u32) -> Value {
    json!({"max": max, "window": "1h", "address_max": 1_000_000, "by": "address"})
}

/// A request that the gateway answers by itself, and that counts.
fn discover() -> Request {
    Ask::new("", "server/discover", json!({})).of_all().request()
}

/// The same from a client behind a proxy.
fn from(client: &str) -> Request {
    discover().header("X-Forwarded-For", client)
}

/// Sends all of them, many at once; how many were answered. The others were told that there were
/// too many.
async fn passed(requests: Vec<(SocketAddr, Request)>) -> Result<usize, Fault> {
    let sending = requests.into_iter().map(|(to, request)| async move { request.reply(to).await });
    let replies: Vec<_> = stream::iter(sending).buffer_unordered(AT_ONCE).collect().await;
    let mut passed = 0_usize;
    for reply in replies {
        let reply = reply?;
        if reply.status == 200 {
            passed = passed.saturating_add(1);
        } else {
            refused(&reply)?;
        }
    }
    Ok(passed)
}

/// Fails unless this says in every way that there were too many requests.
fn refused(reply: &Reply) -> Outcome {
    same(format!("status of {}", reply.text()), reply.status, 429)?;
    let message = reply.message()?;
    let first = message.get(0).unwrap_or(&message);
    let wait = is_refusal(first)?;
    let after = reply.header("retry-after").and_then(|it| it.parse::<u64>().ok());
    same("Retry-After", after, Some(wait.div_ceil(1000).max(1)))
}

/// Fails unless this error is one; how long to wait, in milliseconds.
fn is_refusal(message: &Value) -> Result<u64, Fault> {
    let at = |path: &str| message.pointer(path).cloned().unwrap_or_default();
    same(format!("code of {message}"), at("/error/code"), json!(RATE_LIMITED))?;
    same("dispatched", at("/error/data/dispatched"), json!(false))?;
    same("retryable", at("/error/data/retryable"), json!(true))?;
    same("requestId", at("/error/data/requestId").is_string(), true)?;
    let wait = at("/error/data/retryAfterMs").as_u64().unwrap_or_default();
    same("retryAfterMs", wait > 0, true)?;
    Ok(wait)
}
