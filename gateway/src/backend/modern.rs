//! The modern era of a server (MCP 2026-07-28): a call is a stream of messages that ends with the
//! answer, and dropping it is the cancellation.
//!
//! Over HTTP a call is one POST (`http`) and the body of its answer (`exchange`). Over stdio one
//! shared process serves every caller (`stdio`), under ids and progress tokens of the gateway's
//! own; what it says is sorted by `sorting` and reaches its caller by a `line`. Whether a server
//! speaks this era at all says [`era`](crate::backend::era).

mod answers;
mod exchange;
mod http;
mod line;
pub mod measured;
mod schemas;
mod sorting;
mod stdio;

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use wire::id::Id;
use wire::json;
use wire::message::{Malformed, Notification, Request, Response};
use wire::method::Method;
use wire::modern::{Meta, SUBSCRIPTION_ID, without_faulty_tools};
use wire::refusal::{Dispatched, Reason, Refusal};
use wire::revision::Revision;

use crate::backend::context::Context;
use crate::backend::era::Finding;
use crate::backend::handshake;
pub use crate::backend::modern::answers::Answers;
use crate::backend::modern::answers::Inner;
use crate::backend::modern::http::HttpLane;
pub(super) use crate::backend::modern::line::Line;
pub use crate::backend::modern::schemas::ParamHeaders;
use crate::backend::modern::schemas::Schemas;
use crate::backend::modern::stdio::StdioLane;
use crate::backend::server::{Facts, Server};
use crate::config::ServerKind;
use crate::config::limits::server::{DISCOVERED_MAX, DISCOVERED_MIN, SHOWN_BYTES};
use crate::telemetry::traces::End;

/// A server as it is reached in the modern era. It lives as long as its [`Server`].
#[derive(Debug)]
pub struct Modern {
    server: Weak<Server>,
    facts: Arc<Facts>,
    context: Arc<Context>,
    lane: Lane,
    schemas: Schemas,
    discovered: tokio::sync::Mutex<Option<Discovered>>,
    /// Why no address of it was reached last.
    fault: Mutex<Option<String>>,
    /// Fires when the server was taken away: subscriptions end, calls finish.
    retired: CancellationToken,
    /// Fires when the gateway stops: everything ends.
    closed: CancellationToken,
}

/// What is said in answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A notification; more follows.
    Note(Notification),
    /// The server's answer, a result or an error, under the caller's own id. The last one.
    Answer(Response),
    /// There will be no answer of the server's: it went away, was too slow, or broke the protocol.
    /// The last one.
    Refused(Refusal),
}

/// How the server is reached.
#[derive(Debug)]
enum Lane {
    Http(HttpLane),
    Stdio(StdioLane),
    /// It never is.
    None,
}

/// What a server said of itself.
#[derive(Debug)]
struct Discovered {
    result: ByteString,
    until: Instant,
    /// The process that said it.
    process: Option<u64>,
}

impl Modern {
    /// The modern side of this server; nothing is sent or started yet.
    pub(super) fn new(server: &Arc<Server>) -> Arc<Self> {
        let lane = match &server.config.kind {
            ServerKind::Http(config) => Lane::Http(HttpLane::new(&server.config.id, config)),
            ServerKind::Stdio(_) => Lane::Stdio(StdioLane::default()),
            ServerKind::Sse(_) | ServerKind::WebSocket(_) | ServerKind::Unsupported { .. } => {
                Lane::None
            }
        };
        Arc::new(Self {
            server: Arc::downgrade(server),
            facts: server.facts.clone(),
            context: server.context.clone(),
            lane,
            schemas: Schemas::default(),
            discovered: tokio::sync::Mutex::default(),
            fault: Mutex::default(),
            retired: CancellationToken::new(),
            closed: CancellationToken::new(),
        })
    }

    /// Sends a request of the modern era; its `_meta` is complete.
    ///
    /// `params` are the `Mcp-Param-*` headers as the client sent them; without, they are made from
    /// the tool's schema, and when the server finds them wrong (-32020) once more from a fresh one.
    /// A process has no headers, and they are ignored.
    ///
    /// Over HTTP this waits for the head of the answer, and for a whole one that is no stream. An
    /// error of the server's, with whatever HTTP status, is an answer. Calls are counted by those
    /// who make them: they know the client's transport.
    ///
    /// # Errors
    /// The server could not be reached or did not answer in time; `dispatched` says whether it
    /// can have seen the request.
    ///
    /// # Cancel safety
    /// Dropping it cancels the call, as dropping [`Answers`] does.
    pub async fn call(
        self: &Arc<Self>,
        request: Request,
        params: Option<ParamHeaders>,
    ) -> Result<Answers, Refusal> {
        let (trail, request) = self.followed(request);
        let sending = async {
            match &self.lane {
                Lane::Http(lane) => {
                    let exchange = self.call_http(lane, &request, params).await?;
                    Ok(Inner::Http(Box::new(exchange)))
                }
                Lane::Stdio(lane) => Ok(Inner::Stdio(self.call_process(lane, &request).await?)),
                Lane::None => Err(self.gone()),
            }
        };
        match trail.clone().scope(sending).await {
            Ok(inner) => Ok(Answers { inner, trail }),
            Err(refusal) => {
                if let Some(trace) = trail.trace() {
                    trace.end_call(End::Refused(refusal.reason.name()));
                }
                Err(refusal)
            }
        }
    }

    /// The `DiscoverResult`, as the server wrote it. Kept for its `ttlMs`, between a second and an
    /// hour, and no longer than the process lives that said it.
    ///
    /// # Errors
    /// The server could not be reached, or did not answer with a result.
    ///
    /// # Cancel safety
    /// Cancel-safe: asking again is safe.
    pub async fn discover(self: &Arc<Self>) -> Result<ByteString, Refusal> {
        let mut kept = self.discovered.lock().await;
        let process = match &self.lane {
            Lane::Stdio(lane) => Some(self.process(lane).await?),
            Lane::Http(_) | Lane::None => None,
        };
        let number = process.as_ref().map(|it| it.number);
        let last = kept.as_ref().filter(|it| it.process == number);
        if let Some(fresh) = last.filter(|it| Instant::now() < it.until) {
            return Ok(fresh.result.clone());
        }
        let result = match process {
            // It has just been asked: that is how it was started.
            Some(process) if last.is_none() => process.hello(),
            Some(_) | None => self.ask_who().await?,
        };
        *kept = Some(Discovered::new(result.clone(), number));
        Ok(result)
    }

    /// Asks `server/discover`.
    async fn ask_who(self: &Arc<Self>) -> Result<ByteString, Refusal> {
        let limit = self.facts.patience.idle;
        let asking = || self.ask(Method::ServerDiscover, own_params("{}"), limit);
        let mut response = asking().await?;
        if wants_another_try(&response) {
            response = asking().await?;
        }
        if let Some(result) = response.result() {
            return Ok(response.text().slice_ref(result));
        }
        self.doubt("it answered server/discover with an error");
        let message = json::member(response.error().unwrap_or_default(), "message");
        let message = message.and_then(json::string).unwrap_or_default();
        let what = format!("server {:?} refused server/discover: {message}", self.facts.id);
        Err(Refusal::new(Reason::BackendProtocol, what).dispatched(Dispatched::Yes))
    }

    /// Asks on the gateway's own behalf and waits for the answer; not for a tool.
    ///
    /// Boxed because a call may come to this, and this is a call.
    fn ask<'a>(
        self: &'a Arc<Self>,
        method: Method,
        params: ByteString,
        limit: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Response, Refusal>> + Send + 'a>> {
        Box::pin(async move {
            let request = Request::new(&Id::number(0), method.name(), Some(&params));
            let asking = async {
                let answers = self.call(request, Some(ParamHeaders::default())).await?;
                answers.last().await
            };
            let asked = tokio::time::timeout(limit, asking).await;
            asked.unwrap_or_else(|_elapsed| Err(late(&self.facts, method, limit)))
        })
    }

    /// Finds out whether the server speaks this era.
    pub(super) async fn probe(self: &Arc<Self>, limit: Duration) -> Result<Finding, Refusal> {
        match &self.lane {
            Lane::Http(lane) => self.probe_http(lane, limit).await,
            Lane::Stdio(lane) => self.probe_process(lane, limit).await,
            Lane::None => Err(self.gone()),
        }
    }

    /// An answer without what cannot be used over HTTP: tools that ask for impossible headers
    /// (MCP 2026-07-28, server/tools, "x-mcp-header").
    pub(super) fn usable(&self, response: Response, method: Method) -> Response {
        let is_http = matches!(self.lane, Lane::Http(_));
        let (Some(result), Some(id)) = (response.result(), response.id()) else { return response };
        if !is_http || method != Method::ToolsList {
            return response;
        }
        let sound = without_faulty_tools(result, |fault| {
            tracing::warn!(server = self.facts.id, %fault, "a tool was left out of the list");
        });
        Response::success(id, &sound)
    }

    /// Checks the headers of a call that goes to a process, which has none to look at.
    ///
    /// # Errors
    /// `HEADER_MISMATCH`: a header is missing or says something else than the arguments.
    pub async fn check_params(
        self: &Arc<Self>,
        request: &Request,
        headers: &ParamHeaders,
    ) -> Result<(), Refusal> {
        match self.lane {
            Lane::Stdio(_) if request.method() == Method::ToolsCall => {
                self.agree(request, headers).await
            }
            Lane::Stdio(_) | Lane::Http(_) | Lane::None => Ok(()),
        }
    }

    /// Why no address of it was reached last; `None` after a call that did.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.lock().clone()
    }

    /// Ends subscriptions, each with its result: their clients miss nothing.
    pub(super) fn retire(&self, why: &str) {
        self.retired.cancel();
        if let Lane::Stdio(lane) = &self.lane {
            lane.open().into_iter().for_each(|process| process.end_subscriptions(why));
        }
    }

    /// Ends everything; the process is closed with the server's others.
    pub(super) fn close(&self) {
        self.retire("the gateway is stopping");
        self.closed.cancel();
    }

    /// The server answers as one of the legacy era would.
    fn doubt(&self, why: &str) {
        tracing::debug!(server = self.facts.id, why, "its era is found out again");
        if let Some(server) = self.server.upgrade() {
            server.forget_era();
        }
    }

    fn server(&self) -> Result<Arc<Server>, Refusal> {
        self.server.upgrade().ok_or_else(|| self.gone())
    }

    fn gone(&self) -> Refusal {
        let what = format!("server {:?} is not available any more", self.facts.id);
        Refusal::new(Reason::BackendUnavailable, what)
    }

    /// Something that is no message.
    fn note_garbage(&self, fault: &Malformed, text: &str) {
        self.context.metrics.garbage.with_label_values(&[&self.facts.id]).inc();
        if self.facts.may_warn() {
            let (server, fault) = (&self.facts.id, &fault.detail);
            let shown: String = text.chars().take(SHOWN_BYTES).collect();
            let what = "the server sent something that is not a JSON-RPC message";
            tracing::warn!(event = "backend_garbage", server, fault, shown, "{what}");
        }
    }
}

/// Whether a server refused a request for its revision, and yet serves that: what a client then
/// does is ask again (MCP 2026-07-28, basic/versioning). Nothing was carried out.
fn wants_another_try(response: &Response) -> bool {
    let error = response.error().unwrap_or_default();
    let code = json::member(error, "code").and_then(|code| code.parse().ok());
    let supported = json::path(error, &["data", "supported"]).unwrap_or("[]");
    let is_served = |it: &str| json::string(it).is_some_and(|it| it == Revision::LATEST.as_str());
    code == Some(Reason::UnsupportedRevision.code()) && json::elements(supported).any(is_served)
}

/// A time limit of ours was reached.
fn late(facts: &Facts, method: Method, limit: Duration) -> Refusal {
    let (id, asked, limit) = (&facts.id, method.name(), limit.as_secs());
    let what = format!("server {id:?} did not answer {asked} within {limit} s");
    Refusal::new(Reason::BackendTimeout, what).dispatched(Dispatched::Unknown)
}

impl Discovered {
    fn new(result: ByteString, process: Option<u64>) -> Self {
        let ttl_ms = json::member(&result, "ttlMs").and_then(|it| it.parse().ok());
        let ttl = ttl_ms.map_or(DISCOVERED_MIN, Duration::from_millis);
        let until = Instant::now() + ttl.clamp(DISCOVERED_MIN, DISCOVERED_MAX);
        Self { result, until, process }
    }
}

/// The params of a request of the gateway's own: these, and what this era wants in `_meta`.
fn own_params(params: &str) -> ByteString {
    let (version, name) = (json::quote(Revision::LATEST.as_str()), handshake::own_name());
    let meta = Meta {
        protocol_version: Some(&version),
        client_capabilities: Some("{}"),
        client_info: Some(&name),
        log_level: None,
    };
    meta.put_into(Some(params))
}

/// The end of a subscription that the server gave none (MCP 2026-07-28, basic/patterns,
/// "subscriptions": a result that names the request).
fn end_of_subscription(id: &Id) -> Response {
    let meta = format!(r#"{{"{SUBSCRIPTION_ID}":{}}}"#, id.as_str());
    Response::success(id, &format!(r#"{{"resultType":"complete","_meta":{meta}}}"#))
}

/// Notes a request of a server's, which this era does not know.
fn drop_request(facts: &Facts, request: &Request) {
    if facts.may_warn() {
        tracing::warn!(
            event = "backend_request",
            server = facts.id,
            method = request.method_name(),
            reason = Reason::BackendProtocol.name(),
            "a request of the server's was dropped; revision 2026-07-28 has none"
        );
    }
}

#[cfg(test)]
mod tests;
