//! What breaks: two lanes of faults, of replicas and of Redis, each in an order of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::{Dose, World};
use crate::Fault;
use crate::dice::Dice;
use crate::processes::Process;
use crate::proxy::{Proxy, Weather};
use crate::redis::Redis;
use crate::replicas::{Replica, Replicas};

/// What the whole dose holds, in this time.
const FULL: Duration = Duration::from_mins(15);
/// So much longer than it was to be may a dose take until it is whole.
const LATE: Duration = Duration::from_mins(2);
/// How long a gateway's processes may outlive it.
const ORPHANED: Duration = Duration::from_secs(5);

/// How often each kind came.
pub(super) type Counts = BTreeMap<&'static str, u64>;

#[derive(Debug, Clone, Copy)]
enum OfReplica {
    Kill,
    Restart,
    Freeze,
}

#[derive(Debug, Clone, Copy)]
enum OfRedis {
    Empty,
    Pause,
    Partition,
    Slow,
    HalfOpen,
}

/// Breaks things until `ends`; the counts, and what is left.
pub(super) async fn inject(
    world: &Arc<World>,
    replicas: Replicas,
    dose: Dose,
    ends: Instant,
) -> Result<(Counts, Replicas), Fault> {
    let Replicas { mut redis, mut all, turn } = replicas;
    let proxies: Vec<Arc<Proxy>> = all.iter().map(|it| it.proxy.clone()).collect();
    let of_replicas = replica_lane(world, &mut all, dose, ends);
    let of_redis = redis_lane(world, &mut redis, &proxies, dose, ends);
    let (mut counts, others) = tokio::try_join!(of_replicas, of_redis)?;
    counts.extend(others);
    Ok((counts, Replicas { redis, all, turn }))
}

/// A deck of faults, shuffled: each as often as its share of the whole dose.
fn deck<T: Copy>(dice: &mut Dice, span: Duration, shares: &[(T, f64)]) -> Vec<T> {
    let part = span.as_secs_f64() / FULL.as_secs_f64();
    let mut deck = Vec::new();
    for (fault, count) in shares {
        let mut left = (count * part).ceil();
        while left > 0.0 {
            deck.push(*fault);
            left -= 1.0;
        }
    }
    // Each card changes places with one before it or stays.
    for at in (1..deck.len()).rev() {
        let other = usize::try_from(dice.below(at as u64 + 1)).unwrap_or_default();
        deck.swap(at, other);
    }
    deck
}

/// Whether more is to come: until the end, and until all of the dose was given.
fn is_on(is_whole: bool, ends: Instant) -> bool {
    let now = Instant::now();
    now < ends || (!is_whole && now < ends + LATE)
}

async fn replica_lane(
    world: &Arc<World>,
    all: &mut [Replica],
    dose: Dose,
    ends: Instant,
) -> Result<Counts, Fault> {
    let mut dice = Dice(dose.seed ^ 0x5eed_0001);
    let shares = [(OfReplica::Kill, 54.0), (OfReplica::Restart, 22.0), (OfReplica::Freeze, 21.0)];
    let mut counts = Counts::new();
    let mut cards = deck(&mut dice, dose.span, &shares);
    let mut is_whole = false;
    while is_on(is_whole, ends) {
        if cards.is_empty() {
            cards = deck(&mut dice, dose.span, &shares);
        }
        let which = usize::try_from(dice.below(3))?;
        let (Some(fault), Some(replica)) = (cards.pop(), all.get_mut(which)) else { continue };
        let (down, rest) = (dice.below(2_000), 1_500 + dice.below(1_500));
        let frozen = 5_000 + dice.below(if dose.span < FULL / 4 { 2_000 } else { 10_000 });
        let whole = world.memory.read().await;
        world.tell(format!("{fault:?} of replica {which} begins"));
        let name = match fault {
            OfReplica::Kill => {
                world.kills.lock().push(Instant::now());
                world.losses.lock().push(Instant::now());
                let children = replica.kill().await?;
                sleep(Duration::from_millis(down)).await;
                up_again(world, replica).await;
                count_orphans(world, &children).await;
                "kill -9 of a replica"
            }
            OfReplica::Restart => {
                world.losses.lock().push(Instant::now());
                if let Err(fault) = replica.stop().await {
                    world.complain(format!("SIGTERM: {fault}"));
                }
                world.losses.lock().push(Instant::now());
                up_again(world, replica).await;
                "SIGTERM of a replica"
            }
            OfReplica::Freeze => {
                replica.signal(Signal::SIGSTOP)?;
                sleep(Duration::from_millis(frozen)).await;
                replica.signal(Signal::SIGCONT)?;
                "SIGSTOP of a replica"
            }
        };
        drop(whole);
        world.tell(format!("{fault:?} of replica {which} is over"));
        is_whole |= cards.is_empty();
        count(&mut counts, name);
        sleep(Duration::from_millis(rest)).await;
    }
    Ok(counts)
}

async fn up_again(world: &World, replica: &mut Replica) {
    for _try in 0..3 {
        match replica.start().await {
            Ok(()) => return,
            Err(fault) => world.complain(format!("a replica does not start: {fault}")),
        }
    }
}

async fn count_orphans(world: &World, children: &[Process]) {
    let until = Instant::now() + ORPHANED;
    while Instant::now() < until && children.iter().any(|it| it.alive()) {
        sleep(Duration::from_millis(20)).await;
    }
    let left = children.iter().filter(|it| it.alive()).count();
    world.orphans.fetch_add(u64::try_from(left).unwrap_or(u64::MAX), Ordering::Relaxed);
}

async fn redis_lane(
    world: &World,
    redis: &mut Redis,
    proxies: &[Arc<Proxy>],
    dose: Dose,
    ends: Instant,
) -> Result<Counts, Fault> {
    let mut dice = Dice(dose.seed ^ 0x5eed_0002);
    let shares = [
        (OfRedis::Empty, 21.0),
        (OfRedis::Pause, 21.0),
        (OfRedis::Partition, 21.0),
        (OfRedis::Slow, 8.0),
        (OfRedis::HalfOpen, 12.0),
    ];
    let is_short = dose.span < FULL / 4;
    let mut counts = Counts::new();
    let mut cards = deck(&mut dice, dose.span, &shares);
    let mut is_whole = false;
    while is_on(is_whole, ends) {
        if cards.is_empty() {
            cards = deck(&mut dice, dose.span, &shares);
        }
        let which = usize::try_from(dice.below(3))?;
        let (Some(fault), Some(proxy)) = (cards.pop(), proxies.get(which)) else { continue };
        let (long, rest) = (dice.below(if is_short { 2_000 } else { 8_000 }), dice.below(2_000));
        world.tell(format!("{fault:?} ({which}) begins"));
        let name = match fault {
            OfRedis::Empty => {
                let _alone = world.memory.write().await;
                redis.clear().await?;
                world.emptied.lock().push(Instant::now());
                // So long a session that the store does not know may still be restored.
                sleep(Duration::from_secs(5)).await;
                "Redis restarted empty"
            }
            OfRedis::Pause => {
                redis.pause()?;
                sleep(Duration::from_millis(1_000 + long)).await;
                redis.go_on()?;
                "Redis paused"
            }
            OfRedis::Partition => {
                proxy.set(Weather::Hole);
                sleep(Duration::from_millis(4_000 + long + long / 2)).await;
                proxy.set(Weather::Clear);
                "a replica parted from Redis"
            }
            OfRedis::Slow => {
                let latency = Duration::from_millis(50);
                proxies.iter().for_each(|it| it.set(Weather::Slow(latency)));
                sleep(Duration::from_millis(2_000 + long)).await;
                proxies.iter().for_each(|it| it.set(Weather::Clear));
                "Redis slow (100 ms)"
            }
            OfRedis::HalfOpen => {
                proxies.iter().for_each(|it| it.stick());
                sleep(Duration::from_secs(2)).await;
                "half-open Redis sockets"
            }
        };
        world.tell(format!("{fault:?} ({which}) is over"));
        is_whole |= cards.is_empty();
        count(&mut counts, name);
        sleep(Duration::from_millis(500 + rest)).await;
    }
    Ok(counts)
}

fn count(counts: &mut Counts, name: &'static str) {
    let count = counts.entry(name).or_default();
    *count = count.saturating_add(1);
}
