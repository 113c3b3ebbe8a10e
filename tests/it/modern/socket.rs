//! Revision 2026-07-28 over `/ws`: each request says in `_meta` what it is, and a legacy session
//! may be on the same socket.

use edge_tests::client::{Client, Transport};
use edge_tests::edge::edge;
use edge_tests::eras::Actor;
use edge_tests::modern::Ask;
use edge_tests::{Fault, Outcome, same};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{INVALID_PARAMS, SERVERS, Stage};

const META: &str = "io.modelcontextprotocol";

async fn socket(stage: &Stage, server: &str) -> Result<Client, Fault> {
    Client::connect(&stage.edge, Transport::Ws, &format!("/ws/{server}")).await
}

/// The answer to this request.
async fn answer(client: &mut Client, id: Value) -> Result<Value, Fault> {
    // It may have come while another one was awaited.
    let is_it = |it: &Value| it.get("method").is_none() && it.get("id") == Some(&id);
    if let Some(at) = client.told.iter().position(is_it) {
        return Ok(client.told.remove(at));
    }
    client.answer(&id).await
}

async fn said(client: &mut Client, ask: &Ask, id: Value) -> Result<Value, Fault> {
    client.send_text(ask.text()).await?;
    answer(client, id).await
}

fn text_of(answer: &Value) -> Option<&str> {
    answer.pointer("/result/content/0/text").and_then(Value::as_str)
}

#[tokio::test]
async fn requests_of_both_eras_share_a_socket() -> Outcome {
    let stage = Stage::open().await?;
    for server in SERVERS {
        let mut client = socket(&stage, server).await?;
        let echo = |value: u64| Ask::tool(server, "echo", json!({"value": value}));
        let modern = said(&mut client, &echo(1), json!(1)).await?;
        same(format!("{modern}"), text_of(&modern), Some("{\"value\":1}"))?;
        let kind = modern.pointer("/result/resultType");
        same(format!("{modern}"), kind, Some(&json!("complete")))?;
        client.initialize(json!({})).await?;
        let slow = json!({"name": "slow", "arguments": {"ms": 300, "steps": 1}});
        let legacy = client.begin("tools/call", slow).await?;
        // The same id in the other era is another request.
        let modern = said(&mut client, &echo(2).id(&legacy.to_string()), json!(legacy)).await?;
        same(format!("{modern}"), text_of(&modern), Some("{\"value\":2}"))?;
        let old = answer(&mut client, json!(legacy)).await?;
        same(format!("{old}"), text_of(&old), Some("slept 300 ms"))?;
        same(format!("{old}"), old.pointer("/result/resultType"), None)?;
        same("the session goes on", client.call("echo", json!({})).await?.as_str(), "{}")?;
    }
    Ok(())
}

#[tokio::test]
async fn several_requests_are_under_way_at_once() -> Outcome {
    let stage = Stage::open().await?;
    for server in SERVERS {
        let mut client = socket(&stage, server).await?;
        for (number, ms) in [(1, 400), (2, 10), (3, 200)] {
            let slow = Ask::tool(server, "slow", json!({"ms": ms, "steps": 1}));
            let slow = slow.id(&format!("\"{number}\"")).meta("progressToken", json!(number));
            client.send_text(slow.text()).await?;
        }
        for (number, ms) in [("1", 400), ("3", 200), ("2", 10)] {
            let got = answer(&mut client, json!(number)).await?;
            same(server, text_of(&got), Some(format!("slept {ms} ms").as_str()))?;
        }
        for number in 1..=3 {
            let own = |it: &&Value| it.pointer("/params/progressToken") == Some(&json!(number));
            same(server, client.told.iter().filter(own).count(), 2)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_id_in_flight_is_refused_and_free_again_afterwards() -> Outcome {
    let stage = Stage::open().await?;
    for server in SERVERS {
        let mut client = socket(&stage, server).await?;
        let slow = Ask::tool(server, "slow", json!({"ms": 500, "steps": 1})).id("5");
        client.send_text(slow.text()).await?;
        let twice = said(&mut client, &slow, json!(5)).await?;
        same(format!("{twice}"), twice.pointer("/error/code"), Some(&json!(-31009)))?;
        let first = answer(&mut client, json!(5)).await?;
        same(server, text_of(&first), Some("slept 500 ms"))?;
        let echo = Ask::tool(server, "echo", json!({})).id("5");
        same(server, text_of(&said(&mut client, &echo, json!(5)).await?), Some("{}"))?;
    }
    Ok(())
}

/// A notification cancels the one request it names; the end of the socket all that are left.
#[tokio::test]
async fn a_notification_cancels_one_request_and_the_end_of_the_socket_the_others() -> Outcome {
    let mut tasks = JoinSet::new();
    let legacy = Actor::start("legacy", &mut tasks).await?;
    let modern = Actor::start("modern", &mut tasks).await?;
    let edge = edge().server("old", legacy.server()).server("new", modern.server()).start().await?;
    for (server, actor) in [("old", legacy), ("new", modern)] {
        let mut client = Client::connect(&edge, Transport::Ws, &format!("/ws/{server}")).await?;
        for (number, id) in ["1", "\"1\"", "2"].into_iter().enumerate() {
            let hold = Ask::tool(server, "hold", json!({"number": number})).id(id);
            client.send_text(hold.text()).await?;
            actor.hears("tools/call", number + 1).await?;
        }
        let cancel = |id: Value| {
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
                "params": {"requestId": id}})
        };
        let called = actor.heard("tools/call");
        let at_server = |number: usize| called.get(number).and_then(|it| it.get("id")).cloned();
        client.send(cancel(json!("1"))).await?;
        let cancelled = actor.hears("notifications/cancelled", 1).await?;
        let named = |list: &[Value]| -> Vec<_> {
            list.iter().map(|it| it.pointer("/params/requestId").cloned()).collect()
        };
        same(server, named(&cancelled), vec![at_server(1)])?;
        // Its answer is not sent, and its id is free.
        let echo = Ask::tool(server, "echo", json!({})).id("\"1\"");
        same(server, text_of(&said(&mut client, &echo, json!("1")).await?), Some("{}"))?;
        drop(client);
        let mut all = named(&actor.hears("notifications/cancelled", 3).await?);
        all.sort_by_key(|id| format!("{id:?}"));
        let mut wanted = vec![at_server(0), at_server(1), at_server(2)];
        wanted.sort_by_key(|id| format!("{id:?}"));
        same(server, all, wanted)?;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_server_asks_is_answered_by_a_retry() -> Outcome {
    let stage = Stage::open().await?;
    for server in SERVERS {
        let mut client = socket(&stage, server).await?;
        let ask = Ask::tool(server, "test_input_required_result_elicitation", json!({}))
            .able(json!({"elicitation": {}}));
        let first = said(&mut client, &ask, json!(1)).await?;
        let result = |pointer| first.pointer(pointer).cloned();
        same(format!("{first}"), result("/result/resultType"), Some(json!("input_required")))?;
        let name = json!({"action": "accept", "content": {"user_name": "octocat"}});
        let retry = ask
            .id("2")
            .param("inputResponses", json!({"user_name": name}))
            .param("requestState", result("/result/requestState").unwrap_or_default());
        let last = said(&mut client, &retry, json!(2)).await?;
        same(format!("{last}"), text_of(&last), Some("Hello, octocat!"))?;
    }
    Ok(())
}

/// Many subscriptions share the socket; each message names its own.
#[tokio::test]
async fn subscriptions_share_the_socket() -> Outcome {
    let stage = Stage::open().await?;
    for server in SERVERS {
        let mut client = socket(&stage, server).await?;
        let tools = Ask::listen(server, json!({"toolsListChanged": true})).id("1");
        let prompts = Ask::listen(server, json!({"promptsListChanged": true})).id("\"1\"");
        for ask in [tools, prompts] {
            client.send_text(ask.text()).await?;
            let told = client.message().await?;
            let method = told.get("method").and_then(Value::as_str);
            same(server, method, Some("notifications/subscriptions/acknowledged"))?;
        }
        for (tool, id, method) in [
            ("test_trigger_tool_change", json!(1), "notifications/tools/list_changed"),
            ("test_trigger_prompt_change", json!("1"), "notifications/prompts/list_changed"),
        ] {
            let trigger = Ask::tool(server, tool, json!({})).id("\"trigger\"");
            client.told.clear();
            said(&mut client, &trigger, json!("trigger")).await?;
            while client.told.is_empty() {
                let told = client.message().await?;
                client.told.push(told);
            }
            let told = client.told.clone();
            let pointer = format!("/params/_meta/{META}~1subscriptionId");
            let one = |it: &Value| (it.pointer(&pointer).cloned(), it["method"].clone());
            let all: Vec<_> = told.iter().map(one).collect();
            same(server, all, vec![(Some(id), json!(method))])?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_request_that_lacks_what_meta_must_have_is_told_so_and_the_socket_stays() -> Outcome {
    let stage = Stage::open().await?;
    let mut client = socket(&stage, "legacy-stdio").await?;
    let echo = Ask::tool("legacy-stdio", "echo", json!({}));
    let capabilities = format!("{META}/clientCapabilities");
    let version = format!("{META}/protocolVersion");
    for (ask, code) in [
        (echo.clone().without_meta(&capabilities), INVALID_PARAMS),
        (echo.clone().meta(&capabilities, json!([])), INVALID_PARAMS),
        (echo.clone().meta(&version, json!(7)), INVALID_PARAMS),
        (echo.clone().meta(&version, json!("2099-01-01")), -32022),
        (echo.clone().method("ping"), -32601),
        // Without a revision it is of the session, which was not opened.
        (echo.clone().bare(), -32600),
    ] {
        let refused = said(&mut client, &ask, json!(1)).await?;
        let got = refused.pointer("/error/code").and_then(Value::as_i64);
        same(format!("{}: {refused}", ask.text()), got, Some(code))?;
    }
    same("it stays", text_of(&said(&mut client, &echo, json!(1)).await?), Some("{}"))
}
