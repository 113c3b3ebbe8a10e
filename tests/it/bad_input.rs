//! Messages on HTTP+SSE whose stream is not there.

use edge_tests::Outcome;
use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::http1::Request;
use edge_tests::same;
use serde_json::json;

#[tokio::test]
async fn messages_of_streams_that_are_not_there() -> Outcome {
    let window = json!({"resume_window": "200ms"});
    let edge = edge().server("fixture", stdio()).setting("session", window).start().await?;
    let open = Client::open(&edge, Transport::Sse, Some("fixture")).await?;
    let endpoint = open.endpoint().unwrap_or_default().to_owned();
    let nameless = Request::post("/messages", PING).reply(edge.address).await?;
    same("70 no session while one is open", nameless.status, 400)?;
    drop(open);
    edge_tests::until("69 the closed stream is gone", || async {
        let posted = Request::post(&endpoint, PING).reply(edge.address).await;
        posted.is_ok_and(|reply| reply.status == 404)
    })
    .await
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
