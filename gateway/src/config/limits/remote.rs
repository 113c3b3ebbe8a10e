//! Servers that are reached over a network.

use std::time::Duration;

/// Name look-up, connecting and TLS together. Beyond: `BACKEND_UNAVAILABLE`; the next instance
/// is tried first.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept: less than the 5 s after which common servers (Node's
/// http module, uvicorn) close theirs, because a request that meets the closing is lost.
/// Beyond: it is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Idle connections kept for one host. Beyond: the connection is closed after its request.
pub const IDLE_CONNECTIONS: usize = 256;
/// Tries for a request while kept connections are found closed; the last is over a new one.
/// Beyond: `BACKEND_UNAVAILABLE`.
pub const FRESH_TRIES: u32 = 3;
/// How often a connection is probed, so that a dead peer ends a silent event stream. Beyond: a
/// probe is sent.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(30);
/// Unanswered probes of a connection. Beyond: it is lost.
pub const PROBE_RETRIES: u32 = 3;
/// The body of an answer that is no success, or came instead of an upgrade. Beyond: the rest is
/// not read.
pub const FAULT_BODY_BYTES: usize = 64 * 1024;
/// How long reading such a body, or one nobody needs, may take. Beyond: the rest is not read.
pub const FAULT_BODY_TIMEOUT: Duration = Duration::from_secs(2);
/// The id of a session that a server opens. Beyond: the server broke the protocol,
/// `BACKEND_PROTOCOL`.
pub const SESSION_ID_BYTES: usize = 256;
/// The address that an HTTP+SSE server names for messages. Beyond: the server broke the
/// protocol; it does not start.
pub const ENDPOINT_BYTES: usize = 8 * 1024;
/// Messages that may wait for one HTTP+SSE or WebSocket connection. Beyond: a call waits for
/// room, a notification is dropped.
pub const QUEUE_MESSAGES: usize = 1024;
/// POSTs under way to one HTTP+SSE server. Beyond: the next waits in the queue.
pub const POSTS_AT_ONCE: usize = 256;
/// Notifications on their way to one HTTP server. Beyond: the notification is dropped.
pub const NOTES_MAX: usize = 64;
/// How long the POST of a notification may take. Beyond: it is given up.
pub const NOTE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an exchange may go on after its call has ended. Beyond: it is cut.
pub const LINGER: Duration = Duration::from_secs(1);
/// How often a broken stream is taken up again without hearing anything in between. Beyond:
/// `OUTCOME_UNKNOWN`.
pub const RESUME_TRIES: u32 = 5;
/// How long to wait before taking a stream up, unless the server says (`retry:`). Beyond: it is
/// taken up.
pub const RESUME_WAIT: Duration = Duration::from_secs(1);
/// The shortest such wait: a server that says 0 is not asked without a pause. Beyond: a shorter
/// one is lengthened.
pub const RESUME_WAIT_MIN: Duration = Duration::from_millis(100);
/// The longest wait a server may ask for, and the cap of our own back-off. Beyond: a longer one
/// is shortened.
pub const RESUME_WAIT_MAX: Duration = Duration::from_secs(30);
