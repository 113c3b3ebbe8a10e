//! Servers that are child processes.

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
/// How long a call waits for the end of a process that takes no more input, and whose place the
/// next one takes. Beyond: the next one is started beside it, and no crash is counted.
pub const END_WAIT: Duration = Duration::from_secs(5);
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
