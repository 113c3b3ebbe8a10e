//! `/sse` and `/messages`: HTTP+SSE, revision 2024-11-05.
//!
//! The stream is the session: its first event names the address that messages are posted to, and
//! when the client hangs up the session ends. The address is path-absolute, because clients refuse
//! one of another origin, and carries the prefix that a proxy in front strips.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use wire::message::{Body as Said, Malformed, Message};
use wire::refusal::{Reason, Refusal};
use wire::revision::Revision;

use crate::http::body::{accepts, read_json};
use crate::http::events::EventStream;
use crate::http::reply::{self, Fault};
use crate::http::{At, Edge, OnLine, Server};
use crate::policy::identity;
use crate::relay::conversation::Conversation;
use crate::session::outlet::Reader;
use crate::session::{Streams as _, Transport};

/// The query of `/messages`, in both spellings that servers of this revision use.
#[derive(Debug, Deserialize)]
pub(crate) struct Address {
    #[serde(rename = "sessionId", alias = "session_id")]
    session_id: Option<String>,
}

/// `GET /sse`: opens a session and its stream.
pub(crate) async fn open(State(edge): At, server: Server, headers: HeaderMap) -> Response {
    if !accepts(&headers, "text/event-stream") {
        return reply::fault(&Fault::NotAcceptable("text/event-stream"));
    }
    let server = server.map(|Path(id)| id);
    let principal = identity::principal(&headers);
    let opened = edge.relay.open(principal, Transport::Sse, server.as_deref()).await;
    let conversation = match opened {
        Ok(conversation) => conversation,
        Err(refusal) if refusal.reason == Reason::InvalidRequest => {
            return reply::fault(&Fault::UnknownServer(refusal.message));
        }
        Err(refusal) => return reply::refuse(&refusal, None),
    };
    let Some(reader) = Reader::standalone(conversation.session.clone()) else {
        return reply::fault(&Fault::UnknownSession);
    };
    let prefix = &edge.config.public_prefix;
    let endpoint = format!("{prefix}/messages?sessionId={}", conversation.session.id.as_str());
    let counted = edge.relay.context.metrics.connection(Transport::Sse.name());
    let tasks = edge.relay.context.tasks.clone();
    EventStream::new(reader, false, counted)
        .announce("endpoint", &endpoint)
        .at_end(move || {
            tasks.spawn("session-close", async move { edge.relay.close(&conversation).await });
        })
        .respond()
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
            take_in(&edge, &conversation, message).await;
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
    let found = edge.relay.sessions.find(&identity::principal(headers), &id);
    let own = |it: &Arc<Conversation>| it.session.transport == Transport::Sse;
    found.filter(own).ok_or(Fault::UnknownSession)
}

async fn batch(
    edge: &Arc<Edge>,
    conversation: &Arc<Conversation>,
    messages: Vec<Result<Message, Malformed>>,
) -> Response {
    if !conversation.session.revision().is_some_and(Revision::allows_batch) {
        let what = "a batch is allowed in revision 2025-03-26 only; send one message per POST";
        return reply::refuse(&Refusal::new(Reason::InvalidRequest, what), None);
    }
    for message in messages {
        match message {
            Ok(message) => take_in(edge, conversation, message).await,
            Err(fault) => {
                let id = fault.id.clone();
                let outlet = conversation.session.standalone();
                outlet.reject_malformed(id.as_ref(), &Refusal::from(fault));
            }
        }
    }
    accepted()
}

async fn take_in(edge: &Arc<Edge>, conversation: &Arc<Conversation>, message: Message) {
    match message {
        Message::Request(request) => {
            let outlet = conversation.session.standalone();
            edge.relay.accept(conversation, request, &outlet);
        }
        Message::Notification(note) => edge.relay.notification(conversation, &note).await,
        Message::Response(response) => {
            edge.relay.response(&conversation.session, &response);
        }
    }
}

/// 202 with the body that SDK servers of this revision send.
fn accepted() -> Response {
    (StatusCode::ACCEPTED, "Accepted").into_response()
}
