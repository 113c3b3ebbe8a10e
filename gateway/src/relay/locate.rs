//! Where a session is served: here, by another replica, or by nobody yet, and then here.
//!
//! A session is claimed only from an owner that was asked first and did not answer, and
//! - whose beat has run out, or
//! - whose address refuses connections, and whose beat stands still, or
//! - that said for a while that the session is not its own.
//!
//! A client's request waits meanwhile; it was not dispatched. `docs/decisions/0007` is the rule.

mod places;

use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::refusal::{Reason, Refusal};

pub(super) use self::places::Places;
use crate::config::limits::client::RETRY_SOON;
use crate::config::limits::gateway::STOP_LOOK_EVERY;
use crate::config::limits::hop::{DISCLAIM_WAIT, LOOK_EVERY, LOSSES_MAX};
use crate::config::limits::store::{CLAIM_WAIT, YOUNG};
use crate::relay::Relay;
use crate::relay::conversation::Conversation;
use crate::session::Session;
use crate::session::id::{Named, SessionKey};
use crate::session::standing::Life;
use crate::session::store::{Claim, Look, StoreError};
use crate::session::tenure::{Replica, Tenure};

/// Where a session is served.
#[derive(Clone, Debug)]
pub enum Place {
    /// By this replica.
    Here(Arc<Conversation>),
    /// By this other one.
    There(Replica),
    /// By nobody; this other one is to take it over: this one is stopping, or the other one has
    /// what the sessions of its principal share.
    Via(Replica),
    /// There is no such session.
    Unknown,
}

/// What was heard of a session's owner that was asked in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The session is not its own.
    NotMine,
    /// Nobody listens at its address, or another life of a replica does.
    Refused,
    /// It does not answer, or may not.
    Nothing,
}

/// One request's search for its session.
#[derive(Debug)]
pub struct Search {
    named: Named,
    /// The owner that was asked last.
    asked: Option<Replica>,
    /// What was heard of it.
    heard: Option<Heard>,
    /// The tenure that its owner disclaims, and since when.
    disclaimed: Option<(Tenure, Instant)>,
    looks: usize,
    /// How often the request was lost with the owner.
    losses: usize,
    deadline: Option<Instant>,
}

/// What is to be done after a look.
enum Step {
    Say(Place),
    Claim(Option<Tenure>),
    Wait,
}

impl Relay {
    /// The session, if this replica serves it.
    pub fn here(&self, key: SessionKey) -> Option<Arc<Conversation>> {
        let found = self.sessions.by_key(key)?;
        let session = &found.session;
        // One that is given back is on its way to another replica.
        let is_leaving =
            || session.is_shut() || self.may_be_given_back(session) && session.is_at_rest();
        let is_gone = session.is_disowned() || self.standing.is_draining() && is_leaving();
        (!is_gone).then_some(found)
    }

    /// Gives the session back, if this replica is stopping and it has nothing in flight within
    /// `patience`: its client has turned up, and another replica can go on with it at once.
    pub async fn let_go(&self, key: SessionKey, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.standing.is_draining()
            && let Some(found) = self.sessions.by_key(key)
            && self.may_be_given_back(&found.session)
        {
            if found.session.is_at_rest() && self.hand_over(&found).await {
                return;
            }
            if Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep(STOP_LOOK_EVERY).await;
        }
    }

    /// Whether the session is about to be handed back, once its client's socket was left.
    pub fn is_being_left(&self, key: SessionKey) -> bool {
        self.sessions.by_key(key).is_some_and(|it| it.session.is_being_left())
    }

    /// Whether this replica is stopping, and another one can go on with the session.
    pub fn may_be_given_back(&self, session: &Session) -> bool {
        self.standing.is_draining()
            && session.is_kept()
            && session.agreement().is_some()
            && !self.standing.peers().is_empty()
    }

    /// As [`here`](Self::here), after a claim of it that is under way.
    pub async fn here_soon(&self, key: SessionKey) -> Option<Arc<Conversation>> {
        if let Some(gate) = self.places.gate_if_any(key) {
            // A claim has deadlines of its own.
            drop(gate.lock().await);
            self.places.leave(key, gate);
        }
        self.here(key)
    }

    /// Begins a search for a session; `None` for one that was ended here.
    pub fn search(&self, named: Named) -> Option<Search> {
        let is_ending = self.sessions.is_ending(named.key);
        (!is_ending).then_some(Search {
            named,
            asked: None,
            heard: None,
            disclaimed: None,
            looks: 0,
            losses: 0,
            deadline: None,
        })
    }
}

impl Search {
    /// Where the session is, for all that is known; waits while that is not clear.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`: nobody can tell, or its owner does not answer and lives.
    ///
    /// # Cancel safety
    /// Safe: a claim goes on.
    pub async fn place(&mut self, relay: &Arc<Relay>) -> Result<Place, Refusal> {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + CLAIM_WAIT);
        loop {
            if let Some(conversation) = relay.here(self.named.key) {
                return Ok(Place::Here(conversation));
            }
            if self.heard.is_none()
                && let Some(owner) = relay.places.fresh_owner(self.named.key)
            {
                return Ok(self.ask(owner));
            }
            if self.looks > 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            if Instant::now() >= deadline {
                return Err(refusal("the replica that serves this session does not answer"));
            }
            self.looks += 1;
            let step = match relay.sessions.store().look(self.named.key).await {
                Ok(look) => self.judge(relay, look).await,
                Err(fault) => Err(fault),
            };
            match step {
                Ok(Step::Say(place)) => return Ok(place),
                Ok(Step::Wait) => {}
                Ok(Step::Claim(from)) => {
                    if let Some(place) = self.claim(relay, from).await? {
                        return Ok(place);
                    }
                }
                // Who served it a while ago does so still, most likely, and looks for itself.
                Err(fault) => {
                    match relay.places.owner(self.named.key).filter(|_| self.heard.is_none()) {
                        Some(owner) => return Ok(self.ask(owner)),
                        None => return Err(refusal(&fault.to_string())),
                    }
                }
            }
        }
    }

    /// Notes that the owner was asked in vain, and must be looked for anew.
    pub fn note(&mut self, relay: &Relay, heard: Heard) {
        relay.places.forget(self.named.key);
        self.heard = Some(heard);
    }

    /// As [`note`](Self::note), for a request that was with its owner for some time: the search
    /// begins anew, once: an owner that takes every request and answers none would hold it for
    /// ever.
    pub fn note_lost(&mut self, relay: &Relay) {
        self.note(relay, Heard::Nothing);
        self.losses += 1;
        if self.losses < LOSSES_MAX {
            self.deadline = None;
        }
    }

    fn ask(&mut self, owner: Replica) -> Place {
        self.heard = None;
        self.asked = Some(owner.clone());
        Place::There(owner)
    }

    async fn judge(&mut self, relay: &Relay, look: Look) -> Result<Step, StoreError> {
        match look {
            Look::Unknown => {
                let age = relay.standing.store_age_anew().await?;
                Ok(if age < YOUNG { Step::Wait } else { Step::Say(Place::Unknown) })
            }
            Look::Free => Ok(self.take(relay, None).await),
            Look::Owned(tenure) if tenure.replica.name == relay.standing.replica().name => {
                // Owned by this replica and not here: it is about to end, or a claim broke off.
                let since = self.disclaim(&tenure);
                if since < DISCLAIM_WAIT {
                    return Ok(Step::Wait);
                }
                Ok(self.take(relay, Some(tenure)).await)
            }
            Look::Owned(tenure) => {
                let is_asked = self.asked.as_ref() == Some(&tenure.replica);
                let is_gone = match self.heard.filter(|_| is_asked) {
                    None => !relay.may_be_asked(&tenure.replica).await?,
                    Some(Heard::NotMine) => self.disclaim(&tenure) >= DISCLAIM_WAIT,
                    Some(heard) => match relay.standing.life_of(&tenure.replica.name).await? {
                        Life::Over => true,
                        Life::Still => heard == Heard::Refused,
                        Life::Moving => false,
                    },
                };
                if is_gone {
                    return Ok(self.take(relay, Some(tenure)).await);
                }
                relay.places.remember(self.named.key, tenure.clone());
                Ok(Step::Say(self.ask(tenure.replica)))
            }
        }
    }

    /// For how long this tenure's owner says that the session is not its own.
    fn disclaim(&mut self, tenure: &Tenure) -> Duration {
        match &self.disclaimed {
            Some((disclaimed, since)) if disclaimed == tenure => since.elapsed(),
            Some(_) | None => {
                self.disclaimed = Some((tenure.clone(), Instant::now()));
                Duration::ZERO
            }
        }
    }

    /// Nobody serves the session: this replica may take it over, or one that is not stopping.
    async fn take(&self, relay: &Relay, from: Option<Tenure>) -> Step {
        if !relay.standing.is_draining() {
            return Step::Claim(from);
        }
        let peer = relay.heir(&self.named.principal, None).await;
        peer.map_or(Step::Wait, |peer| Step::Say(Place::Via(peer)))
    }

    /// Claims the session, one request at a time; `None`: it is to be looked for again.
    async fn claim(
        &mut self,
        relay: &Arc<Relay>,
        from: Option<Tenure>,
    ) -> Result<Option<Place>, Refusal> {
        self.heard = None;
        let (claiming, named) = (relay.clone(), self.named.clone());
        let work = async move {
            let key = named.key;
            let gate = claiming.places.gate(key);
            let held = gate.lock().await;
            let place = match claiming.here(key) {
                Some(conversation) => Ok(Some(Place::Here(conversation))),
                None => claiming.claim(named, from).await,
            };
            drop(held);
            claiming.places.leave(key, gate);
            place
        };
        relay.context.apart("claim", work).await
    }
}

impl Relay {
    /// Whether an owner is there to be sent a request. One whose beat has run out is first asked
    /// whether it is: a request that it had and never answered would be lost to its client.
    async fn may_be_asked(&self, owner: &Replica) -> Result<bool, StoreError> {
        if self.standing.watch(&owner.name).is_some() {
            return Ok(true);
        }
        match self.standing.life_of(&owner.name).await? {
            Life::Moving | Life::Still => Ok(true),
            Life::Over => Ok(self.peers.is_there(owner).await),
        }
    }

    async fn claim(
        self: &Arc<Self>,
        Named { principal, id, key }: Named,
        from: Option<Tenure>,
    ) -> Result<Option<Place>, Refusal> {
        let count = |outcome| self.context.metrics.count_claim(outcome);
        if !self.sessions.lease().is_firm(Instant::now()) {
            count("refused");
            return Err(refusal("this replica has lost touch with the store"));
        }
        let by = self.standing.replica().clone();
        // One that lapses while the claim is under way does not hold for what was claimed.
        let asked = self.sessions.lease().asking();
        let claimed = self.sessions.store().claim(key, from.clone(), by).await;
        let (tenure, estate) = match claimed {
            Ok(Claim::Taken(tenure, estate)) => (tenure, estate),
            Ok(Claim::Other(tenure)) => {
                count("other");
                self.places.remember(key, tenure);
                return Ok(None);
            }
            Ok(Claim::Unknown) => {
                count("unknown");
                return Ok(None);
            }
            Err(fault) => {
                count("failed");
                return Err(refusal(&fault.to_string()));
            }
        };
        tracing::info!(session = %key, fence = tenure.fence, "session claimed");
        // That a session shares something, its record tells, which is ours by now.
        let server = estate.record.server.as_deref();
        let lost = from.map(|it| it.replica);
        match self.pinned_after(&principal, server, lost).await {
            Ok(None) => {}
            elsewhere => {
                count("passed_on");
                self.give_back(key, tenure).await;
                return Ok(elsewhere?.map(Place::Via));
            }
        }
        let taken = Box::pin(self.take_over(principal, id, key, (tenure, asked), *estate)).await;
        count(if taken.is_ok() { "taken" } else { "failed" });
        Ok(Some(taken?.map_or(Place::Unknown, Place::Here)))
    }
}

fn refusal(what: &str) -> Refusal {
    let what = format!("the session cannot be reached: {what}; try again");
    Refusal::new(Reason::StoreUnavailable, what).retry_after(RETRY_SOON)
}
