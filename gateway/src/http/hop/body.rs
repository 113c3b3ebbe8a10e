//! The body of another replica's answer, passed on as it comes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::relay::exchange::InFlight;
use crate::transport::http::Answering;

/// Breaks off with the other replica's connection, when that replica is gone, and when this one
/// ends: a client that sees its stream break comes back, and one that sees it end may not.
pub(super) struct Relayed {
    body: Answering,
    tokens: Vec<CancellationToken>,
    /// One for each token, made when there is something to wait for: most answers come at once.
    breaks: Vec<Pin<Box<WaitForCancellationFutureOwned>>>,
    _counted: Option<InFlight>,
}

/// Why an answer breaks off.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// Its connection did.
    #[error(transparent)]
    Connection(#[from] hyper::Error),
    /// The replica that gave it is gone, or this one is about to be.
    #[error("a replica is gone")]
    Replica,
}

impl Relayed {
    /// Breaks off when any of `tokens` fires.
    pub(super) fn new(
        body: Answering,
        counted: Option<InFlight>,
        tokens: impl Iterator<Item = CancellationToken>,
    ) -> Self {
        Self { body, tokens: tokens.collect(), breaks: Vec::new(), _counted: counted }
    }

    /// Whether it breaks off here.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let waits = self.tokens.drain(..).map(|it| Box::pin(it.cancelled_owned()));
        self.breaks.extend(waits);
        self.breaks.iter_mut().any(|it| it.poll_unpin(context).is_ready())
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context).map_err(Broken::from);
        if polled.is_pending() && self.is_over(context) {
            return Poll::Ready(Some(Err(Broken::Replica)));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
