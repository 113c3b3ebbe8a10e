//! A session of an owner that is gone, rebuilt here; and sessions that other replicas serve by now.
//!
//! What a former owner kept is there again under the session's id. Its servers are reached anew
//! when they are needed, with the client's own `initialize` params and what it had asked them to
//! keep up; a server that keeps the session itself is gone on with. What was in flight is answered
//! once, with `OUTCOME_UNKNOWN`: nobody but the former owner knows whether it was sent, and nobody
//! sends it again.

use std::sync::Arc;

use bytestring::ByteString;
use wire::id::Id;
use wire::message::Notification;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::backend::attachment::Attachment;
use crate::backend::handshake::offers;
use crate::config::Isolation;
use crate::config::limits::client::RETRY_SOON;
use crate::relay::Relay;
use crate::relay::conversation::Conversation;
use crate::route::merge::List;
use crate::session::id::{SessionId, SessionKey};
use crate::session::lease::Asked;
use crate::session::outlet::Outlet;
use crate::session::principal::Principal;
use crate::session::replay::StreamTag;
use crate::session::store::{Estate, Record, StoredCall};
use crate::session::tenure::{Replica, Tenure};
use crate::session::{Session, Streams as _, Transport};

/// The note of which lists the client was told that it would hear of.
const LISTS: &str = "lists";

impl Relay {
    /// Serves a session that was claimed for this replica: its streams, notes and agreement are
    /// there again, and each call that was in flight is answered with `OUTCOME_UNKNOWN`. `None`: it
    /// ends instead, and its client is to be told that there is no such session.
    ///
    /// # Errors
    /// This replica is stopping. The session is given back, for another one.
    ///
    /// # Cancel safety
    /// Not safe: a session that was claimed and not rebuilt is served by nobody until its lease has
    /// run out. Call it in a task of its own.
    #[expect(clippy::too_many_arguments, reason = "all that a claim gives, and whose it is")]
    pub async fn take_over(
        self: &Arc<Self>,
        principal: Principal,
        id: SessionId,
        key: SessionKey,
        (tenure, asked): (Tenure, Asked),
        estate: Estate,
    ) -> Result<Option<Arc<Conversation>>, Refusal> {
        let transport = transport(&estate.record);
        let Some(transport) = transport.filter(|_| self.may_go_on(&estate.record)) else {
            self.end_stored(key, tenure, &estate.record).await;
            return Ok(None);
        };
        if let Err(refusal) = self.refuse_while_draining() {
            self.give_back(key, tenure).await;
            return Err(refusal);
        }
        let servers = self.backends.all();
        let (holder, server) = (self.sessions.holder(&principal), estate.record.server.clone());
        let build = |session| Conversation::new(session, holder, server, &servers);
        let name = (id, key);
        let held = (tenure, asked);
        let conversation = self.sessions.adopt(principal, name, transport, held, &estate, build);
        // The list may have been replaced before the session could be found.
        conversation.follow(&self.backends.all());
        self.context.metrics.sessions.with_label_values(&[transport.name()]).inc();
        let calls = estate.calls.len();
        tracing::info!(session = %key, calls, "session taken over");
        self.settle(&conversation, &estate.calls);
        tell_lists_changed(&conversation);
        self.sit_down(&conversation);
        Ok(Some(conversation))
    }

    /// Gives a session back to the store, for whichever replica its client turns up at. What it
    /// held here ends; at servers that keep sessions of their own, those stay for the successor.
    /// Whether that was done: it stays while it has calls, or the store does not take it.
    pub async fn hand_over(&self, conversation: &Conversation) -> bool {
        let released = self.sessions.release(conversation.session.key, false).await;
        released.iter().for_each(|it| self.finish(it));
        released.is_some()
    }

    /// Ends, here only, what other replicas own by now.
    pub fn end_disowned(&self) {
        for conversation in self.sessions.take_disowned() {
            let session = conversation.session.key;
            tracing::info!(%session, "session ended here: another replica serves it");
            self.finish(&conversation);
        }
    }

    /// The replica at which this principal's sessions of `server` (`None`: of all servers) are to
    /// be opened and taken over, when that is another one: they share a process that is there.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`: nobody can tell.
    pub async fn pinned(
        &self,
        principal: &Principal,
        server: Option<&str>,
    ) -> Result<Option<Replica>, Refusal> {
        self.pin(principal, server, self.sessions.replica(), None).await
    }

    /// As [`pinned`](Self::pinned), where `lost` is known to be gone, although its last sign of
    /// life may not have run out.
    ///
    /// # Errors
    /// As [`pinned`](Self::pinned).
    pub async fn pinned_after(
        &self,
        principal: &Principal,
        server: Option<&str>,
        lost: Option<Replica>,
    ) -> Result<Option<Replica>, Refusal> {
        self.pin(principal, server, self.sessions.replica(), lost).await
    }

    /// The replica for what this one, which is stopping, takes in no more: the one at which this
    /// principal's sessions are, or any that lives.
    pub async fn heir(&self, principal: &Principal, server: Option<&str>) -> Option<Replica> {
        let peer = self.standing.next_peer()?;
        let pinned = self.pin(principal, server, &peer, None).await;
        Some(pinned.ok().flatten().unwrap_or(peer))
    }

    /// The other replica that holds what this principal's sessions share; `by`, when none does.
    async fn pin(
        &self,
        principal: &Principal,
        server: Option<&str>,
        by: &Replica,
        lost: Option<Replica>,
    ) -> Result<Option<Replica>, Refusal> {
        let store = self.sessions.store();
        let servers = self.backends.all();
        let mut reached = servers.iter().filter(|it| server.is_none_or(|id| it.config.id == id));
        if !store.is_shared() || !reached.any(|it| it.isolation() == Isolation::Principal) {
            return Ok(None);
        }
        let holder = self.sessions.holder(principal);
        let pinned = store.pin(holder, by.clone(), lost).await.map_err(|fault| {
            let what = format!("nobody can tell which replica serves this client: {fault}");
            Refusal::new(Reason::StoreUnavailable, what).retry_after(RETRY_SOON)
        })?;
        Ok((pinned != *self.sessions.replica()).then_some(pinned))
    }

    /// Whether a successor can go on with a session. One whose `initialize` was never answered has
    /// nothing to go on with.
    fn may_go_on(&self, record: &Record) -> bool {
        let servers = self.backends.all();
        let own = |id: &str| record.server.as_deref().is_none_or(|server| server == id);
        let mut reached = servers.iter().filter(|it| own(&it.config.id));
        record.revision.is_some()
            && record.params.is_some()
            && !reached.any(|it| it.ends_with_owner(record))
    }

    /// Gives back a session that was claimed, as it was.
    pub(super) async fn give_back(&self, key: SessionKey, tenure: Tenure) {
        if let Err(fault) = self.sessions.store().release(key, tenure).await {
            tracing::warn!(session = %key, %fault, "a session could not be given back");
        }
    }

    /// Ends a session that was claimed and is not gone on with.
    async fn end_stored(&self, key: SessionKey, tenure: Tenure, record: &Record) {
        tracing::info!(session = %key, "session ended: its replica was lost");
        self.backends.all().iter().for_each(|server| server.end_seat(key, record));
        let store = self.sessions.store();
        let removed = store.remove(key, Some(tenure)).await;
        let dismissed = match record.holder {
            Some(holder) => store.dismiss(holder, key).await,
            None => Ok(()),
        };
        if let Err(fault) = removed.and(dismissed) {
            tracing::warn!(session = %key, %fault, "a session record could not be removed");
        }
    }

    /// Answers what was in flight.
    fn settle(&self, conversation: &Conversation, calls: &[StoredCall]) {
        let what = "the replica that served this session was lost while the call was in flight; it \
                    may have been carried out";
        let lost = Refusal::new(Reason::OutcomeUnknown, what).dispatched(Dispatched::Unknown);
        for call in calls {
            let stream = StreamTag::numbered(call.stream);
            let outlet = Outlet::new(conversation.session.clone(), stream);
            if let Some(id) = Id::parse(&call.id) {
                self.refuse(&outlet, &id, &lost);
            }
        }
    }

    /// Goes on at once with sessions that servers keep, and starts servers at which the client has
    /// subscriptions: it may make no call before it hears of them.
    fn sit_down(self: &Arc<Self>, conversation: &Arc<Conversation>) {
        let Some(agreement) = conversation.session.agreement() else { return };
        let is_awaited = |it: &&Arc<Attachment>| it.has_seat() || it.has_subscriptions();
        for attachment in conversation.roster().attachments.iter().filter(is_awaited) {
            let (attachment, params) = (attachment.clone(), agreement.params.clone());
            self.context.tasks.spawn("relay-rejoin", async move {
                if let Err(refusal) = attachment.upstream(&params).await {
                    let (server, error) = (&attachment.server.config.id, refusal.message);
                    tracing::warn!(server, error, "a server was not reached again");
                }
            });
        }
    }
}

/// What a client is told whose message met a session that another replica serves by now. It was not
/// taken in, and finds the session when it is sent again.
pub(super) fn elsewhere() -> Refusal {
    let what = "another replica serves this session by now; send the request again";
    Refusal::new(Reason::StoreUnavailable, what).retry_after(RETRY_SOON)
}

/// Notes which lists the client was told, in this answer to `initialize`, that it would hear of.
pub(super) fn note_lists(session: &Session, hello: &str) {
    if !session.is_kept() {
        return;
    }
    let told = lists().filter(|it| offers(hello, &format!("{}.listChanged", it.capability())));
    let told: Vec<_> = told.map(List::capability).collect();
    session.set_note(LISTS, Some(ByteString::from(told.join(" "))));
}

/// The servers of a session are others than before, or others of the same name.
fn tell_lists_changed(conversation: &Conversation) {
    let told = conversation.session.note(LISTS).unwrap_or_default();
    let is_told = |list: &List| told.split(' ').any(|it| it == list.capability());
    for list in lists().filter(is_told) {
        let note = Notification::new(list.changed().name(), None);
        conversation.session.standalone().emit(note.text().clone());
    }
}

/// The lists of which a client is told that they changed; templates go with resources.
fn lists() -> impl Iterator<Item = List> {
    [List::Tools, List::Resources, List::Prompts].into_iter()
}

fn transport(record: &Record) -> Option<Transport> {
    let stored = [Transport::Streamable, Transport::Sse, Transport::WebSocket];
    stored.into_iter().find(|it| it.name() == record.transport)
}
