//! One id names a request in the answer, its headers and the log, on whichever replica.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::http1::{Reply, Request};
use edge_tests::replicas::replicas;
use edge_tests::{Fault, Outcome, same, until};
use serde_json::{Value, json};

/// The id in a reply's header, which has to be there.
fn id_of(reply: &Reply) -> Result<&str, Fault> {
    Ok(reply.header("x-request-id").ok_or("no X-Request-Id")?)
}

#[tokio::test]
async fn an_error_its_header_and_its_log_line_have_one_id() -> Outcome {
    let edge = edge().server("f", stdio()).start().await?;
    for (path, body, place) in [
        ("/mcp/f", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "/error/data/requestId"),
        ("/mcp/f", "{", "/error/data/requestId"),
        ("/nowhere", "{}", "/error/requestId"),
    ] {
        // Nobody in front is trusted, so the client cannot say what its request is called.
        let request = Request::post(path, body).header("X-Request-Id", "mine-mine-mine");
        let reply = request.reply(edge.address).await?;
        let id = id_of(&reply)?.to_owned();
        same(format!("ours: {id}"), id.len() == 16 && !id.contains("mine"), true)?;
        let told = reply.message()?;
        same(path, told.pointer(place).and_then(Value::as_str), Some(id.as_str()))?;
        if place.contains("data") {
            let in_log = || {
                edge.events("refused")
                    .into_iter()
                    .any(|it| it.get("request_id") == Some(&json!(id)))
            };
            until("it is in the log", || async { in_log() }).await?;
        }
    }
    let good = edge.get("/health").await?;
    same("a good answer has one", id_of(&good)?.len(), 16)?;
    same("another one", id_of(&good)? == id_of(&edge.get("/health").await?)?, false)
}

#[tokio::test]
async fn the_messages_of_a_socket_have_ids_of_their_own() -> Outcome {
    let edge = edge().server("f", stdio()).start().await?;
    let mut client = Client::open(&edge, Transport::Ws, Some("f")).await?;
    let mut ids = Vec::new();
    for _ in 0..2 {
        client.send_text("{".to_owned()).await?;
        let message = client.message().await?;
        let id = message.pointer("/error/data/requestId").and_then(Value::as_str);
        ids.push(id.ok_or("no requestId")?.to_owned());
    }
    let parts: Vec<_> = ids.iter().filter_map(|id| id.rsplit_once('-')).collect();
    let [(one, first), (other, second)] = parts.as_slice() else {
        return Err(format!("not of a connection: {ids:?}").into());
    };
    same("one connection", one, other)?;
    same("in turn", second.parse::<u64>()?, first.parse::<u64>()? + 1)
}

#[tokio::test]
async fn a_request_keeps_its_id_on_the_way_to_another_replica() -> Outcome {
    let replicas = replicas(2, edge().server("f", stdio())).await?;
    let addresses = replicas.addresses();
    let [first, second] = addresses.as_slice() else { return Err("two of them".into()) };
    let client = Client::open(*first, Transport::Mcp, Some("f")).await?;
    let initialize = json!({"jsonrpc": "2.0", "id": 4, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"}}});
    // No second initialize is taken in a session; the owner says so.
    let session = client.session_id().unwrap_or_default();
    let params = json!({"_meta": {"progressToken": []}});
    let no_such = json!({"jsonrpc": "2.0", "id": 4, "method": "ping", "params": params});
    let request = Request::post("/mcp/f", no_such.to_string()).header("Mcp-Session-Id", session);
    let reply = request.reply(*second).await?;
    let id = id_of(&reply)?.to_owned();
    let told = reply.message()?;
    let named = told.pointer("/error/data/requestId").and_then(Value::as_str);
    same(format!("the owner's error: {told}"), named, Some(id.as_str()))?;
    let owner = replicas.at(0)?.edge()?;
    let in_log = || {
        let lines = owner.events("refused").into_iter();
        lines.filter(|it| it.get("request_id") == Some(&json!(id))).count()
    };
    until("it is in the owner's log", || async { in_log() == 1 }).await?;
    drop(initialize);
    Ok(())
}

#[tokio::test]
async fn an_exchange_is_told_of_where_that_is_asked_for() -> Outcome {
    let quiet = edge().server("f", stdio()).start().await?;
    quiet.get("/health").await?;
    let loud = edge().server("f", stdio()).variable("LOG_LEVEL", "info,access=debug");
    let loud = loud.start().await?;
    let mut client = Client::open(&loud, Transport::Sse, Some("f")).await?;
    client.call("echo", json!({"value": "hidden-argument"})).await?;
    let reply = loud.get("/health?hidden=query").await?;
    let id = id_of(&reply)?.to_owned();
    let lines = |edge: &edge_tests::edge::Edge| {
        let log = edge.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|it| it.get("target") == Some(&json!("access"))).collect::<Vec<_>>()
    };
    let found = || lines(&loud).into_iter().find(|it| it.get("request_id") == Some(&json!(id)));
    until("the line", || async { found().is_some() }).await?;
    let line = found().ok_or("it was there")?;
    for (name, value) in [
        ("method", json!("GET")),
        ("endpoint", json!("health")),
        ("status", json!(200)),
        ("bytes", json!(reply.text().len())),
        ("client", json!("127.0.0.1")),
    ] {
        same(name, line.get(name), Some(&value))?;
    }
    same("how long", line.get("duration_ms").and_then(Value::as_f64).is_some(), true)?;
    let endpoint = client.endpoint().ok_or("no endpoint")?.to_owned();
    let session = endpoint.split_once('=').map_or("", |(_, id)| id);
    let log = loud.log();
    for hidden in ["hidden", session] {
        same(hidden, log.contains(hidden), false)?;
    }
    same("nothing by itself", lines(&quiet).len(), 0)
}
