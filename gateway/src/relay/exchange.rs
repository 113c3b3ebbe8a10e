//! A request of revision 2026-07-28, from its arrival to its answer.
//!
//! ```text
//! request ─► answered here (server/discover of all servers, merged lists)
//!         ├► a server of this era:  direct, its words untouched    backend/modern
//!         ├► a legacy server:       through a stand-in session     bridged
//!         └► subscriptions/listen:  direct, or from a stand-in     listen
//! ```
//!
//! An exchange belongs to whoever reads it, and dropping it cancels the request (MCP 2026-07-28,
//! basic/transports/streamable-http, "Cancellation").

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytestring::ByteString;
use futures_util::stream::{self, Stream};
use wire::id::Id;
use wire::json;
use wire::message::{Request, Response};
use wire::method::Method;
use wire::modern::{self, Freshness};
use wire::refusal::{Reason, Refusal};
use wire::revision::Revision;

use crate::backend::context::Context;
use crate::backend::modern::measured::Measured;
use crate::backend::modern::{Answers, Modern, ParamHeaders, Said as ServerSaid};
use crate::bridge::{hello, tasks};
use crate::relay::Relay;
use crate::relay::bridged::Bridged;
use crate::relay::forward::Outbound;
use crate::relay::listen::Listening;
use crate::relay::params;
use crate::relay::standin::{Guest, StandIn};
use crate::route::merge::List;
use crate::telemetry::metrics::operations::{Ending, Operation};
use crate::telemetry::traces::{Asked, End};
use crate::telemetry::trail::Trail;

/// What is said in the course of an exchange.
#[derive(Debug)]
pub enum Said {
    /// A notification, as text.
    Note(ByteString),
    /// The answer, after which nothing more comes; with the reason, when the gateway refuses.
    Answer(Response, Option<Reason>),
}

/// A request and what is said in answer to it.
pub struct Exchange {
    context: Arc<Context>,
    id: Id,
    method: Method,
    stage: Stage,
    /// Measures it until its answer.
    operation: Option<Operation>,
    /// What it is followed by.
    trail: Trail,
}

/// Counts a call that no session counts, for as long as it lives.
#[derive(Debug)]
pub struct InFlight(Arc<AtomicUsize>);

/// The revisions a client can be served in, newest first.
const SPOKEN: [Revision; 5] = [
    Revision::V2026_07_28,
    Revision::V2025_11_25,
    Revision::V2025_06_18,
    Revision::V2025_03_26,
    Revision::V2024_11_05,
];

/// How far an exchange is.
enum Stage {
    /// Its server is looked for or started.
    Opening(Pin<Box<dyn Future<Output = Result<Course, Refusal>> + Send>>),
    /// Its answer is on the way.
    Open(Course),
    /// It was answered.
    Over,
}

/// Where the answer comes from.
pub(super) enum Course {
    /// It is there already.
    Answered(Response),
    /// A server of the client's own era.
    Direct { answers: Answers, measured: Measured, _counted: Option<InFlight> },
    /// A legacy server.
    Bridged(Box<Bridged>),
    /// What servers say unasked.
    Listening(Box<Listening>),
}

impl Relay {
    /// Takes a request of revision 2026-07-28 in. Nothing is done before the exchange is read.
    pub fn exchange(
        self: &Arc<Self>,
        guest: Guest,
        request: Request,
        params: Option<ParamHeaders>,
    ) -> Exchange {
        let id = request.id().clone();
        let relay = self.clone();
        let (context, method) = (self.context.clone(), request.method());
        context.metrics.count_request("modern", method.name());
        let operation = context.metrics.operation(&request);
        let trail = match &context.traces {
            None => Trail::current(),
            Some(traces) => {
                let server = guest.server.as_deref();
                // Only over HTTP are there headers of arguments.
                let transport = if params.is_some() { "streamable_http" } else { "websocket" };
                let asked = Asked { request: &request, server, transport, session: None };
                traces.serve(&Trail::current(), &asked)
            }
        };
        let opening = async move { relay.course(&guest, request, params).await };
        let stage = Stage::Opening(Box::pin(opening));
        Exchange { context, id, method, stage, operation, trail }
    }

    /// Whether a path names a server there is.
    ///
    /// # Errors
    /// It names one there is not; the message lists those there are.
    pub fn check_server(&self, server: Option<&str>) -> Result<(), Refusal> {
        self.refuse_unknown(server)
    }

    async fn course(
        self: &Arc<Self>,
        guest: &Guest,
        request: Request,
        params: Option<ParamHeaders>,
    ) -> Result<Course, Refusal> {
        self.refuse_while_draining()?;
        self.refuse_unknown(guest.server.as_deref())?;
        let Some(server) = guest.server.as_deref().and_then(|id| self.backends.get(id)) else {
            return self.course_of_all(guest, request, params).await;
        };
        let outbound = Outbound::unchanged(request);
        self.limit_call(guest.caller, &server.config.id, &outbound).await?;
        let request = outbound.into_request();
        if let Some(modern) = server.modern().await? {
            return self.course_direct(&modern, request, params).await;
        }
        let standin = self.stand_in_with_tasks(guest, &request).await?;
        let Some(attachment) = standin.conversation.only_server() else {
            return Err(Refusal::new(Reason::BackendUnavailable, "the server was taken away"));
        };
        if request.method() != Method::ServerDiscover {
            if let Some(params) = &params {
                params::check(&standin, &attachment, &request, params).await?;
            }
            return self.course_through(standin, guest, request).await;
        }
        let params = hello::initialize_params(request.meta());
        let greeting = attachment.source(&params).await?.hello().await?;
        let result = hello::discover_result(&greeting, &SPOKEN);
        Ok(Course::Answered(Response::success(request.id(), &result)))
    }

    /// All servers as one: some may be of the client's era, and some not.
    async fn course_of_all(
        self: &Arc<Self>,
        guest: &Guest,
        request: Request,
        params: Option<ParamHeaders>,
    ) -> Result<Course, Refusal> {
        if request.method() == Method::ServerDiscover {
            let greeting = self.own_greeting(Revision::LATEST_LEGACY);
            let result = hello::discover_result(&greeting, &SPOKEN);
            return Ok(Course::Answered(Response::success(request.id(), &result)));
        }
        let standin = self.stand_in(guest, &request).await?;
        let conversation = &standin.conversation;
        let roster = conversation.roster();
        if let Some(list) = List::of(request.method()) {
            let merged = self.merged(conversation, &roster, list).await;
            let result = modern::complete(request.method(), &merged, Freshness::default(), None);
            return Ok(Course::Answered(Response::success(request.id(), &result)));
        }
        if request.method() == Method::SubscriptionsListen {
            return self.course_through(standin, guest, request).await;
        }
        let (attachment, outbound) = self.destination(conversation, &roster, &request).await?;
        self.limit_call(guest.caller, &attachment.server.config.id, &outbound).await?;
        match attachment.server.modern().await? {
            Some(modern) => {
                // The ids of tasks are each server's own: here nobody could tell whose one is.
                let request = tasks::without(&outbound.into_request());
                self.course_direct(&modern, request, params).await
            }
            None => {
                if let Some(params) = &params {
                    let named = outbound.into_request();
                    params::check(&standin, &attachment, &named, params).await?;
                }
                self.course_through(standin, guest, request).await
            }
        }
    }

    /// Passes a request on to a server of its own era.
    async fn course_direct(
        &self,
        modern: &Arc<Modern>,
        request: Request,
        params: Option<ParamHeaders>,
    ) -> Result<Course, Refusal> {
        if let Some(params) = &params {
            modern.check_params(&request, params).await?;
        }
        // A subscription lasts for as long as its client wants; nobody waits for its end.
        let is_call = request.method() != Method::SubscriptionsListen;
        let _counted = is_call.then(|| InFlight::new(&self.direct));
        let mut measured = Measured::new(modern, request.method());
        let answers = modern.call(request, params).await;
        let answers = answers.inspect_err(|refusal| measured.note_refusal(refusal))?;
        Ok(Course::Direct { answers, measured, _counted })
    }

    async fn course_through(
        self: &Arc<Self>,
        standin: Arc<StandIn>,
        guest: &Guest,
        request: Request,
    ) -> Result<Course, Refusal> {
        if request.method() == Method::SubscriptionsListen {
            let listening = Listening::open(self, standin, &request).await?;
            return Ok(Course::Listening(Box::new(listening)));
        }
        if tasks::is_method(request.method()) {
            return self.answer_of_task(&standin, &request).await.map(Course::Answered);
        }
        let bridged = match request.params().and_then(|it| json::member(it, "requestState")) {
            Some(state) => {
                let state = request.text().slice_ref(state);
                // Before the server goes on; the call may be on another stand-in of the kind.
                self.raise_level(&standin, &request).await;
                let bridged = self.resume(guest, &state, request)?;
                self.raise_level_of(&bridged).await;
                bridged
            }
            None => {
                let as_task = self.is_for_task(&standin, &request).await?;
                Bridged::open(self, &standin, guest, request, as_task).await?
            }
        };
        Ok(Course::Bridged(Box::new(bridged)))
    }
}

impl Exchange {
    /// What is said next; `None` after the answer.
    ///
    /// # Cancel safety
    /// Safe: nothing that was said is lost.
    pub async fn next(&mut self) -> Option<Said> {
        let trail = self.trail.clone();
        let said = trail.clone().scope(self.hear()).await;
        if let (Some(trace), Some(Said::Answer(response, refused))) = (trail.trace(), &said) {
            trace.end(match refused {
                Some(reason) => End::Refused(reason.name()),
                None => End::Answered(response.text()),
            });
        }
        said
    }

    async fn hear(&mut self) -> Option<Said> {
        if let Stage::Opening(opening) = &mut self.stage {
            self.stage = match opening.await {
                Ok(course) => Stage::Open(course),
                Err(mut refusal) => {
                    if refusal.reason == Reason::ResourceNotFound {
                        // This revision has no code of its own for it.
                        refusal.reason = Reason::InvalidParams;
                    }
                    self.stage = Stage::Over;
                    self.context.metrics.count_error(refusal.reason.name());
                    let said = Said::refused(&self.id, &refusal);
                    self.note(&said);
                    return Some(said);
                }
            };
        }
        let Stage::Open(course) = &mut self.stage else { return None };
        let said = match course {
            Course::Answered(response) => Said::Answer(response.clone(), None),
            Course::Direct { answers, measured, .. } => match answers.next().await {
                Some(ServerSaid::Note(note)) => Said::Note(note.text().clone()),
                Some(ServerSaid::Answer(response)) => {
                    measured.note_answer(&response);
                    Said::Answer(response, None)
                }
                Some(ServerSaid::Refused(refusal)) => {
                    measured.note_refusal(&refusal);
                    self.context.metrics.count_error(refusal.reason.name());
                    Said::refused(&self.id, &refusal)
                }
                None => return None,
            },
            Course::Bridged(bridged) => bridged.next().await,
            Course::Listening(listening) => listening.next().await,
        };
        if matches!(said, Said::Answer(..)) {
            self.stage = Stage::Over;
        }
        self.note(&said);
        Some(said)
    }

    /// Books the end of the request.
    fn note(&mut self, said: &Said) {
        let Said::Answer(response, _) = said else { return };
        if let Some(operation) = self.operation.take() {
            operation.end(Ending::of(self.method, response), Some(Revision::V2026_07_28));
        }
    }

    /// The rest of what is said.
    pub fn into_said(self) -> impl Stream<Item = Said> + Send {
        stream::unfold(self, |mut exchange| async move {
            exchange.next().await.map(|said| (said, exchange))
        })
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // What was made for it may live a little longer.
        if let Some(trace) = self.trail.trace() {
            trace.end(End::Cancelled);
        }
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Said {
    /// The gateway's own refusal of the request `id`.
    pub(super) fn refused(id: &Id, refusal: &Refusal) -> Self {
        Self::Answer(refused(id, refusal), Some(refusal.reason))
    }

    /// As it goes out.
    pub fn into_text(self) -> ByteString {
        match self {
            Self::Note(text) => text,
            Self::Answer(response, _) => response.text().clone(),
        }
    }
}

impl InFlight {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A refusal as the answer to a request.
pub(super) fn refused(id: &Id, refusal: &Refusal) -> Response {
    let request_id = Trail::current().id().to_string();
    tracing::info!(
        event = "refused",
        reason = refusal.reason.name(),
        request_id,
        "an error was answered"
    );
    refusal.to_response(Some(id), &request_id)
}
