//! Any replica serves any session.

use std::collections::BTreeSet;

use edge_tests::client::{Client, Transport};
use edge_tests::front::front;
use edge_tests::http1::Request;
use edge_tests::modern::Ask;
use edge_tests::{Outcome, same, until, within};
use serde_json::{Value, json};

use super::{Stage, answer, append, text};

#[tokio::test]
async fn every_replica_serves_a_session_and_one_process_serves_it_everywhere() -> Outcome {
    let stage = Stage::set().await?;
    for transport in [Transport::Mcp, Transport::Sse] {
        for server in ["ledger", "web"] {
            let mut client = Client::open(stage.address(0)?, transport, Some(server)).await?;
            for round in 0..4 {
                for (number, address) in stage.replicas.addresses().into_iter().enumerate() {
                    client.go_to(address);
                    let uuid = format!("{}-{server}-{round}-{number}", transport.name());
                    let said = client.call("append", json!({"uuid": uuid})).await?;
                    same("the answer", said, uuid)?;
                }
            }
        }
    }
    let lines = stage.lines()?;
    same("each ran once", lines.len(), 2 * 2 * 4 * 3)?;
    let of_stdio = lines.iter().filter(|line| line.uuid.contains("-ledger-"));
    let processes: BTreeSet<u32> = of_stdio.map(|line| line.pid).collect();
    same("a process a session", processes.len(), 2)
}

#[tokio::test]
async fn a_balancer_without_stickiness_is_not_noticed() -> Outcome {
    let stage = Stage::set().await?;
    let front = front(&stage.replicas.addresses()).await?;
    until("all are ready", || async { front.ready() == 3 }).await?;
    for transport in Transport::ALL {
        let mut client = Client::open(&front, transport, Some("fixture")).await?;
        client.listen().await?;
        for number in 0..20 {
            let said = client.call("echo", json!({"value": number})).await?;
            same("the echo", said.contains(&number.to_string()), true)?;
        }
        let slow = client.call("slow", json!({"ms": 400, "steps": 2})).await?;
        same("a stream", slow.as_str(), "slept 400 ms")?;
        client.end().await?;
    }
    same("all were sent", (front.unsent(), front.broken()), (0, 0))
}

#[tokio::test]
async fn what_a_server_says_unasked_comes_wherever_the_client_listens() -> Outcome {
    let stage = Stage::set().await?;
    let mut client = Client::open(stage.address(0)?, Transport::Mcp, Some("fixture")).await?;
    client.go_to(stage.address(1)?);
    client.listen().await?;
    client.go_to(stage.address(2)?);
    client.call("change_lists", json!({"on": true})).await?;
    let told = |client: &Client| {
        client.told.iter().any(|it| {
            it.get("method").and_then(Value::as_str) == Some("notifications/tools/list_changed")
        })
    };
    while !told(&client) {
        let message = client.message().await?;
        client.told.push(message);
    }
    Ok(())
}

#[tokio::test]
async fn a_server_is_answered_through_another_replica_than_it_asked_through() -> Outcome {
    let stage = Stage::set().await?;
    for transport in [Transport::Mcp, Transport::Sse] {
        let able = json!({"elicitation": {}});
        let mut client =
            Client::open_able(stage.address(0)?, transport, Some("fixture"), able).await?;
        client.go_to(stage.address(1)?);
        let params = json!({"name": "test_elicitation", "arguments": {"message": "who?"}});
        let id = client.begin("tools/call", params).await?;
        let asked = loop {
            let message = client.message().await?;
            if message.get("method").and_then(Value::as_str) == Some("elicitation/create") {
                break message;
            }
        };
        client.go_to(stage.address(2)?);
        let content = json!({"username": "ann", "email": "ann@example.com"});
        let said = json!({"jsonrpc": "2.0", "id": asked.get("id"), "result": {
            "action": "accept", "content": content
        }});
        // A response is taken in without an answer of its own.
        let _no_answer = client.send(said).await;
        let answer = client.answer(&json!(id)).await?;
        same(transport.name(), text(&answer)?.contains("ann@example.com"), true)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_is_taken_up_on_any_replica() -> Outcome {
    let stage = Stage::set().await?;
    for (number, server) in ["ledger", "web"].into_iter().enumerate() {
        let session = stage.session(number, server).await?;
        for (id, address) in (10_u64..).zip(stage.replicas.addresses()) {
            let uuid = format!("{server}-{id}");
            let call = session.post(&append(id, &uuid, &json!({"ms": 700})));
            let mut stream = call.send(address).await?;
            let first = within("the first event", stream.event()).await?.ok_or("no event")?;
            let priming = first.id.ok_or("no id")?.to_string();
            drop(stream);
            for address in stage.replicas.addresses() {
                let mut ids = vec![priming.clone()];
                let mut again = session.resume(address, &priming).await?;
                same("status", again.status, 200)?;
                same("the answer", text(&answer(&mut again, id, &mut ids).await?)?, &uuid)?;
                let once: BTreeSet<&String> = ids.iter().collect();
                same("no event twice", once.len(), ids.len())?;
            }
            same("it ran once", stage.runs(&uuid)?, 1)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_event_source_comes_back_to_any_replica() -> Outcome {
    let stage = Stage::set().await?;
    let mut stream = Request::stream("/sse/ledger").send(stage.address(0)?).await?;
    let first = within("the endpoint", stream.event()).await?.ok_or("no event")?;
    let endpoint = first.data.to_string();
    let mut last_id = first.id.ok_or("no id")?.to_string();
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2024-11-05", "capabilities": {},
        "clientInfo": {"name": "edge-tests", "version": "1"}
    }});
    let mut messages = vec![hello];
    messages.extend((1..10).map(|id| append(id, &format!("u-{id}"), &json!({"ms": id * 20}))));
    let addresses = stage.replicas.addresses();
    for ((id, message), at) in (0_u64..).zip(&messages).zip(addresses.iter().cycle().skip(1)) {
        let posted = Request::post(&endpoint, message.to_string()).reply(*at).await?;
        same(format!("POST {}", posted.text()), posted.status, 202)?;
        // What was on its way is lost with the stream.
        drop(stream);
        let come_back = Request::stream("/sse/ledger").header("Last-Event-ID", &last_id);
        stream = come_back.send(*at).await?;
        let again = within("the endpoint", stream.event()).await?.ok_or("no event")?;
        same("the session is the same", again.data.as_ref(), endpoint.as_str())?;
        let mut ids = Vec::new();
        answer(&mut stream, id, &mut ids).await?;
        last_id = ids.pop().ok_or("an answer without an id")?;
    }
    same("each ran once", stage.lines()?.len(), 9)
}

#[tokio::test]
async fn a_question_of_revision_2026_07_28_is_answered_at_any_replica() -> Outcome {
    let stage = Stage::set().await?;
    let ask = Ask::tool("fixture", "test_input_required_result_elicitation", json!({}))
        .able(json!({"elicitation": {}}));
    let name = |_: &Value| json!({"action": "accept", "content": {"user_name": "octocat"}});
    // Its call waits where it began, and the others know the way.
    for (number, other) in [(0, 1), (1, 2), (2, 0)] {
        let said = ask.said(stage.address(number)?).await?;
        let retry = ask.clone().answering(&said, name)?.id("2");
        let text = retry.text_said(stage.address(other)?).await?;
        same("the answer", text.as_str(), "Hello, octocat!")?;
    }
    Ok(())
}
