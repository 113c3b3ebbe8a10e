//! One replica after the other is stopped and started again, while clients call.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::faults::Counts;
use super::{Report, Scene};
use crate::checker::{End, Log};
use crate::replicas::Replicas;
use crate::{Fault, until};

/// A stop takes no longer, and a start is quick.
const OVER: Duration = Duration::from_secs(37);

/// What calls are refused with while Redis does not answer in time.
const STORE_UNAVAILABLE: i64 = -31004;

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
    demand_answers(&scene, &mut log);
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

/// Restarts are no excuse: whatever is not an answer is a fault. That Redis did not answer in time
/// is the machine's; what is refused for that was not sent, and is counted.
fn demand_answers(scene: &Scene, log: &mut Log) {
    for (uuid, end) in &log.calls {
        if !matches!(end, End::Answered | End::NotSent(STORE_UNAVAILABLE)) {
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
