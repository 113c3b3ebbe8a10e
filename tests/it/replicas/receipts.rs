//! What a POST to `/messages` is answered with while Redis is away: clients of this transport post
//! one message after the other, and give up at the first that is refused.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use edge_tests::client::{Client, Transport};
use edge_tests::http1::{Incoming, Request};
use edge_tests::proxy::Weather;
use edge_tests::{Fault, Outcome, same, until, within};
use serde_json::{Value, json};

use super::{STORE_UNAVAILABLE, Stage, answer, append, refusal, text};

/// Less than a message is held for.
const SOON: Duration = Duration::from_secs(5);
/// More than that, and less than what follows it takes.
const HELD: Duration = Duration::from_millis(8_500);

async fn client(stage: &Stage) -> Result<Client, Fault> {
    let able = json!({"sampling": {}});
    Client::open_able(stage.address(0)?, Transport::Sse, Some("fixture"), able).await
}

#[tokio::test]
async fn a_client_is_asked_and_answers_while_redis_is_away() -> Outcome {
    let mut stage = Stage::set().await?;
    let mut client = client(&stage).await?;
    stage.replicas.redis.kill().await?;
    let begun = Instant::now();
    // The client says nothing more before this is acknowledged.
    let params = json!({"name": "test_sampling", "arguments": {"prompt": "2 + 2"}});
    let id = client.begin("tools/call", params).await?;
    let ask = client.message().await?;
    same("a question", ask.get("method"), Some(&json!("sampling/createMessage")))?;
    let said = json!({"role": "assistant", "content": {"type": "text", "text": "4"}, "model": "m"});
    client.send(json!({"jsonrpc": "2.0", "id": ask.get("id"), "result": said})).await?;
    let answer = client.answer(&json!(id)).await?;
    same(format!("{answer}"), text(&answer)?.contains('4'), true)?;
    let took = begun.elapsed();
    println!("asked and answered in {} ms", took.as_millis());
    same(format!("{took:?}"), took < SOON, true)
}

#[tokio::test]
async fn a_long_call_is_acknowledged_and_a_refused_one_holds_nobody_up() -> Outcome {
    let mut stage = Stage::set().await?;
    let mut client = client(&stage).await?;
    stage.replicas.redis.kill().await?;
    let begun = Instant::now();
    let params = json!({"name": "slow", "arguments": {"ms": 9_000, "steps": 9}});
    let id = client.begin("tools/call", params).await?;
    println!("acknowledged after {} ms", begun.elapsed().as_millis());
    same(format!("{:?}", begun.elapsed()), begun.elapsed() < HELD, true)?;
    same("the answer", text(&client.answer(&json!(id)).await?)?, "slept 9000 ms")?;
    // By now the session may be another replica's; its client hears of that, and goes on.
    let begun = Instant::now();
    let note = json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"});
    client.send(note).await?;
    let params = json!({"name": "echo", "arguments": {}});
    let refused = client.request("tools/call", params.clone()).await?;
    same(format!("{refused}"), refusal(&refused), (Some(STORE_UNAVAILABLE), json!(false)))?;
    let took = begun.elapsed();
    println!("refused after {} ms", took.as_millis());
    same(format!("{took:?}"), took < SOON, true)?;
    stage.replicas.redis.start().await?;
    within("it is served again", async {
        while client.request("tools/call", params.clone()).await?.get("error").is_some() {}
        Ok::<(), Fault>(())
    })
    .await
}

/// The stream of a session, up to its first event; the address that messages are posted to.
async fn stream(
    at: SocketAddr,
    last_id: Option<&str>,
) -> Result<(Incoming, String, String), Fault> {
    let request = Request::stream("/sse/ledger");
    let request = last_id.into_iter().fold(request, |it, id| it.header("Last-Event-ID", id));
    let mut stream = request.send(at).await?;
    let first = within("the endpoint", stream.event()).await?.ok_or("no event")?;
    same("the first event", first.event.as_deref(), Some("endpoint"))?;
    Ok((stream, first.data.to_string(), first.id.ok_or("no id")?.to_string()))
}

#[tokio::test]
async fn a_message_whose_refusal_nobody_would_hear_is_refused_itself() -> Outcome {
    let stage = Stage::set().await?;
    let (first, second) = (stage.address(0)?, stage.address(1)?);
    let (mut attached, endpoint, id) = stream(first, None).await?;
    let post = |message: Value| Request::post(&endpoint, message.to_string());
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "edge-tests", "version": "1"}
    }});
    same("initialize", post(hello).reply(first).await?.status, 202)?;
    answer(&mut attached, 0, &mut Vec::new()).await?;
    stage.replicas.at(0)?.proxy.set(Weather::Hole);
    drop(attached);
    // As long as nobody else can have the session, its client comes back to it.
    until("it is refused", || async {
        let call = append(1, "refused", &json!({}));
        let Ok(reply) = post(call).reply(first).await else { return false };
        let told = reply.message().map(|it| refusal(&it)).unwrap_or_default();
        reply.status == 503 && told == (Some(STORE_UNAVAILABLE), json!(false))
    })
    .await?;
    let before = stage.runs("refused")?;
    let begun = Instant::now();
    let reply = post(append(2, "late", &json!({}))).reply(first).await?;
    same(format!("status of {}", reply.text()), reply.status, 503)?;
    same("at once", begun.elapsed() < SOON, true)?;
    // Another replica goes on, and what was refused never ran.
    let (mut taken_up, again, _) = stream(second, Some(&id)).await?;
    same("the same session", again, endpoint.clone())?;
    same("a call", post(append(3, "after", &json!({}))).reply(second).await?.status, 202)?;
    let after = answer(&mut taken_up, 3, &mut Vec::new()).await?;
    same("its answer", text(&after)?, "after")?;
    same("what was refused", (stage.runs("refused")?, stage.runs("late")?), (before, 0))
}
