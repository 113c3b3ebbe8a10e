//! An upstream that is a Streamable HTTP session (revisions 2025-03-26 to 2025-11-25).
//!
//! Each message is a POST of its own; an answer is one JSON text or an event stream. A stream
//! that breaks off before the answer is taken up again with `Last-Event-ID` (MCP 2025-11-25,
//! basic/transports, "Resumability and Redelivery"), never by sending the request again. What the
//! server says unasked comes on a GET stream.

mod exchange;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use wire::id::Id;
use wire::json;
use wire::message::{Notification, Request};
use wire::method::Method;
use wire::refusal::{Reason, Refusal};
use wire::sse::Event;

use crate::backend::context::Context;
use crate::backend::http::exchange::Exchange;
use crate::backend::inbound::Source;
use crate::backend::seat::Seat;
use crate::backend::server::Facts;
use crate::backend::upstream::{NotSent, Owner, Pipe, Upstream};
use crate::config::HttpConfig;
use crate::config::limits::remote::{
    NOTE_TIMEOUT, NOTES_MAX, RESUME_WAIT, RESUME_WAIT_MAX, RESUME_WAIT_MIN,
};
use crate::telemetry::trail::Trail;
use crate::transport::http::{
    Answer, AnswerKind, Client, EventStream, HttpFault, PROTOCOL_VERSION, SESSION_ID, Target,
};

/// An HTTP session, seen from an upstream.
#[derive(Debug)]
pub struct HttpPipe {
    client: Client,
    url: String,
    /// The endpoint, without what names the session.
    endpoint: Arc<Target>,
    peer: Mutex<Peer>,
    joining: tokio::sync::Mutex<()>,
    notes: Arc<Semaphore>,
}

/// What the server told of the session.
#[derive(Debug)]
struct Peer {
    /// The endpoint, with what names the session and the revision in every request.
    target: Arc<Target>,
    session_id: Option<String>,
    version: Option<String>,
    /// The `initialize` params, to be repeated when the server lost the session.
    params: Option<ByteString>,
}

/// Prepares the session of one instance; the upstream still has to be initialised.
///
/// # Errors
/// The URL or a header of the configuration cannot be used.
pub(crate) fn start(
    facts: &Arc<Facts>,
    url: &str,
    config: &HttpConfig,
    (context, owner): (&Arc<Context>, Owner),
) -> Result<Arc<Upstream>, Refusal> {
    let pipe = HttpPipe::new(facts, url, config, context)?;
    Ok(Upstream::new(facts.clone(), context.clone(), owner, Pipe::Http(Box::new(pipe))))
}

/// Goes on with a session that an instance keeps, as one that was initialised already; `params`
/// open another one when it does not know it.
///
/// # Errors
/// As [`start`].
pub(crate) fn rejoin(
    facts: &Arc<Facts>,
    config: &HttpConfig,
    (context, owner): (&Arc<Context>, Owner),
    (seat, params): (&Seat, &str),
) -> Result<Arc<Upstream>, Refusal> {
    let pipe = HttpPipe::seated(facts, config, context, seat)?;
    pipe.note(|peer| peer.params = Some(ByteString::from(params)));
    let pipe = Pipe::Http(Box::new(pipe));
    let upstream = Upstream::new(facts.clone(), context.clone(), owner, pipe);
    upstream.greet(ByteString::from(seat.hello.as_str()));
    if seat.is_introduced {
        upstream.resume();
    }
    Ok(upstream)
}

/// Ends a session that an instance keeps and nobody goes on with.
pub(crate) fn leave(facts: &Facts, config: &HttpConfig, context: &Context, seat: &Seat) {
    match HttpPipe::seated(facts, config, context, seat) {
        Ok(pipe) => pipe.close(context),
        Err(refusal) => tracing::debug!(error = refusal.message, "a server was not told"),
    }
}

impl HttpPipe {
    /// One that goes on with what an instance keeps.
    fn seated(
        facts: &Facts,
        config: &HttpConfig,
        context: &Context,
        seat: &Seat,
    ) -> Result<Self, Refusal> {
        let pipe = Self::new(facts, &seat.url, config, context)?;
        let version = json::member(&seat.hello, "protocolVersion").and_then(json::string);
        pipe.note(|peer| {
            peer.session_id = Some(seat.session_id.clone());
            peer.version = version.map(Cow::into_owned);
        });
        Ok(pipe)
    }

    fn new(
        facts: &Facts,
        url: &str,
        config: &HttpConfig,
        context: &Context,
    ) -> Result<Self, Refusal> {
        let headers = config.exposed_headers();
        let target = Target::new(url, headers).map_err(|fault| {
            Refusal::new(Reason::BackendUnavailable, format!("server {:?}: {fault}", facts.id))
        })?;
        let endpoint = Arc::new(target);
        let peer = Peer { target: endpoint.clone(), session_id: None, version: None, params: None };
        Ok(Self {
            client: context.http.clone(),
            url: url.to_owned(),
            endpoint,
            peer: Mutex::new(peer),
            joining: tokio::sync::Mutex::default(),
            notes: Arc::new(Semaphore::new(NOTES_MAX)),
        })
    }

    /// The endpoint.
    pub fn url(&self) -> String {
        self.endpoint.uri().to_string()
    }

    /// The instance, as the configuration names it.
    pub(super) fn instance(&self) -> &str {
        &self.url
    }

    /// Sends a request in a task of its own; it ends with the call.
    pub(crate) fn send_call(&self, upstream: &Arc<Upstream>, number: u64, text: ByteString) {
        let (ended, call_ended) = oneshot::channel();
        // A call that was taken out meanwhile has its answer, which says that it was not sent.
        let Some(trail) = upstream.pending.lock().note_exchange(number, ended) else { return };
        let exchange = Exchange { upstream: upstream.clone(), number: Some(number) };
        let running = trail.unwrap_or_default().scope(exchange.run(text, call_ended));
        upstream.context.tasks.spawn("http-exchange", running);
    }

    /// Sends a notification or a response in a task of its own, within a deadline.
    pub(crate) fn send_note(
        &self,
        upstream: &Arc<Upstream>,
        text: ByteString,
    ) -> Result<(), NotSent> {
        let place = self.notes.clone().try_acquire_owned().map_err(|_full| NotSent::Full)?;
        let exchange = Exchange { upstream: upstream.clone(), number: None };
        let closed = upstream.closed().clone().cancelled_owned();
        upstream.context.tasks.spawn("http-note", async move {
            let _place = place;
            let sent = exchange.run(text, closed);
            if tokio::time::timeout(NOTE_TIMEOUT, sent).await.is_err() {
                tracing::warn!("a notification was not taken in time");
            }
        });
        Ok(())
    }

    /// Sends `notifications/initialized`, then listens to what the server says unasked.
    pub(crate) async fn introduce(&self, upstream: &Arc<Upstream>, text: &ByteString) -> bool {
        let hello = upstream.hello();
        let version = json::member(&hello, "protocolVersion").and_then(json::string);
        self.note(|peer| peer.version = version.map(Cow::into_owned));
        let posted = tokio::time::timeout(NOTE_TIMEOUT, self.post(text)).await;
        self.listen(upstream);
        matches!(posted, Ok(Ok(_)))
    }

    /// Listens to what the server says unasked.
    pub(super) fn listen(&self, upstream: &Arc<Upstream>) {
        upstream.context.tasks.spawn("http-listen", listen(upstream.clone()));
    }

    /// Ends the session at the server (`DELETE`).
    pub(crate) fn close(&self, context: &Context) {
        let (client, target) = (self.client.clone(), self.target());
        if self.peer.lock().session_id.is_none() {
            return;
        }
        context.tasks.spawn("http-close", async move {
            let ended = tokio::time::timeout(NOTE_TIMEOUT, client.delete(&target)).await;
            if let Ok(Err(fault)) = ended {
                tracing::debug!(%fault, "the server's session could not be ended");
            }
        });
    }

    async fn post(&self, text: &ByteString) -> Result<Answer, HttpFault> {
        let trail = Trail::current();
        let place = trail.trace().into_iter().flat_map(|trace| trace.headers());
        self.client.post_with(&self.target(), place, text.as_bytes().clone()).await
    }

    fn target(&self) -> Arc<Target> {
        self.peer.lock().target.clone()
    }

    /// Notes what the server told, for every later request.
    fn note(&self, told: impl FnOnce(&mut Peer)) {
        let mut peer = self.peer.lock();
        told(&mut peer);
        let mut target = Target::clone(&self.endpoint);
        for (name, value) in [(SESSION_ID, &peer.session_id), (PROTOCOL_VERSION, &peer.version)] {
            if let Some(value) = value.as_deref().and_then(|it| HeaderValue::from_str(it).ok()) {
                target.set(name, value);
            }
        }
        peer.target = Arc::new(target);
    }

    pub(super) fn session_id(&self) -> Option<String> {
        self.peer.lock().session_id.clone()
    }

    /// The server no longer knows the session (404): opens another in its place, once for all
    /// who notice (MCP 2025-11-25, basic/transports, "Session Management").
    async fn rejoin(&self, lost: &str) -> Result<bool, HttpFault> {
        let _joining = self.joining.lock().await;
        if self.session_id().as_deref() != Some(lost) {
            return Ok(false);
        }
        let Some(params) = self.peer.lock().params.clone() else {
            return Err(HttpFault::Protocol("the session was never initialised".to_owned()));
        };
        let request = Request::new(&Id::number(0), Method::Initialize.name(), Some(&params));
        let text = request.text().as_bytes().clone();
        let answer = self.client.post(&self.endpoint, text).await?;
        let session_id = answer.session_id.clone();
        if !is_result(answer).await {
            let what = "the server lost the session and refused to open another";
            return Err(HttpFault::Protocol(what.to_owned()));
        }
        self.note(|peer| peer.session_id = session_id);
        let note = Notification::new(Method::Initialized.name(), None);
        self.post(note.text()).await?;
        Ok(true)
    }
}

/// Whether the answer to a single request is a result.
async fn is_result(answer: Answer) -> bool {
    let says_result = |text: &str| json::member(text, "result").is_some();
    match answer.kind {
        AnswerKind::Accepted => false,
        AnswerKind::Json(body) => std::str::from_utf8(&body).is_ok_and(says_result),
        AnswerKind::Stream(mut stream) => {
            while let Some(event) = next_that_fits(&mut stream).await {
                if says_result(&event.data) || json::member(&event.data, "error").is_some() {
                    return says_result(&event.data);
                }
            }
            false
        }
    }
}

/// The next event; `None` when the stream is over. One that is too long is left out, because a
/// server asked to go on from the event before it would only send it again.
async fn next_that_fits(stream: &mut EventStream) -> Option<Event> {
    loop {
        match stream.next().await? {
            Ok(event) => return Some(event),
            Err(HttpFault::TooLarge) => {
                tracing::warn!(event = "backend_too_long", "an event of a server was left out");
            }
            Err(fault) => {
                tracing::debug!(%fault, "an event stream broke off");
                return None;
            }
        }
    }
}

/// Reads what the server says unasked, for as long as the upstream is open.
async fn listen(upstream: Arc<Upstream>) {
    let closed = upstream.closed().clone();
    tokio::select! {
        () = listen_on(&upstream) => {}
        () = closed.cancelled() => {}
    }
}

async fn listen_on(upstream: &Arc<Upstream>) {
    let Pipe::Http(pipe) = &upstream.pipe else { return };
    let (mut last, mut wait) = (None::<String>, RESUME_WAIT);
    loop {
        match pipe.client.get_stream(&pipe.target(), last.as_deref()).await {
            Ok(None) => return,
            Ok(Some(mut stream)) => {
                while let Some(event) = next_that_fits(&mut stream).await {
                    wait = RESUME_WAIT;
                    if !event.data.is_empty() {
                        upstream.receive(event.data.as_bytes(), Source::Unasked);
                    }
                }
                last = stream.last_event_id().map(ToOwned::to_owned).or(last);
                wait = stream
                    .retry_ms()
                    .map_or(wait, Duration::from_millis)
                    .clamp(RESUME_WAIT_MIN, RESUME_WAIT_MAX);
            }
            // A lost session is joined anew by the next call; then the events begin anew as well.
            Err(HttpFault::Status { code: 400 | 404, .. }) => last = None,
            // The stream of a former owner of the session is not known to be gone yet.
            Err(HttpFault::Status { code: 409, .. }) => {}
            Err(HttpFault::Status { code, .. }) if code < 500 => {
                tracing::debug!(server = upstream.facts.id, code, "the server has no GET stream");
                return;
            }
            Err(fault) => {
                tracing::debug!(server = upstream.facts.id, %fault, "the GET stream broke");
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RESUME_WAIT_MAX);
    }
}
