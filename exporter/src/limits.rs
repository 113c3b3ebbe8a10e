//! Every bound of the exporter, with what happens beyond it.

use std::time::Duration;

/// Bytes of one answer that are read. Beyond: the answer is a fault.
pub(crate) const ANSWER_BYTES: usize = 8 << 20;
/// Series of one replica. Beyond: its largest families are left out, and counted.
pub(crate) const REPLICA_SERIES: usize = 20_000;
/// Series that are summed, and families. Beyond: new ones are left out and counted.
pub(crate) const SUMMED_SERIES: usize = 20_000;
/// Runs of replicas that are remembered. Beyond: the one that was not met for the longest is
/// forgotten; if it comes back, it counts as new.
pub(crate) const LIVES: usize = 256;
/// Last values of series that are remembered, of all runs together. Beyond: series that are new
/// to a run are left out and counted, and runs that are away are forgotten after [`LIFE_AWAY`].
pub(crate) const ENTRIES: usize = 250_000;
/// How long a run that is not met is remembered. Beyond: if it comes back, it counts as new.
pub(crate) const LIFE_TTL: Duration = Duration::from_hours(1);
/// The same while there are more than [`ENTRIES`].
pub(crate) const LIFE_AWAY: Duration = Duration::from_mins(1);
/// Bytes of the kept sums; [`ENTRIES`] and [`SUMMED_SERIES`] are about half of it. Beyond: they
/// are not kept, and what is there is no state.
pub(crate) const STATE_BYTES: usize = 32 << 20;
/// Replicas that are scraped, all at one time. Beyond: the rest is left out, and the log says so.
pub(crate) const REPLICAS: usize = 128;
/// Bytes of the name that a process gives itself. Beyond: it has none, and is told by its address.
pub(crate) const PROCESS_NAME_BYTES: usize = 64;
/// Bytes of a fault's text that are kept for the page and the log.
pub(crate) const FAULT_BYTES: usize = 300;

/// How long names may take to be looked up.
pub(crate) const LOOK_UP: Duration = Duration::from_millis(1_500);
/// How long one replica's answer may take.
pub(crate) const SCRAPE: Duration = Duration::from_secs(3);
/// How long nginx's answer may take.
pub(crate) const NGINX: Duration = Duration::from_secs(2);
/// How long Redis may take to say that it is there, and its digest.
pub(crate) const REDIS: Duration = Duration::from_secs(3);
/// How long sessions and keys in Redis are looked at. Beyond: the rest is counted as unread.
pub(crate) const REDIS_WALK: Duration = Duration::from_millis(1_500);
/// How long the head of a request may take, and a connection may be idle.
pub(crate) const HEAD: Duration = Duration::from_secs(5);
/// How long a connection is kept; then the answer that is being given is the last one.
pub(crate) const CONNECTION: Duration = Duration::from_mins(1);
/// How long nothing is accepted after that failed.
pub(crate) const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Connections that are served at one time. Beyond: the next one waits for one to end.
pub(crate) const CONNECTIONS: usize = 64;
/// How long one connection to Redis may take to be made.
pub(crate) const REDIS_CONNECT: Duration = Duration::from_secs(1);
/// How long one answer of Redis may take.
pub(crate) const REDIS_ANSWER: Duration = Duration::from_secs(1);
/// Commands that wait to be written to one connection of Redis. Beyond: the next waits, within its
/// [`REDIS_ANSWER`].
pub(crate) const REDIS_COMMANDS: usize = 1024;
/// Sentinels whose faults are told when none tells where the master is. Beyond: they are counted.
pub(crate) const TOLD_SENTINELS: usize = 8;
/// How often a command that met the failover of a cluster is sent again.
pub(crate) const CLUSTER_RETRIES: u32 = 1;
/// The shortest wait before that.
pub(crate) const CLUSTER_WAIT_MIN: Duration = Duration::from_millis(10);
/// The longest wait before that.
pub(crate) const CLUSTER_WAIT_MAX: Duration = Duration::from_millis(50);
/// How long the sums may take to be read or written: a connection to one server, an answer, and a
/// moment. Beyond: they are not, also where sentinels or nodes of a cluster that hang take longer.
pub(crate) const STATE: Duration = Duration::from_millis(2_200);
/// How long a scrape waits for new figures. Beyond: it is given the last counters, without gauges.
pub(crate) const ROUND: Duration = Duration::from_secs(8);
/// A whole round is over before a scrape has to be given old figures.
const _: () = assert!(
    LOOK_UP.as_millis() + SCRAPE.as_millis() + STATE.as_millis() < ROUND.as_millis()
        && REDIS.as_millis() + REDIS_WALK.as_millis() <= LOOK_UP.as_millis() + SCRAPE.as_millis()
);
/// How long before the deadline of Prometheus, which it sends along, an answer is given.
pub(crate) const ROUND_MARGIN: Duration = Duration::from_millis(500);
/// How young figures are when a second scrape is given the same.
pub(crate) const FRESH: Duration = Duration::from_secs(1);
/// How often figures are gathered when nobody scrapes, so that what a replica counts before it
/// restarts is seen.
pub(crate) const UNASKED: Duration = Duration::from_secs(10);
/// How long the kept sums are waited for before counters begin anew without them.
pub(crate) const STATE_WAIT: Duration = Duration::from_secs(30);
/// How long a probe may take.
pub(crate) const PROBE: Duration = Duration::from_secs(5);
/// How long one of several addresses may take to be connected to: a quarter of [`PROBE`].
pub(crate) const PROBE_CONNECT: Duration = Duration::from_millis(1_250);
/// How long the end of the program waits for answers that are being given.
pub(crate) const STOP: Duration = Duration::from_secs(5);

/// Sessions that are looked at one by one. Beyond: the rest is counted as unread.
pub(crate) const SESSIONS: usize = 10_000;
/// Sessions that are asked for in one go.
pub(crate) const SESSIONS_AT_ONCE: usize = 250;
/// Steps of one walk through Redis's keys at one scrape; the next one goes on from there.
pub(crate) const SCAN_STEPS: usize = 8;
/// Keys that one such step looks at.
pub(crate) const SCAN_KEYS: usize = 1_000;
/// How long a replica counts as alive after its last beat; the gateway's own bound.
pub(crate) const BEAT_TTL: Duration = Duration::from_secs(10);
/// How often sums are written that have not changed: where they are kept may have lost them.
pub(crate) const WRITE_AGAIN: Duration = Duration::from_secs(30);
/// How long the sums stay in Redis after they were last written.
pub(crate) const STATE_TTL: Duration = Duration::from_hours(24 * 30);
