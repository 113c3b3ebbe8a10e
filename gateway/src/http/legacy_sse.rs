//! `/sse` and `/messages`: HTTP+SSE, revision 2024-11-05.
//!
//! The first event of the stream names the address that messages are posted to. It is
//! path-absolute, because clients refuse one of another origin, and carries the prefix that a proxy
//! in front strips.
//!
//! A stream that breaks is taken up again: a browser's `EventSource` comes back by itself with the
//! id of the event it saw last, and gets what it missed. Its session waits for
//! `session.resume_window`. `docs/sse.md` is the contract.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use wire::message::{Body as Said, Malformed, Message};
use wire::refusal::Refusal;

use crate::http::body::{accepts, read_json, single};
use crate::http::events::{EventStream, gap};
use crate::http::mark::Mark;
use crate::http::reply::{self, Fault};
use crate::http::{At, Edge, OnLine, Server};
use crate::policy::identity;
use crate::relay::conversation::Conversation;
use crate::session::outlet::Reader;
use crate::session::principal::Principal;
use crate::session::replay::{EventId, Gap, StreamTag};
use crate::session::{Streams as _, Transport};
use crate::transport::http::LAST_EVENT_ID;

/// The query of `/messages`, in both spellings that servers of this revision use.
#[derive(Debug, Deserialize)]
pub(crate) struct Address {
    #[serde(rename = "sessionId", alias = "session_id")]
    session_id: Option<String>,
}

/// `GET /sse`: opens a session and its stream, or takes up the one that `Last-Event-ID` names.
pub(crate) async fn open(State(edge): At, server: Server, headers: HeaderMap) -> Response {
    if !accepts(&headers, "text/event-stream") {
        return reply::fault(&Fault::NotAcceptable("text/event-stream"));
    }
    let last = match last_mark(&headers) {
        Ok(last) => last,
        Err(fault) => return reply::fault(&fault),
    };
    let server = server.map(|Path(id)| id);
    let principal = identity::principal(&headers);
    if let Some(last) = &last
        && let Some(conversation) = own(&edge, &principal, last.session.as_str())
        && conversation.server() == server.as_deref()
        && let Some(taken_up) = TakenUp::after(&conversation, &last.event)
    {
        return taken_up.respond(&edge);
    }
    match edge.relay.open(principal, Transport::Sse, server.as_deref()).await {
        Ok(conversation) => match Reader::standalone(conversation.session.clone()) {
            Some(reader) => TakenUp { reader, is_whole: last.is_none() }.respond(&edge),
            None => reply::fault(&Fault::UnknownSession),
        },
        Err(refusal) => match refusal.retry_after.filter(|_| last.is_some()) {
            // To a browser that comes back by itself any status but 200 is final, and it never
            // comes again (WHATWG HTML section 9.2.3).
            Some(pause) => {
                let counted = edge.relay.context.metrics.connection(Transport::Sse.name());
                EventStream::ended(counted).put_off(&refusal.message, pause).respond()
            }
            None => reply::not_opened(&refusal, None),
        },
    }
}

/// What the client saw last, if it was here before.
fn last_mark(headers: &HeaderMap) -> Result<Option<Mark>, Fault> {
    let Some(last) = single(headers, &LAST_EVENT_ID)? else { return Ok(None) };
    let mark = Mark::parse(last);
    let what = "Last-Event-ID is no event id of this gateway's /sse; connect without it";
    mark.map(Some).ok_or_else(|| Fault::Bad(what.to_owned()))
}

/// A session's stream, from a place of the client's.
struct TakenUp {
    reader: Reader,
    /// Whether it holds everything that the client has not seen.
    is_whole: bool,
}

impl TakenUp {
    /// The stream after the event that the client saw last; a reader it had is superseded.
    fn after(conversation: &Conversation, last: &EventId) -> Option<Self> {
        let session = &conversation.session;
        let position = session.position(last);
        let after = position.map_or_else(|Gap| session.remainder(last), |(_, seq)| seq);
        let reader = Reader::attach(session.clone(), StreamTag::STANDALONE, after)?;
        Some(Self { reader, is_whole: position.is_ok() })
    }

    /// The response. The id to resume from stands with the last of the gateway's own events: a
    /// client that broke off before it heard of a gap comes back with its old id, and hears of it.
    fn respond(self, edge: &Edge) -> Response {
        let counted = edge.relay.context.metrics.connection(Transport::Sse.name());
        let prefix = &edge.config.public_prefix;
        let id = self.reader.session().id.as_str();
        let endpoint = format!("{prefix}/messages?sessionId={id}");
        let events = EventStream::new(self.reader, counted);
        let events = match self.is_whole {
            true => events.announce_start("endpoint", &endpoint),
            false => events.announce("endpoint", &endpoint).announce_start("gap", &gap()),
        };
        events.respond()
    }
}

/// `POST /messages`: one message of the client; the answer comes on the stream.
pub(crate) async fn message(
    State(edge): At,
    address: Result<Query<Address>, QueryRejection>,
    Extension(line): OnLine,
    question: Request,
) -> Response {
    let (head, body) = question.into_parts();
    let conversation = match find(&edge, address, &head.headers) {
        Ok(conversation) => conversation,
        Err(fault) => return reply::fault(&fault),
    };
    let limits = &edge.config.limits;
    let text = match read_json(&line, &head.headers, body, limits).await {
        Ok(text) => text,
        Err(fault) => return reply::fault(&fault),
    };
    match Said::parse(text, &limits.json) {
        Ok(Said::One(message)) => {
            edge.pass_on(&conversation, message).await;
            accepted()
        }
        Ok(Said::Batch(messages)) => batch(&edge, &conversation, messages).await,
        Err(fault) => reply::malformed(fault),
    }
}

fn find(
    edge: &Edge,
    address: Result<Query<Address>, QueryRejection>,
    headers: &HeaderMap,
) -> Result<Arc<Conversation>, Fault> {
    let id = address.ok().and_then(|Query(it)| it.session_id).ok_or_else(|| {
        let what = "the query must have sessionId exactly once: post to the address that the \
                    first event of GET /sse names";
        Fault::Bad(what.to_owned())
    })?;
    own(edge, &identity::principal(headers), &id).ok_or(Fault::UnknownSession)
}

/// The session of this transport that the principal knows by `id`.
fn own(edge: &Edge, principal: &Principal, id: &str) -> Option<Arc<Conversation>> {
    let found = edge.relay.sessions.find(principal, id);
    found.filter(|it| it.session.transport == Transport::Sse)
}

async fn batch(
    edge: &Arc<Edge>,
    conversation: &Arc<Conversation>,
    messages: Vec<Result<Message, Malformed>>,
) -> Response {
    if let Err(refusal) = conversation.session.check_batch() {
        return reply::refuse(&refusal, None);
    }
    for message in messages {
        match message {
            Ok(message) => edge.pass_on(conversation, message).await,
            Err(fault) => {
                let id = fault.id.clone();
                let outlet = conversation.session.standalone();
                outlet.reject_malformed(id.as_ref(), &Refusal::from(fault));
            }
        }
    }
    accepted()
}

/// 202 with the body that SDK servers of this revision send.
fn accepted() -> Response {
    (StatusCode::ACCEPTED, "Accepted").into_response()
}
