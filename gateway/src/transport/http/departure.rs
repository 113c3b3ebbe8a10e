//! The record of whether a request has left: kept by its body.
//!
//! hyper asks for a request's body in the same poll that writes its head into the connection's
//! buffer, and not before. So a body that was never asked for belongs to a request the backend has
//! not seen, whatever the error says; and withdrawing it keeps it that way, even when another
//! thread is about to ask. (Over HTTP/2 the head may be on its way by then. A request cut off
//! after its head is reset and never complete, so no backend can act on it.)

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

const WAITING: u8 = 0;
const GONE: u8 = 1;
const WITHDRAWN: u8 = 2;

/// Whether a body waits, has gone to a connection, or was withdrawn. The first change is final.
#[derive(Debug, Default)]
pub(super) struct Departure(AtomicU8);

impl Departure {
    /// Keeps the body from leaving. `false`: it has gone.
    pub(super) fn withdraw(&self) -> bool {
        self.settle(WITHDRAWN)
    }

    fn settle(&self, to: u8) -> bool {
        let settled = self.0.compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire);
        settled.map_or_else(|found| found == to, |_waiting| true)
    }
}

/// A request's body: one piece, or none.
#[derive(Debug)]
pub(super) struct Outgoing {
    data: Option<Bytes>,
    departure: Arc<Departure>,
}

impl Outgoing {
    pub(super) fn new(data: Bytes, departure: Arc<Departure>) -> Self {
        Self { data: Some(data), departure }
    }

    pub(super) fn empty() -> Self {
        Self { data: None, departure: Arc::default() }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let Some(data) = this.data.take() else { return Poll::Ready(None) };
        Poll::Ready(Some(if this.departure.settle(GONE) {
            Ok(Frame::data(data))
        } else {
            Err(io::Error::other("the request was withdrawn"))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_body_leaves_once_and_cannot_be_withdrawn_then() {
        let departure = Arc::new(Departure::default());
        let body = Outgoing::new(Bytes::from_static(b"{}"), Arc::clone(&departure));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "{}");
        assert!(!departure.withdraw());
    }

    #[tokio::test]
    async fn a_withdrawn_body_does_not_leave() {
        let departure = Arc::new(Departure::default());
        let body = Outgoing::new(Bytes::from_static(b"{}"), Arc::clone(&departure));
        assert!(departure.withdraw());
        assert!(departure.withdraw());
        assert!(body.collect().await.is_err());
    }
}
