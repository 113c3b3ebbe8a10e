//! What a backend says: answers find their caller, notes their session, requests their client.
//!
//! Whom a message is for that names no call, tells [`hearers`](crate::backend::hearers).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use bytestring::ByteString;
use wire::edit::Edit;
use wire::id::Id;
use wire::json::{self, JsonLimits};
use wire::limits::JSON_DEPTH;
use wire::message::{Body, Malformed, Message, Notification, Request, Response};
use wire::method::Method;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::backend::pending::{Call, Caller};
use crate::backend::upstream::{Owner, Pipe, Upstream};
use crate::bridge::tasks;
use crate::config::limits::server::SHOWN_BYTES;
use crate::session::asks::Ask;
use crate::session::outlet::Outlet;
use crate::session::{Session, Streams as _};
use crate::telemetry::metrics::Outcome;
use crate::telemetry::metrics::operations::Ending;
use crate::telemetry::traces::End;

/// Where a message of the server came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// On a pipe that carries everything.
    Pipe,
    /// In the HTTP answer to this call.
    Exchange(u64),
    /// On the stream for what the server says unasked, or in the answer to a notification.
    Unasked,
}

/// Depth is bounded for servers as for clients; how many members an answer has is bounded by its
/// length alone.
pub(super) const SERVER_JSON: JsonLimits = JsonLimits { depth: JSON_DEPTH, keys: usize::MAX };

impl Upstream {
    /// Takes in what the server said.
    pub(crate) fn receive(self: &Arc<Self>, text: &Bytes, source: Source) {
        match Body::parse(text.clone(), &SERVER_JSON) {
            Ok(Body::One(message)) => self.take_in(message, source),
            Ok(Body::Batch(messages)) => {
                for message in messages {
                    match message {
                        Ok(message) => self.take_in(message, source),
                        Err(fault) => self.complain(&fault, text),
                    }
                }
            }
            Err(fault) => self.complain(&fault, text),
        }
    }

    fn take_in(self: &Arc<Self>, message: Message, source: Source) {
        match message {
            Message::Response(response) => self.settle(response),
            Message::Notification(note) if self.is_stateless() => self.pass_to_stream(&note),
            Message::Notification(note) => self.hear(&note, source),
            Message::Request(request) if self.is_stateless() => self.drop_request(&request),
            Message::Request(request) => self.put_to_client(&request, source),
        }
    }

    /// A response: the caller's own id is put back, and the answer goes out.
    fn settle(self: &Arc<Self>, response: Response) {
        let number = response.id().and_then(Id::as_u64);
        let (call, is_late) = {
            let mut pending = self.pending.lock();
            let is_late = number.is_some_and(|number| pending.is_past(number));
            (number.and_then(|number| pending.take(number)), is_late)
        };
        let Some(call) = call else {
            self.note_stray(&response, is_late);
            return;
        };
        let outcome = if response.error().is_some() { Outcome::Error } else { Outcome::Ok };
        call.end_span(End::Answered(response.text()));
        self.measure(&call, outcome);
        if let Some(result) = response.result().filter(|_| call.method == Method::ToolsList)
            && self.facts.is_news(result)
        {
            self.context.metrics.note_tools(result);
        }
        self.withdraw_asks(number, &call);
        match call.caller {
            Caller::Gateway(sender) => {
                if sender.send(response).is_err() {
                    tracing::debug!(server = self.facts.id, "nobody waits for an answer of ours");
                }
            }
            Caller::Stream(caller) => caller.answer(call.method, &response),
            Caller::Client { outlet, id, .. } => {
                let mut edit = Edit::of(response.text());
                if let Some(number) = response.id_text() {
                    edit.replace(number, id.as_str());
                }
                outlet.answer_as(&id, edit.finish(), Ending::of(call.method, &response));
            }
        }
    }

    /// An answer that nobody waits for.
    fn note_stray(&self, response: &Response, is_late: bool) {
        let server = &self.facts.id;
        if is_late {
            tracing::debug!(server, "an answer came too late and was dropped");
        } else if self.facts.may_warn() {
            let id: String =
                response.id_text().unwrap_or("null").chars().take(SHOWN_BYTES).collect();
            let what = "an answer to no open request was dropped";
            tracing::warn!(event = "backend_stray_answer", server, id, "{what}");
        }
    }

    /// What the server asked the client in the course of a call that is over needs no answer.
    pub(crate) fn withdraw_asks(&self, number: Option<u64>, call: &Call) {
        let (Some(number), Some(outlet)) = (number, call.outlet()) else { return };
        let session = outlet.session();
        let over = session.asks().lock().withdraw_of_call(self.number, number);
        for (ask, stream) in over {
            let params = format!(r#"{{"requestId":{ask},"reason":"the call is over"}}"#);
            let note = Notification::new(Method::Cancelled.name(), Some(&params));
            Outlet::new(session.clone(), stream).emit(note.text().clone());
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "other notes need nothing put right")]
    fn hear(self: &Arc<Self>, note: &Notification, source: Source) {
        match note.method() {
            Method::Progress => self.pass_progress(note),
            Method::Cancelled => self.withdraw(note),
            Method::ToolsListChanged
            | Method::PromptsListChanged
            | Method::ResourcesListChanged => {
                self.note_change();
                self.broadcast(note.text());
            }
            Method::ResourcesUpdated => self.pass_update(note),
            // It belongs to no call, on whose stream a client of the modern era would miss it.
            Method::TasksStatus if self.is_listened_to() => self.broadcast(note.text()),
            _ => self.pass_note(note, source),
        }
    }

    fn pass_note(&self, note: &Notification, source: Source) {
        let heard = self.hearer(source, false);
        if let Some((_, outlet)) = heard.and_then(|it| self.beyond_doubt(it, source)) {
            outlet.emit(copy_of(note.text()));
        }
    }

    /// Whether a stand-in has the server to itself, and somebody listens there.
    fn is_listened_to(&self) -> bool {
        let is_listening = |it: &Arc<Session>| it.standalone().is_nobodys() && it.is_listening();
        matches!(self.owner, Owner::Session(..)) && self.sessions().iter().all(is_listening)
    }

    fn pass_progress(&self, note: &Notification) {
        let params = note.params().unwrap_or_default();
        let Some(token) = json::member(params, "progressToken") else { return };
        let Ok(number) = token.parse() else { return };
        let mut pending = self.pending.lock();
        let Some(call) = pending.hear(number, Instant::now()) else { return };
        let Caller::Client { outlet, progress_token: Some(own), .. } = &call.caller else { return };
        let (outlet, own) = (outlet.clone(), own.clone());
        drop(pending);
        let mut edit = Edit::of(note.text());
        edit.replace(token, String::from(own));
        outlet.emit(edit.finish());
    }

    /// The server takes back a request it put to the client.
    fn withdraw(&self, note: &Notification) {
        let params = note.params().unwrap_or_default();
        let request_id = json::member(params, "requestId");
        let Some((text, id)) = request_id.and_then(|text| Some((text, Id::parse(text)?))) else {
            return;
        };
        for session in self.sessions() {
            let withdrawn = session.asks().lock().withdraw(self.number, &id);
            if let Some((number, stream)) = withdrawn {
                let mut edit = Edit::of(note.text());
                edit.replace(text, number.to_string());
                Outlet::new(session, stream).emit(edit.finish());
                return;
            }
        }
    }

    fn pass_update(&self, note: &Notification) {
        let uri = note.params().and_then(|params| json::member(params, "uri"));
        let uri = uri.and_then(json::string).unwrap_or_default();
        let hearers = match &self.owner {
            Owner::Session(session, _) => session.upgrade().into_iter().collect(),
            Owner::Shared(members) => members.subscribers(&uri),
            Owner::Lists(_) | Owner::Stateless => Vec::new(),
        };
        let text = copy_of(note.text());
        hearers.iter().for_each(|session| session.standalone().emit(text.clone()));
    }

    fn broadcast(&self, text: &ByteString) {
        let text = copy_of(text);
        self.sessions().iter().for_each(|session| session.standalone().emit(text.clone()));
    }

    /// A request of the server's goes to the client under a number of the session's.
    fn put_to_client(self: &Arc<Self>, request: &Request, source: Source) {
        if request.method() == Method::Ping {
            self.reply(&Response::success(request.id(), "{}"));
            return;
        }
        let is_of_task = tasks::related(request.params()).is_some();
        if !matches!(source, Source::Exchange(_)) && !is_of_task {
            self.facts.asks_unnamed.store(true, Ordering::Relaxed);
        }
        let (call, outlet) = match self.asked(source, is_of_task) {
            Ok(asked) => asked,
            Err(why) => return self.decline(request, Reason::MethodNotFound, why),
        };
        if let Owner::Shared(_) = self.owner
            && !client_can(outlet.session(), request.method())
        {
            let why = "the client did not declare this capability";
            self.decline(request, Reason::MethodNotFound, why);
            return;
        }
        let progress_token = request.progress_token();
        let upstream = Arc::downgrade(self);
        let ask = Ask {
            upstream: self.number,
            call: call.filter(|_| self.is_certain(source)),
            stream: outlet.stream(),
            original: request.id().clone(),
            progress_token: progress_token.map(|token| request.text().slice_ref(token)),
            send: Arc::new(move |text| {
                if let Some(upstream) = upstream.upgrade()
                    && upstream.tell(text).is_err()
                {
                    tracing::warn!(server = upstream.facts.id, "an answer of a client was lost");
                }
            }),
        };
        let number = outlet.session().asks().lock().open(ask);
        let Some(number) = number else {
            self.decline(request, Reason::Overloaded, "too many requests wait for this client");
            return;
        };
        let mut edit = Edit::of(request.text());
        edit.replace(request.id_text(), number.to_string());
        if let Some(token) = progress_token {
            edit.replace(token, number.to_string());
        }
        outlet.emit(edit.finish());
    }

    /// Whether a message from there belongs to the call it was taken to belong to, beyond doubt:
    /// only then does a question end with the call.
    fn is_certain(&self, source: Source) -> bool {
        matches!(source, Source::Exchange(_)) || self.pending.lock().clients() == 1
    }

    fn decline(self: &Arc<Self>, request: &Request, reason: Reason, why: &str) {
        self.reply(&Response::failure(Some(request.id()), reason.code(), why, None));
    }

    fn reply(self: &Arc<Self>, response: &Response) {
        if self.tell(response.text().clone()).is_err() {
            tracing::debug!(server = self.facts.id, "a reply to the server was not taken");
        }
    }

    /// The sessions it speaks to.
    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        match &self.owner {
            Owner::Session(session, _) => session.upgrade().into_iter().collect(),
            Owner::Shared(members) => members.all(),
            Owner::Lists(members) => members.all(),
            Owner::Stateless => Vec::new(),
        }
    }

    /// Something that is not JSON-RPC: it fails the call it names, and is otherwise ignored.
    fn complain(self: &Arc<Self>, fault: &Malformed, text: &Bytes) {
        self.context.metrics.garbage.with_label_values(&[&self.facts.id]).inc();
        // Only an answer fails a call; a malformed request has an id of the server's own.
        let number = Response::id_in_head(text).as_ref().and_then(Id::as_u64);
        if let Some(number) = number {
            let what =
                format!("server {:?} sent a malformed answer: {}", self.facts.id, fault.detail);
            let refusal = Refusal::new(Reason::BackendProtocol, what);
            self.fail(number, &refusal.dispatched(Dispatched::Yes));
        }
        self.wear_out();
        if self.facts.may_warn() {
            let head = text.get(..text.len().min(SHOWN_BYTES)).unwrap_or_default();
            let shown = String::from_utf8_lossy(head).escape_debug().to_string();
            tracing::warn!(
                event = "backend_garbage",
                server = self.facts.id,
                fault = fault.detail,
                shown,
                "the server sent something that is not a JSON-RPC message"
            );
        }
    }

    /// Counts a line of garbage. A process that writes too much of it is replaced if it is shared;
    /// one that is a session's own keeps the session's state, which is worth more than its silence.
    fn wear_out(&self) {
        // What it writes while it starts, the next one would write too.
        if self.hello().is_empty() {
            return;
        }
        let is_too_much = self.garbage.lock().note(Instant::now());
        let is_process = matches!(self.pipe, Pipe::Stdio(_));
        if is_too_much
            && is_process
            && matches!(self.owner, Owner::Shared(_) | Owner::Stateless)
            && !self.worn.swap(true, Ordering::Relaxed)
        {
            let server = &self.facts.id;
            tracing::warn!(event = "backend_garbage_restart", server, "replaced when it is idle");
        }
    }

    /// A message that was over `limits.line_bytes`: the call it answers is told.
    pub(crate) fn refuse_long(self: &Arc<Self>, head: &[u8], length: u64) {
        let id = Response::id_in_head(head);
        let what = format!(
            "server {:?} sent a message of {length} bytes; the limit is {} (limits.line_bytes)",
            self.facts.id, self.context.limits.line_bytes
        );
        tracing::warn!(event = "backend_too_long", server = self.facts.id, length, "{what}");
        if let Some(number) = id.and_then(|id| id.as_u64()) {
            let refusal = Refusal::new(Reason::ResponseTooLarge, what);
            self.fail(number, &refusal.dispatched(Dispatched::Yes));
        }
    }
}

/// A copy with memory of its own: a note may be kept for long, for streams that are taken up again,
/// and would keep everything that was read together with it.
fn copy_of(text: &ByteString) -> ByteString {
    ByteString::from(&**text)
}

/// Whether the client declared that it answers this method of a server.
#[expect(clippy::wildcard_enum_match_arm, reason = "other methods need no capability")]
fn client_can(session: &Session, method: Method) -> bool {
    let capability = match method {
        Method::SamplingCreateMessage => "sampling",
        Method::ElicitationCreate => "elicitation",
        Method::RootsList => "roots",
        _ => return true,
    };
    let Some(agreement) = session.agreement() else { return false };
    json::path(&agreement.params, &["capabilities", capability]).is_some()
}
