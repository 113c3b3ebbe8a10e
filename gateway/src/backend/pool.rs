//! Processes that several sessions share: a pool for all of them, or one for those of a principal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use parking_lot::Mutex;
use wire::refusal::Refusal;

use crate::backend::handshake::own_params;
use crate::backend::members::Members;
use crate::backend::server::Server;
use crate::backend::single::{Single, await_end};
use crate::backend::trouble::Crashes;
use crate::backend::upstream::{Owner, Upstream};
use crate::config::{Isolation, ServerKind};
use crate::session::Session;
use crate::session::id::{Holder, SessionKey};

/// The shared processes of a server.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Places for all sessions.
    places: Vec<Slot>,
    /// One for the sessions of each principal that has any here.
    own: Mutex<BTreeMap<Holder, Arc<Slot>>>,
}

/// One place of a pool.
#[derive(Debug, Default)]
struct Slot {
    starting: Single,
    upstream: Mutex<Option<Arc<Upstream>>>,
    crashes: Crashes,
    /// Its sessions, which stay when its process ends, to be told by the next one.
    members: Members,
}

impl Pool {
    /// As many places as a server of this kind has for all sessions.
    pub(super) fn of(kind: &ServerKind) -> Self {
        let size = match kind {
            ServerKind::Stdio(stdio) => match stdio.isolation {
                Isolation::Pooled => stdio.pool_size,
                Isolation::Session | Isolation::Principal => 0,
            },
            ServerKind::Http(_)
            | ServerKind::Sse(_)
            | ServerKind::WebSocket(_)
            | ServerKind::Unsupported { .. } => 0,
        };
        Self { places: (0..size).map(|_| Slot::default()).collect(), own: Mutex::default() }
    }

    /// Takes a session in at its principal's place. Under one lock with the end of that place, so
    /// that nobody is given a process that is about to end.
    fn join(&self, session: &Arc<Session>, holder: Holder) -> Arc<Slot> {
        let mut own = self.own.lock();
        let made = || Arc::new(Slot { members: Members::of_one_principal(), ..Slot::default() });
        let slot = own.entry(holder).or_insert_with(made);
        slot.members.add(session);
        slot.clone()
    }

    /// Takes out the places of principals that have no session left, with their processes.
    fn take_deserted(&self) -> Vec<Arc<Slot>> {
        let mut own = self.own.lock();
        let is_deserted = |slot: &Arc<Slot>| slot.members.all().is_empty();
        let gone = own.values().filter(|it| is_deserted(it)).cloned().collect();
        own.retain(|_, slot| !is_deserted(slot));
        gone
    }

    /// A session of this principal is over.
    fn part(&self, key: SessionKey, holder: Holder) {
        if let Some(slot) = self.own.lock().get(&holder) {
            slot.members.remove(key);
        }
    }
}

impl Server {
    /// A shared upstream: the one of this session's principal, or of the pool the one with the
    /// fewest sessions; this session is added to it. `None`: the server speaks the modern era only,
    /// in which each session has an upstream of its own.
    ///
    /// # Errors
    /// The server could not be started or did not initialise.
    pub async fn share_with(
        self: &Arc<Self>,
        session: &Arc<Session>,
        holder: Holder,
    ) -> Result<Option<Arc<Upstream>>, Refusal> {
        if self.isolation() == Isolation::Principal {
            let slot = self.pool.join(session, holder);
            return self.fill(&slot).await;
        }
        let places = &self.pool.places;
        let crowd = |slot: &&Slot| slot.members.others(session.key);
        let Some(slot) = places.iter().min_by_key(crowd) else { return Err(self.unsupported()) };
        let Some(upstream) = self.fill(slot).await? else { return Ok(None) };
        // It may come from a place whose process has ended.
        for former in places.iter().filter(|it| !std::ptr::eq(*it, slot)) {
            former.members.remove(session.key);
        }
        slot.members.add(session);
        Ok(Some(upstream))
    }

    /// A session is over: with the last one of a principal, so is the process they shared.
    pub fn part_from(&self, key: SessionKey, holder: Holder) {
        if self.isolation() == Isolation::Principal {
            self.pool.part(key, holder);
            self.end_deserted();
        }
    }

    /// Ends processes of principals that have no session left.
    pub(super) fn end_deserted(&self) {
        for slot in self.pool.take_deserted() {
            let upstream = slot.upstream.lock().take();
            upstream.into_iter().for_each(|it| it.close("its principal has no session left"));
        }
    }

    /// Starts the whole pool.
    pub async fn prewarm(self: &Arc<Self>) {
        let fill = async |slot| match self.fill(slot).await? {
            Some(_) => Ok(()),
            None => self.discover().await.map(drop),
        };
        for filled in join_all(self.pool.places.iter().map(fill)).await {
            if let Err(refusal) = filled {
                tracing::error!(server = self.config.id, error = refusal.message, "prewarm failed");
            }
        }
    }

    async fn fill(self: &Arc<Self>, slot: &Slot) -> Result<Option<Arc<Upstream>>, Refusal> {
        let there = || slot.upstream.lock().clone().filter(|it| it.takes_messages()).map(Some);
        let start = async {
            await_end(&slot.upstream, &slot.crashes).await;
            slot.crashes.allow(&self.config.id, Instant::now())?;
            let owner = || Owner::Shared(slot.members.clone());
            let Some(upstream) = self.start(owner, &own_params()).await? else { return Ok(None) };
            upstream.introduce().await;
            slot.members.forget_subscriptions();
            *slot.upstream.lock() = Some(upstream.clone());
            Ok(Some(upstream))
        };
        slot.starting.run(there, start).await
    }
}
