//! Clients of every revision that begins with `initialize`, on servers that know only one of them.

use edge_tests::edge::{Edge, edge, puppet};
use edge_tests::http1::Request;
use edge_tests::troupe::{Strings, answer, troupe};
use edge_tests::{Outcome, same};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const REVISIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

#[tokio::test]
async fn every_client_meets_every_server() -> Outcome {
    let mut tasks = JoinSet::new();
    let mut building = edge();
    for revision in REVISIONS {
        let play = move |strings| play(strings, revision);
        let port = troupe(&mut tasks, play).await?;
        building = building.server(revision, json!({"command": puppet(port)}));
    }
    let edge = building.start().await?;
    for server in REVISIONS {
        for client in REVISIONS {
            meet(&edge, server, client).await?;
        }
    }
    Ok(())
}

/// A client that knows `client` and what came before it.
async fn meet(edge: &Edge, server: &str, client: &str) -> Outcome {
    let path = format!("/mcp/{server}");
    let params = json!({
        "protocolVersion": client,
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"}
    });
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    let reply = Request::post(&path, hello.to_string()).reply(edge.address).await?;
    let told = reply.message()?.pointer("/result/protocolVersion").cloned().unwrap_or_default();
    let what = format!("a client of {client} on a server of {server} is told");
    same(what, told.as_str(), Some(server.min(client)))?;
    let session = reply.header("mcp-session-id").unwrap_or_default().to_owned();
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "t"}});
    let with = |body: Value| {
        let request = Request::post(&path, body.to_string()).header("mcp-session-id", &session);
        request.header("mcp-protocol-version", told.as_str().unwrap_or_default())
    };
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    with(note).reply(edge.address).await?;
    let reply = with(call).reply(edge.address).await?;
    let said = reply.message()?.pointer("/result/content/0/text").cloned();
    same(format!("{client} on {server}"), said, Some(json!("done")))
}

/// A server that knows one revision.
async fn play(mut strings: Strings, revision: &'static str) {
    while let Some(message) = strings.hear().await {
        let Some(id) = message.get("id") else { continue };
        let line = if message.get("method") == Some(&json!("initialize")) {
            let result = json!({
                "protocolVersion": revision,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "puppet", "version": "1"}
            });
            json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
        } else {
            answer(&message, "done")
        };
        if !strings.say(format!("{line}\n").as_bytes()).await {
            return;
        }
    }
}
