//! What the commands that examine, probe and set up go by.

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
