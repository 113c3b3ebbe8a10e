//! What is said beyond a limit, on every way in, and what never counts.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, edge, stdio};
use edge_tests::http1::{Request, exchange};
use edge_tests::modern::Ask;
use edge_tests::{Fault, Outcome, same, within};
use serde_json::{Value, json};

use super::{callers, discover, from, is_refusal, refused};

async fn gateway(limit: Value) -> Result<Edge, Fault> {
    edge()
        .server("fixture", stdio())
        .setting("rate_limit", limit)
        .setting("trusted_proxies", json!(["127.0.0.1"]))
        .start()
        .await
}

fn initialize(revision: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": "first", "method": "initialize", "params": {
        "protocolVersion": revision, "capabilities": {},
        "clientInfo": {"name": "edge-tests", "version": "1"}
    }})
}

fn message(id: &str, method: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method})
}

fn upgrade(path: &str) -> Request {
    Request::new("GET", path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[tokio::test]
async fn every_way_in_is_refused_in_its_own_words() -> Outcome {
    let gateway = gateway(callers(4)).await?;
    let at = gateway.address;
    let opened = Request::post("/mcp/fixture", initialize("2025-03-26").to_string());
    let opened = opened.reply(at).await?;
    let session = opened.header("mcp-session-id").ok_or("no session")?.to_owned();
    let mut stream = Request::stream("/sse/fixture").send(at).await?;
    let endpoint = stream.data().await?.ok_or("no endpoint")?;
    let mut socket = Client::connect(at, Transport::Ws, "/ws/fixture").await?;
    same("the fourth", Ask::new("fixture", "tools/list", json!({})).reply(at).await?.status, 200)?;

    let post = |body: &Value| {
        Request::post("/mcp/fixture", body.to_string()).header("Mcp-Session-Id", &session)
    };
    let reply = post(&message("a", "tools/list")).reply(at).await?;
    refused(&reply)?;
    same("its id", reply.message()?["id"].clone(), json!("a"))?;
    let batch = json!([message("a", "tools/list"), message("b", "tools/list")]);
    let reply = post(&batch).reply(at).await?;
    refused(&reply)?;
    let answers = reply.message()?;
    same("a batch", (&answers[0]["id"], &answers[1]["id"]), (&json!("a"), &json!("b")))?;
    let reply = Ask::new("fixture", "tools/list", json!({})).id("\"m\"").reply(at).await?;
    refused(&reply)?;
    refused(&Request::post("/mcp", initialize("2025-11-25").to_string()).reply(at).await?)?;
    refused(&Request::stream("/mcp/fixture").header("Mcp-Session-Id", &session).reply(at).await?)?;
    refused(&Request::post(&endpoint, message("c", "tools/list").to_string()).reply(at).await?)?;
    refused(&Request::stream("/sse/fixture").reply(at).await?)?;
    refused(&upgrade("/ws").reply(at).await?)?;
    socket.send(message("d", "tools/list")).await?;
    let answer = socket.answer(&json!("d")).await?;
    is_refusal(&answer)?;
    socket.send_text(Ask::new("fixture", "tools/list", json!({})).id("\"e\"").text()).await?;
    is_refusal(&socket.answer(&json!("e")).await?)?;

    // What keeps a session open, and what nobody asked for, does not count.
    same("ping", post(&message("p", "ping")).reply(at).await?.status, 200)?;
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    same("a notification", post(&note).reply(at).await?.status, 202)?;
    socket.send_text(r#"{"type":"ping"}"#.to_owned()).await?;
    same("a heartbeat", socket.text().await?, r#"{"type":"pong"}"#.to_owned())?;
    for path in ["/health", "/health/live", "/health/ready"] {
        same(path, gateway.get(path).await?.status, 200)?;
    }
    let end = Request::new("DELETE", "/mcp/fixture").header("Mcp-Session-Id", &session);
    same("an end", end.reply(at).await?.status, 204)?;
    let identity = gateway.figure("mcp_gateway_rate_limited_total{scope=\"identity\"}").await?;
    same("the figure", identity, 10)?;
    let errors = gateway.figure("mcp_gateway_errors_total{reason=\"RATE_LIMITED\"}").await?;
    same("errors", errors, 10)
}

/// Any status but 200 is final to an `EventSource`, which then never comes back by itself.
#[tokio::test]
async fn an_event_source_that_comes_back_is_put_off() -> Outcome {
    let gateway = gateway(callers(1)).await?;
    let mut stream = Request::stream("/sse/fixture").send(gateway.address).await?;
    let last = within("an event", stream.event()).await?.and_then(|it| it.id).ok_or("no id")?;
    drop(stream);
    let again = Request::stream("/sse/fixture").header("Last-Event-ID", &last);
    let reply = again.reply(gateway.address).await?;
    same("status", reply.status, 200)?;
    let text = reply.text();
    let retry = text.lines().find_map(|line| line.strip_prefix("retry:"));
    let retry = retry.and_then(|it| it.trim().parse::<u64>().ok()).unwrap_or_default();
    same(text.clone(), (3_000..=3_600_000).contains(&retry), true)
}

#[tokio::test]
async fn each_request_of_a_batch_counts_and_a_batch_passes_whole_or_not_at_all() -> Outcome {
    let gateway = gateway(callers(5)).await?;
    let opened = Request::post("/mcp/fixture", initialize("2025-03-26").to_string());
    let opened = opened.reply(gateway.address).await?;
    let session = opened.header("mcp-session-id").ok_or("no session")?.to_owned();
    let batch = |count: usize| {
        let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let calls = (0..count).map(|id| message(&id.to_string(), "tools/list"));
        let all: Vec<Value> = [note, message("p", "ping")].into_iter().chain(calls).collect();
        Request::post("/mcp/fixture", Value::from(all).to_string())
            .header("Mcp-Session-Id", &session)
    };
    let never = batch(6).reply(gateway.address).await?;
    same("never", (never.status, never.header("retry-after")), (429, None))?;
    let data = never.message()?[0]["error"]["data"].clone();
    same("not again", (&data["retryable"], data.get("retryAfterMs")), (&json!(false), None))?;
    refused(&batch(5).reply(gateway.address).await?)?;
    same("three of four", batch(3).reply(gateway.address).await?.status, 200)?;
    refused(&batch(2).reply(gateway.address).await?)?;
    same("the last", batch(1).reply(gateway.address).await?.status, 200)?;
    same("none", batch(0).reply(gateway.address).await?.status, 200)
}

#[tokio::test]
async fn an_address_is_refused_before_its_body_is_read_and_pages_may_read_why() -> Outcome {
    let limit = json!({"max": 1_000_000, "address_max": 3, "address_window": "1h"});
    let gateway = gateway(limit).await?;
    let mine = "X-Forwarded-For: 203.0.113.7\r\n";
    for path in ["/", "/servers", "/nowhere"] {
        let status = gateway_get(gateway.address, path, "203.0.113.7").await?;
        same(path, status == 429, false)?;
    }
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\n{mine}Content-Type: application/json\r\n\
         Origin: http://localhost:5173\r\nContent-Length: 4000000\r\n\r\n"
    );
    let begun = Instant::now();
    let said = exchange(gateway.address, head.as_bytes()).await?;
    let lower = said.to_ascii_lowercase();
    same(said.clone(), said.starts_with("HTTP/1.1 429"), true)?;
    same("at once", begun.elapsed() < Duration::from_secs(10), true)?;
    for needed in [
        "access-control-allow-origin: http://localhost:5173\r\n",
        "access-control-expose-headers: ",
        "retry-after",
        "\"code\":-31005",
        "\r\nx-content-type-options: nosniff\r\n",
    ] {
        same(format!("{needed:?} in {said}"), lower.contains(needed), true)?;
    }
    refused(&discover().header("X-Forwarded-For", "203.0.113.7").reply(gateway.address).await?)?;
    refused(
        &upgrade("/ws").header("X-Forwarded-For", "203.0.113.7").reply(gateway.address).await?,
    )?;
    same("probes pass", gateway_get(gateway.address, "/health/live", "203.0.113.7").await?, 200)?;
    for path in ["/health/mcp", "/healthcare/mcp", "/health-db/sse", "/health/", "/health/live/"] {
        let status = gateway_get(gateway.address, path, "203.0.113.7").await?;
        same(format!("{path} is no probe"), status, 429)?;
    }
    same("others pass", gateway_get(gateway.address, "/", "203.0.113.8").await?, 200)?;
    let figure = gateway.figure("mcp_gateway_rate_limited_total{scope=\"address\"}").await?;
    same("the figure", figure, 8)
}

async fn gateway_get(at: SocketAddr, path: &str, client: &str) -> Result<u16, Fault> {
    Ok(Request::new("GET", path).header("X-Forwarded-For", client).reply(at).await?.status)
}

/// Each message of a socket is what a request is elsewhere.
#[tokio::test]
async fn a_socket_on_which_too_much_is_said_is_closed() -> Outcome {
    let limit = json!({"max": 1_000_000, "address_max": 10, "address_window": "1h"});
    let gateway = gateway(limit).await?;
    let mut socket = Client::connect(gateway.address, Transport::Ws, "/ws/fixture").await?;
    for number in 1..10 {
        socket.send(message(&number.to_string(), "ping")).await?;
        let answer = socket.answer(&json!(number.to_string())).await?;
        same(format!("{answer}"), answer.get("result").is_some(), true)?;
    }
    // Whatever it is, it is not read.
    socket.send(message("beyond", "ping")).await?;
    let said = socket.text().await;
    same(format!("it is closed: {said:?}"), said.is_err(), true)
}

#[tokio::test]
async fn what_was_spent_comes_back() -> Outcome {
    let limit = json!({"max": 4, "window": "2s", "burst": 2, "address_max": 1_000_000});
    let gateway = gateway(limit).await?;
    let ask = async || from("203.0.113.7").reply(gateway.address).await;
    let begun = Instant::now();
    let (mut granted, mut told) = (0_u32, 0_u32);
    while granted < 6 {
        let reply = ask().await?;
        if reply.status == 200 {
            granted += 1;
            continue;
        }
        refused(&reply)?;
        told += 1;
        let wait = is_refusal(&reply.message()?)?;
        same(format!("{wait} ms"), wait <= 500, true)?;
        // Who waits as long as it was told gets through.
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let reply = ask().await?;
        same(reply.text(), reply.status, 200)?;
        granted += 1;
    }
    // Two at once, then one in each half second.
    let took = begun.elapsed();
    same(format!("{took:?}"), took >= Duration::from_millis(1900) && told >= 3, true)
}
