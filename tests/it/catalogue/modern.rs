//! Rows of revision 2026-07-28, in which each request stands alone.

use std::net::Ipv4Addr;

use axum::response::IntoResponse as _;
use edge_tests::edge::edge;
use edge_tests::eras::{Actor, stdio_of};
use edge_tests::http1::Request;
use edge_tests::modern::{Ask, VERSION};
use edge_tests::{Outcome, same};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::bench::{Bench, INVALID, PATH, PING, Sent};

const HEADER: &str = "MCP-Protocol-Version";
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const META_INFO: &str = "io.modelcontextprotocol/clientInfo";
const MISMATCH: i64 = -32020;
const UNSUPPORTED: i64 = -32022;
const NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;

/// A request that is right until it is changed.
fn echo() -> Ask {
    Ask::tool("fixture", "echo", json!({"value": 1}))
}

fn sent<'a>(all: &[(&'a str, Ask)]) -> Vec<Sent<'a>> {
    all.iter().map(|(what, ask)| (*what, ask.request())).collect()
}

#[tokio::test]
async fn row_23_unknown_method_in_revision_2026_07_28() -> Outcome {
    let edge = edge()
        .server("legacy", stdio_of("legacy"))
        .server("modern", stdio_of("modern"))
        .start()
        .await?;
    let of = |server: &str| Ask::new(server, "no/such", json!({}));
    for ask in [of("legacy"), of("modern"), of("").of_all()] {
        // A server that has to be started first may take too long for the answer to have a status.
        ask.said(&edge).await?;
        let said = ask.said(&edge).await?;
        let got = (said.status, said.code(), said.answer.get("id"));
        let wanted = (404, Some(NOT_FOUND), Some(&json!(1)));
        same(format!("{}", said.answer), got, wanted)?;
    }
    Ok(())
}

#[tokio::test]
async fn row_38_version_header_missing_in_revision_2026_07_28() -> Outcome {
    let bench = Bench::open().await?;
    let without = echo().without(HEADER);
    let all = sent(&[("with the other headers", without.clone())]);
    bench.refuses(400, MISMATCH, &json!(1), all).await?;
    // Nothing says that it is of this revision, so that it lacks a session.
    let legacy = sent(&[("of no revision", without.bare())]);
    bench.refuses(400, INVALID, &Value::Null, legacy).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_39_unknown_version() -> Outcome {
    let bench = Bench::open().await?;
    let unknown = |version: &str| echo().header(HEADER, version).meta(META_VERSION, json!(version));
    let all = sent(&[
        ("of the future", unknown("2099-01-01")),
        ("no date", unknown("latest")),
        ("longer", unknown("2026-07-28x")),
        ("in the body alone", unknown("2099-01-01").without("Mcp-Name").header("Mcp-Name", "echo")),
    ]);
    bench.refuses(400, UNSUPPORTED, &json!(1), all).await?;
    let reply = bench.send(&unknown("2099-01-01").request()).await?;
    let told = reply.message()?;
    let data = |name: &str| told.pointer(&format!("/error/data/{name}")).cloned();
    same(format!("{told}"), data("supported"), Some(json!([VERSION])))?;
    same(format!("{told}"), data("requested"), Some(json!("2099-01-01")))?;
    // A header of the legacy lane, on a session of it.
    let legacy = Request::post(PATH, PING).header("Mcp-Session-Id", &bench.id);
    let legacy = vec![("on a session", legacy.header(HEADER, "2099-01-01"))];
    bench.refuses(400, INVALID, &Value::Null, legacy).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_40_version_header_that_is_not_metas() -> Outcome {
    let bench = Bench::open().await?;
    let all = sent(&[
        ("an older one in the header", echo().header(HEADER, "2025-11-25")),
        ("an older one in the body", echo().meta(META_VERSION, json!("2025-11-25"))),
        ("an unknown one in the header", echo().header(HEADER, "2099-01-01")),
        ("an unknown one in the body", echo().meta(META_VERSION, json!("2099-01-01"))),
        ("twice", echo().also(HEADER, VERSION)),
        ("two", echo().also(HEADER, "2025-11-25")),
    ]);
    bench.refuses(400, MISMATCH, &json!(1), all).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_41_method_and_name_headers_that_do_not_fit() -> Outcome {
    let bench = Bench::open().await?;
    let all = sent(&[
        ("another method", echo().header("Mcp-Method", "tools/list")),
        ("no method", echo().without("Mcp-Method")),
        ("the method twice", echo().also("Mcp-Method", "tools/call")),
        ("another name", echo().header("Mcp-Name", "add")),
        ("no name", echo().without("Mcp-Name")),
        ("the name twice", echo().also("Mcp-Name", "echo")),
        ("no base64", echo().header("Mcp-Name", "=?base64?%%%?=")),
        ("base64 of bytes that are no text", echo().header("Mcp-Name", "=?base64?/w==?=")),
        ("bytes that are no ASCII", echo().header("Mcp-Name", "échö")),
    ]);
    bench.refuses(400, MISMATCH, &json!(1), all).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_42_meta_without_what_is_needed() -> Outcome {
    let bench = Bench::open().await?;
    let all = sent(&[
        ("none", echo().bare()),
        ("no version", echo().without_meta(META_VERSION)),
        ("no capabilities", echo().without_meta(META_CAPABILITIES)),
        ("a version that is no text", echo().meta(META_VERSION, json!(20_260_728))),
        ("capabilities that are no object", echo().meta(META_CAPABILITIES, json!(["roots"]))),
        ("capabilities that are null", echo().meta(META_CAPABILITIES, Value::Null)),
        ("a client that is no object", echo().meta(META_INFO, json!("me"))),
        ("_meta that is no object", echo().bare().param("_meta", json!([]))),
    ]);
    bench.refuses(400, INVALID_PARAMS, &json!(1), all).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_43_requests_of_the_legacy_era_in_revision_2026_07_28() -> Outcome {
    let bench = Bench::open().await?;
    let of = |method| Ask::new("fixture", method, json!({}));
    let mut all = Vec::new();
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "sampling/createMessage",
        "tasks/list",
        "tasks/result",
    ] {
        all.push((method, of(method)));
    }
    // No `_meta` would mend it.
    all.push(("initialize without _meta", of("initialize").bare()));
    bench.refuses(404, NOT_FOUND, &json!(1), sent(&all)).await?;
    bench.ends_well().await
}

#[tokio::test]
async fn row_49_session_header_in_revision_2026_07_28() -> Outcome {
    let bench = Bench::open().await?;
    let own = bench.id.clone();
    for session in [own.as_str(), "never-was", "with a space", &"x".repeat(129)] {
        let reply = bench.send(&echo().also("Mcp-Session-Id", session).request()).await?;
        same(format!("{session}: {}", reply.text()), reply.status, 200)?;
        same("it is not echoed", reply.header("mcp-session-id"), None)?;
        let said = reply.message()?.pointer("/result/content/0/text").cloned();
        same("it is answered", said, Some(json!("{\"value\":1}")))?;
    }
    let told = bench.send(&echo().also("Last-Event-ID", "anything").request()).await?;
    same("nothing is taken up", told.status, 200)?;
    bench.ends_well().await
}

/// What a modern server asks, which has nobody to ask.
fn question() -> Value {
    json!({"jsonrpc": "2.0", "id": "q", "method": "roots/list"})
}

#[tokio::test]
async fn row_102_a_request_of_a_modern_server_is_dropped() -> Outcome {
    let mut tasks = JoinSet::new();
    let actor = Actor::start("modern", &mut tasks).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    let router = axum::Router::new().route("/mcp", axum::routing::post(asking));
    tasks.spawn(async move { drop(axum::serve(listener, router).await) });
    let edge =
        edge().server("stdio", actor.server()).server("http", json!({"url": url})).start().await?;
    let held = Ask::tool("stdio", "hold", json!({})).able(json!({"roots": {}}));
    let asking = async {
        let called = actor.hears("tools/call", 1).await?;
        actor.say(&question());
        let id = called.first().and_then(|it| it.get("id"));
        let result = json!({"content": [{"type": "text", "text": "done"}]});
        actor.say(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
        Ok(())
    };
    let (said, asked) = tokio::join!(held.said(&edge), asking);
    let asked: Outcome = asked;
    asked?;
    let over_http = Ask::tool("http", "any", json!({})).able(json!({"roots": {}}));
    let all = [("stdio", said?), ("http", over_http.said(&edge).await?)];
    let logged = edge.logged("backend_request", all.len()).await;
    for (server, said) in all {
        same(server, said.text()?.as_str(), "done")?;
        same(format!("{server}: the client hears nothing of it"), said.notes, Vec::new())?;
        let of_server = |it: &Value| it.get("server") == Some(&json!(server));
        let lines = logged.iter().filter(|it| of_server(it));
        let told: Vec<_> = lines
            .map(|it| (it["level"].clone(), it["reason"].clone(), it["method"].clone()))
            .collect();
        let wanted = (json!("WARN"), json!("BACKEND_PROTOCOL"), json!("roots/list"));
        same(server, told, vec![wanted])?;
    }
    same("nobody answers it", actor.answered(), Vec::new())
}

/// A modern server over HTTP that asks before it answers.
async fn asking(body: String) -> axum::response::Response {
    let message: Value = serde_json::from_str(&body).unwrap_or_default();
    let result = match message.get("method").and_then(Value::as_str) {
        Some("server/discover") => json!({"supportedVersions": [VERSION], "capabilities": {},
            "ttlMs": 0, "cacheScope": "private"}),
        _ => json!({"resultType": "complete", "content": [{"type": "text", "text": "done"}]}),
    };
    let answer = json!({"jsonrpc": "2.0", "id": message.get("id"), "result": result});
    let events = format!("data: {}\n\ndata: {answer}\n\n", question());
    ([("content-type", "text/event-stream")], events).into_response()
}
