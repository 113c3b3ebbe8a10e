//! Connections and requests of clients.

use std::time::Duration;

/// Connections of clients at the same time, upgraded ones too. Setting `limits.connections`.
/// Beyond: a new connection is closed at once, and counted.
pub const CONNECTIONS: usize = 10_000;
/// Connections of the admin listener at the same time. Beyond: a new connection is closed at
/// once, and counted.
pub const ADMIN_CONNECTIONS: usize = 256;
/// Connections of a listener that wait to be accepted, if `net.core.somaxconn` is no less.
/// Beyond: the system answers none, and the client tries again after a second.
pub const BACKLOG_CONNECTIONS: u16 = 1024;
/// The head of a request, and each buffer of its connection. Beyond: 431, and the connection is
/// closed.
pub const HEAD_BYTES: usize = 32 * 1024;
/// Header lines of a request. Beyond: 431, and the connection is closed.
pub const HEADERS_MAX: usize = 100;
/// The target of a request: path and query. Beyond: 414.
pub const TARGET_BYTES: usize = 8 * 1024;
/// Time for the head of a request, from its first byte on, and for the first byte of all.
/// Setting `limits.header_timeout`. Beyond: 408 if it had begun, and the connection is closed.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The body of a request, or one message of a WebSocket. Setting `limits.body_bytes`. Beyond:
/// 413 `REQUEST_TOO_LARGE`, unread where its length was announced; close code 1009.
pub const BODY_BYTES: usize = 4 << 20;
/// Time for all of a body to arrive. Setting `limits.body_timeout`. Beyond: 408, and the
/// connection is closed.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may rest between two requests.
///
/// Longer than the 60 s for which nginx keeps a connection to a server behind it, so that it is
/// nginx that closes first: the other way round a request may meet a connection that is just
/// being closed, which is a 502. Beyond: the connection is closed.
pub const IDLE: Duration = Duration::from_secs(75);
/// How long a client may take in nothing of what is written to it. Beyond: the connection is
/// closed; what it missed can be resumed.
pub const WRITE_STALL: Duration = Duration::from_secs(30);
/// How long what was sent may stay unacknowledged, or a client's receive window shut.
///
/// Then the system gives the connection up: so a client whose machine is gone goes too
/// (`TCP_USER_TIMEOUT`, RFC 5482). Beyond: the connection is closed; what it missed can be
/// resumed.
pub const UNACKNOWLEDGED: Duration = Duration::from_secs(20);
/// How long a client may leave what is being written to it unread once the gateway stops.
/// Beyond: the connection is cut.
pub const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// How long a client is listened to that was answered before all of its request was read, so
/// that it can read the answer (RFC 9112 §9.6). Beyond: the connection is cut.
pub const LINGER: Duration = Duration::from_secs(2);
/// What is read of it then. Beyond: the connection is cut.
pub const LINGER_BYTES: usize = 16 << 20;
/// How much of that is read at once. Beyond: the rest is read next.
pub const LINGER_READ_BYTES: usize = 8 * 1024;
/// How long accepting rests when the process is out of file descriptors. Beyond: accepting is
/// tried again.
pub const ACCEPT_REST: Duration = Duration::from_secs(1);
/// How long a listener is quiet before it is closed. Beyond: it is closed.
pub const ACCEPT_QUIET: Duration = Duration::from_millis(20);
/// How long a listener that is never quiet goes on accepting after it was told to close.
/// Beyond: who waits to be accepted is cut off.
pub const ACCEPT_LAST: Duration = Duration::from_millis(200);
/// How long a connection without a request yet is kept open by a gateway that stops. Beyond: it
/// is closed.
pub const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// How often the end of a client's input is put off while its body is still being read. Beyond:
/// the body counts as broken off, 400.
pub const TURNS_MAX: u8 = 32;
/// The pauses before the comments that find out whether a client that hung up is gone. Beyond:
/// the keep-alive comments find out.
pub const PROBES: &[Duration] = &[
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
];
/// How long a reply waits for its answer as one JSON text. Beyond: it becomes an event stream.
pub const PATIENCE: Duration = Duration::from_millis(200);
/// A comment is sent when nothing else was for so long, so that proxies keep the stream open
/// and a dead client is noticed. Beyond: a comment is sent.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events are put into one write until it holds this much. Beyond: the rest goes into the next
/// write.
pub const WRITE_BYTES: usize = 16 * 1024;
/// What a client whose stream ended is told to wait before it connects again. Beyond: it
/// connects again.
pub const RETRY_MS: u64 = 3000;
/// How long a browser may keep the answer to a preflight. Beyond: it asks again.
pub const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);
/// `Retry-After` of what will pass within moments: a queue, a start, a stop. Beyond: the client
/// may try again.
pub const RETRY_SOON: Duration = Duration::from_secs(1);
/// `Retry-After` of what passes when somebody else ends something: sessions, processes. Beyond:
/// the client may try again.
pub const RETRY_LATER: Duration = Duration::from_secs(5);
