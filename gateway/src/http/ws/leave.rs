//! A socket that is closed while its session goes on: its client is listened to until it has taken
//! leave, so that nothing it says before it has read the close is lost.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use http::Extensions;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_util::sync::CancellationToken;

use super::Talk;
use super::ending::{End, code};
use crate::config::limits::gateway::{STOP_FINISH, STOP_LOOK_EVERY, STOP_NOTICE};
use crate::config::limits::websocket::CLOSE_WAIT;
use crate::http::Edge;
use crate::http::hop::Via;
use crate::session::Session;
use crate::session::attendance::Attendance;

/// What may call a client away from its socket.
pub(super) struct Summons {
    session: Arc<Session>,
    attendance: Attendance,
    /// Fires when the replica is stopping that joins the client's connection to this one.
    via: Option<CancellationToken>,
}

impl Summons {
    /// From here on the session is not handed back before its socket was left.
    pub(super) async fn of(edge: &Edge, session: &Arc<Session>, extensions: &Extensions) -> Self {
        let attendance = session.attend();
        let via = match extensions.get::<Via>() {
            Some(Via(name)) => edge.relay.standing.watch_for_stop(name).await,
            None => None,
        };
        Self { session: session.clone(), attendance, via }
    }

    /// Waits until the client has to go.
    pub(super) async fn call(&self) {
        tokio::select! {
            () = self.attendance.dismissed() => {}
            () = self.via_stops() => {}
        }
    }

    async fn via_stops(&self) {
        let Some(via) = &self.via else { return std::future::pending().await };
        via.cancelled().await;
        let ready = async {
            // Until then it lets clients in, and this one would be back there at once.
            sleep(STOP_NOTICE).await;
            while self.is_called_for() {
                sleep(STOP_LOOK_EVERY).await;
            }
        };
        // The stop itself waits no longer, and then cuts the connection.
        timeout(STOP_FINISH.saturating_sub(CLOSE_WAIT), ready).await.ok();
    }

    /// Whether calls are in flight that end with the socket.
    fn is_called_for(&self) -> bool {
        let session = &self.session;
        session.has_asides() || !session.is_resumable() && session.in_flight() > 0
    }
}

impl Talk<'_> {
    /// Closes the socket, and takes in what its client says before it has read that. Requests that
    /// stand alone end with the socket, and none is begun.
    pub(super) async fn take_leave(&mut self) -> End {
        self.say_rest().await;
        self.is_leaving = true;
        let reason = "the gateway stops; connect again";
        let frame = CloseFrame { code: code::RESTART.into(), reason: reason.into() };
        let leaving = async {
            if self.socket.send(Frame::Close(Some(frame))).await.is_err() {
                return;
            }
            while let Some(Ok(frame)) = self.socket.next().await {
                // Nothing can be written any more, so a failed answer is no end; nor does the code
                // of the client's answer tell whether it is done with its session.
                if let Some(End::Closed { .. }) = self.take_in(frame).await {
                    return;
                }
            }
        };
        match timeout(CLOSE_WAIT, leaving).await {
            Ok(()) => End::Closed { is_done: false },
            Err(_elapsed) => End::Gone,
        }
    }
}
