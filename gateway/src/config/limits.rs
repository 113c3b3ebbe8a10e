//! Every bound of the gateway with its default, its unit and what happens beyond it.
//!
//! Nothing waits, queues or grows without one of these. A bound that names a setting is the
//! default of that setting; the others are fixed. `docs/limits.md` is made of this file: the
//! first sentences say what is bounded and why, `Beyond:` says what whoever reaches it sees, and
//! the unit is the type's or the last word of the name. The bounds of what is said, which hold
//! without any gateway around them, are in `wire/src/limits.rs` in the same form.

/// Connections and requests of clients.
pub mod client {
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
}

/// Web sockets, of clients and to servers alike.
pub mod websocket {
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
}

/// Sessions and what is kept for them.
pub mod session {
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
}

/// The shared store of sessions, and the replicas that meet there.
pub mod store {
    use std::time::Duration;

    /// Time for one answer of the store. Beyond: it counts as unavailable, and what was to be
    /// written may have been written.
    pub const ANSWER_TIMEOUT: Duration = Duration::from_millis(250);
    /// How long a reply waits for what it promises to be written down. Beyond: it goes out.
    pub const KEEP_WAIT: Duration = Duration::from_millis(600);
    /// Sessions of one replica that are written down at once. Beyond: the next waits for an answer.
    pub const WRITES_MAX: usize = 128;
    /// Bytes of these writes that are under way at once, one write more not counted. Halved when
    /// an answer does not come, and grown again with answers. Beyond: the next waits.
    pub const WRITE_BYTES: usize = 1 << 20;
    /// The least of it. Beyond: one write at a time.
    pub const WRITE_BYTES_LEAST: usize = 64 << 10;
    /// What a write is counted as beside its texts, and each event, call and note in it. Beyond:
    /// only its texts count.
    pub const WRITE_BYTES_EACH: usize = 256;
    /// Bytes of a write for which its answer may take one millisecond longer. Beyond: another one.
    pub const BYTES_A_MILLISECOND: usize = 2 << 10;
    /// The longest time for an answer, whatever was asked. Beyond: the store is unavailable.
    pub const ANSWER_TIMEOUT_MAX: Duration = Duration::from_secs(2);
    /// Sessions that are not written down, one after another, before the store counts as away for
    /// all; fewer where there are not so many. Beyond: one at a time is tried.
    pub const FAILING_MAX: usize = 3;
    /// The longest wait before a session that alone is not written down is tried again. Beyond: it
    /// is tried again.
    pub const FAILING_WAIT_MAX: Duration = Duration::from_secs(16);
    /// How often a store that is away is tried. Beyond: it is tried again.
    pub const RETRY_EVERY: Duration = Duration::from_millis(250);
    /// Connecting to a Redis: name look-up, TLS, authentication and the first answer together.
    /// Beyond: it is tried again.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
    /// How often the connection is tried. Beyond: it is asked again whether its other end lives.
    pub const PROBE_EVERY: Duration = Duration::from_millis(500);
    /// Answers one after another that did not come in time. Beyond: the connection is replaced.
    pub const TIMEOUTS_MAX: u32 = 2;
    /// The first wait after a Redis could not be reached twice; doubled with each further time.
    /// Beyond: it is tried again.
    pub const RETRY_WAIT: Duration = Duration::from_millis(50);
    /// The longest of these waits. Beyond: it is tried again.
    pub const RETRY_WAIT_MAX: Duration = Duration::from_millis(500);
    /// How often it is logged that the store is away. Beyond: once more.
    pub const AWAY_LOG_EVERY: Duration = Duration::from_secs(30);
    /// Commands that wait to be written to the one connection. Beyond: the next waits, within its
    /// `ANSWER_TIMEOUT`.
    pub const PIPELINE_COMMANDS: usize = 1024;
    /// How often a command that met the failover of a cluster is sent again. Beyond: the store
    /// counts as unavailable.
    pub const CLUSTER_RETRIES: u32 = 3;
    /// The shortest wait before that. Beyond: it is sent.
    pub const CLUSTER_WAIT_MIN: Duration = Duration::from_millis(10);
    /// The longest wait before that. Beyond: it is sent.
    pub const CLUSTER_WAIT_MAX: Duration = Duration::from_millis(50);
    /// Places in a session's log that one owner may give out: its places begin at its fence times
    /// this. Beyond: it may name an event as its successor does.
    pub const PLACES_OF_OWNER: u64 = 1_000_000_000;
    /// Former owners of a session whose places are remembered. Beyond: what the oldest of them said
    /// is a gap.
    pub const OWNERS: usize = 64;
    /// Fences that an owner skips whose lease had lapsed, in a store that forgot.
    ///
    /// It does not know how many owners there were since. Beyond: ids of events may fall behind
    /// those of a later owner that is gone.
    pub const LAPSED_FENCES: u64 = 1_000;
    /// How long an owner whose lease had lapsed waits before it restores a session that the store
    /// forgot: a later owner comes first. Beyond: a later one that comes now has lost the session.
    pub const LAPSED_WAIT: Duration = Duration::from_secs(3);
    /// How long an owner that ended its session may have a write under way. Beyond: that write
    /// restores a session that nobody asks for.
    pub const LATE_WRITES: Duration = Duration::from_secs(60);
    /// Tries to pin a principal while others do. Beyond: the store counts as unavailable.
    pub const PIN_TRIES: u32 = 4;
    /// Sessions that are counted in one step. Beyond: in turns.
    pub const COUNTED_AT_ONCE: usize = 256;
    /// Sessions of killed replicas that one step takes out of the operators' list when their time
    /// is over. Beyond: the next step does.
    pub const COUNTED_OUT_AT_ONCE: usize = 64;
    /// Sessions that are over and yet to be removed from the store. Beyond: their records last
    /// until their idle time is over.
    pub const REMAINS_MAX: usize = 100_000;
    /// Sessions that are removed from the store at once. Beyond: the next ones wait.
    pub const REMOVED_AT_ONCE: usize = 32;
    /// Sessions that are looked at at once for an operator's list. Beyond: in turns.
    pub const LIST_AT_ONCE: usize = 64;
    /// How often a replica says that it lives. Beyond: it says so again.
    pub const BEAT_EVERY: Duration = Duration::from_secs(2);
    /// How often it tries while the store does not answer. Beyond: it tries again.
    pub const BEAT_AGAIN: Duration = Duration::from_millis(250);
    /// How long the number of a replica's signs of life may stand still. Beyond: if its address
    /// refuses connections too, others may claim its sessions.
    pub const STILL_AFTER: Duration = Duration::from_secs(3);
    /// How long a replica is taken to live after its last sign of life. Beyond: others may claim
    /// its sessions.
    pub const BEAT_TTL: Duration = Duration::from_secs(10);
    /// How long a replica relies on its last sign of life that the store confirmed.
    ///
    /// It is counted from before it was sent. Beyond: it takes in no calls of stored sessions (503
    /// `STORE_UNAVAILABLE`) until the store has confirmed that they are its own still.
    pub const FENCE_AFTER: Duration = Duration::from_secs(7);
    /// How long a store that was emptied is given to hear of the sessions that live. Beyond: a
    /// session it does not know is unknown (404); before, its client waits.
    pub const YOUNG: Duration = Duration::from_secs(5);
    /// One note of a session, such as what its client subscribed to at a server. Beyond: it is not
    /// kept, and a successor begins anew there.
    pub const NOTE_BYTES: usize = 64 << 10;
    /// The store forgets a session on `/ws` whose owner is gone after twice
    /// `session.resume_window`, and not before this. Beyond: its client gets a new one.
    pub const SOCKET_IDLE_MIN: Duration = Duration::from_secs(60);
    /// How long a client waits for its session to be claimed from an owner that is gone. Beyond:
    /// 503 `STORE_UNAVAILABLE`.
    pub const CLAIM_WAIT: Duration = Duration::from_secs(20);
}

/// Limits of rates, where `rate_limit` turns them on.
pub mod rate {
    use std::time::Duration;

    /// Requests of one caller within `WINDOW`, and at once. Setting `rate_limit.max`. Beyond: 429
    /// `RATE_LIMITED`, with the time to wait.
    pub const MAX: u32 = 100;
    /// The time in which these are counted. Setting `rate_limit.window`. Beyond: as many again.
    pub const WINDOW: Duration = Duration::from_mins(15);
    /// Whatever comes from one address within `ADDRESS_WINDOW`, on average. Setting
    /// `rate_limit.address_max`. Beyond: 429 `RATE_LIMITED`, before the body is read.
    pub const ADDRESS_MAX: u32 = 100;
    /// The time in which this is counted. Setting `rate_limit.address_window`. Beyond: as many
    /// again.
    pub const ADDRESS_WINDOW: Duration = Duration::from_secs(1);
    /// How much of it may come at once. Setting `rate_limit.address_burst`. Beyond: as with
    /// `rate_limit.address_max`.
    pub const ADDRESS_AT_ONCE: u32 = 200;
    /// Rules in `rate_limit.tools`. Beyond: a fault of the configuration.
    pub const TOOL_RULES: usize = 100;
    /// The longest time in which a burst comes back. Beyond: a fault of the configuration.
    pub const REFILL_MAX: Duration = Duration::from_hours(8784);
    /// Callers whose spending one replica remembers, 16 bytes each. Beyond: those who have spent
    /// least are taken for new ones.
    pub const BUCKETS: usize = 1 << 17;
    /// Of these, the ones among which the one is chosen that is forgotten. Beyond: the one that has
    /// spent least is.
    pub const SET_BUCKETS: usize = 8;
    /// How often it is logged that a proxy is not trusted whose clients are taken for one. Beyond:
    /// once more.
    pub const PROXY_LOG_EVERY: Duration = Duration::from_secs(60);
}

/// Proxies in front of the gateway that are trusted by name.
pub mod proxy {
    use std::time::Duration;

    /// How often a name in `trusted_proxies` is looked up. Beyond: it is looked up again.
    pub const LOOK_UP_EVERY: Duration = Duration::from_secs(3);
    /// How long a look-up may take; no other one of that name is begun meanwhile. Beyond: it
    /// counts as one that found nothing.
    pub const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(2);
    /// How long what was found is relied on while nothing is found. Beyond: nobody is trusted by
    /// that name.
    pub const FORGET_AFTER: Duration = Duration::from_secs(60);
    /// A name, the longest there is (RFC 1035 §2.3.4). Beyond: a fault of the configuration.
    pub const NAME_CHARS: usize = 253;
    /// Addresses of one name. Beyond: the others are not trusted.
    pub const ADDRESSES_MAX: usize = 64;
}

/// Between replicas.
pub mod hop {
    use std::time::Duration;

    /// How long a replica whose sign of life has run out may take to say that it lives. Beyond: its
    /// sessions are claimed.
    pub const ASK_WAIT: Duration = Duration::from_secs(1);
    /// How old a signed request may be, by the store's clock, and how far ahead of it. Beyond: it
    /// is refused.
    pub const AGE_MAX: Duration = Duration::from_secs(5);
    /// Signed requests that are remembered, so that none is taken twice. Beyond: refused, until the
    /// oldest is too old to be taken anyhow.
    pub const NONCES_MAX: usize = 1_000_000;
    /// Time to connect to another replica. Beyond: as if it did not answer.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
    /// How long after another replica's last answer a connection to it that was kept may be used.
    /// Beyond: a new one, which tells whether it can be reached before anything is sent.
    pub const HEARD_FOR: Duration = Duration::from_secs(1);
    /// Time for the head of an answer that another replica gives to a client. Beyond:
    /// `OUTCOME_UNKNOWN`.
    pub const HEAD_WAIT: Duration = Duration::from_secs(60);
    /// How often it is looked again whose a session is, while its owner does not answer. Beyond: it
    /// is looked again.
    pub const LOOK_EVERY: Duration = Duration::from_millis(100);
    /// Times that a request which may be carried again is lost with its session's owner. Beyond:
    /// the search for another owner has what is left of its time.
    pub const LOSSES_MAX: usize = 2;
    /// How long a replica that says that a session is not its own is believed to be about to end
    /// it or give it back. Beyond: it is claimed.
    pub const DISCLAIM_WAIT: Duration = Duration::from_secs(1);
    /// How long a request to a replica that is stopping waits for the calls of its session, so that
    /// another one can go on with it. Beyond: it is served where it is.
    pub const IDLE_WAIT: Duration = Duration::from_secs(5);
    /// How long it is remembered whose a session is. Beyond: the store is asked again.
    pub const PLACE_TTL: Duration = Duration::from_secs(3);
    /// Sessions of other replicas of which that is remembered. Beyond: all are forgotten, and the
    /// store is asked again.
    pub const PLACES_MAX: usize = 10_000;
    /// Addresses of other replicas that are kept as they were read. Beyond: all are forgotten, and
    /// read again.
    pub const TARGETS_MAX: usize = 256;
    /// What is read of another replica's refusal to speak WebSocket. Beyond: the rest is not passed
    /// on.
    pub const REFUSAL_BYTES: usize = 64 << 10;
    /// Time for the handshake of a WebSocket that is carried to another replica. Beyond: as if it
    /// did not answer.
    pub const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
}

/// Servers of any kind.
pub mod server {
    use std::time::Duration;

    /// One line, event or body from a server. Setting `limits.line_bytes`. Beyond: it is dropped as
    /// it arrives; its call ends with `RESPONSE_TOO_LARGE`.
    pub const LINE_BYTES: usize = 16 << 20;
    /// From the start of a process or connection to its `initialize` answer. Setting
    /// `servers.*.start_timeout`. Beyond: `BACKEND_UNAVAILABLE`, and the start is ended.
    pub const START_TIMEOUT: Duration = Duration::from_secs(120);
    /// How long a call may be without an answer or progress. Setting `servers.*.call_timeout`.
    /// Beyond: `BACKEND_TIMEOUT`, and the server is told to cancel.
    pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);
    /// How long a call may take whatever its progress. Setting `servers.*.call_timeout_max`.
    /// Beyond: `BACKEND_TIMEOUT`, and the server is told to cancel.
    pub const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(600);
    /// How long a server is left alone after its first failure; doubled with each further one.
    /// Beyond: it is started again.
    pub const FIRST_REST: Duration = Duration::from_secs(2);
    /// How long it is left alone at the most. Beyond: it is started again; it is never given up.
    pub const LONGEST_REST: Duration = Duration::from_secs(60);
    /// The span in which crashes and lines that are no messages are counted. Beyond: they are
    /// forgotten.
    pub const TROUBLE_SPAN: Duration = Duration::from_secs(60);
    /// How long a server may take to say whether it speaks revision 2026-07-28. Beyond: it is
    /// taken to speak an older one for the time being.
    pub const ERA_PROBE_TIMEOUT: Duration = Duration::from_secs(10);
    /// The same for a process, which has to start first; `start_timeout` when that is less.
    /// Beyond: it is taken to speak an older one for the time being.
    pub const ERA_PROCESS_TIMEOUT: Duration = Duration::from_secs(30);
    /// How long a server that gave no clear answer is taken to speak an older revision. Beyond: it
    /// is asked again when that matters.
    pub const ERA_DOUBT: Duration = Duration::from_secs(60);
    /// The same, of one that started in an older revision meanwhile. Beyond: it is asked again when
    /// that matters.
    pub const ERA_REST: Duration = Duration::from_mins(10);
    /// Unclear answers of a server that is known to speak revision 2026-07-28, one after another.
    /// Beyond: it is taken to speak an older one for the time being.
    pub const DOUBTS_MAX: u32 = 5;
    /// How long the answer to `server/discover` is kept at least. Beyond: as long as it says.
    pub const DISCOVERED_MIN: Duration = Duration::from_secs(1);
    /// How long it is kept at the most. Beyond: the server is asked again.
    pub const DISCOVERED_MAX: Duration = Duration::from_hours(1);
    /// Crashes within that span. Beyond: `BACKEND_UNAVAILABLE` until the first of them is
    /// forgotten.
    pub const CRASHES_MAX: usize = 5;
    /// Lines of a shared process within that span that are no messages. Beyond: it is replaced when
    /// nothing is in flight there.
    pub const GARBAGE_LINES: u32 = 100;
    /// How long a call waits for room in a server's queue. Beyond: `OVERLOADED`.
    pub const QUEUE_WAIT: Duration = Duration::from_secs(10);
    /// How long a cancelled call may still be answered. Beyond: its stream ends without an answer.
    pub const CANCEL_GRACE: Duration = Duration::from_secs(2);
    /// Calls that nobody waits for any more and that the server has not answered yet. Beyond: what
    /// a shared server says unasked goes to no client any more.
    pub const GHOSTS_MAX: usize = 1024;
    /// How long a server may take to confirm that it read a cancellation. Beyond: the call counts
    /// as in flight until it is answered.
    pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);
    /// How long what a server does for a call goes on, at most, after it read that it is cancelled.
    /// Beyond: what it says is no longer taken for that call's.
    pub const SETTLE: Duration = Duration::from_millis(250);
    /// How long a server may take to forget a subscription. Beyond: it is not waited for.
    pub const FORGET_TIMEOUT: Duration = Duration::from_secs(10);
    /// How long repeating one of a client's wishes after a restart may take. Beyond: it is not
    /// waited for.
    pub const REPEAT_TIMEOUT: Duration = Duration::from_secs(10);
    /// How long one server may take to set its log level. Beyond: it is not waited for.
    pub const SET_LEVEL_WAIT: Duration = Duration::from_secs(10);
    /// How old an upstream of a retiring server is before it may be found idle: the call that it
    /// was started for may not have reached it yet. Beyond: it is closed when nothing is in flight.
    pub const SETTLED: Duration = Duration::from_secs(1);
    /// What is logged of a line that is no message. Beyond: it is cut.
    pub const SHOWN_BYTES: usize = 200;
}

/// Servers that are child processes.
pub mod process {
    use std::time::Duration;

    /// Child processes of all servers together. Setting `limits.processes`. Beyond: `OVERLOADED`
    /// for the call that needs another.
    pub const PROCESSES: usize = 256;
    /// Child processes of one server. Setting `servers.*.max_processes`. Beyond: `OVERLOADED` for
    /// the call that needs another.
    pub const PROCESSES_PER_SERVER: usize = 128;
    /// How long nobody may use a process. Setting `servers.*.idle_timeout`. Beyond: it is ended,
    /// and the next call starts another.
    pub const IDLE_TIMEOUT: Duration = Duration::from_mins(15);
    /// How long a process that gives way to another may take to end: `CLOSE_GRACE` twice, and a
    /// moment. Beyond: `OVERLOADED` for the call that needs its place.
    pub const GIVE_WAY_TIMEOUT: Duration = Duration::from_secs(7);
    /// Lines that may wait for one process. Beyond: a call waits for room, a notification is
    /// dropped.
    pub const QUEUE_LINES: usize = 1024;
    /// How long a child may leave its full standard input unread. Beyond: it is ended;
    /// `OUTCOME_UNKNOWN` for what it may have read.
    pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
    /// What the pipes to and from a child hold.
    ///
    /// The 64 KiB that the system gives are less than a message of that size with its envelope,
    /// which would take two turns each way; an ordinary user may ask for up to 1 MiB (pipe(7)).
    /// The memory is taken when it is written to. Beyond: the writer waits.
    pub const PIPE_BYTES: usize = 256 * 1024;
    /// What is written to a child at once: what a pipe of Linux holds (pipe(7)). Beyond: the rest
    /// goes into the next write.
    pub const WRITE_BYTES: usize = 64 * 1024;
    /// What is read of a child at once: what a pipe of Linux holds (pipe(7)). Beyond: the rest is
    /// read next.
    pub const READ_BYTES: usize = 64 * 1024;
    /// What is read of a child's stderr at once. Beyond: the rest is read next.
    pub const STDERR_READ_BYTES: usize = 32 * 1024;
    /// The last lines of stderr that are kept, for the error of a failed start. Beyond: the oldest
    /// go.
    pub const KEPT_LINES: usize = 20;
    /// What is kept of a line of stderr; of its bytes never more. Beyond: the line is cut.
    pub const KEPT_CHARACTERS: usize = 512;
    /// How long a process has after its stdin was closed, and again after SIGTERM (MCP 2025-11-25,
    /// basic/lifecycle, "Shutdown"). Beyond: SIGTERM, then SIGKILL to its group.
    pub const CLOSE_GRACE: Duration = Duration::from_secs(3);
    /// How long a process that closed a pipe may take to exit, so that its own exit code is seen.
    /// Beyond: it is ended.
    pub const BROKEN_GRACE: Duration = Duration::from_millis(500);
    /// How long output that is still in a pipe is read after the leader has gone. Only a process
    /// that left the group can make it take that long. Beyond: it is left unread.
    pub const LEFTOVER_GRACE: Duration = Duration::from_millis(100);
    /// How long a closing waits for the killed members of the group to be reaped by init. Beyond:
    /// it is not waited for.
    pub const REAP_DEADLINE: Duration = Duration::from_millis(500);
    /// How often it is looked whether they are. Beyond: it is looked again.
    pub const REAP_LOOK_EVERY: Duration = Duration::from_millis(5);
    /// How long the last words of a process that did not start are waited for. Beyond: its error
    /// shows those that came.
    pub const LAST_WORDS_WAIT: Duration = Duration::from_millis(50);
    /// How long a closing waits for the kernel to end a process it has sent SIGKILL to. Beyond: a
    /// warning is logged.
    pub const KILL_DEADLINE: Duration = Duration::from_secs(5);
}

/// Servers that are reached over a network.
pub mod remote {
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
}

/// Lists that are made of several servers', and names that are looked up in them.
pub mod list {
    use std::time::Duration;

    /// How long a merged list waits for one server of which nothing is known.
    ///
    /// A server that is slower goes on starting, and the client is told by `list_changed` when it
    /// is there. Beyond: the list is given without it, and says so.
    pub const LIST_WAIT: Duration = Duration::from_secs(10);
    /// How long it waits for one whose last list is known. Beyond: the last list is given in its
    /// place.
    pub const KNOWN_WAIT: Duration = Duration::from_secs(1);
    /// Pages asked of one server (a cursor may lead in circles). Beyond: the rest is not asked for.
    pub const PAGES_MAX: usize = 100;
    /// Items taken of one server. Beyond: the rest is left out.
    pub const ITEMS_MAX: usize = 10_000;
    /// One item, a tool with its schemas. Beyond: it is left out.
    pub const ITEM_BYTES: usize = 1 << 20;
    /// Kinds of clients, told apart by revision and capabilities, that one server's lists are kept
    /// for. Beyond: what was kept for the one used longest ago goes.
    pub const LISTINGS_MAX: usize = 8;
    /// The declaration of capabilities that clients are told apart by. Beyond: the session starts a
    /// process of its own at once.
    pub const DECLARED_BYTES: usize = 16 << 10;
    /// A cursor that is looked up. Beyond: the session's own process is asked.
    pub const CURSOR_BYTES: usize = 4 << 10;
    /// Pages kept for one kind of clients. Beyond: a page is asked for each time.
    pub const KEPT_PAGES: usize = 1_000;
    /// Bytes of these pages. Beyond: a page is asked for each time.
    pub const KEPT_PAGES_BYTES: usize = 16 << 20;
    /// Templates that a URI is compared with. Beyond: it is not compared with the rest.
    pub const TEMPLATES_MAX: usize = 1_000;
    /// A template that is read, and a URI that fits one. Beyond: no URI fits it.
    pub const TEMPLATE_BYTES: usize = 8 * 1024;
    /// Expressions of a template that is read. Beyond: no URI fits it.
    pub const TEMPLATE_EXPRESSIONS: usize = 16;
    /// A name in a merged list: the longest that clients of all kinds accept. Beyond: it is
    /// shortened, with a digest.
    pub const NAME_CHARS: usize = 64;
    /// A name that is compared with others, which takes time with the product of both lengths.
    /// Beyond: no similar name is offered.
    pub const COMPARED_CHARS: usize = 128;
    /// Known names that an unknown one is compared with. Beyond: it is not compared with the rest.
    pub const COMPARED_NAMES: usize = 2_000;
    /// Similar names that the error of an unknown one offers. Beyond: the rest is not offered.
    pub const OFFERED_NAMES: usize = 3;
    /// What an error repeats of a name or URI. Beyond: it is cut.
    pub const SHOWN_CHARS: usize = 200;
}

/// Between the eras.
pub mod bridge {
    use std::time::Duration;

    /// How long a question of a legacy server waits for others, so that a modern client gets them
    /// together. Beyond: it goes, and the next question waits for the next turn.
    pub const QUESTIONS_WINDOW: Duration = Duration::from_millis(30);
    /// Questions a legacy server asks a modern client in the course of one call. Beyond: the
    /// server's request is refused.
    pub const QUESTIONS_MAX: usize = 256;
    /// How often a modern server may ask for input in one call of a legacy client. Beyond: the call
    /// fails.
    pub const ROUNDS_MAX: u32 = 10;
    /// What it may ask for at once. Beyond: `BACKEND_PROTOCOL`.
    pub const INPUTS_MAX: usize = 64;
    /// How long a call rests that a modern server wants to be asked again without any input;
    /// doubled with each further time. Beyond: it is asked again.
    pub const STATE_WAIT: Duration = Duration::from_millis(50);
    /// How long it rests at the most. Beyond: it is asked again.
    pub const STATE_WAIT_MAX: Duration = Duration::from_millis(250);
    /// Resources of one modern server that a legacy session is subscribed to. Beyond: `OVERLOADED`.
    pub const URIS_MAX: usize = 1024;
    /// How long a modern server may take to acknowledge a listen. Beyond: another is opened.
    pub const ACKNOWLEDGE_WAIT: Duration = Duration::from_secs(30);
    /// How long it is waited before a listen that ended is opened again; doubled with each further
    /// time that it fails. Beyond: it is opened.
    pub const LISTEN_WAIT: Duration = Duration::from_secs(1);
    /// How long it is waited at the most. Beyond: it is opened.
    pub const LISTEN_WAIT_MAX: Duration = Duration::from_secs(60);
    /// Calls that wait until their modern clients come back with what a legacy server asked for.
    /// Beyond: the call is cancelled, `OVERLOADED`.
    pub const SUSPENDED_MAX: usize = 10_000;
    /// Those of one principal. Beyond: as with all of them.
    pub const SUSPENDED_SHARE: usize = 2_000;
    /// How long such a call waits. Beyond: it is cancelled, and its `requestState` is refused.
    pub const SUSPENDED_TTL: Duration = Duration::from_secs(10 * 60);
    /// Tasks of one server that one client knows of. Beyond: the oldest is forgotten, and what it
    /// asks is not heard of any more.
    pub const TASKS_MAX: usize = 1024;
    /// Ends of calls that a modern server answered at once, kept for a legacy client that wanted a
    /// task. Beyond: the oldest is forgotten.
    pub const TASK_ENDS_MAX: usize = 32;
    /// How long `tasks/result` waits between two looks at a modern task, where the server does not
    /// say. Beyond: it looks again.
    pub const POLL_WAIT: Duration = Duration::from_secs(1);
    /// The least it waits, whatever the server says. Beyond: as the server says.
    pub const POLL_WAIT_MIN: Duration = Duration::from_millis(50);
    /// The most it waits, whatever the server says. Beyond: it looks again.
    pub const POLL_WAIT_MAX: Duration = Duration::from_secs(10);
    /// How long `tasks/get` waits for what a task asks or for its end, once the server has said
    /// that there is one. Beyond: the task is shown as working.
    pub const TASK_NEWS_WAIT: Duration = Duration::from_secs(2);
    /// How long a session that was opened in a modern client's stead beside another one may be
    /// idle. Beyond: it ends.
    pub const SURPLUS_IDLE: Duration = Duration::from_secs(60);
    /// Subscriptions of one modern client to what legacy servers say unasked. Beyond: `OVERLOADED`.
    pub const SUBSCRIPTIONS_MAX: usize = 256;
    /// Notifications that wait for a subscription's reader. Beyond: the subscription ends, so that
    /// its client knows that it missed something.
    pub const NOTES_MAX: usize = 64;
    /// Resources that one of them names. Beyond: `INVALID_PARAMS`.
    pub const LISTEN_URIS_MAX: usize = 1024;
    /// Of these, those that a server is asked for at once. Beyond: the next waits for an answer.
    pub const SUBSCRIBING_MAX: usize = 8;
    /// How long the list of tools, once looked at for a call's headers, is good for another look.
    /// Beyond: headers that contradict it have it listed again.
    pub const PARAMS_LOOK_AGAIN: Duration = Duration::from_secs(3);
    /// Levels of a call's params, compared with those of a retry by what they mean. Beyond: deeper
    /// ones are compared as they are written.
    pub const PARAMS_DEPTH: usize = 32;
}

/// What operators ask a running gateway.
pub mod operator {
    use std::time::Duration;

    /// Sessions that are looked at for `mcp-gateway sessions`. Beyond: others are not shown.
    pub const LISTED_MAX: usize = 10_000;
    /// What it reads of an answer. Beyond: it fails.
    pub const ANSWER_BYTES: u64 = 16 << 20;
    /// Each step of asking: connecting, sending, each read. Beyond: it fails.
    pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
    /// Time for a session's owner to end it when another replica was asked to. Beyond: 503, and it
    /// may have ended.
    pub const OWNER_TIMEOUT: Duration = Duration::from_secs(5);
}

/// What is told of requests: their ids, and their spans.
pub mod trace {
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
}

/// The process itself: its configuration, its clearing up, its end.
pub mod gateway {
    use std::time::Duration;

    /// Tools that have figures of their own. Beyond: they are counted as `other`.
    pub const TOOLS_MAX: usize = 500;
    /// Sets of labels that the durations of answers are counted under, half of them with revision
    /// and an error's code. Beyond: they are counted without the tool's name too.
    pub const OPERATION_SETS_MAX: usize = 800;
    /// The name of such a tool. Beyond: it is counted as `other`.
    pub const TOOL_NAME_BYTES: usize = 128;
    /// A configuration file. Beyond: a fault of the configuration.
    pub const CONFIG_FILE_BYTES: u64 = 1 << 20;
    /// A file that holds one secret (`REDIS_PASSWORD_FILE`, `SESSION_SECRET_FILE`). Beyond: a fault
    /// of the configuration.
    pub const SECRET_FILE_BYTES: u64 = 4096;
    /// The shortest password of Redis that `mcp-gateway secrets` accepts: Redis answers guesses as
    /// fast as they come. Beyond: it is refused.
    pub const PASSWORD_BYTES: usize = 16;
    /// Random bytes of a secret that `mcp-gateway secrets` makes. Beyond: none are drawn.
    pub const MADE_SECRET_BYTES: usize = 32;
    /// How long a certificate of `mcp-gateway certs` is valid. Systems of Apple refuse one for more
    /// than 825 days, even from an authority that their user trusts. Beyond: it is made anew.
    pub const CERTIFICATE_VALIDITY: Duration = Duration::from_hours(24 * 820);
    /// How long before its end `mcp-gateway certs --if-missing` makes it anew. Beyond: it is kept.
    pub const CERTIFICATE_RENEWAL: Duration = Duration::from_hours(24 * 30);
    /// Levels of nesting of a configuration. Beyond: a fault of the configuration.
    pub const CONFIG_DEPTH: usize = 32;
    /// How long the directory has to be quiet before a changed file is read: editors write in
    /// steps. Beyond: the file is read.
    pub const RELOAD_QUIET: Duration = Duration::from_millis(300);
    /// How long a directory that is never quiet is waited for. Beyond: the file is read.
    pub const RELOAD_QUIET_MAX: Duration = Duration::from_secs(2);
    /// How often what is over is cleared away. Beyond: calls, sessions and streams that are overdue
    /// end.
    pub const SWEEP_EVERY: Duration = Duration::from_millis(500);
    /// How long connections are still accepted after the gateway was told to stop. Beyond: they are
    /// refused.
    pub const STOP_NOTICE: Duration = Duration::from_secs(3);
    /// How long calls may still take then. Beyond: `OUTCOME_UNKNOWN`.
    pub const STOP_FINISH: Duration = Duration::from_secs(20);
    /// How long sessions, streams and processes may take to end then. Beyond: they are cut.
    pub const STOP_LET_GO: Duration = Duration::from_secs(7);
    /// Over how long the ends of many sessions are spread, so that their clients do not come back
    /// all at once. Beyond: all have ended.
    pub const STOP_SPREAD: Duration = Duration::from_secs(2);
    /// Sessions whose end is not spread. Beyond: it is.
    pub const STOP_FEW_SESSIONS: usize = 50;
    /// Groups that many sessions are ended in. Beyond: the groups are larger.
    pub const STOP_GROUPS: usize = 100;
    /// Sessions handed back to a shared store at the start of a stop, whose clients may come back
    /// elsewhere all at once. Beyond: the others follow, spread.
    pub const STOP_HANDED_FIRST: usize = 32;
    /// Sessions that are being handed back at the same time. Beyond: the next ones wait.
    pub const STOP_HANDED_AT_ONCE: usize = 256;
    /// How long a WebSocket may take to be left before its session is handed back; more than its
    /// client has to answer the close. Beyond: what the client still says is lost.
    pub const STOP_LEAVE: Duration = Duration::from_secs(3);
    /// How long a stop waits before it tries a store again that took no session back. Beyond: it
    /// tries again.
    pub const STOP_HAND_AGAIN: Duration = Duration::from_millis(250);
    /// How often it is looked whether calls are still in flight. Beyond: it is looked again.
    pub const STOP_LOOK_EVERY: Duration = Duration::from_millis(20);
    /// Lines of the log that wait to be written while its reader stalls. Beyond: the line is lost,
    /// and counted.
    pub const LOG_LINES: usize = 1024;
    /// Lines of the log that are written at once. Beyond: they are written after those.
    pub const LOG_LINES_AT_ONCE: usize = 64;
    /// A line of the log. Beyond: its values are cut.
    pub const LOG_LINE_BYTES: usize = 8 * 1024;
    /// What is left of each value in a line that is too long. Beyond: it is cut.
    pub const LOG_VALUE_CHARS: usize = 256;
    /// How long the end of the process waits for the last of them. Beyond: they are lost.
    pub const LOG_LAST_WAIT: Duration = Duration::from_secs(1);
    /// One answer, event or frame that `mcp-gateway probe` and `doctor` read. Beyond: the probe
    /// ends with a fault.
    pub const PROBE_ANSWER_BYTES: usize = 16 << 20;
    /// How long answers to `wscat -x`, and to what a program typed, are waited for unless `-w`
    /// says. Beyond: the socket is closed.
    pub const PROBE_PATIENCE: Duration = Duration::from_secs(2);
    /// Each step of `mcp-gateway health`: connecting, sending, each read. Beyond: the gateway
    /// counts as unwell.
    pub const HEALTH_DEADLINE: Duration = Duration::from_secs(5);
    /// What `mcp-gateway health` reads of an answer. Beyond: the rest is not read.
    pub const HEALTH_ANSWER_BYTES: u64 = 64 << 10;
}

/// What the commands that examine, probe and set up go by.
pub mod command {
    use std::time::Duration;

    /// The longest time that a command can be told to wait. Beyond: it is shortened to this.
    pub const WAIT_MAX: Duration = Duration::from_hours(24 * 365);
    /// How much earlier than its making a certificate of `mcp-gateway certs` is valid, for clocks
    /// that are behind. Beyond: it is not valid yet.
    pub const CLOCK_GRACE: Duration = Duration::from_hours(1);
    /// How long before its end `mcp-gateway doctor` warns of the certificate of a proxy in front.
    /// Beyond: it warns.
    pub const CERTIFICATE_NOTICE: Duration = Duration::from_hours(24 * 14);
    /// The way to Redis and back that `mcp-gateway doctor` takes for short: what is written waits
    /// for it. Beyond: it warns.
    pub const REDIS_LATENCY: Duration = Duration::from_millis(5);
    /// How often that way is measured. Beyond: it is not.
    pub const REDIS_PINGS: u32 = 5;
    /// How far the clock of Redis may be from that of the gateway. Beyond: `mcp-gateway doctor`
    /// warns.
    pub const CLOCKS_APART: Duration = Duration::from_secs(1);
    /// What `mcp-gateway doctor` gives a server beside its `start_timeout` to list its tools.
    /// Beyond: it counts as failed.
    pub const SERVER_GRACE: Duration = Duration::from_secs(10);
    /// How long calls may take to end when the doctor stops the gateway it started. Beyond: they
    /// are cut.
    pub const DOCTOR_FINISH: Duration = Duration::from_secs(1);
    /// How long servers may take to end then. Beyond: their processes are killed with the command.
    pub const DOCTOR_LET_GO: Duration = Duration::from_secs(10);
    /// Open files that a gateway takes beside those of clients and servers. Beyond:
    /// `mcp-gateway doctor` warns that the system allows too few.
    pub const ASIDE_FILES: u64 = 512;
    /// Open files that each process of a server takes: its three pipes. Beyond: as above.
    pub const PROCESS_FILES: u64 = 3;
    /// Processes and threads that a gateway takes beside those of servers. Beyond:
    /// `mcp-gateway doctor` warns that the system allows too few.
    pub const ASIDE_PROCESSES: u64 = 64;
    /// Characters of what a server says in its refusal. Beyond: the rest is not shown.
    pub const SAID_CHARACTERS: usize = 200;
    /// Characters of one finding of `mcp-gateway doctor`, and of what helps. Beyond: the rest is
    /// not shown.
    pub const FINDING_CHARACTERS: usize = 1000;
    /// How many times the time of one answer (`--timeout`) `mcp-gateway doctor` gives an event
    /// stream as a whole. Beyond: the stream counts as held back.
    pub const STREAM_TIMES: u32 = 3;
    /// Different characters of a secret that looks random. Beyond: the doctor warns of one with
    /// fewer.
    pub const SECRET_CHARACTERS: usize = 10;
}
