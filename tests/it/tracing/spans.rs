//! Which spans there are, and what is a part of what.

use std::net::SocketAddr;

use edge_tests::client::{Client, Transport};
use edge_tests::collector::{Collector, Manner, Span};
use edge_tests::edge::{edge, stdio};
use edge_tests::eras::stdio_of;
use edge_tests::http1::Request;
use edge_tests::modern::Ask;
use edge_tests::replicas::replicas;
use edge_tests::witness::{self, Witness, heard};
use edge_tests::{Fault, Outcome, same};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use tokio::task::JoinSet;

use super::{CALLER, SPAN, TRACE, look, to};

/// A POST in the session of a client.
fn post(client: &Client, server: &str, body: String) -> Request {
    let session = client.session_id().unwrap_or_default();
    Request::post(&format!("/mcp/{server}"), body)
        .header("Mcp-Session-Id", session)
        .header("MCP-Protocol-Version", "2025-06-18")
}

/// The two spans of one call: that of the client's request, and that of the call to the server.
async fn pair(collector: &Collector, name: &str) -> Result<(Span, Span), Fault> {
    let of = |kind: SpanKind| {
        let spans = collector.spans().into_iter();
        spans.rev().find(|it| it.kind == kind && it.name == name)
    };
    let both = || of(SpanKind::Server).zip(of(SpanKind::Client));
    let there = edge_tests::until(name, || async { both().is_some() }).await;
    there.map_err(|fault| format!("{fault}; there are {:#?}", collector.spans()))?;
    Ok(both().ok_or("they were there")?)
}

#[tokio::test]
async fn a_call_over_stdio_is_a_part_of_its_request_and_that_of_the_callers() -> Outcome {
    let mut tasks = JoinSet::new();
    let collector = Collector::start(Manner::Takes, &mut tasks).await?;
    let edge = edge().server("w", witness_at("calls")?).setting("tracing", to(&collector));
    let edge = edge.variable("OTEL_SERVICE_NAME", "edge-of-tests").start().await?;
    let client = Client::open(&edge, Transport::Mcp, Some("w")).await?;
    let asked = post(&client, "w", look(7));
    let asked = asked.header("traceparent", CALLER).header("tracestate", "a=1,b=2");
    let reply = asked.reply(edge.address).await?;
    same("the answer", reply.status, 200)?;
    let (server, call) = pair(&collector, "tools/call look").await?;
    same("trace", (server.trace.as_str(), call.trace.as_str()), (TRACE, TRACE))?;
    same("the request's parent", server.parent.as_str(), SPAN)?;
    same("the call's parent", call.parent.as_str(), server.id.as_str())?;
    let line = heard(&file("calls")?, "tools/call").await?;
    same("what the server is told", witness::meta(&line, "traceparent"), Some(call.place()))?;
    same("its state", witness::meta(&line, "tracestate"), Some("a=1,b=2".to_owned()))?;
    for (name, value) in [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.tool.name", "look"),
        ("gen_ai.operation.name", "execute_tool"),
        ("jsonrpc.request.id", "7"),
        ("mcp_gateway.server", "w"),
        ("network.transport", "tcp"),
    ] {
        same(name, server.attribute(name), Some(value))?;
    }
    same("the call's way", call.attribute("network.transport"), Some("pipe"))?;
    same("the service", server.service.as_str(), "edge-of-tests")?;
    same("its id", server.attribute("mcp_gateway.request.id"), reply.header("x-request-id"))?;
    let session = client.session_id().unwrap_or_default();
    let key = server.attribute("mcp.session.id").unwrap_or_default();
    same("a key, and not the session's id", (key.len(), key == session), (32, false))
}

#[tokio::test]
async fn a_call_over_http_has_its_place_in_headers_and_in_meta() -> Outcome {
    let mut tasks = JoinSet::new();
    let collector = Collector::start(Manner::Takes, &mut tasks).await?;
    let witness = Witness::start(&mut tasks).await?;
    let legacy = edge_tests::eras::with(witness.server(), "era", json!("legacy"));
    let modern = edge_tests::eras::with(witness.server(), "era", json!("modern"));
    let edge = edge().server("legacy", legacy).server("modern", modern);
    let edge = edge.setting("tracing", to(&collector)).start().await?;
    // A client of either era, on a server of either era.
    for server in ["legacy", "modern"] {
        let client = Client::open(&edge, Transport::Mcp, Some(server)).await?;
        let reply = post(&client, server, look(8)).header("traceparent", CALLER);
        same("legacy client", reply.reply(edge.address).await?.status, 200)?;
        check(&collector, &witness, SPAN).await?;
        let own = CALLER.replace(SPAN, "1111111111111111");
        let said = Ask::tool(server, "look", json!({}))
            .meta("traceparent", json!(own))
            .meta("mine", json!("stays"))
            .header("traceparent", CALLER)
            .said(&edge)
            .await?;
        same("modern client", said.status, 200)?;
        check(&collector, &witness, "1111111111111111").await?;
        let (server, _) = pair(&collector, "tools/call look").await?;
        same("a link to the headers' place", server.links, vec![SPAN.to_owned()])?;
        let heard = witness.last("tools/call")?;
        same("the client's own", heard.meta("mine"), Some("stays".to_owned()))?;
    }
    Ok(())
}

/// The last call's spans, which were a part of `parent`, and what the server heard of them.
async fn check(collector: &Collector, witness: &Witness, parent: &str) -> Outcome {
    let heard = witness.last("tools/call")?;
    let place = heard.header("traceparent").ok_or("no traceparent")?.to_owned();
    same("in _meta too", heard.meta("traceparent").as_deref(), Some(place.as_str()))?;
    let call = || {
        let spans = collector.spans().into_iter();
        spans.rev().find(|it| it.place() == place)
    };
    edge_tests::until("the call's span", || async { call().is_some() }).await?;
    let call = call().ok_or("it was there")?;
    same("kind", call.kind, SpanKind::Client)?;
    let request = || {
        let spans = collector.spans().into_iter();
        spans.rev().find(|it| it.id == call.parent)
    };
    edge_tests::until("the request's span", || async { request().is_some() }).await?;
    let request = request().ok_or("it was there")?;
    same("kind", (request.kind, request.parent.as_str()), (SpanKind::Server, parent))
}

#[tokio::test]
async fn every_way_in_is_traced() -> Outcome {
    let mut tasks = JoinSet::new();
    let collector = Collector::start(Manner::Takes, &mut tasks).await?;
    let edge = edge().server("f", stdio()).server("m", stdio_of("modern"));
    let edge = edge.setting("tracing", to(&collector)).start().await?;
    for transport in Transport::ALL {
        for server in ["f", "m"] {
            let mut client = Client::open(&edge, transport, Some(server)).await?;
            let own = CALLER.replace(SPAN, &format!("{:016x}", 1 + transport as u64));
            let params = json!({"name": "echo", "arguments": {"value": 1},
                "_meta": {"traceparent": own}});
            client.request("tools/call", params).await?;
            let (request, call) = pair(&collector, "tools/call echo").await?;
            same(format!("{transport:?}"), request.trace.as_str(), TRACE)?;
            same("the call's parent", call.trace.as_str(), TRACE)?;
            client.end().await.ok();
        }
    }
    let mut all = Client::open(&edge, Transport::Mcp, None).await?;
    all.request("tools/list", json!({})).await?;
    collector.has("tools/list").await?;
    Ok(())
}

#[tokio::test]
async fn errors_are_told_by_their_kind() -> Outcome {
    let mut tasks = JoinSet::new();
    let collector = Collector::start(Manner::Takes, &mut tasks).await?;
    let edge = edge().server("f", stdio()).setting("tracing", to(&collector)).start().await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("f")).await?;
    client.request("no/such", json!({})).await.ok();
    let failed = collector.has("other").await?;
    same("a server's error", failed.is_error, true)?;
    same("its code", failed.attribute("error.type"), Some("-32601"))?;
    let refused = Ask::tool("f", "echo", json!({})).header("Mcp-Name", "other").said(&edge).await?;
    same("refused before it was one", refused.status, 400)?;
    let fresh = Client::connect(&edge, Transport::Ws, "/ws/f").await?;
    drop(fresh);
    Ok(())
}

#[tokio::test]
async fn a_request_that_is_carried_to_another_replica_is_one_trace() -> Outcome {
    let mut tasks = JoinSet::new();
    let collector = Collector::start(Manner::Takes, &mut tasks).await?;
    let of = edge().server("w", witness_at("hop")?).setting("tracing", to(&collector));
    let replicas = replicas(2, of).await?;
    let addresses: Vec<SocketAddr> = replicas.addresses();
    let [first, second] = addresses.as_slice() else { return Err("two of them".into()) };
    let (first, second) = (*first, *second);
    let client = Client::open(first, Transport::Mcp, Some("w")).await?;
    // In `_meta` and in a header that says something else: the message's own word counts.
    let own = CALLER.replace(SPAN, "2222222222222222");
    let call = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call",
        "params": {"name": "look", "arguments": {}, "_meta": {"traceparent": own}}});
    let reply = post(&client, "w", call.to_string()).header("traceparent", CALLER);
    let reply = reply.reply(second).await?;
    same("the answer", reply.status, 200)?;
    let hop = collector.has("hop tools/call").await?;
    same("the hop", (hop.kind, hop.parent.as_str()), (SpanKind::Client, "2222222222222222"))?;
    let (request, call) = {
        let of = |kind: SpanKind| {
            let spans = collector.spans().into_iter();
            spans.rev().find(|it| it.kind == kind && it.name == "tools/call look")
        };
        edge_tests::until("both", || async {
            of(SpanKind::Server).is_some() && of(SpanKind::Client).is_some()
        })
        .await?;
        (of(SpanKind::Server).ok_or("one")?, of(SpanKind::Client).ok_or("one")?)
    };
    same("the owner's request", request.parent.as_str(), hop.id.as_str())?;
    same("the call", call.parent.as_str(), request.id.as_str())?;
    let id = request.attribute("mcp_gateway.request.id");
    same("one id on both", id, reply.header("x-request-id"))
}

fn file(name: &str) -> Result<std::path::PathBuf, Fault> {
    let folder = std::env::temp_dir().join(format!("edge-tracing-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder.join(name))
}

fn witness_at(name: &str) -> Result<serde_json::Value, Fault> {
    Ok(witness::stdio(&file(name)?))
}
