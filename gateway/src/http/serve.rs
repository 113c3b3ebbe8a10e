//! The accept loop: every connection has a header deadline, every listener a cap, and shutdown a
//! deadline that an open stream cannot hold up.
//!
//! `axum::serve` gives hyper no timer, so that its header timeout never fires, and waits for open
//! streams for ever; hence a loop of our own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::supervise::Tasks;
use crate::telemetry::metrics::Metrics;

/// The longest head of a request, and the size of a connection's buffers.
const HEAD_BYTES: usize = 32 * 1024;
/// The most header lines of a request.
const HEADERS_MAX: usize = 100;
/// How long a client may leave what is being written to it unread once the gateway stops.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// How long accepting rests when the process is out of file descriptors.
const ACCEPT_REST: Duration = Duration::from_secs(1);

/// A listener and what is served on it.
#[derive(Debug)]
pub struct Door {
    /// Bound and listening.
    pub listener: TcpListener,
    /// What is behind it.
    pub router: Router,
    /// Connections at the same time.
    pub connections: usize,
    /// Time for the head of a request.
    pub header_timeout: Duration,
}

/// When a door closes.
#[derive(Clone, Debug, Default)]
pub struct Closing {
    /// No connection is accepted any more.
    pub accepting: CancellationToken,
    /// Open connections finish what they are at and close.
    pub serving: CancellationToken,
}

/// Accepts connections until told to stop.
pub async fn serve(door: Door, tasks: Tasks, metrics: Arc<Metrics>, closing: Closing) {
    let places = Arc::new(Semaphore::new(door.connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(door.header_timeout)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS_MAX);
    let http = Arc::new(http);
    loop {
        let accepted = tokio::select! {
            accepted = door.listener.accept() => accepted,
            () = closing.accepting.cancelled() => return,
        };
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
        let connection = Connection { stream, peer, place };
        let router = door.router.clone();
        tasks.spawn("connection", connection.hold(http.clone(), router, closing.serving.clone()));
    }
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
}

impl Connection {
    async fn hold(self, http: Arc<http1::Builder>, router: Router, closing: CancellationToken) {
        let _place = self.place;
        if let Err(fault) = self.stream.set_nodelay(true) {
            tracing::debug!(%fault, "TCP_NODELAY could not be set");
        }
        let service = TowerToHyperService::new(router);
        let serving = http.serve_connection(TokioIo::new(self.stream), service).with_upgrades();
        tokio::pin!(serving);
        let outcome = tokio::select! {
            outcome = serving.as_mut() => outcome,
            () = closing.cancelled() => {
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
