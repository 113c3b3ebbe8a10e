//! How a conversation over a socket ends, and how its client is told.

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::Socket;
use crate::config::limits::websocket::{CLOSE_WAIT, WRITE_TIMEOUT};
use crate::http::frames::Breach;

/// Why a conversation over a socket ends.
pub(super) enum End {
    /// The client is gone.
    Gone,
    /// The client closed it; its own code is to be sent back (RFC 6455 §5.5.1). Whether it is done
    /// with its session as well, the code says (1000).
    Closed { is_done: bool },
    /// The client has to connect again, to go on with its session.
    Leave,
    /// We close it.
    Close(u16, &'static str),
}

/// Close codes of RFC 6455 §7.4.1 and its registry.
pub(super) mod code {
    pub(in crate::http::ws) const NORMAL: u16 = 1000;
    pub(in crate::http::ws) const GOING_AWAY: u16 = 1001;
    pub(in crate::http::ws) const PROTOCOL: u16 = 1002;
    pub(in crate::http::ws) const UNSUPPORTED: u16 = 1003;
    pub(in crate::http::ws) const INVALID_TEXT: u16 = 1007;
    pub(in crate::http::ws) const POLICY: u16 = 1008;
    pub(in crate::http::ws) const TOO_BIG: u16 = 1009;
    pub(in crate::http::ws) const RESTART: u16 = 1012;
}

/// Says why, and waits for the client to take leave.
pub(super) async fn close(socket: &mut Socket, end: &End) {
    let closing = match end {
        End::Gone | End::Leave => return,
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

/// Sends a frame; the end, when the client does not take it.
pub(super) async fn send(socket: &mut Socket, frame: Frame) -> Option<End> {
    match timeout(WRITE_TIMEOUT, socket.send(frame)).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) | Err(_) => Some(End::Gone),
    }
}

/// What broken frames are closed with (RFC 6455 §7.4.1).
#[expect(clippy::wildcard_enum_match_arm, reason = "with any other fault the client is gone")]
pub(super) fn broken(fault: &Error) -> End {
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
