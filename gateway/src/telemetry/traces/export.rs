//! Spans on their way to the collector: a bounded queue, and one task that sends what is in it.
//!
//! Whoever ends a span leaves it in the queue and goes on. A collector that is slow or away costs
//! spans, which are counted, and never a request's time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_rustls::{ConfigBuilderExt as _, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::Context;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{
    Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::TracingConfig;
use crate::config::limits::trace::{
    BATCH_SPANS, BATCH_WAIT, EXPORT_TIMEOUT, FLUSH_TIMEOUT, QUEUE_SPANS, WARN_EVERY,
};
use crate::supervise::Tasks;
use crate::telemetry::metrics::Metrics;

/// Where spans go when they end.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    metrics: Arc<Metrics>,
    /// For the task, which is told what the spans are spans of before the first comes.
    exporter: Mutex<Option<(SpanExporter, oneshot::Sender<SpanExporter>)>>,
}

/// The task that sends them.
struct Export {
    spans: mpsc::Receiver<SpanData>,
    metrics: Arc<Metrics>,
    warned: Option<Instant>,
    /// Lost since the last warning.
    lost: usize,
    /// Given to the collector, which has not said yet that it has them.
    under_way: usize,
}

/// Makes the queue and begins to empty it.
///
/// # Errors
/// What is configured cannot be used; the text says why.
pub(super) fn start(
    endpoint: &str,
    config: &TracingConfig,
    tasks: &Tasks,
    metrics: &Arc<Metrics>,
) -> Result<Queue, String> {
    let exporter = exporter(endpoint, config)?;
    let (sender, spans) = mpsc::channel(QUEUE_SPANS);
    let (give, given) = oneshot::channel();
    let export = Export { spans, metrics: metrics.clone(), warned: None, lost: 0, under_way: 0 };
    let token = tasks.token().clone();
    tasks.spawn("trace-export", async move {
        if let Ok(exporter) = given.await {
            export.run(exporter, token).await;
        }
    });
    let exporter = Mutex::new(Some((exporter, give)));
    Ok(Queue { spans: sender, metrics: metrics.clone(), exporter })
}

fn exporter(endpoint: &str, config: &TracingConfig) -> Result<SpanExporter, String> {
    // Another part of the process may have installed it before; it is the same one.
    let _installed: Result<(), _> = rustls::crypto::ring::default_provider().install_default();
    let tls = match ClientConfig::builder().with_native_roots() {
        Ok(trusting) => trusting.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "no certificate store: an HTTPS collector will be refused");
            let nobody = RootCertStore::empty();
            ClientConfig::builder().with_root_certificates(nobody).with_no_client_auth()
        }
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(EXPORT_TIMEOUT));
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let connector = connector.enable_http1().wrap_connector(tcp);
    let headers = config.headers.iter();
    let headers = headers.map(|(name, value)| (name.clone(), value.expose().to_owned()));
    SpanExporter::builder()
        .with_http()
        .with_http_client(HyperClient::new(connector, EXPORT_TIMEOUT, None))
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .with_headers(headers.collect())
        // What failed is over: the next spans are already waiting.
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .map_err(|fault| fault.to_string())
}

// === impl Queue ===

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.metrics.count_spans("dropped", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some((mut exporter, give)) = self.exporter.lock().take() {
            exporter.set_resource(resource);
            drop(give.send(exporter));
        }
    }
}

// === impl Export ===

impl Export {
    /// Sends spans until the gateway stops, and then those that are left, for a moment.
    async fn run(mut self, exporter: SpanExporter, stopping: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH_SPANS);
        loop {
            tokio::select! {
                read = self.spans.recv_many(&mut batch, BATCH_SPANS) => if read == 0 { break },
                () = stopping.cancelled() => break,
            }
            self.gather(&mut batch, &stopping).await;
            let sending = self.send(&exporter, &mut batch, EXPORT_TIMEOUT);
            let late = async {
                stopping.cancelled().await;
                sleep(FLUSH_TIMEOUT).await;
            };
            tokio::select! {
                () = sending => {}
                // It does not take these, and would not take the rest.
                () = late => return self.give_up(batch.len()),
            }
        }
        let rest = async {
            while let Ok(span) = self.spans.try_recv() {
                batch.push(span);
                if batch.len() == BATCH_SPANS {
                    self.send(&exporter, &mut batch, FLUSH_TIMEOUT).await;
                }
            }
            if !batch.is_empty() {
                self.send(&exporter, &mut batch, FLUSH_TIMEOUT).await;
            }
        };
        if timeout(FLUSH_TIMEOUT, rest).await.is_err() {
            self.give_up(batch.len());
        }
    }

    /// Counts what is left as lost: these that are still here, those under way and the queue's.
    fn give_up(&mut self, here: usize) {
        self.spans.close();
        let mut spans = here + std::mem::take(&mut self.under_way);
        while self.spans.try_recv().is_ok() {
            spans += 1;
        }
        self.metrics.count_spans("failed", spans);
        let fault = "the gateway stops, and the collector is late";
        tracing::warn!(event = "trace_export", spans, fault, "spans were lost");
    }

    /// Waits a moment for more, so that a span does not cost a request.
    async fn gather(&mut self, batch: &mut Vec<SpanData>, stopping: &CancellationToken) {
        let full = async {
            while batch.len() < BATCH_SPANS {
                let room = BATCH_SPANS - batch.len();
                if self.spans.recv_many(batch, room).await == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            () = full => {}
            () = sleep(BATCH_WAIT) => {}
            () = stopping.cancelled() => {}
        }
    }

    async fn send(&mut self, exporter: &SpanExporter, batch: &mut Vec<SpanData>, limit: Duration) {
        let count = batch.len();
        self.under_way = count;
        let sent = timeout(limit, exporter.export(std::mem::take(batch))).await;
        self.under_way = 0;
        let fault = match sent {
            Ok(Ok(())) => return self.metrics.count_spans("exported", count),
            Ok(Err(fault)) => fault.to_string(),
            Err(_elapsed) => format!("no answer within {limit:?}"),
        };
        self.metrics.count_spans("failed", count);
        self.lost += count;
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            let spans = std::mem::take(&mut self.lost);
            self.warned = Some(Instant::now());
            tracing::warn!(event = "trace_export", spans, fault, "spans were lost");
        }
    }
}
