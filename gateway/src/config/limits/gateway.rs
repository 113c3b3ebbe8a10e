//! The process itself: its configuration, its clearing up, its end.

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
