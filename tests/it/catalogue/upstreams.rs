//! D, backends that are addresses: what they answer, and where they want to lead.
//!
//! Row 106, an `endpoint` of another origin, is in `gateway/tests/kinds.rs`, with its server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse as _;
use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, edge, stdio};
use edge_tests::{Fault, Outcome, same};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{OUTCOME_UNKNOWN, PROTOCOL, TOO_LARGE, UNAVAILABLE, call, initialize, refused, told};

/// As long as the limit for an answer, and more.
const LONG: usize = 17 << 20;

#[tokio::test]
async fn row_103_an_answer_that_is_none_leaves_the_outcome_unknown() -> Outcome {
    let server = OddServer::start().await?;
    let edge = beside_the_fixture(&server.url).await?;
    for transport in Transport::ALL {
        let mut client = Client::open(&edge, transport, Some("odd")).await?;
        for (tool, code) in [
            ("status 500", OUTCOME_UNKNOWN),
            ("status 503 with an error of no request", OUTCOME_UNKNOWN),
            ("html", PROTOCOL),
            ("no type", PROTOCOL),
            ("reset", OUTCOME_UNKNOWN),
            ("other id", OUTCOME_UNKNOWN),
            ("202", PROTOCOL),
        ] {
            let answer = call(&mut client, tool, json!({})).await?;
            let wanted = (Some(code), json!("unknown"));
            same(format!("{transport:?} {tool}: {answer}"), told(&answer), wanted)?;
        }
        same("good", client.call("good", json!({})).await?.as_str(), "good")?;
    }
    others_serve(&edge).await
}

#[tokio::test]
async fn row_103_a_429_passes_its_retry_after_on() -> Outcome {
    let server = OddServer::start().await?;
    let edge = beside_the_fixture(&server.url).await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("odd")).await?;
    let answer = call(&mut client, "status 429", json!({})).await?;
    same(format!("{answer}"), told(&answer), (Some(OUTCOME_UNKNOWN), json!("unknown")))?;
    same("in ms", answer.pointer("/error/data/retryAfterMs"), Some(&json!(7000)))
}

#[tokio::test]
async fn row_103_a_redirect_is_not_followed() -> Outcome {
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let target = elsewhere.local_addr()?;
    let server = OddServer::start().await?;
    let edge = beside_the_fixture(&server.url).await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("odd")).await?;
    for status in [301, 302, 303, 307, 308] {
        let arguments = json!({"status": status, "location": format!("http://{target}/mcp")});
        let answer = call(&mut client, "redirect", arguments).await?;
        same(format!("{answer}"), told(&answer), (Some(OUTCOME_UNKNOWN), json!("unknown")))?;
        let message = answer.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
        let is_told = message.ends_with("redirects are not followed");
        same(format!("{message:?}"), is_told, true)?;
    }
    let waited = tokio::time::timeout(Duration::from_millis(200), elsewhere.accept()).await;
    same("nobody came there", waited.is_err(), true)?;
    same("it is logged", edge.logged("ssrf_blocked", 5).await.len(), 5)
}

#[tokio::test]
async fn row_103_what_cannot_be_reached_was_not_sent() -> Outcome {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?;
    let plain = OddServer::start().await?;
    let edge = edge()
        .server("closed", json!({"url": format!("http://{closed}/mcp")}))
        .server("nowhere", json!({"url": "http://mcp.invalid/mcp"}))
        .server("plain", json!({"url": plain.url.replace("http://", "https://")}))
        .server("fixture", stdio())
        .start()
        .await?;
    for server in ["closed", "nowhere", "plain"] {
        refused(&initialize(&edge, server).await?, 502, UNAVAILABLE)?;
    }
    others_serve(&edge).await
}

#[tokio::test]
async fn row_103_a_server_that_went_away_between_two_calls_was_not_sent_the_second() -> Outcome {
    let server = OddServer::start().await?;
    let edge = beside_the_fixture(&server.url).await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("odd")).await?;
    same("before", client.call("good", json!({})).await?.as_str(), "good")?;
    server.stop().await;
    let answer = call(&mut client, "good", json!({})).await?;
    same(format!("{answer}"), told(&answer), (Some(UNAVAILABLE), json!(false)))?;
    others_serve(&edge).await
}

#[tokio::test]
async fn row_104_a_stream_that_ends_without_the_answer_leaves_the_outcome_unknown() -> Outcome {
    let server = OddServer::start().await?;
    let edge = beside_the_fixture(&server.url).await?;
    for transport in Transport::ALL {
        let mut client = Client::open(&edge, transport, Some("odd")).await?;
        for tool in ["ended", "ended at once"] {
            let answer = call(&mut client, tool, json!({})).await?;
            let wanted = (Some(OUTCOME_UNKNOWN), json!("unknown"));
            same(format!("{transport:?} {tool}: {answer}"), told(&answer), wanted)?;
        }
        same("good", client.call("good", json!({})).await?.as_str(), "good")?;
    }
    Ok(())
}

/// Nothing is ever inflated: no encoding is asked for, so an encoded answer breaks the protocol,
/// where the catalogue would inflate up to a limit.
#[tokio::test]
async fn row_105_a_bomb_is_not_inflated_and_a_long_answer_is_cut_off() -> Outcome {
    let server = OddServer::start().await?;
    let edge = beside_the_fixture(&server.url).await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("odd")).await?;
    client.call("good", json!({})).await?;
    let before = edge.process()?.memory_kib();
    for encoding in ["gzip", "br", "deflate"] {
        let answer = call(&mut client, "encoded", json!({"encoding": encoding})).await?;
        same(format!("{answer}"), told(&answer), (Some(PROTOCOL), json!("unknown")))?;
        let message = answer.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
        same(format!("{message:?} names {encoding}"), message.contains(encoding), true)?;
    }
    let grown = edge.process()?.peak_memory_kib().saturating_sub(before);
    same(format!("memory grew by {grown} KiB"), grown < 4 * 1024, true)?;
    for tool in ["long", "long and announced", "long event"] {
        let answer = call(&mut client, tool, json!({})).await?;
        same(format!("{tool}: {answer}"), told(&answer), (Some(TOO_LARGE), json!(true)))?;
    }
    let grown = edge.process()?.peak_memory_kib().saturating_sub(before);
    same(format!("memory grew by {grown} KiB"), grown < 96 * 1024, true)?;
    same("good", client.call("good", json!({})).await?.as_str(), "good")
}

async fn beside_the_fixture(url: &str) -> Result<Edge, Fault> {
    edge().server("odd", json!({"url": url})).server("fixture", stdio()).start().await
}

async fn others_serve(edge: &Edge) -> Outcome {
    let mut other = Client::open(edge, Transport::Mcp, Some("fixture")).await?;
    same("another server", other.call("echo", json!({})).await?.as_str(), "{}")
}

/// A Streamable HTTP server whose tools are ways to answer wrongly.
struct OddServer {
    url: String,
    tasks: JoinSet<()>,
}

impl OddServer {
    async fn start() -> Result<Self, Fault> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address: SocketAddr = listener.local_addr()?;
        let router =
            axum::Router::new().route("/mcp", axum::routing::post(answer)).with_state(bomb());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ended = axum::serve(listener, router).await;
        });
        Ok(Self { url: format!("http://{address}/mcp"), tasks })
    }

    async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// What looks like an encoded body: nobody gets as far as to find out that it is none.
fn bomb() -> Vec<u8> {
    let mut body = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec();
    body.resize(1 << 20, 0);
    body
}

async fn answer(State(bomb): State<Vec<u8>>, body: String) -> Response<Body> {
    let message: Value = serde_json::from_str(&body).unwrap_or_default();
    let id = message.get("id").cloned().unwrap_or_default();
    if id.is_null() {
        return plain(202, &[], "");
    }
    let json = [("content-type", "application/json")];
    let events = [("content-type", "text/event-stream")];
    let good = text(&id, &json!({"content": [{"type": "text", "text": "good"}]}));
    if message.get("method") == Some(&json!("initialize")) {
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "odd", "version": "1"}
        });
        return plain(200, &json, &text(&id, &hello));
    }
    let argument = |name: &str| message.pointer(&format!("/params/arguments/{name}"));
    let tool = message.pointer("/params/name").and_then(Value::as_str).unwrap_or_default();
    match tool {
        "html" => plain(200, &[("content-type", "text/html")], "<h1>Welcome</h1>"),
        "no type" => plain(200, &[], &good),
        "202" => plain(202, &[], ""),
        "status 500" => plain(500, &[], "oops"),
        "status 503 with an error of no request" => plain(503, &json, &foreign_error()),
        "status 429" => plain(429, &[("retry-after", "7")], ""),
        "redirect" => {
            let status = argument("status").and_then(Value::as_u64).unwrap_or_default();
            let location = argument("location").and_then(Value::as_str).unwrap_or_default();
            plain(u16::try_from(status).unwrap_or_default(), &[("location", location)], "")
        }
        "reset" => broken(&json),
        "other id" => plain(200, &json, &text(&json!("not yours"), &json!({}))),
        "ended" => plain(200, &events, ": nothing\n\n"),
        "ended at once" => plain(200, &events, ""),
        "encoded" => {
            let encoding = argument("encoding").and_then(Value::as_str).unwrap_or_default();
            with(
                200,
                &[("content-type", "application/json"), ("content-encoding", encoding)],
                Body::from(bomb),
            )
        }
        "long and announced" => plain(200, &json, &"x".repeat(LONG)),
        "long" => with(200, &json, in_pieces("")),
        "long event" => with(200, &events, in_pieces("data: ")),
        "good" => plain(200, &json, &good),
        _ => plain(200, &json, &text(&id, &json!({"tools": []}))),
    }
}

fn text(id: &Value, result: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
}

fn foreign_error() -> String {
    json!({"jsonrpc": "2.0", "id": null, "error": {"code": 1, "message": "busy"}}).to_string()
}

/// More than any limit, whose length is not told.
fn in_pieces(first: &'static str) -> Body {
    let piece = "x".repeat(1 << 16);
    let pieces = (0..LONG >> 16).map(move |_| piece.clone());
    let all = std::iter::once(first.to_owned()).chain(pieces).chain(["\n\n".to_owned()]);
    Body::from_stream(stream::iter(all.map(Ok::<_, std::io::Error>)))
}

/// An answer whose connection is cut in the middle.
fn broken(headers: &[(&'static str, &str)]) -> Response<Body> {
    let pieces = [Ok("{"), Err(std::io::Error::other("cut"))];
    with(200, headers, Body::from_stream(stream::iter(pieces)))
}

fn plain(status: u16, headers: &[(&'static str, &str)], body: &str) -> Response<Body> {
    with(status, headers, Body::from(body.to_owned()))
}

fn with(status: u16, headers: &[(&'static str, &str)], body: Body) -> Response<Body> {
    let mut response = body.into_response();
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    // So that a server that is stopped holds no connection open.
    response.headers_mut().insert("connection", HeaderValue::from_static("close"));
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(*name, value);
        }
    }
    response
}
