//! `/internal/sessions` of the admin listener, which `mcp-gateway sessions` asks: what sessions
//! there are, at whichever replica, and how to end one.
//!
//! Who is on this machine may ask; from elsewhere a request has to be signed with `SESSION_SECRET`,
//! by an operator or by another replica. A session goes by its key, from which nobody can make its
//! id; neither ids nor what was said are shown. A page of a browser is sent away, because its
//! reader may reach this listener without knowing.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::response::Response;
use bytes::Bytes;
use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::limits::operator::{LISTED_MAX, OWNER_TIMEOUT};
use crate::http::reply::{self, Fault, document};
use crate::http::serve::Peer;
use crate::http::{At, Edge};
use crate::relay::conversation::Conversation;
use crate::relay::peers::{Denial, MARK, NOT_MINE_LAPSED, NOT_MINE_REPLICA, Parcel, seal_of};
use crate::session::hop::Purpose;
use crate::session::id::{Holder, SessionKey};
use crate::session::store::{Listed, Look};
use crate::session::tenure::Replica;

/// Who asks, and for what.
#[derive(Debug)]
pub(crate) struct Asker {
    method: Method,
    target: Uri,
    headers: HeaderMap,
    is_near: bool,
}

/// How a list is asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Wish {
    limit: Option<usize>,
}

/// How an end is asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Errand {
    /// Another replica asks, which takes this one for the owner: nobody else is asked.
    here: Option<String>,
}

/// A session as it is shown.
struct Shown {
    transport: String,
    server: Option<String>,
    revision: Option<String>,
    holder: Option<Holder>,
    owner: Option<Replica>,
    is_here: bool,
    calls: usize,
    events: usize,
    age: Option<Duration>,
    left: Duration,
    notes: Vec<String>,
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let peer = head.extensions.get::<Peer>();
        Ok(Self {
            method: head.method.clone(),
            target: head.uri.clone(),
            headers: head.headers.clone(),
            is_near: peer.is_some_and(|Peer(at)| at.ip().to_canonical().is_loopback()),
        })
    }
}

impl Asker {
    /// What it is told that may not ask.
    fn refused(&self, edge: &Edge) -> Option<Response> {
        if self.headers.contains_key(ORIGIN) {
            return Some(reply::fault(&Fault::Foreign("this is not for web pages")));
        }
        if self.is_near {
            return None;
        }
        let target = self.target.path_and_query().map_or("", |it| it.as_str());
        match edge.relay.peers.check_operator(&self.method, target, &self.headers) {
            Ok(()) => None,
            Err(Denial::OtherReplica) => Some(reply::not_mine(NOT_MINE_REPLICA)),
            Err(Denial::TooEarly) => Some(reply::not_mine(NOT_MINE_LAPSED)),
            Err(Denial::Forged(why)) => {
                tracing::warn!(%why, "an operator's request that is not signed was refused");
                Some(reply::forbidden(&format!(
                    "from another machine this takes the gateway's SESSION_SECRET in the \
                     environment of `mcp-gateway sessions`, and clocks that agree: {why}"
                )))
            }
        }
    }
}

/// `GET /internal/sessions?limit=`: the sessions of all replicas, as far as the store is there.
pub(crate) async fn list(State(edge): At, asker: Asker, Query(wish): Query<Wish>) -> Response {
    if let Some(refused) = asker.refused(&edge) {
        return refused;
    }
    let limit = wish.limit.unwrap_or(LISTED_MAX).min(LISTED_MAX);
    let (sessions, is_whole) = gather(&edge).await;
    let count = sessions.len();
    let mut sessions: Vec<_> = sessions.into_iter().collect();
    sessions.sort_by(|(key, one), (other_key, other)| {
        let place = |it: &Shown| (it.owner.clone(), it.server.clone(), Reverse(it.calls));
        place(one).cmp(&place(other)).then(key.cmp(other_key))
    });
    let shown: Vec<_> =
        sessions.iter().take(limit).map(|(key, session)| session.shown(*key)).collect();
    document(&json!({
        "replica": &*edge.relay.sessions.replica().name,
        "count": count,
        "isWhole": is_whole,
        "sessions": shown,
    }))
}

/// `GET /internal/sessions/{key}`: one of them, with the names of what it has noted.
pub(crate) async fn show(State(edge): At, asker: Asker, Path(text): Path<String>) -> Response {
    if let Some(refused) = asker.refused(&edge) {
        return refused;
    }
    let Some(key) = SessionKey::parse(&text) else { return no_key() };
    let (mut sessions, is_whole) = gather(&edge).await;
    match sessions.remove(&key) {
        Some(session) => {
            let mut shown = session.shown(key);
            if let Some(shown) = shown.as_object_mut() {
                shown.insert("notes".to_owned(), json!(session.notes));
            }
            document(&shown)
        }
        None if is_whole => unknown(key),
        None => no_store(),
    }
}

/// `DELETE /internal/sessions/{key}`: ends a session, wherever it is served.
pub(crate) async fn end(
    State(edge): At,
    asker: Asker,
    Path(text): Path<String>,
    Query(errand): Query<Errand>,
) -> Response {
    // Another replica that asks takes an answer of this one's only.
    let mark = seal_of(&asker.headers).and_then(|seal| edge.relay.peers.mark(&seal));
    let mut response = match asker.refused(&edge) {
        Some(refused) => refused,
        None => end_by_key(&edge, &text, &errand).await,
    };
    if let Some(mark) = mark {
        response.headers_mut().insert(MARK, mark);
    }
    response
}

async fn end_by_key(edge: &Arc<Edge>, text: &str, errand: &Errand) -> Response {
    let Some(key) = SessionKey::parse(text) else { return no_key() };
    let sessions = &edge.relay.sessions;
    if let Some(conversation) = sessions.by_key(key) {
        if let Err(refusal) = edge.relay.end(&conversation).await {
            return reply::try_again(&refusal.message);
        }
        tracing::info!(session = %key, "session ended by an operator");
        return ended(key, Some(sessions.replica()));
    }
    if sessions.is_ending(key) {
        return unknown(key);
    }
    if errand.here.is_some() {
        return unknown(key);
    }
    match sessions.store().look(key).await {
        Ok(Look::Owned(tenure)) if tenure.replica != *sessions.replica() => {
            end_there(edge, key, &tenure.replica).await
        }
        Ok(Look::Free) => remove(edge, key).await,
        Ok(Look::Unknown) => unknown(key),
        // It is about to be served here, or has just been.
        Ok(Look::Owned(_)) => reply::try_again("the session changes its owner; try again"),
        Err(_unavailable) => no_store(),
    }
}

/// Has the owner end it: it would write down once more what was only taken out of the store.
async fn end_there(edge: &Edge, key: SessionKey, owner: &Replica) -> Response {
    let store = edge.relay.sessions.store();
    let parcel = Parcel {
        purpose: Purpose::Ask,
        method: Method::DELETE,
        target: format!("/internal/sessions/{key}?here"),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let is_out = AtomicBool::default();
    let asking = Box::pin(edge.relay.peers.send(owner, parcel, &is_out));
    let asked = match tokio::time::timeout(OWNER_TIMEOUT, asking).await {
        // It is not there: it has ended, or is another's by now.
        Ok(Ok(answer)) if answer.status() == 404 => Ok(()),
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) => Err(format!("it answers with status {}", answer.status())),
        Ok(Err(fault)) => Err(fault.to_string()),
        Err(_elapsed) => Err("it does not answer".to_owned()),
    };
    match (asked, store.pulse_of(&owner.name).await) {
        (Ok(()), _) => match store.look(key).await {
            Ok(Look::Owned(tenure)) if tenure.replica == *owner => {
                reply::try_again("its owner has let go of it just now; try again")
            }
            Ok(Look::Owned(_) | Look::Free | Look::Unknown) | Err(_) => ended(key, Some(owner)),
        },
        (Err(_), Ok(None)) => remove(edge, key).await,
        (Err(fault), Ok(Some(_)) | Err(_)) => {
            let (name, url) = (&owner.name, &owner.url);
            reply::try_again(&format!(
                "its owner, {name} at {url}, does not answer ({fault}); try again once it does, or \
                 10 s after it was last heard of"
            ))
        }
    }
}

/// Takes a session that nobody serves out of the store.
async fn remove(edge: &Edge, key: SessionKey) -> Response {
    match edge.relay.sessions.store().remove(key, None).await {
        Ok(()) => ended(key, None),
        Err(_unavailable) => no_store(),
    }
}

/// Every session: what the store knows, and of those here what this replica knows itself. Whether
/// the store told all it has.
async fn gather(edge: &Edge) -> (BTreeMap<SessionKey, Shown>, bool) {
    let sessions = &edge.relay.sessions;
    let (listed, is_whole) = match sessions.store().list(LISTED_MAX).await {
        Ok(listed) => (listed, true),
        Err(_unavailable) => (Vec::new(), false),
    };
    let mut shown: BTreeMap<_, _> =
        listed.into_iter().map(|it| (it.key, Shown::stored(it))).collect();
    for (holder, conversation) in sessions.all_with_holders() {
        let key = conversation.session.key;
        let left = sessions.left(&conversation.session);
        let notes = shown.remove(&key).map(|it| it.notes).unwrap_or_default();
        let here = Shown { notes, ..Shown::here(edge, &conversation, holder, left) };
        shown.insert(key, here);
    }
    (shown, is_whole)
}

impl Shown {
    fn stored(listed: Listed) -> Self {
        let Listed { record, tenure, calls, events, left, .. } = listed;
        Self {
            transport: record.transport,
            server: record.server,
            revision: record.revision,
            holder: record.holder,
            owner: tenure.map(|it| it.replica),
            is_here: false,
            calls,
            events,
            age: None,
            left,
            notes: record.notes.into_keys().collect(),
        }
    }

    fn here(edge: &Edge, conversation: &Arc<Conversation>, holder: Holder, left: Duration) -> Self {
        let session = &conversation.session;
        Self {
            transport: session.transport.name().to_owned(),
            server: conversation.server().map(ToOwned::to_owned),
            revision: session.revision().map(|it| it.as_str().to_owned()),
            holder: Some(holder),
            owner: Some(edge.relay.sessions.replica().clone()),
            is_here: true,
            calls: session.in_flight(),
            events: session.events(),
            age: Some(session.opened.elapsed()),
            left,
            notes: Vec::new(),
        }
    }

    fn shown(&self, key: SessionKey) -> Value {
        json!({
            "key": key.to_string(),
            "transport": self.transport,
            "server": self.server,
            "revision": self.revision,
            "holder": self.holder.map(|it| it.to_string()),
            "owner": self.owner.as_ref().map(|it| &*it.name),
            "ownerUrl": self.owner.as_ref().map(|it| &*it.url),
            "isHere": self.is_here,
            "calls": self.calls,
            "events": self.events,
            "ageSeconds": self.age.map(|it| it.as_secs()),
            "leftSeconds": self.left.as_secs(),
        })
    }
}

fn ended(key: SessionKey, owner: Option<&Replica>) -> Response {
    document(&json!({"ended": key.to_string(), "owner": owner.map(|it| &*it.name)}))
}

fn unknown(key: SessionKey) -> Response {
    let what = format!("there is no session {key}; it may have ended");
    reply::not_there(&what)
}

fn no_key() -> Response {
    reply::fault(&Fault::Bad("a session's key is 32 hexadecimal digits".to_owned()))
}

fn no_store() -> Response {
    reply::try_again("the session store is unavailable; try again when it is back")
}
