//! What other replicas send, on the admin listener: checked, and given to the public endpoints.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{Extensions, HeaderMap, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::upgrade::OnUpgrade;

use super::{Hopped, Via};
use crate::http::exchange::Line;
use crate::http::reply::{self, Fault};
use crate::http::{Edge, guard, trail};
use crate::relay::peers::{
    CARRIED, CLIENT, Denial, MARK, NOT_MINE_LAPSED, NOT_MINE_REPLICA, VIA, is_taken_along, seal_of,
};
use crate::session::hop::Seal;

/// Where such requests come in, and the endpoints that serve them: those of clients.
#[derive(Debug)]
pub(crate) struct Inlet {
    /// What they can reach.
    pub(crate) edge: Arc<Edge>,
    /// Without what stands around them for clients: the replica that those came to has done that.
    pub(crate) endpoints: Router,
}

impl Inlet {
    /// Whether a request is for here.
    pub(crate) fn is_for(&self, request: &Request) -> bool {
        request.uri().path().strip_prefix(CARRIED).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Serves a request that another replica carried here. The answer is marked as this replica's,
    /// whatever it says.
    pub(crate) async fn receive(&self, request: Request) -> Response {
        let Self { edge, endpoints } = self;
        let seal = seal_of(request.headers());
        let mut response = serve(edge, endpoints, request, seal.as_ref()).await;
        if let Some(mark) = seal.and_then(|seal| edge.relay.peers.mark(&seal)) {
            response.headers_mut().insert(MARK, mark);
        }
        response
    }
}

async fn serve(edge: &Edge, endpoints: &Router, request: Request, seal: Option<&Seal>) -> Response {
    let (mut head, body) = request.into_parts();
    let limits = &edge.config.limits;
    let reading = Limited::new(body, limits.body_bytes).collect();
    let body = match tokio::time::timeout(limits.body_timeout, reading).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return reply::fault(&Fault::Broken),
        Err(_elapsed) => return reply::fault(&Fault::TooSlow),
    };
    let target = head.uri.path_and_query().map_or("", |it| it.as_str());
    let asked = (&head.method, target);
    let purpose = match edge.relay.peers.check(seal, asked, &head.headers, &body) {
        Ok(purpose) => purpose,
        Err(Denial::OtherReplica) => return reply::not_mine(NOT_MINE_REPLICA),
        Err(Denial::TooEarly) => return reply::not_mine(NOT_MINE_LAPSED),
        Err(Denial::Forged(why)) => {
            tracing::warn!(%why, "a request that no replica signed was refused");
            return reply::forged();
        }
    };
    // It is signed as well, and every replica tells it.
    let client = head.headers.get(CLIENT).and_then(|it| it.to_str().ok()?.parse().ok());
    let Some(client) = client else { return reply::forged() };
    let Some(inner) = target.strip_prefix(CARRIED).and_then(|it| it.parse::<Uri>().ok()) else {
        return reply::forged();
    };
    head.uri = inner;
    keep_signed(&mut head.headers);
    // What the routes of this listener noted must not mix with what the endpoints' do.
    let mut extensions = Extensions::new();
    extensions.insert(Hopped { purpose, client });
    if let Some(via) = head.headers.remove(VIA).as_ref().and_then(|it| it.to_str().ok()) {
        extensions.insert(Via(via.into()));
    }
    if let Some(line) = head.extensions.remove::<Arc<Line>>() {
        extensions.insert(line);
    }
    if let Some(upgrade) = head.extensions.remove::<OnUpgrade>() {
        extensions.insert(upgrade);
    }
    head.extensions = extensions;
    let trail = trail::of_replica(&head.headers);
    // A panic has an answer that is marked too: without one, the request would be sent again.
    let giving = guard::run(endpoints, Request::from_parts(head, Body::from(body)));
    let mut response = trail.clone().scope(giving).await;
    trail::stamp(&mut response, &trail);
    response
}

/// Only what was signed, and what concerns this connection.
fn keep_signed(headers: &mut HeaderMap) {
    let is_kept =
        |name| is_taken_along(name) || [CONNECTION, UPGRADE, CONTENT_LENGTH].contains(name);
    let others = headers.keys().filter(|name| !is_kept(name));
    for name in others.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}
