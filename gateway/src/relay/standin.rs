//! Sessions that the gateway holds in the stead of clients that have none.
//!
//! A legacy server needs a session, and a client of revision 2026-07-28 has none to give it. All
//! requests of one principal that declare the same capabilities and client name share a stand-in,
//! so that a server which keeps something between calls finds it again. It is this replica's
//! alone: nothing of it is stored, and it ends when it is idle.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytestring::ByteString;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use wire::id::Id;
use wire::message::Request;
use wire::method::Method;
use wire::refusal::Refusal;
use wire::revision::Revision;

use crate::bridge::hello;
use crate::relay::Relay;
use crate::relay::conversation::Conversation;
use crate::relay::hub::Hub;
use crate::relay::params::Annotated;
use crate::relay::tasks::Tasks;
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
}

/// Who shares a stand-in.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    last_id: AtomicU64,
    /// Calls that wait for their client's answer to a question.
    waiting: AtomicU64,
    /// The tools that want arguments in headers, by server.
    pub(super) annotated: Mutex<BTreeMap<String, Arc<Annotated>>>,
    /// The log level its servers were asked for, as a number that grows with severity.
    pub(super) level: tokio::sync::Mutex<Option<usize>>,
    /// What its servers run as tasks.
    pub(super) tasks: Tasks,
}

impl StandIns {
    /// Forgets those whose session ended.
    pub(super) fn sweep(&self) {
        self.open.lock().retain(|_, all| {
            all.retain(|it| it.is_open());
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

    fn find(&self, key: &Key) -> Option<Arc<StandIn>> {
        let open = self.open.lock();
        open.get(key)?.iter().find(|it| it.is_free()).cloned()
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

    /// A call begins or ceases to wait for its client.
    pub(super) fn count_waiting(&self, is_waiting: bool) {
        if is_waiting {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Over a pipe a question names no call, and belongs to the newest one that is listened to. A
    /// call of another client's turn, which waits for its answer, would be taken for it.
    fn is_free(&self) -> bool {
        self.is_open() && self.waiting.load(Ordering::Relaxed) == 0
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
        let key = Key::of(guest, &params);
        if let Some(standin) = self.stand_ins.find(&key) {
            return Ok(standin);
        }
        let server = guest.server.clone();
        let servers = self.backends.all();
        let build = |session: Arc<Session>| Conversation::new(session, server.clone(), &servers);
        let opened = self.sessions.open_unstored(&guest.principal, Transport::StandIn, build);
        let conversation = opened?;
        conversation.follow(&self.backends.all());
        let revision = Revision::LATEST_LEGACY;
        conversation.session.agree(&Agreement { revision, params });
        conversation.session.set_ready();
        let name = conversation.session.transport.name();
        self.context.metrics.sessions.with_label_values(&[name]).inc();
        let standin = Arc::new(StandIn {
            conversation,
            hub: Hub::default(),
            last_id: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            annotated: Mutex::default(),
            level: tokio::sync::Mutex::default(),
            tasks: Tasks::default(),
        });
        self.stand_ins.open.lock().entry(key).or_default().push(standin.clone());
        Ok(standin)
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
