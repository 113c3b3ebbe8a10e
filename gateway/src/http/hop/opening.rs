//! Sessions that are not for this replica to open: it is stopping, or another one holds what the
//! sessions of their principal share.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::response::Response;
use wire::id::Id;
use wire::refusal::{Reason, Refusal};

use super::{Carried, Hopped, Sent, carry_to, tunnel};
use crate::config::limits::client::RETRY_SOON;
use crate::config::limits::hop::LOOK_EVERY;
use crate::config::limits::store::CLAIM_WAIT;
use crate::http::Edge;
use crate::http::reply;
use crate::relay::locate::Heard;
use crate::session::hop::Purpose;
use crate::session::principal::Principal;
use crate::session::standing::Life;
use crate::session::tenure::Replica;

/// What opens a session.
#[derive(Debug)]
pub(crate) enum Opening<'a> {
    /// A request that is answered.
    Plain(Carried<'a>),
    /// A request to speak WebSocket.
    Socket(&'a mut Request),
}

impl Opening<'_> {
    fn is_hopped(&self) -> bool {
        match self {
            Self::Plain(carried) => carried.hopped.is_some(),
            Self::Socket(request) => request.extensions().get::<Hopped>().is_some(),
        }
    }

    fn id(&self) -> Option<&Id> {
        match self {
            Self::Plain(carried) => carried.owed.first(),
            Self::Socket(_) => None,
        }
    }

    async fn send(&mut self, edge: &Arc<Edge>, replica: &Replica) -> Sent {
        match self {
            Self::Plain(carried) => carry_to(edge, replica, Purpose::Serve, *carried).await,
            Self::Socket(request) => tunnel::tunnel(edge, replica, Purpose::Serve, request).await,
        }
    }
}

/// Has another replica open a session, where that is not for this one to do. `None`: it is.
pub(crate) async fn open_elsewhere(
    edge: &Arc<Edge>,
    principal: &Principal,
    server: Option<&str>,
    mut opening: Opening<'_>,
) -> Option<Response> {
    let relay = &edge.relay;
    if !relay.standing.is_shared() || opening.is_hopped() {
        return None;
    }
    if relay.standing.is_draining() {
        let peer = relay.heir(principal, server).await?;
        return match opening.send(edge, &peer).await {
            Sent::Answered(response) => Some(response),
            Sent::Declined(_) | Sent::Lost => None,
        };
    }
    let deadline = Instant::now() + CLAIM_WAIT;
    let mut lost = None;
    loop {
        let peer = match relay.pinned_after(principal, server, lost.take()).await {
            Ok(peer) => peer?,
            Err(refusal) => return Some(reply::refuse(&refusal, opening.id())),
        };
        let heard = match opening.send(edge, &peer).await {
            Sent::Answered(response) => return Some(response),
            Sent::Declined(heard) => heard,
            Sent::Lost => break,
        };
        if Instant::now() >= deadline {
            break;
        }
        lost = is_gone(edge, &peer, heard).await.then_some(peer);
        if lost.is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    let what = "the replica that holds what this identity shares does not answer";
    let refusal = Refusal::new(Reason::StoreUnavailable, what).retry_after(RETRY_SOON);
    Some(reply::refuse(&refusal, opening.id()))
}

/// Whether a replica that did not take a request in is gone, as for a session that it owned.
async fn is_gone(edge: &Edge, replica: &Replica, heard: Heard) -> bool {
    match edge.relay.standing.life_of(&replica.name).await {
        Ok(Life::Over) => true,
        Ok(Life::Still) => heard == Heard::Refused,
        Ok(Life::Moving) | Err(_) => false,
    }
}
