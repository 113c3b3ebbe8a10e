//! What is told of requests: their ids, and their spans.

use std::time::Duration;

/// The shortest request id that is taken from a trusted proxy. Beyond: the gateway makes one.
pub const REQUEST_ID_CHARS_MIN: usize = 8;
/// The longest request id that is taken from a trusted proxy. Beyond: the gateway makes one.
pub const REQUEST_ID_CHARS_MAX: usize = 128;
/// What a caller's `tracestate` may hold. Beyond: it is left out.
pub const STATE_BYTES: usize = 512;
/// Characters of a name that a client chose, in a span. Beyond: it is cut.
pub const NAME_CHARS: usize = 128;
/// Spans that wait to be sent. Beyond: the span is lost, and counted.
pub const QUEUE_SPANS: usize = 4096;
/// Spans that are sent to the collector at once. Beyond: the rest is sent next.
pub const BATCH_SPANS: usize = 512;
/// How long a span waits for others. Beyond: it is sent.
pub const BATCH_WAIT: Duration = Duration::from_secs(1);
/// How long the collector may take. Beyond: the spans are lost, and counted.
pub const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may take with the last ones, when the gateway stops. Beyond: they are lost.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the log tells of a collector that does not take spans. Beyond: it is told once
/// more.
pub const WARN_EVERY: Duration = Duration::from_secs(60);
