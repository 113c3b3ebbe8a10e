//! What a legacy server says while the client, which it asked something, is away.

use std::time::Duration;

use edge_tests::edge::{Edge, edge};
use edge_tests::eras::Actor;
use edge_tests::modern::{Ask, Said};
use edge_tests::{Fault, Outcome, same};
use futures_util::future::try_join;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Longer than the gateway leaves between two looks at the calls that wait.
const AWAY: Duration = Duration::from_millis(1200);

/// A gateway before a server whose answers the test gives.
async fn stage(tasks: &mut JoinSet<()>) -> Result<(Edge, Actor), Fault> {
    let actor = Actor::start("legacy", tasks).await?;
    let edge = edge().server("old", actor.server()).start().await?;
    Ok((edge, actor))
}

fn call() -> Ask {
    Ask::tool("old", "hold", json!({})).able(json!({"elicitation": {"form": {}, "url": {}}}))
}

/// Makes the call, to which the server says what `play` makes of its id there.
async fn called(
    edge: &Edge,
    actor: &Actor,
    play: impl Fn(&Value) -> Value,
) -> Result<(Said, Value), Fault> {
    let playing = async {
        let heard = actor.hears("tools/call", 1).await?;
        let id = heard.first().and_then(|it| it.get("id")).cloned().unwrap_or_default();
        actor.say(&play(&id));
        Ok(id)
    };
    let ask = call();
    try_join(ask.said(edge), playing).await
}

fn accepts(_request: &Value) -> Value {
    json!({"action": "accept", "content": {"name": "x"}})
}

fn done(id: &Value, text: &str) -> Value {
    let result = json!({"content": [{"type": "text", "text": text}]});
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

#[tokio::test]
async fn an_answer_that_came_in_its_absence_waits_for_the_client() -> Outcome {
    let mut tasks = JoinSet::new();
    let (edge, actor) = stage(&mut tasks).await?;
    let asked = |_call: &Value| {
        let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let params = json!({"mode": "form", "message": "who", "requestedSchema": schema});
        json!({"jsonrpc": "2.0", "id": 900, "method": "elicitation/create", "params": params})
    };
    let (said, id) = called(&edge, &actor, asked).await?;
    same("asked", said.answer.pointer("/result/resultType"), Some(&json!("input_required")))?;
    actor.say(&done(&id, "without waiting"));
    tokio::time::sleep(AWAY).await;
    let retry = call().answering(&said, accepts)?.id("2");
    same("the answer", retry.text_said(&edge).await?.as_str(), "without waiting")?;
    same("calls", actor.heard("tools/call").len(), 1)?;
    same("cancellations", actor.heard("notifications/cancelled").len(), 0)
}

#[tokio::test]
async fn a_call_that_was_refused_for_a_url_is_made_again_when_the_user_was_there() -> Outcome {
    let mut tasks = JoinSet::new();
    let (edge, actor) = stage(&mut tasks).await?;
    let refused = |call: &Value| {
        let url = "https://a.test/";
        let visit = json!({"mode": "url", "elicitationId": "e", "url": url, "message": "go"});
        let error = json!({"code": -32042, "message": "go", "data": {"elicitations": [visit]}});
        json!({"jsonrpc": "2.0", "id": call, "error": error})
    };
    let (said, _) = called(&edge, &actor, refused).await?;
    same("asked", said.answer.pointer("/result/resultType"), Some(&json!("input_required")))?;
    tokio::time::sleep(AWAY).await;
    let retry = call().answering(&said, |_| json!({"action": "accept"}))?.id("2");
    let playing = async {
        let heard = actor.hears("tools/call", 2).await?;
        let id = heard.last().and_then(|it| it.get("id")).cloned().unwrap_or_default();
        actor.say(&done(&id, "after the visit"));
        Ok(())
    };
    let (text, ()) = try_join(retry.text_said(&edge), playing).await?;
    same("the answer", text.as_str(), "after the visit")
}
