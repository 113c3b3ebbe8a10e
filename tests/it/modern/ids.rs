//! Whose answer is whose, where clients without sessions share one process or one session.

use edge_tests::edge::edge;
use edge_tests::eras::Actor;
use edge_tests::modern::Ask;
use edge_tests::{Fault, Outcome, same};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{SERVERS, Stage};

#[tokio::test]
async fn clients_with_the_same_ids_and_tokens_get_their_own_answers_and_progress() -> Outcome {
    let stage = Stage::open().await?;
    let edge = &stage.edge;
    let all = SERVERS.into_iter().flat_map(|server| (1..=8_u64).map(move |steps| (server, steps)));
    let asked = all.map(|(server, steps)| async move {
        let slow = Ask::tool(server, "slow", json!({"ms": 300, "steps": steps}));
        let token = if steps.is_multiple_of(2) { json!(1) } else { json!("1") };
        let said = slow.meta("progressToken", token.clone()).said(edge).await?;
        let what = format!("{server} {steps}: {said:?}");
        same(&what, said.text()?.as_str(), "slept 300 ms")?;
        same(&what, said.answer.get("id"), Some(&json!(1)))?;
        same(&what, said.notes.len() as u64, steps + 1)?;
        for note in &said.notes {
            same(&what, note.pointer("/params/progressToken"), Some(&token))?;
            let told = note.pointer("/params/message").and_then(Value::as_str).unwrap_or_default();
            same(&what, told.ends_with(&format!("of {steps}")), true)?;
        }
        Ok::<(), Fault>(())
    });
    try_join_all(asked).await.map(drop)
}

#[tokio::test]
async fn ids_come_back_as_they_were_written() -> Outcome {
    let mut tasks = JoinSet::new();
    let legacy = Actor::start("legacy", &mut tasks).await?;
    let modern = Actor::start("modern", &mut tasks).await?;
    let edge = edge().server("old", legacy.server()).server("new", modern.server()).start().await?;
    let ids = [
        "18446744073709551615",
        "9007199254740993",
        "-1",
        "0",
        "\"7\"",
        "\"12:34\"",
        r#""\u0061\n\/ü""#,
        "\"\"",
    ];
    for server in ["old", "new"] {
        for id in ids {
            let answered = Ask::tool(server, "echo", json!({})).id(id).reply(&edge).await?;
            let (text, named) = (answered.text(), format!("\"id\":{id}"));
            same(format!("{server} {id}: {text}"), text.matches(&named).count(), 1)?;
            let refused = Ask::new(server, "tools/call", json!({})).id(id).reply(&edge).await?;
            let text = refused.text();
            same(format!("{server} {id}: {text}"), text.matches(&named).count(), 1)?;
        }
    }
    Ok(())
}

/// What the client says of itself is the server's to know, and what it says to other machines on
/// the way is left as it is.
#[tokio::test]
async fn trace_context_reaches_the_server_untouched() -> Outcome {
    let mut tasks = JoinSet::new();
    let legacy = Actor::start("legacy", &mut tasks).await?;
    let modern = Actor::start("modern", &mut tasks).await?;
    let edge = edge().server("old", legacy.server()).server("new", modern.server()).start().await?;
    let trace = json!({
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
        "baggage": "userId=alice,serverNode=DF%2028",
        "example.org/own": {"a": [1.5, null]}
    });
    for (server, actor) in [("old", legacy), ("new", modern)] {
        let mut ask = Ask::tool(server, "echo", json!({})).able(json!({"roots": {}}));
        for (key, value) in trace.as_object().into_iter().flatten() {
            ask = ask.meta(key, value.clone());
        }
        ask.text_said(&edge).await?;
        let called = actor.hears("tools/call", 1).await?;
        let meta = called.first().and_then(|it| it.pointer("/params/_meta")).cloned();
        let meta = meta.and_then(|it| it.as_object().cloned()).unwrap_or_default();
        let (of_era, rest): (Vec<_>, Vec<_>) =
            meta.into_iter().partition(|(key, _)| key.starts_with("io.modelcontextprotocol/"));
        same(server, Value::Object(rest.into_iter().collect()), trace.clone())?;
        same(format!("{server}: {of_era:?}"), of_era.len(), if server == "new" { 3 } else { 0 })?;
    }
    Ok(())
}

/// A legacy server learns from the session what a modern one finds in each request.
#[tokio::test]
async fn a_legacy_server_is_told_the_clients_own_name_and_capabilities() -> Outcome {
    let mut tasks = JoinSet::new();
    let actor = Actor::start("legacy", &mut tasks).await?;
    let edge = edge().server("old", actor.server()).start().await?;
    for (number, able) in [json!({}), json!({"roots": {}, "sampling": {}})].into_iter().enumerate()
    {
        Ask::tool("old", "echo", json!({})).able(able.clone()).text_said(&edge).await?;
        let all = actor.hears("initialize", number + 1).await?;
        let told = all.get(number).and_then(|it| it.get("params")).cloned().unwrap_or_default();
        same(format!("{told}"), told.get("capabilities"), Some(&able))?;
        let name = told.pointer("/clientInfo/name").and_then(Value::as_str);
        same(format!("{told}"), name, Some("edge-tests"))?;
    }
    Ask::tool("old", "echo", json!({})).text_said(&edge).await?;
    same("who declares the same shares", actor.heard("initialize").len(), 2)
}

/// A legacy server's question names no call. Clients that can be asked must not get one another's.
#[tokio::test]
async fn clients_that_are_asked_at_the_same_time_are_asked_their_own_questions() -> Outcome {
    let stage = Stage::open().await?;
    let edge = &stage.edge;
    // Which servers ask like that is learnt from their first question.
    for server in SERVERS {
        let first = Ask::tool(server, "test_elicitation", json!({"message": "first"}));
        let said = first.able(json!({"elicitation": {}})).said(edge).await?;
        let kind = said.answer.pointer("/result/resultType").and_then(Value::as_str);
        same(format!("{server} asks"), kind, Some("input_required"))?;
    }
    let all = SERVERS.into_iter().flat_map(|server| (0..8_u64).map(move |own| (server, own)));
    let asked = all.map(|(server, own)| async move {
        let ask = Ask::tool(server, "test_elicitation", json!({"message": format!("of {own}")}))
            .able(json!({"elicitation": {}}));
        let said = ask.said(edge).await?;
        let inputs = said.answer.pointer("/result/inputRequests").and_then(Value::as_object);
        let messages: Vec<_> = inputs
            .into_iter()
            .flat_map(|it| it.values())
            .filter_map(|it| it.pointer("/params/message").and_then(Value::as_str))
            .collect();
        let what = format!("{server} {own}: {}", said.answer);
        same(&what, messages, vec![format!("of {own}").as_str()])?;
        let content = json!({"username": own.to_string(), "email": "e"});
        let answer = json!({"action": "accept", "content": content});
        let text = ask.answering(&said, |_| answer.clone())?.text_said(edge).await?;
        same(format!("{what}: {text}"), text.contains(&format!("\"username\":\"{own}\"")), true)
    });
    try_join_all(asked).await.map(drop)
}
