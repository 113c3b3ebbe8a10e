//! Whose answer is whose: every client counts from one, and one process serves them all.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::{edge, pooled, stdio};
use edge_tests::{Fault, Outcome, same};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

#[tokio::test]
async fn clients_with_the_same_ids_and_tokens_share_one_process() -> Outcome {
    let edge = edge().server("fixture", pooled()).start().await?;
    let edge = &edge;
    let transports = Transport::ALL.into_iter().cycle();
    let clients = (0..24_u64).zip(transports).map(|(number, transport)| async move {
        let mut client = Client::open(edge, transport, Some("fixture")).await?;
        let steps = number + 1;
        let slow = json!({
            "name": "slow",
            "arguments": {"ms": 300, "steps": steps},
            "_meta": {"progressToken": 1}
        });
        let echo = json!({"name": "echo", "arguments": {"value": number}});
        send_call(&mut client, 1, slow).await?;
        send_call(&mut client, 2, echo).await?;
        let echoed = client.answer(&json!(2)).await?;
        let wanted = format!("{{\"value\":{number}}}");
        same(format!("client {number} echo"), text_of(&echoed), wanted.as_str())?;
        // The slow answer may have overtaken the other and wait among what was told.
        if !client.told.iter().any(|message| message.get("id") == Some(&json!(1))) {
            let slept = client.answer(&json!(1)).await?;
            same(format!("client {number} slow"), text_of(&slept), "slept 300 ms")?;
        }
        let mine = format!("of {steps}");
        let progress: Vec<&Value> =
            client.told.iter().filter(|message| message.get("method").is_some()).collect();
        same(format!("client {number} progress"), progress.len() as u64, steps + 1)?;
        for message in progress {
            let token = message.pointer("/params/progressToken");
            same("its own token", token, Some(&json!(1)))?;
            let said = message.pointer("/params/message").and_then(Value::as_str);
            same("its own progress", said.is_some_and(|said| said.ends_with(&mine)), true)?;
        }
        Ok::<(), Fault>(())
    });
    try_join_all(clients).await?;
    Ok(())
}

#[tokio::test]
async fn a_pool_of_one_is_one_process_and_a_session_is_one_each() -> Outcome {
    let edge = edge().server("pooled", pooled()).server("alone", stdio()).start().await?;
    let mut pids = std::collections::BTreeMap::<&str, Vec<u64>>::new();
    let mut open = Vec::new();
    for server in ["pooled", "alone", "pooled", "alone"] {
        let mut client = Client::open(&edge, Transport::Mcp, Some(server)).await?;
        let stats: Value = serde_json::from_str(&client.call("stats", json!({})).await?)?;
        let pid = stats.get("pid").and_then(Value::as_u64).unwrap_or_default();
        pids.entry(server).or_default().push(pid);
        open.push(client);
    }
    for (server, mut pids) in pids {
        pids.dedup();
        same(server, pids.len(), if server == "pooled" { 1 } else { 2 })?;
    }
    Ok(())
}

#[tokio::test]
async fn an_id_keeps_its_kind_and_its_spelling() -> Outcome {
    let edge = edge().server("fixture", pooled()).start().await?;
    for transport in Transport::ALL {
        let mut client = Client::open(&edge, transport, Some("fixture")).await?;
        let ids = [
            json!("7"),
            json!(7),
            json!("12:34"),
            json!("ü\n\""),
            json!(9_007_199_254_740_993_u64),
        ];
        for id in ids {
            let echo = json!({"name": "echo", "arguments": {"value": id}});
            let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": echo});
            client.send(call).await?;
            let answer = client.answer(&id).await?;
            let wanted = json!({"value": id}).to_string();
            same(format!("{transport:?} {id}"), text_of(&answer), wanted.as_str())?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_id_in_flight_is_not_used_twice() -> Outcome {
    let edge = edge().server("fixture", stdio()).start().await?;
    for transport in [Transport::Sse, Transport::Ws] {
        let mut client = Client::open(&edge, transport, Some("fixture")).await?;
        let slow = json!({"name": "slow", "arguments": {"ms": 500, "steps": 1}});
        send_call(&mut client, 7, slow).await?;
        let echo = json!({"name": "echo", "arguments": {"value": 1}});
        let second = send_call(&mut client, 7, echo).await;
        let mut answers = vec![client.answer(&json!(7)).await?];
        if second.is_ok() {
            answers.push(client.answer(&json!(7)).await?);
            let refused =
                answers.iter().any(|answer| answer.pointer("/error/code") == Some(&json!(-31009)));
            same(format!("{transport:?} refuses the second: {answers:?}"), refused, true)?;
        }
        let slept = answers.iter().any(|answer| text_of(answer) == "slept 500 ms");
        same(format!("{transport:?} answers the first: {answers:?}"), slept, true)?;
    }
    Ok(())
}

async fn send_call(client: &mut Client, id: u64, params: Value) -> Outcome {
    let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
    client.send(call).await
}

fn text_of(answer: &Value) -> &str {
    answer.pointer("/result/content/0/text").and_then(Value::as_str).unwrap_or_default()
}
