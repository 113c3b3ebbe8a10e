//! Spans: what a request and the calls made for it are in somebody's traces (OpenTelemetry,
//! "Semantic conventions for Model Context Protocol").
//!
//! No span is made unless `tracing.endpoint` is set: a caller's place is then only read, and passed
//! on in headers, to other replicas and to servers that are asked over HTTP. A span carries no
//! payload: neither arguments nor results, URIs, session ids nor tokens.

pub mod context;
mod export;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
    TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};
use parking_lot::Mutex;
use wire::edit::Edit;
use wire::json::{self, JsonLimits};
use wire::message::{Message, Request};
use wire::method::Method;

use self::context::{TRACEPARENT, TRACESTATE, TraceContext};
use crate::config::limits::trace::NAME_CHARS;
use crate::config::{Sampling, TracingConfig};
use crate::supervise::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trail::Trail;

/// Makes spans, and has them sent to the collector.
#[derive(Debug)]
pub struct Traces {
    tracer: SdkTracer,
    /// Kept alive: the tracer is its own no longer than it lives.
    _provider: SdkTracerProvider,
}

/// What a span says of a request.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The request.
    pub request: &'a Request,
    /// The server that it is meant for, if it names one.
    pub server: Option<&'a str>,
    /// How it travels, as in `streamable_http` or `stdio`.
    pub transport: &'a str,
    /// The key of its session in the store, which opens nothing.
    pub session: Option<&'a dyn fmt::Display>,
}

/// The place of a request in a trace, and the span that it is there.
pub struct Trace {
    context: TraceContext,
    /// Until it ends; none where nothing is recorded.
    span: Mutex<Option<Span>>,
    /// None where the place is the caller's, passed on as it came.
    traces: Option<Arc<Traces>>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The caller's place, as its headers say.
    Received,
    /// The same, where another replica of this gateway says it.
    Hopped,
    /// A client's request.
    Served,
    /// A call in its course.
    Call,
}

/// How what a span stands for ended.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// With this response.
    Answered(&'a str),
    /// With an error of the gateway's, by its name.
    Refused(&'a str),
    /// Without an answer.
    Cancelled,
    /// Well, and what was answered is not looked at.
    Done,
}

// === impl Traces ===

impl Traces {
    /// Begins to trace; `None` when it is not configured.
    ///
    /// # Errors
    /// What is configured cannot be used; the text says why.
    pub fn start(
        config: &TracingConfig,
        tasks: &Tasks,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Arc<Self>>, String> {
        let Some(endpoint) = &config.endpoint else { return Ok(None) };
        let mut attributes = vec![
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("telemetry.sdk.name", "opentelemetry"),
            KeyValue::new("telemetry.sdk.language", "rust"),
        ];
        let own = config.attributes.iter();
        attributes.extend(own.map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
        let resource = Resource::builder_empty().with_attributes(attributes);
        let resource = resource.with_service_name(config.service_name.clone()).build();
        let queue = export::start(endpoint, config, tasks, metrics)?;
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue)
            .with_sampler(sampler(config))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("mcp-gateway");
        Ok(Some(Arc::new(Self { tracer, _provider: provider })))
    }

    /// Takes a client's request into the trace that it names, or a new one.
    ///
    /// The message's own `_meta` goes before the headers it came with, which may be those of many
    /// messages and of whoever stands in between; to them there is a link then (semantic
    /// conventions, "Context propagation"). Another replica's headers are this gateway's own.
    #[must_use]
    pub fn serve(self: &Arc<Self>, trail: &Trail, asked: &Asked<'_>) -> Trail {
        let around = trail.trace().map(|it| &it.context);
        let is_hopped = trail.trace().is_some_and(|it| it.kind == Kind::Hopped);
        let inner = inner(asked.request);
        let parent = if is_hopped { around.or(inner.as_ref()) } else { inner.as_ref().or(around) };
        let aside = around.filter(|it| parent.is_some_and(|parent| parent != *it));
        let mut span = self.begin(SpanKind::Server, parent, aside, asked);
        if span.is_recording() {
            span.set_attribute(KeyValue::new("mcp_gateway.request.id", trail.id().to_string()));
        }
        trail.within(Trace::begun(self, span, Kind::Served))
    }

    /// A span for a request that is carried to the replica that serves its session.
    #[must_use]
    pub fn hop(self: &Arc<Self>, trail: &Trail, asked: &Asked<'_>) -> Trail {
        let inner = inner(asked.request);
        let parent = inner.as_ref().or_else(|| trail.trace().map(|it| &it.context));
        let mut span = self.begin(SpanKind::Client, parent, None, asked);
        span.update_name(format!("hop {}", asked.request.method().name()));
        trail.within(Trace::begun(self, span, Kind::Call))
    }

    fn begin(
        &self,
        kind: SpanKind,
        parent: Option<&TraceContext>,
        aside: Option<&TraceContext>,
        asked: &Asked<'_>,
    ) -> Span {
        let method = asked.request.method();
        let links = aside.map(|it| Link::with_context(span_context(it)));
        let builder = self.tracer.span_builder(method.name());
        let builder = builder.with_kind(kind).with_links(links.into_iter().collect());
        let parent = parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(span_context(parent))
        });
        let mut span = builder.start_with_context(&self.tracer, &parent);
        if span.is_recording() {
            asked.describe(&mut span);
        }
        span
    }
}

// === impl Asked ===

impl Asked<'_> {
    fn describe(&self, span: &mut Span) {
        let method = self.request.method();
        span.set_attribute(KeyValue::new("mcp.method.name", method.name()));
        let id = shown(self.request.id().as_str().trim_matches('"'));
        span.set_attribute(KeyValue::new("jsonrpc.request.id", id));
        let named =
            [(Method::ToolsCall, "gen_ai.tool.name"), (Method::PromptsGet, "gen_ai.prompt.name")];
        let key = named.into_iter().find(|(it, _)| *it == method).map(|(_, key)| key);
        if let Some(key) = key
            && let Some(name) = self.request.params().and_then(|it| json::member(it, "name"))
            && let Some(name) = json::string(name)
        {
            let name = shown(&name);
            span.update_name(format!("{} {name}", method.name()));
            span.set_attribute(KeyValue::new(key, name));
        }
        if method == Method::ToolsCall {
            span.set_attribute(KeyValue::new("gen_ai.operation.name", "execute_tool"));
        }
        if let Some(server) = self.server {
            span.set_attribute(KeyValue::new("mcp_gateway.server", server.to_owned()));
        }
        if let Some(session) = self.session {
            span.set_attribute(KeyValue::new("mcp.session.id", session.to_string()));
        }
        let network = if self.transport == "stdio" { "pipe" } else { "tcp" };
        span.set_attribute(KeyValue::new("network.transport", network));
        if network != "pipe" {
            let name = if self.transport == "websocket" { "websocket" } else { "http" };
            span.set_attribute(KeyValue::new("network.protocol.name", name));
        }
        let transport = self.transport.to_owned();
        span.set_attribute(KeyValue::new("mcp_gateway.transport", transport));
    }
}

impl fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked").field(&self.request.method()).finish()
    }
}

// === impl Trace ===

impl Trace {
    /// A caller's place, to be passed on; the caller may be another replica of this gateway.
    pub(super) fn received(context: TraceContext, is_hopped: bool) -> Self {
        let kind = if is_hopped { Kind::Hopped } else { Kind::Received };
        Self { context, span: Mutex::new(None), traces: None, kind }
    }

    fn begun(traces: &Arc<Traces>, span: Span, kind: Kind) -> Self {
        let context = trace_context(span.span_context());
        let span = Mutex::new(span.is_recording().then_some(span));
        Self { context, span, traces: Some(traces.clone()), kind }
    }

    /// A span for a call in the course of this one; none where calls are not traced.
    pub(super) fn begin_call(&self, asked: &Asked<'_>) -> Option<Self> {
        let traces = self.traces.as_ref()?;
        let span = traces.begin(SpanKind::Client, Some(&self.context), None, asked);
        Some(Self::begun(traces, span, Kind::Call))
    }

    /// As [`end`](Self::end), if it is the span of a call.
    pub fn end_call(&self, end: End<'_>) {
        if self.kind == Kind::Call {
            self.end(end);
        }
    }

    /// Ends the span; what is said afterwards means nothing.
    pub fn end(&self, end: End<'_>) {
        let Some(mut span) = self.span.lock().take() else { return };
        let fault: Option<Cow<'_, str>> = match end {
            End::Refused(reason) => Some(reason.into()),
            End::Cancelled => Some("cancelled".into()),
            End::Done => None,
            End::Answered(text) => match json::path(text, &["error", "code"]) {
                Some(code) => match code.parse::<i64>() {
                    Ok(code) => {
                        let code = code.to_string();
                        span.set_attribute(KeyValue::new("rpc.response.status_code", code.clone()));
                        Some(code.into())
                    }
                    // A server may write anything there, what it was given included.
                    Err(_) => Some("_OTHER".into()),
                },
                None => {
                    let failed = json::path(text, &["result", "isError"]) == Some("true");
                    failed.then_some("tool_error".into())
                }
            },
        };
        if let Some(fault) = fault {
            span.set_attribute(KeyValue::new("error.type", fault.into_owned()));
            span.set_status(Status::error(""));
        }
        span.end();
    }

    /// Writes the place into what goes to a server, where calls are traced. Whatever else the
    /// client has in `_meta` stays as it is.
    pub fn write_into(&self, edit: &mut Edit<'_>, request: &Request) {
        if self.traces.is_none() {
            return;
        }
        let parent = json::quote(&self.context.to_string());
        let state = self.context.state.as_deref().map(json::quote);
        if let Some(meta) = request.meta().filter(|it| json::is_object(it)) {
            edit.insert_member(meta, TRACEPARENT, &parent);
            match &state {
                Some(state) => edit.insert_member(meta, TRACESTATE, state),
                None => edit.remove_member(meta, TRACESTATE),
            }
            return;
        }
        let state = state.map(|it| format!(",\"{TRACESTATE}\":{it}")).unwrap_or_default();
        let meta = format!("{{\"{TRACEPARENT}\":{parent}{state}}}");
        match request.params() {
            Some(params) if json::is_object(params) => edit.insert_member(params, "_meta", &meta),
            Some(_) => {}
            None => {
                let params = format!("{{\"_meta\":{meta}}}");
                edit.insert_member(request.text(), "params", &params);
            }
        }
    }

    /// The request as it goes to a server.
    #[must_use]
    pub fn carried_by(&self, request: Request) -> Request {
        if self.traces.is_none() {
            return request;
        }
        let mut edit = Edit::of(request.text());
        self.write_into(&mut edit, &request);
        // It was within the limits when it came in.
        let limits = JsonLimits { depth: usize::MAX, keys: usize::MAX };
        match Message::parse(edit.finish(), &limits) {
            Ok(Message::Request(carried)) => carried,
            Ok(_) | Err(_) => request,
        }
    }

    /// The place as headers.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let parent = HeaderValue::from_str(&self.context.to_string()).ok();
        let state = self.context.state.as_deref().and_then(|it| HeaderValue::from_str(it).ok());
        let named = |name| move |value| (HeaderName::from_static(name), value);
        parent.map(named(TRACEPARENT)).into_iter().chain(state.map(named(TRACESTATE)))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.end(End::Cancelled);
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.context).finish()
    }
}

/// What the message itself says of its trace.
fn inner(request: &Request) -> Option<TraceContext> {
    let meta = request.meta()?;
    let text = |key| json::member(meta, key).and_then(json::string);
    TraceContext::parse(&text(TRACEPARENT)?, text(TRACESTATE).as_deref())
}

fn sampler(config: &TracingConfig) -> Sampler {
    let ratio = || Sampler::TraceIdRatioBased(config.ratio);
    let by_parent = |root: Sampler| Sampler::ParentBased(Box::new(root));
    match config.sampler {
        Sampling::AlwaysOn => Sampler::AlwaysOn,
        Sampling::AlwaysOff => Sampler::AlwaysOff,
        Sampling::Ratio => ratio(),
        Sampling::ParentAlwaysOn => by_parent(Sampler::AlwaysOn),
        Sampling::ParentAlwaysOff => by_parent(Sampler::AlwaysOff),
        Sampling::ParentRatio => by_parent(ratio()),
    }
}

fn span_context(context: &TraceContext) -> SpanContext {
    let state = context.state.as_deref().and_then(|it| it.parse::<TraceState>().ok());
    SpanContext::new(
        TraceId::from_bytes(context.trace_id.to_be_bytes()),
        SpanId::from_bytes(context.span_id.to_be_bytes()),
        TraceFlags::new(context.flags),
        true,
        state.unwrap_or_default(),
    )
}

fn trace_context(span: &SpanContext) -> TraceContext {
    let state = span.trace_state().header();
    TraceContext {
        trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(span.span_id().to_bytes()),
        flags: span.trace_flags().to_u8(),
        state: (!state.is_empty()).then(|| state.into()),
    }
}

/// A name somebody else chose, in one line and not too long.
fn shown(text: &str) -> String {
    let plain = |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}');
    text.chars().take(NAME_CHARS).map(|c| if plain(c) { c } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests;
