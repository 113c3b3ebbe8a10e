//! Spans as a collector gets them.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanProcessor};
use tokio::net::TcpListener;
use wire::id::Id;

use super::*;
use crate::config::limits::trace::{BATCH_SPANS, FLUSH_TIMEOUT};
use crate::telemetry::metrics::outlook::Outlook;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn request(params: Option<&str>) -> Request {
    Request::new(&Id::number(1), "tools/call", params)
}

fn traces(sampler: Sampler) -> Arc<Traces> {
    let provider = SdkTracerProvider::builder().with_sampler(sampler).build();
    Arc::new(Traces { tracer: provider.tracer("test"), _provider: provider })
}

fn asked(request: &Request) -> Asked<'_> {
    Asked { request, server: None, transport: "stdio", session: None }
}

fn place(trail: &Trail) -> TraceContext {
    trail.trace().unwrap().context.clone()
}

fn around() -> Trail {
    Trail::new(Default::default(), TraceContext::parse(PARENT, Some("a=1")))
}

#[test]
fn a_request_goes_on_in_the_trace_of_its_headers() {
    let traces = traces(Sampler::AlwaysOn);
    let request = request(Some(r#"{"name":"x"}"#));
    let served = place(&traces.serve(&around(), &asked(&request)));
    assert_eq!(served.trace_id, place(&around()).trace_id);
    assert_ne!(served.span_id, place(&around()).span_id);
    assert_eq!((served.flags, served.state.as_deref()), (1, Some("a=1")));
}

#[test]
fn its_own_meta_goes_before_its_headers_unless_they_are_another_replicas() {
    let traces = traces(Sampler::AlwaysOn);
    let own = "00-11111111111111111111111111111111-2222222222222222-01";
    let params = format!(r#"{{"_meta":{{"traceparent":"{own}"}},"name":"x"}}"#);
    let request = request(Some(&params));
    let served = place(&traces.serve(&around(), &asked(&request)));
    assert_eq!(format!("{:032x}", served.trace_id), "1".repeat(32));
    let hopped = Trail::hopped(Default::default(), TraceContext::parse(PARENT, None));
    let served = place(&traces.serve(&hopped, &asked(&request)));
    assert_eq!(served.trace_id, place(&around()).trace_id);
}

#[test]
fn a_caller_that_does_not_record_is_respected() {
    let traces = traces(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
    let unsampled = TraceContext::parse(&PARENT.replace("-01", "-00"), None);
    let request = request(None);
    let trail = traces.serve(&Trail::new(Default::default(), unsampled), &asked(&request));
    assert!(trail.trace().unwrap().span.lock().is_none());
    assert_eq!(place(&trail).flags, 0);
    let call = trail.calling(&asked(&request));
    assert_eq!((place(&call).flags, place(&call).trace_id), (0, place(&around()).trace_id));
}

#[test]
fn a_call_is_a_part_of_its_request_and_ends_alone() {
    let traces = traces(Sampler::AlwaysOn);
    let request = request(None);
    let served = traces.serve(&Trail::default(), &asked(&request));
    let call = served.calling(&asked(&request));
    assert_eq!(place(&call).trace_id, place(&served).trace_id);
    assert_ne!(place(&call).span_id, place(&served).span_id);
    served.trace().unwrap().end_call(End::Done);
    assert!(served.trace().unwrap().span.lock().is_some());
    call.trace().unwrap().end_call(End::Done);
    assert!(call.trace().unwrap().span.lock().is_none());
}

/// Keeps the spans that ended.
#[derive(Clone, Debug, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Ended {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[test]
fn of_an_error_only_its_number_is_said() {
    let ended = Ended::default();
    let provider = SdkTracerProvider::builder().with_span_processor(ended.clone()).build();
    let traces = Arc::new(Traces { tracer: provider.tracer("test"), _provider: provider });
    for (code, kind) in [("-32602", "-32602"), (r#""CANARY""#, "_OTHER"), ("1.5", "_OTHER")] {
        let served = traces.serve(&Trail::default(), &asked(&request(None)));
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code}}}}}"#);
        served.trace().unwrap().end(End::Answered(&text));
        let span = ended.0.lock().pop().unwrap();
        let of = |key: &str| {
            let found = span.attributes.iter().find(|it| it.key.as_str() == key);
            found.map(|it| it.value.to_string())
        };
        assert_eq!(of("error.type").as_deref(), Some(kind));
        assert_eq!(of("rpc.response.status_code").is_some(), kind == code);
        assert!(!format!("{span:?}").contains("CANARY"), "{span:?}");
    }
}

#[tokio::test]
async fn the_last_spans_are_counted_if_nobody_takes_them() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (tasks, metrics) = (Tasks::new(), Arc::new(Metrics::new().unwrap()));
    let endpoint = Some(format!("http://{}/v1/traces", mute.local_addr().unwrap()));
    let config = TracingConfig { endpoint, ..TracingConfig::default() };
    let traces = Traces::start(&config, &tasks, &metrics).unwrap().unwrap();
    let spans = BATCH_SPANS + 7;
    for _ in 0..spans {
        let served = traces.serve(&Trail::default(), &asked(&request(None)));
        served.trace().unwrap().end(End::Done);
    }
    // The first of them are on their way, and the collector says nothing.
    let _heard = mute.accept().await.unwrap();
    tasks.drain(FLUSH_TIMEOUT * 5).await;
    let text = String::from_utf8(metrics.render(&Outlook::default())).unwrap();
    let lost = format!("mcp_gateway_spans_total{{outcome=\"failed\"}} {spans}\n");
    assert!(text.contains(&lost), "{text}");
}

#[test]
fn the_place_is_spliced_into_meta_and_nothing_else_changes() {
    let traces = traces(Sampler::AlwaysOn);
    for (params, before, after) in [
        (None, r#""params":{"_meta":{"traceparent":""#, "\"}}}"),
        (Some("{}"), r#""params":{"_meta":{"traceparent":""#, "\"}}}"),
        (Some(r#"{"name" : "x"}"#), r#"{"name" : "x","_meta":{"traceparent":""#, "\"}}}"),
        (
            Some(r#"{"_meta":{"k":1.0,"progressToken":"p"},"name":"x"}"#),
            r#"{"_meta":{"k":1.0,"progressToken":"p","traceparent":""#,
            r#""},"name":"x"}}"#,
        ),
        (
            Some(r#"{"_meta":{"traceparent":"mine","tracestate":"stale=1","k":1}}"#),
            r#"{"_meta":{"traceparent":""#,
            r#"","k":1}}}"#,
        ),
    ] {
        let request = request(params);
        let call = traces.serve(&Trail::default(), &asked(&request)).calling(&asked(&request));
        let carried = call.trace().unwrap().carried_by(request);
        let place = place(&call).to_string();
        let expected = format!("{before}{place}{after}");
        assert!(carried.text().ends_with(&expected), "{}\n{expected}", carried.text());
    }
}

#[test]
fn what_is_not_traced_is_passed_on_as_headers_only() {
    let trail = around();
    let request = request(Some("{}"));
    let text = request.text().clone();
    let call = trail.calling(&asked(&request));
    assert_eq!(call.trace().unwrap().carried_by(request).text(), &text);
    let headers: Vec<_> = call.trace().unwrap().headers().collect();
    let shown = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    assert_eq!(shown.collect::<Vec<_>>(), [(TRACEPARENT, PARENT), (TRACESTATE, "a=1")]);
}

#[test]
fn names_of_others_are_shown_in_one_line() {
    assert_eq!(shown("a\n\u{1b}[2J\u{2028}b"), "a\u{fffd}\u{fffd}[2J\u{fffd}b");
    assert_eq!(shown(&"ü".repeat(1 << 20)).chars().count(), NAME_CHARS);
}
