//! Sessions spread over the masters of a cluster are carried and taken over as in one Redis.

use std::time::{Duration, Instant};

use edge_tests::checker::End;
use edge_tests::edge::edge;
use edge_tests::topologies::Cluster;
use edge_tests::{Fault, Outcome, same, within};
use tokio::time::sleep;

use super::{Stage, broken_off, resumed, tell, told};

/// So many that every master has some.
const SESSIONS: usize = 16;
/// Between two looks at whether the store is back.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A session, the first event of a stream of it that broke, and what came on that stream.
type Broken = (String, String, (usize, String));

#[tokio::test]
async fn sessions_are_carried_and_taken_over() -> Outcome {
    let folder = edge().embedded().start().await?;
    let cluster = Cluster::start().await?;
    let mut stage = Stage::start(2, &cluster.url(), folder.folder()).await?;
    let outcome = over_the_masters(&cluster, &mut stage).await;
    told(outcome, &stage)
}

#[tokio::test]
async fn sessions_go_on_when_a_master_is_killed() -> Outcome {
    let folder = edge().embedded().start().await?;
    let cluster = Cluster::start().await?;
    let mut stage = Stage::start(2, &cluster.url(), folder.folder()).await?;
    let outcome = over_a_failover(&cluster, &mut stage).await;
    told(outcome, &stage)
}

async fn over_the_masters(cluster: &Cluster, stage: &mut Stage) -> Outcome {
    let empty = cluster.keys().await?;
    let sessions = carried(stage).await?;
    let keys = cluster.keys().await?;
    let have_more = keys.iter().zip(&empty).all(|(now, before)| now > before);
    same(format!("every master got keys: {empty:?}, then {keys:?}"), have_more, true)?;
    taken_over(stage, sessions).await
}

async fn over_a_failover(cluster: &Cluster, stage: &mut Stage) -> Outcome {
    let sessions = carried(stage).await?;
    cluster.kill_a_master()?;
    let begun = Instant::now();
    let mut refused = 0_usize;
    let all_is_well = async {
        loop {
            for (session, ..) in &sessions {
                refused += usize::from(stage.append(session, 1).await? != End::Answered);
            }
            // So many have a place on every master, the new one too.
            if stage.sessions(SESSIONS, 0).await.is_ok() {
                return Ok::<_, Fault>(());
            }
            sleep(LOOK_EVERY).await;
        }
    };
    within("sessions can be opened everywhere again", all_is_well).await?;
    let took = begun.elapsed();
    tell(&format!("SIGKILL of a master: all is well after {took:?}, {refused} calls refused"));
    taken_over(stage, sessions).await
}

/// Sessions of the first gateway, called by way of both.
async fn carried(stage: &mut Stage) -> Result<Vec<Broken>, Fault> {
    let mut broken = Vec::new();
    for session in stage.sessions(SESSIONS, 0).await? {
        stage.appended(&session, 0).await?;
        stage.appended(&session, 1).await?;
        let event = broken_off(&session, 1, stage.at(1)?).await?;
        let came = resumed(&session, &event, stage.at(1)?).await?;
        broken.push((session, event, came));
    }
    Ok(broken)
}

/// All of them are the second gateway's, with all that they had.
async fn taken_over(stage: &mut Stage, sessions: Vec<Broken>) -> Outcome {
    stage.kill(0).await?;
    let begun = Instant::now();
    for (session, event, came) in sessions {
        same("the stream, of the successor", resumed(&session, &event, stage.at(1)?).await?, came)?;
        stage.appended(&session, 1).await?;
    }
    tell(&format!("{SESSIONS} sessions were taken over in {:?}", begun.elapsed()));
    stage.judge()
}
