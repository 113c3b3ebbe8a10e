//! What tracing costs when it is off, and when the collector is away; and the end.

use std::time::{Duration, Instant};

use edge_tests::client::{Client, Transport};
use edge_tests::collector::{Collector, Manner};
use edge_tests::edge::{Edge, edge, pooled};
use edge_tests::http1::Request;
use edge_tests::ports::free_port;
use edge_tests::witness::Witness;
use edge_tests::{Outcome, same, until};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use super::{CALLER, look, to};

#[tokio::test]
async fn without_an_endpoint_nothing_is_sent_and_nothing_is_written_into_calls() -> Outcome {
    let mut tasks = JoinSet::new();
    let collector = Collector::start(Manner::Takes, &mut tasks).await?;
    let witness = Witness::start(&mut tasks).await?;
    let off =
        edge().server("w", witness.server()).setting("tracing", json!({"sampler": "always_on"}));
    let off = off.start().await?;
    let client = Client::open(&off, Transport::Mcp, Some("w")).await?;
    let session = client.session_id().unwrap_or_default();
    let asked = Request::post("/mcp/w", look(5)).header("Mcp-Session-Id", session);
    let asked = asked.header("traceparent", CALLER).header("tracestate", "a=1");
    same("the answer", asked.reply(off.address).await?.status, 200)?;
    let heard = witness.last("tools/call")?;
    same("the caller's place", heard.header("traceparent"), Some(CALLER))?;
    same("and its state", heard.header("tracestate"), Some("a=1"))?;
    same("in headers only", heard.body.contains("_meta"), false)?;
    same(
        "plain",
        Request::post("/mcp/w", look(6))
            .header("Mcp-Session-Id", session)
            .reply(off.address)
            .await?
            .status,
        200,
    )?;
    same("no place, no header", witness.last("tools/call")?.header("traceparent"), None)?;
    let figures = Request::new("GET", "/metrics").reply(off.admin).await?.text();
    same("no span", figures.contains("mcp_gateway_spans_total{"), false)?;
    same("nothing was sent", collector.requests(), 0)
}

#[tokio::test]
async fn a_caller_that_does_not_record_has_no_spans_and_is_passed_on() -> Outcome {
    let mut tasks = JoinSet::new();
    let collector = Collector::start(Manner::Takes, &mut tasks).await?;
    let witness = Witness::start(&mut tasks).await?;
    let edge = edge().server("w", witness.server()).setting("tracing", to(&collector));
    let edge = edge.start().await?;
    let client = Client::open(&edge, Transport::Mcp, Some("w")).await?;
    let session = client.session_id().unwrap_or_default();
    let asked = Request::post("/mcp/w", look(5)).header("Mcp-Session-Id", session);
    let unrecorded = CALLER.replace("-01", "-00");
    let asked = asked.header("traceparent", &unrecorded);
    same("the answer", asked.reply(edge.address).await?.status, 200)?;
    let heard = witness.last("tools/call")?;
    let place = heard.header("traceparent").unwrap_or_default().to_owned();
    let (head, tail) =
        (unrecorded.get(..36).is_some_and(|it| place.starts_with(it)), place.ends_with("-00"));
    same(format!("still not recorded: {place}"), (head, tail), (true, true))?;
    // What comes after it is recorded, so it would have been there.
    let asked = Request::post("/mcp/w", look(6)).header("Mcp-Session-Id", session);
    asked.reply(edge.address).await?;
    collector.has("tools/call look").await?;
    let calls = collector.spans().into_iter().filter(|it| it.name == "tools/call look");
    same("spans of the other call only", calls.count(), 2)
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_no_time() -> Outcome {
    let mut tasks = JoinSet::new();
    let hangs = Collector::start(Manner::Hangs, &mut tasks).await?.endpoint();
    let refuses = Collector::start(Manner::Refuses, &mut tasks).await?.endpoint();
    let nobody = format!("http://127.0.0.1:{}", free_port()?);
    for endpoint in [hangs, refuses, nobody] {
        let tracing = json!({"endpoint": endpoint});
        let edge = edge().server("f", pooled()).setting("tracing", tracing).start().await?;
        let mut client = Client::open(&edge, Transport::Ws, Some("f")).await?;
        let mut slowest = Duration::ZERO;
        for number in 0..200 {
            let begun = Instant::now();
            client.call("echo", json!({"value": number})).await?;
            slowest = slowest.max(begun.elapsed());
        }
        // The collector is given five seconds; a call that waited for it would take as long.
        same(format!("{endpoint}: {slowest:?}"), slowest < Duration::from_secs(2), true)?;
        until("it is counted", || async {
            edge.figure("mcp_gateway_spans_total{outcome=\"failed\"}").await.is_ok_and(|it| it > 0)
        })
        .await?;
        until("it is told", || async { !edge.events("trace_export").is_empty() }).await?;
        same("once", edge.events("trace_export").len(), 1)?;
        ends_well(edge).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_last_spans_are_sent_before_the_end() -> Outcome {
    let mut tasks = JoinSet::new();
    let collector = Collector::start(Manner::Takes, &mut tasks).await?;
    let tracing = json!({"endpoint": collector.endpoint(), "headers": {"X-Tenant": "tests"}});
    let edge = edge().server("f", pooled()).setting("tracing", tracing).start().await?;
    let mut client = Client::open(&edge, Transport::Mcp, Some("f")).await?;
    client.call("echo", json!({"value": 1})).await?;
    ends_well(edge).await?;
    let names: Vec<_> = collector.spans().into_iter().map(|it| it.name).collect();
    let calls = names.iter().filter(|it| *it == "tools/call echo").count();
    same(format!("both are there: {names:?}"), calls, 2)?;
    let headers = collector.headers();
    let header = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    same("its header", header("x-tenant"), Some("tests"))?;
    same("its form", header("content-type"), Some("application/x-protobuf"))
}

async fn ends_well(mut edge: Edge) -> Outcome {
    edge.signal(Signal::SIGINT)?;
    let (status, took) = edge.ended().await?;
    same(format!("{status} after {took:?}"), status.success(), true)?;
    same(format!("{took:?}"), took < Duration::from_secs(15), true)
}
