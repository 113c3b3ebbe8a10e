//! THE LIFE OF A MESSAGE. ARCHITECTURE.md tells it from end to end; this is its middle.
//!
//! ```text
//! http ──► accept ─┬─ request ───► admit ─► local answer
//!                  │                    ├─► one server:  forward ─► attachment ─► upstream
//!                  │                    └─► all servers: route or gather, then forward
//!                  ├─ notification ─► every server it concerns, ids put right
//!                  └─ response ────► the server that asked
//! ```
//!
//! Answers do not come back through here. A request travels with its [`Outlet`]; the upstream that
//! gets the answer speaks into it, and the HTTP body, event stream or WebSocket that reads the
//! session's log carries it out. So no request waits for a backend in here: what has to wait (a
//! start, a merged list) runs in a task of its own, and a client's next message is not held up by
//! its last request.

mod bridged;
pub mod conversation;
mod drain;
mod end;
pub mod exchange;
#[cfg(test)]
mod fixture;
mod forward;
mod gather;
mod handshake;
mod hub;
mod listen;
mod listing;
pub mod locate;
mod notes;
mod params;
pub mod peers;
mod reload;
mod spread;
pub mod standin;
mod suspended;
mod takeover;
mod tasks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use wire::edit::Edit;
use wire::id::Id;
use wire::message::{Notification, Request, Response};
use wire::method::Method;
use wire::refusal::{Reason, Refusal};

use crate::backend::Backends;
use crate::backend::context::Context;
use crate::config::limits::client::RETRY_SOON;
use crate::config::{Naming, RateLimit};
use crate::policy::limits::Limits;
use crate::relay::conversation::Conversation;
use crate::relay::exchange::InFlight;
use crate::relay::forward::Outbound;
use crate::relay::locate::Places;
use crate::relay::peers::Peers;
use crate::relay::standin::StandIns;
use crate::relay::suspended::Suspended;
use crate::relay::takeover::elsewhere;
use crate::session::outlet::Outlet;
use crate::session::principal::Principal;
use crate::session::standing::Standing;
use crate::session::table::Sessions;
use crate::session::{Session, Transport};
use crate::telemetry::metrics::operations::Operation;

/// Takes messages from clients to servers.
#[derive(Debug)]
pub struct Relay {
    /// The servers.
    pub backends: Backends,
    /// What the house provides.
    pub context: Arc<Context>,
    /// The sessions of this replica.
    pub sessions: Sessions<Conversation>,
    /// This replica among its peers.
    pub standing: Arc<Standing>,
    /// The way to them.
    pub peers: Peers,
    /// How often clients may ask.
    pub limits: Limits,
    places: Places,
    naming: Naming,
    draining: AtomicBool,
    stand_ins: StandIns,
    suspended: Suspended,
    /// Cancelled by a drain: for what lasts as long as nobody ends it.
    stopping: CancellationToken,
    /// Calls that no session counts.
    direct: Arc<AtomicUsize>,
    /// `WebSocket`s that are joined to other replicas.
    tunnels: Arc<AtomicUsize>,
}

/// What became of a client's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// A server waited for it.
    Delivered,
    /// No server waits for it.
    Unasked,
}

impl Relay {
    /// A relay without sessions.
    pub fn new(
        backends: Backends,
        context: Arc<Context>,
        sessions: Sessions<Conversation>,
        naming: Naming,
        secret: Option<&str>,
    ) -> Self {
        let store = sessions.store().clone();
        let lease = sessions.lease().clone();
        let standing = Arc::new(Standing::new(store, sessions.replica().clone(), lease));
        let suspended = Suspended::new(secret, standing.replica());
        Self {
            backends,
            context,
            sessions,
            peers: Peers::new(secret, standing.clone()),
            standing,
            limits: Limits::default(),
            places: Places::default(),
            naming,
            draining: AtomicBool::new(false),
            stand_ins: StandIns::default(),
            suspended,
            stopping: CancellationToken::new(),
            direct: Arc::default(),
            tunnels: Arc::default(),
        }
    }

    /// The same with limits of rates.
    #[must_use]
    pub fn limited(mut self, config: &RateLimit) -> Self {
        let (store, standing) = (self.sessions.store().clone(), self.standing.clone());
        self.limits = Limits::new(config, store, standing, self.context.metrics.clone());
        self
    }

    /// Opens a session for a client of one server, or of all of them. At a cap, the one of the same
    /// client that has been left for the longest gives way.
    ///
    /// # Errors
    /// No such server, too many sessions, or the gateway is stopping.
    pub async fn open(
        &self,
        principal: Principal,
        transport: Transport,
        server: Option<&str>,
    ) -> Result<Arc<Conversation>, Refusal> {
        self.refuse_while_draining()?;
        self.refuse_unknown(server)?;
        let name = server.map(ToOwned::to_owned);
        let servers = self.backends.all();
        let holder = self.sessions.holder(&principal);
        let open = || {
            let build =
                |session: Arc<Session>| Conversation::new(session, holder, name.clone(), &servers);
            self.sessions.open(principal.clone(), transport, name.clone(), build)
        };
        let conversation = match open().await {
            Err(refusal) if refusal.reason == Reason::Overloaded => {
                self.make_room(&principal).await.ok_or(refusal)?;
                open().await?
            }
            opened => opened?,
        };
        // The list may have been replaced before the session could be found.
        conversation.follow(&self.backends.all());
        self.context.metrics.sessions.with_label_values(&[transport.name()]).inc();
        Ok(conversation)
    }

    /// Ends a session that nobody finds here any more.
    fn finish(&self, conversation: &Conversation) {
        let session = &conversation.session;
        // What is owed is answered before the streams that carry it end.
        conversation.roster().all().for_each(|attachment| attachment.leave(session));
        self.context.metrics.sessions.with_label_values(&[session.transport.name()]).dec();
        let unanswered = session.asks().lock().take_all();
        for ask in unanswered {
            let code = Reason::Internal.code();
            let gone = Response::failure(Some(&ask.original), code, "the client is gone", None);
            (ask.send)(gone.text().clone());
        }
        session.close();
        // A start may have come to its end since the servers were left, and found the session open.
        conversation.roster().all().for_each(|attachment| attachment.leave(session));
    }

    /// Takes a request in; its answer reaches `outlet` by itself, now or later.
    pub fn accept(
        self: &Arc<Self>,
        conversation: &Arc<Conversation>,
        request: Request,
        outlet: &Outlet,
    ) {
        let transport = conversation.session.transport.name();
        self.context.metrics.count_request(transport, request.method().name());
        let operation = self.context.metrics.operation(&request);
        let Some(outlet) = self.traced(conversation, &request, outlet) else {
            self.take_in(conversation, request, outlet, operation);
            return;
        };
        let trail = outlet.trail().clone();
        trail.run(|| self.take_in(conversation, request, &outlet, operation));
    }

    /// As [`accept`](Self::accept), for a request that was counted when it came.
    pub(crate) fn take(
        self: &Arc<Self>,
        conversation: &Arc<Conversation>,
        request: Request,
        outlet: &Outlet,
    ) {
        self.take_in(conversation, request, outlet, None);
    }

    fn take_in(
        self: &Arc<Self>,
        conversation: &Arc<Conversation>,
        request: Request,
        outlet: &Outlet,
        operation: Option<Operation>,
    ) {
        let session = &conversation.session;
        session.touch();
        if let Err(refusal) = self.admit(conversation, &request, outlet) {
            self.context.metrics.count_error(refusal.reason.name());
            operation.into_iter().for_each(|it| it.refuse(&refusal, session.revision()));
            outlet.reject(request.id(), &refusal);
            return;
        }
        operation.into_iter().for_each(|it| session.measure(request.id(), it));
        if request.method() == Method::Initialize {
            self.initialize(conversation, request, outlet);
        } else if request.method() == Method::Ping {
            let pong = Response::success(request.id(), "{}");
            outlet.answer(request.id(), pong.text().clone());
        } else if let Some(attachment) = conversation.only_server() {
            self.forward(conversation, &attachment, Outbound::unchanged(request), outlet);
        } else {
            self.spread(conversation, request, outlet);
        }
    }

    /// Takes a notification in and passes it to the servers it concerns.
    pub async fn notification(&self, conversation: &Conversation, note: &Notification) {
        conversation.session.touch();
        if note.method() == Method::Initialized {
            conversation.session.set_ready();
            // What the client says next must not overtake this, so it alone is waited for.
            let roster = conversation.roster();
            join_all(roster.all().map(|it| it.initialized())).await;
        } else if note.method() == Method::Cancelled {
            notes::cancel(conversation, note);
        } else if note.method() == Method::Progress {
            notes::pass_progress(conversation, note);
        } else {
            self.tell_servers(conversation, note);
        }
    }

    /// Takes in the client's answer to a request of a server.
    pub fn response(&self, session: &Session, response: &Response) -> Answered {
        session.touch();
        let ask = response.id().and_then(|id| session.asks().lock().take(id));
        let Some(ask) = ask else { return Answered::Unasked };
        let mut edit = Edit::of(response.text());
        if let Some(number) = response.id_text() {
            edit.replace(number, ask.original.as_str());
        }
        (ask.send)(edit.finish());
        Answered::Delivered
    }

    /// Requests in flight, of all clients.
    pub fn in_flight(&self) -> usize {
        let sessions = self.sessions.all();
        let of_sessions: usize = sessions.iter().map(|it| it.session.in_flight()).sum();
        of_sessions + self.direct.load(Ordering::Relaxed)
    }

    /// Counts a call that no session of this replica counts, for as long as the guard lives.
    pub fn count_call(&self) -> InFlight {
        InFlight::new(&self.direct)
    }

    /// `WebSocket`s of clients whose sessions other replicas have.
    pub fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }

    /// Counts one of them, for as long as the guard lives.
    pub fn count_tunnel(&self) -> InFlight {
        InFlight::new(&self.tunnels)
    }

    /// Ends what is over: calls whose time is up, sessions that are idle or old, old streams,
    /// idle connections. Nothing here waits, least of all for the store: calls have deadlines.
    pub fn sweep(self: &Arc<Self>, now: Instant) {
        self.backends.sweep(now);
        self.context.http.sweep(now);
        self.peers.sweep(now);
        self.end_overdue();
        self.end_orphans();
        self.end_disowned();
        self.suspended.sweep(now);
        for surplus in self.stand_ins.take_surplus() {
            self.end_here(&surplus.conversation);
        }
        self.stand_ins.sweep();
        self.sessions.all().iter().for_each(|conversation| conversation.session.sweep(now));
        self.clear_store();
    }

    /// May this request be taken in?
    fn admit(
        &self,
        conversation: &Conversation,
        request: &Request,
        outlet: &Outlet,
    ) -> Result<(), Refusal> {
        // What another replica could go on with is given back when it has nothing in flight; until
        // then it is served.
        if !self.may_be_given_back(&conversation.session) {
            self.refuse_while_draining()?;
        }
        if conversation.is_orphan() {
            let server = conversation.server().unwrap_or_default();
            let what = format!("server {server:?} was taken out of the gateway's configuration");
            return Err(Refusal::new(Reason::BackendUnavailable, what));
        }
        let session = &conversation.session;
        if session.is_disowned() {
            self.end_disowned();
            return Err(elsewhere());
        }
        self.check_own(session)?;
        let agreed = session.agreement().is_some();
        if agreed && request.method() == Method::Initialize {
            let what = "this session is initialised already; open another one";
            return Err(Refusal::new(Reason::InvalidRequest, what));
        }
        if !agreed && !matches!(request.method(), Method::Initialize | Method::Ping) {
            let what = "the first request of a session must be initialize";
            return Err(Refusal::new(Reason::InvalidRequest, what));
        }
        match request.progress_token().map(Id::parse) {
            None => session.begin_on(outlet.stream(), request.id(), None),
            Some(Some(token)) => session.begin_on(outlet.stream(), request.id(), Some(token)),
            Some(None) => {
                let what = "_meta.progressToken must be a string or an integer";
                Err(Refusal::new(Reason::InvalidParams, what))
            }
        }
    }

    /// Whether a session is surely this replica's still: another one may have claimed it since this
    /// one was last confirmed to own it.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`: it may not be.
    pub fn check_own(&self, session: &Session) -> Result<(), Refusal> {
        if session.is_surely_own() {
            return Ok(());
        }
        let what = "this replica has lost touch with the session store; try again";
        Err(Refusal::new(Reason::StoreUnavailable, what).retry_after(RETRY_SOON))
    }

    fn refuse_unknown(&self, server: Option<&str>) -> Result<(), Refusal> {
        let servers = self.backends.all();
        let known: Vec<_> = servers.iter().map(|it| it.config.id.as_str()).collect();
        match server {
            Some(id) if !known.contains(&id) => {
                let what = format!("there is no server {id:?}; there are: {}", known.join(", "));
                Err(Refusal::new(Reason::InvalidRequest, what))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses a request that was taken in, and counts it.
    pub(crate) fn refuse(&self, outlet: &Outlet, id: &Id, refusal: &Refusal) {
        self.context.metrics.count_error(refusal.reason.name());
        outlet.refuse(id, refusal);
    }
}
