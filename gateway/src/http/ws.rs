//! `/ws`: JSON-RPC over WebSocket, one message per text frame; the connection is the session,
//! unless the client asks for one that it can take up on another connection (`resume`).
//!
//! No revision of the protocol defines this transport; `docs/websocket.md` describes ours. The
//! subprotocol `mcp` is selected when it is offered, because browsers fail a connection whose
//! offer was not taken up (WHATWG, `WebSocket` §3.1).

mod ending;
mod leave;
mod limit;
mod modern;
mod resume;
mod upgrade;

use std::pin::pin;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytestring::ByteString;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use http::header::{SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message as Frame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};
use wire::id::Id;
use wire::json;
use wire::message::{Body as Said, Malformed, Message};
use wire::refusal::Refusal;

use crate::config::limits::websocket::{
    CLIENT_READ_BYTES, FLUSH_MESSAGES, FRAME_BYTES, PING_EVERY, SILENCE_MAX, WRITE_TIMEOUT,
};
use crate::http::frames::Guarded;
use crate::http::reply::{self, Fault};
use crate::http::ws::ending::{End, broken, close, code, send};
use crate::http::ws::leave::Summons;
use crate::http::ws::limit::Allowance;
use crate::http::ws::modern::Exchanges;
use crate::http::ws::resume::{Places, Seat, Wish};
use crate::http::ws::upgrade::{lack, words};
use crate::http::{At, Edge, Server, caller};
use crate::policy::identity;
use crate::relay::conversation::Conversation;
use crate::relay::standin::Guest;
use crate::session::outlet::Reader;
use crate::session::replay::Next;
use crate::session::{Streams as _, Transport};
use crate::telemetry::trail::{Trail, request_id};

/// A client's socket after the upgrade.
type Socket = WebSocketStream<Guarded<TokioIo<Upgraded>>>;

/// A client's side of the conversation over its socket.
struct Talk<'a> {
    edge: &'a Arc<Edge>,
    conversation: &'a Arc<Conversation>,
    /// Its requests of revision 2026-07-28.
    exchanges: Exchanges,
    allowance: Allowance,
    /// On a socket that can be resumed: its messages are counted.
    places: Option<Places>,
    socket: &'a mut Socket,
    /// Its close frame is out.
    is_leaving: bool,
    /// What the connection is followed by, and how many messages came on it.
    trail: (Trail, u64),
}

/// What was settled with a client before its upgrade, besides its seat.
struct Admission {
    exchanges: Exchanges,
    allowance: Allowance,
    summons: Summons,
    trail: Trail,
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
    if let Err(refusal) = caller::admit_stream(&edge, headers, request.extensions()).await {
        return reply::refuse(&refusal, None);
    }
    let allowance = Allowance::of(&edge, &request);
    let principal = identity::principal(headers);
    let guest = Guest { principal, server, caller: allowance.caller() };
    let seat = match Seat::of(&edge, &guest, wish, &mut request).await {
        Ok(seat) => seat,
        Err(response) => return response,
    };
    let conversation = seat.conversation.clone();
    let exchanges = Exchanges::new(guest);
    let summons = Summons::of(&edge, &conversation.session, request.extensions()).await;
    let upgrading = hyper::upgrade::on(&mut request);
    // A task of the gateway's own from before the upgrade on, so that a drain waits for it.
    let tasks = edge.relay.context.tasks.clone();
    let trail = Trail::current().lasting();
    let admission = Admission { exchanges, allowance, summons, trail };
    tasks.spawn("websocket", async move {
        // Ready when the client has read the reply, or is gone.
        let is_done = match upgrading.await {
            Ok(upgraded) => Box::pin(hold(&edge, seat, admission, upgraded)).await,
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
async fn hold(edge: &Arc<Edge>, seat: Seat, admission: Admission, upgraded: Upgraded) -> bool {
    let _counted = edge.relay.context.metrics.connection(Transport::WebSocket.name());
    let Seat { conversation, mut reader, places } = seat;
    let Admission { exchanges, allowance, summons, trail } = admission;
    let mut socket = converse(edge, upgraded).await;
    let mut talk = Talk {
        edge,
        conversation: &conversation,
        exchanges,
        allowance,
        places,
        socket: &mut socket,
        is_leaving: false,
        trail: (trail, 0),
    };
    let mut end = talk.go_on(&mut reader, &summons).await;
    if matches!(end, End::Leave) {
        end = talk.take_leave().await;
    }
    if matches!(end, End::Close(code::RESTART, _)) {
        talk.say_rest().await;
    }
    // From here on another connection may read.
    drop((talk, reader, summons));
    close(&mut socket, &end).await;
    matches!(end, End::Closed { is_done: true })
}

impl Talk<'_> {
    /// Talks until one side has had enough.
    async fn go_on(&mut self, reader: &mut Reader, summons: &Summons) -> End {
        let mut called = pin!(summons.call());
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
                () = &mut called => Some(End::Leave),
                next = reader.next() => self.write(reader, next).await,
                text = self.exchanges.next() => send(self.socket, Frame::Text(text_of(text))).await,
                frame = self.socket.next() => {
                    heard = Instant::now();
                    self.hear(frame).await
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

    /// Takes in what came, or that nothing comes any more.
    async fn hear(&mut self, frame: Option<Result<Frame, Error>>) -> Option<End> {
        self.conversation.session.touch();
        match frame {
            None => Some(End::Gone),
            Some(Err(fault)) => Some(broken(&fault)),
            Some(Ok(frame)) => self.take_in(frame).await,
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
        let (connection, messages) = &mut self.trail;
        *messages += 1;
        let trail = connection.part(*messages);
        trail.scope(self.take_text(&text)).await
    }

    async fn take_text(&mut self, text: &Utf8Bytes) -> Option<End> {
        if let Err(end) = self.allowance.pass(self.edge) {
            return Some(end);
        }
        let bytes = bytes::Bytes::from(text.clone());
        let said = Said::parse(bytes, &self.edge.config.limits.json);
        let said = match self.admit(said).await {
            Ok(said) => said,
            Err(end) => return end,
        };
        match said {
            Ok(Said::One(message)) => self.take_one(message).await,
            Ok(Said::Batch(messages)) => self.take_batch(messages).await,
            Err(fault) => self.refuse(fault, text).await,
        }
    }

    /// Which era a message is of, it says itself; a notification is of the era of what it is about.
    async fn take_one(&mut self, message: Message) -> Option<End> {
        match message {
            Message::Request(request) if wire::modern::is_modern(request.params(), None) => {
                // It would end with the socket, before it is begun.
                if self.is_leaving {
                    return None;
                }
                let (id, session) = (request.id().clone(), &self.conversation.session);
                let refusal = self.exchanges.begin(self.edge, session, request).err()?;
                self.edge.relay.context.metrics.count_error(refusal.reason.name());
                self.say_no(Some(&id), &refusal).await
            }
            Message::Notification(note) if self.exchanges.cancel(&note) => None,
            message @ (Message::Request(_) | Message::Notification(_) | Message::Response(_)) => {
                self.pass_on(message).await;
                None
            }
        }
    }

    async fn pass_on(&mut self, message: Message) {
        self.edge.pass_on(self.conversation, self.allowance.caller(), message).await;
    }

    async fn take_batch(&mut self, messages: Vec<Result<Message, Malformed>>) -> Option<End> {
        if let Err(refusal) = self.conversation.session.check_batch() {
            return self.reject(None, &refusal).await;
        }
        for message in messages {
            match message {
                Ok(message) => self.pass_on(message).await,
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
        self.say_no(id, refusal).await
    }

    /// Answers what is no part of the session's log.
    async fn say_no(&mut self, id: Option<&Id>, refusal: &Refusal) -> Option<End> {
        let response = refusal.to_response(id, &request_id());
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

fn text_of(text: ByteString) -> Utf8Bytes {
    // The bytes are UTF-8 already; the check that the conversion repeats cannot fail.
    Utf8Bytes::try_from(text.into_bytes()).unwrap_or_default()
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
