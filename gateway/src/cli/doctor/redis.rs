//! The Redis that replicas share: is it there, and will it keep what it is given.

use tokio::time::timeout;

use super::Finding;
use crate::cli::awaiting::milliseconds;
use crate::config::limits::command::{CLOCKS_APART, REDIS_LATENCY};
use crate::config::limits::store::CONNECT_TIMEOUT;
use crate::config::{Config, RedisConfig};
use crate::session::redis::checkup::{Checkup, check_up};

const PART: &str = "redis";

/// The oldest version that has what sessions need.
const OLDEST: (u32, u32) = (6, 2);

/// Asks it.
pub(super) async fn examine(config: &Config, redis: &RedisConfig) -> Vec<Finding> {
    let place = redis.url.to_string();
    let steps = u32::try_from(redis.url.nodes.len()).unwrap_or(1).saturating_add(8);
    let checkup = match timeout(CONNECT_TIMEOUT * steps, Box::pin(check_up(redis))).await {
        Ok(Ok(checkup)) => checkup,
        Ok(Err(told)) => {
            let fix = remedy(&told);
            return vec![Finding::fail(PART, place, told, fix)];
        }
        Err(_elapsed) => {
            let fix = "check that Redis runs and that a firewall lets this machine through";
            return vec![Finding::fail(PART, place, "it does not answer in time", fix)];
        }
    };
    let connecting = milliseconds(checkup.connecting);
    let mut found = vec![Finding::ok(PART, place, format!("connected in {connecting}"))];
    found.extend([
        version(&checkup),
        latency(&checkup),
        memory(&checkup),
        persistence(&checkup),
        clients(&checkup),
    ]);
    if let Some(apart) = checkup.clock_apart {
        found.push(if apart > CLOCKS_APART {
            let told = format!("its clock is {apart:.1?} away from this one's");
            Finding::warn(
                PART,
                "clock",
                told,
                "run an NTP client (chrony, systemd-timesyncd) on both",
            )
        } else {
            Finding::ok(PART, "clock", format!("{} apart", milliseconds(apart)))
        });
    }
    if config.advertise_url.is_none() && config.listen.host.is_loopback() {
        found.push(Finding::warn(
            PART,
            "advertise_url",
            "this replica tells the others an address that only this machine can reach",
            "with replicas on other machines, set advertise_url, or listen beyond loopback",
        ));
    }
    found
}

fn remedy(told: &str) -> &'static str {
    if told.contains("user or password") {
        "set REDIS_PASSWORD_FILE or REDIS_PASSWORD to what `requirepass` or the access list says"
    } else if told.contains("TLS") || told.contains("rediss") {
        "write redis:// or rediss:// as the server speaks, and `redis.ca_file` for its authority"
    } else if told.contains("may not do") {
        "give its user the commands for scripts, streams, hashes, sorted sets and strings"
    } else if told.contains("replica") {
        "name the master, or its sentinels with redis+sentinel://"
    } else {
        "check host and port, that Redis runs, and that a firewall lets this machine through"
    }
}

fn version(checkup: &Checkup) -> Finding {
    let Some(version) = checkup.said("redis_version") else {
        return Finding::skipped(PART, "version", "it does not tell", "6.2 or newer is needed");
    };
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let own = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if own < OLDEST {
        let fix = format!("use Redis {}.{} or newer", OLDEST.0, OLDEST.1);
        return Finding::fail(PART, "version", format!("{version} is too old"), fix);
    }
    Finding::ok(PART, "version", version)
}

fn latency(checkup: &Checkup) -> Finding {
    let told = milliseconds(checkup.latency);
    if checkup.latency > REDIS_LATENCY {
        let told = format!("{told} there and back, which what is written waits for");
        return Finding::warn(PART, "latency", told, "run Redis in the same place as the gateway");
    }
    Finding::ok(PART, "latency", format!("{told} there and back"))
}

/// A session that is evicted is gone, and its owner does not know.
fn memory(checkup: &Checkup) -> Finding {
    let policy = checkup.said("maxmemory_policy").unwrap_or("unknown");
    let used = checkup.number("used_memory").unwrap_or_default() >> 20;
    let most = checkup.number("maxmemory").unwrap_or_default();
    let fix = "set `maxmemory-policy noeviction`: sessions end by their own time";
    if policy != "noeviction" && policy != "unknown" {
        let told = format!("maxmemory-policy is {policy}: it throws sessions away when it is full");
        return if most > 0 {
            Finding::fail(PART, "memory", told, fix)
        } else {
            Finding::warn(PART, "memory", format!("{told} (maxmemory is not set yet)"), fix)
        };
    }
    if most > 0 && used.saturating_mul(10) > (most >> 20).saturating_mul(9) {
        let told = format!("{used} MiB of {} MiB are used", most >> 20);
        return Finding::warn(PART, "memory", told, "raise maxmemory, or lower session.max_age");
    }
    Finding::ok(PART, "memory", format!("{used} MiB used, maxmemory-policy {policy}"))
}

fn persistence(checkup: &Checkup) -> Finding {
    if checkup.said("aof_enabled") == Some("1") {
        return Finding::ok(PART, "persistence", "append-only file");
    }
    if checkup.said("rdb_last_bgsave_status") == Some("err") {
        let told = "its last snapshot failed; it may refuse writes";
        return Finding::fail(PART, "persistence", told, "look into its log: is the disk full?");
    }
    let fix = "set `appendonly yes` if sessions are to survive a restart of Redis";
    match &checkup.snapshots {
        Some(save) if save.is_empty() => {
            Finding::warn(PART, "persistence", "none: a restart of Redis ends all sessions", fix)
        }
        Some(save) => {
            let told =
                format!("snapshots alone ({save}): a restart loses what came after the last");
            Finding::warn(PART, "persistence", told, fix)
        }
        None => Finding::skipped(PART, "persistence", "it does not tell", fix),
    }
}

fn clients(checkup: &Checkup) -> Finding {
    let connected = checkup.number("connected_clients").unwrap_or_default();
    let most = checkup.number("maxclients").unwrap_or(u64::MAX);
    if connected.saturating_mul(10) > most.saturating_mul(9) {
        let told = format!("{connected} of {most} are connected");
        return Finding::warn(PART, "clients", told, "raise maxclients");
    }
    Finding::ok(PART, "clients", format!("{connected} connected"))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn checkup(info: &[(&str, &str)], snapshots: Option<&str>) -> Checkup {
        Checkup {
            info: info.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            snapshots: snapshots.map(ToOwned::to_owned),
            ..Checkup::default()
        }
    }

    #[test]
    fn what_would_lose_sessions_is_found() {
        let of = |info: &[(&str, &str)]| memory(&checkup(info, None)).level;
        assert_eq!(of(&[("maxmemory_policy", "noeviction")]), Level::Ok);
        assert_eq!(of(&[("maxmemory_policy", "allkeys-lru")]), Level::Warn);
        assert_eq!(of(&[("maxmemory_policy", "allkeys-lru"), ("maxmemory", "1")]), Level::Fail);
        let full = [("maxmemory", "104857600"), ("used_memory", "103809024")];
        assert_eq!(of(&full), Level::Warn);

        let kept = |info: &[(&str, &str)], save| persistence(&checkup(info, save)).level;
        assert_eq!(kept(&[("aof_enabled", "1")], None), Level::Ok);
        assert_eq!(kept(&[("aof_enabled", "0")], Some("")), Level::Warn);
        assert_eq!(kept(&[("aof_enabled", "0")], None), Level::Skipped);
        assert_eq!(kept(&[("rdb_last_bgsave_status", "err")], Some("60 1")), Level::Fail);

        assert_eq!(version(&checkup(&[("redis_version", "5.0.7")], None)).level, Level::Fail);
        assert_eq!(version(&checkup(&[("redis_version", "7.0.15")], None)).level, Level::Ok);
    }
}
