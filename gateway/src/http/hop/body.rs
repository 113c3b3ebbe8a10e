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
        let breaks = tokens.map(|it| Box::pin(it.cancelled_owned())).collect();
        Self { body, breaks, _counted: counted }
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
        let mut breaks = self.breaks.iter_mut();
        if polled.is_pending() && breaks.any(|it| it.poll_unpin(context).is_ready()) {
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
