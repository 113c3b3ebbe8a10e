//! One conversation with a backend: a process or an HTTP session that was initialised.
//!
//! Calls go out under numbers of our own ([`pending`](crate::backend::pending)); what comes back
//! is sorted by [`inbound`](crate::backend::inbound). An upstream belongs to one session, or it is
//! shared by many (a pool); it knows no transport beyond "send this line".

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wire::edit::Edit;
use wire::id::Id;
use wire::json;
use wire::message::{Notification, Request, Response};
use wire::method::Method;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::backend::context::Context;
use crate::backend::downward::DownwardPipe;
use crate::backend::handshake;
use crate::backend::http::HttpPipe;
use crate::backend::link::LinkPipe;
use crate::backend::members::Members;
use crate::backend::patience::Patience;
use crate::backend::pending::{Call, Caller, Pending};
use crate::backend::rest::Rest;
use crate::backend::server::Facts;
use crate::backend::stdio::StdioPipe;
use crate::backend::trouble::Garbage;
use crate::backend::wishes::Wishes;
use crate::session::Session;
use crate::session::id::SessionKey;
use crate::session::outlet::Outlet;
use crate::telemetry::trail::Trail;
use crate::transport::stdio::Ticket;

/// Whose an upstream is.
#[derive(Debug)]
pub enum Owner {
    /// One session's: whatever the server says is meant for it. Its wishes are repeated when the
    /// server loses them.
    Session(Weak<Session>, Arc<Wishes>),
    /// Shared: the sessions that use it.
    Shared(Members),
    /// Only asked for lists, on behalf of these sessions.
    Lists(Arc<Members>),
    /// Shared by callers of the modern era: no session's.
    Stateless,
}

/// How lines reach the server.
#[derive(Debug)]
pub enum Pipe {
    /// A child process.
    Stdio(StdioPipe),
    /// An HTTP session.
    Http(Box<HttpPipe>),
    /// One long connection: HTTP+SSE or WebSocket.
    Link(LinkPipe),
    /// A server of the modern era, under a bridge.
    Modern(Box<DownwardPipe>),
}

/// The line was not taken; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The queue in front of the server is full.
    Full,
    /// The upstream is closed.
    Closed,
}

/// One initialised conversation with a backend.
#[derive(Debug)]
pub struct Upstream {
    /// Unique in this process.
    pub number: u64,
    /// The server it belongs to.
    pub facts: Arc<Facts>,
    pub(crate) context: Arc<Context>,
    pub(crate) owner: Owner,
    pub(crate) pipe: Pipe,
    pub(crate) pending: Mutex<Pending>,
    introduced: AtomicBool,
    hello: OnceLock<ByteString>,
    pub(super) closed: CancellationToken,
    pub(super) why: OnceLock<String>,
    pub(super) crashed: OnceLock<Instant>,
    pub(super) garbage: Mutex<Garbage>,
    /// It has written so much garbage that it is replaced as soon as it has nothing to do.
    pub(super) worn: AtomicBool,
    /// When it was made.
    pub started: Instant,
    pub(super) rest: Rest,
}

static LAST_NUMBER: AtomicU64 = AtomicU64::new(0);

impl Upstream {
    /// An upstream over `pipe`, before `initialize`.
    pub(crate) fn new(
        facts: Arc<Facts>,
        context: Arc<Context>,
        owner: Owner,
        pipe: Pipe,
    ) -> Arc<Self> {
        Arc::new(Self {
            number: LAST_NUMBER.fetch_add(1, Ordering::Relaxed) + 1,
            facts,
            context,
            owner,
            pipe,
            pending: Mutex::default(),
            introduced: AtomicBool::new(false),
            hello: OnceLock::new(),
            closed: CancellationToken::new(),
            why: OnceLock::new(),
            crashed: OnceLock::new(),
            garbage: Mutex::default(),
            worn: AtomicBool::new(false),
            started: Instant::now(),
            rest: Rest::default(),
        })
    }

    /// Passes a client's request on; its answer reaches `outlet` by itself.
    ///
    /// `edit` holds what the route changed (a tool's name); id and progress token are set here.
    ///
    /// # Errors
    /// Nothing was sent, and the outlet was not used.
    pub fn call(
        self: &Arc<Self>,
        request: &Request,
        edit: Edit<'_>,
        outlet: &Outlet,
    ) -> Result<(), NotSent> {
        let (number, line) = self.enrol(request, edit, outlet);
        self.dispatch(number, line)
    }

    /// As [`call`](Self::call), but waits up to `limit` for room in the server's queue.
    ///
    /// # Errors
    /// Nothing was sent, and the outlet was not used.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the call enrolled; it is answered when its time is up.
    pub async fn call_patiently(
        self: &Arc<Self>,
        request: &Request,
        edit: Edit<'_>,
        outlet: &Outlet,
        limit: Duration,
    ) -> Result<(), NotSent> {
        let (number, line) = self.enrol(request, edit, outlet);
        self.dispatch_patiently(number, line, limit).await
    }

    /// Books a client's request, and writes it under the gateway's own id and progress token.
    fn enrol(&self, request: &Request, mut edit: Edit<'_>, outlet: &Outlet) -> (u64, ByteString) {
        let progress_token = request.progress_token();
        let caller = Caller::Client {
            outlet: outlet.clone(),
            id: request.id().clone(),
            progress_token: progress_token.map(|token| request.text().slice_ref(token)),
        };
        let trail = self.trail_of(outlet.trail(), request);
        if let Some(trace) = trail.trace() {
            trace.write_into(&mut edit, request);
        }
        let call = Call::new(caller, request.method(), self.facts.patience, Instant::now());
        let number = self.pending.lock().insert(call.followed_by(trail));
        let number_text = number.to_string();
        if let Some(token) = progress_token {
            edit.replace(token, number_text.clone());
        }
        edit.replace(request.id_text(), number_text);
        (number, edit.finish())
    }

    /// Asks on the gateway's own behalf and waits for the answer.
    ///
    /// # Errors
    /// The answer did not come within `limit`, or the upstream closed.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answer; the request may have been sent.
    pub async fn ask(
        self: &Arc<Self>,
        method: Method,
        params: Option<&str>,
        limit: Duration,
    ) -> Result<Response, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let patience = Patience { idle: limit, total: limit };
        let asked = Request::new(&Id::number(0), method.name(), params);
        let trail = self.trail_of(&Trail::current(), &asked);
        let call = Call::new(Caller::Gateway(sender), method, patience, Instant::now());
        let number = self.pending.lock().insert(call.followed_by(trail.clone()));
        let request = asked.with_id(&Id::number(number));
        let request = match trail.trace() {
            Some(trace) => trace.carried_by(request),
            None => request,
        };
        let sent = self.dispatch(number, request.text().clone());
        sent.map_err(|fault| self.not_sent(fault))?;
        match tokio::time::timeout(limit, receiver).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_closed)) => Err(self.unavailable()),
            Err(_elapsed) => {
                self.pending.lock().take(number);
                let what = format!(
                    "server {:?} did not answer {} within {} s",
                    self.facts.id,
                    method.name(),
                    limit.as_secs()
                );
                Err(Refusal::new(Reason::BackendTimeout, what).dispatched(Dispatched::Unknown))
            }
        }
    }

    /// Sends a notification, or a response to a request of the server's.
    pub fn tell(self: &Arc<Self>, text: ByteString) -> Result<(), NotSent> {
        if self.closed.is_cancelled() {
            return Err(NotSent::Closed);
        }
        self.rest.stir();
        match &self.pipe {
            Pipe::Stdio(pipe) => pipe.send(text).map(drop),
            Pipe::Http(pipe) => pipe.send_note(self, text),
            Pipe::Link(pipe) => pipe.send(None, text),
            Pipe::Modern(pipe) => {
                pipe.send_note(self, text);
                Ok(())
            }
        }
    }

    /// Sends `notifications/initialized`, once.
    pub async fn introduce(self: &Arc<Self>) {
        if self.introduced.swap(true, Ordering::Relaxed) {
            return;
        }
        let note = Notification::new(Method::Initialized.name(), None);
        let sent = match &self.pipe {
            Pipe::Stdio(_) | Pipe::Link(_) => self.tell(note.text().clone()).is_ok(),
            Pipe::Http(pipe) => pipe.introduce(self, note.text()).await,
            Pipe::Modern(pipe) => {
                pipe.introduce(self);
                true
            }
        };
        if !sent {
            tracing::warn!(server = self.facts.id, "notifications/initialized was not taken");
        }
        self.keep_seat();
    }

    /// Goes on where another replica had sent `notifications/initialized`.
    pub(super) fn resume(self: &Arc<Self>) {
        self.introduced.store(true, Ordering::Relaxed);
        match &self.pipe {
            Pipe::Http(pipe) => pipe.listen(self),
            Pipe::Stdio(_) | Pipe::Link(_) | Pipe::Modern(_) => {}
        }
    }

    /// Whether `notifications/initialized` was sent.
    pub(super) fn is_introduced(&self) -> bool {
        self.introduced.load(Ordering::Relaxed)
    }

    /// The client cancelled its request `id`; false when it is not in flight here.
    pub fn cancel(self: &Arc<Self>, session: SessionKey, id: &Id, note: &Notification) -> bool {
        let number = self.pending.lock().cancel(session, id, Instant::now());
        let Some(number) = number else { return false };
        let mut edit = Edit::of(note.text());
        if let Some(request_id) = note.params().and_then(|it| json::member(it, "requestId")) {
            edit.replace(request_id, number.to_string());
        }
        if self.tell(edit.finish()).is_err() {
            tracing::debug!(server = self.facts.id, "a cancellation could not be passed on");
        }
        true
    }

    /// Records the answer to `initialize`.
    pub(crate) fn greet(&self, result: ByteString) {
        if self.hello.set(result).is_err() {
            tracing::debug!(server = self.facts.id, "the server was initialised again");
        }
    }

    /// The `InitializeResult`, as the server wrote it; empty before it came.
    pub fn hello(&self) -> ByteString {
        self.hello.get().cloned().unwrap_or_default()
    }

    /// Whether the server declared a capability, such as `tools` or `resources.subscribe`.
    pub fn offers(&self, capability: &str) -> bool {
        handshake::offers(&self.hello(), capability)
    }

    /// Calls that wait for an answer here.
    pub fn in_flight(&self) -> usize {
        self.pending.lock().in_flight()
    }

    /// Whether nobody has closed it.
    pub fn is_open(&self) -> bool {
        !self.closed.is_cancelled()
    }

    /// Whether a message can still reach the server. One that has just gone takes none, a moment
    /// before it is known how it ended and its callers are told.
    pub fn takes_messages(&self) -> bool {
        self.is_open()
            && match &self.pipe {
                Pipe::Stdio(pipe) => pipe.takes_lines(),
                Pipe::Link(pipe) => pipe.takes_messages(),
                Pipe::Http(_) | Pipe::Modern(_) => true,
            }
    }

    /// When its process ended by itself.
    pub fn crashed(&self) -> Option<Instant> {
        self.crashed.get().copied()
    }

    /// Fires when it is closed.
    pub fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Sends what was booked; waits up to `limit` for room in the server's queue.
    pub(super) async fn dispatch_patiently(
        self: &Arc<Self>,
        number: u64,
        line: ByteString,
        limit: Duration,
    ) -> Result<(), NotSent> {
        match &self.pipe {
            Pipe::Stdio(pipe) if self.is_open() => {
                self.rest.stir();
                let sent = pipe.send_within(line, limit).await;
                self.booked(number, sent.map(Some))
            }
            Pipe::Link(pipe) if self.is_open() => {
                self.rest.stir();
                let sent = pipe.send_within(Some(number), line, limit).await;
                self.booked(number, sent.map(|()| None))
            }
            Pipe::Stdio(_) | Pipe::Http(_) | Pipe::Link(_) | Pipe::Modern(_) => {
                self.dispatch(number, line)
            }
        }
    }

    fn dispatch(self: &Arc<Self>, number: u64, line: ByteString) -> Result<(), NotSent> {
        if self.closed.is_cancelled() {
            return self.booked(number, Err(NotSent::Closed));
        }
        self.rest.stir();
        match &self.pipe {
            Pipe::Stdio(pipe) => self.booked(number, pipe.send(line).map(Some)),
            Pipe::Http(pipe) => {
                pipe.send_call(self, number, line);
                Ok(())
            }
            Pipe::Link(pipe) => self.booked(number, pipe.send(Some(number), line).map(|()| None)),
            Pipe::Modern(pipe) => {
                pipe.send_call(self, number, line);
                Ok(())
            }
        }
    }

    /// Notes where in a process's queue a call stands, or takes it out again. A connection's queue
    /// has no tickets: it gives back itself what was not sent.
    fn booked(&self, number: u64, sent: Result<Option<Ticket>, NotSent>) -> Result<(), NotSent> {
        let mut pending = self.pending.lock();
        match sent {
            Ok(Some(ticket)) => pending.note_ticket(number, ticket),
            Ok(None) => {}
            // Whoever took it out has answered it: sent elsewhere, it would be carried out although
            // its caller was told of its end.
            Err(_) if pending.take(number).is_none() => return Ok(()),
            Err(_) => {}
        }
        sent.map(drop)
    }
}
