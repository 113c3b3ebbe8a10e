//! The store that replicas share: sessions in Redis.
//!
//! Keys, all behind `mcpgw:1:`:
//!
//! | key | type | what | lasts |
//! |---|---|---|---|
//! | `{h}:s` | hash | record, owner, fence, places; or that it ended | idle time, absolute end |
//! | `{h}:l` | stream | the log, ids `<seq>-0` | as `{h}:s` |
//! | `{h}:c` | hash | calls in flight: id, stream | as `{h}:s` |
//! | `n:<holder>` | sorted set | a principal's sessions, by when they stop to count | the last |
//! | `p:<holder>` | string | the replica a principal is pinned to | absolute end |
//! | `{r}`, `{r}:w` | sorted set, hash | replicas by their last beat; their words | for ever |
//! | `{r}:b` | hash | since when this run of the server holds data | for ever |
//! | `all` | sorted set | sessions, by when they stop to count, for operators | the last |
//! | `rl:{bucket}` | string | when a bucket of a rate limit will be full, in µs | until then |
//!
//! `h` is the session's key. What is written in one step is in one slot of a cluster. Each write of
//! a session has a number that rises, so that one given up that arrives late undoes no later one.

pub mod checkup;
mod fault;
mod form;
mod link;
mod listing;
mod script;
mod take;
mod target;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytestring::ByteString;
use futures_util::future::join;
use redis::{Cmd, Script, ScriptInvocation, Value};
use thiserror::Error;

use crate::config::RedisConfig;
use crate::config::limits::store::{
    ANSWER_TIMEOUT, ANSWER_TIMEOUT_MAX, BEAT_TTL, BYTES_A_MILLISECOND, LATE_WRITES, OWNERS,
    PIN_TRIES, PLACES_OF_OWNER,
};
use crate::session::bucket::Quota;
use crate::session::id::{Holder, SessionKey};
pub use crate::session::redis::form::Caps;
use crate::session::redis::link::Link;
use crate::session::redis::script::Scripts;
use crate::session::redis::target::Target;
use crate::session::store::{
    Answer, Beat, Claim, Estate, Kept, Life, Listed, Look, Page, Pulse, Record, Store, StoreError,
    counted_for,
};
use crate::session::tenure::{Replica, Tenure};
use crate::supervise::Tasks;
use crate::telemetry::metrics::Metrics;

const PREFIX: &str = "mcpgw:1:";
const REPLICAS: &str = "mcpgw:1:{r}";
const WORDS: &str = "mcpgw:1:{r}:w";
const BORN: &str = "mcpgw:1:{r}:b";
const ALL: &str = "mcpgw:1:all";

/// Sessions in Redis. Clones are the same store.
#[derive(Clone)]
pub struct RedisStore {
    link: Link,
    caps: Caps,
    scripts: Arc<Scripts>,
    writes: Arc<AtomicU64>,
}

/// Redis refuses, and waiting does not help: the settings are wrong.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the Redis of `redis.url` cannot be used: {0}")]
pub struct Refused(String);

impl RedisStore {
    /// Connects. A Redis that is away is no error: the store answers that it is unavailable until
    /// it is there, and goes on trying in the background.
    ///
    /// # Errors
    /// A password that is wrong, TLS where there is none, a cluster that is none and the like.
    pub async fn connect(
        config: &RedisConfig,
        caps: Caps,
        tasks: &Tasks,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Refused> {
        let refused = |fault: fault::Fault| Refused(fault.to_string());
        let target = Target::new(config).map_err(refused)?;
        let scripts = Arc::new(Scripts::new());
        let opening = Link::open(target, scripts.clone(), tasks, metrics);
        let link = opening.await.map_err(refused)?;
        Ok(Self { link, caps, scripts, writes: Arc::default() })
    }

    /// Whether there is a connection.
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// The number of the next write.
    fn number(&self) -> u64 {
        self.writes.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn ask<T>(
        &self,
        what: &'static str,
        call: &ScriptInvocation<'_>,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<T, StoreError> {
        let value = self.link.run(what, call).await?;
        read(value).ok_or_else(|| self.link.unreadable())
    }

    async fn send<T>(
        &self,
        what: &'static str,
        command: &Cmd,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<T, StoreError> {
        let value = self.link.query(what, command).await?;
        read(value).ok_or_else(|| self.link.unreadable())
    }

    /// Creates or restores, as `mode` says, and notes the session for operators.
    async fn open(
        &self,
        mode: &str,
        (key, tenure): (SessionKey, &Tenure),
        estate: &Estate,
        life: Life,
    ) -> Result<Value, StoreError> {
        let mut call = on(&self.scripts.open, key);
        call.arg(mode).arg(tenure.to_string()).arg(self.number()).arg(estate.former(tenure));
        call.arg(millis(life.idle)).arg(millis(life.total));
        call.arg(estate.seq).arg(estate.floor).arg(form::spans(&estate.spans)).arg(tenure.fence);
        form::put_record(&mut call, &estate.record);
        form::put_events(&mut call, self.caps, &estate.events);
        form::put_calls(&mut call, &estate.calls);
        // A session that is missing in the operators' list is served all the same.
        let listed = [key];
        let listing = self.count_at(ALL, &listed, counted_for(life.idle));
        let patience = patience(estate.weight());
        let (opened, _listed) = join(self.link.run_for("open", &call, patience), listing).await;
        opened
    }

    async fn pulses(&self, only: &str) -> Result<Vec<Beat>, StoreError> {
        let mut call = self.scripts.pulses.prepare_invoke();
        call.key(REPLICAS).key(WORDS).arg(millis(BEAT_TTL)).arg(only);
        let read = |value| form::texts(value)?.iter().map(|it| form::read_beat(it)).collect();
        self.ask("pulses", &call, read).await
    }

    /// Where a principal is pinned to; as it is kept.
    async fn pinned(&self, key: &str) -> Result<ByteString, StoreError> {
        let read =
            |value| if value == Value::Nil { Some(ByteString::new()) } else { form::text(value) };
        self.send("pinned", redis::cmd("GET").arg(key), read).await
    }
}

impl Store for RedisStore {
    fn is_shared(&self) -> bool {
        true
    }

    fn is_up(&self) -> bool {
        self.link.is_up()
    }

    fn create(
        &self,
        key: SessionKey,
        tenure: Tenure,
        record: Record,
        life: Life,
    ) -> Answer<'_, ()> {
        Box::pin(async move {
            let estate = Estate { record, seq: tenure.start(), ..Estate::default() };
            let opened = self.open("create", (key, &tenure), &estate, life).await?;
            match form::text(opened).as_deref() {
                Some("done") => Ok(()),
                Some("taken") => Err(StoreError::Taken),
                _ => Err(self.link.unreadable()),
            }
        })
    }

    fn look(&self, key: SessionKey) -> Answer<'_, Look> {
        Box::pin(async move {
            let command = Cmd::hget(hash(key), "owner");
            self.send("look", &command, form::read_look).await
        })
    }

    fn claim(&self, key: SessionKey, from: Option<Tenure>, by: Replica) -> Answer<'_, Claim> {
        Box::pin(async move {
            let from = from.map_or_else(String::new, |it| it.to_string());
            let mut call = on(&self.scripts.claim, key);
            call.arg(from)
                .arg(form::replica(&by))
                .arg(self.number())
                .arg(PLACES_OF_OWNER)
                .arg(OWNERS);
            // How much comes back is not known, and nobody but the one client waits.
            let claimed = self.link.run_for("claim", &call, ANSWER_TIMEOUT_MAX).await?;
            form::read_claim(claimed).ok_or_else(|| self.link.unreadable())
        })
    }

    fn keep(&self, key: SessionKey, tenure: Tenure, page: Page) -> Answer<'_, Kept> {
        Box::pin(async move {
            let mut call = on(&self.scripts.keep, key);
            call.arg(tenure.to_string()).arg(self.number()).arg(page.prev).arg(page.seq);
            form::put_page(&mut call, self.caps, &page);
            let kept = self.link.run_for("keep", &call, patience(page.weight())).await?;
            form::read_kept(kept).ok_or_else(|| self.link.unreadable())
        })
    }

    fn restore(
        &self,
        key: SessionKey,
        tenure: Tenure,
        estate: Estate,
        life: Life,
    ) -> Answer<'_, Kept> {
        Box::pin(async move {
            let opened = self.open("restore", (key, &tenure), &estate, life).await?;
            form::read_kept(opened).ok_or_else(|| self.link.unreadable())
        })
    }

    fn release(&self, key: SessionKey, tenure: Tenure) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut call = on(&self.scripts.release, key);
            call.arg(tenure.to_string()).arg(self.number());
            self.link.run("release", &call).await.map(drop)
        })
    }

    fn remove(&self, key: SessionKey, tenure: Option<Tenure>) -> Answer<'_, ()> {
        Box::pin(async move {
            let owner = tenure.map_or_else(String::new, |it| it.to_string());
            let mut call = on(&self.scripts.remove, key);
            call.arg(owner).arg(millis(LATE_WRITES));
            let said = self.ask("remove", &call, form::texts).await?;
            if said.first().is_some_and(|it| &**it == "other") {
                return Ok(());
            }
            // What fails here is counted for an idle time more.
            let member = key.to_string();
            match said.get(1).and_then(|it| Holder::parse(it)) {
                Some(holder) => {
                    let (own, all) = join(self.dismiss(holder, key), self.unlist(&member)).await;
                    own.and(all)
                }
                None => self.unlist(&member).await,
            }
        })
    }

    fn admit(
        &self,
        holder: Holder,
        key: SessionKey,
        max: usize,
        life: Duration,
    ) -> Answer<'_, bool> {
        Box::pin(async move {
            let mut call = self.scripts.admit.prepare_invoke();
            call.key(counted(holder)).arg(key.to_string()).arg(max).arg(millis(life));
            self.ask("admit", &call, |value| form::whole(&value).map(|it| it == 1)).await
        })
    }

    fn count(&self, holder: Holder, keys: Vec<SessionKey>, life: Duration) -> Answer<'_, ()> {
        Box::pin(async move {
            let own = counted(holder);
            let own = self.count_at(&own, &keys, life);
            let (own, all) = join(own, self.count_at(ALL, &keys, life)).await;
            own.and(all)
        })
    }

    fn dismiss(&self, holder: Holder, key: SessionKey) -> Answer<'_, ()> {
        Box::pin(async move {
            let command = Cmd::zrem(counted(holder), key.to_string());
            self.link.query("dismiss", &command).await.map(drop)
        })
    }

    fn pin(&self, holder: Holder, by: Replica, lost: Option<Replica>) -> Answer<'_, Replica> {
        Box::pin(async move {
            let key = format!("{PREFIX}p:{holder}");
            let mut seen = self.pinned(&key).await?;
            for _ in 0..PIN_TRIES {
                let held = form::read_replica(&seen);
                let beat = match &held {
                    Some(it) => self.pulse_of(&it.name).await?,
                    None => None,
                };
                let stays = held != lost && beat.is_some_and(|beat| !beat.is_draining);
                let next = held.filter(|_| stays).unwrap_or_else(|| by.clone());
                let words = form::replica(&next);
                let mut call = self.scripts.pin.prepare_invoke();
                call.key(&key).arg(&*seen).arg(&words).arg(millis(self.caps.life));
                let pinned = self.ask("pin", &call, form::text).await?;
                if *pinned == *words {
                    return Ok(next);
                }
                seen = pinned;
            }
            Err(StoreError::Unavailable)
        })
    }

    fn beat(&self, beat: Beat) -> Answer<'_, Pulse> {
        Box::pin(async move {
            let mut call = self.scripts.beat.prepare_invoke();
            call.key(REPLICAS).key(WORDS).key(BORN);
            call.arg(&*beat.replica.name).arg(beat.number).arg(form::words(&beat));
            call.arg(millis(BEAT_TTL));
            let read = |value| {
                let [now, age] = <[_; 2]>::try_from(form::texts(value)?).ok()?;
                let age = Duration::from_millis(age.parse().ok()?);
                Some(Pulse { now_ms: now.parse().ok()?, age })
            };
            self.ask("beat", &call, read).await
        })
    }

    fn pulse_of(&self, name: &str) -> Answer<'_, Option<Beat>> {
        let name = name.to_owned();
        Box::pin(async move { Ok(self.pulses(&name).await?.pop()) })
    }

    fn replicas(&self) -> Answer<'_, Vec<Beat>> {
        Box::pin(self.pulses(""))
    }

    fn retire(&self, name: &str) -> Answer<'_, ()> {
        let name = name.to_owned();
        Box::pin(async move {
            let mut call = self.scripts.retire.prepare_invoke();
            call.key(REPLICAS).key(WORDS).arg(name);
            self.link.run("retire", &call).await.map(drop)
        })
    }

    fn list(&self, max: usize) -> Answer<'_, Vec<Listed>> {
        Box::pin(self.listed(max))
    }

    fn take(&self, bucket: &str, quota: Quota, count: u64) -> Answer<'_, Option<Duration>> {
        Box::pin(self.taken(bucket.to_owned(), quota, count))
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("link", &self.link).finish_non_exhaustive()
    }
}

/// A step on a session's three keys.
fn on(script: &Script, key: SessionKey) -> ScriptInvocation<'_> {
    let mut call = script.prepare_invoke();
    call.key(hash(key)).key(format!("{PREFIX}{{{key}}}:l")).key(format!("{PREFIX}{{{key}}}:c"));
    call
}

fn hash(key: SessionKey) -> String {
    format!("{PREFIX}{{{key}}}:s")
}

fn counted(holder: Holder) -> String {
    format!("{PREFIX}n:{holder}")
}

/// How long the answer to a write of so many bytes may take.
fn patience(bytes: usize) -> Duration {
    let more = u64::try_from(bytes / BYTES_A_MILLISECOND).unwrap_or(u64::MAX);
    (ANSWER_TIMEOUT.saturating_add(Duration::from_millis(more))).min(ANSWER_TIMEOUT_MAX)
}

fn millis(time: Duration) -> u64 {
    // Beyond a thousand years nothing is told apart, and Redis counts in 63 bits.
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(1 << 45)
}

#[cfg(test)]
mod tests;
