//! A replica is cut off, and nobody is told: its connections stay open, and nothing comes back.

use std::time::{Duration, Instant};

use edge_tests::proxy::Weather;
use edge_tests::{Fault, Outcome, same, until, within};

use super::{Session, Stage, text};

/// The gateway's own bound: how long a connection is used after something was heard on it.
const HEARD_FOR: Duration = Duration::from_secs(1);
/// Longer than connections are used of a replica that is silent, and shorter than they are kept.
const SILENT: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_call_for_an_owner_that_was_cut_off_is_answered_by_another() -> Outcome {
    let mut stage = Stage::set().await?;
    let way = stage.replicas.at_mut(0)?.behind_a_proxy().await?;
    let session = stage.session(0, "ledger").await?;
    let mut calls = 0;
    // Two that a busy machine keeps apart say nothing about connections.
    let heard = within("two calls one after the other", async {
        loop {
            let begun = Instant::now();
            relayed(&stage, &session, calls + 1).await?;
            let connections = way.connections();
            calls += 2;
            relayed(&stage, &session, calls).await?;
            if begun.elapsed() < HEARD_FOR {
                same("on a connection that was kept", way.connections(), connections)?;
                return Ok::<_, Fault>(Instant::now());
            }
        }
    })
    .await?;
    stage.replicas.at(0)?.proxy.set(Weather::Hole);
    way.set(Weather::Gone);
    until("it is silent for a while", || async { heard.elapsed() > SILENT }).await?;
    let cut = Instant::now();
    let reply = session.append(stage.address(1)?, calls + 1, "after").await?;
    println!("{} after {:?}", reply.status, cut.elapsed());
    same("the call", text(&reply.message()?)?, "after")?;
    same("it ran", stage.runs("after")?, 1)
}

/// A call through a replica that is not the owner.
async fn relayed(stage: &Stage, session: &Session, id: u64) -> Outcome {
    let uuid = id.to_string();
    let answer = session.append(stage.address(1)?, id, &uuid).await?.message()?;
    same("through another replica", text(&answer)?, uuid.as_str())
}
