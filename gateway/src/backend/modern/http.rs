//! A call over HTTP: one POST, and what its answer says (MCP 2026-07-28, basic/transports,
//! "Streamable HTTP"). It holds no task: whoever waits for the answer reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use bytestring::ByteString;
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue};
use wire::id::Id;
use wire::json;
use wire::message::{Message, Request, Response};
use wire::method::Method;
use wire::modern::{METHOD_HEADER, NAME_HEADER, header_value, name_key};
use wire::refusal::{Dispatched, Reason, Refusal};
use wire::revision::Revision;

use crate::backend::era::{Finding, Misfit};
use crate::backend::inbound::SERVER_JSON;
use crate::backend::modern::{
    Modern, ParamHeaders, Said, drop_request, end_of_subscription, own_params,
};
use crate::backend::pending::Patience;
use crate::backend::refusals;
use crate::config::HttpConfig;
use crate::config::limits::remote::LINGER;
use crate::transport::http::{
    Answer, AnswerKind, EventStream, HttpFault, PROTOCOL_VERSION, Target, is_redirect,
};

/// The server's addresses.
#[derive(Debug)]
pub(super) struct HttpLane {
    targets: Result<Vec<Target>, Refusal>,
    next: AtomicUsize,
}

/// A call whose answer has begun.
#[derive(Debug)]
pub(super) struct Exchange {
    modern: Arc<Modern>,
    id: Id,
    method: Method,
    clock: Clock,
    state: State,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in each call, boxed with the call")]
enum State {
    /// It is there, whole.
    Answered(Option<Said>),
    /// It comes.
    Streaming(EventStream),
}

/// The beginning of an answer.
#[expect(clippy::large_enum_variant, reason = "it is moved once and never kept in numbers")]
enum Reply {
    Answer { status: u16, response: Response },
    Stream(EventStream),
}

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
struct Clock {
    begun: Instant,
    heard: Instant,
    /// None for what may take for ever.
    patience: Option<Patience>,
}

/// A header does not repeat what the body says.
const HEADER_MISMATCH: &str = "-32020";

impl HttpLane {
    pub(super) fn new(server: &str, config: &HttpConfig) -> Self {
        let revision = HeaderValue::from_static(Revision::LATEST.as_str());
        let target = |url: &String| {
            let mut target = Target::new(url, config.exposed_headers())?;
            target.set(PROTOCOL_VERSION, revision.clone());
            Ok(target)
        };
        let targets: Result<_, crate::transport::http::BadTarget> =
            config.instances.iter().map(target).collect();
        let targets = targets.map_err(|fault| {
            Refusal::new(Reason::BackendUnavailable, format!("server {server:?}: {fault}"))
        });
        Self { targets, next: AtomicUsize::new(0) }
    }
}

impl Modern {
    pub(super) async fn call_http(
        self: &Arc<Self>,
        lane: &HttpLane,
        request: &Request,
        params: Option<ParamHeaders>,
    ) -> Result<Exchange, Refusal> {
        let method = request.method();
        let patience = self.facts.patience;
        let mut clock = Clock::new(patience);
        let reply = match params {
            Some(params) => self.post(lane, request, &params, clock).await?,
            None => self.post_mirrored(lane, request, clock).await?,
        };
        clock.heard = Instant::now();
        if method == Method::SubscriptionsListen {
            clock.patience = None;
        }
        let state = match reply {
            Reply::Answer { response, .. } => State::Answered(Some(Said::Answer(response))),
            Reply::Stream(stream) => State::Streaming(stream),
        };
        Ok(Exchange { modern: self.clone(), id: request.id().clone(), method, clock, state })
    }

    /// Sends it with headers made from the tool's schema. A server that finds them wrong has not
    /// carried the call out, so it gets them once more from a fresh schema.
    async fn post_mirrored(
        self: &Arc<Self>,
        lane: &HttpLane,
        request: &Request,
        clock: Clock,
    ) -> Result<Reply, Refusal> {
        let params = self.mirrored(request).await;
        let reply = self.post(lane, request, &params, clock).await?;
        let Reply::Answer { response, .. } = &reply else { return Ok(reply) };
        let code = response.error().and_then(|it| json::member(it, "code"));
        if request.method() != Method::ToolsCall || code != Some(HEADER_MISMATCH) {
            return Ok(reply);
        }
        self.schemas.forget();
        let fresh = self.mirrored(request).await;
        if fresh == params {
            return Ok(reply);
        }
        tracing::info!(server = self.facts.id, "a tool's headers had changed; called again");
        self.post(lane, request, &fresh, clock).await
    }

    /// Sends the request to the next instance, and to the one after it when it surely did not get
    /// there.
    async fn post(
        &self,
        lane: &HttpLane,
        request: &Request,
        params: &ParamHeaders,
        clock: Clock,
    ) -> Result<Reply, Refusal> {
        let targets = lane.targets.as_ref().map_err(Clone::clone)?;
        let headers = headers(request, params);
        let first = lane.next.fetch_add(1, Ordering::Relaxed);
        let mut last = self.gone();
        for target in targets.iter().cycle().skip(first % targets.len().max(1)).take(targets.len())
        {
            let body = request.text().as_bytes().clone();
            let posting = self.context.http.post_with(target, headers.clone(), body);
            let posted = tokio::select! {
                biased;
                () = self.closed.cancelled() => return Err(self.stopped()),
                posted = posting => posted,
                () = clock.run_out() => return Err(clock.timed_out(self, request.method())),
            };
            match posted {
                Ok(answer) => return self.read(request, answer),
                Err(HttpFault::Status { code, body, .. })
                    if let Some(response) = own_error(request.id(), &body) =>
                {
                    return Ok(Reply::Answer { status: code, response });
                }
                Err(fault @ HttpFault::NotSent(_)) => {
                    tracing::warn!(server = self.facts.id, %fault, "an instance is not reached");
                    last = refusals::of_http(&self.facts.id, &fault);
                }
                Err(fault) => return Err(self.failed(&fault)),
            }
        }
        Err(last)
    }

    fn read(&self, request: &Request, answer: Answer) -> Result<Reply, Refusal> {
        let body = match answer.kind {
            AnswerKind::Stream(stream) => return Ok(Reply::Stream(stream)),
            AnswerKind::Json(body) => body,
            AnswerKind::Accepted => {
                let what = "the server answered a request with 202".to_owned();
                return Err(self.failed(&HttpFault::Protocol(what)));
            }
        };
        let fault = match Message::parse(body.clone(), &SERVER_JSON) {
            Ok(Message::Response(response)) => match adopt(request.id(), response) {
                Some(response) => return Ok(Reply::Answer { status: 200, response }),
                None => "it answered another request".to_owned(),
            },
            Ok(_) => "its answer is no response".to_owned(),
            Err(fault) => {
                self.note_garbage(&fault, &String::from_utf8_lossy(&body));
                format!("it sent a malformed answer: {}", fault.detail)
            }
        };
        let what = format!("server {:?}: {fault}", self.facts.id);
        Err(Refusal::new(Reason::BackendProtocol, what).dispatched(Dispatched::Yes))
    }

    /// What a caller is told of an exchange that failed.
    fn failed(&self, fault: &HttpFault) -> Refusal {
        let server = &self.facts.id;
        if let HttpFault::Status { code, .. } = fault {
            if is_redirect(*code) {
                tracing::warn!(event = "ssrf_blocked", server, code, "a redirect was refused");
            }
            // A server of this era says with a JSON-RPC error what it does not know.
            if matches!(code, 400 | 404 | 405) {
                self.doubt("it refused a request without a JSON-RPC error");
            }
        }
        tracing::warn!(server, %fault, "a request failed");
        refusals::of_http(server, fault)
    }

    /// The gateway stops.
    fn stopped(&self) -> Refusal {
        let what = "the gateway stopped during the call; whether it was carried out is unknown";
        Refusal::new(Reason::OutcomeUnknown, what).dispatched(Dispatched::Unknown)
    }

    /// Asks `server/discover` to see what comes back.
    pub(super) async fn probe_http(
        self: &Arc<Self>,
        lane: &HttpLane,
        limit: Duration,
    ) -> Result<Finding, Refusal> {
        let params = own_params("{}");
        let method = Method::ServerDiscover;
        let request = Request::new(&Id::number(0), method.name(), Some(&params));
        let clock = Clock::new(Patience { idle: limit, total: limit });
        let no_headers = ParamHeaders::default();
        let found = match self.post(lane, &request, &no_headers, clock).await {
            Ok(Reply::Answer { status, response }) => Ok((Some(status), response)),
            Ok(Reply::Stream(stream)) => {
                let state = State::Streaming(stream);
                let (modern, id) = (self.clone(), request.id().clone());
                let mut exchange = Exchange { modern, id, method, clock, state };
                loop {
                    match exchange.next().await {
                        Some(Said::Note(_)) => {}
                        Some(Said::Answer(response)) => break Ok((Some(200), response)),
                        Some(Said::Refused(refusal)) => break Err(refusal),
                        None => break Err(self.gone()),
                    }
                }
            }
            Err(refusal) => Err(refusal),
        };
        match found {
            Ok((status, response)) => Ok(Finding::of(&self.facts.id, &response, status)),
            // Nothing is known of a server that was not reached.
            Err(refusal) if refusal.dispatched == Dispatched::No => Err(refusal),
            Err(_) if self.closed.is_cancelled() => Err(refusals::stopping()),
            Err(refusal) => Ok(Finding::Legacy(Misfit { refusal, is_certain: false })),
        }
    }
}

impl Exchange {
    /// The next message; the time limits are kept here.
    pub(super) async fn next(&mut self) -> Option<Said> {
        loop {
            let stream = match &mut self.state {
                State::Answered(said) => return said.take(),
                State::Streaming(stream) => stream,
            };
            let is_subscription = self.method == Method::SubscriptionsListen;
            let event = tokio::select! {
                biased;
                () = self.modern.closed.cancelled() => {
                    let refusal = self.modern.stopped();
                    return self.end(Said::Refused(refusal));
                }
                () = self.modern.retired.cancelled(), if is_subscription => {
                    let end = end_of_subscription(&self.id);
                    return self.end(Said::Answer(end));
                }
                event = stream.next() => event,
                () = self.clock.run_out() => {
                    let refusal = self.clock.timed_out(&self.modern, self.method);
                    return self.end(Said::Refused(refusal));
                }
            };
            let said = match event {
                Some(Ok(event)) if event.data.is_empty() => None,
                Some(Ok(event)) => self.take_in(&event.data),
                Some(Err(fault)) => Some(Said::Refused(self.modern.failed(&fault))),
                None => {
                    let what = "the server's answer ended without a response".to_owned();
                    Some(Said::Refused(self.modern.failed(&HttpFault::Lost(what))))
                }
            };
            match said {
                Some(note @ Said::Note(_)) => return Some(note),
                Some(last) => return self.end(last),
                None => {}
            }
        }
    }

    /// What one event says to the caller.
    fn take_in(&mut self, text: &ByteString) -> Option<Said> {
        self.clock.heard = Instant::now();
        match Message::parse(text.clone(), &SERVER_JSON) {
            Ok(Message::Notification(note)) => {
                if note.method() == Method::ToolsListChanged {
                    self.modern.schemas.forget();
                }
                Some(Said::Note(note))
            }
            Ok(Message::Response(response)) => {
                let answer = adopt(&self.id, response);
                if answer.is_none() && self.modern.facts.may_warn() {
                    let server = &self.modern.facts.id;
                    let what = "an answer to no open request was dropped";
                    tracing::warn!(event = "backend_stray_answer", server, "{what}");
                }
                answer.map(Said::Answer)
            }
            Ok(Message::Request(request)) => {
                drop_request(&self.modern.facts, &request);
                None
            }
            Err(fault) => {
                self.modern.note_garbage(&fault, text);
                let is_answer = Response::id_in_head(text.as_bytes()) == Some(self.id.clone());
                let server = &self.modern.facts.id;
                let what = format!("server {server:?} sent a malformed answer: {}", fault.detail);
                let refusal = Refusal::new(Reason::BackendProtocol, what);
                is_answer.then(|| Said::Refused(refusal.dispatched(Dispatched::Yes)))
            }
        }
    }

    /// Says the last thing. After an answer what is left of the stream is read, so that the
    /// connection can be used again; after anything else it is closed.
    fn end(&mut self, said: Said) -> Option<Said> {
        let before = std::mem::replace(&mut self.state, State::Answered(None));
        if let (Said::Answer(_), State::Streaming(mut stream)) = (&said, before)
            && !self.modern.retired.is_cancelled()
        {
            let rest = async move { while let Some(Ok(_)) = stream.next().await {} };
            let mut rest = Box::pin(rest);
            // The end mostly comes with the answer; only when it does not is it waited for.
            if rest.as_mut().now_or_never().is_none() {
                self.modern.context.tasks.spawn("http-linger", async move {
                    if tokio::time::timeout(LINGER, rest).await.is_err() {
                        tracing::debug!("a stream went on after the answer");
                    }
                });
            }
        }
        Some(said)
    }
}

impl Clock {
    fn new(patience: Patience) -> Self {
        let now = Instant::now();
        Self { begun: now, heard: now, patience: Some(patience) }
    }

    /// Waits until the time is up.
    async fn run_out(&self) {
        let Some(patience) = self.patience else { return std::future::pending().await };
        let until = (self.heard + patience.idle).min(self.begun + patience.total);
        tokio::time::sleep_until(until.into()).await;
    }

    fn timed_out(&self, modern: &Modern, method: Method) -> Refusal {
        let patience = self.patience.unwrap_or(modern.facts.patience);
        refusals::timed_out(&modern.facts, method, self.begun.elapsed(), patience)
    }
}

/// The headers that repeat what the body says (MCP 2026-07-28, basic/transports, "Request
/// Metadata").
fn headers(request: &Request, params: &ParamHeaders) -> Vec<(HeaderName, HeaderValue)> {
    let named = |key| request.params().and_then(|it| json::string(json::member(it, key)?));
    let name = name_key(request.method()).and_then(named);
    let method = (METHOD_HEADER, header_value(request.method_name()));
    let name = name.as_deref().map(|name| (NAME_HEADER, header_value(name)));
    let params = params.0.iter().map(|(name, value)| (name.as_str(), value.as_str().into()));
    let all = std::iter::once(method).chain(name).chain(params);
    all.filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    })
    .collect()
}

/// The JSON-RPC error that came with an error status, if it answers this request.
fn own_error(id: &Id, body: &Bytes) -> Option<Response> {
    match Message::parse(body.clone(), &SERVER_JSON) {
        Ok(Message::Response(response)) if response.error().is_some() => adopt(id, response),
        Ok(_) | Err(_) => None,
    }
}

/// The response as the caller's own: an exchange has one request, so an error that names none is
/// meant for it.
fn adopt(id: &Id, response: Response) -> Option<Response> {
    match (response.id(), response.error()) {
        (Some(named), _) => (named == id).then_some(response),
        (None, Some(error)) => {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, id.as_str());
            match Message::parse(text, &SERVER_JSON) {
                Ok(Message::Response(response)) => Some(response),
                Ok(_) | Err(_) => None,
            }
        }
        (None, None) => None,
    }
}
