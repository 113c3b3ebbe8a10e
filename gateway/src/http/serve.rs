//! The accept loop: every connection has its deadlines, every listener a cap, and shutdown a
//! deadline that an open stream cannot hold up.
//!
//! `axum::serve` has no deadlines, and waits for open streams for ever; hence a loop of our own.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::limits::client::{
    ACCEPT_LAST, ACCEPT_QUIET, ACCEPT_REST, CLOSE_WAIT, FIRST_REQUEST, HEAD_BYTES, HEADERS_MAX,
    IDLE, UNACKNOWLEDGED, WRITE_STALL,
};
use crate::http::exchange::{self, Line};
use crate::http::guard::Surface;
use crate::http::socket::{Patience, Socket};
use crate::supervise::Tasks;
use crate::telemetry::metrics::{Metrics, Traffic};

/// A listener and what is served on it.
#[derive(Debug)]
pub struct Door {
    /// Bound and listening.
    pub listener: TcpListener,
    /// What is behind it.
    pub surface: Surface,
    /// Connections at the same time.
    pub connections: usize,
    /// Time for the head of a request.
    pub header_timeout: Duration,
    /// Counts the bytes of its connections, when they are clients'.
    pub traffic: Option<Traffic>,
}

/// Who is at the other end of a request's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// When a door closes.
#[derive(Clone, Debug, Default)]
pub struct Closing {
    /// No connection is kept any more: each ends with its next answer. Every request looks here,
    /// and none may wait for another's look.
    pub is_parting: Arc<AtomicBool>,
    /// No connection is accepted any more.
    pub accepting: CancellationToken,
    /// Open connections finish what they are at and close.
    pub serving: CancellationToken,
}

/// Accepts connections until told to stop.
pub async fn serve(door: Door, tasks: Tasks, metrics: Arc<Metrics>, closing: Closing) {
    let places = Arc::new(Semaphore::new(door.connections));
    let mut http = http1::Builder::new();
    // hyper's own timer for heads also runs between two requests; `Socket` tells them apart.
    http.header_read_timeout(None).max_buf_size(HEAD_BYTES).max_headers(HEADERS_MAX);
    let http = Arc::new(http);
    let surface = Arc::new(door.surface);
    let patience = Patience { head: door.header_timeout, idle: IDLE, write: WRITE_STALL };
    let mut last = None;
    while let Some(accepted) = next(&door.listener, &closing, &mut last).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(fault) => {
                tracing::error!(%fault, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            metrics.connections_refused.inc();
            continue;
        };
        let place = (place, door.traffic.clone());
        let connection = Connection { stream, peer, place, patience };
        let holding = connection.hold(http.clone(), surface.clone(), closing.clone());
        tasks.spawn("connection", holding);
    }
}

/// The next connection; `None` once the door is to be closed and nobody waits in front of it: what
/// the system has answered already would be cut off with the listener, with a request maybe.
async fn next(
    listener: &TcpListener,
    closing: &Closing,
    last: &mut Option<Instant>,
) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    if last.is_none() {
        tokio::select! {
            accepted = listener.accept() => return Some(accepted),
            () = closing.accepting.cancelled() => {}
        }
    }
    let last = *last.get_or_insert_with(|| Instant::now() + ACCEPT_LAST);
    let quiet = ACCEPT_QUIET.min(last.saturating_duration_since(Instant::now()));
    tokio::time::timeout(quiet, listener.accept()).await.ok()
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    place: (OwnedSemaphorePermit, Option<Traffic>),
    patience: Patience,
}

impl Connection {
    async fn hold(self, http: Arc<http1::Builder>, surface: Arc<Surface>, closing: Closing) {
        if let Err(fault) = tune(&self.stream) {
            tracing::debug!(%fault, "a connection's socket could not be set up");
        }
        let line = Arc::new(Line::default());
        let socket = Socket::new(self.stream, line.clone(), self.patience, self.place);
        let peer = Peer(self.peer);
        let begun = CancellationToken::new();
        let first = begun.clone();
        let service = service_fn(move |request| {
            first.cancel();
            let (mut request, answer) = exchange::begin(&line, request);
            request.extensions_mut().insert(peer);
            let (surface, is_parting) = (surface.clone(), closing.is_parting.clone());
            async move {
                let mut response = surface.answer(request).await;
                // Who keeps the connection would send its next request just when that is closed,
                // and could not know whether the request was carried out (RFC 9112 §9.6).
                let is_last = is_parting.load(Ordering::Relaxed);
                if is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer(response))
            }
        });
        let serving = http.serve_connection(TokioIo::new(socket), service).with_upgrades();
        tokio::pin!(serving);
        let outcome = tokio::select! {
            outcome = serving.as_mut() => outcome,
            () = is_over(&closing.serving, &begun) => {
                serving.as_mut().graceful_shutdown();
                match tokio::time::timeout(CLOSE_WAIT, serving).await {
                    Ok(outcome) => outcome,
                    Err(_elapsed) => return,
                }
            }
        };
        if let Err(fault) = outcome {
            tracing::debug!(peer = %self.peer, %fault, "a connection ended early");
        }
    }
}

/// Waits until a connection has to end. One that was just let in may have its first request on the
/// way.
async fn is_over(serving: &CancellationToken, begun: &CancellationToken) {
    serving.cancelled().await;
    let _late = tokio::time::timeout(FIRST_REQUEST, begun.cancelled()).await;
}

/// Sends what there is at once, and gives up on a machine that acknowledges nothing.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sockets_are_tuned() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, _client) = tokio::join!(listener.accept(), client);
        let (stream, _) = accepted.unwrap();
        tune(&stream).unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!(SockRef::from(&stream).tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
    }
}
