//! How sessions leave this replica: at once here, and out of the store as soon as that can be done.
//!
//! What could not be removed from the store is tried again until it is done, or until the store has
//! let go of it by itself. Meanwhile a session that was ended is unknown here. A session whose
//! opening came to nothing leaves in the same way.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use parking_lot::Mutex;

use crate::config::limits::store::{REMAINS_MAX, REMOVED_AT_ONCE};
use crate::session::Session;
use crate::session::id::{Holder, SessionKey};
use crate::session::store::{Look, StoreError};
use crate::session::table::{Entry, Sessions, is_away};
use crate::session::tenure::Tenure;

/// What is yet to be removed from the store.
#[derive(Debug, Default)]
pub(super) struct Remains {
    left: Mutex<BTreeMap<SessionKey, Remnant>>,
    /// One goes through them at a time.
    settling: tokio::sync::Mutex<()>,
}

/// A session that is over here, or never began, and may be in the store.
#[derive(Clone, Debug)]
pub(super) struct Remnant {
    /// Its record is removed if it is this owner's still.
    pub(super) tenure: Tenure,
    /// Among whose sessions it counts.
    pub(super) holder: Holder,
    /// When the store has let go of it by itself.
    pub(super) until: Instant,
    /// It was surely this replica's when it ended: nobody else may go on with it.
    pub(super) is_ended: bool,
}

/// A session that is about to begin. Unless it does, it is removed from the store, whoever stops
/// waiting for it.
#[derive(Debug)]
pub(super) struct Undo<'a> {
    remains: &'a Remains,
    remnant: Option<(SessionKey, Remnant)>,
}

impl Remains {
    /// Removes a session whose beginning is not [`done`](Undo::done).
    pub(super) fn undo(&self, key: SessionKey, remnant: Remnant) -> Undo<'_> {
        Undo { remains: self, remnant: Some((key, remnant)) }
    }

    fn leave(&self, key: SessionKey, remnant: Remnant) {
        let mut left = self.left.lock();
        if left.len() < REMAINS_MAX {
            left.insert(key, remnant);
        } else {
            tracing::warn!(session = %key, "a session that is over stays in the store");
        }
    }
}

impl Undo<'_> {
    /// There is nothing to be undone.
    pub(super) fn done(mut self) {
        self.remnant = None;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some((key, remnant)) = self.remnant.take() {
            self.remains.leave(key, remnant);
        }
    }
}

impl<C: Borrow<Arc<Session>>> Sessions<C> {
    /// Takes a session out: nobody finds it any more, and it takes no more requests in. Closing
    /// it is left to the caller, who first has its calls answered; it is removed from the store by
    /// [`settle`](Self::settle).
    pub fn take(&self, key: SessionKey) -> Option<Arc<C>> {
        self.take_if(key, |_| true)
    }

    /// As [`take`](Self::take), but only if the session is overdue still: its client may have come
    /// back while others were closed.
    pub fn take_overdue(&self, key: SessionKey) -> Option<Arc<C>> {
        self.take_if(key, |session| self.is_overdue(session))
    }

    /// As [`take`](Self::take), but only if the session's client is away still.
    pub fn take_away(&self, key: SessionKey) -> Option<Arc<C>> {
        self.take_if(key, is_away)
    }

    /// Looks and takes under one lock, so that no client finds the session in between.
    fn take_if(&self, key: SessionKey, may: impl Fn(&Session) -> bool) -> Option<Arc<C>> {
        let mut open = self.open.write();
        let session: &Arc<Session> = (*open.get(&key)?.value).borrow();
        if !may(session) {
            return None;
        }
        let entry = open.remove(&key)?;
        let session: &Arc<Session> = (*entry.value).borrow();
        session.shut();
        self.scribe.leave(session);
        self.leave_remains(session, &entry);
        drop(open);
        Some(entry.value)
    }

    fn leave_remains(&self, session: &Session, entry: &Entry<C>) {
        if !session.transport.is_stored() || session.is_disowned() {
            return;
        }
        let first = || Tenure::first(self.replica.clone());
        let remnant = Remnant {
            tenure: session.tenure().unwrap_or_else(first),
            holder: self.keyring.holder(&entry.principal),
            until: Instant::now() + self.terms.idle_timeout,
            is_ended: session.is_surely_own(),
        };
        self.remains.leave(session.key, remnant);
    }

    /// Whether the session was ended here and may be in the store still: for its client there is no
    /// such session.
    pub fn is_ending(&self, key: SessionKey) -> bool {
        self.remains.left.lock().get(&key).is_some_and(|it| it.is_ended)
    }

    /// Whether anything is to be removed from the store, and nobody is about it.
    pub fn has_remains(&self) -> bool {
        !self.remains.left.lock().is_empty() && self.remains.settling.try_lock().is_ok()
    }

    /// Removes from the store what is left there of sessions that were taken out, some at once; it
    /// stops when the store does not answer.
    ///
    /// # Cancel safety
    /// Safe: what is not done is done the next time.
    pub async fn settle_all(&self) {
        let Ok(_alone) = self.remains.settling.try_lock() else { return };
        let keys: Vec<_> = self.remains.left.lock().keys().copied().collect();
        for some in keys.chunks(REMOVED_AT_ONCE) {
            let settled = join_all(some.iter().map(|key| self.settle(*key))).await;
            if !settled.into_iter().all(|is_settled| is_settled) {
                return;
            }
        }
    }

    /// Removes from the store what is left there of a session that was taken out, and counts it
    /// out; whether nothing is left.
    ///
    /// # Cancel safety
    /// Safe: it is tried again.
    pub async fn settle(&self, key: SessionKey) -> bool {
        let remnant = self.remains.left.lock().get(&key).cloned();
        let Some(remnant) = remnant else { return true };
        let removed = self.remove(key, &remnant).await;
        let is_over = removed.is_ok() || Instant::now() >= remnant.until;
        if is_over {
            self.remains.left.lock().remove(&key);
        }
        if let Err(fault) = removed {
            tracing::debug!(session = %key, %fault, "a session record could not be removed");
        }
        is_over
    }

    async fn remove(&self, key: SessionKey, remnant: &Remnant) -> Result<(), StoreError> {
        self.store.remove(key, Some(remnant.tenure.clone())).await?;
        if !self.store.is_shared() {
            return Ok(());
        }
        // One that another replica goes on with counts as before.
        if remnant.is_ended || self.store.look(key).await? == Look::Unknown {
            self.store.dismiss(remnant.holder, key).await?;
        }
        Ok(())
    }

    /// Gives a session back: it takes no more requests in, everything is written down, and whoever
    /// its client comes to next may claim it. Its readers are given what was written down and
    /// nothing more; closing it is left to the caller. `None`: it stays, because the store did not
    /// take it, or it has calls in flight (which `with_calls` has answered by its successor).
    ///
    /// # Cancel safety
    /// Not safe: the session may be shut and still held.
    pub async fn release(&self, key: SessionKey, with_calls: bool) -> Option<Arc<C>> {
        let value = self.by_key(key)?;
        let session: &Arc<Session> = (*value).borrow();
        session.shut();
        // One may have come in before it was shut.
        if !with_calls && !session.is_at_rest() {
            self.reopen(key);
            return None;
        }
        session.hand_on();
        session.kept().await;
        if let Some(tenure) = session.tenure().filter(|_| !session.is_disowned())
            && let Err(fault) = self.store.release(key, tenure).await
        {
            tracing::debug!(session = %key, %fault, "a session could not be given back");
            self.reopen(key);
            return None;
        }
        self.abandon(key)
    }

    /// Takes a session out that is not to be removed from the store: another replica may claim it,
    /// now or when this one is gone.
    pub fn abandon(&self, key: SessionKey) -> Option<Arc<C>> {
        let value = self.open.write().remove(&key)?.value;
        let session: &Arc<Session> = (*value).borrow();
        session.disown();
        self.scribe.leave(session);
        Some(value)
    }

    /// It stays here after all.
    fn reopen(&self, key: SessionKey) {
        // Under the lock: one that was taken out stays shut.
        let open = self.open.write();
        if let Some(entry) = open.get(&key) {
            let session: &Arc<Session> = (*entry.value).borrow();
            session.reopen();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::id::Id;

    use super::*;
    use crate::session::Transport;
    use crate::session::fixture::{BOUNDS, Distant};
    use crate::session::id::Keyring;
    use crate::session::lease::Lease;
    use crate::session::principal::Principal;
    use crate::session::store::{Claim, Store as _};
    use crate::session::table::Terms;
    use crate::session::tenure::Replica;

    const TERMS: Terms = Terms {
        sessions: 9,
        sessions_per_principal: 1,
        idle_timeout: Duration::from_secs(3600),
        resume_window: Duration::from_secs(60),
        max_age: Duration::from_secs(8 * 3600),
        bounds: BOUNDS,
    };

    type Table = Sessions<Arc<Session>>;

    /// A replica whose last sign of life was confirmed so long ago.
    fn replica(store: &Arc<Distant>, ago: Duration) -> Table {
        let now = Instant::now();
        let sent = now.checked_sub(ago).unwrap();
        let lease = Lease::new(sent);
        lease.confirm(sent, sent);
        let keyring = Keyring::new(Some("secret"));
        Sessions::new(TERMS, keyring, store.clone(), Replica::new("host", ""), Arc::new(lease))
    }

    async fn open(table: &Table) -> Arc<Session> {
        let ann = Principal::of_credential("ann");
        let opened = table.open(ann, Transport::Streamable, None, |session| session).await;
        (*opened.unwrap()).clone()
    }

    #[tokio::test]
    async fn what_the_store_did_not_remove_is_removed_when_it_is_back() {
        let store = Arc::new(Distant::new());
        let table = replica(&store, Duration::ZERO);
        let key = open(&table).await.key;
        store.set_away(true);
        assert!(table.take(key).is_some() && table.is_ending(key) && table.has_remains());
        assert!(!table.settle(key).await);
        table.settle_all().await;
        assert!(table.is_ending(key), "its client is told that there is none");
        store.set_away(false);
        table.settle_all().await;
        assert!(!table.is_ending(key) && !table.has_remains());
        assert_eq!(store.look(key).await, Ok(Look::Unknown));
        open(&table).await;
    }

    #[tokio::test]
    async fn a_session_that_may_be_anothers_ends_here_only() {
        let store = Arc::new(Distant::new());
        let lapsed = replica(&store, Duration::from_secs(60));
        let next = replica(&store, Duration::ZERO);
        let session = open(&lapsed).await;
        assert!(!session.is_surely_own() && session.may_go_on_elsewhere());
        let from = session.tenure();
        let claimed = store.claim(session.key, from, next.replica().clone()).await;
        assert!(matches!(claimed, Ok(Claim::Taken(..))), "{claimed:?}");
        assert!(lapsed.take(session.key).is_some() && !lapsed.is_ending(session.key));
        lapsed.settle_all().await;
        assert!(!lapsed.has_remains());
        assert!(matches!(store.look(session.key).await, Ok(Look::Owned(_))));
        let ann = Principal::of_credential("ann");
        let more = next.open(ann, Transport::Streamable, None, |session| session).await;
        assert!(more.is_err(), "it counts as before");
    }

    #[tokio::test]
    async fn what_is_not_given_back_stays() {
        let store = Arc::new(Distant::new());
        let table = replica(&store, Duration::ZERO);
        let session = open(&table).await;
        session.begin(&Id::number(1)).unwrap();
        assert!(table.release(session.key, false).await.is_none(), "it has a call");
        session.begin(&Id::number(2)).unwrap();
        store.set_away(true);
        assert!(table.release(session.key, true).await.is_none(), "nobody knows of it");
        session.begin(&Id::number(3)).unwrap();
        assert!(!session.is_disowned() && table.len() == 1);
        store.set_away(false);
        assert!(table.release(session.key, true).await.is_some());
        assert_eq!(store.look(session.key).await, Ok(Look::Free));
    }
}
