//! How many messages may pass: buckets that fill again by themselves, and a bounded table of them.
//!
//! The rule is GCRA (ITU-T I.371, "virtual scheduling"): of a bucket nothing is known but the
//! moment at which it will be full. What is taken moves that moment on; a bucket is empty when it
//! lies further ahead than the bucket takes to fill. Times are microseconds of whichever clock,
//! because `session/redis/take.lua` has the same rule with the store's.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::Rate;
use crate::config::limits::rate::{BUCKETS, SET_BUCKETS};

/// What a bucket holds, and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Time in which one message's place comes back, in microseconds; at least 1.
    pub each_us: u64,
    /// Messages that a full bucket holds; at least 1.
    pub burst: u64,
}

impl Quota {
    /// What a setting asks for.
    pub fn of(rate: &Rate) -> Self {
        let window_us = u64::try_from(rate.window.as_micros()).unwrap_or(u64::MAX);
        let each_us = window_us.checked_div(u64::from(rate.max)).unwrap_or(window_us);
        Self { each_us: each_us.max(1), burst: u64::from(rate.burst).max(1) }
    }

    /// One of `count` equal parts, rounded up.
    #[must_use]
    pub fn share(self, count: u64) -> Self {
        let count = count.max(1);
        Self { each_us: self.each_us.saturating_mul(count), burst: self.burst.div_ceil(count) }
    }

    /// Time in which an empty bucket fills, in microseconds.
    pub fn fill_us(self) -> u64 {
        self.each_us.saturating_mul(self.burst)
    }

    /// When a bucket will be full of which a moment is known, however that came about: never before
    /// this moment, and never later than an empty one. A clock that was set back, or a bucket that
    /// was larger, leaves a moment that lies further ahead, until which nothing would pass.
    pub fn within(self, full_at_us: u64, now_us: u64) -> u64 {
        full_at_us.clamp(now_us, now_us.saturating_add(self.fill_us()))
    }

    /// Takes `count` messages out of a bucket that will be full at `full_at`: when it will be full
    /// then.
    ///
    /// # Errors
    /// It holds fewer; after so many microseconds it will hold as many. A bucket that never does
    /// tells how much longer than it takes to fill it would have to.
    pub fn take(self, full_at_us: u64, now_us: u64, count: u64) -> Result<u64, u64> {
        let taken = self.each_us.saturating_mul(count);
        let then = self.within(full_at_us, now_us).saturating_add(taken);
        match then.saturating_sub(self.fill_us()).checked_sub(now_us) {
            Some(wait @ 1..) => Err(wait),
            Some(0) | None => Ok(then),
        }
    }
}

/// A table of buckets that never grows: [`BUCKETS`] of them, in sets of [`SET_BUCKETS`].
///
/// A key has its place in one set, chosen by a hash that nobody outside can foresee. Where that set
/// is full, the bucket that is full soonest gives way: it has least to remember, so that a flood of
/// keys takes nothing from those who have spent what they had.
pub struct Buckets {
    sets: Box<[Mutex<[Slot; SET_BUCKETS]>]>,
    hasher: RandomState,
    began: Instant,
}

/// A bucket in use, or none: then its key is 0.
#[derive(Clone, Copy, Default)]
struct Slot {
    key: u64,
    full_at_us: u64,
}

impl Buckets {
    /// A table of full buckets.
    pub fn new(now: Instant) -> Self {
        let sets = (0..BUCKETS / SET_BUCKETS).map(|_| Mutex::default()).collect();
        Self { sets, hasher: RandomState::new(), began: now }
    }

    /// Takes `count` messages out of the bucket of `key`; how long to wait, if it holds fewer.
    pub fn take(
        &self,
        key: impl Hash,
        quota: Quota,
        count: u64,
        now: Instant,
    ) -> Result<(), Duration> {
        // One microsecond after the beginning at least, so that a bucket in use is never at 0.
        let now_us = now.saturating_duration_since(self.began).as_micros();
        let now_us = u64::try_from(now_us).unwrap_or(u64::MAX).saturating_add(1);
        let hash = self.hasher.hash_one(key);
        let key = hash.max(1);
        let place = usize::try_from(hash >> 32).unwrap_or_default().checked_rem(self.sets.len());
        let Some(set) = place.and_then(|place| self.sets.get(place)) else { return Ok(()) };
        let mut set = set.lock();
        let known = set.iter().position(|slot| slot.key == key);
        let soonest = || set.iter().enumerate().min_by_key(|(_, slot)| slot.full_at_us);
        let Some(place) = known.or_else(|| soonest().map(|(place, _)| place)) else {
            return Ok(());
        };
        let Some(slot) = set.get_mut(place) else { return Ok(()) };
        let mut full_at_us = 0;
        if known.is_some() {
            full_at_us = quota.within(slot.full_at_us, now_us);
            // Where nothing is taken too: it fills from here on.
            slot.full_at_us = full_at_us;
        }
        let taken = quota.take(full_at_us, now_us, count).map_err(Duration::from_micros);
        let full_at_us = taken?;
        *slot = Slot { key, full_at_us };
        Ok(())
    }

    /// How many buckets are in use; those that are full by now are counted until their place is
    /// needed.
    pub fn len(&self) -> usize {
        self.sets.iter().map(|set| set.lock().iter().filter(|slot| slot.key != 0).count()).sum()
    }

    /// Whether no bucket was ever used.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").field("sets", &self.sets.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
