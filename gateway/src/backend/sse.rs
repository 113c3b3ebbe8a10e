//! An upstream that is an HTTP+SSE session (revision 2024-11-05).
//!
//! Every message is a POST of its own, and every answer comes on the one event stream. Some
//! servers answer a POST only when they are done with the request, so requests are posted side by
//! side; what expects no answer is waited for, because order matters there (`initialized` comes
//! before the first call). The stream is the session: when it ends, so does the upstream.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::timeout;
use wire::refusal::{Dispatched, Reason, Refusal};

use crate::backend::context::Context;
use crate::backend::inbound::Source;
use crate::backend::link::{self, End, Letter, Link};
use crate::backend::server::Facts;
use crate::backend::upstream::{Owner, Upstream};
use crate::config::HttpConfig;
use crate::config::limits::client::RETRY_SOON;
use crate::config::limits::remote::{NOTE_TIMEOUT, POSTS_AT_ONCE};
use crate::telemetry::trail::Trail;
use crate::transport::http::{Client, HttpFault, Target};
use crate::transport::sse::{self, Messages};

/// Opens the event stream of one instance and waits for its `endpoint` event, within `limit`; the
/// upstream still has to be initialised.
///
/// # Errors
/// It cannot be reached, is no HTTP+SSE server, or names an address of another origin. Nothing was
/// sent then.
///
/// # Cancel safety
/// Dropping the future closes the stream.
pub(crate) async fn start(
    facts: &Arc<Facts>,
    url: &str,
    config: &HttpConfig,
    (context, owner): (&Arc<Context>, Owner),
    limit: Duration,
) -> Result<Arc<Upstream>, Refusal> {
    let opening = async {
        let target = Target::new(url, config.exposed_headers())
            .map_err(|fault| HttpFault::NotSent(fault.to_string()))?;
        sse::open(&context.http, &target).await
    };
    let (post, messages) = link::open(facts, "an `endpoint` event", limit, opening).await?;
    let link = SseLink { client: context.http.clone(), post: Arc::new(post), messages };
    Ok(link::start(facts, url, (context, owner), link))
}

struct SseLink {
    client: Client,
    post: Arc<Target>,
    messages: Messages,
}

/// How a POST ended; `None` when its time was up.
type Posted = (Option<u64>, Option<Result<(), HttpFault>>);

impl Link for SseLink {
    const TASK: &'static str = "sse-link";

    async fn carry(
        &mut self,
        upstream: &Arc<Upstream>,
        letters: &mut mpsc::Receiver<Letter>,
    ) -> End {
        let mut posts = FuturesUnordered::new();
        // Something is under way that nothing may overtake.
        let mut held = false;
        loop {
            tokio::select! {
                Some(letter) = letters.recv(), if !held && posts.len() < POSTS_AT_ONCE => {
                    held = letter.number.is_none();
                    let patience = upstream.facts.patience.total;
                    let trail = letter.number.and_then(|it| upstream.trail_of_call(it));
                    let posting = deliver(self.client.clone(), self.post.clone(), letter, patience);
                    posts.push(trail.unwrap_or_default().scope(posting));
                }
                Some((number, outcome)) = posts.next(), if !posts.is_empty() => {
                    held &= number.is_some();
                    if let Some(end) = posted(upstream, (number, outcome)) {
                        return end;
                    }
                }
                message = self.messages.next() => match message {
                    Some(Ok(text)) => upstream.receive(text.as_bytes(), Source::Pipe),
                    Some(Err(HttpFault::TooLarge)) => too_large(upstream),
                    Some(Err(fault)) => return End::Lost(format!("is gone: {fault}")),
                    None => return End::Lost("ended its event stream".to_owned()),
                },
            }
        }
    }

    /// Dropping the stream is how a client leaves.
    async fn close(self) {}
}

async fn deliver(client: Client, post: Arc<Target>, letter: Letter, patience: Duration) -> Posted {
    let Letter { number, text } = letter;
    let limit = number.map_or(NOTE_TIMEOUT, |_call| patience);
    let trail = Trail::current();
    let place = trail.trace().into_iter().flat_map(|trace| trace.headers());
    (number, timeout(limit, client.deliver_with(&post, place, text.into_bytes())).await.ok())
}

/// Looks at how a POST ended; whether the session is over with it.
fn posted(upstream: &Arc<Upstream>, (number, outcome): Posted) -> Option<End> {
    let server = &upstream.facts.id;
    match outcome {
        Some(Ok(())) => None,
        // The server does not know the session, so it has not carried the request out.
        Some(Err(HttpFault::Status { code: code @ (404 | 410), .. })) => {
            let why = format!("does not know the session any more (HTTP status {code})");
            let what = format!("server {server:?} {why}");
            let refusal = Refusal::new(Reason::BackendUnavailable, what);
            let refusal = refusal.retry_after(RETRY_SOON);
            number.into_iter().for_each(|number| upstream.fail(number, &refusal));
            Some(End::Lost(why))
        }
        Some(Err(fault)) => {
            upstream.post_failed(number, &fault);
            None
        }
        // A call's own time is up then, and it was answered.
        None => {
            tracing::warn!(server, "a POST was not answered in time");
            None
        }
    }
}

/// An event was skipped because of its length. Nothing tells whose answer it was, unless only one
/// is owed; the others keep waiting.
fn too_large(upstream: &Arc<Upstream>) {
    let server = &upstream.facts.id;
    let what = format!(
        "server {server:?} sent a message beyond {} bytes (limits.line_bytes)",
        upstream.context.limits.line_bytes
    );
    tracing::warn!(event = "backend_too_long", server, "{what}");
    let only = upstream.pending.lock().only();
    if let Some(number) = only {
        let refusal = Refusal::new(Reason::ResponseTooLarge, what);
        upstream.fail(number, &refusal.dispatched(Dispatched::Yes));
    }
}
