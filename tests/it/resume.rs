//! A stream that broke is taken up where it ended, and its answer is not lost.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, stdio};
use edge_tests::http1::{Incoming, Request};
use edge_tests::{Fault, Outcome, same, within};
use serde_json::{Value, json};

const PATH: &str = "/mcp/fixture";

#[tokio::test]
async fn an_answer_is_replayed_after_the_stream_broke() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let client = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    let session = client.session_id().ok_or("no session")?.to_owned();
    let call = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {
        "name": "slow",
        "arguments": {"ms": 600, "steps": 3},
        "_meta": {"progressToken": "p"}
    }});
    let post = Request::post(PATH, call.to_string());
    let mut stream = with_session(post, &session).send(edge.address).await?;
    let first = within("the first event", stream.event()).await?.ok_or("no event")?;
    same("a priming event has no data", first.data.as_ref(), "")?;
    let priming = first.id.ok_or("a priming event has an id")?;
    drop(stream);

    let mut resumed = resume(edge.address, &session, &priming).await?;
    same("status of the resumed stream", resumed.status, 200)?;
    let (mut ids, mut seen) = (vec![priming.to_string()], Vec::new());
    let answer = within("the answer", async {
        while let Some(event) = resumed.event().await? {
            ids.extend(event.id.map(|id| id.to_string()));
            if event.data.is_empty() {
                continue;
            }
            let message: Value = serde_json::from_str(&event.data)?;
            if message.get("id") == Some(&json!(9)) {
                return Ok(message);
            }
            seen.push(message);
        }
        Err(Fault::from("the stream ended without the answer"))
    })
    .await?;
    let said = answer.pointer("/result/content/0/text").and_then(Value::as_str);
    same("the answer", said, Some("slept 600 ms"))?;
    same("progress that was missed", seen.len(), 4)?;
    let mut once = ids.clone();
    once.sort();
    once.dedup();
    same("no event id twice", once.len(), ids.len())?;

    // Once more from the start: the log gives the same again, the call does not run again.
    let mut again =
        resume(edge.address, &session, &ids.first().cloned().unwrap_or_default()).await?;
    let first = within("the replay", again.message()).await?.ok_or("an empty replay")?;
    let said = first.pointer("/params/message").and_then(Value::as_str);
    same("the replay begins at the beginning", said, Some("step 0 of 3"))
}

#[tokio::test]
async fn an_event_id_of_another_session_replays_nothing() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    let mine = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    let theirs = Client::open(&edge, Transport::Mcp, Some("fixture")).await?;
    let (mine, theirs) = (
        mine.session_id().ok_or("no session")?.to_owned(),
        theirs.session_id().ok_or("no session")?.to_owned(),
    );
    let call = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {
        "name": "slow", "arguments": {"ms": 1, "steps": 1}, "_meta": {"progressToken": 1}
    }});
    let post = with_session(Request::post(PATH, call.to_string()), &mine);
    let mut stream = post.send(edge.address).await?;
    let first = within("the first event", stream.event()).await?.ok_or("no event")?;
    let id = first.id.ok_or("a priming event has an id")?;
    while within("the stream", stream.event()).await?.is_some() {}

    let stolen = resume(edge.address, &theirs, &id).await?;
    if stolen.status != 200 {
        return same("refused", (400..500).contains(&stolen.status), true);
    }
    let mut stolen = stolen;
    let waited = tokio::time::timeout(std::time::Duration::from_millis(500), stolen.event()).await;
    let Ok(Ok(Some(event))) = waited else { return Ok(()) };
    same(format!("{event:?}"), event.data.contains("slept"), false)
}

fn with_session(request: Request, session: &str) -> Request {
    request.header("Mcp-Session-Id", session).header("MCP-Protocol-Version", "2025-11-25")
}

async fn resume(
    address: std::net::SocketAddr,
    session: &str,
    last_event_id: &str,
) -> Result<Incoming, Fault> {
    with_session(Request::stream(PATH), session)
        .header("Last-Event-ID", last_event_id)
        .send(address)
        .await
}
