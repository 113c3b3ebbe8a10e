//! Servers of any kind.

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
