//! An upstream over one long connection: a bounded queue, and one task that holds the connection.
//!
//! What is common to HTTP+SSE and WebSocket servers: how messages are queued, and what callers are
//! told when the connection ends. What was never taken from the queue was surely not sent; whether
//! anything else was carried out is not known.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use tokio::sync::mpsc;
use tokio::time::timeout;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::backend::context::Context;
use crate::backend::refusals;
use crate::backend::server::Facts;
use crate::backend::upstream::{NotSent, Owner, Pipe, Upstream};
use crate::config::limits::client::RETRY_SOON;
use crate::config::limits::remote::QUEUE_MESSAGES;
use crate::transport::http::HttpFault;

/// A connection, seen from an upstream.
#[derive(Debug)]
pub struct LinkPipe {
    queue: mpsc::Sender<Letter>,
    url: String,
}

/// A message on its way to the server.
#[derive(Debug)]
pub(crate) struct Letter {
    /// The call it carries.
    pub number: Option<u64>,
    /// The message.
    pub text: ByteString,
}

/// Why a connection is over.
#[derive(Debug)]
pub(crate) enum End {
    /// It ended or broke; the text continues "server x…".
    Lost(String),
    /// The server broke the rules of the transport.
    Fault(String),
}

/// A connection to a server.
pub(crate) trait Link: Send + 'static {
    /// The name of its task.
    const TASK: &'static str;

    /// Carries letters to the server and what it says to the upstream, until the connection is
    /// over. Dropped when the upstream is closed.
    fn carry(
        &mut self,
        upstream: &Arc<Upstream>,
        letters: &mut mpsc::Receiver<Letter>,
    ) -> impl Future<Output = End> + Send;

    /// Takes leave of the server, within a few seconds.
    fn close(self) -> impl Future<Output = ()> + Send;
}

impl LinkPipe {
    /// Puts a message into the queue.
    pub(crate) fn send(&self, number: Option<u64>, text: ByteString) -> Result<(), NotSent> {
        self.queue.try_send(Letter { number, text }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotSent::Full,
            mpsc::error::TrySendError::Closed(_) => NotSent::Closed,
        })
    }

    /// Puts a message into the queue as soon as there is room, within `limit`.
    pub(crate) async fn send_within(
        &self,
        number: Option<u64>,
        text: ByteString,
        limit: Duration,
    ) -> Result<(), NotSent> {
        self.queue.send_timeout(Letter { number, text }, limit).await.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => NotSent::Full,
            mpsc::error::SendTimeoutError::Closed(_) => NotSent::Closed,
        })
    }

    /// Whether messages can still be queued.
    pub(super) fn takes_messages(&self) -> bool {
        !self.queue.is_closed()
    }

    /// How many messages wait to be sent.
    pub(super) fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// The configured address.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Waits until a connection is open, within `limit`; `wanted` is what the server has to offer.
///
/// # Errors
/// It is not. Nothing was sent then.
///
/// # Cancel safety
/// As that of `opening`.
pub(crate) async fn open<T>(
    facts: &Facts,
    wanted: &str,
    limit: Duration,
    opening: impl Future<Output = Result<T, HttpFault>>,
) -> Result<T, Refusal> {
    match timeout(limit, opening).await {
        Ok(opened) => opened.map_err(|fault| refusals::not_opened(&facts.id, &fault)),
        Err(_elapsed) => Err(refusals::not_opened_in(&facts.id, wanted, limit)),
    }
}

/// Makes an upstream of an open connection; it still has to be initialised.
pub(crate) fn start<L: Link>(
    facts: &Arc<Facts>,
    url: &str,
    (context, owner): (&Arc<Context>, Owner),
    link: L,
) -> Arc<Upstream> {
    let (queue, letters) = mpsc::channel(QUEUE_MESSAGES);
    let pipe = Pipe::Link(LinkPipe { queue, url: url.to_owned() });
    let upstream = Upstream::new(facts.clone(), context.clone(), owner, pipe);
    tracing::info!(server = facts.id, "connected");
    context.tasks.spawn(L::TASK, run(upstream.clone(), link, letters));
    upstream
}

async fn run<L: Link>(upstream: Arc<Upstream>, mut link: L, mut letters: mpsc::Receiver<Letter>) {
    let closed = upstream.closed().clone();
    let end = tokio::select! {
        end = link.carry(&upstream, &mut letters) => Some(end),
        () = closed.cancelled() => None,
    };
    match end {
        Some(end) => give_up(&upstream, &mut letters, end),
        None => tracing::info!(server = upstream.facts.id, "connection closed"),
    }
    link.close().await;
}

/// Tells every caller what became of its call.
fn give_up(upstream: &Arc<Upstream>, letters: &mut mpsc::Receiver<Letter>, end: End) {
    let server = &upstream.facts.id;
    let (why, reason) = match end {
        End::Lost(why) => (why, Reason::OutcomeUnknown),
        End::Fault(why) => (why, Reason::BackendProtocol),
    };
    let asked = !upstream.is_open();
    if !asked {
        tracing::warn!(server, why, "the connection ended by itself");
    }
    letters.close();
    let unsent = format!("server {server:?} {why}; this request was not sent");
    let unsent = Refusal::new(Reason::BackendUnavailable, unsent).retry_after(RETRY_SOON);
    while let Ok(letter) = letters.try_recv() {
        letter.number.into_iter().for_each(|number| upstream.fail(number, &unsent));
    }
    if reason == Reason::BackendProtocol {
        let what =
            format!("server {server:?} {why}; whether the request was carried out is unknown");
        upstream.fail_all(&Refusal::new(reason, what).dispatched(Dispatched::Unknown));
    }
    upstream.close(format!("it {why}"));
    if !asked {
        upstream.tell_lists_changed();
    }
}
