//! The shared store of sessions, and the replicas that meet there.

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
/// Sentinels whose faults are told when none tells where the master is. Beyond: they are
/// counted.
pub const TOLD_SENTINELS: usize = 8;
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
