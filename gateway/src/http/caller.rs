//! Who sends a request, wherever it was taken in, and whether there were too many.
//!
//! What comes from an address is counted before anything else is looked at (`guard.rs`), and the
//! requests in it are counted for their caller once they are read. That is done by the replica that
//! the client came to: a request that another one carried here was counted there.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use axum::response::Response;
use http::request::Parts;
use http::{Extensions, HeaderMap};
use wire::id::Id;
use wire::message::{Body as Said, Malformed, Message, Request};
use wire::method::Method;
use wire::refusal::Refusal;

use crate::config::limits::rate::PROXY_LOG_EVERY;
use crate::http::Edge;
use crate::http::hop::Hopped;
use crate::http::reply;
use crate::http::serve::Peer;
use crate::policy::address::{FORWARDED_FOR, client_address};
use crate::policy::identity;
use crate::session::caller::Caller;

/// Probes of whoever watches the gateway; they are never refused. Exactly these: below them, and on
/// paths that only begin like them, are servers.
const PROBES: [&str; 3] = ["/health", "/health/live", "/health/ready"];

/// The address of the client behind a request: what another replica saw, if it carried the request
/// here, else what trusted proxies or the connection itself tell.
pub(crate) fn address(
    edge: &Edge,
    headers: &HeaderMap,
    (hopped, peer): (Option<Hopped>, Option<Peer>),
) -> IpAddr {
    if let Some(hopped) = hopped {
        return hopped.client;
    }
    // Every connection has a peer; without one, all would be one client.
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(at)| at.ip());
    client_address(peer, headers, &edge.proxies)
}

/// The same of a request that is at hand.
pub(crate) fn address_of(edge: &Edge, headers: &HeaderMap, extensions: &Extensions) -> IpAddr {
    let hopped = extensions.get::<Hopped>().copied();
    address(edge, headers, (hopped, extensions.get::<Peer>().copied()))
}

/// Whose requests these are; `None` where nothing is limited, or not for them.
pub(crate) fn of(edge: &Edge, headers: &HeaderMap, extensions: &Extensions) -> Option<Caller> {
    if !edge.relay.limits.are_on() {
        return None;
    }
    let address = address_of(edge, headers, extensions);
    if edge.exempt.trusts(address) {
        return None;
    }
    edge.relay.limits.caller(address, || {
        let principal = identity::principal(headers);
        (!principal.is_anonymous()).then(|| edge.relay.sessions.holder(&principal))
    })
}

/// Counts a request of HTTP for its address.
///
/// # Errors
/// `RATE_LIMITED`.
pub(crate) fn pass(edge: &Edge, request: &axum::extract::Request) -> Result<(), Refusal> {
    if !edge.relay.limits.are_on() || PROBES.contains(&request.uri().path()) {
        return Ok(());
    }
    let (headers, extensions) = (request.headers(), request.extensions());
    let address = address_of(edge, headers, extensions);
    if edge.exempt.trusts(address) {
        return Ok(());
    }
    let passed = edge.relay.limits.pass(address);
    passed.inspect_err(|refusal| note_refusal(edge, refusal, headers, extensions))
}

/// Counts a stream that is opened.
///
/// # Errors
/// `RATE_LIMITED`.
pub(crate) async fn admit_stream(
    edge: &Edge,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<(), Refusal> {
    take(edge, headers, extensions, 1).await.map(drop)
}

/// Counts the requests of a body. Whose they are; `None` where nothing is limited, or nothing in it
/// counts.
///
/// # Errors
/// The answer: `RATE_LIMITED` to each of them. None of them is counted.
pub(crate) async fn admit(
    edge: &Edge,
    head: &Parts,
    said: &Said,
) -> Result<Option<Caller>, Response> {
    let counted = if edge.relay.limits.are_on() { requests(said) } else { 0 };
    if counted == 0 {
        return Ok(None);
    }
    let taken = take(edge, &head.headers, &head.extensions, counted).await;
    taken.map_err(|refusal| match said {
        Said::One(Message::Request(request)) => reply::refuse(&refusal, Some(request.id())),
        Said::One(Message::Notification(_) | Message::Response(_)) => reply::refuse(&refusal, None),
        Said::Batch(messages) => {
            let ids: Vec<&Id> = messages.iter().filter_map(request_of).map(Request::id).collect();
            reply::refuse_all(&refusal, &ids)
        }
    })
}

async fn take(
    edge: &Edge,
    headers: &HeaderMap,
    extensions: &Extensions,
    counted: u64,
) -> Result<Option<Caller>, Refusal> {
    let Some(caller) = of(edge, headers, extensions) else { return Ok(None) };
    if extensions.get::<Hopped>().is_none() {
        let taken = edge.relay.limits.take(caller, counted).await;
        taken.inspect_err(|refusal| note_refusal(edge, refusal, headers, extensions))?;
    }
    Ok(Some(caller))
}

/// How many requests count. A `ping` does not, because a session that may not be kept open is of no
/// use; nor does what answers a server or only tells it something, since it asks for nothing.
pub(crate) fn requests(said: &Said) -> u64 {
    let counts = |request: &Request| u64::from(request.method() != Method::Ping);
    match said {
        Said::One(Message::Request(request)) => counts(request),
        Said::One(Message::Notification(_) | Message::Response(_)) => 0,
        Said::Batch(messages) => messages.iter().filter_map(request_of).map(counts).sum(),
    }
}

fn request_of(message: &Result<Message, Malformed>) -> Option<&Request> {
    match message {
        Ok(Message::Request(request)) => Some(request),
        Ok(Message::Notification(_) | Message::Response(_)) | Err(_) => None,
    }
}

/// Counts a refusal. The clients of a proxy that is not trusted are one caller, which nobody means
/// who has put a proxy in front, so it is said.
fn note_refusal(edge: &Edge, refusal: &Refusal, headers: &HeaderMap, extensions: &Extensions) {
    edge.relay.context.metrics.count_error(refusal.reason.name());
    let Some(Peer(at)) = extensions.get::<Peer>() else { return };
    if !headers.contains_key(FORWARDED_FOR) || edge.proxies.trusts(at.ip()) {
        return;
    }
    let now = Instant::now();
    let mut told = edge.proxy_told.lock();
    if told.is_none_or(|at| now.duration_since(at) >= PROXY_LOG_EVERY) {
        *told = Some(now);
        tracing::warn!(
            peer = %at.ip(),
            "a rate limit was reached by a peer that sends X-Forwarded-For and is not trusted; if \
             it is a proxy of yours, add it to trusted_proxies, so that its clients are told apart"
        );
    }
}
