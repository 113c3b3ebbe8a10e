//! Requests for sessions that other replicas serve: carried there as they are, and their answers
//! back.
//!
//! A request is carried once: one that came from another replica is served here or given back. It
//! is sent anew only while it surely was not taken in, or where taking it in twice does no harm; a
//! request whose fate nobody knows is answered `OUTCOME_UNKNOWN`.

mod body;
mod inlet;
mod opening;
mod owed;
mod tunnel;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wire::message::{Body as Said, Message, Request};
use wire::refusal::{Reason, Refusal};

pub(crate) use self::inlet::Inlet;
pub(crate) use self::opening::{Opening, open_elsewhere};
pub(crate) use self::owed::Owed;
use self::owed::lost;
pub(crate) use self::tunnel::reach_socket;
use crate::config::limits::client::RETRY_SOON;
use crate::config::limits::hop::{HEAD_WAIT, IDLE_WAIT};
use crate::http::Edge;
use crate::http::caller;
use crate::http::hop::body::Relayed;
use crate::http::reply::{self, Fault};
use crate::http::serve::Peer;
use crate::http::trail;
use crate::relay::conversation::Conversation;
use crate::relay::exchange::InFlight;
use crate::relay::locate::{Heard, Place, Search};
use crate::relay::peers::{
    CARRIED, CLIENT, NOT_MINE, NOT_MINE_LAPSED, NOT_MINE_SESSION, Parcel, VIA, taken_along,
};
use crate::session::hop::Purpose;
use crate::session::id::{Named, SessionKey};
use crate::session::tenure::Replica;
use crate::telemetry::traces::{Asked, End};
use crate::telemetry::trail::Trail;
use crate::transport::http::{Answering, CarryFault};

/// Says of a request that another replica sent it. No client can: it is no header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hopped {
    pub(crate) purpose: Purpose,
    /// The client's address, as the replica saw it that the client came to.
    pub(crate) client: IpAddr,
}

/// The replica that joins the client's WebSocket to this one.
#[derive(Clone, Debug)]
pub(crate) struct Via(pub(crate) Arc<str>);

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
    pub(crate) hopped: Option<Hopped>,
    /// Who sent it here.
    pub(crate) peer: Option<Peer>,
    pub(crate) owed: Owed<'a>,
    /// The request that it brings.
    pub(crate) asked: Option<&'a Request>,
}

/// What came of carrying a request to another replica.
#[derive(Debug)]
pub(crate) enum Sent {
    /// It was answered.
    Answered(Response),
    /// It was not taken in.
    Declined(Heard),
    /// It may have been taken in, and is not answered.
    Lost,
}

impl<'a> Carried<'a> {
    /// A request without a message.
    pub(crate) fn bare(head: &'a Parts, body: &'a Bytes) -> Self {
        Self {
            method: &head.method,
            target: &head.uri,
            headers: &head.headers,
            body,
            hopped: head.extensions.get::<Hopped>().copied(),
            peer: head.extensions.get::<Peer>().copied(),
            owed: Owed::Nothing,
            asked: None,
        }
    }

    /// A request that brings messages.
    pub(crate) fn with(head: &'a Parts, body: &'a Bytes, said: &'a Said) -> Self {
        let owed = Owed::of(said);
        let asked = match said {
            Said::One(Message::Request(request)) => Some(request),
            Said::One(Message::Notification(_) | Message::Response(_)) | Said::Batch(_) => None,
        };
        Self { owed, asked, ..Self::bare(head, body) }
    }

    /// A request that brings one request.
    pub(crate) fn owing(head: &'a Parts, body: &'a Bytes, request: &'a Request) -> Self {
        let owed = Owed::Answer(request.id());
        Self { owed, asked: Some(request), ..Self::bare(head, body) }
    }

    /// The same, where answers do not come with the reply.
    pub(crate) fn answered_elsewhere(self) -> Self {
        let owed = if self.owed.is_any() { Owed::Elsewhere } else { self.owed };
        Self { owed, ..self }
    }

    fn parcel(&self, edge: &Edge, purpose: Purpose, trail: &Trail) -> Parcel {
        let target = self.target.path_and_query().map_or("/", |it| it.as_str());
        let mut headers = taken_along(self.headers);
        trail::write(trail, &mut headers);
        // Whatever the client wrote there.
        headers.remove(CLIENT);
        headers.remove(VIA);
        let client = caller::address(edge, self.headers, (self.hopped, self.peer));
        if let Ok(client) = HeaderValue::from_str(&client.to_string()) {
            headers.insert(CLIENT, client);
        }
        Parcel {
            purpose,
            method: self.method.clone(),
            target: format!("{CARRIED}{target}"),
            headers,
            body: self.body.clone(),
        }
    }
}

/// The session, if this replica serves it. One whose lease has lapsed is not given to a request of
/// another replica, which can look whether somebody else may serve it.
pub(crate) fn here(
    edge: &Edge,
    key: SessionKey,
    hopped: Option<Hopped>,
) -> Option<Arc<Conversation>> {
    let found = edge.relay.here(key)?;
    let is_lapsed = |it: &Conversation| edge.relay.check_own(&it.session).is_err();
    (hopped.is_none() || !is_lapsed(&found)).then_some(found)
}

/// Whether a request is to wait until its session has nothing else in flight, and can be given back
/// to others.
pub(crate) fn has_to_wait(edge: &Edge, conversation: &Conversation, owed: Owed<'_>) -> bool {
    edge.relay.may_be_given_back(&conversation.session) && owed.is_any()
}

/// Finds a session wherever it is: here, from another replica by now, or elsewhere, and then this
/// is the answer to the request.
pub(crate) async fn reach(
    edge: &Arc<Edge>,
    named: Named,
    carried: Carried<'_>,
) -> Result<Arc<Conversation>, Response> {
    let relay = &edge.relay;
    let patience = if carried.owed.is_any() { IDLE_WAIT } else { Duration::ZERO };
    relay.let_go(named.key, patience).await;
    let mut search = search(edge, named, carried.hopped).await?;
    loop {
        let (replica, purpose) = match place(edge, &mut search, carried.hopped).await? {
            Destination::Here(conversation) => return Ok(conversation),
            Destination::Other(replica, purpose) => (replica, purpose),
        };
        match carry_to(edge, &replica, purpose, carried).await {
            Sent::Answered(response) => return Err(response),
            Sent::Declined(heard) => search.note(relay, heard),
            Sent::Lost => match lost(carried.owed) {
                Some(response) => return Err(response),
                None => search.note_lost(relay),
            },
        }
    }
}

/// Where a request goes.
enum Destination {
    Here(Arc<Conversation>),
    Other(Replica, Purpose),
}

/// Begins a search; that of a request from another replica ends here, unless it may take it over.
async fn search(
    edge: &Arc<Edge>,
    named: Named,
    hopped: Option<Hopped>,
) -> Result<Search, Response> {
    let relay = &edge.relay;
    let unknown = || reply::fault(&Fault::UnknownSession);
    if !relay.standing.is_shared() {
        return Err(unknown());
    }
    let key = named.key;
    let search = relay.search(named).ok_or_else(unknown)?;
    if let Some(Hopped { purpose: Purpose::Owner | Purpose::Ask, .. }) = hopped {
        match relay.here_soon(key).await {
            Some(found) if relay.check_own(&found.session).is_ok() => {}
            Some(_) => return Err(reply::not_mine(NOT_MINE_LAPSED)),
            // It is not for others to claim while its client may still speak here.
            None if relay.is_being_left(key) => {
                return Err(reply::not_mine(NOT_MINE_LAPSED));
            }
            None => return Err(reply::not_mine(NOT_MINE_SESSION)),
        }
    }
    Ok(search)
}

async fn place(
    edge: &Arc<Edge>,
    search: &mut Search,
    hopped: Option<Hopped>,
) -> Result<Destination, Response> {
    match search.place(&edge.relay).await {
        Ok(Place::Here(conversation)) => Ok(Destination::Here(conversation)),
        Ok(Place::There(_) | Place::Via(_)) if hopped.is_some() => {
            Err(reply::not_mine(NOT_MINE_SESSION))
        }
        Ok(Place::There(replica)) => Ok(Destination::Other(replica, Purpose::Owner)),
        Ok(Place::Via(replica)) => Ok(Destination::Other(replica, Purpose::Serve)),
        Ok(Place::Unknown) => Err(reply::fault(&Fault::UnknownSession)),
        Err(refusal) => {
            edge.relay.context.metrics.count_error(refusal.reason.name());
            Err(reply::refuse(&refusal, None))
        }
    }
}

/// Has another replica answer a request that needs no session: the one that holds its call, or any
/// because this one is stopping. `None`: there is no other.
pub(crate) async fn answer_elsewhere(
    edge: &Edge,
    holder: Option<Replica>,
    carried: Carried<'_>,
) -> Option<Response> {
    let may_go = edge.relay.is_stopping() && carried.hopped.is_none();
    let peer = holder.or_else(|| edge.relay.standing.next_peer().filter(|_| may_go))?;
    match carry_to(edge, &peer, Purpose::Serve, carried).await {
        Sent::Answered(response) => Some(response),
        Sent::Declined(_) => None,
        Sent::Lost => lost(carried.owed),
    }
}

/// Carries a request to another replica.
pub(crate) async fn carry_to(
    edge: &Edge,
    replica: &Replica,
    purpose: Purpose,
    carried: Carried<'_>,
) -> Sent {
    let relay = &edge.relay;
    // Its beat may run out while it holds the request: it was stopped, or cut off.
    let gone = relay.standing.watch_or_learn(&replica.name).await;
    // A call of this one's client, until its answer is out.
    let counted = carried.owed.is_any().then(|| relay.count_call());
    let trail = trail_of(edge, carried.asked);
    let (parcel, is_out) = (carried.parcel(edge, purpose, &trail), AtomicBool::default());
    let sending = Box::pin(relay.peers.send(replica, parcel, &is_out));
    let waiting = async {
        match &gone {
            Some(gone) => gone.cancelled().await,
            None => std::future::pending().await,
        }
    };
    let answer = tokio::select! {
        answer = timeout(HEAD_WAIT, sending) => answer.ok(),
        () = waiting => None,
    };
    let sent = match answer {
        Some(Ok(response)) => sort(edge, replica, response, (gone, counted)),
        Some(Err(fault)) => unanswered(replica, &fault),
        None if is_out.load(Ordering::Relaxed) => Sent::Lost,
        None => Sent::Declined(Heard::Nothing),
    };
    let outcome = match &sent {
        Sent::Answered(_) => "answered",
        Sent::Declined(Heard::NotMine) => "not_mine",
        Sent::Declined(Heard::Refused | Heard::Nothing) => "unreached",
        Sent::Lost => "lost",
    };
    relay.context.metrics.count_hop(outcome);
    if let Some(trace) = trail.trace() {
        let is_answered = matches!(sent, Sent::Answered(_));
        trace.end_call(if is_answered { End::Done } else { End::Refused(outcome) });
    }
    sent
}

/// What a request is followed by on its way to another replica: where there are spans, one of its
/// own.
fn trail_of(edge: &Edge, asked: Option<&Request>) -> Trail {
    let trail = Trail::current();
    let (Some(traces), Some(request)) = (&edge.relay.context.traces, asked) else { return trail };
    let transport = "streamable_http";
    traces.hop(&trail, &Asked { request, server: None, transport, session: None })
}

fn unanswered(replica: &Replica, fault: &CarryFault) -> Sent {
    tracing::debug!(replica = %replica.name, %fault, "another replica could not be asked");
    match fault {
        CarryFault::Refused(_) => Sent::Declined(Heard::Refused),
        CarryFault::Unreached(_) => Sent::Declined(Heard::Nothing),
        CarryFault::Lost(_) => Sent::Lost,
    }
}

/// An answer, or another replica's saying that it has none.
fn sort(
    edge: &Edge,
    replica: &Replica,
    response: http::Response<Answering>,
    (gone, counted): (Option<CancellationToken>, Option<InFlight>),
) -> Sent {
    if let Some(why) = response.headers().get(NOT_MINE) {
        return declined(replica, why.to_str().unwrap_or_default());
    }
    let (mut head, body) = response.into_parts();
    strip(&mut head.headers);
    let over = edge.relay.context.tasks.token().clone();
    let body = Body::new(Relayed::new(body, counted, gone.into_iter().chain([over])));
    Sent::Answered(Response::from_parts(head, body))
}

fn declined(replica: &Replica, why: &str) -> Sent {
    match why {
        NOT_MINE_SESSION => Sent::Declined(Heard::NotMine),
        NOT_MINE_LAPSED => Sent::Declined(Heard::Nothing),
        _ => {
            tracing::warn!(
                replica = %replica.name, why,
                "another replica does not take our requests"
            );
            let what = "the replica that serves this session does not take requests of this one";
            let refusal = Refusal::new(Reason::StoreUnavailable, what).retry_after(RETRY_SOON);
            Sent::Answered(reply::refuse(&refusal, None))
        }
    }
}

/// Takes away what concerns a single connection (RFC 9110 §7.6.1).
fn strip(headers: &mut HeaderMap) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    for name in [CONNECTION, TRANSFER_ENCODING, KEEP_ALIVE] {
        headers.remove(name);
    }
}
