//! A client that goes away cancels its request; one that was asked something is waited for.

use std::time::Duration;

use edge_tests::edge::edge;
use edge_tests::eras::Actor;
use edge_tests::modern::{Ask, heard};
use edge_tests::{Fault, Outcome, same, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{SERVERS, Stage, serves, stats};

/// A call that takes a minute and says soon that it has begun.
fn long(server: &str) -> Ask {
    Ask::tool(server, "slow", json!({"ms": 60_000, "steps": 60})).meta("progressToken", json!("p"))
}

#[tokio::test]
async fn a_connection_that_is_closed_cancels_the_call_at_every_server() -> Outcome {
    let mut stage = Stage::open().await?;
    for server in SERVERS {
        // The process that the call will be on, where it is the client's own.
        same(server, stats(&stage.edge, server).await?.get("cancelled"), Some(&json!(0)))?;
        let mut stream = long(server).send(&stage.edge).await?;
        let first = heard(&mut stream).await?.ok_or("the stream is empty")?;
        same(server, first.pointer("/params/progressToken"), Some(&json!("p")))?;
        drop(stream);
        until(format!("{server} sees the cancellation"), || async {
            let seen = stats(&stage.edge, server).await;
            seen.is_ok_and(|it| it.get("cancelled") == Some(&json!(1)))
        })
        .await?;
        serves(&stage.edge, server).await?;
    }
    stage.edge.signal(Signal::SIGTERM)?;
    let (status, took) = stage.edge.ended().await?;
    same("exit code", status.code(), Some(0))?;
    // It would wait for a call it still knows of.
    same(format!("{took:?}: no call is left"), took < Duration::from_secs(15), true)
}

/// Nothing was said yet: not even the head of the answer.
#[tokio::test]
async fn a_connection_that_is_closed_before_the_answer_begins_cancels_too() -> Outcome {
    let mut tasks = JoinSet::new();
    let legacy = Actor::start("legacy", &mut tasks).await?;
    let modern = Actor::start("modern", &mut tasks).await?;
    let edge = edge().server("old", legacy.server()).server("new", modern.server()).start().await?;
    for (server, actor) in [("old", legacy), ("new", modern)] {
        let ask = Ask::tool(server, "hold", json!({})).header("Accept", "*/*");
        let called = tokio::select! {
            answered = ask.reply(&edge) => Err(format!("{server} answered {answered:?}").into()),
            called = actor.hears("tools/call", 1) => called,
        }?;
        let cancelled = actor.hears("notifications/cancelled", 1).await?;
        let of = |list: &[Value], pointer| list.first().and_then(|it| it.pointer(pointer)).cloned();
        let id = of(&called, "/id");
        same(server, of(&cancelled, "/params/requestId"), id)?;
        same(server, cancelled.len(), 1)?;
        let said = Ask::tool(server, "echo", json!({})).text_said(&edge).await?;
        same("it serves", said.as_str(), "{}")?;
    }
    Ok(())
}

#[tokio::test]
async fn a_call_that_was_answered_is_not_cancelled() -> Outcome {
    let mut tasks = JoinSet::new();
    let legacy = Actor::start("legacy", &mut tasks).await?;
    let modern = Actor::start("modern", &mut tasks).await?;
    let edge = edge().server("old", legacy.server()).server("new", modern.server()).start().await?;
    for (server, actor) in [("old", legacy), ("new", modern)] {
        for number in 0..4 {
            Ask::tool(server, "echo", json!({"number": number})).text_said(&edge).await?;
        }
        // The last of all that is said to it.
        let ask = Ask::tool(server, "hold", json!({}));
        tokio::select! {
            answered = ask.reply(&edge) => return Err(format!("answered {answered:?}").into()),
            called = actor.hears("tools/call", 5) => { called?; }
        }
        same(server, actor.hears("notifications/cancelled", 1).await?.len(), 1)?;
    }
    Ok(())
}

/// The connection of the first round is closed by both sides' consent: that is no cancellation.
#[tokio::test]
async fn a_call_that_waits_for_its_client_is_kept_after_the_connection() -> Outcome {
    let stage = Stage::open().await?;
    for server in ["legacy-stdio", "legacy-http"] {
        let ask = Ask::tool(server, "test_input_required_result_elicitation", json!({}))
            .able(json!({"elicitation": {}}));
        let mut waiting = Vec::new();
        for _ in 0..3 {
            waiting.push(ask.said(&stage.edge).await?);
        }
        until("no connection is left", || async { stage.edge.connections() == 0 }).await?;
        for (number, said) in waiting.iter().enumerate() {
            let name = format!("n{number}");
            let answer = json!({"action": "accept", "content": {"user_name": name}});
            let retry = ask.clone().answering(said, |_| answer.clone())?;
            let text = retry.text_said(&stage.edge).await?;
            same(server, text, format!("Hello, {name}!"))?;
        }
    }
    Ok(())
}

/// The second round is a request like any other.
#[tokio::test]
async fn a_client_that_goes_away_in_a_later_round_cancels() -> Outcome {
    let mut tasks = JoinSet::new();
    let actor = Actor::start("legacy", &mut tasks).await?;
    let edge = edge().server("old", actor.server()).start().await?;
    let ask = Ask::tool("old", "hold", json!({})).able(json!({"roots": {}}));
    let asking = async {
        let called = actor.hears("tools/call", 1).await?;
        actor.say(&json!({"jsonrpc": "2.0", "id": "q", "method": "roots/list"}));
        Ok::<_, Fault>(called)
    };
    let (said, called) = tokio::join!(ask.said(&edge), asking);
    let called = called?;
    let retry = ask.answering(&said?, |_| json!({"roots": []}))?;
    let answered = until("the server has the answer", || async {
        actor.answered().iter().any(|it| it.get("id") == Some(&json!("q")))
    });
    tokio::select! {
        said = retry.reply(&edge) => return Err(format!("answered {said:?}").into()),
        answered = answered => answered?,
    }
    let cancelled = actor.hears("notifications/cancelled", 1).await?;
    let id = called.first().and_then(|it| it.get("id"));
    let named = cancelled.first().and_then(|it| it.pointer("/params/requestId"));
    same("the call that is cancelled", named, id)
}
