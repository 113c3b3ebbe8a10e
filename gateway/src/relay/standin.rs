//! Sessions that the gateway holds in the stead of clients that have none.
//!
//! A legacy server needs a session, and a client of revision 2026-07-28 has none to give it. All
//! requests of one principal that declare the same capabilities and client name share a stand-in,
//! so that a server which keeps something between calls finds it again. It is this replica's
//! alone: nothing of it is stored, and it ends when it is idle.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytestring::ByteString;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use wire::id::Id;
use wire::message::Request;
use wire::method::Method;
use wire::modern::Meta;
use wire::refusal::{Reason, Refusal};
use wire::revision::Revision;

use crate::bridge::hello;
use crate::config::limits::bridge::SURPLUS_IDLE;
use crate::relay::Relay;
use crate::relay::conversation::Conversation;
use crate::relay::hub::Hub;
use crate::relay::params::Annotated;
use crate::relay::tasks::Tasks;
use crate::session::caller::Caller;
use crate::session::outlet::Reader;
use crate::session::principal::Principal;
use crate::session::{Agreement, Session, Streams as _, Transport};

/// A client without a session, as far as one request shows it.
#[derive(Clone, Debug)]
pub struct Guest {
    /// On whose behalf it speaks.
    pub principal: Principal,
    /// The one server it speaks to; none for all servers as one.
    pub server: Option<String>,
    /// Whose requests its own count as; none where nothing is limited.
    pub caller: Option<Caller>,
}

/// The stand-ins of this replica.
#[derive(Debug, Default)]
pub(super) struct StandIns {
    open: Mutex<BTreeMap<Key, Vec<Arc<StandIn>>>>,
}

/// A call's place on a stand-in, for as long as the call lives.
#[derive(Debug)]
pub(super) struct Seat(Arc<StandIn>);

/// What a client declares to be able to do for a server that asks it.
const ASKABLE: [&str; 3] = ["elicitation", "roots", "sampling"];

/// Who shares a stand-in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    principal: Principal,
    server: Option<String>,
    /// Of what the client declares of itself.
    declared: [u8; 32],
}

/// A session in the stead of a client's.
#[derive(Debug)]
pub(super) struct StandIn {
    pub(super) conversation: Arc<Conversation>,
    pub(super) hub: Hub,
    key: Key,
    last_id: AtomicU64,
    /// Its calls, also those that wait for their client's answer to a question.
    seats: AtomicUsize,
    /// The tools that want arguments in headers, by server.
    pub(super) annotated: Mutex<BTreeMap<String, Arc<Annotated>>>,
    /// The log level its servers were asked for, as a number that grows with severity.
    pub(super) level: tokio::sync::Mutex<Option<usize>>,
    /// What its servers run as tasks.
    pub(super) tasks: Tasks,
}

impl StandIns {
    /// Forgets those whose session ended, and keeps those awake that have calls.
    pub(super) fn sweep(&self) {
        self.open.lock().retain(|_, all| {
            all.retain(|it| it.is_open());
            let busy = all.iter().filter(|it| it.seats.load(Ordering::Relaxed) > 0);
            busy.for_each(|it| it.session().touch());
            !all.is_empty()
        });
    }

    /// The one on which a client of this principal has learnt of a task: one that it would get
    /// anyway, before those of clients that declare something else. A server that numbers its tasks
    /// may give each of its processes the same ids.
    pub(super) fn of_task(
        &self,
        guest: &Guest,
        request: &Request,
        id: &str,
    ) -> Option<Arc<StandIn>> {
        let own = Key::of(guest, &hello::initialize_params(request.meta()));
        let open = self.open.lock();
        let is_kin = |key: &Key| key.principal == own.principal && key.server == own.server;
        let kin = open.iter().filter(|(key, _)| is_kin(key)).map(|(_, all)| all);
        let mut all = open.get(&own).into_iter().chain(kin).flatten();
        all.find(|it| it.is_open() && it.tasks.knows(id)).cloned()
    }

    /// Takes out those beside the first of their kind that nobody has used for a while.
    pub(super) fn take_surplus(&self) -> Vec<Arc<StandIn>> {
        let mut open = self.open.lock();
        let of_kind = |all: &mut Vec<Arc<StandIn>>| -> Vec<_> {
            let others = 1.min(all.len())..;
            all.extract_if(others, |it| it.is_surplus()).collect()
        };
        open.values_mut().flat_map(of_kind).collect()
    }
}

impl Seat {
    fn on(standin: &Arc<StandIn>) -> Self {
        standin.seats.fetch_add(1, Ordering::Relaxed);
        // What opens a call may take long, and the session is not idle meanwhile.
        standin.session().touch();
        Self(standin.clone())
    }

    /// Another one on the same stand-in.
    pub(super) fn held(&self) -> Self {
        Self::on(&self.0)
    }
}

impl Deref for Seat {
    type Target = StandIn;

    fn deref(&self) -> &StandIn {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.seats.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Key {
    fn of(guest: &Guest, initialize_params: &str) -> Self {
        Self {
            principal: guest.principal.clone(),
            server: guest.server.clone(),
            declared: Sha256::digest(initialize_params.as_bytes()).into(),
        }
    }
}

impl StandIn {
    /// The session.
    pub(super) fn session(&self) -> &Arc<Session> {
        &self.conversation.session
    }

    /// An id for a request of ours.
    pub(super) fn next_id(&self) -> Id {
        Id::number(self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn is_surplus(&self) -> bool {
        let is_used = self.seats.load(Ordering::Relaxed) > 0 || !self.tasks.is_empty();
        !is_used && self.session().idle() >= SURPLUS_IDLE
    }

    fn is_open(&self) -> bool {
        !self.session().closed().is_cancelled() && !self.session().is_shut()
    }
}

impl Relay {
    /// The stand-in for a guest who declares what this request does.
    pub(super) async fn stand_in(
        &self,
        guest: &Guest,
        request: &Request,
    ) -> Result<Arc<StandIn>, Refusal> {
        let params = ByteString::from(hello::initialize_params(request.meta()));
        let key = Key::of(guest, &params);
        Ok(self.find_or_open(key, params, usize::MAX).await?.0.clone())
    }

    /// A place for a call: on this stand-in, or on one like it that has fewer.
    ///
    /// A question that comes over a pipe names no call, and of two calls either could be meant. So
    /// where a server has been heard to ask like that, a call that it could ask is alone there.
    pub(super) async fn seat(&self, standin: &StandIn, request: &Request) -> Result<Seat, Refusal> {
        let roster = standin.conversation.roster();
        let meta = Meta::of(request.params());
        let can_be_asked = ASKABLE.iter().any(|it| meta.declares(&[it]));
        let is_alone = can_be_asked && roster.all().any(|it| it.server.asks_unnamed());
        // Room is left for what is asked on the stand-in's own behalf.
        let most = if is_alone { 1 } else { standin.session().in_flight_max().div_ceil(2) };
        let params = ByteString::from(hello::initialize_params(request.meta()));
        self.find_or_open(standin.key.clone(), params, most).await
    }

    /// A seat on a stand-in with fewer than `most` calls. At a cap of sessions, that of the same
    /// principal that has been left for the longest gives way.
    async fn find_or_open(
        &self,
        key: Key,
        params: ByteString,
        most: usize,
    ) -> Result<Seat, Refusal> {
        match self.try_to_seat(&key, &params, most) {
            Err(refusal) if refusal.reason == Reason::Overloaded => {
                self.make_room(&key.principal).await.ok_or(refusal)?;
                self.try_to_seat(&key, &params, most)
            }
            found => found,
        }
    }

    /// Looks and opens under one lock, so that requests which come together share one.
    fn try_to_seat(&self, key: &Key, params: &ByteString, most: usize) -> Result<Seat, Refusal> {
        let mut open = self.stand_ins.open.lock();
        let fits = |it: &&Arc<StandIn>| it.is_open() && it.seats.load(Ordering::Relaxed) < most;
        if let Some(standin) = open.get(key).and_then(|all| all.iter().find(fits)) {
            return Ok(Seat::on(standin));
        }
        let server = key.server.clone();
        let servers = self.backends.all();
        let holder = self.sessions.holder(&key.principal);
        let build = |session: Arc<Session>| Conversation::new(session, holder, server, &servers);
        let opened = self.sessions.open_unstored(&key.principal, Transport::StandIn, build);
        let conversation = opened?;
        conversation.follow(&self.backends.all());
        let revision = Revision::LATEST_LEGACY;
        conversation.session.agree(&Agreement { revision, params: params.clone() });
        conversation.session.set_ready();
        let name = conversation.session.transport.name();
        self.context.metrics.sessions.with_label_values(&[name]).inc();
        let standin = Arc::new(StandIn {
            conversation,
            hub: Hub::default(),
            key: key.clone(),
            last_id: AtomicU64::new(0),
            seats: AtomicUsize::new(0),
            annotated: Mutex::default(),
            level: tokio::sync::Mutex::default(),
            tasks: Tasks::default(),
        });
        let seat = Seat::on(&standin);
        open.entry(key.clone()).or_default().push(standin);
        Ok(seat)
    }

    /// Asks on a stand-in's behalf for something that its client does not; the id, and where the
    /// answer comes.
    pub(super) fn ask_for(
        self: &Arc<Self>,
        standin: &StandIn,
        method: Method,
        params: &str,
    ) -> (Id, Reader) {
        let (outlet, reader) = standin.session().open_stream(1);
        let id = standin.next_id();
        let request = Request::new(&id, method.name(), Some(params));
        self.take(&standin.conversation, request, &outlet);
        (id, reader)
    }
}
