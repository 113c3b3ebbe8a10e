//! How often a client may ask.
//!
//! Three limits, one after the other, each a bucket (`session/bucket.rs`):
//!
//! | scope | of | counts | kept |
//! |---|---|---|---|
//! | address | an address | all that comes from it, before anything is read | here |
//! | identity | a caller: an address, or a credential | its requests | in the store |
//! | tool | a caller and a rule of `rate_limit.tools` | its calls of such tools | in the store |
//!
//! What replicas share is kept in the store they share, so that a limit is one limit however many
//! they are. While the store does not answer, each of them gives out an equal part of it. Without
//! a shared store all is kept here, and nothing waits.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::refusal::{Reason, Refusal};

use crate::config::{CallerBy, RateLimit, ToolRate};
use crate::policy::address::network_of;
use crate::session::bucket::{Buckets, Quota};
use crate::session::caller::Caller;
use crate::session::id::Holder;
use crate::session::standing::Standing;
use crate::session::store::Store;
use crate::telemetry::metrics::Metrics;

/// The limits of rates; none where `rate_limit` does not ask for any.
#[derive(Debug, Default)]
pub struct Limits(Option<Box<Armed>>);

/// A rule for tools, by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule(usize);

/// Limits that are on.
struct Armed {
    by: CallerBy,
    address: Quota,
    caller: Quota,
    tools: Vec<(ToolRate, Quota)>,
    here: Buckets,
    store: Arc<dyn Store>,
    standing: Arc<Standing>,
    metrics: Arc<Metrics>,
}

/// A bucket, as it is kept here.
#[derive(Hash)]
enum Key {
    Address(IpAddr),
    Caller(Caller),
    Tool(Caller, usize),
}

impl Limits {
    /// The limits of a configuration.
    pub fn new(
        config: &RateLimit,
        store: Arc<dyn Store>,
        standing: Arc<Standing>,
        metrics: Arc<Metrics>,
    ) -> Self {
        if !config.enabled {
            return Self::default();
        }
        let tools = config.tools.iter().map(|rule| (rule.clone(), Quota::of(&rule.rate)));
        Self(Some(Box::new(Armed {
            by: config.by,
            address: Quota::of(&config.address),
            caller: Quota::of(&config.caller),
            tools: tools.collect(),
            here: Buckets::new(Instant::now()),
            store,
            standing,
            metrics,
        })))
    }

    /// Whether there are any.
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whose requests these are; `None` where nothing is limited. `credential` is who presents one,
    /// and is asked for only where that counts.
    pub fn caller(
        &self,
        address: IpAddr,
        credential: impl FnOnce() -> Option<Holder>,
    ) -> Option<Caller> {
        let holder = match self.0.as_ref()?.by {
            CallerBy::Address => None,
            CallerBy::Credential => credential(),
        };
        Some(holder.map_or_else(|| Caller::Address(network_of(address)), Caller::Credential))
    }

    /// Counts something that came from an address.
    ///
    /// # Errors
    /// `RATE_LIMITED`: too much came from there.
    pub fn pass(&self, address: IpAddr) -> Result<(), Refusal> {
        let Some(armed) = &self.0 else { return Ok(()) };
        let key = Key::Address(network_of(address));
        let taken = armed.here.take(key, armed.address, 1, Instant::now());
        taken.map_err(|wait| {
            let what = "too many requests from this address (rate_limit.address_max)";
            armed.refused("address", what, wait)
        })
    }

    /// Counts requests of a caller.
    ///
    /// # Errors
    /// `RATE_LIMITED`: there were too many; none of these is counted. It tells when to come back,
    /// unless so many never pass at once.
    ///
    /// # Cancel safety
    /// Dropped before its end, the requests may have been counted.
    pub async fn take(&self, caller: Caller, count: u64) -> Result<(), Refusal> {
        let Some(armed) = &self.0 else { return Ok(()) };
        let quota = armed.caller;
        let key = Key::Caller(caller);
        let Some(wait) = armed.take(key, || caller.to_string(), quota, count).await else {
            return Ok(());
        };
        if count > quota.burst {
            let what = "so many requests are never let through at once (rate_limit.burst); send \
                        fewer in one batch";
            armed.metrics.count_limited("identity");
            return Err(Refusal::new(Reason::RateLimited, what));
        }
        Err(armed.refused("identity", "too many requests (rate_limit.max)", wait))
    }

    /// The rule for calls of a tool, by its own name at its server.
    pub fn rule(&self, server: &str, tool: &str) -> Option<Rule> {
        let tools = &self.0.as_ref()?.tools;
        tools.iter().position(|(rule, _)| rule.fits(server, tool)).map(Rule)
    }

    /// Counts a call by a rule.
    ///
    /// # Errors
    /// `RATE_LIMITED`: there were too many.
    ///
    /// # Cancel safety
    /// As [`take`](Self::take).
    pub async fn take_call(&self, caller: Caller, rule: Rule) -> Result<(), Refusal> {
        let Some(armed) = &self.0 else { return Ok(()) };
        let Some((tools, quota)) = armed.tools.get(rule.0) else { return Ok(()) };
        let key = Key::Tool(caller, rule.0);
        let name = || format!("{caller}:{}", tools.pattern);
        let Some(wait) = armed.take(key, name, *quota, 1).await else { return Ok(()) };
        Err(armed.refused("tool", "too many calls of this tool (rate_limit.tools)", wait))
    }
}

impl Armed {
    /// Takes from a bucket that replicas share; how long to wait, if it holds too little.
    async fn take(
        &self,
        key: Key,
        name: impl FnOnce() -> String,
        quota: Quota,
        count: u64,
    ) -> Option<Duration> {
        if !self.store.is_shared() {
            return self.here.take(key, quota, count, Instant::now()).err();
        }
        match self.store.take(&name(), quota, count).await {
            Ok(wait) => wait,
            Err(_unavailable) => {
                let replicas = self.standing.peers().len().saturating_add(1);
                let share = quota.share(u64::try_from(replicas).unwrap_or(u64::MAX));
                self.here.take(key, share, count, Instant::now()).err()
            }
        }
    }

    fn refused(&self, scope: &str, what: &str, wait: Duration) -> Refusal {
        self.metrics.count_limited(scope);
        // Whole milliseconds and seconds, so that nobody comes back a moment too early.
        let wait = Duration::from_micros(up_to(wait.as_micros(), 1000));
        let seconds = up_to(wait.as_micros(), 1_000_000) / 1_000_000;
        let told = format!("{what}; try again in {seconds} s");
        Refusal::new(Reason::RateLimited, told).retry_after(wait)
    }
}

/// The next multiple of a unit.
fn up_to(micros: u128, unit: u64) -> u64 {
    u64::try_from(micros).unwrap_or(u64::MAX).div_ceil(unit).saturating_mul(unit)
}

impl fmt::Debug for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Armed").field("caller", &self.caller).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
