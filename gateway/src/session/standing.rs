//! This replica among its peers: it says that it lives, and knows who else does.
//!
//! One task beats. Each beat that the store confirms renews the [`Lease`], tells the store's time
//! and age, and is followed by a look at the others. While the store is away the beats come more
//! often, so that everything goes on soon after it is back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::limits::store::{BEAT_AGAIN, BEAT_EVERY, BEAT_TTL, STILL_AFTER};
use crate::session::lease::Lease;
use crate::session::store::{Beat, Pulse, Store, StoreError};
use crate::session::tenure::Replica;

/// This replica among its peers.
pub struct Standing {
    store: Arc<dyn Store>,
    replica: Replica,
    lease: Arc<Lease>,
    number: AtomicU64,
    is_draining: AtomicBool,
    is_up: AtomicBool,
    /// A beat is wanted at once.
    hurry: Notify,
    /// The store answers again.
    up: Notify,
    /// Beats go one after the other, or a late one could say that a replica is not stopping.
    beating: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
    /// How often a peer was chosen.
    turn: AtomicUsize,
    /// The store began anew.
    anew: Notify,
}

/// What the store told.
#[derive(Default)]
struct Known {
    /// Its clock and age at the last beat, and when that was sent.
    pulse: Option<(Pulse, Instant)>,
    /// The others that live, by name.
    peers: BTreeMap<Arc<str>, Peer>,
}

/// Another replica that lives.
struct Peer {
    beat: Beat,
    /// When the number of its beat was first seen.
    since: Instant,
    /// Fires when it lives no more.
    gone: CancellationToken,
    /// Fires when it says that it is stopping.
    stopping: CancellationToken,
}

/// What is known of another replica's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Its beat moves, or has not been watched for long enough.
    Moving,
    /// Its beat has not moved for a beat and a half.
    Still,
    /// Its beat has run out.
    Over,
}

impl Standing {
    /// A replica that nobody knows of yet.
    pub fn new(store: Arc<dyn Store>, replica: Replica, lease: Arc<Lease>) -> Self {
        Self {
            store,
            replica,
            lease,
            number: AtomicU64::new(0),
            is_draining: AtomicBool::new(false),
            is_up: AtomicBool::new(false),
            hurry: Notify::new(),
            up: Notify::new(),
            beating: tokio::sync::Mutex::default(),
            known: Mutex::default(),
            turn: AtomicUsize::new(0),
            anew: Notify::new(),
        }
    }

    /// Whether there are others to know of.
    pub fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// This replica.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Beats until the token fires, and then lets the others know that this replica is over.
    /// Returns at once where the store is not shared.
    pub async fn run(&self, token: CancellationToken) {
        if !self.store.is_shared() {
            return;
        }
        loop {
            let pause = self.beat().await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.hurry.notified() => {}
                () = token.cancelled() => return self.retire().await,
            }
        }
    }

    /// Fires when the store is found to be younger than it was: it may have forgotten what it was
    /// told.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn store_began_anew(&self) {
        self.anew.notified().await;
    }

    /// Says, from the next beat on, which comes at once, whether this replica is stopping.
    pub fn set_draining(&self, is_draining: bool) {
        self.is_draining.store(is_draining, Ordering::Relaxed);
        self.hurry.notify_one();
    }

    /// Whether this replica is stopping.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Lets the others know at once that this replica is over. The last thing [`run`](Self::run)
    /// does is the same.
    pub async fn retire(&self) {
        if let Err(fault) = self.store.retire(&self.replica.name).await {
            tracing::warn!(%fault, "the others could not be told that this replica ends");
        }
    }

    /// The other replicas that live and are not stopping.
    pub fn peers(&self) -> Vec<Replica> {
        let known = self.known.lock();
        let beats = known.peers.values().map(|peer| &peer.beat);
        beats.filter(|it| !it.is_draining).map(|it| it.replica.clone()).collect()
    }

    /// As [`peers`](Self::peers), of which the store is asked at this moment; what was known, when
    /// it does not answer.
    pub async fn peers_anew(&self) -> Vec<Replica> {
        if let Ok(beats) = self.store.replicas().await {
            self.meet(beats);
        }
        self.peers()
    }

    /// One of them, another one each time.
    pub fn next_peer(&self) -> Option<Replica> {
        let mut peers = self.peers();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (!peers.is_empty()).then(|| peers.swap_remove(turn % peers.len()))
    }

    /// Whether another replica is known to be stopping.
    pub fn is_leaving(&self, name: &str) -> bool {
        self.known.lock().peers.get(name).is_some_and(|peer| peer.beat.is_draining)
    }

    /// Fires when a replica is known to live no more; `None` when nothing is known of it.
    pub fn watch(&self, name: &str) -> Option<CancellationToken> {
        self.known.lock().peers.get(name).map(|peer| peer.gone.clone())
    }

    /// As [`watch`](Self::watch); the store is asked about a replica that nothing is known of yet.
    pub async fn watch_or_learn(&self, name: &str) -> Option<CancellationToken> {
        if let Some(gone) = self.watch(name) {
            return Some(gone);
        }
        // An owner that has not been met may have begun a moment ago.
        match self.life_of(name).await {
            Ok(Life::Moving | Life::Still) => self.watch(name),
            Ok(Life::Over) | Err(_) => None,
        }
    }

    /// As [`watch_or_learn`](Self::watch_or_learn), but fires when a replica is known to be
    /// stopping. Nobody can tell of one that nothing is known of.
    pub async fn watch_for_stop(&self, name: &str) -> Option<CancellationToken> {
        self.watch_or_learn(name).await?;
        self.known.lock().peers.get(name).map(|peer| peer.stopping.clone())
    }

    /// What the store knows of another replica's life, at this moment.
    ///
    /// # Errors
    /// The store is away.
    pub async fn life_of(&self, name: &str) -> Result<Life, StoreError> {
        let beat = self.store.pulse_of(name).await?;
        let now = Instant::now();
        let mut known = self.known.lock();
        let Some(beat) = beat else {
            let pulse = known.pulse;
            let is_gone = |peer: &Peer| !peer.may_be_forgotten(pulse, now);
            if known.peers.get(name).is_some_and(is_gone) {
                known.peers.remove(name).into_iter().for_each(|peer| peer.gone.cancel());
            }
            return Ok(Life::Over);
        };
        let is_still = now.duration_since(known.see(beat, now)) >= STILL_AFTER;
        Ok(if is_still { Life::Still } else { Life::Moving })
    }

    /// The store's clock, in milliseconds of the Unix era; `None` before the first beat.
    pub fn store_now_ms(&self) -> Option<u64> {
        let (pulse, at) = self.known.lock().pulse?;
        Some(pulse.now_ms.saturating_add(u64::try_from(at.elapsed().as_millis()).ok()?))
    }

    /// For how long the store has held data; `None` before the first beat.
    pub fn store_age(&self) -> Option<Duration> {
        let (pulse, at) = self.known.lock().pulse?;
        Some(pulse.age + at.elapsed())
    }

    /// For how long the store had held data at the moment of the call; it is asked again.
    ///
    /// # Errors
    /// The store is away.
    pub async fn store_age_anew(&self) -> Result<Duration, StoreError> {
        let asked = Instant::now();
        let _one_at_a_time = self.beating.lock().await;
        // Who waited for another's answer need not ask, if that was asked late enough.
        let told = |known: &Known| known.pulse.filter(|(_, at)| *at > asked);
        if told(&self.known.lock()).is_none() {
            self.beat_now().await?;
        }
        let (pulse, at) = self.known.lock().pulse.ok_or(StoreError::Unavailable)?;
        Ok(pulse.age.saturating_sub(at.saturating_duration_since(asked)))
    }

    /// Whether the store confirmed the last beat.
    pub fn is_store_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Waits until the store confirms a beat, and did not confirm the one before. For one task.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn store_is_back(&self) {
        self.up.notified().await;
    }

    /// Whether it ever confirmed one; always where it is not shared.
    pub fn was_confirmed(&self) -> bool {
        !self.store.is_shared() || self.known.lock().pulse.is_some()
    }

    /// A sign of life and a look at the others; the pause until the next.
    async fn beat(&self) -> Duration {
        let beating = self.beating.lock().await;
        let beaten = self.beat_now().await;
        drop(beating);
        let was_up = self.is_up.swap(beaten.is_ok(), Ordering::Relaxed);
        match beaten {
            Err(fault) => {
                if was_up || self.number.load(Ordering::Relaxed) == 1 {
                    tracing::warn!(%fault, "the session store does not answer");
                }
                return BEAT_AGAIN;
            }
            Ok(()) if !was_up => {
                tracing::info!(replica = %self.replica.name, "the session store answers");
            }
            Ok(()) => {}
        }
        if let Ok(beats) = self.store.replicas().await {
            self.meet(beats);
        }
        BEAT_EVERY
    }

    /// One sign of life. What is noted of the answer is no later than when it was asked for.
    async fn beat_now(&self) -> Result<(), StoreError> {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let is_draining = self.is_draining();
        let sent = Instant::now();
        let beat = Beat { replica: self.replica.clone(), number, is_draining };
        let pulse = self.store.beat(beat).await?;
        self.lease.confirm(sent, Instant::now());
        let former = self.known.lock().pulse.replace((pulse, sent));
        if former.is_some_and(|(former, at)| pulse.age < former.age + (sent - at) / 2) {
            self.anew.notify_one();
        }
        if !self.is_store_up() {
            self.up.notify_one();
        }
        Ok(())
    }

    /// Takes note of who lives, and of who does no more.
    fn meet(&self, beats: Vec<Beat>) {
        let now = Instant::now();
        let others = beats.into_iter().filter(|beat| beat.replica.name != self.replica.name);
        let others: Vec<_> = others.collect();
        let mut known = self.known.lock();
        let pulse = known.pulse;
        known.peers.retain(|name, peer| {
            let lives = others.iter().any(|beat| beat.replica.name == *name)
                || peer.may_be_forgotten(pulse, now);
            if !lives {
                peer.gone.cancel();
            }
            lives
        });
        for beat in others {
            known.see(beat, now);
        }
    }
}

impl Peer {
    /// Whether the store began to hold data after this one was seen last, and its beat has not run
    /// out: it may live, and the store has not heard of it yet.
    fn may_be_forgotten(&self, pulse: Option<(Pulse, Instant)>, now: Instant) -> bool {
        pulse.is_some_and(|(pulse, at)| self.since + pulse.age < at)
            && now.duration_since(self.since) < BEAT_TTL
    }
}

impl Known {
    /// Notes another's beat; since when its number is known.
    fn see(&mut self, beat: Beat, now: Instant) -> Instant {
        let peer = self.peers.entry(beat.replica.name.clone()).or_insert_with(|| Peer {
            beat: beat.clone(),
            since: now,
            gone: CancellationToken::new(),
            stopping: CancellationToken::new(),
        });
        // Two looks may overtake each other.
        if beat.number > peer.beat.number {
            peer.since = now;
            peer.beat = beat;
        }
        if peer.beat.is_draining {
            peer.stopping.cancel();
        }
        peer.since
    }
}

impl std::fmt::Debug for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standing").field("replica", &self.replica).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::memory::MemoryStore;

    /// A store whose time is the test's, and standings of replicas that share it.
    struct Fleet {
        store: MemoryStore,
        skipped: Arc<Mutex<Duration>>,
    }

    impl Fleet {
        fn new() -> Self {
            let begun = Instant::now();
            let skipped = Arc::<Mutex<Duration>>::default();
            let clock = skipped.clone();
            let store = MemoryStore::shared(Arc::new(move || begun + *clock.lock()));
            Self { store, skipped }
        }

        fn join(&self, host: &str) -> Standing {
            let lease = Arc::new(Lease::new(Instant::now()));
            let replica = Replica::new(host, &format!("http://{host}:9100"));
            Standing::new(Arc::new(self.store.clone()), replica, lease)
        }
    }

    #[tokio::test]
    async fn a_beat_confirms_the_lease_and_tells_the_time() {
        let fleet = Fleet::new();
        let standing = fleet.join("a");
        assert!(!standing.was_confirmed() && standing.store_now_ms().is_none());
        *fleet.skipped.lock() = Duration::from_secs(60);
        assert_eq!(standing.beat().await, BEAT_EVERY);
        assert!(standing.lease.is_firm(Instant::now()) && standing.is_store_up());
        assert!(standing.was_confirmed());
        let now = standing.store_now_ms().unwrap();
        assert!((60_000..70_000).contains(&now), "{now}");
        assert!(standing.store_age().unwrap() >= Duration::from_secs(60));
    }

    #[tokio::test]
    async fn peers_are_those_that_live_and_are_not_stopping() {
        let fleet = Fleet::new();
        let (one, other) = (fleet.join("a"), fleet.join("b"));
        one.beat().await;
        other.beat().await;
        assert_eq!(other.peers(), std::slice::from_ref(one.replica()));
        assert!(one.peers().is_empty(), "it has not looked since");
        other.set_draining(true);
        other.beat().await;
        one.beat().await;
        assert!(one.peers().is_empty(), "the other one is stopping");
        let gone = one.watch(&other.replica().name).unwrap();
        assert!(!gone.is_cancelled());
        // The store has been there for longer than they have known each other.
        *fleet.skipped.lock() = Duration::from_secs(1);
        other.retire().await;
        one.beat().await;
        assert!(gone.is_cancelled() && one.watch(&other.replica().name).is_none());
    }

    #[tokio::test]
    async fn a_peer_that_the_store_forgot_is_not_gone() {
        let mut fleet = Fleet::new();
        let (one, other) = (fleet.join("a"), fleet.join("b"));
        other.beat().await;
        one.beat().await;
        let name = other.replica().name.clone();
        let gone = one.watch(&name).unwrap();
        // Its clock stands, so it has just begun.
        fleet.store.empty();
        one.beat().await;
        assert!(!gone.is_cancelled() && one.watch(&name).is_some());
        assert_eq!(one.life_of(&name).await.unwrap(), Life::Over);
        assert!(!gone.is_cancelled(), "it has yet to be heard of");
        other.beat().await;
        one.beat().await;
        *fleet.skipped.lock() = Duration::from_secs(1);
        other.retire().await;
        one.beat().await;
        assert!(gone.is_cancelled(), "it says so itself");
    }

    #[tokio::test]
    async fn a_beat_that_does_not_move_is_told_from_one_that_does() {
        let fleet = Fleet::new();
        let (one, other) = (fleet.join("a"), fleet.join("b"));
        let name = other.replica().name.clone();
        other.beat().await;
        assert_eq!(one.life_of(&name).await, Ok(Life::Moving));
        let long_ago = Instant::now().checked_sub(STILL_AFTER).unwrap();
        one.known.lock().peers.get_mut(&name).unwrap().since = long_ago;
        assert_eq!(one.life_of(&name).await, Ok(Life::Still));
        other.beat().await;
        assert_eq!(one.life_of(&name).await, Ok(Life::Moving));
        *fleet.skipped.lock() = BEAT_TTL;
        assert_eq!(one.life_of(&name).await, Ok(Life::Over));
    }

    #[tokio::test]
    async fn beats_come_at_once_when_wanted_and_end_with_the_token() {
        let fleet = Fleet::new();
        let (one, other) = (Arc::new(fleet.join("a")), fleet.join("b"));
        let token = CancellationToken::new();
        let beating = one.run(token.clone());
        let watching = async {
            while other.store.pulse_of(&one.replica().name).await.unwrap().is_none() {
                tokio::task::yield_now().await;
            }
            one.set_draining(true);
            let is_told = async || {
                let beat = other.store.pulse_of(&one.replica().name).await.unwrap();
                beat.is_some_and(|beat| beat.is_draining)
            };
            while !is_told().await {
                tokio::task::yield_now().await;
            }
            token.cancel();
        };
        tokio::time::timeout(BEAT_EVERY, async { tokio::join!(beating, watching) }).await.unwrap();
    }
}
