//! The processes behind a stdio server: when they begin, when they end, what a crash looks like.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::http1::Request;
use edge_tests::{Outcome, same, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

#[tokio::test]
async fn a_crash_in_mid_call_is_an_unknown_outcome_and_the_next_call_works() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for transport in Transport::ALL {
        let mut client = Client::open(&edge, transport, Some("fixture")).await?;
        let crash = json!({"name": "crash", "arguments": {}});
        let answer = client.request("tools/call", crash).await?;
        let code = answer.pointer("/error/code").and_then(Value::as_i64);
        same(format!("{transport:?}: {answer}"), code, Some(-31002))?;
        let dispatched = answer.pointer("/error/data/dispatched");
        same("dispatched", dispatched.is_some_and(|told| *told != json!(false)), true)?;
        let said = client.call("echo", json!({"value": 1})).await?;
        same("the next call", said.as_str(), "{\"value\":1}")?;
    }
    Ok(())
}

#[tokio::test]
async fn the_end_of_a_session_is_the_end_of_its_process() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for transport in Transport::ALL {
        let mut client = Client::open(&edge, transport, Some("fixture")).await?;
        let stats: Value = serde_json::from_str(&client.call("stats", json!({})).await?)?;
        let pid = stats.get("pid").and_then(Value::as_u64).unwrap_or_default();
        let process = edge.descendants().into_iter().find(|child| u64::from(child.pid) == pid);
        let process = process.ok_or("the process is not the gateway's")?;
        if let Some(session) = client.session_id() {
            let end = Request::new("DELETE", "/mcp/fixture").header("Mcp-Session-Id", session);
            end.reply(edge.address).await?;
        } else {
            drop(client);
        }
        // A stream that was cut may come back for a while; only a deleted session ends at once.
        if transport == Transport::Mcp {
            until("the process ends", || async { !process.alive() }).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_gateway_takes_its_processes_along() -> Outcome {
    let mut edge = edge().server("fixture", stdio()).start().await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    client.call("echo", json!({})).await?;
    let left = edge.descendants();
    same("processes before", left.is_empty(), false)?;
    edge.signal(Signal::SIGKILL)?;
    edge.ended().await?;
    until("no process is left", || async { !left.iter().any(|process| process.alive()) }).await
}

#[tokio::test]
async fn a_process_sees_the_environment_it_was_given_and_no_other() -> Outcome {
    let mut server = stdio();
    if let Some(server) = server.as_object_mut() {
        server.insert("env".to_owned(), json!({"FIXTURE_PAGES": "2"}));
    }
    let edge = edge().server("fixture", server).start().await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    let page = client.request("prompts/list", json!({})).await?;
    let length = page.pointer("/result/prompts").and_then(Value::as_array).map(Vec::len);
    same("the page length it was given", length, Some(2))?;
    client.call("stats", json!({})).await?;
    let child = edge.descendants().into_iter().next().ok_or("no process")?;
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", child.pid))?;
    let leaked = environment.split('\0').any(|variable| variable.starts_with("CARGO"));
    same("cargo's variables are not handed on", leaked, false)
}

#[tokio::test]
async fn a_call_goes_on_though_its_client_went_away() -> Outcome {
    let folder = edge().server("fixture", stdio()).start().await?;
    let ledger = folder.folder().join("ledger");
    let mut server = stdio();
    if let Some(server) = server.as_object_mut() {
        server.insert("env".to_owned(), json!({"FIXTURE_LEDGER": ledger}));
    }
    let edge = edge().server("fixture", server).start().await?;
    let client = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    let session = client.session_id().ok_or("no session")?;
    let call = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params":
        {"name": "append", "arguments": {"uuid": "only-once", "ms": 300}}});
    let post = Request::post("/mcp/fixture", call.to_string())
        .header("Mcp-Session-Id", session)
        .header("MCP-Protocol-Version", "2025-11-25");
    drop(
        tokio::time::timeout(std::time::Duration::from_millis(100), post.reply(edge.address)).await,
    );
    until("the ledger has the line", || async { lines(&ledger) == 1 }).await?;
    let again = post.reply(edge.address).await?;
    let written = lines(&ledger);
    let refused = again.error_code() == Some(-31009);
    same("a repeat while in flight writes nothing", written, if refused { 1 } else { 2 })
}

fn lines(path: &std::path::Path) -> usize {
    std::fs::read_to_string(path).map(|text| text.lines().count()).unwrap_or_default()
}
