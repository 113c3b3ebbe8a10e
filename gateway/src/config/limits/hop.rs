//! Between replicas.

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
