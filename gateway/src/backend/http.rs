//! An upstream that is a Streamable HTTP session (revisions 2025-03-26 to 2025-11-25).
//!
//! Each message is a POST of its own; an answer is one JSON text or an event stream. A stream
//! that breaks off before the answer is taken up again with `Last-Event-ID` (MCP 2025-11-25,
//! basic/transports, "Resumability and Redelivery"), never by sending the request again. What the
//! server says unasked comes on a GET stream.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use wire::id::Id;
use wire::json;
use wire::message::{Message, Notification, Request};
use wire::method::Method;
use wire::refusal::{Reason, Refusal};

use crate::backend::context::Context;
use crate::backend::server::Facts;
use crate::backend::upstream::{NotSent, Owner, Pipe, Upstream};
use crate::config::HttpConfig;
use crate::transport::http::{
    Answer, AnswerKind, Client, EventStream, HttpFault, PROTOCOL_VERSION, SESSION_ID, Target,
};

/// How often a broken stream is taken up again without hearing anything in between.
const RESUME_TRIES: u32 = 5;
/// How long to wait before taking a stream up, unless the server says (`retry:`).
const RESUME_WAIT: Duration = Duration::from_secs(1);
/// The longest wait a server may ask for, and the cap of our own back-off.
const RESUME_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a notification's POST may take.
const NOTE_TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP session, seen from an upstream.
#[derive(Debug)]
pub struct HttpPipe {
    client: Client,
    target: Target,
    peer: Mutex<Peer>,
    joining: tokio::sync::Mutex<()>,
}

/// What the server told of the session.
#[derive(Clone, Debug, Default)]
struct Peer {
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
    let headers = config.headers.iter().map(|(name, value)| (name.as_str(), value.expose()));
    let target = Target::new(url, headers).map_err(|fault| {
        Refusal::new(Reason::BackendUnavailable, format!("server {:?}: {fault}", facts.id))
    })?;
    let pipe = HttpPipe {
        client: context.http.clone(),
        target,
        peer: Mutex::default(),
        joining: tokio::sync::Mutex::default(),
    };
    Ok(Upstream::new(facts.clone(), context.clone(), owner, Pipe::Http(Box::new(pipe))))
}

impl HttpPipe {
    /// The endpoint.
    pub fn url(&self) -> String {
        self.target.uri().to_string()
    }

    /// Sends a message in a task of its own; `number` is the call it carries.
    pub(crate) fn send(
        &self,
        upstream: &Arc<Upstream>,
        number: Option<u64>,
        text: ByteString,
    ) -> Result<(), NotSent> {
        let exchange = Exchange { upstream: upstream.clone(), number };
        upstream.context.tasks.spawn("http-exchange", exchange.run(text));
        Ok(())
    }

    /// Sends `notifications/initialized`, then listens to what the server says unasked.
    pub(crate) async fn initialized(&self, upstream: &Arc<Upstream>, text: &ByteString) -> bool {
        let version = json::member(&upstream.hello(), "protocolVersion")
            .and_then(json::string)
            .map(std::borrow::Cow::into_owned);
        self.peer.lock().version = version;
        let posted = tokio::time::timeout(NOTE_TIMEOUT, self.post(text)).await;
        let sent = matches!(posted, Ok(Ok(_)));
        let listener = upstream.clone();
        upstream.context.tasks.spawn("http-listen", listen(listener));
        sent
    }

    /// Ends the session at the server (`DELETE`).
    pub(crate) fn close(&self, context: &Context) {
        let (client, target, headers) = (self.client.clone(), self.target.clone(), self.headers());
        if self.peer.lock().session_id.is_none() {
            return;
        }
        context.tasks.spawn("http-close", async move {
            let ended = tokio::time::timeout(NOTE_TIMEOUT, client.delete(&target, &headers)).await;
            if let Ok(Err(fault)) = ended {
                tracing::debug!(%fault, "the server's session could not be ended");
            }
        });
    }

    async fn post(&self, text: &ByteString) -> Result<Answer, HttpFault> {
        self.client.post(&self.target, &self.headers(), text.as_bytes().clone()).await
    }

    fn headers(&self) -> HeaderMap {
        let peer = self.peer.lock();
        let mut headers = HeaderMap::with_capacity(2);
        let value = |text: &Option<String>| HeaderValue::from_str(text.as_deref()?).ok();
        if let Some(id) = value(&peer.session_id) {
            headers.insert(SESSION_ID, id);
        }
        if let Some(version) = value(&peer.version) {
            headers.insert(PROTOCOL_VERSION, version);
        }
        headers
    }

    fn note(&self, answer: &Answer) {
        if let Some(id) = &answer.session_id {
            let mut peer = self.peer.lock();
            peer.session_id.get_or_insert_with(|| id.clone());
        }
    }

    fn session_id(&self) -> Option<String> {
        self.peer.lock().session_id.clone()
    }

    /// The server no longer knows the session (404): opens another in its place, once for all
    /// who notice (MCP 2025-11-25, basic/transports, "Session Management").
    async fn rejoin(&self, lost: &str) -> Result<(), HttpFault> {
        let _joining = self.joining.lock().await;
        if self.session_id().as_deref() != Some(lost) {
            return Ok(());
        }
        let Some(params) = self.peer.lock().params.clone() else {
            return Err(HttpFault::Protocol("the session was never initialised".to_owned()));
        };
        self.peer.lock().session_id = None;
        let id = Id::number(0);
        let request = Request::new(&id, Method::Initialize.name(), Some(&params));
        let text = request.text().as_bytes().clone();
        let answer = self.client.post(&self.target, &HeaderMap::new(), text).await?;
        self.note(&answer);
        drain(answer).await;
        let note = Notification::new(Method::Initialized.name(), None);
        self.post(note.text()).await.map(drop)
    }
}

/// Reads an answer to its end, for its effect only.
async fn drain(answer: Answer) {
    if let AnswerKind::Stream(mut stream) = answer.kind {
        while let Some(Ok(event)) = stream.next().await {
            if event.data.contains("\"result\"") || event.data.contains("\"error\"") {
                return;
            }
        }
    }
}

/// One POST and everything that is said in answer to it.
struct Exchange {
    upstream: Arc<Upstream>,
    number: Option<u64>,
}

impl Exchange {
    async fn run(self, text: ByteString) {
        let closed = self.upstream.closed().clone();
        tokio::select! {
            outcome = self.carry(&text) => if let Err(fault) = outcome {
                self.upstream.post_failed(self.number, &fault);
            },
            () = closed.cancelled() => {}
        }
    }

    fn pipe(&self) -> Option<&HttpPipe> {
        match &self.upstream.pipe {
            Pipe::Http(pipe) => Some(pipe),
            Pipe::Stdio(_) | Pipe::Link(_) => None,
        }
    }

    async fn carry(&self, text: &ByteString) -> Result<(), HttpFault> {
        let Some(pipe) = self.pipe() else { return Ok(()) };
        self.remember_initialize(pipe, text);
        let held = pipe.session_id();
        let posted = pipe.post(text).await;
        let answer = match (posted, held) {
            // A server that does not know the session has not carried the request out.
            (Err(HttpFault::Status { code: 404, .. }), Some(held)) => {
                tracing::info!(server = self.upstream.facts.id, "session lost; joining anew");
                pipe.rejoin(&held).await?;
                pipe.post(text).await?
            }
            (posted, _) => posted?,
        };
        pipe.note(&answer);
        match answer.kind {
            AnswerKind::Accepted if self.is_owed() => {
                Err(HttpFault::Protocol("the server answered a request with 202".to_owned()))
            }
            AnswerKind::Accepted => Ok(()),
            AnswerKind::Json(body) => {
                self.upstream.receive(&body, self.number);
                self.must_be_settled()
            }
            AnswerKind::Stream(stream) => self.follow(pipe, stream).await,
        }
    }

    /// Keeps the `initialize` params: a lost session is joined anew with them.
    fn remember_initialize(&self, pipe: &HttpPipe, text: &ByteString) {
        if self.upstream.hello().is_empty()
            && let Ok(Message::Request(request)) =
                Message::parse(text.clone(), &self.upstream.context.limits.json)
            && request.method() == Method::Initialize
        {
            pipe.peer.lock().params =
                request.params().map(|params| request.text().slice_ref(params));
        }
    }

    /// Reads the stream to its end; as long as the answer is owed, takes it up again.
    async fn follow(&self, pipe: &HttpPipe, mut stream: EventStream) -> Result<(), HttpFault> {
        let mut tries = 0;
        loop {
            let mut last = Ok(());
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) if event.data.is_empty() => {}
                    Ok(event) => {
                        tries = 0;
                        self.upstream.receive(event.data.as_bytes(), self.number);
                    }
                    Err(fault) => {
                        last = Err(fault);
                        break;
                    }
                }
            }
            if !self.is_owed() {
                return Ok(());
            }
            let Some(id) = stream.last_event_id().map(ToOwned::to_owned) else {
                last?;
                return self.must_be_settled();
            };
            stream = self.resume(pipe, (&id, stream.retry_ms()), &mut tries).await?;
        }
    }

    async fn resume(
        &self,
        pipe: &HttpPipe,
        (id, retry_ms): (&str, Option<u64>),
        tries: &mut u32,
    ) -> Result<EventStream, HttpFault> {
        let wait = retry_ms.map_or(RESUME_WAIT, Duration::from_millis).min(RESUME_WAIT_MAX);
        loop {
            *tries += 1;
            tokio::time::sleep(wait).await;
            match pipe.client.get_stream(&pipe.target, &pipe.headers(), Some(id)).await {
                Ok(Some(stream)) if *tries <= RESUME_TRIES => return Ok(stream),
                Err(HttpFault::NotSent(_) | HttpFault::Lost(_)) if *tries < RESUME_TRIES => {}
                Ok(_) => {
                    let what = "the answer's stream broke off and cannot be taken up again";
                    return Err(HttpFault::Lost(what.to_owned()));
                }
                Err(fault) => return Err(HttpFault::Lost(fault.to_string())),
            }
        }
    }

    fn is_owed(&self) -> bool {
        self.number.is_some_and(|number| self.upstream.pending.lock().get(number).is_some())
    }

    fn must_be_settled(&self) -> Result<(), HttpFault> {
        if self.is_owed() {
            return Err(HttpFault::Lost("the server's answer ended without a response".to_owned()));
        }
        Ok(())
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
        match pipe.client.get_stream(&pipe.target, &pipe.headers(), last.as_deref()).await {
            Ok(None) => return,
            Ok(Some(mut stream)) => {
                while let Some(Ok(event)) = stream.next().await {
                    wait = RESUME_WAIT;
                    if !event.data.is_empty() {
                        upstream.receive(event.data.as_bytes(), None);
                    }
                }
                last = stream.last_event_id().map(ToOwned::to_owned).or(last);
                wait = stream.retry_ms().map_or(wait, Duration::from_millis).min(RESUME_WAIT_MAX);
            }
            // A lost session is joined anew by the next call; other refusals are final.
            Err(HttpFault::Status { code, .. }) if code < 500 && code != 404 => {
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
