//! What nginx answers by itself: hidden paths, limits, nobody there, and what was asked badly.

use std::fs;
use std::time::Duration;

use edge_tests::client::{Client, Transport};
use edge_tests::echo::echo;
use edge_tests::edge::edge;
use edge_tests::http1::{Incoming, Request};
use edge_tests::nginx::shipped;
use edge_tests::ports::free_port;
use edge_tests::{Outcome, same, until};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::is_fault;

const HIDDEN: [&str; 14] = [
    "/metrics",
    "/metrics/",
    "/metrics?a=b",
    "//metrics",
    "/./metrics",
    "/%6detrics",
    "/mcp/../metrics",
    "/mcp/%2e%2e/metrics",
    "/internal",
    "/internal/sessions",
    "/internal/hop/mcp",
    "/admin",
    "/admin/anything",
    "/_edge/error",
];

#[tokio::test]
async fn what_operators_and_replicas_use_is_not_there_from_outside() -> Outcome {
    let echo = echo().await?;
    let nginx = shipped(echo.address)?.start().await?;
    for path in HIDDEN {
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            let reply = Request::new(method, path).reply(nginx.http).await?;
            is_fault(&reply, 404, false).map_err(|fault| format!("{method} {path}: {fault}"))?;
        }
    }
    same("passed on", echo.seen().len(), 0)?;
    // Its own figures are on a port of their own.
    let status = Request::new("GET", "/nginx_status").reply(nginx.status).await?;
    same(status.text(), status.text().starts_with("Active connections: "), true)?;
    same("nothing else", Request::new("GET", "/").reply(nginx.status).await?.status, 404)?;
    let outside = Request::new("GET", "/nginx_status").reply(nginx.http).await?;
    same("not on the port of clients", outside.text().contains("Active"), false)
}

#[tokio::test]
async fn nobody_behind_is_told_in_the_form_of_the_path() -> Outcome {
    let nginx = shipped(format!("127.0.0.1:{}", free_port()?))?.start().await?;
    for (path, is_rpc) in [
        ("/mcp", true),
        ("/mcp/a?b=c", true),
        ("/a/mcp", true),
        ("/servers/a/mcp", true),
        ("/messages?sessionId=a", true),
        ("/sse", true),
        ("/ws/a", true),
        ("/", false),
        ("/servers", false),
        ("/servers/a", false),
        ("/health", false),
        ("/messages/a", false),
    ] {
        let reply = Request::post(path, "{}").reply(nginx.http).await?;
        is_fault(&reply, 502, is_rpc).map_err(|fault| format!("{path}: {fault}"))?;
        same("when to come back", reply.header("retry-after"), Some("1"))?;
        if is_rpc {
            let error = reply.message()?;
            same("code", reply.error_code(), Some(-31001))?;
            same("sent", error.pointer("/error/data/dispatched"), Some(&json!(false)))?;
            same("again", error.pointer("/error/data/retryable"), Some(&json!(true)))?;
            let after = error.pointer("/error/data/retryAfterMs");
            same("when", after, Some(&json!(1000)))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_browser_that_reconnects_is_told_to_come_once_more() -> Outcome {
    let nginx = shipped(format!("127.0.0.1:{}", free_port()?))?.start().await?;
    for path in ["/sse", "/sse/a", "/a/sse", "/servers/a/sse"] {
        is_fault(&Request::stream(path).reply(nginx.http).await?, 502, true)?;
        let mut again = Request::stream(path).header("Last-Event-ID", "1").send(nginx.http).await?;
        same("status", again.status, 200)?;
        same("type", again.header("content-type"), Some("text/event-stream"))?;
        let text = again.header("x-request-id").is_some();
        same("an id", text, true)?;
        // Nothing to take up, only when to come back.
        same("events", again.event().await?.map(|event| event.data), None)?;
        let again = Request::stream(path).header("Last-Event-ID", "1").reply(nginx.http).await?;
        same("when", again.text().starts_with("retry: 3000\n"), true)?;
    }
    // What is wrong with its request is not mended by another try.
    let bad = b"POST /sse HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 1\r\n\
        Transfer-Encoding: chunked\r\n\r\nnonsense\r\n";
    is_fault(&Incoming::to(nginx.http, bad).await?.reply().await?, 400, true)?;
    // On /mcp it is a client that reads the status.
    let resumed = Request::stream("/mcp").header("Last-Event-ID", "1");
    is_fault(&resumed.reply(nginx.http).await?, 502, true)
}

#[tokio::test]
async fn a_call_that_was_sent_is_not_sent_again_and_its_outcome_is_unknown() -> Outcome {
    let (one, two) = (echo().await?, echo().await?);
    let replicas = format!("{} {}", one.address, two.address);
    let nginx = shipped(replicas)?.start().await?;
    for number in 1..=4 {
        let reply = Request::post("/mcp/dies", "{}").reply(nginx.http).await?;
        is_fault(&reply, 502, true)?;
        same("sent once", one.seen().len() + two.seen().len(), number)?;
        let error = reply.message()?;
        same("code", reply.error_code(), Some(-31002))?;
        same("sent", error.pointer("/error/data/dispatched"), Some(&json!("unknown")))?;
        same("again", error.pointer("/error/data/retryable"), Some(&json!(false)))?;
        same("when", error.pointer("/error/data/retryAfterMs"), None)?;
        same("when", reply.header("retry-after"), None)?;
    }
    Ok(())
}

#[tokio::test]
async fn too_many_requests_and_too_many_streams_are_told_so() -> Outcome {
    let edge = edge().embedded().start().await?;
    let nginx = shipped(edge.address)?
        .variable("RATE_LIMIT", "1r/s")
        .variable("RATE_BURST", 5)
        .variable("CONNECTION_LIMIT", 2)
        .start()
        .await?;
    let mut refused = 0;
    for _ in 0..12 {
        let reply = Request::post("/mcp", "{}").reply(nginx.http).await?;
        if reply.status == 429 {
            is_fault(&reply, 429, true)?;
            same("code", reply.error_code(), Some(-31005))?;
            same("when to come back", reply.header("retry-after"), Some("1"))?;
            refused += 1;
        }
    }
    same(format!("{refused} refused"), (5..=7).contains(&refused), true)?;
    is_fault(&Request::new("GET", "/servers").reply(nginx.http).await?, 429, false)?;
    // Probes are not limited, and streams have a bucket of their own.
    for _ in 0..20 {
        for path in ["/health", "/health/live", "/health/ready"] {
            same(path, Request::new("GET", path).reply(nginx.http).await?.status, 200)?;
        }
    }
    // What is below them, or begins like them, is no probe.
    for path in ["/health/mcp", "/health/", "/health/live/", "/health/messages", "/healthcare/mcp"]
    {
        let asking = (0..12).map(|_| async { Request::new("GET", path).reply(nginx.http).await });
        let replies = try_join_all(asking);
        let is_limited = replies.await?.iter().any(|it| it.status == 429);
        same(format!("{path} is limited"), is_limited, true)?;
    }
    let mut open = Vec::new();
    for _ in 0..2 {
        let stream = Request::stream("/sse").send(nginx.http).await?;
        same("a stream", stream.status, 200)?;
        open.push(stream);
    }
    let third = Request::stream("/sse").reply(nginx.http).await?;
    is_fault(&third, 429, true)?;
    // One that ends makes room.
    open.pop();
    until("there is room", || async {
        // The bucket of /sse has a burst of five, and is asked no more than twice a second.
        tokio::time::sleep(Duration::from_millis(600)).await;
        Request::stream("/sse").send(nginx.http).await.is_ok_and(|it| it.status == 200)
    })
    .await
}

#[tokio::test]
async fn bodies_may_be_as_long_as_the_gateway_takes_them() -> Outcome {
    let echo = echo().await?;
    let nginx = shipped(echo.address)?.start().await?;
    let most = vec![b' '; 4 << 20];
    same("4 MiB", Request::post("/mcp", most.clone()).reply(nginx.http).await?.status, 200)?;
    let seen = echo.seen().pop().ok_or("nothing was passed on")?;
    same("all of it", seen.body.len(), 4 << 20)?;
    let over = Request::post("/mcp", [most, vec![b' ']].concat()).reply(nginx.http).await?;
    is_fault(&over, 413, true)?;
    same("code", over.error_code(), Some(-31010))?;
    same("passed on", echo.seen().len(), 1)?;
    // The length of chunks is known only as they come.
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bytes = format!("{head}{}", chunk.repeat(6));
    let incoming = Incoming::to(nginx.http, bytes.as_bytes()).await?;
    is_fault(&incoming.reply().await?, 413, true)
}

#[tokio::test]
async fn bodies_and_answers_need_no_room_in_files() -> Outcome {
    let echo = echo().await?;
    let nginx = shipped(echo.address)?.start().await?;
    for folder in ["client_body", "proxy"] {
        fs::remove_dir_all(nginx.folder().join("run").join(folder))?;
    }
    for path in ["/anything", "/health", "/servers", "/mcp", "/messages?sessionId=a"] {
        let reply = Request::post(path, vec![b' '; 2 << 20]).reply(nginx.http).await?;
        same(path, reply.status, 200)?;
        let seen = echo.seen().pop().ok_or("nothing was passed on")?;
        same("all of it", seen.body.len(), 2 << 20)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_gateways_own_refusals_pass_as_they_are() -> Outcome {
    let edge = edge().embedded().start().await?;
    let nginx = shipped(edge.address)?.start().await?;
    for request in [
        Request::post("/mcp", "{"),
        Request::new("PUT", "/mcp"),
        Request::new("GET", "/nothing"),
        Request::new("GET", "/ws"),
        Request::post("/mcp", "{}").header("Origin", "https://evil.example"),
        Request::post("/messages?sessionId=none", "{}"),
    ] {
        let direct = request.reply(edge.address).await?;
        let through = request.reply(nginx.http).await?;
        same("status", through.status, direct.status)?;
        // The two differ in nothing but the id of the request.
        let code = |text: &str| -> Option<Value> {
            let body: Value = serde_json::from_str(text).ok()?;
            body.pointer("/error/code").cloned()
        };
        same(through.text(), code(&through.text()), code(&direct.text()))?;
        same("allow", through.header("allow"), direct.header("allow"))?;
    }
    // So does a preflight: CORS is the gateway's alone.
    let preflight = Request::new("OPTIONS", "/mcp")
        .header("Origin", "http://localhost:5173")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "mcp-param-a_b");
    let reply = preflight.reply(nginx.http).await?;
    same("the origin", reply.header("access-control-allow-origin").is_some(), true)?;
    let mut client = Client::open(nginx.http, Transport::Mcp, None).await?;
    let listed = client.request("tools/list", json!({})).await?;
    same("a session", listed.get("result").is_some(), true)
}
