//! One replica after the other is stopped and started again, while clients call.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::faults::Counts;
use super::{NO_RECEIPT, Report, Scene};
use crate::checker::{End, Log};
use crate::replicas::Replicas;
use crate::{Fault, until};

/// A stop takes no longer, and a start is quick.
const OVER: Duration = Duration::from_secs(37);

/// Restarts all three so many times; every call has to be answered meanwhile.
///
/// # Errors
/// The stage cannot be set; what goes wrong on it is in the report.
pub async fn rolling(rounds: u32, rate: u32) -> Result<Report, Fault> {
    let (mut scene, mut replicas) = Scene::set(1, rate, false).await?;
    for round in 1..=rounds {
        roll(&scene, &mut replicas, round).await?;
    }
    let mut log = scene.leave().await;
    demand_answers(&scene, &mut log, rounds);
    let faults = Counts::from([("rounds of restarts", u64::from(rounds))]);
    scene.end(replicas, &log, faults).await
}

async fn roll(scene: &Scene, replicas: &mut Replicas, round: u32) -> Result<(), Fault> {
    for (number, replica) in replicas.all.iter_mut().enumerate() {
        let begun = Instant::now();
        if let Err(fault) = replica.stop().await {
            scene.world.complain(format!("round {round}, replica {number}: {fault}"));
        }
        replica.start().await?;
        until("it is ready again", || async { scene.front.ready() == 3 }).await?;
        let took = begun.elapsed();
        if took > OVER {
            scene.world.complain(format!("round {round}, replica {number} took {took:?}"));
        }
    }
    Ok(())
}

/// Restarts are no excuse: whatever is not an answer is a fault. A message may cross with the
/// close of its WebSocket, but not more than one a restart.
fn demand_answers(scene: &Scene, log: &mut Log, rounds: u32) {
    let crossed = log.calls.iter().filter(|(_, end)| *end == End::Broken(NO_RECEIPT)).count();
    let may_cross = crossed <= usize::try_from(rounds).unwrap_or_default().saturating_mul(3);
    for (uuid, end) in &log.calls {
        if may_cross && *end == End::Broken(NO_RECEIPT) {
            continue;
        }
        if *end != End::Answered {
            log.disorder.push(format!("{uuid} was not answered: {end:?}"));
        }
    }
    let lost = scene.world.lost_sessions.load(Ordering::Relaxed);
    let counts = [
        ("requests found no replica", scene.front.unsent()),
        ("requests were cut off", scene.front.broken()),
        ("sessions were unknown", usize::try_from(lost).unwrap_or(usize::MAX)),
    ];
    let counted = counts.into_iter().filter(|(_, count)| *count > 0);
    log.disorder.extend(counted.map(|(what, count)| format!("{count} {what}")));
}
