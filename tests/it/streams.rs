//! What every event stream owes the proxies between it and its client.

use std::time::{Duration, Instant};

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{Edge, edge, stdio};
use edge_tests::http1::Request;
use edge_tests::{Fault, Outcome, same};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Well below the first keep-alive: what comes sooner was not waited for.
const AT_ONCE: Duration = Duration::from_secs(8);
/// The keep-alive of 15 s, and a little for the machine.
const KEEP_ALIVE: Duration = Duration::from_secs(19);

/// The heads of requests that open a stream each, one of every kind.
async fn heads(edge: &Edge) -> Result<Vec<String>, Fault> {
    let client = Client::open(edge, Transport::Mcp, Some("fixture")).await?;
    let with_id = format!("Mcp-Session-Id: {}\r\n", client.session_id().ok_or("no session")?);
    // A revision whose streams do not begin with an event.
    let old = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"#;
    let old = format!(
        r#"{old}"2025-03-26","capabilities":{{}},"clientInfo":{{"name":"a","version":"1"}}}}}}"#
    );
    let old = Request::post("/mcp/fixture", old).send(edge.address).await?;
    let old = format!("Mcp-Session-Id: {}\r\n", old.header("mcp-session-id").ok_or("no session")?);
    let get = |path: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{more}\r\n")
    };
    Ok(vec![
        get("/sse", ""),
        get("/sse/fixture", ""),
        get("/servers/fixture/sse", ""),
        get("/mcp/fixture", &with_id),
        get("/mcp/fixture", &old),
    ])
}

#[tokio::test]
async fn the_first_bytes_of_a_stream_come_at_once_with_the_right_head() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for head in heads(&edge).await? {
        let mut socket = TcpStream::connect(edge.address).await?;
        socket.write_all(head.as_bytes()).await?;
        let is_begun =
            |text: &str| text.split_once("\r\n\r\n").is_some_and(|it| it.1.contains("\n\n"));
        let text = read_until(&mut socket, AT_ONCE, is_begun).await?.to_lowercase();
        for line in [
            "http/1.1 200 ok",
            "content-type: text/event-stream",
            "x-accel-buffering: no",
            "cache-control: no-cache, no-store, no-transform",
        ] {
            let has = text.contains(&format!("{line}\r\n"));
            same(format!("{line} in {text} for {head}"), has, true)?;
        }
        same(format!("no length in {text}"), text.contains("content-length"), false)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_with_comments() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut sockets = Vec::new();
    for head in heads(&edge).await? {
        let mut socket = TcpStream::connect(edge.address).await?;
        socket.write_all(head.as_bytes()).await?;
        let is_begun =
            |text: &str| text.split_once("\r\n\r\n").is_some_and(|it| it.1.contains("\n\n"));
        read_until(&mut socket, AT_ONCE, is_begun).await?;
        sockets.push((head, socket, Instant::now()));
    }
    for (head, socket, begun) in &mut sockets {
        let left = KEEP_ALIVE.saturating_sub(begun.elapsed());
        let text = read_until(socket, left, |text| text.contains(":\n\n")).await?;
        same(format!("{text:?} for {head}"), text.contains("data:"), false)?;
    }
    Ok(())
}

/// What comes until `is_enough`, within `limit`.
async fn read_until(
    socket: &mut TcpStream,
    limit: Duration,
    is_enough: impl Fn(&str) -> bool,
) -> Result<String, Fault> {
    let mut text = String::new();
    let reading = async {
        while !is_enough(&text) {
            let mut bytes = [0; 4096];
            let count = socket.read(&mut bytes).await?;
            if count == 0 {
                return Err(Fault::from("the stream ended"));
            }
            text.push_str(&String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()));
        }
        Ok(())
    };
    let outcome = tokio::time::timeout(limit, reading).await;
    match outcome {
        Ok(read) => read.map(|()| text),
        Err(_elapsed) => Err(format!("not within {limit:?}, only {text:?}").into()),
    }
}
