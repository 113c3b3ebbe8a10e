//! Somebody starts it, looks at it, and reaches a server over each of the three transports.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::http1::Request;
use edge_tests::{Outcome, same};
use serde_json::{Value, json};

#[tokio::test]
async fn embedded_defaults_serve_the_demo_server_over_every_transport() -> Outcome {
    let edge = edge().embedded().start().await?;
    for transport in Transport::ALL {
        for server in [None, Some("demo")] {
            let mut client = Client::open(&edge, transport, server).await?;
            let listed = client.request("tools/list", json!({})).await?;
            let tools = listed.pointer("/result/tools").and_then(Value::as_array);
            let what = format!("{transport:?} {server:?} lists tools");
            same(what, tools.is_some_and(|tools| !tools.is_empty()), true)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_transport_reaches_a_tool() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for transport in Transport::ALL {
        for server in [None, Some("fixture")] {
            let mut client = Client::open(&edge, transport, server).await?;
            let said = client.call("echo", json!({"value": 42})).await?;
            same(format!("{transport:?} {server:?}"), said.as_str(), "{\"value\":42}")?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn health_is_open_and_says_that_it_serves() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for path in ["/", "/health", "/health/live", "/health/ready", "/servers"] {
        same(path, edge.get(path).await?.status, 200)?;
    }
    let servers = edge.get("/servers").await?.text();
    same("the listing names the server", servers.contains("\"fixture\""), true)
}

#[tokio::test]
async fn a_server_that_cannot_start_leaves_the_others_and_the_health_alone() -> Outcome {
    let broken = json!({"command": ["/nonexistent/program"]});
    let edge = edge().server("fixture", stdio()).server("broken", broken).start().await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    same("fixture", client.call("echo", json!({})).await?.as_str(), "{}")?;
    let mut all = Client::open(&edge, Transport::Mcp, None).await?;
    let listed = all.request("tools/list", json!({})).await?;
    let tools = listed.pointer("/result/tools").and_then(Value::as_array).map_or(0, Vec::len);
    same("the aggregate lists the fixture's tools", tools >= 20, true)?;
    same("ready", edge.get("/health/ready").await?.status, 200)?;
    let hello = initialize("2025-11-25");
    let reply = Request::post("/mcp/broken", hello).reply(edge.address).await?;
    same("code for the broken server", reply.error_code(), Some(-31001))
}

#[tokio::test]
async fn an_unknown_server_is_not_found() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let reply = Request::post("/mcp/other", initialize("2025-11-25")).reply(edge.address).await?;
    same("POST /mcp/other", reply.status, 404)?;
    same("GET /sse/other", Request::stream("/sse/other").reply(edge.address).await?.status, 404)
}

#[tokio::test]
async fn every_legacy_revision_is_negotiated() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let asked = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
    for revision in asked {
        let reply = Request::post("/mcp/fixture", initialize(revision)).reply(edge.address).await?;
        let message = reply.message()?;
        let got = message.pointer("/result/protocolVersion").and_then(Value::as_str);
        same(revision, got, Some(revision))?;
    }
    let reply = Request::post("/mcp/fixture", initialize("1999-01-01")).reply(edge.address).await?;
    let message = reply.message()?;
    let got = message.pointer("/result/protocolVersion").and_then(Value::as_str);
    same("an unknown revision gets the newest", got, Some("2025-11-25"))
}

#[tokio::test]
async fn the_sse_endpoint_is_a_path_that_takes_messages() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let client = Client::open(&edge, Transport::Sse, Some("fixture")).await?;
    let endpoint = client.endpoint().unwrap_or_default();
    same(endpoint, endpoint.starts_with("/messages?sessionId="), true)?;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    same("POST", Request::post(endpoint, ping).reply(edge.address).await?.status, 202)
}

#[tokio::test]
async fn an_event_stream_is_not_to_be_buffered_or_cached() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let stream = Request::stream("/sse/fixture").send(edge.address).await?;
    same("status", stream.status, 200)?;
    let kind = stream.header("content-type").unwrap_or_default();
    same(kind, kind.starts_with("text/event-stream"), true)?;
    same("X-Accel-Buffering", stream.header("x-accel-buffering"), Some("no"))?;
    let caching = stream.header("cache-control").unwrap_or_default();
    same(caching, caching.contains("no-cache") || caching.contains("no-store"), true)
}

#[tokio::test]
async fn a_browser_is_told_by_cors_what_it_may_read() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let origin = "http://localhost:5173";
    let preflight = Request::new("OPTIONS", "/mcp/fixture")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type,mcp-session-id,mcp-param-region");
    let reply = preflight.reply(edge.address).await?;
    same("allowed origin", reply.header("access-control-allow-origin"), Some(origin))?;
    let allowed = reply.header("access-control-allow-headers").unwrap_or_default().to_lowercase();
    same(&allowed, allowed.contains("mcp-param-region"), true)?;
    let hello = Request::post("/mcp/fixture", initialize("2025-11-25")).header("Origin", origin);
    let reply = hello.reply(edge.address).await?;
    let exposed = reply.header("access-control-expose-headers").unwrap_or_default().to_lowercase();
    same(&exposed, exposed.contains("mcp-session-id"), true)
}

#[tokio::test]
async fn a_bad_config_ends_with_78_and_says_where() -> Outcome {
    let unknown = edge().setting("servres", json!({})).run_to_end().await?;
    same("exit code", unknown.0, Some(78))?;
    same(&unknown.1, unknown.1.contains("servres") && unknown.1.contains("servers"), true)
}

fn initialize(revision: &str) -> String {
    let params = json!({
        "protocolVersion": revision,
        "capabilities": {},
        "clientInfo": {"name": "edge-tests", "version": "1.0.0"}
    });
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).to_string()
}
