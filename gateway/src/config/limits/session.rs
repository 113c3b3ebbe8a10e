//! Sessions and what is kept for them.

use std::time::Duration;

/// Sessions at the same time. Setting `session.max_sessions`. Beyond: 503 `OVERLOADED` for a
/// new one.
pub const SESSIONS: usize = 10_000;
/// Sessions of one principal at the same time. Setting `session.max_per_principal`. Beyond: 503
/// `OVERLOADED` for a new one.
pub const SESSIONS_PER_PRINCIPAL: usize = 1_000;
/// How long a session may be without any message. Setting `session.idle_timeout`. Beyond: it
/// ends; 404 from then on.
pub const IDLE_TIMEOUT: Duration = Duration::from_hours(1);
/// How long a session of `/sse` or `/ws?resume` waits for its client after its stream broke.
/// Setting `session.resume_window`. Beyond: it ends; the client gets a new one and a `gap`
/// event.
pub const RESUME_WINDOW: Duration = Duration::from_secs(60);
/// How old a session may become. Setting `session.max_age`. Beyond: it ends; 404 from then on.
pub const MAX_AGE: Duration = Duration::from_hours(8);
/// How long the client of a new session may be silent before it sends `initialized`. Beyond:
/// the session ends.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// Notifications of one session that wait for its server to start. Beyond: the notification is
/// dropped, and a warning is logged.
pub const NOTES_MAX: usize = 64;
/// Requests without an answer yet. Setting `limits.in_flight_per_session`. Beyond: 503
/// `OVERLOADED`.
pub const IN_FLIGHT_REQUESTS: usize = 64;
/// Requests of servers that wait for the client. Beyond: the server's request is refused.
pub const ASKS: usize = 64;
/// Events kept for a client that resumes. Setting `limits.replay_events`. Beyond: the oldest
/// go; who asks for them gets a `gap` event.
pub const REPLAY_EVENTS: usize = 1_000;
/// Bytes kept for a client that resumes. Setting `limits.replay_bytes`. Beyond: the oldest go;
/// who asks for them gets a `gap` event.
pub const REPLAY_BYTES: usize = 256 << 10;
/// Events waiting on one stream for a slow client. Setting `limits.queue_events`. Beyond: its
/// stream ends; it may resume.
pub const QUEUE_EVENTS: usize = 256;
/// Bytes waiting on one stream for a slow client. Setting `limits.queue_bytes`. Beyond: its
/// stream ends; it may resume.
pub const QUEUE_BYTES: usize = 1 << 20;
/// How long an ended stream can be asked for again. Beyond: a `gap` event.
pub const ENDED_STREAM_TTL: Duration = Duration::from_secs(300);
/// The secret that store keys are derived from has at least this length. Beyond: a shorter one
/// is a fault of the configuration.
pub const SECRET_BYTES: usize = 32;
