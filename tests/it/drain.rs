//! SIGTERM with streams open and calls in flight: what was begun is finished, nothing is left.

use std::collections::BTreeSet;
use std::time::Duration;

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, edge, pooled, stdio};
use edge_tests::http1::Request;
use edge_tests::processes::Process;
use edge_tests::{Fault, Outcome, same, until, within};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn calls_in_flight_are_answered_and_nothing_is_left() -> Outcome {
    let mut edge = edge().server("fixture", stdio()).server("pooled", pooled()).start().await?;
    let mut calling = Vec::new();
    for transport in Transport::ALL {
        for server in ["fixture", "pooled"] {
            let mut client = Client::open(&edge, transport, Some(server)).await?;
            client.call("echo", json!({})).await?;
            let slow = json!({"name": "slow", "arguments": {"ms": 4_000, "steps": 4}});
            let id = client.begin("tools/call", slow).await?;
            calling.push((transport, server, id, client));
        }
    }
    let idle = Client::open(&edge, Transport::Sse, None).await?;
    let left: BTreeSet<Process> = edge.descendants().into_iter().collect();
    same("processes before", left.len() >= 4, true)?;

    edge.signal(Signal::SIGTERM)?;
    for (transport, server, id, client) in &mut calling {
        let answer = client.answer(&json!(*id)).await?;
        let said = answer.pointer("/result/content/0/text").and_then(Value::as_str);
        same(format!("{transport:?} {server}: {answer}"), said, Some("slept 4000 ms"))?;
    }
    let (status, took) = edge.ended().await?;
    drop(idle);
    same(format!("exit code after {took:?}"), status.code(), Some(0))?;
    same(format!("{took:?} is within 35 s"), took < Duration::from_secs(35), true)?;
    none_left(&left).await
}

#[tokio::test]
async fn a_call_that_is_too_slow_is_told_that_its_outcome_is_unknown() -> Outcome {
    let mut edge = edge().server("fixture", stdio()).start().await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    let slow = json!({"name": "slow", "arguments": {"ms": 120_000, "steps": 1}});
    let id = client.begin("tools/call", slow).await?;
    let left: BTreeSet<Process> = edge.descendants().into_iter().collect();
    edge.signal(Signal::SIGTERM)?;
    let (status, took) = edge.ended().await?;
    same(format!("exit code after {took:?}"), status.code(), Some(0))?;
    same(format!("{took:?} is within 35 s"), took.as_secs() < 35, true)?;
    let told = client.answer(&json!(id)).await?;
    same("the cut call", told.pointer("/error/code"), Some(&json!(-31002)))?;
    none_left(&left).await
}

#[tokio::test]
async fn it_is_not_ready_any_more_but_still_answers_for_a_moment() -> Outcome {
    let mut edge = edge().server("fixture", stdio()).start().await?;
    // A call in flight keeps the drain from being over before it was looked at.
    let mut client = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    let slow = json!({"name": "slow", "arguments": {"ms": 2_500, "steps": 1}});
    client.begin("tools/call", slow).await?;
    edge.signal(Signal::SIGTERM)?;
    let edge_ref = &edge;
    until("readiness is 503", || async move { ready(edge_ref).await == Ok(503) }).await?;
    let live = edge.get("/health/live").await?.status;
    same("still alive while it drains", live, 200)?;
    same("exit code", edge.ended().await?.0.code(), Some(0))
}

#[tokio::test]
async fn a_connection_that_was_kept_ends_with_its_next_answer() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let ask = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut kept = TcpStream::connect(edge.address).await?;
    kept.write_all(ask.as_bytes()).await?;
    let mut first = [0; 4096];
    within("an answer", kept.read(&mut first)).await?;
    let first = String::from_utf8_lossy(&first).into_owned();
    same(&first, first.contains("connection: close"), false)?;
    edge.signal(Signal::SIGTERM)?;
    let edge_ref = &edge;
    until("readiness is 503", || async move { ready(edge_ref).await == Ok(503) }).await?;
    kept.write_all(ask.as_bytes()).await?;
    let mut rest = String::new();
    within("its end", kept.read_to_string(&mut rest)).await?;
    same(&rest, rest.contains("HTTP/1.1 200") && rest.contains("connection: close"), true)
}

#[tokio::test]
async fn who_was_let_in_last_is_answered() -> Outcome {
    let mut edge = edge().server("fixture", stdio()).start().await?;
    let mut last = TcpStream::connect(edge.address).await?;
    edge.signal(Signal::SIGTERM)?;
    let address = edge.address;
    until("nobody is let in", || async move { TcpStream::connect(address).await.is_err() }).await?;
    let ask = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    last.write_all(ask.as_bytes()).await?;
    let mut rest = String::new();
    within("its end", last.read_to_string(&mut rest)).await?;
    same(&rest, rest.starts_with("HTTP/1.1 200"), true)?;
    same("exit code", edge.ended().await?.0.code(), Some(0))
}

#[tokio::test]
async fn an_idle_gateway_ends_soon_also_by_interrupt() -> Outcome {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut edge = edge().server("fixture", stdio()).start().await?;
        edge.signal(signal)?;
        let (status, took) = edge.ended().await?;
        same(format!("{signal} after {took:?}"), status.code(), Some(0))?;
        same(format!("{took:?} is soon"), took < Duration::from_secs(10), true)?;
    }
    Ok(())
}

#[tokio::test]
async fn open_streams_are_told_to_come_back() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let client = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    let session = client.session_id().ok_or("no session")?;
    let mut stream = Request::stream("/mcp/fixture")
        .header("Mcp-Session-Id", session)
        .header("MCP-Protocol-Version", "2025-11-25")
        .send(edge.address)
        .await?;
    same("GET", stream.status, 200)?;
    edge.signal(Signal::SIGTERM)?;
    let mut retry = None;
    while let Ok(Some(event)) = stream.event().await {
        retry = event.retry.or(retry);
    }
    same("a retry was sent before the end", retry.is_some(), true)
}

async fn ready(edge: &Edge) -> Result<u16, ()> {
    edge.get("/health/ready").await.map(|reply| reply.status).map_err(|_fault: Fault| ())
}

async fn none_left(before: &BTreeSet<Process>) -> Outcome {
    until(format!("none of {before:?} is left"), || async {
        !before.iter().any(|process| process.alive())
    })
    .await
}
