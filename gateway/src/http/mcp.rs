//! `/mcp` and `/mcp/{server}`: Streamable HTTP, revisions 2025-03-26 to 2025-11-25; requests of
//! 2026-07-28 go on to [`modern`].
//!
//! An answer that is ready soon goes out as one JSON text. After [`PATIENCE`], or when the server
//! has something to say first, the reply becomes an event stream that starts with an id to resume
//! from, so that a broken connection does not lose the answer of a long call. A client that names
//! event streams first in `Accept` gets one at once.

mod find;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request as Question, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use wire::message::{Body as Said, Malformed, Message, Request};
use wire::method::Method;
use wire::refusal::{Reason, Refusal};
use wire::revision::Revision;

use self::find::find;
use crate::config::limits::client::PATIENCE;
use crate::http::body::{accepts, prefers_stream, read_json, single};
use crate::http::events::{EventStream, gap};
use crate::http::exchange::Line;
use crate::http::hop::{self, Carried, Opening};
use crate::http::reply::{self, Fault};
use crate::http::{At, Edge, OnLine, Server, caller, modern};
use crate::policy::identity;
use crate::relay::Answered;
use crate::relay::conversation::Conversation;
use crate::session::caller::Caller;
use crate::session::outlet::{Outlet, Reader};
use crate::session::replay::{EventId, Next, Part, StreamTag};
use crate::session::{Streams as _, Transport};
use crate::transport::http::{LAST_EVENT_ID, PROTOCOL_VERSION, SESSION_ID};

const TRANSPORT: Transport = Transport::Streamable;

/// `POST`: a message, or in revision 2025-03-26 a batch, from the client.
pub(crate) async fn post(
    State(edge): At,
    server: Server,
    Extension(line): OnLine,
    question: Question,
) -> Response {
    let (head, body) = question.into_parts();
    let headers = &head.headers;
    let (said, text) = match read(&edge, &line, headers, body).await {
        Ok(read) => read,
        Err(refused) => return refused,
    };
    let caller = match caller::admit(&edge, &head, &said).await {
        Ok(caller) => caller,
        Err(refused) => return refused,
    };
    let server = server.map(|Path(id)| id);
    let asked = (said, caller);
    let said = match modern::answer(&edge, &line, server.clone(), (&head, &text), asked).await {
        Ok(response) => return response,
        Err(said) => said,
    };
    match said {
        Said::One(Message::Request(request)) if request.method() == Method::Initialize => {
            initialize(&edge, &line, server.as_deref(), (&head, &text), request).await
        }
        said @ (Said::One(_) | Said::Batch(_)) => {
            let carried = Carried::with(&head, &text, &said);
            let conversation = match find(&edge, server.as_deref(), carried).await {
                Ok(conversation) => conversation,
                Err(response) => return response,
            };
            drop(text);
            let post = Post { edge: &edge, line: &line, conversation: &conversation, caller };
            match said {
                Said::One(message) => post.one(message, Owed::new(1, headers)).await,
                Said::Batch(messages) => post.batch(messages).await,
            }
        }
    }
}

/// `GET`: the stream of what servers say unasked, or a broken stream taken up again.
pub(crate) async fn get(State(edge): At, server: Server, question: Question) -> Response {
    let (head, _) = question.into_parts();
    if modern::names_revision(&head.headers) {
        return reply::post_only();
    }
    if !accepts(&head.headers, "text/event-stream") {
        return reply::fault(&Fault::NotAcceptable("text/event-stream"));
    }
    let admitted = caller::admit_stream(&edge, &head.headers, &head.extensions).await;
    if let Err(refusal) = admitted {
        return reply::refuse(&refusal, None);
    }
    let server = server.map(|Path(id)| id);
    let conversation =
        match find(&edge, server.as_deref(), Carried::bare(&head, &Bytes::new())).await {
            Ok(conversation) => conversation,
            Err(response) => return response,
        };
    match listen(&edge, &conversation, &head.headers).await {
        Ok(response) => response,
        Err(fault) => reply::fault(&fault),
    }
}

/// `DELETE`: the client ends its session.
pub(crate) async fn delete(State(edge): At, server: Server, question: Question) -> Response {
    let (head, _) = question.into_parts();
    if modern::names_revision(&head.headers) {
        return reply::post_only();
    }
    let server = server.map(|Path(id)| id);
    match find(&edge, server.as_deref(), Carried::bare(&head, &Bytes::new())).await {
        Ok(conversation) => match edge.relay.end(&conversation).await {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(refusal) => reply::refuse(&refusal, None),
        },
        Err(response) => response,
    }
}

/// What was said, and the text it was read from.
async fn read(
    edge: &Edge,
    line: &Line,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Said, Bytes), Response> {
    let checked = check_accept(headers);
    checked.map_err(|fault| reply::fault(&fault))?;
    let limits = &edge.config.limits;
    let text =
        read_json(line, headers, body, limits).await.map_err(|fault| reply::fault(&fault))?;
    let said = Said::parse(text.clone(), &limits.json).map_err(reply::malformed)?;
    Ok((said, text))
}

fn check_accept(headers: &HeaderMap) -> Result<(), Fault> {
    if !accepts(headers, "application/json") || !accepts(headers, "text/event-stream") {
        return Err(Fault::NotAcceptable("both application/json and text/event-stream"));
    }
    Ok(())
}

/// Whether a message is of revision 2026-07-28. One that names a session and no revision but a
/// legacy one is not, whatever its body says, which is long to read.
pub(super) fn is_modern(headers: &HeaderMap, params: Option<&str>) -> bool {
    let is_legacy = headers.contains_key(SESSION_ID) && check_version(headers).is_ok();
    !is_legacy && wire::modern::is_modern(params, Some(&modern::mirror(headers)))
}

/// The version header, where there is one, names a revision of this lane
/// (MCP 2025-06-18, basic/transports, "Protocol Version Header").
fn check_version(headers: &HeaderMap) -> Result<(), Fault> {
    let Some(version) = single(headers, &PROTOCOL_VERSION)? else { return Ok(()) };
    if Revision::parse(version).is_some_and(Revision::is_legacy) {
        return Ok(());
    }
    let known: Vec<_> =
        Revision::ALL.iter().filter(|it| it.is_legacy()).map(|it| it.as_str()).collect();
    Err(Fault::Bad(format!(
        "Bad Request: unsupported protocol version {version:?} (supported versions: {})",
        known.join(", ")
    )))
}

async fn initialize(
    edge: &Arc<Edge>,
    line: &Line,
    server: Option<&str>,
    (head, text): (&Parts, &Bytes),
    request: Request,
) -> Response {
    let headers = &head.headers;
    if let Err(fault) = check_version(headers) {
        return reply::fault(&fault);
    }
    let principal = identity::principal(headers);
    if edge.relay.standing.is_shared() {
        let carried = Carried::owing(head, text, &request);
        let opening = Opening::Plain(carried);
        let elsewhere = Box::pin(hop::open_elsewhere(edge, &principal, server, opening)).await;
        if let Some(response) = elsewhere {
            return response;
        }
    }
    let conversation = match edge.relay.open(principal, TRANSPORT, server).await {
        Ok(conversation) => conversation,
        Err(refusal) => return reply::not_opened(&refusal, Some(request.id())),
    };
    let (outlet, reader) = conversation.session.open_stream(1);
    let mut closer =
        CloseUnlessAgreed { edge: edge.clone(), conversation: Some(conversation.clone()) };
    edge.relay.accept(&conversation, request, &outlet);
    let post = Post { edge, line, conversation: &conversation, caller: None };
    let mut response = post.respond(reader, Owed::new(1, headers)).await;
    let streaming = response.status() == StatusCode::OK && conversation.session.in_flight() > 0;
    if streaming || conversation.session.agreement().is_some() {
        closer.conversation = None;
        if let Ok(id) = HeaderValue::from_str(conversation.session.id.as_str()) {
            response.headers_mut().insert(SESSION_ID, id);
        }
    }
    response
}

/// Ends a session whose `initialize` failed, or whose client went away before the answer.
struct CloseUnlessAgreed {
    edge: Arc<Edge>,
    conversation: Option<Arc<Conversation>>,
}

impl Drop for CloseUnlessAgreed {
    fn drop(&mut self) {
        let Some(conversation) = self.conversation.take() else { return };
        let edge = self.edge.clone();
        self.edge.relay.context.tasks.spawn("session-close", async move {
            edge.relay.close(&conversation).await;
        });
    }
}

/// What a client said in a session, and where its answer goes.
struct Post<'a> {
    edge: &'a Arc<Edge>,
    line: &'a Line,
    conversation: &'a Arc<Conversation>,
    /// Whom its requests count for; `None` where nothing is limited.
    caller: Option<Caller>,
}

impl Post<'_> {
    async fn one(mut self, message: Message, owed: Owed) -> Response {
        let (edge, conversation) = (self.edge, self.conversation);
        match message {
            Message::Request(request) => {
                let (outlet, reader) = conversation.session.open_stream(owed.answers);
                let outlet = outlet.counting_for(self.caller.take());
                edge.relay.accept(conversation, request, &outlet);
                self.respond(reader, owed).await
            }
            Message::Notification(note) => {
                edge.relay.notification(conversation, &note).await;
                StatusCode::ACCEPTED.into_response()
            }
            Message::Response(response) => {
                match edge.relay.response(&conversation.session, &response) {
                    Answered::Delivered => StatusCode::ACCEPTED.into_response(),
                    Answered::Unasked => {
                        let what = "no server waits for a response with this id";
                        reply::refuse(&Refusal::new(Reason::InvalidRequest, what), response.id())
                    }
                }
            }
        }
    }

    /// A batch exists in revision 2025-03-26 only; each message in it is taken in by itself, and
    /// the answers share one stream. Requests go first: what they wait for is under way sooner, and
    /// a notification that cancels one of them finds it.
    async fn batch(mut self, messages: Vec<Result<Message, Malformed>>) -> Response {
        let session = &self.conversation.session;
        if let Err(refusal) = session.check_batch() {
            return reply::refuse(&refusal, None);
        }
        let owes =
            |it: &&Result<Message, Malformed>| matches!(it, Ok(Message::Request(_)) | Err(_));
        let owed = messages.iter().filter(owes).count();
        if owed == 0 {
            self.take_notes(messages).await;
            return StatusCode::ACCEPTED.into_response();
        }
        let (outlet, reader) = session.open_stream(owed);
        let outlet = outlet.counting_for(self.caller.take());
        let mut notes = Vec::new();
        for message in messages {
            match message {
                Ok(Message::Request(request)) => {
                    self.edge.relay.accept(self.conversation, request, &outlet);
                }
                Ok(note) => notes.push(Ok(note)),
                Err(fault) => refuse_part(&outlet, fault),
            }
        }
        self.take_notes(notes).await;
        self.respond(reader, Owed { answers: owed, as_stream: true }).await
    }

    async fn take_notes(&self, messages: Vec<Result<Message, Malformed>>) {
        let Self { edge, conversation, .. } = self;
        for message in messages.into_iter().flatten() {
            match message {
                Message::Notification(note) => edge.relay.notification(conversation, &note).await,
                Message::Response(response) => {
                    edge.relay.response(&conversation.session, &response);
                }
                Message::Request(_) => {}
            }
        }
    }

    /// The reply to a POST that owes answers: one JSON text, or a stream.
    async fn respond(&self, mut reader: Reader, owed: Owed) -> Response {
        let session = &self.conversation.session;
        let counted = self.edge.relay.context.metrics.connection(TRANSPORT.name());
        let patience = if owed.as_stream { Duration::ZERO } else { PATIENCE };
        let first = match self.line.within(patience, reader.next()).await {
            Some(Next::Event(event)) => Some(event),
            Some(Next::End | Next::Lagged | Next::Superseded) | None => None,
        };
        match first {
            Some(event) if !owed.as_stream && event.part != Part::Note => {
                reader.forget();
                let refused = match event.part {
                    Part::Refusal(reason) => Some(reason),
                    Part::Note | Part::Answer => None,
                };
                reply::answer(event.text, refused)
            }
            first => {
                let first = reader.keep(first).await;
                let head = reader.start();
                let primes = session.revision().is_some_and(Revision::primes_streams);
                let stream = reader.stream();
                let mut events = EventStream::new(reader, counted);
                if primes {
                    events = events.prime(&session.event_id(stream, head).to_string());
                }
                if let Some(event) = first {
                    events = events.begin_with(&event);
                }
                events.respond()
            }
        }
    }
}

fn refuse_part(outlet: &Outlet, fault: Malformed) {
    let id = fault.id.clone();
    outlet.reject_malformed(id.as_ref(), &Refusal::from(fault));
}

/// What the reply to a POST owes the client.
#[derive(Clone, Copy, Debug)]
struct Owed {
    /// Answers.
    answers: usize,
    /// Whether it has to be a stream: several answers, or the client's wish.
    as_stream: bool,
}

impl Owed {
    fn new(answers: usize, headers: &HeaderMap) -> Self {
        Self { answers, as_stream: answers > 1 || prefers_stream(headers) }
    }
}

async fn listen(
    edge: &Edge,
    conversation: &Conversation,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let session = &conversation.session;
    session.touch();
    let counted = || edge.relay.context.metrics.connection(TRANSPORT.name());
    let Some(last) = single(headers, &LAST_EVENT_ID)? else {
        let reader = Reader::standalone(session.clone()).ok_or(Fault::UnknownSession)?;
        session.kept().await;
        let head = session.event_id(StreamTag::STANDALONE, reader.start()).to_string();
        let events = EventStream::new(reader, counted());
        let primes = session.revision().is_some_and(Revision::primes_streams);
        return Ok(if primes { events.prime(&head) } else { events }.respond());
    };
    let last = EventId::parse(last)
        .ok_or_else(|| Fault::Bad("Last-Event-ID is no event id of this gateway".to_owned()))?;
    let resumed = session.position(&last).ok();
    let reader = resumed.and_then(|(tag, seq)| Reader::attach(session.clone(), tag, seq));
    if let Some(reader) = reader {
        return Ok(EventStream::new(reader, counted()).respond());
    }
    Ok(EventStream::ended(counted()).announce("gap", &gap()).respond())
}
