//! B, `/messages`: what is posted to no stream.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::http1::{Reply, Request};
use edge_tests::{Fault, Outcome, same, until};
use serde_json::json;

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[tokio::test]
async fn row_69_messages_to_a_stream_that_was_closed_are_404() -> Outcome {
    let window = json!({"resume_window": "200ms"});
    let edge = edge().server("fixture", stdio()).setting("session", window).start().await?;
    let client = Client::open(&edge, Transport::Sse, Some("fixture")).await?;
    let endpoint = client.endpoint().ok_or("no endpoint")?.to_owned();
    let post = Request::post(&endpoint, PING);
    same("while it is open", post.reply(edge.address).await?.status, 202)?;
    drop(client);
    until("it is gone", || async {
        edge.figure("mcp_gateway_sessions").await.is_ok_and(|sessions| sessions == 0)
    })
    .await?;
    let closed = post.reply(edge.address).await?;
    is_unknown(&closed)?;
    let never = Request::post("/messages?sessionId=never", PING).reply(edge.address).await?;
    is_unknown(&never)
}

#[tokio::test]
async fn row_70_messages_without_a_session_are_never_guessed_to_be_the_only_ones() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mut client = Client::open(&edge, Transport::Sse, Some("fixture")).await?;
    for path in
        ["/messages", "/messages?", "/messages?session=x", "/messages?sessionId=a&sessionId=b"]
    {
        let reply = Request::post(path, PING).reply(edge.address).await?;
        same(path, (reply.status, reply.error_code()), (400, Some(-32600)))?;
        let dispatched = reply.message()?.pointer("/error/data/dispatched").cloned();
        same("dispatched", dispatched, Some(json!(false)))?;
    }
    let empty = Request::post("/messages?sessionId=", PING).reply(edge.address).await?;
    is_unknown(&empty)?;
    client.call("echo", json!({})).await?;
    let answers = client.told.iter().filter(|told| told.get("method").is_none()).count();
    same("the only session heard nothing of it", answers, 0)
}

fn is_unknown(reply: &Reply) -> Result<(), Fault> {
    same("status", (reply.status, reply.error_code()), (404, Some(-32600)))?;
    let message = reply.message()?.pointer("/error/message").cloned();
    same(
        "text",
        message,
        Some(json!("Session not found; open another one: initialize on /mcp, or GET /sse")),
    )
}
