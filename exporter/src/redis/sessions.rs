//! What the gateways keep in Redis: sessions, their owners, their calls; replicas by their beats.
//!
//! Keys are found by the sorted set of all sessions, never by a pattern. `gateway/src/session/
//! redis.rs` has the table of keys.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use redis_target::target::Line;

use crate::family::Family;
use crate::limits::{BEAT_TTL, SESSIONS, SESSIONS_AT_ONCE};
use crate::nginx::float;
use crate::redis::line::ask;

const REPLICAS: &str = "mcpgw:1:{r}";
const WORDS: &str = "mcpgw:1:{r}:w";
const ALL: &str = "mcpgw:1:all";

/// The counts.
#[derive(Debug, Default)]
struct Counts {
    /// Sessions that have not stopped to count.
    sessions: u64,
    /// Those that were looked at, by (replica, transport).
    owned: BTreeMap<(String, String), u64>,
    /// Handed back, and not taken up yet.
    free: u64,
    /// Owned by a replica whose beats have stopped.
    orphaned: u64,
    looked_at: u64,
    calls: u64,
    events: u64,
    /// When the oldest one was opened, in milliseconds of Unix time.
    oldest_ms: Option<u64>,
    live: u64,
    draining: u64,
}

/// One session, as it is kept: transport, owner, when it was opened; calls and events.
type Kept = ((Option<String>, Option<String>, Option<u64>), u64, u64);

/// What is known of the sessions, also while they are being looked at.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    now_ms: u64,
    /// Whether all of them are counted, and the replicas known.
    is_begun: bool,
    counts: Counts,
}

impl Sessions {
    /// Counts them, and looks at one after the other.
    ///
    /// # Errors
    /// Redis does not answer.
    ///
    /// # Cancel safety
    /// What was looked at until then is among the figures; the rest is unread.
    pub(super) async fn look(&mut self, line: &Line) -> Result<(), String> {
        let (seconds, micros): (u64, u64) = ask(line, &redis::cmd("TIME")).await?;
        self.now_ms = seconds * 1_000 + micros / 1_000;
        let counts = &mut self.counts;
        let live = beats(line, self.now_ms, counts).await?;
        let after_now = format!("({}", self.now_ms);
        let mut count = redis::cmd("ZCOUNT");
        counts.sessions = ask(line, count.arg(ALL).arg(&after_now).arg("+inf")).await?;
        self.is_begun = true;
        let mut from = 0;
        while from < SESSIONS {
            let mut page = redis::cmd("ZRANGEBYSCORE");
            page.arg(ALL).arg(&after_now).arg("+inf").arg("LIMIT").arg(from).arg(SESSIONS_AT_ONCE);
            let keys: Vec<String> = ask(line, &page).await?;
            let is_last = keys.len() < SESSIONS_AT_ONCE;
            for kept in try_join_all(keys.iter().map(|key| look(line, key))).await? {
                counts.add(kept, &live);
            }
            if is_last {
                break;
            }
            from += SESSIONS_AT_ONCE;
        }
        Ok(())
    }

    /// Whether there are figures.
    pub(super) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// All figures about them; none if they could not even be counted.
    pub(super) fn families(&self) -> Vec<Family> {
        if self.is_begun { self.counts.families(self.now_ms) } else { Vec::new() }
    }
}

/// The names of the replicas that live.
async fn beats(line: &Line, now_ms: u64, counts: &mut Counts) -> Result<BTreeSet<String>, String> {
    let ttl_ms = u64::try_from(BEAT_TTL.as_millis()).unwrap_or(u64::MAX);
    let since = format!("({}", now_ms.saturating_sub(ttl_ms));
    let live: Vec<String> =
        ask(line, redis::cmd("ZRANGEBYSCORE").arg(REPLICAS).arg(since).arg("+inf")).await?;
    if !live.is_empty() {
        let words: Vec<Option<String>> =
            ask(line, redis::cmd("HMGET").arg(WORDS).arg(&live)).await?;
        // `number draining name url`
        let drains = |it: &String| it.split(' ').nth(1) == Some("1");
        counts.draining = count(words.iter().flatten().filter(|it| drains(it)));
    }
    counts.live = count(live.iter()) - counts.draining;
    Ok(live.into_iter().collect())
}

async fn look(line: &Line, key: &str) -> Result<Kept, String> {
    let of = |part: &str| format!("mcpgw:1:{{{key}}}:{part}");
    let record = async {
        let mut record = redis::cmd("HMGET");
        ask(line, record.arg(of("s")).arg(&["transport", "owner", "opened"])).await
    };
    let calls = async { ask(line, redis::cmd("HLEN").arg(of("c"))).await };
    let events = async { ask(line, redis::cmd("XLEN").arg(of("l"))).await };
    let (record, calls, events) = tokio::join!(record, calls, events);
    Ok((record?, calls?, events?))
}

impl Counts {
    fn add(&mut self, ((transport, owner, opened), calls, events): Kept, live: &BTreeSet<String>) {
        // One that ended since leaves no owner, or a note that it ended.
        let (Some(transport), Some(owner)) = (transport, owner) else { return };
        self.looked_at += 1;
        self.calls += calls;
        self.events += events;
        self.oldest_ms = match (self.oldest_ms, opened) {
            (Some(known), Some(opened)) => Some(known.min(opened)),
            (known, opened) => known.or(opened),
        };
        // `fence name url`
        let mut parts = owner.splitn(3, ' ').skip(1);
        let (Some(name), Some(url)) = (parts.next(), parts.next()) else {
            self.free += 1;
            return;
        };
        if !live.contains(name) {
            self.orphaned += 1;
        }
        let replica = url.split_once("://").map_or(url, |(_, authority)| authority);
        *self.owned.entry((replica.to_owned(), transport)).or_default() += 1;
    }

    fn families(&self, now_ms: u64) -> Vec<Family> {
        let gauge =
            |name: &str, help: &str, value: u64| Family::gauge(name, help).with(&[], float(value));
        let mut owned = Family::gauge(
            "mcp_gateway_store_replica_sessions",
            "Sessions in Redis, by the replica that owns them and by transport",
        );
        for ((replica, transport), sessions) in &self.owned {
            owned.add(&[("replica", replica), ("transport", transport)], float(*sessions));
        }
        let replicas = Family::gauge("mcp_gateway_store_replicas", "Replicas by their beats")
            .with(&[("state", "live")], float(self.live))
            .with(&[("state", "draining")], float(self.draining));
        let age_ms = self.oldest_ms.map_or(0, |it| now_ms.saturating_sub(it));
        vec![
            gauge("mcp_gateway_store_sessions", "Sessions in Redis", self.sessions),
            owned,
            gauge(
                "mcp_gateway_store_sessions_free",
                "Sessions in Redis that were handed back and that no replica serves",
                self.free,
            ),
            gauge(
                "mcp_gateway_store_sessions_orphaned",
                "Sessions in Redis whose owner gives no sign of life",
                self.orphaned,
            ),
            gauge(
                "mcp_gateway_store_sessions_unread",
                "Sessions in Redis that were beyond what is looked at one by one",
                self.sessions.saturating_sub(self.looked_at),
            ),
            Family::gauge(
                "mcp_gateway_store_oldest_session_age_seconds",
                "Time since the oldest session in Redis was opened; 0 without one",
            )
            .with(&[], float(age_ms) / 1_000.0),
            gauge(
                "mcp_gateway_store_calls_in_flight",
                "Calls in flight that are kept in Redis",
                self.calls,
            ),
            gauge("mcp_gateway_store_events", "Events kept in Redis for replay", self.events),
            replicas,
        ]
    }
}

fn count<T>(all: impl Iterator<Item = T>) -> u64 {
    all.fold(0, |count, _| count + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::encode;

    #[test]
    fn sessions_are_told_apart_by_their_owners() {
        let live = BTreeSet::from(["a-1".to_owned()]);
        let kept = |owner: &str, opened| {
            ((Some("sse".to_owned()), Some(owner.to_owned()), Some(opened)), 2, 3)
        };
        let mut counts = Counts { sessions: 5, live: 1, ..Counts::default() };
        counts.add(kept("1 a-1 http://10.0.0.1:9100", 7_000), &live);
        counts.add(kept("2 b-2 http://10.0.0.2:9100", 5_000), &live);
        counts.add(kept("", 6_000), &live);
        counts.add(((None, None, None), 0, 0), &live);
        let text = encode(&counts.families(9_500));
        for line in [
            "mcp_gateway_store_sessions 5",
            "mcp_gateway_store_replica_sessions{replica=\"10.0.0.1:9100\",transport=\"sse\"} 1",
            "mcp_gateway_store_replica_sessions{replica=\"10.0.0.2:9100\",transport=\"sse\"} 1",
            "mcp_gateway_store_sessions_free 1",
            "mcp_gateway_store_sessions_orphaned 1",
            "mcp_gateway_store_sessions_unread 2",
            "mcp_gateway_store_oldest_session_age_seconds 4.5",
            "mcp_gateway_store_calls_in_flight 6",
            "mcp_gateway_store_events 9",
            "mcp_gateway_store_replicas{state=\"live\"} 1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }
}
