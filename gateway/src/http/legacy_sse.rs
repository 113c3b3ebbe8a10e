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
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use wire::id::Id;
use wire::message::{Body as Said, Malformed, Message};
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::config::limits::client::RETRY_SOON;
use crate::http::body::{accepts, read_json, single};
use crate::http::events::{EventStream, gap};
use crate::http::hop::{self, Carried, Hopped, Opening};
use crate::http::mark::Mark;
use crate::http::reply::{self, Fault, Verdict};
use crate::http::{At, Edge, OnLine, Server, caller};
use crate::policy::identity;
use crate::relay::conversation::Conversation;
use crate::session::caller::Caller;
use crate::session::outlet::Reader;
use crate::session::principal::Principal;
use crate::session::replay::{EventId, Gap, StreamTag};
use crate::session::{Session, Streams as _, Transport};
use crate::transport::http::LAST_EVENT_ID;

/// The query of `/messages`, in both spellings that servers of this revision use.
#[derive(Debug, Deserialize)]
pub(crate) struct Address {
    #[serde(rename = "sessionId", alias = "session_id")]
    session_id: Option<String>,
}

/// `GET /sse`: opens a session and its stream, or takes up the one that `Last-Event-ID` names.
pub(crate) async fn open(State(edge): At, server: Server, question: Request) -> Response {
    let (head, _) = question.into_parts();
    let headers = &head.headers;
    if !accepts(headers, "text/event-stream") {
        return reply::fault(&Fault::NotAcceptable("text/event-stream"));
    }
    let last = match last_mark(headers) {
        Ok(last) => last,
        Err(fault) => return reply::fault(&fault),
    };
    let admitted = caller::admit_stream(&edge, headers, &head.extensions).await;
    if let Err(refusal) = admitted {
        return match refusal.retry_after.filter(|_| last.is_some()) {
            Some(pause) => put_off(&edge, &refusal.message, pause),
            None => reply::refuse(&refusal, None),
        };
    }
    let server = server.map(|Path(id)| id);
    let principal = identity::principal(headers);
    let none = Bytes::new();
    let carried = Carried::bare(&head, &none);
    if let Some(last) = &last {
        match take_up(&edge, &principal, server.as_deref(), last, carried).await {
            Ok(Some(taken_up)) => return taken_up.respond(&edge),
            Ok(None) => {}
            Err(response) => return response,
        }
    }
    if edge.relay.standing.is_shared() {
        let opening = Opening::Plain(carried);
        let opening = hop::open_elsewhere(&edge, &principal, server.as_deref(), opening);
        if let Some(response) = Box::pin(opening).await {
            return response;
        }
    }
    match edge.relay.open(principal, Transport::Sse, server.as_deref()).await {
        Ok(conversation) => match Reader::standalone(conversation.session.clone()) {
            Some(reader) => TakenUp { reader, is_whole: last.is_none() }.respond(&edge),
            None => reply::fault(&Fault::UnknownSession),
        },
        Err(refusal) => match refusal.retry_after.filter(|_| last.is_some()) {
            Some(pause) => put_off(&edge, &refusal.message, pause),
            None => reply::not_opened(&refusal, None),
        },
    }
}

/// The stream that the client had, from here or from the replica that serves it; `None`: its
/// session is over.
async fn take_up(
    edge: &Arc<Edge>,
    principal: &Principal,
    server: Option<&str>,
    last: &Mark,
    carried: Carried<'_>,
) -> Result<Option<TakenUp>, Response> {
    let id = last.session.as_str();
    let Some(named) = edge.relay.sessions.named(principal.clone(), id) else { return Ok(None) };
    let conversation = match hop::here(edge, named.key, carried.hopped) {
        Some(conversation) => conversation,
        None => match Box::pin(hop::reach(edge, named, carried)).await {
            Ok(conversation) => conversation,
            Err(response) => match reply::verdict(&response) {
                Verdict::Unknown => return Ok(None),
                Verdict::Later => {
                    let what = "the session cannot be reached at the moment";
                    return Err(put_off(edge, what, RETRY_SOON));
                }
                Verdict::Other => return Err(response),
            },
        },
    };
    let is_own =
        conversation.session.transport == Transport::Sse && conversation.server() == server;
    Ok(is_own.then(|| TakenUp::after(&conversation, &last.event)).flatten())
}

/// Has a browser that comes back by itself come once more: any status but 200 is final to it, and
/// it never comes again (WHATWG HTML section 9.2.3).
fn put_off(edge: &Edge, what: &str, pause: Duration) -> Response {
    let counted = edge.relay.context.metrics.connection(Transport::Sse.name());
    EventStream::ended(counted).put_off(what, pause).respond()
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
    let hopped = head.extensions.get::<Hopped>().copied();
    let id = match session_id(address) {
        Ok(id) => id,
        Err(fault) => return reply::fault(&fault),
    };
    let principal = identity::principal(&head.headers);
    let Some(named) = edge.relay.sessions.named(principal, &id) else {
        return reply::fault(&Fault::UnknownSession);
    };
    let found = hop::here(&edge, named.key, hopped);
    if found.as_ref().map_or(!edge.relay.standing.is_shared(), |it| !is_own(it)) {
        return reply::fault(&Fault::UnknownSession);
    }
    let limits = &edge.config.limits;
    let text = match read_json(&line, &head.headers, body, limits).await {
        Ok(text) => text,
        Err(fault) => return reply::fault(&fault),
    };
    let said = match Said::parse(text.clone(), &limits.json) {
        Ok(said) => said,
        Err(fault) => return reply::malformed(fault),
    };
    let caller = match caller::admit(&edge, &head, &said).await {
        Ok(caller) => caller,
        Err(refused) => return refused,
    };
    let carried = Carried::with(&head, &text, &said).answered_elsewhere();
    let conversation = match found {
        Some(conversation) if !hop::has_to_wait(&edge, &conversation, carried.owed) => conversation,
        Some(_) | None => match Box::pin(hop::reach(&edge, named, carried)).await {
            Ok(conversation) if is_own(&conversation) => conversation,
            Ok(_) => return reply::fault(&Fault::UnknownSession),
            Err(response) => return response,
        },
    };
    let (session, ids) = (&conversation.session, ids_of(&said));
    if !ids.is_empty()
        && !session.is_listening()
        && let Err(refusal) = edge.relay.check_own(session)
    {
        // On the stream nobody would hear of it.
        edge.relay.context.metrics.count_error(refusal.reason.name());
        return reply::refuse(&refusal, None);
    }
    match said {
        Said::One(message) => edge.pass_on(&conversation, caller, message).await,
        Said::Batch(messages) => match session.check_batch() {
            Ok(()) => pass_all_on(&edge, &conversation, caller, messages).await,
            Err(refusal) => return reply::refuse(&refusal, None),
        },
    }
    receipt(session, &ids).await
}

fn session_id(address: Result<Query<Address>, QueryRejection>) -> Result<String, Fault> {
    address.ok().and_then(|Query(it)| it.session_id).ok_or_else(|| {
        let what = "the query must have sessionId exactly once: post to the address that the \
                    first event of GET /sse names";
        Fault::Bad(what.to_owned())
    })
}

fn is_own(conversation: &Arc<Conversation>) -> bool {
    conversation.session.transport == Transport::Sse
}

async fn pass_all_on(
    edge: &Arc<Edge>,
    conversation: &Arc<Conversation>,
    caller: Option<Caller>,
    messages: Vec<Result<Message, Malformed>>,
) {
    for message in messages {
        match message {
            Ok(message) => edge.pass_on(conversation, caller, message).await,
            Err(fault) => {
                let id = fault.id.clone();
                let outlet = conversation.session.standalone();
                outlet.reject_malformed(id.as_ref(), &Refusal::from(fault));
            }
        }
    }
}

/// The requests in what was said.
fn ids_of(said: &Said) -> Vec<Id> {
    let id_of = |message: &Message| match message {
        Message::Request(request) => Some(request.id().clone()),
        Message::Notification(_) | Message::Response(_) => None,
    };
    match said {
        Said::One(message) => id_of(message).into_iter().collect(),
        Said::Batch(messages) => messages.iter().flatten().filter_map(id_of).collect(),
    }
}

/// 202 with the body that SDK servers of this revision send, once it is sure that what was taken in
/// comes to an end on the stream, at whichever replica.
async fn receipt(session: &Session, ids: &[Id]) -> Response {
    if session.receipt(ids).await {
        return (StatusCode::ACCEPTED, "Accepted").into_response();
    }
    let what = "the message was taken in, and it is not sure that its answer can be fetched";
    let doubt = Refusal::new(Reason::OutcomeUnknown, what).dispatched(Dispatched::Unknown);
    reply::went_away(&doubt)
}
