//! Behind a proxy that strips a prefix.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::http1::Request;
use edge_tests::nginx::Nginx;
use edge_tests::{Outcome, same, within};
use serde_json::{Value, json};

#[tokio::test]
async fn a_client_below_a_prefix_posts_below_it() -> Outcome {
    for prefix in ["/edge", "/a/very-deep_one/v1.2~x"] {
        let fixture = edge().server("fixture", stdio()).setting("public_prefix", json!(prefix));
        let edge = fixture.start().await?;
        let nginx = Nginx::start(edge.address, prefix).await?;
        for path in ["/sse/fixture", "/fixture/sse", "/servers/fixture/sse"] {
            let path = format!("{prefix}{path}");
            let mut client =
                Client::open_at(nginx.address, Transport::Sse, &path, json!({})).await?;
            let endpoint = client.endpoint().unwrap_or_default().to_owned();
            let posted_below = endpoint.starts_with(&format!("{prefix}/messages?sessionId="));
            same(endpoint, posted_below, true)?;
            same(&path, client.call("echo", json!({})).await?.as_str(), "{}")?;
        }
        let path = format!("{prefix}/mcp/fixture");
        let mut client = Client::open_at(nginx.address, Transport::Mcp, &path, json!({})).await?;
        same(&path, client.call("echo", json!({})).await?.as_str(), "{}")?;
        let listed = Request::new("GET", &format!("{prefix}/servers/fixture"));
        let listed: Value = serde_json::from_str(&listed.reply(nginx.address).await?.text())?;
        let shown = listed.pointer("/endpoints/sse").cloned();
        same("the listing", shown, Some(json!(format!("{prefix}/sse/fixture"))))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_comes_through_a_proxy_that_buffers_and_is_taken_up_there() -> Outcome {
    let fixture = edge().server("fixture", stdio()).setting("public_prefix", json!("/edge"));
    let edge = fixture.start().await?;
    let nginx = Nginx::start(edge.address, "/edge").await?;
    let get = Request::stream("/edge/sse/fixture");
    let mut stream = get.send(nginx.address).await?;
    let first = within("the endpoint", stream.event()).await?.ok_or("the stream is empty")?;
    let id = first.id.ok_or("the first event has no id")?;
    drop(stream);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let posted = Request::post(&first.data, ping).reply(nginx.address).await?;
    same("POST", posted.status, 202)?;
    let mut stream = get.header("Last-Event-ID", &id).send(nginx.address).await?;
    let again = within("the endpoint", stream.event()).await?.ok_or("the stream is empty")?;
    same("the same session", again.data, first.data)?;
    let answer = within("the answer", stream.message()).await?.ok_or("no answer")?;
    same("the answer that was missed", answer.get("id").cloned(), Some(json!(1)))
}
