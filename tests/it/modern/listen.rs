//! `subscriptions/listen`: acknowledged first, then what was asked for and nothing else, each under
//! the subscription's id, and an end that says that it is one.

use std::time::Duration;

use edge_tests::edge::{Edge, edge};
use edge_tests::eras::{Actor, stdio_of};
use edge_tests::http1::Incoming;
use edge_tests::modern::{Ask, heard};
use edge_tests::{Fault, Outcome, same, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{SERVERS, Stage};

const SUBSCRIPTION: &str = "/params/_meta/io.modelcontextprotocol~1subscriptionId";
const WATCHED: &str = "test://watched-resource";

/// Opens a subscription and reads its acknowledgement, which accepts all of it.
async fn listen(edge: &Edge, server: &str, id: &str, wanted: Value) -> Result<Incoming, Fault> {
    acknowledged(edge, &Ask::listen(server, wanted.clone()).id(id), id, &wanted).await
}

async fn acknowledged(edge: &Edge, ask: &Ask, id: &str, wanted: &Value) -> Result<Incoming, Fault> {
    let mut stream = ask.send(edge).await?;
    let first = next(&mut stream, id, "notifications/subscriptions/acknowledged").await?;
    same(format!("{first}"), first.pointer("/params/notifications"), Some(wanted))?;
    Ok(stream)
}

/// The next message, which has to be this notification of this subscription.
async fn next(stream: &mut Incoming, id: &str, method: &str) -> Result<Value, Fault> {
    let told = next_of(stream, id).await.map_err(|fault| format!("{fault} before {method}"))?;
    same(format!("{told}"), named(&told), Some(method))?;
    Ok(told)
}

fn named(told: &Value) -> Option<&str> {
    told.get("method").and_then(Value::as_str)
}

/// The next message, which has to be of this subscription.
async fn next_of(stream: &mut Incoming, id: &str) -> Result<Value, Fault> {
    let told = heard(stream).await?.ok_or("the subscription ended")?;
    let own: Value = serde_json::from_str(id)?;
    same(format!("{told}"), told.pointer(SUBSCRIPTION), Some(&own))?;
    Ok(told)
}

async fn call(edge: &Edge, server: &str, tool: &str, arguments: Value) -> Outcome {
    Ask::tool(server, tool, arguments).id("99").text_said(edge).await.map(drop)
}

#[tokio::test]
async fn a_subscription_brings_what_was_asked_for_and_nothing_else() -> Outcome {
    let stage = Stage::open().await?;
    let edge = &stage.edge;
    for server in SERVERS {
        let tools = json!({"toolsListChanged": true});
        let watched = json!({"resourceSubscriptions": [WATCHED]});
        let all = json!({"toolsListChanged": true, "promptsListChanged": true,
            "resourcesListChanged": true, "resourceSubscriptions": [WATCHED]});
        let mut tools = listen(edge, server, "7", tools).await?;
        let mut watched = listen(edge, server, "\"7\"", watched).await?;
        let mut all = listen(edge, server, "\"sub ü\"", all).await?;

        call(edge, server, "test_trigger_prompt_change", json!({})).await?;
        next(&mut all, "\"sub ü\"", "notifications/prompts/list_changed").await?;
        call(edge, server, "test_trigger_tool_change", json!({})).await?;
        next(&mut all, "\"sub ü\"", "notifications/tools/list_changed").await?;
        // Had it been told of the prompts, that would have come first.
        next(&mut tools, "7", "notifications/tools/list_changed").await?;
        call(edge, server, "touch_resource", json!({"uri": "test://static-text"})).await?;
        call(edge, server, "touch_resource", json!({"uri": WATCHED})).await?;
        for (stream, id) in [(&mut all, "\"sub ü\""), (&mut watched, "\"7\"")] {
            let told = next(stream, id, "notifications/resources/updated").await?;
            same(server, told.pointer("/params/uri"), Some(&json!(WATCHED)))?;
        }
        drop((tools, watched, all));
    }
    Ok(())
}

#[tokio::test]
async fn a_subscription_ends_with_a_result_when_the_gateway_stops() -> Outcome {
    let mut stage = Stage::open().await?;
    let mut open = Vec::new();
    for server in SERVERS {
        for id in ["18", "\"s\""] {
            let wanted = json!({"toolsListChanged": true});
            open.push((server, id, listen(&stage.edge, server, id, wanted).await?));
        }
    }
    stage.edge.signal(Signal::SIGTERM)?;
    for (server, id, mut stream) in open {
        let last = heard(&mut stream).await?.ok_or_else(|| format!("{server}: no last word"))?;
        let own: Value = serde_json::from_str(id)?;
        same(format!("{server}: {last}"), last.get("id"), Some(&own))?;
        let kind = last.pointer("/result/resultType");
        same(format!("{server}: {last}"), kind, Some(&json!("complete")))?;
        let named = last.pointer("/result/_meta/io.modelcontextprotocol~1subscriptionId");
        same(format!("{server}: {last}"), named, Some(&own))?;
        same("nothing follows", heard(&mut stream).await?, None)?;
    }
    same("exit code", stage.edge.ended().await?.0.code(), Some(0))
}

#[tokio::test]
async fn a_resource_is_given_up_when_the_last_one_who_wants_it_goes() -> Outcome {
    let mut tasks = JoinSet::new();
    let actor = Actor::start("legacy", &mut tasks).await?;
    let edge = edge().server("old", actor.server()).start().await?;
    let one = listen(&edge, "old", "1", json!({"resourceSubscriptions": ["a:1"]})).await?;
    let both = json!({"resourceSubscriptions": ["a:1", "b:1"]});
    let mut two = listen(&edge, "old", "2", both).await?;
    drop(one);
    until("the first has gone", || async {
        let open = edge.figure("mcp_gateway_active_connections").await;
        open.is_ok_and(|open| open == 1)
    })
    .await?;
    let updated = |uri: &str| {
        json!({"jsonrpc": "2.0", "method": "notifications/resources/updated",
            "params": {"uri": uri}})
    };
    actor.say(&updated("a:1"));
    let told = next(&mut two, "2", "notifications/resources/updated").await?;
    same("told", told.pointer("/params/uri"), Some(&json!("a:1")))?;
    same("given up so far", actor.heard("resources/unsubscribe"), Vec::new())?;
    drop(two);
    let given_up = actor.hears("resources/unsubscribe", 2).await?;
    let mut uris: Vec<_> = given_up.iter().filter_map(|it| it.pointer("/params/uri")).collect();
    uris.sort_by_key(|uri| uri.to_string());
    same("given up", uris, vec![&json!("a:1"), &json!("b:1")])?;
    // Nobody wants it any more, so that it has to be asked for again.
    let before = actor.heard("resources/subscribe").len();
    let _again = listen(&edge, "old", "3", json!({"resourceSubscriptions": ["a:1"]})).await?;
    same("asked for again", actor.heard("resources/subscribe").len(), before + 1)
}

/// A client that goes away ends its subscription at a modern server too.
#[tokio::test]
async fn a_subscription_that_is_left_is_cancelled_at_a_modern_server() -> Outcome {
    let mut tasks = JoinSet::new();
    let actor = Actor::start("modern", &mut tasks).await?;
    let edge = edge().server("new", actor.server()).start().await?;
    let ask = Ask::listen("new", json!({"toolsListChanged": true})).id("\"mine\"");
    let mut opened = Box::pin(ask.send(&edge));
    let listens = tokio::select! {
        // The head may come before anything was said.
        stream = &mut opened => {
            let _stream = stream?;
            actor.hears("subscriptions/listen", 1).await?
        }
        listens = actor.hears("subscriptions/listen", 1) => listens?,
    };
    drop(opened);
    let cancelled = actor.hears("notifications/cancelled", 1).await?;
    let named = cancelled.first().and_then(|it| it.pointer("/params/requestId"));
    same("what is cancelled", named, listens.first().and_then(|it| it.get("id")))
}

#[tokio::test]
async fn what_cannot_be_listened_to_is_refused_and_what_is_not_there_not_accepted() -> Outcome {
    let stage = Stage::open().await?;
    for wrong in [json!([]), json!({"toolsListChanged": 1}), json!({"resourceSubscriptions": "a"})]
    {
        let ask = Ask::new("legacy-stdio", "subscriptions/listen", json!({"notifications": wrong}));
        let said = ask.said(&stage.edge).await?;
        super::refused(&wrong.to_string(), &said, 400, super::INVALID_PARAMS)?;
    }
    let none = Ask::new("legacy-stdio", "subscriptions/listen", json!({}));
    super::refused("none", &none.said(&stage.edge).await?, 400, super::INVALID_PARAMS)?;
    // A client that wants nothing is told that it gets nothing.
    let _stream = listen(&stage.edge, "legacy-stdio", "1", json!({})).await?;
    Ok(())
}

#[tokio::test]
async fn all_servers_as_one_are_listened_to_together() -> Outcome {
    let edge =
        edge().server("old", stdio_of("legacy")).server("new", stdio_of("modern")).start().await?;
    let wanted = json!({"toolsListChanged": true, "promptsListChanged": true});
    let ask = Ask::listen("", wanted.clone()).of_all().id("\"all\"");
    let mut stream = acknowledged(&edge, &ask, "\"all\"", &wanted).await?;
    let mut other = acknowledged(&edge, &ask.clone().id("3"), "3", &wanted).await?;
    for (trigger, method) in [
        ("old__test_trigger_tool_change", "notifications/tools/list_changed"),
        ("new__test_trigger_prompt_change", "notifications/prompts/list_changed"),
    ] {
        // A server that is being reached is heard from then on: it is told to speak until it is.
        let speaking = async {
            let ask = Ask::tool("", trigger, json!({})).of_all().id("5");
            loop {
                ask.text_said(&edge).await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let hearing = async {
            for (stream, id) in [(&mut stream, "\"all\""), (&mut other, "3")] {
                while named(&next_of(stream, id).await?) != Some(method) {}
            }
            Ok::<(), Fault>(())
        };
        tokio::select! {
            spoken = speaking => spoken,
            heard = hearing => heard,
        }?;
    }
    Ok(())
}

/// More resources than requests may be in flight on a session.
#[tokio::test]
async fn many_resources_are_subscribed_to_and_given_up() -> Outcome {
    let mut tasks = JoinSet::new();
    let actor = Actor::start("legacy", &mut tasks).await?;
    let edge = edge().server("old", actor.server()).start().await?;
    let uris: Vec<_> = (0..200).map(|number| format!("a:{number:03}")).collect();
    let stream = listen(&edge, "old", "1", json!({"resourceSubscriptions": uris})).await?;
    drop(stream);
    actor.hears("resources/unsubscribe", uris.len()).await?;
    let uris: Vec<_> = (0..2000).map(|number| format!("a:{number:04}")).collect();
    let beyond = Ask::listen("old", json!({"resourceSubscriptions": uris})).said(&edge).await?;
    super::refused("beyond", &beyond, 400, super::INVALID_PARAMS).map(drop)
}
