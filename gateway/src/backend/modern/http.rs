//! A call over HTTP: one POST, and what its answer says (MCP 2026-07-28, basic/transports,
//! "Streamable HTTP"). It holds no task: whoever waits for the answer reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use wire::id::Id;
use wire::json;
use wire::message::{Message, Request, Response};
use wire::method::Method;
use wire::modern::{METHOD_HEADER, NAME_HEADER, PARAM_HEADER_PREFIX, header_value, name_key};
use wire::refusal::{Dispatched, Reason, Refusal};
use wire::revision::Revision;

use crate::backend::era::{Finding, Misfit};
use crate::backend::inbound::SERVER_JSON;
use crate::backend::modern::exchange::{Clock, Exchange, Reply, State, adopt, own_error};
use crate::backend::modern::{Answers, Inner, Modern, ParamHeaders, own_params, wants_another_try};
use crate::backend::patience::Patience;
use crate::backend::refusals;
use crate::config::HttpConfig;
use crate::telemetry::trail::Trail;
use crate::transport::http::{
    Answer, AnswerKind, BadTarget, HttpFault, PROTOCOL_VERSION, Target, is_redirect,
};

/// The server's addresses.
#[derive(Debug)]
pub(super) struct HttpLane {
    targets: Result<Vec<Target>, Refusal>,
    next: AtomicUsize,
}

/// A request that has no reply.
struct Failed {
    refusal: Refusal,
    /// The HTTP status, when there was an answer.
    status: Option<u16>,
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
        let targets: Result<_, BadTarget> = config.instances.iter().map(target).collect();
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
        let clock = Clock::new(self.facts.patience);
        let reply = match params {
            Some(params) => self.post(lane, request, &params, clock).await?,
            None => self.post_mirrored(lane, request, clock).await?,
        };
        Ok(Exchange::new(self.clone(), request, reply, clock))
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
        let mut reply = self.post(lane, request, &params, clock).await?;
        if reply.response().is_some_and(wants_another_try) {
            reply = self.post(lane, request, &params, clock).await?;
        }
        let error = reply.response().and_then(Response::error);
        let code = error.and_then(|it| json::member(it, "code"));
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
        self.try_post(lane, request, params, clock).await.map_err(|failed| failed.refusal)
    }

    async fn try_post(
        &self,
        lane: &HttpLane,
        request: &Request,
        params: &ParamHeaders,
        clock: Clock,
    ) -> Result<Reply, Failed> {
        if self.closed.is_cancelled() {
            return Err(refusals::stopping().into());
        }
        let targets = lane.targets.as_ref().map_err(Clone::clone)?;
        let mut headers = headers(request, params);
        let trail = Trail::current();
        headers.extend(trail.trace().into_iter().flat_map(|trace| trace.headers()));
        let first = lane.next.fetch_add(1, Ordering::Relaxed);
        let mut last = self.gone();
        for target in targets.iter().cycle().skip(first % targets.len().max(1)).take(targets.len())
        {
            let body = request.text().as_bytes().clone();
            let posting = self.context.http.post_with(target, headers.clone(), body);
            let posted = tokio::select! {
                biased;
                () = self.closed.cancelled() => return Err(self.stopped().into()),
                posted = posting => posted,
                () = clock.run_out() => {
                    return Err(clock.timed_out(self, request.method()).into());
                }
            };
            match posted {
                Ok(answer) => {
                    self.is_reached();
                    return Ok(self.read(request, answer)?);
                }
                Err(HttpFault::Status { code, body, .. })
                    if let Some(response) = own_error(request.id(), &body) =>
                {
                    self.is_reached();
                    if is_legacy(code, &response) {
                        self.doubt("it refused a request as a server without this era does");
                    }
                    return Ok(Reply { status: code, state: State::Whole(Some(response)) });
                }
                Err(fault @ HttpFault::NotSent(_)) => {
                    tracing::warn!(server = self.facts.id, %fault, "an instance is not reached");
                    last = refusals::of_http(&self.facts.id, &fault);
                }
                Err(fault) => {
                    let status = match &fault {
                        HttpFault::Status { code, .. } => Some(*code),
                        HttpFault::NotSent(_)
                        | HttpFault::Lost(_)
                        | HttpFault::TooLarge
                        | HttpFault::Protocol(_) => None,
                    };
                    status.into_iter().for_each(|_| self.is_reached());
                    return Err(Failed { refusal: self.failed(&fault), status });
                }
            }
        }
        *self.fault.lock() = Some(last.message.clone());
        Err(last.into())
    }

    /// It was reached, in whichever era.
    pub(in crate::backend) fn is_reached(&self) {
        *self.fault.lock() = None;
    }

    fn read(&self, request: &Request, answer: Answer) -> Result<Reply, Refusal> {
        let body = match answer.kind {
            AnswerKind::Stream(stream) => {
                return Ok(Reply { status: 200, state: State::Streaming(stream) });
            }
            AnswerKind::Json(body) => body,
            AnswerKind::Accepted => {
                let what = "the server answered a request with 202".to_owned();
                return Err(self.failed(&HttpFault::Protocol(what)));
            }
        };
        let fault = match Message::parse(body.clone(), &SERVER_JSON) {
            Ok(Message::Response(response)) => match adopt(request.id(), response) {
                Some(response) => {
                    return Ok(Reply { status: 200, state: State::Whole(Some(response)) });
                }
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
    pub(super) fn failed(&self, fault: &HttpFault) -> Refusal {
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
    pub(super) fn stopped(&self) -> Refusal {
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
        let method = Method::ServerDiscover.name();
        let request = Request::new(&Id::number(0), method, Some(&params));
        let clock = Clock::new(Patience { idle: limit, total: limit });
        let no_headers = ParamHeaders::default();
        let (status, found) = match self.try_post(lane, &request, &no_headers, clock).await {
            Ok(reply) => {
                let status = Some(reply.status);
                let exchange = Exchange::new(self.clone(), &request, reply, clock);
                let inner = Inner::Http(Box::new(exchange));
                (status, Answers { inner, trail: Trail::current() }.last().await)
            }
            Err(failed) => (failed.status, Err(failed.refusal)),
        };
        let finding = match found {
            Ok(response) => Finding::of(&self.facts.id, &response, status),
            // Nothing is known of a server that was not reached.
            Err(refusal) if refusal.dispatched == Dispatched::No => return Err(refusal),
            Err(_) if self.closed.is_cancelled() => return Err(refusals::stopping()),
            Err(refusal) => Finding::Legacy(Misfit { refusal, is_certain: false }),
        };
        match finding {
            Finding::Legacy(misfit) if status.is_some_and(is_of_the_hour) => {
                Err(misfit.refusal.dispatched(Dispatched::No))
            }
            legacy @ Finding::Legacy(_) => Ok(legacy),
            modern @ Finding::Modern(_) => Ok(modern),
        }
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, status: None }
    }
}

/// Whether a status is said by who stands before a server, or says who may ask it and when: nothing
/// of its era. 500 is not one of them, as legacy servers fail so at what they do not know.
fn is_of_the_hour(status: u16) -> bool {
    matches!(status, 401 | 403 | 407 | 429 | 502..=504)
}

/// Whether an error that came with a status is one that this era has no use for: a legacy server
/// answers so to a request without a session.
fn is_legacy(status: u16, response: &Response) -> bool {
    let error = response.error().unwrap_or_default();
    let is_modern = match json::member(error, "code") {
        Some("-32602" | "-32020" | "-32021" | "-32022") => true,
        Some("-32601") => status == 404,
        Some(_) | None => false,
    };
    matches!(status, 400 | 404 | 405) && !is_modern
}

/// The headers that repeat what the body says (MCP 2026-07-28, basic/transports, "Request
/// Metadata").
fn headers(request: &Request, params: &ParamHeaders) -> Vec<(HeaderName, HeaderValue)> {
    let named = |key| request.params().and_then(|it| json::string(json::member(it, key)?));
    let name = name_key(request.method()).and_then(named);
    let method = (METHOD_HEADER, header_value(request.method_name()));
    let name = name.as_deref().map(|name| (NAME_HEADER, header_value(name)));
    // Only these are the caller's to say: any other could be the configuration's.
    let is_param = |name: &str| {
        let start = name.get(..PARAM_HEADER_PREFIX.len());
        start.is_some_and(|it| it.eq_ignore_ascii_case(PARAM_HEADER_PREFIX))
    };
    let params = params.0.iter().filter(|(name, _)| is_param(name));
    let params = params.map(|(name, value)| (name.as_str(), value.as_str().into()));
    let all = std::iter::once(method).chain(name).chain(params);
    all.filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    })
    .collect()
}
