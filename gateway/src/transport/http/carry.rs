//! Requests that are passed on as they are, with whatever answer comes, and upgrades.
//!
//! Between replicas nothing is read of an answer: its body goes on as it comes, no faster than it
//! is taken, and dropping it closes the connection it comes on.

use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::connect::Socket;
pub use super::connection::Answering;
use super::{Client, HttpFault, Target, prepare};
use crate::config::limits::hop::{REFUSAL_BYTES, UPGRADE_TIMEOUT};

/// Why a request that was to be passed on has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarryFault {
    /// Nobody listens there: it surely was not sent.
    #[error("{0}")]
    Refused(String),
    /// No connection: it surely was not sent.
    #[error("{0}")]
    Unreached(String),
    /// It failed after sending had begun.
    #[error("{0}")]
    Lost(String),
}

/// A connection, whatever it is made of.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

/// What came of asking for another protocol.
pub enum Upgrade {
    /// It is spoken from here on: the head of the answer, the connection, and what was read of it
    /// already.
    Agreed(Response<()>, Box<dyn Duplex>, Bytes),
    /// It is not; the answer.
    Denied(Response<Bytes>),
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Agreed(..) => "Agreed(…)",
            Self::Denied(_) => "Denied(…)",
        })
    }
}

impl Client {
    /// Sends a request with its own headers and no others but `Host`; its address is the target's.
    /// With `is_fresh` on a connection of its own: one that was kept could just be closing. Whoever
    /// gives up waiting for the answer is told by `is_out` whether something of the request may
    /// have been sent.
    ///
    /// # Errors
    /// See [`CarryFault`].
    ///
    /// # Cancel safety
    /// As [`post`](Self::post).
    pub async fn carry(
        &self,
        target: &Target,
        request: Request<Bytes>,
        is_fresh: bool,
        is_out: &AtomicBool,
    ) -> Result<Response<Answering>, CarryFault> {
        let request = request.map(Full::new);
        let tries = if is_fresh { 1 } else { super::FRESH_TRIES };
        match self.send_with(target, request, tries, is_out).await {
            Ok(response) => Ok(response),
            Err(HttpFault::NotSent(told)) => Err(self.unreached(target, told).await),
            Err(fault) => Err(CarryFault::Lost(fault.to_string())),
        }
    }

    /// Asks for another protocol on a connection of its own.
    ///
    /// # Errors
    /// See [`CarryFault`].
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub async fn upgrade(
        &self,
        target: &Target,
        headers: HeaderMap,
    ) -> Result<Upgrade, CarryFault> {
        let socket = match self.dial(target).await {
            Ok(socket) => socket,
            Err(fault) => return Err(self.unreached(target, fault.to_string()).await),
        };
        let shaking = Box::pin(shake_hands(socket, target, headers));
        match timeout(UPGRADE_TIMEOUT, shaking).await {
            Ok(Ok(upgrade)) => Ok(upgrade),
            Ok(Err(error)) => Err(CarryFault::Lost(error.to_string())),
            Err(_elapsed) => Err(CarryFault::Lost("no answer to an upgrade".to_owned())),
        }
    }

    /// Tells an address that nobody listens at from one that cannot be reached.
    async fn unreached(&self, target: &Target, told: String) -> CarryFault {
        let connecting = self.connector.stream(target.uri(), |tls| &tls.sockets);
        match timeout(self.connect_timeout, Box::pin(connecting)).await {
            Ok(Err(error)) if is_refusal(&*error) => CarryFault::Refused(told),
            Ok(Ok(_) | Err(_)) | Err(_) => CarryFault::Unreached(told),
        }
    }
}

fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

async fn shake_hands(
    socket: Socket,
    target: &Target,
    headers: HeaderMap,
) -> Result<Upgrade, Box<dyn Error + Send + Sync>> {
    let mut request = prepare(Method::GET, headers, Bytes::new());
    *request.uri_mut() = target.path().clone();
    if let Some(host) = target.headers().get(http::header::HOST) {
        request.headers_mut().insert(http::header::HOST, host.clone());
    }
    let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(socket.into_inner()).await?;
    let mut driving = pin!(connection.without_shutdown());
    let answer = {
        let asking = pin!(sender.send_request(request));
        match select(asking, driving.as_mut()).await {
            Either::Left((answer, _)) => answer?,
            // The connection is handed out as soon as the protocol changes.
            Either::Right((parts, asking)) => {
                let parts = parts?;
                let (head, _) = asking.await?.into_parts();
                let socket = Box::new(Socket::new(parts.io));
                return Ok(Upgrade::Agreed(Response::from_parts(head, ()), socket, parts.read_buf));
            }
        }
    };
    let (head, body) = answer.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let parts = driving.await?;
        let socket = Box::new(Socket::new(parts.io));
        return Ok(Upgrade::Agreed(Response::from_parts(head, ()), socket, parts.read_buf));
    }
    let reading = pin!(Limited::new(body, REFUSAL_BYTES).collect());
    let body = match select(reading, driving).await {
        Either::Left((body, _)) => body?.to_bytes(),
        Either::Right((_, reading)) => reading.await?.to_bytes(),
    };
    Ok(Upgrade::Denied(Response::from_parts(head, body)))
}
