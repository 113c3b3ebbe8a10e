//! Ends, caps and principals hold on every replica.

use edge_tests::client::{Client, Transport};
use edge_tests::http1::{Reply, Request};
use edge_tests::replicas::none_left;
use edge_tests::{Fault, Outcome, same, until};
use serde_json::{Value, json};

use super::{Stage, append};

#[tokio::test]
async fn a_session_that_is_deleted_elsewhere_is_gone_everywhere() -> Outcome {
    let stage = Stage::set().await?;
    let session = stage.session(0, "ledger").await?;
    same("a call", session.append(stage.address(0)?, 1, "u").await?.status, 200)?;
    let children = stage.replicas.at(0)?.edge()?.descendants();
    let before = children.len();
    let end = session.with(Request::new("DELETE", &session.path));
    let status = end.reply(stage.address(1)?).await?.status;
    same(format!("DELETE {status}"), status / 100, 2)?;
    for address in stage.replicas.addresses() {
        same("unknown", session.append(address, 2, "late").await?.status, 404)?;
    }
    until("its process is gone", || async {
        let left = stage.replicas.at(0).and_then(|it| Ok(it.edge()?.descendants().len()));
        left.is_ok_and(|left| left < before)
    })
    .await?;
    same("it did not run", stage.runs("late")?, 0)
}

#[tokio::test]
async fn a_principal_has_no_more_sessions_than_its_cap_over_all_replicas() -> Outcome {
    let terms = json!({"max_per_principal": 5});
    let stage = Stage::set_with(|edge| edge.setting("session", terms)).await?;
    let addresses = stage.replicas.addresses();
    let mut open = Vec::new();
    for address in addresses.iter().cycle().take(5) {
        open.push(Client::open(*address, Transport::Mcp, Some("web")).await?);
    }
    for address in &addresses {
        let more = Client::open(*address, Transport::Mcp, Some("web")).await;
        same("one more", more.is_err(), true)?;
    }
    let mut last = open.pop().ok_or("none")?;
    last.go_to(stage.address(0)?);
    last.end().await?;
    until("there is room again", || async {
        Client::open(addresses.last().copied().unwrap_or(addresses[0]), Transport::Mcp, Some("web"))
            .await
            .is_ok()
    })
    .await
}

#[tokio::test]
async fn a_session_of_another_is_as_unknown_as_one_that_never_was() -> Outcome {
    let stage = Stage::set().await?;
    let mine = stage.session(0, "web").await?;
    let mut never = mine.clone();
    never.id = mine.id.chars().rev().collect();
    // All but the number of the request.
    let said = |reply: &Reply| {
        let mut message = reply.message()?;
        let data = message.pointer_mut("/error/data").and_then(Value::as_object_mut);
        data.ok_or("no data")?.remove("requestId");
        Ok::<_, Fault>(message)
    };
    for address in stage.replicas.addresses() {
        for key in ["X-API-Key", "Authorization"] {
            let as_other = |session: &super::Session| {
                session.post(&append(1, "stolen", &json!({}))).header(key, "Bearer another")
            };
            let (theirs, unknown) =
                (as_other(&mine).reply(address).await?, as_other(&never).reply(address).await?);
            same("status", theirs.status, 404)?;
            same("the same status", theirs.status, unknown.status)?;
            same("the same words", said(&theirs)?, said(&unknown)?)?;
        }
    }
    same("it did not run", stage.runs("stolen")?, 0)?;
    let status = mine.append(stage.address(1)?, 2, "mine").await?.status;
    same("mine goes on", status, 200)
}

#[tokio::test]
async fn no_process_outlives_its_replica() -> Outcome {
    let mut stage = Stage::set().await?;
    for number in 0..3 {
        let session = stage.session(number, "ledger").await?;
        session.append(stage.address(number)?, 1, "u").await?;
    }
    let mut all = stage.replicas.at_mut(0)?.kill().await?;
    all.extend(stage.replicas.at_mut(1)?.stop().await?);
    same("there were some", all.len() >= 2, true)?;
    none_left(&all).await?;
    Ok::<(), Fault>(())
}
