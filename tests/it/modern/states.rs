//! `requestState`: it leads back to the one call it was given for, once, and for its client only.
//!
//! That it expires is shown where time is an argument (`bridge/seal.rs`).

use edge_tests::modern::{Ask, Said};
use edge_tests::{Fault, Outcome, same};
use futures_util::future::join;
use serde_json::{Value, json};

use super::{INVALID_PARAMS, Stage, refused};

const LEGACY: [&str; 2] = ["legacy-stdio", "legacy-http"];
const MENDED: &str = "call again without requestState";

fn asks_for_a_name(server: &str) -> Ask {
    Ask::tool(server, "test_input_required_result_elicitation", json!({}))
        .able(json!({"elicitation": {}}))
}

fn octocat(_request: &Value) -> Value {
    json!({"action": "accept", "content": {"user_name": "octocat"}})
}

/// Begins the call, and gives it with the right retry and its state.
async fn suspended(stage: &Stage, ask: Ask) -> Result<(Ask, String), Fault> {
    let said = ask.said(&stage.edge).await?;
    same(format!("{}", said.answer), said.status, 200)?;
    let state = said.state()?.to_owned();
    Ok((ask.answering(&said, octocat)?, state))
}

fn is_refused(what: &str, said: &Said) -> Outcome {
    let told = refused(what, said, 400, INVALID_PARAMS)?;
    same(format!("{what}: {told}"), told.contains(MENDED), true)
}

async fn goes_on(stage: &Stage, retry: &Ask) -> Outcome {
    let text = retry.clone().id("2").text_said(&stage.edge).await?;
    same("the rightful retry", text.as_str(), "Hello, octocat!")
}

#[tokio::test]
async fn a_state_that_was_changed_anywhere_is_refused_and_the_call_waits_on() -> Outcome {
    let stage = Stage::open().await?;
    for server in LEGACY {
        let (retry, state) = suspended(&stage, asks_for_a_name(server)).await?;
        let letters: Vec<char> = state.chars().collect();
        let mut changed: Vec<String> = (0..letters.len())
            .map(|at| {
                let other = |own: char| if own == 'A' { 'B' } else { 'A' };
                let letters = letters.iter().enumerate();
                letters.map(|(place, own)| if place == at { other(*own) } else { *own }).collect()
            })
            .collect();
        changed.extend([
            String::new(),
            "A".to_owned(),
            letters.iter().skip(1).collect(),
            letters.iter().rev().skip(1).rev().collect(),
            format!("{state}A"),
            format!("{state}-TAMPERED"),
            format!(" {state}"),
            state.repeat(2),
        ]);
        for text in changed {
            let ask = retry.clone().param("requestState", json!(text));
            is_refused(&format!("{server}: {text}"), &ask.said(&stage.edge).await?)?;
        }
        for odd in [json!(7), json!(null), json!([state]), json!({})] {
            let ask = retry.clone().param("requestState", odd.clone());
            refused(
                &format!("{server}: {odd}"),
                &ask.said(&stage.edge).await?,
                400,
                INVALID_PARAMS,
            )?;
        }
        goes_on(&stage, &retry).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_state_is_used_once() -> Outcome {
    let stage = Stage::open().await?;
    for server in LEGACY {
        let (retry, _) = suspended(&stage, asks_for_a_name(server)).await?;
        goes_on(&stage, &retry).await?;
        is_refused(server, &retry.said(&stage.edge).await?)?;
        for _ in 0..8 {
            let (retry, _) = suspended(&stage, asks_for_a_name(server)).await?;
            let (one, other) = join(retry.said(&stage.edge), retry.said(&stage.edge)).await;
            let (mut went_on, mut others) = (0, 0);
            for said in [one?, other?] {
                if said.text().is_ok_and(|text| text == "Hello, octocat!") {
                    went_on += 1;
                } else {
                    is_refused(server, &said)?;
                    others += 1;
                }
            }
            same(format!("{server}: of two at once"), (went_on, others), (1, 1))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_state_is_nothing_to_another_principal() -> Outcome {
    let stage = Stage::open().await?;
    for server in LEGACY {
        let own = asks_for_a_name(server).also("Authorization", "Bearer own");
        let (retry, _) = suspended(&stage, own).await?;
        let others = [
            ("another's", retry.clone().header("Authorization", "Bearer other")),
            ("nobody's", retry.clone().without("Authorization")),
            ("a key", retry.clone().without("Authorization").also("X-Api-Key", "own")),
        ];
        for (whose, ask) in others {
            is_refused(&format!("{server}, {whose}"), &ask.said(&stage.edge).await?)?;
        }
        goes_on(&stage, &retry).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_state_is_nothing_to_another_request() -> Outcome {
    let stage = Stage::open().await?;
    for (server, elsewhere) in [("legacy-stdio", "legacy-http"), ("legacy-http", "legacy-stdio")] {
        let (retry, state) = suspended(&stage, asks_for_a_name(server)).await?;
        let inputs = json!({"user_name": octocat(&Value::Null)});
        let with_state = |ask: Ask| {
            ask.able(json!({"elicitation": {}}))
                .param("inputResponses", inputs.clone())
                .param("requestState", json!(state))
        };
        let tool = "test_input_required_result_elicitation";
        let others = [
            ("other arguments", Ask::tool(server, tool, json!({"more": 1}))),
            ("no arguments", Ask::new(server, "tools/call", json!({"name": tool}))),
            ("another tool", Ask::tool(server, "test_streaming_elicitation", json!({}))),
            (
                "another method",
                Ask::new(server, "prompts/get", json!({"name": tool, "arguments": {}})),
            ),
            ("another server", Ask::tool(elsewhere, tool, json!({}))),
            ("all servers", Ask::tool(server, &format!("{server}__{tool}"), json!({})).of_all()),
        ];
        for (what, ask) in others {
            let said = with_state(ask).said(&stage.edge).await?;
            is_refused(&format!("{server}, {what}"), &said)?;
        }
        goes_on(&stage, &retry).await?;
    }
    Ok(())
}

/// What `_meta` says may change, and the order in which members are written.
#[tokio::test]
async fn a_retry_is_known_by_what_it_asks_and_not_by_how_it_is_written() -> Outcome {
    let stage = Stage::open().await?;
    for server in LEGACY {
        let tool = "test_input_required_result_elicitation";
        let ask = Ask::tool(server, tool, json!({"a": 1, "b": [2.0, "x"]}))
            .able(json!({"elicitation": {}}));
        let (retry, _) = suspended(&stage, ask).await?;
        let retry = retry
            .param("arguments", json!({"b": [2, "x"], "a": 1.0}))
            .meta("traceparent", json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        goes_on(&stage, &retry).await?;
    }
    Ok(())
}

#[tokio::test]
async fn each_round_has_a_state_of_its_own_and_what_is_missing_is_asked_again() -> Outcome {
    let stage = Stage::open().await?;
    for server in LEGACY {
        let ask = Ask::tool(server, "test_input_required_result_multi_round", json!({}))
            .able(json!({"elicitation": {}}));
        let first = ask.said(&stage.edge).await?;
        let empty = ask.clone().param("inputResponses", json!({}));
        let empty = empty.param("requestState", json!(first.state()?));
        let again = empty.said(&stage.edge).await?;
        same("a state of its own", again.state()? == first.state()?, false)?;
        let asked = |said: &Said| said.answer.pointer("/result/inputRequests").cloned();
        same("what is missing is asked again", asked(&again), asked(&first))?;
        let fill = |text: &'static str| {
            move |request: &Value| {
                let properties = request.pointer("/params/requestedSchema/properties");
                let names = properties.and_then(Value::as_object).into_iter().flatten();
                let content: serde_json::Map<_, _> =
                    names.map(|(name, _)| (name.clone(), json!(text))).collect();
                json!({"action": "accept", "content": content})
            }
        };
        let second = ask.clone().answering(&again, fill("Ada"))?.said(&stage.edge).await?;
        is_refused("the state of an earlier round", &empty.said(&stage.edge).await?)?;
        let last = ask.answering(&second, fill("blue"))?;
        same(server, last.text_said(&stage.edge).await?.as_str(), "Ada likes blue")?;
    }
    Ok(())
}
