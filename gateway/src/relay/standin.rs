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
use wire::refusal::Refusal;
use wire::revision::Revision;

use crate::bridge::hello;
use crate::relay::Relay;
use crate::relay::conversation::Conversation;
use crate::relay::hub::Hub;
use crate::relay::params::Annotated;
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
}

/// The stand-ins of this replica.
#[derive(Debug, Default)]
pub(super) struct StandIns {
    open: Mutex<BTreeMap<Key, Vec<Arc<StandIn>>>>,
    /// Held while one is looked for and opened, so that requests which come together share it.
    opening: Mutex<()>,
}

/// A call's place on a stand-in, for as long as the call lives.
#[derive(Debug)]
pub(super) struct Seat(Arc<StandIn>);

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
}

impl StandIns {
    /// Forgets those whose session ended.
    pub(super) fn sweep(&self) {
        self.open.lock().retain(|_, all| {
            all.retain(|it| it.is_open());
            !all.is_empty()
        });
    }

    fn find(&self, key: &Key) -> Option<Arc<StandIn>> {
        let open = self.open.lock();
        open.get(key)?.iter().find(|it| it.is_open()).cloned()
    }

    /// A seat on one that has no call.
    fn vacant(&self, key: &Key) -> Option<Seat> {
        let open = self.open.lock();
        let is_vacant = |it: &&Arc<StandIn>| it.is_open() && it.seats.load(Ordering::Relaxed) == 0;
        open.get(key)?.iter().find(is_vacant).map(Seat::on)
    }

    fn add(&self, standin: &Arc<StandIn>) {
        self.open.lock().entry(standin.key.clone()).or_default().push(standin.clone());
    }
}

impl Seat {
    fn on(standin: &Arc<StandIn>) -> Self {
        standin.seats.fetch_add(1, Ordering::Relaxed);
        Self(standin.clone())
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

impl StandIn {
    /// The session.
    pub(super) fn session(&self) -> &Arc<Session> {
        &self.conversation.session
    }

    /// An id for a request of ours.
    pub(super) fn next_id(&self) -> Id {
        Id::number(self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn is_open(&self) -> bool {
        !self.session().closed().is_cancelled() && !self.session().is_shut()
    }
}

impl Relay {
    /// The stand-in for a guest who declares what this request does.
    pub(super) fn stand_in(
        &self,
        guest: &Guest,
        request: &Request,
    ) -> Result<Arc<StandIn>, Refusal> {
        let params = ByteString::from(hello::initialize_params(request.meta()));
        let key = Key {
            principal: guest.principal.clone(),
            server: guest.server.clone(),
            declared: Sha256::digest(params.as_bytes()).into(),
        };
        let _alone = self.stand_ins.opening.lock();
        if let Some(standin) = self.stand_ins.find(&key) {
            return Ok(standin);
        }
        let standin = self.open_stand_in(key, params)?;
        self.stand_ins.add(&standin);
        Ok(standin)
    }

    /// A place for a call: on this stand-in, or on one like it that has no other call.
    ///
    /// A question that comes over a pipe names no call, and of two calls either could be meant. So
    /// where a server has been heard to ask, a call that it could ask something is alone there.
    pub(super) fn seat(&self, standin: &Arc<StandIn>, request: &Request) -> Result<Seat, Refusal> {
        let roster = standin.conversation.roster();
        let meta = Meta::of(request.params());
        let can_be_asked =
            ["sampling", "elicitation", "roots"].iter().any(|it| meta.declares(&[it]));
        if !can_be_asked || !roster.all().any(|it| it.server.asks_unnamed()) {
            return Ok(Seat::on(standin));
        }
        if let Some(seat) = self.stand_ins.vacant(&standin.key) {
            return Ok(seat);
        }
        let params = ByteString::from(hello::initialize_params(request.meta()));
        let another = self.open_stand_in(standin.key.clone(), params)?;
        let seat = Seat::on(&another);
        self.stand_ins.add(&another);
        Ok(seat)
    }

    fn open_stand_in(&self, key: Key, params: ByteString) -> Result<Arc<StandIn>, Refusal> {
        let server = key.server.clone();
        let servers = self.backends.all();
        let build = |session: Arc<Session>| Conversation::new(session, server, &servers);
        let opened = self.sessions.open_unstored(&key.principal, Transport::StandIn, build);
        let conversation = opened?;
        conversation.follow(&self.backends.all());
        let revision = Revision::LATEST_LEGACY;
        conversation.session.agree(&Agreement { revision, params });
        conversation.session.set_ready();
        let name = conversation.session.transport.name();
        self.context.metrics.sessions.with_label_values(&[name]).inc();
        Ok(Arc::new(StandIn {
            conversation,
            hub: Hub::default(),
            key,
            last_id: AtomicU64::new(0),
            seats: AtomicUsize::new(0),
            annotated: Mutex::default(),
            level: tokio::sync::Mutex::default(),
        }))
    }

    /// Asks on a stand-in's behalf for something whose answer is of no interest to its client.
    pub(super) fn ask_for(
        self: &Arc<Self>,
        standin: &StandIn,
        method: Method,
        params: &str,
    ) -> Reader {
        let (outlet, reader) = standin.session().open_stream(1);
        let request = Request::new(&standin.next_id(), method.name(), Some(params));
        self.take(&standin.conversation, request, &outlet);
        reader
    }
}
