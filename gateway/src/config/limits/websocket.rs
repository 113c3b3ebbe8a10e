//! Web sockets, of clients and to servers alike.

use std::time::Duration;

/// How often the other side is pinged. Beyond: a ping is sent.
pub const PING_EVERY: Duration = Duration::from_secs(20);
/// How long the other side may be silent, pongs included. Beyond: the connection is closed.
pub const SILENCE_MAX: Duration = Duration::from_secs(50);
/// How long one write may take. Beyond: the connection is closed.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the other side may take to answer a close frame with its own. Beyond: the
/// connection is cut.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// How long what a server said last is listened to when nothing can be written any more.
/// Beyond: calls in flight end with `OUTCOME_UNKNOWN`.
pub const LEFTOVER_GRACE: Duration = Duration::from_secs(1);
/// Messages written before the socket is flushed. Beyond: it is flushed.
pub const FLUSH_MESSAGES: usize = 64;
/// One frame of a client. Beyond: close code 1009.
pub const FRAME_BYTES: usize = 1 << 20;
/// Fragments of one message of a client. Beyond: close code 1009.
pub const FRAGMENTS_MAX: u32 = 4096;
/// Pings and pongs of a client within a second. Beyond: close code 1008.
pub const CONTROLS_PER_SECOND: u32 = 20;
/// What is read at once from a client; most of them are silent most of the time. Beyond: the
/// rest is read next.
pub const CLIENT_READ_BYTES: usize = 8 * 1024;
/// What is read at once from a server. Beyond: the rest is read next.
pub const SERVER_READ_BYTES: usize = 16 * 1024;
