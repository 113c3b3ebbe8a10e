//! The session that a request of Streamable HTTP names, wherever it is served.

use std::sync::Arc;

use axum::response::Response;
use http::HeaderMap;

use super::{TRANSPORT, check_version};
use crate::http::Edge;
use crate::http::body::single;
use crate::http::hop::{self, Carried};
use crate::http::reply::{self, Fault};
use crate::policy::identity;
use crate::relay::conversation::Conversation;
use crate::transport::http::SESSION_ID;

/// The session that the headers name, if it is this principal's and of this path; or the answer of
/// the replica that serves it.
pub(super) async fn find(
    edge: &Arc<Edge>,
    server: Option<&str>,
    carried: Carried<'_>,
) -> Result<Arc<Conversation>, Response> {
    let id = session_id(carried.headers).map_err(|fault| reply::fault(&fault))?;
    let unknown = || reply::fault(&Fault::UnknownSession);
    let principal = identity::principal(carried.headers);
    let named = edge.relay.sessions.named(principal, id).ok_or_else(unknown)?;
    let conversation = match hop::here(edge, named.key, carried.hopped) {
        Some(conversation) if !hop::has_to_wait(edge, &conversation, carried.owed) => conversation,
        Some(_) | None => Box::pin(hop::reach(edge, named, carried)).await?,
    };
    let is_own = conversation.session.transport == TRANSPORT && conversation.server() == server;
    is_own.then_some(conversation).ok_or_else(unknown)
}

fn session_id(headers: &HeaderMap) -> Result<&str, Fault> {
    check_version(headers)?;
    let id = single(headers, &SESSION_ID)?.ok_or(Fault::NoSession)?;
    if id.len() > 128 || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Fault::Bad("the Mcp-Session-Id header cannot be a session's".to_owned()));
    }
    Ok(id)
}
