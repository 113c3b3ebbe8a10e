//! A WebSocket, seen from a client: one JSON-RPC message in each text frame.
//!
//! No revision of MCP defines this transport; clients and servers in use agree on the subprotocol
//! `mcp` and on this framing. Speaking and listening are two halves, so that a server that waits
//! to be listened to before it listens itself does not block for ever.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, Request, Uri};
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::http::{BadTarget, Client, HttpFault, Socket, Target};
use crate::config::limits::remote::FAULT_BODY_BYTES;
use crate::config::limits::websocket::SERVER_READ_BYTES;

/// Where a WebSocket server is, prepared once.
#[derive(Clone, Debug)]
pub struct Address {
    uri: Uri,
    target: Target,
}

/// The half that writes.
#[derive(Debug)]
pub struct Speaker {
    sink: SplitSink<WebSocketStream<Socket>, Message>,
}

/// The half that reads.
#[derive(Debug)]
pub struct Listener {
    stream: SplitStream<WebSocketStream<Socket>>,
}

/// What came from the server.
#[derive(Debug)]
pub enum Heard {
    /// A text frame: UTF-8, nothing else was checked.
    Text(Bytes),
    /// A sign of life. A ping was answered.
    Sign,
    /// The conversation is over. Comes again when asked again.
    End(Ending),
}

/// Why a conversation is over. `Display` continues "the server…".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server closed it.
    Closed {
        /// The code it gave (RFC 6455 section 7.4); 1005 when it gave none.
        code: u16,
        /// The reason it gave, escaped.
        reason: String,
    },
    /// The connection broke.
    Broken(String),
    /// A binary frame came: messages are text.
    Binary,
    /// A message was beyond the limit, so that reading cannot go on.
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// What came is no WebSocket protocol.
    Fault(String),
}

impl Address {
    /// Checks the server's address and prepares its headers.
    ///
    /// # Errors
    /// `url` is not an absolute ws or wss address; else as [`Target::new`].
    pub fn new<'a>(
        url: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, BadTarget> {
        // The address to connect to: ws is http, and wss is https, until the upgrade.
        let dialled = match url.strip_prefix("ws") {
            Some(rest) => format!("http{rest}"),
            None => url.to_owned(),
        };
        let target = Target::new(&dialled, headers)?;
        let uri = url.parse().unwrap_or_else(|_checked_above| target.uri().clone());
        Ok(Self { uri, target })
    }

    /// The address as it was written.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The request that asks for the upgrade.
    fn opening(&self, protocol: Option<&str>) -> Request<()> {
        let mut request = Request::new(());
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        *headers = self.target.headers_without_body();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        if let Ok(key) = HeaderValue::from_str(&generate_key()) {
            headers.insert(SEC_WEBSOCKET_KEY, key);
        }
        if let Some(Ok(protocol)) = protocol.map(HeaderValue::from_str) {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        request
    }
}

/// Connects, and offers the subprotocol `mcp`. A server that knows no subprotocols is asked again
/// without: nothing was said to it yet.
///
/// It sets no deadline beyond the one for connecting: the caller does.
///
/// # Errors
/// See [`HttpFault`]: no connection, a status other than 101, an upgrade that breaks the rules.
///
/// # Cancel safety
/// Dropping it gives the connection up.
pub async fn connect(
    client: &Client,
    address: &Address,
    limit_bytes: usize,
) -> Result<(Speaker, Listener), HttpFault> {
    let mut upgraded = upgrade(client, address, Some("mcp"), limit_bytes).await?;
    if let Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(
        SubProtocolError::NoSubProtocol,
    ))) = &upgraded
    {
        upgraded = upgrade(client, address, None, limit_bytes).await?;
    }
    let stream = upgraded.map_err(|error| not_upgraded(address, error))?;
    let (sink, stream) = stream.split();
    Ok((Speaker { sink }, Listener { stream }))
}

/// As [`connect`], with this subprotocol or none, and no second try.
///
/// # Errors
/// See [`HttpFault`].
///
/// # Cancel safety
/// Dropping it gives the connection up.
pub async fn connect_as(
    client: &Client,
    address: &Address,
    protocol: Option<&str>,
    limit_bytes: usize,
) -> Result<(Speaker, Listener), HttpFault> {
    let upgraded = upgrade(client, address, protocol, limit_bytes).await?;
    let stream = upgraded.map_err(|error| not_upgraded(address, error))?;
    let (sink, stream) = stream.split();
    Ok((Speaker { sink }, Listener { stream }))
}

async fn upgrade(
    client: &Client,
    address: &Address,
    protocol: Option<&str>,
    limit_bytes: usize,
) -> Result<Result<WebSocketStream<Socket>, Error>, HttpFault> {
    let socket = client.dial(&address.target).await?;
    let config = WebSocketConfig::default()
        .read_buffer_size(SERVER_READ_BYTES)
        .max_message_size(Some(limit_bytes))
        .max_frame_size(Some(limit_bytes));
    let upgrading = client_async_with_config(address.opening(protocol), socket, Some(config));
    // The handshake holds its whole buffer; it is done with before the first message.
    Ok(Box::pin(upgrading).await.map(|(stream, _response)| stream))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are told by their own text")]
fn not_upgraded(address: &Address, error: Error) -> HttpFault {
    let host = address.target.authority();
    match error {
        Error::Http(response) => {
            let code = response.status().as_u16();
            let body = Bytes::from(response.into_body().unwrap_or_default());
            let body = body.slice(..body.len().min(FAULT_BODY_BYTES));
            HttpFault::Status { code, body, retry_after: None }
        }
        Error::Io(error) => HttpFault::Lost(format!("{host}: {error}")),
        error => HttpFault::Protocol(format!("{host} is no WebSocket server: {error}")),
    }
}

impl Speaker {
    /// Writes a message; it may wait in a buffer until [`flush`](Self::flush).
    ///
    /// # Errors
    /// The connection does not take it.
    ///
    /// # Cancel safety
    /// Whether the message was written is not known after dropping it.
    pub async fn write(&mut self, text: ByteString) -> Result<(), Ending> {
        let text = Utf8Bytes::try_from(text.into_bytes())
            .map_err(|error| Ending::Fault(error.to_string()))?;
        self.sink.feed(Message::Text(text)).await.map_err(ending)
    }

    /// Sends what was written.
    ///
    /// # Errors
    /// The connection does not take it.
    ///
    /// # Cancel safety
    /// Calling it again goes on.
    pub async fn flush(&mut self) -> Result<(), Ending> {
        self.sink.flush().await.map_err(ending)
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// The connection does not take it.
    ///
    /// # Cancel safety
    /// Whether the ping was sent is not known after dropping it.
    pub async fn ping(&mut self) -> Result<(), Ending> {
        self.sink.send(Message::Ping(Bytes::new())).await.map_err(ending)
    }

    /// Closes the conversation with this code (RFC 6455 section 7.4).
    ///
    /// # Errors
    /// The connection does not take it.
    ///
    /// # Cancel safety
    /// Whether the frame was sent is not known after dropping it.
    pub async fn close(&mut self, code: u16) -> Result<(), Ending> {
        let frame = CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::default() };
        self.sink.send(Message::Close(Some(frame))).await.map_err(ending)
    }
}

impl Listener {
    /// Waits for what comes next.
    ///
    /// # Cancel safety
    /// Cancel-safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Heard {
        match self.stream.next().await {
            Some(Ok(Message::Text(text))) => Heard::Text(Bytes::from(text)),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Heard::Sign,
            Some(Ok(Message::Binary(_))) => Heard::End(Ending::Binary),
            Some(Ok(Message::Close(frame))) => Heard::End(closed(frame)),
            Some(Err(error)) => Heard::End(ending(error)),
            None => Heard::End(Ending::Broken("the connection ended".to_owned())),
        }
    }
}

impl Ending {
    /// The code to answer it with; `None` when the server closed or is gone.
    #[must_use]
    pub fn answer_code(&self) -> Option<u16> {
        match self {
            Self::Closed { .. } | Self::Broken(_) => None,
            Self::Binary => Some(CloseCode::Unsupported.into()),
            Self::TooLong { .. } => Some(CloseCode::Size.into()),
            Self::Fault(_) => Some(CloseCode::Protocol.into()),
        }
    }

    /// Whether the server broke a rule, as opposed to having ended.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Binary | Self::Fault(_))
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { code, reason } => {
                write!(f, "closed the WebSocket with code {code} ({})", meaning(*code))?;
                if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
            }
            Self::Broken(what) => write!(f, "is gone: {what}"),
            Self::Binary => f.write_str("sent a binary frame; a message is a text frame"),
            Self::TooLong { limit } => {
                write!(f, "sent a message beyond {limit} bytes (limits.line_bytes)")
            }
            Self::Fault(what) => write!(f, "broke the WebSocket protocol: {what}"),
        }
    }
}

fn closed(frame: Option<CloseFrame>) -> Ending {
    match frame {
        Some(CloseFrame { code, reason }) => {
            let reason = reason.as_str().escape_debug().to_string();
            Ending::Closed { code: code.into(), reason }
        }
        None => Ending::Closed { code: CloseCode::Status.into(), reason: String::new() },
    }
}

/// What a close code says (RFC 6455 section 7.4.1 and the registry it founded).
fn meaning(code: u16) -> &'static str {
    match code {
        1000 => "normal",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1005 => "no code",
        1007 => "invalid text",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "extension missing",
        1011 => "internal error",
        1012 => "restarting",
        1013 => "try again later",
        1014 => "bad gateway",
        3000 => "unauthorized",
        3003 => "forbidden",
        3008 => "timeout",
        4000..=4999 => "private code",
        _ => "unknown code",
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are told by their own text")]
fn ending(error: Error) -> Ending {
    match error {
        Error::Capacity(tungstenite::error::CapacityError::MessageTooLong { max_size, .. }) => {
            Ending::TooLong { limit: max_size }
        }
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            Ending::Broken("the connection broke off".to_owned())
        }
        Error::Protocol(_) | Error::Utf8(_) => Ending::Fault(error.to_string()),
        error => Ending::Broken(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
