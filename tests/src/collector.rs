//! A collector of spans: OTLP over HTTP, decoded with the types that its makers publish.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::{Fault, until};

/// How a collector behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It takes what it is sent.
    Takes,
    /// It takes a request in and says nothing.
    Hangs,
    /// It answers 503.
    Refuses,
}

/// A span as it came in.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// What it is a span of.
    pub kind: SpanKind,
    /// The trace, in hexadecimal.
    pub trace: String,
    /// Itself, in hexadecimal.
    pub id: String,
    /// What it is a part of; empty for nothing.
    pub parent: String,
    /// Spans it has to do with.
    pub links: Vec<String>,
    /// What is said of it.
    pub attributes: Vec<(String, String)>,
    /// Whether it failed.
    pub is_error: bool,
    /// What the sender is called.
    pub service: String,
}

#[derive(Debug)]
struct Shared {
    manner: Manner,
    spans: Mutex<Vec<Span>>,
    /// Every byte that came, with the headers before it.
    raw: Mutex<Vec<u8>>,
    headers: Mutex<HeaderMap>,
    requests: AtomicUsize,
}

/// A collector; it lives as long as the tasks it was started in.
#[derive(Debug, Clone)]
pub struct Collector {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Collector {
    /// Starts one.
    ///
    /// # Errors
    /// There is no port for it.
    pub async fn start(manner: Manner, tasks: &mut JoinSet<()>) -> Result<Self, Fault> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            manner,
            spans: Mutex::default(),
            raw: Mutex::default(),
            headers: Mutex::default(),
            requests: AtomicUsize::new(0),
        });
        let routes = Router::new().route("/v1/traces", post(take)).with_state(shared.clone());
        tasks.spawn(async move {
            axum::serve(listener, routes).await.ok();
        });
        Ok(Self { address, shared })
    }

    /// The address as `tracing.endpoint` has it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came in so far.
    pub fn spans(&self) -> Vec<Span> {
        self.shared.spans.lock().clone()
    }

    /// The bytes of all that came in so far.
    pub fn raw(&self) -> Vec<u8> {
        self.shared.raw.lock().clone()
    }

    /// The headers of the last request.
    pub fn headers(&self) -> HeaderMap {
        self.shared.headers.lock().clone()
    }

    /// How many requests came in.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Waits until so many spans are there.
    ///
    /// # Errors
    /// They do not come; with those that did.
    pub async fn have(&self, count: usize) -> Result<Vec<Span>, Fault> {
        let there = until("spans", || async { self.spans().len() >= count }).await;
        there.map_err(|fault| format!("{fault}; there are {:#?}", self.spans()))?;
        Ok(self.spans())
    }

    /// Waits for a span of this name.
    ///
    /// # Errors
    /// There is none; with those that are there.
    pub async fn has(&self, name: &str) -> Result<Span, Fault> {
        let find = || self.spans().into_iter().find(|span| span.name == name);
        let there = until(name, || async { find().is_some() }).await;
        there.map_err(|fault| format!("{fault}; there are {:#?}", self.spans()))?;
        Ok(find().ok_or("it was there")?)
    }
}

impl Span {
    /// What is said of it under this name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Its place in the trace, as `traceparent` has it.
    pub fn place(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    shared.headers.lock().clone_from(&headers);
    shared.raw.lock().extend_from_slice(&body);
    match shared.manner {
        Manner::Takes => {}
        Manner::Hangs => std::future::pending::<()>().await,
        Manner::Refuses => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
    match ExportTraceServiceRequest::decode(body) {
        Ok(request) => shared.spans.lock().extend(read(request)),
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    }
    ExportTraceServiceResponse::default().encode_to_vec().into_response()
}

fn read(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let said = resource.resource.map(|it| pairs(it.attributes)).unwrap_or_default();
        let service = said.into_iter().find(|(key, _)| key == "service.name");
        let service = service.map(|(_, value)| value).unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|it| it.spans) {
            spans.push(Span {
                kind: span.kind(),
                is_error: span.status.as_ref().is_some_and(|it| it.code == 2),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
                attributes: pairs(span.attributes),
                service: service.clone(),
            });
        }
    }
    spans
}

fn pairs(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    let text = |value: Option<AnyValue>| match value.and_then(|it| it.value) {
        Some(Any::StringValue(text)) => text,
        Some(other) => format!("{other:?}"),
        None => String::new(),
    };
    attributes.into_iter().map(|it| (it.key, text(it.value))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
