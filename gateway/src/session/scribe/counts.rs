//! Which sessions count among those of their principals, and what the store is still to be told of
//! sessions that are over.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::limits::store::{COUNTED_AT_ONCE, DEBTS_AT_ONCE, DEBTS_MAX, RETRY_EVERY};
use crate::session::id::{Holder, SessionKey};
use crate::session::scribe::Scribe;
use crate::session::store::{StoreError, count_every, counted_for};
use crate::session::tenure::Tenure;

/// A session that is over, which the store may know and count.
#[derive(Clone, Debug)]
pub struct Debt {
    /// The session.
    pub key: SessionKey,
    /// Whose it was.
    pub holder: Holder,
    /// Its record is removed if it is this owner's still.
    pub tenure: Tenure,
}

/// A session that is about to begin. Unless it does, the store is told that it is over, whoever
/// stops waiting for it.
#[derive(Debug)]
pub struct Undo<'a> {
    scribe: &'a Scribe,
    debt: Option<Debt>,
}

impl Undo<'_> {
    /// There is nothing to be undone.
    pub fn done(mut self) {
        self.debt = None;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.debt.take().into_iter().for_each(|debt| self.scribe.owe(debt));
    }
}

impl Scribe {
    /// Undoes the beginning of a session, unless it is told that it has begun.
    pub fn undo(&self, debt: Debt) -> Undo<'_> {
        Undo { scribe: self, debt: Some(debt) }
    }

    /// Tells the store that a session is over: at once, or when it is back.
    ///
    /// # Cancel safety
    /// Not safe: the store may not hear of it.
    pub async fn settle_up(&self, debt: Debt) {
        if let Err(fault) = self.pay(&debt).await {
            tracing::warn!(session = %debt.key, %fault, "a session that is over is in the store");
            self.owe(debt);
        }
    }

    /// The store is to be told that a session is over.
    pub fn owe(&self, debt: Debt) {
        if !self.store.is_shared() {
            return;
        }
        let mut debts = self.debts.lock();
        if debts.len() >= DEBTS_MAX {
            debts.pop_front();
        }
        debts.push_back(debt);
    }

    async fn pay(&self, debt: &Debt) -> Result<(), StoreError> {
        self.store.remove(debt.key, Some(debt.tenure.clone())).await?;
        if self.store.is_shared() {
            // The record, which says whose it is, may never have been there.
            self.store.dismiss(debt.holder, debt.key).await?;
        }
        Ok(())
    }

    /// Counts the sessions that are in use, and tells the store of those that are over, until
    /// `token` is cancelled. Returns at once where the store is not shared.
    ///
    /// # Cancel safety
    /// Not safe: what is under way is lost with it.
    pub async fn keep_counts(&self, token: CancellationToken) {
        if !self.store.is_shared() {
            return;
        }
        let mut ticks = interval(RETRY_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let counting = async {
            loop {
                ticks.tick().await;
                self.pay_debts().await;
                self.count(Instant::now()).await;
            }
        };
        token.run_until_cancelled(counting).await;
    }

    /// Tells the store of sessions that are over, until it does not answer.
    pub async fn pay_debts(&self) {
        loop {
            let some: Vec<_> = {
                let mut debts = self.debts.lock();
                let some = debts.len().min(DEBTS_AT_ONCE);
                debts.drain(..some).collect()
            };
            let paid = join_all(some.iter().map(|debt| self.pay(debt))).await;
            let unpaid: Vec<_> =
                some.into_iter().zip(paid).filter(|(_, paid)| paid.is_err()).collect();
            let is_enough = !unpaid.is_empty() || self.debts.lock().is_empty();
            unpaid.into_iter().for_each(|(debt, _)| self.owe(debt));
            if is_enough {
                return;
            }
        }
    }

    /// Counts every session once more that was used since it was counted last, when that is due.
    pub async fn count(&self, now: Instant) {
        let (is_due, since) = {
            let state = self.state.lock();
            let is_due = |at: Instant| now.duration_since(at) >= count_every(self.idle);
            (!state.is_away && state.counted.is_none_or(is_due), state.counted)
        };
        if !is_due {
            return;
        }
        let mut used: BTreeMap<Holder, Vec<SessionKey>> = BTreeMap::new();
        for session in self.sessions.lock().values().filter(|it| !it.is_disowned()) {
            if since.is_none_or(|since| session.was_used_since(since))
                && let Some(holder) = session.holder()
            {
                used.entry(holder).or_default().push(session.key);
            }
        }
        let life = counted_for(self.idle);
        for (holder, keys) in used {
            for keys in keys.chunks(COUNTED_AT_ONCE) {
                if self.store.count(holder, keys.to_vec(), life).await.is_err() {
                    return;
                }
            }
        }
        self.state.lock().counted = Some(now);
    }

    /// Counts every session with the next look: the store may have forgotten them.
    pub(super) fn count_anew(&self) {
        self.state.lock().counted = None;
    }
}
