//! Backends that misbehave: what their clients are told, and that others do not notice.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, pooled};
use edge_tests::{Fault, Outcome, same};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const OUTCOME_UNKNOWN: i64 = -31002;

#[tokio::test]
async fn a_crash_in_a_pool_is_told_to_those_with_a_call_in_flight_only() -> Outcome {
    let edge = edge().server("fixture", pooled()).start().await?;
    let mut waiting = Client::open(&edge, Transport::Sse, Some("fixture")).await?;
    let mut idle = Client::open(&edge, Transport::Ws, Some("fixture")).await?;
    let mut crashing = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    idle.call("echo", json!({})).await?;
    // Progress shows that the call has reached the process before it crashes.
    let slow = json!({
        "name": "slow",
        "arguments": {"ms": 60_000, "steps": 1},
        "_meta": {"progressToken": 1}
    });
    let id = waiting.begin("tools/call", slow).await?;
    waiting.message().await?;
    let crash = json!({"name": "crash", "arguments": {}});
    let crashed = crashing.request("tools/call", crash).await?;
    same("the crashing call", code(&crashed), Some(OUTCOME_UNKNOWN))?;
    let lost = waiting.answer(&json!(id)).await?;
    same("the waiting call", code(&lost), Some(OUTCOME_UNKNOWN))?;
    same("the idle client", idle.call("echo", json!({})).await?.as_str(), "{}")?;
    // It is told that the lists may differ, which is how it comes to ask a restarted server.
    let is_hint = |told: &Value| {
        let method = told["method"].as_str().unwrap_or_default();
        told.get("id").is_none() && method.ends_with("/list_changed")
    };
    let foreign: Vec<_> = idle.told.into_iter().filter(|told| !is_hint(told)).collect();
    same("was told of nobody's calls", foreign, Vec::new())
}

#[tokio::test]
async fn a_session_the_backend_has_lost_is_no_lost_session_of_ours() -> Outcome {
    let (url, _serving) = odd_server().await?;
    let edge = edge().server("odd", json!({"url": url})).start().await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("odd")).await?;
    same("before", client.call("forget", json!({})).await?.as_str(), "good")?;
    let call = json!({"name": "good", "arguments": {}});
    let answer = client.request("tools/call", call).await?;
    let refused = answer.pointer("/error/data/dispatched") == Some(&json!(false));
    let answered = answer.get("result").is_some();
    same(format!("answered, or refused unsent: {answer}"), answered || refused, true)?;
    same("the call after it", client.call("good", json!({})).await?.as_str(), "good")
}

fn code(message: &Value) -> Option<i64> {
    message.pointer("/error/code").and_then(Value::as_i64)
}

/// Sessions the odd server knows.
type Sessions = Arc<Mutex<BTreeSet<String>>>;

/// A Streamable HTTP server with a tool that makes it forget the session.
async fn odd_server() -> Result<(String, JoinSet<()>), Fault> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address: SocketAddr = listener.local_addr()?;
    let router = axum::Router::new()
        .route("/mcp", axum::routing::post(odd_answer))
        .with_state(Sessions::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let _ended = axum::serve(listener, router).await;
    });
    Ok((format!("http://{address}/mcp"), tasks))
}

async fn odd_answer(
    State(sessions): State<Sessions>,
    headers: HeaderMap,
    body: String,
) -> Response<Body> {
    let message: Value = serde_json::from_str(&body).unwrap_or_default();
    let id = message.get("id").cloned().unwrap_or_default();
    let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
    if method == "initialize" {
        let session = format!("odd-{}", sessions.lock().len());
        sessions.lock().insert(session.clone());
        let mut response = json_answer(
            &id,
            &json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "odd", "version": "1"}
            }),
        );
        if let Ok(value) = session.parse() {
            response.headers_mut().insert("mcp-session-id", value);
        }
        return response;
    }
    let session = headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    if !sessions.lock().contains(session) {
        return plain(404, "text/plain", "no such session");
    }
    if id.is_null() {
        return plain(202, "text/plain", "");
    }
    let tool = message.pointer("/params/name").and_then(Value::as_str).unwrap_or_default();
    match tool {
        "forget" => {
            sessions.lock().remove(session);
            json_answer(&id, &good())
        }
        "good" => json_answer(&id, &good()),
        _ => json_answer(&id, &json!({"tools": []})),
    }
}

fn good() -> Value {
    json!({"content": [{"type": "text", "text": "good"}]})
}

fn json_answer(id: &Value, result: &Value) -> Response<Body> {
    let message = json!({"jsonrpc": "2.0", "id": id, "result": result});
    plain(200, "application/json", &message.to_string())
}

fn plain(status: u16, kind: &'static str, body: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    response
}
