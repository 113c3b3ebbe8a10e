//! Log messages: only for a request that wants them, and from its level on.

use edge_tests::edge::edge;
use edge_tests::eras::Actor;
use edge_tests::modern::{Ask, Said};
use edge_tests::{Outcome, same, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{SERVERS, Stage};

fn logged(said: &Said) -> Vec<&str> {
    let is_log = |it: &&Value| it.get("method") == Some(&json!("notifications/message"));
    let logs = said.notes.iter().filter(is_log);
    logs.filter_map(|it| it.pointer("/params/data").and_then(Value::as_str)).collect()
}

#[tokio::test]
async fn a_request_hears_log_messages_only_when_it_names_a_level_and_from_that_on() -> Outcome {
    let stage = Stage::open().await?;
    let all = ["Tool execution started", "Tool processing data", "Tool execution completed"];
    for server in SERVERS {
        let ask = Ask::tool(server, "test_logging_tool", json!({}));
        let silent = ask.said(&stage.edge).await?;
        same(format!("{server}, no level"), logged(&silent), Vec::new())?;
        for level in ["debug", "info"] {
            let said = ask.clone().logs(level).said(&stage.edge).await?;
            let heard = logged(&said);
            // A legacy server sends them on a stream of their own over HTTP, so that the answer
            // may overtake the last.
            let sure = if server == "legacy-http" { 1..=all.len() } else { 3..=all.len() };
            same(format!("{server}, {level}: {heard:?}"), sure.contains(&heard.len()), true)?;
            let wanted = all.iter().take(heard.len()).copied().collect();
            same(format!("{server}, {level}"), heard, wanted)?;
        }
        // A server that was once asked for more says more than this request wants.
        for level in ["notice", "error", "emergency"] {
            let said = ask.clone().logs(level).said(&stage.edge).await?;
            same(format!("{server}, {level}"), logged(&said), Vec::new())?;
        }
        let silent = ask.said(&stage.edge).await?;
        same(format!("{server}, no level any more"), logged(&silent), Vec::new())?;
    }
    Ok(())
}

/// Each level that a server uses, against each that a request can name.
#[tokio::test]
async fn every_level_is_held_against_every_other() -> Outcome {
    let levels = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    let mut tasks = JoinSet::new();
    let actor = Actor::start("legacy", &mut tasks).await?;
    let edge = edge().server("old", actor.server()).start().await?;
    for (wanted, level) in levels.into_iter().enumerate() {
        let ask = Ask::tool("old", "hold", json!({})).logs(level);
        let speaking = async {
            let called = actor.hears("tools/call", wanted + 1).await?;
            for said in levels {
                actor.say(&json!({"jsonrpc": "2.0", "method": "notifications/message",
                    "params": {"level": said, "data": said}}));
            }
            let id = called.last().and_then(|it| it.get("id"));
            actor.say(&json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}}));
            Ok(())
        };
        let (said, spoken) = tokio::join!(ask.said(&edge), speaking);
        let spoken: Outcome = spoken;
        spoken?;
        same(level, logged(&said?), levels.into_iter().skip(wanted).collect())?;
    }
    let set = actor.heard("logging/setLevel");
    let set = set.iter().filter_map(|it| it.pointer("/params/level"));
    same(
        "the server is asked for the most that anybody wants",
        set.collect(),
        vec![&json!("debug")],
    )
}

/// Over a pipe a log message names no call: of two, nobody can tell whose it is.
#[tokio::test]
async fn a_log_message_that_may_be_another_clients_is_nobodys() -> Outcome {
    let mut tasks = JoinSet::new();
    let actor = Actor::start("legacy", &mut tasks).await?;
    let edge = edge().server("old", actor.server()).start().await?;
    let hold = |number: u64| Ask::tool("old", "hold", json!({"number": number})).logs("debug");
    let speaking = async {
        let called = actor.hears("tools/call", 2).await?;
        actor.say(&json!({"jsonrpc": "2.0", "method": "notifications/message",
            "params": {"level": "info", "data": "whose?"}}));
        for call in &called {
            let id = call.get("id");
            actor.say(&json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}}));
        }
        Ok(())
    };
    let (one, other) = (hold(1), hold(2));
    let (one, other, spoken) = tokio::join!(one.said(&edge), other.said(&edge), speaking);
    let spoken: Outcome = spoken;
    spoken?;
    same("what both heard", [logged(&one?), logged(&other?)], [Vec::new(), Vec::new()])
}

/// What the retry of a call wants to hear of holds for the rest of it.
#[tokio::test]
async fn a_retry_may_want_to_hear_more() -> Outcome {
    let mut tasks = JoinSet::new();
    let actor = Actor::start("legacy", &mut tasks).await?;
    let edge = edge().server("old", actor.server()).start().await?;
    let ask = Ask::tool("old", "hold", json!({})).able(json!({"elicitation": {}}));
    let asking = async {
        actor.hears("tools/call", 1).await?;
        actor.say(&json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create",
            "params": {"message": "Who?",
                "requestedSchema": {"type": "object", "properties": {}}}}));
        Ok(())
    };
    let (asked, spoken) = tokio::join!(ask.said(&edge), asking);
    let spoken: Outcome = spoken;
    spoken?;
    let retry = ask.logs("debug").answering(&asked?, |_| json!({"action": "accept"}))?;
    let speaking = async {
        let set = actor.hears("logging/setLevel", 1).await?;
        let level = set.first().and_then(|it| it.pointer("/params/level"));
        same("level", level, Some(&json!("debug")))?;
        until("it is answered", || async { !actor.answered().is_empty() }).await?;
        actor.say(&json!({"jsonrpc": "2.0", "method": "notifications/message",
            "params": {"level": "debug", "data": "more"}}));
        let id = actor.heard("tools/call").first().and_then(|it| it.get("id").cloned());
        actor.say(&json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}}));
        Ok(())
    };
    let (said, spoken) = tokio::join!(retry.said(&edge), speaking);
    let spoken: Outcome = spoken;
    spoken?;
    same("heard", logged(&said?), vec!["more"])
}
