//! `/mcp` and `/mcp/{server}` in revision 2026-07-28: each POST stands alone.
//!
//! What is right about a request is checked from its own words before anything is looked up, and
//! the headers that repeat them for whoever stands in between have to agree. An answer that is
//! ready soon, with nothing said before it, goes out as one JSON text; any other as an event
//! stream, which has no ids. A client that goes away cancels its request: the exchange is dropped
//! with the response.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use wire::message::{Body as Spoken, Message, Notification, Request};
use wire::modern::{self, Heading, METHOD_HEADER, Mirror, NAME_HEADER, VERSION_HEADER};
use wire::refusal::{Reason, Refusal};
use wire::revision::Revision;

use crate::backend::modern::ParamHeaders;
use crate::config::limits::client::PATIENCE;
use crate::http::Edge;
use crate::http::body::prefers_stream;
use crate::http::events::EventStream;
use crate::http::exchange::Line;
use crate::http::hop::{self, Carried};
use crate::http::mcp::is_modern;
use crate::http::reply;
use crate::policy::identity;
use crate::relay::exchange::Said;
use crate::relay::standin::Guest;
use crate::session::caller::Caller;

/// The label of metrics.
const TRANSPORT: &str = "modern";
/// What the name of a mirrored argument's header begins with, as hyper writes it.
const PARAM_PREFIX: &str = "mcp-param-";

/// The headers that repeat the body.
pub(super) fn mirror(headers: &HeaderMap) -> Mirror<'_> {
    let heading =
        |name: &str| Heading::of(headers.get_all(name).into_iter().map(|it| it.as_bytes()));
    Mirror {
        version: heading(VERSION_HEADER),
        method: heading(METHOD_HEADER),
        name: heading(NAME_HEADER),
    }
}

/// Whether a request without a body is of this revision, which has no streams to GET and no
/// sessions to DELETE.
pub(super) fn names_revision(headers: &HeaderMap) -> bool {
    mirror(headers).version == Heading::Once(Revision::V2026_07_28.as_str())
}

/// Answers what is of revision 2026-07-28; what is not is given back.
pub(super) async fn answer(
    edge: &Arc<Edge>,
    line: &Line,
    server: Option<String>,
    (head, text): (&Parts, &Bytes),
    (said, caller): (Spoken, Option<Caller>),
) -> Result<Response, Spoken> {
    let headers = &head.headers;
    match said {
        Spoken::One(Message::Request(request)) if is_modern(headers, request.params()) => {
            let carried = Carried::owing(head, text, &request);
            let principal = identity::principal(headers);
            let holder = match carried.hopped {
                None => edge.relay.held_elsewhere(&principal, &request).await,
                Some(_) => None,
            };
            Ok(match hop::answer_elsewhere(edge, holder, carried).await {
                Some(response) => response,
                None => {
                    let guest = Guest { principal, server, caller };
                    self::request(edge, line, guest, headers, request).await
                }
            })
        }
        Spoken::One(Message::Notification(note)) if is_modern(headers, note.params()) => {
            Ok(notification(edge, headers, &note))
        }
        Spoken::One(Message::Response(_)) if names_revision(headers) => {
            let what = "in revision 2026-07-28 servers ask nothing, and clients send no responses";
            Ok(reply::refuse(&Refusal::new(Reason::InvalidRequest, what), None))
        }
        Spoken::Batch(_) if names_revision(headers) => {
            let what = "revision 2026-07-28 has no batches; send each request by itself";
            Ok(reply::refuse(&Refusal::new(Reason::InvalidRequest, what), None))
        }
        said @ (Spoken::One(_) | Spoken::Batch(_)) => Err(said),
    }
}

/// A request.
async fn request(
    edge: &Arc<Edge>,
    line: &Line,
    guest: Guest,
    headers: &HeaderMap,
    request: Request,
) -> Response {
    let id = request.id().clone();
    let checked = edge.relay.check_server(guest.server.as_deref());
    if let Err(refusal) = checked {
        count(edge, &refusal);
        return reply::not_opened(&refusal, Some(&id));
    }
    if let Err(refusal) = modern::check(&request, Some(&mirror(headers))) {
        count(edge, &refusal);
        return reply::refuse_modern(&refusal, Some(&id));
    }
    let counted = edge.relay.context.metrics.connection(TRANSPORT);
    let mut exchange = edge.relay.exchange(guest, request, Some(params(headers)));
    let patience = if prefers_stream(headers) { Duration::ZERO } else { PATIENCE };
    match line.within(patience, exchange.next()).await {
        Some(Some(Said::Answer(response, refused))) => reply::answer_modern(&response, refused),
        Some(Some(Said::Note(text))) => EventStream::of(exchange, counted).say(&text).respond(),
        Some(None) | None => EventStream::of(exchange, counted).respond(),
    }
}

/// A notification, of which this revision has none over HTTP: it is taken, and means nothing.
fn notification(edge: &Edge, headers: &HeaderMap, note: &Notification) -> Response {
    match modern::check_notification(note, &mirror(headers)) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(refusal) => {
            count(edge, &refusal);
            reply::refuse_modern(&refusal, None)
        }
    }
}

fn count(edge: &Edge, refusal: &Refusal) {
    edge.relay.context.metrics.count_error(refusal.reason.name());
}

/// The mirrored arguments, as they came.
fn params(headers: &HeaderMap) -> ParamHeaders {
    let mirrored = headers.iter().filter(|(name, _)| name.as_str().starts_with(PARAM_PREFIX));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ParamHeaders(mirrored.map(|(name, it)| (name.to_string(), text(it.as_bytes()))).collect())
}
