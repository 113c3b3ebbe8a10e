//! `/ws`: JSON-RPC over WebSocket, one message per text frame; the connection is the session,
//! unless the client asks for one that it can take up on another connection (`resume`).
//!
//! No revision of the protocol defines this transport; `docs/websocket.md` describes ours. The
//! subprotocol `mcp` is selected when it is offered, because browsers fail a connection whose
//! offer was not taken up (WHATWG, `WebSocket` §3.1).

mod modern;
mod resume;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytestring::ByteString;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{
    CloseFrame, Message as Frame, Role, WebSocketConfig,
};
use wire::id::Id;
use wire::json;
use wire::message::{Body as Said, Malformed, Message};
use wire::refusal::Refusal;

use crate::config::limits::websocket::{
    CLIENT_READ_BYTES, CLOSE_WAIT, FLUSH_MESSAGES, FRAME_BYTES, PING_EVERY, SILENCE_MAX,
    WRITE_TIMEOUT,
};
use crate::http::frames::{Breach, Guarded};
use crate::http::reply::{self, Fault};
use crate::http::ws::modern::Exchanges;
use crate::http::ws::resume::{Places, Seat, Wish};
use crate::http::{At, Edge, Server};
use crate::policy::identity;
use crate::relay::conversation::Conversation;
use crate::relay::standin::Guest;
use crate::session::outlet::Reader;
use crate::session::replay::Next;
use crate::session::{Streams as _, Transport};

/// Close codes of RFC 6455 §7.4.1 and its registry.
mod code {
    pub(super) const NORMAL: u16 = 1000;
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const PROTOCOL: u16 = 1002;
    pub(super) const UNSUPPORTED: u16 = 1003;
    pub(super) const INVALID_TEXT: u16 = 1007;
    pub(super) const POLICY: u16 = 1008;
    pub(super) const TOO_BIG: u16 = 1009;
    pub(super) const RESTART: u16 = 1012;
}

/// A client's socket after the upgrade.
type Socket = WebSocketStream<Guarded<TokioIo<Upgraded>>>;

/// A client's side of the conversation over its socket.
struct Talk<'a> {
    edge: &'a Arc<Edge>,
    conversation: &'a Arc<Conversation>,
    /// Its requests of revision 2026-07-28.
    exchanges: Exchanges,
    /// On a socket that can be resumed: its messages are counted.
    places: Option<Places>,
    socket: &'a mut Socket,
}

/// Why a conversation over a socket ends.
enum End {
    /// The client is gone.
    Gone,
    /// The client closed it; its own code is to be sent back (RFC 6455 §5.5.1). Whether it is done
    /// with its session as well, the code says (1000).
    Closed { is_done: bool },
    /// We close it.
    Close(u16, &'static str),
}

/// `GET /ws`: upgrades the connection and opens its session.
pub(crate) async fn open(State(edge): At, server: Server, mut request: Request) -> Response {
    let headers = request.headers();
    if let Some(lack) = lack(headers) {
        return reply::upgrade_required(lack);
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY).cloned() else {
        return reply::fault(&Fault::Bad("the header Sec-WebSocket-Key is missing".to_owned()));
    };
    let offers_mcp = words(headers, SEC_WEBSOCKET_PROTOCOL).any(|offered| offered == "mcp");
    let wish = match Wish::of(request.uri()) {
        Ok(wish) => wish,
        Err(fault) => return reply::fault(&fault),
    };
    let server = server.map(|Path(id)| id);
    let guest = Guest { principal: identity::principal(headers), server };
    let seat = match Seat::of(&edge, &guest, wish, &mut request).await {
        Ok(seat) => seat,
        Err(response) => return response,
    };
    let conversation = seat.conversation.clone();
    let exchanges = Exchanges::new(guest);
    let upgrading = hyper::upgrade::on(&mut request);
    // A task of the gateway's own from before the upgrade on, so that a drain waits for it.
    let tasks = edge.relay.context.tasks.clone();
    tasks.spawn("websocket", async move {
        // Ready when the client has read the reply, or is gone.
        let is_done = match upgrading.await {
            Ok(upgraded) => Box::pin(hold(&edge, seat, exchanges, upgraded)).await,
            Err(fault) => {
                tracing::debug!(%fault, "a WebSocket upgrade failed");
                false
            }
        };
        if is_done || !conversation.session.is_resumable() {
            edge.relay.close(&conversation).await;
        }
    });
    reply::upgraded(&derive_accept_key(key.as_bytes()), offers_mcp.then_some("mcp"))
}

/// What a request lacks to be an upgrade (RFC 6455 §4.2.1).
fn lack(headers: &HeaderMap) -> Option<&'static str> {
    if !words(headers, CONNECTION).any(|word| word.eq_ignore_ascii_case("upgrade")) {
        return Some("the Connection header does not name `upgrade`");
    }
    if !words(headers, UPGRADE).any(|word| word.eq_ignore_ascii_case("websocket")) {
        return Some("the Upgrade header does not name `websocket`");
    }
    let version = headers.get(SEC_WEBSOCKET_VERSION);
    (version != Some(&HeaderValue::from_static("13"))).then_some("the version is not 13")
}

/// The words of a header that is a list.
fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').map(str::trim))
}

async fn converse(edge: &Edge, upgraded: Upgraded) -> Socket {
    let limits = &edge.config.limits;
    let config = WebSocketConfig::default()
        .read_buffer_size(CLIENT_READ_BYTES)
        .max_message_size(Some(limits.body_bytes))
        .max_frame_size(Some(FRAME_BYTES.min(limits.body_bytes)));
    let guarded = Guarded::new(TokioIo::new(upgraded), limits.body_timeout);
    WebSocketStream::from_raw_socket(guarded, Role::Server, Some(config)).await
}

/// Talks until one side has had enough; whether the client is done with its session.
async fn hold(edge: &Arc<Edge>, seat: Seat, exchanges: Exchanges, upgraded: Upgraded) -> bool {
    let _counted = edge.relay.context.metrics.connection(Transport::WebSocket.name());
    let Seat { conversation, mut reader, places } = seat;
    let mut socket = converse(edge, upgraded).await;
    let conversation = &conversation;
    let mut talk = Talk { edge, conversation, exchanges, places, socket: &mut socket };
    let end = talk.go_on(&mut reader).await;
    if matches!(end, End::Close(code::RESTART, _)) {
        talk.say_rest().await;
    }
    // From here on another connection may read.
    drop(reader);
    close(&mut socket, &end).await;
    matches!(end, End::Closed { is_done: true })
}

/// Says why, and waits for the client to take leave.
async fn close(socket: &mut Socket, end: &End) {
    let closing = match end {
        End::Gone => return,
        End::Closed { .. } => socket.flush().right_future(),
        End::Close(code, reason) => {
            let frame = CloseFrame { code: (*code).into(), reason: (*reason).into() };
            socket.send(Frame::Close(Some(frame))).left_future()
        }
    };
    if !matches!(timeout(WRITE_TIMEOUT, closing).await, Ok(Ok(()))) {
        tracing::debug!("a WebSocket was gone before it was closed");
        return;
    }
    // A socket that is closed with input unread is reset, and a reset may overtake the close frame:
    // so the client's own is awaited (RFC 6455 §7.1.1), or after a fault whatever still comes.
    let ending = async {
        while let Some(Ok(_)) = socket.next().await {}
        let line = socket.get_mut();
        line.stop_counting();
        let mut rest = [0; 1024];
        if line.shutdown().await.is_ok() {
            while matches!(line.read(&mut rest).await, Ok(1..)) {}
        }
    };
    if timeout(CLOSE_WAIT, ending).await.is_err() {
        tracing::debug!("a WebSocket's client did not answer the close frame");
    }
}

impl Talk<'_> {
    /// Talks until one side has had enough.
    async fn go_on(&mut self, reader: &mut Reader) -> End {
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        if let Some(greeting) = self.places.as_mut().and_then(Places::greeting)
            && let Some(end) = send(self.socket, Frame::Text(text_of(greeting))).await
        {
            return end;
        }
        loop {
            let end = tokio::select! {
                next = reader.next() => self.write(reader, next).await,
                text = self.exchanges.next() => send(self.socket, Frame::Text(text_of(text))).await,
                frame = self.socket.next() => {
                    heard = Instant::now();
                    self.conversation.session.touch();
                    match frame {
                        None => Some(End::Gone),
                        Some(Err(fault)) => Some(broken(&fault)),
                        Some(Ok(frame)) => self.take_in(frame).await,
                    }
                }
                _ = pings.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        return End::Gone;
                    }
                    send(self.socket, Frame::Ping(bytes::Bytes::new())).await
                }
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Says what is there to be said of the requests that stand alone: the session that has ended
    /// is not theirs.
    async fn say_rest(&mut self) {
        let saying = async {
            while let Some(text) = self.exchanges.next().now_or_never() {
                if self.socket.feed(Frame::Text(text_of(text))).await.is_err() {
                    return;
                }
            }
        };
        if timeout(WRITE_TIMEOUT, saying).await.is_err() {
            tracing::debug!("a WebSocket's client did not read the rest in time");
        }
    }

    async fn take_in(&mut self, frame: Frame) -> Option<End> {
        let text = match frame {
            Frame::Text(text) => text,
            Frame::Binary(_) => return Some(End::Close(code::UNSUPPORTED, "text frames only")),
            Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => return None,
            Frame::Close(close) => {
                let is_done = close.is_some_and(|it| u16::from(it.code) == code::NORMAL);
                return Some(End::Closed { is_done });
            }
        };
        let bytes = bytes::Bytes::from(text.clone());
        match Said::parse(bytes, &self.edge.config.limits.json) {
            Ok(Said::One(message)) => self.take_one(message).await,
            Ok(Said::Batch(messages)) => self.take_batch(messages).await,
            Err(fault) => self.refuse(fault, &text).await,
        }
    }

    /// Which era a message is of, it says itself; a notification is of the era of what it is about.
    async fn take_one(&mut self, message: Message) -> Option<End> {
        match message {
            Message::Request(request) if wire::modern::is_modern(request.params(), None) => {
                let id = request.id().clone();
                let refusal = self.exchanges.begin(self.edge, request).err()?;
                self.edge.relay.context.metrics.count_error(refusal.reason.name());
                let response = refusal.to_response(Some(&id), "websocket");
                send(self.socket, Frame::Text(text_of(response.text().clone()))).await
            }
            Message::Notification(note) if self.exchanges.cancel(&note) => None,
            message @ (Message::Request(_) | Message::Notification(_) | Message::Response(_)) => {
                self.edge.pass_on(self.conversation, message).await;
                None
            }
        }
    }

    async fn take_batch(&mut self, messages: Vec<Result<Message, Malformed>>) -> Option<End> {
        if let Err(refusal) = self.conversation.session.check_batch() {
            return self.reject(None, &refusal).await;
        }
        for message in messages {
            match message {
                Ok(message) => self.edge.pass_on(self.conversation, message).await,
                Err(fault) => {
                    if let Some(end) = self.refuse(fault, "").await {
                        return Some(end);
                    }
                }
            }
        }
        None
    }

    /// Writes what is there to be said, and flushes once.
    async fn write(&mut self, reader: &mut Reader, first: Next) -> Option<End> {
        let mut next = first;
        for _ in 0..FLUSH_MESSAGES {
            match next {
                Next::Event(event) => {
                    let place = self.places.as_mut().and_then(|it| it.before(event.seq));
                    for text in place.into_iter().chain([event.text]) {
                        let fed = self.socket.feed(Frame::Text(text_of(text)));
                        if !matches!(timeout(WRITE_TIMEOUT, fed).await, Ok(Ok(()))) {
                            return Some(End::Gone);
                        }
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
        match timeout(WRITE_TIMEOUT, self.socket.flush()).await {
            Ok(Ok(())) => None,
            Ok(Err(_)) | Err(_) => Some(End::Gone),
        }
    }

    /// Answers what is no JSON-RPC message: the heartbeat of simple clients, or an error.
    async fn refuse(&mut self, fault: Malformed, text: &str) -> Option<End> {
        if is_heartbeat(text) {
            return send(self.socket, Frame::Text(r#"{"type":"pong"}"#.into())).await;
        }
        let id = fault.id.clone();
        self.reject(id.as_ref(), &Refusal::from(fault)).await
    }

    /// Answers what was not taken in. Where the client counts, by the log, which counts as well.
    async fn reject(&mut self, id: Option<&Id>, refusal: &Refusal) -> Option<End> {
        if self.places.is_some() {
            self.conversation.session.standalone().reject_malformed(id, refusal);
            return None;
        }
        let response = refusal.to_response(id, "websocket");
        send(self.socket, Frame::Text(text_of(response.text().clone()))).await
    }
}

/// Whether a text is `{"type":"ping"}`, which clients without WebSocket pings send.
#[must_use]
pub fn is_heartbeat(text: &str) -> bool {
    let is_checked = json::check(text, &json::JsonLimits::default()).is_ok();
    is_checked
        && json::member(text, "method").is_none()
        && json::member(text, "type").and_then(json::string).is_some_and(|kind| kind == "ping")
}

async fn send(socket: &mut Socket, frame: Frame) -> Option<End> {
    match timeout(WRITE_TIMEOUT, socket.send(frame)).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) | Err(_) => Some(End::Gone),
    }
}

fn text_of(text: ByteString) -> Utf8Bytes {
    // The bytes are UTF-8 already; the check that the conversion repeats cannot fail.
    Utf8Bytes::try_from(text.into_bytes()).unwrap_or_default()
}

/// What broken frames are closed with (RFC 6455 §7.4.1).
#[expect(clippy::wildcard_enum_match_arm, reason = "with any other fault the client is gone")]
fn broken(fault: &Error) -> End {
    match fault {
        Error::Capacity(_) => End::Close(code::TOO_BIG, "the message is too long"),
        Error::Utf8(_) => End::Close(code::INVALID_TEXT, "the text is not UTF-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Gone,
        Error::Protocol(_) => End::Close(code::PROTOCOL, "the frame breaks RFC 6455"),
        Error::Io(fault) => match fault.get_ref().and_then(|it| it.downcast_ref::<Breach>()) {
            Some(breach @ Breach::Fragments) => End::Close(code::TOO_BIG, breach.reason()),
            Some(breach @ (Breach::Unfinished | Breach::Flood)) => {
                End::Close(code::POLICY, breach.reason())
            }
            None => End::Gone,
        },
        _ => End::Gone,
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
