//! `/ws`: JSON-RPC over WebSocket, one message per text frame; the connection is the session.
//!
//! No revision of the protocol defines this transport; `docs/websocket.md` describes ours. The
//! subprotocol `mcp` is selected when it is offered, because browsers fail a connection whose
//! offer was not taken up (WHATWG, `WebSocket` §3.1).

use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use bytestring::ByteString;
use futures_util::{FutureExt as _, SinkExt as _};
use http::HeaderMap;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use wire::json;
use wire::message::{Body as Said, Malformed, Message};
use wire::refusal::Refusal;

use crate::config::limits::websocket::{
    CLIENT_READ_BYTES, CLOSE_WAIT, FLUSH_MESSAGES, FRAME_BYTES, PING_EVERY, SILENCE_MAX,
    WRITE_TIMEOUT,
};
use crate::http::reply::{self, Fault};
use crate::http::{At, Edge, Server};
use crate::policy::identity;
use crate::relay::conversation::Conversation;
use crate::session::Transport;
use crate::session::outlet::Reader;
use crate::session::replay::Next;

/// Close codes of RFC 6455 §7.4.1 and its registry.
mod code {
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const PROTOCOL: u16 = 1002;
    pub(super) const UNSUPPORTED: u16 = 1003;
    pub(super) const INVALID_TEXT: u16 = 1007;
    pub(super) const POLICY: u16 = 1008;
    pub(super) const TOO_BIG: u16 = 1009;
    pub(super) const RESTART: u16 = 1012;
}

/// Why a conversation over a socket ends.
enum End {
    /// The client closed it, or is gone.
    Gone,
    /// We close it.
    Close(u16, &'static str),
}

/// `GET /ws`: upgrades the connection and opens its session.
pub(crate) async fn open(
    State(edge): At,
    server: Server,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(WebSocketUpgradeRejection::WebSocketKeyHeaderMissing(lack)) => {
            return reply::fault(&Fault::Bad(lack.body_text()));
        }
        Err(lack) => return reply::upgrade_required(&lack.body_text()),
    };
    let body_bytes = edge.config.limits.body_bytes;
    let server = server.map(|Path(id)| id);
    let principal = identity::principal(&headers);
    let opened = edge.relay.open(principal, Transport::WebSocket, server.as_deref()).await;
    let conversation = match opened {
        Ok(conversation) => conversation,
        Err(refusal) => return reply::not_opened(&refusal, None),
    };
    let (hand_over, handed_over) = oneshot::channel();
    // A task of the gateway's own from before the upgrade on, so that a drain waits for it.
    let tasks = edge.relay.context.tasks.clone();
    tasks.spawn("websocket", async move {
        // Sent or dropped when the client has read the reply, or is gone.
        if let Ok(socket) = handed_over.await {
            hold(&edge, &conversation, socket).await;
        }
        edge.relay.close(&conversation).await;
    });
    upgrade
        .protocols(["mcp"])
        .read_buffer_size(CLIENT_READ_BYTES)
        .max_message_size(body_bytes)
        .max_frame_size(FRAME_BYTES.min(body_bytes))
        .on_failed_upgrade(|fault| tracing::debug!(%fault, "a WebSocket upgrade failed"))
        .on_upgrade(move |socket| async move {
            // Nobody is there to take it only when the task panicked.
            drop(hand_over.send(socket));
        })
}

/// Talks until one side has had enough.
async fn hold(edge: &Arc<Edge>, conversation: &Arc<Conversation>, mut socket: WebSocket) {
    let _counted = edge.relay.context.metrics.connection(Transport::WebSocket.name());
    let Some(mut reader) = Reader::standalone(conversation.session.clone()) else { return };
    match talk(edge, conversation, &mut socket, &mut reader).await {
        End::Gone => {}
        End::Close(code, reason) => {
            let frame = CloseFrame { code, reason: reason.into() };
            let closing = socket.send(Frame::Close(Some(frame)));
            if !matches!(timeout(WRITE_TIMEOUT, closing).await, Ok(Ok(()))) {
                tracing::debug!("a WebSocket was gone before it was closed");
                return;
            }
            // A socket that is closed with input unread is reset, and a reset may overtake the
            // close frame: so the client's own is awaited (RFC 6455 §7.1.1).
            let ending = async { while let Some(Ok(_)) = socket.recv().await {} };
            if timeout(CLOSE_WAIT, ending).await.is_err() {
                tracing::debug!("a WebSocket's client did not answer the close frame");
            }
        }
    }
}

async fn talk(
    edge: &Arc<Edge>,
    conversation: &Arc<Conversation>,
    socket: &mut WebSocket,
    reader: &mut Reader,
) -> End {
    let mut pings = interval(PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        let end = tokio::select! {
            next = reader.next() => write(socket, reader, next).await,
            frame = socket.recv() => {
                heard = Instant::now();
                conversation.session.touch();
                match frame {
                    None => Some(End::Gone),
                    Some(Err(fault)) => Some(broken(&fault)),
                    Some(Ok(frame)) => take_in(edge, conversation, frame, socket).await,
                }
            }
            _ = pings.tick() => {
                if heard.elapsed() > SILENCE_MAX {
                    return End::Gone;
                }
                send(socket, Frame::Ping(bytes::Bytes::new())).await
            }
        };
        if let Some(end) = end {
            return end;
        }
    }
}

/// Writes what is there to be said, and flushes once.
async fn write(socket: &mut WebSocket, reader: &mut Reader, first: Next) -> Option<End> {
    let mut next = first;
    for _ in 0..FLUSH_MESSAGES {
        match next {
            Next::Event(event) => {
                let fed = socket.feed(Frame::Text(text_of(event.text)));
                if !matches!(timeout(WRITE_TIMEOUT, fed).await, Ok(Ok(()))) {
                    return Some(End::Gone);
                }
            }
            Next::End => return Some(End::Close(code::RESTART, "the session is over")),
            Next::Lagged => return Some(End::Close(code::POLICY, "this client is too slow")),
            Next::Superseded => return Some(End::Close(code::GOING_AWAY, "superseded")),
        }
        match reader.next().now_or_never() {
            Some(more) => next = more,
            None => break,
        }
    }
    match timeout(WRITE_TIMEOUT, socket.flush()).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) | Err(_) => Some(End::Gone),
    }
}

async fn take_in(
    edge: &Arc<Edge>,
    conversation: &Arc<Conversation>,
    frame: Frame,
    socket: &mut WebSocket,
) -> Option<End> {
    let text = match frame {
        Frame::Text(text) => text,
        Frame::Binary(_) => return Some(End::Close(code::UNSUPPORTED, "text frames only")),
        Frame::Ping(_) | Frame::Pong(_) => return None,
        Frame::Close(_) => return Some(End::Gone),
    };
    let bytes = bytes::Bytes::from(text.clone());
    match Said::parse(bytes, &edge.config.limits.json) {
        Ok(Said::One(message)) => {
            edge.pass_on(conversation, message).await;
            None
        }
        Ok(Said::Batch(messages)) => take_batch(edge, conversation, messages, socket).await,
        Err(fault) => refuse(socket, fault, &text).await,
    }
}

async fn take_batch(
    edge: &Arc<Edge>,
    conversation: &Arc<Conversation>,
    messages: Vec<Result<Message, Malformed>>,
    socket: &mut WebSocket,
) -> Option<End> {
    if let Err(refusal) = conversation.session.check_batch() {
        let response = refusal.to_response(None, "websocket");
        return send(socket, Frame::Text(text_of(response.text().clone()))).await;
    }
    for message in messages {
        match message {
            Ok(message) => edge.pass_on(conversation, message).await,
            Err(fault) => {
                if let Some(end) = refuse(socket, fault, "").await {
                    return Some(end);
                }
            }
        }
    }
    None
}

/// Answers what is no JSON-RPC message: the heartbeat of simple clients, or an error.
async fn refuse(socket: &mut WebSocket, fault: Malformed, text: &str) -> Option<End> {
    if is_heartbeat(text) {
        return send(socket, Frame::Text(r#"{"type":"pong"}"#.into())).await;
    }
    let id = fault.id.clone();
    let response = Refusal::from(fault).to_response(id.as_ref(), "websocket");
    send(socket, Frame::Text(text_of(response.text().clone()))).await
}

/// Whether a text is `{"type":"ping"}`, which clients without WebSocket pings send.
#[must_use]
pub fn is_heartbeat(text: &str) -> bool {
    let is_checked = json::check(text, &json::JsonLimits::default()).is_ok();
    is_checked
        && json::member(text, "method").is_none()
        && json::member(text, "type").and_then(json::string).is_some_and(|kind| kind == "ping")
}

async fn send(socket: &mut WebSocket, frame: Frame) -> Option<End> {
    match timeout(WRITE_TIMEOUT, socket.send(frame)).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) | Err(_) => Some(End::Gone),
    }
}

fn text_of(text: ByteString) -> axum::extract::ws::Utf8Bytes {
    // The bytes are UTF-8 already; the check that the conversion repeats cannot fail.
    axum::extract::ws::Utf8Bytes::try_from(text.into_bytes()).unwrap_or_default()
}

/// What a broken frame is closed with (RFC 6455 §7.4.1).
fn broken(fault: &axum::Error) -> End {
    let text = fault.to_string().to_lowercase();
    if text.contains("too long") || text.contains("too big") || text.contains("capacity") {
        End::Close(code::TOO_BIG, "the message is too long")
    } else if text.contains("utf-8") || text.contains("utf8") {
        End::Close(code::INVALID_TEXT, "the text is not UTF-8")
    } else if text.contains("protocol") {
        End::Close(code::PROTOCOL, "the frame breaks RFC 6455")
    } else {
        End::Gone
    }
}

#[cfg(test)]
mod tests {
    use super::is_heartbeat;

    #[test]
    fn heartbeats() {
        assert!(is_heartbeat(r#"{"type":"ping"}"#));
        assert!(is_heartbeat(r#" { "type" : "ping", "at": 1 } "#));
        assert!(!is_heartbeat(r#"{"type":"pong"}"#));
        assert!(!is_heartbeat(r#"{"method":"x","type":"ping"}"#));
        assert!(!is_heartbeat("ping"));
    }
}
