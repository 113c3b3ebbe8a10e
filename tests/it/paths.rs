//! Every path a server is reached at, whichever proxy its users came from.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::http1::Request;
use edge_tests::{Outcome, same};
use serde_json::json;

/// The ways to name a server, for one transport.
fn paths(transport: Transport, server: &str) -> [String; 3] {
    let name = transport.name();
    [format!("/{name}/{server}"), format!("/{server}/{name}"), format!("/servers/{server}/{name}")]
}

#[tokio::test]
async fn a_server_is_reached_by_every_name_of_its_path() -> Outcome {
    let edge = edge().server("fixture", stdio()).server("other", stdio()).start().await?;
    for transport in Transport::ALL {
        for path in paths(transport, "fixture") {
            let mut client = Client::open_at(&edge, transport, &path, json!({})).await?;
            let said = client.call("echo", json!({"at": path})).await?;
            same(&path, said, json!({"at": path}).to_string())?;
            let endpoint = client.endpoint().unwrap_or("/messages?sessionId=");
            same(endpoint, endpoint.starts_with("/messages?sessionId="), true)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_session_is_known_at_every_path_of_its_server_and_at_no_other() -> Outcome {
    let edge = edge().server("fixture", stdio()).server("other", stdio()).start().await?;
    let client = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    let session = client.session_id().ok_or("no session")?;
    for (server, wanted) in [("fixture", 200), ("other", 404)] {
        for path in paths(Transport::Mcp, server) {
            let ping = Request::post(&path, PING).header("Mcp-Session-Id", session);
            same(&path, ping.reply(edge.address).await?.status, wanted)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_server_gets_the_same_answer_at_every_path() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for id in ["nowhere", "health"] {
        let mut said = Vec::new();
        let mcp = paths(Transport::Mcp, id).map(|path| Request::post(&path, INITIALIZE));
        let sse = paths(Transport::Sse, id).map(|path| Request::stream(&path));
        let ws = paths(Transport::Ws, id).map(|path| upgrade(&path));
        for request in mcp.into_iter().chain(sse).chain(ws) {
            let reply = request.reply(edge.address).await?;
            same(format!("{request:?}"), reply.status, 404)?;
            let message = reply.message()?;
            let error = message.get("error").cloned().unwrap_or_default();
            said.push((error.get("code").cloned(), error.get("message").cloned()));
        }
        said.dedup();
        same(format!("answers for {id}: {said:?}"), said.len(), 1)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones_at_every_path() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for transport in Transport::ALL {
        let (allowed, wrong) = match transport {
            Transport::Mcp => ("GET, POST, DELETE", ["PUT", "HEAD"]),
            Transport::Sse | Transport::Ws => ("GET", ["POST", "HEAD"]),
        };
        for path in paths(transport, "fixture") {
            for method in wrong {
                let reply = Request::new(method, &path).send(edge.address).await?;
                same(format!("{method} {path}"), reply.status, 405)?;
                same(format!("{method} {path}"), reply.header("allow"), Some(allowed))?;
            }
        }
    }
    Ok(())
}

fn upgrade(path: &str) -> Request {
    Request::new("GET", path)
        .header("Connection", "upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","#,
    r#""capabilities":{},"clientInfo":{"name":"edge-tests","version":"1.0.0"}}}"#
);
