//! One connection to a server, the exchanges it carries, and the answers that come on it.
//!
//! An HTTP/1.1 connection carries one exchange at a time, and whoever holds it drives it: the
//! task that sends the request reads the answer from the socket itself. While it lies in the
//! [`Pool`] nobody does. An HTTP/2 connection carries many exchanges and is driven by a task of
//! its own.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::Stream;
use super::pool::Pool;
use super::target::Target;
use crate::config::limits::remote::PROBE_INTERVAL;

/// A request's body: one piece, or none.
pub(super) type Outgoing = Full<Bytes>;

/// A connection that a request can be sent on.
#[derive(Debug)]
pub(super) enum Connection {
    /// HTTP/1.1.
    Single(Box<Single>),
    /// HTTP/2. Clones share the connection.
    Shared(http2::SendRequest<Outgoing>),
}

/// A connection for one exchange at a time.
#[derive(Debug)]
pub(super) struct Single {
    sender: http1::SendRequest<Outgoing>,
    /// Gone when the connection is over.
    driver: Option<http1::Connection<Stream, Outgoing>>,
}

/// An answer's body. When nothing more of it is to come, the connection is there for others again;
/// dropped before that, it closes the connection.
#[derive(Debug)]
pub struct Answering {
    incoming: Incoming,
    /// What it comes on, and where that belongs: gone once it is back there, and none with HTTP/2.
    held: Option<(Box<Single>, Arc<Pool>, Arc<str>)>,
}

impl Connection {
    /// Begins to speak HTTP/1.1 on a stream.
    pub(super) async fn single(stream: Stream) -> hyper::Result<Self> {
        let (sender, driver) = http1::handshake(stream).await?;
        Ok(Self::Single(Box::new(Single { sender, driver: Some(driver) })))
    }

    /// Begins to speak HTTP/2 on a stream.
    pub(super) async fn shared(stream: Stream) -> hyper::Result<Self> {
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PROBE_INTERVAL)
            .handshake(stream)
            .await?;
        hyper::rt::Executor::execute(&TokioExecutor::new(), async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "an HTTP/2 connection broke");
            }
        });
        Ok(Self::Shared(sender))
    }

    /// The same connection for another exchange, where it can carry several.
    pub(super) fn share(&self) -> Option<Self> {
        match self {
            Self::Single(_) => None,
            Self::Shared(sender) => Some(Self::Shared(sender.clone())),
        }
    }

    /// Whether a request can be sent on it, as far as is known.
    pub(super) fn is_usable(&mut self) -> bool {
        match self {
            Self::Single(single) => single.is_usable(),
            Self::Shared(sender) => sender.is_ready(),
        }
    }

    /// Sends a request and waits for the head of its answer. The connection goes into `pool` when
    /// the body of the answer has ended.
    ///
    /// # Errors
    /// A request that comes back with the error was surely not sent, not even in part.
    pub(super) async fn send(
        mut self,
        target: &Target,
        mut request: Request<Outgoing>,
        pool: &Arc<Pool>,
    ) -> Result<Response<Answering>, TrySendError<Request<Outgoing>>> {
        // The form of the address: RFC 9112 section 3.2.1, RFC 9113 section 8.3.1.
        let response = match &mut self {
            Self::Single(single) => {
                *request.uri_mut() = target.path().clone();
                // One that comes back from an HTTP/2 connection has lost it.
                if let Some(host) = target.headers().get(HOST) {
                    request.headers_mut().insert(HOST, host.clone());
                }
                single.send(request).await?
            }
            Self::Shared(sender) => {
                *request.uri_mut() = target.shared().clone();
                // `:authority` says it; common servers refuse a request that says it twice.
                request.headers_mut().remove(HOST);
                sender.try_send_request(request).await?
            }
        };
        let held = match self {
            Self::Single(single) => Some((single, Arc::clone(pool), Arc::clone(target.origin()))),
            Self::Shared(_) => None,
        };
        Ok(response.map(|incoming| Answering { incoming, held }))
    }
}

impl Single {
    async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|context| {
            drive(&mut self.driver, context);
            answer.as_mut().poll(context)
        })
        .await
    }

    /// Takes in what the server did meanwhile. Nobody waits, so nobody is to be woken.
    fn is_usable(&mut self) -> bool {
        drive(&mut self.driver, &mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }
}

/// Writes and reads what can be at the moment.
fn drive(driver: &mut Option<http1::Connection<Stream, Outgoing>>, context: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|it| Pin::new(it).poll(context).is_ready()) {
        *driver = None;
    }
}

impl Answering {
    fn give_back(&mut self) {
        if let Some((single, pool, origin)) = self.held.take() {
            pool.put(&origin, Connection::Single(single));
        }
    }
}

/// Who passes a body on asks for nothing more after the last byte of a length that was announced,
/// and for nothing at all where there is none: it never sees the end.
impl Drop for Answering {
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.give_back();
        }
    }
}

impl Body for Answering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let mut polled = Pin::new(&mut this.incoming).poll_frame(context);
        if polled.is_pending()
            && let Some((single, ..)) = &mut this.held
        {
            drive(&mut single.driver, context);
            polled = Pin::new(&mut this.incoming).poll_frame(context);
        }
        if matches!(polled, Poll::Ready(None)) {
            this.give_back();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
