//! A WebSocket whose session another replica serves: the bytes go both ways as they are.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderValue, Method};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, split};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Carried, Destination, Hopped, Owed, Sent, declined, place, search, unanswered};
use crate::config::limits::websocket::CLOSE_WAIT;
use crate::http::Edge;
use crate::http::serve::Peer;
use crate::relay::conversation::Conversation;
use crate::relay::exchange::InFlight;
use crate::relay::peers::{NOT_MINE, VIA};
use crate::session::hop::Purpose;
use crate::session::id::Named;
use crate::session::tenure::Replica;
use crate::telemetry::trail::Trail;
use crate::transport::http::{Duplex, Upgrade};

/// As [`reach`](super::reach), for a request to speak WebSocket: where the session is elsewhere,
/// the connection is joined to one with the replica that serves it.
pub(crate) async fn reach_socket(
    edge: &Arc<Edge>,
    named: Named,
    request: &mut Request,
) -> Result<Arc<Conversation>, Response> {
    let hopped = request.extensions().get::<Hopped>().copied();
    let mut search = search(edge, named, hopped).await?;
    loop {
        let (replica, purpose) = match place(edge, &mut search, hopped).await? {
            Destination::Here(conversation) => return Ok(conversation),
            Destination::Other(replica, purpose) => (replica, purpose),
        };
        match tunnel(edge, &replica, purpose, request).await {
            Sent::Answered(response) => return Err(response),
            Sent::Declined(heard) => search.note(&edge.relay, heard),
            // Nothing was said on it yet.
            Sent::Lost => search.note_lost(&edge.relay),
        }
    }
}

/// Carries a request to speak WebSocket to another replica, and joins the connections.
pub(super) async fn tunnel(
    edge: &Arc<Edge>,
    replica: &Replica,
    purpose: Purpose,
    request: &mut Request,
) -> Sent {
    let carried = Carried {
        method: &Method::GET,
        target: request.uri(),
        headers: request.headers(),
        body: &Bytes::new(),
        hopped: request.extensions().get::<Hopped>().copied(),
        peer: request.extensions().get::<Peer>().copied(),
        owed: Owed::Nothing,
        asked: None,
    };
    let mut parcel = carried.parcel(edge, purpose, &Trail::current());
    if let Ok(name) = HeaderValue::from_str(&edge.relay.standing.replica().name) {
        parcel.headers.insert(VIA, name);
    }
    let gone = edge.relay.standing.watch_or_learn(&replica.name).await.unwrap_or_default();
    let asked = Box::pin(edge.relay.peers.upgrade(replica, parcel)).await;
    let sent = match asked {
        Err(fault) => unanswered(replica, &fault),
        Ok(Upgrade::Denied(response)) => match response.headers().get(NOT_MINE) {
            Some(why) => declined(replica, why.to_str().unwrap_or_default()),
            None => Sent::Answered(response.map(Body::from)),
        },
        Ok(Upgrade::Agreed(head, socket, read)) => {
            let upgrading = hyper::upgrade::on(request);
            let joint = Joint { upgrading, read, gone, _counted: edge.relay.count_tunnel() };
            let tasks = &edge.relay.context.tasks;
            tasks.spawn("websocket-tunnel", joint.hold(socket, tasks.token().clone()));
            Sent::Answered(head.map(|()| Body::empty()))
        }
    };
    let outcome = if matches!(sent, Sent::Answered(_)) { "answered" } else { "unreached" };
    edge.relay.context.metrics.count_hop(outcome);
    sent
}

/// A client's connection, about to be joined to one with another replica.
struct Joint {
    upgrading: OnUpgrade,
    /// What the other replica said already.
    read: Bytes,
    /// Fires when that replica is gone.
    gone: CancellationToken,
    /// The stop of this replica waits for it.
    _counted: InFlight,
}

impl Joint {
    async fn hold(self, owner: Box<dyn Duplex>, over: CancellationToken) {
        let joining = async {
            let upgraded = self.upgrading.await.map_err(io::Error::other)?;
            let mut client = TokioIo::new(upgraded);
            client.write_all(&self.read).await?;
            join(client, owner).await
        };
        // A client whose connection breaks comes back with what it needs to go on.
        tokio::select! {
            joined = joining => if let Err(fault) = joined {
                tracing::debug!(%fault, "a carried WebSocket ended early");
            },
            () = self.gone.cancelled() => {}
            () = over.cancelled() => {}
        }
    }
}

/// Carries bytes both ways until one side has ended, and then for as long as the other may take to
/// answer a close frame: one that is gone without a word ends nothing.
async fn join(client: impl Duplex, owner: impl Duplex) -> io::Result<()> {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_owner, mut to_owner) = split(owner);
    let mut there = pin!(carry(&mut from_client, &mut to_owner));
    let mut back = pin!(carry(&mut from_owner, &mut to_client));
    let (ended, other) = match select(&mut there, &mut back).await {
        Either::Left((ended, _)) => (ended, timeout(CLOSE_WAIT, back).await),
        Either::Right((ended, _)) => (ended, timeout(CLOSE_WAIT, there).await),
    };
    ended.and(other.unwrap_or(Ok(())))
}

async fn carry(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    copy(from, to).await?;
    to.shutdown().await
}
