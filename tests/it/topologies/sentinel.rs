//! The master of three sentinels fails, and its replica takes its place.

use std::time::{Duration, Instant};

use edge_tests::checker::End;
use edge_tests::client::{Client, Transport};
use edge_tests::edge::edge;
use edge_tests::topologies::Sentinels;
use edge_tests::{Fault, Outcome, same, until, within};
use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::{Stage, broken_off, resumed, tell, told};

/// How long an owner takes in calls without a word from the store.
const LEASE: Duration = Duration::from_secs(7);
/// What an owner logs when it writes its sessions down again.
const BACK: &str = "the session store is back";
/// Between two looks at whether the store is back.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[tokio::test]
async fn sessions_go_on_when_the_master_is_killed() -> Outcome {
    sessions_go_on(Signal::SIGKILL).await
}

#[tokio::test]
async fn sessions_go_on_when_the_master_hangs_and_comes_back() -> Outcome {
    sessions_go_on(Signal::SIGSTOP).await
}

async fn sessions_go_on(how: Signal) -> Outcome {
    let folder = edge().embedded().start().await?;
    let sentinels = Sentinels::start().await?;
    let mut stage = Stage::start(2, &sentinels.url(), folder.folder()).await?;
    let outcome = over_a_failover(how, &sentinels, &mut stage).await;
    told(outcome, &stage)
}

async fn over_a_failover(how: Signal, sentinels: &Sentinels, stage: &mut Stage) -> Outcome {
    let mut sessions = stage.sessions(2, 0).await?;
    sessions.extend(stage.sessions(2, 1).await?);
    all_called(stage, &sessions).await?;
    // This answer comes when the first master is gone and the second is not there yet.
    let mine = sessions.first().ok_or("no session")?;
    let event = broken_off(mine, 900, stage.at(0)?).await?;
    without_a_master(how, sentinels, stage, &sessions).await?;
    all_called(stage, &sessions).await?;
    if how == Signal::SIGSTOP {
        sentinels.signal(Signal::SIGCONT)?;
        all_called(stage, &sessions).await?;
        sentinels.made_up().await?;
        all_called(stage, &sessions).await?;
    }
    nothing_was_forgotten(stage, mine, &event).await?;
    for session in &sessions {
        stage.appended(session, 1).await?;
    }
    stage.judge()
}

/// Stops the first master and calls every session at its owner until the second is there.
async fn without_a_master(
    how: Signal,
    sentinels: &Sentinels,
    stage: &mut Stage,
    sessions: &[String],
) -> Outcome {
    let begun = Instant::now();
    sentinels.signal(how)?;
    let mut refused = 0_u32;
    let back = async {
        loop {
            for (session, owner) in sessions.iter().zip([0, 0, 1, 1]) {
                refused += u32::from(stage.append(session, owner).await? != End::Answered);
            }
            if Client::open(stage.at(0)?, Transport::Mcp, Some("fixture")).await.is_ok() {
                return Ok::<_, Fault>(begun.elapsed());
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let took = within("a session can be opened again", back).await?;
    sentinels.failed_over().await?;
    tell(&format!("{how}: a new session after {took:?}, {refused} calls were refused till then"));
    same("calls were refused before the lease was over", refused > 0 && took < LEASE, false)
}

/// What the first master did not tell the second, the owner has told it again: the gateway that
/// comes after the owner knows all.
async fn nothing_was_forgotten(stage: &mut Stage, session: &str, event: &str) -> Outcome {
    let told = resumed(session, event, stage.at(1)?).await?;
    same("the answer, by the other gateway", told.1.as_str(), "slept 900 ms")?;
    // Till then a stream goes on without the store, and would be lost with its owner.
    let owner = stage.edges.first().ok_or("no gateway")?;
    until("the owner keeps what is said", || async { owner.log().contains(BACK) }).await?;
    let later = broken_off(session, 1, stage.at(0)?).await?;
    let told_later = resumed(session, &later, stage.at(1)?).await?;
    stage.kill(0).await?;
    let begun = Instant::now();
    same("the same, of the successor", resumed(session, event, stage.at(1)?).await?, told)?;
    tell(&format!("the stream was taken up {:?} after its owner was killed", begun.elapsed()));
    same("what came later, too", resumed(session, &later, stage.at(1)?).await?, told_later)
}

/// Every session is called at its owner and at the other gateway.
async fn all_called(stage: &mut Stage, sessions: &[String]) -> Outcome {
    for session in sessions {
        for number in [0, 1] {
            stage.appended(session, number).await?;
        }
    }
    Ok(())
}
